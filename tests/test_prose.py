"""What the chapters say in words is true of the code: names, files, and numbers."""

import ast
import builtins
import json
import keyword
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tutorials"
NAMES = [path.stem for path in sorted(FOLDER.glob("[0-9][0-9]_*.py"))]

# Numbers that a chapter takes from somewhere else: {chapter: {number: where from}}
ELSEWHERE: dict[str, dict[str, str]] = {
    "08_fractals": {
        "30000": "the limit of an exercise, held by its check",
    },
    "13_blood_cells": {"364": "photographs with boxes in the published files"},
    "14_spoken_digits": {
        "255": "the largest byte",
        "3500": "the mel formula: as far from 3,000 as 200 from 100, about",
        "688": "the mel formula: two of 24 bands above 500 Hz",
    },
    "15_traffic_signs": {
        "99.7": "an example: wrong three times in a thousand",
        "261": "signs held out: 1,307 less the 1,046 learned from",
        "365": "megabytes of the official archives",
    },
}
# Names that are neither ours nor NumPy's: commands, another chapter's class
OTHERS = {
    *("nvidia", "smi", "gpu", "lab", "jupyter", "pip", "install", "python", "rm", "git", "clone"),
    *("Value", "node_modules", "pyodide", "mish", "fan_out"),
}
# Files that are made elsewhere, or stand for many
NO_FILES = {
    *("pictures/gpu_times.json", "history.jsonl", "best.npz", "checkpoint.npz"),
    *("tutorials/NN_name.py", "tutorials/exercises/name.py", "tutorials/solutions/NN_name.py"),
}


def cells_of(name):
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"]), cell.get("outputs", [])) for cell in cells]


def prose_of(name):
    """The words of a chapter, without its blocks of code and what lies behind its links."""
    told = "\n\n".join(source for kind, source, _ in cells_of(name) if kind == "markdown")
    return re.sub(r"```.*?```", "", told, flags=re.DOTALL)


# ----- Names -----


@cache
def files():
    """Every file of the project as `folder/name.py`, and as each shorter tail of it."""
    found = set()
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(".") and part != ".github" for part in parts):
            found |= {"/".join(parts[start:]) for start in range(len(parts))}
    return found


