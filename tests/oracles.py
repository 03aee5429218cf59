"""The larger functions once more, as the definition says and as slowly as it says: plain loops.

They share no code with tinyfractal, and are what `cases.CASES` compares its values with.
"""

import math

import numpy as np


def pair(value):
    """One number for rows and columns, or two."""
    return (value, value) if isinstance(value, int) else tuple(value)


def conv2d(
    x,
    weight,
    bias=None,
    stride=1,
    padding="valid",
    padding_mode="zeros",
    dilation=1,
    groups=1,
    relu=False,
):
    """One output number at a time."""
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    kh, kw, channels, out_channels = weight.shape
    border = []
    for axis, (k, s, d) in enumerate(((kh, sh, dh), (kw, sw, dw))):
        length = x.shape[1 + axis]
        total = (math.ceil(length / s) - 1) * s + (k - 1) * d + 1 - length
        if padding == "same" and total > 0:
            border.append((total // 2, total - total // 2))
        else:
            pixels = 0 if isinstance(padding, str) else pair(padding)[axis]
            border.append((pixels, pixels))
    mode = {"zeros": "constant", "reflect": "reflect"}[padding_mode]
    x = np.pad(x, ((0, 0), *border, (0, 0)), mode=mode) if len(x) else _grown(x, border)
    n, h, w, _ = x.shape
    y = np.zeros((n, (h - (kh - 1) * dh - 1) // sh + 1, (w - (kw - 1) * dw - 1) // sw + 1,
                  out_channels))  # fmt: skip
    for image, i, j, out in np.ndindex(y.shape):
        first = out // (out_channels // groups) * channels
        for u, v, c in np.ndindex(kh, kw, channels):
            pixel = x[image, i * sh + u * dh, j * sw + v * dw, first + c]
            y[image, i, j, out] += pixel * weight[u, v, c, out]
    y = y if bias is None else y + bias
    return np.maximum(y, 0) if relu else y


def conv2d_each(x, *several, count, **settings):
    """One kernel after the other."""
    weights, biases = several[:count], several[count:] or [None] * count
    return np.stack([conv2d(x, w, b, **settings) for w, b in zip(weights, biases)])


def _grown(x, border):
    (top, bottom), (left, right) = border
    return np.zeros((0, x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]))


def _pool(take, fill):
    def pool(x, kernel_size, stride=None, padding=0):
        (kh, kw), (ph, pw) = pair(kernel_size), pair(padding)
        sh, sw = pair(kernel_size if stride is None else stride)
        n, h, w, c = x.shape
        padded = np.full((n, h + 2 * ph, w + 2 * pw, c), fill)
        padded[:, ph : ph + h, pw : pw + w] = x
        y = np.zeros((n, (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1, c))
        for image, i, j, channel in np.ndindex(y.shape):
            window = padded[image, i * sh : i * sh + kh, j * sw : j * sw + kw, channel]
            y[image, i, j, channel] = take(window)
        return y

    return pool


max_pool2d = _pool(np.max, -np.inf)
avg_pool2d = _pool(np.mean, 0.0)


def join(*xs, mask=None):
    """The mean of the living, sample by sample."""
    if mask is None:
        return np.mean(xs, axis=0)
    samples = [
        np.mean([x[n] for x, alive in zip(xs, living) if alive], axis=0)
        for n, living in enumerate(mask)
    ]
    return np.reshape(samples, xs[0].shape)


def batch_norm(
    x,
    weight,
    bias,
    running_mean=None,
    running_var=None,
    training=True,
    momentum=0.1,
    eps=1e-5,
    relu=False,
):
    """Channel by channel."""
    y = np.empty(x.shape)
    for c in range(x.shape[-1]):
        center = x[..., c].mean() if training else running_mean[c]
        variance = x[..., c].var() if training else running_var[c]
        y[..., c] = (x[..., c] - center) / math.sqrt(variance + eps) * weight[c] + bias[c]
    return np.maximum(y, 0) if relu else y


def layer_norm(x, weight, bias, eps=1e-5):
    """Row by row."""
    rows = [
        (row - row.mean()) / math.sqrt(row.var() + eps) * weight + bias
        for row in x.reshape(-1, x.shape[-1])
    ]
    return np.reshape(rows, x.shape)


def reduced(losses, reduction):
    """The mean or the sum of the losses, or all of them."""
    return losses if reduction == "none" else getattr(np, reduction)(losses)


def cross_entropy(
    logits, labels, label_smoothing=0.0, reduction="mean", weight=None, ignore_index=None
):
    """-Σ q log p, with p from the exponentials themselves."""
    losses, count = np.zeros(len(logits)), 0.0
    weight = np.ones(logits.shape[1]) if weight is None else weight
    for n, (row, label) in enumerate(zip(logits, labels)):
        if label == ignore_index:
            continue
        count += weight[label]
        p = np.exp(row) / np.exp(row).sum()
        for k, probability in enumerate(p):
            q = label_smoothing / len(row) + (1 - label_smoothing) * (k == label)
            losses[n] -= weight[k] * q * math.log(probability)
    return losses.sum() / count if reduction == "mean" else reduced(losses, reduction)


def scatter(x, index, shape):
    """Number the places, then count them, weighted with x."""
    places = np.arange(math.prod(shape)).reshape(shape)[index]
    flat = np.bincount(np.ravel(places), np.ravel(x), minlength=math.prod(shape))
    return flat.reshape(shape)


def uniform(place, first, second):
    """One of the numbers of `backend.uniform`, in Python's own integers."""
    x = (place * 0x9E3779B1 + first) % 2**32
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15 ^ second) * 0x846CA68B % 2**32
    return ((x ^ x >> 16) >> 8) / 2**24


def dropout(x, seed, p=0.5, training=True, per_channel=False):
    """Number by number, with the same random numbers."""
    if not training or p == 0:
        return x
    shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]) if per_channel else x.shape
    first, second = (int(key) for key in np.random.default_rng(seed).integers(1 << 32, size=2))
    draws = np.array([uniform(place, first, second) for place in range(math.prod(shape))])
    chance = np.broadcast_to(draws.reshape(shape), x.shape)
    return np.where(chance < p, 0.0, x / (1 - p))
