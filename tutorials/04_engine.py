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
# # 4. What does the engine remember?
#
# *90 minutes. Afterwards you can read [`engine/tensor.py`](../tinyfractal/engine/tensor.py),
# [`engine/primitive.py`](../tinyfractal/engine/primitive.py),
# [`engine/modes.py`](../tinyfractal/engine/modes.py) and
# [`engine/anomaly.py`](../tinyfractal/engine/anomaly.py).*
#
# In chapter 2 you built a number that remembers how it was made, and in chapter 3 the gradient
# rules for arrays. tinyfractal's engine is the two put together, and from here on you will use it
# for everything. So it is worth an evening to know what it does when you are not looking: what it
# keeps in memory and when it lets go, what it refuses and why, and how it can differentiate its
# own derivatives. We take it apart with small experiments, with the source open beside them. The
# chapter has two halves; the second begins at "Derivatives of derivatives" and can wait for another
# evening.

# %%
import gc
import inspect
import re
import tracemalloc
import weakref

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.backend import xp
from tinyfractal.engine.backward import backward_order
from tinyfractal.engine.node import Node
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.engine.primitive import NotSaved, Primitive, primitive
from tinyfractal.errors import AnomalyError, GraphError

from exercises.engine import check_count, check_hvp, check_noticed, check_rule
from figures import use_style

use_style()


def source(thing, first, last):
    """Print the source of `thing` from the line with `first` to the line with `last`."""
    lines = inspect.getsource(thing).splitlines()
    start = next(i for i, line in enumerate(lines) if first in line)
    stop = next(i for i, line in enumerate(lines[start:], start) if last in line)
    print("\n".join(lines[start : stop + 1]))


# %% [markdown]
# This page shows a loss that was computed before anyone looked. Everything on it was read from what
# the engine had kept. Click through the steps: of some the value is still known, of one it is not.
# By the end of the first half you can say why.

# %%
w = tf.Tensor([1.0, 2.0], requires_grad=True)
loss = tf.sum(tf.exp(0.5 * w) + 1.0)
tf.explore(loss, title="What the engine kept")

# %% [markdown]
# ## A Tensor and the node behind it
#
# A `Tensor` is an array with a history. `requires_grad=True` says: record what is computed from
# this one. Here are two such Tensors, which nothing made (they are called **leaves**), and a number
# computed from them.

# %%
x = tf.Tensor([0.5, 1.0, 1.5], requires_grad=True)
w = tf.Tensor([2.0, 2.0, 2.0], requires_grad=True)
y = (tf.sin(x * w) + x).sum()
print(x)
print(y)

# %% [markdown]
# `from sum` says which operation made `y`. That is kept in `y.node`: a **Node** is one recorded
# operation. It knows which operation it was, its `primitive`, and where the arguments came from,
# its `parents`. A parent is again a node, or a leaf. So the whole history can be read from the end:


# %%
def history(place, indent=0):
    name = place.primitive.__name__ if isinstance(place, Node) else f"leaf {place.numpy()}"
    print("    " * indent + name)
    for parent in getattr(place, "parents", ()):
        history(parent, indent + 1)


history(y.node)

# %% [markdown]
# `x` appears twice, because it was used twice. It is one object, though, so the history is not a
# tree but a **graph**. `plot_graph` draws it with the leaves on top. Each box shows the shape of
# what it holds.

# %%
tf.plot.plot_graph(y)

# %% [markdown]
# ## One row of the table
#
# What can be recorded? The operations of the library form a table, like the one at the back of a
# calculus book: a function, and its derivative beside it. A row is called a **primitive**. This is
# the row of the product, as it stands in [`ops/elementwise.py`](../tinyfractal/ops/elementwise.py):

# %%
print(inspect.getsource(tf.mul))
print(f"The table has {len(PRIMITIVES)} rows.")

