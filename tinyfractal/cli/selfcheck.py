"""Every function and layer against finite differences: what `python -m tinyfractal gradcheck` runs.

A table of small examples, one for each name in `ops` and each layer in `nn` that has a gradient. An
example is a function of float64 Tensors and the arrays to put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import backend, nn, ops, zoo
from ..check import checked
from ..engine.gradcheck import Difference, gradcheck
from ..engine.tensor import Tensor
from ..fractal import FractalBlock, FractalNet, RecursiveBlock
from ..nn.module import Module

Example = tuple[Callable[..., Tensor], list[np.ndarray]]


def examples() -> dict[str, Example]:
    """{name of a function in ops: (function of Tensors, arrays)}."""
    rng = np.random.default_rng(0)

    def positive(*shape: int) -> np.ndarray:  # at least 0.1, and no two alike
        count = int(np.prod(shape))
        return (0.1 + (1 + rng.permutation(count)) / count).reshape(shape)

    def numbers(*shape: int) -> np.ndarray:
        return positive(*shape) * rng.choice([-1.0, 1.0], shape)

    images, kernel = numbers(2, 5, 4, 4), numbers(3, 3, 2, 6)
    labels = np.array([2, 0, 1])
    table: dict[str, Example] = {
        name: (getattr(ops, name), [numbers(2, 3), numbers(3)])
        for name in ("add", "sub", "mul", "div", "maximum", "minimum")
    }
    table |= {
        "log": (ops.log, [positive(2, 3)]),
        "sqrt": (ops.sqrt, [positive(2, 3)]),
        "pow": (ops.pow, [positive(2, 3), numbers(3)]),
        "clip": (lambda x: ops.clip(x, -0.5, 0.5), [numbers(2, 3)]),
        "where": (lambda a, b: ops.where(a > 0, a, b), [numbers(2, 3), numbers(3)]),
        "astype": (lambda x: ops.astype(x, np.float64), [numbers(3)]),
        "reshape": (lambda x: ops.reshape(x, (3, 2)), [numbers(2, 3)]),
        "broadcast_to": (lambda x: ops.broadcast_to(x, (4, 2, 3)), [numbers(2, 1)]),
        "expand_dims": (lambda x: ops.expand_dims(x, 1), [numbers(2, 3)]),
        "getitem": (lambda x: x[[0, 1, 1], 1:], [numbers(2, 3)]),
        "scatter": (lambda x: ops.scatter(x, [0, 2, 2], (4,)), [numbers(3)]),
        "cat": (lambda *xs: ops.cat(xs), [numbers(2, 3), numbers(1, 3)]),
        "concatenate": (lambda *xs: ops.concatenate(xs, 1), [numbers(2, 3), numbers(2, 1)]),
        "stack": (lambda *xs: ops.stack(xs), [numbers(2, 3), numbers(2, 3)]),
        "split": (lambda x: ops.split(x, 3, 1)[1], [numbers(2, 3)]),
        "pad": (lambda x: ops.pad(x, ((1, 0), (2, 2)), "reflect"), [numbers(2, 3)]),
        "matmul": (ops.matmul, [numbers(2, 3, 4), numbers(4, 2)]),
        "linear": (ops.linear, [numbers(2, 3), numbers(3, 4), numbers(4)]),
        "conv2d": (
            lambda x, w, b: ops.conv2d(x, w, b, stride=2, padding="same", groups=2),
            [images, kernel, numbers(6)],
        ),
        "max_pool2d": (lambda x: ops.max_pool2d(x, 2, stride=1), [images]),
        "avg_pool2d": (lambda x: ops.avg_pool2d(x, 3, 2, 1), [images]),
        "global_avg_pool": (ops.global_avg_pool, [images]),
        "batch_norm": (ops.batch_norm, [numbers(4, 2), positive(2), numbers(2)]),
        "layer_norm": (ops.layer_norm, [numbers(4, 3), positive(3), numbers(3)]),
        "cross_entropy": (lambda x: ops.cross_entropy(x, labels, 0.1), [numbers(3, 4)]),
        "mse_loss": (ops.mse_loss, [numbers(3), numbers(3)]),
        "join": (lambda *xs: ops.join(xs), [numbers(2, 3), numbers(2, 3), numbers(2, 3)]),
        "dropout": (_seeded(lambda x: ops.dropout(x, 0.5)), [numbers(3, 4)]),
    }
    # all others, and whatever is added, are taken to be functions of one array
    others = [name for name in ops.__all__ if name not in table]
    return {name: (getattr(ops, name), [numbers(2, 3)]) for name in others} | table


def layers() -> dict[str, tuple[Module, tuple[int, ...]]]:
    """{name of a layer: (the layer, the shape of its input)}, in training."""
    backend.seed(0)
    image = (2, 4, 4, 2)
    stages: dict[str, Any] = {"in_channels": 2, "classes": 3, "channels": (2, 3), "depth": 2}
    return {
        "Linear": (nn.Linear(3, 2), (2, 3)),
        "Conv2d": (nn.Conv2d(2, 3, 3), image),
        "BatchNorm2d": (nn.BatchNorm2d(2), image),
        "LayerNorm": (nn.LayerNorm(3), (4, 3)),
        "ReLU": (nn.ReLU(), (3, 4)),
        "LeakyReLU": (nn.LeakyReLU(), (3, 4)),
        "Sigmoid": (nn.Sigmoid(), (3, 4)),
        "Tanh": (nn.Tanh(), (3, 4)),
        "GELU": (nn.GELU(), (3, 4)),
        "Softplus": (nn.Softplus(), (3, 4)),
        "MaxPool2d": (nn.MaxPool2d(2), image),
        "AvgPool2d": (nn.AvgPool2d(2), image),
        "GlobalAvgPool": (nn.GlobalAvgPool(), image),
        "Flatten": (nn.Flatten(), image),
        "Dropout": (nn.Dropout(0.5), image),
        "Join": (nn.Join(), (3, 2, 4)),  # three branches, (2, 4) each
        "DropPath": (nn.DropPath(0.5), (3, 2, 4)),
        "Sequential": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), (2, 3)),
        "RecursiveBlock": (RecursiveBlock(nn.Linear(3, 3), depth=3), (2, 3)),
        "FractalBlock": (FractalBlock(3, 2, 2), image),
        "FractalNet": (FractalNet(2, 3, columns=2, channels=(2, 3)), image),
        "PlainNet": (zoo.PlainNet(**stages), image),
        "ResNet": (zoo.ResNet(**stages), image),
    }


def check_all() -> Iterator[tuple[str, Difference | None]]:
    """(name, worst difference) for every function, then every layer with all its weights.

    Raises `GradientError` at the first wrong gradient.
    """
    for name, (function, arrays) in examples().items():
        yield name, gradcheck(function, *arrays)
    for name, (layer, shape) in layers().items():
        x = np.random.default_rng(1).normal(size=shape)
        yield f"nn.{name}", check_layer(layer, x)


@checked
def check_layer(layer: Module, x: Any) -> Difference | None:
    """gradcheck a layer with respect to its input and every weight (turned into float64)."""
    layer.astype(np.float64)
    takes_branches = isinstance(layer, (nn.Join, nn.DropPath))
    parameters, modules = layer.parameters(), [module for _, module in layer.named_modules()]

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        places = {id(old): new for old, new in zip(parameters, weights)}
        for module in modules:
            for name, value in list(vars(module).items()):
                if id(value) in places:
                    vars(module)[name] = places[id(value)]  # setattr refuses what is no Parameter
        try:
            return _seeded(layer)(list(x) if takes_branches else x)
        finally:
            back = {id(new): old for old, new in zip(parameters, weights)}
            for module in modules:
                for name, value in list(vars(module).items()):
                    if id(value) in back:
                        vars(module)[name] = back[id(value)]

    return gradcheck(run, x, *parameters)


def _seeded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the same random draws at every call."""

    def call(*args: Any) -> Any:
        before = backend.random_state()
        backend.seed(0)
        try:
            return function(*args)
        finally:
            backend.set_random_state(before)

    return call
