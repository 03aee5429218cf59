"""How the command line reads its options, and how it says what went wrong: in one line."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, get_args

from ..check import Amount, Count, Probability, Size, caused_by, expected, misfit
from ..check import printable as printable
from ..files import ADVICE


def a_number(hint: Any) -> Callable[[str], Any]:
    """An argparse type: a number such as the `hint` of an argument asks for."""
    kind = get_args(hint)[0]  # int or float

    def convert(text: str) -> Any:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if misfit(value, hint) is None:
                return value
        raise argparse.ArgumentTypeError(f"expected {expected(hint)}, got {text!r}")

    return convert


COUNT, INDEX, AMOUNT, SHARE = map(a_number, (Count, Size, Amount, Probability))


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


def path(text: str) -> str:
    """An argparse type: the name of a file or folder; ~ is the home folder, also in --out=~/x."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file or folder, got ''")
    return os.path.expanduser(text)


DATA_FOLDER = "data"
SWITCH = argparse.BooleanOptionalAction  # --mirror and --no-mirror


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


# ----- What is said -----


def typed(words: Sequence[object]) -> str:
    """The words of a command as a shell takes them, on one line without control characters."""

    def octal(letter: str) -> str:
        return "".join(f"\\{byte:03o}" for byte in os.fsencode(letter))

    def quoted(word: str) -> str:
        if word.isprintable():
            return shlex.quote(word)
        letters = [c if c.isprintable() and c not in "\\'" else octal(c) for c in word]
        return f"$'{''.join(letters)}'"

    return " ".join(quoted(str(word)) for word in words)


def operand(name: object) -> str:
    """A file or folder as an argument of a command: -x is an option, ./-x is not."""
    return "./" * str(name).startswith("-") + str(name)


LONGEST = 1000  # letters of a line; a name may have any number


def say(text: str) -> None:
    """One line on stderr, for the reader and not for the next program; never a reason to fail."""
    line = "; ".join(part.strip() for part in text.splitlines()).replace(":; ", ": ")
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
    with contextlib.suppress(OSError):
        print(f"tinyfractal: {printable(line)}", file=sys.stderr, flush=True)


class Terminated(KeyboardInterrupt):
    """SIGTERM came: the command ends as after Ctrl-C, with another exit status."""


def complain(error: BaseException, debug: bool, rank: int = 0) -> int:
    """Say what went wrong, in one line on stderr or with its traceback; the exit status."""
    if isinstance(error, KeyboardInterrupt):
        say(str(error) or "stopped")
        return 143 if caused_by(error, Terminated) else 130  # 128 and the number of the signal
    if debug:
        traceback.print_exception(error)
    else:
        say((f"rank {rank}: " if rank else "") + in_words(error))
    return 1


# what an error is about of which the system names no file
UNNAMED = {errno.ENOSPC: "standard output", errno.ENOENT: "the current folder"}
EXPLAINED = (
    ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


def in_words(error: BaseException) -> str:
    """What an error says, with the file and what to do where the system raised it."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        name = error.filename or UNNAMED.get(error.errno, "")
        file = os.fsdecode(name) if isinstance(name, (str, bytes)) else ""
        advice = ADVICE.get(error.errno, "")
        return f"{file}{': ' * bool(file)}{error.strerror}{'; ' * bool(advice)}{advice}"
    if isinstance(error, MemoryError) and not str(error):
        return "not enough memory; take a smaller network, or fewer images at once"
    name, ours = type(error).__name__, type(error).__module__.startswith("tinyfractal")
    if ours or isinstance(error, EXPLAINED):
        return str(error) or name
    return f"{name}: {error} (a fault of the program; --debug shows where)"
