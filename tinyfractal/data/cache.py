"""What was decoded once is kept: pictures as one file of bytes, which the next start only maps.

A folder of photographs takes minutes to decode, and the pictures a network sees take seconds to
read. So they lie in the user's cache folder, one file for each folder and size (`TINYFRACTAL_CACHE`
in the environment chooses another). The file is mapped, not read: a batch brings into memory what
it needs, and the system may forget it again. A folder of any size takes no more memory than a few
hundred pictures while it is decoded, and a batch while it is learned.

Beside the file lies a small one of JSON, written last: without it, the file is not whole and is
made again. Where any file of the folder has changed, so has the name of its cache.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from .. import browser
from ..check import printable
from ..errors import DataError
from ..files import remove, user_path, write_atomically
from ..progress import counted

FORMAT = 2  # another one where a picture is decoded differently
AT_ONCE = 256  # pictures that are in memory while they are decoded
A_DAY = 86_400  # seconds
MOST_NAMED = 5  # broken files that a message names
Decode = Callable[[int], np.ndarray]
Decoded = tuple[np.ndarray, list[int], list[str]]  # pictures, their positions, what was broken


def cache_folder() -> Path:
    """Where decoded pictures are kept."""
    chosen = os.environ.get("TINYFRACTAL_CACHE")
    if chosen:
        return user_path(chosen)
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    else:
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return user_path(home) / "tinyfractal"


def decoded(
    source: Path,
    names: Sequence[str],
    facts: Mapping[str, Any],
    shape: tuple[int, int, int],
    decode: Decode,
    skip_broken: bool = False,
    progress: bool = True,
) -> Decoded:
    """decode(0), decode(1), …, each `(H, W, C)` uint8: the pictures that are not broken `(N, H, W,
    C)`, mapped from the cache; the position of each in `names`; and what is wrong with the others.

    source: what they come from. facts: all that decides what comes out, for JSON.
    Raises `DataError`, which lists them, where files are broken, unless `skip_broken`.
    """
    stem, path = _place(source, names, facts, "x".join(map(str, shape)))
    found = _read(path, shape)
    if found is None or _is_mended(len(names), found[1], decode):
        found = _make(path, stem, source, names, shape, decode, progress)
    images, kept, broken = found
    if broken and not skip_broken:
        listed = "; ".join(broken[:MOST_NAMED])
        more = f"; and {len(broken) - MOST_NAMED} more" if len(broken) > MOST_NAMED else ""
        raise DataError(
            f"{source}: {len(broken)} of {len(names)} files cannot be read: {listed}{more}. Mend "
            "or remove them, or ask to have them skipped: skip_broken=True (--skip-broken)"
        )
    return images, kept, broken


def remembered(
    source: Path,
    names: Sequence[str],
    facts: Mapping[str, Any],
    what: str,
    find: Callable[[], bool],
) -> bool:
    """The answer of find(), which opens many of these files, from the cache where it is there."""
    stem, path = _place(source, names, facts, what)
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.with_suffix(".json").read_text("utf-8"))
        if isinstance(found, bool):
            return found
    found = find()
    with contextlib.suppress(OSError):  # `decoded` will say what is wrong with the cache
        write_atomically(path.with_suffix(".json"), json.dumps(found).encode())
        _remove_others(stem, path)
    return found


def _place(
    source: Path, names: Sequence[str], facts: Mapping[str, Any], what: str
) -> tuple[str, Path]:
    """How the caches of this folder begin, for pictures of a size (what), and the one of these very
    files."""
    stem = f"{source.name or 'root'}-{_sum(os.path.abspath(source))[:8]}-{what}"
    key = _sum(json.dumps([FORMAT, dict(facts), list(names), what], sort_keys=True))[:16]
    return stem, cache_folder() / f"{stem}-{key}.pixels"


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path, shape: tuple[int, int, int]) -> Decoded | None:
    """What is in the cache, or None where it is not whole."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        kept, broken = list(map(int, facts["kept"])), list(map(str, facts["broken"]))
        size = len(kept) * int(np.prod(shape))
        if not kept or path.stat().st_size != size:
            return None
        images = np.memmap(path, np.uint8, "r", shape=(len(kept), *shape))
        return np.asarray(images), kept, broken
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_mended(count: int, kept: Sequence[int], decode: Decode) -> bool:
    """Whether a file that was broken can be read now: its disk may have been away, or a format new
    to this Pillow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in sorted(set(range(count)) - set(kept)):
            with contextlib.suppress(DataError):
                decode(i)
                return True
    return False


def _make(
    path: Path,
    stem: str,
    source: Path,
    names: Sequence[str],
    shape: tuple[int, int, int],
    decode: Decode,
    progress: bool,
) -> Decoded:
    """Decode everything, some hundred at a time, into a new file of the cache."""
    kept: list[int] = []
    broken: list[str] = []
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")

    def attempt(i: int) -> np.ndarray | DataError:
        try:
            return decode(i)
        except DataError as error:
            return error

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            open(draft, "xb") as file,
            nullcontext() if browser.IN_BROWSER else ThreadPoolExecutor(os.cpu_count()) as pool,
            warnings.catch_warnings(),
            counted(printable(source.name), len(names), progress, "files", after=1.0) as show,
        ):
            warnings.simplefilter("ignore")  # a library that grumbles at a file, yet reads it
            for start in range(0, len(names), AT_ONCE):
                part = range(start, min(start + AT_ONCE, len(names)))
                for i, result in zip(part, (pool.map if pool else map)(attempt, part)):
                    if isinstance(result, DataError):
                        broken.append(printable(str(result)))
                        continue
                    if result.dtype != np.uint8 or result.shape != shape:
                        raise TypeError(f"decode: expected uint8 {shape}, got {result.shape}")
                    kept.append(i)
                    file.write(np.ascontiguousarray(result).data)
                show(part.stop)
        if not kept:
            listed = "; ".join(broken[:MOST_NAMED])
            raise DataError(f"{source}: none of its {len(names)} files can be read: {listed}")
        os.replace(draft, path)
        write_atomically(
            path.with_suffix(".json"), json.dumps({"kept": kept, "broken": broken}).encode()
        )
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path.parent}: what was decoded cannot be kept there ({error.strerror or error}); "
            "set TINYFRACTAL_CACHE to a folder that can be written"
        ) from error
    finally:
        remove(draft)
    _remove_others(stem, path)
    images = np.memmap(path, np.uint8, "r", shape=(len(kept), *shape))
    return np.asarray(images), kept, broken


def _remove_others(stem: str, path: Path) -> None:
    """Remove what was kept of the folder as it was before, and what killed programs left."""
    for old in path.parent.glob(f"{glob.escape(stem)}-*"):
        if old.stem != path.stem:
            remove(old)
    for draft in path.parent.glob(f".{glob.escape(stem)}-*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > A_DAY:  # else somebody may be writing it
                draft.unlink()
