"""The tracer behind `tinyfractal.explore`: what it says of a run is what the run did.

The page itself is tested in a browser, in `tests/browser`.
"""

import base64
import contextlib
import functools
import gzip
import html
import http.client
import json
import queue
import re
import socket
import threading
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import backend
from tinyfractal.cli.profile import watched
from tinyfractal.draw.layout import alive_paths
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.engine.primitive import Primitive, primitive
from tinyfractal.errors import GraphError, OutOfRangeError, ShapeError
from tinyfractal.explore import examples, explored, explored_while, names_in_closure, watch
from tinyfractal.explore.lines import Lines, shown_name
from tinyfractal.explore.live import Live, serve
from tinyfractal.explore.rules import row
from tinyfractal.explore.words import WORDS


def run_of(what, choice=0):
    return tf.explore(what).trace["runs"][choice]


def by_name(run):
    return {node["name"]: node for node in run["nodes"]}


def rows(sample):
    return np.array(sample["rows"], float)


@pytest.fixture(scope="module")
def block():
    tf.seed(0)
    return tf.explore(examples.block(), "A block").trace


# ----- What it says is true -----


def test_a_neuron_has_the_numbers_of_the_calculus_book():
    nodes = by_name(run_of(examples.neuron()))
    y = np.tanh(0.5 * 2.0 - 0.3)
    slope = 1 - y * y
    expected = {"w": (0.5, 2 * slope), "x": (2.0, 0.5 * slope), "b": (-0.3, slope)}
    expected |= {"mul": (1.0, slope), "add": (0.7, slope), "tanh": (y, 1.0)}
    for name, (value, gradient) in expected.items():
        assert rows(nodes[name]["value"]) == pytest.approx(np.array([[value]]), rel=1e-5)
        assert rows(nodes[name]["grad"]) == pytest.approx(np.array([[gradient]]), rel=1e-5)
    to_w, to_x = nodes["mul"]["parts"]
    assert (rows(to_w).item(), rows(to_x).item()) == pytest.approx((2 * slope, 0.5 * slope))


def test_gradients_add_up_where_paths_meet(block):
    for run in block["runs"]:
        parts = {}
        for node in run["nodes"]:
            for source, part in zip(node["inputs"], node["parts"]):
                if part is not None:
                    parts.setdefault(source, []).append(rows(part))
        assert max(map(len, parts.values())) > 1 or run["name"].startswith("column")
        for node in run["nodes"]:
            if node["id"] in parts:
                total = np.sum(parts[node["id"]], axis=0)
                assert rows(node["grad"]) == pytest.approx(total, abs=1e-4)


def test_leaves_have_the_gradients_of_an_ordinary_backward():
    tf.seed(3)
    net = tf.nn.Sequential(tf.nn.Linear(3, 2), tf.nn.Tanh(), tf.nn.Linear(2, 1))
    x = tf.Tensor(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))
    nodes = by_name(run_of(lambda: tf.mean(net(x) ** 2)))
    tf.mean(net(x) ** 2).backward()
    for name, weight in net.named_parameters():
        exact = np.atleast_2d(backend.asnumpy(weight.grad.data))
        assert rows(nodes[name]["grad"]) == pytest.approx(exact, rel=1e-4, abs=1e-7)
    assert nodes["x"]["kind"] == "constant"
    assert nodes["x"]["grad"] is None


def test_backward_visits_each_step_after_all_that_use_it(block):
    for run in block["runs"]:
        place = {key: i for i, key in enumerate(run["visits"])}
        steps = [node for node in run["nodes"] if node["kind"] == "step"]
        assert sorted(place) == sorted(node["id"] for node in steps)
        assert run["visits"][0] == run["output"]
        for node in steps:
            assert all(
                place[source] > place[node["id"]] for source in node["inputs"] if source in place
            )


def test_nodes_come_after_their_inputs_and_numbers_are_theirs(block):
    for run in block["runs"]:
        known = set()
        for node in run["nodes"]:
            if node["kind"] != "ghost":
                assert {source for source in node["inputs"] if source} <= known
                known.add(node["id"])
                assert node["value"]["shape"] == node["shape"]


