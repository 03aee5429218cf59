"""The site in a real browser: chapters run to their end, and nothing is asked of the network."""

import json

import pytest

from tests.browser import lite

CHAPTERS = lite.ROOT / "tutorials"
pytestmark = [pytest.mark.browser]
CDN = "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/"


@pytest.fixture(scope="session")
def pyodide(tmp_path_factory):
    folder = lite.pyodide(tmp_path_factory.mktemp("python") / "pyodide")
    if isinstance(folder, str):
        pytest.skip(folder)
    return folder


@pytest.fixture(scope="session")
def offline(browser, pyodide, build_site):
    """The address of a site that has Pyodide in it."""
    with lite.served(build_site("offline", pyodide)) as address:
        yield address


@pytest.fixture(scope="session")
def online(browser, pyodide, site):
    """The address of a site that takes Pyodide from its CDN."""
    with lite.served(site) as address:
        yield address


@pytest.fixture
def allowed(allowed):
    return (*allowed, "http://127.0.0.1", "ws://127.0.0.1", CDN)


@pytest.fixture
def from_cdn(page, pyodide):
    """The files that the page asks of the CDN. This answers in its place: the tests have no net."""
    asked = []

    def answer(route):
        asked.append(route.request.url.removeprefix(CDN))
        headers = {"access-control-allow-origin": "*"}
        if asked[-1].endswith(".wasm"):
            headers["content-type"] = "application/wasm"
        route.fulfill(path=pyodide / asked[-1], headers=headers)

    page.context.route(f"{CDN}*", answer)
    return asked


def assert_ran(run):
    assert run.errors == []
    assert run.executed == run.cells > 10


def test_the_answers_to_what_should_be_predicted_are_folded_away(page, online, from_cdn):
    cells = json.loads((CHAPTERS / "02_backprop.ipynb").read_text("utf-8"))["cells"]
    answers = [
        number
        for number, cell in enumerate(cells)
        if cell["metadata"].get("jupyter", {}).get("outputs_hidden")
    ]
    assert answers
    lite.open_chapter(page, online, "02_backprop")
    page.wait_for_function("window.jupyterapp.shell.currentWidget.content.widgets.length > 0")
    assert page.evaluate(lite.FOLDED) == answers


@pytest.mark.parametrize("name", ["02_backprop", "08_fractals"])
def test_a_chapter_runs_to_its_end(page, offline, from_cdn, name, record_property):
    run = lite.run_chapter(page, offline, name)
    assert_ran(run)
    assert from_cdn == []
    record_property("chapter", (f"{name} in a browser", run.seconds))


def test_without_a_folder_python_comes_from_the_cdn(page, online, from_cdn, record_property):
    run = lite.run_chapter(page, online, "01_derivatives")
    assert_ran(run)
    assert {"pyodide.js", "pyodide.asm.wasm"} < set(from_cdn)
    assert any(file.startswith("numpy-") for file in from_cdn)
    assert not any(file.startswith(("tinyfractal", "comm")) for file in from_cdn)
    record_property("chapter", ("01_derivatives in a browser", run.seconds))
