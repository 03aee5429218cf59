"""Pooling: each window of an image becomes one number, its largest or its mean.

Images are (N, H, W, C). A window of `kernel_size` moves by `stride` (its own size where None).
"""

from __future__ import annotations

import functools
from typing import Any

from ..backend import Array, xp
from ..errors import ShapeError
from ..primitive import fused
from ..tensor import Tensor
from .conv import Pair, check_images, pair, taps
from .elementwise import where
from .reduce import mean, sum
from .shape import pad, stack


def max_pool2d(
    x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Tensor:
    """The largest number of each window: (N, H, W, C) → (N, OH, OW, C).

    Of equal numbers the first takes the gradient, as in PyTorch. The padding never wins.
    Raises `ShapeError` where no window fits.
    """
    return _max_pool2d(x, **_settings("max_pool2d", x, kernel_size, stride, padding))


def avg_pool2d(
    x: Any, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Tensor:
    """The mean of each window: (N, H, W, C) → (N, OH, OW, C); padding counts as zeros.

    Raises `ShapeError` where no window fits.
    """
    return _avg_pool2d(x, **_settings("avg_pool2d", x, kernel_size, stride, padding))


def global_avg_pool(x: Any) -> Tensor:
    """The mean of each channel of each image: (N, H, W, C) → (N, C)."""
    check_images("global_avg_pool", x)
    return mean(x, axis=(1, 2))


def _settings(name: str, x: Any, kernel_size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    check_images(name, x)
    size = pair(kernel_size, f"{name}: kernel_size")
    padding = pair(padding, f"{name}: padding", least=0)
    for axis in (0, 1):
        if 2 * padding[axis] > size[axis]:
            raise ShapeError(f"{name}: padding {padding} is more than half the window {size}")
        if x.shape[1 + axis] + 2 * padding[axis] < size[axis]:
            raise ShapeError(f"{name}: a window of {size} does not fit into x {x.shape}")
    return {
        "size": size,
        "stride": size if stride is None else pair(stride, f"{name}: stride"),
        "widths": ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)),
    }


def _without_border(widths: Any, padded: Array) -> Array:
    """Without the padding."""
    _, (top, _), (left, _), _ = widths
    return padded[:, top : padded.shape[1] - top, left : padded.shape[2] - left]


# ----- The largest -----


def _max_reference(x: Any, size: Pair, stride: Pair, widths: Any) -> Any:
    """The pixels under each place of the window, side by side; of them the first largest."""
    x = pad(x, widths, value=-xp.inf)
    candidates = stack([x[tap] for _, _, tap in taps(x.shape, size, stride)])
    values = candidates.data if isinstance(candidates, Tensor) else candidates
    first = xp.argmax(values, axis=0)
    chosen = xp.arange(len(values)).reshape(-1, 1, 1, 1, 1) == first
    return sum(where(chosen, candidates, 0.0), axis=0)


def _max_gradient(
    g: Array, saved: Array, wanted: list[bool], x: Array, size: Pair, stride: Pair, widths: Any
) -> tuple[Array]:
    y = saved
    if any(map(any, widths)):
        x = xp.pad(x, widths, constant_values=-xp.inf)
    gx = xp.zeros_like(x)
    taken: Any = None  # outputs whose largest pixel was found already
    for _, _, tap in taps(x.shape, size, stride):
        largest = x[tap] == y
        if taken is None:
            taken = largest.copy(order="K")
        else:
            largest &= ~taken
            taken |= largest
        gx[tap] += g * largest
    return (_without_border(widths, gx),)


@fused(_max_gradient, _max_reference)
def _max_pool2d(x: Array, *, size: Pair, stride: Pair, widths: Any) -> tuple[Array, Array]:
    if any(map(any, widths)):
        x = xp.pad(x, widths, constant_values=-xp.inf)
    y = functools.reduce(xp.maximum, (x[tap] for _, _, tap in taps(x.shape, size, stride)))
    y = y.copy() if size == (1, 1) else y  # not a view of x
    return y, y


# ----- The mean -----


def _avg_reference(x: Any, size: Pair, stride: Pair, widths: Any) -> Any:
    x = pad(x, widths)
    return mean(stack([x[tap] for _, _, tap in taps(x.shape, size, stride)]), axis=0)


def _avg_gradient(
    g: Array, saved: None, wanted: list[bool], x: Array, size: Pair, stride: Pair, widths: Any
) -> tuple[Array]:
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths))
    gx = xp.zeros(shape, x.dtype)
    share = g / (size[0] * size[1])
    for _, _, tap in taps(shape, size, stride):
        gx[tap] += share
    return (_without_border(widths, gx),)


@fused(_avg_gradient, _avg_reference)
def _avg_pool2d(x: Array, *, size: Pair, stride: Pair, widths: Any) -> tuple[Array, None]:
    x = xp.pad(x, widths) if any(map(any, widths)) else x
    y: Any = 0.0
    for _, _, tap in taps(x.shape, size, stride):
        y = y + x[tap]
    return y / (size[0] * size[1]), None
