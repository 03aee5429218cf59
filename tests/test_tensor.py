"""A Tensor in the hand: changes in place, types of number, comparison, printing, NumPy's manners.

Comments that begin "Trap" name mistakes that other small engines really made.
"""

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor
from tinyfractal.backend import asarray
from tinyfractal.errors import DTypeError, GraphError, ShapeError


def leaf(value, dtype=np.float64):
    """A leaf that needs a gradient."""
    return Tensor(np.array(value, dtype), requires_grad=True)


# ----- Changes in place -----


def add_one(x):
    """x += 1."""
    x += 1


def set_first(x):
    """x[0] = 5."""
    x[0] = 5.0


CHANGES = {  # what is done to x, an array of three numbers, after the forward pass
    "copy_": lambda x: x.copy_(asarray(np.zeros(3))),
    "setitem": set_first,
    "+=": add_one,
    "through a reshape": lambda x: add_one(x.reshape(3, 1)),
    "through a slice": lambda x: add_one(x[1:]),
    "through a transpose": lambda x: add_one(x.T),
    "through detach": lambda x: add_one(x.detach()),
}
KEEPING = {  # what is computed from x, and what of it the rule keeps
    "mul, argument 1": lambda x: (x * leaf([1.0, 2.0, 3.0]), x),
    "mul, argument 2": lambda x: (leaf([1.0, 2.0, 3.0]) * x, x),
    "exp, its output": lambda x: [tf.exp(x)] * 2,
    "relu, its output": lambda x: [tf.relu(x)] * 2,
    "linear": lambda x: (x.reshape(1, 3) @ leaf(np.ones((3, 2))), x),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("keeping", KEEPING)
def test_changing_what_backward_needs_is_refused(keeping, change):
    y, kept = KEEPING[keeping](leaf([1.0, 2.0, 3.0]))
    with tf.no_grad():
        CHANGES[change](kept)
    with pytest.raises(GraphError, match=r"was changed in place \(.*\) after the forward pass"):
        y.sum().backward()


def test_the_refusal_names_operation_array_and_change():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = a * b
    with tf.no_grad():
        b += 1
    with pytest.raises(
        GraphError,
        match=r"backward through mul: argument 2 of shape \(2,\) was changed in place \(\+=\)",
    ):
        y.sum().backward()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + 1,
        lambda x: x - x,
        lambda x: x.sum() + x.mean(),
        lambda x: tf.stack([x, x, x]),
        lambda x: tf.join([x, x, x]),
        lambda x: x[[0, 0]],
        lambda x: tf.exp(x.detach()) * x,
        lambda x: x * 2,
    ],
)
def test_changing_what_no_rule_kept_is_no_alarm(f):
    x = leaf([1.0, 2.0, 3.0])
    y = f(x)
    with tf.no_grad():
        x += 1
    y.sum().backward()
    assert x.grad is not None


def test_constants_are_watched_too():
    x, c = leaf([1.0, 2.0]), Tensor(np.array([3.0, 4.0]))
    y = (x * c).sum()
    c += 1  # no gradient, so it may be changed; but y remembers the old one
    with pytest.raises(GraphError, match="argument 2"):
        y.backward()


@pytest.mark.parametrize("f", [lambda h: h * h * h, lambda h: tf.layer_norm(h, h + 1, h)])
def test_a_change_between_two_derivatives_is_refused(f):
    x = leaf([1.0, 2.0])
    h, c = x * 2, Tensor(np.array([1.0, 3.0]))
    g = tf.grad((f(h) * c).sum(), x, create_graph=True)
    assert tf.grad(g.sum(), x, retain_graph=True) is not None
    with tf.no_grad():
        h += 1
    with pytest.raises(GraphError, match="changed in place"):
        tf.grad(g.sum(), x)


def test_a_constant_changed_between_two_derivatives_is_refused():
    x, c = leaf([1.0, 2.0]), Tensor(np.array([1.0, 3.0]))
    g = tf.grad(tf.sin(x * c).sum(), x, create_graph=True)  # cos(x c) c
    c += 1
    with pytest.raises(GraphError, match="changed in place"):
        tf.grad(g.sum(), x)


@pytest.mark.parametrize("change", ["copy_", "setitem", "+="])
def test_changing_a_recorded_tensor_is_refused(change):
    computed = [] if change == "+=" else [leaf([1.0, 2.0, 3.0]) * 2]
    for x in (leaf([1.0, 2.0, 3.0]), *computed):
        with pytest.raises(GraphError, match=r"this Tensor of shape \(3,\) needs a gradient"):
            CHANGES[change](x)


def test_a_recorded_value_is_not_lost_in_a_change():
    total = Tensor(np.zeros(2))
    with pytest.raises(GraphError, match=r"\+=: the new value, a Tensor of shape \(2,\) needs"):
        total += leaf([1.0, 2.0]) * 2
    with pytest.raises(GraphError, match="setitem: the new value"):
        total[0] = leaf(1.0)


