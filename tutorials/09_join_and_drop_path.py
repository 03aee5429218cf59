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
# # 9. Why drop whole paths at random?
#
# *40 minutes. Afterwards you can read [`ops/join.py`](../tinyfractal/ops/join.py), `DropPath` in
# [`nn/layers.py`](../tinyfractal/nn/layers.py) and the section "Which paths survive" of
# [`fractal.py`](../tinyfractal/fractal.py).*
#
# Take a network that works and, while it learns, tear out whole paths at random. That sounds like
# sabotage. Yet on average the joins do not notice, part of the computing is saved, and you can cut
# a single column out of the network afterwards and use it alone. Without the sabotage you cannot.

# %%
import copy
import itertools
import json
import time

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal import plot
from tinyfractal.draw.layout import alive_paths, layout_block
from tinyfractal.draw.sheet import Sheet, picture
from tinyfractal.engine.backward import backward_order

from exercises.join_and_drop_path import check_keep, check_sum, check_third, check_unbroken
from figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, use_style
from smaller import smaller

use_style()
chance = np.random.default_rng(0)

# %% [markdown]
# Step backward to the last join of this block: what does each branch get? Then choose **a local
# draw** at the top right, where some branches were dropped at random, and go to its last join: how
# many branches live there, and what does each get now? The dashed parts were not computed, and
# they get no gradient. With **only column 1** no join is left: what remains is a plain network.

# %%
tf.seed(11)
net = tf.FractalNet(in_channels=1, columns=3, channels=(2,), drop_path=0.3)
block = net.blocks[0]
image = tf.Tensor(chance.normal(size=(2, 3, 3, 1)).astype(np.float32))
ways = {"everything": tf.fractal.keep_all, "only column 1": net.keep_column(1)}
ways |= {"a local draw": net.keep_local()}
tf.explore(
    {name: lambda keep=keep: tf.mean(block(image, keep) ** 2) for name, keep in ways.items()},
    title="What drop-path leaves of a block",
)

# %% [markdown]
# ## Why the mean
#
# A join reads branches that have been through batch norm and ReLU. So imitate them by
# $\operatorname{relu}(x)$ with normally distributed $x$, join 1, 2, 3 or 4 of them by sum and by
# mean, and measure the level (the average number) and the spread (the standard deviation).

# %%
xs = np.maximum(chance.normal(size=(4, 100_000)), 0)  # 4 branches
levels = {"sum": [], "mean": []}
for k in range(1, 5):
    for name, joined in (("sum", xs[:k].sum(axis=0)), ("mean", xs[:k].mean(axis=0))):
        levels[name].append(joined.mean())
        print(f"{k} alive, {name:4}  level {joined.mean():.2f}   spread {joined.std():.2f}")

# %% jupyter={"source_hidden": true}
plt.figure(figsize=(5, 2.6))
for name, color in (("sum", GRAY), ("mean", ORANGE)):
    plt.plot(range(1, 5), levels[name], "o-", color=color, label=name)
plt.xticks(range(1, 5))
plt.ylim(0)
plt.xlabel("branches alive")
plt.ylabel("level of the join's output")
plt.title("the mean keeps its level, the sum does not", loc="left")
plt.legend()
plt.show()
assert levels["sum"][3] > 3.9 * levels["sum"][0]
assert abs(levels["mean"][3] / levels["mean"][0] - 1) < 0.02

# %% [markdown]
# If each branch has level $\mu$ and spread $\sigma$, and the branches are independent, then
#
# $$\text{sum of } k\text{: level } k\mu, \text{ spread } \sqrt{k}\,\sigma
# \qquad\qquad \text{mean of } k\text{: level } \mu, \text{ spread } \sigma / \sqrt{k}.$$
#
# The layer behind the join has learned to read one level. A sum would change the level with the
# number of branches. A mean keeps it. Only the spread depends on how many there are, and not even
# that if the branches agree. So a join can lose branches without surprising the next layer.
#
# ## The join, forward and backward
#
# A **mask** says which branches are alive, for each sample: booleans $(N, k)$. Each live branch
# gets the weight 1 / (number alive), each dropped one gets 0:
#
# $$y_n = \sum_i w_{ni}\, x_{ni}, \qquad w_{ni} = \frac{\text{alive}_{ni}}{\sum_j
# \text{alive}_{nj}}, \qquad \text{so backward} \quad g_{x_{ni}} = w_{ni}\, g_{y_n}.$$


