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
# # 5. How does a network learn?
#
# *60 minutes. Afterwards you can read [`nn/layers.py`](../tinyfractal/nn/layers.py) (`Linear`),
# [`ops/loss.py`](../tinyfractal/ops/loss.py), [`optim/methods.py`](../tinyfractal/optim/methods.py)
# and [`train/loop.py`](../tinyfractal/train/loop.py).*
#
# You have an engine that gives the derivative of one number with respect to all others. In this
# chapter it is put to work. We take pictures of handwritten digits, let a network say which digit
# each is, measure with one number how wrong it is, and change every weight a little so that this
# number becomes smaller. Then again, some hundred times. There is no more to learning than that.
# The rest of the chapter is about doing it well: which number, how large a step, and how to tell
# whether the network has understood anything or has learned its examples by heart.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.learning import check_logsumexp, check_nesterov, check_rate, check_smoothed
from figures import use_style

use_style()

# %% [markdown]
# ## The task
#
# The library has 1,797 pictures of digits in it, 8 by 8 pixels each. Four fifths are for training.
# The rest, the **test set**, is never trained with: it shows how well the network does on pictures
# that it has not seen.

# %%
train, test = tf.data.load("digits")
print("train", train.images.shape, train.labels.shape, "  test", test.images.shape)
assert len(train) == 1438 and len(test) == 359

figure, axes = plt.subplots(1, 10, figsize=(6.4, 1.0))
for ax, image, label in zip(axes, train.images, train.labels):
    ax.imshow(image[..., 0])
    ax.set_title(str(label))
    ax.axis("off")
plt.show()

# %% [markdown]
# Images are `(N, H, W, C)`: image, row, column, channel. Here $C = 1$, grey. In this chapter an
# image is a row of 64 numbers from 0 (white) to 1 (black), and nothing tells the network which
# pixels are neighbours. (That is what chapter 6 changes.)

# %%
x = train.images.reshape(len(train), 64)  # (N, 64)
y = train.labels  # (N,) integers 0 … 9
x_test, y_test = test.images.reshape(len(test), 64), test.labels

# %% [markdown]
# ## A linear layer
#
# The simplest guess: a class collects points. Each pixel gives each class so many points for its
# ink, positive or negative, and each class has some points to begin with. With ten classes that is
# a matrix of weights $W$ of shape `(64, 10)` and a **bias** $b$ of shape `(10,)`:
#
# $$z = x W + b \qquad (N, 64) \cdot (64, 10) + (10,) \rightarrow (N, 10)$$
#
# The points $z$ are called **logits**, and this function is a **linear layer**. All images go
# through it in one matrix product; $b$ is broadcast over the rows.

# %%
W = np.zeros((64, 10), np.float32)
b = np.zeros(10, np.float32)


def linear(x, W, b):
    return x @ W + b


print("logits", linear(x, W, b).shape)

# %% [markdown]
# ## From points to probabilities
#
# Points can be anything. To say how wrong an answer is we want probabilities: positive, with a sum
# of 1. The **softmax** makes every number positive with $e^z$, then divides by the sum:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}$$


# %%
def naive_softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


print(naive_softmax(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-5.0, 0.0, 5.0]])).round(3))

# %% [markdown]
# Equal points give equal probabilities. A lead of 1 point makes a class $e$ times as likely as the
# next, whatever the points are: only differences count.
#
# ## Predict, then run
#
# So `[1, 2, 3]` and `[1001, 1002, 1003]` have the same softmax. **Will the code say so?**

# %% jupyter={"outputs_hidden": true}
with np.errstate(all="ignore"):
    print("1, 2, 3:          ", naive_softmax(np.array([[1.0, 2.0, 3.0]])))
    print("1001, 1002, 1003: ", naive_softmax(np.array([[1001.0, 1002.0, 1003.0]])))
    assert np.isnan(naive_softmax(np.array([[1001.0, 1002.0, 1003.0]]))).all()
