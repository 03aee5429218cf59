"""Augmentation changes what it should and nothing else; the loader's batches can be repeated."""

import threading
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinyfractal import data
from tinyfractal.errors import DTypeError, ShapeError

shapes = st.tuples(*[st.integers(1, 6)] * 3, st.integers(1, 3))
batches = st.sampled_from([np.float32, np.uint8, np.float64]).flatmap(
    lambda dtype: arrays(dtype, shapes, elements=st.integers(1, 200))
)
seeds = st.integers(0, 2**32)
quick = settings(max_examples=60, deadline=None)


def same_pixels(a, b):
    return a.dtype == b.dtype and np.array_equal(a, b)


# ----- Augmentation -----


@given(batches, seeds)
@quick
def test_mirror_leaves_each_image_alone_or_flips_it(images, seed):
    before = images.copy()
    result = data.mirror(images, np.random.default_rng(seed))
    assert same_pixels(images, before)
    for new, old in zip(result, images, strict=True):
        assert same_pixels(new, old) or same_pixels(new, np.flip(old, axis=1))
    assert same_pixels(data.mirror(images, np.random.default_rng(seed), p=0), images)
    flipped = data.mirror(images, np.random.default_rng(seed), p=1)
    assert same_pixels(flipped, np.stack([np.fliplr(image) for image in images]))


def test_mirror_flips_as_often_as_it_is_told():
    images = np.zeros((4000, 1, 2, 1))
    images[:, 0, 1] = 1
    flipped = data.mirror(images, np.random.default_rng(0), p=0.3)[:, 0, 0].sum()
    assert abs(flipped - 1200) < 4 * (4000 * 0.3 * 0.7) ** 0.5


def reflected(position, length):
    """Where a position outside 0..length-1 lands when it bounces off the borders."""
    while not 0 <= position < length:
        position = -position if position < 0 else 2 * (length - 1) - position
    return position


def shifted_by_hand(image, down, right, mode):
    height, width, _ = image.shape
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            y, x = row - down, column - right
            if mode == "reflect":
                result[row, column] = image[reflected(y, height), reflected(x, width)]
            elif 0 <= y < height and 0 <= x < width:
                result[row, column] = image[y, x]
    return result


@given(batches, seeds, st.integers(0, 3), st.sampled_from(["zeros", "reflect"]))
@quick
def test_every_shifted_image_is_one_of_the_shifts_made_by_hand(images, seed, pixels, mode):
    pixels = min(pixels, min(images.shape[1:3]) - 1)
    before = images.copy()
    result = data.shift(images, np.random.default_rng(seed), pixels, mode)
    assert same_pixels(images, before)
    steps = range(-pixels, pixels + 1)
    for new, old in zip(result, images, strict=True):
        by_hand = (shifted_by_hand(old, down, right, mode) for down in steps for right in steps)
        assert any(same_pixels(new, candidate) for candidate in by_hand)


