"""Downloads: resumed, verified, and never a half-written file under the real name."""

import hashlib
import importlib
import io
import os
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinyfractal import data
from tinyfractal.data.sources import SOURCES, Archive
from tinyfractal.errors import DataError

module = importlib.import_module("tinyfractal.data.download")  # `data.download` is the function

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every path but /missing, and remembers what it was asked.

    ranges: whether it understands Range. stop_after: bytes after which it hangs up.
    length: whether it says how long the answer is.
    etag: what it calls this version of the file. if_range: whether it heeds If-Range.
    moved: {path: address} that it redirects to. status: what it answers in place of everything.
    lie: a Content-Range that it claims to send. delay: seconds between two blocks
    of `step` bytes.
    """

    ranges = True
    stop_after = None
    length = True
    content = CONTENT
    etag = lie = status = None
    if_range = True
    moved = {}
    delay = 0
    step = 1 << 14

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []  # the Range header of each request

    def handle_error(self, *_):
        """Say nothing where the client has heard enough and hangs up."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        content, asked = self.server.content, self.headers.get("Range")
        self.server.asked.append(asked)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path in self.server.moved:
            self.send_response(302)
            if self.server.moved[self.path] is not None:
                self.send_header("Location", self.server.moved[self.path])
            self.end_headers()
            return
        if self.server.status is not None:
            self.send_response(*self.server.status)
            self.end_headers()
            return
        condition = self.headers.get("If-Range")
        if self.server.if_range and condition not in (None, self.server.etag):
            asked = None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and self.server.ranges and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        if asked and self.server.ranges:
            self.send_response(206)
            end = len(content) - 1
            told = self.server.lie or f"bytes {start}-{end}/{len(content)}"
            start = int(told.removeprefix("bytes ").partition("-")[0])
            self.send_header("Content-Range", told)
        else:
            start = 0
            self.send_response(200)
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if self.server.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:][: self.server.stop_after]
        for place in range(0, len(rest), self.server.step) if self.server.delay else ():
            self.wfile.write(rest[place : place + self.server.step])
            time.sleep(self.server.delay)
        if not self.server.delay:
            self.wfile.write(rest)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sums", [{}, {"sha256": SHA256}, {"md5": MD5.upper()}])
@pytest.mark.parametrize("length", [True, False])
def test_a_file_arrives_whole_in_a_new_folder(sums, length, server, tmp_path):
    server.length = length
    path = data.fetch(server.url, tmp_path / "new" / "file.bin", progress=False, **sums)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["file.bin"]


def test_what_is_there_and_right_is_not_fetched_again(server, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    data.fetch(server.url, path, sha256=SHA256, md5=MD5, size=len(CONTENT))
    assert server.asked == []
    path.write_bytes(CONTENT[:-1] + b"!")
    data.fetch(server.url, path, sha256=SHA256, progress=False)
    assert server.asked == [None]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_an_interrupted_transfer_is_kept_and_resumed(size, server, tmp_path):
    path = tmp_path / "file.bin"
    server.stop_after = HALF
    with pytest.raises(DataError, match="call again to go on") as error:
        data.fetch(server.url, path, sha256=SHA256, size=size, progress=False)
    assert server.url in str(error.value)
    assert names(tmp_path) == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:HALF]
    server.stop_after = None
    data.fetch(server.url, path, sha256=SHA256, size=size, progress=False)
    assert server.asked == [None, f"bytes={HALF}-"]
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_a_server_without_range_starts_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:HALF])
    data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, progress=False)
    assert server.asked == [f"bytes={HALF}-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_transfer_without_length_that_stops_early_is_noticed_by_its_size(server, tmp_path):
    server.length, server.stop_after = False, HALF
    with pytest.raises(DataError, match=f"after {HALF} of {len(CONTENT)} bytes"):
        data.fetch(server.url, tmp_path / "file.bin", size=len(CONTENT), progress=False)
    assert names(tmp_path) == ["file.bin.part"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_complete_is_only_verified(size, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, size=size, progress=False)
    assert server.asked == ([] if size else [f"bytes={len(CONTENT)}-"])
    assert names(tmp_path) == ["file.bin"]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, progress=False)
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_wrong_checksum_names_both_sums_and_leaves_nothing(algorithm, server, tmp_path):
    right = {"sha256": SHA256, "md5": MD5}[algorithm]
    wrong = "0" * len(right)
    with pytest.raises(DataError) as error:
        data.fetch(server.url, tmp_path / "file.bin", progress=False, **{algorithm: wrong})
    assert wrong in str(error.value)
    assert right in str(error.value)
    assert names(tmp_path) == []


def test_a_part_that_belongs_to_another_file_does_not_get_stuck(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * HALF)
    with pytest.raises(DataError, match="sha256"):
        data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, progress=False)
    data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, progress=False)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [100, 10**9])
