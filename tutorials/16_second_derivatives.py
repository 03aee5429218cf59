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
# # 16. What can a derivative of a derivative do?
#
# *45 minutes. Afterwards you can read [`engine/anomaly.py`](../tinyfractal/engine/anomaly.py),
# [`fast/fused.py`](../tinyfractal/fast/fused.py), and the rest of
# [`engine/primitive.py`](../tinyfractal/engine/primitive.py) and
# [`engine/node.py`](../tinyfractal/engine/node.py).*
#
# Two walkers start at the same point of the same valley. Both feel the slope under their feet. One
# of them also knows how the slope *changes*. Watch who gets down first.

# %% jupyter={"source_hidden": true}
import re

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf
from tinyfractal.engine import backward_order
from tinyfractal.errors import AnomalyError, GraphError

from exercises.second_derivatives import check_hvp, check_length, check_noticed, check_penalty
from figures import BLUE, GRAY, GREEN, ORANGE, PURPLE, animate, use_style
from smaller import smaller

use_style()
np.seterr(divide="ignore", invalid="ignore")  # NumPy would warn, but not say whose line it was


def by_hand(p):
    """Gradient and Hessian of the valley, worked out on paper."""
    u, v = p[0] + p[1], 5 * (p[0] - p[1])
    a, b = 2 * np.sinh(u), 10 * np.sinh(v)
    c, d = 2 * np.cosh(u), 50 * np.cosh(v)
    return np.array([a + b, a - b]), np.array([[c + d, c - d], [c - d, c + d]])


START, STEPS = np.array([1.36, 1.24]), 30
descent, newton = [START], [START]
for _ in range(STEPS):
    g, _ = by_hand(descent[-1])
    descent.append(descent[-1] - 0.0187 * g)
    g, H = by_hand(newton[-1])
    newton.append(newton[-1] - np.linalg.solve(H, g))
descent, newton = np.array(descent), np.array(newton)

# %% tags=["thumbnail"] jupyter={"source_hidden": true}
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4), width_ratios=(3, 2))
across, up = np.meshgrid(np.linspace(-0.5, 1.8, 120), np.linspace(-0.5, 1.6, 120))
heights = np.cosh(across + up) + np.cosh(5 * (across - up))
left.contour(across, up, np.log(heights), 12, colors="#D5DAE0", linewidths=0.8)
left.plot(0, 0, "*", ms=13, color=PURPLE, label="lowest point", zorder=5)
left.set(xlabel="$p_0$", ylabel="$p_1$", title="The walk, seen from above")
right.set(xlim=(0, STEPS), ylim=(1e-6, 5), yscale="log", xlabel="step")
right.set_title("Distance from the lowest point")
walks = [(descent, BLUE, "gradient descent"), (newton, ORANGE, "Newton's method")]
lines = [
    (walk, *(axes.plot([], [], "o-", ms=3, lw=1.3, color=color, label=name)[0] for axes in pair))
    for (walk, color, name), pair in zip(walks, [(left, right)] * 2)
]
left.legend(loc="lower right", fontsize=9)
for axes in (left, right):
    axes.grid(False)
figure.canvas.draw()
figure.set_layout_engine("none")


def draw(step):
    for walk, path, distance in lines:
        path.set_data(*walk[: step + 1].T)
        distance.set_data(range(step + 1), np.linalg.norm(walk[: step + 1], axis=1))


assert np.linalg.norm(descent[30]) > 0.03 and np.linalg.norm(newton[5]) < 1e-6
animate(
    figure,
    draw,
    frames=STEPS + 1,
    seconds=7,
    colors=64,
    alt="Gradient descent zigzags between the walls of a narrow valley and is still on its way "
    "after 30 steps; Newton's method goes straight down and arrives after five.",
)

# %% [markdown]
# Gradient descent bounces from wall to wall, and after 30 steps it still has a way to go. Newton's
# method arrives in five, because it divides by second derivatives. For this picture we worked those
# out on paper. In this chapter the engine finds them, for any function and without a single new
# rule: it differentiates its own `backward`.
#
# ## A gradient has a history
#
# `tf.grad` returns a gradient instead of leaving it in `.grad`. Ask it twice for the slope of the
# sine, which is the cosine:

