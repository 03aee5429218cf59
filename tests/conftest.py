"""What every test shares: how hard Hypothesis tries, and the state that is put back after a test.

pytest                                   25 examples of each property, the same every time
HYPOTHESIS_PROFILE=thorough pytest       400, new ones each time
"""

import functools
import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path

import numpy.testing
import pytest
from hypothesis import HealthCheck, settings

from tinyfractal import backend, files

slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=slow,
)
settings.register_profile(
    "thorough", max_examples=400, deadline=None, print_blob=True, suppress_health_check=slow
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# ----- On a GPU -----


def bring_home(compare):
    """A comparison of numpy.testing that takes arrays from the GPU, and Tensors, as they are."""

    @functools.wraps(compare)
    def compared(*arrays, **how):
        home = [backend.asnumpy(a) if hasattr(a, "get") else a for a in arrays]
        return compare(*home, **how)

    return compared


if backend.current() != "numpy":
    for name in ("assert_allclose", "assert_array_equal", "assert_equal"):
        setattr(numpy.testing, name, bring_home(getattr(numpy.testing, name)))


@pytest.fixture
def on_numpy():
    """For what is said of NumPy, whatever the other tests run on."""
    with backend.using("numpy"):
        yield


@pytest.fixture
def cupy(monkeypatch):
    """The stand-in for CuPy, and the backend switched to it; CuPy itself if there is a GPU."""
    before = backend.current()
    if before == "numpy":
        _forget_cupy(monkeypatch)
        monkeypatch.syspath_prepend(Path(__file__).parent / "standin")
    with backend.using("cupy"):
        yield importlib.import_module("cupy")
    if before == "numpy":
        _forget_cupy(monkeypatch)


def _forget_cupy(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "cupy"]:
        monkeypatch.delitem(sys.modules, name)


# ----- The site of the tutorials, which takes some seconds to build -----


@pytest.fixture(scope="session")
def build_site(tmp_path_factory):
    """Build a site once for all test processes: `build_site(name, pyodide)` gives its folder."""
    for package in ("jupyterlite_core", "jupyterlite_pyodide_kernel", "latex2mathml"):
        pytest.importorskip(package, reason="the site needs pip install -e '.[site]'")
    if backend.current() != "numpy":
        pytest.skip("a site is the same on any backend: it is built on NumPy")
    from tutorials import web

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def build(name, pyodide=None):
        lock = files.acquire(shared / f"{name}.lock", wait=True)
        try:
            return shared / name if (shared / name).exists() else web.build(shared / name, pyodide)
        finally:
            files.release(shared / f"{name}.lock", lock)

    return build


@pytest.fixture(scope="session")
def site(build_site):
    """A site that takes Pyodide from its CDN."""
    return build_site("site")


# ----- What is put back, and what is skipped -----


@pytest.fixture(autouse=True)
def _same_start():
    """Every test starts from the same random numbers, and ends on the backend it started on."""
    before = backend.current()
    backend.seed(0)
    yield
    if backend.current() != before:
        backend.use(before)


# What `python -m tests --quick` leaves out, beside chapters and trainings: whole files, and tests.
SLOW = {
    "test_arguments.py", "test_benchmarks.py", "test_distributed.py", "test_kill.py",
    "test_standin.py",
    "test_gradcheck_forgets_no_function_and_no_layer", "test_second_derivative",
    "test_every_check_accepts_its_solution_and_rejects_a_plausible_wrong_answer",
    "test_chain_of_100_000_operations_goes_backward",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """Run what takes longest first, and skip what needs PyTorch where it is not installed."""
    for item in items:
        if {item.path.name, getattr(item, "originalname", None)} & SLOW:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("tutorial") is None)
    if importlib.util.find_spec("torch") is None:
        for item in items:
            if item.get_closest_marker("torch"):
                item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))


# ----- "Hypothesis tried N examples in M property tests" -----
#
# Hypothesis calls the body of a property test once for each example, through an attribute made to
# be replaced (`test.hypothesis.inner_test`). So put a counting function there, and let the count
# travel with the test's report, which pytest-xdist brings from its workers to the main process.

tried: list[int] = []
chapters: list[tuple[str, float]] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Count the examples of a property test."""
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if handle is None:
        return (yield)
    body, count = handle.inner_test, 0

    @functools.wraps(body)
    def counted(*args, **kwargs):
        nonlocal count
        count += 1
        return body(*args, **kwargs)

    handle.inner_test = counted
    try:
        return (yield)
    finally:
        handle.inner_test = body
        item.user_properties.append(("hypothesis_examples", count))


def pytest_runtest_logreport(report):
    """Collect the counts, and the seconds of the chapters, in the main process."""
    if report.when == "call":
        tried.extend(n for key, n in report.user_properties if key == "hypothesis_examples")
        chapters.extend(pair for key, pair in report.user_properties if key == "chapter")


def pytest_terminal_summary(terminalreporter):
    """Print them, and why tests were skipped."""
    skipped = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    for reason, count in Counter(skipped).most_common():
        tests = "1 test" if count == 1 else f"{count} tests"
        terminalreporter.write_line(f"Skipped {tests}: {reason.removeprefix('Skipped: ')}")
    if chapters:
        times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in sorted(chapters))
        terminalreporter.write_line(f"Chapters executed: {times}")
    if tried:
        terminalreporter.write_line(
            f"Hypothesis tried {sum(tried):,} examples in {len(tried)} property tests"
        )
