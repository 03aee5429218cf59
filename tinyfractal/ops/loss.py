"""Losses: how wrong an answer is, as one number."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy

from ..backend import Array, asarray, asnumpy, on_gpu, xp
from ..check import Probability, checked
from ..engine.definition import definition
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..errors import DataError, DTypeError, ShapeError
from ..guards.arrays import check_arrays
from .elementwise import where
from .reduce import log_softmax, mean, sum

Reduction = Literal["mean", "sum", "none"]


@checked
def cross_entropy(
    logits: Any,
    labels: Any,
    label_smoothing: Probability = 0.0,
    reduction: Reduction = "mean",
    weight: Any = None,
    ignore_index: int | None = None,
) -> Tensor:
    """-log of the probability given to the right class: logits (N, K), labels (N,) integers.

    With p = softmax(logits) the loss is -Σ q log p, where q is 1 for the label and 0 elsewhere;
    `label_smoothing` s spreads s of it evenly over all K classes (Szegedy et al. 2016). The
    gradient is p - q. A class of probability 0 costs nothing where q is 0 too: 0 · log 0 is 0.
    `reduction`: "mean" over the batch, "sum", or "none" for (N,). `weight` (K,) multiplies what
    each class costs, and "mean" then divides by the weights of the labels; samples whose label is
    `ignore_index` count for nothing (both as in PyTorch).
    Raises `ShapeError`, `DTypeError`, or `DataError` for labels outside 0 … K - 1. Labels that are
    on a GPU already cannot be looked at without waiting for it; a wrong one makes its loss NaN.
    """
    check_arrays("cross_entropy", logits=logits)
    _warn_of_probabilities(logits)
    labels = _labels(labels, logits, ignore_index)
    classes = logits.shape[1]
    right = asarray(labels)[:, None] == xp.arange(classes)  # (N, K): one place in each row
    q = right.astype(logits.dtype)
    if label_smoothing:
        q = q * (1 - label_smoothing) + label_smoothing / classes
    if on_gpu(labels):
        q = xp.where(right.any(axis=1, keepdims=True), q, xp.nan)
    if ignore_index is not None:
        q = xp.where(asarray(labels != ignore_index)[:, None], q, 0.0)
    count: Any = None  # what "mean" divides by, where that is not the number of samples
    if weight is not None:
        each = _weights(weight, logits)
        on_host = not (on_gpu(labels) or on_gpu(raw(weight)))
        if reduction == "mean" and on_host and labels.size:
            _check_something_counts(asnumpy(raw(weight)), labels)
        q, count = q * each, (right * each).sum()
    elif ignore_index is not None:
        count = right.sum(dtype=logits.dtype)
    return _cross_entropy(logits, q=q, reduction=reduction, count=count)


def _warn_of_probabilities(logits: Any) -> None:
    """Say so where the softmax would be taken twice, or nothing can be learned."""
    last = getattr(getattr(getattr(logits, "node", None), "primitive", None), "__name__", "")
    told = ""
    if last in ("softmax", "sigmoid"):
        told = f"logits come from {last}; cross_entropy has the softmax in it, so leave that out"
    elif logits.ndim == 2 and logits.shape[1] == 1:
        told = "logits have one class, whose loss is always 0; yes or no are two classes"
    if told:
        warnings.warn(f"cross_entropy: {told}", stacklevel=4)


def _labels(labels: Any, logits: Any, ignore_index: int | None) -> Any:
    """The labels as an array, on the host unless they came from the GPU; checked there."""
    labels = raw(labels)
    labels = labels if on_gpu(labels) else numpy.asarray(labels)
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
    if on_gpu(labels):
        return labels
    seen = labels if ignore_index is None else labels[labels != ignore_index]
    if labels.size and not seen.size:
        raise DataError("cross_entropy: every label is ignore_index, so nothing is left to learn")
    if seen.size and not 0 <= seen.min() <= seen.max() < logits.shape[1]:
        raise DataError(
            f"cross_entropy: logits {logits.shape} have classes 0 to {logits.shape[1] - 1}, but "
            f"the labels range from {seen.min()} to {seen.max()}"
        )
    return labels


def _weights(weight: Any, logits: Any) -> Array:
    """What each class counts, (K,), of the type of the logits."""
    weight = raw(weight)
    weight = weight if on_gpu(weight) else numpy.asarray(weight)
    if weight.shape != logits.shape[1:]:
        raise ShapeError(
            f"cross_entropy: weight has shape {weight.shape}, but there are {logits.shape[1]} "
            "classes"
        )
    fine = weight.dtype.kind in "fiu"
    fine = fine and (on_gpu(weight) or bool((weight >= 0).all() and (weight < numpy.inf).all()))
    if not fine:
        raise DataError("cross_entropy: weight needs a number of at least 0 for each class")
    return asarray(weight.astype(logits.dtype))


def _check_something_counts(weight: Any, labels: Any) -> None:
    """Raise `DataError` where every label has the weight 0, by which "mean" would divide."""
    if not weight[labels[(labels >= 0) & (labels < len(weight))]].any():
        raise DataError("cross_entropy: weight is 0 for every label, so nothing is left to learn")


@definition
def _cross_entropy(logits: Any, *, q: Array, reduction: str, count: Any) -> Any:
    costs = q * where(q != 0, log_softmax(logits, axis=1), 0.0)
    return _reduce(-sum(costs, axis=1), reduction, count)


@checked
def mse_loss(prediction: Any, target: Any, reduction: Reduction = "mean") -> Tensor:
    """Squared error (prediction - target)², of any shape. `reduction`: "mean", "sum", "none".

    Raises `ShapeError` where the shapes differ (broadcasting here is nearly always a mistake).
    """
    check_arrays("mse_loss", prediction=prediction, target=target)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"mse_loss: prediction has shape {prediction.shape}, target {target.shape}"
        )
    return _reduce((prediction - target) ** 2, reduction)


def _reduce(losses: Any, reduction: str, count: Any = None) -> Any:
    if reduction == "none":
        return losses
    if reduction == "mean" and count is None:
        return mean(losses)
    return sum(losses) / count if reduction == "mean" else sum(losses)