# %%
x = tf.Tensor(1.0, requires_grad=True)
print("a plain gradient:   ", tf.grad(tf.sin(x), x))
slope = tf.grad(tf.sin(x), x, create_graph=True)
print("with create_graph:  ", slope)
print("its own gradient:   ", tf.grad(slope, x), " and minus the sine:", -tf.sin(x).item())

# %% [markdown]
# The first answer is a number. The second is the same number `from mul`: it remembers how it was
# made. The rule of the sine says `g * cos(x)`, and that is a product and a cosine, which both have
# rules of their own. Given arrays, the rule just computes. Given Tensors, it is recorded like any
# other computation. That is all that `create_graph=True` does: it passes Tensors to the rules.
#
# So we can go on as long as we like. Each of these curves is the slope of the one before.
# `gradcheck` with `order=3` compares the third derivative with finite differences (chapter 1).

# %%
x = tf.Tensor(np.linspace(-3, 3, 200), requires_grad=True)
curves = [tf.tanh(x)]
for _ in range(3):
    curves.append(tf.grad(curves[-1].sum(), x, create_graph=True))
print(tf.gradcheck(tf.tanh, [0.3, -1.2], order=3))

# %% jupyter={"source_hidden": true}
names = ("tanh", "1st derivative", "2nd", "3rd")
for curve, color, name in zip(curves, (GRAY, BLUE, ORANGE, PURPLE), names):
    plt.plot(x.numpy(), curve.numpy(), color=color, label=name)
plt.xlabel("x")
plt.title("tanh, differentiated three times")
plt.legend(ncols=2)
plt.show()

# %% [markdown]
# (The `.sum()` is a trick. Only a single number has a gradient by itself, and since each point of
# the curve depends on its own $x$ alone, the gradient of the sum is all 200 slopes at once.)
#
# ## How far to go
#
# The slope says which way is down. It does not say how far. The **curvature**, the slope of the
# slope, helps: near $x$ a smooth function looks like a parabola, and you can jump to the parabola's
# lowest point. The orange and purple parabolas touch the curve where we stand, first at 0, then
# where the first jump landed.

# %% jupyter={"source_hidden": true}
line = np.linspace(-0.6, 1.5, 200)
plt.figure(figsize=(6.4, 3.0))
plt.plot(line, np.exp(line) - 2 * line, color=GRAY, label="$e^x - 2x$")
at = 0.0
for color, name in ((ORANGE, "parabola at 0"), (PURPLE, "parabola at 1")):
    value, first, second = np.exp(at) - 2 * at, np.exp(at) - 2, np.exp(at)
    bottom = at - first / second
    parabola = value + first * (line - at) + second * (line - at) ** 2 / 2
    plt.plot(line, parabola, color=color, lw=1.2, label=name)
    plt.plot(at, value, "o", color=color)
    plt.plot(bottom, value - first**2 / second / 2, "v", color=color)
    at = bottom
plt.axvline(np.log(2), color=GREEN, lw=1, ls=":", label="the minimum")
plt.ylim(0.3, 2.2)
plt.xlabel("x")
plt.title("Jump to the bottom of the parabola (▼)")
plt.legend(loc="upper center", fontsize=9)
plt.show()

# %% [markdown]
# $$x_{\text{next}} = x - \frac{f'(x)}{f''(x)}$$
#
# This is **Newton's method**. The lowest point of $e^x - 2x$ lies where $e^x = 2$, at $\log 2$.


# %%
def newton_step(f, x):
    x = tf.Tensor(x, requires_grad=True, dtype=np.float64)
    slope = tf.grad(f(x), x, create_graph=True)
    curvature = tf.grad(slope, x)
    return x.item() - slope.item() / curvature.item()


point, errors = 0.0, []
for step in range(6):
    errors.append(abs(point - np.log(2)))
    print(f"step {step}: x = {point:.15f}   error {errors[-1]:.1e}")
    point = newton_step(lambda x: tf.exp(x) - 2 * x, point)

