"""Backward: the chain rule, from the output back to the leaves.

The idea is `backpropagate`, a loop of seven lines: each node turns the gradient of its output into
the gradients of its parents, and where paths meet, gradients add up. The loop needs an order in
which a node comes after everyone who uses it (`backward_order`), and it needs broadcasting undone
(`sum_to`). What else `backward()` and `grad()` promise (freeing, hooks, targets, the search for
NaN) stands below: in the rule that the loop asks, or in wrappers around it or around the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..backend import out_of_memory
from ..errors import GraphError
from .anomaly import check_finite
from .modes import mode, setting
from .node import Node
from .operators import raw

Leaf = Any  # a Tensor without a node
Gradients = dict[Any, Any]  # {node or leaf: its gradient so far}
Rule = Callable[[Node, Any], Iterable[tuple[Any, Any]]]
"""(node, gradient of its output) → (parent, its part of the gradient), …"""


def backpropagate(gradients: Gradients, order: Iterable[Node], rule: Rule) -> None:
    """The chain rule: from the gradients of the outputs to those of the leaves, in `gradients`."""
    for node in order:  # each after everyone who uses it
        g = gradients.pop(node)
        for parent, part in rule(node, g):
            if parent is not None:  # None: a constant
                if part.shape != parent.shape:
                    part = sum_to(part, parent.shape)  # undo broadcasting
                gradients[parent] = gradients[parent] + part if parent in gradients else part


def backward_order(roots: Sequence[Node]) -> list[Node]:
    """Every node behind `roots`, each after all the nodes that use it (Kahn 1962).

    A node may pass its gradient on only when everyone who used its output has reported. So first
    count the uses of each node, then list those with none left, over and over. Two loops and no
    recursion: a chain of 100,000 operations is no deeper than one of three.
    """
    uses = dict.fromkeys(roots, 0)
    reached = list(uses)
    for node in reached:  # grows on the way
        if node.parents is None:
            raise GraphError(
                f"backward: the graph behind {node.primitive.__name__} was already freed by an "
                "earlier backward. Pass retain_graph=True to that one, or run the forward again."
            )
        for parent in node.parents:
            if type(parent) is Node:
                if parent not in uses:
                    uses[parent] = 0
                    reached.append(parent)
                uses[parent] += 1
    order = []
    stack = [root for root in dict.fromkeys(roots) if uses[root] == 0]
    while stack:
        node = stack.pop()
        order.append(node)
        for parent in node.parents or ():
            if type(parent) is Node:
                uses[parent] = left = uses[parent] - 1
                if left == 0:
                    stack.append(parent)
    return order


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: what forward stretched from `shape`, backward sums to `shape`."""
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    stretched = [i for i, n in enumerate(shape, added) if n == 1 and g.shape[i] != 1]
    return g.sum(axis=(*range(added), *stretched)).reshape(shape)


# ----- What backward() and grad() ask for besides -----


def run_backward(
    outputs: Sequence[Any],
    seeds: Sequence[Any],
    targets: Sequence[Any] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    when_complete: Callable[[Leaf, Any], None] | None = None,
) -> Gradients:
    """{leaf or node: gradient} for the targets, or for every leaf where that is None.

    `outputs` and `targets` are nodes and leaves. The gradients are arrays and nothing is recorded;
    with `create_graph` they are Tensors, and the rules are recorded like any other computation.
    `when_complete` is called for each leaf that has hooks as soon as its gradient is complete;
    such leaves are not in the result.
    """
    gradients: Gradients = {}
    with setting(recording=create_graph):
        for output, seed in zip(outputs, seeds):
            gradients[output] = gradients[output] + seed if output in gradients else seed
        order: Any = backward_order([output for output in outputs if type(output) is Node])
        found: Gradients = {}
        leading = None if targets is None else on_the_way_to(targets, order)
        rule = gradient_rule(create_graph, retain_graph, leading)
        if leading is not None:
            order = [node for node in order if not leading.isdisjoint(node.parents or ())]
            rule = collecting_targets(set(targets or ()), rule, found)
        if mode.anomaly:
            rule = looking_for_nan(rule)
        if when_complete is not None and (complete := last_use_of_leaves(order)):
            order = calling_hooks(order, complete, gradients, when_complete)
        try:
            backpropagate(gradients, order, rule)
        except AttributeError as error:
            if error.obj is None and error.name == "shape":
                raise GraphError("backward: a gradient rule returned None, no gradient") from error
            raise
        return without_shared_memory({**gradients, **found}, seeds)


