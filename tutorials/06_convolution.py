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
# # 6. How can nine weights see a whole image?
#
# *40 minutes. Afterwards you can read [`ops/conv.py`](../tinyfractal/ops/conv.py),
# [`ops/pool.py`](../tinyfractal/ops/pool.py) and `Conv2d` in
# [`nn/layers.py`](../tinyfractal/nn/layers.py).*
#
# A linear layer from an 8 × 8 image to a 6 × 6 one has 2,304 weights. A convolution does the same
# with nine, and on an image of any size. It can, because a stroke is a stroke wherever it is: the
# same nine weights serve every place.

# %% jupyter={"source_hidden": true}
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
from figures import ORANGE, animate, use_style
from smaller import smaller

use_style()
train, test = tf.data.load("digits")
train, validation = train.split(0.2)
SIGNED = {"cmap": "RdBu_r", "vmin": -3, "vmax": 3}


def show(ax, picture, title="", **limits):
    ax.imshow(picture, **limits)
    ax.set(title=title, xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set(visible=True, color="0.7")


# %% [markdown]
# ## A window slides
#
# Watch the orange window. Under it lie nine pixels. Each is multiplied by the weight of the
# **kernel** at its place, and the sum is one number of the result. Then the window moves on.

# %%
digit = train.images[0, :, :, 0]  # (8, 8)
upright = np.array([[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]])  # right minus left
lying = upright.T  # below minus above

# %% jupyter={"source_hidden": true}
every = np.lib.stride_tricks.sliding_window_view(digit, (3, 3))  # (6, 6, 3, 3)
result = (every * upright).sum(axis=(2, 3))
figure, axes = plt.subplots(
    1, 4, figsize=(6.4, 2.0), gridspec_kw={"width_ratios": (8, 3.6, 3.6, 7)}
)


def draw_window(place):
    i, j = divmod(place, 6)
    for ax in axes:
        ax.clear()
    show(axes[0], digit, "image (8, 8)")
    axes[0].add_patch(plt.Rectangle((j - 0.5, i - 0.5), 3, 3, fill=False, ec=ORANGE, lw=3))
    show(axes[1], upright, "kernel", **SIGNED)
    show(axes[2], digit[i : i + 3, j : j + 3] * upright, f"sum {result[i, j]:+.1f}", **SIGNED)
    for u, v in np.ndindex(3, 3):
        axes[1].text(v, u, f"{upright[u, v]:.0f}", ha="center", va="center", fontsize=8)
    so_far = np.where(np.arange(36).reshape(6, 6) <= place, result, np.nan)
    show(axes[3], so_far, "result (6, 6)", **SIGNED)
    axes[3].add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec=ORANGE, lw=3))


animate(
    figure,
    draw_window,
    frames=36,
    seconds=12,
    alt="A 3 by 3 window slides over a digit; the sum of its products fills the result.",
    colors=160,
)

# %% [markdown]
# As a formula:
#
# $$y_{i,j} = \sum_{u,v} x_{i+u,\ j+v} \cdot w_{u,v}$$
#
# A kernel of `(kh, kw)` fits into an image of `(H, W)` at `H - kh + 1` times `W - kw + 1` places.


# %%
def slide(x, w):  # (H, W), (kh, kw) → (H - kh + 1, W - kw + 1)
    kh, kw = w.shape
    y = np.zeros((x.shape[0] - kh + 1, x.shape[1] - kw + 1))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = (x[i : i + kh, j : j + kw] * w).sum()
    return y


assert np.allclose(slide(digit, upright), result)

# %% [markdown]
# Our kernel is the right column minus the left one. It answers where the image gets darker from
# left to right (red), or lighter (blue): at upright edges. Its transpose answers at lying ones. A
# kernel is a question, and the result, a **feature map**, is the answer at each place:

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(1, 5, figsize=(6.4, 1.5))
show(axes[0], digit, "image")
for k, (name, kernel) in enumerate((("upright", upright), ("lying", lying))):
    show(axes[1 + 2 * k], kernel, name, cmap="RdBu_r")
    show(axes[2 + 2 * k], slide(digit, kernel), "answers", **SIGNED)
