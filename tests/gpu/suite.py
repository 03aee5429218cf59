"""The test suite on CuPy, in twelve processes. Failures are written down as they occur."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

from . import ROOT, environment, report

PROCESSES = 12
SHORT = ["tests/test_engine.py", "tests/test_nn.py", "tests/test_primitives.py"]


def suite(args: SimpleNamespace) -> None:
    """All tests, without CUB, whose sums have another order; on the stand-in without trainings."""
    leave_out = ["-m", "not browser"]
    if args.standin:
        leave_out = ["-m", "not browser and not tutorial and not golden"]
    elif args.brief:  # the chapters are a part of their own
        leave_out = ["-m", "not browser and not tutorial"]
    _pytest([*leave_out, *args.pytest], args, "")


def cub(args: SimpleNamespace) -> None:
    """A short part of them with CUB; on the stand-in, which has none, shorter still."""
    files = [SHORT[0], "-m", "not slow"] if args.standin else SHORT
    _pytest([*files, *args.pytest], args, "cub")


def _pytest(arguments: list[str], args: SimpleNamespace, accelerators: str) -> None:
    processes = min(PROCESSES, os.cpu_count() or 1)
    command = [sys.executable, "-m", "pytest", "-n", str(processes), "-p", "tests.gpu.follow"]
    env = environment(args.standin) | {"CUPY_ACCELERATORS": accelerators}
    print(f"CUPY_ACCELERATORS={accelerators!r}, {processes} processes", flush=True)
    done = subprocess.run([*command, *arguments], cwd=ROOT, env=env, pass_fds=report.pipes())
    if done.returncode:
        raise AssertionError(f"pytest ended with status {done.returncode}")
