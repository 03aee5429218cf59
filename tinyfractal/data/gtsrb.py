"""Traffic signs: the German Traffic Sign Recognition Benchmark, photographs in 43 classes.

By J. Stallkamp, M. Schlipsing, J. Salmen and C. Igel, "Man vs. computer: Benchmarking machine
learning algorithms for traffic sign recognition", Neural Networks 32, 2012; free for research and
teaching, from https://benchmark.ini.rub.de. 39,209 images to train with and 12,630 to test with, in
colour, of 15×15 to 250×250 pixels.

The training images come in tracks. A track is one sign at one roadside, seen 30 times while a car
drives up to it. Its frames are almost the same picture, so whoever holds images out has to hold out
whole tracks; `Dataset.groups` says which track each image is of, and `Dataset.split` keeps to it.
The test images were shuffled by their authors, and nothing says which of them show the same sign.

The tables beside the images also say where in an image the sign is, its region of interest
(`Roi.X1` …). We take the whole image. Around the sign it leaves a border of a tenth of the sign, as
a program that finds signs would; such a program is never right to the pixel either, and a network
that always saw the sign fill its image would have learned to count on that.
"""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np

from ..check import PathLike, Range, checked
from ..errors import DataError
from ..files import reading, user_path
from .archive import Tree
from .cache import decoded
from .dataset import Dataset
from .images import decode_image
from .sources import download_hint

GTSRB_CLASSES = (
    "speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70",
    "speed limit 80", "end of speed limit 80", "speed limit 100", "speed limit 120", "no passing",
    "no passing for trucks", "right of way at the next crossing", "priority road", "yield", "stop",
    "no vehicles", "no trucks", "no entry", "danger", "curve to the left", "curve to the right",
    "double curve", "bumpy road", "slippery road", "road narrows on the right", "road work",
    "traffic lights", "pedestrians", "children", "bicycles", "ice and snow", "wild animals",
    "end of all limits", "turn right", "turn left", "straight ahead", "straight or right",
    "straight or left", "keep right", "keep left", "roundabout", "end of no passing",
    "end of no passing for trucks",
)  # fmt: skip

TRAINING_ZIPS = ("GTSRB_Final_Training_Images.zip", "GTSRB-Training_fixed.zip")
TEST_ZIPS = ("GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip")
TEST_TABLE = "GT-final_test.csv"
# What comes before the folders of the classes, best first. The second is the training part of an
# earlier competition, two thirds of the first.
TRAINING = ("GTSRB/Final_Training/Images", "GTSRB/Training", "train")
TEST = ("GTSRB/Final_Test/Images", "test")
HINT = download_hint("gtsrb")
Side = Annotated[int, Range(8, 1024)]
File = tuple[Tree, str]  # where it is, and its name in there


@checked
def load_gtsrb(path: PathLike, size: Side = 32) -> tuple[Dataset, Dataset]:
    """The traffic signs as (train, test), images `(N, size, size, 3)` uint8 in 43 classes.

    path: a folder, or the folder above its `gtsrb`, with

    - the official archives, `GTSRB_Final_Training_Images.zip`, `GTSRB_Final_Test_Images.zip` and
      `GTSRB_Final_Test_GT.zip`, or what they unpack to;
    - or `train/CLASS/TRACK_FRAME.ppm` and `test/CLASS/NUMBER.ppm`, with five digits for each;

    or an archive of either. Each image is fitted in as `decode_image` does it, which needs Pillow,
    and kept in the cache, so that only the first call takes long. `train.groups` is the track of
    each image, such as "00014/00003"; the test part has no groups.
    Raises `DataError` where something is missing or damaged, or where table and folders disagree.
    """
    place = _place(user_path(path))
    with ExitStack() as stack:
        trees = [stack.enter_context(Tree(source)) for source in _sources(place)]
        files = [(tree, name) for tree in trees for name in tree.names]
        train, labels, tracks = _training(place, files)
        test, test_labels = _test(place, files)
        both = [*train, *test]

        def decode(i: int) -> np.ndarray:
            tree, name = both[i]
            with tree.open(name) as stream:
                return decode_image(tree.place(name), stream, (size, size, 3))

        names = [f"{trees.index(tree)}:{name}" for tree, name in both]
        facts = {"reader": "gtsrb", "files": [tree.fingerprint() for tree in trees]}
        images, _, _ = decoded(place, names, facts, (size, size, 3), decode)
    unseen = np.setdiff1d(test_labels, labels)
    if len(unseen):
        warnings.warn(
            f"{place}: no training image shows {GTSRB_CLASSES[unseen[0]]!r}, class {unseen[0]} of "
            "the test part, so no network can get it right",
            stacklevel=3,
        )
    return (
        Dataset(images[: len(train)], labels, GTSRB_CLASSES, "gtsrb", np.array(tracks)),
        Dataset(images[len(train) :], test_labels, GTSRB_CLASSES, "gtsrb"),
    )


def _place(path: Path) -> Path:
    return path / "gtsrb" if os.path.isdir(path / "gtsrb") else path


def _sources(place: Path) -> list[Path]:
    """The official archives that are there, or else the folder or the archive itself."""
    if not os.path.exists(place):
        raise DataError(f"{place}: there is no such folder. {HINT}")
    training = [place / name for name in TRAINING_ZIPS if os.path.isfile(place / name)][:1]
    test = [place / name for name in TEST_ZIPS if os.path.isfile(place / name)]
    if not training and not test:
        return [place]
    missing = [name for name in TEST_ZIPS if place / name not in test]
    if missing or not training:
        missing += [] if training else [TRAINING_ZIPS[0]]
        raise DataError(f"{place}: no {', '.join(missing)} in it. {HINT}")
    return training + test


