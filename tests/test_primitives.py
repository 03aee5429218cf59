"""Every function of the library, over the table `cases.CASES`: value, gradients, types.

A row is missing? Then `test_every_function_has_a_row` fails: add one to `cases.py`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyfractal as tf
from tinyfractal import Tensor, backend
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.engine.primitive import Primitive, primitive

from .cases import CASES

BINARY = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"]
FUSED = sorted(name for name, row in PRIMITIVES.items() if type(row) is not Primitive)  # of `fast/`
every = pytest.mark.parametrize("name", sorted(CASES))
fewer = settings(max_examples=max(5, settings.default.max_examples // 3))


def drawn(name, data, dtype=np.float64):
    """(f, arrays, call): a function of arrays alone, and arrays for it, on the backend.

    Those of the call itself are on the host, and on the NumPy backend they are the same.
    """
    call = data.draw(CASES[name].draw)
    call = call if dtype == np.float64 else call.cast(dtype)
    for array in call.arrays:
        array.flags.writeable = False  # whoever writes into an argument fails
    arrays = [backend.asarray(array) for array in call.arrays]
    return CASES[name].function(name, call.settings), arrays, call


def tensors(arrays):
    """Leaves around these very arrays."""
    tensors = [Tensor.of(array) for array in arrays]  # not Tensor(array), which would copy a view
    for tensor in tensors:
        tensor.requires_grad = True
    return tensors


def weights(y):
    """A gradient for y, of its type."""
    return Tensor(np.random.default_rng(1).uniform(0.5, 1.5, y.shape).astype(y.dtype))


def gradients(f, arrays, create_graph=False):
    """The value of f and its gradients; with `create_graph` also those of the gradients."""
    xs = tensors(arrays)
    y = f(*xs)
    first = tf.grad(y, xs, weights(y), create_graph=create_graph, allow_unused=True)
    found = [y, *first]
    if create_graph:
        energy = sum((g * g).sum() for g in first if g is not None)
        if isinstance(energy, Tensor) and energy.requires_grad:
            found += tf.grad(energy, xs, allow_unused=True)
    return [np.zeros(()) if g is None else g.data for g in found]


def test_every_function_has_a_row():
    missing = (set(tf.ops.__all__) | set(PRIMITIVES)) - set(CASES)
    assert not missing, f"add a row for {sorted(missing)} to CASES in tests/cases.py"


@every
@given(data=st.data())
def test_value(name, data):
    f, arrays, call = drawn(name, data)
    y = f(*tensors(arrays))
    expected = CASES[name].oracle(*call.arrays, **call.settings)
    np.testing.assert_allclose(y.data, expected, rtol=1e-9, atol=1e-12)
    assert y.shape == np.shape(expected)
    plain = f(*arrays)
    assert not isinstance(plain, Tensor)
    np.testing.assert_array_equal(plain, y.data)


@every
@given(data=st.data())
def test_gradient(name, data):
    f, arrays, _ = drawn(name, data)
    tf.gradcheck(f, *arrays)


@every
@fewer
@given(data=st.data())
def test_second_derivative(name, data):
    f, arrays, _ = drawn(name, data)
    tf.gradcheck(f, *arrays, order=2, rtol=2e-5, atol=1e-6)


@every
@given(data=st.data())
def test_float32_stays_float32(name, data):
    f, arrays, call = drawn(name, data, np.float32)
    xs = tensors(arrays)
    y = f(*xs)
    assert y.dtype == (np.float32 if CASES[name].keeps_dtype else np.float64)
    y.backward(weights(y))
    for x in xs:
        assert x.grad.dtype == np.float32
        assert x.grad.shape == x.shape
    wide = (array.astype(np.float64) for array in call.arrays)
    expected = CASES[name].oracle(*wide, **call.settings)
    np.testing.assert_allclose(y.data, expected, rtol=1e-3, atol=1e-4)


@every
@fewer
@given(data=st.data())
def test_gradient_of_a_recorded_backward_is_the_same(name, data):
    f, arrays, _ = drawn(name, data, data.draw(st.sampled_from([np.float32, np.float64])))
    xs = tensors(arrays)
    y = f(*xs)
    kept = tf.grad(y, xs, weights(y), retain_graph=True)
    recorded = tf.grad(y, xs, weights(y), create_graph=True)
    for a, b in zip(kept, recorded):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(
            a.data, b.data, rtol=1e-4 if a.dtype == np.float32 else 1e-8, atol=1e-5
        )


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.True_])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_numbers_take_the_type_of_the_tensor(name, number, shape):
    f = getattr(tf, name)
    for call in (lambda x: f(x, number), lambda x: f(number, x)):
        x = Tensor(np.full(shape, 1.5, np.float32), requires_grad=True)
        y = call(x)
        (g,) = tf.grad(y, [x], np.ones(shape), create_graph=True)
        assert (y.dtype, g.dtype) == (np.float32, np.float32)
        y.backward(np.ones(shape))
        assert x.grad.dtype == np.float32
        np.testing.assert_allclose(x.grad.data, g.data)


@pytest.mark.parametrize("name", FUSED)
@given(data=st.data())
def test_fast_rules_agree_with_their_reference(name, data):
    f, arrays, _ = drawn(name, data)
    fast = gradients(f, arrays, create_graph=False)
    both = gradients(f, arrays, create_graph=True)
    with tf.reference():
        slow = gradients(f, arrays, create_graph=True)
    for a, b in zip(fast, slow):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)
    assert len(both) == len(slow)
    for a, b in zip(both, slow):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", FUSED)
@given(data=st.data())
def test_reference_is_made_of_small_primitives_and_stays_float32(name, data):
    f, arrays, _ = drawn(name, data, np.float32)
    with tf.reference():
        y = f(*tensors(arrays))
    assert y.dtype == np.float32
    stack, seen = [y.node], set()
    while stack:
        node = stack.pop()
        if node not in seen and hasattr(node, "primitive"):
            seen.add(node)
            stack += node.parents
    assert all(type(node.primitive) is Primitive for node in seen)


def test_a_primitive_may_be_defined_again_but_not_take_the_place_of_the_librarys():
    @primitive(lambda g, _y, _x: 3 * g)
    def threefold(x):
        return 3 * x

    @primitive(lambda g, _y, _x: 3 * g)
    def threefold(x):  # noqa: F811 (as when a notebook's cell runs twice)
        return 3 * x

    with pytest.raises(ValueError, match="mul is already a primitive"):

        @primitive(lambda g, _y, _x: g)
        def mul(x):
            return x

    assert (Tensor([2.0]) * 3.0).item() == 6.0
