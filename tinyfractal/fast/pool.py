"""Pooling a tap at a time, in place, a part of the image on each thread."""

from __future__ import annotations

from typing import Any

from ..backend import Array, current, xp
from ..check import Pair
from ..ops import pool
from ..ops.conv import taps
from . import cuda
from .fused import quicker
from .memory import in_slabs


def _without_border(widths: Any, padded: Array) -> Array:
    """Without the padding."""
    _, (top, _), (left, _), _ = widths
    return padded[:, top : padded.shape[1] - top, left : padded.shape[2] - left]


def _max_gradient(
    g: Array, saved: Array, wanted: list[bool], x: Array, size: Pair, stride: Pair, widths: Any
) -> tuple[Array]:
    y = saved
    bordered = any(map(any, widths))
    if current() == "cupy" and cuda.pools(size, stride, bordered):
        return (cuda.max_pool2d_gradient(g, y, x, size, stride),)
    if bordered:
        inside = xp.pad(xp.ones((1, *x.shape[1:3], 1), bool), widths)
        x = xp.pad(x, widths, constant_values=-xp.inf)
    places = [tap for _, _, tap in taps(x.shape, size, stride)]
    apart = size[0] <= stride[0] and size[1] <= stride[1]  # no pixel in two windows
    covered = apart and x.size == len(places) * y.size  # and each in one
    gx = xp.empty_like(x) if covered else xp.zeros_like(x)

    def slab(index: Any) -> None:
        taken: Any = None  # outputs whose largest pixel was found already
        largest_y, g_y = y[index], g[index]
        for tap in places:
            largest = x[tap][index] == largest_y
            if bordered:  # the padding never wins, over -inf neither
                largest &= xp.broadcast_to(inside[tap], y.shape)[index]
            if taken is None:
                taken = largest.copy(order="K")
            else:
                largest &= ~taken
                taken |= largest
            if apart:
                xp.multiply(g_y, largest, out=gx[tap][index])
            else:
                gx[tap][index] += g_y * largest

    if apart:
        in_slabs(slab, y, 4 * x.size)
    else:
        slab(...)
    return (_without_border(widths, gx),)


@quicker(pool._max_pool2d, _max_gradient)
def _max_pool2d(x: Array, *, size: Pair, stride: Pair, widths: Any) -> tuple[Array, Array]:
    bordered = any(map(any, widths))
    if current() == "cupy" and cuda.pools(size, stride, bordered):
        y = cuda.max_pool2d(x, size, stride)
        return y, y
    if bordered:
        x = xp.pad(x, widths, constant_values=-xp.inf)
    first, *others = [x[tap] for _, _, tap in taps(x.shape, size, stride)]
    y = first.copy(order="K")

    def slab(index: Any) -> None:
        for other in others:
            xp.maximum(y[index], other[index], out=y[index])

    in_slabs(slab, y, 2 * x.size)
    return y, y


def _avg_gradient(
    g: Array, saved: None, wanted: list[bool], x: Array, size: Pair, stride: Pair, widths: Any
) -> tuple[Array]:
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths))
    gx = xp.zeros(shape, x.dtype)
    share = g / (size[0] * size[1])
    for _, _, tap in taps(shape, size, stride):
        gx[tap] += share
    return (_without_border(widths, gx),)


@quicker(pool._avg_pool2d, _avg_gradient)
def _avg_pool2d(x: Array, *, size: Pair, stride: Pair, widths: Any) -> tuple[Array, None]:
    x = xp.pad(x, widths) if any(map(any, widths)) else x
    y: Any = 0.0
    for _, _, tap in taps(x.shape, size, stride):
        y = y + x[tap]
    return y / (size[0] * size[1]), None
