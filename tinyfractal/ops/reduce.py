"""Functions that make fewer numbers out of many: sums, means, extremes, and softmax.

`axis` is an int, a tuple of ints, or None for all axes; `keepdims` leaves the reduced axes in
place with length 1. The gradient of a reduction goes back to every number it came from.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import xp
from ..check import Axis, checked
from ..engine.operators import FUNCTIONS, raw
from ..engine.primitive import primitive
from ..guards.arrays import check_ddof
from .elementwise import exp, sqrt
from .shape import broadcast_to, concatenate, expand_dims, reshape, transpose


def _spread(g: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """Give the gradient of a reduction the shape of x again, each number repeated."""
    if not keepdims:
        axes = _axes(axis, x.ndim)
        g = reshape(g, shape=tuple(1 if i in axes else n for i, n in enumerate(x.shape)))
    return broadcast_to(g, shape=x.shape)


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The reduced axes, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(i % ndim for i in (axis if isinstance(axis, tuple) else (axis,)))


def _count(x: Any, axis: Axis) -> int:
    """How many numbers become one."""
    return math.prod(x.shape[i] for i in _axes(axis, x.ndim))


@primitive(lambda g, _y, _x, axis, keepdims: _spread(g, _x, axis, keepdims))
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Σ x."""
    return xp.sum(x, axis=axis, keepdims=keepdims)


@primitive(lambda g, _y, _x, axis, keepdims: _spread(g / _count(_x, axis), _x, axis, keepdims))
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Σ x / n, n being how many numbers become one. Of integers or booleans: float32."""
    x = x if x.dtype.kind == "f" else x.astype(xp.float32)
    return xp.sum(x, axis=axis, keepdims=keepdims) / _count(x, axis)


def _var_gradient(g: Any, _y: Any, x: Any, axis: Axis, keepdims: bool, ddof: int) -> Any:
    centered = x - mean(x, axis=axis, keepdims=True)
    return _spread(g * 2 / (_count(x, axis) - ddof), x, axis, keepdims) * centered


@primitive(_var_gradient)
def var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Variance, Σ (x - mean)² / (n - ddof). NumPy's ddof = 0; PyTorch's default is 1.

    Raises `ShapeError` where there are no more numbers than `ddof`.
    """
    check_ddof(x, ddof, _count(x, axis))
    return xp.var(x, axis=axis, keepdims=keepdims, ddof=ddof)


@checked
def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Any:
    """Standard deviation, the square root of `var`."""
    return sqrt(var(x, axis=axis, keepdims=keepdims, ddof=ddof))


@checked
def prod(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Product. The numbers are multiplied in pairs, then the products in pairs, and so on.

    It needs no gradient of its own: that of each multiplication is enough, zeros included.
    """
    order = list(range(x.ndim))
    if axis is None:
        x = reshape(x, shape=(x.size,))
    else:
        x = transpose(x, axes=(order.pop(axis), *order))  # that axis first
    while len(x) > 1:
        half = len(x) // 2
        pairs = x[:half] * x[half : 2 * half]
        x = concatenate([pairs, x[2 * half :]]) if len(x) % 2 else pairs
    y = x[0] if len(x) else xp.ones(x.shape[1:], x.dtype)
    return expand_dims(y, axis=tuple(order) if axis is None else axis) if keepdims else y


FUNCTIONS["prod"] = prod  # for the method x.prod()


def _extreme_gradient(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    hit = (raw(x) == raw(_spread(y, x, axis, keepdims))).astype(x.dtype)
    share = hit / hit.sum(axis=axis, keepdims=True)  # equal numbers share the gradient
    return _spread(g, x, axis, keepdims) * share


@primitive(_extreme_gradient)
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest number. Where several are largest they share the gradient equally."""
    return xp.max(x, axis=axis, keepdims=keepdims)


@primitive(_extreme_gradient)
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest number. Where several are smallest they share the gradient equally."""
    return xp.min(x, axis=axis, keepdims=keepdims)


@primitive(
    lambda g, y, x, axis, keepdims: (
        _spread(g, x, axis, keepdims) * exp(x - _spread(y, x, axis, keepdims))
    )
)
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """log Σ e^x, the largest x taken out first so that no exponential overflows."""
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0.0)
    y = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else xp.squeeze(y, axis=_axes(axis, x.ndim))


@primitive(lambda g, y, _x, axis: y * (g - sum(g * y, axis=axis, keepdims=True)))
def softmax(x: Any, axis: int = -1) -> Any:
    """e^x / Σ e^x: positive numbers that add up to 1 along `axis`."""
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


@primitive(lambda g, y, _x, axis: g - exp(y) * sum(g, axis=axis, keepdims=True))
def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log Σ e^x: the logarithm of softmax, without its rounding."""
    x = x - xp.max(x, axis=axis, keepdims=True)
    return x - xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True))
