"""Optimizers step by step against PyTorch, schedules against their rules, saving and going on."""

import copy
import math
import re

import numpy as np
import pytest

from tinyfractal import Tensor, nn
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
    with pytest.raises(ValueError, match="Adam: parameters is empty, there is nothing to optimize"):
        Adam([])
    with pytest.raises(ValueError, match=r"SGD: lr needs a number of at least 0, got -1"):
        SGD(weights(), lr=-1)
    with pytest.raises(ValueError, match="SGD: a parameter is listed twice"):
        SGD(weights()[:1] * 2)
    with pytest.raises(ValueError, match=r"CosineLR: epochs needs .* at least 1 or None, got 0"):
        CosineLR(SGD(weights()), 0)
    optimizer = Optimizer(weights(), 0.1, 0.0)
    give_gradients(optimizer.parameters, 0)
    with pytest.raises(NotImplementedError):
        optimizer.step()


FUNCTIONS = [
    lambda parameters: SGD(parameters),
    lambda parameters: Adam(parameters),
    lambda parameters: clip_grad_norm_(parameters, 1.0),
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "wrong",
    [nn.Linear(2, 2), np.ones((2, 2)), 3, "ab", [np.ones(2)], dict(nn.Linear(2, 2).state_dict())],
    ids=lambda value: type(value).__name__,
)
def test_parameters_that_are_no_tensors_are_refused(function, wrong):
    with pytest.raises(
        TypeError, match=r"^(SGD|Adam|clip_grad_norm_): (parameters are|a group is)"
    ):
        function(wrong)


def test_a_single_tensor_is_a_list_of_one():
    w = nn.Parameter(np.ones((2, 2), np.float32))
    w.grad = Tensor(np.full((2, 2), 2, np.float32))
    SGD(w, lr=0.25).step()
    np.testing.assert_array_equal(w.data, 0.5)
    assert clip_grad_norm_(w, 1.0) == 4.0
    np.testing.assert_array_equal(w.grad.data, 0.5)


def test_what_cannot_move_is_refused_and_what_is_frozen_stays():
    w, frozen = nn.Parameter([1.0]), nn.Parameter([1.0])
    frozen.requires_grad = False
    with pytest.raises(ValueError, match=r"SGD: parameter 1 .* was computed from others"):
        SGD([w, w * 2])
    with pytest.raises(ValueError, match=r"SGD: parameter 0 .* needs no gradient"):
        SGD([Tensor([1.0]), w])
    with pytest.raises(ValueError, match="SGD: none of the parameters has requires_grad"):
        SGD([frozen])
    optimizer = SGD([w, frozen], lr=0.5)
    (w * frozen).sum().backward()
    optimizer.step()
    assert (w.item(), frozen.item()) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (SGD, {"lr": math.nan}), (SGD, {"lr": math.inf}), (SGD, {"lr": -0.1}), (SGD, {"lr": "a"}),
        (SGD, {"lr": True}), (SGD, {"momentum": 1.0}), (SGD, {"momentum": -0.1}),
        (SGD, {"weight_decay": math.nan}), (SGD, {"nesterov": 1}), (Adam, {"betas": (0.9, 1.0)}),
        (Adam, {"betas": 0.9}), (Adam, {"betas": (0.9,)}), (Adam, {"eps": -1e-8}),
        (AdamW, {"weight_decay": -1}),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_wherever_it_is_set(kind, settings):
    ((name, value),) = settings.items()
    told = rf"^{kind.__name__}: {name} needs "
    optimizer = kind(weights())
    for wrong in (
        lambda: kind(weights(), **settings),
        lambda: kind([{"params": weights(), **settings}]),
        lambda: setattr(optimizer, name, value),
        lambda: optimizer.param_groups[0].__setitem__(name, value),
    ):
        with pytest.raises((ValueError, TypeError), match=told):
            wrong()
    assert optimizer.param_groups[0][name] == kind(weights()).param_groups[0][name]


# ----- Gradients that come late, or do not fit -----


