"""The `tutorials` command, and how exercises are judged."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinyfractal.cli import chapters, main

FOLDER = Path(__file__).resolve().parent.parent / "tutorials"


@pytest.fixture
def exercises(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("exercises")


# ----- The command -----


def test_without_a_folder_the_chapters_are_listed_in_order(capsys):
    assert main(["tutorials"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [int(line.split()[0]) for line in lines if re.match(r" ?\d", line)]
    assert listed == [int(path.name[:2]) for path in sorted(FOLDER.glob("[0-9][0-9]_*.py"))]


def test_copy_runs_by_itself_and_its_links_lead_somewhere(tmp_path, capsys):
    copy = tmp_path / "new" / "my tutorials"
    assert main(["tutorials", str(copy)]) == 0
    assert f"jupyter lab '{copy}'" in capsys.readouterr().out
    run = [sys.executable, "-m", "solutions.01_derivatives"]
    subprocess.run(run, cwd=copy, check=True, capture_output=True)
    assert not (copy / "web").exists()  # what builds the site is not for readers
    for page in [*copy.glob("*.md"), *copy.glob("*.ipynb"), *copy.glob("*.py")]:
        for target in re.findall(r"\]\(((?:source|\.\.)[^)\s#]*)", page.read_text("utf-8")):
            assert (copy / target).exists(), f"{page.name}: {target}"


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path, capsys):
    (tmp_path / "01_derivatives.ipynb").write_text("a reader's answers")
    assert main(["tutorials", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"tinyfractal: tutorials: {tmp_path} is there already; choose another folder\n"
    )
    assert [path.read_text() for path in tmp_path.iterdir()] == ["a reader's answers"]


@pytest.mark.parametrize("home", [FOLDER, FOLDER.parent / "tinyfractal"])
def test_copy_into_the_library_is_refused(home, capsys):
    assert main(["tutorials", str(home / "mine")]) == 1
    assert f"lies inside {home}" in capsys.readouterr().err
    assert not (home / "mine").exists()


def test_home_and_a_file_in_the_way(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path))
    assert chapters.copy_tutorials("~/mine") == tmp_path / "mine"
    (tmp_path / "file").write_text("mine")
    assert main(["tutorials", str(tmp_path / "file" / "copy")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"tinyfractal: {tmp_path / 'file'}")
    assert len(err.splitlines()) == 1


def test_copy_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(chapters.shutil, "copytree", fail)
    with pytest.raises(OSError, match="disk full"):
        chapters.copy_tutorials(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_missing_chapters_are_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(chapters, "PACKAGE", tmp_path / "package")
    with pytest.raises(chapters.DataError, match="install tinyfractal again"):
        chapters.list_chapters()


# ----- The judge -----


def stub(x): ...


class Stub:
    def method(self, x):
        """To be written."""
        ...


@pytest.mark.parametrize("answer", [..., stub, Stub])
def test_an_answer_not_filled_in_is_met_with_your_turn(answer, exercises, capsys):
    verdict = exercises.exercise(lambda given: "never called")(answer)
    assert not verdict
    assert capsys.readouterr().out.startswith("✗ Your turn")


def test_hint_error_and_praise_are_told_apart(exercises, capsys):
    @exercises.exercise
    def check_half(half):
        if half(4) != 2:
            raise exercises.NotYet("Try it on 4.")
        return "So it is."

    assert check_half(lambda x: x / 2)
    assert not check_half(lambda x: x)
    assert not check_half(lambda x: x / 0)
    assert capsys.readouterr().out.splitlines() == [
        "✓ Right. So it is.",
        "✗ Not yet. Try it on 4.",
        "✗ Not yet: it raised ZeroDivisionError: division by zero",
    ]


def test_an_answer_that_does_nothing_on_purpose_is_judged(exercises):
    assert exercises.exercise(lambda answer: None)(None)
    for answer in (lambda x: x, lambda x: 0.3, lambda x: ()):
        assert exercises.exercise(lambda answer: None)(answer)
