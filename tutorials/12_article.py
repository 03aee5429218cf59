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
# # 12. Is the article right?
#
# *40 minutes. Afterwards you can read [`recurse.py`](../tinyfractal/recurse.py) and
# [`zoo.py`](../tinyfractal/zoo.py).*
#
# This library grew from a short blog article, "FractalNet Explained". It promises a lot: depth
# without more parameters, regularization without dropout, better generalization, an advantage over
# ResNet. An explanation has to simplify, and it has little room for evidence. We have room. In
# this chapter each promise becomes a **hypothesis**: something to measure, and an outcome that
# would count against it. Both stand before the result, so that you can predict. (For strict
# evidence they would have to be on record before the very first run, and they were not: experiments
# were tried out while the chapter was written.) At the end, code fills in a table of promises and
# verdicts from the numbers.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal import nn, recurse, zoo
from tinyfractal.fractal import ConvUnit

from exercises.article import (
    check_collapse,
    check_paired_error,
    check_seeds_needed,
    check_sign_flip,
)
from figures import use_style
from smaller import smaller

use_style()
verdicts = []  # (promise, what was measured, verdict): filled as we go
differences = {}  # {promise: (mean difference, standard error)} in percentage points

# %% [markdown]
# ## The formula, read literally
#
# The article's rule is $F(x) = F(F(x))$, "the same function again and again". As an equation it
# says something else: applying $F$ twice gives the same as applying it once. Such functions exist.
# ReLU is one, since clipping at zero a second time changes nothing. A layer with weights is not.

# %%
tf.seed(0)
x = tf.Tensor(np.random.default_rng(0).normal(size=10).astype(np.float32))
layer = nn.Linear(10, 10)
for name, F in (("relu", tf.relu), ("Linear(10, 10)", layer)):
    once, twice = F(x).numpy(), F(F(x)).numpy()
    print(f"{name:15} largest difference of F(F(x)) and F(x): {abs(twice - once).max():.3f}")
    assert (abs(twice - once).max() == 0) == (name == "relu")

# %% [markdown]
# What is meant is an assignment, as in code: the new $F$ is the old one applied twice. That is
# `RecursiveBlock`, and with the article's `Linear(10, 10)` it prints the article's own lines:

# %%
print(recurse.article_example())

# %% [markdown]
# ## Predict, then run
#
# The example applies a linear layer twice. **Is the result deeper than one linear layer, in what it
# can compute?** Write out $(x W + b) W + b$ before you run the cell.

# %% jupyter={"outputs_hidden": true}
layer.load_state_dict({**layer.state_dict(), "bias": np.linspace(-1, 1, 10, dtype=np.float32)})
W, b = layer.weight.numpy(), layer.bias.numpy()  # (10, 10) and (10,)
one_layer = x.numpy() @ (W @ W) + (b @ W + b)
two_layers = tf.RecursiveBlock(layer, depth=2)(x).numpy()
print("largest difference:", abs(one_layer - two_layers).max())
assert np.allclose(one_layer, two_layers, atol=1e-5)

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# $$(x W + b) W + b = x W^2 + (b W + b)$$
#
# The right side is a linear layer again, with weight $W^2$ and bias $b W + b$.
#
# So the code of the article is shallow after all: what makes layers deep is the nonlinearity
# between them, and its example has none. We repair that in the block we test below.
#
# </details>
#
# ## Promise: parameters stay constant while depth grows
#
# *Hypothesis: with more depth, the number of parameters does not change. It fails if it does.* This
# can be counted, once and for all, without training. `recurse.measure` builds four kinds of network
# from 3×3 convolutions of 16 channels, and it measures the depth in the recorded graph, as the
# number of convolutions on the longest path.

# %%
print(recurse.depth_table(max_columns=5))
depths, shared, fractal, plain, resnet = np.array(recurse.measure(max_columns=5)).T
assert (plain == resnet).all()

# %%
for name, count in (("fractal block", fractal), ("plain stack and ResNet", plain)):
    plt.plot(depths, count, "o-", label=name)
