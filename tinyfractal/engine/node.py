"""A node: one recorded operation, and what backward will need of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..backend import Array
from ..errors import GraphError

if TYPE_CHECKING:
    from .primitive import Primitive
    from .tensor import Tensor


class Node:
    """One recorded operation.

    `parents` are the nodes that made its arguments: a Tensor where the argument is a leaf, None
    where it needs no gradient. `inputs` and `output` are the arrays saved for backward, those that
    the gradient rules ask for. A Tensor points to its node and a node to its parents, never the
    other way, so memory is given back the moment the last Tensor goes.
    """

    __slots__ = (
        "primitive", "params", "parents", "shape", "inputs", "output", "saved", "versions", "line",
    )  # fmt: skip

    def __init__(
        self,
        primitive: Primitive,
        parents: Sequence[Node | Tensor | None],
        params: dict[str, Any],
        shape: tuple[int, ...],
        saved: Any = None,
    ) -> None:
        self.primitive = primitive
        self.parents: Sequence[Any] | None = parents  # None once it was freed
        self.params = params  # keyword arguments: they have no gradient
        self.shape = shape  # of its output
        self.saved = saved  # what the value rule returned besides the value
        self.inputs: Sequence[Any] = ()
        self.output: Array = None
        # (position, version, its count then) of what was saved; position 0 is the output
        self.versions: Sequence[tuple[int, list[Any], int]] = ()
        self.line = ""  # of the user's code, in anomaly mode

    def free(self) -> None:
        """Let go of everything; a later backward that comes here is refused."""
        self.parents, self.inputs, self.output, self.saved = None, (), None, None

    def check_unchanged(self) -> None:
        """Raise `GraphError` if an array saved for backward was changed in place since."""
        for position, version, count in self.versions:
            if version[0] != count:
                what = f"argument {position}" if position else "its output"
                array = self.inputs[position - 1] if position else self.output
                raise GraphError(
                    f"backward through {self.primitive.__name__}: {what} of shape {array.shape} "
                    f"was changed in place ({version[1]}) after the forward pass had used it, so "
                    "its gradient would be wrong. Run the forward pass again after the change, "
                    "or change a copy."
                )
