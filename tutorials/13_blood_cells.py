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
# # 13. How can a network be 93 % right and miss every platelet?
#
# *45 minutes. Afterwards you can read [`data/bccd.py`](../tinyfractal/data/bccd.py),
# [`draw/confusion.py`](../tinyfractal/draw/confusion.py), and what `weight` does in
# [`ops/loss.py`](../tinyfractal/ops/loss.py).*
#
# The article names medical imaging as an application of FractalNet. So let us look through a
# microscope. In 364 photographs of blood, somebody drew a box around each red cell, each white cell
# and each platelet. A program that knows nothing, and calls every cell a red one, is right 85 times
# in 100. One that never finds a single platelet can be right 93 times. Which number would you want
# to hear from a laboratory?

# %%
import warnings
from collections import Counter
from dataclasses import replace
from functools import partial

import applications
import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.data import bccd
from tinyfractal.draw.confusion import confusion_matrix
from tinyfractal.recipe import Recipe

from exercises.blood_cells import (
    check_balanced_weights,
    check_error_by_group,
    check_expected_calibration_error,
    check_recall_precision,
    check_undo_weights,
)
from figures import use_style

use_style()

# %% [markdown]
# ## From a photograph to cells
#
# The data set is called BCCD. If you have not got it, the next cell says how to get it (8 MB), and
# the chapter goes on with the numbers of our own run.

# %%
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    train, test = applications.load("bccd")
for warning in told:
    print("The reader left out", str(warning.message).partition("left out: ")[2])
kept = applications.recorded("blood_cells")
if train is None:
    print(f"\nWhat follows was measured on {kept['date']}, on {kept['machine']}.")
classes = bccd.CLASSES
expect = partial(applications.expect, recorded=train is None)  # holds the text to its numbers

# %%
if train is not None:
    with bccd.Tree(bccd.place_of(applications.data_folder())) as tree:
        root = bccd.root_of(tree)
        split = bccd.split_of(tree, root)
        photographs = {name: bccd.photograph_of(tree, root, name, Counter()) for name in split}
        first = next(
            p for p in photographs.values() if {label for label, _ in p.cells} == {0, 1, 2}
        )
        pixels = bccd.pixels_of(tree, first)
    plt.figure(figsize=(2.8, 2.2))
    plt.imshow(pixels)
    for label, (left, top, right, bottom) in first.cells:
        color = ("tab:red", "black", "tab:blue")[label]
        corners = [left, right, right, left, left], [top, top, bottom, bottom, top]
        plt.plot(*corners, color=color, lw=1.2)
    plt.axis("off")
    plt.title("red: RBC, black: WBC, blue: platelets", fontsize=8)
    plt.show()

# %% [markdown]
# A network needs pictures of one size. How do you cut them out? The obvious way is to take each box
# and bring it to 32×32 pixels. But then a platelet, 42 pixels wide, is *enlarged* until it fills
# the picture, and a white cell, 207 pixels wide, is *reduced* until it does. Their size is gone,
# and it is what you would tell them apart by. Worse: the box comes from a person who knew the
# answer. Nobody draws it for the next photograph.
#
# So we cut the same square, 96×96 pixels, around the centre of every box. Each 3×3 pixels become
# one. A red cell just fits in, a platelet is a dot, and of a white cell you see the inside.

# %% tags=["thumbnail"]
if train is not None:
    rng = np.random.default_rng(3)
    lines = [train.images[rng.choice(np.flatnonzero(train.labels == k), 8)] for k in range(3)]
    plt.figure(figsize=(4.0, 1.6))
    plt.imshow(
        np.vstack(
            [
                np.hstack(np.pad(line, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255))
                for line in lines
            ]
        )
    )
    plt.yticks([17, 51, 85], classes)
    plt.xticks([])
    plt.grid(False)
    plt.show()

# %% [markdown]
# ## Predict, then run
#
# How many cells are there of each kind? **Suppose a program calls every cell a red one. How often
# is it right? And one that knows red and white cells perfectly, but has never heard of platelets?**

# %% jupyter={"outputs_hidden": true}
counts = np.array(kept["counts"]["test"])
if train is not None:
    assert np.unique(test.labels, return_counts=True)[1].tolist() == counts.tolist()
for name, found in {"always RBC": counts * [1, 0, 0], "no platelets": counts * [1, 1, 0]}.items():
    recalls = "  ".join(f"{k} {100 * r:3.0f} %" for k, r in zip(classes, found / counts))
    print(f"{name:14} accuracy {100 * found.sum() / counts.sum():.1f} %    recall: {recalls}")
