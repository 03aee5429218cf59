"""The reader of the traffic signs, on a benchmark of eight images that the tests make."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinyfractal import data
from tinyfractal.data import gtsrb
from tinyfractal.errors import DataError

pytest.importorskip("PIL")

COLUMNS = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
# class: its tracks, and how many frames each has
TRACKS = {0: {0: 2}, 14: {0: 1, 1: 2}}
TESTED = {"00000.ppm": 14, "00001.ppm": 0, "00002.ppm": 14}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ppm(value, side=32):
    """A picture of one colour, (value, value + 1, value + 2)."""
    pixels = np.broadcast_to(np.array([value, value + 1, value + 2], np.uint8), (side, side, 3))
    return b"P6\n%d %d\n255\n" % (side, side) + pixels.tobytes()


def frames():
    """Class, track, frame and colour of each training image, in order."""
    all_of_them = [
        (c, t, f) for c, tracks in TRACKS.items() for t, n in tracks.items() for f in range(n)
    ]
    return [(*which, 10 * i) for i, which in enumerate(all_of_them)]


def line(name, kind):
    return f"{name};32;32;3;3;28;28;{kind}"


def training(above):
    """The training part in the official layout: {path: bytes}."""
    files = {}
    for c in TRACKS:
        rows = [COLUMNS]
        for kind, track, frame, value in frames():
            if kind == c:
                name = f"{track:05d}_{frame:05d}.ppm"
                files[f"{above}/{c:05d}/{name}"] = ppm(value)
                rows.append(line(name, c))
        files[f"{above}/{c:05d}/GT-{c:05d}.csv"] = "\n".join(rows).encode()
    return files


def part_to_test():
    """The two archives of the test part."""
    above = "GTSRB/Final_Test/Images"
    images = {f"{above}/{name}": ppm(100 + 10 * i) for i, name in enumerate(TESTED)}
    blind = "\n".join([COLUMNS.removesuffix(";ClassId"), *(f"{n};32;32;3;3;28;28" for n in TESTED)])
    images[f"{above}/GT-final_test.test.csv"] = blind.encode()  # as published: without the answers
    table = "\r\n".join([COLUMNS, *(line(name, kind) for name, kind in TESTED.items())])
    return images, {"GT-final_test.csv": table.encode()}


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def unpacked(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def official(folder, change=lambda training, images, answers: None, fixed=False):
    """The three official archives, after `change` had its way with what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (training(gtsrb.TRAINING[fixed]), *part_to_test())
    change(*parts)
    for name, files in zip((gtsrb.TRAINING_ZIPS[fixed], *gtsrb.TEST_ZIPS), parts):
        zipped(folder / name, files)
    return folder


def by_class():
    """The layout train/CLASS/TRACK_FRAME.ppm, test/CLASS/NUMBER.ppm."""
    files = {f"train/{c:05d}/{t:05d}_{f:05d}.ppm": ppm(v) for c, t, f, v in frames()}
    ordered = sorted(TESTED, key=lambda name: (TESTED[name], name))
    for name in ordered:
        files[f"test/{TESTED[name]:05d}/{name}"] = ppm(100 + 10 * list(TESTED).index(name))
    return files


def check(train, test):
    assert train.name == test.name == "gtsrb"
    assert train.images.dtype == test.images.dtype == np.uint8
    assert train.shape == test.shape == (32, 32, 3)
    assert train.labels.tolist() == [c for c, _, _, _ in frames()]
    assert train.groups.tolist() == [f"{c:05d}/{t:05d}" for c, t, _, _ in frames()]
    for image, (_, _, _, value) in zip(train.images, frames(), strict=True):
        assert (image == [value, value + 1, value + 2]).all()
    assert test.groups is None
    shown = {100 + 10 * i: kind for i, kind in enumerate(TESTED.values())}
    assert {int(i[0, 0, 0]): int(k) for i, k in zip(test.images, test.labels)} == shown
    assert train.classes[14] == "stop"
    assert len(train.classes) == 43


# ----- What is right is read -----


@pytest.mark.parametrize("fixed", [False, True])
def test_the_official_archives_are_read(tmp_path, fixed):
    check(*gtsrb.load_gtsrb(official(tmp_path / "gtsrb", fixed=fixed)))


def test_load_finds_them_where_download_puts_them(tmp_path):
    official(tmp_path / "gtsrb")
    check(*data.load("gtsrb", tmp_path))


def test_the_official_archives_are_read_unpacked_as_torchvision_has_them(tmp_path):
    images, answers = part_to_test()
    unpacked(tmp_path / "gtsrb", {**training(gtsrb.TRAINING[1]), **images, **answers})
    check(*gtsrb.load_gtsrb(tmp_path))


