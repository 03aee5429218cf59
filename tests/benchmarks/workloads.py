"""What is timed: the same work in tinyfractal and in PyTorch, from the same weights.

A workload gives {library: {what: function}}; each function does the work once and returns a number
(a loss, a sum) that the libraries must agree on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

import tinyfractal as tf
from tinyfractal import nn

Work = dict[str, dict[str, Callable[[], float]]]
HAS_TORCH = importlib.util.find_spec("torch") is not None

NETWORKS = {  # channels, image size, image channels, batch
    "W1 paper": ((64, 128, 256, 512, 512), 32, 3, 32),
    "W2 small": ((16, 32, 64), 32, 3, 64),
    "W3 digits": ((16, 32), 8, 1, 64),
}


def network(name: str) -> Work:
    """A training step and an inference of a FractalNet of three columns, nothing dropped."""
    channels, size, colours, n = NETWORKS[name]
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n, size, size, colours)).astype(np.float32)
    labels = rng.integers(10, size=n)
    tf.seed(0)
    ours = tf.FractalNet(colours, 10, 3, channels, drop_path=0.0)
    work: Work = {"tinyfractal": ours_of(ours, tf.Tensor(images), labels)}
    if HAS_TORCH:
        from ..torch_twins import Fractal

        theirs = Fractal(colours, 10, 3, channels)
        work["torch"] = torch_of(theirs, ours, images.transpose(0, 3, 1, 2), labels)
    return work


def mlp(_: str) -> Work:
    """64-32-32-10 on a batch of 32: what an operation costs besides its arithmetic."""
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(32, 64)).astype(np.float32), rng.integers(10, size=32)
    tf.seed(0)
    ours = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    work: Work = {"tinyfractal": ours_of(ours, tf.Tensor(x), labels)}
    if HAS_TORCH:
        from torch.nn import Linear, ReLU, Sequential

        theirs = Sequential(Linear(64, 32), ReLU(), Linear(32, 32), ReLU(), Linear(32, 10))
        work["torch"] = torch_of(theirs, ours, x, labels)
    return work


def ours_of(net: nn.Module, x: tf.Tensor, labels: np.ndarray) -> dict[str, Callable[[], float]]:
    """Training step and inference, as tinyfractal's users write them."""
    optimizer = tf.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

    def train() -> float:
        net.train()
        loss = tf.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> float:
        net.eval()
        with tf.no_grad():
            return float(np.abs(net(x).numpy()).sum())

    return {"train": train, "infer": infer}


def torch_of(
    net: object, ours: nn.Module, x: np.ndarray, labels: np.ndarray
) -> dict[str, Callable[[], float]]:
    """The same, as PyTorch's users write them, with the weights of `ours`."""
    import torch

    state = {name: torch.tensor(a) for name, a in nn.to_torch(ours.state_dict()).items()}
    net.load_state_dict(state, strict=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    xs, ys = torch.tensor(np.ascontiguousarray(x)), torch.tensor(labels)

    def train() -> float:
        net.train()
        loss = torch.nn.functional.cross_entropy(net(xs), ys)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def infer() -> float:
        net.eval()
        with torch.no_grad():
            return float(net(xs).abs().sum())

    return {"train": train, "infer": infer}


def chain(_: str) -> Work:
    """A thousand additions of ten numbers, forward and backward."""
    x = np.ones(10, np.float32)

    def ours() -> float:
        leaf = tf.Tensor(x, requires_grad=True)
        y = leaf
        for _ in range(1000):
            y = y + leaf
        y.sum().backward()
        return float(leaf.grad.data.sum())

    work: Work = {"tinyfractal": {"train": ours}}
    if HAS_TORCH:
        import torch

        def theirs() -> float:
            leaf = torch.tensor(x, requires_grad=True)
            y = leaf
            for _ in range(1000):
                y = y + leaf
            y.sum().backward()
            return float(leaf.grad.sum())

        work["torch"] = {"train": theirs}
    return work


def drop_path(_: str) -> Work:
    """W1 with the paper's drop-path by mini-batch against W1 without: tinyfractal alone."""
    channels, size, colours, n = NETWORKS["W1 paper"]
    rng = np.random.default_rng(0)
    x = tf.Tensor(rng.normal(size=(n, size, size, colours)).astype(np.float32))
    labels = rng.integers(10, size=n)
    work: Work = {}
    for name, rate in (("without", 0.0), ("with drop-path", 0.15)):
        tf.seed(0)
        net = tf.FractalNet(colours, 10, 3, channels, drop_path=rate, per_sample=False)
        work[name] = {"train": ours_of(net, x, labels)["train"]}
    return work


WORKLOADS: dict[str, Callable[[str], Work]] = {
    **dict.fromkeys(NETWORKS, network),
    "W4 mlp": mlp,
    "W4 chain": chain,
    "W6 drop-path": drop_path,
}
