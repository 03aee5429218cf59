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

**What makes it quick** besides: a chunk of tiles is taken through all its steps while it is in the
processor's cache, and where a layer has many weights and few tiles, the weights are taken through
in pieces instead.

**What it costs**: a few bits. The points 2 and -2 bring factors up to 8, and rounding errors grow
with them; `tests/test_winograd.py` holds the bound.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, constant, xp
from ..parallel import parts, run, runs

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

CHUNK = 4096  # numbers of a chunk at each point: 36 · 4096 float32 are 0.6 MB, within an L2 cache
FEW = 128  # tiles; with fewer the weights are the larger part of the work
PIECE = 64  # output channels at a time, then


def suits(x: Array, weight: Array, border: Any, stride: Any, dilation: Any, groups: int) -> bool:
    """Whether F(4×4, 3×3) pays: an ordinary 3×3 kernel, some channels, and tiles worth filling.

    Each transformation costs about as much as a product with 6 channels would, and a tile of which
    a quarter is used saves nothing.
    """
    ordinary = weight.shape[:2] == (3, 3) and (stride, dilation, groups) == ((1, 1), (1, 1), 1)
    return ordinary and min(weight.shape[2:]) >= 8 and min(x.shape[1:3]) >= 3


def forward(x: Array, weight: Array, border: Any) -> Array:
    """x (N, H, W, C) and weight (3, 3, C, O) → (N, OH, OW, O)."""
    t = Tiling(x, weight, border)
    b, g, a = t.matrices
    y = xp.empty((t.n, t.oh, t.ow, t.o), x.dtype)
    if t.few:
        v = t.from_input(x, b)

        def piece(outputs: slice) -> None:
            u = from_kernel(weight[..., outputs], g)
            y[..., outputs] = t.to_output(v @ u, a)

        run(piece, t.pieces())
    else:
        u = from_kernel(weight, g)

        def part(images: slice) -> None:
            for chunk in t.chunks(images):
                y[chunk] = t.to_output(t.from_input(x[chunk], b) @ u, a)

        run(part, parts(t.n, 9 * x.size))
    return y


def backward(
    gy: Array, x: Array, weight: Array, border: Any, wanted: list[bool]
) -> tuple[Array | None, Array | None]:
    """The gradients of x and of weight, given gy (N, OH, OW, O)."""
    t = Tiling(x, weight, border)
    b, g, a = t.matrices
    gx = xp.empty(x.shape, x.dtype) if wanted[0] else None
    if t.few:
        v = t.from_input(x, b).swapaxes(1, 2) if wanted[1] else None
        gw = xp.empty(weight.shape, x.dtype) if wanted[1] else None

        def piece(outputs: slice) -> Array | None:
            gm = t.from_output(gy[..., outputs], a.T)
            if gw is not None:
                gw[..., outputs] = to_kernel(v @ gm, g.T)
            return gm @ from_kernel(weight[..., outputs], g).swapaxes(1, 2) if wanted[0] else None

        pieces = run(piece, t.pieces())
        if gx is not None:
            gx[...] = t.to_input(sum(pieces), b.T)
        return gx, gw
    ut = from_kernel(weight, g).swapaxes(1, 2) if wanted[0] else None

    def part(images: slice) -> Array:
        gu = xp.zeros((36, t.c, t.o), x.dtype)
        for chunk in t.chunks(images):
            gm = t.from_output(gy[chunk], a.T)
            if wanted[1]:
                gu += t.from_input(x[chunk], b).swapaxes(1, 2) @ gm
            if gx is not None:
                gx[chunk] = t.to_input(gm @ ut, b.T)
        return gu

    gu = sum(run(part, parts(t.n, 9 * x.size)))
    return gx, to_kernel(gu, g.T) if wanted[1] else None


# ----- The small matrices, along rows and columns -----


def both(matrix: Array, x: Array) -> Array:
    """matrix · x · matrixᵀ over the first two axes of x, for everything behind them at once."""
    size, points = matrix.shape
    rows = matrix @ x.reshape(points, -1)
    return matrix @ rows.reshape(size, points, -1)


def from_kernel(weight: Array, g: Array) -> Array:
    """U = G w Gᵀ: (3, 3, C, O) → (36, C, O)."""
    return both(g, weight).reshape(36, *weight.shape[2:])


