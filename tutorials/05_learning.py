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
# *50 minutes. Afterwards you can read [`nn/layers.py`](../tinyfractal/nn/layers.py) (`Linear`),
# [`ops/loss.py`](../tinyfractal/ops/loss.py), [`optim/methods.py`](../tinyfractal/optim/methods.py)
# and the loop in [`train/loop.py`](../tinyfractal/train/loop.py).*
#
# Our first network begins as 650 zeros. It has no idea what a 7 looks like. Two hundred small
# corrections later, it reads more than nine in ten handwritten digits that it has never seen. Each
# correction is one subtraction: what was said, minus what was true.

# %% jupyter={"source_hidden": true}
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.learning import check_logsumexp, check_nesterov, check_rate, check_smoothed
from figures import BLUE, GRAY, GREEN, ORANGE, animate, use_style
from smaller import smaller

use_style()

# %% [markdown]
# ## Three piles of images
#
# The library comes with 1,797 images of digits, 8 by 8 pixels each. We split them into three piles:
# the **training set** to learn from, the **validation set** to compare attempts, and the **test
# set**, which stays closed until the end. You will see why.

# %%
train, test = tf.data.load("digits")
train, validation = train.split(0.2)  # the same share of every digit
print(f"{len(train) + len(validation) + len(test):,} images:", end=" ")
print(f"{len(train)} to learn from, {len(validation)} to compare, {len(test)} for the end")
print("images", train.images.shape, "  labels", train.labels.shape)

# %% jupyter={"source_hidden": true}
assert (len(train), len(validation), len(test)) == (1151, 287, 359)
figure, axes = plt.subplots(1, 10, figsize=(6.4, 1.0))
for ax, image, label in zip(axes, train.images, train.labels):
    ax.imshow(image[..., 0])
    ax.set_title(str(label))
    ax.axis("off")
plt.show()

# %% [markdown]
# Images are `(N, H, W, C)`: image, row, column, channel. Here each becomes a row of 64 numbers,
# from 0 (white) to 1 (black). Nothing tells the network which pixels are neighbours; chapter 6
# will.

# %%
x = train.images.reshape(len(train), 64)  # (N, 64)
y = train.labels  # (N,), integers from 0 to 9
x_val, y_val = validation.images.reshape(len(validation), 64), validation.labels

# %% [markdown]
# ## Ten templates
#
# How would you read digits without learning? Average all 3s, and subtract the average digit. That
# is a **template**: red where a 3 has more ink than usual, blue where less. Lay it over an image,
# multiply pixel by pixel, and add up. The sum is the image's score for "3". Do this for all ten
# digits, and let the highest score win.

# %%
template = np.stack([x[y == k].mean(axis=0) for k in range(10)], axis=1) - x.mean(axis=0)[:, None]


def accuracy(z, y):
    return (z.argmax(axis=1) == y).mean()


print("templates", template.shape)
print(f"right for {accuracy(x_val @ template, y_val):.1%} of the validation images")

# %% [markdown]
# Here a 3 meets two templates. Red pixels of the product earn points, blue ones cost points:

# %% jupyter={"source_hidden": true}
three = int(np.flatnonzero(y_val == 3)[0])
figure, axes = plt.subplots(1, 5, figsize=(6.4, 1.6))
axes[0].imshow(x_val[three].reshape(8, 8))
axes[0].set_title("image", fontsize=10)
for k, column in ((3, 1), (8, 3)):
    product = (x_val[three] * template[:, k]).reshape(8, 8)
    signs = {"cmap": "RdBu_r", "vmin": -0.6, "vmax": 0.6}
    axes[column].imshow(template[:, k].reshape(8, 8), **signs)
    axes[column].set_title(f"template of {k}", fontsize=10)
    axes[column + 1].imshow(product, **signs)
    axes[column + 1].set_title(f"product\nsum {product.sum():+.2f}", fontsize=10)
for ax in axes:
    ax.axis("off")
plt.show()
assert 0.85 < accuracy(x_val @ template, y_val) < 0.88

# %% [markdown]
# Ten templates are a matrix $W$, and all scores of all images are one matrix product. Give every
# class a starting score as well, its **bias**, and you have a **linear layer**:
#
# $$z = x W + b \qquad (N, 64) \cdot (64, 10) + (10,) \rightarrow (N, 10)$$
#
# The scores $z$ are called **logits**. Averaging gave one $W$. Learning will find a better one.


# %%
def linear(x, W, b):
    return x @ W + b


# %% [markdown]
# ## From scores to probabilities
#
# To say *how* wrong an answer is, we want probabilities. The **softmax** makes every score positive
# with $e^z$, then divides by the sum:
#
# $$p_k = \frac{e^{z_k}}{\sum_j e^{z_j}}$$


