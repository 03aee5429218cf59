"""When training goes wrong: what is said, and what is kept. And what it shows while it works."""

import contextlib
import io
import json
import re

import numpy as np
import pytest

from tinyfractal import FractalNet, Tensor, backend, ops, optim
from tinyfractal import progress as progress_module
from tinyfractal.data import load
from tinyfractal.errors import CheckpointError
from tinyfractal.nn import Flatten, Linear, Sequential
from tinyfractal.progress import Progress, clock
from tinyfractal.train import BEST, CHECKPOINT, HISTORY, fit, loop
from tinyfractal.train.checkpoint import load_checkpoint, save_checkpoint

DIGITS = load("digits")
TRAIN, TEST = DIGITS[0][:100], DIGITS[1][:30]


def linear():
    backend.seed(0)
    return Sequential(Flatten(), Linear(64, 10))


def run(model, folder=None, lr=0.1, epochs=2, optimizer=None, **options):
    """Train with few words."""
    optimizer = optimizer or optim.SGD(model.parameters(), lr)
    options = {"batch_size": 20, "folder": folder, "quiet": True, **options}
    schedule = optim.ConstantLR(optimizer, epochs)
    return fit(model, TRAIN, TEST, optimizer, schedule, epochs=epochs, **options)


def fractal(**changes):
    return FractalNet(**{"columns": 2, "channels": (2, 3), **changes})


# ----- Checkpoints that do not fit -----


def test_a_checkpoint_of_another_network_is_refused_by_name(tmp_path):
    run(fractal(), tmp_path, epochs=1)
    other = fractal(columns=1, classes=11)
    before = other.state_dict()
    with pytest.raises(CheckpointError) as caught:
        run(other, tmp_path, resume=True)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[0].startswith(f"{tmp_path / CHECKPOINT}: load_state_dict:")
    theirs = set(fractal().state_dict()) - set(before)
    assert sorted(lines[1:]) == sorted(
        [f"unexpected: {name}" for name in theirs]
        + [f"wrong shape: head.1.{name} is {shape}, the state has {(*shape[:-1], 10)}"
           for name, shape in (("weight", (3, 11)), ("bias", (11,)))]
    )  # fmt: skip
    assert all(np.array_equal(a, before[name]) for name, a in other.state_dict().items())


def test_a_checkpoint_of_another_optimizer_is_refused_by_name(tmp_path):
    run(linear(), tmp_path, epochs=1)
    model = linear()
    with pytest.raises(CheckpointError, match=r"Adam: .*missing \['mean\.0', .*'momentum\.1'\]"):
        run(model, tmp_path, resume=True, optimizer=optim.Adam(model.parameters()))


@pytest.mark.parametrize("name", ["schedule", "random", "history"])
def test_a_checkpoint_without_an_entry_is_refused_by_name(tmp_path, name):
    run(linear(), tmp_path, epochs=1)
    path = tmp_path / CHECKPOINT
    state = load_checkpoint(path)
    del state[name]
    save_checkpoint(path, **state)
    with pytest.raises(CheckpointError, match=f"has no entry '{name}'"):
        run(linear(), tmp_path, resume=True)


@pytest.mark.parametrize(
    "wrong", [{"random": 3}, {"random": {}}, {"schedule": "x"}, {"history": None}], ids=str
)
def test_a_checkpoint_with_nonsense_in_an_entry_is_refused(tmp_path, wrong):
    run(linear(), tmp_path, epochs=1)
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, **{**load_checkpoint(path), **wrong})
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        run(linear(), tmp_path, resume=True)


