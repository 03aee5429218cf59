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
# # 1. What is a derivative to a computer?
#
# *20 minutes. Afterwards you can read [`engine/gradcheck.py`](../tinyfractal/engine/gradcheck.py).*
#
# A small network has a quarter of a million numbers to learn. For each of them it asks: *if this
# number grew a little, would my error grow or shrink, and how fast?* By trying, that takes half a
# million runs of the network. This chapter shows why one run and one walk back are enough.
#
# The answer to the question is a **derivative**. You compute it in two ways: by trying, which is
# always a little wrong, and by the chain rule, which is exact and nearly free.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.derivatives import check_chain, check_second, check_step, check_suspect
from figures import BLUE, GRAY, ORANGE, PURPLE, animate, use_style

use_style()

# %% [markdown]
# ## Nudge and look
#
# The derivative of a curve at $x$ is its slope there. To measure it, nudge $x$ by a step $h$ and
# draw the line through the two points. Watch it while $h$ shrinks:

# %% jupyter={"source_hidden": true}
x = 1.0
truth = math.cos(x)  # school calculus: the derivative of sin is cos
t = np.linspace(-0.1, 2.7, 200)
figure, axes = plt.subplots(figsize=(6.0, 3.0), layout="none")
figure.subplots_adjust(left=0.1, right=0.98, bottom=0.16, top=0.91)
shown = np.geomspace(1.5, 0.02, 20)


def secant(frame):
    h = shown[frame]
    slope = (math.sin(x + h) - math.sin(x)) / h
    axes.clear()
    axes.plot(t, np.sin(t), color=BLUE)
    axes.plot(t, math.sin(x) + truth * (t - x), "--", color=GRAY, lw=1.2)
    axes.plot(t, math.sin(x) + slope * (t - x), color=ORANGE)
    axes.plot([x, x + h], np.sin([x, x + h]), "o", color=ORANGE)
    axes.text(1.25, 0.3, f"h = {h:.2f}   slope {slope:6.3f}", color=ORANGE, fontsize=12)
    axes.text(1.25, 0.15, f"tangent: slope {truth:6.3f}", color=GRAY, fontsize=12)
    axes.text(2.3, 0.82, "sin(x)", color=BLUE)
    axes.set(xlim=(-0.1, 2.7), ylim=(0, 1.5), xlabel="x", ylabel="sin(x)")
    axes.set_title("The line through two points becomes the tangent")


animate(figure, secant, 20, alt="A line through two points of the sine turns into the tangent.")

# %% [markdown]
# $$f'(x) = \lim_{h \to 0} \frac{f(x + h) - f(x)}{h}$$
#
# A computer cannot take a limit, but it can take a small $h$. This is the **forward difference**:


# %%
def forward_difference(f, x, h):
    return (f(x + h) - f(x)) / h


for h in (0.1, 0.01, 0.001, 0.0001):
    slope = forward_difference(math.sin, x, h)
    print(f"h = {h:<8} slope {slope:.8f}   error {abs(slope - truth):.1e}")

# %% [markdown]
# With a ten times smaller $h$, the error is ten times smaller.
#
# ## A better nudge
#
# Step to *both* sides instead. With the same $h$, the line is almost parallel to the tangent:

# %% jupyter={"source_hidden": true}
_, panels = plt.subplots(1, 2, figsize=(7.2, 2.8), sharey=True)
h = 0.6
for axes, left, name in zip(panels, (x, x - h), ("Forward", "Central")):
    ends = np.array([left, x + h])
    rise, run = np.diff(np.sin(ends))[0], np.diff(ends)[0]
    axes.plot(t, np.sin(t), color=BLUE)
    axes.plot(t, math.sin(x) + truth * (t - x), "--", color=GRAY, lw=1.2)
    axes.plot(t, math.sin(left) + rise / run * (t - left), color=ORANGE)
    axes.plot(ends, np.sin(ends), "o", color=ORANGE)
    axes.set(xlim=(-0.1, 2.7), ylim=(0, 1.5), xlabel="x")
    axes.set_title(f"{name}: slope {rise / run:.3f}, tangent {truth:.3f}")
panels[0].set_ylabel("sin(x)")
plt.show()

# %% [markdown]
# This is the **central difference**:
#
# $$f'(x) \approx \frac{f(x + h) - f(x - h)}{2h}$$


# %%
def central_difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


for h in (0.1, 0.01, 0.001, 0.0001):
    slope = central_difference(math.sin, x, h)
    print(f"h = {h:<8} slope {slope:.12f}   error {abs(slope - truth):.1e}")