def test_a_file_of_another_size_is_refused_before_it_is_read(size, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * 10)
    with pytest.raises(DataError, match=f"of {size} bytes, the server offers {len(CONTENT)}"):
        data.fetch(server.url, tmp_path / "file.bin", size=size, progress=False)
    assert names(tmp_path) == []


def test_a_file_that_turns_out_too_large_is_not_read_to_its_end(server, tmp_path):
    server.length = False
    server.content = bytes(100 * module.BLOCK)
    with pytest.raises(DataError, match=r"expected 100 bytes, got 101\."):
        data.fetch(server.url, tmp_path / "file.bin", size=100, progress=False)
    assert names(tmp_path) == []


def test_a_missing_file_or_server_leaves_nothing_behind(server, tmp_path):
    missing = server.url.replace("file.bin", "missing")
    with pytest.raises(DataError, match="404"):
        data.fetch(missing, tmp_path / "new" / "file.bin", progress=False)
    server.server_close()
    with pytest.raises(DataError, match="could not be fetched"):
        data.fetch(server.url, tmp_path / "new" / "file.bin", progress=False)
    assert names(tmp_path) == []


# ----- A file that has changed, a server that lies -----


NEW = bytes(reversed(CONTENT))


@pytest.mark.parametrize("if_range", [True, False])
def test_a_file_that_changed_on_the_server_is_not_patched_together(if_range, server, tmp_path):
    server.stop_after, server.etag, server.if_range = HALF, '"old"', if_range
    with pytest.raises(DataError, match="call again"):
        data.fetch(server.url, tmp_path / "file.bin", progress=False)
    assert names(tmp_path) == ["file.bin.part", "file.bin.part.version"]
    server.stop_after, server.etag, server.content = None, '"new"', NEW
    data.fetch(server.url, tmp_path / "file.bin", progress=False)
    assert (tmp_path / "file.bin").read_bytes() == NEW
    assert names(tmp_path) == ["file.bin"]


def test_a_file_that_did_not_change_is_resumed_without_a_checksum(server, tmp_path):
    server.stop_after, server.etag = HALF, '"one"'
    with pytest.raises(DataError, match="call again"):
        data.fetch(server.url, tmp_path / "file.bin", progress=False)
    server.stop_after = None
    data.fetch(server.url, tmp_path / "file.bin", progress=False)
    assert server.asked == [None, f"bytes={HALF}-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_without_checksum_and_version_a_part_is_of_no_use(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * HALF)
    data.fetch(server.url, tmp_path / "file.bin", progress=False)
    assert server.asked == [None]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "lie", ["bytes 0-9/10", f"bytes {HALF + 1}-{len(CONTENT) - 1}/9", "bytes 7-"]
)
def test_a_server_that_sends_another_range_is_asked_for_everything(lie, server, tmp_path):
    server.lie = lie
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:HALF])
    data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, progress=False)
    assert server.asked == [f"bytes={HALF}-", None]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_file_without_end_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    server.length = False
    with pytest.raises(DataError, match="does not end after 100000 bytes"):
        data.fetch(server.url, tmp_path / "file.bin", progress=False)
    assert names(tmp_path) == []


def test_a_server_that_drips_is_given_up_and_what_came_is_kept(server, tmp_path):
    server.delay, server.step = 0.02, 1
    with pytest.raises(DataError, match=r"only \d+ bytes came in 0\.2 s.*call again"):
        data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, progress=False, timeout=0.2)
    server.delay = 0
    assert data.fetch(server.url, tmp_path / "file.bin", SHA256).read_bytes() == CONTENT
    assert server.asked[1] is not None  # only the rest


