"""The derivative table: what an operation is, and how calling it gets recorded.

The table at the back of a calculus book has two columns, a function and its derivative. A
`Primitive` is one row: a value rule on arrays and, beside it, a gradient rule per argument.

    @primitive(lambda g, y, _x: g * y)
    def exp(x):
        return xp.exp(x)

The gradient rule reads "given the gradient g of the output, the gradient of x is g * y".
The table itself is `operators.PRIMITIVES`; its rows are written in `ops/`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, cast

from ..backend import Array, xp
from ..check import INSIDE
from .anomaly import check_finite, user_line
from .modes import mode
from .node import Node
from .operands import Operands
from .operators import PRIMITIVES
from .tensor import Tensor

P = ParamSpec("P")


class Primitive(Generic[P]):
    """A value rule on arrays and a gradient rule per argument.

    The first arguments, one for each rule, are differentiated; the others are settings. Called
    with a Tensor among the former a primitive computes, and records what it did; called with plain
    arrays it is just its value rule. So a gradient rule, which is written with operators and other
    primitives, runs on arrays in an ordinary backward, and on Tensors under `create_graph=True`.
    (A value rule may return a tuple: the value, and what else is to be saved for backward.)
    """

    def __init__(self, value: Callable[P, Any], rules: Sequence[Callable], view: bool) -> None:
        for name in functools.WRAPPER_ASSIGNMENTS:  # update_wrapper would slow all look-ups here
            setattr(self, name, getattr(value, name, None))
        self.__wrapped__ = self.value = value  # where inspect finds the signature
        self.__name__: str = value.__name__.strip("_")
        self.view = view
        self.arguments = Operands(value, len(rules))
        self.arity = self.arguments.arity
        self.uses = [names_used(rule) for rule in rules]
        self.needs_only_g = all(map(takes_only_g, rules))
        self.rules = rules if self.needs_only_g else [with_all_arguments(rule) for rule in rules]
        taken = PRIMITIVES.get(self.__name__)
        if taken is not None and taken.__module__ != self.__module__:
            raise ValueError(
                f"primitive: {self.__name__} is already a primitive, of {taken.__module__}, which "
                "operators and methods of Tensor use; choose another name"
            )
        PRIMITIVES[self.__name__] = self

    def __call__(self, *args: P.args, **params: P.kwargs) -> Tensor:
        in_order = len(args) == self.arity
        tensors, settings = (args, params) if in_order else self.arguments.sort(args, params)
        try:
            for x in tensors:
                if isinstance(x, Tensor):
                    return self.on_tensors(tensors, settings)
            return self.value(*tensors, **settings)
        except INSIDE as error:
            better = self.arguments.explain(tensors, settings, error)
            if better is error:
                raise
            raise better from error

    def on_tensors(self, args: tuple[Any, ...], params: dict) -> Tensor:
        """Compute, check and record."""
        arrays, parents = operands(self, args)
        data = self.value(*arrays, **params)
        data, saved = data if type(data) is tuple else (data, None)
        node = None
        if parents is not None and mode.recording:
            node = Node(self, parents, params, data.shape, saved)
        out = Tensor.of(data, node)
        if self.view and xp.may_share_memory(data, arrays[0]):
            out.version = args[0].version
        if node is not None and not self.needs_only_g:
            self.save_for_backward(node, args, arrays, out)
        if mode.anomaly:
            line = user_line()
            check_finite(f"the value of {self.__name__}", out.data, args, line)
            if node is not None:
                node.line = line
        return out

    def save_for_backward(
        self, node: Node, args: tuple[Any, ...], arrays: Sequence[Any], out: Tensor
    ) -> None:
        """Leave with the node the arrays that its gradient rules will ask for."""
        used: set[int] = set()  # positions: 0 is the output, 1 the first argument
        if self.arguments.variadic:
            used |= self.uses[0]
            if 1 in used:  # the first of *xs stands for all of them
                used.update(range(2, len(args) + 1))
        else:
            for parent, uses in zip(node.parents or (), self.uses):
                if parent is not None:
                    used |= uses
        inputs, versions = [], []
        if 0 in used:
            node.output = out.data
            versions.append((0, out.version, out.version[0]))
        for position, (arg, array) in enumerate(zip(args, arrays), 1):
            if position in used:
                if isinstance(arg, Tensor):
                    versions.append((position, arg.version, arg.version[0]))
            elif isinstance(array, xp.ndarray):
                array = NotSaved(array)
            inputs.append(array)
        node.inputs, node.versions = inputs, versions

    def gradients(
        self, node: Node, g: Any, parents: Sequence[Any], create_graph: bool
    ) -> Sequence[Any]:
        """The gradient for each of the parents but None, given `g`, the gradient of the output."""
        if self.needs_only_g:
            parts: list[Any] = []
            for rule, parent in zip(self.rules, parents):  # quicker here than a comprehension
                parts.append(None if parent is None else rule(g))
            return parts
        output, inputs = node.output, node.inputs
        if create_graph:  # the rules are to be recorded: give them the Tensors, history and all
            output, *inputs = with_history(node, (node, *cast(tuple, node.parents)))
        if self.arguments.variadic:
            parts = self.rules[0](g, output, *inputs, **node.params)
            return [part for part, _ in zip(parts, parents, strict=True)]
        return [
            rule(g, output, *inputs, **node.params) if parent is not None else None
            for rule, parent in zip(self.rules, parents)
        ]


def primitive(*rules: Callable, view: bool = False) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Decorate a value rule with its gradient rules, and add the row to the table.

    One rule per argument, in order. A rule takes `g`, the gradient of the output, and returns the
    gradient of its argument. If it needs more it takes, after `g`, the output and all the arguments
    (settings by name): `lambda g, y, x: …`. **A leading underscore (`_x`) means: only the shape and
    type of x are needed**, so its values are not saved for backward. Broadcasting is undone by the
    engine; no rule mentions it.
    A primitive of any number of arguments (`*xs`) has one rule, which gives a list.
    `view=True` says that the output may share memory with the first argument.
    """
    return lambda value: Primitive(value, rules, view)


