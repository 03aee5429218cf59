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
# *40 minutes. Afterwards you can read [`backend/__init__.py`](../tinyfractal/backend/__init__.py).*
#
# One word moves a network from your processor to a graphics card. Then the last digits of the loss
# are different, after a few hundred steps so are the weights, and a small network may even train
# more slowly. Has something gone wrong?
#
# Nothing has. In this chapter you find out what must stay the same on a graphics processor (GPU),
# what cannot, and how to tell beforehand whether it pays. You need no GPU: all of it runs on the
# CPU, the processor your Python runs on. The one question that only a GPU can answer comes last.

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
from figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, use_style
from smaller import smaller

tf.backend.use("numpy")  # whatever the environment says: this chapter switches by itself
use_style()
train, test = tf.data.load_digits()
images, labels = train.images, train.labels  # (1438, 8, 8, 1), (1438,)

# %% [markdown]
# ## One name for two libraries
#
# NumPy computes on the CPU. CuPy has the same functions under the same names, but its arrays are in
# the memory of an NVIDIA GPU. So the library writes neither `numpy.exp` nor `cupy.exp`. It writes
# `xp.exp`, and `xp` stands for whichever is in use. This is all there is to `xp`:

# %%
print(inspect.getsource(type(xp)))

# %% [markdown]
# Python calls `__getattr__` only for a name that the object does not have yet. So each function is
# looked up once and then kept in `xp` itself. What has this notebook looked up so far?

# %%
tf.exp(tf.Tensor([1.0]))
print(xp)
print(sorted(vars(xp)))
assert xp.exp is np.exp

# %% [markdown]
# `backend.use("cupy")` switches and forgets what was kept, so the next `xp.exp` is the other
# library's. `backend.using` does the same for a `with` block. Is there a GPU where you are?

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
# If there is none, the message says what is missing, and the backend stays what it was.
#
# ## Arrays move at named places
#
# A GPU has a memory of its own, and moving numbers between the two takes time. A library that moved
# them unasked would be slow for reasons you cannot see. So arrays cross in two places only:
# `backend.asarray` takes them to the backend, and `backend.asnumpy` brings them home. In the
# training loop `number` calls `asnumpy`:

# %%
lines = [line.strip() for line in inspect.getsource(tf.train.train_epoch).splitlines()]
there = [line for line in lines if "asarray(" in line]
back = [line for line in lines if "number(" in line]
print("to the backend:", *there, "and home:", *back, sep="\n")
assert len(there) == len(back) == 1

# %% [markdown]
# Each batch goes out once. The losses are added up on the device, and the sum comes home at the end
# of the epoch. Any other crossing is refused:

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
# Training is full of chance: the first weights, the order of the images, the paths that drop. CuPy
# has random numbers too, but different ones. So every draw that shapes a model comes from one
# generator on the CPU, and the result is moved. This is how a layer gets its first weights:

# %%
print(inspect.getsource(tf.init.he_normal))

# %% [markdown]
# Dropout needs too many numbers to move. There the CPU draws only a seed, and `backend.uniform`
# computes the numbers from it with integers, which are never rounded.
#
# Now take one training step and write down what it decides and what it computes:


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
# Both are the same, to the last bit. Now compute that step in another way: on a GPU if there is
# one, and inside `tf.reference()` in any case. There each fast function gives way to its readable
# twin (chapter 16), which adds the same numbers in another order.

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
# The decisions are the same. The numbers are not quite the same. What went wrong?
#
# ## The order of a sum
#
# A float32 keeps 24 binary digits, about seven decimal ones, and each addition rounds its result to
# that. So it matters which numbers you add first:

# %%
big, one = np.float32(2**24), np.float32(1)
print("(big + 1) + 1 - big =", (big + one) + one - big)
print("big + (1 + 1) - big =", big + (one + one) - big)
assert (big + one) + one - big == 0 and big + (one + one) - big == 2

