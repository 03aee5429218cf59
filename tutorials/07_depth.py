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
# *75 minutes. Afterwards you can read [`nn/init.py`](../tinyfractal/nn/init.py),
# [`ops/norm.py`](../tinyfractal/ops/norm.py), [`zoo.py`](../tinyfractal/zoo.py) and `BatchNorm2d`
# in [`nn/layers.py`](../tinyfractal/nn/layers.py).*
#
# More layers should never hurt: the extra ones could simply pass on what they get. And yet a stack
# of forty layers, put together like the networks you have trained so far, learns nothing. In this
# chapter you measure what happens to the signal on its way through such a stack, and to the
# gradient on its way back. Then you try the four known remedies one by one: the right size of the
# first weights, batch norm, skip connections, and paths of different lengths, which is where
# FractalNet comes in. Some of what is usually said about them will turn out to be half true.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal import nn

from exercises.depth import check_branch, check_fold, check_layer_norm, check_leaky
from figures import use_style
from smaller import smaller

use_style()
tf.seed(0)

# %% [markdown]
# ## A signal through forty layers
#
# The plainest deep network: multiply by a matrix of random weights, apply a ReLU, and again. There
# is no bias and no training. We send in 256 rows of random numbers with standard deviation 1 and
# note, in each layer, the standard deviation of $z = xW$, the numbers before the ReLU. The one
# thing to choose is $s$, the standard deviation of the weights.

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


print("layer        5        10        20        40")
for s in (0.01, 0.05, 0.5):
    print(f"s = {s:<5}", "  ".join(f"{signal(s)[layer - 1]:.1e}" for layer in (5, 10, 20, 40)))
assert signal(0.01)[-1] < 1e-40 and signal(0.05)[-1] < 1e-12 and signal(0.5)[-1] > 1e20

# %% [markdown]
# None of the three is usable. With $s = 0.01$ and $0.05$ the signal dies, with $s = 0.5$ it
# explodes, each time by a *fixed factor a layer*. (We compute in float64 here. The numbers that
# float32 can hold end near $10^{-45}$ and $10^{38}$: one row is there already.)
#
# ## The variance of a sum
#
# Where does the factor come from? One number of $z$ is a sum of $n = 128$ products,
# $z_j = \sum_i x_i W_{ij}$. The weights are independent of each other and of $x$, with mean 0 and
# variance $s^2$ (the square of the standard deviation), so the variances of the products add up.
# And $z$ is as often negative as positive; the ReLU sets the negative ones to zero, which leaves
# half of the mean square. In two lines, with $\mathbb{E}$ for the mean and $z'$ for the next
# layer's $z$:
#
# $$\operatorname{Var}[z'] = n \, s^2 \, \mathbb{E}[x^2]$$
# $$\mathbb{E}[x^2] = \mathbb{E}[\operatorname{relu}(z)^2] = \tfrac12 \operatorname{Var}[z]$$
#
# So a layer multiplies the variance by $n s^2 / 2$, and the standard deviation by
# $s \sqrt{n / 2}$. Here is that formula beside what we measured:

# %%
for s in (0.01, 0.05, 0.5):
    sizes = signal(s)
    measured, predicted = (sizes[-1] / sizes[1]) ** (1 / 38), s * np.sqrt(WIDTH / 2)
    print(f"s = {s:<5} measured {measured:.3f}   predicted {predicted:.3f}")
    assert abs(measured / predicted - 1) < 0.05

# %% [markdown]
# The signal keeps its size if $n s^2 / 2 = 1$, so $s = \sqrt{2/n}$. This is **He initialization**
# (He et al. 2015, *Delving Deep into Rectifiers*). For $n = 128$ it is exactly $0.125$.
#
# ## Predict, then run
#
# Somebody takes $s = 0.1$ instead of $0.125$: only 20 % too small. **How much of the signal is left
# after 40 layers?** A half, a tenth, less?

# %% jupyter={"outputs_hidden": true}
for s, color in ((0.15, "tab:red"), (0.125, "black"), (0.1, "tab:orange"), (0.05, "tab:blue")):
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

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Less than a thousandth. Depth turns a small mistake into a large one, because it is a power. The
# window is narrow: at $s = 0.15$, 20 % too large, the signal has already grown a hundredfold and
# more. (The black line wanders: the argument is about averages, and 128 numbers are not many.)
#
# </details>
#
# The older rule is **Xavier initialization** (Glorot & Bengio 2010). It was made for activations
# like tanh, which near 0 are almost the identity, so there is no lost half: forward asks for
# $s^2 = 1/n$. Backward, as you will see in a moment, asks the same with the number of *outputs*.
# Xavier takes the middle:
#
# $$s^2_{\text{Xavier}} = \frac{2}{\text{fan\_in} + \text{fan\_out}}, \qquad
# s^2_{\text{He}} = \frac{2}{\text{fan\_in}}$$
#
# `fan_in` counts the numbers that each output is a sum of, `fan_out` the outputs that each input
# goes into. In a convolution these include the taps of the kernel: one output of a $3 \times 3$
# kernel on 16 channels is a sum of 144 products.

