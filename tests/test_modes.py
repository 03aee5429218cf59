"""What the engine does besides computing: record or not, and look for the first NaN.

Comments that begin "Trap" name mistakes that other small engines really made.
"""

import threading

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor
from tinyfractal.errors import AnomalyError, GraphError
from tinyfractal.mode import mode


def leaf(value):
    """A leaf that needs a gradient."""
    return Tensor(np.array(value, np.float64), requires_grad=True)


def test_no_grad_is_a_context_and_a_decorator():
    x = leaf(2.0)

    @tf.no_grad()
    def square(x):
        return x * x

    with tf.no_grad():
        assert (x * x).node is None
        with tf.enable_grad():
            assert (x * x).node is not None
    assert square(x).node is None
    assert square(x).node is None
    assert (x * x).node is not None


@pytest.mark.parametrize("switch", [tf.no_grad, tf.enable_grad, tf.reference, tf.detect_anomaly])
def test_modes_end_with_an_exception(switch):
    # Trap: the depth of the trace stayed raised when the user's function failed
    def state():
        return mode.recording, mode.reference, mode.anomaly

    before = state()
    with pytest.raises(ZeroDivisionError), switch():
        1 / 0  # noqa: B018
    assert state() == before


def test_recording_is_on_again_after_a_backward_that_failed():
    x = leaf(2.0)
    y = tf.exp(x)
    with tf.no_grad():
        y.copy_(1.0)
    with pytest.raises(GraphError):
        y.backward()
    assert (x * x).requires_grad


def test_modes_belong_to_a_thread():
    x, seen = leaf(2.0), []
    with tf.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * x).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


@pytest.mark.parametrize("forward", [True, False])
def test_anomaly_names_primitive_and_line(forward):
    x = leaf([1.0, 0.0])

    def run():
        if forward:
            return tf.log(x)  # line forward
        y = tf.sqrt(x)  # line backward
        return y.sum().backward()

    with np.errstate(all="ignore"), tf.detect_anomaly(), pytest.raises(AnomalyError) as caught:
        run()
    name = "the value of log" if forward else "the gradient of sqrt"
    text = str(caught.value)
    assert f"{name} has infinity in 1 of 2 places, made from finite numbers" in text
    assert f"# line {'forward' if forward else 'backward'}" in text
    with open(__file__, encoding="utf-8") as source:
        place = [n for n, line in enumerate(source, 1) if line.strip() == text.split(": ")[-1]]
    assert f"{__file__}:{place[0]}:" in text


def test_anomaly_tells_what_was_passed_on():
    with tf.detect_anomaly(), pytest.raises(AnomalyError, match=r"NaN.*passed on from its input"):
        leaf(np.nan) + 1


def test_anomaly_around_backward_alone_says_how_to_learn_the_line():
    y = tf.sqrt(leaf(0.0))
    advice = pytest.raises(AnomalyError, match="a line not noted: run the forward pass inside")
    with np.errstate(all="ignore"), tf.detect_anomaly(), advice:
        y.backward()
