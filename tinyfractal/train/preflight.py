"""Before the first step: what would train something else than was meant, or fail later, is refused.

Nothing here changes a weight.
"""

from __future__ import annotations

import base64
import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..data import Dataset, Loader, Standardize
from ..data.dataset import image_digests
from ..engine.modes import no_grad
from ..engine.tensor import Tensor
from ..errors import DataError
from ..nn.module import Module
from ..optim import Optimizer, Schedule
from .distributed import ProcessGroup
from .inference import check_logits, inference


def check_run(
    model: Module,
    optimizer: Optimizer,
    schedule: Schedule,
    train: Dataset,
    tests: Mapping[str, Dataset],
    group: ProcessGroup,
    **options: Any,
) -> None:
    """Everything that can be known of a call of `fit`, and whether all processes were told alike.

    Raises `DataError`, `ShapeError` or `ValueError`, and `DistributedError` where they differ.
    """

    def look() -> dict[str, Any] | None:
        if options["resume"] and not options["folder"]:
            raise ValueError("fit: resume=True needs the folder of a run, folder=…")
        if options["clip"] == 0:
            raise ValueError("fit: clip=0 would make every gradient 0; clip=None leaves them alone")
        check_data(train, tests)
        check_optimizer(model, optimizer, schedule)
        check_batches(train, options["batch_size"], group)
        scaled(options["class_weights"], train)
        if group.size == 1:
            return None
        return fingerprint(model, optimizer, schedule, {"train": train, **tests, **options})

    group.agree("fit", look)
    prepare = {name: options[name] for name in ("transform", "augment")}
    group.agree("fit", lambda: try_model(model, train, options["batch_size"], prepare, group))


def check_data(train: Dataset, tests: Mapping[str, Dataset]) -> None:
    """Refuse a set without images, or of another shape or other classes than the training set."""
    for name, data in {"train": train, **tests}.items():
        if len(data) == 0:
            raise DataError(f"fit: {name} ({data.name}) has no images")
        if data.shape != train.shape:
            raise DataError(f"fit: train has images of {train.shape}, {name} of {data.shape}")
        ours, theirs = tuple(train.classes), tuple(data.classes)
        if ours != theirs:
            differ = f"{len(ours)} and {len(theirs)} of them"
            if len(ours) == len(theirs):
                k = next(k for k, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1])
                differ = f"class {k} is {ours[k]!r} and {theirs[k]!r}"
            raise DataError(f"fit: train and {name} need the same classes, got {differ}")


def check_optimizer(model: Module, optimizer: Optimizer, schedule: Schedule) -> None:
    """Refuse an optimizer that moves other weights than the model's, or not all of them."""
    own = {id(p): name for name, p in model.named_parameters()}
    if not own:
        raise ValueError(f"fit: model has no parameters to train, got {type(model).__name__}")
    moved = {id(p) for p in optimizer.parameters}
    if moved - set(own):
        raise ValueError(
            f"fit: optimizer moves {len(moved - set(own))} tensors that are not the model's; make "
            "it anew from model.parameters()"
        )
    frozen = {id(p) for p in model.parameters() if not p.requires_grad}
    left_out = [name for key, name in own.items() if key not in moved | frozen]
    if left_out:
        raise ValueError(
            f"fit: optimizer leaves out {len(left_out)} of the model's {len(own)} parameters, such "
            f"as {left_out[0]}; make it from model.parameters(), or freeze what should stay as it "
            "is: parameter.requires_grad = False"
        )
    if schedule.optimizer is not optimizer:
        raise ValueError("fit: schedule belongs to another optimizer; make it anew from this one")
    if schedule.replaced:
        raise ValueError("fit: a newer schedule was made for this optimizer; pass that one")


def warn_of_idle(model: Module, optimizer: Optimizer) -> None:
    """Say so where some weights never had a gradient: nothing that forward computes uses them."""
    moved = {id(p) for p, count in zip(optimizer.parameters, optimizer.counts) if count}
    idle = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in moved]
    if idle:
        warnings.warn(
            f"fit: {len(idle)} parameters, such as {idle[0]}, never had a gradient and are as they "
            "were; does forward use them, or detach() what comes from them?",
            stacklevel=4,
        )


def check_unmoved(schedule: Schedule, epoch: int) -> None:
    """Refuse a schedule that was stepped by hand too."""
    if schedule.epoch != epoch:
        raise ValueError(
            f"fit: schedule went on to epoch {schedule.epoch} while {epoch} was trained; fit steps "
            "it after each epoch, so leave schedule.step() out of on_epoch and the rest"
        )


def check_finite(record: Mapping[str, Any], epoch: str) -> None:
    """Refuse losses that are no numbers; those of the end too: the last step may spoil weights."""
    losses = {name: value for name, value in record.items() if name.endswith("loss")}
    if not all(map(math.isfinite, losses.values())):
        training, after = losses.values()
        raise FloatingPointError(
            f"fit: the loss became {training} in training and {after} in testing in {epoch}. "
            "Try a smaller learning rate or clip=1.0; "
            "`with tinyfractal.detect_anomaly():` finds the place."
        )


def check_schedule(schedule: Schedule, done: int, epochs: int) -> None:
    """Refuse a schedule that was used before, or has run out, and would give other learning rates.

    One that gives the same rates again, such as a constant one, begins anew.
    """
    if done > epochs:
        raise ValueError(f"fit: epochs needs at least the {done} that are done, got {epochs}")
    if schedule.epoch != done:
        ahead = schedule.epoch - done
        if any(schedule.factor(e + ahead) != schedule.factor(e) for e in range(done, epochs)):
            raise ValueError(
                f"fit: schedule is after epoch {schedule.epoch} already, from an earlier run; "
                "make a new one, with a new optimizer, to train on"
            )
        schedule.load_state_dict({**schedule.state_dict(), "epoch": done})
    try:
        end = schedule.epochs
    except ValueError:  # it has no end of its own
        return
    for epoch in range(max(done, end), epochs):
        if schedule.factor(epoch) == 0:
            raise ValueError(
                f"fit: schedule has run out after {end} epochs: in epoch {epoch + 1} "
                f"its learning rate is 0; make it for {epochs} epochs"
            )


