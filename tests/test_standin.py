"""The stand-in for CuPy is strict, and what the library does on it: copies, waits, decisions."""

import sys
import tracemalloc
from collections import Counter

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import FractalNet, Tensor, backend, optim
from tinyfractal.data import load
from tinyfractal.errors import BackendError, DataError
from tinyfractal.recipe import Recipe
from tinyfractal.train import CHECKPOINT, columns_of, evaluate, fit, predict
from tinyfractal.train.checkpoint import load_checkpoint

real = backend.current() == "cupy" and not hasattr(sys.modules["cupy"], "is_standin")
pytestmark = pytest.mark.skipif(real, reason="there is a real GPU")


# ----- The stand-in -----


REFUSED = {
    "NumPy takes it": lambda x, cupy: np.asarray(x),
    "NumPy computes with it": lambda x, cupy: np.exp(x),
    "NumPy sums it": lambda x, cupy: np.sum(x),
    "beside an array of NumPy": lambda x, cupy: x + np.ones(3),
    "an array of NumPy beside it": lambda x, cupy: np.ones(3) * x,
    "a number of NumPy": lambda x, cupy: x * np.float64(2),
    "in place": lambda x, cupy: x.__iadd__(np.ones(3)),
    "a function with an array of NumPy": lambda x, cupy: cupy.exp(np.ones(3)),
    "a function with a list": lambda x, cupy: cupy.sum([1, 2]),
    "inside a list": lambda x, cupy: cupy.concatenate([x, np.ones(3)]),
    "assigned": lambda x, cupy: x.__setitem__(0, np.float32(1)),
    "assigned from a list": lambda x, cupy: x.__setitem__(slice(None), [1, 2, 3]),
    "an index of NumPy": lambda x, cupy: x[np.array([0])],
    "a keyword that CuPy lacks": lambda x, cupy: cupy.sum(x, where=x > 1),
    "a keyword of a ufunc": lambda x, cupy: cupy.log(x, where=x > 1),
    "a keyword of a method": lambda x, cupy: x.sum(initial=1),
    "too many arguments": lambda x, cupy: cupy.sqrt(x, x, x),
    "too few": lambda x, cupy: cupy.clip(x),
    "an array of NumPy in its place": lambda x, cupy: x.__setitem__(slice(None), np.ones(3)),
    "objects": lambda x, cupy: cupy.array([object()]),
    "einsum into an array": lambda x, cupy: cupy.einsum("i,i->i", x, x, out=x),
    "no bounds": lambda x, cupy: cupy.clip(x, None, None),
    "a function that CuPy lacks": lambda x, cupy: cupy.busday_count,
    "a flag that CuPy lacks": lambda x, cupy: x.flags.writeable,
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_cupy_refuses_is_refused(how, cupy):
    with pytest.raises((TypeError, AttributeError, ValueError)):
        REFUSED[how](cupy.arange(3.0), cupy)


def test_it_has_nothing_that_cupy_has_not(cupy):
    api = cupy.API
    own = {name for name in vars(cupy.ndarray) if not name.startswith("_")}
    assert own <= set(api["methods"]) | set(api["attributes"])
    special = {name for name in vars(cupy.ndarray) if name.startswith("__")}
    pythons = {"__module__", "__slots__", "__weakref__", "__qualname__"}
    pythons |= {"__slotnames__"}  # which copyreg leaves there once one was copied
    pythons |= {"__static_attributes__", "__firstlineno__"}  # from 3.13 on
    assert special - pythons <= {*api["methods"], *dir(object), *api["attributes"]}
    assert api["cupy"] == cupy.__version__


def test_a_kernel_takes_what_cupys_takes(cupy):
    x = cupy.arange(3.0)
    double = cupy.ElementwiseKernel("T x, T by", "T y", "y = x * by", "double")
    assert double(x, 2).get().tolist() == [0, 2, 4]
    where = cupy.ElementwiseKernel("T x", "T y", "y = where(x > 1, x, T(0))", "where")
    for call, error in [
        (lambda: double(x), TypeError),  # too few
        (lambda: double(x, x.astype("f4")), TypeError),  # T is two types
        (lambda: double(2, 2), ValueError),  # no array
        (lambda: double(x, 2, cupy.zeros(2)), ValueError),  # no room
        (lambda: where(x), NameError),  # C has no such function
        (lambda: cupy.ElementwiseKernel("raw T x", "T y", "y = x[0]"), NotImplementedError),
    ]:
        with pytest.raises(error):
            call()


def test_it_differs_from_numpy_where_cupy_does(cupy):
    x = cupy.arange(6.0).reshape(2, 3)
    assert isinstance(x.sum(), cupy.ndarray)
    assert isinstance(x[1, 2], cupy.ndarray)
    x[1, 2][...] = 9  # a view, though of one number
    assert x[1, 2].item() == 9
    assert x[0, cupy.array([4])].item() == 1  # place 4 of 3 is place 1
    assert (cupy.zeros(1) / cupy.zeros(1)).get() != 0  # without a warning


def test_what_is_computed_lies_in_c_order(cupy):
    x = cupy.zeros((3, 2, 4)).transpose(2, 0, 1)
    for y in (x + 1, -x, cupy.exp(x), cupy.where(x > 0, x, 1.0), cupy.maximum(x, 0), x > 0):
        assert y.flags.c_contiguous
    for y in (cupy.empty_like(x), cupy.zeros_like(x), x.copy(order="K")):
        assert y.strides == x.strides


def test_float32_has_no_subnormal_numbers(cupy):
    x = cupy.array([-1e-30, 1e-40, 1e-20], dtype=np.float32)
    found = (x * 1e-10).get()
    assert found.tolist() == [0, 0, pytest.approx(1e-30)]
    assert np.signbit(found[0])
    assert cupy.exp(cupy.array([-100.0], dtype=np.float32)).get() == 0
    assert cupy.exp(cupy.array([-740.0])).get() > 0  # float64 has


def test_an_integer_to_a_negative_power_is_0_but_for_1_and_minus_1(cupy):
    x = cupy.array([2, 1, -1, -1, 0])
    for y in (
        x ** cupy.array([-1, -3, -3, -2, -1]),
        cupy.power(x, cupy.array([-1, -3, -3, -2, -1])),
    ):
        assert y.get().tolist() == [0, 1, -1, 1, 0]


def test_its_memory_is_not_the_hosts(cupy):
    pool = cupy.get_default_memory_pool()
    tracemalloc.start()
    before, used = tracemalloc.get_traced_memory()[0], pool.used_bytes()
    x = cupy.zeros(100_000) + 1
    assert tracemalloc.get_traced_memory()[0] - before < 20_000
    assert pool.used_bytes() - used == x.nbytes == 800_000
    tracemalloc.stop()


# What a call asks a GPU for, as CuPy 14.2 does it: read in its source, or counted on it.
LAUNCHES = {
    "x + 1": (lambda x, cupy: x + 1, {"kernel": 1}),
    "x += 1": (lambda x, cupy: x.__iadd__(1), {"kernel": 1}),
    "a view": (lambda x, cupy: x[1:, ::2].T[None].reshape(1, 2, 2), {}),
    "a reshape that copies": (lambda x, cupy: x.T.reshape(-1), {"kernel": 1}),
    "copy": (lambda x, cupy: x.copy(), {"kernel": 1}),
    "a copy in pieces": (lambda x, cupy: x[:, 1:].copy(), {"kernel": 1}),
    "another type": (lambda x, cupy: x.astype("f4"), {"kernel": 1}),
    "the same type": (lambda x, cupy: x.astype(x.dtype, copy=False), {}),
    "zeros": (lambda x, cupy: cupy.zeros_like(x), {"memset": 1}),
    "ones": (lambda x, cupy: cupy.ones((2, 2)), {"kernel": 1}),
    "empty": (lambda x, cupy: cupy.empty((2, 2)), {}),
    "sum": (lambda x, cupy: x.sum(axis=0), {"kernel": 1}),
    "assignment": (lambda x, cupy: x.__setitem__((..., 0), x[:, 1]), {"kernel": 1}),
    "of what lies alike": (lambda x, cupy: x.__setitem__(0, x[1]), {"copy": 1}),
    "of everything": (lambda x, cupy: x.__setitem__(..., x + 1), {"kernel": 1, "copy": 1}),
    "a product": (lambda x, cupy: x @ x.T, {"product": 1}),
    "of a matrix in pieces": (lambda x, cupy: x[:, ::2] @ x[:2], {"product": 1, "kernel": 1}),
    "of stacks": (  # repeated twice
        lambda x, cupy: x[None].repeat(2, 0) @ x.T[None].repeat(2, 0),
        {"kernel": 2, "product": 1},
    ),
    "of a stack and a matrix": (  # repeated, the matrix turned, three lists of places
        lambda x, cupy: x[None].repeat(2, 0) @ x.T,
        {"kernel": 1 + 1 + 3, "product": 1},
    ),
    "pad": (lambda x, cupy: cupy.pad(x, 1), {"memset": 1, "kernel": 1}),
    "concatenate": (lambda x, cupy: cupy.concatenate([x, x, x]), {"kernel": 3}),
    "of nothing": (lambda x, cupy: x[:0] + 1, {}),
    "a number from the host": (lambda x, cupy: cupy.array(1.0), {"copy": 1}),
    "a number to the host": (lambda x, cupy: x[0, 0].item(), {"copy": 1}),
}


@pytest.mark.parametrize("what", LAUNCHES)
def test_launches_are_counted_as_cupy_makes_them(what, cupy):
    call, expected = LAUNCHES[what]
    x = cupy.arange(12.0).reshape(3, 4)
    with cupy.launches() as seen:
        call(x, cupy)
    assert seen.by_kind() == Counter(expected)


def test_crossings_are_counted_and_refused_in_the_library(cupy, monkeypatch):
    with cupy.watch() as seen:
        x = cupy.array([1.0, 2.0])
        assert x.sum() == 3
        float(x[0])
        x[x > 1]
        x.get()
    found = [(c.kind, c.what) for c in seen]
    assert found == [("in", "array"), ("out", "bool"), ("out", "float"), ("wait", "x[mask]"),
                     ("out", "get")]  # fmt: skip
    monkeypatch.setattr(sys.modules["tinyfractal"], "__file__", __file__)  # this is the library
    for accident in (x.sum().__float__, x.get, lambda: cupy.array([1.0]), lambda: bool(x[0] > 0)):
        with pytest.raises(cupy.CrossingError, match=r"test_standin\.py:\d+: data crosses"):
            accident()


# ----- Copies and waits of the library -----


def training_step(images, labels, clip=None, **settings):
    """A function that takes one step, as `train_epoch` does it."""
    net = FractalNet(3, 5, columns=3, channels=(8, 16), **settings)
    optimizer = optim.AdamW(net.parameters())

    def step():
        x, y = Tensor.of(backend.asarray(images)), backend.asarray(labels)
        logits = net(x)
        loss = tf.cross_entropy(logits, y, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            optim.clip_grad_norm_(optimizer.parameters, clip)
        optimizer.step()
        return loss.data, (logits.data.argmax(axis=1) == y).sum()

    step()  # the first brings constants
    return step


def batch(n=12):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 8, 8, 3)).astype(np.float32), rng.integers(5, size=n)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_training_step_brings_the_batch_and_drop_path_and_waits_for_nothing(dropout, cupy):
    images, labels = batch()
    step = training_step(images, labels, dropout=dropout)
    with cupy.watch() as seen:
        step()
    # two joins in each of two blocks, of two branches and of three: a weight for each sample
    masks = [4 * 12 * branches for branches in (2, 3)] * 2
    expected = [("in", size) for size in (images.nbytes, labels.nbytes, *masks)]
    assert Counter((c.kind, c.bytes) for c in seen) == Counter(expected)


