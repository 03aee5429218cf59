"""Checks of chapter 13."""

from collections.abc import Callable

import numpy as np

from . import NotYet, as_array, as_list, as_number, asked, exercise


@exercise
def check_recall_precision(recall_precision: Callable) -> str:
    """Cell by cell, with loops."""
    rng = np.random.default_rng(0)
    for classes in (2, 3, 5):
        labels = np.repeat(np.arange(classes), rng.integers(3, 30, size=classes))
        said = np.where(
            rng.random(len(labels)) < 0.7, labels, rng.integers(classes, size=len(labels))
        )
        matrix = np.zeros((classes, classes), int)
        for truth, answer in zip(labels, said):
            matrix[truth, answer] += 1
        pair = as_list(asked(recall_precision, matrix), "The answer", 2)
        recall = as_array(pair[0], "The recall", (classes,))
        # of a class that was never said there is no precision, and 0 / 0 is as good as any
        precision = as_array(pair[1], "The precision", (classes,), finite=False)
        for k in range(classes):
            there = [answer == k for truth, answer in zip(labels, said) if truth == k]
            claimed = [truth == k for truth, answer in zip(labels, said) if answer == k]
            if not np.isclose(recall[k], sum(there) / len(there)):
                raise NotYet(
                    f"Of the {len(there)} cells of class {k}, {sum(there)} were found. Which cells "
                    "does a row of the matrix count, and which a column?"
                )
            if claimed and not np.isclose(precision[k], sum(claimed) / len(claimed)):
                raise NotYet(
                    f"Of the {len(claimed)} cells that were said to be of class {k}, "
                    f"{sum(claimed)} are. Where in the matrix are those {len(claimed)}?"
                )
    return "Accuracy is the mean of the recalls, each class counted as often as it occurs."


@exercise
def check_balanced_weights(balanced_weights: Callable) -> str:
    """Every class has to pull equally, and a cell by 1 on average."""
    rng = np.random.default_rng(1)
    for counts in ((90, 10), (804, 71, 69), (1, 2, 3, 94)):
        labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        weights = asked(balanced_weights, labels, len(counts))
        weights = as_array(weights, "The answer, one weight a class,", (len(counts),))
        pulls = [sum(weights[label] for label in labels if label == k) for k in range(len(counts))]
        if not np.allclose(pulls, pulls[0]):
            raise NotYet(
                f"With {counts} cells the classes pull with {np.round(pulls, 2).tolist()} "
                "altogether. These should be equal."
            )
        mean = sum(weights[label] for label in labels) / len(labels)
        if not np.isclose(mean, 1):
            raise NotYet(
                f"The classes pull equally, but a cell counts {mean:.3f} on average and not 1: it "
                "would be as if you had changed the learning rate."
            )
    return "A class with half the cells gets twice the weight."


@exercise
def check_expected_calibration_error(expected_calibration_error: Callable) -> str:
    """Bin by bin, with loops."""
    rng = np.random.default_rng(2)
    for bins, size in ((10, 400), (5, 60), (2, 9)):
        sure = rng.uniform(0.34, 1, size=size)
        sure[0] = 1.0  # two edges
        sure[1:4] = 0.5 if bins % 2 == 0 else 1.0
        right = rng.random(size) < 0.67  # too modest below that, too sure above
        total = 0.0
        for b in range(bins):
            inside = [n for n in range(size) if b / bins < sure[n] <= (b + 1) / bins]
            if inside:
                hits = sum(bool(right[n]) for n in inside) / len(inside)
                claim = sum(sure[n] for n in inside) / len(inside)
                total += len(inside) / size * abs(hits - claim)
        found = as_number(asked(expected_calibration_error, sure, right, bins), "The error")
        if np.isclose(found, abs(right.mean() - sure.mean())) and not np.isclose(found, total):
            raise NotYet("In one bin the two sides may cancel. Each bin has a gap of its own.")
        if not np.isclose(found, total):
            raise NotYet(
                f"With {bins} bins and {size} answers it is {total:.4f}, you have {found:.4f}. A "
                "bin counts as much as there are answers in it; an empty one counts nothing. And "
                "an answer on an edge, such as 1, belongs to the bin on its left."
            )
    return "0 for a network that keeps its word."


@exercise
def check_error_by_group(error_by_group: Callable) -> str:
    """Against s / √G for groups of equal size, where that is the answer."""
    rng = np.random.default_rng(3)
    for groups, size, alike in ((60, 12, True), (40, 8, False), (90, 4, True)):
        if alike:  # a photograph is right or wrong as a whole, nearly
            chance = np.repeat(rng.choice([0.2, 1.0], size=groups), size)
        else:
            chance = np.full(groups * size, 0.7)
        right = rng.random(groups * size) < chance
        names = np.repeat([f"photograph {g}" for g in rng.permutation(groups)], size)
        means = right.reshape(groups, size).mean(axis=1)
        truth = means.std() / np.sqrt(groups)
        single = right.std() / np.sqrt(len(right))
        order = rng.permutation(len(right))
        draws = np.random.default_rng(4)
        found = asked(error_by_group, right[order], names[order], draws)
        found = as_number(found, "The standard error")
        if abs(found - truth) < 0.12 * truth:
            continue
        if abs(found - single) < 0.12 * single:
            raise NotYet(
                "You draw cells. Cells of one photograph are right or wrong together: draw "
                "photographs, and take all the cells of each."
            )
        raise NotYet(
            f"For {groups} photographs of {size} cells the standard error is {truth:.4f}, you "
            f"have {found:.4f}. Draw as many photographs as there are, with repetition, 1,000 "
            "times: the standard deviation of the accuracy over the draws is the answer."
        )
    return "More cells of the same photograph make an error bar hardly shorter."


@exercise
def check_undo_weights(undo_weights: Callable) -> str:
    """Against Bayes' rule, where everything is known."""
    rng = np.random.default_rng(5)
    for frequency in ((0.85, 0.08, 0.07), (0.5, 0.5), (0.97, 0.01, 0.01, 0.01)):
        share = np.array(frequency)
        weights = 1 / (len(share) * share)  # balanced
        likelihood = rng.gamma(0.5, size=(40, len(share)))  # p(image | class)
        truth, learned = likelihood * share, likelihood * share * weights
        truth /= truth.sum(axis=1, keepdims=True)
        learned /= learned.sum(axis=1, keepdims=True)
        found = as_array(asked(undo_weights, learned, weights), "The result", learned.shape)
        if not np.allclose(found.sum(axis=1), 1):
            raise NotYet("Each row should add up to 1 again: what do you divide it by?")
        if np.allclose(found, truth):
            continue
        if np.allclose(found, learned * weights / (learned * weights).sum(axis=1, keepdims=True)):
            raise NotYet("That is the same step once more. Which way leads back?")
        raise NotYet(
            "A weighted loss is smallest where p(class) is in proportion to weight times "
            "frequency. What takes the weight out again?"
        )
    return "The decision may keep the weights; the probability should not."
