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

import functools
from collections.abc import Iterator, Sequence
from operator import index
from typing import Any, Literal

from .. import backend
from ..backend import Array, xp
from ..check import Count, CountOrPair, Pair, SizeOrPair, checked
from ..engine.modes import mode
from ..engine.primitive import check_arrays, check_features, fused, primitive
from ..engine.tensor import Tensor
from ..errors import ShapeError
from ..fast import direct, patches, winograd
from ..fast.memory import Finish
from .elementwise import relu as max_with_zero
from .shape import concatenate, pad, scatter, split, stack

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
    relu: bool = False,
) -> Tensor:
    """Two-dimensional convolution: x (N, H, W, C_in) → (N, OH, OW, C_out).

    `weight` (kh, kw, C_in / groups, C_out), `bias` (C_out,) or None. `padding`: "valid" (none),
    "same" (OH = ⌈H / stride⌉; the odd pixel goes to the end), or pixels on each side, as an int or
    (rows, columns); `padding_mode` "zeros" or "reflect". `dilation` spreads the kernel's taps.
    With `groups` the channels are dealt into that many convolutions side by side. With `relu` the
    result is max(y, 0), in one go.
    OH = ⌊(H + padding - dilation·(kh - 1) - 1) / stride⌋ + 1.
    (The layer `nn.Conv2d` pads with "same" unless told otherwise.)
    Raises `ShapeError` where channels and kernel do not fit or nothing would come out.
    """
    x, plan = _plan(x, weight, bias, stride, padding, padding_mode, dilation, groups)
    given = () if bias is None else (bias,)
    return _conv2d(x, weight, *given, kernels=1, **plan, relu=relu, statistics=None)


@checked
def conv2d_each(
    x: Any,
    weights: Sequence[Any],
    biases: Sequence[Any] | None = None,
    statistics: list | None = None,
    **settings: Any,
) -> list[Tensor]:
    """`conv2d` of the same x with each of several kernels: [y₁, y₂, …], each (N, OH, OW, C_out).

    Gives what single calls would give, sooner: what is done to x alone is done once, and so are
    the last steps of its gradient. `weights` are of one shape, `biases` as many, or None.
    Into the list `statistics`, if given, go the mean and the variance (C_out,) of each y, taken
    while it is in the cache, for `batch_norm`; or None, where that cannot be.
    Settings and errors are those of `conv2d`.
    """
    check_arrays("conv2d_each", **{f"weights[{k}]": weight for k, weight in enumerate(weights)})
    shapes = [weight.shape for weight in weights]
    if len(set(shapes)) != 1:
        raise ShapeError(f"conv2d_each: weights needs kernels of one shape, got {shapes}")
    if biases is not None and len(biases) != len(weights):
        raise ShapeError(f"conv2d_each: {len(weights)} weights, but {len(biases)} biases")
    relu = settings.pop("relu", False)
    biases = [None] * len(weights) if biases is None else biases
    for weight, bias in zip(weights, biases):
        padded, plan = _plan(x, weight, bias, **settings)
    plan |= {"relu": relu, "statistics": statistics}
    alike = len({bias is None for bias in biases}) == 1
    if mode.reference or len(weights) < 2 or not (alike and _sharing(padded, weight, **plan)):
        each = zip(weights, biases)
        return [
            _conv2d(padded, w, *(() if b is None else (b,)), kernels=1, **plan) for w, b in each
        ]
    given = [] if biases[0] is None else biases
    ys = _conv2d(padded, *weights, *given, kernels=len(weights), **plan)
    return [_row(ys, k=k) for k in range(len(weights))]


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


def _reference(
    *arrays: Any,
    kernels: int,
    border: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
    relu: bool,
    statistics: Any,
) -> Any:
    """For each tap of the kernel: the pixels it meets, times its matrix of weights; summed."""
    x, weights, biases = _sorted(arrays, kernels)
    x = pad(x, ((0, 0), *border, (0, 0)))
    ys = []
    for weight, bias in zip(weights, biases):
        parts = []
        for xg, wg in zip(split(x, groups, axis=3), split(weight, groups, axis=3)):
            parts.append(
                sum(
                    xg[tap] @ wg[u, v]
                    for u, v, tap in taps(x.shape, weight.shape, stride, dilation)
                )
            )
        y = parts[0] if groups == 1 else concatenate(parts, axis=3)
        y = y if bias is None else y + bias
        ys.append(max_with_zero(y) if relu else y)
    return ys[0] if kernels == 1 else stack(ys)


