"""Whatever goes wrong on the command line ends in one line on stderr and a status that is not 0."""

import errno
import importlib.util
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from tinyfractal import cli
from tinyfractal.backend import cuda
from tinyfractal.cli import main
from tinyfractal.data import Dataset, load
from tinyfractal.train import CHECKPOINT
from tinyfractal.train.checkpoint import load_checkpoint, save_checkpoint

TINY = ["train", "--epochs", "1", "--columns", "1", "--channels", "2", "--drop-path", "0"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.train, "_draw_curves", lambda *_: None)


@pytest.fixture
def trained(capsys):
    """A finished run in the folder "run"."""
    assert main([*TINY, "--out", "run", "--quiet"]) == 0
    capsys.readouterr()
    return Path("run")


def complaint(capsys, *arguments, status=1):
    """The one line on stderr, without the name of the program."""
    capsys.readouterr()
    try:
        code = main([str(a) for a in arguments])
    except SystemExit as error:  # how argparse leaves
        code = error.code
    _, err = capsys.readouterr()
    assert code == status
    assert err.startswith("tinyfractal")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    return err.strip().partition(": ")[2]


# ----- Options -----


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", "COMMAND"),
        ("nosuch", "invalid choice: 'nosuch'"),
        ("train --nosuch 3", "unrecognized arguments: --nosuch 3"),
        ("train extra", "unrecognized arguments: extra"),
        ("train --epochs", "argument --epochs: expected one argument"),
        ("train --epochs x", "argument --epochs: expected a whole number of at least 1, got 'x'"),
        ("train --epochs 0", "argument --epochs: expected a whole number of at least 1, got '0'"),
        ("train --epochs 1.5", "--epochs: expected a whole number of at least 1, got '1.5'"),
        ("train --columns 0", "--columns: expected a whole number of at least 1, got '0'"),
        ("train --columns 0 --model plain", "--columns: expected a whole number of at least 1"),
        ("train --batch-size -3", "--batch-size: expected a whole number of at least 1, got '-3'"),
        ("train --channels a,b", "--channels: expected a whole number of at least 1, got 'a'"),
        ("train --channels 4,", "--channels: expected a whole number of at least 1, got ''"),
        ("train --channels 4,0", "--channels: expected a whole number of at least 1, got '0'"),
        ("train --lr -1", "argument --lr: expected a number of at least 0, got '-1'"),
        ("train --lr nan", "argument --lr: expected a number of at least 0, got 'nan'"),
        ("train --lr inf", "argument --lr: expected a number of at least 0, got 'inf'"),
        ("train --lr fast", "argument --lr: expected a number of at least 0, got 'fast'"),
        ("train --weight-decay -1", "--weight-decay: expected a number of at least 0, got '-1'"),
        ("train --clip -1", "argument --clip: expected a number of at least 0, got '-1'"),
        ("train --drop-path 2", "--drop-path: expected a number from 0 to 1, got '2'"),
        ("train --dropout 1.1", "--dropout: expected a number from 0 to 1, got '1.1'"),
        ("train --global-ratio -1", "--global-ratio: expected a number from 0 to 1, got '-1'"),
        ("train --label-smoothing 2", "--label-smoothing: expected a number from 0 to 1, got '2'"),
        ("train --momentum 5", "--momentum: expected a number from 0 to 1, got '5'"),
        ("train --seed -1", "argument --seed: expected a whole number of at least 0, got '-1'"),
        ("train --shift -1", "argument --shift: expected a whole number of at least 0, got '-1'"),
        ("train --prefetch -1", "--prefetch: expected a whole number of at least 0, got '-1'"),
        ("train --blocks 17", "--blocks: expected a whole number from 1 to 16 (each halves the"),
        ("train --out=", "argument --out: expected the name of a file or folder, got ''"),
        ("train --model vgg", "argument --model: invalid choice: 'vgg'"),
        ("evaluate", "CHECKPOINT"),
        ("predict run", "IMAGE"),
        ("draw tree", "invalid choice: 'tree'"),
        ("draw --columns 0", "expected a whole number from 1 to 8 (a block has 2^columns - 1"),
        ("draw --columns 30", "more than a picture can show), got '30'"),
        ("draw --out=", "argument --out: expected the name of a file or folder, got ''"),
        ("profile --columns 30", "from 1 to 12 (a block has 2^columns - 1 convolutions), got '30'"),
        ("draw --drop-path all", "--drop-path: expected none, local or a column, got 'all'"),
        ("draw --drop-path -1", "--drop-path: expected none, local or a column, got '-1'"),
    ],
)
def test_an_option_that_is_wrong(capsys, arguments, text):
    line = complaint(capsys, *arguments.split(), status=2)
    assert text in line
    known = ("train", "evaluate", "predict", "draw", "profile")
    command = arguments.split()[0] if arguments.startswith(known) else ""
    if "unrecognized" not in line:
        assert line.endswith(f"(see {f'tinyfractal {command}'.strip()} --help)")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            "train --data nosuch",
            "data set 'nosuch': expected a folder of pictures, a path that ends in .npz or one of",
        ),
        ("train --data none.npz", "none.npz: there is no such file"),
        ("train --data mnist", "data.download('mnist')"),
        ("train --dropout 1", "FractalNet: dropout needs a number from 0 to below 1 or a list"),
        ("train --channels 2,2,2,2", "so it must be at least 16×16; got (1, 8, 8, 1)"),
        ("train --model plain --channels 2,2,2,2", "max_pool2d"),
        ("train --shift 8 --out run", "pixels needs fewer than a side of the image, 8 x 8, got 8"),
        (
            "train --validation 0.9999",
            "--validation 0.9999 of 1438 images in 10 classes leaves none",
        ),
        ("train --resume none", "none/checkpoint.npz: there is no such checkpoint"),
        ("evaluate none", "none: there is no such checkpoint"),
        ("predict none test:1", "none: there is no such checkpoint"),
        ("draw --out a.jpeg", "draw: --out a.jpeg should end in .svg or .png (both are made)"),
        ("draw --columns 1 --drop-path local", "nothing to drop in one column; take --columns 2"),
        ("draw network --channels 1,1,1,1,1,1,1", "32×32 images cannot be halved by 7 blocks"),
        ("profile --image 100000x100000x3", "profile: a step would take about 2,588,160 GB"),
        ("profile --batch-size 1000000000", "smaller images or a smaller batch"),
        ("profile --columns 12 --channels 9999", "take fewer columns or channels"),
        ("tutorials .", "tutorials: . is there already; choose another folder"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(capsys, arguments, text):
    assert text in complaint(capsys, *arguments.split())
    assert list(Path().iterdir()) == []


def test_no_cupy(capsys, monkeypatch):
    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("CuPy is installed")
    monkeypatch.setattr(cuda, "_driver", lambda: 0)  # one may be there without CuPy
    line = complaint(capsys, *TINY, "--backend", "cupy")
    assert line.startswith("backend: CuPy is not installed.")
    assert "tinyfractal[gpu12]" in line


def test_debug_shows_where(capsys):
    with pytest.raises(ValueError, match="nosuch"):
        main(["train", "--data", "nosuch", "--debug"])


# ----- Runs that are there, and runs that are not -----


def test_a_run_is_not_overwritten(capsys, trained):
    before = (trained / CHECKPOINT).read_bytes()
    line = complaint(capsys, *TINY, "--out", trained)
    assert line == (
        "train: run already holds a run; go on with --resume run, or choose another --out"
    )
    assert (trained / CHECKPOINT).read_bytes() == before


def test_resume_takes_no_other_options(capsys, trained):
    line = complaint(capsys, "train", "--resume", trained, "--lr", 1, "--batch-size", 3)
    assert line.endswith("leave out --lr, --batch-size")
    assert complaint(capsys, "train", "--resume", trained, "--out", "x").endswith("leave out --out")


def test_resume_when_the_data_are_no_longer_the_same(capsys):
    def write(size):
        rng = np.random.default_rng(0)
        images = rng.random((20, size, size, 1), np.float32)
        np.savez("mine.npz", images=images, labels=np.arange(20) % 2)

    write(4)
    assert main([*TINY, "--data", "mine.npz", "--out", "run"]) == 0
    write(6)
    line = complaint(capsys, "train", "--resume", "run")
    assert line == "train: mine.npz is no longer the data of run"
    assert "images of (4, 4, 1) in 2 classes, digits has (8, 8, 1) in 10" in complaint(
        capsys, "evaluate", "run", "--data", "digits"
    )


@pytest.mark.parametrize("command", [("evaluate", "run"), ("train", "--resume", "run")])
def test_a_damaged_checkpoint(capsys, trained, command):
    file = trained / CHECKPOINT
    file.write_bytes(file.read_bytes()[:-100])
    line = complaint(capsys, *command)
    assert line.startswith(f"{file}: this is not a complete tinyfractal checkpoint")


@pytest.mark.parametrize("command", [("evaluate", "run"), ("train", "--resume", "run")])
def test_a_checkpoint_without_a_recipe(capsys, trained, command):
    state = load_checkpoint(trained / CHECKPOINT)
    save_checkpoint(trained / CHECKPOINT, **{**state, "recipe": {}})
    line = complaint(capsys, *command)
    assert line.startswith(
        f"{trained / CHECKPOINT}: no recipe in it, so the network cannot be built again (fit was"
    )
    assert "recipe=Recipe(…).as_dict()" in line


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"nosuch": 1}, "recipe: unknown entries nosuch; was it written by a newer version?"),
        ({"model": "vgg"}, 'recipe: model needs "fractal", "plain" or "resnet", got \'vgg\''),
        ({"columns": "many"}, "recipe: columns needs a whole number from 1 to 60, got 'many'"),
        ({"clip": "x"}, "recipe: clip needs a number of at least 0 or None, got 'x'"),
        ({"channels": [1]}, "load_state_dict: the state does not fit this FractalNet: wrong"),
        (
            {"channels": 7},
            "recipe: channels needs a list, each a whole number of at least 1, got 7",
        ),
        ({"standardize": {}}, "Standardize.from_dict: numbers need 'mean', got {}"),
        ({"standardize": 3}, "recipe: standardize needs a dictionary or None, got 3"),
        ({"lr": "nan"}, "recipe: lr needs a number of at least 0, got 'nan'"),
        ({"shape": [8, 8]}, "recipe: standardize has 1 channels"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_checkpoint_with_a_recipe_of_something_else(capsys, trained, change, text):
    state = load_checkpoint(trained / CHECKPOINT)
    state["recipe"] |= change
    save_checkpoint(trained / CHECKPOINT, **state)
    assert text in complaint(capsys, "evaluate", trained)


@pytest.mark.filterwarnings("error")
def test_a_loss_that_is_no_number_is_one_line_without_warnings(capsys):
    line = complaint(capsys, *TINY, "--lr", "1e30", "--out", "run")
    assert line.startswith("fit: the loss became nan in training")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_in_which_one_may_not_write(capsys):
    Path("locked").mkdir(mode=0o500)
    assert "Permission denied" in complaint(capsys, *TINY, "--out", "locked/run")


def test_a_file_where_the_folder_should_be(capsys):
    Path("taken").write_text("mine")
    assert "taken" in complaint(capsys, *TINY, "--out", "taken")
    assert Path("taken").read_text() == "mine"


# ----- Pictures -----


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("none.png", "no such file"),
        ("text.png", "cannot identify image file"),
        ("cut.png", ""),
        ("test:359", "test:N takes N from 0 to 358, got 'test:359'"),
        ("test:-1", "test:N takes N from 0 to 358, got 'test:-1'"),
        ("test:", "test:N takes N from 0 to 358, got 'test:'"),
        ("test:²", "test:N takes N from 0 to 358, got 'test:²'"),
    ],
)
def test_an_image_that_cannot_be_read(capsys, trained, name, text):
    image = pytest.importorskip("PIL.Image")
    Path("text.png").write_text("hello")
    image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8)).save("cut.png")
    Path("cut.png").write_bytes(Path("cut.png").read_bytes()[:2000])
    line = complaint(capsys, "predict", trained, name)
    assert text in line
    assert name in line
    assert line.startswith("predict: ")


