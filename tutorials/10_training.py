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
# *35 minutes. Afterwards you can read [`train/loop.py`](../tinyfractal/train/loop.py),
# [`recipe.py`](../tinyfractal/recipe.py),
# [`train/checkpoint.py`](../tinyfractal/train/checkpoint.py),
# [`data/loader.py`](../tinyfractal/data/loader.py) and
# [`data/augment.py`](../tinyfractal/data/augment.py).*
#
# All the parts are there: the engine, the layers, the fractal block, the join and drop-path. Now we
# train a FractalNet on real digits, from the first look at the data to the last mistake. On the way
# we watch each column by itself: when does it learn, and from whom? At the end we stop a run in the
# middle and go on as if nothing had happened, to the last bit.

# %%
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
from figures import use_style
from smaller import smaller

use_style()

# %% [markdown]
# ## Look at the data first
#
# 1,797 digits, written by hand, 8×8 pixels of one channel each. A fifth of every class is put aside
# for testing: the network never learns from these, so they tell how it does on new digits.

# %%
train, test = tf.data.load_digits()
print("train:", train.images.shape, train.images.dtype, "   test:", test.images.shape)
print("pixels from", train.images.min(), "to", train.images.max())
print("training images of each class:", np.unique(train.labels, return_counts=True)[1])
assert len(train) + len(test) == 1797 and train.images.shape[1:] == (8, 8, 1)

# %% [markdown]
# ## Preparing an image
#
# Two things are done to an image before the network sees it. **Standardization** moves the pixels
# to mean 0 and standard deviation 1, $\hat x = (x - \mu) / \sigma$. The numbers $\mu$ and $\sigma$
# are measured on the training images only and used for all. A network must not know anything of the
# test images beforehand, not even how bright they are.

# %%
standardize = tf.data.Standardize.fit(train.images)
print("measured:", standardize.mean, standardize.std)
by_hand = (train.images - train.images.mean()) / train.images.std()
assert np.allclose(standardize(train.images), by_hand, atol=1e-4)
print(f"test images afterwards: mean {standardize(test.images).mean():.4f}, not exactly 0")

# %% [markdown]
# **Augmentation** changes each training image a little, in a new way each epoch, so that its class
# stays the same: the network meets more variety than there is in the data. Here each digit moves by
# up to one pixel along each axis. What would be wrong with the mirror, which the paper uses for
# photographs? A mirrored cat is a cat. A mirrored 2 is nothing.

# %%
rng = np.random.default_rng(0)
two = np.repeat(train.images[2:3], 10, axis=0)  # one digit, ten times: (10, 8, 8, 1)
figure, axes = plt.subplots(2, 1, figsize=(6, 1.9))
for axis, title, pictures in (
    (axes[0], "the first ten", train.images[:10]),
    (axes[1], "one digit, shifted ten times", tf.data.shift(two, rng, pixels=1)),
):
    axis.imshow(np.hstack(np.pad(pictures[..., 0], ((0, 0), (0, 0), (1, 1)))))
    axis.set_title(title, loc="left")
    axis.set_axis_off()
plt.show()

# %% [markdown]
# The `Loader` does both, and cuts an epoch into mini-batches. Everything random in epoch $e$ comes
# from one generator started from the pair (seed, $e$): ask for epoch 3 twice, and you get the same
# batches in the same order, the same shifts included.

# %%
loader = tf.data.Loader(
    train, 64, shuffle=True, seed=0, transform=standardize, augment=tf.data.shift
)
batches = []
for _ in range(2):
    loader.set_epoch(3)
    batches.append(next(iter(loader)))
images, labels = batches[0]
print("a batch:", images.shape, images.dtype, labels.shape, "   batches in an epoch:", len(loader))
assert (images == batches[1][0]).all() and (labels == batches[1][1]).all()

# %% [markdown]
# ## The recipe
#
# Whatever decides a run is in one object, a `Recipe`: data, network, optimizer, schedule, seed. We
# take its defaults with half the channels and about half the epochs, so that you need not wait.

# %%
width = smaller("channels", 16, in_browser=8)
recipe = Recipe(channels=(width, 2 * width), epochs=12).for_data(train)
for name, value in recipe.as_dict().items():
    print(f"{name:16} {value}")

# %% [markdown]
# SGD with Nesterov momentum and weight decay, a learning rate that falls along half a cosine, and
# drop-path with the paper's 0.15, half local, half global. (The paper divides the rate by ten
# whenever the remaining epochs have halved. That is `schedule="halving"`, and meant for 400
# epochs.) The network has two blocks of three columns, so its columns have depths 2, 4 and 8:

