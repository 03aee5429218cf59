"""`evaluate` and `predict`: use what was trained."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Dataset, read_image
from ..data.archive import Tree
from ..data.dataset import to_unit
from ..data.images import decode_image
from ..data.sound import decode_sound
from ..draw.confusion import confusion_matrix, confusion_text
from ..errors import DataError
from ..files import open_file, reading, user_path, write_atomically
from ..nn.module import Module
from ..recipe import Recipe
from ..train import columns_of, evaluate, predict
from ..train.distributed import ProcessGroup
from ..train.load import checkpoint_file, load_network
from .datasets import add_folder_options, is_of_files, load_test
from .options import in_words, path, printable, say

BATCH = 250  # images at a time
MOST_NAMED = 10  # files that were answered wrongly


def folder_of(checkpoint: Path) -> Path:
    """The folder of a checkpoint, which may be named by its folder."""
    return checkpoint if checkpoint.is_dir() else checkpoint.parent


# ----- evaluate -----


def table(
    model: Module,
    test: Any,
    recipe: Recipe,
    group: ProcessGroup | None = None,
    whole: tuple[float, float] | None = None,
) -> str:
    """The whole network and each column: depth, parameters, accuracy and time per image.

    `whole`: accuracy and seconds per image of the whole network, where they are known.
    """
    stages = len(recipe.channels)
    rows = [("whole network", recipe.stage_depth * stages, model)]
    rows += [(f"column {c}", 2**c * stages, column) for c, column in enumerate(columns_of(model))]
    lines = [f"{'':15}depth  parameters  test accuracy  ms per image"]
    for name, depth, part in rows:
        if whole is None or part is not model:
            result = evaluate(part, test, recipe.transform(), group=group)
            accuracy, seconds = result.accuracy, result.seconds
        else:
            accuracy, seconds = whole
        lines.append(
            f"{name:15}{depth:5d}{part.count_parameters():12,}{100 * accuracy:13.2f} %"
            f"{1000 * seconds:14.3f}"
        )
    return "\n".join(lines)


def command_evaluate(args: argparse.Namespace) -> None:
    """Test a checkpoint on the test images of its data set: accuracy, confusions, mistakes."""
    model, recipe = load_network(args.checkpoint)
    test, files, seen = load_test("evaluate", recipe, args, checkpoint_file(args.checkpoint))
    place = Path(args.out) if args.out else folder_of(Path(args.checkpoint))
    place.mkdir(parents=True, exist_ok=True)  # before the work, so that a wrong name is said first
    start = time.perf_counter()
    answers, certain = _answers(model, recipe, test.images)
    seconds = (time.perf_counter() - start) / len(test)
    accuracy = float((answers == test.labels).mean())
    if files:
        print(f"{printable(test.name)}: {len(files):,} files{_trained_on(seen)}\n")
    print(table(model, test, recipe, whole=(accuracy, seconds)))
    classes = list(recipe.classes)
    print(f"\n{confusion_text(test.labels, answers, classes)}")
    if files:
        print(f"\n{_surest_mistakes(test, files, answers, certain, classes)}")
    if importlib.util.find_spec("matplotlib") is None:
        print("\nno pictures: pip install 'tinyfractal[plot]' to draw them")
    else:
        print()
        for name, figure in _pictures(test, answers, certain, classes):
            print(f"{name}: {printable(write_beside(figure, place / f'{name}.png'))}")


def _trained_on(seen: int | None) -> str:
    """What a network knows by heart tests nothing."""
    if seen is None:
        return ""
    if not seen:
        return ", none of them trained on"
    return f", {seen:,} of them TRAINED ON, so these numbers flatter it; take new ones"


def _surest_mistakes(
    test: Dataset,
    files: Sequence[str],
    answers: np.ndarray,
    certain: np.ndarray,
    classes: list[str],
) -> str:
    """The files that were answered wrongly, the surest first."""
    wrong = np.flatnonzero(answers != test.labels)
    if not len(wrong):
        return f"no mistakes among {len(test):,} files"
    shown = wrong[np.argsort(-certain[wrong], kind="stable")][:MOST_NAMED]
    wide = max(len(printable(files[i])) for i in shown)
    lines = [f"surest of {len(wrong):,} mistakes:", ""]
    for i in shown:
        answer = f"{classes[answers[i]]} {100 * certain[i]:.1f} %"
        lines.append(f"{printable(files[i]):{wide}}  {answer}, truth {classes[test.labels[i]]}")
    return "\n".join(lines)


def _answers(model: Module, recipe: Recipe, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class of each image, and its probability: (N,) and (N,)."""
    parts = [
        predict(model, images[i : i + BATCH], recipe.transform())
        for i in range(0, len(images), BATCH)
    ]
    p = np.concatenate(parts)
    return p.argmax(axis=1), p.max(axis=1)


def _pictures(
    test: Dataset, answers: np.ndarray, certain: np.ndarray, classes: list[str]
) -> Iterator[tuple[str, Any]]:
    """(what it shows, the figure): the confusion matrix, and the mistakes that are most certain."""
    from ..draw import plot

    right = answers == test.labels
    if len(classes) <= plot.MOST_CLASSES:
        matrix = confusion_matrix(test.labels, answers, len(classes))
        title = (
            f"{printable(test.name)}: {100 * right.mean():.2f} % of {len(test):,} test images right"
        )
        yield "confusion", plot.plot_confusion(matrix, classes, title)
    if not right.all() and test.shape[2] in (1, 3):
        yield (
            "mistakes",
            plot.plot_mistakes(test.images, test.labels, answers, classes, probabilities=certain),
        )


