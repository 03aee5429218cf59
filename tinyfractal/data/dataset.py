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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, ShapeError

CHUNK = 256  # images per step where a whole dataset in floats would not fit in memory


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, their labels, and what the labels mean.

    images: `(N, H, W, C)`, uint8 with values 0 to 255, or float32 (usually 0 to 1).
    labels: `(N,)` int64, each the position of a name in `classes`.
    classes: the name of each class.
    name: what the set is called, such as "cifar10".

    `len(data)` is N and `data[10:20]`, `data[[3, 1, 4]]`, `data[data.labels == 7]` are Datasets.
    Raises `DataError` where the parts do not fit together.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        images, labels, count = self.images, self.labels, len(self.classes)
        if not isinstance(images, np.ndarray) or images.dtype not in (np.uint8, np.float32):
            raise DataError(f"{self.name}: images must be uint8 or float32, got {_kind(images)}")
        if images.ndim != 4 or 0 in images.shape[1:]:
            raise DataError(f"{self.name}: images must be (N, H, W, C), got shape {images.shape}")
        if not isinstance(labels, np.ndarray) or labels.dtype != np.int64:
            raise DataError(f"{self.name}: labels must be int64, got {_kind(labels)}")
        if labels.shape != images.shape[:1]:
            raise DataError(
                f"{self.name}: {len(images)} images need labels of shape ({len(images)},), "
                f"got {labels.shape}"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < count:
            raise DataError(
                f"{self.name}: labels must be 0 to {count - 1}, one for each of the {count} "
                f"classes, got {labels.min()} to {labels.max()}"
            )
        if images.dtype == np.float32 and not all(
            np.isfinite(part).all() for part in _parts(images)
        ):
            raise DataError(f"{self.name}: images hold NaN or infinite values")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Dataset({self.name}: {len(self)} images {self.shape}, {len(self.classes)} classes)"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Dataset:
        """The examples that a slice, a list or array of positions, or a bool array names."""
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.size == 0 and index.dtype != bool:
                index = index.astype(np.int64)  # an empty list would otherwise count as floats
            if index.ndim != 1 or index.dtype.kind not in "iub":
                raise IndexError(
                    f"{self.name}: index with a slice, an array of positions or a bool array, "
                    f"got {_kind(index)} of shape {index.shape}; for one example write data[i:i+1]"
                )
        return Dataset(self.images[index], self.labels[index], self.classes, self.name)

    def split(self, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Two datasets, the second with `fraction` of the examples of every class.

            train, validation = train.split(0.1)

        Within a class the examples are ranked by the SHA-256 of the text "seed:position" and the
        first ones go to the second part. So the split is as good as random, yet the same on every
        machine and with every version of NumPy. Both parts keep the order of the examples.
        Raises `ValueError` unless 0 < fraction < 1.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction: expected a number between 0 and 1, got {fraction}")
        chosen = np.zeros(len(self), dtype=bool)
        for label in range(len(self.classes)):
            positions = np.flatnonzero(self.labels == label)
            digests = [hashlib.sha256(f"{seed}:{i}".encode()).digest() for i in positions]
            ranked = [i for _, i in sorted(zip(digests, positions, strict=True))]
            chosen[ranked[: int(fraction * len(ranked) + 0.5)]] = True
        return self[~chosen], self[chosen]


def to_unit(images: np.ndarray) -> np.ndarray:
    """Images as float32: bytes 0 to 255 become 0 to 1, float32 stays as it is."""
    if images.dtype == np.uint8:
        return images / np.float32(255)
    return images.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Standardize:
    """Subtract the mean of each channel and divide by its standard deviation.

        standardize = Standardize.fit(train.images)
        batch = standardize(test.images[:100])

    mean, std: `(C,)` float32, in units of 0 to 1 where the images are bytes.
    Raises `ShapeError` where they do not fit together, `DataError` where a std is not positive.
    """

    mean: np.ndarray
    std: np.ndarray

    def __post_init__(self) -> None:
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
    def fit(cls, images: np.ndarray) -> Standardize:
        """Measure mean and standard deviation of each channel of `(N, H, W, C)` images.

        A channel that never changes gets a standard deviation of 1, so it becomes all zeros.
        """
        if images.ndim != 4 or images.size == 0:
            raise DataError(f"images: expected (N, H, W, C) with N > 0, got shape {images.shape}")
        count = images.size // images.shape[-1]
        mean = sum(_channel_sums(part) for part in _parts(images)) / count
        squares = sum(_channel_sums((part - mean) ** 2) for part in _parts(images))
        std = np.sqrt(squares / count)
        # float32 keeps 7 digits: a spread this far below the mean is rounding, not signal.
        std = np.where(std > 1e-6 * np.abs(mean), std, 1.0)
        return cls(mean.astype(np.float32), std.astype(np.float32))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Standardized copy of `(N, H, W, C)` uint8 or float32 images, as float32."""
        if images.ndim != 4 or images.shape[-1] != len(self.mean):
            raise ShapeError(
                f"images: expected (N, H, W, {len(self.mean)}) as Standardize was fitted, "
                f"got {images.shape}"
            )
        # (x / 255 - mean) / std = (x - 255 mean) / (255 std): bytes become floats on the way.
        scale = 255 if images.dtype == np.uint8 else 1
        result = np.subtract(images, scale * self.mean, dtype=np.float32)
        result *= 1 / (scale * self.std)
        return result

    def as_dict(self) -> dict[str, list[float]]:
        """Mean and std as lists of numbers, which JSON can hold."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Sequence[float]]) -> Standardize:
        """The Standardize that `as_dict` described."""
        return cls(np.array(numbers["mean"], np.float32), np.array(numbers["std"], np.float32))


def _parts(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), CHUNK):
        yield to_unit(images[start : start + CHUNK])


def _channel_sums(images: np.ndarray) -> np.ndarray:
    return images.sum(axis=0, dtype=np.float64).sum(axis=(0, 1))


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