def test_the_complete_training_part_comes_before_that_of_the_earlier_competition(tmp_path):
    less = {n: b for n, b in training(gtsrb.TRAINING[1]).items() if "00014" in n}
    zipped(official(tmp_path) / gtsrb.TRAINING_ZIPS[1], less)
    check(*gtsrb.load_gtsrb(tmp_path))


@pytest.mark.parametrize("as_zip", [False, True])
def test_folders_by_class_are_read(tmp_path, as_zip):
    files = {f"gtsrb32/{name}": content for name, content in by_class().items()}
    if as_zip:
        zipped(tmp_path / "signs.zip", files)
        check(*gtsrb.load_gtsrb(tmp_path / "signs.zip"))
    else:
        unpacked(tmp_path / "signs", files)
        check(*gtsrb.load_gtsrb(tmp_path / "signs"))


def test_images_of_other_sizes_are_fitted_in(tmp_path):
    def larger(training, images, answers):
        training["GTSRB/Final_Training/Images/00000/00000_00000.ppm"] = ppm(0, side=57)

    train, _ = gtsrb.load_gtsrb(official(tmp_path, larger), size=24)
    assert train.shape == (24, 24, 3)
    assert (train.images[0] == [0, 1, 2]).all()


def test_a_split_holds_out_whole_tracks(tmp_path):
    unpacked(tmp_path / "signs", by_class())
    train, _ = gtsrb.load_gtsrb(tmp_path / "signs")
    kept, held_out = train.split(0.5)
    assert len(kept)
    assert len(held_out)
    assert not set(kept.groups) & set(held_out.groups)


def test_the_second_time_nothing_is_decoded(tmp_path, monkeypatch):
    official(tmp_path / "gtsrb")
    first = gtsrb.load_gtsrb(tmp_path)
    monkeypatch.setattr(gtsrb, "decode_image", None)
    second = gtsrb.load_gtsrb(tmp_path)
    check(*second)
    for before, now in zip(first, second):
        np.testing.assert_array_equal(before.images, now.images)


def test_a_changed_archive_is_decoded_again(tmp_path):
    gtsrb.load_gtsrb(official(tmp_path))

    def repaint(training, images, answers):
        training["GTSRB/Final_Training/Images/00000/00000_00000.ppm"] = ppm(77)

    train, _ = gtsrb.load_gtsrb(official(tmp_path, repaint))
    assert train.images[0, 0, 0, 0] == 77


# ----- The rest is refused, and the message says where -----

FIRST = "GTSRB/Final_Training/Images/00000/00000_00000.ppm"
TABLE = "GTSRB/Final_Training/Images/00014/GT-00014.csv"


def drop_table(training, images, answers):
    del training[TABLE]


def class_out_of_range(training, images, answers):
    training[TABLE] = training[TABLE].replace(b"28;28;14", b"28;28;43")


def class_of_another_folder(training, images, answers):
    training[TABLE] = training[TABLE].replace(b"28;28;14", b"28;28;13")


def no_class(training, images, answers):
    training[TABLE] = training[TABLE].replace(b"28;28;14", b"28;28")


def commas(training, images, answers):
    training[TABLE] = training[TABLE].replace(b";", b",")


def twice(training, images, answers):
    training[TABLE] += b"\n" + line("00000_00000.ppm", 14).encode()


def drop_image(training, images, answers):
    del training[FIRST]


def unlisted_image(training, images, answers):
    training[FIRST.replace("00000.ppm", "00007.ppm")] = ppm(1)


def cut_image(training, images, answers):
    training[FIRST] = training[FIRST][:-100]


def drop_answers(training, images, answers):
    answers.clear()
    answers["readme.txt"] = b"nothing here"


def blind_answers(training, images, answers):
    answers["GT-final_test.csv"] = images["GTSRB/Final_Test/Images/GT-final_test.test.csv"]


def drop_test_image(training, images, answers):
    del images["GTSRB/Final_Test/Images/00001.ppm"]


def answer_too_high(training, images, answers):
    answers["GT-final_test.csv"] = answers["GT-final_test.csv"].replace(b"28;14", b"28;99")