# %% [markdown]
# Now each line is a *hundred* times better than the one before. Taylor's formula says why. Put
# $f(x \pm h) = f(x) \pm hf'(x) + \tfrac{h^2}{2}f''(x) \pm \tfrac{h^3}{6}f'''(x) + \dots$ into the
# two differences. In the central one $f''$ cancels:
#
# $$\text{forward: error} \approx \tfrac{h}{2}f''(x)
# \qquad \text{central: error} \approx \tfrac{h^2}{6}f'''(x)$$
#
# Do we measure that? (An `assert` stops the chapter if what follows it is not true.)

# %%
h = 0.001
for difference, predicted in (
    (forward_difference, h / 2 * math.sin(x)),
    (central_difference, h**2 / 6 * math.cos(x)),
):
    measured = abs(difference(math.sin, x, h) - truth)
    print(f"{difference.__name__}: measured {measured:.4e}   predicted {predicted:.4e}")
    assert abs(measured / predicted - 1) < 0.01

# %% [markdown]
# ## Predict, then run
#
# Why stop there? Take $h = 10^{-8}$, $10^{-12}$, $10^{-16}$. **Will the error go on shrinking?**
# Decide before you open the next picture.

# %%
steps = 10.0 ** np.arange(-16, 0.01, 0.25)


def errors(difference, dtype):
    one = dtype(1.0)  # all numbers of this type, so that everything is rounded to it
    slopes = np.array([difference(np.sin, one, dtype(h)) for h in steps], np.float64)
    return np.abs(slopes - truth)


forward64 = errors(forward_difference, np.float64)
central64 = errors(central_difference, np.float64)
central32 = errors(central_difference, np.float32)

# %% tags=["thumbnail"] jupyter={"source_hidden": true, "outputs_hidden": true}
plt.loglog(steps, forward64, label="forward, float64", color=BLUE)
plt.loglog(steps, central64, label="central, float64", color=ORANGE)
plt.loglog(steps, central32, label="central, float32", color=PURPLE, lw=1.2)
plt.title("The error falls, turns, and grows")
plt.xlabel("step h")
plt.ylabel("error of the slope")
plt.ylim(1e-13, 10)
plt.legend()
plt.show()

# %% [markdown]
# Why? Put the curve under a microscope that zooms in as $h$ shrinks. Beside it you see the error of
# the central difference.

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="none")
figure.subplots_adjust(left=0.05, right=0.98, bottom=0.17, top=0.9, wspace=0.28)
places, zoom = np.linspace(-1.5, 1.5, 1201), np.geomspace(1, 1.5e-16, 28)
dots = [abs(central_difference(math.sin, x, h) - truth) for h in zoom]


def microscope(frame):
    h = zoom[frame]
    left.clear()
    left.plot(places, (np.sin(x + h * places) - math.sin(x)) / h, color=BLUE)
    left.plot(places, truth * places, "--", color=GRAY, lw=1.2)
    ends = np.array([-1, 1])
    left.plot(ends, (np.sin(x + h * ends) - math.sin(x)) / h, "o-", color=ORANGE, lw=1.2)
    left.set(xlim=(-1.5, 1.5), ylim=(-1.1, 1.1), xticks=ends, yticks=[], ylabel="sin(x)")
    left.set_xticklabels(["x − h", "x + h"])
    left.set_title(f"The curve, zoomed in: h = {h:.1e}")
    right.clear()
    right.loglog(zoom[: frame + 1], dots[: frame + 1], "o-", color=ORANGE, ms=3, lw=1.2)
    right.set(xlim=(1e-17, 10), ylim=(1e-13, 10), xlabel="step h", ylabel="error of the slope")


animate(
    figure, microscope, 28, 8, "Zoomed in, the curve becomes a straight line and then a staircase."
)

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# No: it is a **V**. From the right it falls as the formulas say, then it turns and *grows*.
#
# Zoom in, and the curve becomes a straight line: that is why nudging works. Zoom in more, and the
# line becomes a staircase, because a float64 keeps only 16 digits. $f(x+h)$ and $f(x-h)$ agree in
# nearly all of them. Subtracting leaves rounding noise, about $\varepsilon|f|$, and you divide it
# by a tiny $h$. ($\varepsilon$ is the gap between 1 and the next float:
# `np.finfo(np.float64).eps`.)
#
# $$\text{error} \approx \underbrace{\tfrac{h^2}{6}\,|f'''|}_{\text{the formula}}
# + \underbrace{\tfrac{\varepsilon}{h}\,|f|}_{\text{rounding}}$$
#
# </details>
#
# The best $h$ makes the two parts about equal. With $f$ and its derivatives near 1, that is
# $h \approx \sqrt[3]{\varepsilon}$. For the forward difference it is
# $h \approx \sqrt{\varepsilon}$.

