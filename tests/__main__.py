"""All checks with one command: `python -m tests` (lint, format, types, tests).

The tests run twice: on NumPy, and, but for notebooks, browsers and long trainings, on a stand-in
for a GPU.
`python -m tests --quick` leaves out what takes long, and says what that is. Other arguments go to
pytest: `python -m tests -k fractal`. With TINYFRACTAL_BACKEND=cupy the tests run on a real GPU;
`python -m tests.gpu` does more there.

Only the project's own folders are looked at: runs, pictures, data and copies of the chapters may
lie beside them.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAST = "not tutorial and not golden and not slow and not browser"
DURATION = {
    False: "All checks: about half an hour on two cores. (--quick takes about two.)",
    True: "The quick checks: about one minute on two cores. They leave out the chapters, tests in "
    "a browser, trainings on the digits, processes that are started, killed or share a training, "
    "the benchmarks, random wrong arguments, second derivatives, and the second run on a stand-in "
    "for a GPU.",
}


def checks(quick: bool, arguments: list[str]) -> dict[str, list[str]]:
    """The modules to run, each with its arguments."""
    found = {
        "lint": ["ruff", "check", "."],
        "format": ["ruff", "format", "--check", "."],
        "types": ["mypy"],
        "tests": ["pytest", "-n", "auto", *(["-m", FAST] if quick else []), *arguments],
    }
    if os.environ.get("TINYFRACTAL_BACKEND", "numpy") == "numpy" and not quick:
        found["tests on a stand-in for a GPU"] = [
            "tests.gpu.part", "suite", json.dumps({"standin": True, "pytest": arguments})
        ]  # fmt: skip
    return found


def main(arguments: list[str]) -> int:
    """Run them all, say which failed, and return how many."""
    quick = "--quick" in arguments
    missing = [name for name in ("ruff", "mypy", "pytest", "xdist", "hypothesis")
               if importlib.util.find_spec(name) is None]  # fmt: skip
    if missing:
        print(f"not installed: {', '.join(missing)}; run pip install -e '.[test]'", file=sys.stderr)
        return 1
    print(DURATION[quick], flush=True)
    # several test processes at once, so one thread each
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    failed = []
    for name, command in checks(quick, [a for a in arguments if a != "--quick"]).items():
        print(f"\n== {name}: {' '.join(command)}", flush=True)
        start = time.monotonic()
        if subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment).returncode:
            failed.append(name)
        print(f"== {name}: took {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n{'failed: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
