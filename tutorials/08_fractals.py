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
# # 8. What is fractal about FractalNet?
#
# *35 minutes. Afterwards you can read [`fractal.py`](../tinyfractal/fractal.py) (all but drop-path)
# and [`recurse.py`](../tinyfractal/recurse.py).*
#
# Each leaf of a fern looks like the whole fern. To draw such a fractal you take one rule and apply
# it to its own result, again and again. Do that to a convolution, and you get the block that
# FractalNet is made of, in five lines of code. The same lines then tell you how deep the block is,
# how many convolutions it has and how many paths lead through it.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from numpy.polynomial import Polynomial

import tinyfractal as tf
from tinyfractal import nn, plot, recurse
from tinyfractal.engine.backward import backward_order
from tinyfractal.fractal import ConvUnit, fractal_depth, fractal_parameters

from exercises.fractals import check_design, check_joins, check_paths, check_thrice
from figures import BLUE, GRAY, ORANGE, animate, use_style
from smaller import smaller

use_style()

# %% [markdown]
# Here is such a block, small enough that all its numbers fit on a page. Its branches, side by side,
# are called columns. Press **Forward** and follow one column from the top to the bottom; then
# another. Where do they meet? Now choose a single column at the top right: the rest is dashed, and
# what remains is a plain network.

# %%
tf.seed(0)
net = tf.FractalNet(in_channels=1, columns=3, channels=(2,))
block = net.blocks[0]
image = tf.Tensor(np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype(np.float32))
ways = {"everything": tf.fractal.keep_all}
ways |= {f"column {c}": net.keep_column(c) for c in range(3)}
tf.explore(
    {name: lambda keep=keep: tf.mean(block(image, keep) ** 2) for name, keep in ways.items()},
    title="A fractal block of three columns",
)

# %% [markdown]
# ## F(F(x))
#
# This library grew from a blog article, "FractalNet Explained". Its idea in one formula is
# $F(x) = F(F(x))$: a function is applied to its own output. Its code is a layer that is called
# twice. As a module, with any number of times:


# %%
class Again(nn.Module):
    def __init__(self, layer, times):
        self.layer, self.times = layer, times

    def forward(self, x):
        for _ in range(self.times):
            x = self.layer(x)
        return x


# %% [markdown]
# The article's example is a linear layer from 10 numbers to 10, applied twice. tinyfractal calls
# the module `RecursiveBlock`, and prints the article's three lines:

# %%
print(recurse.article_example())

# %% [markdown]
# It promises constant parameters and growing depth. Count the first, measure the second:
# `measured_depth` finds the path through the recorded graph with the most matrix products.

# %%
x = tf.Tensor(np.ones(10, np.float32))
for times in (1, 2, 4, 8, 16):
    net = Again(nn.Linear(10, 10), times)
    depth, count = recurse.measured_depth(net(x)), net.count_parameters()
    print(f"applied {times:2} times: depth {depth:2}, parameters {count}")
    assert depth == times and count == 110

# %% [markdown]
# Both are true. But this is a chain. Where are the article's branches that meet again, and what is
# fractal about it? Ask the paper (Larsson, Maire & Shakhnarovich 2016, arXiv 1605.07648).
#
# ## A rule applied to its own result
#
# First take a fractal that you can see, the Koch curve. The rule: *replace each piece of a line by
# four pieces of a third of its length.* (A point is a complex number here, so a turn by 60° is a
# multiplication by $e^{i\pi/3}$.)


# %%
def koch(points):
    start, third = points[:-1], np.diff(points) / 3
    tip = start + third + third * np.exp(1j * np.pi / 3)
    new = np.stack([start, start + third, tip, start + 2 * third], axis=1)
    return np.append(new.ravel(), points[-1])


# %% jupyter={"source_hidden": true}
points = np.array([0, 1 + 0j])
figure, panels = plt.subplots(1, 5, figsize=(9, 1.2), sharex=True, sharey=True)
for generation, axes in enumerate(panels):
    axes.plot(points.real, points.imag, color="black", lw=1)
    axes.set_title(f"{len(points) - 1} piece{'s' * (generation > 0)}", loc="center")
    axes.set_aspect("equal")
    axes.axis("off")
    points = koch(points)
plt.show()

