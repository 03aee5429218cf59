"""What is timed. A workload is numbers and sizes; the `in_….py` files say it in each library.

    network   x (N, H, W, C), labels (N,), the weights under tinyfractal's names and layout
    mlp       the same with x (N, features)
    chain     x + x + … + x, a thousand times
    layer     one layer: its inputs by name, and a gradient g to send back

Each library turns one into {what: Step}: "training" and "inference", or "forward" and "backward".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

import tinyfractal as tf
from tinyfractal import nn


@dataclass
class Step:
    """Work to time: run(prepare()), without `prepare`. `numbers` makes the result arrays."""

    run: Callable[[Any], Any]
    prepare: Callable[[], Any] = lambda: None
    numbers: Callable[[Any], list[np.ndarray]] = lambda result: [np.asarray(result)]


Steps = dict[str, Step]


@dataclass
class Network:
    """A FractalNet of which nothing is dropped. `state` are its weights; see `draw`."""

    channels: tuple[int, ...]
    image: tuple[int, int, int]
    batch: int
    columns: int = 3
    state: dict[str, np.ndarray] = field(default_factory=dict)
    x: Any = None
    labels: Any = None

    def draw(self) -> Network:
        """Images, labels and first weights, always the same ones."""
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(self.batch, *self.image)).astype(np.float32)
        self.labels = rng.integers(10, size=self.batch)
        tf.seed(0)
        net = tf.FractalNet(self.image[2], 10, self.columns, self.channels, drop_path=0.0)
        self.state = {name: np.array(value) for name, value in net.state_dict().items()}
        return self


@dataclass
class MLP:
    """Linear layers with ReLU between them."""

    widths: tuple[int, ...]
    batch: int
    state: dict[str, np.ndarray] = field(default_factory=dict)
    x: Any = None
    labels: Any = None

    def draw(self) -> MLP:
        """As for a network; the weights are "0.weight", "0.bias", "2.weight" …"""
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(self.batch, self.widths[0])).astype(np.float32)
        self.labels = rng.integers(self.widths[-1], size=self.batch)
        tf.seed(0)
        net = mlp(self.widths)
        self.state = {name: np.array(value) for name, value in net.state_dict().items()}
        return self


def mlp(widths: tuple[int, ...]) -> nn.Sequential:
    """The network of an `MLP` in tinyfractal."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass
class Chain:
    """`length` additions of a few numbers, forward and backward."""

    length: int
    x: Any = None

    def draw(self) -> Chain:
        """Ten ones."""
        self.x = np.ones(10, np.float32)
        return self


@dataclass
class Layer:
    """One layer: "conv", "norm" (batch norm and ReLU), "pool", "join" or "loss".

    `inputs` are what gradients are asked for: x (N, H, W, C), kernels (k, k, C, C) as "weight".
    """

    kind: str
    shape: tuple[int, ...]
    kernel: int = 3
    stride: int = 1
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    labels: Any = None
    g: Any = None

    def draw(self) -> Layer:
        """Normal numbers."""
        rng = np.random.default_rng(0)

        def normal(*shape: int) -> np.ndarray:
            return rng.normal(size=shape).astype(np.float32)

        n, c = self.shape[0], self.shape[-1]
        names = ["x0", "x1", "x2"] if self.kind == "join" else ["x"]
        self.inputs = {name: normal(*self.shape) for name in names}
        stride = {"conv": self.stride, "pool": 2}.get(self.kind, 1)
        if self.kind == "conv":
            self.inputs["weight"] = normal(self.kernel, self.kernel, c, c) / self.kernel / c**0.5
        elif self.kind == "norm":
            self.inputs |= {"scale": 1 + normal(c) / 4, "shift": normal(c) / 4}
        if self.kind == "loss":
            self.labels, self.g = rng.integers(c, size=n), np.float32(1)
        else:
            size = [(length - 1) // stride + 1 for length in self.shape[1:3]]
            self.g = normal(n, *size, c)
        return self


NETWORKS = {
    "W1 paper": Network((64, 128, 256, 512, 512), (32, 32, 3), 32),
    "W2 small": Network((16, 32, 64), (32, 32, 3), 64),
    "W3 digits": Network((16, 32), (8, 8, 1), 64),
}
CONVOLUTIONS = {
    f"W5 conv {k}×{k}{f' stride {stride}' if stride > 1 else ''} C={c} H={h}": Layer(
        "conv", (32, h, h, c), k, stride
    )
    for k, stride, c, h in [
        (3, 1, 16, 32), (3, 1, 64, 32), (3, 1, 128, 16), (3, 1, 256, 8), (3, 1, 512, 4),
        (3, 1, 512, 2), (1, 1, 128, 16), (5, 1, 64, 16), (3, 2, 64, 32),
    ]
}  # fmt: skip
WORKLOADS: dict[str, Any] = {
    **NETWORKS,
    "W4 mlp": MLP((64, 32, 32, 10), 32),
    "W4 chain": Chain(1000),
    **CONVOLUTIONS,
    "W5 batch norm, ReLU C=64 H=32": Layer("norm", (32, 32, 32, 64)),
    "W5 max pool C=64 H=32": Layer("pool", (32, 32, 32, 64)),
    "W5 join of 3 C=64 H=32": Layer("join", (32, 32, 32, 64)),
    "W5 cross-entropy (128, 100)": Layer("loss", (128, 100)),
    "W6 drop-path": "drop-path",  # tinyfractal alone: with against without, see `drop_path`
}


# ----- FractalNet once more, for libraries that have none -----


def fractal(
    unit: Callable[[str, Any], Any],
    join: Callable[[list[Any]], Any],
    pool: Callable[[Any], Any],
    spec: Network,
    x: Any,
) -> Any:
    """The blocks of a FractalNet: f_{C+1}(z) = unit(z) ⊕ f_C(f_C(z)), joins that meet are one.

    `unit(name, z)` is convolution, batch norm and ReLU with the weights `name.conv.weight`,
    `name.norm.weight` and `name.norm.bias`.
    """

    def branches(name: str, columns: int, z: Any) -> Iterator[Any]:
        yield unit(f"{name}.conv", z)
        if columns > 1:
            middle = join(list(branches(f"{name}.first", columns - 1, z)))
            yield from branches(f"{name}.second", columns - 1, middle)

    for i in range(len(spec.channels)):
        x = pool(join(list(branches(f"blocks.{i}", spec.columns, x))))
    return x


def units(spec: Network) -> list[str]:
    """The names that `fractal` asks `unit` for."""
    return [name.removesuffix(".conv.weight") for name in spec.state if ".conv.conv." in name]


# ----- Layouts: most libraries have the channels first -----


def channels_first(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images (N, H, W, C) to (N, C, H, W), kernels ("…weight") to (C_out, C_in, kh, kw)."""
    return {name: _axes(a, name, (3, 2, 0, 1), (0, 3, 1, 2)) for name, a in arrays.items()}


def channels_last(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reverse."""
    return {name: _axes(a, name, (2, 3, 1, 0), (0, 2, 3, 1)) for name, a in arrays.items()}


def _axes(a: Any, name: str, kernel: tuple[int, ...], image: tuple[int, ...]) -> np.ndarray:
    a = np.asarray(a)
    if a.ndim != 4:
        return a
    return np.ascontiguousarray(a.transpose(kernel if name.endswith("weight") else image))