# %% jupyter={"source_hidden": true}
assert errors[5] < 1e-12
assert all(abs(errors[i + 1] / (errors[i] ** 2 / 2) - 1) < 0.05 for i in (2, 3))

# %% [markdown]
# Near the end the number of right digits doubles at every step: each error is about half the
# *square* of the one before.
#
# ## Into the valley
#
# With several numbers the slope becomes a gradient $\mathbf g$, and the curvature a matrix, the
# **Hessian** $H$: its row $i$ is the gradient of $g_i$. Dividing by the curvature becomes solving a
# system of equations with $H$: the step is $H^{-1} \mathbf g$. Here is the valley of the first
# picture, from the same starting point.


# %%
def valley(p):
    u, v = p[0] + p[1], 5 * (p[0] - p[1])
    return tf.exp(u) + tf.exp(-u) + tf.exp(v) + tf.exp(-v)


def gradient_and_hessian(f, point):
    p = tf.Tensor(point, requires_grad=True)
    g = tf.grad(f(p), p, create_graph=True)  # (2,)
    # Each row walks back through the same graph, so it must not be freed after the first.
    rows = [tf.grad(g[i], p, retain_graph=True).numpy() for i in range(len(g))]
    return g.numpy(), np.stack(rows)  # (2,), (2, 2)


p = START  # (1.36, 1.24)
for step in range(5):
    g, H = gradient_and_hessian(valley, p)
    p = p - np.linalg.solve(H, g)
    print(f"step {step + 1}: distance from the lowest point {np.linalg.norm(p):.1e}")

H = gradient_and_hessian(valley, [0.0, 0.0])[1]
print("Hessian there:", H.tolist(), " its eigenvalues:", np.linalg.eigvalsh(H).round(9))

# %% jupyter={"source_hidden": true}
assert np.allclose(p, newton[5], atol=1e-12)
assert np.allclose(np.linalg.eigvalsh(H), [4, 100])
for place in (START, newton[1], descent[7]):
    for found, expected in zip(gradient_and_hessian(valley, place), by_hand(place)):
        assert np.allclose(found, expected, rtol=1e-9)

# %% [markdown]
# The engine takes the same walk as we did on paper. The eigenvalues are the curvatures along the
# floor of the valley and across it: the walls are 25 times as curved as the floor. Gradient descent
# has one step size for both. Small enough not to bounce out of the walls, it is far too small for
# the floor. Solving with $H$ gives each direction a step of its own.
#
# ## Predict, then run
#
# The curve $x^4 - 2x^2$ has a hill at 0 between two valleys at $-1$ and $1$. Start both walkers
# near the top, at $x = 0.3$. **Where does each of them end?**


# %% jupyter={"outputs_hidden": true}
def hill(x):
    return x**4 - 2 * x**2


slow = quick = 0.3
for _ in range(50):
    x = tf.Tensor(slow, requires_grad=True, dtype=np.float64)
    slow -= 0.1 * tf.grad(hill(x), x).item()
    quick = newton_step(hill, quick)
print(f"gradient descent: {slow:.6f}   Newton's method: {abs(quick):.6f}")

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
line = np.linspace(-1.4, 1.4, 200)
plt.figure(figsize=(6.4, 2.6))
plt.plot(line, hill(line), color=GRAY)
plt.plot(0.3, hill(0.3), "o", color="black", label="start")
plt.plot(slow, hill(slow), "o", ms=9, color=BLUE, label="gradient descent ends here")
plt.plot(quick, hill(quick), "o", ms=9, color=ORANGE, label="Newton's method ends here")
plt.xlabel("x")
plt.title("Newton's method goes where the slope is zero, uphill if need be")
plt.ylim(-1.2, 1.4)
plt.legend(loc="upper center", fontsize=9)
plt.show()
assert abs(slow - 1) < 1e-6 and abs(quick) < 1e-12

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Gradient descent rolls into the valley at 1. Newton's method climbs to the top. Near the top the
# parabola that fits opens downward, so its flat point is its *highest* point, and the method jumps
# there. Newton's method looks for a slope of zero, and a top or a saddle has that too.
#
# </details>
#
# In a network such places are common. Here is a small one with 13 weights, at five random starts.
# The eigenvalues of its Hessian are the curvatures along 13 directions.

