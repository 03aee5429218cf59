"""A checkpoint comes back as it was, or not at all: never half, and never as running code."""

import io
import json
import os
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, floating_dtypes, integer_dtypes

from tinyfractal import backend, nn
from tinyfractal.errors import CheckpointError, DTypeError, OutOfMemoryError
from tinyfractal.files import write_atomically
from tinyfractal.recipe import Recipe
from tinyfractal.train.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from tinyfractal.train.load import load_network

MODEL = {
    "blocks.0.conv.weight": np.linspace(-1, 1, 18, dtype=np.float32).reshape(3, 3, 2, 1),
    "norm.running_var": np.ones(3, np.float64),
    "empty": np.zeros((0, 2), np.float32),
    "scalar": np.float32(0.1),
}
OPTIMIZER = {"steps": 7, "lr": 0.1 + 0.2, "momentum.0": np.arange(4, dtype=np.float32)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, MODEL, OPTIMIZER, history=[{"epoch": 1}], recipe={"lr": 0.1})
    return path


def same(a, b):
    """Arrays alike to the bit, dtype and shape included."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def refused(path):
    """The sentence with which a file is refused; any other exception fails the test."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < 300 + len(str(path))
    return text.removeprefix(f"{path}: ")


def write_npz(path, **entries):
    np.savez(path, **entries)
    return path


def facts(count=0, **changes):
    return np.array(json.dumps({"format": FORMAT, "arrays": count, **changes}))


# ----- There and back -----


def test_everything_comes_back_to_the_bit(path):
    state = load_checkpoint(path)
    assert set(state) == {"model", "optimizer", "history", "recipe"}
    assert list(state["model"]) == list(MODEL)
    assert all(same(state["model"][name], MODEL[name]) for name in MODEL)
    assert all(same(state["optimizer"][name], OPTIMIZER[name]) for name in OPTIMIZER)
    assert state["history"] == [{"epoch": 1}]
    assert state["recipe"] == {"lr": 0.1}


@settings(max_examples=10)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9_]+(\.[a-z0-9_]+){0,3}", fullmatch=True),
        arrays(
            floating_dtypes(endianness="=") | integer_dtypes(endianness="="),
            array_shapes(),
            elements={"allow_nan": False, "allow_infinity": False},
        ),
        max_size=4,
    )
)
def test_any_arrays_come_back(tmp_path_factory, model):
    path = tmp_path_factory.mktemp("any") / "checkpoint.npz"
    save_checkpoint(path, model, {})
    found = load_checkpoint(path)["model"]
    assert found.keys() == model.keys()
    assert all(same(found[name], model[name]) for name in model)


def test_the_random_state_goes_on_from_where_it_was(tmp_path):
    backend.seed(3)
    backend.rng().random(5)
    state = backend.random_state()
    assert state["state"]["state"] > 2**64  # too big for any array, and for a float
    save_checkpoint(tmp_path / "c.npz", {}, {}, random=state)
    expected = backend.rng().random(9)
    backend.seed(0)
    backend.set_random_state(load_checkpoint(tmp_path / "c.npz")["random"])
    assert same(backend.rng().random(9), expected)


def test_numbers_in_the_facts_are_exact(tmp_path):
    numbers = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 2**200, -(2**63)]
    save_checkpoint(tmp_path / "c.npz", {}, {}, numbers=numbers)
    assert load_checkpoint(tmp_path / "c.npz")["numbers"] == numbers


def test_folders_are_made_and_the_name_is_kept(tmp_path):
    save_checkpoint(tmp_path / "a" / "b" / "mine", {}, {})
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["mine"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_checkpoint(tmp_path / "c.npz", {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "c.npz").stat().st_mode) == mode


# ----- Files that are damaged -----


def test_a_file_cut_anywhere_is_refused(path):
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 61), 1, 4, len(whole) - 22, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert "not a complete tinyfractal checkpoint" in refused(path)


def test_a_flipped_bit_is_noticed_or_does_no_harm(path):
    whole, expected = path.read_bytes(), load_checkpoint(path)
    noticed = 0
    for position in range(0, len(whole), 5):
        for bit in (0, 3, 6):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                state = load_checkpoint(path)
            except CheckpointError:
                noticed += 1
                continue
            for part in ("model", "optimizer"):  # a date, or another field that says nothing
                assert state[part].keys() == expected[part].keys()
                assert all(same(state[part][k], expected[part][k]) for k in expected[part])
            assert state["history"] == expected["history"]
    assert noticed > 0.75 * 3 * len(whole) / 5


