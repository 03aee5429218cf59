"""Whole networks against PyTorch: the same weights give the same loss, gradients and steps."""

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import FractalNet, Tensor, nn
from tinyfractal.errors import CheckpointError
from tinyfractal.optim import SGD
from tinyfractal.zoo import ResNet

torch = pytest.importorskip("torch")
from .torch_twins import Fractal, Unit  # noqa: E402 (it needs PyTorch)

pytestmark = pytest.mark.torch

CLOSE = {np.float64: {"rtol": 1e-9, "atol": 1e-11}, np.float32: {"rtol": 2e-3, "atol": 2e-4}}
both_types = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def batch(n, h, w, c, dtype=np.float64, seed=0, classes=5):
    """Images (N, H, W, C) and labels; the second pair is PyTorch's, (N, C, H, W)."""
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(n, h, w, c)).astype(dtype), rng.integers(classes, size=n)
    return x, labels, torch.tensor(x.transpose(0, 3, 1, 2).copy()), torch.tensor(labels)


def load(theirs, state, **kwargs):
    """Our state into a PyTorch module; every name must fit."""
    arrays = nn.to_torch(state, **kwargs)
    missing, unexpected = theirs.load_state_dict(
        {name: torch.tensor(array) for name, array in arrays.items()}, strict=False
    )
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)


def check_state(ours, theirs, dtype, **kwargs):
    found = nn.from_torch(theirs.state_dict(), **kwargs)
    expected = ours.state_dict()
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert array.dtype == found[name].dtype == dtype
        np.testing.assert_allclose(array, found[name], err_msg=name, **CLOSE[dtype])


def check_gradients(ours, theirs, dtype, **kwargs):
    """Every gradient, and None where the other has None."""
    found = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    found = nn.from_torch(found, **kwargs)
    for name, parameter in ours.named_parameters():
        if parameter.grad is None:
            assert name not in found
        else:
            np.testing.assert_allclose(
                parameter.grad.data, found[name], err_msg=name, **CLOSE[dtype]
            )


# ----- Layouts -----


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("flattened", [None, {"5.weight": (3, 4, 6)}])
def test_to_torch_and_back_changes_nothing(dtype, flattened):
    net = nn.Sequential(
        nn.Conv2d(2, 6, (3, 5), groups=2), nn.BatchNorm2d(6), nn.ReLU(), nn.LayerNorm(6),
        nn.Flatten(), nn.Linear(72, 7),
    ).astype(dtype)  # fmt: skip
    state = net.state_dict()
    there = nn.to_torch(state, flattened)
    assert there["0.weight"].shape == (6, 1, 3, 5)
    assert there["5.weight"].shape == (7, 72)
    back = nn.from_torch(there, flattened)
    assert list(back) == list(state)
    for name, array in state.items():
        assert back[name].tobytes() == array.tobytes()
        assert back[name].dtype == array.dtype == dtype
        assert there[name].flags.c_contiguous
        assert back[name].flags.c_contiguous


def pair_of_networks(dtype):
    """The same layers here and there, with a Linear behind a Flatten."""
    ours = nn.Sequential(
        nn.Conv2d(2, 6, 3, bias=True), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 4, (3, 1), stride=2, padding=1, groups=2), nn.LeakyReLU(0.1),
        nn.AvgPool2d(2, stride=1), nn.Flatten(), nn.Linear(2 * 3 * 4, 8), nn.BatchNorm2d(8),
        nn.GELU(), nn.Linear(8, 5),
    )  # fmt: skip
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, padding="same"), torch.nn.BatchNorm2d(6), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Conv2d(6, 4, (3, 1), stride=2, padding=1, groups=2),
        torch.nn.LeakyReLU(0.1), torch.nn.AvgPool2d(2, stride=1), torch.nn.Flatten(),
        torch.nn.Linear(2 * 3 * 4, 8), torch.nn.BatchNorm1d(8),
        torch.nn.GELU(approximate="tanh"), torch.nn.Linear(8, 5),
    )  # fmt: skip
    return ours.astype(dtype), theirs.to(getattr(torch, np.dtype(dtype).name))