# %%
def naive_softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


print(naive_softmax(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-5.0, 0.0, 5.0]])).round(3))

# %% [markdown]
# Equal scores give equal probabilities. A lead of 1 makes a class $e$ times as likely as the next.
# Only differences count.
#
# ## Predict, then run
#
# So `[1, 2, 3]` and `[1001, 1002, 1003]` have the same softmax. **Will the code say so?**

# %% jupyter={"outputs_hidden": true}
with np.errstate(all="ignore"):
    print("1, 2, 3:          ", naive_softmax(np.array([[1.0, 2.0, 3.0]])))
    print("1001, 1002, 1003: ", naive_softmax(np.array([[1001.0, 1002.0, 1003.0]])))
print("e^z is too large for float32 from z =", np.log(np.finfo(np.float32).max))

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# $e^{1001}$ is larger than any float, so it becomes infinite, and infinity divided by infinity is
# "not a number". In float32 this happens from 89 on. The cure: first subtract the largest score of
# each row. Now the largest exponential is $e^0 = 1$.
#
# </details>
#
# $\log p$ gets a function of its own, because a probability rounded to 0 has the logarithm
# $-\infty$. With $m$ the largest score, $\log p_k = (z_k - m) - \log \sum_j e^{z_j - m}$. The
# logarithm of a sum of exponentials is called **log-sum-exp**.


# %%
def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


print(np.exp(log_softmax(np.array([[1.0, 2.0, 3.0], [1001.0, 1002.0, 1003.0]]))).round(3))
print(log_softmax(np.array([[0.0, 1000.0]])))

# %% [markdown]
# ## How wrong? Cross-entropy
#
# The right class should have probability 1. The **cross-entropy** is $-\log$ of the probability
# that it got; the **loss** is the mean over the images:
#
# $$L = \frac{1}{N} \sum_n -\log p_{n, y_n}$$
#
# Being sure and right costs almost nothing. Being sure and wrong can cost any amount. With all
# weights 0, every class has probability 1/10, and the loss is $\log 10$:

# %%
W, b = np.zeros((64, 10), np.float32), np.zeros(10, np.float32)


def cross_entropy(z, y):
    return -log_softmax(z)[np.arange(len(y)), y].mean()


loss = cross_entropy(linear(x, W, b), y)
print(f"{W.size + b.size} zeros: loss {loss:.4f}   log 10 = {np.log(10):.4f}")

# %% jupyter={"source_hidden": true}
with np.errstate(all="ignore"):
    assert np.isnan(naive_softmax(np.array([[1001.0, 1002.0, 1003.0]]))).all()
assert 88 < np.log(np.finfo(np.float32).max) < 89
assert np.allclose(log_softmax(np.array([[0.0, 1000.0]])), [[-1000.0, 0.0]])
assert np.isclose(cross_entropy(linear(x, W, b), y), np.log(10), atol=1e-5)

# %% [markdown]
# ## What was said, minus what was true
#
# How does the loss of one image change with its logits? Here is the answer for our 3, with the
# templates as weights. Left: $p$, what the network said. Middle: $y$, the truth as a **one-hot**
# row, 1 at the right class and 0 elsewhere. Right: their difference, and that *is* the gradient.

# %% jupyter={"source_hidden": true}
p = np.exp(log_softmax(x_val[three : three + 1] @ template))[0]
one_hot = np.eye(10)[3]
figure, axes = plt.subplots(1, 3, figsize=(6.4, 2.0), sharey=True)
for ax, bars, title in zip(axes, (p, one_hot, p - one_hot), ("said: p", "true: y", "p − y")):
    colors = [ORANGE if k == 3 else BLUE for k in range(10)]
    ax.bar(range(10), bars, color=colors)
    ax.axhline(0, color=GRAY, lw=0.8)
    ax.set(title=title, xticks=range(10), xlabel="class")
plt.show()

# %% [markdown]
# Why? For one image with the class $y$, the loss is
#
# $$L = \log \sum_j e^{z_j} - z_y$$
#
# By the chain rule, the first term has the derivative $e^{z_k} / \sum_j e^{z_j} = p_k$ with respect
# to $z_k$. The second has $-1$ for the right class and 0 for the others. Together: $p - y$. For the
# mean over $N$ images, divide by $N$.


# %%
def cross_entropy_gradient(z, y):
    g = np.exp(log_softmax(z))  # p
    g[np.arange(len(y)), y] -= 1  # minus y
    return g / len(y)


z, answer = np.array([[2.0, 1.0, -1.0, 0.5]]), np.array([1])
nudged = [cross_entropy(z + s, answer) - cross_entropy(z - s, answer) for s in 1e-5 * np.eye(4)]
print("p - y              ", cross_entropy_gradient(z, answer)[0].round(6))
print("central differences", (np.array(nudged) / 2e-5).round(6))
assert np.allclose(np.array(nudged) / 2e-5, cross_entropy_gradient(z, answer)[0], atol=1e-9)

# %% [markdown]
# A step against this gradient raises the right score and lowers the others, each in proportion to
# how likely the network thought it was. And a confident mistake makes a large gradient.
#
# ## Learning by hand
#
# Chapter 3 showed the way from the logits back to the weights. With $g = \partial L / \partial z$,
# $\partial L / \partial W = x^T g$, and the gradient of $b$ is the sum of the rows of $g$.
#
# The loss grows fastest along the gradient. Go the other way, by the gradient times a small number,
# the **learning rate**. This is **gradient descent**:

# %%
lr, seen = 0.5, []
for step in range(1, 201):
    z = linear(x, W, b)
    g = cross_entropy_gradient(z, y)
    W -= lr * (x.T @ g)
    b -= lr * g.sum(axis=0)
    seen.append((W.copy(), accuracy(linear(x_val, W, b), y_val)))
    if step in (1, 10, 50, 100, 200):
        right = seen[-1][1]
        print(f"step {step:3}   loss before it {cross_entropy(z, y):.3f}   right {right:.1%}")

likeness = np.corrcoef(seen[0][0].ravel(), template.ravel())[0, 1]
print(f"correlation of the weights after one step with the templates: {likeness:.3f}")

# %% [markdown]
# After *one* step the weights are our templates, up to their size: at the start all $p$ are equal,
# so $x^T(y - p)$ adds up the images of a class and subtracts a tenth of all images. All later steps
# correct mistakes, which averages cannot. **Watch the weights** leave the templates:

# %% jupyter={"source_hidden": true}
moments = [0, 0, 0, 1, 2, 4, 6, 9, 13, 19, 28, 40, 56, 80, 110, 150, 199]
figure, axes = plt.subplots(2, 5, figsize=(6.4, 3.1))


