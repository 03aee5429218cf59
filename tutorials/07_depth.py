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
# # 7. Why is depth hard?
#
# *55 minutes. Afterwards you can read [`nn/init.py`](../tinyfractal/nn/init.py),
# [`ops/norm.py`](../tinyfractal/ops/norm.py), [`zoo.py`](../tinyfractal/zoo.py) and `BatchNorm2d`
# in [`nn/layers.py`](../tinyfractal/nn/layers.py).*
#
# Take a layer that works and stack it 32 times. The network stops learning. No layer is broken, and
# the extra ones could simply pass their input on. So what goes wrong between them, and what is each
# of the famous remedies worth?

# %%
import os

import applications
import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal import nn

from exercises.depth import check_branch, check_fold, check_layer_norm, check_leaky
from figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, animate, use_style
from smaller import smaller

use_style()

# %% [markdown]
# First watch it happen, with a plain network of `depth` convolutions, each followed by a ReLU, and
# the training loop you know. (`he_normal` draws the first weights, in the best way known for such a
# network. You will find that way yourself in a moment.)

# %%
train, _ = tf.data.load("digits")
images, labels = tf.data.Standardize.fit(train.images)(train.images), train.labels


def he_net(depth):
    layers = []
    for i in range(depth):
        conv = nn.Conv2d(1 if i == 0 else 8, 8, 3, bias=False, init=tf.init.he_normal)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.GlobalAvgPool(), nn.Linear(8, 10))


def loss_of(net, chosen):
    return tf.cross_entropy(net(tf.Tensor(images[chosen])), tf.backend.asarray(labels[chosen]))


def train_losses(net, steps, seed, lr=0.01):
    optimizer = tf.optim.Adam(net.parameters(), lr=lr)
    rng, losses = np.random.default_rng(seed), []
    for _ in range(steps):
        loss = loss_of(net, rng.integers(500, size=32))  # 32 of the first 500 digits
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def by_tens(losses):
    return losses.reshape(-1, 10).mean(axis=1)  # the mean of each ten steps


first_look = {}
for depth in (4, 16, 32):
    tf.seed(0)
    first_look[depth] = by_tens(train_losses(he_net(depth), 100, seed=0))

# %% [markdown]
# The dashed line is the loss of guessing among ten digits, $\ln 10 \approx 2.3$. Four layers learn,
# 16 hardly, and 32 stay on the line. (A learning rate ten times smaller gets them moving, slowly,
# as you will see at the end.)

# %% jupyter={"source_hidden": true}
tens = np.arange(5, 100, 10)
plt.axhline(np.log(10), color=GRAY, ls="--", lw=1)
for (depth, losses), color in zip(first_look.items(), (BLUE, GREEN, ORANGE)):
    plt.plot(tens, losses, color=color)
    plt.text(97, losses[-1] + 0.13 * (depth == 32), f"{depth} layers", color=color, va="center")
plt.xlim(0, 114)
plt.ylim(0, 2.7)
plt.xlabel("step")
plt.ylabel("training loss")
plt.show()
print(f"guessing: {np.log(10):.1f}")
assert first_look[4][-1] < 1 < 1.5 < first_look[16][-1] and first_look[32][-1] > 2.2

# %% [markdown]
# ## A signal through forty layers
#
# Strip a layer down to its arithmetic: multiply by a matrix of random weights, then apply a ReLU.
# Send 256 rows of random numbers with standard deviation 1 through forty such layers, and note the
# standard deviation of $z = xW$ in each. You choose one number: $s$, the standard deviation of the
# weights.

# %%
WIDTH = 128
inputs = np.random.default_rng(0).normal(size=(256, WIDTH)).astype(np.float32)  # (N, features)


def relu(z):
    return np.maximum(z, 0)


def signal(s, activation=relu, depth=40):
    rng = np.random.default_rng(1)
    x, sizes = inputs.astype(np.float64), []
    for _ in range(depth):
        z = x @ rng.normal(0, s, (WIDTH, WIDTH))  # (256, 128) @ (128, 128) -> (256, 128)
        sizes.append(z.std())
        x = activation(z)
    return np.array(sizes)


# %% [markdown]
# On a logarithmic axis the lines are straight: each layer multiplies the signal by the same factor.
# After forty layers it has died or exploded.

# %% jupyter={"source_hidden": true}
for s, color in ((0.5, ORANGE), (0.05, BLUE), (0.01, PURPLE)):
    sizes = signal(s)
    plt.semilogy(np.arange(1, 41), sizes, color=color)
    plt.text(40.6, sizes[-1], f"s = {s}", color=color, va="center")
