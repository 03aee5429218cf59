"""The fast 3×3 convolution against the definition, and what its rounding costs."""

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import backend
from tinyfractal.backend import asarray, asnumpy
from tinyfractal.fast import winograd
from tinyfractal.fast.conv import conv2d_each, outputs
from tinyfractal.fast.memory import Finish
from tinyfractal.ops import conv

# (N, H, W, C, O), border: tiles that fit and that do not, few tiles and many, several chunks
CASES = [
    ((1, 3, 3, 1, 1), ((1, 1), (1, 1))),
    ((2, 4, 4, 3, 2), ((1, 1), (1, 1))),
    ((3, 7, 9, 2, 5), ((1, 1), (1, 1))),
    ((2, 8, 8, 4, 3), ((0, 0), (0, 0))),
    ((2, 6, 5, 3, 4), ((2, 1), (0, 2))),
    ((2, 31, 33, 7, 7), ((1, 1), (1, 1))),
    ((9, 13, 12, 130, 3), ((1, 1), (1, 1))),
    ((40, 8, 8, 3, 70), ((1, 1), (1, 1))),
    ((2, 4, 4, 3, 130), ((1, 1), (1, 1))),
    ((0, 8, 8, 3, 4), ((1, 1), (1, 1))),
]


def drawn(shape, border, dtype=np.float64):
    n, h, w, c, o = shape
    rng = np.random.default_rng(sum(shape))
    (top, bottom), (left, right) = border
    x = rng.normal(size=(n, h, w, c)).astype(dtype)
    weight = rng.normal(size=(3, 3, c, o)).astype(dtype)
    g = rng.normal(size=(n, h + top + bottom - 2, w + left + right - 2, o)).astype(dtype)
    return x, weight, g


def forward(x, weight, border):
    """`winograd.forward`, there and home again."""
    return asnumpy(winograd.forward(asarray(x), [asarray(weight)], border)[0])


def backward(g, x, weight, border, wanted):
    """`winograd.backward`, there and home again."""
    gx, (gw,) = winograd.backward([asarray(g)], asarray(x), [asarray(weight)], border, wanted)
    return [None if array is None else asnumpy(array) for array in (gx, gw)]


def by_definition(x, weight, g, border):
    """Output and gradients, a tap at a time: no tiles, no points."""
    padded = np.pad(x, ((0, 0), *border, (0, 0)))
    y, gx, gw = np.zeros(g.shape, x.dtype), np.zeros_like(padded), np.zeros_like(weight)
    for u, v in np.ndindex(3, 3):
        tap = np.s_[:, u : u + g.shape[1], v : v + g.shape[2]]
        y += padded[tap] @ weight[u, v]
        gx[tap] += g @ weight[u, v].T
        gw[u, v] = np.einsum("nhwc,nhwo->co", padded[tap], g)
    (top, _), (left, _) = border
    return y, gx[:, top : top + x.shape[1], left : left + x.shape[2]], gw


@pytest.mark.parametrize(("shape", "border"), CASES)
def test_value_and_gradients_are_the_definitions(shape, border):
    x, weight, g = drawn(shape, border)
    y, gx, gw = by_definition(x, weight, g, border)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(forward(x, weight, border), y, **close)
    found = backward(g, x, weight, border, [True, True])
    np.testing.assert_allclose(found[0], gx, **close)
    np.testing.assert_allclose(found[1], gw, **close)


@pytest.mark.parametrize(("shape", "border"), [CASES[2], CASES[6]])
def test_only_what_is_wanted_is_computed(shape, border):
    x, weight, g = drawn(shape, border)
    gx, gw = backward(g, x, weight, border, [True, True])
    only_x = backward(g, x, weight, border, [True, False])
    only_w = backward(g, x, weight, border, [False, True])
    assert only_x[1] is None
    assert only_w[0] is None
    np.testing.assert_array_equal(only_x[0], gx)
    np.testing.assert_array_equal(only_w[1], gw)