def gradient_rule(create_graph: bool, retain_graph: bool, leading: set[Any] | None) -> Rule:
    """What the loop asks of a node: its primitive's rules, for all parents or the leading ones.

    After that the node is freed, unless `retain_graph`.
    """

    def rule(node: Node, g: Any) -> Iterable[tuple[Any, Any]]:
        parents: Any = node.parents
        if leading is not None:
            parents = [parent if parent in leading else None for parent in parents]
        if node.versions:
            node.check_unchanged()
        try:
            parts = node.primitive.gradients(node, g, parents, create_graph)
        except MemoryError as error:
            what = f"the gradient of {node.primitive.__name__}"
            raise out_of_memory(what, [g], error) from error
        if not retain_graph:
            node.free()
        return zip(parents, parts)

    return rule


def on_the_way_to(targets: Sequence[Any], order: Sequence[Node]) -> set[Any]:
    """The targets, and the nodes behind which some of them lie."""
    leading = set(targets)
    for node in reversed(order):
        if not leading.isdisjoint(node.parents or ()):
            leading.add(node)
    return leading


def collecting_targets(targets: set[Any], rule: Rule, found: Gradients) -> Rule:
    """The same rule, which notes the gradient of each target that it goes on from."""

    def collecting_rule(node: Node, g: Any) -> Iterable[tuple[Any, Any]]:
        if node in targets:
            found[node] = g
        return rule(node, g)

    return collecting_rule


def looking_for_nan(rule: Rule) -> Rule:
    """The same rule, which raises `AnomalyError` at the first NaN or infinity."""

    def checked_rule(node: Node, g: Any) -> Iterable[tuple[Any, Any]]:
        what = f"the gradient of {node.primitive.__name__}"
        for parent, part in rule(node, g):
            if parent is not None:  # undoing broadcasting may make it infinite as well
                check_finite(what, sum_to(raw(part), parent.shape), [g], node.line)
            yield parent, part

    return checked_rule


def last_use_of_leaves(order: Sequence[Node]) -> dict[Node, list[Leaf]]:
    """The leaves with hooks, each under the last node that adds to its gradient."""
    last = {
        parent: node
        for node in order
        for parent in node.parents or ()
        if type(parent) is not Node and parent is not None and parent.hooks
    }
    complete: dict[Node, list[Leaf]] = {}
    for leaf, node in last.items():
        complete.setdefault(node, []).append(leaf)
    return complete


def calling_hooks(
    order: Sequence[Node],
    complete: dict[Node, list[Leaf]],
    gradients: Gradients,
    report: Callable[[Leaf, Any], None],
) -> Iterator[Node]:
    """The same order; each leaf with hooks is reported once its gradient is complete."""
    for node in order:
        yield node
        for leaf in complete.get(node, ()):
            report(leaf, 0 + gradients.pop(leaf))  # copied: the rule may have given g to others too


def without_shared_memory(gradients: Gradients, seeds: Sequence[Any]) -> Gradients:
    """Gradients that share no memory: a rule may pass the same array on to several parents."""
    taken = {id(raw(seed)) for seed in seeds}
    for place, g in gradients.items():
        if raw(g).base is not None or id(raw(g)) in taken:
            gradients[place] = g = 0 + g
        taken.add(id(raw(g)))
    return gradients
