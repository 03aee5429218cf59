"""The array of the stand-in: an ndarray of NumPy's that nobody outside can get at by accident."""

import mmap
import operator
import os
import sys
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import numpy

from . import _launches
from ._launches import launch
from ._signatures import API, Signature

HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
NUMBERS = (bool, int, float, complex)
BINARY = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]


class CrossingError(RuntimeError):
    """What works with CuPy, but is slow or an accident: a crossing outside the named places."""


# ----- What crosses between host and device, and where -----


@dataclass(frozen=True)
class Crossing:
    """Something that crossed: `kind` is "in", "out", or "wait" for what only makes Python wait."""

    kind: str
    what: str
    bytes: int
    line: str


watchers = []


@contextmanager
def watch():
    """The list of all crossings inside the block."""
    seen = []
    watchers.append(seen)
    try:
        yield seen
    finally:
        watchers.remove(seen)


def crossing(kind, what, size):
    """Note a crossing; refuse it where library code does it anywhere but in `backend/`."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    file = frame.f_code.co_filename
    library = (
        os.path.dirname(sys.modules["tinyfractal"].__file__) + os.sep
        if ("tinyfractal" in sys.modules)
        else "-"
    )
    named = {library + os.path.join("backend", name) for name in ("__init__.py", "cuda.py")}
    if kind != "wait" and file.startswith(library) and file not in named:
        raise CrossingError(
            f"{what} in {file[len(library) :]}:{frame.f_lineno}: data crosses between host and "
            "device in backend.asarray and backend.asnumpy only"
        )
    for seen in watchers:
        seen.append(Crossing(kind, what, size, f"{os.path.basename(file)}:{frame.f_lineno}"))


# ----- Into and out of the hidden array -----


def wrap(value):
    """Arrays and NumPy scalars of a result, as arrays on the device; also inside tuples."""
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return ndarray._of(numpy.asarray(value))
    if isinstance(value, (tuple, list)) and any(
        isinstance(v, (numpy.ndarray, numpy.generic)) for v in value
    ):
        return type(value)(map(wrap, value))
    return value


def unwrap(value, name="an operator"):
    """The hidden array of an argument; arrays and scalars of NumPy are refused, as CuPy does."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        raise TypeError(f"Unsupported type {type(value)} (cupy: {name})")
    if isinstance(value, (tuple, list)):
        return type(value)(unwrap(v, name) for v in value)
    return value


class _Underflow:
    """Whether NumPy has computed a number too small for its type, since it was last asked."""

    seen = False

    def __call__(self, kind, flag):
        self.seen = True


underflow = _Underflow()


def quietly(function, *args, **kwargs):
    """Call it without NumPy's warnings, since a GPU has none; too small numbers are noted."""
    with numpy.errstate(all="ignore", under="call", call=underflow):
        return function(*args, **kwargs)


def landed(host):
    """What a kernel writes: in C order, whatever that of its arguments, and without subnormals.

    (CuPy compiles its kernels to flush those of float32 to zero; not those of float64.)
    """
    if underflow.seen:
        underflow.seen = False
        host = flushed(host)
    return numpy.asarray(host, order="C")


def flushed(host):
    """float32 without subnormal numbers, zeros in their place."""
    if getattr(host, "dtype", None) != numpy.float32:
        return host
    return host * (abs(host) >= numpy.finfo(numpy.float32).tiny)


def computed(function, *args, **kwargs):
    """What an elementwise function or an operator gives."""
    result = quietly(function, *args, **kwargs)
    if isinstance(result, tuple):
        return tuple(map(landed, result))
    return landed(result)


def outside(host):
    """The same in memory that tracemalloc does not see, as it does not see that of a GPU."""
    if host.base is None and host.size and tracemalloc.is_tracing():
        there = numpy.ndarray(host.shape, host.dtype, mmap.mmap(-1, host.nbytes), 0, host.strides)
        there[...] = host
        return there
    return host


def raised(a, b):
    """a ** b, where NumPy refuses integers to negative powers: 0 then, but of 1 and -1."""
    if numpy.asarray(a).dtype.kind in "iu" and numpy.asarray(b).dtype.kind in "iu":
        below = numpy.where(numpy.equal(a, -1), 1 - 2 * (b % 2), numpy.equal(a, 1))
        found = numpy.where(numpy.less(b, 0), below, numpy.power(a, numpy.maximum(b, 0)))
        return found.astype(numpy.result_type(a, b))
    return a**b


# ----- Indices -----


def index_of(index, shape, what):
    """An index as NumPy takes it; places out of bounds in an array come round again, as in CuPy."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(
        0 if part is None or part is Ellipsis
        else part.ndim if isinstance(part, ndarray) and part.dtype.kind == "b"
        else 1
        for part in parts
    )  # fmt: skip
    axis = 0
    for i, part in enumerate(parts):
        if isinstance(part, (numpy.ndarray, list)):
            raise TypeError(f"{what}: an index on the host, {type(part).__name__}")
        if part is Ellipsis:
            axis += len(shape) - used
        elif isinstance(part, ndarray):
            parts[i] = part._host
            if part.dtype.kind == "b":
                axis += part.ndim
            else:
                if part.dtype.kind in "iu" and axis < len(shape) and shape[axis]:
                    parts[i] = part._host % shape[axis]
                axis += 1
        elif part is not None:
            axis += 1
    if not any(isinstance(part, numpy.ndarray) for part in parts) and Ellipsis not in parts:
        parts.append(Ellipsis)  # so that a single number is an array too, and a view
    return tuple(parts)


def has_mask(index):
    """Whether a mask is in it: then the GPU must be asked how many numbers it picks."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, ndarray) and part.dtype.kind == "b" for part in parts)


