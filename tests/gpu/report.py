"""What a part says to the process that started it: rows of numbers, and failures in full.

A row goes as one line of JSON through a pipe, whose number stands in the environment, so that
processes which a part starts can report too. Without a pipe (a part run by hand) nothing is sent.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from typing import Any

from .runner import LIMIT, ROWS

FAILURES = "TINYFRACTAL_GPU_FAILURES"  # in the environment: the file for them
NAMES = (ROWS, LIMIT, FAILURES)
LINE = 4000  # bytes that a pipe takes in one piece (4,096 by POSIX)
given = {name: os.environ[name] for name in NAMES if name in os.environ}


def row(**values: Any) -> None:
    """Add a row to what results.json says of this part."""
    _send({"row": values})


def fact(**values: Any) -> None:
    """Set something that results.json says of this part: `skipped="no torch"`."""
    _send(values)


def failure(title: str, text: str) -> None:
    """Write a failure in full, at once."""
    if FAILURES in given:
        with open(given[FAILURES], "a", encoding="utf-8", errors="replace") as file:
            file.write(f"===== {title}\n{text}\n\n")


def pipes() -> tuple[int, ...]:
    """What a process started by a part has to inherit to report too (`pass_fds`)."""
    return (int(given[ROWS]),) if ROWS in given else ()


def seconds_given() -> float | None:
    """Seconds that this part may take, counted from its start; None for as long as it likes."""
    return float(given[LIMIT]) if LIMIT in given else None


def keep_to_itself() -> None:
    """Let no process started from here report: tests that start parts of their own, say."""
    for name in NAMES:
        os.environ.pop(name, None)


def _send(values: dict[str, Any]) -> None:
    line = json.dumps(_plain(values)).encode()
    if len(line) > LINE:
        line = json.dumps({"row": {"too long": line[: LINE // 2].decode()}}).encode()
    for pipe in pipes():
        os.write(pipe, line + b"\n")


def _plain(value: Any) -> Any:
    """As JSON has it: infinity and NaN as text, numbers of NumPy as Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return round(value, 9) if math.isfinite(value) else str(value)
    return value


def end_with_parent() -> None:
    """End this process group when the process that started it is gone, or asks for it."""
    if not hasattr(os, "killpg"):  # Windows
        return
    parent = os.getppid()

    def asked(*_: object) -> None:
        raise SystemExit(143)  # so that temporary folders are removed

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGTERM, asked)
    if os.getpgid(0) == os.getpid():
        threading.Thread(target=watch, daemon=True).start()