def draw_weights(frame):
    weights, right = seen[moments[frame]]
    limit = np.abs(weights).max()
    for k, ax in enumerate(axes.flat):
        ax.clear()
        ax.imshow(weights[:, k].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_title(str(k))
        ax.axis("off")
    figure.suptitle(f"after step {moments[frame] + 1}: {right:.1%} of the validation set right")


assert likeness > 0.99 and 0.85 < seen[0][1] < 0.88 and seen[-1][1] > 0.92
animate(
    figure,
    draw_weights,
    frames=len(moments),
    alt="The weights of the ten classes as pictures, from blurred templates to sharp spots.",
    colors=128,
)

# %% [markdown]
# A weight says what tells a digit *from the others*, so the pictures look less like digits.
#
# From here on, the engine finds the derivatives. It agrees with ours:

# %%
W_tensor, b_tensor = tf.Tensor(W, requires_grad=True), tf.Tensor(b, requires_grad=True)
loss = tf.cross_entropy(tf.Tensor(x) @ W_tensor + b_tensor, y)
loss.backward()

g = cross_entropy_gradient(linear(x, W, b), y)
print("largest difference in W:", np.abs(W_tensor.grad.numpy() - x.T @ g).max())
print("largest difference in b:", np.abs(b_tensor.grad.numpy() - g.sum(axis=0)).max())
assert np.allclose(W_tensor.grad.numpy(), x.T @ g, atol=1e-5)
assert np.allclose(b_tensor.grad.numpy(), g.sum(axis=0), atol=1e-5)

# %% [markdown]
# ## How large a step?
#
# Nobody can draw a loss of 650 weights. Study steps in a valley instead, 100 times steeper across
# than along:
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
    print(f"lr = {lr:<5}  below 0.01 after {steps_needed(descend(sgd(lr), 1000))} steps")

# %% [markdown]
# Larger steps arrive sooner. **Predict:** what will `lr = 0.021` do?

# %% jupyter={"outputs_hidden": true}
path = descend(sgd(0.021), steps=100)
for step in (0, 10, 50, 100):
    print(f"step {step:3}   a = {path[step, 0]:8.4f}   b = {path[step, 1]:12.2f}")

# %% jupyter={"source_hidden": true}
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
# The factor shrinks $b$ only if it lies between $-1$ and $1$. So the learning rate must stay below
# $2/\lambda$, here $2/100 = 0.02$. Along the valley, where $\lambda = 1$, such a step shrinks $a$
# by at most a fiftieth. **A rate that is safe across is slow along.** This is why there are
# optimizers.
#
# </details>
#
# ## Momentum and Adam
#
# **Momentum** (Polyak 1964) steps along a running sum $v$ of the gradients, in which old ones fade
# by a factor $\beta$:
#
# $$v \leftarrow \beta v + g, \qquad w \leftarrow w - \text{lr} \cdot v$$
#
# Across the valley the gradients change sign from step to step and cancel. Along the valley they
# agree and add up: a gradient that stays the same is followed $1 / (1 - \beta)$ times as fast,
# which is ten times for $\beta = 0.9$. (With $\beta = 1$ nothing fades: that is the forgotten reset
# of chapter 2.)
#
# **Adam** (Kingma & Ba 2015) divides a running mean of each gradient by the root of a running mean
# of its square. So each number gets its own step size, however steep its direction: the first step
# of each has the length of the learning rate. (Both means start at 0; dividing by $1 - \beta^t$
# corrects that.)


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


# %% [markdown]
# **Watch the race.** Plain SGD bounces between the walls, then crawls. Momentum swings and speeds
# up. Adam swings in longer waves: its first step goes as far along the valley as across, as if the
# valley were not narrow.

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
racers = {
    "SGD, lr 0.019": (descend(sgd(0.019)), BLUE),
    "momentum 0.9, lr 0.01": (descend(momentum(0.01)), ORANGE),
    "Adam, lr 0.3": (descend(adam(0.3)), GREEN),
}
along, across = np.meshgrid(np.linspace(-10, 3, 120), np.linspace(-1.1, 1.1, 80))
heights = valley(np.stack([along, across], axis=-1))
figure, ax = plt.subplots(figsize=(6.4, 2.9))
ax.contour(along, across, heights, levels=[1, 4, 16, 64], colors="0.8", linewidths=0.8)
ax.plot(0, 0, "k+", ms=10)
ax.set(xlim=(-10, 3), ylim=(-1.1, 1.1), xlabel="a, along the valley", ylabel="b, across")
ax.grid(False)
lines = []
for name, (path, color) in racers.items():
    (trail,) = ax.plot([], [], color=color, lw=1.3, label=name)
    (walker,) = ax.plot([], [], "o", color=color, ms=8)
    lines.append((path, trail, walker))
ax.legend(loc="lower center", bbox_to_anchor=(0.6, 0), fontsize=8)


def draw_race(frame):
    step = 3 * frame
    for path, trail, walker in lines:
        trail.set_data(*path[: step + 1].T)
        walker.set_data(*path[step : step + 1].T)
    ax.set_title(f"step {step}")


animate(
    figure,
    draw_race,
    frames=31,
    seconds=8,
    alt="A narrow valley: SGD bounces and crawls, momentum swings, Adam takes long waves.",
    colors=64,
)

# %% [markdown]
# How many steps until the height stays below 0.01? Plain SGD gets the best of 50 rates:

# %%
rates = np.linspace(0.015, 0.0199, 50)
needed = {
    "SGD, best rate": min(steps_needed(descend(sgd(lr), steps=1000)) for lr in rates),
    "momentum 0.9, lr 0.01": steps_needed(descend(momentum(0.01))),
    "Adam, lr 0.3": steps_needed(descend(adam(0.3))),
}
for name, steps in needed.items():
    print(f"{name:22} {steps} steps")

# %% jupyter={"source_hidden": true}
first = descend(adam(lr=0.3), steps=1)
assert np.allclose(first[1] - first[0], [0.3, -0.3])
assert 2 * needed["momentum 0.9, lr 0.01"] < needed["SGD, best rate"]
assert 2 * needed["Adam, lr 0.3"] < needed["SGD, best rate"]
for make, rule in (
    (lambda p: tf.optim.SGD(p, lr=0.01, momentum=0.9), momentum(0.01)),
    (lambda p: tf.optim.Adam(p, lr=0.3), adam(0.3)),
):
    w = tf.Tensor(np.array([-9.0, 0.8]), requires_grad=True)
    optimizer = make([w])
    for _ in range(60):
        loss = 0.5 * tf.sum(tf.backend.asarray(steep) * w * w)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert np.allclose(w.numpy(), descend(rule, steps=60)[-1])

# %% [markdown]
# Both need less than half as many. `tf.optim` walks the same paths, as a folded check above
# confirms.
#
# ## A layer in between
#
# A linear layer can only add up ink. To see "a loop at the top *and* none at the bottom", it takes
# two layers with a bend between them; without the bend, $(x W_1) W_2 = x (W_1 W_2)$ is one linear
# layer again. The bend is the **ReLU**, $\max(x, 0)$. Linear, ReLU, linear: that is the smallest
# **multi-layer perceptron** (MLP). The numbers in the middle are its **hidden** units, their count
# is its **width**. The first weights are random, or all hidden units would learn the same.


# %%
def mlp(width):
    return tf.nn.Sequential(
        tf.nn.Flatten(), tf.nn.Linear(64, width), tf.nn.ReLU(), tf.nn.Linear(width, 10)
    )


print(mlp(64), "has", mlp(64).count_parameters(), "numbers to learn")

# %% [markdown]
# ## The training loop
#
# The gradient of all training images is more exact than one small step needs. Take only 100 of
# them, a **mini-batch**, and step at once; then the next 100. One pass through all images, in
# random order, is an **epoch**. This is the *stochastic* in stochastic gradient descent, **SGD**:
# for the work of one exact step, you get twelve that are about right.


# %%
def learn(net, images, optimizer, epochs, seed=0):
    loader = tf.data.Loader(images, batch_size=100, shuffle=True, seed=seed)
    for _ in range(epochs):
        for x, y in loader:  # (100, 8, 8, 1) and (100,)
            logits = net(tf.Tensor(x))
            loss = tf.cross_entropy(logits, y)
            optimizer.zero_grad()  # gradients add up, so forget the last ones
            loss.backward()
            optimizer.step()


tf.seed(0)
net = mlp(64)
learn(net, train, tf.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), epochs=20)
for name, data in (("training", train), ("validation", validation)):
    result = tf.train.evaluate(net, data)
    print(f"{name:10}  loss {result.loss:.3f}   right {result.accuracy:.1%}")

