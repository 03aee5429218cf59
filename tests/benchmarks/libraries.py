"""Which libraries are here, and one workload in each of them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from . import in_tinyfractal
from .workloads import MLP, Chain, Layer, Network, Steps

PEERS = ("torch", "jax", "dezero", "mygrad", "autograd", "tinygrad")


def find(names: tuple[str, ...], threads: int) -> tuple[dict[str, ModuleType], dict[str, str]]:
    """tinyfractal and the peers that can be imported, by name; and why the others cannot."""
    found, missing = {"tinyfractal": in_tinyfractal}, {}
    for name in names:
        try:
            module = importlib.import_module(f".in_{name}", __package__)
            getattr(module, "threads", lambda n: None)(threads)
            found[name] = module
        except Exception as error:  # not installed, or too old for this NumPy, or no compiler
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found, missing


def build(spec: Any, libraries: dict[str, ModuleType]) -> tuple[dict[str, Steps], dict[str, str]]:
    """{library: {what: Step}} of a workload; and why a library has none."""
    if spec == "drop-path":
        return in_tinyfractal.drop_path(), {}
    method = {Network: "network", MLP: "perceptron", Chain: "chain", Layer: "layer"}[type(spec)]
    spec.draw()
    work, without = {}, {}
    for name, module in libraries.items():
        try:
            work[name] = getattr(module, method)(spec)
        except NotImplementedError as error:
            without[name] = str(error)
    return work, without
