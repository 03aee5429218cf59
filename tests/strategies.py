"""What may be drawn: arrays of every shape and layout, and arguments for each kind of function.

Hypothesis draws shapes, layouts in memory and settings; the numbers themselves come from a seed,
which is quick, and lets each row keep away from kinks and ties by drawing from a `domain`.
The table that uses all this is in `cases.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyfractal as tf
from tinyfractal import backend

from . import oracles


@dataclass
class Call:
    """Arguments that are differentiated (float64 arrays) and settings by name."""

    arrays: list[np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)

    def cast(self, dtype):
        """The same call in another floating-point type, with arrays of its own."""
        settings = {
            name: value.astype(dtype) if getattr(value, "dtype", None) == np.float64 else value
            for name, value in self.settings.items()
        }
        return Call([array.astype(dtype) for array in self.arrays], settings)


@dataclass(frozen=True)
class Case:
    """How to draw a call, how to make it, and what its value must be."""

    draw: st.SearchStrategy[Call]
    oracle: Callable
    apply: Callable | None = None  # where not simply f(*arrays, **settings)
    keeps_dtype: bool = True

    def function(self, name, settings):
        """The function of the arrays alone; what is computed with is on the backend."""
        f = self.apply or getattr(tf, name)
        there = {
            key: backend.asarray(value) if getattr(value, "dtype", None) in FLOATS else value
            for key, value in settings.items()
        }
        return lambda *arrays: f(*arrays, **there)


FLOATS = (np.float32, np.float64)
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])
BOUNDS = st.none() | st.sampled_from([-0.5, 0.0, 0.5])  # multiples of 0.25: never hit exactly

# ----- Numbers -----

DOMAINS: dict[str, Callable] = {
    "any": lambda rng, n, which: rng.uniform(-2, 2, n),
    "positive": lambda rng, n, which: rng.uniform(0.4, 2, n),
    "nonzero": lambda rng, n, which: rng.uniform(0.3, 2, n) * rng.choice([-1, 1], n),
    # no two alike, also between the first and the second argument; none a multiple of 0.25
    "distinct": lambda rng, n, which: 0.25 * (rng.permutation(n) - n // 2) + 0.1 + 0.05 * which,
}

LAYOUTS: dict[str, Callable] = {  # the same numbers, lying differently in memory
    "C": lambda x: x,
    "Fortran": lambda x: np.array(x, order="F"),
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "inside": lambda x: np.pad(x, 1)[(slice(1, -1),) * x.ndim],
}


@st.composite
def numbers(draw, shape, domain="any", which=0):
    """An array of this shape, in some layout. (Strategies draw their numbers through here.)"""
    seed = draw(st.integers(0, 2**16), label="seed of the numbers")
    values = DOMAINS[domain](np.random.default_rng((seed, which)), prod(shape), which)
    layout = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    return np.asarray(layout(values.reshape(shape)))


def shapes(min_dims=0, max_dims=3, min_side=0, max_side=3):
    """Shapes, by default with 0-d, empty and size-1 axes among them."""
    return hnp.array_shapes(
        min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    )


def broadcasting(count, max_dims=3, max_side=3):
    """Several shapes that broadcast together."""
    return hnp.mutually_broadcastable_shapes(
        num_shapes=count, max_dims=max_dims, min_side=0, max_side=max_side
    )


def axis_of(ndim):
    """One axis, from the front or from the back."""
    return st.integers(-ndim, ndim - 1)


def sometimes(strategy, otherwise=None):
    """A setting that may be left at its default."""
    return st.just(otherwise) | strategy


# ----- Elementwise -----


def unary(oracle, domain="any", **settings):
    """f(x), with settings drawn from strategies."""

    @st.composite
    def draw(draw):
        x = draw(numbers(draw(shapes()), domain))
        return Call([x], {name: draw(strategy) for name, strategy in settings.items()})

    return Case(draw(), oracle)


def binary(oracle, domain="any", **options):
    """f(a, b), where a and b broadcast."""

    @st.composite
    def draw(draw):
        pair = draw(broadcasting(2))
        return Call([draw(numbers(s, domain, i)) for i, s in enumerate(pair.input_shapes)])

    return Case(draw(), oracle, **options)


@st.composite
def where_calls(draw):
    three = draw(broadcasting(3))
    a, b, condition = three.input_shapes
    arrays = [draw(numbers(a)), draw(numbers(b, which=1))]
    return Call(arrays, {"condition": draw(hnp.arrays(bool, condition))})


# ----- Reductions -----


@st.composite
def reduce_calls(draw, domain="any", empty=False, **settings):
    """An axis, several, none or all; without `empty`, axes of length 0 are not reduced."""
    shape = list(draw(shapes(min_side=0 if empty else 1)))
    axis = draw(st.none() | hnp.valid_tuple_axes(len(shape)))
    if shape and draw(st.booleans()):
        axis = draw(axis_of(len(shape)))
    reduced_axes = np.arange(len(shape))[axis if axis is None or np.ndim(axis) == 0 else list(axis)]
    kept = sorted(set(range(len(shape))) - set(np.ravel(reduced_axes).tolist()))
    if kept and draw(st.integers(0, 5)) == 5:
        shape[kept[0]] = 0
    drawn = {name: draw(strategy) for name, strategy in settings.items()}
    arguments = {"axis": axis, "keepdims": draw(st.booleans()), **drawn}
    return Call([draw(numbers(tuple(shape), domain))], arguments)


def reduction(oracle, domain="any", **settings):
    """f(x, axis, keepdims)."""
    return Case(reduce_calls(domain, **settings), oracle)


@st.composite
def one_axis_calls(draw, domain="any", min_side=1):
    """f(x, axis) for softmax and its logarithm."""
    shape = draw(shapes(min_dims=1, min_side=min_side))
    return Call([draw(numbers(shape, domain))], {"axis": draw(axis_of(len(shape)))})


# ----- Shapes and indices -----


def shaped(settings, oracle, min_dims=0, min_side=0, **options):
    """f(x, **settings) where `settings` is a function of draw and the shape of x."""

    @st.composite
    def draw(draw):
        shape = draw(shapes(min_dims=min_dims, min_side=min_side))
        return Call([draw(numbers(shape))], settings(draw, shape))

    return Case(draw(), oracle, **options)


def new_shape(draw, shape):
    """As many numbers in another shape, sometimes with a -1."""
    choices = [shape, shape[::-1], (*shape, 1), (prod(shape),), (1, prod(shape))]
    if prod(shape):
        choices += [(-1,), (-1, *shape[1:]), (1, -1)]
    return {"shape": draw(st.sampled_from(choices))}


def new_order(draw, shape):
    """All axes in some order, each counted from the front or the back."""
    order = draw(st.permutations(range(len(shape))))
    signs = [axis - len(shape) if draw(st.booleans()) else axis for axis in order]
    return {"axes": draw(sometimes(st.just(tuple(signs))))}


def squeezed(draw, shape):
    """One or all of the axes of length 1."""
    ones = [i for i, n in enumerate(shape) if n == 1]
    axes = [None, tuple(ones), *ones, *(i - len(shape) for i in ones)]
    return {"axis": draw(st.sampled_from(axes))}


def stretched(draw, shape):
    """Axes of length 1 stretched, and new ones in front."""
    longer = [draw(st.integers(0, 3)) if n == 1 else n for n in shape]
    return {"shape": (*draw(shapes(max_dims=2)), *longer)}


def some_index(draw, shape):
    """Anything NumPy takes: integers, slices, None, Ellipsis, masks, lists with repeats."""
    kinds = [hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)]
    kinds.append(hnp.arrays(bool, shape))
    if shape and min(shape):
        kinds.append(hnp.integer_array_indices(shape, result_shape=shapes(max_dims=2)))
        for axis, before in ((0, ()), (len(shape) - 1, (...,))):
            n = shape[axis]
            places = st.lists(st.integers(-n, n - 1), max_size=4)
            kinds.append(places.map(lambda p, before=before: (*before, p) if before else p))
            kinds.append(places.map(lambda p, before=before: (*before, p, None)))
    return draw(st.one_of(kinds))


@st.composite
def scatter_calls(draw):
    shape = draw(shapes(min_side=1))
    index = some_index(draw, shape)
    x = draw(numbers(np.zeros(shape)[index].shape))
    return Call([x], {"index": index, "shape": shape})


def cuts(draw, shape):
    """Equal parts or places to cut at; and which part to look at."""
    axis = draw(axis_of(len(shape)))
    n = shape[axis]
    equal = [k for k in (1, 2, 3) if n % k == 0]
    places = st.lists(st.integers(0, n), min_size=1, max_size=2).map(sorted)
    return {
        "sections": draw(st.sampled_from(equal) | places),
        "axis": axis,
        "part": draw(st.integers(-1, 0)),
    }


@st.composite
def several_calls(draw, new_axis):
    """Arrays to put together: alike (stack), or alike but for one axis (concatenate)."""
    shape = draw(shapes(min_dims=0 if new_axis else 1, max_dims=2))
    axis = draw(axis_of(len(shape) + new_axis))
    arrays = []
    for which in range(draw(st.integers(1, 3))):
        each = list(shape)
        if not new_axis:
            each[axis] = draw(st.integers(0, 2))
        arrays.append(draw(numbers(tuple(each), which=which)))
    return Call(arrays, {"axis": axis})


def borders(draw, shape):
    """Zeros, a value, or a reflection no wider than there is something to reflect."""
    if shape and min(shape) and draw(st.booleans()):
        most, settings = [min(2, n - 1) for n in shape], {"mode": "reflect"}
    else:
        most, settings = [2] * len(shape), {"value": draw(st.sampled_from([0.0, 1.5]))}
    widths = [(draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most]
    return {"widths": widths, **settings}


# ----- Products -----


@st.composite
def matmul_calls(draw):
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    if draw(st.booleans()):  # vectors
        a, b = draw(
            st.sampled_from([((k,), (k,)), ((n, k), (k,)), ((k,), (k, m)), ((k,), (2, k, m))])
        )
    else:
        pair = draw(broadcasting(2, max_dims=2, max_side=2))
        a, b = ((*lead, *tail) for lead, tail in zip(pair.input_shapes, ((n, k), (k, m))))
    return Call([draw(numbers(a)), draw(numbers(b, which=1))])


@st.composite
def linear_calls(draw):
    lead, k, m = draw(shapes(max_dims=2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sizes = [(*lead, k), (k, m), (m,)][: draw(st.integers(2, 3))]
    return Call([draw(numbers(size, which=i)) for i, size in enumerate(sizes)])


def pair_of(least, most):
    """A number for rows and columns, or two."""
    one = st.integers(least, most)
    return one | st.tuples(one, one)


@st.composite
def conv2d_calls(draw):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = 1 if 3 in kernel else draw(pair_of(1, 2))
    groups = draw(st.sampled_from([1, 1, 2]))
    channels, out = (draw(st.integers(1, 1 + (groups == 1))) for _ in range(2))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, oracles.pair(dilation))]
    size = [max(n, 2) + draw(st.integers(0, 1)) for n in extent]
    x = (draw(st.sampled_from([1, 1, 2, 0])), *size, channels * groups)
    sizes = [x, (*kernel, channels, out * groups), (out * groups,)][: draw(st.integers(2, 3))]
    settings = {
        "stride": draw(pair_of(1, 2)),
        "padding": draw(st.sampled_from(["same", "valid"]) | pair_of(0, 1)),
        "padding_mode": draw(st.sampled_from(["zeros", "reflect"])),
        "dilation": dilation,
        "groups": groups,
    }
    arrays = [draw(numbers(s, which=i)) for i, s in enumerate(sizes)]
    return Call(arrays, settings)


@st.composite
def conv2d_each_calls(draw):
    """The same call with several kernels: (x, weight, weight, …, bias, bias, …)."""
    call = draw(conv2d_calls())
    count = draw(st.integers(1, 3))
    x, *rest = call.arrays
    several = [draw(numbers(a.shape, which=i)) for i, a in enumerate(rest) for _ in range(count)]
    settings = {**call.settings, "count": count}
    ys = oracles.conv2d_each(x, *several, **settings)
    away = bool(np.all(np.abs(ys) > 0.1))  # from the corner of ReLU
    return Call([x, *several], {**settings, "relu": away and draw(st.booleans())})


# ----- Pooling, normalization, losses, join -----


@st.composite
def pool_calls(draw):
    size = draw(pair_of(1, 3))
    settings = {"kernel_size": size, "stride": draw(sometimes(pair_of(1, 3)))}
    settings["padding"] = draw(pair_of(0, min(oracles.pair(size)) // 2))
    sides = [n + draw(st.integers(0, 2)) for n in oracles.pair(size)]
    x = (draw(st.sampled_from([1, 1, 2, 0])), *sides, draw(st.integers(1, 2)))
    return Call([draw(numbers(x, "distinct"))], settings)


@st.composite
def image_calls(draw):
    shape = (draw(st.integers(0, 2)), *(draw(st.integers(1, 3)) for _ in range(3)))
    return Call([draw(numbers(shape))])


@st.composite
def norm_calls(draw, batch):
    lead = draw(shapes(min_dims=int(batch), max_dims=3, min_side=1, max_side=2))
    channels = draw(st.integers(1 if batch else 2, 3))
    lead = (2, *lead[1:]) if batch else lead
    sizes = [((*lead, channels), "distinct"), ((channels,), "any"), ((channels,), "any")]
    settings: dict[str, Any] = {"eps": draw(st.sampled_from([1e-5, 1e-2]))}
    if batch:
        settings["relu"] = draw(st.booleans())
        settings["training"] = draw(st.booleans())
        if not settings["training"] or draw(st.booleans()):
            settings["running_mean"] = draw(numbers((channels,))).copy()
            settings["running_var"] = draw(numbers((channels,), "positive")).copy()
    return Call([draw(numbers(s, domain, i)) for i, (s, domain) in enumerate(sizes)], settings)


@st.composite
def cross_entropy_calls(draw):
    n, classes = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    smoothing, how = draw(st.sampled_from([0.0, 0.1])), draw(REDUCTIONS)
    settings = {"labels": labels, "label_smoothing": smoothing, "reduction": how}
    if draw(st.booleans()):
        settings["weight"] = draw(hnp.arrays(np.float64, classes, elements=st.floats(0.1, 3)))
    if draw(st.booleans()):
        settings["ignore_index"] = -100
        labels[1:][draw(hnp.arrays(bool, n - 1))] = -100  # one is left
    return Call([draw(numbers((n, classes)))], settings)


@st.composite
def mse_loss_calls(draw):
    shape = draw(shapes(min_side=1))
    return Call([draw(numbers(shape, which=i)) for i in (0, 1)], {"reduction": draw(REDUCTIONS)})


@st.composite
def join_calls(draw):
    shape, k = draw(shapes(min_dims=1)), draw(st.integers(1, 3))
    mask = draw(sometimes(hnp.arrays(bool, (shape[0], k))))
    if mask is not None:
        mask[~mask.any(axis=1), draw(st.integers(0, k - 1))] = True  # someone survives
    return Call([draw(numbers(shape, which=i)) for i in range(k)], {"mask": mask})


def randomness(draw, shape):
    """Settings of dropout; the seed makes it a function."""
    return {
        "p": draw(st.sampled_from([0.0, 0.3, 0.9])),
        "training": draw(st.booleans()),
        "per_channel": len(shape) > 1 and draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }
