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
import numbers
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, cast

from ..backend import Array, check_array, is_array, native, out_of_memory, xp
from ..check import INSIDE, Arguments, explained
from ..errors import DTypeError
from .anomaly import check_finite, user_line
from .modes import mode
from .operators import PRIMITIVES, raw
from .tensor import Node, Tensor

P = ParamSpec("P")


class Primitive(Generic[P]):
    """A value rule on arrays and a gradient rule per argument.

    The first arguments, one for each rule, are differentiated; the others are settings. Called
    with a Tensor among the former a primitive computes, and records what it did; called with plain
    arrays it is just its value rule. So a gradient rule, which is written with operators and other
    primitives, runs on arrays in an ordinary backward, and on Tensors under `create_graph=True`.
    """

    saves = False  # whether the value rule gives, besides, what the gradient wants saved

    def __init__(self, value: Callable[P, Any], rules: Sequence[Callable], view: bool) -> None:
        functools.update_wrapper(self, value)  # its name, docstring and signature
        self.__name__: str = value.__name__.strip("_")
        self.value = value
        self.rules = rules
        self.view = view
        self.arguments = Arguments(value)
        self.signature = inspect.signature(value)
        names = list(self.signature.parameters.values())
        self.variadic = names[0].kind == names[0].VAR_POSITIONAL
        self.defaults = {n.name: n.default for n in names[len(rules) :] if n.default is not n.empty}
        self.arity = -1 if self.defaults or self.variadic else len(rules)
        self.uses = [names_used(rule) for rule in rules]
        self.blind = all(len(inspect.signature(rule).parameters) == 1 for rule in rules)
        taken = PRIMITIVES.get(self.__name__)
        if taken is not None and taken.__module__ != self.__module__:
            raise ValueError(
                f"primitive: {self.__name__} is already a primitive, of {taken.__module__}, which "
                "operators and methods of Tensor use; choose another name"
            )
        PRIMITIVES[self.__name__] = self

    def __call__(self, *args: P.args, **params: P.kwargs) -> Tensor:
        tensors: tuple[Any, ...] = args
        settings: dict = params
        if len(args) != self.arity:
            tensors, settings = self.sort_arguments(args, params)
        try:
            for x in tensors:
                if isinstance(x, Tensor):
                    return self.on_tensors(tensors, settings)
            return self.value(*tensors, **settings)
        except INSIDE as error:
            better = self.explain(tensors, settings, error)
            if better is error:
                raise
            raise better from error

    def sort_arguments(self, args: tuple[Any, ...], params: dict) -> tuple[tuple[Any, ...], dict]:
        """What is differentiated, and the settings by name with their defaults filled in."""
        if self.variadic or len(args) == len(self.rules):
            return args, {**self.defaults, **params} if self.defaults else params
        try:  # settings without their names, or arguments with
            bound = self.signature.bind(*args, **params)
        except TypeError as error:
            self.arguments.check(self.__name__, args, params)
            raise TypeError(f"{self.__name__}: {error}") from None
        bound.apply_defaults()
        values = list(bound.arguments.items())
        tensors = tuple(value for _, value in values[: len(self.rules)])
        return tensors, dict(values[len(self.rules) :])

    def explain(self, args: tuple[Any, ...], params: dict, error: Exception) -> Exception:
        """The error to raise where a call failed: which argument is wrong, or what did not fit."""
        for position, arg in enumerate(args):
            if not isinstance(arg, (numbers.Real, Tensor)) and not is_array(arg):
                check_array(arg, f"{self.__name__}: {self.argument(position)}")
        if isinstance(error, MemoryError):
            return out_of_memory(self.__name__, map(raw, args), error)
        return explained(self.__name__, self.arguments, args, params, error) or error

    def argument(self, position: int) -> str:
        """What the argument at a position, 0 being the first, is called."""
        names = self.arguments.names
        return names[position] if position < len(names) else f"argument {position + 1}"

    def on_tensors(self, args: tuple[Any, ...], params: dict) -> Tensor:
        """Compute, check and record."""
        arrays, parents = operands(self, args)
        data = self.value(*arrays, **params)
        saved = node = None
        if self.saves:
            data, saved = data
        if parents is not None and mode.recording:
            node = Node(self, parents, params, data.shape, saved)
        out = Tensor.of(data, node)
        if self.view and xp.may_share_memory(data, arrays[0]):
            out.version = args[0].version
        if node is not None and not self.blind:
            self.keep(node, args, arrays, out)
        if mode.anomaly:
            line = user_line()
            check_finite(f"the value of {self.__name__}", out.data, args, line)
            if node is not None:
                node.line = line
        return out

    def keep(self, node: Node, args: tuple[Any, ...], arrays: Sequence[Any], out: Tensor) -> None:
        """Leave with the node the arrays that its gradient rules will ask for."""
        used: set[int] = set()  # positions: 0 is the output, 1 the first argument
        parents = cast(Sequence, node.parents)
        for parent, uses in zip(parents, self.uses * len(args) if self.variadic else self.uses):
            if parent is not None:
                used |= uses
        if self.variadic and 1 in used:
            used.update(range(2, len(args) + 1))
        inputs, kept = [], []
        if 0 in used:
            node.output = out.data
            kept.append((0, out.version, out.version[0]))
        for position, array in enumerate(arrays, 1):
            if position in used:
                arg = args[position - 1]
                if isinstance(arg, Tensor):
                    kept.append((position, arg.version, arg.version[0]))
            elif isinstance(array, xp.ndarray):
                array = Forgotten(array)
            inputs.append(array)
        node.inputs, node.kept = inputs, kept

    def gradients(
        self, node: Node, g: Any, places: Sequence[Node | Tensor | None], tensors: bool
    ) -> Sequence[Any]:
        """The gradient for each of the places but None, given `g`, the gradient of the output."""
        if self.blind:
            parts, rules = [], self.rules
            for i, place in enumerate(places):
                parts.append(None if place is None else rules[i](g))
            return parts
        output, inputs = node.output, node.inputs
        if tensors:  # the rules are to be recorded: give them the Tensors, history and all
            output, *inputs = with_history(node, (node, *cast(tuple, node.parents)))
        if self.variadic:
            return self.rules[0](g, output, *inputs, **node.params)
        params = node.params
        return [
            rule(g, output, *inputs, **params) if place is not None else None
            for rule, place in zip(self.rules, places)
        ]


