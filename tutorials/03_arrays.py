# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. How do gradients pass through arrays?
#
# *45 minutes. Afterwards you can read `sum_to` in
# [`engine/backward.py`](../tinyfractal/engine/backward.py), and
# [`ops/elementwise.py`](../tinyfractal/ops/elementwise.py),
# [`ops/reduce.py`](../tinyfractal/ops/reduce.py), [`ops/shape.py`](../tinyfractal/ops/shape.py),
# [`ops/matmul.py`](../tinyfractal/ops/matmul.py).*
#
# The autograd of chapter 2 keeps a Python object for every single number. A network has millions
# of numbers, and NumPy computes with whole arrays at once. So the nodes of the graph should be
# arrays. Then a slope is no longer one number: each number of the output may depend on each number
# of the input. In this chapter you see what takes the place of the slope, find the rule for each of
# the operations that a network needs, and check every rule against finite differences. At the end
# the engine of chapter 2 becomes an engine for arrays, by changing a few lines.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.draw.sheet import ACCENT, BLUE

from exercises.arrays import check_cumsum, check_normalise, check_suspect, check_weight
from figures import use_style

use_style()
rng = np.random.default_rng(0)

# %% [markdown]
# Here is a layer on a batch of three rows, as a graph of arrays. Step backward and look at `bias`:
# it has two numbers, and the gradient that arrives has three rows. Where do the rows go? And why
# does `W` get a gradient of its own shape, although no single number of it appears in the graph?

# %%
rows = tf.Tensor(np.array([[1, 2, 0], [0, 1, -1], [2, 0, 1]], np.float32))
W = tf.Tensor(np.array([[0.5, -1], [1, 0.3], [-0.4, 0.8]], np.float32), requires_grad=True)
bias = tf.Tensor([0.1, -0.2], requires_grad=True)
tf.explore(lambda: tf.mean(tf.tanh(rows @ W + bias) ** 2), title="A layer on three rows")

# %% [markdown]
# ## All slopes at once: the Jacobian
#
# Take a function from three numbers to two, a small layer of a network: `x` has shape `(3,)`, the
# weights `W` have `(3, 2)`, the output `y` has `(2,)`.

# %%
W = rng.normal(size=(3, 2))
x = rng.normal(size=3)


def layer(x):
    return np.tanh(x @ W)


print(layer(x))

# %% [markdown]
# There are $2 \cdot 3 = 6$ slopes, one for each pair of an output and an input. Written as a matrix
# with a row for each output and a column for each input they are called the **Jacobian**:
#
# $$J_{ij} = \frac{\partial y_i}{\partial x_j}$$
#
# We can measure it. Nudge one number of the input, and see all the outputs move: that is one
# column. Arrays with more axes we lay out as one long row of numbers, here and in what follows.


# %%
def jacobian(f, x, h=1e-6):
    """All slopes of f at x by central differences: (numbers in y, numbers in x)."""
    columns = []
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        columns.append(((f(up) - f(down)) / (2 * h)).ravel())
    return np.stack(columns, axis=1)


J = jacobian(layer, x)
print(J.shape)
print(J.round(3))

# %% [markdown]
# ## The chain rule for arrays
#
# Learning needs one number to make smaller, the loss $L$. Say $L = y_1^2 + y_2^2$. Walking back
# from $L$ we arrive at `y` with a gradient `g`, of the shape of `y`: how fast $L$ changes with each
# of its numbers. Here $g = 2y$. What is the gradient of `x`?
#
# A nudge of $x_j$ moves every $y_i$ by $J_{ij}$ times as much, and each $y_i$ moves $L$ by $g_i$
# times as much. There are several ways from $x_j$ to $L$, one through each $y_i$, and where ways
# meet, gradients add (chapter 2):
#
# $$\frac{\partial L}{\partial x_j} = \sum_i g_i J_{ij} \qquad \text{in code: } \texttt{g @ J}$$

