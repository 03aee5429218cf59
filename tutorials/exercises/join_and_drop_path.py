"""Checks of chapter 9."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

import tinyfractal as tf
from tinyfractal.recurse import measured_depth

from . import NotYet, as_array, as_flags, as_number, asked, exercise


def masks(k: int, p: float) -> Iterator[tuple[tuple[bool, ...], float]]:
    """Every mask of k branches and its probability; the empty one is shared among its rescues."""
    for alive in itertools.product((False, True), repeat=k):
        chance = math.prod(1 - p if lives else p for lives in alive)
        if sum(alive) == 1:
            chance += p**k / k
        if any(alive):
            yield alive, chance


@exercise
def check_unbroken(unbroken: Callable) -> str:
    """That the deepest column survives all its joins: by going through every case."""

    def closed(k: int, p: float) -> float:
        """f_k whole, with its own join."""
        return sum(chance * left_open(alive, p) for alive, chance in masks(k, p))

    def left_open(alive: tuple[bool, ...], p: float) -> float:
        """f_k whose last join has decided already."""
        if not alive[-1]:
            return 0.0
        return 1.0 if len(alive) == 1 else closed(len(alive) - 1, p) * left_open(alive[1:], p)

    for C, p in ((1, 0.3), (2, 0.15), (3, 0.15), (4, 0.15), (4, 0.6)):
        found, truth = as_number(asked(unbroken, C, p), "The probability"), closed(C, p)
        if not math.isclose(found, truth, rel_tol=1e-6):
            extra = (
                "One column, one branch: it always lives."
                if C == 1
                else f"Through how many joins does the deepest column of f{C} pass, and how many "
                "branches has each? Look at the drawing of chapter 8."
            )
            raise NotYet(
                f"For C = {C}, p = {p} yours is {found:.6g}, and all cases together give "
                f"{truth:.6g}. {extra}"
            )
    return f"With four columns and p = 0.15 it is {closed(4, 0.15):.2f}."


@exercise
def check_sum(sum_weights: Callable) -> str:
    """The average over all masks of the weights of a sum."""
    for k, p in ((1, 0.2), (2, 0.15), (3, 0.5)):
        average = np.zeros(k)
        for alive in itertools.product((False, True), repeat=k):
            weights = as_array(asked(sum_weights, alive, p), f"For {k} branches, the answer", (k,))
            if weights[~np.array(alive)].any():
                raise NotYet(f"For alive = {alive} a dropped branch has a weight: {weights}.")
            average += math.prod(1 - p if lives else p for lives in alive) * weights
        if not np.allclose(average, 1):
            raise NotYet(
                f"At test time the weights are 1. Over all masks of {k} branches with p = {p} "
                f"yours are {average.round(4)} on average. How often does a branch live, with no "
                "rescue?"
            )
    return "And when none is alive, the layer behind gets nothing."


@exercise
def check_third(third: float) -> str:
    """The p that computes a third of f_4: by drawing 40,000 blocks at once."""
    third = as_number(third, "The probability")
    if not 0 <= third <= 1:
        raise NotYet("A probability is between 0 and 1.")
    rng = np.random.default_rng(0)

    def closed(k: int, needed: np.ndarray) -> np.ndarray:
        alive = rng.random((len(needed), k)) >= third
        rescued = rng.integers(k, size=len(needed))
        alive[np.arange(len(needed)), rescued] |= ~alive.any(axis=1)
        return left_open(alive & needed[:, None])

    def left_open(alive: np.ndarray) -> np.ndarray:
        count = alive[:, 0].astype(int)
        if alive.shape[1] > 1:
            rest = alive[:, 1:]
            count = count + closed(rest.shape[1], rest.any(axis=1)) + left_open(rest)
        return count

    found = closed(4, np.ones(40_000, bool)).mean()
    if abs(found - 5) > 0.12:
        raise NotYet(
            f"With p = {third} about {found:.1f} of 15 are computed. `expected(4, p)` falls as p "
            "grows: halve the interval, or read it off the picture first."
        )
    return f"{found:.2f} of 15 in 40,000 draws."


@exercise
def check_keep(keep_up_to: Callable) -> str:
    """A network that ends in the middle: depth, convolutions, and equality with a smaller net."""
    z = tf.Tensor(np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32))
    for columns, deepest in ((1, 0), (2, 0), (3, 1), (4, 2), (3, 2), (4, 0)):
        keep = asked(keep_up_to, deepest, columns)
        if not callable(keep):
            raise NotYet("Return a function: it will be called with k, the size of a join.")

        def flags(k: int, keep: Callable = keep) -> np.ndarray:
            return as_flags(keep(k), f"keep({k})", (k,))

        answers = {k: flags(k) for k in range(columns - deepest, columns + 1)}
        block = tf.FractalBlock(columns, 3, 3).eval()
        where = f"For columns 0 to {deepest} of {columns}: keep({columns}) is {answers[columns]}"
        try:
            y = block(z, flags)
        except NotYet:
            raise
        except Exception as error:
            raise NotYet(
                f"{where}, and the block stopped with {type(error).__name__}: {error}. The k "
                f"columns at a join are numbers {columns} - k to {columns - 1}."
            ) from error
        if measured_depth(y) != 2**deepest:
            raise NotYet(f"{where}, the depth is {measured_depth(y)}, and should be {2**deepest}.")
        y.sum().backward()
        used = {
            c: sum(unit.conv.weight.grad is not None for unit in block.column(c))
            for c in range(columns)
        }
        wanted = {c: 2**c * (c <= deepest) for c in range(columns)}
        if used != wanted:
            raise NotYet(
                f"{where}; convolutions used in each column are {list(used.values())}, and should "
                f"be {list(wanted.values())}."
            )
    return "A network that answers earlier, with all that is ready by then."
