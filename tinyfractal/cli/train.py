"""`train`: train a network and show what happened."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from ..data import load
from ..distributed import ProcessGroup, SyncBatchNorm, init_process_group
from ..errors import DataError
from ..fractal import fractal_depth
from ..recipe import MODELS, OPTIMIZERS, SCHEDULES, Recipe
from ..train import CHECKPOINT, fit, predict
from .options import AMOUNT, COUNT, DATA_FOLDER, INDEX, SHARE, SWITCH, complain, counts
from .predict import read_checkpoint, table

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
        _, recipe = group.from_first(lambda: read_checkpoint(folder / CHECKPOINT))
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


def _draw_curves(history: list[dict[str, Any]], folder: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("no curves: pip install 'tinyfractal[plot]' to draw them")
        return
    from .. import plot

    figure = plot.plot_history(history)
    for suffix in ("png", "svg"):
        plot.save(figure, folder / f"curves.{suffix}")
    print(f"curves: {folder / 'curves.png'}")


COMMANDS = ((command_train, add_train_options),)
