"""Everything that wants a GPU, with one command on a machine that has one: `python -m tests.gpu`.

    suite       the whole test suite on CuPy
    gradcheck   every function and layer against finite differences, on the device
    digits      training on the CPU and on the GPU from the same seed, step by step
    chapters    the code of the tutorials
    --cifar     the paper's network on CIFAR-10 for as many epochs as --minutes allow
    --bench     a training step of it beside PyTorch with cuDNN, with TF32 and without

`--only digits,chapters` runs those alone, and what follows `--` goes to pytest. With `--standin`
the same runs on a stand-in without a GPU (see `tests/standin`), in small: it proves that nothing
depends on NumPy, not that it is fast. Without a GPU it says so, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STANDIN = ROOT / "tests" / "standin"
PARTS = ("suite", "gradcheck", "digits", "chapters")
STEPS = 50


def environment(standin: bool, name: str = "cupy") -> dict[str, str]:
    """For processes started from here: the backend, and where CuPy is found."""
    paths = [str(STANDIN)] * standin + [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "TINYFRACTAL_BACKEND": name,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }


# ----- The parts. Each prints, and raises where something is wrong -----


def suite(args: argparse.Namespace) -> None:
    """The test suite; on the stand-in without notebooks and long trainings."""
    command = [sys.executable, "-m", "pytest", "-n", "auto" if args.standin else "4"]
    if args.standin:
        command += ["-m", "not tutorial and not golden"]
    subprocess.run([*command, *args.pytest], cwd=ROOT, env=environment(args.standin), check=True)


def gradcheck(args: argparse.Namespace) -> None:
    """Every gradient against finite differences."""
    from tinyfractal import backend
    from tinyfractal.cli.selfcheck import check_all

    with backend.using(args.device):
        found = {name: worst.excess for name, worst in check_all() if worst is not None}
    name = max(found, key=found.__getitem__)
    print(
        f"{len(found)} gradients are right; the worst, {name}, used {found[name]:.1%} of the margin"
    )


def one_run(device: str, dtype: str, steps: int = STEPS) -> list[tuple[int, float]]:
    """(what drop-path decided, the loss) of each training step of the default recipe."""
    import numpy as np

    from tinyfractal import Tensor, backend, cross_entropy, nn
    from tinyfractal.data import Loader, load
    from tinyfractal.recipe import Recipe

    train, _ = load("digits")
    recipe = Recipe(dropout=0.1).for_data(train)
    decided: list[bytes] = []
    sample = nn.DropPath.sample

    def noted(self: nn.DropPath, *args: int, **rows: int) -> np.ndarray:
        decision = sample(self, *args, **rows)
        decided.append(decision.tobytes())
        return decision

    found = []
    with backend.using(device):
        model = recipe.build_model().astype(dtype)
        optimizer = recipe.build_optimizer(model)
        loader = Loader(train, 64, True, True, 0, recipe.transform(), recipe.augment())
        nn.DropPath.sample = noted  # type: ignore[method-assign]
        try:
            while len(found) < steps:
                for images, labels in loader:
                    x = Tensor.of(backend.asarray(images.astype(dtype)))
                    loss = cross_entropy(model(x), backend.asarray(labels))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    found.append((hash(b"".join(decided)), loss.item()))
                    decided.clear()
        finally:
            nn.DropPath.sample = sample  # type: ignore[method-assign]
    return found[:steps]


def digits(args: argparse.Namespace) -> None:
    """The same seed on both: the same decisions, and losses that are equal to rounding.

    A rounding grows from step to step, since each step builds on the one before. So float32 is held
    to it in the first steps, to 1e-3 (at the third it is 1e-5 on one processor and 2e-4 on
    another), and float64, which begins a billion times smaller, in all of them.
    """
    runs = {
        dtype: list(zip(one_run("numpy", dtype), one_run(args.device, dtype)))
        for dtype in ("float32", "float64")
    }
    apart: dict[str, list[float]] = {"float32": [], "float64": []}
    print("step  drop-path  loss on CPU  on GPU     apart, float32  float64")
    for step in range(STEPS):
        same = all(run[step][0][0] == run[step][1][0] for run in runs.values())
        for dtype, run in runs.items():
            cpu, gpu = run[step][0][1], run[step][1][1]
            apart[dtype].append(abs(cpu - gpu) / abs(cpu))
        if step < 5 or step % 5 == 4 or not same:
            cpu, gpu = (found[1] for found in runs["float32"][step])
            print(
                f"{step + 1:4}  {'same' if same else 'DIFFERS':9}{cpu:11.7f}  {gpu:11.7f}"
                f"{apart['float32'][-1]:11.1e}{apart['float64'][-1]:11.1e}"
            )
        if not same:
            raise AssertionError(f"step {step + 1}: drop-path decided differently")
    for dtype, first, bound in (("float32", 3, 1e-3), ("float64", STEPS, 1e-6)):
        if max(apart[dtype][:first]) > bound:
            raise AssertionError(f"{dtype}: losses apart by {max(apart[dtype][:first]):.1e}")
    if not args.standin:
        for device in ("numpy", args.device):
            command = [sys.executable, "-m", "tinyfractal", "train", "--quiet", "--backend", device]
            with tempfile.TemporaryDirectory() as folder:
                command += ["--out", f"{folder}/run"]
                subprocess.run(command, cwd=ROOT, env=environment(False, "numpy"), check=True)


def run_chapter(name: str, standin: bool, folder: Path) -> float:
    """Run the code of a chapter in a copy of the tutorials; the seconds it took."""
    copy = folder / name
    shutil.copytree(ROOT / "tutorials", copy, ignore=shutil.ignore_patterns("*.ipynb"))
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, f"{name}.py"],
        cwd=copy,
        env=environment(standin),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise AssertionError(f"chapter {name}:\n{done.stdout[-500:]}\n{done.stderr[-3000:]}")
    return time.monotonic() - start


def chapters(args: argparse.Namespace) -> None:
    """The code of every chapter, but for its notebook; what chapter 12 records of a GPU is kept."""
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py")):
            seconds = run_chapter(path.stem, args.standin, Path(folder))
            print(f"{path.stem:24}{seconds:6.0f} s", flush=True)
            record = Path(folder) / path.stem / "pictures" / "gpu_times.json"
            if record.exists() and not args.standin:
                shutil.copy(record, ROOT / "tutorials" / "pictures")
                print("wrote tutorials/pictures/gpu_times.json")


def cifar(args: argparse.Namespace) -> None:
    """The paper's network, its augmentation and drop-path, as long as there is time."""
    from tinyfractal import backend
    from tinyfractal.cli.predict import table
    from tinyfractal.data import load, load_digits
    from tinyfractal.recipe import Recipe
    from tinyfractal.train import fit

    paper = Recipe(
        data="cifar10", channels=(64, 128, 256, 512, 512), lr=0.02, nesterov=False,
        weight_decay=1e-4, schedule="halving", batch_size=100, shift=4, mirror=True,
    )  # fmt: skip
    if args.standin:  # the digits in its place, and small
        train, test = (data[:100] for data in load_digits())
        paper = replace(paper, channels=(4, 4), shift=1, mirror=False)
    else:
        train, test = load("cifar10", args.folder)
    recipe = paper.for_data(train)
    start = time.monotonic()
    with backend.using(args.device):

        def run(epochs: int, train: object, test: object, quiet: bool) -> object:
            model = replace(recipe, epochs=epochs).build_model()
            optimizer = recipe.build_optimizer(model)
            schedule = replace(recipe, epochs=epochs).build_schedule(optimizer)
            fit(model, train, test, optimizer, schedule, batch_size=recipe.batch_size,
                transform=recipe.transform(), augment=recipe.augment(), prefetch=4,
                quiet=quiet)  # fmt: skip
            return model

        run(1, train[:1000], test[:1000], True)  # compiles
        trial = time.monotonic()
        run(1, train[:5000], test, True)
        epoch = (time.monotonic() - trial) * len(train) / len(train[:5000])
        left = 60 * args.minutes - (time.monotonic() - start)
        epochs = 1 if args.standin else max(1, int(0.9 * left / epoch))
        print(f"an epoch takes about {epoch:.0f} s: {epochs} epochs")
        model = run(epochs, train, test, False)
        print(table(model, test, recipe))  # type: ignore[arg-type]
        print(backend.info().get("memory", ""))


