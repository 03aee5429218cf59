"""Module: what it finds among its attributes, and saving, loading and showing it."""

import copy
import re
from collections import deque

import numpy as np
import pytest

from tinyfractal import FractalNet, Tensor, nn, no_grad
from tinyfractal.errors import CheckpointError, DTypeError
from tinyfractal.nn.module import Buffer, Module, Parameter
from tinyfractal.train.distributed import ProcessGroup, SyncBatchNorm
from tinyfractal.zoo import PlainNet, ResNet


class Scale(Module):
    """One weight, one buffer."""

    def __init__(self, size=2):
        self.weight = Parameter(np.ones(size, np.float32))
        self.seen = Buffer(np.zeros(1, np.float32))

    def forward(self, x):
        return x * self.weight


class Nested(Module):
    """Attributes of every kind, set in an order that is not the alphabet's."""

    def __init__(self):
        self.title = "no parameter"
        self.second = Scale()
        self.own = Parameter([3.0])
        self.first = nn.Sequential(Scale(), nn.ReLU(), Scale())
        self.constant = Tensor([1.0])
        self.absent = None

    def forward(self, x):
        return self.first(self.second(x)) * self.own


def values(module):
    """Everything a module holds, as bytes."""
    return {name: array.tobytes() for name, array in module.state_dict().items()}


# ----- What is inside -----


def test_parameters_and_buffers_come_in_the_order_they_were_set():
    net = Nested()
    assert [name for name, _ in net.named_parameters()] == [
        "own", "second.weight", "first.0.weight", "first.2.weight"
    ]  # fmt: skip
    assert [name for name, _ in net.named_buffers()] == [
        "second.seen", "first.0.seen", "first.2.seen"
    ]  # fmt: skip
    assert net.parameters()[1] is net.second.weight
    assert net.buffers()[2] is net.first[2].seen
    assert net.count_parameters() == 1 + 3 * 2


def test_modules_come_before_what_is_inside_them():
    paths = [path for path, _ in Nested().named_modules()]
    assert paths == ["", "second", "first", "first.0", "first.1", "first.2"]
    assert [name for name, _ in Nested().children()] == ["second", "first"]


def test_a_plain_tensor_is_not_state():
    assert not any("constant" in name for name in Nested().state_dict())


def test_a_shared_module_or_weight_is_listed_once_and_saved_under_all_its_names():
    layer, other = Scale(), Scale()
    other.weight = layer.weight
    net = nn.Sequential(layer, layer, other)
    assert [name for name, _ in net.named_parameters()] == ["0.weight"]
    assert [name for name, _ in net.named_buffers()] == ["0.seen", "2.seen"]
    assert net.count_parameters() == 2
    assert list(net.state_dict()) == [
        "0.weight", "1.weight", "2.weight", "0.seen", "1.seen", "2.seen"
    ]  # fmt: skip


def test_a_changed_attribute_is_found_without_registering():
    net = Nested()
    net.first = Scale(5)
    del net.second
    net.late = Parameter(np.zeros((2, 2)))
    assert [name for name, _ in net.named_parameters()] == ["own", "late", "first.weight"]


# ----- Weights that would be lost -----

LAYER, WEIGHT = nn.Linear(2, 2), Parameter([1.0])
LEAF = Tensor([1.0], requires_grad=True)


class Holder(Module):
    """Keeps whatever it is given as one attribute."""

    def __init__(self, held):
        self.held = held


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ([LAYER], "the Linear in this list is not found; put it into a ModuleList"),
        ({"a": LAYER}, "the Linear in this dict"),
        ({LAYER: "a"}, "the Linear in this dict"),
        ({LAYER}, "the Linear in this set"),
        (frozenset([LAYER]), "the Linear in this frozenset"),
        (deque([LAYER]), "the Linear in this deque"),
        ({"a": LAYER}.values(), "the Linear in this dict_values"),
        ([1, ("a", [{"b": [None, LAYER]}])], "the Linear in this list"),
        ((WEIGHT, WEIGHT), "the Parameter in this tuple is not found; put it into a ParameterList"),
        ({"a": {"b": WEIGHT}}, "the Parameter in this dict"),
        ([Buffer([1.0])], "the Buffer in this list"),
        ([LEAF], "the Tensor in this list"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "ask", [Module.parameters, Module.state_dict, Module.train, Module.eval, repr]
)
def test_weights_in_a_container_are_refused_by_name(held, text, ask):
    outer = nn.Sequential(nn.ReLU(), Holder(held))
    with pytest.raises(TypeError, match=f"^Holder.held: {re.escape(text)}"):
        ask(outer)


