"""Arguments of functions of arrays: are they arrays, and do their shapes fit?"""

from __future__ import annotations

from typing import Any

from ..backend import check_array
from ..engine.tensor import Tensor
from ..errors import DTypeError


def check_arrays(name: str, **arguments: Any) -> None:
    """Raise `DTypeError` unless every argument is a Tensor or an array of the backend in use."""
    for argument, value in arguments.items():
        if not isinstance(value, Tensor):
            check_array(value, f"{name}: {argument}")


def check_features(name: str, **arguments: Any) -> None:
    """Raise `DTypeError` unless x and the weights are arrays, and x no integers, such as bytes."""
    check_arrays(name, **arguments)
    if arguments["x"].dtype.kind in "iu":
        raise DTypeError(
            f"{name}: x needs floats, got {arguments['x'].dtype}; data.to_unit(images) makes bytes "
            "0 to 1, .astype(numpy.float32) leaves the numbers as they are"
        )