plt.xlim(1, 48)
plt.xlabel("layer")
plt.ylabel("standard deviation of z")
plt.show()
assert signal(0.01)[-1] < 1e-40 and signal(0.05)[-1] < 1e-12 and signal(0.5)[-1] > 1e20

# %% [markdown]
# ## The variance of a sum
#
# Where does the factor come from? One number of $z$ is a sum of $n = 128$ products,
# $z_j = \sum_i x_i W_{ij}$. The weights are independent, with mean 0 and variance $s^2$, so the
# variances of the products add up. The ReLU sets the negative half of $z$ to zero and leaves half
# of its mean square. With $\mathbb{E}$ for the mean and $z'$ for the next layer's $z$:
#
# $$\operatorname{Var}[z'] = n \, s^2 \, \mathbb{E}[x^2], \qquad
# \mathbb{E}[x^2] = \mathbb{E}[\operatorname{relu}(z)^2] = \tfrac12 \operatorname{Var}[z]$$
#
# So a layer multiplies the standard deviation by $s \sqrt{n / 2}$:

# %%
for s in (0.01, 0.05, 0.5):
    sizes = signal(s)  # from layer 2 to layer 40 it is multiplied 38 times
    measured, predicted = (sizes[-1] / sizes[1]) ** (1 / 38), s * np.sqrt(WIDTH / 2)
    print(f"s = {s:<5} measured {measured:.3f}   predicted {predicted:.3f}")
    assert abs(measured / predicted - 1) < 0.05
print("the factor is 1 at s =", np.sqrt(2 / WIDTH))

# %% [markdown]
# The signal keeps its size if $n s^2 / 2 = 1$, so $s = \sqrt{2/n}$. This is **He initialization**
# (He et al. 2015, *Delving Deep into Rectifiers*).
#
# ## Predict, then run
#
# Somebody takes $s = 0.1$ instead of $0.125$, only 20 % too small. **How much of the signal is left
# after 40 layers?** A half, a tenth, less?

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
for s, color in ((0.15, ORANGE), (0.125, "black"), (0.1, BLUE)):
    sizes = signal(s)
    plt.semilogy(np.arange(1, 41), sizes, color=color)
    plt.text(40.6, sizes[-1], f"s = {s}", color=color, va="center")
plt.xlim(1, 48)
plt.xlabel("layer")
plt.ylabel("standard deviation of z")
plt.show()
left = signal(0.1)[-1] / signal(0.1)[0]
print(f"s = 0.1: {left:.1e} of the signal is left; 0.8 to the power 39 is {0.8**39:.1e}")
assert left < 1e-3 < 100 < signal(0.15)[-1] and 0.2 < signal(0.125)[-1] < 5
assert np.isclose(0.1, 0.125 * (1 - 20 / 100)) and np.isclose(0.15, 0.125 * (1 + 20 / 100))

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Less than a thousandth. Depth raises a small mistake to a power. At $s = 0.15$, 20 % too large,
# the signal grows more than a hundredfold.
#
# </details>
#
# The older rule, **Xavier initialization** (Glorot & Bengio 2010), was made for tanh, which is
# almost the identity near 0: no half is lost. It averages the needs of forward and backward:
#
# $$s^2_{\text{Xavier}} = \frac{2}{\text{fan\_in} + \text{fan\_out}}, \qquad
# s^2_{\text{He}} = \frac{2}{\text{fan\_in}}$$
#
# `fan_in` counts the products that add up to one output, `fan_out` the outputs that one input goes
# into. In a convolution both count each position of the kernel.

# %%
print("fans of a kernel (3, 3, 16, 32):", tf.init.fans((3, 3, 16, 32)))
tf.seed(0)
xavier = float(tf.init.xavier_normal((WIDTH, WIDTH)).std())
he = float(tf.init.he_normal((WIDTH, WIDTH)).std())
print(f"standard deviation for (128, 128): Xavier {xavier:.4f}, He {he:.4f}")
print(f"Xavier before a ReLU, layer 40: {signal(xavier)[-1]:.0e}")
print(f"Xavier before a tanh, layer 40: {signal(xavier, np.tanh)[-1]:.2f}")

# %% jupyter={"source_hidden": true}
assert abs(xavier * np.sqrt(WIDTH) - 1) < 0.03 and abs(he * np.sqrt(WIDTH / 2) - 1) < 0.03
assert signal(xavier)[-1] < 1e-5 and signal(xavier, np.tanh)[-1] > 0.03

