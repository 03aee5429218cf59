"""Checks of chapter 18."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import tinyfractal as tf

from . import NotYet, as_list, as_number, as_whole, asked, exercise


@exercise
def check_sum(careful_sum: Callable) -> str:
    """A sum in float32 that is right to one rounding."""
    rng = np.random.default_rng(0)
    hard = np.tile(np.float32([2**24] + [1] * 127), 200)  # where halves are not enough
    for given in (rng.uniform(0, 1, 100_000), rng.uniform(0.5, 1, 100_000), hard):
        numbers = list(given.astype(np.float32))
        exact = math.fsum(map(float, numbers))
        found = _float32(asked(careful_sum, numbers))
        roundings = abs(float(found) - exact) / float(np.spacing(np.float32(exact)))
        if given is hard and roundings > 1:
            raise NotYet(
                "With a few numbers of 16 million among many ones it is "
                f"{roundings:.0f} roundings off, as a sum by halves is (`np.sum`). Keep what each "
                "single addition loses."
            )
        if not roundings <= 1:
            raise NotYet(
                f"The sum of 100,000 numbers is {roundings:.0f} roundings off. When total + number "
                "becomes the new total, how much of the number has arrived? And the rest?"
            )
    large = np.float32(3e38)
    with np.errstate(all="ignore"):
        found = _float32(asked(careful_sum, [large, large, -large, -large, np.float32(1)]))
    if np.isfinite(found):
        raise NotYet(
            "It is right, also where 3e38 + 3e38 comes up, which no float32 can hold: somewhere "
            "in it are numbers with more digits. Stay with np.float32."
        )
    return "Right to one rounding, at the price of four operations for one."


def _float32(found: Any) -> np.float32:
    """The sum, which must be of that type; an array of one number is one."""
    if isinstance(found, np.ndarray) and found.size == 1:
        found = found.reshape(-1)[0]
    if not isinstance(found, np.float32):
        raise NotYet(
            f"The result is of type {type(found).__name__}, not np.float32. Begin with "
            "np.float32(0): a float64 would only hide the rounding."
        )
    return found


@exercise
def check_intensity(intensity_of_conv: Callable) -> str:
    """Operations per byte, against a count of both."""
    for shape in ((1, 3, 4, 2, 5, 3), (2, 4, 4, 3, 1, 1), (2, 5, 3, 1, 4, 5)):
        n, h, w, c, d, k = shape
        x, weight = np.zeros((n, h, w, c), np.float32), np.zeros((k, k, c, d), np.float32)
        y = tf.backend.asnumpy(
            tf.conv2d(tf.Tensor(x), tf.backend.asarray(weight), padding="same").data
        )
        operations = sum(2 for _ in np.ndindex(*y.shape, k, k, c))  # counted one by one
        truth = operations / (x.nbytes + weight.nbytes + y.nbytes)
        found = as_number(asked(intensity_of_conv, *shape), "The intensity")
        if not math.isclose(found, truth, rel_tol=1e-6):
            raise NotYet(
                f"For (N, H, W, C, D, k) = {shape} there are {operations} operations and "
                f"{x.nbytes} + {weight.nbytes} + {y.nbytes} bytes for x, kernel and output: "
                f"{truth:.3f}. You have {found:.3f}."
            )
    return "With many channels on both sides it grows like the number of channels."


@exercise
def check_break_even(break_even: Callable) -> str:
    """The smallest batch that the second machine does faster, against trying them all."""
    cases = (
        ((0.003, 0.0005), (0.02, 0.00001)),
        ((2, 3), (10, 1)),  # equal at 4, faster from 5 on
        ((2, 3), (1, 1)),
        ((2, 1), (3, 2)),
        ((2, 1), (3, 1)),
        ((2, 1), (2, 1)),
        ((10, 1), (2, 3)),  # faster only at first
        ((3, 1), (1, 4)),
    )
    for first, second in cases:
        faster = (n for n in range(1, 1000) if second[0] + second[1] * n < first[0] + first[1] * n)
        truth, found = next(faster, None), asked(break_even, first, second)
        if found is not None:
            found = as_whole(found, f"For {first} and {second}, the batch")
        if found != truth:
            raise NotYet(
                f"For {first} and {second} it should be {truth!r}, and you return {found!r}. "
                "Draw the two lines: which is lower at n = 1, and which is less steep?"
            )
    return "The same formula decides between any two machines."


@exercise
def check_seeded(draws: dict[str, Callable], follow: Iterable[str]) -> str:
    """Which draws come again after the same seed; decided by drawing."""
    answer = {follow} if isinstance(follow, str) else set(as_list(follow, "The answer"))
    if unknown := answer - set(draws):
        raise NotYet(f"{', '.join(map(repr, unknown))}: not among the names in `draws`.")
    before = tf.backend.random_state()
    try:
        truth = {name for name, draw in draws.items() if _comes_again(draw)}
    finally:
        tf.backend.set_random_state(before)
    if answer != truth:
        missing, extra = len(truth - answer), len(answer - truth)
        raise NotYet(
            f"{missing} that follow the seed are not in your list, and {extra} in it do not. Which "
            "generator does tf.seed set, and who asks that one?"
        )
    return "Whatever shapes a model asks the one generator on the host."


def _comes_again(draw: Callable) -> bool:
    found = []
    for _ in range(2):
        tf.seed(0)
        found.append(tf.backend.asnumpy(draw()))
    return np.array_equal(*found)
