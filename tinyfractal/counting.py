"""How large a FractalNet is, in closed form: counted without building anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from .check import Count, Range, checked, got, need
from .errors import OutOfRangeError, ShapeError

Columns = Annotated[int, Range(1, 62)]
MOST_COLUMNS, MOST_WEIGHTS = 12, 1 << 29  # 4095 convolutions a block; 2 GB


@checked
def fractal_depth(columns: Columns, blocks: Count = 1) -> int:
    """Convolutions on the longest path: B · 2^(C-1)."""
    return blocks * 2 ** (columns - 1)


@checked
def fractal_parameters(
    columns: Columns, channels: Sequence[Count], in_channels: Count = 1, classes: Count = 10
) -> int:
    """Learned numbers of a FractalNet, in closed form.

    Of the 2^C - 1 convolutions of a block, C (the first of each column) see the block's input; the
    others see its output width. Each has 9 · in · out weights and 2 · out for batch norm.
    """
    if not len(channels):
        raise ShapeError("fractal_parameters: channels needs a number for each block, got none")
    total = (channels[-1] + 1) * classes
    for before, after in zip([in_channels, *channels], channels):
        convolutions = 2**columns - 1
        inputs = columns * before + (convolutions - columns) * after
        total += 9 * inputs * after + 2 * after * convolutions
    return total


def check_size(
    name: str, columns: int, channels: Sequence[int], in_channels: int, classes: int = 1
) -> None:
    """Raise `ShapeError` for a network without a block, or too large for this library."""
    if not len(channels):
        raise ShapeError(f"{name}: channels needs a number for each block, (16, 32), got none")
    if columns > MOST_COLUMNS:
        raise ShapeError(
            f"{name}: columns={columns} would be 2^{columns} - 1 convolutions in each block; use "
            f"at most {MOST_COLUMNS}"
        )
    weights = fractal_parameters(columns, channels, in_channels, classes)
    if weights > MOST_WEIGHTS:
        raise ShapeError(
            f"{name}: {columns} columns of channels {got(channels)} would be {weights:,} weights; "
            f"use fewer, at most {MOST_WEIGHTS:,}"
        )


def check_column(name: str, c: Any, columns: int) -> None:
    """Raise `TypeError` or `OutOfRangeError` unless c is the number of a column."""
    need(name, "column", c, int)
    if c not in range(columns):
        raise OutOfRangeError(f"{name}: column must be 0 to {columns - 1}, got {c}")
