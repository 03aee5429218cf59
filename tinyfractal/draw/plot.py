"""Pictures: fractal blocks and networks, what drop-path leaves of them, training, mistakes, graphs.

    from tinyfractal import plot
    plot.save(plot.draw_block(3), "block.svg")
    plot.save(plot.draw_block(3, net.keep_local(), title="local drop-path"), "local.svg")

Every function gives a Matplotlib `Figure`, which a notebook shows and `save` writes. What goes
where is decided in `layout.py`, and what a line or a box looks like in `sheet.py`.

Needs Matplotlib: `pip install 'tinyfractal[plot]'`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy

from ..backend import asnumpy
from ..check import Count, PathLike, Range, checked, got
from ..engine.tensor import Tensor
from ..errors import ShapeError
from ..fractal import Keep, keep_all
from ..train.run import chosen_by
from .confusion import check_answers
from .layout import Columns, alive_paths, layout_block, layout_graph, spread
from .sheet import ACCENT, BLUE, INK, MUTED, Point, Sheet, lighter, new_figure, picture, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BLOCKS, MOST_CLASSES = 16, 100  # for which a picture has room

# ----- Fractal blocks and networks -----


@picture
@checked
def draw_block(columns: Columns, keep: Keep | None = None, title: str | None = None) -> Figure:
    """f_C with the blocks inside it; with `keep`, what drop-path leaves of it.

    `keep` is asked what `FractalBlock.forward` would ask; what is dropped is dashed.
    """
    layout, alive = layout_block(columns), alive_paths(columns, keep or keep_all)
    across, along = 1.05, min(1.05, 10.5 / layout.height)
    top, tall, wide = 0.82 if title else 0.5, layout.height * along, layout.width * across
    sheet = Sheet(
        max(wide + 0.5, 2.2, 0.1 * len(title or "")), top + tall + (0.82 if keep else 0.5)
    )
    middle = sheet.wide / 2
    sheet.text(middle, 0.26, title or "", 10.5)
    sheet.block(layout, alive, (middle - wide / 2 - layout.left * across, top), (across, along))
    if keep:
        count = f"{len(alive.convs)} of {2**columns - 1} convs computed"
        sheet.text(middle, top + tall + 0.6, count, 8, MUTED)
    return sheet.figure


@picture
@checked
def draw_recursion(max_columns: Columns = 4, keep: Callable[[int], Keep] | None = None) -> Figure:
    """f₁, f₂, f₃, … side by side, and the expansion rule under them.

    `keep(k)` says what drop-path leaves of f_k.
    """
    layouts = [layout_block(columns) for columns in range(1, max_columns + 1)]
    across, along, between = 0.86, min(0.72, 5.4 / layouts[-1].height), 0.6
    ground, x = 0.5 + layouts[-1].height * along, 0.35
    wide = 2 * x + sum(layout.width * across + between for layout in layouts) - between
    sheet = Sheet(max(wide, 5.6), ground + 1.5)
    x += (sheet.wide - wide) / 2
    for k, layout in enumerate(layouts, 1):
        start = x - layout.left * across, ground - layout.height * along
        sheet.block(layout, alive_paths(k, keep(k) if keep else keep_all), start, (across, along))
        facts = f"{2**k - 1} conv{'s' if k > 1 else ''}\ndepth {2 ** (k - 1)}"
        sheet.text(start[0] + (k - 1) / 2 * across, ground + 0.62, facts, 8, MUTED, linespacing=1.4)
        x += layout.width * across + between
    rule = r"f_1(z) = \mathrm{conv}(z) \qquad f_{C+1}(z) = \mathrm{conv}(z)\ \oplus\ f_C(f_C(z))"
    sheet.text(sheet.wide / 2, ground + 1.18, f"${rule}$", 14)
    return sheet.figure


@picture
@checked
def draw_network(
    columns: Columns,
    channels: Sequence[Count],
    keep: Keep | None = None,
    input_shape: tuple[Count, Count, Count] = (32, 32, 3),
    classes: Count = 10,
    title: str | None = None,
) -> Figure:
    """A FractalNet, from left to right, its blocks as in `draw_block`; `input_shape` is (H, W, C).

    Raises `ShapeError` for images too small to be halved by every block.
    """
    H, W, C = input_shape
    _check_blocks(len(channels), H, W)
    layout, row = layout_block(columns, head=0.14), 0.42
    long = max(0.95, 0.72 + 0.115 * 2 ** (columns - 1))
    top, tall = 0.98 if title else 0.68, max(0.68, (columns - 1) * row)
    y, below = top + (columns - 1) / 2 * row, top + (columns - 1) * row + 0.5
    sheet = Sheet(2.18 + len(channels) * (long + 0.68), below + (0.55 if keep else 0.25))
    sheet.text(sheet.wide / 2, 0.26, title or "", 10.5)
    x, computed = 0.76, 0
    sheet.pill("image", 0.46, y, 0.6)
    sheet.text(0.46, below, f"{H}×{W}×{C}", 7.5, MUTED)
    for width in channels:
        alive = alive_paths(columns, keep or keep_all)
        computed += len(alive.convs)
        sheet.line([(x, y), (x + 0.22, y)])
        sheet.block(layout, alive, (x + 0.22, top), (row, long / layout.height), turned=True)
        middle, x = x + 0.25 + long / 2, x + 0.22 + long
        sheet.text(middle, top - 0.4, f"{width} channels", 8)
        sheet.text(middle, below, f"{H}×{W}", 7.5, MUTED)
        sheet.line([(x - 0.03, y), (x + 0.2, y)])
        sheet.pill("pool 2×2", x + 0.33, y, 0.26, tall)
        H, W, x = H // 2, W // 2, x + 0.46
    sheet.line([(x, y), (x + 0.9, y)])
    sheet.pill("mean", x + 0.31, y, 0.26, tall)
    sheet.pill("linear", x + 0.96, y, 0.6)
    sheet.text(x + 0.96, below, f"{classes} classes", 7.5, MUTED)
    if keep:
        count = f"{computed} of {len(channels) * (2**columns - 1)} convs computed"
        sheet.text(sheet.wide / 2, below + 0.32, count, 8, MUTED)
    return sheet.figure


def _check_blocks(blocks: int, H: int, W: int) -> None:
    if blocks > MOST_BLOCKS:
        raise ValueError(
            f"draw_network: a picture has room for {MOST_BLOCKS} blocks, got {blocks} entries of "
            "channels"
        )
    if not blocks or min(H, W) < 2**blocks:
        raise ShapeError(
            f"draw_network: {H}×{W} images cannot be halved by {blocks} blocks, one for each "
            "entry of channels"
        )


# ----- Training -----

CURVES = ("epoch", "lr", "train_loss", "train_accuracy")


@picture
@checked
def plot_history(
    history: Sequence[Mapping[str, Any]],
    path: PathLike | None = None,
    title: str | None = None,
) -> Figure:
    """Curves of a training: loss, accuracy of the whole net and of each column, learning rate.

    `history` has one dictionary for each epoch, as `fit` gives them: on validation images where
    it was given any, else on the test images. Saved where `path` is given.
    """
    curves = _curves(history, _check_history(history))
    epochs, rates = [float(row["epoch"]) for row in history], curves["learning rate"][0][1]
    figure = new_figure(10, 3.4 if title else 3.1)
    grid = {"left": 0.055, "right": 0.985, "bottom": 0.15, "top": 0.8 if title else 0.9}
    panels = figure.add_gridspec(1, 3, width_ratios=(4, 4, 2.2), wspace=0.62, **grid)
    figure.text(0.5, 0.94, title or "", fontsize=10.5, ha="center", va="center")
    for i, (name, lines) in enumerate(curves.items()):
        axes = figure.add_subplot(panels[0, i], title=name, xlabel="epoch")
        for _, values, color in lines:
            wide, mark = 1.8 if color == ACCENT else 1.3, "o" if len(values) < 3 else ""
            steps = "steps-mid" if name == "learning rate" else "default"
            axes.plot(epochs, values, color=color, lw=wide, marker=mark, ms=4, drawstyle=steps)
        axes.margins(x=0 if len(history) > 1 else 0.5)
        _label_axes(axes, name, rates)
        if name != "learning rate":
            _name_lines(axes, lines)
    if path is not None:
        save(figure, path)
    return figure


Curve = tuple[str, list[float], str]  # its name, a value for each epoch, its colour


def _curves(history: Sequence[Mapping[str, Any]], columns: int) -> dict[str, list[Curve]]:
    """The curves of each panel."""

    def of(key: str) -> list[float]:
        return [float(row[key]) for row in history]

    part = chosen_by(history)
    loss = [("train", of("train_loss"), MUTED), (part, of(f"{part}_loss"), ACCENT)]
    accuracy = [("train", of("train_accuracy"), MUTED)]
    for c in range(columns):
        values = [float(row["columns"][c]) for row in history]
        accuracy.append((f"column {c}", values, lighter(BLUE, 0.5 * (1 - c / max(1, columns - 1)))))
    accuracy.append(("whole net" if columns else part, of(f"{part}_accuracy"), ACCENT))
    return {"loss": loss, "accuracy": accuracy, "learning rate": [("", of("lr"), MUTED)]}


def _label_axes(axes: Any, name: str, rates: list[float]) -> None:
    """Ticks where one expects them, for loss, accuracy or learning rate."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if name != "learning rate":
        return
    if 0 < 5 * min(rates) < max(rates):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.2 * max(rates) or 1)
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter("{x:g}")


