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
# *40 minutes. Afterwards you can read [`engine/node.py`](../tinyfractal/engine/node.py), and
# `backpropagate` and `backward_order` in
# [`engine/backward.py`](../tinyfractal/engine/backward.py).*
#
# `loss.backward()` looks like magic. Its idea fits in sixty lines of Python, and in this chapter
# you write them. On the way you make the three mistakes that almost everyone makes once, and see
# each of them give a wrong gradient. At the end your own engine trains a network.

# %%
import inspect
import math
import types

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.backprop import check_order, check_sigmoid, check_twice, check_visits
from figures import BLUE, GRAY, ORANGE, PURPLE, animate, use_style
from smaller import smaller

use_style()

# %% [markdown]
# In chapter 1 you walked back through $y = \tanh(w x + b)$ by hand. Now a program takes the walk.
# This is **backpropagation**, or backprop, and a program that does it is called **autograd**. Press
# **Forward**, and the neuron computes its result step by step. Press **Backward**, and the gradient
# walks back. Drag a number, and all the others follow.

# %%
w, x, b = (tf.Tensor(number, requires_grad=True) for number in (0.5, 2.0, -0.3))
tf.explore(lambda: tf.tanh(w * x + b), title="A neuron: y = tanh(w x + b)")

# %% [markdown]
# ## A number that remembers
#
# To walk back, a number must know two things: its **parents**, which are the numbers it was
# computed from, and for each parent a **slope**: how fast it changes with that parent.


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
# Each operation knows its own derivative from school and nothing else. In $ab$ a nudge of $a$
# counts $b$ times, and a nudge of $b$ counts $a$ times: the slopes of `mul` are `(b.data, a.data)`.
#
# Build the neuron with them, and you get a **graph**. The numbers are its **nodes**, an edge leads
# from each parent to the number computed from it, and the slopes stand on the edges. The nodes at
# the left ends, which were not computed, are the **leaves**.

# %%
w, x, b = Value(0.5, how="w"), Value(2.0, how="x"), Value(-0.3, how="b")
y = tanh(add(mul(w, x), b))


# %% jupyter={"source_hidden": true}
def places(root):
    """Where to draw each node: the result on the right, a parent left of all that use it."""
    depth = {}

    def place(node, d):
        depth[node] = max(depth.get(node, 0), d)
        for parent in node.parents:
            place(parent, d + 1)

    place(root, 0)
    columns = [[n for n in depth if depth[n] == d] for d in range(max(depth.values()) + 1)]
    return {n: (-d, (len(c) - 1) / 2 - i) for d, c in enumerate(columns) for i, n in enumerate(c)}


def draw(root, axes, notes, active=None, on_edge=lambda node, slope: ""):
    """The graph behind root: a box with its value for each node, a note below it."""
    at = places(root)
    for node, (x, y) in at.items():
        for parent, slope in zip(node.parents, node.slopes):
            left, low = at[parent]
            bend = -0.5 if x - left > 1 else 0  # around what is between
            color, width = (ORANGE, 2.4) if node is active else (GRAY, 1)
            style = {"arrowstyle": "-", "color": color, "lw": width}
            style["connectionstyle"] = f"arc3,rad={bend}"
            axes.annotate("", (x, y), (left, low), arrowprops=style, zorder=1)
            middle = ((x + left) / 2, (y + low) / 2 + 0.06 + (0.5 if bend else 0))
            axes.text(*middle, on_edge(node, slope), color=ORANGE, ha="center", va="bottom")
        box = {"boxstyle": "round", "fc": "#F8DFCB" if node is active else "white", "ec": BLUE}
        axes.text(x, y, f"{node.how}\n{node.data:.3g}", ha="center", va="center", bbox=box)
        axes.text(x, y - 0.36, notes.get(node, ""), color=ORANGE, ha="center", va="center")
    low, high = (f(height for _, height in at.values()) for f in (min, max))
    left = min(across for across, _ in at.values())
    axes.set(xlim=(left - 0.4, 0.4), ylim=(low - 0.55, high + 0.4))
    axes.axis("off")


_, axes = plt.subplots(figsize=(6.4, 2.4))
draw(y, axes, {}, on_edge=lambda node, slope: f"{slope:.3g}")
axes.set_title("What the neuron remembers: values in the boxes, slopes on the edges")
plt.show()

