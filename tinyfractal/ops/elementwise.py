"""Functions of each number by itself: arithmetic, the calculus table, activations.

Read one row and you can read them all: the decorator holds the gradient rules, one per argument,
and the body is the value. `g` is the gradient of the output `y`. A rule that needs only g takes
only g; `_x` marks an array whose values it does not use. Arguments of different shapes broadcast as
in NumPy, and the result has their common floating-point type. Shapes: any.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import asarray, xp
from ..check import Finite, checked
from ..engine.operators import raw
from ..engine.primitive import primitive
from ..engine.tensor import Tensor
from ..errors import DTypeError

# ----- Arithmetic -----


@primitive(lambda g: g, lambda g: g)
def add(a: Any, b: Any) -> Any:
    """a + b."""
    return a + b


@primitive(lambda g: g, lambda g: -g)
def sub(a: Any, b: Any) -> Any:
    """a - b."""
    return a - b


@primitive(lambda g, _y, _a, b: g * b, lambda g, _y, a, _b: g * a)
def mul(a: Any, b: Any) -> Any:
    """a · b."""
    return a * b


@primitive(lambda g, _y, _a, b: g / b, lambda g, y, _a, b: -g * y / b)
def div(a: Any, b: Any) -> Any:
    """a / b."""
    return a / b


@primitive(lambda g: -g)
def neg(x: Any) -> Any:
    """-x."""
    return -x


@primitive(
    # n x^(n-1); where x and n are 0 it is 0, not 0 · ∞
    lambda g, _y, x, n: g * n * where((raw(x) == 0) & (raw(n) == 0), 1.0, x) ** (n - 1),
    # x^n log x; where x is 0 so is the limit, for n ≥ 0
    lambda g, y, x, n: g * y * log(where((raw(x) == 0) & (raw(n) >= 0), 1.0, x)).astype(y.dtype),
)
def pow(x: Any, n: Any) -> Any:
    """x to the power n. The gradient with respect to n needs x ≥ 0."""
    return x**n


# ----- The calculus table -----


@primitive(lambda g, y, _x: g * y)
def exp(x: Any) -> Any:
    """e^x."""
    return xp.exp(x)


@primitive(lambda g, _y, x: g / x)
def log(x: Any) -> Any:
    """Natural logarithm of x > 0."""
    return xp.log(x)


@primitive(lambda g, y, _x: g / (2 * y))
def sqrt(x: Any) -> Any:
    """√x for x ≥ 0 (the gradient is infinite at 0)."""
    return xp.sqrt(x)


@primitive(lambda g, _y, x: g * xp.sign(raw(x)))
def abs(x: Any) -> Any:
    """|x|. The gradient at 0 is taken as 0."""
    return xp.abs(x)


@primitive(lambda g, _y, x: g * cos(x))
def sin(x: Any) -> Any:
    """Sine of x, in radians."""
    return xp.sin(x)


@primitive(lambda g, _y, x: -g * sin(x))
def cos(x: Any) -> Any:
    """Cosine of x, in radians."""
    return xp.cos(x)


@primitive(lambda g, y, _x: g * (1 - y * y))
def tanh(x: Any) -> Any:
    """Hyperbolic tangent, (e^x - e^-x) / (e^x + e^-x)."""
    return xp.tanh(x)


# ----- Activations -----


@primitive(lambda g, y, _x: g * y * (1 - y))
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x), written so that no exponential overflows."""
    z = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1.0, z) / (1 + z)


@primitive(lambda g, y, _x: g * (raw(y) > 0))
def relu(x: Any) -> Any:
    """Rectified linear unit, max(x, 0). The gradient at 0 is taken as 0."""
    return xp.maximum(x, 0.0)


@primitive(lambda g, _y, x, slope: g * xp.where(raw(x) > 0, 1.0, slope).astype(x.dtype))
def leaky_relu(x: Any, slope: Finite = 0.01) -> Any:
    """x where x > 0, slope · x elsewhere."""
    return xp.where(x > 0, x, slope * x)


@primitive(lambda g, _y, x: g * sigmoid(x))
def softplus(x: Any) -> Any:
    """log(1 + e^x), a smooth relu, written so that no exponential overflows."""
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def _gelu_gradient(g: Any, _y: Any, x: Any) -> Any:
    t = tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x))
    inner = GELU_SCALE * (1 + 3 * GELU_CUBE * x * x)
    return g * 0.5 * (1 + t + x * (1 - t * t) * inner)


GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


@primitive(_gelu_gradient)
def gelu(x: Any) -> Any:
    """Gaussian error linear unit, in its tanh form (Hendrycks & Gimpel 2016, arXiv 1606.08415).

    x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))). PyTorch calls this `approximate="tanh"`.
    """
    return 0.5 * x * (1 + xp.tanh(GELU_SCALE * (x + GELU_CUBE * x * x * x)))


# ----- Choices -----


def _won(a: Any, b: Any, g: Any) -> Any:
    """1 where a is the larger, ½ where they are equal, 0 elsewhere."""
    return xp.where(raw(a) == raw(b), 0.5, raw(a) > raw(b)).astype(g.dtype)


@primitive(lambda g, _y, a, b: g * _won(a, b, g), lambda g, _y, a, b: g * _won(b, a, g))
def maximum(a: Any, b: Any) -> Any:
    """The larger of a and b. Where they are equal each gets half of the gradient."""
    return xp.maximum(a, b)


@primitive(lambda g, _y, a, b: g * _won(b, a, g), lambda g, _y, a, b: g * _won(a, b, g))
def minimum(a: Any, b: Any) -> Any:
    """The smaller of a and b. Where they are equal each gets half of the gradient."""
    return xp.minimum(a, b)


@primitive(lambda g, y, x, min, max: g * (raw(x) == raw(y)))
def clip(x: Any, min: float | None = None, max: float | None = None) -> Any:
    """x kept between the numbers min and max. The gradient is 0 where x was cut."""
    return x.copy() if min is None and max is None else xp.clip(x, min, max)


@primitive(
    lambda g, _y, _a, _b, condition: _where(g, 0.0, condition=condition),
    lambda g, _y, _a, _b, condition: _where(0.0, g, condition=condition),
)
def _where(a: Any, b: Any, condition: Any) -> Any:
    return xp.where(condition, a, b)


@checked
def where(condition: Any, a: Any, b: Any) -> Tensor:
    """The numbers of a where `condition` is true, those of b elsewhere."""
    if isinstance(condition, Tensor) and not (hasattr(a, "dtype") or hasattr(b, "dtype")):
        a = Tensor(a)  # two numbers: float32
    return _where(a, b, condition=asarray(raw(condition)))


@primitive(lambda g: g, view=True)
def identity(x: Any) -> Any:
    """x itself."""
    return x


@primitive(lambda g: g)
def clone(x: Any) -> Any:
    """The same numbers in memory of their own."""
    return x.copy()


@primitive(lambda g, _y, _x, dtype: astype(g, dtype=_x.dtype), view=True)
def astype(x: Any, dtype: Any) -> Any:
    """The same numbers as float32 or float64; the gradient comes back in the old type."""
    if xp.dtype(dtype).kind != "f":
        raise DTypeError(f"astype: dtype is float32 or float64, got {xp.dtype(dtype)}")
    return x.astype(dtype, copy=False)