# %%
y = layer(x)
g = 2 * y
print("g @ J:   ", g @ J)
print("nudging: ", jacobian(lambda x: np.sum(layer(x) ** 2), x)[0])
assert np.allclose(g @ J, jacobian(lambda x: np.sum(layer(x) ** 2), x)[0])

# %% [markdown]
# `g @ J` is a **vector-Jacobian product**, VJP for short. It takes the place of
# `gradient * slope`. A vector comes in, of the output's shape, and a vector goes out, of the
# input's shape.
#
# ## Predict, then run
#
# What do Jacobians look like? Below are those of eight functions of an array `x` of shape `(3, 4)`,
# so each picture has 12 columns. White is 0, and the bluer the larger. Before you run it, try to
# say for three of them where the coloured squares will be: the **exponential** of each number, the
# **sum** of all numbers, and the **transpose**.

# %%
x = rng.uniform(-1.0, 0.2, size=(3, 4))
W = rng.uniform(0.2, 1.0, size=(4, 2))
gallery = {
    "exp(x)": np.exp,
    "x.sum()": np.sum,
    "x.T": np.transpose,
    "x.reshape(-1)": np.ravel,
    "x.sum(axis=0)": lambda x: x.sum(axis=0),
    "x[[0, 2, 2]]": lambda x: x[[0, 2, 2]],
    "x.max(axis=1)": lambda x: x.max(axis=1),
    "x @ W": lambda x: x @ W,
}

# %% jupyter={"outputs_hidden": true} tags=["thumbnail"]
_, panels = plt.subplots(2, 4, figsize=(7.6, 3.9), sharex=True)
for axes, (name, f) in zip(panels.flat, gallery.items()):
    J = jacobian(f, x)
    axes.imshow(J, cmap="Blues", vmin=0, vmax=1.2)
    axes.set_title(name)
    axes.set(xticks=[], yticks=[], anchor="N")
    axes.spines[["top", "right"]].set_visible(True)
for axes in panels[1]:
    axes.set_xlabel("numbers of x")
for axes in panels[:, 0]:
    axes.set_ylabel("numbers of y")
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Most of it is white. What looks at each number by itself has a diagonal. What only moves or picks
# numbers has a single 1 in each row. A sum has ones where a number is counted. What there is to
# know is *where* the entries are and how large, and one can say that without writing down the
# zeros.
#
# </details>
#
# ## Nobody builds it
#
# An ordinary array inside an image network: 64 images of 32 × 32 places with 16 numbers each. The
# Jacobian of its tanh:

# %%
numbers = 64 * 32 * 32 * 16
share = numbers / numbers**2
print(f"numbers in the array:     {numbers:>20,}")
print(f"numbers in the Jacobian:  {numbers**2:>20,}")
print(f"as float32: {4 * numbers**2 / 1e12:.1f} terabytes, all but one in {1 / share:,.0f} are 0")
assert 4 * numbers**2 > 4e12 and 1 / share > 1e6

# %% [markdown]
# But we never wanted $J$. We want `g @ J`, and for a diagonal $J$ that is `g` times the diagonal,
# number by number. So each operation gets a **gradient rule**: a function that takes `g` and gives
# `g @ J` directly, with no $J$ anywhere. We write rules as `rule(g, y, x)`, where `y` is the
# output, which often helps.


# %%
def tanh_rule(g, y, x):
    return g * (1 - y * y)


y = np.tanh(x)
g = rng.uniform(0.5, 1.5, y.shape)
by_jacobian = (g.ravel() @ jacobian(np.tanh, x)).reshape(x.shape)
print("largest difference:", abs(tanh_rule(g, y, x) - by_jacobian).max())
assert np.allclose(tanh_rule(g, y, x), by_jacobian)

