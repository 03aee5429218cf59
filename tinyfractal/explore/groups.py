"""The groups that a step is in: the modules and functions around it, by name."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..nn import Module
from .ghosts import Described
from .watch import Call


class GroupNames:
    """Names for the modules and functions around a step; the second call of one is "name ×2"."""

    def __init__(self, paths: Mapping[int, str]) -> None:
        self.paths = paths
        self.names: dict[tuple[Any, ...], str] = {}  # of a call, inside the groups around it
        self.taken: Counter[tuple[str, ...]] = Counter()
        self.times: Counter[int] = Counter()  # how often a module was called
        self.group_of_module: dict[int, list[str]] = {}

    def of(self, calls: Iterable[Call]) -> list[str]:
        """The groups of a step, outermost first."""
        group: list[str] = []
        above = ""
        for what, number in calls:
            if isinstance(what, Module):
                path = self.paths.get(id(what), type(what).__name__)
                name = path.removeprefix(f"{above}.") if above else path
                above = path
            else:
                name = f"{what}()"
            key = (*group, name, number)
            if key not in self.names:
                self.taken[(*group, name)] += 1
                times = self.taken[(*group, name)]
                self.names[key] = name if times < 2 else f"{name} ×{times}"
                self.times[id(what)] += 1
            if name:  # the outermost module has none, if it is the only one
                group.append(self.names[key])
            self.group_of_module[id(what)] = list(group)
        return group


def tidy_groups(nodes: Sequence[Described]) -> None:
    """A group of a single step says nothing that the step does not: it goes.

    And a weight is in the groups that all of its users are in.
    """
    steps = [node for node in nodes if node["kind"] in ("step", "ghost")]
    sizes = Counter(
        tuple(step["group"][:i]) for step in steps for i in range(len(step["group"]) + 1)
    )
    users: dict[str, list[list[str]]] = {}
    for step in steps:
        group = step["group"]
        step["group"] = [name for i, name in enumerate(group, 1) if sizes[tuple(group[:i])] > 1]
        for source in step["inputs"]:
            users.setdefault(source, []).append(step["group"])
    for node in nodes:
        if node["is_parameter"]:
            node["group"] = common_start(users[node["id"]])


def common_start(groups: Sequence[list[str]]) -> list[str]:
    """What all of them begin with."""
    equal = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*groups))
    return [names[0] for names in equal]
