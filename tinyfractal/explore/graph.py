"""A run as the page has it: nodes with their values, gradients and words, as plain dictionaries.

Shown is what leads to the output. Where the run was watched, its values, names and lines of code
are known. Of a Tensor that was recorded before anyone looked, there is only what backward needs,
and what follows from it.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import ops
from ..backend import asnumpy, xp
from ..engine.backward import backward_order, run_backward
from ..engine.node import Node
from ..engine.operators import raw
from ..engine.tensor import Tensor
from ..errors import GraphError, ShapeError
from ..fractal import ConvUnit
from ..nn import Module, Parameter
from .ghosts import Described, blocks_in, columns_of, described, ghosts_of
from .groups import GroupNames, tidy_groups
from .lines import Lines
from .samples import cut_of, sample
from .settings import settings_of, short
from .watch import Call, Seen, noting_gradients
from .words import sentences

OPS = ops.__name__  # the modules with the readable primitives


class Run:
    """What there is to show of one run: `as_json`, and which Tensor each of its nodes is."""

    def __init__(self, output: Tensor, seen: Seen, lines: Lines, names: Mapping[int, str]) -> None:
        self.output, self.seen, self.lines = output, seen, lines
        self.steps = steps_before(output, seen)
        self.values = kept_values(output, self.steps)
        self.gradients = gradients_of(output, seen)  # of the leaves: {id: array}
        self.paths = module_paths(seen.modules.values(), names)
        self.names = {**seen.names, **names, **parameter_names(seen, self.paths)}
        self.lanes = columns_of(seen.modules.values())
        self.nodes: list[Described] = []
        self.ids: dict[Any, str] = {}  # of steps, and of the id() of leaves and data
        self.leaves: dict[str, Tensor] = {}  # by their ids
        self.group_names = GroupNames(self.paths)
        of_units: dict[int, list[Described]] = {}
        joins: dict[int, Described] = {}
        for node in self.steps:
            step = self.describe_step(node)
            calls = [call for call in self.calls_around(node) if isinstance(call.what, Module)]
            for call in calls:
                of_units.setdefault(id(call.what), []).append(step)
            if calls and step["name"] == "join":
                joins[id(calls[-1].what)] = step
        for block in blocks_in(seen.modules.values()):
            if self.group_names.times[id(block)] == 1:
                group = self.group_names.group_of_module[id(block)]
                self.nodes += ghosts_of(block, group, of_units, joins, self.nodes, seen.called)
        tidy_groups(self.nodes)

    def as_json(self) -> Described:
        """The run as the page has it."""
        return {
            "nodes": self.nodes,
            "output": self.ids[self.output.node],
            "visits": [self.ids[node] for node in self.seen.visits],
            "handles": [],
            "nudges": [],
        }

    def slope(self, leaf: Tensor, index: tuple[int, ...]) -> float:
        """The gradient of one number of a leaf."""
        g = self.gradients.get(id(leaf))
        return 0.0 if g is None else float(asnumpy(g[index]))

    def calls_around(self, node: Node) -> list[Call]:
        step = self.seen.steps.get(node)
        return step.calls if step else []

    def describe_step(self, node: Node) -> Described:
        """A recorded operation."""
        step = self.seen.steps.get(node)
        parents: Sequence[Any] = node.parents or ()
        args = step.args if step else tuple(parents)
        settings = settings_of(node)
        inputs: list[str | None] = []
        shapes = []
        given = step.given if step else [None] * len(args)
        for place, (arg, parent, array) in enumerate(zip(args, parents, given)):
            source = arg if parent is None else parent
            inputs.append(self.id_of(source, array))
            shapes.append(getattr(source, "shape", None))
            if inputs[-1] is None and source is not None:
                settings.append(f"{name_of_argument(node, place)} = {short(source)}")
        calls, name = self.calls_around(node), node.primitive.__name__
        units = [call.what for call in calls if isinstance(call.what, ConvUnit)]
        value = step.value if step else self.values.get(node)
        parts = self.seen.parts.get(node, [None] * len(parents))
        self.ids[node] = f"n{len(self.ids) + 1}"
        self.nodes.append(described(
            self.ids[node], "step", name,
            group=self.group_names.of(calls),
            lane=self.lanes.get(id(units[-1])) if units else None,
            shape=list(node.shape),
            inputs=inputs,
            settings=", ".join(settings),
            value=shown(value, node),
            grad=shown(self.seen.gradients.get(node), node),
            parts=[shown(part, source) for part, source in zip(parts, parents)],
            **sentences(node, shapes),
            rule=name,
            stack=self.lines.numbers_of(step.lines if step else []),
        ))  # fmt: skip
        return self.nodes[-1]

    def id_of(self, source: Any, array: Any) -> str | None:
        """The node that an argument is; None for a number, or for what is not known.

        `array` is what a leaf held then, if that was seen.
        """
        if isinstance(source, Node):
            return self.ids[source]
        if not hasattr(source, "shape"):
            return None
        if id(source) not in self.ids:
            self.describe_leaf(source, raw(source) if array is None else array)
        return self.ids[id(source)]

    def describe_leaf(self, thing: Any, array: Any) -> None:
        """A leaf, or data that needs no gradient."""
        key = id(thing)
        self.ids[key] = number = f"n{len(self.ids) + 1}"
        name, learns = self.names.get(key, ""), isinstance(thing, Tensor) and thing.requires_grad
        if learns:
            self.leaves[number] = thing
        self.nodes.append(described(
            number, "leaf" if learns else "constant", name,
            label=name.rpartition(".")[2] or ("leaf" if learns else "data"),
            is_parameter=isinstance(thing, Parameter),
            shape=list(thing.shape),
            value=shown(array, thing),
            grad=shown(self.gradients.get(key), thing),
            forward=f"{name or 'a leaf'}: given, not computed.",
            backward=(
                f"{name or 'a leaf'}: all parts of its gradient have come." if learns
                else f"{name or 'data'}: it does not learn, so no gradient is computed for it."
            ),
        ))  # fmt: skip


def name_of_argument(node: Node, place: int) -> str:
    """What the primitive calls it: a, b, n …"""
    names = list(inspect.signature(node.primitive.value).parameters)
    return names[place] if place < len(names) else f"argument {place + 1}"


# ----- What is known of a run -----


def check_output(output: Any) -> None:
    """Raise unless `output` is a single number that was recorded."""
    if not isinstance(output, Tensor):
        raise TypeError(
            "explore: needs a Tensor that was computed, or a function without arguments that gives "
            f"one, got {type(output).__name__}"
        )
    if output.size != 1:
        raise ShapeError(
            f"explore: needs a single number, such as a loss, got a Tensor of shape "
            f"{output.shape}; take its tf.sum or tf.mean"
        )
    if output.node is None and output.requires_grad:
        raise GraphError("explore: this Tensor is a leaf: it was given, and computed from nothing")
    if output.node is None:
        raise GraphError(
            "explore: nothing was recorded for this Tensor: none of its arguments has "
            "requires_grad, or it was computed inside no_grad"
        )


def steps_before(output: Tensor, seen: Seen) -> list[Node]:
    """The recorded operations behind it, in the order in which they were computed."""
    try:
        backwards = backward_order([output.node])  # type: ignore[list-item]
    except GraphError as error:
        raise GraphError(
            "explore: the graph behind this Tensor was freed by its backward(); explore it before "
            "that, or give the function that computes it: tf.explore(lambda: …)"
        ) from error
    order = {node: place for place, node in enumerate(seen.steps)}
    forwards = backwards[::-1]
    forwards.sort(key=lambda node: order.get(node, -1))  # what was not seen came before
    return forwards


def gradients_of(output: Tensor, seen: Seen) -> dict[int, Any]:
    """Run backward; it leaves no trace in any `grad`. {id of a leaf: its gradient}."""
    seed = xp.ones(output.shape, output.dtype)
    with noting_gradients(seen):
        found = run_backward([output.node], [seed], retain_graph=True)
    return {id(leaf): raw(g) for leaf, g in found.items()}


def kept_values(output: Tensor, steps: Iterable[Node]) -> dict[Any, Any]:
    """What a Tensor's history still knows of the values, without having been watched.

    Some were kept for backward, by the step itself or by one that reads it. Others follow from
    those: where all arguments are known, the value rule gives the value.
    """
    arrays: dict[Any, Any] = {output.node: output.data}
    for node in steps:
        for parent, array in zip(node.parents or (), node.inputs):
            if isinstance(parent, Node) and isinstance(array, xp.ndarray):
                arrays[parent] = array
        if node.output is not None:
            arrays[node] = node.output
    for node in steps:
        parents: Sequence[Any] = node.parents or ()
        args = node.inputs or (None,) * len(parents)
        known = [known_array(*pair, arrays) for pair in zip(args, parents)]
        is_ours = str(node.primitive.__module__).startswith(OPS)  # others may do more than that
        if node not in arrays and is_ours and not any(array is None for array in known):
            arrays[node] = node.primitive.value(*known, **node.params)
    return arrays


def known_array(arg: Any, parent: Any, arrays: Mapping[Any, Any]) -> Any:
    """What an argument was: kept, a leaf, or computed from others; None where it is not known."""
    if isinstance(arg, (xp.ndarray, int, float)):
        return arg
    return parent.data if isinstance(parent, Tensor) else arrays.get(parent)


def module_paths(modules: Iterable[Module], names: Mapping[int, str]) -> dict[int, str]:
    """{id of a module: its path}, with the variable's name in front where there are several."""
    outermost = list(modules)
    paths: dict[int, str] = {}
    taken: Counter[str] = Counter()
    for module in outermost:
        prefix = names.get(id(module), type(module).__name__) if len(outermost) > 1 else ""
        taken[prefix] += 1
        prefix += f" ({taken[prefix]})" if taken[prefix] > 1 else ""
        for path, inner in module.named_modules(prefix):
            paths.setdefault(id(inner), path)
    return paths


def parameter_names(seen: Seen, paths: Mapping[int, str]) -> dict[int, str]:
    """{id of a weight: its path}."""
    names: dict[int, str] = {}
    for module in seen.modules.values():
        prefix = paths[id(module)]
        for path, weight in module.named_parameters():
            names.setdefault(id(weight), f"{prefix}.{path}" if prefix else path)
    return names


def shown(array: Any, of: Any) -> Any:
    """The sample of an array that belongs to a Tensor or a node; None where it is not known."""
    return None if array is None else sample(array, cut_of(of)).as_json()
