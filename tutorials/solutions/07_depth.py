# %% [markdown]
# # Solutions of chapter 7: Why is depth hard?
#
# Run it in the folder of the chapters: `python -m solutions.07_depth`. After each solution comes
# an answer that looks right and is not.

# %%
import numpy as np

from exercises.depth import check_branch, check_fold, check_layer_norm, check_leaky

# %% [markdown]
# **1. A leaky ReLU.** The positive half of $z$ passes as it is, the negative half with its square
# multiplied by $a^2$. So $\mathbb{E}[x^2] = \tfrac12 (1 + a^2) \operatorname{Var}[z]$, and
# $n s^2 (1 + a^2) / 2 = 1$. With $a = 0$ this is He's rule, with $a = 1$ it is $s^2 = 1/n$. (He et
# al. 2015 have it too, section 2.2.)


# %%
def leaky_std(fan_in, slope):
    return np.sqrt(2 / ((1 + slope**2) * fan_in))


assert check_leaky(leaky_std)
assert not check_leaky(lambda fan_in, slope: np.sqrt(2 / fan_in))  # forgets the negative half
# The slope multiplies numbers, so its square multiplies variances.
assert not check_leaky(lambda fan_in, slope: np.sqrt(2 / ((1 + slope) * fan_in)))

# %% [markdown]
# **2. Layer norm.** The same three ways as in batch norm, along the other axis. The weight differs
# from number to number of a row, so it belongs inside the means: first walk back through
# `weight * x_hat`, then normalize as before.


# %%
def layer_norm_gradient(g, x, weight, eps=1e-5):
    center = x - x.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt((center**2).mean(axis=1, keepdims=True) + eps)
    x_hat = center * inverse
    d_x_hat = g * weight
    mean = d_x_hat.mean(axis=1, keepdims=True)
    along = (d_x_hat * x_hat).mean(axis=1, keepdims=True)
    return inverse * (d_x_hat - mean - x_hat * along)


assert check_layer_norm(layer_norm_gradient)


def weight_outside(g, x, weight, eps=1e-5):
    # right for batch norm, where all numbers of a mean share one weight
    return layer_norm_gradient(g, x, np.ones_like(weight), eps) * weight


def as_if_constant(g, x, weight, eps=1e-5):
    # treats mean and variance as if they did not depend on x
    return g * weight / np.sqrt(x.var(axis=1, keepdims=True) + eps)


assert not check_layer_norm(weight_outside)
assert not check_layer_norm(as_if_constant)
# No comparison with a NaN is true, and so none shows a difference.
assert not check_layer_norm(lambda g, x, weight, eps=1e-5: x * np.nan)
# Takes eps, and does not use it.
assert not check_layer_norm(lambda g, x, weight, eps=1e-5: layer_norm_gradient(g, x, weight))

# %% [markdown]
# **3. Batch norm for nothing.** With $s = \gamma / \sqrt{v + \varepsilon}$, one number for each
# output: $(xW - \mu) s + \beta = x (W s) + (\beta - \mu s)$. `W * s` scales the columns of $W$. Of
# the kernel of a convolution (kh, kw, C_in, C_out) it scales the last axis; the rest is the same.


# %%
def fold(W, weight, bias, running_mean, running_var, eps=1e-5):
    scale = weight / np.sqrt(running_var + eps)
    return W * scale, bias - running_mean * scale


assert check_fold(fold)


def mean_left_out(W, weight, bias, running_mean, running_var, eps=1e-5):
    return W * weight / np.sqrt(running_var + eps), bias


def variance_for_deviation(W, weight, bias, running_mean, running_var, eps=1e-5):
    scale = weight / (running_var + eps)  # without the root
    return W * scale, bias - running_mean * scale


assert not check_fold(mean_left_out)
assert not check_fold(variance_for_deviation)


def in_place(W, weight, bias, running_mean, running_var, eps=1e-5):
    W *= weight / np.sqrt(running_var + eps)  # the network's own weights are gone
    return W, bias - running_mean * weight / np.sqrt(running_var + eps)


assert not check_fold(in_place)
assert check_fold(lambda *given: list(fold(*given)))

# %% [markdown]
# **4. Skips without batch norm.** A layer multiplies the mean square by $1 + \text{scale}^2$. With
# $\text{scale}^2 = 1/\text{depth}$ the product is $(1 + 1/n)^n$, which tends to $e \approx 2.7$.


# %%
def branch_scale(depth):
    return 1 / np.sqrt(depth)


assert check_branch(branch_scale)
assert not check_branch(lambda depth: 1 / np.log(depth))  # shrinks, but too slowly for a power
assert not check_branch(lambda depth: 1 / depth)  # too careful: the layers add next to nothing
