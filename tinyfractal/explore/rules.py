"""A primitive's row of the derivative table, as it stands in the source."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..engine import primitive as engine
from ..engine.primitive import Primitive
from .lines import shown_name
from .words import words_of


def row(primitive: Primitive) -> dict[str, Any]:
    """The formula; the file, the lines of code, and which of them are each argument's rule.

    What was typed into a prompt, or is no Python function, has no lines: there is only the formula.
    """
    found = {"formula": words_of(primitive.__name__).formula}
    try:
        return {**found, **source_of(primitive)}
    except (OSError, TypeError, AttributeError):
        return {**found, "file": "", "line": 0, "code": "", "highlight": []}


def source_of(primitive: Primitive) -> dict[str, Any]:
    """The lines of code, and those of the rules that are functions of their own."""
    code, first = inspect.getsourcelines(primitive.value)
    home = primitive.value.__code__.co_filename
    named: list[str] = []  # the rules that are functions of their own; they are shown first
    places: list[range | list[int]] = []
    for rule in map(as_given, primitive.rules):
        lines, start = inspect.getsourcelines(rule)
        if rule.__code__.co_filename == home and first <= start < first + len(code):
            places.append(
                sorted({n - first - len(code) for *_, n in rule.__code__.co_lines() if n})
            )
        else:
            if not contains(named, lines):
                named += [*lines, "\n"]
            at = next(i for i in range(len(named)) if named[i : i + len(lines)] == lines)
            places.append(range(at, at + len(lines)))
    every = [*named, *code]
    return {
        "file": shown_name(home),
        "line": first,
        "code": "".join(every).rstrip(),
        # a lambda's lines were counted from the end, as what goes before was not yet known
        "highlight": [[n % len(every) for n in place] for place in places],
    }


def contains(lines: list[str], part: list[str]) -> bool:
    """Whether these lines stand among the others, one after the other."""
    return any(lines[i : i + len(part)] == part for i in range(len(lines)))


def as_given(rule: Callable[..., Any]) -> Any:
    """The rule as it was written: the engine wraps those that take nothing but g."""
    if rule.__code__.co_filename == engine.__file__ and rule.__closure__:
        return rule.__closure__[0].cell_contents
    return rule