# %% [markdown]
# ## A judge for rules
#
# From here on we will write many rules, so we want a judge as in chapter 2. Which `g` should it
# use? Any will do, but it must be something. We take random numbers. Then $\sum g \cdot f(x)$ is
# one number, its gradient is `g @ J`, and central differences of it need no Jacobian.


# %%
def numeric(f, xs, n, g):
    """The gradient of sum(g * f(*xs)) with respect to xs[n], by central differences."""

    def total(x):
        return np.sum(g * f(*xs[:n], x, *xs[n + 1 :]))

    return jacobian(total, xs[n]).reshape(xs[n].shape)


def judge(name, f, rules, *xs, g=None):
    """Compare a rule for each argument of f with central differences; True if all are right."""
    y = f(*xs)
    g = np.random.default_rng(1).uniform(0.5, 1.5, np.shape(y)) if g is None else g
    verdicts = []
    for n, rule in enumerate(rules):
        found, truth = rule(g, y, *xs), numeric(f, xs, n, g)
        if found.shape != truth.shape:
            verdict = f"WRONG: shape {found.shape} for an argument of shape {truth.shape}"
        else:
            error = abs(found - truth).max()
            verdict = f"ok ({error:.0e})" if error < 1e-6 else f"WRONG by up to {error:.2g}"
        print(f"{name}, argument {n}: {verdict}")
        verdicts.append(verdict.startswith("ok"))
    return all(verdicts)


# %%
a, b = rng.uniform(0.5, 2.0, (3, 4)), rng.uniform(0.5, 2.0, (3, 4))

assert judge("tanh", np.tanh, [tanh_rule], a)
assert judge("exp", np.exp, [lambda g, y, x: g * y], a)
assert judge("log", np.log, [lambda g, y, x: g / x], a)
assert judge("mul", np.multiply, [lambda g, y, a, b: g * b, lambda g, y, a, b: g * a], a, b)
assert judge("div", np.divide, [lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b], a, b)

# %% [markdown]
# These are the **elementwise** operations: each output number depends on the input numbers at the
# same place. Their rules are the derivatives from school, with a `g *` in front.
#
# ## Sums spread, moves move back
#
# In `y = x.sum(axis=0)`, from `(3, 4)` to `(4,)`, every number of a column counts once in that
# column's sum. So all three get the gradient of the sum: the rule **spreads** `g` over the summed
# axis.


# %%
def spread0(g, y, x):
    return np.broadcast_to(g, x.shape)  # (4,) -> (3, 4)


def spread1(g, y, x):
    return np.broadcast_to(g[:, None], x.shape)  # (3,) -> (3, 4)


assert judge("sum over axis 0", lambda x: x.sum(axis=0), [spread0], a)
assert judge("sum over axis 1", lambda x: x.sum(axis=1), [spread1], a)
assert judge("mean over axis 1", lambda x: x.mean(axis=1), [lambda *v: spread1(*v) / 4], a)

# %% [markdown]
# What only moves numbers has a rule that moves the gradients back to where they came from. The
# numbers of a reshaped array are folded back into the old shape.
#
# For axes in another order it takes care. `x.transpose(1, 2, 0)` makes `(2, 3, 4)` into
# `(3, 4, 2)`. Which order of axes brings that back? A first guess is the same once more:

# %%
x = rng.normal(size=(2, 3, 4))


def turn(x):
    return x.transpose(1, 2, 0)


assert judge("reshape", lambda x: x.reshape(6, 4), [lambda g, y, x: g.reshape(x.shape)], x)
assert not judge("transpose, guess", turn, [lambda g, y, x: g.transpose(1, 2, 0)], x)
assert judge("transpose", turn, [lambda g, y, x: g.transpose(np.argsort((1, 2, 0)))], x)
print("the order that undoes (1, 2, 0):", np.argsort((1, 2, 0)))

