"""Checkpoints: a whole training run in one `.npz` file, safe to open and safe to lose power over.

The file holds named arrays ("model/…" for weights and buffers, "optimizer/…") and one JSON text
(epoch, history, schedule, random state, recipe). It is read without pickle, so a file from
a stranger can be wrong but cannot run code. It is written under a temporary name, brought to disk
and renamed, so that what has the right name is always complete.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..check import PathLike, checked
from ..errors import CheckpointError, DataError, DTypeError
from ..files import user_path, write_atomically
from ..files.npz import read_npz
from ..guards.states import misfit

FORMAT = "tinyfractal checkpoint 1"
Arrays = dict[str, np.ndarray]


# ----- Writing -----


@checked
def save_checkpoint(
    path: PathLike, model: Mapping[str, Any], optimizer: Mapping[str, Any], **facts: Any
) -> None:
    """Write a checkpoint: state dictionaries, and facts that JSON can hold.

    Raises `DTypeError` for an array that does not hold real numbers, `CheckpointError` for one
    that holds NaN or infinity, `OSError` where the system cannot write.
    """
    arrays: Arrays = {f"model/{name}": np.asarray(array) for name, array in model.items()}
    arrays.update({f"optimizer/{name}": np.asarray(value) for name, value in optimizer.items()})
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise DTypeError(f"save_checkpoint: {name} holds Python objects, not numbers")
        check_numbers("save_checkpoint", name, array, DTypeError)
    text = json.dumps({"format": FORMAT, "arrays": len(arrays), **facts}, allow_nan=False)
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.array(text), **arrays)  # type: ignore[arg-type]
    write_atomically(user_path(path), buffer.getbuffer())


def check_numbers(
    where: object, name: str, array: np.ndarray, of_type: type[Exception] = CheckpointError
) -> None:
    """Refuse an array of something else than real, finite numbers."""
    if array.dtype.kind not in "biuf":
        raise of_type(f"{where}: {name} should hold real numbers, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise CheckpointError(f"{where}: {name} holds NaN or infinity")


# ----- Reading -----


@checked
def load_checkpoint(path: PathLike) -> dict[str, Any]:
    """What `save_checkpoint` wrote: {"model": {…}, "optimizer": {…}, and the facts}.

    Raises `CheckpointError` for a file that is missing, damaged or something else, and for arrays
    of anything but finite numbers.
    """
    path = user_path(path)
    try:
        os.stat(path)
        found = read_npz(path)
        facts = _read_json(str(found.pop("facts")))
        known, count = facts.pop("format"), facts.pop("arrays", None)
        if known == FORMAT and count != len(found):
            raise ValueError(f"{len(found)} of {count} arrays are there")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{path}: there is no such checkpoint") from error
    except Exception as error:
        # Damaged bytes make NumPy and JSON raise a dozen types with nothing in common.
        why = f"no entry {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        why = why.removeprefix(f"{path}: ") if isinstance(error, DataError) else why
        raise CheckpointError(
            f"{path}: this is not a complete tinyfractal checkpoint ({why or type(error).__name__})"
        ) from error
    if known != FORMAT:
        raise CheckpointError(f"{path}: expected the format {FORMAT!r}, got {known!r}")
    parts: dict[str, Any] = {**facts, "model": {}, "optimizer": {}}
    for name, array in found.items():
        part, _, rest = name.partition("/")
        if part not in ("model", "optimizer"):
            raise CheckpointError(f"{path}: unexpected entry {name!r}")
        check_numbers(path, name, array)
        parts[part][rest] = array
    return parts


def _read_json(text: str) -> dict[str, Any]:
    """A JSON dictionary; its numbers are finite."""

    def number(text: str) -> float:
        if not math.isfinite(float(text)):
            raise ValueError(f"the number {text} is not finite")
        return float(text)

    facts = json.loads(text, parse_float=number, parse_constant=number)
    if not isinstance(facts, dict):
        raise ValueError("the facts are no dictionary")
    return facts


@contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Turn what goes wrong inside the `with` block into a `CheckpointError` that names the file."""
    try:
        yield
    except KeyError as error:
        raise CheckpointError(f"{path}: the checkpoint has no entry {error}") from error
    except (TypeError, ValueError) as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise CheckpointError(f"{path}: {error}") from error


def check_kinds(
    path: PathLike, part: str, saved: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
    """Refuse an array that has whole numbers where `own` has others, or leaves their range.

    Numbers by themselves, such as a learning rate of 1, may be written either way.
    """
    for name, value in own.items():
        if name not in saved or np.ndim(value) == 0:
            continue
        array, dtype = saved[name], np.asarray(value).dtype
        wrong = misfit(np.asarray(value), array)
        if wrong == "type":
            kind = "whole" if dtype.kind in "iu" else "decimal"
            raise CheckpointError(
                f"{path}: {part}/{name} should hold {kind} numbers ({dtype}), got {array.dtype}"
            )
        if wrong == "values":
            raise CheckpointError(f"{path}: {part}/{name} is too large for {dtype}")
