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
# # 2. Can backprop fit in sixty lines?
#
# *45 minutes. Afterwards you can read [`engine/node.py`](../tinyfractal/engine/node.py), and
# `backpropagate` and `backward_order` in
# [`engine/backward.py`](../tinyfractal/engine/backward.py).*
#
# In chapter 1 you walked back through $y = \tanh(w x + b)$ by hand, one line for each step. Nobody
# does that for a network. In this chapter the numbers remember how they were made, and the walk is
# done for you: this is **backpropagation**, or backprop, and a program that does it is called
# **autograd**. You build one for single numbers, in about sixty lines, and train a small network
# with it. On the way you make the three mistakes that almost everyone makes once, and see each of
# them give a wrong gradient.

# %%
import inspect
import math
import types

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.draw.sheet import ACCENT, BLUE, MUTED, lighter

from exercises.backprop import check_order, check_sigmoid, check_twice, check_visits
from figures import use_style

use_style()

# %% [markdown]
# This is where the chapter goes. Press **Forward** and watch the neuron of chapter 1 compute its
# result, one step at a time. Then press **Backward** and watch the gradient walk back. Drag a
# number, and all the others follow.

# %%
w, x, b = (tf.Tensor(number, requires_grad=True) for number in (0.5, 2.0, -0.3))
tf.explore(lambda: tf.tanh(w * x + b), title="A neuron: y = tanh(w x + b)")

# %% [markdown]
# ## A number that remembers
#
# To walk back we must know, for each number, which numbers it was computed from, and how fast it
# changes with each of them. So we keep both beside it. The numbers that it was computed from are
# its **parents**. How fast it changes with each of them, the others held still, is one **slope**
# for each parent.


# %%
class Value:
    def __init__(self, data, parents=(), slopes=(), how=""):
        self.data = data  # the number itself
        self.parents = parents  # the Values that it was computed from
        self.slopes = slopes  # how fast it changes with each of them
        self.how = how  # a name, for the pictures
        self.grad = 0.0  # how fast the final result changes with it: not known yet


def add(a, b):
    return Value(a.data + b.data, (a, b), (1.0, 1.0), "+")


def mul(a, b):
    return Value(a.data * b.data, (a, b), (b.data, a.data), "×")


def tanh(a):
    y = math.tanh(a.data)
    return Value(y, (a,), (1 - y * y,), "tanh")


# %% [markdown]
# Each operation knows its own school-calculus derivative and nothing else. In $ab$, a nudge of $a$
# counts $b$ times, and a nudge of $b$ counts $a$ times: the slopes of `mul` are `(b.data, a.data)`.
#
# Here is the neuron of chapter 1 again. What we keep is a **graph**: the numbers are its nodes, and
# an edge runs from each parent to what was made of it. The numbers that were not computed, at its
# ends, are called **leaves**.

# %%
w, x, b = Value(0.5, how="w"), Value(2.0, how="x"), Value(-0.3, how="b")
y = tanh(add(mul(w, x), b))

print("y =", round(y.data, 4), " made by", y.how, " slope", round(y.slopes[0], 4))
print("its parent was made by", y.parents[0].how, "of", [p.how for p in y.parents[0].parents])
assert math.isclose(y.data, math.tanh(0.5 * 2.0 - 0.3))

# %% [markdown]
# ## The walk back
#
# Let the **gradient** of a node be the derivative of the final result with respect to it. (With
# several leaves one calls the list of all their derivatives the gradient; here each node has its
# own part, `grad`.) The chain rule says how to come from a node to a parent:
#
# $$\frac{dy}{d\,\text{parent}} = \frac{dy}{d\,\text{node}} \cdot \text{slope}$$
#
# A node that knows its gradient can therefore tell its parents theirs, they tell their parents, and
# so on until the leaves. Of the result itself we know it: $dy/dy = 1$.


# %%
def push_and_set(node, gradient):
    node.grad = gradient
    for parent, slope in zip(node.parents, node.slopes):
        push_and_set(parent, gradient * slope)


push_and_set(y, 1.0)
print({leaf.how: round(leaf.grad, 4) for leaf in (w, x, b)})

# %% [markdown]
# The page from the beginning reads your own engine just as well. It looks at `data`, `parents` and
# `slopes`, and takes the same walk:

# %%
tf.explore(y, title="The same neuron, in your own engine")

# %% [markdown]
# These are the three numbers of chapter 1. To look at graphs we write a small drawing function: the
# result on the right, everything to the left of what was made of it, in each box the value, below
# it the gradient.


