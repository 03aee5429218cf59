"""Datasets, the embedded digits, and the readers: what is right is read, the rest is refused."""

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfractal import Tensor, data
from tinyfractal.data import cifar, digits
from tinyfractal.data.dataset import to_unit
from tinyfractal.data.sources import SOURCES, Archive
from tinyfractal.errors import DataError, DTypeError, OutOfRangeError, ShapeError

rng = np.random.default_rng(7)


def small_dataset(count=10, classes=3, dtype=np.uint8):
    images = np.arange(count * 4 * 5 * 2).reshape(count, 4, 5, 2).astype(dtype)
    labels = np.arange(count, dtype=np.int64) % classes
    return data.Dataset(images, labels, tuple("abcdefgh"[:classes]), "small")


# ----- Dataset -----


def test_a_dataset_knows_its_length_and_shape():
    dataset = small_dataset()
    assert len(dataset) == 10
    assert dataset.shape == (4, 5, 2)
    assert "10 images (4, 5, 2)" in repr(dataset)


@pytest.mark.parametrize(
    "index", [slice(2, 7, 2), [3, 1, 4], np.array([-1, 0]), np.arange(10) > 6, [], slice(0, 0)]
)
def test_indexing_picks_images_and_labels_together(index):
    dataset = small_dataset()
    part = dataset[index]
    wanted = np.arange(10)[index if not isinstance(index, list) else np.array(index, dtype=int)]
    assert part.labels.tolist() == [i % 3 for i in wanted]
    assert [image[0, 0, 0] for image in part.images] == [i * 40 % 256 for i in wanted]
    assert part.classes == dataset.classes


@pytest.mark.parametrize("index", [3, -1, np.int32(3), np.array(3), Tensor(np.array(3))])
def test_one_position_gives_one_image_and_its_label(index):
    dataset = small_dataset()
    image, label = dataset[index]
    assert image.tolist() == dataset.images[int(index)].tolist()
    assert label == int(index) % 10 % 3
    assert type(label) is int


def test_a_loop_goes_through_all_examples_in_order():
    dataset = small_dataset()
    examples = list(dataset)
    assert [label for _, label in examples] == dataset.labels.tolist()
    assert np.array_equal(np.stack([image for image, _ in examples]), dataset.images)
    assert [label for _, label in dataset] == dataset.labels.tolist()  # and once more


@pytest.mark.parametrize(
    "index", [1.5, True, [[1, 2]], [0.5], "a", None, np.array(1.0), 10**30, (3, 4), {1: 2}]
)
def test_any_other_index_is_refused(index):
    with pytest.raises(IndexError, match=r"Dataset small: index .*slice"):
        small_dataset()[index]


@pytest.mark.parametrize("index", [10, -11, [0, 10], np.array([-11, 3]), np.zeros(9, bool), [True]])
def test_positions_that_are_not_there_are_refused(index):
    with pytest.raises(OutOfRangeError, match=r"Dataset small: .*index needs"):
        small_dataset()[index]


def test_a_slice_of_something_else_is_refused():
    with pytest.raises(TypeError, match="index"):
        small_dataset()["a":"b"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((10, 4, 5, 2), int)}, "uint8 .* or floats .*, got an array .* int64"),
        ({"images": np.zeros((10, 4, 5, 2), complex)}, "complex"),
        ({"images": [1, 2]}, r"got \[1, 2\]"),
        ({"images": np.zeros((10, 4, 5), np.uint8)}, r"\(N, H, W, C\)"),
        ({"images": np.zeros((10, 0, 5, 2), np.uint8)}, r"\(N, H, W, C\)"),
        ({"images": np.zeros((10, 3, 32, 32), np.uint8)}, r"transpose\(0, 2, 3, 1\)"),
        ({"images": np.full((10, 1, 1, 1), np.nan, np.float32)}, "NaN"),
        ({"images": np.full((10, 1, 1, 1), 1e300)}, "infinite"),
        ({"labels": np.zeros(10)}, r"integers, got float64.*astype\(int\)"),
        ({"labels": [0] * 10}, "NumPy array of integers, got"),
        ({"labels": np.array(3)}, r"shape \(10,\), got \(\)"),
        ({"labels": np.zeros(9, np.int64)}, "10 images need labels"),
        ({"labels": np.eye(10)}, r"one-hot, labels.argmax\(axis=1\)"),
        ({"labels": np.tri(10, 4, dtype=np.uint8)}, "multi-label"),
        ({"labels": np.full(10, 3)}, "0 to 2"),
        ({"labels": np.full(10, -1)}, "0 to 2"),
        ({"labels": np.full(10, 2**64 - 1, np.uint64)}, "0 to 2"),
        ({"classes": "abc"}, "classes needs a list"),
        ({"classes": ("a", 2, "c")}, "each a text"),
        ({"classes": ("a", "b", "a")}, "'a' twice"),
        ({"classes": None}, "classes"),
        ({"name": 3}, "name needs a text"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, words):
    with pytest.raises(DataError, match=f"Dataset.*{words}"):
        replace(small_dataset(), **change)


