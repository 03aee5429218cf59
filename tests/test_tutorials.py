"""The chapters: each runs from a fresh kernel, agrees with its notebook, and knows its answers."""

import ast
import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "tutorials"
CHAPTERS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in CHAPTERS]


@pytest.fixture
def build(monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.syspath_prepend(str(FOLDER.parent))
    return importlib.import_module("tutorials.__main__")


def checks_of(name):
    """The names of the checks that a chapter's exercises have."""
    return re.findall(
        r"@exercise\ndef (\w+)", (FOLDER / "exercises" / f"{name[3:]}.py").read_text("utf-8")
    )


# ----- Each chapter -----


@pytest.mark.tutorial
@pytest.mark.parametrize("name", NAMES)
def test_chapter_runs_from_a_fresh_kernel(name, build, record_property):
    start = time.monotonic()
    notebook = build.execute(FOLDER / f"{name}.py")
    record_property("chapter", (name, time.monotonic() - start))
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    warnings = [out.text for out in outputs if out.get("name") == "stderr"]
    assert not warnings
    assert any("image/png" in out.get("data", {}) for out in outputs)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_holds_its_source_with_outputs_and_is_small(name):
    jupytext = pytest.importorskip("jupytext")
    path = FOLDER / f"{name}.ipynb"
    notebook, source = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    cells, made_from = (
        [(cell.cell_type, cell.source, cell.metadata) for cell in file.cells]
        for file in (notebook, source)
    )
    if cells != made_from:
        pytest.fail(f"{path.name} is not made from {name}.py: run `python -m tutorials {name}`")
    run = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in run] == list(range(1, len(run) + 1))
    outputs = [out for cell in run for out in cell.outputs]
    assert not [out for out in outputs if out.output_type == "error"]
    assert path.stat().st_size < 600_000
    assert (FOLDER / "pictures" / f"{name}.png").stat().st_size < 60_000


@pytest.mark.parametrize("name", NAMES)
def test_notebook_says_nothing_of_the_machine_it_was_made_on(name):
    text = (FOLDER / f"{name}.ipynb").read_text("utf-8")
    assert not re.findall(r"/(?:home|root|work|tmp|Users)/\w+", text)


@pytest.mark.parametrize("name", NAMES)
def test_chapter_has_its_parts(name):
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert re.search(rf"^# # {int(name[:2])}\. \S.+", text, re.M)
    assert re.search(r"^# \*\d+ minutes\. Afterwards you can read .+", text, re.M)
    assert "redict, then run" in text
    assert text.index("# ## Now read the source") < text.index("# ## Exercises")
    assert text.count('tags=["thumbnail"]') == 1
    checks = checks_of(name)
    assert 3 <= len(checks) <= 5
    exercises = text[text.index("# ## Exercises") :]
    assert re.findall(r"^(check_\w+)\(", exercises, re.M) == checks


def folded_and_asked(cells):
    """The cells whose outputs are folded away, and those with outputs that come after "Predict" and
    before the answer in words, which is folded too; and how many times "Predict" is said."""
    folded, asked, prompts, waiting = set(), set(), 0, False
    for number, cell in enumerate(cells):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            waiting = waiting and not text.startswith("<details>")
            if re.search(r"\bPredict\b", text):
                assert not waiting, f"no answer comes before: {text}"
                waiting, prompts = True, prompts + 1
        elif cell["cell_type"] == "code":
            if waiting and cell["outputs"]:
                asked.add(number)
            if cell["metadata"].get("jupyter", {}).get("outputs_hidden"):
                folded.add(number)
    assert not waiting, "the last prediction has no answer"
    return folded, asked, prompts


@pytest.mark.parametrize("name", NAMES)
def test_what_you_should_predict_is_folded_away_and_nothing_else(name):
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    folded, asked, prompts = folded_and_asked(cells)
    assert folded == asked
    assert len(asked) >= prompts >= 1
    told = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert all(text.count("<details>") == text.count("</details>") for text in told)
    assert all(re.search(r"</summary>\n\n", text) for text in told if "<details>" in text)


def test_a_spoilt_prediction_is_noticed():
    def cells(*metadata):
        code = [
            {"cell_type": "code", "source": [], "outputs": [1], "metadata": m} for m in metadata
        ]
        texts = ["## Predict, then run", "<details>The answer"]
        prompt, answer = ({"cell_type": "markdown", "source": [text]} for text in texts)
        return [code[0], prompt, code[1], answer, code[2]]

    hidden = {"jupyter": {"outputs_hidden": True}}
    assert folded_and_asked(cells({}, hidden, {})) == ({2}, {2}, 1)
    for wrong in (cells({}, {}, {}), cells(hidden, hidden, {}), cells({}, hidden, hidden)):
        folded, asked, _ = folded_and_asked(wrong)
        assert folded != asked
    with pytest.raises(AssertionError, match="no answer"):
        folded_and_asked(cells({}, hidden, {})[:3])


