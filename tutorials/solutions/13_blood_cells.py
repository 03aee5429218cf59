# %% [markdown]
# # Solutions of chapter 13: How can a network be 93 % right and miss every platelet?
#
# Run it in the folder of the chapters: `python -m solutions.13_blood_cells`. After each solution
# comes an answer that looks right and is not.

# %%
import numpy as np

from exercises.blood_cells import (
    check_balanced_weights,
    check_error_by_group,
    check_expected_calibration_error,
    check_recall_precision,
    check_undo_weights,
)

# %% [markdown]
# **1. Recall and precision.** A row has the cells of a class, a column those that were said to be
# of it; the diagonal has the right ones.


# %%
def recall_precision(matrix):
    right = np.diag(matrix)
    return right / matrix.sum(axis=1), right / np.maximum(matrix.sum(axis=0), 1)


assert check_recall_precision(recall_precision)


def the_other_way_round(matrix):
    recall, precision = recall_precision(matrix)
    return precision, recall


def share_of_all(matrix):
    return np.diag(matrix) / matrix.sum(), np.diag(matrix) / matrix.sum()


assert not check_recall_precision(the_other_way_round)
assert not check_recall_precision(share_of_all)
assert check_recall_precision(lambda matrix: np.array(recall_precision(matrix)))

# %% [markdown]
# **2. Balanced weights.** All cells of class $k$ together are to pull with $N/K$, and there are
# $n_k$ of them.


# %%
def balanced_weights(labels, classes):
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * counts)


assert check_balanced_weights(balanced_weights)


def only_in_proportion(labels, classes):
    counts = np.bincount(labels, minlength=classes)
    return counts.max() / counts  # scales the learning rate as well


def one_minus_the_share(labels, classes):
    return 1 - np.bincount(labels, minlength=classes) / len(labels)


assert not check_balanced_weights(only_in_proportion)
assert not check_balanced_weights(one_minus_the_share)
assert check_balanced_weights(lambda *given: list(balanced_weights(*given)))

# %% [markdown]
# **3. Expected calibration error.** The number of the bin, from 0, is how many of its right edges
# lie below the answer's probability.


# %%
def expected_calibration_error(sure, right, bins):
    error = 0.0
    number = np.ceil(sure * bins) - 1
    for b in range(bins):
        inside = number == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return error


assert check_expected_calibration_error(expected_calibration_error)


def in_a_single_bin(sure, right, bins):
    return abs(right.mean() - sure.mean())  # too sure here and too modest there cancel


def every_bin_alike(sure, right, bins):
    number = np.ceil(sure * bins) - 1
    gaps = [abs(right[number == b].mean() - sure[number == b].mean()) for b in set(number)]
    return np.mean(gaps)  # three answers count as much as three hundred


assert not check_expected_calibration_error(in_a_single_bin)
assert not check_expected_calibration_error(every_bin_alike)


def with_the_left_edge(sure, right, bins):
    error = 0.0
    for b in range(bins):
        inside = np.floor(sure * bins) == b  # an answer that is sure to 1 is in no bin
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return error


assert not check_expected_calibration_error(with_the_left_edge)

# %% [markdown]
# **4. Photographs, not cells.** Draw the numbers of photographs; how often each was drawn is how
# often its cells count.


# %%
def error_by_group(right, groups, rng):
    names, group = np.unique(groups, return_inverse=True)
    hits = np.bincount(group, weights=right)  # of each photograph
    cells = np.bincount(group)
    drawn = rng.integers(len(names), size=(1000, len(names)))
    return (hits[drawn].sum(axis=1) / cells[drawn].sum(axis=1)).std()


assert check_error_by_group(error_by_group)


def of_single_cells(right, groups, rng):
    drawn = rng.integers(len(right), size=(1000, len(right)))
    return right[drawn].mean(axis=1).std()


def spread_of_photographs(right, groups, rng):
    means = [right[groups == name].mean() for name in np.unique(groups)]
    return np.std(means)  # of one photograph, not of the mean of all


assert not check_error_by_group(of_single_cells)
assert not check_error_by_group(spread_of_photographs)

# %% [markdown]
# **5. Undo the weights.** Divide by them, and bring each row back to the sum of 1.


# %%
def undo_weights(probabilities, weights):
    divided = probabilities / weights
    return divided / divided.sum(axis=1, keepdims=True)


assert check_undo_weights(undo_weights)


def without_the_sum(probabilities, weights):
    return probabilities / weights


def once_more(probabilities, weights):
    return undo_weights(probabilities, 1 / weights)


assert not check_undo_weights(without_the_sum)
assert not check_undo_weights(once_more)


def in_place(probabilities, weights):
    probabilities /= weights
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities  # right, and the caller's probabilities are gone


assert not check_undo_weights(in_place)
