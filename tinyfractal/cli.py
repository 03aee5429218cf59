"""The command line: `python -m tinyfractal`, or `tinyfractal`.

Each command is one function below, named after it. Whatever goes wrong ends in one line on stderr
and a non-zero exit; `--debug` shows the traceback instead.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import math
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import __version__, backend
from .chapters import copy_tutorials, list_chapters
from .checkpoint import load_checkpoint
from .data import load
from .distributed import ProcessGroup, SyncBatchNorm, init_process_group
from .errors import CheckpointError, DataError
from .fractal import FractalNet, fractal_depth
from .module import Module
from .profile import profile_table
from .recipe import MODELS, OPTIMIZERS, SCHEDULES, Recipe
from .recurse import article_example, depth_table
from .selfcheck import check_all
from .train import CHECKPOINT, columns_of, evaluate, fit, predict

# ----- train -----


def command_train(args: argparse.Namespace) -> None:
    """Train a network and show what happened."""
    if args.sync_batch_norm is not None and not args.distributed:
        raise ValueError("train: --sync-batch-norm says how --distributed works; add that")
    group = init_process_group() if args.distributed else ProcessGroup()
    with group.ending_together(lambda error: complain(error, args.debug, group.rank)):
        _train(args, group)


def _train(args: argparse.Namespace, group: ProcessGroup) -> None:
    first = group.rank == 0
    chosen = {name: getattr(args, name) for name in RECIPE_OPTIONS if hasattr(args, name)}
    if args.resume is not None:
        folder = Path(args.resume)
        folder = folder.parent if folder.name == CHECKPOINT else folder
        if chosen or args.out is not None or args.blocks is not None:
            raise ValueError(
                "train: --resume goes on with the options the run was started with; "
                f"leave out {', '.join('--' + n.replace('_', '-') for n in chosen) or '--out'}"
            )
        _, recipe = group.from_first(lambda: _read_checkpoint(folder / CHECKPOINT))
        train, test = load(recipe.data, args.folder)
        same = recipe.for_data(train)
        if (same.shape, same.classes) != (recipe.shape, recipe.classes):
            raise DataError(f"train: {recipe.data} is no longer the data of {folder}")
    else:
        recipe = Recipe(**chosen)
        if args.blocks is not None:
            recipe = replace(recipe, channels=_for_blocks(args.blocks, recipe.channels))
        train, test = load(recipe.data, args.folder)
        recipe = recipe.for_data(train)
        folder = Path(args.out or group.from_first(lambda: _free_folder(recipe)))
        if group.from_first((folder / CHECKPOINT).exists):
            raise ValueError(
                f"train: {folder} already holds a run; go on with --resume {folder}, "
                "or choose another --out"
            )
    model = recipe.build_model()
    optimizer = recipe.build_optimizer(model)
    schedule = recipe.build_schedule(optimizer)
    predict(model, train.images[:1], recipe.transform())  # too small an image fails here, not later
    if args.sync_batch_norm is not False and group.size > 1:
        model = SyncBatchNorm.convert_sync_batchnorm(model, group)
    options = ["--resume", str(folder)]
    if args.folder != DATA_FOLDER:
        options += ["--folder", args.folder]
    command = f"python -m tinyfractal train {shlex.join(options)}"
    if group.size > 1:
        local = " --no-sync-batch-norm" if args.sync_batch_norm is False else ""
        command = f"mpiexec -n {group.size} {command} --distributed{local}"
    depth = fractal_depth(recipe.columns) * len(recipe.channels)
    say = print if first else lambda *_, **__: None
    say(
        f"{recipe.data}: {len(train):,} training and {len(test):,} test images of "
        f"{'×'.join(map(str, recipe.shape))}\n{recipe.model} network: depth {depth}, "
        f"{model.count_parameters():,} parameters; {recipe.epochs} epochs, seed {recipe.seed}, "
        f"{backend.current()}; writing to {folder}\n",
        flush=True,
    )
    if group.size > 1:
        say(
            f"{group.size} processes, {recipe.batch_size} images a batch between them. If one is "
            f"lost, all end; go on after the last whole epoch with\n{command}\n",
            flush=True,
        )
    start = time.monotonic()
    try:
        with np.errstate(all="ignore"):  # where the numbers overflow, fit says so in a sentence
            history = fit(
                model,
                train,
                test,
                optimizer,
                schedule,
                epochs=recipe.epochs,
                batch_size=recipe.batch_size,
                transform=recipe.transform(),
                augment=recipe.augment(),
                seed=recipe.seed,
                clip=recipe.clip,
                label_smoothing=recipe.label_smoothing,
                prefetch=args.prefetch,
                folder=folder,
                resume=args.resume is not None,
                recipe=recipe.as_dict(),
                quiet=args.quiet,
                group=group,
            )
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"stopped; go on with: {command}") from error
    say(f"\n{table(model, test, recipe, group)}\n\ntook {time.monotonic() - start:.0f} s")
    if first:
        _draw_curves(history, folder)


def _for_blocks(blocks: int, channels: tuple[int, ...]) -> tuple[int, ...]:
    """Channels for so many blocks: the first ones given, each further block twice the last."""
    while len(channels) < blocks:
        channels = (*channels, 2 * channels[-1])
    return channels[:blocks]


def _free_folder(recipe: Recipe) -> Path:
    """runs/digits-fractal, or the first of -2, -3, … that is not there: no run is overwritten."""
    name = f"{Path(recipe.data).stem}-{recipe.model}"
    folder, number = Path("runs") / name, 2
    while folder.exists():
        folder, number = Path("runs") / f"{name}-{number}", number + 1
    return folder


def table(model: Module, test: Any, recipe: Recipe, group: ProcessGroup | None = None) -> str:
    """The whole network and each column: depth, parameters, accuracy and time per image."""
    stages = len(recipe.channels)
    rows = [("whole network", fractal_depth(recipe.columns) * stages, model)]
    rows += [(f"column {c}", 2**c * stages, column) for c, column in enumerate(columns_of(model))]
    lines = [f"{'':15}depth  parameters  test accuracy  ms per image"]
    for name, depth, part in rows:
        result = evaluate(part, test, recipe.transform(), group=group)
        lines.append(
            f"{name:15}{depth:5d}{part.count_parameters():12,}{100 * result.accuracy:13.2f} %"
            f"{1000 * result.seconds:14.3f}"
        )
    return "\n".join(lines)


def _draw_curves(history: list[dict[str, Any]], folder: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no curves: pip install 'tinyfractal[plot]' to draw them")
        return
    from . import plot

    figure = plot.plot_history(history)
    for suffix in ("png", "svg"):
        plot.save(figure, folder / f"curves.{suffix}")
    print(f"curves: {folder / 'curves.png'}")


# ----- evaluate and predict -----


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], Recipe]:
    """A checkpoint, or the one in a folder, and the recipe in it."""
    path = path / CHECKPOINT if path.is_dir() else path
    state = load_checkpoint(path)
    if not state.get("recipe"):
        raise CheckpointError(f"{path}: no recipe in it, so the network cannot be built again")
    return state, Recipe.from_dict(state["recipe"])


def _load_model(checkpoint: str) -> tuple[Module, Recipe]:
    state, recipe = _read_checkpoint(Path(checkpoint))
    model = recipe.build_model()
    model.load_state_dict(state["model"])
    return model.eval(), recipe


def command_evaluate(args: argparse.Namespace) -> None:
    """Test a checkpoint on the test images of its data set."""
    model, recipe = _load_model(args.checkpoint)
    _, test = load(args.data or recipe.data, args.folder)
    if test.shape != recipe.shape or len(test.classes) != len(recipe.classes):
        raise DataError(
            f"evaluate: the checkpoint was trained on images of {recipe.shape} in "
            f"{len(recipe.classes)} classes, {test.name} has {test.shape} in {len(test.classes)}"
        )
    print(table(model, test, recipe))


def command_predict(args: argparse.Namespace) -> None:
    """Say what is in some images."""
    model, recipe = _load_model(args.checkpoint)
    for name in args.images:
        image = _read_image(name, recipe, args)
        (p,) = predict(model, image[None], recipe.transform())
        best = np.argsort(-p)[: min(3, len(p))]
        guesses = ", ".join(f"{recipe.classes[k]} {100 * p[k]:.1f} %" for k in best)
        print(f"{name}: {guesses}")


def _read_image(name: str, recipe: Recipe, args: argparse.Namespace) -> np.ndarray:
    """One image (H, W, C) of numbers 0 to 1, of the size the model was trained on."""
    height, width, channels = recipe.shape
    if name.startswith("test:"):
        _, test = load(recipe.data, args.folder)
        number = name.removeprefix("test:")
        if not number.isdecimal() or int(number) >= len(test):
            raise DataError(f"predict: test:N takes N from 0 to {len(test) - 1}, got {name!r}")
        image = test.images[int(number)]
        return image / np.float32(255) if image.dtype == np.uint8 else image
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "predict: reading image files needs Pillow: pip install 'tinyfractal[images]'"
        ) from error
    try:
        with Image.open(name) as file:
            picture = file.convert("L" if channels == 1 else "RGB")
            picture = picture.resize((width, height), Image.Resampling.BOX)
    except Exception as error:  # each of Pillow's readers has exceptions of its own
        raise DataError(f"predict: cannot read {name} as an image ({error})") from error
    image = np.asarray(picture, np.float32).reshape(height, width, channels) / 255
    return 1 - image if args.invert else image


# ----- The others -----


def command_recurse(args: argparse.Namespace) -> None:
    """Run the article's example and measure depth against parameters."""
    print(article_example(), end="\n\n")
    print(depth_table())


