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
# *50 minutes. Afterwards you can read [`fast/winograd.py`](../tinyfractal/fast/winograd.py),
# [`fast/direct.py`](../tinyfractal/fast/direct.py),
# [`fast/patches.py`](../tinyfractal/fast/patches.py),
# [`fast/memory.py`](../tinyfractal/fast/memory.py),
# [`fast/heap.py`](../tinyfractal/fast/heap.py) and
# [`fast/parallel.py`](../tinyfractal/fast/parallel.py).*
#
# A network of convolutions spends most of its time in them (chapter 18 has measured it). Here we
# take one convolution and make it faster, five times, and each time for another reason: because
# Python does less, because the processor's cache holds more, because nothing is copied, and at last
# because there is less to compute. You write each way in a few lines and time it on your machine.
# Nothing here is sure about your machine beforehand: what a cell says of speed, it has just
# measured. (All of it is about the CPU. On a GPU the library takes another way, and chapter 18 says
# why.)

# %%
import os

for name in ("OPENBLAS", "MKL", "OMP", "VECLIB"):  # one thread each, so that we compare methods
    os.environ[f"{name}_{'MAXIMUM' if name == 'VECLIB' else 'NUM'}_THREADS"] = "1"

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import tinyfractal as tf
from tinyfractal.browser import IN_BROWSER
from tinyfractal.fast import direct, patches, winograd

from exercises.fast_convolution import check_by_hand, check_lines, check_products
from figures import use_style
from smaller import smaller

tf.backend.use("numpy")  # whatever the environment says
use_style()

# %% [markdown]
# ## The work, and the floor under it
#
# Sixty-four images of 16 × 16 pixels with 64 channels, a 3 × 3 kernel to 64 channels, and a border
# of zeros so that the size stays: the middle of a small network. Every number of the output is a
# sum of $9 \cdot 64$ products.

# %%
N, H, W, C, D = smaller("images", 64, in_browser=8), 16, 16, 64, 64
rng = np.random.default_rng(0)
x = rng.normal(size=(N, H, W, C)).astype(np.float32)
w = rng.normal(0, 1 / 24, size=(3, 3, C, D)).astype(np.float32)
products = N * H * W * D * 9 * C
print(f"{products / 1e6:.0f} million products")


