"""What the command line shows: a neuron, a perceptron, a fractal block, a network on real digits.

Each gives what `explore` takes: a function, or several by name. The numbers are few, so that a page
can show all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from .. import backend
from ..backend import asarray
from ..check import Count, Width, checked
from ..data import load
from ..draw.layout import Columns
from ..engine.backward import backward_order
from ..engine.tensor import Tensor
from ..errors import OutOfRangeError
from ..fractal import FractalBlock, FractalNet, Keep, fractal_parameters, keep_all
from ..ops import cross_entropy, mean, tanh

Loss = Callable[[], Tensor]
MOST_PARAMETERS = 100_000  # for a page on a network: each step is looked at


def neuron() -> Loss:
    """Chapter 1's neuron: y = tanh(w · x + b)."""
    w = Tensor(0.5, requires_grad=True)
    x = Tensor(2.0, requires_grad=True)
    b = Tensor(-0.3, requires_grad=True)
    return lambda: tanh(w * x + b)


def perceptron() -> Loss:
    """Two layers on the four cases of "one or the other, not both": 2 → 3 → 1."""
    rng = numpy.random.default_rng(1)
    x = Tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    target = Tensor([[0.0], [1.0], [1.0], [0.0]])
    W1, b1, W2, b2 = (
        Tensor(rng.normal(size=shape).astype("float32"), requires_grad=True)
        for shape in ((2, 3), 3, (3, 1), 1)
    )

    def loss() -> Tensor:
        hidden = tanh(x @ W1 + b1)
        error = hidden @ W2 + b2 - target
        return mean(error * error)

    return loss


@checked
def block(columns: Columns = 3, channels: Width = 2, size: Count = 4) -> dict[str, Loss]:
    """A fractal block on two small images, as drop-path may leave it: all, a column, some paths."""
    rng = numpy.random.default_rng(0)
    block = FractalBlock(columns, 1, channels)
    x = Tensor(rng.normal(size=(2, size, size, 1)).astype("float32"), requires_grad=True)
    target = Tensor(rng.normal(size=(2, size, size, channels)).astype("float32"))

    def loss(keep: Keep) -> Tensor:
        error = block(x, keep) - target
        return mean(error**2)

    draws = FractalNet(columns=columns, channels=(1,))  # which asks what drop-path keeps
    return ways_through(
        columns,
        lambda: loss(keep_all),
        lambda c: loss(draws.keep_column(c)),
        lambda: loss(draws.keep_local()),
    )


@checked
def network(
    columns: Columns = 2, channels: Sequence[Width] = (4, 8), images: Count = 4
) -> dict[str, Loss]:
    """A FractalNet on real digits, which have to be told apart."""
    if fractal_parameters(columns, channels) > MOST_PARAMETERS:
        raise OutOfRangeError(
            f"network: {columns} columns with {', '.join(map(str, channels))} channels have "
            f"{fractal_parameters(columns, channels):,} parameters, too many for a page; take "
            f"fewer columns or channels, up to {MOST_PARAMETERS:,} parameters"
        )
    digits = load("digits")[0]
    x, labels = Tensor(digits.images[:images], requires_grad=True), asarray(digits.labels[:images])
    net = FractalNet(1, 10, columns, channels, global_ratio=0.0, per_sample=False)

    def loss(keep: float, column: int | None = None) -> Tensor:
        net.drop_path.p = 1 - keep
        return cross_entropy(net(x, column), labels)

    return ways_through(columns, lambda: loss(1.0), lambda c: loss(1.0, c), lambda: loss(0.85))


def ways_through(
    columns: int, everything: Loss, column: Callable[[int], Tensor], local: Loss
) -> dict[str, Loss]:
    """The choices of a page: everything, each column alone, and a draw that drops something."""
    ways = {"everything": everything}
    if columns > 1:
        ways |= {f"column {c}": functools.partial(column, c) for c in range(columns)}
        ways["a local draw"] = functools.partial(
            drawn_from, dropping_seed(everything, local), local
        )
    return ways


def drawn_from(seed: int, loss: Loss) -> Tensor:
    """The loss, with the library's random numbers from this seed on."""
    backend.seed(seed)
    return loss()


def dropping_seed(everything: Loss, local: Loss) -> int:
    """The first seed with which a draw takes fewer steps than everything does."""
    state = backend.random_state()
    all_steps = steps_of(everything)
    try:
        seed = 0
        while steps_of(functools.partial(drawn_from, seed, local)) == all_steps:
            seed += 1
        return seed
    finally:
        backend.set_random_state(state)


def steps_of(loss: Loss) -> int:
    """How many operations it records."""
    return len(backward_order([loss().node]))  # type: ignore[list-item]


EXAMPLES: dict[str, Callable[..., Any]] = {
    "neuron": neuron,
    "perceptron": perceptron,
    "block": block,
    "network": network,
}
