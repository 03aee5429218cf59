"""What a long run shows while it works: a moving bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .check import Amount, Size, checked


@checked
def clock(seconds: Amount) -> str:
    """Seconds as minutes and seconds, or hours and minutes: "1:05", "2h07"."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


class Progress:
    """Counts images through all epochs of a run and says how fast it goes and how long it takes.

    On a terminal with tqdm installed there is a bar; otherwise a line every `every` seconds, and
    one at the end of each epoch. With `quiet`, or where there is no output, nothing is printed.
    """

    @checked
    def __init__(self, images: Size, epochs: Size, done: Size = 0, quiet: bool = False) -> None:
        self.images, self.epochs, self.quiet = images, epochs, quiet
        self.every = 20.0
        self.start = self.last = time.monotonic()
        self.seen = 0  # images of this run
        self.left = images * (epochs - done)
        self.bar: Any = None
        self.epoch = self.in_epoch = 0

    @checked
    def begin(self, epoch: Size) -> None:
        """A new epoch (1 is the first)."""
        self.epoch, self.in_epoch = epoch, 0
        tqdm = None if self.quiet or not is_terminal(sys.stderr) else tqdm_bar()
        if tqdm is not None:
            # shorter than tqdm's own, so that there is room for the bar
            shape = "{desc} |{bar}| {percentage:3.0f} %{postfix}"
            self.bar = tqdm(total=self.images, leave=False, desc=self.label(), bar_format=shape)

    def label(self) -> str:
        """Which epoch of how many, aligned."""
        return f"epoch {self.epoch:{len(str(self.epochs))}d}/{self.epochs}"

    def wants_news(self) -> bool:
        """Whether it is time to show the loss (computing it for display costs a little)."""
        if self.quiet:
            return False
        return time.monotonic() - self.last > (0.2 if self.bar is not None else self.every)

    def advance(self, images: int, **news: float) -> None:
        """So many images more; show the news, such as loss=0.5, if any."""
        self.seen += images
        self.in_epoch += images
        if self.bar is not None:
            self.bar.update(images)
        if news:
            self.last = time.monotonic()
            text = "  ".join(f"{name} {value:.4f}" for name, value in news.items())
            text += f"  {self.speed():,.0f} images/s  {self.time_left()} left"
            if self.bar is not None:
                self.bar.set_postfix_str(text)
            else:
                part = 100 * self.in_epoch / max(self.images, 1)
                self.line(f"{self.label()}  {part:3.0f} %  {text}")

    def speed(self) -> float:
        """Images a second so far, testing included."""
        return self.seen / max(time.monotonic() - self.start, 1e-9)

    def time_left(self) -> str:
        """Until the last epoch ends, at the speed so far."""
        return clock((self.left - self.seen) / self.speed()) if self.seen else "?"

    def end(self, text: str) -> None:
        """The epoch is over: one line that stays."""
        self.close()
        self.line(f"{self.label()}  {text}  {self.speed():,.0f} images/s  {self.time_left()} left")

    def line(self, text: str) -> None:
        """Print a line, if there is anywhere to print it."""
        if self.quiet or sys.stdout is None:
            return
        try:
            print(text, flush=True)
        except UnicodeEncodeError:
            print(text.encode("ascii", "replace").decode(), flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


@contextmanager
def counted(
    label: str, total: int | None, wanted: bool = True, unit: str = "B", after: float = 0.0
) -> Iterator[Callable[[int], None]]:
    """A function to call with how many are done: it keeps one line moving on a terminal, with tqdm
    where that is installed, and elsewhere, such as in a log, prints a line a quarter.

    unit: bytes, "B", are written as megabytes. after: nothing is shown in the first seconds, so
    that what is soon done says nothing.
    """
    wanted = wanted and sys.stderr is not None  # as with pythonw, or 2>&-
    terminal = wanted and is_terminal(sys.stderr)
    tqdm = tqdm_bar() if terminal else None
    if tqdm is not None:
        with tqdm(total=total, desc=label, unit=unit, unit_scale=unit == "B", delay=after) as bar:
            yield lambda done: bar.update(done - bar.n)
        return
    steps = 100 if terminal else 4
    shown, begun = -1, time.monotonic()

    def show(done: int) -> None:
        nonlocal shown
        step = steps * done // total if total else 0
        if wanted and step != shown and time.monotonic() - begun >= after:
            shown = step
            if unit == "B":
                text = f"{done / 1e6:.1f}" + (f" of {total / 1e6:.1f}" if total else "") + " MB"
            else:
                text = f"{done:,}" + (f" of {total:,}" if total else "") + f" {unit}"
            text = f"{label}: {text}"
            with contextlib.suppress(OSError):  # nobody reads it any more
                print(f"\r{text}" if terminal else text, end="\n"[terminal:], file=sys.stderr)

    try:
        yield show
    finally:
        if terminal and shown >= 0:
            print(file=sys.stderr)


def is_terminal(stream: Any) -> bool:
    """Whether a stream is there and is a terminal; a service has none, and some are closed."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def tqdm_bar() -> Any:
    """The progress bar of the tqdm package, or None where it is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm
