"""What all readers share: one way to fail, one way to read NumPy's own files, one hint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..errors import DataError

PathLike = str | os.PathLike[str]


@contextmanager
def reading(path: PathLike) -> Iterator[None]:
    """Turn whatever goes wrong inside the `with` block into a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except Exception as error:
        # Damaged bytes make gzip, zlib, tarfile, zipfile and NumPy raise more than a dozen types
        # that have nothing in common, down to SyntaxError and MemoryError.
        raise DataError(f"{path}: cannot be read, cut short or damaged ({error})") from error


def read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file. Pickled objects, which could run code, are refused.

    Raises `DataError` where the file is missing, damaged or not .npz.
    """
    with reading(path), open(path, "rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path}: expected an .npz file of named arrays, got a single array")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    # What is in the zip but is no array, such as a text file, comes as bytes.
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}


def download_hint(name: str) -> str:
    """The sentence that ends every message about missing files."""
    return f"""Download it: python -c "from tinyfractal import data; data.download('{name}')\""""