# %% [markdown]
# Before a ReLU, Xavier's weights let the signal die. Before a tanh, a tenth of it is left.
#
# ## The gradient on its way back
#
# Backward uses the same matrices, transposed. If $g_z$ is the gradient at $z = xW$, then
# (chapter 3)
#
# $$g_x = g_z W^T, \qquad g_W = x^T g_z$$
#
# One number of $g_x$ is a sum over the *outputs* of the layer, and the ReLU below passes half of
# them. So for square matrices the gradient changes by the same factor as the signal. The engine can
# measure it, because `tf.grad` also gives the gradients of intermediate results.


# %%
def stack(init, activation=nn.ReLU, norm=False, depth=40):
    tf.seed(0)
    layers = []
    for _ in range(depth):
        between = [nn.BatchNorm2d(WIDTH)] if norm else []  # for later
        linear = nn.Linear(WIDTH, WIDTH, bias=False, init=init)
        layers.append(nn.Sequential(linear, *between, activation()))
    return layers


def normal(s):
    return lambda shape: tf.backend.asarray(tf.backend.rng().normal(0, s, shape).astype("float32"))


def probe(layers):
    """Layer by layer: the norm of the output's gradient, and of the weights'."""
    outputs, x = [], tf.Tensor(inputs)
    for layer in layers:
        x = layer(x)
        outputs.append(x)
    loss = tf.sum(x * tf.Tensor(inputs[::-1]))  # any loss will do: outputs times random numbers
    weights = [layer[0].weight for layer in layers]
    norms = [float(np.linalg.norm(g.numpy())) for g in tf.grad(loss, outputs + weights)]
    return np.array(norms[: len(layers)]), np.array(norms[len(layers) :])


# %% [markdown]
# ## Predict, then run
#
# With $s = 0.1$ the signal fades by 0.8 a layer on its way forward, and the gradient by 0.8 a layer
# on its way back. Learning needs the gradients of the *weights*. **Which layer's weights get the
# smallest gradient: the first layer's, the last one's, a middle one's?** And what if the activation
# is the logistic function, $1 / (1 + e^{-z})$?

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
cases = {
    "s = 0.15": (stack(normal(0.15)), ORANGE),
    "He": (stack(tf.init.he_normal), "black"),
    "s = 0.1": (stack(normal(0.1)), BLUE),
    "logistic": (stack(tf.init.xavier_normal, nn.Sigmoid), GREEN),
}
probes = {name: probe(layers) for name, (layers, _) in cases.items()}
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3), sharey=True)
for name, (_, color) in cases.items():
    for ax, norms in zip(axes, probes[name]):
        ax.semilogy(np.arange(1, 41), norms, color=color, label=name)
axes[0].set(title="gradient of the layer's output", xlabel="layer", ylim=(1e-15, 1e9))
axes[1].set(title="gradient of the layer's weights", xlabel="layer")
axes[0].legend(loc=(0.03, 0.14), fontsize=9)
plt.show()
flat, green = probes["s = 0.1"][1], probes["logistic"][1]
assert flat.max() / flat.min() < 4 and green[10] < 1e-9 * green[-1]

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Read the left picture from right to left, as backward walks: the outputs' gradients fade or grow
# by their factor. But in the right picture the ReLU lines are *flat*. $g_W = x^T g_z$ is a product.
# With $s = 0.1$, $x$ is small in a late layer and $g_z$ in an early one, and each makes up for the
# other.
#
# The logistic function's slope is at most $\tfrac14$ while its outputs stay near $\tfrac12$, so
# nothing makes up for the fading. "The gradient vanishes in the early layers" was said of such
# networks.
#
# </details>
#
# ## What the size does not show
#
# He initialization keeps the signal's size and the gradient's. But the network that failed at the
# start *had* He's weights. So look at *directions*: the mean cosine between different inputs, where
# 0 is a right angle and 1 the same direction.


# %%
def walk(x, between=lambda z: z, depth=40):
    """x (N, 128), and what becomes of it in each layer of He's stack."""
    rng, states = np.random.default_rng(1), [x]
    for _ in range(depth):
        x = relu(between(x @ rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH))))
        states.append(x)
    return states


