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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import backend
from .backend import asnumpy
from .checkpoint import load_checkpoint, save_checkpoint, write_atomically
from .data import Dataset, Loader
from .data.dataset import to_unit
from .distributed import ProcessGroup, Reducer
from .errors import CheckpointError
from .fractal import FractalNet
from .mode import no_grad
from .module import Module
from .ops import cross_entropy, softmax
from .optim import Optimizer, Schedule, clip_grad_norm_
from .progress import Progress
from .tensor import Tensor

CHECKPOINT, HISTORY = "checkpoint.npz", "history.jsonl"


@dataclass(frozen=True)
class Result:
    """How well a model did on a dataset."""

    loss: float  # mean cross-entropy
    accuracy: float  # fraction of the images whose most likely class is the right one
    seconds: float  # time per image


def fit(
    model: Module,
    train: Dataset,
    test: Dataset,
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    epochs: int | None = None,
    batch_size: int = 100,
    transform: Callable | None = None,
    augment: Callable | None = None,
    seed: int = 0,
    clip: float | None = None,
    label_smoothing: float = 0.0,
    prefetch: int = 0,
    folder: str | Path | None = None,
    resume: bool = False,
    recipe: dict[str, Any] | None = None,
    quiet: bool = False,
    group: ProcessGroup | None = None,
) -> list[dict[str, Any]]:
    """Train `model` and return the history, a dictionary for each epoch.

    There are as many epochs as the schedule has, unless `epochs` says otherwise. `transform` and
    `augment` prepare the images (see `data.Loader`); `clip` limits the norm of the gradient. With a
    `folder`, checkpoint.npz and history.jsonl are written there after each epoch, atomically;
    `resume` goes on from that checkpoint if there is one. `recipe` is kept in the checkpoint for
    whoever loads it. `seed` decides the order of the images; what the model draws itself (dropout,
    drop-path) follows `tinyfractal.seed`. The processes of a `group` share each batch of
    `batch_size`; the first of them writes.
    Raises `FloatingPointError` when the loss is no longer a number, `CheckpointError` where a
    checkpoint does not fit.
    """
    group = group or ProcessGroup()
    loader = Loader(train, batch_size, True, False, seed, transform, augment, prefetch)
    history: list[dict[str, Any]] = []
    path = Path(folder) / CHECKPOINT if folder is not None else None
    epochs = schedule.epochs if epochs is None else epochs
    smallest = len(train) % batch_size or batch_size
    if smallest < group.size:
        raise ValueError(
            f"fit: the last batch of an epoch has {smallest} of the {len(train)} images, fewer "
            f"than the {group.size} processes that share it; choose another batch_size"
        )
    if path is not None and group.from_first(path.exists):
        if not resume:
            raise ValueError(
                f"fit: {path} is there already, of an earlier run; go on with resume=True, or "
                "choose another folder"
            )
        history = restore(path, model, optimizer, schedule, group)
    group.broadcast([*model.parameters(), *model.buffers()])
    reducer = Reducer(optimizer.parameters, group)
    first = group.rank == 0
    progress = Progress(len(train), epochs, done=len(history), quiet=quiet or not first)

    def save() -> None:
        if path is not None and first:
            # first the history, so that it is never behind a finished run
            lines = "".join(json.dumps(record) + "\n" for record in history)
            write_atomically(path.with_name(HISTORY), lines.encode())
            save_checkpoint(
                path,
                model.state_dict(),
                optimizer.state_dict(),
                schedule=schedule.state_dict(),
                random=backend.random_state(),
                history=history,
                recipe=recipe or {},
            )

    if not history:
        save()  # so that a run killed in its first epoch can be resumed too
    try:
        for epoch in range(len(history), epochs):
            start = time.monotonic()
            lr = optimizer.lr
            progress.begin(epoch + 1)
            loader.set_epoch(epoch)
            loss, accuracy = train_epoch(
                model, loader, optimizer, clip, label_smoothing, progress, reducer
            )
            schedule.step()
            group.average(model.buffers())  # of batch norm's statistics each has its own
            whole = evaluate(model, test, transform, group=group)
            if not math.isfinite(loss + whole.loss):  # the last step may have spoilt the weights
                raise FloatingPointError(
                    f"fit: the loss became {loss} in training and {whole.loss} in testing in "
                    f"{progress.label()}. Try a smaller learning rate or clip=1.0; "
                    "`with tinyfractal.detect_anomaly():` finds the place."
                )
            columns = [
                evaluate(column, test, transform, group=group).accuracy
                for column in columns_of(model)
            ]
            record = {
                "epoch": epoch + 1,
                "lr": lr,
                "train_loss": loss,
                "train_accuracy": accuracy,
                "test_loss": whole.loss,
                "test_accuracy": whole.accuracy,
                "columns": columns,
                "seconds": time.monotonic() - start,
            }
            history.append(record)
            save()
            progress.end(_describe(record))
    finally:
        progress.close()
    return history


