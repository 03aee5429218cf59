"""One row for each function of the library: what it may be called with, and what must come out.

A `Case` draws a `Call` (arrays, which are differentiated, and settings) and knows an *independent*
value, from NumPy or from the loops in `oracles.py`. All the property tests of
`test_primitives.py` run over the table `CASES`. A new elementwise function is one row:

    "mish": unary(lambda x: x * np.tanh(np.log1p(np.exp(x)))),
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyfractal as tf
from tinyfractal import backend
from tinyfractal.engine.definition import RULES
from tinyfractal.train.distributed import ProcessGroup, all_reduce

from . import oracles
from .oracles import reduced
from .strategies import (
    BOUNDS,
    Case,
    axis_of,
    binary,
    borders,
    conv2d_calls,
    conv2d_each_calls,
    cross_entropy_calls,
    cuts,
    image_calls,
    join_calls,
    linear_calls,
    matmul_calls,
    mse_loss_calls,
    new_order,
    new_shape,
    norm_calls,
    one_axis_calls,
    pool_calls,
    randomness,
    reduction,
    scatter_calls,
    several_calls,
    shaped,
    some_index,
    squeezed,
    stretched,
    unary,
    where_calls,
)

# ----- Functions, their differentiated arguments in front -----


def where(a, b, condition):
    """`tf.where`, with what is differentiated in front."""
    return tf.where(condition, a, b)


def softmax(x, axis):
    """From the formula."""
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def padded(x, widths, mode="constant", value=0.0):
    """`numpy.pad`."""
    if not widths:
        return x
    return np.pad(x, widths, mode, **({} if mode == "reflect" else {"constant_values": value}))


def conv2d_each(x, *several, count, relu, **settings):
    """`fast.conv.conv2d_each`; of one kernel, too, stacked."""
    from tinyfractal.fast.conv import conv2d_each
    from tinyfractal.ops.conv import planned

    weights, biases = several[:count], several[count:]
    x, plan = planned(x, weights[0], biases[0] if biases else None, **settings)
    ys = conv2d_each(x, weights, plan, biases, relu)
    return ys if count > 1 else tf.stack([ys])


def dropout(x, seed, **settings):
    """`tf.dropout` with a seed."""
    backend.seed(seed)
    return tf.dropout(x, **settings)


def listed(name):
    """A function that takes its arrays as one list."""
    return lambda *xs, **settings: getattr(tf, name)(xs, **settings)


def alone(x):
    """A sum over the one process there is."""
    return all_reduce(x, group=ProcessGroup())


# ----- The table -----

CASES: dict[str, Case] = {
    "add": binary(lambda a, b: a + b),
    "sub": binary(lambda a, b: a - b),
    "mul": binary(lambda a, b: a * b),
    "div": binary(lambda a, b: a / b, "nonzero"),
    "pow": binary(lambda x, n: np.exp(n * np.log(x)), "positive"),
    "maximum": binary(lambda a, b: np.where(a > b, a, b), "distinct"),
    "minimum": binary(lambda a, b: np.where(a < b, a, b), "distinct"),
    "where": Case(where_calls(), lambda a, b, condition: np.where(condition, a, b), where),
    "identity": unary(lambda x: x),
    "clone": unary(lambda x: x),
    "neg": unary(lambda x: -x),
    "exp": unary(np.exp),
    "log": unary(np.log, "positive"),
    "sqrt": unary(np.sqrt, "positive"),
    "abs": unary(np.abs, "nonzero"),
    "sin": unary(np.sin),
    "cos": unary(np.cos),
    "tanh": unary(np.tanh),
    "sigmoid": unary(lambda x: 1 / (1 + np.exp(-x))),
    "softplus": unary(lambda x: np.logaddexp(0, x)),
    "relu": unary(lambda x: x * (x > 0), "nonzero"),
    "leaky_relu": unary(
        lambda x, slope: np.where(x > 0, x, slope * x),
        "nonzero",
        slope=st.sampled_from([0.01, 0.3]),
    ),
    "gelu": unary(lambda x: x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "clip": unary(
        lambda x, min, max: np.minimum(
            np.maximum(x, -np.inf if min is None else min), np.inf if max is None else max
        ),
        "distinct",
        min=BOUNDS,
        max=st.none() | st.sampled_from([0.5, 1.0]),
    ),
    "astype": Case(
        unary(None, dtype=st.just(np.float64)).draw, lambda x, dtype: x, keeps_dtype=False
    ),
    # reductions
    "sum": reduction(np.sum, empty=True),
    "mean": reduction(np.mean),
    "var": reduction(np.var, ddof=st.just(0)),
    "std": Case(one_axis_calls("distinct", 2), lambda x, axis: np.std(x, axis=axis)),
    "prod": Case(one_axis_calls(), lambda x, axis: np.prod(x, axis=axis)),
    "max": reduction(np.max, "distinct"),
    "min": reduction(np.min, "distinct"),
    "logsumexp": reduction(lambda x, **where: np.log(np.sum(np.exp(x), **where))),
    "softmax": Case(one_axis_calls(), softmax),
    "log_softmax": Case(one_axis_calls(), lambda x, axis: np.log(softmax(x, axis))),
    # shapes
    "reshape": shaped(new_shape, lambda x, shape: np.reshape(x, shape)),
    "transpose": shaped(new_order, np.transpose),
    "broadcast_to": shaped(stretched, np.broadcast_to),
    "squeeze": shaped(squeezed, np.squeeze),
    "expand_dims": shaped(
        lambda draw, shape: {"axis": draw(axis_of(len(shape) + 1))}, np.expand_dims
    ),
    "flip": shaped(
        lambda draw, shape: {"axis": draw(st.none() | hnp.valid_tuple_axes(len(shape)))}, np.flip
    ),
    "getitem": shaped(
        lambda draw, shape: {"index": some_index(draw, shape)}, lambda x, index: x[index]
    ),
    "scatter": Case(scatter_calls(), oracles.scatter),
    "split": shaped(
        cuts,
        lambda x, sections, axis, part: np.split(x, sections, axis)[part],
        min_dims=1,
        apply=lambda x, part, **settings: tf.split(x, **settings)[part],
    ),
    "concatenate": Case(
        several_calls(new_axis=False),
        lambda *xs, axis: np.concatenate(xs, axis),
        listed("concatenate"),
    ),
    "stack": Case(
        several_calls(new_axis=True), lambda *xs, axis: np.stack(xs, axis), listed("stack")
    ),
    "pad": shaped(borders, padded),
    # products
    "matmul": Case(matmul_calls(), np.matmul),
    "linear": Case(linear_calls(), lambda x, weight, bias=0.0: x @ weight + bias),
    "conv2d": Case(conv2d_calls(), oracles.conv2d),
    # images, norms, losses, joins
    "max_pool2d": Case(pool_calls(), oracles.max_pool2d),
    "avg_pool2d": Case(pool_calls(), oracles.avg_pool2d),
    "global_avg_pool": Case(image_calls(), lambda x: x.sum((1, 2)) / (x.shape[1] * x.shape[2])),
    "batch_norm": Case(norm_calls(batch=True), oracles.batch_norm),
    "layer_norm": Case(norm_calls(batch=False), oracles.layer_norm),
    "cross_entropy": Case(cross_entropy_calls(), oracles.cross_entropy),
    "mse_loss": Case(mse_loss_calls(), lambda p, t, reduction: reduced((p - t) ** 2, reduction)),
    "join": Case(join_calls(), oracles.join, listed("join")),
    "all_reduce": Case(unary(lambda x: x).draw, lambda x: x, alone),
    "dropout": shaped(randomness, oracles.dropout, min_dims=1, apply=dropout),
}
CASES["cat"] = CASES["concatenate"]
if RULES:  # `fast/` is there
    several_kernels = Case(conv2d_each_calls(), oracles.conv2d_each, conv2d_each)
    CASES |= {"conv2d_each": several_kernels, "output_of": several_kernels}  # of one kernel
