"""Pooling: each window of an image becomes one number, its largest or its mean.

Images are (N, H, W, C). A window of `kernel_size` moves by `stride` (its own size where None).
"""

from __future__ import annotations

from typing import Any

from ..backend import xp
from ..check import CountOrPair, Pair, SizeOrPair, checked
from ..engine.definition import definition
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..guards.images import check_images, check_window
from .conv import pair, taps
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
    size, (rows, columns) = pair(kernel_size), pair(padding)
    check_window(name, x, size, (rows, columns))
    widths = ((0, 0), (rows, rows), (columns, columns), (0, 0))
    return {"size": size, "stride": size if stride is None else pair(stride), "widths": widths}


@definition
def _max_pool2d(x: Any, *, size: Pair, stride: Pair, widths: Any) -> Any:
    """The pixels at each tap of the window, side by side; of them the first largest."""
    inside = xp.pad(xp.ones(x.shape, bool), widths)
    x = pad(x, widths, value=-xp.inf)
    all_taps = [tap for _, _, tap in taps(x.shape, size, stride)]
    candidates = stack([x[tap] for tap in all_taps])
    values = raw(candidates)
    largest = (values == values.max(axis=0)) | (values != values)  # NaN wins, as in NumPy
    first = xp.argmax(largest & xp.stack([inside[tap] for tap in all_taps]), axis=0)
    chosen = xp.arange(len(values)).reshape(-1, 1, 1, 1, 1) == first
    return sum(where(chosen, candidates, 0.0), axis=0)


@definition
def _avg_pool2d(x: Any, *, size: Pair, stride: Pair, widths: Any) -> Any:
    x = pad(x, widths)
    return mean(stack([x[tap] for _, _, tap in taps(x.shape, size, stride)]), axis=0)
