"""Where does drop-path pay? The digits with and without it; chapters 9 and 10 show the record.

    OPENBLAS_NUM_THREADS=1 python -m tutorials.drop_path     # writes records/drop_path.json

Every setting trains the same network from each seed, once with the paper's drop-path (0.15, half
global) and once with none, for the same number of epochs. One setting has four columns, and beside
it a plain network of the depth of the deepest. A tenth of the training images is held out for
validation. The test images are used once, after training.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import tinyfractal as tf
from tinyfractal import backend
from tinyfractal.files import write_atomically
from tinyfractal.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent))
import applications

RECORD = applications.RECORDS / "drop_path.json"
BASE = Recipe(channels=(8, 16))  # columns of depth 2, 4 and 8
BOTH = ({"drop_path": 0.0}, {"drop_path": 0.15})
FOUR = tuple({"columns": 4, **how} for how in (*BOTH, {"model": "plain"}))
SETTINGS = [  # training images (None: all of them), pixels of shift, epochs, the networks, seeds
    (None, 1, 12, BOTH, 5), (100, 0, 100, BOTH, 5), (None, 1, 12, FOUR, 3), (None, 1, 36, BOTH, 3),
    (300, 0, 50, BOTH, 5),
]  # fmt: skip


def learn(recipe: Recipe, train: tf.data.Dataset) -> tf.nn.Module:
    """Train what the recipe says, by the loop of chapter 5."""
    net = recipe.build_model()
    optimizer = recipe.build_optimizer(net)
    schedule = recipe.build_schedule(optimizer)
    loader = tf.data.Loader(
        train, recipe.batch_size, shuffle=True, seed=recipe.seed,
        transform=recipe.transform(), augment=recipe.augment(),
    )  # fmt: skip
    for _ in range(recipe.epochs):
        for images, labels in loader:
            loss = tf.cross_entropy(net(backend.asarray(images)), backend.asarray(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return net


def measure(images: int | None, shift: int, epochs: int, how: dict, seed: int) -> dict[str, Any]:
    """Train once; the accuracies of the whole network and of each column."""
    train, test = tf.data.load("digits")
    train, validation = train.split(BASE.validation, seed)
    if images is not None:
        _, train = train.split(images / len(train), seed)
    recipe = replace(BASE, shift=shift, epochs=epochs, seed=seed, **how).for_data(train)
    start = time.perf_counter()
    net = learn(recipe, train)
    row = {"seconds": round(time.perf_counter() - start, 1)}
    for name, data in {"train": train, "validation": validation, "test": test}.items():
        parts = [net, *tf.train.columns_of(net)]
        found = [tf.train.evaluate(part, data, recipe.transform()) for part in parts]
        row[name] = [round(each.accuracy, 5) for each in found]
        row[f"{name}_loss"] = round(found[0].loss, 5)
    return row


def main(seeds: list[int], out: Path) -> None:
    """All settings for each seed; a row that is in the record already is left alone."""
    record = json.loads(out.read_text("utf-8")) if out.exists() else {"rows": []}
    record["command"] = "OPENBLAS_NUM_THREADS=1 python -m tutorials.drop_path"
    record["machine"] = applications.machine()
    for images, shift, epochs, networks, count in SETTINGS:
        for seed, how in itertools.product([s for s in seeds if s < count], networks):
            facts = {"model": "fractal", "columns": BASE.columns, **how, "images": images or "all"}
            facts |= {"shift": shift, "epochs": epochs, "seed": seed}
            if any(facts == {name: row.get(name) for name in facts} for row in record["rows"]):
                continue
            row = facts | measure(images, shift, epochs, how, seed)
            print(row, flush=True)
            record["rows"].append(row)
            record["date"] = time.strftime("%Y-%m-%d")
            write_atomically(out, json.dumps(record, indent=1).encode() + b"\n")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options.add_argument("--out", type=Path, default=RECORD)
    chosen = options.parse_args()
    main(chosen.seeds, chosen.out)
