"""The workloads in tinygrad, each step compiled as a whole by its `TinyJit`.

tinygrad needs a C compiler (clang) for the CPU, and takes the machine's processors, all of them.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from tinygrad import Context, Tensor, TinyJit, nn
from tinygrad.helpers import NUM_CPU_THREADS

from .workloads import MLP, Chain, Layer, Network, Step, Steps, channels_first, fractal, units

VERSION = version("tinygrad")
Tensor([1.0]).sum().item()  # raises here, and not in the middle of a table, without a compiler


def threads(n: int) -> None:
    NUM_CPU_THREADS.value = n


class Unit:
    def __init__(self, state: dict[str, np.ndarray], name: str) -> None:
        kernel = state[f"{name}.conv.weight"]
        self.conv = nn.Conv2d(*kernel.shape[1::-1], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(kernel.shape[0])
        parts = {"conv.weight": kernel}
        parts |= {f"norm.{s}": state[f"{name}.norm.{s}"] for s in ("weight", "bias")}
        parts |= {f"norm.running_{s}": state[f"{name}.norm.running_{s}"] for s in ("mean", "var")}
        load(self, parts)

    def __call__(self, x: Any) -> Any:
        return self.norm(self.conv(x)).relu()


def load(module: Any, state: dict[str, np.ndarray]) -> None:
    nn.state.load_state_dict(
        module, {k: Tensor(a) for k, a in state.items()}, strict=False, verbose=False
    )


def linear(state: dict[str, np.ndarray], name: str) -> Any:
    weight = np.ascontiguousarray(state[f"{name}.weight"].T)
    layer = nn.Linear(*weight.shape[::-1])
    load(layer, {"weight": weight, "bias": state[f"{name}.bias"]})
    return layer


class Net:
    def __init__(self, spec: Network) -> None:
        self.spec = spec
        state = channels_first(spec.state)
        self.units = {name: Unit(state, name) for name in units(spec)}
        self.head = linear(state, "head.1")

    def __call__(self, x: Any) -> Any:
        def join(xs: list[Any]) -> Any:
            return sum(xs[1:], xs[0]) / len(xs)

        x = fractal(lambda name, z: self.units[name](z), join, Tensor.max_pool2d, self.spec, x)
        return self.head(x.mean((2, 3)))


class Perceptron:
    def __init__(self, spec: MLP) -> None:
        self.layers = [linear(spec.state, str(2 * i)) for i in range(len(spec.widths) - 1)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


def network(spec: Network) -> Steps:
    return learn(Net(spec), spec)


def perceptron(spec: MLP) -> Steps:
    return learn(Perceptron(spec), spec)


def learn(net: Any, spec: Network | MLP) -> Steps:
    x, labels = Tensor(channels_first({"x": spec.x})["x"]).realize(), Tensor(spec.labels).realize()
    optimizer = nn.optim.SGD(nn.state.get_parameters(net), lr=0.01, momentum=0.9)

    @TinyJit
    def step() -> Tensor:
        optimizer.zero_grad()
        loss = net(x).sparse_categorical_crossentropy(labels)
        loss.backward()
        return loss.realize(*optimizer.schedule_step())

    @TinyJit
    def answer() -> Tensor:
        return net(x).realize()

    def train(_: Any) -> float:
        with Context(TRAINING=1):
            return step().item()

    return {"training": Step(train), "inference": Step(lambda _: answer().numpy())}


def chain(spec: Chain) -> Steps:
    raise NotImplementedError("its compiler finds that this gradient is a constant")


def layer(spec: Layer) -> Steps:
    raise NotImplementedError("tinygrad is lazy: forward and backward cannot be timed apart")