def test_a_container_without_weights_is_fine():
    everything = [1, "a", {"b": (None, Tensor([1.0]), LEAF * 2)}]
    everything.append(everything)  # and one that contains itself
    assert Holder(everything).parameters() == []


def test_a_weight_of_the_class_is_refused():
    for value in (LAYER, WEIGHT, LEAF):
        with pytest.raises(TypeError, match=r"^Wrong.layer: .* set it in __init__, as self.layer"):
            type("Wrong", (Module,), {"layer": value})


def test_a_leaf_that_is_no_parameter_is_refused():
    with pytest.raises(TypeError, match=r"^Holder.held: .* use Parameter"):
        Holder(LEAF)
    late = Holder(Tensor([1.0]))
    late.held.requires_grad = True
    with pytest.raises(TypeError, match=r"^Holder.held: .* use Parameter"):
        late.parameters()
    assert Holder(LEAF * 2).parameters() == Holder(LEAF.detach()).parameters() == []


@pytest.mark.parametrize("value", [WEIGHT * 0.5, WEIGHT.detach(), np.ones(2), 1.0, [1.0], "a"])
@pytest.mark.parametrize(
    ("name", "mend"), [("own", "copy_"), ("late", "copy_"), ("second", "another Module, or None")]
)
def test_nothing_else_takes_the_place_of_a_weight(name, mend, value):
    net = Nested()
    net.late = Buffer([1.0])
    before = values(net)
    with pytest.raises(TypeError, match=rf"^Nested\.{name} is a .*{mend}"):
        setattr(net, name, value)
    assert values(net) == before


def test_weights_may_be_replaced_by_weights_changed_in_place_and_deleted():
    net = Nested()
    with no_grad():
        net.own.copy_(net.own * 0.5)
    assert net.own.data.tolist() == [1.5]
    net.own = Parameter([7.0])
    net.second = nn.ReLU()
    assert net.own is net.parameters()[0]
    net.own = net.second = None
    del net.first
    assert net.parameters() == []


# ----- Modules that know the one they are in -----


class Child(Module):
    def __init__(self, parent):
        self.parent = parent
        self.layer = nn.BatchNorm2d(2)

    def forward(self, x):
        return self.layer(x)


class Parent(Module):
    def __init__(self):
        self.child = Child(self)
        self.other = Child(self)
        self.other.sibling = self.child

    def forward(self, x):
        return self.other(self.child(x))


def test_a_module_may_know_its_parent():
    net = Parent()
    names = [name for name, _ in net.named_parameters()]
    assert names == [f"{a}.layer.{b}" for a in ("child", "other") for b in ("weight", "bias")]
    assert [path for path, _ in net.named_modules()] == [
        "", "child", "child.layer", "other", "other.layer"
    ]  # fmt: skip
    assert not any(module.training for _, module in net.eval().named_modules())
    assert all(module.training for _, module in net.train().named_modules())
    assert repr(net).count("(parent): (see above)") == 3
    assert "other.layer" in net.summary((2,))
    net.load_state_dict(net.state_dict())
    twin = copy.deepcopy(net)
    assert twin.child.parent is twin
    assert not set(map(id, twin.parameters())) & set(map(id, net.parameters()))
    SyncBatchNorm.convert_sync_batchnorm(net, ProcessGroup())
    assert type(net.child.layer) is type(net.other.layer) is SyncBatchNorm


def test_a_batch_norm_used_twice_is_converted_into_one():
    norm = nn.BatchNorm2d(2)
    net = SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(norm, norm), ProcessGroup())
    assert type(net[0]) is SyncBatchNorm
    assert net[0] is net[1]


# ----- Modes, gradients, types -----


