"""One part, in a process of its own: `python -m tests.gpu.part NAME '{"standin": true}'`."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from types import SimpleNamespace

from . import report

DEFAULTS = {
    "standin": False, "device": "cupy", "minutes": 4.0, "cifar": None, "pytest": [],
    "out": None, "brief": False,
}  # fmt: skip
MODULES = {
    "check": "checks", "first": "checks", "gradcheck": "checks", "digits": "digits",
    "bench": "bench", "bench_rows": "bench", "suite": "suite", "cub": "suite",
    "chapters": "chapters", "cifar": "cifar",
}  # fmt: skip


def main() -> int:
    """Run it; 1 if something is wrong, which is printed and reported."""
    name, options = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    args = SimpleNamespace(**DEFAULTS | options)
    report.end_with_parent()
    function = getattr(importlib.import_module(f".{MODULES[name]}", __package__), name)
    try:
        function(args)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        if name == "check":
            print(first)
            return 1
        print(traceback.format_exc())
        print(f"{name}: {type(error).__name__}: {first}")
        report.fact(error=f"{type(error).__name__}: {first}"[:300])
        report.failure(name, traceback.format_exc())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
