"""Selectors that go by the features of a sparse autoencoder, each with a twin that goes by an untrained one.

The SAE is the one that `selection.sae` names. A code is the largest value of each feature over tokens: of the question
where candidates are compared with items, of the whole demonstration where quality is learned. A feature weighs -log of
its density, the share of training tokens in which it is active.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from iclscope.runtime.errors import StudyError
from iclscope.selection.costs import Tokens
from iclscope.selection.selectors import Lesson, Materials, register, regressed
from iclscope.signals.sae_codes import Reading
from iclscope.statistics.ranks import Float
from iclscope.tables import TWIN


def read(codes: Mapping[str, str | Path], dictionary: str | Path | None, shape: tuple[int, int]) -> dict[str, Reading]:
    """The materials `sae` and `sae_twin`, as far as there are `codes` of an SAE and its twin (name → file).

    dictionary: the table of their features. shape: candidates and items that were evaluated, the first of the samples.
    """
    found = {}
    for name, path in codes.items():
        reading = Reading.of(path, dictionary or "", name)
        if len(reading.candidates) != shape[0] or len(reading.items) < shape[1]:
            raise StudyError(f"{path} has other candidates or items than the evaluation: delete it, rerun")
        found["sae_twin" if name.endswith(TWIN) else "sae"] = reading.of_first_items(shape[1])
    return found


def _of_questions(reading: Reading) -> tuple[Float, Float]:
    """1 where a question has a feature, of candidates [C, features] and items [N, features]."""
    ours, theirs = (part.pooled("question").largest for part in (reading.candidates, reading.items))
    return (ours.toarray() > 0).astype(np.float64), (theirs.toarray() > 0).astype(np.float64)


def nearest(reading: Reading) -> Float:
    """Weight of the features that a candidate's question shares with an item's [C, N]."""
    ours, theirs = _of_questions(reading)
    return (ours * reading.weight) @ theirs.T


def cover(reading: Reading) -> Float:
    """How early a greedy cover takes each candidate [C], higher is earlier.

    Covered is the weight of the features that the items' questions activate, each times the items that have it; the
    next candidate adds most to what those before it cover, among equals the one that covers most alone.
    """
    ours, theirs = _of_questions(reading)
    worth = ours * (theirs.sum(axis=0) * reading.weight)
    alone, left = worth.sum(axis=1), np.ones(ours.shape[1], dtype=bool)
    preference = np.zeros(len(ours))
    waiting = list(range(len(ours)))
    while waiting:
        adds = worth[waiting][:, left].sum(axis=1)
        best = waiting[max(range(len(waiting)), key=lambda place: (adds[place], alone[waiting[place]]))]
        preference[best] = len(waiting)
        left &= ours[best] == 0
        waiting.remove(best)
    return preference


@register("sae_nearest", kind="query", cost=Tokens.read_all)
def sae_nearest(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """For every item the candidate whose question shares the most telling features. None without `selection.sae`."""
    return None if materials.sae is None else nearest(materials.sae)


@register("sae_nearest_random", kind="query", cost=Tokens.read_all)
def sae_nearest_random(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """The same with the untrained twin."""
    return None if materials.sae_twin is None else nearest(materials.sae_twin)


@register("sae_cover", cost=Tokens.read_all)
def sae_cover(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """The candidate that has most of what the items' questions activate, then what it lacks. None as above."""
    return None if materials.sae is None else cover(materials.sae)


@register("sae_cover_random", cost=Tokens.read_all)
def sae_cover_random(materials: Materials, lesson: None, rng: np.random.Generator) -> Float | None:
    """The same with the untrained twin."""
    return None if materials.sae_twin is None else cover(materials.sae_twin)


@register("sae_ridge", learns=True, cost=lambda tokens: tokens.read() + tokens.lessons())
def sae_ridge(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float | None:
    """The best quality as ridge regression on log(1 + code) predicts it. None as above."""
    return None if materials.sae is None else regressed(materials.sae.points, lesson)


@register("sae_ridge_random", learns=True, cost=lambda tokens: tokens.read() + tokens.lessons())
def sae_ridge_random(materials: Materials, lesson: Lesson, rng: np.random.Generator) -> Float | None:
    """The same with the untrained twin."""
    return None if materials.sae_twin is None else regressed(materials.sae_twin.points, lesson)
