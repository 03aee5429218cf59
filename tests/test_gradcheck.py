"""The checker is checked: it must find what is wrong, and say where."""

import re

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor
from tinyfractal.backend import xp
from tinyfractal.engine.operators import PRIMITIVES, raw
from tinyfractal.engine.primitive import primitive
from tinyfractal.errors import GradientError


@pytest.fixture
def make():
    """`primitive`, whose rows leave the table after the test."""
    before = dict(PRIMITIVES)
    yield primitive
    PRIMITIVES.clear()
    PRIMITIVES.update(before)


def test_returns_the_worst_difference_where_all_is_well():
    worst = tf.gradcheck(lambda x, y: x * tf.sin(y), [1.0, 2.0], [0.3, 0.4])
    assert worst.excess < 1
    assert worst.analytic == pytest.approx(worst.numeric)
    assert "backward gives" in str(worst)


def test_an_output_of_one_number_is_differentiated_as_it_is():
    assert tf.gradcheck(lambda x: x**3, 2.0).analytic == 12.0
    assert tf.gradcheck(lambda x: x**3, [2.0]).numeric == pytest.approx(12.0)


def test_wrong_rule_is_found_and_the_element_is_named(make):
    @make(lambda g, _y, x: g * 2 * x * (xp.arange(3) != 1))
    def square_but_for_one(x):
        return x * x

    with pytest.raises(
        GradientError,
        match=r"gradcheck: input 1, element \(1,\): backward gives 0, finite differences .*"
        r"\(tolerated: 1e-07 \+ 1e-05",
    ) as caught:
        tf.gradcheck(lambda a, b: a + square_but_for_one(b), np.ones(3), np.ones(3))
    numeric = float(re.search(r"differences ([\d.]+)", str(caught.value)).group(1))
    assert numeric == pytest.approx(2 * 1.01, rel=0.5)


def test_rule_off_by_one_part_in_a_thousand_is_found(make):
    @make(lambda g, y, _x: g * y * 1.001)
    def nearly_exp(x):
        return xp.exp(x)

    with pytest.raises(GradientError, match="input 0: backward gives"):
        tf.gradcheck(nearly_exp, 1.0)
    tf.gradcheck(nearly_exp, 1.0, rtol=1e-2)


def test_rule_that_forgets_broadcast_inputs_is_found(make):
    @make(lambda g, _y, _a, b: g * b, lambda g, _y, _a, b: g * b)
    def confused(a, b):
        return a * b

    tf.gradcheck(lambda a: confused(a, Tensor(np.array([2.0, 3.0]))), np.ones((2, 1)))
    with pytest.raises(GradientError, match="input 1, element"):
        tf.gradcheck(confused, np.ones((2, 1)), [2.0, 3.0])


def test_gradient_that_is_nan_is_found(make):
    @make(lambda g, _y, _x: g * float("nan"))
    def poisoned(x):
        return x * 1.0

    with pytest.raises(GradientError, match="backward gives nan"):
        tf.gradcheck(poisoned, [1.0])


def test_rule_right_at_order_1_and_wrong_at_order_2(make):
    @make(lambda g, _y, x: g * 2 * raw(x))  # a constant, as far as order 2 knows
    def square(x):
        return x * x

    tf.gradcheck(square, [1.0, 2.0])
    with pytest.raises(GradientError, match="backward gives 0, finite differences"):
        tf.gradcheck(square, [1.0, 2.0], order=2)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_orders(order):
    tf.gradcheck(lambda x, y: tf.exp(x) * y**3, [0.1, 0.2], [1.5, 2.0], order=order, rtol=1e-4)


def test_linear_functions_have_the_second_derivative_0():
    assert tf.gradcheck(lambda x, y: 3 * x + y, [1.0, 2.0], 1.0, order=2).numeric == 0


def test_function_without_dependence_is_refused():
    for f in (lambda x: Tensor(np.ones(2)), lambda x: tf.exp(x.detach())):
        with pytest.raises(GradientError, match="does not depend on its inputs"):
            tf.gradcheck(f, [1.0, 2.0])
    with pytest.raises(GradientError, match="does not depend on its inputs"):
        tf.gradcheck(lambda: Tensor(1.0))


def test_input_that_does_not_matter_has_gradient_0():
    assert tf.gradcheck(lambda x, y: x * 2, 1.0, [1.0, 2.0]).excess < 1


def test_inputs_come_as_numbers_lists_arrays_or_tensors_and_are_not_changed():
    array = np.array([1.0, 2.0], np.float32)
    tensor = Tensor(array)
    for x in (1.0, [1.0, 2.0], array, tensor):
        tf.gradcheck(tf.sin, x)
    np.testing.assert_array_equal(array, [1, 2])
    assert tensor.grad is None


def test_nothing_to_check_gives_none():
    assert tf.gradcheck(tf.sin, np.ones((0, 3))) is None
