"""A stand-in for CuPy: arrays that live "elsewhere", on a machine without a GPU.

Whoever puts the folder above this one at the front of PYTHONPATH gets it as `cupy`, also in
processes started from there. It computes with NumPy, but behind a wall:

- it has the functions, methods and keywords that CuPy has (`api.json`), and no others;
- its arrays do not turn into NumPy's, nor mix with them, and NumPy's functions do not take them;
- every copy from and to the host, and everything else that makes Python wait for the device, is
  noted (`watch`), and refused in library code outside `backend/`;
- it differs from NumPy where CuPy does: a single number is an array, places out of bounds in an
  array of indices come round again, there are no warnings; what an elementwise function gives lies
  in C order; float32 has no subnormal numbers; an integer to a negative power is 0;
- its memory is not the host's: `tracemalloc` does not see it;
- every request that CuPy would make to the GPU is counted (`launches`).

What it cannot tell: speed, rounding, kernels that run at the same time.
"""

import builtins  # CuPy's sum and any take their places in this module
import gc
import sys
import time
from types import ModuleType, SimpleNamespace

import numpy

from ._array import (
    CrossingError,
    computed,
    crossing,
    flushed,
    landed,
    ndarray,
    quietly,
    raised,
    unwrap,
    watch,
    wrap,
)
from ._kernels import ElementwiseKernel, ReductionKernel
from ._launches import launch, launches, of_elementwise, of_function
from ._signatures import API, Signature

__version__ = API["cupy"]
is_standin = True  # CuPy has no such name

# ----- Functions, looked up in the list -----

ON_HOST = {"shape", "ndim", "size", "isscalar", "can_cast", "result_type", "iterable"}
MAKERS = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}
ELEMENTWISE = {"where", "clip", "nan_to_num"}  # functions whose result is in C order
ARRAY_NAMES = {"a", "x", "array", "ary", "arr", "m"}  # of a first argument that is an array


def _original(path):
    found = numpy
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _function(path, names):
    """CuPy's function at that place, computed by NumPy's."""
    original, signature = _original(path), Signature(path, names)

    def function(*args, **kwargs):
        signature.check(args, kwargs)
        if path == "einsum" and kwargs.keys() - {"dtype", "optimize"}:
            raise TypeError(f"Did not understand the following kwargs: {list(kwargs)}")
        if path == "clip":
            return ndarray.clip(*args, **kwargs)
        first = args[0] if args else None
        wants_array = bool(args) and bool(ARRAY_NAMES & set(signature.places[:1]))
        if wants_array and not isinstance(first, ndarray):
            raise TypeError(f"cupy.{path}: expected a cupy.ndarray, got {type(first)}")
        given = [unwrap(arg, path) for arg in args]
        named = {k: unwrap(v, path) for k, v in kwargs.items()}
        result = quietly(original, *given, **named)
        of_function(path, given, named, result)
        if path in ELEMENTWISE:
            result = landed(result)
        return kwargs["out"] if isinstance(kwargs.get("out"), ndarray) else wrap(result)

    function.__name__ = path
    return function


def _maker(name, names):
    """`array` and its kin, which take what lies on the host."""
    original, signature = getattr(numpy, name), Signature(name, names)

    def maker(obj, *args, **kwargs):
        signature.check((obj, *args), kwargs)
        kwargs.pop("blocking", None)
        dtype = args[0] if args else kwargs.get("dtype")
        if isinstance(obj, ndarray):
            if name == "asarray" and dtype in (None, obj.dtype):
                return obj
            result = original(obj._host, *args, **kwargs)
            of_function(name, [obj._host], kwargs, result)
            return wrap(result)
        host = numpy.array(obj, dtype)  # a list of arrays on the device is refused here
        if host.dtype.kind not in "fiubc" or host.dtype == numpy.longdouble:
            raise ValueError(f"Unsupported dtype {host.dtype}")
        crossing("in", name, host.nbytes)
        launch("copy", name)
        return wrap(flushed(host))

    return maker


