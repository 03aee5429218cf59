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
# A network learns by asking, of each of its numbers: *if I made you a little larger, would the
# error grow or shrink, and how fast?* The answer is a derivative. In this chapter you compute
# derivatives in two ways. One needs no theory and is always a little wrong. The other is exact
# and costs next to nothing. The rest of the course is about the second, and it uses the first to
# make sure that it is right.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

import tinyfractal as tf

from exercises.derivatives import check_chain, check_second, check_step, check_suspect
from figures import use_style

use_style()

# %% [markdown]
# ## Nudge and look
#
# The derivative of $f$ at $x$ is the slope of its graph there:
#
# $$f'(x) = \lim_{h \to 0} \frac{f(x + h) - f(x)}{h}$$
#
# A computer cannot let $h$ go to zero, but it can take a small $h$. This is the **forward
# difference**, the formula without its limit:


# %%
def forward_difference(f, x, h):
    return (f(x + h) - f(x)) / h


# %% [markdown]
# Let us try it on the sine at $x = 1$. School calculus says $\sin'(x) = \cos(x)$, so we can see how
# wrong each answer is.

# %%
x = 1.0
truth = math.cos(x)
for h in (0.1, 0.01, 0.001, 0.0001):
    slope = forward_difference(math.sin, x, h)
    print(f"h = {h:<8} slope {slope:.8f}   error {abs(slope - truth):.1e}")

# %% [markdown]
# Each time $h$ is ten times smaller, the error is ten times smaller. The picture says why: we draw
# a line through two points of the curve, and the closer they are, the more the line leans like the
# curve.

# %%
t = np.linspace(0, 2.6, 200)
plt.plot(t, np.sin(t), color="black", label="sin(x)")
for h, color in ((1.2, "tab:red"), (0.5, "tab:orange")):
    slope = forward_difference(math.sin, x, h)
    plt.plot(t, math.sin(x) + slope * (t - x), color=color, lw=1, label=f"through x and x + {h}")
    plt.plot([x, x + h], [math.sin(x), math.sin(x + h)], "o", color=color)
plt.plot(t, math.sin(x) + truth * (t - x), color="tab:blue", label="tangent: the derivative")
plt.ylim(0, 1.5)
plt.xlabel("x")
plt.legend()
plt.show()

# %% [markdown]
# ## A better nudge
#
# Step to both sides, and the line leans almost exactly like the curve in the middle. This is the
# **central difference**:
#
# $$f'(x) \approx \frac{f(x + h) - f(x - h)}{2h}$$


# %%
def central_difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


for h in (0.1, 0.01, 0.001, 0.0001):
    slope = central_difference(math.sin, x, h)
    print(f"h = {h:<8} slope {slope:.12f}   error {abs(slope - truth):.1e}")

# %% [markdown]
# Now each step is a *hundred* times better than the one before. Taylor's formula explains both.
# Write $f(x \pm h) = f(x) \pm h f'(x) + \tfrac{h^2}{2} f''(x) \pm \tfrac{h^3}{6} f'''(x) + \dots$
# and put it into the two differences:
#
# $$\text{forward: error} \approx \tfrac{h}{2} f''(x)
# \qquad \text{central: error} \approx \tfrac{h^2}{6} f'''(x)$$
#
# In the central difference the terms with $f''$ cancel. So ten times smaller $h$ means 100 times
# smaller error. Let us hold the two formulas to what we measured. (The lines that begin with
# `assert` stop the chapter if what follows them is not true: whatever the text claims, it checks.)

# %%
h = 0.001
measured = abs(forward_difference(math.sin, x, h) - truth)
print("forward: measured", measured, " predicted", h / 2 * math.sin(x))
assert abs(measured / (h / 2 * math.sin(x)) - 1) < 0.01

measured = abs(central_difference(math.sin, x, h) - truth)
print("central: measured", measured, " predicted", h**2 / 6 * math.cos(x))
assert abs(measured / (h**2 / 6 * math.cos(x)) - 1) < 0.01

# %% [markdown]
# ## Predict, then run
#
# We could go on: $h = 10^{-8}$, $10^{-12}$, $10^{-16}$. **Will the error go on shrinking?** Make up
# your mind before you run the next cell.

# %%
steps = 10.0 ** np.arange(-16, 0.01, 0.25)


