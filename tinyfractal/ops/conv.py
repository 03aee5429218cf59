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
from typing import Any

from ..backend import Array, xp
from ..errors import ShapeError
from ..parallel import parts, run, runs
from ..primitive import check_arrays, fused
from ..tensor import Tensor
from . import winograd
from .shape import concatenate, pad, split

Pair = tuple[int, int]
Padding = str | int | Pair


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Pair = 1,
    padding: Padding = "valid",
    padding_mode: str = "zeros",
    dilation: int | Pair = 1,
    groups: int = 1,
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
    check_images("conv2d", x)
    check_arrays("conv2d", weight=weight, **({} if bias is None else {"bias": bias}))
    if weight.ndim != 4:
        raise ShapeError(f"conv2d: weight needs (kh, kw, C_in, C_out), got {weight.shape}")
    kh, kw, channels, out_channels = weight.shape
    if groups < 1 or min(weight.shape) < 1:
        raise ShapeError(f"conv2d: groups is {groups} and weight {weight.shape}; nothing may be 0")
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
    stride, dilation = pair(stride, "conv2d: stride"), pair(dilation, "conv2d: dilation")
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
    elif padding_mode not in ("zeros", "reflect"):
        raise ValueError(f'conv2d: padding_mode is "zeros" or "reflect", got {padding_mode!r}')
    y = _conv2d(x, weight, border=border, stride=stride, dilation=dilation, groups=groups)
    return y if bias is None else y + bias


# ----- The definition -----


def _reference(x: Any, weight: Any, border: Any, stride: Pair, dilation: Pair, groups: int) -> Any:
    """For each tap of the kernel: the pixels it meets, times its matrix of weights; summed."""
    x = pad(x, ((0, 0), *border, (0, 0)))
    parts = []
    for xg, wg in zip(split(x, groups, axis=3), split(weight, groups, axis=3)):
        parts.append(
            sum(xg[tap] @ wg[u, v] for u, v, tap in taps(x.shape, weight.shape, stride, dilation))
        )
    return parts[0] if groups == 1 else concatenate(parts, axis=3)


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


# ----- The fast rules: the windows as one matrix ("im2col"); 3×3 mostly as in `winograd.py` -----


