"""Losses: how wrong an answer is, as one number."""

from __future__ import annotations

from typing import Any, Literal

from ..backend import Array, asarray, on_gpu, xp
from ..check import Probability, checked
from ..engine.definition import definition
from ..engine.tensor import Tensor
from ..guards.losses import check_target, checked_labels
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
    labels, weight = checked_labels(logits, labels, weight, ignore_index, reduction)
    target = {"labels": labels, "smoothing": label_smoothing, "weight": weight}
    return _cross_entropy(logits, reduction=reduction, ignored=ignore_index, **target)


@definition
def _cross_entropy(logits: Any, *, reduction: str, **target: Any) -> Any:
    q, count = targets(logits, **target)
    costs = q * where(q != 0, log_softmax(logits, axis=1), 0.0)
    return _reduce(-sum(costs, axis=1), reduction, count)


def targets(logits: Any, labels: Array, smoothing: float, weight: Any, ignored: Any) -> Any:
    """q (N, K), and what "mean" divides by, where that is not the number of samples."""
    right = asarray(labels)[:, None] == xp.arange(logits.shape[1])  # (N, K): True at each label
    q = right.astype(logits.dtype)
    if smoothing:
        q = q * (1 - smoothing) + smoothing / logits.shape[1]
    if on_gpu(labels):
        q = xp.where(right.any(axis=1, keepdims=True), q, xp.nan)
    if ignored is not None:
        learned = asarray(labels != ignored)[:, None]
        q, right = xp.where(learned, q, 0.0), right & learned
    if weight is not None:
        return q * weight, (right * weight).sum()
    return q, None if ignored is None else right.sum(dtype=logits.dtype)


@checked
def mse_loss(prediction: Any, target: Any, reduction: Reduction = "mean") -> Tensor:
    """Squared error (prediction - target)², of any shape. `reduction`: "mean", "sum", "none".

    Raises `ShapeError` where the shapes differ (broadcasting here is nearly always a mistake).
    """
    check_target(prediction, target)
    return _reduce((prediction - target) ** 2, reduction)


def _reduce(losses: Any, reduction: str, count: Any = None) -> Any:
    if reduction == "none":
        return losses
    if reduction == "mean" and count is None:
        return mean(losses)
    return sum(losses) / count if reduction == "mean" else sum(losses)