# %%
def draw(root, axes, numbers=()):
    depth = {}

    def place(node, d):  # as far left as the longest way to the result
        depth[node] = max(depth.get(node, 0), d)
        for parent in node.parents:
            place(parent, d + 1)

    place(root, 0)
    columns = [[n for n in depth if depth[n] == d] for d in range(max(depth.values()) + 1)]
    at = {n: (-d, (len(c) - 1) / 2 - i) for d, c in enumerate(columns) for i, n in enumerate(c)}
    for node, (x, y) in at.items():
        for parent in node.parents:
            bend = -0.5 if depth[parent] - depth[node] > 1 else 0  # around what is between
            arrow = {"arrowstyle": "-", "color": MUTED, "connectionstyle": f"arc3,rad={bend}"}
            axes.annotate("", (x, y), at[parent], arrowprops=arrow, zorder=1)
        box = {"boxstyle": "round", "fc": lighter(BLUE, 0.85), "ec": BLUE}
        axes.text(x, y, f"{node.how}\n{node.data:.3g}", ha="center", va="center", bbox=box)
        step = f"{numbers.index(node) + 1}. " if node in numbers else ""
        axes.text(x, y - 0.42, f"{step}grad {node.grad:.3g}", color=ACCENT, ha="center", fontsize=9)
    tall = max(len(column) for column in columns) / 2
    axes.set(xlim=(0.5 - len(columns), 0.5), ylim=(-tall - 0.2, tall + 0.1))
    axes.axis("off")


# %%
_, axes = plt.subplots(figsize=(6.4, 2.4))
draw(y, axes)
plt.show()

# %% [markdown]
# To be sure, we compare with nudging, as in chapter 1. The next function is our judge for the whole
# chapter. It is given a function `f` of Values, and compares a walk back with central differences.


# %%
def compare(f, names, numbers, walk, h=1e-6):
    """Print and return, for each leaf, the gradient by the walk and by central differences."""
    leaves = [Value(number, how=name) for name, number in zip(names, numbers)]
    walk(f(*leaves))
    pairs = []
    for i, leaf in enumerate(leaves):
        # all numbers as they are, and number i a little larger, a little smaller
        up, down = ([Value(v + s * (i == j)) for j, v in enumerate(numbers)] for s in (h, -h))
        pairs.append((leaf.grad, (f(*up).data - f(*down).data) / (2 * h)))
        same = math.isclose(*pairs[-1], rel_tol=1e-6, abs_tol=1e-8)
        print(f"d/d{leaf.how}: walk {leaf.grad:9.6f}   differences {pairs[-1][1]:9.6f}", end="")
        print("" if same else "   <- wrong")
    return pairs


pairs = compare(
    lambda w, x, b: tanh(add(mul(w, x), b)), "wxb", (0.5, 2.0, -0.3), lambda y: push_and_set(y, 1.0)
)
assert np.allclose(*zip(*pairs))

# %% [markdown]
# ## Mistake 1: a node that is used twice
#
# So far each number was used once. Now $y = a \cdot a$, where $dy/da = 2a$.

# %%
((walked, nudged),) = compare(lambda a: mul(a, a), "a", (3.0,), lambda y: push_and_set(y, 1.0))
assert math.isclose(walked, 3.0) and math.isclose(nudged, 6.0, rel_tol=1e-6)

# %% [markdown]
# The walk says 3, and 6 is right. Two edges lead from $a$ to $y$, and each brings a gradient of 3.
# `node.grad = gradient` keeps the one that comes last and forgets the other. But if $a$ is nudged,
# $y$ feels it by *both* ways, and the two effects add up. So must the gradients: where ways meet,
# **add**.


# %%
def push_and_add(node, gradient):
    node.grad += gradient
    for parent, slope in zip(node.parents, node.slopes):
        push_and_add(parent, gradient * slope)


((walked, nudged),) = compare(lambda a: mul(a, a), "a", (3.0,), lambda y: push_and_add(y, 1.0))
assert math.isclose(walked, 6.0)

# %% [markdown]
# ## Predict, then run
#
# `push_and_add` is right for every graph. It sends a message along every way from the result to a
# leaf. Here is a graph of 16 nodes: start with $x$, and 15 times replace it by $x + x$. **How many
# times is the function called?** Make a guess before you run the cell.


