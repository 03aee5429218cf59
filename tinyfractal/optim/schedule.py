"""Schedules: how large a step to take, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..check import Count, Probability, Size, checked
from ..guards.optimizers import check_newest, known_epochs
from ..guards.states import check_schedule
from .optimizer import Optimizer


class Schedule:
    """Sets the learning rate of each group: its initial one times a factor, by the epoch.

    Call `step()` after every epoch. The first epoch is number 0. A new schedule starts again from
    the rates that the optimizer was made with, or that were set by hand.
    """

    @checked
    def __init__(self, optimizer: Optimizer, epochs: Count | None = None) -> None:
        self.optimizer = optimizer
        self._epochs = epochs
        self.epoch = 0
        self.number = optimizer.schedules = optimizer.schedules + 1
        self._apply()

    @property
    def epochs(self) -> int:
        """How many epochs there are. Raises `ValueError` where nobody said it."""
        return known_epochs(type(self).__name__, self._epochs)

    @property
    def base_lr(self) -> float:
        """The rate that the factors refer to, of the first group."""
        return float(self.optimizer.param_groups[0]["initial_lr"])

    @checked
    def factor(self, epoch: Size) -> float:
        """What the learning rate is multiplied with in that epoch."""
        return 1.0

    @property
    def replaced(self) -> bool:
        """Whether a newer schedule was made for its optimizer."""
        return self.number != self.optimizer.schedules

    def step(self) -> None:
        """Go on to the next epoch. Raises `ValueError` where a newer schedule has taken over."""
        check_newest(type(self).__name__, self.replaced)
        self.epoch += 1
        self._apply()

    def _apply(self) -> None:
        factor = self.factor(self.epoch)
        for group in self.optimizer.param_groups:
            group.scale(factor)
        over = self._epochs is not None and self.epoch >= self._epochs
        self.optimizer.run_out = type(self).__name__ if over and not factor else ""

    def state_dict(self) -> dict[str, Any]:
        """The epoch and the learning rates, one for each group, that the factors refer to."""
        rates = [float(group["initial_lr"]) for group in self.optimizer.param_groups]
        return {"epoch": self.epoch, "base_lr": rates[0] if len(rates) == 1 else rates}

    @checked
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`. Raises `CheckpointError` where it does not fit."""
        groups = self.optimizer.param_groups
        rates = check_schedule(type(self).__name__, state, len(groups))
        self.epoch = int(state["epoch"])
        for group, rate in zip(groups, rates):
            group["lr"] = rate
        self._apply()


class ConstantLR(Schedule):
    """The same learning rate all the time."""


class StepLR(Schedule):
    """Multiply by gamma every `step_size` epochs, as PyTorch's: StepLR(optimizer, 30, 0.1).

    It has no end of its own; `epochs` tells `fit` when to stop.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        step_size: Count,
        gamma: Probability = 0.1,
        epochs: Count | None = None,
    ) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, epochs)

    @checked
    def factor(self, epoch: Size) -> float:
        return self.gamma ** (epoch // self.step_size)


class CosineLR(Schedule):
    """Half a cosine from 1 down to 0 (Loshchilov & Hutter 2017, arXiv 1608.03983)."""

    @checked
    def factor(self, epoch: Size) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(epoch, self.epochs) / self.epochs))


class HalvingLR(Schedule):
    """FractalNet's: divide by ten whenever the number of remaining epochs halves (section 4).

    Of 400 epochs that is after 200, 300, 350, 375, …
    """

    @checked
    def factor(self, epoch: Size) -> float:
        remaining = max(1, self.epochs - epoch)
        halvings = (self.epochs // remaining).bit_length() - 1  # ⌊log₂(epochs / remaining)⌋
        return 10.0**-halvings
