# %% [markdown]
# # Solutions of chapter 2: Can backprop fit in sixty lines?
#
# Run it in the folder of the chapters: `python -m solutions.02_backprop`. After each solution
# comes an answer that looks right and is not.

# %%
import math

from exercises.backprop import check_order, check_sigmoid, check_twice, check_visits


class Value:
    """The chapter's class, as far as it is needed here."""

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.parents, self.slopes = data, parents, slopes
        self.grad = 0.0


# %% [markdown]
# **1. An operation of your own.** With $y = \sigma(x)$ the derivative is
# $e^{-x} / (1 + e^{-x})^2 = y\,(1 - y)$.


# %%
def sigmoid(v):
    y = 1 / (1 + math.exp(-v.data))
    return Value(y, (v,), (y * (1 - y),))


assert check_sigmoid(sigmoid, Value)


def like_tanh(v):
    y = 1 / (1 + math.exp(-v.data))
    return Value(y, (v,), (1 - y * y,))  # tanh's rule: every function has its own


def of_the_argument(v):
    y = 1 / (1 + math.exp(-v.data))
    return Value(y, (v,), (v.data * (1 - v.data),))  # y and x mixed up


assert not check_sigmoid(like_tanh, Value)
assert not check_sigmoid(of_the_argument, Value)

# %% [markdown]
# **2. How many ways?** One call arrives at the result, two at its parent, four at the parent of
# that: $1 + 2 + 4 + \dots + 2^n = 2^{n+1} - 1$.


# %%
def visits(times):
    return 2 ** (times + 1) - 1


assert check_visits(visits)


def ways_to_the_leaf(times):
    return 2**times  # only the calls that arrive at the leaf


def as_float(times):
    return 2.0 ** (times + 1) - 1  # right while it is small; a float keeps 16 digits


assert not check_visits(ways_to_the_leaf)
assert not check_visits(as_float)


def by_walking(times):
    return 1 if times == 0 else 1 + by_walking(times - 1) + by_walking(times - 1)


assert not check_visits(by_walking)  # right, and for 200 doublings it never ends

# %% [markdown]
# **3. No recursion.** The first loop meets each node once and counts the uses of its parents. The
# second lists whoever has no use left to wait for.


# %%
def my_order(root):
    uses = {root: 0}
    stack = [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in uses:
                uses[parent] = 0
                stack.append(parent)
            uses[parent] += 1
    listed, ready = [], [root]
    while ready:
        node = ready.pop()
        listed.append(node)
        for parent in node.parents:
            uses[parent] -= 1
            if uses[parent] == 0:
                ready.append(parent)
    return listed


assert check_order(my_order)


def as_met(root):
    met, seen = [root], {root}
    for node in met:
        for parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                met.append(parent)
    return met  # every node once, but some before all their users


def by_recursion(root):
    listed, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)
            listed.append(node)

    visit(root)
    return listed[::-1]  # a good order, where the graph is not deep


def each_parent_once(root):
    uses = {root: 0}
    stack = [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in uses:
                uses[parent] = 0
                stack.append(parent)
            uses[parent] += 1
    listed, ready = [], [root]
    while ready:
        node = ready.pop()
        listed.append(node)
        for parent in set(node.parents):  # counted twice, taken off once: a * a never gets to 0
            uses[parent] -= 1
            if uses[parent] == 0:
                ready.append(parent)
    return listed


assert not check_order(as_met)
assert not check_order(by_recursion)
assert not check_order(each_parent_once)


def as_they_come(root):
    yield from my_order(root)


assert check_order(as_they_come)

# %% [markdown]
# **4. Walk twice.** The gradients of this walk are kept in a dictionary that is new each time; only
# the leaves keep something.


# %%
def my_backward(root):
    gradients = {root: 1.0}
    for node in my_order(root):
        g = gradients.pop(node)
        if not node.parents:
            node.grad += g
        for parent, slope in zip(node.parents, node.slopes):
            gradients[parent] = gradients.get(parent, 0.0) + g * slope


assert check_twice(my_backward)


def as_in_the_chapter(root):
    root.grad = 1.0
    for node in my_order(root):
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += node.grad * slope  # nodes on the way have something from last time


def all_reset(root):
    for node in my_order(root):
        node.grad = 0.0  # the leaves too: nothing is added up from walk to walk
    as_in_the_chapter(root)


assert not check_twice(as_in_the_chapter)
assert not check_twice(all_reset)
