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

# Numbers of a band at each of the 36 points. 4096 (0.6 MB of float32) suit an L2 cache best, but
# then each step is so short that two threads spend their time waiting for Python's lock.
BAND = 8192
TILES = 64  # of a band at least, so that the products do not get small
FEW = 96  # tiles in all; with fewer there is more work in the kernel than in the images


def suits(x: Array, weight: Array, border: Any, stride: Any, dilation: Any, groups: int) -> bool:
    """Whether F(4×4, 3×3) pays: an ordinary 3×3 kernel, some channels, and tiles worth filling.

    Each transformation costs about as much as a product with 6 channels would; a tile of which a
    quarter is used saves nothing; and the transformed kernel is four times the kernel.
    """
    ordinary = weight.shape[:2] == (3, 3) and (stride, dilation, groups) == ((1, 1), (1, 1), 1)
    if not ordinary or min(weight.shape[2:]) < 8 or min(x.shape[1:3]) < 3 or xp.max(border) > 2:
        return False
    (n, h, w, _), ((top, bottom), (left, right)) = x.shape, border
    tiles = n * -(-(h + top + bottom - 2) // 4) * -(-(w + left + right - 2) // 4)
    return tiles >= FEW or weight.size < x.size


def forward(x: Array, weight: Array, border: Any) -> Array:
    """x (N, H, W, C) and weight (3, 3, C, O) → (N, OH, OW, O)."""
    t = Tiling(x.shape, weight.shape, border, x.dtype)
    u = t.from_kernel(weight)
    x = batch_inside(x)
    y = xp.empty((4 * t.rows, t.ow, t.n, t.o), t.dtype)

    def part(images: slice) -> None:
        for band in t.bands(images):
            v = band.from_input(x)
            band.to_output(xp.matmul(v, u, out=band.m), y)

    run(part, parts(t.n, 9 * x.size))
    return batch_first(y[: t.oh])


def backward(
    gy: Array, x: Array, weight: Array, border: Any, wanted: list[bool]
) -> tuple[Array | None, Array | None]:
    """The gradients of x and of weight, given gy (N, OH, OW, O)."""
    (top, bottom), (left, right) = border
    around = (2 - top, 2 - bottom), (2 - left, 2 - right)
    return (
        forward(gy, weight[::-1, ::-1].swapaxes(2, 3), around) if wanted[0] else None,
        kernel_gradient(gy, x, weight.shape, border) if wanted[1] else None,
    )


def kernel_gradient(gy: Array, x: Array, kernel: tuple[int, ...], border: Any) -> Array:
    """The gradient of weight, given gy (N, OH, OW, O)."""
    t = Tiling(x.shape, kernel, border, x.dtype)
    x, gy = batch_inside(x), batch_inside(gy)

    def part(images: slice) -> Any:
        gu: Any = None
        for band in t.bands(images):
            gm = band.from_output(gy)
            gu = added(gu, band.from_input(x).swapaxes(1, 2) @ gm)
        return gu

    gu = functools.reduce(added, run(part, parts(t.n, 9 * x.size)))
    gu = xp.zeros((36, t.c, t.o), t.dtype) if gu is None else gu  # of no images
    return t.to_kernel(gu)


def added(total: Array | None, more: Array | None) -> Array | None:
    """total + more, where total is there; in place."""
    return more if total is None else xp.add(total, more, out=total)


class Tiling:
    """How images are cut into tiles of 6×6 pixels, four apart, for outputs of 4×4."""

    def __init__(
        self, image: tuple[int, ...], kernel: tuple[int, ...], border: Any, dtype: Any
    ) -> None:
        self.n, self.h, self.w, self.c = image
        self.o = kernel[3]
        self.dtype = dtype
        (self.top, bottom), (self.left, right) = border
        self.oh, self.ow = self.h + self.top + bottom - 2, self.w + self.left + right - 2
        self.rows, self.columns = -(-self.oh // 4), -(-self.ow // 4)  # of tiles
        self.bt, self.g, self.at = (constant(matrix, dtype) for matrix in (BT, G, AT))

    def bands(self, images: slice) -> Iterator[Band]:
        """A few rows of tiles, of a few images, at a time; the work arrays are the same ones."""
        width = self.columns * max(self.c, self.o)
        for some in runs(images, max(BAND // width, -(-TILES // self.columns))):
            n = some.stop - some.start
            band = None
            for rows in runs(slice(0, self.rows), BAND // (width * n)):
                if band is None or band.k != rows.stop - rows.start:
                    band = Band(self, rows.stop - rows.start, n)
                band.first, band.images = rows.start, some
                yield band

    def from_kernel(self, weight: Array) -> Array:
        """U = G w Gᵀ: (3, 3, C, O) → (36, C, O)."""
        return both(self.g, weight).reshape(36, self.c, self.o)

    def to_kernel(self, gu: Array) -> Array:
        """gw = Gᵀ gU G: (36, C, O) → (3, 3, C, O)."""
        return both(self.g.T, gu.reshape(6, 6, -1)).reshape(3, 3, self.c, self.o)


def both(matrix: Array, x: Array) -> Array:
    """matrix · x · matrixᵀ over the first two axes of x, for everything behind them at once."""
    size, points = matrix.shape
    rows = matrix @ x.reshape(points, -1)
    return matrix @ rows.reshape(size, points, -1)


class Band:
    """The work arrays for k rows of tiles, of n images, on their way through the steps.

    A step works along one axis of the tiles: its matrix times arrays (…, 6, numbers), the numbers
    being those of all images and channels. The arrays are views, so nothing is copied. Their axes:
    k and s, row and column of the tile; u and v, row and column in the tile.
    """

    first: int  # row of tiles
    images: slice

    def __init__(self, t: Tiling, k: int, n: int) -> None:
        self.t, self.k, self.n = t, k, n
        s = t.columns
        self.half = xp.empty((k, 6, 4 * s + 2, n * t.c), t.dtype)  # transformed along the rows
        self.half[:, :, : t.left] = 0
        self.half[:, :, t.left + t.w :] = 0
        self.v = xp.empty((36, k * s * n, t.c), t.dtype)
        self.m = xp.empty((36, k * s * n, t.o), t.dtype)
        self.z = xp.empty((4, 6, k, s, n * t.o), t.dtype)  # (u, v, k, s, numbers): half way back

    def from_input(self, x: Array) -> Array:
        """V = Bᵀ d B for every tile of x (H, W, N, C): (36, tiles, C)."""
        t, numbers = self.t, self.n * self.t.c
        for k in range(self.k):
            first = 4 * (self.first + k) - t.top
            start, stop = min(max(first, 0), t.h), min(first + 6, t.h)
            rows = x[start:stop, :, self.images].reshape(stop - start, t.w, numbers)
            out = self.half[k, :, t.left : t.left + t.w].swapaxes(0, 1)
            xp.matmul(t.bt[:, start - first : stop - first], rows.swapaxes(0, 1), out=out)
        line = (4 * t.columns + 2) * numbers
        tiles = windows(
            self.half,
            (self.k, 6, t.columns, 6, numbers),
            (6 * line, line, 4 * numbers, numbers, 1),
        )
        xp.matmul(t.bt, tiles, out=self.tiled(self.v, 6))
        return self.v

    def to_output(self, m: Array, y: Array) -> None:
        """Y = Aᵀ M A, into y (OH, OW, N, O)."""
        t, z, numbers = self.t, self.z, self.n * self.t.o
        m = m.reshape(6, 6, -1).swapaxes(0, 1)
        xp.matmul(t.at, m, out=z.reshape(4, 6, -1).swapaxes(0, 1))
        y = y[4 * self.first : 4 * (self.first + self.k), :, self.images]
        y = y.reshape(self.k, 4, t.ow, numbers)
        whole, z = t.ow // 4, self.tiled(z, 4)
        out = y[:, :, : 4 * whole].reshape(self.k, 4, whole, 4, numbers)
        xp.matmul(t.at, z[:, :, :whole], out=out)
        if whole < t.columns:
            xp.matmul(t.at[: t.ow % 4], z[:, :, whole], out=y[:, :, 4 * whole :])

    def from_output(self, gy: Array) -> Array:
        """gM = A gY Aᵀ for every tile of gy (OH, OW, N, O): (36, tiles, O)."""
        t, a, numbers = self.t, self.t.at.T, self.n * self.t.o
        whole, z = t.ow // 4, self.tiled(self.z, 4)
        for k in range(self.k):
            first = 4 * (self.first + k)
            rows = min(4, t.oh - first)
            g = gy[first : first + rows, :, self.images].reshape(rows, t.ow, numbers)
            z[k, rows:] = 0
            tiles = g[:, : 4 * whole].reshape(rows, whole, 4, numbers)
            xp.matmul(a, tiles, out=z[k, :rows, :whole])
            if whole < t.columns:
                xp.matmul(a[:, : t.ow % 4], g[:, 4 * whole :], out=z[k, :rows, whole])
        z = self.z.reshape(4, 6, -1).swapaxes(0, 1)
        xp.matmul(a, z, out=self.m.reshape(6, 6, -1).swapaxes(0, 1))
        return self.m

    def tiled(self, a: Array, size: int) -> Array:
        """What is stored as (u, v, k, s, numbers), seen as (k, u, s, v, numbers)."""
        return a.reshape(size, 6, self.k, self.t.columns, -1).transpose(2, 0, 3, 1, 4)


def windows(x: Array, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """A view of x of this shape, with so many numbers from one to the next along each axis."""
    strides = tuple(step * x.itemsize for step in steps)
    return xp.lib.stride_tricks.as_strided(x, shape, strides)
