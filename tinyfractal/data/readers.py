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
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..check import PathLike, checked
from ..errors import DataError
from ..files import open_file, reading, user_path
from ..files.npz import BLOCK, check_unpacked, read_npz
from .bccd import load_bccd
from .cifar import load_cifar10, load_cifar100
from .dataset import Dataset
from .digits import load_digits
from .folder import ImageFolder
from .fsdd import load_fsdd
from .sources import SOURCES, download_hint

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

MNIST_CLASSES = {
    "mnist": "0,1,2,3,4,5,6,7,8,9",
    "fashion-mnist": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot",
    "kmnist": "o,ki,su,tsu,na,ha,ma,ya,re,wo",
}

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}

NPZ_LAYOUTS = (  # train images, train labels, test images, test labels
    ("x_train", "y_train", "x_test", "y_test"),  # Keras
    ("train_images", "train_labels", "test_images", "test_labels"),  # MedMNIST
)
DARK = 127  # the brightest spot of a whole data set that is no photographs
MOST_CLASSES = 65_536  # more than any .npz of images has; a higher label is a mistake


@checked
def load(name_or_path: PathLike, folder: PathLike = "data") -> tuple[Dataset, Dataset]:
    """A data set as (train, test), by its name, from an .npz file or a folder (`ImageFolder`).

    Names: "digits" (always there), "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100",
    "fsdd" (spoken digits), "bccd" and "bloodmnist" (blood cells).
    They are looked for in `folder/name`, where `download` puts them, where torchvision puts them,
    and in `folder` itself.
    Raises `DataError` where there is no such data, and says how to download it.
    """
    name = os.fspath(name_or_path)
    if name.endswith(".npz"):
        return load_npz(name)
    if name in READERS:
        return READERS[name](folder)
    if os.path.isdir(user_path(name)) or name.endswith(".zip"):
        pictures = ImageFolder(name)
        return pictures.train, pictures.test
    raise DataError(
        f"load: data set {name!r}: expected a folder of pictures, a path that ends in .npz or one "
        f"of {', '.join(READERS)}"
    )


# ----- IDX: MNIST and its relatives -----


@checked
def read_idx(path: PathLike) -> np.ndarray:
    """The array in an IDX file, gzipped or not (told apart by content, not by name).

    Any shape and each of IDX's six kinds of number, in the byte order of this machine.
    Raises `DataError` where the file is missing, damaged, not IDX or too large unpacked.
    """
    path = user_path(path)
    with reading(path), open_file(path) as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            return _idx(path, file, zipped)
        with gzip.open(file) as stream:
            return _idx(path, stream, zipped)


def _idx(path: Path, stream: Any, zipped: bool) -> np.ndarray:
    """The array, from a file that is open; never more is read than it says it has."""
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES:
        raise DataError(
            f"{path}: not an IDX file; expected 0, 0, a number type and the number of axes, "
            f"got {list(start)}"
        )
    dtype = np.dtype(IDX_TYPES[start[2]])
    axes = stream.read(4 * start[3])
    if len(axes) < 4 * start[3]:
        raise DataError(f"{path}: not an IDX file; it ends within its {start[3]} axes")
    shape = tuple(np.frombuffer(axes, ">u4").tolist())
    size = math.prod(shape) * dtype.itemsize
    if zipped:
        check_unpacked(path, size)
    content = bytearray()
    while len(content) <= size and (block := stream.read(min(BLOCK, size + 1 - len(content)))):
        content += block
    if len(content) != size:
        more = "more" if len(content) > size else len(content)
        raise DataError(f"{path}: {dtype.name} of shape {shape} takes {size} bytes, got {more}")
    # NumPy itself refuses a shape with a zero whose other axes are absurdly long.
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


@checked
def load_mnist(
    folder: PathLike, name: Literal["mnist", "fashion-mnist", "kmnist"] = "mnist"
) -> tuple[Dataset, Dataset]:
    """MNIST, Fashion-MNIST or KMNIST from its four IDX files, as (train, test).

    folder: where they lie, or the folder above `mnist`, or above torchvision's `MNIST/raw`.
    name: which of the three it is; it decides the names of the classes. Images are
    `(N, 28, 28, 1)` uint8. The files have their official names, `train-images-idx3-ubyte` and so
    on, or those with a dot, `train-images.idx3-ubyte`, each with or without `.gz`.
    The three look alike, so files known to be another one are refused, and where neither the
    files nor their folder say which one it is, there is a warning.
    Raises `DataError` where a file is missing, damaged or not what its name says.
    """
    place = _mnist_place(user_path(folder), name)

    def part(prefix: str) -> Dataset:
        images_file = _find_idx(place, f"{prefix}-images", "idx3-ubyte", name)
        labels_file = _find_idx(place, f"{prefix}-labels", "idx1-ubyte", name)
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
        return _dataset(str(labels_file), images, labels, MNIST_CLASSES[name].split(","), name)

    _check_mnist(place, name)
    return part("train"), part("t10k")


