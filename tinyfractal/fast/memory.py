"""How images lie in memory: the batch inside.

An array's shape says how it is indexed, its strides say where the numbers lie. Images are indexed
(N, H, W, C) everywhere. What the fast operations give lies in memory as (H, W, N, C): the same
pixel of all images side by side. So an image shifted by a pixel is one long block for the whole
batch, and what is done along rows or columns of pixels is a product with one long matrix: nothing
needs to be copied together first. NumPy's elementwise functions keep the order of their input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..backend import Array, xp
from .parallel import parts, run, runs

WIDE = 1024  # numbers; NumPy's loops have a fixed cost for each line
RUN = 1 << 18  # numbers; 1 MB of float32, for the cache's sake; and steps long enough for threads


def batch_inside(x: Array) -> Array:
    """(N, H, W, C) → (H, W, N, C), the order in memory: a view."""
    return x.transpose(1, 2, 0, 3)


def batch_first(x: Array) -> Array:
    """(H, W, N, C) → (N, H, W, C): a view."""
    return x.transpose(2, 0, 1, 3)


def in_slabs(work: Callable[[Any], None], x: Array, numbers: int) -> None:
    """work(index) for slabs of x, one behind the other in memory; together they are all of x.

    `numbers` are to be worked on in all, for several slabs at once (see `parallel.parts`).
    """
    axis = max(range(x.ndim), key=lambda a: x.strides[a]) if x.ndim else 0
    if x.ndim == 0 or x.shape[axis] < 2:
        work(...)
        return
    step = RUN * x.shape[axis] // max(1, x.size)

    def part(where: slice) -> None:
        for some in runs(where, step):
            work((*(slice(None),) * axis, some))

    run(part, parts(x.shape[axis], numbers))


class Finish:
    """What else is done to the outputs of K convolutions, piece by piece, while in the cache.

    `biases` (K, C) are added, if there are some; with `relu` comes max(that, 0); both in place.
    With `watch` the sums are noted that `statistics` needs.
    """

    def __init__(self, biases: Any = None, relu: bool = False, watch: bool = False) -> None:
        self.biases, self.relu = biases, relu
        self.sums: dict[tuple[int, int], Array] | None = {} if watch else None

    def __call__(self, y: Array, k: int, number: int, channels: slice = slice(None)) -> None:
        """Piece `number` of output k: (…, N, C), where channels and images lie side by side."""
        n, c = y.shape[-2:]
        rows = y.reshape(*y.shape[:-2], n * c)
        if self.biases is not None:
            rows += self.biases[k, None, channels].repeat(n, axis=0).reshape(-1)
        if self.relu:
            xp.maximum(rows, xp.zeros(n * c, y.dtype), out=rows)  # quicker than with a number
        if self.sums is not None and y.size:
            rows = rows.reshape(-1, n * c)
            sums = xp.empty((2, n * c), y.dtype)
            xp.matmul(xp.ones(len(rows), y.dtype), rows, out=sums[0])
            xp.einsum("ij,ij->j", rows, rows, out=sums[1])
            self.sums[k, number] = sums.reshape(2, n, c).sum(axis=1, dtype=xp.float64)

    def statistics(self, ys: Array) -> tuple[Array, Array] | None:
        """Means and variances (K, C) of the channels of ys (K, …, C), if all pieces were watched.

            mean = Σ y / n,    variance = Σ y² / n - mean²

        None where they were not, or where a variance is a small difference of large numbers.
        """
        if not self.sums:
            return None
        sums = xp.zeros((2, len(ys), ys.shape[-1]))
        for k, number in sorted(self.sums):  # in order, whoever was first
            sums[:, k] += self.sums[k, number]
        mean, square = sums * (len(ys) * ys.shape[-1] / ys.size)
        variance = square - mean * mean
        if not (square < 1000 * variance).all():
            return None
        return mean.astype(ys.dtype), variance.astype(ys.dtype)


class WideRows:
    """Arrays (…, C) seen as a matrix whose rows are several pixels wide, for quick passes.

    The pixels are in the order in which they lie in the memory of `x`. Where they lie side by side
    the matrix is a view; what lies otherwise is copied. Several arrays (K, …, C) are K matrices.
    """

    def __init__(self, x: Array) -> None:
        self.shape, self.c, self.dtype = x.shape, x.shape[-1], x.dtype
        self.order = sorted(range(x.ndim - 1), key=lambda axis: -x.strides[axis])
        self.pixels = math.prod(x.shape[:-1])
        self.side_by_side = math.gcd(self.pixels, _power_of_two(WIDE // max(1, self.c))) or 1
        self.count = self.pixels // self.side_by_side

    def of(self, a: Array) -> Array:
        """The matrix (count, side_by_side · C)."""
        return a.transpose(*self.order, a.ndim - 1).reshape(self.count, self.side_by_side * self.c)

    def of_each(self, several: Array) -> Array:
        """The matrices of several arrays: (K, …, C) → (K, count, side_by_side · C)."""
        order = [0, *(axis + 1 for axis in self.order), several.ndim - 1]
        shape = len(several), self.count, self.side_by_side * self.c
        return several.transpose(order).reshape(shape)

    def new(self, k: int) -> Array:
        """K matrices to write into."""
        return xp.empty((k, self.count, self.side_by_side * self.c), self.dtype)

    def arrays(self, matrices: Array) -> Array:
        """K matrices as arrays of the shape of x, and in its order in memory: a view (K, …, C)."""
        lengths = [self.shape[axis] for axis in self.order]
        back = [self.order.index(axis) + 1 for axis in range(len(self.order))]
        k = len(matrices)
        return matrices.reshape(k, *lengths, self.c).transpose(0, *back, len(back) + 1)

    def spread(self, vectors: Array) -> Array:
        """Numbers of the channels as one row, for each of K: (K, C) → (K, 1, side_by_side · C)."""
        return vectors[:, None].repeat(self.side_by_side, axis=1).reshape(len(vectors), 1, -1)

    def gathered(self, row: Array) -> Array:
        """Sums over a row, channel by channel: (side_by_side · C,) → (C,)."""
        return row.reshape(-1, self.c).sum(axis=0)

    def runs(self, where: slice, k: int = 1) -> list[slice]:
        """Runs of rows that stay in the processor's cache from one step to the next; at least one.

        For steps of k matrices at once. (Of no rows, sums are zeros.)
        """
        return runs(where, RUN // max(1, k * self.side_by_side * self.c)) or [where]


def _power_of_two(most: int) -> int:
    return 1 << (max(1, most).bit_length() - 1)
