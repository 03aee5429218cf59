"""Run chapters in a browser, on a site that is built for it, and print a table.

    python -m tests.browser.all_chapters            all of them, a table
    python -m tests.browser.all_chapters 02 09      chapters 2 and 9

What it needs is said in `lite.py`. Each chapter has a browser of its own, as if it were the first.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.browser import lite


def main(numbers):
    """Print what became of each chapter; 1 if one did not run to its end."""
    from playwright.sync_api import sync_playwright

    from tutorials import web
    from tutorials.__main__ import chapters

    failed = 0
    chromium = os.environ.get("TINYFRACTAL_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as work:
        pyodide = lite.pyodide(Path(work) / "pyodide")
        if isinstance(pyodide, str):
            return pyodide
        site = web.build(Path(work) / "site", pyodide)
        print(f"{'chapter':24} cells executed seconds  errors", flush=True)
        with lite.served(site) as address, sync_playwright() as driver:
            for name in [path.stem for path in chapters(*numbers)]:
                browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                run = lite.run_chapter(browser.new_page(), address, name, minutes=30)
                browser.close()
                failed |= bool(run.errors) or run.executed < run.cells
                print(f"{name:24} {run.cells:5} {run.executed:8} {run.seconds:7.0f}  "
                      f"{'; '.join(run.errors) or 'none'}", flush=True)  # fmt: skip
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