RECORD = {"epoch": 1, "train_loss": 1.0, "test_loss": 1.0, "test_accuracy": 0.5, "columns": []}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"history": []}, "history has 0 epochs, its schedule is after epoch 1"),
        ({"history": [RECORD, {**RECORD, "epoch": 2}]}, "history has 2 epochs, its schedule is"),
        ({"history": [{**RECORD, "epoch": 7}]}, "history does not count its epochs from 1 to 1"),
        ({"history": [{"epoch": 1}]}, "history has no number train_loss in epoch 1"),
        ({"history": ["x"]}, "history should be a list of records"),
        ({"model": {"1.weight": np.zeros((64, 10), int)}}, "model/1.weight should hold decimal"),
        ({"model": {"1.bias": np.zeros(10, bool)}}, "model/1.bias should hold decimal numbers"),
        ({"model": {"1.bias": np.full(10, 1e300)}}, "model/1.bias is too large for float32"),
        ({"optimizer": {"momentum.0": np.zeros((64, 10), np.int8)}}, "optimizer/momentum.0 should"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_a_checkpoint_with_an_entry_that_does_not_fit_is_refused_by_name(tmp_path, change, text):
    run(linear(), tmp_path, epochs=1)
    path = tmp_path / CHECKPOINT
    state = load_checkpoint(path)
    for name, value in change.items():
        state[name] = {**state[name], **value} if isinstance(value, dict) else value
    save_checkpoint(path, **state)
    model = linear()
    before = model.state_dict()
    with pytest.raises(CheckpointError) as caught:
        run(model, tmp_path, resume=True)
    assert str(caught.value).startswith(f"{path}: {text}")
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_epochs_that_are_done_cannot_be_asked_for_again(tmp_path):
    run(linear(), tmp_path, epochs=2)
    with pytest.raises(ValueError, match="epochs needs at least the 2 that are done, got 1"):
        run(linear(), tmp_path, epochs=1, resume=True)


def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path):
    run(linear(), tmp_path, epochs=1)
    path = tmp_path / CHECKPOINT
    damaged = path.read_bytes()[:-30]
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="not a complete tinyfractal checkpoint"):
        run(linear(), tmp_path, resume=True)
    assert path.read_bytes() == damaged


# ----- Numbers that are none -----


def poison_at(step, optimizer):
    """Let the step with that number turn the weights into NaN, as too large a step does."""
    real = optimizer.step

    def poisoned():
        real()
        if optimizer.steps == step:
            optimizer.parameters[0].data[...] = np.nan

    optimizer.step = poisoned
    return optimizer


@pytest.mark.parametrize("step", [7, 10])  # in the middle of the second epoch; at its very end
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path, step):
    model = linear()
    optimizer = poison_at(step, optim.SGD(model.parameters(), 0.1))
    with pytest.raises(FloatingPointError) as caught:
        run(model, tmp_path, epochs=5, optimizer=optimizer)
    text = str(caught.value)
    assert "nan" in text
    assert "in epoch 2/5" in text
    assert "smaller learning rate or clip" in text
    assert "detect_anomaly" in text
    state = load_checkpoint(tmp_path / CHECKPOINT)
    assert [record["epoch"] for record in state["history"]] == [1]
    assert all(np.isfinite(array).all() for array in state["model"].values())
    assert len((tmp_path / HISTORY).read_text().splitlines()) == 1


# ----- Options of the loop -----


@pytest.mark.parametrize(("clip", "longest"), [(None, None), (0.25, 0.25), (1e9, None)])
def test_clip_limits_the_length_of_the_gradient(clip, longest):
    model, lengths = linear(), []
    optimizer = optim.SGD(model.parameters(), 0.1)
    real = optimizer.step

    def step():
        squares = sum(float((p.grad.data**2).sum()) for p in optimizer.parameters)
        lengths.append(squares**0.5)
        real()

    optimizer.step = step
    run(model, optimizer=optimizer, clip=clip)
    assert len(lengths) == 10
    if longest is None:
        assert max(lengths) > 0.5
    else:
        assert lengths == pytest.approx([longest] * 10, rel=1e-5)


def test_label_smoothing_is_in_the_training_loss_only():
    plain, smooth = linear(), linear()
    (a,) = run(plain, epochs=1, lr=0.0)
    (b,) = run(smooth, epochs=1, lr=0.0, label_smoothing=0.3)
    logits = plain(Tensor(TRAIN.images))
    expected = float(ops.cross_entropy(logits, TRAIN.labels, 0.3).data)
    assert b["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert b["train_loss"] != pytest.approx(a["train_loss"], rel=1e-3)
    assert b["test_loss"] == a["test_loss"]


def test_gradients_are_forgotten_between_steps():
    """With learning rate 0 nothing changes, so each epoch must find the same gradients."""
    model = linear()
    run(model, lr=0.0, epochs=1, batch_size=100)
    first = [p.grad.numpy().copy() for p in model.parameters()]
    run(model, lr=0.0, epochs=3, batch_size=100)
    for before, p in zip(first, model.parameters()):
        assert p.grad.numpy() == pytest.approx(before, abs=1e-5)


# ----- Ctrl-C -----


def test_an_interrupt_in_the_middle_of_an_epoch_keeps_the_last_checkpoint(tmp_path):
    model = linear()
    optimizer = optim.SGD(model.parameters(), 0.1)
    real = optimizer.step

    def step():
        real()
        if optimizer.steps == 8:
            raise KeyboardInterrupt

    optimizer.step = step
    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path, epochs=3, optimizer=optimizer)
    state = load_checkpoint(tmp_path / CHECKPOINT)
    assert len(state["history"]) == 1
    assert state["optimizer"]["steps"] == 5
    assert sorted(file.name for file in tmp_path.iterdir()) == [BEST, CHECKPOINT, HISTORY]


