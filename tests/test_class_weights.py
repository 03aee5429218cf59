"""Weights of classes in the loss of a training: the formula, and what is refused."""

import numpy as np
import pytest

from tinyfractal import backend, cli, nn, optim
from tinyfractal.data import Dataset, load
from tinyfractal.errors import CheckpointError, DataError
from tinyfractal.recipe import Recipe
from tinyfractal.train import CHECKPOINT, fit, predict
from tinyfractal.train.checkpoint import load_checkpoint

from .ranks import Wide
from .test_distributed import finish, mpi, on_the_host, start_ranks

DIGITS = load("digits")


def rare(count, seed=0):
    """Two classes of images of two numbers that overlap; one in ten is of the second."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 10 == 0).astype(int)
    images = rng.normal(size=(count, 1, 2, 1)) + 1.5 * labels[:, None, None, None]
    return Dataset(images.astype(np.float32), labels, ("often", "seldom"), "rare")


TRAIN, TEST = rare(100), rare(400, seed=1)


def linear(wide=True):
    """Softmax regression, in float64 where formulas shall agree to many digits."""
    backend.seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    return Wide(net.astype(np.float64)) if wide else net


def run(net, lr=0.1, epochs=1, **options):
    optimizer = optim.SGD(net.parameters(), lr)
    options = {"batch_size": 30, "quiet": True, **options}
    return fit(net, TRAIN, TEST, optimizer, optim.ConstantLR(optimizer, epochs), **options)


def weighted(net, weights):
    """Σ w L / Σ w over the training images, and its gradient by the weight of the layer."""
    x = TRAIN.images.reshape(len(TRAIN), -1).astype(np.float64)
    p, w = predict(net, TRAIN.images), np.array(weights)[TRAIN.labels]
    loss = -np.log(p[np.arange(len(p)), TRAIN.labels])
    return (w * loss).sum() / w.sum(), x.T @ (w[:, None] * (p - np.eye(2)[TRAIN.labels])) / w.sum()


def weights_after(**options):
    net = linear()
    run(net, epochs=3, **options)
    return net.net[1].weight.numpy()


# ----- The formula -----


@pytest.mark.parametrize("weights", [(1, 9), (0.5, 0), (3, 3)])
def test_the_loss_of_an_epoch_is_the_weighted_mean_over_its_images(weights):
    net = linear()
    (record,) = run(net, lr=0.0, class_weights=weights)  # batches of 30, 30, 30 and 10
    assert record["train_loss"] == pytest.approx(weighted(net, weights)[0], rel=1e-12)


def test_a_step_goes_down_the_gradient_of_that_mean():
    net = linear()
    before, (_, gradient) = net.net[1].weight.numpy().copy(), weighted(net, (1, 9))
    run(net, lr=0.1, batch_size=100, class_weights=[1, 9])
    np.testing.assert_allclose(before - net.net[1].weight.numpy(), 0.1 * gradient, 1e-10)


def test_only_the_training_loss_is_weighted():
    (plain,), (heavy,) = (run(linear(), lr=0.0, class_weights=w) for w in (None, (1, 9)))
    assert heavy["train_loss"] != pytest.approx(plain["train_loss"], rel=1e-2)
    assert heavy["test_loss"] == plain["test_loss"]
    assert heavy["train_accuracy"] == plain["train_accuracy"]


def test_only_the_proportions_of_the_weights_matter():
    expected = weights_after(class_weights=[1, 9])
    assert not np.allclose(expected, weights_after(), atol=1e-3)
    for factor in (1e-300, 0.1, 1e307):
        scaled = np.array([1, 9]) * factor
        np.testing.assert_allclose(weights_after(class_weights=scaled), expected, 1e-12)
    np.testing.assert_allclose(weights_after(class_weights=(4, 4)), weights_after(), 1e-12)


def test_float32_stays_float32():
    net = linear(wide=False)
    run(net, class_weights=[1, 9])
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float32)}


def test_balanced_weights_find_more_of_a_rare_class():
    recall = {}
    for name in ("none", "balanced"):
        weights = Recipe(class_weights=name).for_data(TRAIN).weights()
        net = linear()
        run(net, lr=1.0, epochs=30, class_weights=weights)
        right = predict(net, TEST.images).argmax(axis=1) == TEST.labels
        recall[name] = [right[TEST.labels == label].mean() for label in (0, 1)]
    assert recall["balanced"][1] > recall["none"][1] + 0.1
    assert recall["balanced"][0] < recall["none"][0]  # which has its price


# ----- What is refused -----


@pytest.mark.parametrize(
    ("weights", "error", "text"),
    [
        ([1, 2, 3], DataError, "one number for each of the 2 classes, got 3"),
        ([], DataError, "one number for each of the 2 classes, got 0"),
        ([0, 0], DataError, r"more than 0 for some class in train, got \[0.0, 0.0\]"),
        ([1, -1], ValueError, "class_weights needs a list, each a number of at least 0"),
        ([1, float("nan")], ValueError, "class_weights needs a list, each a number"),
        ([1, float("inf")], ValueError, "class_weights needs a list, each a number"),
        ("balanced", TypeError, "class_weights needs a list"),
    ],
)
def test_weights_that_make_no_mean_are_refused_before_the_first_step(weights, error, text):
    net = linear()
    before = net.state_dict()
    with pytest.raises(error, match=f"fit: .*{text}"):
        run(net, class_weights=weights)
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items())


def test_a_weight_for_no_image_is_no_weight():
    net, often = linear(), TRAIN[TRAIN.labels == 0]
    optimizer = optim.SGD(net.parameters())
    with pytest.raises(DataError, match="more than 0 for some class in train"):
        fit(net, often, TEST, optimizer, optim.ConstantLR(optimizer, 1), class_weights=[0, 1])


# ----- balanced -----


def test_balanced_is_the_number_of_images_over_classes_times_their_own():
    recipe = Recipe(class_weights="balanced").for_data(TRAIN)
    assert recipe.weights() == pytest.approx((100 / (2 * 90), 100 / (2 * 10)))
    assert np.array(recipe.weights())[TRAIN.labels].mean() == pytest.approx(1)
    assert Recipe().for_data(TRAIN).weights() is None
    again = Recipe.from_dict(recipe.as_dict())
    assert again.weights() == recipe.weights()


def test_balanced_needs_images_of_every_class_and_to_have_seen_them():
    with pytest.raises(DataError, match="training images of every class, rare has none of 'seldo"):
        Recipe(class_weights="balanced").for_data(TRAIN[TRAIN.labels == 0])
    with pytest.raises(ValueError, match="for_data"):
        Recipe(class_weights="balanced").weights()
    told = Recipe(classes=("a", "b"), shape=(1, 2, 1), class_weights="balanced")
    with pytest.raises(ValueError, match="'balanced' of 2 classes has 0 weights; for_data"):
        told.weights()


def test_the_command_keeps_the_weights_and_goes_on_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.train, "_draw_curves", lambda *_: None)
    words = ["train", "--columns", "1", "--channels", "4", "--validation", "0.3", "--schedule",
             "constant", "--class-weights", "balanced"]  # fmt: skip
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert cli.main([*words, "--epochs", "2", "--out", str(whole)]) == 0
    assert cli.main([*words, "--epochs", "1", "--out", str(part)]) == 0
    assert cli.main(["train", "--resume", str(part), "--epochs", "2"]) == 0
    one, two = (load_checkpoint(folder / CHECKPOINT) for folder in (whole, part))
    learned, _ = DIGITS[0].split(0.3, 0)  # the part that is trained on, not all of it
    counts = np.bincount(learned.labels)
    assert one["recipe"]["balance"] == pytest.approx((len(learned) / (10 * counts)).tolist())
    assert one["recipe"] == two["recipe"]
    for name, array in one["model"].items():
        assert np.array_equal(array, two["model"][name]), name


def test_a_checkpoint_without_balance_is_read_as_before():
    values = Recipe().for_data(TRAIN).as_dict()
    del values["balance"], values["class_weights"]
    assert Recipe.from_dict(values).weights() is None
    with pytest.raises(CheckpointError, match="balance needs a list, each a number of at least 0"):
        Recipe.from_dict({**values, "balance": [-1.0, 1.0]})


# ----- Several processes -----


@on_the_host
@mpi
def test_ranks_weigh_the_whole_batch_as_one_process_does(tmp_path):
    from . import ranks

    one = ranks.weighted(ranks.ProcessGroup())
    assert finish(start_ranks(2, "weighted", "rank", folder=tmp_path)) == (0, "", "")
    for rank in range(2):
        state = np.load(tmp_path / f"rank-{rank}.npz")
        for name, array in one.items():
            np.testing.assert_allclose(state[name], array, 1e-9, 1e-12, err_msg=name)


@on_the_host
@mpi
def test_ranks_with_other_weights_are_refused(tmp_path):
    assert finish(start_ranks(2, "other_weights", "rank", folder=tmp_path)) == (0, "", "")
    for rank in range(2):
        told = str(np.load(tmp_path / f"rank-{rank}.npz")["error"])
        assert "the processes need the same class_weights; rank 1 has another" in told
