"""The sheet that pictures are drawn on: colours, letters, boxes and lines, and how it is saved.

Matplotlib is imported here and in `plot.py` only, inside functions, so that everything else runs
without it. Figures are made with its object API: no display, no global state.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..check import PathLike, Probability, checked, got
from ..errors import DTypeError
from ..files import user_path, write_atomically
from .layout import Alive, Layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")
Point = tuple[float, float]

INK, MUTED, FAINT = "#1F2D3A", "#66737F", "#B9C2CA"  # text, quieter text, what is not there
BLUE, ACCENT = "#2F6690", "#D9701A"  # convs; joins, and whatever a picture is about
DASHES: Any = (0, (2.5, 2))
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so letters are the same everywhere
    "mathtext.fontset": "stix",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#EBEEF1",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "svg.fonttype": "path",  # a reader without these fonts sees the same picture
    "svg.hashsalt": "tinyfractal",
}
WITHOUT_DATE: dict[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def picture(draw: Callable[P, T]) -> Callable[P, T]:
    """Decorate what draws: Matplotlib is there, and its settings are ours for the time being."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            import matplotlib
        except ImportError as error:
            raise ImportError(
                f"{draw.__name__}: pictures need Matplotlib; run pip install 'tinyfractal[plot]'"
            ) from error
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return draw(*args, **kwargs)

    return drawn


@checked
def lighter(color: str, share: Probability) -> str:
    """The colour "#RRGGBB" with this share of white."""
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * share):02X}" for part in parts)


