"""What makes a Tensor feel like a NumPy array: `a + b`, `a[0]`, `a.sum()`, `a.T`.

Nothing is computed here. Each operator and method looks up a primitive by name in the table
`PRIMITIVES`, which the files in `ops/` fill, and calls it (`prod`, made of several, stands in
`FUNCTIONS`). Read `tensor.py` first.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..backend import asarray, asnumpy, check_array, native, xp
from ..check import INSIDE, Axis, checked, got, kind_of
from ..errors import DTypeError, GraphError, ShapeError
from .modes import mode

if TYPE_CHECKING:
    from .tensor import Tensor

PRIMITIVES: dict[str, Any] = {}  # name -> Primitive: the derivative table
FUNCTIONS: dict[str, Any] = {}  # name -> function made of primitives, which is a method as well


def raw(x: Any) -> Any:
    """The array inside a Tensor; anything else as it is.

    In a gradient rule it marks a factor that counts as a constant, such as the sign in d|x|.
    """
    return x.data if isinstance(x, Operators) else x


def _beside(name: str, other: Any) -> Any:
    """What stands beside a Tensor's array: a number, or an array of the same backend."""
    other = raw(other)
    if isinstance(other, xp.generic):
        return other.item()
    if hasattr(other, "dtype"):
        check_array(other, name)
    return native(other, name)


def plain_index(index: Any) -> Any:
    """An index of arrays on the backend, without Tensors and lists."""
    if isinstance(index, tuple):
        return tuple(map(plain_index, index))
    index = raw(index)
    if isinstance(index, list):
        return asarray(index, None if index else int)
    return (
        asarray(index) if hasattr(index, "dtype") and not isinstance(index, xp.generic) else index
    )


ARITHMETIC = {  # which primitive `array ∘ tensor` is, by the name of NumPy's ufunc
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "power": "pow",
    "matmul": "matmul",
}  # fmt: skip
COMPARISONS = {
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.gt, "greater": operator.lt,
    "less_equal": operator.ge, "greater_equal": operator.le,
}  # fmt: skip


