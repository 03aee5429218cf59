"""The workloads in MyGrad, with its memory guard off, as its documentation advises for speed."""

from __future__ import annotations

from typing import Any

import mygrad as mg
import numpy as np
from mygrad.nnet import batchnorm, conv_nd, max_pool, relu, softmax_crossentropy

from .workloads import (
    MLP,
    Chain,
    Layer,
    Network,
    Step,
    Steps,
    channels_first,
    channels_last,
    fractal,
)

VERSION = mg.__version__
mg.turn_memory_guarding_off()


def join(xs: list[Any]) -> Any:
    return xs[0] if len(xs) == 1 else mg.add_sequence(*xs) / len(xs)


def pool(x: Any) -> Any:
    """2×2 max pooling.

    A 2×2 image becomes 1×1, and there MyGrad's gradient goes astray under NumPy 2.4.6, whose
    unravel_index fails on large arrays with a last axis of length 1. The same four numbers side
    by side as rows give it a longer last axis.
    """
    n, c, h, w = x.shape
    if h == w == 2:
        return max_pool(x.reshape(n, c * 4), (4,), 4).reshape(n, c, 1, 1)
    return max_pool(x, (2, 2), 2)


class Net:
    """Weights by name. MyGrad's batch norm has no running statistics; testing needs some."""

    def __init__(self, spec: Network) -> None:
        self.spec = spec
        state = channels_first(spec.state)
        self.p = {name: mg.tensor(a) for name, a in state.items() if ".running_" not in name}
        self.running = {name: a for name, a in state.items() if ".running_" in name}
        self.training = True

    def unit(self, name: str, x: Any) -> Any:
        x = conv_nd(x, self.p[f"{name}.conv.weight"], stride=1, padding=1)
        scale, shift = self.p[f"{name}.norm.weight"], self.p[f"{name}.norm.bias"]
        if self.training:
            return relu(batchnorm(x, gamma=scale, beta=shift, eps=1e-5))
        mean, var = (self.running[f"{name}.norm.running_{s}"] for s in ("mean", "var"))
        scale = scale / np.sqrt(var + np.float32(1e-5))
        shift = shift - mean * scale
        return relu(x * scale.reshape(-1, 1, 1) + shift.reshape(-1, 1, 1))

    def __call__(self, x: Any) -> Any:
        x = fractal(self.unit, join, pool, self.spec, x).mean(axis=(2, 3))
        return x @ self.p["head.1.weight"] + self.p["head.1.bias"]


class Perceptron:
    def __init__(self, spec: MLP) -> None:
        self.p = {name: mg.tensor(a) for name, a in spec.state.items()}
        self.count = len(spec.widths) - 1

    def __call__(self, x: Any) -> Any:
        for i in range(self.count):
            x = x @ self.p[f"{2 * i}.weight"] + self.p[f"{2 * i}.bias"]
            x = relu(x) if i < self.count - 1 else x
        return x


def network(spec: Network) -> Steps:
    return learn(Net(spec), spec)


def perceptron(spec: MLP) -> Steps:
    return learn(Perceptron(spec), spec)


def learn(net: Any, spec: Network | MLP) -> Steps:
    x, labels = channels_first({"x": spec.x})["x"], spec.labels
    velocity = {name: np.zeros_like(p.data) for name, p in net.p.items()}

    def train(_: Any) -> float:
        net.training = True
        loss = softmax_crossentropy(net(x), labels)
        loss.backward()
        for name, p in net.p.items():
            v = velocity[name]
            v *= 0.9
            v += p.grad
            p.data -= 0.01 * v
            p.null_grad()
        return loss.item()

    def infer(_: Any) -> np.ndarray:
        net.training = False
        with mg.no_autodiff:
            return net(x).data

    return {"training": Step(train), "inference": Step(infer)}


def chain(spec: Chain) -> Steps:
    def run(_: Any) -> np.ndarray:
        leaf = mg.tensor(spec.x)
        y = leaf
        for _ in range(spec.length):
            y = y + leaf
        y.sum().backward()
        return leaf.grad

    return {"training": Step(run)}


def layer(spec: Layer) -> Steps:
    inputs = {name: mg.tensor(a) for name, a in channels_first(spec.inputs).items()}
    g = channels_first({"g": spec.g})["g"]
    if spec.stride > 1:
        raise NotImplementedError("MyGrad's convolution refuses strides that leave pixels over")

    def forward(_: Any = None) -> Any:
        match spec.kind:
            case "conv":
                padding = spec.kernel // 2
                return conv_nd(inputs["x"], inputs["weight"], stride=1, padding=padding)
            case "norm":
                x, scale, shift = inputs.values()
                return relu(batchnorm(x, gamma=scale, beta=shift, eps=1e-5))
            case "pool":
                return pool(inputs["x"])
            case "join":
                return join(list(inputs.values()))
            case _:
                return softmax_crossentropy(inputs["x"], spec.labels)

    def backward(y: Any) -> list[np.ndarray]:
        y.backward(g)
        return [leaf.grad for leaf in inputs.values()]

    def gradients(result: list[np.ndarray]) -> list[np.ndarray]:
        return list(channels_last(dict(zip(inputs, result))).values())

    return {
        "forward": Step(forward, numbers=lambda y: [channels_last({"y": y.data})["y"]]),
        "backward": Step(backward, forward, gradients),
    }
