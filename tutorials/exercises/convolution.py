"""Checks of chapter 6."""

from collections.abc import Callable

import numpy as np

from . import NotYet, as_array, as_list, as_whole, asked, exercise


@exercise
def check_shift(mover: np.ndarray) -> str:
    """A kernel that moves an image to the right, tried on a random image, pixel by pixel."""
    kernel = as_array(mover, "The kernel")
    if kernel.shape == (3, 3, 1, 1):  # as a layer has it
        kernel = kernel[..., 0, 0]
    if kernel.shape != (3, 3):
        raise NotYet(f"A kernel (3, 3) is asked for, and this has the shape {kernel.shape}.")
    image = np.random.default_rng(0).random((6, 7))
    padded = np.pad(image, 1)
    found = np.array(
        [[(padded[i : i + 3, j : j + 3] * kernel).sum() for j in range(7)] for i in range(6)]
    )
    for name, ways in (("left", (0, -1)), ("down", (1, 0)), ("up", (-1, 0)), ("nowhere", (0, 0))):
        there = np.roll(image, ways, axis=(0, 1))
        if np.allclose(found[1:-1, 1:-1], there[1:-1, 1:-1]):
            raise NotYet(
                f"This moves the image {name}. For an output, where is the pixel it wants?"
            )
    if not np.allclose(found[:, 1:], image[:, :-1]) or not np.allclose(found[:, 0], 0):
        raise NotYet(
            "The outcome is not the image moved. Every output is a copy of one pixel: how many "
            "weights are not zero?"
        )
    return "The kernel moves it the other way than the 1 lies: the flip, once more."


@exercise
def check_same_padding(same_padding: Callable) -> str:
    """Against trying out all numbers of zeros, windows counted one by one."""
    for H in range(1, 13):
        for k in range(1, 6):
            for stride in range(1, 4):
                places = -(-H // stride)
                total = 0
                while len(range(0, H + total - k + 1, stride)) < places:
                    total += 1
                case = f"H = {H}, k = {k}, stride = {stride}"
                pair = as_list(asked(same_padding, H, k, stride), "(before, after)", 2)
                before, after = (as_whole(n, "A number of zeros") for n in pair)
                if min(before, after) < 0:
                    raise NotYet(
                        f"For {case} it gives {(before, after)}: zeros cannot be taken away."
                    )
                if before + after != total:
                    raise NotYet(
                        f"For {case} there are {places} places, which need {total} zeros, not "
                        f"{before + after}. Where does the last window begin, and where end?"
                    )
                if (before, after) != (total // 2, total - total // 2):
                    raise NotYet(f"For {case} you divide {total} zeros into {(before, after)}.")
    return "With stride 2 the padding depends on whether H is even."


@exercise
def check_strided(strided_input_gradient: Callable) -> str:
    """Against central differences of a convolution in loops."""
    rng = np.random.default_rng(0)

    def loss(x: np.ndarray, w: np.ndarray, g: np.ndarray, s: int) -> float:
        total = 0.0
        for n, i, j, o in np.ndindex(*g.shape):
            window = x[n, i * s : i * s + w.shape[0], j * s : j * s + w.shape[1]]
            total += g[n, i, j, o] * (window * w[..., o]).sum()
        return total

    for shape, k, s in (
        ((1, 4, 5, 2), (2, 3), 1),
        ((2, 5, 7, 1), (3, 3), 2),
        ((1, 8, 6, 2), (2, 2), 3),
    ):
        x, w = rng.normal(size=shape), rng.normal(size=(*k, shape[3], 2))
        out = [(shape[1 + a] - k[a]) // s + 1 for a in (0, 1)]
        g = rng.normal(size=(shape[0], *out, 2))
        found = asked(strided_input_gradient, g, w, s, shape)
        found = as_array(found, "The gradient of x", shape)
        for index in np.ndindex(*shape):
            step = np.zeros(shape)
            step[index] = 1e-4
            truth = (loss(x + step, w, g, s) - loss(x - step, w, g, s)) / 2e-4
            if not np.isclose(found[index], truth, atol=1e-6):
                hint = (
                    "Output (i, j) took the window that begins at (i · stride, j · stride)."
                    if s > 1
                    else "This is the case of stride 1, which the chapter has."
                )
                raise NotYet(
                    f"x {shape}, kernel {k}, stride {s}: at {index} it gives {found[index]:.4f}, "
                    f"and nudging that pixel {truth:.4f}. {hint}"
                )
    return "Networks that draw images use just this, forward: a transposed convolution."


@exercise
def check_receptive_field(receptive_field: Callable) -> str:
    """Against following the pixels back, one by one."""
    for layers in (
        [(3, 1)],
        [(3, 1), (3, 1)],
        [(3, 1), (3, 1), (3, 1)],
        [(2, 2), (3, 1)],
        [(3, 1), (2, 2), (3, 1), (2, 2)],
        [(5, 2), (1, 1), (3, 3), (2, 1)],
    ):
        seen = {0}
        for kernel, stride in reversed(layers):
            seen = {i * stride + u for i in seen for u in range(kernel)}
        truth = max(seen) - min(seen) + 1
        found = as_whole(asked(receptive_field, layers), "The receptive field")
        if found != truth:
            raise NotYet(
                f"For {layers} it gives {found}, and following the pixels back gives {truth}. How "
                "far apart in the image are two neighbouring inputs of the layer in question?"
            )
    return "Strides make it grow fast: this is one thing that pooling is for."
