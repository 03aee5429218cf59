"""Small Python manners of a Tensor: what hands type by themselves works, or says the right word."""

import copy

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, backend, nn
from tinyfractal.errors import DataError, DTypeError, GraphError, ShapeError


def leaf(*values):
    """A leaf of float64."""
    return Tensor(np.array(values, np.float64), requires_grad=True)


# ----- In place -----


@pytest.mark.parametrize(
    ("change", "gradient"),
    [
        (lambda y, w: y.__iadd__(w), [5.0, 7.0]),
        (lambda y, w: y.__isub__(w), [3.0, 5.0]),
        (lambda y, w: y.__imul__(w), [12.0, 27.0]),  # w² · w
        (lambda y, w: y.__itruediv__(w), [1.0, 1.0]),
    ],
)
def test_in_place_on_a_result_is_recorded_as_a_new_one(change, gradient):
    w = leaf(2.0, 3.0)
    before = w * w
    y = change(before, w)
    assert y is not before
    y.sum().backward()
    np.testing.assert_allclose(w.grad.data, gradient)


def test_a_sum_of_losses_may_begin_at_nothing():
    w, total = leaf(2.0), 0.0
    for _ in range(3):
        total += (w * w).sum()
    total.backward()
    assert (total.item(), w.grad.item()) == (12.0, 12.0)


def test_integers_are_not_cut_off_silently():
    labels = Tensor(np.array([1, 2]))
    for change in (lambda: labels.__setitem__(0, 1.7), lambda: labels.copy_([1.5, 2.5])):
        with pytest.raises(DTypeError, match="would cut off what is behind the decimal point"):
            change()
    labels[0] = 7
    np.testing.assert_array_equal(labels.data, [7, 2])


# ----- Methods by PyTorch's names -----


def test_methods_by_pytorchs_names():
    x = leaf([1.0, 4.0], [9.0, 16.0])
    a = x.numpy()
    for found, expected in [
        (x.exp(), np.exp(a)), (x.log(), np.log(a)), (x.sqrt(), np.sqrt(a)), (x.abs(), a),
        (x.flatten(), a.ravel()), (x.view(4), a.ravel()), (x.view(1, -1), a.reshape(1, 4)),
        (x.permute(1, 0), a.T), (x.unsqueeze(0), a[None]), (x.unsqueeze(-1), a[..., None]),
        (x.clone(), a), (x.std(), a.std()), (x.std(axis=0, ddof=1), a.std(axis=0, ddof=1)),
        (x.prod(), a.prod()), (x.prod(axis=1, keepdims=True), a.prod(axis=1, keepdims=True)),
        (tf.cat([x, x], 1), np.concatenate([a, a], 1)),
    ]:  # fmt: skip
        np.testing.assert_allclose(found.data, expected)
        assert found.node is not None


def test_a_clone_shares_nothing_but_the_gradient():
    x = leaf(1.0, 2.0)
    y = x.clone()
    with tf.no_grad():
        y.copy_(5.0)
    np.testing.assert_array_equal(x.data, [1.0, 2.0])
    x.clone().sum().backward()
    np.testing.assert_array_equal(x.grad.data, [1.0, 1.0])


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_the_gradient_of_a_product_is_the_product_of_the_others(zeros):
    a = np.array([2.0, 3.0, 5.0, 7.0, 11.0])
    a[:zeros] = 0.0
    x = leaf(*a)
    x.prod().backward()
    expected = [np.prod(np.delete(a, i)) for i in range(5)]
    np.testing.assert_allclose(x.grad.data, expected)
    assert leaf().prod().item() == 1.0


def test_a_product_over_an_axis_that_is_not_there_is_refused():
    for axis in (2, -3):
        with pytest.raises(IndexError, match=f"prod: .*axis={axis}"):
            tf.prod(Tensor(np.ones((2, 3))), axis=axis)
    (kept,) = tf.prod(Tensor([[2.0, 3.0]]), axis=-1, keepdims=True).numpy()
    assert kept.tolist() == [6.0]


