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
# *40 minutes. Afterwards you can read `sum_to` in
# [`engine/backward.py`](../tinyfractal/engine/backward.py), and
# [`ops/elementwise.py`](../tinyfractal/ops/elementwise.py),
# [`ops/reduce.py`](../tinyfractal/ops/reduce.py), [`ops/shape.py`](../tinyfractal/ops/shape.py),
# [`ops/matmul.py`](../tinyfractal/ops/matmul.py).*
#
# One tanh inside an image network has a trillion slopes: 4.4 terabytes. Backward multiplies by all
# of them and stores none. In this chapter you see how. You find the gradient rules that a network
# needs, and turn the engine of chapter 2 into an engine for arrays.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.arrays import check_cumsum, check_normalise, check_suspect, check_weight
from figures import BLUE, GRAY, ORANGE, animate, use_style

use_style()
rng = np.random.default_rng(0)

# %% [markdown]
# The engine of chapter 2 keeps a Python object for every number. NumPy computes with whole arrays,
# so let the nodes be arrays. Here is a layer on a batch of three rows. Step backward and look at
# `bias`: it has two numbers, and the gradient that arrives has three rows. Where do they go?

# %%
rows = tf.Tensor(np.array([[1, 2, 0], [0, 1, -1], [2, 0, 1]], np.float32))
W = tf.Tensor(np.array([[0.5, -1], [1, 0.3], [-0.4, 0.8]], np.float32), requires_grad=True)
bias = tf.Tensor([0.1, -0.2], requires_grad=True)
tf.explore(lambda: tf.mean(tf.tanh(rows @ W + bias) ** 2), title="A layer on three rows")

# %% [markdown]
# ## All slopes at once: the Jacobian
#
# Now there is a slope for each pair of an output number and an input number. To measure them, nudge
# one input number and see which outputs move. That gives one column of a matrix. Watch it fill, for
# a layer from `(3, 4)` to `(3, 2)`:


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


# %% jupyter={"source_hidden": true}
batch, weights = rng.uniform(-0.5, 0.5, (3, 4)), rng.uniform(0.3, 1, (4, 2))
J = jacobian(lambda x: np.tanh(x @ weights), batch)
figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.4), width_ratios=(4, 2, 9), layout="none")
figure.subplots_adjust(left=0.03, right=0.97, bottom=0.12, top=0.86, wspace=0.2)


def fill(frame):
    nudged = np.arange(12) == frame
    known = np.where(np.arange(12) <= frame, J, np.nan)
    shown = (nudged.reshape(3, 4), J[:, frame].reshape(3, 2), known)
    names = ("nudge a number of x", "y moves", "the Jacobian: (6, 12)")
    for axes, array, name in zip(panels, shown, names):
        axes.clear()
        axes.imshow(array, cmap="Oranges", vmin=0, vmax=1.2, aspect="auto")
        axes.set(xticks=[], yticks=[])
        rows, columns = array.shape
        for i in range(1, rows):
            axes.axhline(i - 0.5, color=GRAY, lw=0.5)
        for i in range(1, columns):
            axes.axvline(i - 0.5, color=GRAY, lw=0.5)
        axes.spines[["top", "right"]].set_visible(True)
        axes.grid(False)
        axes.set_title(name)
    panels[2].set(xlabel="numbers of x", ylabel="numbers of y")


assert np.count_nonzero(J.round(6)) == 12 * 2  # each number of x moves its own row of y
animate(figure, fill, 12, 9, "Nudging the twelve numbers of x fills the Jacobian column by column.")

# %% [markdown]
# This is the **Jacobian**. It has a row for each output number and a column for each input number;
# arrays are laid out as one long row of numbers. Here most of it is empty: a number of `x` moves
# only its own row of `y`.
#
# $$J_{ij} = \frac{\partial y_i}{\partial x_j}$$
#
# Here is a smaller one to calculate with:

# %%
W = rng.normal(size=(3, 2))
x = rng.normal(size=3)


def layer(x):
    return np.tanh(x @ W)


J = jacobian(layer, x)
print(J.shape)
print(J.round(3))

# %% [markdown]
# ## The chain rule for arrays
#
# Learning makes one number smaller, the loss. Say $L = y_1^2 + y_2^2$. The walk arrives at `y` with
# a gradient `g` of the same shape, here $g = 2y$. What is the gradient of `x`? Follow the paths
# from $x_1$ to $L$:

