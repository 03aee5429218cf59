"""Optimizers step by step against PyTorch, schedules against their rules, saving and going on."""

import math

import numpy as np
import pytest

from tinyfractal import Tensor, backend, nn, parallel
from tinyfractal import optimizer as optimizer_module
from tinyfractal.errors import CheckpointError, DTypeError, GraphError, ShapeError
from tinyfractal.optim import (
    SGD,
    Adam,
    AdamW,
    ConstantLR,
    CosineLR,
    HalvingLR,
    Optimizer,
    StepLR,
    clip_grad_norm_,
    param_groups_weight_decay,
)

SETTINGS = [
    (SGD, {"lr": 0.1, "momentum": 0.0}),
    (SGD, {"lr": 0.05, "momentum": 0.9}),
    (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    (SGD, {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1, "nesterov": True}),
    (Adam, {"lr": 0.01}),
    (Adam, {"lr": 0.01, "betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, {"lr": 0.01}),
    (AdamW, {"lr": 0.1, "weight_decay": 0.5}),
]
every = pytest.mark.parametrize(
    ("kind", "settings"), SETTINGS, ids=[f"{k.__name__}-{i}" for i, (k, _) in enumerate(SETTINGS)]
)
SHAPES = [(3, 4), (5,), ()]


def weights(dtype=np.float64):
    rng = np.random.default_rng(0)
    return [Tensor(rng.normal(size=shape).astype(dtype), requires_grad=True) for shape in SHAPES]


def give_gradients(parameters, step):
    rng = np.random.default_rng(step + 1)
    for p in parameters:
        p.grad = Tensor(rng.normal(size=p.shape).astype(p.dtype))


# ----- Steps -----


@pytest.mark.torch
@every
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_twenty_steps_are_those_of_pytorch(kind, settings, dtype, rtol):
    torch = pytest.importorskip("torch")
    ours = weights(dtype)
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in ours]
    optimizer = kind(ours, **settings)
    other = getattr(torch.optim, kind.__name__)(theirs, **settings)
    for step in range(20):
        give_gradients(ours, step)
        for p, q in zip(ours, theirs):
            q.grad = torch.tensor(p.grad.numpy())
        optimizer.step()
        other.step()
        for p, q in zip(ours, theirs):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.torch
@pytest.mark.parametrize("kind", [SGD, Adam, AdamW])
def test_the_settings_not_given_are_those_of_pytorch_but_for_the_paper_s(kind):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, kind.__name__)([torch.zeros(1)]).defaults
    (ours,) = kind(weights()).param_groups
    paper = {"lr": 0.02, "momentum": 0.9} if kind is SGD else {}  # section 4.1
    for name in ("lr", "momentum", "weight_decay", "nesterov", "betas", "eps"):
        if name in ours:
            assert ours[name] == paper.get(name, theirs[name]), name


@every
def test_float32_stays_float32_and_arrays_stay_in_place(kind, settings):
    parameters = weights(np.float32)
    arrays = [p.data for p in parameters]
    optimizer = kind(parameters, **settings)
    for step in range(3):
        give_gradients(parameters, step)
        optimizer.step()
    assert all(p.data is array for p, array in zip(parameters, arrays))
    assert {p.dtype for p in parameters} == {np.dtype(np.float32)}
    memory = [array for arrays in optimizer.memory.values() for array in arrays]
    assert {array.dtype for array in memory} == {np.dtype(np.float32)}


@every
def test_a_step_leaves_the_gradients_alone(kind, settings):
    parameters = weights()
    optimizer = kind(parameters, **settings)
    give_gradients(parameters, 0)
    before = [p.grad.data.copy() for p in parameters]
    optimizer.step()
    for p, g in zip(parameters, before):
        np.testing.assert_array_equal(p.grad.data, g)
    optimizer.zero_grad()
    assert all(p.grad is None for p in parameters)


@every
def test_parameters_without_gradient_are_untouched(kind, settings):
    parameters = weights()
    optimizer = kind(parameters, **settings)
    for step in range(3):
        give_gradients(parameters, step)
        parameters[1].grad = None
        before = [p.data.copy() for p in parameters]
        optimizer.step()
        changed = [(p.data != b).any() for p, b in zip(parameters, before)]
        assert changed == [True, False, True]
        assert parameters[1].version[0] == 0
        assert not any(arrays[1].any() for arrays in optimizer.memory.values())


@every
def test_a_step_between_forward_and_backward_is_noticed(kind, settings):
    layer = nn.Linear(3, 3).astype(np.float64)
    optimizer = kind(layer.parameters(), **settings)
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    layer(x).sum().backward()
    loss = layer(x).sum()
    optimizer.step()
    with pytest.raises(GraphError, match=rf"changed in place \({kind.__name__}\.step\)"):
        loss.backward()
    layer(x).sum().backward()  # a new forward pass is fine


@every
def test_threads_and_pieces_take_the_same_steps(kind, settings, monkeypatch):
    def steps(small, run):
        monkeypatch.setattr(parallel, "SMALL", small)
        monkeypatch.setattr(optimizer_module, "RUN", run)
        parameters = weights()
        optimizer = kind(parameters, **settings)
        for step in range(3):
            give_gradients(parameters, step)
            if step == 1:
                parameters[0].grad = None
            optimizer.step()
        return [p.data for p in parameters] + [p.version for p in parameters]

    monkeypatch.setattr(parallel, "threads", lambda: 2)
    alone, shared = steps(1 << 20, 1 << 20), steps(0, 2)
    for a, b in zip(alone, shared):
        np.testing.assert_array_equal(a, b)


def test_a_parameter_moves_whatever_its_order_in_memory(monkeypatch):
    monkeypatch.setattr(optimizer_module, "RUN", 2)
    w = Tensor(np.zeros((3, 4)).T, requires_grad=True)
    assert not w.data.flags.c_contiguous
    w.grad = Tensor(np.ones((4, 3)))
    SGD([w], lr=1).step()
    np.testing.assert_array_equal(w.data, -np.ones((4, 3)))


def test_descending_finds_the_least_squares():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    best = np.linalg.lstsq(a, b, rcond=None)[0]
    for kind, settings in (
        (SGD, {"lr": 0.01}),
        (Adam, {"lr": 0.02}),
        (AdamW, {"lr": 0.02, "weight_decay": 0.0}),
    ):
        w = Tensor(np.zeros((3, 1)), requires_grad=True)
        optimizer = kind([w], **settings)
        for _ in range(600):
            optimizer.zero_grad()
            difference = Tensor(a) @ w - Tensor(b)
            (difference * difference).mean().backward()
            optimizer.step()
        np.testing.assert_allclose(w.data, best, atol=1e-3)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="Adam: there is no parameter to optimize"):
        Adam([])
    with pytest.raises(ValueError, match=r"SGD: lr needs a number of at least 0, got -1"):
        SGD(weights(), lr=-1)
    with pytest.raises(ValueError, match="SGD: a parameter is listed twice"):
        SGD(weights()[:1] * 2)
    with pytest.raises(ValueError, match="CosineLR: epochs needs a whole number of at least 1 .*, got 0"):
        CosineLR(SGD(weights()), 0)
    optimizer = Optimizer(weights(), 0.1, 0.0)
    give_gradients(optimizer.parameters, 0)
    with pytest.raises(NotImplementedError):
        optimizer.step()


