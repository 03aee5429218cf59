"""What CuPy's functions may be called with: `api.json`, which `list_cupy.py` reads from CuPy."""

import json
from pathlib import Path

API = json.loads((Path(__file__).parent / "api.json").read_text("utf-8"))


class Signature:
    """The names that a function of CuPy takes; `check` raises TypeError for others."""

    def __init__(self, name, names):
        self.name = name
        self.any_number = any(n.startswith("*") and n.strip("*") for n in names[:-1]) or (
            bool(names) and names[-1].startswith("*") and not names[-1].startswith("**")
        )
        self.any_keyword = bool(names) and names[-1].startswith("**")
        first = next((i for i, n in enumerate(names) if n.startswith("*")), len(names))
        self.places = [n.rstrip("=") for n in names[:first]]
        self.needed = [n for n in names[:first] if not n.endswith("=")]
        self.keywords = {n.rstrip("=") for n in names if not n.startswith("*")}

    def check(self, args, kwargs):
        """Raise unless CuPy's function could be called like this."""
        if len(args) > len(self.places) and not self.any_number:
            raise TypeError(f"cupy.{self.name} takes {self.places}, got {len(args)} arguments")
        if not self.any_keyword:
            for name in kwargs:
                if name not in self.keywords:
                    raise TypeError(f"cupy.{self.name} has no argument {name!r}")
        for name in self.needed[len(args) :]:
            if name not in kwargs:
                raise TypeError(f"cupy.{self.name} needs {name!r}")
