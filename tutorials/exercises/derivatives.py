"""Checks of chapter 1."""

import math
from collections.abc import Callable

from . import NotYet, exercise


@exercise
def check_step(step: float) -> str:
    """A step for the central difference of exp at 3."""

    def error(h: float) -> float:
        return abs((math.exp(3 + h) - math.exp(3 - h)) / (2 * h) - math.exp(3))

    if not step > 0:
        raise NotYet("A step is a number above 0.")
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
        found = second_difference(f, x, 1e-3)
        if not math.isclose(found, truth, rel_tol=1e-4):
            raise NotYet(
                f"For {name} at {x} it gives {found:.6g}, and that should be {truth:.6g}. Take the "
                "slope between x - h and x, the slope between x and x + h: how fast do they differ?"
            )
    return "Three evaluations for one number: a matrix of second derivatives is dear this way."


@exercise
def check_chain(my_gradient: Callable) -> str:
    """dy/da, dy/db, dy/dc of y = (a b + c)² a."""

    def y(v: list[float]) -> float:
        a, b, c = v
        return (a * b + c) ** 2 * a

    for point in ([1.0, 2.0, 3.0], [-0.5, 1.5, 0.25]):
        found = my_gradient(*point)
        for i, name in enumerate("abc"):
            up, down = list(point), list(point)
            up[i] += 1e-6
            down[i] -= 1e-6
            truth = (y(up) - y(down)) / 2e-6
            if not math.isclose(found[i], truth, rel_tol=1e-6, abs_tol=1e-6):
                extra = " a is used twice: add what comes by each way." if name == "a" else ""
                raise NotYet(
                    f"At {tuple(point)} your dy/d{name} is {found[i]:.6g}, and nudging {name} "
                    f"gives {truth:.6g}.{extra}"
                )
    return "Where two ways meet, derivatives add: remember this for chapter 2."


@exercise
def check_suspect(suspect: str) -> str:
    """The name of the wrong derivative."""
    if suspect not in ("log", "sqrt", "tan", "logistic"):
        raise NotYet("Answer with one of the four names, in quotes.")
    if suspect != "logistic":
        raise NotYet(f"{suspect} agrees with its central difference. Print all four beside theirs.")
    return "The denominator has lost its square."
