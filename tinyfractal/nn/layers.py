"""Layers: modules that each do one thing, to be stacked into networks.

Images are (N, H, W, C), linear weights (in, out), kernels (kh, kw, C_in, C_out). A layer holds
its weights and settings; the computing is in `ops/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Literal

import numpy

from .. import ops
from ..backend import by_sample, rng, xp
from ..check import (
    Amount,
    Below1,
    Count,
    CountOrPair,
    Finite,
    Probability,
    Size,
    SizeOrPair,
    Width,
    checked,
)
from ..engine.tensor import Tensor
from ..errors import ShapeError
from ..guards.modules import check_groups
from .init import Initializer, xavier_uniform
from .module import Buffer, Module, Parameter

# ----- Layers with weights -----


def first_weight(layer: Module, init: Initializer, *shape: int) -> Parameter:
    """A Parameter of this shape, as `init` makes it. Raises `ShapeError` if it makes another."""
    weight = Parameter(init(shape))
    if weight.shape != shape:
        name = type(layer).__name__
        raise ShapeError(f"{name}: init was asked for shape {shape} and gave {weight.shape}")
    return weight


class Linear(Module):
    """x @ weight + bias: (…, in_features) → (…, out_features)."""

    @checked
    def __init__(
        self,
        in_features: Width,
        out_features: Width,
        bias: bool = True,
        init: Initializer = xavier_uniform,
    ) -> None:
        self.weight = first_weight(self, init, in_features, out_features)
        self.bias = Parameter(xp.zeros(out_features, xp.float32)) if bias else None

    def forward(self, x: Any) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}{bias}"


class Conv2d(Module):
    """Two-dimensional convolution: (N, H, W, in_channels) → (N, OH, OW, out_channels).

    The settings are those of `ops.conv2d`; the padding is "same" unless told otherwise.
    """

    @checked
    def __init__(
        self,
        in_channels: Width,
        out_channels: Width,
        kernel_size: CountOrPair,
        stride: CountOrPair = 1,
        padding: Literal["same", "valid"] | SizeOrPair = "same",
        padding_mode: Literal["zeros", "reflect"] = "zeros",
        dilation: CountOrPair = 1,
        groups: Count = 1,
        bias: bool = True,
        init: Initializer = xavier_uniform,
    ) -> None:
        kh, kw = kernel_size if isinstance(kernel_size, Sequence) else (kernel_size, kernel_size)
        check_groups(in_channels, out_channels, groups)
        self.weight = first_weight(self, init, kh, kw, in_channels // groups, out_channels)
        self.bias = Parameter(xp.zeros(out_channels, xp.float32)) if bias else None
        self.settings: dict[str, Any] = {
            "stride": stride, "padding": padding, "padding_mode": padding_mode,
            "dilation": dilation, "groups": groups,
        }  # fmt: skip

    def forward(self, x: Any) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, **self.settings)

    def describe(self) -> str:
        kh, kw, channels, out_channels = self.weight.shape
        size = kh if kh == kw else (kh, kw)
        shown = [f"{channels * self.settings['groups']}, {out_channels}, {size}"]
        usual = (1, "same", "zeros", 1, 1)
        shown += [f"{k}={v!r}" for (k, v), u in zip(self.settings.items(), usual) if v != u]
        return ", ".join([*shown, *(["bias=False"] if self.bias is None else [])])


class BatchNorm2d(Module):
    """Batch norm over images (N, H, W, C), or rows (N, C): see `ops.batch_norm`.

    With `relu` a ReLU follows in the same pass.
    """

    @checked
    def __init__(
        self, channels: Width, eps: Amount = 1e-5, momentum: Probability = 0.1, relu: bool = False
    ) -> None:
        self.weight = Parameter(xp.ones(channels, xp.float32))
        self.bias = Parameter(xp.zeros(channels, xp.float32))
        self.running_mean = Buffer(xp.zeros(channels, xp.float32))
        self.running_var = Buffer(xp.ones(channels, xp.float32))
        self.eps, self.momentum, self.relu = eps, momentum, relu

    def forward(self, x: Any) -> Tensor:
        return ops.batch_norm(
            x, self.weight, self.bias, self.running_mean, self.running_var,
            self.training, self.momentum, self.eps, self.relu,
        )  # fmt: skip

    def describe(self) -> str:
        return f"{self.weight.size}, relu" if self.relu else str(self.weight.size)


class LayerNorm(Module):
    """Layer norm over the last axis: (…, channels) → (…, channels)."""

    @checked
    def __init__(self, channels: Width, eps: Amount = 1e-5) -> None:
        self.weight = Parameter(xp.ones(channels, xp.float32))
        self.bias = Parameter(xp.zeros(channels, xp.float32))
        self.eps = eps

    def forward(self, x: Any) -> Tensor:
        return ops.layer_norm(x, self.weight, self.bias, self.eps)

    def describe(self) -> str:
        return str(self.weight.size)


# ----- Layers without weights -----


class Activation(Module):
    """A function of each number by itself; the layers below are all of this kind."""

    function: Callable[..., Tensor]

    def forward(self, x: Any) -> Tensor:
        return type(self).function(x)


class ReLU(Activation):
    """max(x, 0)."""

    function = staticmethod(ops.relu)


class Sigmoid(Activation):
    """1 / (1 + e^-x)."""

    function = staticmethod(ops.sigmoid)


class Tanh(Activation):
    """Hyperbolic tangent."""

    function = staticmethod(ops.tanh)


class GELU(Activation):
    """Gaussian error linear unit, in its tanh form."""

    function = staticmethod(ops.gelu)


class Softplus(Activation):
    """log(1 + e^x)."""

    function = staticmethod(ops.softplus)


class LeakyReLU(Module):
    """x where x > 0, slope · x elsewhere."""

    @checked
    def __init__(self, slope: Finite = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Any) -> Tensor:
        return ops.leaky_relu(x, slope=self.slope)

    def describe(self) -> str:
        return str(self.slope)


class Pool(Module):
    """A window that moves over the image; `MaxPool2d` and `AvgPool2d` say what it computes."""

    function: Callable[..., Tensor]

    @checked
    def __init__(
        self, kernel_size: CountOrPair, stride: CountOrPair | None = None, padding: SizeOrPair = 0
    ) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Any) -> Tensor:
        return type(self).function(x, self.kernel_size, self.stride, self.padding)

    def describe(self) -> str:
        return str(self.kernel_size)


class MaxPool2d(Pool):
    """The largest number of each window."""

    function = staticmethod(ops.max_pool2d)


class AvgPool2d(Pool):
    """The mean of each window."""

    function = staticmethod(ops.avg_pool2d)


class GlobalAvgPool(Module):
    """The mean of each channel of each image: (N, H, W, C) → (N, C)."""

    def forward(self, x: Any) -> Tensor:
        return ops.global_avg_pool(x)


class Flatten(Module):
    """Everything but the batch axis in a row: (N, …) → (N, features)."""

    @checked
    def forward(self, x: Any) -> Tensor:
        return x.reshape(len(x), prod(x.shape[1:]))  # not -1, which no empty batch has


class Dropout(Module):
    """Set each number (or channel) to zero with probability p while training."""

    @checked
    def __init__(self, p: Below1 = 0.5, per_channel: bool = False) -> None:
        self.p, self.per_channel = p, per_channel

    @checked
    def forward(self, x: Any) -> Tensor:
        return ops.dropout(x, self.p, self.training, self.per_channel)

    def describe(self) -> str:
        return str(self.p) + (", per_channel=True" if self.per_channel else "")


# ----- Where paths meet -----


class Join(Module):
    """Elementwise mean of several branches, FractalNet's ⊕: see `ops.join`."""

    @checked
    def forward(self, xs: Sequence[Any], mask: Any = None) -> Tensor:
        return ops.join(xs, mask)


