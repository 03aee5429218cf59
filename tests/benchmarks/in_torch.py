"""The workloads in PyTorch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import Linear, ReLU, Sequential
from torch.nn import functional as F  # noqa: N812

from tinyfractal import nn

from ..torch_twins import Fractal
from .workloads import MLP, Chain, Layer, Network, Step, Steps, channels_first, channels_last

VERSION = torch.__version__


def threads(n: int) -> None:
    torch.set_num_threads(n)


def network(spec: Network) -> Steps:
    return learn(Fractal(spec.image[2], 10, spec.columns, spec.channels), spec)


def perceptron(spec: MLP) -> Steps:
    layers: list[Any] = []
    for before, after in pairwise(spec.widths):
        layers += [Linear(before, after), ReLU()]
    return learn(Sequential(*layers[:-1]), spec)


def learn(net: torch.nn.Module, spec: Network | MLP) -> Steps:
    state = {name: torch.tensor(a) for name, a in nn.to_torch(spec.state).items()}
    missing, unexpected = net.load_state_dict(state, strict=False)
    if unexpected or not all(name.endswith("num_batches_tracked") for name in missing):
        raise KeyError(f"weights that do not match: {missing}, {unexpected}")
    x = torch.tensor(channels_first({"x": spec.x})["x"])
    labels = torch.tensor(spec.labels)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def train(_: Any) -> float:
        net.train()
        loss = F.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer(_: Any) -> np.ndarray:
        net.eval()
        with torch.no_grad():
            return net(x).numpy()

    return {"training": Step(train), "inference": Step(infer)}


def chain(spec: Chain) -> Steps:
    def run(_: Any) -> np.ndarray:
        leaf = torch.tensor(spec.x, requires_grad=True)
        y = leaf
        for _ in range(spec.length):
            y = y + leaf
        y.sum().backward()
        return leaf.grad.numpy()

    return {"training": Step(run)}


def layer(spec: Layer) -> Steps:
    arrays = channels_first(spec.inputs)
    inputs = {name: torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
    labels = None if spec.labels is None else torch.tensor(spec.labels)
    g = torch.tensor(channels_first({"g": spec.g})["g"])

    def forward(_: Any = None) -> torch.Tensor:
        match spec.kind:
            case "conv":
                padding = spec.kernel // 2
                return F.conv2d(inputs["x"], inputs["weight"], None, spec.stride, padding)
            case "norm":
                x, scale, shift = inputs.values()
                return F.relu(F.batch_norm(x, None, None, scale, shift, training=True))
            case "pool":
                return F.max_pool2d(inputs["x"], 2)
            case "join":
                return torch.stack(list(inputs.values())).mean(0)
            case _:
                return F.cross_entropy(inputs["x"], labels)

    def backward(y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, list(inputs.values()), g)

    def gradients(result: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
        named = {name: g.numpy() for name, g in zip(inputs, result)}
        return list(channels_last(named).values())

    return {
        "forward": Step(forward, numbers=lambda y: [channels_last({"y": y.detach().numpy()})["y"]]),
        "backward": Step(backward, forward, gradients),
    }
