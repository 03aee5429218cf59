"""Pictures: the geometry is the formula's, the dropped paths are the ones not computed."""

import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyfractal as tf
from tinyfractal import plot
from tinyfractal.draw.confusion import confusion_matrix, confusion_text, short_names
from tinyfractal.draw.layout import alive_paths, layout_block, layout_graph, spread
from tinyfractal.fractal import ConvUnit, FractalBlock, FractalNet


@pytest.fixture
def mpl():
    return pytest.importorskip("matplotlib")


def convs_of(block):
    return {path: module for path, module in block.named_modules() if isinstance(module, ConvUnit)}


# ----- Geometry (needs no matplotlib) -----


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_layout_is_the_formula(columns):
    layout = layout_block(columns)
    convs, joins, blocks = layout.of("conv"), layout.of("join"), layout.of("block")
    assert len(convs) == 2**columns - 1
    assert Counter(c.centre[0] for c in convs) == {c: 2**c for c in range(columns)}
    assert {conv.path for conv in convs} == set(convs_of(FractalBlock(columns, 1, 2)))
    # After the t-th conv of the deepest column, as many columns end as t has factors of 2, and one
    # more: the join there has that many branches, and the last one is the only join of them all.
    assert len(joins) == 2 ** (columns - 1)
    by_time = sorted(joins, key=lambda join: join.top)
    factors = [(t & -t).bit_length() for t in range(1, len(joins) + 1)]
    assert [join.size for join in by_time] == factors
    assert [join.path for join in by_time if join.size == columns] == [""]
    assert Counter(block.size for block in blocks) == {
        k: 2 ** (columns - k) for k in range(1, columns + 1)
    }
    assert len(layout.edges) == 2 * len(convs)


@pytest.mark.parametrize("columns", [2, 3, 4])
def test_boxes_lie_in_their_blocks_and_convs_do_not_touch(columns):
    layout = layout_block(columns)
    blocks = {box.path: box for box in layout.of("block")}
    for box in layout.boxes:
        home = blocks[box.path.rpartition(".")[0] if box.kind != "join" else box.path]
        if box.kind != "block" or box.path:
            assert home.left <= box.left < box.right <= home.right
            assert home.top <= box.top <= box.bottom <= home.bottom + 1e-9
    convs = layout.of("conv")
    for a in convs:
        for b in convs:
            apart = a.right < b.left or b.right < a.left or a.bottom < b.top or b.bottom < a.top
            assert a is b or apart


def test_layout_of_no_columns():
    for columns in (0, 9, 10**9):
        with pytest.raises(ValueError, match="columns needs a whole number from 1 to 8"):
            layout_block(columns)


def record_convs(net, x, monkeypatch, **how):
    """The paths of the ConvUnits that a run computes, block after block."""
    names = {
        id(unit): (b, path)
        for b, block in enumerate(net.blocks)
        for path, unit in convs_of(block).items()
    }
    ran, forward = [], ConvUnit.forward
    with monkeypatch.context() as patch:
        patch.setattr(
            ConvUnit, "forward", lambda self, *x: ran.append(names[id(self)]) or forward(self, *x)
        )
        net(x, **how)
    return ran


@pytest.mark.parametrize(("ratio", "per_sample"), [(0.0, False), (1.0, False), (0.5, True)])
@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_drawn_alive_is_what_training_computes(columns, ratio, per_sample, monkeypatch):
    net = FractalNet(
        columns=columns,
        channels=(2, 3),
        drop_path=0.45,
        global_ratio=ratio,
        per_sample=per_sample,
    ).train()
    x = tf.Tensor(np.random.default_rng(0).standard_normal((3, 4, 4, 1)).astype(np.float32))
    seen = set()
    for seed in range(12):
        tf.seed(seed)
        ran = record_convs(net, x, monkeypatch)
        tf.seed(seed)
        keep = net._draw(len(x))
        drawn = [(b, path) for b in range(2) for path in alive_paths(columns, keep).convs]
        assert Counter(drawn) == Counter(ran)
        seen.add(len(ran))
    assert len(seen) > 1 or columns == 1 or per_sample


def test_keep_is_asked_the_same_questions_in_the_same_order():
    net = FractalNet(columns=4, channels=(2,), drop_path=0.4)
    x = tf.Tensor(np.zeros((1, 4, 4, 1), np.float32))
    for seed in range(10):
        lists = []
        for run in (net.blocks[0], lambda _, keep: alive_paths(4, keep)):
            tf.seed(seed)
            local, asked = net.keep_local(), []
            run(x, lambda k, local=local, asked=asked: asked.append(k) or local(k))
            lists.append(asked)
        assert lists[0] == lists[1]


