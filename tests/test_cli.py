"""Each command does what it says, and shows it."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinyfractal
from tinyfractal import backend, cli, nn, ops
from tinyfractal.cli import main
from tinyfractal.data import load
from tinyfractal.errors import GradientError
from tinyfractal.progress import Progress
from tinyfractal.recipe import Recipe
from tinyfractal.train import BEST, CHECKPOINT, HISTORY
from tinyfractal.train.checkpoint import load_checkpoint, save_checkpoint

draw_curves, pictures = cli.train._draw_curves, cli.predict._pictures
ROOT = Path(__file__).resolve().parent.parent
TINY = ["--epochs", "1", "--columns", "2", "--channels", "4,6", "--drop-path", "0"]
COMMANDS = ("train", "evaluate", "predict", "recurse", "draw", "explore", "gradcheck", "info")
NAMES = ("confusion", "mistakes")
HAS_PLOT = importlib.util.find_spec("matplotlib") is not None
needs_plot = pytest.mark.skipif(not HAS_PLOT, reason="needs matplotlib")


def shell(command, folder):
    """(exit status of the last part, stdout, stderr) of a line in which $TF is the program."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "OPENBLAS_NUM_THREADS": "1",
        "TF": f"{sys.executable} -m tinyfractal",
    }
    environment.pop("PYTHONUNBUFFERED", None)  # then a broken pipe shows at the very end
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, timeout=120
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


needs_shell = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # after 20 s in an epoch there would be one more line, as where a GPU compiles its kernels
    monkeypatch.setattr(Progress, "wants_news", lambda _: False)
    monkeypatch.setattr(cli.train, "_draw_curves", lambda *_: None)  # slow; one test draws them
    monkeypatch.setattr(cli.predict, "_pictures", lambda *_: [])  # and another one these


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of one epoch, and what was printed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.train, "_draw_curves", lambda *_: None)
        assert main(["train", *TINY, "--epochs", "6", "--out", str(folder), "--quiet"]) == 0
    return folder


