"""Somebody else's images: a file as MedMNIST publishes them, through the command line."""

import re

import numpy as np
import pytest

from tinyfractal import cli
from tinyfractal.cli import main


def tissue(rng, count):
    """Noisy colour images (N, 12, 12, 3); those of class 1 have a reddish spot somewhere."""
    images = rng.integers(90, 150, (count, 12, 12, 3), np.uint8)
    labels = rng.integers(0, 2, (count, 1), np.uint8)
    for i in np.flatnonzero(labels):
        row, column = rng.integers(0, 9, 2)
        images[i, row : row + 4, column : column + 4, 0] += 100
    return images, labels


def accuracy(lines):
    return float(re.search(r"whole network .* (\S+) %", lines).group(1))


@pytest.fixture
def medical(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.train, "_draw_curves", lambda *_: None)
    rng = np.random.default_rng(0)
    parts = {"train": 600, "val": 10, "test": 100}
    arrays = {}
    for part, count in parts.items():
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = tissue(rng, count)
    np.savez("tissuemnist.npz", **arrays)
    return arrays


def test_a_medmnist_file_is_learned_and_its_images_are_answered(medical, capsys):
    options = "--epochs 1 --columns 2 --channels 8,8 --batch-size 10 --lr 0.05 --drop-path 0"
    assert main(["train", "--data", "tissuemnist.npz", *options.split()]) == 0
    out = capsys.readouterr().out
    assert "540 training, 60 validation and 100 test images of 12×12×3" in out
    assert "writing to runs/tissuemnist-fractal" in out.replace("\\", "/")
    assert accuracy(out) >= 95
    assert main(["evaluate", "runs/tissuemnist-fractal"]) == 0
    assert accuracy(capsys.readouterr().out) == accuracy(out)


def test_a_picture_of_it_is_answered(medical, capsys):
    image = pytest.importorskip("PIL.Image")
    for kind in (0, 1):
        (first, *_) = np.flatnonzero(medical["test_labels"][:, 0] == kind)
        image.fromarray(medical["test_images"][first]).save(f"{kind}.png")
    options = "--epochs 2 --columns 2 --channels 8,8 --batch-size 10 --lr 0.05 --drop-path 0"
    assert main(["train", "--data", "tissuemnist.npz", *options.split(), "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["predict", "run", "0.png", "1.png"]) == 0
    answers = re.findall(r"^(\d)\.png: (\d) ", capsys.readouterr().out, re.MULTILINE)
    assert answers == [("0", "0"), ("1", "1")]