plt.plot(depths, shared, "o-", color="black", label="RecursiveBlock: shared weights")
plt.xticks(depths)
plt.xlabel("depth: convolutions on the longest path")
plt.ylabel("parameters")
plt.legend()
plt.show()

# %% [markdown]
# Both halves of the answer are exact. A shared layer is counted once, however often it runs. In a
# fractal block as the paper defines it, each of the $2^C - 1$ convolutions has weights of its own,
# and the longest path has $2^{C-1}$ of them. So at the same depth the block has almost *twice* the
# parameters of a plain stack, not fewer.


# %%
def holds(condition):
    return "holds" if condition else "does not hold"


only_shared = set(shared) == {shared[0]} and len(set(fractal)) > 1
growth = f"depth ×{depths[-1] // depths[0]}: shared ×{shared[-1] / shared[0]:.0f}, "
growth += f"fractal ×{fractal[-1] / fractal[0]:.0f}"
verdicts.append(
    ("parameters constant", growth, "only for the shared block" if only_shared else "?")
)
ratio = fractal[-1] / plain[-1]
verdicts.append(
    ("depth without many parameters", f"fractal / plain: {ratio:.2f}", holds(ratio <= 1))
)
assert only_shared and 1.8 < ratio < 2

# %% [markdown]
# ## One run is no answer
#
# The other promises need training, and training has chance in it: the first weights, the order of
# the images, and which images it learns from. To see how much that matters we train one small
# network several times.
#
# We use *small* training sets, 100 to 200 of the 1,797 digits, and test on 700 of the others.
# With little to learn from, a network can learn its examples by heart without learning what a digit
# looks like. That is **overfitting**, and whatever helps against it, **regularization**, shows most
# where examples are few.


# %%
first, second = tf.data.load_digits()
images = np.concatenate([first.images, second.images])
labels = np.concatenate([first.labels, second.labels])
digits = tf.data.Dataset(images, labels, first.classes, "digits")


def draw(seed, n, wrong):
    """n images to train on, 700 to test. A fraction `wrong` of the training labels lie."""
    rng = np.random.default_rng([seed, n])
    order = rng.permutation(len(digits))
    train, test = digits[order[:n]], digits[order[n : n + 700]]
    lies = rng.random(n) < wrong
    given = (train.labels + lies * rng.integers(1, 10, size=n)) % 10
    return tf.data.Dataset(train.images, given, digits.classes, "some digits"), test, lies


# %% [markdown]
# Training is the loop of chapter 5: SGD with momentum and a cosine schedule. The seed decides the
# training images, the first weights and the order. All networks that we compare get the same
# seeds, so each comparison is between networks that saw the very same images.


# %%
def train_once(build, seed, n=100, wrong=0.0, epochs=50, lr=0.2):
    train, test, lies = draw(seed, n, wrong)
    standardize = tf.data.Standardize.fit(train.images)
    loader = tf.data.Loader(train, 50, shuffle=True, seed=seed, transform=standardize)
    tf.seed(seed)
    net = build()
    optimizer = tf.optim.SGD(net.parameters(), lr, momentum=0.9)
    schedule = tf.optim.CosineLR(optimizer, epochs)
    for _ in range(epochs):
        for images, labels in loader:
            x, y = tf.Tensor(tf.backend.asarray(images)), tf.backend.asarray(labels)
            optimizer.zero_grad()
            tf.cross_entropy(net(x), y).backward()
            optimizer.step()
        schedule.step()
    return measurements(net, train, test, standardize, lies)


# %% [markdown]
# What do we keep of a run? The accuracy on new images, the **generalization gap** (accuracy on the
# training images minus accuracy on new ones), the accuracy of each column, and, where labels lie,
# the share of the lies that the network repeats. The last needs the training images' predictions.


# %%
def measurements(net, train, test, standardize, lies):
    new = tf.train.evaluate(net, test, standardize)
    said = tf.train.predict(net, train.images, standardize).argmax(axis=1)
    right = said == train.labels  # by the labels that it was given, lies and all
    columns = [
        tf.train.evaluate(column, test, standardize).accuracy for column in tf.train.columns_of(net)
    ]
    return {
        "test": new.accuracy,
        "gap": right.mean() - new.accuracy,
        "repeated": right[lies].mean() if lies.any() else 0.0,
        "columns": columns,
        "parameters": net.count_parameters(),
    }


