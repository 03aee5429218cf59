"""The command: which parts, how long each may take, and what came of them."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import ROOT, environment
from . import __doc__ as described
from .report import FAILURES
from .runner import Part, Runner

# the seconds that a part may well take: on a GPU, where it first compiles; on the stand-in
EXPECTED = {
    "first": (100, 20), "digits": (70, 30), "gradcheck": (50, 60), "bench": (90, 80),
    "suite": (140, 140), "cub": (30, 50), "chapters": (70, 170), "cifar": (5, 20),
}  # fmt: skip
AFTER = 40  # seconds that CIFAR-10 takes beside training
PATIENCE = 90  # seconds in which a GPU has to answer
TRY = "--out gpu --budget 570 --cifar cifar10.npz --minutes 4"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options; what follows `--` is `pytest`."""
    pytest: list[str] = []
    if "--" in arguments:
        cut = arguments.index("--")
        arguments, pytest = arguments[:cut], arguments[cut + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu",
        description=described,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--standin", action="store_true", help="without a GPU")
    parser.add_argument("--only", metavar="PARTS", help="parts, such as gradcheck,digits")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for what is written")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="for all parts together")
    parser.add_argument("--cifar", type=Path, metavar="FILE", help="what tests.gpu.pack wrote")
    parser.add_argument("--minutes", type=float, default=4, help="of training on CIFAR-10 (4)")
    parser.add_argument("--device", default="cupy", help="cupy:1 for the second GPU")
    args = parser.parse_args(arguments)
    args.pytest = pytest
    args.parts = args.only.split(",") if args.only else list(EXPECTED)
    unknown = [name for name in args.parts if name not in EXPECTED]
    if unknown:
        parser.error(f"--only takes {', '.join(EXPECTED)}; got {', '.join(unknown)}")
    if args.budget is not None and not args.budget >= 30:
        parser.error("--budget needs at least 30 seconds")
    if args.cifar and not args.cifar.is_file():
        parser.error(f"--cifar: {args.cifar}: there is no such file")
    if args.out and (args.out / "results.json").exists():
        parser.error(f"--out: {args.out} has the results of an earlier run; name another folder")
    return args


def command(name: str, args: argparse.Namespace) -> list[str]:
    """What runs a part in a process of its own."""
    options: dict[str, Any] = {
        "standin": args.standin, "device": args.device, "minutes": args.minutes,
        "cifar": str(args.cifar.resolve()) if args.cifar else None, "pytest": args.pytest,
        "out": str(args.out.resolve()) if args.out else None, "brief": args.budget is not None,
    }  # fmt: skip
    return [sys.executable, "-m", "tests.gpu.part", name, json.dumps(options)]


def parts(args: argparse.Namespace) -> list[Part]:
    """The parts that run, in their order."""
    found = []
    for name in args.parts:
        seconds = float(EXPECTED[name][args.standin])
        if name == "cifar" and args.cifar and not args.standin:
            seconds = 60 * args.minutes + AFTER
        found.append(Part(name, command(name, args), seconds))
    return found


def missing(args: argparse.Namespace, env: dict[str, str]) -> str:
    """What is missing for a GPU, in one line; nothing if all is there."""
    check = command("check", args)
    try:
        done = subprocess.run(
            check, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"the GPU does not answer within {PATIENCE} seconds."
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return (said[-1] if said else "no answer") if done.returncode else ""


def main(arguments: list[str] | None = None) -> int:
    """Run the parts, and say what came of each."""
    start = time.monotonic()
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parse(arguments)
    # the default backend: each part switches by itself, and the suite is told
    env = environment(args.standin, "numpy")
    lacking = missing(args, env)
    if lacking:
        print(f"tests.gpu: {lacking} (`--standin` runs without a GPU.)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out.resolve() if args.out else Path(temporary)
        env[FAILURES] = str(folder / "failures.txt")
        runner = Runner(parts(args), folder, args.budget, env, start)
        status = runner.run(f"python -m tests.gpu {shlex.join(arguments)}")
    if args.out:
        for path in sorted(args.out.iterdir()):
            print(f"{path.stat().st_size:10,}  {path.name}")
    if args.standin and not args.only:
        print(f"\nOn a machine with a GPU:\npython -m tests.gpu {TRY}")
    return status


if __name__ == "__main__":
    sys.exit(main())
