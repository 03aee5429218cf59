"""What all optimizers have: parameters in groups, steps in pieces, and a state to save.

[{"params": weights, "weight_decay": 1e-4}, {"params": biases, "lr": 0.01}]
"""

from __future__ import annotations

import itertools
import warnings
from collections import UserDict
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

import numpy

from ..backend import Array, asarray, asnumpy, check_array, xp
from ..check import PACKAGE, Amount, checked, got, need
from ..engine.definition import definition
from ..engine.tensor import Tensor
from ..errors import CheckpointError, DTypeError, ShapeError
from ..nn.module import FOUND, Module, Parameter, Weights

# ----- Groups -----


def as_list(given: Any) -> list[Any]:
    """The things in a list, or in what else can be gone through; one alone is a list of one."""
    single = isinstance(given, (Tensor, Module, Mapping)) or not isinstance(given, Iterable)
    return [given] if single else list(given)


def tensors_of(name: str, parameters: Any) -> list[Tensor]:
    """The Tensors in a list, or a single one. Raises `TypeError` for anything else."""
    if isinstance(parameters, (set, frozenset)):
        raise TypeError(f"{name}: parameters come in a list; a set has another order in each run")
    tensors = as_list(parameters)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name}: parameters are Tensors, such as net.parameters(), got {got(tensor)}"
            )
    return tensors


def groups_of(name: str, parameters: Any) -> list[dict[str, Any]]:
    """The groups in what an optimizer is given; a plain list of Tensors is one group."""
    tensors = isinstance(parameters, (set, frozenset))
    given: list[Any] = tensors_of(name, parameters) if tensors else as_list(parameters)
    if not any(isinstance(part, Mapping) for part in given):
        given = [{"params": given}]
    groups = []
    for group in given:
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f'{name}: a group is a dictionary with "params", got {got(group)}')
        groups.append({**group, "params": tensors_of(name, group["params"])})
    if not all(group["params"] for group in groups):
        raise ValueError(f"{name}: parameters is empty, there is nothing to optimize")
    return groups


def modules_of(parameters: Any) -> list[Module]:
    """The modules of which an optimizer is given all the weights."""
    groups = [parameters] if isinstance(parameters, (Mapping, Tensor)) else parameters
    lists = [parameters, *(group["params"] for group in groups if isinstance(group, Mapping))]
    return [weights.module for weights in lists if isinstance(weights, Weights)]


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
        if key not in self.hints:
            raise ValueError(
                f"{self.owner}: {key!r} is no setting of a group; there are {', '.join(self.hints)}"
            )
        need(self.owner, key, value, self.hints[key])
        value = value.item() if isinstance(value, numpy.generic) else value
        self.data[key] = tuple(value) if isinstance(value, list) else value
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
        values = [group[self.name] for group in optimizer.param_groups]
        if any(other != values[0] for other in values):
            raise ValueError(
                f"{type(optimizer).__name__}: the groups have a {self.name} each, {values}; set "
                f'optimizer.param_groups[i]["{self.name}"]'
            )
        for group in optimizer.param_groups:
            group[self.name] = value


# ----- The optimizer -----

SYNONYMS = {"learning_rate": "lr", "decay": "weight_decay", "epsilon": "eps"}  # of other libraries