# ----- What is shown -----


def test_quiet_prints_nothing(capfd):
    run(fractal(), epochs=1)
    assert capfd.readouterr() == ("", "")


def test_elsewhere_than_on_a_terminal_there_is_a_line_for_each_epoch(capfd, monkeypatch):
    # after 20 s in an epoch there would be one more
    monkeypatch.setattr(progress_module.Progress, "wants_news", lambda _: False)
    run(fractal(), quiet=False)
    out, err = capfd.readouterr()
    line = (
        r"epoch \d/2  loss \d\.\d{4}  train \d+\.\d %  test \d+\.\d %  columns \d+\.\d \d+\.\d  "
        r"[\d,]+ images/s  \d:\d\d left"
    )
    first, second = out.splitlines()
    assert re.fullmatch(line, first)
    assert re.fullmatch(line, second)
    assert (first[:9], second[:9]) == ("epoch 1/2", "epoch 2/2")
    assert err == ""


def test_a_long_epoch_says_where_it_is(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now)
    progress = Progress(images=1000, epochs=10, done=4)
    progress.begin(5)
    assert not progress.wants_news()
    progress.advance(250)
    assert capsys.readouterr().out == ""
    now += 25
    assert progress.wants_news()
    progress.advance(250, loss=0.5, accuracy=0.75)
    # 500 images in 25 s, and 5,500 to go
    expected = "epoch  5/10   50 %  loss 0.5000  accuracy 0.7500  20 images/s  4:35 left\n"
    assert capsys.readouterr().out == expected
    assert not progress.wants_news()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_moves_and_goes_away(monkeypatch):
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr(Progress, "wants_news", lambda self: True)
    run(linear(), quiet=False)
    shown = terminal.getvalue().split("\r")
    for epoch in ("epoch 1/2", "epoch 2/2"):
        assert any(part.startswith(f"{epoch} |") and "100 %" in part for part in shown)
        assert any(re.match(rf"{epoch} .*loss \d.*left", part) for part in shown)
        (line,) = (i for i, part in enumerate(shown) if part.startswith(f"{epoch}  loss"))
        assert shown[line - 1].strip() == ""  # the bar was wiped away before
    assert shown[-1].endswith("left\n")


def test_without_tqdm_a_terminal_gets_lines(capsys, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    run(linear(), epochs=1, quiet=False)
    assert terminal.getvalue() == ""
    assert "epoch 1/1" in capsys.readouterr().out


def test_the_bar_is_taken_away_when_training_fails(monkeypatch):
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(loop, "clip_grad_norm_", lambda *_: 1 / 0)
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(ZeroDivisionError):
        run(linear(), quiet=False, clip=1.0)
    assert terminal.getvalue().split("\r")[-1].strip() == ""


@pytest.mark.parametrize("stream", [None, object(), io.StringIO()], ids=["none", "odd", "closed"])
def test_without_streams_it_trains_all_the_same(monkeypatch, stream):
    if isinstance(stream, io.StringIO):
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("sys.stdout", None)
    assert len(run(linear(), quiet=False)) == 2


def test_a_stream_of_another_encoding_gets_the_line_all_the_same(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    Progress(1, 1).line("8×8 images")
    assert written.getvalue() == b"8?8 images\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.9, "0:59"), (65, "1:05"), (3599, "59:59"), (3600, "1h00"), (7650, "2h07")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_the_history_is_plain_json(tmp_path):
    run(fractal(), tmp_path, epochs=1)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    for line in (tmp_path / HISTORY).read_text().splitlines():
        json.loads(line, parse_constant=refuse)
