"""The workloads in DeZero (0.0.13, made for NumPy 1).

On NumPy 2 it does not import, since it asks for `numpy.int`; and most of its backward would run in
float64, since it turns Python's numbers into arrays of no dimension, which there are float64 and no
longer give way to float32. Both are mended here, so that it is timed at what it was made to do:
numbers become float32, and labels are int16, whose difference with float32 is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

np.int = int  # type: ignore[attr-defined]
import dezero  # noqa: E402
import dezero.functions as F  # noqa: E402, N812
import dezero.layers as L  # noqa: E402, N812
from dezero import Parameter, Variable, optimizers  # noqa: E402

from .workloads import (  # noqa: E402
    MLP,
    Chain,
    Layer,
    Network,
    Step,
    Steps,
    channels_first,
    channels_last,
    fractal,
    units,
)

del np.int  # type: ignore[attr-defined]
VERSION = "0.0.13"


def as_array(x: Any, array_module: Any = np) -> Any:
    """DeZero's own, but a number becomes float32."""
    return np.asarray(x, np.float32) if np.isscalar(x) else x


dezero.core.as_array = as_array


class Unit(L.Layer):
    def __init__(self, state: dict[str, np.ndarray], name: str) -> None:
        super().__init__()
        kernel = state[f"{name}.conv.weight"]
        self.conv = L.Conv2d(kernel.shape[0], 3, pad=1, nobias=True)
        self.conv.W.data = kernel
        self.norm = L.BatchNorm()
        self.norm.gamma.data = state[f"{name}.norm.weight"]
        self.norm.beta.data = state[f"{name}.norm.bias"]
        self.norm.avg_mean.data = state[f"{name}.norm.running_mean"]
        self.norm.avg_var.data = state[f"{name}.norm.running_var"]

    def forward(self, x: Any) -> Any:
        norm = self.norm  # L.BatchNorm without saying eps, which there is 2e-5
        averages = norm.avg_mean.data, norm.avg_var.data
        x = F.batch_nrom(self.conv(x), norm.gamma, norm.beta, *averages, 0.9, 1e-5)
        return F.relu(x)


class Net(L.Layer):
    def __init__(self, spec: Network) -> None:
        super().__init__()
        self.spec = spec
        state = {name: a.copy() for name, a in channels_first(spec.state).items()}
        for name in units(spec):
            setattr(self, name, Unit(state, name))
        self.head = linear(state, "head.1")

    def forward(self, x: Any) -> Any:
        x = fractal(lambda name, z: getattr(self, name)(z), join, pool, self.spec, x)
        n, c, h, w = x.shape
        return self.head(F.sum(x.reshape(n, c, h * w), axis=2) / (h * w))


def linear(state: dict[str, np.ndarray], name: str) -> Any:
    layer = L.Linear(state[f"{name}.bias"].size)
    layer.W.data, layer.b.data = state[f"{name}.weight"], state[f"{name}.bias"]
    return layer


def join(xs: list[Any]) -> Any:
    return xs[0] if len(xs) == 1 else sum(xs[1:], xs[0]) * (1 / len(xs))


def pool(x: Any) -> Any:
    return F.pooling(x, 2, 2)


class Perceptron(L.Layer):
    def __init__(self, spec: MLP) -> None:
        super().__init__()
        self.count = len(spec.widths) - 1
        state = {name: a.copy() for name, a in spec.state.items()}
        for i in range(self.count):
            setattr(self, f"l{i}", linear(state, str(2 * i)))

    def forward(self, x: Any) -> Any:
        for i in range(self.count - 1):
            x = F.relu(getattr(self, f"l{i}")(x))
        return getattr(self, f"l{self.count - 1}")(x)


def network(spec: Network) -> Steps:
    return learn(Net(spec), spec)


def perceptron(spec: MLP) -> Steps:
    return learn(Perceptron(spec), spec)


def learn(net: Any, spec: Network | MLP) -> Steps:
    x, labels = channels_first({"x": spec.x})["x"], spec.labels.astype(np.int16)
    optimizer = optimizers.MomentumSGD(lr=0.01, momentum=0.9).setup(net)

    def train(_: Any) -> float:
        loss = F.softmax_cross_entropy(net(x), labels)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return float(loss.data)

    def infer(_: Any) -> np.ndarray:
        with dezero.test_mode(), dezero.no_grad():
            return net(x).data

    return {"training": Step(train), "inference": Step(infer)}


def chain(spec: Chain) -> Steps:
    def run(_: Any) -> np.ndarray:
        leaf = Variable(spec.x)
        y = leaf
        for _ in range(spec.length):
            y = y + leaf
        F.sum(y).backward()
        return leaf.grad.data

    return {"training": Step(run)}


def layer(spec: Layer) -> Steps:
    arrays = channels_first(spec.inputs)
    inputs = {name: Parameter(a) for name, a in arrays.items()}
    g = Variable(channels_first({"g": spec.g})["g"])
    c = spec.shape[-1]
    averages = np.zeros(c, np.float32), np.ones(c, np.float32)

    def forward(_: Any = None) -> Any:
        match spec.kind:
            case "conv":
                padding = spec.kernel // 2
                return F.conv2d(inputs["x"], inputs["weight"], None, spec.stride, padding)
            case "norm":
                return F.relu(F.batch_nrom(*inputs.values(), *averages, 0.9, 1e-5))
            case "pool":
                return pool(inputs["x"])
            case "join":
                return join(list(inputs.values()))
            case _:
                return F.softmax_cross_entropy(inputs["x"], spec.labels.astype(np.int16))

    def prepare() -> Any:
        for leaf in inputs.values():
            leaf.cleargrad()
        return forward()

    def backward(y: Any) -> list[Any]:
        y.grad = None if spec.kind == "loss" else g
        y.backward()
        return [leaf.grad for leaf in inputs.values()]

    def gradients(result: list[Any]) -> list[np.ndarray]:
        return list(channels_last({n: v.data for n, v in zip(inputs, result)}).values())

    return {
        "forward": Step(forward, numbers=lambda y: [channels_last({"y": y.data})["y"]]),
        "backward": Step(backward, prepare, gradients),
    }
