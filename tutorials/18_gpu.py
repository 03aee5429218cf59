# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 18. What changes on a GPU?
#
# *45 minutes. Afterwards you can read [`backend/__init__.py`](../tinyfractal/backend/__init__.py).*
#
# A graphics processor (GPU) computes some things much faster than the processor your Python runs on
# (the CPU), and others more slowly. tinyfractal is written for both at once. In this chapter you
# see how, what stays the same when you switch, what does not (the last digits), and how to tell
# beforehand whether a GPU will help. You need none: everything here runs on the CPU, and what only
# a GPU can answer is kept apart and runs where there is one.

# %%
import inspect
import json
import math
import time
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.backend import xp
from tinyfractal.engine.operators import PRIMITIVES
from tinyfractal.errors import BackendError

from exercises.gpu import check_break_even, check_intensity, check_seeded, check_sum

tf.backend.use("numpy")  # whatever the environment says: this chapter switches by itself
from figures import use_style

use_style()
train, test = tf.data.load_digits()
images, labels = train.images, train.labels  # (1438, 8, 8, 1), (1438,)

# %% [markdown]
# ## One name for two libraries
#
# NumPy computes on the CPU. CuPy is a library with the same functions under the same names, whose
# arrays lie in the memory of an NVIDIA GPU. So code that says neither `numpy.exp` nor `cupy.exp`
# but `xp.exp` can run on both, if `xp` stands for the library in use. Here is all there is to `xp`:

# %%
print(inspect.getsource(type(xp)))

# %% [markdown]
# Python calls `__getattr__` only for a name that an object does not have yet. So each function is
# looked up once, in the library in use, and then kept in `xp` itself. What has been looked up in
# this notebook so far?

# %%
tf.exp(tf.Tensor([1.0]))
print(xp)
print(sorted(vars(xp)))
assert xp.exp is np.exp

# %% [markdown]
# `backend.use` switches, and forgets what was kept, so that the next `xp.exp` is the other
# library's. (`backend.using` does it for the length of a `with` block, and
# `TINYFRACTAL_BACKEND=cupy` in the environment from the start.) Is there a GPU where you are?

# %%
try:
    tf.backend.use("cupy")
    has_gpu = True
    print("There is:", tf.backend.info()["device"])
except BackendError as error:
    has_gpu = False
    print(error)
tf.backend.use("numpy")

# %% [markdown]
# One sentence that says what is missing, whether that is CuPy, the driver or the GPU. The backend
# stays what it was. (`pip install 'tinyfractal[gpu]'` brings CuPy for drivers that can do CUDA 12
# or 13; `[gpu13]` brings the one for CUDA 13 alone. `nvidia-smi` prints what your driver can do.
# Install one of them, since their files have the same names.)
#
# ## Arrays move at named places
#
# A GPU has a memory of its own, and moving numbers between the two memories takes time. A library
# that did it unasked would be slow for reasons nobody can see. So there are two places only:
# `backend.asarray` brings numbers to the backend, `backend.asnumpy` (and `Tensor.numpy`, which
# calls it) brings them home. In the training loop you find both kinds of line:

# %%
for line in inspect.getsource(tf.train.train_epoch).splitlines():
    if "asarray(" in line or "number(" in line:
        print(line.strip())

# %% [markdown]
# A batch goes to the backend, and the loss comes home as a Python `float` only when somebody wants
# to read it. Whatever would move an array silently is refused. NumPy may not take a Tensor by
# itself:

# %%
try:
    np.asarray(tf.Tensor([1.0, 2.0]))
except TypeError as error:
    print(error)
else:
    raise AssertionError("should have been refused")

if has_gpu:
    with tf.backend.using("cupy"):
        on_gpu = tf.Tensor([1.0, 2.0])
    try:
        tf.Tensor([1.0, 2.0]) + on_gpu.data
    except BackendError as error:
        print(error)

# %% [markdown]
# ## Same seed, same decisions
#
# A training run is full of chance: the first weights, the order of the images, which paths
# drop-path drops. CuPy has random numbers too, but other ones than NumPy. If each library drew its
# own, a run on the GPU would be another run. So all draws that shape a model come from one
# generator on the CPU, and their results are moved. (Dropout needs a number for every activation,
# too many to move at each step. There only a seed is drawn on the CPU, and `backend.uniform`
# computes the numbers from it, with integers, on which both machines agree to the last bit.)

