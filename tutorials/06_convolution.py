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
# # 6. What does a convolution do, and what does it share?
#
# *50 minutes. Afterwards you can read [`ops/conv.py`](../tinyfractal/ops/conv.py),
# [`ops/pool.py`](../tinyfractal/ops/pool.py) and `Conv2d` in
# [`nn/layers.py`](../tinyfractal/nn/layers.py).*
#
# To the network of chapter 5 an image was a list of 64 numbers. Shuffle the pixels of all images in
# the same way, and it would have learned just as well. But pixels have neighbours, and a stroke is
# a stroke wherever it is. A convolution knows both: it looks at a small window at a time, and it
# looks at every window with the same weights. You will write it three times, from slow to fast,
# find its two gradients, and see that they are convolutions too. Then we train a small network of
# them and look at what it has learned to look for.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.convolution import (
    check_receptive_field,
    check_same_padding,
    check_shift,
    check_strided,
)
from figures import use_style

use_style()
train, test = tf.data.load("digits")


def show(ax, picture, title="", **limits):
    ax.imshow(picture, **limits)
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set(visible=True, color="0.7")


# %% [markdown]
# ## A window slides
#
# Take a small table of weights, the **kernel**. Put it on the image, multiply each weight with the
# pixel under it, and add up: one number. Move on by one pixel: the next number. That is all:
#
# $$y_{i,j} = \sum_{u,v} x_{i+u,\ j+v} \cdot w_{u,v}$$
#
# A kernel of `(kh, kw)` fits into an image of `(H, W)` at `H - kh + 1` heights and `W - kw + 1`
# places across.


# %%
def slide(x, w):  # (H, W), (kh, kw) → (H - kh + 1, W - kw + 1)
    kh, kw = w.shape
    y = np.zeros((x.shape[0] - kh + 1, x.shape[1] - kw + 1))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = (x[i : i + kh, j : j + kw] * w).sum()
    return y


digit = train.images[0, :, :, 0]  # (8, 8)
upright = np.array([[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]])  # right minus left
lying = upright.T  # below minus above

figure, axes = plt.subplots(1, 5, figsize=(6.4, 1.5))
show(axes[0], digit, f"image {digit.shape}")
for k, (name, kernel) in enumerate((("upright", upright), ("lying", lying))):
    show(axes[1 + 2 * k], kernel, name, cmap="RdBu_r")
    result = slide(digit, kernel)
    show(axes[2 + 2 * k], result, f"{result.shape}", cmap="RdBu_r", vmin=-3, vmax=3)
plt.show()

# %% [markdown]
# The first kernel is the right column minus the left one. It answers where the image gets darker
# from left to right (red), or lighter (blue): at upright edges. The second answers at lying edges.
# A kernel is a question, and the result, a **feature map**, is the answer at each place.
#
# ## Predict, then run
#
# An image is white but for one black pixel in its middle, a 1 among zeros. The kernel is an F.
# **What does the feature map look like?**