# %% [markdown]
# That is all there is to training. `tf.train.fit` is the same loop. It measures after each epoch;
# while you are still choosing, give it the validation set for that. (A schedule sets the learning
# rate of each epoch. `ConstantLR` leaves it alone.)

# %%
tf.seed(0)
same = mlp(64)
optimizer = tf.optim.SGD(same.parameters(), lr=0.1, momentum=0.9)
schedule = tf.optim.ConstantLR(optimizer, 20)
tf.train.fit(same, train, validation, optimizer, schedule, batch_size=100, quiet=True)
difference = np.abs(same[1].weight.numpy() - net[1].weight.numpy()).max()
print("largest difference between their weights:", difference)

# %% jupyter={"source_hidden": true}
assert difference < 1e-2 and len(tf.data.Loader(train, 100)) == 12
assert tf.train.evaluate(net, validation).accuracy > 0.93

# %% [markdown]
# Was the layer in between worth it? Train each from several random starts, and print the mean, with
# the worst and the best in brackets.

# %%
SEEDS = range(smaller("seeds", 3, in_browser=1))


def trained(make, images, epochs, seed, **settings):
    tf.seed(seed)
    net = make()
    optimizer = tf.optim.SGD(net.parameters(), **{"lr": 0.1, "momentum": 0.9, **settings})
    learn(net, images, optimizer, epochs, seed)
    return net


def scores(nets, data):
    return np.array([tf.train.evaluate(net, data).accuracy for net in nets])


def span(values):
    return f"{np.mean(values):.1%} ({np.min(values):.1%} to {np.max(values):.1%})"


def linear_net():
    return tf.nn.Sequential(tf.nn.Flatten(), tf.nn.Linear(64, 10))


compared = {}
for name, make in (("linear", linear_net), ("MLP", partial(mlp, 64))):
    nets = [trained(make, train, 20, seed) for seed in SEEDS]
    compared[name] = [scores(nets, train), scores(nets, validation)]
    print(f"{name:7} training {span(compared[name][0])}   validation {span(compared[name][1])}")

# %% jupyter={"source_hidden": true}
assert compared["MLP"][0].min() > compared["linear"][0].max() + 0.005
difference = compared["MLP"][1].mean() - compared["linear"][1].mean()
assert len(SEEDS) == 1 or difference < np.ptp(compared["MLP"][1])

# %% [markdown]
# The MLP learns training images that the linear layer does not. On new images the spread is as
# large as the difference: these digits are easy.
#
# ## Learning by heart
#
# Give the network 50 images and plenty of time. Both losses fall at first. Then only one does:

# %%
order = np.random.default_rng(0).permutation(len(train))
few = train[order[:50]]
tf.seed(0)
net = mlp(64)
optimizer = tf.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
curve = []
for epoch in range(200):
    learn(net, few, optimizer, epochs=1, seed=epoch)
    curve.append([tf.train.evaluate(net, few), tf.train.evaluate(net, validation)])

