"""All that is said of NVIDIA's GPUs in particular: loading CuPy, and facts of the device.

`backend.use("cupy")` comes here. The rest of the library knows nothing of CUDA, and runs without
this file until you ask for a GPU.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from contextlib import suppress
from importlib.metadata import packages_distributions
from typing import Any

from ..errors import BackendError

OTHERWISE = "or keep the NumPy backend."
NO_GPU = (
    "CuPy and the driver are there but no GPU is visible. Check `nvidia-smi` and "
    f"CUDA_VISIBLE_DEVICES, {OTHERWISE}"
)


def load(device: int) -> Any:
    """CuPy on that GPU, after a first small computation; or what is missing, in one sentence."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise BackendError(f"backend: {_why_no_import(error)}") from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own, driver-dependent types here
        raise BackendError(f"backend: {_why_no_driver(cupy.cuda.runtime, error)}") from error
    if devices == 0:
        raise BackendError(f"backend: {NO_GPU}")
    if device >= devices:
        numbers = "cupy:0 is the only one" if devices == 1 else f"cupy:0 to cupy:{devices - 1}"
        raise BackendError(f"backend: there is no GPU cupy:{device}; {numbers}.")
    try:
        cupy.cuda.Device(device).use()
        (cupy.ones((2, 2)) @ cupy.ones((2, 2)) + 1).get()  # compiles, multiplies, allocates, copies
    except Exception as error:  # a dozen libraries say in their own words what is missing
        raise BackendError(f"backend: {_why_no_answer(cupy, device, error)}") from error
    return cupy


def _why_no_import(error: ImportError) -> str:
    if not isinstance(error, ModuleNotFoundError) or error.name != "cupy":
        return (
            f"CuPy is installed but cannot be loaded ({error}). Install it again with "
            f"{_install(_driver(), '--force-reinstall ')}, {OTHERWISE}"
        )
    if (driver := _driver()) >= 12000:
        able = f"The NVIDIA driver here can do CUDA {_cuda(driver)}"
        return f"CuPy is not installed. {able}, so run {_install(driver)}, {OTHERWISE}"
    return (
        "CuPy is not installed. If `nvidia-smi` shows CUDA 12, run `pip install "
        "'tinyfractal[gpu12]'`; from 13 on, `[gpu13]`; elsewhere keep the NumPy backend."
    )


def _why_no_driver(runtime: Any, error: object) -> str:
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        return (
            f"CuPy is installed but finds no NVIDIA driver ({error}). "
            f"Install one, so that `nvidia-smi` works, {OTHERWISE}"
        )
    if driver // 1000 < needed // 1000:
        other = f"or run {_install(driver)}, " if driver >= 12000 else ""
        return (
            f"the NVIDIA driver is too old: it can do CUDA {_cuda(driver)}, this CuPy needs "
            f"{_cuda(needed)}. Update the driver, {other}{OTHERWISE}"
        )
    if "NoDevice" not in str(error):
        return (
            f"CuPy cannot reach the NVIDIA driver ({error}). "
            f"Check that `nvidia-smi` works, {OTHERWISE}"
        )
    return NO_GPU


def _why_no_answer(cupy: Any, device: int, error: Exception) -> str:
    if isinstance(error, MemoryError):
        return (
            f"the memory of GPU {device} is full ({error}). See in `nvidia-smi` who has it, choose "
            f"another GPU (cupy:1), {OTHERWISE}"
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return (
        f"CuPy sees GPU {device} but cannot compute on it ({reason}). The CUDA libraries come with "
        f"{_install(cupy.cuda.runtime.runtimeGetVersion())}; run that, {OTHERWISE}"
    )


def _driver() -> int:
    """The CUDA that the NVIDIA driver can do (12090 is 12.9), asked without CuPy; 0 if unknown."""
    found = ctypes.c_int(0)
    with suppress(OSError, AttributeError):
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        driver.cuDriverGetVersion(ctypes.byref(found))
    return found.value


def _install(cuda: int, option: str = "") -> str:
    """What to type to have the CuPy for that CUDA, or the present one again where it is unknown."""
    there = sorted(set(packages_distributions().get("cupy", [])))
    new = cuda >= 13000 or (cuda == 0 and there == ["cupy-cuda13x"])
    extra, older = ("gpu13", " (`[gpu12]` for a GPU from before 2018)") if new else ("gpu12", "")
    others = there not in ([], [extra.replace("gpu", "cupy-cuda") + "x"])  # all have the same files
    first = f"`pip uninstall {' '.join(there)}` and " if others else ""
    return f"{first}`pip install {option}'tinyfractal[{extra}]'`{older}"


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
