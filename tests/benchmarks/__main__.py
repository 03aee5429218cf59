"""Time tinyfractal beside its peers: `python -m tests.benchmarks [W1 W3 …]`.

Every library that is installed does the same work from the same weights, in the same process, in
turns and after a warm-up, and is held to the same numbers. Printed are medians, and the ratio to
PyTorch's time with its spread (quartiles). All get the same number of threads: as many as NumPy's
BLAS has (OPENBLAS_NUM_THREADS sets them). Timings of a busy machine say little: look at the
spread, and run it again. Without names all workloads are run, and peak memory and
import time follow. The workloads are in workloads.py; `pip install -e '.[bench]'` brings the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

from tinyfractal import backend
from tinyfractal.fast import parallel

from . import errors, memory, scaling
from .libraries import PEERS, build, find
from .measure import disagreements, measure, row
from .workloads import MLP, WORKLOADS, Network


def main(argv: list[str] | None = None) -> int:
    """Measure and print what was asked for; return how many libraries were wrong somewhere."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", help="beginnings of names, such as W1; none: all")
    parser.add_argument("--seconds", type=float, default=10, help="for each row of the table")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of %(default)s")
    parser.add_argument(
        "--json", type=Path, help="write everything to this file, a chart beside it"
    )
    parser.add_argument("--chart", type=Path, help="draw the ratios as bars (PNG)")
    only = parser.add_argument_group("instead of the table")
    only.add_argument("--memory", action="store_true", help="peak memory, and import time")
    only.add_argument("--errors", action="store_true", help="distance to float64")
    only.add_argument("--scaling", type=Path, metavar="PNG", help="batch size, depth, odd sizes")
    args = parser.parse_args(argv)
    threads = parallel.threads()
    if hasattr(os, "sched_setaffinity"):  # JAX and tinygrad have no setting for it: fewer cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    libraries, missing = find(tuple(filter(None, args.peers.split(","))), threads)
    result: dict[str, Any] = {"facts": facts(libraries, missing, threads)}
    print("\n".join(f"{key:14} {value}" for key, value in result["facts"].items()))
    result["errors"] = []
    apart = args.memory or args.errors or args.scaling
    if not apart:
        result |= table(args.workloads, libraries, args.seconds)
        picture = args.chart or (args.json and args.json.with_suffix(".png"))
        if picture:
            from . import chart  # only here is matplotlib needed

            write(picture, chart.bars(result))
    if args.memory or not (apart or args.workloads):
        result["memory_mb"] = memory.peaks(list(libraries), threads)
        result["import_ms"] = memory.imports()
        print("\n" + memory.report(result["memory_mb"], result["import_ms"]))
    if args.errors:
        result["float32_errors"] = errors.errors(libraries)
        print("\n" + errors.report(result["float32_errors"]))
    if args.scaling:
        from . import chart

        some = {name: libraries[name] for name in ("tinyfractal", "torch") if name in libraries}
        result["scaling"] = scaling.scaling(some, min(args.seconds, 3))
        print("\n" + scaling.report(result["scaling"]))
        write(args.scaling, chart.lines(result["scaling"]))
    if args.json:
        write(args.json, json.dumps(result, indent=1).encode())
    return len(result["errors"])


def facts(libraries: dict[str, ModuleType], missing: dict[str, str], threads: int) -> dict:
    """Versions, threads and machine."""
    return {
        **backend.info(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {threads} used",
        "threads each": threads,
        **{name: module.VERSION for name, module in libraries.items()},
        **{name: f"left out: {reason}" for name, reason in missing.items()},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def table(names: list[str], libraries: dict[str, ModuleType], seconds: float) -> dict[str, Any]:
    """Run the workloads, and print row after row."""
    rows: list[dict] = []
    errors: list[str] = []
    for name, spec in WORKLOADS.items():
        if names and not name.startswith(tuple(names)):
            continue
        print(f"\n{name:33}{'median ms':>12}{'ratio':>9}  (quartiles)   turns")
        work, without = build(spec, libraries)
        for library, reason in without.items():
            print(f"  {library}: {reason}")
        whats = list(next(iter(work.values())))
        several = spec != "drop-path"
        for what in reversed(whats) if isinstance(spec, Network | MLP) and several else whats:
            if several:
                runs = 2 if what == "training" else 1
                for library, reason in disagreements(work, what, runs).items():
                    errors.append(f"{name}, {what}: {library}: {reason}")
                    print("  ERROR " + errors[-1])
                    del work[library]
        for what in whats:
            times = measure(work, what, seconds)
            for library, t in times.items():
                rows.append(row(name, what, library, t))
                print(_line(rows[-1]), flush=True)
            if not several:
                whole, local, one = (statistics.mean(t.seconds) for t in times.values())
                print(f"  half local, half global, by the means: {(local + one) / 2 / whole:.2f}")
        del work
    return {"rows": rows, "errors": errors}


def _line(r: dict) -> str:
    text = f"  {r['what']:12}{r['library']:19}{r['median_ms']:12.3f}"
    if r["ratio"] is not None:
        text += f"{r['ratio']:9.2f}  ({r['low']:.2f} to {r['high']:.2f})"
    return f"{text:75}{r['turns']:4}"


def write(path: Path, content: bytes) -> None:
    """All of it or nothing: under another name first."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


if __name__ == "__main__":
    raise SystemExit(main())
