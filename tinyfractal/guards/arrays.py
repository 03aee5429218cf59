"""Arguments of functions of arrays: are they arrays, and do their shapes fit?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ..backend import Array, check_array, on_gpu, xp
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..errors import DTypeError, OutOfRangeError, ShapeError


def check_arrays(name: str, **arguments: Any) -> None:
    """Raise `DTypeError` unless every argument is a Tensor or an array of the backend in use."""
    for argument, value in arguments.items():
        if not isinstance(value, Tensor):
            check_array(value, f"{name}: {argument}")


def check_features(name: str, **arguments: Any) -> None:
    """Raise `DTypeError` unless x and the weights are arrays, and x has floats, not bytes."""
    check_arrays(name, **arguments)
    if arguments["x"].dtype.kind in "iub":
        raise DTypeError(
            f"{name}: x needs floats, got {arguments['x'].dtype}; data.to_unit(images) makes bytes "
            "0 to 1, .astype(numpy.float32) leaves the numbers as they are"
        )


def where_it_is(value: Any) -> Array:
    """The value as an array: on the GPU if it came from there, otherwise on the host."""
    value = raw(value)
    return value if on_gpu(value) else numpy.asarray(value)


# ----- Matrix products -----


def check_product(a: Any, b: Any) -> None:
    """Raise `ShapeError` unless a @ b can be computed."""
    if xp.ndim(a) == 0 or xp.ndim(b) == 0:
        raise ShapeError(
            f"matmul: a {xp.shape(a)} and b {xp.shape(b)} need an axis; use * for a number"
        )
    axis, words = (-2, "second last") if b.ndim > 1 else (-1, "only")
    if a.shape[-1] != b.shape[axis]:
        raise ShapeError(
            f"matmul: the last axis of a {a.shape} must be as long as the {words} axis of "
            f"b {b.shape}: {a.shape[-1]} is not {b.shape[axis]}; transpose one of them?"
        )


def check_linear(x: Any, weight: Any, bias: Any) -> None:
    """Raise unless x (…, in), weight (in, out) and bias (out,), or None, fit."""
    check_features("linear", x=x, weight=weight)
    if x.ndim == 0 or x.shape[-1] != weight.shape[0]:
        raise ShapeError(
            f"linear: x has {x.shape[-1] if x.ndim else 'no'} features (last axis of {x.shape}) "
            f"but the weight {weight.shape} expects {weight.shape[0]}"
        )
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ShapeError(
            f"linear: bias has shape {bias.shape}, but the weight {weight.shape} gives "
            f"{weight.shape[1]} features"
        )


# ----- Cutting, padding, reducing -----


def check_sections(x: Any, sections: int | Sequence[int], axis: int) -> None:
    """Raise unless x has that axis, and a number of sections divides it."""
    check_arrays("split", x=x)
    if not -x.ndim <= axis < x.ndim:
        raise OutOfRangeError(f"split: axis {axis} is not one of x {x.shape}")
    length = x.shape[axis]
    if not isinstance(sections, Sequence) and (sections < 1 or length % sections):
        raise ShapeError(
            f"split: axis {axis} of {x.shape} has length {length}, which does not divide into "
            f"{sections} equal parts; give the places to cut at instead"
        )


def check_widths(x: Any, widths: Sequence[tuple[int, int]], mode: str) -> None:
    """Raise unless there are widths for each axis of x, and its inside suffices for a mirror."""
    check_arrays("pad", x=x)
    if len(widths) != x.ndim:
        raise ShapeError(
            f"pad: widths needs (before, after) for each axis of x {x.shape}, got {widths!r}"
        )
    for axis, (length, width) in enumerate(zip(x.shape, map(max, widths))):
        if mode == "reflect" and width >= max(length, 1):
            raise ShapeError(
                f"pad: cannot reflect {width} numbers at the edge of axis {axis} of "
                f"{x.shape}, which has {length - 1} besides the edge; pad with zeros, or less"
            )


def check_ddof(x: Any, ddof: int, count: int) -> None:
    """Raise `ShapeError` unless a variance of `count` numbers has something to divide by."""
    if 0 < ddof >= count:
        raise ShapeError(
            f"var: ddof={ddof} needs more than {ddof} numbers, got {count} of x {x.shape}"
        )
