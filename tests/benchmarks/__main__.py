"""Time tinyfractal beside PyTorch: `python -m tests.benchmarks [W1 W3 …] [--seconds 20]`.

Both do the same work in the same process, in turns and after a warm-up, and must agree on the
result; printed are medians and their ratio. Timings of a busy machine say little: look at the
spread, and run it again. BLAS and PyTorch get the same number of threads (OPENBLAS_NUM_THREADS).
With `--json FILE` everything measured is written there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from tinyfractal import backend, parallel

from .workloads import HAS_TORCH, WORKLOADS, Work


def measure(work: Work, what: str, seconds: float) -> dict[str, list[float]]:
    """Seconds of each run, library by library, taken in turns until the time is up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    stop = time.monotonic() + seconds
    while time.monotonic() < stop or min(map(len, times.values())) < 5:
        for name, functions in work.items():
            start = time.perf_counter()
            functions[what]()
            times[name].append(time.perf_counter() - start)
    return times


def check_agree(name: str, work: Work, what: str) -> None:
    """Raise where the libraries do not come to the same number (this is the warm-up too)."""
    found = {library: functions[what]() for library, functions in work.items()}
    if len({library for library in found if library in ("tinyfractal", "torch")}) == 2:
        ours, theirs = found["tinyfractal"], found["torch"]
        if abs(ours - theirs) > 1e-2 * abs(theirs):
            raise AssertionError(f"{name}, {what}: tinyfractal gives {ours}, PyTorch {theirs}")


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", help="beginnings of names, such as W1")
    parser.add_argument("--seconds", type=float, default=20, help="for each row")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    facts = {**backend.info(), "parts at once": parallel.threads()}
    if HAS_TORCH:
        import torch

        torch.set_num_threads(parallel.threads())
        facts["torch"] = f"{torch.__version__}, {torch.get_num_threads()} threads"
    else:
        facts["torch"] = "not installed: no ratios"
    print("\n".join(f"{key:14} {value}" for key, value in facts.items()))
    print(f"\n{'':16}{'':8}{'median ms':>28}{'ratio':>9}  (spread of the ratio)")
    results = []
    for name, build in WORKLOADS.items():
        if args.workloads and not name.startswith(tuple(args.workloads)):
            continue
        work = build(name)
        for what in next(iter(work.values())):
            check_agree(name, work, what)
            times = measure(work, what, args.seconds)
            print(row(name, what, times), flush=True)
            results.append({"workload": name, "what": what, "seconds": times})
    if args.json is not None:
        args.json.write_text(json.dumps({"facts": facts, "results": results}), "utf-8")


def row(name: str, what: str, times: dict[str, list[float]]) -> str:
    """A line of the table: medians, and of the ratios of neighbouring runs median and quartiles.

    Where chance decides how much there is to do (drop-path), the ratio is that of the means.
    """
    medians = "  ".join(f"{k} {1000 * statistics.median(v):.2f}" for k, v in times.items())
    text = f"{name:16}{what:8}{medians:>44}"
    if "torch" in times:
        ratios = [a / b for a, b in zip(times["tinyfractal"], times["torch"])]
        low, middle, high = statistics.quantiles(ratios, n=4)
        text += f"{middle:9.2f}  ({low:.2f} to {high:.2f})"
    elif len(times) == 2:
        without, dropped = map(statistics.mean, times.values())
        text += f"{dropped / without:9.2f}  (of the means)"
    return text


if __name__ == "__main__":
    main()