def to_kernel(gu: Array, gt: Array) -> Array:
    """gw = Gᵀ gU G: (36, C, O) → (3, 3, C, O)."""
    return both(gt, gu.reshape(6, 6, -1)).reshape(3, 3, *gu.shape[1:])


# ----- Images as tiles -----


class Tiling:
    """How images are cut into tiles of 6×6 pixels, four apart, for outputs of 4×4."""

    def __init__(self, x: Array, weight: Array, border: Any) -> None:
        self.n, self.h, self.w, self.c = x.shape
        self.o = weight.shape[3]
        (self.top, bottom), (self.left, right) = border
        self.oh, self.ow = self.h + self.top + bottom - 2, self.w + self.left + right - 2
        self.rows, self.columns = -(-self.oh // 4), -(-self.ow // 4)  # of tiles
        self.few = self.n * self.rows * self.columns <= FEW
        self.matrices = [constant(matrix, x.dtype) for matrix in (BT, G, AT)]

    def chunks(self, images: slice) -> list[slice]:
        """Runs of images whose tiles fit into the cache, but not so few that products get small."""
        wide = max(self.c, self.o)
        tiles = max(CHUNK // wide, 32 if wide < 256 else FEW)
        return runs(images, -(-tiles // (self.rows * self.columns)))

    def pieces(self) -> list[slice]:
        """Runs of output channels."""
        return runs(slice(0, self.o), PIECE)

    def from_input(self, x: Array, b: Array) -> Array:
        """V = Bᵀ d B for every tile: (k, H, W, C) → (36, tiles, C)."""
        canvas = xp.zeros((len(x), 4 * self.rows + 2, 4 * self.columns + 2, self.c), x.dtype)
        self.inside(canvas)[...] = x
        return both(b, xp.ascontiguousarray(self.tiles(canvas))).reshape(36, -1, self.c)

    def to_input(self, gv: Array, bt: Array) -> Array:
        """gd = B gV Bᵀ, added up where tiles overlap: (36, tiles, C) → (k, H, W, C)."""
        gd = both(bt, gv.reshape(6, 6, -1)).reshape(6, 6, -1, self.rows, self.columns, self.c)
        shape = (gd.shape[2], 4 * self.rows + 2, 4 * self.columns + 2, self.c)
        canvas = xp.zeros(shape, gd.dtype)
        tiles = self.tiles(canvas)
        own, next_one = slice(0, 4), slice(4, 6)  # the last two lie in the next tile's own
        tiles[own, own] = gd[own, own]
        tiles[next_one, own] += gd[next_one, own]
        tiles[own, next_one] += gd[own, next_one]
        tiles[next_one, next_one] += gd[next_one, next_one]
        return self.inside(canvas)

    def to_output(self, m: Array, a: Array) -> Array:
        """Y = Aᵀ M A, put together: (36, tiles, o) → (k, OH, OW, o)."""
        y = both(a, m.reshape(6, 6, -1)).reshape(4, 4, -1, self.rows, self.columns, m.shape[2])
        y = y.transpose(2, 3, 0, 4, 1, 5).reshape(-1, 4 * self.rows, 4 * self.columns, m.shape[2])
        return y[:, : self.oh, : self.ow]

    def from_output(self, gy: Array, a: Array) -> Array:
        """gM = A gY Aᵀ: (k, OH, OW, o) → (36, tiles, o)."""
        shape = (len(gy), 4 * self.rows, 4 * self.columns, gy.shape[3])
        if gy.shape != shape:
            canvas = xp.zeros(shape, gy.dtype)
            canvas[:, : self.oh, : self.ow] = gy
            gy = canvas
        gy = gy.reshape(-1, self.rows, 4, self.columns, 4, gy.shape[3]).transpose(2, 4, 0, 1, 3, 5)
        return both(a, xp.ascontiguousarray(gy)).reshape(36, -1, gy.shape[5])

    def tiles(self, canvas: Array) -> Array:
        """Every tile of the canvas, as a view (6, 6, k, rows, columns, C) that copies nothing."""
        sn, sh, sw, sc = canvas.strides
        return xp.lib.stride_tricks.as_strided(
            canvas,
            (6, 6, len(canvas), self.rows, self.columns, self.c),
            (sh, sw, sn, 4 * sh, 4 * sw, sc),
        )

    def inside(self, canvas: Array) -> Array:
        """The canvas without the border around the image."""
        return canvas[:, self.top : self.top + self.h, self.left : self.left + self.w]