@pytest.mark.parametrize("status", [204, 206, 401, 403, 404, 418, 429, 500, 503])
def test_a_server_that_refuses_is_answered_with_one_line_that_names_base_url(
    status, server, tmp_path
):
    server.status = (status, "no\x1b[31m" + "x" * 1000)
    with pytest.raises(DataError, match=rf"{status}.* given as base_url") as error:
        data.download("mnist", tmp_path, progress=False, base_url=server.url)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500
    assert names(tmp_path) == []


# ----- Redirections -----


def test_a_redirection_is_followed(server, tmp_path):
    server.moved = {"/file.bin": "/there", "/there": server.url.replace("file.bin", "last")}
    data.fetch(server.url, tmp_path / "file.bin", sha256=SHA256, progress=False)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("/file.bin", "in a circle"),
        ("file:///etc/passwd", "not allowed"),
        ("ftp://127.0.0.1/x", "not safe"),
        ("http://[::1", "could not be fetched"),
        ("http://127.0.0.1:99999/", "could not be fetched"),
        ("http://127.0.0.1:x/", "could not be fetched"),
        (None, "302"),
    ],
)
def test_a_redirection_that_leads_nowhere_is_one_line(to, words, server, tmp_path):
    server.moved = {"/file.bin": to}
    with pytest.raises(DataError, match=words) as error:
        data.fetch(server.url, tmp_path / "file.bin", progress=False)
    assert str(error.value).startswith(server.url)
    assert str(error.value).isprintable()
    assert names(tmp_path) == []


def test_what_was_asked_for_safely_is_not_fetched_unsafely():
    request = urllib.request.Request("https://example.org/file")
    follow = module.Redirects().redirect_request
    with pytest.raises(OSError, match="not safe"):
        follow(request, None, 302, "Found", {}, "http://example.org/file")
    assert follow(request, None, 302, "Found", {}, "https://example.org/x").type == "https"


# ----- Two at once, and the disk -----


def test_of_several_downloads_at_once_one_fetches_and_all_have_it(server, tmp_path):
    server.delay = 0.01
    path = tmp_path / "file.bin"
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: data.fetch(server.url, path, progress=False), range(4)))
    assert found == [path] * 4
    assert path.read_bytes() == CONTENT
    assert server.asked == [None]
    assert names(tmp_path) == ["file.bin"]


def test_a_download_that_was_killed_leaves_what_the_next_one_needs_and_nothing_else(
    server, tmp_path
):
    server.delay, path = 0.05, tmp_path / "file.bin"
    call = f"from tinyfractal.data import fetch; fetch({server.url!r}, {str(path)!r}, {SHA256!r})"
    with subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.DEVNULL) as process:
        part = tmp_path / "file.bin.part"
        while not part.exists() or part.stat().st_size == 0:
            time.sleep(0.01)
            assert process.poll() is None
        process.kill()
    server.delay = 0
    data.fetch(server.url, path, SHA256, progress=False)
    assert server.asked[1].startswith("bytes=")
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_what_the_disk_refuses_names_the_file(server, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "here.part").mkdir()
    for path, words in (
        (tmp_path / "folder", "folder: is a folder"),
        (tmp_path / "file" / "file.bin", "file: cannot be written"),
        (tmp_path / "here", "here.part: cannot be written"),
        (tmp_path / ("x" * 300), "xx.*: cannot be written"),
        (tmp_path / "no\0path", "cannot be written"),
    ):
        with pytest.raises(DataError, match=words):
            data.fetch(server.url, path, progress=False)
    with pytest.raises(DataError, match="mnist: cannot be written"):
        data.download("mnist", tmp_path / "file", base_url=server.url, progress=False)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named_and_not_blamed_on_the_server(server, tmp_path):
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"file.bin.part: cannot be written"):
        data.fetch(server.url, tmp_path / "file.bin", progress=False)


