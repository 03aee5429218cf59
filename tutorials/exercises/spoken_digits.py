"""Checks of chapter 14."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import NotYet, as_array, as_list, as_number, asked, exercise


@exercise
def check_loudness_at(loudness_at: Callable) -> str:
    """Tones were mixed, and their loudnesses are known."""
    rate, count = 8000, 400
    t = np.arange(count) / rate
    tones = {200: (0.5, 0.3), 1000: (0.2, 2.0), 1020: (0.1, 4.0), 2500: (0.05, 1.0)}
    mixed = sum(a * np.sin(2 * np.pi * f * t + phase) for f, (a, phase) in tones.items())
    for hertz, (truth, phase) in [*tones.items(), (600, (0.0, 0.0))]:
        found = as_number(asked(loudness_at, mixed, rate, hertz), "The loudness")
        if not math.isclose(found, truth, abs_tol=1e-3):
            alone = truth * abs(math.sin(phase)), truth * abs(math.cos(phase))
            if truth and min(abs(found - part) for part in alone) < 1e-3:
                hint = "A single wave misses a tone that swings a quarter later: take two waves."
            elif math.isclose(found, truth / 2, abs_tol=1e-3) and truth:
                hint = (
                    "Half of it: the wave's own mean power is ½, so the mean product is half of a."
                )
            else:
                hint = "How many turns does the wave make from one sample to the next?"
            raise NotYet(f"At {hertz} Hz there is {truth}, you find {found:.4f}. {hint}")
    return "The Fourier transform is this for every frequency."


@exercise
def check_mel_corners(mel_corners: Callable) -> str:
    """Equal steps on the mel scale, measured step by step."""
    for low, high, bands in ((60, 4000, 32), (100, 3000, 5), (0, 8000, 1)):
        found = as_array(asked(mel_corners, low, high, bands), "The corners")
        if found.shape != (bands + 2,):
            raise NotYet(
                f"{bands} triangles that overlap by half have {bands + 2} corners, you give an "
                f"array of shape {found.shape}."
            )
        if not np.allclose(found[[0, -1]], [low, high], atol=1e-3):
            raise NotYet(f"The first and the last corner should be {low} and {high} Hz.")
        steps = [math.log10((700 + b) / (700 + a)) for a, b in itertools.pairwise(found)]
        if not np.allclose(steps, np.mean(steps), rtol=1e-6):
            equal = np.allclose(np.diff(found), np.diff(found).mean())
            hint = "in hertz" if equal else "on some scale, not on that of mels"
            raise NotYet(
                f"Your corners are equally spaced {hint}. Go to mels, space them there, come back."
            )
    return "Narrow triangles below, wide ones above, as the ear has them."


@exercise
def check_brightness(brightness: Callable) -> str:
    """Power by power, with the loudest at white and 80 dB below it at black."""
    rng = np.random.default_rng(0)
    for power in (
        np.array([[1.0, 0.1], [1e-4, 1e-8]]),
        10.0 ** rng.uniform(-14, -3, (6, 9)),
        np.array([[1e-12, 1e-13]]),
    ):
        found = as_array(asked(brightness, power), "The picture", power.shape)
        loudest = max(power.ravel())
        for i, j in np.ndindex(power.shape):
            below = 10 * math.log10(loudest / power[i, j])
            truth = 255 * max(0.0, (80 - below) / 80)
            if abs(found[i, j] - truth) > 1:
                hint = (
                    "10 dB is a factor of 10 in power"
                    if abs(found[i, j] - 255 * max(0.0, (80 - 2 * below) / 80)) <= 1
                    else "The loudest is 255 and 80 dB less is 0, with a straight line between"
                )
                raise NotYet(
                    f"A power that is {below:.1f} dB below the loudest should be {truth:.0f}, "
                    f"yours is {found[i, j]:.0f}. {hint}."
                )
    with np.errstate(all="ignore"):
        silent = asked(brightness, np.zeros((2, 3)))
    if (as_array(silent, "Silence", (2, 3), finite=False) != 0).any():
        raise NotYet("Silence, where every power is 0, should be black: no NaN.")
    return "However loud a recording is, its picture is as bright."


@exercise
def check_leave_one_out(leave_one_out: Callable) -> str:
    """Nobody is ever on both sides, everybody is tested once."""
    rng = np.random.default_rng(0)
    for names in ("a b c", "ann bob eve dan zoe"):
        speakers = rng.choice(names.split(), size=60)
        parts = as_list(asked(leave_one_out, speakers), "The answer")
        if len(parts) != len(set(speakers.tolist())):
            raise NotYet(
                f"{len(set(speakers.tolist()))} speakers make as many pairs, got {len(parts)}."
            )
        tested = np.zeros(60, int)
        for part in parts:
            learn, test = (_positions(p) for p in as_list(part, "A part, (learn, test),", 2))
            both = set(speakers[learn].tolist()) & set(speakers[test].tolist())
            if both:
                raise NotYet(f"{min(both)} is on both sides.")
            if len(set(speakers[test].tolist())) != 1:
                raise NotYet("One speaker at a time is for testing.")
            if len(learn) + len(test) != 60:
                raise NotYet("A recording that is not tested is for training: some are nowhere.")
            tested[test] += 1
        if (tested != 1).any():
            raise NotYet("Every recording should be tested exactly once.")
    return "Six trainings instead of one: that is what an honest number costs."


def _positions(value: Any) -> np.ndarray:
    """Which of the 60 recordings, given as positions or as 60 booleans."""
    found = np.asarray(as_list(value, "One side of a part"))
    if found.dtype.kind not in "bui":
        as_array(found, "One side of a part")
        found = found.astype(int)
    return np.arange(60)[found]