# %% [markdown]
# Neither order is wrong, and each program takes the one that suits its machine. A loop adds from
# the first number to the last. NumPy's `sum` splits the array in half, again and again. A GPU gives
# each of its thousands of small processors a part to add. Below, a loop and NumPy add up more and
# more numbers between 0 and 1. Watch the errors of the two.

# %%
numbers = np.random.default_rng(0).uniform(0, 1, 1_000_000).astype(np.float32)
running = np.cumsum(numbers)  # adds one after the other, in float32
counts = np.unique(np.logspace(1, 6, 60).astype(int))
exact = np.array([math.fsum(numbers[:n].tolist()) for n in counts])
loop = np.abs(running[counts - 1] - exact) / exact
halves = np.abs(np.array([numbers[:n].sum() for n in counts]) - exact) / exact

# %% jupyter={"source_hidden": true}
plt.loglog(counts, np.maximum(loop, 1e-9), color=ORANGE, label="one after the other")
plt.loglog(counts, np.maximum(halves, 1e-9), color=BLUE, label="by halves (NumPy)")
plt.axhline(2.0**-24, color=GRAY, lw=1, ls=":", label="one rounding")
plt.title("The same numbers, added in two orders")
plt.xlabel("how many numbers are added")
plt.ylabel("relative error of the sum")
plt.legend(loc="upper left")
plt.show()
assert np.median(loop[counts > 1e5]) > 10 * np.median(halves[counts > 1e5])

# %% [markdown]
# For many numbers the loop is more than ten times as far off as the halves, and neither is exact. A
# matrix product consists of such sums, and each routine cuts them up differently, for each shape
# and each machine. Here is one product, at once and in two parts:

# %%
rng = np.random.default_rng(0)
a = rng.normal(size=(64, 300)).astype(np.float32)
b = rng.normal(size=(300, 10)).astype(np.float32)
whole, parts = a @ b, a[:, :150] @ b[:150] + a[:, 150:] @ b[150:]
print(f"different in {(whole != parts).sum()} of {whole.size} numbers,")
print(f"by {np.abs(whole - parts).max():.0e} at most; they are about {whole.std():.0f} in size")
assert (whole != parts).any() and np.allclose(whole, parts, atol=1e-4)

# %% [markdown]
# ## Predict, then run
#
# So two machines differ in the last digit from the first step on. Does that matter after hundreds
# of steps? You can find out on one machine. Train a small network twice, with the same seed and
# batches. The second time, before training, move one single weight to the next float32: one
# rounding, in one number.
#
# **How far apart are the weights after 300 steps?** Still about one rounding ($10^{-8}$ of their
# size), a hundred times that, or far enough to see in the second digit? Does it matter whether the
# network uses relu or tanh?


# %%
def train_nudged(activation, seed, nudge, steps=300):
    tf.seed(seed)
    layers = []
    for before, after in ((1, 8), (8, 16)):
        layers += [tf.nn.Conv2d(before, after, 3, bias=False), tf.nn.BatchNorm2d(after)]
        layers += [activation(), tf.nn.AvgPool2d(2)]
    net = tf.nn.Sequential(*layers, tf.nn.Flatten(), tf.nn.Linear(64, 10))
    if nudge:
        weights = net[0].weight.data.reshape(-1)
        weights[1] = np.nextafter(weights[1], np.float32(9))
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
    return np.array(path), tf.train.evaluate(net, test).accuracy  # (steps, weights), a fraction


SEEDS = smaller("seeds", 3, in_browser=1)
drift, accuracies = {"relu": [], "tanh": []}, {"relu": [], "tanh": []}
for name, activation in (("relu", tf.nn.ReLU), ("tanh", tf.nn.Tanh)):
    for seed in range(SEEDS):
        original, accuracy = train_nudged(activation, seed, nudge=False)
        path, nudged_accuracy = train_nudged(activation, seed, nudge=True)
        apart = np.linalg.norm(path - original, axis=1) / np.linalg.norm(original, axis=1)
        drift[name].append(apart)
        accuracies[name].append((accuracy, nudged_accuracy))