# %% [markdown]
# ## The walk back
#
# The **gradient** of a node is the derivative of the final result with respect to it. We keep it in
# `grad`. One step back along an edge, the chain rule says, multiplies it by the slope:
#
# $$\frac{dy}{d\,\text{parent}} = \frac{dy}{d\,\text{node}} \cdot \text{slope}$$
#
# A node that knows its gradient can tell its parents theirs, they tell their parents, and so on to
# the leaves. The walk starts at the result, with $dy/dy = 1$.


# %%
def push_and_set(node, gradient):
    node.grad = gradient
    for parent, slope in zip(node.parents, node.slopes):
        push_and_set(parent, gradient * slope)


push_and_set(y, 1.0)
print({leaf.how: round(leaf.grad, 4) for leaf in (w, x, b)})

# %% jupyter={"source_hidden": true}
assert math.isclose(w.grad, 2 * (1 - math.tanh(0.7) ** 2)) and math.isclose(x.grad, w.grad / 4)

# %% [markdown]
# These are the three numbers of chapter 1. The page from the beginning can play your engine too. It
# reads `data`, `parents` and `slopes`:

# %%
tf.explore(y, title="The same neuron, in your own engine")

# %% [markdown]
# The judge of this chapter is nudging, as in chapter 1. `compare` takes a function of Values and a
# walk, and puts each leaf's gradient beside its central difference.


# %% jupyter={"source_hidden": true}
def compare(f, names, numbers, walk, h=1e-6, show=True):
    """Print and return, for each leaf, the gradient by the walk and by central differences."""
    leaves = [Value(number, how=name) for name, number in zip(names, numbers)]
    walk(f(*leaves))
    pairs = []
    for i, leaf in enumerate(leaves):
        # all numbers as they are, and number i a little larger, a little smaller
        up, down = ([Value(v + s * (i == j)) for j, v in enumerate(numbers)] for s in (h, -h))
        pairs.append((leaf.grad, (f(*up).data - f(*down).data) / (2 * h)))
        same = math.isclose(*pairs[-1], rel_tol=1e-6, abs_tol=1e-8)
        if show:
            walked, nudged = pairs[-1]
            print(f"d/d{leaf.how}: walk {walked:9.6f}   differences {nudged:9.6f}", end="")
            print("" if same else "   <- wrong")
    return pairs


# %%
def neuron(w, x, b):
    return tanh(add(mul(w, x), b))


pairs = compare(neuron, "wxb", (0.5, 2.0, -0.3), lambda y: push_and_set(y, 1.0))
assert np.allclose(*zip(*pairs))

# %% [markdown]
# ## Mistake 1: a node that is used twice
#
# Until now each number was used once. Now take $y = a \cdot a$, where $dy/da = 2a$:

# %%
((walked, nudged),) = compare(lambda a: mul(a, a), "a", (3.0,), lambda y: push_and_set(y, 1.0))
assert math.isclose(walked, 3.0) and math.isclose(nudged, 6.0, rel_tol=1e-6)

# %% [markdown]
# The walk says 3, but 6 is right. Two edges lead from $a$ to $y$, and each brings a gradient of 3.
# `node.grad = gradient` keeps the last and forgets the first. But a nudge of $a$ reaches $y$ along
# *both* paths, and the effects add up. So must the gradients: where paths meet, **add**.


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
# `push_and_add` is right for every graph. It follows every path from the result back to a leaf.
# Here is a graph of 16 nodes: start with $x$, and 15 times replace it by $x + x$. **How many times
# is the function called?** Guess before you look.


# %% jupyter={"outputs_hidden": true}
def doubled(x, times):
    for _ in range(times):
        x = add(x, x)
    return x


def calls(node):
    """How often `push_and_add` would be called: once for each path from the result to a node."""
    return 1 + sum(calls(parent) for parent in node.parents)


for times in (1, 2, 3, 5, 10, 15):
    print(f"{times + 1:3} nodes: {calls(doubled(Value(1.0), times)):6} calls")
assert calls(doubled(Value(1.0), 15)) == 2**16 - 1

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Each doubling adds one node and doubles the number of *paths*: 65535 calls for 16 nodes. In a
# network one number is used by many others, so a walk along all paths would never end. We must
# visit each node **once**, and let it pass on the sum of all it has received.
#
# </details>
#
# ## Mistake 2: the wrong order
#
# Once, but in which order? A first try: begin at the result, and take the nodes as we meet them.


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


def two_paths(a, b):
    u = mul(a, b)
    return add(u, tanh(u))


pairs = compare(two_paths, "ab", (0.8, 0.5), walk_as_met)
assert all(abs(walked - nudged) > 0.1 for walked, nudged in pairs)