best = min(range(200), key=lambda epoch: curve[epoch][1].loss)
for epoch in (best, 199):
    on_few, on_new = curve[epoch]
    print(f"epoch {epoch + 1:3}: training loss {on_few.loss:.3f}", end="   ")
    print(f"validation loss {on_new.loss:.3f}, right {on_new.accuracy:.1%}")

# %% jupyter={"source_hidden": true}
plt.plot([both[0].loss for both in curve], color=BLUE, label="50 training images")
plt.plot([both[1].loss for both in curve], color=ORANGE, label="validation images")
plt.plot(best, curve[best][1].loss, "o", color=ORANGE)
plt.annotate("lowest", (best, curve[best][1].loss - 0.12), ha="center")
plt.ylim(0, 1.5)
plt.title("Both fall at first, then only one")
plt.xlabel("epoch")
plt.ylabel("loss")
plt.legend()
plt.show()
assert curve[-1][0].accuracy == 1 and curve[-1][0].loss < 0.01
assert curve[-1][1].loss > curve[best][1].loss + 0.02 and best < 150
assert abs(curve[-1][1].accuracy - curve[best][1].accuracy) < 0.05

# %% [markdown]
# In the end all 50 are right. On new images the loss grows, though the mistakes do not. Each
# mistake costs more: the network grows surer of everything, including what it gets wrong. Learning
# the examples at the expense of the rest is **overfitting**. Failing to learn even the examples is
# **underfitting**.
#
# ## Predict, then run
#
# We try widths from 1 to 256 on the same 50 images. At 256 there are hundreds of weights for each
# image. **Where is the validation accuracy best?** Sketch the curve.

# %% jupyter={"outputs_hidden": true}
widths = [1, 2, 4, 8, 16, 64, 256]
results = np.array(
    [
        [
            [tf.train.evaluate(net, data).accuracy for data in (few, validation)]
            for net in (trained(partial(mlp, width), few, 200, seed) for seed in SEEDS)
        ]
        for width in widths
    ]
)  # (7 widths, seeds, 2)
print("numbers to learn at width 256:", mlp(256).count_parameters())

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
for part, color, label in ((0, BLUE, "50 training images"), (1, ORANGE, "validation images")):
    plt.semilogx(widths, results[:, :, part].mean(1), "-", base=2, color=color, label=label)
    plt.plot(np.repeat(widths, len(SEEDS)), results[:, :, part].ravel(), "o", color=color, ms=4)
plt.xticks(widths, widths)
plt.xlabel("hidden units (each dot is one run)")
plt.ylabel("accuracy")
plt.title("More weights than images, and no worse")
plt.ylim(0, 1.05)
plt.legend()
plt.show()

# %% jupyter={"source_hidden": true}
assert 19_000 < mlp(256).count_parameters() < 20_000
assert results[0, :, 0].max() < 0.6 and results[3:, :, 0].min() == 1
assert results[-1, :, 1].mean() > results[:, :, 1].mean(1).max() - 0.04
assert results[-1, :, 1].min() > 0.75

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# With one hidden unit the network underfits. From 8 units on, all training images are right. But
# the validation accuracy does *not* fall when there are far more weights than images. The widest
# network is as good as any.
#
# </details>
#
# **Weight decay** adds a multiple $d$ of each weight to its gradient, so that every weight shrinks
# unless the images hold it up. Smaller weights make smaller logits, and so less certainty.

# %%
decayed = {}
for decay in (0.0, 0.003, 0.03, 0.3):
    nets = [trained(partial(mlp, 64), few, 200, seed, weight_decay=decay) for seed in SEEDS]
    losses = [tf.train.evaluate(net, validation).loss for net in nets]
    decayed[decay] = losses, scores(nets, validation)
    print(
        f"decay {decay:<6} loss {np.mean(losses):.2f} ({min(losses):.2f} to {max(losses):.2f})",
        end="",
    )
    print(f"   right {span(decayed[decay][1])}")

# %% jupyter={"source_hidden": true}
assert max(decayed[0.003][0]) < min(decayed[0.0][0]) and np.mean(decayed[0.3][0]) > 2
assert abs(decayed[0.003][1].mean() - decayed[0.0][1].mean()) < 0.02

# %% [markdown]
# A little decay lowers the loss in every run and leaves the accuracy as it was. With too much, the
# network learns nothing.
#
# ## Choosing on the validation set
#
# Learning rate, optimizer, width, decay: for these **hyperparameters** you have no gradient. You
# try. Three optimizers get five rates each; the lowest mean validation loss wins.

