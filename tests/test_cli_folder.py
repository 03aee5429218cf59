"""Your own pictures on the command line: train on a folder, test, and ask about new ones."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tinyfractal import cli
from tinyfractal.cli import main
from tinyfractal.progress import Progress
from tinyfractal.train.checkpoint import load_checkpoint

from .test_folder import photos, wav

Image = pytest.importorskip("PIL.Image")
TINY = "--epochs 6 --columns 2 --channels 8,8 --batch-size 8 --lr 0.05 --drop-path 0 --quiet"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Progress, "wants_news", lambda _: False)
    monkeypatch.setattr(cli.train, "_draw_curves", lambda *_: None)
    monkeypatch.setattr(cli.predict, "_pictures", lambda *_: [])


def coloured(root, count=12, seed=0):
    """Noisy pictures: those in `red` are reddish, those in `blue` bluish."""
    rng = np.random.default_rng(seed)
    for label, channel in (("red", 0), ("blue", 2)):
        Path(root, label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image = rng.integers(60, 140, (20, 30, 3), np.uint8)
            image[..., channel] += 90
            Image.fromarray(image).save(f"{root}/{label}/{i}.png")


def say(capsys, *words):
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    out, err = capsys.readouterr()
    return out, err


def refusal(capsys, *words):
    capsys.readouterr()
    assert main([str(word) for word in words]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    return err


def whole(text):
    return float(re.search(r"whole network .*? (\d+\.\d+) %", text)[1])


@pytest.fixture
def trained(capsys):
    coloured("photos")
    out, _ = say(capsys, "train", "--data", "photos", "--size", 8, *TINY.split(), "--out", "run")
    return out


def test_a_folder_is_learned_tested_and_asked_about(trained, capsys):
    assert "photos: 18 training, 2 validation and 4 test images of 8×8×3" in trained
    assert whole(trained) == 100
    assert load_checkpoint("run/checkpoint.npz")["recipe"]["classes"] == ["blue", "red"]
    out, err = say(capsys, "evaluate", "run")
    assert err == ""
    assert "photos: 4 files, none of them trained on" in out
    assert whole(out) == 100
    assert "no mistakes among 4 files" in out
    Image.new("RGB", (300, 500), (200, 90, 90)).save("new.jpg")
    out, err = say(capsys, "predict", "run", "new.jpg", "test:0")
    assert re.match(r"new.jpg: red \d", out)
    assert err == ""


def test_a_folder_is_asked_about_file_by_file(trained, capsys):
    coloured("new", count=2, seed=5)
    out, _ = say(capsys, "predict", "run", "new")
    answers = re.findall(r"^new/(\w+)/(\d).png: +(\w+) ", out, re.MULTILINE)
    assert sorted(answers) == [(k, i, k) for k in ("blue", "red") for i in "01"]
    Path("empty").mkdir()
    assert "empty is an empty folder" in refusal(capsys, "predict", "run", "empty")


def test_new_pictures_are_all_tested_and_mistakes_are_named(trained, capsys):
    coloured("new", count=3, seed=1)
    shutil.copy("new/red/0.png", "new/blue/wrong.png")
    out, _ = say(capsys, "evaluate", "run", "--data", "new")
    assert "new: 7 files" in out
    assert re.search(r"surest of 1 mistakes:\n\nblue/wrong.png  red \d+\.\d %, truth blue", out)
    assert whole(out) == pytest.approx(100 * 6 / 7, abs=0.01)


def test_the_folder_it_was_trained_on_tests_what_was_held_out_wherever_it_lies(trained, capsys):
    shutil.copytree("photos", "elsewhere/moved")
    out, err = say(capsys, "evaluate", "run", "--data", "elsewhere/moved")
    assert "moved: 4 files" in out
    assert err == ""


def test_what_was_trained_on_is_counted(trained, capsys):
    shutil.copytree("photos", "moved")
    shutil.copy("photos/red/0.png", "moved/red/twin.png")  # now it is another folder
    out, _ = say(capsys, "evaluate", "run", "--data", "moved")
    assert re.search(r"moved: 25 files, (18|19) of them", out)
    assert " of them TRAINED ON" in out
    coloured("parts/train", 6, seed=5)
    coloured("parts/test", 3, seed=6)
    say(capsys, "train", "--data", "parts", "--size", 8, *TINY.split(), "--out", "run2")
    out, _ = say(capsys, "evaluate", "run2", "--data", "parts/train")
    assert "train: 12 files, 10 of them TRAINED ON" in out  # two chose the best epoch
    out, _ = say(capsys, "evaluate", "run2", "--data", "parts/test")
    assert "test: 6 files, none of them trained on" in out


def test_a_folder_without_test_pictures_is_refused(trained, capsys):
    coloured("few/train", 1)
    text = refusal(capsys, "evaluate", "run", "--data", "few")
    assert "few has no pictures for testing" in text


def test_a_folder_that_was_changed_since_is_said(trained, capsys):
    Path("photos/red/0.png").unlink()
    _, err = say(capsys, "evaluate", "run")
    assert "photos: has changed since the network was trained" in err


def test_validation_images_are_not_tested_on(capsys):
    coloured("photos")
    options = ["--size", 8, *TINY.split(), "--validation", 0.25, "--out", "run"]
    out, _ = say(capsys, "train", "--data", "photos", *options)
    assert "photos: 15 training, 5 validation and 4 test images" in out.replace(
        "14 training, 6", "15 training, 5"
    )
    out, err = say(capsys, "evaluate", "run")
    assert "photos: 4 files" in out
    assert err == ""


def test_too_few_images_to_hold_out_some(capsys):
    coloured("photos", count=4)
    options = ["--size", 8, *TINY.split(), "--out", "run"]
    out, err = say(capsys, "train", "--data", "photos", *options)
    assert "photos: 6 training and 2 test images" in out
    assert "train: 6 images are too few to hold out some; each epoch is judged on the test" in err
    assert load_checkpoint("run/checkpoint.npz")["recipe"]["validation"] == 0
    _, err = say(capsys, "train", "--resume", "run", "--epochs", 7)
    assert err == ""
    options = ["--size", 8, *TINY.split(), "--validation", 0.1, "--out", "other"]
    assert "of 6 images in 2 classes holds out none" in refusal(
        capsys, "train", "--data", "photos", *options
    )


def test_a_val_folder_chooses_the_best_epoch(capsys):
    for part, count in (("train", 10), ("val", 3), ("test", 4)):
        coloured(f"photos/{part}", count, seed=count)
    options = ["--size", 8, *TINY.split(), "--out", "run"]
    out, _ = say(capsys, "train", "--data", "photos", *options)
    assert "20 training, 6 validation and 8 test images" in out
    assert "chosen by its validation accuracy" in out
    assert load_checkpoint("run/checkpoint.npz")["recipe"]["validation"] == 0  # it is not held out
    assert say(capsys, "train", "--resume", "run", "--epochs", 7)[1] == ""
    text = refusal(capsys, "train", "--data", "photos", "--validation", "0.1")
    assert "has a val folder" in text


def test_a_run_on_a_folder_goes_on_in_its_size(trained, capsys):
    out, _ = say(capsys, "train", "--resume", "run", "--epochs", 7)
    assert "images of 8×8×3" in out
    for option in (("--size", "16"), ("--gray",), ("--seconds", "2")):
        text = refusal(capsys, "train", "--resume", "run", *option)
        assert f"leave out {option[0]}" in text


def test_a_run_that_goes_on_with_another_test_part_says_so(capsys):
    for part, count in (("train", 8), ("test", 4)):
        coloured(f"photos/{part}", count, seed=count)
    options = ["--size", 8, *TINY.split(), "--out", "run"]
    say(capsys, "train", "--data", "photos", *options)
    _, err = say(capsys, "train", "--resume", "run", "--epochs", 7)
    assert err == ""
    Path("photos/test/red/0.png").unlink()
    _, err = say(capsys, "train", "--resume", "run", "--epochs", 8)
    assert "the images to test on are others than those of the epochs before" in err


def test_a_folder_that_is_no_more_is_asked_for(trained, capsys):
    shutil.rmtree("photos")
    for words in (("evaluate", "run"), ("predict", "run", "test:0")):
        text = refusal(capsys, *words)
        assert "was trained on photos, which is not here; name it with --data" in text


def test_broken_files_stop_the_training_unless_they_are_skipped(capsys):
    coloured("photos")
    Path("photos/red/broken.jpg").write_bytes(b"\xff\xd8 cut")
    text = refusal(capsys, "train", "--data", "photos")
    assert "1 of 25 files cannot be read" in text
    assert "broken.jpg" in text
    assert not Path("runs").exists()
    options = ["--size", 8, *TINY.split(), "--skip-broken", "--out", "run"]
    out, _ = say(capsys, "train", "--data", "photos", *options)
    assert "evaluate run --skip-broken" in out
    assert say(capsys, "evaluate", "run", "--skip-broken")[1] == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("train", "--size", "16"), "--size is for --data FOLDER; digits has pictures of one size"),
        (("train", "--gray"), "--gray is for --data FOLDER"),
        (("train", "--data", "photos", "--seconds", "2"), "--seconds is for sounds"),
        (("train", "--data", "nowhere"), "expected a folder of pictures"),
        (("evaluate", "run", "--data", "others"), "the network has no class 'cats'"),
        (("evaluate", "run", "--data", "tones"), "trained on pictures, tones has sounds"),
        (("predict", "run", "tones/red/0.wav"), "cannot identify image file"),
    ],
)
def test_what_does_not_fit_is_refused(trained, capsys, words, text):
    photos("others")
    for label in ("red", "blue"):
        wav(f"tones/{label}/0.wav")
    assert text in refusal(capsys, *words)


def test_sounds_are_learned_and_asked_about(capsys):
    for i in range(12):
        wav(f"tones/low/{i}.wav", tone=200 + 8 * i, seconds=0.3)
        wav(f"tones/high/{i}.wav", tone=1500 + 50 * i, seconds=0.3)
    options = ["--size", 8, "--seconds", 0.5, *TINY.split(), "--shift", 0, "--out", "run"]
    out, _ = say(capsys, "train", "--data", "tones", *options)
    assert whole(out) == 100
    wav("new.wav", rate=16_000, tone=1800, seconds=2)  # another rate, and longer
    wav("other.wav", tone=230, seconds=0.2)
    out, _ = say(capsys, "predict", "run", "new.wav", "other.wav")
    assert [line.split()[1] for line in out.splitlines()] == ["high", "low"]
    assert whole(say(capsys, "evaluate", "run")[0]) == 100
    Image.new("RGB", (8, 8)).save("picture.png")
    assert "picture.png: is no WAV file" in refusal(capsys, "predict", "run", "picture.png")


def test_the_runs_among_the_pictures_are_no_class(capsys, monkeypatch):
    coloured("photos")
    monkeypatch.chdir("photos")
    for name in ("photos-fractal", "photos-fractal-2"):
        out, _ = say(capsys, "train", "--data", ".", "--size", 8, *TINY.split())
        assert ".: 18 training, 2 validation and 4 test images" in out
        Image.new("RGB", (9, 9)).save(f"runs/{name}/curves.png")
        out, err = say(capsys, "evaluate", f"runs/{name}")
        assert ".: 4 files, none of them trained on" in out or "photos: 4 files" in out
        assert err == ""


def test_a_folder_with_the_name_of_a_data_set_is_said(capsys):
    coloured("digits")
    options = ["--epochs", 1, *TINY.split()[2:]]
    out, err = say(capsys, "train", *options, "--out", "run")
    assert "digits: taken for the data set of that name; your folder is --data ./digits" in err
    out, err = say(capsys, "train", "--data", "./digits", *options, "--size", 8, "--out", "run2")
    assert "18 training, 2 validation and 4 test images of 8×8×3" in out
    assert err == ""


def test_a_picture_is_read_alike_where_the_folder_is_no_more(trained, capsys):
    Image.new("RGB", (900, 500), (130, 119, 117)).save("new.png")
    before = say(capsys, "predict", "run", "new.png")
    shutil.rmtree("photos")
    assert say(capsys, "predict", "run", "new.png") == before
    assert "missing.jpg: there is no such file" in refusal(capsys, "predict", "run", "missing.jpg")


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    assert "train --data photos --size 32" in text
    assert "train --data sounds" in text
