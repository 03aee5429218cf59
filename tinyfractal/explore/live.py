"""The page with Python behind it: any number can be typed in, and all others are computed anew.

A small server for the browser on this machine, and for no other: it listens on 127.0.0.1, under an
address that nobody can guess, and refuses what was sent under another name.
"""

from __future__ import annotations

import json
import math
import secrets
import sys
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from ..errors import OutOfRangeError
from . import choices, explored, explored_all, page_of
from .lines import Lines
from .nudges import moved

LONGEST = 10_000  # bytes of a question
PATIENCE = 10  # seconds for a browser that says nothing
SECONDS = 1  # of nudges for each answer
Place = tuple[str, tuple[int, ...]]  # a leaf, and the index of a number in it


class Live:
    """What the server knows: the page, and for each run what can repeat it and what was moved."""

    def __init__(self, what: Any, title: str = "", note: str = "") -> None:
        self.things, self.lines = choices(what), Lines()
        pairs = explored_all(self.things, self.lines, {})
        self.repeats = [repeat for _, repeat in pairs.values()]
        runs = {name: run for name, (run, _) in pairs.items()}
        self.page = page_of(runs, self.lines, title, note, live="drag")
        self.moves: list[dict[Place, float]] = [{} for _ in runs]
        self.lock = Lock()  # one answer after the other: they move the same weights

    def restart(self) -> str:
        """The page as it was, with nothing moved."""
        with self.lock:
            for moves in self.moves:
                moves.clear()
        return self.page.html

    def drag(self, run: int, leaf: str, index: list[int], value: float) -> dict[str, Any]:
        """Run number `run` with another value there; what was moved before stays moved.

        Where the run fails with it, nothing is moved. Raises `OutOfRangeError` where there is no
        such run, leaf or place, or for infinite values.
        """
        repeat = self.repeats[run] if 0 <= run < len(self.repeats) else None
        tensor = repeat.run.leaves.get(leaf) if repeat else None
        place = tuple(index)
        inside = tensor is not None and len(place) == tensor.ndim
        if not inside or not all(0 <= i < n for i, n in zip(place, tensor.shape)):  # type: ignore[union-attr]
            raise OutOfRangeError(f"drag: run {run} has no number {leaf} {index} that can be moved")
        if not math.isfinite(value):
            raise OutOfRangeError(f"drag: value needs a finite number, got {value}")
        name = list(self.things)[run]
        with self.lock, ExitStack() as stack:
            moves = {**self.moves[run], (leaf, place): value}
            for (other, where), to in moves.items():
                stack.enter_context(moved(repeat.run.leaves[other], where, to))  # type: ignore[union-attr]
            names = repeat.names  # type: ignore[union-attr]
            described, _ = explored(self.things[name], self.lines, names, SECONDS)
            self.moves[run] = moves
        return {"name": name, **described}


def handler_of(live: Live, home: str) -> type[BaseHTTPRequestHandler]:
    """How requests are answered: GET for the page, POST …/drag for a number."""

    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_GET(self) -> None:
            if self.is_for_us(home):
                self.answer(live.restart().encode(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            if not self.is_for_us(f"{home}drag"):
                return
            try:
                length = int(self.headers.get("Content-Length", 0))
                if not 0 < length <= LONGEST:
                    raise ValueError(f"needs 1 to {LONGEST} bytes, got {length}")
                asked = json.loads(self.rfile.read(length))
                run = live.drag(
                    int(asked["run"]), str(asked["leaf"]), list(map(int, asked["index"])),
                    float(asked["value"]),
                )  # fmt: skip
            except Exception as error:  # of the question, or of the function that is run
                self.send_error(HTTPStatus.BAD_REQUEST, explain=str(error))
                return
            self.answer(json.dumps({"run": run}).encode(), "application/json")

        def is_for_us(self, path: str) -> bool:
            """Whether the address is ours, under our own name."""
            host, _, _ = self.headers.get("Host", "").partition(":")
            if host in ("127.0.0.1", "localhost") and self.path == path:
                return True
            self.send_error(HTTPStatus.NOT_FOUND)
            return False

        def answer(self, body: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet: the page itself says what happens."""

    return Handler


class Server(ThreadingHTTPServer):
    """A thread for each connection: browsers open some in advance, and say nothing there."""

    def handle_error(self, *request: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*request)


def serve(live: Live, ready: Callable[[str], None], port: int = 0) -> None:
    """Serve the page until Ctrl-C; `ready` is told its address."""
    home = f"/{secrets.token_urlsafe(16)}/"
    with Server(("127.0.0.1", port), handler_of(live, home)) as server:
        ready(f"http://127.0.0.1:{server.server_address[1]}{home}")
        server.serve_forever()
