"""Does a saved state fit? What is missing, unexpected, misshapen or no number.

Modules, optimizers and checkpoints ask the same of every array (`misfit`); each says the answer in
words of its own, and before anything has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy

from ..backend import asnumpy
from ..check import Amount, Count, Size, need
from ..engine.tensor import Tensor
from ..errors import CheckpointError, ShapeError
from .optimizers import as_list


def misfit(own: Any, saved: Any) -> str:
    """What keeps a saved array from taking the place of `own`: "shape", "type", "values" or ""."""
    if saved.shape != own.shape:
        return "shape"
    if saved.dtype.kind not in ("iu" if own.dtype.kind in "iu" else "f"):
        return "type"
    with numpy.errstate(over="ignore"):
        return "" if numpy.isfinite(saved.astype(own.dtype)).all() else "values"


# ----- Of a module -----


class LeftOut(NamedTuple):
    """What `load_state_dict` did not use: names of the module, and names of the state."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def fitting(
    module: str, own: Mapping[str, Tensor], state: Mapping[str, Any], strict: bool
) -> tuple[dict[str, Any], LeftOut]:
    """The entries of a state as NumPy arrays, and what was left out: missing and unexpected names.

    A weight with several names needs one of them. Raises `CheckpointError` that lists everything
    that does not fit.
    """
    given = {name: as_array(state[name]) for name in own if name in state}
    there, missing = {own[name] for name in given}, dict[Tensor, str]()
    for name, tensor in own.items():
        if tensor not in there:
            missing.setdefault(tensor, name)
    left_out = LeftOut(list(missing.values()), [name for name in state if name not in own])
    problems = [f"missing: {name}" for name in left_out.missing_keys if strict]
    problems += [f"unexpected: {name}" for name in left_out.unexpected_keys if strict]
    if own and not given and not strict:
        problems.append(f"it has no entry of this module, such as {next(iter(own))}")
    first: dict[Tensor, str] = {}
    for name, array in given.items():
        problem = in_words(name, own[name], array)
        other = first.setdefault(own[name], name)
        if not problem and not numpy.array_equal(array, given[other]):
            problem = f"contradiction: {other} and {name} are one weight here, but differ"
        problems += [problem] if problem else []
    if problems:
        raise CheckpointError(
            f"load_state_dict: the state does not fit this {module}:\n  " + "\n  ".join(problems)
        )
    return given, left_out


def as_array(value: Any) -> Any:
    """The entry of a state as a NumPy array; None for what is none, such as a PyTorch tensor."""
    if type(value).__module__.partition(".")[0] == "torch":
        return None
    try:
        return asnumpy(value)
    except (TypeError, ValueError):  # lists of unequal length, say
        return None


def in_words(name: str, own: Tensor, saved: Any) -> str:
    """What to say of an entry of a module's state; nothing if it fits."""
    mend = "; a PyTorch state goes through from_torch(state) first"
    if saved is None:
        return f"no array: {name}{mend}"
    wrong = misfit(own, saved)
    if wrong == "shape":
        like_torch = saved.shape in (own.shape[::-1], own.shape[:1:-1] + own.shape[:2])
        told = f"wrong shape: {name} is {own.shape}, the state has {saved.shape}"
        return told + mend if like_torch else told
    if wrong == "type":
        return f"wrong type: {name} is {own.dtype}, the state has {saved.dtype}"
    return f"not finite: {name} has NaN or infinity in the state" if wrong else ""


Flattened = Mapping[str, tuple[Count, Count, Count]]  # {name of a Linear's weight: (H, W, C)}


def flattened_shapes(
    function: str, state: Mapping[str, Any], flattened: Flattened | None, axis: int
) -> Flattened:
    """{name: (H, W, C)} of what was flattened. Raises for one that no weight of the state fits."""
    for name, shape in (flattened or {}).items():
        need(function, f"flattened[{name!r}]", shape, tuple[Count, Count, Count])
        found = tuple(getattr(state.get(name), "shape", ()))
        if len(found) != 2 or found[axis] != prod(shape):
            raise ShapeError(
                f"{function}: flattened names {name!r} with (H, W, C) = {tuple(shape)}, which is a "
                f"weight of {prod(shape)} inputs; the state has {found or 'no such weight'}"
            )
    return flattened or {}


# ----- Of an optimizer and a schedule -----

UNSIGNED = ("steps", "counts", "lr", "initial_lr", "square")  # never below 0


def fitting_optimizer(
    name: str, own: Mapping[str, Any], state: Mapping[str, Any]
) -> dict[str, numpy.ndarray]:
    """A saved state as arrays. Raises `CheckpointError` unless it can take the place of `own`.

    An older state has a single rate, and a single count of steps for all parameters.
    """
    given = {key: asnumpy(value) for key, value in state.items()}
    if "steps" in given and "counts" not in given:
        given["counts"] = numpy.full(len(own["counts"]), given["steps"])
        given["initial_lr"] = own["initial_lr"]
    if "lr" in given and given["lr"].shape == ():
        given["lr"] = given["lr"].reshape(1)
    missing, unexpected = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    if missing or unexpected:
        raise CheckpointError(
            f"{name}: the saved state is of another optimizer or network: "
            f"missing {missing}, unexpected {unexpected}"
        )
    for key, value in own.items():
        check_entry(f"{name}: {key}", key, numpy.asarray(value), given[key])
    return given


def check_entry(where: str, key: str, own: numpy.ndarray, saved: numpy.ndarray) -> None:
    """Raise `CheckpointError` unless this saved entry can take the place of an optimizer's own."""
    if key.endswith("lr") and saved.dtype.kind in "iu":  # a rate of 1
        saved = saved.astype(own.dtype)
    wrong = misfit(own, saved)
    if wrong == "shape":
        raise CheckpointError(f"{where} has shape {own.shape}, the saved state {saved.shape}")
    if wrong == "type":
        raise CheckpointError(f"{where} has type {own.dtype}, the saved state {saved.dtype}")
    if wrong or (key.partition(".")[0] in UNSIGNED and (saved < 0).any()):
        raise CheckpointError(f"{where} has numbers in the saved state that cannot be right")


def check_schedule(name: str, state: Mapping[str, Any], groups: int) -> list[float]:
    """The rates in a schedule's state, one for each group. Raises `CheckpointError`."""
    try:
        need(name, "epoch", state["epoch"], Size)
        rates = as_list(state["base_lr"])
        need(name, "base_lr", rates, Sequence[Amount])
    except KeyError as error:
        raise CheckpointError(f"{name}: the saved state has no {error}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{error} in the saved state") from error
    if len(rates) != groups:
        raise CheckpointError(
            f"{name}: the saved state has {len(rates)} learning rates, the optimizer "
            f"{groups} groups"
        )
    return [float(rate) for rate in rates]
