"""What would train or predict something else than was meant, without a word: refused, or told."""

import copy
import pickle
import threading
from collections import ChainMap, UserDict
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import Tensor, backend, data, nn, optim
from tinyfractal.errors import DataError, DTypeError, GraphError, ShapeError
from tinyfractal.train import fit


def linear(n=2):
    return nn.Linear(n, n)


def trained(net, optimizer):
    """One step on a loss of all outputs; which parameters have moved."""
    before = net.state_dict()
    optimizer.zero_grad()
    (net(backend.asarray(np.ones((3, 2), np.float32))) ** 2).sum().backward()
    optimizer.step()
    return [name for name, array in net.state_dict().items() if (array != before[name]).any()]


# ----- Weights that a module does not see -----


class Bag:
    """An object that forgot to be a Module."""

    def __init__(self, inside):
        self.inside = inside


@pytest.mark.parametrize(
    "hide",
    [
        lambda layer: UserDict(a=layer),
        lambda layer: ChainMap({"a": layer}),
        lambda layer: {"a": 1, "b": [layer]}.values(),
        lambda layer: partial(layer),
        lambda layer: np.array([layer], object),
        lambda layer: SimpleNamespace(layer=layer),
        Bag,
        lambda layer: (each for each in [layer]),
        lambda layer: map(abs, [layer]),
    ],
)
def test_a_layer_that_would_not_be_found_is_refused(hide):
    class Net(nn.Module):
        def __init__(self):
            self.hidden = hide(linear())

    with pytest.raises(TypeError, match=r"Net\.hidden: .*not found.*Module"):
        Net().parameters()


def test_slots_for_weights_are_refused():
    with pytest.raises(TypeError, match="__slots__"):

        class Net(nn.Module):
            __slots__ = ("weight",)


def test_freezing_a_module_by_an_attribute_is_refused():
    with pytest.raises(TypeError, match=r"for p in net\.parameters\(\)"):
        linear().requires_grad = False
    with pytest.raises(TypeError, match="training"):
        linear().training = "no"


# ----- An optimizer that moves nothing, or something else -----


def test_a_step_without_any_gradient_is_remarked_on():
    net = linear()
    with pytest.warns(UserWarning, match="no parameter has a gradient, so nothing moves"):
        optim.SGD(net.parameters()).step()


def test_an_optimizer_of_the_original_does_not_pass_for_that_of_a_copy():
    net = linear()
    optimizer = optim.Adam(net.parameters())
    with pytest.warns(UserWarning, match="no parameter has a gradient, so nothing moves"):
        trained(copy.deepcopy(net), optimizer)


def test_an_optimizer_notices_that_a_weight_came_later():
    net = nn.Sequential(linear(), linear())
    optimizer = optim.SGD(net.parameters())
    net[-1] = linear()
    with pytest.raises(ValueError, match=r"1\.weight came into the Sequential later"):
        trained(net, optimizer)
    optimizer = optim.SGD([{"params": net.parameters()}])
    assert len(trained(net, optimizer)) == 4
    net[0].bias = nn.Parameter(np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"0\.bias came"):
        trained(net, optimizer)


def test_a_layer_that_is_made_in_forward_is_noticed():
    class Late(nn.Module):
        def __init__(self):
            self.first, self.second = linear(), None

        def forward(self, x):
            self.second = self.second or linear()
            return self.second(self.first(x))

    net = Late()
    with pytest.raises(ValueError, match=r"second\.weight came into the Late later"):
        trained(net, optim.SGD(net.parameters()))


def test_two_parameters_that_share_an_array_are_refused():
    first, second = linear(), linear()
    second.weight.data = first.weight.data
    with pytest.raises(ValueError, match="one Parameter in both places"):
        optim.SGD([*first.parameters(), *second.parameters()])


def test_methods_of_a_module_are_not_overwritten():
    for name in ("train", "eval"):
        with pytest.raises(TypeError, match=f"{name} is a method of every module"):
            setattr(linear(), name, True)


def test_a_layer_that_moved_is_not_replaced():
    first = linear()
    net = nn.Sequential(first, linear())
    net[0], net[1] = net[1], net[0]
    assert len(trained(net, optim.SGD(net.parameters()))) == 4