@pytest.mark.parametrize("kind", [">f4", ">f8", np.float16, np.float64, np.float32])
def test_floats_of_any_kind_become_float32_and_the_callers_array_stays(kind):
    images = np.linspace(0, 1, 2 * 3 * 4 * 4).reshape(4, 4, 3, 2).astype(kind).T
    labels = np.arange(2, dtype=">i2")
    before, labels_before = images.copy(), labels.copy()
    dataset = data.Dataset(images, labels, ("a", "b"), "x")
    assert dataset.images.dtype == np.float32
    assert dataset.images.dtype.isnative
    assert dataset.labels.dtype == np.int64
    assert np.array_equal(dataset.images, before.astype(np.float32))
    assert dataset.labels.tolist() == [0, 1]
    for array, old in ((images, before), (labels, labels_before)):
        assert array.dtype == old.dtype
        assert array.tobytes() == old.tobytes()


def test_masks_of_true_and_false_are_white_and_black():
    masks = rng.integers(0, 2, (3, 4, 5, 1)).astype(bool)
    dataset = data.Dataset(masks, np.zeros(3, np.int64), ("a",), "masks")
    assert np.array_equal(to_unit(dataset.images), masks.astype(np.float32))
    assert np.array_equal(to_unit(masks), masks.astype(np.float32))


@given(st.lists(st.integers(0, 4), max_size=60), st.floats(0.01, 0.99), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_split_takes_its_fraction_of_every_class_and_loses_nothing(labels, fraction, seed):
    count = len(labels)
    images = np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1)
    dataset = data.Dataset(images, np.array(labels, np.int64), tuple("abcde"), "x")
    first, second = dataset.split(fraction, seed)
    positions = first.images.ravel().tolist() + second.images.ravel().tolist()
    assert sorted(positions) == list(range(count))
    assert np.all(np.diff(first.images.ravel()) > 0)
    for label in range(5):
        assert abs((second.labels == label).sum() - fraction * labels.count(label)) <= 0.5
    again, _ = dataset.split(fraction, seed)
    assert np.array_equal(first.images, again.images)


def test_another_seed_makes_another_split():
    dataset = small_dataset(count=60)
    assert not np.array_equal(dataset.split(0.5, 0)[1].images, dataset.split(0.5, 1)[1].images)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        small_dataset().split(fraction)


# ----- Standardize -----


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_standardized_training_images_have_mean_0_and_std_1_per_channel(dtype):
    images = rng.integers(0, 256, (600, 5, 4, 3)).astype(dtype)
    standardize = data.Standardize.fit(images)
    scale = 255.0 if dtype is np.uint8 else 1.0
    wide = images.astype(np.float64) / scale
    assert np.allclose(standardize.mean, wide.mean((0, 1, 2)), rtol=1e-6)
    assert np.allclose(standardize.std, wide.std((0, 1, 2)), rtol=1e-6)
    result = standardize(images)
    assert result.dtype == np.float32
    assert np.allclose(result, (wide - wide.mean((0, 1, 2))) / wide.std((0, 1, 2)), atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_channel_that_never_changes_becomes_zeros_not_nan(value):
    images = rng.random((300, 4, 4, 2), dtype=np.float32)
    images[..., 1] = value
    standardize = data.Standardize.fit(images)
    assert standardize.std[1] == 1
    assert np.all(standardize(images)[..., 1] == 0)


def test_rounding_noise_in_a_constant_channel_is_not_blown_up():
    images = np.full((300, 4, 4, 1), 0.1, np.float32)
    images[::2] = np.nextafter(images[::2], np.float32(1))
    assert np.all(np.abs(data.Standardize.fit(images)(images)) < 1e-6)


def test_standardize_survives_json_bit_for_bit():
    standardize = data.Standardize.fit(rng.integers(0, 256, (20, 3, 3, 3), dtype=np.uint8))
    again = data.Standardize.from_dict(json.loads(json.dumps(standardize.as_dict())))
    assert np.array_equal(again.mean, standardize.mean)
    assert np.array_equal(again.std, standardize.std)
    assert again.mean.dtype == np.float32


def test_standardize_refuses_other_channels_and_impossible_numbers():
    standardize = data.Standardize.fit(np.zeros((2, 3, 3, 3), np.uint8))
    with pytest.raises(ShapeError, match="3"):
        standardize(np.zeros((2, 3, 3, 1), np.uint8))
    with pytest.raises(DataError, match="N > 0"):
        data.Standardize.fit(np.zeros((0, 3, 3, 3), np.uint8))
    with pytest.raises(DataError, match="positive"):
        data.Standardize.from_dict({"mean": [0.0], "std": [0.0]})
    with pytest.raises(DataError, match="NaN"):
        data.Standardize.fit(np.full((2, 3, 3, 1), np.nan))
    with pytest.raises(DataError, match="'std'"):
        data.Standardize.from_dict({"mean": [0.0]})
    with pytest.raises(TypeError, match="mean"):
        data.Standardize(0.5, np.ones(1))
    with pytest.raises(ShapeError, match="mean and std"):
        data.Standardize.from_dict({"mean": [0.0, 1.0], "std": [1.0]})


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16, np.int8, complex, object])
def test_numbers_of_which_nobody_knows_what_white_is_are_refused_everywhere(kind):
    images = np.arange(16).reshape(1, 4, 4, 1)
    standardize = data.Standardize.fit(images.astype(np.uint8))
    for function in (standardize, data.Standardize.fit, to_unit):
        with pytest.raises(DTypeError, match=r"images need uint8.*astype\(numpy.uint8\)"):
            function(images.astype(kind))
        with pytest.raises(TypeError, match="images needs a NumPy array"):
            function(images.tolist())


