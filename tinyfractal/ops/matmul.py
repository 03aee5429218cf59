"""Matrix products.

The two gradients follow from the shapes alone. If y (n, m) = a (n, k) @ b (k, m), then g has the
shape of y, and there is one way to make an (n, k) out of g and b, and one to make a (k, m).
"""

from __future__ import annotations

from typing import Any

from ..backend import xp
from ..check import checked
from ..engine.primitive import primitive
from ..engine.tensor import Tensor
from ..guards.arrays import check_linear, check_product
from .shape import expand_dims


def _matrices(a: Any, b: Any, g: Any) -> tuple[Any, Any, Any]:
    """A vector on the left counts as a row, on the right as a column; g regains that axis."""
    if b.ndim == 1:
        b, g = b.reshape(-1, 1), expand_dims(g, axis=-1)
    if a.ndim == 1:
        a, g = a.reshape(1, -1), expand_dims(g, axis=-2)
    return a, b, g


def _gradient_a(g: Any, _y: Any, a: Any, b: Any) -> Any:
    a, b, g = _matrices(a, b, g)
    return g @ b.swapaxes(-1, -2)  # (…, n, m) @ (…, m, k) → (…, n, k)


def _gradient_b(g: Any, _y: Any, a: Any, b: Any) -> Any:
    vector = b.ndim == 1
    a, b, g = _matrices(a, b, g)
    gb = a.swapaxes(-1, -2) @ g  # (…, k, n) @ (…, n, m) → (…, k, m)
    return gb[..., 0] if vector else gb


@primitive(_gradient_a, _gradient_b)
def matmul(a: Any, b: Any) -> Any:
    """a @ b: (…, n, k) @ (…, k, m) → (…, n, m), the leading axes broadcast.

    A vector on the left counts as a row and on the right as a column, and that axis is dropped
    from the result, as in NumPy. Raises `ShapeError` where the k differ.
    """
    check_product(a, b)
    return xp.matmul(a, b)


@checked
def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """x @ weight + bias: (…, in) → (…, out), with weight (in, out) and bias (out,).

    Raises `ShapeError` where x, weight and bias do not fit.
    """
    check_linear(x, weight, bias)
    return _product(x, weight) if bias is None else _linear(x, weight, bias)


def _rows(x: Any) -> Any:
    """All axes but the last made one: (…, n) → (rows, n)."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def _product(x: Any, matrix: Any) -> Any:
    """x @ matrix as one product, however many axes: (…, n) @ (n, m) → (…, m)."""
    y = _rows(x) @ matrix
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], matrix.shape[1])


def _gradient_bias(g: Any, _y: Any, _x: Any, _weight: Any, _bias: Any) -> Any:
    rows = _rows(g)
    return xp.ones(len(rows), rows.dtype) @ rows  # their sum, quicker than by sum(axis=0)


@primitive(
    lambda g, _y, _x, weight, _bias: _product(g, weight.T),  # (…, out) @ (out, in)
    lambda g, _y, x, _weight, _bias: _rows(x).T @ _rows(g),  # (in, rows) @ (rows, out)
    _gradient_bias,
)
def _linear(x: Any, weight: Any, bias: Any) -> Any:
    return _product(x, weight) + bias
