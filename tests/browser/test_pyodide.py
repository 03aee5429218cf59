"""The library in Pyodide, the Python of a browser: first what it lacks, then the real one in node.

The real one needs node, the npm package `pyodide` (`TINYFRACTAL_PYODIDE_RUNTIME` names its folder,
or node finds it by itself) and Pyodide's wheels (`TINYFRACTAL_PYODIDE` names their folder, or
`shared/pyodide` lies beside the checkout).
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import backend, browser, data
from tinyfractal.data.cache import decoded

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WHEELS = Path(os.environ.get("TINYFRACTAL_PYODIDE", ROOT.parent / "shared" / "pyodide"))


# ----- What it lacks -----


@pytest.fixture
def as_in_a_browser(monkeypatch):
    """No thread can be started, no socket opened; the rest is this Python."""

    def refuse(*_args, **_settings):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr(browser, "IN_BROWSER", True)
    monkeypatch.setitem(sys.modules, "pyodide", SimpleNamespace(__version__="1.2.3"))


def batches(prefetch):
    images, _ = data.load_digits()
    return list(data.Loader(images[:30], 8, shuffle=True, augment=data.shift, prefetch=prefetch))


def test_batches_are_the_same_without_a_thread(as_in_a_browser, monkeypatch):
    ahead = batches(prefetch=2)
    monkeypatch.setattr(browser, "IN_BROWSER", False)
    with pytest.raises(RuntimeError, match="new thread"):  # here it would have taken one
        batches(prefetch=2)
    monkeypatch.undo()
    for prefetch in (0, 2):
        for (x, labels), (x_there, labels_there) in zip(batches(prefetch), ahead, strict=True):
            np.testing.assert_array_equal(x, x_there)
            np.testing.assert_array_equal(labels, labels_there)


def test_pictures_are_decoded_without_threads(as_in_a_browser, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(tmp_path / "cache"))
    shape = (2, 3, 1)
    images, kept, broken = decoded(
        tmp_path, ["a", "b"], {}, shape, lambda i: np.full(shape, i + 5, np.uint8)
    )
    assert images[:, 0, 0, 0].tolist() == [5, 6]
    assert (kept, broken) == ([0, 1], [])


def test_a_download_says_what_to_do_instead(as_in_a_browser, tmp_path):
    with pytest.raises(tf.errors.DataError, match=r"https://a\.b/c: .* no sockets") as error:
        data.fetch("https://a.b/c", tmp_path / "c")
    assert str(tmp_path / "c") in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_needs_no_download(as_in_a_browser, tmp_path):
    (tmp_path / "c").write_bytes(b"abc")
    assert data.fetch("https://a.b/c", tmp_path / "c", size=3) == tmp_path / "c"


def test_info_names_the_browser(as_in_a_browser):
    facts = backend.info()
    assert facts["blas"] == "none"
    assert facts["threads"].startswith("1,")
    assert "Pyodide 1.2.3" in facts["device"]


def test_info_says_nothing_of_a_browser_elsewhere():
    assert not browser.IN_BROWSER
    assert browser.info() == {}


# ----- The real one -----


def missing(runtime):
    """What the real one lacks here, in words, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if runtime is None:
        return "npm's pyodide is not installed (TINYFRACTAL_PYODIDE_RUNTIME)"
    if not list(WHEELS.glob("numpy-*wasm32.whl")):
        return f"no wheels of Pyodide in {WHEELS} (TINYFRACTAL_PYODIDE)"
    return None


def find_runtime():
    """The folder of the npm package `pyodide`, or None."""
    if "TINYFRACTAL_PYODIDE_RUNTIME" in os.environ:
        return os.environ["TINYFRACTAL_PYODIDE_RUNTIME"]
    if shutil.which("node") is None:
        return None
    program = "console.log(require('path').dirname(require.resolve('pyodide/package.json')))"
    asked = subprocess.run(["node", "-e", program], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or None


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """What `program.py` found in Pyodide."""
    runtime = find_runtime()
    if (reason := missing(runtime)) is not None:
        pytest.skip(reason)
    library = tmp_path_factory.mktemp("pyodide") / "library.zip"
    with zipfile.ZipFile(library, "w") as file:
        for path in sorted((ROOT / "tinyfractal").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, path.relative_to(ROOT))
    command = ["node", HERE / "pyodide.mjs", runtime, WHEELS, library, HERE / "program.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def here():
    """What `program.py` finds here."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "TINYFRACTAL_BACKEND": "numpy"}
    done = subprocess.run(
        [sys.executable, HERE / "program.py"], capture_output=True, text=True, env=settings
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.browser
@pytest.mark.slow
def test_a_training_takes_the_same_steps_there(there, here):
    assert there["rules"] == here["rules"]  # the fast layer is loaded there too
    assert len(there["losses"]) == 8
    assert np.ptp(here["losses"]) > 0.1
    np.testing.assert_allclose(there["losses"], here["losses"], rtol=1e-7)


@pytest.mark.browser
@pytest.mark.slow
def test_runs_are_kept_and_resumed_there(there, here):
    assert len(there["trained"]) == 2
    np.testing.assert_allclose(there["trained"], here["trained"], rtol=1e-5)


@pytest.mark.browser
@pytest.mark.slow
def test_pictures_are_kept_decoded_there(there):
    assert there["pictures"] == [[7, 7, 8, 8]] * 2  # the second time they come from the cache


@pytest.mark.browser
@pytest.mark.slow
def test_info_and_downloads_tell_the_truth_there(there, here):
    info = there["info"]
    assert info["backend"] == "numpy"
    assert info["device"].startswith("WebAssembly, in Pyodide 0.")
    assert (info["blas"], info["threads"][:2]) == ("none", "1,")
    assert "no sockets" in there["refused"]
    assert "no sockets" not in here["refused"]
