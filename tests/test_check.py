"""Arguments checked by annotations: what fits, what is said otherwise, and whose error it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, nn, recipe
from tinyfractal.check import Below1, Count, CountOrPair, Finite, checked
from tinyfractal.errors import DTypeError, OutOfMemoryError, OutOfRangeError, ShapeError


@checked
def example(
    x: Any = 0,
    p: Below1 = 0.5,
    size: CountOrPair = 1,
    mode: Literal["a", "b"] = "a",
    widths: Sequence[Count] = (1,),
    net: nn.Module | None = None,
    then: Callable | None = None,
    shift: Finite = 0.0,
    on: bool = True,
) -> Any:
    """Something of each kind."""
    return then(x) if then is not None else "done"


@pytest.mark.parametrize(
    "fine",
    [
        {"p": 0}, {"p": np.float32(0.25)}, {"size": (2, 3)}, {"size": np.int64(2)},
        {"size": [2, 3]}, {"widths": np.array([1, 2])}, {"widths": ()}, {"on": np.True_},
        {"net": nn.ReLU()}, {"x": object()}, {"shift": -3}, {"mode": "b"},
    ],
)  # fmt: skip
def test_what_is_asked_for_is_taken(fine):
    assert example(**fine) == "done"


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"p": 1.0}, ValueError, "example: p needs a number from 0 to below 1, got 1.0"),
        ({"p": "1"}, TypeError, "example: p needs a number from 0 to below 1, got '1'"),
        ({"p": float("nan")}, ValueError, "example: p needs a number from 0 to below 1, got nan"),
        ({"p": True}, TypeError, "example: p needs a number from 0 to below 1, got True"),
        ({"size": 0}, ValueError,
         "example: size needs a whole number of at least 1 or two of them, got 0"),
        ({"size": (1, 2, 3)}, ValueError,
         "example: size needs a whole number of at least 1 or two of them, got (1, 2, 3)"),
        ({"mode": "c"}, ValueError, "example: mode needs \"a\" or \"b\", got 'c'"),
        ({"widths": 3}, TypeError,
         "example: widths needs a list, each a whole number of at least 1, got 3"),
        ({"widths": Tensor([1.0])}, TypeError,
         "example: widths needs a list, each a whole number of at least 1, got a Tensor of shape "
         "(1,) and type float32; put it into a list"),
        ({"net": 3}, TypeError, "example: net needs a Module or None, got 3"),
        ({"then": 3}, TypeError, "example: then needs a function or None, got 3"),
        ({"shift": float("inf")}, ValueError, "example: shift needs a number, got inf"),
        ({"on": 1}, TypeError, "example: on needs True or False, got 1"),
        ({"dim": 1}, TypeError,
         "example: there is no argument dim; here it is called axis "
         "(x, p, size, mode, widths, net, then, shift, on)"),
    ],
)  # fmt: skip
def test_what_is_not_is_refused_with_a_sentence(wrong, error, text):
    for _ in range(2):  # nothing wrong is remembered as fine
        with pytest.raises(error) as caught:
            example(**wrong)
        assert str(caught.value) == text


@pytest.mark.parametrize(
    ("inside", "error", "text"),
    [
        (lambda x: x[3], KeyError, "3"),
        (lambda x: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_the_errors_of_a_users_function_are_left_alone(inside, error, text):
    with pytest.raises(error) as caught:
        example({}, then=inside)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: tf.sum(Tensor([1.0]), axis="rows"), TypeError,
         "sum: axis needs a whole number, a list or None, got 'rows'"),
        (lambda: Tensor([1.0]).sum(dim=0), TypeError, "sum: there is no argument dim; here it is"),
        (lambda: Tensor([1.0])[3], OutOfRangeError, "getitem: cannot work on x (1,), index=3 ("),
        (lambda: Tensor([1.0])[3], IndexError, "getitem"),
        (lambda: tf.exp("x"), DTypeError, "exp: x: expected a Tensor, an array or a number"),
        (lambda: tf.matmul([1.0], [2.0]), DTypeError, "matmul: a: expected a Tensor, an array"),
        (lambda: tf.exp(Tensor([1.0]), 1, 2), TypeError, "exp: too many positional arguments"),
        (lambda: tf.softmax(), TypeError, "softmax: missing a required argument: 'x'"),
        (lambda: recipe.Recipe.from_dict(), TypeError,
         "Recipe.from_dict: missing a required argument: 'values'; it takes (values)"),
        (lambda: Tensor(object()), DTypeError, "Tensor: cannot work on data="),
        (lambda: Tensor([[1.0], [2.0, 3.0]]), ShapeError, "Tensor: cannot work on data="),
        (lambda: tf.broadcast_to(Tensor([1.0]), (2**40,)).clone(), OutOfMemoryError,
         "clone: no memory left for arguments of shape (1099511627776,)"),
    ],
)  # fmt: skip
def test_what_fails_inside_names_function_and_arguments(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(text)


def test_the_signature_stays_visible():
    assert "p: 'Below1' = 0.5" in str(inspect.signature(example))
    assert example.__doc__ == "Something of each kind."


def test_annotations_are_read_through_other_decorators():
    with pytest.raises(TypeError, match=r"^inference: model needs a Module, got 1$"):
        tf.train.inference(1)
