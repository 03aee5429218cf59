"""How large a network is, in closed form (nothing is built); and which sizes are refused."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Annotated, Any, cast

from .check import Count, Range, checked, got, need
from .errors import OutOfRangeError, ShapeError
from .guards.images import check_images

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
    check_channels("fractal_parameters", channels)
    total = (channels[-1] + 1) * classes
    for before, after in zip([in_channels, *channels], channels):
        convolutions = 2**columns - 1
        inputs = columns * before + (convolutions - columns) * after
        total += 9 * inputs * after + 2 * after * convolutions
    return total


def stack_parameters(
    depth: int, channels: Sequence[int], in_channels: int, classes: int, shortcuts: bool = False
) -> int:
    """Learned numbers of a plain network, or with `shortcuts` of a ResNet (see `zoo`)."""
    total = (channels[-1] + 1) * classes
    for before, after in zip([in_channels, *channels], channels):
        total += 9 * (before + (depth - 1) * after) * after + 2 * after * depth
        if shortcuts and before != after:
            total += (before + 2) * after  # the 1×1 convolution beside the first unit
    return total


# ----- What is refused -----


def check_channels(name: str, channels: Sequence[int]) -> None:
    """Raise `ShapeError` for a network without a block."""
    if not len(channels):
        raise ShapeError(f"{name}: channels needs a number for each block, (16, 32), got none")


def check_weights(name: str, size: str, channels: Sequence[int], weights: int) -> None:
    """Raise `ShapeError` for a network too large for this library."""
    if weights > MOST_WEIGHTS:
        raise ShapeError(
            f"{name}: {size} of channels {got(channels)} would be {weights:,} weights; use fewer, "
            f"at most {MOST_WEIGHTS:,}"
        )


def check_fractal(
    name: str, columns: int, channels: Sequence[int], in_channels: int, classes: int = 1
) -> None:
    """Raise `ShapeError` for a fractal network without a block, or one too large."""
    check_channels(name, channels)
    if columns > MOST_COLUMNS:
        raise ShapeError(
            f"{name}: columns={columns} would be 2^{columns} - 1 convolutions in each block; use "
            f"at most {MOST_COLUMNS}"
        )
    weights = fractal_parameters(columns, channels, in_channels, classes)
    check_weights(name, f"{columns} columns", channels, weights)


def check_column(name: str, c: Any, columns: int) -> None:
    """Raise `TypeError` or `OutOfRangeError` unless c is the number of a column."""
    need(name, "column", c, int)
    if c not in range(columns):
        raise OutOfRangeError(f"{name}: column must be 0 to {columns - 1}, got {c}")


def check_halving(name: str, x: Any, blocks: int) -> None:
    """Raise `DTypeError` or `ShapeError` unless x is images that each block can halve."""
    check_images(name, x)
    least = 2**blocks
    if min(x.shape[1:3]) < least:
        raise ShapeError(
            f"{name}: {blocks} blocks halve the image {blocks} times, so it must be at least "
            f"{least}×{least}; got {x.shape}, read as (N, H, W, C). Use fewer blocks."
        )


def rate_of_each_block(name: str, dropout: Any, channels: Sequence[int]) -> Sequence[float]:
    """The dropout of each block; one rate is for all. Raises `ValueError` for another number."""
    rates = [dropout] * len(channels) if isinstance(dropout, Real) else dropout
    if len(rates) != len(channels):
        raise ValueError(f"{name}: dropout has {len(rates)} entries, channels has {len(channels)}")
    return cast(Sequence[float], rates)
