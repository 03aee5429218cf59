"""FractalNet (Larsson, Maire & Shakhnarovich 2016, arXiv 1605.07648), as its own formula.

    f₁(z)   = conv(z)
    f_C(z)  = conv(z) ⊕ f_{C-1}(f_{C-1}(z))

`conv` is a 3×3 convolution, dropout, batch norm and ReLU. ⊕ is the join, the elementwise mean; and
joins that meet are one join, so a block of C columns ends in one mean of C branches:

    column   0     1     2            depth of column c: 2^c
             │     │    conv          convolutions in all: 2^C - 1
             │    conv   │            joins, from C = 2 on: 2^(C-2)
             │     │    conv
            conv   └──⊕──┘            (C = 3: the first f₂ ends in the join in the middle;
             │     │    conv          the second f₂ has left its own to the join at the end)
             │    conv   │
             │     │    conv
             └─────⊕─────┘

Column 0 is the shallowest. Drop-path, and a single column as a network of its own, are answers to
one question that the block asks at each join: **which of the k deepest columns do you keep?**
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy

from . import counting, nn, ops
from .backend import by_sample, rng
from .check import Below1, Count, Probability, Range, Size, Width, checked
from .counting import Columns, fractal_depth, fractal_parameters
from .engine.definition import definition
from .engine.tensor import Tensor

Keep = Callable[[int], numpy.ndarray]
"""Given k, which of the k deepest columns live at a join: booleans (k,), or (N, k) by sample."""


@checked
def keep_all(columns: Columns) -> numpy.ndarray:
    """Nothing is dropped."""
    return numpy.ones(columns, bool)


class ConvUnit(nn.Module):
    """The paper's "conv": 3×3 convolution without bias → dropout → batch norm → ReLU.

    (N, H, W, in_channels) → (N, H, W, out_channels).
    """

    @checked
    def __init__(self, in_channels: Width, out_channels: Width, dropout: Below1 = 0.0) -> None:
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding="same", bias=False)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.BatchNorm2d(out_channels, relu=True)

    @definition  # fast/ may put a quicker rule in its place: see engine/definition.py
    def forward(self, x: Any) -> Tensor:
        return self.norm(self.dropout(self.conv(x)))


class FractalBlock(nn.Module):
    """f_C: a block of C columns, built from one conv and two blocks of C - 1.

    (N, H, W, in_channels) → (N, H, W, out_channels). Longest path 2^(C-1), shortest 1.
    """

    @checked
    def __init__(
        self, columns: Count, in_channels: Width, out_channels: Width, dropout: Below1 = 0.0
    ) -> None:
        counting.check_fractal("FractalBlock", columns, [out_channels], in_channels)
        self.columns = columns
        self.conv = ConvUnit(in_channels, out_channels, dropout)
        if columns > 1:
            self.first = FractalBlock(columns - 1, in_channels, out_channels, dropout)
            self.second = FractalBlock(columns - 1, out_channels, out_channels, dropout)

    @checked
    def forward(self, z: Any, keep: Keep = keep_all) -> Tensor:
        """f_C(z), with only the branches that `keep` keeps."""
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
        counting.check_column("FractalBlock", c, self.columns)
        if c == 0:
            return [self.conv]
        return self.first.column(c - 1) + self.second.column(c - 1)


@definition
def _join(branches: Sequence[Tensor | None], alive: numpy.ndarray) -> Tensor:
    """The mean of the branches that are computed, sample by sample where `alive` says so."""
    computed = [i for i, branch in enumerate(branches) if branch is not None]
    mask = alive[:, computed] if alive.ndim == 2 else None
    return ops.join([branch for branch in branches if branch is not None], mask)


class FractalNet(nn.Module):
    """B fractal blocks, each followed by 2×2 max pooling, and a linear classifier.

    (N, H, W, in_channels) → logits (N, classes). `channels`, and `dropout`, go block by block.

    While training, each sample gets *global* drop-path with probability `global_ratio` (one column,
    each with the same chance, through the whole network), otherwise *local* drop-path (each join
    drops each branch with probability `drop_path`, but never all). `per_sample=False` decides for
    the mini-batch as a whole, as the authors did. What is dropped is then not computed, which is
    quicker, but the columns come out worse (CONTRIBUTING.md has the numbers): batch norm's running
    statistics mix unlike batches. `drop_path=0` switches both off. At test time nothing drops;
    `net(x, column=c)` runs column c.
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
        counting.check_fractal("FractalNet", columns, channels, in_channels, classes)
        rates = counting.rate_of_each_block("FractalNet", dropout, channels)
        self.columns, self.global_ratio = columns, global_ratio
        sizes = zip([in_channels, *channels], channels, rates)
        self.blocks = nn.ModuleList([FractalBlock(columns, *size) for size in sizes])
        self.pool = nn.MaxPool2d(2)
        self.drop_path = nn.DropPath(drop_path, per_sample)  # its draws; the blocks do the joining
        self.head = nn.Sequential(nn.GlobalAvgPool(), nn.Linear(channels[-1], classes))

    @checked
    def forward(self, x: Any, column: int | None = None) -> Tensor:
        """Logits (N, classes), or of one column; `ShapeError` for images too small to be halved."""
        counting.check_halving("FractalNet", x, len(self.blocks))
        keep = self._draw(len(x)) if column is None else self.keep_column(column)
        for block in self.blocks:
            x = self.pool(block(x, keep))
        return self.head(x)

    def column(self, c: int) -> nn.Sequential:
        """Column c as a plain network of its own, made of the very same layers.

        What is done to it is done to them: `column(c).eval()` switches the layers of this network.
        """
        counting.check_column("FractalNet", c, self.columns)
        layers: list[nn.Module] = []
        for block in self.blocks:
            layers += [*block.column(c), self.pool]  # type: ignore[attr-defined]
        return nn.Sequential(*layers, self.head)

    @property
    def depth(self) -> int:
        """Convolutions on the longest path."""
        return len(self.blocks) * 2 ** (self.columns - 1)

    # ----- Which paths survive -----

    def _draw(self, n: int) -> Keep:
        """What drop-path keeps in this mini-batch of n samples."""
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
        counting.check_column("FractalNet", c, self.columns)
        return lambda k: numpy.arange(self.columns - k, self.columns) == c

    @checked
    def keep_by_sample(self, n: Size) -> Keep:
        """Local or global drop-path, decided for each of n samples."""
        is_global = rng().random(n) < self.global_ratio
        chosen = rng().integers(self.columns, size=n)

        def keep(k: int) -> numpy.ndarray:
            local = self.drop_path.sample(k, rows=n)
            column = chosen[:, None] == numpy.arange(self.columns - k, self.columns)
            # Where a sample runs through a shallower column, the result here is not used. All
            # branches are kept for it: zeros would distort the statistics of batch norm.
            column[chosen < self.columns - k] = True
            return numpy.where(is_global[:, None], column, local)

        return keep

    @classmethod
    def paper(cls, classes: int = 10, **changes: Any) -> FractalNet:
        """The paper's CIFAR network: 5 blocks, 3 columns, 20 layers (section 4.1)."""
        rates = (0.0, 0.1, 0.2, 0.3, 0.4)
        settings = {"in_channels": 3, "channels": (64, 128, 256, 512, 512), "dropout": rates}
        return cls(classes=classes, **{**settings, **changes})

    @classmethod
    def paper40(cls, classes: int = 10, **changes: Any) -> FractalNet:
        """Its 40-layer network: 5 blocks, 4 columns, narrower (section 4.3, table 3: 4.8 M)."""
        return cls.paper(classes, **{"columns": 4, "channels": (16, 32, 64, 128, 128), **changes})


class RecursiveBlock(nn.Module):
    """F(F(x)): one layer, with one set of weights, applied `depth` times.

    The block of the article "FractalNet Explained": depth grows, parameters stay constant. The
    layer's output needs the shape of its input. Batch norm in it learns running statistics that fit
    none of its applications well; layer norm has no such trouble.
    """

    @checked
    def __init__(self, layer: nn.Module, depth: Annotated[int, Range(1, 1 << 16)] = 2) -> None:
        self.layer, self.depth = layer, depth

    def forward(self, x: Any) -> Tensor:
        for _ in range(self.depth):
            x = self.layer(x)
        return x


__all__ = [
    "ConvUnit", "FractalBlock", "FractalNet", "Keep", "RecursiveBlock", "fractal_depth",
    "fractal_parameters", "keep_all",
]  # fmt: skip