# %% jupyter={"outputs_hidden": true}
def doubled(x, times):
    for _ in range(times):
        x = add(x, x)
    return x


def calls(node):
    """How often `push_and_add` would be called: once for each way from the result to any node."""
    return 1 + sum(calls(parent) for parent in node.parents)


for times in (1, 2, 3, 5, 10, 15):
    print(f"{times + 1:3} nodes: {calls(doubled(Value(1.0), times)):6} calls")
assert calls(doubled(Value(1.0), 15)) == 2**16 - 1

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Each doubling doubles the work: the number of *ways* grows exponentially while the number of
# *nodes* grows by one. In the networks to come one number is used by many others, so this is no
# rare case. We want to visit each node **once**, and let it pass on the sum of all it has
# received.
#
# </details>
#
# ## Mistake 2: the wrong order
#
# A first attempt: begin at the result, and take the nodes in the order in which we meet them.


# %%
def walk_as_met(root):
    root.grad = 1.0
    met = [root]
    for node in met:  # the list grows while we walk through it
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += node.grad * slope
            if parent not in met:
                met.append(parent)
    return met


def two_ways(a, b):
    u = mul(a, b)
    return add(u, tanh(u))


pairs = compare(two_ways, "ab", (0.8, 0.5), walk_as_met)
assert all(abs(walked - nudged) > 0.1 for walked, nudged in pairs)

# %% [markdown]
# Both are wrong. $u = ab$ is used twice, by the sum and by the tanh. It was met as a parent of
# the sum, so it passed on what it had, and only then did the tanh report to it. That second part
# arrived too late and never got to $a$ and $b$.
#
# A node may pass on its gradient only when **all who use it have reported**. So the nodes must be
# in an order in which each comes after all its users. Such an order is called **topological**. A
# short way to find one: a function that lists a node *after* all its parents, read backwards.


# %%
def order(root):
    """All nodes behind root, each after all the nodes that use it."""
    listed, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                visit(parent)
            listed.append(node)

    visit(root)
    return listed[::-1]


def walk(root):
    root.grad = 1.0
    for node in order(root):
        for parent, slope in zip(node.parents, node.slopes):
            parent.grad += node.grad * slope


pairs = compare(two_ways, "ab", (0.8, 0.5), walk)
assert np.allclose(*zip(*pairs))

# %% [markdown]
# Why is it right? When a node is listed, all its parents are in the list already; so in the list
# parents come before their users, and read backwards they come after. Here are both walks, with
# the number of each visit. Look at the × node: above it goes second, below it goes third. Above,
# too, it ends with the right gradient, but when it passed it on it had only the part from the sum.

# %%
_, panels = plt.subplots(2, 1, figsize=(6.4, 4.6))
for axes, walker, title in zip(
    panels, (walk_as_met, walk), ("as met: wrong", "topological: right")
):
    y = two_ways(Value(0.8, how="a"), Value(0.5, how="b"))
    visited = walker(y) or order(y)
    draw(y, axes, numbers=visited)
    axes.set_title(title)
    assert visited.index(y.parents[0]) == (1 if walker is walk_as_met else 2)
plt.show()

# %% [markdown]
# ## The whole of it
#
# Here is everything in one piece: the class with the walk as a method, and Python's operators, so
# that we can write `w * x + b`. Only what needs a derivative of its own has slopes; minus and
# division are made of the others. A plain number among the arguments becomes a leaf
# (except an exponent, which stays a plain number).
#
# The cell is long, but its idea is not new. Read it line by line. (`__radd__` is what Python calls
# for `2 + v`, where the number on the left does not know how to add a `Value`.)


# %%
class Value:
    """A number that remembers how it was made."""

    def __init__(self, data, parents=(), slopes=(), how=""):
        self.data, self.parents, self.slopes, self.how = data, parents, slopes, how
        self.grad = 0.0

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0), "+")

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data), "×")

    def __pow__(self, n):
        return Value(self.data**n, (self,), (n * self.data ** (n - 1),), f"^{n}")

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * other**-1

    def __rtruediv__(self, other):
        return self**-1 * other

    __radd__, __rmul__ = __add__, __mul__

    def exp(self):
        y = math.exp(self.data)
        return Value(y, (self,), (y,), "exp")

    def log(self):
        return Value(math.log(self.data), (self,), (1 / self.data,), "log")

    def tanh(self):
        y = math.tanh(self.data)
        return Value(y, (self,), (1 - y * y,), "tanh")

    def relu(self):
        return Value(max(self.data, 0.0), (self,), (float(self.data > 0),), "relu")

    def backward(self):
        self.grad = 1.0
        for node in order(self):
            for parent, slope in zip(node.parents, node.slopes):
                parent.grad += node.grad * slope