def test_a_flipped_bit_in_the_numbers_is_always_noticed(path):
    whole = path.read_bytes()
    numbers = MODEL["blocks.0.conv.weight"].tobytes()
    start = whole.index(numbers)
    for position in range(start, start + len(numbers)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert "CRC" in refused(path)


@pytest.mark.parametrize("change", [(b"'<f4'", b"'<f2'"), (b"(90, 100)", b"(10, 100)")])
def test_a_header_that_asks_for_fewer_bytes_is_noticed(path, change):
    """np.load reads those and never comes to the check sum."""
    save_checkpoint(path, {"large": np.ones((90, 100), np.float32)}, {})
    whole = path.read_bytes()
    start = whole.index(b"model/large")
    damaged = whole[:start] + whole[start:].replace(*change, 1)
    assert damaged != whole
    path.write_bytes(damaged)
    with np.load(path) as file:
        assert file["model/large"].nbytes < 36_000
    assert "CRC" in refused(path)


# ----- Files that are something else -----


def test_a_file_that_is_missing(tmp_path):
    assert refused(tmp_path / "none.npz") == "there is no such checkpoint"


def test_a_folder(tmp_path):
    assert "it is a folder" in refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, this is a text file\n", bytes(range(256)) * 9, b"PK\x05\x06" + bytes(18)],
)
def test_other_files(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    assert "not a complete tinyfractal checkpoint" in refused(path)


def test_a_single_array(tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.zeros(3))
    assert "not a complete tinyfractal checkpoint" in refused(path)


def test_arrays_of_something_else(tmp_path):
    path = write_npz(tmp_path / "data.npz", images=np.zeros((2, 8, 8)), labels=np.zeros(2))
    assert "no entry 'facts'" in refused(path)


def test_a_zip_of_something_else(tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("facts", "{}")
    assert "not a complete tinyfractal checkpoint" in refused(path)


@pytest.mark.parametrize("text", ["", "{", "3", "null", "[]", '"text"', "{}", "[" * 100_000])
def test_facts_that_are_not_a_dictionary_with_a_format(tmp_path, text):
    assert "not a complete tinyfractal checkpoint" in refused(
        write_npz(tmp_path / "c.npz", facts=np.array(text))
    )


@pytest.mark.parametrize("format", ["tinyfractal checkpoint 2", "", None, 1, ["a"]])
def test_another_format(tmp_path, format):
    path = write_npz(tmp_path / "c.npz", facts=np.array(json.dumps({"format": format})))
    assert refused(path) == f"expected the format 'tinyfractal checkpoint 1', got {format!r}"


@pytest.mark.parametrize("name", ["weights", "other/weight", "modelling/weight"])
def test_an_unexpected_entry(tmp_path, name):
    path = write_npz(tmp_path / "c.npz", facts=facts(1), **{name: np.zeros(2)})
    assert refused(path) == f"unexpected entry {name!r}"


def test_arrays_that_are_left_out_are_missed(tmp_path):
    path = write_npz(tmp_path / "c.npz", facts=facts(2), **{"model/w": np.zeros(2)})
    assert "1 of 2 arrays are there" in refused(path)


def test_facts_cannot_take_the_place_of_the_weights(tmp_path):
    path = write_npz(
        tmp_path / "c.npz",
        facts=facts(2, model="mine", optimizer=3),
        **{"model/w": np.ones(2), "optimizer/lr": np.float64(1)},
    )
    state = load_checkpoint(path)
    assert list(state["model"]) == ["w"]
    assert list(state["optimizer"]) == ["lr"]


# ----- Numbers that cannot be weights -----


@pytest.mark.parametrize("part", ["model", "optimizer"])
@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.ones(2, np.complex64), "w should hold real numbers, got complex64"),
        (np.array(["a"]), "w should hold real numbers, got <U1"),
        (np.array(["2020-01-01"], "M8[D]"), "w should hold real numbers, got datetime64"),
        (np.array([0, np.nan], np.float32), "w holds NaN or infinity"),
        (np.array([0, -np.inf]), "w holds NaN or infinity"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_entries_that_are_no_finite_numbers_are_refused_by_name(tmp_path, part, array, text):
    path = write_npz(tmp_path / "c.npz", facts=facts(1), **{f"{part}/w": array})
    assert refused(path).startswith(f"{part}/{text}")
    with pytest.raises((CheckpointError, DTypeError), match=f"save_checkpoint: {part}/w "):
        save_checkpoint(
            tmp_path / "other.npz", **{"model": {}, "optimizer": {}, part: {"w": array}}
        )
    assert not (tmp_path / "other.npz").exists()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_facts_with_numbers_that_are_not_finite_are_refused(tmp_path, number):
    text = json.dumps({"format": FORMAT, "arrays": 0, "history": [0.5]}).replace("0.5", number)
    path = write_npz(tmp_path / "c.npz", facts=np.array(text))
    assert f"the number {number} is not finite" in refused(path)
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(path, {}, {}, history=[np.inf])


# ----- Files that ask for too much -----


def write_bomb(path, megabytes):
    """A zip of some kilobytes whose one array is so many megabytes of zeros."""
    header = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (megabytes << 18,)}
    np.lib.format.write_array_header_1_0(header, fields)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model/w.npy", "w") as entry,
    ):
        entry.write(header.getvalue())
        for _ in range(megabytes):
            entry.write(bytes(1 << 20))
    return path


