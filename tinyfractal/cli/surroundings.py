"""What a command runs in: streams that may be missing or lack signs, signals, warnings."""

from __future__ import annotations

import codecs
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from .options import Terminated, say

# ----- Streams -----

SIGNS = {
    "×": "x", "·": ".", "…": "...", "→": "->", "⊕": "+", "–": "-", "✓": "right", "✗": "wrong",
}  # fmt: skip


def in_other_signs(error: UnicodeError) -> tuple[str, int]:
    """For what an encoding lacks: other signs that mean the same, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(SIGNS.get(sign, "?") for sign in missing), error.end


codecs.register_error("tinyfractal", in_other_signs)


def open_streams() -> None:
    """Make stdout and stderr take any text: where there is none (pythonw, >&-), it is lost."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="tinyfractal")


def flush_output() -> OSError | None:
    """What keeps stdout from being written, if anything.

    A stream that cannot be written is given up, or Python would try once more at its end, and say
    so in its own words.
    """
    for stream in (sys.stderr, sys.stdout):  # what stderr lacks, nobody can be told
        fault = None
        try:
            stream.flush()
        except OSError as error:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            error.filename = "standard output"
            fault = error
    return fault


# ----- Signals -----


@contextmanager
def signals() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what has begun is put away, and one line said."""
    if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
        yield
        return

    def terminate(*_: Any) -> NoReturn:
        raise Terminated

    handlers = {signal.SIGTERM: terminate, signal.SIGINT: signal.default_int_handler}
    # what the parent process ignores, or a program has a handler for, stays so
    ours = [number for number in handlers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


# ----- Warnings -----


@contextmanager
def short_warnings() -> Iterator[None]:
    """A warning is one line that begins as an error does, without Python's file and line."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(str(message))
        yield