def test_train_and_eval_reach_everything_and_return_the_module():
    net = Nested()
    assert all(module.training for _, module in net.named_modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    assert net.train() is net
    assert all(module.training for _, module in net.named_modules())
    net.train(False)
    assert not net.first[1].training


class Frozen(nn.BatchNorm2d):
    """Batch norm that never trains."""

    def train(self, training=True):
        return super().train(False)


def test_a_layer_that_overrides_train_stays_as_it_is_at_any_depth():
    net = nn.Sequential(nn.ReLU(), nn.Sequential(Frozen(3), nn.Sequential(Frozen(3)))).train()
    assert [m.training for _, m in net.named_modules()] == [True, True, True, False, True, False]
    before = values(net)
    net(Tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)))
    assert values(net) == before


def test_train_wants_true_or_false():
    with pytest.raises(TypeError, match=r"^Nested.train: training needs True or False, got 'no'$"):
        Nested().train("no")


def test_train_looks_at_each_child_where_nothing_changes_above_it():
    net = Nested().train()
    net.first.eval()
    net.train(np.True_)
    assert {module.training for _, module in net.named_modules()} == {True}
    assert net.first.training is True
    net.first.settings = {"width": 3, "more": []}
    net.train()
    net.first.settings["more"].append(Parameter([1.0]))
    with pytest.raises(TypeError, match="settings: the Parameter in this dict is not found"):
        net.train()


def test_zero_grad_forgets_all_gradients():
    net = Nested()
    net(Tensor([1.0, 2.0])).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_astype_converts_weights_and_buffers_in_place():
    net = Nested()
    before = net.parameters()
    assert net.astype(np.float64) is net
    assert all(old is new for old, new in zip(before, net.parameters()))
    assert {t.dtype for t in [*net.parameters(), *net.buffers()]} == {np.dtype(np.float64)}
    assert net(Tensor(np.ones(2))).dtype == np.float64


def test_astype_refuses_what_weights_cannot_be():
    for dtype in (None, np.float16, int, "complex128", "nonsense"):
        with pytest.raises(DTypeError, match="astype: "):
            Nested().astype(dtype)


def test_a_deep_copy_is_independent_and_keeps_what_is_tied():
    net = nn.Sequential(LAYER, nn.ReLU(), LAYER)
    twin = copy.deepcopy(net)
    assert twin[0] is twin[2]
    twin[0].weight.data += 1
    assert not np.array_equal(twin[0].weight.numpy(), LAYER.weight.numpy())
    assert copy.copy(net)[0] is LAYER


# ----- Saving and loading -----


def test_state_dict_is_a_copy():
    net = Nested()
    state = net.state_dict()
    assert list(state) == [
        "own", "second.weight", "first.0.weight", "first.2.weight",
        "second.seen", "first.0.seen", "first.2.seen",
    ]  # fmt: skip
    before = values(net)
    for array in state.values():
        assert type(array) is np.ndarray
        array += 1
    assert values(net) == before


def test_load_state_dict_takes_over_every_value_and_keeps_the_type():
    source, target = FractalNet(channels=(2, 3), columns=2), FractalNet(channels=(2, 3), columns=2)
    source(Tensor(np.random.default_rng(0).normal(size=(4, 4, 4, 1)).astype(np.float32)))
    assert values(source) != values(target)
    identities = [id(p) for p in target.parameters()]
    target.load_state_dict({k: v.astype(np.float64) for k, v in source.state_dict().items()})
    assert values(source) == values(target)
    assert identities == [id(p) for p in target.parameters()]
    assert {p.dtype for p in target.parameters()} == {np.dtype(np.float32)}


def test_load_state_dict_copies_what_it_is_given():
    net = Scale()
    state = {"weight": np.array([5.0, 6.0], np.float32), "seen": np.zeros(1, np.float32)}
    net.load_state_dict(state)
    state["weight"][:] = 0
    assert net.weight.data.tolist() == [5.0, 6.0]


def test_load_state_dict_lists_every_problem_and_changes_nothing():
    net = Nested()
    state = net.state_dict()
    del state["own"], state["first.0.seen"]
    state |= {"extra": np.zeros(1), "first.0.weight": np.zeros((2, 1)), "second.seen": np.zeros(())}
    state["first.2.weight"] = np.full(2, 9.0)
    before = values(net)
    with pytest.raises(CheckpointError) as error:
        net.load_state_dict(state)
    assert str(error.value) == (
        "load_state_dict: the state does not fit this Nested:\n"
        "  missing: own\n"
        "  missing: first.0.seen\n"
        "  unexpected: extra\n"
        "  wrong shape: first.0.weight is (2,), the state has (2, 1)\n"
        "  wrong shape: second.seen is (1,), the state has ()"
    )
    assert values(net) == before


