"""What the engine does besides computing: record or not, and look for the first NaN.

Comments that begin "Trap" name mistakes that other small engines really made.
"""

import threading

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, backend
from tinyfractal.engine.modes import mode
from tinyfractal.errors import AnomalyError, GraphError


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


def test_anomaly_sees_a_sum_over_what_was_broadcast():
    x, seed = leaf([0.0]), np.full(4, 1e308)
    broken = pytest.raises(AnomalyError, match="gradient of add has infinity in 1 of 1 places")
    with np.errstate(all="ignore"), tf.detect_anomaly(), broken:
        (x + backend.asarray(np.ones(4))).backward(seed)


def test_anomaly_around_backward_alone_says_how_to_learn_the_line():
    y = tf.sqrt(leaf(0.0))
    advice = pytest.raises(AnomalyError, match="a line not noted: run the forward pass inside")
    with np.errstate(all="ignore"), tf.detect_anomaly(), advice:
        y.backward()


# ----- Generators, async, threads -----


def test_a_generator_is_not_recorded_and_leaves_its_caller_alone():
    w, seen = leaf(2.0), []

    @tf.no_grad()
    def halves():
        """Yields, is sent something, and returns."""
        got = yield (w * 2).requires_grad
        try:
            yield (got, (w * 2).requires_grad)
        except ValueError:
            yield ("caught", (w * 2).requires_grad)
        return (w * 2).requires_grad

    def watched():
        return (yield from halves())

    run = watched()
    seen.append((next(run), (w * 2).requires_grad))
    seen.append((run.send("hello"), (w * 2).requires_grad))
    seen.append((run.throw(ValueError()), (w * 2).requires_grad))
    with pytest.raises(StopIteration) as end:
        next(run)
    assert seen == [(False, True), (("hello", False), True), (("caught", False), True)]
    assert end.value.value is False
    assert mode.recording


def test_two_generators_of_different_modes_may_take_turns():
    w = leaf(2.0)

    @tf.no_grad()
    def without():
        for _ in range(3):
            yield (w * 2).requires_grad

    def plain():
        for _ in range(3):
            yield (w * 2).requires_grad

    assert list(zip(without(), plain(), without())) == 3 * [(False, True, False)]


def test_a_generator_that_is_closed_cleans_up_in_its_mode():
    w, seen = leaf(2.0), []

    @tf.no_grad()
    def endless():
        try:
            while True:
                yield
        finally:
            seen.append((w * 2).requires_grad)

    run = endless()
    next(run)
    run.close()
    assert (seen, mode.recording) == ([False], True)


def test_one_object_may_be_entered_again_and_again():
    off = tf.no_grad()
    with off:
        with off:
            assert not mode.recording
        assert not mode.recording
    with off:
        assert not mode.recording
    assert mode.recording


def test_one_object_in_two_threads_restores_each_its_own():
    off, inside, seen = tf.no_grad(), threading.Barrier(2), []

    def work():
        with off:
            inside.wait()
            seen.append(mode.recording)
            inside.wait()
        seen.append(mode.recording)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [False, False, True, True]


def test_what_cannot_be_decorated_is_refused():
    async def waits():
        """Others would run in its mode."""

    for thing in (waits, 3, int):
        with pytest.raises(TypeError, match=r"a mode (cannot )?decorate"):
            tf.no_grad()(thing)