def test_without_drop_path_a_step_brings_the_batch_alone(cupy):
    images, labels = batch()
    step = training_step(images, labels, drop_path=0.0, dropout=0.2)
    with cupy.watch() as seen:
        step()
    assert sorted((c.kind, c.bytes) for c in seen) == [("in", labels.nbytes), ("in", images.nbytes)]


def test_clipping_waits_once(cupy):
    step = training_step(*batch(), clip=1.0, drop_path=0.0)
    with cupy.watch() as seen:
        step()
    assert Counter(c.kind for c in seen) == {"in": 2, "out": 1}


def test_an_epoch_asks_for_the_loss_at_its_end(cupy):
    train, test = (data[:96] for data in load("digits"))
    recipe = Recipe(channels=(4, 8), drop_path=0.0, epochs=1, batch_size=32).for_data(train)
    model = recipe.build_model()
    optimizer = recipe.build_optimizer(model)
    fit(model, train, test, optimizer, recipe.build_schedule(optimizer), quiet=True)
    with cupy.watch() as seen:
        fit(model, train, test, optimizer, recipe.build_schedule(optimizer), batch_size=32,
            quiet=True)  # fmt: skip
    outs = Counter(c.line for c in seen if c.kind == "out")
    tests = 1 + len(columns_of(model))  # the whole network and its columns
    assert sum(outs.values()) == 2 + 2 * tests  # loss and accuracy, of training and of each test
    tried = 1  # the image that the model is tried on first
    assert sum(c.kind == "in" for c in seen) == 2 * 3 + 2 * tests + tried
    assert not [c for c in seen if c.kind == "wait"]


