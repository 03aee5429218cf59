"""Convolution of images.

At every place of the output a small window of the input is multiplied with the kernel and summed:

    y[n, i, j, o] = Σ over u, v, c of  x[n, i·stride + u·dilation, j·stride + v·dilation, c]
                                       · weight[u, v, c, o]

Images are (N, H, W, C): image, row, column, channel. Kernels are (kh, kw, C_in / groups, C_out).
With the channels last, the pixels that one tap (u, v) of the kernel meets, times its matrix
weight[u, v], are one matrix product, and a convolution is the sum of these. A 1×1 convolution *is*
a linear layer on every pixel. (What the field calls convolution is a correlation: the kernel is not
flipped.)
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import index
from typing import Any, Literal, NamedTuple

from ..check import Count, CountOrPair, Pair, SizeOrPair, checked
from ..engine.definition import definition
from ..engine.tensor import Tensor
from ..guards.images import check_images, check_kernel, check_room
from .shape import concatenate, pad, split

Padding = Literal["same", "valid"] | SizeOrPair


@checked
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: CountOrPair = 1,
    padding: Padding = "valid",
    padding_mode: Literal["zeros", "reflect"] = "zeros",
    dilation: CountOrPair = 1,
    groups: Count = 1,
) -> Tensor:
    """Two-dimensional convolution: x (N, H, W, C_in) → (N, OH, OW, C_out).

    `weight` (kh, kw, C_in / groups, C_out), `bias` (C_out,) or None. `padding`: "valid" (none),
    "same" (OH = ⌈H / stride⌉; the odd pixel goes to the end), or pixels on each side, as an int or
    (rows, columns); `padding_mode` "zeros" or "reflect". `dilation` spreads the kernel's taps.
    With `groups` the channels are dealt into that many convolutions side by side.
    OH = ⌊(H + padding - dilation·(kh - 1) - 1) / stride⌋ + 1.
    (The layer `nn.Conv2d` pads with "same" unless told otherwise.)
    Raises `ShapeError` where channels and kernel do not fit or nothing would come out.
    """
    x, plan = planned(x, weight, bias, stride, padding, padding_mode, dilation, groups)
    given = () if bias is None else (bias,)
    return _conv2d(x, weight, *given, plan=plan)


class Plan(NamedTuple):
    """How a kernel moves over an image. Pairs are (for rows, for columns)."""

    border: tuple[Pair, ...]  # how many zeros (before, after) along either axis
    stride: Pair
    dilation: Pair
    groups: int


@definition
def _conv2d(x: Any, weight: Any, *bias: Any, plan: Plan) -> Any:
    """For each tap of the kernel: the pixels it meets, times its matrix of weights; summed."""
    border, stride, dilation, groups = plan
    x = pad(x, ((0, 0), *border, (0, 0)))
    parts = []
    for xg, wg in zip(split(x, groups, axis=3), split(weight, groups, axis=3)):
        meetings = taps(x.shape, weight.shape, stride, dilation)
        parts.append(sum(xg[tap] @ wg[u, v] for u, v, tap in meetings))
    y = parts[0] if groups == 1 else concatenate(parts, axis=3)
    return y + bias[0] if bias else y


def taps(
    shape: tuple[int, ...], kernel: tuple[int, ...], stride: Pair, dilation: Pair = (1, 1)
) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """For each tap (u, v) of a kernel, the index of the pixels of x that it meets."""
    out = [(shape[1 + a] - (kernel[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in (0, 1)]
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            rows, columns = (
                slice(start, start + (n - 1) * step + 1, step)
                for start, n, step in zip((u * dilation[0], v * dilation[1]), out, stride)
            )
            yield u, v, (slice(None), rows, columns)


# ----- From what was asked to a plan -----


def planned(
    x: Any, weight: Any, bias: Any, stride: Any = 1, padding: Any = "valid",
    padding_mode: str = "zeros", dilation: Any = 1, groups: int = 1,
) -> tuple[Any, Plan]:  # fmt: skip
    """x, mirrored at its edges already if that is the padding; and the plan. See `conv2d`."""
    check_images("conv2d", x)
    check_kernel(x, weight, bias, groups)
    stride, dilation = pair(stride), pair(dilation)
    extent = tuple((k - 1) * step + 1 for k, step in zip(weight.shape, dilation))
    sides = (padding, padding) if isinstance(padding, str) else pair(padding)
    border = tuple(map(_border, sides, x.shape[1:3], extent, stride))
    check_room(x, weight, border, extent, dilation)
    if padding_mode == "reflect" and any(map(any, border)):
        x, border = pad(x, ((0, 0), *border, (0, 0)), mode="reflect"), ((0, 0), (0, 0))
    return x, Plan(border, stride, dilation, groups)


def pair(value: int | Pair) -> Pair:
    """(rows, columns) from one number for both, or two."""
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return index(rows), index(columns)


def _border(padding: Any, length: int, size: int, stride: int) -> Pair:
    """Pixels (before, after) along one axis."""
    if padding == "same":
        total = max(0, (-(-length // stride) - 1) * stride + size - length)
        return total // 2, total - total // 2
    return (0, 0) if padding == "valid" else (padding, padding)