print("e^z is too large for float32 from z =", np.log(np.finfo(np.float32).max))
assert 88 < np.log(np.finfo(np.float32).max) < 89

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# $e^{1001}$ is larger than any float, so it becomes infinite, and infinity divided by infinity is
# "not a number". In float32 this happens from 89 points on. The cure is to use what we know: only
# differences count, so subtract the largest number of each row first. Then the largest exponential
# is $e^0 = 1$, the sum is at least 1, and nothing can overflow.
#
# </details>
#
# We will soon need the logarithm of $p$ rather than $p$. It gets a function of its own, since
# $\log$ of a probability that was rounded to 0 is $-\infty$:
#
# $$\log p_k = z_k - \log \sum_j e^{z_j}
#   = (z_k - m) - \log \sum_j e^{z_j - m}, \qquad m = \max_j z_j$$
#
# The term that is subtracted, $\log \sum_j e^{z_j}$, is known as **log-sum-exp**.


# %%
def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


print(np.exp(log_softmax(np.array([[1.0, 2.0, 3.0], [1001.0, 1002.0, 1003.0]]))).round(3))
print(log_softmax(np.array([[0.0, 1000.0]])))
assert np.allclose(log_softmax(np.array([[0.0, 1000.0]])), [[-1000.0, 0.0]])

# %% [markdown]
# ## How wrong? Cross-entropy
#
# The right class should have probability 1. The **cross-entropy** is $-\log$ of the probability
# that the right class got, and the **loss** is its mean over the images:
#
# $$L = \frac{1}{N} \sum_n -\log p_{n, y_n}$$
#
# It is 0 if we were sure and right. It grows without bound if we were sure and wrong. With all
# weights 0 each class has probability 1/10, and the loss is $\log 10$:


# %%
def cross_entropy(z, y):
    return -log_softmax(z)[np.arange(len(y)), y].mean()


print(f"loss {cross_entropy(linear(x, W, b), y):.4f}   log 10 = {np.log(10):.4f}")
assert np.isclose(cross_entropy(linear(x, W, b), y), np.log(10), atol=1e-5)

# %% [markdown]
# ## Its gradient is p − y
#
# How does the loss of one image change with its logits? Write $y$ for the class. Then
#
# $$L = \log \sum_j e^{z_j} - z_y$$
#
# Take the derivative with respect to $z_k$, one term at a time. The first is a logarithm of a sum.
# The chain rule gives $1$ over the sum, times the derivative of the sum, and only one of its terms
# has $z_k$ in it:
#
# $$\frac{\partial}{\partial z_k} \log \sum_j e^{z_j} = \frac{e^{z_k}}{\sum_j e^{z_j}} = p_k$$
#
# The second, $-z_y$, has derivative $-1$ if $k$ is the right class, and 0 otherwise. Together:
#
# $$\frac{\partial L}{\partial z_k} = p_k - [k = y]$$
#
# *What the network said, minus what it should have said.* If $y$ stands for the row that is 1 at
# the right class and 0 elsewhere (a **one-hot** row), it is $p - y$. For the mean over $N$ images,
# divide by $N$:


# %%
def cross_entropy_gradient(z, y):
    g = np.exp(log_softmax(z))  # p
    g[np.arange(len(y)), y] -= 1  # minus y
    return g / len(y)


z = np.array([[2.0, 1.0, -1.0, 0.5]])
answer = np.array([1])
nudged = np.zeros_like(z)
for k in range(4):
    step = np.zeros_like(z)
    step[0, k] = 1e-5
    nudged[0, k] = (cross_entropy(z + step, answer) - cross_entropy(z - step, answer)) / 2e-5
print("p                  ", np.exp(log_softmax(z)).round(6))
print("p - y              ", cross_entropy_gradient(z, answer).round(6))
print("central differences", nudged.round(6))
assert np.allclose(nudged, cross_entropy_gradient(z, answer), atol=1e-9)

# %% [markdown]
# The numbers of such a row add up to 0: what the right class is to gain, the others lose, each in
# proportion to how much it was believed. And there is no small factor in it. However wrong the
# network is, the gradient says so loudly, which is why this pair of softmax and cross-entropy is
# used almost everywhere.
#
# ## Learning by hand
#
# From the logits back to the weights there is one more step, the matrix product of chapter 3. With
# $g = \partial L / \partial z$ of shape `(N, 10)`:
#
# $$\frac{\partial L}{\partial W} = x^T g \quad (64, N) \cdot (N, 10), \qquad
#   \frac{\partial L}{\partial b} = \sum_n g_n \quad (10,)$$
#
# The gradient points to where the loss grows fastest. So go the other way, by the gradient times a
# small number, the **learning rate**. This is **gradient descent**:


# %%
def accuracy(z, y):
    return (z.argmax(axis=1) == y).mean()


lr, losses = 0.5, []
for step in range(200):
    z = linear(x, W, b)
    losses.append(cross_entropy(z, y))
    g = cross_entropy_gradient(z, y)
    W -= lr * (x.T @ g)
    b -= lr * g.sum(axis=0)
    if step % 40 == 0 or step == 199:
        right = accuracy(linear(x_test, W, b), y_test)
        print(f"step {step:3}   loss {losses[-1]:.3f}   right on the test set: {right:.1%}")
assert 0.90 < right < 0.98 and losses[-1] < 0.5

# %% [markdown]
# 200 steps, and more than nine in ten of the unseen digits are right. We can look at what was
# learned: each class has 64 weights, one for each pixel, and so a picture. Red pixels give the
# class points, blue ones take points away.

# %%
limit = np.abs(W).max()
figure, axes = plt.subplots(1, 10, figsize=(6.4, 1.0))
for k, ax in enumerate(axes):
    ax.imshow(W[:, k].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_title(str(k))
    ax.axis("off")
plt.show()
assert W[:, 0].reshape(8, 8)[3:5, 3:5].mean() < -0.5

# %% [markdown]
# The 0 does not want ink in its middle. That it wants ink all around is less clear, since other
# digits have ink there as well: a weight says what tells a digit *from the others*.

# %% [markdown]
# ## The same, with the engine
#
# From here on the engine does the derivatives. `tf.cross_entropy` is what we wrote, and `backward`
# arrives at the same gradients:

# %%
W_tensor, b_tensor = tf.Tensor(W, requires_grad=True), tf.Tensor(b, requires_grad=True)
loss = tf.cross_entropy(tf.Tensor(x) @ W_tensor + b_tensor, tf.backend.asarray(y))
loss.backward()

g = cross_entropy_gradient(linear(x, W, b), y)
print("largest difference in W:", np.abs(W_tensor.grad.numpy() - x.T @ g).max())
print("largest difference in b:", np.abs(b_tensor.grad.numpy() - g.sum(axis=0)).max())
assert np.allclose(W_tensor.grad.numpy(), x.T @ g, atol=1e-5)
assert np.allclose(b_tensor.grad.numpy(), g.sum(axis=0), atol=1e-5)

# %% [markdown]
# ## How large a step?
#
# A loss of 650 weights cannot be drawn. So let us learn about steps on a surface that can: a long
# valley, 100 times steeper across than along. The lowest point is at $(0, 0)$.
#
# $$f(a, b) = \tfrac{1}{2}\,(a^2 + 100\, b^2), \qquad \nabla f = (a,\ 100\, b)$$

# %%
steep = np.array([1.0, 100.0])


def valley(w):
    return 0.5 * (steep * w * w).sum(axis=-1)


def descend(rule, steps=300, start=(-9.0, 0.8)):
    """The places (steps + 1, 2) that `rule(w, gradient, memory)` visits."""
    w, memory, path = np.array(start), {}, [np.array(start)]
    for _ in range(steps):
        w = rule(w, steep * w, memory)
        path.append(w)
    return np.array(path)


def sgd(lr):
    return lambda w, g, memory: w - lr * g


def steps_needed(path, goal=0.01):
    """After how many steps it is below the goal for good; None if never."""
    above = np.flatnonzero(~(valley(path) < goal))
    return None if above[-1] == len(path) - 1 else int(above[-1]) + 1


for lr in (0.005, 0.01, 0.019):
    path = descend(sgd(lr), steps=1000)
    print(f"lr = {lr:<5}  below 0.01 after {steps_needed(path)} steps")

# %% [markdown]
# Larger steps arrive sooner. **Predict:** what will `lr = 0.021` do?

# %% jupyter={"outputs_hidden": true}
path = descend(sgd(0.021), steps=100)
for step in (0, 10, 50, 100):
    print(f"step {step:3}   a = {path[step, 0]:8.4f}   b = {path[step, 1]:12.2f}")
assert abs(path[100, 1]) > 1000 and abs(path[100, 0]) < 9
assert steps_needed(descend(sgd(0.0199), steps=3000)) is not None
assert steps_needed(descend(sgd(0.0201), steps=3000)) is None

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# It flies out of the valley. Look at one direction alone, with steepness $\lambda$:
#
# $$b \leftarrow b - \text{lr} \cdot \lambda b = (1 - \text{lr} \cdot \lambda)\, b$$
#
# Each step multiplies $b$ by the same factor. If that is between $-1$ and $1$, $b$ shrinks,
# otherwise it grows: the learning rate must be below $2/\lambda$, here $2/100 = 0.02$. That is
# the limit that the steepest direction sets. Along the valley, where $\lambda = 1$, a step then
# shrinks $a$ by 2 % at most. **One learning rate for all is too large for one direction or too
# small for another.** This is why people think about optimizers.
#
# </details>
#
# ## Momentum and Adam
#
# **Momentum** (Polyak 1964) keeps a running sum $v$ of the gradients, in which old ones fade away
# by a factor $\beta$, usually 0.9, and steps along $v$:
#
# $$v \leftarrow \beta v + g, \qquad w \leftarrow w - \text{lr} \cdot v$$
#
# Across the valley the gradients change sign from step to step, and cancel in the sum. Along the
# valley they agree, and add up. (A variant, *Nesterov* momentum, is exercise 4.)
#
# **Adam** (Kingma & Ba 2015) keeps two running means of each number, $m$ of its gradient and $v$
# of its squared gradient, and divides one by the root of the other:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2,
# \qquad w \leftarrow w - \text{lr}\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}$$
#
# So each number has a step size of its own, and how steep its direction is hardly matters. The hats
# make up for the start: $m$ and $v$ begin at 0, so after $t$ steps they have only the share
# $1 - \beta^t$ of what they should have, and are divided by it.


# %%
def momentum(lr, beta=0.9):
    def rule(w, g, memory):
        memory["v"] = beta * memory.get("v", 0.0) + g
        return w - lr * memory["v"]

    return rule


def adam(lr, beta1=0.9, beta2=0.999):
    def rule(w, g, memory):
        t = memory["t"] = memory.get("t", 0) + 1
        m = memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
        v = memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
        return w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)

    return rule