# %%
print("float64: √ε =", f"{np.finfo(np.float64).eps ** (1 / 2):.0e}", end="   ")
print("∛ε =", f"{np.finfo(np.float64).eps ** (1 / 3):.0e}")
print("best h measured: forward", f"{steps[forward64.argmin()]:.0e}", end="   ")
print("central", f"{steps[central64.argmin()]:.0e}")

for name, found, dtype in (("64", central64, np.float64), ("32", central32, np.float32)):
    best = np.finfo(dtype).eps ** (1 / 3)
    near = found[(steps > best / 10) & (steps < best * 10)]
    print(f"float{name}: typical error within a decade of ∛ε: {np.median(near):.0e}")
    assert (1e-12 if name == "64" else 1e-6) < np.median(near) < (1e-9 if name == "64" else 1e-3)

# %% jupyter={"source_hidden": true}
assert 1e-6 <= steps[central64.argmin()] <= 1e-4 and 1e-9 <= steps[forward64.argmin()] <= 1e-7

# %% [markdown]
# Networks train in float32, which keeps seven digits. There nudging gets only four or five right.
# So tinyfractal *checks* gradients in float64.
#
# ## The chain rule on three numbers
#
# Now the exact way. A small neuron has an input $x$, a weight $w$ and a bias $b$. It turns them
# into one number $y$ in two steps, $z = wx + b$ and $y = \tanh z$. How does $y$ change with $w$?
# Follow a nudge through the picture. Nudge $w$, and $z$ moves $x$ times as far. Nudge $z$, and $y$
# moves $1 - \tanh^2 z$ times as far: that is the derivative of tanh.

# %% jupyter={"source_hidden": true}
_, axes = plt.subplots(figsize=(6.4, 2.5))
spots = {"w": (0, 2), "x": (0, 1), "b": (0, 0), "z": (2, 1), "y": (4, 1)}
y = math.tanh(0.5 * 2 - 0.3)
inside = {"w": "w\n0.5", "x": "x\n2", "b": "b\n−0.3", "z": "z\n0.7", "y": f"y\n{y:.3f}"}
slope = 1 - y * y
factors = {"wz": "× x = 2", "xz": "× w = 0.5", "bz": "× 1", "zy": f"× (1 − y²) = {slope:.3f}"}
for (start, end), factor in factors.items():
    (x0, y0), (x1, y1) = spots[start], spots[end]
    arrow = {"arrowstyle": "->", "color": GRAY, "shrinkA": 20, "shrinkB": 22}
    axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
    where = ((x0 + x1) / 2, (y0 + y1) / 2 + 0.13)
    axes.text(*where, factor, color=ORANGE, ha="center", va="bottom")
for name, spot in spots.items():
    box = {"boxstyle": "round", "fc": "white", "ec": BLUE}
    axes.text(*spot, inside[name], ha="center", va="center", bbox=box)
axes.set(
    xlim=(-0.4, 4.4),
    ylim=(-0.4, 2.4),
    title=f"Along a path the factors multiply: dy/dw = 2 · {slope:.3f} = {2 * slope:.3f}",
)
axes.axis("off")
plt.show()

# %% [markdown]
# This is the **chain rule**:
#
# $$\frac{dy}{dw} = \frac{dy}{dz} \cdot \frac{dz}{dw} = (1 - y^2) \cdot x$$
#
# Each factor belongs to one step and knows nothing of the others. In code, walk through the steps
# backward. `d_z` says how fast $y$ changes with $z$, and the walk starts with `d_y`, which is 1:

# %%
w, x, b = 0.5, 2.0, -0.3

# forward: from the inputs to y
z = w * x + b
y = math.tanh(z)

# backward: from y to the inputs
d_y = 1.0
d_z = d_y * (1 - y**2)
d_w = d_z * x
d_x = d_z * w
d_b = d_z * 1

print(f"y = {y:.4f}   dy/dw = {d_w:.4f}   dy/dx = {d_x:.4f}   dy/db = {d_b:.4f}")

# %% [markdown]
# Is that right? Nudging can tell:


# %%
def neuron(w, x, b):
    return math.tanh(w * x + b)


by_nudging = (
    central_difference(lambda v: neuron(v, x, b), w, 1e-5),
    central_difference(lambda v: neuron(w, v, b), x, 1e-5),
    central_difference(lambda v: neuron(w, x, v), b, 1e-5),
)
for name, exact, nudged in zip("wxb", (d_w, d_x, d_b), by_nudging):
    print(f"dy/d{name}: chain rule {exact:.10f}   central difference {nudged:.10f}")
    assert abs(exact - nudged) < 1e-9

