"""Module: a function with weights, and modules made of modules.

A module is an ordinary object whose attributes are Parameters, Buffers and other modules;
everything here finds them by looking through those attributes, in the order in which they were
set. What it could not find (a weight inside a dict, say) it refuses. There is nothing to register:

    class Doubler(Module):
        def __init__(self):
            self.scale = Parameter([2.0])

        def forward(self, x):
            return x * self.scale
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, MappingView, Sequence
from functools import partial
from inspect import ismodule
from reprlib import recursive_repr
from threading import local
from typing import Any, TypeVar, cast

import numpy

from ..backend import asarray, asnumpy, xp
from ..check import PACKAGE, Count, checked, got, need
from ..engine.modes import no_grad
from ..engine.tensor import Tensor
from ..errors import CheckpointError, DTypeError
from .state import LeftOut, as_array, misfit, missing_or_unexpected
from .summary import table

M = TypeVar("M", bound="Module")
_switching = local()  # "modules": those whose `train` is running, for each thread


class Parameter(Tensor):
    """A Tensor that is learned: it needs a gradient, and modules list it."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


class Buffer(Tensor):
    """A Tensor that belongs to a module's state but is not learned, like running statistics."""

    __slots__ = ()


class Weights(list["Parameter"]):
    """The weights of a module, which knows whether others came later: see `Optimizer.step`."""

    def __init__(self, module: Module) -> None:
        super().__init__(parameter for _, parameter in module.named_parameters())
        self.module = module


