"""Chapter 12's longer runs, measured once and kept in records/article.json.

    TINYFRACTAL_DATA=data python -m tutorials.article

With CIFAR-10 in the data folder it trains a plain network, a ResNet and a FractalNet of 12 layers
and as many weights; and on the digits with false labels it repeats, with more seeds and for longer,
what the chapter does with five. Choices are made on held-out images; test images are used once.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinyfractal as tf
from tinyfractal.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parent))
import applications

SEEDS = (0, 1, 2, 3, 4)
PHOTOGRAPH_SEEDS = (0, 1, 2)
RATES = (0.025, 0.05)  # learning rates, of which each network takes the better
COMMON = Recipe(
    "cifar10", columns=3, channels=(8, 16, 32), nesterov=False, weight_decay=0.0, epochs=6,
    batch_size=50, shift=0,
)  # fmt: skip
NETWORKS = {  # 12 convolutions on the longest path, and as many weights
    "plain": replace(COMMON, model="plain", channels=(10, 20, 40)),
    "ResNet": replace(COMMON, model="resnet", channels=(10, 20, 40)),
    "FractalNet": COMMON,
}


# ----- CIFAR-10: 2,000 images to learn from, averaged to 16×16 pixels -----


def halved(data: tf.data.Dataset, first: int, count: int) -> tf.data.Dataset:
    """Some of the images, each 2×2 pixels averaged: (N, 32, 32, 3) → (N, 16, 16, 3)."""
    some = data[np.arange(first, first + count)]
    images = some.images.reshape(count, 16, 2, 16, 2, 3).mean(axis=(2, 4)).astype(np.uint8)
    return tf.data.Dataset(images, some.labels, some.classes, "CIFAR-10, 16×16")


def photographs() -> dict[str, Any]:
    """Learning rates chosen on held-out images, then three seeds of each network."""
    train, test = applications.load("cifar10")
    learn, held_out, asked = halved(train, 0, 2000), halved(train, 2000, 500), halved(test, 0, 2000)
    chosen, tried = {}, {}
    for label, recipe in NETWORKS.items():
        found = {
            rate: applications.compare(
                "article",
                {label: replace(recipe, lr=rate, epochs=3)},
                learn,
                held_out,
                held_out,
                (9,),
            )[0]["history"][-1]["held_out"]
            for rate in RATES
        }
        tried[label] = {str(rate): accuracy for rate, accuracy in found.items()}
        chosen[label] = replace(recipe, lr=max(found, key=lambda rate: found[rate]))
        print(label, tried[label], flush=True)
    rows = []
    for seed in PHOTOGRAPH_SEEDS:
        rows += applications.compare("article", chosen, learn, held_out, asked, (seed,))
        print({row["network"]: row["accuracy"] for row in rows[-3:]}, flush=True)
    sizes = dict(zip(("train", "held_out", "test"), map(len, (learn, held_out, asked))))
    return {"rows": rows, "learning_rates": tried, "images": sizes}


# ----- The digits, with 40 % of the labels false -----


def lie(drop_path: float, dropout: float, seed: int, epochs: int = 30) -> dict[str, float]:
    """One run of the chapter: the share of lies repeated, accuracy on held-out and test images."""
    n, parts = 200, tf.data.load_digits()
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    rng = np.random.default_rng([seed, n])
    order = rng.permutation(len(images))
    lies = rng.random(n) < 0.4
    given = (labels[order[:n]] + lies * rng.integers(1, 10, size=n)) % 10
    train = tf.data.Dataset(images[order[:n]], given, parts[0].classes, "some digits")
    test, held_out = (
        tf.data.Dataset(images[some], labels[some], train.classes, "other digits")
        for some in (order[n : n + 700], order[n + 700 : n + 1000])
    )
    standardize = tf.data.Standardize.fit(train.images)
    tf.seed(seed)
    net = tf.FractalNet(1, 10, 2, (8, 16), drop_path=drop_path, dropout=dropout)
    optimizer = tf.optim.SGD(net.parameters(), 0.15, momentum=0.9)
    schedule = tf.optim.CosineLR(optimizer, epochs)
    loader = tf.data.Loader(train, 50, shuffle=True, seed=seed, transform=standardize)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            tf.cross_entropy(net(tf.Tensor(x)), y).backward()
            optimizer.step()
        schedule.step()
    said = tf.train.predict(net, train.images, standardize).argmax(axis=1)
    return {
        "seed": seed,
        "repeated": float((said == given)[lies].mean()),
        "held_out": tf.train.evaluate(net, held_out, standardize).accuracy,
        "test": tf.train.evaluate(net, test, standardize).accuracy,
    }


def lies() -> dict[str, Any]:
    """Rates chosen on held-out digits; twenty seeds instead of five; and longer training."""
    rates = {
        "drop-path": {p: (p, 0.0) for p in (0.05, 0.15, 0.3)},
        "dropout": {p: (0.0, p) for p in (0.05, 0.1, 0.2, 0.3)},
    }
    tuning = {
        kind: {
            str(p): float(np.mean([lie(*both, seed)["held_out"] for seed in (100, 101, 102)]))
            for p, both in some.items()
        }
        for kind, some in rates.items()
    }
    print(tuning, flush=True)
    best = {kind: max(found, key=lambda p: found[p]) for kind, found in tuning.items()}
    twenty = {
        "drop-path": [lie(float(best["drop-path"]), 0.0, seed) for seed in range(20)],
        "dropout": [lie(0.0, float(best["dropout"]), seed) for seed in range(20)],
    }
    print(twenty, flush=True)
    longer = [lie(float(best["drop-path"]), 0.0, seed, epochs=100) for seed in SEEDS]
    print(longer, flush=True)
    return {
        "tuning": tuning,
        "chosen": best,
        "held_out": 300,
        "twenty": twenty,
        "100 epochs": longer,
    }


if __name__ == "__main__":
    found = photographs()
    applications.record("article", found.pop("rows"), **found, lies=lies())