def write_beside(figure: Any, path: Path) -> Path:
    """Save a figure under a name that is free: confusion.png, or the first of -2, -3, … that is.

    Where the very same picture is there already, that is the one.
    """
    from ..draw.sheet import encoded

    content, free = encoded(figure, path.suffix), path
    for number in itertools.count(2):
        if not free.exists():
            write_atomically(free, content)
        if free.is_file() and free.read_bytes() == content:
            break
        free = path.with_stem(f"{path.stem}-{number}")
    return free


# ----- predict -----


def command_predict(args: argparse.Namespace) -> int:
    """Say what is in some images."""
    model, recipe = load_network(args.checkpoint)
    asked = any(name.startswith("test:") for name in args.images)
    test = (
        load_test("predict", recipe, args, checkpoint_file(args.checkpoint)).data if asked else None
    )
    names = [file for name in args.images for file in _files(name)]
    wide = max(len(printable(name)) for name in names) + 1
    status = 0
    for start in range(0, len(names), BATCH):
        found: list[tuple[str, np.ndarray, int | None]] = []  # name, image, its class if known
        for name in names[start : start + BATCH]:
            try:
                if test is not None and name.startswith("test:"):
                    found.append((name, *_of_test_set(name, test)))
                else:
                    found.append((name, _read_image(name, recipe, args), None))
            except (DataError, OSError) as error:  # the other images are answered all the same
                say(in_words(error))
                status = 1
        if found:
            p = predict(model, np.stack([image for _, image, _ in found]), recipe.transform())
            for (name, _, truth), probabilities in zip(found, p):
                label = f"{printable(name)}:"
                print(f"{label:{wide}} {_answer(probabilities, recipe.classes, truth)}")
    return status


def _files(name: str) -> list[str]:
    """What is meant by a name: a folder is all the files in it."""
    if not os.path.isdir(name):
        return [name]
    with Tree(name) as tree:
        if not tree.names:
            raise DataError(
                f"predict: {name} is an empty folder; name pictures, or a folder of them"
            )
        return [os.path.join(name, file) for file in tree.names]


def _of_test_set(name: str, test: Dataset) -> tuple[np.ndarray, int]:
    """Image N of the test set, its numbers from 0 to 1, and its class; N stands in "test:N"."""
    number = name.removeprefix("test:")
    whole = number.isascii() and number.isdigit() and len(number) < 20
    if not (whole and int(number) < len(test)):
        raise DataError(f"predict: test:N takes N from 0 to {len(test) - 1}, got {name!r}")
    n = int(number)
    return to_unit(test.images[n]), int(test.labels[n])


def _answer(p: np.ndarray, classes: Sequence[str], truth: int | None) -> str:
    """The three most probable classes; or the first beside the truth, where that is known."""
    if truth is None:
        best = np.argsort(-p)[:3]
        return ", ".join(f"{classes[k]} {100 * p[k]:.1f} %" for k in best)
    wide, guess = max(map(len, classes)), int(np.argmax(p))
    sign = "✓" if guess == truth else "✗"
    share = f"{100 * p[guess]:.1f} %"
    return f"{classes[guess]:{wide}} {share:8} truth {classes[truth]:{wide}} {sign}"


def _read_image(name: str, recipe: Recipe, args: argparse.Namespace) -> np.ndarray:
    """One image (H, W, C) of numbers 0 to 1, of the size the model was trained on."""
    height, width, channels = recipe.shape
    try:
        if recipe.seconds is not None:
            return to_unit(decode_sound(name, (height, width, channels), recipe.seconds))
        if is_of_files(recipe) and not args.invert:  # photographs are expected to be large
            with (
                reading(name),
                open_file(user_path(name)) as stream,
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")  # as while the folder was read
                return to_unit(decode_image(name, stream, (height, width, channels)))
        return read_image(name, (height, width, channels), args.invert)
    except DataError as error:
        raise DataError(f"predict: {error}") from error


# ----- Options -----


def add_evaluate_options(command: argparse.ArgumentParser) -> None:
    """Which checkpoint, on which data."""
    command.add_argument(
        "checkpoint", type=path, metavar="CHECKPOINT", help="a checkpoint, or its folder"
    )
    command.add_argument(
        "--data", type=path, help="another data set of the same kind, or a folder of new pictures"
    )
    command.add_argument(
        "--out", type=path, metavar="FOLDER", help="for pictures (default: beside the checkpoint)"
    )
    add_folder_options(command)


def add_predict_options(command: argparse.ArgumentParser) -> None:
    """Which checkpoint, and the images."""
    command.add_argument(
        "checkpoint", type=path, metavar="CHECKPOINT", help="a checkpoint, or its folder"
    )
    command.add_argument(
        "images", type=path, metavar="IMAGE", nargs="+",
        help="a file, a folder of them, or test:N for image N of the test set, with the truth",
    )  # fmt: skip
    command.add_argument("--data", type=path, help="another data set for test:N")
    command.add_argument(
        "--invert", action="store_true", help="for dark ink on light paper; test:N stays as it is"
    )
    add_folder_options(command)


COMMANDS = ((command_evaluate, add_evaluate_options), (command_predict, add_predict_options))