# %% [markdown]
# **relu** is $\max(x, 0)$, a favourite in networks because it is cheap. At 0 it has a corner and no
# derivative; we take 0 there, which is the usual choice. Now count the lines, and hold every
# operation to the judge:

# %%
parts = {f for f in vars(Value).values() if isinstance(f, types.FunctionType)} | {order}
lines = [line for f in parts for line in inspect.getsource(f).splitlines() if line.strip()]
print(len(lines), "lines, and three for the class itself (blank ones not counted)")
assert len(lines) + 3 <= 60

pairs = []
for name, f in {
    "+": lambda a, b: a + b + 1 + a,
    "-": lambda a, b: a - b - (1 - a),
    "×": lambda a, b: a * b * 2 * a,
    "/": lambda a, b: a / b + 1 / a + b / 2,
    "power, exp": lambda a, b: a**3 + b**-2 + (a * b).exp(),
    "log, tanh": lambda a, b: a.log() * b.tanh(),
    "relu": lambda a, b: (a * b).relu() + (-a * b).relu(),
}.items():
    print(name)
    pairs += compare(f, "ab", (0.7, 1.3), Value.backward)
assert np.allclose(*zip(*pairs))

# %% [markdown]
# ## A network of single numbers
#
# Now we use it. The task is called "two moons": points on two half circles that reach into each
# other, blurred a little. From the two coordinates of a point, say which moon it belongs to. No
# straight line parts them.


# %%
def two_moons(count, rng, blur=0.15):
    """Points (count, 2), and for each +1 (upper moon) or -1 (lower moon)."""
    upper = np.arange(count) % 2 == 0
    angle = rng.uniform(0, np.pi, count)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(upper[:, None], points, [1.0, 0.5] - points)
    return points + rng.normal(0, blur, points.shape), np.where(upper, 1.0, -1.0)


points, moon = two_moons(80, np.random.default_rng(0))
print(points.shape, moon.shape, moon[:4])

# %% [markdown]
# The network has eight neurons, each like the one that we began with: two weights for the two
# coordinates, a bias, and tanh. Their outputs, weighted and added up with one more bias, are the
# **score** of the point. Above 0 it says "upper", below 0 "lower".


# %%
def new_network(rng, neurons=8):
    """Weights at random: three for each neuron, and the output's."""
    hidden = [[Value(v) for v in rng.normal(0, 1, 3).tolist()] for _ in range(neurons)]
    output = [Value(v) for v in rng.normal(0, 1, neurons + 1).tolist()]
    return hidden, output


def score(network, x1, x2):
    hidden, output = network
    bias = output[-1]
    outputs = [(w1 * x1 + w2 * x2 + b).tanh() for w1, w2, b in hidden]
    return sum((w * h for w, h in zip(output, outputs)), bias)


# %% [markdown]
# How wrong is it? With $t = \pm 1$ for the true moon and $s$ for the score, $t s$ is large where
# the network is right and sure of it, and negative where it is wrong. The **logistic loss**
#
# $$\frac{1}{N} \sum_{i=1}^{N} \log\left(1 + e^{-t_i s_i}\right)$$
#
# is near 0 for the former and grows with $-ts$ for the latter. (It is the cross-entropy of chapter
# 5, for two classes.) To learn is to make it smaller: go from each weight a little way *against*
# its gradient. How far is the **learning rate**. This is **gradient descent**, and that is all of
# it:


# %%
def loss_of(network):
    scores = [score(network, x1, x2) for x1, x2 in points.tolist()]
    return sum((1 + (s * -t).exp()).log() for s, t in zip(scores, moon.tolist())) / len(moon)


def train(network, steps, lr, reset=True):
    hidden, output = network
    weights = [w for row in hidden for w in row] + output
    losses = []
    for _ in range(steps):
        loss = loss_of(network)
        if reset:
            for w in weights:
                w.grad = 0.0
        loss.backward()
        for w in weights:
            w.data -= lr * w.grad
        losses.append(loss.data)
    return losses


