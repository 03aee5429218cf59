"""What does each quick rule bring? `python -m tests.benchmarks.rules [W1 W3 …]`.

Every network is run with all rules of `tinyfractal.fast`, and with all but one, in turns, in the
same process. Printed is the time without that rule divided by the time with it: 1.10 says that
leaving it out costs 10 %. A rule that never reaches 1.03 is not worth its lines.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from tinyfractal.engine.definition import RULES
from tinyfractal.fast import fractal
from tinyfractal.fractal import FractalBlock

from . import in_tinyfractal
from .measure import TURN, Times, _turn, _whole
from .workloads import NETWORKS, Step


@contextmanager
def without(*definitions: Any) -> Iterator[None]:
    """These definitions run as they are written."""
    rules = {definition: RULES.pop(definition) for definition in definitions}
    try:
        yield
    finally:
        RULES.update(rules)


@contextmanager
def unfolded() -> Iterator[None]:
    """Batch norm by itself: in training no statistics from the cache, in inference not folded."""
    before, fractal.is_one_step = fractal.is_one_step, lambda *_: False
    try:
        yield
    finally:
        fractal.is_one_step = before


def variants(what: str) -> dict[str, Callable[[], Any]]:
    """{what is left out: a context in which it is}."""
    found: dict[str, Callable[[], Any]] = {"nothing": without}
    found["sharing of inputs"] = lambda: without(FractalBlock.branches)
    name = "statistics in the cache" if what == "training" else "folded batch norm"
    found[name] = unfolded
    units = [definition for definition in RULES if definition.__module__ == FractalBlock.__module__]
    found["all of fast/fractal.py"] = lambda: without(*units)
    for definition in [d for d in RULES if d not in units]:
        label = f"{definition.__module__.rpartition('.')[2]}.{definition.__qualname__}"
        found[label] = lambda definition=definition: without(definition)
    return found


def measure(step: Step, contexts: dict[str, Callable[[], Any]], seconds: float) -> dict[str, Times]:
    """Turns of every variant, each beside a turn with nothing left out, `seconds` for each."""
    times = {name: Times() for name in contexts}
    repeats = max(1, round(TURN / _whole(step)))
    for _ in range(max(3, round(seconds / (2 * TURN)))):
        for name, context in contexts.items():
            beside = _turn(step, repeats)
            with context():
                times[name].seconds.append(_turn(step, repeats))
            times[name].beside.append(beside)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rules", description=__doc__)
    parser.add_argument("networks", nargs="*", help="beginnings of names, such as W1; none: all")
    parser.add_argument("--seconds", type=float, default=3, help="for each number")
    args = parser.parse_args()
    for workload, spec in NETWORKS.items():
        if args.networks and not workload.startswith(tuple(args.networks)):
            continue
        for what, step in in_tinyfractal.network(deepcopy(spec).draw()).items():
            print(f"\n{workload}, {what}: time without … / time with it (quartiles)")
            for name, times in measure(step, variants(what), args.seconds).items():
                low, middle, high = times.ratios or (0.0,) * 3
                milliseconds = 1e3 * statistics.median(times.beside)
                print(
                    f"  {name:32} {middle:5.2f}  ({low:.2f} to {high:.2f})  {milliseconds:8.1f} ms"
                )


if __name__ == "__main__":
    main()