# %% [markdown]
# Each curve is made of four copies of the one before. FractalNet's rule, for networks: *the next
# block is two copies of this one in a row, and beside them one convolution.* Watch a block unfold,
# with the signal flowing from the top to the bottom. Each box $f_C$ is replaced by its rule, until
# only convolutions are left. (A long box is a single convolution too; it runs beside everything to
# its right.)

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(3.6, 3.9))


def box(C, x, y, tall, steps):
    """f_C with its input at the top (x, y): as a box, or after `steps` replacements."""
    if steps and C > 1:
        box(1, x, y, tall, 1)
        box(C - 1, x + 1, y, tall / 2, steps - 1)
        box(C - 1, x + 1, y + tall / 2, tall / 2, steps - 1)
        return
    done = C == 1 and steps > 0
    color = BLUE if done else ORANGE
    axes.add_patch(Rectangle((x + 0.06, y + 0.08), C - 0.12, tall - 0.16, fc=color, alpha=0.25))
    axes.add_patch(Rectangle((x + 0.06, y + 0.08), C - 0.12, tall - 0.16, fill=False, ec=color))
    name = "conv" if done else f"$f_{C}$"
    axes.text(x + C / 2, y + tall / 2, name, ha="center", va="center", size=9 if done else 14)


def draw(steps):
    axes.clear()
    axes.set(xlim=(0, 4), ylim=(8.4, -0.4))
    axes.axis("off")
    box(4, 0, 0, 8, steps)
    rule = [f"$f_{C}$: conv, and beside it $f_{C - 1}$ twice" for C in (4, 3, 2)]
    axes.set_title(["a block of four columns", *rule, "$f_1$: conv"][steps], loc="center")


animate(figure, draw, frames=5, seconds=8, alt="A block of four columns unfolds by its rule.")

# %% [markdown]
# And now as a formula:
#
# $$f_1(z) = \mathrm{conv}(z) \qquad\qquad f_{C+1}(z) = \mathrm{conv}(z) \;\oplus\; f_C(f_C(z))$$
#
# $\oplus$ is the **join**, where branches meet; it will be a mean. $C$ counts the **columns**, the
# branches side by side. "conv" is a $3 \times 3$ convolution with its batch norm and ReLU. You can
# try the rule without any network. Let it write text:


# %%
def f(C, z):
    if C == 1:
        return f"conv({z})"
    return f"conv({z}) ⊕ {f(C - 1, f(C - 1, z))}"


for C in (1, 2, 3):
    print(f"f{C}(z) =", f(C, "z"))

# %% [markdown]
# So the article's formula is **one half of this rule**: the $f_C \circ f_C$, which doubles the
# depth, without the $\oplus\ \mathrm{conv}(z)$, which makes the branches. And in the paper each
# "conv" has weights of its own; the article's code uses one layer everywhere.
#
# This is how the library draws the blocks. Look for the two blocks $f_3$ inside $f_4$, and the two
# $f_2$ in each of them: the parts look like the whole.

# %% tags=["thumbnail"]
plot.draw_recursion(4)

# %% [markdown]
# ## Predict, then run
#
# The text for $f_3$ is `conv(z) ⊕ conv(m) ⊕ conv(conv(m))`, where `m` stands for $f_2(z)$, the join
# in the middle. Three branches meet at the end. Taken literally, the rule joins twice: first the
# last two, then their result with `conv(z)`. **Does it matter, if the join is the mean?** Join
# three numbers in both ways, and let the engine find the weight of each. (The weight is the
# derivative of the result.)

# %% jupyter={"outputs_hidden": true}
for name, join in (
    ("mean of means", lambda a, b, c: tf.join([a, tf.join([b, c])])),
    ("one mean     ", lambda a, b, c: tf.join([a, b, c])),
):
    leaves = [tf.Tensor([value], requires_grad=True) for value in (3.0, 6.0, 12.0)]
    result = join(*leaves)
    result.backward([1.0])
    weights = [leaf.grad.item() for leaf in leaves]
    print(f"{name}  result {result.item():.2f}   weights {np.round(weights, 3)}")
    assert np.allclose(weights, 1 / 3) == (name == "one mean     ")

