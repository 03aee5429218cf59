"""Python in a web browser (Pyodide, in WebAssembly): what it lacks is asked for here.

It has no threads, no locks on files, no sockets and no other processes, and NumPy multiplies
matrices without BLAS. Everything else works, files too: they are kept in memory.
"""

import sys

IN_BROWSER = sys.platform == "emscripten"


def info() -> dict[str, str]:
    """What `backend.info` says of the browser; nothing elsewhere."""
    if not IN_BROWSER:
        return {}
    import pyodide  # type: ignore[import-not-found]

    return {
        "blas": "none",
        "threads": "1, a browser's Python has no more",
        "device": f"WebAssembly, in Pyodide {pyodide.__version__}",
    }