# %% [markdown]
# The networks are tiny: two blocks of two columns, with 8 and 16 channels. They use **drop-path**
# (chapter 9): in training, whole paths into a join are left out at random. Five seeds:

# %%
SEEDS = range(smaller("seeds", 5, in_browser=3))


def train_all(build, **settings):
    """{what was measured: an array with a row for each seed}"""
    runs = [train_once(build, seed, **settings) for seed in SEEDS]
    return {key: np.array([run[key] for run in runs]) for key in runs[0]}


def fractal_net(drop_path=0.15, dropout=0.0):
    return tf.FractalNet(1, 10, 2, (8, 16), drop_path=drop_path, dropout=dropout)


clean = {"FractalNet": train_all(fractal_net)}
print("parameters:", clean["FractalNet"]["parameters"][0])
print("test accuracy of each seed:", clean["FractalNet"]["test"].round(3))

# %% [markdown]
# The same recipe, and results that differ by several percentage points. Whoever shows one run shows
# a draw from this lottery. The remedy is to report the mean and say how far it can be trusted. The
# **standard error** estimates by how much the mean of $n$ runs would vary if one did all $n$ again:
#
# $$\bar v = \frac1n \sum_i v_i, \qquad s^2 = \frac1{n-1} \sum_i (v_i - \bar v)^2, \qquad
# \text{SE} = \frac{s}{\sqrt n}$$
#
# $s$ is the spread of single runs. The mean of $n$ runs is steadier by $\sqrt n$.


# %%
def standard_error(values):
    return values.std(ddof=1) / math.sqrt(len(values))


values = clean["FractalNet"]["test"]
print(f"mean {values.mean():.3f} ± {standard_error(values):.3f}   spread {values.std(ddof=1):.3f}")
assert values.max() - values.min() > 0.005

# %% [markdown]
# ## How large must a difference be?
#
# To compare A with B we subtract seed by seed, $d_i = a_i - b_i$, and look at the mean of the
# differences and its standard error. A seed with difficult images makes both networks worse, and in
# the difference that cancels. This is a **paired** comparison.
#
# By chance alone the mean difference will hardly ever be exactly zero. **How many standard errors
# from zero may it be, if A and B are equally good?** Let us ask chance: 100,000 comparisons of five
# pairs with nothing behind them.

# %%
nothing = np.random.default_rng(0).normal(size=(100_000, 5))
errors = nothing.std(axis=1, ddof=1) / math.sqrt(5)
alarms = {}
for times in (1, 2, 3, 4):
    alarms[times] = (abs(nothing.mean(axis=1)) > times * errors).mean()
    print(f"further than {times} × standard error: {alarms[times]:5.1%} of the comparisons")
assert 0.03 < alarms[3] < 0.05

# %% [markdown]
# So our rule is **three**: then about one comparison in 25 raises a false alarm. (With many seeds
# two would do; of five seeds even the standard error is only a rough guess.) The one in 25 is for
# differences that are normally distributed, as we drew them. Exercise 4 shows what five seeds can
# reach without that assumption, by flips of signs alone. There will be 14 comparisons in the final
# table. If nothing were behind any of them, about half a false alarm would be expected.
#
# "No difference seen" does not mean "equal". It means that five seeds cannot tell: the true
# difference plausibly lies within the measured one ± 3 standard errors, and that may be wide. Nor
# can a measure tell that has reached its end. Where both networks are at 100 %, or nearly, we call
# the comparison **saturated**.


# %%
def compare(a, b):
    """The mean of a - b, seed by seed, and its standard error."""
    return (a - b).mean(), standard_error(a - b)


def verdict(a, b):
    """Whether "a is larger than b" holds."""
    mean, error = compare(a, b)
    if min(a.mean(), b.mean()) > 0.98:
        return "saturated: cannot tell"
    if abs(mean) <= 3 * error:
        return "no difference seen"
    return "holds" if mean > 0 else "the reverse holds"