def test_all_shifts_are_equally_likely_and_images_shift_on_their_own():
    images = np.zeros((5000, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 1
    result = data.shift(images, np.random.default_rng(1), pixels=2)
    _, rows, columns, _ = np.nonzero(result)
    counts = np.histogram2d(rows, columns, bins=np.arange(1.5, 7.5))[0]
    assert counts.sum() == 5000  # none further than two pixels away
    assert np.all(np.abs(counts - 200) < 5 * 200**0.5)


@given(batches, seeds, st.integers(0, 7))
@quick
def test_every_cutout_is_a_square_around_some_pixel_clipped_at_the_edges(images, seed, size):
    size = min(size, *images.shape[1:3])
    before = images.copy()
    result = data.cutout(images, np.random.default_rng(seed), size)
    assert same_pixels(images, before)
    _, height, width, _ = images.shape
    for new, old in zip(result, images, strict=True):
        candidates = []
        for y in range(height):
            for x in range(width):
                candidate = old.copy()
                top, left = y - size // 2, x - size // 2
                candidate[max(0, top) : max(0, top + size), max(0, left) : max(0, left + size)] = 0
                candidates.append(candidate)
        assert any(same_pixels(new, candidate) for candidate in candidates)


def test_the_cutout_is_centred_on_every_pixel_equally_often():
    images = np.ones((8000, 4, 5, 1), np.float32)
    result = data.cutout(images, np.random.default_rng(2), size=1)
    counts = (result == 0).sum(axis=0)
    assert np.all(np.abs(counts - 400) < 5 * 400**0.5)


@given(batches, seeds)
@quick
def test_warp_changes_nothing_where_no_change_is_asked_for(images, seed):
    rng = np.random.default_rng(seed)
    assert same_pixels(data.warp(images, rng, degrees=0, scale=0, pixels=0), images)


def coordinates(count, side):
    """Images (count, side, side, 2) whose channels are the row and the column of each pixel."""
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1)
    return np.broadcast_to(grid.astype(np.float64), (count, side, side, 2))


def test_warp_turns_scales_and_moves_within_its_limits():
    # A warped image of coordinates says where each pixel came from; the middle was not clipped.
    side, count = 21, 500
    came_from = data.warp(coordinates(count, side), np.random.default_rng(3), 20, 0.25, 1.5)
    middle = slice(side // 2 - 3, side // 2 + 4)
    there = coordinates(1, side)[0, middle, middle].reshape(-1, 2) - (side - 1) / 2
    turns, sizes, moves = [], [], []
    for image in came_from:
        here = image[middle, middle].reshape(-1, 2) - (side - 1) / 2
        (a, b, c, d, y, x), residue, *_ = np.linalg.lstsq(
            np.concatenate(
                [
                    np.column_stack([there, 0 * there, np.ones(49), np.zeros(49)]),
                    np.column_stack([0 * there, there, np.zeros(49), np.ones(49)]),
                ]
            ),
            here.T.ravel(),
            rcond=None,
        )
        assert residue[0] < 1e-6
        np.testing.assert_allclose([a, b], [d, -c], atol=1e-5)  # a rotation times a number
        turns.append(np.degrees(np.arctan2(c, a)))
        sizes.append(1 / np.hypot(a, c))
        moves += [y, x]
    for values, least, most in ((turns, -20, 20), (sizes, 1 / 1.25, 1.25), (moves, -1.5, 1.5)):
        span = most - least
        assert least - 1e-4 < min(values) < least + 0.03 * span
        assert most - 0.03 * span < max(values) < most + 1e-4


def test_a_warped_image_goes_on_as_its_border_and_gets_no_new_values():
    images = np.random.default_rng(4).integers(90, 160, (50, 8, 8, 3), np.uint8)
    warped = data.warp(images, np.random.default_rng(4), 45, 0.5, 3)
    assert warped.min() >= images.min()
    assert warped.max() <= images.max()
    one_colour = np.full((5, 8, 8, 1), 77, np.uint8)
    assert (data.warp(one_colour, np.random.default_rng(4), 90, 0.9, 7) == 77).all()


def test_compose_is_one_after_the_other_with_one_generator():
    images = np.random.default_rng(0).random((6, 8, 8, 3), dtype=np.float32)
    steps = [data.mirror, partial(data.shift, pixels=2), partial(data.cutout, size=3)]
    by_hand, rng = images, np.random.default_rng(5)
    for step in steps:
        by_hand = step(by_hand, rng)
    assert same_pixels(data.Compose(steps)(images, np.random.default_rng(5)), by_hand)
    assert same_pixels(data.Compose([])(images, rng), images)
    for steps in ([data.mirror, 3], data.mirror, None):
        with pytest.raises(TypeError, match="Compose: steps needs a list, each a function"):
            data.Compose(steps)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (data.mirror, {"p": 1.5}),
        (data.mirror, {"p": float("nan")}),
        (data.shift, {"pixels": -1}),
        (data.shift, {"pixels": 4}),
        (data.shift, {"pixels": 4, "mode": "reflect"}),
        (data.shift, {"pixels": 10**30}),
        (data.shift, {"mode": "wrap"}),
        (data.cutout, {"size": -1}),
        (data.cutout, {"size": 5}),
        (data.warp, {"degrees": -1}),
        (data.warp, {"scale": 1}),
        (data.warp, {"pixels": float("nan")}),
    ],
)
def test_impossible_options_are_refused(function, options):
    images, rng = np.zeros((2, 4, 6, 1)), np.random.default_rng(0)
    argument = "mode" if "wrap" in options.values() else next(iter(options))
    with pytest.raises(ValueError, match=f"{function.__name__}: {argument} needs"):
        function(images, rng, **options)
    good = {"size": 1} if function is data.cutout else {}
    with pytest.raises(ShapeError, match=rf"{function.__name__}: images .*\(N, H, W, C\)"):
        function(images[0], rng, **good)
    with pytest.raises(DTypeError, match="images need numbers"):
        function(np.full((2, 4, 6, 1), "x"), rng, **good)
    for wrong in (np.random, 0, None, np.random.RandomState(0)):
        with pytest.raises(TypeError, match=f"{function.__name__}: rng needs a Generator"):
            function(images, wrong, **good)