def _check_history(history: Sequence[Mapping[str, Any]]) -> int:
    """Raise `ValueError` unless there are epochs, each with its numbers; how many columns."""
    if not len(history):
        raise ValueError("plot_history: the history is empty, there is no epoch to draw")
    count, part = -1, chosen_by(history)
    keys = (*CURVES, f"{part}_loss", f"{part}_accuracy")
    for number, row in enumerate(history, 1):
        each = row.get("columns")
        each = each if isinstance(each, (list, tuple)) and count in (-1, len(each)) else [None]
        values = [*(row.get(key) for key in keys), *each]
        if not all(isinstance(value, numbers.Real) for value in values):
            raise ValueError(
                f"plot_history: entry {number} of history needs numbers for {', '.join(keys)} "
                f"and a list of them for columns, as fit gives them; got {got(dict(row))}"
            )
        count = len(each)
    return count


def _name_lines(axes: Any, lines: Sequence[Curve]) -> None:
    """Write each line's name beside its end, moved where two would overlap."""
    low, high = axes.get_ylim()
    named = [(name, v[-1], color) for name, v, color in lines if numpy.isfinite(v[-1])]
    ends = [(value - low) / (high - low) for _, value, _ in named]
    heights = spread(ends, [0.075] * len(ends))
    for (name, _, color), end, y in zip(named, ends, heights):
        if abs(y - end) > 0.02:
            place = {"transform": axes.transAxes, "clip_on": False}
            axes.plot([1.01, 1.05], [end, y], color=color, lw=0.7, **place)
        axes.text(1.06, y, name, transform=axes.transAxes, color=color, va="center")