# %% jupyter={"source_hidden": true}
_, axes = plt.subplots(figsize=(6.4, 2.5))
spots = {"x₁": (0, 2), "x₂": (0, 1), "x₃": (0, 0), "y₁": (2, 1.6), "y₂": (2, 0.4), "L": (4, 1)}
edges = [(a, b) for a in ("x₁", "x₂", "x₃") for b in ("y₁", "y₂")] + [("y₁", "L"), ("y₂", "L")]
words = {("x₁", "y₁"): "J₁₁", ("x₁", "y₂"): "J₂₁", ("y₁", "L"): "g₁", ("y₂", "L"): "g₂"}
for a, b in edges:
    (x0, y0), (x1, y1) = spots[a], spots[b]
    color, width = (ORANGE, 2.2) if (a, b) in words else ("#D5DADF", 1)
    axes.plot((x0, x1), (y0, y1), color=color, lw=width, zorder=0)
    where = (0.55 * x0 + 0.45 * x1, 0.55 * y0 + 0.45 * y1)
    paper = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"}
    if (a, b) in words:
        axes.text(*where, words[a, b], color=ORANGE, ha="center", va="center", bbox=paper)
for name, spot in spots.items():
    box = {"boxstyle": "round", "fc": "white", "ec": BLUE}
    axes.text(*spot, name, ha="center", va="center", bbox=box)
axes.set(xlim=(-0.3, 4.3), ylim=(-0.4, 2.4), title="Two paths from x₁ to L: g₁ J₁₁ + g₂ J₂₁")
axes.axis("off")
plt.show()

# %% [markdown]
# Along a path factors multiply, and where paths meet gradients add (chapter 2):
#
# $$\frac{\partial L}{\partial x_j} = \sum_i g_i J_{ij} \qquad \text{in code: } \texttt{g @ J}$$

# %%
y = layer(x)
g = 2 * y
print("g @ J:   ", g @ J)
print("nudging: ", jacobian(lambda x: np.sum(layer(x) ** 2), x)[0])
assert np.allclose(g @ J, jacobian(lambda x: np.sum(layer(x) ** 2), x)[0])

# %% [markdown]
# `g @ J` is a **vector-Jacobian product**, VJP for short. It takes the place of the slope: a vector
# of the output's shape comes in, one of the input's shape goes out.
#
# ## Predict, then run
#
# Below are the Jacobians of eight functions of an array `x` of shape `(3, 4)`. Where do you expect
# coloured squares: for the **exponential**, the **sum** of all numbers, the **transpose**?

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

# %% tags=["thumbnail"] jupyter={"source_hidden": true, "outputs_hidden": true}
_, panels = plt.subplots(2, 4, figsize=(7.6, 3.9), sharex=True)
for axes, (name, f) in zip(panels.flat, gallery.items()):
    J = jacobian(f, x)
    axes.imshow(J, cmap="Blues", vmin=0, vmax=1.2)
    axes.set_title(name)
    axes.set(xticks=[], yticks=[], anchor="N")
    axes.spines[["top", "right"]].set_visible(True)
for axes in panels[1]:
    axes.set_xlabel("numbers of x")
panels[0, 0].set_ylabel("numbers of y")
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Most squares are white. A function that treats each number separately has a diagonal Jacobian. One
# that moves or picks numbers has a single 1 in each row. A sum has ones where a number is counted.
# You can say where the entries are, and how large, without the zeros.
#
# </details>
#
# ## Nobody builds it
#
# Take an ordinary array inside a network: 64 images of 32 × 32 pixels, 16 numbers for each pixel.
# How large is the Jacobian of its tanh?

# %%
numbers = 64 * 32 * 32 * 16
share = numbers / numbers**2
print(f"numbers in the array:     {numbers:>20,}")
print(f"numbers in the Jacobian:  {numbers**2:>20,}")
print(f"as float32: {4 * numbers**2 / 1e12:.1f} terabytes, all but one in {1 / share:,.0f} are 0")
assert 4 * numbers**2 > 4e12 and 1 / share > 1e6

# %% [markdown]
# But you never wanted $J$. You want `g @ J`, and for a diagonal $J$ that is `g` times the diagonal.
# Each operation gets a **gradient rule**, a function `rule(g, y, x)` that returns `g @ J` without
# any $J$. It also gets the output `y`, which often helps.


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
# Many rules follow, so you need a judge. It takes random numbers for `g`. Then $\sum g \cdot f(x)$
# is one number whose gradient is `g @ J`, and central differences can check it.


# %% jupyter={"source_hidden": true}
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
# These operations are **elementwise**: each output number depends on the input numbers at the same
# place. Their rules are the derivatives from school, times `g`.
#
# ## Sums spread, moves move back
#
# In `y = x.sum(axis=0)`, from `(3, 4)` to `(4,)`, every number of a column counts once in its sum.
# So each gets the gradient of the sum: the rule **spreads** `g` over the summed axis.


# %%
def spread0(g, y, x):
    return np.broadcast_to(g, x.shape)  # (4,) -> (3, 4)