# %%
tf.plot.draw_network(3, recipe.channels, input_shape=recipe.shape)

# %% [markdown]
# ## Train
#
# `tf.train.fit` is the loop that you have written yourself in chapter 5. After each epoch it tests
# the whole network, and each column as a network of its own, and adds a line to the history.


# %%
def run(recipe, **options):
    """Build what the recipe says, train it, and return the network and its history."""
    net = recipe.build_model()
    optimizer = recipe.build_optimizer(net)
    schedule = recipe.build_schedule(optimizer)
    history = tf.train.fit(
        net,
        train,
        test,
        optimizer,
        schedule,
        batch_size=recipe.batch_size,
        transform=recipe.transform(),
        augment=recipe.augment(),
        seed=recipe.seed,
        recipe=recipe.as_dict(),
        quiet=True,
        **options,
    )
    return net, history


net, history = run(recipe)
for line in history[::3] + history[-1:]:
    columns = " ".join(f"{accuracy:6.1%}" for accuracy in line["columns"])
    print(f"epoch {line['epoch']:2}  loss {line['train_loss']:.3f}", end="  ")
    print(
        f"train {line['train_accuracy']:.1%}  test {line['test_accuracy']:.1%}  columns {columns}"
    )
assert history[-1]["test_accuracy"] > 0.94

# %%
tf.plot.plot_history(history)

# %% [markdown]
# One thing looks wrong: the network does *better* on the test images than on the training images.
# It is not the images. In training, drop-path takes paths away and the digits are shifted. In
# testing, all paths are there and the digits are where they should be. Measured in the same way,
# the training images are the easier ones, or equal, as it should be:

# %%
transform = recipe.transform()
on_train, on_test = (tf.train.evaluate(net, data, transform) for data in (train, test))
print(f"while training: {history[-1]['train_accuracy']:.1%}")
print(
    f"afterwards:     {on_train.accuracy:.1%} on the training images, {on_test.accuracy:.1%} on new"
)
assert on_train.accuracy > history[-1]["train_accuracy"]

# %% [markdown]
# ## Predict, then run
#
# The trained network contains three plain ones: `net.column(c)` is column $c$ alone, the same
# layers with the same weights. **Which will be the best on the test images: the whole, the
# shallowest or the deepest column? And how much does the shallowest pay for being the quickest?**

# %% jupyter={"outputs_hidden": true}
networks = {"whole network": net} | {f"column {c}": net.column(c) for c in range(3)}
answers = {}
for name, network in networks.items():
    tries = [tf.train.evaluate(network, test, transform) for _ in range(3)]
    answers[name] = tries[0].accuracy, 1000 * min(result.seconds for result in tries)
    print(
        f"{name:14} {network.count_parameters():7,} parameters   "
        f"{answers[name][0]:.1%}   {answers[name][1]:.3f} ms per image"
    )
assert min(accuracy for accuracy, _ in answers.values()) > 0.85

# %% [markdown]
# The same numbers in a picture:

# %% jupyter={"outputs_hidden": true}
for name, (accuracy, ms) in answers.items():
    plt.plot(ms, 100 * accuracy, "o", color="tab:orange" if name == "whole network" else "tab:blue")
    plt.annotate(name, (ms, 100 * accuracy), (6, -3), textcoords="offset points")
plt.margins(0.15)
plt.xlabel("milliseconds per image")
plt.ylabel("test accuracy, %")
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Each column works alone, and it was trained for that: under global drop-path it had to answer by
# itself. This is what the paper calls the **anytime** property. Where time is short, ask column 0.
# Where there is more of it, ask a deeper one.
#
# </details>
#
# ## Who learns first?
#
# In the curves further up it is hard to see who leads. We need columns that differ more, so we
# train a second network of *four* columns, with depths 2, 4, 8 and 16, and fewer channels. Beside
# it stands a plain network of the depth of column 3, trained alone by the same recipe.

# %%
width = smaller("channels", 12, in_browser=6)
deeper = replace(recipe, columns=4, channels=(width, 2 * width))
deep_net, deep_history = run(deeper)
plain, plain_history = run(replace(deeper, model="plain"))
assert plain.count_parameters() == deep_net.column(3).count_parameters()

# %% tags=["thumbnail"]
epochs = [line["epoch"] for line in deep_history]
for c, color in enumerate(("tab:cyan", "tab:blue", "tab:purple", "tab:red")):
    accuracies = [100 * line["columns"][c] for line in deep_history]
    plt.plot(epochs, accuracies, "o-", ms=4, color=color, label=f"column {c}, depth {2 * 2**c}")
