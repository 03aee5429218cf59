"""What Python in the browser is made of: Pyodide, NumPy and Matplotlib, and this library.

Pyodide is CPython, compiled for the browser. Its lock file names the packages built for it, with
their files and SHA-256 sums. They come from Pyodide's public CDN, or from a folder that is copied
into the site. To them are added, as wheels made here, `tinyfractal` and what the kernel needs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import tinyfractal

PYODIDE = "0.27.7"
CDN = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/"
LOCK = "pyodide-lock.json"
RUNTIME = ("pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip", LOCK)
LIBRARY = Path(tinyfractal.__file__).resolve().parent

# What a kernel loads as it starts. (Pyodide finds what a cell imports by itself, but not what is
# imported by a module that lies beside the notebook, or by the library when it first draws.)
AT_START = ("micropip", "ssl", "sqlite3", "comm", "jedi", "ipython", "tinyfractal")
NEEDS = {"tinyfractal": ["numpy", "matplotlib"], "comm": ["traitlets"]}


# ----- Wheels -----


def pack(folder: Path, name: str, version: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Write a wheel of pure Python, always the same bytes; return its entry for a lock file."""
    info = f"{name}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in sorted([*contents, f"{info}/RECORD"]))
    contents[f"{info}/RECORD"] = record.encode()
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(file)  # dated 1980, wherever and whenever it is packed
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return {
        "name": name,
        "version": version,
        "file_name": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "imports": [name],
        "depends": NEEDS[name],
        "install_dir": "site",
        "package_type": "package",
        "unvendored_tests": False,
    }


def library_files() -> dict[str, bytes]:
    """The library's own files, by their names in a wheel."""
    return {
        path.relative_to(LIBRARY.parent).as_posix(): path.read_bytes()
        for path in LIBRARY.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def installed_files(name: str) -> dict[str, bytes]:
    """The modules of an installed package of pure Python, by their names in a wheel."""
    found = importlib.metadata.files(name) or []
    return {
        file.as_posix(): file.read_binary()
        for file in found
        if file.suffix == ".py" and ".." not in file.parts
    }


# ----- Pyodide -----


def needed(lock: dict[str, Any]) -> list[str]:
    """The packages of Pyodide's lock file that the chapters need, with all that those depend on."""
    found: set[str] = set()
    waiting = [*AT_START]
    while waiting:
        name = re.sub("[-_.]+", "-", waiting.pop()).lower()  # as the keys are spelt
        if name not in found:
            found.add(name)
            waiting += NEEDS[name] if name in NEEDS else lock["packages"][name]["depends"]
    return sorted(found - set(NEEDS))


def pyodide_files(source: Path) -> list[Path]:
    """Pyodide's runtime and the packages that are needed, checked to be there and unharmed."""
    says = "site: pyodide: expected a folder with the runtime and the packages of Pyodide"
    missing = [name for name in RUNTIME if not (source / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{says} {PYODIDE}, but {source} has no {', '.join(missing)} "
            f"(they come with `npm install pyodide@{PYODIDE}`)"
        )
    lock = json.loads((source / LOCK).read_text("utf-8"))
    if lock["info"]["version"] != PYODIDE:
        raise ValueError(f"{says} {PYODIDE}, got {lock['info']['version']} in {source}")
    entries = [lock["packages"][name] for name in needed(lock)]
    missing = [e["file_name"] for e in entries if not (source / e["file_name"]).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{says} {PYODIDE}, but {source} has no {', '.join(missing)} (they are at {CDN})"
        )
    for entry in entries:
        content = (source / entry["file_name"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ValueError(
                f"site: pyodide: {entry['file_name']} in {source} is not the file that {LOCK} "
                "names: its SHA-256 is another; download it again"
            )
    return [source / name for name in [*RUNTIME, *(entry["file_name"] for entry in entries)]]


def write_packages(folder: Path, home: str) -> None:
    """Write the wheels of this site, and packages.json, which names them and Pyodide's home."""
    folder.mkdir(parents=True)
    packages = {
        "tinyfractal": pack(folder, "tinyfractal", tinyfractal.__version__, library_files()),
        "comm": pack(folder, "comm", importlib.metadata.version("comm"), installed_files("comm")),
    }
    text = json.dumps({"pyodide": home, "packages": packages}, indent=2)
    (folder / "packages.json").write_text(f"{text}\n", "utf-8")