def test_not_strict_takes_what_fits_by_name_but_still_minds_the_shapes():
    net = Nested()
    net.load_state_dict({"own": np.array([7.0]), "extra": np.zeros(3)}, strict=False)
    assert net.own.data.tolist() == [7.0]
    before = values(net)
    with pytest.raises(CheckpointError, match=r"^[^:]*: the state[^:]*:\n  wrong shape: own is"):
        net.load_state_dict({"first.0.weight": np.zeros(2), "own": np.zeros((1, 1))}, strict=False)
    assert values(net) == before


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([1.0, np.nan]), "not finite: second.weight"),
        (np.array([1.0, -np.inf]), "not finite: second.weight"),
        (np.array([1.0, 1e300]), "not finite: second.weight"),  # in float32
        (np.array([1.0, 2j]), "wrong type: second.weight is float32, the state has complex128"),
        (np.array(["1", "2"]), "wrong type: second.weight is float32, the state has <U1"),
        (np.array([1, 2]), "wrong type: second.weight is float32, the state has int64"),
        (np.array([1.0, None]), "wrong type: second.weight is float32, the state has object"),
        ([[1.0], [2.0, 3.0]], "no array: second.weight"),
    ],
)
def test_a_state_of_anything_but_finite_numbers_is_refused_by_name(array, text):
    net = Nested()
    before = values(net)
    for strict in (True, False):
        with pytest.raises(CheckpointError, match=re.escape(text)):
            net.load_state_dict({**net.state_dict(), "second.weight": array}, strict)
    assert values(net) == before


def test_a_state_of_another_network_is_refused_even_where_not_strict():
    with pytest.raises(CheckpointError, match="no entry of this module, such as own"):
        Nested().load_state_dict({"elsewhere": np.ones(1)}, strict=False)
    with pytest.raises(TypeError, match="load_state_dict: state needs a dictionary"):
        Nested().load_state_dict([1.0])


def tied():
    """A layer used twice, and a weight of it in a third place."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    net.append(net[0])
    net[2].weight = net[0].weight
    return net


@pytest.mark.parametrize("names", [["0.weight", "0.bias"], ["2.weight", "3.bias"], None])
def test_a_shared_weight_is_loaded_from_any_of_its_names(names):
    source, target = tied(), tied()
    state = source.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.weight", "3.weight", "3.bias"]
    target.load_state_dict({name: state[name] for name in names or state})
    assert values(target) == values(source)
    assert len(target.parameters()) == 2


def test_names_of_a_shared_weight_that_contradict_each_other_are_refused():
    net = tied()
    before = values(net)
    state = {**net.state_dict(), "2.weight": np.zeros((2, 2))}
    with pytest.raises(CheckpointError, match=r"contradiction: 0\.weight and 2\.weight are one"):
        net.load_state_dict(state)
    with pytest.raises(CheckpointError, match=r":\n  missing: 0\.weight$"):
        net.load_state_dict({"3.bias": np.zeros(2)})
    assert values(net) == before


# ----- Looking at it -----


def test_repr_shows_the_tree_with_settings():
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Sequential(nn.ReLU(), nn.Dropout(0.2)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(3, 4, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(0.2)\n"
        "  )\n"
        ")"
    )
    conv = nn.Conv2d(4, 6, (3, 5), stride=2, groups=2, bias=False)
    assert repr(conv) == "Conv2d(4, 6, (3, 5), stride=2, groups=2, bias=False)"
    assert repr(nn.Conv2d(4, 6, 3)) == "Conv2d(4, 6, 3)"


def rows(summary):
    """The cells of a summary's layers, and the total."""
    lines = [re.split(r"  +", line.strip()) for line in summary.splitlines()]
    assert lines[0] == ["layer", "kind", "output shape", "parameters"]
    return lines[2:-2], lines[-1]