# %% [markdown]
# The body is the value, on plain arrays. The decorator holds a gradient rule for each argument:
# given the gradient `g` of the output, the output and the arguments, it says what the gradient of
# that argument is. These are the VJPs of chapter 3. (The underscores have a meaning, which comes
# soon.)
#
# What happens when we write `x * w`? `Tensor.__mul__` looks up `PRIMITIVES["mul"]` and calls it:

# %%
source(Primitive.__call__, "tensors, settings", "return self.value")

# %% [markdown]
# If there is a Tensor among the arguments, it computes and records. If not, it is just its value
# rule, on arrays. So a gradient rule may be written with the library's own functions: in an
# ordinary `backward` it gets arrays, and nothing is recorded.
#
# ## A row of your own
#
# Let us add a row. The function *swish* (Ramachandran, Zoph & Le 2017) is a smooth relative of
# relu: $y = x\,\sigma(x)$ with $\sigma(x) = 1 / (1 + e^{-x})$. By the product rule, and with
# $\sigma' = \sigma (1 - \sigma)$,
#
# $$\frac{dy}{dx} = \sigma(x) + x\,\sigma(x)\,(1 - \sigma(x)) = \sigma(x) + y\,(1 - \sigma(x))$$


# %%
def swish_rule(g, y, x):
    s = tf.sigmoid(x)
    return g * (s + y * (1 - s))


@primitive(swish_rule)
def swish(x):
    """x times sigmoid of x."""
    return x * tf.sigmoid(x)


print("order 1:", tf.gradcheck(swish, [-2.0, 0.0, 1.5]))
print("order 2:", tf.gradcheck(swish, [-2.0, 0.0, 1.5], order=2))

# %% [markdown]
# `order=2` checks the derivative of the derivative. It works because the rule is written with
# operators and `tf.sigmoid`, which all have rows of their own. Had we written `np.exp(-x)` in it,
# the first order would work and the second would not.
#
# The row is registered under the function's name, for as long as this Python runs:

# %%
print(PRIMITIVES["swish"].__name__, "|", swish(tf.Tensor([1.0, 2.0], requires_grad=True)))
assert PRIMITIVES["swish"] is swish

# %% [markdown]
# Names matter: `x * w` finds its primitive by the name `"mul"`. A primitive of yours called `mul`
# would take the place of the product everywhere, so a name of the library's is refused.
#
# ## What a node keeps
#
# To walk back, the rules need numbers from the way forward. The rule of `mul` needs both factors,
# the rule of `exp` its output, the rule of `add` nothing at all. Whatever is needed must stay in
# memory until `backward` comes, so the engine keeps only what some rule asks for. How does it know?
# **An argument of a rule whose name begins with an underscore is not kept.**

# %%
for function in (tf.mul, tf.add, tf.exp, tf.sin):
    source(function, "@primitive", "@primitive")

# %% [markdown]
# An output that nobody asked for is not kept at all. Of an input, only a `NotSaved` is left: its
# shape and its type. And where no rule asks for anything, as in `a + b`, not even that.

# %%
a = tf.Tensor([1.0, 2.0], requires_grad=True)
b = tf.Tensor([3.0, 4.0], requires_grad=True)
for node in ((a * b).node, (a + b).node, tf.exp(a).node, tf.sin(a).node):
    kept = ["-" if isinstance(array, NotSaved) else str(array) for array in node.inputs]
    print(f"{node.primitive.__name__}: inputs {', '.join(kept):18} output {node.output}")
assert isinstance(tf.exp(a).node.inputs[0], NotSaved) and (a + b).node.inputs == ()

# %% [markdown]
# ## Predict, then run
#
# We apply one operation 20 times in a row, to an array of one megabyte, $x \to f(f(f(\dots)))$, and
# hold only the last result. **How many megabytes are in use then?** The operations are listed in
# the cell. Three rules you have just seen; that of `neg` is `-g`, that of `tanh` is
# `g * (1 - y * y)`. (`tracemalloc` is Python's own account of memory; NumPy reports to it. What
# lies on a GPU is not Python's, and CuPy keeps an account of its own.)

# %%
MEGABYTE = np.full(250_000, 0.5, np.float32)


