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
# *35 minutes. Afterwards you can read [`recurse.py`](../tinyfractal/recurse.py) and
# [`zoo.py`](../tinyfractal/zoo.py).*
#
# "No need for dropout", "deeper learning without extra cost", "better generalization". This library
# grew from a short blog article, "FractalNet Explained", that promises all three. Do you believe
# it? Train one network against another, and you have a winner. Train both again, and it may be the
# other one.
#
# A short article has no room for evidence. We have. Each promise becomes a **hypothesis**:
# something to measure, and an outcome that would count against it. You predict, five seeds decide,
# and at the end code fills in a table of verdicts. (Strict evidence would need every hypothesis on
# record before the first run. These were tried out while the chapter was written.)

# %% jupyter={"source_hidden": true}
import math

import matplotlib.pyplot as plt
import numpy as np
from applications import by_network, recorded

import tinyfractal as tf
from tinyfractal import nn, recurse, zoo
from tinyfractal.fractal import ConvUnit

from exercises.article import (
    check_collapse,
    check_paired_error,
    check_seeds_needed,
    check_sign_flip,
)
from figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, use_style
from smaller import smaller

use_style()
verdicts = []  # (promise, what was measured, verdict): filled as we go
differences = {}  # {promise: (mean difference, standard error)} in percentage points

# %% [markdown]
# ## The formula, read literally
#
# The article's rule is $F(x) = F(F(x))$, "the same function again and again". As an equation that
# says: applying $F$ twice gives the same as applying it once. ReLU is such a function. A layer with
# weights is not.

# %%
tf.seed(0)
x = tf.Tensor(np.random.default_rng(0).normal(size=10).astype(np.float32))
layer = nn.Linear(10, 10)
for name, F in (("relu", tf.relu), ("Linear(10, 10)", layer)):
    once, twice = F(x).numpy(), F(F(x)).numpy()
    print(f"{name:15} largest difference of F(F(x)) and F(x): {abs(twice - once).max():.3f}")
    assert (abs(twice - once).max() == 0) == (name == "relu")

# %% [markdown]
# The article means an assignment, as in code: the new $F$ is the old one applied twice. That is
# `RecursiveBlock`. With the article's `Linear(10, 10)` it prints the article's own lines:

# %%
print(recurse.article_example())

# %% [markdown]
# ## Predict, then run
#
# The example applies a linear layer twice. **Can two layers compute anything that one linear layer
# cannot?** Write out $(x W + b) W + b$ before you run the cell.

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
# The right side is one linear layer again, with weight $W^2$ and bias $b W + b$. The article's code
# is shallow after all: without a nonlinearity between them, two layers are one. The block that we
# test below has one.
#
# </details>
#
# ## Promise: parameters stay constant while depth grows
#
# *Hypothesis: with more depth, the number of parameters does not change.* You can count this
# without any training. `recurse.measure` builds four kinds of network from 3×3 convolutions of 16
# channels and measures the depth in the recorded graph. Which curve is flat?

# %%
depths, shared, fractal, plain, resnet = np.array(recurse.measure(max_columns=5)).T
print(recurse.depth_table(max_columns=5))

# %% jupyter={"source_hidden": true}
assert (plain == resnet).all()
for name, count, color in (
    ("fractal block", fractal, ORANGE),
    ("plain stack and ResNet", plain, BLUE),
    ("shared: F(F(x))", shared, GREEN),
):
    plt.plot(depths, count, "o-", label=name, color=color)
plt.xticks(depths)
plt.xlabel("depth: convolutions on the longest path")
plt.ylabel("parameters")
plt.title("Only the shared block keeps its parameters")
plt.legend()
plt.show()

# %% [markdown]
# A shared layer is stored once, however often it runs. In a fractal block as the paper defines it,
# each of the $2^C - 1$ convolutions has weights of its own, and only $2^{C-1}$ of them lie on the
# longest path. So at the same depth the block has almost *twice* the parameters of a plain stack.


