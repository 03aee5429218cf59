"""BCCD: cells cut out of 364 microscope photographs of stained blood, in three classes.

By Shenggan, after photographs and boxes of cosmicad and akshaylamba, MIT licence,
https://github.com/Shenggan/BCCD_Dataset. Each photograph, 640 x 480 pixels, has an XML file that
says where its red cells (RBC), white cells (WBC) and platelets are, in Pascal VOC's words. The
official split is by photograph: cells of one photograph share its light, its stain and its patient.

A cell is a square of 96 x 96 pixels around the centre of its box, made smaller to 32 x 32: each
pixel is the mean of 3 x 3. The square is the same for every cell, so that size stays visible. A
platelet is 42 pixels wide (the median), a red cell 109 and a white one 207; if each were enlarged
or reduced to fill its picture, a platelet would look like the nucleus of a white cell, and the
network would be told the size of a box that only somebody who knew the cell could have drawn. On
held-out photographs the loss with this square was about half of that with 128 pixels, or with the
box itself, where platelets were taken for white cells.

The XML is a stranger's. An entity could grow to gigabytes or read another file, so a file that
declares any is refused before it is parsed; so is one above 1 MiB, and more than 500 boxes.
"""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from ..check import Count, PathLike, checked, printable
from ..errors import DataError
from ..files import reading, user_path
from .archive import Tree
from .cache import decoded
from .dataset import Dataset
from .images import _opened, _pillow
from .sources import SOURCES, download_hint

CLASSES = ("RBC", "WBC", "Platelets")
SPLIT = "ImageSets/Main/"  # the folder of train.txt, val.txt and test.txt
MOST_XML, MOST_BOXES = 1 << 20, 500  # of one photograph; the real ones have 12 kB and 30 boxes
SAME = 0.8  # two boxes that share so much of what they cover are of the same cell
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels


class Photograph(NamedTuple):
    """Its name, where it lies in the archive, its width and height; class and box of its cells."""

    name: str
    file: str
    size: tuple[int, int]
    cells: list[tuple[int, Box]]


@checked
def load_bccd(
    path: PathLike, window: Count | None = 96, size: Count = 32, skip_broken: bool = False
) -> tuple[Dataset, Dataset]:
    """The cells of BCCD as (train, test): `(N, size, size, 3)` uint8, in three classes.

    path: the folder of `ImageSets`, the archive from GitHub (.zip), or a folder above: `data` for
    `data/bccd`. train: the photographs of train.txt and val.txt. `groups` are the photographs, so
    that `split` holds out whole ones.
    window: the side of the square that is cut out around the centre of a box, in pixels of the
    photograph. What of it lies beyond the photograph's edge has the median colour of the border of
    the rest. With None it is the longest side of the box itself, whatever that is.
    skip_broken: leave out photographs that cannot be read, instead of raising.

    Boxes are left out where they have no area or lie outside of the photograph; where one repeats
    another (they share four fifths of what they cover), the first is kept; where the two are of
    different classes, neither. One that reaches over the edge is cut off there. How many there
    were of each is said in a warning: two and eight of the 4,888 in the published files.
    Needs Pillow. Raises `DataError` where a file is missing, damaged or not what it should be.
    """
    place = place_of(user_path(path))
    with Tree(place) as tree:
        root = root_of(tree)
        parts = split_of(tree, root)
        faults: Counter[str] = Counter()
        every = [photograph_of(tree, root, name, faults) for name in parts]
        rows = max(1, *(len(photograph.cells) for photograph in every))
        images, kept, broken = decoded(
            tree.path,
            [photograph.name for photograph in every],
            {
                "files": tree.fingerprint(),
                "window": window,
                "boxes": [[box for _, box in photograph.cells] for photograph in every],
            },
            (rows * size, size, 3),  # one picture for each photograph: its cells, one below another
            lambda i: _cut_out(tree, every[i], window, size, rows),
            skip_broken,
        )
    faults["photographs that cannot be read"] = len(broken)
    _say(place, faults, sum(len(photograph.cells) for photograph in every))
    cells = images.reshape(len(kept), rows, size, size, 3)
    found = {"train": _Part(), "test": _Part()}
    for pictures, photograph in zip(cells, (every[i] for i in kept)):
        found[parts[photograph.name]].add(pictures, photograph)
    return found["train"].dataset(place, "train.txt and val.txt"), found["test"].dataset(
        place, "test.txt"
    )