plt.show()

# %% [markdown]
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

# %% jupyter={"source_hidden": true}
assert np.array_equal(result[1:6, 2:5], letter[::-1, ::-1])

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The F comes out rotated by 180°, which is flipped along both axes. When the window lies to the
# *right* of the dot, the dot is under the *left* of the kernel. Mathematicians call our sum a
# *correlation*; their convolution flips the kernel first. For a learned kernel the flip makes no
# difference, so in deep learning everybody says convolution. Remember the flip: it will come back.
#
# </details>
#
# ## What a convolution shares
#
# A convolution is linear in $x$, so it *is* a linear layer with some matrix. Which one? Send in 64
# images, each with a single black pixel. Each comes out as one row of the matrix.

# %%
kernel = np.arange(1.0, 10.0).reshape(3, 3)
matrix = np.array([slide(pixel, kernel).ravel() for pixel in np.eye(64).reshape(64, 8, 8)])
weights = np.unique(matrix[matrix != 0])
print(f"{matrix.size:,} weights, {np.mean(matrix == 0):.0%} are zero, {len(weights)} differ")
assert np.allclose(digit.reshape(1, 64) @ matrix, slide(digit, kernel).reshape(1, 36))

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
assert len(weights) == 9 and 0.8 < np.mean(matrix == 0) < 0.9
figure, axes = plt.subplots(1, 2, figsize=(6.4, 3.2), gridspec_kw={"width_ratios": (1, 3)})
show(axes[0], kernel, "9 weights", cmap="turbo", vmin=0)
axes[1].imshow(np.where(matrix == 0, np.nan, matrix).T, cmap="turbo", vmin=0)  # zeros white
axes[1].set(title="the same as a linear layer", xlabel="input pixel", ylabel="output pixel")
axes[1].grid(False)
plt.show()

# %% [markdown]
# There is the answer. A row of the picture is one output, and white is zero: each output sees 9
# pixels of 64, so a convolution is **local**. And every coloured line is *one* weight, over and
# over: a convolution **shares** its weights among all places.
#
# So if you move the image by a pixel, the feature map moves by a pixel and stays the same. This is
# **equivariance** to translation. If the window takes two pixels at a time (a **stride** of 2), it
# holds for moves by two, but not by one:

# %%
x = np.random.default_rng(0).normal(size=(8, 12))
once, before = slide(np.roll(x, 1, axis=1), kernel), slide(x, kernel)
twice = slide(np.roll(x, 2, axis=1), kernel)
stride = np.s_[::2, ::2]
print("stride 1, moved by 1:", np.abs(once[:, 1:] - before[:, :-1]).max())
print("stride 2, moved by 2:", np.abs(twice[stride][:, 1:] - before[stride][:, :-1]).max())
print("stride 2, moved by 1:", np.abs(once[stride][:, 1:] - before[stride][:, :-1]).max().round(1))

# %% jupyter={"source_hidden": true}
assert np.allclose(once[:, 1:], before[:, :-1])
assert np.allclose(twice[stride][:, 1:], before[stride][:, :-1])
assert not np.allclose(once[stride][:, 1:], before[stride][:, :-1])

# %% [markdown]
# ## Channels
#
# Images have several channels (red, green, blue), and a layer asks several questions. So the image
# is `(N, H, W, C)`, the kernel `(kh, kw, C, C_out)`, and one output is a sum over the window and
# over all its channels:
#
# $$y_{n,i,j,o} = \sum_{u,v,c} x_{n,\ i+u,\ j+v,\ c} \cdot w_{u,v,c,o}$$


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
x, w = rng.normal(size=(20, 8, 8, 4)), rng.normal(size=(3, 3, 4, 16))
y = conv_loops(x, w)
print(x.shape, "and", w.shape, "→", y.shape)
assert np.allclose(y, tf.conv2d(tf.Tensor(x), tf.Tensor(w)).numpy())

