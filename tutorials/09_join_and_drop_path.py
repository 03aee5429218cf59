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
# *45 minutes. Afterwards you can read [`ops/join.py`](../tinyfractal/ops/join.py), `DropPath` in
# [`nn/layers.py`](../tinyfractal/nn/layers.py) and the section "Who lives" of
# [`fractal.py`](../tinyfractal/fractal.py).*
#
# The branches of a fractal block meet in joins. This chapter is about what happens there. First,
# why a join is a mean. Then **drop-path**: while the network learns, joins leave out some of their
# branches at random. That sounds like damage. You will see that it costs the joins nothing on the
# average, that it can save a part of the computing, and that without it the columns of a FractalNet
# would be useless on their own.

# %%
import itertools
import time

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal import plot
from tinyfractal.draw.layout import alive_paths, layout_block
from tinyfractal.draw.sheet import Sheet, picture
from tinyfractal.engine.backward import backward_order

from exercises.join_and_drop_path import check_keep, check_sum, check_third, check_unbroken
from figures import use_style
from smaller import smaller

use_style()
chance = np.random.default_rng(0)

# %% [markdown]
# Step backward to the last join of this block: what does each branch get? Then choose **a local
# draw** at the top right, and go to its last join: how many branches live there, and what does each
# get now? What is dashed was not computed, and no gradient comes there. With **only column 1** no
# join is left: what remains is a plain network.

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
# What comes to a join has been through batch norm and ReLU, so its numbers are about those of
# $\operatorname{relu}(x)$ with $x$ normally distributed. Let us join 1, 2, 3 or 4 such branches, by
# sum and by mean, and measure the level (the average number) and the spread (the standard
# deviation) of the result.

# %%
xs = np.maximum(chance.normal(size=(4, 100_000)), 0)  # 4 branches
levels = {"sum": [], "mean": []}
for k in range(1, 5):
    for name, joined in (("sum", xs[:k].sum(axis=0)), ("mean", xs[:k].mean(axis=0))):
        levels[name].append(joined.mean())
        print(f"{k} alive, {name:4}  level {joined.mean():.2f}   spread {joined.std():.2f}")
assert levels["sum"][3] > 3.9 * levels["sum"][0]
assert abs(levels["mean"][3] / levels["mean"][0] - 1) < 0.02

# %%
plt.figure(figsize=(5, 2.6))
for name, color in (("sum", "0.5"), ("mean", "tab:orange")):
    plt.plot(range(1, 5), levels[name], "o-", color=color, label=name)
plt.xticks(range(1, 5))
plt.ylim(0)
plt.xlabel("branches alive")
plt.ylabel("level of the join's output")
plt.legend()
plt.show()

# %% [markdown]
# If each branch has level $\mu$ and spread $\sigma$, and the branches have nothing to do with each
# other, then
#
# $$\text{sum of } k\text{: level } k\mu, \text{ spread } \sqrt{k}\,\sigma
# \qquad\qquad \text{mean of } k\text{: level } \mu, \text{ spread } \sigma / \sqrt{k}.$$
#
# The layer behind the join was made for one level. With the sum it would see another level for
# each number of branches. With the mean the level is the same for one branch as for four, and only
# the spread shrinks a little (not at all, if the branches agree). So a join can lose branches, and
# what follows is not taken by surprise. All that drop-path does rests on this.
#
# ## The join, forward and backward
#
# A **mask** says which branches are alive, for each sample: booleans $(N, k)$. Each row of it gives
# a row of weights, one divided by the number alive, or zero. The join is the weighted sum
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
# Against the library: the same output, and a gradient that is the weight, times the gradient that
# comes from behind. A branch that is dropped for a sample gets none from it.

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
# paper takes $p = 0.15$ (Larsson et al. 2016, section 3.1, has both kinds). A join that lost all
# would have no mean. So if all would be dropped, one of them is rescued, each with the same chance.


# %%
def local(k, p, rows):
    """Which of k branches live, for each of `rows` samples: booleans (rows, k)."""
    alive = chance.random((rows, k)) >= p
    for row in np.flatnonzero(~alive.any(axis=1)):
        alive[row, chance.integers(k)] = True
    return alive


print(local(3, 0.5, rows=8).astype(int))

