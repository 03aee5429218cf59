"""Checks of chapter 8."""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinyfractal as tf
from tinyfractal.draw.layout import layout_block
from tinyfractal.recurse import measured_depth

from . import NotYet, as_list, as_whole, asked, exercise


@exercise
def check_paths(my_paths: Callable) -> str:
    """Paths through a whole FractalNet."""

    def ways(columns: int, z: int) -> list[int]:
        """Literally: for each of z ways to the block, walk each of its branches."""
        if columns == 1:
            return [z]
        middle = sum(ways(columns - 1, z))
        return [z, *ways(columns - 1, middle)]

    for columns, blocks in ((1, 1), (2, 1), (3, 1), (1, 3), (2, 3), (3, 5), (4, 2)):
        truth = 1
        for _ in range(blocks):
            truth = sum(ways(columns, truth))
        found = as_whole(asked(my_paths, columns, blocks), "The number of paths")
        if found != truth:
            extra = (
                "First get one block right: p₁ = 1, and then the recurrence."
                if blocks == 1
                else "Each way through a block can be continued by each way through the next."
            )
            raise NotYet(
                f"For {columns} columns and {blocks} block{'s' * (blocks > 1)} yours is {found}, "
                f"and walking them all gives {truth}. {extra}"
            )
    return "The paper's network of 40 layers, 4 columns in 5 blocks, has 11,881,376."


@exercise
def check_joins(my_joins: Callable) -> str:
    """Joins of two branches or more in f_C."""
    for columns in range(1, 8):
        truth = sum(box.size > 1 for box in layout_block(columns).of("join"))
        found = as_whole(asked(my_joins, columns), "The number of joins")
        if found != truth:
            extra = "How does the number grow with C? Watch the last joins of the two copies."
            if columns == 1:
                extra = "A single column has nothing to join."
            raise NotYet(f"For C = {columns} yours is {found}, the drawing has {truth}. {extra}")
    return "Half of the convolutions of the deepest column end in one."


@exercise
def check_thrice(branches_thrice: Callable) -> str:
    """The rule with three copies in a row."""

    def formula(C: int, z: str) -> str:
        if C == 1:
            return f"conv({z})"
        return f"conv({z}) ⊕ {formula(C - 1, formula(C - 1, formula(C - 1, z)))}"

    for C in (1, 2, 3):
        parts = asked(branches_thrice, C, "z", lambda z: f"conv({z})", " ⊕ ".join)
        parts = as_list(parts, f"What g{C} returns")
        if len(parts) != C:
            raise NotYet(
                f"g{C} should end in a list of {C} open branches, yours has {len(parts)}. Which of "
                "the three copies must stay open?"
            )
        if " ⊕ ".join(parts) != formula(C, "z"):
            raise NotYet(
                f"For C = {C} it should read\n    {formula(C, 'z')}\nand yours reads\n"
                f"    {' ⊕ '.join(parts)}"
            )
    calls: list[int] = []
    asked(branches_thrice, 4, 0, calls.append, lambda parts: list(parts) and None)
    if len(calls) != 40:
        raise NotYet(
            f"The text is right, but for C = 4 conv was called {len(calls)} times instead of 40. "
            "Is something computed twice that could be kept?"
        )
    return "Depth 1, 3, 9, 27, with 1, 4, 13, 40 convolutions."


@exercise
def check_design(my_net: Any) -> str:
    """A deep FractalNet for the digits with few parameters."""
    if not isinstance(my_net, tf.FractalNet):
        raise NotYet("Answer with a network: tf.FractalNet(...).")
    training = my_net.training
    y = my_net.eval()(tf.Tensor(np.zeros((2, 8, 8, 1), np.float32)))
    my_net.train(training)
    depth, count = measured_depth(y, kinds=("conv2d",)), my_net.count_parameters()
    if y.shape != (2, 10):
        raise NotYet(f"Two images should give logits (2, 10), yours gives {y.shape}.")
    if depth < 16:
        raise NotYet(
            f"Its longest path has {depth} convolutions. Blocks add to the depth; what doubles it?"
        )
    if count > 30_000:
        raise NotYet(
            f"It has {count:,} parameters. They grow with the square of the channels: try "
            "`fractal_parameters` for some widths."
        )
    return f"{depth} convolutions deep, {count:,} parameters."
