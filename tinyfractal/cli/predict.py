"""`evaluate` and `predict`: use what was trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import load_checkpoint
from ..data import load, read_image
from ..data.dataset import to_unit
from ..distributed import ProcessGroup
from ..errors import CheckpointError, DataError
from ..fractal import fractal_depth
from ..module import Module
from ..recipe import Recipe
from ..train import CHECKPOINT, columns_of, evaluate, predict


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Recipe]:
    """A checkpoint, or the one in a folder, and the recipe in it."""
    path = path / CHECKPOINT if path.is_dir() else path
    state = load_checkpoint(path)
    if not state.get("recipe"):
        raise CheckpointError(f"{path}: no recipe in it, so the network cannot be built again")
    return state, Recipe.from_dict(state["recipe"])


def load_model(checkpoint: str) -> tuple[Module, Recipe]:
    """The network of a checkpoint, in inference, and its recipe."""
    state, recipe = read_checkpoint(Path(checkpoint))
    model = recipe.build_model()
    model.load_state_dict(state["model"])
    return model.eval(), recipe


def table(model: Module, test: Any, recipe: Recipe, group: ProcessGroup | None = None) -> str:
    """The whole network and each column: depth, parameters, accuracy and time per image."""
    stages = len(recipe.channels)
    rows = [("whole network", fractal_depth(recipe.columns) * stages, model)]
    rows += [(f"column {c}", 2**c * stages, column) for c, column in enumerate(columns_of(model))]
    lines = [f"{'':15}depth  parameters  test accuracy  ms per image"]
    for name, depth, part in rows:
        result = evaluate(part, test, recipe.transform(), group=group)
        lines.append(
            f"{name:15}{depth:5d}{part.count_parameters():12,}{100 * result.accuracy:13.2f} %"
            f"{1000 * result.seconds:14.3f}"
        )
    return "\n".join(lines)


def command_evaluate(args: argparse.Namespace) -> None:
    """Test a checkpoint on the test images of its data set."""
    model, recipe = load_model(args.checkpoint)
    _, test = load(args.data or recipe.data, args.folder)
    if test.shape != recipe.shape or len(test.classes) != len(recipe.classes):
        raise DataError(
            f"evaluate: the checkpoint was trained on images of {recipe.shape} in "
            f"{len(recipe.classes)} classes, {test.name} has {test.shape} in {len(test.classes)}"
        )
    print(table(model, test, recipe))


def command_predict(args: argparse.Namespace) -> None:
    """Say what is in some images."""
    model, recipe = load_model(args.checkpoint)
    for name in args.images:
        image = _read_image(name, recipe, args)
        (p,) = predict(model, image[None], recipe.transform())
        best = np.argsort(-p)[: min(3, len(p))]
        guesses = ", ".join(f"{recipe.classes[k]} {100 * p[k]:.1f} %" for k in best)
        print(f"{name}: {guesses}")


def _read_image(name: str, recipe: Recipe, args: argparse.Namespace) -> np.ndarray:
    """One image (H, W, C) of numbers 0 to 1, of the size the model was trained on."""
    if not name.startswith("test:"):
        height, width, channels = recipe.shape
        try:
            return read_image(name, (height, width, channels), args.invert)
        except DataError as error:
            raise DataError(f"predict: {error}") from error
    _, test = load(recipe.data, args.folder)
    number = name.removeprefix("test:")
    if not number.isdecimal() or int(number) >= len(test):
        raise DataError(f"predict: test:N takes N from 0 to {len(test) - 1}, got {name!r}")
    return to_unit(test.images[int(number)])


# ----- Options -----


def add_evaluate_options(command: argparse.ArgumentParser) -> None:
    """Which checkpoint, on which data."""
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or its folder")
    command.add_argument("--data", help="another data set of the same kind")


def add_predict_options(command: argparse.ArgumentParser) -> None:
    """Which checkpoint, and the images."""
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or its folder")
    command.add_argument("images", metavar="IMAGE", nargs="+", help="a file, or test:N")
    command.add_argument("--invert", action="store_true", help="for dark ink on light paper")


COMMANDS = ((command_evaluate, add_evaluate_options), (command_predict, add_predict_options))
