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

import math
from collections.abc import Sequence
from typing import Any

from ..backend import Array, xp
from .memory import Finish, batch_inside
from .parallel import parts, run, runs

Pair = tuple[int, int]

CHUNK = 1 << 18  # numbers in P: 1 MB of float32, an L2 cache


def suits(weight: Array, groups: int) -> bool:
    """Whether the channels are few and the windows larger than a pixel."""
    return groups == 1 and weight.shape[2] < 8 and weight.shape[:2] != (1, 1)


def forward(
    x: Array,
    weights: Sequence[Array],
    size: Pair,
    border: Any,
    stride: Pair,
    dilation: Pair,
    finish: Finish | None = None,
) -> Array:
    """x (N, H, W, C) with each of K kernels (kh, kw, C, O) → (K, N, *size, O)."""
    finish = finish or Finish()
    view = windows(x, weights[0].shape, size, border, stride, dilation)
    ys = xp.empty((len(weights), *size, len(x), weights[0].shape[3]), x.dtype)
    matrices = [weight.reshape(-1, weight.shape[3]) for weight in weights]

    def part(rows: slice) -> None:
        for some in _chunks(rows, view):
            p = _copied(view[some]).swapaxes(1, 2)  # (rows, pixels, kh · kw · C)
            for k, (y, matrix) in enumerate(zip(ys, matrices)):
                out = y[some].reshape(len(p), -1, y.shape[3])
                xp.matmul(p, matrix, out=out)
                finish(y[some], k, some.start)

    run(part, parts(size[0], view.size))
    return ys.transpose(0, 3, 1, 2, 4)


def kernel_gradients(
    gys: Sequence[Array],
    x: Array,
    weights: Sequence[Array],
    border: Any,
    stride: Pair,
    dilation: Pair,
) -> list[Array]:
    """The gradients of the kernels, given for each of them gy (N, OH, OW, O)."""
    shape = weights[0].shape
    view = windows(x, shape, gys[0].shape[1:3], border, stride, dilation)
    gys = [batch_inside(gy) for gy in gys]

    def part(rows: slice) -> list[Array]:
        gws = [xp.zeros((math.prod(shape[:3]), shape[3]), x.dtype) for _ in gys]
        for some in _chunks(rows, view):
            p = _copied(view[some])
            for gw, gy in zip(gws, gys):
                gw += (p @ gy[some].reshape(len(p), -1, shape[3])).sum(axis=0)
        return gws

    found = run(part, parts(len(view), view.size))
    return [sum(several).reshape(shape) for several in zip(*found)]


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
