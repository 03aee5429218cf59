"""What all optimizers have: parameters in groups, a step for each gradient, and a state to save."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy

from ..backend import Array, asarray, asnumpy, xp
from ..check import Amount, checked
from ..engine.definition import definition
from ..engine.tensor import Tensor
from ..guards import optimizers as guard
from ..guards.states import fitting_optimizer
from ..nn.module import Parameter


class ParamGroup(UserDict[str, Any]):
    """Parameters that share their settings: {"params": […], "lr": 0.1, "weight_decay": 0.0, …}.

    To set "lr" is to set "initial_lr" too, the rate that a schedule multiplies.
    """

    def __init__(self, owner: str, hints: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.data = {"params": settings["params"]}
        self.owner, self.hints = owner, hints
        for key, value in settings.items():
            if key != "params":
                self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        self.data[key] = value = guard.setting(self.owner, self.hints, key, value)
        if key == "lr":
            self.data["initial_lr"] = value

    def scale(self, factor: float) -> None:
        """What a schedule does: the initial rate times a factor."""
        self.data["lr"] = self["initial_lr"] * factor


class Setting:
    """`optimizer.lr` and the like: reads the first group's, sets every group's."""

    def __init__(self, hint: Any) -> None:
        self.hint = hint

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        return self if optimizer is None else optimizer.param_groups[0][self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        guard.check_same(type(optimizer).__name__, self.name, optimizer.param_groups)
        for group in optimizer.param_groups:
            group[self.name] = value


class Optimizer:
    """Keeps the parameters, their settings, and the memory of each parameter.

    `parameters` is a list of Tensors, or of groups: dictionaries with "params" and the settings
    in which these differ.
    """

    memories: tuple[str, ...] = ()  # names of the arrays kept for each parameter
    lr = Setting(Amount)
    weight_decay = Setting(Amount)
    hints = {"lr": Amount, "weight_decay": Amount}  # what each setting has to be

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        known = {name: value for kind in cls.__mro__[::-1] for name, value in vars(kind).items()}
        cls.hints = {
            name: value.hint for name, value in known.items() if isinstance(value, Setting)
        }

    @checked
    def __init__(self, parameters: Any, lr: float, weight_decay: float, **more: Any) -> None:
        name = type(self).__name__
        defaults = {"lr": lr, "weight_decay": weight_decay, **more}
        self.param_groups = [
            ParamGroup(name, self.hints, {**defaults, **group})
            for group in guard.groups_of(name, parameters)
        ]
        self.parameters: list[Tensor] = [p for group in self.param_groups for p in group["params"]]
        self.group_of = [group for group in self.param_groups for _ in group["params"]]
        guard.check_leaves(name, self.parameters, learned=Parameter)
        self.networks = guard.Networks(parameters)
        self.steps = 0
        self.counts = [0] * len(self.parameters)  # the steps of each: gradients may come late
        self.memory: dict[str, list[Array]] = {
            name: [xp.zeros_like(p.data) for p in self.parameters] for name in self.memories
        }
        self.run_out = ""  # the schedule that is over, at a rate of 0
        self.schedules = 0  # how many were made for it: only the last may set its rates

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. Raises `AttributeError` for what looks like a setting and is none."""
        guard.check_spelling(self, name)
        super().__setattr__(name, value)

    def step(self) -> None:
        """Change every parameter that has a gradient, and is not frozen.

        Warns where none has. Raises, before anything changes, `ValueError` where the network has
        got new weights, `ShapeError` or `DTypeError` where a gradient does not fit.
        """
        name = f"{type(self).__name__}.step"
        moving = [
            i for i, p in enumerate(self.parameters) if p.grad is not None and p.requires_grad
        ]
        guard.check_step(name, self, moving)
        self.steps += 1
        for i in moving:
            self.counts[i] += 1
            self.parameters[i].changed(name)
        self._move(moving)

    @definition
    def _move(self, which: Sequence[int]) -> None:
        """Change these parameters, each by its gradient."""
        for i in which:
            w, g = self.parameters[i].data, cast(Tensor, self.parameters[i].grad).data
            memory = [arrays[i] for arrays in self.memory.values()]
            self.update(self.group_of[i].data, self.counts[i], w, g, *memory)

    def update(self, group: dict[str, Any], t: int, w: Array, g: Array, *memory: Array) -> None:
        """Change one parameter and its memory in place; this is its t-th step."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def zero_grad(self) -> None:
        """Forget the gradients, before the next backward adds to them."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly from here.

        {"steps": how many, "counts": of each parameter, "lr": and "initial_lr": of each group,
        "momentum.0": an array of the first parameter, …}.
        """
        state: dict[str, Any] = {"steps": self.steps, "counts": numpy.array(self.counts)}
        for key in ("lr", "initial_lr"):
            state[key] = numpy.array([group[key] for group in self.param_groups], numpy.float64)
        for name, arrays in self.memory.items():
            state.update({f"{name}.{i}": asnumpy(a).copy() for i, a in enumerate(arrays)})
        return state

    @checked
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`. Raises `CheckpointError` where it does not fit."""
        given = fitting_optimizer(type(self).__name__, self.state_dict(), state)
        self.steps, self.counts = int(given["steps"]), given["counts"].tolist()
        rates = zip(given["lr"].tolist(), given["initial_lr"].tolist())
        for group, (lr, initial_lr) in zip(self.param_groups, rates):
            group.data |= {"lr": lr, "initial_lr": initial_lr}
        for name, arrays in self.memory.items():
            for i, array in enumerate(arrays):
                array[...] = asarray(given[f"{name}.{i}"])
