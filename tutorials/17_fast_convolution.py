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
# # 17. How does convolution get fast?
#
# *40 minutes. Afterwards you can read [`fast/conv.py`](../tinyfractal/fast/conv.py),
# [`fast/patches.py`](../tinyfractal/fast/patches.py),
# [`fast/direct.py`](../tinyfractal/fast/direct.py),
# [`fast/winograd.py`](../tinyfractal/fast/winograd.py) and
# [`fast/memory.py`](../tinyfractal/fast/memory.py).*
#
# Count the products in a convolution, and work out how long your processor needs for that many at
# its very best. By the end of this chapter, a convolution written in NumPy can take less time than
# that. How?
#
# You make it faster four times, each time for another reason: Python does less, the data stay in
# the cache, nothing is copied, and at last there is less to compute. Each cell measures on the
# machine that runs it, so your times will differ from those printed here. All of this is about the
# CPU; for a GPU see chapter 18.

# %%
import os

for name in ("OPENBLAS", "MKL", "OMP", "VECLIB"):  # one thread each, so that we compare methods
    os.environ[f"{name}_{'MAXIMUM' if name == 'VECLIB' else 'NUM'}_THREADS"] = "1"

import json
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import tinyfractal as tf
from tinyfractal.browser import IN_BROWSER
from tinyfractal.fast import direct, patches, winograd

from exercises.fast_convolution import check_by_hand, check_lines, check_products
from figures import BLUE, GRAY, GREEN, ORANGE, use_style
from smaller import smaller

tf.backend.use("numpy")  # whatever the environment says
use_style()

# %% [markdown]
# ## The work, and the floor under it
#
# Take sixty-four images of 16 × 16 pixels with 64 channels, and a 3 × 3 kernel to 64 channels: the
# middle of a small network. Each number of the output is a sum of $9 \cdot 64$ products.

# %%
N, H, W, C, D = smaller("images", 64, in_browser=8), 16, 16, 64, 64
rng = np.random.default_rng(0)
x = rng.normal(size=(N, H, W, C)).astype(np.float32)
w = rng.normal(0, 1 / 24, size=(3, 3, C, D)).astype(np.float32)
products = N * H * W * D * 9 * C
print(f"{products / 1e6:.0f} million products")


# the processor's own time, which other programs lengthen least (elsewhere it ticks too rarely)
clock = time.process_time if sys.platform in ("linux", "darwin") else time.perf_counter