def no_images(training, images, answers):
    training.clear()
    training["readme.txt"] = b"nothing here"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_table, r"no GT-00014\.csv beside the images in .*00014\. Download it"),
        (class_out_of_range, r"GT-00014\.csv: line 2: expected a class from 0 to 42 .* got '43'"),
        (class_of_another_folder, r"00000_00000\.ppm lies in the folder of class 14, .* class 13"),
        (no_class, r"GT-00014\.csv: line 2: expected a class from 0 to 42 .* got ''"),
        (commas, r"GT-00014\.csv: expected the columns Filename and ClassId with semicolons"),
        (twice, r"GT-00014\.csv: line 5: 00000_00000\.ppm is in it twice"),
        (drop_image, r"1 images are in the table, but not there: .*00000/00000_00000\.ppm"),
        (unlisted_image, r"1 images are there, but not in the table: .*00000/00000_00007\.ppm"),
        (cut_image, r"00000_00000\.ppm.* cut short"),
        (drop_answers, r"no GT-final_test\.csv, which says what test images show"),
        (blind_answers, r"GT-final_test\.csv: expected the columns Filename and ClassId"),
        (drop_test_image, r"1 images are in the table, but not there: 00001\.ppm"),
        (answer_too_high, r"GT-final_test\.csv: line 2: expected a class .* got '99'"),
        (no_images, r"no training images such as train/00000/00000_00000\.ppm"),
    ],
)
def test_what_is_missing_damaged_or_contradictory_is_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        gtsrb.load_gtsrb(official(tmp_path, change))


@pytest.mark.parametrize("name", [gtsrb.TRAINING_ZIPS[0], *gtsrb.TEST_ZIPS])
def test_a_missing_archive_is_named_and_the_way_to_get_it(tmp_path, name):
    (official(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=rf"no {name} in it\. Download it: .*download\('gtsrb'\)"):
        gtsrb.load_gtsrb(tmp_path)


def test_a_folder_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(DataError, match=r"no such folder\. Download it"):
        data.load("gtsrb", tmp_path / "nowhere")


@pytest.mark.parametrize("name", [gtsrb.TRAINING_ZIPS[0], *gtsrb.TEST_ZIPS])
def test_a_broken_archive_is_refused(tmp_path, name):
    archive = official(tmp_path) / name
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{name}: cannot be read, cut short or damaged"):
        gtsrb.load_gtsrb(tmp_path)


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path):
    archive = official(tmp_path) / gtsrb.TRAINING_ZIPS[0]
    content = bytearray(archive.read_bytes())
    content[len(FIRST) + 40] ^= 255  # in the compressed pixels of the first image
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"00000_00000\.ppm: cannot be read, cut short or damaged"):
        gtsrb.load_gtsrb(tmp_path)


@pytest.mark.parametrize("part", ["train/00014/00000_00000.ppm", "test/00014/00000.ppm"])
def test_a_folder_of_no_class_is_refused(tmp_path, part):
    files = by_class()
    files[part.replace("00014", "00043")] = files.pop(part)
    unpacked(tmp_path / "signs", files)
    with pytest.raises(DataError, match="expected a class from 00000 to 00042, got 00043"):
        gtsrb.load_gtsrb(tmp_path / "signs")


def test_a_test_part_that_is_missing_is_said_to_be(tmp_path):
    unpacked(tmp_path / "signs", {n: b for n, b in by_class().items() if n.startswith("train")})
    with pytest.raises(DataError, match=r"no test images such as test/00000/00000\.ppm"):
        gtsrb.load_gtsrb(tmp_path / "signs")


def test_two_copies_are_not_taken_for_one_of_twice_the_size(tmp_path):
    for copy in ("old", "new"):
        unpacked(tmp_path / "signs" / copy, by_class())
    with pytest.raises(DataError, match="has 'new/train' and 'old/train'; name one of the two"):
        gtsrb.load_gtsrb(tmp_path / "signs")


def test_the_test_images_of_the_earlier_competition_are_not_taken_for_the_test_part(tmp_path):
    # They are in the final training part, so a network would be tested on what it had learned.
    files = training(gtsrb.TRAINING[0])
    files["GTSRB/Online-Test-sort/00014/00000.ppm"] = ppm(5)
    unpacked(tmp_path / "signs", files)
    with pytest.raises(DataError, match="no test images"):
        gtsrb.load_gtsrb(tmp_path / "signs")


def test_a_class_that_is_only_in_the_test_part_brings_a_warning(tmp_path):
    files = {n: b for n, b in by_class().items() if not n.startswith("train/00014")}
    unpacked(tmp_path / "signs", files)
    with pytest.warns(UserWarning, match="no training image shows 'stop', class 14"):
        gtsrb.load_gtsrb(tmp_path / "signs")


# ----- The real thing, where it is -----

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "gtsrb32.tar.xz"


@pytest.mark.skipif(not REAL.exists(), reason="the traffic signs are not there")
def test_every_track_of_the_benchmark_is_there_and_shows_one_class(tmp_path):
    shutil.unpack_archive(REAL, tmp_path, filter="data")
    train, test = gtsrb.load_gtsrb(tmp_path / "gtsrb32")
    assert (len(train), len(test)) == (3921, 4210)
    assert len(set(train.groups)) == 1307
    assert all(g[:5] == f"{k:05d}" for g, k in zip(train.groups, train.labels))
    assert len(set(train.labels)) == len(set(test.labels)) == 43
