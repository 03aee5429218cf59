"""The folder of a training run: what lies in it, and that only one training writes there.

checkpoint.npz   after the last epoch: from here the run goes on
best.npz         the same after the best epoch so far
history.jsonl    a line of JSON for each epoch
.lock            who is training into this folder, while it lasts
"""

from __future__ import annotations

import json
import os
import platform
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .. import backend
from ..check import PathLike, checked
from ..data import Dataset
from ..errors import CheckpointError
from ..files import acquire, cannot_write, release, remove, user_path, write_atomically
from ..nn.module import Module
from ..optim import Optimizer, Schedule
from ..recipe import recipe_of
from .checkpoint import check_kinds, load_checkpoint, naming, save_checkpoint
from .distributed import ProcessGroup
from .preflight import check_schedule, digest, seen

CHECKPOINT, BEST, HISTORY, LOCK = "checkpoint.npz", "best.npz", "history.jsonl", ".lock"
LEFTOVER = re.compile(r"\.(checkpoint\.npz|best\.npz|history\.jsonl)\.\d+(-[0-9a-f]{8}\.tmp)?")
Record = dict[str, Any]


class RunFolder:
    """A folder that this training has for itself from `open` to `close`.

    Without a folder nothing is written; of the processes of a `group` the first writes for all.
    """

    def __init__(self, folder: PathLike | None, group: ProcessGroup) -> None:
        self.group = group
        self.writes = folder is not None and group.rank == 0
        self.folder = Path() if folder is None else user_path(folder)
        self.path, self.lock = self.folder / CHECKPOINT, self.folder / LOCK
        self.is_there = folder is not None
        self.file: int | None = None
        self.made = False
        self.facts: dict[str, Any] = {}  # of every checkpoint: its recipe, and of which images

    @contextmanager
    def opened(self, resume: bool) -> Iterator[RunFolder]:
        """Open inside a `with` block."""
        self.open(resume)
        try:
            yield self
        finally:
            self.close()

    def open(self, resume: bool) -> None:
        """Lock the folder. Raises `CheckpointError` where another training writes there, or did."""
        self.group.from_first(lambda: self._open(resume) if self.writes else None)

    def _open(self, resume: bool) -> None:
        try:
            self.made = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file = acquire(self.lock)
            os.ftruncate(self.file, 0)
            os.write(self.file, f"process {os.getpid()} on {platform.node()}\n".encode())
        except BlockingIOError:
            who = "its process"
            with suppress(OSError):
                who = self.lock.read_text(errors="replace").strip() or who
            raise CheckpointError(
                f"{self.folder}: another training writes there now ({who} holds {LOCK}); wait for "
                "its end, or choose another folder"
            ) from None
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        for file in self.folder.iterdir():  # of a run that was killed while it wrote
            if LEFTOVER.fullmatch(file.name):
                remove(file)
        if self.path.exists() and not resume:
            self.close()
            raise ValueError(
                f"fit: {self.path} is there already, of an earlier run; go on with resume=True, or "
                "choose another folder"
            )

    def close(self) -> None:
        """Let others write there."""
        if self.file is None:
            return
        release(self.lock, self.file)
        self.file = None
        if self.made:
            with suppress(OSError):
                self.folder.rmdir()  # where nothing was written

    def begin(
        self,
        model: Module,
        optimizer: Optimizer,
        schedule: Schedule,
        epochs: int,
        train: Dataset,
        tests: Mapping[str, Dataset],
        transform: Any,
        recipe: dict[str, Any] | None,
    ) -> list[Record]:
        """The history so far, with everything brought to where it ends, alike on all processes."""
        facts = recipe_of(model, train, transform, recipe) if self.writes else {}
        self.facts = {**facts, "digest": digest(train) if self.is_there else ""}
        if self.writes:
            self.facts["tested"] = {name: digest(data) for name, data in tests.items()}
            self.facts["seen"] = seen(train)  # so that a test can say what it has in common
        state = self.last()
        history = [] if state is None else self._resume(state, tests, model, optimizer, schedule)
        check_schedule(schedule, len(history), epochs)
        if state is None or state.get("recipe") != json.loads(json.dumps(facts.get("recipe"))):
            # so that a run killed in its first epoch can be resumed too
            self.save(history, model, optimizer, schedule)
        self.group.broadcast([*model.parameters(), *model.buffers()])
        return history

    def _resume(
        self,
        state: dict[str, Any],
        tests: Mapping[str, Dataset],
        model: Module,
        optimizer: Optimizer,
        schedule: Schedule,
    ) -> list[Record]:
        before = state.get("digest")  # older checkpoints have none
        if before is not None and before != self.facts["digest"]:
            raise CheckpointError(
                f"{self.path}: was trained on other images or labels than train has; go on with "
                "the same data, or begin a new run in another folder"
            )
        tested = state.get("tested")
        if self.writes and tested is not None and tested != self.facts["tested"]:
            warnings.warn(
                f"{self.path}: the images to test on are others than those of the epochs before, "
                "so their accuracies do not compare, and the best epoch may be no better",
                stacklevel=4,
            )
        history = take_over(self.path, state, model, optimizer, schedule)
        part = judges(tests)
        if not all(f"{part}_accuracy" in record for record in history):
            other, how = ("test", "without") if part == "validation" else ("validation", "with")
            raise CheckpointError(
                f"{self.path}: its epochs were judged on the {other} images; go on as it was "
                f"begun, {how} validation"
            )
        self.keep_best(history)
        return history

    def last(self) -> dict[str, Any] | None:
        """The checkpoint from which to go on, if there is one, on all processes."""
        if not self.is_there:
            return None
        return self.group.from_first(
            lambda: load_checkpoint(self.path) if self.path.exists() else None
        )

    def save(
        self, history: Sequence[Record], model: Module, optimizer: Optimizer, schedule: Schedule
    ) -> None:
        """Write all that is needed to go on from here, and keep it as the best if it is that."""
        if not self.writes:
            return
        # first the history, so that it is never behind a finished run
        lines = "".join(json.dumps(record) + "\n" for record in history)
        write_atomically(self.folder / HISTORY, lines.encode())
        save_checkpoint(
            self.path,
            model.state_dict(),
            optimizer.state_dict(),
            schedule=schedule.state_dict(),
            random=backend.random_state(),
            history=history,
            **self.facts,
        )
        self.keep_best(history)

    def keep_best(self, history: Sequence[Record]) -> None:
        """Let best.npz be the checkpoint if its epoch is the best of the history."""
        best = self.folder / BEST
        if self.writes and history and best_epoch(history) is history[-1]:
            content = self.path.read_bytes()
            if not best.exists() or best.read_bytes() != content:
                write_atomically(best, content)