# %%
print(inspect.getsource(tf.init.he_normal))

# %% [markdown]
# Let us write down what one training step decides, and what it computes, with whatever backend is
# in use:


# %%
def one_step():
    tf.seed(0)
    net = tf.FractalNet(columns=3, channels=(16, 32))
    chosen = tf.backend.rng().integers(len(images), size=32)
    decided = [net.parameters()[0].numpy(), chosen, net.drop_path.sample(3, rows=32)]
    x, y = tf.Tensor(images[chosen]), tf.backend.asarray(labels[chosen])
    loss = tf.cross_entropy(net(x), y)
    loss.backward()
    gradient = np.concatenate([p.grad.numpy().ravel() for p in net.parameters()])
    return decided, loss.item(), gradient


def compare(first, second):
    (decided, loss, gradient), (decided2, loss2, gradient2) = first, second
    assert all(np.array_equal(a, b) for a, b in zip(decided, decided2))
    apart = np.linalg.norm(gradient2 - gradient) / np.linalg.norm(gradient)
    print("weights, batch and drop-path: the same")
    print(f"losses {loss:.7f} and {loss2:.7f}, gradients {apart:.0e} apart")
    return apart


assert compare(one_step(), one_step()) == 0

# %% [markdown]
# Twice the same, to the last bit. Now we compute the same step in another way. With a GPU, on the
# GPU; without one there is a stand-in: inside `tf.reference()` (chapter 4) each fast primitive is
# replaced by its readable twin, which does the same sums in another order.

# %%
with tf.reference():
    by_reference = one_step()
apart = compare(one_step(), by_reference)
assert 0 < apart < 1e-3

if has_gpu:
    with tf.backend.using("cupy"):
        on_gpu = one_step()
    assert compare(one_step(), on_gpu) < 1e-3

# %% [markdown]
# The decisions are the same, and the numbers are not quite. Whose fault is that?
#
# ## The order of a sum
#
# A float32 keeps 24 binary digits, about seven decimal ones. After each addition the result is
# rounded to that. So it matters what is added first:

# %%
big, one = np.float32(2**24), np.float32(1)
print("(big + 1) + 1 - big =", (big + one) + one - big)
print("big + (1 + 1) - big =", big + (one + one) - big)
assert (big + one) + one - big == 0 and big + (one + one) - big == 2

# %% [markdown]
# No order is the right one, and each program chooses the one that suits its machine. A GPU with
# thousands of small processors lets each of them add up a part, and then adds up the parts. NumPy's
# `sum` splits the array into halves, again and again, down to small blocks, and adds their sums. A
# simple loop goes from the first number to the last. Here are a loop and NumPy's sum for more and
# more numbers between 0 and 1, beside the exact sum:

# %%
numbers = np.random.default_rng(0).uniform(0, 1, 1_000_000).astype(np.float32)
running = np.cumsum(numbers)  # adds one after the other, in float32
counts = np.unique(np.logspace(1, 6, 60).astype(int))
exact = np.array([math.fsum(numbers[:n].tolist()) for n in counts])
loop = np.abs(running[counts - 1] - exact) / exact
halves = np.abs(np.array([numbers[:n].sum() for n in counts]) - exact) / exact

# %%
plt.loglog(counts, np.maximum(loop, 1e-9), color="tab:red", label="one after the other")
plt.loglog(counts, np.maximum(halves, 1e-9), color="tab:blue", label="by halves (NumPy)")
plt.axhline(2.0**-24, color="black", lw=1, ls=":", label="one rounding")
plt.xlabel("how many numbers are added")
plt.ylabel("relative error of the sum")
plt.legend(loc="upper left")
plt.show()
assert np.median(loop[counts > 1e5]) > 10 * np.median(halves[counts > 1e5])

# %% [markdown]
# For many numbers the loop is more than ten times as far off as the halves, but neither is exact.
# (Higham's *Accuracy and Stability of Numerical Algorithms* has a chapter on sums.) A matrix
# product is made of such sums, and a routine may cut it into other pieces for other shapes. The
# same product, at once and in two parts:

# %%
rng = np.random.default_rng(0)
a = rng.normal(size=(64, 300)).astype(np.float32)
b = rng.normal(size=(300, 10)).astype(np.float32)
whole, parts = a @ b, a[:, :150] @ b[:150] + a[:, 150:] @ b[150:]
print(f"different in {(whole != parts).sum()} of {whole.size} numbers,")
print(f"by {np.abs(whole - parts).max():.0e} at most; they are about {whole.std():.0f} in size")
assert (whole != parts).any() and np.allclose(whole, parts, atol=1e-4)

# %% [markdown]
# Two more things round differently on a GPU, and neither is a fault. CuPy has its kernels treat
# float32 numbers below $10^{-38}$ as 0, where a CPU keeps them with fewer digits. And a GPU can
# multiply matrices faster if it may round their numbers to 11 of the 24 digits first (**TF32**).
# CuPy does so only if `CUPY_TF32=1` is in the environment when it starts, and only in products of
# two matrices; products of whole stacks of matrices stay in float32.
#
# ## Predict, then run
#
# So two machines differ in the last digit from the first step on. Does that matter in a training
# run of hundreds of steps? We can find out on one machine. We train a small network, then train it
# again with the same seed and the same batches. Only one of its first weights is moved to the next
# float32 there is. That is one rounding, in one number.
#
# **How far apart are the weights after 300 steps?** As far as one rounding ($10^{-8}$ of their
# size), a hundred times as far, or do the two have little in common? And does it make a difference
# whether the network uses relu or tanh?


