"""How the exercises are checked.

Each chapter has a module here with a `check_…` for each of its exercises: it tries the answer out
and returns, or raises `NotYet` with a hint. A hint says where to look, never what to write.

An answer is right in whatever form it comes: `asked` calls a function that is the answer, and
`as_number`, `as_whole`, `as_array`, `as_list` and `as_flags` take what came, be it a list, a tuple,
a generator, an array, a Tensor or a single number, and say kindly what cannot be read.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

import numpy as np


class NotYet(Exception):
    """The answer is not right yet; the message is the hint."""


class Verdict:
    """What a check says: printed at once, and true if the answer is right."""

    def __init__(self, right: bool, words: str) -> None:
        self.right = right
        print(f"{'✓' if right else '✗'} {words}")

    def __bool__(self) -> bool:
        return self.right

    def _ipython_display_(self) -> None:
        """A notebook has nothing more to show: the words are printed already."""


def exercise(check: Callable[..., str | None]) -> Callable[..., Verdict]:
    """Decorate a check: it returns (a word of praise, or nothing) or raises `NotYet(hint)`."""

    @functools.wraps(check)
    def judged(*answers: Any) -> Verdict:
        if any(is_empty(answer) for answer in answers):
            return Verdict(False, "Your turn: put your answer in the place of the `...`.")
        try:
            praise = check(*answers)
        except NotYet as hint:
            return Verdict(False, f"Not yet. {hint}")
        except Exception as error:
            return Verdict(False, f"Not yet: it raised {type(error).__name__}: {error}")
        return Verdict(True, f"Right. {praise or ''}".strip())

    return judged


def is_empty(answer: Any) -> bool:
    """Whether this is still `...`, or a function or class with nothing else in it."""
    if isinstance(answer, type):
        own = [value for value in vars(answer).values() if isinstance(value, FunctionType)]
        return bool(own) and any(is_empty(method) for method in own)
    if isinstance(answer, FunctionType):
        code = answer.__code__
        return (code.co_code, code.co_consts[-1:]) in EMPTY
    return answer is ...


def _bare(): ...


def _documented():
    """Nothing."""


# Such a function gives back None, the last of its constants, and does nothing before.
EMPTY = {(f.__code__.co_code, (None,)) for f in (_bare, _documented)}


# ----- A function that is the answer -----


def asked(answer: Callable, *given: Any, calls: int | None = None) -> Any:
    """`answer(*given)`, with copies of what is given: they must come back as they were.

    An iterator is read to its end. With `calls`, more calls of functions than that are too many.
    """
    if not callable(answer):
        raise NotYet(
            f"A function is asked for, and this is {_kind(answer)}. Hand over the function itself, "
            "without calling it."
        )
    copies = [_copy(value) for value in given]
    with AtMost(calls):
        found = plain(answer(*copies))
    for number, (before, after) in enumerate(zip(given, copies)):
        if not _same(before, after):
            raise NotYet(
                f"It changes its argument{_name(answer, number)} in place, and whoever called it "
                "still needs that. Work on a copy, or write x = x + … in the place of x += …"
            )
    return found


class AtMost:
    """A `with` block in which functions may be called so many times: no walk without an end."""

    def __init__(self, calls: int | None) -> None:
        self.left = calls
        self.before = sys.getprofile()

    def __enter__(self) -> None:
        if self.left is not None:
            sys.setprofile(self._count)

    def _count(self, frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            self.left = (self.left or 0) - 1
            if self.left < 0:
                sys.setprofile(None)
                raise NotYet(
                    "It calls functions without end, so it was stopped. It should take a few "
                    "steps, also where the answer is a very large number."
                )

    def __exit__(self, *error: object) -> None:
        if self.left is not None:
            sys.setprofile(self.before)


def _copy(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_copy, value))
    return value.copy() if isinstance(value, (np.ndarray, dict)) else value


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, np.ndarray):
        equal_nan = before.dtype.kind in "fc"
        return before.shape == after.shape and np.array_equal(before, after, equal_nan)
    return before == after if isinstance(before, dict) else before is after


def _name(answer: Callable, number: int) -> str:
    try:
        return f" `{list(inspect.signature(answer).parameters)[number]}`"
    except (TypeError, ValueError, IndexError):
        return ""


# ----- What came -----


def plain(value: Any) -> Any:
    """Tensors and arrays of a GPU as NumPy arrays, iterators as lists, also inside of lists."""
    if isinstance(value, Iterator):
        value = list(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "requires_grad") or (hasattr(value, "get") and hasattr(value, "dtype")):
        import tinyfractal as tf

        return tf.backend.asnumpy(value)
    return value


def as_array(
    value: Any, what: str, shape: tuple[int, ...] | None = None, finite: bool = True
) -> np.ndarray:
    """Numbers in any form as an array of floats, of that shape; a NaN among them is no answer."""
    _refuse_nothing(value, what)
    try:
        if isinstance(value, (str, bytes, dict, set)):
            raise TypeError
        found = np.asarray(plain(value), np.float64)
    except (TypeError, ValueError):
        of = f" of shape {shape}" if shape else ""
        raise NotYet(f"{what} should be numbers, an array{of}, and is {_kind(value)}.") from None
    if shape is not None and found.shape != shape:
        raise NotYet(f"{what} should have the shape {shape}, and has {found.shape}.")
    if finite and not np.isfinite(found).all():
        raise NotYet(f"{what}: there is a NaN or an infinity in it.")
    return found


def as_number(value: Any, what: str) -> float:
    """One number: of Python or NumPy, a Tensor, or an array or list that has just one."""
    found = as_array(value, what)
    if found.size != 1:
        raise NotYet(f"{what} should be one number, and has {found.size}: {found.tolist()}.")
    return float(found.reshape(()))


def as_whole(value: Any, what: str) -> int:
    """One whole number, however large; 3.0 will do, 3.5 will not."""
    _refuse_nothing(value, what)
    value = plain(value)
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    try:
        return operator.index(value)
    except TypeError:
        number = as_number(value, what)
    if number != math.floor(number):
        raise NotYet(f"{what} should be a whole number, and is {number!r}.")
    return int(number)


def as_list(value: Any, what: str, length: int | None = None) -> list:
    """The items of a list, a tuple, an array, a generator."""
    _refuse_nothing(value, what)
    value = plain(value)
    wanted = "a list" if length is None else f"{length} things, in a list or a tuple"
    if isinstance(value, (str, bytes, dict, set)) or not isinstance(value, Iterable):
        raise NotYet(f"{what} should be {wanted}, and is {_kind(value)}.")
    try:
        found = list(value)
    except TypeError:  # an array that holds a single number
        raise NotYet(f"{what} should be {wanted}, and is a single number.") from None
    if length is not None and len(found) != length:
        raise NotYet(f"{what} should be {wanted}, and there {_are(len(found))}.")
    return found


def as_flags(value: Any, what: str, shape: tuple[int, ...]) -> np.ndarray:
    """Booleans, or zeros and ones, of that shape."""
    found = as_array(value, what, shape)
    if not np.isin(found, (0, 1)).all():
        raise NotYet(f"{what} should be True or False everywhere, and has {found.tolist()}.")
    return found.astype(bool)


def as_name(value: Any, names: Iterable[str]) -> str:
    """One of the names, in quotes; capitals and a list around it do not matter."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        items = list(value)
        value = items[0] if len(items) == 1 else items
    found = value.strip().lower() if isinstance(value, str) else value
    names = tuple(names)
    if found not in names:
        raise NotYet(f"Answer with one of the names, in quotes: {', '.join(names)}.")
    return str(found)


def _refuse_nothing(value: Any, what: str) -> None:
    if value is None:
        raise NotYet(f"{what} is None: is there a `return`?")


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
