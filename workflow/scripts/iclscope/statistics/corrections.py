"""Tests that hold for a whole family: permutation maxT and Holm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import BLOCK, CLOSE, Float, Ranks, unit


def holm(p: Float) -> Float:
    """p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6)."""
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


@dataclass(frozen=True)
class PermutationNull:
    """What permuting quality over candidates does to every signal of a family.

    `exceeded` [signals]: permutations with |rho*| >= |rho| of the same signal; `largest` [permutations]: max |rho*|
    over the family.
    """

    exceeded: NDArray[np.int64]
    largest: Float

    def p(self) -> Float:
        """Two-sided p of every signal alone [signals]: (1 + exceeded) / (1 + permutations)."""
        return (1 + self.exceeded) / (1 + len(self.largest))

    def p_maxt(self, rho: Float) -> Float:
        """p corrected for the family [signals]: single-step maxT (Westfall and Young 1993)."""
        beaten = np.searchsorted(np.sort(self.largest), np.abs(rho) - CLOSE, side="left")
        return (1 + len(self.largest) - beaten) / (1 + len(self.largest))


def permute(ranks: Ranks, quality: Ranks, permutations: int, rng: np.random.Generator) -> PermutationNull:
    """Permute `quality` [C] over candidates, jointly for all signals `ranks` [signals, C]; both centred ranks."""
    signals, candidates = ranks.shape
    scaled = unit(ranks).astype(np.float32)
    target = unit(quality).astype(np.float32)
    threshold = np.abs(scaled @ target)[:, None] - CLOSE
    exceeded = np.zeros(signals, dtype=np.int64)
    largest = np.zeros(permutations)
    for start in range(0, permutations, BLOCK):
        stop = min(start + BLOCK, permutations)
        shuffled = rng.permuted(np.broadcast_to(target, (stop - start, candidates)), axis=1).T  # [C, block]
        for first in range(0, signals, BLOCK):
            rows = slice(first, first + BLOCK)
            rho = scaled[rows] @ shuffled
            np.abs(rho, out=rho)
            exceeded[rows] += np.count_nonzero(rho >= threshold[rows], axis=1)
            np.maximum(largest[start:stop], rho.max(axis=0), out=largest[start:stop])
    return PermutationNull(exceeded=exceeded, largest=largest)