class DropPath(Module):
    """A join that while training drops each branch with probability p, but never all.

    This is the paper's *local* drop-path (Larsson et al. 2016, section 3.1). If all would drop,
    one, each with the same chance, is kept. Decided for each sample, or once for the mini-batch.
    """

    @checked
    def __init__(self, p: Probability = 0.15, per_sample: bool = True) -> None:
        self.p, self.per_sample = p, per_sample

    @checked
    def sample(self, branches: Count, rows: Size) -> numpy.ndarray:
        """Which branches live: `rows` independent decisions, (rows, branches) of booleans."""
        alive = rng().random((rows, branches)) >= self.p
        survivor = rng().integers(branches, size=rows)
        dead = ~alive.any(axis=1)
        alive[dead, survivor[dead]] = True
        return alive

    @checked
    def forward(self, xs: Sequence[Any]) -> Tensor:
        if not self.training or self.p == 0:
            return ops.join(xs)
        if self.per_sample:
            return ops.join(xs, by_sample(len(xs[0]), lambda n: self.sample(len(xs), n)))
        (alive,) = self.sample(len(xs), rows=1)
        return ops.join([x for x, lives in zip(xs, alive) if lives])

    def describe(self) -> str:
        return str(self.p) + ("" if self.per_sample else ", per_sample=False")