def bench(args: argparse.Namespace) -> None:
    """A training step beside PyTorch's. CuPy reads CUPY_TF32 when it starts: a process each."""
    for tf32 in ("0", "1"):
        env = environment(args.standin) | {"CUPY_TF32": tf32}
        command = [
            sys.executable,
            "-m",
            "tests.gpu",
            "--only",
            "bench-step",
            "--device",
            args.device,
        ]
        subprocess.run([*command, *["--standin"] * args.standin], cwd=ROOT, env=env, check=True)


def bench_step(args: argparse.Namespace) -> None:
    """Milliseconds of W1's step (forward, backward, SGD), batch 100 and 512, medians in turns."""
    import numpy as np

    from tinyfractal import FractalNet, Tensor, backend, cross_entropy, optim

    tf32 = os.environ.get("CUPY_TF32") == "1"
    channels = (4, 8) if args.standin else (64, 128, 256, 512, 512)
    rng = np.random.default_rng(0)
    print(f"TF32 {'on' if tf32 else 'off'}   tinyfractal ms   PyTorch ms   ratio")
    for n in (2, 3) if args.standin else (100, 512):
        images = rng.normal(size=(n, 32, 32, 3)).astype(np.float32)
        labels = rng.integers(10, size=n)
        steps = {"tinyfractal": lambda: 0.0}
        with backend.using(args.device):
            net = FractalNet(3, 10, 3, channels, drop_path=0.0)
            optimizer = optim.SGD(net.parameters(), lr=0.01)
            x, y = Tensor.of(backend.asarray(images)), backend.asarray(labels)

            def ours(net=net, optimizer=optimizer, x=x, y=y) -> float:
                loss = cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                return loss.item()  # waits for all of it

            steps = {"tinyfractal": ours}
            with contextlib.suppress(ImportError):
                steps["torch"] = torch_step(images, labels, channels, tf32)
            times: dict[str, list[float]] = {name: [] for name in steps}
            for turn in range(3 if args.standin else 23):
                for name, step in steps.items():
                    start = time.perf_counter()
                    step()
                    if turn >= 3 or args.standin:
                        times[name].append(1000 * (time.perf_counter() - start))
        middle = {name: statistics.median(values) for name, values in times.items()}
        theirs = (
            f"{middle['torch']:13.2f}{middle['tinyfractal'] / middle['torch']:8.2f}"
            if ("torch" in middle)
            else "  not installed"
        )
        print(f"batch {n:4}{middle['tinyfractal']:17.2f}{theirs}", flush=True)
        steps.clear()  # gives the memory back


