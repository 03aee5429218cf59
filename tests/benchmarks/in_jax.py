"""The workloads in JAX: functions of a dictionary of weights, compiled as a whole by `jit`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .workloads import MLP, Chain, Layer, Network, Step, Steps, fractal

VERSION = jax.__version__


def conv(x: Any, weight: Any, stride: int = 1) -> Any:
    pad = weight.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def pool(x: Any) -> Any:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def join(xs: list[Any]) -> Any:
    return sum(xs) / len(xs)


def normalize(x: Any, mean: Any, var: Any, scale: Any, shift: Any) -> Any:
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * scale + shift


def cross_entropy(logits: Any, labels: Any) -> Any:
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels])


def network(spec: Network) -> Steps:
    def net(p: dict, running: dict, x: Any, training: bool) -> tuple[Any, dict]:
        moved = dict(running)

        def unit(name: str, x: Any) -> Any:
            x = conv(x, p[f"{name}.conv.weight"])
            names = f"{name}.norm.running_mean", f"{name}.norm.running_var"
            statistics = [running[n] for n in names]
            if training:
                statistics = [x.mean((0, 1, 2)), x.var((0, 1, 2))]
                count = x.size / x.shape[-1]
                for n, s, unbiased in zip(names, statistics, (1, count / (count - 1))):
                    moved[n] = 0.9 * running[n] + 0.1 * unbiased * s
            weights = p[f"{name}.norm.weight"], p[f"{name}.norm.bias"]
            return jax.nn.relu(normalize(x, *statistics, *weights))

        x = fractal(unit, join, pool, spec, x).mean((1, 2))
        return x @ p["head.1.weight"] + p["head.1.bias"], moved

    return learn(net, spec)


def perceptron(spec: MLP) -> Steps:
    def net(p: dict, running: dict, x: Any, training: bool) -> tuple[Any, dict]:
        for i in range(len(spec.widths) - 1):
            x = jax.nn.relu(x) if i else x
            x = x @ p[f"{2 * i}.weight"] + p[f"{2 * i}.bias"]
        return x, running

    return learn(net, spec)


def learn(net: Any, spec: Network | MLP) -> Steps:
    arrays = {name: jnp.asarray(a) for name, a in spec.state.items()}
    x, labels = jnp.asarray(spec.x), jnp.asarray(spec.labels)

    def loss_of(p: dict, running: dict) -> tuple[Any, dict]:
        logits, running = net(p, running, x, True)
        return cross_entropy(logits, labels), running

    @jax.jit
    def step(p: dict, velocity: dict, running: dict) -> Any:
        (loss, running), g = jax.value_and_grad(loss_of, has_aux=True)(p, running)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, g)
        p = jax.tree.map(lambda p, v: p - 0.01 * v, p, velocity)
        return loss, (p, velocity, running)

    answer = jax.jit(lambda p, running: net(p, running, x, False)[0])
    p = {name: a for name, a in arrays.items() if ".running_" not in name}
    running = {name: a for name, a in arrays.items() if ".running_" in name}
    now = {"state": (p, jax.tree.map(jnp.zeros_like, p), running)}

    def train(_: Any) -> float:
        loss, now["state"] = step(*now["state"])
        jax.block_until_ready(now["state"])
        return float(loss)

    def infer(_: Any) -> np.ndarray:
        return np.asarray(answer(now["state"][0], now["state"][2]))

    return {"training": Step(train), "inference": Step(infer)}


def chain(spec: Chain) -> Steps:
    def total(leaf: Any) -> Any:
        y = leaf
        for _ in range(spec.length):
            y = y + leaf
        return y.sum()

    gradient = jax.jit(jax.grad(total))
    x = jnp.asarray(spec.x)
    return {"training": Step(lambda _: np.asarray(gradient(x)))}


def layer(spec: Layer) -> Steps:
    inputs = [jnp.asarray(a) for a in spec.inputs.values()]
    g = jnp.asarray(spec.g)

    def call(*inputs: Any) -> Any:
        match spec.kind:
            case "conv":
                return conv(*inputs, spec.stride)
            case "norm":
                x, scale, shift = inputs
                return jax.nn.relu(normalize(x, x.mean((0, 1, 2)), x.var((0, 1, 2)), scale, shift))
            case "pool":
                return pool(*inputs)
            case "join":
                return join(list(inputs))
            case _:
                return cross_entropy(*inputs, spec.labels)

    forward = jax.jit(call)
    record = jax.jit(lambda *inputs: jax.vjp(call, *inputs)[1])
    pull = jax.jit(lambda back, g: back(g))

    def run(_: Any) -> Any:
        return jax.block_until_ready(forward(*inputs))

    def prepare() -> Any:
        return jax.block_until_ready(record(*inputs))

    def backward(back: Any) -> Any:
        return jax.block_until_ready(pull(back, g))

    return {
        "forward": Step(run),
        "backward": Step(backward, prepare, lambda gs: [np.asarray(g) for g in gs]),
    }
