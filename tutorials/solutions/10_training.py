# %% [markdown]
# # Solutions of chapter 10: What happens while a FractalNet learns?
#
# Run it in the folder of the chapters: `python -m solutions.10_training`. After each solution
# comes an answer that looks right and is not.

# %%
import numpy as np

from exercises.training import (
    check_column_parameters,
    check_early_exit,
    check_shift_image,
    check_standardize,
)

# %% [markdown]
# **1. Standardize.** The mean over images and places, so over all axes but the last.


# %%
def my_standardize(training_images, images):
    mean = training_images.mean(axis=(0, 1, 2))  # (C,)
    std = training_images.std(axis=(0, 1, 2))
    return (images - mean) / std


assert check_standardize(my_standardize)


def with_its_own(training_images, images):
    return my_standardize(images, images)  # measures the test images


def all_channels_together(training_images, images):
    return (images - training_images.mean()) / training_images.std()


assert not check_standardize(with_its_own)
assert not check_standardize(all_channels_together)


def in_place(training_images, images):
    images -= training_images.mean(axis=(0, 1, 2))  # the second call standardizes twice
    images /= training_images.std(axis=(0, 1, 2))
    return images


assert not check_standardize(in_place)

# %% [markdown]
# **2. Shift.** Put the image into the middle of a larger one of zeros, and take a window of its own
# size that lies as much further up and left as the image is to move down and right.


# %%
def shift_image(image, down, right):
    H, W = image.shape
    padded = np.zeros((3 * H, 3 * W), image.dtype)
    padded[H : 2 * H, W : 2 * W] = image
    return padded[H - down : 2 * H - down, W - right : 2 * W - right]


assert check_shift_image(shift_image)


def around_the_edge(image, down, right):
    return np.roll(image, (down, right), axis=(0, 1))  # what leaves on one side comes in opposite


def other_way(image, down, right):
    return shift_image(image, -down, -right)  # a window that moves down shows the image moved up


assert not check_shift_image(around_the_edge)
assert not check_shift_image(other_way)
assert check_shift_image(lambda *given: shift_image(*given).tolist())

# %% [markdown]
# **3. How large is a column?** Column $c$ has $2^c$ convolutions in each block. The first sees the
# channels of the block before, the others see the block's own.


# %%
def column_parameters(c, channels, in_channels=1, classes=10):
    total = channels[-1] * classes + classes
    for before, after in zip((in_channels, *channels), channels):
        inputs = before + (2**c - 1) * after
        total += 9 * inputs * after + 2**c * 2 * after
    return total


assert check_column_parameters(column_parameters)


def linear_depth(c, channels, in_channels=1, classes=10):
    total = (channels[-1] + 1) * classes
    for before, after in zip((in_channels, *channels), channels):
        # c + 1 convolutions: right for columns 0 and 1 only, since the depth doubles
        total += 9 * (before + c * after) * after + (c + 1) * 2 * after
    return total


assert not check_column_parameters(linear_depth)

# %% [markdown]
# **4. Early exit.** Go from the deepest column to the shallowest and overwrite: what the first sure
# column writes is written last.


# %%
def early_exit(probabilities, threshold):
    last = len(probabilities) - 1
    classes = probabilities[last].argmax(axis=1)
    who = np.full(len(classes), last)
    for c in reversed(range(last)):
        sure = probabilities[c].max(axis=1) >= threshold
        classes[sure] = probabilities[c].argmax(axis=1)[sure]
        who[sure] = c
    return classes, who


assert check_early_exit(early_exit)


def surest_of_all(probabilities, threshold):
    tops = np.array([p.max(axis=1) for p in probabilities])
    who = tops.argmax(axis=0)  # has to compute every column, which saves nothing
    return np.array(probabilities)[who, np.arange(len(who))].argmax(axis=1), who


def answer_of_the_deepest(probabilities, threshold):
    return probabilities[-1].argmax(axis=1), early_exit(probabilities, threshold)[1]


assert not check_early_exit(surest_of_all)
assert not check_early_exit(answer_of_the_deepest)


def surer_than(probabilities, threshold):
    return early_exit(probabilities, np.nextafter(threshold, 2))  # "at least" includes it


assert not check_early_exit(surer_than)
assert check_early_exit(lambda *given: (part.tolist() for part in early_exit(*given)))