def test_looking_changes_nothing():
    tf.seed(1)
    net = tf.FractalNet(1, 3, 2, (2, 2))
    net.train()
    x = tf.Tensor(np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32"))
    before = {name: weight.data.copy() for name, weight in net.named_parameters()}
    buffers = [buffer.data.copy() for buffer in net.buffers()]
    state = backend.random_state()
    tf.explore(lambda: tf.mean(net(x) ** 2))
    assert backend.random_state() == state
    for name, weight in net.named_parameters():
        assert weight.grad is None
        assert (weight.data == before[name]).all()
    assert all((now.data == then).all() for now, then in zip(net.buffers(), buffers))


def test_statistics_of_a_layer_that_its_module_does_not_list_stay():
    norm = tf.nn.BatchNorm2d(2)

    class Net(tf.nn.Module):
        def __init__(self):
            self.layer, self.after = tf.nn.Linear(2, 2), lambda x: norm(x)

        def forward(self, x):
            return self.after(self.layer(x))

    net, x = Net(), tf.Tensor([[1.0, 2.0], [3.0, 5.0]])
    tf.explore(lambda: tf.mean(net(x) ** 2))
    assert backend.asnumpy(norm.running_mean.data).tolist() == [0.0, 0.0]
    assert backend.asnumpy(norm.running_var.data).tolist() == [1.0, 1.0]


def test_a_recorded_loss_can_still_go_backward():
    x = tf.Tensor([1.0, 2.0], requires_grad=True)
    loss = tf.sum(x * x)
    tf.explore(loss)
    assert x.grad is None
    loss.backward()
    assert backend.asnumpy(x.grad.data).tolist() == [2.0, 4.0]


def test_of_a_recorded_tensor_only_what_was_kept_is_known():
    x = tf.Tensor([[1.0, 2.0]], requires_grad=True)
    w = tf.Tensor([[1.0], [3.0]], requires_grad=True)
    nodes = by_name(run_of(tf.sum(tf.exp(x @ w + 1.0))))
    assert rows(nodes["matmul"]["value"]) == 7.0  # follows from the leaves
    assert nodes["add"]["value"] is None  # the 1 was not kept: the rule of add asks for nothing
    assert rows(nodes["exp"]["value"]) == pytest.approx(np.exp(8.0), rel=1e-5)
    assert rows(nodes["w"]["grad"]) == pytest.approx(
        np.exp(8.0) * np.array([[1.0, 2.0]]).T, rel=1e-5
    )


def test_a_gradient_inside_the_function_is_a_step_like_others():
    x = tf.Tensor(2.0, requires_grad=True)

    def penalty():
        (slope,) = tf.grad(x * x * x, [x], create_graph=True)
        return slope * slope  # 9 x⁴, whose own slope is 36 x³

    run = run_of(penalty)
    assert rows(by_name(run)["x"]["grad"]) == 36 * 8
    place = {key: i for i, key in enumerate(run["visits"])}
    for node in run["nodes"]:
        assert all(
            place[source] > place[node["id"]] for source in node["inputs"] if source in place
        )


def test_a_backward_of_something_else_is_not_shown():
    x = tf.Tensor(2.0, requires_grad=True)

    def loss():
        tf.grad(tf.exp(x), [x])
        return x * x

    run = run_of(loss)
    assert len(run["visits"]) == 1
    assert rows(by_name(run)["mul"]["grad"]) == 1.0


def test_after_a_training_the_weights_are_those_of_the_loss():
    w = tf.Tensor(3.0, requires_grad=True)
    optimizer = tf.optim.SGD([w], lr=0.25, momentum=0.0)

    def program():
        for _ in range(2):
            optimizer.zero_grad()
            (w * w).backward()
            optimizer.step()
        return w * w

    nodes = by_name(explored_while(program).trace["runs"][0])
    assert rows(nodes["w"]["value"]) == 0.75
    assert rows(nodes["mul"]["value"]) == 0.75**2


def test_a_long_training_before_the_loss_is_forgotten(monkeypatch):
    monkeypatch.setattr(watch, "MOST_STEPS", 50)
    monkeypatch.setattr(watch, "TIDY", 10)
    w = tf.Tensor(3.0, requires_grad=True)

    def program():
        for _ in range(100):
            (w * w).backward()
        return w * w * w

    assert len(explored_while(program).trace["runs"][0]["visits"]) == 2


def test_a_primitive_that_is_made_meanwhile_is_seen():
    x = tf.Tensor(3.0, requires_grad=True)

    def program():
        @primitive(lambda g, _y, x: g * 2 * x)
        def squared(x):
            return x * x

        return squared(x) + 1.0

    try:
        node = by_name(explored_while(program).trace["runs"][0])["squared"]
    finally:
        del PRIMITIVES["squared"]
    assert rows(node["value"]) == 9.0
    assert rows(node["parts"][0]) == 6.0


def test_other_threads_are_not_watched():
    over, x = threading.Event(), tf.Tensor([1.0, 2.0], requires_grad=True)

    def train():
        while not over.is_set():
            tf.sum(tf.exp(x * 0.5)).backward()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        w = tf.Tensor(1.0, requires_grad=True)
        for _ in range(5):
            assert len(run_of(lambda: w * w * w)["visits"]) == 2
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_of_a_recorded_block_all_gradients_are_known(columns):
    block = tf.FractalBlock(columns, 1, 2)
    x = tf.Tensor(np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32"), True)
    run = run_of(tf.mean(block(x) ** 2))
    tf.mean(block(x) ** 2).backward()
    weights = [node for node in run["nodes"] if node["is_parameter"]]
    exact = [weight.grad.data for weight in block.parameters()]
    shown = sorted((node["grad"]["min"], node["grad"]["max"]) for node in weights)
    expected = sorted((float(g.min()), float(g.max())) for g in exact)
    assert np.array(shown) == pytest.approx(np.array(expected), rel=1e-3, abs=1e-6)
    parts = {}
    for node in run["nodes"]:
        for source, part in zip(node["inputs"], node["parts"]):
            parts[source] = parts.get(source, 0) + rows(part) if part else parts.get(source, 0)
    for node in run["nodes"]:
        if node["kind"] == "step" and node["id"] in parts:
            assert rows(node["grad"]) == pytest.approx(parts[node["id"]], abs=1e-5)


# ----- Names, lines, modules -----


def test_a_step_knows_the_line_that_made_it():
    w = tf.Tensor(2.0, requires_grad=True)
    trace = tf.explore(lambda: tf.exp(w * 3.0)).trace
    nodes = by_name(trace["runs"][0])
    source = trace["sources"][nodes["mul"]["stack"][0]]
    assert source["file"].endswith("test_explore.py")
    assert not source["file"].startswith("/")
    assert "tf.exp(w * 3.0)" in source["code"]
    assert nodes["w"]["name"] == "w"


def test_layers_and_weights_in_a_list_are_told_apart():
    layers = [tf.nn.Linear(2, 2), tf.nn.Linear(2, 2)]
    scales = {"in": tf.Tensor(2.0, requires_grad=True)}

    def loss():
        h = tf.Tensor([[1.0, 2.0]]) * scales["in"]
        for layer in layers:
            h = tf.tanh(layer(h))
        return tf.sum(h)

    weights = [node["name"] for node in run_of(loss)["nodes"] if node["kind"] == "leaf"]
    assert weights == [
        "scales['in']", *(f"layers[{i}].{name}" for i in (0, 1) for name in ("weight", "bias"))
    ]  # fmt: skip
    nameless = iter(layers)
    layers = Layers(nameless)
    weights = [node["name"] for node in run_of(loss)["nodes"] if node["is_parameter"]]
    assert weights == ["Linear.weight", "Linear.bias", "Linear (2).weight", "Linear (2).bias"]


class Layers:
    """Layers that no variable holds."""

    def __init__(self, layers):
        self.inside = list(layers)

    def __iter__(self):
        return iter(self.inside)


def test_names_are_found_in_whatever_can_be_called():
    scale = tf.Tensor(2.0, requires_grad=True)

    class Loss:
        def __call__(self):
            return scale * 3.0

        def method(self):
            return scale * 3.0

    def loss(factor):
        return scale * factor

    for what in (Loss(), Loss().method, functools.partial(loss, 3.0)):
        assert names_in_closure(what) == {id(scale): "scale"}
    assert names_in_closure(print) == {}


def test_names_are_looked_for_with_care():
    class Proxy:
        @property
        def __class__(self):
            raise RuntimeError("stands for nothing yet")

    proxy, w = Proxy(), tf.Tensor(1.0, requires_grad=True)
    run_of(lambda: w * 2.0 if proxy else later)
    later = None


def test_lines_of_the_library_are_named_as_in_the_repository(block):
    files = {source["file"] for source in block["sources"]}
    assert {"tinyfractal/fractal.py", "tinyfractal/ops/conv.py"} <= files
    assert not any(name.startswith(("/", "..")) for name in files)
    assert not any("/engine/" in name or "/fast/" in name for name in files)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/tmp/ipykernel_12/345.py", "a cell of the notebook"),
        ("<ipython-input-3-0123>", "a cell of the notebook"),
        ("<stdin>", "<stdin>"),
        (str(Path.cwd() / "ipython" / "mine.py"), "ipython/mine.py"),
        (str(Path.cwd().parent / "mine.py"), "mine.py"),
    ],
)
def test_files_are_named_as_a_reader_knows_them(file, name):
    assert shown_name(file) == name


