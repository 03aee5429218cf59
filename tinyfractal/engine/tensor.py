"""The engine: a Tensor remembers how it was made, and `backward` walks that memory.

    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()        # each operation leaves a Node: what was done, and to what
    y.backward()             # the chain rule, from y back to x
    x.grad                   # Tensor([2., 4.])

Three things, in the order of this file: the **Tensor**, an array with a history; the **Node**,
one recorded operation; and **backward**, which visits the nodes in order and adds up what each
passes on. What an operation is, and how it gets recorded, comes next, in `primitive.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ..backend import Array, asarray, out_of_memory, xp
from ..check import checked
from ..errors import DTypeError, GraphError, ShapeError
from .anomaly import check_finite
from .modes import mode, setting
from .operators import Operators, raw

if TYPE_CHECKING:
    from .primitive import Primitive


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
                f"{self.data.dtype}; "
                "pass dtype=xp.float32 or leave requires_grad out"
            )
        self.grad: Tensor | None = None
        self.requires_grad = requires_grad
        self.node: Node | None = None  # the operation that made it; None for a leaf
        self.version: list[Any] = [0, ""]  # how often changed in place, and by what last
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
        """Add d(self)/d(leaf), times `gradient`, to the `grad` of every leaf behind self.

        `gradient`, of the shape of self, may be left out for a single number, where it is 1.
        The graph is freed on the way unless `retain_graph`; with `create_graph` the gradients
        are recorded themselves, so that they can be differentiated again. (A leaf then holds a
        gradient whose graph holds the leaf: set `grad` to None when done with it.)
        Raises `GraphError` if nothing was recorded, if the graph was freed by an earlier
        backward, or if an array it needs was changed in place since.
        """

        def accumulate(leaf: Tensor, g: Tensor) -> None:
            with _adding:  # else one of two threads may lose what the other has added
                leaf.grad = g if leaf.grad is None else leaf.grad + g
            for hook in leaf.hooks:
                hook(leaf)

        seed = first_gradient(self, gradient, "backward")
        keep = retain_graph or create_graph
        found = chain_rule([self], [seed], None, keep, create_graph, accumulate)
        for leaf, g in found.items():
            accumulate(cast(Tensor, leaf), g)

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


def check_no_none(data: Any) -> None:
    """Raise `DTypeError` for None, in lists too, where NumPy would make it NaN."""
    stack = [data]
    while stack:
        part = stack.pop()
        if part is None:
            raise DTypeError("Tensor: data needs numbers, a list or an array, got None")
        if isinstance(part, (list, tuple)):
            stack += part


class Node:
    """One recorded operation.

    `parents` are the nodes that made its arguments, a Tensor where the argument is a leaf and
    None where it needs no gradient; `inputs` and `output` are the arrays that the gradient rules
    asked to keep. A Tensor points to its node and a node to its parents, never the other way: so
    memory is given back the moment the last Tensor goes, without the garbage collector.
    """

    __slots__ = (
        "primitive", "params", "parents", "shape", "inputs", "output", "saved", "kept", "line",
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
        self.parents: Sequence[Node | Tensor | None] | None = parents
        self.params = params  # keyword arguments: they have no gradient
        self.shape = shape  # of its output
        self.saved = saved  # what a fused primitive keeps besides
        self.inputs: Sequence[Any] = ()
        self.output: Array = None
        # (position, version, its count then) of what was kept; position 0 is the output
        self.kept: Sequence[tuple[int, list[Any], int]] = ()
        self.line = ""  # of the user's code, in anomaly mode

    def free(self) -> None:
        """Let go of everything; a later backward that comes here is refused."""
        self.parents, self.inputs, self.output, self.saved = None, (), None, None

    def check_unchanged(self) -> None:
        """Raise if an array that the gradient rules need was changed in place since."""
        for position, version, count in self.kept:
            if version[0] != count:
                what = f"argument {position}" if position else "its output"
                array = self.inputs[position - 1] if position else self.output
                raise GraphError(
                    f"backward through {self.primitive.__name__}: {what} of shape {array.shape} "
                    f"was changed in place ({version[1]}) after the forward pass had used it, so "
                    "its gradient would be wrong. Run the forward pass again after the change, "
                    "or change a copy."
                )


# ----- Backward -----


def backward_order(roots: Sequence[Node]) -> list[Node]:
    """Every node behind `roots`, each after all the nodes that use it (Kahn 1962).

    A node may pass its gradient on only when everyone who used its output has reported. So first
    count the uses of each node, then list those with none left, over and over. Two loops and no
    recursion: a chain of 100,000 operations is no deeper than one of three.
    """
    uses = dict.fromkeys(roots, 0)
    stack = list(uses)
    while stack:
        node = stack.pop()
        if node.parents is None:
            raise GraphError(
                f"backward: the graph behind {node.primitive.__name__} was already freed by an "
                "earlier backward. Pass retain_graph=True to that one, or run the forward again."
            )
        for parent in node.parents:
            if type(parent) is Node:
                count = uses.get(parent)
                if count is None:
                    count = 0
                    stack.append(parent)
                uses[parent] = count + 1
    order = []
    stack = [root for root in dict.fromkeys(roots) if uses[root] == 0]
    while stack:
        node = stack.pop()
        order.append(node)
        for parent in cast(tuple, node.parents):
            if type(parent) is Node:
                uses[parent] = left = uses[parent] - 1
                if left == 0:
                    stack.append(parent)
    return order


def chain_rule(
    outputs: Sequence[Tensor],
    seeds: Sequence[Any],
    targets: Sequence[Tensor] | None,
    retain_graph: bool,
    create_graph: bool,
    early: Callable[[Tensor, Tensor], None] | None = None,
) -> dict[Node | Tensor, Tensor]:
    """{leaf or node: gradient} for the targets, or for every leaf where that is None.

    On the way the gradients are arrays, and nothing is recorded; with `create_graph` they are
    Tensors, and the rules are recorded like any other computation. Where there is `early`, it is
    called with each leaf that has hooks, and its gradient, as soon as that is complete; these
    leaves are not in the result.
    """
    gradients: dict[Node | Tensor, Any] = {}

    def add(place: Node | Tensor, g: Any) -> None:  # where paths meet, gradients add up
        before = gradients.get(place)
        gradients[place] = g if before is None else before + g

    def own(g: Any) -> Tensor:  # an array of its own: a rule may have passed g on to several
        g = 0 + g
        return g if isinstance(g, Tensor) else Tensor.of(g)

    with setting(recording=create_graph):
        seeds = [seed if create_graph else raw(seed) for seed in seeds]
        for output, seed in zip(outputs, seeds):
            add(output.node or output, seed)
        order = backward_order([output.node for output in outputs if output.node is not None])
        asked = {target.node or target for target in targets or ()}
        useful = None if targets is None else leading_to(asked, order)
        last = {} if early is None else last_uses(order)
        anomaly = mode.anomaly
        for node in order:
            g = gradients.pop(node, None)
            if g is None:
                continue
            if node in asked:
                gradients[node] = g
            places: Any = node.parents
            if useful is not None:
                places = [place if place in useful else None for place in places]
                if all(place is None for place in places):
                    continue
            if node.kept:
                node.check_unchanged()
            try:
                parts = node.primitive.gradients(node, g, places, create_graph)
            except MemoryError as error:
                what = f"the gradient of {node.primitive.__name__}"
                raise out_of_memory(what, [g], error) from error
            for i, place in enumerate(places):
                if place is not None:
                    part = parts[i]
                    shape = place.shape
                    if part.shape != shape:
                        part = sum_to(part, shape)
                    if anomaly:
                        what = f"the gradient of {node.primitive.__name__}"
                        check_finite(what, raw(part), [g], node.line)
                    before = gradients.get(place)
                    gradients[place] = part if before is None else before + part
            if not retain_graph:
                node.free()
            if last:
                for leaf in last.get(node, ()):
                    cast(Callable, early)(leaf, own(gradients.pop(leaf)))
        taken = {id(raw(seed)) for seed in seeds}
        for place, g in gradients.items():
            if raw(g).base is not None or id(raw(g)) in taken:
                g = 0 + g  # a view, or one array for several: make it an array of its own
            taken.add(id(raw(g)))
            gradients[place] = g if isinstance(g, Tensor) else Tensor.of(g)
    return gradients


def last_uses(order: Sequence[Node]) -> dict[Node, list[Tensor]]:
    """The leaves with hooks, each under the last node that passes something on to it."""
    last = {
        parent: node
        for node in order
        for parent in cast(tuple, node.parents)
        if isinstance(parent, Tensor) and parent.hooks
    }
    leaves: dict[Node, list[Tensor]] = {}
    for leaf, node in last.items():
        leaves.setdefault(node, []).append(leaf)
    return leaves


def leading_to(asked: set[Node | Tensor], order: Sequence[Node]) -> set[Node | Tensor]:
    """What is asked for, and the nodes behind which some of it lies."""
    leading = set(asked)
    for node in reversed(order):
        if not leading.isdisjoint(cast(tuple, node.parents)):
            leading.add(node)
    return leading


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: what forward stretched from `shape`, backward sums to `shape`."""
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    stretched = [i for i, n in enumerate(shape, added) if n == 1 and g.shape[i] != 1]
    return g.sum(axis=(*range(added), *stretched)).reshape(shape)


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
    found = chain_rule(outs, seeds, ins, retain_graph or create_graph, create_graph)
    results: list[Tensor | None] = []
    for position, tensor in enumerate(ins):
        g = found.get(tensor.node or tensor)
        if g is None and not allow_unused:
            raise GraphError(
                f"grad: the outputs do not depend on input {position} (shape {tensor.shape}); "
                "pass allow_unused=True to get None for it"
            )
        results.append(g)
    return results[0] if isinstance(inputs, Tensor) else tuple(results)
