"""The workloads in HIPS autograd: functions of a dictionary of weights, written with its NumPy.

Its own `autograd.scipy.signal.convolve` is an einsum, ten times slower still than what stands here:
for each tap of the kernel one matrix product.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import autograd.numpy as np
import numpy
from autograd import make_vjp, value_and_grad

from .workloads import MLP, Chain, Layer, Network, Step, Steps, fractal

VERSION = version("autograd")


def conv(x: Any, weight: Any, stride: int = 1) -> Any:
    k, _, c, out = weight.shape
    n, h, w, _ = x.shape
    p = k // 2
    x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), "constant") if p else x
    y = sum(
        np.dot(np.reshape(x[:, u : u + h : stride, v : v + w : stride], (-1, c)), weight[u, v])
        for u in range(k)
        for v in range(k)
    )
    return np.reshape(y, (n, -(-h // stride), -(-w // stride), out))


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def pool(x: Any) -> Any:
    n, h, w, c = x.shape
    return np.max(np.reshape(x, (n, h // 2, 2, w // 2, 2, c)), axis=(2, 4))


def join(xs: list[Any]) -> Any:
    return sum(xs[1:], xs[0]) / len(xs)


def normalize(x: Any, mean: Any, var: Any, scale: Any, shift: Any) -> Any:
    factor = scale / np.sqrt(var + numpy.float32(1e-5))
    return x * factor + (shift - mean * factor)


def batch_norm(x: Any, scale: Any, shift: Any) -> Any:
    x = x - np.mean(x, axis=(0, 1, 2))
    return x * (scale / np.sqrt(np.mean(x * x, axis=(0, 1, 2)) + numpy.float32(1e-5))) + shift


def cross_entropy(logits: Any, labels: Any) -> Any:
    logits = logits - numpy.max(getattr(logits, "_value", logits), axis=1, keepdims=True)
    log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    return -np.mean(log_p[numpy.arange(len(labels)), labels])


def network(spec: Network) -> Steps:
    running = {name: a for name, a in spec.state.items() if ".running_" in name}

    def net(p: dict, training: bool) -> Any:
        def unit(name: str, x: Any) -> Any:
            x = conv(x, p[f"{name}.conv.weight"])
            weights = p[f"{name}.norm.weight"], p[f"{name}.norm.bias"]
            if training:  # running statistics would be extra work, which is spared it
                return relu(batch_norm(x, *weights))
            statistics = (running[f"{name}.norm.running_{s}"] for s in ("mean", "var"))
            return relu(normalize(x, *statistics, *weights))

        x = np.mean(fractal(unit, join, pool, spec, spec.x), axis=(1, 2))
        return np.dot(x, p["head.1.weight"]) + p["head.1.bias"]

    return learn(net, spec)


def perceptron(spec: MLP) -> Steps:
    def net(p: dict, training: bool) -> Any:
        x = spec.x
        for i in range(len(spec.widths) - 1):
            x = relu(x) if i else x
            x = np.dot(x, p[f"{2 * i}.weight"]) + p[f"{2 * i}.bias"]
        return x

    return learn(net, spec)


def learn(net: Any, spec: Network | MLP) -> Steps:
    p = {name: a.copy() for name, a in spec.state.items() if ".running_" not in name}
    velocity = {name: numpy.zeros_like(a) for name, a in p.items()}
    gradient = value_and_grad(lambda p: cross_entropy(net(p, True), spec.labels))

    def train(_: Any) -> float:
        loss, g = gradient(p)
        for name, v in velocity.items():
            v *= 0.9
            v += g[name]
            p[name] -= 0.01 * v
        return float(loss)

    return {"training": Step(train), "inference": Step(lambda _: net(p, False))}


def chain(spec: Chain) -> Steps:
    def total(leaf: Any) -> Any:
        y = leaf
        for _ in range(spec.length):
            y = y + leaf
        return np.sum(y)

    gradient = value_and_grad(total)
    return {"training": Step(lambda _: gradient(spec.x)[1])}


def layer(spec: Layer) -> Steps:
    inputs = list(spec.inputs.values())

    def call(inputs: Any) -> Any:
        match spec.kind:
            case "conv":
                return conv(*inputs, spec.stride)
            case "norm":
                return relu(batch_norm(*inputs))
            case "pool":
                return pool(*inputs)
            case "join":
                return join(list(inputs))
            case _:
                return cross_entropy(*inputs, spec.labels)

    def forward(_: Any = None) -> Any:  # recorded, as in the other libraries
        return make_vjp(call)(inputs)

    return {
        "forward": Step(forward, numbers=lambda result: [result[1]]),
        "backward": Step(lambda result: result[0](spec.g), forward, list),
    }