def test_a_layer_that_is_applied_twice_is_two_groups():
    layer = tf.nn.Sequential(tf.nn.Linear(2, 2), tf.nn.Tanh())
    net = tf.RecursiveBlock(layer, 3)
    run = run_of(lambda: tf.sum(net(tf.Tensor([[1.0, 2.0]]))))
    steps = [node for node in run["nodes"] if node["name"] == "tanh"]
    assert [node["group"] for node in steps] == [["layer"], ["layer ×2"], ["layer ×3"]]
    weights = [node for node in run["nodes"] if node["is_parameter"]]
    assert [node["name"] for node in weights] == ["layer.0.weight", "layer.0.bias"]
    assert all(node["group"] == [] for node in weights)  # all three use them


def test_under_reference_the_small_steps_lie_in_their_functions():
    with tf.reference():
        nodes = run_of(examples.block(1)["everything"])["nodes"]
    groups = {tuple(node["group"]) for node in nodes}
    assert any("conv2d()" in group for group in groups)
    assert any("batch_norm()" in group for group in groups)
    assert "conv2d" not in {node["name"] for node in nodes}


def test_settings_are_shown_unless_they_are_as_usual():
    x = tf.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    picked = np.array([1, 0])
    for function, expected in (
        (lambda: tf.sum(x, axis=0), "axis = 0"),
        (lambda: tf.sum(x, axis=1), "axis = 1"),
        (lambda: tf.sum(x, axis=1, keepdims=True), "axis = 1, keepdims = True"),
        (lambda: tf.softmax(x), ""),
        (lambda: tf.expand_dims(x, 1), "axis = 1"),
        (lambda: tf.concatenate([x, x], axis=1), "axis = 1"),
        (lambda: tf.var(x, ddof=1), "ddof = 1"),
        (lambda: x[1], "index = 1"),
        (lambda: x[picked, 1], "index = ('array of shape (2,)', 1)"),
        (lambda: tf.clip(x, 0.0, 1.0), "min = 0, max = 1"),
    ):
        step = next(n for n in run_of(lambda f=function: tf.sum(f()))["nodes"] if n["inputs"])
        assert step["settings"] == expected


