"""Parts of one computation, each on a thread of its own.

Two cores are about 1.6 times as quick as one in a training step, not twice: they share one memory,
not everything can be cut into parts, and to wake a thread takes a tenth of a millisecond.

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
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

from .. import backend

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
def _inbox() -> SimpleQueue:
    """Where the other threads wait for work. (An executor's futures take twice as long.)"""
    inbox: SimpleQueue = SimpleQueue()
    for _ in range(threads() - 1):
        threading.Thread(target=_serve, args=(inbox,), name="tinyfractal", daemon=True).start()
    return inbox


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_inbox.cache_clear)  # a forked child has none of the threads


def _serve(inbox: SimpleQueue) -> None:
    """What such a thread does: one piece of work after the other, until the process ends."""
    while True:
        position, work, answers = inbox.get()
        try:
            answers.put((position, work(), None))
        except BaseException as error:  # the caller is to have it
            answers.put((position, None, error))
        del work, answers  # or the last arrays would stay alive until there is more to do


class _Hold:
    """BLAS held to one thread, from the first block that asks for it to the end of the last.

    Blocks in several threads may overlap: each alone would take the one thread of the other for
    what BLAS had before, and leave it so.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal handler may come in while it is held
        self.blocks = 0
        self.before: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        threads()  # asked and remembered while BLAS still has them all
        with self.lock:
            self.blocks += 1
            if self.blocks == 1:
                self.before = [(library, library.num_threads) for library in _blas()]
                for library, _ in self.before:
                    library.set_num_threads(1)

    def __exit__(self, *_: Any) -> None:
        with self.lock:
            self.blocks -= 1
            if self.blocks == 0:
                for library, count in self.before:
                    library.set_num_threads(count)


_hold = _Hold()


def one_blas_thread() -> AbstractContextManager[None]:
    """Inside this block matrix products start no threads, so that ours do not compete with them."""
    return _hold if backend.current() == "numpy" else nullcontext()  # a GPU does not ask BLAS


def at_once(numbers: int) -> int:
    """How many parts of a computation on so many numbers run at once."""
    return threads() if numbers >= SMALL and backend.current() == "numpy" else 1


def parts(n: int, numbers: int) -> list[slice]:
    """0 … n - 1 in as many runs as there are threads, of about the same length.

    `numbers` says how many are to be worked on in all; for few there is one run.
    """
    count = max(1, min(n, at_once(numbers)))
    edges = [n * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def at_a_time(some: int, everything: int) -> int:
    """`some` numbers at a time, for the cache's sake; on a GPU `everything`.

    Thousands of small processors want to be asked once, for much.
    """
    return some if backend.current() == "numpy" else max(some, everything)


def runs(where: slice, step: int) -> list[slice]:
    """A run, cut into shorter ones of `step` at most: chunks that fit into the cache, say."""
    step = at_a_time(step, where.stop - where.start)
    starts = range(where.start, where.stop, max(1, step))
    return [slice(start, min(start + starts.step, where.stop)) for start in starts]


def run(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """[work(item) for item in items], at once where there are threads; results in order."""
    first, *others = items
    with one_blas_thread():
        if backend.current() != "numpy" or not others or threads() < 2:
            return [work(first), *map(work, others)]
        answers: SimpleQueue = SimpleQueue()
        for position, item in enumerate(others, 1):
            _inbox().put((position, functools.partial(copy_context().run, work, item), answers))
        try:
            results: list[Any] = [work(first), *others]
        finally:  # nothing goes on behind the caller's back, even after an error
            answered = [answers.get() for _ in others]
        for position, result, error in answered:
            if error is not None:
                raise error
            results[position] = result
        return results