class _Ufunc:
    """Called like a function; `add.at` adds at places that may repeat."""

    def __init__(self, path, names):
        self.original, self.signature = _original(path), Signature(path, names)
        self.__name__ = path
        self.nin, self.nout = self.original.nin, self.original.nout

    def __call__(self, *args, **kwargs):
        self.signature.check(args, kwargs)
        for arg in args:
            if not isinstance(arg, (ndarray, bool, int, float, complex)):
                raise TypeError(f"Unsupported type {type(arg)} (cupy.{self.__name__})")
        out = kwargs.get("out", args[self.nin] if len(args) > self.nin else None)
        given = [unwrap(arg) for arg in args]
        named = {k: unwrap(v) for k, v in kwargs.items()}
        function = raised if self.__name__ == "power" and out is None else self.original
        result = computed(function, *given, **named)
        of_elementwise(self.__name__, given[: self.nin], result, unwrap(out))
        if out is None:
            return wrap(result)
        out._host[...] = flushed(result)
        return out

    def at(self, a, indices, b=None):
        """a[indices] += b for `add`, every repeated place counted."""
        from ._array import index_of

        if self.__name__ not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"cupy.{self.__name__}.at")
        launch("kernel", f"{self.__name__}.at")
        self.original.at(a._host, index_of(indices, a.shape, "add.at"), unwrap(b))


class _Namespace(ModuleType):
    """A module of CuPy: its names come from the list when they are asked for."""

    def __getattr__(self, name):
        return _lookup(f"{self.__name__.removeprefix('cupy.')}.{name}")


def _lookup(path):
    if path in API["same"]:
        return getattr(numpy, path)
    if path in API["functions"]:
        try:
            if path in MAKERS:
                return _maker(path, API["functions"][path])
            return _original(path) if path in ON_HOST else _function(path, API["functions"][path])
        except AttributeError:
            raise NotImplementedError(f"the stand-in cannot do cupy.{path}") from None
    if path in API["ufuncs"]:
        return _Ufunc(path, API["ufuncs"][path])
    if builtins.any(known.startswith(path + ".") for known in API["functions"]):
        return _Namespace(f"cupy.{path}")
    raise AttributeError(f"CuPy {__version__} has no {path!r}")


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    value = _lookup(name)
    setattr(sys.modules[__name__], name, value)
    return value


def shape(a):
    """Of an array here or there, or a number."""
    return a.shape if isinstance(a, ndarray) else numpy.shape(a)


def ndim(a):
    """Of an array here or there, or a number."""
    return a.ndim if isinstance(a, ndarray) else numpy.ndim(a)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """A copy on the host."""
    return a.get() if isinstance(a, ndarray) else numpy.asarray(a)


def get_array_module(*args):
    """This module for its arrays, NumPy for others."""
    return sys.modules[__name__] if builtins.any(isinstance(a, ndarray) for a in args) else numpy


# ----- The device -----


class _Device:
    """`cupy.cuda.Device`: there are two, and they are the same."""

    current = 0

    def __init__(self, device=None):
        self.id = _Device.current if device is None else int(device)

    def use(self):
        """Make it the current one."""
        _Device.current = self.id

    def synchronize(self):
        """Wait until it has done everything."""
        crossing("wait", "synchronize", 0)

    @property
    def mem_info(self):
        """Free and total bytes."""
        return 6 << 30, 8 << 30


class _Pool:
    """`cupy.get_default_memory_pool()`."""

    def used_bytes(self):
        """Of all arrays that are alive."""
        hosts = {}
        for array in gc.get_objects():
            if type(array) is ndarray:
                host = array._host
                while isinstance(host.base, numpy.ndarray):
                    host = host.base
                hosts[id(host)] = host.nbytes
        return builtins.sum(hosts.values())

    def total_bytes(self):
        return self.used_bytes() + (1 << 20)

    def free_all_blocks(self, stream=None):
        pass


class OutOfMemoryError(MemoryError):
    """What CuPy raises."""


def get_default_memory_pool():
    """The pool behind all arrays."""
    return _Pool()


class _Event:
    """`cupy.cuda.Event`: a moment on the device."""

    def record(self, stream=None):
        """Now."""
        self.time = time.perf_counter()

    def synchronize(self):
        """Wait until the device is there."""
        crossing("wait", "synchronize", 0)


cuda = SimpleNamespace(
    Device=_Device,
    Event=_Event,
    get_elapsed_time=lambda start, end: 1000 * (end.time - start.time),
    memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    runtime=SimpleNamespace(
        getDeviceCount=lambda: 2,
        driverGetVersion=lambda: 12090,
        runtimeGetVersion=lambda: 12090,
        getDeviceProperties=lambda device: {"name": b"stand-in for a GPU", "major": 9, "minor": 0},
    ),
)
__all__ = [
    "CrossingError",
    "ElementwiseKernel",
    "ReductionKernel",
    "launches",
    "ndarray",
    "watch",
]
