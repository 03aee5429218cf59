"""A trace put into the page: one file that needs nothing else, or a frame in a notebook."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from pathlib import Path
from typing import Any

from ..check import PathLike, checked
from ..files import user_path, write_atomically

FOLDER = Path(__file__).with_name("page")
HEIGHT = 680  # pixels, of the frame in a notebook


class Page:
    """What `tinyfractal.explore` gives. A notebook shows it; `save` writes it; `html` is its text.

    `trace` is all that the page knows, as a dictionary.
    """

    def __init__(self, trace: dict[str, Any]) -> None:
        self.trace = trace

    @property
    def html(self) -> str:
        """The whole page, with its style, its script and its data."""
        data = json.dumps(self.trace, ensure_ascii=False, separators=(",", ":"))
        parts = {
            "title": html.escape(self.trace["title"]),
            "style": read("page.css"),
            "script": "\n".join(read(path.name) for path in sorted(FOLDER.glob("*.js"))),
            # inside <script>, "<" could begin the end of it
            "trace": data.replace("<", "\\u003c"),
        }
        # in one pass, since a part may well contain "{{trace}}"
        page = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], read("page.html"))
        return page.encode(errors="replace").decode()  # a name of a file may be no text at all

    @checked
    def save(self, file: PathLike) -> Path:
        """Write the page to a file such as "page.html", and return its path.

        The file needs no network and no other file. Raises `ValueError` for another ending.
        """
        path = user_path(file)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"save: file should end in .html, got {str(file)!r}")
        write_atomically(path, self.html.encode())
        return path

    def __repr__(self) -> str:
        runs = self.trace["runs"]
        steps = sum(node["kind"] == "step" for node in runs[0]["nodes"])
        return (
            f"<page {self.trace['title']!r}: {steps} steps, {len(runs)} runs; a notebook shows it, "
            'and .save("page.html") writes it>'
        )

    def _repr_html_(self) -> str:
        """A frame with the page, packed: a notebook that holds it stays small."""
        packed = base64.b64encode(gzip.compress(self.html.encode(), mtime=0)).decode()
        inside = (
            "<script>"
            f'fetch("data:application/gzip;base64,{packed}")'
            '.then((packed) => packed.body.pipeThrough(new DecompressionStream("gzip")))'
            ".then((text) => new Response(text).text())"
            ".then((page) => { document.open(); document.write(page); document.close(); })"
            "</script>"
        )
        title = html.escape(self.trace["title"])
        return (
            f'<iframe srcdoc="{html.escape(inside)}" title="{title}" width="100%" '
            f'height="{HEIGHT}" style="border: 0"></iframe>'
            f"<p><small>{title}: to step through it here, run this cell.</small></p>"
        )


def read(name: str) -> str:
    """One of the files that the page is made of."""
    return (FOLDER / name).read_text("utf-8")
