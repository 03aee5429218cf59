"""The same numbers as PyTorch, forward and backward, in float64 and float32.

Each row of a table is (our function, theirs, shapes or arrays). PyTorch has images as (N, C, H, W)
and kernels as (C_out, C_in, kh, kw); `images` turns theirs into functions of our layout.
"""

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
F = torch.nn.functional
both_types = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def compare(ours, theirs, inputs, dtype):
    """Assert that value and all gradients agree; inputs are shapes, or arrays."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.normal(size=x) if isinstance(x, tuple) else x, dtype) for x in inputs]
    xs = [Tensor(a.copy(), requires_grad=True) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, t = ours(*xs), theirs(*ts)
    tolerance = {np.float64: (1e-9, 1e-10), np.float32: (2e-4, 2e-5)}[dtype]
    assert y.dtype == dtype
    assert y.shape == tuple(t.shape)
    np.testing.assert_allclose(y.data, t.detach().numpy(), *tolerance)
    if not t.requires_grad:
        return
    g = rng.normal(size=y.shape).astype(dtype)
    y.backward(g)
    t.backward(torch.tensor(g))
    for x, leaf in zip(xs, ts):
        assert x.grad.dtype == dtype
        np.testing.assert_allclose(x.grad.data, leaf.grad.numpy(), *tolerance)


def images(theirs):
    """A function of PyTorch's layout as a function of ours: x, and perhaps a kernel."""

    def channels_last(x, *rest):
        rest = [w.permute(3, 2, 0, 1) if w.ndim == 4 else w for w in rest]
        return theirs(x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)

    return channels_last


def named(rows):
    """Rows with their names as test ids."""
    return pytest.mark.parametrize("row", [pytest.param(row[1:], id=row[0]) for row in rows])


FAR = [-1000.0, -30.0, -1.0, 0.0, 1.0, 30.0, 1000.0]
NEAR = [-2.0, -0.5, 0.0, 0.5, 2.0]
POSITIVE = [0.1, 1.0, 3.0]
TIES = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]