def test_a_parameter_frozen_after_backward_stays_as_it_is():
    net = linear()
    optimizer = optim.SGD(net.parameters())
    net(backend.asarray(np.ones((3, 2), np.float32))).sum().backward()
    net.weight.requires_grad = False
    before = net.state_dict()
    optimizer.step()
    np.testing.assert_array_equal(net.weight.numpy(), before["weight"])
    assert (net.bias.numpy() != before["bias"]).all()


def test_settings_that_do_not_exist_are_refused():
    optimizer = optim.SGD(linear().parameters())
    for name, meant in {"learning_rate": "lr", "momentun": "momentum"}.items():
        with pytest.raises(AttributeError, match=f"did you mean {meant}"):
            setattr(optimizer, name, 0.1)
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD(linear().parameters(), momentum=0.0, nesterov=True)
    with pytest.raises(TypeError, match="set has another order"):
        optim.SGD(set(linear().parameters()))


def test_of_two_schedules_only_the_newer_sets_the_rate():
    optimizer = optim.SGD(linear().parameters(), lr=0.1)
    older, newer = optim.StepLR(optimizer, 1), optim.CosineLR(optimizer, 4)
    newer.step()
    with pytest.raises(ValueError, match=r"StepLR\.step: a newer schedule"):
        older.step()


def test_loading_part_of_a_state_returns_what_was_left_out():
    net = linear()
    state = net.state_dict()
    left_out = net.load_state_dict({"wieght": state["weight"], "bias": state["bias"]}, strict=False)
    assert left_out == (["weight"], ["wieght"])


def test_a_state_in_pytorchs_layout_is_recognized_where_shapes_tell():
    for net, axes in ((nn.Linear(2, 3), (1, 0)), (nn.Conv2d(2, 4, 3), (3, 2, 0, 1))):
        state = net.state_dict()
        with pytest.raises(ValueError, match=r"from_torch\(state\) first"):
            net.load_state_dict({**state, "weight": state["weight"].transpose(axes)})


# ----- Arrays that are not what they seem -----


def test_a_matrix_is_multiplied_number_by_number():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(x.numpy())
    np.testing.assert_array_equal((x * backend.asarray(matrix)).data, [[1, 4], [9, 16]])


def test_a_masked_array_is_refused():
    masked = np.ma.masked_array(np.ones((2, 2), np.float32), [[True, False]] * 2)
    images = np.ma.masked_array(np.zeros((2, 4, 4, 1), np.uint8), mask=True)
    for work in (
        lambda: Tensor(masked),
        lambda: backend.asarray(masked),
        lambda: data.Dataset(images, np.zeros(2, int), ("a",), "masked"),
    ):
        with pytest.raises((DTypeError, DataError), match="masked"):
            work()


@pytest.mark.parametrize("layer", [linear(1), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(1)])
def test_bytes_are_not_taken_for_numbers_from_0_to_1(layer):
    images = backend.asarray(np.full((2, 4, 4, 1), 255, np.uint8))
    with pytest.raises(DTypeError, match=r"x needs floats, got uint8; data\.to_unit"):
        layer(images)


def test_none_is_no_number():
    x = Tensor([1.0, 2.0])
    for work in (lambda: Tensor([[1.0, None]]), lambda: x.__setitem__(0, None)):
        with pytest.raises(DTypeError, match="None"):
            work()