# %% jupyter={"source_hidden": true}
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
# The other promises need training, and chance has a hand in it: in the first weights, in the
# images, and in their order.
#
# We train on *few* images, 100 or 200 of the 1,797 digits, and test on 700 others. With so few, a
# network can learn its examples by heart and never learn what a digit looks like. That is
# **overfitting**. Whatever helps against it is **regularization**.


# %%
first, second = tf.data.load_digits()
images = np.concatenate([first.images, second.images])
labels = np.concatenate([first.labels, second.labels])
digits = tf.data.Dataset(images, labels, first.classes, "digits")  # all 1,797


def draw(seed, n, wrong):
    """n images to train on, 700 to test. A fraction `wrong` of the training labels is false."""
    rng = np.random.default_rng([seed, n])
    order = rng.permutation(len(digits))
    train, test = digits[order[:n]], digits[order[n : n + 700]]
    lies = rng.random(n) < wrong
    given = (train.labels + lies * rng.integers(1, 10, size=n)) % 10
    return tf.data.Dataset(train.images, given, digits.classes, "some digits"), test, lies


# %% [markdown]
# The loop is that of chapter 5: SGD with momentum and a cosine schedule. The seed decides the
# images, the first weights and the order, so networks with the same seed saw the very same images.


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
# Of each run we keep the accuracy on new images, the **generalization gap** (training accuracy
# minus that), the accuracy of each column and, where labels are false, the share that the network
# repeats.


# %%
def measurements(net, train, test, standardize, lies):
    new = tf.train.evaluate(net, test, standardize).accuracy
    said = tf.train.predict(net, train.images, standardize).argmax(axis=1)
    right = said == train.labels  # by the labels that it was given, false ones included
    parts = tf.train.columns_of(net)
    return {
        "test": new,
        "gap": right.mean() - new,
        "repeated": right[lies].mean() if lies.any() else 0.0,
        "columns": [tf.train.evaluate(part, test, standardize).accuracy for part in parts],
        "parameters": net.count_parameters(),
    }


# %% [markdown]
# The first FractalNet is tiny: two blocks of two columns, 8 and 16 channels, depth 4. It trains
# with **drop-path** (chapter 9), which leaves out whole paths at random. Here is one recipe, five
# times:

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

# %% jupyter={"source_hidden": true}
plt.figure(figsize=(6, 1.5))
values = 100 * clean["FractalNet"]["test"]
plt.plot(values, np.zeros(len(values)), "o", color=ORANGE, ms=9, alpha=0.6)
plt.yticks([])
plt.xlabel("test accuracy, %")
plt.title("One recipe, five seeds")
plt.show()

# %% [markdown]
# Same recipe, and the results differ by several points. One run is one draw from this lottery. So
# report the mean, and say how far to trust it. The **standard error** estimates how much the mean
# of $n$ runs would move if you did all $n$ again:
#
# $$\bar v = \frac1n \sum_i v_i, \qquad s^2 = \frac1{n-1} \sum_i (v_i - \bar v)^2, \qquad
# \text{SE} = \frac{s}{\sqrt n}$$
#
# $s$ is the spread of single runs. The mean is steadier by $\sqrt n$.


# %%
def standard_error(values):
    return values.std(ddof=1) / math.sqrt(len(values))


values = clean["FractalNet"]["test"]
print(f"mean {values.mean():.3f} ± {standard_error(values):.3f}   spread {values.std(ddof=1):.3f}")
assert values.max() - values.min() > 0.005

# %% [markdown]
# ## How large must a difference be?
#
# To compare A with B, subtract seed by seed, $d_i = a_i - b_i$. Difficult images make both networks
# worse, and in the difference that cancels. This is a **paired** comparison.
#
# **How many standard errors from zero may the mean be, if A and B are equally good?** Ask chance:
# 100,000 comparisons of five pairs with nothing behind them.