def _mnist_place(folder: Path, name: str) -> Path:
    """The folder with the files of that name, if there is one."""
    places = (folder / name, folder / TORCHVISION[name] / "raw", folder / "raw", folder)
    return next(
        (place for place in places if _spelled(place, "train-images", "idx3-ubyte")), folder
    )


def _check_mnist(place: Path, name: str) -> None:
    """Refuse files known to be another set; warn where nothing says that they are this one."""
    known = set()
    for file in (
        _find_idx(place, "train-images", "idx3-ubyte", name),
        _find_idx(place, "t10k-images", "idx3-ubyte", name),
    ):
        known.add(_published(file))
    for other in known - {name, None}:
        raise DataError(f"{place}: these are the files of {other}, not of {name}")
    inside = Path(os.path.abspath(place)).parts[-2:]
    if None in known and name != inside[-1] and (TORCHVISION[name], "raw") != inside:
        warnings.warn(
            f"{place}: taken for {name}, but nothing says that these files are {name}; "
            f"put them into a folder of that name",
            stacklevel=4,
        )


def _published(file: Path) -> str | None:
    """The name of the data set that this file was published in, going by its checksum."""
    with reading(file):
        for name, (_, archives) in SOURCES.items():
            for archive in archives:
                if archive.size == file.stat().st_size:
                    with open_file(file) as stream:
                        if hashlib.file_digest(stream, "sha256").hexdigest() == archive.sha256:
                            return name
    return None


def _spelled(folder: Path, stem: str, kind: str) -> Path | None:
    """The file in `folder`, however it is spelled."""
    names = (f"{stem}{dot}{kind}{zipped}" for dot in "-." for zipped in ("", ".gz"))
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


def _find_idx(folder: Path, stem: str, kind: str, name: str) -> Path:
    file = _spelled(folder, stem, kind)
    if file is None:
        raise DataError(
            f"{folder}: no {stem}-{kind} or {stem}-{kind}.gz in this folder. {download_hint(name)}"
        )
    return file


# ----- .npz: named arrays -----


@checked
def load_npz(path: PathLike) -> tuple[Dataset, Dataset]:
    """Images and labels from an .npz file, as (train, test). The names of its arrays are either

    - x_train, y_train, x_test, y_test, as Keras has them;
    - train_images, train_labels, test_images, test_labels, as MedMNIST has them (its val_images
      are left alone);
    - images, labels: a fixed fifth of each class becomes the test part.

    Images are `(N, H, W)` or `(N, H, W, C)`, uint8 or floats (which become float32, or uint8
    where they are whole numbers up to 255); labels are integers `(N,)` or `(N, 1)`. The classes
    are called by their numbers.
    Raises `DataError` where the file is missing, damaged or holds something else.
    """
    path = user_path(path)
    arrays = read_npz(path)
    name = path.stem
    for keys in NPZ_LAYOUTS:
        if all(key in arrays for key in keys):
            train_images, train_labels, test_images, test_labels = (arrays[key] for key in keys)
            classes = _numbered(path, train_labels, test_labels)
            train = _dataset(f"{path}: {keys[0]}", train_images, train_labels, classes, name)
            test = _dataset(f"{path}: {keys[2]}", test_images, test_labels, classes, name)
            _check_parts(path, train, test)
            return train, test
    if "images" in arrays and "labels" in arrays:
        images, labels = arrays["images"], arrays["labels"]
        data = _dataset(str(path), images, labels, _numbered(path, labels), name)
        return _fifth(str(path), data)
    layouts = "; ".join(", ".join(keys) for keys in (*NPZ_LAYOUTS, ("images", "labels")))
    raise DataError(f"{path}: expected arrays named {layouts}; got {', '.join(arrays) or 'none'}")


@checked
def arrays(
    images: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
) -> tuple[Dataset, Dataset]:
    """NumPy arrays of your own as (train, test): a fixed fifth of each class is for testing.

        train, test = data.arrays(images, labels, ["cat", "dog"])

    images: `(N, H, W)` or `(N, H, W, C)`, bytes or floats from 0 to 1; floats that are whole
    numbers up to 255 count as bytes. labels: integers `(N,)` or `(N, 1)`, each the position of a
    name in `classes`; without these the classes are called by their numbers.
    Where you chose what to test on, make a `Dataset` of each part.
    Raises `DataError` where they do not fit together, or no class has 3 images.
    """
    source = f"arrays: {name}"
    names = _numbered(source, labels) if classes is None else list(classes)
    return _fifth(source, _dataset(source, images, labels, names, name))


def _fifth(source: str, data: Dataset) -> tuple[Dataset, Dataset]:
    train, test = data.split(0.2)
    if len(test) == 0:
        raise DataError(
            f"{source}: a fifth of each class is for testing, but no class has 3 images or more; "
            f"give the parts names of their own, {', '.join(NPZ_LAYOUTS[0])}"
        )
    return train, test