def test_inference_brings_images_and_takes_probabilities(cupy):
    train, _ = load("digits")
    model = FractalNet(1, 10, columns=2, channels=(4,))
    predict(model, train.images[:9])
    with cupy.watch() as seen:
        p = predict(model, train.images[:9])
    assert isinstance(p, np.ndarray)
    assert [c.kind for c in seen] == ["in", "out"]


# ----- Mistakes that a GPU would not notice -----


def test_labels_from_the_host_are_checked_and_on_the_device_make_the_loss_nan(cupy):
    logits = Tensor(np.zeros((3, 4), np.float32), requires_grad=True)
    for wrong in ([0, 4, 1], np.array([0, -1, 1])):
        with pytest.raises(DataError, match="classes 0 to 3"):
            tf.cross_entropy(logits, wrong)
        loss = tf.cross_entropy(logits, backend.asarray(wrong), reduction="none").numpy()
        assert np.isnan(loss).tolist() == [False, True, False]


def test_a_sample_without_a_branch_is_noticed(cupy):
    xs, mask = [Tensor(np.ones((2, 3))), Tensor(np.ones((2, 3)))], np.array([[1, 0], [0, 0]], bool)
    with pytest.raises(tf.errors.ShapeError, match="no branch is alive for sample 1"):
        tf.ops.join(xs, mask)
    y = tf.ops.join(xs, backend.asarray(mask)).numpy()
    assert np.isnan(y).any(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, a: x + a,
        lambda x, a: a @ x,
        lambda x, a: x == a,
        lambda x, a: x.copy_(a),
        lambda x, a: x.__iadd__(a),
        lambda x, a: x.__setitem__(0, a[0]),
        lambda x, a: tf.linear(a, x),
        lambda x, a: tf.batch_norm(x, x[0], x[0], a[0], a[0]),
        lambda x, a: tf.nn.Conv2d(1, 1, 3)(a.reshape(1, 3, 3, 1)),
    ],
)
def test_arrays_of_numpy_are_refused_by_name(call, cupy):
    with pytest.raises(BackendError, match="backend is cupy but this is a numpy array"):
        call(Tensor(np.ones((3, 3))), np.ones((3, 3)))


