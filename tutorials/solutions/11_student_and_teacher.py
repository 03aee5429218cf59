# %% [markdown]
# # Solutions of chapter 11: Can a shallow network teach a deep one?
#
# Run it in the folder of the chapters: `python -m solutions.11_student_and_teacher`. After each
# solution comes an answer that looks right and is not.

# %%
import numpy as np

from exercises.student_and_teacher import (
    check_agreement,
    check_choose,
    check_overtakes,
    check_pooled,
)

# %% [markdown]
# **1. Overtaken for good.** Look for the last moment at which the student is *not* ahead. The
# answer is the one after it.


# %%
def overtakes(student, teacher):
    behind = np.flatnonzero(student >= teacher)
    first = behind[-1] + 1 if len(behind) else 0
    return first if first < len(student) else None


assert check_overtakes(overtakes)


def first_crossing(student, teacher):
    ahead = np.flatnonzero(student < teacher)  # the student may fall behind again
    return ahead[0] if len(ahead) else None


assert not check_overtakes(first_crossing)

# %% [markdown]
# **2. Agreement.** One row for each column, then the pairs above the diagonal of the matrix.


# %%
def agreement(outputs):
    matrix = np.corrcoef(outputs.reshape(len(outputs), -1))
    return matrix[np.triu_indices(len(outputs), 1)].mean()


assert check_agreement(agreement)


def with_itself(outputs):
    return np.corrcoef(outputs.reshape(len(outputs), -1)).mean()  # has the ones of the diagonal


def cosine(outputs):
    rows = outputs.reshape(len(outputs), -1)  # activations are positive: all cosines are high
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows @ rows.T)[np.triu_indices(len(rows), 1)].mean()


assert not check_agreement(with_itself)
assert not check_agreement(cosine)

# %% [markdown]
# **3. Pooled statistics.** Pool the mean of the numbers and the mean of their squares; in each
# batch the latter is variance + mean².


# %%
def pooled(means, variances, sizes):
    mean = np.average(means, weights=sizes)
    square = np.average(variances + means**2, weights=sizes)
    return mean, square - mean**2


assert check_pooled(pooled)


def inside_only(means, variances, sizes):
    return np.average(means, weights=sizes), np.average(variances, weights=sizes)


def all_batches_alike(means, variances, sizes):
    return means.mean(), (variances + means**2).mean() - means.mean() ** 2


assert not check_pooled(inside_only)
assert not check_pooled(all_batches_alike)

# %% [markdown]
# **4. An honest choice.** The test accuracies of the other rates are never looked at.


# %%
def choose(validation, test):
    rate = max(validation, key=lambda rate: np.mean(validation[rate]))
    values = np.array(test[rate])
    return rate, values.mean(), values.std(ddof=1) / np.sqrt(len(values))


assert check_choose(choose)


def best_on_test(validation, test):
    return choose(test, test)


def luckiest_seed(validation, test):
    rate = max(validation, key=lambda rate: max(validation[rate]))
    values = np.array(test[rate])
    return rate, values.mean(), values.std(ddof=1) / np.sqrt(len(values))


assert not check_choose(best_on_test)
assert not check_choose(luckiest_seed)
