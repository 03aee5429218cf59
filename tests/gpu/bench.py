"""A training step and inference beside PyTorch's: wall time, time on the GPU, launches, memory.

The networks are W1 (the paper's), W2 and W3 of `tests/benchmarks`, W1 with the batches 100 and 512.
The libraries take turns, from the same weights, and are held to the same numbers. "device ms" is
the time between two CUDA events, before the first launch and behind the last: pauses in which the
GPU waits for Python are in it. "pool MB" is the most that the library's memory pool had.

TF32 is two things. CuPy reads CUPY_TF32 when it starts, so both settings are processes of their
own, and uses it for two-dimensional matrix products only. PyTorch has a switch for products and one
for convolutions; both are set.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinyfractal import backend, nn

from ..benchmarks import in_tinyfractal
from ..benchmarks.measure import TOLERANCE, distance
from ..benchmarks.workloads import NETWORKS, Network, channels_first
from . import ROOT, environment, report

WARM_UP = 3
LABELS = {
    "0": "off",
    "1": "on (CuPy: 2-D products only; PyTorch: products and convolutions)",
}
HEAD = f"{'':28}{'wall ms':>10}{'(quartiles)':>18}{'device ms':>11}{'ratio':>7}{'(quartiles)':>14}"


def bench(args: SimpleNamespace) -> None:
    """Both settings of TF32, a process each."""
    failed = []
    for tf32 in ("0", "1"):
        env = environment(args.standin) | {"CUPY_TF32": tf32}
        command = [sys.executable, "-m", "tests.gpu.part", "bench_rows", json.dumps(vars(args))]
        if subprocess.run(command, cwd=ROOT, env=env, pass_fds=report.pipes()).returncode:
            failed.append(LABELS[tf32])
    if failed:
        raise AssertionError(f"TF32 {', '.join(failed)}: see above")


def workloads(standin: bool, tf32: bool) -> Iterator[tuple[str, Network]]:
    """(name, network and batch). With TF32 the paper's network alone."""
    w1, w2, w3 = NETWORKS.values()
    if standin:
        w1, w2 = replace(w1, channels=(4, 8, 8, 8, 8)), replace(w2, channels=(4, 8, 8), batch=2)
        w3 = replace(w3, batch=4)
    for batch in (2,) if standin else (100, 512):
        yield f"W1 batch {batch}", replace(w1, batch=batch)
    if not tf32:
        yield from (("W2", w2), ("W3", w3))


@dataclass
class Contender:
    """A library at one piece of work. `step` returns numbers to compare, and has waited."""

    step: Callable[[], Any]
    event: Callable[[], Any] | None = None  # a new CUDA event, None where there are none
    between: Callable[[Any, Any], float] | None = None  # ms between two
    pool: Callable[[], float] | None = None  # the most MB since `clear`
    clear: Callable[[], None] = lambda: None
    wall: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Run it once, by two clocks."""
        events = [self.event(), self.event()] if self.event else []
        start = time.perf_counter()
        if events:
            events[0].record()
        self.step()
        if events:
            events[1].record()
            events[1].synchronize()
        self.wall.append(1000 * (time.perf_counter() - start))
        if self.between:
            self.device.append(self.between(*events))


def bench_rows(args: SimpleNamespace) -> None:
    """The rows of one setting of TF32."""
    tf32 = os.environ.get("CUPY_TF32") == "1"
    wrong = []
    print(f"\nTF32 {LABELS[str(int(tf32))]}\n{HEAD}", flush=True)
    for name, spec in workloads(args.standin, tf32):
        try:
            wrong += compare(name, spec, args, tf32)
        except Exception as error:  # out of memory, say: the other workloads are measured
            wrong.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0])
            report.row(workload=name, tf32=LABELS[str(int(tf32))], error=wrong[-1])
    if wrong:
        raise AssertionError("; ".join(wrong))


def compare(name: str, spec: Network, args: SimpleNamespace, tf32: bool) -> list[str]:
    """Measure and report one network; what is wrong with the numbers."""
    with backend.using("numpy"):
        spec.draw()
    wrong = []
    with backend.using(args.device):
        everyone = {"tinyfractal": ours(spec)}
        try:
            everyone |= torchs(spec, tf32)
        except ImportError:
            print("  (PyTorch is not installed)")
        for what in ("inference", "training"):
            contenders = {library: work[what] for library, work in everyone.items()}
            far = disagreement(contenders)
            if not far < (50 if tf32 else 1) * TOLERANCE:
                wrong.append(f"{name}, {what}: {far:.1e} away from PyTorch's numbers")
            launches = count_launches(contenders["tinyfractal"].step)
            for each in contenders.values():
                each.clear()
            for turn in range(2 if args.standin else WARM_UP + 20):
                for each in contenders.values():
                    each.turn()
                    if turn < WARM_UP and not args.standin:
                        each.wall.clear()
                        each.device.clear()
            for library, each in contenders.items():
                found = {
                    "workload": name, "batch": spec.batch, "what": what, "library": library,
                    "tf32": LABELS[str(int(tf32))], "wall_ms": quartiles(each.wall),
                    "device_ms": quartiles(each.device),
                    "launches": launches if library == "tinyfractal" else None,
                    "pool_mb": each.pool() if each.pool else None,
                    "apart": far, "turns": len(each.wall),
                    "ratio_to": {
                        other: quartiles([a / b for a, b in zip(each.wall, beside.wall)])
                        for other, beside in contenders.items() if other != library
                    },
                }  # fmt: skip
                report.row(**found)
                print(line(found), flush=True)
    return wrong


def quartiles(values: list[float]) -> list[float] | None:
    """Lower quartile, median, upper quartile."""
    if len(values) < 2:
        return [values[0]] * 3 if values else None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, statistics.median(values), high]


def line(found: dict[str, Any]) -> str:
    """A row as the log has it; the ratio is to PyTorch's."""
    wall, device, ratio = found["wall_ms"], found["device_ms"], found["ratio_to"].get("torch")
    text = f"{found['workload']}, {found['what']}"
    text = f"{text:28}{wall[1]:10.2f}{f'({wall[0]:.2f} to {wall[2]:.2f})':>18}"
    text += f"{device[1]:11.2f}" if device else f"{'':11}"
    text += f"{ratio[1]:7.2f}{f'({ratio[0]:.2f} to {ratio[2]:.2f})':>16}" if ratio else f"{'':23}"
    text += f"  {found['library']}"
    text += f", {sum(found['launches'].values()):,} launches" if found["launches"] else ""
    return text + (f", pool {found['pool_mb']:,.0f} MB" if found["pool_mb"] else "")