def megabytes():
    """What is in use now."""
    if tf.backend.current() == "cupy":
        return xp.get_default_memory_pool().used_bytes() / 1e6
    return tracemalloc.get_traced_memory()[0] / 1e6


operations = {
    "y + 1": lambda y: y + 1,
    "-y": lambda y: -y,
    "y * 0.9": lambda y: y * 0.9,
    "sin(y)": tf.sin,
    "y * sin(y)": lambda y: y * tf.sin(y),
    "tanh(sin(y))": lambda y: tf.tanh(tf.sin(y)),
}
held = {}
for name, f in operations.items():
    y = tf.Tensor(MEGABYTE, requires_grad=True)
    tracemalloc.start()
    before = megabytes()
    for _ in range(20):
        y = f(y)
    held[name] = megabytes() - before
    tracemalloc.stop()

# %% jupyter={"outputs_hidden": true}
plt.figure(figsize=(6.4, 2.6))
bars = plt.barh(list(held), list(held.values()), color="tab:blue", height=0.6)
plt.bar_label(bars, fmt="%.0f MB", padding=4)
plt.gca().invert_yaxis()
plt.grid(False)
plt.xlabel("megabytes in use after 20 applications")
plt.xlim(0, 46)
plt.show()
assert max(held["y + 1"], held["-y"], held["y * 0.9"]) < 2
assert 19 < held["sin(y)"] < 22 and 19 < held["tanh(sin(y))"] < 22
assert 38 < held["y * sin(y)"] < 43

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The first three hold one array, the result in hand. `y * 0.9` keeps the number 0.9, which is what
# the rule for `y` needs; the rule for 0.9 is never asked, because 0.9 needs no gradient. The sine
# keeps its input each time, and the product keeps both factors, so one array more. And why do the
# two operations in `tanh(sin(y))` hold no more than one? The tanh keeps its output, and the next
# sine keeps its input. That is the same array.
#
# </details>
#
# ## There and back
#
# `backward` lets go of each node as soon as it has passed on its gradient. To watch, we add a
# primitive that does nothing but note how much memory is in use, on the way there and on the way
# back. (`view=True` tells the engine that the output may be the input array itself.)

# %%
notes = []


def note(array):
    notes.append(megabytes())
    return array


@primitive(lambda g, _y, _x: note(g), view=True)
def probe(x):
    return note(x)


def there_and_back(retain_graph):
    notes.clear()
    x = tf.Tensor(MEGABYTE, requires_grad=True)
    tracemalloc.start()
    before = megabytes()
    y = x
    for _ in range(20):
        y = probe(tf.sin(y))
    y.backward(np.ones_like(MEGABYTE), retain_graph=retain_graph)
    tracemalloc.stop()
    return np.array(notes) - before


freed, retained = there_and_back(False), there_and_back(True)

# %% tags=["thumbnail"]
plt.plot(retained, "o-", ms=3, color="tab:red", label="retain_graph=True")
plt.plot(freed, "o-", ms=3, color="tab:blue", label="as it goes")
plt.axvline(19.5, color="black", lw=1, ls=":")
plt.text(19, 2, "forward", ha="right")
plt.text(20, 2, "backward")
plt.xlabel("operation")
plt.ylabel("megabytes in use")
plt.legend(loc="upper left")
plt.show()
assert freed[0] < 2 and freed[19] > 19 and freed[-1] < 6 and retained[-1] > 19

# %% [markdown]
# Forward, the hill is climbed; backward, it is descended. (The steeper step at the top is the
# gradients themselves, which need room too.) Python has two ways of giving memory back. An object
# that nothing points to any more goes at once. Objects that point to each other in a ring must wait
# for the *garbage collector*, which comes by now and then, and until it does the arrays of a
# network would pile up. The engine makes no rings: a Tensor points to its node and a node to its
# parents, never the other way. We switch the collector off and see:

