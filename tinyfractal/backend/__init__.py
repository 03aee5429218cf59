"""One name, `xp`, for the array library in use: NumPy on the CPU or CuPy on the GPU.

The two libraries have the same functions under the same names, so all of tinyfractal is written
once, against `xp`, and one word switches it:

    from tinyfractal import backend
    backend.use("cupy")                 # from here on ("cupy:1" is the second GPU)
    with backend.using("numpy"): ...    # for a few lines

or `TINYFRACTAL_BACKEND=cupy` in the environment. Arrays never move by themselves: `asarray` brings
host data to the backend, `asnumpy` brings results home. (A GPU works on while Python goes ahead;
`asnumpy` waits for it.) What is NVIDIA's in particular is in `cuda`.

Random draws that shape a model (initial weights, data order, which paths drop) come from one
seeded generator on the host, so both backends make the same decisions.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from .. import browser
from ..check import Size, checked
from ..errors import BackendError, DTypeError, OutOfMemoryError

Array = Any  # a numpy.ndarray or a cupy.ndarray, whichever backend is in use
BACKENDS = ("numpy", "cupy")


class ArrayLibrary:
    """Stands for the array library in use: `xp.exp` is `numpy.exp` or `cupy.exp`.

    A name is looked up in the library the first time it is asked for and kept as an attribute,
    so from the second time on it costs what `numpy.exp` costs. Switching forgets them all.
    """

    def __getattr__(self, name: str) -> Any:
        value = getattr(_library(), name)
        setattr(self, name, value)
        return value

    def __repr__(self) -> str:
        return f"<xp: {current()} {_library().__version__}>"


xp: Any = ArrayLibrary()
_in_use: Any = None  # the library behind xp, once it was asked for


def _library() -> Any:
    """The library in use; at first the one that the environment names."""
    global _in_use
    if _in_use is None:
        _in_use = _load(os.environ.get("TINYFRACTAL_BACKEND", "numpy"))
    return _in_use


# ----- The switch -----


@checked
def use(name: str) -> None:
    """Switch the backend to "numpy", "cupy" or the GPU of a number, "cupy:1", from here on.

    Raises `BackendError`, and says what to do, where CuPy cannot work.
    """
    global _in_use
    _in_use = _load(name)
    vars(xp).clear()


@checked
@contextmanager
def using(name: str) -> Iterator[None]:
    """Switch the backend inside a `with` block and switch back after it, error or not."""
    before = place()
    use(name)
    try:
        yield
    finally:
        use(before)


def current() -> str:
    """The name of the backend in use: "numpy" or "cupy"."""
    return str(_library().__name__)


def place() -> str:
    """What `use` would be called with to get here: "numpy", "cupy:0"."""
    return current() if current() == "numpy" else f"cupy:{_library().cuda.Device().id}"


def _load(name: str) -> Any:
    kind, _, number = name.partition(":")
    if kind not in BACKENDS or (number and (kind == "numpy" or not number.isdecimal())):
        raise BackendError(
            f"backend.use: name is one of {', '.join(BACKENDS)}, got {name!r} (with several GPUs, "
            "cupy:1 is the second)"
        )
    if kind == "numpy":
        return numpy
    from . import cuda

    return cuda.load(int(number or 0))


# ----- Moving arrays, at named places only -----


@checked
def asarray(value: Any, dtype: Any = None) -> Array:
    """Bring host data (numbers, lists, NumPy arrays) to the backend; an array there stays itself.

    Data crosses between host and device in two places: here and in `asnumpy`.
    """
    return xp.asarray(native(value), dtype=dtype)


def native(array: Any, name: str = "Tensor") -> Any:
    """A plain array in the byte order of this machine; anything else as it is.

    Raises `DTypeError` for a masked array: what is masked would count like all the rest.
    """
    if isinstance(array, numpy.ma.MaskedArray):
        raise DTypeError(
            f"{name}: a masked array would be computed with as if nothing were masked; "
            "array.filled(value) and array.compressed() are plain ones"
        )
    if isinstance(array, numpy.ndarray):  # of a matrix, * would be the matrix product
        array = numpy.asarray(array)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return array


@checked
def asnumpy(array: Any) -> numpy.ndarray:
    """Bring an array (or the data of a Tensor) to the host, as a NumPy array."""
    array = getattr(array, "data", array) if hasattr(array, "requires_grad") else array
    return array.get() if hasattr(array, "get") else numpy.asarray(array)


def on_gpu(array: Any) -> bool:
    """Whether `array` is on a GPU, so that looking at its numbers would mean waiting for it."""
    return not isinstance(array, numpy.ndarray) and current() == "cupy" and is_array(array)


def is_array(array: Any) -> bool:
    """Whether `array` belongs to the backend in use."""
    return isinstance(array, xp.ndarray)


def check_array(array: Any, name: str) -> None:
    """Raise unless `array` belongs to the backend in use; the message names both sides."""
    if is_array(array):
        return
    origin = type(array).__module__.split(".")[0]
    if origin in BACKENDS and type(array).__name__ == "ndarray":
        raise BackendError(
            f"{name}: the backend is {current()} but this is a {origin} array. Move it with "
            "backend.asarray(...) or backend.asnumpy(...), or switch with backend.use(...)."
        )
    kind = type(array).__name__ if origin == "builtins" else f"{origin}.{type(array).__name__}"
    mend = "; pass x.numpy()" if hasattr(array, "numpy") else ""
    raise DTypeError(f"{name}: expected a Tensor, an array or a number, got {kind}{mend}")


# ----- Chance -----

_rng = numpy.random.default_rng()


@checked
def seed(value: Size) -> None:
    """Start the random numbers from `value`: same seed, same backend, same run."""
    global _rng
    _rng = numpy.random.default_rng(value)


def rng() -> numpy.random.Generator:
    """The host generator behind every draw of the library."""
    return _rng


def random_state() -> dict[str, Any]:
    """The state of the generator, as a dictionary that JSON can hold."""
    return dict(_rng.bit_generator.state)


@checked
def set_random_state(state: dict[str, Any]) -> None:
    """Continue from a state that `random_state` gave."""
    _rng.bit_generator.state = state


draw_shared: Callable[[Callable[[int], Any]], Any] | None = None


def by_sample(n: int, draw: Callable[[int], Any]) -> Any:
    """`draw(n)`: what is random in a batch, decided for each of its n samples by itself.

    `draw` returns n rows or, for drop-path, a function that draws n rows at each join.

    Where several processes share the batch, `train.distributed` sets `draw_shared`, which draws for
    all of it and gives each process those of its own samples.
    """
    return draw(n) if draw_shared is None else draw_shared(draw)


def uniform(shape: tuple[int, ...]) -> Array:
    """Random numbers in [0, 1), float32, computed on the backend from a seed drawn on the host.

    For draws too large to be moved at each step. Number i is a hash of i and the seed (the mixing
    function "lowbias32", Wellons 2018), in integer steps that NumPy and CuPy take alike.
    """
    first, second = (int(key) for key in _rng.integers(1 << 32, size=2))
    x = xp.arange(math.prod(shape), dtype=xp.uint32)
    x *= 0x9E3779B1
    x += first
    x ^= x >> 16
    x *= 0x7FEB352D
    x ^= x >> 15
    x ^= second
    x *= 0x846CA68B
    x ^= x >> 16
    u = (x >> 8).astype(xp.float32)  # 24 bits, which float32 holds exactly
    u *= 2.0**-24
    return u.reshape(shape)


# ----- Facts -----


def info() -> dict[str, str]:
    """What runs here: versions, array backend, BLAS, threads, device and its memory."""
    blas: Any = numpy.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    limits = [f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL")]
    threads = [f"{name}={os.environ[name]}" for name in limits if name in os.environ]
    facts = {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "backend": current(),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "threads": ", ".join([f"{os.cpu_count()} cores", *threads]),
        "device": platform.processor() or platform.machine(),
    }
    if current() == "cupy":
        from . import cuda

        facts |= cuda.info(_library())
    return facts | browser.info()


def out_of_memory(what: str, arrays: Iterable[Any], error: MemoryError) -> MemoryError:
    """The error to raise where `what` found no memory: the sizes, and what to do."""
    shapes = " and ".join(str(array.shape) for array in arrays if hasattr(array, "shape"))
    more = f"; {info()['memory']}" if current() == "cupy" else ""
    return OutOfMemoryError(
        f"{what}: no memory left for arguments of shape {shapes} ({error}{more}). Use smaller "
        "batches or a smaller network, or no_grad() where no gradient is wanted."
    )
