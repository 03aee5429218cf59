"""Where the boxes of a picture go: plain geometry, and nothing is drawn here (`plot.py` does that).

A fractal block is laid out by the recursion that computes it. `FractalBlock.forward` closes its
branches with a join, and `FractalBlock.branches` leaves them open for a join further out; the
functions `forward` and `branches` below do the same with boxes, and once more with the question
which of them are computed at all. Time runs downwards; the columns are 1 apart, and so are the
units of length.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy

from ..check import Count, Range, checked
from ..engine.backward import backward_order
from ..engine.node import Node
from ..engine.tensor import Tensor
from ..errors import GraphError, ShapeError
from ..fractal import Keep, keep_all


class Box(NamedTuple):
    """A block f_k (`size` k), a conv, or a join (`size` branches)."""

    kind: str  # "block", "conv" or "join"
    path: str  # of the module inside the FractalBlock: "first.second.conv"; a join has its block's
    size: int
    left: float
    top: float
    right: float
    bottom: float

    @property
    def centre(self) -> tuple[float, float]:
        """The middle: (across, in time)."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


class Edge(NamedTuple):
    """A line down a column, into the conv at `path` or out of it."""

    path: str
    x: float
    top: float
    bottom: float


class Layout(NamedTuple):
    """A block of `columns` columns: its input comes along the bar at y = 0."""

    columns: int
    boxes: list[Box]
    edges: list[Edge]
    left: float
    width: float
    height: float

    def of(self, kind: str) -> list[Box]:
        """The boxes of one kind; of blocks, the outer ones first."""
        return sorted((box for box in self.boxes if box.kind == kind), key=lambda box: -box.size)


CONV = (0.58, 0.44)  # a conv's width, and the height of one in the deepest column
PAD = 0.1  # between a block's border and what is inside
GAP = 0.16  # between things that follow each other
BAR = 0.07  # the height of a join
HEAD = 0.3  # between a block's upper border and its conv: room for its name


# ----- A block -----

Columns = Annotated[
    int, Range(1, 8, why="a block has 2^columns - 1 convolutions, more than a picture can show")
]


@checked
def layout_block(columns: Columns, head: float = HEAD) -> Layout:
    """The boxes and edges of f_C: column 0 on the left, the deepest on the right.

    2^C - 1 convs, 2^c in column c; and after each conv of the deepest column a join of all the
    columns that end there, which is 2^(C-1) joins, half of them of a single branch.
    """
    boxes: list[Box] = []
    edges: list[Edge] = []
    half = CONV[0] / 2

    def forward(path: str, k: int, z: float, top: float) -> tuple[float, float]:
        """f_k with its join, where z is the y of its input: (y of its output, lower border)."""
        ends, y = branches(path, k, z, top)
        bar = BAR if k > 1 else 0.0
        y += GAP if k > 1 else 0.0
        boxes.append(Box("join", path[:-1], k, columns - k - half, y, columns - 1 + half, y + bar))
        edges.extend(Edge(conv.path, (conv.left + conv.right) / 2, conv.bottom, y) for conv in ends)
        return y + bar, border(path, k, top, y + bar + PAD)

    def branches(path: str, k: int, z: float, top: float) -> tuple[list[Box], float]:
        """f_k without its join: (the convs that end its columns, how far down they reach)."""
        x, rest, bottom = columns - k, list[Box](), top + head + CONV[1]
        if k > 1:
            middle, below = forward(path + "first.", k - 1, z, top + PAD)
            rest, end = branches(path + "second.", k - 1, middle, below + GAP)
            bottom = border(path + "second.", k - 1, below + GAP, end + PAD)
        conv = Box("conv", path + "conv", 1, x - half, top + head, x + half, bottom)
        boxes.append(conv)
        edges.append(Edge(conv.path, x, z, conv.top))
        return [conv, *rest], bottom

    def border(path: str, k: int, top: float, bottom: float) -> float:
        right = columns - 1 + half + k * PAD
        boxes.append(Box("block", path[:-1], k, columns - k - half - PAD, top, right, bottom))
        return bottom

    _, height = forward("", columns, 0.0, GAP)
    whole = next(box for box in boxes if box.kind == "block" and box.path == "")
    return Layout(columns, boxes, edges, whole.left, whole.right - whole.left, height)


class Alive(NamedTuple):
    """What drop-path leaves of a block: the convs that are computed, and each join's inputs.

    A join that is missing is not computed either.
    """

    convs: list[str]
    joins: dict[str, tuple[bool, ...]]


@checked
def alive_paths(columns: Columns, keep: Keep = keep_all) -> Alive:
    """Ask `keep` what `FractalBlock.forward` would ask, in the same order.

    Where each sample has decisions of its own, a path lives if it does for any of them.
    """
    convs: list[str] = []
    joins: dict[str, tuple[bool, ...]] = {}

    def forward(path: str, k: int) -> None:
        alive = numpy.asarray(keep(k))
        if alive.shape[-1:] != (k,):
            raise ShapeError(
                f"alive_paths: keep({k}) needs to give {k} booleans, or (N, {k}), one for each "
                f"column that ends there; got {alive.shape}"
            )
        joins[path[:-1]] = tuple(bool(alive[..., i].any()) for i in range(k))
        branches(path, k, joins[path[:-1]])

    def branches(path: str, k: int, alive: tuple[bool, ...]) -> None:
        if alive[0]:
            convs.append(path + "conv")
        if any(alive[1:]):
            forward(path + "first.", k - 1)
            branches(path + "second.", k - 1, alive[1:])

    forward("", columns)
    return Alive(convs, joins)


