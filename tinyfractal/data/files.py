"""What all readers share: how a path is understood, and one hint."""

from __future__ import annotations

import os
from pathlib import Path

from ..check import PathLike


def local(path: PathLike) -> Path:
    """The path on this machine: `~` is the home folder."""
    return Path(os.path.expanduser(path))


def download_hint(name: str) -> str:
    """The sentence that ends every message about missing files."""
    return f"""Download it: python -c "from tinyfractal import data; data.download('{name}')\""""
