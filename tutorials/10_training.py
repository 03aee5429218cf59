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
# # 10. What happens while a FractalNet learns?
#
# *25 minutes. Afterwards you can read [`train/loop.py`](../tinyfractal/train/loop.py),
# [`recipe.py`](../tinyfractal/recipe.py),
# [`train/checkpoint.py`](../tinyfractal/train/checkpoint.py),
# [`data/loader.py`](../tinyfractal/data/loader.py) and
# [`data/augment.py`](../tinyfractal/data/augment.py).*
#
# You press Enter, and seconds later a heap of random numbers reads handwriting. What went on in
# there? A FractalNet lets you look. Ours is four networks in one, three columns and the whole, and
# you can watch each of them learn, epoch by epoch.

# %%
import json
import tempfile
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.fractal import keep_all
from tinyfractal.recipe import Recipe
from tinyfractal.train.checkpoint import load_checkpoint

from exercises.training import (
    check_column_parameters,
    check_early_exit,
    check_shift_image,
    check_standardize,
)
from figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, animate, use_style
from smaller import smaller

use_style()
COLORS = {"column 0": GREEN, "column 1": BLUE, "column 2": PURPLE, "whole network": ORANGE}

# %% [markdown]
# ## Three piles of digits
#
# As in chapter 5: the network learns from the **training** images, you make your choices by the
# **validation** images, and the **test** images stay in the drawer until every choice is made.

# %%
data, test = tf.data.load_digits()
train, validation = data.split(0.1)
for name, pile in {"train": train, "validation": validation, "test": test}.items():
    print(f"{name:11}{len(pile):6,} images", "of each class:", np.bincount(pile.labels))

# %% [markdown]
# ## Preparing an image
#
# **Standardization** moves the pixels to mean 0 and standard deviation 1:
# $\hat x = (x - \mu) / \sigma$. Both numbers are measured on the training images and used for all
# three piles: a network must know nothing of the test images, not even how bright they are.

# %%
standardize = tf.data.Standardize.fit(train.images)
for name, pile in {"training": train, "test": test}.items():
    print(f"{name} images afterwards: mean {standardize(pile.images).mean():+.4f}")

# %% jupyter={"source_hidden": true}
by_hand = (train.images - train.images.mean()) / train.images.std()
assert np.allclose(standardize(train.images), by_hand, atol=1e-4)

# %% [markdown]
# **Augmentation** changes each training image a little, differently in every epoch. Here each digit
# moves by up to one pixel along each axis. Would you mirror them too, like photographs? A mirrored
# cat is a cat; a mirrored 2 is nothing.

# %% jupyter={"source_hidden": true}
two = np.repeat(train.images[2:3], 10, axis=0)  # one digit, ten times: (10, 8, 8, 1)
figure, axes = plt.subplots(2, 1, figsize=(6, 1.9))
for axis, title, pictures in (
    (axes[0], "the first ten", train.images[:10]),
    (axes[1], "one digit, shifted ten times", tf.data.shift(two, np.random.default_rng(0), 1)),
):
    axis.imshow(np.hstack(np.pad(pictures[..., 0], ((0, 0), (0, 0), (1, 1)))))
    axis.set_title(title, loc="left")
    axis.set_axis_off()
plt.show()

# %% [markdown]
# A `Loader` does both and cuts the epoch into mini-batches. Its random generator is seeded with
# the pair (seed, epoch). Ask for epoch 3 twice, and you get the same batches with the same shifts:

# %%
loader = tf.data.Loader(train, 64, shuffle=True, transform=standardize, augment=tf.data.shift)
batches = []
for _ in range(2):
    loader.set_epoch(3)
    batches.append(next(iter(loader)))
(images, labels), (same_images, same_labels) = batches
print("a batch:", images.shape, images.dtype, labels.shape, "   batches in an epoch:", len(loader))
assert (images == same_images).all() and (labels == same_labels).all()

# %% [markdown]
# ## The recipe
#
# A `Recipe` holds every setting of a run. Take the defaults of `python -m tinyfractal train`, with
# a quarter of the channels and half the epochs so that you need not wait.

# %%
recipe = Recipe(channels=(8, 16), epochs=12).for_data(train)
for name in ("columns", "drop_path", "global_ratio", "optimizer", "lr", "momentum", "schedule"):
    print(f"{name:13} {getattr(recipe, name)}")

# %% [markdown]
# Drop-path is the paper's: probability 0.15, half local, half global. The cosine schedule lowers
# the learning rate to almost nothing, along half a wave. Two blocks of three columns contain plain
# networks of depth 2, 4 and 8, which share only the last layer:

# %%
tf.plot.draw_network(3, recipe.channels, input_shape=recipe.shape)

# %% [markdown]
# ## Watch it learn
#
# `tf.train.fit` is the loop of chapter 5. After each epoch it evaluates the whole network on the
# validation images, and each column by itself. One run proves little, so make three.


# %%
def run(recipe, **options):
    """Build what the recipe says, train it, and return the network and its history."""
    net = recipe.build_model()
    optimizer = recipe.build_optimizer(net)
    schedule = recipe.build_schedule(optimizer)
    history = tf.train.fit(
        net, train, test, optimizer, schedule, validation=validation,
        batch_size=recipe.batch_size, transform=recipe.transform(), augment=recipe.augment(),
        seed=recipe.seed, recipe=recipe.as_dict(), quiet=True, **options,
    )  # fmt: skip
    return net, history


seeds = range(smaller("seeds", 3, in_browser=1))
runs = [run(replace(recipe, seed=seed)) for seed in seeds]
net, history = runs[0]
print({name: round(value, 3) for name, value in history[-1].items() if name != "columns"})

# %% [markdown]
# Here are the four networks, epoch by epoch. Thin lines are the seeds, thick ones their mean.
# Which network leads? Which stays behind, and until when?


# %% jupyter={"source_hidden": true}
def accuracies(history):
    """Validation accuracy in per cent by epoch: (epochs, 4), the columns and the whole network."""
    return 100 * np.array([[*e["columns"], e["validation_accuracy"]] for e in history])


curves = np.array([accuracies(history) for _, history in runs])  # (seeds, epochs, 4)
figure, axes = plt.subplots(figsize=(6.2, 3.4))
epochs, lines = np.arange(1, recipe.epochs + 1), []
for k, (name, color) in enumerate(COLORS.items()):
    (mean,) = axes.plot([], [], "o-", ms=4, color=color, label=name)
    lines.append((mean, curves[:, :, k].mean(axis=0)))
    lines += [(axes.plot([], [], color=color, lw=0.7, alpha=0.5)[0], one) for one in curves[..., k]]
axes.set(xlim=(0.5, recipe.epochs + 0.5), ylim=(0, 103), xlabel="epoch")
axes.set_ylabel("validation accuracy, %")
axes.legend(loc="lower right")
axes.set_title("epoch 12", loc="left")
figure.canvas.draw()
figure.set_layout_engine("none")


def draw(frame):
    axes.set_title(f"epoch {frame + 1}", loc="left")
    for line, values in lines:
        line.set_data(epochs[: frame + 1], values[: frame + 1])


animate(
    figure, draw, recipe.epochs, seconds=8,
    alt="Validation accuracy by epoch: the whole network leads, the deepest column comes late.",
)  # fmt: skip

# %%
for name, rows in {"epochs 1 to 4": curves[:, :4], "the last epoch": curves[:, -1:]}.items():
    means = zip(COLORS, rows.mean(axis=(0, 1)))
    print(f"{name:15}", "   ".join(f"{part} {mean:5.1f} %" for part, mean in means))

# %% jupyter={"source_hidden": true}
assert curves[:, :4, 2].mean() < curves[:, :4, :2].mean(axis=(0, 1)).min()

# %% [markdown]
# The whole network leads for most of the way. The deepest column stays behind the other two
# through most of the first eight epochs, then passes them and draws level with the whole. Do they
# teach it? That is the question of chapter 11.
#
# One thing in the first run looks wrong: in its last epoch the network was right more often on new
# images (`validation_accuracy`) than on those it learned from (`train_accuracy`). But in training,
# drop-path takes paths away and the digits are shifted. Measure both alike, and the training
# images are no harder than the others:

# %%
transform = recipe.transform()
print(f"training images, while training: {history[-1]['train_accuracy']:.1%}")
for name, pile in {"training": train, "validation": validation}.items():
    print(f"{name} images, afterwards: {tf.train.evaluate(net, pile, transform).accuracy:.1%}")

# %% jupyter={"source_hidden": true}
assert tf.train.evaluate(net, train, transform).accuracy > history[-1]["train_accuracy"]

# %% [markdown]
# ## Predict, then run
#
# The trained network contains three plain ones: `net.column(c)` is column $c$ alone, the same
# layers with the same weights. You have seen how well each answers. **How much smaller and how
# much quicker is the shallowest than the whole network? And what does that cost in accuracy?**


# %% jupyter={"outputs_hidden": true}
def parts(net):
    """The columns, and the whole network."""
    return dict(zip(COLORS, [*tf.train.columns_of(net), net]))


