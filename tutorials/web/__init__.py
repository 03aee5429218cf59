"""The tutorials as a static site: `python -m tutorials --site FOLDER`.

    index.html         the start page
    glossary.html
    explore/           pages that show a computation step by step
    lite/              JupyterLite: the chapters, and the source to read beside them
    lite/static/       Python for the browser

Whoever opens a chapter there runs it in the browser, with nothing installed. The same sources make
the same site: nothing in it is dated.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import packages, pages

HERE = Path(__file__).resolve().parent
TUTORIALS = HERE.parent
REQUIRED = ("jupyterlite_core", "jupyterlite_pyodide_kernel", "jupyter_server", "markdown_it",
            "mdit_py_plugins", "latex2mathml", "comm")  # fmt: skip
CONTENTS = ("*.ipynb", "*.md", "*.mplstyle", "[a-z]*.py", "exercises/*.py", "solutions/*.py",
            "pictures/*", "records/*")  # fmt: skip
KERNEL = "@jupyterlite/pyodide-kernel-extension"
DATE = "499162500"  # of every file: 1985, npm's date for builds that can be repeated


def build(folder: Path, pyodide: Path | None = None) -> Path:
    """Build the site in a new folder, which appears whole or not at all.

    Pyodide, NumPy and Matplotlib come from Pyodide's public CDN; if `pyodide` is given, from a copy
    of that folder in the site. Raises `FileExistsError` if `folder` is there already.
    """
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(
            f"site: not installed: {', '.join(missing)}; run pip install -e '.[site]'"
        )
    if folder.exists():
        raise FileExistsError(f"site: {folder} is there already; choose another, or remove it")
    runtime = None if pyodide is None else packages.pyodide_files(pyodide)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
        draft = Path(work) / "site"
        build_lite(Path(work), draft / "lite")
        write_python(draft / "lite" / "static", runtime)
        pages.write_pages(draft, TUTORIALS)
        shutil.copyfile(draft / "lite" / "lab" / "favicon.ico", draft / "favicon.ico")
        draft.rename(folder)
    return folder


def copy_contents(target: Path) -> None:
    """Copy what a reader finds in JupyterLite: the chapters, and the library's source."""
    for pattern in CONTENTS:
        for path in TUTORIALS.glob(pattern):
            copy = target / "tutorials" / path.relative_to(TUTORIALS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for name, content in packages.library_files().items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)


def build_lite(work: Path, output: Path) -> None:
    """JupyterLite with the contents; from installed extensions it takes the kernel alone."""
    copy_contents(work / "contents")
    shutil.copy(HERE / "overrides.json", work)
    (work / "jupyter-lite.json").write_text(json.dumps(lite_settings()), "utf-8")
    config = {
        "contents": [str(work / "contents")],
        "output_dir": str(output),
        "apps": ["lab", "notebooks", "edit", "tree"],
        "ignore_sys_prefix": True,
        "federated_extensions": [
            str(Path(sys.prefix, "share", "jupyter", "labextensions", KERNEL))
        ],
        "no_sourcemaps": True,
        "no_unused_shared_packages": True,
        "no_libarchive": True,
    }
    config_text = json.dumps({"LiteBuildConfig": config})
    (work / "jupyter_lite_config.json").write_text(config_text, "utf-8")
    command = [sys.executable, "-m", "jupyterlite_core", "build", f"--lite-dir={work}"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": DATE, "JUPYTER_NO_CONFIG": "1"}
    run = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"site: JupyterLite could not be built:\n{run.stdout}{run.stderr}")


def lite_settings() -> dict[str, object]:
    """jupyter-lite.json: where the kernel finds Python, and what it loads."""
    kernel = {
        "pyodideUrl": "./static/tinyfractal/pyodide.js",
        "disablePyPIFallback": True,  # all it needs is here: no request to anywhere else
        "loadPyodideOptions": {"packages": packages.AT_START},
    }
    return {
        "jupyter-lite-schema-version": 0,
        "jupyter-config-data": {
            "appName": "tinyfractal",
            "disabledExtensions": [
                "@jupyter-notebook/notebook-extension:checkpoints",  # "41 years ago"
                "@jupyter-notebook/notebook-extension:tab-icon",  # whose icons are not there
            ],
            "exposeAppInBrowser": True,  # for the tests: window.jupyterapp
            "litePluginSettings": {f"{KERNEL}:kernel": kernel},
        },
    }


def write_python(static: Path, runtime: list[Path] | None) -> None:
    """The library's wheel and, if Pyodide is not to come from its CDN, the files of Pyodide."""
    if runtime is not None:
        (static / "pyodide").mkdir(parents=True)
        for path in runtime:
            shutil.copyfile(path, static / "pyodide" / path.name)
    home = packages.CDN if runtime is None else "../pyodide/"
    packages.write_packages(static / "tinyfractal", home)
    shutil.copyfile(HERE / "pyodide.js", static / "tinyfractal" / "pyodide.js")
