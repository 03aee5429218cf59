"""One look for every picture of the chapters, and pictures that move.

from figures import BLUE, ORANGE, animate, use_style

use_style()
animate(figure, draw, frames=40)  # the last line of a cell: draw(0), draw(1), … draw(39)
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

# Curves take them in this order. Blue and orange are those of `tinyfractal.draw`.
BLUE, ORANGE, GREEN, PURPLE, GRAY = "#2F6690", "#D9701A", "#5BA67A", "#8A5AA8", "#7A858F"

DOTS_PER_INCH = 160


def use_style() -> None:
    """Set Matplotlib's style for the chapters; in a notebook at twice the usual resolution."""
    plt.style.use(Path(__file__).with_name("tutorial.mplstyle"))
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return  # a plain Python, such as a debugger's
    if get_ipython() is not None:
        set_matplotlib_formats("retina")  # 160 dots per inch, shown at the size of 80


def animate(
    figure: Any,
    draw: Callable[[int], object],
    frames: int,
    seconds: float = 6.0,
    alt: str = "",
    colors: int = 48,
) -> Any:
    """`draw(0)`, `draw(1)`, … of a figure as one moving picture, which rests on its last frame.

    It is an animated PNG. What cannot play one, such as paper, shows the first picture in the file
    as a still, and that is the last frame: the one that shows how it ended.
    """
    try:
        from IPython.display import Image as Shown
    except ImportError:
        return None  # nothing to show it in
    from PIL import Image

    figure.set_dpi(DOTS_PER_INCH * 0.75)  # a little coarser than a still, for a small file
    pictures = []
    for frame in range(frames):
        draw(frame)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        pictures.append(Image.fromarray(np.ascontiguousarray(pixels)))
    plt.close(figure)
    palette = _palette(pictures, colors)
    moving = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    pause = round(1000 * seconds / frames)
    file = io.BytesIO()
    moving[-1].save(
        file,
        "PNG",
        save_all=True,
        default_image=True,
        append_images=moving,
        duration=[pause] * (frames - 1) + [2500],
        loop=3,
    )
    width = round(figure.get_figwidth() * 80)
    return Shown(file.getvalue(), format="png", width=width, alt=alt or None)


def _palette(pictures: list[Any], colors: int) -> Any:
    """The colours of the first, the middle and the last picture, with a ground that stays white."""
    from PIL import Image

    some = [np.asarray(pictures[i]) for i in (0, len(pictures) // 2, -1)]
    palette = Image.fromarray(np.vstack(some)).quantize(colors)
    values = np.array(palette.getpalette(), dtype=np.uint8).reshape(-1, 3)
    values[(values > 245).all(axis=1)] = 255
    palette.putpalette(values.tobytes())
    return palette
