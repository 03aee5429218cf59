"""What is quick on a GPU: few launches, the right numbers, and kernels that are C and Python alike.

There is no GPU here. The stand-in counts what CuPy would ask it for, and executes the kernels as
Python; a C++ compiler, where there is one, takes the same texts as C.
"""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal import FractalNet, Tensor, backend, nn, optim
from tinyfractal.engine.definition import RULES
from tinyfractal.ops import avg_pool2d, batch_norm, conv2d, cross_entropy, join, max_pool2d

if not RULES:
    pytest.skip("`fast/` is not there", allow_module_level=True)

from tinyfractal.fast import cuda

RNG = np.random.default_rng(0)


def array(*shape, dtype=np.float64):
    return backend.asarray(RNG.normal(size=shape).astype(dtype))


def gradients(f, *arrays):
    """The value of f, and the gradients of its sum, each number with another weight."""
    xs = [Tensor(a, requires_grad=True) for a in arrays]
    y = f(*xs)
    weights = backend.asarray(np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype))
    (y * weights).sum().backward()
    return [backend.asnumpy(t.data) for t in (y, *(x.grad for x in xs))]


def agree(f, *arrays):
    """The same with the rules for a GPU and as it is defined."""
    found = gradients(f, *arrays)
    with tf.reference():
        defined = gradients(f, *arrays)
    for a, b in zip(found, defined, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


# ----- How often the GPU is asked -----


@pytest.fixture
def launches(cupy):
    """What counts them."""
    if not hasattr(cupy, "launches"):
        pytest.skip("CuPy itself does not count")
    return cupy.launches


def step(net, optimizer, size, n):
    """A step as `train_epoch` takes it."""
    images, labels = RNG.normal(size=(n, *size)).astype(np.float32), RNG.integers(10, size=n)

    def one():
        x, y = Tensor.of(backend.asarray(images)), backend.asarray(labels)
        loss = cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    one()  # the first brings constants
    return one


# (network, size of an image, launches of a step at most, at most in inference)
BUDGETS = {
    "digits": ({"in_channels": 1, "columns": 3, "channels": (4, 8)}, (8, 8, 1), 425, 100),
    "paper": ({"in_channels": 3, "columns": 3, "channels": (4, 4, 8, 8, 8)}, (32, 32, 3), 995, 230),
}


@pytest.mark.parametrize("which", BUDGETS)
def test_a_step_asks_the_gpu_seldom(which, launches):
    settings, size, in_training, in_inference = BUDGETS[which]
    net = FractalNet(classes=10, drop_path=0.0, **settings)
    one = step(net, optim.SGD(net.parameters(), lr=0.01), size, 3)
    with launches() as seen:
        one()
    assert 0.8 * in_training < seen.total() <= in_training, seen.most_common(9)
    x = Tensor.of(array(3, *size, dtype=np.float32))
    net.eval()
    with tf.no_grad(), launches() as seen:
        net(x)
    assert 0.8 * in_inference < seen.total() <= in_inference, seen.most_common(9)


def test_a_step_takes_every_product_of_a_convolution_as_one_of_two_matrices(launches):
    net = FractalNet(3, 10, 3, (4, 8), drop_path=0.0)
    one = step(net, optim.SGD(net.parameters(), lr=0.01), (8, 8, 3), 3)
    with launches() as seen:
        one()
    assert not [what for what in seen if "stacks" in what[1] or "copy for a product" in what[1]]


# ----- The right numbers -----

CONVOLUTIONS = {
    "3×3": {"padding": "same"},
    "valid": {},
    "wide": {"padding": (3, 4)},  # further than the kernel reaches
    "stride": {"stride": (2, 3), "padding": 1},
    "dilation": {"dilation": (2, 1), "padding": "same"},
    "groups": {"groups": 2, "padding": "same"},
    "reflect": {"padding": 1, "padding_mode": "reflect"},
}


@pytest.mark.parametrize("small_pieces", [False, True])
@pytest.mark.parametrize("how", CONVOLUTIONS)
def test_convolution_is_as_defined(how, small_pieces, cupy, monkeypatch):
    if small_pieces:
        monkeypatch.setattr(cuda, "WINDOWS", 500)  # an image or two at a time
    settings = CONVOLUTIONS[how]
    x, bias = array(5, 6, 7, 4), array(6)
    weight = array(3, 3, 4 // settings.get("groups", 1), 6)
    agree(lambda x, w, b: conv2d(x, w, b, **settings), x, weight, bias)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (5, 1)])
def test_convolution_with_kernels_of_any_size_is_as_defined(kernel, cupy):
    agree(lambda x, w: conv2d(x, w, padding="same"), array(2, 5, 6, 3), array(*kernel, 3, 2))


