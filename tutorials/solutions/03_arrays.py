# %% [markdown]
# # Solutions of chapter 3: How do gradients pass through arrays?
#
# Run it in the folder of the chapters: `python -m solutions.03_arrays`. After each solution comes
# an answer that looks right and is not.

# %%
import numpy as np

from exercises.arrays import check_cumsum, check_normalise, check_suspect, check_weight

# %% [markdown]
# **1. Running sums.** `x[:, j]` counts in every output from `j` on, so its gradient is the sum of
# `g` from `j` to the end: a running sum from the right.


# %%
def cumsum_rule(g, y, x):
    return np.cumsum(g[:, ::-1], axis=1)[:, ::-1]


assert check_cumsum(cumsum_rule)


def from_the_left(g, y, x):
    return np.cumsum(g, axis=1)  # J, not its transpose


def everything(g, y, x):
    return np.broadcast_to(g.sum(axis=1, keepdims=True), x.shape)  # as if all counted everywhere


assert not check_cumsum(from_the_left)
assert not check_cumsum(everything)


def in_place(g, y, x):
    flipped = g[:, ::-1]
    np.cumsum(flipped, axis=1, out=flipped)  # a view: this overwrites g, which others still need
    return g


assert not check_cumsum(in_place)
assert check_cumsum(lambda g, y, x: cumsum_rule(g, y, x).tolist())  # a list of lists will do

# %% [markdown]
# **2. From shapes.** Name the steps: `u = x @ W` `(N, j)`, `v = u * z` `(N, j)`,
# `y = v.sum(axis=1)`. Back: `g` is spread to `(N, j)`, times `z` is the gradient of `u`, and the
# matrix product's rule makes `(i, j)` of it.


# %%
def weight_rule(g, y, x, W, z):
    g_u = g[:, None] * z
    return x.T @ g_u


assert check_weight(weight_rule)


def other_way_round(g, y, x, W, z):
    return (g[:, None] * z).T @ x  # (j, i): the shape of W transposed


def without_g(g, y, x, W, z):
    return x.T @ z  # right only where g is 1


assert not check_weight(other_way_round)
assert not check_weight(without_g)

# %% [markdown]
# **3. Used twice.** With $y = x / s$ the first way gives $g / s$. The second goes through $s$,
# which was stretched along the row: its gradient is the sum of $-g\,y / s$ over the row. The sum
# $s$ hands it to every $x$ of the row.


# %%
def normalise_rule(g, y, x):
    s = x.sum(axis=1, keepdims=True)
    g_s = (-g * y / s).sum(axis=1, keepdims=True)
    return g / s + g_s


assert check_normalise(normalise_rule)


def one_way_only(g, y, x):
    return g / x.sum(axis=1, keepdims=True)  # as if the sum did not depend on x


def not_summed(g, y, x):
    s = x.sum(axis=1, keepdims=True)
    return g / s - g * y / s  # s was stretched, and that is not undone


assert not check_normalise(one_way_only)
assert not check_normalise(not_summed)

# %% [markdown]
# **4. The suspect.** `np.repeat` makes `a a b b c c`, and the two copies are neighbours. `np.tile`
# makes `a b c a b c`, where they are six places apart for six numbers:
# `g.reshape(2, -1).sum(axis=0)`.

# %%
assert check_suspect("tile")
assert not check_suspect("repeat")
