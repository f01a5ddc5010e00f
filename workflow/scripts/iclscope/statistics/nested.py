"""What the best signal of a grid is worth where it was not chosen (Cawley and Talbot 2010 on choosing and judging)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import BLOCK, Float, Ranks, centred_ranks, unit
from iclscope.statistics.resampling import random_half

CONSTANT = 1e-5  # share of the variance below which a signal does not vary within a half


@dataclass(frozen=True)
class Nested:
    """Mean over splits: rho of the best signal on the halves it was `chosen` on, and on the others, `held_out`.

    `chosen` is an absolute value and `held_out` has the sign of the chosen direction: below zero, the best signal
    points the other way where it was not chosen.
    """

    chosen: float
    held_out: float

    @property
    def optimism(self) -> float:
        """By how much choosing and judging on the same data flatters."""
        return self.chosen - self.held_out


def best_of_grid(
    ranks: Ranks, scores: Float, clusters: NDArray[np.int64], splits: int, rng: np.random.Generator
) -> Nested | None:
    """Choose the largest |rho| on half the candidates x half the items, report it on the other halves.

    `ranks` [signals, C] are centred ranks, `scores` is Y [C, N]. None if there is no signal, or no split in which
    quality varies on both sides.
    """
    candidates = scores.shape[0]
    chosen, held_out = [], []
    for _ in range(splits if len(ranks) else 0):
        ours = rng.permutation(candidates) < candidates // 2
        half = random_half(clusters, rng)
        here = scores[np.ix_(ours, half)].mean(axis=1)
        there = scores[np.ix_(~ours, ~half)].mean(axis=1)
        if np.ptp(here) == 0 or np.ptp(there) == 0:
            continue
        best, _ = strongest_signal(ranks, here, ours)
        rho = [_rho(ranks[best, ours], here), _rho(ranks[best, ~ours], there)]
        chosen.append(abs(rho[0]))
        held_out.append(np.sign(rho[0]) * rho[1])
    if not chosen:
        return None
    return Nested(chosen=float(np.mean(chosen)), held_out=float(np.mean(held_out)))


def strongest_signal(ranks: Ranks, quality: Float, ours: NDArray[np.bool_]) -> tuple[int, float]:
    """Row and rho of the signal with the largest |rho| over the candidates `ours`; see `correlations`."""
    rho = correlations(ranks, quality, ours)
    best = int(np.argmax(np.abs(rho)))
    return best, float(rho[best])


def correlations(ranks: Ranks, quality: Float, ours: NDArray[np.bool_]) -> Float:
    """Rho of every signal [signals] over the candidates `ours` [C], whose `quality` [ours] is given.

    Rho is 0 where quality, or the signal, is constant among them. Signals keep their ranks among all candidates,
    which no quality enters: that saves a sort per signal.
    """
    target = unit(centred_ranks(quality)).astype(np.float32)
    chosen = np.flatnonzero(ours)
    rho = np.zeros(len(ranks))
    for first in range(0, len(ranks), BLOCK):
        rows = ranks[first : first + BLOCK]
        total = np.einsum("sc,sc->s", rows, rows)
        rows = np.take(rows, chosen, axis=1)
        spread = np.einsum("sc,sc->s", rows, rows) - len(chosen) * rows.mean(axis=1) ** 2
        rho[first : first + BLOCK] = (rows @ target) / np.sqrt(np.where(spread > CONSTANT * total, spread, np.inf))
    return rho


def _rho(signal: Ranks, quality: Float) -> float:
    """Spearman's rho; 0 for a signal that is constant here, as a choice that turned out to say nothing."""
    return float(unit(centred_ranks(signal)) @ unit(centred_ranks(quality)))
