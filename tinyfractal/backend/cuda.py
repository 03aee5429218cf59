"""All that is said of NVIDIA's GPUs in particular: loading CuPy, and facts of the device.

`backend.use("cupy")` comes here. The rest of the library knows nothing of CUDA, and runs without
this file until somebody asks for a GPU.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import BackendError


def load(device: int) -> Any:
    """CuPy on that GPU, after a first small computation; or what is missing, in one sentence."""
    otherwise = "or keep the NumPy backend."
    try:
        cupy = importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise BackendError(f"backend: CuPy needs {error.name}: pip install it.") from error
        raise BackendError(
            "backend: CuPy is not installed. On a machine with an NVIDIA GPU run "
            "`pip install 'tinyfractal[gpu]'`; elsewhere keep the NumPy backend."
        ) from error
    except ImportError as error:
        raise BackendError(
            f"backend: CuPy is installed but cannot be loaded ({error}). Install it again with "
            f"`pip install --force-reinstall 'tinyfractal[gpu]'`, {otherwise}"
        ) from error
    runtime = cupy.cuda.runtime
    try:
        devices = runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own, driver-dependent types here
        driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        if driver == 0:
            raise BackendError(
                f"backend: CuPy is installed but finds no NVIDIA driver ({error}). "
                f"Install one, so that `nvidia-smi` works, {otherwise}"
            ) from error
        if driver // 1000 < needed // 1000:
            raise BackendError(
                f"backend: the NVIDIA driver is too old: it can do CUDA {_cuda(driver)}, this CuPy "
                f"needs {_cuda(needed)}. Update the driver, or install the CuPy for CUDA "
                f"{driver // 1000} (cupy-cuda{driver // 1000}x), {otherwise}"
            ) from error
        if "NoDevice" not in str(error):
            raise BackendError(
                f"backend: CuPy cannot reach the NVIDIA driver ({error}). "
                f"Check that `nvidia-smi` works, {otherwise}"
            ) from error
        devices = 0
    if devices == 0:
        raise BackendError(
            "backend: CuPy and the driver are there but no GPU is visible. "
            f"Check `nvidia-smi` and CUDA_VISIBLE_DEVICES, {otherwise}"
        )
    if device >= devices:
        numbers = "cupy:0 is the only one" if devices == 1 else f"cupy:0 to cupy:{devices - 1}"
        raise BackendError(f"backend: there is no GPU cupy:{device}; {numbers}.")
    try:
        cupy.cuda.Device(device).use()
        (cupy.ones((2, 2)) @ cupy.ones((2, 2)) + 1).get()  # compiles, multiplies, allocates, copies
    except MemoryError as error:
        raise BackendError(
            f"backend: the memory of GPU {device} is full ({error}). See in `nvidia-smi` who has "
            f"it, choose another GPU (cupy:1), {otherwise}"
        ) from error
    except Exception as error:  # what is missing is found by a dozen libraries in their own words
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BackendError(
            f"backend: CuPy sees GPU {device} but cannot compute on it ({reason}). The CUDA "
            f"libraries come with `pip install 'tinyfractal[gpu]'`; install that, {otherwise}"
        ) from error
    return cupy


def _cuda(version: int) -> str:
    """12090 is CUDA 12.9."""
    return f"{version // 1000}.{version % 1000 // 10}"


def info(cupy: Any) -> dict[str, str]:
    """CuPy's version, CUDA's, the name of the GPU, and how full its memory is."""
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    name = runtime.getDeviceProperties(device.id)["name"].decode()
    (free, total), pool = device.mem_info, cupy.get_default_memory_pool()
    used, kept = pool.used_bytes(), pool.total_bytes() - pool.used_bytes()
    free, total, used, kept = (f"{size / 2**30:.2f}" for size in (free, total, used, kept))
    return {
        "cupy": cupy.__version__,
        "cuda": f"{_cuda(runtime.runtimeGetVersion())}, the driver can do "
        f"{_cuda(runtime.driverGetVersion())}",
        "device": f"{name} (cupy:{device.id})",
        "memory": f"{free} of {total} GB free, {used} in arrays, {kept} kept by CuPy for the next",
    }
