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

from ..backend import Array, xp
from ..check import Amount, Probability, checked
from ..engine.operators import raw
from ..engine.primitive import check_features, fused
from ..engine.tensor import Tensor
from ..errors import ShapeError
from ..fast.memory import Lines
from ..fast.parallel import parts, run
from .elementwise import relu as max_with_zero
from .elementwise import sqrt
from .reduce import mean, var


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
    statistics: tuple[Array, Array] | None = None,
) -> Tensor:
    """Normalize each channel: x (…, C) → (…, C), with weight, bias and statistics (C,).

    In training the statistics are those of the batch, and the running ones, if given, move towards
    them in place: running ← (1 - momentum) · running + momentum · batch, the variance taken with
    n - 1. Otherwise the running ones are used. With `relu` the result is max(y, 0), in one go.
    `statistics` are the mean and the variance of x, for who has them already.
    Raises `ShapeError` where the channels do not fit, or for a single number per channel, whose
    variance is nothing.
    """
    given = {"weight": weight, "bias": bias}
    running = {"running_mean": running_mean, "running_var": running_var}
    given |= {name: value for name, value in running.items() if value is not None}
    check_features("batch_norm", x=x, **given)
    for name, value in given.items():
        if value.shape != x.shape[-1:]:
            raise ShapeError(
                f"batch_norm: x has {x.shape[-1]} channels (last axis of {x.shape}) but "
                f"{name} has shape {value.shape}"
            )
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: outside training it needs running_mean and running_var")
        # copies, since a later training step moves the running ones in place, before backward maybe
        fixed: Any = raw(running_mean).copy(), raw(running_var).copy()
        return _batch_norm(x, weight, bias, eps=eps, relu=relu, statistics=fixed, fixed=True)
    count = x.size // x.shape[-1]
    if count == 1:
        raise ShapeError(
            f"batch_norm: x {x.shape} has one number per channel, which has no variance; use "
            "larger batches or images in training, or call eval() first"
        )
    if running_mean is not None and running_var is not None and count:
        statistics = batch_mean, batch_var = statistics or _statistics(raw(x))
        for running, batch in ((running_mean, batch_mean), (running_var, batch_var)):
            unbiased = count / (count - 1) if batch is batch_var else 1.0
            raw(running)[...] = (1 - momentum) * raw(running) + momentum * unbiased * batch
            if isinstance(running, Tensor):
                running.changed("batch_norm")
    return _batch_norm(x, weight, bias, eps=eps, relu=relu, statistics=statistics, fixed=False)