# %% [markdown]
# Both are wrong. Two nodes use $u = ab$: the sum and the tanh. The walk met $u$ as a parent of the
# sum, so $u$ passed on what it had. Only then did the tanh report to it, and that part never got to
# $a$ and $b$.
#
# A node may pass on its gradient only when **all nodes that use it have reported**. So take the
# nodes in an order in which each comes after all its users, a **topological order**. A short way to
# find one: list every node *after* its parents, and read the list backward.


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


pairs = compare(two_paths, "ab", (0.8, 0.5), walk)
assert np.allclose(*zip(*pairs))

# %% [markdown]
# Watch the × node in both walks. Above it passes on a gradient of 1, and the rest arrives too late.
# Below it waits for the tanh, and passes on all it has.


# %% jupyter={"source_hidden": true}
def frames_of(walker):
    """The graph, its nodes as the walk visits them, and all gradients after each visit."""
    y = two_paths(Value(0.8, how="a"), Value(0.5, how="b"))
    visited = walker(y) or order(y)
    gradients, frames = dict.fromkeys(visited, 0.0), []
    gradients[y] = 1.0
    for node in visited:
        for parent, slope in zip(node.parents, node.slopes):
            gradients[parent] += gradients[node] * slope
        frames.append(dict(gradients))
    return y, visited, [{y: 1.0}, *frames]


figure, panels = plt.subplots(2, 1, figsize=(6.0, 4.4), layout="none")
figure.subplots_adjust(left=0.02, right=0.98, bottom=0.01, top=0.93, hspace=0.15)
walks = [frames_of(walker) for walker in (walk_as_met, walk)]
names = "Nodes as we meet them: wrong", "Each node after its users: right"


def step(frame):
    for axes, (root, visited, gradients), name in zip(panels, walks, names):
        node = visited[frame - 1] if frame else None
        notes = {n: f"grad {g:.3g}" for n, g in gradients[frame].items() if g}

        def sent(user, slope, node=node, known=gradients[frame]):
            return f"+{known[node] * slope:.3g}" if user is node else ""

        axes.clear()
        draw(root, axes, notes, node, sent)
        axes.set_title(f"{name}, visit {frame} of 5" if frame else name)


by_paths = compare(two_paths, "ab", (0.8, 0.5), lambda y: push_and_add(y, 1.0), show=False)
assert np.allclose(*zip(*by_paths))  # slow, but right
for (root, visited, _), number in zip(walks, (1, 2)):
    assert visited.index(root.parents[0]) == number
animate(
    figure,
    step,
    6,
    12,
    "Two walks over one graph. Above, the × node passes on before tanh reports.",
)

# %% [markdown]
# ## The whole engine
#
# Here it is in one piece, with Python's operators, so that you can write `w * x + b`. Minus and
# division are built from the others. The cell is long, but nothing in it is new. (For `2 + v`
# Python calls `__radd__`.)


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
# **relu** is $\max(x, 0)$. At 0 it has a corner and no derivative; the usual choice there is 0. Now
# count the lines, and hand every operation to the judge:

# %% jupyter={"source_hidden": true}
parts = {f for f in vars(Value).values() if isinstance(f, types.FunctionType)} | {order}
lines = [line for f in parts for line in inspect.getsource(f).splitlines() if line.strip()]
print(len(lines), "lines, and three for the class itself (blank ones not counted)")
assert len(lines) + 3 <= 60

pairs = []
for f in (
    lambda a, b: a + b + 1 + a,
    lambda a, b: a - b - (1 - a),
    lambda a, b: a * b * 2 * a,
    lambda a, b: a / b + 1 / a + b / 2,
    lambda a, b: a**3 + b**-2 + (a * b).exp(),
    lambda a, b: a.log() * b.tanh(),
    lambda a, b: (a * b).relu() + (-a * b).relu(),
):
    pairs += compare(f, "ab", (0.7, 1.3), Value.backward, show=False)
worst = max(abs(walked - nudged) for walked, nudged in pairs)
print(len(pairs), f"gradients; the largest difference from nudging is {worst:.0e}")
assert np.allclose(*zip(*pairs))

# %% [markdown]
# ## A network of single numbers
#
# Now train something. The task is called "two moons": points on two interlocking half circles, a
# little blurred. Which moon does a point belong to? No straight line separates them.


