# %% [markdown]
# # Solutions of chapter 18: What changes on a GPU?
#
# Run it in the folder of the chapters: `python -m solutions.18_gpu`. After each solution comes an
# answer that looks right and is not.

# %%
import math

import numpy as np

import tinyfractal as tf

from exercises.gpu import check_break_even, check_intensity, check_seeded, check_sum

# %% [markdown]
# **1. A careful sum.** `(new - total)` is the part of the number that has arrived. The number minus
# that part is what was lost.


# %%
def careful_sum(numbers):
    total = lost = np.float32(0)
    for number in numbers:
        number = number + lost
        new = total + number
        lost = number - (new - total)
        total = new
    return total


assert check_sum(careful_sum)


def plain(numbers):
    total = np.float32(0)
    for number in numbers:
        total = total + number
    return total


assert not check_sum(plain)


def wrong_way_round(numbers):
    total = lost = np.float32(0)
    for number in numbers:
        number = number + lost
        new = total + number
        lost = (new - total) - number  # what arrived too much: this must be taken away, not added
        total = new
    return total


assert not check_sum(wrong_way_round)


def in_float64(numbers):
    return sum(float(number) for number in numbers)  # exact enough, but not the question


assert not check_sum(in_float64)


def in_float64_inside(numbers):
    return np.float32(math.fsum(numbers))  # the last line hides it


assert not check_sum(in_float64_inside)
assert not check_sum(np.sum)  # by halves: good for most numbers, and it keeps nothing
assert not check_sum(lambda numbers: np.float32("nan"))  # no error of a NaN is too large
assert check_sum(lambda numbers: np.array(careful_sum(numbers)))

# %% [markdown]
# **2. Operations per byte.** Each of the $NHWD$ outputs is a sum of $k^2 C$ products.


# %%
def intensity_of_conv(N, H, W, C, D, k):
    operations = 2 * k * k * C * N * H * W * D
    numbers = N * H * W * C + k * k * C * D + N * H * W * D
    return operations / (4 * numbers)


assert check_intensity(intensity_of_conv)


def without_the_kernel(N, H, W, C, D, k):
    return 2 * k * k * C * N * H * W * D / (4 * N * H * W * (C + D))


assert not check_intensity(without_the_kernel)


def per_number(N, H, W, C, D, k):
    numbers = N * H * W * C + k * k * C * D + N * H * W * D
    return 2 * k * k * C * N * H * W * D / numbers  # a float32 has four bytes


assert not check_intensity(per_number)

# %% [markdown]
# **3. Break even.** If the second is faster for one image, the answer is 1. If not, it can only
# catch up where its line is less steep; then the next whole number after the crossing.


# %%
def break_even(first, second):
    (overhead1, work1), (overhead2, work2) = first, second
    if overhead2 + work2 < overhead1 + work1:
        return 1
    if work2 >= work1:
        return None
    return math.floor((overhead2 - overhead1) / (work1 - work2)) + 1


assert check_break_even(break_even)


def rounded_up(first, second):
    (overhead1, work1), (overhead2, work2) = first, second
    if work2 >= work1:
        return None  # forgets machines that win only at first
    return max(1, math.ceil((overhead2 - overhead1) / (work1 - work2)))  # where equal, not faster


assert not check_break_even(rounded_up)


def as_an_array(first, second):
    found = break_even(first, second)
    return found if found is None else np.array(found, float)


assert check_break_even(as_an_array)

# %% [markdown]
# **4. What follows the seed?** `tf.seed` sets the library's own generator, `tf.backend.rng()`. The
# weights, dropout and drop-path draw from it. `xp.random` is the backend's own, and
# `default_rng()` begins anew each time.

# %%
draws = {
    "rng": lambda: tf.backend.rng().random(3),
    "xp": lambda: tf.backend.xp.random.random(3),
    "numpy": lambda: np.random.default_rng().random(3),
    "weights": lambda: tf.nn.Linear(2, 3).weight.numpy(),
    "dropout": lambda: tf.dropout(tf.Tensor(np.ones(50)), 0.5).numpy(),
    "drop-path": lambda: tf.FractalNet(columns=3, channels=(4,)).drop_path.sample(3, rows=50),
}
assert check_seeded(draws, ["rng", "weights", "dropout", "drop-path"])

# Dropout is drawn at each step, but from the same generator as the weights.
assert not check_seeded(draws, ["rng", "weights", "drop-path"])
assert not check_seeded(draws, list(draws))
