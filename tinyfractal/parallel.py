"""Two cores are twice as quick as one: parts of one computation, each on a thread of its own.

NumPy lets go of Python's lock while it computes, so threads of one process really do run at once.
But the matrix products inside them are BLAS's, which starts threads by itself, and both together
are slower than either. So BLAS is held to one thread meanwhile, by the package threadpoolctl
(`pip install 'tinyfractal[fast]'`). Without it there is one part, and BLAS keeps its threads.

How the work is cut into parts depends on the number of threads only, never on which is ready
first, and results are added in order: the same seed gives the same numbers, bit for bit.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

from . import backend

T = TypeVar("T")
S = TypeVar("S")


SMALL = 1 << 20  # fewer numbers than this are done before another thread has woken up


@functools.cache
def _blas() -> list[Any]:
    """The BLAS libraries that are loaded, as threadpoolctl controls them; none without it."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return ThreadpoolController().select(user_api="blas").lib_controllers


@functools.cache
def threads() -> int:
    """How many parts run at once: as many as BLAS has threads (OPENBLAS_NUM_THREADS sets them)."""
    return max((library.num_threads for library in _blas()), default=1)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, threads() - 1), "tinyfractal")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside this block matrix products start no threads, so that ours do not compete with them."""
    if backend.current() != "numpy":
        yield  # a GPU does not ask BLAS
        return
    threads()  # asked and remembered while BLAS still has them all
    before = [(library, library.num_threads) for library in _blas()]
    for library, _ in before:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, count in before:
            library.set_num_threads(count)


def parts(n: int, numbers: int) -> list[slice]:
    """0 … n - 1 in as many runs as there are threads, of about the same length.

    `numbers` says how many are to be worked on in all; for few there is one run.
    """
    several = numbers >= SMALL and backend.current() == "numpy"
    count = max(1, min(n, threads())) if several else 1
    edges = [n * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def runs(where: slice, step: int) -> list[slice]:
    """A run, cut into shorter ones of `step` at most: chunks that fit into the cache, say.

    On a GPU it stays whole: thousands of small processors want to be asked once, for much.
    """
    if backend.current() != "numpy":
        step = max(step, where.stop - where.start)
    starts = range(where.start, where.stop, max(1, step))
    return [slice(start, min(start + starts.step, where.stop)) for start in starts]


def run(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """[work(item) for item in items], at once where there are threads; results in order."""
    first, *others = items
    with one_blas_thread():
        if backend.current() != "numpy" or not others or threads() < 2:
            return [work(first), *map(work, others)]
        futures = [_pool().submit(copy_context().run, work, item) for item in others]
        try:
            return [work(first), *(future.result() for future in futures)]
        finally:
            wait(futures)  # nothing goes on behind the caller's back, even after an error
