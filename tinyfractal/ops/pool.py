"""Pooling: each window of an image becomes one number, its largest or its mean.

Images are (N, H, W, C). A window of `kernel_size` moves by `stride` (its own size where None).
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, xp
from ..check import CountOrPair, Pair, SizeOrPair, checked
from ..engine.operators import raw
from ..engine.primitive import fused
from ..engine.tensor import Tensor
from ..errors import ShapeError
from ..fast.memory import in_slabs
from .conv import check_images, pair, taps
from .elementwise import where
from .reduce import mean, sum
from .shape import pad, stack


@checked
def max_pool2d(
    x: Any, kernel_size: CountOrPair, stride: CountOrPair | None = None, padding: SizeOrPair = 0
) -> Tensor:
    """The largest number of each window: (N, H, W, C) → (N, OH, OW, C).

    Of equal numbers the first takes the gradient, as in PyTorch. The padding never wins.
    Raises `ShapeError` where no window fits.
    """
    return _max_pool2d(x, **_settings("max_pool2d", x, kernel_size, stride, padding))


@checked
def avg_pool2d(
    x: Any, kernel_size: CountOrPair, stride: CountOrPair | None = None, padding: SizeOrPair = 0
) -> Tensor:
    """The mean of each window: (N, H, W, C) → (N, OH, OW, C); padding counts as zeros.

    Raises `ShapeError` where no window fits.
    """
    return _avg_pool2d(x, **_settings("avg_pool2d", x, kernel_size, stride, padding))


@checked
def global_avg_pool(x: Any) -> Tensor:
    """The mean of each channel of each image: (N, H, W, C) → (N, C)."""
    check_images("global_avg_pool", x)
    return mean(x, axis=(1, 2))


def _settings(name: str, x: Any, kernel_size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    check_images(name, x)
    size = pair(kernel_size)
    padding = pair(padding)
    for axis in (0, 1):
        if 2 * padding[axis] > size[axis]:
            raise ShapeError(f"{name}: padding {padding} is more than half the window {size}")
        if x.shape[1 + axis] + 2 * padding[axis] < size[axis]:
            raise ShapeError(f"{name}: a window of {size} does not fit into x {x.shape}")
    return {
        "size": size,
        "stride": size if stride is None else pair(stride),
        "widths": ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)),
    }


def _without_border(widths: Any, padded: Array) -> Array:
    """Without the padding."""
    _, (top, _), (left, _), _ = widths
    return padded[:, top : padded.shape[1] - top, left : padded.shape[2] - left]


# ----- The largest -----


def _max_reference(x: Any, size: Pair, stride: Pair, widths: Any) -> Any:
    """The pixels under each place of the window, side by side; of them the first largest."""
    inside = xp.pad(xp.ones(x.shape, bool), widths)
    x = pad(x, widths, value=-xp.inf)
    places = [tap for _, _, tap in taps(x.shape, size, stride)]
    candidates = stack([x[tap] for tap in places])
    values = raw(candidates)
    largest = (values == values.max(axis=0)) | (values != values)  # NaN wins, as in NumPy
    first = xp.argmax(largest & xp.stack([inside[tap] for tap in places]), axis=0)
    chosen = xp.arange(len(values)).reshape(-1, 1, 1, 1, 1) == first
    return sum(where(chosen, candidates, 0.0), axis=0)


def _max_gradient(
    g: Array, saved: Array, wanted: list[bool], x: Array, size: Pair, stride: Pair, widths: Any
) -> tuple[Array]:
    y = saved
    bordered = any(map(any, widths))
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


@fused(_max_gradient, _max_reference)
def _max_pool2d(x: Array, *, size: Pair, stride: Pair, widths: Any) -> tuple[Array, Array]:
    if any(map(any, widths)):
        x = xp.pad(x, widths, constant_values=-xp.inf)
    first, *others = [x[tap] for _, _, tap in taps(x.shape, size, stride)]
    y = first.copy(order="K")

    def slab(index: Any) -> None:
        for other in others:
            xp.maximum(y[index], other[index], out=y[index])

    in_slabs(slab, y, 2 * x.size)
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