def test_parameters_may_come_from_a_generator():
    net = nn.Linear(2, 2)
    assert len(SGD(p for _, p in net.named_parameters()).parameters) == 2


# ----- Saving and going on -----


def run(optimizer, steps):
    for step in steps:
        give_gradients(optimizer.parameters, step)
        optimizer.step()


@every
def test_a_saved_run_goes_on_exactly(kind, settings):
    straight, first = (kind(weights(np.float32), **settings) for _ in range(2))
    run(straight, range(10))
    run(first, range(4))
    copies = [Tensor(p.data.copy(), requires_grad=True) for p in first.parameters]
    second = kind(copies, **{**settings, "lr": 123.0})
    state = first.state_dict()
    run(first, [99])  # the saved state is a copy
    second.load_state_dict({key: np.asarray(value) for key, value in state.items()})
    run(second, range(4, 10))
    for p, q in zip(second.parameters, straight.parameters):
        assert p.data.tobytes() == q.data.tobytes()
    assert (second.steps, second.lr) == (10, settings["lr"])


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    adam = Adam(weights(), lr=0.3)
    give_gradients(adam.parameters, 0)
    adam.step()
    before = {key: np.array(value).tobytes() for key, value in adam.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"another optimizer.*missing \['mean\.0', 'mean\.1'"):
        adam.load_state_dict(SGD(weights()).state_dict())
    with pytest.raises(CheckpointError, match=r"unexpected \['mean\.3', 'square\.3'\]"):
        adam.load_state_dict(Adam([*weights(), nn.Parameter([1.0])]).state_dict())
    wrong = Adam(weights()).state_dict() | {"square.1": np.zeros((1, 5))}
    with pytest.raises(
        CheckpointError, match=r"square\.1 has shape \(5,\), the saved state \(1, 5\)"
    ):
        adam.load_state_dict(wrong)
    assert {k: np.array(v).tobytes() for k, v in adam.state_dict().items()} == before


