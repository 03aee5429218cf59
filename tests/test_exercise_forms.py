"""A right answer counts in whatever form it comes, and what cannot be read gets a kind hint."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

import tinyfractal as tf

FOLDER = Path(__file__).resolve().parent.parent / "tutorials"


@pytest.fixture
def forms(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("exercises")


THREE = [
    [1, 2, 3],
    (1.0, 2.0, 3.0),
    np.array([1, 2, 3]),
    tf.Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True),
    [np.float32(1), np.array(2), tf.Tensor(3.0)],
    range(1, 4),
]


@pytest.mark.parametrize("value", THREE, ids=lambda value: type(value).__name__)
def test_three_numbers_in_every_form(value, forms):
    assert forms.as_array(value, "It", (3,)).tolist() == [1, 2, 3]
    assert [forms.as_whole(item, "It") for item in forms.as_list(value, "It", 3)] == [1, 2, 3]


def test_a_generator_is_read_to_its_end_once(forms):
    assert forms.as_array((i for i in range(3)), "It", (3,)).tolist() == [0, 1, 2]
    assert forms.as_list(map(str, range(3)), "It") == ["0", "1", "2"]
    assert forms.asked(lambda n: iter(range(n)), 3) == [0, 1, 2]


@pytest.mark.parametrize(
    "value",
    [7, 7.0, np.int64(7), np.float32(7), np.array(7), np.array([7.0]), [7], (7.0,), tf.Tensor(7.0)],
)
def test_one_number_in_every_form(value, forms):
    assert forms.as_number(value, "It") == 7
    assert forms.as_whole(value, "It") == 7


def test_a_whole_number_may_be_larger_than_a_float_can_say(forms):
    assert forms.as_whole(3**200, "It") == 3**200


@pytest.mark.parametrize("value", [None, "7", {7}, {"a": 7}, [1, 2], [], math.nan, math.inf, print])
def test_what_is_no_number_gets_a_hint(value, forms):
    for read in (forms.as_number, forms.as_whole):
        with pytest.raises(forms.NotYet, match="It"):
            read(value, "It")


def test_hints_name_what_came(forms):
    for read, value, hint in (
        (forms.as_whole, 3.5, "whole number, and is 3.5"),
        (forms.as_number, None, "is there a `return`"),
        (forms.as_list, "abc", "a str"),
        (forms.as_list, np.array(3.0), "a single number"),
    ):
        with pytest.raises(forms.NotYet, match=hint):
            read(value, "It")
    with pytest.raises(forms.NotYet, match=r"shape \(3,\), and has \(2,\)"):
        forms.as_array([1, 2], "It", (3,))
    with pytest.raises(forms.NotYet, match="2 things, in a list or a tuple, and there is 1"):
        forms.as_list([1], "It", 2)
    with pytest.raises(forms.NotYet, match="without calling it"):
        forms.asked(3.0, 1)


def test_flags_are_booleans_or_zeros_and_ones(forms):
    for value in ([True, False], (1, 0), np.array([1.0, 0.0])):
        assert forms.as_flags(value, "It", (2,)).tolist() == [True, False]
    with pytest.raises(forms.NotYet, match="True or False"):
        forms.as_flags([1, 2], "It", (2,))


def test_a_name_may_have_capitals_or_a_list_around_it(forms):
    assert all(
        forms.as_name(name, ["tile", "roll"]) == "tile" for name in ("tile", " Tile", ["tile"])
    )
    for wrong in ("norm", ["tile", "roll"], 3):
        with pytest.raises(forms.NotYet, match="in quotes: tile, roll"):
            forms.as_name(wrong, ["tile", "roll"])


def test_an_argument_changed_in_place_is_noticed_and_named(forms):
    def spoils(first, numbers):
        numbers[0] += 1
        return numbers

    for numbers in (np.zeros(3), [0, 0, 0]):
        with pytest.raises(forms.NotYet, match="`numbers` in place"):
            forms.asked(spoils, 1, numbers)
        assert list(numbers) == [0, 0, 0]


def test_a_walk_without_an_end_is_stopped(forms):
    def walk(n):
        return 1 if n == 0 else walk(n - 1) + walk(n - 1)

    assert forms.asked(walk, 3, calls=100) == 8
    with pytest.raises(forms.NotYet, match="without end"):
        forms.asked(walk, 200, calls=1000)
