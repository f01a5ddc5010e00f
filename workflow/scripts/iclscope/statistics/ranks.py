"""Ranks and rank correlations of many signals at once.

Ranks here are average ranks minus their mean ("centred ranks"), so that a sum of products is the numerator of
Spearman's rho. They are multiples of one half: float32 holds them exactly.
"""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Ranks = NDArray[np.float32]
BLOCK = 1024  # signals, and permutations, per matrix product: a block of results stays in the processor's cache
CONSTANT = 1e-5  # share of the variance below which a signal does not vary among some of the candidates
CLOSE = 1e-6  # |rho| this near to each other are equal: float32 cannot tell


def centred_ranks(values: NDArray[np.floating]) -> Ranks:
    """Average ranks along the last axis minus their mean; ties share a rank."""
    from scipy.stats import rankdata  # takes most of a second to import, and many read a type alone here

    ranks = rankdata(values, axis=-1)
    return (ranks - (values.shape[-1] + 1) / 2).astype(np.float32)


def unit(rows: NDArray[np.floating]) -> Float:
    """Rows [..., n] scaled to length 1; a row of zeros stays."""
    rows = rows.astype(np.float64)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


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
