"""The switch between array libraries, the seed, and what an import brings in."""

import ctypes
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, backend
from tinyfractal.backend import asnumpy, cuda
from tinyfractal.cli import main
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.errors import BackendError, DTypeError

from . import oracles


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


class CUDARuntimeError(RuntimeError):
    """What CuPy raises."""


def raises(error):
    """A function that raises it, whatever it is called with."""

    def call(*_, **__):
        raise error

    return call


def fake_cupy(devices=lambda: 1, driver=12090, needs=12090, ones=None):
    """A module that answers like CuPy where it is installed: as much as loading asks for."""
    cupy = ModuleType("cupy")
    cupy.__version__ = "14.2"
    used = []
    cupy.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceCount=devices,
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: needs,
        ),
        Device=lambda number=None: SimpleNamespace(
            id=used[-1] if number is None else number, use=lambda: used.append(number)
        ),
    )
    device = SimpleNamespace(get=lambda: 3.0)
    matrix = type("", (), {"__matmul__": lambda a, b: a, "__add__": lambda a, b: device})
    cupy.ones = ones or (lambda shape: matrix())
    cupy.ndarray = type("ndarray", (), {"__module__": "cupy"})
    cupy.exp = lambda x: "exp on the device"
    return cupy


INSUFFICIENT = CUDARuntimeError(
    "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
)
NO_DEVICE = CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
FULL = MemoryError("Out of memory allocating 512 bytes (allocated so far: 0 bytes).")
NO_CUBLAS = ImportError("libcublas.so.12: cannot open shared object file\nand more lines")
KEEP = "or keep the NumPy backend."
MISSING = {  # what is wrong: (the module that stands for CuPy, the name of the backend, the answer)
    "no CuPy": (
        None, "cupy",
        "backend: CuPy is not installed. If `nvidia-smi` shows CUDA 12, run `pip install "
        "'tinyfractal[gpu12]'`; from 13 on, `[gpu13]`; elsewhere keep the NumPy backend.",
    ),
    "no driver": (
        fake_cupy(raises(INSUFFICIENT), driver=0), "cupy",
        f"backend: CuPy is installed but finds no NVIDIA driver ({INSUFFICIENT}). Install one, so "
        f"that `nvidia-smi` works, {KEEP}",
    ),
    "an old driver": (
        fake_cupy(raises(INSUFFICIENT), driver=11040), "cupy",
        "backend: the NVIDIA driver is too old: it can do CUDA 11.4, this CuPy needs 12.9. Update "
        f"the driver, {KEEP}",
    ),
    "a driver that fails": (
        fake_cupy(raises(CUDARuntimeError("cudaErrorInitializationError"))), "cupy",
        "backend: CuPy cannot reach the NVIDIA driver (cudaErrorInitializationError). Check that "
        f"`nvidia-smi` works, {KEEP}",
    ),
    "no GPU, says the driver": (
        fake_cupy(raises(NO_DEVICE)), "cupy",
        "backend: CuPy and the driver are there but no GPU is visible. Check `nvidia-smi` and "
        f"CUDA_VISIBLE_DEVICES, {KEEP}",
    ),
    "no GPU": (
        fake_cupy(lambda: 0), "cupy",
        "backend: CuPy and the driver are there but no GPU is visible. Check `nvidia-smi` and "
        f"CUDA_VISIBLE_DEVICES, {KEEP}",
    ),
    "a number too high": (
        fake_cupy(lambda: 2), "cupy:2",
        "backend: there is no GPU cupy:2; cupy:0 to cupy:1.",
    ),
    "a number where there is one": (
        fake_cupy(lambda: 1), "cupy:1",
        "backend: there is no GPU cupy:1; cupy:0 is the only one.",
    ),
    "full memory": (
        fake_cupy(ones=raises(FULL)), "cupy",
        f"backend: the memory of GPU 0 is full ({FULL}). See in `nvidia-smi` who has it, choose "
        f"another GPU (cupy:1), {KEEP}",
    ),
    "no CUDA libraries": (
        fake_cupy(ones=raises(NO_CUBLAS)), "cupy",
        "backend: CuPy sees GPU 0 but cannot compute on it (libcublas.so.12: cannot open shared "
        "object file). The CUDA libraries come with `pip install 'tinyfractal[gpu12]'`; run that, "
        f"{KEEP}",
    ),
}  # fmt: skip


# ----- Switching -----


@pytest.mark.usefixtures("on_numpy")
def test_numpy_is_the_one_that_is_named():
    assert backend.current() == "numpy"
    assert repr(backend.xp) == f"<xp: numpy {np.__version__}>"


