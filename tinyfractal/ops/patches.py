"""Convolution of images with few channels: windows copied out, one product ("im2col").

A first layer sees the three colours, or one grey. A tap at a time its products would be thin, so
the windows are copied out, each into a column of a matrix P (kh · kw · C, pixels), and

    Y = Pᵀ W        gW = P gY

with W the kernel as a matrix (kh · kw · C, O). The images are laid out with the channels first,
(C, H, W, N): so a row of P is a row of pixels of the whole batch after another, long blocks to
copy. A few rows of the output at a time, while P is in the processor's cache.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, current, xp
from ..parallel import parts, run, runs
from .memory import batch_first, batch_inside

Pair = tuple[int, int]

CHUNK = 1 << 18  # numbers in P: 1 MB of float32, an L2 cache


def suits(weight: Array, groups: int) -> bool:
    """Whether the channels are few and the windows larger than a pixel."""
    return groups == 1 and weight.shape[2] < 8 and weight.shape[:2] != (1, 1)


def forward(
    x: Array, weight: Array, size: Pair, border: Any, stride: Pair, dilation: Pair
) -> Array:
    """x (N, H, W, C) and weight (kh, kw, C, O) → (N, *size, O)."""
    view = windows(x, weight.shape, size, border, stride, dilation)
    y = xp.empty((*size, len(x), weight.shape[3]), x.dtype)
    matrix = weight.reshape(-1, weight.shape[3])

    def part(rows: slice) -> None:
        for some in _chunks(rows, view):
            patches = view[:, :, :, some].reshape(len(matrix), -1)
            out = y[some]
            xp.matmul(patches.T, matrix, out=out.reshape(-1, out.shape[3]))

    run(part, parts(size[0], view.size))
    return batch_first(y)


def kernel_gradient(
    gy: Array, x: Array, weight: Array, border: Any, stride: Pair, dilation: Pair
) -> Array:
    """The gradient of weight, given gy (N, OH, OW, O)."""
    size = gy.shape[1:3]
    view = windows(x, weight.shape, size, border, stride, dilation)
    gy = batch_inside(gy)

    def part(rows: slice) -> Array:
        gw = xp.zeros((weight[..., 0].size, weight.shape[3]), x.dtype)
        for some in _chunks(rows, view):
            gw += view[:, :, :, some].reshape(len(gw), -1) @ gy[some].reshape(-1, gw.shape[1])
        return gw

    return sum(run(part, parts(size[0], view.size))).reshape(weight.shape)


def windows(
    x: Array, kernel: tuple[int, ...], size: Pair, border: Any, stride: Pair, dilation: Pair
) -> Array:
    """Every window of x (N, H, W, C): a view (kh, kw, C, OH, OW, N) of a padded copy."""
    n, h, w, c = x.shape
    (top, bottom), (left, right) = border
    canvas = xp.zeros((c, h + top + bottom, w + left + right, n), x.dtype)
    canvas[:, top : top + h, left : left + w] = x.transpose(3, 1, 2, 0)
    sc, sh, sw, sn = canvas.strides
    return xp.lib.stride_tricks.as_strided(
        canvas,
        (*kernel[:2], c, *size, n),
        (sh * dilation[0], sw * dilation[1], sc, sh * stride[0], sw * stride[1], sn),
    )


def _chunks(rows: slice, view: Array) -> list[slice]:
    """Runs of rows of the output whose windows fit into the cache."""
    each = view.size // max(1, view.shape[3])
    return runs(rows, max(1, CHUNK // max(1, each)) if current() == "numpy" else view.shape[3])
