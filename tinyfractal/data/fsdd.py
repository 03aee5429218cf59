"""Spoken digits: 3,000 recordings of "zero" to "nine" by six people, as spectrograms.

The Free Spoken Digit Dataset by Z. Jackson and contributors, under the licence CC BY-SA 4.0,
https://github.com/Jakobovski/free-spoken-digit-dataset, https://doi.org/10.5281/zenodo.1342401.
Each file is one word, 16 bit at 8,000 Hz, cut so that there is hardly any silence around it:
`recordings/7_jackson_32.wav` is the digit, the speaker, and the number of the take.

The official test part is takes 0 to 4 of everybody. So it asks for new recordings of voices that
are known. How well a voice is understood that was never heard, only `groups` can tell: the speaker
of each recording, by which `Dataset.split` and you can hold out a whole person.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import numpy as np

from ..check import Count, PathLike, checked, printable
from ..errors import DataError
from ..files import user_path
from .archive import Tree
from .cache import decoded
from .dataset import Dataset
from .sound import Seconds, decode_sound
from .sources import SOURCES, download_hint

NAME = re.compile(r"(\d)_([^_/]+)_(\d+)\.wav")
TEST_TAKES = 5  # takes 0 to 4
RECORDINGS = 3000  # of version 1.0.10
CLASSES = tuple("0123456789")


@checked
def load_fsdd(
    path: PathLike = "data", shape: tuple[Count, Count, Count] = (24, 24, 1), seconds: Seconds = 1.0
) -> tuple[Dataset, Dataset]:
    """The spoken digits as (train, test): 2,700 and 300 pictures (N, 24, 24, 1) uint8, 10 classes.

    path: the archive, the folder it unpacks to, its folder `recordings`, or a folder above:
    `data` for `data/fsdd`. shape, seconds: as for `decode_sound`, which makes the pictures.
    `groups` is the speaker of each recording.
    Raises `DataError` where there are none, where a file is damaged or named otherwise, and where a
    speaker is in one part only. Warns where recordings are missing or are more than were published.
    """
    place = _place(user_path(path))
    with Tree(place) as tree:
        names = [name for name in tree.names if _is_recording(name)]
        if not names:
            raise DataError(f"{place}: no recordings in it. {download_hint('fsdd')}")
        labels, speakers, takes = _facts(place, names)
        is_test = takes < TEST_TAKES
        _check_parts(place, labels, speakers, is_test)

        def decode(i: int) -> np.ndarray:
            return decode_sound(tree.read(names[i]), shape, seconds, tree.place(names[i]))

        facts = {"tree": tree.fingerprint(), "seconds": seconds}
        images, _, _ = decoded(place, names, facts, shape, decode)
    if len(names) != RECORDINGS:
        warnings.warn(
            f"{place}: {len(names):,} recordings, where version 1.0.10 has {RECORDINGS:,}; what "
            "is measured on them is not comparable",
            stacklevel=3,
        )
    both = Dataset(images, labels, CLASSES, "fsdd", speakers, seconds)
    return both[~is_test], both[is_test]


def _place(path: Path) -> Path:
    """The archive or the folder that has the recordings in it."""
    archives = [archive.file for archive in SOURCES["fsdd"][1]]
    if os.path.isfile(path):
        return path
    for folder in (path / "fsdd", path):
        # The archive unpacks to a folder such as free-spoken-digit-dataset-1.0.10.
        for inner in (folder, *sorted(folder.glob("*free-spoken-digit-dataset*"))):
            if os.path.isdir(inner / "recordings"):
                return inner
        for archive in archives:
            if os.path.isfile(folder / archive):
                return folder / archive
    if path.name == "recordings" and os.path.isdir(path):
        return path
    raise DataError(
        f"{path}: no folder recordings and no {' or '.join(archives)} at this path. "
        f"{download_hint('fsdd')}"
    )


def _is_recording(name: str) -> bool:
    """A .wav directly in a folder `recordings`, or in the folder that was named."""
    *folders, file = name.split("/")
    return file.lower().endswith(".wav") and (not folders or folders[-1] == "recordings")


def _facts(place: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digit, speaker and number of the take of each recording, from its name."""
    found = []
    for name in names:
        file = name.rpartition("/")[2]
        match = NAME.fullmatch(file)
        if match is None:
            raise DataError(
                f"{place}: {printable(file)} is not named DIGIT_SPEAKER_NUMBER.wav, as "
                "7_jackson_32.wav is; rename or remove it"
            )
        digit, speaker, take = match.groups()
        found.append((int(digit), speaker, int(take)))
    if len(set(found)) != len(found):
        digit, speaker, take = next(facts for i, facts in enumerate(found) if facts in found[:i])
        raise DataError(
            f"{place}: {digit}_{printable(speaker)}_{take}.wav is in it twice; remove one"
        )
    digits, speakers, takes = zip(*found)
    return np.array(digits, np.int64), np.array(speakers), np.array(takes, np.int64)


def _check_parts(
    place: Path, labels: np.ndarray, speakers: np.ndarray, is_test: np.ndarray
) -> None:
    """Refuse a speaker, or a digit of theirs, that is in one part only."""
    for speaker in np.unique(speakers).tolist():
        for digit in range(len(CLASSES)):
            chosen = (speakers == speaker) & (labels == digit)
            for part, lacks, takes in (
                (chosen & is_test, "testing", f"0 to {TEST_TAKES - 1}"),
                (chosen & ~is_test, "training", f"{TEST_TAKES} and above"),
            ):
                if not part.any():
                    raise DataError(
                        f"{place}: of {printable(speaker)} there is no {digit} for {lacks} (takes "
                        f"{takes}), so the numbers would say something else than they seem to; "
                        "add the takes or remove the speaker"
                    )