class NotSaved:
    """In place of an array that no gradient rule asks for: its shape and type, not its values."""

    __slots__ = ("shape", "dtype")

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)


def takes_only_g(rule: Callable) -> bool:
    """Whether it is a rule such as `lambda g: -g`."""
    return len(inspect.signature(rule).parameters) == 1


def with_all_arguments(rule: Callable) -> Callable:
    """The rule, to be called like its neighbours that need more than g."""
    return (lambda g, *_, **__: rule(g)) if takes_only_g(rule) else rule


def names_used(rule: Callable) -> set[int]:
    """The positions (0 the output, 1 the first argument) whose values a rule's names ask for."""
    names = list(inspect.signature(rule).parameters.values())[1:]
    return {
        position
        for position, name in enumerate(names)
        if not name.name.startswith("_") and name.kind != name.KEYWORD_ONLY
    }


def with_history(node: Node, sources: Sequence[Any]) -> list[Any]:
    """The output and the arguments of `node`, those that were saved as the Tensors they were.

    `sources` says where each came from: a leaf is that leaf, from a node a new Tensor goes on.
    """
    found = [node.output, *node.inputs]
    for position, version, _ in node.versions:
        source = sources[position]
        found[position] = (
            source if isinstance(source, Tensor) else Tensor.of(found[position], source, version)
        )
    return found


def operands(
    primitive: Primitive, args: tuple[Any, ...]
) -> tuple[list[Any], list[Node | Tensor | None] | None]:
    """The arrays behind the arguments, of one type, and where those that need a gradient came from.

    Numbers stay numbers. A parent is a node, or a leaf; without any the second list is None.
    """
    arrays, parents = [], []
    dtype, alike, needed = None, True, False
    for arg in args:
        parent = None
        if isinstance(arg, Tensor):
            if arg.requires_grad:
                parent, needed = arg.node or arg, True
            arg = arg.data
            if arg.dtype is not dtype:
                dtype, alike = arg.dtype, alike and dtype is None
        else:
            alike = False
        arrays.append(arg)
        parents.append(parent)
    return arrays if alike else primitive.arguments.one_type(arrays), parents if needed else None
