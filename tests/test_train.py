"""Training learns, is measured rightly, can be repeated, and goes on as if it had never stopped."""

import json
import math

import numpy as np
import pytest

from tinyfractal import FractalNet, Tensor, backend, no_grad
from tinyfractal.data import Dataset, load
from tinyfractal.errors import DataError
from tinyfractal.nn import BatchNorm2d, Dropout, GlobalAvgPool, Linear, Sequential
from tinyfractal.recipe import SCHEDULES, Recipe
from tinyfractal.train import (
    BEST,
    CHECKPOINT,
    HISTORY,
    columns_of,
    evaluate,
    fit,
    predict,
    update_bn,
)
from tinyfractal.train.checkpoint import load_checkpoint

DIGITS = load("digits")
TRAIN, TEST = DIGITS[0][:200], DIGITS[1][:60]
KEYS = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "columns",
        "seconds"]  # fmt: skip
SMALL = {"columns": 2, "channels": (4, 6), "epochs": 4, "batch_size": 40, "lr": 0.05}


class Stop(BaseException):
    """Ends a run at a place of the test's choosing, as Ctrl-C would."""


class Run:
    """Model, optimizer, schedule and history of one call of `fit`."""

    def __init__(self, folder=None, stop_after=None, resume=False, settings=None, **changes):
        self.recipe = Recipe(**{**SMALL, **changes}).for_data(TRAIN)
        self.model = self.recipe.build_model()
        self.optimizer = self.recipe.build_optimizer(self.model)
        self.schedule = self.recipe.build_schedule(self.optimizer)
        if stop_after is not None:  # in the middle of the epoch after
            self.stop_in(epoch=stop_after, step=2)
        fitting = {"quiet": True, "resume": resume, "folder": folder, **(settings or {})}
        try:
            self.history = fit(
                self.model, TRAIN, TEST, self.optimizer, self.schedule,
                epochs=self.recipe.epochs, batch_size=self.recipe.batch_size,
                transform=self.recipe.transform(), augment=self.recipe.augment(),
                seed=self.recipe.seed, clip=self.recipe.clip,
                label_smoothing=self.recipe.label_smoothing, recipe=self.recipe.as_dict(),
                **fitting,
            )  # fmt: skip
        except Stop:
            self.history = None

    def stop_in(self, epoch, step):
        real, steps = self.optimizer.step, 0

        def step_and_stop():
            nonlocal steps
            real()
            steps += 1
            if steps == epoch * 5 + step:  # 200 images in batches of 40
                raise Stop

        self.optimizer.step = step_and_stop

    def state(self):
        """Everything that must not differ, as bytes."""
        arrays = {**self.model.state_dict(), **self.optimizer.state_dict()}
        return {name: (np.asarray(a).dtype, np.asarray(a).tobytes()) for name, a in arrays.items()}

    def records(self):
        return [{k: v for k, v in record.items() if k != "seconds"} for record in self.history]


@pytest.fixture(scope="module")
def four_epochs():
    return Run()


# ----- It learns, and says so -----


def test_a_small_fractal_net_learns_the_digits():
    history = Run(
        epochs=12, channels=(8, 16), lr=0.1, shift=0, drop_path=0.0, label_smoothing=0.0
    ).history
    assert history[0]["train_loss"] > 1.5
    assert history[-1]["train_loss"] < 0.3
    assert history[-1]["test_accuracy"] > 0.85


def test_the_history_has_the_documented_keys(four_epochs):
    history = four_epochs.history
    assert [list(record) for record in history] == [KEYS] * 4
    assert [record["epoch"] for record in history] == [1, 2, 3, 4]
    assert [len(record["columns"]) for record in history] == [2] * 4
    assert [record["lr"] for record in history] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    )
    for record in history:
        assert all(0 <= a <= 1 for a in (record["test_accuracy"], *record["columns"]))
        assert 0 < record["seconds"] < 60


def test_with_validation_images_the_test_images_are_not_looked_at():
    held_out = DIGITS[1][60:90]
    run = Run(settings={"validation": held_out})
    keys = [key.replace("test", "validation") for key in KEYS]
    assert [list(record) for record in run.history] == [keys] * 4
    last, transform = run.history[-1], run.recipe.transform()
    found = evaluate(run.model, held_out, transform)
    assert (last["validation_loss"], last["validation_accuracy"]) == (found.loss, found.accuracy)
    columns = [evaluate(column, held_out, transform).accuracy for column in columns_of(run.model)]
    assert last["columns"] == columns


def test_a_network_without_columns_has_none_in_its_history():
    (record,) = Run(model="plain", epochs=1).history
    assert record["columns"] == []


def test_history_jsonl_and_the_checkpoint_hold_the_history(tmp_path):
    run = Run(tmp_path, epochs=2)
    lines = (tmp_path / HISTORY).read_text().splitlines()
    assert [json.loads(line) for line in lines] == run.history
    state = load_checkpoint(tmp_path / CHECKPOINT)
    assert state["history"] == run.history
    assert Recipe.from_dict(state["recipe"]) == run.recipe
    assert sorted(file.name for file in tmp_path.iterdir()) == [BEST, CHECKPOINT, HISTORY]


