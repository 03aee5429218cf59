"""Cross-entropy in one step: log p is computed once, and the gradient is (p - q) · g."""

from __future__ import annotations

from typing import Any

from ..backend import Array, xp
from ..ops import loss
from ..ops.reduce import log_softmax
from .fused import quicker


def _gradient(
    g: Array, log_p: Array, wanted: list[bool], logits: Array, q: Array, reduction: str, count: Any
) -> tuple[Array]:
    if reduction == "none":
        g = g[:, None]
    elif reduction == "mean":
        g = g / (len(q) if count is None else count)
    p = xp.exp(log_p)
    if count is not None:  # q of a weighted or an ignored sample does not add up to 1
        p *= q.sum(axis=1, keepdims=True)
    return ((p - q) * g,)


@quicker(loss._cross_entropy, _gradient)
def _cross_entropy(logits: Array, *, q: Array, reduction: str, count: Any) -> tuple[Array, Array]:
    log_p = log_softmax.value(logits, axis=1)
    costs = q * xp.where(q != 0, log_p, 0.0)
    return loss._reduce(-costs.sum(axis=1), reduction, count), log_p