# %%
inputs = np.random.default_rng(0).normal(size=(50, 2))
target = np.sign(inputs[:, :1] * inputs[:, 1:])  # (50, 1): do the two have the same sign?


def network_loss(p):
    hidden = tf.tanh(tf.Tensor(inputs) @ p[:6].reshape(2, 3) + p[6:9])
    output = hidden @ p[9:12].reshape(3, 1) + p[12]
    return tf.mse_loss(output, tf.Tensor(target))


downward = []
for seed in range(5):
    weights = np.random.default_rng(seed).normal(size=13)
    _, H = gradient_and_hessian(network_loss, weights)
    downward.append(int((np.linalg.eigvalsh(H) < 0).sum()))
print("directions that curve downward, of 13:", downward)

# %% jupyter={"source_hidden": true}
assert min(downward) > 0

# %% [markdown]
# Along each of those directions Newton's step goes uphill. That is one reason why networks are not
# trained with it. The other is size: the Hessian of a million weights has a million times a million
# numbers. But you rarely need the whole matrix. The product of $H$ with one vector costs just two
# backward passes (exercise 1).
#
# ## A penalty on the slope
#
# A derivative of a derivative also lets you *train* on a slope. Here are 40 noisy points of a sine
# and a network with a hidden layer of 50 steep steps, enough to run after the noise. We add to the
# loss the mean square of the curve's slope: a **gradient penalty**. The slope is a `tf.grad`, and
# `loss.backward()` differentiates it once more, with respect to the weights. Wasserstein GANs,
# networks that generate images, are trained with a penalty of this kind (Gulrajani et al. 2017).

# %%
line = np.linspace(-3, 3, 100)[:, None]  # (100, 1)


def slope_of(net, create_graph=False):
    x = tf.Tensor(line, requires_grad=True)
    return tf.grad(net(x).sum(), x, create_graph=create_graph)


def fit(points, values, strength, steps=300):
    net = steep_network()
    optimizer = tf.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = tf.mse_loss(net(tf.Tensor(points)), tf.Tensor(values))
        if strength:
            loss = loss + strength * (slope_of(net, create_graph=True) ** 2).mean()
        loss.backward()
        optimizer.step()
    return net


# %% jupyter={"source_hidden": true}
def steep_network():
    """One hidden layer: 50 steep steps side by side, so that the curve can wiggle."""
    net = tf.nn.Sequential(tf.nn.Linear(1, 50), tf.nn.Tanh(), tf.nn.Linear(50, 1))
    net = net.astype(np.float64)
    with tf.no_grad():
        net[0].weight.copy_(tf.Tensor(np.full((1, 50), 12.0)))
        net[0].bias.copy_(tf.Tensor(np.linspace(-36, 36, 50)))
    return net


def noisy_sine(rng):
    points = np.sort(rng.uniform(-3, 3, (40, 1)), axis=0)
    return points, np.sin(points) + 0.3 * rng.normal(size=points.shape)


def distance(net, points, values):
    with tf.no_grad():
        return float(np.sqrt(((net(tf.Tensor(points)).numpy() - values) ** 2).mean()))


# %% [markdown]
# How strong should the penalty be? We try none and three strengths on several draws of the noise,
# and choose by 40 *other* noisy points, the validation set. Only then do we compare with the sine
# itself.

# %%
DRAWS = smaller("draws", 5, in_browser=2)
STRENGTHS = (0, 0.005, 0.05, 0.5)
judged, truth, nets = {}, {}, {}
for strength in STRENGTHS:
    judged[strength], truth[strength] = [], []
    for seed in range(DRAWS):
        tf.seed(seed)
        rng = np.random.default_rng(seed)
        training, validation = noisy_sine(rng), noisy_sine(rng)
        nets[strength, seed] = net = fit(*training, strength)
        judged[strength].append(distance(net, *validation))
        truth[strength].append(distance(net, line, np.sin(line)))
    low, mean, high = np.min(judged[strength]), np.mean(judged[strength]), np.max(judged[strength])
    print(f"strength {strength:<5}  validation error {mean:.3f}  ({low:.2f} to {high:.2f})")

