# %% [markdown]
# # Solutions of chapter 15: Has the network seen this sign before?
#
# Run it in the folder of the chapters: `python -m solutions.15_traffic_signs`. After each solution
# comes an answer that looks right and is not.

# %%
import numpy as np

from exercises.traffic_signs import (
    check_choose,
    check_hold_out,
    check_together,
    check_track_error,
)

# %% [markdown]
# **1. Whole tracks.** Draw among the tracks, then take every image of those drawn.


# %%
def hold_out(tracks, fraction, seed):
    names = np.unique(tracks)
    count = round(fraction * len(names))
    drawn = np.random.default_rng(seed).choice(names, count, replace=False)
    return np.isin(tracks, drawn)


assert check_hold_out(hold_out)


def frames(tracks, fraction, seed):
    return np.random.default_rng(seed).random(len(tracks)) < fraction  # draws among the images


def always_a_quarter(tracks, fraction, seed):
    return hold_out(tracks, 0.25, seed)


assert not check_hold_out(frames)
assert not check_hold_out(always_a_quarter)
assert check_hold_out(lambda *given: hold_out(*given).tolist())

# %% [markdown]
# **2. Several frames, one answer.** By Bayes' rule, with all classes equally frequent, the
# probabilities multiply. As logarithms they add up, and subtracting the largest one before `exp`
# keeps it from becoming 0.


# %%
def together(p):
    logs = np.log(np.maximum(p, 1e-300)).sum(axis=0)
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


assert check_together(together)


def mean(p):
    return p.mean(axis=0)  # no veto: many unsure frames stay unsure


def product(p):
    with np.errstate(invalid="ignore"):
        return p.prod(axis=0) / p.prod(axis=0).sum()  # 0/0 after some hundred frames


assert not check_together(mean)
assert not check_together(product)
assert check_together(lambda p: tuple(together(p)))

# %% [markdown]
# **3. The error of an accuracy on tracks.** A track is one piece of news, so the standard error
# counts tracks. (Here all tracks have as many frames; else their means would be weighted.)


# %%
def track_error(right, tracks):
    means = np.array([right[tracks == track].mean() for track in np.unique(tracks)])
    return means.std(ddof=1) / np.sqrt(len(means))


assert check_track_error(track_error)


def frame_error(right, tracks):
    return right.std(ddof=1) / np.sqrt(len(right))  # as if each frame were another sign


assert not check_track_error(frame_error)

# %% [markdown]
# **4. As deep as the time allows.** Of the columns that fit, the best.


# %%
def choose(ms, accuracies, signs, rate):
    fitting = [c for c in range(len(ms)) if signs * ms[c] <= 1000 / rate]
    return max(fitting, key=lambda c: accuracies[c], default=None)


assert check_choose(choose)


def deepest(ms, accuracies, signs, rate):
    fitting = [c for c in range(len(ms)) if signs * ms[c] <= 1000 / rate]
    return max(fitting, default=None)  # here column 1 is better than the deeper column 2


assert not check_choose(deepest)
assert not check_choose(lambda *given: choose(*given) or 0)  # None is no column, 0 is one
