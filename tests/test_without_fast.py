"""`fast/` can be deleted: what is left is the same library, slower."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import FractalNet, Tensor, data, optim
from tinyfractal.engine.definition import RULES

from .test_rooms import CORE

PACKAGE = Path(tf.__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RULES, reason="this is the library without `fast/`"),
]


def first_losses(steps=20):
    """The losses of the first steps on the digits, in float64, drop-path and all."""
    tf.seed(0)
    net = FractalNet(columns=3, channels=(4, 8)).astype(np.float64)
    optimizer = optim.SGD(net.parameters(), lr=0.05)
    images, _ = data.load("digits")
    losses = []
    for x, labels in data.Loader(images[: 20 * steps], batch_size=20, shuffle=True):
        loss = tf.cross_entropy(net(Tensor(x.astype(np.float64))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def run(folder, *command, **environment):
    """A program run in `folder`, with the package that lies there; what it printed."""
    ours = {"PYTHONPATH": str(folder), "TINYFRACTAL_BACKEND": "numpy", **environment}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, **ours},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The library and its tests, without `fast/`."""
    folder = tmp_path_factory.mktemp("without_fast")
    ignore = shutil.ignore_patterns("__pycache__", "fast")
    shutil.copytree(PACKAGE, folder / "tinyfractal", ignore=ignore)
    shutil.copytree(Path(__file__).parent, folder / "tests", ignore=ignore)
    shutil.copy(PACKAGE.parent / "pyproject.toml", folder)
    assert not (folder / "tinyfractal" / "fast").exists()
    return folder


def test_the_tests_of_the_core_pass_on_the_library_without_fast(copy):
    names = (
        "primitives", "engine", "tensor", "module", "nn", "fractal", "drop_path", "optim", "train",
        "checkpoint", "cli",
    )  # fmt: skip
    files = [f"tests/test_{name}.py" for name in names]
    printed = run(copy, "-m", "pytest", "-m", "not slow", "-p", "no:cacheprovider", *files)
    passed = re.search(r"(\d+) passed", printed)
    assert passed, printed
    assert int(passed[1]) > 500


def test_a_training_takes_the_same_steps_without_fast(copy):
    program = "from tests.test_without_fast import *; print(len(RULES), *first_losses())"
    fast = first_losses()
    with tf.reference():
        defined = first_losses()
    deleted = run(copy, "-c", program).split()
    switched_off = run(PACKAGE.parent, "-c", program, TINYFRACTAL_FAST="0").split()
    assert deleted[0] == switched_off[0] == "0"
    assert len(fast) == 20
    assert fast[-1] < 0.95 * fast[0]
    for other in (defined, *(np.array(found[1:], float) for found in (deleted, switched_off))):
        np.testing.assert_allclose(other, fast, rtol=1e-7)


def test_the_main_job_runs_without_fast(copy):
    """The whole of it: one seed, so a little less is asked than of three in `test_golden.py`."""
    printed = run(copy, "-m", "tinyfractal", "train", "--out", "run", TINYFRACTAL_FAST="1")
    accuracy = re.findall(r"validation (\d+\.\d) %", printed)
    assert len(accuracy) >= 25, printed
    assert float(accuracy[-1]) > 97


def test_the_core_knows_nothing_of_fast():
    """Neither an import of it nor its words: what makes it quick is told in `fast/` alone."""
    words = r"\b(bands?|slabs?|forks?|threadpoolctl|C order|batch_inside|order=\"K\")\b"
    found = []
    for place in [*CORE, "zoo.py"]:
        path = PACKAGE / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            text = file.read_text("utf-8")
            found += [f"{file.name}: {word}" for word in re.findall(words, text)]
    assert not found
    importers = [
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if file.parent.name != "fast"
        and re.search(r"(from|import) [\w.]*\bfast\b|\{__name__\}\.fast", file.read_text("utf-8"))
    ]
    assert importers == ["__init__.py"]
