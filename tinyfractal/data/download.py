"""Fetching the published archives, and making sure that what arrived is what was published.

    python -c "from tinyfractal import data; data.download('cifar10')"

A file grows under the name `archive.part` and gets its real name only once its checksum is right,
so a file with the real name is always whole. A transfer that breaks off leaves the part, and the
next call asks the server for the rest only, unless the file has changed there since. Of several
calls for one file at once, in one process or in many, one fetches it and the others wait.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from .. import browser
from ..check import PathLike, Range, Size, checked
from ..errors import DataError
from ..files import acquire, release, user_path
from ..progress import counted
from .sources import SOURCES

BLOCK = 1 << 16  # bytes per step
MOST_BYTES = 1 << 32  # of a file whose size neither the caller nor the server says
SLOWEST = 100  # bytes a second: a server that sends fewer is given up
Seconds = Annotated[float, Range(0.001, 86_400)]


@checked
def download(
    name: str, folder: PathLike = "data", progress: bool = True, base_url: str | None = None
) -> Path:
    """Fetch the files of a data set into `folder/name`, and return that folder.

    name: "mnist", "fashion-mnist", "kmnist", "cifar10" or "cifar100", "fsdd" (spoken digits),
    "gtsrb" (traffic signs), "bccd" or "bloodmnist" (blood cells).
    base_url: a mirror to take the same files from, such as "https://example.org/mnist/".
    What is there already is not fetched again. Raises `DataError` as `fetch` does.
    """
    if name not in SOURCES:
        raise DataError(f"download: name needs to be one of {', '.join(SOURCES)}, got {name!r}")
    url, archives = SOURCES[name]
    if base_url is not None:
        if not base_url.startswith(("http://", "https://")):
            raise DataError(f"download: base_url needs http:// or https://, got {base_url!r}")
        url = base_url.rstrip("/") + "/"
    place = user_path(folder) / name
    for archive in archives:
        file = place / archive.file
        hint = " Another server that has the same files can be given as base_url."
        source = url + archive.file if base_url or not archive.url else archive.url
        _fetch(source, file, archive.sums(), archive.size, progress, 30.0, hint)
    return place


@checked
def fetch(
    url: str,
    path: PathLike,
    sha256: str | None = None,
    md5: str | None = None,
    size: Size | None = None,
    progress: bool = True,
    timeout: Seconds = 30.0,
) -> Path:
    """Bring the file at `url` to `path`, continuing where an earlier call broke off.

    sha256, md5: checksums in hexadecimal. size: in bytes. timeout: seconds without a
    byte, or with fewer than 100 a second.
    A file that is there and has the right size and sums is left alone. Redirections are followed,
    but not from https to http.
    Raises `DataError` where the server, the network or the disk fails (the part stays, to go on
    from) and where size or sum are wrong (the part is deleted).
    """
    sums = {}
    for name, value, digits in (("sha256", sha256, 64), ("md5", md5, 32)):
        if value is not None:
            if not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", value):
                raise ValueError(f"fetch: {name} needs {digits} hexadecimal digits, got {value!r}")
            sums[name] = value.lower()
    if not url.startswith(("http://", "https://")):
        raise DataError(f"fetch: url needs http:// or https://, got {url!r}")
    return _fetch(url, user_path(path), sums, size, progress, timeout, "")


def _fetch(
    url: str,
    path: Path,
    sums: dict[str, str],
    size: int | None,
    progress: bool,
    timeout: float,
    hint: str,
) -> Path:
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder; path needs the name of a file in it")
    with _writing(path):
        if os.path.isfile(path) and _problem(path, sums, size) is None:
            return path
    if browser.IN_BROWSER:
        raise DataError(
            f"{url}: cannot be fetched, because Python in a browser has no sockets. Let the "
            f"browser itself download it, and put it at {path}"
        )
    part = path.with_name(path.name + ".part")
    with _folder(path.parent), _alone(path):
        if os.path.isfile(path) and _problem(path, sums, size) is None:
            return path  # someone else was quicker
        try:
            _transfer(url, part, size, bool(sums), progress, float(timeout))
        # URLError and TimeoutError are OSErrors; odd addresses raise the last two.
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            if isinstance(error, DataError):
                raise
            kept = f" {part} is kept: call again to go on from there." if part.exists() else ""
            raise DataError(f"{url}: could not be fetched ({_line(error)}).{kept}{hint}") from error
        with _writing(part):
            problem = _problem(part, sums, size)
            if problem is not None:
                _discard(part)
                raise DataError(f"{url}: {problem}. The file was deleted.{hint}")
            os.replace(part, path)
            _discard(part)
    return path


def _line(error: Exception) -> str:
    """What happened, in one line; what a server says may hold anything."""
    reason = error.reason if type(error) is urllib.error.URLError else error
    text = "".join(letter if letter.isprintable() else " " for letter in str(reason))
    return text[:200] or type(error).__name__


# ----- The server -----


class Redirects(urllib.request.HTTPRedirectHandler):
    """Redirections to http and https, but not from https to http, and not in a circle."""

    inf_msg = "it redirects in a circle: "

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        safe = ("https://",) if req.type == "https" else ("https://", "http://")
        if not newurl.lower().startswith(safe):
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not safe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _ask(url: str, part: Path, done: int, timeout: float) -> tuple[Any, int]:
    """The answer of the server, and from which byte on it has the file: from `done` or from 0.

    None in place of the answer where the part is as long as the file already.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "tinyfractal"})
    version = _version_file(part).read_text("latin-1") if _version_file(part).is_file() else ""
    if done:
        request.add_header("Range", f"bytes={done}-")
        if version:  # "the rest, if the file is still the same, otherwise all of it"
            request.add_header("If-Range", version)
    try:
        response = urllib.request.build_opener(Redirects).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or done == 0:
            raise
        # "Range not satisfiable": the part is as long as the file, and then it may be the file,
        # or it is longer, and then it is of no use.
        if error.headers.get("Content-Range") == f"bytes */{done}":
            return None, done
        return _ask(url, part, 0, timeout)
    if response.status == 200:
        return response, 0  # a server that does not know Range sends everything, from the start
    asked = response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
    # A server may ignore If-Range, and then the rest may be that of another file.
    same = not version or _version(response) in ("", version)
    if response.status == 206 and done and asked and same:
        return response, done
    response.close()
    if not done:
        raise OSError(f"the server sends no whole file, but status {response.status}")
    return _ask(url, part, 0, timeout)


