"""Arguments are checked where they enter, by the annotations of the function that takes them.

    @checked
    def dropout(x: Any, p: Below1 = 0.5, training: bool = True) -> Tensor: ...

    dropout(x, 2)        # ValueError: dropout: p needs a number from 0 to below 1, got 2
    dropout(x, "half")   # TypeError: dropout: p needs a number from 0 to below 1, got 'half'

So a signature says what is expected, to the reader and to the computer. What no annotation can say,
such as that two shapes must fit, the function says itself, with an error of its own. And where
something still fails inside, in NumPy's words or Python's, `explained` puts the function, its
arguments and that reason into one sentence.
"""

from __future__ import annotations

import dis
import functools
import inspect
import math
import numbers
import os
import reprlib
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import numpy

from .errors import DTypeError, OutOfMemoryError, OutOfRangeError, ShapeError

F = TypeVar("F", bound=Callable[..., Any])

# ----- What a signature can ask for, besides int, str, Module, Sequence[…], Literal[…] … -----


@dataclass(frozen=True)
class Range:
    """From `least` to `most`; with `below`, the latter is not included; `why` there is an end."""

    least: float = -math.inf
    most: float = math.inf
    below: bool = False
    why: str = ""

    def __contains__(self, value: float) -> bool:
        high = value < self.most if self.below else value <= self.most
        return self.least <= value and high and math.isfinite(value)  # NaN is in no range

    def __str__(self) -> str:
        if self.most == math.inf:
            return "" if self.least == -math.inf else f" of at least {self.least}"
        why = f" ({self.why})" if self.why else ""
        return f" from {self.least} to {'below ' * self.below}{self.most}{why}"


Count = Annotated[int, Range(1)]
Size = Annotated[int, Range(0)]
Finite = Annotated[float, Range()]
Amount = Annotated[float, Range(0)]
Probability = Annotated[float, Range(0, 1)]
Below1 = Annotated[float, Range(0, 1, below=True)]
Pair = tuple[int, int]
CountOrPair = Count | tuple[Count, Count]
SizeOrPair = Size | tuple[Size, Size]
Axis = int | tuple[int, ...] | None
Shape = int | tuple[int, ...]
PathLike = str | os.PathLike[str]
Width = Annotated[int, Range(1, 1 << 24)]  # channels or features

# ----- Does a value fit? -----

ALSO: dict[Any, Any] = {  # what passes for it besides Python's own
    bool: (bool, numpy.bool_),
    int: numbers.Integral,
    float: numbers.Real,
}


def misfit(value: Any, hint: Any) -> type[Exception] | None:
    """None where `value` is what `hint` asks for, else the kind of error it deserves."""
    if hint is Any:
        return None
    if isinstance(hint, type):
        fits = isinstance(value, ALSO.get(hint, hint))
        if hint in (int, float) and isinstance(value, ALSO[bool]):  # to Python, True is a 1
            fits = False
        return None if fits else TypeError
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind is Annotated:
        return misfit(value, parts[0]) or (None if value in parts[1] else ValueError)
    if kind is Literal:
        if not isinstance(value, tuple({type(part) for part in parts})):
            return TypeError
        return None if value in parts else ValueError
    if kind in (typing.Union, types.UnionType):
        found = [misfit(value, part) for part in parts]
        return None if None in found else ValueError if ValueError in found else TypeError
    if kind is tuple:
        length = None if parts[-1] is Ellipsis else len(parts)
        return _misfit_inside(value, (list, tuple), parts[0], length)
    if kind is abc.Sequence:
        return _misfit_inside(value, (abc.Sequence, numpy.ndarray), parts[0])
    if isinstance(kind, type):  # Callable, Mapping, Iterable …: only the outside is looked at
        return None if isinstance(value, kind) else TypeError
    return None  # a type variable


def _misfit_inside(
    value: Any, kinds: Any, hint: Any, length: int | None = None
) -> type[Exception] | None:
    if not isinstance(value, kinds) or isinstance(value, (str, bytes)):
        return TypeError
    if isinstance(value, numpy.ndarray) and value.ndim == 0:
        return TypeError
    if length is not None and len(value) != length:
        return ValueError
    if hint is Any:
        return None
    return next(filter(None, (misfit(part, hint) for part in value)), None)


# ----- In words -----