# ----- Beside Python and NumPy -----


def test_an_integer_tensor_is_an_index():
    names = ["cat", "dog"]
    assert names[Tensor([1.0, 2.0]).argmax()] == "dog"
    assert names[Tensor(np.array([[1]]))] == "dog"
    for wrong in (Tensor(1.0), Tensor(np.array([0, 1])), Tensor(np.array(True))):
        with pytest.raises(TypeError, match="index: expected a Tensor of one integer"):
            names[wrong]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (np.mean, "numpy.mean does not take Tensors: use tinyfractal.mean(x), or x.numpy()"),
        (np.exp, "numpy.exp does not take Tensors: use tinyfractal.exp(x), or x.numpy()"),
        (np.median, "numpy.median does not take Tensors: use x.numpy() for an array"),
        (np.add.reduce, "numpy.add does not take Tensors: use tinyfractal.add(x)"),
        (lambda x: np.add(x, 1.0, out=np.zeros(2)), "numpy.add does not take Tensors"),
        (np.asarray, "a Tensor does not turn into a NumPy array by itself: call .numpy()"),
    ],
)
def test_numpys_functions_say_what_to_use(call, words):
    with pytest.raises(TypeError) as caught:
        call(leaf(1.0, 2.0))
    assert str(caught.value).startswith(words)


@pytest.mark.usefixtures("on_numpy")
def test_numpys_operators_and_shapes_take_tensors():
    x, a = leaf(1.0, 2.0), np.array([3.0, 4.0])
    for y, expected in [
        (a + x, [4.0, 6.0]), (a - x, [2.0, 2.0]), (a * x, [3.0, 8.0]), (a / x, [3.0, 2.0]),
        (a**x, [3.0, 16.0]), (a @ x, 11.0), (np.float64(2) * x, [2.0, 4.0]),
        (np.add(x, a), [4.0, 6.0]),
    ]:  # fmt: skip
        assert isinstance(y, Tensor)
        assert y.node is not None
        np.testing.assert_allclose(y.data, expected)
    np.testing.assert_array_equal((a > x).data, [True, True])
    np.testing.assert_array_equal((np.array([1.0, 9.0]) <= x).data, [True, False])
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2,), 1, 2)


@pytest.mark.usefixtures("on_numpy")
def test_comparisons_with_other_things_are_pythons():
    x = leaf(1.0, 2.0)
    assert (x == "a") is False
    assert (x != None) is True  # noqa: E711
    with pytest.raises(TypeError, match="not supported between instances"):
        x < "a"  # noqa: B015
    with pytest.raises(ShapeError, match="comparison: cannot work on x"):
        x < np.zeros(3)  # noqa: B015


def test_a_computed_tensor_is_not_copied_deeply():
    w = nn.Parameter([2.0])
    y = w * 1.0
    for _ in range(5000):
        y = y + 1
    with pytest.raises(GraphError, match=r"deepcopy: .* was computed.* copy x\.detach\(\)"):
        copy.deepcopy(y)
    (w * w).sum().backward()
    twin = copy.deepcopy({"a": w, "b": w})
    assert twin["a"] is twin["b"]
    assert isinstance(twin["a"], nn.Parameter)
    assert twin["a"].data is not w.data
    assert twin["a"].grad.item() == 4.0


def test_arrays_of_the_other_byte_order_are_turned_round():
    big = np.array([1.0, 2.0], ">f4")
    x = Tensor(big, requires_grad=True)
    assert x.dtype == np.float32
    assert x.dtype.isnative
    np.testing.assert_array_equal((Tensor([1.0, 1.0]) * backend.asarray(big)).data, [1.0, 2.0])
    labels = np.array([0, 1], ">i8")
    assert tf.cross_entropy(Tensor(np.zeros((2, 2), np.float32)), labels).item() == pytest.approx(
        np.log(2)
    )


# ----- Losses and extremes -----