# ----- Clipping -----


@pytest.mark.parametrize("max_norm", [0.0, 0.5, 3.0, 100.0])
def test_clipping_scales_all_gradients_together(max_norm):
    parameters = weights()
    give_gradients(parameters, 0)
    parameters[1].grad = None
    flat = np.concatenate([p.grad.numpy().ravel() for p in parameters if p.grad is not None])
    length = np.linalg.norm(flat)
    assert clip_grad_norm_(parameters, max_norm) == pytest.approx(length, rel=1e-12)
    after = np.concatenate([p.grad.numpy().ravel() for p in parameters if p.grad is not None])
    np.testing.assert_allclose(after, flat * min(1, max_norm / length), rtol=1e-12)
    assert parameters[1].grad is None


def test_clipping_nothing_or_zeros_is_nothing():
    assert clip_grad_norm_(weights(), 1.0) == 0.0
    parameters = weights(np.float32)
    for p in parameters:
        p.grad = Tensor(np.zeros(p.shape, p.dtype))
    assert clip_grad_norm_(parameters, 0.0) == 0.0
    assert all((p.grad.data == 0).all() and p.grad.dtype == np.float32 for p in parameters)


# ----- Schedules -----


def rates(schedule, epochs=None):
    """The learning rate of every epoch, and of two beyond the last."""
    found = []
    for _ in range((epochs or schedule.epochs) + 2):
        found.append(schedule.optimizer.lr)
        schedule.step()
    return found


def sgd(lr=0.8):
    return SGD(weights(), lr=lr)


def by_the_rule_of_the_paper(epochs, lr):
    """Divide by ten whenever the number of remaining epochs halves."""
    found, goal = [], epochs / 2
    for epoch in range(epochs):
        while epochs - epoch <= goal:
            lr, goal = lr / 10, goal / 2
        found.append(lr)
    return found


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 10, 64, 100, 400, 1000])
def test_halving_follows_the_rule_of_the_paper(epochs):
    found = rates(HalvingLR(sgd(), epochs))
    np.testing.assert_allclose(found[:epochs], by_the_rule_of_the_paper(epochs, 0.8), rtol=1e-9)
    assert found[epochs - 1] == found[epochs] == found[epochs + 1]


def test_halving_of_400_epochs_drops_where_half_of_the_rest_is_over():
    found = rates(HalvingLR(sgd(0.02), 400))
    drops = [epoch for epoch in range(1, 400) if found[epoch] < found[epoch - 1]]
    assert drops == [200, 300, 350, 375, 388, 394, 397, 399]
    assert found[0] == 0.02
    assert found[200] == pytest.approx(0.002)


@pytest.mark.torch
@pytest.mark.parametrize("settings", [(2, 0.5), (30, 0.1), (3,), (1, 0.3)])
def test_steps_multiply_by_gamma_in_the_order_of_pytorch(settings):
    torch = pytest.importorskip("torch")
    other = torch.optim.SGD([torch.zeros(1)], lr=0.8)
    theirs, expected = torch.optim.lr_scheduler.StepLR(other, *settings), []
    for _ in range(42):
        expected.append(other.param_groups[0]["lr"])
        other.step()
        theirs.step()
    np.testing.assert_allclose(rates(StepLR(sgd(), *settings), 40), expected)


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_cosine_goes_from_one_to_zero(epochs):
    found = rates(CosineLR(sgd(), epochs))
    np.testing.assert_allclose(
        found, [0.8 * math.cos(math.pi / 2 * min(e / epochs, 1)) ** 2 for e in range(epochs + 2)],
        atol=1e-12,
    )  # fmt: skip
    assert found[0] == 0.8
    assert found[-2:] == [0.0, 0.0]


def test_constant_stays():
    assert set(rates(ConstantLR(sgd(), 5))) == {0.8}


@pytest.mark.parametrize("kind", [ConstantLR, StepLR, CosineLR, HalvingLR])
def test_a_schedule_goes_on_from_where_it_was_saved(kind):
    first = SGD(weights(), lr=0.8)
    schedule = kind(first, 12)
    for _ in range(7):
        schedule.step()
    second = SGD(weights(), lr=55.0)
    other = kind(second, 12)
    other.load_state_dict(schedule.state_dict())
    assert (second.lr, other.epoch) == (first.lr, 7)
    schedule.step()
    other.step()
    assert second.lr == first.lr
