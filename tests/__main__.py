"""All checks with one command: `python -m tests` (lint, format, types, tests).

Arguments go to pytest: `python -m tests -k fractal`.
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
