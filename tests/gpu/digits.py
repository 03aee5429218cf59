"""Training on the digits on both devices: the same decisions, and losses equal to rounding."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tinyfractal import Tensor, backend, cross_entropy, nn
from tinyfractal.data import Loader, load
from tinyfractal.recipe import Recipe

from . import ROOT, environment, report

STEPS = 50
FEW = 8  # on the stand-in, which is slow


def one_run(
    device: str, dtype: str, steps: int = STEPS, small: bool = False
) -> list[tuple[bytes, float]]:
    """(what drop-path decided, the loss) of each training step of the default recipe."""
    train, _ = load("digits")
    recipe = Recipe(dropout=0.1).for_data(train)
    if small:
        recipe = replace(recipe, channels=(8, 16), batch_size=16)
    decided: list[bytes] = []
    sample = nn.DropPath.sample

    def noted(self: nn.DropPath, *args: int, **rows: int) -> np.ndarray:
        decision = sample(self, *args, **rows)
        decided.append(decision.tobytes())
        return decision

    found: list[tuple[bytes, float]] = []
    with backend.using(device):
        model = recipe.build_model().astype(dtype)
        optimizer = recipe.build_optimizer(model)
        loader = Loader(train, recipe.batch_size, True, True, 0, recipe.transform(),
                        recipe.augment())  # fmt: skip
        nn.DropPath.sample = noted  # type: ignore[method-assign]
        try:
            while len(found) < steps:
                for images, labels in loader:
                    x = Tensor.of(backend.asarray(images.astype(dtype)))
                    loss = cross_entropy(model(x), backend.asarray(labels))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    found.append((b"".join(decided), loss.item()))
                    decided.clear()
                    if len(found) == steps:
                        break
        finally:
            nn.DropPath.sample = sample  # type: ignore[method-assign]
    if not any(decisions for decisions, _ in found):
        raise AssertionError(
            "drop-path decided nothing: does FractalNet still use DropPath.sample?"
        )
    return found


def digits(args: SimpleNamespace) -> None:
    """The same seed on both: the same decisions, and losses that are equal to rounding.

    A rounding grows from step to step, since each step builds on the one before. So float32 is held
    to it in the first steps, to 1e-3 (at the third it is 1e-5 on one processor and 2e-4 on
    another), and float64, which begins a billion times smaller, in all of them.
    """
    steps = FEW if args.standin else STEPS
    for dtype, first, bound in (("float32", 3, 1e-3), ("float64", steps, 1e-6)):
        start = time.monotonic()
        runs = [one_run(device, dtype, steps, args.standin) for device in ("numpy", args.device)]
        print(f"{dtype}, both runs in {time.monotonic() - start:.0f} s")
        print("step  drop-path  CPU         GPU      apart")
        apart = []
        for step, ((decided, cpu), (decided_too, gpu)) in enumerate(zip(*runs), 1):
            same = decided == decided_too
            apart.append(abs(cpu - gpu) / abs(cpu))
            if step < 5 or step % 5 == 0 or not same:
                report.row(dtype=dtype, step=step, same_decisions=same, cpu=cpu, gpu=gpu,
                           apart=apart[-1])  # fmt: skip
                print(
                    f"{step:4}  {'same' if same else 'DIFFERS':9}{cpu:11.7f}{gpu:12.7f}"
                    f"{apart[-1]:10.1e}",
                    flush=True,
                )
            if not same:
                raise AssertionError(f"{dtype}, step {step}: drop-path decided differently")
        if not max(apart[:first]) < bound:
            raise AssertionError(f"{dtype}: losses apart by {max(apart[:first]):.1e}")
    if not args.standin:
        train_on_both(args.device)


def train_on_both(device: str) -> None:
    """The whole default training on both at once: they end equally well."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "4")
        env, running = environment(False, "numpy") | threads, {}
        for name in ("numpy", device):
            place = Path(folder) / name.replace(":", "")
            command = [sys.executable, "-m", "tinyfractal", "train", "--quiet", "--backend", name]
            command += ["--out", str(place)]
            running[name] = place, subprocess.Popen(command, cwd=ROOT, env=env)
        accuracy = {}
        for name, (place, process) in running.items():
            if process.wait():
                raise AssertionError(f"training on {name} ended with status {process.returncode}")
            last = json.loads((place / "history.jsonl").read_text().splitlines()[-1])
            accuracy[name] = last["test_accuracy"]
            report.row(training=name, test_accuracy=accuracy[name], epochs=last["epoch"],
                       by_s=time.monotonic() - start)  # fmt: skip
            print(f"{name}: test accuracy {accuracy[name]:.2%}", flush=True)
    if min(accuracy.values()) < 0.96 or np.ptp(list(accuracy.values())) > 0.02:
        raise AssertionError(f"the trainings did not end equally well: {accuracy}")
