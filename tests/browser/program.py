"""What `test_pyodide.py` runs twice, here and in the browser's Python; it prints JSON."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

import tinyfractal as tf
from tinyfractal.data.cache import decoded
from tinyfractal.engine.definition import RULES


def losses(steps=8):
    """The losses of a FractalNet that learns digits, batches prepared ahead, drop-path and all."""
    tf.seed(0)
    net = tf.FractalNet(columns=3, channels=(4, 8)).astype(np.float64)
    optimizer = tf.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    images, _ = tf.data.load_digits()
    found = []
    for x, labels in tf.data.Loader(images[: 20 * steps], 20, shuffle=True, prefetch=2):
        loss = tf.cross_entropy(net(tf.Tensor(x.astype(np.float64))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def trained(folder):
    """Two epochs, in a folder, the second one resumed: the records of both."""
    train, test = (part[:60] for part in tf.data.load_digits())
    for resume in (False, True):
        tf.seed(0)
        net = tf.FractalNet(columns=2, channels=(4,))
        optimizer = tf.optim.SGD(net.parameters(), lr=0.1)
        schedule = tf.optim.CosineLR(optimizer, epochs=2)
        history = tf.train.fit(
            net, train, test, optimizer, schedule, epochs=1 + resume, batch_size=20,
            folder=folder, resume=resume, quiet=True,
        )  # fmt: skip
    return [record["train_loss"] for record in history]


def pictures(folder):
    """Two pictures, decoded into the cache, and then mapped from there: what each call gave."""
    os.environ["TINYFRACTAL_CACHE"] = str(folder / "cache")
    shape, found = (1, 2, 1), []
    for color in (7, 8):
        images, _, _ = decoded(
            folder, ["a", "b"], {}, shape, lambda i, c=color: np.full(shape, c + i, np.uint8)
        )
        found.append(images.ravel().tolist())
    return found


def refused(folder):
    """What a download from nowhere says."""
    try:
        tf.data.fetch("https://localhost:9/file", folder / "file", timeout=1)
    except tf.errors.DataError as error:
        return str(error)
    return None


with tempfile.TemporaryDirectory() as place:
    facts = {
        "info": tf.backend.info(),
        "rules": len(RULES),
        "losses": losses(),
        "trained": trained(Path(place) / "run"),
        "pictures": pictures(Path(place)),
        "refused": refused(Path(place)),
    }
print(json.dumps(facts))
