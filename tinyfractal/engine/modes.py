"""The engine's switches: record or not, ignore `fast/` or not, look for NaN or not."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from threading import local
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class Mode(local):
    """The switches of the engine; each thread has its own."""

    def __init__(self) -> None:
        self.recording = True  # build the graph
        self.reference = False  # ignore fast/: run every definition as it is written
        self.anomaly = False  # look for NaN and infinity after every step
        self.before: list[dict[str, bool]] = []  # what the open `with` blocks will set back


mode = Mode()


class setting:  # noqa: N801 (used like a function)
    """Set switches inside a `with` block, or a decorated function, and set them back after it.

    One object may be used again, inside itself, and in several threads at once.
    """

    def __init__(self, **settings: bool) -> None:
        self.settings = settings

    def __enter__(self) -> None:
        mode.before.append({name: getattr(mode, name) for name in self.settings})
        vars(mode).update(self.settings)

    def __exit__(self, *_: Any) -> None:
        vars(mode).update(mode.before.pop())

    def __call__(self, function: F) -> F:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"a mode decorates a function, got {function!r}; or write `with`")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"a mode cannot decorate {function.__name__}, which is async: others would run in "
                "that mode whenever it waits. Write `with` around what is computed between waits."
            )

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self:
                made = function(*args, **kwargs)
            return self.resumed(made) if inspect.isgenerator(made) else made

        return cast(F, decorated)

    def resumed(self, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The same generator, run in this mode; between its yields the caller's mode holds."""
        resume: Callable = generator.send
        value: Any = None
        while True:
            try:
                with self:
                    made = resume(value)
            except StopIteration as end:
                return end.value
            try:
                resume, value = generator.send, (yield made)
            except GeneratorExit:
                with self:
                    generator.close()
                raise
            except BaseException as error:
                resume, value = generator.throw, error


def no_grad() -> setting:
    """Inside `with no_grad():`, or a function decorated `@no_grad()`, nothing is recorded."""
    return setting(recording=False)


def enable_grad() -> setting:
    """Record again inside a `no_grad` block."""
    return setting(recording=True)


def reference() -> setting:
    """Run every definition as it is written, without `fast/`: slower, but a debugger sees all."""
    return setting(reference=True)


def detect_anomaly() -> setting:
    """Raise `AnomalyError` at the first NaN or infinity, naming primitive and line of code."""
    return setting(anomaly=True)