BLOODMNIST_CLASSES = (
    "basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte",
    "neutrophil", "platelet",
)  # fmt: skip


@checked
def load_bloodmnist(path: PathLike) -> tuple[Dataset, Dataset]:
    """BloodMNIST as (train, test): 11,959 and 3,421 cells of blood `(N, 28, 28, 3)`, 8 classes.

    path: the .npz file, its folder, or the folder above: `data` for `data/bloodmnist`. The file's
    own validation images are left alone; `train.split(0.1)` holds some out.
    By A. Acevedo et al. 2020, and J. Yang et al. (MedMNIST v2), CC BY 4.0. Raises `DataError` where
    the file is missing, damaged or has other classes.
    """
    path = user_path(path)
    places = (path, path / "bloodmnist" / "bloodmnist.npz", path / "bloodmnist.npz")
    file = next((place for place in places if os.path.isfile(place)), None)
    if file is None:
        raise DataError(f"{path}: no bloodmnist.npz at this path. {download_hint('bloodmnist')}")
    parts = load_npz(file)
    found = len(parts[0].classes)
    if found != len(BLOODMNIST_CLASSES) or parts[0].shape[2] != 3:
        raise DataError(
            f"{file}: expected pictures in colour and labels up to 7, as BloodMNIST has them, got "
            f"images of {parts[0].shape} and labels up to {found - 1}"
        )
    train, test = (
        Dataset(part.images, part.labels, BLOODMNIST_CLASSES, "bloodmnist") for part in parts
    )
    return train, test


def _numbered(path: PathLike, *labels: np.ndarray) -> list[str]:
    """Class names "0", "1", ... up to the highest label."""
    whole = [part for part in labels if part.dtype.kind in "iu" and part.size]
    highest = max((int(part.max()) for part in whole), default=0)
    if highest >= MOST_CLASSES:
        raise DataError(f"{path}: labels must be below {MOST_CLASSES}, got {highest}")
    return [str(number) for number in range(highest + 1)]


def _check_parts(path: PathLike, train: Dataset, test: Dataset) -> None:
    """Refuse a test part that is no test of what was trained."""
    if train.shape != test.shape or train.images.dtype != test.images.dtype:
        raise DataError(
            f"{path}: images for training and testing differ: {train.images.dtype} of "
            f"{train.shape} and {test.images.dtype} of {test.shape}"
        )
    unseen = np.setdiff1d(test.labels, train.labels)
    if len(unseen):
        warnings.warn(
            f"{path}: no training image has the labels {unseen[:5].tolist()} of the test part, "
            "so no network can get them right",
            stacklevel=4,
        )


def _bytes(images: np.ndarray) -> np.ndarray:
    """Floats that are whole numbers from 0 to 255 as the bytes that they are."""
    if images.dtype.kind != "f" or not (images.min() >= 0 and 1 < images.max() <= 255):
        return images
    as_bytes = images.astype(np.uint8)
    return as_bytes if (as_bytes == images).all() else images


def _remark(source: str, images: np.ndarray) -> None:
    """Warn of numbers of another scale than the pictures have that `predict` reads."""
    least, most = images.min(), images.max()
    if images.dtype == np.uint8 and 0 < most <= DARK:
        warnings.warn(
            f"{source}: images are whole numbers up to {most}, where white is 255; predict will "
            f"see far brighter pictures than these. If {most} is white, give images / {most}",
            stacklevel=5,
        )
    if images.dtype.kind == "f" and not 0 <= least <= most <= 1:
        warnings.warn(
            f"{source}: images are floats from {least:.4g} to {most:.4g} and stay as they are; "
            "predict reads pictures as 0 to 1, and will not understand them unless you "
            "save these images from 0 to 1 too",
            stacklevel=5,
        )


def _dataset(
    source: str, images: np.ndarray, labels: np.ndarray, classes: list[str], name: str
) -> Dataset:
    """A Dataset from arrays as they were read; a complaint begins with their source."""
    if images.ndim == 5 or (
        images.ndim == 4 and images.shape[1] == images.shape[2] == images.shape[3] > 4
    ):
        raise DataError(f"{source}: shape {images.shape} is three-dimensional; images are needed")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if len(images) == 0:
        raise DataError(f"{source}: empty, no images in it")
    try:
        data = Dataset(_bytes(images), labels, tuple(classes), name)
    except DataError as error:
        raise DataError(f"{source}: {str(error).removeprefix(f'Dataset {name}: ')}") from error
    _remark(source, data.images)
    return data


# ----- By name -----

READERS: dict[str, Callable[[PathLike], tuple[Dataset, Dataset]]] = {
    "digits": lambda folder: load_digits(),
    "mnist": partial(load_mnist, name="mnist"),
    "fashion-mnist": partial(load_mnist, name="fashion-mnist"),
    "kmnist": partial(load_mnist, name="kmnist"),
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "fsdd": load_fsdd,
    "bccd": load_bccd,
    "bloodmnist": load_bloodmnist,
}