def race(ways, rounds=5):
    """The least seconds of each way. They take turns, so that a slow moment hits all alike."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(1 + rounds):  # the first round warms up, and is the slowest
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def says(first, second):
    """Which of two times is the shorter, in words, with one in ten for noise."""
    if max(first, second) < 1.1 * min(first, second):
        return "as fast, within the noise"
    ratio = second / first
    return f"{ratio:.1f} times as fast" if ratio > 1 else f"{1 / ratio:.1f} times slower"


# %% [markdown]
# How fast could it be at best? The quickest thing that a processor does with numbers is a product
# of large matrices: the routine for it (BLAS) is written by people who do nothing else. So we time
# some, and see how many products a second your processor does. Our products divided by that is a
# **floor**: whoever does all these products can hardly take less time.

# %%
sizes = (256, 512, 768)[: smaller("sizes", 3, in_browser=2)]
squares = {n: np.ones((n, n), np.float32) for n in sizes}
taken = race({n: lambda m=m: m @ m for n, m in squares.items()})
peak = max(n**3 / seconds for n, seconds in taken.items())  # products per second
floor = products / peak
print(f"{peak / 1e9:.1f} billion products a second: a floor of {1000 * floor:.1f} ms")

# %% [markdown]
# ## Loops
#
# First the definition, as in chapter 6, but over all output channels at once: a window times the
# kernel. Nobody wants to wait for it, so we compute 200 of the 16,384 windows, and scale the time.


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
start = time.perf_counter()
by_loops = conv_loops(x, w, places)
loops = (time.perf_counter() - start) * N * H * W / len(places)
print(f"loops: {loops:.1f} s for all windows, {loops / floor:.0f} times the floor")

# %% [markdown]
# ## Windows copied out
#
# Chapter 6 had the first big step, **im2col**: all windows as the rows of one matrix, then one
# product.


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
# Those rows are written to memory, and read back for the product. Memory is slow, so a processor
# keeps what it used last in a small fast memory of its own, the **cache**. It has several: perhaps
# 32 kB that answer almost at once, one or two MB that take a little longer, and more that the cores
# share. If we copy out only a few lines of windows, multiply them, and go on to the next few, the
# rows need never leave the cache.
#
# **Predict, then run.** We try chunks of 1 line of 16 windows up to all 1024 lines at once. Which
# is fastest? What stands against the smallest chunks, and what against the largest?


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

# %% jupyter={"outputs_hidden": true}
bytes_of_rows = np.array(sizes) * W * 9 * C * 4
plt.semilogx(bytes_of_rows / 1e6, [1000 * s for s in by_size.values()], "o-", color="tab:blue")
plt.axhline(1000 * floor, color="black", lw=1, ls=":")
plt.annotate("floor", (bytes_of_rows[0] / 1e6, 1000 * floor), (0, 4), textcoords="offset points")
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
# The usual picture is a trough. On its left, each product is small, and Python and NumPy take a few
# microseconds for every call. On its right, the windows no longer fit into the cache. Where the
# trough lies tells you something about your processor, and how deep it is tells how slow its memory
# is beside its arithmetic. This is why you find a constant named `CHUNK` in the library's files.
#
# </details>
#
# ## Nothing copied: a tap at a time
#
# Even in the cache, copying each pixel nine times computes nothing. The
# definition in [`ops/conv.py`](../tinyfractal/ops/conv.py) makes no windows. For each **tap**
# $(u, v)$ of the kernel, all pixels that it meets, times its matrix of weights, are added to the
# output.
#
# But a product wants the pixels to lie one after the other in memory. In `(N, H, W, C)`, the image
# without its first column is not one block: at the end of each line of each image a pixel is left
# out. Now put the batch *inside*, `(H, W, N, C)`: the same pixel of all images side by side. A line
# without its first pixel is a line that begins later, one block for the whole batch. It can be
# multiplied where it lies. And no border of zeros is needed: where a tap would meet one, we leave
# it out.


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
# It does one line of the output at a time, so that the line stays in the cache while nine products
# are added to it. The price of no copies: each product is thinner (64 numbers are summed, not 576)
# and has to be added. Which of the two wins depends on the machine and on the channels.
# [`fast/memory.py`](../tinyfractal/fast/memory.py) keeps all images of the library with the batch
# inside. Their *index* is `(N, H, W, C)` as ever, and only the strides tell.
#
# How near the floor these ways come is up to your machine. None can get below it: for that one has
# to do **fewer products**.
#
# ## Fewer products
#
# Take one dimension. A filter of 3 weights slides over 4 numbers and gives 2:
#
# $$y_0 = d_0 w_0 + d_1 w_1 + d_2 w_2 \qquad y_1 = d_1 w_0 + d_2 w_1 + d_3 w_2$$
#
# Six products. The numbers $d_1$ and $d_2$ come up in both lines. Take out what spoils the
# symmetry:
#
# $$y_0 = (d_0 - d_2)\,w_0 + A, \quad A = d_2 (w_0 + w_2) + d_1 w_1$$
# $$y_1 = B - (d_1 - d_3)\,w_2, \quad B = d_1 (w_0 + w_2) + d_2 w_1$$
#
# (Multiply out to check.) $A$ and $B$ are the same with $d_1$ and $d_2$ swapped. So their sum and
# their difference are one product each:
#
# $$A + B = (d_1 + d_2)(w_0 + w_2 + w_1) \qquad A - B = (d_2 - d_1)(w_0 + w_2 - w_1)$$
#
# and from these we get $A$ and $B$ back by adding and halving. **Four products in place of six**,
# and some additions. This is Winograd's $F(2, 3)$: two outputs of a filter of three.


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
# The weights are the same for every image and every place, so their sums are taken once. And all
# sums, before and after the products, are matrices:
#
# $$y = A^T\,\big((G w) \cdot (B^T d)\big) \qquad \text{with} \cdot \text{number by number}$$
#
# A scheme is right if it gives $d_j w_k$ to $y_i$ exactly where $j = i + k$. That can be read off
# the matrices, and no example has to be tried:

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
# Where could one find such a scheme for four outputs? The rows of $G$ tell. They say
# $w_0 + w_1 p + w_2 p^2$ at $p = 0, 1, -1$ and, in a way, at infinity (where only $w_2$ counts):
# **values of a polynomial** with the weights as its coefficients. Two polynomials can be multiplied
# by multiplying their values point by point, and finding the polynomial with these values. A
# product with $n$ coefficients needs $n$ points, so $n$ products. That is multiplication, and
# filtering is its transpose, with the roles of data and result exchanged. So for $m$ outputs of a
# filter of $r$ weights take $m + r - 1$ points (Winograd 1980):


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
# The library's matrices are these, with the rows of $B^T$ multiplied by what makes them whole and
# those of $G$ divided by it.
#
# **In two dimensions** do it along the columns, and then along the rows of what comes out. A
# **tile** of $6 \times 6$ pixels gives $4 \times 4$ outputs:
#
# $$Y = A^T\,\big[(G w G^T) \cdot (B^T d B)\big]\,A$$
#
# That is $6 \cdot 6 = 36$ products where $16 \cdot 9 = 144$ are due: a quarter. Tiles overlap by
# two pixels, since windows do.

# %%
d, f = rng.normal(size=(6, 6)), rng.normal(size=(3, 3))
BT, G, AT = F4
tile = AT @ ((G @ f @ G.T) * (BT @ d @ BT.T)) @ AT.T
by_windows = np.einsum("ijuv,uv->ij", np.lib.stride_tricks.sliding_window_view(d, (3, 3)), f)
print(f"tile {d.shape} → {tile.shape}, difference {np.abs(tile - by_windows).max():.0e}")
assert np.allclose(tile, by_windows)
for m, matrices in ((2, F2), (4, F4)):
    print(f"F({m}×{m}, 3×3): {len(matrices[0]) ** 2} products in place of {9 * m * m}")

figure, ax = plt.subplots(figsize=(3.4, 2.4))
for left, color in ((0, "tab:blue"), (4, "tab:orange")):
    ax.add_patch(Rectangle((left, 0), 6, 6, fc=color, ec=color, alpha=0.25))
    ax.add_patch(Rectangle((left, 0), 6, 6, fc="none", ec=color, lw=2))
    ax.add_patch(Rectangle((left + 1, 1), 4, 4, fc="none", ec=color, lw=2, ls=":"))
    ax.text(left + 3, 3, "4×4\noutputs", ha="center", va="center", fontsize=8)
ax.set(xlim=(-0.2, 10.2), ylim=(-0.2, 6.2), aspect="equal", xticks=range(11), yticks=range(7))
ax.set_title("two tiles, and the pixels of their outputs", fontsize=10)
ax.tick_params(labelbottom=False, labelleft=False, length=0)
ax.spines[:].set(visible=False)
plt.show()

# %% [markdown]
# **With channels** the output is a sum over the input channels, and $A^T \dots A$ can wait until
# that sum is taken (Lavin & Gray 2015). At each of the 36 points it is then a matrix product,
# `(tiles, C) @ (C, D)`, of the kind that BLAS does best. All the rest is small matrices times large
# ones. And again a few images go through all steps while they are in the cache:


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
# The library's three ways give the same numbers as yours, and `suits` says which it takes here:

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
# Now all of them, taking turns. The library's images lie with the batch inside, as its own layers
# leave them.

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
times = race(ways)

# %% tags=["thumbnail"]
figure, ax = plt.subplots()
colors = ["tab:blue"] * 3 + ["tab:orange"] * 2 + ["tab:green"]
bars = ax.barh(list(times), [1000 * s for s in times.values()], color=colors, height=0.6)
for label in ax.bar_label(bars, fmt="%.1f", padding=3, fontsize=9):
    label.set_bbox({"fc": "white", "ec": "none", "pad": 1})
for part, style, label in ((1, "--", "all products"), (1 / 4, ":", "a quarter of them")):
    ax.axvline(1000 * floor * part, color="black", lw=1.2, ls=style, label=f"floor: {label}")
ax.invert_yaxis()
ax.set_axisbelow(True)
ax.grid(axis="y", visible=False)
ax.set(xlabel="milliseconds", xlim=(0, 1300 * max(*times.values(), floor)))
ax.legend(loc="lower right", fontsize=8)
plt.show()
fastest = min(times["tinyfractal"], times["Winograd F(4×4, 3×3)"])
print("all windows at once, compared with loops:", says(times["windows, one product"], loops))
print("F(4×4, 3×3), compared with all windows at once:", end=" ")
print(says(times["Winograd F(4×4, 3×3)"], times["windows, one product"]))
print("The floor of all products was", "broken." if fastest < floor else "not broken here.")

# %% [markdown]
# A floor that can be broken was a floor for *those products*, and Winograd does fewer. What keeps
# it
# from its own floor? We time its products alone, without what comes before and after:

# %%
V = rng.normal(size=(36, 4 * H * W // 16, C)).astype(np.float32)  # of four images
U = rng.normal(size=(36, C, D)).astype(np.float32)
alone = race({"products": lambda: V @ U})["products"] * N / 4
print(f"F(4×4, 3×3): {1000 * times['Winograd F(4×4, 3×3)']:.1f} ms,", end=" ")
print(f"of which the products take {1000 * alone:.1f} ms; their floor is {250 * floor:.1f} ms")

# %% [markdown]
# The rest is copying tiles and transforming them: many short sums. They cost as much for each
# channel whether there are 8 or 512, while the products for each channel of the input grow with the
# number of channels of the output. So Winograd gains more with more channels, and with few it is
# not worth it. `suits` draws the line.
#
# **Backward** every step is transposed, in the opposite order, and the same products are saved:
# $gV = gM\,U^T$ and $gU = V^T gM$, 36 of each.
#
# ## What it costs: digits
#
# **Predict, then run.** All these are the same sums, in exact arithmetic. In float32 they are
# rounded (chapter 18). Which is furthest from the truth, computed in float64? And why not take
# larger tiles still, $F(6 \times 6, 3 \times 3)$ with 64 products in place of 324?

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

# %% jupyter={"outputs_hidden": true}
figure, ax = plt.subplots(figsize=(6.4, 2.8))
ax.plot(list(errors.values()), list(errors), "o", color="tab:red", ms=8)
ax.axvline(2.0**-24, color="black", lw=1, ls=":", label="one rounding")
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
# Larger tiles need more points, and larger or closer ones. Their powers are large factors, which
# cancel in the end, but the rounding errors that they have multiplied do not. The error of
# $F(4 \times 4, 3 \times 3)$ is still below a hundred-thousandth. It saves three products in four;
# the next size would save four in five, for a larger error, and larger transformations. The library
# stops there.
#
# </details>
#
# ## Pages
#
# There is a cost that no line of the code shows. When NumPy needs an array of some megabytes, the C
# library gets the memory from the operating system, and gives it back when the array is dropped.
# Fresh memory comes in pages of 4 kB, and each one at its first touch interrupts the program (a
# **page fault**) and is cleared. [`fast/heap.py`](../tinyfractal/fast/heap.py) tells the C library
# to keep what is freed. A relu of 17 MB, in a fresh process, without that and with it:

# %%
PROGRAM = """
import resource, time
import numpy as np, tinyfractal as tf

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

