"""What Python and NumPy ask of a Tensor besides arithmetic: len, iteration, printing, comparison.

No gradient is here. Read it last of this room: it says what a Tensor answers, and what it refuses
since it would be computed behind the back of the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..backend import asarray, asnumpy, check_array, native, xp
from ..check import INSIDE, got, kind_of
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
    return x.data if isinstance(x, ArrayLike) else x


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


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Tensor]:
    """The method that compares number by number."""

    def method(self: Any, other: Any) -> Tensor:
        return self._compare(compare, other)

    return method


class ArrayLike:
    """What a Tensor has of an array of any kind."""

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

    def __iter__(self: Any) -> Iterator[Tensor]:
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

    # ----- Comparison: Tensors of booleans, which have no gradient; &, | and ~ join them -----

    __eq__ = _comparison(operator.eq)  # type: ignore[assignment]
    __ne__ = _comparison(operator.ne)  # type: ignore[assignment]
    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)
    __and__ = _comparison(operator.and_)
    __or__ = _comparison(operator.or_)

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

    def __invert__(self) -> Tensor:
        if self.dtype != bool:
            raise DTypeError(f"~: only a Tensor of booleans turns round, got {self.dtype}")
        return self._compare(operator.ne, True)

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
            if mode.recording and isinstance(tensor, ArrayLike) and tensor.requires_grad:
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