class _Part:
    """The cells of some photographs, to be made a Dataset."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.labels: list[int] = []
        self.groups: list[str] = []

    def add(self, pictures: np.ndarray, photograph: Photograph) -> None:
        self.images.append(pictures[: len(photograph.cells)])
        self.labels += [label for label, _ in photograph.cells]
        self.groups += [photograph.name] * len(photograph.cells)

    def dataset(self, place: Path, listed: str) -> Dataset:
        if not self.labels:
            raise DataError(f"{place}: the photographs of {listed} have no cells")
        images, labels = np.concatenate(self.images), np.array(self.labels)
        return Dataset(images, labels, CLASSES, "bccd", np.array(self.groups))


# ----- Where everything lies -----


def place_of(path: Path) -> Path:
    """The folder or archive to read: `path` itself, or inside it."""
    if os.path.isfile(path):
        return path
    for folder in (path / "bccd", path):
        for inner in (folder, folder / "BCCD", folder / "BCCD_Dataset-master" / "BCCD"):
            if os.path.isfile(inner / f"{SPLIT}test.txt"):
                return inner
        for archive in SOURCES["bccd"][1]:
            if os.path.isfile(folder / archive.file):
                return folder / archive.file
    raise DataError(f"{path}: no {SPLIT}test.txt at this path. {download_hint('bccd')}")


def root_of(tree: Tree) -> str:
    """What stands before `ImageSets` in the names of the archive."""
    end = f"{SPLIT}test.txt"
    roots = [name.removesuffix(end) for name in tree.names if f"/{name}".endswith(f"/{end}")]
    if len(roots) != 1:
        raise DataError(f"{tree.path}: expected one {end}, got {len(roots)}")
    return roots[0]


def split_of(tree: Tree, root: str) -> dict[str, str]:
    """{photograph: "train" or "test"}, those of training first."""
    found: dict[str, str] = {}
    for listed in ("train", "val", "test"):
        file = f"{root}{SPLIT}{listed}.txt"
        for name in _text(tree, file, MOST_XML).split():
            part = "test" if listed == "test" else "train"
            if found.setdefault(name, part) != part:
                raise DataError(
                    f"{tree.place(file)}: {printable(name)} is a photograph for training already; "
                    "tested on it, a network would only remember"
                )
    return found


def _text(tree: Tree, file: str, most: int) -> str:
    if file not in tree.names:
        raise DataError(f"{tree.place(file)}: there is no such file")
    content = tree.read(file)
    if len(content) > most:
        raise DataError(f"{tree.place(file)}: has {len(content):,} bytes, more than {most:,}")
    with reading(tree.place(file)):
        return content.decode("utf-8-sig")


# ----- Boxes -----


def photograph_of(tree: Tree, root: str, name: str, faults: Counter[str]) -> Photograph:
    """One photograph and the boxes in it that are right; the others are counted in `faults`."""
    picture, file = f"{root}JPEGImages/{name}.jpg", f"{root}Annotations/{name}.xml"
    if picture not in tree.names:
        raise DataError(f"{tree.place(picture)}: there is no such photograph, but {SPLIT} names it")
    place, text = tree.place(file), _text(tree, file, MOST_XML)
    for declaration in ("<!DOCTYPE", "<!ENTITY"):
        if declaration in text:
            raise DataError(f"{place}: refused, {declaration} may stand for gigabytes or any file")
    with reading(place):
        annotation = ElementTree.fromstring(text)
    size = annotation.find("size")
    width, height = (_pixels(place, size, side) for side in ("width", "height"))
    objects = annotation.findall("object")
    if len(objects) > MOST_BOXES:
        raise DataError(f"{place}: has {len(objects)} boxes, more than {MOST_BOXES}")
    boxes = []
    for thing in objects:
        label = (thing.findtext("name") or "").strip()
        if label not in CLASSES:
            raise DataError(
                f"{place}: expected the name of an object, {', '.join(CLASSES)}, got "
                f"{printable(label)[:80]!r}"
            )
        inside = thing.find("bndbox")
        left, top = _pixels(place, inside, "xmin"), _pixels(place, inside, "ymin")
        right, bottom = _pixels(place, inside, "xmax"), _pixels(place, inside, "ymax")
        boxes.append((CLASSES.index(label), (left, top, right, bottom)))
    return Photograph(name, picture, (width, height), _right(boxes, (width, height), faults))


def _pixels(place: str, element: Any, name: str) -> int:
    """A number of pixels that an XML element says."""
    text = "" if element is None else (element.findtext(name) or "").strip()
    try:
        return round(float(text))
    except (ValueError, OverflowError):  # round(inf), round(nan)
        raise DataError(
            f"{place}: {name} needs a number of pixels, got {printable(text)[:80]!r}"
        ) from None


def _right(
    boxes: Sequence[tuple[int, Box]], size: tuple[int, int], faults: Counter[str]
) -> list[tuple[int, Box]]:
    """The boxes, cut off at the edge of the photograph, without those that are wrong."""
    cells: list[tuple[int, Box]] = []
    disputed = set()
    for label, (left, top, right, bottom) in boxes:
        box = max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
        if left >= right or top >= bottom:
            faults["boxes without area"] += 1
            continue
        if box[0] >= box[2] or box[1] >= box[3]:
            faults["boxes outside of the photograph"] += 1
            continue
        same = [i for i, (_, other) in enumerate(cells) if _shared(box, other) >= SAME]
        if not same:
            cells.append((label, box))
        elif all(cells[i][0] == label for i in same):
            faults["boxes that repeat another"] += 1
        else:
            faults["boxes that give a cell a second class"] += 1
            disputed.update(same)
    faults["boxes that give a cell a second class"] += len(disputed)
    return [cell for i, cell in enumerate(cells) if i not in disputed]


def _shared(a: Box, b: Box) -> float:
    """Intersection over union: how much of what two boxes cover they cover both."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / (_area(a) + _area(b) - both)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _say(place: Path, faults: Counter[str], cells: int) -> None:
    """Warn of what was left out, with numbers."""
    told = [f"{count} {what}" for what, count in faults.items() if count]
    if told:
        warnings.warn(f"{place}: {cells:,} cells; left out: {', '.join(told)}", stacklevel=4)