# %% [markdown]
# The same question for a block of five columns:

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
nested = [1 / 2**c for c in (1, 2, 3, 4, 4)]
plt.figure(figsize=(5, 2.4))
plt.bar(np.arange(5) - 0.2, nested, 0.4, color=GRAY, zorder=3, label="mean of means")
plt.bar(np.arange(5) + 0.2, [1 / 5] * 5, 0.4, color=ORANGE, zorder=3, label="one mean")
plt.xticks(range(5))
plt.xlabel("column (0 is the shallowest)")
plt.ylabel("weight at the last join")
plt.legend()
plt.show()
assert sum(nested) == 1 and nested[-1] == 1 / 16

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# It does. In a mean of means the shallow branch, joined last, has one half to itself, the next one
# half of the rest, and so on. The deepest of five columns would contribute a sixteenth to the
# result, and get a sixteenth of the gradient.
#
# </details>
#
# The paper wants one mean: joins that follow each other directly are one join. So a block must not
# apply its last join when another follows. It returns its branches unjoined:


# %%
def branches(C, z, conv, join):
    """The C branches of f_C, before the join at its end."""
    if C == 1:
        return [conv(z)]
    middle = join(branches(C - 1, z, conv, join))  # the first f, closed by a join
    return [conv(z), *branches(C - 1, middle, conv, join)]  # conv(z), and the second f, left open


def fractal(C, z, conv, join):
    return join(branches(C, z, conv, join))


# %% [markdown]
# These are the promised five lines, and they *are* the formula. What `conv` and `join` do is up to
# the caller. If they write text, the formula comes back, with $C$ branches, one for each column:

# %%
text = fractal(3, "z", conv=lambda z: f"conv({z})", join=" ⊕ ".join)
print(text)
assert text == f(3, "z")
for C in range(1, 7):
    assert len(branches(C, "z", lambda z: "", lambda parts: "")) == C

# %% [markdown]
# ## One recursion, many readings
#
# **How deep?** Let a number flow through the block: how many convolutions it has passed, at most.
# Then `conv` adds 1 and `join` takes the largest. With the smallest you get the shortest path.
# **How many convolutions?** Count the calls of `conv`.


# %%
def deepest(C):
    return fractal(C, 0, conv=lambda depth: depth + 1, join=max)


def shortest(C):
    return fractal(C, 0, conv=lambda depth: depth + 1, join=min)


def convolutions(C):
    calls = []
    fractal(C, 0, conv=calls.append, join=lambda parts: None)
    return len(calls)


# %%
for C in range(1, 8):
    depth, short, count = deepest(C), shortest(C), convolutions(C)
    print(f"C = {C}: depth {depth:2}, shortest path {short}, convolutions {count:3}")
    assert depth == 2 ** (C - 1) and short == 1 and count == 2**C - 1

# %% [markdown]
# The depth doubles, since $f_{C+1}$ has two $f_C$ in a row: $d_1 = 1$, $d_{C+1} = 2 d_C$. The
# number of convolutions doubles, plus one: $n_1 = 1$, $n_{C+1} = 2 n_C + 1$, so $n_C + 1$ doubles:
#
# $$d_C = 2^{C-1}, \qquad n_C = 2^C - 1.$$
#
# Column $c$ has $2^c$ of them; the deepest has more than all the others together.
#
# ## With real convolutions
#
# A module keeps its convolutions as attributes, so that their weights are found. Otherwise it is
# `branches` again. `unit` makes a new "conv" each time it is called:


# %%
class Fractal(nn.Module):
    """f_C: (N, H, W, channels) → (N, H, W, channels)."""

    def __init__(self, columns, unit):
        self.columns, self.conv = columns, unit()
        if columns > 1:
            self.first, self.second = Fractal(columns - 1, unit), Fractal(columns - 1, unit)

    def branches(self, z):
        if self.columns == 1:
            return [self.conv(z)]
        return [self.conv(z), *self.second.branches(self.first(z))]

    def forward(self, z):
        return tf.join(self.branches(z))


# %% [markdown]
# Is it the library's block? Give both the same weights (they have the same names) and images:

# %%
tf.seed(0)
images = tf.Tensor(np.random.default_rng(0).normal(size=(4, 8, 8, 16)).astype(np.float32))
for C in range(1, 6):
    mine, theirs = Fractal(C, lambda: ConvUnit(16, 16)), tf.FractalBlock(C, 16, 16)
    theirs.load_state_dict(mine.state_dict())
    difference = abs(mine(images).numpy() - theirs(images).numpy()).max()
    depth = recurse.measured_depth(theirs(images))
    print(f"C = {C}: difference {difference}, depth measured {depth}")
    assert difference < 1e-5 and depth == fractal_depth(C) == deepest(C)

