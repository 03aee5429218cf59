"""The pages around the chapters: the start page, the glossary, and computations to step through."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from tinyfractal.cli.chapters import Chapter, list_chapters

HERE = Path(__file__).resolve().parent


def write_pages(site: Path, tutorials: Path) -> None:
    """Write the start page, the glossary, and what both of them show."""
    shutil.copyfile(HERE / "style.css", site / "style.css")
    chapters = list_chapters()
    (site / "pictures").mkdir()
    for chapter in chapters:
        picture = f"pictures/{chapter.name}.png"
        shutil.copyfile(tutorials / picture, site / picture)
    explorer_pages(site / "explore")
    write_page(
        site / "index.html",
        first=link_to(chapters[0]),
        question=escape(chapters[0].question),
        minutes=chapters[0].minutes,
        chapters="\n".join(chapter_card(chapter) for chapter in chapters),
        explore="\n".join(f'<li><a href="explore/{name}.html">{text}</a></li>'
                          for name, text in EXPLORE.items()),
    )  # fmt: skip
    glossary = markdown((tutorials / "glossary.md").read_text("utf-8"), base="tutorials")
    write_page(site / "glossary.html", glossary=glossary)


def write_page(path: Path, **parts: object) -> None:
    """Fill the template of the same name."""
    template = Template((HERE / path.name).read_text("utf-8"))
    path.write_text(template.substitute(parts), "utf-8")


# ----- The start page -----


def opened(file: str) -> str:
    """The address under which JupyterLite opens a file: a notebook to run, another to read."""
    app = "notebooks" if file.endswith(".ipynb") else "edit"
    return f"lite/{app}/index.html?path={file}"


def link_to(chapter: Chapter) -> str:
    """The address of a chapter."""
    return opened(f"tutorials/{chapter.name}.ipynb")


def chapter_card(chapter: Chapter) -> str:
    """A chapter on the start page: its picture, its question, and how long it takes to read."""
    return (
        f'<li><a href="{link_to(chapter)}">'
        f'<img src="pictures/{chapter.name}.png" alt="" loading="lazy">'
        f"<span><b>{chapter.number}.</b> {escape(chapter.question)} "
        f"<small>{chapter.minutes} min</small></span></a></li>"
    )


# ----- Computations to step through -----

EXPLORE = {
    "neuron": "One neuron",
    "perceptron": "Two layers",
    "block": "A fractal block",
    "network": "A FractalNet",
}


def explorer_pages(folder: Path) -> None:
    """Pages that show a forward and a backward run step by step, as the command line makes them."""
    folder.mkdir()
    environment = {**os.environ, "TINYFRACTAL_BACKEND": "numpy"}  # the same numbers everywhere
    for name in EXPLORE:
        command = [sys.executable, "-m", "tinyfractal", "explore", name]
        run = subprocess.run(
            [*command, "--out", str(folder / f"{name}.html")],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        if run.returncode:
            raise RuntimeError(f"site: the page {name} could not be made:\n{run.stderr}")


# ----- The glossary -----


def markdown(text: str, base: str) -> str:
    """Markdown as HTML, formulas as MathML; relative links lead from `base` into JupyterLite."""
    from latex2mathml.converter import convert
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def formula(content: str, options: dict[str, Any]) -> str:
        return convert(content, display="block" if options["display_mode"] else "inline")

    renderer = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, renderer=formula)
    tokens = renderer.parse(text)
    for token in (child for block in tokens for child in block.children or []):
        target = str(token.attrGet("href") or "#")
        if token.type == "link_open" and not re.match("https?:|#", target):
            token.attrSet("href", opened(posixpath.normpath(f"{base}/{target}")))
    html = renderer.renderer.render(tokens, renderer.options, {})
    return html.replace("<td>–</td>", "<td></td>")
