"""Pictures and sounds of your own: a folder for each class.

    photos/cats/*.jpg          or, where you chose what to test on,     photos/train/cats/*.jpg
    photos/dogs/*.png                                                   photos/test/cats/*.jpg

    photos = data.ImageFolder("photos", size=32)
    photos.train, photos.test

The class of a picture is the name of its folder; the folders in that one belong to it too. Sounds
(.wav) lie in folders in the same way, or together under names such as 7_jackson_32.wav, the class,
the speaker and a number, as in the Free Spoken Digit Dataset; numbers below 5 are for testing.

A photograph comes as a viewer shows it: turned by its EXIF tag, what is transparent on white. It is
made to fit into the square, lies in its middle, and is never squeezed. A sound becomes its
spectrogram. What was decoded is kept in the user's cache folder (see `cache`), so the second start
is quick, and a batch is all that has to fit into memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..check import Below1, Count, PathLike, checked, printable
from ..errors import DataError
from ..files import user_path
from .archive import Tree
from .cache import decoded, remembered
from .dataset import Dataset, Seconds, image_digests
from .images import decode_image, endings, is_grey
from .sound import decode_sound, read_wav

TEST_FRACTION = 0.2
PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
LIKE_A_PART = re.compile(  # such as training_set and test_set, or seg_train and seg_test
    r"(.*[_\- ])?(train(ing)?|test(ing)?|val(id(ation)?)?)([_\- ]?(set|data|images))?",
    re.IGNORECASE,
)
SPOKEN = re.compile(r"(?P<label>.+)_(?P<speaker>[^_]+)_(?P<number>\d+)\.wav", re.IGNORECASE)
SPOKEN_TEST = 5  # recordings of each speaker and class that are for testing, by their numbers
LISTENED = 20  # sounds that tell how long they are
MOST_CLASSES = 65_536


class Found(NamedTuple):
    """A file, as its place and name describe it."""

    name: str
    label: str
    part: str = ""  # "train", "val", "test", or "" where that is left to us
    group: str = ""  # what it belongs with, such as its speaker


class ImageFolder:
    """A folder with a folder for each class, as Datasets: `train`, `test`, and `val` or None.

    path: the folder, or a .zip of one. Where it has no train/ and test/ (and val/), a fixed fifth
    of each class is for testing: the same pictures on every machine.
    size: the pictures become `(size, size, C)`. gray: C = 1; else 3, or 1 where all are grey.
    seconds: the length of a sound; shorter ones get silence around them, of longer ones it is the
    middle. skip_broken: leave out files that cannot be read; they are listed in `broken`.
    shape, classes: of a network that is there already, instead of what the folder suggests.

    everything: the parts as one Dataset.
    files: what `train`, `val` and `test` were made of, in this order. kind: "pictures" or "sounds".
    Warns of files that are left out, and of pictures that are in the test part and in another.
    Raises `DataError` for a folder without classes, a class without pictures, a class that is
    tested and not trained, and for broken files.
    """

    train: Dataset
    val: Dataset | None
    test: Dataset

    @checked
    def __init__(
        self,
        path: PathLike,
        size: Count = 32,
        gray: bool = False,
        seconds: Seconds = 1.0,
        skip_broken: bool = False,
        shape: tuple[Count, Count, Count] | None = None,
        classes: Sequence[str] | None = None,
        progress: bool = True,
    ) -> None:
        self.path = user_path(path)
        self.name = Path(os.path.abspath(self.path)).stem
        if not os.path.exists(self.path):
            raise DataError(f"{self.path}: there is no such folder")
        with Tree(self.path) as tree:
            self.kind, found, remarks = find(tree)
            self.seconds = float(seconds) if self.kind == "sounds" else None
            self.classes = _classes(self.path, found, classes)
            self.is_trained_on = classes is None
            self.is_split = any(file.part for file in found)
            found, fractions = _in_order(found)
            names = [file.name for file in found]
            facts = {"tree": tree.fingerprint(names), "seconds": self.seconds}
            if shape is None:
                grey = gray or remembered(
                    self.path, names, facts, "grey", lambda: self._is_grey(tree, found)
                )
                shape = (size, size, 1 if grey else 3)
            images, kept, self.broken = decoded(
                self.path,
                names,
                facts,
                shape,
                self._decoder(tree, found, shape, seconds),
                skip_broken,
                progress,
            )
            if self.seconds is not None and self.is_trained_on:
                remarks += _longer(tree, [names[i] for i in kept], self.seconds)
        for remark in remarks:
            warnings.warn(f"{self.path}: {remark}", stacklevel=3)
        if classes is None:
            lost = {f.label for f in found if f.part == "train"} - {
                found[i].label for i in kept if found[i].part == "train"
            }
            if lost:
                raise DataError(
                    f"{self.path}: of the class {min(lost)!r} no file for training can be read, "
                    "so nobody could learn it; mend them, or remove it"
                )
        found = [found[i] for i in kept]
        self.files = [file.name for file in found]
        self.fractions = np.array([fractions[i] for i in kept])
        self._divide(images, found)

    def _is_grey(self, tree: Tree, found: Sequence[Found]) -> bool:
        if self.kind == "sounds":
            return True
        for file in found:
            with tree.open(file.name) as stream:
                try:
                    if not is_grey(tree.place(file.name), stream):
                        return False
                except DataError:  # the decoder will say so, of all that are broken
                    pass
        return True

    def _decoder(
        self, tree: Tree, found: Sequence[Found], shape: tuple[int, int, int], seconds: float
    ) -> Callable[[int], np.ndarray]:
        def picture(i: int) -> np.ndarray:
            with tree.open(found[i].name) as stream:
                return decode_image(tree.place(found[i].name), stream, shape)

        def sound(i: int) -> np.ndarray:
            name = found[i].name
            return decode_sound(tree.read(name), shape, float(seconds), tree.place(name))

        return sound if self.kind == "sounds" else picture

    def _divide(self, images: np.ndarray, found: Sequence[Found]) -> None:
        """Make the parts. They lie one behind the other, so each is a view and copies nothing."""
        numbers = {name: k for k, name in enumerate(self.classes)}
        labels = np.array([numbers[file.label] for file in found], np.int64)
        groups = np.array([file.group for file in found])
        whole = Dataset(
            images,
            labels,
            self.classes,
            self.name,
            groups if groups.astype(bool).any() else None,
            self.seconds,
        )
        ends = [sum(file.part == part for file in found) for part in ("train", "val", "test")]
        first, second = ends[0], ends[0] + ends[1]
        if self.is_trained_on and not len(whole) - second:
            raise DataError(
                f"{self.path}: a fifth of each class is for testing, but no class has 3 or more "
                f"{self.kind}"
            )
        self.everything = whole
        self.train, self.test = whole[:first], whole[second:]
        self.val = whole[first:second] if ends[1] else None
        self._warn_of_twins(whole, second)

    @checked
    def hold_out(self, fraction: Below1) -> tuple[Dataset, Dataset]:
        """The training part in two, the second with `fraction` of each class, as `Dataset.split`
        makes them; of pictures both are views, however many there are."""
        if self.train.groups is not None:
            return self.train.split(fraction)
        held = int((self.fractions[: len(self.train)] <= fraction).sum())
        return self.train[held:], self.train[:held]

    def _warn_of_twins(self, whole: Dataset, start: int) -> None:
        """Warn where a test picture is, byte for byte, one of the others: it tests nothing."""
        digests = image_digests(whole.images)
        twins = start + np.flatnonzero(np.isin(digests[start:], digests[:start]))
        if len(twins):
            warnings.warn(
                f"{self.path}: {len(twins)} of {len(whole) - start} test {self.kind} look exactly "
                f"like one in training, such as {printable(self.files[twins[0]])}; what is known "
                "by heart tests nothing, so remove what is there twice",
                stacklevel=4,
            )


# ----- What lies in a folder -----


def find(tree: Tree) -> tuple[str, list[Found], list[str]]:
    """ "pictures" or "sounds", the files with what their places say, and remarks on the others.

    A zip often holds the folder that was packed, photos/cats/1.jpg; then it is that folder.
    """
    tops = {name.split("/")[0] for name in tree.names}
    is_packed = len(tops) == 1 and any(name.count("/") > 1 for name in tree.names)
    if tree.zip is not None and is_packed and not any(top.lower() in PARTS for top in tops):
        tree.enter(*tops)
    runs = _runs(tree)
    names = [name for name in tree.names if not name.startswith(runs)] if runs else tree.names
    sounds = [name for name in names if name.lower().endswith(".wav")]
    others = [name for name in names if not name.lower().endswith(".wav")]
    known = endings() if others and not (sounds and not _has_pillow()) else frozenset()
    pictures = [name for name in others if os.path.splitext(name)[1].lower() in known]
    if sounds and pictures:
        raise DataError(
            f"{tree.path}: has sounds ({sounds[0]}) and pictures ({pictures[0]}); a network learns "
            "one or the other"
        )
    names, kind = (sounds, "sounds") if sounds else (pictures, "pictures")
    if not names:
        other = f", but {tree.names[0]}; save it as JPEG, PNG or WAV" if tree.names else ""
        raise DataError(
            f"{tree.path}: no pictures or .wav files in it{other}; expected a folder for each "
            f"class, such as {tree.path.name}/cats/1.jpg"
        )
    remarks = []
    if ignored := len(others) - len(pictures):
        seen = set(pictures)
        some = next(name for name in others if name not in seen)
        remarks.append(f"left out, as no {kind} by their names: {_some(some, ignored)}")
    if all("/" not in name for name in names):
        return kind, _by_name(tree, names), remarks
    found, loose = _by_folder(tree, names)
    if loose:
        remarks.append(
            f"left out, as they lie in no folder of a class: {_some(loose[0], len(loose))}"
        )
    _check_empty(tree, found)
    return kind, found, remarks


def _runs(tree: Tree) -> tuple[str, ...]:
    """Folders of trained networks, such as runs/: their curves are no pictures of a class."""
    found = (name.split("/") for name in tree.names if name.endswith("/checkpoint.npz"))
    return tuple("/".join(steps[:-1]) + "/" for steps in found)


def _some(first: str, count: int) -> str:
    return first if count == 1 else f"{first} and {count - 1:,} more"


def _has_pillow() -> bool:
    try:
        endings()
    except DataError:
        return False
    return True


def _by_name(tree: Tree, names: Sequence[str]) -> list[Found]:
    """Of files without folders: class_speaker_number.wav."""
    matches = [SPOKEN.fullmatch(name) for name in names]
    if not all(matches):
        odd = next(name for name, match in zip(names, matches) if match is None)
        raise DataError(
            f"{tree.path}: {odd} lies in no folder; expected a folder for each class, or sounds "
            "named class_speaker_number.wav"
        )
    return [
        Found(m[0], m["label"], "test" if int(m["number"]) < SPOKEN_TEST else "train", m["speaker"])
        for m in matches
        if m is not None
    ]


def _by_folder(tree: Tree, names: Sequence[str]) -> tuple[list[Found], list[str]]:
    """The files in folders of classes, and those that lie outside of them."""
    tops = {name.split("/")[0] for name in names if "/" in name}
    parts = {top for top in tops if top.lower() in PARTS}
    if parts and tops - parts:
        raise DataError(
            f"{tree.path}: has {', '.join(sorted(parts))} beside {sorted(tops - parts)[0]}; "
            "expected either folders of classes, or train and test with folders of classes in them"
        )
    if not parts and len(tops) > 1 and all(map(LIKE_A_PART.fullmatch, tops)):
        raise DataError(
            f"{tree.path}: {' and '.join(sorted(tops))} sound like parts, not like classes; call "
            "them train and test (and val)"
        )
    deep = 2 if parts else 1
    found, loose = [], []
    for name in names:
        steps = name.split("/")
        if len(steps) <= deep:
            loose.append(name)
        elif parts:
            found.append(Found(name, _composed(steps[1]), PARTS[steps[0].lower()]))
        else:
            found.append(Found(name, _composed(steps[0])))
    if not found:
        raise DataError(f"{tree.path}: no folders of classes in {', '.join(sorted(parts))}")
    return found, loose


def _composed(name: str) -> str:
    """A name in which é is one character, as most systems have it; macOS writes e and an accent."""
    return unicodedata.normalize("NFC", name)


def _check_empty(tree: Tree, found: Sequence[Found]) -> None:
    """Refuse a folder of a class with nothing in it, which would be a class nobody learns."""
    if tree.zip is not None:  # which lists files
        return
    runs = _runs(tree)
    full = {"/".join(file.name.split("/")[: 2 if file.part else 1]) for file in found}
    for place in {name.rsplit("/", 1)[0] for name in full if "/" in name} or {""}:
        for entry in sorted(os.listdir(tree.path / place)):
            name = f"{place}/{entry}".lstrip("/")
            is_class = not entry.startswith((".", "__")) and os.path.isdir(tree.path / name)
            if is_class and name not in full and not any(r.startswith(f"{name}/") for r in runs):
                other = next((n for n in tree.names if n.startswith(f"{name}/")), None)
                mend = "put some in it, or remove it"
                if other is not None:
                    mend = f"{other} is not of a kind that can be read; save it as JPEG, PNG or WAV"
                raise DataError(f"{tree.path / name}: a class without pictures; {mend}")


def _longer(tree: Tree, names: Sequence[str], seconds: float) -> list[str]:
    """A remark where most of a sound is cut off, going by some of them."""
    some = [read_wav(tree.read(name), name) for name in names[:: max(1, len(names) // LISTENED)]]
    length = float(np.median([len(samples) / rate for samples, rate in some]))
    if length <= 1.5 * seconds:
        return []
    return [
        f"the sounds are about {length:.1f} s long, and of each only the {seconds:g} s in its "
        f"middle are used; more with seconds={length:.1f} (--seconds {length:.1f})"
    ]


def _classes(path: Path, found: Sequence[Found], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the classes in order, or those of a network, which has to know all of these."""
    names = sorted({file.label for file in found})
    if wanted is not None:
        known = {printable(name): name for name in names}
        unknown = sorted(set(known) - set(wanted))
        if unknown:
            raise DataError(
                f"{path}: the network has no class {unknown[0]!r}; its classes are "
                f"{', '.join(wanted[:10])}{', …' if len(wanted) > 10 else ''}"
            )
        return tuple(known.get(name, name) for name in wanted)
    if len(names) < 2:
        inside = path / names[0]
        raise DataError(
            f"{path}: one class only, {names[0]!r}, where there is nothing to tell apart; expected "
            f"a folder for each class. If the classes are in it, take {inside}"
        )
    if len(names) > MOST_CLASSES:
        raise DataError(f"{path}: {len(names)} classes, at most {MOST_CLASSES:,} are learned")
    _check_parts(path, found)
    return tuple(names)


