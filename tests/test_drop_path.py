"""Drop-path in a whole network: what it drops, how often, and that what is dropped is not run."""

import math

import numpy as np
import pytest

from tinyfractal import FractalBlock, FractalNet, Tensor, backend, fractal, nn
from tinyfractal.fractal import ConvUnit

C, P = 3, 0.15


def images(*shape, dtype=np.float32, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def network(**settings):
    usual = {"columns": C, "channels": (2, 2), "per_sample": False}
    return FractalNet(1, 2, **{**usual, **settings})


def units(module):
    return [m for _, m in module.named_modules() if isinstance(m, ConvUnit)]


def check_frequency(found, probability, n):
    """Within 4.5 standard deviations of n draws."""
    assert abs(found - probability) <= 4.5 * math.sqrt(probability * (1 - probability) / n)


@pytest.fixture
def ran(monkeypatch):
    """The list of ConvUnits that are run, in order."""
    units, forward = [], ConvUnit.forward
    monkeypatch.setattr(
        ConvUnit, "forward", lambda self, *x: units.append(self) or forward(self, *x)
    )
    return units


@pytest.fixture
def joined(monkeypatch, ran):
    """The list of what lives at each join; the units do nothing, so that many draws are quick."""
    decisions, join = [], fractal._join

    def recorded(branches, alive):
        decisions.append(alive)
        return join(branches, alive)

    monkeypatch.setattr(fractal, "_join", recorded)
    monkeypatch.setattr(ConvUnit, "forward", lambda self, x: ran.append(self) or x)
    return decisions


# ----- What is dropped is not run -----


def statistics(net):
    return {id(u): u.norm.running_mean.data.tobytes() for u in units(net)}


def check_only_these_units_learn(net, alive):
    """`alive`: ids of units. They have gradients and new statistics; the others have neither."""
    for unit in units(net):
        for parameter in unit.parameters():
            assert (parameter.grad is not None) == (id(unit) in alive)
    assert all(p.grad is not None for p in net.head.parameters())


@pytest.mark.parametrize("c", range(C))
def test_global_drop_path_leaves_one_column_through_the_whole_network(c, ran, monkeypatch):
    net = network(global_ratio=1.0)
    monkeypatch.setattr(net, "keep_column", lambda _, keep=net.keep_column: keep(c))
    before = statistics(net)
    net(images(4, 4, 4, 1)).sum().backward()
    assert list(map(id, ran)) == [id(unit) for block in net.blocks for unit in block.column(c)]
    assert len(ran) == 2 * 2**c
    check_only_these_units_learn(net, {id(unit) for unit in ran})
    after = statistics(net)
    assert {key for key in before if before[key] != after[key]} == {id(unit) for unit in ran}


def test_local_drop_path_runs_exactly_what_reaches_the_output(ran):
    net = network(drop_path=0.5, global_ratio=0.0)
    counts = set()
    for _ in range(30):
        ran.clear()
        net.zero_grad()
        before = statistics(net)
        net(images(4, 4, 4, 1)).sum().backward()
        alive = {id(unit) for unit in ran}
        assert len(alive) == len(ran)
        check_only_these_units_learn(net, alive)
        after = statistics(net)
        assert {key for key in before if before[key] != after[key]} == alive
        counts.add(len(ran))
    assert min(counts) < 2 * (2**C - 1) / 2
    assert len(counts) > 5


def test_per_sample_drop_path_does_not_run_what_no_sample_needs(ran):
    net = network(global_ratio=1.0, per_sample=True)
    counts = set()
    for _ in range(30):
        ran.clear()
        net.zero_grad()
        net(images(1, 4, 4, 1)).sum().backward()
        counts.add(len(ran))
        check_only_these_units_learn(net, {id(unit) for unit in ran})
    assert counts == {2 * 2**c for c in range(C)}


# ----- How often -----


@pytest.mark.parametrize("p", [P, 0.6])
def test_local_drop_path_decides_at_each_join_by_itself(p, joined):
    """A branch lives with 1 - p + pᵏ/k at a join of k, whatever lives at the other joins."""
    block, n = FractalBlock(C, 1, 1), 3000
    keep = network(drop_path=p).keep_local()
    x = Tensor(np.ones((1, 1, 1, 1)))
    ends, middles, pairs = [], [], []
    for _ in range(n):
        joined.clear()
        block(x, keep)
        assert all(alive.any() for alive in joined)
        middle = [alive for alive in joined if len(alive) == C - 1]
        ends.append(joined[-1])  # the outermost join is met last
        middles += middle
        pairs += [(joined[-1][-1], alive[-1]) for alive in middle]
    for k, decisions in ((C, ends), (C - 1, middles)):
        for branch in np.transpose(decisions):
            check_frequency(branch.mean(), 1 - p + p**k / k, len(decisions))
    first, second = np.transpose(pairs)
    for value in (False, True):
        chosen = second[first == value]
        check_frequency(chosen.mean(), 1 - p + p ** (C - 1) / (C - 1), len(chosen))


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_global_and_local_are_mixed_as_told_and_columns_are_equally_likely(ratio, joined, ran):
    # with so small a p local drop-path keeps everything, so the number of units tells which it was
    net, n = network(drop_path=1e-12, global_ratio=ratio, channels=(1, 1)), 2000
    x = images(1, 4, 4, 1)
    name = {2 * 2**c: c for c in range(C)} | {2 * (2**C - 1): "all"}
    chosen = []
    for _ in range(n):
        ran.clear()
        net(x)
        chosen.append(name[len(ran)])
    check_frequency(chosen.count("all") / n, 1 - ratio, n)
    for c in range(C):
        check_frequency(chosen.count(c) / n, ratio / C, n)


def test_per_sample_drop_path_has_the_frequencies_of_the_mixture(joined):
    """At the end of a block: alive with ½ · (1 - p + p³/3) + ½ · 1/3, and never all dead."""
    net, n = network(drop_path=0.5, per_sample=True), 20_000
    FractalBlock(C, 1, 1)(Tensor(np.ones((n, 1, 1, 1))), net.keep_by_sample(n))
    assert all(alive.shape[0] == n and alive.any(axis=1).all() for alive in joined)
    end = joined[-1]
    assert end.shape == (n, C)
    for branch in end.T:
        check_frequency(branch.mean(), 0.5 * (1 - 0.5 + 0.5**3 / 3) + 0.5 / 3, n)
    middle = next(alive for alive in joined if alive.shape[1] == C - 1)
    # of the global third that takes column 0, nothing passes here, and the join stays open
    local = 0.5 * (1 - 0.5 + 0.5**2 / 2)
    for branch in middle.T:
        check_frequency(branch.mean(), local + 0.5 * (1 / 3 + 1 / 3), n)


def test_a_sample_keeps_its_column_through_all_blocks(joined):
    net, n = network(global_ratio=1.0, per_sample=True, channels=(1, 1)), 50
    net(images(n, 4, 4, 1))
    first, second = (alive for alive in joined if alive.shape[1] == C)
    assert (first == second).all()
    assert (first.sum(axis=1) == 1).all()
    assert first.any(axis=0).all()


# ----- What comes out -----


class Replay:
    """Record what each block decides at its joins, then let one sample decide the same."""

    def __init__(self, monkeypatch):
        self.decisions, self.sample = {}, None
        forward = FractalBlock.forward

        def tagged(block, z, keep):
            base = getattr(keep, "base", keep)

            def decide(k):
                if self.sample is None:
                    self.decisions[id(block)] = base(k)
                    return self.decisions[id(block)]
                return self.decisions[id(block)][self.sample]

            decide.base = base
            return forward(block, z, decide)

        monkeypatch.setattr(FractalBlock, "forward", tagged)


def independent(net):
    """The network in float64, with batch norm that does not make samples depend on each other."""
    for unit in units(net):
        unit.norm.eval()
        unit.norm.bias.data[:] = 0.5
    return net.astype(np.float64)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_each_sample_gets_what_it_would_get_alone(ratio, monkeypatch):
    settings = {"drop_path": 0.5, "global_ratio": ratio, "per_sample": True}
    net, n = independent(network(columns=4, **settings)), 12
    replay, x = Replay(monkeypatch), images(n, 4, 4, 1, dtype=np.float64)
    together = net(x).data
    for replay.sample in range(n):
        one = Tensor(x.data[replay.sample : replay.sample + 1])
        np.testing.assert_allclose(net(one).data[0], together[replay.sample], rtol=1e-10)
    assert len({row.tobytes() for row in net.eval()(x).data}) == n


def test_with_global_drop_path_each_sample_gets_one_column():
    net, n = independent(network(global_ratio=1.0, per_sample=True)), 30
    x = images(n, 4, 4, 1, dtype=np.float64)
    y, columns = net(x).numpy(), [net(x, column=c).numpy() for c in range(C)]
    found = [[np.allclose(y[i], column[i], rtol=1e-9) for column in columns] for i in range(n)]
    assert (np.sum(found, axis=1) == 1).all()
    assert np.sum(found, axis=0).min() >= 3


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("off", ["inference", "drop_path=0", "column"])
def test_nothing_is_random_where_nothing_is_dropped(off, per_sample, ran):
    net = network(drop_path=0.0 if off == "drop_path=0" else 0.5, per_sample=per_sample)
    net.train(off != "inference")
    x, column = images(4, 4, 4, 1), 1 if off == "column" else None
    before = backend.random_state()
    first = net(x, column=column).data.tobytes()
    assert len(ran) == (2 * 2 if off == "column" else 2 * (2**C - 1))
    assert net(x, column=column).data.tobytes() == first
    assert backend.random_state() == before


@pytest.mark.parametrize("per_sample", [False, True])
def test_same_seed_same_decisions_and_the_same_bits(per_sample, ran):
    def run():
        backend.seed(11)
        net = network(drop_path=0.5, per_sample=per_sample, dropout=0.2)
        ran.clear()
        outputs = [net(images(3, 4, 4, 1, seed=i)) for i in range(6)]
        outputs[-1].sum().backward()
        grads = [p.grad.data.tobytes() for p in net.parameters() if p.grad is not None]
        return [y.data.tobytes() for y in outputs], grads, len(ran)

    first = run()
    assert first == run()
    assert len(set(first[0])) == 6


def test_a_network_of_one_column_has_nothing_to_drop(ran):
    for per_sample in (False, True):
        net = network(columns=1, drop_path=0.9, per_sample=per_sample)
        for _ in range(5):
            ran.clear()
            net(images(4, 4, 4, 1)).sum().backward()
            assert len(ran) == 2


def test_drop_path_and_its_layer_agree_on_the_default():
    assert network().drop_path.p == nn.DropPath().p == P
