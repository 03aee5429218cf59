"""Cross-entropy in one step: with p = softmax(logits) the gradient is (p - q) · g.

Usually q is 1 at the label and 0 elsewhere. Then nobody needs to write it down: the label's log p
is looked up, and 1 is taken from the label's p.
"""

from __future__ import annotations

from typing import Any

from ..backend import Array, asarray, on_gpu, xp
from ..ops import loss
from .fused import quicker


def _gradient(
    g: Array, saved: Any, _wanted: list[bool], logits: Array, *, reduction: str, **_: Any
) -> tuple[Array]:
    e, total, q, count, right = saved
    p = e / total
    if count is not None:  # q of a weighted or an ignored sample does not add up to 1
        p *= q.sum(axis=1, keepdims=True)
    if q is None:
        p[right] -= 1
    else:
        p -= q
    if reduction == "none":
        g = g[:, None]
    elif reduction == "mean":
        g = g / (len(logits) if count is None else count)
    p *= g
    return (p,)


@quicker(loss._cross_entropy, _gradient)
def _cross_entropy(
    logits: Array, *, labels: Array, smoothing: float, weight: Any, ignored: Any, reduction: str
) -> tuple[Array, Any]:
    z = logits - logits.max(axis=1, keepdims=True)
    e = xp.exp(z)
    total = e.sum(axis=1, keepdims=True)
    log_total = xp.log(total)
    if smoothing or weight is not None or ignored is not None or on_gpu(labels):
        q, count = loss.targets(logits, labels, smoothing, weight, ignored)
        costs = (q * xp.where(q != 0, log_total - z, 0.0)).sum(axis=1)
        return loss._reduce(costs, reduction, count), (e, total, q, count, None)
    right = xp.arange(len(z)), asarray(labels)
    costs = log_total[:, 0] - z[right]
    if reduction != "none":
        costs = costs.sum() / (len(z) if reduction == "mean" else 1)
    return costs, (e, total, None, None, right)