print("cells:", dict(zip(classes, counts.tolist())))
assert round(100 * counts[0] / counts.sum()) == 85
assert round(100 * counts[:2].sum() / counts.sum()) == 93

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Accuracy asks all cells alike, and 85 in 100 of them are red. So it is, nearly, the accuracy on
# red cells.
#
# </details>
#
# Two questions about each class say more. With $M_{ij}$, the number of cells of class
# $i$ that were called $j$:
#
# $$\text{recall}_k = \frac{M_{kk}}{\sum_j M_{kj}} \qquad\qquad
#   \text{precision}_k = \frac{M_{kk}}{\sum_i M_{ik}}$$
#
# **Recall**: of the platelets that are there, how many were found? **Precision**: of those that
# were called platelets, how many are? The table $M$ is the **confusion matrix**: what is there in
# its rows, what was said in its columns.
#
# ## What the gradient hears
#
# Why would a network neglect a class? Take one that sees nothing: three logits, the same for every
# image. The gradient of cross-entropy is $p - q$ (chapter 5), where $q$ is 1 at the label. Summed
# over the training images, class $k$ pulls its own logit up once for each of its $n_k$ cells, and
# all $N$ cells pull it down by $p_k$:
#
# $$\frac{\partial L}{\partial z_k} = \frac{N p_k - n_k}{N}$$
#
# It comes to rest at $p_k = n_k / N$. A network that has not learned anything yet says "85 % red"
# of every cell, and answers red. To get a platelet right it has to overcome that first.
#
# **Class weights** multiply the loss of each image, and so its gradient, by a number $w_k$ of its
# class. With $w_k = N / (K n_k)$ all classes pull equally: the *balanced* weights.

# %%
n = np.array(kept["counts"]["train"])
labels = np.repeat(np.arange(3), n)
balanced = len(labels) / (3 * n)
print("cells to learn from:", dict(zip(classes, n.tolist())))
print("balanced weights:   ", dict(zip(classes, balanced.round(2).tolist())))


def pull(p, weight):
    """The gradient of the three logits where every image gets the probabilities p."""
    logits = tf.Tensor(np.tile(np.log(p), (len(labels), 1)), requires_grad=True)
    loss = tf.cross_entropy(logits, labels, reduction="sum", weight=weight) / len(labels)
    loss.backward()
    return logits.grad.numpy().sum(axis=0)


alike, frequencies = np.full(3, 1 / 3), n / n.sum()
for name, weight in (("without", None), ("balanced", balanced)):
    print(f"{name:9} pull at 1/3 each {pull(alike, weight).round(2)}", end="    ")
    print(f"at the frequencies {frequencies.round(2)}: {pull(frequencies, weight).round(2)}")
assert np.allclose(pull(alike, None), alike - frequencies)  # (N p - n) / N
assert np.allclose(pull(frequencies, None), 0) and np.allclose(pull(alike, balanced), 0)

# %% [markdown]
# A positive gradient pushes a logit down. Without weights, the two rare classes go down from 1/3
# until they are at their frequencies. With weights, 1/3 is where they rest. A single platelet then
# counts as much as eleven red cells. That is all that a class weight does.
#
# ## Predict, then run, again
#
# Now train. A FractalNet of four blocks and two columns, on the cells of 24 photographs only: 272
# red cells, 24 white ones, 24 platelets. Five seeds without weights, and five with them. **Will the
# weights find more platelets? And what will they do to the accuracy?**
#
# A cell has no up and no left, so each training image is turned and mirrored into one of eight
# positions, and moved by up to two pixels. The official test photographs are put aside. Of the
# others a fifth is held out, *whole photographs*, since the cells of one share its light and its
# stain. On such photographs the window was chosen. The rest of the recipe is the library's default,
# or what two cores can do in a minute.


# %%
def turned(images, rng):
    """Each image in one of its eight positions, moved by up to two pixels."""
    position = rng.integers(8, size=len(images))
    images = images.copy()
    for bit, change in enumerate((lambda x: x[:, ::-1], lambda x: x[:, :, ::-1])):
        chosen = position >> bit & 1 == 1
        images[chosen] = change(images[chosen])
    images[position > 3] = images[position > 3].swapaxes(1, 2)
    return tf.data.shift(images, rng, pixels=2, mode="reflect")


