"""Convolution of images.

At every place of the output a small window of the input is multiplied with the kernel and summed:

    y[n, i, j, o] = Σ over u, v, c of  x[n, i·stride + u·dilation, j·stride + v·dilation, c]
                                       · weight[u, v, c, o]

Images are (N, H, W, C): image, row, column, channel. Kernels are (kh, kw, C_in / groups, C_out).
With the channels last each window is a row of numbers, and all windows times the kernel are one
matrix product. A 1×1 convolution *is* a linear layer on every pixel. (What the field calls
convolution is a correlation: the kernel is not flipped.)
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import index
from typing import Any, Literal

from ..check import Count, CountOrPair, Pair, SizeOrPair, checked
from ..engine.definition import definition
from ..engine.tensor import Tensor
from ..errors import ShapeError
from ..guards.arrays import check_arrays, check_features
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
    x, plan = _plan(x, weight, bias, stride, padding, padding_mode, dilation, groups)
    given = () if bias is None else (bias,)
    return _conv2d(x, weight, *given, **plan)


def _plan(
    x: Any,
    weight: Any,
    bias: Any,
    stride: CountOrPair = 1,
    padding: Padding = "valid",
    padding_mode: Literal["zeros", "reflect"] = "zeros",
    dilation: CountOrPair = 1,
    groups: Count = 1,
) -> tuple[Any, dict[str, Any]]:
    """The arguments checked: x, with its border where that is a reflection, and the settings."""
    check_images("conv2d", x)
    check_features("conv2d", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    if weight.ndim != 4:
        raise ShapeError(f"conv2d: weight needs (kh, kw, C_in, C_out), got {weight.shape}")
    kh, kw, channels, out_channels = weight.shape
    if min(weight.shape) < 1:
        raise ShapeError(f"conv2d: weight {weight.shape} has nothing in it")
    if x.shape[3] != channels * groups:
        raise ShapeError(
            f"conv2d: x has {x.shape[3]} channels (last axis of {x.shape}) but the kernel "
            f"{weight.shape} expects {channels * groups}"
            + (f" ({channels} in each of {groups} groups)" if groups > 1 else "")
        )
    if out_channels % groups:
        raise ShapeError(f"conv2d: {out_channels} output channels do not divide into {groups}")
    if bias is not None and bias.shape != (out_channels,):
        raise ShapeError(
            f"conv2d: bias has shape {bias.shape}, but the kernel {weight.shape} gives "
            f"{out_channels} channels"
        )
    stride, dilation = pair(stride), pair(dilation)
    sizes = ((kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1)  # of the spread-out kernel
    border = tuple(
        _border(padding, axis, x.shape[1 + axis], sizes[axis], stride[axis]) for axis in (0, 1)
    )
    for axis, name in enumerate(("high", "wide")):
        room = x.shape[1 + axis] + sum(border[axis])
        if room < sizes[axis]:
            raise ShapeError(
                f"conv2d: the kernel {weight.shape}"
                + (f" with dilation {dilation[axis]}" if dilation[axis] > 1 else "")
                + f" is {sizes[axis]} {name} but x {x.shape} with its padding only {room}; "
                'use padding="same" or a smaller kernel'
            )
    if padding_mode == "reflect" and border != ((0, 0), (0, 0)):
        x = pad(x, ((0, 0), *border, (0, 0)), mode="reflect")
        border = ((0, 0), (0, 0))
    return x, {"border": border, "stride": stride, "dilation": dilation, "groups": groups}


# ----- The definition -----


@definition
def _conv2d(
    x: Any, weight: Any, *bias: Any, border: Any, stride: Pair, dilation: Pair, groups: int
) -> Any:
    """For each tap of the kernel: the pixels it meets, times its matrix of weights; summed."""
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


# ----- Arguments -----


def check_images(name: str, x: Any) -> None:
    """Raise `ShapeError` unless x has the four axes of a batch of images."""
    check_arrays(name, x=x)
    if x.ndim != 4:
        raise ShapeError(
            f"{name}: x needs four axes (N, H, W, C), got {x.shape}"
            + ("; add the batch axis with x[None]" if x.ndim == 3 else "")
        )


def pair(value: int | Pair) -> Pair:
    """(rows, columns) from one number for both, or two."""
    rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
    return index(rows), index(columns)


def _border(padding: Padding, axis: int, length: int, size: int, stride: int) -> Pair:
    """Pixels (before, after) along one axis."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max(0, (-(-length // stride) - 1) * stride + size - length)
        return total // 2, total - total // 2
    pixels = pair(padding)[axis]
    return pixels, pixels
