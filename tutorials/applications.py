"""What chapters 13 to 15 share: three kinds of network, three seeds each, and a record of it all.

    train, test = load("gtsrb")                                 # None, None where it is not there
    rows = compare("traffic_signs", recipes, learn, held_out, test)
    rows = recorded("traffic_signs")                            # what was measured elsewhere

`compare` trains every recipe with every seed. Each training has a folder of its own, from which it
goes on where it was stopped, and whose result is read the next time. During training a network is
tested on images that were held out of the training part; the test images are used once, at the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.errors import DataError
from tinyfractal.files import write_atomically
from tinyfractal.progress import counted
from tinyfractal.recipe import Recipe
from tinyfractal.train.load import load_network
from tinyfractal.train.preflight import digest

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records"
SEEDS = (0, 1, 2)
Row = dict[str, Any]


# ----- The data -----


def data_folder() -> Path:
    """Where data sets lie: $TINYFRACTAL_DATA, or `data` here or in the project's folder."""
    chosen = os.environ.get("TINYFRACTAL_DATA")
    places = [Path(chosen)] if chosen else [Path("data"), HERE.parent / "data"]
    return next((place for place in places if place.is_dir()), places[0])


def load(name: str) -> tuple[Any, Any]:
    """A data set as (train, test); where it is not there, how to get it, and (None, None)."""
    try:
        return tf.data.load(name, data_folder())
    except DataError as error:
        print(f"Without the data this chapter shows what was recorded.\n{error}")
        return None, None


# ----- Training -----


def compare(
    name: str,
    recipes: dict[str, Recipe],
    train: tf.data.Dataset,
    held_out: tf.data.Dataset,
    test: tf.data.Dataset,
    seeds: Sequence[int] = SEEDS,
    augment: Callable | None = None,
) -> list[Row]:
    """A row of results for each recipe and seed; what was trained before is only read.

    augment: instead of the recipe's own shifts and mirroring.
    """
    epochs = sum(recipe.epochs for recipe in recipes.values()) * len(seeds)
    digests = [digest(part) for part in (train, held_out, test)]
    rows, done = [], 0
    with counted(f"{name}: training", epochs, unit="epochs", after=1.0) as show:
        for label, recipe in recipes.items():
            recipe = replace(recipe.for_data(train), validation=0.0)  # `held_out` is what it is
            for seed in seeds:
                begun = done
                job = replace(recipe, seed=seed)
                rows.append(
                    _trained(name, label, job, train, held_out, test, digests, augment,
                             lambda epoch, begun=begun: show(begun + epoch))
                )  # fmt: skip
                done += recipe.epochs
                show(done)
    return rows


def _trained(
    name: str, label: str, recipe: Recipe, train: Any, held_out: Any, test: Any, digests: list[str],
    augment: Callable | None, show: Callable[[int], None],
) -> Row:  # fmt: skip
    key = json.dumps([
        recipe.as_dict(), getattr(augment, "__qualname__", repr(augment)), *digests,
    ])  # fmt: skip
    short = hashlib.sha256(key.encode()).hexdigest()[:10]
    folder = data_folder() / "trained" / name / f"{label.replace(' ', '_')}-{recipe.seed}-{short}"
    result = folder / "result.json"
    if result.exists():
        return {**json.loads(result.read_text("utf-8")), "folder": str(folder)}
    model = recipe.build_model()
    optimizer = recipe.build_optimizer(model)
    history = tf.train.fit(
        model, train, held_out, optimizer, recipe.build_schedule(optimizer),
        epochs=recipe.epochs, batch_size=recipe.batch_size, transform=recipe.transform(),
        augment=augment or recipe.augment(), seed=recipe.seed, clip=recipe.clip,
        label_smoothing=recipe.label_smoothing, class_weights=recipe.weights(),
        recipe=recipe.as_dict(), folder=folder, resume=folder.exists(), quiet=True,
        on_epoch=lambda record: show(record["epoch"]),
    )  # fmt: skip
    row = {
        "network": label,
        "seed": recipe.seed,
        "parameters": model.count_parameters(),
        "seconds": round(sum(record["seconds"] for record in history), 1),
        **measure(model, test, recipe),
        "history": [
            {
                "epoch": record["epoch"],
                "train_loss": record["train_loss"],
                "held_out": record["test_accuracy"],
                "columns": record["columns"],
            }
            for record in history
        ],
    }
    write_atomically(result, json.dumps(row, indent=1).encode())
    return {**row, "folder": str(folder)}


