"""Which data a command works on: a data set by its name, an .npz, or a folder of the user's own."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..data import Dataset, ImageFolder, load
from ..data.archive import Tree
from ..data.dataset import Seconds
from ..data.folder import find
from ..data.readers import READERS
from ..errors import DataError
from ..recipe import Recipe
from ..train.checkpoint import load_checkpoint, naming
from ..train.preflight import count_seen, digest
from .options import COUNT, a_number, printable

SIZE = 32  # a side of the pictures of a folder, unless the command says another


def is_folder(name: str) -> bool:
    """Whether `--data` means a folder of pictures or sounds, or a zip of one."""
    return name not in READERS and (os.path.isdir(name) or name.lower().endswith(".zip"))


def is_of_files(recipe: Recipe) -> bool:
    """Whether a network learned pictures from files, wherever these are now."""
    return recipe.data not in READERS and not recipe.data.endswith(".npz")


def add_folder_options(command: argparse.ArgumentParser, to_train: bool = False) -> None:
    """How a folder of pictures or sounds is read."""
    command.add_argument(
        "--skip-broken", action="store_true", help="a folder: leave out files that cannot be read"
    )
    if not to_train:
        return
    command.add_argument(
        "--size", type=COUNT, metavar="N", help=f"a folder: N×N pixels a picture (default: {SIZE})"
    )
    command.add_argument("--gray", action="store_true", help="a folder: without colours")
    command.add_argument(
        "--seconds",
        type=a_number(Seconds),
        help="a folder of sounds: how long each is (default: 1)",
    )


# ----- To train on -----


class Parts(NamedTuple):
    """What is trained on, what epochs are judged on, and what is tested on once, at the end."""

    train: Dataset
    validation: Dataset | None
    test: Dataset
    held_out: float = 0.0  # the part of the training images that became the validation images


def load_parts(recipe: Recipe, args: argparse.Namespace, quiet: bool = False) -> Parts:
    """The data of a recipe, some of it held out where the recipe says so.

    A folder may have pictures of its own for that, in val/; then nothing is held out. Where the
    recipe has a shape already, as when a run goes on, pictures are read in that.
    """
    if not is_folder(recipe.data):
        given = [f"--{name}" for name in ("size", "gray", "seconds") if getattr(args, name)]
        if given:
            raise ValueError(
                f"train: {given[0]} is for --data FOLDER; {recipe.data} has pictures of one size"
            )
        _remark_of_namesake(recipe.data, args.folder)
        train, test = load(recipe.data, args.folder)
        if not recipe.validation:
            return Parts(train, None, test)
        return Parts(*train.split(recipe.validation, recipe.seed), test, recipe.validation)
    photos = ImageFolder(
        recipe.data,
        args.size or SIZE,
        args.gray,
        recipe.seconds or args.seconds or 1.0,
        args.skip_broken,
        recipe.shape or None,  # type: ignore[arg-type]
        progress=not quiet,
    )
    if args.seconds and photos.kind != "sounds":
        raise ValueError(f"train: --seconds is for sounds; {recipe.data} has pictures")
    if photos.val is not None and getattr(args, "validation", None):
        raise ValueError(
            f"train: --validation {recipe.validation} holds out training images, but {recipe.data} "
            "has a val folder, which is used for that; leave out one of them"
        )
    if photos.val is not None or not recipe.validation:
        return Parts(photos.train, photos.val, photos.test)
    return Parts(*photos.hold_out(recipe.validation), photos.test, recipe.validation)


def _remark_of_namesake(name: str, folder: str) -> None:
    """Warn where a folder that lies here has the name of a data set."""
    its_own = os.path.join(folder, name)
    if not os.path.isdir(name) or (os.path.exists(its_own) and os.path.samefile(name, its_own)):
        return
    warnings.warn(
        f"{name}: taken for the data set of that name; your folder is --data "
        f"{os.path.join('.', name)}",
        stacklevel=2,
    )


# ----- To test on -----


class TestImages(NamedTuple):
    """Images with their classes, the file of each, where they have one, and how many of them the
    network was trained on; None where the checkpoint does not say."""

    data: Dataset
    files: list[str]
    seen: int | None = None


def load_test(
    command: str, recipe: Recipe, args: argparse.Namespace, checkpoint: Path
) -> TestImages:
    """The test images, of the data set the network was trained on or of `--data`.

    Of another folder than that it is its test folder, or everything where it has none.
    Raises `DataError` unless they have the shape and the classes that it was trained on.
    """
    name = args.data or recipe.data
    if not args.data and is_of_files(recipe) and not os.path.exists(name):
        raise DataError(
            f"{command}: the checkpoint was trained on {name}, which is not here; name it with "
            "--data, or start from the folder that it lies in"
        )
    if is_folder(name):
        return _of_folder(command, name, recipe, args, checkpoint)
    _, test = load(name, args.folder)
    if test.shape != recipe.shape or len(test.classes) != len(recipe.classes):
        raise DataError(
            f"{command}: the checkpoint was trained on images of {recipe.shape} in "
            f"{len(recipe.classes)} classes, {test.name} has {test.shape} in {len(test.classes)}"
        )
    if test.seconds != recipe.seconds:
        raise DataError(
            f"{command}: the checkpoint was trained on {_kind(recipe)}, {test.name} has others"
        )
    numbers = tuple(map(str, range(len(test.classes))))  # what an .npz calls them; it knows no more
    ours, theirs = tuple(recipe.classes), tuple(map(printable, test.classes))
    if ours != theirs and numbers not in (ours, theirs):
        a, b = next(pair for pair in zip(ours, theirs) if pair[0] != pair[1])
        raise DataError(
            f"{command}: the checkpoint was trained on other classes than {test.name} has, such as "
            f"{a!r} in the place of {b!r}"
        )
    return TestImages(test, [])


def _kind(recipe: Recipe) -> str:
    return "pictures" if recipe.seconds is None else f"sounds of {recipe.seconds:g} s"


def _of_folder(
    command: str, name: str, recipe: Recipe, args: argparse.Namespace, checkpoint: Path
) -> TestImages:
    shape: Any = recipe.shape
    if shape[2] not in (1, 3):
        raise DataError(
            f"{command}: the checkpoint was trained on images of {shape[2]} channels, which no "
            "picture has"
        )
    with Tree(name) as tree:
        kind, _, _ = find(tree)
    if (kind == "sounds") != (recipe.seconds is not None):
        raise DataError(
            f"{command}: the checkpoint was trained on {_kind(recipe)}, {name} has {kind}"
        )
    photos = ImageFolder(
        name, seconds=recipe.seconds or 1.0, skip_broken=args.skip_broken, shape=shape,
        classes=recipe.classes,
    )  # fmt: skip
    state = load_checkpoint(checkpoint)
    test, files = photos.everything, photos.files
    if photos.is_split or _is_trained_on(photos, recipe, state):
        test, files = photos.test, photos.files[len(photos.files) - len(photos.test) :]
    if not files:
        raise DataError(f"{command}: {name} has no {photos.kind} for testing")
    seen = state.get("seen")  # older checkpoints have none
    if seen is None:
        return TestImages(test, files)
    with naming(checkpoint):
        return TestImages(test, files, count_seen(seen, test))


def _is_trained_on(photos: ImageFolder, recipe: Recipe, state: Mapping[str, Any]) -> bool:
    """Whether the network was trained on a part of this folder, wherever it lies now.

    Warns where it was changed since: what is held out now may have been trained on.
    """
    known = state.get("digest")
    train = photos.hold_out(recipe.validation)[0] if recipe.validation else photos.train
    if known == digest(train):
        return True
    if not (os.path.exists(recipe.data) and os.path.samefile(photos.path, recipe.data)):
        return False
    warnings.warn(
        f"{photos.path}: has changed since the network was trained, so some of these test "
        f"{photos.kind} may have been trained on; put new ones into a folder of their own",
        stacklevel=2,
    )
    return True
