"""The arguments of a primitive: which are differentiated, in which type, and what went wrong."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

from ..backend import check_array, is_array, native, out_of_memory, xp
from ..check import Arguments, explained
from ..errors import DTypeError
from .arraylike import ArrayLike, raw


class Operands(Arguments):
    """The arguments of a primitive: the first ones are differentiated, the others are settings."""

    def __init__(self, value: Callable[..., Any], differentiated: int) -> None:
        super().__init__(value)
        self.name = value.__name__.strip("_")
        self.differentiated = differentiated
        self.variadic = bool(self.rest)  # takes any number: *xs
        self.defaults = {
            name: parameter.default
            for name, parameter in list(self.parameters.items())[differentiated:]
            if parameter.default is not parameter.empty
        }
        # with so many arguments a call is in order as it is; -1: never
        self.arity = -1 if self.defaults or self.variadic else differentiated

    def sort(self, args: tuple[Any, ...], params: dict) -> tuple[tuple[Any, ...], dict]:
        """What is differentiated, and the settings by name with their defaults filled in."""
        if self.variadic or len(args) == self.differentiated:
            return args, {**self.defaults, **params} if self.defaults else params
        try:  # settings without their names, or arguments with
            bound = self.signature.bind(*args, **params)
        except TypeError as error:
            self.check(self.name, args, params)
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        values = list(bound.arguments.items())
        tensors = tuple(value for _, value in values[: self.differentiated])
        return tensors, dict(values[self.differentiated :])

    def explain(self, args: tuple[Any, ...], params: dict, error: Exception) -> Exception:
        """The error to raise where a call failed: which argument is wrong, or what did not fit."""
        for position, arg in enumerate(args):
            if not isinstance(arg, (numbers.Real, ArrayLike)) and not is_array(arg):
                check_array(arg, f"{self.name}: {self.argument(position)}")
        if isinstance(error, MemoryError):
            return out_of_memory(self.name, map(raw, args), error)
        return explained(self.name, self, args, params, error) or error

    def argument(self, position: int) -> str:
        """What the argument at a position, 0 being the first, is called."""
        names = self.names
        return names[position] if position < len(names) else f"argument {position + 1}"

    def one_type(self, args: Sequence[Any]) -> list[Any]:
        """Arrays brought to one floating-point type; numbers stay numbers."""
        name, arrays = self.name, []
        dtypes = set()
        for position, arg in enumerate(args):
            if type(arg) is not float and type(arg) is not int:
                if isinstance(arg, (numbers.Real, xp.generic)):  # np.float64(2) would widen float32
                    arg = float(arg)
                else:
                    check_array(arg, f"{name}: {self.argument(position)}")
                    arg = native(arg, name)
                    dtypes.add(arg.dtype)
            arrays.append(arg)
        if len(dtypes) > 1:
            floats = [dtype for dtype in dtypes if dtype.kind == "f"]
            if len(floats) > 1:
                raise DTypeError(
                    f"{name}: the arguments mix {' and '.join(sorted(map(str, floats)))}, and the "
                    "result would silently be the wider one. Convert one of them with .astype(...)."
                )
            if floats:  # integers and booleans follow the floats, where NumPy would go to float64
                arrays = [a.astype(floats[0]) if isinstance(a, xp.ndarray) else a for a in arrays]
        elif float in map(type, arrays) and dtypes.pop().kind != "f":  # integers beside a number
            arrays = [a.astype(xp.float32) if isinstance(a, xp.ndarray) else a for a in arrays]
        return arrays
