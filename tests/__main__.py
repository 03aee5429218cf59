"""All checks with one command: `python -m tests` (lint, format, types, tests).

The tests run twice: on NumPy, and, but for notebooks and long trainings, on a stand-in for a GPU.
Arguments go to pytest: `python -m tests -k fractal`. With TINYFRACTAL_BACKEND=cupy they run on a
real GPU; `python -m tests.gpu` does more there.
"""

import os
import subprocess
import sys
from pathlib import Path

CHECKS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "tests": ["pytest", "-n", "auto", *sys.argv[1:]],
}
if os.environ.get("TINYFRACTAL_BACKEND", "numpy") == "numpy":
    CHECKS["tests on a stand-in for a GPU"] = [
        "tests.gpu", "--standin", "--only", "suite", "--", *sys.argv[1:]
    ]  # fmt: skip


def main() -> int:
    """Run them all, say which failed, and return how many."""
    root = Path(__file__).resolve().parent.parent
    # several test processes at once, so one thread each
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    failed = []
    for name, command in CHECKS.items():
        print(f"\n== {name}: {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], cwd=root, env=environment).returncode:
            failed.append(name)
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
