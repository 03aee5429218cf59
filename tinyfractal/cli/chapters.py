"""The tutorials: what each chapter asks, and a copy of them to step through."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from ..check import PathLike, checked
from ..errors import DataError
from ..files import user_path

PACKAGE = Path(__file__).resolve().parent.parent
IGNORED = shutil.ignore_patterns("__pycache__", "__main__.py", "web", ".*")


class Chapter(NamedTuple):
    """A chapter's file name without suffix, its number, question and minutes to read."""

    name: str
    number: int
    question: str
    minutes: int


def tutorials_folder() -> Path:
    """Where the chapters lie: beside the package in a checkout, inside it when installed."""
    for folder in (PACKAGE / "tutorials", PACKAGE.parent / "tutorials"):
        if (folder / "tutorial.mplstyle").exists():
            return folder
    raise DataError(
        f"tutorials: the chapters are neither in {PACKAGE} nor beside it; "
        "install tinyfractal again, or take them from its repository"
    )


def list_chapters() -> list[Chapter]:
    """All chapters in order, with what their first lines say."""
    chapters = []
    for path in sorted(tutorials_folder().glob("[0-9][0-9]_*.py")):
        text = path.read_text("utf-8")
        title = re.search(r"^# # (\d+)\. (.+)", text, re.MULTILINE)
        minutes = re.search(r"^# \*(\d+) minutes", text, re.MULTILINE)
        if title is None or minutes is None:
            raise DataError(f"tutorials: {path} does not begin like a chapter")
        chapters.append(Chapter(path.stem, int(title[1]), title[2], int(minutes[1])))
    return chapters


@checked
def copy_tutorials(target: PathLike) -> Path:
    """Copy the chapters, and the library's source to read beside them, into a new folder.

    The folder appears whole or not at all. Raises `FileExistsError` if it is there already: it may
    hold a reader's work. `ValueError` if it lies in the library: that is what is copied.
    """
    target = user_path(target)
    for home in (PACKAGE, tutorials_folder()):
        if home in target.resolve().parents:
            raise ValueError(f"tutorials: {target} lies inside {home}; choose a folder elsewhere")
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"tutorials: {target} is there already; choose another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as draft:
        copy = Path(draft) / "copy"
        shutil.copytree(tutorials_folder(), copy, ignore=IGNORED)
        inside = shutil.ignore_patterns("__pycache__", "tutorials")
        shutil.copytree(PACKAGE, copy / "source", ignore=inside)
        for path in [*copy.glob("*.ipynb"), *copy.glob("*.py"), *copy.glob("*.md")]:
            # Jupyter opens what lies under the folder it was started in
            text = path.read_text("utf-8").replace("](../tinyfractal/", "](source/")
            path.write_text(text, "utf-8")
        copy.rename(target)
    return target