# ----- The same run on both -----


def run(folder, device, epochs, resume=False):
    """(model, history) of a small training run on the digits."""
    train, test = (data[:300] for data in load("digits"))
    recipe = Recipe(channels=(4, 8), dropout=0.1, epochs=2, lr=0.02, clip=5.0).for_data(train)
    with backend.using(device):
        model = recipe.build_model()
        optimizer = recipe.build_optimizer(model)
        history = fit(
            model, train, test, optimizer, recipe.build_schedule(optimizer), epochs=epochs,
            transform=recipe.transform(), augment=recipe.augment(), folder=folder, resume=resume,
            quiet=True,
        )  # fmt: skip
        result = evaluate(model, test, recipe.transform())
        return model.state_dict(), history, result, backend.random_state()


def test_training_decides_the_same_and_computes_the_same_to_rounding(cupy, tmp_path):
    state, history, result, chance = run(tmp_path / "a", "numpy", 2)
    state2, history2, result2, chance2 = run(tmp_path / "b", "cupy", 2)
    assert chance == chance2  # as many draws, of the same numbers
    losses, losses2 = ([row["train_loss"] for row in h] for h in (history, history2))
    assert losses == pytest.approx(losses2, rel=1e-3)
    assert result.loss == pytest.approx(result2.loss, rel=1e-2)
    assert list(state) == list(state2)


def test_a_checkpoint_goes_on_on_the_other_backend(cupy, tmp_path):
    run(tmp_path, "numpy", 1)
    *_, there = run(tmp_path, "cupy", 2, resume=True)  # and goes on there
    saved = load_checkpoint(tmp_path / CHECKPOINT)
    assert len(saved["history"]) == 2
    assert all(isinstance(array, np.ndarray) for array in saved["model"].values())
    state, *_, here = run(tmp_path, "numpy", 2, resume=True)  # nothing is left to do
    assert here == there
    assert all(np.array_equal(state[name], array) for name, array in saved["model"].items())
