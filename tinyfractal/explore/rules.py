"""A primitive's row of the derivative table, as it stands in the source.

For a primitive of `fast/` there is also the definition in `ops/` whose place it takes: that is the
one to read first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from .. import ops
from ..engine import primitive as engine
from ..engine.definition import RULES
from ..engine.primitive import Primitive
from .lines import shown_name
from .words import words_of

OTHERWISE_NAMED = {"batch_norm": "by_batch"}  # a quick primitive: its definition


def row(primitive: Primitive) -> dict[str, Any]:
    """The formula; the definition; and the code, in which each argument's rule is marked.

    `highlight` has, for each argument, the places in `code` of the lines that are its rule. What
    was typed into a prompt, or is no Python function, has no lines: there is only the formula.
    """
    found = {
        "formula": words_of(primitive.__name__).formula,
        "definition": definition_of(primitive),
    }
    try:
        return {**found, **code_of(primitive)}
    except (OSError, TypeError, AttributeError):
        return {**found, "file": "", "code": [], "numbers": [], "highlight": []}


def code_of(primitive: Primitive) -> dict[str, Any]:
    """The value rule with its decorator; before it, the gradient rules that stand elsewhere."""
    body = Lines.of(primitive.value)
    named: list[Lines] = []
    for rule in map(as_given, primitive.rules):
        lines = Lines.of(rule)
        if lines.file != body.file or lines.numbers[0] not in body.numbers:
            named += [lines] if lines not in named else []
    shown = [line for lines in (*named, body) for line in lines.with_file()]
    return {
        "file": shown_name(body.file),
        "code": [text for _, _, text in shown],
        "numbers": [number for _, number, _ in shown],
        "highlight": [
            [place for place, (file, number, _) in enumerate(shown) if (file, number) in marked]
            for marked in map(lines_of_rule, map(as_given, primitive.rules))
        ],
    }


def definition_of(primitive: Primitive) -> dict[str, Any] | None:
    """The function of `ops/` whose place a quick primitive takes."""
    name = OTHERWISE_NAMED.get(primitive.__name__, primitive.__name__)
    for function in RULES:
        if function.__name__.strip("_") == name and function.__module__.startswith(ops.__name__):
            lines = Lines.of(function)
            return {"file": shown_name(lines.file), "code": lines.texts, "numbers": lines.numbers}
    return None


class Lines:
    """The source of a function, line by line."""

    def __init__(self, file: str, numbers: list[int], texts: list[str]) -> None:
        self.file, self.numbers, self.texts = file, numbers, texts

    @classmethod
    def of(cls, function: Any) -> Lines:
        """Raises `OSError` where the source is not to be had."""
        texts, first = inspect.getsourcelines(function)
        numbers = list(range(first, first + len(texts)))
        file = inspect.unwrap(function).__code__.co_filename
        return cls(file, numbers, [text.rstrip() for text in texts])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines) and vars(self) == vars(other)

    def with_file(self) -> list[tuple[str, int, str]]:
        """(file, number, text) of each."""
        return [(self.file, number, text) for number, text in zip(self.numbers, self.texts)]


def lines_of_rule(rule: Any) -> set[tuple[str, int]]:
    """(file, number) of the lines that are a rule. Of a lambda, not the statement around it."""
    code = rule.__code__
    if code.co_name == "<lambda>":
        return {(code.co_filename, number) for *_, number in code.co_lines() if number}
    return {(file, number) for file, number, _ in Lines.of(rule).with_file()}


def as_given(rule: Callable[..., Any]) -> Any:
    """The rule as it was written: the engine wraps those that take nothing but g."""
    if rule.__code__.co_filename == engine.__file__ and rule.__closure__:
        return rule.__closure__[0].cell_contents
    return rule
