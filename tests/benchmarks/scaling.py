"""Does the cost grow as the work does? Training steps over batch sizes, columns and odd sizes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from .libraries import build
from .measure import measure
from .workloads import Network

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COLUMNS = (1, 2, 3, 4, 5)
CHANNELS, IMAGE = (16, 32, 64), (32, 32, 3)
EVEN = Network(CHANNELS, IMAGE, 32)
ODD = {  # each beside its even neighbour; the cost per multiplication should be about the same
    "31×33 beside 32×32": (Network(CHANNELS, (31, 33, 3), 32), EVEN),
    "33×33 beside 32×32": (Network(CHANNELS, (33, 33, 3), 32), EVEN),
    "7 channels beside 8": (Network((7, 7, 7), IMAGE, 32), Network((8, 8, 8), IMAGE, 32)),
    "17, 33, 65 channels beside 16, 32, 64": (Network((17, 33, 65), IMAGE, 32), EVEN),
    "batch 31 beside 32": (Network(CHANNELS, IMAGE, 31), EVEN),
    "batch 1 beside 2": (Network(CHANNELS, IMAGE, 1), Network(CHANNELS, IMAGE, 2)),
}


def multiplications(spec: Network) -> int:
    """Of all convolutions, forward, for the whole batch."""
    (h, w, before), total = spec.image, 0
    for after in spec.channels:
        inputs = spec.columns * before + (2**spec.columns - 1 - spec.columns) * after
        total += 9 * inputs * after * h * w
        h, w, before = h // 2, w // 2, after
    return total * spec.batch


def scaling(libraries: dict[str, ModuleType], seconds: float) -> dict[str, Any]:
    """Milliseconds of a training step of each library, at each point of the three series."""

    def time(spec: Network) -> dict[str, float]:
        work, _ = build(spec, libraries)
        times = measure(work, "training", seconds)
        return {name: 1000 * t.median for name, t in times.items()}

    return {
        "batch": {n: time(Network(CHANNELS, IMAGE, n)) for n in BATCHES},
        "columns": {c: time(Network(CHANNELS, IMAGE, 32, c)) for c in COLUMNS},
        "odd": {
            name: {
                library: ms / beside[library] * multiplications(even) / multiplications(odd)
                for library, ms in time(odd).items()
            }
            for name, (odd, even) in ODD.items()
            for beside in [time(even)]
        },
    }


def growth(series: dict[int, dict[str, float]], work: dict[int, int], library: str) -> float:
    """The exponent k of time ~ work^k: 1 where cost grows linearly, less where it starts high."""
    x, y = zip(*((np.log(work[at]), np.log(series[at][library])) for at in series))
    return float(np.polyfit(x, y, 1)[0])


def report(found: dict[str, Any]) -> str:
    """Three tables."""
    libraries = list(next(iter(found["batch"].values())))
    head = "".join(f"{name:>14}" for name in libraries)
    lines = [f"{'batch':38}{head}   ms a training step"]
    for n, row in found["batch"].items():
        lines.append(f"{n:<38}" + "".join(f"{row[name]:14.2f}" for name in libraries))
    work = {n: n for n in BATCHES}
    large = {n: row for n, row in found["batch"].items() if n >= 16}
    for what, series in (("all", found["batch"]), ("16 on", large)):
        cells = "".join(f"{growth(series, work, name):14.2f}" for name in libraries)
        lines.append(f"{f'time ~ batch^k, {what}: k =':38}{cells}")
    lines.append(f"\n{'columns':38}{head}   ms a training step")
    work = {c: multiplications(Network(CHANNELS, IMAGE, 32, c)) for c in COLUMNS}
    for c, row in found["columns"].items():
        lines.append(f"{c:<38}" + "".join(f"{row[name]:14.2f}" for name in libraries))
    cells = "".join(f"{growth(found['columns'], work, name):14.2f}" for name in libraries)
    lines.append(f"{'time ~ multiplications^k: k =':38}{cells}")
    lines.append(f"\n{'odd sizes':38}{head}   time a multiplication, ratio")
    for odd, row in found["odd"].items():
        lines.append(f"{odd:38}" + "".join(f"{row[name]:14.2f}" for name in libraries))
    return "\n".join(lines)