def test_settings_of_the_large_functions():
    image = tf.Tensor(np.ones((1, 4, 4, 1), np.float32), requires_grad=True)
    kernel = tf.Tensor(np.ones((3, 3, 1, 1), np.float32), requires_grad=True)
    logits = tf.Tensor(np.ones((2, 3)), requires_grad=True)
    run = run_of(lambda: tf.sum(tf.conv2d(image, kernel)) ** 2)
    assert by_name(run)["conv2d"]["settings"] == ""
    run = run_of(lambda: tf.sum(tf.conv2d(image, kernel, padding=1, stride=2)) ** 2)
    assert by_name(run)["conv2d"]["settings"] == "border = ((1, 1), (1, 1)), stride = (2, 2)"
    run = run_of(lambda: tf.cross_entropy(logits, np.array([0, 2]), weight=np.array([1.0, 2, 3])))
    assert "weighted" in by_name(run)["cross_entropy"]["backward"]
    run = run_of(lambda: tf.cross_entropy(logits, np.array([0, 2]), ignore_index=0))
    assert "weighted" in by_name(run)["cross_entropy"]["backward"]
    assert by_name(run)["cross_entropy"]["settings"] == "ignored = 0"
    run = run_of(lambda: tf.cross_entropy(logits, np.array([0, 2])))
    assert "weighted" not in by_name(run)["cross_entropy"]["backward"]
    assert by_name(run)["cross_entropy"]["settings"] == ""
    run = run_of(lambda: tf.cross_entropy(logits, np.array([0, 2]), reduction="sum"))
    assert "divided" not in by_name(run)["cross_entropy"]["backward"]


def test_batch_norm_outside_of_training_uses_the_running_statistics():
    norm, x = tf.nn.BatchNorm2d(2), tf.Tensor([[1.0, 2.0], [3.0, 5.0]])
    for mode, word in ((norm.train, "over the batch"), (norm.eval, "the running mean")):
        mode()
        assert word in by_name(run_of(lambda: tf.sum(norm(x))))["batch_norm"]["forward"]


# ----- Fractal blocks -----


def test_columns_are_lanes(block):
    run = block["runs"][0]
    lanes = [node["lane"] for node in run["nodes"] if node["name"] == "conv2d"]
    assert sorted(lanes) == [0, 1, 1, 2, 2, 2, 2]


def test_ghosts_are_what_drop_path_left_out():
    net = tf.FractalNet(columns=4, channels=(1,))
    block = tf.FractalBlock(4, 1, 1)
    x = tf.Tensor(np.random.default_rng(0).normal(size=(2, 3, 3, 1)).astype("float32"))
    for keep in (net.keep_column(0), net.keep_column(2), tf.fractal.keep_all, local_draw(net)):
        alive = alive_paths(4, keep)
        run = run_of(lambda keep=keep: tf.sum(block(x, keep) ** 2))
        ghosts = [node for node in run["nodes"] if node["kind"] == "ghost"]
        assert len(ghosts) == 15 - len(alive.convs)
        ids = {node["id"] for node in run["nodes"]}
        assert len(ids) == len(run["nodes"])
        for ghost in ghosts:
            assert set(ghost["inputs"]) | set(ghost["into"]) <= ids
            assert ghost["inputs"]
            assert ghost["value"] is None
            assert ghost["grad"] is None
        ends = [ghost for ghost in ghosts if ghost["into"]]
        assert ends or not ghosts


def test_under_reference_ghosts_read_what_the_block_reads():
    net, block = tf.FractalNet(columns=2, channels=(1,)), tf.FractalBlock(2, 1, 1)
    image = tf.Tensor(np.arange(18.0, dtype=np.float32).reshape(2, 3, 3, 1), True)
    with tf.reference():
        nodes = run_of(lambda: tf.sum(block(image, net.keep_column(0)) ** 2))["nodes"]
    names = {node["id"]: node["name"] for node in nodes}
    ghosts = [node for node in nodes if node["kind"] == "ghost"]
    assert [names.get(ghost["inputs"][0], "a ghost") for ghost in ghosts] == ["image", "conv"]