# %%
def weights_of(mask):
    return mask / mask.sum(axis=1, keepdims=True)  # (N, k)


def my_join(xs, mask):
    """k arrays (N, D), mask (N, k) → (N, D)."""
    return sum(w[:, None] * x for w, x in zip(weights_of(mask).T, xs))


mask = np.array([[True, True, True], [True, False, True], [False, True, False]])
print(weights_of(mask).round(3))

# %% [markdown]
# The library agrees. Backward, a branch gets its weight times the gradient, a dropped one nothing:

# %%
leaves = [tf.Tensor(chance.normal(size=(3, 5)), requires_grad=True) for _ in range(3)]
y = tf.join(leaves, mask)
assert np.allclose(y.numpy(), my_join([leaf.numpy() for leaf in leaves], mask))

g = chance.normal(size=(3, 5))
y.backward(g)
for i, leaf in enumerate(leaves):
    assert np.allclose(leaf.grad.numpy(), weights_of(mask)[:, i : i + 1] * g)
    print(f"gradient of branch {i} / g, by sample:", (leaf.grad.numpy() / g)[:, 0].round(3))
print(tf.gradcheck(lambda *xs: tf.join(xs, mask), *[leaf.numpy() for leaf in leaves]))

# %% [markdown]
# ## Local drop-path
#
# The first kind: **each join drops each of its branches with probability $p$**, independently. The
# paper takes $p = 0.15$ (Larsson et al. 2016, section 3.1). A join without branches would have no
# mean, so if all would be dropped, one of them is rescued, each with the same chance.


# %%
def local(k, p, rows):
    """Which of k branches live, for each of `rows` samples: booleans (rows, k)."""
    alive = chance.random((rows, k)) >= p
    for row in np.flatnonzero(~alive.any(axis=1)):
        alive[row, chance.integers(k)] = True
    return alive


print(local(3, 0.5, rows=8).astype(int))

# %% [markdown]
# How often does a branch live? It escapes with probability $1 - p$; or all $k$ are dropped, with
# probability $p^k$, and it is the one of $k$ that is rescued:
#
# $$P(\text{alive}_i) = (1 - p) + \frac{p^k}{k}$$
#
# A frequency measured on $n$ samples scatters around $q$ with the deviation $\sqrt{q(1-q)/n}$.
# Allow it four such deviations:


# %%
def survival(k, p):
    return 1 - p + p**k / k


n = 20_000
for k, p in ((1, 0.15), (2, 0.15), (3, 0.15), (2, 0.5), (3, 0.5), (4, 0.9)):
    found, q = local(k, p, n).mean(axis=0), survival(k, p)
    band = 4 * np.sqrt(q * (1 - q) / n)
    print(f"k = {k}, p = {p:4}: theory {q:.4f} ± {band:.4f}   measured {found.round(4)}")
    assert (abs(found - q) <= band + 1e-12).all()

# %% [markdown]
# And *how many* are alive? There are only $2^k$ masks, and for the empty one $k$ rescues. Write
# down all cases with their probabilities:


# %%
def cases(k, p):
    """Every mask that local drop-path can give at a join of k, and its probability."""
    found = []
    for alive in itertools.product((False, True), repeat=k):
        probability = np.prod([1 - p if lives else p for lives in alive])
        if any(alive):
            found.append((alive, probability))
        else:
            found += [(tuple(i == j for j in range(k)), probability / k) for i in range(k)]
    return found


for k, p in ((3, 0.15), (4, 0.9)):
    first = sum(q for alive, q in cases(k, p) if alive[0])
    assert np.isclose(sum(q for _, q in cases(k, p)), 1) and np.isclose(first, survival(k, p))

# %% [markdown]
# At $p = 0.15$ the rescue is almost never needed; at $p = 0.9$ it decides most of the cases. Look
# for the bar at 1:

# %% jupyter={"source_hidden": true}
figure, panels = plt.subplots(1, 3, figsize=(8, 2.5), sharey=True)
for axes, p in zip(panels, (0.15, 0.5, 0.9)):
    theory = [sum(q for alive, q in cases(4, p) if sum(alive) == m) for m in range(5)]
    found = np.bincount(local(4, p, 2000).sum(axis=1), minlength=5) / 2000
    band = 4 * np.sqrt(np.multiply(theory, np.subtract(1, theory)) / 2000)
    axes.bar(range(5), theory, color=GRAY, alpha=0.4, zorder=3, label="theory")
    axes.errorbar(range(5), found, band, fmt="o", color=BLUE, ms=4, zorder=4, label="measured")
    axes.set_title(f"p = {p}, k = 4")
    axes.set_xlabel("branches alive")
    assert (abs(found - theory) <= band + 1e-12).all()
panels[0].legend()
plt.show()

# %% [markdown]
# ## Nothing to rescale
#
# **Dropout** (Srivastava et al. 2014) sets single numbers to zero in training, each with
# probability $p$, and multiplies the others by $1 / (1 - p)$. Otherwise later sums would be
# smaller in training than at test time. And drop-path? Take the weight of a branch, averaged over
# all cases:

# %%
for k, p in ((2, 0.15), (3, 0.15), (3, 0.6)):
    average = sum(q * weights_of(np.array([alive]))[0] for alive, q in cases(k, p))
    print(f"k = {k}, p = {p}: average weights {average.round(4)}")
    assert np.allclose(average, 1 / k)

# %% [markdown]
# It is exactly $1/k$, whatever $p$: the weights of every case add up to 1, and no branch is
# preferred. At test time each branch has the weight $1/k$ too. So **on average a join gives in
# training what it gives at test time**. (Given its branches: behind the next ReLU, averages no
# longer carry through exactly.)
#
# ## Predict, then run
#
# Now let the branches *agree*: all four bring the number 1. Drop with $p = 0.5$ in two ways, by
# drop-path and by dropout on the branches: dropped ones are zero, the others are doubled, and the
# mean is over all four. **How do the outputs scatter?**

# %% jupyter={"outputs_hidden": true}
alive = chance.random((5000, 4)) >= 0.5
by_dropout = (alive / (1 - 0.5)).mean(axis=1)
by_drop_path = my_join([np.ones((5000, 1))] * 4, local(4, 0.5, 5000))
for name, y in (("dropout", by_dropout), ("drop-path", by_drop_path)):
    print(f"{name:9}: mean {y.mean():.3f}, spread {y.std():.3f}, {y.min():.1f} to {y.max():.1f}")
assert by_drop_path.std() < 1e-6 and by_dropout.std() > 0.4 and abs(by_dropout.mean() - 1) < 0.05

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Both are right on average. Dropout always adds noise. Drop-path adds noise only where branches
# *disagree*. So it pushes each branch to be good for the next layer by itself.
#
# </details>
#
# ## A block under local drop-path
#
# A block has several joins. Each asks one question, **which of your $k$ deepest columns live?**,
# and a function `keep(k)` answers. Under local drop-path the answer is a draw.

# %%
tf.seed(4)
net = tf.FractalNet(in_channels=1, classes=10, columns=3, channels=(16, 32, 64), drop_path=0.3)
plot.draw_block(3, net.keep_local(), title="local drop-path, p = 0.3")

# %% [markdown]
# Nothing needs the dashed parts, so they are not computed.
#
# Here are many draws, lying on their side, with the input on the left. The last row is **global
# drop-path**, the second kind: one column is chosen, and every join keeps that column only.

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
keeps = [net.keep_local() for _ in range(12)] + [net.keep_column(c) for c in range(3)]