# ----- Which images there are, and what they show -----


def _training(place: Path, files: Collection[File]) -> tuple[list[File], np.ndarray, list[str]]:
    """The training images in order, the class of each, and its track."""
    for above in TRAINING:
        found = _find(place, files, above, r"(?P<kind>\d{5})/(?P<track>\d{5})_\d{5}\.ppm")
        if found:
            images = [file for file, _ in found]
            labels = np.array([_label(file, match["kind"]) for file, match in found])
            if above != "train":
                _check_tables(place, files, images, labels)
            return images, labels, [f"{match['kind']}/{match['track']}" for _, match in found]
    raise DataError(f"{place}: no training images such as train/00000/00000_00000.ppm. {HINT}")


def _find(
    place: Path, files: Collection[File], above: str, form: str
) -> list[tuple[File, re.Match[str]]]:
    """The files `above/form`, wherever that is, and what matched; refused where there are two."""
    pattern = re.compile(rf"(?P<before>(?:.*/)?){above}/{form}")
    found = [(file, match) for file in files if (match := pattern.fullmatch(file[1]))]
    before = sorted({match["before"] for _, match in found})
    if len(before) > 1:
        raise DataError(
            f"{place}: has {before[0] + above!r} and {before[1] + above!r}; name one of the two"
        )
    return found


def _check_tables(
    place: Path, files: Collection[File], images: list[File], labels: np.ndarray
) -> None:
    """Each class has a table, GT-00000.csv, that has to name its images and their class."""
    tables = {name.rpartition("/")[0]: (tree, name) for tree, name in files if _is_table(name)}
    listed: dict[str, int] = {}
    for folder in sorted({name.rpartition("/")[0] for _, name in images}):
        kind = folder[-5:]
        if folder not in tables:
            raise DataError(f"{place}: no GT-{kind}.csv beside the images in {folder}. {HINT}")
        for name, label in _table(tables[folder]).items():
            listed[f"{folder}/{name}"] = label
    there = {name: int(label) for (_, name), label in zip(images, labels)}
    _compare(place, listed, there)
    for name, label in listed.items():
        if label != there[name]:
            raise DataError(
                f"{place}: {name} lies in the folder of class {there[name]}, but its table says "
                f"class {label}"
            )


def _is_table(name: str) -> bool:
    return re.fullmatch(r"(?:.*/)?(\d{5})/GT-\1\.csv", name) is not None


def _test(place: Path, files: Collection[File]) -> tuple[list[File], np.ndarray]:
    """The test images in order, and the class of each."""
    official, by_class = TEST
    found = {m["name"]: f for f, m in _find(place, files, official, r"(?P<name>\d{5}\.ppm)")}
    if found:
        tables = [file for file in files if file[1].rpartition("/")[2] == TEST_TABLE]
        if not tables:
            raise DataError(f"{place}: no {TEST_TABLE}, which says what test images show. {HINT}")
        listed = _table(tables[0])
        _compare(place, listed, dict.fromkeys(found))
        return list(found.values()), np.array([listed[name] for name in found])
    by_folder = _find(place, files, by_class, r"(?P<kind>\d{5})/\d{5}\.ppm")
    if not by_folder:
        raise DataError(f"{place}: no test images such as test/00000/00000.ppm. {HINT}")
    return [file for file, _ in by_folder], np.array([_label(f, m["kind"]) for f, m in by_folder])


def _label(file: File, kind: str) -> int:
    """The class that a folder is named after."""
    if int(kind) >= len(GTSRB_CLASSES):
        raise DataError(
            f"{file[0].place(file[1])}: expected a class from 00000 to 00042, got {kind}"
        )
    return int(kind)


def _table(file: File) -> dict[str, int]:
    """{image: class} of a table: lines of Filename;Width;Height;Roi.X1;…;ClassId."""
    place = file[0].place(file[1])
    with reading(place):
        text = file[0].read(file[1]).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text), delimiter=";", skipinitialspace=True)
        columns = rows.fieldnames or []
        if "Filename" not in columns or "ClassId" not in columns:
            raise DataError(
                f"{place}: expected the columns Filename and ClassId with semicolons between, got "
                f"{text[:80].splitlines()[:1]}"
            )
        found: dict[str, int] = {}
        for row in rows:
            name, kind = row["Filename"], row["ClassId"] or ""
            if not kind.isdecimal() or int(kind) >= len(GTSRB_CLASSES):
                raise DataError(
                    f"{place}: line {rows.line_num}: expected a class from 0 to 42 for {name}, "
                    f"got {kind!r}"
                )
            if name in found:
                raise DataError(f"{place}: line {rows.line_num}: {name} is in it twice")
            found[name] = int(kind)
    return found


def _compare(place: Path, listed: Iterable[str], there: Iterable[str]) -> None:
    """Each image has to be in the table, and each line has to have its image."""
    listed, there = set(listed), set(there)
    for names, problem in (
        (listed - there, "in the table, but not there"),
        (there - listed, "there, but not in the table"),
    ):
        if names:
            named = ", ".join(sorted(names)[:3]) + (" …" if len(names) > 3 else "")
            raise DataError(f"{place}: {len(names)} images are {problem}: {named}. {HINT}")
