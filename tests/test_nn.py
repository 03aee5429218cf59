"""Layers: shapes and values against NumPy, first weights against their formula, drop-path."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfractal import Tensor, backend, init, nn, no_grad
from tinyfractal.errors import ShapeError

from . import oracles


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def write(tensor, values):
    """Overwrite the values of a layer's weight."""
    tensor.data[:] = backend.asarray(values, tensor.dtype)


def close(y, expected):
    np.testing.assert_allclose(y.data, expected, rtol=1e-10, atol=1e-12)


# ----- Layers with weights -----


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_a_matrix_product(bias):
    layer = nn.Linear(3, 4, bias=bias).astype(np.float64)
    x = images(2, 5, 3)
    if bias:
        assert not layer.bias.data.any()  # it starts from zero
        write(layer.bias, [1, 2, 3, 4])
    expected = np.einsum("abi,io->abo", x, layer.weight.numpy())
    expected += layer.bias.numpy() if bias else 0
    close(layer(Tensor(x)), expected)
    assert layer.count_parameters() == 12 + 4 * bias


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        (3, {}),
        (1, {"bias": False}),
        ((2, 3), {"stride": (1, 2), "padding": (1, 0)}),
        (3, {"groups": 2, "dilation": 2, "padding": "valid"}),
        (3, {"padding_mode": "reflect", "bias": False}),
    ],
)
def test_conv2d_is_the_sum_over_windows(size, settings):
    layer = nn.Conv2d(2, 4, size, **settings).astype(np.float64)
    if layer.bias is not None:
        write(layer.bias, [1, 2, 3, 4])
    x = images(2, 6, 7, 2)
    usual = {"padding": "same", **{k: v for k, v in settings.items() if k != "bias"}}
    bias = None if layer.bias is None else layer.bias.numpy()
    close(layer(Tensor(x)), oracles.conv2d(x, layer.weight.numpy(), bias, **usual))


def test_conv2d_refuses_channels_that_do_not_divide():
    with pytest.raises(ValueError, match=r"in_channels 3 and out_channels 4 .* groups 2"):
        nn.Conv2d(3, 4, 3, groups=2)


def test_batch_norm_uses_the_batch_in_training_and_what_it_saw_in_inference():
    layer = nn.BatchNorm2d(3, eps=1e-3, momentum=0.25).astype(np.float64)
    weight, bias = np.array([1.0, 2, 3]), np.array([0.5, 0, -1])
    write(layer.weight, weight)
    write(layer.bias, bias)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = images(4, 2, 3, 3, seed=seed) * [1, 2, 3] + [0, 1, -5]
        close(layer(Tensor(x)), oracles.batch_norm(x, weight, bias, eps=1e-3))
        mean = 0.75 * mean + 0.25 * x.mean((0, 1, 2))
        var = 0.75 * var + 0.25 * x.var((0, 1, 2), ddof=1)
        close(layer.running_mean, mean)
        close(layer.running_var, var)
    y = layer.eval()(Tensor(x))
    close(y, (x - mean) / np.sqrt(var + 1e-3) * weight + bias)
    close(layer.running_mean, mean)  # inference does not learn
    close(layer(Tensor(x[:1])), y.data[:1])  # nor does a sample depend on its neighbours


