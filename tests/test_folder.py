"""Folders of pictures and sounds: what lies in them is read, kept, and divided without leaks."""

import os
import shutil
import struct
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinyfractal import data
from tinyfractal.data import cache, folder
from tinyfractal.data.archive import Tree
from tinyfractal.data.cache import decoded
from tinyfractal.data.images import decode_image
from tinyfractal.errors import DataError

Image = pytest.importorskip("PIL.Image")
rng = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYFRACTAL_CACHE", str(tmp_path / "cache"))


def save(path, size=(12, 10), mode="RGB"):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size[::-1] if mode == "L" else (*size[::-1], len(mode))
    Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode).save(path)


def photos(root="photos", count=10, mode="RGB", classes=("cats", "dogs")):
    for label in classes:
        for i in range(count):
            save(f"{root}/{label}/{i:02d}.png", mode=mode)
    return root


def wav(path, rate=8000, tone=440.0, seconds=0.5):
    """A tone as 16-bit mono PCM, written by hand."""
    t = np.arange(int(rate * seconds)) / rate
    samples = (20_000 * np.sin(2 * np.pi * tone * t)).astype("<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16,
                       1, 1, rate, 2 * rate, 2, 16)  # fmt: skip
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + struct.pack("<4sI", b"data", len(samples)) + samples)


# ----- Parts -----


def test_a_fifth_of_each_class_is_for_testing_and_nothing_is_lost():
    found = data.ImageFolder(photos(count=10), size=8)
    assert found.classes == ("cats", "dogs")
    assert found.val is None
    assert np.bincount(found.train.labels).tolist() == [8, 8]
    assert np.bincount(found.test.labels).tolist() == [2, 2]
    names = sorted(f"{label}/{i:02d}.png" for label in ("cats", "dogs") for i in range(10))
    assert sorted(found.files) == names


def test_each_image_is_its_file_as_predict_reads_it():
    found = data.ImageFolder(photos(count=5), size=8)
    for image, label, name in zip(
        found.everything.images, found.everything.labels, found.files, strict=True
    ):
        expected = data.read_image(f"photos/{name}", (8, 8, 3))
        assert np.abs(image / 255 - expected).max() <= 0.5 / 255 + 1e-6
        assert found.classes[label] == name.split("/")[0]


def test_a_picture_that_is_added_moves_few_others():
    before = data.ImageFolder(photos(count=40), size=4)
    tested = set(before.files[len(before.train) :])
    save("photos/cats/new.png")
    after = data.ImageFolder("photos", size=4)
    assert len(tested ^ set(after.files[len(after.train) :])) <= 2


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "TESTING")])
def test_parts_that_the_folder_has_stay_as_they_are(names):
    for part, count in zip(names, (4, 3, 2), strict=True):
        photos(f"photos/{part}", count)
    found = data.ImageFolder("photos", size=4)
    assert [len(part) for part in (found.train, found.val, found.test)] == [8, 6, 4]
    for part, name in ((found.train, names[0]), (found.val, names[1]), (found.test, names[2])):
        files = [found.files[i] for i in range(18) if found.files[i].startswith(name)]
        assert len(files) == len(part)
    assert all(name.startswith(names[0]) for name in found.files[:8])
    assert all(name.startswith(names[2]) for name in found.files[14:])


def test_names_as_macos_writes_them_are_the_same_names():
    composed, apart = "caf\u00e9", "cafe\u0301"
    photos("photos/train", classes=(composed, "b"))
    photos("photos/test", classes=(apart, "b"))
    assert data.ImageFolder("photos", size=4).classes == ("b", composed)
    for i in range(40):
        save(f"mine/{composed}/{composed}{i}.png")
        save(f"mine/b/{i}.png")
    for file in Path("mine").rglob("*.png"):
        apart_too = Path(str(file).replace("mine", "mac").replace(composed, apart))
        apart_too.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, apart_too)
    mine, mac = data.ImageFolder("mine", size=4), data.ImageFolder("mac", size=4)
    assert mine.files == [name.replace(apart, composed) for name in mac.files]


def test_val_without_test_is_what_is_tested_on():
    photos("photos/train", 4)
    photos("photos/val", 3)
    found = data.ImageFolder("photos", size=4)
    assert found.val is None
    assert len(found.test) == 6


