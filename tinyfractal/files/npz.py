"""Reading `.npz` files, in which NumPy zips named arrays: whole, or not at all.

`numpy.load` believes what a file says of itself. Where one flipped bit makes an array smaller, it
reads fewer bytes, never reaches the checksum of the zip, and returns an array of another shape.
And a file of some kilobytes can ask for gigabytes. So here every entry is read to its end, where
zipfile compares its checksum; an array must take exactly the bytes that are there; and the size
that a file unpacks to is looked at first. Nothing is unpickled: no file can run code.
"""

from __future__ import annotations

import io
import math
import os
import zipfile

import numpy as np

from ..check import PathLike, Size, checked
from ..errors import DataError
from . import open_file, reading

BLOCK = 1 << 20  # bytes per step
SMALL = 1 << 27  # what any file may unpack to: 128 MiB …
RATIO = 100  # … and a large one to so many times its own size; images seldom pass 20
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the two ways in which NumPy writes


@checked
def read_npz(path: PathLike, most_bytes: Size | None = None) -> dict[str, np.ndarray]:
    """The named arrays of an .npz file, each writable and in this machine's byte order.

    most_bytes: all entries together may unpack to so many bytes; without it, to 128 MiB or to
    100 times the size of the file, whichever is more.
    Entries that do not end in .npy, such as a text, are checked and left out.
    Raises `DataError`, which names the file and the entry, where the file is missing, damaged,
    encrypted, no .npz or too large unpacked, where two entries have the same name, and for arrays
    of Python objects.
    """
    with reading(path), open_file(path) as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            raise DataError(f"{path}: expected an .npz file of named arrays, got a single array")
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(path, entries, most_bytes)
            arrays = {}
            for entry in entries:
                content = _content(path, archive, entry)
                if entry.filename.endswith(".npy"):
                    name = entry.filename.removesuffix(".npy")
                    arrays[name] = _array(f"{path}: {name}", content)
    return arrays


def _check_entries(path: PathLike, entries: list[zipfile.ZipInfo], most_bytes: int | None) -> None:
    """Refuse by the table of contents alone, before anything is unpacked."""
    seen = set()
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        if name in seen:
            raise DataError(f"{path}: {name} is in it twice")
        seen.add(name)
        if entry.flag_bits & 0x1:
            raise DataError(f"{path}: {name} is encrypted")
        if entry.compress_type not in PLAIN:
            raise DataError(f"{path}: {name} is packed in a way that NumPy does not use")
        # The length of a comment that was damaged can hide the entries behind it.
        if b"PK\x01\x02" in entry.comment + entry.extra:
            raise DataError(f"{path}: the table of contents is damaged at {name}")
    check_unpacked(path, sum(entry.file_size for entry in entries), most_bytes)


def _content(path: PathLike, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytearray:
    """All bytes of an entry; its last read compares the checksum."""
    content = bytearray()
    with archive.open(entry) as stream:
        while block := stream.read(BLOCK):
            content += block
    if len(content) != entry.file_size:
        raise DataError(
            f"{path}: {entry.filename} should have {entry.file_size} bytes, has {len(content)}"
        )
    return content


def _array(place: str, content: bytearray) -> np.ndarray:
    """The array that the bytes of a .npy file hold, all of them."""
    stream = io.BytesIO(content[:BLOCK])  # a header is never longer
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise DataError(f"{place}: expected .npy format 1.0 or 2.0, got {version}")
    if dtype.hasobject:
        raise DataError(f"{place}: holds Python objects, which could run code; refused")
    start = stream.tell()
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != len(content) - start or not dtype.itemsize:
        raise DataError(
            f"{place}: {dtype} of shape {shape} takes {size} bytes, got {len(content) - start}"
        )
    array = np.ndarray(shape, dtype, content, start, order="F" if fortran else "C")
    if not array.flags.aligned:
        array = array.copy()
    return array.astype(dtype.newbyteorder("="), copy=False)


def check_unpacked(path: PathLike, size: int, most_bytes: int | None = None) -> None:
    """Refuse a file that says it unpacks to more than it may."""
    packed = os.path.getsize(path)
    if most_bytes is None:
        most_bytes = max(SMALL, RATIO * packed)
    if size > most_bytes:
        raise DataError(
            f"{path}: its {packed:,} bytes unpack to {size:,}, more than the {most_bytes:,} that "
            "are read; if you trust the file, save it again without compression"
        )