# %%
gc.disable()
x = tf.Tensor(MEGABYTE, requires_grad=True)
y = tf.sin(tf.exp(x))
middle = weakref.ref(y.node.inputs[0])  # watches the array e^x without keeping it alive
print("while y is there:", "kept" if middle() is not None else "gone")
del y
print("after del y:     ", "kept" if middle() is not None else "gone")
assert middle() is None
gc.enable()

# %% [markdown]
# A graph that has been freed cannot be walked again, and the engine says so. With `retain_graph` it
# can, and the second gradient is added to the first.

# %%
x = tf.Tensor([1.0, 2.0], requires_grad=True)
y = (x * x).sum()
y.backward()
try:
    y.backward()
except GraphError as error:
    print(error)
else:
    raise AssertionError("the second backward should have been refused")

x.grad = None
y = (x * x).sum()
y.backward(retain_graph=True)
y.backward()
print("twice 2x:", x.grad)
assert np.array_equal(x.grad.numpy(), [4, 8])

# %% [markdown]
# ## A chain of 100,000
#
# A network in a loop can make long chains. Our `history` above calls itself for each parent. What
# does it do with a chain of 100,000 operations, and what does `backward`?


# %%
def length(place):
    longest = 0
    for parent in place.parents:
        if parent is not None:
            longest = max(longest, length(parent))
    return 1 + longest


x = tf.Tensor(1.0, requires_grad=True)
y = x
for _ in range(100_000):
    y = y + 0.001
try:
    length(y.node)
except RecursionError as error:
    print("recursion:", error)
else:
    raise AssertionError("Python should have refused")
y.backward()
print("backward: ", x.grad)
assert x.grad.item() == 1

# %% [markdown]
# Python allows only so many calls inside each other. `backward` makes none. It has two loops: the
# first counts how often each node's output was used, the second lists the nodes:

# %%
source(backward_order, "order = []", "return order")

# %% [markdown]
# Read it as a rule about reporting: a node may pass its gradient on only when everyone who used its
# output has reported. Whose count is zero may go; when it goes, the counts of its parents sink by
# one (Kahn 1962). So every node is visited once, which matters even more than the recursion. Here
# is a graph of 30 nodes: each adds the one before to itself. How many ways lead from the end to the
# beginning?

# %%
x = tf.Tensor(1.0, requires_grad=True)
y = x
for _ in range(30):
    y = y + y
order = backward_order([y.node])
y.backward()
print(f"{len(order)} nodes, {2**30:,} ways, dy/dx = {x.grad.item():,.0f}")
assert len(order) == 30 and x.grad.item() == 2**30

# %% [markdown]
# Two choices at each of 30 nodes: $2^{30}$ ways, and each contributes 1 to the derivative. Who
# walks them one by one needs a billion steps. The engine took 30, because it adds up what
# comes in before it goes on.
#
# ## Changed behind its back
#
# Arrays can be changed in place, and a node keeps the very array, no copy. If somebody changes it
# between forward and backward, the rule computes with wrong numbers. No one would notice: it is
# only a wrong gradient. So every Tensor counts how often it was changed, in `version`, and a node
# notes the count of each array it keeps.
#
# The plainest case is refused at once:

# %%
x = tf.Tensor([0.5, 1.0], requires_grad=True)
try:
    x += 1
except GraphError as error:
    print(error)
else:
    raise AssertionError("should have been refused")

# %% [markdown]
# **Predict:** now we change it inside `no_grad`, as optimizers do. We compute $\sin x$ and $e^x$,
# change $x$, and ask for both gradients. Which of the two is refused?

# %% jupyter={"outputs_hidden": true}
for function in (tf.sin, tf.exp):
    x = tf.Tensor([0.5, 1.0], requires_grad=True)
    y = function(x).sum()
    with tf.no_grad():
        x += 1
    try:
        y.backward()
    except GraphError as error:
        print(error)
        assert function is tf.sin
    else:
        print("exp is content:", x.grad, "is e to the old x")
        assert function is tf.exp
        assert np.allclose(x.grad.numpy(), np.exp([0.5, 1.0]))

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Only `sin`. The rule of `exp` looks at the output, and $x$ had been forgotten. Nothing that it
# needs was changed, and its gradient is right: it is that of the $x$ for which the value was
# computed.
#
# </details>
#
# ## Three switches
#
# You have just used the first of three switches, which make up all of
# [`engine/modes.py`](../tinyfractal/engine/modes.py):