# %%
tries = {
    "SGD": (lambda p, lr: tf.optim.SGD(p, lr, momentum=0), (0.03, 0.1, 0.3, 1, 3)),
    "momentum": (lambda p, lr: tf.optim.SGD(p, lr, momentum=0.9), (0.01, 0.03, 0.1, 0.3, 1)),
    "Adam": (lambda p, lr: tf.optim.Adam(p, lr), (0.001, 0.003, 0.01, 0.03, 0.1)),
}
found = {}
for name, (make_optimizer, rates) in tries.items():
    for lr in rates:
        for seed in SEEDS:
            tf.seed(seed)
            net = mlp(64)
            learn(net, train, make_optimizer(net.parameters(), lr), epochs=20, seed=seed)
            found[name, lr, seed] = net, tf.train.evaluate(net, validation)

mean_loss = {(name, lr): 0.0 for name, lr, _ in found}
for (name, lr, _), (_, result) in found.items():
    mean_loss[name, lr] += result.loss / len(SEEDS)
winner = min(mean_loss, key=mean_loss.get)
print(f"the winner: {winner[0]}, lr {winner[1]}, validation loss {mean_loss[winner]:.3f}")

# %% jupyter={"source_hidden": true}
for (name, (_, rates)), color in zip(tries.items(), (BLUE, ORANGE, GREEN)):
    plt.loglog(rates, [mean_loss[name, lr] for lr in rates], "-", color=color, label=name)
    dots = [(lr, result.loss) for (n, lr, _), (_, result) in found.items() if n == name]
    plt.plot(*np.array(dots).T, "o", color=color, ms=4)
lowest = {name: min(mean_loss[name, lr] for lr in rates) for name, (_, rates) in tries.items()}
worst = {name: max(mean_loss[name, lr] for lr in rates) for name, (_, rates) in tries.items()}
assert abs(lowest["momentum"] - lowest["Adam"]) < 0.1 * min(worst.values())
plt.plot(winner[1], mean_loss[winner], "o", mfc="none", mec="black", ms=14)
plt.xlabel("learning rate (each dot is one run)")
plt.ylabel("validation loss")
plt.title("Three optimizers, each with a valley of its own")
plt.legend()
plt.show()

# %% [markdown]
# A bad rate costs far more than the choice between momentum and Adam. Never compare one optimizer's
# best rate with another's first guess.
#
# ## Predict, then run
#
# Why not choose on the test set, and save the trouble? Take 1,000 "networks" that roll a ten-sided
# die for every image. Choose the best of them on 100 validation images. **What share of these 100
# does it get right? And of the other 187?**

# %% jupyter={"outputs_hidden": true}
rng = np.random.default_rng(0)
dice = rng.integers(0, 10, size=(1000, len(y_val))) == y_val  # (1000, 287): right or wrong
champion = dice[:, :100].mean(axis=1).argmax()
print(f"on the 100 that chose it:  {dice[champion, :100].mean():.0%} right")
print(f"on the other {len(y_val) - 100}:          {dice[champion, 100:].mean():.0%} right")

# %% jupyter={"source_hidden": true}
assert dice[champion, :100].mean() > 0.17 and dice[champion, 100:].mean() < 0.15

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# On the images that chose it, nearly twice as many as a die should. On the others, one in ten
# again. The champion was lucky on 100 images, and we chose it *for its luck*. **The best of many
# tries looks better than it is on the set that chose it.**
#
# </details>
#
# Real networks differ in skill too. Take those of our search: choose by 100 random validation
# images, check the champion on the rest, and average over 500 such draws.

# %%
right = np.array(
    [
        tf.train.predict(net, validation.images).argmax(axis=1) == y_val
        for net, result in found.values()
    ]
)
counts = [count for count in (1, 2, 5, 10, 20) if count < len(right)] + [len(right)]
mistakes = np.zeros((len(counts), 500, 2))  # (number of tries, draw, chosen by or fresh)
for i, count in enumerate(counts):
    for draw in range(500):
        images, some = rng.permutation(len(y_val)), rng.permutation(len(right))[:count]
        chooser, fresh = images[:100], images[100:]
        best = some[right[some][:, chooser].mean(axis=1).argmax()]
        mistakes[i, draw] = 1 - right[best, chooser].mean(), 1 - right[best, fresh].mean()
for count, (chosen, true) in zip(counts, mistakes.mean(axis=1)):
    print(
        f"best of {count:2}: {chosen:.1%} mistakes where it was chosen, {true:.1%} on fresh images"
    )

# %% jupyter={"source_hidden": true}
for part, color, label in ((1, BLUE, "on fresh images"), (0, ORANGE, "on the 100 that chose it")):
    plt.plot(counts, 100 * mistakes[:, :, part].mean(1), "o-", color=color, label=label)
