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
# # 11. Can a shallow network teach a deep one?
#
# *30 minutes. Afterwards you can read [`zoo.py`](../tinyfractal/zoo.py),
# [`train/inference.py`](../tinyfractal/train/inference.py) and `FractalNet.column` in
# [`fractal.py`](../tinyfractal/fractal.py).*
#
# Train a plain network of 40 layers by itself, and it gets nowhere. Train the same 40 layers as the
# deepest column of a fractal, and they learn, taught by the shallow columns. So say the authors of
# FractalNet, and it is the boldest claim of their paper. In this chapter you put it on trial.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.student_and_teacher import (
    check_agreement,
    check_choose,
    check_overtakes,
    check_pooled,
)
from figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, animate, use_style
from smaller import smaller
from student_and_teacher import DIGITS, build, by_a_pixel, learn, losses, parts, recorded

use_style()
COLORS = (ORANGE, GREEN, BLUE, PURPLE, "#B5384A")  # the whole network, then columns 0 to 3

# %% [markdown]
# ## The case
#
# Our network has three blocks of four columns, so its columns are 3, 6, 12 and 24 layers deep. The
# data are the 8×8 digits. Beside it we train a plain network of 24 layers, which are the layers of
# column 3 with no company. Everything else is equal: 1,000 updates of 32 images, the same learning
# rate of 0.05, the same schedule. The fractal has the paper's drop-path, one decision for each
# mini-batch. Three seeds of each would take you a quarter of an hour. So they were run beforehand,
# by `python -m tutorials.student_and_teacher digits`, and you load the record. (After training,
# batch norm's statistics are estimated again. You will see why.)

# %%
RECORD = recorded()


def rows(experiment, network, rate):
    """The recorded runs of a network, one for each seed."""
    found = [row for row in RECORD[experiment] if row["network"] == network]
    return [row for row in found if row["rate"] == rate]


def curve(some, part=0, what="loss"):
    """The mean over the seeds, by update: of the whole network, or of column `part - 1`."""
    return np.mean([[at[what][part] for at in row["curve"]] for row in some], axis=0)


def mean_and_error(values):
    """In percent: the mean over the seeds, and its standard error."""
    values = 100 * np.array(values)
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


fractal, plain = rows("digits", "fractal", 0.05), rows("digits", "plain 24", 0.05)
updates = [at["update"] for at in fractal[0]["curve"]]
for name, some in (("fractal, all columns", fractal), ("plain, 24 layers", plain)):
    mean, error = mean_and_error([row["held_out_again"][0] for row in some])
    print(f"{name:21} {len(some)} seeds   held-out accuracy {mean:.1f} ± {error:.1f} %")

# %% [markdown]
# The paper shows its claim in one figure, and here is ours: the loss on held-out digits while the
# networks learn. Left, the plain network alone, one thin line for each seed: it comes down slowly,
# and how far depends on luck. Right, the columns of the fractal, mean of the seeds. Watch the order
# in which they come down.

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
NAMES = ("whole network", "column 0: 3 layers", "column 1: 6", "column 2: 12", "column 3: 24")
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3), sharey=True)
for row in plain:
    left.plot(updates, [at["loss"][0] for at in row["curve"]], color=GRAY, lw=1, alpha=0.5)
left.plot(updates, curve(plain), color=GRAY, lw=2.5)
left.set_title("alone: 24 layers, three seeds")
for part in (1, 2, 3, 4, 0):
    right.plot(updates, curve(fractal, part), color=COLORS[part], label=NAMES[part])
right.set_title("together: the columns of a fractal")
right.legend(fontsize=8)
for axes in (left, right):
    axes.set_xlabel("updates")
    axes.set_ylim(0, 3.9)
left.set_ylabel("loss on held-out digits")
plt.show()