# %% [markdown]
# Turning three axes by one place twice is not the same as turning them back. What undoes an order
# is its inverse, which `argsort` finds: axis 0 of `x` went to place 2, so it is fetched from there.
#
# ## Undoing broadcasting
#
# Now an operation where the shapes differ: `x + b`, with `x` of shape `(3, 4)` and `b` of shape
# `(4,)`. NumPy **broadcasts**: it behaves as if `b` were repeated in three rows. The derivative of
# a sum is 1, so the rule for `b` should be `g`. Is it?

# %%
x, b = rng.normal(size=(3, 4)), rng.normal(size=4)


def pass_on(g, y, x, b):
    return g


assert not judge("x + b", np.add, [pass_on, pass_on], x, b)

# %% [markdown]
# For `x` it is right, for `b` not even the shape is. One number of `b` was used three times, once
# in each row. Used three times, it collects three gradients, and they add up. So what was repeated
# in the forward direction is **summed** in the backward one. Let us draw both ways of being
# stretched:


# %%
def show(axes, array, title, cmap="Blues"):
    array = np.atleast_2d(array)
    axes.imshow(array, cmap=cmap, vmin=0, vmax=14)
    for (i, j), number in np.ndenumerate(array):
        axes.text(j, i, f"{number:g}", ha="center", va="center", color="black")
    axes.set(xlim=(-0.6, 3.6), ylim=(2.6, -0.6))
    axes.set_title(title, fontsize=10)
    axes.axis("off")


row, column = np.array([1, 2, 3, 4]), np.array([[1], [2], [3]])
g = np.array([[1, 0, 2, 1], [3, 1, 0, 2], [1, 4, 2, 0]])
_, panels = plt.subplots(2, 4, figsize=(7.6, 3.8))
for line, b, axis in zip(panels, (row, column), (0, 1)):
    show(line[0], b, f"b {b.shape}")
    show(line[1], np.broadcast_to(b, (3, 4)), "stretched (3, 4)")
    show(line[2], g, "gradient g (3, 4)", "Oranges")
    back = g.sum(axis=axis, keepdims=b.ndim == 2)
    show(line[3], back, f"gradient of b {back.shape}", "Oranges")
    assert back.shape == b.shape
plt.show()

# %% [markdown]
# NumPy lines up shapes at their last axis. An axis that is missing in front is added, and an axis
# of length 1 is stretched. So there are two things to undo:


# %%
def unbroadcast(g, shape):
    """Sum g over every axis that broadcasting added or stretched, so that it has `shape`."""
    added = g.ndim - len(shape)
    g = g.sum(axis=tuple(range(added)))
    stretched = tuple(axis for axis, length in enumerate(shape) if length == 1)
    return g.sum(axis=stretched, keepdims=True)


rules = [
    lambda g, y, a, b: unbroadcast(g * b, a.shape),
    lambda g, y, a, b: unbroadcast(g * a, b.shape),
]
for one, other in (
    ((3, 4), (4,)),
    ((3, 4), (3, 1)),
    ((3, 1), (4,)),
    ((2, 1, 4), (3, 1)),
    ((), (3,)),
):
    assert judge(
        f"{one} × {other}", np.multiply, rules, rng.normal(size=one), rng.normal(size=other)
    )

# %% [markdown]
# One function undoes it for every operation. So no rule has to think of broadcasting, if the engine
# calls `unbroadcast` after each of them. tinyfractal does just that.
#
# Notice the pair: the rule of a sum is to repeat, and the rule of repeating is to sum. Moving and
# moving back, picking and putting back will be such pairs too. The reason: `g @ J` is the
# transposed Jacobian applied to `g`, and transposing twice leads back.
#
# ## The matrix product, from shapes alone
#
# `y = a @ b`, with `a` of shape `(n, k)`, `b` of shape `(k, m)`, `y` and `g` of shape `(n, m)`. The
# gradient of `a` must be made of `g` and `b` and have the shape `(n, k)`. Let us try all ways to
# multiply the two: each of them plain or transposed, in both orders. **Predict:** how many of the
# eight fit?