def errors(difference, dtype):
    one = dtype(1.0)  # all numbers of this type, so that everything is rounded to it
    slopes = np.array([difference(np.sin, one, dtype(h)) for h in steps], np.float64)
    return np.abs(slopes - truth)


forward64 = errors(forward_difference, np.float64)
central64 = errors(central_difference, np.float64)
central32 = errors(central_difference, np.float32)

# %% jupyter={"outputs_hidden": true} tags=["thumbnail"]
plt.loglog(steps, forward64, label="forward, float64")
plt.loglog(steps, central64, label="central, float64")
plt.loglog(steps, central32, label="central, float32", color="tab:red", lw=1)
plt.xlabel("step h")
plt.ylabel("error of the slope")
plt.ylim(1e-13, 10)
plt.legend()
plt.show()

# %% [markdown]
# <details><summary>The answer, in words</summary>
#
# The curve is a **V**. Read it from the right. At first the error falls as the formulas say: when
# $h$ is ten times smaller, so is the error of the forward difference, and that of the central one
# is a hundred times smaller. Then it turns and *grows*.
#
# What happens on the left arm? A float64 keeps about 16 digits. $f(x+h)$ and $f(x-h)$ agree in
# most of them, and the subtraction throws away all that agree. What is left is mostly rounding
# noise, of size $\varepsilon \cdot |f|$, and then we divide it by a tiny $h$. ($\varepsilon$ is the
# gap between 1 and the next number that there is, `np.finfo(np.float64).eps`, about
# $2 \cdot 10^{-16}$.)
#
# $$\text{error} \approx \underbrace{\tfrac{h^2}{6}\,|f'''|}_{\text{the formula}}
# + \underbrace{\tfrac{\varepsilon}{h}\,|f|}_{\text{rounding}}$$
#
# </details>
#
# The best $h$ is where the two parts are about equal. With $f$ and its derivatives near 1 that is
# $h^2 \approx \varepsilon / h$, so $h \approx \sqrt[3]{\varepsilon}$. For the forward difference it
# is $h \approx \varepsilon / h$, so $h \approx \sqrt{\varepsilon}$:

# %%
print("float64: √ε =", f"{np.finfo(np.float64).eps ** (1 / 2):.0e}", end="   ")
print("∛ε =", f"{np.finfo(np.float64).eps ** (1 / 3):.0e}")
print("best h measured: forward", f"{steps[forward64.argmin()]:.0e}", end="   ")
print("central", f"{steps[central64.argmin()]:.0e}")
assert 1e-6 <= steps[central64.argmin()] <= 1e-4 and 1e-9 <= steps[forward64.argmin()] <= 1e-7

# %% [markdown]
# And the red curve: float32 keeps 7 digits, so its V stops far higher. (On the far left it is flat:
# there $x + h$ rounds to $x$, and the slope is 0.) Around its best step it is good to about four
# digits. That is why everything in tinyfractal that *checks* gradients does it
# in float64, although networks are trained in float32.

# %%
for name, found, dtype in (("64", central64, np.float64), ("32", central32, np.float32)):
    best = np.finfo(dtype).eps ** (1 / 3)
    near = found[(steps > best / 10) & (steps < best * 10)]
    print(f"float{name}: typical error within a decade of ∛ε: {np.median(near):.0e}")
    assert (1e-12 if name == "64" else 1e-6) < np.median(near) < (1e-9 if name == "64" else 1e-3)

# %% [markdown]
# ## The chain rule on three numbers
#
# Now the exact way. Here is the smallest thing that one might call a neuron. It has an input $x$,
# a weight $w$ and a bias $b$, three numbers, and makes one number $y$ of them in two steps:
#
# $$z = w x + b, \qquad y = \tanh z$$
#
# How does $y$ change with $w$? Walk through the steps. Nudge $w$, and $z$ changes $x$ times as
# much. Nudge $z$, and $y$ changes $1 - \tanh^2 z$ times as much. The two factors are multiplied.
# This is the **chain rule**:
#
# $$\frac{dy}{dw} = \frac{dy}{dz} \cdot \frac{dz}{dw} = (1 - y^2) \cdot x$$
#
# Each factor looks at one step only, and knows nothing of the others. In code, the derivative runs
# through the steps in the opposite order, and each line carries `d_…`, "how $y$ changes with …":

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
# Is that right? Finite differences know, without any theory:


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
# Look at what each way costs. A central difference runs the function twice **for each number**. The
# chain rule ran it once, walked back once, and had all three derivatives. It walked from the
# output, so that everything after $z$ was worked out once, in `d_z`, and used three times.
#
# A network has not three numbers but thousands or millions:

# %%
net = tf.FractalNet(columns=3, channels=(32, 64))
numbers = net.count_parameters()
print(f"one small FractalNet: {numbers:,} numbers to learn")
print(f"central differences:  {2 * numbers:,} runs of the network for one gradient")
print("chain rule, backward: 1 run forward and 1 walk back")
assert numbers > 200_000

# %% [markdown]
# That is all the secret of **backpropagation**: the chain rule, written down backward, so that one
# walk gives every derivative. All of deep learning stands on this saving. In tinyfractal the
# computer does the walking. You will build the machine that does it in the next chapter; here is
# what using it looks like. (A `Tensor` made of Python numbers is float32, so seven digits agree.)

# %%
w, x, b = (tf.Tensor(value, requires_grad=True) for value in (0.5, 2.0, -0.3))
y = tf.tanh(w * x + b)
y.backward()
print(y, w.grad, x.grad, b.grad)
assert math.isclose(w.grad.item(), d_w, rel_tol=1e-5)

# %% [markdown]
# And `gradcheck` does what we did by hand, for every number of every input: it compares the walk
# with central differences. With a right gradient it reports the largest difference. Let us also
# give it a function whose gradient rule is wrong, to see it complain. (How a function gets a rule
# of its own is the subject of chapter 4; here it is enough that `g` is what comes from the output,
# and what the rule returns should be `g` times the derivative.) It names the place by counting
# from 0: `input 0` is the first input, `element (0,)` its first number.

# %%
print(tf.gradcheck(lambda w, x, b: tf.tanh(w * x + b), 0.5, 2.0, -0.3))

# %%
from tinyfractal.engine.primitive import primitive


@primitive(lambda g, _y, x: g * 2 * x)  # the derivative of x², but the function is x³
def cube(x):
    return x**3


try:
    tf.gradcheck(cube, [1.0, 2.0])
except tf.errors.GradientError as error:
    print(error)
else:
    raise AssertionError("gradcheck should have complained")

# %% [markdown]
# ## Now read the source
#
# You can now read [`engine/gradcheck.py`](../tinyfractal/engine/gradcheck.py) from top to bottom.
# Its heart is your `central_difference`, with $h = 10^{-6}$ in float64. It differs in two ways. It
# takes arrays of any shape and nudges their numbers all in turn. And where the output is an array,
# it first weighs the outputs with fixed random numbers and adds them up, so that one number is left
# to differentiate.
#
# The three-term formulas with their errors are in every book on numerical analysis; the V and its
# $\sqrt[3]{\varepsilon}$ are section 5.7 of *Numerical Recipes* (Press et al.).
#
# ## Exercises
#
# Fill in each cell in the place of `...` and run it. Solutions: `solutions/01_derivatives.py`.
#
# **1. The best step.** Which $h$ would you use for a central difference of `math.exp` at $x = 3$ in
# float64? Any $h > 0$ will do whose error is at most ten times the best there is.

# %%
my_step = ...

check_step(my_step)

# %% [markdown]
# **2. Twice.** The second derivative is the derivative of the derivative. Write it with values of
# $f$ alone, at $x - h$, $x$ and $x + h$. (When you try it yourself, take $h = 10^{-3}$: it has a V
# of its own, and rounding begins to win sooner.)


# %%
def second_difference(f, x, h): ...


check_second(second_difference)

# %% [markdown]
# **3. Your own chain.** Three numbers again: $y = (a b + c)^2 \cdot a$. Return the three numbers
# $dy/da$, $dy/db$, $dy/dc$, exactly, by the chain rule. (Careful: there are two ways from $a$ to
# $y$.)


# %%
def my_gradient(a, b, c): ...


check_chain(my_gradient)

# %% [markdown]
# **4. The suspect.** One of these four derivatives is wrong. Find out which with
# `central_difference` at some $x > 0$, and answer with its name.

# %%
pairs = {
    "log": (math.log, lambda x: 1 / x),
    "sqrt": (math.sqrt, lambda x: 1 / (2 * math.sqrt(x))),
    "tan": (math.tan, lambda x: 1 + math.tan(x) ** 2),
    "logistic": (lambda x: 1 / (1 + math.exp(-x)), lambda x: math.exp(-x) / (1 + math.exp(-x))),
}
suspect = ...

check_suspect(suspect)