@picture
@checked
def plot_mistakes(
    images: Any,
    labels: Any,
    predictions: Any,
    classes: Sequence[str],
    limit: Annotated[int, Range(1, 400)] = 24,
    probabilities: Any = None,
) -> Figure:
    """The first `limit` images (N, H, W, 1 or 3) whose prediction is wrong: true → predicted.

    With `probabilities` (N,), of the predictions, those that the network was surest of.
    """
    pixels, sure = asnumpy(images), None if probabilities is None else asnumpy(probabilities)
    truth, said = asnumpy(labels), asnumpy(predictions)
    wrong = _find_mistakes(pixels, truth, said, sure, len(classes))
    shown, across, down = wrong[:limit], 8, 1.5 if sure is None else 1.65
    tall = 0.6 + -(-len(shown) // across) * down
    sheet = Sheet(0.4 + across * 1.12, tall)
    head = f"{len(wrong):,} of {len(pixels):,} images classified wrongly"
    head += "" if sure is None or len(wrong) <= limit else f", the {limit} surest answers"
    sheet.text(0.3, 0.32, head, 10, ha="left")
    low, high = (pixels.min(), pixels.max()) if len(pixels) else (0.0, 1.0)
    for i, n in enumerate(shown):
        x, y = 0.3 + i % across * 1.12, 0.6 + i // across * down
        image = (pixels[n] - low) / max(high - low, 1e-12)
        sheet.axes.imshow(
            image.squeeze(-1) if image.shape[-1] == 1 else image,
            cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y + 1, y), interpolation="nearest",
        )  # fmt: skip
        sheet.text(x + 0.5, y + 1.12, _cut(classes[int(truth[n])], 16), 7.5)
        sheet.text(x + 0.5, y + 1.27, f"→ {_cut(classes[int(said[n])], 14)}", 7.5, ACCENT)
        if sure is not None:
            sheet.text(x + 0.5, y + 1.42, f"{100 * sure[n]:.0f} %", 7, MUTED)
    sheet.axes.set(xlim=(0, sheet.wide), ylim=(tall, 0), aspect="auto")
    return sheet.figure


def _find_mistakes(
    pixels: numpy.ndarray,
    truth: numpy.ndarray,
    said: numpy.ndarray,
    sure: numpy.ndarray | None,
    classes: int,
) -> numpy.ndarray:
    """Which images are classified wrongly; where it is known how sure, the surest first."""
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise ShapeError(f"plot_mistakes: images must be (N, H, W, 1 or 3), got {pixels.shape}")
    for name, given in (("labels", truth), ("predictions", said), ("probabilities", sure)):
        if given is not None and given.shape != pixels.shape[:1]:
            raise ShapeError(
                f"plot_mistakes: {len(pixels)} images need as many {name}, got {given.shape}"
            )
    check_answers("plot_mistakes", truth, said, classes)
    wrong = numpy.flatnonzero(truth != said)
    return wrong if sure is None else wrong[numpy.argsort(-sure[wrong], kind="stable")]


