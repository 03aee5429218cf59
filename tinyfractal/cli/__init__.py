"""The command line: `python -m tinyfractal`, or `tinyfractal`.

Each command is a function `command_NAME`, its options beside it: in `train`, in `predict` (with
`evaluate`), in `look`, which has `profile`, `selfcheck` and `chapters` behind it, and in `explore`.
`datasets` finds the images that `--data` means; `options` reads what was typed; `surroundings` are
streams and signals. Whatever goes wrong ends in one line on stderr and a non-zero exit; `--debug`
shows the traceback instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__, backend
from . import explore, look, predict, train
from .options import DATA_FOLDER, Parser, complain, path
from .predict import _read_image as _read_image
from .surroundings import flush_output, open_streams, short_warnings, signals

EXAMPLES = {"train": train.EXAMPLES}


def build_parser() -> Parser:
    """All commands and their options."""
    shared = Parser(add_help=False)
    shared.add_argument(
        "--backend", metavar="NAME", help="numpy, cupy, or cupy:1 for the second GPU"
    )
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    shared.add_argument(
        "--folder",
        type=path,
        default=DATA_FOLDER,
        help="where data sets lie (default: %(default)s)",
    )
    parser = Parser(prog="tinyfractal", description="Deep learning in NumPy, small enough to read.")
    parser.add_argument("--version", action="version", version=f"tinyfractal {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for function, add_options in (
        *train.COMMANDS,
        *predict.COMMANDS,
        *look.COMMANDS,
        *explore.COMMANDS,
    ):
        name = function.__name__.removeprefix("command_")
        command = commands.add_parser(
            name, parents=[shared], help=function.__doc__, description=function.__doc__,
            epilog=EXAMPLES.get(name), formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.set_defaults(run=function)
        if add_options is not None:
            add_options(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    open_streams()
    debug = False
    with signals(), short_warnings():
        try:
            words = sys.argv[1:] if argv is None else list(argv)
            args = build_parser().parse_args(words)
            args.words = words
            debug = args.debug
            if args.backend is not None:
                backend.use(args.backend)
            status: int = args.run(args) or 0
            unwritten = flush_output()
            if unwritten is None:
                return status
            raise unwritten
        except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
            return 0
        except (Exception, KeyboardInterrupt) as error:
            if debug and not isinstance(error, KeyboardInterrupt):
                raise
            if isinstance(error, OSError) and not error.filename:
                error = flush_output() or error  # was it this that could not be written?
            return complain(error, debug=False)
        finally:
            flush_output()
