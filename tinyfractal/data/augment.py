"""Small random changes to training images that leave their class as it was.

A mirrored cat is a cat, and so is a cat four pixels further left. A network that sees such
variants cannot learn the training images by heart and does better on new ones. The FractalNet
paper trains its augmented rows with mirrored and shifted images.

Each function takes a batch `(N, H, W, C)` of any number type and a NumPy random generator, and
returns a new batch of the same shape and type; the input is never changed. Every image draws its
own change. `Compose` strings several together:

    augment = Compose([mirror, partial(shift, pixels=4)])     # functools.partial
    batch = augment(images, rng)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ..check import Amount, Below1, Probability, Size, checked
from ..errors import DTypeError, ShapeError

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@checked
def mirror(images: np.ndarray, rng: np.random.Generator, p: Probability = 0.5) -> np.ndarray:
    """Flip each image left to right with probability `p`.

    Raises `ShapeError` unless images are `(N, H, W, C)`.
    """
    count, _, _, _ = _shape("mirror", images)
    flipped = rng.random(count) < p
    result = images.copy()
    result[flipped] = images[flipped, :, ::-1]
    return result


@checked
def shift(
    images: np.ndarray,
    rng: np.random.Generator,
    pixels: Size = 4,
    mode: Literal["zeros", "reflect"] = "zeros",
) -> np.ndarray:
    """Move each image by up to `pixels` pixels, whole ones, along each axis.

    What comes in at the edge is zeros (`mode="zeros"`) or the image mirrored at its border
    (`mode="reflect"`). Every shift from -pixels to +pixels is equally likely.
    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` where pixels is negative or
    as much as a side of the image, which would shift it out of sight.
    """
    count, height, width, _ = _shape("shift", images)
    if pixels >= min(height, width):
        raise ValueError(
            f"shift: pixels needs fewer than a side of the image, {height} x {width}, got {pixels}"
        )
    border = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = np.pad(images, border, mode="constant" if mode == "zeros" else "reflect")
    # A shift is a window of the image's own size somewhere in its padded version.
    top, left = rng.integers(0, 2 * pixels + 1, size=(2, count, 1))
    rows, columns = top + np.arange(height), left + np.arange(width)  # (N, H) and (N, W)
    image = np.arange(count)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]


@checked
def cutout(images: np.ndarray, rng: np.random.Generator, size: Size) -> np.ndarray:
    """Blank out one square of `size` by `size` pixels in each image (DeVries & Taylor 2017).

    The centre of the square is any pixel, so near a border part of the square falls outside.
    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` where size is negative or
    more than a side of the image.
    """
    count, height, width, _ = _shape("cutout", images)
    if size > min(height, width):
        raise ValueError(
            f"cutout: size needs at most a side of the image, {height} x {width}, got {size}"
        )
    top = rng.integers(0, height, size=(count, 1)) - size // 2
    left = rng.integers(0, width, size=(count, 1)) - size // 2
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (top <= rows) & (rows < top + size)  # (N, H)
    in_columns = (left <= columns) & (columns < left + size)  # (N, W)
    square = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return np.where(square, images.dtype.type(0), images)


@checked
def warp(
    images: np.ndarray, rng: np.random.Generator, degrees: Amount = 10, scale: Below1 = 0.1,
    pixels: Amount = 0,
) -> np.ndarray:  # fmt: skip
    """Turn each image by up to `degrees`, scale it by up to 1 + `scale`, move it up to `pixels`.

    A pixel of the result at p, seen from the centre, is the image's at R p / s + t, R a rotation,
    s between 1 / (1 + scale) and 1 + scale, and t a shift along each axis, of any fraction of a
    pixel: the mean of the four pixels around it, the nearer the heavier (bilinear interpolation).
    Beyond its border the image goes on as its last row or column.
    Raises `ShapeError` unless images are `(N, H, W, C)`.
    """
    count, height, width, _ = _shape("warp", images)
    angle = np.deg2rad(rng.uniform(-degrees, degrees, count))
    size = np.exp(rng.uniform(-1, 1, count) * np.log1p(scale))  # 1 / 1.1 is as likely as 1.1
    cos, sin = np.cos(angle) / size, np.sin(angle) / size
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    move_y, move_x = rng.uniform(-pixels, pixels, (2, count, 1, 1))
    y, x = np.arange(height)[:, None] - middle_y, np.arange(width) - middle_x
    rows = cos[:, None, None] * y - sin[:, None, None] * x + move_y + middle_y  # (N, H, W)
    columns = sin[:, None, None] * y + cos[:, None, None] * x + move_x + middle_x
    return _between(images, rows.clip(0, height - 1), columns.clip(0, width - 1))


def _between(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The value of each image between its pixels, at rows and columns `(N, H, W)`."""
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    below = np.minimum(top + 1, images.shape[1] - 1)
    right = np.minimum(left + 1, images.shape[2] - 1)
    down, across = (
        (place - whole).astype(np.float32)[..., np.newaxis]
        for place, whole in ((rows, top), (columns, left))
    )
    n = np.arange(len(images))[:, None, None]
    upper = images[n, top, left] * (1 - across) + images[n, top, right] * across
    lower = images[n, below, left] * (1 - across) + images[n, below, right] * across
    between = upper * (1 - down) + lower * down
    return (between if images.dtype.kind == "f" else np.rint(between)).astype(images.dtype)


