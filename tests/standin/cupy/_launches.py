"""What CuPy would ask the GPU to do, counted: a GPU waits for Python some 10 µs at each request.

    with cupy.launches() as seen:
        step()
    seen.total(), seen.by_kind()

Counted is what CuPy 14 does, read from its source: an elementwise function or a sum is a kernel;
an operand that a matrix product cannot take as it lies is copied first by one more; a product of
stacks of matrices of which one is repeated needs kernels that write down where each begins.
"""

from collections import Counter
from contextlib import contextmanager

import numpy

counters = []


class Launches(Counter):
    """{(kind, what): how often}; the kinds are "kernel", "product", "memset" and "copy"."""

    def by_kind(self):
        """{kind: how often}."""
        kinds = Counter()
        for (kind, _), count in self.items():
            kinds[kind] += count
        return kinds


@contextmanager
def launches():
    """A `Launches` of what happens inside the block."""
    seen = Launches()
    counters.append(seen)
    try:
        yield seen
    finally:
        counters.remove(seen)


def launch(kind, what, times=1):
    """Note so many requests."""
    for seen in counters:
        seen[kind, what] += times


# ----- What the functions cost -----

FILLED = {"ones", "ones_like", "full", "full_like", "arange", "eye", "linspace", "identity"}
JOINED = {"concatenate", "stack", "vstack", "hstack"}
PRODUCTS = {"matmul", "dot", "tensordot", "inner", "vdot"}
TIMES = {"var": 2, "std": 3, "nonzero": 3, "unique": 6, "argsort": 2}
FREE = {"empty", "empty_like", "may_share_memory", "shares_memory"}


def of_function(path, args, kwargs, result):
    """Note what a function of CuPy asks for, given NumPy's arguments and result."""
    if not counters:
        return
    name = path.rpartition(".")[2]
    if name in FREE or not numpy.size(_first(result)):
        return
    if name in ("zeros", "zeros_like"):
        launch("memset", name)
    elif name in FILLED:
        launch("kernel", name)
    elif name in PRODUCTS and len(args) > 1:
        of_product(*args[:2], kwargs.get("out", args[2] if len(args) > 2 else None))
    elif name == "einsum":
        launch("kernel", "copy for einsum", len(args) - 1)
        launch("product", name)
    elif name in JOINED:
        count = len(args[0])
        if count > 8:  # one kernel, which is told where each array lies
            launch("copy", name, 3)
        launch("kernel", name, 1 if count > 8 else count)
    elif name == "pad":
        of_pad(*args[:2], kwargs.get("mode", "constant"), kwargs.get("constant_values", 0))
    elif not is_view(_first(result), args):
        launch("kernel", name, TIMES.get(name, 1))


def _first(result):
    return result[0] if isinstance(result, (tuple, list)) and result else result


def is_view(result, args):
    """Whether nothing was computed: the result lies in the memory of an argument."""
    return isinstance(result, numpy.ndarray) and any(
        isinstance(a, numpy.ndarray) and numpy.may_share_memory(result, a) for a in args
    )


def of_elementwise(name, args, result, out=None):
    """A ufunc or an operator: one kernel, but for the matrix product."""
    if name == "matmul":
        of_product(*args, out)
    elif numpy.size(_first(result)):
        launch("kernel", name)


def of_product(a, b, out=None):
    """A matrix product, and the copies and lists of places that it needs."""
    a, b = numpy.asarray(a), numpy.asarray(b)
    if not a.size or not b.size:
        launch("memset", "product of nothing")
    elif a.ndim <= 2 and b.ndim <= 2:
        for x in (a, b):
            if not (x.flags.c_contiguous or x.flags.f_contiguous):
                launch("kernel", "copy for a product")
        floats = a.dtype.kind in "fc" and (a.ndim == 2 or b.ndim == 2)
        launch("product" if floats else "kernel", "product")
    else:
        for x in (a, b):
            if not x.flags.c_contiguous:
                launch("kernel", "copy for a product")
        stacks = [(1,) * (max(a.ndim, b.ndim) - x.ndim) + x.shape[:-2] for x in (a, b)]
        if any(m != n for m, n in zip(*stacks)):
            launch("kernel", "places of matrices", 3 * len(stacks[0]))
        launch("product", "product of stacks")
    if out is not None and not out.flags.c_contiguous:
        launch("kernel", "copy of a product")


def of_pad(x, widths, mode, values):
    """An array, its inside, and with other values than zero each of its sides."""
    launch("kernel", "pad")
    if mode == "constant" and values == 0 and (x.ndim == 1 or x.size < 4e6):
        launch("memset", "pad")
    else:
        launch("kernel", "pad", sum(side > 0 for pair in numpy.atleast_2d(widths) for side in pair))


def of_fill(x, value):
    """A number written into all of x."""
    if x.size:
        launch("memset" if value == 0 and x.flags.c_contiguous else "kernel", "fill")


def of_assignment(x, value):
    """x[...] = value, an array; nothing is to do for `x[...] += y`, which Python ends with this."""
    here = x.__array_interface__["data"] == value.__array_interface__["data"]
    if x.size and not (here and x.shape == value.shape and x.strides == value.strides):
        alike = x.shape == value.shape and x.strides == value.strides and x.dtype == value.dtype
        launch("copy" if alike and x.flags.c_contiguous else "kernel", "assignment")