def test_layer_norm_normalizes_every_row():
    layer = nn.LayerNorm(4).astype(np.float64)
    weight, bias = np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1])
    write(layer.weight, weight)
    write(layer.bias, bias)
    x = images(2, 3, 4)
    expected = oracles.layer_norm(x, weight, bias)
    close(layer(Tensor(x)), expected.reshape(x.shape))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (lambda: nn.Linear(0, 3), "Linear: in_features needs a whole number from 1 "),
        (lambda: nn.Linear(3, 2.0), "Linear: out_features needs a whole number"),
        (lambda: nn.Linear(3, 2, bias="no"), "Linear: bias needs True or False, got 'no'"),
        (lambda: nn.Linear(3, 2, init=3), "Linear: init needs a function, got 3"),
        (lambda: nn.Linear(3, 2, init=lambda _: np.ones((2, 3))), "asked for shape (3, 2)"),
        (lambda: nn.Linear(1 << 20, 1 << 20), "xavier_uniform: shape needs"),
        (lambda: nn.Conv2d(1, 2, (3, 3, 3)), "Conv2d: kernel_size needs"),
        (lambda: nn.Conv2d(1, 2, 3, stride=0), "Conv2d: stride needs"),
        (lambda: nn.Conv2d(1, 2, 3, padding="full"), 'Conv2d: padding needs "same"'),
        (lambda: nn.Conv2d(1, 2, 3, padding_mode="wrap"), "Conv2d: padding_mode needs"),
        (lambda: nn.Conv2d(1, 2, 3, groups=0), "Conv2d: groups needs a whole number of at least 1"),
        (lambda: nn.BatchNorm2d(3, momentum=1.5), "BatchNorm2d: momentum needs"),
        (lambda: nn.BatchNorm2d(3, eps=math.nan), "BatchNorm2d: eps needs"),
        (lambda: nn.BatchNorm2d(True), "BatchNorm2d: channels needs"),
        (lambda: nn.LayerNorm(3, -1.0), "LayerNorm: eps needs a number of at least 0"),
        (lambda: nn.LeakyReLU(math.inf), "LeakyReLU: slope needs"),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size needs"),
        (lambda: nn.AvgPool2d(2, padding=-1), "AvgPool2d: padding needs"),
        (lambda: nn.Dropout("half"), "Dropout: p needs a number from 0 to below 1, got 'half'"),
        (lambda: nn.DropPath(0.5, per_sample=1), "DropPath: per_sample needs True or False"),
        (lambda: nn.DropPath(0.5).sample(0, 3), "DropPath.sample: branches needs"),
        (lambda: nn.Join()(3), "Join.forward: xs needs a list"),
        (lambda: nn.Flatten()([1.0]), "Flatten.forward: cannot work on"),
        (lambda: init.he_normal((3,)), "he_normal: shape needs"),
        (lambda: init.xavier_normal((3, -1)), "xavier_normal: shape needs"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_name(layer, text):
    with pytest.raises((ValueError, TypeError), match=re.escape(text)):
        layer()


def test_a_batch_of_one_number_per_channel_is_refused_before_statistics_move():
    layer = nn.BatchNorm2d(2)
    with pytest.raises(ShapeError, match="one number per channel"):
        layer(Tensor(np.ones((1, 2), np.float32)))
    assert layer.running_mean.data.tolist() == [0, 0]
    assert layer.running_var.data.tolist() == [1, 1]


# ----- Layers without weights -----


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.ReLU(), lambda x: max(x, 0)),
        (nn.LeakyReLU(0.2), lambda x: x if x > 0 else 0.2 * x),
        (nn.Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
        (nn.Tanh(), math.tanh),
        (nn.Softplus(), lambda x: math.log(1 + math.exp(x))),
        (
            nn.GELU(),
            lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_activations_work_on_each_number(layer, function):
    x = images(3, 5) * 3
    close(layer(Tensor(x)), np.vectorize(function)(x))


def test_pooling_takes_the_largest_or_the_mean_of_each_window():
    x = images(2, 5, 6, 3)
    for layer, oracle in (
        (nn.MaxPool2d, oracles.max_pool2d),
        (nn.AvgPool2d, oracles.avg_pool2d),
    ):
        close(layer(2)(Tensor(x)), oracle(x, 2))
        close(layer(3, stride=(1, 2), padding=1)(Tensor(x)), oracle(x, 3, (1, 2), 1))
    close(nn.GlobalAvgPool()(Tensor(x)), [[im[..., c].mean() for c in range(3)] for im in x])


@pytest.mark.parametrize("n", [0, 1, 3])
def test_flatten_keeps_the_batch_axis(n):
    x = images(n, 2, 3, 4)
    y = nn.Flatten()(Tensor(x))
    assert y.shape == (n, 24)
    assert y.data.ravel().tolist() == x.ravel().tolist()


def test_dropout_keeps_the_mean_and_the_share_it_promises():
    x, p, n = np.ones((100, 100, 10), np.float32), 0.3, 100_000
    y = nn.Dropout(p)(Tensor(x)).numpy()
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - p)], rtol=1e-6)
    deviation = math.sqrt(p / (1 - p) / n)
    assert abs(y.mean() - 1) < 4 * deviation
    assert nn.Dropout(p).eval()(Tensor(x)).data.tobytes() == x.tobytes()
    assert nn.Dropout(0.0)(Tensor(x)).data.tobytes() == x.tobytes()