def new_figure(wide: float, tall: float) -> Figure:
    """An empty figure, in inches, which a notebook shows where it ends a cell."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png", metadata=WITHOUT_DATE[".png"])
            return file.getvalue()

    figure = Picture(figsize=(wide, tall), facecolor="white")
    figure.set_layout_engine("none")  # whatever the style of the notebook says
    FigureCanvasAgg(figure)
    return figure


@checked
def save(figure: Any, path: PathLike) -> None:
    """Write a figure, all of it or nothing, in the format of the suffix: .svg, .png or .pdf.

    The same figure is the same file, byte for byte.
    """
    path = user_path(path)
    suffix = path.suffix.lower()
    if not hasattr(figure, "savefig"):
        raise DTypeError(f"save: figure needs a Figure of Matplotlib, got {got(figure)}")
    if suffix not in WITHOUT_DATE:
        known = ", ".join(WITHOUT_DATE)
        raise ValueError(f"save: {path.name!r} does not say a format; end it with one of {known}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {path.parent}; make it first")
    write_atomically(path, encoded(figure, suffix))


@picture
def encoded(figure: Any, suffix: str) -> bytes:
    """What a .svg, .png or .pdf file of the figure holds."""
    file = io.BytesIO()
    # enough pixels for a slide, whatever the size in inches
    dpi = max(160, math.ceil(1600 / figure.get_figwidth()))
    figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=WITHOUT_DATE[suffix])
    return file.getvalue()


class Sheet:
    """A sheet of paper, measured in inches from its upper left corner."""

    def __init__(self, wide: float, tall: float) -> None:
        self.wide, self.tall = wide, tall
        self.figure = new_figure(wide, tall)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, wide), ylim=(tall, 0))
        self.axes.set_axis_off()

    def text(
        self, x: float, y: float, text: str, size: float, color: str = INK, **more: Any
    ) -> None:
        """Centred on (x, y), unless told otherwise."""
        more = {"ha": "center", "va": "center", "zorder": 5, **more}
        self.axes.text(x, y, text, fontsize=size, color=color, **more)

    def line(self, points: Sequence[Point], color: str = INK, width: float = 1.0) -> None:
        """A line through points; a faint one is dashed, and below the others."""
        x, y = zip(*points)
        faint = color == FAINT
        style = {"ls": DASHES, "zorder": 1} if faint else {"zorder": 2}
        self.axes.plot(x, y, color=color, lw=width, **style)

    def curve(self, points: Sequence[Point], color: str = INK, width: float = 1.0) -> None:
        """A smooth line through points, going down at each of them."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        track, codes = [points[0]], [Path.MOVETO]
        for (a, b), (c, d) in itertools.pairwise(points):
            track += [(a, (b + d) / 2), (c, (b + d) / 2), (c, d)]
            codes += [Path.CURVE4] * 3
        style = {"facecolor": "none", "edgecolor": color, "linewidth": width, "zorder": 1}
        self.axes.add_patch(PathPatch(Path(track, codes), **style))

    def box(self, corner: Point, opposite: Point, radius: float, **style: Any) -> None:
        """A rectangle with round corners."""
        from matplotlib.patches import FancyBboxPatch

        left, top = min(corner[0], opposite[0]), min(corner[1], opposite[1])
        size = abs(corner[0] - opposite[0]), abs(corner[1] - opposite[1])
        style = {"linewidth": 0, "zorder": 3, **style}
        shape = f"round,pad=0,rounding_size={min(radius, size[0] / 2, size[1] / 2)}"
        self.axes.add_patch(FancyBboxPatch((left, top), *size, boxstyle=shape, **style))

    def pill(self, text: str, x: float, y: float, wide: float, tall: float = 0.3) -> None:
        """A layer that is no conv; its name is turned where the pill stands upright."""
        corner, opposite = (x - wide / 2, y - tall / 2), (x + wide / 2, y + tall / 2)
        self.box(corner, opposite, 0.1, facecolor="white", edgecolor=MUTED, linewidth=0.9)
        self.text(x, y, text, 7.5, rotation=90 if tall > wide else 0)

    def plus(self, x: float, y: float, color: str, r: float = 0.075) -> None:
        """The sign of a join, ⊕."""
        from matplotlib.patches import Circle

        style = {"facecolor": "white", "edgecolor": color, "linewidth": 1.1, "zorder": 5}
        self.axes.add_patch(Circle((x, y), r, **style))
        for a, b in ((r, 0), (0, r)):
            self.axes.plot([x - a, x + a], [y - b, y + b], color=color, lw=1.1, zorder=6)

    def block(
        self, layout: Layout, alive: Alive, start: Point, unit: Point, turned: bool = False
    ) -> None:
        """A block whose column 0 begins at `start`; `unit` is what 1 across and 1 in time measure.

        Time runs down the sheet. `turned`, it runs to the right, column 0 is the upper one, and
        there are no names.
        """

        def at(column: float, time: float) -> Point:
            x, y = column * unit[0], time * unit[1]
            return (start[0] + y, start[1] + x) if turned else (start[0] + x, start[1] + y)

        thin = 0.6 if turned else 0.9
        size, last = min(1, unit[1] / 0.75), layout.columns - 1
        for box in layout.of("block"):
            corners = at(box.left, box.top), at(box.right, box.bottom)
            self.box(*corners, 0.09, facecolor=BLUE, alpha=0.075, zorder=0)
            if not turned:
                name = at(box.left + 0.07, box.top + 0.15)
                self.text(*name, f"$f_{box.size}$", 11 * size, MUTED, ha="left")
        fed = [edge.x for edge in layout.edges if edge.top == 0 and edge.path in alive.convs]
        self.line([at(0, 0), at(last, 0)], FAINT)
        self.line([at(min(*fed, last / 2), 0), at(max(*fed, last / 2), 0)])
        for edge in layout.edges:
            color = INK if edge.path in alive.convs else FAINT
            self.line([at(edge.x, edge.top), at(edge.x, edge.bottom)], color)
        for box in layout.of("conv"):
            style: dict[str, Any] = {"facecolor": BLUE}
            if box.path not in alive.convs:
                style = {"facecolor": "white", "edgecolor": FAINT, "linewidth": thin, "ls": DASHES}
            self.box(at(box.left, box.top), at(box.right, box.bottom), 0.05, **style)
            if not turned:
                color = "white" if box.path in alive.convs else FAINT
                self.text(*at(*box.centre), "conv", 9 * size, color)
        for box in layout.of("join"):
            if box.size > 1:
                color, y = ACCENT if box.path in alive.joins else FAINT, box.centre[1]
                half = (0.016 if turned else 0.033 * size) / unit[1]
                self.box(at(box.left, y - half), at(box.right, y + half), 0.03, facecolor=color)
                self.plus(
                    *at(*box.centre), color, min(0.06, 0.28 * unit[1]) if turned else 0.08 * size
                )
        self.line([at(last / 2, layout.of("join")[0].bottom), at(last / 2, layout.height)])
        if not turned:
            (x, top), bottom = at(last / 2, 0), at(last / 2, layout.height)[1]
            self.line([(x, top - 0.14), (x, top)])
            self.text(x, top - 0.25, "$z$", 11)
            self.line([(x, bottom), (x, bottom + 0.1)])
            self.text(x, bottom + 0.23, f"$f_{layout.columns}(z)$", 11)