base = Recipe(data="bccd", columns=2, channels=(8, 16, 32, 64), epochs=10)
recipes = {
    "plain": replace(base, model="plain", channels=(9, 18, 37, 74)),
    "ResNet": replace(base, model="resnet", channels=(9, 18, 36, 73)),
    "FractalNet": base,
    "with weights": replace(base, class_weights="balanced"),
}


def answers_of(rows):
    """{network: its probabilities for the test images, (seeds, N, 3)}."""
    found = {}
    for label, some in applications.by_network(rows).items():
        networks = [applications.network(row) for row in some]
        each = [applications.probabilities(net, test.images, recipe) for net, recipe in networks]
        found[label] = np.stack(each)
    return found


def platelets(p):
    """Accuracy, and recall and precision of platelets, for each seed: a list of three numbers."""
    said, there = p.argmax(axis=2), test.labels == 2
    hits = ((said == 2) & there).sum(axis=1)
    called = np.maximum((said == 2).sum(axis=1), 1)
    numbers = (said == test.labels).mean(axis=1), hits / there.sum(), hits / called
    return np.transpose(numbers).tolist()


# %% jupyter={"outputs_hidden": true}
few = kept.get("few")
if train is not None:
    learn, held_out = train.split(0.2)
    assert not set(learn.groups) & set(held_out.groups)
    subset = learn.split(0.1)[1]
    short = replace(recipes["with weights"], batch_size=32)
    pair = {"weights": short, "no weights": replace(short, class_weights="none")}
    few_rows = applications.compare(
        "blood_cells_few", pair, subset, held_out, test, range(5), augment=turned
    )
    few_answers = answers_of(few_rows)
    few = {label: platelets(p) for label, p in few_answers.items()}

figure, axes = plt.subplots(1, 2, figsize=(5.0, 2.2), sharey=True)
for axis, name in zip(axes, ("no weights", "weights")):
    for seed, numbers in enumerate(few[name]):
        axis.plot(range(3), 100 * np.array(numbers), "o-", lw=1, label=f"seed {seed}")
    axis.set_xticks(range(3), ["accuracy", "recall of\nplatelets", "precision of\nplatelets"])
    axis.set_title(f"24 photographs, {name}")
axes[0].set_ylabel("%")
axes[0].legend(fontsize=7, loc="lower left")
plt.show()
for name in ("no weights", "weights"):
    accuracy, recall, precision = 100 * np.mean(few[name], axis=0)
    print(f"{name:11} accuracy {accuracy:.1f} %", end="   ")
    print(f"platelets: recall {recall:.1f} %, precision {precision:.1f} %")

# %%
alone = np.array(few["no weights"])
accuracies, recalls, _ = alone.T
weighed = np.mean(few["weights"], axis=0)
expect(accuracies.min() > 0.9 and recalls.min() < 0.4, "accurate, and few platelets found")
expect(weighed[1] > recalls.mean() + 0.2, "weights find more platelets")
expect(weighed[0] < accuracies.mean() - 0.1, "weights cost accuracy")
expect(np.std(few["weights"], axis=0)[1] > 1.5 * recalls.std(), "weights make seeds differ more")

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# There it is, the network of the title: without weights every seed is right on more than 90 cells
# of 100, and the worst misses three platelets of four. With weights the recall is higher on
# average. But look at the spread! One network finds nearly every platelet, and calls red cells
# platelets by the hundred; another one finds next to none. Each of 24 platelets now speaks as
# loudly as eleven red cells, and what a few say loudly is noise. Precision and accuracy fall.
#
# **Weights move the line between the classes. They do not teach a network what a platelet looks
# like.** And where the line should be is a choice between two kinds of mistake, a missed platelet
# or a false one. No mathematics makes it for you.
#
# </details>
#
# ## Train on all of them
#
# Now all the photographs that are not held out, ten times as many. Four kinds of network, three
# seeds each: the FractalNet, a plain network and a ResNet of the same depth, made wider until they
# have as many parameters within 1 %, all without weights; and the FractalNet with them.

# %%
rows = kept["rows"]
if train is not None:
    rows = applications.compare("blood_cells", recipes, learn, held_out, test, augment=turned)
print(applications.table(rows))
sizes = [some[0]["parameters"] for some in applications.by_network(rows).values()]
assert max(sizes) < 1.01 * min(sizes)
print("\naccuracy on the held-out photographs after the last epoch:")
for label, some in applications.by_network(rows).items():
    held = [round(100 * row["history"][-1]["held_out"], 1) for row in some]
    print(f"{label:20} {' '.join(map(str, held))} %")

