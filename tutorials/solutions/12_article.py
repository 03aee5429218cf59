# %% [markdown]
# # Solutions of chapter 12: Is the article right?
#
# Run it in the folder of the chapters: `python -m solutions.12_article`. After each solution
# comes an answer that looks right and is not.

# %%
import itertools
import math

import numpy as np

from exercises.article import (
    check_collapse,
    check_paired_error,
    check_seeds_needed,
    check_sign_flip,
)

# %% [markdown]
# **1. One layer is enough.** Follow the layer that computes the same: at first it does nothing
# ($x I + 0$), and each application multiplies both its parts by $W$ and adds $b$.


# %%
def collapse(W, b, depth):
    weight, bias = np.eye(len(b)), np.zeros(len(b))
    for _ in range(depth):
        weight, bias = weight @ W, bias @ W + b
    return weight, bias


assert check_collapse(collapse)


def bias_only_counted(W, b, depth):
    return np.linalg.matrix_power(W, depth), depth * b  # earlier biases go through W as well


def elementwise(W, b, depth):
    return W**depth, b  # powers of the numbers, not of the matrix


assert not check_collapse(bias_only_counted)
assert not check_collapse(elementwise)

# %% [markdown]
# **2. Paired.** Subtract first. What the two networks have in common is gone then.


# %%
def paired_error(a, b):
    d = np.asarray(a) - np.asarray(b)
    return math.sqrt(((d - d.mean()) ** 2).sum() / (len(d) - 1) / len(d))


assert check_paired_error(paired_error)


def unpaired_error(a, b):
    # right for two independent groups; it counts the luck of the seeds twice instead of not at all
    return math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))


def spread_only(a, b):
    return (a - b).std(ddof=1)  # of a single difference, not of the mean


assert not check_paired_error(unpaired_error)
assert not check_paired_error(spread_only)
assert check_paired_error(lambda a, b: np.array([paired_error(a, b)]))

# %% [markdown]
# **3. How many seeds?** $d > 3 s / \sqrt n$ means $n > (3 s / d)^2$: take the next whole number.


# %%
def seeds_needed(spread, d):
    return max(2, math.floor((3 * spread / d) ** 2) + 1)


assert check_seeds_needed(seeds_needed)


def not_squared(spread, d):
    return max(2, math.ceil(3 * spread / d))  # the error shrinks with √n, not with n


assert not check_seeds_needed(not_squared)


def three_errors_exactly(spread, d):
    return max(2, math.ceil((3 * spread / d) ** 2))  # 4 where 4 seeds give just three errors


assert not check_seeds_needed(three_errors_exactly)

# %% [markdown]
# **4. A test without a bell curve.** `itertools.product` goes through the signs. With five seeds
# there are 32 ways, and the measured one and its mirror image always count: 2/32 is the least.


# %%
def sign_flip(differences):
    measured = abs(np.mean(differences))
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    means = [abs(np.mean(np.multiply(signs, differences))) for signs in flips]
    return sum(mean >= measured - 1e-12 for mean in means) / len(flips)


assert check_sign_flip(sign_flip)


def one_side(differences):
    flips = itertools.product((1, -1), repeat=len(differences))
    means = [np.mean(np.multiply(signs, differences)) for signs in flips]
    return np.mean([mean >= np.mean(differences) for mean in means])  # forgets the other direction


assert not check_sign_flip(one_side)