# %% jupyter={"outputs_hidden": true}
def candidates(g, other):
    """The eight products of g and other, where the shapes allow them."""
    for flip_g, flip_o, swap in itertools.product((False, True), repeat=3):
        left, right = (g.T if flip_g else g), (other.T if flip_o else other)
        name = [f"g{'.T' * flip_g}", f"other{'.T' * flip_o}"]
        if swap:
            left, right, name = right, left, name[::-1]
        if left.shape[1] == right.shape[0]:
            yield " @ ".join(name), left @ right


n, k, m = 2, 3, 4
a, b, g = rng.normal(size=(n, k)), rng.normal(size=(k, m)), rng.normal(size=(n, m))
for_a = [name for name, product in candidates(g, b) if product.shape == a.shape]
for_b = [name for name, product in candidates(g, a) if product.shape == b.shape]
print("gradient of a:", for_a, "   with other = b")
print("gradient of b:", for_b, "   with other = a")
assert for_a == ["g @ other.T"] and for_b == ["other.T @ g"]

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# One each, if the three lengths differ. You need not remember the gradient of a matrix product:
# write down the shapes, and there is one way to put them together.
#
# $$g_a = g\, b^\top \qquad g_b = a^\top g$$
#
# </details>
#
# The shapes only leave one candidate; that it is *right* the judge must say. (Or the formula:
# $y_{ij} = \sum_p a_{ip} b_{pj}$, so $a_{ip}$ is used in every $y_{ij}$ of its row, each time with
# slope $b_{pj}$, and gets $\sum_j g_{ij} b_{pj}$.)

# %%
matmul_rules = [lambda g, y, a, b: g @ b.T, lambda g, y, a, b: a.T @ g]
assert judge("matmul", np.matmul, matmul_rules, a, b)

# %% [markdown]
# With square matrices the shapes say nothing: all eight products fit. Then only a check can tell:

# %%
a, b, g = (rng.normal(size=(3, 3)) for _ in range(3))
truth = jacobian(lambda a: np.sum(g * (a @ b)), a).reshape(3, 3)
fits = [(name, np.allclose(product, truth)) for name, product in candidates(g, b)]
print(len(fits), "fit, and these are right:", [name for name, right in fits if right])
assert len(fits) == 8 and [name for name, right in fits if right] == ["g @ other.T"]

# %% [markdown]
# So **test with lengths that all differ**. A mistake with axes then shows as a wrong shape.
#
# ## Picking, and a planted bug
#
# `y = x[index]` picks rows of `x`. Its rule puts the gradients back in their places, among zeros.
# Here is a rule that says so, and a judge who has something against it:


# %%
def put_back(g, y, x):
    out = np.zeros_like(x)
    out[index] += g
    return out


x = rng.normal(size=(3, 2))
index = np.array([2, 0])
assert judge("x[[2, 0]]", lambda x: x[index], [put_back], x)
index = np.array([0, 2, 2])
assert not judge("x[[0, 2, 2]]", lambda x: x[index], [put_back], x)

# %% [markdown]
# Row 2 was picked twice, so two gradients must be added there. But `out[index] += g` means
# `out[index] = out[index] + g`: NumPy first reads the three rows, adds, and then writes them back,
# and of two that are written to the same place the last one stays. It is mistake 1 of chapter 2
# once more, overwriting in the place of adding, hidden inside a `+=`. `np.add.at` adds one after
# the other:


# %%
def scatter_add(g, y, x):
    out = np.zeros_like(x)
    np.add.at(out, index, g)
    return out


assert judge("x[[0, 2, 2]]", lambda x: x[index], [scatter_add], x)
g = np.ones((3, 2))
print("+= gives", put_back(g, None, x)[:, 0], "  add.at gives", scatter_add(g, None, x)[:, 0])
assert put_back(g, None, x)[2, 0] == 1 and scatter_add(g, None, x)[2, 0] == 2

