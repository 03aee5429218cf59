"""How the exercises are checked.

Each chapter has a module here with a `check_…` for each of its exercises: it tries the answer out
and returns, or raises `NotYet` with a hint. A hint says where to look, never what to write.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any


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