# %% jupyter={"source_hidden": true}
at_half = [curve(fractal, part)[len(updates) // 2] for part in range(1, 5)]
assert max(at_half[:2]) < at_half[2] < at_half[3]
assert curve(fractal)[-1] < 0.5 * curve(plain)[-1]

# %% [markdown]
# It looks like the paper. Alone, 24 layers lag far behind. In company the network learns well, the
# shallow columns first, then the deeper ones in order of their depth. The teacher theory explains
# all of it.
#
# A good theory also has to beat the other explanations. Here is one: perhaps the plain network is
# not too deep to learn, but too deep for *this step size*.
#
# ## Predict, then run: what arrives at the first layer?
#
# Before any learning, take plain networks of growing depth, send one batch through, and go
# backward. For each layer compare two lengths: that of the gradient and that of the weights. Their
# ratio says how violently one update shakes the layer. (`build` makes the networks of the record
# by their names, and `parts` splits the digits into those to learn from, held-out and test.)
#
# **On the way from the last layer back to the first, will this ratio shrink, stay or grow? And how
# does it depend on the depth?**

# %% jupyter={"outputs_hidden": true}
data = parts(*tf.data.load_digits())
images = data["transform"](data["learn"].images[:100])
labels = data["learn"].labels[:100].astype(np.int64)


def pull(net, units):
    """For each convolution: length of its gradient / length of its weights, on one batch."""
    net.train()
    net.zero_grad()
    tf.cross_entropy(net(tf.Tensor(images)), labels).backward()
    lengths = [(unit.conv.weight.grad.numpy(), unit.conv.weight.numpy()) for unit in units(net)]
    return [float(np.linalg.norm(g) / np.linalg.norm(w)) for g, w in lengths]


def plain_units(net):
    return [layer for _, layer in net.children() if hasattr(layer, "conv")]


def column_units(net):
    return [unit for block in net.blocks for unit in block.column(3)]


tf.seed(0)
pulls = {D: pull(build(f"plain {D}", DIGITS), plain_units) for D in (3, 6, 12, 24, 48)}
inside = pull(build("fractal", DIGITS, drop_path=0), column_units)
for depth, found in pulls.items():
    print(f"plain, {depth:2} layers    first layer {found[0]:7.1f}    last layer {found[-1]:.1f}")
print(f"column 3 in its fractal, 24    {inside[0]:7.1f}    last layer {inside[-1]:.1f}")

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
plt.figure(figsize=(6, 3.2))
for (depth, found), color in zip(pulls.items(), (GREEN, BLUE, PURPLE, GRAY, "black")):
    plt.semilogy(range(1, depth + 1), found, "o-", ms=3, color=color, label=f"plain {depth}")
plt.semilogy(range(1, 25), inside, "o-", ms=3, color=ORANGE, label="column 3 in the fractal")
plt.xlabel("layer")
plt.ylabel("gradient / weights")
plt.title("Deep and plain: the first layers are pulled hardest")
plt.legend(fontsize=8)
plt.show()
assert pulls[48][0] > 10 * pulls[24][0] > 40 * pulls[3][0]
assert inside[0] < pulls[24][0] / 5 and all(found[-1] < 1 for found in pulls.values())

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# It *grows*, and with depth it explodes. Batch norm keeps the forward numbers in order, but every
# layer multiplies the gradient by a little more than 1 on its way back. A factor that is harmless
# three times is enormous 48 times. All last layers look alike. The first ones are thrown about by
# a common learning rate.
#
# The same 24 layers inside the fractal, with nothing dropped, feel little of it: their first layer
# is pulled no harder than that of a plain network of three. Beside every long route to the loss
# there is a short one, and most of the gradient takes that.
#
# </details>
#
# ## The cross-examination
#
# If this is the reason, a smaller step must help the plain network. Try it: 24 layers, the rate
# from above and a fifth of it, and a few updates.

# %%
count = smaller("updates", 250, in_browser=60)
held_out = data["held_out"]
probe = data["transform"](held_out.images[:250]), held_out.labels[:250].astype(np.int64)


def train(kind, lr):
    tf.seed(0)
    net = build(kind, DIGITS)
    loader = tf.data.Loader(
        data["learn"], 32, shuffle=True, transform=data["transform"], augment=by_a_pixel
    )
    seen = learn(net, loader, count, lr, count // 5, lambda update: losses(net, *probe))
    return net, seen


for lr in (0.05, 0.01):
    _, seen = train("plain 24", lr)
    accuracies = "  ".join(f"{accuracy[0]:5.1%}" for _, accuracy in seen)
    print(f"plain, 24 layers, rate {lr}:  {accuracies}")

# %% [markdown]
# The smaller step helps at once. Now the whole table, from the record: test accuracy at both
# rates, three seeds. The verdict is in the last two lines. There each network has the rate that
# was better on held-out digits, not on the test.


# %%
def chosen(experiment, network, key="held_out_again"):
    """The runs with the best rate, judged by the held-out images."""
    rates = {row["rate"] for row in RECORD[experiment] if row["network"] == network}
    best = [rows(experiment, network, rate) for rate in sorted(rates)]
    return max(best, key=lambda some: np.mean([row[key][0] for row in some]))


def line(name, some, part=0):
    mean, error = mean_and_error([row["test_again"][part] for row in some])
    print(f"{name:34} rate {some[0]['rate']:<5} test {mean:5.1f} ± {error:.1f} %")
    return mean


for rate in (0.05, 0.01):
    line("plain, 24 layers", rows("digits", "plain 24", rate))
    for part, name in enumerate(NAMES):
        line(f"fractal: {name}", rows("digits", "fractal", rate), part)
print("\nEach at the rate that is better on held-out digits:")
best = {name: line(name, chosen("digits", name)) for name in ("plain 24", "fractal")}

# %% jupyter={"source_hidden": true}
tested = {
    key: np.mean([row["test_again"][0] for row in rows("digits", *key)])
    for key in (("plain 24", 0.05), ("plain 24", 0.01), ("fractal", 0.05), ("fractal", 0.01))
}
assert tested["plain 24", 0.01] > tested["plain 24", 0.05] + 0.15
assert tested["fractal", 0.05] > tested["plain 24", 0.05] + 0.15
assert chosen("digits", "plain 24")[0]["rate"] == 0.01
assert chosen("digits", "fractal")[0]["rate"] == 0.05
assert abs(best["fractal"] - best["plain 24"]) < 2.5

# %% [markdown]
# On these digits that settles the first half of the claim. The plain network needed a smaller
# step, and no teacher. Yet look at what the fractal does with the large step. As a whole it is far
# ahead of the plain network there. With the better rate for each, the two end level, within the
# errors. Short routes forgive a step that depth alone does not. (And some routes are very short:
# column 0, of three layers, is nearly as good as the whole.)
#
# ## And the student?
#
# What of column 3 itself? Watch the columns through a whole training, at the small step. A bar is
# the accuracy of one column by itself on held-out digits; the dashed line is the plain network,
# trained alone with the same small step.

# %% jupyter={"source_hidden": true}
small_steps, alone = rows("digits", "fractal", 0.01), rows("digits", "plain 24", 0.01)
bars = 100 * np.array([curve(small_steps, part, "held_out") for part in range(5)])
level = 100 * curve(alone, 0, "held_out")
figure, axes = plt.subplots(figsize=(5.6, 3))
drawn = axes.bar(range(5), bars[:, 0], color=COLORS, zorder=3)
mark = axes.axhline(level[0], color="black", lw=1.5, ls="--", zorder=4)
axes.plot([], [], "k--", label="plain, 24 layers, alone")
axes.legend(loc="upper right")
axes.set_xticks(range(5), ("whole", "3 layers", "6", "12", "24"))
axes.set_ylim(0, 119)
axes.set_yticks(range(0, 101, 20))
axes.set_ylabel("held-out accuracy, %")
title = axes.set_title("after 1,000 updates")
figure.canvas.draw()
figure.set_layout_engine("none")


def draw(frame):
    for bar, height in zip(drawn, bars[:, frame]):
        bar.set_height(height)
    mark.set_ydata([level[frame]] * 2)
    title.set_text(f"after {updates[frame]:,} updates")


animate(
    figure,
    draw,
    len(updates),
    alt="Bars that grow: columns 0 and 1 first, then 2, last column 3, which stays below the plain "
    "network of the same depth that is trained alone",
)

# %%
student = [curve(small_steps, 4), curve(small_steps, 3), curve(small_steps, 2)]
print(f"loss at the end: column 3 {student[0][-1]:.2f}, plain of 24 layers {curve(alone)[-1]:.2f}")
ahead = (student[0] < student[1:])[:, 1:]  # without the moment before the first update
print("moments at which column 3 is ahead of column 2, of column 1:", ahead.sum(axis=1))

# %% jupyter={"source_hidden": true}
at_large, at_small = (np.mean([r["test_again"][4] for r in s]) for s in (fractal, small_steps))
assert at_small > at_large + 0.1
assert student[0][-1] > curve(alone)[-1] and not (student[0][1:] < student[1][1:]).any()
assert bars[1:3, 4].min() > bars[3, 4] > bars[4, 4]

# %% [markdown]
# It learns last, and it never overtakes. The plain network spends all of its updates on its 24
# layers. Column 3 is on its own in one update of eight: half of them are global, and there are
# four columns. In those it *is* the plain network, with the same large gradient, and it, too, does
# better with the small step. In the paper the deep column catches up at last, after many times as
# many updates. Our record cannot say whether it would here.
#
# ## Do the columns come to agree?
#
# A student ends up doing what its teacher does. That can be measured. At the last join of a block
# the columns arrive side by side; take the correlation of their outputs, as in chapter 10: 1 where
# two columns rise and fall together, 0 where they have nothing to do with each other. Blue are the
# shallow columns among themselves, red is the deepest with them.

# %% jupyter={"source_hidden": true}
figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.4), sharey=True)
final = {}
for number, axes in enumerate(panels):
    matrices = np.mean(
        [[at["agreement"][number] for at in row["curve"]] for row in fractal], axis=0
    )
    teachers = matrices[:, [0, 0, 1], [1, 2, 2]].mean(axis=1)
    pupil = matrices[:, 3, :3].mean(axis=1)
    final[number + 1] = teachers[-1], pupil[-1]
    axes.plot(updates, teachers, color=BLUE, label="columns 0, 1, 2 with each other")
    axes.plot(updates, pupil, color=COLORS[4], label="column 3 with them")
    axes.set_title(f"block {number + 1}")
    axes.set_xlabel("updates")
panels[0].set_ylabel("correlation")
panels[0].set_ylim(-0.1, 0.8)
panels[0].legend(fontsize=7, loc="upper left")
plt.show()

# %%
for number, (teachers, pupil) in final.items():
    print(f"block {number}: columns 0 to 2 {teachers:.2f}   column 3 with them {pupil:.2f}")
assert final[3][1] > final[1][1] + 0.15 and final[3][0] > final[1][0] + 0.15

# %% [markdown]
# They agree in the last block, where every output is close to the answer, and much less before. In
# the first two blocks column 3 shares next to nothing with the others. If anything teaches here,
# it is the label, which all columns have in common.
#
# ## Batch norm, estimated again
#
# One line of the record looks like a misprint. Take the very same networks, at rate 0.05, and let
# batch norm use the running statistics that it collected during training:

# %%
for when, key in (("running statistics", "test"), ("estimated again", "test_again")):
    found = [mean_and_error([row[key][part] for row in fractal]) for part in range(5)]
    print(f"{when:19}", "  ".join(f"{mean:5.1f} ± {error:3.1f}" for mean, error in found), "%")
lost = np.mean([row["test_again"][0] - row["test"][0] for row in fractal])
assert lost > 0.2

# %% [markdown]
# You see test accuracies of the whole network, then of columns 0 to 3. The weights are the same in
# both lines. During training one mini-batch runs through a single column and the next through
# almost everything, so the running averages describe a mixture that no image ever meets. Layer
# after layer the mismatch grows. The cure is that of chapter 9, `tf.train.update_bn`, and needs no
# learning: show training images once more to the part that you want to use, with nothing dropped,
# and average what batch norm sees.
#
# If each *sample* draws its own paths, as is the library's default, every batch contains the whole
# mixture. Then the running statistics fit, and estimating them again changes little (chapter 9).
#
# ## What drop-path is worth
#
# If drop-path is no teacher here, does it pay as noise, like dropout? A smaller network, two
# blocks of three columns, learns from only 300 digits: 300 updates in about the same time, three
# seeds, drop-path by sample at the paper's rate, and the dropout rate tuned on held-out digits.
# With augmentation, each digit also moves by up to a pixel.

# %%
for augmented in ("", " augmented"):
    print("with shifted digits:" if augmented else "the 300 digits as they are:")
    none = rows("dropout", f"dropout{augmented}", 0.0)
    for name, some in (
        ("no noise", none),
        ("dropout, tuned", chosen("dropout", f"dropout{augmented}", "held_out")),
        ("drop-path", chosen("dropout", f"drop-path{augmented}", "held_out")),
    ):
        mean, error = mean_and_error([row["test"][0] for row in some])
        gain, spread = mean_and_error([a["test"][0] - b["test"][0] for a, b in zip(some, none)])
        seconds = np.median([row["seconds"] for row in some])
        print(
            f"   {name:15} rate {some[0]['rate']:<5} test {mean:.1f} ± {error:.1f} %"
            f"   gain {gain:+.1f} ± {spread:.1f}   {seconds:.1f} s"
        )

# %% [markdown]
# Tuned on held-out digits, dropout settles at a rate of zero: so short a training on clean digits
# needs no noise. Drop-path costs accuracy, beyond doubt with shifted digits; without the shifts
# three seeds cannot tell. It trains all the columns besides the whole, and working columns are
# what it buys. In chapter 9 it paid as noise with 100 digits and long training. Chapter 12 finds
# another case: there, four labels of ten are false.
#
# ## Forty layers, photographs
#
# The paper's own ground is photographs, five blocks and 40 layers. Here is a narrow network of
# that depth on 4,000 images of CIFAR-10, with the paper's rate of 0.02, and the plain network also
# with a tenth of it: 2,500 updates, two seeds. (`python -m tutorials.student_and_teacher cifar10`
# made the record. The images come from a mirror that stores them as JPEG, so they are not the
# official pixels to the last bit.) Left, 40 layers alone, a line for each seed. Right, the
# columns.

# %% jupyter={"source_hidden": true}
alone_large, alone_small = rows("cifar10", "plain 40", 0.02), rows("cifar10", "plain 40", 0.002)
photographs = rows("cifar10", "fractal", 0.02)
moments = [at["update"] for at in photographs[0]["curve"]]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3), sharey=True)
for some, color in ((alone_large, GRAY), (alone_small, PURPLE)):
    for row in some:
        label = f"rate {row['rate']}" if row is some[0] else None
        left.plot(moments, [at["loss"][0] for at in row["curve"]], color=color, label=label)
