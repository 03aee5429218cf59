"""Losses: how wrong an answer is, as one number."""

from __future__ import annotations

from typing import Any

import numpy

from ..backend import Array, asarray, on_gpu, xp
from ..errors import DataError, DTypeError, ShapeError
from ..operators import raw
from ..primitive import check_arrays, fused
from ..tensor import Tensor
from .reduce import log_softmax, mean, sum


def cross_entropy(
    logits: Any, labels: Any, label_smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """-log of the probability given to the right class: logits (N, K), labels (N,) integers.

    With p = softmax(logits) the loss is -Σ q log p, where q is 1 for the label and 0 elsewhere;
    `label_smoothing` s spreads s of it evenly over all K classes (Szegedy et al. 2016). The
    gradient is p - q. `reduction`: "mean" over the batch, "sum", or "none" for (N,).
    Raises `ShapeError`, `DTypeError`, or `DataError` for labels outside 0 … K - 1. Labels that are
    on a GPU already cannot be looked at without waiting for it; a wrong one makes its loss NaN.
    """
    check_arrays("cross_entropy", logits=logits)
    if not (isinstance(label_smoothing, (int, float)) and 0 <= label_smoothing <= 1):
        raise ValueError(
            f"cross_entropy: label_smoothing is a fraction of 1, got {label_smoothing!r}"
        )
    labels = raw(labels)
    waits = on_gpu(labels)
    labels = labels if waits else numpy.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy: expected logits (N, K) and labels (N,), got {logits.shape} and "
            f"{labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"cross_entropy: labels are class numbers (integers), got {labels.dtype}")
    _check_reduction("cross_entropy", reduction)
    classes = logits.shape[1]
    if not waits and labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"cross_entropy: logits {logits.shape} have classes 0 to {classes - 1}, but the labels "
            f"range from {labels.min()} to {labels.max()}"
        )
    right = asarray(labels)[:, None] == xp.arange(classes)  # (N, K): one place in each row
    q = right.astype(logits.dtype)
    if label_smoothing:
        q = q * (1 - label_smoothing) + label_smoothing / classes
    if waits:
        q = xp.where(right.any(axis=1, keepdims=True), q, xp.nan)
    return _cross_entropy(logits, q=q, reduction=reduction)


def _reference(logits: Any, q: Array, reduction: str) -> Any:
    return _reduce(-sum(q * log_softmax(logits, axis=1), axis=1), reduction)


def _gradient(
    g: Array, log_p: Array, wanted: list[bool], logits: Array, q: Array, reduction: str
) -> tuple[Array]:
    g = g[:, None] if reduction == "none" else g / len(q) if reduction == "mean" else g
    return ((xp.exp(log_p) - q) * g,)


@fused(_gradient, _reference)
def _cross_entropy(logits: Array, *, q: Array, reduction: str) -> tuple[Array, Array]:
    log_p = log_softmax.value(logits, axis=1)
    return _reduce(-(q * log_p).sum(axis=1), reduction), log_p


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Squared error (prediction - target)², of any shape. `reduction`: "mean", "sum", "none".

    Raises `ShapeError` where the shapes differ (broadcasting here is nearly always a mistake).
    """
    check_arrays("mse_loss", prediction=prediction, target=target)
    if prediction.shape != target.shape:
        raise ShapeError(
            f"mse_loss: prediction has shape {prediction.shape}, target {target.shape}"
        )
    _check_reduction("mse_loss", reduction)
    return _reduce((prediction - target) ** 2, reduction)


def _check_reduction(name: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'{name}: reduction is "mean", "sum" or "none", got {reduction!r}')


def _reduce(losses: Any, reduction: str) -> Any:
    return losses if reduction == "none" else mean(losses) if reduction == "mean" else sum(losses)