def test_views_are_read_right_and_left_alone():
    x, weight, g = drawn((2, 9, 8, 4, 6), ((1, 1), (1, 1)))
    border = ((1, 1), (1, 1))
    views = [x[:, ::-1], weight.swapaxes(0, 1), g[:, :, ::-1]]
    for view in views:
        view.flags.writeable = False
    copies = [np.ascontiguousarray(view) for view in views]
    np.testing.assert_allclose(forward(*views[:2], border), forward(*copies[:2], border))
    found = backward(views[2], *views[:2], border, [True, True])
    expected = backward(copies[2], *copies[:2], border, [True, True])
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b)


def test_work_arrays_that_are_kept_carry_nothing_over():
    border = ((1, 1), (0, 2))
    x, weight, g = drawn((3, 9, 6, 8, 8), border)
    larger = drawn((5, 16, 16, 16, 8), border)
    first = forward(x, weight, border), *backward(g, x, weight, border, [True, True])
    for spoilt in (larger, (x, weight, g)):
        spoilt = [array * np.nan for array in spoilt]
        forward(*spoilt[:2], border)
        backward(spoilt[2], *spoilt[:2], border, [True, True])
    again = forward(x, weight, border), *backward(g, x, weight, border, [True, True])
    for a, b in zip(again, first):
        np.testing.assert_array_equal(a, b)


def test_what_interrupts_a_convolution_and_convolves_changes_nothing():
    border = ((1, 1), (1, 1))
    x, weight, _ = drawn((3, 9, 6, 8, 8), border)
    expected = forward(x, weight, border)

    class Interrupting(Finish):
        def __call__(self, y, *args):
            forward(-x, weight, border)  # as a signal handler may

    y = winograd.forward(asarray(x), [asarray(weight)], border, None, Interrupting())[0]
    np.testing.assert_array_equal(asnumpy(y), expected)


@pytest.mark.parametrize("channels", [16, 64, 256])
def test_float32_error_is_within_the_bound(channels):
    # 2e-5 of the largest number; a plain product of float32 stays near 1e-6
    border = ((1, 1), (1, 1))
    x, weight, g = drawn((4, 8, 8, channels, channels), border)
    exact = by_definition(x, weight, g, border)
    x, weight, g = (array.astype(np.float32) for array in (x, weight, g))
    found = [
        forward(x, weight, border),
        *backward(g, x, weight, border, [True, True]),
    ]
    for a, b in zip(found, exact):
        assert a.dtype == np.float32
        assert np.abs(a - b).max() < 2e-5 * np.abs(b).max()


def test_matrices_filter_polynomials():
    # Aᵀ[(G w) · (Bᵀ d)] is the correlation of 6 numbers with 3, for any numbers
    rng = np.random.default_rng(0)
    d, w = rng.normal(size=6), rng.normal(size=3)
    b, g, a = (np.array(m) for m in (winograd.BT, winograd.G, winograd.AT))
    np.testing.assert_allclose(a @ ((g @ w) * (b @ d)), np.correlate(d, w, "valid"))


