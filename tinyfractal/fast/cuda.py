"""On a GPU: few requests, each for much.

A CPU is quick where the numbers stay in its cache; a GPU is quick where it is seldom asked. Python
needs some 10 µs to ask for anything at all, and in 10 µs a GPU adds up a million numbers. So here a
convolution is one matrix product, and what other rules do in small steps is one kernel: a formula
that the GPU works out for every number by itself.

The rules beside this file come here for arrays when the backend is CuPy.

`Formula` and `Sum` are such kernels. Their text is C and Python at once: CuPy compiles it, and the
tests, which have no GPU, let Python execute the same text.

**Convolution.** Every window of the images is copied out, as a row of a matrix P with kh · kw · C
columns, and with the kernel as a matrix W and the windows of gY as P',

    Y = P W        gW = Pᵀ gY        gX = P' W'     (W' is the kernel turned round)

Several kernels on the same images share P. As products of two matrices, these are what CuPy hands
to the tensor cores where `CUPY_TF32=1` allows it to.

Sums over all pixels go in two steps, since CuPy gives each number of the result to one group of
threads: 64 channels would keep 2 of a GPU's 132 processors busy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from .. import optim
from ..backend import Array, xp
from ..check import Pair
from ..ops.conv import Plan, taps

Shape = tuple[int, ...]

WINDOWS = 1 << 28  # numbers in P: 1 GB of float32; more images are done in several pieces
SUMS = 1 << 14  # numbers that a sum over pixels has after the first step, to keep a GPU busy
FEW = 256  # pixels that are summed in one step
WHERE = "template <typename T> __device__ T where(bool c, T a, T b) { return c ? a : b; }"


class Formula:
    """What becomes of each number, by itself: Formula("T x, T y", "T z", "z = x + y", "add")."""

    def __init__(self, inputs: str, outputs: str, text: str, name: str) -> None:
        self.parts = inputs, outputs, text, f"tinyfractal_{name}"

    def __call__(self, *args: Any) -> Any:
        return _compiled(xp.ElementwiseKernel, *self.parts)(*args)


class Sum:
    """A formula, summed over all pixels of arrays (…, C), for each channel: (C,)."""

    def __init__(self, inputs: str, text: str, name: str) -> None:
        self.parts = inputs, "T out", text, "a + b", "out = a", "0", f"tinyfractal_{name}"

    def __call__(self, *args: Any) -> Array:
        images = args[0]
        pixels, channels = math.prod(images.shape[:-1]), images.shape[-1]
        rows = _rows(pixels, SUMS // max(1, channels))
        cut = (rows, pixels // rows, channels)
        args = tuple(a.reshape(cut) if _is_like(a, images) else a for a in args)
        sums = _compiled(xp.ReductionKernel, *self.parts)(*args, axis=1)
        return sums[0] if rows == 1 else sums.sum(axis=0)


def _is_like(a: Any, images: Array) -> bool:
    return getattr(a, "ndim", 0) > 1 and a.shape == images.shape


@functools.cache
def _rows(pixels: int, most: int) -> int:
    """How many sums there are for each channel after the first step: a divisor of the pixels."""
    if pixels <= FEW:
        return 1
    return next((rows for rows in range(min(most, pixels), 1, -1) if pixels % rows == 0), 1)


@functools.cache
def _compiled(kind: Any, *parts: str) -> Any:
    return kind(*parts, preamble=WHERE)


# ----- Convolution -----


def conv2d(
    x: Array, weights: Sequence[Array], biases: Sequence[Any], size: Pair, plan: Plan, relu: bool
) -> Array:
    """x (N, H, W, C) with each of K kernels (kh, kw, C, O) → (K, N, OH, OW, O)."""
    kernel, channels = weights[0].shape[:3], weights[0].shape[3]
    ys = xp.empty((len(weights), len(x), *size, channels), x.dtype)
    for some in _pieces(len(x), size, kernel):
        p = windows(framed([x[some]], plan.border), kernel, size, plan)
        for y, weight in zip(ys, weights):
            xp.matmul(p, weight.reshape(-1, channels), out=y[some].reshape(-1, channels))
    for y, bias in zip(ys, biases):
        if bias is not None:
            y += bias
    return xp.maximum(ys, 0, out=ys) if relu else ys


def conv2d_gradients(
    gys: Sequence[Array], x: Array, weights: Sequence[Array], plan: Plan, wanted: Sequence[bool]
) -> tuple[Array | None, Sequence[Array | None]]:
    """The gradients of x and of the kernels, given for each of them gy (N, OH, OW, O)."""
    gx = _input_gradient(gys, x.shape, weights, plan) if wanted[0] else None
    if not wanted[1]:
        return gx, [None] * len(weights)
    kernel, channels, size = weights[0].shape[:3], weights[0].shape[3], gys[0].shape[1:3]
    gws = [xp.empty(weight.shape, x.dtype) for weight in weights]
    for number, some in enumerate(_pieces(len(x), size, kernel)):
        p = windows(framed([x[some]], plan.border), kernel, size, plan)
        for gw, gy in zip(gws, gys):
            flat, g = gw.reshape(-1, channels), gy[some].reshape(-1, channels)
            if number == 0:
                xp.matmul(p.T, g, out=flat)
            else:
                flat += p.T @ g
    return gx, gws


def _input_gradient(
    gys: Sequence[Array], shape: Shape, weights: Sequence[Array], plan: Plan
) -> Array:
    """gX: gY padded to the other side, with the kernels turned round, their channels swapped."""
    kh, kw, c, o = weights[0].shape
    border = tuple(
        tuple((k - 1) * step - side for side in sides)
        for k, step, sides in zip((kh, kw), plan.dilation, plan.border)
    )
    if plan.stride != (1, 1) or min(map(min, border)) < 0:
        return _scattered(gys, shape, weights, plan)
    turned = xp.empty((kh, kw, len(weights), o, c), gys[0].dtype)
    for k, weight in enumerate(weights):
        turned[:, :, k] = weight[::-1, ::-1].swapaxes(2, 3)
    back = Plan(cast(Any, border), (1, 1), plan.dilation, 1)
    gx, size, kernel = xp.empty(shape, turned.dtype), shape[1:3], (kh, kw, len(weights) * o)
    for some in _pieces(len(gx), size, kernel):
        p = windows(framed([gy[some] for gy in gys], back.border), kernel, size, back)
        xp.matmul(p, turned.reshape(-1, c), out=gx[some].reshape(-1, c))
    return gx


def _scattered(gys: Sequence[Array], shape: Shape, weights: Sequence[Array], plan: Plan) -> Array:
    """gX where a kernel takes steps: what each window gets, added to its pixels, tap by tap."""
    n, h, w, c = shape
    (top, bottom), (left, right) = plan.border
    canvas = xp.zeros((n, h + top + bottom, w + left + right, c), gys[0].dtype)
    kernel = weights[0].shape
    for some in _pieces(n, gys[0].shape[1:3], kernel[:3]):
        rows = [gy[some].reshape(-1, kernel[3]) for gy in gys]
        gp = functools.reduce(
            xp.add, [g @ w.reshape(-1, kernel[3]).T for g, w in zip(rows, weights)]
        )
        gp = gp.reshape(-1, *gys[0].shape[1:3], *kernel[:3])
        for u, v, tap in taps(canvas.shape, kernel, plan.stride, plan.dilation):
            canvas[some][tap] += gp[:, :, :, u, v]
    return xp.ascontiguousarray(canvas[:, top : top + h, left : left + w])


def framed(images: Sequence[Array], border: Any) -> Array:
    """Arrays (N, H, W, C) with their channels side by side and zeros around: (N, H', W', K · C)."""
    if len(images) == 1 and not any(map(any, border)):
        return images[0]
    (n, h, w, c), ((top, bottom), (left, right)) = images[0].shape, border
    shape = (n, h + top + bottom, w + left + right, len(images) * c)
    canvas = xp.zeros(shape, images[0].dtype)
    for k, x in enumerate(images):
        canvas[:, top : top + h, left : left + w, k * c : (k + 1) * c] = x
    return canvas


def windows(canvas: Array, kernel: Shape, size: Shape, plan: Plan) -> Array:
    """P: every window of the framed images, as a row (N · OH · OW, kh · kw · C)."""
    sn, sh, sw, sc = canvas.strides
    (down, right), (tall, wide) = plan.stride, plan.dilation
    view = xp.lib.stride_tricks.as_strided(
        canvas,
        (len(canvas), *size, *kernel),
        (sn, sh * down, sw * right, sh * tall, sw * wide, sc),
    )
    return view.reshape(len(canvas) * math.prod(size), math.prod(kernel))


def _pieces(n: int, size: Shape, kernel: Shape) -> list[slice]:
    """The images, so many at a time that P stays below WINDOWS."""
    step = max(1, WINDOWS // max(1, math.prod(size) * math.prod(kernel)))
    return [slice(i, i + step) for i in range(0, max(1, n), step)]


# ----- Batch norm and ReLU -----

MEAN = Sum("T x, T guess, T share", "(x - guess) * share", "mean")
VARIANCE = Sum("T x, T center, T share", "(x - center) * (x - center) * share", "variance")
X_HAT = "(x - center) / sqrt(variance + eps)"
G = {False: "g", True: "where(y > 0, g, T(0))"}  # the gradient of what ReLU got
OF_INPUT = {
    False: "weight / sqrt(variance + eps) * ({g} - (g_bias + {x_hat} * g_weight) * share)",
    True: "weight / sqrt(variance + eps) * {g}",  # by fixed statistics
}
MOVE = Formula("T b, T rest, T share", "T a", "a = rest * a + share * b", "move")


@functools.cache
def _normalize(relu: bool) -> Formula:
    text = f"y = {X_HAT} * weight + bias" + "; y = where(y < 0, T(0), y)" * relu
    return Formula("T x, T center, T variance, T weight, T bias, T eps", "T y", text, "normalize")


@functools.cache
def _backward(relu: bool, fixed: bool) -> tuple[Sum, Sum, Formula]:
    """The gradients of bias, weight and x, each in one formula."""
    arrays = "T g, T y, T x, T center, T variance, T eps"
    text = OF_INPUT[fixed].format(g=G[relu], x_hat=X_HAT)
    more = ", T weight, T g_weight, T g_bias, T share"
    return (
        Sum("T g, T y", G[relu], "g_bias"),
        Sum(arrays, f"{G[relu]} * {X_HAT}", "g_weight"),
        Formula(arrays + more, "T gx", f"gx = {text}", "g_norm"),
    )


def statistics(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel, (C,) each.

    What is summed are the distances from some pixel: of large numbers the last digits would go.
    """
    guess = x[(0,) * (x.ndim - 1)] if x.size else 0.0
    center = guess + MEAN(x, guess, _share(x))
    return center, VARIANCE(x, center, _share(x))