LOGITS = np.array([[1.0, 2.0, 0.5], [0.1, 0.2, 0.3], [2.0, 1.0, 0.0]])


@pytest.mark.parametrize("far", [-np.inf, -3e38])
@pytest.mark.parametrize("readable", [False, True])
def test_a_class_that_is_masked_out_costs_nothing(far, readable):
    x = Tensor(np.array([[0.0, 1.0, far]], np.float32), requires_grad=True)
    with tf.reference() if readable else tf.enable_grad():
        loss = tf.cross_entropy(x, np.array([0]))
    loss.backward()
    p = 1 / (1 + np.e)
    assert loss.item() == pytest.approx(-np.log(p))
    np.testing.assert_allclose(x.grad.data, [[p - 1, 1 - p, 0]], atol=1e-6)
    certain = tf.cross_entropy(Tensor([[3e38, -3e38]]), np.array([0]))
    assert certain.item() == 0


def test_the_right_class_masked_out_is_infinitely_wrong():
    assert tf.cross_entropy(Tensor([[0.0, -np.inf]]), np.array([1])).item() == np.inf


@pytest.mark.parametrize(
    ("labels", "settings", "error", "text"),
    [
        (np.eye(3)[[0, 1, 2]], {}, ShapeError, r"look one-hot; .* labels.argmax\(axis=1\)"),
        (np.array([0.0, 1, 2]), {}, DTypeError, r"array of integers, or Tensor\(labels, dtype=int"),
        (np.array([9, 9, 9]), {"ignore_index": 9}, DataError, "every label is ignore_index"),
        (np.array([0, -100, 1]), {}, DataError, "classes 0 to 2, but the labels range from -100"),
        (np.array([0, 1, 2]), {"weight": [1.0, 2.0]}, ShapeError, r"weight has shape \(2,\)"),
        (np.array([0, 1, 2]), {"weight": [1.0, -2.0, 1.0]}, DataError, "of at least 0"),
        (np.array([0, 1, 2]), {"weight": [1.0, 0, 0], "ignore_index": 0}, DataError, "weight is 0"),
    ],
)
def test_mistakes_with_labels_are_explained(labels, settings, error, text):
    with pytest.raises(error, match=f"cross_entropy: .*{text}"):
        tf.cross_entropy(Tensor(LOGITS), labels, **settings)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [-100, 1])  # 1 is a class as well
@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 3.0])])
def test_weight_and_ignore_index_are_pytorchs(reduction, smoothing, ignored, weight):
    import torch

    labels = np.array([0, ignored, 2])
    x, twin = leaf(*LOGITS), torch.tensor(LOGITS, requires_grad=True)
    settings = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored}
    loss = tf.cross_entropy(x, labels, weight=weight, **settings)
    weights = None if weight is None else torch.tensor(weight)
    theirs = torch.nn.functional.cross_entropy(
        twin, torch.tensor(labels), weight=weights, **settings
    )
    np.testing.assert_allclose(loss.data, theirs.detach().numpy())
    loss.sum().backward()
    theirs.sum().backward()
    np.testing.assert_allclose(x.grad.data, twin.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("readable", [False, True])
def test_padding_never_wins_over_minus_infinity(readable):
    x = Tensor(np.full((1, 2, 2, 1), -np.inf), requires_grad=True)
    with tf.reference() if readable else tf.enable_grad():
        y = tf.max_pool2d(x, 2, 2, 1)
    y.backward(np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 2, 2, 1))
    np.testing.assert_array_equal(x.grad.data.ravel(), [1.0, 2.0, 3.0, 4.0])


def test_the_gradient_of_an_exponent_at_zero_is_its_limit():
    x, n = leaf(0.0, 0.0, 0.0), leaf(2.0, 0.0, -1.0)
    with np.errstate(all="ignore"):
        tf.pow(x, n).sum().backward()
    np.testing.assert_array_equal(n.grad.data, [0.0, 0.0, -np.inf])
