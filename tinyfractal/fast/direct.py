"""Convolution a tap at a time: the definition, with the whole batch in one product.

For a tap (u, v) of the kernel, every pixel of the output meets one pixel of the input, its own
place shifted by the tap. All those pixels times the tap's matrix of weights are one product,

    y[to] += x[from] @ weight[u, v]

where `to` and `from` are the places of output and input that meet: what would fall on the border of
zeros is left out, so nothing is padded, and in an image of 2×2 pixels a 3×3 kernel costs 16
products of a pixel instead of 36. Backward the same pixels meet again:

    gx[from] += gy[to] @ weight[u, v]ᵀ        gw[u, v] = x[from]ᵀ @ gy[to]

No kernel is transformed, no window copied out: the way to go where there is more work in the
weights than in the images, and for kernels, strides and dilations of any size.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from ..backend import Array, xp
from .memory import Finish, batch_first, batch_inside
from .parallel import parts, run, runs

Pair = tuple[int, int]
Work = list[tuple[slice, slice]]

CHUNK = 1 << 20  # numbers that a tap works on at a time; fewer images are short runs of memory


def forward(
    x: Array,
    weight: Array,
    size: Pair,
    border: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
    finish: Finish | None = None,
    k: int = 0,
) -> Array:
    """x (N, H, W, C) and weight (kh, kw, C / groups, O) → (N, *size, O); that is output k."""
    n, c, o = len(x), x.shape[3], weight.shape[3]
    finish = finish or Finish()
    x, y = batch_inside(x), xp.empty((*size, n, o), x.dtype)
    meetings = list(meet(x.shape, weight.shape, size, border, stride, dilation))

    def part(work: tuple[slice, slice]) -> None:
        images, outputs = work
        for some in runs(images, _images(c + 2 * o, size)):
            out = y[:, :, some, outputs]
            total = xp.zeros(out.shape, x.dtype)
            for u, v, to, source in meetings:
                target = total[to]
                rows = x[source][:, :, some]
                product = times(rows.reshape(-1, c), weight[u, v, :, outputs], groups)
                target += product.reshape(target.shape)
            finish(total, k, some.start, outputs)
            out[...] = total

    run(part, split(n, o, x, weight, groups))
    return batch_first(y)


def backward(
    gy: Array,
    x: Array,
    weight: Array,
    border: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
    wanted: list[bool],
) -> tuple[Array | None, Array | None]:
    """The gradients of x and of weight, given gy (N, OH, OW, O)."""
    n, c, o = len(x), x.shape[3], weight.shape[3]
    size = gy.shape[1:3]
    x, gy = batch_inside(x), batch_inside(gy)
    gx = xp.zeros(x.shape, x.dtype) if wanted[0] else None
    meetings = list(meet(x.shape, weight.shape, size, border, stride, dilation))
    work = split(n, c, x, weight, groups)
    by_inputs = work[0][0] == slice(0, n)  # each part has other inputs, or other images
    whole: Any = xp.zeros(weight.shape, x.dtype) if wanted[1] and by_inputs else None

    def part(work: tuple[slice, slice]) -> Any:
        images, inputs = work
        matrices = weight[:, :, inputs]
        gw: Any = None
        if wanted[1]:
            gw = whole[:, :, inputs] if by_inputs else xp.zeros(weight.shape, x.dtype)
        for some in runs(images, _images(c + 2 * o, size)):
            for u, v, to, source in meetings:
                g = gy[to][:, :, some].reshape(-1, o)
                if gw is not None:
                    rows = x[source][:, :, some, inputs].reshape(len(g), -1)
                    gw[u, v] += times_transposed(rows, g, groups)
                if gx is not None:
                    target = gx[source][:, :, some, inputs]
                    target += times(g, back(matrices[u, v], groups), groups).reshape(target.shape)
        return gw

    found = run(part, work)
    gw = functools.reduce(xp.add, found) if wanted[1] and not by_inputs else whole
    return None if gx is None else batch_first(gx), gw


def split(n: int, channels: int, x: Array, weight: Array, groups: int) -> Work:
    """Parts of the work, (images, channels): by images, or by channels where there is more weight.

    For each thread has to read all the weights of its channels.
    """
    if weight.size > x.size and groups == 1:
        return [(slice(0, n), part) for part in parts(channels, weight.size)]
    return [(part, slice(0, channels)) for part in parts(n, 9 * x.size)]


def meet(
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    size: Pair,
    border: Any,
    stride: Pair,
    dilation: Pair,
) -> Iterator[tuple[int, int, Any, Any]]:
    """For each tap (u, v) the places (rows, columns) of the output and of the input that meet."""
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            to, source = zip(
                *(
                    _along(image[a], size[a], tap * dilation[a] - border[a][0], stride[a])
                    for a, tap in enumerate((u, v))
                )
            )
            if all(place.start < place.stop for place in to):
                yield u, v, to, source


def _along(length: int, size: int, offset: int, step: int) -> tuple[slice, slice]:
    """Along an axis: the outputs i whose input i · step + offset is there, and those inputs."""
    first = max(0, -(offset // step))
    last = min(size, (length - 1 - offset) // step + 1)
    start = first * step + offset
    return slice(first, last), slice(start, start + (last - first - 1) * step + 1, step)


def _images(numbers: int, size: Pair) -> int:
    """How many images at a time, for the cache's sake."""
    each = numbers * size[0] * size[1]
    return CHUNK // max(1, each)


# ----- Products, group by group -----


def times(rows: Array, matrix: Array, groups: int) -> Array:
    """(p, C) times (C / groups, O), each group of channels by its own columns: (p, O)."""
    if groups == 1:
        return rows @ matrix
    grouped = rows.reshape(len(rows), groups, -1).swapaxes(0, 1)
    by_group = matrix.reshape(len(matrix), groups, -1).swapaxes(0, 1)
    return (grouped @ by_group).swapaxes(0, 1).reshape(len(rows), -1)


def back(matrix: Array, groups: int) -> Array:
    """The matrix (C / groups, O) of the way back, from O to C: (O / groups, C)."""
    if groups == 1:
        return matrix.T
    by_group = matrix.reshape(len(matrix), groups, -1)
    return by_group.transpose(2, 1, 0).reshape(by_group.shape[2], -1)


def times_transposed(rows: Array, g: Array, groups: int) -> Array:
    """Σ over the rows of x ⊗ g: (p, C) and (p, O) → (C / groups, O)."""
    if groups == 1:
        return rows.T @ g
    x_by_group = rows.reshape(len(rows), groups, -1).transpose(1, 2, 0)
    found = x_by_group @ g.reshape(len(g), groups, -1).swapaxes(0, 1)
    return found.swapaxes(0, 1).reshape(found.shape[1], -1)