def test_summary_has_a_row_for_every_layer():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 10))
    text = net.summary((8, 6, 1))
    layers, total = rows(text)
    assert layers == [
        ["0", "Conv2d", "(N, 8, 6, 4)", "40"],
        ["1", "ReLU", "(N, 8, 6, 4)", "0"],
        ["2", "GlobalAvgPool", "(N, 4)", "0"],
        ["3", "Linear", "(N, 10)", "50"],
    ]
    assert total == ["total", "90"]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_summary_counts_a_layer_that_runs_several_times_once():
    layer = nn.Linear(3, 3)
    layers, total = rows(nn.Sequential(layer, nn.Tanh(), layer, layer).summary((3,)))
    assert layers == [["0", "Linear ×3", "(N, 3)", "12"], ["1", "Tanh", "(N, 3)", "0"]]
    assert total == ["total", "12"]
    assert rows(layer.summary((3,)))[0] == [["(self)", "Linear", "(N, 3)", "12"]]


def test_summary_counts_a_weight_of_two_layers_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    layers, total = rows(nn.Sequential(first, second).summary((3,)))
    assert [row[-1] for row in layers] == ["12", "3"]
    assert total == ["total", "15"]


@pytest.mark.parametrize(
    "net",
    [
        FractalNet(2, 5, columns=3, channels=(3, 4)),
        FractalNet(2, 5, columns=3, channels=(3, 4)).column(1),
        PlainNet(2, 5, channels=(3, 4), depth=2),
        ResNet(2, 5, channels=(3, 4), depth=3),
    ],
    ids=["fractal", "column", "plain", "resnet"],
)
def test_summary_adds_up_to_all_parameters(net):
    layers, total = rows(net.summary((8, 8, 2)))
    assert sum(int(row[-1].replace(",", "")) for row in layers) == net.count_parameters()
    assert total == ["total", f"{net.count_parameters():,}"]
    assert layers[-1][2] == "(N, 5)"
    assert len({row[0] for row in layers}) == len(layers)


def test_summary_leaves_the_module_as_it_was():
    net = FractalNet(columns=2, channels=(2,), dropout=0.5).train()
    net.head.eval()
    modes = [module.training for _, module in net.named_modules()]
    before = values(net)
    text = net.summary((4, 4, 1))
    assert [module.training for _, module in net.named_modules()] == modes
    assert values(net) == before
    assert not any("forward" in vars(module) for _, module in net.named_modules())
    assert all(p.grad is None for p in net.parameters())
    assert net.summary((4, 4, 1)) == text
    assert net.astype(np.float64).summary((4, 4, 1)) == text


def test_summary_that_fails_leaves_the_module_as_it_was_too():
    net = nn.Sequential(nn.ReLU(), nn.Linear(3, 4))
    with pytest.raises(ValueError, match="3"):
        net.summary((5,))
    assert net.training
    assert net[1].training
    assert net(Tensor(np.zeros((2, 3), np.float32))).shape == (2, 4)


def test_summary_shows_what_has_no_shape_and_keeps_a_forward_of_its_own():
    class Pair(Module):
        def forward(self, x):
            return x, x

    net = Pair()
    assert rows(net.summary((3,)))[0] == [["(self)", "Pair", "–", "0"]]
    layer = nn.ReLU()
    layer.forward = forward = lambda x: x
    layer.summary((3,))
    assert layer.forward is forward
    for shape in (3, (0,), ("a",), (1 << 20, 1 << 20)):
        with pytest.raises((TypeError, ValueError), match="summary: "):
            layer.summary(shape)


# ----- Base class and containers -----


def test_a_module_without_forward_says_so():
    class Empty(Module):
        pass

    for module in (Empty(), nn.ModuleList([Scale()])):
        with pytest.raises(NotImplementedError, match=f"^{type(module).__name__} has no forward$"):
            module(Tensor([1.0]))


def test_forward_gets_all_arguments():
    class Affine(Module):
        def forward(self, x, scale, shift=0.0):
            return x * scale + shift

    assert Affine()(Tensor([1.0, 2.0]), 3.0, shift=1.0).data.tolist() == [4.0, 7.0]


