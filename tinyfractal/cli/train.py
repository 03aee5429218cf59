"""`train`: train a network and show what happened."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from .. import backend
from ..check import Range
from ..data import Dataset
from ..errors import CheckpointError, DataError
from ..files import cannot_write, user_path
from ..progress import is_terminal
from ..recipe import MODELS, OPTIMIZERS, SCHEDULES, Recipe
from ..train import fit, predict
from ..train.distributed import ProcessGroup, SyncBatchNorm, init_process_group
from ..train.load import read_run
from ..train.run import BEST, CHECKPOINT, best_epoch, chosen_by
from .datasets import SIZE, add_folder_options, is_folder, load_parts
from .options import (
    AMOUNT,
    COUNT,
    DATA_FOLDER,
    INDEX,
    SHARE,
    SWITCH,
    a_number,
    complain,
    counts,
    operand,
    path,
    printable,
    typed,
)
from .predict import table

RECIPE_OPTIONS: dict[str, dict[str, Any]] = {
    "data": {"type": path, "help": "digits, mnist, fashion-mnist, kmnist, cifar10, cifar100, fsdd, "
             "gtsrb, bccd, bloodmnist, an .npz file, or a folder with a folder of pictures or "
             "sounds for each class"},
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
    "class_weights": {"choices": ("none", "balanced"),
                      "help": "balanced: rare classes count as much as frequent ones"},
    "clip": {"type": AMOUNT, "help": "limit of the gradient's norm"},
    "validation": {"type": SHARE,
                   "help": "part of the training images held out to judge each epoch; 0: train on "
                           "all, and judge on the test images"},
    "seed": {"type": INDEX},
}  # fmt: skip


EXAMPLES = """\
examples:
  tinyfractal train                                        the digits, in half a minute
  tinyfractal train --data photos --size 32 --mirror       photos/cats/*.jpg, photos/dogs/*.jpg, …
  tinyfractal train --data photos --columns 4 --epochs 99  deeper, and for longer
  tinyfractal train --data sounds --seconds 2              sounds/yes/*.wav, sounds/no/*.wav, …
  tinyfractal train --data cifar10 --channels 32,64,128 --mirror --shift 4
  tinyfractal train --resume runs/photos-fractal           go on where it was stopped

A tenth of the training images is held out: by these each epoch is judged. The test images are used
once, at the end.
A folder has a folder for each class; a fixed fifth of each is for testing, unless it has train/ and
test/ (and val/) with the classes in them. Its pictures get three blocks, 16,32,64, shifts of an
eighth of a side, batches of 16 and 60 epochs, unless the options say otherwise.
"""


def add_train_options(train: argparse.ArgumentParser) -> None:
    """The recipe's options, and where to write."""
    defaults = Recipe()
    for name, settings in RECIPE_OPTIONS.items():
        default = getattr(defaults, name)
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        text = f"{settings.get('help', '')} (default: {shown})".strip()
        option = f"--{name.replace('_', '-')}"
        train.add_argument(
            option, dest=name, default=argparse.SUPPRESS, **{**settings, "help": text}
        )
    blocks = a_number(Annotated[int, Range(1, 16, why="each halves the image")])
    train.add_argument("--blocks", type=blocks, help="so many of the channels, doubled on and on")
    train.add_argument(
        "--out", type=path, metavar="FOLDER", help="where to write (default: under runs/)"
    )
    train.add_argument(
        "--resume", type=path, metavar="FOLDER", help="go on with the run in this folder"
    )
    add_folder_options(train, to_train=True)
    train.add_argument("--yes", action="store_true", help="train a very large network unasked")
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


def command_train(args: argparse.Namespace) -> None:
    """Train a network and show what happened."""
    if args.sync_batch_norm is not None and not args.distributed:
        raise ValueError("train: --sync-batch-norm says how --distributed works; add that")
    group = init_process_group() if args.distributed else ProcessGroup()
    with group.ending_together(lambda error: complain(error, args.debug, group.rank)):
        job = Job(args, group)
        try:
            job.prepare()
            job.train()
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"stopped; {job.how_to_go_on()}") from error
        finally:
            job.clear_up()


class Job:
    """One training on the command line: what its options say, the data, and the folder."""

    recipe: Recipe
    data: Dataset
    test: Dataset
    validation: Dataset | None = None
    folder: Path | None = None
    chosen_folder = False  # whether this program chose its name

    def __init__(self, args: argparse.Namespace, group: ProcessGroup) -> None:
        self.args, self.group = args, group
        self.say: Callable[..., None] = print if group.rank == 0 else lambda *_, **__: None

    def prepare(self) -> None:
        """Find out what is to be trained, and try it on one image before anything is written."""
        args = self.args
        chosen = {name: getattr(args, name) for name in RECIPE_OPTIONS if hasattr(args, name)}
        done = 0
        if args.resume is not None:
            done = self._go_on(chosen)
        else:
            self._begin(chosen)
        recipe = self.recipe
        self.model = recipe.build_model()
        self.optimizer = recipe.build_optimizer(self.model)
        self.schedule = recipe.build_schedule(self.optimizer)
        predict(self.model, self.data.images[:1], recipe.transform())  # too small an image?
        if args.sync_batch_norm is not False and self.group.size > 1:
            self.model = SyncBatchNorm.convert_sync_batchnorm(self.model, self.group)
        if self.folder is None:
            self.folder = self.group.from_first(lambda: _make_folder(recipe))
            self.chosen_folder = True
        self._announce(done)

    def _begin(self, chosen: dict[str, Any]) -> None:
        args, group = self.args, self.group
        if is_folder(chosen.get("data", "")):
            chosen = {**_for_folder(args.size or SIZE), **chosen}
        recipe = Recipe(**chosen)
        if args.blocks is not None:
            recipe = replace(recipe, channels=_for_blocks(args.blocks, recipe.channels))
        held_out = self._load(recipe)
        self.recipe = replace(recipe, validation=held_out).for_data(self.data)
        group.from_first(lambda: _ask(self.recipe, args.yes, group))
        if args.out is None:
            return
        folder = user_path(args.out)
        if group.from_first((folder / CHECKPOINT).exists):
            raise ValueError(
                f"train: {folder} already holds a run; go on with --resume {folder}, "
                "or choose another --out"
            )
        self.folder = folder

    def _go_on(self, chosen: dict[str, Any]) -> int:
        """Take up the run in a folder; how many of its epochs are done."""
        args = self.args
        folder = user_path(args.resume)
        if folder.name == BEST:
            raise ValueError(
                f"train: {BEST} is for evaluate and predict; --resume {folder.parent} goes on from "
                "the last epoch"
            )
        self.folder = folder = folder.parent if folder.name == CHECKPOINT else folder
        wrong = [name for name in chosen if name not in ("epochs", "data")]
        wrong += [n for n in ("out", "blocks", "size", "seconds") if getattr(args, n) is not None]
        wrong += ["gray"] * args.gray
        if wrong:
            raise ValueError(
                "train: --resume goes on with the options the run was started with; "
                f"leave out {', '.join('--' + name.replace('_', '-') for name in wrong)}"
            )
        state, recipe = self.group.from_first(lambda: read_run(folder / CHECKPOINT))
        if "optimizer" not in state["recipe"]:
            raise CheckpointError(
                f"{folder / CHECKPOINT}: was trained by fit in Python, which alone knows how; go "
                "on there, with resume=True"
            )
        history = state.get("history")
        done = len(history) if isinstance(history, list) else 0  # fit looks at it more closely
        if chosen.get("epochs", done) < done:
            raise ValueError(
                f"train: {folder} has {done} epochs already; --epochs is the number of all, so "
                f"choose more than {done}"
            )
        self.recipe = replace(recipe, **chosen)
        self._load(self.recipe)
        same = self.recipe.for_data(self.data)
        same_kind = (same.shape, same.classes, same.seconds)
        if same_kind != (recipe.shape, recipe.classes, recipe.seconds):
            raise DataError(f"train: {self.recipe.data} is no longer the data of {folder}")
        return done

    def _load(self, recipe: Recipe) -> float:
        """The images, some of them held out where the recipe says so; what part of them it was."""
        quiet = self.args.quiet or self.group.rank > 0
        if self.group.size > 1:  # one decodes a folder, the others read what it kept
            self.group.from_first(lambda: load_parts(recipe, self.args, quiet) and None)
        self.data, self.validation, self.test, held_out = load_parts(recipe, self.args, quiet)
        if self.validation is None or (len(self.data) and len(self.validation)):
            return held_out
        images = len(self.data) + len(self.validation)
        if len(self.data) and self.args.resume is None and "validation" not in self.args:
            warnings.warn(
                f"train: {images} images are too few to hold out some; each epoch is judged on "
                "the test images, so the number of the best one flatters it",
                stacklevel=2,
            )
            self.validation = None
            return 0.0
        raise ValueError(
            f"train: --validation {recipe.validation} of {images} images in "
            f"{len(self.data.classes)} classes "
            f"{'holds out' if len(self.data) else 'leaves'} none; choose another part"
        )

    def _announce(self, done: int) -> None:
        recipe, group = self.recipe, self.group
        sets = {"training": self.data, "validation": self.validation, "test": self.test}
        numbers = [f"{len(some):,} {name}" for name, some in sets.items() if some is not None]
        self.say(
            f"{printable(recipe.data)}: {', '.join(numbers[:-1])} and {numbers[-1]} images of "
            f"{'×'.join(map(str, recipe.shape))}\n{recipe.model} network: depth "
            f"{recipe.stage_depth * len(recipe.channels)}, "
            f"{self.model.count_parameters():,} parameters; {recipe.epochs} epochs, seed "
            f"{recipe.seed}, {backend.current()}; writing to {printable(self.folder)}\n",
            flush=True,
        )
        if group.size > 1:
            self.say(
                f"{group.size} processes, {recipe.batch_size} images a batch between them. If one "
                f"is lost, all end; go on after the last whole epoch with\n{self.command()}\n",
                flush=True,
            )
        if done >= recipe.epochs:
            self.say(
                f"this run is finished; to train it for more epochs: {self.command()} --epochs "
                f"{2 * recipe.epochs}\n",
                flush=True,
            )
        elif done and hasattr(self.args, "epochs"):
            rate = recipe.lr * self.schedule.factor(done)
            self.say(
                f"going on after epoch {done}; the {recipe.schedule} schedule now has "
                f"{recipe.epochs} epochs, so the learning rate of epoch {done + 1} is {rate:.3g}\n",
                flush=True,
            )

    def train(self) -> None:
        """Train, show a table of how well it does, and say what to do with it."""
        recipe, start = self.recipe, time.monotonic()
        with np.errstate(all="ignore"):  # where the numbers overflow, fit says so in a sentence
            history = fit(
                self.model,
                self.data,
                self.test,
                self.optimizer,
                self.schedule,
                epochs=recipe.epochs,
                batch_size=recipe.batch_size,
                transform=recipe.transform(),
                augment=recipe.augment(),
                seed=recipe.seed,
                clip=recipe.clip,
                label_smoothing=recipe.label_smoothing,
                class_weights=recipe.weights(),
                prefetch=self.args.prefetch,
                folder=self.folder,
                resume=self.args.resume is not None,
                recipe=recipe.as_dict(),
                quiet=self.args.quiet,
                group=self.group,
                validation=self.validation,
            )
        self.say(f"\n{table(self.model, self.test, recipe, self.group)}")
        self.say(f"\ntook {time.monotonic() - start:.0f} s")
        if self.group.rank == 0:
            assert self.folder is not None
            try:
                _draw_curves(history, self.folder)
            finally:  # a picture that cannot be written does not undo the training
                print(self.what_next(history))

    # ----- What is said of the run -----

    def command(self, name: str = "train --resume", *more: str) -> str:
        """The command for this run's folder: the one that goes on, or another."""
        options = [*name.split(), operand(self.folder), *more]
        if self.args.folder != DATA_FOLDER:
            options += ["--folder", self.args.folder]
        if "data" in self.args and name.startswith("train") and self.args.resume is not None:
            options += ["--data", self.args.data]
        options += ["--skip-broken"] * self.args.skip_broken
        if self.group.size > 1 and name.startswith("train"):
            options.append("--distributed")
            options += ["--no-sync-batch-norm"] * (self.args.sync_batch_norm is False)
        return self._started(options)

    def _started(self, options: Sequence[str]) -> str:
        """A command line, begun by as many processes as this one where it is a training."""
        several = self.group.size > 1 and options[0] == "train"
        command = f"python -m tinyfractal {typed(options)}"
        return f"mpiexec -n {self.group.size} {command}" if several else command

    def how_to_go_on(self) -> str:
        """What to do after an interrupt."""
        if self.folder is None or not (self.folder / CHECKPOINT).exists():
            return f"nothing was written yet; start again with: {self._started(self.args.words)}"
        more = f" --epochs {self.args.epochs}" if self.args.resume and "epochs" in self.args else ""
        return f"go on with: {self.command()}{more}"

    def what_next(self, history: list[dict[str, Any]]) -> str:
        """The last lines: where the weights are, and two commands to try."""
        assert self.folder is not None
        lines = [f"\ncheckpoint: {printable(self.folder / CHECKPOINT)}, after the last epoch"]
        if (self.folder / BEST).exists():
            by = chosen_by(history)
            honest = ", so that number flatters it" if by == "test" else ""
            lines.append(
                f"{BEST} is epoch {best_epoch(history)['epoch']}, chosen by its {by} accuracy"
                f"{honest}"
            )
        example = f"test:{min(7, len(self.test) - 1)}"
        lines += ["try next:", self.command("predict", example), self.command("evaluate")]
        return "\n".join(lines)

    def clear_up(self) -> None:
        """Take away the folder that was made for this run if nothing was written to it."""
        if self.chosen_folder and self.group.rank == 0 and self.folder is not None:
            with suppress(OSError):
                self.folder.rmdir()


CONVOLUTIONS, BYTES = 1_000, 2 << 30  # a network that is larger is asked about


def _ask(recipe: Recipe, yes: bool, group: ProcessGroup) -> None:
    """Ask before a network is built that is very large. Raises `ValueError` unless one says yes."""
    convolutions, memory = recipe.count_convolutions(), recipe.training_bytes()
    if yes or (convolutions <= CONVOLUTIONS and memory <= BYTES):
        return
    size = (
        f"this network has {convolutions:,} convolutions and {recipe.count_parameters():,} "
        f"parameters, which take {memory / 2**30:,.1f} GiB to train, and the images more"
    )
    if group.size == 1 and is_terminal(sys.stdin) and is_terminal(sys.stdout):
        if input(f"{size}. Train it? [y/N] ").strip().lower() in ("y", "yes"):
            return
        raise ValueError("train: not begun; choose fewer --columns or --channels")
    raise ValueError(f"train: {size}; choose fewer --columns or --channels, or add --yes")


def _for_folder(size: int) -> dict[str, Any]:
    """What is usual for pictures of that size, and for as few as people have: three blocks, shifts
    of an eighth, and enough steps although there are few pictures in an epoch."""
    blocks = max(1, min(3, size.bit_length() - 2))
    shift = size // 8
    return {"channels": (16, 32, 64)[:blocks], "shift": shift, "batch_size": 16, "epochs": 60}


def _for_blocks(blocks: int, channels: tuple[int, ...]) -> tuple[int, ...]:
    """Channels for so many blocks: the first ones given, each further block twice the last."""
    while len(channels) < blocks:
        channels = (*channels, 2 * channels[-1])
    return channels[:blocks]


def _make_folder(recipe: Recipe) -> Path:
    """runs/digits-fractal, or the first of -2, -3, … that is not there: no run is overwritten."""
    name = f"{Path(recipe.data).absolute().stem}-{recipe.model}"
    for number in itertools.count(1):
        folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError as error:
            if folder.parent.is_file():
                raise cannot_write(folder, error) from error
        except OSError as error:
            raise cannot_write(folder, error) from error
    raise AssertionError


def _draw_curves(history: list[dict[str, Any]], folder: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no curves: pip install 'tinyfractal[plot]' to draw them")
        return
    from ..draw import plot

    figure = plot.plot_history(history)
    for suffix in ("png", "svg"):
        plot.save(figure, folder / f"curves.{suffix}")
    print(f"curves: {printable(folder / 'curves.png')}")


COMMANDS = ((command_train, add_train_options),)
