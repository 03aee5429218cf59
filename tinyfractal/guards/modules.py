"""Weights that a module would lose without a word: refused where they are set or looked for.

A module finds its own attributes: Parameters, Buffers, other modules. It does not find a weight
in a dict or a list, in a class, in `__slots__`, or in an object that forgot to be a Module: no
optimizer would train that weight, and no file would hold it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Mapping, MappingView, Sequence
from functools import partial
from inspect import ismodule
from math import prod
from operator import index as whole_number
from threading import local
from typing import Annotated, Any, TypeVar, cast

import numpy

from ..check import PACKAGE, PLAIN, Count, got, need
from ..engine.tensor import Tensor
from ..errors import OutOfRangeError

W = TypeVar("W", bound=Tensor)
CONTAINERS = (list, tuple, set, frozenset, deque, Mapping, MappingView)
HOLDERS = (*CONTAINERS, partial, numpy.ndarray)
ONCE = (Generator, map, filter, zip, reversed, enumerate)


class Guarded:
    """What every Module is: a class, and attributes, in which no weight gets lost."""

    def __init_subclass__(cls) -> None:
        """Refuse weights of the class: all objects would share them, and none would find them."""
        super().__init_subclass__()
        if vars(cls).get("__slots__"):
            raise TypeError(f"{cls.__name__}.__slots__: weights in slots are lost; leave it out")
        for name, value in vars(cls).items():
            if is_found(value) or is_leaf(value):
                raise TypeError(
                    f"{cls.__name__}.{name}: this {type(value).__name__} belongs to the class and "
                    "is not found; set it in __init__, as self." + name
                )

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. Raises `TypeError` where a weight would be lost without a word."""
        check_attribute(self, name, value)
        object.__setattr__(self, name, value)


class Weights(list[W]):
    """The weights of a module. With it, an optimizer notices weights that come in later."""

    def __init__(self, module: Any, weights: Iterable[W]) -> None:
        super().__init__(weights)
        self.module = module


# ----- What is lost -----

FOUND = (Guarded, Tensor)  # Parameter and Buffer are classes of Tensors; a plain Tensor is no state


def is_found(value: Any) -> bool:
    """Whether a module finds this attribute: another module, a Parameter or a Buffer."""
    return isinstance(value, FOUND) and type(value) is not Tensor


def is_leaf(value: Any) -> bool:
    """Whether this is a leaf that wants a gradient, and no Parameter: nobody would train it."""
    return type(value) is Tensor and value.requires_grad and value.node is None


def check_attribute(module: Guarded, name: str, value: Any) -> None:
    """Raise `TypeError` where setting this attribute would lose a weight, or do nothing at all."""
    kind = type(module).__name__
    check_leaf(module, name, value)
    if name == "requires_grad":
        raise TypeError(
            f"{kind}.requires_grad: a module has none, and setting it would "
            f"freeze nothing; write `for p in net.parameters(): p.requires_grad = {value}`"
        )
    bases = Guarded.__subclasses__()  # only Module
    a_method = any(callable(getattr(base, name, None)) for base in bases)
    if a_method and (is_found(value) or not callable(value)):
        raise TypeError(
            f"{kind}.{name} is a method of every module; call net.{name}(…), "
            "or choose another name for the attribute"
        )
    if name == "training":
        need(kind, name, value, bool)
    if isinstance(value, ONCE):
        raise TypeError(
            f"{kind}.{name}: a {type(value).__name__} can be gone through once, "
            "and weights in it are not found; put modules into a ModuleList, others into a list"
        )
    before = vars(module).get(name)
    if is_found(before) and not (value is None or is_found(value)):
        old = type(before).__name__
        mend = f"change its numbers with `with no_grad(): self.{name}.copy_(…)`, or assign a {old}"
        if isinstance(before, Guarded):
            mend = "assign another Module, or None"
        raise TypeError(
            f"{kind}.{name} is a {old}, and the module would lose it for {got(value)}; {mend}"
        )


def check_leaf(module: Guarded, name: str, value: Any) -> None:
    """Raise `TypeError` for a weight that is no Parameter."""
    if is_leaf(value):
        raise TypeError(
            f"{type(module).__name__}.{name}: a Tensor with requires_grad is not found by "
            "parameters(), so no optimizer would train it; use Parameter(…), or detach() what is "
            "no weight"
        )


def check_inside(module: Guarded, name: str, value: Any) -> None:
    """Raise `TypeError` if this attribute, which is no module, is or holds a weight not found."""
    check_leaf(module, name, value)
    if not (isinstance(value, HOLDERS) or is_plain_object(value)):
        return
    kind, top, stack, seen = type(value).__name__, value, [value], set()
    where = "it an attribute" if isinstance(value, HOLDERS) else f"{kind} a Module"
    while stack:
        value = stack.pop()
        if (is_found(value) or is_leaf(value)) and value is not module:
            is_module = isinstance(value, Guarded)
            mend = "a ModuleList or a ModuleDict" if is_module else "a ParameterList"
            raise TypeError(
                f"{type(module).__name__}.{name}: the {type(value).__name__} in this {kind} is not "
                f"found; put it into {mend}, or make {where}"
            )
        if (value is top or isinstance(value, HOLDERS)) and id(value) not in seen:
            seen.add(id(value))
            stack += [part for part in held(value) if type(part) not in PLAIN]


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


# ----- Containers -----


def check_held(row: Guarded, kind: type, *things: Any) -> None:
    """Raise `TypeError` for what does not belong into a ModuleList or the like."""
    for thing in things:
        if not isinstance(thing, kind):
            raise TypeError(
                f"{type(row).__name__}: expected {kind.__name__.lower()}s, got "
                f"{got(thing)}; Sequential takes them one by one, the others in a list"
            )


def index_of(row: str, index: Any, length: int) -> int:
    """The index from 0 on; it may be negative. Raises `OutOfRangeError` where nothing is there."""
    need(row, "index", index, int)
    i = whole_number(index)
    if not -length <= i < length:
        raise OutOfRangeError(f"{row}: index {index} is out of range, there are {length}")
    return i % length


def check_name(modules: Any, name: Any) -> None:
    """Raise `ValueError` for what cannot be the name of a module in a ModuleDict."""
    need("ModuleDict", "the name", name, str)
    if not name or "." in name or (name not in modules and hasattr(modules, name)):
        raise ValueError(f"ModuleDict: {name!r} cannot be a name here; choose another")


# ----- First weights -----


class OfWeights:
    """What the shape of a weight has to be, besides whole numbers."""

    def __contains__(self, shape: Sequence[int]) -> bool:
        return len(shape) >= 2 and prod(shape) <= 1 << 27  # drawn in float64: 1 GB

    def __str__(self) -> str:
        return ", as (in, out) or (kh, kw, C_in, C_out) and of at most 2^27 weights"


WeightShape = Annotated[Sequence[Count], OfWeights()]


def check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    """Raise `ValueError` unless the channels of a Conv2d divide into groups."""
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"Conv2d: in_channels {in_channels} and out_channels {out_channels} must both "
            f"divide into groups {groups}"
        )


# ----- Modules that know the one they are in -----


class Asked(local):
    """The ids of the modules whose `train` is running; each thread has its own.

    Such a one is not asked again, where a child that knows its parent asks back.
    """

    def __init__(self) -> None:
        self.modules: set[int] = set()


asked = Asked()