def check_batches(train: Dataset, batch_size: int, group: ProcessGroup) -> int:
    """The size of the smallest batch; refused where the processes cannot share it."""
    smallest = len(train) % batch_size or batch_size
    if smallest < group.size:
        raise ValueError(
            f"fit: the last batch of an epoch has {smallest} of the {len(train)} images, fewer "
            f"than the {group.size} processes that share it; choose another batch_size"
        )
    return smallest


def scaled(class_weights: Sequence[float] | None, train: Dataset) -> Any:
    """What multiplies the loss of each class (K,), scaled to a mean of 1 over the images of train.

    With y the classes of the images, w those weights and L the cross-entropy of each image, the
    loss of a batch of n images is Σ w[y] L / n, so that the losses of an epoch average to the
    weighted mean Σ w[y] L / Σ w[y]. Scaling all the weights changes nothing, and a learning rate
    means about the same as without them. (PyTorch divides each batch by its own Σ w[y]. Here an
    image counts the same whatever else is in its batch, or in its process's part of it.)
    Raises `DataError` unless there is one finite number of at least 0 for each class, of which
    those of the images of `train` are not all 0.
    """
    if class_weights is None:
        return None
    weights = np.array(class_weights, np.float64)
    if weights.shape != (len(train.classes),):
        raise DataError(
            f"fit: class_weights needs one number for each of the {len(train.classes)} classes, "
            f"got {len(weights)}"
        )
    used = weights[train.labels]
    if not (np.isfinite(weights).all() and weights.min() >= 0 and used.max() > 0):
        raise DataError(
            "fit: class_weights need finite numbers of at least 0, and more than 0 for some class "
            f"in train, got {weights.tolist()}"
        )
    weights = weights / used.max()  # or their sum could overflow
    return backend.asarray(weights / weights[train.labels].mean())


def try_model(
    model: Module, train: Dataset, batch_size: int, prepare: dict[str, Any], group: ProcessGroup
) -> None:
    """Let the model answer once: are there logits for every label, and can it train on one image?

    `prepare`: how the images are prepared for it, transform and augment. Batch norm cannot train
    on one, where there is one number per channel. Nothing stays changed.
    """

    def answer(samples: int) -> None:
        images, _ = next(iter(Loader(train[:samples], samples, **prepare)))
        with group.sharing(samples) as part:
            logits = model(Tensor.of(backend.asarray(images[part])))
        highest = np.full(part.stop - part.start, train.labels.max())
        check_logits("fit", logits, highest)
        if logits.shape[1] == 1:
            raise DataError(
                "fit: model gives one logit, so the loss is always 0 and nothing would be learned; "
                "yes or no are two classes"
            )

    smallest = check_batches(train, batch_size, group)
    random = backend.random_state()
    buffers = [(buffer, buffer.data.copy()) for buffer in model.buffers()]
    modes = [(module, module.training) for _, module in model.named_modules()]
    try:
        with inference(model):
            answer(group.size)
        if smallest < 2 * group.size:  # some process has a single one
            try:
                with no_grad():
                    model.train()
                    answer(smallest)
            except ValueError as error:
                raise ValueError(
                    f"fit: batch_size={batch_size} leaves {smallest} of the {len(train)} images "
                    f"for the last batch, which does not work ({error}); choose another batch_size"
                ) from error
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)
        for module, training in modes:
            module.training = training
        backend.set_random_state(random)


# ----- The same on all processes, and the same as before -----


def digest(data: Dataset) -> str:
    """A fingerprint of images and labels: other data has another one."""
    found = hashlib.sha256(f"{data.images.shape} {data.images.dtype}".encode())
    for start in range(0, len(data), 1000):
        found.update(np.ascontiguousarray(data.images[start : start + 1000]).data)
    found.update(np.ascontiguousarray(data.labels).data)
    return found.hexdigest()


def seen(data: Dataset) -> str:
    """The images of a training set, each as eight bytes, all together as a text for JSON."""
    return base64.b64encode(image_digests(data.images).tobytes()).decode()


def count_seen(text: str, data: Dataset) -> int:
    """How many of these images are among those of which `seen` made that text."""
    known = np.frombuffer(base64.b64decode(text), "<u8")
    return int(np.isin(image_digests(data.images), known).sum())


def fingerprint(
    model: Module, optimizer: Optimizer, schedule: Schedule, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What has to be the same on all processes that train together, by name."""
    state = [(name, p.shape, str(p.dtype)) for name, p in model.named_parameters()]
    found: dict[str, Any] = {"model": (type(model).__name__, state)}
    for name, thing in {"optimizer": optimizer, "schedule": schedule}.items():
        found[name] = (type(thing).__name__, _plain(vars(thing)))
    found["learning rates"] = [_plain(group) for group in optimizer.param_groups]
    for name, value in settings.items():
        if isinstance(value, Dataset):
            value = digest(value)
        elif isinstance(value, Standardize):
            value = value.as_dict()
        elif isinstance(value, np.ndarray):
            value = value.tolist()  # or comparing two would give an array
        elif callable(value):
            value = getattr(value, "__qualname__", type(value).__name__)
        found[name] = value
    return found


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    kinds = (bool, int, float, str, tuple)
    return {name: value for name, value in values.items() if isinstance(value, kinds)}