class Optimizer:
    """Keeps the parameters, their settings, and the memory of each parameter.

    `parameters` is a list of Tensors, or of groups: dictionaries with "params" and the settings
    in which these differ.
    """

    memories: tuple[str, ...] = ()  # names of the arrays kept for each parameter
    lr = Setting(Amount)
    weight_decay = Setting(Amount)

    @checked
    def __init__(self, parameters: Any, lr: float, weight_decay: float, **more: Any) -> None:
        name = type(self).__name__
        defaults = {"lr": lr, "weight_decay": weight_decay, **more}
        self.param_groups = [
            ParamGroup(name, self.hints(), {**defaults, **group})
            for group in groups_of(name, parameters)
        ]
        self.parameters: list[Tensor] = [p for group in self.param_groups for p in group["params"]]
        self.group_of = [group for group in self.param_groups for _ in group["params"]]
        check_leaves(name, self.parameters)
        self.modules = modules_of(parameters)
        self.inside = [m for module in self.modules for _, m in module.named_modules()]
        self.seen = self._held()
        self.steps = 0
        self.counts = [0] * len(self.parameters)  # the steps of each: gradients may come late
        self.size = sum(p.size for p in self.parameters)
        self.memory: dict[str, list[Array]] = {
            name: [xp.zeros_like(p.data) for p in self.parameters] for name in self.memories
        }
        self.run_out = ""  # the schedule that is over, at a rate of 0
        self.schedules = 0  # how many were made for it: only the last may set its rates

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. Raises `AttributeError` for what looks like a setting and is none."""
        ours = type(self).__module__.startswith(PACKAGE)  # a subclass may have what it likes
        if ours and not hasattr(self, name) and name not in self.hints():
            alike = get_close_matches(name, [*self.hints(), *SYNONYMS], 1, 0.85)
            if alike:
                raise AttributeError(
                    f"{type(self).__name__}: there is no {name}, and setting it would change "
                    f"nothing; did you mean {SYNONYMS.get(alike[0], alike[0])}?"
                )
        super().__setattr__(name, value)

    @classmethod
    def hints(cls) -> dict[str, Any]:
        """{setting: what it has to be}."""
        known = (vars(kind).items() for kind in reversed(cls.__mro__))
        settings = itertools.chain.from_iterable(known)
        return {name: value.hint for name, value in settings if isinstance(value, Setting)}

    def step(self) -> None:
        """Change every parameter that has a gradient, and is not frozen.

        Warns where none has. Raises, before anything changes, `ValueError` where the network has
        got new weights, `ShapeError` or `DTypeError` where a gradient does not fit.
        """
        name = f"{type(self).__name__}.step"
        if self.run_out and not any(group["lr"] for group in self.param_groups):
            raise ValueError(
                f"{name}: {self.run_out} is over, and the learning rate 0, so nothing would be "
                f"learned; make a new schedule, or set optimizer.lr"
            )
        moving = [
            i for i, p in enumerate(self.parameters) if p.grad is not None and p.requires_grad
        ]
        if len(moving) < len(self.parameters) or self.seen != self._held():
            self._check_network(name)
        if not moving:
            warnings.warn(
                f"{name}: no parameter has a gradient, so nothing moves; call backward() between "
                "zero_grad() and step()",
                stacklevel=2,
            )
        memory = list(zip(*self.memory.values()))
        for i in moving:
            check_gradient(name, i, self.parameters[i], memory[i] if memory else ())
        self.steps += 1
        for i in moving:
            self.counts[i] += 1
            self.parameters[i].changed(name)
        self._move(moving)

    def _check_network(self, name: str) -> None:
        """Raise where a network has weights by now that this optimizer was not given."""
        self.seen, own = self._held(), set(self.parameters)
        for module in self.modules:
            late = [n for n, p in module.named_parameters() if p.requires_grad and p not in own]
            if late:
                raise ValueError(
                    f"{name}: {late[0]} came into the {type(module).__name__} later and would "
                    "not move; make the optimizer anew from net.parameters()"
                )

    def _held(self) -> int:
        """How many weights and modules the modules have: a weight that came later adds to it."""
        return sum(isinstance(value, FOUND) for m in self.inside for value in vars(m).values())

    @definition
    def _move(self, which: Sequence[int]) -> None:
        """Change these parameters, each by its gradient."""
        for i in which:
            w, g = self.parameters[i].data, cast(Tensor, self.parameters[i].grad).data
            memory = [arrays[i] for arrays in self.memory.values()]
            self.update(self.group_of[i].data, self.counts[i], w, g, *memory)

    def update(self, group: dict[str, Any], t: int, w: Array, g: Array, *memory: Array) -> None:
        """Change one parameter, or a piece of it, and its memory, in place, for the t-th time."""
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
        """Go on from a `state_dict`. Raises `CheckpointError` where it does not fit.

        An older one has a single rate, and a single count of steps for all parameters.
        """
        name, own = type(self).__name__, self.state_dict()
        given = {key: asnumpy(value) for key, value in state.items()}
        if "steps" in given and "counts" not in given:
            given["counts"] = numpy.full(len(self.counts), given["steps"])
            given["initial_lr"] = own["initial_lr"]
        if "lr" in given and given["lr"].shape == ():
            given["lr"] = given["lr"].reshape(1)
        missing, unexpected = sorted(set(own) - set(given)), sorted(set(given) - set(own))
        if missing or unexpected:
            raise CheckpointError(
                f"{name}: the saved state is of another optimizer or network: "
                f"missing {missing}, unexpected {unexpected}"
            )
        for key, value in own.items():
            check_entry(name, key, given[key], numpy.asarray(value))
        self.steps, self.counts = int(given["steps"]), given["counts"].tolist()
        rates = zip(given["lr"].tolist(), given["initial_lr"].tolist())
        for group, (lr, initial_lr) in zip(self.param_groups, rates):
            group.data |= {"lr": lr, "initial_lr": initial_lr}
        for name, arrays in self.memory.items():
            for i, array in enumerate(arrays):
                array[...] = asarray(given[f"{name}.{i}"])


# ----- What does not fit -----


def check_leaves(name: str, parameters: Sequence[Tensor]) -> None:
    """Raise `ValueError` for what an optimizer cannot move; a frozen Parameter it leaves alone."""
    if len(set(parameters)) < len(parameters):
        raise ValueError(f"{name}: a parameter is listed twice and would take two steps at once")
    if len({id(parameter.data) for parameter in parameters}) < len(parameters):
        raise ValueError(
            f"{name}: two parameters have one array, which would move twice; to tie weights, use "
            "one Parameter in both places"
        )
    for i, parameter in enumerate(parameters):
        check_array(parameter.data, f"{name}: parameter {i}")
        if parameter.node is not None:
            raise ValueError(
                f"{name}: parameter {i} of shape {parameter.shape} was computed from others, and "
                "backward leaves it no gradient; optimize what it was computed from"
            )
        if not parameter.requires_grad and not isinstance(parameter, Parameter):
            raise ValueError(
                f"{name}: parameter {i} of shape {parameter.shape} needs no gradient and would "
                "never move; make it a Parameter, or leave it out"
            )
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(f"{name}: none of the parameters has requires_grad, nothing would move")


def check_gradient(name: str, i: int, parameter: Tensor, memory: Sequence[Array] = ()) -> None:
    """Raise unless parameter number i, its gradient and its memory are arrays of one kind."""
    w, g = parameter.data, parameter.grad
    if not isinstance(g, Tensor):
        raise DTypeError(f"{name}: the grad of parameter {i} needs a Tensor, got {got(g)}")
    kind, shape, dtype = type(w), w.shape, w.dtype
    for array in (g.data, *memory):
        if type(array) is kind and array.shape == shape and array.dtype == dtype:
            continue
        what = "its grad" if array is g.data else "its memory"
        check_array(array, f"{name}: {what} of parameter {i}")
        late = "; make the optimizer after astype() or such changes" if what != "its grad" else ""
        raise (ShapeError if array.shape != shape else DTypeError)(
            f"{name}: parameter {i} has shape {w.shape} and type {w.dtype}, {what} has shape "
            f"{array.shape} and type {array.dtype}{late}"
        )


def check_entry(name: str, key: str, array: numpy.ndarray, own: numpy.ndarray) -> None:
    """Raise `CheckpointError` unless an entry of a saved state can take the place of our own."""
    if array.shape != own.shape:
        raise CheckpointError(f"{name}: {key} has shape {own.shape}, the saved state {array.shape}")
    kinds = "iu" if own.dtype.kind == "i" else "fiu" if key.endswith("lr") else "f"
    if array.dtype.kind not in kinds:
        raise CheckpointError(f"{name}: {key} has type {own.dtype}, the saved state {array.dtype}")
    signed = key.partition(".")[0] not in ("steps", "counts", "lr", "initial_lr", "square")
    with numpy.errstate(over="ignore"):
        fine = numpy.isfinite(array.astype(own.dtype)).all() and (signed or (array >= 0).all())
    if not fine:
        raise CheckpointError(f"{name}: {key} has numbers in the saved state that cannot be right")