class Module:
    """A function with weights. Subclasses write `forward`; calling the module runs it."""

    training = True

    def __init_subclass__(cls) -> None:
        """Refuse weights of the class: all objects would share them, and none would find them."""
        super().__init_subclass__()
        if vars(cls).get("__slots__"):
            raise TypeError(f"{cls.__name__}.__slots__: weights in slots are lost; leave it out")
        for name, value in vars(cls).items():
            if is_weight(value):
                raise TypeError(
                    f"{cls.__name__}.{name}: this {type(value).__name__} belongs to the class and "
                    "is not found; set it in __init__, as self." + name
                )

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. Raises `TypeError` where a weight would be lost without a word."""
        if type(value) is Tensor and is_leaf(value):
            raise TypeError(unlisted(self, name))
        if name == "requires_grad":
            raise TypeError(
                f"{type(self).__name__}.requires_grad: a module has none, and setting it would "
                f"freeze nothing; write `for p in net.parameters(): p.requires_grad = {value}`"
            )
        if callable(getattr(Module, name, None)) and (
            isinstance(value, FOUND) or not callable(value)
        ):
            raise TypeError(
                f"{type(self).__name__}.{name} is a method of every module; call net.{name}(…), "
                "or choose another name for the attribute"
            )
        if name == "training":
            need(type(self).__name__, name, value, bool)
        if isinstance(value, ONCE):
            raise TypeError(
                f"{type(self).__name__}.{name}: a {type(value).__name__} can be gone through once, "
                "and weights in it are not found; put modules into a ModuleList, others into a list"
            )
        before = self.__dict__.get(name)
        if isinstance(before, FOUND) and not (value is None or isinstance(value, FOUND)):
            raise TypeError(overwritten(self, name, before, value))
        object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.forward(*args, **kwargs)

    # ----- What is inside -----

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside.

        Raises `TypeError` for modules and weights that are not found where they are.
        """
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif is_leaf(value):
                raise TypeError(unlisted(self, name))
            elif isinstance(value, HOLDERS) or is_plain_object(value):
                check_container(self, name, value)

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module (path "") and all inside, each before its children.

        A module that is used in several places comes once, at the first; without
        `remove_duplicate` it comes under all its paths. (Where a module knows the one it is in,
        a path ends.)
        """
        seen: set[int] = set()
        stack: list[tuple[str, Module, frozenset[int]]] = [(prefix, self, frozenset())]
        while stack:
            path, module, above = stack.pop()
            if id(module) in (seen if remove_duplicate else above):
                continue
            yield path, module
            seen.add(id(module))
            above |= {id(module)}
            start = f"{path}." if path else ""
            inside = [(start + name, child, above) for name, child in module.children()]
            stack += reversed(inside)

    def _named(self, kind: type[Tensor], remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen = set()
        for path, module in self.named_modules("", remove_duplicate):
            for name, value in vars(module).items():
                if isinstance(value, kind) and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter) of all weights inside; shared ones once, if `remove_duplicate`."""
        return self._named(Parameter, remove_duplicate)

    def named_buffers(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Buffer]]:
        """(path, Buffer) of all other state inside; shared ones once, if `remove_duplicate`."""
        return self._named(Buffer, remove_duplicate)

    def parameters(self) -> Weights:
        """A list of all weights inside; shared ones once."""
        return Weights(self)

    def buffers(self) -> list[Buffer]:
        """All other state inside."""
        return [buffer for _, buffer in self.named_buffers()]

    def count_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters())

    # ----- What to do with it -----

    def train(self: M, training: bool = True) -> M:
        """Switch to training (dropout drops, batch norm uses the batch), and return self.

        Each child is asked through its own `train`, so a layer that overrides it stays as it is:

            class FrozenBatchNorm2d(BatchNorm2d):
                def train(self, training=True):
                    return super().train(False)
        """
        need(f"{type(self).__name__}.train", "training", training, bool)
        running = vars(_switching).setdefault("modules", set())
        if id(self) in running:  # a child that knows its parent has asked back
            return self
        running.add(id(self))
        try:
            self.training = bool(training)
            for _, child in list(self.children()):
                child.train(training)
        finally:
            running.discard(id(self))
        return self

    def eval(self: M) -> M:
        """Switch to inference (nothing is random, batch norm uses what it has learned)."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    @checked
    def astype(self: M, dtype: Any) -> M:
        """Turn all weights and buffers into another floating-point type, and return self."""
        if dtype is None or xp.dtype(dtype) not in (xp.float32, xp.float64):
            raise DTypeError(f"astype: dtype is float32 or float64, got {dtype}")
        for tensor in [*self.parameters(), *self.buffers()]:
            tensor.data = tensor.data.astype(dtype)
            tensor.grad = None
            tensor.changed("astype")
        return self

    # ----- Saving and loading -----

    def _state(self) -> dict[str, Tensor]:
        """{path: Tensor} of all parameters, then all buffers; shared ones under all their paths."""
        return {**dict(self.named_parameters(False)), **dict(self.named_buffers(False))}

    def state_dict(self) -> dict[str, Any]:
        """{path: NumPy array}: copies of all parameters, then all buffers.

        A weight that is used in several places is there under all its paths, as in PyTorch.
        """
        return {name: asnumpy(tensor.data).copy() for name, tensor in self._state().items()}

    @checked
    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LeftOut:
        """Take over the values of a `state_dict`; nothing changes if it does not fit.

        Returns the names that were left out: (missing_keys, unexpected_keys), none if `strict`.
        A weight that is used in several places needs one of its paths. Raises `CheckpointError`
        that lists every entry that is misshapen or holds anything but finite floating-point
        numbers and, where `strict`, every missing and unexpected one.
        """
        own = self._state()
        given = {name: as_array(state[name]) for name in own if name in state}
        left_out = missing_or_unexpected(own, state)
        problems = [f"missing: {name}" for name in left_out.missing_keys] if strict else []
        problems += [f"unexpected: {name}" for name in left_out.unexpected_keys if strict]
        if own and not given and not strict:
            problems.append(f"it has no entry of this module, such as {next(iter(own))}")
        first: dict[Tensor, str] = {}
        for name, array in given.items():
            problem = misfit(name, own[name], array)
            other = first.setdefault(own[name], name)
            if not problem and not numpy.array_equal(array, given[other]):
                problem = f"contradiction: {other} and {name} are one weight here, but differ"
            if problem:
                problems.append(problem)
        if problems:
            raise CheckpointError(
                f"load_state_dict: the state does not fit this {type(self).__name__}:\n  "
                + "\n  ".join(problems)
            )
        with no_grad():
            for name, array in given.items():
                own[name].copy_(asarray(array, own[name].dtype))
        return left_out

    # ----- Looking at it -----

    @recursive_repr("(see above)")  # where a child knows its parent
    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}" for name, child in self.children()]
        if not lines:
            return f"{type(self).__name__}({self.describe()})"
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def describe(self) -> str:
        """The settings worth showing, as they would be written in the constructor."""
        return ""

    @checked
    def summary(self, input_shape: Sequence[Count]) -> str:
        """A table of every layer: output shape and parameters, for one input of `input_shape`.

        `input_shape` is that of a single example, such as (H, W, C). The module is run once, in
        inference; a layer that is run several times has ×n beside it, and its parameters once.
        """
        return table(self, input_shape)


# ----- Weights that would be lost -----

FOUND = (Module, Parameter, Buffer)
CONTAINERS = (list, tuple, set, frozenset, deque, Mapping, MappingView)
HOLDERS = (*CONTAINERS, partial, numpy.ndarray)
ONCE = (Generator, map, filter, zip, reversed, enumerate)


def is_leaf(value: Any) -> bool:
    """Whether this is a leaf that wants a gradient, and no Parameter: nobody would train it."""
    return type(value) is Tensor and value.requires_grad and value.node is None


def is_weight(value: Any) -> bool:
    """Whether this is something that a module should find."""
    return isinstance(value, FOUND) or is_leaf(value)


def unlisted(module: Module, name: str) -> str:
    """What to say of a weight that is no Parameter."""
    return (
        f"{type(module).__name__}.{name}: a Tensor with requires_grad is not found by parameters(),"
        " so no optimizer would train it; use Parameter(…), or detach() what is no weight"
    )


def overwritten(module: Module, name: str, before: Any, value: Any) -> str:
    """What to say where something else would take the place of a weight."""
    kind = type(before).__name__
    mend = f"change its numbers with `with no_grad(): self.{name}.copy_(…)`, or assign a {kind}"
    if isinstance(before, Module):
        mend = "assign another Module, or None"
    return (
        f"{type(module).__name__}.{name} is a {kind}, and the module would lose it for "
        f"{got(value)}; {mend}"
    )


def check_container(module: Module, name: str, value: Any) -> None:
    """Raise `TypeError` if a list, a dict or the like has a module or a weight in it."""
    kind, top, stack, seen = type(value).__name__, value, [value], set()
    where = "it an attribute" if isinstance(value, HOLDERS) else f"{kind} a Module"
    while stack:
        value = stack.pop()
        if is_weight(value) and value is not module:
            is_module = isinstance(value, Module)
            mend = "a ModuleList or a ModuleDict" if is_module else "a ParameterList"
            raise TypeError(
                f"{type(module).__name__}.{name}: the {type(value).__name__} in this {kind} is not "
                f"found; put it into {mend}, or make {where}"
            )
        if (value is top or isinstance(value, HOLDERS)) and id(value) not in seen:
            seen.add(id(value))
            stack += held(value)


def is_plain_object(value: Any) -> bool:
    """Whether it is of a user's class, which may have forgotten to be a Module."""
    ours = type(value).__module__.startswith(PACKAGE)
    return hasattr(value, "__dict__") and not (ours or callable(value) or ismodule(value))


def held(holder: Any) -> list[Any]:
    """What is in a container, or in something else that holds values for later."""
    if isinstance(holder, partial):
        return [holder.func, *holder.args, *holder.keywords.values()]
    if isinstance(holder, numpy.ndarray):
        return list(holder.flat) if holder.dtype == object else []
    if not isinstance(holder, CONTAINERS):
        return list(vars(holder).values())
    inside: list[Any] = [*cast(Any, holder)]  # of a mapping, its keys
    return inside + list(holder.values()) if isinstance(holder, Mapping) else inside