# ----- The array -----


class ndarray:  # noqa: N801 (CuPy's name)
    """Behaves like `cupy.ndarray`, and stricter where CuPy would copy or wait silently."""

    __slots__ = ("_host", "__weakref__")
    __module__ = "cupy"
    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, shape, dtype=float):
        self._host = numpy.empty(shape, dtype)

    @classmethod
    def _of(cls, host):
        self = object.__new__(cls)
        self._host = outside(host)
        return self

    def _leaves(self, what):
        crossing("out", what, self._host.nbytes)
        launch("copy", what)
        return self._host

    # ----- Refused -----

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"numpy.{function.__name__} was called with an array on the device")

    # ----- Copies to the host, for each of which Python waits -----

    def get(self, stream=None, order="C", out=None, blocking=True):
        return numpy.array(self._leaves("get"))

    def item(self):
        return self._leaves("item").item()

    def tolist(self):
        return self._leaves("tolist").tolist()

    def tobytes(self, order="C"):
        return self._leaves("tobytes").tobytes(order)

    def __bool__(self):
        return bool(self._leaves("bool"))

    def __int__(self):
        return int(self._leaves("int"))

    def __float__(self):
        return float(self._leaves("float"))

    def __complex__(self):
        return complex(self._leaves("complex"))

    def __repr__(self):
        return repr(self._leaves("repr"))

    def __str__(self):
        return str(self._leaves("str"))

    def __format__(self, how):
        return format(self._leaves("format"), how)

    # ----- What is known without asking the device -----

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    base = property(lambda self: getattr(self._host, "base", None))
    T = property(lambda self: wrap(self._host.T))
    real = property(lambda self: wrap(self._host.real))
    imag = property(lambda self: wrap(self._host.imag))

    @property
    def flags(self):
        flags = self._host.flags
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata
        )

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # ----- Indices -----

    def __getitem__(self, index):
        if has_mask(index):
            crossing("wait", "x[mask]", 0)
        result = self._host[index_of(index, self.shape, "x[…]")]
        if not _launches.is_view(result, [self._host]) and result.size:
            launch("kernel", "x[array]", 3 if has_mask(index) else 1)
            result = numpy.asarray(result, order="C")
        return wrap(result)

    def __setitem__(self, index, value):
        if has_mask(index) and isinstance(value, ndarray) and value.ndim:
            crossing("wait", "x[mask] = …", 0)
        if isinstance(value, (list, tuple)):
            raise TypeError("x[…] = …: a value on the host")
        if isinstance(value, numpy.ndarray):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        place = index_of(index, self.shape, "x[…] = …")
        host = unwrap(value, "x[…] = …")
        if any(isinstance(part, numpy.ndarray) for part in place):
            launch("kernel", "x[array] = …")
        elif isinstance(value, ndarray):
            _launches.of_assignment(self._host[place], host)
        else:
            _launches.of_fill(self._host[place], host)
        quietly(self._host.__setitem__, place, host)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()


def _operator(name, function, swapped=False):
    def method(self, other):
        if not isinstance(other, (ndarray, *NUMBERS)):
            if isinstance(other, (numpy.ndarray, numpy.generic)):
                unwrap(other)
            return NotImplemented
        a, b = self._host, unwrap(other)
        a, b = (b, a) if swapped else (a, b)
        result = computed(function, a, b)
        _launches.of_elementwise(function.__name__, (a, b), result)
        return wrap(result)

    setattr(ndarray, name, method)


def _in_place(name, function):
    def method(self, other):
        if not isinstance(other, (ndarray, *NUMBERS)):
            unwrap(other)
            return NotImplemented
        host = quietly(function, self._host, unwrap(other))
        assert host is self._host
        if underflow.seen:
            host[...] = landed(host)
        if host.size:
            launch("kernel", name.strip("_"))
        return self

    setattr(ndarray, name, method)


def _unary(name, function):
    def method(self):
        result = computed(function, self._host)
        _launches.of_elementwise(name, (self._host,), result)
        return wrap(result)

    return method


for _name in BINARY:
    _function = raised if _name == "pow" else getattr(operator, f"__{_name}__")
    _operator(f"__{_name}__", _function)
    _operator(f"__r{_name}__", _function, swapped=True)
    if _name != "matmul":
        _in_place(f"__i{_name}__", getattr(operator, f"__i{_name}__"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _operator(f"__{_name}__", getattr(operator, f"__{_name}__"))
for _name in ("neg", "pos", "abs", "invert"):
    _function = getattr(operator, f"__{_name}__")
    setattr(ndarray, f"__{_name}__", _unary(_name, _function))


def _method(name, signature):
    def method(self, *args, **kwargs):
        signature.check(args, kwargs)
        if name == "clip" and not any(v is not None for v in (*args[:2], *kwargs.values())):
            raise ValueError("array_clip: must set either max or min")
        found = getattr(self._host, name)
        given = [unwrap(arg, name) for arg in args]
        result = quietly(found, *given, **{k: unwrap(v, name) for k, v in kwargs.items()})
        if name == "astype" and result is self._host:
            return self
        if name == "fill":
            _launches.of_fill(self._host, given[0])
        else:
            _launches.of_function(name, (self._host, *given), kwargs, result)
        if name == "clip":
            result = landed(result)
        return kwargs["out"] if isinstance(kwargs.get("out"), ndarray) else wrap(result)

    method.__name__ = name
    setattr(ndarray, name, method)


for _name, _names in API["methods"].items():
    if not _name.startswith("__") and _name not in vars(ndarray) and hasattr(numpy.ndarray, _name):
        _method(_name, Signature(f"ndarray.{_name}", _names))
