"""Checks of chapter 3."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import NotYet, as_array, as_name, asked, exercise


def differences(f: Callable, rule: Callable, place: int, *xs: Any) -> tuple[Any, Any]:
    """The gradient of Σ g f(*xs) for argument `place`: by the rule, and by central differences."""
    y = f(*xs)
    g = np.random.default_rng(7).uniform(0.5, 1.5, np.shape(y))
    found = asked(rule, g, y, *xs)
    truth = np.zeros_like(xs[place])
    for i in np.ndindex(truth.shape):
        sides = []
        for step in (1e-6, -1e-6):
            moved = [x.copy() for x in xs]
            moved[place][i] += step
            sides.append(np.sum(g * f(*moved)))
        truth[i] = (sides[0] - sides[1]) / 2e-6
    return found, truth


def compare(found: Any, truth: Any, name: str, hint: str) -> None:
    """Raise unless both are the same, up to the error of central differences."""
    found = as_array(found, f"The gradient of {name}", truth.shape)
    if not np.allclose(found, truth, rtol=1e-5, atol=1e-7):
        i = np.unravel_index(np.argmax(abs(found - truth)), truth.shape)
        where = tuple(map(int, i))
        raise NotYet(f"At {where} it gives {found[i]:.6g}, and nudging {truth[i]:.6g}. {hint}")


def sample(*shape: int) -> Any:
    """Positive numbers, always the same."""
    return np.random.default_rng(3).uniform(0.5, 2.0, shape)


@exercise
def check_cumsum(rule: Callable) -> str:
    """The rule of a running sum along axis 1."""
    for shape in ((1, 3), (2, 5)):
        pair = differences(lambda x: np.cumsum(x, axis=1), rule, 0, sample(*shape))
        compare(*pair, "x", "A number counts in its own place and in all that come after it.")
    return "A running sum from the other end."


@exercise
def check_weight(rule: Callable) -> str:
    """The rule for W of Σ_j (x W)_j z_j."""

    def f(x: Any, W: Any, z: Any) -> Any:
        return ((x @ W) * z).sum(axis=1)

    xs = sample(5, 3), sample(3, 4), sample(5, 4) - 1
    hint = "What is the gradient of x @ W, of shape (N, j)? The rest is the matrix product's rule."
    compare(*differences(f, rule, 1, *xs), "W", hint)
    return "Two steps, each with the shape of what it belongs to."


@exercise
def check_normalise(rule: Callable) -> str:
    """The rule of dividing each row by its sum."""

    def f(x: Any) -> Any:
        return x / x.sum(axis=1, keepdims=True)

    hint = "Name the sum s. Walk back from y = x / s to x and to s, and from s on to x; then add."
    for shape in ((1, 3), (4, 3)):
        compare(*differences(f, rule, 0, sample(*shape)), "x", hint)
    return "Compare it with the rule of the softmax."


@exercise
def check_suspect(suspect: str) -> str:
    """The name of the wrong rule."""
    suspect = as_name(suspect, ("flip", "repeat", "tile", "roll", "norm"))
    if suspect != "tile":
        raise NotYet(f"{suspect} agrees with its central differences. Judge all five.")
    return "A tiled array has its copies one after the other, not side by side."