# %% [markdown]
# ## All windows at once
#
# The loops are slow. But each output is a window, laid out as a row, times a column of weights. So
# make all windows the rows of one big matrix, and do a single matrix product. The field calls this
# **im2col**:

# %% jupyter={"source_hidden": true}
view = np.lib.stride_tricks.sliding_window_view(digit, (3, 3))
rows = view.reshape(36, 9)
result = rows @ upright.reshape(9, 1)
widths = {"width_ratios": (2, 1.2, 0.6, 0.6, 2)}
figure, axes = plt.subplots(1, 5, figsize=(6.4, 2.6), gridspec_kw=widths)
show(axes[0], digit, "image\n(8, 8)")
show(axes[1], rows, "windows\n(36, 9)", aspect="auto")
show(axes[2], upright.reshape(9, 1), "kernel\n(9, 1)", cmap="RdBu_r", aspect="auto")
show(axes[3], result, "product\n(36, 1)", aspect="auto", **SIGNED)
show(axes[4], result.reshape(6, 6), "feature map\n(6, 6)", **SIGNED)
plt.show()

# %% [markdown]
# NumPy shows all windows without copying, as a **view**: an array with its own shape and its own
# **strides**, the jumps in memory to the next number along each axis. Only `reshape` has to copy.


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
for function in (conv_loops, conv):
    start = time.perf_counter()
    function(x, w)
    print(f"{function.__name__:10} {1000 * (time.perf_counter() - start):7.2f} ms")
print("memory of the rows over that of x:", windows(x, 3, 3).size / x.size)

# %% jupyter={"source_hidden": true}
assert np.shares_memory(windows(x, 3, 3), x) and np.allclose(conv(x, w), y)

# %% [markdown]
# Much faster, for up to $kh \cdot kw = 9$ times the memory.
#
# ## The gradient of the kernel
#
# Now backward, given $g = \partial L / \partial y$. Since $y$ is the matrix product of `rows` and
# the weights, chapter 3 has the answer: `rows.T @ g`. Written out, it says
#
# $$\frac{\partial L}{\partial w_{u,v,c,o}} = \sum_{n,i,j} x_{n,\ i+u,\ j+v,\ c} \cdot g_{n,i,j,o}$$
#
# Compare this with the sum for $y$: it has $x$ at shifted places, times something, added up. It is
# a convolution of $x$ with $g$ *as the kernel*, in which image and channel trade places. (A bias is
# added at every place of every image. By chapter 3, its gradient is $g$ summed over images, rows
# and columns.)


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
# On the way back, each output gives each pixel of its window its share, $g$ times the weight. Where
# windows overlap, gradients add:


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
# The same, seen from one pixel $(a, b)$: through the weight $(u, v)$ it was seen by the output at
# $(a - u, b - v)$. So
#
# $$\frac{\partial L}{\partial x_{n,a,b,c}} = \sum_{u,v,o} g_{n,\ a-u,\ b-v,\ o} \cdot w_{u,v,c,o}$$
#
# Minus signs where the convolution has plus: here is the flip again. Flip the kernel, swap its two
# channel axes, put $kh - 1$ zeros around $g$, and it is a convolution:


# %%
def input_gradient_as_convolution(g, w):
    kh, kw, _, _ = w.shape
    border = ((0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0))
    flipped = w[::-1, ::-1].swapaxes(2, 3)  # (kh, kw, C_out, C)
    return conv(np.pad(g, border), flipped)


print("largest difference", np.abs(input_gradient_as_convolution(g, w) - gx).max())

# %% jupyter={"source_hidden": true}
assert np.allclose(input_gradient_as_convolution(g, w), gx)
tx, tw = tf.Tensor(x, requires_grad=True), tf.Tensor(w, requires_grad=True)
tf.conv2d(tx, tw).backward(tf.Tensor(g))
assert np.allclose(tx.grad.numpy(), gx) and np.allclose(tw.grad.numpy(), gw)
assert tf.gradcheck(tf.conv2d, x[:1, :5, :5, :2], w[..., :2, :3]).excess < 1