# %% [markdown]
# How often does a given branch live? It is not dropped with probability $1 - p$. Or all $k$ are
# dropped, which has probability $p^k$, and it is the one of $k$ that is rescued:
#
# $$P(\text{alive}_i) = (1 - p) + \frac{p^k}{k}$$
#
# A frequency measured on $n$ samples scatters around a probability $q$, with a standard deviation
# of $\sqrt{q(1-q)/n}$. We allow four of them.


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
# And *how many* are alive? Without the rescue the number is binomial: $m$ of $k$ with probability
# $\binom{k}{m} (1-p)^m p^{k-m}$. The rescue moves the chance of "none", $p^k$, to "one".
# Rather than trust the formula, let us write down all cases with their probabilities: each of the
# $2^k$ masks, and for the empty one its $k$ rescues. There are few, and we need them again.


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

# %%
figure, panels = plt.subplots(1, 3, figsize=(8, 2.5), sharey=True)
for axes, p in zip(panels, (0.15, 0.5, 0.9)):
    theory = [sum(q for alive, q in cases(4, p) if sum(alive) == m) for m in range(5)]
    found = np.bincount(local(4, p, 2000).sum(axis=1), minlength=5) / 2000
    band = 4 * np.sqrt(np.multiply(theory, np.subtract(1, theory)) / 2000)
    axes.bar(range(5), theory, color="0.8", zorder=3, label="theory")
    axes.errorbar(range(5), found, band, fmt="o", ms=4, zorder=4, label="measured")
    axes.set_title(f"p = {p}, k = 4")
    axes.set_xlabel("branches alive")
    assert (abs(found - theory) <= band + 1e-12).all()
panels[0].legend()
plt.show()

# %% [markdown]
# With $p = 0.15$ the rescue is almost never needed. With $p = 0.9$ it decides $0.9^4 = 66\,\%$ of
# the cases.
#
# ## Nothing to rescale
#
# **Dropout** (Srivastava et al. 2014) is the older idea: in training each single number is set to
# zero with probability $p$, and at test time none is. The numbers that stay must be multiplied by
# $1 / (1 - p)$, or the sums behind them would be too small in training. What of drop-path? In
# training the weight of a branch is random; its average over all cases is

# %%
for k, p in ((2, 0.15), (3, 0.15), (3, 0.6)):
    average = sum(q * weights_of(np.array([alive]))[0] for alive, q in cases(k, p))
    print(f"k = {k}, p = {p}: average weights {average.round(4)}")
    assert np.allclose(average, 1 / k)

# %% [markdown]
# exactly $1/k$, whatever $p$. It must be: the weights of every case add up to 1, and no branch is
# preferred. At test time nothing is dropped and each branch has weight $1/k$. So **on the average a
# join gives in training what it gives in testing**, with no factor. (This is true of each join,
# given its branches. Behind a ReLU averages no longer carry through exactly.)
#
# ## Predict, then run
#
# Now let the branches *agree*: all four bring the same number, 1. We drop with $p = 0.5$ in two
# ways. One is drop-path. The other is dropout applied to the branches: dropped ones are zero, the
# others are doubled, and the mean is over all four. **How do the outputs scatter?**

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
# Both are right on the average. Dropout adds noise in any case. Drop-path adds noise only where
# branches *disagree*; where they agree it is not noticed. To a network that is trained with it, it
# says: let each branch by itself be good for what follows.
#
# </details>
#
# **Stochastic depth** (Huang et al. 2016) is the corresponding idea for ResNets: skip a unit
# $x + F(x)$ at random. There the result is a sum, and $F$ has to be scaled at test time.
#
# ## A block under local drop-path
#
# A block has several joins, and each decides by itself. In tinyfractal a block asks at each join
# one question, **which of your $k$ deepest columns live?**, and a function `keep(k)` answers. With
# local drop-path that is a draw.

# %%
tf.seed(4)
net = tf.FractalNet(in_channels=1, classes=10, columns=3, channels=(16, 32, 64), drop_path=0.3)
plot.draw_block(3, net.keep_local(), title="local drop-path, p = 0.3")

# %% [markdown]
# What is dashed is not needed by anyone, so it is not computed. Mind what "dropped" means: a
# *branch of a join* is dropped, and with it everything that only that branch needs.
#
# Here are many draws, lying on the side: input on the left, the shallowest column on top. The last
# row is **global drop-path**, the second kind: one column is chosen, and every join keeps that
# column only.

# %% tags=["thumbnail"]
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
# Under local drop-path mostly two or three columns are left at the last join, and they must get
# along in any company. Under global drop-path there is no company: a column is alone and has to be
# a network of its own. The choice is made once for the *whole* network, so that it is the same
# column in all blocks:

# %%
assert sum(q for alive, q in cases(3, 0.3) if sum(alive) >= 2) > 0.7
plot.draw_network(3, (16, 32, 64), net.keep_column(1), (8, 8, 1), title="global: column 1")