# %% jupyter={"outputs_hidden": true}
dot = np.zeros((11, 9))
dot[5, 4] = 1.0
letter = np.array([[1.0, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])  # (5, 3): an F
result = slide(dot, letter)  # (7, 7)

figure, axes = plt.subplots(1, 3, figsize=(5, 1.9))
show(axes[0], dot, f"image {dot.shape}")
show(axes[1], letter, f"kernel {letter.shape}")
show(axes[2], result, f"feature map {result.shape}")
plt.show()
assert np.array_equal(result[1:6, 2:5], letter[::-1, ::-1])

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The F lies on its head: turned by 180°, which is flipped along both axes. When the window lies to
# the *right* of the dot, the dot is under the *left* of the kernel. Mathematicians call our sum a
# *correlation*, and reserve "convolution" for the one that flips the kernel first, so that the F
# comes out upright. In deep learning the kernel is learned, so flipping would make no difference,
# and everybody says convolution. Remember the flip: it will come back.
#
# </details>
#
# ## Channels
#
# Images have several channels (red, green, blue), and a layer asks several questions. So the image
# is `(N, H, W, C)`, the kernel `(kh, kw, C, C_out)`, and one output is a sum over the window and
# over all its channels:
#
# $$y_{n,i,j,o} = \sum_{u,v,c} x_{n,\ i+u,\ j+v,\ c} \cdot w_{u,v,c,o}$$
#
# In loops, as readable as can be:


# %%
def conv_loops(x, w):  # (N, H, W, C), (kh, kw, C, C_out) → (N, OH, OW, C_out)
    kh, kw, _, C_out = w.shape
    N, H, W, _ = x.shape
    y = np.zeros((N, H - kh + 1, W - kw + 1, C_out))
    for n in range(N):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                window = x[n, i : i + kh, j : j + kw]  # (kh, kw, C)
                for o in range(C_out):
                    y[n, i, j, o] = (window * w[..., o]).sum()
    return y


rng = np.random.default_rng(0)
x = rng.normal(size=(20, 8, 8, 4))
w = rng.normal(size=(3, 3, 4, 16))
y = conv_loops(x, w)
print(x.shape, "and", w.shape, "→", y.shape)
assert np.allclose(y, tf.conv2d(tf.Tensor(x), tf.Tensor(w)).numpy())

# %% [markdown]
# ## All windows at once
#
# The loops are slow in Python. But look: each number is a window, laid out as a row of
# $kh \cdot kw \cdot C$ numbers, times a column of as many weights. So put all windows below one
# another as the rows of one big matrix, and do a single matrix product. The field calls this
# **im2col**, "image to columns" (to rows, here, since our channels come last).
#
# NumPy can show all windows of an array without copying a single number. A **view** has its own
# shape and its own **strides**: how many bytes to jump to the next number along each axis.

# %%
small = np.arange(16.0).reshape(4, 4)
view = np.lib.stride_tricks.sliding_window_view(small, (2, 2))  # (3, 3, 2, 2)
print("array: ", small.shape, "strides", small.strides)
print("view:  ", view.shape, "strides", view.strides)
print("window at (1, 2):", view[1, 2].tolist(), "  same memory:", np.shares_memory(view, small))
assert view.strides == small.strides * 2 and np.shares_memory(view, small)

# %% [markdown]
# One place down in the output is the same jump in memory as one place down inside the window. So
# the strides are there twice, and each number is seen by several windows. `reshape` to rows then
# has to copy: a row must lie in one piece.


# %%
def windows(x, kh, kw):  # (N, H, W, C) → (N, OH, OW, kh, kw, C), a view
    view = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    return view.transpose(0, 1, 2, 4, 5, 3)  # NumPy puts the window last, behind C


def conv(x, w):
    kh, kw, C, C_out = w.shape
    view = windows(x, kh, kw)
    rows = view.reshape(-1, kh * kw * C)  # (N·OH·OW, kh·kw·C)
    return (rows @ w.reshape(kh * kw * C, C_out)).reshape(*view.shape[:3], C_out)


print("largest difference from the loops:", np.abs(conv(x, w) - y).max())
assert np.allclose(conv(x, w), y)

# %% [markdown]
# Here it is with our digit and the upright kernel: 36 windows of 9 pixels, times 9 weights.

# %%
rows = windows(digit[None, :, :, None], 3, 3).reshape(36, 9)
result = rows @ upright.reshape(9, 1)
widths = {"width_ratios": (2, 1.2, 0.6, 0.6, 2)}
colours = {"cmap": "RdBu_r", "vmin": -3, "vmax": 3}
figure, axes = plt.subplots(1, 5, figsize=(6.4, 2.6), gridspec_kw=widths)
show(axes[0], digit, "image\n(8, 8)")
show(axes[1], rows, "windows\n(36, 9)", aspect="auto")
show(axes[2], upright.reshape(9, 1), "kernel\n(9, 1)", cmap="RdBu_r", aspect="auto")
show(axes[3], result, "product\n(36, 1)", aspect="auto", **colours)
show(axes[4], result.reshape(6, 6), "feature map\n(6, 6)", **colours)
plt.show()

# %% [markdown]
# What does it cost, and what does it gain?

# %%
start = time.perf_counter()
conv_loops(x, w)
slow = time.perf_counter() - start
fast = np.inf
for _ in range(5):
    start = time.perf_counter()
    conv(x, w)
    fast = min(fast, time.perf_counter() - start)
print(f"loops {1000 * slow:.1f} ms, one matrix product {1000 * fast:.2f} ms")

photo = np.zeros((1, 64, 64, 16), np.float32)
rows = windows(photo, 3, 3).reshape(-1, 3 * 3 * 16)
print(f"the rows of a 64 × 64 image take {rows.nbytes / photo.nbytes:.1f} times its memory")
assert 8 < rows.nbytes / photo.nbytes < 9

# %% [markdown]
# Much faster, for up to $kh \cdot kw = 9$ times the memory: that is the bargain of im2col.
#
# ## The gradient of the kernel
#
# Now backward. We are given $g = \partial L / \partial y$, of the shape of $y$. Since $y$ is the
# matrix product of `rows` and the weights, chapter 3 has the answer for the weights: `rows.T @ g`.
# Written out, it says
#
# $$\frac{\partial L}{\partial w_{u,v,c,o}} = \sum_{n,i,j} x_{n,\ i+u,\ j+v,\ c} \cdot g_{n,i,j,o}$$
#
# Compare with the sum for $y$. It is the same kind: $x$ at shifted places, times something, added
# up. So it is a convolution of $x$ with $g$ *as the kernel*. What is summed over now is the image
# $n$, so $n$ takes the role of the channel, and the channel $c$ the role of the image:


# %%
def kernel_gradient(x, g, kh, kw):
    rows = windows(x, kh, kw).reshape(-1, kh * kw * x.shape[3])
    return (rows.T @ g.reshape(-1, g.shape[3])).reshape(kh, kw, x.shape[3], g.shape[3])


def kernel_gradient_as_convolution(x, g):
    swapped = x.transpose(3, 1, 2, 0)  # (C, H, W, N): channels as images, images as channels
    kernel = g.transpose(1, 2, 0, 3)  # (OH, OW, N, C_out)
    return conv(swapped, kernel).transpose(1, 2, 0, 3)  # (C, kh, kw, C_out) → (kh, kw, C, C_out)


g = rng.normal(size=y.shape)
gw = kernel_gradient(x, g, 3, 3)
print(gw.shape, "largest difference", np.abs(kernel_gradient_as_convolution(x, g) - gw).max())
assert np.allclose(kernel_gradient_as_convolution(x, g), gw)

# %% [markdown]
# ## The gradient of the input
#
# Each output took a window of pixels, times the weights. On the way back it gives each pixel of its
# window its share, $g$ times the weight. Windows overlap, and where several meet, gradients add:


# %%
def input_gradient(g, w, shape):
    kh, kw, _, _ = w.shape
    gx = np.zeros(shape)
    for n in range(g.shape[0]):
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                gx[n, i : i + kh, j : j + kw] += w @ g[n, i, j]  # (kh, kw, C, C_out) @ (C_out,)
    return gx


gx = input_gradient(g, w, x.shape)

# %% [markdown]
# The same, asked from the side of one pixel $(a, b)$: which outputs have seen it? Through the tap
# $(u, v)$ of the kernel it was seen by the output at $(a - u, b - v)$. So
#
# $$\frac{\partial L}{\partial x_{n,a,b,c}} = \sum_{u,v,o} g_{n,\ a-u,\ b-v,\ o} \cdot w_{u,v,c,o}$$
#
# Minus signs where the convolution has plus: here is the flip again. Read the kernel from its other
# end, swap its two channel axes, and it is a convolution. Near the border $a - u$ falls outside of
# $g$, where there are no outputs, so put $kh - 1$ zeros around. (This is called a *full*
# correlation: every overlap counts, even of a single pixel.)


# %%
def input_gradient_as_convolution(g, w):
    kh, kw, _, _ = w.shape
    border = ((0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0))
    flipped = w[::-1, ::-1].swapaxes(2, 3)  # (kh, kw, C_out, C)
    return conv(np.pad(g, border), flipped)


print("largest difference", np.abs(input_gradient_as_convolution(g, w) - gx).max())
assert np.allclose(input_gradient_as_convolution(g, w), gx)

# %% [markdown]
# Is it right? The engine and finite differences have the last word.

# %%
tx, tw = tf.Tensor(x, requires_grad=True), tf.Tensor(w, requires_grad=True)
tf.conv2d(tx, tw).backward(tf.Tensor(g))
print("x:", np.abs(tx.grad.numpy() - gx).max(), "  w:", np.abs(tw.grad.numpy() - gw).max())
assert np.allclose(tx.grad.numpy(), gx) and np.allclose(tw.grad.numpy(), gw)
print("gradcheck:", tf.gradcheck(tf.conv2d, x[:1, :5, :5, :2], w[..., :2, :3]))

# %% [markdown]
# ## Padding
#
# Each 3 × 3 convolution takes a pixel off each side. After three of them an 8 × 8 image would be
# 2 × 2. So put a border around first: **padding**. With zeros on all sides so that the size stays
# the same, it is called `"same"`; no padding is `"valid"`; a number is that many pixels on each
# side. The border need not be zeros. `"reflect"` mirrors the image. The difference shows when we
# take the mean of each window of an image that is 1 everywhere:

# %%
ones = tf.Tensor(np.ones((1, 5, 5, 1)))
mean = tf.Tensor(np.full((3, 3, 1, 1), 1 / 9))
for mode in ("zeros", "reflect"):
    blurred = tf.conv2d(ones, mean, padding="same", padding_mode=mode).numpy()[0, :, :, 0]
    print(mode, *blurred.round(2), sep="\n")
    assert np.isclose(blurred[0, 0], 4 / 9 if mode == "zeros" else 1)

# %% [markdown]
# Zeros darken the border: in the corner 5 of 9 pixels are missing. A network can make use of that,
# since it tells where the border is, or suffer from it. Zeros are the usual choice.
#
# ## Stride
#
# One may also move the window by more than one pixel: the **stride**. Stride 2 is every second row
# and column of stride 1, and halves the size. With padding and stride the sizes follow a formula:
#
# $$OH = \left\lfloor
# \frac{H + \text{before} + \text{after} - kh}{\text{stride}} \right\rfloor + 1$$
#
# The window has $H + \text{before} + \text{after} - kh$ pixels of room to move. It makes as many
# whole strides as fit, and there is one place more than there are strides.

# %%
every = tf.conv2d(tf.Tensor(x), tf.Tensor(w), padding=1).numpy()
second = tf.conv2d(tf.Tensor(x), tf.Tensor(w), padding=1, stride=2).numpy()
print(every.shape, "→", second.shape, "  every second:", np.allclose(second, every[:, ::2, ::2]))
assert np.allclose(second, every[:, ::2, ::2])

for H in (7, 8, 32):
    for k, padding, stride in ((3, 0, 1), (3, 1, 1), (3, 1, 2), (5, 2, 3)):
        by_formula = (H + 2 * padding - k) // stride + 1
        image, kernel = np.zeros((1, H, H, 1)), np.zeros((k, k, 1, 1))
        out = tf.conv2d(tf.Tensor(image), tf.Tensor(kernel), padding=padding, stride=stride)
        print(f"H {H:2}, kernel {k}, padding {padding}, stride {stride}: {out.shape[1]}")
        assert out.shape[1] == by_formula

# %% [markdown]
# Two more settings, for completeness. **Dilation** $d$ leaves gaps of $d - 1$ pixels between the
# taps of the kernel, so that it sees a wider window with no more weights. **Groups** deal the
# channels into several convolutions side by side, each of which sees its own channels only.
#
# ## Pooling
#
# To make images smaller, networks often use **pooling**: each window becomes one number, its
# largest (max pooling) or its mean (average pooling). The usual window is 2 × 2 with stride 2,
# which a `reshape` can do:


# %%
def max_pool(x):  # (N, H, W, C) → (N, H/2, W/2, C)
    N, H, W, C = x.shape
    return x.reshape(N, H // 2, 2, W // 2, 2, C).max(axis=(2, 4))


assert np.array_equal(max_pool(x), tf.max_pool2d(tf.Tensor(x), 2).numpy())

picture = np.array([[1.0, 5, 2, 0], [3, 4, 8, 1], [7, 2, 0, 1], [6, 9, 3, 2]])
gradients = {}
for pool in (tf.max_pool2d, tf.avg_pool2d):
    image = tf.Tensor(picture.reshape(1, 4, 4, 1), requires_grad=True)
    out = pool(image, 2)
    out.backward(tf.Tensor(np.array([10.0, 20, 30, 40]).reshape(1, 2, 2, 1)))
    gradients[pool.__name__] = image.grad.numpy()[0, :, :, 0]
    print(f"{pool.__name__}: {out.numpy().ravel()}, and the gradient 10, 20, 30, 40 becomes")
    print(gradients[pool.__name__])
assert gradients["max_pool2d"][0, 1] == 10 and (gradients["max_pool2d"] > 0).sum() == 4
assert np.all(gradients["avg_pool2d"][:2, :2] == 10 / 4)

# %% [markdown]
# The mean shares its gradient equally among its four pixels. The maximum gives everything to the
# pixel that won: nudge any other a little and the result would not change, so its derivative is 0.
#
# ## What a convolution shares
#
# A convolution is linear in $x$: sums of pixels times weights. So it *is* a linear layer with some
# matrix, and we can see which. Send in 64 images, each with one pixel of 1, and each comes out as
# one row of that matrix.

# %% tags=["thumbnail"]
pixels = np.eye(64).reshape(64, 8, 8, 1)
kernel = np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
matrix = conv(pixels, kernel).reshape(64, 36)
assert np.allclose(digit.reshape(1, 64) @ matrix, slide(digit, kernel[..., 0, 0]).reshape(1, 36))

figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), gridspec_kw={"width_ratios": (1, 3)})
show(axes[0], kernel[..., 0, 0], "9 weights", cmap="turbo", vmin=0)
axes[1].imshow(np.where(matrix == 0, np.nan, matrix).T, cmap="turbo", vmin=0)  # zeros white
axes[1].set(title="the same as a linear layer", xlabel="input pixel", ylabel="output pixel")
axes[1].grid(False)
plt.show()
weights = np.unique(matrix[matrix != 0])
print(f"{matrix.size} weights, {np.mean(matrix == 0):.0%} of them zero, {len(weights)} different")
assert len(weights) == 9 and 0.8 < np.mean(matrix == 0) < 0.9