ELEMENTWISE = [
    ("add", tf.add, torch.add, [(2, 3), (3,)]),
    ("sub", tf.sub, torch.sub, [(2, 1), (3,)]),
    ("mul", tf.mul, torch.mul, [(2, 3), ()]),
    ("div", tf.div, torch.div, [(2, 3), POSITIVE]),
    ("neg", tf.neg, torch.neg, [NEAR]),
    ("exp", tf.exp, torch.exp, [NEAR]),
    ("log", tf.log, torch.log, [POSITIVE]),
    ("sqrt", tf.sqrt, torch.sqrt, [POSITIVE]),
    ("sin", tf.sin, torch.sin, [NEAR]),
    ("cos", tf.cos, torch.cos, [NEAR]),
    ("tanh", tf.tanh, torch.tanh, [FAR]),
    ("sigmoid", tf.sigmoid, torch.sigmoid, [FAR]),
    ("softplus", tf.softplus, F.softplus, [FAR]),
    ("gelu", tf.gelu, lambda x: F.gelu(x, approximate="tanh"), [NEAR]),
    # kinks and ties: the same choice
    ("abs", tf.abs, torch.abs, [NEAR]),
    ("relu", tf.relu, F.relu, [FAR]),
    ("leaky_relu", tf.leaky_relu, F.leaky_relu, [NEAR]),
    ("clip", lambda x: tf.clip(x, -0.5, 1), lambda x: x.clamp(-0.5, 1), [NEAR]),
    ("clip below", lambda x: tf.clip(x, min=0.5), lambda x: x.clamp(min=0.5), [NEAR]),
    ("maximum", tf.maximum, torch.maximum, [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]),
    ("minimum", tf.minimum, torch.minimum, [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]),
    ("where", lambda a, b: tf.where(a.data > b.data, a, b), lambda a, b: torch.where(a > b, a, b),
     [(2, 3), (3,)]),
]  # fmt: skip
POWERS = [
    (f"{base} ** {n}, {ending}", f, f, arrays)
    for base, n in [(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.0, 3.0), (2.0, 0.0), (2.0, -1.0),
                    (-2.0, 3.0), (2.0, 0.5), (-2.0, 1.0), (0.0, 1.5)]
    for ending, f, arrays in [
        ("number", lambda x, n=n: x**n, [[base, 1.0]]),
        ("integer", lambda x, n=int(n): x**n, [[base, 1.0]]),
        ("0-d", lambda x, n=n: x**n, [base]),
        ("array", lambda x, n: x**n, [[abs(base), 1.0], [n, 2.0]]),
        ("base", lambda n, base=base: abs(base) ** n, [[n, 2.0]]),
        ("0-d base", lambda n, base=base: abs(base) ** n, [n]),
    ]
]  # fmt: skip
REDUCTIONS = [
    ("sum", lambda x: x.sum((0, -1)), lambda x: x.sum((0, -1)), [(2, 3, 4)]),
    ("sum all", lambda x: x.sum(), lambda x: x.sum(), [(2, 3)]),
    ("sum empty", lambda x: x.sum(0), lambda x: x.sum(0), [(0, 3)]),
    ("mean", lambda x: x.mean(1, keepdims=True), lambda x: x.mean(1, keepdim=True), [(2, 3)]),
    ("var", lambda x: x.var(1), lambda x: x.var(1, correction=0), [(2, 3)]),
    ("var n - 1", lambda x: x.var((0, 2), ddof=1), lambda x: x.var((0, 2)), [(2, 3, 4)]),
    ("max", lambda x: x.max(1), lambda x: x.amax(1), [TIES]),
    ("max all", lambda x: x.max(), lambda x: x.amax(), [TIES]),
    ("min", lambda x: x.min(-1, keepdims=True), lambda x: x.amin(-1, keepdim=True), [TIES]),
    ("logsumexp", lambda x: tf.logsumexp(x, axis=(0, 1)), lambda x: x.logsumexp((0, 1)), [(2, 3)]),
    ("logsumexp far", lambda x: tf.logsumexp(x, 0), lambda x: x.logsumexp(0), [FAR]),
    ("softmax", tf.softmax, lambda x: x.softmax(-1), [(2, 3)]),
    ("softmax far", lambda x: tf.softmax(x, 0), lambda x: x.softmax(0), [FAR]),
    ("log_softmax", lambda x: tf.log_softmax(x, 0), lambda x: x.log_softmax(0), [FAR]),
]
PAD = ((0, 0), (1, 2), (2, 1))
SHAPES = [
    ("reshape", lambda x: x.reshape(3, -1), lambda x: x.reshape(3, -1), [(2, 3)]),
    ("transpose", lambda x: x.transpose(2, 0, 1), lambda x: x.permute(2, 0, 1), [(2, 3, 4)]),
    ("broadcast_to", lambda x: tf.broadcast_to(x, (4, 2, 3)), lambda x: x.expand(4, 2, 3),
     [(2, 1)]),
    ("squeeze", tf.squeeze, torch.squeeze, [(1, 3, 1)]),
    ("expand_dims", lambda x: tf.expand_dims(x, -2), lambda x: x.unsqueeze(-2), [(2, 3)]),
    ("flip", lambda x: tf.flip(x, (0, 1)), lambda x: x.flip(0, 1), [(2, 3)]),
    ("getitem", lambda x: x[1:, [0, 0, 2]], lambda x: x[1:, [0, 0, 2]], [(3, 3)]),
    ("getitem None", lambda x: x[..., None, 0], lambda x: x[..., None, 0], [(3, 3)]),
    ("scatter", lambda x: tf.scatter(x, [1, 1, 0], (4,)),
     lambda x: torch.zeros(4, dtype=x.dtype).index_add(0, torch.tensor([1, 1, 0]), x), [(3,)]),
    ("split", lambda x: tf.split(x, 2, 1)[1], lambda x: x.chunk(2, 1)[1], [(3, 4)]),
    ("concatenate", lambda *x: tf.concatenate(x, 1), lambda *x: torch.cat(x, 1), [(2, 1), (2, 3)]),
    ("stack", lambda *x: tf.stack(x, -1), lambda *x: torch.stack(x, -1), [(2, 3), (2, 3)]),
    ("pad", lambda x: tf.pad(x, PAD), lambda x: F.pad(x, (2, 1, 1, 2)), [(2, 3, 3)]),
    ("pad reflect", lambda x: tf.pad(x, PAD, "reflect"),
     lambda x: F.pad(x, (2, 1, 1, 2), mode="reflect"), [(2, 3, 3)]),
]  # fmt: skip
PRODUCTS = [
    ("matmul", tf.matmul, torch.matmul, [(2, 1, 3, 4), (5, 4, 2)]),
    ("vector vector", tf.matmul, torch.matmul, [(3,), (3,)]),
    ("matrix vector", tf.matmul, torch.matmul, [(2, 3), (3,)]),
    ("vector matrices", tf.matmul, torch.matmul, [(3,), (2, 3, 4)]),
    ("linear", tf.linear, lambda x, w, b: F.linear(x, w.T, b), [(2, 5, 3), (3, 4), (4,)]),
]


@both_types
@named(ELEMENTWISE + POWERS + REDUCTIONS + SHAPES + PRODUCTS)
def test_function(row, dtype):
    with np.errstate(all="ignore"):
        compare(*row, dtype)


CONVOLUTIONS = [  # x, kernel, settings of ours, settings of theirs where they differ
    ((2, 5, 6, 3), (3, 3, 3, 4), {}, {}),
    ((2, 5, 6, 3), (1, 1, 3, 4), {"stride": 2}, {}),
    ((2, 5, 6, 3), (3, 2, 3, 4), {"padding": "same"}, {}),
    ((2, 5, 6, 3), (2, 3, 3, 4), {"padding": "same", "dilation": (2, 1)}, {}),
    ((2, 7, 6, 3), (3, 3, 3, 4), {"stride": (2, 1), "padding": (1, 2)}, {}),
    ((2, 7, 7, 3), (3, 2, 3, 4), {"dilation": (2, 3), "padding": 1}, {}),
    ((2, 5, 5, 4), (3, 3, 2, 6), {"groups": 2, "padding": 1, "stride": 2}, {}),
    ((2, 5, 5, 3), (3, 3, 1, 3), {"groups": 3}, {}),
    ((0, 5, 5, 3), (3, 3, 3, 2), {"padding": 1}, {}),
    ((1, 1, 1, 1), (1, 1, 1, 1), {}, {}),
    ((2, 5, 5, 3), (3, 3, 3, 2), {"padding": 2, "padding_mode": "reflect"}, {"padding": 0}),
]


