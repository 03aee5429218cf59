# %% [markdown]
# # Solutions of chapter 5: How does a network learn?
#
# Run it in the folder of the chapters: `python -m solutions.05_learning`. After each solution
# comes an answer that looks right and is not.

# %%
import numpy as np

from exercises.learning import check_logsumexp, check_nesterov, check_rate, check_smoothed

# %% [markdown]
# **1. Log-sum-exp.** Take the largest number of each row out, and add it again outside the
# logarithm: $\log \sum_j e^{z_j} = m + \log \sum_j e^{z_j - m}$.


# %%
def logsumexp(z):
    m = z.max(axis=1, keepdims=True)
    return m[:, 0] + np.log(np.exp(z - m).sum(axis=1))


assert check_logsumexp(logsumexp)


def overflows(z):
    return np.log(np.exp(z).sum(axis=1))


def one_shift_for_all(z):
    m = z.max()  # a row far below the largest of all becomes log 0
    return m + np.log(np.exp(z - m).sum(axis=1))


def forgets_to_add_it_again(z):
    m = z.max(axis=1, keepdims=True)
    return np.log(np.exp(z - m).sum(axis=1))


assert not check_logsumexp(overflows)
assert not check_logsumexp(one_shift_for_all)
assert not check_logsumexp(forgets_to_add_it_again)


def in_place(z):
    m = z.max(axis=1)
    z -= m[:, None]  # whoever gave z still needs it
    return m + np.log(np.exp(z).sum(axis=1))


assert not check_logsumexp(in_place)
assert check_logsumexp(lambda z: (row for row in logsumexp(z)))

# %% [markdown]
# **2. Not quite sure.** $-\sum_k q_k \log p_k = \log \sum_j e^{z_j} - \sum_k q_k z_k$, since the
# $q_k$ add up to 1. The first term has the derivative $p_k$, the second $-q_k$: it is $p - q$.


# %%
def smoothed_gradient(z, y, s):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    q = np.full(z.shape, s / z.shape[1])
    q[np.arange(len(y)), y] += 1 - s
    return (p - q) / len(y)


assert check_smoothed(smoothed_gradient)


def of_the_sum(z, y, s):
    return smoothed_gradient(z, y, s) * len(y)  # the loss is the mean


def not_adding_up_to_one(z, y, s):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    q = np.full(z.shape, s / z.shape[1])
    q[np.arange(len(y)), y] = 1 - s  # the right class has its share of s as well
    return (e / e.sum(axis=1, keepdims=True) - q) / len(y)


assert not check_smoothed(of_the_sum)
assert not check_smoothed(not_adding_up_to_one)

# %% [markdown]
# **3. How fast is too fast?** The second derivatives are $\begin{pmatrix} 6 & 2 \\ 2 & 16
# \end{pmatrix}$, the largest eigenvalue is about 16.4, and the limit is $2 / \lambda$.

# %%
steepest = np.linalg.eigvalsh([[6.0, 2.0], [2.0, 16.0]]).max()
assert check_rate(2 / steepest)

assert not check_rate(2 / 8)  # takes 8 b² for ½ λ b² with λ = 8
assert not check_rate(2 / 16)  # the steepest direction is not quite b's: 2ab turns it
assert not check_rate(
    1 / steepest
)  # there a step goes right to the bottom; the limit is twice that

assert check_rate(np.array([2 / steepest]))

# %% [markdown]
# **4. Look ahead.** The look ahead uses the old $v$.


# %%
def nesterov(gradient, start, lr, beta, steps):
    w, v = start, np.zeros_like(start)
    for _ in range(steps):
        ahead = w - lr * beta * v
        v = beta * v + gradient(ahead)
        w = w - lr * v
    return w


assert check_nesterov(nesterov)


def without_looking(gradient, start, lr, beta, steps):
    w, v = start, np.zeros_like(start)
    for _ in range(steps):
        v = beta * v + gradient(w)  # this is ordinary momentum
        w = w - lr * v
    return w


def looks_too_far(gradient, start, lr, beta, steps):
    w, v = start, np.zeros_like(start)
    for _ in range(steps):
        v = beta * v + gradient(w - lr * v)  # what fades has not faded yet: beta is missing
        w = w - lr * v
    return w


assert not check_nesterov(without_looking)
assert not check_nesterov(looks_too_far)