# %%
print("fans of a kernel (3, 3, 16, 32):", tf.init.fans((3, 3, 16, 32)))
xavier = float(tf.init.xavier_normal((WIDTH, WIDTH)).std())
he = float(tf.init.he_normal((WIDTH, WIDTH)).std())
print(f"standard deviation for (128, 128): Xavier {xavier:.4f}, He {he:.4f}")
print(f"Xavier before a ReLU, layer 40: {signal(xavier)[-1]:.0e}")
print(f"Xavier before a tanh, layer 40: {signal(xavier, np.tanh)[-1]:.2f}")
assert abs(xavier * np.sqrt(WIDTH) - 1) < 0.03 and abs(he * np.sqrt(WIDTH / 2) - 1) < 0.03
assert signal(xavier)[-1] < 1e-5 and signal(xavier, np.tanh)[-1] > 0.03

# %% [markdown]
# Xavier before a ReLU halves the variance in every layer and ends near a millionth. Before a
# tanh the signal shrinks slowly and stays usable.
#
# ## The gradient on its way back
#
# Backward goes through the same matrices, transposed. If $g_z$ is the gradient at $z = xW$, then
# (chapter 3)
#
# $$g_x = g_z W^T, \qquad g_W = x^T g_z$$
#
# One number of $g_x$ is a sum over the *outputs* of the layer, and the ReLU below lets half of them
# pass. So walking back one layer multiplies the mean square of the gradient by
# $\text{fan\_out} \cdot s^2 / 2$: the same factor again, as our matrices are square. To measure it
# we let the engine do the walking. `tf.grad` also takes results on the way.


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


# %%
def probe(layers):
    """Layer by layer: norm of the output's gradient, and of the weights'; and sum of W · g_W."""
    outputs, x = [], tf.Tensor(inputs)
    for layer in layers:
        x = layer(x)
        outputs.append(x)
    loss = tf.sum(x * tf.Tensor(inputs[::-1]))  # any loss will do: outputs weighed at random
    weights = [layer[0].weight for layer in layers]
    gradients = [g.numpy() for g in tf.grad(loss, outputs + weights)]
    norms = [float(np.linalg.norm(g)) for g in gradients]
    dots = [float((w.numpy() * g).sum()) for w, g in zip(weights, gradients[len(layers) :])]
    return np.array(norms[: len(layers)]), np.array(norms[len(layers) :]), np.array(dots)


# %% [markdown]
# ## Predict, then run
#
# Take the stack with $s = 0.1$, whose signal fades by 0.8 a layer on the way forward; the gradient
# fades by 0.8 a layer on the way back. Learning needs the gradients of the *weights*. **Which
# layer's weights get the smallest gradient: the first layer's, the last one's, a middle one's?**
# And how is it with the logistic function, $1 / (1 + e^{-z})$, in the place of the ReLU?

