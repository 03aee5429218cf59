"""A plugin for pytest: says how far the tests are, and writes each failure down as it occurs.

With xdist it works in the main process, to which the others send their reports.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from . import report

EVERY = 2.0  # seconds between two messages
counts: Counter[str] = Counter()
running: dict[str, None] = {}  # in the order in which they started
last = 0.0
is_worker = False
report.keep_to_itself()


def pytest_configure(config: Any) -> None:
    """Look whether this is one of xdist's processes."""
    global is_worker
    is_worker = hasattr(config, "workerinput")


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test starts."""
    running[nodeid] = None


def pytest_runtest_logfinish(nodeid: str) -> None:
    """It has ended."""
    running.pop(nodeid, None)
    _say()


def pytest_runtest_logreport(report: Any) -> None:
    """Count it, and if it failed write it down."""
    if is_worker or not (report.when == "call" or report.failed or report.skipped):
        return
    counts[report.outcome] += 1
    if report.failed:
        _failed(report.nodeid, report.longreprtext)


def pytest_collectreport(report: Any) -> None:
    """A file that cannot be imported is a failure too."""
    if report.failed and not is_worker:
        counts["failed"] += 1
        _failed(report.nodeid, report.longreprtext)


def pytest_sessionfinish() -> None:
    """The last message."""
    _say(at_once=True)


def _failed(nodeid: str, text: str) -> None:
    report.failure(nodeid, text)
    report.row(failed=nodeid, why=(text.strip().splitlines() or [""])[-1][:300])


def _say(at_once: bool = False) -> None:
    global last
    if not is_worker and (at_once or time.monotonic() - last > EVERY):
        last = time.monotonic()
        report.fact(tests=dict(counts), running=list(running)[:20])
