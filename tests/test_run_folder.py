"""The folder of a run: one training at a time, the best weights kept, more epochs, other places."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import cli, nn, optim, zoo
from tinyfractal.cli import main
from tinyfractal.data import Dataset, Standardize, load
from tinyfractal.errors import CheckpointError
from tinyfractal.files import write_atomically
from tinyfractal.recipe import Recipe
from tinyfractal.train import BEST, CHECKPOINT, HISTORY, evaluate, fit, predict
from tinyfractal.train.checkpoint import load_checkpoint, save_checkpoint
from tinyfractal.train.distributed import ProcessGroup
from tinyfractal.train.load import load_network
from tinyfractal.train.run import RunFolder, best_epoch

DIGITS = load("digits")
TRAIN, TEST = DIGITS[0][:100], DIGITS[1][:60]
TINY = ["train", "--columns", "1", "--channels", "2", "--drop-path", "0", "--quiet"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.train, "_draw_curves", lambda *_: None)


def linear():
    tf.seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def run(folder, epochs=3, net=None, train=TRAIN, rates=None, **options):
    """Train; `rates` are the learning rates of the epochs."""
    net = net or linear()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    schedule = optim.ConstantLR(optimizer, epochs)
    if rates is not None:
        schedule.factor = lambda epoch: rates[min(epoch, len(rates) - 1)]
        optimizer.lr = 0.1 * rates[0]
    options = {"quiet": True, "folder": folder, "batch_size": 20, **options}
    return net, fit(net, train, TEST, optimizer, schedule, **options)


# ----- The best weights -----

WORSE = [1.0, 1.0, -20.0]  # the third epoch climbs the loss and spoils what was learned


def test_best_npz_is_the_checkpoint_of_the_epoch_with_the_highest_accuracy():
    _, history = run("run", rates=WORSE)
    accuracies = [record["test_accuracy"] for record in history]
    best = int(np.argmax(accuracies))
    assert best < 2
    assert best_epoch(history) is history[best]
    net = linear()
    net.load_state_dict(load_checkpoint(f"run/{BEST}")["model"])
    assert evaluate(net, TEST).accuracy == accuracies[best]
    net.load_state_dict(load_checkpoint(f"run/{CHECKPOINT}")["model"])
    assert evaluate(net, TEST).accuracy == accuracies[2]


def test_a_validation_part_chooses_the_best_and_is_written_down():
    _, history = run("run", epochs=2, validation=DIGITS[1][60:90])
    state = load_checkpoint(f"run/{BEST}")
    by = max(history, key=lambda record: record["validation_accuracy"])
    assert state["history"][-1]["epoch"] == by["epoch"]
    net = linear()
    net.load_state_dict(state["model"])
    assert evaluate(net, DIGITS[1][60:90]).accuracy == by["validation_accuracy"]


def test_best_npz_is_made_up_for_where_a_run_was_killed_before_it_was_written():
    run("run", epochs=2)
    whole = {name: Path(f"run/{name}").read_bytes() for name in (BEST, CHECKPOINT)}
    history = load_checkpoint(f"run/{CHECKPOINT}")["history"]
    assert best_epoch(history) is history[1]
    Path(f"run/{BEST}").unlink()
    run("run", epochs=2, resume=True)
    assert Path(f"run/{BEST}").read_bytes() == whole[BEST] == whole[CHECKPOINT]


def test_a_run_goes_on_to_be_judged_as_it_was_begun():
    run("tested", epochs=1)
    run("validated", epochs=1, validation=DIGITS[1][60:90])
    with pytest.raises(CheckpointError, match=r"judged on the test images; go on as .*, without"):
        run("tested", epochs=2, validation=DIGITS[1][60:90], resume=True)
    with pytest.raises(CheckpointError, match=r"judged on the validation images; go on .*, with"):
        run("validated", epochs=2, resume=True)
    state = load_checkpoint(f"validated/{CHECKPOINT}")  # older versions looked at both
    state["history"][0] |= {"test_loss": 1.0, "test_accuracy": 0.5}
    save_checkpoint(f"validated/{CHECKPOINT}", **state)
    _, history = run("validated", epochs=2, validation=DIGITS[1][60:90], resume=True)
    assert all("validation_accuracy" in record for record in history)


# ----- One training at a time -----


def test_a_folder_belongs_to_one_training_at_a_time():
    holder = RunFolder(Path("run"), ProcessGroup())
    holder.open(resume=False)
    pattern = rf"run: another training writes there now \(process {os.getpid()} on .*\) holds|holds"
    with pytest.raises(CheckpointError, match=pattern):
        run("run")
    assert os.listdir("run") == [".lock"]
    holder.close()
    assert not Path("run").exists()  # it had made it, and wrote nothing
    run("run", epochs=1)
    assert ".lock" not in os.listdir("run")


@pytest.mark.skipif(os.name != "posix", reason="needs a process that can be killed")
def test_the_lock_of_a_process_that_was_killed_holds_nobody_up():
    code = (
        "import os; from pathlib import Path; from tinyfractal.train.run import RunFolder\n"
        "from tinyfractal.train.distributed import ProcessGroup\n"
        "RunFolder(Path('run'), ProcessGroup()).open(False); os.kill(os.getpid(), 9)"
    )
    root = str(Path(cli.__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root})
    assert done.returncode == -9
    assert os.listdir("run") == [".lock"]
    run("run", epochs=1)


def test_two_automatic_names_are_two_folders():
    recipe = Recipe()
    assert cli.train._make_folder(recipe) != cli.train._make_folder(recipe)


def test_what_a_killed_run_left_is_cleaned_up_and_nothing_else():
    Path("run").mkdir()
    ours = [".checkpoint.npz.123-0a1b2c3d.tmp", ".history.jsonl.7-00000000.tmp", ".best.npz.77"]
    theirs = ["notes.tmp", ".checkpoint.npz.bak", "checkpoint.npz.123-0a1b2c3d.tmp"]
    for name in (*ours, *theirs):
        Path("run", name).write_text("x")
    run("run", epochs=1)
    assert sorted(os.listdir("run")) == sorted([BEST, CHECKPOINT, HISTORY, *theirs])


def test_temporary_names_are_not_shared(monkeypatch):
    names = []
    monkeypatch.setattr(os, "replace", lambda a, b: names.append(Path(a).name))
    for _ in range(2):
        write_atomically(Path("file"), b"x")
    assert len(set(names)) == 2
    assert all(re.fullmatch(rf"\.file\.{os.getpid()}-[0-9a-f]{{8}}\.tmp", name) for name in names)


# ----- Where it is -----


def test_the_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", str(Path.cwd() / "home"))
    monkeypatch.setenv("USERPROFILE", str(Path.cwd() / "home"))
    run("~/run", epochs=1)
    assert Path("home/run", CHECKPOINT).exists()
    assert load_checkpoint(f"~/run/{CHECKPOINT}")["history"]
    assert not Path("~").exists()
    assert main([*TINY, "--epochs", "1", "--out", "~/other"]) == 0
    assert main(["train", "--resume", "~/other", "--epochs", "2", "--quiet"]) == 0
    assert len(Path("home/other", HISTORY).read_text().splitlines()) == 2


def test_a_file_in_the_way_is_named(capsys):
    Path("taken").write_text("mine")
    with pytest.raises(OSError, match=r"^taken: cannot be written .*there is a file where"):
        run("taken")
    assert main([*TINY, "--out", "taken"]) == 1
    assert "taken: cannot be written" in capsys.readouterr().err


# ----- Going on -----


def test_other_data_of_the_same_shape_are_refused():
    run("run", epochs=1)
    changed = Dataset(TRAIN.images, TRAIN.labels[::-1].copy(), TRAIN.classes, "digits")
    with pytest.raises(CheckpointError, match=r"run/checkpoint.npz: was trained on other images"):
        run("run", epochs=2, train=changed, resume=True)
    state = load_checkpoint(f"run/{CHECKPOINT}")
    del state["digest"]  # as an older version wrote it
    save_checkpoint(f"run/{CHECKPOINT}", **state)
    assert len(run("run", epochs=2, train=changed, resume=True)[1]) == 2


def test_more_epochs_go_on_by_the_longer_schedule(capsys):
    assert main([*TINY, "--epochs", "2", "--out", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "4"]) == 0
    out = capsys.readouterr().out
    assert "the cosine schedule now has 4 epochs, so the learning rate of epoch 3 is 0.05\n" in out
    history = [json.loads(line) for line in Path("run", HISTORY).read_text().splitlines()]
    rates = [0.1 * (1 + np.cos(np.pi * e / n)) / 2 for e, n in ((0, 2), (1, 2), (2, 4), (3, 4))]
    assert [record["lr"] for record in history] == pytest.approx(rates)
    assert load_checkpoint(f"run/{CHECKPOINT}")["recipe"]["epochs"] == 4
    assert main(["train", "--resume", "run"]) == 0
    out = capsys.readouterr().out
    assert "this run is finished; to train it for more epochs: python -m tinyfractal" in out
    assert "--resume run --epochs 8\n" in out
    assert main(["train", "--resume", "run", "--epochs", "3"]) == 1
    assert "run has 4 epochs already" in capsys.readouterr().err


def test_resume_with_data_that_moved(capsys):
    rng = np.random.default_rng(0)
    arrays = {"images": rng.integers(0, 255, (40, 4, 4), np.uint8), "labels": np.arange(40) % 2}
    np.savez("mine.npz", **arrays)
    assert main([*TINY, "--data", "mine.npz", "--epochs", "1", "--out", "run"]) == 0
    os.rename("mine.npz", "moved.npz")
    assert main(["train", "--resume", "run", "--data", "moved.npz", "--epochs", "2"]) == 0
    assert load_checkpoint(f"run/{CHECKPOINT}")["recipe"]["data"] == "moved.npz"
    arrays["labels"] = 1 - arrays["labels"]
    np.savez("other.npz", **arrays)
    assert main(["train", "--resume", "run", "--data", "other.npz", "--epochs", "3"]) == 1
    assert "was trained on other images or labels" in capsys.readouterr().err


def test_validation_on_the_command_line(capsys):
    assert main([*TINY, "--epochs", "1", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "digits: 1,293 training, 145 validation and 359 test images" in out
    assert f"{BEST} is epoch 1, chosen by its validation accuracy\n" in out
    (record,) = load_checkpoint(f"run/{BEST}")["history"]
    assert "validation_accuracy" in record
    assert "test_accuracy" not in record
    assert main(["evaluate", f"run/{BEST}"]) == 0
    assert main([*TINY, "--epochs", "1", "--out", "all", "--validation", "0"]) == 0
    out = capsys.readouterr().out
    assert "digits: 1,438 training and 359 test images" in out
    assert f"{BEST} is epoch 1, chosen by its test accuracy, so that number flatters it\n" in out
    assert "test_accuracy" in load_checkpoint(f"all/{BEST}")["history"][0]
    assert main(["train", "--resume", "all", "--epochs", "2", "--quiet"]) == 0  # as it was begun
    assert "test_accuracy" in load_checkpoint(f"all/{CHECKPOINT}")["history"][1]
    assert main(["train", "--resume", f"run/{BEST}"]) == 1
    assert "best.npz is for evaluate and predict" in capsys.readouterr().err
    assert main([*TINY, "--out", "other", "--validation", "0.0001"]) == 1
    assert "holds out none" in capsys.readouterr().err


def test_the_last_lines_can_be_typed(capsys):
    assert main([*TINY, "--epochs", "1", "--out", "my run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("try next:")
    assert lines[start - 1] == f"{BEST} is epoch 1, chosen by its validation accuracy"
    assert lines[start + 1 :] == [
        "python -m tinyfractal predict 'my run' test:7",
        "python -m tinyfractal evaluate 'my run'",
    ]


@pytest.mark.parametrize("folder", ["-dash", "it's\n\x1b[31mred \\ é"])
def test_folders_of_any_name_can_be_typed_and_shown(folder, capsys):
    assert main([*TINY, "--epochs", "1", f"--out=./{folder}"]) == 0
    *_, command = capsys.readouterr().out.splitlines()
    assert command.isprintable()
    words = subprocess.run(  # as the shell understands it
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    assert main(words[3:-1]) == 0


def test_a_picture_that_cannot_be_written_does_not_hide_the_training(capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "run/curves.png")

    monkeypatch.setattr(cli.train, "_draw_curves", full)
    assert main([*TINY, "--epochs", "1", "--out", "run"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "python -m tinyfractal evaluate run"
    assert err.startswith("tinyfractal: run/curves.png: No space left")


def test_a_very_large_network_is_asked_about(capsys, monkeypatch):
    assert main(["train", "--columns", "40", "--out", "run"]) == 1
    err = capsys.readouterr().err
    assert "2,199,023,255,550 convolutions" in err
    assert "or add --yes" in err
    monkeypatch.setattr(cli.train, "is_terminal", lambda _: True)
    monkeypatch.setattr("builtins.input", lambda question: print(question) or "n")
    assert main(["train", "--columns", "12", "--out", "run"]) == 1
    assert "Train it? [y/N]" in capsys.readouterr().out
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            [*TINY, "--out", "new\x1b one"],
            "nothing was written yet; start again with: python -m tinyfractal train --columns 1 "
            "--channels 2 --drop-path 0 --quiet --out $'new\\033 one'",
        ),
        (
            ["train", "--resume", "run", "--epochs", "7"],
            "go on with: python -m tinyfractal train --resume run --epochs 7",
        ),
    ],
)
def test_ctrl_c_while_the_data_are_read_says_how_to_go_on(arguments, text, capsys, monkeypatch):
    assert main([*TINY, "--epochs", "1", "--out", "run"]) == 0

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.datasets, "load", interrupted)
    assert main(arguments) == 130
    assert capsys.readouterr().err == f"tinyfractal: stopped; {text}\n"


# ----- Trained in Python, used on the command line -----

NETWORKS = {
    "fractal": lambda: tf.FractalNet(1, 10, 2, (4, 6), dropout=(0.1, 0.2), drop_path=0.3),
    "plain": lambda: zoo.PlainNet(channels=(4, 6), depth=3, dropout=0.1),
    "resnet": lambda: zoo.ResNet(channels=(4, 6), depth=5),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    "transform", [None, Standardize.fit(TRAIN.images)], ids=["bytes", "standard"]
)
def test_a_network_of_the_library_can_be_built_again_from_its_checkpoint(kind, transform, capsys):
    before = tf.backend.random_state()
    net, _ = run("run", epochs=1, net=NETWORKS[kind](), transform=transform)
    assert before != tf.backend.random_state()
    again, recipe = load_network("run")
    expected = predict(net, TEST.images, transform)
    np.testing.assert_array_equal(predict(again, TEST.images, recipe.transform()), expected)
    assert recipe.count_parameters() == net.count_parameters()
    assert main(["evaluate", "run"]) == 0
    assert main(["predict", "run", "test:7"]) == 0
    assert f"{100 * expected[7].max():.1f} %" in capsys.readouterr().out
    assert main(["train", "--resume", "run", "--epochs", "2"]) == 1
    assert "was trained by fit in Python, which alone knows how" in capsys.readouterr().err


def test_a_recipe_of_another_kind_is_refused_with_the_name_of_the_file():
    run("run", epochs=1, net=NETWORKS["plain"]())
    state = load_checkpoint(f"run/{CHECKPOINT}")
    for recipe, text in (([1], "values needs a dictionary"), ({"lr": -1}, "lr needs a number of")):
        save_checkpoint(f"run/{CHECKPOINT}", **{**state, "recipe": recipe})
        with pytest.raises(CheckpointError, match=rf"^run/checkpoint\.npz: .*{text}"):
            load_network("run")
    integers = {name: np.round(array).astype(int) for name, array in state["model"].items()}
    save_checkpoint(f"run/{CHECKPOINT}", **{**state, "model": integers})
    with pytest.raises(
        CheckpointError, match=r"run/checkpoint.npz: model/\S+ should hold decimal numbers"
    ):
        load_network("run")


@pytest.mark.parametrize(
    ("net", "transform", "reason"),
    [
        (linear, None, "its network is a Sequential"),
        (NETWORKS["plain"], lambda images: images * 2, "its transform is not a Standardize"),
    ],
)
def test_of_other_networks_is_said_what_is_missing(net, transform, reason, capsys):
    run("run", epochs=1, net=net(), transform=transform)
    assert main(["predict", "run", "test:7"]) == 1
    err = capsys.readouterr().err
    assert f"({reason}); train with fit(…, recipe=" in err
