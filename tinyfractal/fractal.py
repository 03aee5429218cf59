"""FractalNet (Larsson, Maire & Shakhnarovich 2016, arXiv 1605.07648), as its own formula.

    f₁(z)   = conv(z)
    f_C(z)  = conv(z) ⊕ f_{C-1}(f_{C-1}(z))

`conv` is a 3×3 convolution, dropout, batch norm and ReLU. ⊕ is the join, the elementwise mean; and
joins that meet are one join, so a block of C columns ends in one mean of C branches:

    column   0     1     2            depth of column c: 2^c
             │     │    conv          convolutions in all: 2^C - 1
             │    conv   ⊕
             │     │    conv
            conv   └──⊕──┘            (C = 3; the middle join is where f₂ meets f₂)
             │     │    conv
             │    conv   ⊕
             │     │    conv
             └─────⊕─────┘

Column 0 is the shallowest, column C - 1 the deepest. Everything about which branches are alive, be
it drop-path in training or a single column as a network of its own, goes through one question
that the block asks at each join: **which of the k deepest columns do you keep?**
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Annotated, Any

import numpy

from . import ops
from .backend import by_sample, rng
from .check import Below1, Count, Probability, Range, Size, Width, checked
from .counting import Columns, check_column, check_fractal, fractal_depth, fractal_parameters
from .engine.definition import definition
from .engine.tensor import Tensor
from .errors import ShapeError
from .nn import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    DropPath,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    ModuleList,
    Sequential,
)
from .nn.module import Module
from .ops.conv import check_images

Keep = Callable[[int], numpy.ndarray]
"""Given k, which of the k deepest columns live at a join: booleans (k,), or (N, k) by sample."""


@checked
def keep_all(columns: Columns) -> numpy.ndarray:
    """Nothing is dropped."""
    return numpy.ones(columns, bool)


class ConvUnit(Module):
    """The paper's "conv": 3×3 convolution without bias → dropout → batch norm → ReLU.

    (N, H, W, in_channels) → (N, H, W, out_channels).
    """

    @checked
    def __init__(self, in_channels: Width, out_channels: Width, dropout: Below1 = 0.0) -> None:
        self.conv = Conv2d(in_channels, out_channels, 3, padding="same", bias=False)
        self.dropout = Dropout(dropout)
        self.norm = BatchNorm2d(out_channels, relu=True)

    @definition
    def forward(self, x: Any) -> Tensor:
        return self.norm(self.dropout(self.conv(x)))


class FractalBlock(Module):
    """f_C: a block of C columns, built from one conv and two blocks of C - 1.

    (N, H, W, in_channels) → (N, H, W, out_channels). Longest path 2^(C-1), shortest 1.
    """

    @checked
    def __init__(
        self, columns: Count, in_channels: Width, out_channels: Width, dropout: Below1 = 0.0
    ) -> None:
        check_fractal("FractalBlock", columns, [out_channels], in_channels)
        self.columns = columns
        self.conv = ConvUnit(in_channels, out_channels, dropout)
        if columns > 1:
            self.first = FractalBlock(columns - 1, in_channels, out_channels, dropout)
            self.second = FractalBlock(columns - 1, out_channels, out_channels, dropout)

    @checked
    def forward(self, z: Any, keep: Keep = keep_all) -> Tensor:
        """f_C(z), with the branches that `keep` lets live."""
        alive = keep(self.columns)
        return _join(self.branches(z, alive, keep), alive)

    @definition
    @checked
    def branches(self, z: Any, alive: numpy.ndarray, keep: Keep) -> list[Tensor | None]:
        """What the C columns bring to the join at the end; None, and not computed, where dead.

        This is the expansion rule with the last join left open: the branches of f_{C-1} ∘ f_{C-1},
        and conv(z) as one more beside them. So joins that meet become one by themselves.
        """
        conv = self.conv(z) if alive[..., 0].any() else None
        if self.columns == 1:
            return [conv]
        if not alive[..., 1:].any():
            return [conv] + [None] * (self.columns - 1)
        middle = self.first(z, keep)
        return [conv, *self.second.branches(middle, alive[..., 1:], keep)]

    def column(self, c: int) -> list[ConvUnit]:
        """The 2^c units of column c, in order: the same objects, weights and all."""
        check_column("FractalBlock", c, self.columns)
        if c == 0:
            return [self.conv]
        return self.first.column(c - 1) + self.second.column(c - 1)


@definition
def _join(branches: Sequence[Tensor | None], alive: numpy.ndarray) -> Tensor:
    """The mean of the branches that are computed, sample by sample where `alive` says so."""
    computed = [i for i, branch in enumerate(branches) if branch is not None]
    mask = alive[:, computed] if alive.ndim == 2 else None
    return ops.join([branch for branch in branches if branch is not None], mask)


class FractalNet(Module):
    """B fractal blocks, each followed by 2×2 max pooling, and a linear classifier.

    (N, H, W, in_channels) → logits (N, classes). `channels` has one entry for each block, and so
    may `dropout`. Depth: B · 2^(C-1) convolutions.

    While training, each sample is a case for *global* drop-path with probability `global_ratio`
    (one column, each with the same chance, through the whole network), otherwise for *local*
    drop-path (each join drops each branch with probability `drop_path`, but never all). With
    `per_sample=False` that is decided for the mini-batch as a whole, as the authors did; what is
    dropped is then not computed, which is quicker, but the columns come out worse (the README
    has the measurement): batch norm's running statistics then mix batches that were unlike.
    `drop_path=0` switches both off. At test time nothing drops; `net(x, column=c)` runs column c.
    """

    @checked
    def __init__(
        self,
        in_channels: Width = 1,
        classes: Width = 10,
        columns: Count = 3,
        channels: Sequence[Width] = (16, 32, 64),
        dropout: Below1 | Sequence[Below1] = 0.0,
        drop_path: Probability = 0.15,
        global_ratio: Probability = 0.5,
        per_sample: bool = True,
    ) -> None:
        check_fractal("FractalNet", columns, channels, in_channels, classes)
        rates: Sequence[float] = (
            [dropout] * len(channels) if isinstance(dropout, Real) else dropout  # type: ignore
        )
        if len(rates) != len(channels):
            raise ValueError(
                f"FractalNet: dropout has {len(rates)} entries, channels has {len(channels)}"
            )
        self.columns = columns
        self.global_ratio = global_ratio
        widths = [in_channels, *channels]
        self.blocks = ModuleList(
            [
                FractalBlock(columns, before, after, rate)
                for before, after, rate in zip(widths, widths[1:], rates)
            ]
        )
        self.pool = MaxPool2d(2)
        self.drop_path = DropPath(drop_path, per_sample)
        self.head = Sequential(GlobalAvgPool(), Linear(channels[-1], classes))

    @checked
    def forward(self, x: Any, column: int | None = None) -> Tensor:
        """Logits (N, classes): of the whole network, or of one column alone.

        Raises `ShapeError` for images too small to be halved by every block.
        """
        self._check(x)
        keep = self._sample(len(x)) if column is None else self.keep_column(column)
        for block in self.blocks:
            x = self.pool(block(x, keep))
        return self.head(x)

    def column(self, c: int) -> Sequential:
        """Column c as a plain network of its own, made of the very same layers.

        What is done to it is done to them: `column(c).eval()` switches the layers of this network.
        """
        self.keep_column(c)
        layers: list[Module] = []
        for block in self.blocks:
            layers += [*block.column(c), self.pool]  # type: ignore[attr-defined]
        return Sequential(*layers, self.head)

    @property
    def depth(self) -> int:
        """Convolutions on the longest path."""
        return len(self.blocks) * 2 ** (self.columns - 1)

    # ----- Who lives -----

    def _sample(self, n: int) -> Keep:
        """One decision of drop-path for a mini-batch of n samples."""
        if not self.training or self.drop_path.p == 0 or n == 0:
            return keep_all
        if self.drop_path.per_sample:
            return by_sample(n, self.keep_by_sample)
        if rng().random() < self.global_ratio:
            return self.keep_column(int(rng().integers(self.columns)))
        return self.keep_local()

    def keep_local(self) -> Keep:
        """Local drop-path: each join decides by itself, for the whole mini-batch."""
        return lambda k: self.drop_path.sample(k, rows=1)[0]

    def keep_column(self, c: int) -> Keep:
        """Global drop-path: column c alone, at every join it passes through."""
        check_column("FractalNet", c, self.columns)
        return lambda k: numpy.arange(self.columns - k, self.columns) == c

    @checked
    def keep_by_sample(self, n: Size) -> Keep:
        """Local or global drop-path, decided for each of n samples."""
        is_global = rng().random(n) < self.global_ratio
        chosen = rng().integers(self.columns, size=n)

        def keep(k: int) -> numpy.ndarray:
            local = self.drop_path.sample(k, rows=n)
            column = chosen[:, None] == numpy.arange(self.columns - k, self.columns)
            # A column that does not pass through this join leaves it open: what comes out is not
            # used for that sample, but zeros would disturb the statistics of batch norm.
            column[chosen < self.columns - k] = True
            return numpy.where(is_global[:, None], column, local)

        return keep

    def _check(self, x: Any) -> None:
        check_images("FractalNet", x)
        least = 2 ** len(self.blocks)
        if min(x.shape[1:3]) < least:
            raise ShapeError(
                f"FractalNet: {len(self.blocks)} blocks halve the image {len(self.blocks)} times, "
                f"so it must be at least {least}×{least}; got {x.shape}, read as (N, H, W, C). "
                "Use fewer blocks."
            )

    # ----- The networks of the paper -----

    @classmethod
    def paper(cls, classes: int = 10, **changes: Any) -> FractalNet:
        """The paper's CIFAR network: 5 blocks, 3 columns, 20 layers (section 4.1)."""
        settings: dict[str, Any] = {
            "in_channels": 3,
            "classes": classes,
            "columns": 3,
            "channels": (64, 128, 256, 512, 512),
            "dropout": (0.0, 0.1, 0.2, 0.3, 0.4),
        }
        return cls(**{**settings, **changes})

    @classmethod
    def paper40(cls, classes: int = 10, **changes: Any) -> FractalNet:
        """Its 40-layer network: 5 blocks, 4 columns, narrower (section 4.3, table 3: 4.8 M)."""
        settings = {"columns": 4, "channels": (16, 32, 64, 128, 128)}
        return cls.paper(classes, **{**settings, **changes})


# ----- The article's block -----


class RecursiveBlock(Module):
    """F(F(x)): one layer, with one set of weights, applied `depth` times.

    The block of the article "FractalNet Explained". Depth grows and parameters stay constant;
    the layer's output must have the shape of its input. (The paper's rule is another one: its
    convolutions all have weights of their own.) Batch norm in the layer learns running statistics
    that fit none of its applications well; layer norm has no such trouble.
    """

    @checked
    def __init__(self, layer: Module, depth: Annotated[int, Range(1, 1 << 16)] = 2) -> None:
        self.layer = layer
        self.depth = depth

    def forward(self, x: Any) -> Tensor:
        for _ in range(self.depth):
            x = self.layer(x)
        return x


__all__ = [
    "ConvUnit", "FractalBlock", "FractalNet", "Keep", "RecursiveBlock", "fractal_depth",
    "fractal_parameters", "keep_all",
]  # fmt: skip
