"""A lock file: while one process holds it, no other can.

The system keeps the lock and gives it up when the process ends, however it ends. On a file system
that has no locks nothing is kept apart.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


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
    with suppress(OSError):
        path.unlink()
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

else:
    import fcntl

    def _lock(file: int, wait: bool) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:  # a file system without locks: nothing can be done there
            pass