def test_module_list_holds_modules_in_order():
    first, second, third = Scale(), nn.ReLU(), Scale()
    modules = nn.ModuleList([first, second])
    modules.append(third)
    assert len(modules) == 3
    assert [id(m) for m in modules] == [id(first), id(second), id(third)]
    assert modules[1] is second
    assert modules[-1] is third
    assert [name for name, _ in modules.named_parameters()] == ["0.weight", "2.weight"]
    many = nn.ModuleList([Scale() for _ in range(12)])
    assert [name for name, _ in many.children()] == [str(i) for i in range(12)]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"ModuleList: index {index} is out of range"):
            modules[index]
    with pytest.raises(TypeError, match="ModuleList: index needs a whole number, got True"):
        modules[True]


def test_sequential_runs_one_after_the_other():
    double, add = Scale(1), nn.Linear(1, 1)
    double.weight.data[:] = 2
    add.load_state_dict({"weight": np.ones((1, 1)), "bias": np.ones(1)})
    x = Tensor(np.array([[3.0]], np.float32))
    assert nn.Sequential(double, add)(x).item() == 7.0
    assert nn.Sequential(add, double)(x).item() == 8.0
    assert nn.Sequential()(x) is x


def test_a_slice_is_a_row_of_the_very_same_layers():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4)]
    net, several = nn.Sequential(*layers), nn.ModuleList(layers)
    x = Tensor(np.ones((1, 2), np.float32))
    assert type(net[:-1]) is nn.Sequential
    assert net[:-1](x).data.tobytes() == layers[1](layers[0](x)).data.tobytes()
    assert type(several[::-1]) is nn.ModuleList
    assert list(several[::-1]) == layers[::-1]
    assert type(PlainNet(1, 2, (2,), 1)[:2]) is nn.Sequential
    assert layers[1] in net
    assert nn.ReLU() not in net


def test_layers_are_replaced_inserted_and_deleted_as_in_a_list():
    layers = [nn.Linear(2, 2) for _ in range(6)]
    net, expected = nn.Sequential(*layers[:3]), layers[:3]
    for change in (
        lambda row: row.__setitem__(-1, layers[3]),
        lambda row: row.__setitem__(0, layers[4]),
        lambda row: row.insert(1, layers[5]),
        lambda row: row.insert(-99, layers[0]),
        lambda row: row.extend([layers[1], layers[2]]),
        lambda row: row.__delitem__(-2),
        lambda row: row.__delitem__(slice(0, 2)),
    ):
        change(net)
        change(expected)
        assert list(net) == expected
        assert [name for name, _ in net.children()] == [str(i) for i in range(len(expected))]
    before = list(net)
    for wrong in (lambda: net.append(1), lambda: net.insert(0, [1]), lambda: net.extend([None])):
        with pytest.raises(TypeError, match=r"^Sequential: expected modules, got "):
            wrong()
    assert list(net) == before


def test_module_dict_finds_modules_by_name():
    heads = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.ReLU()})
    heads["c"] = heads["a"]
    assert list(heads) == heads.keys() == ["a", "b", "c"]
    assert heads.values() == [heads["a"], heads["b"], heads["a"]]
    assert dict(heads.items())["b"] is heads["b"]
    assert "b" in heads
    assert [name for name, _ in heads.named_parameters()] == ["a.weight", "a.bias"]
    del heads["b"]
    assert len(heads) == 2
    for name in ("b", "train", 3):
        with pytest.raises(IndexError, match="ModuleDict: there is no"):
            heads[name]
    for name in ("train", "x.y", "", "keys"):
        with pytest.raises(ValueError, match="cannot be a name"):
            heads[name] = nn.ReLU()
    for name, value in ((3, nn.ReLU()), ("d", 3)):
        with pytest.raises(TypeError, match=r"^ModuleDict"):
            heads[name] = value


def test_parameter_list_holds_weights():
    scales = nn.ParameterList([Parameter([1.0]), Parameter([2.0])])
    scales.append(Parameter([3.0]))
    assert [p.item() for p in scales] == [1.0, 2.0, 3.0]
    assert [name for name, _ in scales.named_parameters()] == ["0", "1", "2"]
    for wrong in ([Tensor([1.0])], 3, [nn.ReLU()]):
        with pytest.raises(TypeError, match=r"ParameterList: .*parameters"):
            nn.ParameterList(wrong)
