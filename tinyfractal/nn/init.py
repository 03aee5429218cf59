"""First weights: random, and of a size that keeps signals neither dying nor exploding.

If each of `fan_in` inputs has variance v, a sum of them with independent weights of variance s²
has variance fan_in · s² · v. Xavier (Glorot & Bengio 2010) balances that forward and, with
fan_out, backward: s² = 2 / (fan_in + fan_out). He (He et al. 2015, arXiv 1502.01852) also makes
up for the half that a ReLU sets to zero: s² = 2 / fan_in. Layers use Xavier's, as the paper does;
where batch norm follows, the factor between the two cancels.

Each function takes a shape, (in, out) or (kh, kw, C_in, C_out), and returns a float32 array. The
numbers are drawn on the host, so every backend starts from the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..backend import Array, asarray, rng, xp
from ..check import checked
from ..guards.modules import WeightShape

Initializer = Callable[[tuple[int, ...]], Array]


@checked
def fans(shape: WeightShape) -> tuple[int, int]:
    """(fan_in, fan_out): how many numbers each output is a sum of, and each input goes into."""
    taps = math.prod(shape[:-2])
    return taps * shape[-2], taps * shape[-1]


@checked
def xavier_uniform(shape: WeightShape) -> Array:
    """Uniform in ±√(6 / (fan_in + fan_out))."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return asarray(rng().uniform(-limit, limit, shape), xp.float32)


@checked
def xavier_normal(shape: WeightShape) -> Array:
    """Normal with variance 2 / (fan_in + fan_out)."""
    return asarray(rng().normal(0, math.sqrt(2 / sum(fans(shape))), shape), xp.float32)


@checked
def he_uniform(shape: WeightShape) -> Array:
    """Uniform in ±√(6 / fan_in), for layers followed by a ReLU."""
    limit = math.sqrt(6 / fans(shape)[0])
    return asarray(rng().uniform(-limit, limit, shape), xp.float32)


@checked
def he_normal(shape: WeightShape) -> Array:
    """Normal with variance 2 / fan_in, for layers followed by a ReLU."""
    return asarray(rng().normal(0, math.sqrt(2 / fans(shape)[0]), shape), xp.float32)
