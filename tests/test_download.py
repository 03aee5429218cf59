"""Downloads: resumed, verified, and never a half-written file under the real name."""

import hashlib
import importlib
import io
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tinyfractal import data
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
    """

    ranges = True
    stop_after = None
    length = True
    content = CONTENT

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
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and self.server.ranges and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        if asked and self.server.ranges:
            self.send_response(206)
            end = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        else:
            start = 0
            self.send_response(200)
        if self.server.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.stop_after])

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
    with pytest.raises(DataError, match=rf"expected 100 bytes, got {module.BLOCK}\."):
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


def test_download_brings_every_file_of_a_set_from_a_mirror(server, tmp_path, monkeypatch):
    archives = tuple(module.Archive(name, len(CONTENT), SHA256) for name in ("a.gz", "b.gz"))
    monkeypatch.setitem(module.SOURCES, "mnist", ("http://127.0.0.1:9/", archives))
    mirror = server.url.removesuffix("file.bin")
    folder = data.download("mnist", tmp_path, progress=False, base_url=mirror)
    assert folder == tmp_path / "mnist"
    assert names(folder) == ["a.gz", "b.gz"]
    with pytest.raises(DataError, match="one of mnist, fashion-mnist"):
        data.download("imagenet", tmp_path)


def test_every_source_is_pinned():
    for url, archives in module.SOURCES.values():
        assert url.startswith("http")
        assert url.endswith("/")
        for archive in archives:
            assert archive.size > 0
            assert len(bytes.fromhex(archive.sha256)) == 32
