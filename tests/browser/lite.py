"""A built site in a real browser: serve it, open a chapter in JupyterLite, run all its cells.

Python in the browser comes from two folders, because nobody should download it for a test:
`TINYFRACTAL_PYODIDE`, or ../shared/pyodide beside the checkout, has the packages (NumPy …), and
`TINYFRACTAL_PYODIDE_RUNTIME` has what `npm install pyodide@0.27.7` puts in node_modules/pyodide.
"""

import contextlib
import functools
import http.server
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

OPENED = """() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"""
RUN = """async () => {
    const app = window.jupyterapp;
    await app.shell.currentWidget.context.ready;
    await app.commands.execute("notebook:clear-all-cell-outputs");
    window.finished = false;
    app.commands.execute("notebook:run-all-cells").finally(() => { window.finished = true; });
}"""
CELLS = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
    .filter((cell) => cell.type === "code").map((cell) => cell.toJSON())"""


FOLDED = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .map((cell, index) => cell.outputHidden ? index : -1).filter((index) => index >= 0)"""


class Run(NamedTuple):
    """What became of a chapter: its cells, how many were executed, what was raised, and how long
    it took, in seconds, from opening the page."""

    cells: int
    executed: int
    errors: list[str]
    seconds: float


def pyodide(folder):
    """A new folder with links to the runtime and the packages; why there is none, as a string."""
    wheels = Path(os.environ.get("TINYFRACTAL_PYODIDE") or ROOT.parent / "shared" / "pyodide")
    runtime = Path(os.environ.get("TINYFRACTAL_PYODIDE_RUNTIME") or wheels)
    if not list(wheels.glob("numpy-*.whl")):
        return f"no packages of Pyodide in {wheels}: set TINYFRACTAL_PYODIDE"
    if not (runtime / "pyodide.asm.wasm").exists():
        return "no Pyodide: npm install pyodide@0.27.7, and set TINYFRACTAL_PYODIDE_RUNTIME to it"
    folder.mkdir()
    for file in [*wheels.iterdir(), *runtime.iterdir()]:
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file.resolve())
    return folder


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, with the types that a browser asks for, and no word about it."""

    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *_):
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server that does not mind if a page is closed while it loads."""

    def handle_error(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def served(folder):
    """The address of a server on this machine that hands out a folder."""
    handler = functools.partial(Handler, directory=str(folder))
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def open_chapter(page, address, name):
    """Open a chapter in JupyterLite, and wait until it has a kernel."""
    page.goto(f"{address}lite/notebooks/index.html?path=tutorials/{name}.ipynb")
    page.wait_for_function(OPENED, timeout=120_000)


def run_chapter(page, address, name, minutes=8):
    """Open a chapter, forget the outputs that it came with, and run all its cells."""
    start = time.monotonic()
    open_chapter(page, address, name)
    page.evaluate(RUN)
    try:
        page.wait_for_function("window.finished", timeout=minutes * 60_000, polling=500)
        errors = []
    except Exception:  # playwright's, which need not be installed
        errors = [f"not finished after {minutes} minutes"]
    cells = page.evaluate(CELLS)
    outputs = [out for cell in cells for out in cell["outputs"]]
    errors += [
        f"{out['ename']}: {out['evalue']}" for out in outputs if out["output_type"] == "error"
    ]
    executed = sum(cell["execution_count"] is not None for cell in cells)
    return Run(len(cells), executed, errors, time.monotonic() - start)