# %% [markdown]
# Forward and both gradients: three convolutions.
#
# ## Padding and stride
#
# Each 3 × 3 convolution takes a pixel off each side. To keep the size, put a border of zeros around
# the image first. This is **padding**: `"same"` adds just enough zeros to keep the size, and
# `"valid"` adds none. Zeros pull the border down, as the mean of each window of an all-ones image
# shows:

# %%
ones = tf.Tensor(np.ones((1, 5, 5, 1)))
mean = tf.Tensor(np.full((3, 3, 1, 1), 1 / 9))
blurred = tf.conv2d(ones, mean, padding="same").numpy()[0, :, :, 0]
print(blurred.round(2))
assert np.isclose(blurred[0, 0], 4 / 9)

# %% [markdown]
# In the corner, 5 of the 9 pixels are zeros from outside. (`padding_mode="reflect"` mirrors the
# image instead.)
#
# The window makes as many whole strides as fit, and there is one more place than there are strides:
#
# $$OH = \left\lfloor
# \frac{H + \text{before} + \text{after} - kh}{\text{stride}} \right\rfloor + 1$$

# %%
for H in (7, 8, 32):
    for k, padding, stride in ((3, 0, 1), (3, 1, 1), (3, 1, 2), (5, 2, 3)):
        image, kernel = np.zeros((1, H, H, 1)), np.zeros((k, k, 1, 1))
        out = tf.conv2d(tf.Tensor(image), tf.Tensor(kernel), padding=padding, stride=stride)
        assert out.shape[1] == (H + 2 * padding - k) // stride + 1
print("the formula holds for all", 3 * 4)

# %% [markdown]
# Two more settings: **dilation** leaves gaps between the weights of a kernel, so that it sees a
# wider window. **Groups** deal the channels into several convolutions side by side.
#
# ## Pooling
#
# **Pooling** makes images smaller: each window becomes one number, its largest (max pooling) or its
# mean (average pooling). For the usual window, 2 × 2 with stride 2, a `reshape` can do it. To see
# the way back, we start `backward` with a gradient of our own, one number for each window:


# %%
def max_pool(x):  # (N, H, W, C) → (N, H/2, W/2, C)
    N, H, W, C = x.shape
    return x.reshape(N, H // 2, 2, W // 2, 2, C).max(axis=(2, 4))


picture = np.array([[1.0, 5, 2, 0], [3, 4, 8, 1], [7, 2, 0, 1], [6, 9, 3, 2]])
gradients = {}
for pool in (tf.max_pool2d, tf.avg_pool2d):
    image = tf.Tensor(picture.reshape(1, 4, 4, 1), requires_grad=True)
    out = pool(image, 2)
    out.backward(tf.Tensor(np.array([10.0, 20, 30, 40]).reshape(1, 2, 2, 1)))
    gradients[pool.__name__] = image.grad.numpy()[0, :, :, 0]
    print(f"{pool.__name__}: {out.numpy().ravel()}, and the gradient 10, 20, 30, 40 becomes")
    print(gradients[pool.__name__])

# %% jupyter={"source_hidden": true}
assert np.array_equal(max_pool(x), tf.max_pool2d(tf.Tensor(x), 2).numpy())
assert gradients["max_pool2d"][0, 1] == 10 and (gradients["max_pool2d"] > 0).sum() == 4
assert np.all(gradients["avg_pool2d"][:2, :2] == 10 / 4)

# %% [markdown]
# The mean shares its gradient equally among its pixels. The maximum gives everything to the pixel
# that won: nudge any other a little, and the result does not change.
#
# ## A 1 × 1 convolution
#
# A kernel can be a single pixel. Then each pixel, a row of $C$ numbers, goes through the same
# `(C, C_out)` matrix: the linear layer of chapter 5, at every pixel.

# %%
w1 = rng.normal(size=(1, 1, 4, 16))
by_conv = tf.conv2d(tf.Tensor(x), tf.Tensor(w1)).numpy()
print(by_conv.shape, "largest difference", np.abs(by_conv - x @ w1[0, 0]).max())
assert np.allclose(by_conv, x @ w1[0, 0])

# %% [markdown]
# ## A network of convolutions
#
# The kernels start at random and are learned, like any weights. Channels grow while the image
# shrinks, and a linear layer decides. It competes with the MLP of chapter 5: equal epochs, several
# random starts, and for each the learning rate that is best on the validation set. (The optimizer
# is SGD with its default momentum of 0.9.)


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


def learn(make, lr, seed, frozen=None):
    tf.seed(seed)
    net = make()
    learning = [p for k, layer in enumerate(net) if k != frozen for p in layer.parameters()]
    optimizer = tf.optim.SGD(learning, lr)
    loader = tf.data.Loader(train, batch_size=100, shuffle=True, seed=seed)
    for _ in range(15):
        for images, labels in loader:
            loss = tf.cross_entropy(net(tf.Tensor(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


def right(net, images, labels=validation.labels):
    return (tf.train.predict(net, images).argmax(axis=1) == labels).mean()


SEEDS = range(smaller("seeds", 3, in_browser=1))
nets, best_rate = {}, {}
for name, make in (("conv_net", conv_net), ("mlp", mlp)):
    found = {lr: [learn(make, lr, seed) for seed in SEEDS] for lr in (0.03, 0.1, 0.3)}
    best_rate[name] = max(
        found, key=lambda lr: np.mean([right(n, validation.images) for n in found[lr]])
    )
    nets[name] = found[best_rate[name]]
    each = "  ".join(f"{right(net, validation.images):.1%}" for net in nets[name])
    print(f"{name:8} {nets[name][0].count_parameters():5} weights, lr {best_rate[name]}: {each}")

# %% jupyter={"source_hidden": true}
assert nets["conv_net"][0].count_parameters() < 0.5 * nets["mlp"][0].count_parameters()
means = [np.mean([right(net, validation.images) for net in nets[name]]) for name in nets]
assert abs(means[0] - means[1]) < 0.02

# %% [markdown]
# On centred digits both do about equally well, the convolutions with fewer than half as many
# weights. The difference shows elsewhere.
#
# ## Predict, then run
#
# We move each validation image by one pixel to the left or right, with white coming in. No network
# has trained on moved digits. **How many will each still get right?**

# %% jupyter={"outputs_hidden": true}
padded = np.pad(validation.images, ((0, 0), (0, 0), (1, 1), (0, 0)))
moved = {"left": padded[:, :, 2:], "not": validation.images, "right": padded[:, :, :-2]}
scores = {
    name: {way: [right(net, images) for net in runs] for way, images in moved.items()}
    for name, runs in nets.items()
}
for name, score in scores.items():
    for way, each in score.items():
        print(f"{name:8} moved {way:5}: {min(each):.0%} to {max(each):.0%} right")

# %% jupyter={"source_hidden": true}
for way in ("left", "right"):
    assert min(scores["conv_net"][way]) > max(scores["mlp"][way])
    assert max(scores["conv_net"][way]) < 0.9
    assert np.mean(scores["mlp"]["not"]) - np.mean(scores["mlp"][way]) > 0.4

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The MLP loses more than half: it has learned which pixels are dark. The convolutional network
# keeps more, because its kernels still find their strokes one pixel further. But it is far from
# untouched. Its convolutions move along with the image. Its pooling has a stride of 2 and does not
# follow a single pixel, and its last linear layer does not follow at all.
#
# </details>
#
# ## What has it learned to look for?
#
# Top: the eight kernels of the first layer at their random start. Below: the same kernels after
# training. Look for a red side and a blue side, as in the edge kernel that we made by hand.


# %% jupyter={"source_hidden": true}
def first_kernels(seed):
    """The kernels of the first layer at the start and at the end of training, (3, 3, 8)."""
    tf.seed(seed)
    return conv_net()[0].weight.numpy()[:, :, 0], nets["conv_net"][seed][0].weight.numpy()[:, :, 0]


begun, learned = first_kernels(0)
figure, axes = plt.subplots(2, 8, figsize=(6.4, 1.8))
for row, (name, kernels) in enumerate((("start", begun), ("end", learned))):
    limit = np.abs(kernels).max()
    for k in range(8):
        show(axes[row, k], kernels[:, :, k], cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes[row, 0].set_ylabel(name)
plt.show()

# %% [markdown]
# It is tempting to see edge detectors below. But some kernels above, which have learned nothing,
# have two sides as well. Measure it. How similar is each kernel to its own start (cosine: 1 is the
# same, 0 unrelated)? What share of it is an edge, upright or lying (2 of 9 dimensions, so about two
# ninths in random kernels)? And how good is a network whose first layer stays at random?


# %%
def edge_share(kernels):  # (3, 3, 8)
    sides = np.stack([upright.ravel(), lying.ravel()]) / np.sqrt(6)  # two unit vectors
    rows = kernels.reshape(9, -1)
    return ((sides @ rows) ** 2).sum() / (rows**2).sum()


measured = []
for seed in SEEDS:
    begun, learned = first_kernels(seed)
    cosine = (begun * learned).sum((0, 1)) / np.sqrt(
        (begun**2).sum((0, 1)) * (learned**2).sum((0, 1))
    )
    frozen = learn(conv_net, best_rate["conv_net"], seed, frozen=0)
    scored = [right(net, validation.images) for net in (nets["conv_net"][seed], frozen)]
    measured.append([np.median(cosine), edge_share(begun), edge_share(learned), *scored])
    print(
        "median cosine {:.2f}   edge share {:.0%} → {:.0%}   right {:.1%}, frozen {:.1%}".format(
            *measured[-1]
        )
    )

# %% jupyter={"source_hidden": true}
measured = np.array(measured)
assert (
    (measured[:, 0] > 0.6).all()
    and (measured[:, 2] < 0.5).all()
    and (measured[:, 2] > measured[:, 1]).all()
)
assert (measured[:, 4] > 0.9).all() and (measured[:, 4] <= measured[:, 3]).all()

# %% [markdown]
# Most kernels still resemble their random start. Training makes them more edge-like in every run,
# yet most of each is something else. And random kernels, left as they were, cost only a few points:
# the layers above work with whatever features they get.
#
# One look at the test set, with the first of our networks, since nothing is left to choose:

# %%
print(f"test: {right(nets['conv_net'][0], test.images, test.labels):.1%} right")

# %% [markdown]
# ## What you now own
#
# You know a convolution in three forms: a window that slides, a matrix product of all windows, a
# linear layer whose weights repeat. You know that both of its gradients are convolutions too, and
# what sharing buys: few weights and equivariance. And before you admire a learned kernel, you
# compare it with its random start.
#
# ## Now read the source
#
# - [`ops/conv.py`](../tinyfractal/ops/conv.py): `_conv2d` is the definition. It makes no windows.
#   For each **tap** $(u, v)$ of the kernel it takes all the pixels that this tap meets, as one
#   slice, times the matrix of the tap: nine 1 × 1 convolutions of shifted images, added up.
# - [`fast/conv.py`](../tinyfractal/fast/conv.py): `_way` chooses the quickest way by the shape.
# - [`fast/patches.py`](../tinyfractal/fast/patches.py) is your `conv`, for images with few
#   channels: `windows` makes the view, `reshape` copies, then one product.
# - [`fast/direct.py`](../tinyfractal/fast/direct.py) goes tap by tap, forward and back. The pixels
#   that a tap met get their gradient through the same slices, so it needs no flip.
# - [`ops/pool.py`](../tinyfractal/ops/pool.py) goes tap by tap, too. Of equal maxima the first
#   takes the gradient.
# - [`nn/layers.py`](../tinyfractal/nn/layers.py): `Conv2d` holds kernel, bias and settings. Its
#   padding is "same" unless told otherwise.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/06_convolution.py`.
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