def test_bytes_that_came_as_floats_are_remarked_on():
    images = rng.integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    with pytest.warns(UserWarning, match="to_unit: images are floats to 2"):
        to_unit(images.astype(np.float32))
    standardize = data.Standardize.fit(images)
    with pytest.warns(UserWarning, match="Standardize: images are floats to 2"):
        standardize(images.astype(np.float64))
    with pytest.raises(DTypeError, match="Standardize: images are bytes"):
        data.Standardize.fit(images.astype(np.float32))(images)


def test_usual_floats_get_no_remark(recwarn):
    for images in (rng.random((50, 4, 4, 1)), rng.normal(0, 5, (50, 4, 4, 1))):
        data.Standardize.fit(images)(to_unit(images))
    lonely = np.zeros((100, 10, 10, 1))  # one white pixel among 10,000
    lonely[3, 4, 5] = 1
    data.Standardize.fit(lonely)(lonely)
    assert not recwarn.list


# ----- The digits -----


def test_the_digits_have_the_promised_shapes_and_a_fifth_is_for_testing():
    train, test = data.load("digits")
    assert (len(train), len(test)) == (1438, 359)
    for part in (train, test):
        assert part.images.dtype == np.float32
        assert part.shape == (8, 8, 1)
        assert part.images.min() == 0
        assert part.images.max() == 1
        assert part.classes == tuple("0123456789")


def test_the_split_of_the_digits_never_changes():
    test = data.load_digits()[1]
    pixels = (test.images * 16).astype(np.uint8)
    found = hashlib.sha256(pixels.tobytes() + test.labels.astype(np.uint8).tobytes()).hexdigest()
    assert found == "7643029fba3f7f4d65faf77e916e2c958adf48b7e24e4e19491c8b327dcc49a7"


def test_the_digits_are_those_of_scikit_learn():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    arrays = np.load(digits.FILE, allow_pickle=False)
    assert np.array_equal(arrays["images"], original.images)
    assert np.array_equal(arrays["labels"], original.target)


