# %% [markdown]
# # Solutions of chapter 17: How does convolution get fast?
#
# Run it in the folder of the chapters: `python -m solutions.17_fast_convolution`. After each
# solution comes an answer that looks right and is not.

# %%
from exercises.fast_convolution import check_by_hand, check_lines, check_products

# %% [markdown]
# **1. By hand.** $y_1 = d_1 w_0 + d_2 w_1$. Swapped it is $s = d_2 w_0 + d_1 w_1$. Sum and
# difference of the two are a product each, and $y_0 = (d_0 - d_2) w_0 + s$ and
# $y_2 = (d_3 - d_1) w_1 + s$ take one more each.


# %%
def filter_3_2(d, w):
    plus = (d[1] + d[2]) * ((w[0] + w[1]) / 2)
    minus = (d[2] - d[1]) * ((w[0] - w[1]) / 2)
    s = plus + minus
    return (d[0] - d[2]) * w[0] + s, plus - minus, (d[3] - d[1]) * w[1] + s


assert check_by_hand(filter_3_2)


def plain(d, w):
    return [d[i] * w[0] + d[i + 1] * w[1] for i in range(3)]  # six products


def without_halves(d, w):
    plus = (d[1] + d[2]) * (w[0] + w[1])
    minus = (d[2] - d[1]) * (w[0] - w[1])
    s = plus + minus  # twice what it should be
    return (d[0] - d[2]) * w[0] + s, plus - minus, (d[3] - d[1]) * w[1] + s


def wrong_sign(d, w):
    plus = (d[1] + d[2]) * ((w[0] + w[1]) / 2)
    minus = (d[2] - d[1]) * ((w[0] - w[1]) / 2)
    s = plus + minus
    return (d[0] - d[2]) * w[0] + s, plus - minus, (d[1] - d[3]) * w[1] + s


assert not check_by_hand(plain)
assert not check_by_hand(without_halves)
assert not check_by_hand(wrong_sign)


def one_by_one(d, w):
    yield from filter_3_2(d, w)


assert check_by_hand(one_by_one)

# %% [markdown]
# **2. Count.** A tile has $(m + r - 1)^2$ points, and at each the `C` numbers of the data meet the
# `C` × `D` of the kernel.


# %%
def count_products(H, W, C, D, m, r):
    tiles = -(-H // m) * -(-W // m)
    return tiles * (m + r - 1) ** 2 * C * D


assert check_products(count_products)


def parts_of_tiles(H, W, C, D, m, r):
    return H * W * (m + r - 1) ** 2 * C * D // m**2  # a tile over the edge is computed whole


def without_overlap(H, W, C, D, m, r):
    return -(-H // m) * -(-W // m) * m**2 * C * D  # a tile is larger than its outputs


def number_by_number(H, W, C, D, m, r):
    return -(-H // m) * -(-W // m) * (m + r - 1) ** 2 * C  # each meets D weights


assert not check_products(parts_of_tiles)
assert not check_products(without_overlap)
assert not check_products(number_by_number)

# %% [markdown]
# **3. Fill the cache.** What does not depend on the number of lines is taken off first.


# %%
def lines_that_fit(cache, W, C, D):
    kernel = 4 * 9 * C * D
    line = 4 * W * (9 * C + D)
    return max(1, (cache - kernel) // line)


assert check_lines(lines_that_fit)


def without_the_kernel(cache, W, C, D):
    return max(1, cache // (4 * W * (9 * C + D)))


def numbers_for_bytes(cache, W, C, D):
    return max(1, (cache - 9 * C * D) // (W * (9 * C + D)))


def no_progress(cache, W, C, D):
    return max(0, (cache - 4 * 9 * C * D) // (4 * W * (9 * C + D)))


assert not check_lines(without_the_kernel)
assert not check_lines(numbers_for_bytes)
assert not check_lines(no_progress)
assert not check_lines(lambda *given: float("nan"))
assert check_lines(lambda *given: float(lines_that_fit(*given)))