def test_frozen_convolutions_are_no_ghosts():
    net, block = tf.FractalNet(columns=3, channels=(1,)), tf.FractalBlock(3, 1, 1)
    image = tf.Tensor(np.arange(18.0, dtype=np.float32).reshape(2, 3, 3, 1))
    for frozen in (block.conv, block.first):
        for weight in frozen.parameters():
            weight.requires_grad = False
        for keep, dropped in ((tf.fractal.keep_all, 0), (net.keep_column(2), 3)):
            nodes = run_of(lambda keep=keep: tf.sum(block(image, keep) ** 2))["nodes"]
            assert sum(node["kind"] == "ghost" for node in nodes) == dropped


def test_a_block_under_two_names_has_its_ghosts_once():
    class Net(tf.nn.Module):
        def __init__(self):
            self.block = tf.FractalBlock(2, 1, 1)
            self.blocks = tf.nn.ModuleList([self.block])

        def forward(self, x, keep):
            return self.block(x, keep)

    net, keep = Net(), tf.FractalNet(columns=2, channels=(1,)).keep_column(0)
    x = tf.Tensor(np.arange(18.0, dtype=np.float32).reshape(2, 3, 3, 1))
    nodes = run_of(lambda: tf.sum(net(x, keep)) + tf.sum(net.block.conv(x)))["nodes"]
    assert len({node["id"] for node in nodes}) == len(nodes)
    assert sum(node["kind"] == "ghost" for node in nodes) == 2


def local_draw(net):
    """Local drop-path that answers the same when it is asked again."""
    tf.seed(1)
    answers = {k: net.keep_local()(k) for k in (4, 3, 2, 1)}
    answers[3][:] = [True, False, True]
    return answers.__getitem__


def test_the_join_says_how_many_live(block):
    final = [node for node in block["runs"][0]["nodes"] if node["name"] == "join"][-1]
    assert final["backward"] == "join: each of the 3 living branches gets g / 3."
    for part in final["parts"]:
        assert rows(part) == pytest.approx(rows(final["grad"]) / 3, abs=1e-6)


# ----- Other numbers -----


def test_nudges_are_measured(block):
    run = block["runs"][0]
    nodes = {node["id"]: node for node in run["nodes"]}
    assert len(run["nudges"]) > 50
    changes, promised = [], []
    for nudge in run["nudges"]:
        i, j = nudge["cell"]
        changes.append(nudge["after"] - nudge["before"])
        promised.append(nodes[nudge["leaf"]]["grad"]["rows"][i][j] * nudge["by"])
    assert np.corrcoef(changes, promised)[0, 1] > 0.99


def test_dragging_shows_what_a_run_with_that_number_gives():
    tf.seed(0)
    f = examples.perceptron()
    run = run_of(f)
    leaves = {node["id"]: node["name"] for node in run["nodes"]}
    variables = dict(zip(f.__code__.co_freevars, (cell.cell_contents for cell in f.__closure__)))
    assert run["handles"]
    for handle in run["handles"]:
        leaf, index = variables[leaves[handle["leaf"]]], tuple(handle["index"])
        before = float(leaf.data[index])
        assert handle["values"][handle["at"]] == pytest.approx(before, rel=1e-5)
        for value, step in zip(handle["values"], handle["steps"]):
            leaf.data[index] = value
            loss = f()
            (gradient,) = tf.grad(loss, [leaf])
            assert step["loss"] == pytest.approx(float(loss), rel=1e-5)
            assert step["slope"] == pytest.approx(float(gradient.data[index]), rel=1e-3, abs=1e-6)
        leaf.data[index] = before


def test_dragging_moves_the_gradient_of_each_step():
    run = run_of(examples.neuron())
    nodes = by_name(run)
    handle = next(one for one in run["handles"] if one["label"] == "w")
    for value, step in zip(handle["values"], handle["steps"]):
        if step is not handle["steps"][handle["at"]]:
            slope = 1 - np.tanh(value * 2.0 - 0.3) ** 2
            for name in ("mul", "add"):
                assert step["grad"][nodes[name]["id"]][0] == pytest.approx([slope], rel=1e-3)


@pytest.mark.parametrize("guard", [contextlib.nullcontext, tf.detect_anomaly])
def test_dragging_may_leave_what_the_function_can_do(guard):
    w = tf.Tensor([0.1, 3.0], requires_grad=True)
    with guard(), warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        page = tf.explore(lambda: tf.sum(tf.log(w)))
    json.loads(json.dumps(page.trace, allow_nan=False))
    run = page.trace["runs"][0]
    assert len(run["nudges"]) == 2
    assert backend.asnumpy(w.data).tolist() == [np.float32(0.1), 3.0]
    losses = [[step["loss"] for step in handle["steps"]] for handle in run["handles"]]
    if guard is contextlib.nullcontext:  # 0.1 ± 0.5: log says NaN for the first three
        assert losses[0][:4] == ["nan"] * 4
        assert np.isfinite(losses[0][4:]).all()


