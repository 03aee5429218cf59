"""What a run has left behind, read again: its checkpoint, its recipe, its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..check import PathLike, checked
from ..errors import CheckpointError
from ..files import user_path
from ..nn.module import Module
from ..recipe import Recipe
from .checkpoint import check_kinds, load_checkpoint, naming
from .run import CHECKPOINT


@checked
def read_run(path: PathLike) -> tuple[dict[str, Any], Recipe]:
    """A checkpoint, or that of a run's folder, and the recipe in it.

    Raises `CheckpointError`, also where the recipe asks for a larger network than is there.
    """
    path = checkpoint_file(path)
    state = load_checkpoint(path)
    if not state.get("recipe"):
        reason = state.get("no_recipe", "fit was given none")
        raise CheckpointError(
            f"{path}: no recipe in it, so the network cannot be built again ({reason}); train with "
            "fit(…, recipe=Recipe(…).as_dict()), or load the weights in Python: "
            "model.load_state_dict(load_checkpoint(path)['model'])"
        )
    with naming(path):
        recipe = Recipe.from_dict(state["recipe"])
    arrays, numbers = len(state["model"]), sum(array.size for array in state["model"].values())
    needs = 5 * recipe.count_convolutions(), recipe.count_parameters()  # with batch norm's four
    if needs[0] > arrays or needs[1] > numbers:
        raise CheckpointError(
            f"{path}: its recipe needs a network of at least {needs[0]:,} arrays and {needs[1]:,} "
            f"numbers, in the file are {arrays:,} arrays and {numbers:,} numbers"
        )
    return state, recipe


@checked
def load_network(path: PathLike) -> tuple[Module, Recipe]:
    """The network of a checkpoint, in inference, and its recipe."""
    path = checkpoint_file(path)
    state, recipe = read_run(path)
    with naming(path):
        model = recipe.build_model()
        check_kinds(path, "model", state["model"], model.state_dict())
        model.load_state_dict(state["model"])
    return model.eval(), recipe


def checkpoint_file(path: PathLike) -> Path:
    """A checkpoint, which may be named by its folder."""
    path = user_path(path)
    return path / CHECKPOINT if path.is_dir() else path