@picture
def many_blocks():
    layout, sheet = layout_block(3, head=0.14), Sheet(7.6, 5.15)
    sheet.text(0.2, 0.25, "local, p = 0.3", 10, ha="left")
    sheet.text(0.2, 3.9, "global", 10, ha="left")
    for i, keep in enumerate(keeps):
        corner = (0.2 + 1.85 * (i % 4), 0.6 + 1.08 * (i // 4) + 0.44 * (i >= 12))
        size = (0.33, 1.6 / layout.height)
        sheet.block(layout, alive_paths(3, keep), corner, size, turned=True)
    return sheet.figure


tf.seed(8)
many_blocks()

# %% [markdown]
# Under local drop-path mostly two or three columns are left at the last join, in changing company.
# Under global drop-path a column has to be a network by itself, in all blocks:

# %% jupyter={"source_hidden": true}
assert sum(q for alive, q in cases(3, 0.3) if sum(alive) >= 2) > 0.7
plot.draw_network(3, (16, 32, 64), net.keep_column(1), (8, 8, 1), title="global: column 1")

# %% [markdown]
# ## The mix
#
# The paper uses both, half and half. `FractalNet` decides for each sample of the mini-batch, or
# once for all of it. Here is the last join of a block for 48 samples. Find the global ones: they
# have a single dark square. (A local draw leaves a single one only now and then.) The line below
# the picture compares how often a column lives with the theory: half survival at a join of three,
# half one third.

# %%
net = tf.FractalNet(columns=3, channels=(16, 32, 64))  # p = 0.15, half global
tf.seed(0)
mask = net.keep_by_sample(48)(3)  # (48, 3)

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(8, 1.2))
axes.imshow(mask.T, aspect="auto", vmin=0, vmax=1)
axes.set_yticks(range(3), [f"column {c}" for c in range(3)])
axes.set_yticks(np.arange(2) + 0.5, minor=True)
axes.set_xticks(np.arange(47) + 0.5, minor=True)
axes.grid(False)
axes.grid(True, which="minor", color="white", lw=2)
axes.tick_params(which="minor", length=0)
axes.set_xlabel("sample")
plt.show()

# %% jupyter={"source_hidden": true}
n, p = 20_000, 0.15
found = net.keep_by_sample(n)(3).mean(axis=0)
q = 0.5 * survival(3, p) + 0.5 * (1 / 3)
band = 4 * np.sqrt(q * (1 - q) / n)
assert sum(q for alive, q in cases(3, p) if all(alive)) > 0.6  # "mostly three"
print(f"a column is alive: theory {q:.4f} ± {band:.4f}   measured {found.round(4)}")
assert (abs(found - q) <= band).all()

# %% [markdown]
# ## Predict, then run
#
# If the whole mini-batch shares one decision, what is dropped need not be computed. **With
# $p = 0.15$ and local drop-path, what share of the convolutions is saved? And with the mix?**
#
# The expected number of convolutions follows the recursion of the block. If column 0 lives at the
# last join, one convolution is computed. If a deeper column lives there, so is the first $f_{C-1}$,
# which decides for itself, and the second, whose join is merged with this one.


# %% jupyter={"outputs_hidden": true}
def given(alive, p):
    """Expected convolutions of f_k whose k branches live or not as `alive` says."""
    rest = alive[1:]
    return alive[0] + (expected(len(rest), p) + given(rest, p) if any(rest) else 0)


def expected(k, p):
    """Expected convolutions of f_k that are computed under local drop-path."""
    return sum(q * given(alive, p) for alive, q in cases(k, p))


for C in (1, 2, 3, 4, 5):
    whole, by_local, by_global = 2**C - 1, expected(C, 0.15), (2**C - 1) / C
    print(
        f"C = {C}: of {whole:2} convolutions  local {by_local:5.2f}   global {by_global:5.2f}   "
        f"mix {(by_local + by_global) / 2 / whole:4.0%}"
    )
assert np.isclose(expected(3, 0), 7) and 0.55 < (expected(3, 0.15) + 7 / 3) / 2 / 7 < 0.65

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Local drop-path saves about as much as $p$ says. Global drop-path saves far more: it computes one
# column, $2^c$ convolutions, and the average over the columns is $(2^C - 1) / C$. The mix, with
# three columns, saves two fifths of the convolutions.
#
# </details>
#
# Is the recursion right? Draw 4,000 times and count. (The folded cell counts the convolutions in
# the recorded graphs of thirty real blocks: the library computes the ones you count, and no
# others.)

# %%
tf.seed(1)
counts = np.array([len(alive_paths(3, net.keep_local()).convs) for _ in range(4000)])
error = counts.std() / np.sqrt(4000)
print(f"drawn: {counts.mean():.3f} ± {error:.3f}   exact: {expected(3, 0.15):.3f}")
assert abs(counts.mean() - expected(3, 0.15)) < 4 * error

# %% jupyter={"source_hidden": true}
block = tf.FractalBlock(3, 1, 4)
image = tf.Tensor(tf.backend.asarray(np.ones((2, 4, 4, 1), np.float32)))
for seed in range(30):
    tf.seed(seed)
    drawn = len(alive_paths(3, net.keep_local()).convs)
    tf.seed(seed)
    nodes = backward_order([block(image, net.keep_local()).node])
    convolutions = [node for node in nodes if node.primitive.__name__ == "conv2d"]
    assert drawn == sum(node.params["kernels"] for node in convolutions)  # some share an input

# %% [markdown]
# At $p = 1$ every join keeps just the rescued branch, and local drop-path costs what global does:

# %% jupyter={"source_hidden": true}
ps = np.linspace(0, 1, 41)
plt.figure(figsize=(6, 3))
for C, color in ((2, GREEN), (3, BLUE), (4, PURPLE)):
    plt.plot(ps, [100 * expected(C, p) / (2**C - 1) for p in ps], color=color, label=f"C = {C}")
    plt.axhline(100 / C, color=color, lw=1, ls="--")
plt.axvline(0.15, color=GRAY, lw=1)
plt.ylim(0)
plt.xlabel("p")
plt.ylabel("convolutions computed, %")
plt.legend(title="full: local\ndashed: global")
plt.show()
for C in range(1, 6):
    assert np.isclose(expected(C, 1), (2**C - 1) / C)

# %% [markdown]
# And in time? Where each sample decides for itself, *some* sample almost always needs a branch, and
# nothing is saved. Where the mini-batch decides once, the time should follow the count:


# %%
def seconds_per_step(**settings):
    tf.seed(0)
    net = tf.FractalNet(1, 10, 3, (16, 32), **settings)
    x = tf.Tensor(tf.backend.asarray(np.ones((64, 8, 8, 1), np.float32)))
    labels = tf.backend.asarray(np.zeros(64, np.int64))
    times = []
    for _ in range(30):
        start = time.perf_counter()
        loss = tf.cross_entropy(net(x), labels)
        loss.backward()
        loss.item()  # a GPU works on after `backward` has returned: this waits for it
        times.append(time.perf_counter() - start)
    return np.mean(times[2:])


full = seconds_per_step(drop_path=0)
for name, settings in (("by mini-batch", {"per_sample": False}), ("by sample", {})):
    share = seconds_per_step(**settings) / full
    print(f"{name:13}: {share:4.0%} of the time of a step in which nothing is dropped")

# %% [markdown]
# Times vary from run to run. On a quiet machine the first line comes near the count of
# convolutions (the mix with $C = 3$ above), and the second near the full time.
#
# ## What it is for
#
# You can take a column out of the network and use it alone: `net.column(c)`. **Predict: how good is
# a single column of a network trained *without* drop-path?** The whole network is good. Its columns
# have the same weights, and each takes part in every mean.
#
# Train small networks on the digits: without drop-path, with drop-path decided by sample, and by
# mini-batch. Three seeds each, judged on validation images.

# %%
data, _ = tf.data.load_digits()  # the test images stay in the drawer
train, validation = data.split(0.1)
standardize = tf.data.Standardize.fit(train.images)
variants = {
    "no drop-path": {"drop_path": 0},
    "by sample": {},
    "by mini-batch": {"per_sample": False},
}


def learn(seed, **settings):
    tf.seed(seed)
    net = tf.FractalNet(1, 10, columns=3, channels=(8, 16), **settings)
    optimizer = tf.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = tf.optim.CosineLR(optimizer, epochs=4)  # lr falls to 0, half a wave
    how = {"transform": standardize, "batch_size": 50, "seed": seed, "quiet": True}
    tf.train.fit(net, train, validation, optimizer, schedule, **how)
    return net


def accuracy(net):
    return 100 * tf.train.evaluate(net, validation, standardize).accuracy


seeds = smaller("seeds", 3, in_browser=1)
nets = {name: [learn(seed, **how) for seed in range(seeds)] for name, how in variants.items()}
found = {  # (seeds, 4): the columns and the whole
    name: np.array([[accuracy(part) for part in (*tf.train.columns_of(net), net)] for net in some])
    for name, some in nets.items()
}

# %% jupyter={"outputs_hidden": true}
for name, rows in found.items():
    shown = "  ".join(f"{mean:5.1f}" for mean in rows.mean(axis=0))
    print(f"{name:13} mean of columns 0, 1, 2 and the whole: {shown} %")

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
colors = {"no drop-path": GRAY, "by sample": BLUE, "by mini-batch": ORANGE}
for name, rows in found.items():
    at = np.arange(4) + 0.1 * (list(variants).index(name) - 1)
    plt.plot(at, rows.T, "o", ms=4, color=colors[name])
    plt.plot(at, rows.mean(axis=0), "_", ms=16, color=colors[name], label=name)
plt.xticks(range(4), ["column 0", "column 1", "column 2", "whole"])
plt.ylabel("validation accuracy, %")
plt.title("only drop-path makes columns that stand alone", loc="left")
plt.ylim(0, 102)
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Without drop-path the columns alone are poor, although the whole network is the best of all. They
# have learned to be right *together*: **co-adaptation**. With drop-path each column has been alone
# often enough to do without the others. The whole network pays for it: with the same weights and
# in the same time, you train three more networks.
#
# </details>

# %% jupyter={"source_hidden": true}
mean = {name: rows.mean(axis=0) for name, rows in found.items()}
assert mean["no drop-path"][:3].max() < 70
assert mean["by sample"][:3].min() > 75
assert mean["no drop-path"][3] > mean["by sample"][3]
assert mean["by mini-batch"][:3].mean() < mean["by sample"][:3].mean()

# %% [markdown]
# ## By sample or by mini-batch?
#
# By mini-batch is quicker, and the columns come out worse. Suspect batch norm: at test time it
# uses *running* averages of the mini-batches' statistics (chapter 7). If one mini-batch runs
# through all branches and the next through one column, that is the average of a mixture that never
# occurs.
#
# You can test that suspicion. Leave the *weights* as they are and only estimate the statistics
# again: `tf.train.update_bn` sends the training images through a network, with nothing dropped. A
# column gets its own copy, since one set of statistics cannot serve the whole and each column. If
# the fault is in the weights, this will not help.


# %%
def with_own_statistics(part):
    """Its accuracy after batch norm's statistics were estimated for it alone."""
    part = copy.deepcopy(part)
    tf.train.update_bn(part, train, standardize)
    return accuracy(part)


gains = {}
for name, some in nets.items():
    parts = [(*tf.train.columns_of(net), net) for net in some]
    again = np.array([[with_own_statistics(part) for part in row] for row in parts])
    gains[name] = (again - found[name]).mean(axis=0)
    print(f"{name:13} columns and whole afterwards: {again.mean(axis=0).round(1)}", end="   ")
    print(f"gain {gains[name].round(1)}")

# %% jupyter={"source_hidden": true}
assert gains["by mini-batch"][:3].min() > 4
assert abs(gains["by sample"]).max() < 6
assert (mean["no drop-path"] + gains["no drop-path"])[:3].max() < 80

# %% [markdown]
# The suspicion was right. The columns trained by mini-batch gain five to ten points and come close
# to those trained by sample, so most of the fault was not in their weights. Those trained by sample
# hardly change: each of their mini-batches holds the whole mixture. The columns of the network
# without drop-path gain even more, and remain poor: their weights never learned to work alone.
#
# The default is by sample. For the shorter time choose `per_sample=False`, and `update_bn` for a
# column that you want to use.
#
# ## Where does it pay?
#
# So far drop-path has only cost the whole network something. When does it gain? Here is a recorded
# experiment (`python -m tutorials.drop_path`): the same network with and without drop-path, from
# the same seeds, for as many epochs. The picture shows the difference, mean and standard error
# over the seeds. Above the line drop-path pays.

# %% jupyter={"source_hidden": true}
with open("records/drop_path.json") as file:
    rows = [row for row in json.load(file)["rows"] if row["columns"] == 3]


def accuracies(images, epochs, drop_path, part="test"):
    """Of the whole network, in per cent, in the order of the seeds."""
    chosen = [r for r in rows if (r["images"], r["epochs"]) == (images, epochs)]
    chosen = [row for row in chosen if row["drop_path"] == drop_path]
    return 100 * np.array([r[part][0] for r in sorted(chosen, key=lambda row: row["seed"])])


settings = list(dict.fromkeys((row["images"], row["epochs"]) for row in rows))
labels, means, errors = [], [], []
print("training images   epochs   seeds      without         with       difference (test accuracy)")
for images, epochs in settings:
    without, with_it = (accuracies(images, epochs, p) for p in (0.0, 0.15))
    gain = with_it - without
    labels.append(f"{images} images\n{epochs} epochs")
    means.append(gain.mean())
    errors.append(gain.std(ddof=1) / len(gain) ** 0.5)
    print(f"{images:>15} {epochs:8} {len(gain):7} {without.mean():10.1f} % {with_it.mean():10.1f} %"
          f" {means[-1]:+8.1f} ± {errors[-1]:.1f} points")  # fmt: skip

plt.figure(figsize=(5.6, 3))
plt.axhline(0, color=GRAY, lw=1)
plt.errorbar(range(len(means)), means, errors, fmt="o", color=ORANGE, capsize=4)
plt.xticks(range(len(labels)), labels)
plt.ylabel("gain from drop-path, points")
plt.title("drop-path pays where images are few", loc="left")
plt.margins(x=0.2)
plt.show()
gain, error = dict(zip(settings, means)), dict(zip(settings, errors))
assert gain["all", 12] < -3
assert abs(gain["all", 36]) < 1
assert abs(gain[300, 50]) < error[300, 50]
assert gain[100, 100] > 2 * error[100, 100]
assert min(min(row["test"][1:]) for row in rows if row["drop_path"]) > 0.75  # columns alone
assert max(max(row["test"][1:]) for row in rows if not row["drop_path"]) < 0.65

# %% [markdown]
# With all the digits and twelve epochs, drop-path costs the whole network more than three points.
# Three times as many epochs close the gap. With 300 training images the difference is within the
# error bars. With 100, which the network soon knows by heart, drop-path gains one to two points,
# in about as many steps as in the first row. (These small sets were not shifted in training.) So
# here drop-path pays where images are few, and costs where they are many and the training is
# short. And everywhere it buys columns that work alone. Chapter 11 asks the same of harder images.
#
# ## What you now own
#
# You know why a join is a mean, and why nothing has to be rescaled when branches are dropped. You
# can count what drop-path computes, say where it pays, and make a column stand alone. And you have
# told two suspects apart, the weights and the statistics, by changing only one of them.
#
# ## Now read the source
#
# - [`ops/join.py`](../tinyfractal/ops/join.py): `_join` is your weighted sum; `join` sees to the
#   mask.
# - `DropPath` in [`nn/layers.py`](../tinyfractal/nn/layers.py): `sample` is your `local`, without
#   the loop.
# - [`fractal.py`](../tinyfractal/fractal.py): read `FractalBlock.branches` with `alive` in it.
#   `alive[..., 0].any()` asks whether *some* sample needs the branch. Then read `keep_local`,
#   `keep_column` and `keep_by_sample`, three answers to the one question.
# - [`train/norm.py`](../tinyfractal/train/norm.py): `update_bn`.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/09_join_and_drop_path.py`.
#
# **1. Unbroken.** Under local drop-path, what is the probability that the deepest column of $f_C$
# lives at *every* join it passes through? `survival(k, p)` may help; it is given. (A join of one
# branch always keeps it.)


# %%
def unbroken(C, p): ...


check_unbroken(unbroken)

# %% [markdown]
# **2. A join that adds.** Suppose the join were the *sum* of its branches at test time. In
# training each branch is dropped with probability $p$, and nothing is rescued. Which weights must
# the branches have in training, so that on average the join gives the same as at test time?
# `alive` is a tuple of k booleans; return k weights.


# %%
def sum_weights(alive, p): ...


check_sum(sum_weights)

# %% [markdown]
# **3. A third.** At which $p$ does local drop-path compute a third of the 15 convolutions of $f_4$,
# on average? (To two digits. It is not two thirds.)

# %%
third = ...

check_third(third)

# %% [markdown]
# **4. A `keep` of your own.** Return the function that makes a network of `columns` columns use its
# columns 0 to `deepest` together and none that is deeper. Remember the question: `keep(k)` is asked
# which of the $k$ *deepest* columns live, and answers with k booleans, the shallowest first.


# %%
def keep_up_to(deepest, columns): ...


check_keep(keep_up_to)
