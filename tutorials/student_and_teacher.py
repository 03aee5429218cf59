"""The experiments of chapter 11: who learns, when, and who helps whom?

    python -m tutorials.student_and_teacher digits --data FOLDER
    python -m tutorials.student_and_teacher dropout --data FOLDER
    python -m tutorials.student_and_teacher cifar10 --data FOLDER --label "CIFAR-10"

Each training is kept in FOLDER/trained/student_and_teacher, and is not done again the next time.
After each one, all that is there goes to records/student_and_teacher.json. `cifar10` needs CIFAR-10
in FOLDER (`tf.data.load` says how to get it); the other two take the digits in the package.

Every network trains with the same number of updates. Learning rates and dropout rates are chosen
on images that were held out of the training part; the test images are used once, at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinyfractal as tf
from tinyfractal.files import write_atomically
from tinyfractal.fractal import FractalNet, keep_all
from tinyfractal.nn import BatchNorm2d
from tinyfractal.zoo import PlainNet

sys.path.insert(0, str(Path(__file__).parent))
import applications

RECORD = applications.RECORDS / "student_and_teacher.json"
Row = dict[str, Any]

# ----- Training, with somebody watching -----


def learn(
    net: Any, loader: tf.data.Loader, updates: int, lr: float, every: int = 50,
    watch: Callable[[int], Any] | None = None,
) -> list[Any]:  # fmt: skip
    """Train by SGD for a number of updates, the rate falling along half a cosine.

    Before the first update, and after each `every` of them, `watch(update)` is called; the answers
    are returned.
    """
    optimizer = tf.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = tf.optim.CosineLR(optimizer, updates)
    seen, batches = [], endless(loader)
    for update in range(updates + 1):
        if watch is not None and update % every == 0:
            seen.append(watch(update))
        if update < updates:
            images, labels = next(batches)
            net.train()
            loss = tf.ops.cross_entropy(net(tf.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return seen


def endless(loader: tf.data.Loader) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch after another."""
    while True:
        yield from loader


# ----- What to watch -----


def parts_of(net: Any) -> list[Any]:
    """The whole network, and each of its columns as a network of its own."""
    return [net, *tf.train.columns_of(net)]


@contextmanager
def only_watching(net: Any) -> Iterator[None]:
    """Batch norm works as in training, but nothing is dropped, recorded or, afterwards, changed."""
    before = net.state_dict()
    with tf.train.inference(net):
        for _, module in net.named_modules():
            if isinstance(module, BatchNorm2d):
                module.training = True
        try:
            yield
        finally:
            net.load_state_dict(before)


def losses(net: Any, images: np.ndarray, labels: np.ndarray) -> tuple[list[float], list[float]]:
    """Loss and accuracy of the whole network and of each column by itself: two lists.

    Batch norm takes the statistics of these images, so that each part has the statistics it needs.
    """
    found = []
    with only_watching(net):
        for part in parts_of(net):
            logits = part(tf.Tensor(images))
            right = logits.numpy().argmax(axis=1) == labels
            found.append((tf.ops.cross_entropy(logits, labels).item(), right.mean()))
    return [round(float(f[0]), 4) for f in found], [round(float(f[1]), 4) for f in found]


def agreement(net: FractalNet, images: np.ndarray) -> list[Any]:
    """For each block a matrix: how the outputs of its columns correlate where they join.

    Over all images, places and channels: 1 where two of them rise and fall together.
    """
    found = []
    with only_watching(net):
        x = tf.Tensor(images)
        for block in net.blocks:
            branches = block.branches(x, keep_all(net.columns), keep_all)
            outputs = [branch() if callable(branch) else branch for branch in branches]
            found.append(np.corrcoef([y.numpy().ravel() for y in outputs]).round(3).tolist())
            x = net.pool(block(x))
    return found


def accuracies(net: Any, data: tf.data.Dataset, transform: Any, train: Any = None) -> list[float]:
    """Accuracies of the whole network and of each column, in inference.

    With `train`, each of them with batch norm's statistics estimated again, from these images.
    """
    found = []
    for part in parts_of(net):
        if train is None:
            result = tf.train.evaluate(part, data, transform)
        else:
            with only_watching(net):
                tf.train.update_bn(part, train, transform, batch_size=64)
                result = tf.train.evaluate(part, data, transform)
        found.append(round(result.accuracy, 4))
    return found


# ----- One training -----


def run(net: Any, data: Row, updates: int, lr: float, seed: int, every: int, batch: int = 32,
        augment: Callable | None = None) -> Row:  # fmt: skip
    """Train, watch, and measure at the end."""
    transform, held_out = data["transform"], data["held_out"]
    loader = tf.data.Loader(
        data["learn"], batch, shuffle=True, seed=seed, transform=transform, augment=augment
    )
    few = transform(held_out.images[:WATCHED]), held_out.labels[:WATCHED].astype(np.int64)
    looking = [0.0]

    def watch(update: int) -> Row:
        start = time.process_time()
        loss, accuracy = losses(net, *few)
        row: Row = {"update": update, "loss": loss, "held_out": accuracy}
        if isinstance(net, FractalNet):
            row["agreement"] = agreement(net, few[0][:100])
        looking[0] += time.process_time() - start
        return row

    start = time.process_time()
    curve = learn(net, loader, updates, lr, every, watch)
    seconds = time.process_time() - start - looking[0]
    found: Row = {"parameters": net.count_parameters(), "seconds": round(seconds, 1)}
    for name, part in (("held_out", held_out), ("test", data["test"])):
        found[name] = accuracies(net, part, transform)
        found[f"{name}_again"] = accuracies(net, part, transform, data["learn"][:1280])
    return {**found, "curve": curve}