# ----- Loader -----


def numbered(count, dtype=np.float32):
    """A dataset in which the first pixel of an image tells which one it is."""
    images = np.zeros((count, 4, 4, 1), dtype)
    images[:, 0, 0, 0] = np.arange(count)
    return data.Dataset(images, np.arange(count, dtype=np.int64) % 3, ("a", "b", "c"), "numbered")


def numbers(loader):
    return [int(n) for images, _ in loader for n in images[:, 0, 0, 0]]


augment = data.Compose([data.mirror, partial(data.shift, pixels=1)])


@given(st.integers(1, 40), st.integers(1, 45), st.booleans(), st.sampled_from([0, 1, 3]))
@quick
def test_an_epoch_has_every_example_exactly_once(count, batch_size, shuffle, prefetch):
    loader = data.Loader(numbered(count), batch_size, shuffle=shuffle, prefetch=prefetch)
    sizes = [len(labels) for _, labels in loader]
    assert len(loader) == len(sizes) == -(-count // batch_size)
    assert set(sizes[:-1]) <= {batch_size}
    found = numbers(loader)
    assert sorted(found) == list(range(count))
    assert shuffle or found == list(range(count))


def test_images_and_labels_stay_together():
    for images, labels in data.Loader(numbered(30), 7, shuffle=True):
        assert images.dtype == np.float32
        assert labels.dtype == np.int64
        assert np.array_equal(images[:, 0, 0, 0] % 3, labels)


def test_drop_last_drops_only_the_incomplete_batch():
    loader = data.Loader(numbered(10), 4, drop_last=True)
    assert len(loader) == 2
    assert numbers(loader) == list(range(8))
    assert len(data.Loader(numbered(8), 4, drop_last=True)) == 2


def test_bytes_become_0_to_1_and_the_augmentation_comes_before_the_transform():
    dataset = numbered(4, np.uint8)
    (images, _), = data.Loader(dataset, 4)  # fmt: skip
    assert np.allclose(images[:, 0, 0, 0], np.arange(4) / 255)
    standardize = data.Standardize.fit(dataset.images)
    seen = []

    def watch(images, rng):
        seen.append(images)
        return images + np.uint8(1)

    (images, _), = data.Loader(dataset, 4, transform=standardize, augment=watch)  # fmt: skip
    assert np.array_equal(seen[0], dataset.images)
    assert np.array_equal(images, standardize(dataset.images + np.uint8(1)))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_order_and_augmentation_depend_only_on_seed_and_epoch(prefetch):
    def epoch(loader):
        return np.concatenate([images for images, _ in loader])

    def fresh(seed=3):
        return data.Loader(numbered(23), 5, True, seed=seed, augment=augment, prefetch=prefetch)

    straight = fresh()
    first, second, third = (epoch(straight) for _ in range(3))
    assert not np.array_equal(first, second)
    resumed = fresh()
    resumed.set_epoch(1)
    assert same_pixels(epoch(resumed), second)
    assert same_pixels(epoch(resumed), third)
    resumed.set_epoch(0)
    assert same_pixels(epoch(resumed), first)
    assert not np.array_equal(epoch(fresh(seed=4)), first)
    # An epoch that was left in the middle still counts as one.
    left = fresh()
    next(iter(left))
    assert same_pixels(epoch(left), second)


@pytest.mark.parametrize("prefetch", [1, 2, 50])
def test_prefetching_gives_exactly_the_same_batches(prefetch):
    options = {"shuffle": True, "augment": augment, "seed": 9}
    plain = data.Loader(numbered(31), 4, **options)
    ahead = data.Loader(numbered(31), 4, **options, prefetch=prefetch)
    for _ in range(2):
        for (a, a_labels), (b, b_labels) in zip(plain, ahead, strict=True):
            assert same_pixels(a, b)
            assert same_pixels(a_labels, b_labels)
    assert not loader_threads()


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("tinyfractal-loader")]


