"""Normalization: give numbers mean 0 and variance 1, then let the network scale and shift them.

    y = (x - mean) / √(variance + eps) · weight + bias

Batch norm (Ioffe & Szegedy 2015, arXiv 1502.03167) takes mean and variance of a channel over all
images and pixels of the batch; layer norm (Ba et al. 2016, arXiv 1607.06450) those of one pixel or
row over its channels. Either way the mean and the variance depend on x too, and so the gradient
of x loses its own mean, and its part along the normalized x̂:

    batch norm   gx = weight / √(variance + eps) · (g - mean(g) - x̂ · mean(g · x̂))
    layer norm   gx = 1 / √(variance + eps) · (h - mean(h) - x̂ · mean(h · x̂)),   h = g · weight
"""

from __future__ import annotations

from typing import Any

from ..backend import Array
from ..check import Amount, Probability, checked
from ..engine.definition import definition
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..guards.images import check_batch_norm, check_layer_norm
from .elementwise import relu as max_with_zero
from .elementwise import sqrt
from .reduce import mean, var


def normalized(x: Any, center: Any, variance: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The formula above."""
    return (x - center) / sqrt(variance + eps) * weight + bias


# ----- Batch norm -----


@checked
def batch_norm(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any = None,
    running_var: Any = None,
    training: bool = True,
    momentum: Probability = 0.1,
    eps: Amount = 1e-5,
    relu: bool = False,
) -> Tensor:
    """Normalize each channel: x (…, C) → (…, C), with weight, bias and statistics (C,).

    In training the statistics are those of the batch, and the running ones, if given, move towards
    them in place: running ← (1 - momentum) · running + momentum · batch, the variance taken with
    n - 1. Otherwise the running ones are used. With `relu` the result is max(y, 0).
    Raises `ShapeError` where the channels do not fit, or for a single number per channel, which
    has no variance.
    """
    running = {"running_mean": running_mean, "running_var": running_var}
    check_batch_norm(x, training, weight=weight, bias=bias, **running)
    if not training:
        # copies, since a later training step moves the running ones in place, before backward maybe
        center, variance = raw(running_mean).copy(), raw(running_var).copy()
        return _by_statistics(x, weight, bias, center, variance, eps, relu)
    y, center, variance = _by_batch(x, weight, bias, eps, relu)
    count = x.size // x.shape[-1]
    if count:
        move(running_mean, momentum, center)
        move(running_var, momentum, variance * (count / (count - 1)))
    return y


@definition
def move(running: Any, momentum: float, batch: Array) -> None:
    """running ← (1 - momentum) · running + momentum · batch, in place."""
    if running is not None:
        raw(running)[...] = (1 - momentum) * raw(running) + momentum * batch
        if isinstance(running, Tensor):
            running.changed("batch_norm")


@definition
def _by_batch(x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple[Any, Array, Array]:
    """Normalized by the mean and the variance of x, which come back too."""
    axes = tuple(range(x.ndim - 1))
    center, variance = mean(x, axis=axes), var(x, axis=axes)
    y = normalized(x, center, variance, weight, bias, eps)
    return max_with_zero(y) if relu else y, raw(center), raw(variance)


@definition
def _by_statistics(
    x: Any, weight: Any, bias: Any, center: Any, variance: Any, eps: float, relu: bool
) -> Any:
    """Normalized by a given mean and variance."""
    y = normalized(x, center, variance, weight, bias, eps)
    return max_with_zero(y) if relu else y


# ----- Layer norm -----


@definition
def _layer_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    center, variance = mean(x, axis=-1, keepdims=True), var(x, axis=-1, keepdims=True)
    return normalized(x, center, variance, weight, bias, eps)


@checked
def layer_norm(x: Any, weight: Any, bias: Any, eps: Amount = 1e-5) -> Tensor:
    """Normalize over the last axis: x (…, C) → (…, C), with weight and bias (C,).

    Raises `ShapeError` where the channels do not fit.
    """
    check_layer_norm(x, weight, bias)
    return _layer_norm(x, weight, bias, eps=eps)
