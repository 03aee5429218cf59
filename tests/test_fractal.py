"""The fractal: its shape, its joins, its columns, and what they compute."""

import re
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyfractal import (
    FractalBlock,
    FractalNet,
    RecursiveBlock,
    Tensor,
    backend,
    gradcheck,
    nn,
    no_grad,
    reference,
)  # fmt: skip
from tinyfractal.cli.selfcheck import check_layer
from tinyfractal.engine.backward import backward_order
from tinyfractal.engine.definition import RULES
from tinyfractal.engine.node import Node
from tinyfractal.errors import DTypeError, ShapeError
from tinyfractal.fractal import ConvUnit, fractal_depth, fractal_parameters
from tinyfractal.recurse import measured_depth
from tinyfractal.zoo import PlainNet

from . import oracles

# what is recorded of a convolution: a step of `fast/`, or the definition's product for each tap
CONVOLUTION = "conv2d" if RULES else "matmul"

columns_up_to_5 = pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])


def images(*shape, dtype=np.float64, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def lived_in(module, seed=0):
    """The module in float64, with weights and statistics as if it had been trained for a while."""
    rng = np.random.default_rng(seed)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.ndim == 1:
            signs = -1 if name.endswith("running_mean") else 1
            numbers = signs * rng.uniform(0.5, 1.5, value.shape)
            value.data[:] = backend.asarray(numbers, value.dtype)
    return module.astype(np.float64)


def path_lengths(y):
    """The set of numbers of convolutions on the paths behind y, in what was recorded."""
    lengths = {}
    for node in reversed(backward_order([y.node])):
        before = [lengths[id(parent)] for parent in node.parents if isinstance(parent, Node)]
        step = node.primitive.__name__ == CONVOLUTION
        lengths[id(node)] = {n + step for n in set().union(*before) or {0}}
    return lengths[id(y.node)]


# ----- The shape of the fractal -----


@columns_up_to_5
def test_a_block_has_the_units_and_the_paths_of_the_fractal(columns):
    block = FractalBlock(columns, 2, 3)
    units = [module for _, module in block.named_modules() if isinstance(module, ConvUnit)]
    assert len(units) == 2**columns - 1
    y = block(images(2, 2, 2, 2, dtype=np.float32))
    assert y.shape == (2, 2, 2, 3)
    assert max(path_lengths(y)) == 2 ** (columns - 1) == measured_depth(y)
    assert min(path_lengths(y)) == 1
    # every way to mix the columns: from a join to the next one with 2^j convolutions
    assert path_lengths(y) == set(range(1, 2 ** (columns - 1) + 1))


@columns_up_to_5
def test_column_c_is_2_to_the_c_units_and_all_columns_are_the_block(columns):
    block = FractalBlock(columns, 2, 3)
    found = [block.column(c) for c in range(columns)]
    assert [len(units) for units in found] == [2**c for c in range(columns)]
    ids = [id(unit) for units in found for unit in units]
    everything = [id(m) for _, m in block.named_modules() if isinstance(m, ConvUnit)]
    assert sorted(ids) == sorted(everything)
    assert all(units[0].conv.weight.shape[2] == 2 for units in found)


def test_a_unit_is_convolution_dropout_batch_norm_relu():
    unit = ConvUnit(2, 3, dropout=0.2)
    assert [type(child).__name__ for _, child in unit.children()] == [
        "Conv2d", "Dropout", "BatchNorm2d"
    ]  # fmt: skip
    assert unit.conv.bias is None
    assert unit.norm.relu
    x, order = images(2, 4, 4, 2, dtype=np.float32), []
    for name, child in unit.children():
        child.forward = lambda x, name=name: order.append(name) or x
    assert unit(x) is x
    assert order == ["conv", "dropout", "norm"]


@given(
    st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.integers(1, 4), st.integers(1, 6),
)  # fmt: skip
def test_parameters_and_depth_match_the_closed_form(columns, channels, in_channels, classes):
    net = FractalNet(in_channels, classes, columns, channels)
    assert net.count_parameters() == fractal_parameters(columns, channels, in_channels, classes)
    assert net.depth == fractal_depth(columns, len(channels))
    side = 2 ** len(channels)
    y = net.eval()(images(2, side, side, in_channels, dtype=np.float32))
    assert y.shape == (2, classes)
    assert max(path_lengths(y)) == measured_depth(y, kinds=(CONVOLUTION,)) == net.depth
    assert measured_depth(y) == net.depth + 1  # the classifier is a matrix product


def test_parameters_match_the_table_of_the_paper():
    """Table 3: columns, depth and millions of parameters of the ultra-deep networks (CIFAR-100)."""
    table = [(1, 5, 0.3), (2, 10, 0.8), (3, 20, 2.1), (4, 40, 4.8), (5, 80, 10.2), (6, 160, 21.1)]
    for columns, depth, millions in table:
        count = fractal_parameters(columns, (16, 32, 64, 128, 128), 3, 100)
        assert round(count / 1e6, 1) == millions
        assert fractal_depth(columns, 5) == depth


def test_the_networks_of_the_paper():
    net = FractalNet.paper()
    assert (net.depth, len(net.blocks), net.columns) == (20, 5, 3)
    units = [block.column(2) for block in net.blocks]
    assert [[unit.dropout.p for unit in column] for column in units] == [
        [rate] * 4 for rate in (0.0, 0.1, 0.2, 0.3, 0.4)
    ]
    assert [unit[-1].conv.weight.shape[3] for unit in units] == [64, 128, 256, 512, 512]
    assert (net.drop_path.p, net.global_ratio, net.head[1].weight.shape) == (0.15, 0.5, (512, 10))
    deep = FractalNet.paper40(classes=100)
    assert (deep.depth, len(deep.blocks), deep.columns) == (40, 5, 4)
    assert round(deep.count_parameters() / 1e6, 1) == 4.8
    small = FractalNet.paper(channels=(2, 3), dropout=0.1, in_channels=1)
    assert [b.conv.dropout.p for b in small.blocks] == [0.1, 0.1]


# ----- What it computes -----


def unit_by_hand(unit, x):
    """A ConvUnit in inference, from its weights alone."""
    state = unit.state_dict()
    y = oracles.conv2d(x, state["conv.weight"], padding="same")
    y = (y - state["norm.running_mean"]) / np.sqrt(state["norm.running_var"] + 1e-5)
    return np.maximum(y * state["norm.weight"] + state["norm.bias"], 0)


def block_by_hand(block, x):
    """A grid, not a recursion: 2^(C-1) rows; column c has a unit in every 2^(C-1-c)-th of them.

    The columns that have a unit in a row meet after it, in one mean, and go on from there.
    """
    depth = 2 ** (block.columns - 1)
    columns = [iter(block.column(c)) for c in range(block.columns)]
    value = [x] * block.columns
    for row in range(1, depth + 1):
        here = [c for c in range(block.columns) if row % (depth // 2**c) == 0]
        met = np.mean([unit_by_hand(next(columns[c]), value[c]) for c in here], axis=0)
        for c in here:
            value[c] = met
    return met


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_the_whole_network_is_the_grid_of_the_paper(columns):
    net = lived_in(FractalNet(2, 3, columns, channels=(2, 3))).eval()
    x = images(2, 4, 5, 2)
    y = x.numpy()
    for block in net.blocks:
        y = oracles.max_pool2d(block_by_hand(block, y), 2)
    weight, bias = net.head[1].weight.numpy(), net.head[1].bias.numpy()
    np.testing.assert_allclose(net(x).data, y.mean((1, 2)) @ weight + bias, rtol=1e-10)


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_joins_are_flat(columns):
    """The branches of a block weigh the same, 1/C, and not 1/2, 1/4, …"""
    block = FractalBlock(columns, 1, 1)
    last = [Tensor(np.full((1, 1, 1, 1), 10.0**c), requires_grad=True) for c in range(columns)]
    for c in range(columns):
        block.column(c)[-1].forward = lambda x, c=c: last[c]
    for unit in (unit for c in range(columns) for unit in block.column(c)[:-1]):
        unit.forward = lambda x: x
    y = block(Tensor(np.ones((1, 1, 1, 1))))
    np.testing.assert_allclose(y.item(), sum(10.0**c for c in range(columns)) / columns)
    y.backward()
    np.testing.assert_allclose([branch.grad.item() for branch in last], 1 / columns)


def test_gradients_through_a_block_with_all_its_weights():
    assert check_layer(FractalBlock(3, 2, 2), images(2, 3, 3, 2).data) is not None


@pytest.mark.parametrize("alive", [[1, 0, 1], [0, 1, 1], [0, 0, 1]])
def test_gradients_through_a_block_with_dropped_branches(alive):
    block = lived_in(FractalBlock(3, 2, 2))
    gradcheck(lambda x: block(x, lambda k: np.array(alive[-k:], bool)), images(2, 3, 3, 2))


# ----- Columns -----


@pytest.mark.parametrize("c", [0, 1, 2])
@pytest.mark.parametrize("training", [False, True])
def test_a_column_is_a_plain_network_with_the_same_weights(c, training):
    net = lived_in(FractalNet(2, 3, columns=3, channels=(2, 3))).train(training)
    view = net.column(c)
    plain = PlainNet(2, 3, channels=(2, 3), depth=2**c).astype(np.float64).train(training)
    state = view.state_dict()
    plain.load_state_dict(dict(zip(plain.state_dict(), state.values(), strict=True)))
    x = images(2, 4, 4, 2)
    expected = plain(x).data.tobytes()
    assert net(x, column=c).data.tobytes() == expected
    assert view(x).data.tobytes() == expected
    assert measured_depth(view(x), (CONVOLUTION,)) == 2 * 2**c


def test_a_column_shares_the_very_same_weights():
    net = FractalNet(2, 3, columns=3, channels=(2, 3))
    own = {id(p) for p in net.parameters()}
    views = [net.column(c) for c in range(3)]
    assert all({id(p) for p in view.parameters()} <= own for view in views)
    assert {id(p) for view in views for p in view.parameters()} == own
    before = net.state_dict()
    views[1](images(2, 4, 4, 2, dtype=np.float32)).sum().backward()
    for p in views[1].parameters():
        p.data -= 0.1 * p.grad.data
    changed = {name for name, value in net.state_dict().items() if (value != before[name]).any()}
    assert any(name.startswith("blocks.0.first.conv.") for name in changed)
    assert not any(name.startswith("blocks.0.conv.") for name in changed)


def test_each_column_in_inference_is_computed_alone(monkeypatch):
    net = FractalNet(1, 2, columns=3, channels=(2, 2)).eval()
    units, forward = [], ConvUnit.forward
    monkeypatch.setattr(
        ConvUnit, "forward", lambda self, *x: units.append(self) or forward(self, *x)
    )
    for c in range(3):
        units.clear()
        net(images(1, 4, 4, 1, dtype=np.float32), column=c)
        expected = [unit for block in net.blocks for unit in block.column(c)]
        assert list(map(id, units)) == list(map(id, expected))


# ----- Mistakes -----


def test_mistakes_are_named():
    net = FractalNet(2, 3, columns=3, channels=(2, 3))
    with pytest.raises(
        ShapeError, match=r"at least 4×4; got \(1, 3, 8, 2\), read as \(N, H, W, C\). Use"
    ):
        net(images(1, 3, 8, 2, dtype=np.float32))
    with pytest.raises(ShapeError, match=r"\(1, 8, 2\)"):
        net(images(1, 8, 2, dtype=np.float32))
    with pytest.raises(ShapeError, match="3 channels"):
        net(images(1, 8, 8, 3, dtype=np.float32))
    for c in (-1, 3):
        for call in (lambda c=c: net.column(c), lambda c=c: net(images(1, 8, 8, 2), column=c)):
            with pytest.raises(ValueError, match=f"column must be 0 to 2, got {c}"):
                call()
    with pytest.raises(ValueError, match="dropout has 3 entries, channels has 2"):
        FractalNet(channels=(2, 3), dropout=(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match=r"global_ratio needs a number from 0 to 1, got 1\.5"):
        FractalNet(global_ratio=1.5)
    with pytest.raises(ValueError, match="columns needs a whole number of at least 1, got 0"):
        FractalNet(columns=0)
    with pytest.raises(ValueError, match="depth needs a whole number from 1 to 65536, got 0"):
        RecursiveBlock(nn.ReLU(), depth=0)


@pytest.mark.parametrize("column", [True, 1.0, "1", np.ones(1)])
def test_a_column_is_a_whole_number(column):
    net = FractalNet(1, 2, columns=2, channels=(2,))
    for ask in (net.column, net.keep_column, net.blocks[0].column):
        with pytest.raises(TypeError, match="column needs a whole number"):
            ask(column)
    with pytest.raises(TypeError, match="column needs a whole number"):
        net(images(1, 4, 4, 1, dtype=np.float32), column=column)
    with pytest.raises(IndexError, match="FractalBlock: column must be 0 to 1, got 2"):
        net.blocks[0].column(2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FractalNet(columns=30), "columns=30 would be 2^30 - 1 convolutions in each block"),
        (lambda: FractalBlock(10**9, 1, 1), "FractalBlock: columns=1000000000 would be 2^1000000"),
        (lambda: FractalNet(columns=12, channels=(999,)), "would be 36,681,842,449 weights"),
        (lambda: FractalNet(channels=()), "channels needs a number for each block"),
        (lambda: FractalNet(channels=16), "FractalNet: channels needs a list"),
        (lambda: FractalNet(channels=(16, 0)), "FractalNet: channels needs a list"),
        (lambda: FractalNet(columns=2.0), "FractalNet: columns needs a whole number"),
        (lambda: FractalNet(dropout=1.0), "FractalNet: dropout needs a number from 0 to below 1"),
        (lambda: FractalNet(drop_path=np.nan), "FractalNet: drop_path needs a number from 0 to 1"),
        (lambda: FractalNet(per_sample="no"), "FractalNet: per_sample needs True or False"),
        (lambda: FractalNet(classes=0), "FractalNet: classes needs a whole number"),
        (lambda: ConvUnit(1, 2, -0.1), "ConvUnit: dropout needs"),
        (lambda: PlainNet(depth=0), "PlainNet: depth needs a whole number from 1 to 2048, got 0"),
        (lambda: PlainNet(channels=(4000,) * 9, depth=100), "PlainNet: depth 100 of channels"),
        (lambda: fractal_depth(0), "fractal_depth: columns needs a whole number from 1 to 62"),
        (lambda: fractal_depth(3, 0), "fractal_depth: blocks needs a whole number of at least 1"),
        (lambda: fractal_parameters(3, []), "fractal_parameters: channels needs a number"),
        (lambda: RecursiveBlock(3), "RecursiveBlock: layer needs a Module, got 3"),
    ],
)
def test_networks_that_cannot_be_are_refused_before_anything_is_built(make, text):
    with pytest.raises((ValueError, TypeError), match=re.escape(text)):
        make()


def biased():
    conv = nn.Conv2d(2, 3, 3, bias=True)
    conv.bias.data += 1
    return conv


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Signs(nn.BatchNorm2d):
    def forward(self, x):
        return x / abs(x)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv", biased()),
        ("conv", nn.Conv2d(2, 3, 3, bias=False, dilation=2)),
        ("conv", nn.Conv2d(2, 3, 1, bias=False)),
        ("conv", Doubled(2, 3, 3, bias=False)),
        ("dropout", nn.ReLU()),
        ("norm", Signs(3)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_put_into_a_unit_is_used_as_it_is(name, layer, training):
    """What is quick for the unit's own layers, all at once, must not pass over another one."""
    block = lived_in(FractalBlock(3, 2, 3)).train(training)
    setattr(block.conv, name, layer.astype(np.float64).train(training))
    x = images(2, 5, 5, 2)
    y = block(x).numpy()
    for module in [unit for _, unit in block.named_modules() if isinstance(unit, ConvUnit)]:
        unit = module
        module.forward = lambda x, unit=unit: unit.norm(unit.dropout(unit.conv(x)))
    np.testing.assert_allclose(block(x).numpy(), y, rtol=1e-9)


# ----- The article's block -----


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_recursive_block_is_its_layer_applied_again_and_again(depth):
    layer = nn.Linear(4, 4).astype(np.float64)
    block = RecursiveBlock(layer, depth)
    assert block.count_parameters() == layer.count_parameters() == 20
    x, y = images(3, 4), images(3, 4).data
    for _ in range(depth):
        y = y @ layer.weight.data + layer.bias.data
    np.testing.assert_allclose(block(x).data, y, rtol=1e-12)
    assert measured_depth(block(x)) == depth


def test_the_gradient_of_a_recursive_block_is_that_of_its_unrolled_copies_together():
    layer = nn.Linear(4, 4).astype(np.float64)
    copies = nn.Sequential(*(nn.Linear(4, 4).astype(np.float64) for _ in range(3)))
    for copy in copies:
        copy.load_state_dict(layer.state_dict())
    x = images(3, 4)
    for net in (RecursiveBlock(layer, 3), copies):
        y = net(x)
        (y * y).sum().backward()
    for name in ("weight", "bias"):
        together = sum(getattr(copy, name).grad.data for copy in copies)
        np.testing.assert_allclose(getattr(layer, name).grad.data, together, rtol=1e-10)


@pytest.mark.skipif(not RULES, reason="`fast/` is not there")
def test_convolutions_that_read_the_same_input_are_one_call_and_the_same_as_single_ones():
    block = FractalBlock(3, 8, 8)
    x = images(2, 12, 12, 8, dtype=np.float32)
    y = block(x)
    nodes = [n for n in backward_order([y.node]) if n.primitive.__name__ == "conv2d"]
    calls = [node.params["kernels"] for node in nodes]
    assert sorted(calls) == [1, 1, 2, 3]  # the heads of the three columns; then those of two
    for module in [unit for _, unit in block.named_modules() if isinstance(unit, ConvUnit)]:
        module.forward = partial(ConvUnit.forward, module)  # as if somebody watched
    np.testing.assert_allclose(block(x).numpy(), y.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not RULES, reason="`fast/` is not there")
@pytest.mark.parametrize(("channels", "size"), [(8, 9), (3, 5), (24, 2)])  # every way to convolve
@pytest.mark.parametrize("what", ["training", "inference with gradients", "inference"])
def test_units_run_together_give_what_their_definition_gives(channels, size, what):
    def results():
        backend.seed(0)
        block = lived_in(FractalBlock(3, channels, 8)).train(what == "training")
        x = Tensor(images(4, size, size, channels), requires_grad=True)
        y = block(x)
        found = {"y": y.numpy(), **block.state_dict()}
        if what != "inference":
            (y * y).sum().backward()
            found |= {name: p.grad.numpy() for name, p in block.named_parameters()}
            found["x"] = x.grad.numpy()
        return found

    with no_grad() if what == "inference" else nullcontext():
        quick = results()
        with reference():
            written = results()
    for name, array in written.items():
        np.testing.assert_allclose(quick[name], array, rtol=1e-6, atol=1e-8, err_msg=name)


def test_another_norm_in_a_unit_is_used():
    unit = ConvUnit(2, 3)
    unit.norm = nn.LayerNorm(3)
    x = images(2, 4, 4, 2, dtype=np.float32)
    expected = unit.norm(unit.conv(x)).numpy()
    np.testing.assert_array_equal(unit(x).numpy(), expected)
    np.testing.assert_array_equal(unit.eval()(x).numpy(), expected)


def test_a_batch_norm_that_calls_itself_otherwise_is_called():
    class Twice(nn.BatchNorm2d):
        def __call__(self, x):
            return super().__call__(x) * 2

    unit, other = ConvUnit(2, 3), ConvUnit(2, 3)
    other.conv, other.norm = unit.conv, Twice(3, relu=True)
    x = images(2, 4, 4, 2, dtype=np.float32)
    np.testing.assert_allclose(other(x).numpy(), 2 * unit(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("momentum", 1.5), ("eps", -1.0), ("relu", None), ("relu", "yes")]
)
@pytest.mark.parametrize("training", [True, False])
def test_a_unit_refuses_settings_of_its_norm_as_the_norm_does(name, value, training):
    unit = ConvUnit(2, 3).train(training)
    setattr(unit.norm, name, value)
    with pytest.raises((ValueError, TypeError), match=f"^batch_norm: {name} needs"):
        unit(images(2, 4, 4, 2, dtype=np.float32))


@pytest.mark.parametrize("which", ["x", "weight"])
def test_a_unit_refuses_to_mix_types_in_inference(which):
    unit, x = ConvUnit(2, 3).eval(), images(2, 4, 4, 2, dtype=np.float32)
    if which == "x":
        x = images(2, 4, 4, 2)
    else:
        tensor = getattr(unit.norm, which)
        tensor.data = tensor.data.astype(np.float64)
    with no_grad(), pytest.raises(DTypeError, match="float32 and float64"):
        unit(x)


def test_a_unit_gives_a_tensor_for_an_array():
    unit, x = ConvUnit(2, 3).eval(), images(2, 4, 4, 2, dtype=np.float32)
    with no_grad():
        np.testing.assert_array_equal(unit(x.data).numpy(), unit(x).numpy())
