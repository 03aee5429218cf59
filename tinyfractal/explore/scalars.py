"""Chapter 2's engine on the same page: numbers that remember how they were made.

A `Value` has `data` (a number), `parents` (the Values it was computed from), `slopes` (how fast it
changes with each of them) and, if it likes, `how` (a name).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from ..backend import asarray
from .ghosts import Described, described
from .samples import sample


def is_scalar(thing: Any) -> bool:
    """Whether it is a number that remembers, as in chapter 2."""
    return all(hasattr(thing, name) for name in ("data", "parents", "slopes"))


def scalar_run(output: Any) -> Described:
    """The run behind a Value: its gradients are computed here, and no `grad` is touched."""
    backwards = backward_order(output)
    gradients, parts = defaultdict(float, {id(output): 1.0}), dict[int, list[float]]()
    for value in backwards:
        g = gradients[id(value)]
        parts[id(value)] = [slope * g for slope in value.slopes]
        for parent, part in zip(value.parents, parts[id(value)]):
            gradients[id(parent)] += part
    ids = {id(value): f"n{i}" for i, value in enumerate(backwards[::-1], 1)}
    return {
        "nodes": [
            describe(value, ids, gradients[id(value)], parts[id(value)])
            for value in backwards[::-1]
        ],
        "output": ids[id(output)],
        "visits": [ids[id(value)] for value in backwards if value.parents],
        "handles": [],
        "nudges": [],
    }


def backward_order(output: Any) -> list[Any]:
    """Every Value behind the output, each after all that use it: chapter 2's rule."""
    uses: Counter[int] = Counter()
    stack, known = [output], {id(output)}
    while stack:
        for parent in stack.pop().parents:
            uses[id(parent)] += 1
            if id(parent) not in known:
                known.add(id(parent))
                stack.append(parent)
    order, stack = [], [output]
    while stack:
        value = stack.pop()
        order.append(value)
        for parent in value.parents:
            uses[id(parent)] -= 1
            if uses[id(parent)] == 0:
                stack.append(parent)
    return order


def describe(value: Any, ids: dict[int, str], g: float, parts: list[float]) -> Described:
    """A Value as a node of the page."""
    name, is_step = str(getattr(value, "how", "")), bool(value.parents)
    slopes = " and ".join(f"{slope:.4g}" for slope in value.slopes)  # no products: guess them
    kind = "step" if is_step else "leaf"
    return described(
        ids[id(value)], kind, name,
        label=name or kind,
        inputs=[ids[id(parent)] for parent in value.parents],
        settings=", ".join(f"slope {slope:.4g}" for slope in value.slopes),
        value=number(value.data),
        grad=number(g),
        parts=[number(part) for part in parts],
        forward=f"{name or 'this'}: " + ("computed." if is_step else "given, not computed."),
        backward=(
            f"{name or 'this'}: each parent gets g times its slope, {slopes}." if is_step
            else f"{name or 'a leaf'}: all parts of its gradient have come."
        ),
    )  # fmt: skip


def number(value: float) -> Any:
    """One number as the page has it."""
    return sample(asarray(float(value))).as_json()
