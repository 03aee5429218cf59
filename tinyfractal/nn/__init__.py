"""Modules: functions with weights, and the layers to build networks from.

Read `module` first, then `layers`; `init` says where the first weights come from. `containers` hold
several modules, `torch_layout` turns weights to PyTorch's layout and back, `summary` prints the
table of a network.
"""

from . import init
from .containers import ModuleDict, ModuleList, ParameterList, Sequential
from .layers import (
    GELU,
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    Join,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Sigmoid,
    Softplus,
    Tanh,
)
from .module import Buffer, Module, Parameter
from .torch_layout import from_torch, to_torch

__all__ = [
    "Activation", "AvgPool2d", "BatchNorm2d", "Buffer", "Conv2d", "DropPath", "Dropout", "Flatten",
    "GELU", "GlobalAvgPool", "Join", "LayerNorm", "LeakyReLU", "Linear", "MaxPool2d", "Module",
    "ModuleDict", "ModuleList", "Parameter", "ParameterList", "ReLU", "Sequential", "Sigmoid",
    "Softplus", "Tanh", "from_torch", "init", "to_torch",
]  # fmt: skip