def _version(response: Any) -> str:
    """What tells one version of the file from the next: its ETag or its date, or "" for neither."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _transfer(
    url: str, part: Path, size: int | None, has_sums: bool, progress: bool, timeout: float
) -> None:
    """Append to `part` what it lacks; OSError where that fails."""
    # Without a checksum and without its version, nobody would notice that the file has changed.
    done = part.stat().st_size if part.is_file() else 0
    if not has_sums and not _version_file(part).is_file():
        done = 0
    if size is not None and done == size:
        return
    response, done = _ask(url, part, done, timeout)
    if response is None:
        return
    with response:
        total = size if response.length is None else done + response.length
        if size is not None and total != size:  # such as a page that says "not found" politely
            _discard(part)
            raise DataError(f"{url}: expected a file of {size} bytes, the server offers {total}")
        most = MOST_BYTES if total is None else total
        _begin(part, done, _version(response))
        with open(part, "ab") as file, counted(part.stem, total, progress) as show:
            show(done)
            limit = most + (response.length is None)  # a byte too many tells that it is too long
            begun, before = time.monotonic(), done
            while done < limit and (block := response.read1(min(BLOCK, limit - done))):
                with _writing(part):
                    done += file.write(block)
                    file.flush()
                show(done)
                if time.monotonic() - begun >= timeout:
                    if done - before < SLOWEST * timeout:
                        raise OSError(f"only {done - before} bytes came in {timeout:g} s")
                    begun, before = time.monotonic(), done
    if total is not None and done < total:
        raise OSError(f"the connection closed after {done} of {total} bytes")
    if total is None and done > most:
        _discard(part)
        raise DataError(f"{url}: does not end after {most} bytes; if it is that long, give size")


# ----- The disk -----


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the disk refuses, as a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({why})") from error


def _begin(part: Path, done: int, version: str) -> None:
    """Keep the first `done` bytes of the part, and note its version beside it."""
    with _writing(part):
        with open(part, "ab") as file:
            file.truncate(done)
        _version_file(part).unlink(missing_ok=True)
        if version:
            _version_file(part).write_text(version, "latin-1")


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """A folder that is there, and is taken away again where nothing comes into it."""
    with _writing(folder):
        new = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: a part is kept in it
            for place in new:
                place.rmdir()
        raise


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process and thread at a time, for each file; whoever comes later waits."""
    lock = path.with_name(f".{path.name}.lock")
    with _writing(lock):
        held = acquire(lock, wait=True)
    try:
        yield
    finally:
        release(lock, held)


def _discard(part: Path) -> None:
    for file in (part, _version_file(part)):
        file.unlink(missing_ok=True)


def _problem(path: Path, sums: dict[str, str], size: int | None) -> str | None:
    """What is wrong with the file, in words, or None."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"expected {size} bytes, got {found}"
    for algorithm, expected in sums.items():
        # MD5 only guards against accidents here, so it may be used where it is otherwise barred.
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        if digest.hexdigest() != expected:
            return f"expected {algorithm} {expected}, got {digest.hexdigest()}"
    return None