# %%
nothing = np.random.default_rng(0).normal(size=(100_000, 5))
distance = nothing.mean(axis=1) / (nothing.std(axis=1, ddof=1) / math.sqrt(5))
alarms = {times: (abs(distance) > times).mean() for times in (1, 2, 3, 4)}
for times, share in alarms.items():
    print(f"further than {times} × standard error: {share:5.1%} of the comparisons")
assert 0.03 < alarms[3] < 0.05

# %% jupyter={"source_hidden": true}
plt.figure(figsize=(6, 2.4))
bins = np.arange(-8, 8.01, 0.2)
for part, color in ((abs(distance) <= 3, GRAY), (abs(distance) > 3, ORANGE)):
    plt.hist(distance[part], bins, color=color)
plt.text(3.4, 700, "false alarms", color=ORANGE)
plt.xlabel("mean difference, in standard errors")
plt.yticks([])
plt.title("Equally good networks, compared with five seeds")
plt.show()

# %% [markdown]
# Our rule is **three**: about one comparison in 25 then raises a false alarm. (With many seeds two
# would do. The drawn differences were normally distributed; exercise 4 does without that.)
#
# "No difference seen" does not mean "equal". It means that five seeds cannot tell: the true
# difference plausibly lies within the measured one ± 3 standard errors. And where both networks are
# nearly at 100 %, nothing is left to measure: the comparison is **saturated**.


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


def judge(promise, a, b):
    """Add a row to the table: is a larger than b?"""
    mean, error = differences[promise] = tuple(100 * number for number in compare(a, b))
    verdicts.append((promise, f"{mean:+.1f} ± {error:.1f} points", verdict(a, b)))
    print(f"{promise:43} {verdicts[-1][1]:20} {verdicts[-1][2]}")


# %% [markdown]
# ## Promise: deeper learning without extra cost
#
# Back to the shared block, now with a nonlinearity inside. *Hypothesis: the same layer applied four
# times reaches a higher test accuracy than applied once.* Beside it stand stacks of the same depth
# whose layers have weights of their own.
#
# The layer is convolution → layer norm → ReLU on $(N, 4, 4, 16)$. Batch norm would keep *one*
# running mean for four applications that have four different means.


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


def train_body(body, depth):
    return train_all(lambda: around(body(depth)), n=200, epochs=18, lr=0.05)


stacks = {(body, depth): train_body(body, depth)
          for body in (again_and_again, layers_of_their_own) for depth in (2, 4)}  # fmt: skip
stacks[again_and_again, 1] = train_body(again_and_again, 1)
stacks[layers_of_their_own, 1] = stacks[again_and_again, 1]  # one layer is one layer

# %% jupyter={"source_hidden": true}
for body, color in ((again_and_again, GREEN), (layers_of_their_own, BLUE)):
    results = [stacks[body, depth] for depth in (1, 2, 4)]
    means = [100 * result["test"].mean() for result in results]
    bars = [100 * standard_error(result["test"]) for result in results]
    label = body.__name__.replace("_", " ")  # "again and again"
    plt.errorbar((1, 2, 4), means, bars, fmt="o-", capsize=4, label=label, color=color)
    print(f"{label:20} parameters: {[int(result['parameters'][0]) for result in results]}")
plt.xticks((1, 2, 4))
plt.xlabel("depth of the body")
plt.ylabel("test accuracy, %")
plt.title("One layer, run four times, learns better than run once")
plt.legend()
plt.show()

# %% [markdown]
# The bars are one standard error. Here the article's idea keeps its promise: at constant
# parameters, four applications are clearly better than one. It need not go on; try 16.
#
# "Without extra cost" is another matter. The layer is stored once and *run* four times, forward and
# backward. You save memory for weights and no arithmetic.

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
# "No need for dropout—multiple paths naturally prevent overfitting." That is two hypotheses:
#
# 1. *A network with several paths overfits less than one without,* by itself.
# 2. *Drop-path does what dropout would do.* (Drop-path leaves out whole paths in training;
#    **dropout** sets single numbers to zero at random.)
#
# To see overfitting without any doubt, we lie to the networks: four of ten training labels are
# false. A false label says nothing about digits. A network can only learn it by heart, so the share
# of lies that it *repeats* tells how much it did. The test labels stay true. (The idea is from C.
# Zhang et al. 2017, "Understanding deep learning requires rethinking generalization".)
#
# To be fair in size, widen the plain network and the ResNet until their parameters match the
# FractalNet's.


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

