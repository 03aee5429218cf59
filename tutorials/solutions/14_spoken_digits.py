# %% [markdown]
# # Solutions of chapter 14: How does a network hear?
#
# Run it in the folder of the chapters: `python -m solutions.14_spoken_digits`. After each solution
# comes an answer that looks right and is not.

# %%
import numpy as np

from exercises.spoken_digits import (
    check_brightness,
    check_leave_one_out,
    check_loudness_at,
    check_mel_corners,
)

# %% [markdown]
# **1. Loudness of one tone.** A tone $a \sin(2\pi f t + \varphi)$ times the sine of the same
# frequency has the mean $\frac a2 \cos\varphi$, times the cosine $\frac a2 \sin\varphi$. Together,
# by Pythagoras, they are $\frac a2$, whatever $\varphi$ is.


# %%
def loudness_at(samples, rate, hertz):
    turns = 2 * np.pi * hertz * np.arange(len(samples)) / rate
    with_sine, with_cosine = (samples * np.sin(turns)).mean(), (samples * np.cos(turns)).mean()
    return 2 * np.hypot(with_sine, with_cosine)


assert check_loudness_at(loudness_at)


def one_wave(samples, rate, hertz):
    turns = 2 * np.pi * hertz * np.arange(len(samples)) / rate
    return 2 * abs((samples * np.sin(turns)).mean())  # deaf to a cosine


def per_sample(samples, rate, hertz):
    turns = 2 * np.pi * hertz * np.arange(len(samples))  # whole turns: every wave is constant
    return 2 * np.hypot((samples * np.sin(turns)).mean(), (samples * np.cos(turns)).mean())


assert not check_loudness_at(one_wave)
assert not check_loudness_at(per_sample)

# %% [markdown]
# **2. Corners.** To mels, equal steps, and back: $f = 700\,(10^{m/2595} - 1)$.


# %%
def mel_corners(low, high, bands):
    mels = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), bands + 2)
    return 700 * (10 ** (mels / 2595) - 1)


assert check_mel_corners(mel_corners)


def equal_in_hertz(low, high, bands):
    return np.linspace(low, high, bands + 2)


def octaves(low, high, bands):
    return np.geomspace(max(low, 1), high, bands + 2)  # a piano's ruler, not the ear's


assert not check_mel_corners(equal_in_hertz)
assert not check_mel_corners(octaves)

# %% [markdown]
# **3. Brightness.** Divide by the loudest first: then its logarithm is 0, and silence needs a
# question of its own.


# %%
def brightness(power):
    loudest = power.max()
    if loudest == 0:
        return np.zeros(power.shape)
    decibels = 10 * np.log10(np.maximum(power / loudest, 1e-8))  # -80 to 0
    return 255 * (decibels / 80 + 1)


assert check_brightness(brightness)


def of_amplitudes(power):
    decibels = 20 * np.log10(np.maximum(power / max(power.max(), 1e-30), 1e-8))  # squared already
    return 255 * np.clip(decibels / 80 + 1, 0, 1)


def darkest_is_black(power):
    decibels = 10 * np.log10(power + 1e-30)  # each picture on a ruler of its own
    return 255 * (decibels - decibels.min()) / max(np.ptp(decibels), 1e-9)


assert not check_brightness(of_amplitudes)
assert not check_brightness(darkest_is_black)
assert not check_brightness(lambda power: power * np.nan)  # no comparison with a NaN is true
assert check_brightness(lambda power: brightness(power).round().astype(np.uint8))

# %% [markdown]
# **4. Leave one out.** For each name: those who have it, and all others.


# %%
def leave_one_out(speakers):
    for name in np.unique(speakers):
        yield np.flatnonzero(speakers != name), np.flatnonzero(speakers == name)


assert check_leave_one_out(leave_one_out)


def folds(speakers):
    count = len(np.unique(speakers))
    for k in range(count):  # parts of the recordings: everyone is on both sides
        is_test = np.arange(len(speakers)) % count == k
        yield np.flatnonzero(~is_test), np.flatnonzero(is_test)


def only_their_own(speakers):
    for name in np.unique(speakers):
        own = np.flatnonzero(speakers == name)
        yield own[len(own) // 10 :], own[: len(own) // 10]  # tests on those who were learned


assert not check_leave_one_out(folds)
assert not check_leave_one_out(only_their_own)


def as_flags(speakers):  # True where a recording belongs, in place of its position
    return [(speakers != name, speakers == name) for name in np.unique(speakers)]


assert check_leave_one_out(as_flags)