def _cut(name: str, letters: int) -> str:
    """A name of at most so many letters; a `$` would begin a formula."""
    name = name if len(name) <= letters else name[: letters - 1] + "…"
    return name.replace("$", r"\$")


@picture
@checked
def plot_confusion(matrix: Any, classes: Sequence[str], title: str | None = None) -> Figure:
    """The confusion matrix (K, K): row i is what the images of class i were answered with.

    The stronger the colour, the larger the share of the row: blue where right, orange where wrong.
    """
    from matplotlib.colors import to_rgb

    counts, K = asnumpy(matrix), len(classes)
    square = counts.shape == (K, K) and 0 < K <= MOST_CLASSES
    if not square or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ShapeError(
            f"plot_confusion: matrix must be ({K}, {K}) counts, a row and a column for each of "
            f"at most {MOST_CLASSES} classes; got {got(counts)}"
        )
    share = counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_cut(str(name), 18) for name in classes]
    size = 8.5 if K <= 20 else 6 if K <= 50 else 3.4
    long = 0.0088 * size * max(map(len, names))  # inches
    side, left, bottom = min(max(0.52 * K, 3.6), 7.5), 0.5 + long, 0.5 + max(0.15, long)
    figure = new_figure(left + side + 0.75, 0.75 + side + bottom)
    wide, tall = figure.get_size_inches()
    axes = figure.add_axes((left / wide, bottom / tall, side / wide, side / tall))
    # of what is wrong small shares are shown too
    colors = [
        [lighter(BLUE, 1 - s) if i == j else lighter(ACCENT, 1 - s**0.5) for j, s in enumerate(row)]
        for i, row in enumerate(share)
    ]
    axes.imshow(numpy.array([[to_rgb(color) for color in row] for row in colors]))
    axes.grid(False)
    axes.spines[:].set_visible(True)
    axes.set_xticks(range(K), names, fontsize=size, color=INK, rotation=90 if long > 0.3 else 0)
    axes.set_yticks(range(K), names, fontsize=size, color=INK)
    axes.set(xlabel="answer", ylabel="truth")
    figure.text(left / wide, 1 - 0.28 / tall, title or "", fontsize=10.5, va="center")
    if K <= 20:
        _write_counts(axes, counts, share, size)
    return figure


def _write_counts(axes: Any, counts: numpy.ndarray, share: numpy.ndarray, size: float) -> None:
    """The counts into the cells, and the recall of each row beside it."""
    right = len(counts) - 0.3
    axes.text(right, -0.7, "recall", fontsize=size, color=MUTED)
    for i, row in enumerate(counts):
        recall = f"{100 * share[i, i]:.0f} %" if row.sum() else "–"
        axes.text(right, i, recall, fontsize=size, color=MUTED, va="center")
        for j in numpy.flatnonzero(row):
            color = "white" if share[i, j] > (0.5 if i == j else 0.3) else INK
            axes.text(int(j), i, f"{row[j]}", fontsize=size, color=color, ha="center", va="center")


# ----- The recorded graph -----


@picture
@checked
def plot_graph(tensor: Tensor, limit: int = 60) -> Figure:
    """What was recorded behind `tensor`: leaves on top, primitives, and the result at the bottom.

    Raises `GraphError` where nothing was recorded, `ValueError` above `limit` nodes.
    """
    graph = layout_graph(tensor, limit)
    wide = max(node.x + node.width / 2 for node in graph.nodes)
    last = max(node.y for node in graph.nodes)
    sheet = Sheet(wide + 0.6, last * 0.78 + 1.0)

    def at(x: float, y: float) -> Point:
        return x + 0.3, y * 0.78 + 0.5

    for points, times in graph.edges:
        (x, y), (a, b) = points[0], points[-1]
        sheet.curve([at(*point) for point in points], MUTED)
        if times > 1:
            sheet.text(*at((x + a) / 2 + 0.15, (y + b) / 2), f"×{times}", 7.5, MUTED)
    for node in graph.nodes:
        x, y = at(node.x, node.y)
        corners = (x - node.width / 2, y - 0.22), (x + node.width / 2, y + 0.22)
        if node.is_leaf:
            sheet.box(*corners, 0.22, facecolor="white", edgecolor=BLUE, linewidth=1.1)
        else:
            sheet.box(*corners, 0.06, facecolor=ACCENT if node.y == last else BLUE)
        color, quiet = (INK, MUTED) if node.is_leaf else ("white", "white")
        sheet.text(x, y - 0.08, node.name, 8.5, color)
        sheet.text(x, y + 0.1, str(node.shape), 7.5, quiet)
    return sheet.figure
