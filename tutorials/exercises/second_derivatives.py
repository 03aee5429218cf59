"""Checks of chapter 16."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import tinyfractal as tf
from tinyfractal.backend import asarray, asnumpy
from tinyfractal.engine.operators import raw
from tinyfractal.engine.tensor import Tensor
from tinyfractal.errors import GraphError

from . import NotYet, exercise


@exercise
def check_hvp(hvp: Callable) -> str:
    """H v of a function whose Hessian is known in closed form."""
    rng = np.random.default_rng(0)
    a, x, v = rng.normal(size=(20, 30)), rng.normal(size=30), rng.normal(size=30)

    def f(x: Tensor) -> Tensor:
        return tf.sin(Tensor(a) @ x).sum() + (x * x).sum() ** 2

    hessian = -a.T @ np.diag(np.sin(a @ x)) @ a + 8 * np.outer(x, x) + 4 * x @ x * np.eye(30)
    found = asnumpy(asarray(raw(hvp(f, asarray(x), asarray(v)))))
    if found.shape != x.shape:
        raise NotYet(f"It has shape {found.shape}, and H v has that of v, {v.shape}.")
    if not np.allclose(found, hessian @ v, rtol=1e-6, atol=1e-6):
        if np.allclose(found, hessian.sum(0) * v):
            raise NotYet("That is every row of H summed up, times v. Let v in before you sum.")
        raise NotYet(
            f"It begins {np.round(found[:3], 3)}, and H v {np.round((hessian @ v)[:3], 3)}. "
            "What number has H v as its gradient?"
        )
    return "Two walks, however many numbers there are, and no matrix."


@exercise
def check_penalty(penalised: Callable) -> str:
    """Value and gradient for y = w tanh(2x) + b, worked out by hand."""
    x = np.linspace(-1, 1, 7)[:, None]  # (7, 1)
    target = np.cos(x)
    curve, steep = np.tanh(2 * x), 2 * (1 - np.tanh(2 * x) ** 2)
    for strength in (0.0, 0.3, 2.0):
        w, b = (Tensor(np.array(number), requires_grad=True) for number in (1.5, -0.2))
        loss = penalised(_Curve(w, b), asarray(x), asarray(target), strength)
        if not isinstance(loss, Tensor) or loss.size != 1:
            raise NotYet("Return one number, as a Tensor, so that backward can start from it.")
        off = 1.5 * curve - 0.2 - target
        error, slope = (off**2).mean(), ((1.5 * steep) ** 2).mean()
        if not np.isclose(loss.item(), error + strength * slope):
            raise NotYet(
                f"With mean square error {error:.4f}, mean square slope {slope:.4f} and strength "
                f"{strength} the sum is {error + strength * slope:.4f}, and you return "
                f"{loss.item():.4f}. How fast does each output change with its own x?"
            )
        loss.backward()
        if w.grad is None or b.grad is None:
            raise NotYet("The value is right, but no gradient arrives at the weights.")
        of_error = (2 * off * curve).mean()
        right = of_error + strength * 2 * 1.5 * (steep**2).mean()
        if not np.isclose(w.grad.item(), right):
            hint = f"The value is right. The gradient of w is {w.grad.item():.4f}, not {right:.4f}."
            if strength and np.isclose(w.grad.item(), of_error):
                hint += " That is the gradient of the error alone: has your slope a history?"
            raise NotYet(hint)
    return "The weights feel the slope."


class _Curve:
    """w tanh(2x) + b: as a network is, a function of a Tensor (N, 1)."""

    def __init__(self, w: Tensor, b: Tensor) -> None:
        self.w, self.b = w, b

    def __call__(self, x: Any) -> Tensor:
        return self.w * tf.tanh(2.0 * x) + self.b

    def parameters(self) -> list[Tensor]:
        return [self.w, self.b]


@exercise
def check_noticed(changes: dict[str, Callable], refused: Iterable[str]) -> str:
    """Which of the functions have a backward that refuses once x was changed in place."""
    answer = {refused} if isinstance(refused, str) else set(refused)
    if unknown := answer - set(changes):
        raise NotYet(
            f"{', '.join(map(repr, unknown))}: these are not among the names of `changes`."
        )
    truth = {name for name, f in changes.items() if _is_refused(f)}
    if answer != truth:
        missing, extra = len(truth - answer), len(answer - truth)
        raise NotYet(
            f"{missing} that are refused are not in your list, and {extra} in it are not refused. "
            "Look at each rule of the arguments that need a gradient: is x among the names without "
            "an underscore?"
        )
    return "You read the underscores as the engine does."


def _is_refused(f: Callable) -> bool:
    x = Tensor(np.array([0.5, 1.5]), requires_grad=True)
    y = f(x).sum()
    with tf.no_grad():
        x += 1.0
    try:
        y.backward()
    except GraphError:
        return True
    return False


@exercise
def check_length(safe_length: Callable) -> str:
    """|v| and its gradient, v / |v| or 0, at 0 and elsewhere."""
    rng = np.random.default_rng(0)
    for numbers in ([3.0, -4.0], [1e-3, 0.0, 0.0], rng.normal(size=5), [0.0, 0.0], [0.0]):
        v = Tensor(np.array(numbers), requires_grad=True)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = safe_length(v)
            if not isinstance(found, Tensor) or found.size != 1:
                raise NotYet("Return one number, as a Tensor.")
            found.backward()
        at, length = asnumpy(v.data), float(np.linalg.norm(numbers))
        if not np.isclose(found.item(), length, rtol=1e-6, atol=1e-6):
            raise NotYet(f"The length of {at} is {length:g}, and you say {found.item():g}.")
        gradient = None if v.grad is None else asnumpy(v.grad.data)
        right = at / length if length else np.zeros_like(at)
        if gradient is None or not np.allclose(gradient, right, rtol=1e-5, atol=1e-6):
            hint = f"At {at} the length is right, and its gradient is {gradient}, not {right}."
            if gradient is not None and np.isnan(gradient).any():
                hint += " The square root of 0 is still computed: keep it from meeting a 0."
            raise NotYet(hint)
    return "Exact, and 0 where there is no direction to go."