# %% [markdown]
# **How many parameters?** Each convolution has $3 \cdot 3 \cdot c_\text{in} \cdot c_\text{out}$
# weights, and its batch norm $2 c_\text{out}$. Only the first convolution of each column, so $C$ of
# them, reads the $c_\text{in}$ channels of the block's input; the other $2^C - 1 - C$ read
# $c_\text{out}$:
#
# $$9 \left( C\, c_\text{in} + (2^C - 1 - C)\, c_\text{out} \right) c_\text{out}
# + 2\,(2^C - 1)\, c_\text{out}$$


# %%
def block_parameters(C, c_in, c_out):
    others = 2**C - 1 - C
    return 9 * (C * c_in + others * c_out) * c_out + 2 * (2**C - 1) * c_out


for C in range(1, 6):
    counted = tf.FractalBlock(C, 3, 16).count_parameters()
    print(f"C = {C}: counted {counted:6,}, formula {block_parameters(C, 3, 16):6,}")
    assert counted == block_parameters(C, 3, 16)

# %% [markdown]
# A FractalNet is $B$ such blocks, with a $2 \times 2$ max pooling after each, and a linear layer.
# `fractal_parameters` adds it all up. The paper's network for colour images is
# `FractalNet.paper()`:

# %%
net = tf.FractalNet.paper().eval()
y = net(tf.Tensor(np.zeros((1, 32, 32, 3), np.float32)))
depth = recurse.measured_depth(y, kinds=("conv2d",))
print(f"{net.count_parameters():,} parameters, {depth} convolutions on the longest path")
assert depth == net.depth == fractal_depth(columns=3, blocks=5) == 20
assert net.count_parameters() == fractal_parameters(3, (64, 128, 256, 512, 512), in_channels=3)

# %% [markdown]
# A check from outside: the paper's table 3 lists narrower networks for 100 classes, with their
# sizes in millions of parameters.

# %%
table3 = {1: 0.3, 2: 0.8, 3: 2.1, 4: 4.8, 5: 10.2, 6: 21.1}
for C, millions in table3.items():
    ours = fractal_parameters(C, (16, 32, 64, 128, 128), in_channels=3, classes=100)
    print(f"C = {C}, depth {fractal_depth(C, 5):3}: {ours / 1e6:5.1f} M, paper {millions} M")
    assert round(ours / 1e6, 1) == millions

# %% [markdown]
# ## How many paths lead through?
#
# A convolution has one way in and one out; where branches meet, paths add up. So the reading is:
# `conv` changes nothing, `join` is the sum. In the text, each path begins with a `z` of its own.

# %%
for C in range(1, 6):
    paths = fractal(C, 1, conv=lambda n: n, join=sum)
    print(f"C = {C}: {paths:3} paths.  'z' in the text: {f(C, 'z').count('z')}")
    assert paths == f(C, "z").count("z")

# %% [markdown]
# As a recurrence: through the single convolution there is 1 path. Through $f_C \circ f_C$, each
# path through the first can continue on each path through the second, because all of them meet in
# between:
#
# $$p_1 = 1, \qquad p_{C+1} = p_C^2 + 1.$$
#
# Now ask the recorded graph of the real block. As many paths lead to a node as to all its parents
# together.


# %%
def paths_in_graph(y, x):
    count = {id(x): 1}  # weights are leaves too; no path that we count begins there
    for node in reversed(backward_order([y.node])):
        count[id(node)] = sum(count.get(id(parent), 0) for parent in node.parents)
    return count[id(y.node)]


p = 1
for C in range(1, 6):
    z = tf.Tensor(images.numpy(), requires_grad=True)
    found = paths_in_graph(tf.FractalBlock(C, 16, 16).eval()(z), z)
    print(f"C = {C}: recurrence {p}, counted in the graph {found}")
    assert found == p
    p = p**2 + 1
print("five blocks of three columns:", 5**5)

# %% [markdown]
# Each further column squares the number and adds one. The paper's network, five blocks of three
# columns, has $5^5 = 3125$ paths, because all paths meet between two blocks.
#
# ## Predict, then run
#
# The 677 paths of five columns have lengths from 1 to 16. **Which lengths are frequent?** One more
# reading tells you. Let a polynomial flow through: its coefficient of $t^\ell$ is the number of
# paths of length $\ell$. A convolution makes each path one longer, so it multiplies by $t$; a join
# adds the polynomials.
#
# The paths differ in **weight** too: at a join of $k$ each goes on with $1/k$. With the mean in
# place of the sum, the coefficient is the weight of all paths of that length together.