def test_dropout_per_channel_drops_whole_channels():
    y = nn.Dropout(0.5, per_channel=True)(Tensor(np.ones((20, 3, 4, 30)))).data
    assert ((y == 0).all(axis=(1, 2)) | (y == 2).all(axis=(1, 2))).all()
    assert 0.3 < (y == 0).mean() < 0.7


def test_dropout_with_p_one_is_refused():
    with pytest.raises(
        ValueError, match=r"^Dropout: p needs a number from 0 to below 1, got 1\.0$"
    ):
        nn.Dropout(1.0)(Tensor([1.0]))


# ----- First weights -----

INITIALIZERS = {
    "xavier_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
}


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize(
    ("shape", "fans"), [((200, 300), (200, 300)), ((3, 5, 40, 80), (600, 1200))]
)
def test_first_weights_have_the_variance_of_the_formula(name, shape, fans):
    weights = getattr(init, name)(shape)
    assert weights.shape == shape
    assert weights.dtype == np.float32
    variance, n = INITIALIZERS[name](*fans), weights.size
    assert abs(weights.mean()) < 4 * math.sqrt(variance / n)
    kurtosis = 3 if name.endswith("normal") else 9 / 5
    assert abs(weights.var() / variance - 1) < 4 * math.sqrt((kurtosis - 1) / n)
    limit = math.sqrt(3 * variance)
    if name.endswith("uniform"):
        assert 0.999 * limit < abs(weights).max() <= limit * (1 + 1e-6)
    else:
        assert abs(weights).max() > 1.5 * limit


def test_same_seed_same_weights():
    def weights():
        backend.seed(5)
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2, 3, init=init.he_normal))
        return np.concatenate([p.numpy().ravel() for p in net.parameters()])

    first = weights()
    assert first.tobytes() == weights().tobytes()
    backend.seed(6)
    assert nn.Conv2d(1, 2, 3).weight.numpy().ravel()[0] != first[0]


def test_weights_start_from_xavier_and_batch_norm_from_the_identity():
    backend.seed(3)
    kernel = nn.Conv2d(4, 6, 3, groups=2).weight.data
    backend.seed(3)
    assert kernel.tobytes() == init.xavier_uniform((3, 3, 2, 6)).tobytes()
    norm = nn.BatchNorm2d(2)
    state = {name: array.tolist() for name, array in norm.state_dict().items()}
    assert state == {
        "weight": [1, 1], "bias": [0, 0], "running_mean": [0, 0], "running_var": [1, 1]
    }  # fmt: skip


# ----- Join -----


