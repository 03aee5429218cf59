"""What a reader keeps beside the project's files never makes the checks fail."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.__main__ import FAST, ROOT, checks

UNTIDY = "import os,sys\nx=1;y =2\ndef test_of_mine(): assert False\n"


def linted(folder):
    """The exit statuses of lint and format in a folder."""
    commands = [checks(quick=True, arguments=[])[name] for name in ("lint", "format")]
    return [
        subprocess.run(
            [sys.executable, "-m", *command, "--no-cache"], cwd=folder, capture_output=True
        ).returncode
        for command in commands
    ]


def test_lint_and_format_look_at_the_own_folders_only(tmp_path):
    pytest.importorskip("ruff")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tinyfractal").mkdir()
    (tmp_path / "tinyfractal" / "fine.py").write_text('"""Nothing is wrong here."""\n')
    for mine in ("mine.py", "tutorials of mine/01.py", "runs/tests/x.py", "copy/tinyfractal/x.py"):
        (tmp_path / mine).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / mine).write_text(UNTIDY)
    assert linted(tmp_path) == [0, 0]
    (tmp_path / "tinyfractal" / "untidy.py").write_text(UNTIDY)
    assert linted(tmp_path) == [1, 1]


def test_every_file_of_the_project_is_linted():
    pytest.importorskip("ruff")
    command = [sys.executable, "-m", "ruff", "check", "--show-files", "."]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {Path(line) for line in shown.stdout.splitlines()}
    ours = {path for part in ("tinyfractal", "tests") for path in (ROOT / part).rglob("*.py")}
    assert len(ours) > 100
    assert ours <= found


def test_pytest_and_mypy_look_at_the_own_folders_only():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert tools["pytest"]["ini_options"]["testpaths"] == ["tests"]
    assert tools["mypy"]["files"] == ["tinyfractal", "tests/typing_example.py"]


def test_the_quick_checks_are_some_of_all_checks():
    quick, full = checks(True, ["-k", "fractal"]), checks(False, ["-k", "fractal"])
    assert set(quick) <= set(full)
    assert quick["tests"] == [*full["tests"][:3], "-m", FAST, "-k", "fractal"]