@pytest.mark.parametrize("column", range(4))
def test_one_column_alone(column, monkeypatch):
    net = FractalNet(columns=4, channels=(2,)).eval()
    x = tf.Tensor(np.zeros((1, 4, 4, 1), np.float32))
    ran = [path for _, path in record_convs(net, x, monkeypatch, column=column)]
    alive = alive_paths(4, net.keep_column(column))
    assert sorted(alive.convs) == sorted(ran)
    assert len(ran) == 2**column
    assert all(sum(branches) == 1 for branches in alive.joins.values())


def test_everything_is_alive_without_drop_path():
    alive = alive_paths(4)
    layout = layout_block(4)
    assert set(alive.convs) == {conv.path for conv in layout.of("conv")}
    assert {path: len(live) for path, live in alive.joins.items()} == {
        join.path: join.size for join in layout.of("join")
    }


def test_spread():
    assert spread([3.0, 1.0, 2.0], [0.5, 0.5, 0.5]) == [3.0, 1.0, 2.0]  # room enough
    assert spread([0.0, 0.0], [1.0, 1.0]) == [-0.5, 0.5]
    placed = spread(list(np.random.default_rng(0).random(30)), [0.1] * 30)
    assert min(np.diff(sorted(placed))) >= 0.1 - 1e-9
    heavy = spread([0.0, 0.0], [1.0, 1.0], [1.0, 1e-9])
    assert heavy == pytest.approx([0.0, 1.0], abs=1e-6)


# ----- The recorded graph -----


def test_graph_layers():
    x = tf.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = tf.sum(tf.exp(x) * x * x + 1.0)
    graph = layout_graph(y)
    assert sorted(node.name for node in graph.nodes) == [
        "Tensor",
        "add",
        "exp",
        "mul",
        "mul",
        "sum",
    ]
    assert {node.shape for node in graph.nodes} == {(2, 3), ()}
    assert all(
        lower > upper for line, _ in graph.edges for (_, upper), (_, lower) in pairwise(line)
    )
    assert sum(times for _, times in graph.edges) == 1 + 1 + 2 + 2 + 1  # arguments, but for 1.0
    assert [n.y for n in graph.nodes if n.name == "sum"] == [max(n.y for n in graph.nodes)]
    for a in graph.nodes:
        for b in graph.nodes:
            if a is not b and a.y == b.y:
                assert abs(a.x - b.x) >= (a.width + b.width) / 2
    ((_, twice),) = layout_graph(x * x).edges
    assert twice == 2


def test_graph_errors():
    x = tf.Tensor(np.ones(2, np.float32), requires_grad=True)
    with pytest.raises(tf.errors.GraphError, match="nothing was recorded"):
        layout_graph(x)
    y = x
    for _ in range(70):
        y = y * 2.0
    with pytest.raises(ValueError, match="71 operations and leaves are too many"):
        layout_graph(y)
    z = tf.sum(y)
    z.backward()
    with pytest.raises(tf.errors.GraphError, match="freed"):
        layout_graph(z)


# ----- Drawing -----


@pytest.mark.parametrize("columns", [1, 3])
def test_draw_block_and_network(mpl, columns):
    net = FractalNet(columns=columns, channels=(2,))
    for keep in (None, net.keep_local(), net.keep_column(columns - 1)):
        figure = plot.draw_block(columns, keep, title="a block")
        said = [text.get_text() for text in figure.axes[0].texts]
        assert said.count("conv") == 2**columns - 1
        assert any("convs computed" in text for text in said) == (keep is not None)
        figure = plot.draw_network(columns, (8, 16), keep, input_shape=(28, 30, 1), classes=7)
        said = [text.get_text() for text in figure.axes[0].texts]
        assert {"28×30×1", "28×30", "14×15", "8 channels", "16 channels", "7 classes"} <= set(said)


def test_a_keep_that_answers_something_else_is_refused(mpl):
    with pytest.raises(tf.errors.ShapeError, match=r"keep\(3\) needs to give 3 booleans"):
        plot.draw_block(3, lambda k: np.ones(2, bool))
    with pytest.raises(TypeError, match="draw_network: keep needs a function or None, got 3"):
        plot.draw_network(3, (4, 8), keep=3)


def test_draw_network_of_too_many_blocks(mpl):
    with pytest.raises(tf.errors.ShapeError, match="16×16"):
        plot.draw_network(2, (1,) * 5, input_shape=(16, 16, 3))


