"""Is a gradient right? Ask the definition of the derivative.

    df/dx ≈ (f(x + h) - f(x - h)) / 2h

costs two evaluations for each number of each input, needs no theory, and shares no code with
backward. In float64 with h = 1e-6 it is good to about nine digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import asarray, asnumpy, xp
from ..check import Amount, Count, checked
from ..errors import GradientError
from .modes import enable_grad, no_grad
from .operators import raw
from .tensor import Tensor, grad


@dataclass(frozen=True)
class Difference:
    """One number of one input: its gradient by backward and by finite differences."""

    input: int
    element: tuple[int, ...]
    analytic: float
    numeric: float
    excess: float  # |analytic - numeric| divided by what is tolerated: above 1 is wrong

    def __str__(self) -> str:
        where = f"input {self.input}" + (f", element {self.element}" if self.element else "")
        return (
            f"{where}: backward gives {self.analytic:.9g}, finite differences {self.numeric:.9g}, "
            f"difference {abs(self.analytic - self.numeric):.3g}"
        )


@checked
def gradcheck(
    f: Callable[..., Tensor],
    *inputs: Any,
    step: Amount = 1e-6,
    rtol: Amount = 1e-5,
    atol: Amount = 1e-7,
    order: Count = 1,
) -> Difference | None:
    """Compare the gradient of f with central differences in every number of every input.

    `f` takes as many Tensors as there are inputs (arrays or Tensors, made float64) and returns a
    Tensor of any shape; of an array every number is checked at once, by weighing them with
    fixed random weights (a single number is left as it is). `order=2` checks the gradient of the
    gradient, and so on.
    Returns the worst difference (None if the inputs hold no number). Raises `GradientError` if
    any |analytic - numeric| > atol + rtol · |numeric|: it names input, element and both values.
    """
    if order > 1:
        return gradcheck(_gradient_of(f), *inputs, step=step, rtol=rtol, atol=atol, order=order - 1)
    xs = [Tensor(xp.array(asarray(raw(x)), dtype=xp.float64), True) for x in inputs]
    y = f(*xs)
    weights = _weights(y) if y.size > 1 else 1.0  # one number is differentiated as it is
    if not xs or not y.requires_grad:
        raise GradientError("gradcheck: the value of f does not depend on its inputs")
    analytic = grad((y * weights).sum(), xs, allow_unused=True)
    worst = None
    for position, (x, g) in enumerate(zip(xs, analytic)):
        for element in np.ndindex(x.shape):
            numeric = _central_difference(f, xs, x, element, weights, step)
            found = 0.0 if g is None else float(asnumpy(g.data)[element])
            gap = abs(found - numeric)
            excess = gap / (atol + rtol * abs(numeric)) if np.isfinite(gap) else np.inf
            if worst is None or excess > worst.excess:
                worst = Difference(position, element, found, numeric, float(excess))
    if worst is not None and worst.excess > 1:
        raise GradientError(f"gradcheck: {worst} (tolerated: {atol:g} + {rtol:g} · |numeric|)")
    return worst


def _central_difference(
    f: Callable, xs: list[Tensor], x: Tensor, element: tuple[int, ...], weights: Any, step: float
) -> float:
    before = x.data[element].copy()
    with no_grad():
        x.data[element] = before + step
        above = float((f(*xs) * weights).sum())
        x.data[element] = before - step
        below = float((f(*xs) * weights).sum())
        x.data[element] = before
    return (above - below) / (2 * step)


def _weights(y: Tensor, seed: int = 0) -> Any:
    """Fixed random weights, away from 0, that make one number of an array."""
    return asarray(np.random.default_rng(seed).uniform(0.5, 1.5, y.shape))


def _gradient_of(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The gradient of f with respect to all its inputs, weighed and summed to one number."""

    def gradient(*xs: Tensor) -> Tensor:
        with enable_grad():
            xs = tuple(x if x.requires_grad else Tensor(x, True) for x in xs)
            y = f(*xs)
            gs = grad((y * _weights(y)).sum(), xs, create_graph=True, allow_unused=True)
        # x * 0: where f is linear its gradient does not depend on x, and that is to be checked too
        each = [x * 0 + (0 if g is None else g) for g, x in zip(gs, xs)]
        return sum(
            ((g * _weights(g, seed)).sum() for seed, g in enumerate(each)), Tensor(xp.zeros(()))
        )

    return gradient