# %% [markdown]
# Nearly all is zero, as each output sees 9 pixels of 64: a convolution is **local**. And all the
# rest is the same 9 weights over and over: a convolution **shares** them among all places. A linear
# layer would have to learn each of these numbers by itself:

# %%
layer = tf.nn.Conv2d(1, 8, 3)  # (N, 8, 8, 1) → (N, 8, 8, 8)
dense = tf.nn.Linear(8 * 8 * 1, 8 * 8 * 8)
print(f"Conv2d: {layer.count_parameters()} numbers, Linear: {dense.count_parameters():,}")
assert layer.count_parameters() == 80 and dense.count_parameters() == 33_280

# %% [markdown]
# The 80 numbers do for an image of any size. Sharing also has a consequence that can be stated
# exactly: move the image by a pixel, and the feature map moves by a pixel and stays the same. This
# is called **equivariance** to translation. (At the border, new pixels come in.)

# %%
moved = np.roll(x, 1, axis=2)  # one pixel to the right
difference = np.abs(conv(moved, w)[:, :, 1:] - conv(x, w)[:, :, :-1])
print("convolve what was moved − move what was convolved:", difference.max())
assert difference.max() < 1e-12

# %% [markdown]
# With stride 2 it holds for moves by two pixels, which become one. It no longer holds for one
# pixel: the windows now begin between those of before. The same goes for pooling.