def test_prefetching_stays_at_most_so_many_batches_ahead():
    prepared = []
    loader = data.Loader(numbered(20), 1, prefetch=3, transform=lambda x: prepared.append(1) or x)
    for consumed, _ in enumerate(loader, start=1):
        time.sleep(0.002)
        assert len(prepared) <= consumed + 3
    assert len(prepared) == 20


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_error_while_preparing_reaches_the_consumer_and_ends_the_thread(prefetch):
    def fail_on_the_third(images):
        if images[0, 0, 0, 0] == 2:
            raise RuntimeError("the third is bad")
        return images

    seen = []
    loader = data.Loader(numbered(9), 1, transform=fail_on_the_third, prefetch=prefetch)
    with pytest.raises(RuntimeError, match="the third is bad"):
        seen.extend(images[0, 0, 0, 0] for images, _ in loader)
    assert seen == [0, 1]
    assert not loader_threads()


def test_leaving_early_ends_the_thread():
    loader = data.Loader(numbered(100), 1, prefetch=2)
    for _ in loader:
        assert loader_threads()
        break
    assert not loader_threads()
    never_started = iter(loader)
    assert not loader_threads()
    del never_started


def test_changing_a_batch_does_not_change_the_dataset():
    dataset = numbered(6)
    for images, labels in data.Loader(dataset, 3):
        images[:] = -1
        labels[:] = -1
    assert dataset.images.min() == 0
    assert dataset.labels.min() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size needs a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"batch_size": 11, "drop_last": True}, "10 examples make no batch of 11 with drop_last"),
        ({"seed": -1}, "seed"),
        ({"seed": "now"}, "seed"),
        ({"prefetch": -1}, "prefetch"),
        ({"shuffle": "yes"}, "shuffle"),
        ({"transform": 3}, "transform"),
        ({"augment": [data.mirror]}, "augment"),
        ({"dataset": numbered(0)}, "0 examples"),
        ({"dataset": np.zeros((3, 4, 4, 1))}, "dataset needs a Dataset"),
    ],
)
def test_bad_arguments_are_refused(options, words):
    with pytest.raises((ValueError, TypeError), match=f"Loader: .*{words}"):
        data.Loader(**({"dataset": numbered(10), "batch_size": 2} | options))


def test_a_bad_epoch_is_refused():
    with pytest.raises(ValueError, match=r"Loader.set_epoch: epoch needs"):
        data.Loader(numbered(10), 2).set_epoch(-1)


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (lambda x: x.astype(np.float64), DTypeError, r"float64; end it with .astype\(float32\)"),
        (lambda x: None, DTypeError, "got None"),
        (lambda x: x.tolist(), DTypeError, "got a list"),
        (lambda x: x[:-1], ShapeError, r"as many images as it gets, 2, got .*\(1, 4, 4, 1\)"),
        (lambda x: x[0, 0, 0, 0], DTypeError, "got np.float32"),
    ],
)
def test_what_the_users_functions_make_is_looked_at(made, error, words, prefetch):
    for options in ({"transform": made}, {"augment": lambda x, rng: made(x)}):
        (name,) = options
        loader = data.Loader(numbered(10), 2, prefetch=prefetch, **options)
        with pytest.raises(error, match=f"Loader: {name} .*{words}"):
            next(iter(loader))


def test_bytes_that_an_augmentation_makes_floats_are_refused_since_they_would_not_be_divided():
    dataset = numbered(10, np.uint8)
    loader = data.Loader(dataset, 2, augment=lambda x, rng: x * np.float32(1.1))
    with pytest.raises(DTypeError, match="augment needs to give a NumPy array of uint8"):
        next(iter(loader))


def test_no_more_batches_than_there_are_are_asked_for_ahead():
    loader = data.Loader(numbered(10), 2, prefetch=10**12)
    assert len(list(loader)) == 5