# %% tags=["thumbnail"] jupyter={"source_hidden": true, "outputs_hidden": true}
for name, color in (("relu", ORANGE), ("tanh", BLUE)):
    for i, apart in enumerate(drift[name]):
        plt.semilogy(apart, color=color, lw=1.5, label=None if i else name)
plt.title("One rounding in one weight, and what becomes of it")
plt.xlabel("training step")
plt.ylabel("distance of the weights, relative")
plt.legend(loc="center right")
plt.show()
for name, pairs in accuracies.items():
    found = "   ".join(f"{100 * a:.1f} and {100 * b:.1f} %" for a, b in pairs)
    print(f"{name} test accuracy, without and with the nudge: {found}")
at_end = {name: [apart[-1] for apart in runs] for name, runs in drift.items()}
for name, ends in at_end.items():
    print(f"{name} distance at the end:", "  ".join(f"{apart:.0e}" for apart in ends))
assert max(at_end["tanh"]) < 1e-5 and np.median(at_end["relu"]) > 100 * max(at_end["tanh"])
assert all(abs(a - b) < 0.03 for pairs in accuracies.values() for a, b in pairs)

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# With tanh the difference grows to about a hundred roundings and stays there. With relu it does the
# same for a while, and then it leaps: the typical run ends more than a hundred times as far off as
# the worst run with tanh.
#
# Why? A relu makes a *decision*. Above zero it passes the gradient on, below zero it does not.
# Somewhere in the run an input lies so close to zero that a few roundings push it across. The
# output hardly notices, since relu is near zero on both sides. The gradient does: a whole
# contribution is there or not. From that step on they are two different runs. (Max pooling makes
# decisions too. That is why this network takes averages.)
#
# But look at the accuracies. The two of a pair lie within three percentage points of each other.
# Neither run is better: they differ by chance.
#
# </details>
#
# Now you know three questions to ask of any other machine. Are the **decisions** exactly the same?
# Do the numbers of one **step** agree in all but the last few digits? Does a whole **run** do
# equally well, even if it ends at other weights?
#
# ## Where does the time go?
#
# Before you buy a faster machine, find out what is slow. Everything the library computes is the
# value rule or the gradient rule of a primitive (chapter 4), so put a clock into each of them.


# %% jupyter={"source_hidden": true}
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

# %% jupyter={"source_hidden": true}
total = {}
for (name, _), seconds in spent.items():
    total[name] = total.get(name, 0.0) + seconds
largest = sorted(total, key=total.get)[-5:]
plt.figure(figsize=(6.4, 2.6))
left = np.zeros(len(largest))
for way, color in (("forward", BLUE), ("backward", ORANGE)):
    share = np.array([spent.get((name, way), 0.0) for name in largest]) / sum(total.values())
    plt.barh(largest, 100 * share, left=100 * left, color=color, label=way, height=0.6)
    left += share
plt.title("A training step, primitive by primitive")
plt.xlabel("percent of the time in primitives")
plt.grid(axis="y", visible=False)
plt.legend(loc="lower right")
plt.show()
share = {name: seconds / sum(total.values()) for name, seconds in total.items()}
first, second = sorted(total, key=total.get)[:-3:-1]
print(f"most: {first} {100 * share[first]:.0f} %, then {second} {100 * share[second]:.0f} %")

