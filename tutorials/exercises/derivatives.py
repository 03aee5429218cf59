"""Checks of chapter 1."""

import math
from collections.abc import Callable

from . import NotYet, as_array, as_name, as_number, asked, exercise


@exercise
def check_step(step: float) -> str:
    """A step for the central difference of exp at 3."""

    def error(h: float) -> float:
        return abs((math.exp(3 + h) - math.exp(3 - h)) / (2 * h) - math.exp(3))

    step = as_number(step, "The step")
    if not 0 < step < 1:
        raise NotYet("A step is a small number above 0.")
    typical = [
        sorted(error(h * (1 + i / 100)) for i in range(100))[50]
        for h in [10 ** (k / 4) for k in range(-32, -8)]
    ]
    mine = sorted(error(step * (1 + i / 100)) for i in range(100))[50]
    if mine > 10 * min(typical):
        side = "formula is still" if step > 1e-5 else "rounding is"
        raise NotYet(f"The error is about {mine:.0e}: the {side} the larger part. Plot the V.")
    return f"Its error is about {mine:.0e}."


@exercise
def check_second(second_difference: Callable) -> str:
    """The second difference of some functions whose second derivative is known."""
    for name, f, x, truth in (
        ("x²", lambda x: x * x, 3.0, 2.0),
        ("sin", math.sin, 1.0, -math.sin(1.0)),
        ("x³", lambda x: x**3, 2.0, 12.0),
    ):
        for h in (1e-3, 1e-2):
            found = as_number(asked(second_difference, f, x, h), "The second difference")
            if not math.isclose(found, truth, rel_tol=1e-4):
                raise NotYet(
                    f"For {name} at {x} with h = {h} it gives {found:.6g}, and that should be "
                    f"{truth:.6g}. Take the slope between x - h and x, the slope between x and "
                    "x + h: how fast do they differ?"
                )
    return "Three evaluations for one number: a matrix of second derivatives is dear this way."


@exercise
def check_chain(my_gradient: Callable) -> str:
    """dy/da, dy/db, dy/dc of y = (a b + c)² a."""

    def y(v: list[complex]) -> complex:
        a, b, c = v
        return (a * b + c) ** 2 * a

    for point in ([1.0, 2.0, 3.0], [-0.5, 1.5, 0.25]):
        found = as_array(asked(my_gradient, *point), "The gradient", (3,))
        for i, name in enumerate("abc"):
            # a nudge along the imaginary axis: nothing is subtracted, so nothing is lost
            nudged: list[complex] = [*point]
            nudged[i] += 1e-30j
            truth = y(nudged).imag / 1e-30
            if not math.isclose(found[i], truth, rel_tol=1e-6, abs_tol=1e-6):
                extra = " a is used twice: add what comes by each way." if name == "a" else ""
                raise NotYet(
                    f"At {tuple(point)} your dy/d{name} is {found[i]:.6g}, and nudging {name} "
                    f"gives {truth:.6g}.{extra}"
                )
            if not math.isclose(found[i], truth, rel_tol=1e-13, abs_tol=1e-14):
                raise NotYet(
                    f"At {tuple(point)} your dy/d{name} is off by {abs(found[i] - truth):.0e}: so "
                    "are differences. The chain rule is exact."
                )
    return "Where two ways meet, derivatives add: remember this for chapter 2."


@exercise
def check_suspect(suspect: str) -> str:
    """The name of the wrong derivative."""
    suspect = as_name(suspect, ("log", "sqrt", "tan", "logistic"))
    if suspect != "logistic":
        raise NotYet(f"{suspect} agrees with its central difference. Print all four beside theirs.")
    return "The denominator has lost its square."