# %% [markdown]
# ## The largest
#
# `x.max(axis=1)` picks, too, only that the values decide what is picked. The largest of each row
# gets the gradient, the others get 0. **Predict:** what if two are equally large?


# %% jupyter={"outputs_hidden": true}
def max_rule(g, y, x):
    hit = x == y[:, None]
    return g[:, None] * hit / hit.sum(axis=1, keepdims=True)  # equals share


def largest(x):
    return x.max(axis=1)


assert judge("max", largest, [max_rule], rng.normal(size=(3, 4)))
assert judge("max, two equal", largest, [max_rule], np.array([[2.0, 2.0, 1.0]]))
assert not judge("max, three equal", largest, [max_rule], np.array([[2.0, 2.0, 2.0]]))
print("central differences of three equals:", jacobian(largest, np.array([[2.0, 2.0, 2.0]])))

x = tf.Tensor([2.0, 2.0, 2.0], requires_grad=True)
tf.max(x).backward()
print("tinyfractal:", x.grad.numpy())
assert np.allclose(x.grad.numpy(), 1 / 3)

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Nudge one of two equals up, and the maximum rises; nudge it down, and the other one still holds
# it. The function has a corner there, like relu at 0. Central differences average the two sides and
# say ½ for each, however many there are. Sharing equally says ⅓ each for three. Neither is wrong:
# at a corner there is no derivative. tinyfractal shares, so that no gradient is gained or lost; the
# judge has to stay away from corners.
#
# </details>
#
# ## Why the judge needs a random g
#
# Could it not just use `g = 1`? Take the **softmax**, $y_i = e^{x_i} / \sum_j e^{x_j}$, which makes
# positive numbers that add up to 1 (chapter 5 uses it). Here is a rule that is nonsense:


# %%
def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)


nonsense = [lambda g, y, x: 0 * g]
proper = [lambda g, y, x: y * (g - (g * y).sum(axis=1, keepdims=True))]
x = rng.normal(size=(2, 4))
assert judge("nonsense, g = 1", softmax, nonsense, x, g=np.ones((2, 4)))
assert not judge("nonsense, random g", softmax, nonsense, x)
assert judge("softmax, random g", softmax, proper, x)

# %% [markdown]
# With `g = 1` the judge looks at the sum of all outputs. That is always 1 in each row, its gradient
# is 0, and so the nonsense is "right". Random numbers give no such chance to hide.
#
# ## An engine for arrays
#
# Now put the rules into the engine of chapter 2. Where a `Value` had a slope for each parent, an
# `Array` has a rule; where the walk multiplied by the slope, it calls the rule; and after it, it
# undoes broadcasting. The order of the walk is unchanged.


# %%
def order(root):
    """All nodes behind root, each after all the nodes that use it (as in chapter 2)."""
    listed, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)
            listed.append(node)

    visit(root)
    return listed[::-1]


# %%
class Array:
    def __init__(self, data, parents=(), rules=()):
        self.data, self.parents, self.rules = np.asarray(data, float), parents, rules
        self.grad = np.zeros_like(self.data)

    def __add__(self, other):
        return Array(self.data + other.data, (self, other), (lambda g: g, lambda g: g))

    def __mul__(self, other):
        a, b = self.data, other.data
        return Array(a * b, (self, other), (lambda g: g * b, lambda g: g * a))

    def __matmul__(self, other):
        a, b = self.data, other.data
        return Array(a @ b, (self, other), (lambda g: g @ b.T, lambda g: a.T @ g))

    def tanh(self):
        y = np.tanh(self.data)
        return Array(y, (self,), (lambda g: g * (1 - y * y),))

    def softplus(self):  # log(1 + e^x)
        y = np.log1p(np.exp(self.data))
        return Array(y, (self,), (lambda g: g * (1 - np.exp(-y)),))

    def mean(self):
        shape, n = self.data.shape, self.data.size
        return Array(self.data.mean(), (self,), (lambda g: np.broadcast_to(g / n, shape),))

    def backward(self):
        self.grad = np.ones_like(self.data)
        for node in order(self):
            for parent, rule in zip(node.parents, node.rules):
                parent.grad += unbroadcast(rule(node.grad), parent.data.shape)


