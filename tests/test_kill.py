"""A real process that is killed in the middle of an epoch, and another that goes on from there."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinyfractal.train.checkpoint import load_checkpoint
from tinyfractal.train.run import best_epoch

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not hasattr(signal, "SIGKILL"), reason="signals are those of POSIX"
)
EPOCHS = 6
TRAIN = ["train", "--epochs", str(EPOCHS), "--columns", "2", "--channels", "4,8",
         "--dropout", "0.1", "--mirror"]  # fmt: skip


def start(*arguments, folder):
    """`python -m tinyfractal …` in a folder, with Ctrl-C as in a terminal."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "tinyfractal", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # one that a shell started in the background would ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process):
    """(exit status, stdout, stderr)."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, out, err


def send_in_an_epoch(process, sent, history, epoch):
    """Send a signal a little after that epoch was written down."""
    deadline = time.monotonic() + 60
    while not history.exists() or len(history.read_text().splitlines()) < epoch:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run is too slow"
        time.sleep(0.002)
    time.sleep(0.02)
    process.send_signal(sent)


def final(folder):
    """Weights, momentum and history at the end of a run, without the times."""
    state = load_checkpoint(folder / "checkpoint.npz")
    history = [{k: v for k, v in r.items() if k != "seconds"} for r in state["history"]]
    arrays = {**state["model"], **state["optimizer"]}
    return {name: array.tobytes() for name, array in arrays.items()}, history, state["random"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    code, _, err = finish(start(*TRAIN, "--out", "run", folder=folder))
    assert (code, err) == (0, "")
    return final(folder / "run")


def test_a_killed_run_ends_as_if_it_had_never_been_killed(tmp_path, uninterrupted):
    run = tmp_path / "run"
    for epoch, arguments in ((1, [*TRAIN, "--out", "run"]), (3, ["train", "--resume", "run"])):
        process = start(*arguments, folder=tmp_path)
        send_in_an_epoch(process, signal.SIGKILL, run / "history.jsonl", epoch)
        assert finish(process)[0] == -signal.SIGKILL
        done = len(load_checkpoint(run / "checkpoint.npz")["history"])
        assert epoch - 1 <= done < EPOCHS  # killed on the way, and what is there is whole
    code, out, err = finish(start("train", "--resume", "run", folder=tmp_path))
    assert (code, err) == (0, "")
    best = load_checkpoint(run / "best.npz")["history"]
    assert (
        best[-1]["epoch"] == best_epoch(load_checkpoint(run / "checkpoint.npz")["history"])["epoch"]
    )
    assert sorted(os.listdir(run))[:2] == ["best.npz", "checkpoint.npz"]  # and nothing hidden
    assert f"epoch {EPOCHS}/{EPOCHS}" in out
    assert "epoch 1/" not in out
    weights, history, random = final(run)
    assert weights == uninterrupted[0]
    assert history == uninterrupted[1]
    assert random == uninterrupted[2]
    assert any(np.frombuffer(array, np.uint8).any() for array in weights.values())


def test_sigterm_ends_as_ctrl_c_does(tmp_path, uninterrupted):
    process = start(*TRAIN, "--out", "run", folder=tmp_path)
    send_in_an_epoch(process, signal.SIGTERM, tmp_path / "run" / "history.jsonl", 2)
    code, _, err = finish(process)
    assert code == 143
    command = "python -m tinyfractal train --resume run"
    assert err == f"tinyfractal: stopped; go on with: {command}\n"
    assert ".lock" not in os.listdir(tmp_path / "run")
    assert finish(start("train", "--resume", "run", folder=tmp_path))[0] == 0
    assert final(tmp_path / "run") == uninterrupted


def test_of_several_trainings_into_one_folder_one_is_done_and_the_others_say_why(
    tmp_path, uninterrupted
):
    processes = [start(*TRAIN, "--out", "run", folder=tmp_path) for _ in range(3)]
    ends = sorted((code, err) for code, _, err in map(finish, processes))
    assert [code for code, _ in ends] == [0, 1, 1]
    for _, err in ends[1:]:
        assert re.search(
            "another training writes there now|already holds a run|is there already", err
        )
        assert len(err.splitlines()) == 1
    assert final(tmp_path / "run") == uninterrupted


def test_ctrl_c_ends_in_one_line_with_the_command_that_goes_on(tmp_path, uninterrupted):
    process = start(*TRAIN, "--out", "my run", folder=tmp_path)
    send_in_an_epoch(process, signal.SIGINT, tmp_path / "my run" / "history.jsonl", 2)
    code, _, err = finish(process)
    assert code == 130
    command = "python -m tinyfractal train --resume 'my run'"
    assert err == f"tinyfractal: stopped; go on with: {command}\n"
    code, _, err = finish(start("train", "--resume", "my run", folder=tmp_path))
    assert (code, err) == (0, "")
    assert final(tmp_path / "my run") == uninterrupted