def test_in_place_operators_leave_the_same_tensor():
    # Trap: `a += b` left None in a, since the method returned nothing
    a = before = Tensor(np.array([1.0, 2.0]))
    a += 1
    a *= asarray(np.array([2.0, 3.0]))
    a -= Tensor(np.array([1.0, 1.0]))
    a /= 2
    assert a is before
    np.testing.assert_allclose(a.data, [1.5, 4])
    a **= 2  # no such operator: a new Tensor
    assert isinstance(a, Tensor)
    scalar = Tensor(1.0)
    scalar += 1
    assert scalar.item() == 2


# ----- Types of number -----


def test_numbers_and_lists_become_float32_and_arrays_keep_their_type():
    assert Tensor(1).dtype == Tensor([1, 2]).dtype == Tensor(True).dtype == np.float32
    assert Tensor(np.arange(3)).dtype == np.int64
    assert Tensor(np.ones(2)).dtype == np.float64
    assert Tensor([1.0], dtype=np.float64).dtype == np.float64


def test_integers_have_no_gradient():
    with pytest.raises(DTypeError, match=r"data needs floating-point.* got int64"):
        Tensor(np.arange(3), requires_grad=True)
    with pytest.raises(DTypeError, match=r"astype: .*float32 or float64, got int64"):
        leaf([1.0]).astype(np.int64)


def test_numpy_numbers_do_not_widen():
    # Trap: NumPy 2 lets np.float64(2) and arrays of shape () turn float32 into float64
    x = leaf([1.0, 2.0], np.float32)
    for number in (np.float64(2), np.float32(2), np.int64(2), np.bool_(True), 2, 2.0, True):
        for y in (x + number, number * x, x / number, number - x, x**number):
            assert isinstance(y, Tensor)
            assert y.dtype == np.float32
    assert (x.sum() * np.float64(2)).dtype == np.float32


@pytest.mark.parametrize("other", [np.arange(2), np.array([True, False]), np.arange(2, dtype="u1")])
def test_integers_and_booleans_follow_the_floats(other):
    x, other = leaf([1.0, 2.0], np.float32), asarray(other)
    for y in (x * other, other * x, x * Tensor(other)):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y.data, x.data * other.astype(np.float32))


def test_mixed_floats_are_refused():
    x = leaf([1.0, 2.0], np.float32)
    with pytest.raises(DTypeError, match=r"mul: .*mix float32 and float64.*\.astype"):
        x * asarray(np.ones(2))
    with pytest.raises(DTypeError, match="add"):
        x + Tensor(np.ones(()))
    with pytest.raises(DTypeError, match=r"backward: the gradient is float64, the output float32"):
        x.backward(Tensor(np.ones(2)))
    assert (x.astype(np.float64) * asarray(np.ones(2))).dtype == np.float64


def test_astype_brings_the_gradient_back_in_the_old_type():
    x = leaf([1.0, 2.0], np.float32)
    (x.astype(np.float64) * asarray(np.array([2.0, 3.0]))).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(x.grad.data, [2, 3])


# ----- NumPy's manners -----


def test_arrays_and_tensors_mix_from_either_side():
    array, x = asarray(np.array([[1.0, 2.0], [3.0, 4.0]])), leaf([1.0, 2.0])
    for y, expected in [
        (array * x, array * x.data),
        (array - x, array - x.data),
        (array / x, array / x.data),
        (array @ x, array @ x.data),
        (x @ array, x.data @ array),
        (2**x, 2**x.data),
    ]:
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(y.data, expected)


def test_numpy_functions_refuse_a_tensor():
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError):
        np.exp(x)
    with pytest.raises(TypeError, match=r"call \.numpy\(\)"):
        np.asarray(x)


def test_functions_of_plain_arrays_give_plain_arrays():
    x = asarray(np.array([[1.0, 2.0]]))
    for y in (tf.exp(x), tf.sum(x), tf.gelu(x), tf.linear(x, x.T), tf.concatenate([x, x])):
        assert not isinstance(y, Tensor)


def test_comparison_gives_booleans_without_history():
    x = leaf([1.0, 2.0, 3.0])
    for y, expected in [
        (x == 2, [0, 1, 0]),
        (x != 2, [1, 0, 1]),
        (x < 2, [1, 0, 0]),
        (x <= Tensor([2.0] * 3), [1, 1, 0]),
        (x > asarray(np.full(3, 2.0)), [0, 0, 1]),
        (x >= 2, [0, 1, 1]),
    ]:
        assert y.dtype == bool
        assert y.node is None
        np.testing.assert_array_equal(y.data, expected)


