"""The site of the tutorials: what it is built from. (In a browser: browser/test_site.py.)"""

import hashlib
import json
import re
import subprocess
import sys
import urllib.parse
import zipfile
from pathlib import Path

import pytest

import tinyfractal
from tutorials.web import build, packages, pages

ROOT = Path(__file__).resolve().parent.parent
NAMES = [path.stem for path in sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))]


# ----- Wheels -----


def test_the_wheel_has_the_library_that_a_python_elsewhere_imports(tmp_path):
    entry = packages.pack(tmp_path, "tinyfractal", "0.1.0", packages.library_files())
    wheel = tmp_path / entry["file_name"]
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == entry["sha256"]
    (tmp_path / "there").mkdir()
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "there")
    program = (
        "import tinyfractal as tf, importlib.metadata as m; tf.data.load('digits'); "
        "print(tf.__file__, m.version('tinyfractal'))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "there",
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(tmp_path / "there/tinyfractal/__init__.py"), "0.1.0"]


def test_a_wheel_is_the_same_bytes_each_time_in_whatever_order_its_files_come(tmp_path):
    files = {"comm/b.py": b"1", "comm/a.py": b"2"}
    first = packages.pack(tmp_path, "comm", "1", files)
    again = packages.pack(tmp_path, "comm", "1", dict(reversed(files.items())))
    other = packages.pack(tmp_path, "comm", "1", {**files, "comm/a.py": b"3"})
    assert first == again != other


def test_the_wheel_has_neither_caches_nor_hidden_files():
    names = packages.library_files()
    assert "tinyfractal/data/digits.npz" in names
    assert "tinyfractal/explore/page/page.html" in names
    assert not [name for name in names if "__pycache__" in name or "/." in name]


# ----- Pyodide -----


