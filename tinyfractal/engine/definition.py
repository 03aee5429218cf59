"""Definitions: functions made of other functions, in whose place a quicker rule may step.

    @definition
    def twice(x):
        return x + x

A definition is what a learner reads, and it is all that the library needs. `fast/`, when it is
there, registers for some of them a rule that gives the same sooner: `RULES[twice] = rule`. Inside
`with reference():` no rule is asked, and every definition runs as it is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from .modes import mode

F = TypeVar("F", bound=Callable[..., Any])

RULES: dict[Any, Callable[..., Any]] = {}  # {definition: the quicker rule in its place}


def definition(function: F) -> F:
    """Decorate a function, or a method, that may be replaced by a quicker rule."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        rule = None if mode.reference else RULES.get(call)
        return function(*args, **kwargs) if rule is None else rule(*args, **kwargs)

    return cast(F, call)
