"""Nonsense for every public function: what comes back is an answer, or an error that explains.

Hypothesis draws the function's arguments from a cabinet of things that people pass by mistake: the
wrong type, a number out of range, an array of another shape, one Tensor where a list is meant. An
error must be one of the library's, a TypeError or a ValueError, and name function and argument.
What comes from the inside (AttributeError, ZeroDivisionError, NumPy's own words) is a fault.
"""

import inspect
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyfractal as tf
from tinyfractal import Tensor, data, errors, init, nn, optim, plot, train, zoo

pytestmark = pytest.mark.skipif(
    tf.backend.current() != "numpy", reason="the checks are the same whatever the arrays"
)
EXAMPLES = max(26, settings.default.max_examples)  # for 399 targets more than 10,000 calls

# ----- What is tried -----


def public(room, names):
    """(name, function or class) of a room."""
    return {f"{room}.{name}".strip("."): name for name in names}


def small_net():
    """A network that has everything."""
    return tf.FractalNet(2, 3, columns=2, channels=(2,))


def dataset(n=6):
    """Images in three classes."""
    images = np.random.default_rng(0).integers(0, 256, (n, 4, 4, 2), dtype=np.uint8)
    return data.Dataset(images, np.arange(n) % 3, ("a", "b", "c"), "small")


def optimizer():
    """One with something to optimize."""
    return optim.SGD(small_net().parameters(), lr=0.1)


ROOMS = {
    "": (tf, [name for name in tf.__all__ if callable(getattr(tf, name))]),
    "nn": (nn, [name for name in nn.__all__ if name != "init"]),
    "optim": (optim, [name for name in optim.__all__ if name not in ("Optimizer", "Schedule")]),
    "init": (init, ["fans", "xavier_uniform", "xavier_normal", "he_uniform", "he_normal"]),
    "zoo": (zoo, ["PlainNet", "ResidualUnit", "ResNet"]),
    "data": (data, data.__all__),
    "train": (
        train, ["fit", "evaluate", "predict", "restore", "columns_of", "inference", "update_bn"],
    ),
    "backend": (tf.backend, ["use", "using", "seed", "asarray", "asnumpy", "set_random_state"]),
    "plot": (plot, ["draw_block", "draw_network", "draw_recursion", "plot_history"]),
    "explore": (tf.explore, ["explore"]),
}  # fmt: skip

OBJECTS = {
    "Tensor": lambda: Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True) * 2,
    "Leaf": lambda: Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
    "Module": small_net,
    "Sequential": lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU()),
    "Linear": lambda: nn.Linear(2, 3),
    "Conv2d": lambda: nn.Conv2d(2, 3, 3),
    "BatchNorm2d": lambda: nn.BatchNorm2d(2),
    "Join": nn.Join,
    "DropPath": nn.DropPath,
    "FractalBlock": lambda: tf.FractalBlock(2, 2, 2),
    "Dataset": dataset,
    "Standardize": lambda: data.Standardize.fit(dataset().images),
    "Loader": lambda: data.Loader(dataset(), 2),
    "SGD": optimizer,
    "Adam": lambda: optim.Adam(small_net().parameters()),
    "CosineLR": lambda: optim.CosineLR(optimizer(), 3),
}
LEFT_OUT = {"changed", "of", "update", "adapt", "forward"}  # for the library, or its subclasses
SPECIAL = {
    "__getitem__", "__setitem__", "__delitem__", "__call__", "__add__", "__iadd__", "__matmul__",
    "__pow__", "__lt__", "__iter__", "__len__", "__float__", "__index__",
}  # fmt: skip

FUNCTIONS = {
    f"{room}.{name}".strip("."): (lambda space=space, name=name: getattr(space, name))
    for room, (space, names) in ROOMS.items()
    for name in names
}
METHODS = {
    f"{owner}:{name}": (lambda make=make, name=name: getattr(make(), name))
    for owner, make in OBJECTS.items()
    for name in dir(type(make()))
    if (name in SPECIAL or name[0] != "_") and name not in LEFT_OUT
    if hasattr(type(make()), name)
    and getattr(object, name, None) is not getattr(type(make()), name)
    if callable(getattr(type(make()), name))
}
TARGETS = FUNCTIONS | METHODS

# ----- The cabinet -----