# %%
source(type(tf.engine.modes.mode), "class Mode", "anomaly")

# %% [markdown]
# **Recording.** Inside `no_grad` nothing is recorded and so nothing is kept. Whoever only wants a
# network's answers should ask for them in there.

# %%
x = tf.Tensor([1.0, 2.0], requires_grad=True)
with tf.no_grad():
    y = tf.sin(x)
print(tf.sin(x), "|", y)
assert y.node is None and not y.requires_grad

# %% [markdown]
# **Anomaly.** Sooner or later a training run says `nan`, *not a number*. By then it has spread
# everywhere, and the question is where the first one was born. Here is a function that
# harms no one until two points meet:


# %%
def distance(a, b):
    difference = a - b
    return tf.sqrt((difference * difference).sum())


np.seterr(divide="ignore", invalid="ignore")  # NumPy would warn, but not say whose line it was
a = tf.Tensor([1.0, 2.0], requires_grad=True)
y = distance(a, tf.Tensor([1.0, 2.0]))
y.backward()
print("distance", y.item(), "  gradient", a.grad.numpy())
assert np.isnan(a.grad.numpy()).all()

# %% [markdown]
# The value is right. The gradient is not a number. With `detect_anomaly` the engine looks at every
# value and every gradient, and remembers for each node the line of *your* code that made it:

# %%
try:
    with tf.detect_anomaly():
        distance(a, tf.Tensor([1.0, 2.0])).backward()
except AnomalyError as error:
    report = re.sub(r"\S*[/\\]", "", str(error))  # without the folder of the file
    print(report)
else:
    raise AssertionError("should have been noticed")
assert "gradient of sqrt" in report and "tf.sqrt((difference * difference)" in report

# %% [markdown]
# The slope of $\sqrt{s}$ is $1 / (2\sqrt{s})$, infinite at 0, and the step behind it multiplies
# this with a difference of 0. The line is named. (The usual cure is $\sqrt{s + \varepsilon}$ with
# a small $\varepsilon$.) All this looking costs time, so the switch is off unless you search.
#
# ## Derivatives of derivatives
#
# In an ordinary backward the gradients are arrays. With `create_graph=True` they are Tensors, the
# rules are recorded like any other computation, and what comes out has a history of its own.
# `tf.grad` returns a gradient instead of leaving it in `.grad`. So we can go on as long as we like:

# %%
x = tf.Tensor(np.linspace(-3, 3, 200), requires_grad=True)
curve, names = tf.tanh(x), ("tanh", "1st derivative", "2nd", "3rd")
for shade, name in zip(("black", "tab:blue", "tab:orange", "tab:red"), names):
    plt.plot(x.numpy(), curve.numpy(), color=shade, label=name)
    curve = tf.grad(curve.sum(), x, create_graph=True)
plt.xlabel("x")
plt.legend(ncols=2)
plt.show()

# %% [markdown]
# (Why `.sum()`? Only a single number has a gradient by itself. Each point of the curve depends on
# its own $x$ alone, so the gradient of the sum is the 200 derivatives at once.) May we believe the
# third? `gradcheck` can be asked:

# %%
print(tf.gradcheck(tf.tanh, [0.3, -1.2], order=3))

# %% [markdown]
# ## Newton's method
#
# What are second derivatives good for? The slope says which way is down, but not how far to go.
# The curvature does. Near $x$ a smooth function looks like a parabola, and the parabola's lowest
# point is
#
# $$x_{\text{next}} = x - \frac{f'(x)}{f''(x)}$$
#
# That is Newton's method for finding a minimum. We try it on $f(x) = e^x - 2x$, whose minimum lies
# where $e^x = 2$, at $\log 2$.


