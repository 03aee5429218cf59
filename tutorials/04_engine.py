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
# *45 minutes. Afterwards you can read [`engine/tensor.py`](../tinyfractal/engine/tensor.py),
# [`engine/primitive.py`](../tinyfractal/engine/primitive.py) and
# [`engine/modes.py`](../tinyfractal/engine/modes.py).*
#
# You never tell the engine what your network looks like. You compute, you call `backward`, and
# every weight has its gradient. So the engine must take notes while you compute. In this chapter
# you read those notes: what is in them, what they cost, and when they are thrown away. Then you
# teach the engine a function that it has never heard of. You need one line of calculus.

# %% jupyter={"source_hidden": true}
import inspect
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.backend import xp
from tinyfractal.engine.backward import backpropagate, backward_order
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.engine.primitive import NotSaved, primitive
from tinyfractal.errors import GradientError, GraphError

from exercises.engine import check_held, check_leak, check_primitive, check_rule
from figures import BLUE, GRAY, GREEN, ORANGE, animate, use_style

use_style()

# %% [markdown]
# This loss was computed before anyone looked at it. The page is made from the engine's notes alone.
# Step through it: every step shows its value, except `add`. By the end of the chapter you know why.

# %%
w = tf.Tensor([1.0, 2.0], requires_grad=True)
loss = tf.sum(tf.exp(0.5 * w) + 1.0)
tf.explore(loss, title="What the engine kept")

# %% [markdown]
# ## One operation, one note
#
# A `Tensor` is an array with a history. `requires_grad=True` says: from here on, take notes. Each
# operation then leaves a **node** behind. It is the Value of chapter 2 without the number: it
# knows which operation it was, its `primitive`, and where the arguments came from, its `parents`.

# %%
x = tf.Tensor([0.5, 1.0, 1.5], requires_grad=True)
w = tf.Tensor([2.0, 2.0, 2.0], requires_grad=True)
y = (tf.sin(x * w) + x).sum()

for node in backward_order([y.node]):
    made_from = [getattr(parent, "primitive", None) for parent in node.parents]
    names = [row.__name__ if row else "a leaf" for row in made_from]
    print(f"{node.primitive.__name__:4} made from {', '.join(names)}")

# %% [markdown]
# Here is the same as a picture, leaves on top. `x` was used twice, so two lines leave it.

# %%
tf.plot.plot_graph(y)

# %% [markdown]
# `backward` walks up this graph. Here is its heart, the loop of chapter 2 as it stands in
# [`engine/backward.py`](../tinyfractal/engine/backward.py). Look for the sine in it.

# %%
print(inspect.getsource(backpropagate))

# %% [markdown]
# There is no sine and no product. The loop knows no calculus at all. It asks the node for the
# parts, undoes broadcasting (chapter 3), and adds up where paths meet. All the calculus is in the
# rules.
#
# ## A table of derivatives
#
# The rules form a table, like the one at the back of a calculus book: a function, and its
# derivative beside it. A row is called a **primitive**. This is the row of the product:

# %%
print(inspect.getsource(tf.mul))
print(f"The table has {len(PRIMITIVES)} rows.")

# %% [markdown]
# The body is the value, on plain arrays. The decorator holds one gradient rule for each argument.
# A rule is given `g`, the gradient of the output, then the output and the arguments, and returns
# the gradient of its argument. That is everything the engine knows about multiplication.
#
# ## A row of your own
#
# The table lacks *swish*, a smooth relative of relu: $y = x\,\sigma(x)$, where $\sigma$ is the
# sigmoid (Ramachandran, Zoph & Le 2017).

# %% jupyter={"source_hidden": true}
line = np.linspace(-6, 3, 200)
plt.figure(figsize=(6.4, 2.6))
plt.plot(line, np.maximum(line, 0), color=GRAY, ls="--", label="relu")
plt.plot(line, line / (1 + np.exp(-line)), color=BLUE, label="swish")
plt.xlabel("x")
plt.title("Swish dips below zero before it rises")
plt.legend()
plt.show()

# %% [markdown]
# A first try at the rule: a nudge of $x$ counts $\sigma(x)$ times. (A `tf` function given plain
# arrays returns a plain array, so you may use it in the body.) `gradcheck` compares it with central
# differences, as you did in chapter 1.