for part, name in enumerate(("whole network", "5 layers", "10", "20", "40")):
    right.plot(moments, curve(photographs, part), color=COLORS[part], label=name)
left.set_title("alone: 40 layers")
right.set_title("together: the columns of a fractal")
left.set_ylabel("loss on held-out photographs")
for axes in (left, right):
    axes.axhline(np.log(10), color="0.7", lw=1, ls=":")
    axes.set_ylim(1.4, 2.7)
    axes.set_xlabel("updates")
    axes.legend(fontsize=8, ncols=2, loc="upper right")
plt.show()

# %%
print(
    f"{photographs[0]['label']}, {len(photographs)} seeds; one answer in ten is right by guessing"
)
for name, some in (("plain, 40 layers", alone_large), ("plain, 40 layers", alone_small)):
    line(name, some)
for part, name in enumerate(("whole network", "5 layers", "10 layers", "20 layers", "40 layers")):
    line(f"fractal: {name}", photographs, part)

# %% jupyter={"source_hidden": true}
ends = {part: curve(photographs, part)[-1] for part in range(1, 5)}
assert ends[1] < ends[2] < ends[3] < ends[4]
tested = [
    np.mean([row["test_again"][part] for row in some])
    for some, part in ((alone_small, 0), (photographs, 4), (alone_large, 0))
]
assert tested == sorted(tested, reverse=True)
assert min(row["test_again"][0] for row in alone_large) < 0.13

