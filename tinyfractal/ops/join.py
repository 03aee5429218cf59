"""Where paths meet, and what is left out at random: join and dropout."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from operator import add
from typing import Any

import numpy

from ..backend import asarray, by_sample, on_gpu, uniform
from ..check import Below1, checked
from ..engine.definition import definition
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..errors import DTypeError, ShapeError
from ..guards.arrays import check_arrays


@definition
def _join(*xs: Any, weights: Any) -> Any:
    """Σ weight · x; one weight for all, or a weight for each sample of each x: k of (N, 1, …)."""
    if isinstance(weights, float):
        return functools.reduce(add, xs) * weights
    return functools.reduce(add, [x * weight for x, weight in zip(xs, weights)])


@checked
def join(xs: Sequence[Any], mask: Any = None) -> Tensor:
    """Elementwise mean of the branches that are alive: k arrays (N, …) → (N, …).

    FractalNet's ⊕ (Larsson et al. 2016, section 3). `mask`, (N, k) of booleans, says which
    branches are alive for each sample; every sample needs one. A branch gets the gradient divided
    by the number alive, and none where it is not.
    Raises `ShapeError` for branches of different shapes, or a sample with no branch alive. (A mask
    that is on a GPU already is not looked at; such a sample then becomes NaN.)
    """
    if not xs:
        raise ShapeError("join: xs is empty: there is no branch to join")
    for position, x in enumerate(xs):
        check_arrays("join", **{f"xs[{position}]": x})
        if x.shape != xs[0].shape:
            raise ShapeError(f"join: xs[{position}] has shape {x.shape}, xs[0] has {xs[0].shape}")
    if mask is None:
        return xs[0] if len(xs) == 1 else _join(*xs, weights=1 / len(xs))
    mask = raw(mask)
    mask = mask if on_gpu(mask) else numpy.asarray(mask)
    if mask.dtype.kind != "b":
        raise DTypeError(f"join: mask says alive or not, so it must be bool, got {mask.dtype}")
    if mask.shape != (len(xs[0]), len(xs)):
        raise ShapeError(f"join: mask has shape {mask.shape}, expected {(len(xs[0]), len(xs))}")
    alive = mask.sum(axis=1, keepdims=True)
    if not on_gpu(alive) and not alive.all():
        raise ShapeError(f"join: no branch is alive for sample {int(alive[:, 0].argmin())}")
    if len(xs) == 1:
        return xs[0]  # since it is alive in every sample
    weights = asarray((mask / alive).astype(xs[0].dtype).T)  # (k, N)
    by_sample = (len(xs[0]),) + (1,) * (xs[0].ndim - 1)
    return _join(*xs, weights=[weight.reshape(by_sample) for weight in weights])


@checked
def dropout(x: Any, p: Below1 = 0.5, training: bool = True, per_channel: bool = False) -> Tensor:
    """Set each number to zero with probability p, and scale the others by 1 / (1 - p).

    With `per_channel` whole channels of an image (N, H, W, C) are dropped together. Nothing
    happens outside training. (Srivastava et al. 2014; Tompson et al. 2015 for channels.)
    Raises `ValueError` unless 0 ≤ p < 1.
    """
    check_arrays("dropout", x=x)
    if per_channel and x.ndim < 2:
        raise ShapeError(f"dropout: per_channel needs x (N, …, C), got {x.shape}")
    if not training or p == 0:
        return x
    shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]) if per_channel else x.shape
    samples = math.prod(shape[:1])  # 1 for a single number
    drawn = by_sample(samples, lambda n: uniform((n, *shape[1:])))
    keep = (drawn.reshape(shape) >= p).astype(x.dtype)
    return x * (keep / (1 - p))