def test_a_function_that_fails_the_second_time_is_shown_all_the_same():
    batches, w = iter([tf.Tensor(2.0)]), tf.Tensor(3.0, requires_grad=True)
    run = run_of(lambda: w * next(batches))
    assert rows(by_name(run)["w"]["grad"]) == 2.0
    assert run["nudges"] == run["handles"] == []


def test_an_infinite_weight_is_not_moved():
    w = tf.Tensor([np.inf, 1.0], requires_grad=True)
    page = tf.explore(lambda: tf.sum(tf.tanh(w)))
    json.loads(json.dumps(page.trace, allow_nan=False))
    assert [nudge["index"] for nudge in page.trace["runs"][0]["nudges"]] == [[1]]


def test_a_slow_function_is_not_run_hundreds_of_times():
    w, times = tf.Tensor(np.ones(50, np.float32), requires_grad=True), []

    def slow():
        times.append(time.sleep(0.05))
        return tf.sum(w * w)

    explored(slow, Lines(), {}, seconds=0.2)
    assert 3 <= len(times) < 10


def test_an_interrupted_nudge_is_taken_back():
    w, times = tf.Tensor([1.0, 2.0], requires_grad=True), []

    def interrupted():
        times.append(backend.asnumpy(w.data).tolist())
        if times[-1] != [1.0, 2.0]:
            raise KeyboardInterrupt
        return tf.sum(w * w)

    with pytest.raises(KeyboardInterrupt):
        tf.explore(interrupted)
    assert backend.asnumpy(w.data).tolist() == [1.0, 2.0]


def test_what_draws_its_own_numbers_is_not_run_again():
    chance = np.random.default_rng()
    w = tf.Tensor(1.0, requires_grad=True)
    run = run_of(lambda: w * float(chance.normal()))
    assert run["nudges"] == []
    assert run["handles"] == []


def test_what_the_library_draws_is_drawn_again():
    w = tf.Tensor(np.ones(50, np.float32), requires_grad=True)
    assert run_of(lambda: tf.sum(tf.dropout(w, 0.5)))["nudges"]


# ----- Chapter 2's numbers -----


class Value:
    def __init__(self, data, parents=(), slopes=(), how=""):
        self.data, self.parents, self.slopes, self.how = data, parents, slopes, how
        self.grad = 0.0


def test_the_scalars_of_chapter_2_make_the_same_page():
    a, b = Value(3.0, how="a"), Value(-2.0, how="b")
    product = Value(-6.0, (a, b), (-2.0, 3.0), "×")
    y = Value(-12.0, (product, product), (1.0, 1.0), "+")
    run = run_of(y)
    nodes = by_name(run)
    assert {name: rows(node["grad"]).item() for name, node in nodes.items()} == {
        "a": -4.0, "b": 6.0, "×": 2.0, "+": 1.0,
    }  # fmt: skip
    assert [list(rows(part).flat) for part in nodes["×"]["parts"]] == [[-4.0], [6.0]]
    assert run["visits"] == [nodes["+"]["id"], nodes["×"]["id"]]
    assert a.grad == 0.0


# ----- Words and rules -----


def test_every_primitive_has_words():
    rooms = ("tinyfractal.ops.", "tinyfractal.fast.")
    own = {name for name, p in PRIMITIVES.items() if p.__module__.startswith(rooms)}
    assert own == set(WORDS) or ("conv2d" not in own and own < set(WORDS))  # without fast/


@pytest.mark.parametrize("name", sorted(WORDS.keys() & PRIMITIVES.keys()))
def test_a_row_of_the_table_marks_the_rules(name):
    found = row(PRIMITIVES[name])
    lines = found["code"]
    assert len(lines) == len(found["numbers"])
    assert re.search(rf"def _?{name}\b", "\n".join(lines))
    source = (Path(tf.__file__).parents[1] / found["file"]).read_text("utf-8").splitlines()
    assert lines == [source[number - 1] for number in found["numbers"]]
    assert len(found["highlight"]) == len(PRIMITIVES[name].rules)
    for place in found["highlight"]:
        marked = "\n".join(lines[number] for number in place)
        assert re.search(r"\bg\b", marked), marked


def test_a_quick_primitive_shows_the_definition_it_stands_for():
    for name, one in PRIMITIVES.items():
        definition = row(one)["definition"]
        if one.__module__.startswith("tinyfractal.fast.") and name != "output_of":
            assert definition["file"].startswith("tinyfractal/ops/")
            assert definition["code"][0] == "@definition"
            assert len(definition["code"]) == len(definition["numbers"])
        else:
            assert definition is None


def test_a_primitive_without_source_has_its_formula_only():
    scope = {"primitive": primitive}
    exec("@primitive(lambda g: 3.0 * g)\ndef tripled(x):\n    return 3.0 * x", scope)
    primitive(functools.partial(lambda n, g: n * g, 4.0))(quadrupled)
    x = tf.Tensor(2.0, requires_grad=True)
    try:
        page = tf.explore(lambda: scope["tripled"](PRIMITIVES["quadrupled"](x)))
    finally:
        del PRIMITIVES["tripled"], PRIMITIVES["quadrupled"]
    assert rows(by_name(page.trace["runs"][0])["x"]["grad"]) == 12.0
    assert [rule["code"] for rule in page.trace["rules"].values()] == [[], []]