# %% jupyter={"source_hidden": true}
for name, net in (
    ("FractalNet (8, 16)", fractal_net()),
    ("plain, same depth", plain_net()),
    (f"plain, same size {wide_plain}", plain_net(wide_plain)),
    ("ResNet, same depth", res_net()),
    (f"ResNet, same size {wide_res}", res_net(wide_res)),
):
    print(f"{name:27} {net.count_parameters():,} parameters")
    size = net.count_parameters() / fractal_net().count_parameters()
    assert "size" not in name or abs(size - 1) < 0.05

# %% [markdown]
# To be fair to dropout, give each regularizer its best rate, judged on 300 **held-out** digits with
# three other seeds, never on the test digits. That took long, so it is recorded; `python -m
# tutorials.article` does it again.

# %%
record = recorded("article")
tuning, chosen = record["lies"]["tuning"], record["lies"]["chosen"]
print("accuracy by rate, on", record["lies"]["held_out"], "held-out digits:")
for kind, found in tuning.items():
    print(kind, {rate: f"{accuracy:.1%}" for rate, accuracy in found.items()}, "→", chosen[kind])
drop_path, dropout = float(chosen["drop-path"]), float(chosen["dropout"])

# %% [markdown]
# **Predict:** four FractalNets, with drop-path, dropout, both or neither. Which repeats the most
# lies? And does "neither" repeat fewer than the plain network?

# %%
lying = {"n": 200, "wrong": 0.4, "epochs": 30, "lr": 0.15}
lied_to = {
    "plain": train_all(lambda: plain_net(wide_plain), **lying),
    "fractal, neither": train_all(lambda: fractal_net(0.0, 0.0), **lying),
    "fractal, dropout": train_all(lambda: fractal_net(0.0, dropout), **lying),
    "fractal, drop-path": train_all(lambda: fractal_net(drop_path, 0.0), **lying),
    "fractal, both": train_all(lambda: fractal_net(drop_path, dropout), **lying),
}


# %% jupyter={"source_hidden": true}
def show(axes, results, key, title):
    """A dot and a bar of one standard error for each network, and the single runs in grey."""
    names = list(results)[::-1]
    for height, name in enumerate(names):
        values = 100 * results[name][key]
        color = ORANGE if "ractal" in name else BLUE
        axes.plot(values, [height] * len(values), "o", color="0.8", ms=4)
        axes.errorbar(
            values.mean(), height, xerr=standard_error(values), fmt="o", capsize=4, color=color
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title)
    axes.set_xlabel("%")


# %% jupyter={"source_hidden": true, "outputs_hidden": true} tags=["thumbnail"]
figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(8, 3.2))
show(left, lied_to, "repeated", "lies repeated")
show(right, lied_to, "test", "test accuracy")
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The plain network and the FractalNet with neither repeat *every* lie, or nearly. Having several
# paths does not prevent overfitting "naturally". *Leaving paths out* holds it back: with drop-path
# the network repeats far fewer lies in the same 30 epochs, and it reads new digits better. Dropout
# works in the same direction.
#
# </details>

# %%
for name, row in lied_to.items():
    print(f"{name:20} lies repeated {row['repeated'].mean():6.1%}   test {row['test'].mean():.1%}")

# %% jupyter={"source_hidden": true}
neither, dropped = lied_to["fractal, neither"], lied_to["fractal, drop-path"]
assert all(lied_to[name]["repeated"].mean() > 0.85 for name in ("plain", "fractal, neither"))
assert lied_to["fractal, dropout"]["repeated"].mean() < 0.8
assert dropped["repeated"].mean() < 0.6
assert compare(dropped["test"], neither["test"])[0] > 0.02
assert compare(lied_to["plain"]["repeated"], neither["repeated"])[0] < 0.15