def run(capsys, *arguments):
    """Stdout of a command that must go well, in lines."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


# ----- train -----


def test_train_prints_a_line_for_each_epoch_and_a_table(capsys, monkeypatch):
    monkeypatch.setattr(cli.train, "_draw_curves", draw_curves)
    lines = run(capsys, "train", *TINY, "--epochs", 2, "--out", "run", "--seed", 3)
    assert lines[0] == "digits: 1,293 training, 145 validation and 359 test images of 8×8×1"
    assert lines[1] == (
        "fractal network: depth 4, 1,102 parameters; 2 epochs, seed 3, "
        f"{backend.current()}; writing to run"
    )
    assert [line[:9] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    start = next(i for i, line in enumerate(lines) if "depth  parameters" in line)
    rows = [re.split(r"  +", line) for line in lines[start + 1 : start + 4]]
    assert [row[:3] for row in rows] == [
        ["whole network", "4", "1,102"],
        ["column 0", "2", "342"],
        ["column 1", "4", "830"],
    ]
    for _, _, _, accuracy, milliseconds in rows:
        assert 0 <= float(accuracy.removesuffix(" %")) <= 100
        assert float(milliseconds) > 0
    assert lines[start + 4] == ""
    files = {file.name for file in Path("run").iterdir()}
    assert {BEST, CHECKPOINT, HISTORY} <= files
    if HAS_PLOT:
        assert files == {BEST, CHECKPOINT, HISTORY, "curves.png", "curves.svg"}


def test_the_table_says_what_the_history_says(capsys):
    lines = run(capsys, "train", *TINY, "--out", "run", "--validation", 0)
    epoch = next(line for line in lines if line.startswith("epoch 1/1"))
    whole, columns = re.search(r"test (\S+) %  columns (\S+ \S+)", epoch).groups()
    shown = [
        float(line.split(" %")[0].split()[-1]) for line in lines if re.match("whole|col", line)
    ]
    assert shown == pytest.approx([float(x) for x in (whole, *columns.split())], abs=0.051)


def test_train_can_be_quiet(capsys):
    lines = run(capsys, "train", *TINY, "--out", "run", "--quiet")
    assert not any(line.startswith("epoch") for line in lines)
    assert any(line.startswith("whole network") for line in lines)


@pytest.mark.parametrize("model", ["plain", "resnet"])
def test_train_the_networks_that_it_is_compared_with(capsys, model):
    lines = run(capsys, "train", *TINY, "--model", model, "--out", "run", "--mirror")
    assert lines[1].startswith(f"{model} network: depth 4, ")
    assert not any(line.startswith("column") for line in lines)


def test_train_chooses_a_folder_that_is_free(capsys):
    for name in ("digits-fractal", "digits-fractal-2", "digits-fractal-3"):
        lines = run(capsys, "train", *TINY)
        assert lines[1].endswith(f"writing to {Path('runs') / name}")
        assert (Path("runs") / name / CHECKPOINT).exists()


def test_resume_of_a_finished_run_shows_its_table_again(capsys):
    first = run(capsys, "train", *TINY, "--out", "run")
    again = run(capsys, "train", "--resume", "run")
    assert not any(line.startswith("epoch") for line in again)

    def accuracies(lines):
        return [line.split(" %")[0] for line in lines if re.match("whole|column", line)]

    assert accuracies(again) == accuracies(first)
    assert len(accuracies(first)) == 3
    assert accuracies(run(capsys, "train", "--resume", f"run/{CHECKPOINT}")) == accuracies(first)


def test_every_entry_of_the_recipe_that_is_a_choice_has_an_option(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    facts = {"classes", "shape", "standardize", "balance", "seconds", "depth"}
    # Nesterov's momentum is always used
    for name, value in Recipe().as_dict().items():
        if name not in facts | {"nesterov"}:
            assert f"--{name.replace('_', '-')}" in text
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            assert f"(default: {shown})" in " ".join(text.split())


# ----- evaluate and predict -----


def test_evaluate_prints_the_table_for_a_file_and_for_its_folder(capsys, trained):
    by_folder = run(capsys, "evaluate", trained)
    by_file = run(capsys, "evaluate", trained / CHECKPOINT)
    assert [line[:3] for line in by_folder[:5]] == ["   ", "who", "col", "col", ""]
    assert [line[:40] for line in by_file] == [line[:40] for line in by_folder]


def test_evaluate_prints_which_class_was_taken_for_which(capsys, trained):
    _, test = load("digits")
    model, recipe = cli.predict.load_network(str(trained))
    answers = cli.predict.predict(model, test.images, recipe.transform()).argmax(axis=1)
    lines = run(capsys, "evaluate", trained)
    start = next(i for i, line in enumerate(lines) if line.split()[-1:] == ["recall"])
    for truth, line in enumerate(lines[start + 1 : start + 11]):
        name, *counts, recall, _ = line.replace("·", "0").split()
        ours = [np.sum((test.labels == truth) & (answers == answer)) for answer in range(10)]
        assert name == str(truth)
        assert list(map(int, counts)) == ours
        assert float(recall) == pytest.approx(100 * ours[truth] / sum(ours), abs=0.051)
    whole = next(line for line in lines if line.startswith("whole network"))
    assert f"{100 * np.mean(answers == test.labels):.2f} %" in whole


@needs_plot
def test_evaluate_draws_pictures_and_overwrites_nothing(capsys, trained, monkeypatch):
    monkeypatch.setattr(cli.predict, "_pictures", pictures)
    for _ in range(2):  # the second time they are there already, the very same
        lines = run(capsys, "evaluate", trained, "--out", "new folder")
        assert lines[-2:] == [f"{n}: {Path('new folder') / n}.png" for n in NAMES]
        assert {path.name for path in Path("new folder").iterdir()} == {f"{n}.png" for n in NAMES}
    Path("new folder/mistakes.png").write_text("mine")
    lines = run(capsys, "evaluate", trained, "--out", "new folder")
    assert lines[-1] == f"mistakes: {Path('new folder/mistakes-2.png')}"
    assert Path("new folder/mistakes.png").read_text() == "mine"
    for name in ("confusion.png", "mistakes-2.png"):
        header = Path("new folder", name).read_bytes()[:20]
        assert header.startswith(b"\x89PNG")
        assert int.from_bytes(header[16:20]) >= 1600  # pixels across: enough for a slide


def test_evaluate_on_other_data(capsys, trained):
    _, test = load("digits")
    nothing_right = (test.labels + 1) % 10
    np.savez("wrong.npz", x_train=test.images, y_train=test.labels, x_test=test.images,
             y_test=np.where(np.arange(len(test)) < 0, test.labels, nothing_right))  # fmt: skip
    (_, right, *_), (_, wrong, *_) = (
        run(capsys, "evaluate", trained, *more) for more in ((), ("--data", "wrong.npz"))
    )

    def accuracy(line):
        return float(line.split(" %")[0].split()[-1])

    assert accuracy(right) > 50
    assert accuracy(wrong) <= 100 - accuracy(right)


def test_predict_an_image_of_the_test_set(capsys, trained):
    _, test = load("digits")
    lines = run(capsys, "predict", trained, *(f"test:{i}" for i in range(20)))
    right = 0
    for i, line in enumerate(lines):
        name, guess, percent, truth, sign = re.match(
            r"(test:\d+): +(\d) (\S+) % +truth (\d) ([✓✗])$", line
        ).groups()
        assert name == f"test:{i}"
        assert 10 <= float(percent) <= 100
        assert int(truth) == test.labels[i]
        assert (sign == "✓") == (guess == truth)
        right += guess == truth
    assert right > 10
    assert len({line.index("%") for line in lines if line[-1] == "✓"}) == 1  # they are aligned


def test_predict_names_classes_without_control_characters(capsys, trained):
    state = load_checkpoint(trained / CHECKPOINT)
    names = [f"\x1b[31m{name}\r" for name in "abcdefghij"]
    save_checkpoint("run.npz", **{**state, "recipe": {**state["recipe"], "classes": names}})
    (line,) = run(capsys, "predict", "run.npz", "test:0")
    assert "\x1b" not in line
    assert "\r" not in line
    assert re.match(r"test:0: \S+[a-j]", line)
    assert all(name.isprintable() for name in Recipe(classes=names).classes)


def test_predict_calls_the_truth_as_the_network_calls_it(capsys, trained):
    _, test = load("digits")
    state = load_checkpoint(trained / CHECKPOINT)
    names = [f"ship {name}" for name in "abcdefghij"]
    save_checkpoint("run.npz", **{**state, "recipe": {**state["recipe"], "classes": names}})
    (line,) = run(capsys, "predict", "run.npz", "test:0")  # the digits are called by their numbers
    guess, truth, sign = re.match(r"test:0: (ship .) .* truth (ship .) (.)$", line).groups()
    assert truth == names[test.labels[0]]
    assert (sign == "✓") == (guess == truth)


def test_predict_a_picture(capsys, trained):
    image = pytest.importorskip("PIL.Image")
    _, test = load("digits")
    pixels = np.round(test.images[3, :, :, 0] * 255).astype(np.uint8)
    image.fromarray(pixels).save("plain.png")
    image.fromarray(255 - pixels).convert("RGB").save("ink.png")
    image.fromarray(pixels).resize((64, 64), image.Resampling.NEAREST).save("large.png")

    def best(*arguments):
        lines = run(capsys, "predict", trained, *arguments)
        found = [re.search(r": +(\d) (\S+) %", line).groups() for line in lines]
        return [10 * int(digit) + float(percent) / 100 for digit, percent in found]

    (expected,) = best("test:3")
    close = pytest.approx(expected, abs=0.02)  # a picture has 256 greys, the digits 17
    assert best("plain.png", "large.png") == [close, close]
    assert best("--invert", "ink.png") == [close]
    assert best("ink.png") != [close]


# ----- The others -----


def test_recurse_begins_with_the_three_lines_of_the_article(capsys):
    lines = run(capsys, "recurse")
    assert lines[:3] == [
        "Input Shape: (10,)",
        "Output Shape: (10,)",
        "Model successfully applied recursive structure.",
    ]
    start = next(i for i, line in enumerate(lines) if line.startswith("depth"))
    rows = [[int(x.replace(",", "")) for x in line.split()] for line in lines[start + 1 :]]
    assert [row[0] for row in rows] == [1, 2, 4, 8, 16]
    unit = 9 * 16 * 16 + 2 * 16
    assert [row[1] for row in rows] == [unit] * 5  # shared: constant while depth grows
    assert [row[2] for row in rows] == [(2**c - 1) * unit for c in range(1, 6)]
    assert [row[3] for row in rows] == [depth * unit for depth, *_ in rows]


@needs_plot
@pytest.mark.parametrize("what", ["block", "network", "recursion"])
@pytest.mark.parametrize("drop", ["none", "local", "1"])
def test_draw_writes_both_formats(capsys, what, drop):
    (line,) = run(capsys, "draw", what, "--drop-path", drop, "--out", "a.picture.png")
    assert line.startswith("wrote a.picture.svg and a.picture.png")
    header = Path("a.picture.png").read_bytes()[:20]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20]) >= 1600  # pixels across: enough for a slide
    assert "</svg>" in Path("a.picture.svg").read_text()


@needs_plot
def test_draw_shows_what_drop_path_leaves(capsys):
    drawn = []
    for drop in ("none", "local", "0", "2"):
        run(capsys, "draw", "--drop-path", drop, "--seed", 1, "--force")
        drawn.append(Path("fractal-block.svg").read_text())
    assert len(set(drawn)) == 4
    run(capsys, "draw", "--drop-path", "local", "--seed", 1, "--force")
    assert Path("fractal-block.svg").read_text() == drawn[1]


@needs_plot
@pytest.mark.parametrize("what", ["block", "network", "recursion"])
@pytest.mark.parametrize("seed", [0, 3])
def test_draw_of_local_drop_path_drops_something(capsys, monkeypatch, what, seed):
    drawn = []
    monkeypatch.setattr("tinyfractal.draw.plot.save", lambda figure, _: drawn.append(figure))
    (line,) = run(capsys, "draw", what, "--drop-path", "local", "--columns", 2, "--seed", seed)
    assert int(re.search(r"; local drop-path of seed (\d+)$", line)[1]) >= seed
    dashed = [line for line in drawn[0].axes[0].lines if line.get_linestyle() == "--"]
    run(capsys, "draw", what, "--columns", 2)
    full = [line for line in drawn[-1].axes[0].lines if line.get_linestyle() == "--"]
    assert len(dashed) > len(full)


@needs_plot
def test_draw_overwrites_nothing_unless_forced(capsys):
    Path("mine.png").write_text("mine")
    assert main(["draw", "--out", "mine.svg"]) == 1
    assert "mine.png is there already" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [("mine.png", "mine")]
    run(capsys, "draw", "--out", "mine.svg", "--force")
    assert Path("mine.png").read_bytes().startswith(b"\x89PNG")


@needs_plot
def test_draw_into_a_folder_and_as_pdf(capsys):
    Path("pictures").mkdir()
    run(capsys, "draw", "--columns", 1, "--out", "pictures")
    run(capsys, "draw", "--columns", 1, "--out", "pictures/one.pdf")
    names = {"fractal-block.svg", "fractal-block.png", "one.pdf"}
    assert {path.name for path in Path("pictures").iterdir()} == names


@pytest.mark.parametrize("what", ["neuron", "perceptron", "block", "network"])
def test_explore_writes_a_page(capsys, what):
    small = {"block": ["--columns", 2], "network": ["--channels", 2, "--images", 1]}
    assert main(["explore", what, *map(str, small.get(what, []))]) == 0
    (line,) = capsys.readouterr().out.splitlines()  # a slow machine says on stderr how far it is
    assert re.fullmatch(rf"wrote explore-{what}\.html \(\d+ kB\); open it in a browser", line)
    trace = traced(f"explore-{what}.html")
    many = {"neuron": 1, "perceptron": 1, "block": 4, "network": 4}[what]  # all, two columns, local
    assert len(trace["runs"]) == many
    kinds = [[node["kind"] for node in one["nodes"]] for one in trace["runs"]]
    assert ["ghost" in run for run in kinds] == [False] + [True] * (many - 1)


def traced(file):
    """What a page knows."""
    data = Path(file).read_text("utf-8").partition('id="trace">')[2].partition("</script>")[0]
    return json.loads(data)


PROGRAM = """
import tinyfractal as tf
w = tf.Tensor(3.0, requires_grad=True)
y = w * w
"""


@pytest.mark.parametrize("loss", ["loss = y + 1.0", "def loss(): return w * w + 1.0"])
def test_explore_of_a_program_shows_its_loss(capsys, loss):
    Path("mine.py").write_text(f"{PROGRAM}{loss}\n")
    run(capsys, "explore", "mine.py", "--out", "page.html")
    trace = traced("page.html")
    nodes = {node["name"]: node for node in trace["runs"][0]["nodes"]}
    assert nodes["w"]["grad"]["rows"] == [[6.0]]
    assert nodes["add"]["value"]["rows"] == [[10.0]]
    assert ("mine.py", loss) in {(line["file"], line["code"]) for line in trace["sources"]}
    assert {line["file"] for line in trace["sources"]} == {"mine.py"}  # nothing that ran the file


def test_explore_runs_a_program_as_python_does(capsys):
    Path("lib").mkdir()
    Path("lib/mine_too.py").write_text("factor = 2.0")
    Path("lib/mine.py").write_text(
        "import sys, mine_too\nimport tinyfractal as tf\nw = tf.Tensor(3.0, True)\n"
        "if __name__ == '__main__':\n    loss = w * mine_too.factor * len(sys.argv)\n"
    )
    path, words = sys.path[:], sys.argv[:]
    run(capsys, "explore", "lib/mine.py", "--out", "page.html")
    nodes = {node["name"]: node for node in traced("page.html")["runs"][0]["nodes"]}
    assert nodes["w"]["grad"]["rows"] == [[2.0]]
    assert (sys.path, sys.argv) == (path, words)


def test_explore_names_the_line_where_a_program_fails(capsys):
    Path("later.py").write_text(f"{PROGRAM}def loss():\n    return missing\n")
    Path("early.py").write_text(f"{PROGRAM}loss = missing\n")
    Path("typo.py").write_text(f"{PROGRAM}loss = (\n")
    Path("end.py").write_text("raise SystemExit")
    for name, message in (
        ("later.py", "later.py, line 6: NameError: name 'missing' is not defined"),
        ("early.py", "early.py, line 5: NameError: name 'missing' is not defined"),
        ("typo.py", "typo.py, line 5: SyntaxError: '(' was never closed"),
        ("end.py", "end.py ended itself before it had a loss"),
    ):
        assert main(["explore", name]) == 1
        assert capsys.readouterr().err.startswith(f"tinyfractal: explore: {message}")
    assert not list(Path().glob("*.html"))


def test_explore_says_what_is_wrong(capsys):
    Path("empty.py").write_text("x = 1\n")
    Path("trained.py").write_text(f"{PROGRAM}y.backward()\nloss = y\n")
    Path("explore-neuron.html").write_text("mine")
    for words, message in (
        (["empty.py"], "empty.py should leave its loss in a variable `loss`"),
        (["nowhere.py"], "there is no file nowhere.py"),
        (["trained.py"], "was freed by its backward()"),
        (["neuron"], "explore-neuron.html is there already"),
        (["neuron", "--out", "page.pdf"], "should end in .html"),
        (["block", "--columns", "9"], "--columns"),
        (["network", "--columns", "8", "--channels", "64"], "too many for a page"),
        (["neuron", "--columns", "2"], "--columns has no meaning for neuron"),
        (["block", "--images", "2"], "--images has no meaning for block"),
        (["block", "--channels", "2,4"], "one number of channels"),
        (["block", "--live", "--out", "x.html"], "--live writes no file"),
        (["tree"], "expected neuron, perceptron, block, network or a file that ends in .py"),
    ):
        try:
            status = main(["explore", *words])
        except SystemExit as end:
            status = end.code
        assert status != 0
        assert message in capsys.readouterr().err
    assert Path("explore-neuron.html").read_text() == "mine"


def test_gradcheck_forgets_no_function_and_no_layer(capsys):
    *lines, last = run(capsys, "gradcheck")
    names = [line.split()[0] for line in lines]
    assert all(re.match(r"\S+ +ok  largest difference +\d", line) for line in lines)
    assert last == f"{len(lines)} gradients agree with finite differences"
    assert {name for name in names if "." not in name} == set(ops.__all__)
    abstract = {"Activation", "Buffer", "Module"}
    abstract |= {"ModuleDict", "ModuleList", "Parameter", "ParameterList"}
    layers = [getattr(nn, name) for name in nn.__all__ if name not in abstract]
    layers = [layer.__name__ for layer in layers if isinstance(layer, type)]
    others = ["FractalBlock", "FractalNet", "RecursiveBlock", "PlainNet", "ResNet"]
    assert {n.removeprefix("nn.") for n in names if "." in n} == {*layers, *others}


def test_gradcheck_finds_a_wrong_gradient(monkeypatch, capsys):
    tanh = ops.tanh

    def wrong(x):
        return tanh(x) + (x * x * x - (x * x * x).detach()) * 0.01

    monkeypatch.setattr(ops, "tanh", wrong)
    assert main(["gradcheck"]) == 1
    assert capsys.readouterr().err.startswith("tinyfractal: ")
    with pytest.raises(GradientError):
        main(["gradcheck", "--debug"])


def test_info_prints_the_facts(capsys):
    facts = dict(line.split(maxsplit=1) for line in run(capsys, "info", "--backend", "numpy"))
    assert facts["tinyfractal"] == tinyfractal.__version__
    assert facts["numpy"] == np.__version__
    assert facts["backend"] == backend.current() == "numpy"
    assert {"python", "blas", "threads", "device", "cupy", "matplotlib", "tqdm", "pillow"} <= set(
        facts
    )


def test_info_of_a_numpy_that_says_nothing_of_itself(capsys, monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    facts = dict(line.split(maxsplit=1) for line in run(capsys, "info", "--backend", "numpy"))
    assert facts["blas"] == "unknown"


# ----- As a program -----


@needs_shell
def test_the_program_runs_and_its_status_is_that_of_the_command(tmp_path):
    code, out, err = shell("$TF --version", tmp_path)
    assert (code, out, err) == (0, f"tinyfractal {tinyfractal.__version__}\n", "")
    code, out, err = shell("$TF evaluate none", tmp_path)
    assert (code, out) == (1, "")
    assert err == "tinyfractal: none: there is no such checkpoint\n"


def test_help_names_every_command_and_every_command_has_help(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s+[A-Z]\w+ ", text, re.MULTILINE), command
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: tinyfractal {command}")


@needs_shell
@pytest.mark.parametrize("command", ["recurse", "gradcheck", "train --help"])
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path, command):
    code, out, err = shell(f"set -o pipefail; $TF {command} | head -1", tmp_path)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1


@needs_shell
def test_a_reader_that_left_at_once_is_no_error(tmp_path):
    code, _, err = shell("($TF recurse; echo $? >&2) | true", tmp_path)
    assert (code, err) == (0, "0\n")


# ----- In the real world -----


@needs_shell
@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_what_an_encoding_lacks_is_replaced(tmp_path, encoding):
    folder = "runs of Käthe ✓"
    options = "--epochs 1 --columns 1 --channels 2 --drop-path 0 --quiet"
    command = f"export PYTHONIOENCODING={encoding}; $TF train {options} --out '{folder}'"
    shown = subprocess.run(
        ["bash", "-c", f"{command} && $TF predict '{folder}' test:0"],
        cwd=tmp_path, capture_output=True, timeout=120,
        env={
            **os.environ, "TF": f"{sys.executable} -m tinyfractal", "PYTHONPATH": str(ROOT),
            "TINYFRACTAL_BACKEND": "numpy",
        },
    )  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, b"")
    text = shown.stdout.decode(encoding)
    assert "8x8x1" in text
    assert re.search(r"truth \d (right|wrong)\n", text)


@needs_shell
@pytest.mark.parametrize(
    ("command", "status", "closed"),
    [
        ("recurse", 0, ">&-"),
        ("recurse", 0, ">&- 2>&-"),
        ("evaluate none", 1, "2>&-"),
        ("evaluate none", 1, ">&- 2>&-"),
        ("nosuch", 2, "2>&-"),
        ("--help", 0, ">&-"),
    ],
)
def test_streams_that_are_closed_change_no_exit_status(tmp_path, command, status, closed):
    code, _, err = shell(f"$TF {command} {closed}", tmp_path)
    assert code == status
    assert "Traceback" not in err
    assert "Exception" not in err


@needs_shell
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_said(tmp_path):
    code, _, err = shell("$TF recurse >/dev/full", tmp_path)
    assert code == 1
    assert err.startswith("tinyfractal: ")
    assert len(err.splitlines()) == 1
    assert shell("$TF evaluate none 2>/dev/full", tmp_path)[0] == 1


def interrupted(sent, path):
    """(exit status, stderr) of a program that gets a signal, as from a terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyfractal", "gradcheck"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={
            **os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))),
            "TINYFRACTAL_BACKEND": "numpy",
        },
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    if sent is not None:
        process.stdout.readline()  # now it is at work
        process.send_signal(sent)
    _, err = process.communicate(timeout=120)
    return process.returncode, err.decode()


@needs_shell
def test_ctrl_c_and_sigterm_end_in_one_line():
    assert interrupted(signal.SIGINT, ()) == (130, "tinyfractal: stopped\n")
    assert interrupted(signal.SIGTERM, ()) == (143, "tinyfractal: stopped\n")


@needs_shell
def test_ctrl_c_while_numpy_is_loaded_shows_no_traceback(tmp_path):
    press = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "numpy.py").write_text(press)
    assert interrupted(None, (tmp_path,)) == (-signal.SIGINT, "")  # 130 to a shell


def test_signals_are_put_back(capsys):
    before = {sent: signal.getsignal(sent) for sent in (signal.SIGINT, signal.SIGTERM)}
    run(capsys, "recurse")
    assert {sent: signal.getsignal(sent) for sent in before} == before


def test_a_command_may_run_in_a_thread(capsys):
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(main(["recurse"])))
    thread.start()
    thread.join()
    assert statuses == [0]
