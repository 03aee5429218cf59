"""The quick parts: is there a GPU, what is it, does it take a step, are the gradients right."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import time
from types import SimpleNamespace

import numpy as np

from tinyfractal import FractalNet, Tensor, backend, cross_entropy, optim
from tinyfractal.cli.selfcheck import check_all
from tinyfractal.nn.module import Module

from . import report

PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "cupy", "torch", "pytest", "hypothesis", "matplotlib")


def check(args: SimpleNamespace) -> None:
    """Raise `BackendError`, which says what is missing, unless the backend works."""
    with backend.using(args.device):
        pass


def facts() -> dict[str, str]:
    """Versions, device, driver, and what the environment says to CuPy."""
    found = backend.info() | {"system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {key: os.environ[key] for key in sorted(os.environ) if key.startswith("CUPY_")}


def first(args: SimpleNamespace) -> None:
    """The facts, and the first steps of two networks: the first one compiles its kernels."""
    with backend.using(args.device):
        found = facts()
        report.fact(facts=found)
        print("\n".join(f"{key:14} {value}" for key, value in found.items()), flush=True)
        backend.seed(0)
        small = {"channels": (4, 8, 8, 8, 8)} if args.standin else {}
        # one after the other, and each is gone before the next
        for name, build, shape in (
            ("digits", lambda: FractalNet(1, 10, 3, (32, 64)), (64, 8, 8, 1)),
            ("paper", lambda: FractalNet.paper(**small), (4 if args.standin else 100, 32, 32, 3)),
        ):
            take_steps(name, build(), shape)
        print(backend.info().get("memory", ""))


def take_steps(name: str, model: Module, shape: tuple[int, ...], steps: int = 4) -> None:
    """Train a few steps on noise; the seconds of each, and losses that are numbers."""
    rng = np.random.default_rng(0)
    x = Tensor.of(backend.asarray(rng.normal(size=shape).astype(np.float32)))
    y = backend.asarray(rng.integers(10, size=shape[0]))
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    seconds, losses = [], []
    for _ in range(steps):
        start = time.perf_counter()
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        backend.asnumpy(optimizer.parameters[-1].data)  # waits for the step
        seconds.append(time.perf_counter() - start)
    report.row(network=name, batch=shape[0], first_step_s=seconds[0], second_step_s=seconds[1],
               least_s=min(seconds), losses=losses)  # fmt: skip
    print(
        f"{name:7} batch {shape[0]:4}: first step {seconds[0]:.2f} s (with compiling), second "
        f"{seconds[1]:.3f} s, best {min(seconds):.3f} s; loss {losses[0]:.4f} to {losses[-1]:.4f}",
        flush=True,
    )
    if not all(map(math.isfinite, losses)):
        raise AssertionError(f"{name}: a loss is not finite: {losses}")


def gradcheck(args: SimpleNamespace) -> None:
    """Every gradient against finite differences."""
    found = {}
    with backend.using(args.device):
        for name, worst in check_all():
            if worst is not None:
                found[name] = worst.excess
                report.fact(checked=len(found))
    name = max(found, key=found.__getitem__)
    report.row(gradients=len(found), worst=name, of_the_margin=found[name])
    print(
        f"{len(found)} gradients are right; the worst, {name}, used {found[name]:.1%} of the margin"
    )
