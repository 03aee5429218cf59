"""Functions that move numbers without changing them.

Each has an adjoint that moves the gradient back the way it came: what `reshape` flattens is
folded again, what `getitem` picked is put back in its place among zeros, what `broadcast_to`
repeated is summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Literal

from ..backend import xp
from ..check import Axis, Shape, Size, checked
from ..engine.arraylike import plain_index
from ..engine.backward import sum_to
from ..engine.primitive import primitive
from ..engine.tensor import Tensor
from ..guards.arrays import check_sections, check_widths


@primitive(lambda g, _y, _x, shape: reshape(g, shape=_x.shape), view=True)
def reshape(x: Any, shape: Shape) -> Any:
    """The same numbers, in row-major order, in another shape; one length may be -1."""
    return x.reshape(shape)


@primitive(lambda g, _y, _x, axes: transpose(g, axes=_inverse(axes)), view=True)
def transpose(x: Any, axes: tuple[int, ...] | None = None) -> Any:
    """Axes in another order; reversed where None."""
    return x.transpose(axes)


def _inverse(axes: Sequence[int] | None) -> list[int] | None:
    """The order of axes that undoes `axes`."""
    if axes is None:
        return None
    return sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))


@primitive(lambda g, _y, _x, shape: sum_to(g, _x.shape), view=True)
def broadcast_to(x: Any, shape: Shape) -> Any:
    """x repeated along axes of length 1, and along new axes in front, up to `shape`."""
    return xp.broadcast_to(x, shape)


@primitive(lambda g, _y, _x, axis: reshape(g, shape=_x.shape), view=True)
def squeeze(x: Any, axis: Axis = None) -> Any:
    """Without its axes of length 1: all of them, or those named."""
    return xp.squeeze(x, axis)


@primitive(lambda g, _y, _x, axis: reshape(g, shape=_x.shape), view=True)
def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """With a new axis of length 1 at place `axis` (an int or several)."""
    return xp.expand_dims(x, axis)


@primitive(lambda g, _y, _x, axis: flip(g, axis=axis), view=True)
def flip(x: Any, axis: Axis = None) -> Any:
    """In reverse order along `axis` (all axes where None)."""
    return xp.flip(x, axis)


# ----- Picking and putting back -----


@primitive(lambda g, _y, _x, index: scatter(g, index=index, shape=_x.shape), view=True)
def getitem(x: Any, index: Any) -> Any:
    """x[index], with anything NumPy takes: integers, slices, integer and boolean arrays."""
    return x[plain_index(index)]


@primitive(lambda g, _y, _x, index, shape: getitem(g, index=index))
def scatter(x: Any, index: Any, shape: Shape) -> Any:
    """Zeros of `shape` with x added at `index`: what undoes getitem. Repeated indices add up."""
    index = plain_index(index)
    out = xp.zeros(shape, x.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if any(hasattr(part, "dtype") and part.dtype.kind in "iu" for part in parts):
        xp.add.at(out, index, x)  # an array of integers may name a place twice
    else:
        out[index] = x
    return out


@checked
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """x cut along `axis` into that many equal parts, or before each of the given indices.

    Raises `ShapeError` where the parts cannot be equal.
    """
    check_sections(x, sections, axis)
    length = x.shape[axis]
    if not isinstance(sections, Sequence):  # cuts at each multiple of the parts' length
        sections = [i * (length // sections) for i in range(1, sections)]
    cuts = [0, *sections, length]
    before = (slice(None),) * (axis % x.ndim)
    return [getitem(x, (*before, slice(a, b))) for a, b in pairwise(cuts)]


# ----- Putting together -----


def _cut(g: Any, _y: Any, *_xs: Any, axis: int) -> list[Any]:
    ends = accumulate(x.shape[axis] for x in _xs)
    return split(g, list(ends)[:-1], axis)


@primitive(_cut)
def _concatenate(*xs: Any, axis: int) -> Any:
    return xp.concatenate(xs, axis=axis)


@checked
def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays one after the other along an existing axis."""
    return _concatenate(*xs, axis=axis)


cat = concatenate  # PyTorch's name


@checked
def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Arrays of the same shape side by side along a new axis."""
    return _concatenate(*(expand_dims(x, axis=axis) for x in xs), axis=axis)


# ----- Padding -----


@primitive(lambda g, _y, _x, widths, value: getitem(g, index=_inside(widths, g.shape)))
def _pad(x: Any, widths: Any, value: float) -> Any:
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths))
    out = xp.full(shape, value, x.dtype)
    out[_inside(widths, shape)] = x
    return out


def _inside(widths: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The index of the original numbers in a padded array."""
    return tuple(slice(before, n - after) for n, (before, after) in zip(shape, widths))


@checked
def pad(
    x: Any,
    widths: Sequence[tuple[Size, Size]],
    mode: Literal["zeros", "reflect"] = "zeros",
    value: float = 0.0,
) -> Tensor:
    """x with a border: `widths` is (before, after) for each axis.

    `mode`: "zeros" fills with `value`; "reflect" mirrors the inside at its edge numbers, which
    are not repeated: (1 2 3) with 2 on each side is (3 2 1 2 3 2 1).
    Raises `ShapeError` for a wrong number of widths, or a reflection wider than the inside.
    """
    check_widths(x, widths, mode)
    if mode == "zeros":
        return _pad(x, widths=tuple(tuple(pair) for pair in widths), value=value)
    for axis, (before, after) in enumerate(widths):
        if before or after:
            length = x.shape[axis]
            distance = xp.abs(xp.arange(-before, length + after))
            mirrored = (length - 1) - xp.abs((length - 1) - distance)
            x = getitem(x, (slice(None),) * axis + (mirrored,))
    return x
