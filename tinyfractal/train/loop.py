"""Training: the loop that everything else was written for.

    for each epoch:
        for each batch:
            logits = model(images)
            loss = cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate on validation images, write a checkpoint

`train_epoch` is the inner loop. `fit` is the outer one, with what a long run needs around it:
progress, a history, and a checkpoint after every epoch from which it goes on bit for bit, as if it
had never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from ..backend import asarray
from ..check import Amount, Count, PathLike, Probability, Size, checked
from ..data import Dataset, Loader
from ..engine.tensor import Tensor
from ..nn.module import Module
from ..ops import cross_entropy
from ..optim import Optimizer, Schedule, clip_grad_norm_
from ..progress import Progress
from . import preflight
from .distributed import ProcessGroup, Reducer
from .inference import columns_of, evaluate, number
from .run import Record, RunFolder, describe, judges

# ----- One epoch -----


@checked
def train_epoch(
    model: Module,
    loader: Loader,
    optimizer: Optimizer,
    clip: Amount | None,
    label_smoothing: Probability,
    progress: Progress,
    reducer: Reducer,
    class_weights: Any = None,
) -> tuple[float, float]:
    """One pass over the training images; mean loss and accuracy on the way."""
    model.train()
    tally, group = Tally(), reducer.group
    for images, labels in group.share(loader):
        x, y = Tensor.of(asarray(images)), asarray(labels)
        logits = model(x)
        loss = cross_entropy(logits, y, label_smoothing, "sum", class_weights) / len(y)
        optimizer.zero_grad()
        loss.backward()
        reducer.wait()  # for the gradients of the other processes, if there are any
        if clip is not None:
            clip_grad_norm_(optimizer.parameters, clip)
        optimizer.step()
        tally.add(loss, logits, y)
        news = tally.so_far() if progress.wants_news() else {}
        progress.advance(group.samples, **news)
    loss_sum, right, seen = group.add_up(number(tally.loss), number(tally.right), tally.seen)
    return loss_sum / seen, right / seen


class Tally:
    """Loss and right answers, summed over the images of an epoch."""

    def __init__(self) -> None:
        self.loss: Any = 0.0
        self.right: Any = 0
        self.seen = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Any) -> None:
        # these stay on the device, so that it need not be waited for
        self.loss = self.loss + loss.data * len(labels)
        self.right = self.right + (logits.data.argmax(axis=1) == labels).sum()
        self.seen += len(labels)

    def so_far(self) -> dict[str, float]:
        """The means, brought home."""
        return {"loss": number(self.loss) / self.seen, "accuracy": number(self.right) / self.seen}


# ----- All epochs -----


@checked
def fit(
    model: Module, train: Dataset, test: Dataset, optimizer: Optimizer, schedule: Schedule, *,
    epochs: Count | None = None, batch_size: Count = 100, transform: Callable | None = None,
    augment: Callable | None = None, seed: Size = 0, clip: Amount | None = None,
    label_smoothing: Probability = 0.0, prefetch: Size = 0, folder: PathLike | None = None,
    recipe: dict[str, Any] | None = None, group: ProcessGroup | None = None, quiet: bool = False,
    resume: bool = False, validation: Dataset | None = None, on_epoch: Callable | None = None,
    class_weights: Sequence[Amount] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Train `model` and return the history, a dictionary for each epoch.

    By default there are as many epochs as the schedule has. `transform` and `augment` prepare the
    images (see `data.Loader`); `clip` limits the norm of the gradient; the loss of an image is
    multiplied by the entry of `class_weights` for its class (see `preflight.scaled`). After each
    epoch the model is evaluated on `validation`, and `test` is left for you to `evaluate` on at the
    end; without `validation` it is evaluated on `test`. Then `on_epoch(record)` is called, and
    training ends early where it returns True. `seed` decides the order of the images; what the
    model draws (dropout, drop-path) follows `tinyfractal.seed`. The processes of a `group` share
    each batch of `batch_size`; the first of them writes.

    A `folder` gets checkpoint.npz and history.jsonl after each epoch, atomically; `resume` goes on
    from there. best.npz is the checkpoint of the highest accuracy on `validation`, else on `test`,
    where that number then flatters it. `recipe` is kept in the checkpoint, to build the network
    again; the library's own networks need none. What cannot work is refused before the first step.
    Raises `FloatingPointError` if the loss becomes NaN or infinite, `CheckpointError` where a
    checkpoint does not fit.
    """
    group, epochs = group or ProcessGroup(), epochs or schedule.epochs
    tests = {"test": test} if validation is None else {"test": test, "validation": validation}
    preflight.check_run(
        model, optimizer, schedule, train, tests, group, batch_size=batch_size, epochs=epochs,
        seed=seed, clip=clip, resume=resume, transform=transform, augment=augment,
        label_smoothing=label_smoothing, folder=folder is not None, class_weights=class_weights,
    )  # fmt: skip
    weights = preflight.scaled(class_weights, train)
    loader = Loader(train, batch_size, True, False, seed, transform, augment, prefetch)
    with RunFolder(folder, group).opened(resume) as run:
        history = run.begin(model, optimizer, schedule, epochs, train, tests, transform, recipe)
        reducer, silent = Reducer(optimizer.parameters, group), quiet or group.rank > 0
        with closing(Progress(len(train), epochs, len(history), silent)) as progress:
            for epoch in range(len(history), epochs):
                start, lr = time.monotonic(), optimizer.lr
                progress.begin(epoch + 1)
                loader.set_epoch(epoch)
                loss, accuracy = train_epoch(
                    model, loader, optimizer, clip, label_smoothing, progress, reducer, weights
                )
                preflight.check_unmoved(schedule, epoch)
                schedule.step()
                group.average(model.buffers())  # of batch norm's statistics each has its own
                record = {"epoch": epoch + 1, "lr": lr, "train_loss": loss}
                record |= {"train_accuracy": accuracy, **_judged(model, tests, transform, group)}
                preflight.check_finite(record, progress.label())
                record["seconds"] = time.monotonic() - start
                history.append(record)
                run.save(history, model, optimizer, schedule)
                progress.end(describe(record))
                if _is_enough(on_epoch, record, group):
                    break
    preflight.warn_of_idle(model, optimizer)
    return history


def _judged(
    model: Module, tests: dict[str, Dataset], transform: Callable | None, group: ProcessGroup
) -> dict[str, Any]:
    """Loss and accuracy of the model, and the accuracy of each column, on the images to judge by"""
    part, nets = judges(tests), (model, *columns_of(model))
    result, *columns = (evaluate(net, tests[part], transform, group=group) for net in nets)
    return {
        f"{part}_loss": result.loss,
        f"{part}_accuracy": result.accuracy,
        "columns": [column.accuracy for column in columns],
    }


def _is_enough(on_epoch: Callable | None, record: Record, group: ProcessGroup) -> bool:
    return on_epoch is not None and group.from_first(
        lambda: isinstance(answer := on_epoch(record), (bool, np.bool_)) and bool(answer)
    )
