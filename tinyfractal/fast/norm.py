"""Batch norm and layer norm in few passes over memory, while the numbers are in the cache."""

from __future__ import annotations

from threading import local
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


def _statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel, (C,) each, in one pass.

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


# ----- A multiple of each channel, and ReLU: passes over wide rows of pixels -----


def _scaled(x: Array, scale: Array, shift: Array, rectify: bool) -> Array:
    """x · scale + shift, or max(that, 0)."""
    wide = WideRows(x)
    source, target = wide.of(x), wide.new()
    scale, shift = wide.spread(scale), wide.spread(shift)
    zeros = xp.zeros_like(shift)  # a maximum with an array is quicker than with a number

    def part(where: slice) -> None:
        for some in wide.runs(where):
            out = xp.multiply(source[some], scale, out=target[some])
            out += shift
            if rectify:
                xp.maximum(out, zeros, out=out)

    run(part, parts(wide.count, 2 * x.size))
    return wide.array(target)


def _rectified_sums(
    wide: WideRows, g: Array, x: Array, y: Array, rectify: bool
) -> tuple[Array, Array, Array]:
    """The gradient of ReLU's input, as wide rows; for each channel its sum, and that of it · x."""
    g_in, x_in, y_in, out = wide.of(g), wide.of(x), wide.of(y), wide.new()

    def part(where: slice) -> tuple[Any, Any]:
        total: Any = 0.0
        total_x: Any = 0.0
        for some in wide.runs(where):
            masked = out[some]
            if rectify:
                xp.greater(y_in[some], 0, out=masked, casting="unsafe")
                masked *= g_in[some]
            else:
                masked[...] = g_in[some]
            total += xp.ones(len(masked), x.dtype) @ masked
            total_x += xp.einsum("ij,ij->j", masked, x_in[some])
        return total, total_x

    found = run(part, parts(wide.count, 4 * x.size))
    return out, *(wide.gathered(sum(several)) for several in zip(*found))


def _batch_reference(
    x: Any, weight: Any, bias: Any, eps: float, relu: bool, statistics: Any, fixed: bool
) -> Any:
    if fixed:
        return as_written(norm._by_statistics)(x, weight, bias, *statistics, eps, relu)
    return as_written(norm._by_batch)(x, weight, bias, eps, relu)[0]


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
    if current() == "cupy":
        return cuda.batch_norm_gradients(g, *saved, x, weight, eps, relu, fixed)
    y, center, scale = saved  # scale = 1 / √(variance + eps)
    wide = WideRows(x)
    target, g_bias, g_x = _rectified_sums(wide, g, x, y, relu)
    g_weight = (g_x - g_bias * center) * scale
    # gx = weight · scale · (g - mean(g) - x̂ · mean(g·x̂)), as one multiple of g, one of x, and rest
    a = weight * scale
    b = a * scale * g_weight / -max(x.size // x.shape[-1], 1)
    c = a * g_bias / -max(x.size // x.shape[-1], 1) - b * center
    source = wide.of(x)
    a, b, c = wide.spread(a), wide.spread(b), wide.spread(c)

    def part(where: slice) -> None:
        for some in wide.runs(where):
            out = target[some]
            out *= a
            if not fixed:  # the statistics depend on x
                of_x = source[some] * b
                of_x += c
                out += of_x

    run(part, parts(wide.count, 2 * x.size))
    return wide.array(target), g_weight, g_bias


@fused(_batch_gradient, _batch_reference)
def _batch_norm(
    x: Array, weight: Array, bias: Array, *, eps: float, relu: bool, statistics: Any, fixed: bool
) -> Any:
    # `statistics` are those of x, where the caller has them already; or `fixed` ones
    center, variance = _statistics(x) if statistics is None else statistics
    if current() == "cupy":
        return cuda.batch_norm(x, weight, bias, center, variance, eps, relu)
    scale = 1 / xp.sqrt(variance + eps)
    multiple = scale * weight
    y = _scaled(x, multiple, bias - center * multiple, relu)
    return y, (y, center, scale)


def _by_batch(x: Any, weight: Any, bias: Any, eps: float, relu: bool) -> tuple[Any, Array, Array]:
    statistics = noted.of(raw(x)) or _statistics(raw(x))
    y = _batch_norm(x, weight, bias, eps=eps, relu=relu, statistics=statistics, fixed=False)
    return y, *statistics


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


class Noted(local):
    """The statistics of an array that its maker has taken already, in this thread."""

    array: Any = None
    statistics: Any = None

    def of(self, array: Array) -> Any:
        """They, if it is that array; asked for once."""
        found = self.statistics if array is self.array else None
        self.array = self.statistics = None
        return found


noted = Noted()


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