def test_digits_with_one_other_pixel_are_refused(tmp_path, monkeypatch):
    arrays = dict(np.load(digits.FILE, allow_pickle=False))
    arrays["images"][900, 4, 4] ^= 1
    np.savez_compressed(tmp_path / "digits.npz", **arrays)
    monkeypatch.setattr(digits, "FILE", tmp_path / "digits.npz")
    with pytest.raises(DataError, match="SHA-256"):
        data.load_digits()


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_digits_are_refused(damage, tmp_path, monkeypatch):
    content = bytearray(digits.FILE.read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / "digits.npz"
    if damage != "gone":
        copy.write_bytes(content if damage == "flip" else content[:9000])
    monkeypatch.setattr(digits, "FILE", copy)
    with pytest.raises(DataError, match=r"digits\.npz"):
        data.load_digits()


# ----- IDX -----

IDX_CODES = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """An IDX file, written from the published description and not with our reader's tables."""
    code = IDX_CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(st.lists(st.integers(0, 5), max_size=4), st.sampled_from(sorted(IDX_CODES)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_idx_gives_back_what_was_written_for_any_shape_and_type(shape, kind, zipped):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    content = idx_bytes(array)
    with tempfile.TemporaryDirectory() as folder:  # Hypothesis and tmp_path do not go together
        path = Path(folder) / "array"
        path.write_bytes(gzip.compress(content) if zipped else content)
        found = data.read_idx(path)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_idx_file_cut_short_anywhere_is_refused(zipped, tmp_path):
    content = idx_bytes(rng.integers(0, 256, (3, 4, 2), dtype=np.uint8))
    content = gzip.compress(content) if zipped else content
    path = tmp_path / "images"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="images"):
            data.read_idx(path)
    path.write_bytes(content + b"x")
    with pytest.raises(DataError):
        data.read_idx(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_flipped_byte_never_raises_anything_but_data_error(zipped, tmp_path):
    array = rng.integers(0, 256, (3, 4, 2), dtype=np.uint8)
    content = gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array)
    path = tmp_path / "images"
    refused = 0
    for place in range(len(content)):
        for mask in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= mask
            path.write_bytes(damaged)
            try:
                found = data.read_idx(path)
            except DataError:
                refused += 1
            else:  # a pixel without a checksum, or a byte of the gzip header that says nothing
                assert found.shape == array.shape
                assert not zipped or np.array_equal(found, array)
    assert refused >= (3 * 40 if zipped else 3 * 15)


def test_an_idx_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        data.read_idx(tmp_path / "nothing")
    with pytest.raises(DataError):
        data.read_idx(tmp_path)


def test_absurd_axes_are_refused_and_not_allocated(tmp_path):
    path = tmp_path / "images"
    for shape in ([2**32 - 1] * 4, [0] + [2**32 - 1] * 4):
        path.write_bytes(struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape))
        with pytest.raises(DataError):
            data.read_idx(path)


def peak_of_a_refusal(work, words):
    """Bytes that `work` had at most until it raised a DataError."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=words):
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("axes", [(10, 28, 28), (100_000, 28, 28), (2**31, 28, 28)])
def test_an_idx_file_that_unpacks_to_too_much_is_refused_with_little_memory(axes, tmp_path):
    path = tmp_path / "images.gz"
    with gzip.open(path, "wb") as file:  # says what it likes, holds 64 MiB
        file.write(struct.pack(">BBBB3I", 0, 0, 8, 3, *axes))
        for _ in range(64):
            file.write(bytes(1 << 20))
    words = "got more" if axes[0] == 10 else "got 67108864" if axes[0] == 100_000 else "unpack to"
    limit = 70 * 2**20 if axes[0] == 100_000 else 2 * 2**20
    assert peak_of_a_refusal(lambda: data.read_idx(path), words) < limit


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (data.read_idx, data.load_npz):
        with pytest.raises(DataError, match="no regular file"):
            read(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"data_batch_1.bin"):
        data.load_cifar10(tmp_path / "pipe")


# ----- MNIST -----


def write_mnist(folder, train=6, test=4, dotted=False, zipped=True):
    """Four small files as MNIST has them; returns the arrays."""
    folder.mkdir(exist_ok=True)
    arrays = {}
    for prefix, count in (("train", train), ("t10k", test)):
        arrays[f"{prefix}-images", 3] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{prefix}-labels", 1] = rng.integers(0, 10, count, dtype=np.uint8)
    for (stem, axes), array in arrays.items():
        name = f"{stem}{'.' if dotted else '-'}idx{axes}-ubyte"
        content = idx_bytes(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return [*arrays.values()]


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_mnist_is_read_under_each_of_its_spellings(name, dotted, zipped, tmp_path):
    images, labels, test_images, test_labels = write_mnist(tmp_path / name, 6, 4, dotted, zipped)
    train, test = data.load(name, folder=tmp_path)
    assert train.name == name
    assert np.array_equal(train.images[..., 0], images)
    assert np.array_equal(train.labels, labels)
    assert np.array_equal(test.images[..., 0], test_images)
    assert np.array_equal(test.labels, test_labels)
    first = {"mnist": "0", "fashion-mnist": "T-shirt/top", "kmnist": "o"}
    assert train.classes[0] == first[name]
    assert len(train.classes) == 10


def test_swapped_short_or_wrong_mnist_files_are_named(tmp_path):
    def refused(words, file, array):
        write_mnist(tmp_path / "mnist", zipped=False)
        (tmp_path / "mnist" / file).write_bytes(idx_bytes(array))
        with pytest.raises(DataError, match=words) as error:
            data.load_mnist(tmp_path)
        assert file in str(error.value)

    labels, images = "train-labels-idx1-ubyte", "train-images-idx3-ubyte"
    refused("expected images", images, np.zeros(6, np.uint8))
    refused("expected images", images, np.zeros((6, 28, 27), np.uint8))
    refused("expected images", images, np.zeros((6, 28, 28), np.float32))
    refused("expected labels", labels, np.zeros((6, 28, 28), np.uint8))
    refused("expected labels", labels, np.zeros(5, np.uint8))
    refused("0 to 9", labels, np.full(6, 10, np.uint8))


def test_missing_data_says_how_to_download_it(tmp_path):
    for name in ("mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100"):
        with pytest.raises(DataError, match=rf"data\.download\('{name}'\)"):
            data.load(name, folder=tmp_path)
        with pytest.raises(DataError, match="download"):
            data.load(name, folder=tmp_path / "nowhere")
    with pytest.raises(DataError, match="one of digits, mnist"):
        data.load("imagenet")
    with pytest.raises(ValueError, match="name"):
        data.load_mnist(tmp_path, "cifar10")


@pytest.mark.parametrize(
    ("name", "inside"),
    [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_mnist_is_read_where_torchvision_put_it(name, inside, tmp_path, recwarn):
    (tmp_path / inside).mkdir()
    images, *_ = write_mnist(tmp_path / inside / "raw")
    (tmp_path / name).mkdir(exist_ok=True)  # an empty folder, such as one of a broken download
    for folder in (tmp_path, tmp_path / inside, tmp_path / inside / "raw"):
        train, _ = data.load_mnist(folder, name)
        assert np.array_equal(train.images[..., 0], images)
    assert len(data.load(name, tmp_path)[0]) == 6
    assert not recwarn.list


def test_files_that_may_be_any_of_the_three_are_taken_with_a_warning_only(tmp_path):
    write_mnist(tmp_path)
    for name in ("mnist", "fashion-mnist", "kmnist"):
        with pytest.warns(UserWarning, match=f"taken for {name}, but nothing says"):
            data.load(name, tmp_path)
        with pytest.warns(UserWarning, match=f"taken for {name}"):
            data.load_mnist(tmp_path, name)


def test_files_known_by_their_checksum_are_given_out_under_their_own_name_only(
    tmp_path, monkeypatch, recwarn
):
    write_mnist(tmp_path)
    known = [
        Archive(file.name, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in tmp_path.iterdir()
    ]
    monkeypatch.setitem(SOURCES, "kmnist", ("http://127.0.0.1/", tuple(known)))
    data.load("kmnist", tmp_path)
    data.load_mnist(tmp_path, "kmnist")
    for name in ("mnist", "fashion-mnist"):
        with pytest.raises(DataError, match=f"these are the files of kmnist, not of {name}"):
            data.load(name, tmp_path)
    tmp_path.joinpath("mnist").mkdir()
    for file in known:
        os.rename(tmp_path / file.file, tmp_path / "mnist" / file.file)
    with pytest.raises(DataError, match="these are the files of kmnist, not of mnist"):
        data.load("mnist", tmp_path)
    assert not recwarn.list


def test_an_mnist_without_images_is_refused(tmp_path):
    write_mnist(tmp_path / "mnist", test=0)
    with pytest.raises(DataError, match=r"t10k.*no images"):
        data.load("mnist", tmp_path)


def test_a_tilde_is_the_home_folder_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    images, *_ = write_mnist(tmp_path / "mnist")
    np.savez(tmp_path / "set.npz", **npz_arrays("keras"))
    (tmp_path / "one.idx").write_bytes(idx_bytes(np.arange(3, dtype="i4")))
    assert np.array_equal(data.load("mnist", "~")[0].images[..., 0], images)
    assert len(data.load_mnist("~/mnist")[0]) == 6
    assert len(data.load("~/set.npz")[0]) == len(data.load_npz(Path("~/set.npz"))[0]) == 20
    assert data.read_idx("~/one.idx").tolist() == [0, 1, 2]
    for load in (data.load_cifar10, data.load_cifar100):
        with pytest.raises(DataError, match=str(tmp_path)):
            load("~/cifar")
    assert not (tmp_path / "~").exists()


# ----- CIFAR -----


@pytest.fixture
def small_cifar(monkeypatch):
    """Let the readers expect 4 records in each file instead of 10,000 or 50,000."""
    for name in ("CIFAR10", "CIFAR100"):
        release = getattr(cifar, name)
        monkeypatch.setattr(
            cifar, name, replace(release, records=dict.fromkeys(release.records, 4))
        )


def cifar_files(release, classes=(10,)):
    """Bytes of each file of a release, and what they mean, made one record at a time."""
    contents, images, labels = {}, {}, {}
    for file in release.records:
        contents[file], images[file], labels[file] = b"", [], []
        for _ in range(4):
            image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            label = [int(rng.integers(0, count)) for count in classes]
            contents[file] += bytes(label)
            for channel in range(3):
                contents[file] += image[:, :, channel].tobytes()
            images[file].append(image)
            labels[file].append(label)
    return contents, images, labels


def write_tar(path, contents, folder="cifar-10-batches-bin", extra=()):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)


def test_cifar10_is_the_same_from_each_place_it_may_lie_in(small_cifar, tmp_path):
    contents, images, labels = cifar_files(cifar.CIFAR10)
    inner = tmp_path / "unpacked" / "cifar-10-batches-bin"
    inner.mkdir(parents=True)
    for name, content in contents.items():
        (inner / name).write_bytes(content)
    backwards = dict(reversed(list(contents.items()))) | {"batches.meta.txt": b"airplane\n"}
    (tmp_path / "packed").mkdir()
    write_tar(tmp_path / "packed" / "cifar-10-binary.tar.gz", backwards)
    batches = [f"data_batch_{i}.bin" for i in range(1, 6)]
    for place in ("unpacked", "unpacked/cifar-10-batches-bin", "packed",
                  "packed/cifar-10-binary.tar.gz"):  # fmt: skip
        train, test = data.load_cifar10(tmp_path / place)
        assert np.array_equal(train.images, np.concatenate([images[name] for name in batches]))
        assert train.labels.tolist() == [label for name in batches for [label] in labels[name]]
        assert np.array_equal(test.images, images["test_batch.bin"])
        assert train.images.flags.c_contiguous
        assert train.classes[3] == "cat"
    assert sorted(p.name for p in (tmp_path / "packed").iterdir()) == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("fine", [True, False])
def test_cifar100_has_its_fine_and_its_coarse_labels(fine, small_cifar, tmp_path):
    contents, images, labels = cifar_files(cifar.CIFAR100, classes=(20, 100))
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    train, test = data.load_cifar100(tmp_path, fine=fine)
    assert train.labels.tolist() == [pair[fine] for pair in labels["train.bin"]]
    assert np.array_equal(test.images, images["test.bin"])
    assert len(train.classes) == (100 if fine else 20)
    assert train.classes[-1] == ("worm" if fine else "vehicles_2")
    assert list(train.classes) == sorted(train.classes)


def test_damaged_cifar_folders_are_refused(small_cifar, tmp_path):
    contents, _, _ = cifar_files(cifar.CIFAR10)

    def refused(words, name, content):
        for file, good in contents.items():
            (tmp_path / file).write_bytes(good)
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            data.load_cifar10(tmp_path)

    good = contents["data_batch_2.bin"]
    refused("expected 12292 bytes, got 9219", "data_batch_2.bin", good[:-3073])
    refused("data_batch_2.bin: expected", "data_batch_2.bin", good[:-1])
    refused("got 0", "test_batch.bin", b"")
    refused("record 2 of data_batch_2.bin has label 10", "data_batch_2.bin",
            good[: 2 * 3073] + b"\x0a" + good[2 * 3073 + 1 :])  # fmt: skip
    refused("no test_batch.bin at this path", "test_batch.bin", None)


def test_odd_archives_are_refused(small_cifar, tmp_path):
    contents, _, _ = cifar_files(cifar.CIFAR10)
    path = tmp_path / "cifar-10-binary.tar.gz"

    def refused(words, *extra, files=contents, folder="cifar-10-batches-bin"):
        write_tar(path, files, folder, extra)
        with pytest.raises(DataError, match=words):
            data.load_cifar10(path)

    link = tarfile.TarInfo("cifar-10-batches-bin/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("cifar-10-batches-bin/hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, "cifar-10-batches-bin/data_batch_1.bin"
    pipe = tarfile.TarInfo("pipe")
    pipe.type = tarfile.FIFOTYPE
    for member in (link, hard, pipe):
        refused("refused", member)
    refused("refused", folder="/etc")
    refused("refused", folder="x/../..")
    refused("no data_batch_1.bin", files={"readme.html": b"hello"})
    refused("expected 12292 bytes", files=contents | {"test_batch.bin": b"short"})
    twice = tarfile.TarInfo("elsewhere/test_batch.bin")
    refused("twice", twice)


def test_a_damaged_archive_is_refused_wherever_it_is_cut_or_changed(small_cifar, tmp_path):
    contents, _, _ = cifar_files(cifar.CIFAR10)
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_tar(path, contents)
    good = path.read_bytes()
    whole = data.load_cifar10(path)[0].images
    for length in [0, 1, 9, 10, 11, 18, *range(100, len(good), 4999), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(DataError):
            data.load_cifar10(path)
    for place in [*range(12), *range(100, len(good), 2999), *range(len(good) - 9, len(good))]:
        damaged = bytearray(good)
        damaged[place] ^= 0x5A
        path.write_bytes(damaged)
        try:
            found = data.load_cifar10(path)[0].images
        except DataError:
            continue
        # only a byte of the gzip header, or bits behind the last code, that say nothing
        assert place < 12 or place == len(good) - 9
        assert np.array_equal(found, whole)
    path.write_bytes(b"not an archive at all")
    with pytest.raises(DataError):
        data.load_cifar10(path)


def test_cifar_in_torchvisions_version_is_named_as_pickles(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"")
    for place in (tmp_path, tmp_path / "cifar-10-batches-py"):
        with pytest.raises(DataError, match=r"cifar-10-batches-py holds Python pickles.*binary"):
            data.load_cifar10(place)
    write_tar(tmp_path / "cifar-100-python.tar.gz", {"train": b"x"})
    with pytest.raises(DataError, match=r"cifar-100-python.tar.gz holds Python pickles.*binary"):
        data.load("cifar100", tmp_path)


def test_cifar_is_found_in_an_archive_although_its_folder_is_empty(small_cifar, tmp_path):
    contents, _, _ = cifar_files(cifar.CIFAR10)
    (tmp_path / "cifar10").mkdir()
    write_tar(tmp_path / "cifar-10-binary.tar.gz", contents)
    assert len(data.load("cifar10", tmp_path)[0]) == 20


@pytest.mark.parametrize("kind", ["behind", "pax", "file"])
def test_an_archive_that_unpacks_to_too_much_is_refused_with_little_memory(
    kind, small_cifar, tmp_path
):
    contents, _, _ = cifar_files(cifar.CIFAR10)
    path = tmp_path / "cifar-10-binary.tar.gz"
    write_tar(path, contents)
    member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    member.size = 2**36
    if kind == "pax":  # a header that tarfile reads whole
        member.type = tarfile.XHDTYPE
    with gzip.open(path, "ab" if kind == "behind" else "wb") as file:
        if kind != "behind":
            file.write(member.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    words = "expected 12292 bytes, got 68719476736" if kind == "file" else "unpacks to more"
    assert peak_of_a_refusal(lambda: data.load_cifar10(path), words) < 8 * 2**20


@pytest.mark.skipif("TINYFRACTAL_CIFAR10" not in os.environ, reason="needs CIFAR-10 on disk")
def test_the_real_cifar10_has_5000_images_of_each_class():
    train, test = data.load_cifar10(os.environ["TINYFRACTAL_CIFAR10"])
    assert train.images.shape == (50_000, 32, 32, 3)
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    # Photographs, and read the right way round: neighbouring pixels are alike.
    pixels = train.images[:500].astype(float)
    for axis in (1, 2):
        assert np.abs(np.diff(pixels, axis=axis)).mean() < 0.4 * pixels.std()


# ----- .npz -----


def npz_arrays(layout, grey=True, dtype=np.uint8):
    shape = (28, 28) if grey else (8, 8, 3)
    images = rng.integers(0, 2, (20, *shape)).astype(dtype)
    labels = np.arange(20, dtype=np.uint8) % 4
    if layout == "keras":
        keys = ("x_train", "y_train", "x_test", "y_test")
        return dict(zip(keys, (images, labels, images[:5], labels[:5]), strict=True))
    if layout == "medmnist":
        parts = {"train": slice(0, 20), "val": slice(0, 3), "test": slice(0, 5)}
        arrays = {f"{part}_images": images[place] for part, place in parts.items()}
        return arrays | {f"{part}_labels": labels[place, None] for part, place in parts.items()}
    return {"images": images, "labels": labels}


@pytest.mark.parametrize("layout", ["keras", "medmnist", "plain"])
@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_an_npz_file_is_read_in_each_layout(layout, grey, dtype, tmp_path):
    arrays = npz_arrays(layout, grey, dtype)
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    train, test = data.load(tmp_path / "set.npz")
    assert train.shape == ((28, 28, 1) if grey else (8, 8, 3))
    assert train.images.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    assert train.classes == ("0", "1", "2", "3")
    assert train.name == "set"
    assert (len(train), len(test)) == ((16, 4) if layout == "plain" else (20, 5))
    if layout != "plain":
        assert train.labels.tolist() == [i % 4 for i in range(20)]


def test_bytes_that_an_npz_file_has_as_floats_are_bytes_again(tmp_path, recwarn):
    arrays = npz_arrays("keras", True, np.uint8)
    arrays["x_train"][0, 0, 0] = arrays["x_test"][0, 0, 0] = 255
    floats = {name: array.astype(float) for name, array in arrays.items() if name[0] == "x"}
    np.savez(tmp_path / "set.npz", **(arrays | floats))
    parts = data.load(tmp_path / "set.npz")
    for part, expected in zip(parts, (arrays["x_train"], arrays["x_test"])):
        assert part.images.dtype == np.uint8
        assert np.array_equal(part.images[..., 0], expected)
    assert not recwarn.list


@pytest.mark.parametrize("change", [lambda x: x - 0.5, lambda x: x * 254.5])
def test_floats_of_an_npz_file_that_no_picture_has_are_remarked_on(change, tmp_path):
    images = change(rng.random((20, 5, 5)))
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(20) % 4)
    with pytest.warns(UserWarning, match="set.npz: images are floats from .* predict"):
        train, _ = data.load(tmp_path / "set.npz")
    assert train.images.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((20, 5), np.uint8)}, r"\(N, H, W, C\)"),
        ({"images": np.zeros((20, 5, 5), np.int32)}, "uint8 .* or floats"),
        ({"images": np.full((20, 5, 5), 1e300)}, "infinite"),
        ({"labels": np.zeros(19, np.int64)}, "20 images need labels"),
        ({"labels": np.zeros((20, 10), np.int64)}, "labels of shape"),
        ({"labels": np.zeros(20)}, "integers, got float64"),
        ({"labels": np.full(20, -1)}, "0 to"),
        ({"labels": np.full(20, 10**9)}, "below 65536"),
        ({"labels": np.full(20, 2**64 - 1, np.uint64)}, "below 65536"),
        ({"labels": np.array([{}] * 20, dtype=object)}, "Python objects"),
    ],
)
def test_an_npz_file_with_the_wrong_arrays_is_refused(change, words, tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, **(npz_arrays("plain") | change))
    with pytest.raises(DataError, match=words) as error:
        data.load_npz(path)
    assert "set.npz" in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_labels": np.zeros((5, 14), np.uint8)}, "test_images: labels .* multi-label"),
        ({"train_labels": np.eye(20, dtype=np.uint8)}, "train_images: labels .* one-hot"),
        ({"train_images": np.zeros((20, 28, 28, 28), np.uint8)}, "three-dimensional"),
        ({"train_images": np.zeros((20, 9, 8, 7, 1), np.uint8)}, "three-dimensional"),
        ({"train_images": np.zeros((20, 3, 28, 28), np.uint8)}, "channels first"),
        ({"test_images": np.zeros((5, 27, 28), np.uint8)}, "differ"),
        ({"test_images": np.zeros((5, 28, 28))}, "uint8 of .* and float32 of"),
        ({"test_images": np.zeros((0, 28, 28), np.uint8)}, "test_images: empty"),
        ({"train_images": np.zeros((0, 28, 28), np.uint8)}, "train_images: empty"),
    ],
)
def test_parts_that_are_no_classes_of_images_are_called_what_they_are(change, words, tmp_path):
    np.savez(tmp_path / "set.npz", **(npz_arrays("medmnist") | change))
    with pytest.raises(DataError, match=rf"set\.npz: .*{words}"):
        data.load(tmp_path / "set.npz")


def test_too_few_images_for_a_test_part_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", images=np.zeros((6, 8, 8)), labels=np.arange(6) // 2)
    with pytest.raises(DataError, match="no class has 3 images"):
        data.load(tmp_path / "two.npz")
    np.savez(tmp_path / "three.npz", images=np.zeros((9, 8, 8)), labels=np.arange(9) // 3)
    assert len(data.load(tmp_path / "three.npz")[1]) == 3


def test_labels_that_only_the_test_part_has_are_remarked_on(tmp_path):
    arrays = npz_arrays("keras")
    arrays["y_test"] = np.array([0, 1, 2, 3, 7])
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.warns(UserWarning, match=r"no training image has the labels \[7\]"):
        data.load(tmp_path / "set.npz")


@pytest.mark.parametrize("wrong", [None, 3, b"data", ["a"], "no\0path", "x" * 5000])
def test_what_is_no_path_is_refused_in_words_of_our_own(wrong):
    for function in (data.load, data.load_npz, data.read_idx, data.load_mnist, data.load_cifar10):
        with pytest.raises(
            (DataError, TypeError), match=r"needs a text or a path|x{50}|no.{1,4}path"
        ):
            function(wrong)


def test_what_is_no_npz_file_is_refused(tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(DataError, match="no such file"):
        data.load_npz(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    path.write_bytes((tmp_path / "one.npy").read_bytes())
    with pytest.raises(DataError, match="single array"):
        data.load_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", "some text")
    with pytest.raises(DataError, match="expected arrays named"):
        data.load_npz(path)


def test_a_pickle_in_an_npz_file_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    np.savez(tmp_path / "set.npz", images=np.array([Trap()], dtype=object), labels=np.zeros(1, int))
    with pytest.raises(DataError, match="Python objects"):
        data.load_npz(tmp_path / "set.npz")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_file_is_refused_or_harmless(save, tmp_path):
    path = tmp_path / "set.npz"
    arrays = {
        "images": rng.integers(0, 256, (20, 3, 3), dtype=np.uint8),
        "labels": np.arange(20) % 4,
    }
    save(path, **arrays)
    good = path.read_bytes()
    whole = data.load_npz(path)[0]
    for length in range(0, len(good), 7):
        path.write_bytes(good[:length])
        with pytest.raises(DataError):
            data.load_npz(path)
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 0x21
        path.write_bytes(damaged)
        try:
            found = data.load_npz(path)[0]
        except DataError:
            continue
        assert np.array_equal(found.images, whole.images)
        assert np.array_equal(found.labels, whole.labels)
