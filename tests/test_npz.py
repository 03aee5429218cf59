"""Files of named arrays are read whole or refused; none takes more memory than it may."""

import io
import os
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from tinyfractal.errors import DataError
from tinyfractal.files.npz import SMALL, read_npz


def write_zip(path, entries, compression=zipfile.ZIP_STORED):
    """A zip of (name, bytes), the same name twice if need be."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, content in entries:
            archive.writestr(name, content)
    return path


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def with_header(text, content=b""):
    """A .npy file that says of itself what it likes."""
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + content


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_they_were_saved_and_are_the_callers_own(save, tmp_path):
    arrays = {
        "a": np.arange(24.0).reshape(2, 3, 4),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "scalar": np.array(7),
        "empty": np.zeros((0, 3)),
        "text": np.array("hello"),
    }
    save(tmp_path / "set.npz", **arrays, big=np.arange(5, dtype=">f4"))
    found = read_npz(tmp_path / "set.npz")
    assert found.pop("big").tobytes() == np.arange(5, dtype=np.float32).tobytes()
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        found[name][...] = array


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_flipped_bit_is_refused_or_harmless(save, tmp_path):
    path = tmp_path / "set.npz"
    arrays = {"images": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    save(path, **arrays)
    good = path.read_bytes()
    refused = 0
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_npz(path)
        except DataError:
            refused += 1
            continue
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
    assert refused > 8 * len(good) / 3  # the rest are dates and other things that nobody reads


def test_a_damaged_comment_cannot_hide_an_array(tmp_path):
    # An entry of the table of contents takes 46 bytes and its name, here 64: one bit in the length
    # of the comment before it makes it a comment.
    path = write_zip(tmp_path / "x.npz", [(f"{c * 14}.npy", npy(np.arange(3))) for c in "ab"])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 32] ^= 64
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 1  # zipfile itself does not notice
    with pytest.raises(DataError, match="table of contents"):
        read_npz(path)


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3)}", bytes(7)),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3)}", bytes(5)),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1 << 62, 4)}", b""),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", bytes(8)),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -4)}", bytes(4)),
        ("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,)}", b""),
        ("{'descr': '|O', 'fortran_order': False, 'shape': ()}", b"cos\nsystem\n."),
        ("{'descr': '|u1'}", b""),
        ("[" * 100, b""),
    ],
)
def test_headers_that_do_not_fit_their_bytes_are_refused(header, content, tmp_path):
    path = write_zip(tmp_path / "x.npz", [("a.npy", with_header(header, content))])
    with pytest.raises(DataError, match=r"x\.npz"):
        read_npz(path)


def test_two_arrays_of_one_name_are_refused(tmp_path):
    for second in ("a.npy", "a"):
        path = write_zip(tmp_path / "x.npz", [("a.npy", npy(np.arange(3))), (second, npy(1))])
        with pytest.raises(DataError, match="a is in it twice"):
            read_npz(path)


def test_encrypted_and_oddly_packed_entries_are_refused(tmp_path):
    path = write_zip(tmp_path / "x.npz", [("a.npy", npy(np.arange(3)))])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="a is encrypted"):
        read_npz(path)
    write_zip(path, [("a.npy", npy(np.arange(3)))], zipfile.ZIP_LZMA)
    with pytest.raises(DataError, match="packed in a way"):
        read_npz(path)


def peak_of(work):
    """Bytes that `work` had at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    header = with_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({SMALL},)}}")
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("a.npy", "w") as entry:
        entry.write(header)
        for _ in range(SMALL >> 20):
            entry.write(bytes(1 << 20))

    def refused():
        with pytest.raises(DataError, match="bytes unpack to 134,"):
            read_npz(path)

    assert peak_of(refused) < 2**20
    assert read_npz(path, most_bytes=2 * SMALL)["a"].shape == (SMALL,)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    with pytest.raises(DataError, match="it is a folder"):
        read_npz(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="no regular file"):
        read_npz(tmp_path / "pipe")
    with pytest.raises(DataError, match="no such file"):
        read_npz(tmp_path / "nothing")


def test_an_entry_that_unpacks_to_more_than_it_says_is_cut_there_and_refused(tmp_path):
    path = write_zip(tmp_path / "x.npz", [("a.npy", bytes(1 << 26))], zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)

    def refused():
        with pytest.raises(DataError, match="damaged"):
            read_npz(path)

    assert peak_of(refused) < 4 * 2**20
