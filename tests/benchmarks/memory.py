"""Peak memory of a W1 training step, and what an import costs: a fresh process for each answer.

`python -m tests.benchmarks.memory LIBRARY` is such a process. What counts is how far a training
step takes the process above where it was once the library was imported.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from .libraries import find
from .workloads import NETWORKS, Network

IMPORTS = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import tinyfractal
print(middle - start, time.perf_counter() - middle)
"""


def peaks(names: list[str], threads: int, workload: str = "W1 paper") -> dict[str, Any]:
    """MB of each library: {"import": …, "peak": …, "step": their difference}, or "error"."""
    result: dict[str, Any] = {}
    for name in names:
        command = [sys.executable, "-m", f"{__package__}.memory", name, str(threads), workload]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            result[name] = {"error": done.stderr.strip().splitlines()[-1]}
        else:
            result[name] = json.loads(done.stdout)
    return result


def peak(name: str, threads: int, spec: Network) -> dict[str, float]:
    """The same, of this very process."""
    libraries, missing = find((name,) if name != "tinyfractal" else (), threads)
    if name in missing:
        raise ImportError(f"{name}: {missing[name]}")
    before = resident("VmRSS")
    step = libraries[name].network(spec.draw())["training"]
    spec.state = {}  # our copy of the weights is nobody's need
    for _ in range(3):  # optimizers make their memory in the first step, compilers theirs
        step.run(step.prepare())
    top = resident("VmHWM")
    return {"import": before, "peak": top, "step": top - before}


def resident(field: str) -> float:
    """MB of memory in use ("VmRSS"), or its highest ever ("VmHWM").

    Not `ru_maxrss` where Linux knows better: that begins at what the parent process had.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def imports(runs: int = 9) -> dict[str, float]:
    """Milliseconds of `import numpy`, and what `import tinyfractal` adds to it; medians."""
    found = []
    for _ in range(runs + 1):  # the first one compiles, and fills the disk's cache
        done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, check=True)
        found.append([1000 * float(seconds) for seconds in done.stdout.split()])
    numpy, added = map(statistics.median, zip(*found[1:]))
    return {"numpy": numpy, "tinyfractal adds": added}


def report(peaks: dict[str, Any], imports: dict[str, float]) -> str:
    """A table."""
    lines = [f"{'MB, W1 training':20}{'at import':>10}{'peak':>10}{'step adds':>10}"]
    for name, found in peaks.items():
        cells = "".join(f"{found[k]:10.0f}" for k in ("import", "peak", "step") if k in found)
        lines.append(f"{name:20}{cells}{found.get('error', '')}")
    times = (f"{name} {ms:.0f} ms" for name, ms in imports.items())
    return "\n".join([*lines, f"{'import':20}{', '.join(times)}"])


if __name__ == "__main__":
    print(json.dumps(peak(sys.argv[1], int(sys.argv[2]), NETWORKS[sys.argv[3]])))
