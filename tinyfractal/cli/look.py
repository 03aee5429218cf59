"""Commands that show something: `recurse`, `draw`, `tutorials`, `profile`, `gradcheck`, `info`."""

from __future__ import annotations

import argparse
import importlib.metadata
import shlex
from pathlib import Path

from .. import __version__, backend
from ..chapters import copy_tutorials, list_chapters
from ..fractal import FractalNet
from ..profile import profile_table
from ..recurse import article_example, depth_table
from ..selfcheck import check_all
from .options import COUNT, INDEX, counts, dropped, image_shape


def command_recurse(args: argparse.Namespace) -> None:
    """Run the article's example and measure depth against parameters."""
    print(article_example(), end="\n\n")
    print(depth_table())


def command_draw(args: argparse.Namespace) -> None:
    """Draw a fractal block or network as SVG and PNG."""
    from .. import plot

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


def add_draw_options(command: argparse.ArgumentParser) -> None:
    """What to draw, and where to."""
    command.add_argument(
        "what", choices=("block", "network", "recursion"), nargs="?", default="block"
    )
    command.add_argument("--columns", type=COUNT, default=3)
    command.add_argument("--channels", type=counts, default=(16, 32))
    command.add_argument(
        "--drop-path",
        type=dropped,
        default="none",
        help="grey what a sample drops: none, local, or a column",
    )
    command.add_argument("--seed", type=INDEX, default=0)
    command.add_argument("--out", help="file to write; both .svg and .png are made")


def add_tutorials_options(command: argparse.ArgumentParser) -> None:
    """Where to copy them."""
    command.add_argument(
        "copy", metavar="FOLDER", nargs="?", help="a new folder to copy the chapters to"
    )


def add_profile_options(command: argparse.ArgumentParser) -> None:
    """The network and the images of the step."""
    command.add_argument("--columns", type=COUNT, default=3)
    command.add_argument("--channels", type=counts, default=(32, 64))
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
