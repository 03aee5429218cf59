"""What a set of labelled images is, and how its numbers are brought to a common scale.

A `Dataset` is two arrays that belong together: the images, `(N, H, W, C)`, and the number of the
class of each, `(N,)`. Photographs stay in the bytes 0 to 255 they came in, a quarter of the memory
that float32 would take; they become numbers from 0 to 1 one batch at a time, in the loader.

`Standardize` moves each colour channel to mean 0 and standard deviation 1. The two numbers are
measured on the training images and then used for every image, the test images included: a network
must not learn anything from the test set, not even its brightness.
"""

from __future__ import annotations

import hashlib
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, overload

import numpy as np

from ..backend import native
from ..check import Finite, Range, checked, got, need
from ..errors import DataError, DTypeError, OutOfRangeError, ShapeError

CHUNK = 256  # images per step where a whole dataset in floats would not fit in memory
# Floats up to 255 are bytes in disguise. So are those far from the mean: what lies from 0 to 1 has
# a standard deviation of at most 0.5, and undivided white is over 500 of them.
BRIGHT, FAR = 100, 200
Example = tuple[np.ndarray, int]
Seconds = Annotated[float, Range(0.01, 3600)]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, their labels, and what the labels mean.

    images: `(N, H, W, C)`, uint8 with values 0 to 255, or floats (usually 0 to 1), which become
    float32; of booleans, True is 255.
    labels: `(N,)` integers, which become int64, each the position of a name in `classes`.
    classes: the name of each class.
    name: what the set is called, such as "cifar10".
    groups: `(N,)` numbers or texts, what each image belongs with, such as the patient or the
    speaker it is of; None where each stands for itself.
    seconds: of pictures of sounds (see `sound`), how long each sound is; None for other pictures.

    `len(data)` is N; `data[3]` is one example, the image (H, W, C) and its label, and a loop goes
    through them all. `data[10:20]`, `data[[3, 1, 4]]`, `data[data.labels == 7]` are Datasets.
    Raises `DataError` where the parts do not fit together.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    groups: np.ndarray | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        try:
            need("Dataset", "name", self.name, str)
            need("Dataset", "classes", self.classes, Sequence[str])
            need("Dataset", "seconds", self.seconds, Seconds | None)
            images, labels = pixels("Dataset", self.images), native(self.labels, "Dataset: labels")
        except TypeError as error:
            raise DataError(str(error)) from None
        named = f"Dataset {self.name}"
        _check_images(named, images)
        labels = _labels(named, labels, images, len(self.classes))
        _check_groups(named, self.groups, len(images))
        if len(set(self.classes)) != len(self.classes):
            twice = next(name for i, name in enumerate(self.classes) if name in self.classes[:i])
            raise DataError(f"{named}: classes need names that differ, got {twice!r} twice")
        fields = {"images": images, "labels": labels, "classes": tuple(self.classes)}
        for field, value in fields.items():
            object.__setattr__(self, field, value)  # the way to set a field of a frozen class

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Dataset({self.name}: {len(self)} images {self.shape}, {len(self.classes)} classes)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Dataset: ...

    @checked
    def __getitem__(self, index: Any) -> Any:
        """One example, or those that a slice, a list of positions or a bool array names."""
        index = index.numpy() if hasattr(index, "numpy") else index  # a Tensor, such as a mask
        if isinstance(index, slice):
            return self._part(index)
        if isinstance(index, (int, list, range, np.ndarray)):
            positions = np.asarray(index)
        else:  # a whole number that is none of Python's, such as a Tensor's
            positions = np.array(operator.index(index) if hasattr(index, "__index__") else None)
        if positions.size == 0 and positions.dtype != bool:
            positions = positions.astype(np.int64)  # an empty list would otherwise count as floats
        if positions.ndim > 1 or positions.dtype.kind not in ("iub" if positions.ndim else "iu"):
            raise OutOfRangeError(
                f"Dataset {self.name}: index needs a position, a slice, a list of positions "
                f"or a bool array, got {got(index)}"
            )
        self._check_positions(positions)
        if positions.ndim == 0:
            return self.images[positions], int(self.labels[positions])
        return self._part(positions)

    def _part(self, index: Any) -> Dataset:
        groups = None if self.groups is None else self.groups[index]
        return replace(self, images=self.images[index], labels=self.labels[index], groups=groups)

    def _check_positions(self, index: np.ndarray) -> None:
        count = len(self)
        if index.dtype == bool:
            if len(index) != count:
                raise OutOfRangeError(
                    f"Dataset {self.name}: a bool index needs a value for each of the {count} "
                    f"examples, got {len(index)}"
                )
        elif index.size and not -count <= index.min() <= index.max() < count:
            raise OutOfRangeError(
                f"Dataset {self.name}: index needs positions from {-count} to {count - 1}, "
                f"got {index.min()} to {index.max()}"
            )

    def __iter__(self) -> Iterator[Example]:
        return (self[i] for i in range(len(self)))

    @checked
    def split(self, fraction: Finite, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two datasets, the second with `fraction` of the examples of every class.

            train, validation = train.split(0.1)

        The examples are ranked by the SHA-256 of the text "seed:position", those of each class by
        themselves, and the first ones go to the second part. So the split is as good as random,
        yet the same on every machine and with every version of NumPy. Both parts keep the order of
        the examples.
        Where the examples have `groups`, whole groups are held out: a network that has seen a
        speaker in training is not tested on that speaker. Groups are ranked by "seed:group", and
        each that brings the classes nearer to `fraction` goes to the second part.
        Raises `ValueError` unless 0 < fraction < 1.
        """
        if not 0 < fraction < 1:
            raise ValueError(
                f"Dataset.split: fraction needs a number between 0 and 1, got {fraction}"
            )
        chosen = np.zeros(len(self), dtype=bool)
        if self.groups is not None:
            chosen = np.isin(self.groups, self._held_out(fraction, seed))
            return self[~chosen], self[chosen]
        for label in range(len(self.classes)):
            positions = np.flatnonzero(self.labels == label)
            ranked = _ranked(positions.tolist(), seed)
            chosen[ranked[: int(fraction * len(ranked) + 0.5)]] = True
        return self[~chosen], self[chosen]

    def _held_out(self, fraction: float, seed: int) -> list[Any]:
        """The groups that together have about `fraction` of the examples of every class."""
        names, group = np.unique(np.asarray(self.groups), return_inverse=True)
        counts = np.zeros((len(names), len(self.classes)))  # examples of each class in each group
        np.add.at(counts, (group, self.labels), 1)
        missing = fraction * counts.sum(axis=0)
        rows = dict(zip(names.tolist(), counts))
        held = []
        for name in _ranked(list(rows), seed):
            if np.abs(missing - rows[name]).sum() < np.abs(missing).sum():
                missing -= rows[name]
                held.append(name)
        return held


def _ranked(things: list[Any], seed: int) -> list[Any]:
    """In an order as good as random, the same everywhere."""
    digests = [hashlib.sha256(f"{seed}:{thing}".encode()).digest() for thing in things]
    return [thing for _, thing in sorted(zip(digests, things))]


def _check_groups(named: str, groups: Any, count: int) -> None:
    if groups is None:
        return
    if not isinstance(groups, np.ndarray) or groups.dtype.kind not in "iuU":
        raise DataError(
            f"{named}: groups need a NumPy array of integers or texts, got {got(groups)}"
        )
    if groups.shape != (count,):
        raise DataError(
            f"{named}: {count} images need groups of shape ({count},), got {groups.shape}"
        )


def _check_images(named: str, images: np.ndarray) -> None:
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise DataError(f"{named}: images need shape (N, H, W, C), got {images.shape}")
    _, height, width, channels = images.shape
    if height in (1, 3) and width == channels > 4:
        raise DataError(
            f"{named}: images of shape {images.shape} have the channels first; "
            "images.transpose(0, 2, 3, 1) has them last"
        )
    if images.dtype == np.float32 and not all(np.isfinite(part).all() for part in _parts(images)):
        raise DataError(f"{named}: images hold NaN or infinite values")


def _labels(named: str, labels: np.ndarray, images: np.ndarray, classes: int) -> np.ndarray:
    """The labels as int64, `(N,)`, each below the number of classes."""
    if not isinstance(labels, np.ndarray):
        raise DataError(f"{named}: labels need a NumPy array of integers, got {got(labels)}")
    if labels.ndim == 2 and labels.shape[1] > 1 and np.isin(labels, (0, 1)).all():
        raise DataError(
            f"{named}: labels of shape {labels.shape} are one-hot, labels.argmax(axis=1) has the "
            "class numbers"
            if (labels.sum(axis=1) == 1).all()
            else f"{named}: labels of shape {labels.shape} are multi-label, several labels an "
            "image, for which there is no loss here; choose one column"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{named}: labels need integers, got {labels.dtype}; if they are whole numbers, "
            "labels.astype(int)"
        )
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{named}: {len(images)} images need labels of shape ({len(images)},), "
            f"got {labels.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"{named}: labels need to be 0 to {classes - 1}, one for each of the {classes} "
            f"classes, got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64, copy=False)


def pixels(name: str, images: np.ndarray) -> np.ndarray:
    """Images as uint8, 0 to 255, or float32, in this machine's byte order.

    Floats of any size become float32, and of booleans True is 255. Raises `DTypeError` for other
    types, since nobody knows which number is white. `name`: the function that was called.
    """
    images = native(images, name)
    if not isinstance(images, np.ndarray) or (
        images.dtype.kind not in "bf" and images.dtype != np.uint8
    ):
        raise DTypeError(
            f"{name}: images need uint8 (0 to 255) or floats (0 to 1), got {got(images)}; if they "
            "are bytes, images.astype(numpy.uint8), otherwise divide them by what white is"
        )
    if images.dtype == bool:
        return images * np.uint8(255)
    if images.dtype == np.uint8:
        return images
    with np.errstate(over="ignore"):  # too large becomes infinite, which Dataset refuses
        return images.astype(np.float32, copy=False)


@checked
def to_unit(images: np.ndarray) -> np.ndarray:
    """Images as float32: bytes 0 to 255 become 0 to 1, floats stay as they are.

    Warns where floats reach 100, for then they are bytes in disguise. Raises `DTypeError` for
    integers other than uint8.
    """
    images = pixels("to_unit", images)
    if images.dtype == np.uint8:
        return images / np.float32(255)
    if images.size and images.max() > BRIGHT:
        warnings.warn(
            f"to_unit: images are floats to {images.max():.6g} and stay as they are, where 0 to 1 "
            "is usual; bytes need images.astype(numpy.uint8) or images / 255",
            stacklevel=3,
        )
    return images


@dataclass(frozen=True, eq=False)
class Standardize:
    """Subtract the mean of each channel and divide by its standard deviation.

        standardize = Standardize.fit(train.images)
        batch = standardize(test.images[:100])

    mean, std: `(C,)` floats, in units of 0 to 1 where the images are bytes.
    Raises `ShapeError` where they do not fit together, `DataError` where a std is not positive.
    """

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean), ("std", self.std)):
            need("Standardize", name, value, np.ndarray)
            if value.dtype.kind not in "fiu":
                raise DTypeError(f"Standardize: {name} needs floats, got {value.dtype}")
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape:
            raise ShapeError(
                f"Standardize: mean and std must be (C,), got {self.mean.shape}, {self.std.shape}"
            )
        if not (
            np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()
        ):
            raise DataError(
                f"Standardize: mean and std must be finite and std positive, "
                f"got {self.mean.tolist()} and {self.std.tolist()}"
            )

    @classmethod
    @checked
    def fit(cls, images: np.ndarray) -> Standardize:
        """Measure mean and standard deviation of each channel of `(N, H, W, C)` images.

        A channel that never changes gets a standard deviation of 1, so it becomes all zeros.
        Raises `DTypeError` for integers other than uint8, `DataError` for NaN, infinity or nothing.
        """
        images = pixels("Standardize.fit", images)
        if images.ndim != 4 or images.size == 0:
            raise DataError(
                f"Standardize.fit: images need shape (N, H, W, C) with N > 0, got {images.shape}"
            )
        count = images.size // images.shape[-1]
        mean = sum(_channel_sums(part) for part in _parts(images)) / count
        if not np.isfinite(mean).all():
            raise DataError("Standardize.fit: images hold NaN or infinite values")
        squares = sum(_channel_sums((part - mean) ** 2) for part in _parts(images))
        std = np.sqrt(squares / count)
        # float32 keeps 7 digits: a spread this far below the mean is rounding, not signal.
        std = np.where(std > 1e-6 * np.abs(mean), std, 1.0)
        return cls(mean.astype(np.float32), std.astype(np.float32))

    @checked
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Standardized copy of `(N, H, W, C)` images, uint8 or floats, as float32.

        Warns where floats lie hundreds of standard deviations off: bytes in disguise. Raises
        `DTypeError` for integers other than uint8, and for bytes where `fit` saw none.
        """
        images = pixels("Standardize", images)
        if images.ndim != 4 or images.shape[-1] != len(self.mean):
            raise ShapeError(
                f"Standardize: images need shape (N, H, W, {len(self.mean)}) as it was fitted, "
                f"got {images.shape}"
            )
        if images.dtype == np.uint8 and self.mean.size and self.mean.max() > 1:
            raise DTypeError(
                f"Standardize: images are bytes, which count as 0 to 1, but it was fitted to "
                f"floats with a mean of {self.mean.max():.6g}; give it the same type, "
                "images.astype(numpy.float32)"
            )
        # (x / 255 - mean) / std = (x - 255 mean) / (255 std): bytes become floats on the way.
        scale = 255 if images.dtype == np.uint8 else 1
        result = np.subtract(images, scale * self.mean, dtype=np.float32)
        result *= 1 / (scale * self.std)
        if scale == 1 and result.size and result.max() > FAR:
            warnings.warn(
                f"Standardize: images are floats to {images.max():.6g}, {result.max():.0f} "
                f"standard deviations from the mean of {self.mean.max():.3g}; "
                "bytes need images.astype(numpy.uint8) or images / 255",
                stacklevel=3,
            )
        return result

    def as_dict(self) -> dict[str, list[float]]:
        """Mean and std as lists of numbers, which JSON can hold."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    @checked
    def from_dict(cls, numbers: Mapping[str, Sequence[float]]) -> Standardize:
        """The Standardize that `as_dict` described."""
        for name in ("mean", "std"):
            if name not in numbers:
                raise DataError(f"Standardize.from_dict: numbers need {name!r}, got {got(numbers)}")
            need("Standardize.from_dict", name, numbers[name], Sequence[float])
        return cls(np.array(numbers["mean"], np.float32), np.array(numbers["std"], np.float32))


def image_digests(images: np.ndarray) -> np.ndarray:
    """Eight bytes for each image, `(N,)` uint64: images that look exactly alike have the same."""
    found = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images]
    return np.frombuffer(b"".join(found), "<u8")


def _parts(images: np.ndarray) -> Iterator[np.ndarray]:
    """Some images at a time, as floats."""
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        yield part / np.float32(255) if part.dtype == np.uint8 else part


def _channel_sums(images: np.ndarray) -> np.ndarray:
    return images.sum(axis=0, dtype=np.float64).sum(axis=(0, 1))