# %%
@primitive(lambda g, y, x: g * tf.sigmoid(x))
def swish(x):
    return x * tf.sigmoid(x)


try:
    tf.gradcheck(swish, [-2.0, 0.0, 1.5])
except GradientError as error:
    print(error)

# %% [markdown]
# Refused. We forgot that $\sigma(x)$ moves as well. By the product rule, and with
# $\sigma' = \sigma (1 - \sigma)$,
#
# $$\frac{dy}{dx} = \sigma(x) + x\,\sigma(x)\,(1 - \sigma(x)) = \sigma(x) + y\,(1 - \sigma(x))$$


# %%
@primitive(lambda g, y, x: g * (tf.sigmoid(x) + y * (1 - tf.sigmoid(x))))
def swish(x):
    return x * tf.sigmoid(x)


print(tf.gradcheck(swish, [-2.0, 0.0, 1.5]))
x = tf.Tensor([-2.0, 0.0, 1.5], requires_grad=True)
swish(tf.exp(swish(x))).sum().backward()
print(x.grad)

# %% jupyter={"source_hidden": true}
assert PRIMITIVES["swish"] is swish
nested = tf.gradcheck(lambda x: swish(tf.exp(swish(x))), [-2.0, 0.0, 1.5])
assert nested.excess < 1
assert tf.gradcheck(swish, [-2.0, 0.0, 1.5], order=2).excess < 1

# %% [markdown]
# Now the table has one row more, and `swish` works everywhere, even inside itself. The loop did not
# change. It found the rule in the node.
#
# ## What a rule costs
#
# A rule needs numbers from the way forward. The rule of `mul` needs the other factor, the rule of
# `exp` its own output, the rule of `add` nothing. What a rule needs must wait in memory until
# `backward` comes. How does the engine know? It reads the names: **an argument of a rule whose name
# begins with an underscore is not kept.**

# %%
for function in (tf.mul, tf.exp, tf.sin, tf.add):
    print(inspect.getsource(function).splitlines()[0])

a = tf.Tensor([1.0, 2.0], requires_grad=True)
b = tf.Tensor([3.0, 4.0], requires_grad=True)
for node in ((a * b).node, tf.exp(a).node, tf.sin(a).node, (a + b).node):
    kept = ["-" if isinstance(array, NotSaved) else str(array) for array in node.inputs]
    print(f"{node.primitive.__name__}: inputs {', '.join(kept) or '-':17} output {node.output}")

# %% jupyter={"source_hidden": true}
assert isinstance(tf.exp(a).node.inputs[0], NotSaved) and (a + b).node.inputs == ()
assert (a * b).node.output is None and tf.exp(a).node.output is not None

# %% [markdown]
# That is why the page could not show the value of `add`: no rule had asked for it. (The value of
# `mul` was not kept either, but both of its factors were still there, and the page multiplied them
# again.)
#
# ## Predict, then run
#
# We apply one function 20 times in a row to an array of one megabyte, and keep only the last
# result. **How many megabytes are in use then?** The functions stand in the next cell. There are
# two rules that you have not seen: `neg` has `-g`, and `tanh` has `g * (1 - y * y)`.

# %%
operations = {
    "y + 1": lambda y: y + 1,
    "-y": lambda y: -y,
    "y * 0.9": lambda y: y * 0.9,
    "sin(y)": tf.sin,
    "y * sin(y)": lambda y: y * tf.sin(y),
    "tanh(sin(y))": lambda y: tf.tanh(tf.sin(y)),
}

# %% jupyter={"source_hidden": true}
MEGABYTE = np.full(250_000, 0.5, np.float32)


def megabytes():
    """What is in use now, by Python's own account, to which NumPy reports; CuPy has another."""
    if tf.backend.current() == "cupy":
        return xp.get_default_memory_pool().used_bytes() / 1e6
    return tracemalloc.get_traced_memory()[0] / 1e6


