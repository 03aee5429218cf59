"""Files: read whole or refused, written whole or not at all, one writer at a time.

`npz` reads NumPy's archives, and trusts nothing that stands in them.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..browser import IN_BROWSER
from ..check import PathLike
from ..errors import DataError

ADVICE = {  # by what the system says is wrong with a file
    errno.EACCES: "choose another place, or change who may use this one",
    errno.EPERM: "choose another place, or change who may use this one",
    errno.EROFS: "choose another place",
    errno.ENOSPC: "make room, or write to another place",
    errno.EDQUOT: "make room, or write to another place",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "there is a file where a folder should be; choose another name",
    errno.EEXIST: "there is a file where a folder should be; choose another name",
    errno.ENAMETOOLONG: "choose a shorter one",
}


def user_path(path: PathLike) -> Path:
    """The path on this machine: ~ is the home folder. (Unlike Path's, it leaves ~nobody alone.)"""
    return Path(os.path.expanduser(path))


# ----- Reading -----


def open_file(path: PathLike) -> io.BufferedReader:
    """Open a file for reading; no folder, and no pipe or device, which might never end."""
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "a folder" if os.path.isdir(path) else "no regular file"
        raise DataError(f"{path}: cannot be read, it is {kind}")
    return open(path, "rb")


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Turn whatever goes wrong inside the `with` block into a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:  # from the system: "Is a directory"
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        # Damaged bytes make gzip, zlib, tarfile, zipfile and NumPy raise more than a dozen types
        # that have nothing in common, down to SyntaxError and MemoryError.
        raise DataError(f"{path}: cannot be read, cut short or damaged ({error})") from error


# ----- Writing -----


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one, whole.

    Raises the system's `OSError`, which names the file and says what to do.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:  # x: never a file that is there already
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        remove(temporary)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def remove(path: Path) -> None:
    """Remove a file if that is possible."""
    with suppress(OSError):  # it is not there, say, or its folder is a file
        path.unlink()


def cannot_write(path: Path, error: OSError) -> OSError:
    """The same error in a sentence that names the file and says what to do."""
    advice = ADVICE.get(error.errno or 0, "choose another folder")
    told = type(error)(
        f"{path}: cannot be written ({error.strerror or error}); {advice}. What was written "
        "before is whole"
    )
    told.errno = error.errno
    return told


# ----- A lock: while one process holds it, no other can -----

# The system keeps the lock and gives it up when the process ends, however it ends. On a file system
# that has no locks nothing is kept apart.


def acquire(path: Path, wait: bool = False) -> int:
    """The open file `path`, which we alone have locked.

    Raises `BlockingIOError` where another holds it, unless told to `wait`.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file, wait)
        except BlockingIOError:
            os.close(file)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        os.close(file)  # the one before has just removed it: this is nobody's lock


def release(path: Path, file: int) -> None:
    """Let others have it, and remove the file."""
    if sys.platform == "win32":  # which cannot remove an open file
        os.close(file)
    remove(path)
    if sys.platform != "win32":
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, wait: bool) -> None:
        os.lseek(file, 1000, os.SEEK_SET)  # behind any text, which others may read
        while True:
            try:
                msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                break
            except OSError as error:
                if not wait:
                    raise BlockingIOError from error
        os.lseek(file, 0, os.SEEK_SET)

elif IN_BROWSER:

    def _lock(file: int, wait: bool) -> None:
        """Nothing: the files are in this page's memory, which no other process sees."""

else:
    import fcntl

    def _lock(file: int, wait: bool) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks: nothing can be done there
            pass
