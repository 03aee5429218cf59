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

import numpy as np

from ..errors import ShapeError

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def mirror(images: np.ndarray, rng: np.random.Generator, p: float = 0.5) -> np.ndarray:
    """Flip each image left to right with probability `p`.

    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` unless 0 <= p <= 1.
    """
    count, _, _, _ = _shape(images)
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a probability from 0 to 1, got {p}")
    flipped = rng.random(count) < p
    result = images.copy()
    result[flipped] = images[flipped, :, ::-1]
    return result


def shift(
    images: np.ndarray, rng: np.random.Generator, pixels: int = 4, mode: str = "zeros"
) -> np.ndarray:
    """Move each image by up to `pixels` pixels, whole ones, along each axis.

    What comes in at the edge is zeros (`mode="zeros"`) or the image mirrored at its border
    (`mode="reflect"`). Every shift from -pixels to +pixels is equally likely.
    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` where pixels is negative, or
    not smaller than the image with "reflect", or the mode is unknown.
    """
    count, height, width, _ = _shape(images)
    if mode not in ("zeros", "reflect"):
        raise ValueError(f'mode: expected "zeros" or "reflect", got {mode!r}')
    if pixels < 0 or (mode == "reflect" and pixels >= min(height, width)):
        raise ValueError(
            f"pixels: expected 0 or more, and with reflect fewer than the image's "
            f"{height} x {width}, got {pixels}"
        )
    border = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = np.pad(images, border, mode="constant" if mode == "zeros" else "reflect")
    # A shift is a window of the image's own size somewhere in its padded version.
    top, left = rng.integers(0, 2 * pixels + 1, size=(2, count, 1))
    rows, columns = top + np.arange(height), left + np.arange(width)  # (N, H) and (N, W)
    image = np.arange(count)
    return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]


def cutout(images: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Blank out one square of `size` by `size` pixels in each image (DeVries & Taylor 2017).

    The centre of the square is any pixel, so near a border part of the square falls outside.
    Raises `ShapeError` unless images are `(N, H, W, C)`, `ValueError` where size is negative.
    """
    count, height, width, _ = _shape(images)
    if size < 0:
        raise ValueError(f"size: expected 0 or more pixels, got {size}")
    top = rng.integers(0, height, size=(count, 1)) - size // 2
    left = rng.integers(0, width, size=(count, 1)) - size // 2
    rows, columns = np.arange(height), np.arange(width)
    in_rows = (top <= rows) & (rows < top + size)  # (N, H)
    in_columns = (left <= columns) & (columns < left + size)  # (N, W)
    square = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return np.where(square, images.dtype.type(0), images)


class Compose:
    """Apply several augmentations, one after the other, with the same generator."""

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        for step in steps:
            if not callable(step):
                raise TypeError(f"Compose: expected functions of (images, rng), got {step!r}")
        self.steps = tuple(steps)

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for step in self.steps:
            images = step(images, rng)
        return images


def _shape(images: np.ndarray) -> tuple[int, int, int, int]:
    if images.ndim != 4:
        raise ShapeError(f"images: expected a batch (N, H, W, C), got shape {images.shape}")
    count, height, width, channels = images.shape
    return count, height, width, channels
