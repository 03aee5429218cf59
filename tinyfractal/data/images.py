"""Reading a picture as a network wants it: upright, of its size, numbers from 0 to 1.

A picture comes as a viewer shows it. It is turned as its EXIF tag says, what is transparent lies on
white paper, an animation is its first frame. Where the network sees grey, colours become the grey
that the eye finds equally bright, 0.299 R + 0.587 G + 0.114 B. Pictures of 16 bits count to 65,535,
and floats have to lie from 0 to 1; what white is in 32-bit whole numbers nobody knows.

A picture of other proportions is not squeezed: it is fitted in and lies in the middle, on
the median colour of its own border. So a number on white paper gets more white paper.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..check import Count, PathLike, checked
from ..errors import DataError
from ..files import open_file, reading, user_path

MOST_PIXELS = 1 << 26  # 67 million, more than most cameras take; decoded, some 500 MB
GREY = ("1", "L", "LA", "La", "F", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes
MOST_SMALLER, MOST_LARGER = 10, 4  # times a side; beyond that there is a warning


@checked
def read_image(
    path: PathLike, shape: tuple[Count, Count, Count], invert: bool = False
) -> np.ndarray:
    """A picture as `(H, W, C)` float32 of that shape, from 0 (black) to 1 (white), C = 1 or 3.

    invert: for dark ink on light paper, where the network learned light ink on dark.
    Needs Pillow, and reads the formats that it reads, but for PostScript, which is a program.
    Warns where most of the picture was lost, or made up, on the way to that size.
    Raises `DataError` where it cannot be read or has more than 67 million pixels.
    """
    path = user_path(path)
    height, width, channels = shape
    if channels not in (1, 3):
        raise DataError(f"read_image: shape needs 1 or 3 channels for a picture, got {channels}")
    with reading(path), open_file(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our limit of pixels is lower than Pillow's, and an error
        image, original = _fitted(path, file, height, width, channels)
    _remark(path, original, (width, height))
    image = _centred(image, height, width)
    return 1 - image if invert else image


def decode_image(
    name: object,
    stream: BinaryIO,
    shape: tuple[int, int, int],
    box: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """The same picture as bytes, `(H, W, C)` uint8, from an open file; a complaint names `name`.

    box: only this part of it (left, top, right, bottom), in pixels; what lies beyond its edge is
    not there.
    """
    height, width, channels = shape
    image, _ = _fitted(name, stream, height, width, channels, box)
    return np.rint(255 * _centred(image, height, width)).astype(np.uint8)


def is_grey(name: object, stream: BinaryIO) -> bool:
    """Whether the file says that its picture has no colours."""
    Image = _pillow()
    with reading(name):
        return _opened(name, stream, Image).mode in GREY


def endings() -> frozenset[str]:
    """How the names of pictures end that Pillow reads: ".jpg", ".png" …"""
    Image = _pillow()
    extensions = Image.registered_extensions()
    return frozenset(end for end, kind in extensions.items() if kind in set(_formats(Image)))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            "read_image: reading pictures needs Pillow: pip install 'tinyfractal[images]'"
        ) from error
    Image.init()
    return Image


def _formats(Image: Any) -> list[str]:
    return [name for name in Image.ID if name != "EPS"]


def _opened(name: object, stream: BinaryIO, Image: Any) -> Any:
    try:
        picture = Image.open(stream, formats=_formats(Image))
    except Image.UnidentifiedImageError:
        raise DataError(
            f"{name}: cannot identify image file; save the picture as PNG or JPEG"
        ) from None
    if picture.width * picture.height > MOST_PIXELS:
        raise DataError(
            f"{name}: has {picture.width} x {picture.height} pixels, more than the "
            f"{MOST_PIXELS:,} that are read; make it smaller first"
        )
    return picture


def _fitted(
    name: object,
    stream: BinaryIO,
    height: int,
    width: int,
    channels: int,
    box: tuple[int, int, int, int] | None = None,
) -> tuple[np.ndarray, Any]:
    """The picture, upright, made to fit into height and width, and its size before that."""
    Image = _pillow()
    from PIL import ImageOps

    with reading(name):
        picture = _opened(name, stream, Image)
        whole = picture.size
        if box is None:  # a JPEG is stored in blocks of 8x8, whose means are quickly read
            picture.draft(None, (4 * width, 4 * height))
        is_draft = picture.size != whole
        picture = _known_white(name, picture, Image)
        before = picture.size
        ImageOps.exif_transpose(picture, in_place=True)
        if box is not None:
            picture = picture.crop(_inside(name, box, picture.size))
        original = picture.size
        if is_draft:
            original = whole if picture.size == before else whole[::-1]
        scale = min(width / original[0], height / original[1])
        size = [max(1, round(scale * side)) for side in original]
        if picture.size != tuple(size):
            picture = picture.resize(size, Image.Resampling.BOX)
        if picture.mode == "F":
            grey = np.asarray(picture, np.float32)
            return np.repeat(grey[..., np.newaxis], channels, axis=2), original
        if picture.mode == "RGBA":
            paper = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(paper, picture)
        picture = picture.convert("L" if channels == 1 else "RGB")
        image = np.asarray(picture, np.float32) / 255
        return image.reshape(*image.shape[:2], channels), original


def _inside(
    name: object, box: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    left, top, right, bottom = box
    part = max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
    if part[0] >= part[2] or part[1] >= part[3]:
        raise DataError(f"{name}: the box {box} lies outside of its {size[0]} x {size[1]} pixels")
    return part


def _known_white(path: object, picture: Any, Image: Any) -> Any:
    """The picture in mode L, RGB or RGBA, where white is 255, or F, where it is 1."""
    if picture.mode.startswith("I") or picture.mode == "F":
        numbers: Any = np.asarray(picture, np.float32)
        if picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM"):
            numbers = numbers / 65535  # older Pillows give 16-bit pictures as 32 bits
        elif picture.mode == "I":
            raise DataError(
                f"{path}: 32-bit whole numbers do not say what white is; save it with 8 or 16 bits"
            )
        least, most = numbers.min(), numbers.max()
        if not 0 <= least <= most <= 1:  # NaN is not, either
            raise DataError(f"{path}: floats need to be 0 to 1, got {least:.9g} to {most:.9g}")
        if isinstance(clear := picture.info.get("transparency"), int):  # of 16 bits
            numbers[np.asarray(picture) == clear] = 1
        exif = picture.getexif()
        picture = Image.fromarray(numbers)
        picture.getexif().update(exif)
        return picture
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        return picture.convert("RGBA")
    try:
        return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
    except ValueError as error:  # such as LAB, before Pillow 12
        raise DataError(
            f"{path}: this Pillow cannot convert it ({error}); save it with RGB colours"
        ) from error


def _centred(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture in the middle of height x width, on the median colour of its border."""
    if image.shape[:2] == (height, width):
        return image
    edges = (image[0], image[-1], image[:, 0], image[:, -1])
    canvas = np.empty((height, width, image.shape[2]), np.float32)
    canvas[:] = np.median(np.concatenate(edges), axis=0)
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def _remark(path: Path, original: tuple[int, int], size: tuple[int, int]) -> None:
    """Warn where the network sees little of the picture, or little of what it sees is there."""
    scale = min(size[0] / original[0], size[1] / original[1])
    if scale < 1 / MOST_SMALLER or scale > MOST_LARGER:
        done = "reduced" if scale < 1 else "enlarged"
        warnings.warn(
            f"{path}: {original[0]} x {original[1]} pixels were {done} to fit into the "
            f"{size[0]} x {size[1]} that the network sees",
            stacklevel=4,
        )