def lock_of(**depends):
    """A lock file that has these packages, each with a file of its own."""
    entries = {
        name: {
            "depends": needs,
            "file_name": f"{name}.whl",
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
        }
        for name, needs in depends.items()
    }
    return {"info": {"version": packages.PYODIDE}, "packages": entries}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What a complete folder for --pyodide has, with two packages that the chapters need."""
    monkeypatch.setattr(packages, "AT_START", ("numpy", "tinyfractal"))
    monkeypatch.setattr(packages, "NEEDS", {"tinyfractal": ["six"]})
    for name in packages.RUNTIME:
        (tmp_path / name).write_text(name)
    lock = lock_of(numpy=[], six=[], scipy=[])
    (tmp_path / packages.LOCK).write_text(json.dumps(lock))
    for name in ("numpy", "six"):
        (tmp_path / f"{name}.whl").write_text(name)
    return tmp_path


def test_what_is_needed_is_what_the_kernel_loads_and_all_that_this_depends_on(monkeypatch):
    monkeypatch.setattr(packages, "AT_START", ("ipython", "tinyfractal"))
    monkeypatch.setattr(packages, "NEEDS", {"tinyfractal": ["numpy"]})
    lock = lock_of(ipython=["Stack_Data"], numpy=[], scipy=["numpy"])
    lock["packages"]["stack-data"] = {"depends": ["ipython"]}  # a circle does no harm
    assert packages.needed(lock) == ["ipython", "numpy", "stack-data"]


def test_of_pyodide_only_what_is_needed_is_taken(folder):
    found = {path.name for path in packages.pyodide_files(folder)}
    assert found == {*packages.RUNTIME, "numpy.whl", "six.whl"}


@pytest.mark.parametrize("file", ["pyodide.asm.wasm", "pyodide-lock.json", "six.whl"])
def test_a_folder_without_a_file_that_is_needed_is_refused_by_name(folder, file):
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"site: pyodide: expected .*has no {file}"):
        packages.pyodide_files(folder)


def test_a_damaged_package_is_refused(folder):
    (folder / "six.whl").write_text("seven")
    with pytest.raises(ValueError, match=r"six\.whl.*is not the file.*SHA-256"):
        packages.pyodide_files(folder)


def test_another_version_is_refused(folder):
    lock = json.loads((folder / packages.LOCK).read_text())
    lock["info"]["version"] = "0.26.0"
    (folder / packages.LOCK).write_text(json.dumps(lock))
    with pytest.raises(ValueError, match=rf"Pyodide {packages.PYODIDE}, got 0\.26\.0"):
        packages.pyodide_files(folder)


# ----- The whole site -----


def links(page):
    """What a page refers to, without what leads elsewhere on the same page."""
    found = re.findall(r'(?:href|src)="([^"#]+)', page.read_text("utf-8"))
    return [link.replace("&amp;", "&") for link in found]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index.html", "glossary.html"])
def test_every_link_of_a_page_leads_to_something_in_the_site(site, page):
    found = links(site / page)
    assert len(found) > 20
    for link in found:
        assert "://" not in link
        address = urllib.parse.urlparse(link)
        assert (site / address.path).is_file(), link
        for opened in urllib.parse.parse_qs(address.query).get("path", []):
            assert (site / "lite" / "files" / opened).is_file(), link


@pytest.mark.slow
def test_the_start_page_has_all_chapters_and_begins_with_the_first(site):
    found = links(site / "index.html")
    opened = [link.split("path=")[1] for link in found if "ipynb" in link]
    assert opened == [f"tutorials/{name}.ipynb" for name in [NAMES[0], *NAMES]]
    assert {f"explore/{name}.html" for name in pages.EXPLORE} < set(found)


@pytest.mark.slow
def test_all_that_the_chapters_use_is_listed_in_jupyterlite(site):
    contents = site / "lite" / "api" / "contents"
    listed = {
        entry["path"]
        for listing in contents.rglob("all.json")
        for entry in json.loads(listing.read_text("utf-8"))["content"]
    }
    assert {f"tutorials/{name}.ipynb" for name in NAMES} < listed
    assert {"tutorials/tutorial.mplstyle", "tutorials/exercises/derivatives.py",
            "tutorials/records/blood_cells.json", "tinyfractal/fractal.py"} < listed  # fmt: skip
    files = {path.relative_to(site / "lite" / "files").as_posix()
             for path in (site / "lite" / "files").rglob("*") if path.is_file()}  # fmt: skip
    assert files <= listed


@pytest.mark.slow
def test_python_comes_from_the_pinned_cdn_and_from_this_site(site):
    settings = json.loads((site / "lite" / "jupyter-lite.json").read_text("utf-8"))
    plugins = settings["jupyter-config-data"]["litePluginSettings"]
    kernel = plugins["@jupyterlite/pyodide-kernel-extension:kernel"]
    assert (site / "lite" / kernel["pyodideUrl"]).is_file()
    assert kernel["disablePyPIFallback"] is True
    for index in kernel["pipliteUrls"]:
        assert (site / "lite" / index.partition("?")[0]).is_file()
    folder = site / "lite" / "static" / "tinyfractal"
    found = json.loads((folder / "packages.json").read_text("utf-8"))
    assert found["pyodide"] == "https://cdn.jsdelivr.net/pyodide/v0.27.7/full/"
    assert found["packages"]["tinyfractal"]["version"] == tinyfractal.__version__
    for entry in found["packages"].values():
        content = (folder / entry["file_name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert not (site / "lite" / "static" / "pyodide").exists()


@pytest.mark.slow
def test_the_same_sources_make_the_same_site(site, tmp_path):
    again = build(tmp_path / "again")
    names = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert len(names) > 300
    assert names == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert [
        name for name in names if (site / name).read_bytes() != (again / name).read_bytes()
    ] == []


@pytest.mark.slow
def test_a_folder_that_is_there_is_left_alone(tmp_path, site):
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="choose another, or remove it"):
        build(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"]


@pytest.mark.slow
def test_if_something_is_missing_nothing_is_left_behind(tmp_path, site):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="npm install pyodide@"):
        build(tmp_path / "new", tmp_path / "empty")
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]


# ----- The command -----


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--pyodide", "there"], "--pyodide goes with --site"),
        (["01", "--site", "there"], "give no numbers"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments, says, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    from tutorials.__main__ import main

    with pytest.raises(SystemExit):
        main(arguments)
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_glossary_becomes_html_with_formulas_and_links_into_jupyterlite():
    pytest.importorskip("markdown_it")
    pytest.importorskip("latex2mathml")
    row = "| $x^2$ | [2](02_backprop.ipynb) [conv](../tinyfractal/ops/conv.py) |"
    html = pages.markdown(f"| a | b |\n| --- | --- |\n{row}", base="tutorials")
    assert "<msup>" in html
    assert 'href="lite/notebooks/index.html?path=tutorials/02_backprop.ipynb"' in html
    assert 'href="lite/edit/index.html?path=tinyfractal/ops/conv.py"' in html
