"""Checkpoints: a whole training run in one `.npz` file, safe to open and safe to lose power over.

The file holds named arrays ("model/…" for weights and buffers, "optimizer/…") and one JSON text
(epoch, history, schedule, random state, recipe). It is read without pickle, so a file from
a stranger can be wrong but cannot run code. It is written under a temporary name, brought to disk
and renamed, so that what has the right name is always complete.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError, DTypeError

FORMAT = "tinyfractal checkpoint 1"
Arrays = dict[str, np.ndarray]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_checkpoint(
    path: str | Path, model: Arrays, optimizer: dict[str, Any], **facts: Any
) -> None:
    """Write a checkpoint: state dictionaries, and facts that JSON can hold.

    Raises `DTypeError` for an array of Python objects, which only pickle could write.
    """
    arrays: Arrays = {f"model/{name}": array for name, array in model.items()}
    arrays.update({f"optimizer/{name}": np.asarray(value) for name, value in optimizer.items()})
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise DTypeError(f"save_checkpoint: {name} holds Python objects, not numbers")
    text = json.dumps({"format": FORMAT, "arrays": len(arrays), **facts})
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.array(text), **arrays)  # type: ignore[arg-type]
    write_atomically(Path(path), buffer.getvalue())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote: {"model": {…}, "optimizer": {…}, and the facts}.

    Raises `CheckpointError` for a file that is missing, damaged or something else.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name.removesuffix(".npy"): _read(archive, name) for name in archive.namelist()}
        facts = json.loads(str(found.pop("facts")))
        known, count = facts.pop("format"), facts.pop("arrays", None)
        if known == FORMAT and count != len(found):
            raise ValueError(f"{len(found)} of {count} arrays are there")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such checkpoint") from error
    except Exception as error:
        # Damaged bytes make zipfile, NumPy and JSON raise a dozen types with nothing in common.
        why = f"no entry {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
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
        parts[part][rest] = array
    return parts


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array, all its bytes checked: np.load trusts a damaged header that asks for fewer."""
    return np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
