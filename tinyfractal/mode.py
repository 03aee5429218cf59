"""What the engine does besides computing: record, run the readable reference, look for NaN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager
from threading import local
from typing import cast


class Mode(local):
    """The switches of the engine; each thread has its own."""

    recording = True  # build the graph
    reference = False  # run the readable reference of every fused primitive
    anomaly = False  # look for NaN and infinity after every step


mode = Mode()


@contextmanager
def setting(**settings: bool) -> Iterator[None]:
    """Set switches inside a `with` block and set them back after it, error or not."""
    before = {name: getattr(mode, name) for name in settings}
    vars(mode).update(settings)
    try:
        yield
    finally:
        vars(mode).update(before)


class _Setting(AbstractContextManager, ContextDecorator):
    """Both `with no_grad():` and `@no_grad()`; only here so that type checkers know it."""


def no_grad() -> _Setting:
    """Inside `with no_grad():`, or a function decorated `@no_grad()`, nothing is recorded."""
    return cast(_Setting, setting(recording=False))


def enable_grad() -> _Setting:
    """Record again inside a `no_grad` block."""
    return cast(_Setting, setting(recording=True))


def reference() -> _Setting:
    """Run the readable reference of every fused primitive: slower, and open to a debugger."""
    return cast(_Setting, setting(reference=True))


def detect_anomaly() -> _Setting:
    """Raise `AnomalyError` at the first NaN or infinity, naming primitive and line of code."""
    return cast(_Setting, setting(anomaly=True))