def in_points(a, b):
    """The difference in percentage points, with the standard error, as text."""
    mean, error = compare(a, b)
    return f"{100 * mean:+.1f} ± {100 * error:.1f} points"


def judge(promise, a, b):
    """Add a row to the table: is a larger than b?"""
    verdicts.append((promise, in_points(a, b), verdict(a, b)))
    differences[promise] = tuple(100 * number for number in compare(a, b))
    print(f"{promise:43} {verdicts[-1][1]:20} {verdicts[-1][2]}")


# %% [markdown]
# ## Promise: deeper learning without extra cost
#
# Back to the shared block, now with a nonlinearity inside and a task. *Hypothesis: the same layer,
# applied four times, reaches a higher test accuracy than applied once.* Beside it stand stacks of
# the same depth whose layers have weights of their own.
#
# The layer is convolution → layer norm → ReLU on $(N, 4, 4, 16)$. Layer norm, because batch norm
# keeps *one* running mean for testing, and the four applications have four different means.


# %%
def shared_unit():
    conv = nn.Conv2d(16, 16, 3, bias=False, init=tf.init.he_normal)
    return nn.Sequential(conv, nn.LayerNorm(16), nn.ReLU())


def again_and_again(depth):
    return tf.RecursiveBlock(shared_unit(), depth)


def layers_of_their_own(depth):
    return nn.Sequential(*[shared_unit() for _ in range(depth)])


def around(body):
    """(N, 8, 8, 1) → (N, 4, 4, 16) → body → (N, 10)"""
    head = nn.GlobalAvgPool(), nn.Linear(16, 10)
    return nn.Sequential(ConvUnit(1, 16), nn.MaxPool2d(2), body, *head)


stacks = {}
for depth in (1, 2, 4):
    for body in (again_and_again, layers_of_their_own):
        if (again_and_again, 1) in stacks and depth == 1:
            stacks[body, 1] = stacks[again_and_again, 1]  # one layer is one layer
            continue
        stacks[body, depth] = train_all(
            lambda body=body, depth=depth: around(body(depth)), n=200, epochs=18, lr=0.05
        )

# %%
for body in (again_and_again, layers_of_their_own):
    results = [stacks[body, depth] for depth in (1, 2, 4)]
    means = [100 * result["test"].mean() for result in results]
    bars = [100 * standard_error(result["test"]) for result in results]
    label = body.__name__.replace("_", " ")  # "again and again"
    plt.errorbar((1, 2, 4), means, bars, fmt="o-", capsize=4, label=label)
    print(f"{label:20} parameters: {[int(result['parameters'][0]) for result in results]}")
plt.xticks((1, 2, 4))
plt.xlabel("depth of the body")
plt.ylabel("test accuracy, %")
plt.legend()
plt.show()

# %% [markdown]
# The bars are one standard error up and down. Here the article's idea does what it promises: at
# constant parameters, the network with four applications is clearly better than the one with one.
# (With this recipe, and up to this depth. It need not go on: far deeper stacks of one shared layer
# can become hard to train. Try 16.)
#
# "Without extra cost" is another matter. The layer is stored once and *run* four times, forward and
# backward. It saves memory for weights, and no arithmetic.

# %%
deep, shallow = (stacks[again_and_again, depth]["test"] for depth in (4, 1))
judge("shared block: depth 4 better than depth 1", deep, shallow)
one_image = tf.Tensor(tf.backend.asarray(np.ones((1, 4, 4, 16), np.float32)))
runs = [recurse.measured_depth(again_and_again(depth)(one_image)) for depth in (1, 4)]
verdicts.append(("… without extra cost", f"arithmetic ×{runs[1] // runs[0]}", holds(runs[1] == 1)))
assert compare(deep, shallow)[0] > 0.02 and runs == [1, 4]

