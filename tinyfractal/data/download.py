"""Fetching the published archives, and making sure that what arrived is what was published.

    python -c "from tinyfractal import data; data.download('cifar10')"

A file grows under the name `archive.part` and gets its real name only once its checksum is right,
so a file with the real name is always whole. A transfer that breaks off leaves the part, and the
next call asks the server for the rest only.

The SHA-256 sums below are of the files as their authors publish them. They also make it safe that
two of the servers still speak plain http: a changed file would not pass.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..check import PathLike
from ..errors import DataError
from ..progress import tqdm_bar

BLOCK = 1 << 16  # bytes per step


class Archive(NamedTuple):
    """A file to fetch: its name, bytes and SHA-256."""

    file: str
    size: int
    sha256: str


# fmt: off
SOURCES: dict[str, tuple[str, tuple[Archive, ...]]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", (
        Archive("train-images-idx3-ubyte.gz", 9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        Archive("train-labels-idx1-ubyte.gz", 28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        Archive("t10k-images-idx3-ubyte.gz", 1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        Archive("t10k-labels-idx1-ubyte.gz", 4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )),
    "fashion-mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", (
        Archive("train-images-idx3-ubyte.gz", 26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        Archive("train-labels-idx1-ubyte.gz", 29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Archive("t10k-images-idx3-ubyte.gz", 4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Archive("t10k-labels-idx1-ubyte.gz", 5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", (
        Archive("train-images-idx3-ubyte.gz", 18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
        Archive("train-labels-idx1-ubyte.gz", 29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
        Archive("t10k-images-idx3-ubyte.gz", 3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
        Archive("t10k-labels-idx1-ubyte.gz", 5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
    )),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/", (
        Archive("cifar-10-binary.tar.gz", 170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    )),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/", (
        Archive("cifar-100-binary.tar.gz", 168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
    )),
}
# fmt: on


def download(
    name: str, folder: PathLike = "data", progress: bool = True, base_url: str | None = None
) -> Path:
    """Fetch the files of a data set into `folder/name`, and return that folder.

    name: "mnist", "fashion-mnist", "kmnist", "cifar10" or "cifar100".
    base_url: a mirror to take the same files from, with a slash at the end.
    What is there already is not fetched again. Raises `DataError` as `fetch` does.
    """
    if name not in SOURCES:
        raise DataError(f"name: expected one of {', '.join(SOURCES)}, got {name!r}")
    url, archives = SOURCES[name]
    place = Path(folder) / name
    for archive in archives:
        fetch(
            (base_url or url) + archive.file,
            place / archive.file,
            sha256=archive.sha256,
            size=archive.size,
            progress=progress,
        )
    return place


def fetch(
    url: str,
    path: PathLike,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """Bring the file at `url` to `path`, continuing where an earlier call broke off.

    sha256, md5: checksums in hexadecimal. size: in bytes. timeout: seconds without a byte.
    A file that is there and has the right size and sums is left alone.
    Raises `DataError` where the server or the network fails (the part stays, to go on from) and
    where size or sum are wrong (the part is deleted).
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    if not url.startswith(("http://", "https://")):
        raise DataError(f"url: expected http:// or https://, got {url!r}")
    if path.is_file() and _problem(path, sha256, md5, size) is None:
        return path
    try:
        _transfer(url, part, size, progress, timeout)
    except (OSError, http.client.HTTPException) as error:  # URLError and TimeoutError are OSErrors
        kept = f" {part} is kept: call again to go on from there." if part.exists() else ""
        raise DataError(f"{url}: could not be fetched ({error}).{kept}") from error
    problem = _problem(part, sha256, md5, size)
    if problem is not None:
        part.unlink()
        raise DataError(f"{url}: {problem}. The file was deleted.")
    os.replace(part, path)
    return path


def _transfer(url: str, part: Path, size: int | None, progress: bool, timeout: float) -> None:
    """Append to `part` what it lacks; OSError where that fails."""
    done = part.stat().st_size if part.is_file() else 0
    if size is not None and done == size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "tinyfractal"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or done == 0:
            raise
        # "Range not satisfiable": the part is as long as the file, and then it may be the file,
        # or it is longer, and then it is of no use.
        if error.headers.get("Content-Range") != f"bytes */{done}":
            part.unlink()
            _transfer(url, part, size, progress, timeout)
        return
    with response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            done = 0  # a server that does not know Range sends everything, from the start
        total = size if response.length is None else done + response.length
        if size is not None and total != size:  # such as a page that says "not found" politely
            part.unlink(missing_ok=True)
            raise DataError(f"{url}: expected a file of {size} bytes, the server offers {total}")
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab" if done else "wb") as file, _bar(part.stem, total, progress) as show:
            show(done)
            while (size is None or done <= size) and (block := response.read(BLOCK)):
                done += file.write(block)
                show(done)
    if total is not None and done < total:
        raise OSError(f"the connection closed after {done} of {total} bytes")


def _problem(path: Path, sha256: str | None, md5: str | None, size: int | None) -> str | None:
    """What is wrong with the file, in words, or None."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"expected {size} bytes, got {found}"
    for algorithm, expected in (("sha256", sha256), ("md5", md5)):
        if expected is None:
            continue
        # MD5 only guards against accidents here, so it may be used where it is otherwise barred.
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        if digest.hexdigest() != expected.lower():
            return f"expected {algorithm} {expected}, got {digest.hexdigest()}"
    return None


@contextmanager
def _bar(label: str, total: int | None, wanted: bool) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of bytes so far: it keeps one line moving on a terminal,
    with tqdm where that is installed, and elsewhere, such as in a log, prints a line a quarter.
    """
    terminal = sys.stderr.isatty()
    tqdm = tqdm_bar() if wanted and terminal else None
    if tqdm is not None:
        with tqdm(total=total, desc=label, unit="B", unit_scale=True) as bar:
            yield lambda done: bar.update(done - bar.n)
        return
    steps = 100 if terminal else 4
    shown = -1

    def show(done: int) -> None:
        nonlocal shown
        step = steps * done // total if total else 0
        if wanted and step != shown:
            shown = step
            of_total = f" of {total / 1e6:.1f}" if total else ""
            text = f"{label}: {done / 1e6:.1f}{of_total} MB"
            print(f"\r{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr)

    try:
        yield show
    finally:
        if wanted and terminal:
            print(file=sys.stderr)
