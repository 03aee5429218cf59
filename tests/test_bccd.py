"""Blood cells: BCCD's photographs and boxes, and BloodMNIST, on small imitations."""

import hashlib
import io
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinyfractal import data
from tinyfractal.data import bccd
from tinyfractal.data.sources import SOURCES, Archive
from tinyfractal.errors import DataError

Image = pytest.importorskip("PIL.Image")
COLOURS = {"RBC": (200, 120, 120), "WBC": (90, 40, 160), "Platelets": (120, 60, 200)}
PAPER = (230, 225, 215)
SIDES = {"RBC": 40, "WBC": 80, "Platelets": 12}


def boxes_of(*cells):
    """[(class, left, top, right, bottom)] of cells (class, x, y of the centre)."""
    return [(c, x - SIDES[c] // 2, y - SIDES[c] // 2, x + SIDES[c] // 2, y + SIDES[c] // 2)
            for c, x, y in cells]  # fmt: skip


PHOTOGRAPHS = {  # name: what is in it
    "first": boxes_of(("RBC", 100, 100), ("Platelets", 160, 40), ("WBC", 60, 60)),
    "second": boxes_of(("RBC", 50, 50), ("RBC", 150, 80)),
    "third": boxes_of(("WBC", 120, 90), ("RBC", 20, 20)),
    "fourth": boxes_of(("Platelets", 30, 30), ("RBC", 90, 60), ("WBC", 150, 100)),
}
SPLIT = {"train": ["second", "first"], "val": ["third"], "test": ["fourth"]}


def photograph(boxes, size=(200, 150)):
    """A picture with a coloured rectangle in each box."""
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = PAPER
    for name, left, top, right, bottom in boxes:
        pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = COLOURS[name]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def annotation(boxes, size=(200, 150), head=""):
    """The XML as labelImg writes it."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in boxes
    )
    return (
        f"{head}<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{objects}</annotation>"
    )


def write(folder, photographs=PHOTOGRAPHS, split=SPLIT):
    """The folder BCCD, as the archive unpacks it."""
    root = folder / "BCCD"
    for name, boxes in photographs.items():
        put(root / "JPEGImages" / f"{name}.jpg", photograph(boxes))
        put(root / "Annotations" / f"{name}.xml", annotation(boxes))
    for part, names in split.items():
        put(root / "ImageSets" / "Main" / f"{part}.txt", "".join(f"{name}\n" for name in names))
    return root


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def pack(root, file):
    """The zip as GitHub makes it."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, f"BCCD_Dataset-master/{path.relative_to(root.parent)}")
        archive.writestr("BCCD_Dataset-master/README.md", "blood")
    return file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path):
    return write(tmp_path / "data" / "bccd")