# %% [markdown]
# ## Promise: regularization without dropout
#
# "No need for dropout: multiple paths naturally prevent overfitting." These are two hypotheses:
#
# 1. *A network with several paths overfits less than one without,* by itself.
# 2. *Drop-path does what dropout would do, so that dropout is not needed.*
#
# As a reminder: drop-path leaves out whole paths in training, **dropout** sets single numbers to
# zero at random.
#
# For overfitting we want a measure that leaves no doubt, so we lie to the networks: about 40 % of
# the training labels are replaced by wrong ones. A wrong label says nothing about digits. It can
# only be learned by heart, and the share of lies that a trained network *repeats* on its training
# images tells how much it learned by heart. (C. Zhang et al. 2017, "Understanding deep learning
# requires rethinking generalization", showed in this way that ordinary networks can learn even
# completely random labels.) The test labels stay true.
#
# The comparison should be fair in size. A plain network and a ResNet of the same depth have fewer
# parameters than the FractalNet, so we also make them wider until the counts agree.


# %%
def plain_net(channels=(8, 16)):
    return zoo.PlainNet(1, 10, channels, depth=2)


def res_net(channels=(8, 16)):
    return zoo.ResNet(1, 10, channels, depth=2)


def same_size(build):
    """The channels (w, 2w) whose count of parameters comes closest to the FractalNet's."""
    wanted = fractal_net().count_parameters()
    widths = [(w, 2 * w) for w in range(8, 16)]
    return min(widths, key=lambda channels: abs(build(channels).count_parameters() - wanted))


wide_plain, wide_res = same_size(plain_net), same_size(res_net)
for name, net in (
    ("FractalNet (8, 16)", fractal_net()),
    ("plain, same depth", plain_net()),
    (f"plain, same size {wide_plain}", plain_net(wide_plain)),
    ("ResNet, same depth", res_net()),
    (f"ResNet, same size {wide_res}", res_net(wide_res)),
):
    print(f"{name:27} {net.count_parameters():,} parameters")
    assert "size" not in name or abs(net.count_parameters() / 5642 - 1) < 0.05

# %% [markdown]
# **Predict:** four FractalNets, with drop-path, dropout, both or neither. Which of them
# repeats the most lies? And does "neither" repeat fewer than the plain network?

# %%
lying = {"n": 200, "wrong": 0.4, "epochs": 30, "lr": 0.15}
lied_to = {
    "plain": train_all(lambda: plain_net(wide_plain), **lying),
    "ResNet": train_all(lambda: res_net(wide_res), **lying),
    "fractal, neither": train_all(lambda: fractal_net(0.0, 0.0), **lying),
    "fractal, dropout": train_all(lambda: fractal_net(0.0, 0.1), **lying),
    "fractal, drop-path": train_all(lambda: fractal_net(0.15, 0.0), **lying),
    "fractal, both": train_all(lambda: fractal_net(0.15, 0.1), **lying),
}


# %%
def show(axes, results, key, title):
    """A dot and a bar of one standard error for each network, and the single runs in grey."""
    names = list(results)[::-1]
    for height, name in enumerate(names):
        values = 100 * results[name][key]
        color = "tab:orange" if "ractal" in name else "tab:blue"
        axes.plot(values, [height] * len(values), "o", color="0.8", ms=4)
        axes.errorbar(
            values.mean(), height, xerr=standard_error(values), fmt="o", capsize=4, color=color
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title)
    axes.set_xlabel("%")


# %% jupyter={"outputs_hidden": true} tags=["thumbnail"]
figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(8, 3.4))
show(left, lied_to, "repeated", "lies repeated")
show(right, lied_to, "test", "test accuracy")
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Plain, ResNet and the FractalNet with neither repeat nearly *every* lie: having several paths
# does not prevent overfitting "naturally". Leaving paths out *delays* it. With drop-path the
# network repeats far fewer lies in the same 30 epochs, and it reads new digits better. Dropout
# works in the same direction.
#
# </details>
#
# The number of epochs belongs to this result. Trained much longer, expect the network with
# drop-path to repeat every lie too. And a network without any regularizer that is stopped after a
# few epochs has not yet learned many lies: stopping early is a regularizer as well. Try it:
# `lying["epochs"]` is the knob.

# %%
neither, dropped = lied_to["fractal, neither"], lied_to["fractal, drop-path"]
for name, row in lied_to.items():
    print(f"{name:20} lies repeated {row['repeated'].mean():6.1%}   test {row['test'].mean():.1%}")
