"""Images and kernels: do shapes, padding, windows and masks fit?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import Array, on_gpu
from ..check import Pair
from ..errors import DTypeError, ShapeError
from .arrays import check_arrays, check_features, where_it_is


def check_images(name: str, x: Any) -> None:
    """Raise `ShapeError` unless x has the four axes of a batch of images."""
    check_arrays(name, x=x)
    if x.ndim != 4:
        raise ShapeError(
            f"{name}: x needs four axes (N, H, W, C), got {x.shape}"
            + ("; add the batch axis with x[None]" if x.ndim == 3 else "")
        )


# ----- Convolution and pooling -----


def check_kernel(x: Any, weight: Any, bias: Any, groups: int) -> None:
    """Raise unless the channels of x, kernel, bias and groups of a convolution fit."""
    check_features("conv2d", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    if weight.ndim != 4:
        raise ShapeError(f"conv2d: weight needs (kh, kw, C_in, C_out), got {weight.shape}")
    if min(weight.shape) < 1:
        raise ShapeError(f"conv2d: weight {weight.shape} has nothing in it")
    _, _, channels, out_channels = weight.shape
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


def check_room(x: Any, weight: Any, border: Sequence[Pair], extent: Pair, dilation: Pair) -> None:
    """Raise `ShapeError` unless the kernel, spread out to `extent`, fits into the padded x."""
    for axis, name in enumerate(("high", "wide")):
        room = x.shape[1 + axis] + sum(border[axis])
        if room < extent[axis]:
            raise ShapeError(
                f"conv2d: the kernel {weight.shape}"
                + (f" with dilation {dilation[axis]}" if dilation[axis] > 1 else "")
                + f" is {extent[axis]} {name} but x {x.shape} with its padding only {room}; "
                'use padding="same" or a smaller kernel'
            )


def check_window(name: str, x: Any, size: Pair, padding: Pair) -> None:
    """Raise `ShapeError` unless a window fits into x, and the padding is at most half of it."""
    check_images(name, x)
    for axis in (0, 1):
        if 2 * padding[axis] > size[axis]:
            raise ShapeError(f"{name}: padding {padding} is more than half the window {size}")
        if x.shape[1 + axis] + 2 * padding[axis] < size[axis]:
            raise ShapeError(f"{name}: a window of {size} does not fit into x {x.shape}")


# ----- Normalization -----


def check_batch_norm(x: Any, training: bool, weight: Any, bias: Any, **running: Any) -> None:
    """Raise unless all vectors fit the channels, and there are statistics (None: not given)."""
    missing = [name for name, value in running.items() if value is None]
    given = {name: value for name, value in running.items() if value is not None}
    given = {"weight": weight, "bias": bias, **given}
    check_features("batch_norm", x=x, **given)
    for name, value in given.items():
        if value.shape != x.shape[-1:]:
            raise ShapeError(
                f"batch_norm: x has {x.shape[-1]} channels (last axis of {x.shape}) but "
                f"{name} has shape {value.shape}"
            )
    if not training and missing:
        raise ValueError("batch_norm: outside training it needs running_mean and running_var")
    if training and x.size // x.shape[-1] == 1:
        raise ShapeError(
            f"batch_norm: x {x.shape} has one number per channel, which has no variance; use "
            "larger batches or images in training, or call eval() first"
        )


def check_layer_norm(x: Any, weight: Any, bias: Any) -> None:
    """Raise unless weight and bias fit the channels of x."""
    check_features("layer_norm", x=x, weight=weight, bias=bias)
    if weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ShapeError(
            f"layer_norm: x has {x.shape[-1]} channels (last axis of {x.shape}) but weight has "
            f"shape {weight.shape} and bias {bias.shape}"
        )


# ----- Branches that are joined -----


def check_branches(xs: Sequence[Any]) -> None:
    """Raise unless there are branches, arrays of one shape."""
    if not xs:
        raise ShapeError("join: xs is empty: there is no branch to join")
    for position, x in enumerate(xs):
        check_arrays("join", **{f"xs[{position}]": x})
        if x.shape != xs[0].shape:
            raise ShapeError(f"join: xs[{position}] has shape {x.shape}, xs[0] has {xs[0].shape}")


def checked_mask(mask: Any, xs: Sequence[Any]) -> Array:
    """The mask as an array, on the host unless it came from the GPU.

    Raises unless it is (N, k) of booleans with a branch alive for every sample; nobody waits for a
    GPU to see the latter.
    """
    mask = where_it_is(mask)
    if mask.dtype.kind != "b":
        raise DTypeError(f"join: mask says alive or not, so it must be bool, got {mask.dtype}")
    if mask.shape != (len(xs[0]), len(xs)):
        raise ShapeError(f"join: mask has shape {mask.shape}, expected {(len(xs[0]), len(xs))}")
    if not on_gpu(mask) and not mask.any(axis=1).all():
        dead = int(mask.any(axis=1).argmin())
        raise ShapeError(f"join: no branch is alive for sample {dead}")
    return mask
