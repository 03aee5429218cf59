"""How far float32 is from float64: the whole of W1 forward, and convolutions one by one.

The truth is tinyfractal's reference, the readable definition, in float64. An error is the largest
difference as a fraction of the largest number.
"""

from __future__ import annotations

from copy import deepcopy
from types import ModuleType

import numpy as np

import tinyfractal as tf

from . import in_tinyfractal
from .measure import distance
from .workloads import CONVOLUTIONS, NETWORKS, Layer, Network

Errors = dict[str, dict[str, float]]  # {what: {library: relative error}}


def errors(libraries: dict[str, ModuleType], spec: Network | None = None) -> Errors:
    """Of tinyfractal, and of PyTorch where it is among the libraries."""
    some = {name: libraries[name] for name in ("tinyfractal", "torch") if name in libraries}
    result = {f"{spec_name} forward": {} for spec_name in ("W1",)}
    spec = (spec or deepcopy(NETWORKS["W1 paper"])).draw()
    truth = in_float64(spec)
    for name, module in some.items():
        result["W1 forward"][name] = distance(module.network(spec)["inference"].run(None), truth)
    for what, layer in CONVOLUTIONS.items():
        result |= layer_errors(what.removeprefix("W5 "), deepcopy(layer).draw(), some)
    return result


def in_float64(spec: Network) -> np.ndarray:
    """The logits of a network, computed in float64 by the definitions."""
    net = tf.FractalNet(spec.image[2], 10, spec.columns, spec.channels, drop_path=0.0)
    net.load_state_dict(spec.state)
    net.eval().astype(np.float64)
    with tf.no_grad(), tf.reference():
        return net(tf.Tensor(spec.x.astype(np.float64))).numpy()


def layer_errors(what: str, spec: Layer, libraries: dict[str, ModuleType]) -> Errors:
    """Of the output, and of the gradient with respect to each input."""
    double = deepcopy(spec)
    double.inputs = {name: a.astype(np.float64) for name, a in spec.inputs.items()}
    double.g = np.asarray(spec.g, np.float64)
    with tf.reference():
        truth = _everything(in_tinyfractal, double)
    names = ["forward", *(f"gradient of {name}" for name in spec.inputs)]
    result: Errors = {f"{what}, {name}": {} for name in names}
    for library, module in libraries.items():
        for name, ours, exact in zip(names, _everything(module, spec), truth):
            result[f"{what}, {name}"][library] = distance(ours, exact)
    return result


def _everything(module: ModuleType, spec: Layer) -> list[np.ndarray]:
    steps = module.layer(spec)
    forward, backward = steps["forward"], steps["backward"]
    y = forward.numbers(forward.run(None))
    return y + backward.numbers(backward.run(backward.prepare()))


def report(found: Errors) -> str:
    """A table, with the ratio where PyTorch is there."""
    lines = [f"{'relative error to float64':48}{'tinyfractal':>12}{'torch':>12}{'ratio':>8}"]
    for what, row in found.items():
        line = f"{what:48}" + "".join(f"{error:12.1e}" for error in row.values())
        lines.append(line + (f"{row['tinyfractal'] / row['torch']:8.2f}" if "torch" in row else ""))
    return "\n".join(lines)
