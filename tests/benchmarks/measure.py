"""Timing: first do the libraries agree, then whose turn is it, then medians and ratios."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import numpy as np

from .workloads import Step, Steps

TURN = 0.05  # seconds: quicker work is repeated within a turn, and its mean taken
LONG = 0.5  # seconds: longer work needs no warm-up within a turn
TOLERANCE = 5e-3  # W1 drifts by a thousandth in one step; a wrong gradient shows in tenths


@dataclass
class Times:
    """Seconds of each turn of a library, and those of the turn of PyTorch's that came before it."""

    seconds: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """In seconds."""
        return statistics.median(self.seconds)

    @property
    def ratios(self) -> tuple[float, float, float] | None:
        """Of the ratios to the neighbouring turn of the base: quartile, median, quartile."""
        ratios = [a / b for a, b in zip(self.seconds, self.beside)]
        if len(ratios) < 2:
            return (ratios[0],) * 3 if ratios else None
        low, middle, high = statistics.quantiles(ratios, n=4)
        return low, middle, high


def disagreements(work: dict[str, Steps], what: str, runs: int = 1) -> dict[str, str]:
    """Libraries that fail or do not come to PyTorch's numbers (tinyfractal's without PyTorch).

    A training step is run twice: only the second loss shows whether the gradients were right.
    This is the warm-up too.
    """
    found: dict[str, list[np.ndarray]] = {}
    wrong = {}
    for name, steps in work.items():
        step = steps[what]
        try:
            found[name] = [a for _ in range(runs) for a in step.numbers(step.run(step.prepare()))]
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    base = "torch" if "torch" in found else "tinyfractal"
    for name, arrays in found.items():
        far = max(distance(a, b) for a, b in zip(arrays, found.get(base, arrays)))
        if not far < TOLERANCE:
            wrong[name] = f"its numbers are {far:.1e} away from those of {base}"
    return wrong


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of a from b, as a fraction of b: ‖a - b‖ / ‖b‖."""
    if a.shape != b.shape:
        return float("inf")
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def measure(work: dict[str, Steps], what: str, seconds: float) -> dict[str, Times]:
    """Turns, one library after the other, until the time is up; everyone has two at least
    (one, where a single run takes longer than that).

    All have the same share of the time, so a slow library sits out most of the rounds.
    """
    times = {name: Times() for name in work}
    base = "torch" if "torch" in work else next(iter(work))
    whole = {name: _whole(steps[what]) for name, steps in work.items()}
    repeats = {name: max(1, round(TURN / t)) for name, t in whole.items()}
    least = {name: 1 if t > max(seconds, LONG) else 2 for name, t in whole.items()}
    used = dict.fromkeys(work, 0.0)
    start = time.monotonic()
    while True:
        now = time.monotonic() - start
        short = [name for name, t in times.items() if len(t.seconds) < least[name]]
        if now > seconds and not short:
            return times
        for name in sorted(work, key=lambda name: name != base):
            if name in short or used[name] <= (now + 2 * TURN) / len(work):
                turn = time.monotonic()
                times[name].seconds.append(_turn(work[name][what], repeats[name]))
                times[name].beside.append(times[base].seconds[-1])
                used[name] += time.monotonic() - turn


def _turn(step: Step, repeats: int) -> float:
    """Mean seconds of `repeats` runs, after as many that are not counted.

    Without those the threads of the library before, which go on spinning for a while, and those
    of this one, which sleep, are what is measured. Long work need not care.
    """
    mean = _runs(step, repeats)
    return mean if mean > LONG else _runs(step, repeats)


def _whole(step: Step) -> float:
    """Seconds of a run with what prepares it."""
    _runs(step, 1)
    start = time.perf_counter()
    _runs(step, 1)
    return time.perf_counter() - start


def _runs(step: Step, repeats: int) -> float:
    total = 0.0
    for _ in range(repeats):
        ready = step.prepare()
        start = time.perf_counter()
        step.run(ready)
        total += time.perf_counter() - start
    return total / repeats


# ----- The table -----


def row(workload: str, what: str, library: str, times: Times) -> dict:
    """What the table and the JSON say of one library at one piece of work."""
    low, ratio, high = times.ratios or (None, None, None)
    return {
        "workload": workload,
        "what": what,
        "library": library,
        "median_ms": 1000 * times.median,
        "ratio": ratio,
        "low": low,
        "high": high,
        "turns": len(times.seconds),
        "seconds": times.seconds,
    }