WORDS = {
    type(None): "None", bool: "True or False", int: "a whole number",
    float: "a number", str: "a text", abc.Callable: "a function", abc.Mapping: "a dictionary",
    abc.Iterable: "a list", dict: "a dictionary", os.PathLike: "a path",
    numpy.ndarray: "a NumPy array",
}  # fmt: skip
NUMBERS = {2: "two", 3: "three", 4: "four"}


def expected(hint: Any) -> str:
    """What `hint` asks for, in words: "a whole number of at least 1 or None"."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return "anything"
    if kind is Annotated:
        return expected(parts[0]) + str(parts[1])
    if kind in (Literal, typing.Union, types.UnionType):
        words = list(dict.fromkeys(_alternatives(hint)))
        for word in list(words):  # "a number or two of them": what each is has been said
            words = [text.removesuffix(f", each {word}") for text in words]
        *some, last = words
        return f"{', '.join(some)} or {last}" if some else last
    if kind is tuple and parts[-1] is not Ellipsis:
        return f"{NUMBERS.get(len(parts), len(parts))} of them, each {expected(parts[0])}"
    if kind in (tuple, abc.Sequence):
        inside = expected(parts[0])
        return "a list" if inside == "anything" else f"a list, each {inside}"
    name = kind or hint
    if name in WORDS:
        return WORDS[name]
    if not isinstance(name, type):  # a type variable
        return "anything"
    return f"{'an' if name.__name__[0] in 'AEIOU' else 'a'} {name.__name__}"


def _alternatives(hint: Any) -> list[str]:
    """What a hint allows, one thing after the other."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind is Literal:
        return [f'"{part}"' if isinstance(part, str) else str(part) for part in parts]
    if kind in (typing.Union, types.UnionType):
        return [word for part in parts for word in _alternatives(part)]
    return [expected(hint)]


def got(value: Any) -> str:
    """What came, short enough for a sentence."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None and not isinstance(value, numpy.generic):
        article = "an array" if isinstance(value, numpy.ndarray) else f"a {type(value).__name__}"
        return f"{article} of shape {shape} and type {dtype}"
    try:
        text = reprlib.repr(value)
    except Exception:  # what an object says of itself is its own affair
        text = ""
    return text if 0 < len(text) <= 80 and "\n" not in text else f"a {type(value).__name__}"


def printable(text: object) -> str:
    """A text without control characters, which would colour a terminal or move its cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def need(name: str, argument: str, value: Any, hint: Any) -> None:
    """Raise `TypeError` or `ValueError` unless `value` is what `hint` asks for."""
    wrong = misfit(value, hint)
    if wrong is not None:
        listed = typing.get_origin(hint) in (abc.Sequence, abc.Iterable, tuple)
        single = listed and hasattr(value, "shape") and not isinstance(value, numpy.ndarray)
        raise wrong(
            f"{name}: {argument} needs {expected(hint)}, got {got(value)}"
            + ("; put it into a list" if single else "")
        )


# ----- Around a function -----

PLAIN = {bool, int, float, str, type(None)}
SYNONYMS = {"dim": "axis", "keepdim": "keepdims", "input": "x", "correction": "ddof"}


