"""Joining paths, and dropping at random: join and dropout."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from operator import add
from typing import Any

from ..backend import asarray, by_sample, uniform
from ..check import Below1, checked
from ..engine.definition import definition
from ..engine.tensor import Tensor
from ..errors import ShapeError
from ..guards.arrays import check_arrays
from ..guards.images import check_branches, checked_mask


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
    check_branches(xs)
    if mask is not None:
        mask = checked_mask(mask, xs)
    if len(xs) == 1:
        return xs[0]  # since it is alive in every sample
    if mask is None:
        return _join(*xs, weights=1 / len(xs))
    alive = mask.sum(axis=1, keepdims=True)
    weights = asarray((mask / alive).astype(xs[0].dtype).T)  # (k, N)
    lengths = (len(xs[0]),) + (1,) * (xs[0].ndim - 1)
    return _join(*xs, weights=[weight.reshape(lengths) for weight in weights])


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