# ----- The recorded graph -----


class GraphNode(NamedTuple):
    """An operation or a leaf ("Tensor", "Parameter"), centred at (x, y)."""

    name: str
    shape: tuple[int, ...]
    is_leaf: bool
    x: float
    y: int
    width: float


class GraphLayout(NamedTuple):
    """The nodes, and for each edge its points from top to bottom and how often it is there."""

    nodes: list[GraphNode]
    edges: list[tuple[list[tuple[float, float]], int]]


@checked
def layout_graph(tensor: Tensor, limit: Count = 60) -> GraphLayout:
    """The graph behind `tensor`, in layers: y is one less than that of the nearest user below it.

    Raises `GraphError` where nothing was recorded, and `ValueError` above `limit` nodes.
    """
    if tensor.node is None:
        raise GraphError(
            "plot_graph: nothing was recorded behind this Tensor. Set requires_grad=True on an "
            "input, compute outside `no_grad()`, and draw before backward frees the graph."
        )
    drawn: dict[int, Node | Tensor] = {id(tensor.node): tensor.node}
    shapes, depth = {id(tensor.node): tensor.shape}, {id(tensor.node): 0}
    uses: dict[tuple[int, int], int] = {}
    for node in backward_order([tensor.node]):  # each after all the nodes that use it
        for parent in node.parents or ():
            if parent is not None:
                drawn[id(parent)], shapes[id(parent)] = parent, parent.shape
                depth[id(parent)] = max(depth.get(id(parent), 0), depth[id(node)] + 1)
                uses[id(parent), id(node)] = uses.get((id(parent), id(node)), 0) + 1
    if len(drawn) > limit:
        raise ValueError(
            f"plot_graph: {len(drawn)} operations and leaves are too many to read, at most "
            f"{limit} can be drawn; draw a smaller computation, or pass a larger limit"
        )
    names = {
        key: (thing.primitive if isinstance(thing, Node) else type(thing)).__name__
        for key, thing in drawn.items()
    }
    width: dict[Any, float] = {
        key: 0.35 + 0.08 * max(len(name), len(str(shapes[key]))) for key, name in names.items()
    }
    # An edge that skips layers holds a place in each of them, so that no box comes to lie on it.
    routes = []
    rows: list[list[Any]] = [[] for _ in range(max(depth.values()) + 1)]
    for key in drawn:
        rows[depth[key]].append(key)
    for above, below in uses:
        between = [(above, below, d) for d in range(depth[above] - 1, depth[below], -1)]
        for point in between:
            rows[point[2]].append(point)
            width[point] = 0.3
        routes.append([above, *between, below])
    weight = {
        key: 0.02 if isinstance(drawn.get(key), Tensor) else 1.0 if key in drawn else 0.6
        for key in width
    }
    x = _settle(rows, routes, width, weight)
    y = {key: len(rows) - 1 - d for d, row in enumerate(rows) for key in row}
    nodes = [
        GraphNode(names[k], shapes[k], isinstance(thing, Tensor), x[k], y[k], width[k])
        for k, thing in drawn.items()
    ]
    lines: list[list[tuple[float, float]]] = [
        [(x[key], y[key]) for key in route] for route in routes
    ]
    return GraphLayout(nodes, list(zip(lines, uses.values())))


def _settle(
    rows: list[list[Any]],
    routes: list[list[Any]],
    width: dict[Any, float],
    weight: dict[Any, float],
) -> dict[Any, float]:
    """An x for everything: over and over, to the middle of its neighbours, row after row.

    Heavy things attract their neighbours, and give way less where it is tight.
    """
    near: dict[Any, list[Any]] = {key: [] for row in rows for key in row}
    for route in routes:
        for above, below in itertools.pairwise(route):
            near[above].append(below)
            near[below].append(above)
    x: dict[Any, float] = {}
    for sweep in range(40):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            for key in row:
                heard = [(x[n], weight[n]) for n in near[key] if n in x]
                total = sum(w for _, w in heard)
                x[key] = sum(at * w for at, w in heard) / total if heard else x.get(key, 0.0)
            room = [width[key] + 0.15 for key in row]
            x.update(zip(row, spread([x[k] for k in row], room, [weight[k] for k in row])))
    left = min(x[key] - width[key] / 2 for key in x)
    return {key: value - left for key, value in x.items()}


def spread(
    centres: Sequence[float], widths: Sequence[float], weights: Sequence[float] | None = None
) -> list[float]:
    """Move things of these widths apart until none overlaps, and in all as little as possible.

    The smallest sum of weight · (way moved)². Pushed together from the left, each thing's wish
    becomes "that far away from the wall", and these must not decrease from left to right: wherever
    they do, the two neighbours become one and share their weighted mean (isotonic regression).
    """
    order = sorted(range(len(centres)), key=lambda i: centres[i])
    wall = 0.0
    pushed: dict[int, float] = {}
    groups: list[tuple[float, float, list[int]]] = []  # how far from `pushed`, weight, who
    for i in order:
        pushed[i] = wall + widths[i] / 2
        wall += widths[i]
        group = (centres[i] - pushed[i], weights[i] if weights else 1.0, [i])
        while groups and groups[-1][0] > group[0]:
            way, weight, who = groups.pop()
            both = weight + group[1]
            mean = (way * weight + group[0] * group[1]) / both
            group = (mean, both, who + group[2])
        groups.append(group)
    placed = {i: pushed[i] + way for way, _, who in groups for i in who}
    return [placed[i] for i in range(len(centres))]