def milliseconds(part):
    """Per image; the quickest of five tries, the others were disturbed."""
    return 1000 * min(tf.train.evaluate(part, validation, transform).seconds for _ in range(5))


time_of = {name: milliseconds(part) for name, part in parts(net).items()}
last = dict(zip(COLORS, curves[:, -1].T))  # {name: accuracies of the seeds}
for name, part in parts(net).items():
    print(f"{name:14}{part.count_parameters():7,} parameters  {time_of[name]:.3f} ms", end="  ")
    print(f"mean {last[name].mean():.1f} %, seeds from {last[name].min():.1f} to "
          f"{last[name].max():.1f} %")  # fmt: skip

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
figure, axes = plt.subplots(figsize=(5.4, 3))
for name, color in COLORS.items():
    axes.plot([time_of[name]] * len(seeds), last[name], "o", ms=4, color=color, alpha=0.6)
    axes.plot(time_of[name], last[name].mean(), "_", ms=18, mew=2, color=color)
    axes.annotate(name, (time_of[name], last[name].mean()), (12, -3), textcoords="offset points")
axes.margins(0.25)
axes.set(xlabel="milliseconds per image", ylabel="validation accuracy, %")
axes.set_title("quick or good: choose after training", loc="left")
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Under global drop-path each column had to answer by itself, so each works alone. The shallowest
# has a tenth of the parameters, needs less than a tenth of the time, and gives up about four
# points. The deepest does as well as the whole network, within the spread of the seeds. The paper
# calls this the **anytime** property: take the column that you have time for.
#
# </details>
#
# ## What drop-path did
#
# Take drop-path away and train again, from the same seeds, for as many epochs:

# %%
without = [run(replace(recipe, seed=seed, drop_path=0.0)) for seed in seeds]
ends = {"with drop-path": curves[:, -1]}
ends["without drop-path"] = np.array([accuracies(history)[-1] for _, history in without])
print(f"{'':18}" + "".join(f"{name:>16}" for name in COLORS))
for name, found in ends.items():
    print(f"{name:18}" + "".join(f"{a.mean():8.1f} ± {np.ptp(a) / 2:3.1f} %" for a in found.T))

# %% jupyter={"source_hidden": true}
assert (ends["without drop-path"][:, :3] < ends["with drop-path"][:, :3].min()).all()

# %% [markdown]
# Without drop-path a column alone is useless, although it is part of a better network: the columns
# learned to be right only together. With drop-path each can stand alone, and the whole network pays
# about four points. Does it ever gain? Chapter 9 measured where.
#
# ## Look inside
#
# If columns can stand in for each other, what they bring to a join should be alike. Is it?
# `block.branches` gives the inputs of the last join. (In `fractal.py` they are Tensors. The
# quicker rule that `fast/fractal.py` puts in its place hands you functions instead, and computes
# when you call them.)


# %%
def at_the_joins(net, images):
    """For each block the outputs of its columns at the last join, (columns, N, H, W, C)."""
    inputs = []
    with tf.train.inference(net):
        x = tf.Tensor(tf.backend.asarray(transform(images)))
        for block in net.blocks:
            branches = block.branches(x, keep_all(net.columns), keep_all)
            inputs.append(np.stack([branch().numpy() for branch in branches]))
            x = net.pool(block(x))
    return inputs


first, second = at_the_joins(net, validation.images)
print("what arrives at the joins:", first.shape, second.shape)

# %% [markdown]
# One digit in the first block. Each small picture is one channel. The rows are the three columns
# and their mean, which is what leaves the block. Do the rows resemble each other?

# %% jupyter={"source_hidden": true}
pictures = np.concatenate([first[:, 0], first[:, 0].mean(axis=0, keepdims=True)])  # (4, 8, 8, 8)
figure, axes = plt.subplots(4, 8, figsize=(5.6, 3.0))
for picture, line, name in zip(pictures, axes, ("column 0", "column 1", "column 2", "join")):
    for channel, axis in enumerate(line):
        axis.imshow(picture[:, :, channel], vmin=0)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="0.85")
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %% [markdown]
# To put a number on it, take the **correlation** of two columns over all images, places and
# channels: 1 where they rise and fall together, 0 where they have nothing in common.


# %%
def correlations(net):
    """The mean correlation of two columns, for each block."""
    blocks = at_the_joins(net, validation.images)
    matrices = [np.corrcoef(block.reshape(net.columns, -1)) for block in blocks]
    return [matrix[np.triu_indices(net.columns, 1)].mean() for matrix in matrices]


