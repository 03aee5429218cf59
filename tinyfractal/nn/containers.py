"""Modules that hold others: in a row, under names, or run one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ..check import got, need
from ..errors import OutOfRangeError
from ..guards.modules import check_held, check_name, index_of
from .module import Module, Parameter

T = TypeVar("T")


class Row(Module, Generic[T]):
    """Things in a row, as in a Python list. Their names are "0", "1", …"""

    holds: type  # what may be in it

    def __init__(self, things: Iterable[T] = ()) -> None:
        self.extend(things)

    def _fill(self, things: list[T]) -> None:
        """Hold exactly these."""
        check_held(self, self.holds, *things)
        for name in [name for name in vars(self) if name.isdecimal()]:
            delattr(self, name)
        for i, thing in enumerate(things):
            setattr(self, str(i), thing)

    def _name(self, index: Any) -> str:
        """The name of the one at `index`, which may be negative."""
        return str(index_of(type(self).__name__, index, len(self)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[T]:
        return (thing for name, thing in vars(self).items() if name.isdecimal())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._row(list(self)[index])
        return getattr(self, self._name(index))

    def _row(self, things: list[T]) -> Any:
        """What a slice is: a row of the same kind, of the very same things."""
        return type(self)(things)

    def __setitem__(self, index: int, thing: T) -> None:
        check_held(self, self.holds, thing)
        setattr(self, self._name(index), thing)

    def __delitem__(self, index: int | slice) -> None:
        things = list(self)
        del things[index if isinstance(index, slice) else int(self._name(index))]
        self._fill(things)

    def append(self, thing: T) -> None:
        """Add one at the end. Raises `TypeError` for what does not belong here."""
        check_held(self, self.holds, thing)
        setattr(self, str(len(self)), thing)

    def extend(self, things: Iterable[T]) -> None:
        """Add several at the end."""
        need(type(self).__name__, f"{self.holds.__name__.lower()}s", things, Iterable)
        self._fill([*self, *things])

    def insert(self, index: int, thing: T) -> None:
        """Put one in before number `index`; the later ones move on."""
        need(f"{type(self).__name__}.insert", "index", index, int)
        things = list(self)
        things.insert(max(-len(things), min(index, len(things))), thing)  # as lists do, without end
        self._fill(things)


class ModuleList(Row[Module]):
    """Modules in a row, to be run as the owner likes."""

    holds = Module


class ParameterList(Row[Parameter]):
    """Weights in a row."""

    holds = Parameter


class Sequential(ModuleList):
    """Modules run one after the other, each on the output of the one before.

    `net[:-1]` is a Sequential of the same layers, and `net[-1] = layer` replaces the last one.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def _row(self, things: list[Module]) -> Sequential:
        return Sequential(*things)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x


class ModuleDict(Module):
    """Modules under names of your own, to be run as the owner likes."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        need("ModuleDict", "modules", modules, Mapping | None)
        for name, module in (modules or {}).items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        check_name(self, name)
        need(f"ModuleDict[{name!r}]", "the value", module, Module)
        setattr(self, name, module)

    def __getitem__(self, name: str) -> Module:
        if name not in self:
            there = ", ".join(self) or "nothing"
            raise OutOfRangeError(f"ModuleDict: there is no {got(name)}, only {there}")
        return getattr(self, name)

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def __contains__(self, name: Any) -> bool:
        return isinstance(name, str) and name in self.keys()

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        """The names, in the order in which they were set."""
        return [name for name, _ in self.children()]

    def values(self) -> list[Module]:
        """The modules, in the same order."""
        return [module for _, module in self.children()]

    def items(self) -> list[tuple[str, Module]]:
        """(name, module) of all."""
        return list(self.children())
