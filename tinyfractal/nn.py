"""Layers: modules that each do one thing, to be stacked into networks.

Images are (N, H, W, C), linear weights (in, out), kernels (kh, kw, C_in, C_out). A layer holds
its weights and settings; the computing is in `ops/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy

from . import ops
from .backend import own, rng, whole, xp
from .init import Initializer, xavier_uniform
from .module import Buffer, Module, Parameter
from .tensor import Tensor

# ----- Containers -----


class ModuleList(Module):
    """Modules in a row, to be run as the owner likes. Their names are "0", "1", …"""

    def __init__(self, modules: Sequence[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """Add a module at the end. Raises `TypeError` for anything else."""
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: expected modules, got {type(module).__name__}; "
                "Sequential takes them one by one, ModuleList in a list"
            )
        setattr(self, str(len(self)), module)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Module]:
        return (module for name, module in self.children() if name.isdecimal())

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class Sequential(ModuleList):
    """Modules run one after the other, each on the output of the one before."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x


# ----- Layers with weights -----


class Linear(Module):
    """x @ weight + bias: (…, in_features) → (…, out_features)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        init: Initializer = xavier_uniform,
    ) -> None:
        self.weight = Parameter(init((in_features, out_features)))
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

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = "same",
        padding_mode: str = "zeros",
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = xavier_uniform,
    ) -> None:
        size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: in_channels {in_channels} and out_channels {out_channels} must both "
                f"divide into groups {groups}"
            )
        self.weight = Parameter(init((*size, in_channels // groups, out_channels)))
        self.bias = Parameter(xp.zeros(out_channels, xp.float32)) if bias else None
        self.settings: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "padding_mode": padding_mode,
            "dilation": dilation,
            "groups": groups,
        }

    def forward(self, x: Any) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, **self.settings)

    def describe(self) -> str:
        kh, kw, channels, out_channels = self.weight.shape
        usual = {
            "stride": 1,
            "padding": "same",
            "padding_mode": "zeros",
            "dilation": 1,
            "groups": 1,
        }
        unusual = [f"{k}={v!r}" for k, v in self.settings.items() if v != usual[k]]
        if self.bias is None:
            unusual.append("bias=False")
        size = str(kh) if kh == kw else f"({kh}, {kw})"
        return ", ".join(
            [str(channels * self.settings["groups"]), str(out_channels), size, *unusual]
        )


class BatchNorm2d(Module):
    """Batch norm over images (N, H, W, C), or rows (N, C): see `ops.batch_norm`.

    With `relu` a ReLU follows in the same pass.
    """

    def __init__(
        self, channels: int, eps: float = 1e-5, momentum: float = 0.1, relu: bool = False
    ) -> None:
        self.weight = Parameter(xp.ones(channels, xp.float32))
        self.bias = Parameter(xp.zeros(channels, xp.float32))
        self.running_mean = Buffer(xp.zeros(channels, xp.float32))
        self.running_var = Buffer(xp.ones(channels, xp.float32))
        self.eps, self.momentum, self.relu = eps, momentum, relu

    def forward(self, x: Any, statistics: Any = None) -> Tensor:
        return ops.batch_norm(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.training,
            self.momentum,
            self.eps,
            self.relu,
            statistics,
        )

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What it does outside training: y = x · scale + shift, each (C,)."""
        scale = self.weight / ops.sqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def describe(self) -> str:
        return f"{self.weight.size}, relu" if self.relu else str(self.weight.size)