def test_len_iteration_item_bool_float():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert (len(x), x.shape, x.ndim, x.size) == (2, (2, 2), 2, 4)
    rows = list(x)
    rows[1].sum().backward()
    np.testing.assert_array_equal(x.grad.data, [[0, 0], [1, 1]])
    one = Tensor([[2.5]])
    assert (one.item(), float(one), bool(one)) == (2.5, 2.5, True)
    assert not Tensor(0.0)
    with pytest.raises(
        ShapeError, match=r"bool: 4 numbers, of shape \(2, 2\), are not one yes or no"
    ):
        bool(x)
    for use in (len, iter):
        with pytest.raises(TypeError, match=r"Tensor of shape \(\) is one number"):
            use(Tensor(1.0))


def test_a_tensor_is_a_copy_of_what_it_is_made_from():
    array = np.ones(3)
    x, y = Tensor(array, requires_grad=True), Tensor(array)
    z = (x * y).sum()
    x.detach().copy_(5.0)
    assert array.tolist() == y.data.tolist() == [1.0, 1.0, 1.0]
    z.backward()
    assert x.grad.data.tolist() == [1.0, 1.0, 1.0]


def test_int_and_format_of_a_single_number():
    assert int(Tensor(2.7)) == 2
    assert f"{Tensor(2.71828):.3f}" == "2.718"
    assert f"{Tensor([1.0])}" == "Tensor([1.])"


def test_argmax_counts_as_numpy_does():
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert Tensor(x).argmax().item() == x.argmax()
    assert Tensor(x).argmax(axis=1).data.tolist() == x.argmax(axis=1).tolist()


def test_whole_numbers_and_truth_values_with_floats_are_float32():
    x = Tensor([1.0, -1.0])
    for y in ((x > 0) * 0.5, (x > 0).mean(), Tensor(np.arange(3)) * 0.5, tf.where(x > 0, 1.0, 0.0)):
        assert isinstance(y, Tensor)
        assert y.dtype == np.float32
    assert (x * tf.where(x > 0, 1.0, 0.0)).data.tolist() == [1.0, 0.0]


def test_settings_can_be_given_by_place_and_arguments_by_name():
    x = Tensor([[1.0, 2.0]])
    assert tf.sum(x, 1, True).shape == tf.sum(x=x, axis=1, keepdims=True).shape == (1, 1)
    for call in (lambda: tf.sum(x, 1, True, 5), lambda: tf.reshape(x, 2, 1), lambda: tf.exp()):
        with pytest.raises(TypeError, match=r"sum: too many|reshape: too many|exp: missing"):
            call()


def test_an_array_that_a_fancy_index_copied_is_no_view():
    x, w = Tensor(np.array([1.0, 2.0, 3.0])), leaf([1.0, 1.0])
    y = (x[[0, 1]] * w).sum()
    x += 1
    y.backward()
    assert w.grad.data.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("data", [None, 1j, "text"])
def test_what_holds_no_real_numbers_is_refused(data):
    with pytest.raises((DTypeError, ValueError), match=r"Tensor|could not convert|real numbers"):
        Tensor(np.array(data) if data == 1j else data)


def test_tensors_are_keys_by_identity():
    a, b = Tensor([1.0]), Tensor([1.0])
    assert len({a: 1, b: 2}) == 2


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor([2.0, 4.0]), "Tensor([2., 4.])"),
        (Tensor(1.5), "Tensor(1.5)"),
        (Tensor([]), "Tensor([])"),
        (Tensor(np.array([1.0])), "Tensor([1.], dtype=float64)"),
        (Tensor(np.arange(2)), "Tensor([0, 1])"),
        (Tensor([1.0], requires_grad=True), "Tensor([1.], requires_grad=True)"),
        (tf.exp(Tensor([0.0], requires_grad=True)), "Tensor([1.], from exp)"),
        (Tensor([[1.0], [2.0]]), "Tensor([[1.],\n        [2.]])"),
    ],
)
def test_repr(tensor, text):
    assert repr(tensor) == text


def test_methods_are_the_functions():
    x = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for y, expected in [
        (x.T, x.data.T),
        (x.transpose(1, 0), x.data.T),
        (x.swapaxes(0, -1), x.data.T),
        (x.reshape(3, 2), x.data.reshape(3, 2)),
        (x.reshape((-1,)), x.data.ravel()),
        (x[None].squeeze(0), x.data),
        (x.sum(axis=0), x.data.sum(0)),
        (x.mean(), x.data.mean()),
        (x.var(1, ddof=1), x.data.var(1, ddof=1)),
        (x.max(1, keepdims=True), x.data.max(1, keepdims=True)),
        (x.min(), x.data.min()),
        (abs(-x), x.data),
        (+1 - x, 1 - x.data),
    ]:
        np.testing.assert_allclose(y.data, expected)
        assert y.requires_grad


def test_numpy_gives_the_values_without_history():
    x = leaf([1.0, 2.0])
    assert type(x.numpy()) is np.ndarray
    assert type((x * 2).numpy()) is np.ndarray