def quadrupled(x):
    return 4.0 * x


# ----- Large arrays -----


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2, 2), (0, 4, 4, 1), (2, 0, 0, 1), (1,) * 5])
def test_empty_arrays_have_no_numbers(shape):
    x = tf.Tensor(np.zeros(shape, np.float32), requires_grad=True)
    for what in (tf.sum(x), lambda: tf.sum(x)):
        value = by_name(run_of(what))["x"]["value"]
        assert np.size(rows(value)) == x.size
        assert value["shape"] == list(shape)


def test_large_arrays_are_sampled_and_that_is_said():
    x = tf.Tensor(np.arange(2 * 20 * 20 * 3, dtype=np.float32).reshape(2, 20, 20, 3), True)
    node = by_name(run_of(lambda: tf.sum(x)))["x"]
    sample = node["value"]
    assert rows(sample) == pytest.approx(backend.asnumpy(x.data)[0, ::3, ::2, 0])
    assert sample["left_out"] == "70 of 2,400 numbers shown"
    assert (sample["min"], sample["max"], sample["mean"]) == (0.0, 2399.0, 1199.5)
    assert "channel 0" in sample["index"]
    assert "sample 0" in sample["index"]


def test_a_number_among_the_arguments_has_its_name():
    x = tf.Tensor(2.0, requires_grad=True)
    nodes = by_name(run_of(lambda: (x + 3.0) ** 2))
    assert (nodes["add"]["settings"], nodes["pow"]["settings"]) == ("b = 3", "n = 2")


def test_nan_and_infinity_are_words():
    x = tf.Tensor([1.0, 0.0, -1.0], requires_grad=True)
    with np.errstate(all="ignore"):
        page = tf.explore(lambda: tf.sum(tf.log(x)))
    assert by_name(page.trace["runs"][0])["log"]["value"]["rows"] == [[0.0, "-inf", "nan"]]
    json.loads(json.dumps(page.trace, allow_nan=False))


# ----- The page -----