def disagreement(contenders: dict[str, Contender]) -> float:
    """The farthest from PyTorch's numbers, as a fraction. Of training the second step's, in which
    the gradients of the first are. It is the warm-up too: CuPy compiles, cuDNN tries."""
    numbers = {library: [each.step() for _ in range(2)] for library, each in contenders.items()}
    base = numbers.get("torch", numbers["tinyfractal"])
    return max(
        distance(np.asarray(a), np.asarray(b))
        for found in numbers.values() for a, b in zip(found, base)
    )  # fmt: skip


def count_launches(step: Callable[[], Any]) -> dict[str, int] | None:
    """Launches of one step by their kind, where they can be counted: on the stand-in."""
    launches = getattr(sys.modules.get("cupy"), "launches", None)
    if launches is None:
        return None
    with launches() as seen:
        step()
    return dict(seen.by_kind())


def ours(spec: Network) -> dict[str, Contender]:
    """tinyfractal on CuPy."""
    import cupy

    steps = in_tinyfractal.network(replace(spec, labels=backend.asarray(spec.labels)))
    pool = cupy.get_default_memory_pool()
    timing = {"event": cupy.cuda.Event, "between": cupy.cuda.get_elapsed_time}
    return {
        what: Contender(lambda step=step: step.run(step.prepare()),  # type: ignore[misc]
                        pool=lambda: pool.total_bytes() / 1e6,
                        clear=pool.free_all_blocks, **timing)
        for what, step in steps.items()
    }  # fmt: skip


def torchs(spec: Network, tf32: bool) -> dict[str, dict[str, Contender]]:
    """PyTorch, eager, in both orders of memory: cuDNN chooses its algorithms by trying them."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    report.fact(torch=f"{torch.__version__} on {device}")
    orders = {"torch": torch.contiguous_format, "torch channels_last": torch.channels_last}
    return {library: torch_work(spec, order) for library, order in orders.items()}


def torch_work(spec: Network, order: Any) -> dict[str, Contender]:
    """The same network, with the same weights."""
    import torch

    from ..torch_twins import Fractal

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = Fractal(spec.image[2], 10, spec.columns, spec.channels)
    state = {name: torch.tensor(a) for name, a in nn.to_torch(spec.state).items()}
    net.load_state_dict(state, strict=False)  # it counts batches, which we do not
    net = net.to(device, memory_format=order)
    x = torch.tensor(channels_first({"x": spec.x})["x"], device=device)
    x = x.contiguous(memory_format=order)
    labels = torch.tensor(spec.labels, device=device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def train() -> float:
        net.train()
        loss = torch.nn.functional.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> np.ndarray:
        net.eval()
        with torch.no_grad():
            return net(x).cpu().numpy()

    timing: dict[str, Any] = {}
    if device == "cuda":

        def clear() -> None:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

        timing = {
            "event": lambda: torch.cuda.Event(enable_timing=True),
            "between": lambda first, last: first.elapsed_time(last),
            "pool": lambda: torch.cuda.max_memory_reserved() / 1e6,
            "clear": clear,
        }
    return {"inference": Contender(infer, **timing), "training": Contender(train, **timing)}