def test_masks_are_joined_and_turned_round():
    x = Tensor([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(x[(x > 1) & ~(x > 2)].data, [2])
    np.testing.assert_array_equal(x[(x < 2) | (x > 2)].data, [1, 3])
    with pytest.raises(DTypeError, match="booleans"):
        _ = ~x


def test_a_dataset_takes_a_mask_that_is_a_tensor():
    dataset = data.Dataset(np.zeros((3, 4, 4, 1), np.uint8), np.array([0, 1, 1]), ("a", "b"), "x")
    assert len(dataset[Tensor(dataset.labels) == 1]) == 2


# ----- Losses -----


def test_cross_entropy_of_probabilities_is_told():
    logits = Tensor([[1.0, 2.0]], requires_grad=True)
    with pytest.warns(UserWarning, match="come from softmax"):
        tf.cross_entropy(tf.softmax(logits), [0])
    with pytest.warns(UserWarning, match="one class"):
        tf.cross_entropy(Tensor([[1.0]]), [0])


def test_cross_entropy_refuses_weights_that_leave_nothing():
    logits = Tensor([[1.0, 2.0]])
    with pytest.raises(DataError, match="nothing is left"):
        tf.cross_entropy(logits, [0], weight=[0.0, 1.0])
    with pytest.raises(DataError, match="weight needs"):
        tf.cross_entropy(logits, [0], weight=[np.inf, 1.0])
    with pytest.raises(ShapeError, match=r"labels\[:, 0\]"):
        tf.cross_entropy(logits, np.array([[0]]))


@pytest.mark.parametrize("weight", [None, [1.0, 2.0]])
def test_labels_that_are_filled_anew_before_backward_do_not_matter(weight):
    labels = np.array([0, 1], np.uint8)
    weight = None if weight is None else np.array(weight)
    logits = Tensor([[1.0, 2.0], [0.0, 3.0]], requires_grad=True)
    loss = tf.cross_entropy(logits, labels, weight=weight)
    (expected,) = tf.grad(loss, [logits], retain_graph=True)
    labels[:] = 1
    if weight is not None:
        weight[:] = 3
    loss.backward()
    np.testing.assert_array_equal(logits.grad.data, expected.data)


# ----- Copies and threads -----


def test_a_computed_tensor_is_not_pickled():
    w = nn.Parameter([2.0])
    with pytest.raises(GraphError, match="pickle"):
        pickle.dumps(w * w)
    again = pickle.loads(pickle.dumps(w))
    assert isinstance(again, nn.Parameter)
    np.testing.assert_array_equal(again.numpy(), [2])


def test_threads_that_share_a_weight_lose_no_gradient():
    w = nn.Parameter(np.ones(1000, np.float32))

    def work():
        for _ in range(100):
            (w * 2).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(w.grad.numpy(), np.full(1000, 800))


# ----- fit -----

NOISE = data.Dataset(
    np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1)).astype(np.uint8),
    np.arange(20) % 2,
    ("a", "b"),
    "noise",
)


class Net(nn.Module):
    """A linear network, and a layer that nobody uses."""

    def __init__(self, spare=None):
        self.flatten, self.layer, self.spare = nn.Flatten(), nn.Linear(16, 2), spare

    def forward(self, x):
        return self.layer(self.flatten(x))


def run(net=None, epochs=3, lr=0.1, **settings):
    net = net or Net()
    optimizer = optim.SGD(net.parameters(), lr=lr)
    schedule = optim.StepLR(optimizer, 1, epochs=epochs)
    return fit(net, NOISE, NOISE, optimizer, schedule, quiet=True, **settings), schedule


def test_fit_ends_where_on_epoch_returns_a_numpy_boolean():
    history, _ = run(on_epoch=lambda record: np.bool_(True))
    assert len(history) == 1


def test_fit_refuses_what_would_learn_nothing():
    with pytest.raises(ValueError, match="clip=0"):
        run(clip=0)


def test_fit_refuses_a_schedule_that_is_stepped_by_hand_too():
    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    schedule = optim.StepLR(optimizer, 1, epochs=3)
    with pytest.raises(ValueError, match=r"leave schedule\.step\(\) out"):
        fit(
            net, NOISE, NOISE, optimizer, schedule, quiet=True,
            on_epoch=lambda record: schedule.step(),
        )  # fmt: skip


def test_fit_refuses_a_schedule_that_a_newer_one_replaced():
    net = Net()
    optimizer = optim.SGD(net.parameters())
    older, _ = optim.ConstantLR(optimizer, 1), optim.ConstantLR(optimizer, 1)
    with pytest.raises(ValueError, match="newer schedule"):
        fit(net, NOISE, NOISE, optimizer, older, quiet=True)


def test_fit_tells_of_weights_that_never_had_a_gradient():
    with pytest.warns(UserWarning, match=r"2 parameters, such as spare\.weight"):
        run(Net(nn.Linear(3, 3)))
