"""Spoken digits: the official split, the speakers, and what a damaged archive says."""

import io
import os
import struct
import time
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinyfractal import data
from tinyfractal.data import fsdd
from tinyfractal.errors import DataError

ROOT = "free-spoken-digit-dataset-1.0.10"
SPEAKERS = ("ann", "bob")
TAKES = (0, 4, 5, 11)
REAL = Path(__file__).parents[2] / "shared" / "data" / "fsdd.tar.xz"


@pytest.fixture(autouse=True)
def by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fsdd, "RECORDINGS", 10 * len(SPEAKERS) * len(TAKES))


def word(digit, speaker="ann", take=0):
    """A tone whose height is the digit, as the bytes of a WAV file."""
    t = np.arange(1600 + 10 * take) / 8000
    samples = np.sin(2 * np.pi * (200 + 300 * digit + 40 * SPEAKERS.index(speaker)) * t)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((10000 * samples).astype("<i2").tobytes())
    return stream.getvalue()


def recordings():
    return {
        f"recordings/{digit}_{speaker}_{take}.wav": word(digit, speaker, take)
        for digit in range(10)
        for speaker in SPEAKERS
        for take in TAKES
    }


def folder(tmp_path, files=None, name="fsdd"):
    for file, content in (recordings() if files is None else files).items():
        place = tmp_path / name / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return tmp_path / name


def archive(tmp_path, files=None):
    place = tmp_path / "fsdd" / f"{ROOT}.zip"
    place.parent.mkdir()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{ROOT}/README.md", "Free Spoken Digit Dataset")
        packed.writestr(f"{ROOT}/utils/fsdd.py", "import this")
        for file, content in (recordings() if files is None else files).items():
            packed.writestr(f"{ROOT}/{file}", content)
    return place


def check(train, test, speakers=SPEAKERS):
    assert train.classes == test.classes == tuple("0123456789")
    assert train.shape == test.shape == (24, 24, 1)
    assert train.images.dtype == np.uint8
    assert len(train) == len(test) == 20 * len(speakers)
    for part, takes in ((test, (0, 4)), (train, (5, 11))):
        assert set(part.groups) == set(speakers)
        assert (np.bincount(part.labels) == 2 * len(speakers)).all()
        for speaker in speakers:
            for digit in range(10):
                chosen = (part.groups == speaker) & (part.labels == digit)
                expected = [
                    data.decode_sound(word(digit, speaker, take), (24, 24, 1)) for take in takes
                ]
                found = part.images[chosen]
                assert {image.tobytes() for image in found} == {e.tobytes() for e in expected}


def test_the_official_split_and_the_speaker_of_each_recording(tmp_path):
    folder(tmp_path)
    for path in (tmp_path, tmp_path / "fsdd", tmp_path / "fsdd" / "recordings"):
        check(*data.load_fsdd(path))
    check(*data.load("fsdd", tmp_path))


def test_the_archive_is_read_where_it_lies_and_what_it_unpacks_to(tmp_path):
    place = archive(tmp_path)
    for path in (tmp_path, tmp_path / "fsdd", place):
        check(*data.load_fsdd(path))
    assert sorted(os.listdir(tmp_path)) == ["cache", "fsdd"]
    assert os.listdir(tmp_path / "fsdd") == [place.name]
    (tmp_path / "there").mkdir()
    with zipfile.ZipFile(place) as packed:
        packed.extractall(tmp_path / "there")
    check(*data.load_fsdd(tmp_path / "there"))


def test_the_second_time_nothing_is_decoded_and_a_change_is_seen(tmp_path, monkeypatch):
    place = folder(tmp_path)
    first = data.load_fsdd(place)
    monkeypatch.setattr(fsdd, "decode_sound", lambda *_: pytest.fail("decoded again"))
    second = data.load_fsdd(place)
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one.images, two.images)
        assert np.array_equal(one.groups, two.groups)
    monkeypatch.undo()
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fsdd, "RECORDINGS", 80)
    changed = place / "recordings" / "3_ann_0.wav"
    time.sleep(0.01)
    changed.write_bytes(word(8))
    _, test = data.load_fsdd(place)
    threes = test.images[(test.labels == 3) & (test.groups == "ann")]
    assert any(np.array_equal(image, data.decode_sound(word(8), (24, 24, 1))) for image in threes)
    longer, _ = data.load_fsdd(place, seconds=2.0)
    assert not np.array_equal(longer.images, second[0].images)
    small, _ = data.load_fsdd(place, (16, 20, 1), seconds=0.5)
    assert small.shape == (16, 20, 1)