def command_draw(args: argparse.Namespace) -> None:
    """Draw a fractal block or network as SVG and PNG."""
    from . import plot

    backend.seed(args.seed)
    keep = None
    if args.drop_path != "none":
        net = FractalNet(columns=args.columns, channels=(1,))
        local = args.drop_path == "local"
        keep = net.keep_local() if local else net.keep_column(args.drop_path)
    if args.what == "block":
        figure = plot.draw_block(args.columns, keep)
    elif args.what == "network":
        figure = plot.draw_network(args.columns, args.channels, keep)
    else:
        figure = plot.draw_recursion(args.columns)
    out = Path(args.out or f"fractal-{args.what}.svg")
    for suffix in (".svg", ".png"):
        plot.save(figure, out.with_suffix(suffix))
        print(out.with_suffix(suffix))


def command_tutorials(args: argparse.Namespace) -> None:
    """List the chapters of the tutorials; with a folder, copy them there to step through."""
    chapters = list_chapters()
    wide = max(len(chapter.question) for chapter in chapters)
    for chapter in chapters:
        print(f"{chapter.number:2}  {chapter.question:{wide}}  {chapter.minutes} min")
    if args.copy is None:
        print("\ncopy them to a folder of yours: python -m tinyfractal tutorials FOLDER")
    else:
        folder = copy_tutorials(args.copy)
        print(
            f"\ncopied to {folder}; to step through them:\n"
            "pip install 'tinyfractal[tutorials]'  (Matplotlib and JupyterLab; with VS Code, "
            "[plot] and ipykernel do)\n"
            f"jupyter lab {shlex.quote(str(folder))}"
        )