# %%
def newton_step(f, x):
    x = tf.Tensor(x, requires_grad=True, dtype=np.float64)
    slope = tf.grad(f(x), x, create_graph=True)
    curvature = tf.grad(slope, x)
    return x.item() - slope.item() / curvature.item()


point, errors = 0.0, []
for step in range(6):
    errors.append(abs(point - np.log(2)))
    print(f"step {step}: x = {point:.15f}   error {errors[-1]:.1e}")
    point = newton_step(lambda x: tf.exp(x) - 2 * x, point)
assert errors[5] < 1e-12
assert all(abs(errors[i + 1] / (errors[i] ** 2 / 2) - 1) < 0.05 for i in (2, 3))

# %% [markdown]
# Near the end each error is about half the *square* of the one before, so that the number of right
# digits doubles at every step. (Half, because the factor is $f''' / 2f''$, and here the two are
# equal.)
#
# With several numbers the slope becomes a gradient $\mathbf g$, and the curvature a matrix: the
# **Hessian** $H$, whose row $i$ is the gradient of $g_i$. The step is $H^{-1} \mathbf g$.


# %%
def valley(p):  # Rosenbrock's valley (1960), less steep than his; lowest at (1, 1)
    return (1 - p[0]) ** 2 + 10 * (p[1] - p[0] ** 2) ** 2


def gradient_and_hessian(f, point):
    p = tf.Tensor(point, requires_grad=True)
    g = tf.grad(f(p), p, create_graph=True)  # (2,)
    rows = [tf.grad(g[i], p, retain_graph=True).numpy() for i in range(len(g))]
    return g.numpy(), np.stack(rows)  # (2,), (2, 2)


g, H = gradient_and_hessian(valley, [1.0, 1.0])
print("at the minimum: gradient", g, " Hessian", H.tolist())
assert np.array_equal(H, [[82, -40], [-40, 20]])  # by hand

newton = [np.array([-1.2, 1.0])]
descent = [np.array([-1.2, 1.0])]
for _ in range(8):
    g, H = gradient_and_hessian(valley, newton[-1])
    newton.append(newton[-1] - np.linalg.solve(H, g))
for _ in range(200):
    p = tf.Tensor(descent[-1], requires_grad=True)
    descent.append(descent[-1] - 0.01 * tf.grad(valley(p), p).numpy())

# %%
across, up = np.meshgrid(np.linspace(-1.6, 1.5, 80), np.linspace(-1.3, 1.8, 80))
heights = valley(tf.Tensor(np.stack([across, up]))).numpy()
_, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3), width_ratios=(3, 2))
left.contour(across, up, np.log1p(heights), 8, colors="lightgray", linewidths=0.8)
left.grid(False)
for path, color, name in ((newton, "tab:red", "Newton"), (descent, "tab:blue", "descent")):
    path = np.array(path)
    left.plot(*path.T, "o-" if len(path) < 10 else "-", ms=3, color=color, lw=1.2, label=name)
    right.semilogy(np.linalg.norm(path - 1, axis=1)[:60], color=color)
left.set(xlabel="$p_0$", ylabel="$p_1$")
left.plot(1, 1, "*", ms=12, color="black", label="minimum")
left.legend(loc="lower left", fontsize=8)
right.set(xlabel="step", ylabel="distance from the minimum")
plt.show()
fell = np.diff([valley(p) for p in newton]) < 0
print("Newton: lower than before?", fell.tolist())
assert np.linalg.norm(newton[5] - 1) > 0.05 and np.linalg.norm(newton[8] - 1) < 1e-12
assert fell.tolist()[:4] == [True, False, True, False] and np.linalg.norm(descent[200] - 1) > 0.3

