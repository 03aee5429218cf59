"""What the chapters on real data share: trainings that are kept, tables, and records."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal.recipe import Recipe

pytest.importorskip("matplotlib")
TUTORIALS = Path(__file__).resolve().parent.parent / "tutorials"
TINY = Recipe(epochs=2, columns=2, channels=(4, 6), batch_size=40, lr=0.05)
RECIPES = {"plain network": replace(TINY, model="plain"), "FractalNet": TINY}


@pytest.fixture
def applications(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYFRACTAL_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(TUTORIALS))
    module = importlib.import_module("applications")
    monkeypatch.setattr(module, "RECORDS", tmp_path / "records")
    return module


@pytest.fixture
def parts():
    train, test = tf.data.load("digits")
    return train[:160], train[160:240], test[:100]


def compare(applications, parts, recipes=RECIPES):
    return applications.compare("digits", recipes, *parts, seeds=(0, 1))


def test_every_network_is_trained_with_every_seed_and_measured_on_the_test_images(
    applications, parts
):
    rows = compare(applications, parts)
    assert [(row["network"], row["seed"]) for row in rows] == [
        ("plain network", 0), ("plain network", 1), ("FractalNet", 0), ("FractalNet", 1),
    ]  # fmt: skip
    for row in rows:
        model, recipe = applications.network(row)
        result = tf.train.evaluate(model, parts[2], recipe.transform())
        assert row["accuracy"] == pytest.approx(result.accuracy)
        sizes = np.bincount(parts[2].labels)
        assert np.dot(row["recall"], sizes) / sizes.sum() == pytest.approx(row["accuracy"])
        assert [record["epoch"] for record in row["history"]] == [1, 2]
        columns = [
            tf.train.evaluate(column, parts[2], recipe.transform()).accuracy
            for column in tf.train.columns_of(model)
        ]
        assert [column["accuracy"] for column in row["columns"]] == pytest.approx(columns)
    assert rows[2]["history"] != rows[3]["history"]


def test_what_was_trained_is_only_read_and_another_recipe_is_trained(
    applications, parts, monkeypatch
):
    first = compare(applications, parts)

    def fail(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(tf.train, "fit", fail)
    assert compare(applications, parts) == first
    for change in (
        {"recipes": {"FractalNet": replace(TINY, lr=0.01)}},
        {"parts": (parts[0][:120], *parts[1:])},
    ):
        with pytest.raises(AssertionError, match="trained again"):
            compare(applications, **{"parts": parts, **change})


def test_a_training_that_was_stopped_goes_on_to_the_same_end(applications, parts, monkeypatch):
    recipes = {"FractalNet": TINY}
    whole = compare(applications, parts, recipes)
    for result in Path(applications.data_folder()).rglob("result.json"):
        result.unlink()
    for folder in (applications.data_folder() / "trained" / "digits").iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    fit = tf.train.fit

    def stopped(*args, **options):
        fit(*args, **{**options, "on_epoch": lambda record: True})
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.train, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        compare(applications, parts, recipes)
    monkeypatch.setattr(tf.train, "fit", fit)
    again = compare(applications, parts, recipes)
    assert [row["history"] for row in again] == [row["history"] for row in whole]


def test_a_record_is_the_rows_with_date_and_machine_and_no_folder(applications, parts):
    rows = compare(applications, parts, {"FractalNet": TINY})
    applications.record("digits", rows, note="of a test")
    text = (applications.RECORDS / "digits.json").read_text()
    assert str(applications.data_folder()) not in text
    found = applications.recorded("digits")
    assert found["note"] == "of a test"
    assert "cores" in found["machine"]
    assert applications.table(found["rows"]) == applications.table(rows)


def test_the_table_has_means_errors_and_medians(applications):
    rows = [
        {"network": "A", "seed": s, "parameters": 1000, "seconds": 2.0, "accuracy": a,
         "columns": []}
        for s, a in enumerate((0.5, 0.6, 0.9))
    ]  # fmt: skip
    error = np.std([50, 60, 90], ddof=1) / np.sqrt(3)
    assert f"66.67 ± {error:.2f} %" in applications.table(rows)
    assert "60.00 %" in applications.table(rows)


def test_missing_data_is_said_with_how_to_get_it(applications, capsys):
    assert applications.load("cifar10") == (None, None)
    assert "data.download('cifar10')" in capsys.readouterr().out


def test_the_readme_says_what_all_signs_are_worth(applications, monkeypatch):
    monkeypatch.setattr(applications, "RECORDS", TUTORIALS / "records")
    rows = applications.recorded("traffic_signs")["all_signs"]
    said = f"{100 * np.median([row['accuracy'] for row in rows]):.2f} % from all signs"
    assert said in (TUTORIALS.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["blood_cells", "spoken_digits", "traffic_signs"])
def test_the_readme_says_what_was_recorded(name, applications, monkeypatch):
    monkeypatch.setattr(applications, "RECORDS", TUTORIALS / "records")
    rows = applications.by_network(applications.recorded(name)["rows"])
    page = (TUTORIALS.parent / "README.md").read_text("utf-8")
    (line,) = [line for line in page.splitlines() if f"_{name}.ipynb) |" in line]
    said = [float(cell.strip(" %")) for cell in line.split("|")[3:6]]
    networks = ("plain", "ResNet", "FractalNet")
    found = [100 * np.median([row["accuracy"] for row in rows[network]]) for network in networks]
    assert said == pytest.approx(found, abs=0.0051)


def test_every_record_of_the_chapters_can_be_read():
    for path in (TUTORIALS / "records").glob("*.json"):
        facts = json.loads(path.read_text("utf-8"))
        assert {"date", "machine"} <= set(facts)
        kept = [rows for rows in facts.values() if isinstance(rows, list)]
        assert kept
        assert not [row for row in facts.get("rows", []) if "folder" in row]


def test_what_the_text_says_must_be_true_of_the_record_and_is_said_of_other_networks(
    applications, capsys
):
    applications.expect(True, "true", recorded=True)
    applications.expect(True, "true", recorded=False)
    assert capsys.readouterr().out == ""
    applications.expect(False, "one is two", recorded=False)
    assert "which says: one is two" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="one is two"):
        applications.expect(False, "one is two", recorded=True)


def test_the_record_of_chapter_12_is_of_networks_as_large_as_its_module_builds(
    applications, monkeypatch
):
    article = importlib.import_module("article")
    monkeypatch.setattr(applications, "RECORDS", TUTORIALS / "records")
    rows = applications.by_network(applications.recorded("article")["rows"])
    assert list(rows) == list(article.NETWORKS)
    for network, some in rows.items():
        built = replace(article.NETWORKS[network], classes=tuple("abcdefghij"), shape=(16, 16, 3))
        assert {row["parameters"] for row in some} == {built.count_parameters()}
        assert built.stage_depth * len(built.channels) == 12
        assert some[0]["parameters"] == pytest.approx(67_426, rel=0.02)
    chosen, tuning = (applications.recorded("article")["lies"][key] for key in ("chosen", "tuning"))
    assert all(found[chosen[kind]] == max(found.values()) for kind, found in tuning.items())
