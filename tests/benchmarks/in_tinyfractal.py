"""The workloads in tinyfractal, as its users write them."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinyfractal as tf
from tinyfractal import nn

from .workloads import MLP, NETWORKS, Chain, Layer, Network, Step, Steps, mlp

VERSION = tf.__version__


def network(spec: Network) -> Steps:
    net = tf.FractalNet(spec.image[2], 10, spec.columns, spec.channels, drop_path=0.0)
    return learn(net, spec)


def perceptron(spec: MLP) -> Steps:
    return learn(mlp(spec.widths), spec)


def learn(net: nn.Module, spec: Network | MLP) -> Steps:
    net.load_state_dict(spec.state)
    x, labels = tf.Tensor(spec.x), spec.labels
    optimizer = tf.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def train(_: Any) -> float:
        net.train()
        loss = tf.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer(_: Any) -> np.ndarray:
        net.eval()
        with tf.no_grad():
            return net(x).numpy()

    return {"training": Step(train), "inference": Step(infer)}


def chain(spec: Chain) -> Steps:
    def run(_: Any) -> np.ndarray:
        leaf = tf.Tensor(spec.x, requires_grad=True)
        y = leaf
        for _ in range(spec.length):
            y = y + leaf
        y.sum().backward()
        return leaf.grad.data

    return {"training": Step(run)}


def layer(spec: Layer) -> Steps:
    inputs = {name: tf.Tensor(a, requires_grad=True) for name, a in spec.inputs.items()}

    def forward(_: Any = None) -> tf.Tensor:
        match spec.kind:
            case "conv":
                padding = spec.kernel // 2
                return tf.conv2d(**inputs, stride=spec.stride, padding=padding)
            case "norm":
                return tf.relu(tf.batch_norm(*inputs.values()))
            case "pool":
                return tf.max_pool2d(inputs["x"], 2)
            case "join":
                return tf.join(list(inputs.values()))
            case _:
                return tf.cross_entropy(inputs["x"], spec.labels)

    def backward(y: tf.Tensor) -> list[tf.Tensor]:
        return tf.grad(y, list(inputs.values()), tf.Tensor(np.asarray(spec.g)))

    return {
        "forward": Step(forward, numbers=lambda y: [y.numpy()]),
        "backward": Step(backward, forward, lambda gradients: [g.numpy() for g in gradients]),
    }


def drop_path() -> dict[str, Steps]:
    """W1 without drop-path and with the paper's, by mini-batch as its authors did.

    Local and global apart: a step takes three times as long with the one as with the other, so that
    a median of both would be chance.
    """
    spec = NETWORKS["W1 paper"].draw()
    work = {}
    for name, rate, ratio in (("without", 0.0, 0.0), ("local", 0.15, 0.0), ("global", 0.15, 1.0)):
        tf.seed(0)
        net = tf.FractalNet(
            3, 10, 3, spec.channels, drop_path=rate, global_ratio=ratio, per_sample=False
        )
        work[name] = {"training": learn(net, spec)["training"]}
    return work
