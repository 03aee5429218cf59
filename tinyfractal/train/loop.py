"""Training: the loop that everything else was written for.

    for each epoch:
        for each batch:
            logits = model(images)
            loss = cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
        test, write a checkpoint

`fit` is that loop, with what a long run needs around it: progress, a history, and a checkpoint
after every epoch from which it goes on bit for bit, as if it had never stopped.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from .. import recipe as recipes  # the module: it imports this folder, too
from ..check import Amount, Count, PathLike, Probability, Size, checked
from ..data import Dataset, Loader
from ..engine.tensor import Tensor
from ..errors import CheckpointError
from ..files import user_path
from ..nn.module import Module
from ..ops import cross_entropy
from ..optim import Optimizer, Schedule, clip_grad_norm_
from ..progress import Progress
from . import preflight
from .checkpoint import check_kinds, load_checkpoint, naming
from .distributed import ProcessGroup, Reducer
from .inference import columns_of, evaluate, number
from .run import RunFolder, check_history


@checked
def fit(
    model: Module,
    train: Dataset,
    test: Dataset,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    epochs: Count | None = None,
    batch_size: Count = 100,
    transform: Callable | None = None,
    augment: Callable | None = None,
    seed: Size = 0,
    clip: Amount | None = None,
    label_smoothing: Probability = 0.0,
    prefetch: Size = 0,
    folder: PathLike | None = None,
    resume: bool = False,
    recipe: dict[str, Any] | None = None,
    quiet: bool = False,
    group: ProcessGroup | None = None,
    validation: Dataset | None = None,
    on_epoch: Callable | None = None,
) -> list[dict[str, Any]]:
    """Train `model` and return the history, a dictionary for each epoch.

    There are as many epochs as the schedule has, unless `epochs` says otherwise. `transform` and
    `augment` prepare the images (see `data.Loader`); `clip` limits the norm of the gradient. After
    each epoch the model is tested on `test`, and on `validation` if there is one. Then `on_epoch`,
    if given, is called with the record of the epoch; where it returns True, training ends early.

    With a `folder`, checkpoint.npz and history.jsonl are written there after each epoch,
    atomically; `resume` goes on from that checkpoint if there is one. best.npz is the checkpoint
    of the epoch with the highest accuracy: on `validation`, else on `test`, which it then flatters.
    `recipe` is kept in the checkpoint, so that the network can be built again; of the library's own
    networks `fit` knows it. `seed` decides the order of the images; what the model draws itself
    (dropout, drop-path) follows `tinyfractal.seed`. The processes of a `group` share each batch of
    `batch_size`; the first of them writes.

    What cannot work is refused before the first step. Raises `FloatingPointError` when the loss is
    no longer a number, `CheckpointError` where a checkpoint does not fit.
    """
    group = group or ProcessGroup()
    epochs = schedule.epochs if epochs is None else epochs
    tests = {"test": test} if validation is None else {"test": test, "validation": validation}
    options = {
        "batch_size": batch_size, "epochs": epochs, "seed": seed, "clip": clip, "resume": resume,
        "transform": transform, "augment": augment, "label_smoothing": label_smoothing,
        "folder": folder is not None,
    }  # fmt: skip
    preflight.check_run(model, optimizer, schedule, train, tests, group, options)
    with ExitStack() as stack:
        run = RunFolder(None if folder is None else user_path(folder), group)
        run.open(resume)
        stack.callback(run.close)
        facts = recipes.recipe_of(model, train, transform, recipe) if run.writes else {}
        facts["digest"] = preflight.digest(train) if run.is_there else ""
        history = _begin(run, model, optimizer, schedule, epochs, facts)
        group.broadcast([*model.parameters(), *model.buffers()])
        reducer = Reducer(optimizer.parameters, group)
        loader = Loader(train, batch_size, True, False, seed, transform, augment, prefetch)
        progress = Progress(len(train), epochs, len(history), quiet or group.rank > 0)
        stack.callback(progress.close)
        for epoch in range(len(history), epochs):
            start, lr = time.monotonic(), optimizer.lr
            progress.begin(epoch + 1)
            loader.set_epoch(epoch)
            loss, accuracy = train_epoch(
                model, loader, optimizer, clip, label_smoothing, progress, reducer
            )
            preflight.check_unmoved(schedule, epoch)
            schedule.step()
            group.average(model.buffers())  # of batch norm's statistics each has its own
            record = {"epoch": epoch + 1, "lr": lr, "train_loss": loss, "train_accuracy": accuracy}
            record |= _tested(model, tests, transform, group)
            _check_finite(record, progress)
            record["seconds"] = time.monotonic() - start
            history.append(record)
            run.save(history, model, optimizer, schedule, facts)
            progress.end(_describe(record))
            if _is_enough(on_epoch, record, group):
                break
    preflight.warn_of_idle(model, optimizer)
    return history


def _begin(
    run: RunFolder,
    model: Module,
    optimizer: Optimizer,
    schedule: Schedule,
    epochs: int,
    facts: dict[str, Any],
) -> list[dict[str, Any]]:
    """The history so far, with everything brought to where it ends."""
    state, history = run.last(), []
    if state is not None:
        before = state.get("digest")  # older checkpoints have none
        if before is not None and before != facts["digest"]:
            raise CheckpointError(
                f"{run.path}: was trained on other images or labels than train has; go on with "
                "the same data, or begin a new run in another folder"
            )
        history = _take_over(run.path, state, model, optimizer, schedule)
        run.keep_best(history)
    preflight.check_schedule(schedule, len(history), epochs)
    if state is None or state.get("recipe") != json.loads(json.dumps(facts.get("recipe"))):
        # so that a run killed in its first epoch can be resumed too
        run.save(history, model, optimizer, schedule, facts)
    return history


@checked
def train_epoch(
    model: Module,
    loader: Loader,
    optimizer: Optimizer,
    clip: Amount | None,
    label_smoothing: Probability,
    progress: Progress,
    reducer: Reducer,
) -> tuple[float, float]:
    """One pass over the training images; mean loss and accuracy on the way."""
    model.train()
    total: Any = 0.0
    right: Any = 0
    seen = 0
    for images, labels in loader:
        with reducer.group.sharing(len(labels)) as (part, weight):
            x, y = Tensor.of(backend.asarray(images[part])), backend.asarray(labels[part])
            logits = model(x)
            loss = cross_entropy(logits, y, label_smoothing)
            optimizer.zero_grad()
            loss.backward(None if weight == 1 else weight)
        reducer.wait()
        if clip is not None:
            clip_grad_norm_(optimizer.parameters, clip)
        optimizer.step()
        # these stay on the device, so that it need not be waited for
        total = total + loss.data * len(y)
        right = right + (logits.data.argmax(axis=1) == y).sum()
        seen += len(y)
        if progress.wants_news():
            loss_now, accuracy_now = number(total) / seen, number(right) / seen
            progress.advance(len(labels), loss=loss_now, accuracy=accuracy_now)
        else:
            progress.advance(len(labels))
    loss_sum, hits, count = reducer.group.add_up(number(total), number(right), seen)
    return loss_sum / count, hits / count


def _is_enough(on_epoch: Callable | None, record: dict[str, Any], group: ProcessGroup) -> bool:
    return on_epoch is not None and group.from_first(
        lambda: isinstance(answer := on_epoch(record), (bool, np.bool_)) and bool(answer)
    )


def _tested(
    model: Module, tests: dict[str, Dataset], transform: Callable | None, group: ProcessGroup
) -> dict[str, Any]:
    """Loss and accuracy on each of the datasets, and the accuracy of each column on the first."""
    found: dict[str, Any] = {}
    for name, data in tests.items():
        result = evaluate(model, data, transform, group=group)
        found |= {f"{name}_loss": result.loss, f"{name}_accuracy": result.accuracy}
    found["columns"] = [
        evaluate(column, tests["test"], transform, group=group).accuracy
        for column in columns_of(model)
    ]
    return found


def _check_finite(record: dict[str, Any], progress: Progress) -> None:
    """The last step may have spoilt the weights, so both losses are looked at."""
    if not all(math.isfinite(value) for name, value in record.items() if name.endswith("loss")):
        raise FloatingPointError(
            f"fit: the loss became {record['train_loss']} in training and {record['test_loss']} in "
            f"testing in {progress.label()}. Try a smaller learning rate or clip=1.0; "
            "`with tinyfractal.detect_anomaly():` finds the place."
        )


@checked
def restore(
    path: PathLike,
    model: Module,
    optimizer: Optimizer,
    schedule: Schedule,
    group: ProcessGroup | None = None,
) -> list[dict[str, Any]]:
    """Bring everything to where a checkpoint left it, and return the history so far.

    Of the processes of a `group` the first reads it for all. Raises `CheckpointError`, which names
    the file and the entry, where the checkpoint does not fit.
    """
    path = user_path(path)
    state = (group or ProcessGroup()).from_first(lambda: load_checkpoint(path))
    return _take_over(path, state, model, optimizer, schedule)


def _take_over(
    path: Path, state: dict[str, Any], model: Module, optimizer: Optimizer, schedule: Schedule
) -> list[dict[str, Any]]:
    with naming(path):
        check_history(path, state["history"], state["schedule"]["epoch"])
        check_kinds(path, "model", state["model"], model.state_dict())
        check_kinds(path, "optimizer", state["optimizer"], optimizer.state_dict())
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        backend.set_random_state(state["random"])
    return list(state["history"])


def _describe(record: dict[str, Any]) -> str:
    text = f"loss {record['train_loss']:.4f}"
    for name in ("train", "validation", "test"):
        if f"{name}_accuracy" in record:
            text += f"  {name} {100 * record[f'{name}_accuracy']:.1f} %"
    if record["columns"]:
        columns = " ".join(f"{100 * accuracy:.1f}" for accuracy in record["columns"])
        text += f"  columns {columns}"
    return text