class Arguments:
    """The parameters of a function and what their annotations ask for, looked up when needed."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.signature = inspect.signature(function)
        self.parameters = self.signature.parameters
        of_kind: dict[Any, list[str]] = {}
        for name, parameter in self.parameters.items():
            of_kind.setdefault(parameter.kind, []).append(name)
        self.names = of_kind.get(inspect.Parameter.POSITIONAL_OR_KEYWORD, [])
        self.rest = of_kind.get(inspect.Parameter.VAR_POSITIONAL, [])  # the name of *xs
        self.open = inspect.Parameter.VAR_KEYWORD in of_kind  # takes **settings
        self.fine: set[Any] = set()  # the plain values that were checked before

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """{parameter: hint}, of those that ask for something."""
        hints = {}
        for name, parameter in self.parameters.items():
            hint = parameter.annotation
            if isinstance(hint, str):
                try:
                    hint = eval(hint, inspect.unwrap(self.function).__globals__)
                except NameError:  # imported for type checkers only
                    hint = Any
            if hint not in (Any, parameter.empty) and parameter.kind is not parameter.VAR_KEYWORD:
                hints[name] = hint
        return hints

    def named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """(parameter, value) of a call, in order."""
        named = list(zip(self.names, args))
        if self.rest:
            named += [(self.rest[0], value) for value in args[len(self.names) :]]
        return named + list(kwargs.items()) if kwargs else named

    def check(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise for the first argument that is not what its annotation asks for."""
        if kwargs and not self.open:
            for word in kwargs.keys() - self.parameters.keys():
                known = ", ".join(n for n in self.parameters if n != "self" and n[0] != "_")
                here = f"; here it is called {SYNONYMS[word]}" if word in SYNONYMS else ""
                raise TypeError(f"{name}: there is no argument {word}{here} ({known})")
        for argument, value in self.named(args, kwargs) if self.hints else ():
            if argument not in self.hints:
                continue
            seen = (argument, type(value), value) if type(value) in PLAIN else None
            if seen in self.fine:
                continue
            need(name, argument, value, self.hints[argument])
            if seen is not None and len(self.fine) < 1000:
                self.fine.add(seen)

    def count(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise where an argument is missing, is one too many, or is given twice."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            known = ", ".join(n for n in self.parameters if n not in ("self", "cls"))
            raise TypeError(f"{name}: {error}; it takes ({known})") from None


def checked(function: F) -> F:
    """Check the arguments of each call by the annotations; explain what fails all the same."""
    arguments = Arguments(function)
    is_init = function.__name__ == "__init__"
    public = public_name(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        name = type(args[0]).__name__ if is_init and args else public
        arguments.check(name, args, kwargs)
        try:
            return function(*args, **kwargs)
        except INSIDE as error:
            explanation = explained(name, arguments, args, kwargs, error)
            if explanation is None:
                raise
            raise explanation from error

    return typing.cast(F, call)


def public_name(function: Callable) -> str:
    """What a user calls it: `Dataset.split`, but `sum` for a method of a Tensor."""
    owner, _, name = function.__qualname__.rpartition(".")
    alone = owner in ("", "ArrayLike", "Operators", "Tensor") or "<locals>" in owner
    return name if alone else f"{owner}.{name}"


# ----- What went wrong inside -----

INSIDE = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
PACKAGE = __name__.partition(".")[0]
OURS = {PACKAGE, "numpy", "cupy", *sys.stdlib_module_names}  # not a user's code
RAISE = dis.opmap["RAISE_VARARGS"]
KINDS: dict[type[BaseException], type[Exception]] = {  # the first that fits
    MemoryError: OutOfMemoryError,
    ValueError: ShapeError,
    LookupError: OutOfRangeError,
    TypeError: DTypeError,
    AttributeError: DTypeError,
    Exception: ValueError,
}


def caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error, or what it was raised from, is of this kind."""
    return error is not None and (
        isinstance(error, kind) or caused_by(error.__cause__ or error.__context__, kind)
    )


def kind_of(error: BaseException) -> type[Exception]:
    """Which of the library's errors an error from inside becomes."""
    return next(kind for cause, kind in KINDS.items() if isinstance(error, cause))


def explained(
    name: str,
    arguments: Arguments,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    error: BaseException,
) -> Exception | None:
    """The error to raise in place of one from inside; None where that one is right as it is.

    It is where the library raised it on purpose, in words of its own, or where it comes from code
    that the user passed in.
    """
    reason = getattr(error, "reason", None)  # of `asarray`, for whoever called it
    if reason is None:
        if not _from_inside(error):
            return None
        reason = str(error).partition("\n")[0] or type(error).__name__
    try:
        arguments.check(name, args, kwargs)
        arguments.count(name, args, kwargs)
    except (TypeError, ValueError) as blame:
        return blame
    if caused_by(error, MemoryError):  # in the midst of which zipfile, say, fails as well
        error, reason = MemoryError(), "there is no memory left"
    shown = [
        f"{argument} {value.shape}" if hasattr(value, "dtype") else f"{argument}={got(value)}"
        for argument, value in arguments.named(args, kwargs)
        if argument not in ("self", "cls")
    ]
    better = kind_of(error)(f"{name}: cannot work on {', '.join(shown)} ({reason})")
    if name in ("asarray", "Tensor"):
        better.reason = reason  # type: ignore[attr-defined]
    return better


def _from_inside(error: BaseException) -> bool:
    """Whether Python or NumPy raised it, in our code: not we on purpose, nor a user's function."""
    trace = error.__traceback__
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
        if _package(trace.tb_frame) not in OURS:
            return False
    code = trace.tb_frame.f_code
    asked_by_python = code.co_name in ("__index__", "__array__", "__bool__", "__len__")
    on_purpose = _package(trace.tb_frame) == PACKAGE and code.co_code[trace.tb_lasti] == RAISE
    return asked_by_python or not on_purpose


def _package(frame: types.FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]
