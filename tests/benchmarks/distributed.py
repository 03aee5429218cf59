"""What sharing a batch costs: `python -m tests.benchmarks.distributed [--rounds 5]`.

The same training step of a FractalNet, batch 64, by one process and by two, in turns. "Nothing
shared" are two processes that work on half a batch each and never talk: what two ranks would take
if messages cost nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import tinyfractal as tf
from tinyfractal import backend
from tinyfractal.train.distributed import (
    ProcessGroup,
    Reducer,
    SyncBatchNorm,
    init_process_group,
)

BATCH = 64
SIZES = {"digits": (8, 1, (32, 64)), "W2": (32, 3, (16, 32, 64))}  # image, colours, channels
WAYS = {  # processes, threads of each
    "one process, one thread": (1, 1),
    "one process, two threads": (1, 2),
    "two, nothing shared": (2, 1),
    "two, local statistics": (2, 1),
    "two, synchronized": (2, 1),
}


def step_time(size: str, way: str, steps: int) -> float:
    """Median seconds of a training step."""
    pixels, colours, channels = SIZES[size]
    alone = way not in ("two, local statistics", "two, synchronized")
    group = ProcessGroup() if alone else init_process_group()
    net = tf.FractalNet(colours, 10, 3, channels)
    if way == "two, synchronized":
        net = SyncBatchNorm.convert_sync_batchnorm(net, group)
    optimizer = tf.optim.SGD(net.parameters(), lr=1e-3)
    group.broadcast(net.parameters())
    reducer = Reducer(net.parameters(), group)
    rng = np.random.default_rng(0)
    samples = BATCH // 2 if way == "two, nothing shared" else BATCH
    images = rng.normal(size=(samples, pixels, pixels, colours)).astype(np.float32)
    labels = rng.integers(10, size=samples)
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        with group.sharing(samples) as part:
            x, y = tf.Tensor.of(backend.asarray(images[part])), backend.asarray(labels[part])
            loss = tf.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            reducer.wait()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def run(size: str, way: str, steps: int) -> float:
    """The same in fresh processes, the slower where there are two."""
    processes, threads = WAYS[way]
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    command = [sys.executable, "-m", "tests.benchmarks.distributed", "--one", size, way, str(steps)]
    if processes > 1:
        command = [str(mpiexec), "-n", str(processes), *command]
    done = subprocess.run(
        command,
        env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    return max(map(float, done.stdout.split()))


def main() -> None:
    """Measure in turns and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.distributed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        size, way, steps = args.one
        sys.stdout.write(f"{step_time(size, way, int(steps))}\n")
        return
    for size in SIZES:
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way, found in times.items():
                found.append(run(size, way, args.steps))
        print(f"{size:28}{'ms a step':>10}{'spread':>16}{'speed-up':>10}")
        first = statistics.median(next(iter(times.values())))
        for way, found in times.items():
            middle = statistics.median(found)
            spread = f"{1000 * min(found):.1f} to {1000 * max(found):.1f}"
            print(f"{way:28}{1000 * middle:10.1f}{spread:>16}{first / middle:10.2f}")
        print()


if __name__ == "__main__":
    main()