def test_train_alone_gives_a_fifth():
    photos("photos/train", 10)
    found = data.ImageFolder("photos", size=4)
    assert (len(found.train), len(found.test)) == (16, 4)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_held_out_images_are_a_part_of_each_class_and_copy_nothing(fraction):
    photos(count=10)
    photos(count=30, classes=("mice",))
    found = data.ImageFolder("photos", size=4)
    train, held = found.hold_out(fraction)
    for label, count in enumerate(np.bincount(found.train.labels)):
        assert (held.labels == label).sum() == int(fraction * count + 0.5)
    assert len(train) + len(held) == len(found.train)
    assert np.shares_memory(train.images, found.train.images)
    assert np.shares_memory(held.images, found.train.images)
    assert not np.shares_memory(train.images, held.images)


def test_load_reads_a_folder_and_a_zip_alike():
    photos()
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for file in Path("photos").rglob("*.png"):
            archive.write(file, file.relative_to("photos"))
        archive.writestr("__MACOSX/cats/._00.png", b"junk")
    for mine, theirs in zip(data.load("photos"), data.load("photos.zip"), strict=True):
        np.testing.assert_array_equal(mine.images, theirs.images)
        np.testing.assert_array_equal(mine.labels, theirs.labels)


def test_a_zip_of_the_folder_itself_is_that_folder():
    shutil.make_archive("packed", "zip", ".", photos())
    with zipfile.ZipFile("packed.zip") as archive:
        assert "photos/cats/00.png" in archive.namelist()
    mine, theirs = data.ImageFolder("photos", size=4), data.ImageFolder("packed.zip", size=4)
    assert mine.files == theirs.files
    np.testing.assert_array_equal(mine.everything.images, theirs.everything.images)
    assert mine.classes == theirs.classes


def test_a_class_may_be_a_link_and_a_circle_of_links_ends():
    photos("elsewhere")
    photos(classes=("mice",))
    os.symlink(Path("elsewhere/cats").resolve(), "photos/cats")
    os.symlink(Path("photos").resolve(), "photos/mice/again")
    found = data.ImageFolder("photos", size=4)
    assert found.classes == ("cats", "mice")
    assert len(found.everything) == 20


def test_a_folder_that_is_linked_twice_is_there_twice():
    photos("photos/train", 4)
    Path("photos/test").mkdir()
    for label in ("cats", "dogs"):
        os.symlink(f"../train/{label}", f"photos/test/{label}")
    with pytest.warns(UserWarning, match="8 of 8 test pictures look exactly like one in training"):
        found = data.ImageFolder("photos", size=4)
    assert (len(found.train), len(found.test)) == (8, 8)


# ----- Pictures -----


def test_grey_is_found_or_asked_for():
    photos(mode="L")
    assert data.ImageFolder("photos", size=4).train.shape == (4, 4, 1)
    save("photos/cats/colour.png")
    assert data.ImageFolder("photos", size=4).train.shape == (4, 4, 3)
    assert data.ImageFolder("photos", size=4, gray=True).train.shape == (4, 4, 1)
    assert data.ImageFolder("photos", size=4).train.shape == (4, 4, 3)


def test_odd_formats_are_read_upright_on_white_and_unsqueezed():
    photos(count=3)
    red = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me a quarter"
    red.save("photos/cats/turned.jpg", exif=exif, quality=100)
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save("photos/cats/clear.png")
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save("photos/cats/print.jpg", quality=100)
    Image.new("P", (20, 20), 0).save("photos/cats/palette.gif")
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save("photos/cats/deep.png")
    wide = Image.new("RGB", (40, 20), "white")
    wide.paste("black", (10, 5, 30, 15))
    wide.save("photos/cats/wide.bmp")
    found = data.ImageFolder("photos", size=8)
    read = dict(zip(found.files, found.everything.images, strict=True))
    assert (read["cats/clear.png"] == 255).all()
    assert (read["cats/palette.gif"] == 0).all()
    assert (read["cats/deep.png"] == round(40_000 / 65_535 * 255)).all()
    for name in ("cats/turned.jpg", "cats/print.jpg"):
        assert (abs(read[name].astype(int) - (255, 0, 0)) < 8).all(axis=(0, 1)).all()
    ink = np.argwhere(read["cats/wide.bmp"][..., 0] < 128)
    height, width = ink.max(axis=0) - ink.min(axis=0) + 1
    assert (height, width) == (2, 4)  # 10 by 20 pixels, a fifth as large, in the middle
    np.testing.assert_array_equal(ink.mean(axis=0), (3.5, 3.5))


