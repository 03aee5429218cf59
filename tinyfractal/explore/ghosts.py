"""What belongs to fractal blocks: in which column a step lies, and what drop-path left out."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from ..fractal import FractalBlock
from ..nn import Module

Described = dict[str, Any]


def described(key: str, kind: str, name: str, **known: Any) -> Described:
    """A node as the page has it: what every node has, with what is known of this one."""
    usual: Described = {
        "id": key, "kind": kind, "name": name, "label": name, "group": [], "lane": None,
        "is_parameter": False, "shape": [], "inputs": [], "settings": "", "value": None,
        "grad": None, "parts": [], "rule": None, "stack": [],
    }  # fmt: skip
    return usual | known


def blocks_in(modules: Iterable[Module]) -> list[FractalBlock]:
    """The fractal blocks inside, each once, without the blocks inside those."""
    every = [inner for module in modules for _, inner in module.named_modules()]
    blocks = {id(inner): inner for inner in every if isinstance(inner, FractalBlock)}
    for block in list(blocks.values()):
        for _, inner in block.named_modules():
            if inner is not block:
                blocks.pop(id(inner), None)
    return list(blocks.values())


def columns_of(modules: Iterable[Module]) -> dict[int, int]:
    """In which column each conv unit lies: {id of the unit: column}."""
    return {
        id(unit): column
        for block in blocks_in(modules)
        for column in range(block.columns)
        for unit in block.column(column)
    }


def ghosts_of(
    block: FractalBlock,
    group: list[str],
    steps: dict[int, list[Described]],
    joins: dict[int, Described],
    nodes: list[Described],
    called: Container[int],
) -> list[Described]:
    """What drop-path left out of a block that ran once, as nodes of their own.

    `steps` has the steps of each conv unit, by id; `joins` the join of each block. `called` are the
    ids of all modules that computed something: frozen ones do so without a recorded step. The two
    functions below are the expansion rule once more, as in `fractal.py`, with numbers for arrays.
    """
    ghosts: list[Described] = []
    lanes = columns_of([block])
    dead: set[str] = set()

    def branches(block: FractalBlock, group: list[str], z: list[str]) -> list[str]:
        """The ends of its columns."""
        own = steps.get(id(block.conv))
        if own:
            end = own[-1]["id"]
        elif id(block.conv) in called:
            end = ""  # it was computed, and nothing was recorded
        else:
            end = f"{'.'.join([*group, 'conv'])} left out"
            dead.add(end)
            ghosts.append(ghost(end, [*group, "conv"], lanes[id(block.conv)], z))
        if block.columns == 1:
            return [end]
        middle = forward(block.first, [*group, "first"], z)
        return [end, *branches(block.second, [*group, "second"], middle)]

    def forward(block: FractalBlock, group: list[str], z: list[str]) -> list[str]:
        """Its output: what the join gave, or the only branch that lives, or several ghosts."""
        ends = branches(block, group, z)
        living = [end for end in ends if end and end not in dead]
        joined = joins.get(id(block))
        if joined is not None:
            meet = [joined["id"]]
        else:
            meet = [node["id"] for node in nodes if set(living) & set(node["inputs"])]
        for node in ghosts:
            if node["id"] in ends and living:
                node["into"] += meet
        if not living:
            return [end for end in ends if end]
        return [joined["id"]] if joined is not None else living

    weights = {node["id"] for node in nodes if node["is_parameter"]}
    forward(block, group, inputs_of(block, steps, weights))
    return ghosts


def inputs_of(
    block: FractalBlock, steps: dict[int, list[Described]], weights: Container[str]
) -> list[str]:
    """What the block reads: what comes from outside to the first of its units that was recorded."""
    own = steps.get(id(block.conv), [])
    inside = {step["id"] for step in own}
    for source in (source for step in own for source in step["inputs"]):
        if source is not None and source not in inside and source not in weights:
            return [source]
    return inputs_of(block.first, steps, weights) if block.columns > 1 else []


def ghost(key: str, group: list[str], lane: int, inputs: list[str]) -> Described:
    """A conv that was not computed."""
    return described(
        key, "ghost", "conv", group=group, lane=lane, inputs=list(inputs), into=[],
        forward="conv: left out by drop-path, and not computed.",
        backward="conv: left out by drop-path, so no gradient comes here.",
    )  # fmt: skip