def primitive(*rules: Callable, view: bool = False) -> Callable[[Callable[P, Any]], Primitive[P]]:
    """Decorate a value rule with its gradient rules, and add the row to the table.

    One rule per argument, in order. It is called with the gradient of the output `g`, the output
    and all the arguments (settings by name), and gives the gradient of its own argument. **A name
    that begins with an underscore says that the rule does not need that array's values**, only its
    shape and type, so the engine does not keep it alive. Broadcasting is undone by the engine; no
    rule mentions it.
    A primitive of any number of arguments (`*xs`) has one rule, which gives a list.
    `view=True` says that the output may share memory with the first argument.
    """
    return lambda value: Primitive(value, rules, view)


class Forgotten:
    """What is left of an array that no gradient rule asked to keep: its shape and type."""

    __slots__ = ("shape", "dtype")

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)


def names_used(rule: Callable) -> set[int]:
    """The positions (0 the output, 1 the first argument) whose values a rule's names ask for."""
    names = list(inspect.signature(rule).parameters.values())[1:]
    return {
        position
        for position, name in enumerate(names)
        if not name.name.startswith("_") and name.kind != name.KEYWORD_ONLY
    }


def with_history(node: Node, places: Sequence[Node | Tensor | None]) -> list[Any]:
    """The output and the arguments of `node`, those that it kept as the Tensors they were.

    `places` says where each came from: a leaf is that leaf, from a node a new Tensor goes on.
    """
    found = [node.output, *node.inputs]
    for position, version, _ in node.kept:
        place = places[position]
        found[position] = (
            place if isinstance(place, Tensor) else Tensor.of(found[position], place, version)
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
    return arrays if alike else one_type(primitive, arrays), parents if needed else None


def one_type(primitive: Primitive, args: Sequence[Any]) -> list[Any]:
    """Arrays brought to one floating-point type; numbers stay numbers."""
    name, arrays = primitive.__name__, []
    dtypes = set()
    for position, arg in enumerate(args):
        if type(arg) is not float and type(arg) is not int:
            if isinstance(arg, (numbers.Real, xp.generic)):  # np.float64(2) would widen float32
                arg = float(arg)
            else:
                check_array(arg, f"{name}: {primitive.argument(position)}")
                arg = native(arg, name)
                dtypes.add(arg.dtype)
        arrays.append(arg)
    if len(dtypes) > 1:
        floats = [dtype for dtype in dtypes if dtype.kind == "f"]
        if len(floats) > 1:
            raise DTypeError(
                f"{name}: the arguments mix {' and '.join(sorted(map(str, floats)))}, and the "
                "result would silently be the wider one. Convert one of them with .astype(...)."
            )
        if floats:  # integers and booleans follow the floats, where NumPy would go to float64
            arrays = [a.astype(floats[0]) if isinstance(a, xp.ndarray) else a for a in arrays]
    elif float in map(type, arrays) and dtypes.pop().kind != "f":  # integers beside a number
        arrays = [a.astype(xp.float32) if isinstance(a, xp.ndarray) else a for a in arrays]
    return arrays


@primitive(lambda g: g, view=True)
def identity(x: Any) -> Any:
    """x itself."""
    return x
