"""Rebuild the notebooks from their sources: `python -m tutorials` in the project's folder.

    python -m tutorials                  all chapters
    python -m tutorials 02 09            chapters 2 and 9
    python -m tutorials --site FOLDER    no notebook: a site of them, to run in a browser (web/)

A chapter is edited in `NN_name.py` (jupytext's percent format). From it this makes `NN_name.ipynb`,
run from a fresh kernel, with its outputs and without what changes from run to run by itself; and
the thumbnail of the contents page, from the picture of the cell tagged "thumbnail".
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def chapters(*numbers: str) -> list[Path]:
    """The sources, in order: all of them, or those whose names begin with one of `numbers`."""
    found = sorted(HERE.glob("[0-9][0-9]_*.py"))
    return [path for path in found if not numbers or path.name.startswith(numbers)]


def execute(path: Path, timeout: int | None = 300) -> Any:
    """The chapter as a notebook, executed from a fresh kernel; raises where a cell does, or takes
    more than `timeout` seconds."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute()
    tidy(notebook)
    return notebook


def tidy(notebook: Any) -> None:
    """Take out what changes from run to run or from machine to machine without meaning anything."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {
        "kernelspec": kernel,
        "language_info": {"name": "python"},
        "jupytext": {"formats": "ipynb,py:percent"},
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = fewer_colors(output["data"]["image/png"])


def fewer_colors(encoded: str) -> str:
    """A PNG with at most 256 colours, a third as large; a moving one as it is."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    if getattr(picture, "is_animated", False):
        return encoded
    file = io.BytesIO()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def write(path: Path, content: bytes) -> None:
    """Write to a temporary name and rename: whoever reads sees the old file or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def thumbnail(notebook: Any) -> bytes | None:
    """The first picture of the cell tagged "thumbnail", 320 pixels wide at most, as PNG."""
    from PIL import Image

    for cell in notebook.cells:
        if "thumbnail" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    file = io.BytesIO(base64.b64decode(output["data"]["image/png"]))
                    picture = Image.open(file).convert("RGB")
                    picture.thumbnail((320, 240))
                    small = io.BytesIO()
                    picture.quantize(256).save(small, "PNG", optimize=True)
                    return small.getvalue()
    return None


def rebuild(numbers: list[str]) -> None:
    """Rebuild the chapters of these numbers, or all, and say how long each took."""
    import nbformat

    for path in chapters(*numbers):
        start = time.monotonic()
        notebook = execute(path, timeout=None)  # the first run with new data trains for long
        text = nbformat.writes(notebook)
        write(path.with_suffix(".ipynb"), f"{text}\n".encode())
        picture = thumbnail(notebook)
        if picture is not None:
            write(HERE / "pictures" / f"{path.stem}.png", picture)
        seconds = time.monotonic() - start
        print(f"{path.stem:24} {seconds:5.1f} s  {len(text) / 1000:6.0f} kB", flush=True)


def build_site(folder: Path, pyodide: Path | None) -> str | None:
    """Build the site and say how to look at it; what went wrong, if something did."""
    from tutorials import web

    try:
        web.build(folder, pyodide)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        return str(error)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"{folder}: {size / 1e6:.0f} MB; to look at it:\n"
        f"{sys.executable} -m http.server --bind 127.0.0.1 --directory {folder}"
    )
    return None


def main(arguments: list[str] | None = None) -> str | None:
    """Rebuild notebooks, or build the site."""
    parser = argparse.ArgumentParser(prog="python -m tutorials")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="chapters to rebuild; none is all")
    parser.add_argument("--site", type=Path, metavar="FOLDER", help="a new folder for the site")
    parser.add_argument(
        "--pyodide", type=Path, metavar="FOLDER",
        help="copy Pyodide, NumPy and Matplotlib from there: the site needs no internet",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    if given.site is not None:
        if given.numbers:
            parser.error("--site takes all chapters as they are: give no numbers")
        return build_site(given.site, given.pyodide)
    if given.pyodide is not None:
        parser.error("--pyodide goes with --site")
    return rebuild(given.numbers)


if __name__ == "__main__":
    sys.exit(main())
