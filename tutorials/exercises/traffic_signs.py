"""Checks of chapter 15."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from . import NotYet, as_array, as_flags, as_number, as_whole, asked, exercise


@exercise
def check_hold_out(hold_out: Callable) -> str:
    """Whole tracks, about the right share, and not the same ones for every seed."""
    rng = np.random.default_rng(0)
    tracks = np.repeat([f"{i:05d}" for i in range(60)], rng.integers(1, 6, 60))
    tracks = rng.permutation(tracks)  # the frames of a track need not lie side by side
    chosen = []
    for seed in range(5):
        held = as_flags(asked(hold_out, tracks, 0.25, seed), "The answer", tracks.shape)
        split = [track for track in set(tracks) if len(set(held[tracks == track])) > 1]
        if split:
            raise NotYet(
                f"With seed {seed} track {min(split)} is on both sides. Draw among the tracks, "
                "then take all their images."
            )
        if not 0.1 < held.mean() < 0.4:
            raise NotYet(f"A quarter was asked for, and {held.mean():.0%} are held out.")
        chosen.append(frozenset(tracks[held]))
    half = as_flags(asked(hold_out, tracks, 0.5, 0), "The answer", tracks.shape).mean()
    if not 0.35 < half < 0.65:
        raise NotYet(f"A half was asked for, and {half:.0%} are held out. Use the fraction.")
    if len(set(chosen)) == 1:
        raise NotYet("Five seeds hold out the same tracks. Use the seed.")
    return "What the network is tested on, it has never seen from anywhere."


@exercise
def check_together(together: Callable) -> str:
    """Bayes' rule with a joint table of all frames: count what is consistent."""
    rng = np.random.default_rng(0)
    for frames, classes in ((1, 3), (2, 3), (4, 3), (3, 5)):
        p = rng.dirichlet(np.ones(classes), frames)
        # With every class equally frequent, P(frame | class) is proportional to P(class | frame).
        weights = [np.prod([p[f, k] for f in range(frames)]) for k in range(classes)]
        truth = np.array(weights) / sum(weights)
        found = as_array(asked(together, p), "The answer", (classes,))
        if not np.allclose(found, truth, atol=1e-6):
            hint = (
                "That is the mean. A frame that rules a class out should have a veto"
                if np.allclose(found, p.mean(axis=0))
                else "Multiply over the frames, and divide so that the sum is 1"
            )
            raise NotYet(f"Of {np.round(p, 2).tolist()} you make {np.round(found, 3)}. {hint}.")
    many = np.full((2000, 3), (0.25, 0.45, 0.3))
    with np.errstate(all="ignore"):
        found = as_array(asked(together, many), "The answer", (3,), finite=False)
    if not np.allclose(found, [0, 1, 0]):
        raise NotYet("2,000 frames multiply to 0 in floats. Add logarithms instead.")
    return "If the frames were independent. They are not: the mud on the sign is on all of them."


@exercise
def check_track_error(track_error: Callable) -> str:
    """Against drawing other tracks many times: the spread of the accuracy."""
    rng = np.random.default_rng(0)
    for tracks, frames, luck in ((400, 10, 0.95), (400, 10, 0.3), (800, 3, 0.9)):
        # a share `luck` of the tracks is right or wrong as a whole
        alike = rng.random(tracks) < luck
        one = rng.random(tracks) < 0.9
        right = np.where(alike[:, None], one[:, None], rng.random((tracks, frames)) < 0.9)
        groups = np.repeat(np.arange(tracks), frames)
        means = right.mean(axis=1)
        drawn = rng.integers(0, tracks, size=(4000, tracks))
        truth = means[drawn].mean(axis=1).std()
        order = rng.permutation(tracks * frames)
        found = asked(track_error, right.ravel()[order], groups[order])
        found = as_number(found, "The standard error")
        if not np.isclose(found, truth, rtol=0.07):
            single = right.std(ddof=1) / np.sqrt(right.size)
            hint = (
                "That treats every frame as news"
                if np.isclose(found, single, rtol=0.02)
                else "Take the accuracy of each track, then the standard error of their mean"
            )
            raise NotYet(
                f"Drawing {tracks} tracks of {frames} frames again and again spreads the accuracy "
                f"by {truth:.4f}, you have {found:.4f}. {hint}."
            )
    return "Thirty pictures of one sign are little more than one."


@exercise
def check_choose(choose: Callable) -> str:
    """Against trying all columns."""
    ms = [0.3, 0.8, 2.0, 3.3]
    accuracies = [0.94, 0.963, 0.958, 0.97]
    for signs, rate in itertools.product((1, 5, 12, 30, 49, 60, 200), (10, 25, 50)):
        fitting = [c for c in range(4) if signs * ms[c] <= 1000 / rate]
        truth = max(fitting, key=lambda c: accuracies[c]) if fitting else None
        found = asked(choose, ms, accuracies, signs, rate)
        found = None if found is None else as_whole(found, "The column")
        if found != truth:
            why = (
                "It does not fit into the time"
                if found is not None and found not in fitting
                else "A deeper column is not always a better one: take the best of those that fit"
                if fitting
                else "Nothing fits; say None"
            )
            raise NotYet(
                f"{signs} signs in a picture, {rate} pictures a second: you choose {found}, it "
                f"should be {truth}. {why}."
            )
    return "The same weights, as deep as the time allows."
