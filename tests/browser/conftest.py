"""A real browser for the tests in this folder: chromium, driven by playwright.

Where either is missing the tests are skipped, and say what to install. `page` fails a test on any
error in the browser's console, on any exception that nobody caught, and on any request that leaves
the page; a test file that needs a server on this machine overrides `allowed`.
"""

import os
import shutil

import pytest

NAMES = ["chromium", "chromium-browser", "google-chrome"]
IN_THE_PAGE = ("file:", "data:", "about:", "blob:")


@pytest.fixture(scope="session")
def browser():
    """One chromium for all tests of a process: `TINYFRACTAL_CHROMIUM`, or the one on the path."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="browser tests need playwright: pip install playwright"
    )
    chromium = os.environ.get("TINYFRACTAL_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    if chromium is None:
        pytest.skip(
            "browser tests need chromium: apt install chromium, or set TINYFRACTAL_CHROMIUM"
        )
    with playwright.sync_playwright() as driver:
        # The sandbox refuses to start as root, as in a container; these pages are our own.
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def allowed():
    """What addresses may begin with; override it to add ("http://127.0.0.1:8000/",)."""
    return IN_THE_PAGE


@pytest.fixture
def settings():
    """How the page is opened, as `browser.new_context` has it: viewport, color_scheme …"""
    return {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture
def page(browser, allowed, settings):
    """An empty page. After the test: no error, and no request to anywhere."""
    context = browser.new_context(**settings)
    page = context.new_page()
    trouble = []
    watch(page, allowed, trouble)
    context.on("page", lambda other: watch(other, allowed, trouble))
    yield page
    context.close()
    assert trouble == []


def watch(page, allowed, trouble):
    """Note in `trouble` what must not happen."""

    def on_console(message):
        if message.type == "error":
            trouble.append(f"console: {message.text}")

    def on_request(request):
        if not request.url.startswith(allowed):
            trouble.append(f"request: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: trouble.append(f"not caught: {error}"))
    page.on("request", on_request)
    page.on("websocket", lambda socket: on_request(socket))
