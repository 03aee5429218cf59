"""The settings of a step in a few words: those that somebody asked for."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from ..backend import asnumpy
from ..engine.node import Node
from ..engine.primitive import Primitive

# what the functions of `ops` hand to their primitives where the user asked for nothing
USUAL = {
    "border": ((0, 0),) * 2, "dilation": (1, 1), "groups": 1, "ignored": None, "kernels": 1,
    "reduction": "mean", "smoothing": 0.0, "statistics": None, "stride": (1, 1), "weight": None,
    "widths": ((0, 0),) * 4,
}  # fmt: skip
UNSAID = ("fixed", "relu", "statistics")  # the sentences say them, or they are computed


@functools.cache
def usual_settings(primitive: Primitive) -> dict[str, Any]:
    """What a step has where nobody asked for anything else."""
    parameters = inspect.signature(primitive.value).parameters.values()
    return {**USUAL, **{p.name: p.default for p in parameters if p.default is not p.empty}}


def settings_of(node: Node) -> list[str]:
    """The settings of a step, one by one, but those that are as usual."""
    usual, params = usual_settings(node.primitive), dict(node.params)
    for name, value in node.params.items():
        if hasattr(value, "_asdict"):  # a plan
            params.update(params.pop(name)._asdict())
    return [
        f"{name} = {short(value)}"
        for name, value in params.items()
        if name not in UNSAID and is_plain(value) and not equal(value, usual.get(name, USUAL))
    ]


def is_plain(value: Any) -> bool:
    """Whether it is made of numbers and words; of an index the arrays too, by their shapes."""
    if isinstance(value, tuple):
        return all(is_plain(part) or hasattr(part, "shape") for part in value)
    plain = (int, float, str, slice, type(None), type(...))
    return isinstance(value, plain) or getattr(value, "shape", None) == ()


def equal(value: Any, other: Any) -> bool:
    """Whether two settings are the same: 1 is not True, and an axis 0 is not False."""
    return type(value) is type(other) and repr(value) == repr(other)


def short(value: Any) -> str:
    """A setting, rounded and not too long."""
    text = f"{value:.4g}" if isinstance(value, float) else repr(as_words(value))
    return text if len(text) <= 60 else f"{text[:57]}…"


def as_words(value: Any) -> Any:
    """The same, each array by its shape, and a number of NumPy as one of Python."""
    if isinstance(value, tuple):
        return tuple(map(as_words, value))
    if hasattr(value, "shape"):
        return f"array of shape {value.shape}" if value.shape else asnumpy(value).item()
    return value