# ----- Pixels -----


def _cut_out(
    tree: Tree, photograph: Photograph, window: int | None, size: int, rows: int
) -> np.ndarray:
    """The cells of a photograph one below another, `(rows · size, size, 3)`; the rest is black."""
    Image, pixels = _pillow(), pixels_of(tree, photograph)
    found = np.zeros((rows, size, size, 3), np.uint8)
    for i, (_, box) in enumerate(photograph.cells):
        square = Image.fromarray(square_of(pixels, box, window))
        found[i] = np.asarray(square.resize((size, size), Image.Resampling.BOX))
    return found.reshape(rows * size, size, 3)


def pixels_of(tree: Tree, photograph: Photograph) -> np.ndarray:
    """All of a photograph, (H, W, 3) uint8."""
    place = tree.place(photograph.file)
    with reading(place):
        picture = _opened(place, io.BytesIO(tree.read(photograph.file)), _pillow())
        if picture.size != photograph.size:
            raise DataError(
                f"{place}: has {picture.width} x {picture.height} pixels, but its boxes are for "
                f"{photograph.size[0]} x {photograph.size[1]}"
            )
        return np.asarray(picture.convert("RGB"))


def square_of(pixels: np.ndarray, box: Box, window: int | None) -> np.ndarray:
    """The square around the centre of a box; beyond the edge, the median colour of its border."""
    left, top, right, bottom = box
    side = window or max(right - left, bottom - top)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    part = pixels[max(y, 0) : y + side, max(x, 0) : x + side]
    border = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
    square = np.empty((side, side, 3), np.uint8)
    square[:] = np.median(border, axis=0)
    x, y = max(-x, 0), max(-y, 0)
    square[y : y + part.shape[0], x : x + part.shape[1]] = part
    return square