NUMBERS = [None, True, 0, 1, -1, 2, 3, 2**62, 1.5, 0.0, -0.5, float("nan"), float("inf"), 1e300]
TEXTS = ["", "same", "mean", "numpy", "x", b"x"]
LISTS = [[], [1, 2], (2, 3), (1, "a"), (2, -1), [[1], [2, 3]], {}, {"a": 1}, {1}, slice(0, 2), ...]
ARRAYS = [
    lambda: np.zeros((), np.float32),
    lambda: np.ones(3, np.float32),
    lambda: np.ones((2, 3)),
    lambda: np.ones((2, 4, 4, 2), np.float32),
    lambda: np.ones((3, 3, 2, 2), np.float32),
    lambda: np.zeros((0, 2), np.float32),
    lambda: np.array([0, 1]),
    lambda: np.array([True, False]),
    lambda: np.array(["a", "b"]),
    lambda: np.array([1j]),
    lambda: np.array([None, {}]),
    lambda: np.ones((2, 2), ">f4"),
    lambda: Tensor([1.0, 2.0], requires_grad=True),
    lambda: Tensor(np.ones((2, 4, 4, 2), np.float32)),
    lambda: Tensor([[1.0, 2.0]], requires_grad=True) * 2,
    lambda: Tensor([0, 1], dtype=int),
    lambda: Tensor(2.0),
    lambda: [Tensor([1.0, 2.0]), Tensor([1.0])],
]
THINGS = [
    object, lambda: int, lambda: len, lambda: lambda *_: None, lambda: SimpleNamespace(shape=3),
    small_net, dataset, optimizer, lambda: optim.CosineLR(optimizer(), 2), lambda: iter([]),
    lambda: (i for i in range(2)), lambda: small_net().parameters(), lambda: nn.Linear(2, 2),
    lambda: np.random.default_rng(0), lambda: np.float32,
]  # fmt: skip
CABINET = [lambda value=value: value for value in (*NUMBERS, *TEXTS, *LISTS)] + ARRAYS + THINGS


def parameters_of(function):
    """{name: parameter} of a function's signature."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, nn.Module) and function.__name__ == "__call__":
        function = owner.forward
    try:
        return inspect.signature(function).parameters
    except ValueError:  # of something built in
        return {}


def draw_call(draw, function):
    """Arguments for a function: some in order, some by name, now and then one it does not have."""
    parameters = parameters_of(function)
    names = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    room = len(names) + 3 * any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    count = draw(st.integers(0, min(room, 6)))
    named = names + [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    chosen = draw(st.lists(st.sampled_from([*named[count:], "dim"]), max_size=2, unique=True))
    things = st.sampled_from(CABINET)
    args = [draw(things)() for _ in range(count)]
    return args, {name: draw(things)() for name in chosen}


# ----- What may come back -----

FINE = tuple(
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__module__ == errors.__name__
)
# a call that does not fit the signature, or two things that do not go together
PYTHONS = re.compile(
    r"(\w+\(\) (missing|takes|got)|not supported between instances|unsupported operand)"
)
OF_FILES = (errors.DataError, errors.CheckpointError)


def complaint(named, error):
    """What is wrong with an error; "" where it explains itself."""
    text = str(error)
    if isinstance(error, NotImplementedError):
        return "" if "has no forward" in text else "of the inside"
    if not isinstance(error, (*FINE, TypeError, ValueError, StopIteration)):
        return "of the inside"
    if "\n" in text.strip() and not isinstance(error, errors.CheckpointError):
        return "is more than a line"
    if PYTHONS.search(text) or isinstance(error, OF_FILES):  # these name the file
        return ""
    if not re.match(r"\S+( \w+)*: ", text):
        return "names no function"
    names = "|".join([*named, "a", "b", "n", "x", "arguments?", "column"])  # those of operators
    if not isinstance(error, errors.GraphError) and not re.search(rf"\b({names})\b", text):
        return "names no argument"
    return ""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """What nonsense writes, it writes here."""
    monkeypatch.chdir(tmp_path)


def attempt(name, draw):
    """One call; (the kind of what came back, what is wrong with it)."""
    function = TARGETS[name]()
    args, kwargs = draw_call(draw, function)
    before = tf.backend.current()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            answer = function(*args, **kwargs)
            if hasattr(answer, "__enter__") and hasattr(answer, "__exit__"):
                with answer:
                    pass
        except Exception as error:
            kind, wrong = type(error).__name__, complaint(parameters_of(function), error)
            shown = [*map(shortly, args), *(f"{key}={shortly(kwargs[key])}" for key in kwargs)]
            return kind, wrong and f"{name}({', '.join(shown)})\n  {kind} {wrong}: {error}"
        finally:
            if tf.backend.current() != before:
                tf.backend.use(before)
    return "answer", ""


def shortly(value):
    """A value, for a message."""
    if hasattr(value, "shape"):
        return f"{type(value).__name__}{value.shape}"
    return " ".join(repr(value).split())[:40]


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=EXAMPLES)
@given(sampled=st.data())
def test_nonsense_is_answered_or_explained(name, sampled):
    _, wrong = attempt(name, sampled.draw)
    assert not wrong, wrong
