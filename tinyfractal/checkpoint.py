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
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError

FORMAT = "tinyfractal checkpoint 1"
Arrays = dict[str, np.ndarray]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_checkpoint(
    path: str | Path, model: Arrays, optimizer: dict[str, Any], **facts: Any
) -> None:
    """Write a checkpoint: state dictionaries, and facts that JSON can hold."""
    arrays: Arrays = {f"model/{name}": array for name, array in model.items()}
    arrays.update({f"optimizer/{name}": np.asarray(value) for name, value in optimizer.items()})
    text = json.dumps({"format": FORMAT, **facts})
    buffer = io.BytesIO()
    np.savez(buffer, facts=np.array(text), **arrays)  # type: ignore[arg-type]
    write_atomically(Path(path), buffer.getvalue())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote: {"model": {…}, "optimizer": {…}, and the facts}.

    Raises `CheckpointError` for a file that is missing, damaged or something else.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        facts = json.loads(str(found.pop("facts")))
        known = facts.pop("format", None)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such checkpoint") from error
    except (OSError, ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: this is not a complete tinyfractal checkpoint ({error})"
        ) from error
    if known != FORMAT:
        raise CheckpointError(f"{path}: expected the format {FORMAT!r}, got {known!r}")
    parts: dict[str, Any] = {"model": {}, "optimizer": {}, **facts}
    for name, array in found.items():
        part, _, rest = name.partition("/")
        if part not in ("model", "optimizer"):
            raise CheckpointError(f"{path}: unexpected entry {name!r}")
        parts[part][rest] = array
    return parts
