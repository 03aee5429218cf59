"""How the command line reads its options: a number from … to, a list of numbers, a shape."""

from __future__ import annotations

import argparse
import math
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn


def within(kind: type, least: float, most: float = math.inf) -> Callable[[str], Any]:
    """An argparse type: a number from `least` to `most`, neither infinite nor NaN."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and value < math.inf):
            noun = "whole number" if kind is int else "number"
            span = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"expected a {noun} {span}, got {text!r}")
        return value

    return convert


COUNT, INDEX, AMOUNT, SHARE = within(int, 1), within(int, 0), within(float, 0), within(float, 0, 1)


def counts(text: str) -> tuple[int, ...]:
    """An argparse type: "16,32" is (16, 32)."""
    return tuple(COUNT(part) for part in text.split(","))


def image_shape(text: str) -> tuple[int, ...]:
    """An argparse type: "32x32x3" is (32, 32, 3)."""
    shape = tuple(COUNT(part) for part in text.replace("×", "x").split("x"))
    if len(shape) != 3:
        raise argparse.ArgumentTypeError(f"expected height x width x channels, got {text!r}")
    return shape


def dropped(text: str) -> str | int:
    """An argparse type: "none", "local", or the number of the column that is kept."""
    if text in ("none", "local"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected none, local or a column, got {text!r}")
    return int(text)


DATA_FOLDER = "data"
SWITCH = argparse.BooleanOptionalAction  # --mirror and --no-mirror


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def complain(error: BaseException, debug: bool, rank: int = 0) -> int:
    """Say what went wrong, in one line on stderr or with its traceback; the exit status."""
    if isinstance(error, KeyboardInterrupt):
        print(f"tinyfractal: {str(error) or 'stopped'}", file=sys.stderr)
        return 130
    if debug:
        traceback.print_exception(error)
    else:
        text = "; ".join(line.strip() for line in str(error).splitlines()).replace(":; ", ": ")
        where = f"rank {rank}: " if rank else ""
        print(f"tinyfractal: {where}{text or type(error).__name__}", file=sys.stderr)
    return 1
