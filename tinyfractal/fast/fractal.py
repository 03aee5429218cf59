"""Fractal blocks: units that read the same input are run together.

Of the seven convolutions of a block of three columns five share their input with others. What is
done to that input alone is done once, and so is batch norm for all of them. In training the
statistics for batch norm are taken while a convolution's output is in the cache; in inference,
where nothing is recorded, the kernel takes over what batch norm does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ..backend import current, xp
from ..engine.definition import RULES
from ..engine.modes import mode
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..fractal import ConvUnit, FractalBlock, Keep, _join
from ..nn import BatchNorm2d, Conv2d, Dropout, Module
from ..ops.conv import Plan, planned
from .conv import conv2d_each, outputs, shares
from .fused import as_written
from .norm import batch_norm_each, scale_and_shift


def together(units: Sequence[ConvUnit], x: Any) -> list[Tensor]:
    """The outputs of several units that read the same x."""
    first = units[0]
    if not all(is_ordinary(unit) and is_like(unit, first) for unit in units):
        return [unit.norm(unit.dropout(unit.conv(x))) for unit in units]
    x, plan = planned(x, first.conv.weight, None, **first.conv.settings)
    if shares(x, first.conv.weight, plan):
        return in_one_call(units, x, plan)
    return [in_one_call([unit], x, plan)[0] for unit in units]


def in_one_call(units: Sequence[ConvUnit], x: Any, plan: Plan) -> list[Tensor]:
    """The same, where the kernels go together."""
    count = len(units)
    if all(is_one_step(unit, units[0], x) for unit in units):
        return outputs(in_one_step(units, x, plan), count)
    ys = outputs(conv2d_each(x, [unit.conv.weight for unit in units], plan), count)
    return [unit.norm(unit.dropout(y)) for unit, y in zip(units, ys)]


def in_one_step(units: Sequence[ConvUnit], x: Any, plan: Plan) -> Any:
    """The outputs of K units (K, N, H, W, C); of one, without K.

    In training the statistics for batch norm are taken on the way. In inference batch norm is a
    multiple of each channel and a sum, which the kernel and its bias take over if nothing is
    recorded.
    """
    norms = [unit.norm for unit in units]
    kernels: list[Any] = [unit.conv.weight for unit in units]
    if norms[0].training or mode.recording:
        found: list = []
        ys = conv2d_each(x, kernels, plan, statistics=found if norms[0].training else None)
        return batch_norm_each(ys, norms, found)
    means, variances, weights, biases = (
        xp.stack([raw(a) for a in each]) for each in zip(*map(vectors_of, norms))
    )
    _, scales, shifts = scale_and_shift(means, variances, weights, biases, norms[0].eps)
    kernels = [Tensor.of(raw(kernel) * scale) for kernel, scale in zip(kernels, scales)]
    return conv2d_each(x, kernels, plan, shifts, relu=norms[0].relu)


def vectors_of(norm: BatchNorm2d) -> list[Any]:
    """Its four, each (C,)."""
    return [norm.running_mean, norm.running_var, norm.weight, norm.bias]


def is_ordinary(unit: ConvUnit) -> bool:
    """Whether its convolution is a plain `Conv2d` without a bias, whatever its settings."""
    return type(unit.conv) is Conv2d and unit.conv.bias is None and not is_watched(unit.conv)


def is_like(unit: ConvUnit, first: ConvUnit) -> bool:
    """Whether its kernel has the same shape and settings as that of the first."""
    one, other = unit.conv, first.conv
    return one.settings == other.settings and one.weight.shape == other.weight.shape


def is_one_step(unit: ConvUnit, first: ConvUnit, x: Any) -> bool:
    """Whether batch norm follows at once, like that of the first, and may be done with it.

    A subclass may do something else, and settings, shapes and types that do not fit are left to the
    layers, which say so. On a GPU, too, every layer goes by itself: there it is one kernel.
    """
    dropout, norm, like, weight = unit.dropout, unit.norm, first.norm, unit.conv.weight
    return (
        current() == "numpy"
        and type(dropout) is Dropout
        and not (dropout.p and dropout.training)
        and (type(norm).forward, type(norm).__call__) == BATCH_NORM
        and (norm.eps, norm.relu, norm.training) == (like.eps, like.relu, like.training)
        and not any(map(is_watched, (dropout, norm)))
        and all(getattr(a, "shape", 0) == weight.shape[3:] for a in vectors_of(norm))
        and all(a.dtype == weight.dtype for a in (x, *vectors_of(norm)))
        and (type(norm.momentum), type(norm.eps), type(norm.relu)) == (float, float, bool)
        and norm.eps >= 0
        and 0 <= norm.momentum <= 1
    )


BATCH_NORM = BatchNorm2d.forward, Module.__call__


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
