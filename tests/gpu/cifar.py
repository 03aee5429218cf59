"""The paper's network on CIFAR-10, its augmentation and drop-path, for a few minutes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tinyfractal import backend
from tinyfractal.data import Dataset, load_digits
from tinyfractal.nn.module import Module
from tinyfractal.recipe import Recipe
from tinyfractal.train import columns_of, evaluate, fit

from . import report

PAPER = Recipe(
    data="cifar10", channels=(64, 128, 256, 512, 512), lr=0.02, nesterov=False,
    weight_decay=1e-4, schedule="halving", batch_size=100, shift=4, mirror=True,
)  # fmt: skip
# Larsson et al. 2017, table 1, CIFAR-10+: test error in per cent with drop-path and dropout
PAPERS = {"whole network": 4.60, "column 2": 4.68}
HOW = "the paper: all 50,000 training images, 400 epochs, dropout too"
LAST = 20.0  # seconds kept for the last test


def cifar(args: SimpleNamespace) -> None:
    """Train as long as there is time, then test the whole network and each column."""
    if not (args.cifar or args.standin):
        report.fact(skipped="it needs --cifar FILE, which python -m tests.gpu.pack writes")
        return
    start = time.monotonic()
    given = report.seconds_given()
    seconds = 60 * args.minutes if given is None else min(60 * args.minutes, given - LAST)
    recipe, train, test, source = material(args)
    report.fact(source=source, training_images=len(train), minutes=seconds / 60)
    with backend.using(args.device):
        learn(recipe, train[:1000], test[:200], 1, None)  # compiles
        trial = time.monotonic()
        some = train[:3000]
        learn(recipe, some, test[:200], 1, None)
        epoch = (time.monotonic() - trial) * len(train) / len(some)
        left = seconds - (time.monotonic() - start)
        epochs = 2 if args.standin else max(1, int(0.9 * left / epoch))
        print(f"an epoch takes about {epoch:.0f} s: {epochs} epochs", flush=True)
        model = learn(recipe, train, test[:1000], epochs, start + seconds)
        rows = errors(model, test, recipe, source)
        print("\n".join(rows))
        print(backend.info().get("memory", ""))


def material(args: SimpleNamespace) -> tuple[Recipe, Dataset, Dataset, str]:
    """(recipe, train, test, what they are): the packed file, or digits on the stand-in."""
    if args.cifar:
        from .pack import load_packed

        train, test, source = load_packed(Path(args.cifar))
    else:
        train, test = (data[:100] for data in load_digits())
        source = "digits, in place of CIFAR-10"
    recipe = PAPER
    if args.standin:
        train, test = train[:100], test[:100]
        recipe = replace(PAPER, channels=(4, 4), batch_size=20, shift=1)
    return recipe.for_data(train), train, test, source


def learn(
    recipe: Recipe, train: Dataset, test: Dataset, epochs: int, deadline: float | None
) -> Module:
    """A trained network. With a deadline each epoch is reported, and none starts too late."""
    recipe = replace(recipe, epochs=epochs)
    model = recipe.build_model()
    optimizer = recipe.build_optimizer(model)

    def enough(record: dict[str, Any]) -> bool:
        report.row(**record)
        return time.monotonic() + record["seconds"] > deadline

    fit(
        model, train, test, optimizer, recipe.build_schedule(optimizer),
        batch_size=recipe.batch_size, transform=recipe.transform(), augment=recipe.augment(),
        prefetch=4, quiet=deadline is None, on_epoch=None if deadline is None else enough,
    )  # fmt: skip
    return model


def errors(model: Module, test: Dataset, recipe: Recipe, source: str) -> list[str]:
    """The test error of the whole network and of each column, beside the paper's."""
    known = PAPERS if test.name == "cifar10" else {}
    lines = [f"{source}: error on {len(test):,} test images" + (f" ({HOW})" if known else "")]
    parts = [("whole network", model)]
    parts += [(f"column {c}", column) for c, column in enumerate(columns_of(model))]
    for name, part in parts:
        result = evaluate(part, test, recipe.transform())
        error, papers = 100 * (1 - result.accuracy), known.get(name)
        report.row(part=name, error=error, paper=papers, ms_per_image=1000 * result.seconds)
        beside = f"{papers:7.2f} % in the paper" if papers else ""
        lines.append(f"{name:15}{error:7.2f} %{beside}")
    return lines
