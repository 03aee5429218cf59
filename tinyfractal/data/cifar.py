"""CIFAR-10 and CIFAR-100: 60,000 photographs of 32 by 32 pixels in 10 or 100 classes.

By Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; from
https://www.cs.toronto.edu/~kriz/cifar.html, the binary version. It has no header at all, only
records: one label byte (CIFAR-100: two, the group and the class), then the 1,024 red, 1,024 green
and 1,024 blue bytes. The other version on that page is Python pickles, which can run code when
they are opened; we leave it alone.

The archive is read where it lies: no file in it is ever written to disk.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..check import PathLike, checked
from ..errors import DataError
from ..files import open_file, reading, user_path
from ..files.npz import BLOCK
from .dataset import Dataset
from .sources import download_hint

PIXELS = 3 * 32 * 32

CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100_GROUPS = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things
large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2"""
CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange
orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit
raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
turtle wardrobe whale willow_tree wolf woman worm"""


@dataclass(frozen=True)
class Release:
    """What a published archive holds."""

    name: str
    archive: str
    folder: str
    pickles: tuple[str, str]  # the other version, as a folder and as an archive
    records: dict[str, int]  # in each file; the last file is the test part
    label_bytes: int

    def size(self, file: str) -> int:
        """Bytes of one of the files."""
        return self.records[file] * (self.label_bytes + PIXELS)


CIFAR10 = Release(
    name="cifar10",
    archive="cifar-10-binary.tar.gz",
    folder="cifar-10-batches-bin",
    pickles=("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    records={f"data_batch_{i}.bin": 10_000 for i in range(1, 6)} | {"test_batch.bin": 10_000},
    label_bytes=1,
)
CIFAR100 = Release(
    name="cifar100",
    archive="cifar-100-binary.tar.gz",
    folder="cifar-100-binary",
    pickles=("cifar-100-python", "cifar-100-python.tar.gz"),
    records={"train.bin": 50_000, "test.bin": 10_000},
    label_bytes=2,
)


@checked
def load_cifar10(path: PathLike) -> tuple[Dataset, Dataset]:
    """CIFAR-10 as (train, test): 50,000 and 10,000 images `(N, 32, 32, 3)` uint8, 10 classes.

    path: the folder of the .bin files, the .tar.gz, or a folder above: `data` for `data/cifar10`.
    Raises `DataError` where a file is missing, damaged or not what its name says.
    """
    return _load(user_path(path), CIFAR10, 0, CIFAR10_CLASSES)


@checked
def load_cifar100(path: PathLike, fine: bool = True) -> tuple[Dataset, Dataset]:
    """CIFAR-100 as (train, test): 50,000 and 10,000 images `(N, 32, 32, 3)` uint8.

    path: as for `load_cifar10`. fine: the 100 classes, or with False the 20 groups they form.
    Raises `DataError` where a file is missing, damaged or not what its name says.
    """
    if fine:
        return _load(user_path(path), CIFAR100, 1, CIFAR100_CLASSES)
    return _load(user_path(path), CIFAR100, 0, CIFAR100_GROUPS)


def _load(path: Path, release: Release, label: int, names: str) -> tuple[Dataset, Dataset]:
    """`label` is the position of the label byte in a record."""
    classes = tuple(names.split())
    images: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    for file, content in _contents(path, release):
        records = np.frombuffer(content, np.uint8).reshape(release.records[file], -1)
        labels[file] = records[:, label].astype(np.int64)
        wrong = np.flatnonzero(labels[file] >= len(classes))
        if len(wrong):
            raise DataError(
                f"{path}: record {wrong[0]} of {file} has label {labels[file][wrong[0]]}, "
                f"expected 0 to {len(classes) - 1}"
            )
        planes = records[:, release.label_bytes :].reshape(-1, 3, 32, 32)
        images[file] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    missing = [file for file in release.records if file not in images]
    if missing:
        why = "".join(
            f"{name} holds Python pickles, which could run code; take the binary version. "
            for name in release.pickles
            if name == path.name or os.path.exists(path / name)
        )
        raise DataError(
            f"{path}: no {', '.join(missing)} at this path. {why}{download_hint(release.name)}"
        )
    *train, test = release.records
    train_images = np.concatenate([images[file] for file in train])
    train_labels = np.concatenate([labels[file] for file in train])
    return (
        Dataset(train_images, train_labels, classes, release.name),
        Dataset(images[test], labels[test], classes, release.name),
    )


def _contents(path: Path, release: Release) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each data file in a folder or an archive, in any order, sizes checked."""
    if os.path.isfile(path):
        yield from _from_archive(path, release)
        return
    for folder in (path / release.name, path):
        for inner in (folder, folder / release.folder):
            present = [file for file in release.records if os.path.isfile(inner / file)]
            if present:
                for file in present:
                    with reading(inner / file):
                        size = os.path.getsize(inner / file)
                        _check_size(inner / file, size, release.size(file))
                        yield file, (inner / file).read_bytes()
                return
        if os.path.isfile(folder / release.archive):
            yield from _from_archive(folder / release.archive, release)
            return


class Bounded:
    """A stream of which at most so many bytes can be read."""

    def __init__(self, stream: gzip.GzipFile, path: Path, most: int) -> None:
        self.stream, self.path, self.left, self.most = stream, path, most, most

    def read(self, size: int) -> bytes:
        """Some bytes more; `DataError` where they are too many."""
        block = self.stream.read(min(size, BLOCK))
        self.left -= len(block)
        if self.left < 0:
            raise DataError(
                f"{self.path}: unpacks to more than the {self.most:,} bytes it may have"
            )
        return block


def _from_archive(path: Path, release: Release) -> Iterator[tuple[str, bytes]]:
    seen = set()
    most = sum(map(release.size, release.records)) + BLOCK  # with headers and a readme
    with reading(path), open_file(path) as file, gzip.open(file) as unpacked:
        stream = Bounded(unpacked, path, most)
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                place = PurePosixPath(member.name)
                if (
                    not (member.isreg() or member.isdir())
                    or place.is_absolute()
                    or ".." in place.parts
                ):
                    raise DataError(f"{path}: refused, {member.name!r} is a link or an odd path")
                if place.name not in release.records or not member.isreg():
                    continue
                if place.name in seen:
                    raise DataError(f"{path}: {place.name} is in it twice")
                seen.add(place.name)
                _check_size(f"{path}: {place.name}", member.size, release.size(place.name))
                content = archive.extractfile(member)
                assert content is not None  # only None for what is no regular file
                yield place.name, content.read()
        # gzip compares its checksum only at its very end, which lies behind the end of the tar.
        while stream.read(BLOCK):
            pass


def _check_size(source: object, size: int, expected: int) -> None:
    if size != expected:
        raise DataError(f"{source}: expected {expected} bytes, got {size}")