def random_mask(n, branches, seed):
    """(n, branches) of booleans, at least one in each row."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n, branches)) < 0.5
    mask[np.arange(n), rng.integers(branches, size=n)] = True
    return mask


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_join_of_equal_branches_is_the_identity(branches, n, seed):
    x = images(n, 2, 3, seed=seed)
    close(nn.Join()([Tensor(x)] * branches), x)
    close(nn.Join()([Tensor(x)] * branches, random_mask(n, branches, seed)), x)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000))
def test_join_is_the_mean_of_the_living(branches, n, seed):
    xs, mask = images(branches, n, 2, 3, seed=seed), random_mask(n, branches, seed)
    close(nn.Join()([Tensor(x) for x in xs], mask), oracles.join(*xs, mask=mask))
    close(nn.Join()([Tensor(x) for x in xs]), sum(xs) / branches)


def test_join_refuses_a_sample_without_a_living_branch():
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="no branch is alive for sample 1"):
        nn.Join()([x, x], np.array([[True, False], [False, False]]))


# ----- Drop-path -----


@given(st.integers(1, 6), st.integers(1, 40), st.floats(0, 1), st.integers(0, 10**6))
def test_drop_path_never_drops_everything(branches, rows, p, seed):
    backend.seed(seed)
    alive = nn.DropPath(p).sample(branches, rows)
    assert alive.shape == (rows, branches)
    assert alive.dtype == bool
    assert alive.any(axis=1).all()
    if p == 0:
        assert alive.all()
    if p == 1:
        assert (alive.sum(axis=1) == 1).all()


@pytest.mark.parametrize("p", [0.15, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_drop_path_keeps_branches_as_often_as_the_paper_says(k, p):
    """P(alive) = 1 - p + pᵏ/k; and how many live is binomial, with 0 moved to 1."""
    n = 20_000
    alive = nn.DropPath(p).sample(k, n)

    def check(found, probability):
        assert abs(found - probability) <= 4.5 * math.sqrt(probability * (1 - probability) / n)

    for branch in alive.T:
        check(branch.mean(), min(1.0, 1 - p + p**k / k))
    for count in range(1, k + 1):
        probability = math.comb(k, count) * (1 - p) ** count * p ** (k - count)
        check((alive.sum(axis=1) == count).mean(), probability + (p**k if count == 1 else 0))


def living(y, branches):
    """Which of the unit branches 1, 10, 100, … make up the mean y, by trying all subsets."""
    for subset in range(1, 2**branches):
        alive = [bool(subset >> i & 1) for i in range(branches)]
        if np.isclose(y, np.mean([10.0**i for i in range(branches) if alive[i]])):
            return alive
    raise AssertionError(f"{y} is no mean of branches")


@pytest.mark.parametrize("per_sample", [False, True])
def test_drop_path_layer_is_the_mean_of_what_it_keeps(per_sample):
    n, k, p = 60, 3, 0.4
    layer = nn.DropPath(p, per_sample)
    xs = [Tensor(np.full((n, 2, 1), 10.0**i)) for i in range(k)]
    decisions = []
    for _ in range(50 if per_sample else 3000):
        y = layer(xs).numpy()
        assert (y[:, 0] == y[:, 1]).all()
        values = y[:, 0, 0] if per_sample else y[:1, 0, 0]
        assert per_sample or (y == y[0]).all()
        decisions += [living(value, k) for value in values]
    probability = 1 - p + p**k / k
    deviation = math.sqrt(probability * (1 - probability) / len(decisions))
    assert (abs(np.mean(decisions, axis=0) - probability) < 4.5 * deviation).all()


def test_drop_path_gives_dropped_branches_no_gradient():
    xs = [Tensor(np.ones((1, 2)), requires_grad=True) for _ in range(4)]
    nn.DropPath(1.0, per_sample=False)(xs).sum().backward()
    alive = [x for x in xs if x.grad is not None]
    assert len(alive) == 1
    assert alive[0].grad.data.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("per_sample", [False, True])
def test_drop_path_is_a_plain_join_and_draws_nothing_in_inference(per_sample):
    xs = [Tensor(x) for x in images(3, 4, 2)]
    before = backend.random_state()
    for layer in (nn.DropPath(0.9, per_sample).eval(), nn.DropPath(0.0, per_sample)):
        with no_grad():
            close(layer(xs), sum(x.data for x in xs) / 3)
    assert backend.random_state() == before


@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan])
def test_drop_path_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"^DropPath: p needs a number from 0 to 1, got "):
        nn.DropPath(p)


# ----- To and from PyTorch, without it -----


@pytest.mark.parametrize("function", [nn.to_torch, nn.from_torch])
@pytest.mark.parametrize(
    ("flattened", "text"),
    [
        ({"weigth": (1, 2, 3)}, "flattened names 'weigth'"),  # misspelt: it would be left out
        ({"bias": (1, 2, 3)}, "flattened names 'bias'"),
        ({"weight": (2, 2, 3)}, "which is a weight of 12 inputs; the state has"),
        ({"weight": 6}, "flattened['weight'] needs three of them"),
        ([("weight", (1, 2, 3))], "flattened needs a dictionary or None"),
    ],
)
def test_a_flattened_shape_that_fits_no_weight_is_refused(function, flattened, text):
    state = nn.Linear(6, 6).state_dict()
    with pytest.raises((ValueError, TypeError), match=re.escape(text)):
        function(state, flattened)


@pytest.mark.parametrize("function", [nn.to_torch, nn.from_torch])
@pytest.mark.parametrize("state", [3, [np.ones(3)], {"a": "x"}, {"a": None}])
def test_a_state_that_is_none_is_refused(function, state):
    with pytest.raises(TypeError, match=rf"^{function.__name__}: "):
        function(state)