def command_profile(args: argparse.Namespace) -> None:
    """Break one training step of a FractalNet down by primitive."""
    height, width, colours = args.image
    print(
        f"FractalNet of {args.columns} columns, channels {','.join(map(str, args.channels))}, on "
        f"{args.batch_size} images of {height}×{width}×{colours}; mean of {args.steps} steps\n"
    )
    print(profile_table(args.columns, args.channels, args.image, args.batch_size, args.steps))


def command_gradcheck(args: argparse.Namespace) -> None:
    """Compare every gradient with finite differences."""
    count = 0
    for name, worst in check_all():
        count += 1
        if worst is None:
            print(f"{name:20} ok")
        else:
            gap = abs(worst.analytic - worst.numeric)
            print(
                f"{name:20} ok  largest difference {gap:8.1e}  "
                f"(backward {worst.analytic:.6g}, finite differences {worst.numeric:.6g})",
                flush=True,
            )
    print(f"{count} gradients agree with finite differences")


def command_info(args: argparse.Namespace) -> None:
    """Print versions, backend, BLAS, threads and device."""
    facts = {"tinyfractal": __version__, **backend.info()}
    for package in ("cupy", "mpi4py", "matplotlib", "tqdm", "pillow"):
        if package not in facts:
            try:
                facts[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                facts[package] = "not installed"
    for name, value in facts.items():
        print(f"{name:12} {value}")


# ----- Options -----


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
RECIPE_OPTIONS: dict[str, dict[str, Any]] = {
    "data": {"help": "digits, mnist, fashion-mnist, kmnist, cifar10, cifar100, or an .npz file"},
    "model": {"choices": MODELS},
    "columns": {"type": COUNT, "help": "columns of a block; the others match its depth, 2^(C-1)"},
    "channels": {"type": counts, "metavar": "A,B,…",
                 "help": "channels of each block; their number is the number of blocks"},
    "dropout": {"type": SHARE, "help": "dropout after each convolution"},
    "drop_path": {"type": SHARE, "help": "probability of dropping a branch; 0 for no drop-path"},
    "global_ratio": {"type": SHARE, "help": "fraction of batches with global drop-path"},
    "per_sample": {"action": SWITCH, "help": "drop-path by sample, not by mini-batch"},
    "optimizer": {"choices": OPTIMIZERS},
    "lr": {"type": AMOUNT, "help": "learning rate"},
    "momentum": {"type": SHARE},
    "nesterov": {"action": SWITCH, "help": "Nesterov's momentum"},
    "weight_decay": {"type": AMOUNT},
    "schedule": {"choices": tuple(SCHEDULES), "help": "of the learning rate"},
    "epochs": {"type": COUNT},
    "batch_size": {"type": COUNT},
    "shift": {"type": INDEX, "help": "shift training images by up to so many pixels"},
    "mirror": {"action": SWITCH, "help": "mirror half of the training images"},
    "label_smoothing": {"type": SHARE},
    "clip": {"type": AMOUNT, "help": "limit of the gradient's norm"},
    "seed": {"type": INDEX},
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> Parser:
    """All commands and their options."""
    shared = Parser(add_help=False)
    shared.add_argument(
        "--backend", metavar="NAME", help="numpy, cupy, or cupy:1 for the second GPU"
    )
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    shared.add_argument(
        "--folder", default=DATA_FOLDER, help="where data sets lie (default: %(default)s)"
    )
    parser = Parser(prog="tinyfractal", description="Deep learning in NumPy, small enough to read.")
    parser.add_argument("--version", action="version", version=f"tinyfractal {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(function: Any) -> argparse.ArgumentParser:
        name = function.__name__.removeprefix("command_")
        command = commands.add_parser(
            name, parents=[shared], help=function.__doc__, description=function.__doc__
        )
        command.set_defaults(run=function)
        return command

    train = add(command_train)
    defaults = Recipe()
    for name, settings in RECIPE_OPTIONS.items():
        default = getattr(defaults, name)
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        text = f"{settings.get('help', '')} (default: {shown})".strip()
        option = f"--{name.replace('_', '-')}"
        train.add_argument(
            option, dest=name, default=argparse.SUPPRESS, **{**settings, "help": text}
        )
    train.add_argument("--blocks", type=COUNT, help="so many of the channels, doubled on and on")
    train.add_argument("--out", metavar="FOLDER", help="where to write (default: under runs/)")
    train.add_argument("--resume", metavar="FOLDER", help="go on with the run in this folder")
    train.add_argument("--prefetch", type=INDEX, default=0, help="batches prepared in a thread")
    train.add_argument("--quiet", action="store_true", help="no line for each epoch")
    train.add_argument(
        "--distributed", action="store_true", help="share each batch with the processes of mpiexec"
    )
    train.add_argument(
        "--sync-batch-norm",
        action=SWITCH,
        default=None,
        help="--distributed: statistics of the whole batch (the default), or of each part",
    )

    evaluate = add(command_evaluate)
    evaluate.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or its folder")
    evaluate.add_argument("--data", help="another data set of the same kind")

    predict = add(command_predict)
    predict.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or its folder")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="a file, or test:N")
    predict.add_argument("--invert", action="store_true", help="for dark ink on light paper")

    add(command_recurse)
    draw = add(command_draw)
    draw.add_argument("what", choices=("block", "network", "recursion"), nargs="?", default="block")
    draw.add_argument("--columns", type=COUNT, default=3)
    draw.add_argument("--channels", type=counts, default=(16, 32))
    draw.add_argument(
        "--drop-path",
        type=dropped,
        default="none",
        help="grey what a sample drops: none, local, or a column",
    )
    draw.add_argument("--seed", type=INDEX, default=0)
    draw.add_argument("--out", help="file to write; both .svg and .png are made")
    tutorials = add(command_tutorials)
    tutorials.add_argument(
        "copy", metavar="FOLDER", nargs="?", help="a new folder to copy the chapters to"
    )
    profile = add(command_profile)
    profile.add_argument("--columns", type=COUNT, default=3)
    profile.add_argument("--channels", type=counts, default=(32, 64))
    profile.add_argument("--image", type=image_shape, default=(8, 8, 1), metavar="HxWxC")
    profile.add_argument("--batch-size", type=COUNT, default=64)
    profile.add_argument("--steps", type=COUNT, default=10)
    add(command_gradcheck)
    add(command_info)
    return parser


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    args = build_parser().parse_args(argv)
    try:
        if args.backend is not None:
            backend.use(args.backend)
        args.run(args)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if args.debug and not isinstance(error, KeyboardInterrupt):
            raise
        return complain(error, debug=False)