def no_text_overlaps(figure):
    """No two texts of a figure overlap, and none leaves it."""
    figure.canvas.draw()
    page = figure.bbox
    boxes = []
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_text():
                boxes.append(text.get_window_extent())
    for i, a in enumerate(boxes):
        assert page.x0 <= a.x0 <= a.x1 <= page.x1
        assert page.y0 <= a.y0 <= a.y1 <= page.y1
        assert not any(a.overlaps(b) for b in boxes[i + 1 :])


def epoch(n, columns):
    return {
        "epoch": n,
        "lr": 0.1 / n,
        "train_loss": 2.0 / n,
        "train_accuracy": 1 - 0.5 / n,
        "test_loss": 2.1 / n if n != 2 else float("nan"),
        "test_accuracy": 0.95 - 0.5 / n,
        "columns": [0.94 + 0.002 * c - 0.5 / n for c in range(columns)],
        "seconds": 1.0,
    }


@pytest.mark.parametrize("epochs", [1, 2, 30])
@pytest.mark.parametrize("columns", [0, 5])
def test_plot_history(mpl, tmp_path, epochs, columns):
    history = [epoch(n + 1, columns) for n in range(epochs)]
    figure = plot.plot_history(history, tmp_path / "curves.png", title="a run")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    names = [text.get_text() for text in figure.axes[1].texts]
    assert set(names) == (
        {"train", "whole net", *(f"column {c}" for c in range(columns))}
        if columns
        else {"train", "test"}
    )
    no_text_overlaps(figure)
    held_out = [{k.replace("test", "validation"): v for k, v in row.items()} for row in history]
    loss, accuracy, _ = plot.plot_history(held_out).axes
    if epochs != 2:  # where its loss is NaN
        assert "validation" in [text.get_text() for text in loss.texts]
    names = {text.get_text() for text in accuracy.texts}
    assert names >= {"train", "whole net" if columns else "validation"}
    with pytest.raises(ValueError, match="empty"):
        plot.plot_history([])
    for wrong in ({"lr": None}, {"columns": [0.5] * 9}, {"columns": 3}, {"epoch": "one"}):
        with pytest.raises(ValueError, match=r"plot_history: entry \d+ of history needs numbers"):
            plot.plot_history([history[0], {**history[0], **wrong}])


@pytest.mark.parametrize("draw", [lambda: plot.draw_block(3), plot.draw_recursion])
def test_names_do_not_overlap(mpl, draw):
    no_text_overlaps(draw())


def test_names_of_networks_do_not_overlap(mpl):
    for columns in (1, 2, 4):
        no_text_overlaps(plot.draw_network(columns, (64, 128, 512), title="a network"))


def test_plot_mistakes(mpl):
    images = np.random.default_rng(0).standard_normal((12, 5, 6, 1)).astype(np.float32)
    labels, said = np.zeros(12, int), np.arange(12) % 3
    figure = plot.plot_mistakes(images, labels, said, ["cat", "dog", "ship"])
    assert len(figure.axes[0].images) == 8
    assert figure.axes[0].texts[0].get_text() == "8 of 12 images classified wrongly"
    assert len(plot.plot_mistakes(images, labels, said, [*"abc"], limit=3).axes[0].images) == 3
    plot.plot_mistakes(np.zeros((2, 4, 4, 3), np.uint8), labels[:2], labels[:2], [*"ab"])
    with pytest.raises(tf.errors.ShapeError, match="as many labels"):
        plot.plot_mistakes(images, labels[:3], said, [*"abc"])
    with pytest.raises(tf.errors.ShapeError, match="1 or 3"):
        plot.plot_mistakes(images[..., 0], labels, said, [*"abc"])
    with pytest.raises(ValueError, match="answers must be integers from 0 to 1"):
        plot.plot_mistakes(images, labels, said, [*"ab"])