# %%
def two_moons(count, rng, blur=0.15):
    """Points (count, 2), and for each +1 (upper moon) or -1 (lower moon)."""
    upper = np.arange(count) % 2 == 0
    angle = rng.uniform(0, np.pi, count)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(upper[:, None], points, [1.0, 0.5] - points)
    return points + rng.normal(0, blur, points.shape), np.where(upper, 1.0, -1.0)


points, moon = two_moons(60, np.random.default_rng(0))

# %% jupyter={"source_hidden": true}
angle = np.linspace(0, 2 * np.pi, 3600)  # no direction sees all of one moon before the other
seen = points @ np.stack([np.cos(angle), np.sin(angle)])
assert (seen[moon > 0].min(axis=0) < seen[moon < 0].max(axis=0)).all()

# %% [markdown]
# The network has eight neurons like ours, each with two weights for the two coordinates and a bias.
# Their outputs, weighted and added up with one more bias, are the **score** of the point. Above 0
# it says "upper", below 0 "lower".


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
# How wrong is it? Let $t = \pm 1$ be the true moon and $s$ the score. Then $ts$ is large where the
# network is right and sure, and negative where it is wrong. The **logistic loss** is near 0 for the
# former and grows for the latter:
#
# $$\frac{1}{N} \sum_{i=1}^{N} \log\left(1 + e^{-t_i s_i}\right)$$
#
# To learn is to make it smaller: move each weight a little way *against* its gradient. How far is
# set by the **learning rate**. This is **gradient descent**, and that is all of it:


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
assert len(nodes) > 4000 and losses[-1] < losses[0] / 8 and sum(right) >= 58

# %% [markdown]
# The picture shows what the network now says about every point. The black line is its border, where
# the score is 0.

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
across, up = np.linspace(-1.6, 2.6, 50), np.linspace(-1.1, 1.6, 34)
scores = [[score(network, x1, x2).data for x1 in across.tolist()] for x2 in up.tolist()]
plt.contourf(across, up, np.tanh(scores), levels=np.linspace(-1, 1, 9), cmap="PuOr_r", alpha=0.35)
plt.contour(across, up, scores, levels=[0.0], colors="black")
for side, color, name in ((1.0, ORANGE, "upper moon"), (-1.0, PURPLE, "lower moon")):
    plt.plot(*points[moon == side].T, "o", color=color, ms=5, mec="white", mew=0.5, label=name)
plt.legend(loc="lower right")
plt.grid(False)
plt.xlabel("first coordinate")
plt.ylabel("second coordinate")
plt.title("Learned with your own backprop")
plt.show()

# %% [markdown]
# ## Mistake 3: the forgotten reset
#
# The walk *adds* to `grad`. That is why `train` sets every weight's `grad` back to 0 before each
# walk, in two lines that are easily forgotten. Look at the loss $(w - 3)^2$, whose gradient is
# $2(w - 3)$:

# %%
w = Value(0.0)
for step in range(3):
    ((w - 3) ** 2).backward()
    print(f"walk {step + 1} without a reset: grad {w.grad:6.1f}, and right is {2 * (w.data - 3)}")
assert w.grad == 3 * 2 * (w.data - 3)

# %% [markdown]
# After three walks it is three times too large. While learning, $w$ moves, and `grad` is the sum of
# all gradients since the start. **Predict, then run:** what becomes of $w$ on its way to 3? And
# what becomes of the network, trained from five different starts?


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


starts = smaller("starts", 5, in_browser=2)
rolled = {reset: roll(reset) for reset in (True, False)}
trained = {
    reset: [
        train(new_network(np.random.default_rng(seed)), 80, 3.0, reset) for seed in range(starts)
    ]
    for reset in (True, False)
}

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
_, panels = plt.subplots(1, 2, figsize=(7.2, 3.0))
for reset, color, name in ((True, BLUE, "with reset"), (False, ORANGE, "without")):
    panels[0].plot(rolled[reset], color=color, label=name)
    for curve in trained[reset]:
        panels[1].semilogy(curve, color=color, lw=1.2)
panels[0].set(xlabel="step", ylabel="w", ylim=(-0.5, 7.5), title="w on its way to 3")
panels[0].legend(ncols=2, loc="upper left")
panels[1].set(xlabel="step", ylabel="loss", ylim=(1e-4, 4), title="The network, from each start")
plt.show()

late = {reset: [float(np.mean(c[-20:])) for c in curves] for reset, curves in trained.items()}
for reset, name in ((True, "with reset"), (False, "without")):
    print(f"{name:10}: mean loss of the last 20 steps", [f"{v:.3f}" for v in late[reset]])