# %% [markdown]
# Gradient descent (with steps of 0.01 times the gradient) creeps along the valley, and is still far
# from its end after 200 steps. Newton's method jumps about at first, twice even uphill: far from
# the minimum the parabola is a poor likeness. Once it is near, three steps take it from a twentieth
# to rounding. Why is not every network trained so? The Hessian of a million weights has a million
# times a million numbers. One product of it with a vector is cheap, though, and is exercise 2.
#
# ## A penalty on the slope
#
# A second use: to make something small that contains a derivative. Here are 40 noisy points of a
# sine, and a curve with some 150 adjustable numbers, which follows the noise. (It is a network with
# one hidden layer. What that is, and how the lines in `fit` adjust it, is the next chapter.) We ask
# the curve to be calm as well, and add the mean square of its *slope* to the error that is made
# small. For that, `backward` must differentiate the slope with respect to the adjustable numbers: a
# derivative of a derivative. Such **gradient penalties** are used, for instance, in Wasserstein
# GANs (Gulrajani et al. 2017).

# %%
rng = np.random.default_rng(0)
points = np.sort(rng.uniform(-3, 3, (40, 1)), axis=0)
values = np.sin(points) + 0.3 * rng.normal(size=points.shape)
line = np.linspace(-3, 3, 100)[:, None]  # (100, 1)


def slope_of(net, create_graph=False):
    x = tf.Tensor(line, requires_grad=True)
    return tf.grad(net(x).sum(), x, create_graph=create_graph)


def fit(penalty, steps=1000):
    tf.seed(0)
    net = tf.nn.Sequential(tf.nn.Linear(1, 50), tf.nn.Tanh(), tf.nn.Linear(50, 1))
    net = net.astype(np.float64)
    with tf.no_grad():  # 50 steep steps side by side: a curve that can wiggle
        net[0].weight.copy_(tf.Tensor(np.full((1, 50), 12.0)))
        net[0].bias.copy_(tf.Tensor(np.linspace(-36, 36, 50)))
    optimizer = tf.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = tf.mse_loss(net(tf.Tensor(points)), tf.Tensor(values))
        if penalty:
            loss = loss + penalty * (slope_of(net, create_graph=True) ** 2).mean()
        loss.backward()
        optimizer.step()
    return net


free, calm = fit(0), fit(0.05)
print(f"{free.count_parameters()} adjustable numbers")
assert free.count_parameters() == 151

# %%
plt.plot(points, values, "o", color="black", ms=4, label="the noisy points")
plt.plot(line, np.sin(line), color="gray", lw=1, ls="--", label="sine")
found = []
for net, color, name in ((free, "tab:red", "no penalty"), (calm, "tab:blue", "slope penalised")):
    curve, slope = net(tf.Tensor(line)).numpy(), slope_of(net).numpy()
    error = np.sqrt(((curve - np.sin(line)) ** 2).mean())
    found.append(((slope**2).mean(), error))
    print(f"{name:16} mean square slope {found[-1][0]:6.2f}   error to the sine {error:.2f}")
    plt.plot(line, curve, color=color, label=name)
plt.xlabel("x")
plt.legend(fontsize=8)
plt.show()
assert found[1][0] < found[0][0] / 5 and found[1][1] < 0.8 * found[0][1]

# %% [markdown]
# The calm curve has less than a fifth of the other's mean square slope, and it is nearer to the
# sine, of which neither saw more than the noisy points.
#
# ## The readable twin
#
# **Reference.** The third switch. Some rows of the table are written by hand for speed:
# convolution, the normalizations, the losses. Such a **fused** primitive has a twin made of small
# primitives, its *reference*, which says what it means. Layer norm, for example, shifts and scales
# each row of numbers so that its mean is 0 and its variance 1. Then it multiplies with a weight and
# adds a bias:

# %%
print(inspect.getsource(PRIMITIVES["layer_norm"].reference))

# %% [markdown]
# Inside `tf.reference()` the twin runs instead. It can be stepped through with a debugger and it
# can be drawn. In return each of its steps is recorded.

# %%
rng = np.random.default_rng(0)
x = tf.Tensor(rng.normal(size=(4, 3)), requires_grad=True)
weight = tf.Tensor(rng.normal(size=3), requires_grad=True)
bias = tf.Tensor(rng.normal(size=3), requires_grad=True)