# %%
plt.figure(figsize=(3.9, 2.1))
applications.curves(rows)
plt.ylim(90, 100.5)
plt.show()

# %% [markdown]
# With enough examples the problem has gone away, nearly by itself, and the held-out photographs
# prefer the network *without* weights. That is why the others were trained without. More examples
# do what weights cannot.
#
# Now let us ask each class by itself, and say how sure the numbers are. There are two kinds of
# chance here. The **seed**: another one gives another network. And the **photographs**: another 72
# would give other numbers, and there are only 69 platelets on them. The second kind cannot be
# trained away. To measure it we pretend: draw 72 photographs out of the 72, some twice, some not at
# all, measure again, and do that 1,000 times. This is the **bootstrap**. We draw photographs and
# not cells, because the cells of one photograph fail together: one blurred photograph is one
# accident, not twelve.


# %%
def sums(values):
    """The sums of `values` (N, …) in 1,000 test parts of photographs drawn again: (1000, …)."""
    names, group = np.unique(test.groups, return_inverse=True)
    each = np.zeros((len(names), *values.shape[1:]))
    np.add.at(each, group, values)
    drawn = np.random.default_rng(0).integers(len(names), size=(1000, len(names)))
    return each[drawn].sum(axis=1)


EDGES = np.array([1 / 3, 0.7, 0.9, 0.97, 0.99, 1])  # of the probability that an answer is given


def gaps(sure, right, bins=10):
    """Right answers minus those promised, in bins of equal width: (seeds, N, bins)."""
    inside = np.eye(bins)[np.minimum(sure * bins, bins - 1).astype(int)]
    return inside * (right - sure)[..., None]


