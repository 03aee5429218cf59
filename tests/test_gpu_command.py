"""`python -m tests.gpu`: what a part may take, what is left when one hangs or all is killed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from tinyfractal import backend
from tinyfractal.data import Dataset
from tinyfractal.data.cifar import CIFAR10_CLASSES
from tinyfractal.errors import DataError

from . import gpu
from .gpu import __main__ as command
from .gpu import chapters, pack, runner
from .gpu.runner import Part, Runner

pytestmark = pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs os.waitid")
real = backend.current() == "cupy" and not hasattr(sys.modules["cupy"], "is_standin")
QUICK = ("03_arrays", "04_engine", "06_convolution", "08_fractals", "18_gpu")
SAY = f"import os; pipe = int(os.environ['{runner.ROWS}']); say = lambda text: os.write(pipe, text)"


def python(code):
    """A command that runs it; `say` sends bytes to the runner."""
    return [sys.executable, "-c", f"{SAY}\n{textwrap.dedent(code)}"]


def results(folder):
    return json.loads((folder / "results.json").read_text())


def statuses(folder):
    return {name: part["status"] for name, part in results(folder)["parts"].items()}


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or ") Z " not in state.read_text()


def until(condition, seconds=20):
    """Wait for it."""
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "it never came"
        time.sleep(0.05)


# ----- The budget -----


def test_what_a_part_leaves_over_goes_to_those_after_it(tmp_path):
    parts = [Part(name, [], seconds) for name, seconds in (("a", 30), ("b", 10), ("c", 60))]
    all_of_them = Runner(parts, tmp_path, 100 + runner.RESERVE)
    assert [all_of_them.limit(i) for i in range(3)] == pytest.approx([30, 40, 100], abs=0.5)
    all_of_them.start -= 70  # a and b took 70 seconds together
    assert all_of_them.limit(2) == pytest.approx(30, abs=0.5)
    half = Runner(parts, tmp_path, 50 + runner.RESERVE)  # less than they are expected to take
    assert half.limit(0) == pytest.approx(15, abs=0.5)
    assert Runner(parts, tmp_path, None).limit(0) is None


def test_a_part_that_no_longer_fits_is_not_started(tmp_path):
    parts = [Part("a", python("pass"), 1), Part("b", python("pass"), 1, least=1e6)]
    assert Runner(parts, tmp_path, 600).run() == runner.CUT
    assert statuses(tmp_path) == {"a": "done", "b": "not started"}


# ----- Parts -----


def test_rows_failures_and_exit_status(tmp_path, capsys):
    code = {
        "good": """say(b'{"row": {"x": 1}}\\n{"row": {"x": 2}}\\n'); print('hello')""",
        "bad": """say(b'{"error": "why"}\\n'); raise SystemExit(5)""",
        "skipped": """say(b'{"skipped": "no data"}\\n')""",
    }
    parts = [Part(name, python(text), 1) for name, text in code.items()]
    assert Runner(parts, tmp_path, None).run() == runner.FAILED
    found = results(tmp_path)
    assert found["finished"] is True
    assert found["parts"]["good"]["rows"] == [{"x": 1}, {"x": 2}]
    assert statuses(tmp_path) == {"good": "done", "bad": "failed", "skipped": "skipped"}
    log = (tmp_path / "log.txt").read_text()
    assert "hello" in log
    assert capsys.readouterr().out == log
    assert Runner(parts[::2], tmp_path, None).run() == runner.WELL


def test_a_part_that_hangs_is_killed_with_its_children_and_the_next_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "GRACE", 0.3)
    hanging = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c",
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)"])
        say(b'{"row": {"child": %d, "self": %d}}\\n{"row": {"ha' % (child.pid, os.getpid()))
        time.sleep(99)
    """
    parts = [Part("hangs", python(hanging), 3, 1), Part("next", python("print('I ran')"), 3, 1)]
    start = time.monotonic()
    assert Runner(parts, tmp_path, 6 + runner.RESERVE).run() == runner.CUT
    assert time.monotonic() - start < 20
    assert statuses(tmp_path) == {"hangs": "cut", "next": "done"}
    (row,) = results(tmp_path)["parts"]["hangs"]["rows"]  # the half line is left out
    until(lambda: not (is_alive(row["child"]) or is_alive(row["self"])))
    assert "I ran" in (tmp_path / "log.txt").read_text()


def test_what_a_part_leaves_running_ends_with_it(tmp_path):
    leaves = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
        say(b'{"row": {"child": %d}}\\n' % child.pid)
    """
    assert Runner([Part("a", python(leaves), 1)], tmp_path, None).run() == runner.WELL
    (row,) = results(tmp_path)["parts"]["a"]["rows"]
    until(lambda: not is_alive(row["child"]))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_when_all_is_killed_what_was_measured_is_there(how, tmp_path):
    """The parent in a process of its own; its second part reports a row, then takes for ever."""
    slow = """
        import time
        from tests.gpu import report
        report.end_with_parent()
        report.row(pid=os.getpid())
        print("measured", flush=True)
        time.sleep(99)
    """
    code = f"""
        from pathlib import Path
        from tests.gpu.runner import Part, Runner
        first, slow, last = {python("print(1)")!r}, {python(slow)!r}, {python("print(3)")!r}
        parts = [Part("first", first, 30), Part("slow", slow, 60), Part("last", last, 9)]
        raise SystemExit(Runner(parts, Path({str(tmp_path)!r}), 99).run())
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=gpu.ROOT, stdout=subprocess.DEVNULL
    )
    until(lambda: (tmp_path / "results.json").exists()
          and results(tmp_path)["parts"]["slow"]["rows"])  # fmt: skip
    parent.send_signal(how)
    status = parent.wait(20)
    asked = how == signal.SIGTERM
    assert status == (runner.CUT if asked else -how)
    found = statuses(tmp_path)
    expected = {"first": "done", "slow": "cut" if asked else "running", "last": "not started"}
    assert found == expected
    assert results(tmp_path)["finished"] is False
    (row,) = results(tmp_path)["parts"]["slow"]["rows"]
    until(lambda: not is_alive(row["pid"]))  # nobody goes on measuring
    assert "measured" in (tmp_path / "log.txt").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", "results.json"}