@cache
def names_in(source):
    """Every name that code uses: not the words of its comments and texts."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                found |= set(value.split("."))
        text = getattr(node, "value", None)
        if isinstance(text, str) and text.isidentifier():
            found.add(text)  # a key, an option
    return found


@cache
def names_of_the_project():
    found = set()
    for folder in ("tinyfractal", "tests/benchmarks", "tests/gpu", "tutorials/exercises"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= names_in(path.read_text("utf-8"))
            found.add(path.stem)
    for path in FOLDER.glob("[a-z]*.py"):
        found |= names_in(path.read_text("utf-8")) | {path.stem}
    return found | {path.name for path in (ROOT / "tinyfractal").iterdir()}


def known_elsewhere(name):
    return (
        hasattr(builtins, name)
        or hasattr(np, name)
        or hasattr(np.ndarray, name)
        or hasattr(np.linalg, name)
        or hasattr(np.random.Generator, name)
    )


def stands(quoted, code):
    """Whether what stands between backticks exists: a file, or names that `code` or ours use."""
    if quoted.strip("/") in files() or re.fullmatch(r"\([A-Z\d_a-z, ]+\)|d_…|\w", quoted):
        return True  # a file; a shape, a kind of name, one letter of a formula
    if re.fullmatch(r"[\w./]+\.(py|json|jsonl|npz|md|ipynb)", quoted):
        return quoted in NO_FILES
    without_texts = re.sub(r"\"[^\"]*\"|'[^']*'|#.*|\.\.\.", "", quoted)
    words = re.findall(r"[A-Za-z_]\w*", without_texts)
    known = names_in(code) | names_of_the_project()
    return all(
        word in known or word in OTHERS or keyword.iskeyword(word) or known_elsewhere(word)
        for word in words
    )


def unknown_names(prose, code):
    quoted = re.findall(r"(?<!`)``? ?([^`]+?) ?``?(?!`)", prose)
    return sorted({text for text in quoted if not stands(text, code)})


def test_a_name_that_nobody_uses_is_noticed():
    prose = (
        "`tf.relu(x)` in `ops/elementwise.py`, `(N, H, W, C)`, `mine`; `tf.rellu(x)`, `ops/no.py`"
    )
    assert unknown_names(prose, "mine = 1  # rellu") == ["ops/no.py", "tf.rellu(x)"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "tutorials/README.md"])
def test_every_file_and_dotted_name_on_a_page_exists(page):
    prose = re.sub(r"```.*?```", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    assert [name for name in unknown_names(prose, "") if re.fullmatch(r"\w+([./]\w+)+", name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_named_by_its_number(name):
    assert re.findall(r"\blines? \d+|#L\d+", prose_of(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_file_and_name_in_the_prose_exists(name):
    code = (FOLDER / f"{name}.py").read_text("utf-8")
    assert unknown_names(prose_of(name), code) == []


# ----- Numbers -----

NUMBER = r"(?<![\w.,/^_{])[-−+]?\d[\d,]*(?:\.\d+)?(?![\w^])"


def told_numbers(prose):
    """The numbers in words that a run could contradict: decimals, percentages, three digits."""
    prose = re.sub(
        r"\]\([^)]*\)|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|https?://\S+|arXiv:?\s[\d.]+",
        " ",
        prose,
        flags=re.S,
    )
    found = set()
    for match in re.finditer(NUMBER + r"(\s?%)?", prose):
        text = match[0].strip().lstrip("+")
        digits = text.rstrip(" %,")
        if re.fullmatch(r"(1[89]|20)\d\d", digits):
            continue  # a year
        if "." in digits or "%" in text or len(re.sub(r"\D", "", digits)) >= 3:
            found.add(digits.replace("−", "-").replace(",", ""))
    return found


def shown_numbers(name):
    """All numbers that a chapter's code, outputs and records hold."""
    texts = [source for kind, source, _ in cells_of(name) if kind == "code"]
    for _, _, outputs in cells_of(name):
        for out in outputs:
            texts.append("".join(out.get("text", [])))
            texts.append("".join(out.get("data", {}).get("text/plain", [])))
    own = "\n".join(texts)
    for record in (FOLDER / "records").glob("*.json"):
        if record.stem == name[3:] or f'"{record.stem}"' in own:
            texts.append(record.read_text("utf-8"))
    text = "\n".join(texts).replace("−", "-")
    text = re.sub(r"(?<=\d)[,_](?=\d{3})", "", text)
    return [float(n) for n in re.findall(r"(?<![\w.])-?\d+\.?\d*(?:e[-+]?\d+)?", text)]


def is_shown(number, shown):
    """Whether a number was shown: the same when rounded to the places it is told with, or as a
    percentage, or without its sign."""
    places = len(number.partition(".")[2])
    value = abs(float(number))
    step = 0.5 * 10**-places
    return any(
        abs(value - abs(scale * other)) <= step * (1 + 1e-9)
        for other in shown
        for scale in (1, 100)
    )


def test_a_number_that_nobody_computed_is_noticed():
    prose = "In 2016 it was 97.2 %, 3 times, 1,797 images, −0.35, `12.5`, $x^{100}$, now 98.1 %."
    assert told_numbers(prose) == {"97.2", "1797", "-0.35", "98.1"}
    shown = [0.9719, 1797, -0.3512]
    assert [n for n in sorted(told_numbers(prose)) if not is_shown(n, shown)] == ["98.1"]


@pytest.mark.parametrize("name", NAMES)
def test_every_number_in_the_prose_was_computed(name):
    shown = shown_numbers(name)
    allowed = ELSEWHERE.get(name, {})
    wrong = {n for n in told_numbers(prose_of(name)) if not is_shown(n, shown)}
    assert sorted(wrong - set(allowed)) == []
    assert set(allowed) <= wrong, "an exception that nobody needs"
