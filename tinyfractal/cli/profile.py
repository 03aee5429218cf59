"""Where does a training step spend its time? Every primitive is watched, forward and backward.

    with watched() as rows:
        loss = net(x); loss.backward()
    rows["conv2d"].forward  # seconds

`python -m tinyfractal profile` prints it as a table.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ..backend import asarray
from ..check import Count, Range, checked
from ..engine.operators import PRIMITIVES
from ..engine.tensor import Tensor
from ..errors import OutOfMemoryError
from ..fractal import FractalNet, fractal_parameters
from ..ops import cross_entropy
from ..optim import SGD

Columns = Annotated[int, Range(1, 12, why="a block has 2^columns - 1 convolutions")]


@dataclass
class Row:
    """What one primitive took: calls, seconds forward and backward, bytes of its outputs."""

    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    bytes: int = 0


@contextmanager
def watched() -> Iterator[dict[str, Row]]:
    """Inside this block every primitive's time is noted, under its name.

    On a GPU that is the time until the work was handed over, not until it was done.
    Raises `RuntimeError` inside another such block, also of another thread.
    """
    if any("on_tensors" in vars(primitive) for primitive in PRIMITIVES.values()):
        raise RuntimeError("watched: the primitives are watched already, one block at a time")
    rows: dict[str, Row] = defaultdict(Row)

    def watch(name: str, primitive: Any) -> None:
        compute, differentiate = primitive.on_tensors, primitive.gradients

        def on_tensors(*args: Any) -> Tensor:
            start = time.perf_counter()
            out = compute(*args)
            rows[name].forward += time.perf_counter() - start
            rows[name].calls += 1
            rows[name].bytes += out.data.nbytes
            return out

        def gradients(*args: Any) -> Any:
            start = time.perf_counter()
            parts = differentiate(*args)
            rows[name].backward += time.perf_counter() - start
            return parts

        primitive.on_tensors, primitive.gradients = on_tensors, gradients

    for name, primitive in PRIMITIVES.items():
        watch(name, primitive)
    try:
        yield rows
    finally:
        for primitive in PRIMITIVES.values():  # the methods of the class show through again
            del primitive.on_tensors, primitive.gradients


@checked
def check_step(
    name: str,
    columns: Columns,
    channels: Sequence[Count],
    shape: tuple[Count, Count, Count],
    batch_size: Count,
) -> None:
    """Raise `OutOfMemoryError` where a training step needs more memory than the machine has.

    An estimate, made before anything is allocated: batch norm keeps the output of each convolution
    and its own, backward adds gradients of both; each weight has a gradient and a momentum.
    """
    (height, width, colours), convolutions = shape, 2**columns - 1
    numbers = 3 * fractal_parameters(columns, channels, colours) + batch_size * math.prod(shape)
    for block, width_out in enumerate(channels):
        numbers += 3 * batch_size * (height >> block) * (width >> block) * width_out * convolutions
    if 4 * numbers > memory():
        raise OutOfMemoryError(
            f"{name}: a step would take about {4 * numbers / 1e9:,.0f} GB of memory, and this "
            f"machine has {memory() / 1e9:,.0f}; take fewer columns or channels, smaller images or "
            "a smaller batch"
        )


def memory() -> int:
    """Bytes of memory of this machine; 16 GB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 16 << 30


@checked
def training_step(
    columns: Columns,
    channels: Sequence[Count],
    shape: tuple[Count, Count, Count],
    batch_size: Count,
) -> Callable[[], float]:
    """A function that trains a FractalNet for one step on random images; it returns the seconds
    that the optimizer took.
    """
    check_step("training_step", columns, channels, shape, batch_size)
    height, width, colours = shape
    rng = np.random.default_rng(0)
    net = FractalNet(colours, 10, columns, channels, drop_path=0.0)
    optimizer = SGD(net.parameters(), lr=1e-3, momentum=0.9)
    images = rng.normal(size=(batch_size, height, width, colours)).astype(np.float32)
    x, labels = Tensor(asarray(images)), asarray(rng.integers(10, size=batch_size))

    def step() -> float:
        loss = cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        start = time.perf_counter()
        optimizer.step()
        return time.perf_counter() - start

    return step


@checked
def profile_table(
    columns: Columns,
    channels: Sequence[Count],
    shape: tuple[Count, Count, Count],
    batch_size: Count,
    steps: Count,
) -> str:
    """One training step by primitive, the dearest first: the mean of `steps`, after a warm-up."""
    step = training_step(columns, channels, shape, batch_size)
    step()
    with watched() as rows:
        start = time.perf_counter()
        optimizer = sum(step() for _ in range(steps))
        total = time.perf_counter() - start
    named = sorted(rows.items(), key=lambda item: -(item[1].forward + item[1].backward))
    lines = [
        f"{'':18}{'calls':>6}{'forward ms':>12}{'backward ms':>13}{'output MB':>11}{'share':>8}"
    ]
    for name, row in named:
        lines.append(
            f"{name:18}{row.calls // steps:6}{1000 * row.forward / steps:12.2f}"
            f"{1000 * row.backward / steps:13.2f}{row.bytes / steps / 1e6:11.2f}"
            f"{(row.forward + row.backward) / total:8.1%}"
        )
    rest = total - optimizer - sum(row.forward + row.backward for _, row in named)
    for name, seconds in (("optimizer", optimizer), ("everything else", rest), ("step", total)):
        lines.append(f"{name:18}{1000 * seconds / steps:31.2f}{seconds / total:19.1%}")
    return "\n".join(lines)
