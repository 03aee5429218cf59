r"""The 3×3 convolution with a quarter of the multiplications: Winograd's F(4×4, 3×3).

**In one dimension.** A filter of 3 numbers w slides over 6 numbers d and gives 4 numbers y. Done
plainly that takes 4 · 3 = 12 products. But filtering is multiplying polynomials, and a polynomial
can be multiplied by its values: evaluate both factors at some points, multiply point by point,
interpolate. The result has 6 coefficients, so 6 points do: 0, 1, -1, 2, -2 and ∞. That is 6
products. The transpose of this scheme filters (Winograd 1980):

    y = Aᵀ ((G w) · (Bᵀ d))        G: values of w;  Bᵀ: of d;  Aᵀ: back;  ·: number by number

**In two dimensions** the same is done along the rows and along the columns. A tile of 6×6 pixels
gives 4×4 outputs with 36 products where 144 would be due:

    Y = Aᵀ [(G w Gᵀ) · (Bᵀ d B)] A

**With channels** (Lavin & Gray 2015, arXiv 1509.09308) the sum over the input channels can be taken
before going back. So at each of the 36 points there is a matrix product, (tiles × C) @ (C × O), and
everything else is small matrices times large ones. The image is cut into tiles that overlap by two.

**Backward** every step is transposed, in the opposite order: with M the products and V, U what came
of the tiles and of the kernel,

    gM = A gY Aᵀ      gV = gM Uᵀ      gU = Vᵀ gM      gd = B gV Bᵀ      gw = Gᵀ gU G

V is computed again rather than kept: it has 36 numbers for every 16 of the image.

**What makes it quick** besides. Images lie in memory as (H, W, N, C), the batch inside (`memory`):
so the pixels of a column of all images are side by side, tiles need not be copied out, and every
step is one matrix product that BLAS does on a view, overlapping tiles and all. And a few images go
through all the steps while they are in the processor's cache, in work arrays that are used again
for the next few.

**What it costs**: a few bits. The points 2 and -2 bring factors up to 8, and rounding errors grow
with them; `tests/test_winograd.py` holds the bound.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ..backend import Array, constant, xp
from ..parallel import parts, run, runs
from .memory import batch_first, batch_inside

BT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
G = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
AT = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]

# Numbers of a chunk at each of the 36 points. 4096 (0.6 MB of float32) suit an L2 cache best, but
# then each step is so short that two threads spend their time waiting for Python's lock.
CHUNK = 8192
TILES = 64  # of a chunk at least, so that the products do not get small
FEW = 96  # tiles in all; with fewer there is more work in the kernel than in the images


def suits(x: Array, weight: Array, border: Any, stride: Any, dilation: Any, groups: int) -> bool:
    """Whether F(4×4, 3×3) pays: an ordinary 3×3 kernel, some channels, and tiles worth filling.

    Each transformation costs about as much as a product with 6 channels would; a tile of which a
    quarter is used saves nothing; and the transformed kernel is four times the kernel.
    """
    ordinary = weight.shape[:2] == (3, 3) and (stride, dilation, groups) == ((1, 1), (1, 1), 1)
    if not ordinary or min(weight.shape[2:]) < 8 or min(x.shape[1:3]) < 3:
        return False
    (n, h, w, _), ((top, bottom), (left, right)) = x.shape, border
    tiles = n * -(-(h + top + bottom - 2) // 4) * -(-(w + left + right - 2) // 4)
    return tiles >= FEW or weight.size < x.size


def forward(x: Array, weight: Array, border: Any) -> Array:
    """x (N, H, W, C) and weight (3, 3, C, O) → (N, OH, OW, O)."""
    t = Tiling(x, weight, border)
    u = t.from_kernel(weight)
    x = batch_inside(x)
    y = xp.empty((t.oh, t.ow, t.n, t.o), x.dtype)

    def part(images: slice) -> None:
        for chunk, some in t.chunks(images):
            v = chunk.from_input(x[:, :, some])
            chunk.to_output(xp.matmul(v, u, out=chunk.m), y[:, :, some])

    run(part, parts(t.n, 9 * x.size))
    return batch_first(y)


def backward(
    gy: Array, x: Array, weight: Array, border: Any, wanted: list[bool]
) -> tuple[Array | None, Array | None]:
    """The gradients of x and of weight, given gy (N, OH, OW, O)."""
    t = Tiling(x, weight, border)
    ut = t.from_kernel(weight).swapaxes(1, 2)
    x, gy = batch_inside(x), batch_inside(gy)
    gx = xp.empty(x.shape, x.dtype) if wanted[0] else None

    def part(images: slice) -> Any:
        gu: Any = None
        for chunk, some in t.chunks(images):
            gm = chunk.from_output(gy[:, :, some])
            if wanted[1]:
                gu = added(gu, chunk.from_input(x[:, :, some]).swapaxes(1, 2) @ gm)
            if gx is not None:
                chunk.to_input(xp.matmul(gm, ut, out=chunk.v), gx[:, :, some])
        return gu

    gu = functools.reduce(added, run(part, parts(t.n, 9 * x.size)))
    if wanted[1]:
        gu = xp.zeros((36, t.c, t.o), t.dtype) if gu is None else gu  # of no images
    return (
        None if gx is None else batch_first(gx),
        t.to_kernel(gu, weight.shape) if wanted[1] else None,
    )


def added(total: Array | None, more: Array | None) -> Array | None:
    """total + more, where total is there; in place."""
    return more if total is None else xp.add(total, more, out=total)


class Tiling:
    """How images are cut into tiles of 6×6 pixels, four apart, for outputs of 4×4."""

    def __init__(self, x: Array, weight: Array, border: Any) -> None:
        self.n, self.h, self.w, self.c = x.shape
        self.o = weight.shape[3]
        self.dtype = x.dtype
        (self.top, bottom), (self.left, right) = border
        self.oh, self.ow = self.h + self.top + bottom - 2, self.w + self.left + right - 2
        self.rows, self.columns = -(-self.oh // 4), -(-self.ow // 4)  # of tiles
        self.exact = (self.oh, self.ow) == (4 * self.rows, 4 * self.columns)
        self.bt, self.g, self.at = (constant(matrix, x.dtype) for matrix in (BT, G, AT))

    def chunks(self, images: slice) -> Iterator[tuple[Chunk, slice]]:
        """Runs of a few images, with the work arrays for them."""
        tiles = max(CHUNK // max(self.c, self.o), TILES)
        chunk = None
        for some in runs(images, tiles // (self.rows * self.columns)):
            if chunk is None or chunk.n != some.stop - some.start:
                chunk = Chunk(self, some.stop - some.start)
            yield chunk, some

    def from_kernel(self, weight: Array) -> Array:
        """U = G w Gᵀ: (3, 3, C, O) → (36, C, O)."""
        return both(self.g, weight).reshape(36, self.c, self.o)

    def to_kernel(self, gu: Array, shape: tuple[int, ...]) -> Array:
        """gw = Gᵀ gU G: (36, C, O) → (3, 3, C, O)."""
        return both(self.g.T, gu.reshape(6, 6, -1)).reshape(shape)


def both(matrix: Array, x: Array) -> Array:
    """matrix · x · matrixᵀ over the first two axes of x, for everything behind them at once."""
    size, points = matrix.shape
    rows = matrix @ x.reshape(points, -1)
    return matrix @ rows.reshape(size, points, -1)


class Chunk:
    """The work arrays for n images on their way through the steps.

    A step works along one axis of the tiles: its matrix times arrays (…, 6, numbers), the numbers
    being those of all images and channels. The arrays are views, so nothing is copied. Their axes:
    k and s, row and column of the tile; u and v, row and column in the tile.
    """

    def __init__(self, t: Tiling, n: int) -> None:
        self.t, self.n = t, n
        k, s = t.rows, t.columns
        self.canvas = xp.zeros((4 * k + 2, 4 * s + 2, n, t.c), t.dtype)  # x with its border
        self.half = xp.empty((k, 6, 4 * s + 2, n * t.c), t.dtype)  # transformed along the rows
        self.v = xp.empty((36, k * s * n, t.c), t.dtype)
        self.m = xp.empty((36, k * s * n, t.o), t.dtype)
        self.z = xp.empty((4, 6, k, s, n * t.o), t.dtype)  # (u, v, k, s, numbers): half way back

    def from_input(self, x: Array) -> Array:
        """V = Bᵀ d B for every tile: (H, W, n, C) → (36, tiles, C)."""
        t, numbers = self.t, self.n * self.t.c
        line = (4 * t.columns + 2) * numbers
        self.canvas[t.top : t.top + t.h, t.left : t.left + t.w] = x
        tiles = windows(self.canvas, (t.rows, 6, line), (4 * line, line, 1))
        xp.matmul(t.bt, tiles, out=self.half.reshape(tiles.shape))
        tiles = windows(
            self.half,
            (t.rows, 6, t.columns, 6, numbers),
            (6 * line, line, 4 * numbers, numbers, 1),
        )
        xp.matmul(t.bt, tiles, out=self.tiled(self.v, 6))
        return self.v

    def to_output(self, m: Array, y: Array) -> None:
        """Y = Aᵀ M A, into y (OH, OW, n, O)."""
        t = self.t
        xp.matmul(t.at, m.reshape(6, -1), out=self.z.reshape(4, -1))
        tiles = self.tiled(self.z, 4)
        if t.exact:
            xp.matmul(t.at, tiles, out=y.reshape(t.rows, 4, t.columns, 4, -1))
        else:
            whole = xp.matmul(t.at, tiles).reshape(4 * t.rows, 4 * t.columns, self.n, t.o)
            y[...] = whole[: t.oh, : t.ow]

    def from_output(self, gy: Array) -> Array:
        """gM = A gY Aᵀ: (OH, OW, n, O) → (36, tiles, O)."""
        t = self.t
        if not t.exact:
            whole = xp.zeros((4 * t.rows, 4 * t.columns, self.n, t.o), t.dtype)
            whole[: t.oh, : t.ow] = gy
            gy = whole
        tiles = gy.reshape(t.rows, 4, t.columns, 4, -1)
        xp.matmul(t.at.T, tiles, out=self.tiled(self.z, 4))
        xp.matmul(t.at.T, self.z.reshape(4, -1), out=self.m.reshape(6, -1))
        return self.m

    def to_input(self, gv: Array, gx: Array) -> None:
        """gd = B gV Bᵀ, added up where tiles overlap, into gx (H, W, n, C)."""
        t = self.t
        d = t.bt.T @ gv.reshape(6, -1)
        d = d.reshape(6, 6, t.rows, t.columns, -1)  # (u, v, k, s, numbers)
        d[:2, :, 1:] += d[4:, :, :-1]  # the last two rows lie in the next tile's first two
        self.along_columns(d[:4], gx, first=-t.top)
        self.along_columns(d[4:, :, -1:], gx, first=4 * t.rows - t.top)

    def along_columns(self, d: Array, gx: Array, first: int) -> None:
        """d Bᵀ, added up, as rows of gx from `first` on."""
        t, b = self.t, self.t.bt.T
        rows = d.shape[0] * d.shape[2]
        start = max(first, 0)
        stop = min(first + rows, t.h)
        if start >= stop:
            return
        tiles = d.transpose(2, 0, 3, 1, 4)  # (k, u, s, v, numbers)
        lines = xp.empty((rows, 4 * t.columns + 2, self.n * t.c), t.dtype)
        own = lines[:, :-2].reshape(*tiles.shape[:3], 4, -1)
        xp.matmul(b[:4], tiles, out=own)
        over = xp.matmul(b[4:], tiles)
        own[:, :, 1:, :2] += over[:, :, :-1]
        lines.reshape(*tiles.shape[:2], *lines.shape[1:])[:, :, -2:] = over[:, :, -1]
        lines = lines.reshape(rows, -1, self.n, t.c)
        gx[start:stop] = lines[start - first : stop - first, t.left : t.left + t.w]

    def tiled(self, a: Array, size: int) -> Array:
        """What is stored as (u, v, k, s, numbers), seen as (k, u, s, v, numbers)."""
        t = self.t
        return a.reshape(size, 6, t.rows, t.columns, -1).transpose(2, 0, 3, 1, 4)


def windows(x: Array, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """A view of x of this shape, with so many numbers from one to the next along each axis."""
    strides = tuple(step * x.itemsize for step in steps)
    return xp.lib.stride_tricks.as_strided(x, shape, strides)
