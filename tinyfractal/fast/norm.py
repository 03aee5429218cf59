"""Batch norm and layer norm in few passes over memory, while the numbers are in the cache.

Batch norm is done to several arrays at once, (K, …, C) with weights (K, C): the outputs of the
convolutions that read the same image (`conv.conv2d_each`). An array by itself is one of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import Array, current, xp
from ..engine.definition import RULES
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..ops import norm
from ..ops.shape import stack
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
    line = wide.spread(guess[None])[0]

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


def _sorted(arrays: Sequence[Any]) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    """xs, and as many weights and biases."""
    count = len(arrays) // 2
    return arrays[0], arrays[1 : 1 + count], arrays[1 + count :]


def _batch_reference(*arrays: Any, eps: float, relu: bool, statistics: Any, fixed: bool) -> Any:
    xs, weights, biases = _sorted(arrays)
    ys = []
    for k, (weight, bias) in enumerate(zip(weights, biases)):
        x = xs if len(weights) == 1 else xs[k]
        if fixed:
            center, variance = (each[k] for each in statistics)
            ys.append(as_written(norm._by_statistics)(x, weight, bias, center, variance, eps, relu))
        else:
            ys.append(as_written(norm._by_batch)(x, weight, bias, eps, relu)[0])
    return ys[0] if len(ys) == 1 else stack(ys)


def _batch_gradient(
    g: Any,
    saved: Any,
    wanted: list[bool],
    *arrays: Array,
    eps: float,
    relu: bool,
    statistics: Any,
    fixed: bool,
) -> Sequence[Array]:
    xs, weights, _ = _sorted(arrays)
    ys, centers, spreads = saved
    if current() == "cupy":
        return cuda.batch_norm_gradients(g, ys, centers, spreads, xs, weights[0], eps, relu, fixed)
    one = len(weights) == 1
    gxs, g_weights, g_biases = gradients(
        [g] if one else [g[k] for k in range(len(weights))], xs[None] if one else xs, ys,
        centers, spreads, xp.stack(weights), relu, fixed,
    )  # fmt: skip
    return [gxs[0] if one else gxs, *g_weights, *g_biases]


@fused(_batch_gradient, _batch_reference)
def _batch_norm(*arrays: Array, eps: float, relu: bool, statistics: Any, fixed: bool) -> Any:
    # xs (K, …, C) for K norms at once, or x (…, C); statistics (K, C)
    xs, weights, biases = _sorted(arrays)
    centers, variances = statistics
    if current() == "cupy":
        others = weights[0], biases[0], centers[0], variances[0]
        return cuda.batch_norm(xs, *others, eps, relu)
    several = xs if len(weights) > 1 else xs[None]
    spreads, scales, shifts = scale_and_shift(
        centers, variances, xp.stack(weights), xp.stack(biases), eps
    )
    ys = scaled(several, scales, shifts, relu)
    return ys if len(weights) > 1 else ys[0], (ys, centers, spreads)


def batch_norm_each(xs: Any, norms: Sequence[Any], statistics: Sequence[Array]) -> Any:
    """What each of several `nn.BatchNorm2d`, alike but for their weights, makes of its x.

    xs (K, …, C), or x (…, C) for a single one; `statistics` are the means and variances of the
    batch, (K, C) each, or empty where they are not known yet.
    """
    first, count = norms[0], xs.size // (len(norms) * xs.shape[-1])
    if first.training and count == 1:
        return first(xs if len(norms) == 1 else xs[0])  # which has no variance, and says so
    if not first.training:
        statistics = _running_statistics(norms)
    elif not statistics:
        statistics = _statistics_of_each(raw(xs) if len(norms) > 1 else raw(xs)[None])
    ys = _batch_norm(
        xs, *(each.weight for each in norms), *(each.bias for each in norms), eps=first.eps,
        relu=first.relu, statistics=statistics, fixed=not first.training,
    )  # fmt: skip
    if first.training and count:
        for each, center, variance in zip(norms, *statistics):
            norm.move(each.running_mean, each.momentum, center)
            norm.move(each.running_var, each.momentum, variance * (count / (count - 1)))
    return ys


def _running_statistics(norms: Sequence[Any]) -> list[Array]:
    """Copies of them, (K, C): a later training step moves them in place, before backward maybe."""
    means, variances = zip(*((raw(each.running_mean), raw(each.running_var)) for each in norms))
    return [xp.stack(means), xp.stack(variances)]


def _statistics_of_each(xs: Array) -> list[Array]:
    """Means and variances (K, C) of xs (K, …, C)."""
    if len(xs) == 1:
        return [each[None] for each in statistics(xs[0])]
    centers, variances = zip(*(statistics(x) for x in xs))
    return [xp.stack(centers), xp.stack(variances)]


def _by_batch(x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple[Any, Array, Array]:
    found = _statistics_of_each(raw(x)[None])
    y = _batch_norm(x, weight, bias, eps=eps, relu=relu, statistics=found, fixed=False)
    return y, *(each[0] for each in found)


def _by_statistics(
    x: Any, weight: Any, bias: Any, center: Any, variance: Any, eps: float, relu: bool
) -> Any:
    fixed = center[None], variance[None]
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
