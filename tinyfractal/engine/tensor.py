"""The engine: a Tensor remembers how it was made, and `backward` walks that memory.

    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()        # each operation leaves a Node: what was done, and to what
    y.backward()             # the chain rule, from y back to x
    x.grad                   # Tensor([2., 4.])

A **Tensor** is an array with a history. The operations behind it are the nodes of a graph
(`node.py`), and the walk back through them is `backward.py`. What an operation is, and how it gets
recorded, comes next, in `primitive.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from threading import Lock
from types import SimpleNamespace
from typing import Any

from ..backend import Array, asarray, xp
from ..check import checked
from ..errors import DTypeError, GraphError, ShapeError
from .backward import run_backward
from .node import Node
from .operators import Operators, raw


class Tensor(Operators):
    """An array that remembers how it was made.

    `data` is the array, of any shape, a copy of what was given. Python numbers and lists become
    float32; arrays keep their type (float64 for gradient checks, integers for labels). With
    `requires_grad`, what is computed from this Tensor is recorded, and `backward` leaves the
    gradient in `grad`.
    Raises `DTypeError` if a gradient is asked of anything but floating-point numbers.
    """

    __slots__ = ("data", "grad", "requires_grad", "node", "version", "hooks", "__weakref__")

    @checked
    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        data = raw(data)
        if dtype is None and not hasattr(data, "dtype"):
            dtype = xp.float32
        check_no_none(data)
        self.data: Array = xp.array(asarray(data, dtype))  # a copy, not shared with the caller
        if self.data.dtype.kind not in "fiub":
            raise DTypeError(f"Tensor: data needs real numbers, got {self.data.dtype}")
        if requires_grad and self.data.dtype.kind != "f":
            raise DTypeError(
                f"Tensor: data needs floating-point numbers to have a gradient, got "
                f"{self.data.dtype}; pass dtype=xp.float32 or leave requires_grad out"
            )
        self.grad: Tensor | None = None
        self.requires_grad = requires_grad
        self.node: Node | None = None  # the operation that made it; None for a leaf
        # [times changed in place, by what last]: a list, since views of the array share it
        self.version: list[Any] = [0, ""]
        self.hooks: tuple[Hook, ...] = ()  # called when its gradient is complete

    @staticmethod
    def of(data: Any, node: Node | None = None, version: list[Any] | None = None) -> Tensor:
        """A Tensor around an existing array, without the constructor's checks (for the engine)."""
        self = object.__new__(Tensor)
        self.data = data if isinstance(data, xp.ndarray) else xp.asarray(data)
        self.grad = None
        self.requires_grad = node is not None
        self.node = node
        self.version = version or [0, ""]
        self.hooks = ()
        return self

    @checked
    def backward(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add the gradient of self to the `grad` of every leaf that it was computed from.

        An array needs `gradient`, a factor for each of its numbers; for a single number it is 1.
        The graph is freed on the way unless `retain_graph`; with `create_graph` the gradients
        are recorded themselves, so that they can be differentiated again. (A leaf then holds a
        gradient whose graph holds the leaf: set `grad` to None when done with it.)
        Raises `GraphError` if nothing was recorded, if the graph was freed by an earlier
        backward, or if an array it needs was changed in place since.
        """
        seed = first_gradient(self, gradient, "backward")
        found = run_backward(
            [self.node or self], [seed if create_graph else seed.data],
            retain_graph=retain_graph or create_graph, create_graph=create_graph,
            when_complete=accumulate,
        )  # fmt: skip
        for leaf, g in found.items():
            accumulate(leaf, g)

    @checked
    def register_post_accumulate_grad_hook(self, hook: Hook) -> SimpleNamespace:
        """Let every backward call `hook(leaf)` the moment the `grad` of this leaf is complete.

        The rest of the graph is still waiting for its turn then, so that what has to be done with
        a gradient (send it to another process, clip it, use it in a step of its own) can be done
        meanwhile. Hooks are called in the order in which they were registered; `remove()` of what
        comes back takes this one away again. Raises `GraphError` for a Tensor that is not a leaf
        or needs no gradient.
        """
        if self.node is not None or not self.requires_grad:
            raise GraphError(
                "register_post_accumulate_grad_hook: only a leaf with requires_grad has a grad "
                f"that backward adds to; this Tensor of shape {self.shape} "
                + ("needs no gradient" if self.node is None else "was computed from others")
            )
        self.hooks += (hook,)

        def remove() -> None:
            self.hooks = tuple(other for other in self.hooks if other is not hook)

        return SimpleNamespace(remove=remove)

    def detach(self) -> Tensor:
        """The same array without its history."""
        return Tensor.of(self.data, version=self.version)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise GraphError(
                f"deepcopy: this Tensor of shape {self.shape} was computed, and a copy would hang "
                "in the air, without what it was computed from; copy x.detach(), or use x.clone()"
            )
        memo[id(self)] = copy = object.__new__(type(self))
        for name in ("data", "grad", "requires_grad", "node", "version", "hooks"):
            setattr(copy, name, deepcopy(getattr(self, name), memo))
        return copy

    def __getstate__(self) -> Any:
        if self.node is not None:
            raise GraphError(
                f"pickle: this Tensor of shape {self.shape} was computed, and a graph cannot be "
                "sent or saved; pickle x.detach()"
            )
        return object.__getstate__(self)

    def changed(self, by: str) -> None:
        """Note that `data` was changed in place, so that backward refuses stale values."""
        self.version[0] += 1
        self.version[1] = by


Hook = Callable[[Tensor], Any]
_adding = Lock()


def accumulate(leaf: Tensor, g: Any) -> None:
    """Add g to the `grad` of a leaf, and call its hooks."""
    g = g if isinstance(g, Tensor) else Tensor.of(g)
    with _adding:  # else one of two threads may lose what the other has added
        leaf.grad = g if leaf.grad is None else leaf.grad + g
    for hook in leaf.hooks:
        hook(leaf)


def check_no_none(data: Any) -> None:
    """Raise `DTypeError` for None, in lists too, where NumPy would make it NaN."""
    stack = [data]
    while stack:
        part = stack.pop()
        if part is None:
            raise DTypeError("Tensor: data needs numbers, a list or an array, got None")
        if isinstance(part, (list, tuple)):
            stack += part


def first_gradient(output: Tensor, gradient: Any, caller: str) -> Tensor:
    """The gradient that backward starts from: what the caller gave, or 1 for a single number."""
    if not output.requires_grad:
        raise GraphError(
            f"{caller}: nothing was recorded behind this Tensor of shape {output.shape}. Set "
            "requires_grad=True on an input, and compute outside `no_grad()`."
        )
    if gradient is None:
        if output.size != 1:
            raise GraphError(
                f"{caller}: only a single number has a gradient by itself; this output has shape "
                f"{output.shape}. Reduce it (y.sum()), or pass a gradient of that shape."
            )
        return Tensor.of(xp.ones_like(output.data))
    gradient = gradient if isinstance(gradient, Tensor) else Tensor(gradient, dtype=output.dtype)
    if gradient.shape != output.shape:
        raise ShapeError(
            f"{caller}: the gradient has shape {gradient.shape}, the output {output.shape}"
        )
    if gradient.dtype != output.dtype:
        raise DTypeError(f"{caller}: the gradient is {gradient.dtype}, the output {output.dtype}")
    return gradient


@checked
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The gradients of `outputs` with respect to `inputs`, returned instead of stored.

    One Tensor for one input, a tuple for several; inputs may be leaves or results on the way.
    `grad_outputs`: a gradient for each output, as in `backward`. Raises `GraphError` for an
    input that the outputs do not depend on; with `allow_unused` its gradient is None.
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = [grad_outputs] * len(outs) if grad_outputs is None else grad_outputs
    given = given if isinstance(given, (list, tuple)) else [given]
    seeds = [first_gradient(out, g, "grad") for out, g in zip(outs, given, strict=True)]
    found = run_backward(
        [out.node or out for out in outs], seeds if create_graph else [s.data for s in seeds],
        [tensor.node or tensor for tensor in ins], retain_graph or create_graph, create_graph,
    )  # fmt: skip
    results: list[Tensor | None] = []
    for position, tensor in enumerate(ins):
        g = found.get(tensor.node or tensor)
        if g is None and not allow_unused:
            raise GraphError(
                f"grad: the outputs do not depend on input {position} (shape {tensor.shape}); "
                "pass allow_unused=True to get None for it"
            )
        results.append(g if g is None or isinstance(g, Tensor) else Tensor.of(g))
    return results[0] if isinstance(inputs, Tensor) else tuple(results)