def loss():
    return (tf.layer_norm(x, weight, bias) ** 2).sum()


fast = loss()
with tf.reference():
    full = loss()
print("fast:     ", [node.primitive.__name__ for node in backward_order([fast.node])])
print("reference:", [node.primitive.__name__ for node in backward_order([full.node])])
for g, h in zip(tf.grad(fast, [x, weight, bias]), tf.grad(full, [x, weight, bias], None, True)):
    assert np.allclose(g.numpy(), h.numpy(), rtol=1e-9, atol=1e-12)
tf.plot.plot_graph(full)

# %% [markdown]
# Value and gradients are the same, and the tests of the library hold every fused primitive to its
# twin in that way. The twin has one more task. A hand-written gradient works on arrays only, so
# under `create_graph=True` the engine runs the twin and differentiates that.
#
# ## Now read the source
#
# All of it was in your hands in this chapter. Read in this order:
#
# - [`engine/modes.py`](../tinyfractal/engine/modes.py): the three switches, and `setting`, which
#   sets them back.
# - [`engine/tensor.py`](../tinyfractal/engine/tensor.py): `Tensor`, with `backward`; and
#   [`engine/node.py`](../tinyfractal/engine/node.py), with `check_unchanged`.
# - [`engine/backward.py`](../tinyfractal/engine/backward.py): `backpropagate` is chapter 2's
#   backward; `sum_to` in it undoes broadcasting for all primitives. Everything else you saw here is
#   wrapped around that loop by `run_backward`: `gradient_rule` checks versions and frees the node,
#   `collecting_targets` and `looking_for_nan` do what they say.
# - [`engine/primitive.py`](../tinyfractal/engine/primitive.py): `Primitive.__call__`, `on_tensors`,
#   `save_for_backward`; `names_used` reads the underscores. `with_history` gives the rules Tensors
#   when they are to be recorded.
# - [`engine/definition.py`](../tinyfractal/engine/definition.py): how a quicker rule takes the
#   place of a definition.
# - [`fast/fused.py`](../tinyfractal/fast/fused.py): `Fused` holds the two twins. Its
#   `gradients_of_reference` is the subtlest page of the library; come back to it last.
# - [`engine/anomaly.py`](../tinyfractal/engine/anomaly.py): how the line of your code is found.
#
# What is new there are the checks: `one_type` in
# [`engine/operands.py`](../tinyfractal/engine/operands.py) refuses to mix float32 with float64, and
# arrays of two libraries. To put a primitive into the library itself and not into a notebook,
# follow the recipe in `CONTRIBUTING.md`: a row, a name, and one line of
# tests. The counting order is Kahn's (*Topological sorting of large networks*, Communications of
# the ACM, 1962).
#
# ## Exercises
#
# Solutions: `solutions/04_engine.py`.
#
# **1. A thrifty rule.** The cube root, $y = \sqrt[3]{x}$, is not in the table. Write its gradient
# rule, so that it is right to the second order and keeps only one array. (Change the names of the
# arguments as you need.)


# %%
def cube_root_rule(g, y, x): ...


check_rule(cube_root_rule)

# %% [markdown]
# **2. The Hessian times a vector.** Return $H v$ for a function of an array $x$ of any length,
# without building $H$. Two calls of `tf.grad` are enough: what number has $H v$ as its gradient?


# %%
def hvp(f, x, v): ...


check_hvp(hvp)

# %% [markdown]
# **3. Count.** How many nodes are behind a Tensor? Count each once, however many ways lead to it,
# and without a function that calls itself. (`node.parents` holds nodes, leaves, and `None`.)


# %%
def count_nodes(tensor): ...


check_count(count_nodes)

# %% [markdown]
# **4. Who notices?** For each of these, $x$ is changed in place after the forward pass. Which
# backwards are refused? Answer with a list of names. Read the rules in
# [`ops/elementwise.py`](../tinyfractal/ops/elementwise.py) first, and do not run them.

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
refused = ...

check_noticed(changes, refused)
