"""Parts of one computation on threads: the same numbers, in the same order, every time."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor
from tinyfractal.fast import optim as fast_optim
from tinyfractal.fast import parallel
from tinyfractal.optim import SGD

from .test_optim import every, give_gradients, weights

pytestmark = pytest.mark.usefixtures("on_numpy")


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(parallel, "threads", lambda: 2)
    parallel._inbox.cache_clear()
    yield
    parallel._inbox.cache_clear()


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("numbers", [10, 1 << 20])
def test_parts_are_all_of_it_once_and_in_order(n, numbers, two_threads):
    parts = parallel.parts(n, numbers)
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert len(parts) == (2 if n > 1 and numbers > 1000 else 1)


@pytest.mark.parametrize("step", [0, 1, 3, 100])
def test_runs_are_all_of_it_once_and_short(step):
    runs = parallel.runs(slice(2, 12), step)
    assert [i for run in runs for i in range(12)[run]] == list(range(2, 12))
    assert max(run.stop - run.start for run in runs) <= max(1, step)
    assert parallel.runs(slice(3, 3), step) == []


def test_work_runs_at_once_and_results_come_in_order(two_threads):
    both = threading.Barrier(2, timeout=10)  # passed only by two threads that run together

    def work(i):
        both.wait()
        return i

    assert parallel.run(work, range(2)) == [0, 1]


def test_an_error_in_a_part_is_raised(two_threads):
    for items in ([1, 0], [0, 1], [0, 0]):
        with pytest.raises(ZeroDivisionError):
            parallel.run(lambda i: 1 / i, items)
    assert parallel.run(lambda i: 1 / i, [1, 2]) == [1, 0.5]  # and work goes on afterwards


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_child_has_threads_of_its_own(two_threads):
    parallel.run(lambda i: i, range(2))
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # ends a child that waits for ever
        os._exit(0 if parallel.run(lambda i: i, range(2)) == [0, 1] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_blas_is_held_to_one_thread_and_let_go():
    pytest.importorskip("threadpoolctl")

    def counts():
        return [library.num_threads for library in parallel._blas()]

    before = counts()
    assert before
    with parallel.one_blas_thread():
        assert set(counts()) == {1}
        with parallel.one_blas_thread():
            pass
        assert set(counts()) == {1}
    assert counts() == before


def test_threads_are_counted_before_they_are_held_back():
    pytest.importorskip("threadpoolctl")
    program = (
        "from tinyfractal.fast import parallel\n"
        "with parallel.one_blas_thread():\n"
        "    print(parallel.threads())"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    # a machine with one core may not give two
    assert int(run.stdout) == min(2, os.cpu_count() or 1)


def gradients(seed):
    """One step of a network large enough for several parts in all its layers."""
    rng = np.random.default_rng(seed)
    tf.seed(seed)
    net = tf.FractalNet(3, 5, columns=2, channels=(8, 16), drop_path=0.0)
    images = Tensor(rng.normal(size=(24, 16, 16, 3)).astype(np.float32))
    tf.cross_entropy(net(images), rng.integers(5, size=24)).backward()
    return [p.grad.data for p in net.parameters()] + [b.data for _, b in net.named_buffers()]


def test_threads_change_nothing_but_the_last_bits(two_threads, monkeypatch):
    first, again = gradients(0), gradients(0)
    monkeypatch.setattr(parallel, "threads", lambda: 1)
    alone = gradients(0)
    for a, b, c in zip(first, again, alone):
        np.testing.assert_array_equal(a, b)  # bit for bit
        np.testing.assert_allclose(a, c, rtol=1e-3, atol=1e-5)


def test_overlapping_blocks_in_two_threads_give_blas_its_threads_back():
    class Blas:
        num_threads = 4

        def set_num_threads(self, count):
            self.num_threads = count

    blas, inside, seen = Blas(), threading.Barrier(2), []
    parallel.threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "_blas", lambda: [blas])

        def work(first):
            if not first:
                inside.wait()
            with parallel.one_blas_thread():
                if first:
                    inside.wait()  # the second begins while the first is inside …
                inside.wait()
                seen.append(blas.num_threads)
                if not first:
                    inside.wait()  # … and ends after it
            if first:
                seen.append(blas.num_threads)
                inside.wait()

        threads = [threading.Thread(target=work, args=(first,)) for first in (True, False)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == [1, 1, 1]
    assert blas.num_threads == 4


# ----- The optimizer's step in pieces -----


@every
def test_threads_and_pieces_take_the_same_steps(kind, settings, monkeypatch):
    def steps(small, run):
        monkeypatch.setattr(parallel, "SMALL", small)
        monkeypatch.setattr(fast_optim, "RUN", run)
        parameters = weights()
        optimizer = kind(parameters, **settings)
        for step in range(3):
            give_gradients(parameters, step)
            if step == 1:
                parameters[0].grad = None
            optimizer.step()
        return [p.data for p in parameters] + [p.version for p in parameters]

    monkeypatch.setattr(parallel, "threads", lambda: 2)
    alone, shared = steps(1 << 20, 1 << 20), steps(0, 2)
    for a, b in zip(alone, shared):
        np.testing.assert_array_equal(a, b)


def test_a_parameter_moves_whatever_its_order_in_memory(monkeypatch):
    monkeypatch.setattr(fast_optim, "RUN", 2)
    w = Tensor(np.zeros((3, 4)).T, requires_grad=True)
    assert not w.data.flags.c_contiguous
    w.grad = Tensor(np.ones((4, 3)))
    SGD([w], lr=1).step()
    np.testing.assert_array_equal(w.data, -np.ones((4, 3)))