def _gradient(
    g: Array,
    saved: None,
    wanted: list[bool],
    x: Array,
    weight: Array,
    border: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[Array | None, Array | None]:
    """With Y = P W, P the windows: gW = Pᵀ gY, and gP = gY Wᵀ, each number back to its pixel.

    For x that is the full correlation of g with the flipped kernel.
    """
    if winograd.suits(x, weight, border, stride, dilation, groups):
        return winograd.backward(g, x, weight, border, wanted)
    (top, bottom), (left, right) = border
    kh, kw = weight.shape[:2]
    matrix = _matrix(weight, groups).swapaxes(1, 2)
    gx = xp.empty(x.shape, x.dtype) if wanted[0] else None

    def part(images: slice) -> Array:
        gw: Any = xp.zeros((groups, matrix.shape[2], matrix.shape[1]), x.dtype)
        for chunk in _chunks(images, x, g, weight):
            gy = g[chunk].reshape(-1, groups, matrix.shape[1]).swapaxes(0, 1)
            canvas = _pad_zeros(x[chunk], border)
            if wanted[1]:
                gw += _patches(canvas, weight, stride, dilation, groups).swapaxes(1, 2) @ gy
            if gx is not None:
                gp = (gy @ matrix).reshape(groups, *g[chunk].shape[:3], kh, kw, -1)
                gp = gp.transpose(4, 5, 1, 2, 3, 0, 6).reshape(kh, kw, *g[chunk].shape[:3], -1)
                canvas = xp.zeros(canvas.shape, x.dtype)
                for u, v, tap in taps(canvas.shape, weight.shape, stride, dilation):
                    canvas[tap] += gp[u, v]
                gx[chunk] = canvas[
                    :, top : canvas.shape[1] - bottom, left : canvas.shape[2] - right
                ]
        return gw

    gw: Any = sum(run(part, parts(len(x), 9 * x.size)))  # (groups, kh·kw·C, C_out / groups)
    return gx, gw.swapaxes(0, 1).reshape(weight.shape) if wanted[1] else None


@fused(_gradient, _reference)
def _conv2d(
    x: Array, weight: Array, *, border: Any, stride: Pair, dilation: Pair, groups: int
) -> tuple[Array, None]:
    if winograd.suits(x, weight, border, stride, dilation, groups):
        return winograd.forward(x, weight, border), None
    matrix = _matrix(weight, groups)
    shape = windows(_pad_zeros(x[:0], border), weight.shape[:2], stride, dilation).shape
    y = xp.empty((len(x), *shape[1:3], weight.shape[3]), x.dtype)

    def part(images: slice) -> None:
        for chunk in _chunks(images, x, y, weight):
            canvas = _pad_zeros(x[chunk], border)
            product = _patches(canvas, weight, stride, dilation, groups) @ matrix
            y[chunk] = product.swapaxes(0, 1).reshape(y[chunk].shape)

    run(part, parts(len(x), 9 * x.size))
    return y, None


def _matrix(weight: Array, groups: int) -> Array:
    """The kernel as W: (groups, kh·kw·C, C_out / groups)."""
    rows = weight.reshape(weight.size // weight.shape[3], groups, weight.shape[3] // groups)
    return rows.swapaxes(0, 1)


def _patches(canvas: Array, weight: Array, stride: Pair, dilation: Pair, groups: int) -> Array:
    """Every window copied out, as P: (groups, pixels, kh·kw·C)."""
    kh, kw, channels, _ = weight.shape
    view = windows(canvas, (kh, kw), stride, dilation)  # (n, OH, OW, kh, kw, C)
    pixels = view.shape[0] * view.shape[1] * view.shape[2]
    view = view.reshape(pixels, kh * kw, groups, channels)
    return view.transpose(2, 0, 1, 3).reshape(groups, pixels, kh * kw * channels)


PATCHES = 1 << 18  # numbers in the patches of a chunk: 1 MB of float32, an L2 cache


def _chunks(images: slice, x: Array, y: Array, weight: Array) -> list[slice]:
    """Runs of images whose patches stay in the processor's cache between copy and product."""
    each = y.shape[1] * y.shape[2] * weight.shape[0] * weight.shape[1] * x.shape[3]
    return runs(images, max(PATCHES // max(1, each), 512 // max(1, y.shape[1] * y.shape[2])))


def _pad_zeros(x: Array, border: Any) -> Any:
    return x if border == ((0, 0), (0, 0)) else pad(x, ((0, 0), *border, (0, 0)))


def windows(x: Array, size: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Array:
    """Every window of x (N, H, W, C), as a view (N, OH, OW, kh, kw, C) that copies nothing."""
    n, h, w, c = x.shape
    oh, ow = (
        (length - (k - 1) * d - 1) // s + 1
        for length, k, s, d in zip((h, w), size, stride, dilation)
    )
    sn, sh, sw, sc = x.strides
    return xp.lib.stride_tricks.as_strided(
        x,
        (n, oh, ow, *size, c),
        (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc),
    )


# ----- Arguments -----


def check_images(name: str, x: Any) -> None:
    """Raise `ShapeError` unless x has the four axes of a batch of images."""
    check_arrays(name, x=x)
    if x.ndim != 4:
        raise ShapeError(
            f"{name}: x needs four axes (N, H, W, C), got {x.shape}"
            + ("; add the batch axis with x[None]" if x.ndim == 3 else "")
        )


def pair(value: int | Pair, name: str, least: int = 1) -> Pair:
    """(rows, columns) from one number for both, or two."""
    try:
        rows, columns = value if isinstance(value, (tuple, list)) else (value, value)
        rows, columns = index(rows), index(columns)
    except (TypeError, ValueError):
        rows = columns = least - 1
    if min(rows, columns) < least:
        raise ValueError(f"{name} needs whole numbers of at least {least}, got {value!r}")
    return rows, columns


def _border(padding: Padding, axis: int, length: int, size: int, stride: int) -> Pair:
    """Pixels (before, after) along one axis."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max(0, (-(-length // stride) - 1) * stride + size - length)
        return total // 2, total - total // 2
    if isinstance(padding, str):
        raise ValueError(f'conv2d: padding is "same", "valid" or pixels, got {padding!r}')
    pixels = pair(padding, "conv2d: padding", least=0)[axis]
    return pixels, pixels
