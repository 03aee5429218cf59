"""Fractal blocks: units that read the same input are run together.

Of the seven convolutions of a block of three columns five share their input with others. What is
done to that input alone is done once, and units that are nothing but convolution, batch norm and
ReLU are one step (`unit`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ..backend import current
from ..engine.definition import RULES
from ..engine.modes import mode
from ..engine.tensor import Tensor
from ..fractal import ConvUnit, FractalBlock, Keep, _join
from ..nn import BatchNorm2d, Conv2d, Dropout, Module
from .conv import conv2d_each
from .fused import as_written
from .unit import conv_units


def together(units: Sequence[ConvUnit], x: Any) -> list[Tensor]:
    """The outputs of several units that read the same x."""
    first = units[0]
    if not all(go_together(unit, first) for unit in units):
        return [unit.norm(unit.dropout(unit.conv(x))) for unit in units]
    weights, settings = [unit.conv.weight for unit in units], first.conv.settings
    if all(is_one_step(unit, first, x) for unit in units):
        norms = [unit.norm for unit in units]
        return conv_units(x, weights, norms, first.norm.training, **settings)
    ys = conv2d_each(x, weights, **settings)
    return [unit.norm(unit.dropout(y)) for unit, y in zip(units, ys)]


def go_together(unit: ConvUnit, first: ConvUnit) -> bool:
    """Whether its convolution is an ordinary one, and has the same shape as the first's."""
    conv = unit.conv
    return (
        type(conv) is Conv2d
        and conv.bias is None
        and (conv.settings, conv.weight.shape) == (first.conv.settings, first.conv.weight.shape)
        and not is_watched(conv)
    )


def is_one_step(unit: ConvUnit, first: ConvUnit, x: Any) -> bool:
    """Whether `conv_units` does all that its layers do: ordinary ones, of which none drops.

    Errors, too, are left to the layers. And it has to pay: on a GPU every layer is one kernel.
    """
    dropout, norm = unit.dropout, unit.norm
    vectors = norm.weight, norm.bias, norm.running_mean, norm.running_var
    return (
        current() == "numpy"
        and not mode.anomaly  # which tells the layers apart
        and type(dropout) is Dropout
        and not (dropout.p and dropout.training)
        and type(norm).forward is BatchNorm2d.forward
        and not any(map(is_watched, (dropout, norm)))
        and (norm.eps, norm.relu, norm.training)
        == (first.norm.eps, first.norm.relu, first.norm.training)
        and all(getattr(a, "shape", None) == unit.conv.weight.shape[3:] for a in vectors)
        and getattr(x, "ndim", 0) == 4
        and (x.size > x.shape[3] or not norm.training)
    )


def is_as_written(unit: ConvUnit) -> bool:
    """Whether it is a ConvUnit as the library has it: another may have a `forward` of its own."""
    return type(unit).forward is FORWARD and not is_watched(unit)


def is_watched(module: Module) -> bool:
    """Whether this one has another `forward` than its class, as `summary` gives it."""
    return "forward" in vars(module)


class Fork:
    """One input that several units read. They run when the output of one is asked for, all at once.

    `fork.through(unit)` is a function that gives unit(z).
    """

    def __init__(self, z: Any) -> None:
        self.z = z
        self.units: list[ConvUnit] = []
        self.outputs: list[Any] = []  # each until it is asked for

    def through(self, unit: ConvUnit) -> Branch:
        self.units.append(unit)
        return functools.partial(self.output, len(self.units) - 1)

    def output(self, position: int) -> Tensor:
        if len(self.outputs) < len(self.units):
            self.outputs += together(self.units[len(self.outputs) :], self.z)
        output, self.outputs[position] = self.outputs[position], None
        return output


Branch = Callable[[], Tensor]
FORWARD = ConvUnit.forward


def forward(self: ConvUnit, x: Any) -> Any:
    """In the place of `ConvUnit.forward`; at a `Fork` it is a promise."""
    return x.through(self) if isinstance(x, Fork) else together([self], x)[0]


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
