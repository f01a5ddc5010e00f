"""How much of the differences between candidates is real, and the ceiling that noise puts on any correlation.

Every candidate meets the same items, so that an item's difficulty cancels: the noise is the candidate x item
interaction, and reliability is the share of Var(q) that would return with other items of the same kind.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.resampling import random_half
from iclscope.statistics.signals.generalisability import noise_of

CEILING_WANTED = 0.95
TINY = 1e-9  # what float rounding leaves of a variance or an alpha that is zero


@dataclass(frozen=True)
class Reliability:
    """Reliability of candidate quality with the 95 % interval of alpha; None where `reason` says why it is undefined.

    `alpha` is the generalisability coefficient with items nested in their clusters: Cronbach's alpha without any.
    """

    alpha: float | None = None
    alpha_low: float | None = None
    alpha_high: float | None = None
    split_half: float | None = None
    ceiling: float | None = None
    items_needed: int | None = None
    reason: str | None = None


def reliability_of(
    scores: NDArray[np.float64],
    halves: int,
    rng: np.random.Generator,
    clusters: NDArray[np.int64],
    candidate_clusters: NDArray[np.int64] | None = None,
) -> Reliability:
    """Reliability of the mean over items of `scores` [C, N]; the check uses `halves` random halves of the items.

    `clusters` [N] number the clusters of items and `candidate_clusters` [C] those of candidates from 0.
    """
    noise = noise_of(scores, clusters, candidate_clusters)
    if noise is None:
        return Reliability(reason=f"every candidate has the same quality, {scores.mean():.4g}")
    if noise.alpha <= TINY:
        return Reliability(
            reason=f"differences between candidates are no larger than noise (alpha = {noise.alpha:.2f})"
        )
    low, high = noise.alpha_interval()
    return Reliability(
        alpha=noise.alpha,
        alpha_low=low,
        alpha_high=high,
        split_half=split_half(scores, halves, rng, clusters),
        ceiling=math.sqrt(noise.alpha),
        items_needed=items_needed(noise.alpha, scores.shape[1]),
    )


def spearman_brown(alpha: float, k: float) -> float:
    """Reliability with `k` times as many items (Spearman 1910; Brown 1910)."""
    return k * alpha / (1 + (k - 1) * alpha)


def items_needed(alpha: float, items: int, ceiling: float = CEILING_WANTED) -> int:
    """Items for which the noise ceiling reaches `ceiling`, given `alpha` > 0 with `items` (Spearman-Brown, solved)."""
    wanted = ceiling**2
    factor = wanted * (1 - alpha) / (alpha * (1 - wanted))
    return max(1, math.ceil(items * factor - TINY))


def split_half(
    scores: NDArray[np.float64], halves: int, rng: np.random.Generator, clusters: NDArray[np.int64]
) -> float | None:
    """Correlation of mean scores on random halves of the items, stepped up to all items; an independent check of alpha.

    Items of one cluster [N] fall on the same side. The mean correlation is stepped up, not each one: Spearman-Brown
    magnifies a half that came out negative. None where a half leaves all candidates equal every time.
    """
    chosen = np.stack([random_half(clusters, rng) for _ in range(halves)]).T.astype(np.float64)  # [N, halves]
    first, second = (scores @ (side / side.sum(axis=0)) for side in (chosen, 1 - chosen))  # [C, halves]
    first -= first.mean(axis=0)
    second -= second.mean(axis=0)
    scale = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    defined = scale > TINY
    if not defined.any():
        return None
    mean = float(((first * second).sum(axis=0)[defined] / scale[defined]).mean())
    return spearman_brown(mean, 2)