def train_epoch(
    model: Module,
    loader: Loader,
    optimizer: Optimizer,
    clip: float | None,
    label_smoothing: float,
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
            loss_now, accuracy_now = _number(total) / seen, _number(right) / seen
            progress.advance(len(labels), loss=loss_now, accuracy=accuracy_now)
        else:
            progress.advance(len(labels))
    loss_sum, hits, count = reducer.group.add_up(_number(total), _number(right), seen)
    return loss_sum / count, hits / count


def _number(total: Any) -> float:
    """A sum that was kept on the device, brought home: here a GPU is waited for."""
    return float(asnumpy(total))


@contextmanager
def inference(model: Module) -> Iterator[None]:
    """In inference, and unrecorded, inside a `with` block; each layer's mode is put back after."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def evaluate(
    model: Module,
    dataset: Dataset,
    transform: Callable | None = None,
    batch_size: int = 250,
    group: ProcessGroup | None = None,
) -> Result:
    """Loss, accuracy and time per image, in inference; the model is left in the mode it was in.

    The processes of a `group` share the images, and each gives the result for all of them.
    """
    group = group or ProcessGroup()
    part = dataset[group.part(len(dataset))]
    total: Any = 0.0
    right: Any = 0
    start = time.perf_counter()
    with inference(model):
        for images, labels in Loader(part, batch_size, transform=transform) if len(part) else ():
            y = backend.asarray(labels)
            logits = model(Tensor.of(backend.asarray(images)))
            total = total + cross_entropy(logits, y, reduction="sum").data
            right = right + (logits.data.argmax(axis=1) == y).sum()
    sums = group.add_up(_number(total), _number(right), time.perf_counter() - start)
    return Result(*(number / len(dataset) for number in sums))


def predict(model: Module, images: Any, transform: Callable | None = None) -> Any:
    """Class probabilities (N, K) of images (N, H, W, C), as a NumPy array, in inference."""
    with inference(model):
        logits = model(Tensor.of(backend.asarray((transform or to_unit)(images))))
        return softmax(logits, axis=1).numpy()


def columns_of(model: Module) -> list[Module]:
    """The columns of a FractalNet as networks of their own; none for other models."""
    if not isinstance(model, FractalNet):
        return []
    return [model.column(c) for c in range(model.columns)]


def restore(
    path: str | Path,
    model: Module,
    optimizer: Optimizer,
    schedule: Schedule,
    group: ProcessGroup | None = None,
) -> list[dict[str, Any]]:
    """Bring everything to where a checkpoint left it, and return the history so far.

    Of the processes of a `group` the first reads it for all.
    """
    group = group or ProcessGroup()
    state = group.from_first(lambda: load_checkpoint(path))
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        backend.set_random_state(state["random"])
        return list(state["history"])
    except KeyError as error:
        raise CheckpointError(f"{path}: the checkpoint has no entry {error}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _describe(record: dict[str, Any]) -> str:
    text = (
        f"loss {record['train_loss']:.4f}  train {100 * record['train_accuracy']:.1f} %  "
        f"test {100 * record['test_accuracy']:.1f} %"
    )
    if record["columns"]:
        columns = " ".join(f"{100 * accuracy:.1f}" for accuracy in record["columns"])
        text += f"  columns {columns}"
    return text
