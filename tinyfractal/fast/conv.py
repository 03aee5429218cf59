"""Convolution: which way is the quickest for which shape, and several kernels on one input.

Winograd's (`winograd`) for most 3×3 kernels, windows (`patches`) for few channels, otherwise a tap
after the other (`direct`). On a GPU one product (`cuda`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from .. import backend
from ..backend import Array, xp
from ..check import Pair
from ..engine.definition import RULES
from ..engine.modes import mode
from ..engine.primitive import primitive
from ..engine.tensor import Tensor
from ..ops import conv
from ..ops.conv import Plan
from ..ops.elementwise import relu as max_with_zero
from ..ops.shape import scatter, stack
from . import cuda, direct, patches, winograd
from .fused import as_written, fused
from .memory import Finish


def conv2d_each(
    x: Any,
    weights: Sequence[Any],
    plan: Plan,
    biases: Sequence[Any] = (),
    relu: bool = False,
    statistics: list | None = None,
) -> Any:
    """Convolution of the same x with each of K kernels: (K, N, OH, OW, C_out); of one, without K.

    What single calls would give, sooner: what is done to x alone is done once, and so are the last
    steps of its gradient. `weights` are of one shape, `biases` as many or none.
    Into the list `statistics`, if given, go the means and variances (K, C_out) of the outputs,
    taken while they are in the cache, for batch norm; or nothing, where that cannot be.
    """
    return _conv2d(
        x, *weights, *biases, kernels=len(weights), plan=plan, relu=relu, statistics=statistics
    )


def shares(x: Any, weight: Any, plan: Plan) -> bool:
    """Whether something is gained by doing several kernels like this one at once."""
    return _way(x, weight, plan) is not direct


# ----- The definition, for several kernels -----


def _reference(
    *arrays: Any, kernels: int, plan: Plan, relu: bool = False, statistics: Any = None
) -> Any:
    """The definition, for each kernel."""
    x, weights, biases = _sorted(arrays, kernels)
    define = as_written(conv._conv2d)
    ys = [define(x, w, *(() if b is None else (b,)), plan=plan) for w, b in zip(weights, biases)]
    ys = [max_with_zero(y) for y in ys] if relu else ys
    return ys[0] if kernels == 1 else stack(ys)


def _sorted(arrays: Sequence[Any], kernels: int) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    """x, the kernels, and their biases (each None where there are none)."""
    x, weights, biases = arrays[0], arrays[1 : 1 + kernels], arrays[1 + kernels :]
    return x, weights, biases or [None] * kernels


# ----- The fast rules: which way, by the shape -----


def _way(x: Any, weight: Any, plan: Plan) -> Any:
    """The module that goes the quickest way; all but `direct` do something to x alone."""
    if backend.current() == "cupy" and plan.groups == 1:
        return cuda
    if winograd.suits(x, weight, *plan):
        return winograd
    return patches if patches.suits(weight, plan.groups) else direct


def _size(shape: tuple[int, ...], kernel: tuple[int, ...], plan: Plan) -> Pair:
    """(OH, OW), the rows and columns of the output."""
    per_axis = zip(shape[1:], kernel, plan.border, plan.stride, plan.dilation)
    rows, columns = [
        (n + sum(border) - (k - 1) * dilation - 1) // stride + 1
        for n, k, border, stride, dilation in per_axis
    ]
    return rows, columns


def _gradient(
    g: Any,
    saved: Any,
    wanted: list[bool],
    *arrays: Array,
    kernels: int,
    plan: Plan,
    relu: bool = False,
    statistics: Any = None,
) -> Sequence[Array | None]:
    """For x the full correlation of g with the flipped kernel, for weight that of x with g."""
    x, weights, _ = _sorted(arrays, kernels)
    gs = [g] if kernels == 1 else [g[k] for k in range(kernels)]
    if relu:
        gs = [g * (y > 0) for g, y in zip(gs, saved)]
    g_biases = [g.sum(axis=(0, 1, 2)) for g in gs] if any(wanted[1 + kernels :]) else []
    wants = [wanted[0], any(wanted[1 : 1 + kernels])]
    gx: Any = None
    gws: Any = [None] * kernels
    way = _way(x, weights[0], plan)
    if not any(wants):
        pass
    elif way is cuda:
        gx, gws = cuda.conv2d_gradients(gs, x, weights, plan, wants)
    elif way is winograd:
        gx, gws = winograd.backward(gs, x, weights, plan.border, wants)
    elif way is patches and not wants[0]:  # x is the images, mostly
        gws = patches.kernel_gradients(gs, x, weights, *plan[:3])
    else:
        gxs, gws = zip(
            *(direct.backward(g, x, weight, *plan, wants) for g, weight in zip(gs, weights))
        )
        gx = functools.reduce(xp.add, gxs) if wants[0] else None
    return [gx, *gws, *g_biases]


@fused(_gradient, _reference)
def _conv2d(
    *arrays: Array, kernels: int, plan: Plan, relu: bool = False, statistics: list | None = None
) -> tuple[Array, Array | None]:
    # `finish` is done to some pixels of the output as soon as they are there, in the cache.
    x, weights, biases = _sorted(arrays, kernels)
    weight = weights[0]
    way, size = _way(x, weight, plan), _size(x.shape, weight.shape, plan)
    watch = statistics is not None and way in (winograd, patches)
    stacked = None if biases[0] is None else xp.stack(biases)
    finish = Finish(None if way is winograd else stacked, relu, watch)
    if way is cuda:
        ys = cuda.conv2d(x, weights, biases, size, plan, relu)
    elif way is winograd:
        ys = winograd.forward(x, weights, plan.border, stacked, finish)
    elif way is patches:
        ys = patches.forward(x, weights, size, *plan[:3], finish)
    else:
        each = [direct.forward(x, w, size, *plan, finish, k) for k, w in enumerate(weights)]
        ys = xp.stack(each) if kernels > 1 else each[0][None]
    if statistics is not None:
        statistics += finish.statistics(ys) or ()
    return ys[0] if kernels == 1 else ys, ys if relu else None


# ----- What several kernels give -----


def outputs(ys: Any, kernels: int) -> list[Any]:
    """What each of K kernels gave."""
    return [ys] if kernels == 1 else [_output_of(ys, k=k) for k in range(kernels)]


def _put_back(g: Any, _y: Any, _ys: Any, k: int) -> Any:
    if isinstance(g, Tensor) or mode.anomaly:  # anomaly mode looks at every array
        return scatter(g, index=k, shape=_ys.shape)
    return GradientByKernel(_ys.shape, {k: g})


@primitive(_put_back, view=True)
def _output_of(ys: Any, k: int) -> Any:
    """ys[k]: what kernel k gave. Its gradient is not put back among zeros."""
    return ys[k]


class GradientByKernel:
    """The gradient of the outputs of several kernels: {k: gradient of the output of kernel k}.

    The parts come from different branches, one after the other, and the primitives for several
    kernels, for which alone they are meant, take them one by one; so they are never copied into one
    array.
    """

    def __init__(self, shape: tuple[int, ...], parts: dict[int, Array]) -> None:
        self.shape, self.parts = shape, parts

    def __add__(self, other: GradientByKernel) -> GradientByKernel:
        return GradientByKernel(self.shape, self.parts | other.parts)  # each comes once

    def __getitem__(self, k: int) -> Array:
        if k not in self.parts:  # nobody used that output
            return xp.zeros_like(next(iter(self.parts.values())))
        return self.parts[k]


def one_kernel(x: Any, weight: Any, *bias: Any, plan: Plan) -> Any:
    """What takes the place of the definition."""
    return _conv2d(x, weight, *bias, kernels=1, plan=plan)


RULES[conv._conv2d] = one_kernel
