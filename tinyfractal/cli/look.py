"""Commands that show something: `recurse`, `draw`, `tutorials`, `profile`, `gradcheck`, `info`."""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
from collections.abc import Callable
from pathlib import Path

from .. import __version__, backend
from ..draw.layout import Columns, alive_paths
from ..fractal import FractalNet, Keep, keep_all
from ..recurse import article_example, depth_table
from . import profile
from .chapters import copy_tutorials, list_chapters
from .options import (
    COUNT,
    INDEX,
    a_number,
    counts,
    dropped,
    image_shape,
    operand,
    path,
    printable,
    typed,
)
from .selfcheck import check_all


def command_recurse(args: argparse.Namespace) -> None:
    """Run the article's example and measure depth against parameters."""
    print(article_example(), end="\n\n")
    print(depth_table())


def command_draw(args: argparse.Namespace) -> None:
    """Draw a fractal block or network as SVG and PNG."""
    from ..draw import plot

    files = _free_files(args.out, f"fractal-{args.what}", args.force)
    # the blocks of the picture, each by its columns
    blocks = {
        "block": [args.columns],
        "network": [args.columns] * len(args.channels),
        "recursion": list(range(1, args.columns + 1)),
    }[args.what]
    keep, remark = _keep(args.drop_path, blocks, args.seed)
    if args.what == "block":
        figure = plot.draw_block(args.columns, keep and keep(args.columns))
    elif args.what == "network":
        figure = plot.draw_network(args.columns, args.channels, keep and keep(args.columns))
    else:
        figure = plot.draw_recursion(args.columns, keep)
    for file in files:
        plot.save(figure, file)
    print(f"wrote {' and '.join(printable(file) for file in files)}{remark}")


def _keep(
    drop_path: str | int, blocks: list[int], seed: int
) -> tuple[Callable[[int], Keep] | None, str]:
    """What drop-path keeps, asked for a block of k columns, and what there is to say of it.

    Local drop-path often drops nothing in a picture as small as these, so the first seed is taken,
    from `seed` on, with which it drops something.
    """
    if drop_path == "none":
        return None, ""
    nets = {k: FractalNet(columns=k, channels=(1,)) for k in set(blocks)}
    if isinstance(drop_path, int):
        nets[max(blocks)].keep_column(drop_path)  # raises where there is no such column
        return lambda k: nets[k].keep_column(drop_path) if drop_path < k else keep_all, ""
    if max(blocks) == 1:
        raise ValueError(
            "draw: --drop-path local has nothing to drop in one column; take --columns 2 or more"
        )
    everything = sum(2**k - 1 for k in blocks)
    for chosen in itertools.count(seed):
        backend.seed(chosen)
        if sum(len(alive_paths(k, nets[k].keep_local()).convs) for k in blocks) < everything:
            break
    backend.seed(chosen)
    return lambda k: nets[k].keep_local(), f"; local drop-path of seed {chosen}"


def _free_files(out: str | None, name: str, force: bool) -> list[Path]:
    """Where a picture goes: an .svg and a .png, or a .pdf if that is asked for.

    Raises `FileExistsError` where one of them is there already, unless forced.
    """
    path = Path(out or name)
    path = path / name if path.is_dir() else path
    if path.suffix.lower() not in ("", ".svg", ".png", ".pdf"):
        raise ValueError(
            f"draw: --out {path} should end in .svg or .png (both are made) or in .pdf, or have "
            "no ending"
        )
    suffixes = (".pdf",) if path.suffix.lower() == ".pdf" else (".svg", ".png")
    files = [path.with_suffix(suffix) for suffix in suffixes]
    for file in files:
        if file.exists() and not force:
            raise FileExistsError(
                f"draw: {file} is there already; choose another --out, or add --force to write "
                "over it"
            )
    return files


def command_tutorials(args: argparse.Namespace) -> None:
    """List the chapters of the tutorials; with a folder, copy them there to step through."""
    folder = None if args.copy is None else copy_tutorials(args.copy)
    chapters = list_chapters()
    wide = max(len(chapter.question) for chapter in chapters)
    for chapter in chapters:
        print(f"{chapter.number:2}  {chapter.question:{wide}}  {chapter.minutes} min")
    if folder is None:
        print("\ncopy them to a folder of yours: python -m tinyfractal tutorials FOLDER")
    else:
        print(
            f"\ncopied to {printable(folder)}; to step through them:\n"
            "pip install 'tinyfractal[tutorials]'  (Matplotlib and JupyterLab; with VS Code, "
            "[plot] and ipykernel do)\n"
            f"jupyter lab {typed([operand(folder)])}"
        )


def command_profile(args: argparse.Namespace) -> None:
    """Break one training step of a FractalNet down by primitive."""
    profile.check_step("profile", args.columns, args.channels, args.image, args.batch_size)
    height, width, colours = args.image
    print(
        f"FractalNet of {args.columns} columns, channels {','.join(map(str, args.channels))}, on "
        f"{args.batch_size} images of {height}×{width}×{colours}; mean of {args.steps} steps\n"
    )
    step = args.columns, args.channels, args.image, args.batch_size
    print(profile.profile_table(*step, args.steps))


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


def add_draw_options(command: argparse.ArgumentParser) -> None:
    """What to draw, and where to."""
    command.add_argument(
        "what", choices=("block", "network", "recursion"), nargs="?", default="block"
    )
    command.add_argument("--columns", type=a_number(Columns), default=3)
    command.add_argument("--channels", type=counts, default=(16, 32), metavar="A,B,…")
    command.add_argument(
        "--drop-path",
        type=dropped,
        default="none",
        help="dash what is dropped: none, local, or all but the column of this number",
    )
    command.add_argument("--seed", type=INDEX, default=0)
    command.add_argument(
        "--out", type=path, metavar="FILE", help="file to write; both .svg and .png are made"
    )
    command.add_argument("--force", action="store_true", help="write over files that are there")


def add_tutorials_options(command: argparse.ArgumentParser) -> None:
    """Where to copy them."""
    command.add_argument(
        "copy", type=path, metavar="FOLDER", nargs="?", help="a new folder to copy the chapters to"
    )


def add_profile_options(command: argparse.ArgumentParser) -> None:
    """The network and the images of the step."""
    command.add_argument("--columns", type=a_number(profile.Columns), default=3)
    command.add_argument("--channels", type=counts, default=(32, 64), metavar="A,B,…")
    command.add_argument("--image", type=image_shape, default=(8, 8, 1), metavar="HxWxC")
    command.add_argument("--batch-size", type=COUNT, default=64)
    command.add_argument("--steps", type=COUNT, default=10)


COMMANDS = (
    (command_recurse, None),
    (command_draw, add_draw_options),
    (command_tutorials, add_tutorials_options),
    (command_profile, add_profile_options),
    (command_gradcheck, None),
    (command_info, None),
)
