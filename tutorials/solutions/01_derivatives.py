# %% [markdown]
# # Solutions of chapter 1: What is a derivative to a computer?
#
# Run it in the folder of the chapters: `python -m solutions.01_derivatives`. After each solution
# comes an answer that looks right and is not.

# %%
from exercises.derivatives import check_chain, check_second, check_step, check_suspect

# %% [markdown]
# **1. The best step.** Where both parts of the error are equal: about $\sqrt[3]{\varepsilon}$.

# %%
assert check_step(1e-5)

# "The smaller the better" forgets rounding; √ε is the best step of the *forward* difference.
assert not check_step(1e-12)
assert not check_step(1e-8)
assert not check_step(float("inf"))  # every comparison with what comes of it is False
assert check_step([1e-5])  # a list with one number in it will do

# %% [markdown]
# **2. Twice.** The slope right of $x$ minus the slope left of $x$, divided by the way between their
# middles, which is $h$.


# %%
def second_difference(f, x, h):
    right = (f(x + h) - f(x)) / h
    left = (f(x) - f(x - h)) / h
    return (right - left) / h


assert check_second(second_difference)


def too_wide(f, x, h):
    return (f(x + h) - 2 * f(x) + f(x - h)) / (2 * h) ** 2  # the way between the middles is h


assert not check_second(too_wide)


def for_one_step_only(f, x, h):
    return (f(x + h) - 2 * f(x) + f(x - h)) / 1e-6  # h², as long as h is 0.001


assert not check_second(for_one_step_only)

# %% [markdown]
# **3. Your own chain.** Name the steps: $u = ab + c$, $v = u^2$, $y = v a$. Then walk back.


# %%
def my_gradient(a, b, c):
    u = a * b + c
    v = u**2
    d_v = a
    d_u = d_v * 2 * u
    d_a = v + d_u * b  # by both ways: y = v a, and u = ab + c
    return d_a, d_u * a, d_u


assert check_chain(my_gradient)


def one_way_only(a, b, c):
    u = a * b + c
    return 2 * u * b * a, 2 * u * a * a, 2 * u * a  # forgets that y is also a times something


assert not check_chain(one_way_only)


def by_nudging(a, b, c):
    def y(a, b, c):
        return (a * b + c) ** 2 * a

    h = 1e-5
    yield (y(a + h, b, c) - y(a - h, b, c)) / (2 * h)  # close, but the chain rule is exact
    yield (y(a, b + h, c) - y(a, b - h, c)) / (2 * h)
    yield (y(a, b, c + h) - y(a, b, c - h)) / (2 * h)


assert not check_chain(by_nudging)


def one_by_one(a, b, c):  # three numbers, in whatever form
    yield from my_gradient(a, b, c)


assert check_chain(one_by_one)

# %% [markdown]
# **4. The suspect.** Compare each with `central_difference(f, 0.7, 1e-5)`: the logistic function's
# derivative is $e^{-x} / (1 + e^{-x})^2$.

# %%
assert check_suspect("logistic")
assert not check_suspect("tan")
