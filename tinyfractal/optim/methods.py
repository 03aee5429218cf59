"""Optimizers: what to do with a gradient. (Schedules, in `schedule`: how large a step to take.)

An optimizer goes through its parameters and changes each in place; what it remembers between steps
(a momentum, say) is one array for each parameter and can be saved. With gradient g, learning rate
lr and parameter w, in the t-th step of that parameter:

    SGD       v ← momentum · v + g            w ← w - lr · v
    Adam      m ← β₁ m + (1 - β₁) g           w ← w - lr · m̂ / (√v̂ + eps)
              v ← β₂ v + (1 - β₂) g²          m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)

Parameters may come in groups with settings of their own, such as no weight decay for biases:

    SGD([{"params": weights}, {"params": biases, "weight_decay": 0.0}], lr=0.1, weight_decay=1e-4)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy

from ..backend import Array, asnumpy, xp
from ..check import Amount, Below1, checked
from ..guards.optimizers import careful_length, existing_gradients
from ..nn.module import Module
from .optimizer import Optimizer, Setting


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Nesterov's too) and weight decay, as PyTorch's.

    Weight decay adds weight_decay · w to the gradient, of all parameters: biases and those of batch
    norm too, unless they are in a group of their own (see `param_groups_weight_decay`). Nesterov's
    momentum takes the gradient at the point that the momentum is about to reach; w stands for that
    point, and so the step is lr · (g + momentum · v).
    """

    memories = ("momentum",)
    momentum = Setting(Below1)
    nesterov = Setting(bool)

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, momentum=momentum, nesterov=nesterov)
        if any(group["nesterov"] and not group["momentum"] for group in self.param_groups):
            raise ValueError("SGD: nesterov needs a momentum above 0; without one it does nothing")

    def update(self, group: dict[str, Any], t: int, w: Array, g: Array, *memory: Array) -> None:
        (v,) = memory
        momentum = group["momentum"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * w
        v *= momentum
        v += g
        w -= group["lr"] * (g + momentum * v if group["nesterov"] else v)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980); weight decay adds weight_decay · w to g."""

    memories = ("mean", "square")
    betas = Setting(tuple[Below1, Below1])
    eps = Setting(Amount)

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, betas=betas, eps=eps)

    def update(self, group: dict[str, Any], t: int, w: Array, g: Array, *memory: Array) -> None:
        if group["weight_decay"]:
            g = g + group["weight_decay"] * w
        self.adapt(group, t, w, g, *memory)

    def adapt(self, group: dict[str, Any], t: int, w: Array, g: Array, m: Array, v: Array) -> None:
        """The step itself: each number moves by about lr, in the direction it mostly went."""
        beta1, beta2 = group["betas"]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        w -= group["lr"] * m_hat / (xp.sqrt(v_hat) + group["eps"])


class AdamW(Adam):
    """Adam with decoupled weight decay, w ← w - lr · weight_decay · w (arXiv 1711.05101)."""

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, group: dict[str, Any], t: int, w: Array, g: Array, *memory: Array) -> None:
        w *= 1 - group["lr"] * group["weight_decay"]
        self.adapt(group, t, w, g, *memory)


@checked
def param_groups_weight_decay(net: Module, weight_decay: Amount) -> list[dict[str, Any]]:
    """Two groups: weight decay for weights, none for what has one axis: biases and those of norms.

    optimizer = SGD(param_groups_weight_decay(net, 5e-4), lr=0.1)
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


@checked
def clip_grad_norm_(parameters: Any, max_norm: Amount) -> float:
    """Scale all gradients together so that their joint length is at most `max_norm`.

    Returns the length before, √ Σ g². Raises `FloatingPointError` for a gradient that is not finite
    and leaves them all as they are.
    """
    gradients = existing_gradients("clip_grad_norm_", parameters)
    with numpy.errstate(over="ignore", under="ignore", invalid="ignore"):
        squares = sum((g.data * g.data).sum(dtype=xp.float64) for g in gradients.values())
    total = float(asnumpy(squares))  # here a GPU is waited for, once
    length = (
        math.sqrt(total)
        if 1e-30 < total < math.inf
        else careful_length("clip_grad_norm_", gradients)
    )
    if length > max_norm:
        for g in gradients.values():
            g.data *= max_norm / length
            g.changed("clip_grad_norm_")
    return length