# %% jupyter={"outputs_hidden": true}
t = Polynomial([0, 1])


def lengths(C, join):
    return fractal(C, Polynomial([1]), conv=lambda before: t * before, join=join).coef


def mean(parts):
    return sum(parts) / len(parts)


print("f3, number of paths of length 0, 1, 2, …:", lengths(3, sum))
print("f3, their weight:                        ", lengths(3, mean).round(3))
assert lengths(5, sum).sum() == 677 and np.isclose(lengths(5, mean).sum(), 1)

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
figure, panels = plt.subplots(1, 2, figsize=(8, 2.8))
for axes, join, title in zip(panels, (sum, mean), ("number of paths", "weight of these paths")):
    color = BLUE if join is sum else ORANGE
    axes.bar(range(17), lengths(5, join), color=color, zorder=3)
    axes.set_title(f"{title}, 5 columns")
    axes.set_xticks(range(0, 17, 2))
    axes.set_xlabel("length: convolutions on the path")
plt.show()
ell = np.arange(17)
typical = [lengths(5, sum) @ ell / 677, lengths(5, mean) @ ell]
print(f"mean length: {typical[0]:.1f} of the paths, {typical[1]:.1f} by weight")
assert typical[0] > 10 and np.isclose(typical[1], (2**5 - 1) / 5)

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Most paths are long: only long ones have many choices. But each of them has a tiny weight. By
# weight the mean length is 6.2, far less than the depth of 16, and a fifth of everything goes
# through a single convolution. The mean divides the gradient in the same way, so the orange bars
# are also the gradient's shares. (The convolutions scale it as well.)
#
# </details>
#
# 6.2 is 31 convolutions divided by 5 columns, and that is no accident: the branches' mean lengths
# add up to the number of convolutions. The last line below checks it.

# %%
print("weight of the shortest path:", lengths(5, mean)[1])
assert np.isclose(lengths(5, mean)[1], 1 / 5) and lengths(5, sum).argmax() > 8
for C in range(1, 8):
    assert np.isclose(lengths(C, mean) @ np.arange(deepest(C) + 1), convolutions(C) / C)

# %% [markdown]
# ## One shared layer, or separate weights
#
# Article and paper differ in two things: chain or fractal, and one shared layer or separate weights
# ("own" below). That makes four networks of depth 4. To share, `unit` returns the same module each
# time.
#
# (The unit has layer norm, from chapter 7's exercises, in place of batch norm. Batch norm keeps
# *one* running mean, and a layer used in four places would need four.)

# %%
WIDTH = 16


def unit():
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, bias=False), nn.LayerNorm(WIDTH), nn.ReLU())


def shared_fractal():
    layer = unit()
    return Fractal(3, lambda: layer)


bodies = {
    "chain, shared: F(F(F(F(x))))": lambda: tf.RecursiveBlock(unit(), 4),
    "chain, own: a plain network": lambda: nn.Sequential(*[unit() for _ in range(4)]),
    "fractal, shared": shared_fractal,
    "fractal, own: the paper": lambda: Fractal(3, unit),
}

# %% [markdown]
# With a convolution and a pooling before it and the classifier after it, all four learn the digits
# by the same recipe, three seeds each.

# %%
train, test = tf.data.load_digits()
standardize = tf.data.Standardize.fit(train.images)


def learn(body, seed, epochs=5):
    tf.seed(seed)
    head = nn.GlobalAvgPool(), nn.Linear(WIDTH, 10)
    net = nn.Sequential(ConvUnit(1, WIDTH), nn.MaxPool2d(2), body(), *head)
    optimizer = tf.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    schedule = tf.optim.CosineLR(optimizer, epochs)
    settings = {"transform": standardize, "batch_size": 50, "seed": seed, "quiet": True}
    history = tf.train.fit(net, train, test, optimizer, schedule, **settings)
    return history[-1]["test_accuracy"], net