def mean_cosine(x):
    """Mean cosine between different rows of x (N, features)."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return ((unit @ unit.T).sum() - len(x)) / (len(x) * (len(x) - 1))


cosines = np.array([mean_cosine(x) for x in walk(inputs.astype(np.float64))])
print("256 random inputs, and after layers 1, 5, 10, 40:", cosines[[0, 1, 5, 10, 40]].round(2))
assert abs(cosines[0]) < 0.05 and cosines[1] < 0.4 and cosines[-1] > 0.95

# %% [markdown]
# After 40 layers all inputs point in nearly the same direction. The signal has kept its size, but
# almost all of it is one constant vector. A ReLU's outputs have a positive mean, and that mean
# grows at the cost of the differences. So subtract the mean.
#
# ## Batch norm
#
# **Batch norm** (Ioffe & Szegedy 2015) gives each channel mean 0 and variance 1, over the $n$
# numbers that the batch has for it:
#
# $$\mu = \tfrac1n \sum x, \qquad v = \tfrac1n \sum (x - \mu)^2, \qquad
# \hat x = \frac{x - \mu}{\sqrt{v + \varepsilon}}, \qquad y = \gamma \, \hat x + \beta$$
#
# $\gamma$ and $\beta$ (`weight` and `bias` in code) are learned, so the network can undo this where
# that helps. A small $\varepsilon$ avoids a division by 0. In images every pixel counts as a row:
# $n = N \cdot H \cdot W$.


# %%
def bn_forward(x, weight, bias, eps=1e-5):
    center = x - x.mean(axis=0)  # (N, C)
    variance = (center**2).mean(axis=0)  # (C,)
    inverse = 1 / np.sqrt(variance + eps)  # (C,)
    x_hat = center * inverse  # (N, C)
    return weight * x_hat + bias, (center, inverse, x_hat)


def normalize(z):
    return bn_forward(z, 1.0, 0.0)[0]


normed = np.array([mean_cosine(x) for x in walk(inputs.astype(np.float64), normalize)])
print("with batch norm, after layers 1, 5, 10, 40:", normed[[1, 5, 10, 40]].round(2))
assert abs(normed[1:] - normed[1]).max() < 0.1

# %% [markdown]
# On average the inputs stay as different in layer 40 as after the first ReLU.
#
# ## Its gradient
#
# $\mu$ and $v$ depend on every $x$ of the channel. That makes the gradient longer, but no harder:
# walk back through the lines of `bn_forward` and add where paths meet. (`d_…` is the gradient of
# the loss with respect to `…`.)


# %%
def bn_backward(g, weight, saved):
    center, inverse, x_hat = saved
    n = len(g)
    d_bias = g.sum(axis=0)  # y = weight * x_hat + bias
    d_weight = (g * x_hat).sum(axis=0)
    d_x_hat = g * weight
    d_center = d_x_hat * inverse  # x_hat = center * inverse: the first path to center
    d_inverse = (d_x_hat * center).sum(axis=0)
    d_variance = d_inverse * -0.5 * inverse**3  # inverse = (variance + eps) ** (-1/2)
    d_center += d_variance * 2 * center / n  # variance = mean of center**2: the second path
    d_x = d_center - d_center.mean(axis=0)  # center = x - mean of x
    return d_x, d_weight, d_bias


# %% [markdown]
# Substitute the lines into each other, and everything collapses (a bar is a mean over the batch):
#
# $$g_x = \frac{\gamma}{\sqrt{v + \varepsilon}} \Bigl( g - \overline{g}
# - \hat x \cdot \overline{g \hat x} \Bigr)$$
#
# Do steps, short formula and library agree?

# %%
rng = np.random.default_rng(2)
x, g = rng.normal(3, 2, (8, 5)), rng.normal(size=(8, 5))  # (N, C) each
weight, bias = rng.normal(1, 0.3, 5), rng.normal(0, 0.3, 5)

y, saved = bn_forward(x, weight, bias)
by_steps = bn_backward(g, weight, saved)
_, inverse, x_hat = saved
short = weight * inverse * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))

tensors = [tf.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
output = tf.batch_norm(*tensors)
by_engine = [t.numpy() for t in tf.grad(output, tensors, tf.Tensor(g))]
print(f"short formula and steps: largest difference {abs(short - by_steps[0]).max():.0e}")
for name, mine, theirs in zip(("x", "weight", "bias"), by_steps, by_engine):
    print(f"steps and library, gradient of {name:6}: {abs(mine - theirs).max():.0e}")

# %% jupyter={"source_hidden": true}
assert np.allclose(y, output.numpy()) and np.allclose(by_steps[0], short)
assert all(np.allclose(mine, theirs) for mine, theirs in zip(by_steps, by_engine))
tf.gradcheck(tf.batch_norm, x, weight, bias)
assert abs(short.mean(axis=0)).max() < 1e-12 and abs((short * x_hat).mean(axis=0)).max() < 1e-4

# %% [markdown]
# The two subtracted terms say what batch norm ignores: a constant added to a channel, and a
# positive factor. So the size of the weights before it does not change the output. It changes only
# their gradient: weights ten times as large get a tenth of it.

# %%
w, size = rng.normal(size=(5, 3)), {}
for factor in (1, 10):
    W = tf.Tensor(factor * w, requires_grad=True)
    y = tf.batch_norm(tf.Tensor(x) @ W, tf.Tensor(np.ones(3)), tf.Tensor(np.zeros(3)))
    tf.sum(y * tf.Tensor(g[:, :3])).backward()
    size[factor] = np.linalg.norm(W.grad.numpy())
    print(f"{factor:2} · W: y[0] = {y.numpy()[0].round(3)}   norm of gradient {size[factor]:.3f}")
assert abs(size[1] / size[10] - 10) < 0.1

# %% [markdown]
# That is why a layer with a batch norm behind it can start from Xavier's weights, as in FractalNet.
#
# ## Training and inference
#
# In training, an image's result depends on the rest of its batch. You would not want that in use.
# So batch norm keeps **running statistics**: after each batch, running ← 0.9 · running + 0.1 ·
# batch. After `eval()` it uses those, and is nothing but a fixed scale and shift.

# %%
norm = nn.BatchNorm2d(1)
for batch in rng.normal(3, 2, (200, 50, 1)):  # 200 batches (50, 1), mean 3, variance 4
    norm(tf.Tensor(batch.astype(np.float32)))
running_mean, running_var = norm.running_mean.numpy()[0], norm.running_var.numpy()[0]
print(f"running mean {running_mean:.2f}, running variance {running_var:.2f}")
for others in ([0.0, 0.0, 0.0], [9.0, 9.0, 9.0]):
    y = norm(tf.Tensor([[5.0], *([v] for v in others)]))
    print(f"the number 5, in training, with {others}: {y.numpy()[0, 0]:.2f}")
norm = norm.eval()
print(f"the number 5, in inference: {norm(tf.Tensor([[5.0]])).numpy()[0, 0]:.2f}")

# %% jupyter={"source_hidden": true}
assert abs(running_mean - 3) < 0.4 and abs(running_var - 4) < 1.2
try:
    tf.batch_norm(tf.Tensor([[5.0]]), tf.Tensor([1.0]), tf.Tensor([0.0]))
except tf.errors.ShapeError:
    pass
else:
    raise AssertionError("batch_norm should have complained")

# %% [markdown]
# Among small numbers the 5 is large, among large ones small. (A batch of one row has nothing left;
# tinyfractal refuses it, as PyTorch does.)
#
# ## Predict, then run
#
# Back to depth. With a batch norm before each ReLU, every layer has mean 0 and variance 1 there, at
# any depth, whatever the weights. **And the gradient: does it keep its size as well?**

# %% jupyter={"outputs_hidden": true}
of_outputs, of_weights = probe(stack(tf.init.he_normal, norm=True))
print("gradient of the weights, layers 1, 10, 20, 30, 40:")
print("  ".join(f"{of_weights[i]:.1e}" for i in (0, 9, 19, 29, 39)))
growth = (of_outputs[0] / of_outputs[-1]) ** (1 / 39)
predicted = np.sqrt(np.pi / (np.pi - 1))
print(f"factor a layer, walking back: {growth:.3f}   predicted {predicted:.3f}")
print(f"over 5, 10, 20 and 40 layers: {np.round(predicted ** np.array([5, 10, 20, 40]), 1)}")
assert abs(growth / predicted - 1) < 0.03 and of_weights[0] > 100 * of_weights[-1]
print(f"π / (π - 1) = {np.pi / (np.pi - 1):.2f}, its root {predicted:.2f}")

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# It *explodes*: the first layers get hundreds of times more than the last. Backward, the mean
# square is multiplied by $n s^2$ for the matrix, by $\tfrac12$ for the ReLU, and now also by
# $1/\sigma^2$, since batch norm divides by the standard deviation $\sigma$ of $z$. And $\sigma^2$
# is $n s^2$ times the *variance* of the ReLU's output, as the mean is subtracted. For
# $x \sim N(0,1)$ that variance is $\tfrac12 - \tfrac1{2\pi}$. The $s$ cancels:
#
# $$\frac{n s^2 \cdot \frac12}{n s^2 \left( \frac12 - \frac1{2\pi} \right)} = \frac{\pi}{\pi - 1}
# \approx 1.47 \qquad \text{so the norm grows by } \sqrt{1.47} \approx 1.21 \text{ a layer}$$
#
# </details>
#
# No choice of $s$ prevents it (Yang et al. 2019). Batch norm repairs the signal at the price of a
# factor on the gradient: harmless over five layers, not over forty.
#
# ## Who resembles whom?
#
# There is a second price. Put 48 inputs on a circle. The two tables below show the cosine between
# input $i$ and input $j$: the darker, the more alike. At the start neighbours on the circle are
# alike: a dark band along the diagonal. Watch the band.

# %% jupyter={"source_hidden": true}
angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
plane = np.linalg.qr(np.random.default_rng(3).normal(size=(WIDTH, 2)))[0]  # (128, 2)
circle = np.sqrt(WIDTH) * np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T


def cosine_table(x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


tables = {"no batch norm": walk(circle), "batch norm": walk(circle, normalize)}
figure, axes = plt.subplots(1, 2, figsize=(6.0, 3.2))


def draw(layer):
    for ax, (name, states) in zip(axes, tables.items()):
        ax.clear()
        ax.imshow(cosine_table(states[layer]), vmin=0, vmax=1, cmap="Blues")
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{name}, layer {layer}")


animate(
    figure,
    draw,
    frames=33,
    seconds=8,
    colors=32,
    alt="Cosines between 48 inputs on a circle, layer by layer. Without batch norm all become "
    "alike; with it all become equally different. Either way the band of neighbours disappears.",
)

# %% [markdown]
# On the left, everything becomes alike. On the right, an input ends up as far from its neighbour as
# from any other. Both networks forget the same thing: **which inputs resemble which**. When a
# network meets a new image, it has little else to go by.
#
# ## A second path
#
# Two architectures offer a shorter way. A **skip connection** (He et al. 2016, ResNet) adds the
# input of a unit to its output, $y = x + F(x)$. Backward, $g_x = g_y + F'(x)^T g_y$: the first term
# passes the layers untouched. A **fractal block** takes the mean of paths of different lengths, the
# longest of $2^{C-1}$ layers for $C$ columns, the shortest of one. Chapter 8 builds it.
#
# How much more alike are neighbours on the circle than inputs a quarter turn apart? The picture
# shows the difference of their mean cosines, averaged over five draws of the weights.


# %%
def unit(x, rng):
    return relu(normalize(x @ rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH))))


def residual(x, rng):  # two layers and a skip
    return relu(x + normalize(unit(x, rng) @ rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH))))


def branches(columns, x, rng):  # a fractal block, before the mean at its end
    if columns == 1:
        return [unit(x, rng)]
    middle = np.mean(branches(columns - 1, x, rng), axis=0)
    return [unit(x, rng), *branches(columns - 1, middle, rng)]


def gap(x):
    table, i = cosine_table(x), np.arange(48)
    return table[i, (i + 1) % 48].mean() - table[i, (i + 12) % 48].mean()


# %% tags=["thumbnail"] jupyter={"source_hidden": true}
COLORS = {"plain, He": "black", "plain, batch norm": PURPLE, "ResNet": ORANGE, "fractal": BLUE}


def states(name, seed):
    """What the circle has become after 1, 2, 4, 8, 16 and 32 layers."""
    rng = np.random.default_rng(seed)
    if name == "fractal":
        return [np.mean(branches(columns, circle, rng), axis=0) for columns in range(1, 7)]
    found, x = {}, circle
    for layer in range(1, 33):
        if name == "ResNet" and layer > 1:
            x = residual(x, rng) if layer % 2 == 0 else x
        elif name == "plain, He":
            x = relu(x @ rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH)))
        else:
            x = unit(x, rng)
        found[layer] = x
    return [found[2**k] for k in range(6)]


gaps = {name: np.mean([[*map(gap, states(name, s))] for s in range(5)], axis=0) for name in COLORS}
for name, color in COLORS.items():
    plt.plot(range(6), gaps[name], "o-", ms=4, color=color, label=name)
plt.xticks(range(6), [2**k for k in range(6)])
plt.xlabel("layers")
plt.ylabel("neighbours more alike by")
plt.legend()
plt.show()
for name in COLORS:
    print(f"{name:18} 4 layers: {gaps[name][2]:.2f}   32 layers: {gaps[name][5]:.2f}")

# %% jupyter={"source_hidden": true}
deep = {name: found[5] for name, found in gaps.items()}
assert max(gaps, key=lambda name: gaps[name][2]) == "plain, batch norm"
assert sorted(deep, key=deep.get, reverse=True)[:2] == ["ResNet", "fractal"]
assert deep["plain, batch norm"] < 0.03 and deep["plain, He"] < 0.06 and deep["fractal"] > 0.06

# %% [markdown]
# Over four layers, plain with batch norm keeps resemblance best of all. Beyond eight it loses it
# fast; shorter paths lose it slowly. (Seen in gradients, the loss is known as *shattered
# gradients*: Balduzzi et al. 2017.)
#
# ## Does it matter for learning?
#
# Now take real convolutions and real digits, and four networks of 8 channels and the same depth:
# plain with He's weights, plain with batch norm, a ResNet, and a fractal network. (It drops no
# paths; that is for chapter 9.)

# %%
KINDS = {
    "plain, He": he_net,
    "plain, batch norm": lambda depth: tf.zoo.PlainNet(1, 10, (8,), depth),
    "ResNet": lambda depth: tf.zoo.ResNet(1, 10, (8,), depth),
    # depth 4 is 3 columns, depth 32 is 6
    "fractal": lambda depth: tf.FractalNet(1, 10, depth.bit_length(), (8,), drop_path=0),
}


# %% [markdown]
# Train them with 32 layers for 60 steps. Adam divides each step by the size of the gradient, so an
# exploding gradient alone cannot be what holds a network back.

# %%
live, steps = {}, smaller("steps", 60, in_browser=30)
for name in ("plain, batch norm", "ResNet", "fractal"):
    tf.seed(0)
    live[name] = by_tens(train_losses(KINDS[name](32), steps, seed=0))
    print(f"{name:18} loss, by tens of steps:", live[name].round(2))

# %% jupyter={"source_hidden": true}
plain = "plain, batch norm"
assert live[plain][-1] > 1.4 and max(live["ResNet"][-1], live["fractal"][-1]) < live[plain][-1]

# %% [markdown]
# ## Predict, then run
#
# The plain network has not come far. **Is it stuck, or slow?** Where is each after 300 steps?
#
# Five seeds take half an hour, so what follows was **recorded**: each line is the median of the
# seeds, each band reaches from the lowest to the highest. At depth 32, plain with He's weights gets
# a tenth of the learning rate, which suits it better. (For both plain networks we tried three rates
# with a sixth seed and kept the best.) This function made the record, and `TINYFRACTAL_RECORD=1
# python -m tutorials 07` makes it again:


# %%
def measure():
    rows = []

    def run(name, depth, seed, lr):
        tf.seed(seed)
        losses = by_tens(train_losses(KINDS[name](depth), 300, seed, lr)).round(4).tolist()
        rows.append({"network": name, "depth": depth, "seed": seed, "lr": lr, "losses": losses})

    for name in ("plain, He", "plain, batch norm"):
        for lr in (0.001, 0.003, 0.01):
            run(name, 32, 5, lr)  # which rate suits it
    for seed in range(5):
        for name in KINDS:
            run(name, 4, seed, 0.01)
            run(name, 32, seed, 0.001 if name == "plain, He" else 0.01)
    applications.record("depth", rows)


if os.environ.get("TINYFRACTAL_RECORD"):
    measure()

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
kept = applications.recorded("depth")
runs = {}
for row in kept["rows"]:
    if row["seed"] < 5:
        runs.setdefault((row["network"], row["depth"]), []).append(row["losses"])
runs = {key: np.array(losses) for key, losses in runs.items()}  # (seeds, 30 tens of steps)
figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2), sharey=True)
for ax, depth in zip(axes, (4, 32)):
    for name, color in COLORS.items():
        found = runs[name, depth]
        steps = np.arange(5, 300, 10)
        ax.plot(steps, np.median(found, axis=0), color=color, label=name)
        ax.fill_between(steps, found.min(axis=0), found.max(axis=0), color=color, alpha=0.15, lw=0)
    ax.set(title=f"depth {depth} (recorded, {len(found)} seeds)", xlabel="step", ylim=(0, 2.5))
axes[0].set_ylabel("training loss")
axes[0].legend(fontsize=8)
plt.show()
print(f"recorded on {kept['date']}: {kept['machine']}")
for (name, depth), found in sorted(runs.items(), key=lambda item: item[0][1]):
    half = [int(10 * (1 + np.argmax(one < 0.5))) if min(one) < 0.5 else 999 for one in found]
    print(
        f"depth {depth:2}  {name:18} loss after 300 steps, median {np.median(found[:, -1]):.2f}, "
        f"from {found[:, -1].min():.2f} to {found[:, -1].max():.2f};  below 0.5 at step "
        f"{'more than 300' if np.median(half) > 300 else int(np.median(half))}"
    )

# %% jupyter={"source_hidden": true}
final = {key: np.median(found[:, -1]) for key, found in runs.items()}
worst = {key: found[:, -1].max() for key, found in runs.items()}
best = {key: found[:, -1].min() for key, found in runs.items()}
at_60 = {key: np.median(found[:, 5]) for key, found in runs.items()}
assert max(final[name, 4] for name in KINDS) < 0.2 and at_60["fractal", 4] == max(
    at_60[name, 4] for name in KINDS
)
assert at_60[plain, 32] > 1.5 and best[plain, 32] > 0.3 and worst[plain, 32] < 1.5
at_100 = {key: np.median(found[:, 9]) for key, found in runs.items()}
assert all(np.median(runs[name, 32][:, 14]) < final[plain, 32] for name in ("ResNet", "fractal"))
assert all(at_100[name, 32] < at_100[name, 4] + 0.1 for name in ("ResNet", "fractal"))
assert final["plain, He", 32] > 0.3 and max(final["ResNet", 32], final["fractal", 32]) < 0.15
tried = {(r["network"], r["lr"]): r["losses"][-1] for r in kept["rows"] if r["seed"] == 5}
for name, rate in (("plain, He", 0.001), (plain, 0.01)):
    assert min(rates := {lr: t for (n, lr), t in tried.items() if n == name}, key=rates.get) == rate
numbers = {name: make(32).count_parameters() for name, make in KINDS.items()}
assert numbers["fractal"] > 1.7 * numbers["ResNet"]

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# It is slow. After 300 steps its loss is where the other two were in less than half the time. After
# 60 steps you might have written "does not learn". (An earlier edition of this chapter did.)
#
# </details>
#
# So what is each remedy worth?
#
# 1. **At depth 4 you need none.** All four networks learn; by the median, the fractal one starts
#    slowest.
# 2. **At depth 32 the plain networks learn, slowly.** Batch norm allows the larger learning rate,
#    but does not make up for the depth.
# 3. **With a second path, 32 layers learn as quickly as 4.** The ResNet is quickest, with
#    half of the fractal network's weights.
#
# The circle predicted which two would lead at depth 32. That does not prove why they lead. But
# exploding gradients are not why: Adam had taken them out. Does "slow" become "fails" in deeper
# networks, on harder tasks? He et al. (2016) saw plain networks with batch norm get worse with
# depth even on their *training* images. Chapter 11 asks whether a teacher can help such a network.
#
# ## What you now own
#
# You know why a stack of layers raises small errors to a power, and how He's rule, Xavier's rule
# and batch norm prevent it. You can derive batch norm's gradient. And you have seen what they do
# not repair: a long single path forgets which inputs resemble which. A short path beside it
# remembers.
#
# ## Now read the source
#
# - [`nn/init.py`](../tinyfractal/nn/init.py): the variance of a sum, in four functions; `fans`
#   counts.
# - [`ops/norm.py`](../tinyfractal/ops/norm.py): `normalized` is your `bn_forward`; the engine finds
#   its gradient. `batch_norm` normalizes by the batch and updates the running statistics; in
#   inference it uses those.
# - [`fast/norm.py`](../tinyfractal/fast/norm.py): `_batch_gradient` is the short formula, sorted
#   into a multiple of the gradient, one of the input, and the rest.
# - `BatchNorm2d` in [`nn/layers.py`](../tinyfractal/nn/layers.py) keeps the arrays.
# - [`zoo.py`](../tinyfractal/zoo.py): the skip connection is one line of `ResidualUnit.forward`,
#   `around + ...`. Where the number of channels changes, `around` needs a $1 \times 1$ convolution.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/07_depth.py`.
#
# **1. A leaky ReLU.** It lets negative numbers pass too, multiplied by a slope $a$ such as 0.3.
# Which standard deviation of the weights keeps the signal's size? (With $a = 0$ it is He's, with
# $a = 1$ there is no activation at all.)


# %%
def leaky_std(fan_in, slope): ...


check_leaky(leaky_std)

# %% [markdown]
# **2. Layer norm.** It normalizes each row over its channels, instead of each channel over the
# rows: `x_hat = (x - mean) / sqrt(variance + eps)` with mean and variance of the row, then
# `y = weight * x_hat + bias` with weight and bias (C,) as before. Return the gradient with respect
# to `x` (N, C), given that of `y`. (Is the weight the same for all numbers of a mean?)


# %%
def layer_norm_gradient(g, x, weight, eps=1e-5): ...


check_layer_norm(layer_norm_gradient)

# %% [markdown]
# **3. Batch norm for nothing.** In inference a batch norm is a fixed scale and shift, and the
# linear layer before it can take that over. Given `W` (in, out) and the batch norm's four arrays
# (out,), return a new weight and a new bias such that `x @ new_weight + new_bias` is what the
# linear layer and the batch norm give together.


# %%
def fold(W, weight, bias, running_mean, running_var, eps=1e-5): ...


check_fold(fold)

# %% [markdown]
# **4. Skips without batch norm.** In `x = x + scale * F(x)` each layer adds to the signal. Suppose
# F keeps the mean square of its input and its output is independent of `x`. Then with `scale = 1`
# each layer doubles the mean square. Choose the scale for a given depth, so that the mean square
# grows 2 to 4 times in all, be it 10 layers or 1,000.


# %%
def branch_scale(depth): ...


check_branch(branch_scale)