def test_the_last_record_is_what_evaluate_measures(four_epochs):
    record, transform = four_epochs.history[-1], four_epochs.recipe.transform()
    result = evaluate(four_epochs.model, TEST, transform)
    assert (result.loss, result.accuracy) == (record["test_loss"], record["test_accuracy"])
    for c, accuracy in enumerate(record["columns"]):
        assert evaluate(four_epochs.model.column(c), TEST, transform).accuracy == accuracy


def test_weights_and_memories_stay_float32(four_epochs):
    arrays = [*four_epochs.model.state_dict().values()]
    arrays += [a for memory in four_epochs.optimizer.memory.values() for a in memory]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    gradients = [p.grad for p in four_epochs.model.parameters() if p.grad is not None]
    assert gradients
    assert {gradient.dtype for gradient in gradients} == {np.dtype(np.float32)}


def test_every_option_leaves_float32_alone():
    run = Run(epochs=1, optimizer="adamw", dropout=0.2, per_sample=True, clip=0.1,
              label_smoothing=0.1, mirror=True)  # fmt: skip
    arrays = [*run.model.state_dict().values(), *run.optimizer.memory["square"]]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


# ----- evaluate and predict -----


def test_evaluate_agrees_with_a_loop_by_hand(four_epochs):
    model, transform = four_epochs.model.eval(), four_epochs.recipe.transform()
    losses, right = [], 0
    for image, label in zip(TEST.images, TEST.labels):
        with no_grad():
            z = model(Tensor(transform(image[None]))).numpy()[0].astype(np.float64)
        losses.append(np.log(np.exp(z - z.max()).sum()) - (z[label] - z.max()))
        right += int(z.argmax() == label)
    for size in (1, 7, 250):
        result = evaluate(model, TEST, transform, batch_size=size)
        assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)
        assert result.accuracy == right / len(TEST)


def test_evaluate_and_predict_leave_everything_as_it_was(four_epochs):
    model, transform = four_epochs.model, four_epochs.recipe.transform()
    model.train()
    model.blocks[0].eval()  # a part may be in another mode than the whole
    modes = [module.training for _, module in model.named_modules()]
    before, random = four_epochs.state(), backend.random_state()
    evaluate(model, TEST, transform)
    evaluate(model.column(1), TEST, transform)
    predict(model, TEST.images, transform)
    assert [module.training for _, module in model.named_modules()] == modes
    assert four_epochs.state() == before
    assert backend.random_state() == random


def test_testing_a_column_leaves_a_network_in_inference():
    """Its layers are the network's own, so in training they would change its statistics."""
    net = FractalNet(columns=2, channels=(4,)).eval()
    evaluate(net.column(0), TEST)
    before = net.state_dict()
    net(Tensor(TEST.images))
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items())


def test_the_mode_is_put_back_after_an_error():
    net = FractalNet(columns=1, channels=(4, 4, 4, 4))  # the digits are too small for it
    with pytest.raises(ValueError, match="16×16"):
        evaluate(net, TEST)
    assert all(module.training for _, module in net.named_modules())


def test_predict_gives_probabilities(four_epochs):
    model, transform = four_epochs.model, four_epochs.recipe.transform()
    p = predict(model, TEST.images, transform)
    assert p.shape == (60, 10)
    assert (p >= 0).all()
    assert p.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-6)
    accuracy = (p.argmax(axis=1) == TEST.labels).mean()
    assert accuracy == pytest.approx(evaluate(model, TEST, transform).accuracy)


def test_predict_survives_logits_of_any_size():
    model = Sequential(Linear(2, 3))
    model[0].weight.data[...] = 1e30
    with np.errstate(over="raise", invalid="raise"):
        p = predict(model, np.ones((4, 2), np.float32))
    assert p == pytest.approx(np.full((4, 3), 1 / 3))


def test_bytes_mean_the_same_to_predict_and_evaluate():
    data = Dataset((TEST.images * 255).astype(np.uint8), TEST.labels, TEST.classes, "bytes")
    net = FractalNet(columns=1, channels=(4,))
    p = predict(net, data.images)
    assert p == pytest.approx(predict(net, data.images / np.float32(255)))
    loss = -np.log(p[np.arange(60), data.labels]).mean()
    assert evaluate(net, data).loss == pytest.approx(loss, rel=1e-5)


# ----- The same again -----


def test_the_same_seed_gives_the_same_weights(four_epochs):
    again = Run()
    assert again.state() == four_epochs.state()
    assert again.records() == four_epochs.records()


def test_another_seed_gives_other_weights(four_epochs):
    assert Run(seed=1).state() != four_epochs.state()


def test_preparing_batches_in_a_thread_changes_nothing(four_epochs):
    assert Run(settings={"prefetch": 3}).state() == four_epochs.state()