def test_every_image_beside_a_bad_one_is_answered(capsys, trained):
    assert main(["predict", str(trained), "test:0", "none.png", "test:999", "test:1"]) == 1
    out, err = capsys.readouterr()
    assert re.match(r"test:0: .*\ntest:1: .*\n$", out)
    assert len(err.splitlines()) == 2


def test_draw_in_a_folder_that_is_not_there(capsys):
    pytest.importorskip("matplotlib")
    assert "no folder no" in complaint(capsys, "draw", "--out", "no/such.svg")


def test_draw_a_column_that_is_not_there(capsys):
    assert "column must be 0 to 2, got 7" in complaint(capsys, "draw", "--drop-path", 7)


def test_ctrl_c_outside_of_training_is_one_line(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.look, "article_example", interrupted)
    assert complaint(capsys, "recurse", status=130) == "stopped"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError(), "ValueError"),
        (MemoryError(), "not enough memory; take a smaller network, or fewer images at once"),
        (KeyError("x"), "KeyError: 'x' (a fault of the program; --debug shows where)"),
        (OSError(errno.ENOSPC, "No space left on device", "run/checkpoint.npz"),
         "run/checkpoint.npz: No space left on device; make room, or write to another place"),
        (PermissionError(errno.EACCES, "Permission denied", "data"),
         "data: Permission denied; choose another place, or change who may use this one"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"data"),
         "data: Is a directory; name a file in it"),
        (OSError("no answer"), "no answer"),
        (ValueError("a.npz: class '\x1b[31mred\r\x07' is\n  wrong"),
         "a.npz: class '�[31mred; �' is; wrong"),
    ],
)  # fmt: skip
def test_every_error_is_one_line_that_can_be_shown(capsys, monkeypatch, error, text):
    def fail():
        raise error

    monkeypatch.setattr(cli.look, "article_example", fail)
    assert complaint(capsys, "recurse") == text


