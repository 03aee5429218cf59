"""The benchmark: every workload is there, the libraries agree, and the arithmetic is right."""

import json
import os
import sys
import time
from copy import deepcopy

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import backend
from tinyfractal.engine.definition import RULES

from .benchmarks import __main__ as benchmarks
from .benchmarks import errors, in_tinyfractal, memory, rules, scaling
from .benchmarks.libraries import PEERS, build, find
from .benchmarks.measure import Times, disagreements, distance, measure, row
from .benchmarks.workloads import MLP, NETWORKS, WORKLOADS, Chain, Layer, Network, Step

pytestmark = pytest.mark.skipif(
    backend.current() != "numpy", reason="times the CPU; GPUs have tests.gpu --only bench"
)

TINY = {
    "network": Network((4, 6), (8, 8, 3), 4, columns=3),
    "mlp": MLP((6, 5, 4), 3),
    "chain": Chain(5),
    "conv": Layer("conv", (2, 6, 6, 3)),
    "conv 1×1": Layer("conv", (2, 4, 4, 3), kernel=1),
    "conv 5×5": Layer("conv", (2, 6, 6, 3), kernel=5),
    "stride 2": Layer("conv", (2, 6, 6, 3), stride=2),
    "norm": Layer("norm", (4, 4, 4, 3)),
    "pool": Layer("pool", (2, 4, 4, 3)),
    "join": Layer("join", (2, 3, 3, 4)),
    "loss": Layer("loss", (5, 4)),
}