held = {}
for name, f in operations.items():
    y = tf.Tensor(MEGABYTE, requires_grad=True)
    tracemalloc.start()
    before = megabytes()
    for _ in range(20):
        y = f(y)
    held[name] = megabytes() - before
    tracemalloc.stop()

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
plt.figure(figsize=(6.4, 2.6))
bars = plt.barh(list(held), list(held.values()), color=BLUE, height=0.6)
plt.bar_label(bars, fmt="%.0f MB", padding=4)
plt.gca().invert_yaxis()
plt.grid(False)
plt.xlabel("megabytes in use after 20 applications")
plt.title("The rule decides what stays")
plt.xlim(0, 46)
plt.show()
assert max(held["y + 1"], held["-y"], held["y * 0.9"]) < 2
assert 19 < held["sin(y)"] < 22 and 19 < held["tanh(sin(y))"] < 22
assert 38 < held["y * sin(y)"] < 43

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The first three hold one array, the result in hand. `y * 0.9` keeps the number 0.9 for the rule of
# `y`. (The rule of 0.9 is never asked, since 0.9 needs no gradient.) The sine keeps its input each
# time. The product keeps both factors, which is one array more. And `tanh(sin(y))`, two operations?
# The tanh keeps its output and the next sine its input, and those are the same array.
#
# </details>
#
# ## There and back
#
# When are the notes thrown away? To watch, we add a primitive that changes nothing. It only reports
# how much memory is in use, in its value on the way there and in its rule on the way back.
# (`view=True` says that the output may be the input array itself.)

# %%
reports, nodes = [], []


def report(array):
    reports.append((megabytes(), [len(node.inputs) > 0 for node in nodes]))
    return array


@primitive(lambda g, _y, _x: report(g), view=True)
def probe(x):
    return report(x)


def there(y):
    for _ in range(20):
        y = tf.sin(y)
        nodes.append(y.node)
        y = probe(y)
    return y


# %% jupyter={"source_hidden": true}
def watch(walk):
    """The memory at each report, and which of the sines hold an array then."""
    reports.clear()
    nodes.clear()
    x = tf.Tensor(MEGABYTE, requires_grad=True)
    tracemalloc.start()
    before = megabytes()
    walk(x)
    tracemalloc.stop()
    nodes.clear()
    return [used - before for used, _ in reports], [full for _, full in reports]


def without_notes(x):
    with tf.no_grad():
        for _ in range(20):
            x = probe(tf.sin(x))


ones = np.ones_like(MEGABYTE)
freed, full = watch(lambda x: there(x).backward(ones))
retained, _ = watch(lambda x: there(x).backward(ones, retain_graph=True))
flat, _ = watch(without_notes)

# %% [markdown]
# Each square is one of the 20 sines, blue while its node holds an array. The blue line is the
# memory in use. Follow both over the top.

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
figure, (row, hill) = plt.subplots(2, 1, figsize=(6.4, 3.8), height_ratios=(1, 6))
squares = [row.add_patch(plt.Rectangle((k + 0.1, 0), 0.8, 1, lw=0)) for k in range(20)]
row.set(xlim=(0, 20), ylim=(0, 1.05), title="forward →")
row.axis("off")
curves = {
    hill.plot([], color=ORANGE, label="retain_graph=True")[0]: retained,
    hill.plot([], color=BLUE, label="backward as usual")[0]: freed,
    hill.plot([], color=GREEN, label="inside no_grad")[0]: flat,
}
(dot,) = hill.plot([], "o", color=BLUE)
hill.axvline(19.5, color=GRAY, lw=1, ls=":")
hill.set(xlim=(-0.5, 39.5), ylim=(0, 25), xlabel="operation", ylabel="megabytes in use")
hill.legend(loc="upper left")
hill.grid(False)
figure.canvas.draw()
figure.set_layout_engine("none")  # all frames have the layout of the first


def draw(now):
    for k, square in enumerate(squares):
        holds = k < len(full[now]) and full[now][k]
        square.set_color(BLUE if holds else "#E6E8EC")
    for curve, used in curves.items():
        curve.set_data(range(len(used[: now + 1])), used[: now + 1])
    dot.set_data([now], [freed[now]])
    row.set_title("forward →" if now < 20 else "← backward")


