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

**Backward.** A pixel of x went into the outputs around it, each through another tap. So gx is again
a 3×3 convolution, of gY with the kernel turned round and its two kinds of channels swapped: the
same steps once more,

    D = Bᵀ d B        gx = Aᵀ [D · Ũ] A

with d the tiles of gY, and Ũ what came of the turned kernel. In Σ x · gx a number of x, one of d
and one of the kernel are multiplied, and none of the three comes first. So the gradient of the
kernel is made of what is there already:

    gŨ = (A x Aᵀ)ᵀ D        gw̃ = Gᵀ gŨ G

with x in tiles of 4×4, which do not overlap; a matrix product at each of the 36 points again.

**Several kernels on the same images**, as at the head of a fractal block's columns, share Bᵀ x B
and A x Aᵀ; and since going back is linear, what each brings to gx is summed before that.

**What makes it quick** besides. Images lie in memory as (H, W, N, C), the batch inside (`memory`):
so the pixels of a row of all images are side by side, tiles need not be copied out, and every step
is one matrix product that BLAS does on a view, overlapping tiles and all. And a *band*, a few rows
of tiles, goes through all the steps while it is in the processor's cache, in work arrays that are
used again for the next.

**What it costs**: a few bits. The points 2 and -2 bring factors up to 8, and rounding errors grow
with them; `tests/test_winograd.py` holds the bound.
"""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from .. import backend
from ..backend import Array, asarray, xp
from . import parallel
from .memory import Finish, batch_first, batch_inside
from .parallel import at_once, parts, run

BT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
G: list[list[float]] = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
GG = [[a * b for a in row for b in other] for row in G for other in G]  # GG w = G w Gᵀ: (36, 9)
AT = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]

ONES = 7  # of the 36 points (u, v) the one at (1, 1): column 1 of Aᵀ is 1, 1, 1, 1

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
    if (
        not ordinary
        or min(weight.shape[2:]) < 8
        or min(x.shape[1:3]) < 3
        or max(map(max, border)) > 2
    ):
        return False
    (n, h, w, _), ((top, bottom), (left, right)) = x.shape, border
    tiles = n * -(-(h + top + bottom - 2) // 4) * -(-(w + left + right - 2) // 4)
    return tiles >= FEW or weight.size < x.size


def forward(
    x: Array,
    weights: Sequence[Array],
    border: Any,
    biases: Any = None,
    finish: Finish | None = None,
) -> Array:
    """x (N, H, W, C) with each of K kernels (3, 3, C, O) → (K, N, OH, OW, O).

    `biases` (K, O) or None. A bias is added once for the 16 pixels of a tile: at the point where Aᵀ
    has a column of ones.
    """
    finish = finish or Finish()
    t = tiling(x, weights[0].shape[3], border)
    us = t.from_kernels(weights)
    x, ys = batch_inside(x), t.empty_outputs(len(us))

    def part(where: slice) -> None:
        for band in t.walk(where, keep="v" if len(us) > 1 else ""):
            band.from_input(x)
            for k, (u, y) in enumerate(zip(us, ys)):
                xp.matmul(band.v, u, out=band.m)
                if biases is not None:
                    band.m[ONES] += biases[k]
                finish(band.to_output(y), k, band.number)

    run(part, parts(t.bands, t.numbers))
    return ys[:, : t.oh].transpose(0, 3, 1, 2, 4)


def backward(
    gys: Sequence[Array],
    x: Array,
    weights: Sequence[Array],
    border: Any,
    wanted: Sequence[bool],
) -> tuple[Array | None, Sequence[Any]]:
    """The gradients of x and of the kernels, given for each of them gy (N, OH, OW, O)."""
    gx_wanted, gw_wanted = wanted
    (top, bottom), (left, right) = border
    around = (2 - top, 2 - bottom), (2 - left, 2 - right)
    kernels, channels = len(weights), weights[0].shape[2]
    t = tiling(gys[0], channels, around)
    x, gys = batch_inside(x), [batch_inside(gy) for gy in gys]
    gx = t.empty_outputs(1)[0] if gx_wanted else None
    us = t.from_turned_kernels(weights) if gx_wanted else [None] * kernels
    keep = ("m" if gx_wanted and kernels > 1 else "") + ("x" if gw_wanted else "")

    def part(where: slice) -> list[Any]:
        gus: list[Any] = [None] * kernels
        for band in t.walk(where, keep):
            if gw_wanted:
                band.from_output(x)
            for k, (gy, u) in enumerate(zip(gys, us)):
                band.from_input(gy)
                if gw_wanted:
                    gus[k] = added(gus[k], band.x.swapaxes(1, 2) @ band.v)
                if gx_wanted and k == 0:
                    xp.matmul(band.v, u, out=band.m)
                elif gx_wanted:
                    band.m += xp.matmul(band.v, u, out=band.spare)
            if gx_wanted:
                band.to_output(gx)
        return gus

    found = run(part, parts(t.bands, t.numbers))
    gws: Any = [None] * kernels
    if gw_wanted:
        gus = [functools.reduce(added, gu) for gu in zip(*found)]
        if gus[0] is None:  # of no images
            gus = [xp.zeros((36, channels, t.c), t.dtype)] * kernels
        gws = t.to_turned_kernels(gus)
    return None if gx is None else batch_first(gx[: t.oh]), gws


def added(total: Array | None, more: Array | None) -> Array | None:
    """total + more, as far as they are there; in place."""
    if total is None or more is None:
        return more if total is None else total
    return xp.add(total, more, out=total)


def tiling(x: Array, channels: int, border: Any) -> Tiling:
    """The `Tiling` for images like x; made once for each size."""
    return _tiling(backend.place(), parallel.threads(), x.shape, channels, border, x.dtype)


@functools.lru_cache(maxsize=1000)
def _tiling(_place: str, _threads: int, *sizes: Any) -> Tiling:
    return Tiling(*sizes)


@functools.cache
def matrices(_place: str, dtype: Any) -> list[Array]:
    """Bᵀ, G ⊗ G, the same turned by 180°, and Aᵀ: brought to the backend only once."""
    return [asarray(matrix, dtype) for matrix in (BT, GG, [row[::-1] for row in GG], AT)]


class Tiling:
    """How images are cut into tiles of 6×6 pixels, four apart, for outputs of 4×4.

    And how the tiles are dealt into bands: `k` rows of tiles, of some of the images.
    """

    def __init__(self, image: tuple[int, ...], channels: int, border: Any, dtype: Any) -> None:
        self.n, self.h, self.w, self.c = image
        self.o = channels
        self.dtype = dtype
        (self.top, bottom), (self.left, right) = border
        self.oh, self.ow = self.h + self.top + bottom - 2, self.w + self.left + right - 2
        self.rows, self.columns = -(-self.oh // 4), -(-self.ow // 4)  # of tiles
        self.bt, self.gg, self.turned, self.at = matrices(backend.place(), xp.dtype(dtype))
        self.numbers = 4 * self.n * self.h * self.w * self.c
        width = self.columns * max(self.c, self.o)  # numbers in a row of tiles of an image
        pieces = -(-self.n // max(BAND // width, -(-TILES // self.columns)))
        most = max(1, BAND * pieces // max(1, width * self.n))
        self.k = max(k for k in range(1, self.rows + 1) if self.rows % k == 0 and k <= most)
        self.down = self.rows // self.k  # bands in an image
        if self.down % at_once(self.numbers):
            pieces += -pieces % at_once(self.numbers)  # so that each thread gets as many
        self.pieces = min(pieces, self.n)
        self.bands = self.pieces * self.down

    def walk(self, where: slice, keep: str) -> Iterator[Band]:
        """Some bands, one after the other, in the same work arrays.

        They are taken meanwhile: what interrupts this thread and convolves (a signal handler, say)
        makes its own.
        """
        work, kept.work = kept.work or Work(), None
        band = None
        try:
            for i in range(where.start, where.stop):
                piece, row = divmod(i, self.down)
                if row == 0 or band is None:
                    start, stop = (self.n * p // self.pieces for p in (piece, piece + 1))
                    band = work.band(self, stop - start, keep)
                    band.images = slice(start, stop)
                band.number, band.first = i, row * self.k
                yield band
        finally:
            kept.work = work

    def empty_outputs(self, count: int) -> Array:
        """So many arrays for (OH, OW, N, O), the height rounded up to whole tiles."""
        return xp.empty((count, 4 * self.rows, self.ow, self.n, self.o), self.dtype)

    def from_kernels(self, weights: Sequence[Array]) -> Array:
        """U = G w Gᵀ of each kernel (3, 3, C, O): (K, 36, C, O)."""
        us = products(self.gg, [weight.reshape(9, -1) for weight in weights])
        return us.reshape(len(weights), 36, *weights[0].shape[2:])

    def from_turned_kernels(self, weights: Sequence[Array]) -> Array:
        """The same of the kernels turned round, their channels swapped: (K, 36, O, C)."""
        us = products(self.turned, [weight.reshape(9, -1) for weight in weights])
        return us.reshape(len(weights), 36, *weights[0].shape[2:]).swapaxes(2, 3)

    def to_turned_kernels(self, gus: Sequence[Array]) -> Array:
        """gw = Gᵀ gU G, turned back, for each gU (36, O, C): (K, 3, 3, O, C)."""
        gws = products(self.turned.T, [gu.reshape(36, -1) for gu in gus])
        return gws.reshape(len(gus), 3, 3, *gus[0].shape[1:])


def products(matrix: Array, xs: Sequence[Array]) -> Array:
    """matrix @ x for each x, some columns on each thread."""
    columns = xs[0].shape[1]
    out = xp.empty((len(xs), len(matrix), columns), xs[0].dtype)

    def part(some: slice) -> None:
        for x, y in zip(xs, out):
            xp.matmul(matrix, x[:, some], out=y[:, some])

    run(part, parts(columns, 36 * columns * len(xs)))
    return out


class Band:
    """The work arrays for k rows of tiles, of n images, on their way through the steps.

    A step works along one axis of the tiles: its matrix times arrays (…, 6, numbers), the numbers
    being those of all images and channels. The arrays are views, so nothing is copied. Their axes:
    k and s, row and column of the tile; u and v, row and column in the tile.

    To stay in the cache they share memory, in turns: `m` lies over `half`, `z` over `v`. What is
    needed for longer, `keep` gives memory of its own: "v", what came of the image, for several
    kernels; "m", to which another product is to be added, that of `spare`; "x", what came of x.
    """

    number: int
    images: slice
    first: int  # row of tiles

    def __init__(self, t: Tiling, n: int, keep: str, memory: Array) -> None:
        self.t, self.n = t, n
        k, s = t.k, t.columns
        width, tiles = 4 * s + 2, k * s * n
        sizes = self.sizes(t, n, keep)
        first, second, third, fourth, _ = xp.split(memory, list(itertools.accumulate(sizes)))
        half = cut(first, (k, 6, width, n * t.c))  # transformed along the rows
        line, start, stop = (columns * n * t.c for columns in (width, t.left, t.left + t.w))
        rows = half.reshape(k, 6, line)
        self.left, self.half, self.right = xp.split(rows, [start, stop], axis=2)
        self.half_tiles = windows(
            half, (k, 6, s, 6, n * t.c), (6 * line, line, 4 * n * t.c, n * t.c, 1)
        )
        self.v = cut(second, (36, tiles, t.c))
        self.v_tiles = self.tiled(self.v, 6)
        self.spare = cut(first, (36, tiles, t.o))
        self.m = cut(third, (36, tiles, t.o)) if "m" in keep else self.spare
        self.m_points = self.m.reshape(6, -1)
        self.x = fourth.reshape(36, -1, t.o)
        self.x_points = fourth.reshape(6, -1)
        z = cut(
            third if keep == "v" else second, (4, 6, k, s, n * t.o)
        )  # (u, v, k, s, numbers): half way back
        self.z_points = z.reshape(4, -1)
        self.z_tiles = self.tiled(z, 4)

    @staticmethod
    def sizes(t: Tiling, n: int, keep: str) -> list[int]:
        """How many numbers the work arrays hold."""
        tiles = t.k * t.columns * n
        half = t.k * 6 * (4 * t.columns + 2) * n * t.c
        product = 36 * tiles * t.o
        third = 24 * tiles * t.o if keep == "v" else product if "m" in keep else 0
        return [max(half, product), 36 * tiles * max(t.c, t.o), third, product * ("x" in keep)]

    def from_input(self, x: Array) -> None:
        """V = Bᵀ d B for every tile of x (H, W, N, C): (36, tiles, C)."""
        t = self.t
        self.left[...] = 0
        self.right[...] = 0
        for k in range(t.k):
            top = 4 * (self.first + k) - t.top
            start, stop = min(max(top, 0), t.h), min(top + 6, t.h)
            rows = x[start:stop, :, self.images].reshape(stop - start, -1)
            xp.matmul(t.bt[:, start - top : stop - top], rows, out=self.half[k])
        xp.matmul(t.bt, self.half_tiles, out=self.v_tiles)

    def to_output(self, y: Array) -> Array:
        """Y = Aᵀ M A, into y (OH, OW, N, O); gives that part of y."""
        t, z = self.t, self.z_tiles
        xp.matmul(t.at, self.m_points, out=self.z_points)
        y = y[4 * self.first : 4 * (self.first + t.k), :, self.images]
        whole, rest = divmod(t.ow, 4)
        out = y[:, : 4 * whole].reshape(t.k, 4, whole, 4, self.n * t.o)
        xp.matmul(t.at, z[:, :, :whole], out=out)
        if rest:
            out = y[:, 4 * whole :].reshape(t.k, 4, rest, self.n * t.o)
            xp.matmul(t.at[:rest], z[:, :, whole], out=out)
        return y[: t.oh - 4 * self.first]

    def from_output(self, y: Array) -> None:
        """A y Aᵀ for every tile of y (OH, OW, N, O): (36, tiles, O), in `x`."""
        t, a, z = self.t, self.t.at.T, self.z_tiles
        whole, rest = divmod(t.ow, 4)
        for k in range(t.k):
            top = 4 * (self.first + k)
            rows = min(4, t.oh - top)
            pixels = y[top : top + rows, :, self.images].reshape(rows, t.ow, self.n * t.o)
            tiles = pixels[:, : 4 * whole].reshape(rows, whole, 4, self.n * t.o)
            xp.matmul(a, tiles, out=z[k, :rows, :whole])
            if rest:
                xp.matmul(a[:, :rest], pixels[:, 4 * whole :], out=z[k, :rows, whole])
            z[k, rows:] = 0
        xp.matmul(a, self.z_points, out=self.x_points)

    def tiled(self, a: Array, size: int) -> Array:
        """What is stored as (u, v, k, s, numbers), seen as (k, u, s, v, numbers)."""
        return a.reshape(size, 6, self.t.k, self.t.columns, -1).transpose(2, 0, 3, 1, 4)


class Work:
    """The work arrays of a thread, laid out as bands, which are kept from step to step.

    All bands lie in one memory, in turns; it is as large as the largest so far.
    """

    def __init__(self) -> None:
        self.place, self.memory = "", xp.empty(0)
        self.bands: dict[tuple, Band] = {}

    def band(self, t: Tiling, n: int, keep: str) -> Band:
        """A band of n images."""
        key = t, n, keep
        if key not in self.bands:
            size = sum(Band.sizes(t, n, keep)) * xp.dtype(t.dtype).itemsize
            if self.memory.nbytes < size or self.place != backend.place():
                self.place, self.memory = backend.place(), xp.empty(size, xp.uint8)
                self.bands = {}
            if len(self.bands) == 1000:
                self.bands = {}
            memory = self.memory[:size].view(t.dtype)
            self.bands[key] = Band(t, n, keep, memory)
        return self.bands[key]


class Kept(threading.local):
    """The work arrays of each thread, while nobody has taken them."""

    work: Work | None = None


kept = Kept()


def cut(memory: Array, shape: tuple[int, ...]) -> Array:
    """An array in the first part of some memory."""
    return memory[: math.prod(shape)].reshape(shape)


def windows(x: Array, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """A view of x of this shape, with so many numbers from one to the next along each axis."""
    strides = tuple(step * x.itemsize for step in steps)
    return xp.lib.stride_tricks.as_strided(x, shape, strides)