# %% [markdown]
# The same two moons, five hundred points this time, and sixteen neurons. `x` has shape `(500, 2)`;
# the first weights `(2, 16)` and their biases `(16,)`; the second `(16, 1)` and `(1,)`. The loss
# $\log(1 + e^{-ts})$ is `softplus` of $-ts$. Before we train, we hold the whole of it to the judge,
# and to tinyfractal.


# %%
def two_moons(count, rng, blur=0.15):
    """As in chapter 2: points (count, 2), and +1 or -1 for each, (count, 1)."""
    upper = np.arange(count)[:, None] % 2 == 0
    angle = rng.uniform(0, np.pi, count)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(upper, points, [1.0, 0.5] - points)
    return points + rng.normal(0, blur, points.shape), np.where(upper, 1.0, -1.0)


points, moon = two_moons(500, np.random.default_rng(0))
start = [rng.normal(size=shape) for shape in ((2, 16), (16,), (16, 1), (1,))]


def score(x, W1, b1, W2, b2):
    return (x @ W1 + b1).tanh() @ W2 + b2  # (N, 2) -> (N, 16) -> (N, 1)


# %%
def loss_of(weights):
    return (score(Array(points), *weights) * Array(-moon)).softplus().mean()


weights = [Array(w) for w in start]
loss = loss_of(weights)
loss.backward()

theirs = [tf.Tensor(w, requires_grad=True) for w in start]
W1, b1, W2, b2 = theirs
tf.softplus((tf.tanh(tf.Tensor(points) @ W1 + b1) @ W2 + b2) * tf.Tensor(-moon)).mean().backward()

for n, (mine, tensor) in enumerate(zip(weights, theirs)):
    nudged = numeric(lambda *arrays: loss_of([Array(a) for a in arrays]).data, start, n, 1.0)
    print(start[n].shape, f"from differences {abs(mine.grad - nudged).max():.0e}", end="")
    print(f"   from tinyfractal {abs(mine.grad - tensor.grad.numpy()).max():.0e}")
    assert np.allclose(mine.grad, nudged, atol=1e-7) and np.allclose(mine.grad, tensor.grad.numpy())

# %% [markdown]
# How much smaller is the graph? Let us count its nodes, and what the engine of chapter 2 would have
# made: a node for every single multiplication, addition and function.

# %%
nodes = len(order(loss))
neuron, output, of_the_loss = 2 + 2 + 1, 2 * 16, 3
values = 500 * (16 * neuron + output + of_the_loss)
print(f"{nodes} Arrays in the place of more than {values:,} Values")
assert nodes < 20 and values > 50_000

# %% [markdown]
# Python now has a handful of nodes to walk through, and the work inside each is done by NumPy. Here
# are four hundred steps of gradient descent:

# %%
losses = []
for _ in range(400):
    loss = loss_of(weights)
    for w in weights:
        w.grad = np.zeros_like(w.data)
    loss.backward()
    for w in weights:
        w.data = w.data - 2.0 * w.grad
    losses.append(float(loss.data))

right = ((score(Array(points), *weights).data > 0) == (moon > 0)).mean()
print(f"loss {losses[0]:.2f} -> {losses[-1]:.3f}, right: {right:.1%}")
assert losses[-1] < losses[0] / 8 and right > 0.95

