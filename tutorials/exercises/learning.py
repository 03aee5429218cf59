"""Checks of chapter 5."""

import math
from collections.abc import Callable

import numpy as np

from . import NotYet, as_array, as_number, asked, exercise


@exercise
def check_logsumexp(logsumexp: Callable) -> str:
    """Small rows against Python's own sums; large ones by what a shift of all must do."""
    z = np.array([[1.0, 2.0, 3.0], [-4.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    truth = np.array([math.log(math.fsum(math.exp(v) for v in row)) for row in z])
    for shift in (0.0, 1000.0, -1000.0):
        with np.errstate(all="ignore"):
            found = asked(logsumexp, z + shift)
        found = as_array(found, "For z (3, 3), one number a row, the result", (3,), finite=False)
        if not np.isfinite(found).all():
            raise NotYet(
                f"With {shift:+.0f} added to all logits it gives {found}. Which number, taken from "
                "all of a row, leaves exponentials that can be added? And where does it come back?"
            )
        if not np.allclose(found, truth + shift):
            raise NotYet(
                f"With {shift:+.0f} added to all logits it gives {found}, not {truth + shift}: "
                "adding a number to the whole row adds that number to the result."
            )
    with np.errstate(all="ignore"):
        found = asked(logsumexp, np.array([[0.0, -2000.0], [2000.0, 0.0]]))
    found = as_array(found, "The result", (2,), finite=False)
    if not np.allclose(found, [0.0, 2000.0]):
        raise NotYet(f"Rows (0, -2000) and (2000, 0) give {found}. Has each row its own shift?")
    return "Its derivative is the softmax, as we saw on the way to p - y."


@exercise
def check_smoothed(smoothed_gradient: Callable) -> str:
    """The gradient of the smoothed cross-entropy, against central differences."""
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(3, 4)) * 2, np.array([2, 0, 3])

    def loss(z: np.ndarray, s: float) -> float:
        total = 0.0
        for row, label in zip(z, y):
            log_sum = math.log(sum(math.exp(v) for v in row))
            for k, v in enumerate(row):
                q = s / len(row) + (1 - s if k == label else 0.0)
                total -= q * (v - log_sum)
        return total / len(z)

    for s in (0.0, 0.1, 0.5):
        truth = np.zeros_like(z)
        for index in np.ndindex(*z.shape):
            step = np.zeros_like(z)
            step[index] = 1e-5
            truth[index] = (loss(z + step, s) - loss(z - step, s)) / 2e-5
        found = as_array(asked(smoothed_gradient, z, y, s), "The gradient", z.shape)
        if np.allclose(found, truth * len(z), atol=1e-7):
            raise NotYet("That is the gradient of the sum. The loss is the mean over the images.")
        if not np.allclose(found, truth, atol=1e-7):
            raise NotYet(
                f"With s = {s} your first row is {found[0].round(4)}, and central differences give "
                f"{truth[0].round(4)}. The derivation of p - y works for any q that adds up to 1."
            )
    return "It is 0 where p = q: a finite lead is enough, and logits need not grow for ever."


@exercise
def check_rate(largest_rate: float) -> str:
    """The largest rate with which descent on 3a² + 8b² + 2ab does not fly away, by trying."""

    def flies(lr: float) -> bool:
        a, b = 1.0, 0.7
        for _ in range(3000):
            a, b = a - lr * (6 * a + 2 * b), b - lr * (16 * b + 2 * a)
            if abs(a) + abs(b) > 1e6:
                return True
        return False

    rate = as_number(largest_rate, "The rate")
    if flies(0.98 * rate):
        raise NotYet(f"With 2 % less than {rate:.5g} it still flies away.")
    if not flies(1.02 * rate):
        raise NotYet(
            f"With 2 % more than {rate:.5g} it still arrives. The height has no ½ in front here, "
            "and ab makes the steepest direction lean: take the matrix of second derivatives."
        )
    return "In a network nobody knows the eigenvalues, and they change on the way: so one tries."


@exercise
def check_nesterov(nesterov: Callable) -> str:
    """Against a polynomial worked out by hand for one direction, and where momentum alone goes."""

    def by_recurrence(lam: float, w: float, lr: float, beta: float, steps: int) -> float:
        # v = (before - w) / lr turns the two rules into one for three places in a row
        before = w
        for _ in range(steps):
            ahead = w + beta * (w - before)
            before, w = w, ahead - lr * lam * ahead
        return w

    lam = np.array([1.0, 40.0])
    start = np.array([-3.0, 0.5])
    for lr, beta, steps in ((0.01, 0.9, 1), (0.01, 0.9, 2), (0.01, 0.9, 25), (0.02, 0.5, 10)):
        found = asked(nesterov, lambda w: lam * w, start, lr, beta, steps)
        found = as_array(found, "The place", (2,))
        truth = [by_recurrence(k, w, lr, beta, steps) for k, w in zip(lam, start)]
        if not np.allclose(found, truth):
            where = "The first step is a plain one, v = 0: is yours?" if steps == 1 else ""
            where = where or "Where is the gradient taken, and which v is in that place?"
            raise NotYet(
                f"On ½(a² + 40 b²), lr {lr}, beta {beta}, after {steps} it is at {found}, and that "
                f"should be {np.array(truth)}. {where}"
            )
    return (
        "tf.optim.SGD(nesterov=True) keeps w - lr·β·v instead of w, and so needs no second place."
    )