# %% [markdown]
# ## The mix
#
# The paper uses both, half and half. FractalNet decides for each sample of the mini-batch (or once
# for the mini-batch, see below) whether it is a global or a local case. Here is the last join of a
# block, of three columns, for 48 samples. A sample of the global kind has one black square; one of
# the local kind has mostly three.

# %%
net = tf.FractalNet(columns=3, channels=(16, 32, 64))  # p = 0.15, half global
tf.seed(0)
mask = net.keep_by_sample(48)(3)  # (48, 3)
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

# %%
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
# The expected number of convolutions in $f_C$ follows the recursion of the block. If column 0 lives
# at the last join, one convolution is computed. If any deeper column lives there, the first
# $f_{C-1}$ is computed, which decides for itself, and then the second, whose branches are already
# decided because its join is merged with this one.


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
# column, $2^c$ convolutions, and the average over the columns is $(2^C - 1) / C$. (The same number
# was the mean length of all paths by weight in chapter 8.) Together, with three columns, two fifths
# of the convolutions are saved.
#
# </details>
#
# Is the recursion right? We draw 4,000 times and count. And is what we count what is computed? Run
# a real block and count the convolutions in the recorded graph, after the same seed.

# %%
tf.seed(1)
counts = np.array([len(alive_paths(3, net.keep_local()).convs) for _ in range(4000)])
error = counts.std() / np.sqrt(4000)
print(f"drawn: {counts.mean():.3f} ± {error:.3f}   exact: {expected(3, 0.15):.3f}")
assert abs(counts.mean() - expected(3, 0.15)) < 4 * error

block = tf.FractalBlock(3, 1, 4)
image = tf.Tensor(tf.backend.asarray(np.ones((2, 4, 4, 1), np.float32)))
for seed in range(30):
    tf.seed(seed)
    drawn = len(alive_paths(3, net.keep_local()).convs)
    tf.seed(seed)
    nodes = backward_order([block(image, net.keep_local()).node])
    convolutions = [node for node in nodes if node.primitive.__name__ == "conv2d"]
    assert drawn == sum(node.params["kernels"] for node in convolutions)  # some share an input

# %%
ps = np.linspace(0, 1, 41)
plt.figure(figsize=(6, 3))
for C, color in ((2, "tab:green"), (3, "tab:blue"), (4, "tab:purple")):
    plt.plot(ps, [100 * expected(C, p) / (2**C - 1) for p in ps], color=color, label=f"C = {C}")
    plt.axhline(100 / C, color=color, lw=1, ls="--")
plt.axvline(0.15, color="0.6", lw=1)
plt.ylim(0)
plt.xlabel("p")
plt.ylabel("convolutions computed, %")
plt.legend(title="full: local\ndashed: global")
plt.show()

# %% [markdown]
# The curves of local drop-path fall to the dashed lines, and reach them. At $p = 1$ every join
# keeps just the one branch that is rescued, each equally often, and the work is on average that of
# a column:

# %%
for C in range(1, 6):
    assert np.isclose(expected(C, 1), (2**C - 1) / C)

# %% [markdown]
# And in time? A training step, with the decision made once for the mini-batch, beside one where
# nothing is dropped and one where each sample decides for itself. Then a branch is almost always
# needed by *some* sample, and nothing is saved.


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
# Times vary from machine to machine and from run to run. Expect about what the count of
# convolutions says for the first line, and for the second about the whole time.
#
# ## What it is for
#
# A column can be taken out of the network and used alone: `net(x, column=c)`. **Predict: how good
# is a single column of a network trained *without* drop-path?** The whole network is good. Its
# columns have the same weights, each takes part in every mean.
#
# We train small networks on the digits, two blocks of three columns: without drop-path, with
# drop-path decided by sample, and decided by mini-batch. Three seeds each.

# %%
train, test = tf.data.load_digits()
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
    schedule = tf.optim.CosineLR(optimizer, epochs=4)
    how = {"transform": standardize, "batch_size": 50, "seed": seed, "quiet": True}
    last = tf.train.fit(net, train, test, optimizer, schedule, **how)[-1]
    return net, [*last["columns"], last["test_accuracy"]]


seeds = smaller("seeds", 3, in_browser=1)
runs = {name: [learn(seed, **how) for seed in range(seeds)] for name, how in variants.items()}
accuracy = {name: 100 * np.array([found for _, found in r]) for name, r in runs.items()}

# %% jupyter={"outputs_hidden": true}
colors = {"no drop-path": "0.5", "by sample": "tab:blue", "by mini-batch": "tab:orange"}
for name, found in accuracy.items():
    at = np.arange(4) + 0.1 * (list(variants).index(name) - 1)
    plt.plot(at, found.T, "o", ms=4, color=colors[name])
    plt.plot(at, np.median(found, axis=0), "_", ms=16, color=colors[name], label=name)
    shown = "  ".join(f"{a:5.1f}" for a in np.median(found, axis=0))
    print(f"{name:13} median of columns 0, 1, 2 and the whole: {shown} %")
