# %% [markdown]
# # Solutions of chapter 4: What does the engine remember?
#
# Run it in the folder of the chapters: `python -m solutions.04_engine`. After each solution comes
# an answer that looks right and is not.

# %%
import numpy as np

import tinyfractal as tf
from tinyfractal.engine.node import Node

from exercises.engine import check_count, check_hvp, check_noticed, check_rule

# %% [markdown]
# **1. A thrifty rule.** $y^3 = x$, so $3 y^2 \, dy = dx$. Written with $y$ the rule needs only the
# output, and $x$ gets an underscore.


# %%
def cube_root_rule(g, y, _x):
    return g / (3 * y * y)


assert check_rule(cube_root_rule)


def of_the_input(g, _y, x):
    return g / (3 * abs(x) ** (2 / 3))  # as good: it keeps the input instead


assert check_rule(of_the_input)


def wasteful(g, y, x):
    return g / (3 * y * y)  # x is kept and never looked at


assert not check_rule(wasteful)


def forgetful(g, _y, x):
    return g / (3 * _y * _y)  # looks at what it said it would not need


assert not check_rule(forgetful)


def once_only(g, y, _x):
    return g / (3 * np.square(y))  # NumPy's functions take no Tensors: no second derivative


assert not check_rule(once_only)

# %% [markdown]
# **2. The Hessian times a vector.** The gradient of $\mathbf g \cdot \mathbf v$, with $\mathbf v$
# held fixed, is $\sum_i v_i \nabla g_i$. Row $i$ of $H$ is $\nabla g_i$, so this is $H^T v$, and
# $H$ is symmetric.


# %%
def hvp(f, x, v):
    x = tf.Tensor(x, requires_grad=True)
    g = tf.grad(f(x), x, create_graph=True)
    return tf.grad((g * v).sum(), x)


assert check_hvp(hvp)


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
# **3. Count.** A set of those already seen, and a list of those still to be visited.


# %%
def count_nodes(tensor):
    seen, waiting = {tensor.node}, [tensor.node]
    while waiting:
        for parent in waiting.pop().parents:
            if isinstance(parent, Node) and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return len(seen)


assert check_count(count_nodes)


def count_ways(tensor):
    count, waiting = 0, [tensor.node]
    while waiting:
        count += 1  # once for each way that leads to the node
        waiting += [parent for parent in waiting.pop().parents if isinstance(parent, Node)]
    return count


assert not check_count(count_ways)


def count_recursively(tensor):
    seen = set()

    def visit(node):
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)  # right, until the chain is longer than Python allows

    visit(tensor.node)
    return len(seen)


assert not check_count(count_recursively)

# %% [markdown]
# **4. Who notices?** Those whose rule for `x` has `x` among the names without an underscore. In
# `x * 2` and `x / 2` the rule for `x` needs only the 2. In `2 / x` it needs the output and `x`.
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
