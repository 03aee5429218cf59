"""Module: a function with weights, and modules made of modules.

A module is an ordinary object whose attributes are Parameters, Buffers and other modules;
everything here finds them by looking through those attributes, in the order in which they were
set. There is nothing to register:

    class Doubler(Module):
        def __init__(self):
            self.scale = Parameter([2.0])

        def forward(self, x):
            return x * self.scale
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from .backend import asarray, asnumpy, xp
from .errors import CheckpointError, DTypeError
from .mode import no_grad
from .tensor import Tensor

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A Tensor that is learned: it needs a gradient, and modules list it."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


class Buffer(Tensor):
    """A Tensor that belongs to a module's state but is not learned, like running statistics."""

    __slots__ = ()


class Module:
    """A function with weights. Subclasses write `forward`; calling the module runs it."""

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # ----- What is inside -----

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly inside."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)) and any(isinstance(v, Module) for v in value):
                raise TypeError(
                    f"{type(self).__name__}.{name}: modules in a {type(value).__name__} are not "
                    "found; put them into a ModuleList"
                )

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(path, module) of this module (path "") and all inside, each before its children."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def _named(self, kind: type[Tensor]) -> Iterator[tuple[str, Tensor]]:
        seen = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind) and id(value) not in seen:
                    seen.add(id(value))  # a weight used in several places is listed once
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, Parameter) of all weights inside; shared ones once."""
        return self._named(Parameter)  # type: ignore[return-value]

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(path, Buffer) of all other state inside."""
        return self._named(Buffer)  # type: ignore[return-value]

    def parameters(self) -> list[Parameter]:
        """All weights inside; shared ones once."""
        return [parameter for _, parameter in self.named_parameters()]

    def buffers(self) -> list[Buffer]:
        """All other state inside."""
        return [buffer for _, buffer in self.named_buffers()]

    def count_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.size for parameter in self.parameters())

    # ----- What to do with it -----

    def train(self: M, training: bool = True) -> M:
        """Switch to training (dropout drops, batch norm uses the batch), and return self."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self: M) -> M:
        """Switch to inference (nothing is random, batch norm uses what it has learned)."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self: M, dtype: Any) -> M:
        """Turn all weights and buffers into another floating-point type, and return self."""
        if xp.dtype(dtype).kind != "f":
            raise DTypeError(f"astype: weights are float32 or float64, got {xp.dtype(dtype)}")
        for tensor in [*self.parameters(), *self.buffers()]:
            tensor.data = tensor.data.astype(dtype)
            tensor.grad = None
            tensor.changed("astype")
        return self

    # ----- Saving and loading -----

    def state_dict(self) -> dict[str, Any]:
        """{path: NumPy array}: copies of all parameters, then all buffers."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: asnumpy(tensor.data).copy() for name, tensor in named}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over the values of a `state_dict`; nothing changes if it does not fit.

        Raises `CheckpointError` that lists every misshapen entry and, where `strict`, every missing
        and unexpected one.
        """
        own: dict[str, Tensor] = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        problems = []
        if strict:
            problems += [f"missing: {name}" for name in own if name not in state]
            problems += [f"unexpected: {name}" for name in state if name not in own]
        for name, tensor in own.items():
            if name in state and xp.shape(state[name]) != tensor.shape:
                shape = xp.shape(state[name])
                problems.append(f"wrong shape: {name} is {tensor.shape}, the state has {shape}")
        if problems:
            raise CheckpointError(
                f"load_state_dict: the state does not fit this {type(self).__name__}:\n  "
                + "\n  ".join(problems)
            )
        with no_grad():
            for name, tensor in own.items():
                if name in state:
                    tensor.copy_(asarray(state[name], tensor.dtype))

    # ----- Looking at it -----

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}" for name, child in self.children()]
        if not lines:
            return f"{type(self).__name__}({self.describe()})"
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    def describe(self) -> str:
        """The settings worth showing, as they would be written in the constructor."""
        return ""

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """A table of every layer: output shape and parameters, for one input of `input_shape`.

        `input_shape` is that of a single example, such as (H, W, C). The module is run once, in
        inference; a layer that is run several times has ×n beside it, and its parameters once.
        """
        runs = self._record_shapes(input_shape)
        rows = [("layer", "kind", "output shape", "parameters")]
        seen: set[int] = set()
        for path, module in self.named_modules():
            own = [value for value in vars(module).values() if isinstance(value, Parameter)]
            shapes = runs.pop(id(module), None)  # a shared layer has one row, at its first place
            if shapes is None or (not own and any(True for _ in module.children())):
                continue
            times = f" ×{len(shapes)}" if len(shapes) > 1 else ""
            count = sum(parameter.size for parameter in own if id(parameter) not in seen)
            seen.update(map(id, own))
            shape = f"{('N', *shapes[-1][1:])}".replace("'", "")
            rows.append((path or "(self)", type(module).__name__ + times, shape, f"{count:,}"))
        rows.append(("total", "", "", f"{self.count_parameters():,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join(
                (a.ljust(widths[0]), b.ljust(widths[1]), c.ljust(widths[2]), d.rjust(widths[3]))
            )
            for a, b, c, d in rows
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _record_shapes(self, input_shape: tuple[int, ...]) -> dict[int, list[tuple[int, ...]]]:
        """{id of a module: the shapes it gave}, from one run in inference."""
        runs: dict[int, list[tuple[int, ...]]] = {}
        modules = {id(module): module for _, module in self.named_modules()}
        modes = {key: module.training for key, module in modules.items()}

        def watch(module: Module) -> Any:
            def forward(*args: Any, **kwargs: Any) -> Any:
                y = type(module).forward(module, *args, **kwargs)
                runs.setdefault(id(module), []).append(y.shape)
                return y

            return forward

        try:
            for module in modules.values():
                module.forward = watch(module)  # type: ignore[method-assign]
            dtype = next((p.dtype for p in self.parameters()), xp.float32)
            with no_grad():
                self.eval()(Tensor(xp.zeros((1, *input_shape), dtype)))
        finally:
            for key, module in modules.items():
                vars(module).pop("forward", None)
                module.training = modes[key]
        return runs