@pytest.mark.parametrize("turned", [1, 6])
def test_a_large_photograph_is_read_quickly_and_alike(turned):
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    large = small.resize((1601, 1201), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = turned
    large.save("large.jpg", quality=95, exif=exif)
    large.save("large.png", exif=exif)
    with pytest.warns(UserWarning, match="1601 x 1201" if turned == 1 else "1201 x 1601"):
        photo = data.read_image("large.jpg", (32, 32, 3))
    with pytest.warns(UserWarning, match="were reduced"):
        exact = data.read_image("large.png", (32, 32, 3))
    assert np.abs(photo - exact).max() < 0.1
    assert np.abs(photo - exact).mean() < 0.02
    large.resize((4000, 3000)).save("photo.jpg")
    start = time.process_time()
    with open("photo.jpg", "rb") as file:
        decode_image("photo.jpg", file, (32, 32, 3))
    quick = time.process_time() - start
    start = time.process_time()
    np.asarray(Image.open("photo.jpg"))
    assert quick < 0.7 * (time.process_time() - start)


def test_broken_files_are_listed_and_skipped_only_when_asked():
    photos(count=6)
    whole = Path("photos/cats/00.png").read_bytes()
    Path("photos/cats/cut.png").write_bytes(whole[: len(whole) // 2])
    Path("photos/dogs/text.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"photos: 2 of 14 files cannot be read: ") as error:
        data.ImageFolder("photos", size=4)
    assert "cut.png" in str(error.value)
    assert "text.jpg" in str(error.value)
    assert "--skip-broken" in str(error.value)
    found = data.ImageFolder("photos", size=4, skip_broken=True)
    assert len(found.broken) == 2
    assert len(found.everything) == 12
    assert not {"cats/cut.png", "dogs/text.jpg"} & set(found.files)
    with pytest.raises(DataError, match="2 of 14"):  # also from the cache
        data.ImageFolder("photos", size=4)


def test_a_class_of_broken_files_is_not_skipped():
    photos()
    Path("photos/mice").mkdir()
    for i in range(6):
        Path(f"photos/mice/{i}.png").write_text("no picture")
    with pytest.raises(DataError, match="of the class 'mice' no file for training can be read"):
        data.ImageFolder("photos", size=4, skip_broken=True)


def test_a_picture_in_two_parts_is_said():
    photos("photos/train", 4)
    photos("photos/test", 4)
    shutil.copy("photos/train/cats/00.png", "photos/test/dogs/twin.png")
    with pytest.warns(UserWarning, match=r"1 of 9 test pictures look exactly like one in training"):
        data.ImageFolder("photos", size=4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, "there is no such folder"),
        (lambda: Path("photos").mkdir(), "no pictures or .wav files in it"),
        (lambda: photos(classes=("cats",)), "one class only, 'cats'.*take photos/cats"),
        (lambda: (photos(), Path("photos/mice").mkdir()), "photos/mice: a class without pictures"),
        (
            lambda: (photos(), Path("photos/mice").mkdir(), Path("photos/mice/1.HEIC").touch()),
            "photos/mice: a class without pictures; mice/1.HEIC is not of a kind that can be read",
        ),
        (
            lambda: (Path("photos").mkdir(), Path("photos/1.HEIC").touch()),
            "no pictures or .wav files in it, but 1.HEIC; save it as JPEG",
        ),
        (lambda: save("photos/1.png"), "1.png lies in no folder"),
        (lambda: (photos(), photos("photos/train")), "has train beside cats"),
        (
            lambda: (photos("photos/training_set"), photos("photos/test_set")),
            "test_set and training_set sound like parts, not like classes; call them train and",
        ),
        (lambda: photos("photos/test"), "no train folder"),
        (
            lambda: (photos("photos/train"), photos("photos/test", classes=("cats", "mice"))),
            "test has a class 'mice' that train has not",
        ),
        (lambda: (photos(), wav("photos/cats/1.wav")), "sounds .* and pictures"),
        (lambda: photos(count=2), "no class has 3 or more"),
        (lambda: (photos(), Path("photos").rename("x"), Path("photos").write_text("x")), "photos"),
    ],
)
def test_a_folder_that_is_none_of_these_is_refused_in_words(make, words):
    make()
    with pytest.raises(DataError, match=words):
        data.ImageFolder("photos", size=4)


def test_what_is_left_out_is_said():
    photos()
    save("photos/loose.png")
    Path("photos/cats/notes.txt").write_text("mine")
    Path("photos/cats/.hidden.png").write_text("of the system")
    with pytest.warns(UserWarning, match="left out") as remarks:
        data.ImageFolder("photos", size=4)
    said = [str(remark.message) for remark in remarks]
    assert "photos: left out, as no pictures by their names: cats/notes.txt" in said
    assert "photos: left out, as they lie in no folder of a class: loose.png" in said


def test_a_note_among_many_pictures_is_found_quickly():
    class Many:
        path, zip = Path("photos"), None
        names = [f"{label}/{i:05d}.png" for label in "ab" for i in range(20_000)] + ["z.txt"]

    start = time.perf_counter()
    with pytest.raises(FileNotFoundError):  # then it looks for empty folders
        folder.find(Many())
    assert time.perf_counter() - start < 5  # it took a minute


def test_a_zip_that_is_damaged_is_refused():
    Path("photos.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=r"photos.zip: cannot be read"):
        data.ImageFolder("photos.zip")


def test_a_file_in_a_zip_whose_checksum_is_wrong_is_broken():
    photos()
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for file in Path("photos").rglob("*.png"):
            archive.write(file, file.relative_to("photos"))
    content = bytearray(Path("photos.zip").read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    Path("photos.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"1 of 20 files cannot be read: photos.zip: "):
        data.ImageFolder("photos.zip", size=4)


# ----- The cache -----


def test_the_second_start_decodes_nothing_and_opens_no_picture(monkeypatch):
    first = data.ImageFolder(photos(), size=4)

    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folder, "decode_image", fail)
    monkeypatch.setattr(folder, "is_grey", fail)
    second = data.ImageFolder("photos", size=4)
    np.testing.assert_array_equal(first.everything.images, second.everything.images)
    assert first.files == second.files


def test_what_training_kept_serves_testing_and_training_again(monkeypatch):
    photos()
    first = data.ImageFolder("photos", size=4)
    kept = sorted(Path("cache").iterdir())

    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folder, "decode_image", fail)
    monkeypatch.setattr(folder, "is_grey", fail)
    data.ImageFolder("photos", shape=(4, 4, 3), classes=first.classes)
    data.ImageFolder("photos", size=4)
    Path("photos/notes.txt").write_text("no picture")
    with pytest.warns(UserWarning, match="left out, as no pictures"):
        data.ImageFolder("photos", size=4)
    assert sorted(Path("cache").iterdir()) == kept


def test_a_changed_file_is_decoded_again_and_the_old_cache_goes():
    data.ImageFolder(photos(), size=4)
    Image.new("RGB", (9, 9), "white").save("photos/cats/00.png")
    os.utime("photos/cats/00.png", ns=(1, 1))
    found = data.ImageFolder("photos", size=4)
    assert (found.everything.images[found.files.index("cats/00.png")] == 255).all()
    assert len(list(Path("cache").glob("*.pixels"))) == 1
    data.ImageFolder("photos", size=5)  # another size lies beside it
    assert len(list(Path("cache").glob("*.pixels"))) == 2


def test_files_that_trade_places_are_noticed():
    for label, colour in (("cats", "black"), ("dogs", "white")):
        photos(classes=(label,))
        Image.new("RGB", (9, 9), colour).save(f"photos/{label}/0.bmp")
        os.utime(f"photos/{label}/0.bmp", (1e9, 1e9))  # as from an archive
    data.ImageFolder("photos", size=4)
    for old, new in (("cats/0", "0"), ("dogs/0", "cats/0"), ("0", "dogs/0")):
        Path(f"photos/{old}.bmp").rename(f"photos/{new}.bmp")
    found = data.ImageFolder("photos", size=4)
    assert (found.everything.images[found.files.index("cats/0.bmp")] == 255).all()


def test_a_file_that_could_not_be_read_is_tried_again(monkeypatch):
    photos()
    real = folder.decode_image

    def away(name, *more):
        if str(name).endswith("00.png"):
            raise DataError(f"{name}: cannot be read (Input/output error)")
        return real(name, *more)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "decode_image", away)
        for _ in range(2):
            assert len(data.ImageFolder("photos", size=4, skip_broken=True).everything) == 18
    assert len(data.ImageFolder("photos", size=4, skip_broken=True).everything) == 20


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_that_leads_nowhere_is_a_broken_file():
    os.symlink("nowhere.png", f"{photos()}/cats/dead.png")
    with pytest.raises(DataError, match=r"1 of 21 files cannot be read: .*dead.png"):
        data.ImageFolder("photos", size=4)
    assert len(data.ImageFolder("photos", size=4, skip_broken=True).everything) == 20


def test_what_a_killed_program_left_goes_a_day_later():
    data.ImageFolder(photos(), size=4)
    (pixels,) = Path("cache").glob("*.pixels")
    old, new = (Path(f"cache/.{pixels.name}.{i}.tmp") for i in (1, 2))
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (1, 1))
    pixels.unlink()
    data.ImageFolder("photos", size=4)
    assert new.exists()
    assert not old.exists()


@pytest.mark.parametrize("damage", ["cut", "no facts", "wrong facts"])
def test_a_damaged_cache_is_made_again(damage):
    first = data.ImageFolder(photos(), size=4).everything.images.copy()
    (pixels,) = Path("cache").glob("*.pixels")
    facts = pixels.with_suffix(".json")
    if damage == "cut":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "no facts":
        facts.unlink()
    else:
        facts.write_text("{")
    np.testing.assert_array_equal(data.ImageFolder("photos", size=4).everything.images, first)


def test_a_large_folder_is_mapped_and_not_read(monkeypatch):
    monkeypatch.setattr(cache, "AT_ONCE", 4)
    alive = []

    def decode(i):
        alive.append(i)
        return np.full((64, 64, 3), i, np.uint8)

    names = [str(i) for i in range(50)]
    images, kept, broken = decoded(Path("x"), names, {}, (64, 64, 3), decode, progress=False)
    assert sorted(alive) == kept == list(range(50))
    assert broken == []
    assert not images.flags.owndata
    assert not images.flags.writeable
    assert (images[:, 5, 5, 1] == np.arange(50)).all()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_folder_that_cannot_be_written_is_named(monkeypatch):
    Path("locked").mkdir(mode=0o500)
    monkeypatch.setenv("TINYFRACTAL_CACHE", "locked/cache")
    with pytest.raises(DataError, match="set TINYFRACTAL_CACHE"):
        data.ImageFolder(photos(), size=4)


def test_a_file_where_the_cache_folder_should_be_is_named(monkeypatch):
    Path("file").write_text("")
    monkeypatch.setenv("TINYFRACTAL_CACHE", "file")
    with pytest.raises(DataError, match="set TINYFRACTAL_CACHE"):
        data.ImageFolder(photos(), size=4)


def test_a_fault_of_the_decoder_is_no_broken_file():
    def decode(i):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        decoded(Path("x"), ["a"], {}, (4, 4, 3), decode, skip_broken=True)
    assert list(Path("cache").iterdir()) == []


# ----- Sounds -----


def test_folders_of_sounds_become_spectrograms():
    for i in range(5):
        wav(f"tones/low/{i}.wav", tone=200 + 5 * i)
        wav(f"tones/high/{i}.wav", tone=2000 + 50 * i)
    found = data.ImageFolder("tones", size=16, seconds=0.5)
    assert found.kind == "sounds"
    assert found.train.shape == (16, 16, 1)
    assert found.train.seconds == found.test.seconds == 0.5
    rows = found.everything.images[..., 0].mean(axis=2).argmax(axis=1)  # high tones are on top
    low = found.everything.labels == found.classes.index("low")
    assert rows[low].min() > rows[~low].max()


def test_sounds_of_which_most_is_cut_off_are_said():
    for i in range(5):
        wav(f"tones/low/{i}.wav", tone=200 + 5 * i, seconds=2.5)
        wav(f"tones/high/{i}.wav", tone=2000 + 50 * i, seconds=2.5)
    for _ in range(2):  # also from the cache
        with pytest.warns(UserWarning, match=r"about 2.5 s long, .* only the 1 s .*--seconds 2.5"):
            data.ImageFolder("tones", size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.ImageFolder("tones", size=16, seconds=2.5)


def test_sounds_named_as_the_spoken_digits_have_classes_speakers_and_a_test_part():
    for digit in (3, 7):
        for speaker in ("ann", "bob"):
            for number in (0, 4, 5, 12):
                wav(f"fsdd/{digit}_{speaker}_{number}.wav", tone=100 * digit + number)
    found = data.ImageFolder("fsdd", size=8)
    assert found.classes == ("3", "7")
    assert sorted(set(found.files[len(found.train) :])) == sorted(
        f"{d}_{s}_{n}.wav" for d in (3, 7) for s in ("ann", "bob") for n in (0, 4)
    )
    train, held = found.hold_out(0.5)
    assert len(held)
    assert not set(train.groups) & set(held.groups)


def test_a_sound_that_cannot_be_read_is_named():
    wav("tones/low/1.wav")
    wav("tones/high/1.wav", rate=4000)
    with pytest.raises(DataError, match=r"1 of 2 files cannot be read: .*high/1.wav"):
        data.ImageFolder("tones", size=8)


# ----- Groups -----


def test_a_split_holds_out_whole_groups():
    images = np.zeros((60, 2, 2, 1), np.uint8)
    labels, groups = np.arange(60) % 3, np.arange(60) // 3 % 10
    whole = data.Dataset(images, labels, ("a", "b", "c"), "tracks", groups)
    train, held = whole.split(0.2)
    assert len(held) == 12
    assert not set(train.groups) & set(held.groups)
    assert np.bincount(held.labels).tolist() == [4, 4, 4]
    assert any(set(whole.split(0.2, s)[1].groups) != set(held.groups) for s in (1, 2, 3))


def test_groups_of_one_class_each_are_held_out_by_class():
    groups = np.repeat([f"{k}/{t}" for k in range(4) for t in range(10)], 3)
    labels = np.repeat(np.arange(4), 30)
    whole = data.Dataset(np.zeros((120, 2, 2, 1), np.uint8), labels, tuple("abcd"), "x", groups)
    _, held = whole.split(0.2)
    assert np.bincount(held.labels).tolist() == [6, 6, 6, 6]


def test_groups_are_carried_along_and_checked():
    images, labels = np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, int)
    whole = data.Dataset(images, labels, ("a",), "x", np.array(list("wxyz")))
    assert whole[[2, 0]].groups.tolist() == ["y", "w"]
    assert whole[1:3].groups.tolist() == ["x", "y"]
    for wrong in (np.arange(3), np.zeros(4), ["a"] * 4):
        with pytest.raises(DataError, match="groups"):
            data.Dataset(images, labels, ("a",), "x", wrong)


# ----- Arrays -----


def test_arrays_become_two_parts_with_names():
    images, labels = rng.random((20, 4, 4)), np.arange(20) % 2
    train, test = data.arrays(images, labels, ["cat", "dog"])
    assert train.classes == ("cat", "dog")
    assert train.shape == (4, 4, 1)
    assert np.bincount(test.labels).tolist() == [2, 2]
    assert len(train) == 16
    assert data.arrays(images, labels)[0].classes == ("0", "1")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((4, 4, 4, 3)), np.zeros(3, int), "4 images need labels"),
        (np.zeros((4, 4, 4, 3)), np.arange(4), "no class has 3 images"),
        (np.full((4, 4, 4, 3), np.nan), np.zeros(4, int), "NaN"),
        (np.zeros((0, 4, 4, 3)), np.zeros(0, int), "empty"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, words):
    with pytest.raises(DataError, match=words):
        data.arrays(images, labels)


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_arrays_whose_white_is_not_255_are_said(kind):
    images = rng.integers(0, 17, (20, 8, 8)).astype(kind)  # as scikit-learn has its digits
    with pytest.warns(UserWarning, match=r"whole numbers up to 16, where white is 255; .*/ 16"):
        data.arrays(images, np.arange(20) % 2)