def test_a_file_that_unpacks_to_far_more_is_refused_before_anything_is_allocated(tmp_path):
    path = write_bomb(tmp_path / "bomb.npz", megabytes=200)
    tracemalloc.start()
    try:
        assert "bytes unpack to 209,715,328" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [{"columns": 27}, {"columns": 60}, {"channels": [10**7]}, {"model": "resnet", "columns": 50}],
    ids=str,
)
def test_a_recipe_that_asks_for_more_than_is_there_is_refused_before_it_is_built(
    tmp_path, change, monkeypatch
):
    recipe = Recipe(classes=("a", "b"), shape=(8, 8, 1)).as_dict() | change
    save_checkpoint(tmp_path / "c.npz", {"w": np.zeros(3)}, {}, recipe=recipe)
    monkeypatch.setattr(Recipe, "build_model", lambda _: pytest.fail("it was built"))
    with pytest.raises(CheckpointError, match=r"its recipe needs a network of at least .* arrays"):
        load_network(tmp_path / "c.npz")


@pytest.mark.parametrize("kind", ["fractal", "plain", "resnet"])
@pytest.mark.parametrize("columns", [1, 2, 4])
def test_the_size_of_a_recipe_is_known_without_building_it(kind, columns):
    facts = {"classes": ("a", "b", "c"), "shape": (8, 8, 2)}
    recipe = Recipe(model=kind, columns=columns, channels=(4, 4, 6), **facts)
    model = recipe.build_model()
    assert recipe.count_parameters() == model.count_parameters()
    convolutions = [m for _, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert recipe.count_convolutions() == sum(m.weight.shape[0] == 3 for m in convolutions)
    assert recipe.training_bytes() == 12 * model.count_parameters()  # w, gradient, momentum


def test_a_recipe_of_an_older_version_gets_the_defaults_and_of_a_newer_one_is_refused():
    old = Recipe(lr=0.3).as_dict()
    del old["validation"], old["depth"]
    assert Recipe.from_dict(old) == Recipe(lr=0.3, validation=0.0)  # it trained on all images
    with pytest.raises(CheckpointError, match="unknown entries warmup; was it written by a newer"):
        Recipe.from_dict({**old, "warmup": 3})


# ----- Nothing in a file is ever run -----


class Bomb:
    """Unpickling it makes a folder, so that one sees that it went off."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("name", ["facts", "model/w", "optimizer/momentum.0"])
def test_a_pickle_is_not_opened(tmp_path, name):
    target = tmp_path / "went off"
    entries = {"facts": facts(1), name: np.array([Bomb(target)], dtype=object)}
    path = write_npz(tmp_path / "bomb.npz", **entries)
    text = refused(path)
    assert "holds Python objects" in text
    assert not target.exists()
    with np.load(path, allow_pickle=True) as file:  # the bomb is a real one
        file[name]
    assert target.exists()


def test_a_bare_pickle_is_not_opened(tmp_path):
    target, file = tmp_path / "went off", io.BytesIO()
    np.save(file, np.array([Bomb(target)], dtype=object), allow_pickle=True)
    path = tmp_path / "bomb.npy"
    path.write_bytes(file.getvalue())
    refused(path)
    assert not target.exists()


def test_objects_are_not_saved_either(tmp_path):
    with pytest.raises(DTypeError, match=r"optimizer/memory holds Python objects"):
        save_checkpoint(tmp_path / "c.npz", {}, {"memory": None})
    assert list(tmp_path.iterdir()) == []


# ----- Writing that fails -----


class FullDisk(io.FileIO):
    """A file on a disk that is full after ten bytes."""

    def write(self, data):
        super().write(data[:10])
        raise OSError(28, "No space left on device")


def disk_is_full(monkeypatch):
    monkeypatch.setattr("builtins.open", FullDisk)
    return OSError


def rename_fails(monkeypatch):
    def replace(*_):
        raise PermissionError("no")

    monkeypatch.setattr(os, "replace", replace)
    return PermissionError


def interrupted(monkeypatch):
    def fsync(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    return KeyboardInterrupt


@pytest.mark.parametrize("go_wrong", [disk_is_full, rename_fails, interrupted])
def test_when_writing_fails_the_old_file_stays_whole(path, monkeypatch, go_wrong):
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(go_wrong(patch)):
        save_checkpoint(path, {"w": np.zeros(1000)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]  # and nothing lies about


def test_memory_that_runs_out_is_called_so_whatever_else_fails_then(path, monkeypatch):
    place = {"__name__": "zipfile"}
    exec(
        "def savez(*_, **__):\n"
        "    try:\n        raise MemoryError\n"
        "    except MemoryError:\n        raise ValueError('I/O operation on closed file.')",
        place,
    )
    monkeypatch.setattr(np, "savez", place["savez"])
    with pytest.raises(OutOfMemoryError, match=r"save_checkpoint: .*there is no memory left"):
        save_checkpoint(path, {}, {})


def test_facts_that_json_cannot_hold_leave_the_old_file_whole(path):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, {}, {}, history=[np.float32(1)])
    assert path.read_bytes() == before


def test_the_name_is_given_only_to_a_file_that_is_on_disk(tmp_path, monkeypatch):
    path, order = tmp_path / "file", []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write_atomically(path, b"abc")
    assert order == ["fsync", "replace"]
    assert path.read_bytes() == b"abc"