WATCHED = 250  # of the held-out images, for the curves


def parts(train: tf.data.Dataset, test: tf.data.Dataset, hold_out: float = 0.2) -> Row:
    """What is learned from, what is held out to choose by, and what is tested on at the end."""
    learn_on, held_out = train.split(hold_out)
    transform = tf.data.Standardize.fit(learn_on.images)
    return {"learn": learn_on, "held_out": held_out, "test": test, "transform": transform}


def by_a_pixel(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The digits' augmentation: each moves by up to one pixel along each axis."""
    return tf.data.shift(images, rng, 1)


# ----- The networks and the jobs -----

DIGITS: Row = {"channels": (8, 16, 16), "columns": 4}  # depths 3, 6, 12 and 24
CIFAR: Row = {"channels": (8, 16, 16, 32, 32), "columns": 4}  # depths 5, 10, 20 and 40
DROPOUT: Row = {"channels": (8, 16), "columns": 3}


def build(kind: str, size: Row, colors: int = 1, **settings: Any) -> Any:
    """`fractal`, or `plain D`: a plain network of D layers."""
    channels, columns = size["channels"], size["columns"]
    if kind.startswith("plain"):
        return PlainNet(colors, 10, channels, int(kind.split()[1]) // len(channels))
    # As the authors did, one decision for the mini-batch: what is dropped need not be computed.
    return FractalNet(colors, 10, columns, channels, **{"per_sample": False, **settings})


Job = tuple[str, float, int]  # network, learning rate, seed


def digits_jobs(seeds: int = 3) -> Iterator[Job]:
    """The most important first."""
    for seed in range(seeds):
        for kind in ("fractal", "plain 24"):
            for lr in (0.01, 0.05):
                yield kind, lr, seed


def digits(job: Job) -> Row:
    """A deep network on the digits."""
    kind, lr, seed = job
    data = parts(*tf.data.load_digits())
    tf.seed(seed)
    return run(build(kind, DIGITS), data, 1000, lr, seed, 50, augment=by_a_pixel)


def cifar_jobs(seeds: int = 2) -> Iterator[Job]:
    """The paper's rate for both, and a tenth of it for the network that trains alone."""
    for seed in range(seeds):
        for kind, lr in (("fractal", 0.02), ("plain 40", 0.02), ("plain 40", 0.002)):
            yield kind, lr, seed


def cifar10(job: Job, folder: Path) -> Row:
    """A deeper one on 4,000 photographs."""
    kind, lr, seed = job
    train, test = tf.data.load("cifar10", folder)
    data = parts(train[:5000], test[:2000])
    tf.seed(seed)
    return run(build(kind, CIFAR, 3), data, 2500, lr, seed, 100)


RATES = (0.0, 0.1, 0.3)


def dropout_jobs(seeds: int = 3) -> Iterator[tuple[str, float, int]]:
    """Kind and strength of the noise, and the seed."""
    for seed in range(seeds):
        for augmented in ("", " augmented"):
            yield f"drop-path{augmented}", 0.15, seed
            for rate in RATES:
                yield f"dropout{augmented}", rate, seed


def dropout(job: Job) -> Row:
    """A small one on 300 digits, with noise."""
    kind, rate, seed = job
    train, test = tf.data.load_digits()
    data = parts(train, test)
    data["learn"] = data["learn"][:300]
    noise = {"drop_path": rate} if kind.startswith("drop-path") else {"dropout": rate}
    noise = {"drop_path": 0.0, "per_sample": True, **noise}  # by sample: the library's default
    tf.seed(seed)
    net = build("fractal", DROPOUT, **noise)
    augment = by_a_pixel if kind.endswith("augmented") else None
    row = run(net, data, 300, 0.05, seed, 300, augment=augment)
    return {key: value for key, value in row.items() if key != "curve"}


# ----- Doing and keeping them -----


def main() -> None:
    """Train what is asked for, and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("digits", "dropout", "cifar10"))
    parser.add_argument("--data", type=Path, required=True, help="trainings, and CIFAR-10")
    parser.add_argument("--label", default="CIFAR-10", help="how to name these photographs")
    chosen = parser.parse_args()
    folder = chosen.data / "trained" / "student_and_teacher"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = {"digits": digits_jobs, "dropout": dropout_jobs, "cifar10": cifar_jobs}[chosen.what]
    for job in jobs():
        kind, rate, seed = job
        file = folder / f"{chosen.what}-{kind.replace(' ', '_')}-{rate}-{seed}.json"
        if file.exists():
            continue
        if chosen.what == "cifar10":
            row = {**cifar10(job, chosen.data), "label": chosen.label}
        else:
            row = {"digits": digits, "dropout": dropout}[chosen.what](job)
        row = {"experiment": chosen.what, "network": kind, "rate": rate, "seed": seed, **row}
        write_atomically(file, json.dumps(row).encode())
        keep(folder)
        print(kind, rate, seed, *(f"{k} {row[k]}" for k in ("held_out", "held_out_again")),
              f"{row['seconds']:.0f} s", flush=True)  # fmt: skip
    keep(folder)


def keep(folder: Path) -> None:
    """Write the record of all trainings that lie in the folder."""
    rows = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*-*.json"))]
    facts: Row = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": applications.machine(),
        "made by": "python -m tutorials.student_and_teacher",
    }
    for row in rows:
        facts.setdefault(row.pop("experiment"), []).append(row)
    write_atomically(RECORD, json.dumps(facts, separators=(",", ":")).encode() + b"\n")


def recorded() -> Row:
    """What was measured: {"digits": rows, "dropout": rows, "cifar10": rows}."""
    return json.loads(RECORD.read_text("utf-8"))


if __name__ == "__main__":
    main()
