"""Checks of chapter 4."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinyfractal as tf
from tinyfractal.backend import asarray, asnumpy, xp
from tinyfractal.engine.operators import PRIMITIVES, raw
from tinyfractal.engine.primitive import Primitive, primitive
from tinyfractal.engine.tensor import Tensor
from tinyfractal.errors import GradientError

from . import NotYet, exercise


@exercise
def check_rule(rule: Callable) -> str:
    """The gradient rule of the cube root, tried out in a primitive that is taken away again."""

    def cube_root_of_chapter_4(x):
        return xp.cbrt(x)

    try:
        cube_root = primitive(rule)(cube_root_of_chapter_4)
        _try_rules(cube_root, [-8.0, 0.5, 2.0])
    finally:
        PRIMITIVES.pop("cube_root_of_chapter_4", None)
    if len(cube_root.uses[0]) > 1:
        raise NotYet(
            "The gradient is right, but it keeps two arrays where one will do. Mark the one that "
            "it does not look at."
        )
    kept = "output" if 0 in cube_root.uses[0] else "input"
    return f"It keeps only the {kept}, and it can be differentiated itself."


def _try_rules(function: Primitive, *inputs: Any) -> None:
    """First and second derivative against finite differences."""
    for order in (1, 2):
        try:
            tf.gradcheck(function, *inputs, order=order)
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
def check_primitive(hypotenuse: Callable) -> str:
    """√(a² + b²) as a primitive: its value, one node, and both rules, with broadcasting."""
    if isinstance(hypotenuse, Primitive):
        rules = len(hypotenuse.rules)
        if rules != 2:
            raise NotYet(f"It has {rules} gradient rule(s), and there are two arguments.")
    a, b = asarray([[3.0], [-1.5], [0.4]]), asarray([4.0, -0.7])
    found = asnumpy(raw(hypotenuse(a, b)))
    if not np.allclose(found, np.hypot(asnumpy(a), asnumpy(b))):
        raise NotYet(f"The value for a = 3, b = 4 is {found[0, 0]:g}, and should be 5.")
    if not isinstance(hypotenuse, Primitive):
        raise NotYet(
            "The value is right, but it is made of other primitives, which leave a node each. "
            "Write @primitive(rule of a, rule of b) over it."
        )
    _try_rules(hypotenuse, a, b)
    return "The engine differentiates it, and all it knows of it is your two rules."


@exercise
def check_held(bytes_kept: Callable) -> str:
    """The bytes of the arrays that a graph keeps: shared ones, an input used twice, numbers."""
    x = Tensor(np.full(1000, 0.5, np.float32), requires_grad=True)  # 4,000 bytes
    y = x
    for _ in range(12):
        y = y * tf.sin(y)  # a node with two users, and an array that two nodes keep
    cases = [
        ("sin(x)", tf.sin(x), 4000),
        ("x + 1, which needs nothing", x + 1.0, 0),
        ("exp(x), which keeps its output", tf.exp(x), 4000),
        ("x * 0.9, which keeps a number", x * 0.9, 0),
        ("tanh(sin(x)): the input of one, the output of the other", tf.tanh(tf.sin(x)), 8000),
        ("sin(tanh(x)), where both keep the same array", tf.sin(tf.tanh(x)), 4000),
        ("x * x, where both factors are the same array", x * x, 4000),
        ("y * sin(y), 12 times", y, 24 * 4000),
    ]
    for name, tensor, right in cases:
        found = int(np.asarray(asnumpy(raw(bytes_kept(tensor)))).item())
        if found != right:
            raise NotYet(f"Of 1,000 float32 numbers x, {name}: {right} bytes, and you say {found}.")
    return "That is what training has to hold until backward comes."


@exercise
def check_leak(mean_loss: Callable) -> str:
    """The mean of losses that come one by one, and whether their graphs can go meanwhile."""
    numbers = [3.0, 1.0, 0.5, 2.0, 0.25, 0.25]
    alive: list[int] = []
    found = mean_loss(_losses(numbers, alive))
    mean = np.asarray(asnumpy(raw(found)), np.float64)
    if mean.size != 1 or not np.isclose(mean.item(), np.mean(numbers)):
        raise NotYet(f"The mean of {numbers} is {np.mean(numbers):.4f}, and you say {found}.")
    if isinstance(found, Tensor) and found.requires_grad:
        raise NotYet("The mean is right, but what you return has a history: all the graphs.")
    if max(alive) > 2:
        raise NotYet(
            f"The mean is right, but up to {max(alive)} graphs were alive at once. Take the number "
            "out of each loss before you ask for the next."
        )
    return "Only the number stays; each graph goes when its loss does."


def _losses(numbers: list[float], alive: list[int]) -> Iterator[Tensor]:
    """One loss after another, and how many of those before it are still there when one is made."""
    leaves: list[Any] = []  # each is held by the graph of its loss alone
    for number in numbers:
        yield _loss(number, leaves)
        alive.append(sum(leaf() is not None for leaf in leaves))


def _loss(number: float, leaves: list[Any]) -> Tensor:
    leaf = Tensor(number, requires_grad=True)
    leaves.append(weakref.ref(leaf))
    return tf.sqrt(leaf * leaf)