plt.xlabel("networks tried")
plt.ylabel("mistakes of the best, %")
plt.ylim(0, None)
plt.title("The more you try, the more the winner flatters itself")
plt.legend()
plt.show()
assert abs(mistakes[0, :, 0].mean() - mistakes[0, :, 1].mean()) < 0.015
assert mistakes[-1, :, 0].mean() < (0.5 if len(SEEDS) > 1 else 0.9) * mistakes[-1, :, 1].mean()

# %% [markdown]
# With one try, both numbers agree. With many, the champion gets better, and looks better still: in
# the end it shows less than half of its mistakes. So keep a test set that never chose anything. The
# later chapters do the same.
#
# ## Opening the test set, once
#
# The choice is made: the winner above, from its first random start. Now, once:

# %%
net, on_validation = found[*winner, 0]
on_test = tf.train.evaluate(net, test)
spread = np.sqrt(on_test.accuracy * (1 - on_test.accuracy) / len(test))
print(f"validation {on_validation.accuracy:.1%}, test {on_test.accuracy:.1%} ± {spread:.1%}")

# %% [markdown]
# The ± is one standard error: how far luck with these images moves the number. As you now expect of
# a champion, the test number is the lower one. Here is all it got wrong, white on black, with the
# true digit and its answer:

# %% jupyter={"source_hidden": true}
said = tf.train.predict(net, test.images).argmax(axis=1)
assert 0 < (said != test.labels).sum() < 0.07 * len(test)
assert len(SEEDS) == 1 or on_test.accuracy < on_validation.accuracy
tf.plot.plot_mistakes(test.images, test.labels, said, test.classes, limit=16)

# %% [markdown]
# ## What you now own
#
# You can train a network with nothing but NumPy: scores, softmax, cross-entropy, and the gradient
# $p - y$ that tells every score which way to move. You know why a step can be too large and what
# momentum and Adam do about it. And you own the habit that makes results worth believing: learn on
# one set, choose on a second, report on a third, once.
#
# ## Now read the source
#
# - [`ops/loss.py`](../tinyfractal/ops/loss.py): `cross_entropy` is yours, with `q` for the one-hot
#   row. $p - q$ is `_gradient` in [`fast/loss.py`](../tinyfractal/fast/loss.py).
# - [`nn/layers.py`](../tinyfractal/nn/layers.py): `Linear`.
# - [`optim/methods.py`](../tinyfractal/optim/methods.py): `SGD.update` and `Adam.adapt` are your
#   rules, in place (`w -= …`), so that the network sees the new values.
# - [`optim/schedule.py`](../tinyfractal/optim/schedule.py) changes the rate from epoch to epoch.
# - [`train/loop.py`](../tinyfractal/train/loop.py): `train_epoch` is your loop. `fit` adds what a
#   long run needs, such as checkpoints.
# - [`data/dataset.py`](../tinyfractal/data/dataset.py): `split` takes the same share of every
#   class.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/05_learning.py`.
#
# **1. Log-sum-exp.** Write $\log \sum_j e^{z_j}$ for each row of `z` `(N, K)`, so that neither
# logits of 1000 nor of −1000 break it. Return `(N,)`.


# %%
def logsumexp(z): ...


check_logsumexp(logsumexp)

# %% [markdown]
# **2. Not quite sure.** *Label smoothing* asks the network for a little less than certainty. With
# $K$ classes, the target $q$ has $s / K$ everywhere, and $1 - s$ more at the right class; the loss
# is the mean of $-\sum_k q_k \log p_k$ over the images. Write its gradient with respect to the
# logits `z` `(N, K)`.


# %%
def smoothed_gradient(z, y, s): ...


check_smoothed(smoothed_gradient)

# %% [markdown]
# **3. How fast is too fast?** A surface has the height $f(a, b) = 3 a^2 + 8 b^2 + 2 a b$ at
# $(a, b)$. From which learning rate on does gradient descent fly away? Answer to within 2 %. (Try,
# or compute: $\lambda$ is the largest eigenvalue of the matrix of second derivatives.)

# %%
largest_rate = ...

check_rate(largest_rate)

# %% [markdown]
# **4. Look ahead.** Nesterov's momentum takes the gradient where its momentum is about to carry it:
#
# $$v \leftarrow \beta v + \nabla f(w - \text{lr}\, \beta v),
# \qquad w \leftarrow w - \text{lr}\, v$$
#
# Return the place after `steps` steps from `start`, an array; `gradient(w)` is $\nabla f$.


# %%
def nesterov(gradient, start, lr, beta, steps): ...


check_nesterov(nesterov)
