"""The switch between array libraries, the seed, and what an import brings in."""

import json
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, backend
from tinyfractal.errors import BackendError, DTypeError


def python(code, **environment):
    """Run code in a fresh Python; its output and errors, and its exit status."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr, done.returncode


def fake_cupy(devices):
    """A module that answers like CuPy where it is installed; `devices` counts or raises."""
    cupy = ModuleType("cupy")
    cupy.__version__ = "13.4"
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=devices))
    cupy.ndarray = type("ndarray", (), {"__module__": "cupy"})
    cupy.exp = lambda x: "exp on the device"
    return cupy


def no_driver():
    """What CuPy does without a driver."""
    raise RuntimeError("cudaErrorInsufficientDriver")


# ----- Switching -----


def test_starts_with_numpy():
    assert backend.current() == "numpy"
    assert repr(backend.xp) == f"<xp: numpy {np.__version__}>"


@pytest.mark.parametrize(
    ("cupy", "sentence"),
    [
        (None, r"CuPy is not installed.*pip install 'tinyfractal\[gpu\]'"),
        (fake_cupy(no_driver), r"cannot reach an NVIDIA driver \(cudaErrorIns.*nvidia-smi"),
        (fake_cupy(lambda: 0), r"no GPU is visible.*CUDA_VISIBLE_DEVICES"),
    ],
)
def test_missing_cupy_driver_or_gpu_is_one_clear_sentence(cupy, sentence, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(BackendError, match=sentence):
        backend.use("cupy")
    assert backend.current() == "numpy"
    assert (Tensor([1.0]) + 1).item() == 2


def test_use_and_using_switch_and_switch_back(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(lambda: 1))
    assert backend.xp.exp is np.exp
    with backend.using("cupy"):
        assert backend.current() == "cupy"
        assert backend.xp.exp(0) == "exp on the device"
        with backend.using("numpy"):
            assert backend.xp.exp is np.exp
        assert backend.current() == "cupy"
    assert backend.xp.exp is np.exp
    with pytest.raises(ZeroDivisionError), backend.using("cupy"):
        1 / 0  # noqa: B018
    assert backend.current() == "numpy"
    backend.use("cupy")
    backend.use("numpy")
    assert backend.xp.exp is np.exp


def test_unknown_backend():
    with pytest.raises(BackendError, match="expected one of numpy, cupy, got 'jax'"):
        backend.use("jax")


@pytest.mark.parametrize(("name", "answer"), [("numpy", "numpy"), ("jax", "got 'jax'")])
def test_environment_variable(name, answer):
    output, status = python(
        "import tinyfractal; print(tinyfractal.backend.current())", TINYFRACTAL_BACKEND=name
    )
    assert answer in output
    assert status == (0 if name == "numpy" else 1)


def test_arrays_of_the_other_library_are_refused_by_name(monkeypatch):
    cupy = fake_cupy(lambda: 1)
    with pytest.raises(BackendError, match=r"mul: argument 2: .*backend is numpy.* a cupy array"):
        Tensor([1.0]) * cupy.ndarray()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with backend.using("cupy"), pytest.raises(BackendError, match=r"is cupy .* a numpy array"):
        backend.check_array(np.ones(2), "x")


@pytest.mark.parametrize("thing", ["text", [1.0, 2.0], {}, object()])
def test_what_is_no_array_is_refused(thing):
    with pytest.raises(DTypeError, match=r"add: argument 2: expected a Tensor.* got \w+"):
        Tensor([1.0, 2.0]) + thing


def test_asarray_and_asnumpy_are_the_identity_on_the_host():
    array = np.ones(3)
    assert backend.asarray(array) is array
    assert backend.asnumpy(array) is array
    assert backend.asnumpy(Tensor.of(array)) is array
    device = SimpleNamespace(get=lambda: array)
    assert backend.asnumpy(device) is array


# ----- Chance -----


def draws():
    """Something that uses the generator in several ways."""
    return np.concatenate([backend.uniform((3,)), tf.dropout(np.ones(5)), backend.rng().random(2)])


def test_same_seed_same_numbers():
    backend.seed(7)
    first = draws()
    assert not np.array_equal(first, draws())
    backend.seed(7)
    np.testing.assert_array_equal(first, draws())


def test_random_state_survives_json():
    draws()
    state = json.loads(json.dumps(backend.random_state()))
    first = draws()
    backend.set_random_state(state)
    np.testing.assert_array_equal(first, draws())


def test_a_state_is_a_picture_and_does_not_move_on():
    state = backend.random_state()
    draws()
    assert state != backend.random_state()


def test_uniform_is_float32_in_0_to_1():
    x = backend.uniform((1000,))
    assert x.dtype == np.float32
    assert 0 <= x.min() < 0.1
    assert 0.9 < x.max() < 1


# ----- Facts and imports -----


def test_info_says_what_runs():
    facts = backend.info()
    assert facts["numpy"] == np.__version__
    assert facts["backend"] == "numpy"
    assert all(isinstance(value, str) for value in facts.values())
    assert "cores" in facts["threads"]


def test_import_brings_in_numpy_and_nothing_else():
    output, status = python(
        "import sys, numpy.random; before = {name.split('.')[0] for name in sys.modules}\n"
        "import tinyfractal\n"
        "after = {name.split('.')[0] for name in sys.modules} - before - {'tinyfractal'}\n"
        "print(sorted(after - sys.stdlib_module_names))\n"
        "extras = {'matplotlib', 'tqdm', 'PIL', 'torch', 'hypothesis', 'cupy', 'pytest', 'scipy'}\n"
        "print(sorted(extras & set(sys.modules)))"
    )
    assert (output.split(), status) == (["[]", "[]"], 0)