def examine(p):
    """What the chapter shows of probabilities (seeds, N, 3), as lists that JSON can hold."""
    said, sure, there = p.argmax(axis=2), p.max(axis=2), np.eye(3)[test.labels]
    right = said == test.labels
    found = right.mean(axis=0)[:, None] * there  # by how many of the seeds
    middle = np.argsort(right.mean(axis=1))[len(p) // 2]  # the seed of median accuracy
    inside = np.eye(len(EDGES) - 1)[np.digitize(sure, EDGES[1:-1])]
    size, hits = inside.mean(axis=0), (inside * right[..., None]).mean(axis=0)
    promised = (inside * sure[..., None]).mean(axis=0)
    ece = np.abs(gaps(sure, right).sum(axis=1)).sum(axis=1) / len(test)  # of each seed
    again = np.abs(sums(gaps(sure, right).swapaxes(0, 1))).sum(axis=2)
    rng = np.random.default_rng(0)  # networks that are right as often as they promise
    kept_word = [gaps(sure, rng.random(sure.shape) < sure) for _ in range(200)]
    with np.errstate(invalid="ignore"):  # a bin may be empty in a draw
        shares = sums(hits) / sums(size)
    facts = {
        "recall_error": (sums(found) / sums(there)).std(axis=0),
        "confusion": confusion_matrix(test.labels, said[middle], 3),
        "mean_p": p.mean(axis=(0, 1)),
        "sure": promised.sum(axis=0) / size.sum(axis=0),
        "right": hits.sum(axis=0) / size.sum(axis=0),
        "right_error": np.nanstd(shares, axis=0),
        "answers": size.sum(axis=0),
        "ece": ece.mean(),
        "ece_error": (again / sums(np.ones(len(test)))[:, None]).mean(axis=1).std(),
        "ece_honest": np.mean([np.abs(g.sum(axis=1)).sum(axis=1) for g in kept_word]) / len(test),
        "wrong_by_all": (~right).all(axis=0).sum(),
    }
    return {name: np.asarray(value).tolist() for name, value in facts.items()}


facts = {name: kept.get(name) for name in ("counts", "found", "few")}
if train is not None:
    answers = answers_of(rows)
    for name, p in few_answers.items():
        answers[f"24 photographs, {name}"] = p
    undone = few_answers["weights"] / np.array(short.for_data(subset).weights())
    undone /= undone.sum(axis=2, keepdims=True)
    answers["24 photographs, undone"], few["undone"] = undone, platelets(undone)
    facts = {
        "counts": {
            name: np.bincount(d.labels).tolist() for name, d in (("train", train), ("test", test))
        },
        "found": {label: examine(p) for label, p in answers.items()},
        "few": few,
    }
found = facts["found"]

# %%
print(f"{'recall: mean ± seeds ± photographs':36}" + "".join(f"{k:>21}" for k in classes))
medians = {}
for label, some in applications.by_network(rows).items():
    recalls = 100 * np.array([row["recall"] for row in some])  # (seeds, 3)
    medians[label] = np.median(recalls, axis=0)
    line = ""
    for k in range(3):
        mean, error = applications.spread(recalls[:, k])
        line += f"{mean:9.1f} ± {error:.1f} ± {100 * found[label]['recall_error'][k]:.1f}"
    print(f"{label:36}{line}")
print(
    "\nmedian recall of three seeds, FractalNet:",
    dict(zip(classes, medians["FractalNet"].round(1).tolist())),
)
expect(medians["FractalNet"][1:].min() >= 95, "the median recall of rare classes is 95 %")
found_by = [row["recall"][2] for row in rows if row["network"] == "FractalNet"]
expect(np.mean(found_by) < 0.95, "the mean recall of platelets is below 95 %")

# %% [markdown]
# The target that we had set ourselves was a recall of 95 % for white cells and for platelets, as
# the median of three seeds. The FractalNet reaches it, barely: the mean of the three is below. (To
# be honest about the order: the networks with weights were tested first, and missed it by one
# platelet. The held-out photographs had preferred the others before that.) One platelet is 1.4
# points, and the error bars are wider than the distance to the target. Nobody who reads "recall
# 95.7 %" would guess that. So write the ± beside it.
#
# ## Who is taken for whom

# %%
tf.plot.plot_confusion(np.array(found["FractalNet"]["confusion"]), classes)

# %% [markdown]
# Most mistakes are between red cells and platelets. Hardly ever is a white cell taken for anything
# else: it is large and violet. A platelet is a dot beside red cells, or on top of one.
#
# ## Does it know when it does not know?
#
# A doctor can live with "I am not sure". For that the probabilities have to keep their word: of the
# answers that are given with 90 %, nine in ten should be right. That is **calibration**. We sort
# the answers by the probability of the class that was said, into five bins, and see how many are
# right:


# %%
def reliability(name, color, shift):
    facts = found[name]
    x, y = np.array(facts["sure"]), np.array(facts["right"])
    plt.errorbar(
        100 * x + shift, 100 * y, 200 * np.array(facts["right_error"]), fmt="o-", color=color,
        capsize=3, lw=1, label=name,
    )  # fmt: skip


SHOWN = {
    "FractalNet": "black",
    "24 photographs, no weights": "tab:green",
    "24 photographs, weights": "tab:red",
    "24 photographs, undone": "tab:orange",
}
plt.plot([50, 100], [50, 100], "--", color="0.6", label="keeps its word")
for shift, (name, color) in enumerate(SHOWN.items()):
    reliability(name, color, 0.3 * shift)
plt.xlabel("it says: so sure (%)")
plt.ylabel("right (%), ± 2 standard errors")
plt.legend(fontsize=8)
plt.show()

# %%
print("so sure → right ± standard error (number of answers), in %")
for name in SHOWN:
    columns = (found[name][key] for key in ("sure", "right", "right_error", "answers"))
    line = ""
    for sure, right, error, number in zip(*columns):
        line += f"  {100 * sure:5.1f} → {100 * right:5.1f} ± {100 * error:4.1f} ({number:3.0f})"
    print(f"{name}\n{line}")

# %% [markdown]
# One number for the whole curve is the **expected calibration error** (Guo et al. 2017): in each of
# ten bins of equal width, the distance between what was promised and what came, weighted by the
# number of answers in the bin.
#
# $$\text{ECE} = \sum_b \frac{n_b}{N}\, \bigl|\, \text{right}_b - \text{sure}_b \,\bigr|$$
#
# It is never 0, even for a network that keeps its word exactly: of ten answers given with 95 % you
# cannot have nine and a half right. So beside it stands what such a network would show, simulated.

# %%
for name in SHOWN:
    facts = found[name]
    print(f"{name:27} ECE {100 * facts['ece']:5.2f} ± {100 * facts['ece_error']:.2f} %", end="   ")
    print(f"one that keeps its word: {100 * facts['ece_honest']:.2f} %", end="   ")
    print("mean probability", np.round(100 * np.array(facts["mean_p"]), 1))
print("share of the cells that are there:", np.round(100 * counts / counts.sum(), 1), "%")

# %% [markdown]
# Look at the black line first. Of the answers that the FractalNet gives with 90 to 97 %, as many
# are right as it says, within the error, and its calibration error is that of a network that keeps
# its word. So the answer is yes, as far as 25 answers can tell.
#
# The red line is the price of the weights. A network that learned with them, from 24 photographs,
# says "platelet" with 33 % on average, where 7 % are there: the weights made it believe in a world
# with as many platelets as red cells. **Weights may help a decision. They spoil a probability.**
# But we know exactly what they did: they multiplied the odds of class $k$ by $w_k$. So divide by
# it, $p_k' \propto p_k / w_k$, and bring the sum back to 1. That is "undone", the orange line: the
# mean probabilities are where they should be, and most of the calibration error is gone. The
# network is the same, only its words have changed. (Exercise 5.)

# %%
tilted, undone = (found[f"24 photographs, {name}"] for name in ("weights", "undone"))
share = counts[2] / counts.sum()
expect(
    tilted["mean_p"][2] > 3 * share and abs(undone["mean_p"][2] - share) < 0.02,
    "weights promise far too many platelets, and dividing them out mends that",
)
expect(undone["ece"] < 0.5 * tilted["ece"], "dividing them out halves the calibration error")
expect(
    abs(found["FractalNet"]["ece"] - found["FractalNet"]["ece_honest"]) < 0.003,
    "the FractalNet keeps its word",
)
means = {name: 100 * np.mean(few[name], axis=0) for name in ("weights", "undone")}
for name, (accuracy, recall, precision) in means.items():
    print(f"{name:8} accuracy {accuracy:.1f} %", end="   ")
    print(f"platelets: recall {recall:.1f} %, precision {precision:.1f} %")

# %% [markdown]
# And the decisions? The last lines say what becomes of them: undoing the weights moves the line
# back.
#
# ## The surest mistakes
#
# A percentage hides what kind of mistakes they are. Let us look at the cells that the network of
# seed 0 got wrong, the surest answers first, at most six, as the photograph has them, with their
# surroundings: 160×160 pixels, of which the network saw the 96×96 in the frame.

# %%
if train is not None:
    p = answers["FractalNet"][0]
    said, sure = p.argmax(axis=1), p.max(axis=1)
    wrong = np.flatnonzero(said != test.labels)
    print(f"{len(wrong)} of {len(test)} cells are wrong")
    wrong = wrong[np.argsort(-sure[wrong])][:6]
    cells = [(name, box) for name in split if split[name] == "test"
             for _, box in photographs[name].cells]  # fmt: skip
    assert [name for name, _ in cells] == test.groups.tolist()
    figure, axes = plt.subplots(1, 6, figsize=(5.8, 1.5))
    with bccd.Tree(bccd.place_of(applications.data_folder())) as tree:
        for i, axis in zip(wrong, axes.flat):
            name, box = cells[i]
            pixels = bccd.pixels_of(tree, photographs[name])
            axis.imshow(bccd.square_of(pixels, box, 160))
            axis.plot([32, 128, 128, 32, 32], [32, 32, 128, 128, 32], color="black", lw=0.8)
            truth, answer = classes[test.labels[i]][:8], classes[said[i]][:8]
            axis.set_title(f"{truth}\n→ {answer} {100 * sure[i]:.0f} %", fontsize=7)
    for axis in axes.flat:
        axis.axis("off")
    plt.show()
print("wrong with all three seeds:", found["FractalNet"]["wrong_by_all"])

# %% [markdown]
# The first one is said to be a platelet, and it is a white cell: the network is sure, it is
# *right*, and the label is wrong. In another one a platelet lies on a red cell, so that both names
# are true. One is a white cell of which the square shows only the pale, granular inside; here the
# network is wrong. What is left are faint dots, at the edge of a photograph or between cells.
# **Look at the surest mistakes before you trust a percentage**: some of the "errors" are in the
# data, and no network can be better than its labels.
#
# ## What this must not be used for
#
# Nothing of what you have seen is a medical device, and no number here says that it could be one.
#
# - **364 photographs, from one laboratory, as it looks.** Another one has another microscope, and
#   another violet. Nobody has measured what happens there; expect that it breaks.
# - **Whose blood it is, nobody knows.** The files name no patients. If two photographs show the
#   same blood, one may be for training and the other for testing, and all our numbers are too good.
# - **A person chose the squares.** The network is shown the middle of a cell that somebody found.
#   It never has to find one, never sees an empty square, dirt, or two cells as one. In a photograph
#   it would.
# - **Labels of nobody in particular.** Boxes are missing, some are doubled, one name at least is
#   wrong, and nobody says who drew them. No haematologist has checked an answer of this network.
# - **69 platelets.** A recall of 97 % on them may be 93 % or 100 % on the next.
# - **No count, no diagnosis.** Which cells there are is the easy question. Whether they are ill is
#   another one, and for that there is not one example here.
#
# ## What the article's promise amounts to here

# %%
print(f"{'median of three seeds':24}{'accuracy':>10}" + "".join(f"{k:>12}" for k in classes))
for label, some in applications.by_network(rows).items():
    parts = {label: some}
    if label == "FractalNet":
        parts |= {f"  its column {c}": [row["columns"][c] for row in some] for c in range(2)}
    for name, facts in parts.items():
        accuracy = 100 * np.median([each["accuracy"] for each in facts])
        recalls = 100 * np.median([each["recall"] for each in facts], axis=0)
        print(f"{name:24}{accuracy:8.2f} %" + "".join(f"{recall:10.1f} %" for recall in recalls))
expect(
    all(medians[label][1:].min() >= 95 for label in ("plain", "ResNet", "FractalNet")),
    "all three tell these cells apart",
)
difference = medians["plain"][2] - medians["FractalNet"][2]
expect(round(difference * counts[2] / 100) == 2, "the others find two platelets of 69 more")
expect(
    difference < 2 * 100 * found["FractalNet"]["recall_error"][2],
    "that is within the error of the photographs",
)

# %% [markdown]
# "Applications: medical imaging", says the article. A FractalNet does tell these cells apart. So do
# the plain network and the ResNet of the same cost, and after ten epochs they find two platelets of
# 69 more than it does, which is within the error of the photographs. What decided whether platelets
# were found was not the architecture. It was how many examples there were, what we cut out, and
# what we asked at the end.
#
# You now own four questions for any number of a classifier: *of each class? ± what, over which
# unit? does it keep its word? what do the surest mistakes look like?*
#
# ## Now read the source
#
# [`data/bccd.py`](../tinyfractal/data/bccd.py) turns a stranger's photographs and XML into cells.
# Read what `load_bccd` promises, then `_right`, which decides about each box, and `square_of`.
# [`draw/confusion.py`](../tinyfractal/draw/confusion.py) counts the table in one line of
# `confusion_matrix`. In [`ops/loss.py`](../tinyfractal/ops/loss.py) look for `weight`: it
# multiplies `q`, and so the gradient. [`train/preflight.py`](../tinyfractal/train/preflight.py) has
# `scaled`, which says why the loss of a batch is divided by its number of images, and not by its
# weights.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/13_blood_cells.py`.
#
# **1. Recall and precision.** From a confusion matrix $(K, K)$, rows for what is there, return the
# recall and the precision of each class, two arrays $(K,)$.


# %%
def recall_precision(matrix): ...


check_recall_precision(recall_precision)

# %% [markdown]
# **2. Balanced weights.** From labels $(N,)$ return one weight for each of `classes` classes: all
# classes pull equally, and a cell counts 1 on average.


# %%
def balanced_weights(labels, classes): ...


check_balanced_weights(balanced_weights)

# %% [markdown]
# **3. Does it keep its word?** `sure` $(N,)$ has the probability of each answer, `right` $(N,)$
# whether it was right. Return the expected calibration error with `bins` bins of equal width from 0
# to 1, each without its left edge and with its right one.


# %%
def expected_calibration_error(sure, right, bins): ...


check_expected_calibration_error(expected_calibration_error)

# %% [markdown]
# **4. Photographs, not cells.** `right` $(N,)$ says which cells were right, `groups` $(N,)$ on
# which photograph each is. Return the standard error of the accuracy, by drawing photographs with
# the generator `rng`, 1,000 times.


# %%
def error_by_group(right, groups, rng): ...


check_error_by_group(error_by_group)

# %% [markdown]
# **5. Undo the weights.** Take the class weights $(K,)$ out of probabilities $(N, K)$ of a network
# that was trained with them.


# %%
def undo_weights(probabilities, weights): ...


check_undo_weights(undo_weights)