x = tf.Tensor(np.ones((64, 32, 32, 64), np.float32))
tf.relu(x)
before, start = faults(), time.perf_counter()
for _ in range(20):
    tf.relu(x)
print((faults() - before) // 20, (time.perf_counter() - start) / 20)
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
# (Where both lines are alike, your system has another C library than glibc, and `fast/heap.py`
# leaves it alone.)
#
# ## Two threads, and Python's lock
#
# So far everything ran on one core. NumPy lets go of Python's lock while it computes, so two
# threads can compute at once. But between two steps each thread is in Python, where only one may
# be, and getting the lock back takes time. Two threads share the same work, cut into steps of so
# many numbers:

# %%
total = 1 << 22


def steps(length, share):
    a, b = np.ones(length, np.float32), np.empty(length, np.float32)
    for _ in range(total // length // share):
        np.sqrt(a, out=b)


if (os.cpu_count() or 1) < 2:
    print("There is one core here, so there is nothing to share.")
else:
    with ThreadPoolExecutor(2) as pool:
        for length in (1 << 10, 1 << 13, 1 << 16, 1 << 19):
            t = race(
                {
                    1: lambda n=length: steps(n, 1),
                    2: lambda n=length: list(pool.map(steps, (n, n), (2, 2))),
                }
            )
            step = t[1] / (total // length)
            print(f"steps of {1e6 * step:7.1f} µs: two threads are {t[1] / t[2]:.2f} times as fast")

# %% [markdown]
# Where short steps gain little, or even lose, you see what the lock costs. So each step must be
# long
# enough. But a chunk must be small, to stay in the cache, and the library's `BAND` is a compromise
# between the two.
# [`fast/parallel.py`](../tinyfractal/fast/parallel.py) gives each thread its own rows of tiles,
# which go through all steps without asking the other. And it adds up what the threads found in a
# fixed order, so that the same seed gives the same bits.
#
# ## Beside PyTorch
#
# PyTorch calls oneDNN, a library of its processor's maker, written in C++ and assembly for each
# kind of processor. Where PyTorch is installed, the next cell times it, on one thread too, in the
# better of its two memory layouts.

# %%
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
# The recorded figures are in `pictures/conv_times.json`. They were made by this cell, and are made
# again, on a machine with PyTorch, by
#
# ```bash
# rm tutorials/pictures/conv_times.json && python -m tutorials 17
# ```
#
# One convolution is not a network, and one machine is not all. But this is how NumPy can be
# compared
# with it at all: nearly everything above is a matrix product, and BLAS is not written in Python.
#
# ## Now read the source
#
# - [`fast/conv.py`](../tinyfractal/fast/conv.py): `_conv2d` chooses between the three ways, by the
#   shape.
# - [`fast/memory.py`](../tinyfractal/fast/memory.py): the batch inside. `batch_inside` and
#   `batch_first` are your transposes. `WideRows` does the same for batch norm and ReLU, whose every
#   number is alike.
# - [`fast/patches.py`](../tinyfractal/fast/patches.py): your `conv_chunks`, for the few channels of
#   a first layer.
# - [`fast/direct.py`](../tinyfractal/fast/direct.py): your `conv_taps`, with strides, dilation and
#   groups, and backward through the same places.
# - [`fast/winograd.py`](../tinyfractal/fast/winograd.py): your `conv_winograd` without its copies.
#   With the batch inside, tiles are a view with overlapping strides that BLAS multiplies where they
#   lie. Tiles that stick out over the edge are cut, and the work arrays of a `Band`, a few
#   rows of tiles, are used again for the next.
#
# S. Winograd, *Arithmetic Complexity of Computations*, SIAM 1980. A. Lavin and S. Gray, *Fast
# Algorithms for Convolutional Neural Networks*, 2015, arXiv 1509.09308.
#
# ## Exercises
#
# Solutions: `solutions/17_fast_convolution.py`.
#
# **1. By hand.** $F(3, 2)$: a filter of two weights `w` over four numbers `d` gives a list of
# three,
# $y_i = d_i w_0 + d_{i+1} w_1$. Write it with four products of a sum of data and a sum of weights,
# in place of six. (Multiplying or dividing by a constant such as 2 is free.) The same symmetry as
# above will help.


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
# Numbers are float32, a line has `W` windows of $3 \times 3 \times C$. One line at least, since
# there must be progress.


# %%
def lines_that_fit(cache, W, C, D): ...


check_lines(lines_that_fit)