# %% [markdown]
# Does drop-path *prevent* learning by heart, or only delay it? Train the same network for longer,
# and look (recorded, five seeds):

# %%
runs = {"30": record["lies"]["twenty"]["drop-path"][:5], "100": record["lies"]["100 epochs"]}
later = {}
for epochs, five in runs.items():
    later[epochs] = {key: np.mean([run[key] for run in five]) for key in ("repeated", "test")}
    row = later[epochs]
    print(f"{epochs:>3} epochs: lies repeated {row['repeated']:6.1%}   test {row['test']:.1%}")
assert later["100"]["repeated"] > 0.99 and later["100"]["test"] < later["30"]["test"] - 0.07

# %% [markdown]
# It delays. In the end nearly every lie is repeated, and new digits are read worse than before. So
# stopping early is a regularizer too.
#
# Now the verdicts. In the first row both networks repeat nearly every lie: it is saturated. For "no
# need for dropout" ask twice: is drop-path better than dropout, and better than both together? (The
# paper itself uses both.)

# %%
plain, both = lied_to["plain"], lied_to["fractal, both"]
for promise, key, better, than in (
    ("several paths alone: fewer lies", "repeated", plain, neither),
    ("several paths alone: better test", "test", neither, plain),
    ("drop-path: fewer lies", "repeated", neither, dropped),
    ("drop-path: better test", "test", dropped, neither),
    ("drop-path better than dropout", "test", dropped, lied_to["fractal, dropout"]),
    ("drop-path better than both", "test", dropped, both),
):
    judge(promise, better[key], than[key])

# %% [markdown]
# How firm is the gain of drop-path over dropout? Here are twenty seeds (recorded) in four groups of
# five. Any of these groups could have been ours:

# %%
drop, out = (np.array([run["test"] for run in record["lies"]["twenty"][kind]])
             for kind in ("drop-path", "dropout"))  # fmt: skip
groups = [compare(drop[i : i + 5], out[i : i + 5]) for i in range(0, 20, 5)]
for i, (mean, error) in enumerate(groups):
    mean, error = 100 * mean, 100 * error
    print(f"seeds {5 * i:2} to {5 * i + 4:2}: gain over dropout {mean:+.1f} ± {error:.1f} points")
mean, error = 100 * np.array(compare(drop, out))
print(f"all twenty:     gain over dropout {mean:+.1f} ± {error:.1f} points")
assert min(groups)[0] < 0.005 and max(groups)[0] > 0.06 and 3 < mean / error < 3.5

# %% [markdown]
# Five seeds could have told you "no gain" or "almost seven points". All twenty agree on about
# three, just beyond three standard errors.
#
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

# %% [markdown]
# The grey dots are single runs. Which differences between networks are more than chance?

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(6, 3.0))
show(axes, clean, "test", "100 digits to learn from: test accuracy")
plt.show()

# %%
ours = clean["FractalNet"]
for name in ("plain, same depth", "plain, same size", "ResNet, same depth", "ResNet, same size"):
    judge(f"better than {name}", ours["test"], clean[name]["test"])
gaps = {name: f"{row['gap'].mean():.1%}" for name, row in clean.items()}
print("generalization gaps:", *gaps.values())
assert all((row["gap"] + row["test"]).mean() > 0.97 for row in clean.values())

# %% [markdown]
# All these networks get nearly every *training* image right, so the gap is just what is missing at
# the test. "No difference seen" is a result. All networks had the same learning rate; another may
# suit one of them better.
#
# ## Promise: automatic depth, high flexibility
#
# The article calls FractalNet's depth "automatic". Yet somebody chooses the columns $C$ and the
# blocks $B$, and the depth $B \cdot 2^{C-1}$ follows. But something in it can be measured: a
# FractalNet is several networks at once, and you can pick the depth *after* training.
#
# *Hypothesis: column 1 alone is better than a plain network of the same depth and width that was
# trained alone.* Look at the columns, with and without drop-path:

# %% jupyter={"source_hidden": true}
for shift, name, color in (
    (-0.06, "FractalNet", ORANGE),
    (0.06, "FractalNet, no drop-path", PURPLE),
):
    columns = 100 * clean[name]["columns"]  # (5 seeds, 2 columns)
    means = [100 * clean[name]["test"].mean(), *columns.mean(axis=0)]
    bars = [100 * standard_error(clean[name]["test"]), *map(standard_error, columns.T)]
    plt.errorbar(np.arange(3) + shift, means, bars, fmt="o", capsize=4, label=name, color=color)
height = 100 * clean["plain, same depth"]["test"].mean()
plt.axhline(height, color=GRAY, ls="--")
plt.text(0.5, height + 1, "plain, alone", ha="center")
plt.xticks((0, 1, 2), ("whole network", "column 0", "column 1"))
plt.xlim(-0.4, 2.4)
plt.ylim(top=100)
plt.ylabel("test accuracy, %")
plt.title("Without drop-path the columns are of little use")
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
# Again it is drop-path that keeps the promise, not the paths. Without it a column's layers have
# only ever seen a mixture of all columns, and alone the column is of little use. Does column 1 gain
# by the company of column 0? The last line printed says what five seeds allow.
#
# ## A harder set
#
# So far every FractalNet had depth 4 and saw 8×8 digits. Is that fair to a network made for depth?
# Here are photographs: 2,000 of CIFAR-10 to learn from, averaged to 16×16 pixels, and three
# networks of 12 layers with about the same number of parameters. Each took the better of two
# learning rates on 500 held-out images. Then three seeds ran for 6 epochs, and 2,000 test images
# were looked at once. (Recorded with `python -m tutorials.article`. The pictures come from a mirror
# that stores them as JPEG, not from the official file.)

# %%
record = recorded("article")
photographs = by_network(record["rows"])
print("images:", record["images"])
accuracy = {name: np.array([row["accuracy"] for row in rows]) for name, rows in photographs.items()}
for name, rows in photographs.items():
    mean, error = 100 * accuracy[name].mean(), 100 * standard_error(accuracy[name])
    print(f"{name:11} {rows[0]['parameters']:,} parameters   test {mean:.1f} ± {error:.1f} %")
for name in ("plain", "ResNet"):
    judge(f"CIFAR-10: better than {name}", accuracy["FractalNet"], accuracy[name])
nothing = np.random.default_rng(0).normal(size=(100_000, len(accuracy["plain"])))
errors = nothing.std(axis=1, ddof=1) / math.sqrt(nothing.shape[1])
looser = (abs(nothing.mean(axis=1)) > 3 * errors).mean()
print(f"with {nothing.shape[1]} seeds, further than 3 × standard error by chance: {looser:.1%}")

# %% [markdown]
# With as many updates, the FractalNet is behind. Drop-path costs accuracy in short training
# (chapter 10), and this training is short, so the result is about learning *quickly*. (Three seeds
# are few: our rule is looser here, as printed.) On held-out images the picture is the same from the
# first epoch on:

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(figsize=(6, 3.2))
for (name, rows), color in zip(photographs.items(), (BLUE, PURPLE, ORANGE)):
    curves = 100 * np.array([[epoch["held_out"] for epoch in row["history"]] for row in rows])
    epochs = np.arange(1, curves.shape[1] + 1)
    axes.plot(epochs, curves.mean(axis=0), color=color, label=name)
    axes.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.15, lw=0)
axes.set_xlabel("epoch")
axes.set_ylabel("held-out accuracy, %")
axes.set_title("CIFAR-10 (JPEG mirror, 16×16), three seeds")
axes.legend()
plt.show()

# %% [markdown]
# The FractalNet paper claims less than the article: its abstract says that fractal networks *match*
# residual networks.
#
# ## What was not tested
#
# The article names medical imaging, speech recognition and autonomous vehicles: the next three
# chapters try one data set of each. It explains good generalization by learning "at multiple
# levels": we saw that columns of different depth work, not that they are the reason.
#
# ## The table
#
# All promises again, as code judged them. A difference has to exceed three standard errors.

