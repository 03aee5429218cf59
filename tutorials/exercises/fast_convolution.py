"""Checks of chapter 17."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import NotYet, as_list, as_whole, asked, exercise


class Watched:
    """A number that knows where it comes from, and counts products of data with weights."""

    def __init__(self, value: float, kind: str, count: list[int]) -> None:
        self.value, self.kind, self.count = value, kind, count

    def __add__(self, other: Any) -> Watched:
        if not isinstance(other, Watched):
            if other == 0:  # where sum() begins
                return self
            raise NotYet(f"{other!r} is added to a number: no constant is needed in a sum.")
        if other.kind != self.kind:
            raise NotYet(
                f"One of the sums has a {self.kind} and a {other.kind} in it. Add data to data, "
                "weights to weights, and products to products."
            )
        return Watched(self.value + other.value, self.kind, self.count)

    __radd__ = __add__

    def __neg__(self) -> Watched:
        return Watched(-self.value, self.kind, self.count)

    def __pos__(self) -> Watched:
        return self

    def __sub__(self, other: Any) -> Watched:
        return self + -other

    def __rsub__(self, other: Any) -> Watched:
        return -self + other

    def __mul__(self, other: Any) -> Watched:
        if not isinstance(other, Watched):
            return Watched(self.value * other, self.kind, self.count)
        if {self.kind, other.kind} != {"number of the data", "weight"}:
            raise NotYet(f"Here a {self.kind} is multiplied with a {other.kind}. Is that wanted?")
        self.count[0] += 1
        return Watched(self.value * other.value, "product", self.count)

    __rmul__ = __mul__

    def __truediv__(self, constant: float) -> Watched:
        return self * (1 / constant)


@exercise
def check_by_hand(filter_3_2: Callable) -> str:
    """Three outputs of a filter of two, the products counted while they are taken."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        count = [0]
        d = [Watched(value, "number of the data", count) for value in rng.normal(size=4)]
        w = [Watched(value, "weight", count) for value in rng.normal(size=2)]
        truth = [d[i].value * w[0].value + d[i + 1].value * w[1].value for i in range(3)]
        found = as_list(asked(filter_3_2, d, w), "The answer", 3)
        if not all(isinstance(y, Watched) and y.kind == "product" for y in found):
            raise NotYet("Each output should be made of d and w, by sums and products alone.")
        values = [y.value for y in found]
        for i in range(3):
            if not np.isclose(values[i], truth[i]):
                raise NotYet(
                    f"y[{i}] is {values[i]:.3f} and should be {truth[i]:.3f}. Multiply your "
                    "expression out: which terms are too many, which are missing?"
                )
        if count[0] > 4:
            raise NotYet(
                f"The outputs are right, with {count[0]} products. Two of the six terms are y[1]; "
                "which two other terms have the same data with the weights exchanged?"
            )
    return "Four points again, 0, 1, -1 and infinity: m + r - 1 is what counts."


@exercise
def check_products(count_products: Callable) -> str:
    """Against walking over the tiles and counting."""
    for H, W, C, D, m, r in (
        (8, 8, 1, 1, 4, 3),
        (8, 12, 3, 5, 4, 3),
        (4, 6, 2, 3, 2, 3),
        (6, 6, 2, 2, 2, 5),
        (7, 9, 2, 3, 4, 3),
        (3, 3, 1, 2, 4, 3),
    ):
        tiles = sum(1 for _ in range(0, H, m) for _ in range(0, W, m))
        truth = sum(C * D for _ in range(tiles) for _ in np.ndindex(m + r - 1, m + r - 1))
        found = as_whole(asked(count_products, H, W, C, D, m, r), "The number of products")
        if found != truth:
            whole = (
                f"There are {tiles} tiles. How many pixels does one have, and who is multiplied "
                "with whom at each?"
            )
            edge = f"The tiles do not fit exactly, and it takes {tiles} to cover the output."
            raise NotYet(
                f"For (H, W, C, D, m, r) = {(H, W, C, D, m, r)} it gives {found!r}, and walking "
                f"over the tiles {truth}. {edge if H % m or W % m else whole}"
            )
    return "On 3 × 3 pixels, F(4×4, 3×3) saves little: part of its tile is thrown away."


@exercise
def check_lines(lines_that_fit: Callable) -> str:
    """Against trying one line more at a time, with arrays that say how large they are."""
    for cache, W, C, D in (
        (1 << 20, 16, 64, 64),
        (1 << 21, 16, 64, 64),
        (1 << 20, 32, 3, 64),
        (1 << 22, 8, 128, 256),
        (100_000, 16, 64, 64),  # not even the kernel fits
        (1 << 18, 28, 16, 16),
    ):
        kernel = np.empty((3, 3, C, D), np.float32)

        def touched(lines: int) -> int:
            rows = np.empty((lines * W, 9 * C), np.float32)  # noqa: B023
            product = np.empty((lines * W, D), np.float32)  # noqa: B023
            return rows.nbytes + product.nbytes + kernel.nbytes  # noqa: B023

        truth = 1
        while touched(truth + 1) <= cache:
            truth += 1
        found = as_whole(asked(lines_that_fit, cache, W, C, D), "The number of lines")
        if found != truth:
            if found < 1:
                raise NotYet(f"For (cache, W, C, D) = {(cache, W, C, D)} it gives {found!r} lines.")
            if found > 100 * truth:
                raise NotYet(
                    f"For (cache, W, C, D) = {(cache, W, C, D)} it gives {found} lines, many times "
                    "what fits. A line has W windows, each of 9 · C numbers of four bytes."
                )
            too = "more than" if found > truth else "less than need be:"
            raise NotYet(
                f"For (cache, W, C, D) = {(cache, W, C, D)} it gives {found} lines. They touch "
                f"{touched(found)} bytes, {too} {max(cache, touched(truth))}. Which arrays are "
                "there, and how many bytes has a number?"
            )
    return "A good first guess; the measured trough has the last word."
