"""What if a number were another? The run is repeated with it, and put back as it was.

Backward promises: move a number by a little, and the loss moves by the gradient times that. Here
it is measured, with a second run. And a number can be dragged through nine values; then all that
the page shows is computed anew for each of them. Where a run takes long there are fewer of both.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy

from .. import backend
from ..engine.tensor import Tensor
from .graph import Run
from .samples import cut_of, number
from .watch import Seen, unit_by_unit, watching

PLACES = 9  # where a dragged number stops
FEW = 12  # numbers, so that each of them can be dragged
HANDLES = 2  # otherwise, or one where a page shows very many numbers
NUMBERS = 25_000  # for all that can be dragged in a run, so that a page stays small
NUDGES, PER_LEAF = 200, 12  # at most
SECONDS = 10  # for all nudges, and as many for all that can be dragged, roughly


@contextmanager
def as_before(state: Mapping[str, Any], seen: Seen) -> Iterator[None]:
    """This block begins with the random numbers and the buffers as they were before the run.

    (Whoever is done with repeating calls `restore` once more.) And NumPy says nothing of NaN and
    infinity, which the reader's own numbers do not have.
    """
    restore(state, seen)
    with numpy.errstate(all="ignore"):
        yield


def restore(state: Mapping[str, Any], seen: Seen) -> None:
    """The random numbers, and batch norm's running statistics, as they were before the run."""
    backend.set_random_state(dict(state))
    for buffer, data in seen.buffers.values():
        buffer.data[...] = data


@contextmanager
def moved(leaf: Tensor, index: tuple[int, ...], value: float) -> Iterator[None]:
    """Inside this block one number of a leaf is another."""
    before = leaf.data[index].copy()
    leaf.data[index] = value
    try:
        yield
    finally:
        leaf.data[index] = before


def number_at(leaf: Tensor, index: tuple[int, ...]) -> float:
    """One number of a leaf."""
    return float(backend.asnumpy(leaf.data[index]))


def places_shown(leaf: Tensor) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """(index in the leaf, [row, column] on the page) of the numbers of it that can be moved."""
    if not leaf.size:
        return
    cut = cut_of(leaf)
    ranges = [
        range(*part.indices(length)) if isinstance(part, slice) else [part]
        for part, length in zip(cut.places, leaf.shape)
    ]
    shown = [axis for axis, part in enumerate(cut.places) if isinstance(part, slice)]
    rows = ranges[shown[0]] if len(shown) == 2 else [None]
    columns = ranges[shown[-1]] if shown else [None]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            index = [part[0] for part in ranges]
            for axis, place in zip(shown[-2:], [row, column] if len(shown) == 2 else [column]):
                index[axis] = place
            if math.isfinite(number_at(leaf, tuple(index))):
                yield tuple(index), [i, j]


# ----- A second run, and what it shows -----


class Repeat:
    """A function that was watched, to be run again from the same state."""

    def __init__(
        self, f: Callable[[], Any], run: Run, state: Mapping[str, Any], names: Mapping[int, str]
    ) -> None:
        self.f, self.run, self.state, self.names = f, run, state, names

    def loss(self) -> float:
        """What it gives from the state before; NaN where it fails with the numbers as they are."""
        with as_before(self.state, self.run.seen), unit_by_unit():  # the same steps, not watched
            try:
                return float(self.f())
            except Exception:
                return math.nan

    def look(self) -> Run | None:
        """All of it, or None where it fails or takes other steps."""
        with as_before(self.state, self.run.seen), watching() as seen:
            try:
                run = Run(self.f(), seen, self.run.lines, self.names)
            except Exception:
                return None
        return run if taken(run) == taken(self.run) else None

    def repeats(self) -> bool:
        """Whether it gives the same again: what it draws is drawn from the library's generator."""
        return self.loss() == float(self.run.output)

    def lasting_leaves(self) -> dict[str, Tensor]:
        """The leaves that a second run uses too, so that a change of them is seen."""
        again = self.look()
        used = {id(leaf) for leaf in again.leaves.values()} if again is not None else set()
        return {key: leaf for key, leaf in self.run.leaves.items() if id(leaf) in used}


def taken(run: Run) -> list[tuple[Any, ...]]:
    """The steps that a run took, whatever their numbers."""
    return [(node["id"], node["name"], node["shape"]) for node in run.nodes]


def affordable(act: Callable[[], Any], seconds: float) -> tuple[Any, int]:
    """What `act` gives, and how many more times it fits into these seconds."""
    start = time.perf_counter()
    result = act()
    return result, int(seconds / max(time.perf_counter() - start, 1e-6))