@pytest.mark.parametrize("name", NAMES)
def test_every_check_accepts_its_solution_and_rejects_a_plausible_wrong_answer(name):
    run = subprocess.run(
        [sys.executable, "-m", f"solutions.{name}"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stderr
    text = (FOLDER / "solutions" / f"{name}.py").read_text("utf-8")
    for check in checks_of(name):
        assert re.search(rf"^assert {check}\(", text, re.M), f"{check}: no solution"
        assert re.search(rf"^assert not {check}\(", text, re.M), f"{check}: no wrong answer"
    accepted = len(re.findall(r"^assert check_", text, re.M))
    rejected = len(re.findall(r"^assert not check_", text, re.M))
    said = run.stdout.splitlines()
    assert sum(line.startswith("✓") for line in said) == accepted
    assert sum(line.startswith("✗ Not yet") for line in said) == rejected


# ----- The pages around them -----


@pytest.mark.parametrize("page", ["README.md", "tutorials/README.md", "tutorials/glossary.md"])
def test_links_lead_somewhere(page):
    path = FOLDER.parent / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if not target.startswith(("http", "#")):
            assert (path.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("name", NAMES)
def test_links_of_a_chapter_lead_somewhere(name):
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http", "#")):
            assert (FOLDER / target.split("#")[0]).exists(), target


def source_section(name):
    """ "Now read the source" of a chapter: its text, and the code of the chapter's own cells."""
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    told = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (text,) = [text for text in told if "## Now read the source" in text]
    section = text.partition("## Now read the source")[2].partition("\n## ")[0]
    return section, "\n".join(code)


def stands_in(quoted, sources):
    """Whether a function, `Class.method`, file or line that a chapter names is there."""
    if re.fullmatch(r"[A-Z]\w*\.\w+", quoted):
        owner, member = quoted.split(".")
        classes = [
            node
            for source in sources
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ClassDef) and node.name == owner
        ]
        return any(getattr(part, "name", "") == member for kind in classes for part in kind.body)
    words = re.findall(r"\w+", quoted)
    return all(any(re.search(rf"\b{word}\b", source) for source in sources) for word in words)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_chapter_sends_you_to_read_is_there(name):
    section, own_code = source_section(name)
    linked = re.findall(r"\]\(\.\./([\w/]+\.py)\)", section)
    assert linked
    sources = [(FOLDER.parent / file).read_text("utf-8") for file in linked]
    missing = [
        quoted
        for quoted in re.findall(r"`([^`]+)`", re.sub(r"\[[^]]*\]\([^)]*\)", "", section))
        if not (
            stands_in(quoted, sources)
            or stands_in(quoted, [own_code])
            or any(
                (root / quoted).exists() for root in (FOLDER.parent, FOLDER.parent / "tinyfractal")
            )
        )
    ]
    assert missing == []


def test_a_missing_function_method_or_line_is_noticed():
    source = "class A:\n    def f(self):\n        return x + 1\n\n\ndef g():\n    pass\n"
    assert all(stands_in(quoted, [source]) for quoted in ("A", "A.f", "g", "return x + 1"))
    assert not any(stands_in(quoted, [source]) for quoted in ("h", "A.g", "return y", "B.f"))


def test_contents_page_has_every_chapter_with_question_and_thumbnail():
    page = (FOLDER / "README.md").read_text("utf-8")
    for name in NAMES:
        source = (FOLDER / f"{name}.py").read_text("utf-8")
        question = re.search(r"^# # (\d+\. .+)", source, re.M)[1]
        minutes = re.search(r"^# \*(\d+ minutes)\.", source, re.M)[1]
        (row,) = [line for line in page.splitlines() if f"({name}.ipynb)" in line]
        assert question.split(". ", 1)[1] in row
        assert minutes.replace("minutes", "min") in row
        assert f"pictures/{name}.png" in row


def test_glossary_quotes_the_source_and_is_in_order():
    rows = [
        [part.strip() for part in line.strip("|").split(" | ")]
        for line in (FOLDER / "glossary.md").read_text("utf-8").splitlines()
        if line.startswith("| **")
    ]
    terms = [row[0].strip("*").lower() for row in rows]
    assert len(rows) >= 60
    assert terms == sorted(terms)
    for term, _, _, chapter, source in rows:
        name = re.fullmatch(r"\[\d+\]\((\w+)\.ipynb\)", chapter)[1]
        assert name in NAMES, term
        file, quoted = re.fullmatch(r"\[`[\w/.]+`\]\(([\w/.]+)\): `` ?(.+?) ?``", source).groups()
        assert quoted in (FOLDER / file).read_text("utf-8"), f"{term}: {quoted}"