class LayerNorm(Module):
    """Layer norm over the last axis: (…, channels) → (…, channels)."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
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

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Any) -> Tensor:
        return ops.leaky_relu(x, slope=self.slope)

    def describe(self) -> str:
        return str(self.slope)


class Pool(Module):
    """A window that moves over the image; `MaxPool2d` and `AvgPool2d` say what it computes."""

    function: Callable[..., Tensor]

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
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

    def forward(self, x: Any) -> Tensor:
        return x.reshape(len(x), prod(x.shape[1:]))  # not -1, which no empty batch has


class Dropout(Module):
    """Set each number (or channel) to zero with probability p while training."""

    def __init__(self, p: float = 0.5, per_channel: bool = False) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p is a probability below 1, got {p}")
        self.p, self.per_channel = p, per_channel

    def forward(self, x: Any) -> Tensor:
        return ops.dropout(x, self.p, self.training, self.per_channel)

    def describe(self) -> str:
        return str(self.p) + (", per_channel=True" if self.per_channel else "")


# ----- Where paths meet -----


class Join(Module):
    """Elementwise mean of several branches, FractalNet's ⊕: see `ops.join`."""

    def forward(self, xs: Sequence[Any], mask: Any = None) -> Tensor:
        return ops.join(xs, mask)


class DropPath(Module):
    """A join that while training drops each branch with probability p, but never all.

    This is the paper's *local* drop-path (Larsson et al. 2016, section 3.1). If all would drop,
    one, each with the same chance, is kept. Decided for each sample, or once for the mini-batch.
    """

    def __init__(self, p: float = 0.15, per_sample: bool = True) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"DropPath: p is a probability, got {p}")
        self.p, self.per_sample = p, per_sample

    def sample(self, branches: int, rows: int) -> numpy.ndarray:
        """Which branches live: `rows` independent decisions, (rows, branches) of booleans."""
        alive = rng().random((rows, branches)) >= self.p
        survivor = rng().integers(branches, size=rows)
        dead = ~alive.any(axis=1)
        alive[dead, survivor[dead]] = True
        return alive

    def forward(self, xs: Sequence[Any]) -> Tensor:
        if not self.training or self.p == 0:
            return ops.join(xs)
        if self.per_sample:
            return ops.join(xs, own(self.sample(len(xs), rows=whole(len(xs[0])))))
        (alive,) = self.sample(len(xs), rows=1)
        return ops.join([x for x, lives in zip(xs, alive) if lives])

    def describe(self) -> str:
        return str(self.p) + ("" if self.per_sample else ", per_sample=False")


# ----- To and from PyTorch -----


def to_torch(
    state: Mapping[str, Any], flattened: Mapping[str, tuple[int, int, int]] | None = None
) -> dict[str, numpy.ndarray]:
    """A `state_dict` in PyTorch's layout, as NumPy arrays under the same names.

    Kernels (kh, kw, C_in, C_out) become (C_out, C_in, kh, kw), linear weights (in, out) become
    (out, in). A Linear behind a Flatten needs more, since PyTorch flattens channels first: name
    its weight in `flattened` with the (H, W, C) that was flattened.
    """
    result = {}
    for name, value in state.items():
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif value.ndim == 2:
            if name in (flattened or {}):
                h, w, c = (flattened or {})[name]
                value = value.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(value.shape)
            value = value.T
        result[name] = numpy.ascontiguousarray(value)
    return result


def from_torch(
    state: Mapping[str, Any], flattened: Mapping[str, tuple[int, int, int]] | None = None
) -> dict[str, numpy.ndarray]:
    """The reverse of `to_torch`: a PyTorch `state_dict` (its tensors, or arrays) for loading here.

    PyTorch's `num_batches_tracked` counters have no counterpart and are left out.
    """
    result = {}
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        value = value.detach().cpu().numpy() if hasattr(value, "detach") else numpy.asarray(value)
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        elif value.ndim == 2:
            value = value.T
            if name in (flattened or {}):
                h, w, c = (flattened or {})[name]
                value = value.reshape(c, h, w, -1).transpose(1, 2, 0, 3).reshape(value.shape)
        result[name] = numpy.ascontiguousarray(value)
    return result


__all__ = [
    "Activation", "AvgPool2d", "BatchNorm2d", "Buffer", "Conv2d", "DropPath", "Dropout", "Flatten",
    "GELU", "GlobalAvgPool", "Join", "LayerNorm", "LeakyReLU", "Linear", "MaxPool2d", "Module",
    "ModuleList", "Parameter", "ReLU", "Sequential", "Sigmoid", "Softplus", "Tanh", "from_torch",
    "to_torch",
]  # fmt: skip