plt.xticks(range(4), ["column 0", "column 1", "column 2", "whole"])
plt.ylabel("test accuracy, %")
plt.ylim(0, 102)
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Without drop-path the columns alone are poor, although the whole network is the best of all after
# this short training. They have learned to be right *together*, each relying on the others to be
# there. This is called **co-adaptation**. With drop-path each column has been alone often enough to
# do without them. The whole network pays for it at first: three more networks are trained at the
# same time, with the same weights. (Chapter 10 trains for longer.)
#
# </details>

# %%
median = {name: np.median(found, axis=0) for name, found in accuracy.items()}
assert median["no drop-path"][:3].max() < 70 and median["by sample"][:3].min() > 80
assert median["no drop-path"][3] > median["by sample"][3]
assert median["by mini-batch"][:3].mean() < median["by sample"][:3].mean()

# %% [markdown]
# ## By sample or by mini-batch?
#
# By mini-batch is quicker, and the columns come out worse. Why? Here is a suspicion. In training,
# batch norm uses the mini-batch's own mean and variance, and in testing *running* averages of them
# (chapter 7). If one mini-batch runs through all branches and the next through one column, then the
# layers behind a join see unlike inputs, and the running average is of a mixture that never occurs.
#
# A suspicion can be tested. Leave the *weights* as they are, and only measure the running
# statistics anew: show the training images to one column alone, in training mode, without learning.
# If the fault is in the weights, this will not help.


# %%
def recalibrated(net, c):
    """Accuracy of column c, with running statistics from column c alone."""
    net.train()
    with tf.no_grad():
        for images, _ in tf.data.Loader(train, 50, shuffle=True, transform=standardize):
            net(tf.Tensor(tf.backend.asarray(images)), column=c)
    return 100 * tf.train.evaluate(net.column(c), test, standardize).accuracy


for name in variants:
    again = np.array([[recalibrated(net, c) for c in range(3)] for net, _ in runs[name]])
    gain = np.median(again, axis=0) - median[name][:3]
    shown = np.median(again, axis=0).round(1)
    print(f"{name:13} columns afterwards: {shown}   gain {gain.round(1)}")
    if name == "by mini-batch":
        assert gain.max() > 4 and np.median(again) > median["by sample"][:3].mean() - 4
    assert name != "by sample" or abs(gain).max() < 5
    assert name != "no drop-path" or shown.max() < 75

# %% [markdown]
# The suspicion was right. With statistics of their own, the columns trained by mini-batch are about
# as good as those trained by sample: the fault was not in the weights. For those trained by sample
# nothing much changes, since each mini-batch there has the whole mixture in it. The columns of the
# network without drop-path gain as well, and remain poor: their weights were never trained to work
# alone.
#
# tinyfractal's default is by sample. Whoever wants the shorter time chooses `per_sample=False`.
#
# ## Now read the source
#
# - [`ops/join.py`](../tinyfractal/ops/join.py): `_join` is your weighted sum. `join` is about
#   the mask. Without one, all weights are $1/k$.
# - `DropPath` in [`nn/layers.py`](../tinyfractal/nn/layers.py): `sample` is your `local`, without
#   the loop. With `per_sample=False`, branches that do not live are left out of the list.
# - [`fractal.py`](../tinyfractal/fractal.py): now read `FractalBlock.branches` with `alive` in it.
#   `alive[..., 0].any()` asks whether *some* sample needs the branch. Then `keep_local`,
#   `keep_column` and `keep_by_sample`, the three answers to the one question. One thing is new
#   there: where a sample's global column does not pass through a join, that join leaves all
#   branches open for it. Its output is not used for that sample. But zeros in its place would be
#   counted by batch norm, and you have just seen how sensitive that is.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions:
# `solutions/09_join_and_drop_path.py`.
#
# **1. Unbroken.** Under local drop-path, what is the probability that the deepest column of $f_C$
# lives at *every* join it passes through? `survival(k, p)` may help; it is given. (A join of one
# branch always keeps it.)


# %%
def unbroken(C, p): ...


check_unbroken(unbroken)

# %% [markdown]
# **2. A join that adds.** Say the join were the *sum* of its branches at test time. In training
# each branch is dropped with probability $p$, and nothing is rescued. Which weights must the
# branches have in training, so that on the average the join gives the same as in testing? `alive`
# is a tuple of k booleans; return k weights.


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
