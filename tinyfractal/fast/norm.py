"""Batch norm and layer norm in few passes over memory, while the numbers are in the cache.

Batch norm is done to several arrays at once, (K, …, C) with weights (K, C): the outputs of the
convolutions that read the same image (`unit`). An array by itself is one of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import Array, current, xp
from ..engine.definition import RULES
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..ops import norm
from . import cuda
from .fused import as_written, fused, quicker
from .memory import WideRows
from .parallel import parts, run

# ----- Batch norm -----


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel of x (…, C), (C,) each, in one pass.

    With c a first guess at the mean, from some of the rows, and d = x - c,

        mean = c + Σ d / n,    variance = Σ d² / n - (Σ d / n)²

    (Chan et al. 1983). Without c the variance would be a small difference of large numbers.
    """
    if current() == "cupy":
        return cuda.statistics(x)
    wide = WideRows(x)
    numbers = wide.of(x)
    some = numbers[:: max(1, wide.count // 16)]
    guess = wide.gathered(some.sum(axis=0)) / max(1, len(some) * wide.side_by_side)
    line = wide.spread(guess)

    def part(where: slice) -> tuple[Any, Any]:
        total: Any = 0.0
        squares: Any = 0.0
        for some in wide.runs(where):
            d = numbers[some] - line
            total += xp.ones(len(d), x.dtype) @ d  # a product sums quicker than sum()
            squares += xp.einsum("ij,ij->j", d, d)
        return total, squares

    found = run(part, parts(wide.count, 4 * x.size))
    apart, squares = (wide.gathered(sum(several)) / max(1, wide.pixels) for several in zip(*found))
    return guess + apart, xp.maximum(squares - apart * apart, 0)  # rounding may go below


def scaled(xs: Array, scales: Array, shifts: Array, rectify: bool) -> Array:
    """xs (K, …, C) · scales (K, C) + shifts (K, C), or max(that, 0)."""
    wide = WideRows(xs[0])
    source, target = wide.of_each(xs), wide.new(len(xs))
    scales, shifts = wide.spread(scales), wide.spread(shifts)
    zeros = xp.zeros_like(shifts)  # a maximum with an array is quicker than with a number

    def part(where: slice) -> None:
        for some in wide.runs(where, len(xs)):
            out = xp.multiply(source[:, some], scales, out=target[:, some])
            out += shifts
            if rectify:
                xp.maximum(out, zeros, out=out)

    run(part, parts(wide.count, 2 * xs.size))
    return wide.arrays(target)


def scale_and_shift(
    centers: Array, variances: Array, weights: Array, biases: Array, eps: float
) -> tuple[Array, Array, Array]:
    """1 / √(variance + eps), and batch norm as one multiple and one sum: y = x · scale + shift."""
    spread = 1 / xp.sqrt(variances + eps)
    scale = spread * weights
    return spread, scale, biases - centers * scale


def gradients(
    gs: Sequence[Array],
    xs: Array,
    ys: Array,
    centers: Array,
    spreads: Array,
    weights: Array,
    rectified: bool,
    fixed: bool,
) -> tuple[Array, Array, Array]:
    """Of xs (K, …, C), weights and biases (K, C), given gs, one for each of ys (K, …, C).

    `spreads` are 1 / √(variance + eps); `fixed` statistics do not depend on xs.
    """
    wide = WideRows(xs[0])
    target, sums = _rectified_sums(wide, gs, xs, ys, rectified)
    g_bias, g_x = sums.reshape(2, len(xs), -1, wide.c).sum(axis=2)
    g_weight = (g_x - g_bias * centers) * spreads
    # gx = weight · spread · (g - mean(g) - x̂ · mean(g·x̂)), as one multiple of g, one of x, and rest
    n = max(wide.pixels, 1)
    a = weights * spreads
    b = a * spreads * g_weight / -n
    c = a * g_bias / -n - b * centers
    source = wide.of_each(xs)
    a, b, c = wide.spread(a), wide.spread(b), wide.spread(c)

    def part(where: slice) -> None:
        for some in wide.runs(where, len(xs)):
            out = target[:, some]
            out *= a
            if not fixed:
                of_x = source[:, some] * b
                of_x += c
                out += of_x

    run(part, parts(wide.count, 2 * xs.size))
    return wide.arrays(target), g_weight, g_bias


def _rectified_sums(
    wide: WideRows, gs: Sequence[Array], xs: Array, ys: Array, rectified: bool
) -> tuple[Array, Array]:
    """The gradients of ReLU's inputs, as wide rows; the sums of their columns, and of them · x."""
    g_in, x_in, y_in = [wide.of(g) for g in gs], wide.of_each(xs), wide.of_each(ys)
    out = wide.new(len(xs))

    def part(where: slice) -> Array:
        sums = xp.zeros((2, len(xs), out.shape[2]), out.dtype)
        for some in wide.runs(where):
            ones = xp.ones(some.stop - some.start, out.dtype)  # a product sums quicker than sum()
            for k, g in enumerate(g_in):
                masked = out[k, some]
                if rectified:
                    xp.greater(y_in[k, some], 0, out=masked, casting="unsafe")
                    masked *= g[some]
                else:
                    masked[...] = g[some]
                sums[0, k] += ones @ masked
                sums[1, k] += xp.einsum("ij,ij->j", masked, x_in[k, some])
        return sums

    found = run(part, parts(wide.count, 4 * xs.size))
    return out, sum(found[1:], found[0])


def _batch_reference(
    x: Any, weight: Any, bias: Any, eps: float, relu: bool, statistics: Any, fixed: bool
) -> Any:
    if fixed:
        return as_written(norm._by_statistics)(x, weight, bias, *statistics, eps, relu)
    return as_written(norm._by_batch)(x, weight, bias, eps, relu)[0]


def _batch_gradient(
    g: Array,
    saved: Sequence[Array],
    wanted: list[bool],
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
    relu: bool,
    statistics: Any,
    fixed: bool,
) -> Sequence[Array]:
    y, center, spread = saved
    if current() == "cupy":
        return cuda.batch_norm_gradients(g, *saved, x, weight, eps, relu, fixed)
    each = (a[None] for a in (x, y, center, spread, weight))
    return [found[0] for found in gradients([g], *each, relu, fixed)]


@fused(_batch_gradient, _batch_reference)
def _batch_norm(
    x: Array, weight: Array, bias: Array, *, eps: float, relu: bool, statistics: Any, fixed: bool
) -> Any:
    center, variance = statistics
    if current() == "cupy":
        return cuda.batch_norm(x, weight, bias, center, variance, eps, relu)
    spread, scale, shift = scale_and_shift(center, variance, weight, bias, eps)
    y = scaled(x[None], scale[None], shift[None], relu)[0]
    return y, (y, center, spread)


def _by_batch(x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple[Any, Array, Array]:
    found = statistics(raw(x))
    y = _batch_norm(x, weight, bias, eps=eps, relu=relu, statistics=found, fixed=False)
    return y, *found


def _by_statistics(
    x: Any, weight: Any, bias: Any, center: Any, variance: Any, eps: float, relu: bool
) -> Any:
    fixed = center, variance
    return _batch_norm(x, weight, bias, eps=eps, relu=relu, statistics=fixed, fixed=True)


def _move(running: Any, momentum: float, batch: Array) -> None:
    if current() == "numpy" or running is None:
        as_written(norm.move)(running, momentum, batch)
        return
    cuda.move(raw(running), batch, momentum)
    if isinstance(running, Tensor):
        running.changed("batch_norm")


RULES[norm._by_batch] = _by_batch
RULES[norm.move] = _move
RULES[norm._by_statistics] = _by_statistics


# ----- Layer norm -----


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


@quicker(norm._layer_norm, _layer_gradient)
def _layer_norm(x: Array, weight: Array, bias: Array, *, eps: float) -> Any:
    centered = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / xp.sqrt(xp.square(centered).mean(axis=-1, keepdims=True) + eps)
    x_hat = centered * scale
    return x_hat * weight + bias, (x_hat, scale)