def race(ways, rounds=5):
    """The least seconds of each way. They take turns, so that a slow moment hits all alike."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(1 + rounds):  # the first round warms up, and is the slowest
        for name, way in ways.items():
            start = clock()
            way()
            best[name] = min(best[name], clock() - start)
    return best


def says(first, second):
    """Which of two times is the shorter, in words, with one in ten for noise."""
    if max(first, second) < 1.1 * min(first, second):
        return "as fast, within the noise"
    ratio = second / first
    return f"{ratio:.1f} times as fast" if ratio > 1 else f"{1 / ratio:.1f} times slower"


# %% [markdown]
# Your processor multiplies fastest in a product of large matrices. The library for it, **BLAS**, is
# written by people who do nothing else. Time some of these, and you know how many products a second
# your processor can do. Our products divided by that is a **floor**: a method that does all these
# products can hardly take less time.

# %%
sizes = (256, 512, 768)[: smaller("sizes", 3, in_browser=2)]
squares = {n: np.ones((n, n), np.float32) for n in sizes}
taken = race({n: lambda m=m: m @ m for n, m in squares.items()}, rounds=10)
peak = max(n**3 / seconds for n, seconds in taken.items())  # products per second
floor = products / peak
print(f"{peak / 1e9:.1f} billion products a second: a floor of {1000 * floor:.1f} ms")

# %% [markdown]
# ## Loops
#
# First the definition: a window times the kernel, at each position. All of them would take a while,
# so compute 200 windows and scale the time.


# %%
def pad(x):  # (N, H, W, C) → (N, H + 2, W + 2, C)
    return np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def conv_loops(x, w, places):
    padded, found = pad(x), []
    for n, i, j in places:
        window = padded[n, i : i + 3, j : j + 3]  # (3, 3, C)
        found.append((window[..., None] * w).sum(axis=(0, 1, 2)))
    return np.array(found)  # (places, D)


places = [tuple(place) for place in rng.integers((N, H, W), size=(200, 3))]
start = clock()
by_loops = conv_loops(x, w, places)
loops = (clock() - start) * N * H * W / len(places)
print(f"loops: {loops:.1f} s for all windows, {loops / floor:.0f} times the floor")

# %% [markdown]
# ## Windows copied out
#
# Chapter 6 took the first big step, **im2col**: all windows as the rows of one matrix, then one
# product. Python does less, and BLAS does the rest. (The view in the first function is copied when
# it is reshaped into rows.)


# %%
def windows(x):  # (N, H, W, C) → (N, H, W, 3, 3, C), a view
    view = np.lib.stride_tricks.sliding_window_view(pad(x), (3, 3), axis=(1, 2))
    return view.transpose(0, 1, 2, 4, 5, 3)


def conv_windows(x, w):
    matrix = w.reshape(-1, w.shape[3])  # (9 · C, D)
    rows = windows(x).reshape(-1, len(matrix))  # here they are copied
    return (rows @ matrix).reshape(*x.shape[:3], -1)


y = conv_windows(x, w)
assert np.allclose([y[place] for place in places], by_loops, atol=1e-4)
t = race({"windows": lambda: conv_windows(x, w)})["windows"]
print(f"{1000 * t:.1f} ms, {t / floor:.1f} times the floor; compared with loops: {says(t, loops)}")
print(f"the rows take {4 * N * H * W * 9 * C / 1e6:.0f} MB, the images {x.nbytes / 1e6:.1f} MB")

# %% [markdown]
# ## In chunks that stay in the cache
#
# Those rows are nine times as large as the images. They are written to memory and read back, and
# memory is slow. So a processor keeps what it used last in a small, fast memory of its own, the
# **cache**: a few dozen kB that answer almost at once, and one or two MB that take a little longer.
# If you copy out a few lines of windows, multiply them, and go on to the next few, the rows never
# leave the cache.
#
# **Predict, then run.** We try chunks from 1 line of 16 windows up to all 1024 lines at once. Which
# is fastest? What slows down the smallest, and what the largest?


# %%
def chunks(lines):
    """The output in pieces of so many lines: indices (images, rows)."""
    for n in range(0, N, max(1, lines // H)):
        for i in range(0, H, lines):
            yield slice(n, n + max(1, lines // H)), slice(i, i + lines)


def conv_chunks(x, w, lines=16):
    view, matrix = windows(x), w.reshape(9 * C, D)
    y = np.empty((N, H, W, D), x.dtype)
    for some in chunks(lines):
        rows = view[some].reshape(-1, 9 * C)
        y[some] = (rows @ matrix).reshape(y[some].shape)
    return y


assert np.allclose(conv_chunks(x, w), y, atol=1e-4)
sizes = [2**k for k in range(11)]  # lines
by_size = race({lines: lambda lines=lines: conv_chunks(x, w, lines) for lines in sizes})
best = min(by_size, key=by_size.get)

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
bytes_of_rows = np.array(sizes) * W * 9 * C * 4
plt.semilogx(bytes_of_rows / 1e6, [1000 * s for s in by_size.values()], "o-", color=BLUE)
plt.axhline(1000 * floor, color=GRAY, lw=1.2, ls=":")
plt.annotate("floor", (bytes_of_rows[0] / 1e6, 1000 * floor), (0, 4), textcoords="offset points")
plt.title("The same convolution, in chunks of different sizes")
plt.xlabel("windows in a chunk, MB")
plt.ylabel("milliseconds")
plt.ylim(bottom=0)
plt.show()
print(f"best: {best} lines, {best * W * 9 * C * 4 / 1e6:.2f} MB")
print("compared with one line at a time:", says(by_size[best], by_size[1]))
print("compared with all at once:       ", says(by_size[best], by_size[1024]))

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Usually the middle: the curve is a trough. On its left each product is small, and Python and NumPy
# take a few microseconds for every call. On its right the windows no longer fit into the cache.
# This is why the library's files have a constant named `CHUNK`.
#
# </details>
#
# ## Nothing copied: a tap at a time
#
# Even in the cache, copying each pixel nine times computes nothing. The definition in
# [`ops/conv.py`](../tinyfractal/ops/conv.py) makes no windows. For each **tap** $(u, v)$ of the
# kernel, it multiplies all pixels that the tap meets by its matrix of weights, and adds them up.
#
# But a product needs its pixels side by side in memory. In `(N, H, W, C)`, the image without its
# first column is not one block: each line leaves out a pixel. Now put the batch *inside*:
# `(H, W, N, C)`, with the same pixel of all images together. A line without its first pixel is then
# one block for the whole batch. You need no border of zeros either: where a tap would meet a zero,
# leave it out.


# %%
def conv_taps(x, w):  # (H, W, N, C) → (H, W, N, D)
    H, W, N, C = x.shape
    y = np.zeros((H, W, N, w.shape[3]), x.dtype)
    for i in range(H):
        for u, v in np.ndindex(3, 3):
            above, left = i + u - 1, v - 1
            if 0 <= above < H:
                to = y[i, max(0, -left) : W - max(0, left)]
                pixels = x[above, max(0, left) : W + min(0, left)]
                to += (pixels.reshape(-1, C) @ w[u, v]).reshape(to.shape)
    return y


inside = np.ascontiguousarray(x.transpose(1, 2, 0, 3))
line = inside[3, 1:]  # the fourth line of every image, without its first pixel
assert np.shares_memory(line.reshape(-1, C), inside)  # no copy
assert not np.shares_memory(x[:, 3, 1:].reshape(-1, C), x)  # a copy
assert np.allclose(conv_taps(inside, w).transpose(2, 0, 1, 3), y, atol=1e-4)

t = race({"taps": lambda: conv_taps(inside, w), "chunks": lambda: conv_chunks(x, w, best)})
print(f"a tap at a time {1000 * t['taps']:.1f} ms, the best chunks {1000 * t['chunks']:.1f} ms")
print("compared with the best chunks:", says(t["taps"], t["chunks"]))

# %% [markdown]
# The price: each product is thinner (64 numbers are summed, not $9 \cdot 64$) and has to be added.
# Which way wins depends on the machine and the channels. The library keeps its images with the
# batch inside, too. You index them by `(N, H, W, C)` as ever; only the strides differ.
#
# None of these ways can get below the floor. For that you have to do fewer products.
#
# ## Fewer products
#
# Take one dimension. A filter of 3 weights slides over 4 numbers and gives 2. Each coloured cell is
# a product. Look at the two columns in the middle: they serve both outputs.

# %% jupyter={"source_hidden": true}
figure, ax = plt.subplots(figsize=(5.2, 1.9))
for i, color in enumerate((BLUE, ORANGE)):
    for k in range(3):
        ax.add_patch(Rectangle((i + k, 1 - i), 1, 1, fc=color, ec="white", lw=2, alpha=0.35))
        ax.text(i + k + 0.5, 1.5 - i, f"$d_{i + k}\\,w_{k}$", ha="center", va="center")
    ax.text(-0.15, 1.5 - i, f"$y_{i}$", ha="right", va="center")
for j in range(4):
    ax.text(j + 0.5, 2.1, f"$d_{j}$", ha="center", va="bottom")
ax.add_patch(Rectangle((1, 0), 2, 2, fc="none", ec=GRAY, lw=1.5, ls="--"))
ax.set(xlim=(-0.6, 4.1), ylim=(-0.1, 2.5))
ax.axis("off")
plt.show()

# %% [markdown]
# Six products. In the dashed square, $w_1, w_2$ stand above $w_0, w_1$. With $w_0 + w_2$ in both
# corners the square would be symmetric. So put that there, and subtract what you added:
#
# $$y_0 = (d_0 - d_2)\,w_0 + A, \quad A = d_2 (w_0 + w_2) + d_1 w_1$$
# $$y_1 = B - (d_1 - d_3)\,w_2, \quad B = d_1 (w_0 + w_2) + d_2 w_1$$
#
# $A$ and $B$ are the same with $d_1$ and $d_2$ swapped. So their sum and their difference are one
# product each:
#
# $$A + B = (d_1 + d_2)(w_0 + w_2 + w_1) \qquad A - B = (d_2 - d_1)(w_0 + w_2 - w_1)$$
#
# Adding and halving gives $A$ and $B$ back. **Four products in place of six**, and some additions.
# This is Winograd's $F(2, 3)$: two outputs of a filter of three.


# %%
def filter_2_3(d, w):
    first = (d[0] - d[2]) * w[0]
    plus = (d[1] + d[2]) * ((w[0] + w[1] + w[2]) / 2)
    minus = (d[2] - d[1]) * ((w[0] - w[1] + w[2]) / 2)
    last = (d[1] - d[3]) * w[2]
    return np.array([first + plus + minus, plus - minus - last])


d, f = rng.normal(size=4), rng.normal(size=3)
print("plain:   ", np.correlate(d, f))
print("Winograd:", filter_2_3(d, f))
assert np.allclose(filter_2_3(d, f), np.correlate(d, f))

# %% [markdown]
# The weights are the same at every position, so you take their sums once. All sums, before and
# after the products, are matrices:
#
# $$y = A^T\,\big((G w) \cdot (B^T d)\big) \qquad \text{with} \cdot \text{number by number}$$
#
# A scheme is right if $d_j w_k$ counts once in $y_i$ where $j = i + k$, and nowhere else. You can
# read that off the matrices, without trying any example:

# %%
F2 = (
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1.0]]),  # Bᵀ
    np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),  # G
    np.array([[1, 1, 1, 0], [0, 1, -1, -1.0]]),  # Aᵀ
)


def is_filter(BT, G, AT):
    """Whether Aᵀ((G w) · (Bᵀ d)) is the filter, for all w and d."""
    given = np.einsum("ip,pk,pj->ikj", AT, G, BT)
    i, k, j = np.indices(given.shape)
    return np.allclose(given, j == i + k)


assert is_filter(*F2)
assert np.allclose(F2[2] @ ((F2[1] @ f) * (F2[0] @ d)), filter_2_3(d, f))

# %% [markdown]
# ## Larger tiles, from polynomials
#
# Where does a scheme for four outputs come from? Look at the rows of $G$. Up to a factor they
# compute $w_0 + w_1 p + w_2 p^2$ at $p = 0, 1, -1$ and, in a way, at infinity, where only $w_2$
# counts. These are **values of a polynomial** whose coefficients are the weights. You can multiply
# two polynomials by multiplying their values, point by point: a product with $n$ coefficients takes
# $n$ points.
#
# What has that to do with a filter? Keep its $r$ weights fixed. Multiplying by their polynomial
# turns $m$ coefficients into $m + r - 1$. Filtering turns $m + r - 1$ numbers into $m$ outputs, and
# its matrix is the transpose of the other's. So it, too, takes $m + r - 1$ products:


# %%
def scheme(points, m, r=3):
    """Bᵀ, G and Aᵀ of F(m, r), from m + r - 2 points and infinity."""

    def values(n):  # of 1, p, p², …, at the points and at infinity
        rows = [[p**k for k in range(n)] for p in points]
        return np.array([*rows, [0] * (n - 1) + [1]], float)

    return np.linalg.inv(values(m + r - 1)).T, values(r), values(m).T


F4 = scheme((0, 1, -1, 2, -2), 4)
assert is_filter(*scheme((0, 1, -1), 2)) and is_filter(*F4)
assert is_filter(*map(np.array, (winograd.BT, winograd.G, winograd.AT)))
print("F(4, 3):", F4[0].shape[0], "products in place of", 4 * 3)
print("the library's Bᵀ:", *winograd.BT, sep="\n")

# %% [markdown]
# The library's matrices are these, with each row of $B^T$ multiplied until its numbers are whole,
# and the same row of $G$ divided by that factor.
#
# **In two dimensions** transform the columns first, and then the rows of the result. A **tile** of
# $6 \times 6$ pixels gives $4 \times 4$ outputs. Tiles overlap by two pixels, since windows do:

# %% jupyter={"source_hidden": true}
figure, ax = plt.subplots(figsize=(4, 2.7))
for left, color in ((0, BLUE), (4, ORANGE)):
    ax.add_patch(Rectangle((left, 0), 6, 6, fc=color, ec=color, alpha=0.25))
    ax.add_patch(Rectangle((left, 0), 6, 6, fc="none", ec=color, lw=2))
    ax.add_patch(Rectangle((left + 1, 1), 4, 4, fc="none", ec=color, lw=2, ls=":"))
    ax.text(left + 3, 3, "4×4\noutputs", ha="center", va="center", fontsize=9)
ax.set(xlim=(-0.2, 10.2), ylim=(-0.2, 6.2), aspect="equal", xticks=range(11), yticks=range(7))
ax.set_title("Two tiles, and where their outputs lie")
ax.tick_params(labelbottom=False, labelleft=False, length=0)
ax.spines[:].set(visible=False)
plt.show()

# %% [markdown]
# $$Y = A^T\,\big[(G w G^T) \cdot (B^T d B)\big]\,A$$
#
# That is $6 \cdot 6 = 36$ products in place of $16 \cdot 9 = 144$: a quarter.

# %%
d, f = rng.normal(size=(6, 6)), rng.normal(size=(3, 3))
BT, G, AT = F4
tile = AT @ ((G @ f @ G.T) * (BT @ d @ BT.T)) @ AT.T
by_windows = np.einsum("ijuv,uv->ij", np.lib.stride_tricks.sliding_window_view(d, (3, 3)), f)
print(f"tile {d.shape} → {tile.shape}, difference {np.abs(tile - by_windows).max():.0e}")
assert np.allclose(tile, by_windows)
for m, matrices in ((2, F2), (4, F4)):
    print(f"F({m}×{m}, 3×3): {len(matrices[0]) ** 2} products in place of {9 * m * m}")

# %% [markdown]
# **With channels** the output is a sum over the input channels, and $A^T \dots A$ can wait until
# that sum is taken (Lavin & Gray 2015). So at each of the 36 points there is a matrix product,
# `(tiles, C) @ (C, D)`, which BLAS does best. Again, take a few images at a time, and they stay in
# the cache:


# %%
def both(matrix, a):
    """matrix · a · matrixᵀ over the first two axes of a (k, k, numbers), for all numbers."""
    half = matrix @ a.reshape(len(a), -1)
    return matrix @ half.reshape(-1, *a.shape[1:])


def conv_winograd(x, w, matrices, images=4):  # (N, H, W, C) → the same; H and W are multiples of m
    (N, H, W, C), D = x.shape, w.shape[3]
    BT, G, AT = (matrix.astype(x.dtype) for matrix in matrices)
    m, k = AT.shape
    U = both(G, w.reshape(3, 3, -1)).reshape(k * k, C, D)
    canvas = np.ascontiguousarray(pad(x).transpose(1, 2, 0, 3))
    tiles = np.lib.stride_tricks.sliding_window_view(canvas, (k, k), axis=(0, 1))[::m, ::m]
    tiles = tiles.transpose(4, 5, 0, 1, 2, 3)  # (k, k, H/m, W/m, N, C), a view
    y = np.empty((H // m, m, W // m, m, N, D), x.dtype)
    for n in range(0, N, images):
        some = tiles[..., n : n + images, :].reshape(k, k, -1)  # copied
        V = both(BT, some).reshape(k * k, -1, C)
        Y = both(AT, (V @ U).reshape(k, k, -1)).reshape(m, m, H // m, W // m, -1, D)
        y[..., n : n + images, :] = Y.transpose(2, 0, 3, 1, 4, 5)
    return y.reshape(H, W, N, D).transpose(2, 0, 1, 3)


for matrices in (F2, F4):
    assert np.allclose(conv_winograd(x, w, matrices), y, atol=1e-3)

# %% [markdown]
# The library has your three ways as well. They give the same numbers, and `suits` says whether this
# is a case for Winograd:

# %%
border, one = ((1, 1), (1, 1)), (1, 1)
library = {
    "patches": patches.forward(x, [w], (H, W), border, one, one)[0],
    "direct": direct.forward(x, w, (H, W), border, one, one, 1),
    "winograd": winograd.forward(x, [w], border)[0],
    "conv2d": tf.conv2d(x, w, padding="same"),
}
for name, found in library.items():
    print(f"{name:9} differs by {np.abs(found - y).max():.0e} at most")
    assert np.allclose(found, y, atol=1e-3)
print("winograd suits:", winograd.suits(x, w, border, one, one, 1))

# %% [markdown]
# ## What each step brought
#
# Now all of them take turns. The library gets its images with the batch inside, as its layers leave
# them. Does any bar end left of the dashed line?

# %%
as_stored = x.transpose(1, 2, 0, 3).copy().transpose(2, 0, 1, 3)
ways = {
    "windows, one product": lambda: conv_windows(x, w),
    "windows in chunks": lambda: conv_chunks(x, w, best),
    "a tap at a time": lambda: conv_taps(inside, w),
    "Winograd F(2×2, 3×3)": lambda: conv_winograd(x, w, F2),
    "Winograd F(4×4, 3×3)": lambda: conv_winograd(x, w, F4),
    "tinyfractal": lambda: tf.conv2d(as_stored, w, padding="same"),
}
times = race(ways | {"product": lambda: squares[512] @ squares[512]})
floor = min(floor, products * times.pop("product") / 512**3)  # measured again, in the same race

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
figure, ax = plt.subplots()
colors = [BLUE] * 3 + [ORANGE] * 2 + [GREEN]
bars = ax.barh(list(times), [1000 * s for s in times.values()], color=colors, height=0.6)
for label in ax.bar_label(bars, fmt="%.1f", padding=3, fontsize=9):
    label.set_bbox({"fc": "white", "ec": "none", "pad": 1})
for part, style, label in ((1, "--", "all products"), (1 / 4, ":", "a quarter of them")):
    ax.axvline(1000 * floor * part, color=GRAY, lw=1.5, ls=style, label=f"floor: {label}")
ax.invert_yaxis()
ax.set_axisbelow(True)
ax.grid(axis="y", visible=False)
ax.set(xlabel="milliseconds", xlim=(0, 1500 * max(*times.values(), floor)))
ax.set_title("One convolution, six ways")
ax.legend(loc="lower right", fontsize=8)
plt.show()
fastest = min(times["tinyfractal"], times["Winograd F(4×4, 3×3)"])
print("all windows at once, compared with loops:", says(times["windows, one product"], loops))
print("F(4×4, 3×3), compared with all windows at once:", end=" ")
print(says(times["Winograd F(4×4, 3×3)"], times["windows, one product"]))
print("The floor of all products was", "broken." if fastest < floor else "not broken here.")

# %% [markdown]
# A floor that can be broken was a floor for *those products*, and Winograd does fewer. What keeps
# it from its own floor? Time its products alone, without what comes before and after:

# %%
V = rng.normal(size=(36, 4 * H * W // 16, C)).astype(np.float32)  # of four images
U = rng.normal(size=(36, C, D)).astype(np.float32)
alone = race({"products": lambda: V @ U})["products"] * N / 4
print(f"F(4×4, 3×3): {1000 * times['Winograd F(4×4, 3×3)']:.1f} ms,", end=" ")
print(f"of which the products take {1000 * alone:.1f} ms; their floor is {250 * floor:.1f} ms")

# %% [markdown]
# The rest is copying tiles and transforming them. That costs the same for each channel, while the
# products grow with both numbers of channels. So with few channels Winograd is not worth it, and
# `suits` draws the line.
#
# ## What it costs: digits
#
# **Predict, then run.** In exact arithmetic all these ways give the same sums. In float32, which is
# furthest from the truth? And why not take still larger tiles, $F(6 \times 6, 3 \times 3)$ with 64
# products in place of $36 \cdot 9$?

# %%
F6 = scheme((0, 1, -1, 2, -2, 0.5, -0.5), 6)
assert is_filter(*F6)
small = x[:8, :12, :12]  # 12 is a multiple of 2, 4 and 6
truth = conv_windows(small.astype(np.float64), w.astype(np.float64))
by_way = {
    "windows": conv_windows(small, w),
    "a tap at a time": conv_taps(small.transpose(1, 2, 0, 3), w).transpose(2, 0, 1, 3),
    "F(2×2, 3×3)": conv_winograd(small, w, F2),
    "F(4×4, 3×3)": conv_winograd(small, w, F4),
    "tinyfractal": tf.conv2d(small, w, padding="same"),
    "F(6×6, 3×3)": conv_winograd(small, w, F6),
}
errors = {k: np.abs(found - truth).mean() / np.abs(truth).mean() for k, found in by_way.items()}

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
figure, ax = plt.subplots(figsize=(6.4, 2.8))
ax.plot(list(errors.values()), list(errors), "o", color=ORANGE, ms=8)
ax.axvline(2.0**-24, color=GRAY, lw=1.2, ls=":", label="one rounding")
ax.set_title("Fewer products, fewer digits")
ax.set_xscale("log")
ax.invert_yaxis()
ax.set_xlabel("mean error, relative to the mean size of the outputs")
ax.legend(loc="upper right", fontsize=8)
plt.show()
for name, error in errors.items():
    print(f"{name:16} {error:.1e}")
assert errors["windows"] < errors["F(4×4, 3×3)"] < errors["F(6×6, 3×3)"]
assert 2 * errors["windows"] < errors["tinyfractal"] < 1e-5

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The largest tiles. They need more points, and larger or closer ones. The powers of these points
# are large factors that cancel in the end. The rounding errors that they have multiplied do not
# cancel. The error of $F(4 \times 4, 3 \times 3)$ stays below a hundred-thousandth, and it saves
# three products in four. The next size saves four in five, for a larger error. The library stops
# there.
#
# </details>
#
# ## Pages
#
# One cost you find in no line of the code. When NumPy needs an array of some megabytes, the C
# library gets the memory from the operating system, and may give it back when the array is dropped.
# Fresh memory comes in pages, and the first touch of each interrupts the program (a **page fault**)
# while the system clears it. [`fast/heap.py`](../tinyfractal/fast/heap.py) tells the C library to
# keep what is freed. Run four ReLUs in a row, with 64 MB of results, without that and with it:

# %%
PROGRAM = """
import resource, time
import numpy as np, tinyfractal as tf

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def four(x):
    steps = [x]
    for _ in range(4):
        steps.append(tf.relu(steps[-1]))