# %%
network = new_network(np.random.default_rng(0))
nodes = order(loss_of(network))
losses = train(network, steps=100, lr=3.0)
right = [(score(network, *p).data > 0) == (t > 0) for p, t in zip(points.tolist(), moon)]
print(f"{len(nodes):,} nodes in the graph of one step")
print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}, {sum(right)} of {len(right)} points right")
assert len(nodes) > 5000 and losses[-1] < losses[0] / 8 and sum(right) >= 78

# %% [markdown]
# Each step made a graph of thousands of nodes and walked back through all of them. The picture
# shows what the network would say at each place; black is the border, where the score is 0.

# %% tags=["thumbnail"]
across, up = np.linspace(-1.6, 2.6, 50), np.linspace(-1.1, 1.6, 34)
scores = [[score(network, x1, x2).data for x1 in across.tolist()] for x2 in up.tolist()]
plt.contourf(across, up, np.tanh(scores), levels=np.linspace(-1, 1, 9), cmap="PuOr_r", alpha=0.35)
plt.contour(across, up, scores, levels=[0.0], colors="black")
for side, color in ((1.0, ACCENT), (-1.0, "#5B4A8A")):
    name = "upper moon" if side > 0 else "lower moon"
    plt.plot(*points[moon == side].T, "o", color=color, ms=5, mec="white", mew=0.5, label=name)
plt.legend(loc="lower right")
plt.grid(False)
plt.xlabel("first coordinate")
plt.ylabel("second coordinate")
plt.show()

# %% [markdown]
# ## Mistake 3: the forgotten reset
#
# In `train` there are two lines that are easily left out: before each walk every weight's `grad` is
# set back to 0. The walk *adds* to `grad`, as mistake 1 taught us. What a weight still has from
# the step before is added to as well. See it first where we know everything: the loss
# $(w - 3)^2$, of which the gradient is $2(w - 3)$.

# %%
w = Value(0.0)
for step in range(3):
    ((w - 3) ** 2).backward()
    print(f"walk {step + 1} without a reset: grad {w.grad:6.1f}, and right is {2 * (w.data - 3)}")
assert w.grad == 3 * 2 * (w.data - 3)

# %% [markdown]
# After three walks it is three times too large. While learning, $w$ moves, and `grad` is the sum of
# all gradients since the start. **Predict, then run:** what will become of $w$ on its way to 3, and
# of the training of the network?


# %%
def roll(reset, steps=40, lr=0.05):
    w, track = Value(0.0), []
    for _ in range(steps):
        if reset:
            w.grad = 0.0
        ((w - 3) ** 2).backward()
        w.data -= lr * w.grad
        track.append(w.data)
    return track


rolled = {True: roll(True), False: roll(False)}
trained = {True: losses, False: train(new_network(np.random.default_rng(0)), 100, 3.0, False)}

# %% jupyter={"outputs_hidden": true}
_, panels = plt.subplots(1, 2, figsize=(7.2, 3.0))
for axes, curves, name in zip(panels, (rolled, trained), ("w", "loss of the network")):
    axes.plot(curves[True], color=BLUE, label="with reset")
    axes.plot(curves[False], color=ACCENT, label="without", lw=1.2)
    axes.set(xlabel="step", ylabel=name)
panels[0].legend(ncols=2, loc="upper left")
panels[0].set_ylim(-0.5, 7.5)
plt.show()

late = {reset: float(np.mean(curve[-40:])) for reset, curve in trained.items()}
print("mean loss of the last 40 steps:", {k: round(v, 3) for k, v in late.items()})
assert (
    abs(rolled[True][-1] - 3) < 0.1
    and max(rolled[False][-20:]) > 5
    and late[False] > 2 * late[True]
)

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# With the reset, $w$ comes to rest at 3. Without it, $w$ swings like a ball in a bowl without
# friction: at the bottom the last gradient is 0, but the sum of the earlier ones carries it on. The
# network does the same in many directions at once, and its loss is still jumping at the end.
#
# </details>
#
# This mistake is the most treacherous of the three, because it does not always look bad. Try the
# network with a smaller learning rate:

# %%
for reset in (True, False):
    tail = train(new_network(np.random.default_rng(0)), 60, 0.5, reset)[-10:]
    late[reset] = float(np.mean(tail))
    print(f"learning rate 0.5, reset {reset!s:5}: mean loss of the last 10 steps {late[reset]:.3f}")
assert late[False] < late[True]

# %% [markdown]
# Here the wrong one is ahead: the collected gradients make its steps longer, and at this rate
# longer steps help. (Chapter 5 returns to the idea, with friction: it is called momentum.) So a
# falling loss is no proof that the gradients are right. Only a comparison such as `compare` is.
#
# ## A long chain
#
# `order` calls itself for a parent, that call calls itself for *its* parent, and so on. Python
# allows only so many calls inside each other.