def spread1(g, y, x):
    return np.broadcast_to(g[:, None], x.shape)  # (3,) -> (3, 4)


assert judge("sum over axis 0", lambda x: x.sum(axis=0), [spread0], a)
assert judge("sum over axis 1", lambda x: x.sum(axis=1), [spread1], a)
assert judge("mean over axis 1", lambda x: x.mean(axis=1), [lambda *v: spread1(*v) / 4], a)

# %% [markdown]
# If an operation only moves numbers, its rule moves the gradients back. For `reshape` that is the
# old shape. For `transpose` take care: `x.transpose(1, 2, 0)` turns `(2, 3, 4)` into `(3, 4, 2)`.
# Which order of axes brings that back? A first guess is the same order again:

# %%
x = rng.normal(size=(2, 3, 4))


def turn(x):
    return x.transpose(1, 2, 0)


assert judge("reshape", lambda x: x.reshape(6, 4), [lambda g, y, x: g.reshape(x.shape)], x)
assert not judge("transpose, guess", turn, [lambda g, y, x: g.transpose(1, 2, 0)], x)
assert judge("transpose", turn, [lambda g, y, x: g.transpose(np.argsort((1, 2, 0)))], x)
print("the order that undoes (1, 2, 0):", np.argsort((1, 2, 0)))

# %% [markdown]
# The inverse order does, and `argsort` finds it: axis 0 of `x` went to place 2, so fetch it from
# there.
#
# ## Undoing broadcasting
#
# Now the shapes differ: `x + b`, with `x` of shape `(3, 4)` and `b` of shape `(4,)`. NumPy
# **broadcasts**: it behaves as if `b` were repeated in three rows. The slope of a sum is 1, so the
# rule for `b` should be `g`. Is it?

# %%
x, b = rng.normal(size=(3, 4)), rng.normal(size=4)


def pass_on(g, y, x, b):
    return g


assert not judge("x + b", np.add, [pass_on, pass_on], x, b)

# %% [markdown]
# For `x` yes. For `b` not even the shape is right. Each number of `b` was used three times, once in
# each row, so it collects three gradients, which add up. What forward repeats, backward **sums**.
# Read each line of the picture from left to right:


# %% jupyter={"source_hidden": true}
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
# That is where the three rows of the opening page go. NumPy lines up shapes at their last axis,
# adds axes that are missing in front, and stretches axes of length 1. Undo both:


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
# The engine calls this one function after every rule, so no rule has to think of broadcasting.
#
# Notice the pair: the rule of summing is to repeat, and the rule of repeating is to sum. Moving and
# moving back are such a pair, and so are picking and putting back.
#
# ## The matrix product, from shapes alone
#
# Let `a` be `(n, k)` and `b` be `(k, m)`. Then `y = a @ b` and its gradient `g` are `(n, m)`. The
# gradient of `a` is made of `g` and `b`, and has the shape `(n, k)`. There are eight ways to
# multiply the two: each plain or transposed, in both orders. **Predict:** how many fit?


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
# One each, if the three lengths differ. You need not remember this gradient. Write down the shapes,
# and there is one way to put them together:
#
# $$g_a = g\, b^\top \qquad g_b = a^\top g$$
#
# </details>
#
# The shapes leave one candidate. The judge must say whether it is *right*:

# %%
matmul_rules = [lambda g, y, a, b: g @ b.T, lambda g, y, a, b: a.T @ g]
assert judge("matmul", np.matmul, matmul_rules, a, b)

# %% [markdown]
# So backward takes two products where forward took one. In a network of matrix products the walk
# back costs about twice the way forward, however many weights there are.
#
# With square matrices all eight candidates fit, and only a check can tell:

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
# The judge accepts this rule once, and then refuses it:


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
# `out[index] = out[index] + g`: of two sums for the same place the last one stays. It is mistake 1
# of chapter 2 again, overwriting instead of adding, hidden inside a `+=`. `np.add.at` adds one
# after the other:


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
# `x.max(axis=1)` picks too, but here the values decide which. The largest of each row gets the
# gradient, the others get 0. **Predict:** what if several are equally large?


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
# Nudge one of the equals up, and the maximum rises. Nudge it down, and another one holds it. At
# such a corner there is no derivative. Central differences average the two sides and say ½ for
# each; sharing equally says ⅓ for three. tinyfractal shares, so that the gradients add up to what
# came in.
#
# </details>
#
# ## Why the judge needs a random g
#
# Why not simply `g = 1`? Take the **softmax** of chapter 5, $y_i = e^{x_i} / \sum_j e^{x_j}$, which
# makes positive numbers that add up to 1. This rule is nonsense:


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
# With `g = 1` the judge looks at the sum of each row. That sum is always 1, its gradient is 0, and
# the nonsense is "right". Random numbers leave no place to hide. (The proper rule comes from the
# quotient rule: $\partial y_i / \partial x_j$ is $y_i (1 - y_i)$ for $i = j$ and $-y_i y_j$
# otherwise. Multiply by $g_i$ and add up.)
#
# ## An engine for arrays
#
# Now put the rules into the engine of chapter 2, with its `order` unchanged. A Value had a slope
# for each parent, an `Array` has a rule. The walk multiplied by the slope; now it calls the rule,
# and then undoes broadcasting.


