"""A folder or a zip, read alike: the names of the files in it, and the bytes of each.

Nothing is ever unpacked to the disk, so a name in a zip cannot lead out of a folder.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ..check import PathLike
from ..errors import DataError
from ..files import open_file, reading, user_path

MOST_BYTES = 1 << 28  # of one file in a zip, unpacked: 256 MiB
HIDDEN = (".", "__MACOSX", "Thumbs.db", "desktop.ini")  # what systems leave among people's files


class Tree:
    """The files in a folder, in the folders in it, or in a zip.

        with Tree("photos.zip") as tree:
            first = tree.read(tree.names[0])

    names: the path of each file inside, with "/" between its parts, in order; hidden files are
    left out. Raises `DataError` for what is neither a folder nor a zip, and for a damaged one.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = user_path(path)
        self.zip: zipfile.ZipFile | None = None
        self.entries: dict[str, Any] = {}
        with reading(self.path):
            if os.path.isdir(self.path):
                names = list(_walk(self.path))
            else:
                self.zip = zipfile.ZipFile(open_file(self.path))
                self.entries = {e.filename: e for e in self.zip.infolist() if not e.is_dir()}
                names = list(self.entries)
        self.names = sorted(name for name in names if not _is_hidden(name))

    def enter(self, folder: str) -> None:
        """From now on only what is in this folder of a zip, as if that were all of it."""
        start = len(folder) + 1
        inside = [name for name in self.names if name.startswith(f"{folder}/")]
        self.entries = {name[start:]: self.entries[name] for name in inside}
        self.names = sorted(self.entries)

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *error: object) -> None:
        if self.zip is not None:
            file = self.zip.fp
            self.zip.close()
            if file is not None:
                file.close()

    def place(self, name: str) -> str:
        """What a message calls this file."""
        return f"{self.path}: {name}" if self.zip is not None else str(self.path / name)

    def open(self, name: str) -> BinaryIO:
        """The file, open for reading."""
        place = self.place(name)
        if self.zip is None:
            with reading(place):
                return open_file(self.path / name)
        return io.BytesIO(self.read(name))

    def read(self, name: str) -> bytes:
        """The bytes of a file; from a zip, its checksum compared."""
        place = self.place(name)
        with reading(place):
            if self.zip is None:
                with open_file(self.path / name) as file:
                    return file.read()
            entry = self.entries[name]
            if entry.file_size > MOST_BYTES:
                raise DataError(
                    f"{place}: unpacks to {entry.file_size:,} bytes, more than {MOST_BYTES:,}"
                )
            with self.zip.open(entry) as stream:
                return stream.read(entry.file_size + 1)

    def fingerprint(self, names: Sequence[str] | None = None) -> str:
        """Another one where any file, or any of these, was added, changed or taken away.

        Of files of one size and one date that trade places, only the system's own number (inode)
        and the time of the change (ctime) tell; a link that leads nowhere is one that is not there.
        """
        found = hashlib.sha256()
        for name in self.names if names is None else names:
            entry = self.entries.get(name)
            facts: tuple[Any, ...] = (name, None)
            if entry is not None:
                facts = (name, entry.file_size, entry.CRC)
            else:
                with suppress(OSError):
                    s = os.stat(self.path / name)
                    facts = (name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
            found.update(repr(facts).encode("utf-8", "surrogateescape"))
        return found.hexdigest()


def _walk(folder: Path) -> Any:
    def fail(error: OSError) -> None:  # a folder that may not be read is not an empty one
        raise error

    above: dict[str, frozenset[tuple[int, int]]] = {}  # the folders that each lies in
    for here, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        status = os.stat(here)
        this, outer = (status.st_dev, status.st_ino), above.pop(here, frozenset())
        if this in outer:  # a link that leads in a circle
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(HIDDEN))
        above.update((os.path.join(here, name), outer | {this}) for name in folders)
        inside = os.path.relpath(here, folder).replace(os.sep, "/")
        for name in files:
            yield name if inside == "." else f"{inside}/{name}"


def _is_hidden(name: str) -> bool:
    return any(part.startswith(HIDDEN) for part in name.split("/"))