def measure(model: Any, test: tf.data.Dataset, recipe: Recipe) -> Row:
    """Accuracy and the recall of each class on the test images, for the whole network and each
    column, and the milliseconds that an image takes."""
    found: Row = {"columns": []}
    for part in (model, *tf.train.columns_of(model)):
        start = time.perf_counter()
        right = probabilities(part, test.images, recipe).argmax(axis=1) == test.labels
        each = 1000 * (time.perf_counter() - start) / len(test)
        recalls = [float(right[test.labels == k].mean()) for k in range(len(test.classes))]
        facts = {"accuracy": float(right.mean()), "recall": recalls, "ms": each}
        if part is model:
            found |= facts
        else:
            found["columns"].append(facts)
    return found


def probabilities(model: Any, images: np.ndarray, recipe: Recipe) -> np.ndarray:
    """What a network says of each image, (N, K), some at a time."""
    parts = [
        tf.train.predict(model, images[i : i + 250], recipe.transform())
        for i in range(0, len(images), 250)
    ]
    return np.concatenate(parts)


def network(row: Row) -> tuple[Any, Recipe]:
    """The network that was trained for this row, and its recipe."""
    return load_network(row["folder"])


# ----- Records: the same rows, measured once and kept -----


def record(name: str, rows: Sequence[Row], **more: Any) -> None:
    """Keep the rows, and whatever else the chapter shows, with the date and the machine."""
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "rows": [{k: v for k, v in row.items() if k != "folder"} for row in rows],
        **more,
    }
    write_atomically(RECORDS / f"{name}.json", json.dumps(facts, indent=1).encode() + b"\n")


def recorded(name: str) -> dict[str, Any]:
    """What `record` kept: {"date": …, "machine": …, "rows": […], and the rest}."""
    return json.loads((RECORDS / f"{name}.json").read_text("utf-8"))


def machine() -> str:
    """The processor, its cores, the threads of matrix products, and NumPy's version."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text("utf-8").splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    return f"{model}, {os.cpu_count()} cores, threads: {threads}, NumPy {np.__version__}"


def expect(claim: Any, said: str, recorded: bool) -> None:
    """Hold the text to its numbers: what it says must be true of the networks that were recorded.

    Of networks that you trained, on another machine, it may not be: then that is printed.
    """
    if recorded:
        assert claim, said
    elif not claim:
        print(f"Your networks differ from the text here, which says: {said}")


# ----- Tables and curves -----


def by_network(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each network, one for each seed."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["network"], []).append(row)
    return found


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error, s / √n."""
    array = np.asarray(values, float)
    error = array.std(ddof=1) / np.sqrt(len(array)) if len(array) > 1 else float("nan")
    return float(array.mean()), float(error)


def table(rows: Sequence[Row]) -> str:
    """A line for each network and each column of the fractal one: test accuracy, mean ± standard
    error over the seeds, and the seconds that a training took."""
    lines = [f"{'':20}{'parameters':>11}{'test accuracy':>22}{'median':>9}{'training':>11}"]
    for label, some in by_network(rows).items():
        lines.append(
            _line(label, some[0]["parameters"], [row["accuracy"] for row in some])
            + f"{np.median([row['seconds'] for row in some]):9.0f} s"
        )
        for c in range(len(some[0]["columns"])):
            accuracies = [row["columns"][c]["accuracy"] for row in some]
            lines.append(_line(f"  its column {c}", None, accuracies))
    return "\n".join(lines)


def _line(label: str, parameters: int | None, accuracies: Sequence[float]) -> str:
    mean, error = spread(accuracies)
    size = "" if parameters is None else f"{parameters:,}"
    accuracy = f"{100 * mean:.2f} ± {100 * error:.2f} %"
    return f"{label:20}{size:>11}{accuracy:>22}{100 * np.median(accuracies):7.2f} %"


def curves(rows: Sequence[Row], axes: Any = None) -> Any:
    """Accuracy on the held-out images by epoch: the mean over the seeds, and from worst to best."""
    axes = axes or plt.gca()
    for label, some in by_network(rows).items():
        values = 100 * np.array([[e["held_out"] for e in row["history"]] for row in some])
        epochs = np.arange(1, values.shape[1] + 1)
        (line,) = axes.plot(epochs, values.mean(axis=0), label=label)
        axes.fill_between(
            epochs, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2, lw=0
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("held-out accuracy (%)")
    axes.legend()
    return axes
