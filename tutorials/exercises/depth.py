"""Checks of chapter 7."""

from collections.abc import Callable

import numpy as np

from . import NotYet, as_array, as_list, as_number, asked, exercise


@exercise
def check_leaky(leaky_std: Callable) -> str:
    """Send random rows through leaky ReLU layers with these weights and watch their size."""
    rng = np.random.default_rng(0)
    for width, slope in ((100, 0.0), (200, 0.3), (50, 1.0)):
        std = as_number(asked(leaky_std, width, slope), "The deviation")
        if not std > 0:
            raise NotYet(f"For fan_in {width} and slope {slope} it gives {std}.")
        growth = []
        for _ in range(60):  # one layer each, from fresh inputs
            z = rng.normal(size=(100, width))
            x = np.where(z > 0, z, slope * z)
            growth.append(np.var(x @ rng.normal(0, std, (width, width))))
        factor = float(np.mean(growth))
        if not 0.97 < factor < 1.03:
            raise NotYet(
                f"With fan_in {width} and slope {slope} a layer multiplies the variance by "
                f"{factor:.2f}. What is the mean square of the output of a leaky ReLU: one half "
                "of the numbers passes as it is, and what becomes of the other half?"
            )
    return "One layer multiplies the variance by 1, at every width and slope."


@exercise
def check_layer_norm(layer_norm_gradient: Callable) -> str:
    """Against central differences of the definition."""
    rng = np.random.default_rng(1)
    x, weight, g = rng.normal(2, 3, (4, 6)), rng.normal(1, 0.5, 6), rng.normal(size=(4, 6))

    def loss(x: np.ndarray, eps: float) -> float:
        center = x - x.mean(axis=1, keepdims=True)
        x_hat = center / np.sqrt((center**2).mean(axis=1, keepdims=True) + eps)
        return float((g * (weight * x_hat)).sum())

    def judge(found: np.ndarray, place: tuple[int, ...], eps: float) -> None:
        step = np.zeros_like(x)
        step[place] = 1e-5
        truth = (loss(x + step, eps) - loss(x - step, eps)) / 2e-5
        if abs(found[place] - truth) > 1e-6:
            if eps > 1e-5:
                raise NotYet(f"It is right for eps = 1e-5, and not for {eps}: is your eps used?")
            rows = abs(found.mean(axis=1)).max()
            more = (
                f" The mean of your gradient over a row is up to {rows:.2g}; it should be 0, since "
                "adding a constant to a row changes nothing."
                if rows > 1e-9
                else " Over which numbers are the means taken, and is 1 / √(variance + eps) there?"
            )
            raise NotYet(
                f"At x[{place[0]}, {place[1]}] yours is {found[place]:.6g}, and nudging x gives "
                f"{truth:.6g}.{more}"
            )

    for given in ((), (0.5,)):
        answer = asked(layer_norm_gradient, g, x, weight, *given)
        found = as_array(answer, "The gradient of x", x.shape)
        for place in np.ndindex(x.shape):
            judge(found, place, *(given or (1e-5,)))
    return "It agrees with central differences in all 24 numbers."


@exercise
def check_fold(fold: Callable) -> str:
    """Linear layer and batch norm in a row, against the folded layer."""
    rng = np.random.default_rng(2)
    x, W = rng.normal(size=(7, 5)), rng.normal(size=(5, 3))
    weight, bias, mean = rng.normal(1, 0.5, 3), rng.normal(size=3), rng.normal(size=3)
    variance = rng.uniform(0.2, 4, 3)
    for eps in (1e-5, 0.5):
        given = () if eps == 1e-5 else (eps,)
        truth = (x @ W - mean) / np.sqrt(variance + eps) * weight + bias
        pair = as_list(asked(fold, W, weight, bias, mean, variance, *given), "The answer", 2)
        new_weight = as_array(pair[0], "The new weight", W.shape)
        new_bias = as_array(pair[1], "The new bias", (3,))
        gap = x @ new_weight + new_bias - truth
        if not np.allclose(gap, 0, atol=1e-9):
            break
    else:
        return "One layer less to compute, and the same answers."
    if eps == 0.5:
        raise NotYet("It is right for eps = 1e-5, and not for 0.5: is your eps used?")
    if np.allclose(gap, gap[0]):
        raise NotYet(
            "All rows are off by the same numbers: the weight is right, the bias is not. What does "
            "an input of zeros come out as?"
        )
    raise NotYet("It depends on x in another way: what is each column of W multiplied by?")


@exercise
def check_branch(branch_scale: Callable) -> str:
    """The mean square after many residual layers with this scale."""
    rng = np.random.default_rng(3)
    width = 64
    for depth in (10, 100, 1000):
        scale = as_number(asked(branch_scale, depth), "The scale")
        x = rng.normal(size=(8, width))
        before = (x**2).mean()
        for _ in range(depth):
            branch = np.maximum(x @ rng.normal(0, np.sqrt(2 / width), (width, width)), 0)
            x = x + scale * branch * rng.choice([-1, 1], width)  # a sign: independent of x
            if not np.isfinite(x).all():
                break
        growth = (x**2).mean() / before
        if not 1.7 < growth < 5:
            raise NotYet(
                f"At depth {depth} the mean square is multiplied by {growth:.3g}. One layer "
                "multiplies it by 1 + scale²; how large may scale² be for so many factors to stay "
                "moderate? (Recall how (1 + 1/n)ⁿ behaves.)"
            )
    return "The deeper the net, the less each layer may add."
