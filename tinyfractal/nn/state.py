"""Does a saved state fit a module? What is missing, unexpected, misshapen or no number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy

from ..backend import asnumpy
from ..engine.tensor import Tensor


def as_array(value: Any) -> Any:
    """The entry of a state as a NumPy array; None for what is none, such as a PyTorch tensor."""
    if type(value).__module__.partition(".")[0] == "torch":
        return None
    try:
        return asnumpy(value)
    except (TypeError, ValueError):  # lists of unequal length, say
        return None


class LeftOut(NamedTuple):
    """What `load_state_dict` did not use: names of the module, and names of the state."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def missing_or_unexpected(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> LeftOut:
    """The weights that the state has under none of their names, and the names that are no one's."""
    there = {own[name] for name in own if name in state}
    missing: dict[Tensor, str] = {}
    for name, tensor in own.items():
        if tensor not in there:
            missing.setdefault(tensor, name)
    return LeftOut(list(missing.values()), [name for name in state if name not in own])


def misfit(name: str, tensor: Tensor, array: Any) -> str:
    """What is wrong with this entry of a state; nothing if it fits."""
    if array is None:
        return f"no array: {name}; a PyTorch state goes through from_torch(state) first"
    if array.shape != tensor.shape:
        like_torch = array.shape in (tensor.shape[::-1], tensor.shape[:1:-1] + tensor.shape[:2])
        mend = "; a PyTorch state goes through from_torch(state) first" if like_torch else ""
        return f"wrong shape: {name} is {tensor.shape}, the state has {array.shape}{mend}"
    if array.dtype.kind != "f":
        return f"wrong type: {name} is {tensor.dtype}, the state has {array.dtype}"
    with numpy.errstate(over="ignore"):
        finite = numpy.isfinite(array.astype(tensor.dtype)).all()
    return "" if finite else f"not finite: {name} has NaN or infinity in the state"
