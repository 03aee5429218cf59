# %% [markdown]
# # Solutions of chapter 16: What can a derivative of a derivative do?
#
# Run it in the folder of the chapters: `python -m solutions.16_second_derivatives`. After each
# solution comes an answer that looks right and is not.

# %%
import tinyfractal as tf

from exercises.second_derivatives import check_hvp, check_length, check_noticed, check_penalty

# %% [markdown]
# **1. The Hessian times a vector.** The gradient of $\mathbf g \cdot \mathbf v$, with $\mathbf v$
# held fixed, is $\sum_i v_i \nabla g_i$. Row $i$ of $H$ is $\nabla g_i$, so this is $H^T v$, and
# $H$ is symmetric.


# %%
def hvp(f, x, v):
    x = tf.Tensor(x, requires_grad=True)
    g = tf.grad(f(x), x, create_graph=True)
    return tf.grad((g * v).sum(), x)


assert check_hvp(hvp)


def with_a_seed(f, x, v):
    x = tf.Tensor(x, requires_grad=True)
    g = tf.grad(f(x), x, create_graph=True)
    return tf.grad(g, x, v).numpy()  # as good: v is the gradient that the walk begins with


assert check_hvp(with_a_seed)


def summed_too_early(f, x, v):
    x = tf.Tensor(x, requires_grad=True)
    g = tf.grad(f(x), x, create_graph=True)
    return tf.grad(g.sum(), x) * v  # the rows of H summed, and then v


assert not check_hvp(summed_too_early)


def without_history(f, x, v):
    x = tf.Tensor(x, requires_grad=True)
    g = tf.grad(f(x), x)  # an array with no history: nothing to differentiate
    return tf.grad((g * v).sum(), x)


assert not check_hvp(without_history)

# %% [markdown]
# **2. A penalty that works.** Each output depends on its own $x$ alone, so the gradient of their
# sum is all slopes at once. Without `create_graph=True` the slope is a constant to `backward`: the
# value is right, training runs, and the penalty does nothing.


# %%
def penalised(net, x, target, strength):
    x = tf.Tensor(x, requires_grad=True)
    y = net(x)
    slope = tf.grad(y.sum(), x, create_graph=True)
    return tf.mse_loss(y, tf.Tensor(target)) + strength * (slope**2).mean()


assert check_penalty(penalised)


def powerless(net, x, target, strength):
    x = tf.Tensor(x, requires_grad=True)
    y = net(x)
    slope = tf.grad(y.sum(), x, retain_graph=True)  # the right numbers, without a history
    return tf.mse_loss(y, tf.Tensor(target)) + strength * (slope**2).mean()


assert not check_penalty(powerless)


def of_the_mean(net, x, target, strength):
    x = tf.Tensor(x, requires_grad=True)
    y = net(x)
    slope = tf.grad(y.mean(), x, create_graph=True)  # each slope divided by their number
    return tf.mse_loss(y, tf.Tensor(target)) + strength * (slope**2).mean()


assert not check_penalty(of_the_mean)

# %% [markdown]
# **3. Which are refused?** Those whose rule for `x` has `x` among the names without an underscore.
# In `x * 2` and `x / 2` the rule for `x` needs only the 2. In `2 / x` it needs the output and `x`.
# `sqrt` and `relu` look at their output.

# %%
changes = {
    "x * 2": lambda x: x * 2,
    "x * x": lambda x: x * x,
    "x / 2": lambda x: x / 2,
    "2 / x": lambda x: 2 / x,
    "x ** 3": lambda x: x**3,
    "sqrt": tf.sqrt,
    "softplus": tf.softplus,
    "relu": tf.relu,
}
assert check_noticed(changes, ["x * x", "2 / x", "x ** 3", "softplus"])

# relu's gradient could be written with its input; here it is written with its output.
assert not check_noticed(changes, ["x * x", "2 / x", "x ** 3", "softplus", "relu"])
assert not check_noticed(changes, list(changes))

# %% [markdown]
# **4. A safe length.** The square root must never meet a 0, not even where its value is thrown
# away. So choose twice: first a harmless number for the root, then 0 for the value.


# %%
def safe_length(v):
    s = (v * v).sum()
    positive = s > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, s, 1.0)), 0.0)


assert check_length(safe_length)


def with_a_floor(v):
    return tf.sqrt(tf.maximum((v * v).sum(), 1e-30))  # as good, to the digits that are asked for


assert check_length(with_a_floor)


def chosen_once(v):
    s = (v * v).sum()
    return tf.where(s > 0, tf.sqrt(s), 0.0)  # backward multiplies 0 by infinity all the same


assert not check_length(chosen_once)


def shifted(v):
    return tf.sqrt((v * v).sum() + 1e-8)  # finite, but the length of 0 is 0.0001


assert not check_length(shifted)
