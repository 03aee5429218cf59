"""What a FractalNet is compared with: a plain network and a ResNet, from the same layers.

Both have the same stages as a FractalNet, a 2×2 max pooling after each and the same classifier, and
`depth` convolutions a stage on the longest path; match it with `fractal_depth(columns)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from . import ops
from .check import Below1, Range, Width, checked
from .counting import MOST_COLUMNS, check_channels, check_weights, stack_parameters
from .engine.tensor import Tensor
from .fractal import ConvUnit
from .nn import BatchNorm2d, Conv2d, GlobalAvgPool, Linear, MaxPool2d, Sequential
from .nn.module import Module

Depth = Annotated[int, Range(1, 2 ** (MOST_COLUMNS - 1))]


class PlainNet(Sequential):
    """Convolutions one after the other, no second path: (N, H, W, in_channels) → (N, classes)."""

    @checked
    def __init__(
        self,
        in_channels: Width = 1,
        classes: Width = 10,
        channels: Sequence[Width] = (16, 32, 64),
        depth: Depth = 4,
        dropout: Below1 = 0.0,
    ) -> None:
        check_channels("PlainNet", channels)
        weights = stack_parameters(depth, channels, in_channels, classes)
        check_weights("PlainNet", f"depth {depth}", channels, weights)
        layers: list[Module] = []
        for before, after in zip([in_channels, *channels], channels):
            layers += [ConvUnit(before if i == 0 else after, after, dropout) for i in range(depth)]
            layers.append(MaxPool2d(2))
        super().__init__(*layers, GlobalAvgPool(), Linear(channels[-1], classes))


class ResidualUnit(Module):
    """relu(x + F(x)): F is one or two convolutions with batch norm (He et al. 2016).

    Where the number of channels changes, x goes through a 1×1 convolution of its own.
    """

    @checked
    def __init__(
        self,
        in_channels: Width,
        out_channels: Width,
        convolutions: Annotated[int, Range(1, 2)] = 2,
        dropout: Below1 = 0.0,
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

    @checked
    def __init__(
        self,
        in_channels: Width = 1,
        classes: Width = 10,
        channels: Sequence[Width] = (16, 32, 64),
        depth: Depth = 4,
        dropout: Below1 = 0.0,
    ) -> None:
        check_channels("ResNet", channels)
        weights = stack_parameters(depth, channels, in_channels, classes, shortcuts=True)
        check_weights("ResNet", f"depth {depth}", channels, weights)
        layers: list[Module] = []
        for before, after in zip([in_channels, *channels], channels):
            convolutions = [2] * (depth // 2) + [1] * (depth % 2)
            for i, count in enumerate(convolutions):
                layers.append(ResidualUnit(before if i == 0 else after, after, count, dropout))
            layers.append(MaxPool2d(2))
        super().__init__(*layers, GlobalAvgPool(), Linear(channels[-1], classes))


__all__ = ["PlainNet", "ResNet", "ResidualUnit"]
