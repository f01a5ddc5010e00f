"""Stability selection: how often a signal is among the strongest in random halves of the candidates.

Complementary pairs: each half comes with the other one (Shah and Samworth 2013, JRSS B 75). Their bound holds whatever
the signals' distribution: of the signals that are chosen in less than a share q / p of the halves, as chance chooses,
at most q^2 / ((2 t - 1) p) are expected to be chosen in a share t or more, t above one half.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import Float

PAIRS = 50
TOLERATED, AT = 1.0, 0.9  # signals expected to be chosen wrongly in so large a share of the halves


class Stability(NamedTuple):
    """`share` [signals] of the halves in which a signal is chosen; `expected_false` [signals] bounds how many that are
    no better than chance are expected to be at least as stable, NaN where it says nothing.
    """

    share: Float
    expected_false: Float


def chosen_per_half(signals: int) -> int:
    """How many of the strongest a half chooses, so that the bound at a share AT is TOLERATED."""
    return max(1, int(np.sqrt(TOLERATED * (2 * AT - 1) * signals)))


def stability_of(
    strength: Callable[[NDArray[np.bool_]], Float], signals: int, candidates: int, rng: np.random.Generator
) -> Stability:
    """Of so many signals; `strength` gives that of each [signals] among the candidates of a mask [candidates]."""
    q = min(chosen_per_half(signals), signals)
    times = np.zeros(signals)
    for _ in range(PAIRS):
        order = rng.permutation(candidates)
        for half in (order[: candidates // 2], order[candidates // 2 : 2 * (candidates // 2)]):
            ours = np.zeros(candidates, dtype=bool)
            ours[half] = True
            times[np.argsort(-strength(ours), kind="stable")[:q]] += 1
    share = times / (2 * PAIRS)
    says = share > 0.5
    bound = q**2 / (np.where(says, 2 * share - 1, 1) * signals)
    return Stability(share, np.where(says, bound, np.nan))
