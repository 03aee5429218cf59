"""Weights to and from PyTorch, whose axes come in another order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from ..backend import asnumpy
from ..check import checked, got
from ..errors import DTypeError
from ..guards.states import Flattened, flattened_shapes


@checked
def to_torch(
    state: Mapping[str, Any], flattened: Flattened | None = None
) -> dict[str, numpy.ndarray]:
    """A `state_dict` in PyTorch's layout, as NumPy arrays under the same names.

    Kernels (kh, kw, C_in, C_out) become (C_out, C_in, kh, kw), linear weights (in, out) become
    (out, in). A Linear behind a Flatten needs more, since PyTorch flattens channels first: name
    its weight in `flattened` with the (H, W, C) that was flattened.
    """
    shapes = flattened_shapes("to_torch", state, flattened, axis=0)
    result = {}
    for name, value in state.items():
        value = _numbers("to_torch", name, value)
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif value.ndim == 2:
            if name in shapes:
                h, w, c = shapes[name]
                value = value.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(value.shape)
            value = value.T
        result[name] = numpy.ascontiguousarray(value).reshape(value.shape)  # () would become (1,)
    return result


@checked
def from_torch(
    state: Mapping[str, Any], flattened: Flattened | None = None
) -> dict[str, numpy.ndarray]:
    """The reverse of `to_torch`: a PyTorch `state_dict` (its tensors, or arrays) for loading here.

    PyTorch's `num_batches_tracked` counters have no counterpart and are left out.
    """
    shapes = flattened_shapes("from_torch", state, flattened, axis=1)
    result = {}
    for name, value in state.items():
        if str(name).endswith("num_batches_tracked"):
            continue
        value = _numbers("from_torch", name, value)
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        elif value.ndim == 2:
            value = value.T
            if name in shapes:
                h, w, c = shapes[name]
                value = value.reshape(c, h, w, -1).transpose(1, 2, 0, 3).reshape(value.shape)
        result[name] = numpy.ascontiguousarray(value).reshape(value.shape)
    return result


def _numbers(function: str, name: str, value: Any) -> numpy.ndarray:
    """An entry of a state, PyTorch's or ours, as a NumPy array."""
    if hasattr(value, "cpu"):
        value = value.detach().cpu()
        value = value.float() if "bfloat16" in str(value.dtype) else value  # NumPy has none
    array = asnumpy(value.numpy() if hasattr(value, "cpu") else value)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{function}: {name} needs an array of numbers, got {got(value)}")
    return array
