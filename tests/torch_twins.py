"""FractalNet, once more, in PyTorch: for tests and benchmarks to compare with."""

from itertools import pairwise

import torch


class Unit(torch.nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv = torch.nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(after)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class Block(torch.nn.Module):
    """The names are ours, so that weights can be copied; the computing is the paper's figure 1."""

    def __init__(self, columns, before, after):
        super().__init__()
        self.columns = columns
        self.conv = Unit(before, after)
        if columns > 1:
            self.first = Block(columns - 1, before, after)
            self.second = Block(columns - 1, after, after)

    def column(self, c):
        return self.first.column(c - 1) + self.second.column(c - 1) if c else [self.conv]

    def forward(self, x, only=None):
        """Row after row; the columns that have a unit in a row meet after it, in one mean."""
        depth = 2 ** (self.columns - 1)
        used = range(self.columns) if only is None else [only]
        units = {c: self.column(c) for c in used}
        value = dict.fromkeys(used, x)
        for row in range(1, depth + 1):
            here = [c for c in used if row % (depth >> c) == 0]
            if here:
                met = torch.stack([units[c].pop(0)(value[c]) for c in here]).mean(0)
                value.update(dict.fromkeys(here, met))
        return met


class Fractal(torch.nn.Module):
    def __init__(self, before, classes, columns, channels):
        super().__init__()
        widths = [before, *channels]
        self.blocks = torch.nn.ModuleList(Block(columns, *pair) for pair in pairwise(widths))
        self.head = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(channels[-1], classes))

    def forward(self, x, only=None):
        for block in self.blocks:
            x = torch.nn.functional.max_pool2d(block(x, only), 2)
        return self.head(x.mean((2, 3)))