alone = [100 * line["test_accuracy"] for line in plain_history]
plt.plot(epochs, alone, "--", color="0.4", label="plain, depth 16, alone")
plt.xlabel("epoch")
plt.ylabel("test accuracy, %")
plt.xlim(right=16.5)  # room for the legend
plt.xticks(epochs[1::2])
plt.legend()
plt.show()

# %%
by_column = np.array([line["columns"] for line in deep_history])  # (epochs, 4)
early, late = by_column[:5].mean(axis=0), by_column[-2:].mean(axis=0)
print("columns, mean of the first five epochs:", early.round(3))
print("columns, mean of the last two epochs:  ", late.round(3))
print("plain:", np.round([np.mean(alone[:5]), np.mean(alone[-2:])], 1), "%")
assert early[3] < early[:2].min() - 0.1
assert late[:2].min() > 0.6 and late[3] > early[3] + 0.05
assert np.mean(alone[:5]) > 100 * early[3]

# %% [markdown]
# The shallow columns learn first. The deepest knows next to nothing for several epochs. It begins
# to pick up when the shallow ones are good already. The paper sees the same in a network of 40
# layers (section 4, on introspection), and sees a student and its teacher in it. Where columns
# meet, their mean goes on. When drop-path takes the shallow branch away, the deep one must stand in
# with something similar, and that is a small task of its own: *give what that one convolution would
# have given*.
#
# Our measurement also says where not to expect too much. The plain network of depth 16, alone, has
# no trouble with these digits, and it learns *faster* than column 3 does: all its weights are
# trained with every image, and with batch norm 16 layers are not many. In the paper a plain network
# of 40 layers, trained alone, never makes fast progress. That is where a teacher helps. (And is a
# FractalNet *better* than a plain network or a ResNet? A few curves cannot say. It is the question
# of the next chapter.)
#
# ## Look inside
#
# If the columns stand in for each other, then what they bring to a join should be alike. Is it?
# `block.branches` gives exactly that, the inputs of the join before the mean is taken, each as a
# function that is called for it:


# %%
def at_the_joins(net, images):
    """For each block the outputs of its columns, (columns, N, H, W, C), at the last join."""
    inputs = []
    with tf.train.inference(net):
        x = tf.Tensor(tf.backend.asarray(transform(images)))
        for block in net.blocks:
            branches = block.branches(x, keep_all(net.columns), keep_all)
            inputs.append(np.stack([branch().numpy() for branch in branches]))
            x = net.pool(block(x))
    return inputs


first, second = at_the_joins(net, test.images)
print("what arrives at the joins:", first.shape, second.shape)

# %% [markdown]
# One test digit, in the first block. Each small picture is one channel, 8×8. The rows are the three
# columns and their mean, which is what leaves the block:

# %%
channels = first.mean(axis=(0, 1, 2, 3)).argsort()[::-1][:8]  # the most active ones
pictures = np.concatenate([first[:, 0], first[:, 0].mean(axis=0, keepdims=True)])  # (4, 8, 8, 16)
figure, axes = plt.subplots(4, 8, figsize=(5.6, 3.0))
for picture, line, name in zip(pictures, axes, ("column 0", "column 1", "column 2", "join")):
    for channel, axis in zip(channels, line):
        axis.imshow(picture[:, :, channel], vmin=0)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(visible=True, color="0.85")
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %% [markdown]
# To measure how alike two columns are, we take the **correlation** of their outputs over all
# images, places and channels: 1 where they rise and fall together, 0 where they have nothing to do
# with each other. Three networks: before training, after it, and one that was trained without
# drop-path.

# %%
untrained = recipe.build_model()
no_drop_path, no_drop_path_history = run(replace(recipe, drop_path=0.0, epochs=6))


def correlations(net):
    """One (columns, columns) matrix of correlations for each block."""
    return [np.corrcoef(block.reshape(3, -1)) for block in at_the_joins(net, test.images)]


alike = {
    "untrained": correlations(untrained),
    "with drop-path": correlations(net),
    "without drop-path": correlations(no_drop_path),
}

# %%
figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.3))
for axis, (name, (matrix, _)) in zip(axes, alike.items()):
    axis.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    for (i, j), value in np.ndenumerate(matrix):
        color = "white" if value > 0.6 else "black"
        axis.text(j, i, f"{value:.2f}", ha="center", va="center", color=color)
    axis.set(title=name, xticks=range(3), yticks=range(3), xlabel="column")