x = tf.Tensor(np.ones((64, 32, 32, 64), np.float32))  # 16 MB
four(x)
before, start = faults(), time.process_time()
for _ in range(10):
    four(x)
print((faults() - before) // 40, (time.process_time() - start) / 40)
"""
ways_to_keep = (("0", "given back"), ("1", "kept"))
if IN_BROWSER:
    ways_to_keep = ()
    print("Not measured: in a browser there is no fresh process, and no page that faults.")
for keep, words in ways_to_keep:
    environment = {**os.environ, "TINYFRACTAL_BACKEND": "numpy", "TINYFRACTAL_KEEP_MEMORY": keep}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        print("memory", words, "- not measured: this system does not count page faults")
    else:
        count, seconds = done.stdout.split()
        print(f"memory {words}: {count} page faults and {1000 * float(seconds):.1f} ms for a relu")

# %% [markdown]
# (If both are alike, your system has a C library other than glibc.)
#
# ## Beside PyTorch
#
# On most processors PyTorch calls oneDNN, a library that Intel began, which writes machine code for
# the very processor it runs on. If PyTorch is installed, the next cell times it, also on one
# thread, in the better of its two memory layouts.

# %% jupyter={"source_hidden": true}
RECORD = Path("pictures/conv_times.json")
try:
    import torch
except ImportError:
    torch = None

if torch is not None:
    torch.set_num_threads(1)
    kernel = torch.tensor(w.transpose(3, 2, 0, 1).copy())
    first = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    last = first.contiguous(memory_format=torch.channels_last)

    def by_torch(image):
        with torch.no_grad():
            return torch.nn.functional.conv2d(image, kernel, padding=1)

    assert np.allclose(by_torch(first).numpy().transpose(0, 2, 3, 1), y, atol=1e-3)
    t = race(
        {
            "first": lambda: by_torch(first),
            "last": lambda: by_torch(last),
            "tinyfractal": ways["tinyfractal"],
        }
    )
    seconds = {"PyTorch": min(t["first"], t["last"]), "tinyfractal": t["tinyfractal"]}
    facts = {**tf.backend.info(), "torch": torch.__version__}
    if not RECORD.exists():
        RECORD.write_text(json.dumps({"facts": facts, "seconds": seconds}, indent=1) + "\n")
    print("Measured now:")
else:
    record = json.loads(RECORD.read_text())
    seconds, facts = record["seconds"], record["facts"]
    print("PyTorch is not installed here. Recorded elsewhere:")

for name, value in seconds.items():
    print(f"{name:12} {1000 * value:.1f} ms, forward, one thread")
print("tinyfractal, compared with PyTorch:", says(seconds["tinyfractal"], seconds["PyTorch"]))
print(", ".join(f"{name} {value}" for name, value in facts.items()))

# %% [markdown]
# This is one convolution, not a network, on one machine. But why can NumPy be compared with such a
# library at all? Because nearly all of the work above is matrix products, and BLAS does these, not
# Python.
#
# ## What you now own
#
# You have four levers for any slow computation on arrays: hand more to one call, keep the data in
# the cache, copy nothing, and look for an algorithm with fewer products. When you see a floor, you
# ask what it is a floor *of*. And you know the price of the last lever: a few digits.
#
# ## Now read the source
#
# - [`fast/conv.py`](../tinyfractal/fast/conv.py): `_conv2d` chooses among the three ways, by the
#   shape.
# - [`fast/patches.py`](../tinyfractal/fast/patches.py): your `conv_chunks`, for the few channels of
#   a first layer.
# - [`fast/direct.py`](../tinyfractal/fast/direct.py): your `conv_taps`, and the way back.
# - [`fast/winograd.py`](../tinyfractal/fast/winograd.py): your `conv_winograd` without its copies.
#   With the batch inside, the tiles are a view, and BLAS multiplies them where they are.
# - [`fast/memory.py`](../tinyfractal/fast/memory.py): `batch_inside` and `batch_first` are your
#   transposes.
# - [`fast/parallel.py`](../tinyfractal/fast/parallel.py): more threads, each with its own rows of
#   tiles.
#
# S. Winograd, *Arithmetic Complexity of Computations*, SIAM 1980. A. Lavin and S. Gray, *Fast
# Algorithms for Convolutional Neural Networks*, 2015, arXiv 1509.09308.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/17_fast_convolution.py`.
#
# **1. By hand.** $F(3, 2)$: a filter of two weights `w` over four numbers `d` gives a list of
# three, $y_i = d_i w_0 + d_{i+1} w_1$. Write it with four products in place of six, each of a sum
# of data and a sum of weights. (Multiplying or dividing by a constant such as 2 is free.) The
# symmetry above will help.


# %%
def filter_3_2(d, w): ...


check_by_hand(filter_3_2)

# %% [markdown]
# **2. Count.** How many products does $F(m \times m, r \times r)$ take for one image, from `C`
# channels to `D` channels with an output of `H` × `W` pixels? Transformations do not count. A tile
# that sticks out over the edge is computed whole.


# %%
def count_products(H, W, C, D, m, r): ...


check_products(count_products)

# %% [markdown]
# **3. Fill the cache.** How many lines should a chunk of `conv_chunks` have, so that everything it
# touches fits into a cache of so many bytes: the rows of windows, their product, and the kernel?
# Numbers are float32, and a line has `W` windows of $3 \times 3 \times C$. Return at least one
# line, or there is no progress.


# %%
def lines_that_fit(cache, W, C, D): ...


check_lines(lines_that_fit)