alike = {
    "untrained": [correlations(replace(recipe, seed=seed).build_model()) for seed in seeds],
    "without drop-path": [correlations(net) for net, _ in without],
    "with drop-path": [correlations(net) for net, _ in runs],
}
for name, found in alike.items():
    print(f"{name:18}", "   ".join(f"block {b + 1}: {np.round(values, 2)}"
                                   for b, values in enumerate(np.transpose(found))))  # fmt: skip

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
figure, panels = plt.subplots(1, 2, figsize=(6.4, 2.6), sharey=True)
for block, axes in enumerate(panels):
    for k, (color, found) in enumerate(zip((GRAY, BLUE, ORANGE), alike.values())):
        values = np.array(found)[:, block]
        axes.bar(k, values.mean(), 0.6, color=color, alpha=0.35)
        axes.plot([k] * len(values), values, "o", ms=4, color=color)
    axes.set_xticks(range(3), ["untrained", "without\ndrop-path", "with\ndrop-path"])
    axes.set_title(f"block {block + 1}", loc="left")
    axes.set_ylim(0, 1)
panels[0].set_ylabel("correlation of two columns")
plt.show()
_, without_it, with_it = (np.array(found).mean(axis=0) for found in alike.values())
assert with_it[0] > without_it[0] + 0.2
assert without_it[1] > with_it[1]  # the other way round

# %% [markdown]
# In block 1 drop-path has made the columns alike. In block 2 it is the other way round: there the
# columns *without* drop-path are the more alike, and they are the ones that cannot stand alone. So
# two columns may rise and fall together, and still one cannot replace the other.
#
# ## Four columns
#
# With four columns the deepest has 16 layers. These runs are recorded (`tutorials/drop_path.py`):
# three seeds, twelve epochs each, mean ± standard error on validation images. Beside them stands a
# plain network of 16 layers, trained alone by the same recipe.

# %%
with open("records/drop_path.json") as file:
    rows = json.load(file)["rows"]
four = [row for row in rows if row["columns"] == 4]
kinds = {
    "plain, depth 16": [row for row in four if row["model"] == "plain"],
    "without drop-path": [row for row in four if row.get("drop_path") == 0],
    "with drop-path": [row for row in four if row.get("drop_path") == 0.15],
}
print(f"{'':18}{'whole network':>16}   columns 0 to 3")
for name, some in kinds.items():
    found = 100 * np.array([row["validation"] for row in some])  # (seeds, 5): whole, columns
    whole, *columns = (f"{a.mean():5.1f} ± {a.std(ddof=1) / len(a) ** 0.5:.1f}" for a in found.T)
    print(f"{name:18}{whole:>14} %   {'   '.join(columns)}")

# %% jupyter={"source_hidden": true}
ends = {name: np.mean([row["validation"] for row in some], axis=0) for name, some in kinds.items()}
assert ends["with drop-path"][0] < min(ends["plain, depth 16"][0], *ends["with drop-path"][1:3])
assert ends["without drop-path"][0] == max(whole for whole, *_ in ends.values())
assert (
    len(four) == 9 and ends["with drop-path"][4] < 0.6 and max(ends["without drop-path"][1:]) < 0.4
)

# %% [markdown]
# With drop-path the whole network is the worst, behind even its own shallow columns. Its deepest
# column is far behind, and has the same weight in the mean as the others. Without drop-path the
# whole is the best, and its columns are useless alone. Chapter 11 follows such columns for longer.
#
# ## Open the drawer
#
# Every choice is made: the recipe, the epochs, which network to use. Now the test images come out,
# once:

# %%
for name, part in parts(net).items():
    print(f"{name:14} {tf.train.evaluate(part, test, transform).accuracy:.1%} of the test images")

# %% [markdown]
# Here are the mistakes of the whole network, true class and answer:

# %%
probabilities = tf.train.predict(net, test.images, transform)  # (359, 10)
said = probabilities.argmax(axis=1)
tf.plot.plot_mistakes(test.images, test.labels, said, test.classes)

# %% [markdown]
# You would have to guess at some of these as well. Does the network know when it guesses?

# %%
sure, right = probabilities.max(axis=1), said == test.labels
print(f"mean probability of its answer: {sure[right].mean():.2f} where it is right", end=", ")
print(f"{sure[~right].mean():.2f} where it is wrong")

# %% jupyter={"source_hidden": true}
assert sure[right].mean() > sure[~right].mean() + 0.1

# %% [markdown]
# ## The same run again, bit for bit
#
# You cannot examine a result that you cannot repeat. Two seeds decide everything random, the
# model's and the loader's, and the recipe sets both. Train a smaller network for one epoch, twice:

