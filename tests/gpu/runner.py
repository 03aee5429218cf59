"""Parts that share a budget of seconds, each in a process group of its own, and what they report.

A part is any command. What it prints goes into log.txt, directly, so that it is there even if this
process dies. Its numbers come as lines of JSON through a pipe (see `report`), and this process
alone writes results.json.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfractal.files import write_atomically

GRACE = 4.0  # seconds between asking a part to end and killing it
RESERVE = GRACE + 2  # seconds of the budget that no part gets
ROWS = "TINYFRACTAL_GPU_ROWS"  # in a part's environment: where its lines of JSON go
LIMIT = "TINYFRACTAL_GPU_LIMIT"  # and how many seconds it may take
WELL, FAILED, CUT = 0, 1, 3  # exit statuses


@dataclass
class Part:
    """A command, and the seconds that it is expected to take: its share of the budget."""

    name: str
    command: list[str]
    seconds: float
    least: float = 5.0  # with less it does not start


class Runner:
    """Runs parts one after the other. `folder` gets log.txt and results.json."""

    def __init__(
        self,
        parts: list[Part],
        folder: Path,
        budget: float | None,
        environment: dict[str, str] | None = None,
        start: float | None = None,
    ) -> None:
        self.parts, self.folder, self.budget = parts, folder, budget
        self.environment = dict(os.environ) if environment is None else environment
        self.start = time.monotonic() if start is None else start
        folder.mkdir(parents=True, exist_ok=True)
        self.log: Any
        self.shown: Any
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.results: dict[str, Any] = {
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "budget": budget,
            "finished": False,
            "parts": {
                part.name: {"status": "not started", "seconds": 0.0, "limit": None, "rows": []}
                for part in parts
            },
        }

    # ----- The budget -----

    def left(self) -> float:
        """Seconds that may still be given away."""
        assert self.budget is not None
        return self.start + self.budget - RESERVE - time.monotonic()

    def limit(self, i: int) -> float | None:
        """For part i: all that is left but for the shares of the parts after it."""
        if self.budget is None:
            return None
        share = (self.budget - RESERVE) / sum(part.seconds for part in self.parts)
        return self.left() - share * sum(part.seconds for part in self.parts[i + 1 :])

    # ----- Running -----

    def run(self, title: str = "") -> int:
        """Run them all; the exit status."""
        path = self.folder / "log.txt"
        with open(path, "ab", buffering=0) as self.log, open(path, "rb") as self.shown:
            self.shown.seek(0, os.SEEK_END)
            self.say(title)
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                with contextlib.suppress(KeyboardInterrupt):
                    for i, part in enumerate(self.parts):
                        self._run(part, self.limit(i))
                    self.results["finished"] = True
            finally:
                signal.signal(signal.SIGTERM, before)
                self.save()
                self.say("\n" + self.summary())
        states = {found["status"] for found in self.results["parts"].values()}
        return FAILED if "failed" in states else CUT if states & {"cut", "not started"} else WELL

    def _run(self, part: Part, limit: float | None) -> None:
        found = self.results["parts"][part.name]
        found["limit"] = limit if limit is None else round(limit, 1)
        if limit is not None and limit < part.least:
            self.say(f"\n== {part.name}: not started, {max(limit, 0):.0f} s are too few")
            return
        found["status"] = "running"
        self.say(f"\n== {part.name}" + (f" (at most {limit:.0f} s)" if limit is not None else ""))
        self.save()
        start = time.monotonic()
        ended = False
        with self._started(part, limit) as (process, rows):
            try:
                while not (ended := has_ended(process.pid)):
                    if limit is not None and time.monotonic() - start > limit:
                        break
                    select.select([rows], [], [], 0.1)
                    self._take(rows, found)
            finally:
                if not ended:
                    found["status"] = "cut"
                kill_group(process, ended)
                self._take(rows, found)
                found["seconds"] = round(time.monotonic() - start, 1)
                if ended:
                    why = "skipped" if "skipped" in found else "done"
                    found["status"] = "failed" if process.returncode else why
                self.save()
                self.say(f"({part.name}: {found['status']} after {found['seconds']:.0f} s)")

    @contextlib.contextmanager
    def _started(self, part: Part, limit: float | None) -> Iterator[tuple[subprocess.Popen, int]]:
        """The process, and where to read what it reports."""
        rows, theirs = os.pipe()
        os.set_blocking(rows, False)
        self.unread = b""
        environment = self.environment | {ROWS: str(theirs)}
        if limit is not None:
            environment[LIMIT] = f"{limit:.0f}"
        process = subprocess.Popen(
            part.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
            env=environment, pass_fds=[theirs], start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        try:
            yield process, rows
        finally:
            os.close(rows)

    def _take(self, rows: int, found: dict[str, Any]) -> None:
        """Read what the part reported, write it down, and show what it printed."""
        news = False
        with contextlib.suppress(BlockingIOError):
            while block := os.read(rows, 1 << 16):
                *lines, self.unread = (self.unread + block).split(b"\n")
                for line in lines:
                    with contextlib.suppress(ValueError):  # not JSON: of a part that was killed
                        message = json.loads(line)
                        found["rows"] += [message.pop("row")] if "row" in message else []
                        found.update(message)
                        news = True
        if news:
            self.save()
        self.show()

    # ----- Writing -----

    def save(self) -> None:
        """Write results.json, whole at any moment."""
        self.results["seconds"] = round(time.monotonic() - self.start, 1)
        text = json.dumps(self.results, indent=1) + "\n"
        write_atomically(self.folder / "results.json", text.encode())

    def say(self, text: str) -> None:
        """Into the log, and onto the screen."""
        self.log.write(f"{text}\n".encode())
        self.show()

    def show(self) -> None:
        """Print what is new in the log."""
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(self.decode(self.shown.read()))
            sys.stdout.flush()

    def summary(self) -> str:
        """A line for each part."""
        lines = [f"{'part':12}{'':12}{'seconds':>8}{'limit':>7}{'rows':>6}"]
        for name, found in self.results["parts"].items():
            limit = "" if found["limit"] is None else f"{max(found['limit'], 0):.0f}"
            lines.append(
                f"{name:12}{found['status']:12}{found['seconds']:8.0f}{limit:>7}"
                f"{len(found['rows']):6}" + f"  {found.get('skipped') or found.get('error', '')}"
            )
        return "\n".join(line.rstrip() for line in lines)


# ----- Processes -----


def has_ended(pid: int) -> bool:
    """Whether a child has ended. It stays a zombie, so that nobody else gets its number."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_group(process: subprocess.Popen, ended: bool) -> None:
    """End a process and all that it started: TERM, then KILL for whoever is still there."""
    if not ended:
        os.killpg(process.pid, signal.SIGTERM)
        stop = time.monotonic() + GRACE
        while not has_ended(process.pid) and time.monotonic() < stop:
            time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
