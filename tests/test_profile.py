"""The profile: what is counted is what happened, and nothing stays behind."""

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, backend
from tinyfractal.cli import main
from tinyfractal.cli.profile import profile_table, watched
from tinyfractal.engine.operators import PRIMITIVES


def test_calls_bytes_and_times_are_those_of_the_computation():
    x = Tensor(np.ones((50, 40), np.float32), requires_grad=True)
    with watched() as rows:
        y = tf.sin(tf.sin(x)) * 2.0
        y.sum().backward()
    assert {name: row.calls for name, row in rows.items()} == {"sin": 2, "mul": 1, "sum": 1}
    assert rows["sin"].bytes == 2 * 50 * 40 * 4
    assert rows["sum"].bytes == 4
    assert all(row.forward > 0 and row.backward > 0 for row in rows.values())


def test_watching_changes_no_number_and_leaves_nothing_behind():
    x = np.linspace(-1, 1, 12).reshape(3, 4)

    def gradient():
        leaf = Tensor(x, requires_grad=True)
        tf.exp(tf.softmax(leaf * leaf, axis=1)).sum().backward()
        return leaf.grad.data

    before = gradient()
    try:
        with watched():
            inside = gradient()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    np.testing.assert_array_equal(before, inside)
    for primitive in PRIMITIVES.values():
        assert not {"on_tensors", "gradients"} & set(vars(primitive))


def test_one_block_watches_at_a_time():
    with watched() as rows:
        with pytest.raises(RuntimeError, match="watched already"), watched():
            pass
        tf.sin(Tensor([1.0]))
    assert rows["sin"].calls == 1
    with watched():
        pass


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"shape": (8, 8)}, {"columns": 0}, {"channels": 4}]
)
def test_a_step_that_cannot_be_profiled_is_refused_by_name(wrong):
    settings = {"columns": 1, "channels": (2,), "shape": (4, 4, 1), "batch_size": 2, "steps": 1}
    with pytest.raises((ValueError, TypeError), match=f"^profile_table: {next(iter(wrong))} needs"):
        profile_table(**{**settings, **wrong})


def test_command_prints_every_primitive_and_the_sum(capsys):
    options = ["--columns", "2", "--channels", "4,4", "--image", "8x8x1", "--batch-size", "4"]
    assert main(["profile", *options, "--steps", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = {line.split()[0]: line.split()[1] for line in lines[3:-3]}
    together = 4 if backend.current() == "numpy" else 6  # of the six those that read one image
    assert counts["batch_norm"] == str(together)
    assert counts["conv2d"] == "4"
    assert counts["max_pool2d"] == "2"
    shares = [float(line.split()[-1].rstrip("%")) for line in lines[3:]]
    assert abs(sum(shares[:-1]) - 100) < 1
    assert shares[-1] == 100


def test_a_shape_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["profile", "--image", "8x8"])
    assert "expected height x width x channels" in capsys.readouterr().err
