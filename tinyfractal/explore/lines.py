"""The lines of code that made the steps, each once, named as a reader knows them."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable
from pathlib import Path
from types import CodeType
from typing import Any

PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"  # as Python names it, links and all
EXAMPLES = str(Path(__file__).with_name("examples.py"))


def is_library(file: str) -> bool:
    """Whether a file is the library's. Its examples are written as a user would."""
    return file.startswith(PACKAGE) and file != EXAMPLES


class Lines:
    """The lines that were seen; a step keeps their numbers in `found`."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self.numbers: dict[tuple[str, int, str], int] = {}

    def numbers_of(self, lines: Iterable[tuple[CodeType, int]]) -> list[int]:
        """Where these lines, each of a function, are in `found`."""
        return [self.number_of(code, line) for code, line in lines]

    def number_of(self, code: CodeType, line: int) -> int:
        """Where it is in `found`; it is added when it first comes."""
        key = code.co_filename, line, code.co_qualname
        if key not in self.numbers:
            linecache.checkcache(code.co_filename)  # it may have been edited since it was last read
            self.numbers[key] = len(self.found)
            self.found.append({
                "file": shown_name(code.co_filename),
                "line": line,
                "function": code.co_qualname.removeprefix("<module>"),
                "code": linecache.getline(code.co_filename, line).strip(),
            })  # fmt: skip
        return self.numbers[key]


def shown_name(file: str) -> str:
    """A file's name as a reader knows it, without where this machine keeps it."""
    if file.startswith(PACKAGE):
        return f"tinyfractal/{Path(file).relative_to(PACKAGE).as_posix()}"
    if Path(file).parent.name.startswith("ipykernel_") or file.startswith("<ipython-input"):
        return "a cell of the notebook"
    inside = Path.cwd() in Path(file).parents
    return Path(file).relative_to(Path.cwd()).as_posix() if inside else Path(file).name
