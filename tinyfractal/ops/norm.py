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

import functools
from typing import Any

from ..backend import Array, xp
from ..errors import ShapeError
from ..operators import raw
from ..parallel import parts, run, runs
from ..primitive import check_arrays, fused
from ..tensor import Tensor
from .elementwise import sqrt
from .reduce import mean, var


def batch_norm(
    x: Any,
    weight: Any,
    bias: Any,
    running_mean: Any = None,
    running_var: Any = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel: x (…, C) → (…, C), with weight, bias and statistics (C,).

    In training the statistics are those of the batch, and the running ones, if given, move towards
    them in place: running ← (1 - momentum) · running + momentum · batch, the variance taken with
    n - 1. Otherwise the running ones are used. Raises `ShapeError` where the channels do not fit,
    or for a single number per channel, whose variance is nothing.
    """
    given = {"weight": weight, "bias": bias}
    running = {"running_mean": running_mean, "running_var": running_var}
    given |= {name: value for name, value in running.items() if value is not None}
    check_arrays("batch_norm", x=x, **given)
    for name, value in given.items():
        if value.shape != x.shape[-1:]:
            raise ShapeError(
                f"batch_norm: x has {x.shape[-1]} channels (last axis of {x.shape}) but "
                f"{name} has shape {value.shape}"
            )
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: outside training it needs running_mean and running_var")
        scale = weight / sqrt(running_var + eps)
        return x * scale + (bias - running_mean * scale)
    count = x.size // x.shape[-1]
    if count == 1:
        raise ShapeError(
            f"batch_norm: x {x.shape} has one number per channel, which has no variance; use "
            "larger batches or images in training, or call eval() first"
        )
    if running_mean is not None and running_var is not None and count:
        batch_mean, batch_var = _statistics(raw(x))
        for running, batch in ((running_mean, batch_mean), (running_var, batch_var)):
            unbiased = count / (count - 1) if batch is batch_var else 1.0
            raw(running)[...] = (1 - momentum) * raw(running) + momentum * unbiased * batch
            if isinstance(running, Tensor):
                running.changed("batch_norm")
        return _batch_norm(x, weight, bias, eps=eps, statistics=(batch_mean, batch_var))
    return _batch_norm(x, weight, bias, eps=eps, statistics=None)


def _statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel, (C,) each.

    A run of rows at a time, twice over while it is in the cache: its mean, then its squared
    distances from that. Means and squares of two runs are put together as Chan et al. (1979) did.
    """
    rows = x.reshape(-1, x.shape[-1])

    def part(where: slice) -> tuple[int, Array, Array]:
        return functools.reduce(_together, map(of_run, _runs(where, rows)))

    def of_run(where: slice) -> tuple[int, Array, Array]:
        some = rows[where]
        ones = xp.ones(len(some), x.dtype)
        center = ones @ some / max(len(some), 1)  # a product sums columns quicker than mean() does
        some = some - center
        return len(some), center, ones @ xp.multiply(some, some, out=some)

    count, center, squares = functools.reduce(_together, run(part, parts(len(rows), x.size)))
    return center, squares / max(count, 1)


def _together(a: tuple[int, Array, Array], b: tuple[int, Array, Array]) -> tuple[int, Array, Array]:
    """Count, mean and sum of squared distances from the mean, of two runs of rows as one."""
    n, apart = a[0] + b[0], b[1] - a[1]
    return n, a[1] + apart * (b[0] / n), a[2] + b[2] + apart * apart * (a[0] * b[0] / n)


def _runs(where: slice, rows: Array) -> list[slice]:
    """Runs of rows that stay in the processor's cache (1 << 16 float32 are 0.25 MB)."""
    return runs(where, (1 << 16) // rows.shape[1]) or [where]


# ----- Batch norm -----


def _batch_reference(x: Any, weight: Any, bias: Any, eps: float, statistics: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    return (x - mean(x, axis=axes)) / sqrt(var(x, axis=axes) + eps) * weight + bias


def _batch_gradient(
    g: Array,
    saved: tuple[Array, Array],
    wanted: list[bool],
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
    statistics: Any,
) -> tuple[Array, Array, Array]:
    center, scale = saved  # scale = 1 / √(variance + eps)
    rows, g_rows = x.reshape(-1, x.shape[-1]), g.reshape(-1, x.shape[-1])
    gx = xp.empty(rows.shape, x.dtype)

    def sums(where: slice) -> Array:  # Σ g and Σ g·x of each channel
        total: Any = 0
        for some in _runs(where, rows):
            ones = xp.ones(some.stop - some.start, x.dtype)
            centered = rows[some] - center
            total += xp.stack([ones @ g_rows[some], ones @ (g_rows[some] * centered)])
        return total

    g_bias, g_weight = sum(run(sums, parts(len(rows), x.size)))
    g_weight = g_weight * scale
    # gx = weight · scale · (g - mean(g) - x̂ · mean(g·x̂)), as one multiple of g, one of x, and rest
    a = weight * scale
    b = -a * scale * g_weight / max(len(rows), 1)
    c = -a * g_bias / max(len(rows), 1) - b * center

    def combine(where: slice) -> None:
        for some in _runs(where, rows):
            out = xp.multiply(rows[some], b, out=gx[some])
            out += c
            out += g_rows[some] * a

    run(combine, parts(len(rows), x.size))
    return gx.reshape(x.shape), g_weight, g_bias


@fused(_batch_gradient, _batch_reference)
def _batch_norm(x: Array, weight: Array, bias: Array, *, eps: float, statistics: Any) -> Any:
    # `statistics` are those of x, where the caller has them already
    center, variance = _statistics(x) if statistics is None else statistics
    scale = 1 / xp.sqrt(variance + eps)
    rows, y = x.reshape(-1, x.shape[-1]), xp.empty(x.shape, x.dtype)
    out = y.reshape(rows.shape)
    by, plus = scale * weight, bias - center * scale * weight

    def part(where: slice) -> None:
        for some in _runs(where, rows):
            xp.multiply(rows[some], by, out=out[some])
            out[some] += plus

    run(part, parts(len(rows), x.size))
    return y, (center, scale)


# ----- Layer norm -----


def _layer_reference(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    centered = x - mean(x, axis=-1, keepdims=True)
    return centered / sqrt(var(x, axis=-1, keepdims=True) + eps) * weight + bias


def _layer_gradient(
    g: Array,
    saved: tuple[Array, Array],
    wanted: list[bool],
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
) -> tuple[Array, Array, Array]:
    x_hat, scale = saved
    axes = tuple(range(x.ndim - 1))
    g_hat = g * weight
    gx = g_hat - g_hat.mean(axis=-1, keepdims=True)
    gx -= x_hat * (g_hat * x_hat).mean(axis=-1, keepdims=True)
    return gx * scale, (g * x_hat).sum(axis=axes), g.sum(axis=axes)


@fused(_layer_gradient, _layer_reference)
def _layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> Any:
    centered = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / xp.sqrt(xp.square(centered).mean(axis=-1, keepdims=True) + eps)
    x_hat = centered * scale
    return x_hat * weight + bias, (x_hat, scale)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
    """Normalize over the last axis: x (…, C) → (…, C), with weight and bias (C,).

    Raises `ShapeError` where the channels do not fit.
    """
    check_arrays("layer_norm", x=x, weight=weight, bias=bias)
    if weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ShapeError(
            f"layer_norm: x has {x.shape[-1]} channels (last axis of {x.shape}) but weight has "
            f"shape {weight.shape} and bias {bias.shape}"
        )
    return _layer_norm(x, weight, bias, eps=eps)