# %%
strided = conv(x, w)[:, ::2, ::2]
by_two = conv(np.roll(x, 2, axis=2), w)[:, ::2, ::2]
by_one = conv(moved, w)[:, ::2, ::2]
print("moved by two pixels:", np.abs(by_two[:, :, 1:] - strided[:, :, :-1]).max())
print("moved by one pixel: ", np.abs(by_one[:, :, 1:] - strided[:, :, :-1]).max())
assert np.allclose(by_two[:, :, 1:], strided[:, :, :-1])
assert not np.allclose(by_one[:, :, 1:], strided[:, :, :-1])

# %% [markdown]
# ## A 1 × 1 convolution
#
# A kernel can be as small as one pixel. Then there are no neighbours, only channels: each pixel, a
# row of $C$ numbers, goes through the same `(C, C_out)` matrix. That is the linear layer of
# chapter 5, at every pixel.

# %%
w1 = rng.normal(size=(1, 1, 4, 16))
by_conv = tf.conv2d(tf.Tensor(x), tf.Tensor(w1)).numpy()
print(by_conv.shape, "largest difference", np.abs(by_conv - x @ w1[0, 0]).max())
assert np.allclose(by_conv, x @ w1[0, 0])

# %% [markdown]
# ## A network that learns its kernels
#
# Enough parts for a convolutional network. The kernels are parameters like any other, start at
# random and are learned. Channels grow while the image shrinks, and at the end a linear layer
# decides. For comparison, the MLP of chapter 5.


