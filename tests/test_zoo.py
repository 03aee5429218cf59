"""What FractalNet is compared with, and the article's example."""

import re

import numpy as np
import pytest

from tinyfractal import FractalNet, Tensor, nn
from tinyfractal.engine.definition import RULES
from tinyfractal.fractal import ConvUnit, fractal_depth, fractal_parameters
from tinyfractal.recurse import article_example, depth_table, measure, measured_depth
from tinyfractal.zoo import PlainNet, ResidualUnit, ResNet


def images(*shape, dtype=np.float32, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def convolutions(net, x):
    return measured_depth(net.eval()(x), kinds=("conv2d" if RULES else "matmul",))


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("kind", [PlainNet, ResNet])
def test_depth_and_shape_match_a_fractal_net(kind, columns):
    channels, x = (2, 3, 3), images(2, 8, 8, 2)
    fractal = FractalNet(2, 5, columns, channels)
    other = kind(2, 5, channels, depth=fractal_depth(columns))
    assert convolutions(other, x) == convolutions(fractal, x) == fractal.depth
    assert other(x).shape == fractal(x).shape == (2, 5)


@pytest.mark.parametrize("kind", [PlainNet, ResNet])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_any_depth_even_or_odd(kind, depth):
    net = kind(1, 4, (2, 3), depth)
    assert convolutions(net, images(2, 4, 4, 1)) == 2 * depth
    loss = net.train()(images(2, 4, 4, 1)).sum()
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_plain_network_is_the_same_as_a_fractal_net_of_one_column():
    plain, fractal = PlainNet(2, 3, (2, 3), depth=1), FractalNet(2, 3, 1, (2, 3))
    state = fractal.state_dict().values()
    plain.load_state_dict(dict(zip(plain.state_dict(), state, strict=True)))
    x = images(3, 4, 4, 2)
    for net in (plain, fractal):
        net.eval()
    assert plain(x).data.tobytes() == fractal(x).data.tobytes()
    assert plain.count_parameters() == fractal_parameters(1, (2, 3), 2, 3)


def test_dropout_reaches_the_units():
    for net in (PlainNet(depth=3, dropout=0.3), ResNet(depth=3, dropout=0.3)):
        rates = {m.p for _, m in net.named_modules() if isinstance(m, nn.Dropout)}
        assert rates == {0.3}


@pytest.mark.parametrize("count", [1, 2])
def test_a_residual_unit_adds_what_its_convolutions_compute(count):
    unit = ResidualUnit(3, 3, count).astype(np.float64).eval()
    assert not hasattr(unit, "shortcut")
    assert sum(isinstance(m, ConvUnit) for _, m in unit.named_modules()) == count - 1
    x = images(2, 4, 4, 3, dtype=np.float64)
    inside = x
    for layer in unit.units:
        inside = layer(inside)
    expected = np.maximum((x + unit.norm(unit.conv(inside))).numpy(), 0)
    np.testing.assert_array_equal(unit(x).data, expected)
    unit.norm.weight.data[:] = 0  # then only the way around is left
    np.testing.assert_array_equal(unit(x).data, np.maximum(x.numpy(), 0))


def test_where_channels_change_x_goes_through_a_1x1_convolution():
    unit = ResidualUnit(2, 3).astype(np.float64).eval()
    unit.norm.weight.data[:] = 0
    x = images(2, 4, 4, 2, dtype=np.float64)
    kernel = unit.shortcut[0].weight.numpy()
    assert kernel.shape == (1, 1, 2, 3)
    expected = np.maximum(x.numpy() @ kernel[0, 0] / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(unit(x).data, expected, rtol=1e-12)


# ----- The article's example, and depth against parameters -----


def test_the_article_prints_its_three_lines():
    assert article_example() == (
        "Input Shape: (10,)\nOutput Shape: (10,)\nModel successfully applied recursive structure."
    )


def test_measured_depth_counts_the_longest_path_and_only_the_kinds_asked_for():
    x = Tensor(np.ones((2, 2)), requires_grad=True)
    w = Tensor(np.ones((2, 2)), requires_grad=True)
    assert measured_depth(x) == 0
    y = (x @ w) @ w + x @ w
    assert measured_depth(y) == 2
    assert measured_depth(y, kinds=("conv2d",)) == 0
    assert measured_depth(y, kinds=("matmul", "add")) == 3
    assert measured_depth(y * 0 + y) == 2


def test_parameters_are_constant_in_depth_only_where_the_layer_is_shared():
    width = 4
    rows = measure(max_columns=4, width=width)
    unit = 9 * width * width + 2 * width
    for columns, (depth, shared, fractal, plain, resnet) in enumerate(rows, 1):
        assert depth == 2 ** (columns - 1)
        assert shared == unit
        assert fractal == (2**columns - 1) * unit
        assert plain == resnet == depth * unit


def test_the_depth_table_shows_what_was_measured():
    lines = depth_table(max_columns=3, width=4).splitlines()
    assert "3×3, 4 channels" in lines[0]
    numbers = [tuple(int(n.replace(",", "")) for n in re.findall(r"[\d,]+", x)) for x in lines[3:]]
    assert numbers == measure(max_columns=3, width=4)
    assert len({len(line) for line in lines[2:]}) == 1
