"""The article's example, F(F(x)), and what it costs: depth against parameters, measured.

The article promises that parameters stay constant while depth grows. That is true of its own block,
one layer applied again and again; a fractal block as the paper defines it has a convolution
of its own at each place. Both are measured here, beside a plain network and a ResNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np

from .check import Range, checked
from .engine.backward import backward_order
from .engine.node import Node
from .engine.tensor import Tensor
from .fractal import ConvUnit, FractalBlock, RecursiveBlock, fractal_depth
from .nn import Linear, Sequential
from .nn.module import Module
from .zoo import ResidualUnit

MaxColumns = Annotated[int, Range(1, 8)]
Channels = Annotated[int, Range(1, 256)]


def article_example() -> str:
    """Run the article's block, Linear(10, 10) applied twice, and give its three lines."""
    block = RecursiveBlock(Linear(10, 10), depth=2)
    x = Tensor(np.zeros(10, np.float32))
    y = block(x)
    return (
        f"Input Shape: {x.shape}\nOutput Shape: {y.shape}\n"
        "Model successfully applied recursive structure."
    )


@checked
def measured_depth(y: Tensor, kinds: Sequence[str] = ("conv2d", "linear", "matmul")) -> int:
    """How many of the primitives `kinds` lie on the longest path behind y, in what was recorded."""
    if y.node is None:
        return 0
    depth: dict[int, int] = {}
    for node in reversed(backward_order([y.node])):
        before = [depth[id(p)] for p in node.parents or () if isinstance(p, Node)]
        depth[id(node)] = max(before, default=0) + (node.primitive.__name__ in kinds)
    return depth[id(y.node)]


@checked
def measure(
    max_columns: MaxColumns = 5, width: Channels = 16
) -> list[tuple[int, int, int, int, int]]:
    """(depth, parameters of: recursion, fractal, plain, ResNet) for 1 … max_columns columns.

    All are stacks of 3×3 convolutions of `width` channels; each depth is measured in the graph.
    """
    rows = []
    x = Tensor(np.zeros((2, 4, 4, width), np.float32))
    for columns in range(1, max_columns + 1):
        depth = fractal_depth(columns)
        units = [ResidualUnit(width, width, 2) for _ in range(depth // 2)]
        blocks: list[Module] = [
            RecursiveBlock(ConvUnit(width, width), depth),
            FractalBlock(columns, width, width),
            Sequential(*(ConvUnit(width, width) for _ in range(depth))),
            Sequential(*(units or [ResidualUnit(width, width, 1)])),
        ]
        depths = {measured_depth(block(x)) for block in blocks}
        if depths != {depth}:
            raise AssertionError(f"recurse: expected depth {depth}, measured {sorted(depths)}")
        counts = [block.count_parameters() for block in blocks]
        rows.append((depth, counts[0], counts[1], counts[2], counts[3]))
    return rows


@checked
def depth_table(max_columns: MaxColumns = 5, width: Channels = 16) -> str:
    """The measurements as text."""
    lines = [
        f"Depth (convolutions on the longest path) against parameters, 3×3, {width} channels:",
        "",
        "depth   shared F(F(x))   fractal block   plain stack    ResNet",
    ]
    for depth, shared, fractal, plain, resnet in measure(max_columns, width):
        lines.append(f"{depth:5d}{shared:17,}{fractal:16,}{plain:14,}{resnet:10,}")
    return "\n".join(lines)