# %%
def conv_net():
    return tf.nn.Sequential(
        tf.nn.Conv2d(1, 8, 3),  # (N, 8, 8, 1) → (N, 8, 8, 8), padding "same"
        tf.nn.ReLU(),
        tf.nn.MaxPool2d(2),  # → (N, 4, 4, 8)
        tf.nn.Conv2d(8, 16, 3),  # → (N, 4, 4, 16)
        tf.nn.ReLU(),
        tf.nn.MaxPool2d(2),  # → (N, 2, 2, 16)
        tf.nn.Flatten(),  # → (N, 64)
        tf.nn.Linear(64, 10),
    )


def mlp():
    return tf.nn.Sequential(
        tf.nn.Flatten(), tf.nn.Linear(64, 64), tf.nn.ReLU(), tf.nn.Linear(64, 10)
    )


def learn(make, seed):
    tf.seed(seed)
    net = make()
    optimizer = tf.optim.SGD(net.parameters(), lr=0.1)
    tf.train.fit(net, train, test, optimizer, tf.optim.ConstantLR(optimizer, 15), quiet=True)
    return net


def right(net, images):
    return (tf.train.predict(net, images).argmax(axis=1) == test.labels).mean()


nets = {make.__name__: [learn(make, seed) for seed in range(3)] for make in (conv_net, mlp)}
for name, runs in nets.items():
    accuracy = np.median([right(net, test.images) for net in runs])
    print(f"{name:8} {runs[0].count_parameters():5} numbers, {accuracy:.1%} of the test set right")
    assert accuracy > 0.93