def test_it_is_used_where_it_pays_and_only_there():
    def used(shape, kernel=3, stride=(1, 1), dilation=(1, 1), groups=1):
        n, h, w, c, o = shape
        x, weight = np.zeros((n, h, w, c)), np.zeros((kernel, kernel, c // groups, o))
        return winograd.suits(x, weight, ((1, 1), (1, 1)), stride, dilation, groups)

    assert used((32, 8, 8, 16, 16))
    assert used((1, 32, 32, 16, 16))
    assert not used((32, 8, 8, 3, 16))
    assert not used((32, 2, 2, 512, 512))
    assert not used((1, 4, 4, 64, 64))  # the transformed kernel would be most of the work
    assert not used((32, 8, 8, 16, 16), kernel=5)
    assert not used((32, 8, 8, 16, 16), stride=(2, 1))
    assert not used((32, 8, 8, 16, 16), dilation=(1, 2))
    assert not used((32, 8, 8, 16, 16), groups=2)


@pytest.mark.parametrize("channels", [3, 8, 40])  # windows, Winograd, a tap after the other
@pytest.mark.parametrize("side", [3, 9])
def test_bias_and_relu_are_added_on_the_way(channels, side):
    x, weight, _ = drawn((9, side, side, channels, 2 * channels), ((1, 1), (1, 1)))
    bias = np.random.default_rng(0).normal(size=2 * channels)
    plain = conv.conv2d(asarray(x), asarray(weight), padding=1)
    plan = conv.planned(asarray(x), asarray(weight), None, padding=1)[1]
    y = conv2d_each(asarray(x), [asarray(weight)], plan, [asarray(bias)], relu=True)
    np.testing.assert_allclose(asnumpy(y), np.maximum(asnumpy(plain) + bias, 0), atol=1e-11)


def test_conv2d_takes_it(monkeypatch, on_numpy):
    calls = []
    for name in ("forward", "backward"):
        real = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, real=real, **k: calls.append(1) or real(*a))
    from tinyfractal import Tensor

    x, weight, _ = drawn((9, 16, 16, 8, 8), ((1, 1), (1, 1)), np.float32)
    y = conv.conv2d(Tensor(x, requires_grad=True), Tensor(weight, requires_grad=True))
    y.sum().backward()
    assert len(calls) == 2


# ----- Several kernels on the same images -----


@pytest.mark.parametrize("channels", [3, 8], ids=["windows", "winograd"])
@pytest.mark.parametrize("used", [(0, 1, 2), (2, 0), (1,)])
def test_several_kernels_give_what_each_gives_by_itself(channels, used):
    x, _, _ = drawn((3, 9, 10, channels, 8), ((1, 1), (1, 1)))
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=(3, 3, channels, 8)) for _ in range(3)]

    def results(convolve):
        leaves = [tf.Tensor(asarray(a), requires_grad=True) for a in (x, *kernels)]
        ys = convolve(*leaves)
        sum((k + 1.0) * (ys[k] * ys[k]).sum() for k in used).backward()
        return [asnumpy(y.data) for y in ys], [
            np.zeros(leaf.shape) if leaf.grad is None else asnumpy(leaf.grad.data)
            for leaf in leaves
        ]

    plan = conv.planned(asarray(x), asarray(kernels[0]), None, padding="same")[1]
    together = results(lambda x, *ws: outputs(conv2d_each(x, ws, plan), len(ws)))
    one_by_one = results(lambda x, *ws: [tf.conv2d(x, w, padding="same") for w in ws])
    for a, b in zip(together[0] + together[1], one_by_one[0] + one_by_one[1]):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("channels", [3, 8], ids=["windows", "winograd"])
def test_statistics_taken_on_the_way_are_those_of_the_output(channels):
    x, weight, _ = drawn((5, 9, 10, channels, 8), ((1, 1), (1, 1)), np.float32)
    x, weights = asarray(x), [asarray(weight), asarray(2 * weight)]
    found: list = []
    plan = conv.planned(x, weights[0], None, padding="same")[1]
    ys = conv2d_each(x, weights, plan, statistics=found)
    if backend.current() == "cupy":
        assert not found  # it would have to wait for them
    else:
        exact = asnumpy(ys).astype(np.float64)
        np.testing.assert_allclose(found[0], exact.mean(axis=(1, 2, 3)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found[1], exact.var(axis=(1, 2, 3)), rtol=1e-5)


def test_statistics_that_would_lose_too_many_digits_are_not_given():
    x, weight = (np.full(shape, 100.0, np.float32) for shape in ((4, 8, 8, 8), (3, 3, 8, 8)))
    x, weight, found = asarray(x), asarray(weight), []
    conv2d_each(x, [weight], conv.planned(x, weight, None)[1], statistics=found)
    assert not found  # all numbers are alike: the variance is the rounding