def _check_parts(path: Path, found: Sequence[Found]) -> None:
    labels = {part: {file.label for file in found if file.part == part} for part in ("train", "")}
    if not labels["train"] | labels[""]:
        raise DataError(f"{path}: has no train folder, so there is nothing to learn from")
    for file in found:
        if file.part in ("val", "test") and file.label not in labels["train"]:
            raise DataError(
                f"{path}: {file.part} has a class {file.label!r} that train has not; nobody could "
                "learn it"
            )


# ----- Which part a picture belongs to -----


def _in_order(found: Sequence[Found]) -> tuple[list[Found], list[float]]:
    """Train, val, test, one behind the other; and how far in its class each comes, from 0 to 1.

    Within a class the files are ranked by the SHA-256 of their names: as good as random, the same
    everywhere, and a file that is added moves few others. Training files lie by their rank, so
    those that are held out, whatever the fraction, lie side by side.
    """
    if not any(file.part == "test" for file in found):
        if any(file.part == "val" for file in found):  # as many call what they test on
            found = [file._replace(part=file.part.replace("val", "test")) for file in found]
        else:
            ranks = _ranks(found)
            found = [
                file._replace(part="test" if rank <= TEST_FRACTION else "train")
                for file, rank in zip(found, ranks)
            ]
    part = {"train": 0, "val": 1, "test": 2}
    train = [file for file in found if file.part == "train"]
    rank = dict(zip(train, _ranks(train)))
    ordered = sorted(found, key=lambda file: (part[file.part], rank.get(file, 0.0), file.name))
    return ordered, [rank.get(file, 0.0) for file in ordered]


def _ranks(found: Sequence[Found]) -> list[float]:
    """Of each file its place in its class, in the middle of (0, 1/n), (1/n, 2/n), …"""
    digests = [
        hashlib.sha256(_composed(file.name).encode("utf-8", "replace")).digest() for file in found
    ]
    members: dict[str, list[int]] = {}
    for i, file in enumerate(found):
        members.setdefault(file.label, []).append(i)
    places = [0.0] * len(found)
    for some in members.values():
        for rank, i in enumerate(sorted(some, key=lambda i: digests[i])):
            places[i] = (rank + 0.5) / len(some)
    return places