@checked
def shift_time(images: np.ndarray, rng: np.random.Generator, frames: Size = 4) -> np.ndarray:
    """Let each sound begin up to `frames` frames earlier or later: move its spectrogram sideways.

    For pictures from `decode_sound`, time to the right. Silence, 0, comes in at the edge.
    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` where frames is as much as
    the width, which would shift the sound out of hearing.
    """
    count, _, width, _ = _shape("shift_time", images)
    if frames >= width:
        raise ValueError(f"shift_time: frames needs fewer than the width, {width}, got {frames}")
    return _moved(images, np.zeros(count, int), rng.integers(-frames, frames + 1, size=count))


@checked
def shift_bands(images: np.ndarray, rng: np.random.Generator, bands: Size = 2) -> np.ndarray:
    """Move each spectrogram up or down by up to `bands` bands: a higher or a lower voice.

    A mouth that is smaller by some factor raises all its resonances by that factor, and above
    700 Hz equal factors are about equal steps of the mel scale (N. Jaitly and G. Hinton, "Vocal
    Tract Length Perturbation improves speech recognition", 2013, warp it exactly).
    Silence, 0, comes in at the edge. Raises as `shift_time` does, for the height.
    """
    count, height, _, _ = _shape("shift_bands", images)
    if bands >= height:
        raise ValueError(f"shift_bands: bands needs fewer than the height, {height}, got {bands}")
    return _moved(images, rng.integers(-bands, bands + 1, size=count), np.zeros(count, int))


def _moved(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Each image moved by its own number of pixels, zeros where there was none."""
    result = np.zeros_like(images)
    _, height, width, _ = images.shape
    for image, new, i, j in zip(images, result, down.tolist(), right.tolist()):
        part = image[max(0, -i) : height - max(0, i), max(0, -j) : width - max(0, j)]
        new[max(0, i) : height + min(0, i), max(0, j) : width + min(0, j)] = part
    return result


@checked
def mask_time(images: np.ndarray, rng: np.random.Generator, frames: Size = 8) -> np.ndarray:
    """Silence a stretch of 0 to `frames` frames, somewhere in each spectrogram.

    With `mask_bands` the masks of D. Park et al., "SpecAugment" (2019): the width is uniform in
    0 … frames, then the start is uniform among the places where it fits.
    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` where frames is more than
    the width.
    """
    _, _, width, _ = _shape("mask_time", images)
    if frames > width:
        raise ValueError(f"mask_time: frames needs at most the width, {width}, got {frames}")
    masked = _stripes(len(images), width, frames, rng)  # (N, W)
    return np.where(masked[:, np.newaxis, :, np.newaxis], images.dtype.type(0), images)


@checked
def mask_bands(images: np.ndarray, rng: np.random.Generator, bands: Size = 4) -> np.ndarray:
    """Silence 0 to `bands` neighbouring bands in each spectrogram; see `mask_time`.

    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` where bands is more than
    the height.
    """
    _, height, _, _ = _shape("mask_bands", images)
    if bands > height:
        raise ValueError(f"mask_bands: bands needs at most the height, {height}, got {bands}")
    masked = _stripes(len(images), height, bands, rng)  # (N, H)
    return np.where(masked[:, :, np.newaxis, np.newaxis], images.dtype.type(0), images)


def _stripes(count: int, length: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """A row of booleans for each image, `(count, length)`: up to `most` neighbours are True."""
    size = rng.integers(0, most + 1, size=(count, 1))
    start = rng.integers(0, length - size + 1)
    places = np.arange(length)
    return (start <= places) & (places < start + size)


class Compose:
    """Apply several augmentations, functions of (images, rng), one after the other."""

    @checked
    def __init__(self, steps: Sequence[Augmentation]) -> None:
        self.steps = tuple(steps)

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for step in self.steps:
            images = step(images, rng)
        return images


def _shape(name: str, images: np.ndarray) -> tuple[int, int, int, int]:
    if images.dtype.kind not in "biuf":
        raise DTypeError(f"{name}: images need numbers, got {images.dtype}")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ShapeError(f"{name}: images need shape (N, H, W, C), got {images.shape}")
    count, height, width, channels = images.shape
    return count, height, width, channels