# %%
x = y = Value(1.0)
for _ in range(100_000):
    y = y + 0.0
try:
    y.backward()
except RecursionError as error:
    print("RecursionError:", error)
else:
    raise AssertionError("100,000 calls inside each other should have been too many")

# %% [markdown]
# Nothing is wrong with the graph; the walk was written in a way that cannot go deep. tinyfractal
# orders its graphs with two loops and no recursion, so the same chain is no trouble:

# %%
x = tf.Tensor(1.0, requires_grad=True)
y = x
for _ in range(100_000):
    y = y + 0.0
y.backward()
print("gradient through 100,000 operations:", x.grad)
assert x.grad.item() == 1.0

# %% [markdown]
# How? Not by asking "have all parents been listed?" but by **counting users** (Kahn, *Topological
# sorting of large networks*, Communications of the ACM, 1962). First count for each node how many
# times it is used, meeting every node once: remember those that you have met in a dict, since to
# look through a long list takes long. Then list the result, and take one off the count of each of
# its parents. Whoever comes down to 0 has heard from all its users and is listed next. In exercise
# 3 you write this.
#
# Let us look at the order that tinyfractal finds for the graph of mistake 2, and at its drawing:

# %%
from tinyfractal.engine.backward import backward_order

a, b = tf.Tensor(0.8, requires_grad=True), tf.Tensor(0.5, requires_grad=True)
u = a * b
y = u + tf.tanh(u)
names = [node.primitive.__name__ for node in backward_order([y.node])]
print(names)
assert names == ["add", "tanh", "mul"]

# %%
tf.plot.plot_graph(y)

# %% [markdown]
# Under each name stands the shape of its array; `()` is a single number.
#
# ## Now read the source
#
# You can now read [`engine/node.py`](../tinyfractal/engine/node.py), and the first two functions of
# [`engine/backward.py`](../tinyfractal/engine/backward.py).
#
# - `Node` is what a `Value` remembers. It is kept apart from the number: a `Tensor` points to its
#   node and a node to its parents. In the place of slopes a node has its `primitive`, which knows
#   how to compute them, and the arrays that are needed for it. Leaves have no node.
# - `backward_order` is your `order`, by counting. The first loop counts uses, the second lists.
# - `backpropagate` is your `backward`. Its last line is the answer to mistake 1, the line
#   `for node in order` to mistake 2. Its gradients are kept in a dictionary of its own, and only
#   leaves have a `grad` that lasts. `accumulate` in
#   [`engine/tensor.py`](../tinyfractal/engine/tensor.py) then adds to it, so mistake 3 is still
#   yours to make; in a training loop `zero_grad` of the
#   [optimizer](../tinyfractal/optim/optimizer.py) is the reset. What stands below
#   `run_backward` is the subject of chapter 4.
#
# What `sum_to` and the gradient rules do is the subject of chapter 3, where the numbers become
# arrays.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/02_backprop.py`.
#
# **1. An operation of your own.** The **sigmoid**, chapter 1's logistic function, is $\sigma(x) = 1
# / (1 + e^{-x})$. With the operators it takes several nodes. Make it one node with one slope: take
# a `Value`, return a `Value`.


# %%
def sigmoid(v): ...


check_sigmoid(sigmoid, Value)

# %% [markdown]
# **2. How many ways?** `push_and_add` is called once for each way from the result to any node, the
# result itself included. Return the number of calls for `doubled(x, times)`, as a formula: walking
# would take for ever.


# %%
def visits(times): ...


check_visits(visits)

# %% [markdown]
# **3. No recursion.** Write `order` by counting users, with no function that calls itself. Return a
# list of all nodes behind `root`, each once and after all its users. Careful: a node may use the
# same parent twice.


# %%
def my_order(root): ...


check_order(my_order)

# %% [markdown]
# **4. Walk twice.** Call `backward` twice on the same `y` (any with an operation between leaf and
# result) and the leaves get *more* than twice the gradient, because the nodes on the way still
# have their `grad` from the first walk. Write a walk after which every leaf has exactly its
# gradient *added* to its `grad`, however often it has run before. You may use `order`, and of
# the nodes `data`, `parents`, `slopes` and `grad`.


# %%
def my_backward(root): ...


check_twice(my_backward)