for name in ("plain", "ResNet", "fractal, neither"):
    assert lied_to[name]["repeated"].mean() > 0.85
for name in ("fractal, dropout", "fractal, drop-path"):
    assert lied_to[name]["repeated"].mean() < 0.8
assert compare(dropped["test"], neither["test"])[0] > 0.02
assert compare(lied_to["plain"]["repeated"], neither["repeated"])[0] < 0.15

# %% [markdown]
# Now the verdicts. For "no need for dropout" we ask twice: is drop-path alone better than dropout
# alone, and is it better than both together? ("The reverse holds" in the second would mean that
# dropout still adds something.) Only one strength of each was tried, 0.15 and 0.1. So these two
# rows are about this one dropout rate; a tuned one might do better, and with other seeds such a row
# may flip. The FractalNet paper itself uses both in its networks (section 4).
#
# In the first row both networks repeat every lie, or nearly. It is saturated: were one of them
# slower to learn by heart, these 30 epochs could not show it.

# %%
plain, both = lied_to["plain"], lied_to["fractal, both"]
for promise, key, better, than in (
    ("several paths alone: fewer lies", "repeated", plain, neither),
    ("several paths alone: better test", "test", neither, plain),
    ("drop-path: fewer lies", "repeated", neither, dropped),
    ("drop-path: better test", "test", dropped, neither),
    ("drop-path better than dropout at 0.1", "test", dropped, lied_to["fractal, dropout"]),
    ("drop-path better than both, dropout at 0.1", "test", dropped, both),
):
    judge(promise, better[key], than[key])

# %% [markdown]
# ## Promise: strong generalization, better than ResNet
#
# *Hypothesis: on new images the FractalNet is more accurate than a plain network and a ResNet, of
# the same depth and of the same size.* Now all labels are true, and there are 100 images.

# %%
clean |= {
    "FractalNet, no drop-path": train_all(lambda: fractal_net(0.0)),
    "plain, same depth": train_all(plain_net),
    "plain, same size": train_all(lambda: plain_net(wide_plain)),
    "ResNet, same depth": train_all(res_net),
    "ResNet, same size": train_all(lambda: res_net(wide_res)),
}
figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(8, 3.0))
show(left, clean, "test", "test accuracy")
show(right, clean, "gap", "generalization gap")
plt.show()

# %% [markdown]
# The right picture is the left one mirrored. All these networks end with nearly every *training*
# image right, so the gap is just what is missing at the test. Look how far the single runs (grey)
# of one network lie apart. Which of the differences between networks are more than chance?

# %%
ours = clean["FractalNet"]
assert all((row["gap"] + row["test"]).mean() > 0.97 for row in clean.values())
for name in ("plain, same depth", "plain, same size", "ResNet, same depth", "ResNet, same size"):
    judge(f"better than {name}", ours["test"], clean[name]["test"])
row = lied_to["fractal, drop-path"]["test"], lied_to["ResNet"]["test"]
judge("lies: drop-path beats unregularized ResNet", *row)
assert compare(*row)[0] > 0.02

# %% [markdown]
# Where labels lie, the FractalNet with drop-path is better than a ResNet without a regularizer, and
# the section before suggests what makes the difference: the regularizer. On true labels read what
# the last column says. Where it says "no difference seen", that is the result: if there is a
# difference, it plausibly lies within the measured difference ± 3 standard errors. (All networks
# had the same learning rate and the same number of epochs. Others may suit one of them better, and
# change the verdict.)
#
# The abstract of the FractalNet paper says that fractal networks *match* residual networks on CIFAR
# and ImageNet, and takes this as a sign that residual connections may not be what matters.
#
# ## Promise: automatic depth, high flexibility
#
# The article compares FractalNet's design, "self-repeating", with ResNet's "skip connections". That
# is a description, and right. It calls the depth automatic, where ResNet's is designed by hand, and
# the flexibility high, where ResNet's is moderate. As words about design these are not so: somebody
# chooses the columns $C$ and the blocks $B$, and the depth $B \cdot 2^{C-1}$ follows. It can even
# take fewer values than a ResNet's.
#
# But there is something in it that can be measured. A FractalNet trained with drop-path is several
# networks at once: each column works by itself, and the depth can be picked *after* training.
# *Hypothesis: column 1 alone is better than a plain network of the same depth and width that was
# trained alone. It fails if the plain one is better.* ("As good as" would be the more natural
# promise, but our rule can show a difference and no equality. If it sees none, we look at how wide
# the interval is.) To see what drop-path has to do with it, we look at both FractalNets.