assert abs(rolled[True][-1] - 3) < 0.1 and max(rolled[False][-20:]) > 5
assert max(late[True]) < 0.1 < max(late[False]) and min(late[False]) < min(late[True])

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# With the reset, $w$ comes to rest at 3. Without it, $w$ swings like a ball in a bowl without
# friction: at the bottom the gradient is 0, but the sum of the earlier ones carries it on. The
# network does this in many directions at once. From some starts its loss ends far higher than with
# the reset. From others it ends *lower*.
#
# </details>
#
# This makes it the most treacherous of the three mistakes: a wrong gradient can look better than
# the right one. (Chapter 5 adds friction to such a sum and calls it momentum.) So a falling loss is
# no proof that the gradients are right. Only a comparison such as `compare` is.
#
# ## A long chain
#
# `order` calls itself for each parent, and Python allows only so many calls inside each other:

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
# tinyfractal needs no recursion. It **counts users** (Kahn, *Topological sorting of large
# networks*, 1962). First count how many times each node is used. Then list the result, and take one
# off the count of each of its parents. A parent that comes down to 0 has heard from all its users,
# so it is listed next. You write this in exercise 3.

# %%
from tinyfractal.engine.backward import backward_order

x = y = tf.Tensor(1.0, requires_grad=True)
for _ in range(100_000):
    y = y + 0.0
y.backward()
print("gradient through 100,000 operations:", x.grad)
assert x.grad.item() == 1.0

a, b = tf.Tensor(0.8, requires_grad=True), tf.Tensor(0.5, requires_grad=True)
u = a * b
names = [node.primitive.__name__ for node in backward_order([(u + tf.tanh(u)).node])]
print("the graph of mistake 2:", names)
assert names == ["add", "tanh", "mul"]

# %% [markdown]
# ## What you now own
#
# You own an autograd engine that you wrote yourself, and the three rules that keep it right: where
# paths meet, gradients add; a node passes on its gradient only after all its users have reported;
# and each step starts from zero. PyTorch and tinyfractal take care of the first two, and leave the
# third to you. What your engine still lacks is speed: that is the next chapter.
#
# ## Now read the source
#
# - `Node` in [`engine/node.py`](../tinyfractal/engine/node.py) is what a `Value` remembers, kept
#   apart from the number: a `Tensor` points to its node and a node to its parents. Instead of
#   slopes it has a `primitive`, which computes them, and the arrays saved for that. Leaves have no
#   node.
# - `backward_order` in [`engine/backward.py`](../tinyfractal/engine/backward.py) is your `order`,
#   by counting. The first loop counts uses, the second lists.
# - `backpropagate` is your `backward`. Its last line answers mistake 1, the line
#   `for node in order` mistake 2. It keeps its gradients in a dictionary of its own, and
#   `accumulate` in [`engine/tensor.py`](../tinyfractal/engine/tensor.py) adds them to the leaves'
#   `grad`. So mistake 3 is still yours to make; the reset is `zero_grad` of the
#   [optimizer](../tinyfractal/optim/optimizer.py).
#
# Chapter 3 explains `sum_to`, chapters 4 and 16 the rest of the file.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/02_backprop.py`.
#
# **1. An operation of your own.** The **sigmoid**, chapter 1's logistic function, is
# $\sigma(x) = 1 / (1 + e^{-x})$. With operators it takes several nodes. Make it one node with one
# slope: take a `Value`, return a `Value`.


# %%
def sigmoid(v): ...


check_sigmoid(sigmoid, Value)

# %% [markdown]
# **2. How many paths?** `push_and_add` is called once for each path from the result to any node,
# the result itself included. Return the number of calls for `doubled(x, times)`, as a formula.


# %%
def visits(times): ...


check_visits(visits)

# %% [markdown]
# **3. No recursion.** Write `order` by counting users, with no function that calls itself. Return a
# list of all nodes behind `root`, each once and after all its users. Careful: a node may use the
# same parent twice, and looking through a long list is slow; a dict is quick.


# %%
def my_order(root): ...


check_order(my_order)

# %% [markdown]
# **4. Walk twice.** Call `backward` twice on the same `y`, and the leaves get *more* than twice the
# gradient, because the nodes between still have their `grad` from the first walk. Write a walk that
# *adds* exactly its gradient to the `grad` of every leaf, however often it has run before. You may
# use `order`, and of the nodes `data`, `parents`, `slopes` and `grad`.


# %%
def my_backward(root): ...


check_twice(my_backward)