first = descend(adam(lr=0.3), steps=1)
print("gradient", steep * first[0], "  Adam's first step", first[1] - first[0])
assert np.allclose(first[1] - first[0], [0.3, -0.3])

# %% [markdown]
# The two gradients differ by a factor of nearly nine, yet Adam's first step is `lr` in both
# directions: only the sign is left. Now the four paths:

# %% tags=["thumbnail"]
rules = {
    "SGD, lr 0.01": (sgd(0.01), "tab:blue"),
    "SGD, lr 0.0202": (sgd(0.0202), "tab:red"),
    "momentum 0.9, lr 0.01": (momentum(0.01), "tab:green"),
    "Adam, lr 0.3": (adam(0.3), "tab:purple"),
}
along, across = np.meshgrid(np.linspace(-10, 4, 120), np.linspace(-1.6, 1.6, 80))
heights = valley(np.stack([along, across], axis=-1))
figure, axes = plt.subplots(2, 2, figsize=(6.4, 4.0), sharex=True, sharey=True)
for ax, (name, (rule, color)) in zip(axes.flat, rules.items()):
    path = descend(rule, steps=60)
    ax.contour(along, across, heights, levels=[1, 4, 16, 64], colors="0.75", linewidths=0.8)
    ax.plot(*path.T, ".-", color=color, lw=1, ms=4)
    ax.plot(0, 0, "k+", ms=10)
    ax.set(title=f"{name}: 60 steps", xlim=(-10, 4), ylim=(-1.6, 1.6), xticks=(-8, -4, 0, 4))
    ax.grid(False)