@pytest.mark.usefixtures("on_numpy")
@pytest.mark.parametrize("wrong", MISSING)
def test_what_is_missing_for_a_gpu_is_one_sentence_that_says_what_to_do(wrong, monkeypatch):
    cupy, name, answer = MISSING[wrong]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(cuda, "_driver", lambda: 0)
    monkeypatch.setattr(cuda, "packages_distributions", dict)
    with pytest.raises(BackendError) as caught:
        backend.use(name)
    assert str(caught.value) == answer
    assert backend.current() == "numpy"  # and all goes on there
    assert (Tensor([1.0]) + 1).item() == 2


NO_PATHFINDER = ModuleNotFoundError("No module named 'cuda'", name="cuda")
NO_NVRTC = ImportError("libnvrtc.so: no such file")
CUDA_12, CUDA_13 = "cupy-cuda12x", "cupy-cuda13x"
OLDER = "(`[gpu12]` for a GPU from before 2018)"


@pytest.mark.usefixtures("on_numpy")
@pytest.mark.parametrize(
    ("cupy", "driver", "there", "answer"),
    [
        (
            None, 12040, [],
            "CuPy is not installed. The NVIDIA driver here can do CUDA 12.4, so run "
            "`pip install 'tinyfractal[gpu12]'`, ",
        ),
        (
            None, 13010, [],
            "CuPy is not installed. The NVIDIA driver here can do CUDA 13.1, so run "
            f"`pip install 'tinyfractal[gpu13]'` {OLDER}, ",
        ),
        (
            fake_cupy(raises(INSUFFICIENT), driver=12040, needs=13000), 12040, [CUDA_13],
            "the NVIDIA driver is too old: it can do CUDA 12.4, this CuPy needs 13.0. Update the "
            f"driver, or run `pip uninstall {CUDA_13}` and `pip install 'tinyfractal[gpu12]'`, ",
        ),
        (
            fake_cupy(needs=13000, ones=raises(NO_CUBLAS)), 13000, [CUDA_13],
            "CuPy sees GPU 0 but cannot compute on it (libcublas.so.12: cannot open shared object "
            f"file). The CUDA libraries come with `pip install 'tinyfractal[gpu13]'` {OLDER}; run "
            "that, ",
        ),
        (
            NO_NVRTC, 0, [CUDA_12],
            f"CuPy is installed but cannot be loaded ({NO_NVRTC}). Install it again with "
            "`pip install --force-reinstall 'tinyfractal[gpu12]'`, ",
        ),
        (
            NO_NVRTC, 0, [CUDA_13],
            f"CuPy is installed but cannot be loaded ({NO_NVRTC}). Install it again with "
            f"`pip install --force-reinstall 'tinyfractal[gpu13]'` {OLDER}, ",
        ),
        (
            NO_PATHFINDER, 12080, [CUDA_12],
            f"CuPy is installed but cannot be loaded ({NO_PATHFINDER}). Install it again with "
            "`pip install --force-reinstall 'tinyfractal[gpu12]'`, ",
        ),
        (
            NO_NVRTC, 12080, [CUDA_12, CUDA_13],
            f"CuPy is installed but cannot be loaded ({NO_NVRTC}). Install it again with "
            f"`pip uninstall {CUDA_12} {CUDA_13}` and "
            "`pip install --force-reinstall 'tinyfractal[gpu12]'`, ",
        ),
    ],
)  # fmt: skip
def test_the_extra_that_is_named_fits_the_driver_and_what_is_installed(
    cupy, driver, there, answer, monkeypatch
):
    if isinstance(cupy, ImportError):
        monkeypatch.setattr("importlib.import_module", raises(cupy))
    else:
        monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    monkeypatch.setattr(cuda, "packages_distributions", lambda: {"cupy": there[::-1] * 2})
    with pytest.raises(BackendError) as caught:
        backend.use("cupy")
    assert str(caught.value) == f"backend: {answer}{KEEP}"


def test_the_driver_is_asked_without_cupy(monkeypatch):
    def get_version(pointer):
        pointer._obj.value = 12090

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(cuDriverGetVersion=get_version))
    assert cuda._driver() == 12090
    for fault in (OSError("libcuda.so.1: no such file"), AttributeError("cuDriverGetVersion")):
        monkeypatch.setattr(ctypes, "CDLL", raises(fault))
        assert cuda._driver() == 0


def test_the_extras_bring_one_cupy_each():
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for package, extra in ((CUDA_12, "gpu12"), (CUDA_13, "gpu13")):
        (needed,) = extras[extra]
        assert needed.startswith(f"{package}[ctk]>=")
    assert extras["gpu"] == ["tinyfractal[gpu12]"]


