"""Labels and what each class counts: can a loss be computed from them?"""

from __future__ import annotations

import warnings
from typing import Any

import numpy

from ..backend import Array, asarray, on_gpu
from ..errors import DataError, DTypeError, ShapeError
from .arrays import check_arrays, where_it_is


def check_target(prediction: Any, target: Any) -> None:
    """Raise `ShapeError` unless target has the shape of prediction, and both are arrays."""
    check_arrays("mse_loss", prediction=prediction, target=target)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"mse_loss: prediction has shape {prediction.shape}, target {target.shape}"
        )


def checked_labels(
    logits: Any, labels: Any, weight: Any, ignore_index: int | None, reduction: str
) -> tuple[Array, Array | None]:
    """Labels (N,), on the host unless they came from the GPU, and the weights (K,) of the classes.

    Both are copies, which stay as they are until backward. Raises `ShapeError`, `DTypeError` or
    `DataError` where no loss can be computed from them. What is on a GPU is not looked at.
    """
    check_arrays("cross_entropy", logits=logits)
    _warn_of_probabilities(logits)
    labels = _labels(labels, logits)
    learned = labels  # those that are not ignored
    if not on_gpu(labels):
        learned = labels if ignore_index is None else labels[labels != ignore_index]
        _check_range(labels, learned, logits)
    labels = labels.copy()
    if weight is None:
        return labels, None
    weight = _weights(weight, logits)
    on_host = not (on_gpu(labels) or on_gpu(weight))
    if reduction == "mean" and on_host and learned.size and not weight[learned].any():
        raise DataError("cross_entropy: weight is 0 for every label, so nothing is left to learn")
    return labels, asarray(weight.astype(logits.dtype))


def _warn_of_probabilities(logits: Any) -> None:
    """Say so where the softmax would be taken twice, or nothing can be learned."""
    last = getattr(getattr(getattr(logits, "node", None), "primitive", None), "__name__", "")
    told = ""
    if last in ("softmax", "sigmoid"):
        told = f"logits come from {last}; cross_entropy has the softmax in it, so leave that out"
    elif logits.ndim == 2 and logits.shape[1] == 1:
        told = "logits have one class, whose loss is always 0; yes or no are two classes"
    if told:
        warnings.warn(f"cross_entropy: {told}", stacklevel=5)  # at the line that called it


def _labels(labels: Any, logits: Any) -> Array:
    """One integer for each row of logits."""
    labels = where_it_is(labels)
    if labels.shape == logits.shape and logits.ndim == 2 and logits.shape[1] > 1:
        raise ShapeError(
            f"cross_entropy: labels {labels.shape} look one-hot; pass class numbers (N,): "
            "labels.argmax(axis=1)"
        )
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        column = labels.ndim == 2 and labels.shape[1] == 1
        raise ShapeError(
            f"cross_entropy: expected logits (N, K) and labels (N,), got {logits.shape} and "
            f"{labels.shape}" + ("; labels[:, 0] has one axis" if column else "")
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            f"cross_entropy: labels are class numbers (integers), got {labels.dtype}; pass an "
            "array of integers, or Tensor(labels, dtype=int)"
        )
    return labels


def _check_range(labels: Array, learned: Array, logits: Any) -> None:
    """Raise `DataError` where a label names no class, or where all are ignored."""
    if labels.size and not learned.size:
        raise DataError("cross_entropy: every label is ignore_index, so nothing is left to learn")
    if learned.size and not 0 <= int(learned.min()) <= int(learned.max()) < logits.shape[1]:
        raise DataError(
            f"cross_entropy: logits {logits.shape} have classes 0 to {logits.shape[1] - 1}, but "
            f"the labels range from {learned.min()} to {learned.max()}"
        )


def _weights(weight: Any, logits: Any) -> Array:
    """A number of at least 0 for each class."""
    weight = where_it_is(weight)
    if weight.shape != logits.shape[1:]:
        raise ShapeError(
            f"cross_entropy: weight has shape {weight.shape}, but there are {logits.shape[1]} "
            "classes"
        )
    fine = weight.dtype.kind in "fiu"
    fine = fine and (on_gpu(weight) or bool((weight >= 0).all() and (weight < numpy.inf).all()))
    if not fine:
        raise DataError("cross_entropy: weight needs a number of at least 0 for each class")
    return weight
