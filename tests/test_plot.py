"""Pictures: the geometry is the formula's, the dropped paths are the ones not computed."""

import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import plot
from tinyfractal.fractal import ConvUnit, FractalBlock, FractalNet
from tinyfractal.layout import alive_paths, layout_block, layout_graph, spread


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
    with pytest.raises(ValueError, match="at least 1"):
        layout_block(0)


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
        keep = net._sample(len(x))
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
    with pytest.raises(tf.tensor.GraphError, match="nothing was recorded"):
        layout_graph(x)
    y = x
    for _ in range(70):
        y = y * 2.0
    with pytest.raises(ValueError, match="71 operations and leaves are too many"):
        layout_graph(y)
    z = tf.sum(y)
    z.backward()
    with pytest.raises(tf.tensor.GraphError, match="freed"):
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
    with pytest.raises(ValueError, match="empty"):
        plot.plot_history([])


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
    assert len(plot.plot_mistakes(images, labels, said, "abc", limit=3).axes[0].images) == 3
    plot.plot_mistakes(np.zeros((2, 4, 4, 3), np.uint8), labels[:2], labels[:2], "ab")
    with pytest.raises(tf.errors.ShapeError, match="as many labels"):
        plot.plot_mistakes(images, labels[:3], said, "abc")
    with pytest.raises(tf.errors.ShapeError, match="1 or 3"):
        plot.plot_mistakes(images[..., 0], labels, said, "abc")


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
