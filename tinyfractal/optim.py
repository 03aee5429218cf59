"""Optimizers: what to do with a gradient. Schedules: how large a step to take, and when.

An optimizer goes through its parameters and changes each in place; what it remembers between steps
(a momentum, say) is one array for each parameter and can be saved. With gradient g, learning rate
lr and parameter w:

    SGD       v ← momentum · v + g            w ← w - lr · v
    Adam      m ← β₁ m + (1 - β₁) g           w ← w - lr · m̂ / (√v̂ + eps)
              v ← β₂ v + (1 - β₂) g²          m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from .backend import Array, asarray, asnumpy, xp
from .errors import CheckpointError
from .ops.memory import RUN
from .parallel import at_once, run, runs
from .tensor import Tensor


class Optimizer:
    """Keeps the parameters, the learning rate, and the memory of each parameter."""

    memories: tuple[str, ...] = ()  # names of the arrays kept for each parameter

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        name = type(self).__name__
        self.parameters = list(parameters) if isinstance(parameters, Iterable) else [parameters]
        if not self.parameters:
            raise ValueError(f"{name}: there is no parameter to optimize")
        if not all(isinstance(p, Tensor) for p in self.parameters):
            raise TypeError(f"{name}: parameters are Tensors, such as net.parameters()")
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError(
                f"{name}: a parameter is listed twice and would take two steps at once"
            )
        for setting, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name}: {setting} must not be negative, got {value}")
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.size = sum(p.size for p in self.parameters)
        self.memory: dict[str, list[Array]] = {
            name: [xp.zeros_like(p.data) for p in self.parameters] for name in self.memories
        }

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        self.steps += 1
        pieces: list[tuple[int, Any]] = []
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                if parameter.size > RUN and parameter.data.flags.c_contiguous:
                    pieces += [(i, some) for some in runs(slice(0, parameter.size), RUN)]
                else:
                    pieces.append((i, None))
                parameter.changed(f"{type(self).__name__}.step")
        shares = at_once(self.size)
        if shares == 1:
            self._move(pieces)
        else:
            run(self._move, [pieces[k::shares] for k in range(shares)])

    def _move(self, pieces: Sequence[tuple[int, Any]]) -> None:
        """Change these pieces of the parameters: (which, numbers from … to; None: all)."""
        for i, some in pieces:
            parameter = self.parameters[i]
            arrays = [parameter.data, cast(Tensor, parameter.grad).data]
            arrays += [memory[i] for memory in self.memory.values()]
            if some is not None:
                arrays = [array.reshape(-1)[some] for array in arrays]
            self.update(*arrays)

    def update(self, w: Array, g: Array, *memory: Array) -> None:
        """Change one parameter, or a piece of it, and its memory, in place."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients, before the next backward adds to them."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly from here: {"steps", "lr", "momentum.0", …}."""
        state: dict[str, Any] = {"steps": self.steps, "lr": self.lr}
        for name, arrays in self.memory.items():
            state.update({f"{name}.{i}": asnumpy(a).copy() for i, a in enumerate(arrays)})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`. Raises `CheckpointError` where it does not fit."""
        own = self.state_dict()
        missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
        if missing or unexpected:
            raise CheckpointError(
                f"{type(self).__name__}: the saved state is of another optimizer or network: "
                f"missing {missing}, unexpected {unexpected}"
            )
        for key, value in own.items():
            if xp.shape(state[key]) != xp.shape(value):
                raise CheckpointError(
                    f"{type(self).__name__}: {key} has shape {xp.shape(value)}, the saved state "
                    f"{xp.shape(state[key])}"
                )
        self.steps, self.lr = int(state["steps"]), float(state["lr"])
        for name, arrays in self.memory.items():
            for i, array in enumerate(arrays):
                array[...] = asarray(state[f"{name}.{i}"])


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Nesterov's too) and weight decay, as PyTorch's.

    Weight decay adds weight_decay · w to the gradient, of all parameters: biases and those of batch
    norm too. Nesterov's momentum takes the gradient where the momentum is about to lead; w stands
    for that place, and so the step is lr · (g + momentum · v).
    """

    memories = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.02,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, w: Array, g: Array, *memory: Array) -> None:
        (v,) = memory
        if self.weight_decay:
            g = g + self.weight_decay * w
        v *= self.momentum
        v += g
        w -= self.lr * (g + self.momentum * v if self.nesterov else v)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980); weight decay adds weight_decay · w to g."""

    memories = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas, self.eps = betas, eps

    def update(self, w: Array, g: Array, *memory: Array) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * w
        self.adapt(w, g, *memory)

    def adapt(self, w: Array, g: Array, m: Array, v: Array) -> None:
        """The step itself: each number moves by about lr, in the direction it mostly went."""
        beta1, beta2 = self.betas
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        m_hat = m / (1 - beta1**self.steps)
        v_hat = v / (1 - beta2**self.steps)
        w -= self.lr * m_hat / (xp.sqrt(v_hat) + self.eps)