def test_the_surest_mistakes_come_first(mpl):
    images = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1) / 5
    labels, said = np.array([0, 1, 0, 1, 0, 1]), np.array([1, 0, 0, 0, 1, 1])
    sure = np.array([0.6, 0.9, 1.0, 0.7, 0.8, 1.0])
    figure = plot.plot_mistakes(images, labels, said, ["cat", "dog"], 3, probabilities=sure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "4 of 6 images classified wrongly, the 3 surest answers"
    assert texts[1:] == ["dog", "→ cat", "90 %", "cat", "→ dog", "80 %", "dog", "→ cat", "70 %"]
    shown = [float(image.get_array()[0, 0]) for image in figure.axes[0].images]
    assert shown == pytest.approx([1 / 5, 4 / 5, 3 / 5])


@pytest.mark.parametrize("names", [["cat", "dog", "$ship$"], [f"class {i}" for i in range(40)]])
def test_plot_confusion(mpl, names):
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(len(names), size=(2, 300))
    matrix = confusion_matrix(labels, answers, len(names))
    axes = plot.plot_confusion(matrix, names, "a title").axes[0]
    assert [label.get_text().replace("\\", "") for label in axes.get_yticklabels()] == names
    written = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    if len(names) == 3:
        assert {place: int(text) for place, text in written.items() if place[1] in (0, 1, 2)} == {
            (i, j): int(np.sum((labels == i) & (answers == j))) for i in range(3) for j in range(3)
        }
    else:
        assert written == {}  # too small to read
    red, _, blue = np.moveaxis(axes.images[0].get_array()[..., :3], -1, 0)
    right = np.eye(len(names), dtype=bool)
    assert (blue[right] >= red[right]).all()  # what is right is blue, what is wrong orange
    assert (blue[~right] <= red[~right]).all()
    assert (blue != red).sum() == (matrix > 0).sum()
    with pytest.raises(tf.errors.ShapeError, match="a row and a column for each"):
        plot.plot_confusion(matrix[:2], names)


def test_confusions_of_many_classes_are_listed():
    names = [f"kind {i}" for i in range(25)]
    labels = np.repeat(np.arange(25), 4)
    answers = labels.copy()
    answers[4:7], answers[40] = 2, 3  # three of kind 1, and one of kind 10
    text = confusion_text(labels, answers, names)
    assert re.search(r"kind 1 +→ kind 2 +3 of 4\nkind 10 → kind 3 +1 of 4\n\nrecall", text)
    recalls = re.findall(r"(kind \d+) +(\S+) %", text)
    assert recalls[:2] == [("kind 1", "25.0"), ("kind 10", "75.0")]
    others = set(names) - {"kind 1", "kind 10"}
    assert dict(recalls[2:]) == dict.fromkeys(others, "100.0")


def test_short_names_tell_the_classes_apart():
    assert short_names(["airplane", "automobile", "ship"]) == ["airp", "auto", "ship"]
    assert short_names(["melanoma", "melanin", "nevus"]) == ["melano", "melani", "nevus"]
    assert short_names(["a very long name", "a very long word"]) == ["0", "1"]


@given(st.data())
def test_confusion_matrix_counts_pairs(data):
    classes = data.draw(st.integers(1, 6))
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), max_size=30))
    labels, answers = (np.array([pair[k] for pair in pairs], np.int64) for k in (0, 1))
    matrix = confusion_matrix(labels, answers, classes)
    assert {(i, j): matrix[i, j] for i, j in np.argwhere(matrix)} == Counter(pairs)
    lines = confusion_text(labels, answers, [f"c{i}" for i in range(classes)]).splitlines()
    assert len(lines) == 3 + classes


def test_plot_graph(mpl):
    x = tf.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    figure = plot.plot_graph(tf.sum(x * x))
    said = [text.get_text() for text in figure.axes[0].texts]
    assert {"Tensor", "mul", "sum", "×2", "(2, 3)", "()"} == set(said)


# ----- Files -----


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_same_picture_same_bytes(mpl, tmp_path, suffix):
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    plot.save(plot.draw_block(2), one)
    mpl.rcParams["font.size"] = 30  # what the reader has set elsewhere
    try:
        plot.save(plot.draw_block(2), str(two))
        assert mpl.rcParams["font.size"] == 30
    finally:
        mpl.rcdefaults()
    assert one.read_bytes() == two.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, two]


def test_save_errors(mpl, tmp_path, monkeypatch):
    figure = plot.draw_block(1)
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf"):
        plot.save(figure, tmp_path / "block.jpeg2")
    with pytest.raises(FileNotFoundError, match="no folder"):
        plot.save(figure, tmp_path / "nowhere" / "block.png")
    (tmp_path / "old.png").write_bytes(b"old")
    monkeypatch.setattr(figure, "savefig", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plot.save(figure, tmp_path / "old.png")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("old.png", b"old")]


def test_no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'tinyfractal\[plot\]'"):
        plot.draw_block(2)


def test_pyplot_stays_out(mpl, tmp_path):
    code = (
        "from tinyfractal import plot; plot.draw_block(2); import sys; print(sorted(sys.modules))"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "'matplotlib.pyplot'" not in modules.stdout


def test_a_notebook_shows_a_picture_that_ends_a_cell(mpl):
    assert plot.draw_block(2)._repr_png_().startswith(b"\x89PNG")
