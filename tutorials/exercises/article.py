"""Checks of chapter 12."""

import itertools
import statistics
from collections.abc import Callable

import numpy as np

import tinyfractal as tf
from tinyfractal import nn

from . import NotYet, as_array, as_list, as_number, as_whole, asked, exercise


@exercise
def check_collapse(collapse: Callable) -> str:
    """The one layer that equals a linear layer applied `depth` times: try both on an input."""
    rng = np.random.default_rng(0)
    for depth in (1, 2, 5):
        layer = nn.Linear(4, 4)
        weight, bias = rng.normal(size=(2, 4, 4)) / 2
        layer.load_state_dict({"weight": weight, "bias": bias[0]})
        x = rng.normal(size=(3, 4)).astype(np.float32)
        truth = tf.RecursiveBlock(layer, depth)(tf.Tensor(tf.backend.asarray(x))).numpy()
        pair = asked(collapse, layer.weight.numpy().copy(), layer.bias.numpy().copy(), depth)
        pair = as_list(pair, "The answer", 2)
        one_weight = as_array(pair[0], "The weight", (4, 4))
        one_bias = as_array(pair[1], "The bias", (4,))
        if np.allclose(x @ one_weight + one_bias, truth, atol=1e-4):
            continue
        right = np.allclose(x @ one_weight - (x @ one_weight)[:1], truth - truth[:1], atol=1e-4)
        part = (
            "The bias is not right: every further application multiplies what is there by W"
            if right
            else "The weight is not right: W times W is a matrix product, not W * W"
        )
        raise NotYet(f"At depth {depth} your layer gives something else. {part}.")
    return "Depth without a nonlinearity between is no depth."


@exercise
def check_paired_error(paired_error: Callable) -> str:
    """The standard error of a mean difference, against Python's statistics."""
    rng = np.random.default_rng(0)
    for n in (3, 5, 12):
        seed_effect = rng.normal(size=n)
        a = 0.9 + 0.05 * seed_effect + 0.01 * rng.normal(size=n)
        b = 0.89 + 0.05 * seed_effect + 0.01 * rng.normal(size=n)
        differences = [float(x - y) for x, y in zip(a, b)]
        truth = statistics.stdev(differences) / n**0.5
        found = as_number(asked(paired_error, a, b), "The standard error")
        if not np.isclose(found, truth, rtol=1e-6):
            hint = (
                "That is the spread of one difference, and the mean of n is steadier"
                if np.isclose(found, truth * n**0.5)
                else "Subtract first, seed by seed, then take the spread (n - 1), then divide by √n"
            )
            raise NotYet(f"With {n} pairs you have {found:.5f}, it should be {truth:.5f}. {hint}.")
    return "The two networks shared their luck, and it cancelled."


@exercise
def check_seeds_needed(seeds_needed: Callable) -> str:
    """Against trying 2, 3, 4, …"""
    # with (1, 1.5) and four seeds, d is exactly three standard errors: not more
    for spread, d in ((3.1, 2.0), (0.5, 2.0), (1.0, 0.25), (2.0, 1.1), (1.0, 1.5)):
        truth = next(n for n in itertools.count(2) if d > 3 * spread / n**0.5)
        found = as_whole(asked(seeds_needed, spread, d), "The number of seeds")
        if found != truth:
            side = "too few" if found < truth else "more than needed"
            raise NotYet(
                f"For a spread of {spread} and a difference of {d}, {found} seeds are {side}. "
                "Write the condition with √n in it, and solve for n."
            )
    return "Half the difference needs four times the seeds."


@exercise
def check_sign_flip(sign_flip: Callable) -> str:
    """Against another way to go through the signs: bits of a number."""
    rng = np.random.default_rng(0)
    for differences in (
        np.array([1.0, 2.0, 3.0]),
        np.array([-1.0, -2.0, -3.0]),
        rng.normal(0.5, 1, size=5),
        rng.normal(0.0, 1, size=7),
    ):
        n = len(differences)
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        means = abs((signs * differences).mean(axis=1))
        truth = (means >= abs(differences.mean()) - 1e-12).mean()
        found = as_number(asked(sign_flip, differences), "The share")
        if not np.isclose(found, truth):
            shown = np.round(differences, 2).tolist()
            raise NotYet(
                f"For {shown} you have {found:.4f}, it should be {truth:.4f}. Both directions "
                "count, and so does the way the signs were measured. (Sums that should be equal "
                "can differ in the last digit: allow for a tiny bit.)"
            )
    return "Five seeds can never give less than 2 in 32: too few for certainty without assumptions."