# %%
across, up = np.meshgrid(np.linspace(-1.6, 2.6, 80), np.linspace(-1.1, 1.6, 60))
grid = Array(np.stack([across.ravel(), up.ravel()], axis=1))  # (4800, 2)
field = score(grid, *weights).data.reshape(across.shape)
_, (left, axes) = plt.subplots(1, 2, figsize=(7.6, 3.0), width_ratios=(1, 1.4))
left.semilogy(losses, color=BLUE)
left.set(xlabel="step", ylabel="loss")
axes.contour(across, up, field, levels=[0.0], colors="black")
for side, color in ((1.0, ACCENT), (-1.0, BLUE)):
    axes.plot(*points[moon[:, 0] == side].T, "o", color=color, ms=2.5)
axes.set(xlabel="first coordinate", ylabel="second coordinate")
axes.grid(False)
plt.show()

# %% [markdown]
# ## Now read the source
#
# - `sum_to` in [`engine/backward.py`](../tinyfractal/engine/backward.py) is your `unbroadcast`. It
#   leaves alone what has the right shape already. The engine calls it in one place, in
#   `backpropagate`, after every rule; it is also the rule of `broadcast_to` in `ops/shape.py`.
# - [`ops/elementwise.py`](../tinyfractal/ops/elementwise.py) is the table of elementwise rules.
#   Above each function stands its rule, or one for each argument, in your form `g, y, x`. An
#   underscore, as in `_y`, says that the rule does not need it. (`raw(x)` is the array inside a
#   Tensor.)
# - [`ops/reduce.py`](../tinyfractal/ops/reduce.py): `_spread` is `spread0` and `spread1` for any
#   axes; `max` shares among equals, and `softmax` has the rule that you have just checked.
# - [`ops/shape.py`](../tinyfractal/ops/shape.py): `_inverse` is our `argsort`; `getitem` and
#   `scatter` are each other's rules, and `scatter` calls `add.at` only where a place may be named
#   twice.
# - [`ops/matmul.py`](../tinyfractal/ops/matmul.py) has the two rules of the matrix product. It also
#   takes vectors, and stacks of matrices: `swapaxes(-1, -2)` transposes each matrix of a stack.
# - [`engine/gradcheck.py`](../tinyfractal/engine/gradcheck.py) is the judge, with fixed random
#   weights for `g`.
#
# How a function and its rule are tied together, and how a call gets recorded, is chapter 4.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/03_arrays.py`.
#
# **1. Running sums.** `y = np.cumsum(x, axis=1)` has in each place the sum of all numbers of the
# row up to there. Write its rule. (Which outputs does `x[:, j]` count in? Its Jacobian is a
# triangle.)


# %%
def cumsum_rule(g, y, x): ...


check_cumsum(cumsum_rule)

# %% [markdown]
# **2. From shapes.** `y = ((x @ W) * z).sum(axis=1)` compares rows of `x` `(N, i)` with rows of `z`
# `(N, j)` by way of a matrix `W` `(i, j)`, and gives `(N,)`. Write the rule for `W`, without a
# loop.


# %%
def weight_rule(g, y, x, W, z): ...


check_weight(weight_rule)

# %% [markdown]
# **3. Used twice.** `y = x / x.sum(axis=1, keepdims=True)` makes the rows of `x` add up to 1. `x`
# is used twice, above and below the line. Write the rule.


# %%
def normalise_rule(g, y, x): ...


check_normalise(normalise_rule)

# %% [markdown]
# **4. The suspect.** One of these five rules, for `x` of shape `(6,)`, is wrong. Find it with
# `judge`, and answer with its name.

# %%
pairs = {
    "flip": (lambda x: x[::-1], lambda g, y, x: g[::-1]),
    "repeat": (lambda x: np.repeat(x, 2), lambda g, y, x: g.reshape(-1, 2).sum(axis=1)),
    "tile": (lambda x: np.tile(x, 2), lambda g, y, x: g.reshape(-1, 2).sum(axis=1)),
    "roll": (lambda x: np.roll(x, 2), lambda g, y, x: np.roll(g, -2)),
    "norm": (lambda x: np.sqrt(np.sum(x * x)), lambda g, y, x: g * x / y),
}
suspect = ...

check_suspect(suspect)
