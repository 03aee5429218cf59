"""The 1,797 handwritten digits that come with the library: nothing to download.

Each is an 8 by 8 picture: someone wrote a digit on a form, the form was scanned to 32 by 32 black
or white dots, and each block of 4 by 4 dots became one pixel, the number of black dots in it,
0 to 16. They are small enough that a network learns them in seconds on any computer.

They are the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak
(1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, under the licence
CC BY 4.0 (see DIGITS_LICENSE.txt beside this file), as scikit-learn ships them. The file
`digits.npz` was made with

    # pixels 0 to 16 and labels 0 to 9 both fit in a byte
    digits = sklearn.datasets.load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    np.savez_compressed("digits.npz", images=images, labels=labels)
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files.npz import read_npz
from .dataset import Dataset

FILE = Path(__file__).with_name("digits.npz")
# Of the bytes of both arrays, so it does not depend on how zip packs them.
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
TEST_FRACTION = 0.2


def load_digits() -> tuple[Dataset, Dataset]:
    """The digits as (train, test): 1,438 and 359 images, always the same ones.

    Images are `(N, 8, 8, 1)` float32 from 0 to 1, labels `(N,)` int64 from 0 to 9. A fifth of
    each class is for testing. Raises `DataError` where the file of the package is damaged.
    """
    arrays = read_npz(FILE)
    found = hashlib.sha256(b"".join(array.tobytes() for array in arrays.values())).hexdigest()
    if found != SHA256:
        raise DataError(
            f"{FILE}: damaged, its SHA-256 is {found}, expected {SHA256}; reinstall tinyfractal"
        )
    images, labels = arrays["images"], arrays["labels"]
    pixels = images[..., np.newaxis] / np.float32(16)
    names = tuple("0123456789")
    digits = Dataset(pixels, labels.astype(np.int64), classes=names, name="digits")
    return digits.split(TEST_FRACTION)
