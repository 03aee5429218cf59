"""The rooms of the library: each file uses what comes before it in the reading order, never after.

Whoever reads from the front then never needs a page that is still to come.
"""

import ast
import re
import tomllib
from graphlib import TopologicalSorter
from inspect import ismodule
from pathlib import Path

import pytest

import tinyfractal as tf

ROOT = Path(tf.__file__).parent
ROOMS = [  # each a folder or a file, in the order in which one reads them
    "errors", "check", "browser", "files", "backend", "engine", "guards", "ops", "nn", "counting",
    "fractal", "optim", "zoo", "recurse", "progress", "data", "recipe", "train", "fast", "draw",
    "explore", "cli", "__main__",
]  # fmt: skip
APART = {"__init__", "_startup"}  # the names that users see, and what runs before all else


# ----- Who imports whom -----


def parts_of(path, root=ROOT):
    """("ops", "conv") of ops/conv.py, ("ops",) of ops/__init__.py, () of the library's own."""
    *folders, name = path.relative_to(root).with_suffix("").parts
    return tuple(folders) if name == "__init__" else (*folders, name)


def at_run_time(tree):
    """All statements inside, of functions too, but not what is for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (inner for other in node.orelse for inner in (other, *at_run_time(other)))
        else:
            yield node
            yield from at_run_time(node)


def imports(root=ROOT):
    """{file: the files that it imports}, each as `parts_of` names it."""
    files = {parts_of(path, root): path for path in root.rglob("*.py")}
    found = {}
    for here, path in files.items():
        folder = here if path.name == "__init__.py" else here[:-1]
        found[here] = set()
        for node in at_run_time(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = folder[: len(folder) + 1 - node.level]
                base += tuple(node.module.split(".")) if node.module else ()
                for name in node.names:
                    inside = (*base, name.name)
                    found[here].add(inside if inside in files else base)
    return found


def room(file):
    return file[0] if file else "__init__"


def test_the_finder_sees_imports_wherever_they_stand(tmp_path):
    for name in ("__init__", "a", "b", "c", "d", "e", "sub/__init__", "sub/f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "sub" / "f.py").write_text(
        "import os\n"
        "from .. import a, something\n"
        "from ..b import x\n"
        "if TYPE_CHECKING:\n    from .. import d\nelse:\n    from ..e import x\n"
        "def f():\n    try:\n        from ..c import x\n    finally:\n        from . import y\n"
    )
    found = imports(tmp_path)
    assert found["sub", "f"] == {("a",), (), ("b",), ("e",), ("c",), ("sub",)}
    assert found["sub",] == set()


def test_every_file_is_in_a_room():
    assert {room(file) for file in imports()} == {*ROOMS, *APART}


def test_no_room_imports_a_later_one():
    later = [
        f"{'/'.join(here)} imports {'/'.join(there)}"
        for here, found in imports().items()
        for there in sorted(found)
        if not {room(here), room(there)} & APART
        if ROOMS.index(room(there)) > ROOMS.index(room(here))
    ]
    assert later == []


def test_only_the_last_rooms_import_the_whole():
    assert {room(here) for here, found in imports().items() if () in found} <= {"cli", "__main__"}


def test_no_file_imports_itself_by_a_detour():
    TopologicalSorter(imports()).prepare()  # raises CycleError, which lists the files of the circle


# ----- What a room says of itself -----


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))
def test_a_room_names_every_file_in_it(folder):
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text("utf-8")))
    assert text
    files = {path.stem for path in (ROOT / folder).glob("*.py") if path.stem[0] != "_"}
    unnamed = {name for name in files if f"`{name}`" not in text}
    assert unnamed == set()


def test_dir_shows_public_names_only():
    names = dir(tf)
    assert [name for name in names if name.startswith("_")] == ["__version__"]
    assert {"Tensor", "exp", "nn", "data", "train", "zoo", "plot"} <= set(names)
    for name in set(names) - {"plot", "__version__"}:  # plot needs Matplotlib
        value = getattr(tf, name)
        assert (value.__name__ if ismodule(value) else value.__module__).startswith("tinyfractal")


def test_every_folder_is_installed():
    settings = tomllib.loads((ROOT.parent / "pyproject.toml").read_text("utf-8"))
    folders = {f"tinyfractal.{path.parent.name}" for path in ROOT.glob("*/__init__.py")}
    listed = set(settings["tool"]["setuptools"]["packages"])
    assert folders <= listed


# ----- Short enough to read in one sitting -----

CORE = ["backend", "engine", "ops", "nn", "fractal.py", "optim", "train/loop.py"]


def core_files():
    for name in CORE:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def lines_of(function):
    """How long it is, without the list of its arguments and its docstring."""
    first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
    return function.end_lineno - first.lineno + 1


def test_no_function_of_the_core_is_longer_than_a_screen():
    too_long = [
        f"{path.relative_to(ROOT)}: {node.name}, {lines_of(node)} lines"
        for path in core_files()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and lines_of(node) > 40
    ]
    assert too_long == []


def test_the_core_stays_short():
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in core_files()}
    assert lines[ROOT / "fractal.py"] <= 250
    assert sum(lines.values()) <= 4850


def test_the_readme_says_how_long_the_core_is():
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in core_files())
    page = (ROOT.parent / "README.md").read_text("utf-8")
    said = re.findall(r"about ([\d,]+)\s+lines", page)
    assert len(said) == 2
    assert all(abs(int(number.replace(",", "")) - lines) <= 50 for number in said)