@pytest.mark.torch
@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_each_parameter_counts_its_own_steps_as_in_pytorch(kind):
    torch = pytest.importorskip("torch")
    ours = weights()
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in ours]
    optimizer, other = kind(ours, lr=0.01), getattr(torch.optim, kind.__name__)(theirs, lr=0.01)
    for step in range(12):
        give_gradients(ours, step)
        for i, (p, q) in enumerate(zip(ours, theirs)):
            if step < 3 * i or step % (i + 1):  # the later ones begin late, and miss some
                p.grad = None
            q.grad = None if p.grad is None else torch.tensor(p.grad.numpy())
        optimizer.step()
        other.step()
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("grad", "error", "text"),
    [
        (Tensor([1.0]), ShapeError, r"shape \(3,\) and type float32, its grad has shape \(1,\)"),
        (Tensor(np.ones((3, 1), np.float32)), ShapeError, r"its grad has shape \(3, 1\)"),
        (Tensor(np.ones(3)), DTypeError, r"its grad has shape \(3,\) and type float64"),
        (np.ones(3, np.float32), DTypeError, "the grad of parameter 1 needs a Tensor"),
        (1.0, DTypeError, r"needs a Tensor, got 1\.0"),
    ],
)
@pytest.mark.parametrize("name", ["SGD.step", "clip_grad_norm_"])
def test_a_gradient_that_does_not_fit_is_refused_before_anything_changes(name, grad, error, text):
    first, w = nn.Parameter([1.0]), nn.Parameter([1.0, 2.0, 3.0])
    optimizer = SGD([first, w])
    first.grad, w.grad = Tensor([5.0]), grad
    with pytest.raises(error, match=f"^{name}: .*parameter 1.*{text}|^{name}: .*{text}"):
        optimizer.step() if name == "SGD.step" else clip_grad_norm_([first, w], 1.0)
    assert (first.item(), first.grad.item(), optimizer.steps) == (1.0, 5.0, 0)


def test_a_parameter_that_is_another_than_at_the_start_is_refused():
    layer = nn.Linear(2, 2)
    optimizer = SGD(layer.parameters())
    layer.astype(np.float64)(Tensor(np.ones((1, 2)))).sum().backward()
    with pytest.raises(DTypeError, match=r"its memory has .* make the optimizer after astype"):
        optimizer.step()


# ----- Groups -----


@pytest.mark.torch
@pytest.mark.parametrize(
    ("kind", "settings", "own"),
    [
        (SGD, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.01, "weight_decay": 0.1, "nesterov": True}),
        (SGD, {"lr": 0.1, "momentum": 0.9}, {"momentum": 0.0}),
        (Adam, {"lr": 0.1, "weight_decay": 0.1}, {"betas": (0.5, 0.6), "eps": 1e-3}),
        (AdamW, {"lr": 0.1}, {"weight_decay": 0.0}),
    ],
)
def test_groups_with_settings_of_their_own_are_those_of_pytorch(kind, settings, own):
    torch = pytest.importorskip("torch")
    ours = weights()
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in ours]
    optimizer = kind([{"params": ours[:2]}, {"params": ours[2], **own}], **settings)
    groups = [{"params": theirs[:2]}, {"params": theirs[2:], **own}]
    other = getattr(torch.optim, kind.__name__)(groups, **settings)
    schedule = StepLR(optimizer, 2, 0.5)
    their_schedule = torch.optim.lr_scheduler.StepLR(other, 2, 0.5)
    for step in range(6):
        give_gradients(ours, step)
        for p, q in zip(ours, theirs):
            q.grad = torch.tensor(p.grad.numpy())
        for each in (optimizer, other, schedule, their_schedule):
            each.step()
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-11)
    for group, their_group in zip(optimizer.param_groups, other.param_groups):
        for name in ("lr", "initial_lr", "weight_decay"):
            assert group[name] == pytest.approx(their_group[name], rel=1e-12)


def test_groups_that_make_no_sense_are_refused():
    w, v, _ = weights()
    for groups, text in (
        ([{"params": [w]}, {"params": [w, v]}], "a parameter is listed twice"),
        ([{"params": [w], "weight_deacy": 0.1}], "'weight_deacy' is no setting of a group; there"),
        ([{"params": [w], "betas": (0.9, 0.9)}], "'betas' is no setting"),
        ([{"params": []}, {"params": [w]}], "nothing to optimize"),
        ([{"weight_decay": 0.1}], 'a group is a dictionary with "params"'),
        ([{"params": [w]}, v], 'a group is a dictionary with "params"'),
        ([{"params": nn.Linear(2, 2)}], r"such as net.parameters\(\), got Linear"),
    ):
        with pytest.raises((ValueError, TypeError), match=f"^SGD: .*{text}"):
            SGD(groups, lr=0.1)


def test_a_setting_that_differs_between_groups_is_set_for_each():
    w, v, _ = weights()
    optimizer = SGD([{"params": w}, {"params": v, "lr": 0.01}], lr=0.1)
    optimizer.momentum = 0.5
    assert [group["momentum"] for group in optimizer.param_groups] == [0.5, 0.5]
    with pytest.raises(ValueError, match=r'each, \[0\.1, 0\.01\]; set .*param_groups\[i\]\["lr"\]'):
        optimizer.lr = 0.2
    assert optimizer.lr == 0.1