axes[0].set_ylabel("column")
plt.show()

# %%
pairs = np.triu_indices(3, 1)  # (0, 1), (0, 2), (1, 2)
for name, blocks in alike.items():
    means = [matrix[pairs].mean() for matrix in blocks]
    print(f"{name:18} mean correlation: block 1 {means[0]:5.2f}   block 2 {means[1]:5.2f}")
trained, other = (
    alike["with drop-path"][0][pairs].mean(),
    alike["without drop-path"][0][pairs].mean(),
)
print("columns alone, without drop-path:", np.round(no_drop_path_history[-1]["columns"], 3))
assert trained > other + 0.1 and trained > alike["untrained"][0][pairs].mean() + 0.1
assert all(matrices[1][pairs].mean() > 0.25 for name, matrices in alike.items() if "path" in name)
assert max(no_drop_path_history[-1]["columns"]) < min(history[-1]["columns"])

# %% [markdown]
# In the first block (the pictures), columns that were trained with drop-path have grown alike, and
# those trained without it have not: nothing asked them to. In the second block both are alike,
# since its outputs are near the answer, and all columns work towards the same ten classes. Being
# alike in one block is not enough to stand alone, as the last line says: by themselves, the columns
# of the network without drop-path do much worse than the others.
#
# ## Look at the mistakes
#
# A percentage hides what kind of mistakes they are. Here they are (true → said):

# %%
probabilities = tf.train.predict(net, test.images, transform)  # (359, 10)
said = probabilities.argmax(axis=1)
tf.plot.plot_mistakes(test.images, test.labels, said, test.classes)

# %% [markdown]
# Some of these you would have to guess as well, at 8×8 pixels. Does the network know when it is
# guessing? The probability that it gives to its own answer should be lower where it is wrong:

# %%
sure = probabilities.max(axis=1)
right = said == test.labels
print(f"mean probability of its answer: {sure[right].mean():.2f} where right", end=", ")
print(f"{sure[~right].mean():.2f} where wrong")
assert sure[right].mean() > sure[~right].mean() + 0.1

# %% [markdown]
# ## The same run again, bit for bit
#
# A result that cannot be repeated cannot be examined. All chance comes from two seeds: that of the
# model (first weights, drop-path) and that of the loader (order, shifts), and the recipe sets both.
# A smaller network for one epoch, twice:

# %%
small = replace(recipe, columns=2, channels=(8, 16), epochs=1)
runs = [run(small) for _ in range(2)]
(one, _), (two, _) = runs
print("losses:", [line["train_loss"] for _, (line,) in runs])


def same_bits(a, b):
    """Whether every weight and every running statistic of two networks is equal."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


assert same_bits(one, two)
assert not same_bits(one, run(replace(small, seed=1))[0])

# %% [markdown]
# (On the same machine. Another processor, or another number of threads, may add the same numbers in
# another order, and the last digit of a float32 depends on that.)
#
# ## Stop and go on
#
# With a `folder`, `fit` writes a **checkpoint** after each epoch: all that is needed to go on. What
# is that? The weights are not enough. Let us look into the file, after two of three epochs:

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
# The running statistics of batch norm, the momentum of every weight, the place in the schedule, the
# state of the random generator. Leave one out, and the run goes on, but differently. With all of
# them, a run that was interrupted ends where the uninterrupted one does:

# %%
straight, _ = run(small)
resumed, resumed_history = run(small, folder=folder.name, resume=True)
print("epochs in the history of the resumed run:", [line["epoch"] for line in resumed_history])
assert len(resumed_history) == 3
assert same_bits(straight, resumed)
folder.cleanup()

# %% [markdown]
# ## Now read the source
#
# [`train/loop.py`](../tinyfractal/train/loop.py) is the loop of chapter 5 with what a long run
# needs around it. Read `train_epoch` first, then `evaluate`, then `fit`. Note how `inference` puts
# every layer back into the mode it was in, and that loss and accuracy are added up on the device,
# so that a GPU need not be waited for. [`recipe.py`](../tinyfractal/recipe.py) is the list that we
# printed, and how to build things from it.
# [`train/checkpoint.py`](../tinyfractal/train/checkpoint.py) writes a file under another name and
# renames it when it is complete: who pulls the plug finds the old file or the new one, never half a
# file. [`data/loader.py`](../tinyfractal/data/loader.py) gives the batches, in a thread of its own
# if you like; [`data/augment.py`](../tinyfractal/data/augment.py) shifts a whole batch at once, by
# indexing, where your solution of exercise 2 shifts one image.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/10_training.py`.
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
