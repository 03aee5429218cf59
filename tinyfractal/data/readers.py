"""Reading the files in which MNIST and its relatives are published, and plain .npz files.

IDX, the format of MNIST, Fashion-MNIST and KMNIST, is as plain as a format gets: two zero bytes,
one byte for the kind of number, one for the number of axes, the length of each axis as a big-endian
32-bit integer, then the numbers. An .npz is NumPy's own zip of named arrays, in which Keras and
MedMNIST publish theirs.

Nothing here runs code from a file, and whatever is missing, cut short, damaged or swapped raises
`DataError`. Images get a channel axis, `(N, H, W, C)`, and bytes stay bytes.
"""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import numpy as np

from ..check import PathLike
from ..errors import DataError
from ..npz import read_npz, reading
from .cifar import load_cifar10, load_cifar100
from .dataset import Dataset
from .digits import load_digits
from .files import download_hint

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

MNIST_CLASSES = {
    "mnist": "0,1,2,3,4,5,6,7,8,9",
    "fashion-mnist": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot",
    "kmnist": "o,ki,su,tsu,na,ha,ma,ya,re,wo",
}

NPZ_LAYOUTS = (  # train images, train labels, test images, test labels
    ("x_train", "y_train", "x_test", "y_test"),  # Keras
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
)
MOST_CLASSES = 65_536  # more than any .npz of images has; a higher label is a mistake


def load(name_or_path: PathLike, folder: PathLike = "data") -> tuple[Dataset, Dataset]:
    """A data set as (train, test), by its name or from an .npz file.

    Names: "digits" (always there), "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100".
    They are looked for in `folder/name`, where `download` puts them, otherwise in `folder`.
    Raises `DataError` where there is no such data, and says how to download it.
    """
    name = os.fspath(name_or_path)
    if name.endswith(".npz"):
        return load_npz(name)
    if name == "digits":
        return load_digits()
    place = Path(folder) / name
    if not place.exists() and Path(folder).exists():
        place = Path(folder)
    if name == "cifar10":
        return load_cifar10(place)
    if name == "cifar100":
        return load_cifar100(place)
    if name in MNIST_CLASSES:
        return load_mnist(place, name)
    known = ", ".join(["digits", *MNIST_CLASSES, "cifar10", "cifar100"])
    raise DataError(f"data set {name!r}: expected a path that ends in .npz or one of {known}")


# ----- IDX: MNIST and its relatives -----


def read_idx(path: PathLike) -> np.ndarray:
    """The array in an IDX file, gzipped or not (told apart by content, not by name).

    Any shape and each of IDX's six kinds of number, in the byte order of this machine.
    Raises `DataError` where the file is missing, damaged or not IDX.
    """
    with reading(path):
        content = Path(path).read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    start = 4 + 4 * content[3] if len(content) >= 4 else 4
    if len(content) < start or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise DataError(
            f"{path}: not an IDX file; expected 0, 0, a number type and the number of axes, "
            f"got {list(content[:4])} and {max(0, len(content) - 4)} more bytes"
        )
    dtype = np.dtype(IDX_TYPES[content[2]])
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(
            f"{path}: {dtype.name} of shape {shape} takes {expected} bytes, got {len(content)}"
        )
    with reading(path):  # NumPy refuses a shape with a zero whose other axes are absurdly long
        array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def load_mnist(folder: PathLike, name: str = "mnist") -> tuple[Dataset, Dataset]:
    """MNIST, Fashion-MNIST or KMNIST from the four IDX files in `folder`, as (train, test).

    name: "mnist", "fashion-mnist" or "kmnist"; it decides the names of the classes. Images are
    `(N, 28, 28, 1)` uint8. The files have their official names, `train-images-idx3-ubyte` and so
    on, or those with a dot, `train-images.idx3-ubyte`, each with or without `.gz`.
    Raises `DataError` where a file is missing, damaged or not what its name says.
    """
    if name not in MNIST_CLASSES:
        raise ValueError(f"name: expected one of {', '.join(MNIST_CLASSES)}, got {name!r}")

    def part(prefix: str) -> Dataset:
        images_file = _find_idx(Path(folder), f"{prefix}-images", "idx3-ubyte", name)
        labels_file = _find_idx(Path(folder), f"{prefix}-labels", "idx1-ubyte", name)
        images, labels = read_idx(images_file), read_idx(labels_file)
        if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
            raise DataError(
                f"{images_file}: expected images, uint8 of shape (N, 28, 28), "
                f"got {images.dtype} of shape {images.shape}"
            )
        if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise DataError(
                f"{labels_file}: expected labels, uint8 of shape ({len(images)},) for as many "
                f"images, got {labels.dtype} of shape {labels.shape}"
            )
        return _dataset(labels_file, images, labels, MNIST_CLASSES[name].split(","), name)

    return part("train"), part("t10k")


def _find_idx(folder: Path, stem: str, kind: str, name: str) -> Path:
    for spelling in (f"{stem}-{kind}", f"{stem}.{kind}"):
        for file in (folder / spelling, folder / f"{spelling}.gz"):
            if file.is_file():
                return file
    raise DataError(f"{folder}: no {stem}-{kind} or {stem}-{kind}.gz in it. {download_hint(name)}")


# ----- .npz: named arrays -----


def load_npz(path: PathLike) -> tuple[Dataset, Dataset]:
    """Images and labels from an .npz file, as (train, test). The names of its arrays are either

    - x_train, y_train, x_test, y_test, as Keras has them;
    - train_images, train_labels, test_images, test_labels, as MedMNIST has them (its val_images
      are left alone);
    - images, labels: a fixed fifth of each class becomes the test part.

    Images are `(N, H, W)` or `(N, H, W, C)`, uint8 or floats (which become float32); labels are
    integers `(N,)` or `(N, 1)`. The classes are called by their numbers.
    Raises `DataError` where the file is missing, damaged or holds something else.
    """
    arrays = read_npz(path)
    for keys in NPZ_LAYOUTS:
        if all(key in arrays for key in keys):
            train_images, train_labels, test_images, test_labels = (arrays[key] for key in keys)
            classes = _numbered(path, train_labels, test_labels)
            name = Path(path).stem
            return (
                _dataset(path, train_images, train_labels, classes, name),
                _dataset(path, test_images, test_labels, classes, name),
            )
    if "images" in arrays and "labels" in arrays:
        images, labels = arrays["images"], arrays["labels"]
        return _dataset(path, images, labels, _numbered(path, labels), Path(path).stem).split(0.2)
    layouts = "; ".join(", ".join(keys) for keys in (*NPZ_LAYOUTS, ("images", "labels")))
    raise DataError(f"{path}: expected arrays named {layouts}; got {', '.join(arrays) or 'none'}")


def _numbered(path: PathLike, *labels: np.ndarray) -> list[str]:
    """Class names "0", "1", ... up to the highest label."""
    for part in labels:
        if part.dtype.kind not in "iu":
            raise DataError(f"{path}: labels must be integers, got {part.dtype}")
    highest = max((int(part.max()) for part in labels if part.size), default=-1)
    if highest >= MOST_CLASSES:
        raise DataError(f"{path}: labels must be below {MOST_CLASSES}, got {highest}")
    return [str(number) for number in range(highest + 1)]


def _dataset(
    path: PathLike, images: np.ndarray, labels: np.ndarray, classes: list[str], name: str
) -> Dataset:
    """A Dataset from arrays as they were read; a complaint names the file."""
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large becomes infinite, which Dataset refuses
            images = images.astype(np.float32)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    try:
        return Dataset(images, labels.astype(np.int64), tuple(classes), name)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
