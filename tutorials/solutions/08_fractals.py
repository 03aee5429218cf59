# %% [markdown]
# # Solutions of chapter 8: What is fractal about FractalNet?
#
# Run it in the folder of the chapters: `python -m solutions.08_fractals`. After each solution comes
# an answer that looks right and is not.

# %%
import tinyfractal as tf

from exercises.fractals import check_design, check_joins, check_paths, check_thrice

# %% [markdown]
# **1. Through the whole network.** One block has $p_C$ paths, $p_1 = 1$ and $p_{C+1} = p_C^2 + 1$.
# Between two blocks all paths come together, so each way through one can be continued by each way
# through the next: the numbers are multiplied.


# %%
def my_paths(columns, blocks):
    p = 1
    for _ in range(columns - 1):
        p = p**2 + 1
    return p**blocks


assert check_paths(my_paths)


def one_after_the_other(columns, blocks):
    return blocks * my_paths(columns, 1)  # ways in a row multiply, ways side by side add


assert not check_paths(one_after_the_other)


def columns_only(columns, blocks):
    return columns**blocks  # the ways that stay in one column of each block; they may change


assert not check_paths(columns_only)

# %% [markdown]
# **2. How many joins?** $f_{C+1}$ has the joins of the two $f_C$ in it, and where the second ends,
# `conv(z)` joins the join that is there already. For $C \ge 2$ the number doubles, from one in
# $f_2$. Only $f_1 \circ f_1$ has no join at its end, so there one is new.


# %%
def my_joins(C):
    return 0 if C == 1 else 2 ** (C - 2)


assert check_joins(my_joins)


def nested_joins(C):
    return 2 ** (C - 1) - 1  # J = 2 J + 1: a new join each time, as in the mean of means


assert not check_joins(nested_joins)
assert check_joins(lambda C: float(my_joins(C)))  # 4.0 joins are 4

# %% [markdown]
# **3. Another rule.** Two copies are closed by a join, because another copy follows; the third is
# left open. Each middle result is kept under a name: written in one expression with
# `branches_thrice(...)` twice inside, it would be computed again.


# %%
def branches_thrice(C, z, conv, join):
    if C == 1:
        return [conv(z)]
    once = join(branches_thrice(C - 1, z, conv, join))
    twice = join(branches_thrice(C - 1, once, conv, join))
    return [conv(z), *branches_thrice(C - 1, twice, conv, join)]


assert check_thrice(branches_thrice)


def closed(C, z, conv, join):
    if C == 1:
        return [conv(z)]
    after = z
    for _ in range(3):
        after = join(closed(C - 1, after, conv, join))
    return [conv(z), after]  # the last copy is closed: at the end comes a mean of means


assert not check_thrice(closed)


def without_second(C, z, conv, join):
    if C == 1:
        return [conv(z)]
    middle = join(without_second(C - 1, z, conv, join))  # the paper's rule: two copies only
    return [conv(z), *without_second(C - 1, middle, conv, join)]


assert not check_thrice(without_second)
assert check_thrice(lambda *given: tuple(branches_thrice(*given)))

# %% [markdown]
# **4. A design.** Depth is $B \cdot 2^{C-1}$. An image of $8 \times 8$ pixels can be halved three
# times at most, so two blocks need four columns (or one block five, or three blocks four). Then
# choose the channels: `fractal_parameters(4, (8, 12))` is 25,066.

# %%
assert check_design(tf.FractalNet(1, 10, columns=4, channels=(8, 12)))

# Three blocks of three columns are 12 layers deep: a column more doubles, a block more only adds.
assert not check_design(tf.FractalNet(1, 10, columns=3, channels=(4, 8, 8)))
# Deep enough, but twice the channels are about four times the parameters.
assert not check_design(tf.FractalNet(1, 10, columns=4, channels=(16, 24)))