def _statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel, (C,) each, in one pass.

    With c a first guess at the mean, from some of the lines, and d = x - c,

        mean = c + Σ d / n,    variance = Σ d² / n - (Σ d / n)²

    (Chan et al. 1983). Without c the variance would be a small difference of large numbers.
    """
    lines = Lines(x)
    numbers = lines.of(x)
    some = numbers[:: max(1, lines.count // 16)]
    guess = lines.gathered(some.sum(axis=0)) / max(1, len(some) * lines.side_by_side)
    line = lines.spread(guess)

    def part(where: slice) -> tuple[Any, Any]:
        total: Any = 0.0
        squares: Any = 0.0
        for some in lines.runs(where):
            d = numbers[some] - line
            total += xp.ones(len(d), x.dtype) @ d  # a product sums quicker than sum()
            squares += xp.einsum("ij,ij->j", d, d)
        return total, squares

    found = run(part, parts(lines.count, 4 * x.size))
    apart, squares = (
        lines.gathered(sum(several)) / max(1, lines.pixels) for several in zip(*found)
    )
    return guess + apart, xp.maximum(squares - apart * apart, 0)  # rounding may go below


# ----- A multiple of each channel, and ReLU: passes over lines of pixels -----


def _scaled(x: Array, scale: Array, shift: Array, rectify: bool) -> Array:
    """x · scale + shift, or max(that, 0)."""
    lines = Lines(x)
    source, target = lines.of(x), lines.new()
    scale, shift = lines.spread(scale), lines.spread(shift)
    zeros = xp.zeros_like(shift)  # a maximum with an array is quicker than with a number

    def part(where: slice) -> None:
        for some in lines.runs(where):
            out = xp.multiply(source[some], scale, out=target[some])
            out += shift
            if rectify:
                xp.maximum(out, zeros, out=out)

    run(part, parts(lines.count, 2 * x.size))
    return lines.array(target)


def _rectified_sums(
    lines: Lines, g: Array, x: Array, y: Array, rectify: bool
) -> tuple[Array, Array, Array]:
    """The gradient of what ReLU was given, as lines; of each channel Σ of it, and Σ of it · x."""
    g_in, x_in, y_in, out = lines.of(g), lines.of(x), lines.of(y), lines.new()

    def part(where: slice) -> tuple[Any, Any]:
        total: Any = 0.0
        total_x: Any = 0.0
        for some in lines.runs(where):
            masked = out[some]
            if rectify:
                xp.greater(y_in[some], 0, out=masked, casting="unsafe")
                masked *= g_in[some]
            else:
                masked[...] = g_in[some]
            total += xp.ones(len(masked), x.dtype) @ masked
            total_x += xp.einsum("ij,ij->j", masked, x_in[some])
        return total, total_x

    found = run(part, parts(lines.count, 4 * x.size))
    return out, *(lines.gathered(sum(several)) for several in zip(*found))


def _batch_reference(
    x: Any, weight: Any, bias: Any, eps: float, relu: bool, statistics: Any, fixed: bool
) -> Any:
    axes = tuple(range(x.ndim - 1))
    center, variance = statistics if fixed else (mean(x, axis=axes), var(x, axis=axes))
    y = (x - center) / sqrt(variance + eps) * weight + bias
    return max_with_zero(y) if relu else y


def _batch_gradient(
    g: Array,
    saved: tuple[Array, Array, Array],
    wanted: list[bool],
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
    relu: bool,
    statistics: Any,
    fixed: bool,
) -> tuple[Array, Array, Array]:
    y, center, scale = saved  # scale = 1 / √(variance + eps)
    lines = Lines(x)
    target, g_bias, g_x = _rectified_sums(lines, g, x, y, relu)
    g_weight = (g_x - g_bias * center) * scale
    # gx = weight · scale · (g - mean(g) - x̂ · mean(g·x̂)), as one multiple of g, one of x, and rest
    a = weight * scale
    b = a * scale * g_weight / -max(x.size // x.shape[-1], 1)
    c = a * g_bias / -max(x.size // x.shape[-1], 1) - b * center
    source = lines.of(x)
    a, b, c = lines.spread(a), lines.spread(b), lines.spread(c)

    def part(where: slice) -> None:
        for some in lines.runs(where):
            out = target[some]
            out *= a
            if not fixed:  # the statistics depend on x
                of_x = source[some] * b
                of_x += c
                out += of_x

    run(part, parts(lines.count, 2 * x.size))
    return lines.array(target), g_weight, g_bias


@fused(_batch_gradient, _batch_reference)
def _batch_norm(
    x: Array, weight: Array, bias: Array, *, eps: float, relu: bool, statistics: Any, fixed: bool
) -> Any:
    # `statistics` are those of x, where the caller has them already; or `fixed` ones
    center, variance = _statistics(x) if statistics is None else statistics
    scale = 1 / xp.sqrt(variance + eps)
    multiple = scale * weight
    y = _scaled(x, multiple, bias - center * multiple, relu)
    return y, (y, center, scale)


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


@checked
def layer_norm(x: Any, weight: Any, bias: Any, eps: Amount = 1e-5) -> Tensor:
    """Normalize over the last axis: x (…, C) → (…, C), with weight and bias (C,).

    Raises `ShapeError` where the channels do not fit.
    """
    check_features("layer_norm", x=x, weight=weight, bias=bias)
    if weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ShapeError(
            f"layer_norm: x has {x.shape[-1]} channels (last axis of {x.shape}) but weight has "
            f"shape {weight.shape} and bias {bias.shape}"
        )
    return _layer_norm(x, weight, bias, eps=eps)