# %% jupyter={"outputs_hidden": true}
cases = {
    "s = 0.15": (stack(normal(0.15)), "tab:red"),
    "He": (stack(tf.init.he_normal), "black"),
    "s = 0.1": (stack(normal(0.1)), "tab:orange"),
    "logistic": (stack(tf.init.xavier_normal, nn.Sigmoid), "tab:green"),
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

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Read the left picture from right to left, as backward walks: the gradient of the outputs fades or
# grows by its factor a layer. In the right picture the ReLU lines are *flat*. With $s = 0.1$ every
# layer gets an equally small gradient. $g_W = x^T g_z$ is a product: in a late layer $x$ is small,
# in an early one $g_z$ is, and the two factors make up for each other.
#
# </details>
#
# For ReLU layers without bias one can say it exactly. Multiply the weights of one layer by
# $c > 0$: the output of the whole stack is multiplied by $c$, no matter which layer it was. So the
# derivative with respect to $c$ is the same for all layers, and by the chain rule it is
# $\sum W \cdot g_W$:

# %%
dots = probes["s = 0.1"][2]
print("sum of W · gradient of W, layers 1, 2, 20, 39, 40:", dots[[0, 1, 19, 38, 39]])
assert np.allclose(dots, dots[0], rtol=1e-2)

flat = probes["s = 0.1"][1]
assert flat.max() / flat.min() < 4
green = probes["logistic"][1]
assert green[10] < 1e-9 * green[-1]

# %% [markdown]
# <details><summary>And the logistic function?</summary>
#
# The logistic function is another matter. Its slope is $\tfrac14$ at most, its outputs never go to
# 0 (they hover about $\tfrac12$), so nothing makes up for the fading: the last layers learn and the
# first ones get nothing at all. The sentence "the gradient vanishes in the early layers" is from
# its days. In a ReLU stack it vanishes or explodes everywhere alike, and He initialization is
# enough to prevent that.
#
# </details>
#
# ## What the size does not show
#
# So with He's weights, is depth solved? Look at the *directions*. Two of our random input rows are
# nearly at right angles, the cosine between them is about 0. What is it after 5, 10, 40 layers?


# %%
def mean_cosine(x):
    """Mean cosine between different rows of x (N, features)."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return ((unit @ unit.T).sum() - len(x)) / (len(x) * (len(x) - 1))


def alike(between=lambda z: z, depth=40):
    rng = np.random.default_rng(1)
    x, cosines = inputs.astype(np.float64), []
    for _ in range(depth):
        x = relu(between(x @ rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH))))
        cosines.append(mean_cosine(x))
    return np.array(cosines)


cosines = alike()
print("layers 1, 5, 10, 40:", np.round(cosines[[0, 4, 9, 39]], 3))
assert abs(mean_cosine(inputs)) < 0.05 and cosines[0] < 0.4 and cosines[-1] > 0.95

# %% [markdown]
# After 40 layers all inputs point in nearly the same direction. The signal has kept its size, but
# most of that size is one constant vector, the same for every input, and little is left of what
# tells the inputs apart. A ReLU's outputs have a positive mean; that mean is carried along and
# grows at the cost of the differences. Somebody should subtract it.
#
# ## Batch norm
#
# **Batch norm** (Ioffe & Szegedy 2015) does not hope for the right mean and variance, it makes
# them. For each channel (each column of $x$) it takes the $n$ numbers of the batch and computes
#
# $$\mu = \tfrac1n \sum x, \qquad v = \tfrac1n \sum (x - \mu)^2, \qquad
# \hat x = \frac{x - \mu}{\sqrt{v + \varepsilon}}, \qquad y = \gamma \, \hat x + \beta$$
#
# $\gamma$ and $\beta$, `weight` and `bias` in code, are learned, so that the network can have
# another mean and variance if it needs them. $\varepsilon = 10^{-5}$ avoids a division by 0. Of
# images (N, H, W, C) every pixel counts as a row: $n = N \cdot H \cdot W$.


# %%
def bn_forward(x, weight, bias, eps=1e-5):
    center = x - x.mean(axis=0)  # (N, C)
    variance = (center**2).mean(axis=0)  # (C,)
    inverse = 1 / np.sqrt(variance + eps)  # (C,)
    x_hat = center * inverse  # (N, C)
    return weight * x_hat + bias, (center, inverse, x_hat)


def normalize(z):
    return bn_forward(z, 1.0, 0.0)[0]


normed = alike(normalize)
plt.plot(np.arange(1, 41), cosines, color="black", label="He")
plt.plot(np.arange(1, 41), normed, color="tab:blue", label="He, batch norm before each ReLU")
plt.ylim(0, 1.05)
plt.xlabel("layer")
plt.ylabel("mean cosine between inputs")
plt.legend(loc="center right")
plt.show()
assert abs(normed - normed[0]).max() < 0.1

# %% [markdown]
# With batch norm the inputs stay as different in layer 40 as they were after the first ReLU.
#
# ## Its gradient, step by step
#
# $\mu$ and $v$ depend on every $x$ of the channel, so each $x$ changes every $\hat x$ of its
# channel. That makes the gradient longer than usual, but not harder: walk back through the
# lines of `bn_forward`, one at a time, and add where ways meet. (`d_…` is the gradient of the loss
# with respect to `…`.)


# %%
def bn_backward(g, weight, saved):
    center, inverse, x_hat = saved
    n = len(g)
    d_bias = g.sum(axis=0)  # y = weight * x_hat + bias
    d_weight = (g * x_hat).sum(axis=0)
    d_x_hat = g * weight
    d_center = d_x_hat * inverse  # x_hat = center * inverse: the first way to center
    d_inverse = (d_x_hat * center).sum(axis=0)
    d_variance = d_inverse * -0.5 * inverse**3  # inverse = (variance + eps) ** (-1/2)
    d_center += d_variance * 2 * center / n  # variance = mean of center**2: the second way
    d_x = d_center - d_center.mean(axis=0)  # center = x - mean of x
    return d_x, d_weight, d_bias


# %% [markdown]
# Substitute the lines into each other, and everything collapses. `center * inverse` is $\hat x$,
# and a sum divided by $n$ is a mean (written as a bar), so before its last line `d_center` is
# $\gamma / \sqrt{v + \varepsilon} \cdot (g - \hat x \cdot \overline{g \hat x})$. The last line
# subtracts the mean, and the mean of $\hat x$ is 0:
#
# $$g_x = \frac{\gamma}{\sqrt{v + \varepsilon}} \Bigl( g - \overline{g}
# - \hat x \cdot \overline{g \hat x} \Bigr)$$
#
# Three witnesses: our steps, the short formula, and the library's rule, which `gradcheck` holds to
# finite differences.

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

assert np.allclose(y, output.numpy()) and np.allclose(by_steps[0], short)
for name, mine, theirs in zip(("x", "weight", "bias"), by_steps, by_engine):
    print(f"gradient of {name:6}: largest difference {abs(mine - theirs).max():.0e}")
    assert np.allclose(mine, theirs)
print("gradcheck, worst number:", tf.gradcheck(tf.batch_norm, x, weight, bias))

# %% [markdown]
# The two subtracted terms say what batch norm does not care about. Add a constant to a channel, or
# multiply it by a positive number, and $\hat x$ is the same as before. So there is no gradient in
# those two directions: $g_x$ has mean 0 and is at right angles to $\hat x$ (but for
# $\varepsilon$). It follows that the size of the weights in front of a batch norm does not matter:

# %%
print(f"mean of g_x: {abs(short.mean(axis=0)).max():.0e}", end="   ")
print(f"mean of g_x · x_hat: {abs((short * x_hat).mean(axis=0)).max():.0e}")
assert abs(short.mean(axis=0)).max() < 1e-12 and abs((short * x_hat).mean(axis=0)).max() < 1e-4

w, size = rng.normal(size=(5, 3)), {}
for factor in (1, 10):
    W = tf.Tensor(factor * w, requires_grad=True)
    y = tf.batch_norm(tf.Tensor(x) @ W, tf.Tensor(np.ones(3)), tf.Tensor(np.zeros(3)))
    tf.sum(y * tf.Tensor(g[:, :3])).backward()
    size[factor] = np.linalg.norm(W.grad.numpy())
    print(f"{factor:2} · W: y[0] = {y.numpy()[0].round(3)}   norm of gradient {size[factor]:.3f}")
assert abs(size[1] / size[10] - 10) < 0.1

# %% [markdown]
# Ten times larger weights, the same output, and a ten times smaller gradient. That is why the
# layers of tinyfractal can start from Xavier's weights although ReLUs follow: there is a batch norm
# between. (The authors of FractalNet do the same.)
#
# ## Training and inference
#
# In training an image is seen in company: its result depends on the other images in the batch.
# When the network is used that would be strange, and with a single image impossible. So batch norm
# keeps **running statistics**: after each batch, running ← 0.9 · running + 0.1 · batch. In
# inference (after `eval()`) it uses those, and is nothing but a fixed scale and shift.

# %%
norm = nn.BatchNorm2d(1)
for batch in rng.normal(3, 2, (200, 50, 1)):  # 200 batches (50, 1), mean 3, variance 4
    norm(tf.Tensor(batch.astype(np.float32)))
running_mean, running_var = norm.running_mean.numpy()[0], norm.running_var.numpy()[0]
print(f"running mean {running_mean:.2f}, running variance {running_var:.2f}")
assert abs(running_mean - 3) < 0.4 and abs(running_var - 4) < 1.2

norm.eval()
print(f"the number 5, in inference: {norm(tf.Tensor([[5.0]])).numpy()[0, 0]:.2f}")
norm.train()
for others in ([0.0, 0.0, 0.0], [9.0, 9.0, 9.0]):
    y = norm(tf.Tensor([[5.0], *([v] for v in others)]))
    print(f"the number 5, in training, with {others}: {y.numpy()[0, 0]:.2f}")
for n in (4, 100):
    seen = [normalize(np.append(5.0, rng.normal(3, 2, n - 1))[:, None])[0, 0] for _ in range(300)]
    print(f"the number 5, in 300 batches of {n:3}: {np.mean(seen):.2f} ± {np.std(seen):.2f}")
assert np.std(seen) < 0.2

# %% [markdown]
# In training the same 5 was a large number among small ones, then a small one among large ones. In
# a large batch the difference to inference is a little noise, in a small one it is not little.
#
# ## Predict, then run
#
# **What does batch norm make of a batch of two rows (2, C)? And of a batch of one?**

# %% jupyter={"outputs_hidden": true}
two = rng.normal(size=(2, 3)) * [1, 10, 100]
print(np.array2string(two, precision=2, suppress_small=True))
print(normalize(two).round(3))
assert np.allclose(abs(normalize(two)), 1, atol=0.01)
try:
    tf.batch_norm(tf.Tensor(two[:1]), tf.Tensor(np.ones(3)), tf.Tensor(np.zeros(3)))
except tf.errors.ShapeError as error:
    print(error)
else:
    raise AssertionError("batch_norm should have complained")

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Of two rows only the order is left: $+1$ for the larger number and $-1$ for the smaller, whatever
# they were. Of one row nothing is left; it is its own mean, $\hat x$ is 0 and so is the gradient.
# tinyfractal refuses it, as PyTorch does. A batch of one *image* works, since its pixels give a
# variance, but then each image is normalized by itself in training, and not so in inference.
#
# </details>
#
# ## Predict, then run
#
# Back to depth. Put a batch norm before each ReLU of the stack. Now every layer has mean 0 and
# variance 1 before its ReLU, at any depth, whatever the weights. **And the gradient: does it keep
# its size as well?**

# %% jupyter={"outputs_hidden": true}
of_outputs, of_weights, _ = probe(stack(tf.init.he_normal, norm=True))
print("gradient of the weights, layers 1, 10, 20, 30, 40:")
print("  ".join(f"{of_weights[i]:.1e}" for i in (0, 9, 19, 29, 39)))
growth = (of_outputs[0] / of_outputs[-1]) ** (1 / 39)
print(f"factor a layer, walking back: {growth:.3f}")
assert 1.15 < growth < 1.27 and of_weights[0] > 100 * of_weights[-1]

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# It *explodes*: the first layers get hundreds of times more than the last ones. The argument
# from above says why. Backward, the mean square is multiplied by $n s^2$ for the matrix, by
# $\tfrac12$ for the ReLU, and now also by $1/\sigma^2$, since batch norm divides by the standard
# deviation $\sigma$ of $z$. Forward, $\sigma^2$ is $n s^2$ times the *variance* of the ReLU's
# output, because the mean is subtracted. For $x \sim N(0,1)$ that variance is
# $\mathbb{E}[\operatorname{relu}^2] - \mathbb{E}[\operatorname{relu}]^2 = \tfrac12 -
# \tfrac1{2\pi}$. Together, with $s$ cancelled:
#
# $$\frac{n s^2 \cdot \frac12}{n s^2 \left( \frac12 - \frac1{2\pi} \right)} = \frac{\pi}{\pi - 1}
# \approx 1.47 \qquad \text{so the norm grows by } \sqrt{1.47} \approx 1.21 \text{ a layer}$$
#
# </details>

# %%
predicted = np.sqrt(np.pi / (np.pi - 1))
print(f"predicted {predicted:.3f}, measured {growth:.3f}")
print(f"over 5, 10, 20 and 40 layers: {np.round(predicted ** np.array([5, 10, 20, 40]), 1)}")
assert abs(growth / predicted - 1) < 0.03

# %% [markdown]
# No choice of $s$ can mend it. This is known (Yang et al. 2019, *A Mean Field Theory of Batch
# Normalization*), but rarely told with the story of batch norm. What it repairs is the forward
# signal. For the gradient it costs a factor, which is small over five layers and is not over forty.
#
# ## A second path
#
# Two architectures give the gradient another way. A **skip connection** (He et al. 2016, ResNet)
# adds the input of a unit to its output, $y = x + F(x)$, so backward
# $g_x = g_y + F'(x)^T g_y$: the first term walks past the layers untouched. A **fractal block**
# takes the mean of paths of different lengths. Chapter 8 builds it; for now it is enough that its
# longest path has $2^{C-1}$ layers for $C$ columns, its shortest has one, and each layer of the
# long one is close to a way out:


# %%
def way_out(columns, i):
    """The fewest further layers between layer i of the deepest path and the end of the block."""
    half = 2 ** (columns - 1) // 2
    if half == 0:
        return 0
    if i < half:  # in the first half: leave it, then take the second half's shortcut, one layer
        return way_out(columns - 1, i) + 1
    return way_out(columns - 1, i - half)


print("plain:  ", *range(31, -1, -1))
print("fractal:", *(way_out(6, i) for i in range(32)))
assert max(way_out(6, i) for i in range(32)) == 5

# %% [markdown]
# In a plain net of 32 layers the gradient of the first layer has come through 31 others. In a
# fractal block some of it came through 5.
#
# Now real convolutions, on the digits. The four networks have 8 channels and the same depth: plain
# with He's weights and no batch norm; plain with batch norm; ResNet; fractal, all three from
# `tinyfractal.zoo` and `tinyfractal.fractal`. (`drop_path=0`: no dropping of paths, that is
# chapter 9.) We measure the gradient of every $3 \times 3$ kernel, before any training; of the
# fractal net those on its deepest path.

# %%
train, _ = tf.data.load("digits")
standardize = tf.data.Standardize.fit(train.images)
images, labels = standardize(train.images), train.labels  # (1438, 8, 8, 1), (1438,)


def he_net(depth):
    layers = []
    for i in range(depth):
        conv = nn.Conv2d(1 if i == 0 else 8, 8, 3, bias=False, init=tf.init.he_normal)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.GlobalAvgPool(), nn.Linear(8, 10))


def fractal_net(depth):
    columns = depth.bit_length()  # 4 layers: 3 columns, 32 layers: 6
    return tf.FractalNet(1, 10, columns=columns, channels=(8,), drop_path=0)


KINDS = {
    "plain, He": (he_net, "black"),
    "plain, batch norm": (lambda depth: tf.zoo.PlainNet(1, 10, (8,), depth), "tab:red"),
    "ResNet": (lambda depth: tf.zoo.ResNet(1, 10, (8,), depth), "tab:orange"),
    "fractal": (fractal_net, "tab:blue"),
}


# %%
def loss_of(net, chosen=slice(0, 100)):
    x, y = tf.Tensor(images[chosen]), tf.backend.asarray(labels[chosen])
    return tf.cross_entropy(net(x), y)


def kernels_of(net):
    """The 3×3 kernels of the longest path, first layer first."""
    if isinstance(net, tf.FractalNet):
        return [unit.conv.weight for unit in net.blocks[0].column(net.columns - 1)]
    return [p for p in net.parameters() if p.shape[:2] == (3, 3)]


def kernel_gradients(net):
    """The norm of each kernel's gradient, for 100 digits."""
    net.zero_grad()
    loss_of(net).backward()
    return np.array([float(np.linalg.norm(k.grad.numpy())) for k in kernels_of(net)])


# %% tags=["thumbnail"]
for name, (make, color) in KINDS.items():
    tf.seed(0)
    norms = kernel_gradients(make(32))
    plt.semilogy(np.arange(1, 33), norms, color=color, label=name)
plt.xlabel("layer")
plt.ylabel("gradient of the kernel (norm)")
plt.title("32 convolutions, before training")
plt.legend(loc="upper right", fontsize=9)
plt.show()

# %% [markdown]
# The same, by depth: how many times larger is the gradient in the first four layers than in the
# last four?

# %%
first_over_last = {}
print(f"{'depth':18}     8     16     32")
for name, (make, _) in KINDS.items():
    ratios = []
    for depth in (8, 16, 32):
        tf.seed(0)
        norms = kernel_gradients(make(depth))
        ratios.append(norms[:4].mean() / norms[-4:].mean())
    print(f"{name:18}", "  ".join(f"{r:5.1f}" for r in ratios))
    first_over_last[name] = ratios
of_plain, of_resnet = first_over_last["plain, batch norm"], first_over_last["ResNet"]
assert of_plain[2] > 15 > 4 > of_plain[0] and of_resnet[2] < 6
assert of_resnet[2] < first_over_last["fractal"][2] < of_plain[2]

# %% [markdown]
# - **Plain with He's weights** has by far the smallest gradients: all images look alike by then,
#   and a loss that cannot tell them apart hardly depends on the kernels.
# - **Plain with batch norm** explodes on the way back, if more slowly than the wide stack did.
#   At 8 layers that is harmless.
# - **The ResNet** grows too, but slowly. Its units have batch norm as well; what walks around them
#   meets nothing but the ReLU after the sum.
# - **The fractal net** is between the two, and its numbers are smaller altogether: at each join
#   the mean of $k$ branches passes $1/k$ of the gradient to each.
#
# ## Do two batches agree?
#
# The size of a gradient is half of the matter; an optimizer such as Adam divides it out anyway. The
# other half is its direction. A step that is good for these 100 images should be good for the next
# 100 too, or learning is a walk at random. So we compute the gradient of all kernels for two
# different batches of 100 digits, before training, and take the cosine between them: 1 means that
# both want the same step, 0 that they have nothing to do with each other.


# %%
def agreement(net):
    """Cosine between the gradients of two batches."""
    both = []
    for chosen in (slice(0, 100), slice(100, 200)):
        net.zero_grad()
        loss_of(net, chosen).backward()
        both.append(np.concatenate([k.grad.numpy().ravel() for k in kernels_of(net)]))
    a, b = both
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


DEPTHS = (4, 8, 16, 32)
agreed, nets = {}, smaller("nets", 3, in_browser=1)
for name, (make, color) in KINDS.items():
    for depth in DEPTHS:
        tf.seed(0)
        agreed[name, depth] = np.median([agreement(make(depth)) for _ in range(nets)])
    plt.plot(DEPTHS, [agreed[name, d] for d in DEPTHS], "o-", ms=4, color=color, label=name)
plt.xscale("log", base=2)
plt.xticks(DEPTHS, DEPTHS)
plt.ylim(-0.2, 1.05)
plt.xlabel("depth")
plt.ylabel(f"cosine, median of {nets} net{'s' if nets > 1 else ''}")
plt.legend(loc="lower left", fontsize=9)
plt.show()

# %% [markdown]
# In a shallow net the batches agree. In the plain nets the agreement is gone at 32 layers, with
# batch norm and without: the gradient of one batch says nothing about the next. In the ResNet
# a good part of it is left. The fractal net loses it more slowly than the plain net with batch
# norm, but at 32 layers it has not much left either. Balduzzi et al. (2017) described this decay in
# plain nets and called it *shattered gradients*.

# %%
plain, resnet = "plain, batch norm", "ResNet"
assert min(agreed[name, 4] for name in KINDS) > 0.3 and agreed[plain, 32] < 0.2
assert agreed["plain, He", 32] < 0.4 and agreed[resnet, 32] > agreed[plain, 32] + 0.15
assert agreed["fractal", 16] > agreed[plain, 16] and agreed["fractal", 32] < 0.4

# %% [markdown]
# ## Does it matter for learning?
#
# The decisive test is training: each kind at depths 4, 16 and 32, for 60 steps with batches of 32
# of the first 500 digits, with Adam, whose steps do not depend on the size of the gradient, so that
# one learning rate is fair to all. We draw the training loss, each point the mean of 10 steps, for
# the question is whether the networks can learn at all.


# %%
def train_losses(net, steps=60, lr=0.01):
    optimizer = tf.optim.Adam(net.parameters(), lr=lr)
    rng, losses = np.random.default_rng(0), []
    for _ in range(steps):
        loss = loss_of(net, rng.integers(500, size=32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


curves = {}
for depth in (4, 16, 32):
    for name, (make, _) in KINDS.items():
        tf.seed(0)
        curves[name, depth] = train_losses(make(depth))

# %%
figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.8), sharey=True)
smooth = np.ones(10) / 10
for ax, depth in zip(axes, (4, 16, 32)):
    for name, (_, color) in KINDS.items():
        ax.plot(np.arange(10, 61), np.convolve(curves[name, depth], smooth, "valid"), color=color)
    ax.set(title=f"depth {depth}", xlabel="step", ylim=(0, 2.8))
axes[0].set_ylabel("training loss")
axes[0].legend(KINDS, loc="lower left", fontsize=8)
plt.show()

final = {key: losses[-10:].mean() for key, losses in curves.items()}
for name in KINDS:
    print(f"{name:18}", "  ".join(f"depth {d}: {final[name, d]:.2f}" for d in (4, 16, 32)))

# %% [markdown]
# A loss of 2.3 is guessing, $\ln 10$. What do the measurements say?
#
# 1. **At depth 4 batch norm alone is enough.** The plain net with it learns as well as the ResNet;
#    the fractal net is the slowest of the three. A second path gains nothing here, and even the net
#    without batch norm learns.
# 2. **At depth 32 batch norm alone is not enough.** The plain net with it has hardly left guessing;
#    the ResNet and the fractal net learn.
# 3. **He's weights alone are not enough** at depth 32, although the signal keeps its size.
# 4. **The ResNet learns faster than the fractal net**, at 16 as at 32 layers, and it has half of
#    its weights: 32 convolutions where the fractal net has 63.

# %%
assert abs(final[plain, 4] - final[resnet, 4]) < 0.6 and final["plain, He", 4] < 2
assert final["fractal", 4] > max(final[plain, 4], final[resnet, 4]) - 0.1
assert final[plain, 32] > 1.6 and final["plain, He", 32] > 2
assert final[resnet, 32] < final["fractal", 32] < final[plain, 32] - 0.2
assert final[resnet, 16] < final["fractal", 16] - 0.2
numbers = {name: make(32).count_parameters() for name, (make, _) in KINDS.items()}
print("numbers to learn at depth 32:", numbers)
assert numbers["fractal"] > 1.7 * numbers[resnet]

# %% [markdown]
# And *why*? "Because the gradient explodes" is tempting, but look at how we trained. Adam makes its
# steps equally large in every layer, however large the gradient is there. That takes the explosion
# out, and the deep plain net still did not learn. So the size alone cannot be the reason. The
# agreement between batches fits better: it is lost where learning fails. But it is no full
# explanation either. The fractal net had not much more of it at 32 layers, and learned.
#
# Mind also how little this is: one draw of the weights, 60 steps, 500 small images; do not build on
# a difference of a few tenths. The large fact is well supported. He et al. (2016, section 4) saw
# plain nets *with* batch norm get worse on the training images as they get deeper, on ImageNet and
# CIFAR-10, and ResNets not; and they too doubt that vanishing gradients are the cause.
#
# ## Now read the source
#
# - [`nn/init.py`](../tinyfractal/nn/init.py) is the section on the variance of a sum, in four
#   functions, and `fans` counts.
# - [`ops/norm.py`](../tinyfractal/ops/norm.py): `_by_batch` and `_by_statistics` are your
#   `bn_forward`, written with primitives, from which the engine finds the gradient by itself. In
#   `batch_norm` you find the running statistics (the variance is taken with $n - 1$ there, as in
#   PyTorch) and the inference branch: two lines.
# - [`fast/norm.py`](../tinyfractal/fast/norm.py): `_batch_gradient` is the short formula. It
#   differs from yours in speed: sums over rows are matrix products with a row of ones, and the
#   result takes the place of the gradient that came in. The tests compare it with the definition.
# - `BatchNorm2d` in [`nn/layers.py`](../tinyfractal/nn/layers.py) only keeps the four arrays and
#   the settings.
# - [`zoo.py`](../tinyfractal/zoo.py): the whole skip connection is one line of
#   `ResidualUnit.forward`, `around + ...`. Where the number of channels changes, `around` needs a
#   $1 \times 1$ convolution of its own.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/07_depth.py`.
#
# **1. A leaky ReLU.** It lets negative numbers pass too, multiplied by a slope $a$ such as 0.3.
# Which standard deviation must the weights have so that the signal keeps its size? (With $a = 0$ it
# is He's, with $a = 1$ there is no activation at all.)


# %%
def leaky_std(fan_in, slope): ...


check_leaky(leaky_std)

# %% [markdown]
# **2. Layer norm.** It normalizes each row over its channels, instead of each channel over the
# rows: `x_hat = (x - mean) / sqrt(variance + eps)` with mean and variance of the row, then
# `y = weight * x_hat + bias` with weight and bias (C,) as before. Return the gradient with respect
# to `x` (N, C), given that of `y`. (Careful: is the weight the same for all numbers of a mean?)


# %%
def layer_norm_gradient(g, x, weight, eps=1e-5): ...


check_layer_norm(layer_norm_gradient)

# %% [markdown]
# **3. Batch norm for nothing.** In inference a batch norm is a fixed scale and shift, which
# the linear layer before it can take over. Given `W` (in, out) and the batch norm's four arrays
# (out,), return a new weight and a new bias such that `x @ new_weight + new_bias` is what linear
# layer and batch norm give together.


# %%
def fold(W, weight, bias, running_mean, running_var, eps=1e-5): ...


check_fold(fold)

# %% [markdown]
# **4. Skips without batch norm.** In `x = x + scale * F(x)`, where F keeps the mean square of what
# it gets (He's weights, a ReLU, and its output has nothing to do with `x`), each layer adds to the
# signal. With `scale = 1` it doubles the mean square in each layer. Choose the scale for a given
# depth, so that the mean square at the end is 2 to 4 times that at the start, be it 10 layers or
# 1,000.


# %%
def branch_scale(depth): ...


check_branch(branch_scale)
