"""Pictures of what was measured: ratios as bars, growth as lines. Needs matplotlib."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .scaling import CHANNELS, IMAGE, multiplications
from .workloads import Network

COLOURS = {
    "tinyfractal": "#c0392b",
    "torch": "#222222",
    "jax": "#2a6fb0",
    "dezero": "#7fb069",
    "mygrad": "#e6a532",
    "autograd": "#8e6bb5",
    "tinygrad": "#4fa3a5",
}


def bars(result: dict[str, Any]) -> bytes:
    """A PNG: networks on the left, layers on the right; time as a multiple of PyTorch's."""
    rows = [r for r in result["rows"] if r["ratio"] and not r["workload"].startswith("W6")]
    base = "PyTorch" if any(r["library"] == "torch" for r in rows) else "tinyfractal"
    sides = [[r for r in rows if r["workload"].startswith("W5") == side] for side in (False, True)]
    sides = [side for side in sides if side]
    if not sides:
        raise ValueError("chart: nothing was measured that has a ratio to draw; name a workload")
    heights = [_bar_count(side) for side in sides]
    figure = Figure((7.5 * len(sides), 1.6 + 0.13 * max(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, side in zip(figure.subplots(1, len(sides), squeeze=False)[0], sides):
        _side(axes, side, base)
    shown = {r["library"] for r in rows}
    handles = [
        (axes.barh(0, 0, color=colour), name) for name, colour in COLOURS.items() if name in shown
    ]
    figure.legend(*zip(*handles), loc="outside upper center", ncols=len(handles), frameon=False)
    return _png(figure)


def _bar_count(side: list[dict]) -> int:
    return len(side) + len({(r["workload"], r["what"]) for r in side})


def _side(axes: Any, side: list[dict], base: str) -> None:
    """One group of bars for each piece of work, from 1 to the ratio on a logarithmic axis."""
    y, ticks = 0, {}
    for group in dict.fromkeys((r["workload"], r["what"]) for r in side):
        bars = [r for r in side if (r["workload"], r["what"]) == group]
        bars = [r for r in bars if r["library"] != "torch"] or bars
        ticks[y + (len(bars) - 1) / 2] = f"{group[0].replace('W5 ', '')}, {group[1]}"
        for r in bars:
            axes.barh(y, r["ratio"] - 1, 0.9, left=1, color=COLOURS[r["library"]])
            edge = max(r["ratio"], 1) * 1.04
            axes.text(edge, y, f"{r['ratio']:.2g}", va="center", fontsize=6)
            y += 1
        y += 1
    ratios = [r["ratio"] for r in side]
    axes.set(xscale="log", xlim=(max(min(*ratios, 0.5) * 0.8, 0.05), max(*ratios, 2) * 1.5))
    axes.set(ylim=(y - 0.5, -1), xlabel=f"time as a multiple of {base}'s (1: as quick)")
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
    marks = [m for m in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if m < max(ratios) * 1.5]
    axes.set_xticks(marks, [f"{m:g}×" for m in marks])
    axes.minorticks_off()
    axes.axvline(1, color=COLOURS["torch"], linewidth=1)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def lines(found: dict[str, Any]) -> bytes:
    """A PNG of `scaling`: time over batch, over columns, and odd sizes beside even ones."""
    figure = Figure((13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    libraries = list(next(iter(found["batch"].values())))
    work = {c: multiplications(Network(CHANNELS, IMAGE, 32, int(c))) for c in found["columns"]}
    for name in libraries:
        style = {"color": COLOURS[name], "marker": "o", "markersize": 4, "label": name}
        batches = {int(n): row[name] for n, row in found["batch"].items()}
        left.plot(batches.keys(), batches.values(), **style)
        middle.plot(work.values(), [found["columns"][c][name] for c in work], **style)
    for axes, x, y in (
        (left, list(batches), batches[max(batches)]),
        (middle, list(work.values()), list(found["columns"].values())[-1][name]),
    ):
        slope = [y * at / x[-1] for at in x]
        axes.plot(x, slope, color="#999999", linestyle=":", label="proportional")
        axes.set(xscale="log", yscale="log", ylabel="ms a training step")
        axes.grid(color="#dddddd")
    left.set_xticks(list(batches), [str(n) for n in batches])
    left.set(xlabel="batch", title="batch size")
    middle.set_xticks(list(work.values()), [str(c) for c in work])
    middle.set(xlabel="columns (spaced by their multiplications)", title="depth")
    for axes in (left, middle):
        axes.minorticks_off()
    left.legend(frameon=False)
    height = 0.8 / len(libraries)
    for i, name in enumerate(libraries):
        at = np.arange(len(found["odd"])) + (i - (len(libraries) - 1) / 2) * height
        values = [row[name] for row in found["odd"].values()]
        right.barh(at, values, height, color=COLOURS[name])
    right.set_yticks(
        range(len(found["odd"])), [n.replace(" beside", "\nbeside") for n in found["odd"]]
    )
    right.invert_yaxis()
    right.tick_params(axis="y", labelsize=8)
    right.axvline(1, color="#222222", linewidth=1)
    right.set(xlabel="time a multiplication, ratio", title="odd sizes")
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