# %% [markdown]
# The picture of the paper again: the columns of 5, 10 and 20 layers set off in this order, and 40
# layers alone, at the same rate, hardly move; with one of the two seeds they still guess at the
# end. And again the prediction from the digits holds. A tenth of the rate wakes the plain network,
# with no teacher at all, and it ends ahead of the same 40 layers in the fractal.
#
# Twenty times through 4,000 images is a short training. The authors go 400 times through 50,000,
# and in their figure the deepest column catches up. Our record cannot say what happens on the way.
#
# ## What you now own
#
# You can tell an effect from its explanation. The effect is real: at one large step a plain
# network of 24 layers lags, and a fractal that contains it learns. The explanation by a teacher
# did not hold up here. On its way back through layers with batch norm the gradient grows, so a
# deep network needs a smaller step; a fractal offers the gradient short routes, and can take the
# large one. In a thousand updates the deepest column neither overtook the others nor, before the
# last block, agreed with them. You also own the procedure: the best rate for each contender,
# chosen on held-out images, several seeds, and every column with statistics of its own. A theory
# that fits a curve is a suspect. Try to break it.

# %% [markdown]
# ## Now read the source
#
# - [`zoo.py`](../tinyfractal/zoo.py): `PlainNet`, the network that trained alone. It has the
#   layers of one column.
# - [`fractal.py`](../tinyfractal/fractal.py): `FractalBlock.column` walks through the block and
#   collects the units of one column; `FractalNet.column` strings them together. They are the same
#   objects, so a column that is trained is the network being trained. `keep_column` is how global
#   drop-path asks for one.
# - [`train/inference.py`](../tinyfractal/train/inference.py): `inference` switches every layer and
#   puts each back into the mode it was in; `columns_of` and `evaluate` are what the record was made
#   with. The record's own loop, `learn`, is in [`student_and_teacher.py`](student_and_teacher.py).
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/11_student_and_teacher.py`.
#
# **1. Overtaken for good.** `student` and `teacher` are the losses of two networks, measured at the
# same moments. Return the index of the first moment from which the student is ahead *until the
# end*, or `None` if there is none. Ahead means a smaller loss; equal is not ahead.


# %%
def overtakes(student, teacher): ...


check_overtakes(overtakes)

# %% [markdown]
# **2. Agreement.** `outputs` has the shape (columns, …): what each column brings to a join. Return
# the mean correlation over all pairs of different columns, one number.


# %%
def agreement(outputs): ...


check_agreement(agreement)

# %% [markdown]
# **3. Pooled statistics.** Batches of `sizes` numbers have the given `means` and `variances`, three
# arrays. Return the mean and the variance of all the numbers together. (Why can a mixture of unlike
# batches have a variance that is larger than that of any of them?)


# %%
def pooled(means, variances, sizes): ...


check_pooled(pooled)

# %% [markdown]
# **4. An honest choice.** `validation` and `test` are dictionaries: the accuracies of a network for
# each dropout rate, one for each seed. Choose the rate, and return it with the mean and the
# standard error, $s / \sqrt n$, of the accuracy that you may report for it.


# %%
def choose(validation, test): ...


check_choose(choose)