# %% [markdown]
# Convolution usually takes the largest share: it does nearly all the arithmetic. But batch norm
# does hardly any, a few operations for each number. Why does it show at all?
#
# ## Operations per byte
#
# A processor must fetch a number before it can compute with it. A relu on $n$ numbers does $n$
# comparisons, and reads $4n$ bytes and writes $4n$. A $3 \times 3$ convolution from $C$ channels to
# $C$ channels does far more with what it fetches: each number of the output is a sum of $9C$
# products. The quotient is called the **arithmetic intensity**:
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
# With 64 channels a convolution has more than a thousand times the intensity of a relu. A machine
# has two limits: the operations it can do in a second, its **peak**, and the bytes its memory can
# move in a second. Whichever limit comes first sets the speed:
#
# $$\text{operations per second} \le \min(\text{peak},\ I \cdot \text{bytes per second})$$
#
# On logarithmic axes this is a slope and then a flat top: the **roofline**. Measure both numbers of
# your machine, the peak with matrix products and the memory with a copy. Then see how close to the
# roof a relu comes, and a convolution. We take the readable one of `tf.reference()`, because it
# does every product that we counted.


# %%
def race(ways, rounds=6):
    """The least seconds of each way. They take turns, so that a slow moment hits all alike."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(1 + rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


long, target = np.ones(8_000_000, np.float32), np.empty(8_000_000, np.float32)
t = race({"copy": lambda: np.copyto(target, long), "relu": lambda: np.maximum(long, 0, out=target)})
bandwidth, points = 2 * long.nbytes / t["copy"], {"relu": (1 / 8, long.size / t["relu"])}

squares = {n: np.ones((n, n), np.float32) for n in (256, 512, 1024)}
ways = {n: lambda m=m: m @ m for n, m in squares.items()}
for C in (1, 4, 16, 64):
    x, w = np.ones((N, H, W, C), np.float32), np.ones((3, 3, C, C), np.float32)
    ways[f"conv {C}"] = tf.reference()(lambda x=x, w=w: tf.conv2d(x, w, padding="same"))
ways["fast"] = lambda: tf.conv2d(x, w, padding="same")  # 64 channels
t = race(ways)
peak = max(2 * n**3 / t[n] for n in squares)
for C in (1, 4, 16, 64):
    operations, moved = conv_work(C)
    points[f"conv {C}"] = (operations / moved, operations / t[f"conv {C}"])
fast = operations / t["fast"]

# %% jupyter={"source_hidden": true}
intensity = np.logspace(-1.3, 2.7, 100)
plt.loglog(intensity, np.minimum(peak, intensity * bandwidth) / 1e9, color=GRAY, label="the roof")
for name, (i, speed) in points.items():
    plt.plot(i, speed / 1e9, "o", color=ORANGE if name == "relu" else BLUE)
    plt.annotate(name, (i, speed / 1e9), (6, -11), textcoords="offset points", fontsize=9)
plt.plot(i, fast / 1e9, "o", mfc="white", color=BLUE, label="conv 64, the fast one")
plt.ylim(min(speed for _, speed in points.values()) / 3e9, 3 * max(peak, fast) / 1e9)
plt.title("Slope: waiting for memory. Flat top: waiting for arithmetic")
plt.xlabel("operations per byte")
plt.ylabel("billion operations per second")
plt.legend(loc="upper left")
plt.show()
above = [name for name, (i, v) in points.items() if v > 1.1 * min(peak, i * bandwidth)]
if above:
    print(f"{', '.join(above)}: above the roof? The machine was busy with something else while the")
    print("roof was measured. Run these two cells again when it is quiet.")
for name, (i, v) in points.items():
    print(f"{name:8} {100 * v / min(peak, i * bandwidth):4.0f} % of the roof above it")
print(f"conv 64, the fast one: {fast / peak:.1f} times the peak, in products of the definition")

# %% [markdown]
# The relu lies under the slope. A processor twice as fast would not make it any quicker: it waits
# for memory, and so do batch norm and the optimizer. A convolution with many channels has the flat
# top above it, so arithmetic should set its speed. Yet this one stays well below, because our count
# was kind: each of its nine products goes through memory too.
#
# The hollow point is the library's fast `conv2d`. It does better, and may lie close to the roof or
# even above it. No law is broken: it finds the same sums with fewer operations than we counted
# (chapter 17).
#
# A large GPU has a higher roof in both parts, and its data sheet says how high. That is what large
# arrays can gain. For small ones something else decides.
#
# ## The price of a call
#
# Every operation takes time before its first number is computed: Python finds the function, the
# engine records it, NumPy allocates an array. So a training step on $n$ images should take
#
# $$t(n) = \text{overhead} + n \cdot \text{work per image}$$
#
# Measure it, and fit the two numbers.


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
    """Overhead and work per image, such that the relative errors are small; neither below 0."""
    terms = np.stack([np.ones(len(BATCHES)), np.array(BATCHES)], axis=1) / seconds[:, None]
    return np.linalg.lstsq(terms, np.ones(len(BATCHES)), rcond=None)[0].clip(1e-6)


seconds = time_steps()
overhead, work = fit(seconds)
print(f"overhead {1000 * overhead:.2f} ms a step, work {1000 * work:.3f} ms an image")
print(f"an image alone costs {seconds[0] / (seconds[6] / 64):.1f} times what it costs among 64")

# %% jupyter={"source_hidden": true}
n = np.array(BATCHES)
plt.semilogx(n, 1000 * seconds / n, "o", color=BLUE, label="measured")
plt.semilogx(n, 1000 * (overhead / n + work), color=BLUE, lw=1, label="overhead / n + work")
plt.axhline(1000 * work, color=GRAY, lw=1, ls=":", label="work alone")
plt.xticks(n, n)
plt.minorticks_off()
plt.title("In a large batch, an image is cheap")
plt.xlabel("images in a batch")
plt.ylabel("milliseconds per image")
plt.ylim(bottom=0)
plt.legend()
plt.show()

# %% [markdown]
# On the left you pay for the overhead, on the right for the work. On a GPU every operation must
# also be sent to another device (a **kernel launch**; a kernel is a program on the GPU), so the
# overhead is larger. The work per image is smaller. So each machine has a straight line for its
# time, and the two cross at
#
# $$n^* = \frac{\text{overhead}_\text{GPU} - \text{overhead}_\text{CPU}}
# {\text{work}_\text{CPU} - \text{work}_\text{GPU}}$$
#
# Below $n^*$ images the GPU loses. In the next figure only the CPU's line comes from your machine.
# The GPU's are **assumed**, not measured: 2, 5 or 20 times the overhead, a fiftieth of the work.
# Look for the crossings, the dots.

# %% jupyter={"source_hidden": true}
ASSUMED_FASTER = 50
many = np.logspace(0, 3.5, 100)
plt.loglog(many, 1000 * (overhead + work * many), color=BLUE, label="CPU, measured and fitted")
for factor, color in ((2, GREEN), (5, ORANGE), (20, PURPLE)):
    gpu_time = factor * overhead + work / ASSUMED_FASTER * many
    crossing = (factor - 1) * overhead / (work - work / ASSUMED_FASTER)
    plt.loglog(many, 1000 * gpu_time, color=color, label=f"assumed GPU, {factor} × overhead")
    plt.plot(crossing, 1000 * (overhead + work * crossing), "o", color=color)
    at_crossing = factor * overhead + work / ASSUMED_FASTER * crossing
    assert math.isclose(at_crossing, overhead + work * crossing)
    print(f"assumed: overhead {factor:2}×, work 1/{ASSUMED_FASTER}: even at {crossing:.0f} images")
plt.title("Small batches are quicker on the CPU")
plt.ylim(top=1000 * 20 * overhead * 20)
plt.xlabel("images in a batch")
plt.ylabel("milliseconds per step")
plt.legend(loc="upper left", fontsize=8)
plt.show()

# %% [markdown]
# These images are tiny, 8 by 8. At 32 by 32 there is sixteen times the work for the same overhead,
# so by this count the lines cross sixteen times sooner. The rule is short: **a GPU is for large
# arrays**. Large batches, large images, many channels. A small network on small images is better
# off on the CPU.
#
# Why is there a `wait` before and after each measurement? A launch returns at once, while the GPU
# is still at work. Without waiting, you time only how fast Python issues calls. That is also why
# the losses are added up on the device: if you ask for one at each step, Python waits for the GPU,
# and then the GPU waits for Python.
#
# As long as Python and the GPU work side by side, a step takes as long as the slower of them. With
# a small network that is Python, and then the cure is fewer launches. So on a GPU the library
# computes a convolution as one matrix product, batch norm and its relu as one kernel, and each
# parameter's update as another. A test counts the launches (`tests/test_cuda.py`).
#
# ## What a real one does
#
# Where there is a GPU, the next cell times the same steps on it and on its CPU, and keeps both in a
# file, with the names of the devices.

# %% jupyter={"source_hidden": true}
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
    print("No GPU figures have been recorded yet. Run this notebook on a machine with an NVIDIA")
    print(f"GPU and CuPy, and they will be in {RECORD.as_posix()}, with the name of the machine.")

# %% [markdown]
# If it says that there are no figures, nobody has yet reported running tinyfractal on a GPU. You
# could be the first: in the project's folder, `python -m tests.gpu` asks the three questions above
# and runs all the tests on the GPU.
#
# ## What you now own
#
# You can tell a harmless difference from a bug. The same seed must give the same decisions. A step
# may differ in its last digits, because sums are rounded and their order depends on the machine.
# A run may end elsewhere, because a relu turns a rounding into a decision. And before you move a
# network to a GPU you can say whether it will gain: count operations and bytes, measure overhead
# and work, and see where the lines cross.
#
# ## Now read the source
#
# [`backend/__init__.py`](../tinyfractal/backend/__init__.py) is short. From the top:
# `ArrayLibrary`, which you have seen; `use`, `using` and `_load`; `asarray` and `asnumpy`, the two
# crossings; `check_array`, which refuses an array of the other library and names both; the
# generator behind all chance; and `info`, the facts that belong beside any measured time. The
# sentences on what can be missing are in [`backend/cuda.py`](../tinyfractal/backend/cuda.py). What
# is quick on a GPU is in [`fast/cuda.py`](../tinyfractal/fast/cuda.py), where each kernel is a
# formula in one line. Look through the core for `xp.`: there is no other switch. And since few
# testers have a GPU, `tests/standin` has arrays with CuPy's functions and no others. They refuse to
# mix with NumPy's, and they count copies, waits and launches.
#
# N. Higham, *Accuracy and Stability of Numerical Algorithms*, has a chapter on sums. The roofline:
# S. Williams, A. Waterman, D. Patterson, *Roofline: an insightful visual performance model for
# multicore architectures*, Communications of the ACM, 2009.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/18_gpu.py`.
#
# **1. A careful sum.** Add up a list of `np.float32` numbers one after the other, with variables of
# that type only, and be right to one rounding. Kahan's idea (1965): each addition loses something
# in its last digits, and two subtractions tell you what it lost. Keep that in a second variable,
# and give it back with the next number.


# %%
def careful_sum(numbers): ...


check_sum(careful_sum)

# %% [markdown]
# **2. Operations per byte.** What is the arithmetic intensity of a convolution with a $k \times k$
# kernel and "same" padding, from $(N, H, W, C)$ to $(N, H, W, D)$, in float32? Count a product and
# its addition as two operations (also where the kernel meets the padding), and let $x$, kernel and
# output cross the memory once each.


# %%
def intensity_of_conv(N, H, W, C, D, k): ...


check_intensity(intensity_of_conv)

# %% [markdown]
# **3. Break even.** Each of two machines is given as `(overhead, work)` in seconds. Return the
# smallest whole batch for which the second is strictly faster, or `None` if it never is. Careful:
# one machine may be better in both.


# %%
def break_even(first, second): ...


check_break_even(break_even)

# %% [markdown]
# **4. What follows the seed?** Which of these draw the same numbers again after `tf.seed(0)`?
# Answer with a list of names.

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
