"""Checks of chapter 2."""

import math
import random
from collections.abc import Callable
from typing import Any

from . import NotYet, as_list, as_number, as_whole, asked, exercise


class Number:
    """What the chapter's Value keeps, and nothing else."""

    def __init__(self, data: float, parents: tuple = (), slopes: tuple = ()) -> None:
        self.data, self.parents, self.slopes = data, parents, slopes
        self.grad = 0.0


class Compared(Number):
    """A Number that counts how often it is compared: a list does that, a dict or a set does not."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Compared.comparisons += 1
        return self is other

    __hash__ = Number.__hash__


@exercise
def check_sigmoid(sigmoid: Callable, value: type) -> str:
    """The logistic function as one node."""

    def truth(x: float) -> float:
        return 0.5 * (1 + math.tanh(x / 2))

    for x in (-2.0, 0.0, 0.7):
        leaf = value(x)
        y = sigmoid(leaf)
        if not isinstance(y, value):
            raise NotYet(f"It returned a {type(y).__name__}; return a Value, like `Value.tanh`.")
        found = as_number(y.data, "Its value")
        if not math.isclose(found, truth(x), rel_tol=1e-9):
            raise NotYet(f"At {x} its value is {found:.6g}, and it should be {truth(x):.6g}.")
        if len(y.parents) != 1 or y.parents[0] is not leaf:
            raise NotYet("Its one parent should be the argument: one node, no operators of Value.")
        if not hasattr(y.slopes, "__len__"):
            raise NotYet("Its slopes should be a tuple: with one slope, write (slope,).")
        (found,) = (as_number(s, "The slope") for s in as_list(y.slopes, "The slopes", 1))
        slope = (truth(x + 1e-6) - truth(x - 1e-6)) / 2e-6
        if not math.isclose(found, slope, rel_tol=1e-6):
            raise NotYet(
                f"At {x} the slope is {found:.6g}, and nudging gives {slope:.6g}. Express the "
                "derivative by the value y, as tanh does."
            )
    return "A node that you save is one that need not be walked through."


@exercise
def check_visits(visits: Callable) -> str:
    """The number of calls for a graph of repeated doublings, against counting them."""

    def count(times: int) -> int:
        return 1 if times == 0 else 1 + count(times - 1) + count(times - 1)

    for times in (0, 1, 2, 5, 10):
        found = as_whole(asked(visits, times), "The number of calls")
        if found != count(times):
            raise NotYet(
                f"For {times} doublings it says {found}, and counting gives {count(times)}."
                " How many calls arrive at the result, at its parent, at the parent of that?"
            )
    many = 1
    for _ in range(200):
        many = 1 + 2 * many
    if as_whole(asked(visits, 200, calls=10_000), "The number of calls") != many:
        raise NotYet("Right for small graphs. For 200 doublings, use whole numbers: no floats.")
    return "A hundred doublings would keep every computer there is busy."


def random_graph(seed: int, size: int = 40) -> Number:
    """A graph with reused nodes; its numbers are products and sums of earlier ones."""
    rng = random.Random(seed)
    made = [Number(rng.uniform(0.5, 1.5)) for _ in range(3)]
    for _ in range(size):
        a, b = rng.choice(made[-6:]), rng.choice(made)
        s, t = rng.uniform(-1, 1), rng.uniform(-1, 1)  # s a + t b
        made.append(Number(s * a.data + t * b.data, (a, b), (s, t)))
    return made[-1]


def behind(root: Number) -> list[Number]:
    """Every node behind root, in no order that means anything."""
    found, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return list(found)


@exercise
def check_order(my_order: Callable) -> str:
    """A topological order without recursion."""
    square = Number(3.0)
    graphs = [Number(9.0, (square, square), (3.0, 3.0)), *map(random_graph, range(30))]
    for root in graphs:
        found = as_list(asked(my_order, root), "The order")
        if found[:1] != [root]:
            raise NotYet("The first in the list should be the root: nobody uses it.")
        if len(set(found)) != len(found):
            raise NotYet("A node is listed twice. List it when its count comes down to 0.")
        if set(found) != set(behind(root)):
            raise NotYet(
                f"{len(found)} nodes are listed, and there are {len(behind(root))}. Where a parent "
                "is used twice by one node, count twice and take off twice."
            )
        place = {node: i for i, node in enumerate(found)}
        for node in found:
            if any(place[parent] <= place[node] for parent in node.parents):
                raise NotYet(
                    "A node is listed before one of those that use it. Count all uses first, in a "
                    "loop of its own; a parent used twice by one node counts twice."
                )
    chain: Number = Compared(1.0)
    for made in range(1, 100_001):
        chain = Compared(1.0, (chain,), (1.0,))
        if made == 4000:
            Compared.comparisons = 0
            try:
                as_list(asked(my_order, chain), "The order")
            except RecursionError:
                raise NotYet("Right for small graphs; but no function may call itself.") from None
            if Compared.comparisons > 10 * made:
                raise NotYet("Right, but slow: `in` looks through a list, and finds in a dict.")
    if len(as_list(asked(my_order, chain), "The order")) != 100_001:
        raise NotYet("In a chain of 100,000 operations some nodes are missing.")
    return "And a chain of 100,000 operations is no trouble."


@exercise
def check_twice(my_backward: Callable) -> str:
    """A walk that may be repeated, against the sum over all ways."""
    for seed in range(10):
        root = random_graph(seed, 12)
        truth: dict[Any, float] = {}
        stack = [(root, 1.0)]
        while stack:  # every way by itself
            node, g = stack.pop()
            if not node.parents:
                truth[node] = truth.get(node, 0.0) + g
            stack += [(parent, g * s) for parent, s in zip(node.parents, node.slopes)]
        for times in (1, 2, 3):
            my_backward(root)
            for leaf, g in truth.items():
                if not math.isclose(leaf.grad, times * g, rel_tol=1e-9, abs_tol=1e-12):
                    hint = "that is wrong already." if times == 1 else "what was left of the last?"
                    raise NotYet(
                        f"After walk {times} a leaf has grad {leaf.grad:.6g}, and {times} times its"
                        f" gradient is {times * g:.6g}: {hint}"
                    )
    return "This is why `backpropagate` has a dictionary of its own."
