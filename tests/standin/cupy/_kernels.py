"""`ElementwiseKernel` and `ReductionKernel`, for kernels whose text is C and Python at once.

CuPy compiles the text for the GPU; here Python executes the same text, on whole arrays. So a kernel
may use what means the same in both: arithmetic, comparisons, sqrt, `where` (which a kernel brings
along for C, in its preamble), T(…), and statements that set what goes out.
"""

import numpy

from ._array import landed, ndarray, quietly, unwrap, wrap
from ._launches import launch

SHARED = {"sqrt": numpy.sqrt, "exp": numpy.exp, "log": numpy.log}
BROUGHT = {"where": numpy.where}  # which C has only where the preamble defines it


def _names(params):
    """[(type, name), …] of "T x, bool y"."""
    pairs = [tuple(part.split()) for part in params.split(",") if part.strip()]
    for kind, *_ in pairs:
        if kind == "raw":
            raise NotImplementedError("the stand-in cannot do raw arguments")
    if any(name == "i" for _, name in pairs):
        raise ValueError(f"{params}: CuPy itself calls the index i")
    return pairs


class _Kernel:
    def __init__(self, inputs, outputs, name, preamble):
        self.inputs, self.outputs, self.name = _names(inputs), _names(outputs), name
        self.functions = dict(SHARED)
        self.functions |= {name: f for name, f in BROUGHT.items() if f" {name}(" in preamble}

    def arguments(self, args):
        """({name: NumPy's array}, the arrays given to be written into, the dtypes of the types)."""
        places = [*self.inputs, *self.outputs]
        if len(args) not in (len(self.inputs), len(places)):
            raise TypeError(f"Wrong number of arguments for {self.name!r}")
        types, values = {}, {}
        for (kind, name), arg in zip(places, args):
            values[name] = arg if isinstance(arg, numpy.generic) else unwrap(arg, self.name)
            if isinstance(arg, ndarray):
                dtype = numpy.dtype(kind) if len(kind) > 1 else types.setdefault(kind, arg.dtype)
                if dtype != arg.dtype:
                    raise TypeError(f"Type is mismatched. {name} {arg.dtype} {dtype} {kind}")
        if not any(isinstance(arg, ndarray) for arg in args):
            raise ValueError("Loop size is undecided.")
        for kind, name in self.inputs:  # numbers become of the type of the arrays
            if not isinstance(values[name], numpy.ndarray):
                dtype = numpy.dtype(kind) if len(kind) > 1 else types[kind]
                values[name] = dtype.type(values[name])
        return values, args[len(self.inputs) :], types


class ElementwiseKernel(_Kernel):
    """A few statements, done for each number of some arrays, in one launch."""

    def __init__(
        self, in_params, out_params, operation, name="kernel", reduce_dims=True, preamble=""
    ):
        super().__init__(in_params, out_params, name, preamble)
        self.code = compile(operation.strip(), name, "exec")

    def __call__(self, *args):
        values, outs, types = self.arguments(args)
        shapes = [v.shape for v in values.values() if isinstance(v, numpy.ndarray)]
        shape = numpy.broadcast_shapes(*shapes)
        if any(out.shape != shape for out in outs):
            raise ValueError(f"Out shape is mismatched: {self.name!r}")
        if numpy.prod(shape, dtype=int):
            launch("kernel", self.name)
        for key, dtype in types.items():
            values[key] = dtype.type
        quietly(exec, self.code, self.functions, values)
        results = []
        for i, (kind, name) in enumerate(self.outputs):
            dtype = numpy.dtype(kind) if len(kind) > 1 else types[kind]
            value = landed(numpy.broadcast_to(values[name], shape).astype(dtype))
            if outs:
                outs[i]._host[...] = value
                results.append(outs[i])
            else:
                results.append(wrap(value))
        return results[0] if len(results) == 1 else tuple(results)


class ReductionKernel(_Kernel):
    """A few arrays mapped to one, which is summed along axes, in one launch."""

    def __init__(
        self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity,
        name="reduce_kernel", reduce_type=None, reduce_dims=True, preamble="",
    ):  # fmt: skip
        super().__init__(in_params, out_params, name, preamble)
        if (reduce_expr, identity) != ("a + b", "0"):
            raise NotImplementedError("the stand-in can only do sums")
        self.map = compile(map_expr, name, "eval")
        self.post = compile(post_map_expr, name, "exec")

    def __call__(self, *args, axis=None, keepdims=False):
        values, outs, types = self.arguments(args)
        shape = numpy.broadcast_shapes(*(v.shape for v in values.values() if numpy.ndim(v)))
        kind, out = self.outputs[0]
        dtype = numpy.dtype(kind) if len(kind) > 1 else types[kind]
        names = {key: dtype.type for key, dtype in types.items()}
        mapped = quietly(eval, self.map, self.functions, {**values, **names})
        mapped = numpy.broadcast_to(mapped, shape)
        scalars = {name: value for name, value in values.items() if not numpy.ndim(value)}
        names |= {**scalars, "a": mapped.sum(axis=axis, keepdims=keepdims, dtype=dtype)}
        quietly(exec, self.post, self.functions, names)
        result = landed(numpy.asarray(names[out], dtype))
        if result.size:
            launch("kernel", self.name)
        if outs:
            outs[0]._host[...] = result
            return outs[0]
        return wrap(result)