# %%
small = replace(recipe, columns=2, epochs=1)
(one, history_one), (two, history_two) = run(small), run(small)
print("losses:", history_one[0]["train_loss"], history_two[0]["train_loss"])


def same_bits(a, b):
    """Whether every weight and every running statistic of two networks is equal."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


print("the same bits:", same_bits(one, two))
print("with another seed:", same_bits(one, run(replace(small, seed=1))[0]))

# %% jupyter={"source_hidden": true}
assert same_bits(one, two) and history_one[0]["train_loss"] == history_two[0]["train_loss"]

# %% [markdown]
# That holds on one machine. Another one, or another number of threads, may add the same numbers in
# another order, and the last digit of a float32 depends on the order.
#
# ## Stop and go on
#
# Give `fit` a `folder`, and it writes a **checkpoint** after each epoch: everything that it takes
# to go on. The weights alone are not enough. Look into the file after two of three epochs:

# %%
small = replace(small, epochs=3)
folder = tempfile.TemporaryDirectory()
run(small, epochs=2, folder=folder.name)

state = load_checkpoint(f"{folder.name}/checkpoint.npz")
print("model:", len(state["model"]), "arrays, such as", list(state["model"])[:2])
print("optimizer:", len(state["optimizer"]), "entries, such as", list(state["optimizer"])[:3])
for name in ("schedule", "random"):
    print(f"{name}: {str(state[name])[:70]}")
print("history:", len(state["history"]), "epochs;   recipe:", len(state["recipe"]), "settings")

# %% [markdown]
# Batch norm's running statistics, the momentum of every weight, the place in the schedule, the
# random generator: leave one out, and the run goes on differently. With all of them, an interrupted
# run ends where the uninterrupted one does:

# %%
straight, _ = run(small)
resumed, resumed_history = run(small, folder=folder.name, resume=True)
print("epochs in the history of the resumed run:", [line["epoch"] for line in resumed_history])
print("the same bits:", same_bits(straight, resumed))
folder.cleanup()

# %% jupyter={"source_hidden": true}
assert len(resumed_history) == 3 and same_bits(straight, resumed)

# %% [markdown]
# ## What you now own
#
# You can take a training run apart: what happens to an image, what a recipe decides, which pile of
# images a number is about. You know what drop-path gives to the columns and what it takes from the
# whole. And you can stop a run, go on, and show that not a bit differs.
#
# ## Now read the source
#
# In [`train/loop.py`](../tinyfractal/train/loop.py) read `train_epoch` first, then `fit`.
# [`recipe.py`](../tinyfractal/recipe.py) holds the settings that you printed, and builds things
# from them. [`train/checkpoint.py`](../tinyfractal/train/checkpoint.py) writes a file under another
# name and renames it when it is complete: if the power fails, you find the old file or the new one,
# never half of one. [`data/loader.py`](../tinyfractal/data/loader.py) gives the batches;
# [`data/augment.py`](../tinyfractal/data/augment.py) shifts a whole batch at once, by indexing.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/10_training.py`.
#
# **1. Standardize.** Return `images` standardized with the numbers of `training_images`, channel by
# channel: both are NumPy arrays $(N, H, W, C)$, with the same $C$.


# %%
def my_standardize(training_images, images): ...


check_standardize(my_standardize)

# %% [markdown]
# **2. Shift.** Move one image $(H, W)$ down by `down` and right by `right` pixels. Both may be
# negative. What comes in at the edges is zero.


# %%
def shift_image(image, down, right): ...


check_shift_image(shift_image)

# %% [markdown]
# **3. How large is a column?** Without building anything, return the number of parameters of column
# $c$ of a FractalNet: each convolution has $3 \cdot 3 \cdot C_\text{in} \cdot C_\text{out}$ weights
# and 2 numbers per output channel for batch norm, and the head is a `Linear` with a bias.


# %%
def column_parameters(c, channels, in_channels=1, classes=10): ...


check_column_parameters(column_parameters)

# %% [markdown]
# **4. Early exit.** Let a shallow column answer, and ask the next one only where it is unsure.
# `probabilities` is a list of arrays $(N, K)$, one for each column, shallow to deep. For each
# image, take the first column whose largest probability is at least `threshold`, or the last column
# if there is none. Return the predicted classes $(N,)$ and which column gave each of them $(N,)$.
# (Afterwards try it on the columns of `net`: how many images ever need the deepest?)


# %%
def early_exit(probabilities, threshold): ...


check_early_exit(early_exit)