FLATTENED = {"8.weight": (2, 3, 4)}


@both_types
@pytest.mark.parametrize("direction", ["to", "from"])
def test_a_network_with_every_layout_computes_and_learns_the_same(dtype, direction):
    ours, theirs = pair_of_networks(dtype)
    if direction == "to":
        load(theirs, ours.state_dict(), flattened=FLATTENED)
    else:
        ours.load_state_dict(nn.from_torch(theirs.state_dict(), flattened=FLATTENED))
    for seed in range(3):
        x, labels, x_t, labels_t = batch(6, 10, 12, 2, dtype, seed)
        loss = tf.cross_entropy(ours(Tensor(x)), labels)
        loss_t = torch.nn.functional.cross_entropy(theirs(x_t), labels_t)
        np.testing.assert_allclose(loss.item(), loss_t.item(), **CLOSE[dtype])
        ours.zero_grad()
        theirs.zero_grad()
        loss.backward()
        loss_t.backward()
        check_gradients(ours, theirs, dtype, flattened=FLATTENED)
        check_state(ours, theirs, dtype, flattened=FLATTENED)  # running statistics move alike
    y, y_t = ours.eval()(Tensor(x)), theirs.eval()(x_t)
    np.testing.assert_allclose(y.data, y_t.detach().numpy(), **CLOSE[dtype])


def test_a_network_that_shares_a_layer_goes_both_ways_under_all_its_names():
    layer, theirs_too = nn.Linear(3, 3), torch.nn.Linear(3, 3)
    ours = nn.Sequential(layer, nn.BatchNorm2d(3), nn.Sequential(layer))
    theirs = torch.nn.Sequential(
        theirs_too, torch.nn.BatchNorm1d(3), torch.nn.Sequential(theirs_too)
    ).eval()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

    def agree():
        y = theirs(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(ours.eval()(Tensor(x)).data, y, rtol=1e-5, atol=1e-6)

    ours.load_state_dict(nn.from_torch(theirs.state_dict()))
    agree()
    layer.weight.data += 1
    state = nn.to_torch(ours.state_dict())
    theirs.load_state_dict({name: torch.tensor(a) for name, a in state.items()}, strict=True)
    agree()


def test_tensors_of_pytorch_are_not_taken_for_ours():
    """A square weight would fit, transposed, without a word."""
    with pytest.raises(CheckpointError, match=r"weight; a PyTorch state goes through from_torch"):
        nn.Linear(3, 3).load_state_dict(torch.nn.Linear(3, 3).state_dict())


def test_half_precision_is_read():
    for dtype in (torch.bfloat16, torch.float16):
        theirs, ours = torch.nn.Linear(3, 2).to(dtype), nn.Linear(3, 2)
        ours.load_state_dict(nn.from_torch(theirs.state_dict()))
        expected = theirs.weight.detach().float().numpy().T
        np.testing.assert_array_equal(ours.weight.data, expected)


def test_without_the_flattened_shape_the_rows_would_be_in_another_order():
    ours, theirs = pair_of_networks(np.float64)
    load(theirs, ours.state_dict())
    x, _, x_t, _ = batch(6, 10, 12, 2)
    y, y_t = ours.eval()(Tensor(x)), theirs.eval()(x_t)
    assert not np.allclose(y.numpy(), y_t.detach().numpy())


@pytest.mark.parametrize("momentum", [0.1, 0.9])
def test_running_statistics_follow_step_by_step(momentum):
    ours = nn.BatchNorm2d(3, momentum=momentum).astype(np.float64)
    theirs = torch.nn.BatchNorm2d(3, momentum=momentum, dtype=torch.float64)
    for seed in range(5):
        x, _, x_t, _ = batch(4, 2, 3, 3, seed=seed)
        y, y_t = ours(Tensor(x * 2 + 1)), theirs(x_t * 2 + 1)
        np.testing.assert_allclose(
            y.data, y_t.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-10, atol=1e-12
        )
        check_state(ours, theirs, np.float64)


# ----- FractalNet -----


def train_both(ours, theirs, dtype, forward, forward_t):
    """Three steps of SGD on each, compared number by number."""
    load(theirs, ours.state_dict())
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}
    optimizer = SGD(ours.parameters(), **settings)
    optimizer_t = torch.optim.SGD(theirs.parameters(), **settings)
    for seed in range(3):
        x, labels, x_t, labels_t = batch(5, 8, 8, 3, dtype, seed)
        optimizer.zero_grad()
        optimizer_t.zero_grad()
        loss = tf.cross_entropy(forward(Tensor(x)), labels)
        loss_t = torch.nn.functional.cross_entropy(forward_t(x_t), labels_t)
        np.testing.assert_allclose(loss.item(), loss_t.item(), **CLOSE[dtype])
        loss.backward()
        loss_t.backward()
        check_gradients(ours, theirs, dtype)
        optimizer.step()
        optimizer_t.step()
        check_state(ours, theirs, dtype)
    y, y_t = ours.eval()(Tensor(x)), theirs.eval()(x_t)  # the whole network
    np.testing.assert_allclose(y.data, y_t.detach().numpy(), **CLOSE[dtype])