def torch_step(images, labels, channels, tf32):
    """The same step by PyTorch: cuDNN chooses its algorithms by trying them."""
    import torch

    from .torch_twins import Fractal

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = Fractal(3, 10, 3, channels).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x = torch.tensor(images.transpose(0, 3, 1, 2).copy(), device=device)
    y = torch.tensor(labels, device=device)

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


# ----- The command -----

RUN = {
    "suite": suite, "gradcheck": gradcheck, "digits": digits, "chapters": chapters,
    "cifar": cifar, "bench": bench, "bench-step": bench_step,
}  # fmt: skip


def main() -> int:
    """Run the parts, say what came of each, and return how many failed."""
    own, pytest = sys.argv[1:], []
    if "--" in own:
        own, pytest = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--standin", action="store_true", help="without a GPU")
    parser.add_argument("--only", help="parts, such as gradcheck,digits")
    parser.add_argument("--minutes", type=float, default=30, help="for --cifar (default: 30)")
    parser.add_argument("--cifar", action="store_true")
    parser.add_argument("--bench", action="store_true")
    parser.add_argument("--folder", default="data", help="where CIFAR-10 lies (default: data)")
    parser.add_argument("--device", default="cupy", help="cupy:1 for the second GPU")
    args = parser.parse_args(own)
    args.pytest = pytest
    names = args.only.split(",") if args.only else list(PARTS)
    names += ["cifar"] * args.cifar + ["bench"] * args.bench
    unknown = [name for name in names if name not in RUN]
    if unknown:
        parser.error(f"--only takes {', '.join(RUN)}; got {', '.join(unknown)}")
    if args.standin:
        sys.path.insert(0, str(STANDIN))
    sys.path.insert(0, str(ROOT))
    from tinyfractal import backend
    from tinyfractal.errors import BackendError

    try:
        with backend.using(args.device):
            facts = backend.info()
    except BackendError as error:
        print(f"tests.gpu: {error} (`--standin` runs without a GPU.)", file=sys.stderr)
        return 1
    if names != ["bench-step"]:
        print("\n".join(f"{key:10} {value}" for key, value in facts.items()))
    failed = []
    for name in names:
        if name != "bench-step":
            print(f"\n== {name}: {(RUN[name].__doc__ or '').partition(chr(10))[0]}", flush=True)
        start = time.monotonic()
        try:
            RUN[name](args)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}")
            failed.append(name)
        if name != "bench-step":
            print(f"({name} took {time.monotonic() - start:.0f} s)", flush=True)
    if failed or names != ["bench-step"]:
        print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all went well'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