def test_a_tilde_is_the_home_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data.fetch(server.url, "~/file.bin", progress=False)
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "abc"}, "fetch: sha256 needs 64 hexadecimal digits"),
        ({"md5": "z" * 32}, "fetch: md5 needs 32 hexadecimal digits"),
        ({"sha256": 3}, "fetch: sha256 needs a text"),
        ({"size": -1}, "fetch: size"),
        ({"timeout": 0}, "fetch: timeout"),
        ({"timeout": 1e300}, "fetch: timeout"),
        ({"url": None}, "fetch: url"),
        ({"path": 7}, "fetch: path"),
        ({"progress": "no"}, "fetch: progress"),
    ],
)
def test_nonsense_is_refused(change, words, tmp_path):
    with pytest.raises((ValueError, TypeError), match=words):
        data.fetch(**({"url": "http://127.0.0.1:9/x", "path": tmp_path / "x"} | change))


def test_a_mirror_needs_an_address_and_no_slash(server, tmp_path, monkeypatch):
    monkeypatch.setitem(SOURCES, "mnist", ("x", (Archive("a.gz", len(CONTENT), SHA256),)))
    for wrong in ("", "example.org", "ftp://example.org"):
        with pytest.raises(DataError, match="base_url needs http"):
            data.download("mnist", tmp_path, base_url=wrong)
    server.moved = {"/mirror/a.gz": "/file.bin"}
    for name, end in (("one", ""), ("two", "/")):
        base_url = server.url.replace("file.bin", "mirror") + end
        place = data.download("mnist", tmp_path / name, progress=False, base_url=base_url)
        assert names(place) == ["a.gz"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "nonsense", "ftp://127.0.0.1/x"])
def test_only_http_is_spoken(url, tmp_path):
    with pytest.raises(DataError, match="http://"):
        data.fetch(url, tmp_path / "file.bin")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_progress_is_one_line_on_a_terminal(with_tqdm, server, tmp_path, monkeypatch):
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    data.fetch(server.url, tmp_path / "file.bin")
    shown = sys.stderr.getvalue()
    assert shown.count("\n") == 1
    assert shown.count("\r") >= 1
    assert "file.bin" in shown


def test_progress_is_a_few_plain_lines_elsewhere_and_nothing_when_unwanted(
    server, tmp_path, capsys
):
    data.fetch(server.url, tmp_path / "file.bin")
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    assert lines[-1] == "file.bin: 0.3 of 0.3 MB"
    data.fetch(server.url, tmp_path / "other.bin", progress=False)
    assert capsys.readouterr().err == ""


def test_without_a_stderr_there_is_no_progress_and_no_crash(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert data.fetch(server.url, tmp_path / "file.bin").read_bytes() == CONTENT


class Full(io.StringIO):
    def write(self, _):
        raise OSError(28, "No space left on device")


def test_a_stderr_that_nobody_reads_is_not_the_servers_fault(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Full())
    assert data.fetch(server.url, tmp_path / "file.bin").read_bytes() == CONTENT


def test_download_brings_every_file_of_a_set_from_a_mirror(server, tmp_path, monkeypatch):
    archives = tuple(Archive(name, len(CONTENT), SHA256) for name in ("a.gz", "b.gz"))
    monkeypatch.setitem(SOURCES, "mnist", ("http://127.0.0.1:9/", archives))
    mirror = server.url.removesuffix("file.bin")
    folder = data.download("mnist", tmp_path, progress=False, base_url=mirror)
    assert folder == tmp_path / "mnist"
    assert names(folder) == ["a.gz", "b.gz"]
    with pytest.raises(DataError, match="one of mnist, fashion-mnist"):
        data.download("imagenet", tmp_path)


def test_every_source_is_pinned_or_comes_over_https():
    digits = {"sha256": 64, "md5": 32}
    for url, archives in SOURCES.values():
        assert url.startswith("http")
        assert url.endswith("/")
        for archive in archives:
            assert archive.size is None or archive.size > 0
            for kind, value in archive.sums().items():
                assert len(bytes.fromhex(value)) == digits[kind] // 2
            if "sha256" not in archive.sums():
                assert (archive.url or url).startswith("https://")
