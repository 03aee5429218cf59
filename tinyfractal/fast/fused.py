"""Fused primitives: many small steps done in one, with hand-written rules.

A definition in the core is made of small primitives, each recorded by itself. A `Fused` primitive
computes the same in one step, records one node, and has one gradient rule for all arguments. It
keeps the definition beside it: the tests compare the two, and `create_graph=True` differentiates
the definition.

    @quicker(norm._layer_norm, gradient)      # in the place of that definition
    def _layer_norm(x, weight, bias, *, eps):
        ...
        return y, what_the_gradient_wants_saved
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, cast

from ..backend import xp
from ..engine.definition import RULES
from ..engine.node import Node
from ..engine.primitive import Primitive, with_history
from ..engine.tensor import Tensor, grad
from ..ops import identity

P = ParamSpec("P")


def as_written(definition: Any) -> Callable[..., Any]:
    """The definition itself, whatever stands in its place."""
    written: Callable[..., Any] = definition.__wrapped__
    return written


class Fused(Primitive[P]):
    """A primitive with hand-written fast rules and a **reference** composed of small primitives.

    The reference is the definition: what a learner reads, what the tests compare the fast rules
    with, what `create_graph=True` differentiates, and what runs under `with reference():`.
    The fast value rule returns the value and whatever the gradient wants saved; the one gradient
    rule, `gradient(g, saved, wanted, *arguments, **settings)`, gives the gradients of all arguments
    together (None where not `wanted`), on arrays only.
    """

    def __init__(self, value: Callable, gradient: Callable, reference: Callable[P, Any]) -> None:
        names = inspect.signature(value).parameters.values()
        rules = [gradient] * sum(
            name.kind in (name.POSITIONAL_OR_KEYWORD, name.VAR_POSITIONAL) for name in names
        )
        super().__init__(value, rules, view=False)
        self.gradient = gradient
        self.reference = reference
        self.uses = [set(range(1, len(rules) + 1))] * len(rules)  # create_graph needs them all

    def __call__(self, *args: P.args, **params: P.kwargs) -> Tensor:
        out = super().__call__(*args, **params)
        return out if isinstance(out, Tensor) else out[0]

    def gradients(
        self, node: Node, g: Any, parents: Sequence[Any], create_graph: bool
    ) -> Sequence[Any]:
        wanted = [parent is not None for parent in parents]
        if create_graph:
            return self.gradients_of_reference(node, g, wanted)
        return self.gradient(g, node.saved, wanted, *node.inputs, **node.params)

    def gradients_of_reference(self, node: Node, g: Tensor, wanted: list[bool]) -> Sequence[Any]:
        """Run the reference on the same inputs and differentiate that, recording.

            what made x  ···  entry of x  →  reference  →  y

        Each input enters through an identity node, its entry. At first an entry has no parents, so
        backward stops there and does not go on into what made x. Then the dotted line is drawn:
        the entry gets its parent, and the history of the gradients is complete.
        """
        parents = cast(tuple, node.parents)
        entries = [
            Node(identity, (), {}, array.shape) if parent is not None else None
            for parent, array in zip(parents, node.inputs)
        ]
        _, *inputs = with_history(node, (None, *entries))
        y = self.reference(*inputs, **node.params)
        targets = [x for x, want in zip(inputs, wanted) if want]
        found = iter(grad(y, targets, g, create_graph=True, allow_unused=True))
        for entry, parent in zip(entries, parents):
            if entry:
                entry.parents = (parent,)
        parts = [next(found) if want else None for want in wanted]
        return [
            Tensor.of(xp.zeros_like(array)) if want and part is None else part
            for part, want, array in zip(parts, wanted, node.inputs)
        ]


def fused(
    gradient: Callable, reference: Callable[P, Any]
) -> Callable[[Callable[..., Any]], Fused[P]]:
    """Decorate a fast value rule with its fast gradient rule and its readable reference."""
    return lambda value: Fused(value, gradient, reference)


def quicker(
    definition: Callable[P, Any], gradient: Callable
) -> Callable[[Callable[..., Any]], Fused[P]]:
    """Decorate a fast value rule, which takes the place of a definition."""

    def register(value: Callable[..., Any]) -> Fused[P]:
        rule: Fused[P] = Fused(value, gradient, as_written(definition))
        RULES[definition] = rule
        return rule

    return register