axes[0, 0].set_ylabel("b")
axes[1, 0].set_ylabel("b")
axes[1, 0].set_xlabel("a")
axes[1, 1].set_xlabel("a")
plt.show()

# %% [markdown]
# SGD crawls along the bottom, or at a rate just above the limit jumps from wall to wall ever
# higher. Momentum swings through. Adam goes diagonally, as if it did not see that the valley is
# narrow, and overshoots a little. How many steps do they need? To be fair, plain SGD gets the best
# of many rates.

# %%
rates = np.linspace(0.015, 0.0199, 50)
needed = {
    "SGD, best rate": min(steps_needed(descend(sgd(lr), steps=1000)) for lr in rates),
    "momentum 0.9, lr 0.01": steps_needed(descend(momentum(0.01))),
    "Adam, lr 0.3": steps_needed(descend(adam(0.3))),
}
for name, steps in needed.items():
    print(f"{name:22} {steps} steps")
assert 2 * needed["momentum 0.9, lr 0.01"] < needed["SGD, best rate"]
assert 2 * needed["Adam, lr 0.3"] < needed["SGD, best rate"]

# %% [markdown]
# Both need less than half as many, and neither had its rate tuned as finely. These are the rules of
# [`tf.optim`](../tinyfractal/optim/methods.py). Its optimizers take Parameters and change them in
# place, and they walk the same paths as ours:

# %%
for make, rule in (
    (lambda p: tf.optim.SGD(p, lr=0.01, momentum=0.9), momentum(0.01)),
    (lambda p: tf.optim.Adam(p, lr=0.3), adam(0.3)),
):
    w = tf.Tensor(np.array([-9.0, 0.8]), requires_grad=True)
    optimizer = make([w])
    for _ in range(60):
        loss = 0.5 * tf.sum(tf.backend.asarray(steep) * w * w)
        optimizer.zero_grad()  # gradients add up, so forget the last ones
        loss.backward()
        optimizer.step()
    print(type(optimizer).__name__, w.numpy(), descend(rule, steps=60)[-1])
    assert np.allclose(w.numpy(), descend(rule, steps=60)[-1])

# %% [markdown]
# ## A layer in between
#
# Back to the digits. A linear layer can only add up ink. To see "a loop at the top *and* none at
# the bottom" a network needs something in between. Two linear layers in a row? That gains nothing:
# $(x W_1) W_2 = x (W_1 W_2)$ is one linear layer again.

# %%
rng = np.random.default_rng(0)
W1, W2 = rng.normal(size=(64, 32)), rng.normal(size=(32, 10))
print(np.allclose((x @ W1) @ W2, x @ (W1 @ W2), atol=1e-4))
assert np.allclose((x @ W1) @ W2, x @ (W1 @ W2), atol=1e-4)

# %% [markdown]
# So we put a bend between them, the **ReLU**: $\max(x, 0)$ of each number. A linear layer, a ReLU
# and another linear layer are the smallest **multi-layer perceptron** (MLP). The numbers in the
# middle are its **hidden** units, and how many there are is its **width**. First weights must be
# random, or all hidden units would learn the same; how large they should be is a subject of
# chapter 7.

# %%
tf.seed(0)
W1 = tf.nn.Parameter(tf.init.xavier_uniform((64, 64)))
b1 = tf.nn.Parameter(np.zeros(64, np.float32))
W2 = tf.nn.Parameter(tf.init.xavier_uniform((64, 10)))
b2 = tf.nn.Parameter(np.zeros(10, np.float32))
parameters = [W1, b1, W2, b2]


def mlp_by_hand(x):  # (N, 8, 8, 1) → (N, 10)
    x = x.reshape(len(x), 64)
    hidden = tf.relu(x @ W1 + b1)  # (N, 64)
    return hidden @ W2 + b2


print("numbers to learn:", sum(p.size for p in parameters))