def test_decay_spares_biases_and_norms():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GlobalAvgPool(), nn.Linear(2, 2))
    net.append(net[-1])  # a shared layer is decayed once
    optimizer = AdamW(param_groups_weight_decay(net, 0.1), lr=0.1)
    before = [p.data.copy() for p in optimizer.parameters]
    for p in optimizer.parameters:
        p.grad = Tensor(np.zeros(p.shape, np.float32))
    optimizer.step()
    assert len(optimizer.parameters) == len(net.parameters())
    for p, b in zip(optimizer.parameters, before):
        np.testing.assert_allclose(p.data, b * (0.99 if p.ndim > 1 else 1), rtol=1e-6)
    assert len(param_groups_weight_decay(nn.BatchNorm2d(2), 0.1)) == 1


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


def test_groups_go_on_exactly():
    def make(lr):
        w, v, u = weights(np.float32)
        groups = [{"params": [w, v], "betas": (0.5, 0.6)}, {"params": u, "lr": lr / 7}]
        return AdamW(groups, lr=lr)

    straight, first, second = make(0.1), make(0.1), make(5.0)
    for optimizer, steps in ((straight, range(8)), (first, range(3))):
        schedule = CosineLR(optimizer, 8)
        for step in steps:
            run(optimizer, [step])
            schedule.step()
    for p, q in zip(second.parameters, first.parameters):
        p.data[...] = q.data
    again = CosineLR(second, 8)
    second.load_state_dict(first.state_dict())
    again.load_state_dict(schedule.state_dict())
    for step in range(3, 8):
        run(second, [step])
        again.step()
    for p, q in zip(second.parameters, straight.parameters):
        assert p.data.tobytes() == q.data.tobytes()
    with pytest.raises(CheckpointError, match=r"lr has shape \(2,\), the saved state \(1,\)"):
        make(0.1).load_state_dict(AdamW(weights()).state_dict())
    with pytest.raises(CheckpointError, match="has 2 learning rates, the optimizer 1 groups"):
        CosineLR(AdamW(weights()), 8).load_state_dict(schedule.state_dict())


def test_a_state_from_before_steps_were_counted_for_each_parameter_is_read():
    adam, straight = Adam(weights(), lr=0.3), Adam(weights(), lr=0.3)
    run(straight, range(5))
    run(adam, range(3))
    old = {k: v for k, v in adam.state_dict().items() if k not in ("counts", "initial_lr")}
    other = Adam([Tensor(p.data.copy(), requires_grad=True) for p in adam.parameters], lr=9.0)
    other.load_state_dict({**old, "lr": 0.3})  # which was a single number
    run(other, range(3, 5))
    for p, q in zip(other.parameters, straight.parameters):
        assert p.data.tobytes() == q.data.tobytes()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", "many"), ("steps", -1), ("steps", 1.5), ("steps", [1]), ("counts", [1, 2]),
        ("counts", [1.0, 1.0, 1.0]), ("lr", math.nan), ("lr", -0.1), ("lr", [0.1, 0.2]),
        ("lr", "a"), ("mean.1", np.full(5, np.nan)), ("mean.1", np.full(5, 1j)),
        ("mean.1", np.full(5, "x")), ("square.1", np.full(5, -1.0)), ("square.1", np.full(5, 1)),
    ],
)  # fmt: skip
def test_a_state_with_a_damaged_entry_is_refused_by_name(key, value):
    adam = Adam(weights())
    run(adam, range(2))
    before = {k: np.array(v).tobytes() for k, v in adam.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"^Adam: {re.escape(key)} has "):
        adam.load_state_dict({**adam.state_dict(), key: value})
    assert {k: np.array(v).tobytes() for k, v in adam.state_dict().items()} == before


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


def test_an_optimizer_is_copied_together_with_its_network():
    net = nn.Linear(2, 2)
    optimizer = Adam([{"params": net.weight, "lr": 0.5}, {"params": net.bias}])
    CosineLR(optimizer, 3).step()
    twin, other = copy.deepcopy((net, optimizer))
    for layer, each in ((net, optimizer), (twin, other)):
        run(each, range(2))
        assert each.parameters[0] is layer.weight
        assert each.param_groups[0]["params"][0] is layer.weight
    assert twin.weight.data.tobytes() == net.weight.data.tobytes()
    assert other.lr == optimizer.lr == pytest.approx(0.375)
    assert other.param_groups[0]["initial_lr"] == 0.5


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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_clipping_refuses_what_is_not_finite_and_touches_nothing(value):
    w, v = nn.Parameter([1.0]), nn.Parameter([1.0, 1.0])
    w.grad, v.grad = Tensor([100.0]), Tensor([1.0, value])
    with pytest.raises(
        FloatingPointError, match=r"gradient of parameter 1, of shape \(2,\), is not"
    ):
        clip_grad_norm_([w, v], 1.0)
    assert w.grad.item() == 100.0
    assert w.grad.version[0] == 0


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        (np.float32, [3e38, -3e38, 1e38]),  # squares are infinite in float32
        (np.float64, [1e200, 1e308, 0.0]),  # and these in float64
        (np.float32, [3e-30, 4e-30, 0.0]),  # and these are 0
    ],
)
def test_clipping_measures_lengths_whose_squares_no_float_holds(dtype, numbers):
    w = nn.Parameter(np.zeros(3, dtype))
    w.grad = Tensor(np.array(numbers, dtype))
    length = math.hypot(*w.grad.numpy().astype(float))
    assert clip_grad_norm_([w], length / 4) == pytest.approx(length, rel=1e-6)
    np.testing.assert_allclose(w.grad.data, np.array(numbers) / 4, rtol=1e-4)