def add_nudges(repeat: Repeat, run: dict[str, Any], seconds: float) -> None:
    """Measure what small changes do, and look at what larger ones do; both go into `run`."""
    leaves, looks = affordable(repeat.lasting_leaves, seconds)
    before, runs = affordable(repeat.loss, seconds)
    places = [
        (key, leaf, *place)
        for key, leaf in leaves.items()
        for place in itertools.islice(places_shown(leaf), PER_LEAF)
    ]
    for key, leaf, index, cell in places[: min(NUDGES, runs)]:
        value = number_at(leaf, index)
        by = 0.02 * max(abs(value), 0.5)
        with moved(leaf, index, value + by):
            by = number_at(leaf, index) - value  # as float32 has it
            after = repeat.loss()
        if math.isfinite(after):
            run["nudges"].append({
                "leaf": key, "index": list(index), "cell": cell, "by": by, "before": before,
                "after": after,
            })  # fmt: skip
    dragged = itertools.islice(chosen(repeat.run, leaves), looks // PLACES)
    for key, leaf, index in dragged:
        run["handles"] += handle(repeat, key, leaf, index)


def chosen(run: Run, leaves: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, tuple[int, ...]]]:
    """The numbers to drag: all where there are few, else the steepest of the input, then others."""
    places = {key: [index for index, _ in places_shown(leaf)] for key, leaf in leaves.items()}
    if sum(map(len, places.values())) <= FEW:
        for key, indexes in places.items():
            yield from ((key, leaves[key], index) for index in indexes)
        return
    described = {node["id"]: node for node in run.nodes}
    slopes = {key: sizes_of(described[key]["grad"]) for key in places}
    steepest = sorted(filter(slopes.get, places), key=lambda key: -max(slopes[key]))
    # what is no weight comes first, and a kernel before the few numbers of a bias
    steepest.sort(key=lambda key: (described[key]["is_parameter"], -leaves[key].ndim))
    shown = sum(len(sizes_of(node["value"])) for node in run.nodes)
    for key in steepest[: max(1, min(HANDLES, NUMBERS // (2 * PLACES * shown)))]:
        yield key, leaves[key], places[key][slopes[key].index(max(slopes[key]))]


def sizes_of(sample: Mapping[str, Any] | None) -> list[float]:
    """The shown numbers without their signs; those that are not finite count as 0."""
    rows = sample["rows"] if sample else ()
    return [abs(value) if isinstance(value, float) else 0.0 for row in rows for value in row]


def handle(
    repeat: Repeat, key: str, leaf: Tensor, index: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """A number at nine places, with all that follows; nothing where other steps are taken."""
    value = number_at(leaf, index)
    middle, reach = PLACES // 2, max(abs(value), 0.5)
    values = [value + reach * (i - middle) / middle for i in range(PLACES)]
    as_it_is = {node["id"]: node for node in repeat.run.nodes}
    steps: list[dict[str, Any]] = []
    for place, other in enumerate(values):
        if place == middle:
            steps.append(ends(repeat.run, leaf, index))
            continue
        with moved(leaf, index, other):
            run = repeat.look()
        if run is None:
            return
        steps.append({**ends(run, leaf, index), **changes(as_it_is, run.nodes)})
    name = as_it_is[key]["name"] or key
    label = f"{name}[{', '.join(map(str, index))}]" if index else name
    yield {
        "leaf": key, "index": list(index), "cell": dict(places_shown(leaf))[index], "label": label,
        "values": [number(value) for value in values], "at": middle, "steps": steps,
    }  # fmt: skip


def ends(run: Run, leaf: Tensor, index: tuple[int, ...]) -> dict[str, Any]:
    """The two ends of a run: the loss, and the gradient of the number that is dragged."""
    return {"loss": number(float(run.output), 12), "slope": number(run.slope(leaf, index), 12)}


def changes(before: Mapping[str, Any], nodes: list[Any]) -> dict[str, dict[str, Any]]:
    """The shown numbers that are others than before, to four digits."""
    found: dict[str, dict[str, Any]] = {"value": {}, "grad": {}}
    for node in nodes:
        for kind, rows_of in found.items():
            now, then = node[kind], before[node["id"]][kind]
            if now and (not then or now["rows"] != then["rows"]):
                rows_of[node["id"]] = [[number(value, 4) for value in row] for row in now["rows"]]
    return found