# %% [markdown]
# ## Why not just nudge?
#
# A central difference runs the function twice **for each number**. The chain rule ran it once,
# walked back once, and had all three derivatives: it worked out `d_z` once and used it three times.
# In a network that matters:

# %%
net = tf.FractalNet(columns=3, channels=(32, 64))
numbers = net.count_parameters()
print(f"one small FractalNet: {numbers:,} numbers to learn")
print(f"central differences:  {2 * numbers:,} runs of the network for one gradient")
print("chain rule, backward: 1 run forward and 1 walk back")
assert 225_000 < numbers < 275_000

# %% [markdown]
# This is the whole secret of **backpropagation**: apply the chain rule from the output backward,
# and one walk gives every derivative. All of deep learning rests on this saving. In the next
# chapter you build the machine that does the walking. Here is tinyfractal's, in float32. Its
# numbers are `Tensor`s, and `requires_grad=True` asks for their derivatives:

# %%
w, x, b = (tf.Tensor(value, requires_grad=True) for value in (0.5, 2.0, -0.3))
y = tf.tanh(w * x + b)
y.backward()
print("y:", y)
print("dy/dw:", w.grad, "  dy/dx:", x.grad, "  dy/db:", b.grad)
assert math.isclose(w.grad.item(), d_w, rel_tol=1e-5)

# %% [markdown]
# `gradcheck` compares each of these with nudging, in float64, as you did by hand, and reports the
# worst. (It counts the inputs from 0.)

# %%
print(tf.gradcheck(lambda w, x, b: tf.tanh(w * x + b), 0.5, 2.0, -0.3))

# %% [markdown]
# Now give it a wrong derivative. A rule takes `g`, which arrives from the output as `d_y` did, and
# returns `g` times the derivative. (More in chapter 4.) For $x^3$ at 2 that derivative is 12:

# %%
from tinyfractal.engine.primitive import primitive


@primitive(lambda g, _y, x: g * 2 * x)  # the derivative of x², but the function is x³
def cube(x):
    return x**3


try:
    tf.gradcheck(cube, 2.0)
except tf.errors.GradientError as error:
    print(error)
else:
    raise AssertionError("gradcheck should have complained")

# %% [markdown]
# ## What you now own
#
# You can measure a derivative with two evaluations, and you know which $h$ to take and how many
# digits to trust. You can compute it exactly, walking back one factor at a time. And you know why
# networks learn by walking and are checked by nudging: one walk serves all numbers, however many.
#
# ## Now read the source
#
# You can now read [`engine/gradcheck.py`](../tinyfractal/engine/gradcheck.py) from top to bottom.
# Its heart is your `central_difference`, with $h = 10^{-6}$. It nudges arrays one number at a time.
# If the output is an array, it adds up the outputs times fixed random weights, and what it prints
# are derivatives of this sum.
#
# ## Exercises
#
# Replace the `...` in each cell and run it. Solutions: `solutions/01_derivatives.py`.
#
# **1. The best step.** Which $h$ would you use for a central difference of `math.exp` at $x = 3$?
# Its error may be at most ten times the best there is.

# %%
my_step = ...

check_step(my_step)

# %% [markdown]
# **2. Twice.** The second derivative is the derivative of the derivative. Write it with values of
# $f$ at $x - h$, $x$ and $x + h$. (Try $h = 10^{-3}$: here rounding wins sooner.)


# %%
def second_difference(f, x, h): ...


check_second(second_difference)

# %% [markdown]
# **3. Your own chain.** Three numbers again: $y = (a b + c)^2 \cdot a$. Return $dy/da$, $dy/db$ and
# $dy/dc$, exactly, by the chain rule. (Careful: two paths lead from $a$ to $y$.)


# %%
def my_gradient(a, b, c): ...


check_chain(my_gradient)

# %% [markdown]
# **4. The suspect.** One of these four derivatives is wrong. Find it with `central_difference` at
# some $x > 0$, and answer with its name.

# %%
pairs = {
    "log": (math.log, lambda x: 1 / x),
    "sqrt": (math.sqrt, lambda x: 1 / (2 * math.sqrt(x))),
    "tan": (math.tan, lambda x: 1 + math.tan(x) ** 2),
    "logistic": (lambda x: 1 / (1 + math.exp(-x)), lambda x: math.exp(-x) / (1 + math.exp(-x))),
}
suspect = ...

check_suspect(suspect)
