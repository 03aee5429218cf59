# %% [markdown]
# # Solutions of chapter 9: Why drop whole paths at random?
#
# Run it in the folder of the chapters: `python -m solutions.09_join_and_drop_path`. After each
# solution comes an answer that looks right and is not.

# %%
import itertools

import numpy as np

from exercises.join_and_drop_path import check_keep, check_sum, check_third, check_unbroken


def survival(k, p):
    return 1 - p + p**k / k


# %% [markdown]
# **1. Unbroken.** Let $u_C$ be the probability. The deepest column passes through the last join of
# $f_C$, of $C$ branches, and through all the joins inside the two $f_{C-1}$, except that the last
# join of the second one is merged with the outer one and decides only once. So
# $u_C = s_C \cdot u_{C-1} \cdot (u_{C-1} / s_{C-1})$, with $s_k$ the survival at a join of $k$.


# %%
def unbroken(C, p):
    if C == 1:
        return 1.0
    inside = unbroken(C - 1, p)
    return survival(C, p) * inside * inside / survival(C - 1, p)


assert check_unbroken(unbroken)


def nested(C, p):
    return 1.0 if C == 1 else survival(C, p) * nested(C - 1, p) ** 2  # merged joins decide once


assert not check_unbroken(nested)


def without_rescue(C, p):
    return (1 - p) ** (2 ** (C - 1))  # and forgets that joins of one branch drop nothing


assert not check_unbroken(without_rescue)

# %% [markdown]
# **2. A join that adds.** A branch lives with probability $1 - p$, so its weight must be
# $1 / (1 - p)$ when it does: the factor of dropout.


# %%
def sum_weights(alive, p):
    return [lives / (1 - p) for lives in alive]


assert check_sum(sum_weights)


def unscaled(alive, p):
    return [float(lives) for lives in alive]  # too little on average: 1 - p


assert not check_sum(unscaled)


def by_number(alive, p):
    return [lives * len(alive) / max(sum(alive), 1) for lives in alive]  # k times the mean of the
    # living: right if one always survives, but here the case of none is lost


assert not check_sum(by_number)
assert check_sum(lambda alive, p: np.array(alive) / (1 - p))

# %% [markdown]
# **3. A third.** `expected(4, p)` of the chapter, here once more, falls as $p$ grows. So halve the
# interval from 0 to 1 over and over. (At large $p$ the rescue keeps something at every join, which
# is why two thirds are too little.)


# %%
def cases(k, p):
    for alive in itertools.product((False, True), repeat=k):
        q = np.prod([1 - p if lives else p for lives in alive])
        if any(alive):
            yield alive, q + (p**k / k if sum(alive) == 1 else 0)


def given(alive, p):
    rest = alive[1:]
    return alive[0] + (expected(len(rest), p) + given(rest, p) if any(rest) else 0)


def expected(k, p):
    return sum(q * given(alive, p) for alive, q in cases(k, p))


low, high = 0.0, 1.0
for _ in range(20):
    middle = (low + high) / 2
    low, high = (middle, high) if expected(4, middle) > 5 else (low, middle)
print(f"p = {middle:.3f}")
assert check_third(round(middle, 2))

assert not check_third(0.67)  # would be right if nothing were ever rescued
assert check_third(np.array(middle))

# %% [markdown]
# **4. A `keep` of your own.** The $k$ deepest of `columns` columns have the numbers
# `columns - k` to `columns - 1`. `FractalNet.keep_column` has `==` where this has `<=`.


# %%
def keep_up_to(deepest, columns):
    return lambda k: np.arange(columns - k, columns) <= deepest


assert check_keep(keep_up_to)


def from_the_left(deepest, columns):
    return lambda k: np.arange(k) <= deepest  # position 0 is column `columns - k`, not column 0


assert not check_keep(from_the_left)


def only_the_deepest(deepest, columns):
    return lambda k: np.arange(columns - k, columns) == deepest  # this column alone


assert not check_keep(only_the_deepest)

# A list of booleans, or of zeros and ones, says the same.
assert check_keep(lambda deepest, columns: lambda k: keep_up_to(deepest, columns)(k).tolist())
assert check_keep(lambda deepest, columns: lambda k: 1 * keep_up_to(deepest, columns)(k))