@pytest.fixture(autouse=True)
def _same_cores():
    """The command line keeps the process to fewer cores; the tests after this one need them."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    yield
    if cores:
        os.sched_setaffinity(0, cores)


# ----- What is timed -----


def test_every_workload_is_there():
    assert NETWORKS["W1 paper"] == Network((64, 128, 256, 512, 512), (32, 32, 3), 32, columns=3)
    assert NETWORKS["W2 small"] == Network((16, 32, 64), (32, 32, 3), 64, columns=3)
    assert NETWORKS["W3 digits"] == Network((16, 32), (8, 8, 1), 64, columns=3)
    assert WORKLOADS["W4 mlp"] == MLP((64, 32, 32, 10), 32)
    assert WORKLOADS["W4 chain"] == Chain(1000)
    layers = [spec for name, spec in WORKLOADS.items() if name.startswith("W5")]
    three = {spec.shape[:0:-2] for spec in layers if spec.kind == "conv" and spec.kernel == 3}
    assert three == {(16, 32), (64, 32), (128, 16), (256, 8), (512, 4), (512, 2)}
    convolutions = [spec for spec in layers if spec.kind == "conv"]
    assert {spec.kernel for spec in convolutions} == {1, 3, 5}
    assert {spec.stride for spec in convolutions} == {1, 2}
    assert {spec.kind for spec in layers} == {"conv", "norm", "pool", "join", "loss"}
    assert "W6 drop-path" in WORKLOADS


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.torch] * (name == "torch")) for name in PEERS]
)
@pytest.mark.parametrize("spec", TINY.values(), ids=TINY)
def test_peer_comes_to_tinyfractals_numbers(name, spec):
    libraries, missing = find((name,), 1)
    if missing:
        pytest.skip(f"{name}: {missing[name]}")
    work, without = build(deepcopy(spec), libraries)
    if without:
        pytest.skip(f"{name}: {without[name]}")
    for what in reversed(work["tinyfractal"]):
        assert disagreements(work, what, 3 if what == "training" else 1) == {}


def test_layers_of_tinyfractal_have_the_gradients_of_their_definition():
    for spec in TINY.values():
        if isinstance(spec, Layer):
            libraries, _ = find((), 1)
            steps = build(deepcopy(spec), libraries)[0]["tinyfractal"]["backward"]
            fast = steps.numbers(steps.run(steps.prepare()))
            with tf.reference():
                slow = steps.numbers(steps.run(steps.prepare()))
            assert max(map(distance, fast, slow)) < 1e-5


# ----- Who is wrong -----


def steps_of(loss, factor):
    value = [loss]

    def run(_):
        value[0] *= factor
        return value[0]

    return {"training": Step(run)}


def test_a_wrong_peer_is_named_and_a_wrong_gradient_shows_in_the_second_step():
    work = {"tinyfractal": steps_of(2, 0.5), "torch": steps_of(2, 0.5)}
    assert disagreements({**work, "right": steps_of(2, 0.5)}, "training", 2) == {}
    wrong = disagreements({**work, "wrong": steps_of(2.5, 0.4)}, "training", 2)
    assert list(wrong) == ["wrong"]
    assert "away from those of torch" in wrong["wrong"]
    assert (
        "ZeroDivisionError"
        in disagreements({**work, "broken": {"training": Step(lambda _: 1 / 0)}}, "training")[
            "broken"
        ]
    )


def test_command_reports_a_wrong_peer_and_goes_on(capsys, monkeypatch):
    def wrong(spec):
        return {"training": Step(lambda _: np.zeros(10))}

    class Peer:
        VERSION = "0"
        chain = staticmethod(wrong)

    libraries, _ = find((), 1)
    monkeypatch.setattr(benchmarks, "find", lambda *_: ({**libraries, "mygrad": Peer}, {}))
    monkeypatch.setitem(WORKLOADS, "W4 chain", Chain(3))
    assert benchmarks.main(["W4 chain", "--seconds", "0"]) == 1
    out = capsys.readouterr().out
    assert "ERROR W4 chain, training: mygrad: its numbers are" in out
    assert "  training    tinyfractal" in out
    assert "  training    mygrad" not in out


def test_missing_peers_are_skipped_and_named():
    assert list(find(("nosuchlibrary",), 1)[0]) == ["tinyfractal"]
    assert "ModuleNotFoundError" in find(("nosuchlibrary",), 1)[1]["nosuchlibrary"]


# ----- Arithmetic -----


def test_ratios_are_those_of_neighbouring_turns():
    times = Times([2.0, 4.0, 6.0, 8.0], [1.0, 1.0, 2.0, 2.0])
    assert times.ratios == (2.25, 3.5, 4.0)
    r = row("W1", "training", "tinyfractal", times)
    assert (r["median_ms"], r["ratio"], r["turns"]) == (5000.0, 3.5, 4)
    assert Times([3.0], [2.0]).ratios == (1.5, 1.5, 1.5)


def test_turns_alternate_and_every_library_gets_two():
    order = []
    work = {name: {"training": Step(lambda _, n=name: order.append(n))} for name in "ab"}
    times = measure(work, "training", 0)
    assert [len(t.seconds) for t in times.values()] == [2, 2]
    assert set(order) == {"a", "b"}
    assert all(t.beside == times["a"].seconds for t in times.values())


def test_preparing_is_not_timed():
    work = {"a": {"backward": Step(lambda ready: ready, lambda: time.sleep(0.03))}}
    assert measure(work, "backward", 0)["a"].median < 0.02


def test_multiplications_are_those_of_the_layers_and_growth_finds_the_exponent():
    spec = Network((4, 8), (8, 6, 3), 5, columns=3)
    kernels = tf.FractalNet(3, 10, 3, (4, 8)).state_dict().items()
    places = {"0": 8 * 6, "1": 4 * 3}  # of the images in each block
    assert scaling.multiplications(spec) == 5 * sum(
        a.size * places[name.split(".")[1]] for name, a in kernels if "conv.conv.weight" in name
    )
    series = {n: {"tinyfractal": 3.0 * n**1.5} for n in (1, 2, 4)}
    assert scaling.growth(series, {1: 1, 2: 2, 4: 4}, "tinyfractal") == pytest.approx(1.5)


# ----- The other measurements -----


def test_errors_compare_with_float64():
    libraries, _ = find((), 1)
    found = errors.layer_errors("conv", Layer("conv", (2, 8, 8, 8)).draw(), libraries)
    assert list(found) == ["conv, forward", "conv, gradient of x", "conv, gradient of weight"]
    for of in found.values():
        assert 1e-9 < of["tinyfractal"] < 1e-5
    spec = TINY["network"].draw()
    assert errors.in_float64(spec).dtype == np.float64


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_that_of_a_fresh_process():
    ballast = np.ones(100 << 17)  # 100 MB of this process, which the other must not count
    found = memory.peaks(["tinyfractal", "nosuchlibrary"], 1, "W3 digits")
    assert 1 < found["tinyfractal"]["step"] < found["tinyfractal"]["peak"] < 250
    assert "nosuchlibrary" in found["nosuchlibrary"]["error"]
    assert ballast.nbytes > 1e8


def test_command_prints_memory_and_import_time(capsys, monkeypatch):
    monkeypatch.setattr(memory, "imports", lambda: {"numpy": 80.0, "tinyfractal adds": 40.0})
    monkeypatch.setattr(
        memory,
        "peaks",
        lambda names, _: {n: dict(zip(("import", "peak", "step"), (5, 9, 4))) for n in names},
    )
    assert benchmarks.main(["--memory", "--peers", ""]) == 0
    out = capsys.readouterr().out
    assert "tinyfractal                  5         9         4" in out
    assert "numpy 80 ms, tinyfractal adds 40 ms" in out


def test_import_times_are_measured():
    found = memory.imports(runs=1)
    assert list(found) == ["numpy", "tinyfractal adds"]
    assert 0 < found["tinyfractal adds"] < 5000


# ----- What is written -----


def test_json_is_complete_and_the_chart_is_drawn(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(WORKLOADS, "W4 chain", Chain(3))
    to, picture = tmp_path / "result.json", tmp_path / "result.png"
    options = ["--seconds", "0", "--peers", "nosuchpeer", "--json", str(to)]
    assert benchmarks.main(["W4 chain", *options]) == 0
    result = json.loads(to.read_text())
    facts = result["facts"]
    assert {"python", "numpy", "blas", "machine", "threads each", "tinyfractal"} <= set(facts)
    assert facts["nosuchpeer"].startswith("left out: ModuleNotFoundError")
    (found,) = result["rows"]
    assert (found["workload"], found["what"]) == ("W4 chain", "training")
    assert len(found["seconds"]) == found["turns"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result.json", "result.png"]
    assert "left out" in capsys.readouterr().out


def test_growth_is_drawn():
    pytest.importorskip("matplotlib")
    from .benchmarks import chart

    def ms(n):
        return {"tinyfractal": 2.0 * n, "torch": 1.0 * n}

    found = {
        "batch": {n: ms(n) for n in scaling.BATCHES},
        "columns": {n: ms(n) for n in scaling.COLUMNS},
        "odd": {name: ms(1) for name in scaling.ODD},
    }
    assert chart.lines(found).startswith(b"\x89PNG")
    assert "time ~ batch^k, all: k =" in scaling.report(found)


# ----- What each rule brings -----


def test_every_quick_rule_is_left_out_once_and_put_back():
    before = dict(RULES)
    step = in_tinyfractal.network(deepcopy(TINY["network"]).draw())["inference"]
    expected = step.run(None)
    contexts = rules.variants("inference")
    assert len(contexts) >= len(RULES)
    for name, context in contexts.items():
        with context():
            if name == "all of fast/fractal.py":
                assert len(RULES) == len(before) - 3
            np.testing.assert_allclose(step.run(None), expected, rtol=1e-3, atol=1e-5, err_msg=name)
        assert before == RULES


def test_each_turn_without_a_rule_stands_beside_one_with_it():
    times = rules.measure(Step(lambda _: time.sleep(0.002)), {"nothing": rules.without}, 0.1)
    assert len(times["nothing"].seconds) == len(times["nothing"].beside) >= 3