def _sorted(arrays: Sequence[Any], kernels: int) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    """x, the kernels, and their biases (each None where there are none)."""
    x, weights, biases = arrays[0], arrays[1 : 1 + kernels], arrays[1 + kernels :]
    return x, weights, biases or [None] * kernels


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


# ----- The fast rules: which way, by the shape -----


def _sharing(
    x: Any, weight: Any, border: Any, stride: Pair, dilation: Pair, groups: int, **_: Any
) -> bool:
    """Whether the way to go does something to x alone, which several kernels can share."""
    return patches.suits(weight, groups) or winograd.suits(
        x, weight, border, stride, dilation, groups
    )


def _gradient(
    g: Any,
    saved: Any,
    wanted: list[bool],
    *arrays: Array,
    kernels: int,
    border: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
    relu: bool,
    statistics: Any,
) -> Sequence[Array | None]:
    """For x the full correlation of g with the flipped kernel, for weight that of x with g."""
    x, weights, _ = _sorted(arrays, kernels)
    gs = [g] if kernels == 1 else [g[k] for k in range(kernels)]
    if relu:
        gs = [g * (y > 0) for g, y in zip(gs, saved)]
    g_biases = [g.sum(axis=(0, 1, 2)) for g in gs] if any(wanted[1 + kernels :]) else []
    wants = [wanted[0], any(wanted[1 : 1 + kernels])]
    gx: Any = None
    gws: Any = [None] * kernels
    if not any(wants):
        pass
    elif winograd.suits(x, weights[0], border, stride, dilation, groups):
        gx, gws = winograd.backward(gs, x, weights, border, wants)
    elif patches.suits(weights[0], groups) and not wants[0]:  # x is the images, mostly
        gws = patches.kernel_gradients(gs, x, weights, border, stride, dilation)
    else:
        gxs, gws = zip(
            *(
                direct.backward(g, x, weight, border, stride, dilation, groups, wants)
                for g, weight in zip(gs, weights)
            )
        )
        gx = functools.reduce(xp.add, gxs) if wants[0] else None
    return [gx, *gws, *g_biases]


@fused(_gradient, _reference)
def _conv2d(
    *arrays: Array,
    kernels: int,
    border: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
    relu: bool,
    statistics: list | None,
) -> tuple[Array, Sequence[Array] | None]:
    # Winograd for most 3×3 kernels, windows for few channels, otherwise a tap after the other.
    # `finish` is done to some pixels of the output as soon as they are there, in the cache.
    x, weights, biases = _sorted(arrays, kernels)
    weight = weights[0]
    shared = _sharing(x, weight, border, stride, dilation, groups)
    watch = shared and statistics is not None and backend.current() == "numpy"
    finishes = [Finish(bias, relu, watch) for bias in biases]
    ys: Any
    if winograd.suits(x, weight, border, stride, dilation, groups):
        ys = winograd.forward(x, weights, border, finishes)
    else:
        size = tuple(
            (x.shape[1 + a] + sum(border[a]) - (weight.shape[a] - 1) * dilation[a] - 1) // stride[a]
            + 1
            for a in (0, 1)
        )
        if shared:
            ys = patches.forward(x, weights, size, border, stride, dilation, finishes)
        else:
            ys = [
                direct.forward(x, weight, size, border, stride, dilation, groups, finish)
                for weight, finish in zip(weights, finishes)
            ]
    if statistics is not None:
        statistics += [finish.statistics(y) for finish, y in zip(finishes, ys)]
    y = ys[0] if kernels == 1 else ys if shared else xp.stack(ys)
    return y, ys if relu else None


# ----- What several kernels give -----


def _put_back(g: Any, _y: Any, _ys: Any, k: int) -> Any:
    if isinstance(g, Tensor) or mode.anomaly:  # anomaly mode looks at every array
        return scatter(g, index=k, shape=_ys.shape)
    return Rows(_ys.shape, {k: g})


@primitive(_put_back, view=True)
def _row(ys: Any, k: int) -> Any:
    """ys[k]: what kernel k gave. Its gradient is not put back among zeros."""
    return ys[k]


class Rows:
    """The gradient of several arrays in one, row by row: {k: gradient}.

    The rows come from different places, one after the other, and `_conv2d`, for which alone they
    are meant, takes them as they come; so they are never copied together.
    """

    def __init__(self, shape: tuple[int, ...], rows: dict[int, Array]) -> None:
        self.shape, self.rows = shape, rows

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.shape, self.rows | other.rows)  # each row comes once

    def __getitem__(self, k: int) -> Array:
        if k not in self.rows:  # nobody used it
            return xp.zeros_like(next(iter(self.rows.values())))
        return self.rows[k]


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
