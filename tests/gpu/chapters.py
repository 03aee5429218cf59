"""The code of the tutorials, without notebooks. What chapter 18 records of a GPU is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import SimpleNamespace

from tinyfractal.files import write_atomically

from . import ROOT, environment, report

AT_ONCE = 6
RECORDS = "18_gpu"
RECORD = Path("pictures") / "gpu_times.json"


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


def chapters(args: SimpleNamespace) -> None:
    """Chapter 18 first, by itself, since it measures; then the others, several at once."""
    names = sorted(path.stem for path in (ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
    names.remove(RECORDS)
    failed: list[str] = []
    running: dict[str, None] = {}  # in the order in which they started

    def run(name: str) -> float:
        running[name] = None
        report.fact(running=list(running))
        return run_chapter(name, args.standin, folder)

    def ended(name: str, result: Callable[[], float]) -> None:
        try:
            seconds = result()
            print(f"{name:24}{seconds:6.0f} s", flush=True)
            report.row(chapter=name, status="done", seconds=seconds)
        except Exception as error:
            failed.append(name)
            print(f"{name:24} FAILED\n{error}", flush=True)
            report.row(chapter=name, status="failed", why=str(error).strip().splitlines()[-1][:300])
            report.failure(name, str(error))
        running.pop(name, None)
        report.fact(running=list(running))

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ended(RECORDS, lambda: run(RECORDS))
        keep(folder / RECORDS / RECORD, args)
        at_once = min(AT_ONCE, os.cpu_count() or 1)
        with ThreadPoolExecutor(at_once) as pool:
            runs = {pool.submit(run, name): name for name in names}
            try:
                for future in as_completed(runs):
                    ended(runs[future], future.result)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # at the limit none starts any more
    if failed:
        raise AssertionError(f"failed: {', '.join(sorted(failed))}")


def keep(record: Path, args: SimpleNamespace) -> None:
    """Copy what chapter 18 recorded to --out, and to the pictures if it is of a real GPU."""
    places = [Path(args.out)] if args.out else []
    if not args.standin and not args.out:
        places = [ROOT / "tutorials" / "pictures"]
    for place in places if record.exists() else []:
        write_atomically(place / record.name, record.read_bytes())
        print(f"wrote {place.name}/{record.name}", flush=True)