best = min(STRENGTHS, key=lambda strength: np.mean(judged[strength]))
for strength in (0, best):
    low, mean, high = np.min(truth[strength]), np.mean(truth[strength]), np.max(truth[strength])
    print(f"strength {strength:<5}  distance to the sine {mean:.2f}  ({low:.2f} to {high:.2f})")

# %% [markdown]
# With the best strength the distance to the sine is about half as large on average, and smaller in
# every single draw. (The two middle strengths are close: the draws differ by more.) Too strong a
# penalty flattens the sine. Here is the first draw. Follow the orange curve from point to point:

# %% jupyter={"source_hidden": true}
assert best == 0.05 or DRAWS < 5
assert np.mean(truth[best]) < 0.6 * np.mean(truth[0]) or DRAWS < 5
assert all(calm < free for calm, free in zip(truth[best], truth[0]))
assert np.mean(judged[0.5]) > np.mean(judged[best])
points, values = noisy_sine(np.random.default_rng(0))
plt.plot(points, values, "o", color="black", ms=4, label="the noisy points")
plt.plot(line, np.sin(line), color=GRAY, lw=1, ls="--", label="sine")
for strength, color, name in ((0, ORANGE, "no penalty"), (best, BLUE, "slope penalised")):
    plt.plot(line, nets[strength, 0](tf.Tensor(line)).numpy(), color=color, label=name)
plt.xlabel("x")
plt.title("A penalty on the slope calms the curve")
plt.legend(fontsize=9)
plt.show()

# %% [markdown]
# ## When a rule is written by hand
#
# There is one obstacle. For speed, some functions have a **fused** rule: many small steps done in
# one, on plain arrays. Such a rule cannot be recorded. So each of these functions keeps its
# readable definition, the *reference*, beside it, and under `create_graph=True` the engine
# differentiates that. Inside `tf.reference()` the library runs the definitions themselves, and you
# can see their steps:

# %%
logits = tf.Tensor(np.random.default_rng(0).normal(size=(4, 3)), requires_grad=True)
labels = np.array([0, 1, 2, 0])


def steps_of_cross_entropy():
    nodes = backward_order([tf.cross_entropy(logits, labels).node])
    return [node.primitive.__name__ for node in nodes]


print("as usual: ", steps_of_cross_entropy())
with tf.reference():
    print("reference:", steps_of_cross_entropy())

# %% jupyter={"source_hidden": true}
usual = tf.grad(tf.cross_entropy(logits, labels), logits).numpy()
with tf.reference():
    assert np.allclose(tf.grad(tf.cross_entropy(logits, labels), logits).numpy(), usual)
assert tf.gradcheck(lambda z: tf.cross_entropy(z, labels), logits, order=2).excess < 1

# %% [markdown]
# ## Changed behind its back
#
# A graph that waits to be differentiated again lives longer, and more can happen to it meanwhile. A
# node keeps the very array it saw, not a copy. If an optimizer changes that array before `backward`
# comes, the rule computes with wrong numbers, and a wrong gradient looks like any other. So every
# Tensor counts its changes in `version`. A node notes this count with everything it keeps, and
# compares when `backward` comes.
#
# **Predict:** we compute $\sin x$ and $e^x$, change $x$ in place, and ask for both gradients. Which
# of the two does the engine refuse?

# %% jupyter={"outputs_hidden": true}
for function in (tf.sin, tf.exp):
    x = tf.Tensor([0.5, 1.0], requires_grad=True)
    y = function(x).sum()
    with tf.no_grad():
        x += 1  # as an optimizer does
    try:
        y.backward()
        print(f"{function.__name__}: {x.grad}")
    except GraphError as error:
        print(f"{function.__name__}: {error}")

# %% jupyter={"source_hidden": true}
assert function is tf.exp and np.allclose(x.grad.numpy(), np.exp([0.5, 1.0]))

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# Only `sin`. Its rule asks for the input, and the input was changed. The rule of `exp` asks for its
# output (chapter 4), which nobody touched, so its gradient is right for the $x$ that it saw.
#
# </details>
#
# ## The first NaN
#
# Penalties often contain the *length* of a gradient, and that is a trap:


# %%
def length(v):
    return tf.sqrt((v * v).sum())


v = tf.Tensor([0.0, 0.0], requires_grad=True)
y = length(v)
y.backward()
print("length", y.item(), "  gradient", v.grad.numpy())

# %% [markdown]
# The length is right. The gradient is not a number, and one step later neither is any weight. By
# the time you notice, NaN is everywhere, and the question is which line made the first one. Inside
# `detect_anomaly` the engine checks every value and every gradient, and remembers for each node the
# line of *your* code (in a notebook, Jupyter's number for the cell stands for the file):

# %%
try:
    with tf.detect_anomaly():
        length(v).backward()
except AnomalyError as error:
    report = re.sub(r"\S*[/\\]", "", str(error))  # without the folder of the file
    print(report)

# %% jupyter={"source_hidden": true}
assert np.isnan(v.grad.numpy()).all()
assert "gradient of sqrt" in report and "tf.sqrt((v * v).sum())" in report

# %% [markdown]
# The slope of $\sqrt{s}$ is $1 / (2\sqrt{s})$, infinite at 0. The rule of $v \cdot v$ multiplies
# this infinity by a $v$ of 0, and that product is NaN. The checks cost time, so switch them on only
# while you search. Exercise 4 is the cure.
#
# ## What you now own
#
# You can ask for a derivative of anything, gradients included, because a gradient is a computation
# like any other. With second derivatives you choose the length of a step, or train a network on its
# own slope. You know why Newton's method is quick and why it does not train networks. And you have
# seen the engine refuse a gradient that would be wrong, and name the line behind a NaN.
#
# ## Now read the source
#
# - [`engine/primitive.py`](../tinyfractal/engine/primitive.py): `with_history` passes Tensors to
#   the rules when they are to be recorded.
# - [`engine/tensor.py`](../tinyfractal/engine/tensor.py): `grad`, and `changed`, which counts.
# - [`engine/node.py`](../tinyfractal/engine/node.py): `check_unchanged` compares the counts.
# - [`engine/anomaly.py`](../tinyfractal/engine/anomaly.py): `user_line` finds the line of your
#   code; `looking_for_nan` in [`engine/backward.py`](../tinyfractal/engine/backward.py) wraps the
#   rule.
# - [`engine/definition.py`](../tinyfractal/engine/definition.py): how a quick rule takes the place
#   of a definition, and [`fast/fused.py`](../tinyfractal/fast/fused.py): `gradients_of_reference`,
#   the subtlest function of the library.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/16_second_derivatives.py`.
#
# **1. The Hessian times a vector.** Return $H v$ for a function of an array $x$ of any length,
# without building $H$. Two calls of `tf.grad` are enough: what number has $H v$ as its gradient?


# %%
def hvp(f, x, v): ...


check_hvp(hvp)

# %% [markdown]
# **2. A penalty that works.** Return the mean square error of `net` at `x`, an array of shape
# (N, 1), plus `strength` times the mean square slope of the curve at these points. Its gradient
# with respect to the weights must be right as well.


# %%
def penalised(net, x, target, strength): ...


check_penalty(penalised)

# %% [markdown]
# **3. Which are refused?** For each of these, $x$ is changed in place after the forward pass. For
# which does the engine refuse `backward`? Answer with a list of names. Read the rules in
# [`ops/elementwise.py`](../tinyfractal/ops/elementwise.py) first, and do not run them.

# %%
changes = {
    "x * 2": lambda x: x * 2,
    "x * x": lambda x: x * x,
    "x / 2": lambda x: x / 2,
    "2 / x": lambda x: 2 / x,
    "x ** 3": lambda x: x**3,
    "sqrt": tf.sqrt,
    "softplus": tf.softplus,
    "relu": tf.relu,
}
refused = ...

check_noticed(changes, refused)

# %% [markdown]
# **4. A safe length.** Write `length` again, with the same value but with a gradient of 0 at 0.
# (Careful: `tf.where` computes both sides, and 0 times infinity is not 0.)


# %%
def safe_length(v): ...


check_length(safe_length)