def test_the_command_line_gives_the_sentence_and_an_exit_status(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(cuda, "_driver", lambda: 0)
    assert main(["recurse", "--backend", "cupy"]) == 1
    assert capsys.readouterr().err == f"tinyfractal: {MISSING['no CuPy'][2]}\n"
    assert main(["recurse", "--backend", "jax"]) == 1
    assert "name is one of numpy, cupy, got 'jax'" in capsys.readouterr().err


def test_memory_that_ends_in_the_middle_is_answered_with_sizes_and_advice(monkeypatch):
    x = Tensor(np.ones((4, 5)), requires_grad=True)
    y = tf.exp(x)
    monkeypatch.setattr(PRIMITIVES["exp"], "rules", [raises(FULL)])
    with pytest.raises(MemoryError) as caught:
        y.sum().backward()
    text = str(caught.value)
    assert text.startswith(
        f"the gradient of exp: no memory left for arguments of shape (4, 5) ({FULL}"
    )
    assert text.endswith(
        "Use smaller batches or a smaller network, or no_grad() where no gradient is wanted."
    )
    assert ("GB free" in text) == (backend.current() == "cupy")
    monkeypatch.setattr(PRIMITIVES["exp"], "value", raises(FULL))
    with pytest.raises(MemoryError, match=r"^exp: no memory left for arguments of shape \(4, 5\)"):
        tf.exp(x)


@pytest.mark.usefixtures("on_numpy")
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


@pytest.mark.usefixtures("on_numpy")
def test_using_goes_back_to_the_gpu_it_came_from(monkeypatch):
    cupy = fake_cupy(lambda: 3)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    backend.use("cupy:2")
    with backend.using("cupy"):
        assert cupy.cuda.Device().id == 0
        with backend.using("numpy"):
            pass
        assert cupy.cuda.Device().id == 0
    assert cupy.cuda.Device().id == 2


@pytest.mark.parametrize("name", ["jax", "numpy:1", "cupy:one", "cupy:-1", ""])
def test_unknown_backend(name):
    with pytest.raises(BackendError, match=f"name is one of numpy, cupy, got '{name}'"):
        backend.use(name)


@pytest.mark.parametrize(("name", "answer"), [("numpy", "numpy"), ("jax", "got 'jax'")])
def test_environment_variable(name, answer):
    output, status = python(
        "import tinyfractal; print(tinyfractal.backend.current())", TINYFRACTAL_BACKEND=name
    )
    assert answer in output
    assert status == (0 if name == "numpy" else 1)


@pytest.mark.usefixtures("on_numpy")
def test_arrays_of_the_other_library_are_refused_by_name(monkeypatch):
    cupy = fake_cupy(lambda: 1)
    with pytest.raises(BackendError, match=r"mul: b: .*backend is numpy.* a cupy array"):
        Tensor([1.0]) * cupy.ndarray()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with backend.using("cupy"), pytest.raises(BackendError, match=r"is cupy .* a numpy array"):
        backend.check_array(np.ones(2), "x")


@pytest.mark.parametrize("thing", ["text", [1.0, 2.0], {}, object()])
def test_what_is_no_array_is_refused(thing):
    with pytest.raises(DTypeError, match=r"add: b: expected a Tensor.* got \w+"):
        Tensor([1.0, 2.0]) + thing


@pytest.mark.usefixtures("on_numpy")
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
    dropped = tf.dropout(Tensor(np.ones(5))).numpy()
    return np.concatenate([asnumpy(backend.uniform((3,))), dropped, backend.rng().random(2)])


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
    x = asnumpy(backend.uniform((10, 100)))
    assert (x.dtype, x.shape) == (np.float32, (10, 100))
    assert 0 <= x.min() < 0.1
    assert 0.9 < x.max() < 1


def test_uniform_is_the_same_on_every_backend():
    backend.seed(4)
    found = asnumpy(backend.uniform((2, 3)))
    first, second = (int(key) for key in np.random.default_rng(4).integers(1 << 32, size=2))
    assert found.ravel().tolist() == [oracles.uniform(place, first, second) for place in range(6)]


def test_uniform_looks_random():
    # means, a chi-squared test of the spread, and no likeness between neighbours, rows and draws
    n, bins = 1 << 18, 256
    backend.seed(0)
    a, b = (asnumpy(backend.uniform((n,))) for _ in range(2))
    for x in (a, b, (a + b) % 1, (a[1:] + a[:-1]) % 1, (a[512:] + a[:-512]) % 1):
        counts = np.histogram(x, bins, (0, 1))[0]
        expected = len(x) / bins
        chi = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi - bins) < 5 * (2 * bins) ** 0.5
    for x, y in ((a, b), (a[1:], a[:-1]), (a[512:], a[:-512])):
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / n**0.5


# ----- Facts and imports -----


@pytest.mark.usefixtures("on_numpy")
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
