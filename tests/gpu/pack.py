"""CIFAR-10 in less than 64 MiB: `python -m tests.gpu.pack FOLDER FILE.npz`.

FOLDER holds the binary version as published (`cifar-10-batches-bin`, or its archive). All 10,000
test images are packed, and 20,000 of the training images, 2,000 of each class, without loss. They
take 92 MB as they are, and zip alone saves a few per cent. So first red and blue become their
difference from green; then each number becomes its difference from what its neighbours to the left,
above and in the corner between suggest (the predictor of LOCO-I, Weinberger et al. 1996). What is
left is small numbers, and LZMA packs those. If they are still too many, there are fewer training
images, and the command says so.
"""

from __future__ import annotations

import argparse
import io
import lzma
import os
import sys
from pathlib import Path

import numpy as np

from tinyfractal.data import Dataset, load_cifar10
from tinyfractal.data.cifar import CIFAR10_CLASSES
from tinyfractal.errors import DataError
from tinyfractal.files import reading, write_atomically
from tinyfractal.files.npz import read_npz

MOST = 62 << 20  # bytes of a file: below 64 MiB, with room for what travels beside it
TRAIN = 20_000
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 4, "lp": 0, "pb": 0}]


# ----- Images to small numbers, and back -----


def suggested(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """left + above - corner, but not beyond the two: the median of the three."""
    low, high = np.minimum(left, above), np.maximum(left, above)
    return np.clip(left + above - corner, low, high)


def residuals(images: np.ndarray) -> np.ndarray:
    """Differences modulo 256, (N, 3, H, W), of images (N, H, W, 3), all uint8."""
    planes = images.transpose(0, 3, 1, 2).copy()
    planes[:, ::2] -= planes[:, 1:2]
    x = np.pad(planes.astype(np.int16), ((0, 0), (0, 0), (1, 0), (1, 0)))
    guess = suggested(x[:, :, 1:, :-1], x[:, :, :-1, 1:], x[:, :, :-1, :-1])
    return (x[:, :, 1:, 1:] - guess).astype(np.uint8)


def images_of(small: np.ndarray) -> np.ndarray:
    """The images that `residuals` came from."""
    n, c, h, w = small.shape
    # Pixel by pixel, since each needs its neighbours, but for all images at once: they come last.
    rest = np.ascontiguousarray(small.transpose(2, 3, 1, 0)).astype(np.int16)
    x = np.zeros((h + 1, w + 1, c, n), np.int16)
    for i in range(h):
        for j in range(w):
            guess = suggested(x[i + 1, j], x[i, j + 1], x[i, j])
            x[i + 1, j + 1] = (guess + rest[i, j]) & 255
    planes = x[1:, 1:].astype(np.uint8)
    planes[:, :, ::2] += planes[:, :, 1:2]
    return np.ascontiguousarray(planes.transpose(3, 0, 1, 2))


# ----- Files -----


def choose(labels: np.ndarray, count: int) -> np.ndarray:
    """The first images of each class, as many of each, `count` in all, in their order."""
    classes = np.unique(labels)
    first = [np.flatnonzero(labels == label)[: count // len(classes)] for label in classes]
    return np.sort(np.concatenate(first))


def packed(train: Dataset, test: Dataset, source: str) -> bytes:
    """An .npz file: both label arrays, the images in one piece, and where they are from."""
    images = np.concatenate([train.images, test.images])
    content = lzma.compress(residuals(images).tobytes(), filters=FILTERS)
    file = io.BytesIO()
    np.savez(
        file,
        images=np.frombuffer(content, np.uint8),
        shape=np.array(images.shape),
        train_labels=train.labels.astype(np.uint8),
        test_labels=test.labels.astype(np.uint8),
        source=np.frombuffer(source.encode(), np.uint8),
    )
    return file.getvalue()


def load_packed(path: Path) -> tuple[Dataset, Dataset, str]:
    """(train, test, where they are from). Raises `DataError` where the file is something else."""
    arrays = read_npz(path)
    with reading(path):
        shape = tuple(map(int, arrays["shape"]))
        size, stream = int(np.prod(shape)), lzma.LZMADecompressor()
        content = stream.decompress(arrays["images"].tobytes(), size)
        if len(content) != size or shape[1:] != (32, 32, 3):
            raise DataError(f"{path}: images of {shape} are not what it holds")
        images = images_of(np.frombuffer(content, np.uint8).reshape(shape[0], 3, 32, 32))
        classes, n = tuple(CIFAR10_CLASSES.split()), len(arrays["train_labels"])
        train = Dataset(images[:n], arrays["train_labels"], classes, "cifar10")
        test = Dataset(images[n:], arrays["test_labels"], classes, "cifar10")
        return train, test, arrays["source"].tobytes().decode()


def main(argv: list[str] | None = None) -> int:
    """Pack, unpack again, compare, and say what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu.pack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="with cifar-10-batches-bin in it")
    parser.add_argument("file", type=Path, help="to write")
    parser.add_argument("--source", default="CIFAR-10", help="to say beside each error measured")
    parser.add_argument("--train", type=int, default=TRAIN, help="training images (%(default)s)")
    args = parser.parse_args(argv)
    try:
        train, test = load_cifar10(args.folder)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    count = args.train
    while True:
        chosen = train[choose(train.labels, count)]
        content = packed(chosen, test, args.source)
        print(f"{len(chosen):,} + {len(test):,} images: {len(content):,} bytes", flush=True)
        if len(content) <= MOST:
            break
        count = int(count * 0.95 * MOST / len(content))
        print(f"more than {MOST:,}: fewer training images")
    write_atomically(args.file, content)
    again = load_packed(args.file)
    for part, read in ((chosen, again[0]), (test, again[1])):
        same = (part.images == read.images).all() and (part.labels == read.labels).all()
        if not same:
            print(f"{args.file} does not hold what was packed", file=sys.stderr)
            os.remove(args.file)
            return 1
    print(f"wrote {args.file}; unpacked and compared: the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