@pytest.mark.parametrize("n", [0, 1, 7, 96])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_is_as_defined(n, relu, training, cupy):
    if training and n == 1:
        pytest.skip("a single number has no variance")
    center, variance = array(3), array(3) ** 2 + 0.1

    def f(x, weight, bias):
        running = center.copy(), variance.copy()
        y = batch_norm(x, weight, bias, *running, training=training, relu=relu)
        moved.append([backend.asnumpy(a) for a in running])
        return y

    moved = []
    agree(f, array(n, 3) * 3 + 100, array(3), array(3))
    np.testing.assert_allclose(*moved, rtol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_statistics_may_be_of_another_type(training, cupy):
    x, ones = RNG.normal(size=(6, 3)).astype(np.float32), np.ones(3, np.float32)
    center, variance = RNG.normal(size=3), RNG.normal(size=3) ** 2

    def found(name):
        with backend.using(name):
            arrays = [backend.asarray(a.copy()) for a in (x, ones, ones, center, variance)]
            y = batch_norm(Tensor(arrays[0]), *arrays[1:], training=training)
            assert name == "numpy" or y.dtype == np.float32
            return [backend.asnumpy(a) for a in (y, *arrays[3:])]

    for a, b in zip(found("cupy"), found("numpy"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pixels", [225, 4900, 7919, 102_400])
def test_a_sum_over_any_number_of_pixels_is_shared_by_many_threads(pixels):
    for channels in (3, 64, 512):
        rows = cuda._rows(pixels, cuda.SUMS // channels)
        assert pixels % rows == 0
        assert rows * channels <= cuda.SUMS
        prime = pixels == 7919
        assert (
            pixels <= cuda.FEW or prime or pixels // rows <= 4 * pixels * channels // cuda.SUMS + 9
        )


def test_batch_norm_in_float32_loses_no_digits_to_a_large_mean(cupy):
    x = array(40, 8, 8, 3) + 1000
    x = x.astype(np.float32)
    single, double = (
        gradients(batch_norm_alone, x.astype(dtype))[0] for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(single, double, atol=3e-4)  # float32 holds 1000 to 3e-5


def batch_norm_alone(x):
    ones, zeros = backend.asarray(np.ones(3, x.dtype)), backend.asarray(np.zeros(3, x.dtype))
    return batch_norm(x, ones, zeros)


@pytest.mark.parametrize("size", [2, 3, (1, 2), 4])
def test_max_pooling_is_as_defined(size, cupy):
    x = backend.asarray(RNG.integers(4, size=(2, 12, 12, 3)).astype(float))  # of equal numbers many
    agree(lambda x: max_pool2d(x, size), x)
    agree(lambda x: max_pool2d(x, size, stride=5), x)  # pixels in no window
    agree(lambda x: max_pool2d(x, 3, stride=2, padding=1), x)
    agree(lambda x: avg_pool2d(x, size), x)


def test_a_nan_is_not_hidden(cupy):
    x = np.ones((2, 4, 4, 1))
    x[0, 1, 1] = np.nan
    x = Tensor(backend.asarray(x))
    assert np.isnan(max_pool2d(x, 2).numpy()).sum() == 1
    fixed = [backend.asarray(np.array([value])) for value in (1.0, 0.0, 0.0, 1.0)]
    y = batch_norm(x, *fixed, training=False, relu=True).numpy()
    assert np.isnan(y).sum() == 1


def test_integers_are_not_joined_to_zeros(cupy):
    ints = Tensor(backend.asarray(np.array([2, 4])))
    with pytest.raises(tf.errors.DTypeError):
        join([ints, ints])


def test_join_is_as_defined(cupy):
    mask = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]], bool)
    branches = [array(3, 2, 2, 4) for _ in range(3)]
    agree(lambda *xs: join(xs), *branches)
    agree(lambda *xs: join(xs, mask), *branches)
    agree(lambda *xs: join(xs, mask[:, :2]), *branches[:2])


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "plain": lambda p: optim.SGD(p, lr=0.1, momentum=0.0, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("which", OPTIMIZERS)
@pytest.mark.parametrize("quick", [False, True])
def test_a_step_of_an_optimizer_is_as_defined(which, quick, cupy):
    start = RNG.normal(size=(3, 4))

    def run(reference):
        p = nn.Parameter(backend.asarray(start))
        optimizer = OPTIMIZERS[which]([p])
        for _ in range(4):
            loss = (p**3).sum()
            optimizer.zero_grad()
            loss.backward()
            if reference:
                with tf.reference():
                    optimizer.step()
            else:
                optimizer.step()
        return p.numpy()

    np.testing.assert_allclose(run(quick), run(True), rtol=1e-12)


def test_adam_in_float32_keeps_the_digits_of_1_minus_beta(cupy):
    g = RNG.normal(size=50).astype(np.float32)

    def square(backend_):
        with backend.using(backend_):
            p = nn.Parameter(backend.asarray(np.zeros(50, np.float32)))
            optimizer = optim.Adam([p], betas=(0.9, 0.99999))
            for _ in range(20):
                p.grad = Tensor(backend.asarray(g))
                optimizer.step()
            return backend.asnumpy(optimizer.memory["square"][0])

    np.testing.assert_allclose(square("cupy"), square("numpy"), rtol=1e-5)


def test_an_optimizer_of_ones_own_takes_its_own_step(cupy):
    class Half(optim.SGD):
        def update(self, group, t, w, g, *memory):
            w *= 0.5

    class Still(optim.Adam):
        def adapt(self, group, t, w, g, *memory):
            pass

    for kind, left in ((Half, 0.5), (Still, 1.0)):
        p = nn.Parameter(backend.asarray(np.ones(3)))
        optimizer = kind([p], lr=0.1)
        (p * 7).sum().backward()
        optimizer.step()
        assert p.numpy().tolist() == [left] * 3


# ----- The text of a kernel is C and Python at once -----


def kernels():
    """All that the library has, the generated ones in two sizes."""
    flags = (False, True)
    found = [cuda.MEAN, cuda.VARIANCE, cuda.MOVE, cuda.ADAM, *cuda.SGD.values()]
    found += [cuda._normalize(relu) for relu in flags]
    found += [k for relu in flags for fixed in flags for k in cuda._backward(relu, fixed)]
    for n in (2, 4):
        found += [cuda._weighted_sum(n), cuda._max_forward(n), cuda._max_backward(n)]
    return found


def as_c(kernel, name, dtype):
    """A loop over n numbers around the text, as CuPy writes it."""
    inputs, outputs, text = kernel.parts[:3]
    of_in, of_out = ([part.split()[1] for part in side.split(",")] for side in (inputs, outputs))
    params = [f"const T *in_{x}" for x in of_in] + [f"T *out_{y}" for y in of_out] + ["int n"]
    names = [f"const T {x} = in_{x}[i];" for x in of_in] + [f"T &{y} = out_{y}[i];" for y in of_out]
    if isinstance(kernel, cuda.Sum):
        text = f"T a = T(0); T b = {text}; a = a + b; {kernel.parts[4]}"
    return (
        f"namespace {name}_{dtype} {{ typedef {dtype} T; {cuda.WHERE}\n"
        f'extern "C" void {name}_{dtype}({", ".join(params)}) {{\n'
        f"  for (int i = 0; i < n; i++) {{ {' '.join(names)} {text}; }}\n}} }}\n"
    )


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_the_text_of_a_kernel_means_the_same_in_c(cupy, tmp_path):
    if not hasattr(cupy, "is_standin"):
        pytest.skip("CuPy itself compiles them")
    source = "#include <cmath>\n#define __device__\nusing std::sqrt;\n"
    dtypes = {"float": np.float32, "double": np.float64}
    for number, kernel in enumerate(kernels()):
        for dtype in dtypes:
            source += as_c(kernel, f"k{number}", dtype)
    (tmp_path / "kernels.cpp").write_text(source, "utf-8")
    built = ["c++", "-shared", "-fPIC", "-ffp-contract=off", "kernels.cpp", "-o", "kernels.so"]
    subprocess.run(built, cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "kernels.so"))
    for number, kernel in enumerate(kernels()):
        for dtype, type_ in dtypes.items():
            inputs, outputs = (side.split(",") for side in kernel.parts[:2])
            # of equal numbers many, and no roots of negative ones
            given = [RNG.integers(1, 4, size=50).astype(type_) / 4 for _ in inputs]
            given[0] -= type_(0.5)
            start = [np.ones(50, type_) for _ in outputs]
            in_c = [a.copy() for a in start]
            pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (*given, *in_c)]
            getattr(library, f"k{number}_{dtype}")(*pointers, ctypes.c_int(50))
            on_device = [backend.asarray(a) for a in (*given, *start)]
            if isinstance(kernel, cuda.Sum):
                made = cuda._compiled(cupy.ReductionKernel, *kernel.parts)
                in_python = [made(*(a[None] for a in on_device[: len(given)]), axis=0)]
            else:
                kernel(*on_device)
                in_python = on_device[len(given) :]
            for c, python in zip(in_c, in_python, strict=True):
                tolerance = 1e-5 if type_ is np.float32 else 1e-13
                np.testing.assert_allclose(
                    c,
                    backend.asnumpy(python),
                    rtol=tolerance,
                    atol=tolerance,
                    err_msg=str(kernel.parts),
                )


def test_kernels_of_mixed_types_are_refused_before_they_reach_the_gpu(cupy):
    with pytest.raises(TypeError, match="mismatched"):
        cuda.MOVE(array(3), 0.9, 0.1, array(3, dtype=np.float32))
