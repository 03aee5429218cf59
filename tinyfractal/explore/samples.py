"""A few of an array's numbers, to be looked at: a cut through it, and what was left out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy

from ..backend import asnumpy
from ..engine.operators import raw
from ..nn import Parameter

ROWS, COLUMNS = 8, 10  # at most; ten, for there are ten digits
DIGITS = 6  # significant ones


class Cut(NamedTuple):
    """Which numbers of an array are shown, and that in words."""

    places: tuple[Any, ...]  # an index for each axis
    words: str


class Sample(NamedTuple):
    """What is shown of an array."""

    shape: tuple[int, ...]
    rows: list[list[Any]]
    words: str
    least: float
    most: float
    mean: float

    def as_json(self) -> dict[str, Any]:
        """As the page has it."""
        shown, count = sum(map(len, self.rows)), math.prod(self.shape)
        return {
            "shape": list(self.shape),
            "rows": self.rows,
            "index": self.words,
            "left_out": f"{shown} of {count:,} numbers shown" if shown < count else "",
            "min": self.least,
            "max": self.most,
            "mean": self.mean,
        }


def cut_of(thing: Any) -> Cut:
    """The cut for a Tensor or a node. A weight with four axes is a kernel; others are images."""
    shape = thing.shape
    is_kernel = len(shape) == 4 and isinstance(thing, Parameter)
    return cut(shape, is_kernel)


def cut(shape: tuple[int, ...], is_kernel: bool = False) -> Cut:
    """Two axes of an array, thinned out until they fit; of the others the first place."""
    index: list[Any] = [0] * len(shape)
    words = []
    if is_kernel:
        plane, names = (0, 1), {2: "input channel", 3: "output channel"}
    elif len(shape) >= 4:  # images (N, H, W, C)
        plane, names = (-3, -2), {len(shape) - 1: "channel", 0: "sample"}
    else:
        plane, names = (-2, -1), {0: "sample"}
    axes = [axis % len(shape) for axis in plane] if len(shape) > 1 else list(range(len(shape)))
    for axis in range(len(shape)):
        if axis not in axes and shape[axis] > 1:
            words.append(f"{names.get(axis, f'axis {axis}:')} 0")
    for axis in axes:
        most = COLUMNS if axis == axes[-1] else ROWS
        step = max(-(-shape[axis] // most), 1)
        # images are thinned out, of rows and features the first ones are shown
        is_pixel = len(shape) >= 4
        index[axis] = slice(None, None, step) if is_pixel else slice(0, most)
        if step > 1 and is_pixel and axis == axes[0]:
            words.append(f"every {ordinal(step)} pixel")
    return Cut(tuple(index), ", ".join(words))


def ordinal(n: int) -> str:
    """2nd, 3rd, 4th, …"""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n % 100 not in (11, 12, 13) else "th"
    return f"{n}{ending}"


def sample(array: Any, where: Cut | None = None) -> Sample:
    """Look at an array of the backend."""
    array = raw(array)
    where = where or cut(array.shape)
    # an empty array has no first place to be cut at
    shown = numpy.atleast_2d(asnumpy(array[where.places] if array.size else array[:0].reshape(0)))
    least = most = mean = 0.0
    if array.size:
        whole = asnumpy(array) if array.size <= 64 else array
        least, most, mean = (number(float(f())) for f in (whole.min, whole.max, whole.mean))
    rows = [[number(value) for value in row] for row in shown.tolist()]
    return Sample(tuple(array.shape), rows, where.words, least, most, mean)


def number(value: Any, digits: int = DIGITS) -> Any:
    """Rounded as it is shown; a word where JSON has no number for it."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return str(value)
    return float(f"{value:.{digits}g}")
