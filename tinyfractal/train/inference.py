"""Using a network: how well it does on a dataset, and what it says of an image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..backend import asnumpy
from ..check import Count, checked, got
from ..data import Dataset, Loader
from ..data.dataset import to_unit
from ..engine.modes import no_grad
from ..engine.tensor import Tensor
from ..errors import DataError, DTypeError, ShapeError
from ..fractal import FractalNet
from ..nn.module import Module
from ..ops import cross_entropy, softmax
from .distributed import ProcessGroup


@dataclass(frozen=True)
class Result:
    """How well a model did on a dataset."""

    loss: float  # mean cross-entropy
    accuracy: float  # fraction of the images whose most likely class is the right one
    seconds: float  # time per image


# ----- In inference -----

_lock = threading.Lock()
_held: dict[int, list[Any]] = {}  # {id of a module: [how many blocks hold it, its mode before]}


@checked
@contextmanager
def inference(model: Module) -> Iterator[None]:
    """In inference, and unrecorded, inside a `with` block; each layer's mode is put back after.

    Where blocks overlap, in threads or one in another, the last one to end puts it back.
    """
    modules = [module for _, module in model.named_modules()]
    with _lock:
        for module in modules:
            _held.setdefault(id(module), [0, module.training])[0] += 1
        model.eval()
    try:
        with no_grad():
            yield
    finally:
        with _lock:
            for module in modules:
                held = _held[id(module)]
                held[0] -= 1
                if held[0] == 0:
                    module.training = held[1]
                    del _held[id(module)]


@checked
def columns_of(model: Module) -> list[Module]:
    """The columns of a FractalNet as networks of their own; none for other models."""
    if not isinstance(model, FractalNet):
        return []
    return [model.column(c) for c in range(model.columns)]


# ----- On a dataset -----


@checked
def evaluate(
    model: Module,
    dataset: Dataset,
    transform: Callable | None = None,
    batch_size: Count = 250,
    group: ProcessGroup | None = None,
) -> Result:
    """Loss, accuracy and time per image, in inference; the model is left in the mode it was in.

    The processes of a `group` share the images, and each gives the result for all of them.
    Raises `DataError` for a dataset without images, `ShapeError` where the model does not give
    logits (N, K) for its classes.
    """
    if len(dataset) == 0:
        raise DataError(f"evaluate: dataset {dataset.name} has no images")
    group = group or ProcessGroup()
    part = dataset[group.part(len(dataset))]
    total: Any = 0.0
    right: Any = 0
    start = time.perf_counter()
    with inference(model):
        for images, labels in Loader(part, batch_size, transform=transform) if len(part) else ():
            y = backend.asarray(labels)
            logits = model(Tensor.of(backend.asarray(images)))
            check_logits("evaluate", logits, labels)
            total = total + cross_entropy(logits, y, reduction="sum").data
            right = right + (logits.data.argmax(axis=1) == y).sum()
    sums = group.add_up(number(total), number(right), time.perf_counter() - start)
    return Result(*(each / len(dataset) for each in sums))


def number(total: Any) -> float:
    """A sum that was kept on the device, brought home: here a GPU is waited for."""
    return float(asnumpy(total))


def check_logits(name: str, logits: Any, labels: np.ndarray) -> None:
    """Refuse what a model gave unless it is a row of logits (N, K) for each of these labels."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != len(labels):
        raise ShapeError(
            f"{name}: model needs to give logits ({len(labels)}, K), one row for each image, got "
            f"{logits.shape if isinstance(logits, Tensor) else got(logits)}"
        )
    if labels.max(initial=0) >= logits.shape[1]:
        raise ShapeError(
            f"{name}: model gives {logits.shape[1]} logits, for labels 0 to {logits.shape[1] - 1}; "
            f"the dataset has the label {labels.max()}"
        )


# ----- On images -----


@checked
def predict(model: Module, images: Any, transform: Callable | None = None) -> np.ndarray:
    """Class probabilities (N, K) of images (N, H, W, C), as a NumPy array, in inference.

    Raises `ShapeError` for a single image without its axis N, `DataError` for images with NaN.
    """
    images = images.images if isinstance(images, Dataset) else images
    images = asnumpy(images)
    if images.dtype.kind not in "buif":
        raise DTypeError(f"predict: images need numbers, got {images.dtype}")
    if images.ndim not in (2, 4) or not len(images):
        one = "; for one image write image[None]" if images.ndim == 3 else ""
        raise ShapeError(f"predict: images need the shape (N, H, W, C), got {images.shape}{one}")
    with inference(model):
        logits = model(Tensor.of(backend.asarray((transform or to_unit)(images))))
        check_logits("predict", logits, np.zeros(len(images), np.int64))
        p = softmax(logits, axis=1).numpy()
    if not np.isfinite(p).all():
        raise DataError("predict: the probabilities are NaN: the images or the weights hold NaN")
    return p