# %%
def train_nudged(activation, nudge=None, steps=300):
    tf.seed(0)
    layers = []
    for before, after in ((1, 8), (8, 16)):
        layers += [tf.nn.Conv2d(before, after, 3, bias=False), tf.nn.BatchNorm2d(after)]
        layers += [activation(), tf.nn.AvgPool2d(2)]
    net = tf.nn.Sequential(*layers, tf.nn.Flatten(), tf.nn.Linear(64, 10))
    if nudge is not None:
        weights = net[0].weight.data.reshape(-1)
        weights[nudge] = np.nextafter(weights[nudge], np.float32(9))
    optimizer = tf.optim.SGD(net.parameters(), lr=0.1)
    path = []
    for _ in range(steps):
        chosen = tf.backend.rng().integers(len(images), size=50)
        logits = net(tf.Tensor(images[chosen]))
        loss = tf.cross_entropy(logits, labels[chosen], label_smoothing=0.3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append(np.concatenate([p.numpy().ravel() for p in net.parameters()]))
    accuracy = tf.train.evaluate(net, test).accuracy
    return np.array(path), accuracy  # (steps, weights), a fraction


# %%
NUDGES = (1, 10, 20, 30, 40)
drift, accuracies = {}, {}
for name, activation in (("relu", tf.nn.ReLU), ("tanh", tf.nn.Tanh)):
    original, accuracy = train_nudged(activation)
    drift[name], accuracies[name] = [], [accuracy]
    for nudge in NUDGES:
        path, accuracy = train_nudged(activation, nudge)
        apart = np.linalg.norm(path - original, axis=1) / np.linalg.norm(original, axis=1)
        drift[name].append(apart)
        accuracies[name].append(accuracy)

# %% jupyter={"outputs_hidden": true} tags=["thumbnail"]
for name, color in (("relu", "tab:red"), ("tanh", "tab:blue")):
    for i, apart in enumerate(drift[name]):
        plt.semilogy(apart, color=color, lw=1.3, label=None if i else name)
plt.xlabel("training step")
plt.ylabel("distance of the weights, relative")
plt.legend()
plt.show()
for name, found in accuracies.items():
    print(name, "test accuracy:", "  ".join(f"{100 * accuracy:.1f} %" for accuracy in found))
at_end = {name: [apart[-1] for apart in runs] for name, runs in drift.items()}
for name, ends in at_end.items():
    print(f"{name} distance at the end:", "  ".join(f"{apart:.0e}" for apart in ends))
assert max(at_end["tanh"]) < 1e-5 and np.median(at_end["relu"]) > 100 * max(at_end["tanh"])
assert all(max(found) - min(found) < 0.03 for found in accuracies.values())

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# With tanh the difference grows slowly and stays small. With relu it does the same for a while, and
# then it leaps: at the end, the typical run with relu is more than a hundred times as far off as
# the worst with tanh. Why? A relu is a *decision*: above zero it passes a gradient on, below it
# does not. Somewhere in the run an input lies so close to zero that a few roundings put it on the
# other side. The output hardly notices, since relu is near zero on both sides. The gradient does: a
# whole contribution is there or not. From that step on the two runs have different gradients, and
# are different runs. (The labels are smoothed, so that the gradients do not die out when every
# image is learned.)
#
# But look at the accuracies. They lie within three percentage points of each other. What differs
# between the runs is chance, and not how good they are.
#
# </details>
#
# This says what you can ask of a GPU, or of any other machine. The **decisions** must be the same
# exactly. One **step** must give the same numbers to rounding. A whole **run** must do equally
# well, and need not end at the same weights.
#
# ## Where does the time go?
#
# Before one buys a faster machine, one should know what is slow. Every computation of the library
# is the value rule or the gradient rule of a primitive. So a clock in each of them accounts for
# everything. The one difficulty: rules call other primitives (the gradient of `conv2d` calls
# `pad`), and their time must not be counted twice. A list of the clocks that are running takes care
# of that.


# %%
def wait():
    """Let a GPU finish: it works on after the call that started it has returned."""
    if tf.backend.current() == "cupy":
        xp.cuda.Device().synchronize()


@contextmanager
def profile():
    spent, running = {}, []

    def timed(label, rule):
        def run(*args):
            running.append(0.0)
            start = time.perf_counter()
            result = rule(*args)
            wait()
            taken = time.perf_counter() - start
            inner = running.pop()  # what primitives called from here have taken
            spent[label] = spent.get(label, 0.0) + taken - inner
            if running:
                running[-1] += taken
            return result

        return run

    for name, p in PRIMITIVES.items():
        p.on_tensors = timed((name, "forward"), p.on_tensors)
        p.gradients = timed((name, "backward"), p.gradients)
    try:
        yield spent
    finally:
        for p in PRIMITIVES.values():
            del p.on_tensors, p.gradients


# %%
def new_training():
    tf.seed(0)
    net = tf.FractalNet(columns=3, channels=(16, 32), drop_path=0)
    optimizer = tf.optim.SGD(net.parameters(), lr=0.02)

    def step(x, y):
        loss = tf.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


step = new_training()
x, y = tf.Tensor(images[:64]), tf.backend.asarray(labels[:64])  # (64, 8, 8, 1)
step(x, y)  # once to warm up
with profile() as spent:
    for _ in range(5):
        step(x, y)

# %%
total = {}
for (name, _), seconds in spent.items():
    total[name] = total.get(name, 0.0) + seconds
largest = sorted(total, key=total.get)[-6:]
plt.figure(figsize=(6.4, 2.6))
left = np.zeros(len(largest))
for way, color in (("forward", "tab:blue"), ("backward", "tab:orange")):
    share = np.array([spent.get((name, way), 0.0) for name in largest]) / sum(total.values())
    plt.barh(largest, 100 * share, left=100 * left, color=color, label=way, height=0.6)
    left += share
plt.xlabel("percent of the time in primitives")
plt.gca().set_axisbelow(True)
plt.grid(axis="y", visible=False)
plt.legend(loc="lower right")
plt.show()

# %% [markdown]
# The convolutions take the largest share, and what is left is mostly work that is hardly
# arithmetic at all: a relu compares each number with zero. Why does that take any time worth
# drawing?
#
# ## Operations per byte
#
# A processor must fetch numbers from memory before it can compute with them. Count both, for one
# relu on $n$ numbers: $n$ comparisons; $4n$ bytes read and $4n$ written. For a convolution of
# $(N, H, W, C)$ with a $3 \times 3$ kernel to $C$ channels: each of the $N H W C$ outputs is a sum
# of $9 C$ products, so $2 \cdot 9 C \cdot N H W C$ operations; and two arrays of $N H W C$ numbers
# and a kernel go through memory. The quotient is called the **arithmetic intensity**:
#
# $$I = \frac{\text{operations}}{\text{bytes moved}}$$

# %%
N, H, W = 16, 32, 32


def conv_work(C):
    """Operations and bytes of a 3×3 convolution (N, H, W, C) → (N, H, W, C), float32."""
    return 2 * 9 * C * N * H * W * C, 4 * (2 * N * H * W * C + 9 * C * C)


print(f"relu: {1 / 8} operations per byte")
for C in (1, 4, 16, 64):
    operations, moved = conv_work(C)
    print(f"conv, {C:2} channels: {operations / moved:6.1f} operations per byte")
assert conv_work(64)[0] / conv_work(64)[1] > 1000 * (1 / 8)

# %% [markdown]
# More than a thousand times the relu's. A machine can do so many operations a second, and its
# memory can move so many bytes a second. Whichever is used up first decides:
#
# $$\text{operations per second} \le \min(\text{peak},\ I \cdot \text{bytes per second})$$
#
# In a log-log plot this is a slope and then a flat top, and it is called the **roofline**
# (Williams, Waterman & Patterson 2009). We measure both numbers for this machine, the peak with
# matrix products and the memory with a copy, and see how close the primitives come.


# %%
def best_time(f, repeats=3):
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


squares = {n: np.ones((n, n), np.float32) for n in (256, 512, 1024)}
peak = max(2 * n**3 / best_time(lambda m=m: m @ m) for n, m in squares.items())
long, target = np.ones(8_000_000, np.float32), np.empty(8_000_000, np.float32)
bandwidth = 2 * long.nbytes / best_time(lambda: np.copyto(target, long))

points = {"relu": (1 / 8, long.size / best_time(lambda: np.maximum(long, 0, out=target)))}
for C in (1, 4, 16, 64):
    x = np.ones((N, H, W, C), np.float32)
    w = np.ones((3, 3, C, C), np.float32)
    operations, moved = conv_work(C)
    seconds = best_time(lambda x=x, w=w: tf.conv2d(x, w, padding="same"))
    points[f"conv {C}"] = (operations / moved, operations / seconds)

# %%
intensity = np.logspace(-1.3, 2.7, 100)
plt.loglog(intensity, np.minimum(peak, intensity * bandwidth) / 1e9, color="black")
for name, (i, speed) in points.items():
    plt.plot(i, speed / 1e9, "o", color="tab:red" if name == "relu" else "tab:blue")
    plt.annotate(name, (i, speed / 1e9), (6, -11), textcoords="offset points", fontsize=9)
plt.ylim(min(speed for _, speed in points.values()) / 3e9, 2 * peak / 1e9)
plt.xlabel("operations per byte")
plt.ylabel("billion operations per second")
plt.show()

# %% [markdown]
# Under the slope lies what waits for memory, under the flat top what waits for arithmetic. The relu
# is on the slope: a processor with twice the arithmetic would not make it quicker. The convolution
# with one channel lies far below the roof. Our count was too kind to it: it copies every window
# into a matrix before it multiplies (chapter 6), and that is memory traffic which the formula left
# out. With many channels the copy is small beside the product.
#
# A GPU has a roof as well, and that of a large one is higher in both parts: more arithmetic, and a
# faster memory. Both figures are in its data sheet, and you can draw its roof beside yours. They
# say what large arrays can gain. For small ones something else decides.
#
# ## The price of a call
#
# Every operation costs something before the first number is computed: Python finds the function,
# the engine records it, NumPy allocates an array. So the time of a training step should be
#
# $$t(n) = \text{overhead} + n \cdot \text{work per image}$$
#
# for a batch of $n$ images. We measure, and fit the two numbers.


# %%
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


def time_steps():
    """Seconds of a training step for each of BATCHES, on the backend in use."""
    step, found = new_training(), []
    for _ in range(6):
        for n in BATCHES:
            x, y = tf.Tensor(images[:n]), tf.backend.asarray(labels[:n])
            wait()
            start = time.perf_counter()
            step(x, y)
            wait()
            found.append(time.perf_counter() - start)
    return np.reshape(found, (6, -1))[1:].min(axis=0)  # the first round warms up


def fit(seconds):
    """Overhead and work per image, such that the relative errors are small."""
    terms = np.stack([np.ones(len(BATCHES)), np.array(BATCHES)], axis=1) / seconds[:, None]
    return np.linalg.lstsq(terms, np.ones(len(BATCHES)), rcond=None)[0]


seconds = time_steps()
overhead, work = fit(seconds)
print(f"overhead {1000 * overhead:.2f} ms a step, work {1000 * work:.3f} ms an image")
print(f"an image alone costs {seconds[0] / (seconds[6] / 64):.1f} times what it costs among 64")

# %%
n = np.array(BATCHES)
plt.semilogx(n, 1000 * seconds / n, "o", color="tab:blue", label="measured")
plt.semilogx(n, 1000 * (overhead / n + work), color="tab:blue", lw=1, label="overhead / n + work")
plt.axhline(1000 * work, color="black", lw=1, ls=":", label="work alone")
plt.xlabel("images in a batch")
plt.ylabel("milliseconds per image")
plt.ylim(bottom=0)
plt.legend()
plt.show()

# %% [markdown]
# To the left of the picture one pays for the overhead, to the right for the work. This is on a CPU.
# On a GPU, each operation must in addition be sent to another device (a **kernel launch**, a kernel
# being a program on the GPU), so the overhead is larger. The work per image is smaller. Two
# straight lines then, and they cross at
#
# $$n^* = \frac{\text{overhead}_\text{GPU} - \text{overhead}_\text{CPU}}
# {\text{work}_\text{CPU} - \text{work}_\text{GPU}}$$
#
# Below $n^*$ the GPU loses. How many images is that? The following figures are **assumed**, not
# measured: a GPU whose overhead is 2, 5 or 20 times that of your CPU, and whose work per image
# takes a fiftieth of the time. Only the CPU's line comes from your machine.

# %%
ASSUMED_FASTER = 50
many = np.logspace(0, 3, 100)
plt.loglog(
    many, 1000 * (overhead + work * many), color="tab:blue", label="CPU, measured and fitted"
)
for factor, color in ((2, "tab:olive"), (5, "tab:orange"), (20, "tab:red")):
    gpu_time = factor * overhead + work / ASSUMED_FASTER * many
    crossing = (factor - 1) * overhead / (work - work / ASSUMED_FASTER)
    plt.loglog(many, 1000 * gpu_time, color=color, label=f"assumed GPU: {factor}× overhead")
    plt.plot(crossing, 1000 * (overhead + work * crossing), "o", color=color)
    at_crossing = factor * overhead + work / ASSUMED_FASTER * crossing
    assert math.isclose(at_crossing, overhead + work * crossing)
    print(f"assumed: overhead {factor:2}×, work 1/{ASSUMED_FASTER}: even at {crossing:.0f} images")
plt.xlabel("images in a batch")
plt.ylabel("milliseconds per step")
plt.legend(fontsize=8)
plt.show()

# %% [markdown]
# The images here are tiny, 8 by 8. By this count, 32 by 32 has sixteen times the work per image for
# the same overhead, and the crossing comes sixteen times sooner. So this is the rule: **a GPU is
# for large arrays**. Large batches, large images, many channels. A small network on small images is
# better off where it is.
#
# Why did `wait` stand around the measurement? A launch returns at once, while the GPU works on.
# Without waiting, you time only how fast Python issues calls. It is also why the training loop
# above adds the losses up on the device. If you ask for the loss as a Python number at each step,
# Python waits for the GPU, and then the GPU waits for Python.
#
# This overlap makes our formula too simple for a GPU. Python sends the next launch while the GPU
# still computes the last one, so a step takes about as long as the slower of the two, and not their
# sum. With a small network Python is the slower one. Then a step takes as long as its launches do,
# and a larger batch costs nothing, until the GPU has enough to do. To make such a step faster, make
# fewer launches. This is why the library goes other ways on a GPU than on a CPU (chapter 17): a
# convolution is windows times kernel, in a single two-dimensional product; normalizing a batch and
# the relu behind it are one kernel, and so is the optimizer's step of a parameter. A test counts
# the launches (`tests/test_cuda.py`): a training step may take 425 with the digits' network, and
# 995 with the paper's, 35 convolutions of up to 512 channels.
#
# Two things may surprise you on a GPU. The first step is slow: CuPy compiles each kernel when it is
# needed for the first time, and keeps it on the disk for the next run. And `nvidia-smi` shows more
# memory in use than your arrays have: CuPy keeps what is freed in a **pool** for the next array,
# because getting memory from the driver takes long. `tf.backend.info()["memory"]` tells the two
# apart.
#
# ## What a real one does
#
# Where there is a GPU, the next cell times the same steps on it and on its own CPU, and writes
# both, with the names of the devices, to `pictures/gpu_times.json`.

# %%
RECORD = Path("pictures/gpu_times.json")


def record_gpu(path=RECORD):
    """Time the training steps on the GPU and on the CPU beside it; write them down with names."""
    runs = {}
    for name in ("numpy", "cupy"):
        with tf.backend.using(name):
            runs[name] = {"facts": tf.backend.info(), "seconds": time_steps().tolist()}
    path.write_text(json.dumps({"batches": BATCHES, "runs": runs}, indent=1) + "\n")


if has_gpu:
    record_gpu()

# %%
if RECORD.exists():
    record = json.loads(RECORD.read_text())
    for name, run in record["runs"].items():
        facts = run["facts"]
        label = f"{name} {facts.get('cupy', facts['numpy'])}, {facts['device']}"
        plt.loglog(record["batches"], 1000 * np.array(run["seconds"]), "o-", ms=4, label=label)
    plt.xlabel("images in a batch")
    plt.ylabel("milliseconds per step")
    plt.legend(fontsize=8)
    plt.show()
else:
    print(
        "No GPU figures have been recorded yet. Run this notebook on a machine with an NVIDIA GPU"
    )
    print(f"and CuPy, and they will be in {RECORD.as_posix()}, with the name of the machine.")

# %% [markdown]
# If it says that there are no figures yet, nobody has yet reported running it on a GPU. It is
# written for one, in the way you have seen. Three things to look at if you are the first: do the
# decisions agree exactly, do the numbers of one step agree to rounding (`compare` above asks both),
# and does a run do equally well? In the project's folder, `python -m tests.gpu` asks all of them,
# and runs all the tests on the GPU.
#
# ## Now read the source
#
# [`backend/__init__.py`](../tinyfractal/backend/__init__.py) is short. From the top:
# `ArrayLibrary`, which you have seen; `use`, `using` and `_load`; `asarray` and `asnumpy`, the two
# crossings, and `check_array`, which refuses an array of the other library and names both; then the
# generator behind all chance; and `info`, the facts that belong beside any measured time. What is
# said of NVIDIA's GPUs in particular is in [`backend/cuda.py`](../tinyfractal/backend/cuda.py): a
# sentence for each thing that can be missing; what is quick on them is in
# [`fast/cuda.py`](../tinyfractal/fast/cuda.py), where each kernel is a formula in one line. Look
# through the core for `xp.`: there is no other switch.
#
# And how can one know, without a GPU, that no array moves by accident? The project's tests have a
# stand-in, `tests/standin`: arrays with CuPy's functions and no others, which refuse to mix with
# NumPy's, and count what is copied, how often Python would wait, and the launches.
#
# The roofline: S. Williams, A. Waterman, D. Patterson, *Roofline: an insightful visual performance
# model for multicore architectures*, Communications of the ACM, 2009.
#
# ## Exercises
#
# Solutions: `solutions/18_gpu.py`.
#
# **1. A careful sum.** Add up a list of `np.float32` numbers one after the other, with variables of
# that type only, and be right to one rounding. The idea (Kahan 1965): each addition loses something
# in its last digits. What it lost can be computed, with two subtractions. Keep it in a second
# variable, and give it back with the next number.


# %%
def careful_sum(numbers): ...


check_sum(careful_sum)

# %% [markdown]
# **2. Operations per byte.** Of a convolution with a $k \times k$ kernel and "same" padding, from
# $(N, H, W, C)$ to $(N, H, W, D)$, float32. Count a product and an addition as two operations (also
# where the kernel meets the padding), and let $x$, kernel and output cross the memory once each.


# %%
def intensity_of_conv(N, H, W, C, D, k): ...


check_intensity(intensity_of_conv)

# %% [markdown]
# **3. Break even.** Two machines, each given as `(overhead, work)` in seconds. Return the smallest
# whole batch for which the second is strictly faster, or `None` if it never is. (Careful: one
# machine may be better in both.)


# %%
def break_even(first, second): ...


check_break_even(break_even)

# %% [markdown]
# **4. Who follows the seed?** Which of these draw the same numbers again after `tf.seed(0)`? Answer
# with a list of names.

# %%
draws = {
    "rng": lambda: tf.backend.rng().random(3),
    "xp": lambda: tf.backend.xp.random.random(3),
    "numpy": lambda: np.random.default_rng().random(3),
    "weights": lambda: tf.nn.Linear(2, 3).weight.numpy(),
    "dropout": lambda: tf.dropout(tf.Tensor(np.ones(50)), 0.5).numpy(),
    "drop-path": lambda: tf.FractalNet(columns=3, channels=(4,)).drop_path.sample(3, rows=50),
}
follow = ...

check_seeded(draws, follow)