class AdamW(Adam):
    """Adam with decoupled weight decay, w ← w - lr · weight_decay · w (arXiv 1711.05101)."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(self, w: Array, g: Array, *memory: Array) -> None:
        w *= 1 - self.lr * self.weight_decay
        self.adapt(w, g, *memory)


def clip_grad_norm_(parameters: Sequence[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their joint length is at most `max_norm`.

    Returns the length before, √ Σ g².
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must not be negative, got {max_norm}")
    gradients = [p.grad for p in parameters if p.grad is not None]
    squares = sum((g.data * g.data).sum(dtype=xp.float64) for g in gradients)
    length = math.sqrt(asnumpy(squares))  # here a GPU is waited for, once
    if length > max_norm:
        for g in gradients:
            g.data *= max_norm / length
            g.changed("clip_grad_norm_")
    return length


# ----- Schedules -----


class Schedule:
    """Sets the optimizer's learning rate: `base_lr` times a factor that depends on the epoch.

    Call `step()` after every epoch. The first epoch is number 0.
    """

    def __init__(self, optimizer: Optimizer, epochs: int) -> None:
        if epochs < 1:
            raise ValueError(f"{type(self).__name__}: epochs must be at least 1, got {epochs}")
        self.optimizer = optimizer
        self.base_lr = optimizer.lr
        self.epochs = epochs
        self.epoch = 0
        self._apply()

    def factor(self, epoch: int) -> float:
        """What the learning rate is multiplied with in that epoch."""
        return 1.0

    def step(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self._apply()

    def _apply(self) -> None:
        self.optimizer.lr = self.base_lr * self.factor(self.epoch)

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the learning rate that the factors refer to."""
        return {"epoch": self.epoch, "base_lr": self.base_lr}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.epoch, self.base_lr = int(state["epoch"]), float(state["base_lr"])
        self._apply()


class ConstantLR(Schedule):
    """The same learning rate all the time."""


class StepLR(Schedule):
    """Multiply by gamma every `step_size` epochs (a third of them unless told otherwise)."""

    def __init__(
        self, optimizer: Optimizer, epochs: int, step_size: int | None = None, gamma: float = 0.1
    ) -> None:
        self.step_size = step_size or max(1, epochs // 3)
        self.gamma = gamma
        super().__init__(optimizer, epochs)

    def factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class CosineLR(Schedule):
    """Half a cosine from 1 down to 0 (Loshchilov & Hutter 2017, arXiv 1608.03983)."""

    def factor(self, epoch: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(epoch, self.epochs) / self.epochs))


class HalvingLR(Schedule):
    """FractalNet's: divide by ten whenever the number of remaining epochs halves (section 4).

    Of 400 epochs that is after 200, 300, 350, 375, …
    """

    def factor(self, epoch: int) -> float:
        remaining = max(1, self.epochs - epoch)
        halvings = (self.epochs // remaining).bit_length() - 1  # ⌊log₂(epochs / remaining)⌋
        return 10.0**-halvings