# ----- Back to where a checkpoint left it -----


@checked
def restore(
    path: PathLike,
    model: Module,
    optimizer: Optimizer,
    schedule: Schedule,
    group: ProcessGroup | None = None,
) -> list[Record]:
    """Bring everything to where a checkpoint left it, and return the history so far.

    Of the processes of a `group` the first reads it for all. Raises `CheckpointError`, which names
    the file and the entry, where the checkpoint does not fit.
    """
    path = user_path(path)
    state = (group or ProcessGroup()).from_first(lambda: load_checkpoint(path))
    return take_over(path, state, model, optimizer, schedule)


def take_over(
    path: Path, state: dict[str, Any], model: Module, optimizer: Optimizer, schedule: Schedule
) -> list[Record]:
    """The same, of a checkpoint that was read already."""
    with naming(path):
        check_history(path, state["history"], state["schedule"]["epoch"])
        check_kinds(path, "model", state["model"], model.state_dict())
        check_kinds(path, "optimizer", state["optimizer"], optimizer.state_dict())
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        backend.set_random_state(state["random"])
    return list(state["history"])


# ----- The records of a history -----


def best_epoch(history: Sequence[Record]) -> Record:
    """The record of the epoch with the highest accuracy, and of those with the lowest loss.

    That is on the validation images where there are any, else on the test images.
    """
    part = chosen_by(history)
    return min(history, key=lambda r: (-r[f"{part}_accuracy"], r[f"{part}_loss"]))


def chosen_by(history: Sequence[Mapping[str, Any]]) -> str:
    """On which images epochs are judged, and the best is chosen: "validation" or "test"."""
    return "validation" if all("validation_accuracy" in r for r in history) else "test"


def judges(tests: Mapping[str, Dataset]) -> str:
    """Which of these datasets judges an epoch: the validation images, where there are any."""
    return "validation" if "validation" in tests else "test"


def describe(record: Record) -> str:
    """What one line says of an epoch."""
    text = f"loss {record['train_loss']:.4f}"
    for name in ("train", "validation", "test"):
        if f"{name}_accuracy" in record:
            text += f"  {name} {100 * record[f'{name}_accuracy']:.1f} %"
    if record["columns"]:
        columns = " ".join(f"{100 * accuracy:.1f}" for accuracy in record["columns"])
        text += f"  columns {columns}"
    return text


def check_history(path: Path, history: Any, epoch: Any) -> None:
    """Refuse a history that is not a record for each epoch up to `epoch`, the schedule's."""
    if not (isinstance(history, list) and all(isinstance(record, dict) for record in history)):
        raise CheckpointError(f"{path}: history should be a list of records")
    if [record.get("epoch") for record in history] != list(range(1, len(history) + 1)):
        raise CheckpointError(f"{path}: history does not count its epochs from 1 to {len(history)}")
    part = chosen_by(history)
    for record in history:
        for key in ("train_loss", f"{part}_loss", f"{part}_accuracy"):
            if not isinstance(record.get(key), (int, float)):
                raise CheckpointError(
                    f"{path}: history has no number {key} in epoch {record['epoch']}"
                )
    if len(history) != epoch:
        raise CheckpointError(
            f"{path}: history has {len(history)} epochs, its schedule is after epoch {epoch}"
        )