assert freed[0] < 2 and freed[19] > 19 and freed[-1] < 6 and retained[-1] > 19 and max(flat) < 3.5
assert [sum(holding) for holding in full] == [*range(1, 21), *range(20, 0, -1)]
animate(
    figure,
    draw,
    frames=40,
    alt="Memory rises by one array with each sine and falls again as backward frees each node; "
    "with retain_graph it stays, inside no_grad it never rises.",
)

# %% [markdown]
# Forward climbs the hill and backward descends it: each node is emptied as soon as it has passed on
# its gradient. That is why training needs so much more memory than predicting. You have two
# switches:
#
# - `retain_graph=True` keeps the notes for a second walk. Without it the second walk is refused.
# - Inside `no_grad` no notes are taken at all, and the green line stays flat. If you only want
#   predictions, run the network inside `no_grad`.

# %%
x = tf.Tensor([1.0, 2.0], requires_grad=True)
y = (x * x).sum()
y.backward()
try:
    y.backward()
except GraphError as error:
    print(error)

with tf.no_grad():
    silent = (x * x).sum()
print("recorded:", (x * x).sum(), "  inside no_grad:", silent)

# %% jupyter={"source_hidden": true}
assert y.node.parents is None and silent.node is None and not silent.requires_grad
x.grad = None
y = (x * x).sum()
y.backward(retain_graph=True)
y.backward()
assert np.array_equal(x.grad.numpy(), [4, 8])  # the second gradient is added to the first

# %% [markdown]
# ## What you now own
#
# You can say what happens between a line of your code and its gradient. Each operation leaves a
# node. The node keeps what its gradient rule asks for by name, and nothing else. `backward` walks
# the nodes, asks each for its rule, and empties it. The engine knows nothing about a function
# beyond that rule, so you can add one yourself, and `gradcheck` tells you whether it is right.
#
# ## Now read the source
#
# - [`engine/tensor.py`](../tinyfractal/engine/tensor.py): `Tensor` and its `backward`. A loss is
#   one number and starts with a gradient of 1. If you call `backward` on an array, you pass the
#   gradient to start from.
# - [`engine/primitive.py`](../tinyfractal/engine/primitive.py): `Primitive.__call__` asks whether
#   there is a Tensor among the arguments. If so, `on_tensors` computes and records; if not, it
#   returns the value on arrays. So the rules, too, may be written with `tf` functions.
#   `names_used` reads the underscores, and `save_for_backward` keeps what they leave.
# - [`engine/backward.py`](../tinyfractal/engine/backward.py): `run_backward` wraps the loop;
#   `gradient_rule` asks the node and then frees it.
# - [`engine/modes.py`](../tinyfractal/engine/modes.py): `no_grad` is one of three switches.
#   `detect_anomaly` comes in chapter 16, and so does what happens when a gradient is itself
#   recorded.
#
# To put a primitive into the library and not into a notebook, follow the recipe in
# `CONTRIBUTING.md`.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/04_engine.py`.
#
# **1. A thrifty rule.** The table lacks the cube root, $y = \sqrt[3]{x}$. Write its gradient rule
# so that it keeps only one array. (Rename the arguments as you need. Use operators and `tf`
# functions: then the rule can be differentiated too.)


# %%
def cube_root_rule(g, y, x): ...


check_rule(cube_root_rule)

# %% [markdown]
# **2. A primitive of your own.** Make $y = \sqrt{a^2 + b^2}$ a primitive that leaves one node.
# Write the decorator, with a rule for each argument, and the body. `xp.sqrt` works on arrays. (`xp`
# is NumPy, or CuPy on a GPU.)


# %%
def hypotenuse(a, b): ...


check_primitive(hypotenuse)

# %% [markdown]
# **3. The bill.** How many bytes do the nodes behind a Tensor keep, in `inputs` and `output`? Count
# each array once. `backward_order([tensor.node])` lists the nodes, arrays have `nbytes`, and
# numbers do not.


# %%
def bytes_kept(tensor): ...


check_held(bytes_kept)

# %% [markdown]
# **4. The leak.** Everyone writes it once: `total = total + loss` in a training loop, and memory
# grows with every batch, since the total has all the graphs behind it. `losses` is a generator that
# yields one loss after another. Return their mean, and let each graph go once the next is made.
# (`loss.item()` is the number without its history.)


# %%
def mean_loss(losses): ...


check_leak(mean_loss)
