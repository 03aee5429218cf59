"""The command `explore`: a page on which forward and backward can be stepped through."""

from __future__ import annotations

import argparse
import functools
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import backend
from ..draw.layout import Columns
from ..explore import Page, explore, explored_while
from ..explore.examples import EXAMPLES, block, network, neuron, perceptron
from ..explore.live import Live, serve
from .options import COUNT, INDEX, a_number, counts, path, printable


def command_explore(args: argparse.Namespace) -> None:
    """Write a page on which forward and backward can be stepped through."""
    check_options(args)
    backend.seed(args.seed)
    if args.live:
        serve_page(args)
        return
    is_program = args.what.endswith(".py")
    name = f"explore-{Path(args.what).stem if is_program else args.what}.html"
    file = Path(args.out or name)
    file = file / name if file.is_dir() else file
    if file.exists() and not args.force:
        raise FileExistsError(
            f"explore: {file} is there already; choose another --out, or add --force to write over "
            "it"
        )
    if is_program:
        page = page_of_file(Path(path(args.what)))
    else:
        title, note, make = pages(args)[args.what]
        page = explore(make(), title, note)
    page.save(file)
    print(f"wrote {printable(file)} ({file.stat().st_size / 1000:.0f} kB); open it in a browser")


OPTIONS = {  # those that mean something, by what is explored
    "block": {"columns", "channels"},
    "network": {"columns", "channels", "images"},
}


def check_options(args: argparse.Namespace) -> None:
    """Raise `ValueError` for an option that would be ignored."""
    unused = {"columns", "channels", "images"} - OPTIONS.get(args.what, set())
    given = [name for name in sorted(unused) if getattr(args, name) is not None]
    if args.live and args.out:
        raise ValueError("explore: --live writes no file, so --out has no meaning")
    if given:
        raise ValueError(f"explore: --{given[0]} has no meaning for {args.what}")
    if args.what == "block" and len(args.channels or (1,)) > 1:
        raise ValueError("explore: a block has one number of channels; give --channels one number")


def serve_page(args: argparse.Namespace) -> None:
    """Serve the page of an example, so that any number can be typed in."""
    if args.what.endswith(".py"):
        raise ValueError(f"explore: --live needs one of {', '.join(EXAMPLES)}, got {args.what}")
    title, note, make = pages(args)[args.what]
    live = Live(make(), title, note)
    serve(live, lambda address: print(f"open {address} in a browser; Ctrl-C ends it", flush=True))


def pages(args: argparse.Namespace) -> dict[str, tuple[str, str, Callable[[], Any]]]:
    """Title, note and what to explore, by name."""
    channels, images = args.channels or (4, 8), args.images or 4
    return {
        "neuron": ("A neuron", "y = tanh(w · x + b)", neuron),
        "perceptron": (
            "A perceptron of two layers",
            "2 inputs, 3 hidden units, 1 output; it has to learn “one or the other, not both”.",
            perceptron,
        ),
        "block": (
            f"A fractal block of {args.columns or 3} columns",
            "Two small images with random numbers, and a random target. Choose above what "
            "drop-path leaves of the block.",
            functools.partial(block, args.columns or 3, (args.channels or (2,))[0]),
        ),
        "network": (
            f"A FractalNet of {args.columns or 2} columns",
            f"It reads {images} handwritten digits; its blocks have "
            f"{' and '.join(map(str, channels))} channels.",
            functools.partial(network, args.columns or 2, channels, images),
        ),
    }


def page_of_file(file: Path) -> Page:
    """The page of a program that computes `loss`, or has a function `loss` without arguments."""
    if not file.is_file():
        raise FileNotFoundError(f"explore: there is no file {file}")

    def run() -> Any:
        variables = runpy.run_path(str(file), run_name="__main__")
        if "loss" not in variables:
            raise ValueError(
                f"explore: {file} should leave its loss in a variable `loss`, or define a function "
                "`loss` without arguments; it has neither"
            )
        return variables["loss"]

    with as_program(file):
        return explored_while(run, title=file.name)


@contextmanager
def as_program(file: Path) -> Iterator[None]:
    """Inside this block a file finds what `python FILE` finds, and its mistakes name the line."""
    path, words = sys.path[:], sys.argv
    sys.path.insert(0, str(file.resolve().parent))
    sys.argv = [str(file)]
    try:
        yield
    except SystemExit as end:
        raise RuntimeError(f"explore: {file} ended itself before it had a loss") from end
    except Exception as error:
        line = line_in(file, error)
        if not line:
            raise
        kind = type(error).__name__
        raise RuntimeError(f"explore: {file}, line {line}: {kind}: {error}") from error
    finally:
        sys.path[:], sys.argv = path, words


def line_in(file: Path, error: BaseException) -> int | None:
    """The line of a file at which it failed, or cannot be read as Python; None if it is none."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return error.lineno
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    return lines[-1] if lines else None


def add_explore_options(command: argparse.ArgumentParser) -> None:
    """What to explore, and where to write it."""
    command.add_argument(
        "what", metavar="block|network|neuron|perceptron|FILE.py", nargs="?", default="block",
        type=what, help="an example, or a program that computes `loss` (default: block)",
    )  # fmt: skip
    command.add_argument("--columns", type=a_number(Columns), help="of the block or the network")
    command.add_argument("--channels", type=counts, metavar="A,B,…", help="one number per block")
    command.add_argument("--images", type=COUNT, help="digits (default: 4)")
    command.add_argument("--seed", type=INDEX, default=0, help="of the weights")
    command.add_argument(
        "--live", action="store_true", help="serve it to this machine's browser; all is computed"
    )
    command.add_argument("--out", type=path, metavar="FILE", help="the page, an .html file")
    command.add_argument("--force", action="store_true", help="write over a file that is there")


def what(word: str) -> str:
    """An example, or a file."""
    if word not in EXAMPLES and not word.endswith(".py"):
        raise argparse.ArgumentTypeError(
            f"expected {', '.join(EXAMPLES)} or a file that ends in .py, got {word!r}"
        )
    return word


COMMANDS = ((command_explore, add_explore_options),)
