"""The join in one pass: nothing between the branches and their mean."""

from __future__ import annotations

from typing import Any

from ..backend import Array, current, xp
from ..engine.definition import RULES
from ..engine.primitive import primitive
from ..ops.join import _join as definition
from . import cuda
from .memory import in_slabs


def _shares(g: Any, _y: Any, *_xs: Any, weights: Any) -> list[Any]:
    if isinstance(weights, float):
        return [g * weights] * len(_xs)
    return [g * weight for weight in weights]


@primitive(_shares)
def _join(*xs: Array, weights: Any) -> Array:
    if current() == "cupy" and xs[0].dtype.kind == "f":
        return cuda.weighted_sum(xs, [weights] * len(xs) if isinstance(weights, float) else weights)
    y = xp.empty_like(xs[0])

    def slab(index: Any) -> None:
        out = y[index]
        if isinstance(weights, float):  # one for all: sum first
            xp.add(xs[0][index], xs[1][index], out=out)
            for x in xs[2:]:
                out += x[index]
            out *= weights
        else:
            each = [xp.broadcast_to(weight, y.shape)[index] for weight in weights]
            xp.multiply(xs[0][index], each[0], out=out)
            for x, weight in zip(xs[1:], each[1:]):
                out += x[index] * weight

    in_slabs(slab, y, 2 * len(xs) * y.size)
    return y


def join_quickly(*xs: Any, weights: Any) -> Any:
    """The weight of a sample is repeated for each channel.

    That is quicker with the batch inside (`memory`), where the channels of all samples at a pixel
    are one line.
    """
    if current() == "numpy" and not isinstance(weights, float) and xs[0].ndim > 1:
        channels = xs[0].shape[-1]
        weights = [xp.repeat(weight, channels, axis=-1) for weight in weights]
    return _join(*xs, weights=weights)


RULES[definition] = join_quickly