# ----- The command -----


def test_it_says_in_one_line_that_there_is_no_gpu(tmp_path, monkeypatch, capsys):
    (tmp_path / "cupy.py").write_text("raise ModuleNotFoundError('no', name='cupy')")
    paths = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{gpu.ROOT}", "TINYFRACTAL_BACKEND": "numpy"}
    monkeypatch.setattr(command, "environment", lambda *_: {**os.environ, **paths})
    assert command.main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tests.gpu: backend: CuPy is not installed. ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "first,last"], "--only takes first, digits"),
        (["--budget", "5"], "at least 30 seconds"),
        (["--cifar", "nowhere.npz"], "nowhere.npz: there is no such file"),
    ],
)
def test_wrong_options_are_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        command.parse(arguments)
    assert complaint in capsys.readouterr().err


def test_results_of_an_earlier_run_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(SystemExit):
        command.parse(["--out", str(tmp_path)])
    assert "earlier run" in capsys.readouterr().err


def test_options_reach_the_parts(tmp_path):
    args = command.parse(
        ["--device", "cupy:1", "--only", "suite,cifar", "--minutes", "2", "--", "-k", "conv"]
    )
    assert [part.name for part in command.parts(args)] == ["suite", "cifar"]
    options = json.loads(command.parts(args)[0].command[-1])
    assert (options["device"], options["minutes"]) == ("cupy:1", 2)
    assert options["pytest"] == ["-k", "conv"]


@pytest.mark.slow
@pytest.mark.skipif(backend.current() != "numpy", reason="part of such a run already")
def test_it_runs_in_small_with_at_most_eight_files(tmp_path, capsys):
    out = tmp_path / "out"
    wanted = "first,digits,cub,cifar"
    options = ["--standin", "--only", wanted, "--out", str(out), "--budget", "500"]
    assert command.main([*options, "--", "-k", "broadcast or scalar"]) == 0, capsys.readouterr()
    found = results(out)
    assert statuses(out) == dict.fromkeys(wanted.split(","), "done")
    assert found["parts"]["first"]["facts"]["device"].startswith("stand-in")
    assert [row["network"] for row in found["parts"]["first"]["rows"]] == ["digits", "paper"]
    assert all(row["same_decisions"] for row in found["parts"]["digits"]["rows"])
    assert found["parts"]["cub"]["tests"]["passed"] > 0
    assert found["parts"]["cub"]["running"] == []
    parts = [row["part"] for row in found["parts"]["cifar"]["rows"] if "part" in row]
    assert parts == ["whole network", "column 0", "column 1", "column 2"]
    assert len(list(out.iterdir())) <= 8


@pytest.mark.slow
def test_a_failed_test_is_written_down_when_it_fails(tmp_path):
    (tmp_path / "test_two.py").write_text(
        "import pathlib\n"
        "def test_fails():\n    assert 1 == 2, 'one is not two'\n"
        "def test_sees_it():\n"
        f"    assert 'one is not two' in pathlib.Path({str(tmp_path)!r}, 'failures').read_text()\n"
    )
    env = gpu.environment(False, "numpy") | {command.FAILURES: str(tmp_path / "failures")}
    arguments = ["-p", "tests.gpu.follow", "-n", "0", "-p", "no:cacheprovider", "test_two.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=tmp_path, env=env, capture_output=True
    )
    assert b"1 failed, 1 passed" in done.stdout
    assert (tmp_path / "failures").read_text().startswith("===== test_two.py::test_fails\n")


# ----- CIFAR-10 -----


def some_images(n):
    """Noise, a smooth picture, black and white: what differences could get wrong."""
    rng = np.random.default_rng(n)
    images = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
    images[::4] = np.arange(32, dtype=np.uint8)[:, None, None] * 7
    images[1::4] = 255 * (images[1::4] > 127)
    return Dataset(images, np.arange(n) % 10, tuple(CIFAR10_CLASSES.split()), "cifar10")


def test_packed_images_come_back_as_they_were(tmp_path):
    train, test = some_images(40), some_images(20)
    assert (pack.images_of(pack.residuals(train.images)) == train.images).all()
    path = tmp_path / "small.npz"
    path.write_bytes(pack.packed(train, test, "noise"))
    *parts, source = pack.load_packed(path)
    assert source == "noise"
    for before, after in zip((train, test), parts):
        assert (before.images == after.images).all()
        assert (before.labels == after.labels).all()
    np.savez(path, shape=np.array([1, 32, 32, 3]), images=np.ones(99, np.uint8))
    with pytest.raises(DataError, match="cut short or damaged"):
        pack.load_packed(path)


def test_as_many_of_each_class_are_chosen():
    labels = np.array([0, 0, 0, 1, 1, 0, 1, 1])
    assert pack.choose(labels, 4).tolist() == [0, 1, 3, 4]


# ----- The tutorials -----


@pytest.mark.tutorial
@pytest.mark.skipif(real, reason="there is a real GPU")
@pytest.mark.parametrize("name", QUICK)
def test_code_of_a_chapter_runs_on_the_stand_in(name, tmp_path):
    pytest.importorskip("matplotlib")
    chapters.run_chapter(name, True, tmp_path)  # all of them: python -m tests.gpu --standin
