"""The engine: what is recorded, what backward makes of it, and what is refused.

Comments that begin "Trap" name mistakes that other small engines really made.
"""

import gc
import sys
import weakref

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, backend
from tinyfractal.engine.backward import backward_order
from tinyfractal.engine.node import Node
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.engine.primitive import primitive
from tinyfractal.errors import GraphError


def leaf(value, dtype=np.float64):
    """A leaf that needs a gradient."""
    return Tensor(np.array(value, dtype), requires_grad=True)


def close(tensor, expected):
    """Assert that a Tensor has these values."""
    np.testing.assert_allclose(tensor.data, expected, rtol=1e-12, atol=1e-300)


def nodes_alive():
    """How many nodes of any graph exist."""
    return sum(type(thing) is Node for thing in gc.get_objects())


@pytest.fixture
def no_collector():
    """Only reference counts free memory."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# ----- Large graphs -----


def chain(x, length):
    """x + 0 + 0 + …"""
    for _ in range(length):
        x = x + 0
    return x


def test_chain_of_100_000_operations_goes_backward():
    x = leaf(3.0)
    chain(x, 100_000).backward()
    close(x.grad, 1)


def test_chain_of_100_000_operations_is_dropped_without_backward():
    y = chain(leaf(3.0), 100_000)
    assert y.requires_grad
    del y  # freed link by link: neither the C stack nor Python's may overflow


def test_work_grows_linearly_with_fan_in():
    # Trap: sorting the queue at every insertion made backward quadratic in the width
    def calls(width):
        x = leaf(1.0)
        y = sum((x * 2 for _ in range(width)), start=x)
        count = 0

        def counting(frame, event, argument):
            nonlocal count
            count += 1

        sys.setprofile(counting)
        try:
            y.backward()
        finally:
            sys.setprofile(None)
        close(x.grad, 2 * width + 1)
        return count

    assert calls(8000) < 2.2 * calls(4000)


def test_diamonds_are_visited_once_each():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2^60 paths
        y = (y + y) * 0.5
    y.backward()
    close(x.grad, 1)


def test_order_of_backward_is_the_same_every_time():
    def order():
        x = leaf([1.0, 2.0])
        parts = [tf.sin(x), tf.exp(x), x * x, tf.cos(x)]
        y = (parts[0] * parts[1] + parts[2] / parts[3]).sum()
        return [node.primitive.__name__ for node in backward_order([y.node])]

    assert order() == order()
    assert order()[0] == "sum"


# ----- Memory -----


def test_graph_is_freed_without_the_garbage_collector(no_collector):
    # Trap: a closure that captures its own output keeps every graph alive
    def run(finish):
        x = leaf(np.ones((1, 4, 4, 2)))
        weight = leaf(np.ones((3, 3, 2, 2)))
        y = tf.tanh(tf.conv2d(x, weight, padding="same")) * 2
        middle, array = weakref.ref(y), weakref.ref(y.data)
        finish(y.sum(), x)
        del y
        return middle() is None and array() is None

    before = nodes_alive()
    assert run(lambda y, x: None)
    assert run(lambda y, x: y.backward())
    assert run(lambda y, x: y.backward(retain_graph=True))
    assert run(lambda y, x: tf.grad((tf.grad(y, x, create_graph=True) ** 2).sum(), x))
    assert nodes_alive() == before


def test_backward_frees_on_the_way(no_collector):
    x = leaf(np.ones(5))
    hidden = tf.exp(x)
    array = weakref.ref(hidden.data)
    y = (hidden * 2).sum()
    del hidden
    assert array() is not None  # exp keeps its output
    y.backward()
    assert array() is None


def test_only_what_a_rule_names_is_kept(no_collector):
    x = leaf(np.ones(5))
    hidden = x * 2
    array = weakref.ref(hidden.data)
    y = hidden + 1
    z = tf.concatenate([y, hidden])
    del hidden
    assert array() is None
    z.sum().backward()
    close(x.grad, 4 * np.ones(5))


def test_a_part_that_nobody_kept_counts_as_zero():
    # Trap: an operation of several outputs failed where one of them had been dropped
    x = leaf([1.0, 2.0, 3.0, 4.0])
    first, _ = tf.split(x, 2)
    del _
    first.sum().backward()
    close(x.grad, [1, 1, 0, 0])


# ----- Gradients -----


def test_gradients_are_nobody_elses_arrays():
    # Trap: after a + b both gradients were one array, and weight decay in place counted twice
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    seed = np.ones(2)
    for create_graph in (False, True):
        a.grad = b.grad = None
        (a + b).backward(seed, create_graph=create_graph)
        assert a.grad is not b.grad
        with tf.no_grad():
            a.grad += 0.1
            b.grad[0] = 7
        close(a.grad, [1.1, 1.1])
        close(b.grad, [7, 1])
        ga, gb = tf.grad((a + b).sum(), [a, b], create_graph=create_graph)
        with tf.no_grad():
            ga *= 3
        close(gb, [1, 1])
    np.testing.assert_array_equal(seed, 1)


def test_gradients_of_a_broadcast_can_be_written():
    x = leaf([1.0, 2.0])
    x.sum().backward()  # a broadcast view, were it not copied
    x.grad += 1
    close(x.grad, [2, 2])


def test_backward_twice_adds_up_in_the_leaves_only():
    # Trap: gradients left over in the middle gave 96
    x = leaf(2.0)
    y = x * x
    z = y * y
    z.backward(retain_graph=True)
    close(x.grad, 32)
    z.backward()
    close(x.grad, 64)
    assert y.grad is None


def test_backward_through_a_freed_graph_is_refused_with_advice():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match=r"behind mul was already freed.*retain_graph=True"):
        y.backward()
    with pytest.raises(GraphError, match="already freed"):
        tf.exp(y).backward()


def test_same_tensor_twice_counts_twice():
    x = leaf(3.0)
    (x * x).backward()
    close(x.grad, 6)


def test_backward_on_a_leaf():
    x = leaf(3.0)
    x.backward()
    close(x.grad, 1)


def test_broadcasting_is_undone():
    a, b, c = leaf(np.ones((2, 1))), leaf(np.ones(3)), leaf(2.0)
    (a * b * c).sum().backward()
    close(a.grad, np.full((2, 1), 6))
    close(b.grad, np.full(3, 4))
    close(c.grad, 6)


def test_only_what_needs_a_gradient_is_recorded():
    a, b = leaf([1.0]), Tensor(np.array([2.0]))
    assert (b * b).node is None
    assert not (b * b).requires_grad
    (a * b).sum().backward()
    assert b.grad is None
    assert a.detach().node is None


def test_grad_of_several_outputs_and_of_results_on_the_way():
    x = leaf(3.0)
    y = x * x
    z = y * x
    close(tf.grad(z, y, retain_graph=True), 3)
    # y depends on x: the derivative with respect to x is the total one, also along y
    gy, gx = tf.grad(z, [y, x], retain_graph=True)
    close(gy, 3)
    close(gx, 27)
    close(tf.grad([z, y], x, [np.array(1.0), np.array(10.0)], retain_graph=True), 27 + 60)
    close(tf.grad(z, z, retain_graph=True), 1)
    one, other = tf.grad(z, [x, x])
    assert one is not None
    close(other, one.data)
    assert x.grad is None


def test_grad_for_an_unused_input():
    x, unused = leaf(3.0), leaf(1.0)
    with pytest.raises(GraphError, match=r"do not depend on input 1 .*allow_unused=True"):
        tf.grad(x * x, [x, unused])
    assert tf.grad(x * x, [x, unused], allow_unused=True)[1] is None


def test_grad_only_walks_where_an_input_lies():
    x, z = leaf(2.0), leaf(-1.0)
    bad = z * z
    y = x * x + bad * bad
    with tf.no_grad():
        bad.copy_(0.0)  # refused by a backward that goes there
    close(tf.grad(y, x), 4)


def test_grad_frees_nothing_behind_a_result_on_the_way():
    x = leaf([1.0, 2.0])
    hidden = x * x
    hidden.backward(tf.grad((hidden * hidden).sum(), hidden))
    close(x.grad, [4.0, 32.0])


@pytest.mark.parametrize("put", [tf.concatenate, tf.stack])
def test_a_constant_among_several_arguments_gets_no_gradient(put):
    x, z = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    ones = backend.asarray(np.ones(2))
    put([ones, 3 * x, ones]).sum().backward()
    close(x.grad, [3.0, 3.0])
    other = 2 * z
    close(tf.grad(put([5 * x, other]).sum(), x), [5.0, 5.0])
    other.sum().backward()  # grad had nothing to do there, so it is not freed
    close(z.grad, [2.0, 2.0])


def test_a_constant_scale_of_a_norm_gets_no_gradient():
    ones, zeros = backend.asarray(np.ones(2)), backend.asarray(np.zeros(2))
    for norm in (tf.layer_norm, tf.batch_norm):
        x = leaf([[1.0, 2.0], [4.0, 3.0], [5.0, 9.0]])
        norm(x * 1, ones, zeros).sum().backward()
        np.testing.assert_allclose(x.grad.data, np.zeros((3, 2)), atol=1e-12)


def test_a_gradient_rule_without_a_return_is_named():
    @primitive(lambda g: None)
    def forgetful(x):
        return 2 * x

    del PRIMITIVES["forgetful"]  # of which each has a row in tests/cases.py
    for x in (leaf(1.0), leaf(1.0) * 1):
        with pytest.raises(GraphError, match="a gradient rule returned None"):
            forgetful(x).backward()


# ----- Hooks -----


def test_a_hook_sees_the_complete_gradient_while_backward_still_runs():
    early, late, seen = leaf(2.0), leaf(3.0), []
    early.register_post_accumulate_grad_hook(lambda t: seen.append((t, t.grad.item(), late.grad)))
    late.register_post_accumulate_grad_hook(lambda t: seen.append((t, t.grad.item())))
    (early * tf.exp(late) * late).backward()  # late is used by the last operation and by the first
    e = np.exp(3.0)
    (first, g_early, waiting), (second, g_late) = seen
    assert (first, second, waiting) == (early, late, None)
    np.testing.assert_allclose([g_early, g_late], [3 * e, 2 * e + 2 * 3 * e])


def test_hooks_are_called_in_order_with_what_was_there_added_and_can_be_removed():
    x, seen = leaf([1.0, 2.0]), []
    first = x.register_post_accumulate_grad_hook(lambda t: seen.append(("a", t.grad.numpy()[1])))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(("b", t.grad.numpy()[1])))
    (x * x).sum().backward()
    first.remove()
    (x * x).sum().backward()  # adds 4 to the 4 that are there
    assert seen == [("a", 4.0), ("b", 4.0), ("b", 8.0)]


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x,  # the root itself
        lambda x: x * x,  # twice in one operation
        lambda x: (tf.exp(x) + tf.sin(x) * x) / x,  # from several
        lambda x: tf.stack([x, x, x * 2])[1],  # a part that gets zeros
    ],
)
def test_a_hook_is_called_once_and_changes_no_gradient(use):
    plain, hooked, calls = leaf(0.7), leaf(0.7), []
    hooked.register_post_accumulate_grad_hook(calls.append)
    use(plain).backward()
    use(hooked).backward()
    assert calls == [hooked]
    close(hooked.grad, plain.grad.numpy())


def test_a_hook_may_change_the_gradient_and_step():
    x = leaf([3.0, -5.0])

    def step(t):
        t.grad = tf.clip(t.grad, -1, 1)
        t.data -= 0.5 * t.grad.data

    x.register_post_accumulate_grad_hook(step)
    (x * 4).sum().backward()
    np.testing.assert_array_equal(x.data, [2.5, -5.5])


def test_a_leaf_that_is_not_reached_calls_no_hook_nor_does_grad():
    x, y, calls = leaf(1.0), leaf(1.0), []
    for t in (x, y):
        t.register_post_accumulate_grad_hook(calls.append)
    (x * 2).backward()
    assert calls == [x]
    tf.grad(x * y, [x, y])
    assert calls == [x]


def test_hooks_with_create_graph_see_a_gradient_that_can_be_differentiated():
    x, seen = leaf(2.0), []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad))
    (x**3).backward(create_graph=True)
    close(tf.grad(seen[0], x), 12.0)
    x.grad = None


@pytest.mark.parametrize(
    ("tensor", "why"),
    [(Tensor([1.0]), "needs no gradient"), (leaf([1.0]) * 2, "was computed from others")],
)
def test_hooks_are_for_leaves(tensor, why):
    with pytest.raises(GraphError, match=f"only a leaf with requires_grad .* {why}"):
        tensor.register_post_accumulate_grad_hook(print)


# ----- Derivatives of derivatives -----


@pytest.mark.parametrize(
    ("f", "at", "derivatives"),
    [
        (lambda x: x**5, 2.0, [80, 160, 240, 240, 120, 0]),
        (lambda x: x * x * x, 2.0, [12, 12, 6, 0]),
        (lambda x: 1 / x, 2.0, [-1 / 4, 2 / 8, -6 / 16]),
        (tf.sin, 0.5, [np.cos(0.5), -np.sin(0.5), -np.cos(0.5), np.sin(0.5)]),
        (lambda x: tf.exp(2 * x), 0.0, [2, 4, 8]),
        (tf.tanh, 0.0, [1, 0, -2]),
        (lambda x: x**2, 0.0, [0, 2, 0]),
        # Trap: e^x / (1 + e^x)² is ∞/∞ at 1000, and the second derivative was nan
        (tf.softplus, 1000.0, [1, 0, 0]),
        (tf.softplus, -1000.0, [0, 0, 0]),
        (tf.sigmoid, 0.0, [1 / 4, 0, -1 / 8]),
        (lambda x: tf.relu(x) * x, 3.0, [6, 2, 0]),
    ],
)
def test_higher_derivatives(f, at, derivatives):
    x = leaf(at)
    y = f(x)
    for expected in derivatives:
        y = tf.grad(y, x, create_graph=True) + 0 * x
        np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-12)


def test_double_backward_through_the_gradient_of_a_kernel():
    # Trap: the kernel's gradient ignored what came in from above. With y = x ∗ w and g = Σ y²,
    # dg/dw is linear in w; its squared length has the gradient 2 H (H w), H being constant.
    rng = np.random.default_rng(0)
    x, weight = leaf(rng.normal(size=(2, 4, 4, 2))), leaf(rng.normal(size=(3, 3, 2, 2)))

    def slope(at):
        y = tf.conv2d(x.detach(), at)
        return tf.grad((y * y).sum(), at, create_graph=True)

    found = tf.grad((slope(weight) ** 2).sum(), weight)
    once = slope(weight).detach()
    twice = slope(Tensor(once, requires_grad=True))
    np.testing.assert_allclose(found.data, 2 * twice.data, rtol=1e-10)


def test_mixed_derivative_reaches_every_input():
    x, y = leaf(2.0), leaf(3.0)
    gx = tf.grad(x**2 * y**3, x, create_graph=True)  # 2 x y³
    close(gx, 108)
    close(tf.grad(gx, y), 6 * 2 * 9)


def test_backward_with_create_graph_records_the_gradient():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    close(x.grad, 27)
    close(tf.grad(x.grad, x), 18)


def test_backward_normalization_in_evaluation():
    # Trap: the gradient used a statistic that only training leaves behind
    x, weight, bias = leaf(np.ones((3, 2))), leaf([2.0, 2.0]), leaf([0.0, 0.0])
    running = Tensor(np.zeros(2)), Tensor(np.full(2, 4.0))
    tf.batch_norm(x, weight, bias, *running, training=False, eps=0.0).sum().backward()
    close(x.grad, np.ones((3, 2)))
    close(weight.grad, [1.5, 1.5])


def test_backward_normalization_in_evaluation_survives_a_training_step_in_between():
    x, weight, bias = leaf(np.arange(8.0).reshape(4, 2)), leaf([1.0, 1.0]), leaf([0.0, 0.0])
    running = backend.asarray(np.zeros(2)), backend.asarray(np.ones(2))
    y = tf.batch_norm(x, weight, bias, *running, training=False, eps=0.0).sum()
    tf.batch_norm(x.detach() + 5.0, weight.detach(), bias.detach(), *running)  # moves `running`
    y.backward()
    close(weight.grad, [12, 16])


def test_a_rule_may_take_g_alone_beside_one_that_takes_all():
    @primitive(lambda g: 3 * g, lambda g, _y, a, _b, power: g * a**power)
    def mixed(a, b, power=1):
        return 3 * a + a**power * b

    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([5.0, 6.0], requires_grad=True)
    mixed(a, b, power=2).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [3, 3])
    np.testing.assert_array_equal(b.grad.numpy(), [1, 4])
    del PRIMITIVES["mixed"]