assert nets["conv_net"][0].count_parameters() < 0.5 * nets["mlp"][0].count_parameters()

# %% [markdown]
# The convolutional network does about as well with fewer than half as many numbers. At 8 × 8 pixels
# there is not much more to gain. The difference shows elsewhere.
#
# ## Predict, then run
#
# All digits of the training set are centred. We move each test image by one pixel to the left or to
# the right, with white coming in. **How many will each network still get right?**

# %% jupyter={"outputs_hidden": true}
padded = np.pad(test.images, ((0, 0), (0, 0), (1, 1), (0, 0)))
moved = {"left": padded[:, :, 2:], "not": test.images, "right": padded[:, :, :-2]}
scores = {
    name: {way: np.median([right(net, images) for net in runs]) for way, images in moved.items()}
    for name, runs in nets.items()
}
for name, score in scores.items():
    print(f"{name:8}", "   ".join(f"moved {way}: {value:.0%}" for way, value in score.items()))
for way in ("left", "right"):
    assert scores["conv_net"][way] > scores["mlp"][way] + 0.08
    assert scores["conv_net"][way] < 0.9 and scores["mlp"]["not"] - scores["mlp"][way] > 0.4

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The MLP loses more than 40 in a hundred: it has learned which pixels are dark. The convolutional
# network keeps more, since its kernels still find their strokes one pixel further. But it is far
# from untouched. Its convolutions move along with the image; its last linear layer does not. It
# looks for each feature in one of 2 × 2 places, and pooling hides only some of the moves.
# (Training with moved images, *augmentation*, is what helps most. `tf.data.shift` does that.)
#
# </details>
#
# ## What has it learned to look for?
#
# The eight kernels of the first layer, and what each answers to one digit, after the ReLU:

# %%
net = nets["conv_net"][0]
four = test[test.labels == 4].images[:1]  # (1, 8, 8, 1)
kernels = net[0].weight.numpy()  # (3, 3, 1, 8)
with tf.no_grad():
    maps = net[1](net[0](tf.Tensor(four))).numpy()  # (1, 8, 8, 8)
limit = np.abs(kernels).max()
figure, axes = plt.subplots(2, 9, figsize=(6.4, 1.7))
axes[0, 0].axis("off")
show(axes[1, 0], four[0, :, :, 0])
for k in range(8):
    show(axes[0, k + 1], kernels[:, :, 0, k], str(k), cmap="RdBu_r", vmin=-limit, vmax=limit)
    show(axes[1, k + 1], maps[0, :, :, k], vmin=0, vmax=maps.max())
plt.show()

# %% [markdown]
# Several kernels have a red side and a blue side, like the two that we made by hand: they answer to
# edges of one direction. Nobody told the network about edges. It found that asking for them makes
# the loss small.
#
# ## Now read the source
#
# - [`ops/conv.py`](../tinyfractal/ops/conv.py): `_conv2d` is the definition. It does not
#   make windows. For each **tap** $(u, v)$ of the kernel it takes all the pixels that this tap
#   meets, as one slice, times the `(C, C_out)` matrix of the tap: nine 1 × 1 convolutions of
#   shifted images, added up. (Inside `with reference():` it runs in place of the fast one;
#   [`engine/modes.py`](../tinyfractal/engine/modes.py) has the switch.)
# - [`fast/conv.py`](../tinyfractal/fast/conv.py): `_conv2d` chooses a way by the shape.
# - [`fast/patches.py`](../tinyfractal/fast/patches.py) is your `conv`, for images with few
#   channels: `windows` makes the view (with `as_strided`, so that stride and dilation cost
#   nothing), `reshape` copies, one product.
# - [`fast/direct.py`](../tinyfractal/fast/direct.py) goes tap by tap, forward and back: the pixels
#   that a tap met on the way forward get their gradient through the same slices. So no rows need be
#   kept, the kernel need not be flipped, and stride and dilation need no thought of their own.
#   (Most 3 × 3 kernels go a third way: chapter 17.)
# - [`ops/pool.py`](../tinyfractal/ops/pool.py): tap by tap, too. The gradient goes to the pixel
#   that is the maximum; of equal ones the first takes it.
# - [`nn/layers.py`](../tinyfractal/nn/layers.py): `Conv2d` holds kernel, bias and settings. Its
#   padding is "same" unless told otherwise.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/06_convolution.py`.
#
# **1. Move it.** Which 3 × 3 kernel moves an image by one pixel to the right (with padding "same")?

# %%
mover = ...  # an array (3, 3)

check_shift(mover)

# %% [markdown]
# **2. Same.** With padding "same" the output has $\lceil H / \text{stride} \rceil$ rows. How many
# zeros are needed `(before, after)`? As few as possible; if their number is odd, the odd one goes
# to the end.


# %%
def same_padding(H, k, stride): ...


check_same_padding(same_padding)

# %% [markdown]
# **3. Backward through a stride.** Write the gradient with respect to the input of a convolution
# with a stride and no padding: `g` is `(N, OH, OW, C_out)`, `w` is `(kh, kw, C, C_out)`, `shape` is
# that of $x$. Loops are welcome.


# %%
def strided_input_gradient(g, w, stride, shape): ...


check_strided(strided_input_gradient)

# %% [markdown]
# **4. How far does it see?** The *receptive field* of an output is the window of the image that it
# depends on. One 3 × 3 convolution sees 3 pixels across, two in a row 5. Write it for any row of
# layers, given as `[(kernel size, stride), …]` from first to last. (Pooling counts as a layer, with
# its window as kernel.)


# %%
def receptive_field(layers): ...


check_receptive_field(receptive_field)