def test_clipping_refuses_a_length_that_no_float_holds():
    w = nn.Parameter(np.zeros(3))
    w.grad = Tensor(np.full(3, 1.7e308))
    with pytest.raises(FloatingPointError, match="longer than"):
        clip_grad_norm_([w], 1.0)
    np.testing.assert_array_equal(w.grad.data, 1.7e308)


def test_clipping_counts_a_parameter_that_is_listed_twice_once():
    w = nn.Parameter([1.0])
    w.grad = Tensor([4.0])
    assert clip_grad_norm_([w, w], 1.0) == 4.0
    assert w.grad.item() == 1.0


@pytest.mark.parametrize("max_norm", [-1.0, math.nan, math.inf, "a", None, True])
def test_clipping_wants_a_length(max_norm):
    with pytest.raises((ValueError, TypeError), match="clip_grad_norm_: max_norm needs"):
        clip_grad_norm_(weights(), max_norm)


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


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: ConstantLR(optimizer, 5),
        lambda optimizer: StepLR(optimizer, 2, epochs=5),
        lambda optimizer: CosineLR(optimizer, 5),
        lambda optimizer: HalvingLR(optimizer, 5),
    ],
)
def test_a_schedule_made_again_starts_from_the_first_rate_or_the_one_set_by_hand(make):
    optimizer = SGD([{"params": weights()[:1]}, {"params": weights()[1:], "lr": 0.2}], lr=0.8)
    laps = []
    for _ in range(3):
        schedule, found = make(optimizer), []
        for _ in range(5):
            found.append([group["lr"] for group in optimizer.param_groups])
            schedule.step()
        laps.append(found)
    assert laps[0] == laps[1] == laps[2]
    assert laps[0][0] == [0.8, 0.2]
    optimizer.param_groups[1]["lr"] = 0.3
    make(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.8, 0.3]
    single = SGD(weights(), lr=0.8)
    schedule = make(single)
    schedule.step()
    single.lr = 0.4
    assert (single.lr, schedule.base_lr) == (0.4, 0.4)
    assert make(single).optimizer.lr == 0.4


def test_nothing_is_trained_at_the_rate_0_behind_a_schedule_s_end():
    optimizer = sgd()
    for _ in range(2):
        schedule = CosineLR(optimizer, 3)
        for step in range(3):
            run(optimizer, [step])
            schedule.step()
        with pytest.raises(ValueError, match=r"^SGD.step: CosineLR is over, .* make a new"):
            run(optimizer, [3])
    assert optimizer.steps == 6
    optimizer.lr = 0.1
    run(optimizer, [3])
    optimizer.lr = 0.0  # the user's own wish
    ConstantLR(optimizer, 3)
    run(optimizer, [4])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: StepLR(sgd(), 30, 10), "StepLR: gamma needs a number from 0 to 1, got 10"),
        (lambda: StepLR(sgd(), 0.1, 30), "StepLR: step_size needs a whole number"),
        (lambda: StepLR(sgd(), 0), "StepLR: step_size needs a whole number of at least 1"),
        (lambda: StepLR(sgd(), 3).epochs, "StepLR: how many epochs are there?"),
        (lambda: CosineLR(sgd()), "CosineLR: how many epochs are there?"),
        (lambda: CosineLR(weights(), 3), "CosineLR: optimizer needs an Optimizer"),
        (lambda: CosineLR(sgd(), 3.0), "CosineLR: epochs needs a whole number"),
        (lambda: CosineLR(sgd(), 3).factor(-1), "CosineLR.factor: epoch needs"),
        (
            lambda: CosineLR(sgd(), 3).load_state_dict({}),
            "the saved state has no 'epoch'",
        ),
        (lambda: CosineLR(sgd(), 3).load_state_dict({"epoch": 1, "base_lr": math.nan}), "base_lr"),
        (lambda: CosineLR(sgd(), 3).load_state_dict({"epoch": -1, "base_lr": 0.1}), "epoch needs"),
    ],
)
def test_a_schedule_refuses_what_makes_no_sense(make, text):
    with pytest.raises((ValueError, TypeError), match=re.escape(text)):
        make()