def said(*args, **kwargs):
    """What `load_bccd` gives, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = data.load_bccd(*args, **kwargs)
    return *parts, [str(warning.message) for warning in caught]


# ----- What is read -----


def test_the_official_split_is_by_photograph_and_classes_come_from_the_boxes(root):
    train, test, told = said(root)
    assert told == []
    assert train.images.dtype == np.uint8
    assert train.shape == test.shape == (32, 32, 3)
    assert train.classes == test.classes == ("RBC", "WBC", "Platelets")
    assert train.groups.tolist() == ["second"] * 2 + ["first"] * 3 + ["third"] * 2
    assert train.labels.tolist() == [0, 0, 0, 2, 1, 1, 0]
    assert (test.groups.tolist(), test.labels.tolist()) == (["fourth"] * 3, [2, 0, 1])
    one, other = train.split(0.5)
    assert not set(one.groups) & set(other.groups)


@pytest.mark.parametrize("where", ["data", "data/bccd", "data/bccd/BCCD", "zip", "in data"])
def test_folder_and_archive_are_read_alike(root, where, tmp_path):
    expected = said(root)
    if where == "zip":
        path = pack(root, tmp_path / "some.zip")
    elif where == "in data":
        path = tmp_path / "other"
        path.mkdir()
        pack(root, path / SOURCES["bccd"][1][0].file)
    else:
        path = tmp_path / where
    for ours, theirs in zip(said(path)[:2], expected[:2]):
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
        assert np.array_equal(ours.groups, theirs.groups)
    assert len(data.load("bccd", root.parent.parent)[0]) == 7


def test_a_cell_is_the_mean_of_squares_around_the_centre_of_its_box(root):
    train, _, _ = said(root, window=96)
    pixels = np.asarray(Image.open(root / "JPEGImages" / "first.jpg"), np.float64)
    square = pixels[52:148, 52:148]  # around (100, 100)
    expected = square.reshape(32, 3, 32, 3, 3).mean(axis=(1, 3))
    assert np.abs(train.images[2] - expected).max() <= 0.51


def test_size_stays_visible_unless_the_window_is_the_box(root):
    def covered(image, name):
        return int((np.abs(image.astype(int) - COLOURS[name]).sum(axis=2) < 30).sum())

    for window, seen in ((96, (13**2, 4**2)), (None, (32**2, 32**2))):
        _, test, _ = said(root, window=window)
        platelet, red = covered(test.images[0], "Platelets"), covered(test.images[1], "RBC")
        assert abs(red - seen[0]) <= 60
        assert abs(platelet - seen[1]) <= 60


def test_beyond_the_edge_lies_the_median_colour_of_the_border(root):
    train, _, _ = said(root, window=96)
    corner = train.images[6]  # a red cell around (20, 20): the square begins at -28
    assert np.abs(corner[:9].astype(int) - PAPER).max() <= 2
    assert np.abs(corner[15:17, 15:17].astype(int) - COLOURS["RBC"]).max() <= 2


def test_a_window_larger_than_the_photograph_is_filled_up(root):
    train, _, _ = said(root, window=400)
    assert train.shape == (32, 32, 3)
    assert np.abs(train.images[2][0].astype(int) - PAPER).max() <= 2


# ----- Boxes that are wrong -----


def test_wrong_boxes_are_left_out_and_counted(tmp_path):
    boxes = [
        *boxes_of(("RBC", 100, 100), ("WBC", 60, 60)),
        ("RBC", 30, 30, 30, 50),  # no width
        ("RBC", 30, 50, 50, 30),  # less than no height
        ("RBC", 300, 10, 340, 50),  # outside
        ("RBC", -60, 10, -20, 50),
        ("RBC", 81, 80, 120, 120),  # the first, again
        ("Platelets", 20, 20, 101, 100),  # the second, of another class
    ]
    photographs = {**PHOTOGRAPHS, "second": boxes}
    train, _, told = said(write(tmp_path, photographs))
    assert train.labels[train.groups == "second"].tolist() == [0]
    (text,) = told
    assert "9 cells; left out: " in text
    assert "2 boxes without area, 2 boxes outside of the photograph" in text
    assert "1 boxes that repeat another, 2 boxes that give a cell a second class" in text


def test_a_box_over_the_edge_is_cut_off_there(tmp_path):
    over = [("WBC", 160, -30, 240, 50)]  # 200 wide: what is left is (160, 0, 200, 50)
    cut = [("WBC", 160, 0, 200, 50)]
    images = [
        said(write(tmp_path / str(i), {**PHOTOGRAPHS, "second": boxes}))[0].images[0]
        for i, boxes in enumerate((over, cut))
    ]
    assert np.abs(images[0].astype(int) - images[1]).max() <= 3  # of the JPEG


def test_a_photograph_without_cells_is_fine_but_not_a_part_without_any(tmp_path):
    train, _, told = said(write(tmp_path / "one", {**PHOTOGRAPHS, "second": []}))
    assert (len(train), told) == (5, [])
    with pytest.raises(DataError, match=r"the photographs of test\.txt have no cells"):
        data.load_bccd(write(tmp_path / "two", {**PHOTOGRAPHS, "fourth": []}))


# ----- Files that are wrong -----


def refused(root, text, **options):
    with pytest.raises(DataError, match=text) as caught:
        data.load_bccd(root, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("Annotations/first.xml", "<annotation><size>", "first.xml: cannot be read"),
        ("Annotations/first.xml", "", "first.xml: cannot be read"),
        ("Annotations/first.xml", b"\xff\xfe<\x00", "first.xml: cannot be read"),
        (
            "Annotations/first.xml",
            annotation([], head='<!DOCTYPE a [<!ENTITY x "y">]>'),
            "first.xml: refused, <!DOCTYPE may stand for gigabytes",
        ),
        ("Annotations/first.xml", "<a/>" + " " * (1 << 20), "more than 1,048,576"),
        (
            "Annotations/first.xml",
            annotation([("RBC", 1, 1, 9, 9)] * 501),
            "has 501 boxes, more than 500",
        ),
        (
            "Annotations/first.xml",
            annotation([("Basophil\x7f", 1, 1, 9, 9)]),
            "name of an object, RBC, WBC, Platelets, got 'Basophil",
        ),
        ("Annotations/first.xml", annotation([("RBC", 1, 1, "x", 9)]), "xmax needs .* got 'x'"),
        ("Annotations/first.xml", annotation([("RBC", "nan", 1, 9, 9)]), "xmin needs .* 'nan'"),
        ("Annotations/first.xml", annotation([("RBC", 1, 1, 9, "inf")]), "ymax needs .* 'inf'"),
        ("Annotations/first.xml", "<annotation/>", "first.xml: width needs a number of pixels"),
        ("JPEGImages/first.jpg", photograph([])[:900], "first.jpg: cannot be read, cut short"),
        ("JPEGImages/first.jpg", b"GIF89a", "first.jpg: cannot"),
        (
            "JPEGImages/first.jpg",
            photograph([], size=(150, 200)),
            "first.jpg: has 150 x 200 pixels, but its boxes are for 200 x 150",
        ),
        ("ImageSets/Main/test.txt", "fourth first\n", "test.txt: first is a photograph for train"),
        ("ImageSets/Main/test.txt", "fifth\n", "fifth.jpg: there is no such photograph"),
        ("ImageSets/Main/test.txt", "../../secret\n", "secret.jpg: there is no such photograph"),
        ("ImageSets/Main/test.txt", "", "the photographs of test.txt have no cells"),
    ],
)
def test_a_file_that_is_wrong_is_named(root, file, content, text):
    put(root / file, content)
    refused(root, text)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("JPEGImages/first.jpg", "first.jpg: there is no such photograph"),
        ("Annotations/first.xml", "first.xml: there is no such file"),
        ("ImageSets/Main/val.txt", "val.txt: there is no such file"),
        (
            "ImageSets/Main/test.txt",
            r"no ImageSets/Main/test.txt at this path. Download it: python",
        ),
    ],
)
def test_a_file_that_is_missing_is_named(root, file, text):
    (root / file).unlink()
    refused(root, text)


def test_an_archive_that_is_broken_or_another_one_is_refused(root, tmp_path):
    file = pack(root, tmp_path / "BCCD_Dataset-master.zip")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    refused(file, "BCCD_Dataset-master.zip: cannot be read, cut short or damaged")
    at = content.index(b"JPEGImages/first.jpg") + 400
    file.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    refused(file, "first.jpg")  # its checksum says so
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("README.md", "something else")
    refused(file, "expected one ImageSets/Main/test.txt, got 0")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/ImageSets/Main/test.txt", "")
        archive.writestr("b/ImageSets/Main/test.txt", "")
    refused(file, "expected one ImageSets/Main/test.txt, got 2")


def test_photographs_that_cannot_be_read_are_left_out_when_asked(root):
    put(root / "JPEGImages" / "first.jpg", b"no picture")
    refused(root, "1 of 4 files cannot be read: .*first.jpg.*skip_broken=True")
    train, test, told = said(root, skip_broken=True)
    assert set(train.groups) == {"second", "third"}
    assert len(test) == 3
    assert "left out: 1 photographs that cannot be read" in told[0]


# ----- The cache -----


def test_the_second_time_nothing_is_decoded(root, cache, monkeypatch):
    first = said(root)
    monkeypatch.setattr(bccd, "_opened", lambda *_: pytest.fail("decoded again"))
    again = said(root)
    for ours, theirs in zip(again[:2], first[:2]):
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
    monkeypatch.undo()
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(cache))
    decoded = []
    real = bccd._opened
    monkeypatch.setattr(bccd, "_opened", lambda *a: decoded.append(a) or real(*a))
    said(root, window=64)
    assert len(decoded) == 4
    moved = boxes_of(("RBC", 60, 50), ("RBC", 150, 80))
    put(root / "Annotations" / "second.xml", annotation(moved))
    said(root, window=64)
    assert len(decoded) == 8


# ----- The real ones -----

REAL = Path(__file__).parents[2] / "shared" / "data" / "bccd.tar.xz"


@pytest.mark.skipif(not REAL.exists(), reason="the photographs of BCCD are not here")
def test_the_published_boxes_are_as_the_docstring_counts_them(tmp_path):
    import tarfile

    with tarfile.open(REAL) as archive:
        archive.extractall(tmp_path, filter="data")
    train, test, (text,) = said(tmp_path)
    assert "left out: 8 boxes that repeat another, 2 boxes without area" in text
    assert np.bincount(train.labels).tolist() == [3341, 301, 292]
    assert np.bincount(test.labels).tolist() == [804, 71, 69]
    assert (len(set(train.groups)), len(set(test.groups))) == (292, 72)
    assert not set(train.groups) & set(test.groups)


# ----- BloodMNIST -----


def medmnist(file, classes=8, channels=3):
    rng = np.random.default_rng(0)
    shape = (28, 28, channels) if channels > 1 else (28, 28)
    arrays = {}
    for part, count in (("train", 16), ("val", 8), ("test", 8)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % classes
    np.savez(file, **arrays)


def test_bloodmnist_has_its_names(tmp_path):
    (tmp_path / "bloodmnist").mkdir()
    file = tmp_path / "bloodmnist" / "bloodmnist.npz"
    medmnist(file)
    for train, test in (
        data.load("bloodmnist", tmp_path),
        *map(data.load_bloodmnist, (file, file.parent)),
    ):
        assert (len(train), len(test), train.shape) == (16, 8, (28, 28, 3))
        assert train.classes[0] == "basophil"
        assert train.classes[7] == "platelet"
        assert train.name == "bloodmnist"


def test_bloodmnist_refuses_other_files(tmp_path):
    with pytest.raises(DataError, match=r"no bloodmnist.npz at this path. Download it: python"):
        data.load("bloodmnist", tmp_path)
    file = tmp_path / "bloodmnist.npz"
    for settings in ({"classes": 7}, {"channels": 1}):
        medmnist(file, **settings)
        with pytest.raises(DataError, match="expected pictures in colour and labels up to 7"):
            data.load_bloodmnist(file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=re.escape(str(file))):
        data.load_bloodmnist(file)


def test_a_download_with_another_md5_is_refused(tmp_path, monkeypatch):
    (archive,) = SOURCES["bloodmnist"][1]
    assert re.fullmatch("[0-9a-f]{32}", archive.md5)
    folder = tmp_path / "bloodmnist"
    folder.mkdir()
    (folder / archive.file).write_bytes(b"blood")
    wrong = hashlib.md5(b"blood?", usedforsecurity=False).hexdigest()
    right = hashlib.md5(b"blood", usedforsecurity=False).hexdigest()
    for md5 in (right, wrong):
        source = ("http://127.0.0.1:9/", (Archive(archive.file, None, md5=md5),))
        monkeypatch.setitem(SOURCES, "bloodmnist", source)
        if md5 == right:
            assert data.download("bloodmnist", tmp_path, progress=False) == folder
        else:
            with pytest.raises(DataError, match=f"expected md5 {wrong}|127.0.0.1"):
                data.download("bloodmnist", tmp_path, progress=False)
