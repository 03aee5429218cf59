"""Checks of chapter 4."""

from collections.abc import Callable, Iterable

import numpy as np

import tinyfractal as tf
from tinyfractal.backend import asarray, asnumpy, xp
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.engine.primitive import Primitive, primitive
from tinyfractal.engine.tensor import Tensor
from tinyfractal.errors import GradientError, GraphError

from . import NotYet, exercise


@exercise
def check_rule(rule: Callable) -> str:
    """The gradient rule of the cube root, tried out in a primitive that is taken away again."""

    def cube_root_of_chapter_4(x):
        return xp.cbrt(x)

    try:
        cube_root = primitive(rule)(cube_root_of_chapter_4)
        _try_rule(cube_root)
    finally:
        PRIMITIVES.pop("cube_root_of_chapter_4", None)
    if len(cube_root.uses[0]) > 1:
        raise NotYet(
            "The gradient is right, but it keeps two arrays where one will do. Mark the one that "
            "it does not look at."
        )
    kept = "output" if 0 in cube_root.uses[0] else "input"
    return f"First and second derivative, and it keeps only the {kept}."


def _try_rule(cube_root: Primitive) -> None:
    for order in (1, 2):
        try:
            tf.gradcheck(cube_root, [-8.0, 0.5, 2.0], order=order)
        except GradientError as error:
            raise NotYet(str(error)) from error
        except (AttributeError, TypeError) as error:
            if "NotSaved" in str(error) or "NoneType" in str(error):
                raise NotYet(
                    "It looks at an array whose name says that it need not be kept, and finds "
                    f"nothing there ({error})."
                ) from error
            if order == 1:
                raise
            raise NotYet(
                "The first derivative is right. For the second the rule is called with Tensors, "
                f"and this went wrong: use operators and functions of tf in it ({error})."
            ) from error


@exercise
def check_hvp(hvp: Callable) -> str:
    """H v of a function whose Hessian is known in closed form."""
    rng = np.random.default_rng(0)
    a, x, v = rng.normal(size=(20, 30)), rng.normal(size=30), rng.normal(size=30)

    def f(x: Tensor) -> Tensor:
        return tf.sin(Tensor(a) @ x).sum() + (x * x).sum() ** 2

    hessian = -a.T @ np.diag(np.sin(a @ x)) @ a + 8 * np.outer(x, x) + 4 * x @ x * np.eye(30)
    found = asnumpy(hvp(f, asarray(x), asarray(v)))
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
def check_count(count_nodes: Callable) -> str:
    """Nodes behind a Tensor: a diamond, a ladder of diamonds, and a long chain."""
    x = Tensor(0.5, requires_grad=True)
    s = tf.sin(x)
    found = count_nodes(s * s + x)
    if found != 3:
        raise NotYet(
            f"sin(x) · sin(x) + x, with one sine used twice, has 3 nodes (sin, mul, add), and you "
            f"count {found}. A leaf is no node; a node with two users is still one."
        )
    y = x
    for _ in range(12):
        y = y + y
    found = count_nodes(y)
    if found != 12:
        raise NotYet(f"12 doublings are 12 nodes. You count {found}: are some counted twice?")
    for _ in range(20_000):
        y = y + 1.0
    try:
        found = count_nodes(y)
    except RecursionError:
        raise NotYet(
            "Right for small graphs. For 20,000 nodes in a row it calls itself too often."
        ) from None
    if found != 20_012:
        raise NotYet(f"Of 20,012 nodes you count {found}.")
    return "A list of what is still to be visited takes the place of the recursion."


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