# %% [markdown]
# ## The training loop
#
# One thing is new in the loop. A gradient of all 1,438 images is more exact than we need for a
# single small step. So take 100 of them, a **mini-batch**, and step at once; then the next 100.
# One pass through all images, in random order, is an **epoch**. This is the *stochastic* in
# stochastic gradient descent, **SGD**: each gradient is a random sample of the true one, and for
# the work of one exact step we make fifteen that are about right.

# %%
loader = tf.data.Loader(train, batch_size=100, shuffle=True, seed=0)
optimizer = tf.optim.SGD(parameters, lr=0.1, momentum=0.9)
by_hand = []
for epoch in range(20):
    total = 0.0
    for images, labels in loader:  # (100, 8, 8, 1) and (100,)
        loss = tf.cross_entropy(mlp_by_hand(tf.Tensor(images)), tf.backend.asarray(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    by_hand.append(total / len(train))
    if epoch % 5 == 4:
        with tf.no_grad():
            right = accuracy(mlp_by_hand(tf.Tensor(test.images)).numpy(), test.labels)
        print(f"epoch {epoch + 1:2}   training loss {by_hand[-1]:.4f}   test accuracy {right:.1%}")
assert right > 0.93 and len(loader) == 15

# %% [markdown]
# That is the whole of training. The library has the same parts, ready made. `nn.Sequential` runs
# layers one after the other, `nn.Linear` holds its weight and bias, and `train.fit` is the loop,
# with a history and a test after each epoch. A *schedule* may change the learning rate from epoch
# to epoch; this one does not.


# %%
def mlp(width):
    return tf.nn.Sequential(
        tf.nn.Flatten(), tf.nn.Linear(64, width), tf.nn.ReLU(), tf.nn.Linear(width, 10)
    )


def learn(net, images, epochs, decay=0.0):
    optimizer = tf.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=decay)
    schedule = tf.optim.ConstantLR(optimizer, epochs)
    return tf.train.fit(net, images, test, optimizer, schedule, batch_size=100, quiet=True)


tf.seed(0)
net = mlp(width=64)
history = learn(net, train, epochs=20)
by_fit = [record["train_loss"] for record in history]
print("largest difference from the loop by hand:", np.abs(np.subtract(by_fit, by_hand)).max())
assert np.allclose(by_fit, by_hand, atol=1e-3)
assert history[-1]["test_accuracy"] > 0.93

# %% [markdown]
# Was the layer in between worth it? The linear layer alone, trained in the same way:

# %%
alone = learn(tf.nn.Sequential(tf.nn.Flatten(), tf.nn.Linear(64, 10)), train, epochs=20)
for name, last in (("linear layer", alone[-1]), ("MLP", history[-1])):
    print(f"{name:12}  training: {last['train_accuracy']:.1%} right", end="   ")
    print(f"test: {last['test_accuracy']:.1%} right, loss {last['test_loss']:.3f}")
assert history[-1]["test_loss"] < 0.85 * alone[-1]["test_loss"]
assert history[-1]["train_accuracy"] > alone[-1]["train_accuracy"] + 0.01

# %% [markdown]
# These small digits are easy, and adding up ink goes a long way. Still the MLP has the smaller
# loss, and it learns training images that the linear layer cannot.

# %%
tf.plot.plot_history(history, title="An MLP with 64 hidden units learns the digits")

# %% [markdown]
# The training loss goes on falling, towards 0. The test loss follows it at first, and then stays
# behind. What happens between the two curves is the next question.
#
# ## Learning by heart
#
# Give the network 50 images instead of 1,438, and much time.

# %%
order = np.random.default_rng(0).permutation(len(train))
few = train[order[:50]]


def learn_few(width=64, decay=0.0, epochs=200, seed=0):
    tf.seed(seed)
    return learn(mlp(width), few, epochs, decay)


history = learn_few()
losses = {key: [record[key] for record in history] for key in ("train_loss", "test_loss")}
best = int(np.argmin(losses["test_loss"]))
plt.plot(losses["train_loss"], color="tab:blue", label="on the 50 training images")
plt.plot(losses["test_loss"], color="tab:red", label="on the test images")
plt.plot(best, losses["test_loss"][best], "o", color="tab:red")
plt.annotate("lowest", (best, losses["test_loss"][best] - 0.1), ha="center")
plt.ylim(0, 1.5)
plt.xlabel("epoch")
plt.ylabel("loss")
plt.legend()
plt.show()
for name, record in (("with the lowest test loss", history[best]), ("at the end", history[-1])):
    print(f"{name}: training loss {record['train_loss']:.3f}", end="   ")
    print(f"test loss {record['test_loss']:.3f}, {record['test_accuracy']:.0%} right")
assert history[-1]["train_accuracy"] == 1 and history[-1]["train_loss"] < 0.01
assert history[-1]["test_loss"] > history[best]["test_loss"] + 0.02 and best < 150
assert abs(history[-1]["test_accuracy"] - history[best]["test_accuracy"]) < 0.05

# %% [markdown]
# In the end all 50 are right, and the loss on them is nearly 0. On the test images it falls, turns,
# and slowly grows again. The number of mistakes hardly changes, so the mistakes must have become
# dearer: the network grows surer of everything, also of what it gets wrong. Learning the examples
# at the expense of the rest is **overfitting**. The opposite, a network that cannot even learn its
# training images, is **underfitting**.
#
# ## Predict, then run
#
# We try widths from 1 to 256 hidden units on the same 50 images. With 256 there are almost 20,000
# weights, some 380 for each image. **Where is the test accuracy best?** Sketch the curve.

# %% jupyter={"outputs_hidden": true}
widths = [1, 2, 4, 8, 16, 64, 256]
results = np.array(
    [
        [(r[-1]["train_accuracy"], r[-1]["test_accuracy"]) for r in runs]
        for runs in ([learn_few(width, seed=s) for s in range(3)] for width in widths)
    ]
)
middle = np.median(results, axis=1)  # of the three seeds: (7, 2)
plt.semilogx(widths, middle[:, 0], "o-", base=2, color="tab:blue", label="50 training images")
plt.semilogx(widths, middle[:, 1], "o-", base=2, color="tab:red", label="test images")
plt.xticks(widths, widths)
plt.xlabel("hidden units")
plt.ylabel("accuracy, median of 3 runs")
plt.ylim(0, 1.05)
plt.legend()
plt.show()
print("numbers to learn with 256 units:", mlp(256).count_parameters())
assert 19_000 < mlp(256).count_parameters() < 20_000
assert middle[:2, 0].max() < 0.8 and middle[3:, 0].min() == 1
assert middle[-1, 1] > middle[:, 1].max() - 0.03 and middle[-1, 1] > 0.75

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# On the left the network underfits: one or two hidden units cannot tell ten digits apart, not even
# in training. From 8 units on the training images are all right. But the test accuracy does
# *not* fall when there are far more weights than images. The wide networks are as good as any here.
#
# </details>
#
# A gap remains between the two curves, and more units do not widen it. What narrows it is data:

# %%
for count in (50, 200, 800):
    tf.seed(0)
    right = learn(mlp(64), train[order[:count]], epochs=20_000 // count)[-1]["test_accuracy"]
    print(f"{count:4} images: test accuracy {right:.1%}")
    assert (count == 50) == (right < 0.88) and (count == 800) == (right > 0.93)

# %% [markdown]
# And where there is no more data, one can ask for small weights. **Weight decay** adds a multiple
# of each weight to its gradient, so that every weight shrinks a little at each step unless the
# images object. (It is the gradient of $\tfrac{d}{2} w^2$, added to the loss.) Small weights make
# small logits, and so probabilities that are less sure of themselves.

# %%
results = {}
for decay in (0.0, 0.003, 0.03, 0.3):
    runs = [learn_few(decay=decay, seed=s)[-1] for s in range(3)]
    keys = ("train_loss", "test_loss", "test_accuracy")
    results[decay] = [float(np.median([r[key] for r in runs])) for key in keys]
    losses = "train loss {:.3f}   test loss {:.3f}   right {:.1%}".format(*results[decay])
    print(f"decay {decay:<6} {losses}")
assert results[0.003][1] < 0.95 * results[0.0][1] and results[0.3][1] > 2 * results[0.0][1]
assert abs(results[0.003][2] - results[0.0][2]) < 0.04 and results[0.3][2] < 0.5

# %% [markdown]
# The right amount makes the test loss smaller. The accuracy hardly changes: it is the exaggerated
# certainty that went. Far too much of it, and nothing is learned at all.
#
# ## Look inside
#
# The network that was trained on all images has 64 hidden units, each with 64 weights, one for each
# pixel. Here are 20 of them as pictures, red for positive, blue for negative:

# %%
weights = net[1].weight.numpy()  # (64, 64): (pixel, unit)
limit = np.abs(weights).max()
figure, axes = plt.subplots(2, 10, figsize=(6.4, 1.5))
for unit, ax in enumerate(axes.flat):
    ax.imshow(weights[:, unit].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.axis("off")
plt.show()

# %% [markdown]
# Some are spots and strokes, many still look like the noise that they began as. No unit is a whole
# digit. And here is what the network gets wrong, white on black: which digit it is, and in orange
# what the network said.

# %%
said = tf.train.predict(net, test.images).argmax(axis=1)
assert 0 < (said != test.labels).sum() < 0.07 * len(test)
tf.plot.plot_mistakes(test.images, test.labels, said, test.classes, limit=16)

# %% [markdown]
# At 8 by 8 pixels some of these are hard for people too.
#
# ## Now read the source
#
# - [`ops/loss.py`](../tinyfractal/ops/loss.py): `cross_entropy` is yours. Its `q` is the one-hot
#   row, and `q` need not be one-hot: see exercise 2. The line $p - q$ is `_gradient` in
#   [`fast/loss.py`](../tinyfractal/fast/loss.py).
# - [`nn/layers.py`](../tinyfractal/nn/layers.py): `Linear` is ten lines. It works on the last axis
#   of an array with any number of axes, and makes its first weights with `init`.
# - [`optim/methods.py`](../tinyfractal/optim/methods.py): `SGD.update` and `Adam.adapt` are your
#   rules, one parameter at a time and in place (`w -= …`), so that the network sees the new values.
#   The schedules are in [`optim/schedule.py`](../tinyfractal/optim/schedule.py).
# - [`train/loop.py`](../tinyfractal/train/loop.py): `train_epoch` is the loop that you wrote. `fit`
#   puts around it what a long run needs: a checkpoint after each epoch, and a clear message if the
#   loss is no longer a number. `evaluate` and `predict` run the model without recording.
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/05_learning.py`.
#
# **1. Log-sum-exp.** Write $\log \sum_j e^{z_j}$ for each row of `z` `(N, K)`, so that neither
# logits of 1000 nor of −1000 break it. Return `(N,)`.


# %%
def logsumexp(z): ...


check_logsumexp(logsumexp)

# %% [markdown]
# **2. Not quite sure.** *Label smoothing* asks the network for a little less than certainty. With
# $s = 0.1$ and $K$ classes, the target $q$ has $s / K$ everywhere, and $1 - s$ more at the right
# class; the loss is $-\sum_k q_k \log p_k$, its mean over the images. Write the gradient with
# respect to the logits `z` `(N, K)`.


# %%
def smoothed_gradient(z, y, s): ...


check_smoothed(smoothed_gradient)

# %% [markdown]
# **3. How fast is too fast?** A surface has the height $f(a, b) = 3 a^2 + 8 b^2 + 2 a b$ at
# $(a, b)$. From which learning rate on does gradient descent fly away? Answer to within 2 %. (Try,
# or compute: the steepness $\lambda$ of the steepest direction is the largest eigenvalue of the
# matrix of second derivatives.)

# %%
largest_rate = ...

check_rate(largest_rate)

# %% [markdown]
# **4. Look ahead.** Nesterov's momentum takes the gradient not where it stands but where its
# momentum is about to carry it. With $v$ the running sum, one step from $w$ is
#
# $$v \leftarrow \beta v + \nabla f(w - \text{lr}\, \beta v),
# \qquad w \leftarrow w - \text{lr}\, v$$
#
# Return the place after `steps` steps from `start`, an array; `gradient(w)` is $\nabla f$.


# %%
def nesterov(gradient, start, lr, beta, steps): ...


check_nesterov(nesterov)