def test_a_page_is_one_file_that_asks_for_nothing(tmp_path, block):
    page = tf.explore(examples.block(), "A block")
    file = page.save(tmp_path / "block.html")
    text = file.read_text("utf-8")
    assert len(text.encode()) < 1_000_000
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\(", text)
    assert "{{" not in text.partition('id="trace">')[0]


def test_names_cannot_break_out_of_the_page():
    w = tf.Tensor(1.0, requires_grad=True)
    page = tf.explore({"</script><b>": lambda: w * 2.0}, title="<i>{{trace}}</i>")
    assert "</script><b>" not in page.html
    assert "<i>" not in page.html
    data = page.html.partition('id="trace">')[2].partition("</script>")[0]
    assert json.loads(data) == json.loads(json.dumps(page.trace))


def test_a_name_that_is_no_text_does_not_stop_the_page(tmp_path):
    page = tf.explore(examples.neuron(), "a\udc80b")
    assert "a?b" in page.save(tmp_path / "page.html").read_text("utf-8")


def test_a_notebook_gets_the_same_page_packed():
    page = tf.explore(examples.neuron(), "A neuron")
    inside = html.unescape(re.search(r'srcdoc="([^"]*)"', page._repr_html_())[1])
    packed = re.search(r"base64,([A-Za-z0-9+/=]+)", inside)[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == page.html


def test_a_page_is_saved_as_html_only(tmp_path):
    with pytest.raises(ValueError, match=r"save: file should end in \.html, got .*page\.pdf"):
        tf.explore(examples.neuron()).save(tmp_path / "page.pdf")


def test_explore_is_a_function_and_a_package():
    import tinyfractal.explore.document as module

    assert callable(tf.explore)
    assert isinstance(tf.explore(examples.neuron()), module.Page)
    assert "3 steps, 1 runs" in repr(tf.explore(examples.neuron()))


# ----- Mistakes -----


def test_mistakes_are_said():
    x = tf.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ShapeError, match=r"explore: needs a single number.*shape \(2,\)"):
        tf.explore(lambda: x * 2.0)
    with pytest.raises(GraphError, match="explore: nothing was recorded"):
        tf.explore(tf.sum(tf.Tensor([1.0])))
    with pytest.raises(TypeError, match=r"explore: needs a Tensor that was computed.*got float"):
        tf.explore(3.0)
    with pytest.raises(TypeError, match="got NoneType"):
        tf.explore(lambda: None)
    with pytest.raises(ValueError, match="an empty dictionary"):
        tf.explore({})
    with pytest.raises(GraphError, match="explore: this Tensor is a leaf"):
        tf.explore(tf.Tensor(2.0, requires_grad=True))
    loss = tf.sum(x * x)
    loss.backward()
    with pytest.raises(GraphError, match="explore: the graph behind this Tensor was freed"):
        tf.explore(loss)


def test_after_a_mistake_nothing_is_watched():
    with pytest.raises(ZeroDivisionError):
        tf.explore(lambda: 1 / 0)
    kinds = (Primitive, *Primitive.__subclasses__())
    assert not any("<lambda>" in str(vars(kind).get("on_tensors")) for kind in kinds)
    assert not any("<lambda>" in str(vars(kind).get("gradients")) for kind in kinds)
    tf.explore(examples.neuron())


def test_two_cannot_watch_at_once():
    with (
        watch.watching(),
        pytest.raises(RuntimeError, match="watched already"),
    ):
        tf.explore(examples.neuron())
    with watched(), pytest.raises(RuntimeError, match="watched already"):
        tf.explore(examples.neuron())


def test_endless_computations_are_refused(monkeypatch):
    monkeypatch.setattr(watch, "MOST_STEPS", 50)
    x = tf.Tensor(1.0, requires_grad=True)

    def long():
        y = x
        for _ in range(100):
            y = y * 1.01
        return y

    with pytest.raises(OutOfRangeError, match="more than 50 steps were recorded"):
        tf.explore(long)


# ----- With Python behind it -----


def test_a_typed_number_is_computed_and_what_was_moved_stays_moved():
    tf.seed(0)
    live = Live({"a": examples.neuron(), "b": examples.neuron()})
    ids = {node["name"]: node["id"] for node in live.page.trace["runs"][0]["nodes"]}
    live.drag(0, ids["w"], [], 2.0)
    nodes = by_name(live.drag(0, ids["b"], [], 1.0))
    assert rows(nodes["tanh"]["value"]).item() == pytest.approx(np.tanh(5.0), rel=1e-5)
    other = by_name(live.drag(1, ids["b"], [], 0.0))
    assert rows(other["tanh"]["value"]).item() == pytest.approx(np.tanh(1.0), rel=1e-5)
    live.restart()
    nodes = by_name(live.drag(0, ids["x"], [], 0.0))
    assert rows(nodes["tanh"]["value"]).item() == pytest.approx(np.tanh(-0.3), rel=1e-5)


def test_live_refuses_what_is_not_there():
    live = Live(examples.neuron())
    leaf = next(node["id"] for node in live.page.trace["runs"][0]["nodes"] if node["name"] == "w")
    for run, key, index in ((1, leaf, []), (0, "n99", []), (0, leaf, [0]), (-1, leaf, [])):
        with pytest.raises(OutOfRangeError, match="that can be moved"):
            live.drag(run, key, index, 1.0)
    with pytest.raises(OutOfRangeError, match="a finite number"):
        live.drag(0, leaf, [], float("nan"))


def test_a_number_with_which_the_run_fails_is_not_kept():
    w, b = (tf.Tensor(1.0, requires_grad=True) for _ in range(2))

    def loss():
        if w.item() < 0:
            raise ArithmeticError
        return w * b

    live = Live(loss)
    ids = {node["name"]: node["id"] for node in live.page.trace["runs"][0]["nodes"]}
    with pytest.raises(ArithmeticError):
        live.drag(0, ids["w"], [], -1.0)
    nodes = by_name(live.drag(0, ids["b"], [], 5.0))
    assert rows(nodes["mul"]["value"]) == 5.0


def ask(address, path="", body=None, **headers):
    """(status, text) of a request."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.request("GET" if body is None else "POST", where.path + path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_server_answers_its_page_only():
    live, address = Live(examples.neuron()), queue.Queue()
    thread = threading.Thread(target=serve, args=(live, address.put), daemon=True)
    thread.start()
    home = address.get(timeout=10)
    assert home.startswith("http://127.0.0.1:")
    assert ask(home) == (200, live.page.html)
    leaf = next(node["id"] for node in live.page.trace["runs"][0]["nodes"] if node["name"] == "w")
    question = {"run": 0, "leaf": leaf, "index": [], "value": 0.0}
    status, text = ask(home, "drag", json.dumps(question))
    assert status == 200
    nodes = by_name(json.loads(text)["run"])
    assert rows(nodes["tanh"]["value"]).item() == pytest.approx(np.tanh(-0.3), rel=1e-5)
    assert ask(home, "drag", "not json")[0] == 400
    assert ask(home, "drag", json.dumps({**question, "value": "x"}))[0] == 400
    assert ask(home, "drag", " " * 20_000)[0] == 400
    assert ask(home, "drag", "[" * 9_999)[0] == 400
    assert ask(home, "drag", json.dumps({**question, "run": float("inf")}))[0] == 400
    where = urlsplit(home)
    with socket.create_connection((where.hostname, where.port)):  # which says nothing
        assert ask(home)[0] == 200
    assert ask(home, "other")[0] == 404
    assert ask(home, Host="attacker.example")[0] == 404  # a name that was pointed at this machine
