"""A unit in one step: convolution, batch norm and ReLU, of several units on the same image.

    y = max(norm(x * w), 0)        for each of K kernels w

In training the statistics for batch norm are taken while the output of the convolution is in the
cache, and batch norm is done to the outputs of all K kernels together. In inference the kernel
takes over what batch norm does: a multiple of each channel, and a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import Array, xp
from ..engine.modes import mode
from ..engine.operators import raw
from ..ops import conv, norm
from ..ops.conv import Plan
from ..ops.shape import stack
from .conv import forward, gradients, outputs
from .fused import as_written, fused
from .norm import gradients as norm_gradients
from .norm import scale_and_shift, scaled, statistics
from .parallel import one_blas_thread


def conv_units(
    x: Any, weights: Sequence[Any], norms: Sequence[Any], training: bool, **settings: Any
) -> list[Any]:
    """The outputs of K units on x (N, H, W, C): [y₁, y₂, …], each (N, OH, OW, C_out).

    `weights` are kernels of one shape, `norms` as many `nn.BatchNorm2d` of as many channels, alike
    in eps and relu; `settings` those of `conv2d`. In training the running statistics move.
    """
    x, plan = conv.planned(x, weights[0], None, **settings)
    fixed = None
    if not training:  # copies, since a later training step moves them, before backward maybe
        fixed = [[raw(a).copy() for a in (n.running_mean, n.running_var)] for n in norms]
    found: list = []
    ys = _conv_units(
        x, *weights, *(n.weight for n in norms), *(n.bias for n in norms), plan=plan,
        eps=norms[0].eps, relu=norms[0].relu, fixed=fixed, found=found,
    )  # fmt: skip
    for batch_norm, (center, variance) in zip(norms, found):
        count = ys.size // (len(norms) * variance.size)
        norm.move(batch_norm.running_mean, batch_norm.momentum, center)
        norm.move(batch_norm.running_var, batch_norm.momentum, variance * (count / (count - 1)))
    return [ys] if len(norms) == 1 else outputs(ys, len(norms))


def _reference(
    *arrays: Any, plan: Plan, eps: float, relu: bool, fixed: Any, found: list | None
) -> Any:
    """The definitions, one unit after the other."""
    x, several = _sorted(arrays)
    convolve = as_written(conv._conv2d)
    by_batch, by_statistics = as_written(norm._by_batch), as_written(norm._by_statistics)
    ys = []
    for k, (weight, scale, shift) in enumerate(zip(*several)):
        y = convolve(x, weight, plan=plan)
        if fixed is None:
            ys.append(by_batch(y, scale, shift, eps, relu)[0])
        else:
            ys.append(by_statistics(y, scale, shift, *fixed[k], eps, relu))
    return ys[0] if len(ys) == 1 else stack(ys)


def _sorted(arrays: Sequence[Any]) -> tuple[Any, list[Sequence[Any]]]:
    """x; and the kernels, weights and biases of the K units."""
    k = len(arrays) // 3
    return arrays[0], [arrays[1 + i * k : 1 + (i + 1) * k] for i in range(3)]


def _gradient(
    g: Any,
    saved: Any,
    wanted: list[bool],
    *arrays: Array,
    plan: Plan,
    eps: float,
    relu: bool,
    fixed: Any,
    found: list | None,
) -> Sequence[Array | None]:
    x, (kernels, scales, _) = _sorted(arrays)
    k = len(kernels)
    gs = [g] if k == 1 else [g[i] for i in range(k)]
    with one_blas_thread():
        xs, ys, centers, spreads = saved
        g_xs, g_scales, g_shifts = norm_gradients(
            gs, xs, ys, centers, spreads, xp.stack(scales), relu, fixed is not None
        )
        wants = [wanted[0], any(wanted[1 : 1 + k])]
        gx, g_kernels = gradients(g_xs, x, kernels, plan, wants)
    return [gx, *g_kernels, *g_scales, *g_shifts]


@fused(_gradient, _reference)
def _conv_units(
    *arrays: Array, plan: Plan, eps: float, relu: bool, fixed: Any, found: list | None
) -> tuple[Array, Any]:
    x, (kernels, scales, shifts) = _sorted(arrays)
    none = [None] * len(kernels)
    with one_blas_thread():
        weights, biases = xp.stack(scales), xp.stack(shifts)
        if fixed is not None:
            centers, variances = (xp.stack(each) for each in zip(*fixed))
            spreads, multiples, sums = scale_and_shift(centers, variances, weights, biases, eps)
            if not mode.recording:
                multiplied = [kernel * each for kernel, each in zip(kernels, multiples)]
                ys, _ = forward(x, multiplied, sums, plan, relu)
                return ys[0] if len(kernels) == 1 else ys, None
            xs, _ = forward(x, kernels, none, plan)
        else:
            xs, known = forward(x, kernels, none, plan, watch=True)
            batch = [statistics(y) if those is None else those for y, those in zip(xs, known)]
            if found is not None:
                found += batch
            centers, variances = (xp.stack(each) for each in zip(*batch))
            spreads, multiples, sums = scale_and_shift(centers, variances, weights, biases, eps)
        ys = scaled(xs, multiples, sums, relu)
    return ys[0] if len(kernels) == 1 else ys, (xs, ys, centers, spreads)