def test_an_option_with_an_escape_code_is_cleaned(capsys):
    assert "\x1b" not in complaint(capsys, "draw", "\x1b[31mtree", status=2)


def test_a_warning_is_one_line(capsys, monkeypatch):
    def warn():
        warnings.warn("photo.png: 4000×3000 pixels became 8×8", stacklevel=1)
        return ""

    monkeypatch.setattr(cli.look, "article_example", warn)
    assert main(["recurse"]) == 0
    assert capsys.readouterr().err == "tinyfractal: photo.png: 4000×3000 pixels became 8×8\n"


@pytest.mark.parametrize("command", [("evaluate",), ("predict", "test:0")])
def test_test_images_of_other_classes_are_refused(capsys, trained, monkeypatch, command):
    def of_garments(*_):
        train, test = load("digits")
        names = ("shirt", "shoe", *train.classes[2:])
        return tuple(Dataset(part.images, part.labels, names, "fashion") for part in (train, test))

    state = load_checkpoint(trained / CHECKPOINT)
    recipe = {**state["recipe"], "classes": ["shirt", "bag", *"23456789"]}
    save_checkpoint("run.npz", **{**state, "recipe": recipe})
    monkeypatch.setattr(cli.datasets, "load", of_garments)
    assert complaint(capsys, command[0], "run.npz", *command[1:]) == (
        f"{command[0]}: the checkpoint was trained on other classes than fashion has, such as "
        "'bag' in the place of 'shoe'"
    )


def test_home_may_be_written_in_every_path(capsys, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path))
    assert main(["predict", "~/run", "test:0"]) == 0
    pytest.importorskip("matplotlib")
    assert main(["draw", "--columns", "1", "--out=~/one.svg"]) == 0
    assert Path("one.svg").exists()
    assert main(["evaluate", f"~/run/{CHECKPOINT}", "--out=~/pictures"]) == 0
    assert Path("pictures/confusion.png").exists()
    assert not Path("~").exists()