accuracy, seeds = {}, smaller("seeds", 3, in_browser=1)
for name, body in bodies.items():
    runs = [learn(body, seed) for seed in range(seeds)]
    accuracy[name] = np.array([result for result, _ in runs])
    numbers = runs[0][1].count_parameters()
    shown = "  ".join(f"{100 * a:.1f}" for a in accuracy[name])
    print(f"{name:29} {numbers:6,} parameters   test accuracy, %: {shown}")

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(6.4, 2.2))
for row, (name, found) in enumerate(reversed(accuracy.items())):
    color = ORANGE if "shared" in name else BLUE
    axes.plot(100 * found, [row] * len(found), "o", color=color)
axes.set_yticks(range(4), reversed(accuracy))
axes.set_ylim(-0.5, 3.5)
axes.set_xlabel("test accuracy, % (one dot for each seed)")
plt.show()

# %% [markdown]
# In the chain, sharing costs a few points on average, and none with one of the seeds. It saves more
# than two thirds of the parameters. In the fractal it does badly with every seed, at least in such
# a short training. (Chapter 12 tests the article's other promises.)
#
# And the paper's block is no better than the plain network here, with 1.7 times its parameters. At
# depth 4 a plain network needs no help, as chapter 7 showed. What the block has instead is
# **columns**: networks of different depth inside one. The next chapters make use of them.

# %% jupyter={"source_hidden": true}
chain_shared, chain_own, fractal_shared, fractal_own = (a.mean() for a in accuracy.values())
print(f"chain: sharing costs {100 * (chain_own - chain_shared):.1f} points")
print(f"fractal: sharing costs {100 * (fractal_own - fractal_shared):.1f} points")
worst, best = accuracy["fractal, shared"].max(), accuracy["fractal, own: the paper"].min()
assert abs(chain_own - chain_shared) < 0.08 < fractal_own - fractal_shared and worst < best
assert fractal_own < chain_own + 0.03 and 2_682 * 3 < 9_690 and round(16_698 / 9_690, 1) == 1.7

# %% [markdown]
# ## So, what is fractal?
#
# The construction: a block is two copies of a smaller block with one convolution beside them, all
# the way down. The article's picture is right, its formula keeps half of the rule, and its constant
# parameters are those of one shared layer. In the paper's network they grow like $2^C$, as the
# depth does.
#
# ## What you now own
#
# You have FractalNet's rule as a picture, as a formula and as five lines of code, and you know that
# the three say the same. Feed those lines text, numbers, polynomials or images: they answer with
# the formula, the depth, the paths, or the digit.
#
# ## Now read the source
#
# - [`fractal.py`](../tinyfractal/fractal.py): `FractalBlock` is your `Fractal`. It differs in
#   `keep`, which says what survives at a join; read it for now as if `alive` were all `True`.
#   (Chapter 9 drops branches: they become `None`, and are not computed.) `FractalBlock.column`
#   finds the $2^c$ units of one column by the same recursion. `fractal_parameters` is your formula,
#   summed over the blocks, and `RecursiveBlock` is `Again`.
# - [`recurse.py`](../tinyfractal/recurse.py): `measured_depth` is your `paths_in_graph` with the
#   largest instead of the sum. `measure` builds the article's block, the paper's, a plain network
#   and a ResNet, and counts.
# - [`draw/layout.py`](../tinyfractal/draw/layout.py) draws the pictures with the same recursion:
#   its inner functions `forward` and `branches` return positions in the drawing.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/08_fractals.py`.
#
# **1. Through the whole network.** How many paths lead from image to classifier in a FractalNet of
# `blocks` blocks with `columns` columns each?


# %%
def my_paths(columns, blocks): ...


check_paths(my_paths)

# %% [markdown]
# **2. How many joins?** A join of a single branch does nothing, so count those of at least two
# branches in $f_C$. Write a formula, or let `fractal` count.


# %%
def my_joins(C): ...


check_joins(my_joins)

# %% [markdown]
# **3. Another rule.** $g_1(z) = \mathrm{conv}(z)$ and
# $g_{C+1}(z) = \mathrm{conv}(z) \oplus g_C(g_C(g_C(z)))$. Write `branches` for it, with the joins
# that meet at the end merged. (Then try `deepest` and `shortest` on it.)


# %%
def branches_thrice(C, z, conv, join): ...


check_thrice(branches_thrice)

# %% [markdown]
# **4. A design.** Build a `tf.FractalNet` for the digits, $(N, 8, 8, 1)$ and 10 classes, at least
# 16 convolutions deep, with at most 30,000 parameters.

# %%
my_net = ...

check_design(my_net)