# %%
print(f"{'promise':43} {'measured':34} verdict")
for promise, measured, word in verdicts:
    print(f"{promise:43} {measured:34} {word}")
expected = (len(differences) - 2) * alarms[3] + 2 * looser
print(f"\n{len(differences)} comparisons; false alarms if nothing is behind them: {expected:.2f}")
assert 0.4 < expected < 0.8

# %% [markdown]
# The same differences in one picture, with bars of *three* standard errors. Green holds, orange is
# the reverse; where a bar covers zero, the seeds cannot tell. The saturated row is left out; beyond
# 5 points the axis is logarithmic.

# %% jupyter={"source_hidden": true}
colors = {"holds": GREEN, "the reverse holds": ORANGE, "no difference seen": GRAY}
rows = [(row[0], colors[row[2]]) for row in verdicts if row[0] in differences and row[2] in colors]
for height, (promise, color) in enumerate(rows[::-1]):
    mean, error = differences[promise]
    plt.errorbar(mean, height, xerr=3 * error, fmt="o", capsize=4, color=color)
plt.axvline(0, color="black", lw=1)
plt.yticks(range(len(rows)), [promise for promise, _ in rows[::-1]], fontsize=8)
plt.xscale("symlog", linthresh=5)
ticks = (-10, -5, -2, 0, 2, 5, 10, 20, 50)
plt.xticks(ticks, ticks)
plt.minorticks_off()
plt.xlabel("difference, percentage points")
plt.title("Green holds, grey cannot tell")
plt.gcf().set_size_inches(7, 4.6)
plt.show()

# %% [markdown]
# In words:
#
# - **Depth at constant parameters** holds for the article's own block, and there depth pays, up to
#   four applications. The paper's fractal block has *more* parameters than a plain network of its
#   depth. In both, arithmetic grows with depth.
# - **Regularization without dropout** is real in this sense: drop-path *delays* learning by heart.
#   The paths alone were not seen to do it.
# - **Several depths in one network** is real, and needs drop-path too.
# - **Better than ResNet** was not seen. On digits five seeds cannot tell. On photographs, after a
#   short training, ResNet and the plain network were ahead.
#
# None of this makes the article a bad introduction. It has the right pictures in mind, a tree and a
# rule that repeats. Some promises belong to the shared block and some to the paper's drop-path; a
# short article has no room to tell them apart.

# %% jupyter={"source_hidden": true}
table = {promise: word for promise, _, word in verdicts}
assert table["parameters constant"] == "only for the shared block"
assert table["depth without many parameters"] == table["… without extra cost"] == "does not hold"
assert table["drop-path: fewer lies"] == table["column 0 works by drop-path"] == "holds"
assert not [word for row, word in table.items() if "ResNet" in row and word == "holds"]

# %% [markdown]
# ## What you now own
#
# You can take any sentence of the form "A is better than B" and find out: turn it into a number
# that could come out wrong, train both on the same seeds, choose on held-out data, subtract in
# pairs, and believe nothing below three standard errors. And you know what carries a FractalNet:
# not that it has many paths, but that in training some of them are missing.
#
# ## Now read the source
#
# [`recurse.py`](../tinyfractal/recurse.py) has the article's example and `measure`, which counted
# for us. Its `measured_depth` reads the graph that the engine recorded, from the inputs to the
# result: the depth of a node is the largest depth among its parents, plus one if it is a
# convolution itself. [`zoo.py`](../tinyfractal/zoo.py) has the opponents. They are made of the same
# `ConvUnit` as the fractal block, so a comparison compares the wiring and nothing else. `same_size`
# is not in the library: you decide what counts as a fair size.
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
# share of them whose mean is at least as far from zero as the measured mean. (This is a
# *permutation test*; a small share speaks against chance.) What is the smallest share that five
# seeds can give?


# %%
def sign_flip(differences): ...


check_sign_flip(sign_flip)