class Operators:
    """The operators and methods of `Tensor`, each the primitive of the same name."""

    __slots__ = ()
    __hash__ = object.__hash__

    if TYPE_CHECKING:  # what Tensor has
        data: Any
        requires_grad: bool
        node: Any

    # ----- What it holds -----

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """How many axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """How many numbers."""
        return self.data.size

    @property
    def dtype(self) -> Any:
        """The type of the numbers: float32 or float64 (integers for labels)."""
        return self.data.dtype

    def item(self) -> Any:
        """The only number in it, as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item: expected a single number, got shape {self.shape}")
        return asnumpy(self.data).item()

    def numpy(self) -> Any:
        """The values as a NumPy array on the host, without history."""
        return asnumpy(self.data)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a Tensor of shape () is one number and has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.size != 1 or self.dtype.kind not in "iu":
            raise TypeError(
                f"index: expected a Tensor of one integer, got shape {self.shape} and type "
                f"{self.dtype}"
            )
        return int(self.item())

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.item(), digits)

    def __format__(self, how: str) -> str:
        return format(self.item(), how) if how else repr(self)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"bool: {self.size} numbers, of shape {self.shape}, are not one yes or no; choose "
                "with where(mask, a, b) or x[mask], or reduce first"
            )
        return bool(self.item())

    # ----- Beside NumPy -----

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a Tensor does not turn into a NumPy array by itself: call .numpy()")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        """`array * tensor` is a Tensor; whatever else NumPy is asked to do with one is refused."""
        name = ufunc.__name__
        if method == "__call__" and not settings:
            if name in ARITHMETIC:
                return PRIMITIVES[ARITHMETIC[name]](*inputs)
            if name in COMPARISONS:  # array < tensor is tensor > array
                return COMPARISONS[name](*reversed(inputs))
        return self.__array_function__(ufunc)

    def __array_function__(self, function: Any, *call: Any) -> Any:
        """NumPy's functions know no gradients; only what asks for the shape is answered."""
        name = function.__name__
        if name in ("shape", "ndim", "size"):
            return getattr(self, name)
        ours = f"tinyfractal.{name}(x), or " if name in PRIMITIVES else ""
        raise TypeError(f"numpy.{name} does not take Tensors: use {ours}x.numpy() for an array")

    def __repr__(self) -> str:
        values = repr(asnumpy(self.data))  # "array([1., 2.], dtype=float32)"
        values = values[values.index("(") + 1 : -1].replace("\n" + " " * 6, "\n" + " " * 7)
        values = values.replace(", dtype=float32", "")
        if self.dtype == "float64":  # which NumPy leaves out, being its own default
            values += ", dtype=float64"
        if self.node is not None:
            values += f", from {self.node.primitive.__name__}"
        elif self.requires_grad:
            values += ", requires_grad=True"
        return f"{type(self).__name__}({values})"

    # ----- Arithmetic -----

    def __add__(self, other: Any) -> Tensor:
        return PRIMITIVES["add"](self, other)

    def __radd__(self, other: Any) -> Tensor:
        return PRIMITIVES["add"](other, self)

    def __sub__(self, other: Any) -> Tensor:
        return PRIMITIVES["sub"](self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return PRIMITIVES["sub"](other, self)

    def __mul__(self, other: Any) -> Tensor:
        return PRIMITIVES["mul"](self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return PRIMITIVES["mul"](other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return PRIMITIVES["div"](self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return PRIMITIVES["div"](other, self)

    def __pow__(self, other: Any) -> Tensor:
        return PRIMITIVES["pow"](self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return PRIMITIVES["pow"](other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return PRIMITIVES["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return PRIMITIVES["matmul"](other, self)

    def __neg__(self) -> Tensor:
        return PRIMITIVES["neg"](self)

    def __abs__(self) -> Tensor:
        return PRIMITIVES["abs"](self)

    # ----- Comparison: Tensors of booleans, which have no gradient; &, | and ~ join them -----

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self._compare(operator.eq, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self._compare(operator.ne, other)

    def __lt__(self, other: Any) -> Tensor:
        return self._compare(operator.lt, other)

    def __le__(self, other: Any) -> Tensor:
        return self._compare(operator.le, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._compare(operator.gt, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._compare(operator.ge, other)

    def _compare(self: Any, compare: Callable, other: Any) -> Tensor:
        if not isinstance(raw(other), (int, float, list, xp.ndarray, xp.generic)):
            if hasattr(other, "dtype"):
                check_array(other, "comparison")
            return NotImplemented  # Python says that the two cannot be ordered, or are not equal
        try:
            return type(self).of(compare(self.data, _beside("comparison", other)))
        except INSIDE as error:
            raise kind_of(error)(
                f"comparison: cannot work on x {self.shape}, other={got(other)} ({error})"
            ) from error

    def __and__(self, other: Any) -> Tensor:
        return self._compare(operator.and_, other)

    def __or__(self, other: Any) -> Tensor:
        return self._compare(operator.or_, other)

    def __invert__(self) -> Tensor:
        if self.dtype != bool:
            raise DTypeError(f"~: only a Tensor of booleans turns round, got {self.dtype}")
        return self._compare(operator.ne, True)

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

    # ----- Change in place: refused where a recorded graph would not notice -----

    def copy_(self, source: Any) -> Tensor:
        """Overwrite the values with those of `source`, broadcast to this shape, in place."""
        return self._in_place("copy_", "__setitem__", ..., source)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._in_place("setitem", "__setitem__", index, value)

    def __iadd__(self, other: Any) -> Tensor:
        return self + other if self._computed else self._in_place("+=", "__iadd__", other)

    def __isub__(self, other: Any) -> Tensor:
        return self - other if self._computed else self._in_place("-=", "__isub__", other)

    def __imul__(self, other: Any) -> Tensor:
        return self * other if self._computed else self._in_place("*=", "__imul__", other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self / other if self._computed else self._in_place("/=", "__itruediv__", other)

    @property
    def _computed(self) -> bool:
        """Whether it is a result in a graph: then `a += b` can be a = a + b, and is recorded."""
        return self.node is not None and mode.recording

    def _in_place(self: Any, name: str, method: str, *args: Any) -> Any:
        for tensor in (self, *args):
            if mode.recording and isinstance(tensor, Operators) and tensor.requires_grad:
                raise GraphError(
                    f"{name}: {'this' if tensor is self else 'the new value, a'} Tensor of shape "
                    f"{tensor.shape} needs a gradient, and backward does not see a change in "
                    "place. Make a new Tensor (a = a + b), or change it inside `with no_grad():`."
                )
        *index, value = args
        if value is None:
            raise DTypeError(f"{name}: the new values are None, which is no number")
        value = asarray(value) if isinstance(value, list) else _beside(name, value)
        fractions = value.dtype.kind == "f" if hasattr(value, "dtype") else type(value) is float
        if self.dtype.kind != "f" and fractions:
            raise DTypeError(
                f"{name}: a Tensor of {self.dtype} would cut off what is behind the decimal point; "
                "make it a Tensor of floats first"
            )
        try:
            getattr(self.data, method)(*map(plain_index, index), value)
        except INSIDE as error:
            raise kind_of(error)(
                f"{name}: the new values do not fit into this Tensor {self.shape} ({error})"
            ) from error
        self.changed(name)
        return self


def _flat(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Let `f(2, 3)` and `f((2, 3))` mean the same."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