def test_a_whole_speaker_can_be_held_out(tmp_path):
    train, _ = data.load_fsdd(folder(tmp_path))
    rest, held_out = train.split(0.5)
    assert len(set(rest.groups)) == len(set(held_out.groups)) == 1
    assert set(rest.groups) != set(held_out.groups)


def test_what_is_not_there_is_said_with_how_to_get_it(tmp_path):
    with pytest.raises(
        DataError, match=r"no folder recordings and no .*1\.0\.10\.zip.*download\('fsdd'"
    ):
        data.load_fsdd(tmp_path)
    with pytest.raises(DataError, match="no folder recordings"):
        data.load("fsdd", tmp_path / "nowhere")
    (tmp_path / "recordings").mkdir()
    with pytest.raises(DataError, match=r"no recordings in it\. Download it"):
        data.load_fsdd(tmp_path)


@pytest.mark.parametrize("make", [folder, archive])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("recordings/ten_ann_0.wav", word(1), r"ten_ann_0\.wav is not named DIGIT_SPEAKER_NUMBER"),
        ("recordings/12_ann_0.wav", word(1), r"12_ann_0\.wav is not named"),
        ("recordings/1_ann_x.wav", word(1), r"1_ann_x\.wav is not named"),
        ("recordings/1_ann.wav", word(1), r"1_ann\.wav is not named"),
        ("recordings/1_ann_6.WAV", word(1), r"1_ann_6\.WAV is not named"),
        ("recordings/1_eve_7.wav", word(1), r"of eve there is no 0 for testing \(takes 0 to 4\)"),
        ("recordings/1_ann_00.wav", word(1), r"1_ann_0\.wav is in it twice"),
        ("recordings/1_ann_6.wav", word(1)[:-100], r"1_ann_6\.wav: cut short, 3,100 bytes"),
        ("recordings/1_ann_6.wav", b"ID3" + word(1), r"1_ann_6\.wav: is no WAV file"),
    ],
)
def test_a_recording_that_is_not_as_published_is_refused(tmp_path, make, name, content, words):
    place = make(tmp_path, recordings() | {name: content})
    with pytest.raises(DataError, match=words) as error:
        data.load_fsdd(place)
    assert str(place) in str(error.value)


def test_a_speaker_who_is_in_one_part_only_is_refused(tmp_path):
    files = recordings()
    no_test = {n: c for n, c in files.items() if not n.endswith(("bob_0.wav", "bob_4.wav"))}
    with pytest.raises(DataError, match=r"of bob there is no 0 for testing"):
        data.load_fsdd(folder(tmp_path, no_test, "a"))
    no_training = {n: c for n, c in files.items() if "7_ann_5" not in n and "7_ann_11" not in n}
    with pytest.raises(DataError, match=r"of ann there is no 7 for training \(takes 5 and above\)"):
        data.load_fsdd(folder(tmp_path, no_training, "b"))


def test_missing_recordings_are_remarked(tmp_path):
    files = recordings()
    del files["recordings/3_ann_5.wav"]
    with pytest.warns(UserWarning, match="79 recordings, where version 1.0.10 has 80") as remarks:
        train, _ = data.load_fsdd(folder(tmp_path, files))
    assert len(train) == 39
    assert remarks[0].filename == __file__


def test_broken_archives_are_refused(tmp_path):
    place = archive(tmp_path)
    whole = place.read_bytes()
    place.write_bytes(whole[:-30])
    with pytest.raises(DataError, match=f"{place.name}: cannot be read"):
        data.load_fsdd(tmp_path)
    damaged = bytearray(whole)
    start = whole.index(b"recordings/0_ann_0.wav") + 60
    damaged[start : start + 8] = b"\xff" * 8
    place.write_bytes(damaged)
    with pytest.raises(DataError, match=r"0_ann_0\.wav"):
        data.load_fsdd(tmp_path)
    place.write_bytes(b"<html>Not found</html>")
    with pytest.raises(DataError, match="cannot be read"):
        data.load_fsdd(tmp_path)
    huge = bytearray(whole)
    entry = whole.rindex(b"PK\x01\x02")
    struct.pack_into("<I", huge, entry + 24, 1 << 31)  # says that it unpacks to 2 GiB
    place.write_bytes(huge)
    with pytest.raises(DataError, match=r"unpacks to 2,147,483,648 bytes"):
        data.load_fsdd(tmp_path)
