"""The functions of the library, each with its gradient beside it.

Read `elementwise` first; then `shape` and `reduce`, `matmul`, `conv` and `pool`, `norm`, `loss`
and `join`.
"""

# isort: off
from .conv import conv2d
from .elementwise import (
    abs, add, astype, clip, clone, cos, div, exp, gelu, identity, leaky_relu, log, maximum, minimum,
    mul, neg, pow, relu, sigmoid, sin, softplus, sqrt, sub, tanh, where,
)  # fmt: skip
from .join import dropout, join
from .loss import cross_entropy, mse_loss
from .matmul import linear, matmul
from .norm import batch_norm, layer_norm
from .pool import avg_pool2d, global_avg_pool, max_pool2d
from .reduce import log_softmax, logsumexp, max, mean, min, prod, softmax, std, sum, var
from .shape import (
    broadcast_to, cat, concatenate, expand_dims, flip, getitem, pad, reshape, scatter, split,
    squeeze, stack, transpose,
)  # fmt: skip

__all__ = [
    "abs", "add", "astype", "avg_pool2d", "batch_norm", "broadcast_to", "cat", "clip", "clone",
    "concatenate", "conv2d", "cos", "cross_entropy", "div", "dropout", "exp",
    "expand_dims", "flip", "gelu", "getitem", "global_avg_pool", "identity", "join",
    "layer_norm", "leaky_relu", "linear", "log", "log_softmax", "logsumexp", "matmul", "max",
    "max_pool2d", "maximum", "mean", "min", "minimum", "mse_loss", "mul", "neg", "pad", "pow",
    "prod", "relu", "reshape", "scatter", "sigmoid", "sin", "softmax", "softplus", "split",
    "sqrt", "squeeze", "stack", "std", "sub", "sum", "tanh", "transpose", "var", "where",
]  # fmt: skip
