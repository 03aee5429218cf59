"""Fractal blocks: units that read the same input are run together.

Of the seven convolutions of a block of three columns five share their input with others. What is
done to that input alone (`conv.conv2d_each`) is done once. In training the statistics for batch
norm are taken while a convolution's output is in the cache; in inference the kernel takes over what
batch norm does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ..backend import current
from ..engine.definition import RULES
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..fractal import ConvUnit, FractalBlock, Keep, _join
from ..nn import BatchNorm2d, Conv2d, Dropout, Module
from ..ops import sqrt
from .conv import conv2d_each
from .fused import as_written
from .norm import noted

Convolved = tuple[Tensor, Any, bool]
"""The output of a convolution; its statistics, if known; whether that is what the unit gives."""


def convolve(units: Sequence[ConvUnit], x: Any) -> list[Convolved]:
    """The convolutions of several units on the same x, at once: see `conv2d_each`."""
    if not all(go_together(unit, units[0]) for unit in units):
        return [(unit.conv(x), None, False) for unit in units]
    layers = [layer for unit in units for layer in (unit.conv, unit.dropout, unit.norm)]
    weights, settings = [unit.conv.weight for unit in units], units[0].conv.settings
    plain = all(folds(unit.norm) for unit in units)
    if not plain or any(layer.training for layer in layers):
        statistics: list = []
        ys = conv2d_each(x, weights, statistics=statistics if plain else None, **settings)
        if not statistics or any(unit.dropout.p for unit in units):  # which changes them
            statistics = [None] * len(units)
        return [(y, those, False) for y, those in zip(ys, statistics)]
    # now batch norm is a fixed multiple of each channel, which the kernel can take over
    scales, shifts = zip(*(scale_and_shift(unit.norm) for unit in units))
    scaled = [weight * scale for weight, scale in zip(weights, scales)]
    return [(y, None, True) for y in conv2d_each(x, scaled, shifts, **settings, relu=True)]


def go_together(unit: ConvUnit, first: ConvUnit) -> bool:
    """Whether the unit has the layers it was made with, or such as do the same, like the first."""
    conv, dropout, norm = unit.conv, unit.dropout, unit.norm
    return (
        type(conv) is Conv2d
        and conv.bias is None
        and (conv.settings, conv.weight.shape) == (first.conv.settings, first.conv.weight.shape)
        and type(dropout) is Dropout
        and isinstance(norm, BatchNorm2d)
        and not any(map(is_watched, (conv, dropout, norm)))
    )


def is_as_written(unit: ConvUnit) -> bool:
    """Whether it is a ConvUnit as the library has it: another may have a `forward` of its own."""
    return type(unit).forward is FORWARD and not is_watched(unit)


def folds(norm: Any) -> bool:
    """Whether `scale_and_shift` is all that it does: a subclass may have another `forward`.

    And whether that pays: on a GPU batch norm is one kernel, and folding it takes seven.
    """
    return current() == "numpy" and type(norm).forward is BatchNorm2d.forward


def scale_and_shift(norm: BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What it does outside training: y = x · scale + shift, each (C,)."""
    scale = norm.weight / sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def is_watched(module: Module) -> bool:
    """Whether this one has another `forward` than its class, as `summary` gives it."""
    return "forward" in vars(module)


class Fork:
    """One input that several units read. They run when the output of one is asked for, all at once.

    `fork.through(unit)` is a function that gives unit(z).
    """

    def __init__(self, z: Any) -> None:
        self.z = z
        self.waiting: list[ConvUnit] = []
        self.outputs: dict[ConvUnit, Tensor] = {}

    def through(self, unit: ConvUnit) -> Branch:
        self.waiting.append(unit)
        return lambda: self.output(unit)

    def output(self, unit: ConvUnit) -> Tensor:
        if self.waiting:
            units, self.waiting = self.waiting, []
            for each, convolved in zip(units, convolve(units, self.z)):
                self.outputs[each] = finished(each, convolved)
        return self.outputs.pop(unit)


Branch = Callable[[], Tensor]
FORWARD = ConvUnit.forward


def finished(unit: ConvUnit, convolved: Convolved) -> Tensor:
    """What is left of a unit after its convolution."""
    y, statistics, is_done = convolved
    if is_done:
        return y
    dropped = unit.dropout(y)
    if statistics is not None and unit.norm.training:
        noted.array, noted.statistics = raw(dropped), statistics
    return unit.norm(dropped)


def forward(self: ConvUnit, x: Any) -> Any:
    """In the place of `ConvUnit.forward`; at a `Fork` it is a promise."""
    return x.through(self) if isinstance(x, Fork) else finished(self, convolve([self], x)[0])


def branches(self: FractalBlock, z: Any, alive: numpy.ndarray, keep: Keep) -> list[Any]:
    """In the place of `FractalBlock.branches`: the same, but promises instead of Tensors.

    All the blocks that begin here read the same z; their first convolutions wait at a `Fork`
    until the innermost has come to its join.
    """
    if not isinstance(z, Fork) and all(map(is_as_written, readers(self))):
        z = Fork(z)
    return as_written(FractalBlock.branches)(self, z, alive, keep)


def readers(block: FractalBlock) -> list[ConvUnit]:
    """The units that read the input of a block: the first of each column."""
    return [block.conv, *readers(block.first)] if block.columns > 1 else [block.conv]


def kept(branches: Sequence[Tensor | Branch | None], alive: numpy.ndarray) -> Tensor:
    """In the place of the block's join: the promises are kept."""
    ys = [branch() if callable(branch) else branch for branch in branches]
    return as_written(_join)(ys, alive)


RULES[FORWARD] = forward
RULES[FractalBlock.branches] = branches
RULES[_join] = kept
