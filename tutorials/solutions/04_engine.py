# %% [markdown]
# # Solutions of chapter 4: What does the engine remember?
#
# Run it in the folder of the chapters: `python -m solutions.04_engine`. After each solution comes
# an answer that looks right and is not.

# %%
import numpy as np

import tinyfractal as tf
from tinyfractal.backend import xp
from tinyfractal.engine.backward import backward_order
from tinyfractal.engine.primitive import primitive

from exercises.engine import check_held, check_leak, check_primitive, check_rule

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
# **2. A primitive of your own.** $y^2 = a^2 + b^2$, so $y \, dy = a \, da + b \, db$. Broadcasting
# is undone in the loop: no rule mentions it.


# %%
@primitive(lambda g, y, a, _b: g * a / y, lambda g, y, _a, b: g * b / y)
def hypotenuse(a, b):
    return xp.sqrt(a * a + b * b)


assert check_primitive(hypotenuse)


def of_small_ones(a, b):
    return tf.sqrt(a * a + b * b)  # the right gradient, in four nodes


assert not check_primitive(of_small_ones)


@primitive(lambda g, y, _a, b: g * b / y, lambda g, y, a, _b: g * a / y)
def swapped(a, b):
    return xp.sqrt(a * a + b * b)  # each argument gets the other's gradient


assert not check_primitive(swapped)


@primitive(lambda g, y, a, _b: g * a / y)
def one_rule(a, b):
    return xp.sqrt(a * a + b * b)  # b is taken for a setting, and settings have no gradient


assert not check_primitive(one_rule)

# %% [markdown]
# **3. The bill.** `id` tells arrays apart, since two of them may hold equal numbers.


# %%
def bytes_kept(tensor):
    arrays = {
        id(array): getattr(array, "nbytes", 0)
        for node in backward_order([tensor.node])
        for array in (*node.inputs, node.output)
    }
    return sum(arrays.values())


assert check_held(bytes_kept)


def each_time(tensor):
    return sum(
        getattr(array, "nbytes", 0)  # what two nodes share is paid once, and here counted twice
        for node in backward_order([tensor.node])
        for array in (*node.inputs, node.output)
    )


assert not check_held(each_time)


def by_equality(tensor):
    arrays = []
    for node in backward_order([tensor.node]):
        for array in node.inputs:  # the outputs are forgotten
            if hasattr(array, "nbytes") and not any(array is other for other in arrays):
                arrays.append(array)
    return sum(array.nbytes for array in arrays)


assert not check_held(by_equality)

# %% [markdown]
# **4. The leak.** A Tensor holds its node, a node its parents, and so on to the leaves. `item()`
# returns a plain number, with nothing behind it.


# %%
def mean_loss(losses):
    total = count = 0
    for loss in losses:
        total, count = total + loss.item(), count + 1
    return total / count


assert check_leak(mean_loss)


def detached(losses):
    numbers = [loss.detach() for loss in losses]  # as good: arrays without their history
    return sum(numbers) / len(numbers)


assert check_leak(detached)


def leaking(losses):
    total = count = 0
    for loss in losses:
        total, count = total + loss, count + 1  # the total has every graph behind it
    return total / count


assert not check_leak(leaking)


def too_late(losses):
    losses = list(losses)  # all graphs are there before the first number is taken out
    return sum(loss.item() for loss in losses) / len(losses)


assert not check_leak(too_late)


def detached_at_the_end(losses):
    total = count = 0
    for loss in losses:
        total, count = total + loss, count + 1
    return (total / count).detach()  # no history in the end, but until then all of it


assert not check_leak(detached_at_the_end)