EVERYTHING = {"dropout": 0.2, "mirror": True, "clip": 1.0, "label_smoothing": 0.1}
VARIANTS = [
    *({"schedule": schedule} for schedule in SCHEDULES),
    {"optimizer": "adamw", "lr": 0.01, "per_sample": True, **EVERYTHING},
    {"optimizer": "adam", "lr": 0.01, "settings": {"prefetch": 2}, **EVERYTHING},
    {"model": "resnet", "dropout": 0.3},
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(map(str, o)))
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, options):
    whole = Run(**options)
    assert Run(tmp_path, stop_after=2, **options).history is None
    backend.seed(99)  # the new process knows nothing of the old one
    resumed = Run(tmp_path, resume=True, **options)
    assert resumed.state() == whole.state()
    assert resumed.records() == whole.records()
    assert resumed.schedule.state_dict() == whole.schedule.state_dict()


def test_a_run_that_was_stopped_in_its_first_epoch_goes_on_too(tmp_path, four_epochs):
    Run(tmp_path, stop_after=0)
    assert load_checkpoint(tmp_path / CHECKPOINT)["history"] == []
    assert (tmp_path / HISTORY).read_text() == ""
    assert Run(tmp_path, resume=True).state() == four_epochs.state()


def test_a_run_can_be_stopped_again_and_again(tmp_path, four_epochs):
    Run(tmp_path, stop_after=1)
    Run(tmp_path, stop_after=0, resume=True)
    Run(tmp_path, stop_after=2, resume=True)
    assert Run(tmp_path, resume=True).state() == four_epochs.state()


def test_resuming_a_complete_run_changes_nothing(tmp_path, four_epochs):
    first = Run(tmp_path)
    files = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    again = Run(tmp_path, resume=True)
    assert again.state() == first.state() == four_epochs.state()
    assert again.history == first.history
    assert files == {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in tmp_path.iterdir()}


def test_resuming_where_nothing_was_begun_begins(tmp_path, four_epochs):
    assert Run(tmp_path, resume=True).state() == four_epochs.state()


def test_a_crash_between_the_two_files_is_made_up_for(tmp_path, monkeypatch):
    def crash(*_args, **_facts):
        raise Stop

    Run(tmp_path, stop_after=3)
    with monkeypatch.context() as patch:
        patch.setattr("tinyfractal.train.run.save_checkpoint", crash)
        Run(tmp_path, resume=True)
    assert len(load_checkpoint(tmp_path / CHECKPOINT)["history"]) == 3
    history = Run(tmp_path, resume=True).history
    lines = (tmp_path / HISTORY).read_text().splitlines()
    assert [json.loads(line) for line in lines] == history
    assert len(history) == 4


# ----- Batch norm's statistics, estimated again -----


def test_update_bn_is_the_weighted_mean_over_the_batches():
    norm = BatchNorm2d(1)
    norm.momentum = 0.3
    net = Sequential(Dropout(0.9), norm, GlobalAvgPool(), Linear(1, 10))
    update_bn(net, TRAIN, batch_size=80)  # batches of 80, 80 and 40
    x = TRAIN.images
    parts = [x[:80], x[80:160], x[160:]]
    means, variances = [part.mean() for part in parts], [part.var(ddof=1) for part in parts]
    assert norm.running_mean.numpy()[0] == pytest.approx(x.mean(), rel=1e-5)
    assert means[0] != pytest.approx(x.mean(), rel=1e-3)
    expected = np.average(variances, weights=[80, 80, 40])
    assert norm.running_var.numpy()[0] == pytest.approx(expected, rel=1e-5)
    assert norm.momentum == 0.3
    assert all(module.training for _, module in net.named_modules())


def test_update_bn_drops_nothing_and_leaves_weights_modes_and_chance_alone():
    net = Run(drop_path=0.5, dropout=0.5).model.eval()
    before, chance = net.state_dict(), backend.random_state()
    update_bn(net, TRAIN)
    once = net.state_dict()
    update_bn(net, TRAIN)
    again = net.state_dict()
    assert backend.random_state() == chance
    assert not any(module.training for _, module in net.named_modules())
    for name, array in before.items():
        assert np.array_equal(array, once[name]) == ("running" not in name)
        np.testing.assert_allclose(once[name], again[name], rtol=1e-5)


def test_update_bn_puts_everything_back_after_an_error():
    net = Sequential(norm := BatchNorm2d(1), Linear(3, 10))
    with pytest.raises(ValueError, match="linear: x has 1 features"):
        update_bn(net, TRAIN)
    assert (norm.momentum, norm.training) == (0.1, True)
    with pytest.raises(DataError, match=r"update_bn: data \(digits\) has no images"):
        update_bn(net, TRAIN[:0])


@pytest.mark.torch
def test_update_bn_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    net = Sequential(BatchNorm2d(1), GlobalAvgPool(), Linear(1, 10))
    update_bn(net, TRAIN, batch_size=50)
    twin = torch.nn.Sequential(torch.nn.BatchNorm2d(1))
    images = torch.tensor(TRAIN.images.transpose(0, 3, 1, 2))
    torch.optim.swa_utils.update_bn(images.split(50), twin)
    for name in ("running_mean", "running_var"):
        ours = dict(net.named_buffers())[f"0.{name}"].numpy()
        np.testing.assert_allclose(ours, getattr(twin[0], name).numpy(), rtol=1e-5)
