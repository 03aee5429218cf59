"""Checks of chapter 11."""

from collections.abc import Callable

import numpy as np

from . import NotYet, exercise


@exercise
def check_overtakes(overtakes: Callable) -> str:
    """Against a walk from the end: as long as the student is ahead, go back."""
    rng = np.random.default_rng(0)
    cases = [
        ([3, 3, 1, 1], [2, 2, 2, 2]),
        ([3, 1, 3, 1], [2, 2, 2, 2]),
        ([1, 1, 1], [2, 2, 2]),
        ([3, 2, 2], [2, 2, 2]),
        ([1, 1, 3], [2, 2, 2]),
        *rng.integers(0, 4, size=(20, 2, 8)).tolist(),
    ]
    for student, teacher in cases:
        truth = len(student)
        while truth > 0 and student[truth - 1] < teacher[truth - 1]:
            truth -= 1
        answer = None if truth == len(student) else truth
        found = overtakes(np.array(student, float), np.array(teacher, float))
        if found is not None:
            if np.ndim(found) or isinstance(found, (bool, np.bool_)) or float(found) % 1:
                raise NotYet(f"Return one whole number, or None; you return {found!r}.")
            found = int(found)
        if found != answer:
            raise NotYet(
                f"The student's losses {student} and the teacher's {teacher}: the answer is "
                f"{answer}, yours is {found}. Ahead for good, and equal is not ahead."
            )
    return "The first crossing is often luck. What counts is the last."


@exercise
def check_agreement(agreement: Callable) -> str:
    """Pair by pair, with NumPy's own correlation."""
    rng = np.random.default_rng(0)
    for shape in ((2, 40), (3, 5, 4, 4, 2), (4, 30, 3)):
        common = rng.normal(size=shape[1:])
        levels = np.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
        outputs = (common + rng.normal(size=shape)) * levels + 3 * levels
        pairs = [
            np.corrcoef(outputs[i].ravel(), outputs[j].ravel())[0, 1]
            for i in range(shape[0])
            for j in range(i)
        ]
        found = np.asarray(agreement(outputs.copy()), float)
        if found.size != 1:
            raise NotYet(f"Return one number, the mean over all pairs, not {found.shape}.")
        found = float(found.reshape(()))
        matrix = np.corrcoef(outputs.reshape(shape[0], -1))
        if abs(found - np.mean(pairs)) < 1e-6:
            continue
        if abs(found - matrix.mean()) < 1e-6:
            raise NotYet("Each column agrees with itself perfectly. Should that count?")
        raise NotYet(
            f"For {shape[0]} columns the mean of the pairs {np.round(pairs, 3).tolist()} is "
            f"{np.mean(pairs):.3f}, yours is {found:.3f}. Did you take each column's mean away "
            "and divide by its standard deviation, over everything else?"
        )
    return "It does not change if a column is scaled or shifted, as batch norm would do."


@exercise
def check_pooled(pooled: Callable) -> str:
    """Against the mean and the variance of all the numbers laid end to end."""
    rng = np.random.default_rng(0)
    for sizes in ((5, 5), (4, 9, 2), (1, 30)):
        batches = [rng.normal(4 * i, 1 + i, size=n) for i, n in enumerate(sizes)]
        means = np.array([batch.mean() for batch in batches])
        variances = np.array([batch.var() for batch in batches])
        everything = np.concatenate(batches)
        answer = pooled(means.copy(), variances.copy(), np.array(sizes))
        mean, variance = (float(np.asarray(part).reshape(())) for part in answer)
        if abs(mean - everything.mean()) > 1e-6:
            raise NotYet(
                f"Batches of {list(sizes)} numbers with means {means.round(2).tolist()} have the "
                f"mean {everything.mean():.3f} together, yours is {mean:.3f}. Does a batch of 2 "
                "count as much as a batch of 9?"
            )
        inside = np.average(variances, weights=sizes)
        if abs(variance - inside) < 1e-6:
            raise NotYet(
                "That is the spread inside the batches. Their means differ too: is a number far "
                "from the common mean only because of its place in its own batch?"
            )
        if abs(variance - everything.var()) > 1e-6:
            raise NotYet(
                f"The variance of all numbers together is {everything.var():.3f}, yours is "
                f"{variance:.3f}. The mean of the squares is easier to pool than the variance."
            )
    return "Unlike batches have a pooled variance that none of them has."


@exercise
def check_choose(choose: Callable) -> str:
    """Choose by hand, with a table in which the best on test data is another rate."""
    validation = {0.0: [0.80, 0.82, 0.84], 0.1: [0.90, 0.86, 0.85], 0.3: [0.93, 0.80, 0.81]}
    test = {0.0: [0.90, 0.94, 0.92], 0.1: [0.80, 0.86, 0.83], 0.3: [0.81, 0.85, 0.86]}
    for swap in (False, True):
        if swap:
            validation, test = test, validation
        best = max(validation, key=lambda rate: np.mean(validation[rate]))
        values = np.array(test[best])
        truth = best, values.mean(), values.std(ddof=1) / np.sqrt(3)
        answer = choose({k: list(v) for k, v in validation.items()}, dict(test))
        rate, mean, error = (float(np.asarray(part).reshape(())) for part in answer)
        if rate != best:
            on_test = max(test, key=lambda rate: np.mean(test[rate]))
            luckiest = max(validation, key=lambda rate: max(validation[rate]))
            hint = (
                "That is the best rate on the test images, which you may not look at yet."
                if rate == on_test
                else "That is the rate of the luckiest seed. Compare means."
                if rate == luckiest
                else "Compare the means on the validation images."
            )
            raise NotYet(hint)
        if abs(mean - truth[1]) > 1e-9:
            raise NotYet(f"The rate is right; report its mean on the *test* images, {truth[1]:.3f}")
        if abs(error - truth[2]) > 1e-9:
            raise NotYet(
                f"The standard error of {list(values)} is {truth[2]:.4f}, yours is {error:.4f}: "
                "s / √n, and s divides by n - 1."
            )
    return "Chosen on one set, reported on another."
