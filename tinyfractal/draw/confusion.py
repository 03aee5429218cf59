"""Which classes a network takes for which: the confusion matrix, and what can be read off it.

`labels` and `answers` are the numbers of the right and of the answered class of each image, (N,).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..check import Count, checked
from ..errors import DataError, OutOfRangeError, ShapeError

MOST_IN_A_TABLE = 20  # classes; of more the pairs that are mistaken most are listed


@checked
def confusion_matrix(labels: np.ndarray, answers: np.ndarray, classes: Count) -> np.ndarray:
    """How many images of class i (row) were answered with class j (column): (K, K) integers."""
    if classes > 2000:
        raise DataError(f"confusion_matrix: classes may be 2000 at most, got {classes}")
    check_answers("confusion_matrix", labels, answers, classes)
    pairs = labels * classes + answers
    pairs = np.bincount(pairs.astype(np.intp), minlength=classes * classes)  # 32 bits in a browser
    return pairs.reshape(classes, classes)


def check_answers(name: str, labels: np.ndarray, answers: np.ndarray, classes: int) -> None:
    """Raise unless both are (N,) integers from 0 to below `classes`."""
    if labels.ndim != 1 or labels.shape != answers.shape:
        raise ShapeError(
            f"{name}: labels and answers must be (N,), one of each for an image, got "
            f"{labels.shape} and {answers.shape}"
        )
    for argument, numbers in (("labels", labels), ("answers", answers)):
        whole = numbers.dtype.kind in "iu"
        if not whole or (numbers.size and not 0 <= numbers.min() <= numbers.max() < classes):
            raise OutOfRangeError(
                f"{name}: {argument} must be integers from 0 to {classes - 1}, the numbers "
                f"of the {classes} classes"
            )


def short_names(names: Sequence[str], most: int = 8) -> list[str]:
    """The shortest beginnings, of 4 to `most` letters, that tell the names apart; else numbers."""
    for letters in range(4, most + 1):
        short = [name[:letters].strip() for name in names]
        if len(set(short)) == len(names):
            return short
    return [str(number) for number in range(len(names))]


def confusion_text(labels: np.ndarray, answers: np.ndarray, names: Sequence[str]) -> str:
    """The confusion matrix and the recall of each class; of many classes, the most confused."""
    check_answers("confusion_text", labels, answers, len(names))
    labels = labels.astype(np.intp)  # which a browser's bincount asks for
    sizes = np.bincount(labels, minlength=len(names))
    right = np.bincount(labels[labels == answers], minlength=len(names))
    recall = [f"{100 * r / n:.1f} %" if n else "no image" for r, n in zip(right, sizes)]
    if len(names) <= MOST_IN_A_TABLE:
        return _table(confusion_matrix(labels, answers, len(names)), names, recall)
    return _pairs(labels, answers, names, sizes) + "\n\n" + _recalls(right, sizes, names, recall)


def _table(matrix: np.ndarray, names: Sequence[str], recall: list[str]) -> str:
    heads = short_names(names)
    numbered = heads[-1] == str(len(names) - 1) and heads != list(names)
    rows = [f"{i} {name}" for i, name in enumerate(names)] if numbered else list(names)
    wide = max(map(len, (*heads, str(matrix.max())))) + 2
    left = max(len("truth"), *(len(row[:30]) for row in rows))
    lines = ["rows: the truth; columns: the answer of the whole network", ""]
    lines.append(" " * left + "".join(f"{head:>{wide}}" for head in heads) + "    recall")
    for name, counts, share in zip(rows, matrix, recall):
        cells = "".join(f"{count or '·':>{wide}}" for count in counts)
        lines.append(f"{name[:30]:{left}}{cells}  {share:>8}")
    return "\n".join(lines)


def _pairs(
    labels: np.ndarray,
    answers: np.ndarray,
    names: Sequence[str],
    sizes: np.ndarray,
    limit: int = 20,
) -> str:
    wrong = labels != answers
    pairs, counts = np.unique(labels[wrong] * len(names) + answers[wrong], return_counts=True)
    lines = [f"most confused of {len(names)} classes (truth → answer of the whole network):", ""]
    shown = np.argsort(-counts, kind="stable")[:limit]
    named = [(names[pairs[k] // len(names)], names[pairs[k] % len(names)]) for k in shown]
    left = max((len(a) for a, _ in named), default=0)
    right = max((len(b) for _, b in named), default=0)
    for (truth, answer), k in zip(named, shown):
        size = sizes[pairs[k] // len(names)]
        lines.append(f"{truth:{left}} → {answer:{right}}  {counts[k]:,} of {size:,}")
    return "\n".join(lines) if named else f"no mistakes among {len(labels):,} images"


def _recalls(
    right: np.ndarray, sizes: np.ndarray, names: Sequence[str], recall: list[str], across: int = 4
) -> str:
    order = np.argsort(right / np.maximum(sizes, 1), kind="stable")
    wide = max(len(name) for name in names)
    cells = [f"{names[k]:{wide}} {recall[k]:>8}" for k in order]
    across = max(1, min(across, 100 // (wide + 12)))
    rows = ["   ".join(cells[i : i + across]) for i in range(0, len(cells), across)]
    return "\n".join(["recall of each class, the lowest first:", "", *rows])