def fractals(dtype, columns=3, **settings):
    ours = FractalNet(3, 5, columns, (4, 6, 5), **settings).astype(dtype)
    return ours, Fractal(3, 5, columns, (4, 6, 5)).to(getattr(torch, np.dtype(dtype).name))


@pytest.mark.parametrize(
    ("columns", "dtype"),
    [(1, np.float64), (2, np.float64), (3, np.float64), (4, np.float64), (3, np.float32)],
)
def test_training_a_fractal_net_is_the_same_step_by_step(columns, dtype):
    ours, theirs = fractals(dtype, columns, drop_path=0.0)
    train_both(ours, theirs, dtype, ours, theirs)


@pytest.mark.parametrize("c", [0, 1, 2])
def test_training_one_column_is_the_same_step_by_step(c):
    ours, theirs = fractals(np.float64)
    one, one_t = (lambda x: ours(x, column=c)), (lambda x: theirs(x, only=c))
    train_both(ours, theirs, np.float64, one, one_t)


def test_training_with_global_drop_path_is_the_same_step_by_step(monkeypatch):
    ours, theirs = fractals(np.float64, drop_path=0.15, global_ratio=1.0, per_sample=False)
    chosen, keep = [], ours.keep_column
    monkeypatch.setattr(ours, "keep_column", lambda c: chosen.append(c) or keep(c))
    train_both(ours, theirs, np.float64, ours, lambda x: theirs(x, only=chosen[-1]))
    assert len(chosen) == 3


class Residual(torch.nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.units = torch.nn.Sequential(Unit(before, after))
        self.conv = torch.nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(after)
        if before != after:
            self.shortcut = torch.nn.Sequential(
                torch.nn.Conv2d(before, after, 1, bias=False), torch.nn.BatchNorm2d(after)
            )

    def forward(self, x):
        around = self.shortcut(x) if hasattr(self, "shortcut") else x
        return torch.relu(around + self.norm(self.conv(self.units(x))))


def test_training_a_resnet_is_the_same_step_by_step():
    ours = ResNet(3, 5, (4, 6), depth=4).astype(np.float64)
    theirs = torch.nn.Sequential(
        Residual(3, 4), Residual(4, 4), torch.nn.MaxPool2d(2), Residual(4, 6), Residual(6, 6),
        torch.nn.MaxPool2d(2), torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten()), torch.nn.Linear(6, 5),
    ).double()  # fmt: skip
    train_both(ours, theirs, np.float64, ours, theirs)