# %%
for shift, name in ((-0.06, "FractalNet"), (0.06, "FractalNet, no drop-path")):
    columns = 100 * clean[name]["columns"]  # (5 seeds, 2 columns)
    means = [100 * clean[name]["test"].mean(), *columns.mean(axis=0)]
    bars = [100 * standard_error(clean[name]["test"]), *map(standard_error, columns.T)]
    plt.errorbar(np.arange(3) + shift, means, bars, fmt="o", capsize=4, label=name)
height = 100 * clean["plain, same depth"]["test"].mean()
plt.axhline(height, color="tab:gray", ls="--")
plt.text(0.5, height + 1, "plain, alone", ha="center")
plt.xticks((0, 1, 2), ("whole network", "column 0", "column 1"))
plt.xlim(-0.4, 2.4)
plt.ylim(top=100)
plt.ylabel("test accuracy, %")
plt.legend(loc="lower right")
plt.show()

# %%
alone, columns = clean["plain, same depth"]["test"], clean["FractalNet"]["columns"]
without = clean["FractalNet, no drop-path"]["columns"]
judge("column 1 better than plain, alone", columns[:, 1], alone)
judge("column 0 works by drop-path", columns[:, 0], without[:, 0])
mean, error = differences["column 1 better than plain, alone"]
print(f"column 1 - plain: plausibly {mean - 3 * error:+.1f} to {mean + 3 * error:+.1f} points")
assert compare(columns[:, 0], without[:, 0])[0] > 0.2
assert abs(compare(columns[:, 1], alone)[0]) < 0.05

# %% [markdown]
# Again it is drop-path that keeps the promise, not the paths: without it, a column taken out of the
# network is of much less use, since its layers have only ever seen the others' outputs mixed in.
# ("Works" means here: is better than the same column without drop-path.) Does column 1 gain by the
# company of the other column, or pay for it? The last line printed says what five seeds allow. An
# interval that covers zero allows both, up to its two ends.
#
# In fairness to the other side, Veit, Wilber & Belongie (2016, "Residual Networks Behave Like
# Ensembles of Relatively Shallow Networks") found that single units can be taken out of a trained
# deep ResNet with little loss. We did not test that.
#
# ## Applications
#
# The article names image classification, medical imaging, speech recognition and autonomous
# vehicles. What is shown here is image classification, on digits of 8×8 pixels. The paper shows it
# on CIFAR, SVHN and ImageNet. A convolution does not mind whether its array is an X-ray or a
# spectrogram of speech, so the others are possible. *Possible* is all that can be said: neither
# this course nor the paper has measured them.
#
# ## What was not tested
#
# The article promises more than this chapter measures. It says that deep models are slow and hard
# to train, and offers FractalNet as a solution: chapters 7 and 10 look at how training goes, though
# not at its speed against other networks. It explains good generalization by learning "at multiple
# levels": we saw that columns of different depth each work, not that this is the reason for
# anything. And it says that repeating structures simplify deep learning. That is hard to measure:
# one short rule builds the whole network, which you can judge yourself after chapter 8.
#
# ## The table
#
# All promises again, as code judged them. A difference has to exceed three standard errors.

# %%
print(f"{'promise':43} {'measured':34} verdict")
for promise, measured, word in verdicts:
    print(f"{promise:43} {measured:34} {word}")
expected = len(differences) * alarms[3]
print(f"\n{len(differences)} comparisons; false alarms if nothing is behind them: {expected:.2f}")
assert len(differences) == 14 and 0.4 < expected < 0.7

# %% [markdown]
# The differences of the table in one picture, each with a bar of *three* standard errors. Where the
# bar covers the line at zero, five seeds cannot tell (grey). A saturated row is left out. The axis
# is linear up to 5 points and logarithmic beyond, so that small differences stay visible beside
# large ones.

