"""Module: a function with weights, and modules made of modules.

A module is an ordinary object whose attributes are Parameters, Buffers and other modules;
everything here finds them by looking through those attributes, in the order in which they were
set. What it could not find (a weight inside a dict, say) it refuses. There is nothing to register:

    class Doubler(Module):
        def __init__(self):
            self.scale = Parameter([2.0])

        def forward(self, x):
            return x * self.scale
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from reprlib import recursive_repr
from typing import Any, TypeVar

from ..backend import asarray, asnumpy, xp
from ..check import Count, checked, need
from ..engine.modes import no_grad
from ..engine.tensor import Tensor
from ..errors import DTypeError
from ..guards.modules import Guarded, Weights, asked, check_inside
from ..guards.states import LeftOut, fitting
from .summary import table

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A Tensor that is learned: it needs a gradient, and modules list it."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


class Buffer(Tensor):
    """A Tensor that belongs to a module's state but is not learned, like running statistics."""

    __slots__ = ()


PLAIN = {bool, int, float, str, type(None), Parameter, Buffer}  # of these no weight is lost


class Module(Guarded):
    """A function with weights. Subclasses write `forward`; calling the module runs it."""

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.forward(*args, **kwargs)

    # ----- What is inside -----

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside.

        Raises `TypeError` for modules and weights that are not found where they are.
        """
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif type(value) not in PLAIN:
                check_inside(self, name, value)

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module (path "") and all inside, each before its children.

        A module that is used in several places comes once, at the first; without
        `remove_duplicate` it comes under all its paths. (Where a module knows the one it is in,
        a path ends.)
        """
        seen: set[int] = set()

        def walk(path: str, module: Module, above: frozenset[int]) -> Iterator[tuple[str, Module]]:
            if id(module) in (seen if remove_duplicate else above):
                return
            yield path, module
            seen.add(id(module))
            for name, child in list(module.children()):
                inside = f"{path}.{name}" if path else name
                yield from walk(inside, child, above | {id(module)})

        return walk(prefix, self, frozenset())

    def _named(self, kind: type[Tensor], remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen = set()
        for path, module in self.named_modules("", remove_duplicate):
            for name, value in vars(module).items():
                if isinstance(value, kind) and not (remove_duplicate and id(value) in seen):
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter) of all weights inside; shared ones once, if `remove_duplicate`."""
        return self._named(Parameter, remove_duplicate)

    def named_buffers(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Buffer]]:
        """(path, Buffer) of all other state inside; shared ones once, if `remove_duplicate`."""
        return self._named(Buffer, remove_duplicate)

    def parameters(self) -> Weights[Parameter]:
        """A list of all weights inside; shared ones once."""
        return Weights(self, (parameter for _, parameter in self.named_parameters()))

    def buffers(self) -> list[Buffer]:
        """All other state inside."""
        return [buffer for _, buffer in self.named_buffers()]

    def count_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters())

    # ----- What to do with it -----

    def train(self: M, training: bool = True) -> M:
        """Switch to training (dropout drops, batch norm uses the batch), and return self.

        Each child is asked through its own `train`, so a layer that overrides it stays as it is:

            class FrozenBatchNorm2d(BatchNorm2d):
                def train(self, training=True):
                    return super().train(False)
        """
        if type(training) is not bool:
            need(f"{type(self).__name__}.train", "training", training, bool)
        if id(self) in asked.modules:
            return self
        asked.modules.add(id(self))
        try:
            if self.training is not training:
                self.training = bool(training)
            for _, child in list(self.children()):
                child.train(training)
        finally:
            asked.modules.discard(id(self))
        return self

    def eval(self: M) -> M:
        """Switch to inference (nothing is random, batch norm uses what it has learned)."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    @checked
    def astype(self: M, dtype: Any) -> M:
        """Turn all weights and buffers into another floating-point type, and return self."""
        if dtype is None or xp.dtype(dtype) not in (xp.float32, xp.float64):
            raise DTypeError(f"astype: dtype is float32 or float64, got {dtype}")
        for tensor in [*self.parameters(), *self.buffers()]:
            tensor.data = tensor.data.astype(dtype)
            tensor.grad = None
            tensor.changed("astype")
        return self

    # ----- Saving and loading -----

    def _state(self) -> dict[str, Tensor]:
        """{path: Tensor} of all parameters, then all buffers; shared ones under all their paths."""
        return {**dict(self.named_parameters(False)), **dict(self.named_buffers(False))}

    def state_dict(self) -> dict[str, Any]:
        """{path: NumPy array}: copies of all parameters, then all buffers.

        A weight that is used in several places is there under all its paths, as in PyTorch.
        """
        return {name: asnumpy(tensor.data).copy() for name, tensor in self._state().items()}

    @checked
    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LeftOut:
        """Take over the values of a `state_dict`; nothing changes if it does not fit.

        Returns the names that were left out: (missing_keys, unexpected_keys), none if `strict`.
        A weight that is used in several places needs one of its paths. Raises `CheckpointError`
        that lists every entry that is misshapen or holds anything but finite floating-point
        numbers and, where `strict`, every missing and unexpected one.
        """
        tensors = self._state()
        given, left_out = fitting(type(self).__name__, tensors, state, strict)
        with no_grad():
            for name, array in given.items():
                tensors[name].copy_(asarray(array, tensors[name].dtype))
        return left_out

    # ----- Looking at it -----

    @recursive_repr("(see above)")  # where a child knows its parent
    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}" for name, child in self.children()]
        if not lines:
            return f"{type(self).__name__}({self.describe()})"
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def describe(self) -> str:
        """The settings worth showing, as they would be written in the constructor."""
        return ""

    @checked
    def summary(self, input_shape: Sequence[Count]) -> str:
        """A table of every layer: output shape and parameters, for one input of `input_shape`.

        `input_shape` is that of a single example, such as (H, W, C). The module is run once, in
        inference; a layer that is run several times has ×n beside it, and its parameters once.
        """
        return table(self, input_shape)