# ----- A tree of files -----


def test_a_tree_reads_folder_and_zip_alike_and_notices_changes():
    for name in ("a/1.txt", "a/b/2.txt", ".git/x", "a/.DS_Store"):
        Path("tree", name).parent.mkdir(parents=True, exist_ok=True)
        Path("tree", name).write_text(name)
    with zipfile.ZipFile("tree.zip", "w") as archive:
        for file in Path("tree").rglob("*.*"):
            archive.write(file, file.relative_to("tree"))
    prints = []
    for place in ("tree", "tree.zip"):
        with Tree(place) as tree:
            assert tree.names == ["a/1.txt", "a/b/2.txt"]
            assert tree.read("a/b/2.txt") == b"a/b/2.txt"
            with tree.open("a/1.txt") as stream:
                assert stream.read() == b"a/1.txt"
            prints.append(tree.fingerprint())
    Path("tree/a/1.txt").write_text("changed")
    with Tree("tree") as tree:
        assert tree.fingerprint() != prints[0]


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr("tinyfractal.data.archive.MOST_BYTES", 1000)
    with zipfile.ZipFile("bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2000))
    with (
        Tree("bomb.zip") as tree,
        pytest.raises(DataError, match=r"bomb.zip: a: unpacks to 2,000 bytes, more than 1,000"),
    ):
        tree.read("a")
