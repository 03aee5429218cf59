"""Why `a + b`, `a[0]` and `a.sum()` work.

Nothing is computed here. Each operator, and nearly every method, looks up a primitive in the table
`PRIMITIVES`, which the files in `ops/` fill, and calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..check import Axis, checked
from .arraylike import FUNCTIONS, PRIMITIVES, ArrayLike, raw

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = ["FUNCTIONS", "PRIMITIVES", "Operators", "raw"]

Binary = Callable[[Any, Any], "Tensor"]


def _arithmetic(name: str) -> tuple[Binary, Binary]:
    """The methods behind `tensor ∘ other` and `other ∘ tensor`."""

    def method(self: Any, other: Any) -> Tensor:
        return PRIMITIVES[name](self, other)

    def reflected(self: Any, other: Any) -> Tensor:
        return PRIMITIVES[name](other, self)

    return method, reflected


class Operators(ArrayLike):
    """The operators and methods of `Tensor`."""

    __slots__ = ()

    # ----- Arithmetic -----

    __add__, __radd__ = _arithmetic("add")
    __sub__, __rsub__ = _arithmetic("sub")
    __mul__, __rmul__ = _arithmetic("mul")
    __truediv__, __rtruediv__ = _arithmetic("div")
    __pow__, __rpow__ = _arithmetic("pow")
    __matmul__, __rmatmul__ = _arithmetic("matmul")

    def __neg__(self) -> Tensor:
        return PRIMITIVES["neg"](self)

    def __abs__(self) -> Tensor:
        return PRIMITIVES["abs"](self)

    # ----- Indexing and shape -----

    def __getitem__(self, index: Any) -> Tensor:
        return PRIMITIVES["getitem"](self, index=index)

    def reshape(self, *shape: Any) -> Tensor:
        """The same numbers in another shape: `x.reshape(2, 3)`, `x.reshape((2, -1))`."""
        return PRIMITIVES["reshape"](self, shape=_flat(shape))

    view = reshape  # PyTorch's name

    def flatten(self) -> Tensor:
        """All numbers in a row."""
        return PRIMITIVES["reshape"](self, shape=(self.size,))

    def transpose(self, *axes: Any) -> Tensor:
        """Axes reordered: `x.transpose(0, 2, 1)`; without arguments reversed, as `x.T`."""
        return PRIMITIVES["transpose"](self, axes=_flat(axes) or None)

    permute = transpose  # PyTorch's name

    @checked
    def swapaxes(self, first: int, second: int) -> Tensor:
        """Two axes exchanged."""
        axes = list(range(self.ndim))
        axes[first], axes[second] = axes[second], axes[first]
        return PRIMITIVES["transpose"](self, axes=tuple(axes))

    def unsqueeze(self, axis: int | tuple[int, ...]) -> Tensor:
        """With a new axis of length 1 at place `axis`."""
        return PRIMITIVES["expand_dims"](self, axis=axis)

    @property
    def T(self) -> Tensor:
        """All axes reversed."""
        return PRIMITIVES["transpose"](self, axes=None)

    @checked
    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without its axes of length 1 (all of them, or those named)."""
        return PRIMITIVES["squeeze"](self, axis=axis)

    def astype(self, dtype: Any) -> Tensor:
        """The same values as another floating-point type."""
        return PRIMITIVES["astype"](self, dtype=dtype)

    def clone(self) -> Tensor:
        """A copy in memory of its own; the gradient goes back to this one."""
        return PRIMITIVES["clone"](self)

    # ----- Functions of each number -----

    def exp(self) -> Tensor:
        """e^x."""
        return PRIMITIVES["exp"](self)

    def log(self) -> Tensor:
        """Natural logarithm."""
        return PRIMITIVES["log"](self)

    def sqrt(self) -> Tensor:
        """√x."""
        return PRIMITIVES["sqrt"](self)

    def abs(self) -> Tensor:
        """|x|."""
        return PRIMITIVES["abs"](self)

    # ----- Reductions -----

    @checked
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Sum over `axis` (all axes where None)."""
        return PRIMITIVES["sum"](self, axis=axis, keepdims=keepdims)

    @checked
    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Mean over `axis`."""
        return PRIMITIVES["mean"](self, axis=axis, keepdims=keepdims)

    @checked
    def var(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """Variance over `axis`, the sum of squares divided by n - ddof."""
        return PRIMITIVES["var"](self, axis=axis, keepdims=keepdims, ddof=ddof)

    @checked
    def std(self, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """Standard deviation over `axis`, the square root of `var`."""
        return self.var(axis, keepdims, ddof).sqrt()

    @checked
    def prod(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Product over `axis` (of all numbers where None)."""
        return FUNCTIONS["prod"](self, axis, keepdims)

    @checked
    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Largest value over `axis`."""
        return PRIMITIVES["max"](self, axis=axis, keepdims=keepdims)

    @checked
    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Smallest value over `axis`."""
        return PRIMITIVES["min"](self, axis=axis, keepdims=keepdims)

    @checked
    def argmax(self: Any, axis: int | None = None) -> Tensor:
        """Where the largest value is, along `axis`: integers, which have no gradient."""
        return type(self).of(self.data.argmax(axis=axis))


def _flat(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Let `f(2, 3)` and `f((2, 3))` mean the same."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