@both_types
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("x", "kernel", "ours", "theirs"), CONVOLUTIONS)
def test_conv2d(x, kernel, ours, theirs, bias, dtype):
    reflect = ours.get("padding_mode") == "reflect"
    settings = {**ours, **theirs}
    settings.pop("padding_mode", None)

    def convolve(x, *rest):
        x = F.pad(x, (ours["padding"],) * 4, mode="reflect") if reflect else x
        return F.conv2d(x, *rest, **settings)

    inputs = [x, kernel, kernel[3:]] if bias else [x, kernel]
    compare(lambda *a: tf.conv2d(*a, **ours), images(convolve), inputs, dtype)


def with_ties(*shape):
    """Small whole numbers: most windows have several that are largest."""
    return np.random.default_rng(1).integers(0, 3, shape).astype(np.float64)


@both_types
@pytest.mark.parametrize("x", [(2, 5, 6, 3), (0, 4, 4, 1), with_ties(2, 6, 6, 2)])
@pytest.mark.parametrize(
    "settings", [(2,), (2, 1), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), (4, 4, 2), (1,)]
)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(kind, x, settings, dtype):
    ours = {"max": tf.max_pool2d, "avg": tf.avg_pool2d}[kind]
    theirs = {"max": F.max_pool2d, "avg": F.avg_pool2d}[kind]
    compare(lambda x: ours(x, *settings), images(lambda x: theirs(x, *settings)), [x], dtype)


def test_first_of_equals_takes_the_gradient_of_max_pool2d():
    x = Tensor(np.ones((1, 2, 2, 1)), requires_grad=True)
    tf.max_pool2d(x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.data.ravel(), [1, 0, 0, 0])


@both_types
def test_global_avg_pool(dtype):
    compare(tf.global_avg_pool, lambda x: x.mean((1, 2)), [(2, 3, 4, 5)], dtype)


@both_types
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(8, 3), (4, 5, 3, 3)])
def test_batch_norm_and_its_running_statistics(shape, training, dtype):
    start = np.array([0.5, -1.0, 2.0], dtype), np.array([1.0, 2.0, 0.5], dtype)
    ours = [tf.backend.xp.array(tf.backend.asarray(a)) for a in start]
    theirs = [torch.tensor(a) for a in start]

    def normalize(x, w, b):
        return F.batch_norm(x, *theirs, w, b, training, 0.3, 1e-3)

    compare(
        lambda x, w, b: tf.batch_norm(x, w, b, *ours, training, 0.3, 1e-3),
        images(normalize) if len(shape) == 4 else normalize,
        [shape, (3,), (3,)],
        dtype,
    )
    for a, t in zip(ours, theirs):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, t.numpy(), 1e-5 if dtype == np.float32 else 1e-12)


@both_types
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 2, 4)])
def test_layer_norm(shape, dtype):
    theirs = lambda x, w, b: F.layer_norm(x, (4,), w, b, 1e-3)  # noqa: E731
    compare(lambda *a: tf.layer_norm(*a, eps=1e-3), theirs, [shape, (4,), (4,)], dtype)


@both_types
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("logits", [(4, 3), [[1000.0, 0.0, -1000.0]] * 4])
def test_cross_entropy(logits, smoothing, reduction, dtype):
    labels = np.array([0, 2, 1, 1])
    settings = {"label_smoothing": smoothing, "reduction": reduction}
    compare(
        lambda x: tf.cross_entropy(x, labels, **settings),
        lambda x: F.cross_entropy(x, torch.tensor(labels), **settings),
        [logits],
        dtype,
    )


@both_types
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss(reduction, dtype):
    inputs = [(2, 3), (2, 3)]
    compare(
        lambda p, t: tf.mse_loss(p, t, reduction),
        lambda p, t: F.mse_loss(p, t, reduction=reduction),
        inputs,
        dtype,
    )


@pytest.mark.parametrize("f", ["softplus", "sigmoid", "tanh"])
def test_second_derivative_far_out(f):
    x = Tensor(np.array(FAR), requires_grad=True)
    t = torch.tensor(FAR, dtype=torch.float64, requires_grad=True)
    first = tf.grad(getattr(tf, f)(x).sum(), x, create_graph=True)
    theirs = torch.autograd.grad(getattr(F, f)(t).sum(), t, create_graph=True)[0]
    second = tf.grad((first * first).sum(), x)
    expected = torch.autograd.grad((theirs * theirs).sum(), t)[0]
    np.testing.assert_allclose(second.data, expected.numpy(), rtol=1e-9, atol=1e-12)
