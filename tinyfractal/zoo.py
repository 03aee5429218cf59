"""What a FractalNet is compared with: a plain network and a ResNet, from the same layers.

Both have the same stages as a FractalNet, a 2×2 max pooling after each and the same classifier, and
`depth` convolutions a stage on the longest path; match it with `fractal_depth(columns)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import ops
from .fractal import ConvUnit
from .module import Module
from .nn import BatchNorm2d, Conv2d, GlobalAvgPool, Linear, MaxPool2d, Sequential
from .tensor import Tensor


class PlainNet(Sequential):
    """Convolutions one after the other, no second path: (N, H, W, in_channels) → (N, classes)."""

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        channels: Sequence[int] = (16, 32, 64),
        depth: int = 4,
        dropout: float = 0.0,
    ) -> None:
        layers: list[Module] = []
        for before, after in zip([in_channels, *channels], channels):
            layers += [ConvUnit(before if i == 0 else after, after, dropout) for i in range(depth)]
            layers.append(MaxPool2d(2))
        super().__init__(*layers, GlobalAvgPool(), Linear(channels[-1], classes))


class ResidualUnit(Module):
    """relu(x + F(x)): F is one or two convolutions with batch norm (He et al. 2016).

    Where the number of channels changes, x goes through a 1×1 convolution of its own.
    """

    def __init__(
        self, in_channels: int, out_channels: int, convolutions: int = 2, dropout: float = 0.0
    ) -> None:
        units = [ConvUnit(in_channels, out_channels, dropout)] if convolutions == 2 else []
        self.units = Sequential(*units)
        last = out_channels if units else in_channels
        self.conv = Conv2d(last, out_channels, 3, bias=False)
        self.norm = BatchNorm2d(out_channels)
        if in_channels != out_channels:
            self.shortcut = Sequential(
                Conv2d(in_channels, out_channels, 1, bias=False), BatchNorm2d(out_channels)
            )

    def forward(self, x: Any) -> Tensor:
        around = self.shortcut(x) if hasattr(self, "shortcut") else x
        return ops.relu(around + self.norm(self.conv(self.units(x))))


class ResNet(Sequential):
    """Residual units, two convolutions each: (N, H, W, in_channels) → (N, classes).

    Of an odd `depth`, the last unit of each stage has a single convolution. Unlike in He et al. the
    image is halved by max pooling, as in a FractalNet, and not by a convolution of stride 2.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        channels: Sequence[int] = (16, 32, 64),
        depth: int = 4,
        dropout: float = 0.0,
    ) -> None:
        layers: list[Module] = []
        for before, after in zip([in_channels, *channels], channels):
            convolutions = [2] * (depth // 2) + [1] * (depth % 2)
            for i, count in enumerate(convolutions):
                layers.append(ResidualUnit(before if i == 0 else after, after, count, dropout))
            layers.append(MaxPool2d(2))
        super().__init__(*layers, GlobalAvgPool(), Linear(channels[-1], classes))
