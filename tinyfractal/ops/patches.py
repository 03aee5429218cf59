"""Convolution of images with few channels: windows copied out, one product ("im2col").

A first layer sees the three colours, or one grey. A tap at a time its products would be thin, so
the windows are copied out. For each row of the output they are the columns of a matrix P
(kh · kw · C, pixels of the row in all images), and

    Y = Pᵀ W        gW = Σ P gY

with W the kernel as a matrix (kh · kw · C, O), the sum over the rows. To copy from, the images are
laid out with the channels first, (C, H, W, N): so a line of P is one long block. A few rows at a
time, while they are in the processor's cache.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, xp
from ..parallel import parts, run, runs
from .memory import Finish, batch_first, batch_inside

Pair = tuple[int, int]

CHUNK = 1 << 18  # numbers in P: 1 MB of float32, an L2 cache


def suits(weight: Array, groups: int) -> bool:
    """Whether the channels are few and the windows larger than a pixel."""
    return groups == 1 and weight.shape[2] < 8 and weight.shape[:2] != (1, 1)


def forward(
    x: Array,
    weight: Array,
    size: Pair,
    border: Any,
    stride: Pair,
    dilation: Pair,
    finish: Finish | None = None,
) -> Array:
    """x (N, H, W, C) and weight (kh, kw, C, O) → (N, *size, O)."""
    view = windows(x, weight.shape, size, border, stride, dilation)
    y = xp.empty((*size, len(x), weight.shape[3]), x.dtype)
    matrix = weight.reshape(-1, weight.shape[3])

    def part(rows: slice) -> None:
        for some in _chunks(rows, view):
            out = y[some].reshape(some.stop - some.start, -1, y.shape[3])
            xp.matmul(_copied(view[some]).swapaxes(1, 2), matrix, out=out)
            if finish is not None:
                finish(y[some])

    run(part, parts(size[0], view.size))
    return batch_first(y)


def kernel_gradient(
    gy: Array, x: Array, weight: Array, border: Any, stride: Pair, dilation: Pair
) -> Array:
    """The gradient of weight, given gy (N, OH, OW, O)."""
    view = windows(x, weight.shape, gy.shape[1:3], border, stride, dilation)
    gy = batch_inside(gy)

    def part(rows: slice) -> Array:
        gw = xp.zeros((weight[..., 0].size, weight.shape[3]), x.dtype)
        for some in _chunks(rows, view):
            g = gy[some].reshape(some.stop - some.start, -1, gw.shape[1])
            gw += (_copied(view[some]) @ g).sum(axis=0)
        return gw

    return sum(run(part, parts(len(gy), view.size))).reshape(weight.shape)


def _copied(view: Array) -> Array:
    """The windows of some rows (r, kh, kw, C, OW, N) as matrices (r, kh · kw · C, OW · N)."""
    r, kh, kw, c, columns, n = view.shape
    return view.reshape(r, kh * kw * c, columns * n)


def windows(
    x: Array, kernel: tuple[int, ...], size: Pair, border: Any, stride: Pair, dilation: Pair
) -> Array:
    """Every window of x (N, H, W, C): a view (OH, kh, kw, C, OW, N) of a padded copy."""
    n, h, w, c = x.shape
    (top, bottom), (left, right) = border
    canvas = xp.zeros((c, h + top + bottom, w + left + right, n), x.dtype)
    canvas[:, top : top + h, left : left + w] = x.transpose(3, 1, 2, 0)
    sc, sh, sw, sn = canvas.strides
    return xp.lib.stride_tricks.as_strided(
        canvas,
        (size[0], *kernel[:2], c, size[1], n),
        (sh * stride[0], sh * dilation[0], sw * dilation[1], sc, sw * stride[1], sn),
    )


def _chunks(rows: slice, view: Array) -> list[slice]:
    """Runs of rows of the output whose windows fit into the cache."""
    each = view.size // max(1, len(view))
    return runs(rows, CHUNK // max(1, each))
