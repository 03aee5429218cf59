"""Parameters, groups and gradients: what an optimizer could not move, or would move wrongly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy

from ..backend import Array, asnumpy, check_array
from ..check import PACKAGE, got, need
from ..engine.tensor import Tensor
from ..errors import DTypeError, ShapeError
from .modules import FOUND, Guarded, Weights

# ----- Parameters, groups and settings -----


def as_list(given: Any) -> list[Any]:
    """The things in a list, or in what else can be gone through; one alone is a list of one."""
    single = isinstance(given, (Tensor, Guarded, Mapping)) or not isinstance(given, Iterable)
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


def check_leaves(name: str, parameters: Sequence[Tensor], learned: type[Tensor]) -> None:
    """Raise `ValueError` for what an optimizer cannot move. What is `learned` may be frozen."""
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
        if not parameter.requires_grad and not isinstance(parameter, learned):
            raise ValueError(
                f"{name}: parameter {i} of shape {parameter.shape} needs no gradient and would "
                "never move; make it a Parameter, or leave it out"
            )
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError(f"{name}: none of the parameters has requires_grad, nothing would move")


def setting(name: str, hints: Mapping[str, Any], key: str, value: Any) -> Any:
    """A setting of a group as a plain value. Raises where there is no such one, or it is wrong."""
    if key not in hints:
        raise ValueError(f"{name}: {key!r} is no setting of a group; there are {', '.join(hints)}")
    need(name, key, value, hints[key])
    value = value.item() if isinstance(value, numpy.generic) else value
    return tuple(value) if isinstance(value, list) else value


def check_same(name: str, key: str, groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise `ValueError` where groups differ in a setting that would be set for all of them."""
    values = [group[key] for group in groups]
    if any(other != values[0] for other in values):
        raise ValueError(
            f"{name}: the groups have a {key} each, {values}; set "
            f'optimizer.param_groups[i]["{key}"]'
        )


SYNONYMS = {"learning_rate": "lr", "decay": "weight_decay", "epsilon": "eps"}  # of other libraries


def check_spelling(optimizer: Any, name: str) -> None:
    """Raise `AttributeError` for an attribute that looks like a setting and is none."""
    ours = type(optimizer).__module__.startswith(PACKAGE)  # a subclass may have what it likes
    if ours and not hasattr(optimizer, name) and name not in optimizer.hints:
        alike = get_close_matches(name, [*optimizer.hints, *SYNONYMS], 1, 0.85)
        if alike:
            raise AttributeError(
                f"{type(optimizer).__name__}: there is no {name}, and setting it would change "
                f"nothing; did you mean {SYNONYMS.get(alike[0], alike[0])}?"
            )


def known_epochs(schedule: str, epochs: int | None) -> int:
    """How many epochs a schedule has. Raises `ValueError` where nobody said it."""
    if epochs is None:
        raise ValueError(
            f"{schedule}: how many epochs are there? {schedule}(optimizer, …, epochs=25) says it, "
            "or, for a schedule without an end, fit(…, epochs=25)"
        )
    return epochs


# ----- Each step -----


def check_newest(schedule: str, replaced: bool) -> None:
    """Raise `ValueError` where a newer schedule has taken over."""
    if replaced:
        raise ValueError(
            f"{schedule}.step: a newer schedule was made for this optimizer, and "
            "both would set its rates; step that one, or make it when this one is over"
        )


class Networks:
    """The modules of whose weights an optimizer is made; it would not move those that come later.

    Weights may come into a module that was there, or in another module that replaces it. Either
    changes how many there are in the modules of the beginning, which is counted in every step.
    """

    def __init__(self, parameters: Any) -> None:
        """From what an optimizer is given: the weights of a module, or groups with them."""
        groups = [parameters] if isinstance(parameters, (Mapping, Tensor)) else parameters
        lists = [parameters, *(group["params"] for group in groups if isinstance(group, Mapping))]
        self.modules = [weights.module for weights in lists if isinstance(weights, Weights)]
        self.inside = [m for module in self.modules for _, m in module.named_modules()]
        self.count = self.counted()

    def counted(self) -> int:
        """How many weights and modules there are, if not more: one that is new adds to it."""
        return sum(isinstance(v, FOUND) for module in self.inside for v in vars(module).values())

    def check(self, name: str, parameters: Sequence[Tensor]) -> None:
        """Raise `ValueError` where a module has a weight that is not one of these."""
        self.count, known = self.counted(), set(parameters)
        for module in self.modules:
            for path, parameter in module.named_parameters():
                if parameter.requires_grad and parameter not in known:
                    raise ValueError(
                        f"{name}: {path} came into the {type(module).__name__} later and would "
                        "not move; make the optimizer anew from net.parameters()"
                    )


def check_step(name: str, optimizer: Any, moving: Sequence[int]) -> None:
    """Warn or raise where a step would change nothing, miss a weight, or have no fitting gradient.

    `moving` are the numbers of the parameters with a gradient.
    """
    if optimizer.run_out and not any(group["lr"] for group in optimizer.param_groups):
        raise ValueError(
            f"{name}: {optimizer.run_out} is over, and the learning rate 0, so nothing would be "
            f"learned; make a new schedule, or set optimizer.lr"
        )
    parameters, networks = optimizer.parameters, optimizer.networks
    if len(moving) < len(parameters) or networks.count != networks.counted():
        networks.check(name, parameters)
    if not moving:
        warnings.warn(
            f"{name}: no parameter has a gradient, so nothing moves; call backward() between "
            "zero_grad() and step()",
            stacklevel=3,
        )
    memory = list(zip(*optimizer.memory.values()))
    for i in moving:
        check_gradient(name, i, parameters[i], memory[i] if memory else ())


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


# ----- Clipping -----


def existing_gradients(name: str, parameters: Any) -> dict[int, Tensor]:
    """{number of a parameter: its gradient}, each once. Raises where one does not fit."""
    gradients = {}
    for i, parameter in enumerate(dict.fromkeys(tensors_of(name, parameters))):
        if parameter.grad is not None:
            check_gradient(name, i, parameter)
            gradients[i] = parameter.grad
    return gradients


def careful_length(name: str, gradients: Mapping[int, Tensor]) -> float:
    """√ Σ g² where g² is too large or too small for its type: √ Σ (g / top)² · top.

    Raises `FloatingPointError` where a gradient, or the length, is not finite.
    """
    arrays = {i: asnumpy(g) for i, g in gradients.items()}
    for i, array in arrays.items():
        if not numpy.isfinite(array).all():
            raise FloatingPointError(
                f"{name}: the gradient of parameter {i}, of shape {array.shape}, is not "
                "finite; all gradients are left as they are. Try a smaller learning rate; "
                "`with tinyfractal.detect_anomaly():` finds the place."
            )
    top = max((float(abs(array).max(initial=0)) for array in arrays.values()), default=0.0)
    if not top:
        return 0.0
    scaled = (array.astype(numpy.float64) / top for array in arrays.values())
    length = top * math.sqrt(sum(float((array * array).sum()) for array in scaled))
    if length == math.inf:
        raise FloatingPointError(f"{name}: the gradients together are longer than 1e308")
    return length
