# %% [markdown]
# # Solutions of chapter 6: How can nine weights see a whole image?
#
# Run it in the folder of the chapters: `python -m solutions.06_convolution`. After each solution
# comes an answer that looks right and is not.

# %%
import numpy as np

from exercises.convolution import (
    check_receptive_field,
    check_same_padding,
    check_shift,
    check_strided,
)

# %% [markdown]
# **1. Move it.** If the image moves to the right, each output is the pixel to its *left*. So the 1
# is in the left column of the middle row.

# %%
assert check_shift(np.array([[0, 0, 0], [1, 0, 0], [0, 0, 0]]))

assert not check_shift(np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]]))  # moves it to the left
assert not check_shift(np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0]]) / 3)  # moves it and blurs it
assert check_shift([(0, 0, 0), (1, 0, 0), (0, 0, 0)])

# %% [markdown]
# **2. Same.** There are $\lceil H / s \rceil$ places. The last window begins
# $(\lceil H / s \rceil - 1) \cdot s$ pixels after the first and is $k$ long, and that is how long
# the padded image must be at least.


# %%
def same_padding(H, k, stride):
    places = -(-H // stride)
    total = max(0, (places - 1) * stride + k - H)
    return total // 2, total - total // 2


assert check_same_padding(same_padding)


def only_for_stride_one(H, k, stride):
    return (k - 1) // 2, (k - 1) - (k - 1) // 2  # of an even H with stride 2 that is one too many


def may_be_negative(H, k, stride):
    total = (-(-H // stride) - 1) * stride + k - H  # k = 1, stride 2: the last pixel is not needed
    return total // 2, total - total // 2


def odd_one_first(H, k, stride):
    before, after = same_padding(H, k, stride)
    return after, before


assert not check_same_padding(only_for_stride_one)
assert not check_same_padding(may_be_negative)
assert not check_same_padding(odd_one_first)

assert check_same_padding(lambda H, k, stride: list(same_padding(H, k, stride)))
assert check_same_padding(lambda H, k, stride: np.array(same_padding(H, k, stride)))

# %% [markdown]
# **3. Backward through a stride.** The loops of the chapter, with the window where it was forward.
# (As a convolution: put `stride - 1` rows and columns of zeros between those of $g$, then go on as
# without a stride.)


# %%
def strided_input_gradient(g, w, stride, shape):
    kh, kw, _, _ = w.shape
    gx = np.zeros(shape)
    for n in range(g.shape[0]):
        for i in range(g.shape[1]):
            for j in range(g.shape[2]):
                top, left = i * stride, j * stride
                gx[n, top : top + kh, left : left + kw] += w @ g[n, i, j]
    return gx


assert check_strided(strided_input_gradient)


def forgets_the_stride(g, w, stride, shape):
    return strided_input_gradient(g, w, 1, shape)


def does_not_add(g, w, stride, shape):
    kh, kw, _, _ = w.shape
    gx = np.zeros(shape)
    for n, i, j in np.ndindex(*g.shape[:3]):
        top, left = i * stride, j * stride
        gx[n, top : top + kh, left : left + kw] = w @ g[n, i, j]  # windows overlap: += is needed
    return gx


def flips_too(g, w, stride, shape):
    return strided_input_gradient(g, w[::-1, ::-1], stride, shape)  # the loops need no flip


assert not check_strided(forgets_the_stride)
assert not check_strided(does_not_add)
assert not check_strided(flips_too)


def nothing_but_nan(g, w, stride, shape):
    return np.full(shape, np.nan)  # no comparison with a NaN is true, so none can fail


assert not check_strided(nothing_but_nan)

# %% [markdown]
# **4. How far does it see?** Go from first to last and keep two numbers: how wide one output sees,
# and how far apart in the image two neighbouring outputs are. A kernel of size $k$ sees $k - 1$
# more neighbours, each that far away; a stride multiplies the distance.


# %%
def receptive_field(layers):
    field, apart = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * apart
        apart *= stride
    return field


assert check_receptive_field(receptive_field)


def ignores_strides(layers):
    return 1 + sum(kernel - 1 for kernel, _ in layers)


def stride_too_early(layers):
    field, apart = 1, 1
    for kernel, stride in layers:
        apart *= stride  # the kernel of a layer is laid on its input, before its own stride counts
        field += (kernel - 1) * apart
    return field


assert not check_receptive_field(ignores_strides)
assert not check_receptive_field(stride_too_early)