# %%
colors = {"holds": "tab:green", "the reverse holds": "tab:red", "no difference seen": "tab:gray"}
rows = [(row[0], colors[row[2]]) for row in verdicts if row[0] in differences and row[2] in colors]
for height, (promise, color) in enumerate(rows[::-1]):
    mean, error = differences[promise]
    plt.errorbar(mean, height, xerr=3 * error, fmt="o", capsize=4, color=color)
plt.axvline(0, color="black", lw=1)
plt.yticks(range(len(rows)), [promise for promise, _ in rows[::-1]], fontsize=8)
plt.xscale("symlog", linthresh=5)
ticks = (-5, -2, 0, 2, 5, 10, 20, 50)
plt.xticks(ticks, ticks)
plt.minorticks_off()
plt.xlabel("difference, percentage points")
plt.gcf().set_size_inches(7, 4.6)
plt.show()

# %% [markdown]
# In words that no third digit can change:
#
# - **It holds for the article's own block** that depth grows at constant parameters, and that depth
#   pays, up to the four applications measured here. It does not hold for the paper's fractal block
#   that parameters stay constant: it has *more* of them than a plain network of its depth. And
#   arithmetic grows with depth in both.
# - **Regularization without dropout is real in this sense:** drop-path *delays* learning by heart,
#   within the 30 epochs measured here. The paths alone, without drop-path, were not seen to do it.
#   Trained much longer, expect every lie to be repeated. Stopping early is a regularizer too.
# - **A network of several depths in one** (here two) is real as well, and needs drop-path too.
# - **Better than ResNet** is not something that this chapter could show on clean digits with five
#   seeds, unless your table says otherwise.
#
# None of this makes the article a bad introduction. It had the right pictures in mind, a tree and
# a rule that repeats. Some promises belong to the shared block, some to the paper's drop-path; a
# short article has no room to tell them apart.

# %%
table = {promise: word for promise, _, word in verdicts}
assert table["parameters constant"] == "only for the shared block"
assert table["depth without many parameters"] == table["… without extra cost"] == "does not hold"
assert table["drop-path: fewer lies"] == table["column 0 works by drop-path"] == "holds"

# %% [markdown]
# ## Now read the source
#
# [`recurse.py`](../tinyfractal/recurse.py) has the article's example and `measure`, which counted
# for us. Its `measured_depth` reads the graph that the engine recorded, from the inputs to the
# result: the depth of a node is the largest depth among its parents, plus one if it is itself a
# convolution. [`zoo.py`](../tinyfractal/zoo.py) has the opponents, made of the same `ConvUnit` as
# the fractal block, so that a comparison compares the wiring and nothing else. `same_size` is not
# in the library: what counts as a fair size is for whoever compares to decide.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/12_article.py`.
#
# **1. One layer is enough.** `RecursiveBlock(Linear(…), depth)` without a nonlinearity is one
# linear layer. Return its weight and bias, given those of the layer, NumPy arrays $(n, n)$ and
# $(n,)$.


# %%
def collapse(W, b, depth): ...


check_collapse(collapse)

# %% [markdown]
# **2. Paired.** Return the standard error of the mean difference of `a` and `b`, the results of two
# networks on the same seeds. (Without `standard_error` above.)


# %%
def paired_error(a, b): ...


check_paired_error(paired_error)

# %% [markdown]
# **3. How many seeds?** Paired differences have the spread $s$, and you want to see a difference of
# `d`. Return the smallest number of seeds, 2 or more, for which `d` is more than three standard
# errors.


# %%
def seeds_needed(spread, d): ...


check_seeds_needed(seeds_needed)

# %% [markdown]
# **4. A test without a bell curve.** If A and B are equally good, each paired difference might as
# well have had the other sign. Go through all $2^n$ ways of choosing the signs, and return the
# share of them whose mean is at least as far from zero as the mean that was measured. (This is a
# *permutation test*; a small share speaks against chance.) What is the smallest share that five
# seeds can give?


# %%
def sign_flip(differences): ...


check_sign_flip(sign_flip)