# %% jupyter={"source_hidden": true}
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
# Try it on the two moons again, with five hundred points and sixteen neurons. (The loss
# $\log(1 + e^{-ts})$ is `softplus` of $-ts$, and the derivative of softplus is $1 - e^{-y}$.)
# Before training, check every gradient against nudging and against tinyfractal:


# %% jupyter={"source_hidden": true}
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
# How much smaller is the graph than that of chapter 2's engine, with a node for every single
# operation?

# %%
nodes = len(order(loss))
neuron, output, of_the_loss = 2 + 2 + 1, 2 * 16, 3  # products + sums + tanh, ...
values = 500 * (16 * neuron + output + of_the_loss)
print(f"{nodes} Arrays in the place of more than {values:,} Values")
assert nodes < 20 and values > 50_000

# %% [markdown]
# Python walks through a handful of nodes, and NumPy does the work inside each. Now train:

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

# %% [markdown]
# The loss falls, and the border bends around both moons:

# %% jupyter={"source_hidden": true}
across, up = np.meshgrid(np.linspace(-1.6, 2.6, 80), np.linspace(-1.1, 1.6, 60))
grid = Array(np.stack([across.ravel(), up.ravel()], axis=1))  # (4800, 2)
field = score(grid, *weights).data.reshape(across.shape)
_, (left, axes) = plt.subplots(1, 2, figsize=(7.6, 3.0), width_ratios=(1, 1.4))
left.semilogy(losses, color=BLUE)
left.set(xlabel="step", ylabel="loss", title="500 points, all at once")
axes.contour(across, up, field, levels=[0.0], colors="black")
for side, color in ((1.0, ORANGE), (-1.0, BLUE)):
    axes.plot(*points[moon[:, 0] == side].T, "o", color=color, ms=2.5)
axes.set(xlabel="first coordinate", ylabel="second coordinate", title="The border learned")
axes.grid(False)
plt.show()

# %% [markdown]
# ## What you now own
#
# You own the gradient rules of a layer, and the way to find the next one. Ask where each
# input number was used, and add up what comes back from there. Repeating becomes summing, picking
# becomes putting back, and in a matrix product the shapes decide. Then let a judge check it, with
# a random `g` and lengths that all differ.
#
# ## Now read the source
#
# - `sum_to` in [`engine/backward.py`](../tinyfractal/engine/backward.py) is your `unbroadcast`.
#   `backpropagate` calls it wherever a part has another shape than its parent.
# - [`ops/elementwise.py`](../tinyfractal/ops/elementwise.py) is the table of elementwise rules.
#   Above each function stands its rule, or one for each argument, in your form `g, y, x`. An
#   underscore, as in `_y`, marks what the rule does not need. (`raw(x)` is the array inside a
#   Tensor.)
# - [`ops/reduce.py`](../tinyfractal/ops/reduce.py): `_spread` is `spread0` and `spread1` for any
#   axes.
# - [`ops/shape.py`](../tinyfractal/ops/shape.py): `_inverse` is your `argsort`. `getitem` and
#   `scatter` are each other's rules.
# - [`ops/matmul.py`](../tinyfractal/ops/matmul.py) has the rules of the matrix product, for stacks
#   of matrices too: `swapaxes(-1, -2)` transposes each of them.
#
# Chapter 4 ties a function to its rule.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/03_arrays.py`.
#
# **1. Running sums.** `y = np.cumsum(x, axis=1)` has in each place the sum of its row up to there.
# Write its rule. (In which outputs does `x[:, j]` count? Its Jacobian is a triangle.)


# %%
def cumsum_rule(g, y, x): ...


check_cumsum(cumsum_rule)

# %% [markdown]
# **2. From shapes.** `y = ((x @ W) * z).sum(axis=1)` compares rows of `x` `(N, i)` with rows of `z`
# `(N, j)` through a matrix `W` `(i, j)`, and gives `(N,)`. Write the rule for `W`, without a loop.


# %%
def weight_rule(g, y, x, W, z): ...


check_weight(weight_rule)

# %% [markdown]
# **3. Used twice.** `y = x / x.sum(axis=1, keepdims=True)` makes the rows of `x` add up to 1. It
# uses `x` twice, above and below the line. Write the rule.


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