def batch_norm(
    x: Array, weight: Array, bias: Array, center: Array, variance: Array, eps: float, relu: bool
) -> tuple[Array, tuple[Array, Array, Array]]:
    """x (…, C), normalized, and rectified with `relu`; and what its gradients want saved."""
    center, variance = (a.astype(x.dtype, copy=False) for a in (center, variance))
    y = _normalize(relu)(x, center, variance, weight, bias, eps)
    return y, (y, center, variance)


def batch_norm_gradients(
    g: Array, y: Array, center: Array, variance: Array, x: Array, weight: Array,
    eps: float, relu: bool, fixed: bool,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The gradients of x, weight and bias."""
    of_bias, of_weight, of_input = _backward(relu, fixed)
    arrays = g, y, x, center, variance, eps
    g_bias, g_weight = of_bias(g, y), of_weight(*arrays)
    return of_input(*arrays, weight, g_weight, g_bias, _share(x)), g_weight, g_bias


def _share(x: Array) -> float:
    """1 / how many pixels there are."""
    return x.shape[-1] / max(1, x.size)


def move(a: Array, b: Array, share: float) -> None:
    """a moves towards b, in place, by a share of the way."""
    MOVE(b.astype(a.dtype, copy=False), 1 - share, share, a)


# ----- Join -----


@functools.cache
def _weighted_sum(branches: int) -> Formula:
    inputs = ", ".join(f"T x{i}, T w{i}" for i in range(branches))
    text = "y = " + " + ".join(f"x{i} * w{i}" for i in range(branches))
    return Formula(inputs, "T y", text, f"join{branches}")


def weighted_sum(xs: Sequence[Array], weights: Sequence[Any]) -> Array:
    """Σ weight · x."""
    return _weighted_sum(len(xs))(*(part for pair in zip(xs, weights) for part in pair))


# ----- Max pooling -----


@functools.cache
def _max_forward(taps: int) -> Formula:
    """The largest; a NaN is larger than all."""
    steps = [f"y = where((x{i} > y) + (x{i} != x{i}) > 0, x{i}, y)" for i in range(1, taps)]
    inputs = ", ".join(f"T x{i}" for i in range(taps))
    return Formula(inputs, "T y", "; ".join(["y = x0", *steps]), f"max_pool{taps}")


@functools.cache
def _max_backward(taps: int) -> Formula:
    """g for the first that is the largest, 0 for the others."""
    steps = []
    for i in range(taps):
        first = " * ".join([f"(x{i} == y)", *(f"(x{before} != y)" for before in range(i))])
        steps.append(f"g{i} = where({first} > 0, g, T(0))")
    inputs = ", ".join(["T g", "T y", *(f"T x{i}" for i in range(taps))])
    outputs = ", ".join(f"T g{i}" for i in range(taps))
    return Formula(inputs, outputs, "; ".join(steps), f"g_max_pool{taps}")


def max_pool2d(x: Array, size: Pair, stride: Pair) -> Array:
    """The largest number of each window: (N, H, W, C) → (N, OH, OW, C)."""
    return _max_forward(math.prod(size))(*(x[tap] for _, _, tap in taps(x.shape, size, stride)))


def max_pool2d_gradient(g: Array, y: Array, x: Array, size: Pair, stride: Pair) -> Array:
    """The gradient of x, where no pixel is in two windows."""
    places = [tap for _, _, tap in taps(x.shape, size, stride)]
    covered = x.size == len(places) * y.size  # every pixel is in one
    gx = xp.empty(x.shape, x.dtype) if covered else xp.zeros(x.shape, x.dtype)
    _max_backward(len(places))(g, y, *(x[tap] for tap in places), *(gx[tap] for tap in places))
    return gx


def pools(size: Pair, stride: Pair, bordered: bool) -> bool:
    """Whether they serve: windows of few pixels, which do not overlap or reach over the border."""
    return math.prod(size) <= 9 and size[0] <= stride[0] and size[1] <= stride[1] and not bordered


# ----- The optimizers' steps -----

SGD = {
    nesterov: Formula(
        "T g, T lr, T momentum, T decay",
        "T w, T v",
        "v = momentum * v + (g + decay * w); w -= lr * "
        + ("((g + decay * w) + momentum * v)" if nesterov else "v"),
        "sgd",
    )
    for nesterov in (False, True)
}
ADAM = Formula(
    # 1 - beta comes from Python: in float32 it would lose most of its digits
    "T g, T lr, T beta1, T rest1, T beta2, T rest2, T eps, T decay, T shrink, T share1, T share2",
    "T w, T m, T v",
    "w = w * shrink; m = beta1 * m + rest1 * (g + decay * w);"
    "v = beta2 * v + rest2 * (g + decay * w) * (g + decay * w);"
    "w -= lr * (m / share1) / (sqrt(v / share2) + eps)",
    "adam",
)


def _sgd(group: dict[str, Any], t: int, w: Array, g: Array, v: Array) -> None:
    SGD[group["nesterov"]](g, group["lr"], group["momentum"], group["weight_decay"], w, v)


def _adam(group: dict[str, Any], t: int, w: Array, g: Array, m: Array, v: Array) -> None:
    _adapt(group, t, w, g, m, v, decay=group["weight_decay"], shrink=1.0)


def _adamw(group: dict[str, Any], t: int, w: Array, g: Array, m: Array, v: Array) -> None:
    shrink = 1 - group["lr"] * group["weight_decay"]
    _adapt(group, t, w, g, m, v, decay=0.0, shrink=shrink)


def _adapt(
    group: dict[str, Any], t: int, w: Array, g: Array, m: Array, v: Array, *,
    decay: float, shrink: float,
) -> None:  # fmt: skip
    beta1, beta2 = group["betas"]
    betas = beta1, 1 - beta1, beta2, 1 - beta2
    shares = 1 - beta1**t, 1 - beta2**t
    ADAM(g, group["lr"], *betas, group["eps"], decay, shrink, *shares, w, m, v)


STEPS: dict[Any, Callable] = {
    optim.SGD.update: _sgd,
    optim.Adam.update: _adam,
    optim.AdamW.update: _adamw,
}


def update_of(optimizer: optim.Optimizer) -> Callable:
    """The update of a parameter as one kernel; the optimizer's own if it is not the library's."""
    adapt = getattr(optimizer, "adapt", None)
    if adapt is not None and getattr(adapt, "__func__", None) is not optim.Adam.adapt:
        return optimizer.update
    return STEPS.get(getattr(optimizer.update, "__func__", None), optimizer.update)
