"""Permutations and bootstrap draws over candidates and items, many signals at once, as matrix products.

Ranks here are average ranks minus their mean ("centred ranks"), so that a sum of products is the numerator of
Spearman's rho. They are multiples of one half: float32 holds them exactly.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError
from iclscope.statistics.ranks import BLOCK, CLOSE, Float, Ranks, centred_ranks, weighted_ranks
from iclscope.statistics.reliability import cronbach_alpha


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A random generator of its own for each purpose, so that no step shifts the numbers of another."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def random_half(clusters: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random half of the clusters as a mask over items [N]: items of one cluster fall on the same side."""
    total = int(clusters.max()) + 1
    if total < 4:
        raise StudyError(f"only {total} independent items: halves need at least 4; raise datasets.*.items")
    return (rng.permutation(total) < total // 2)[clusters]


@dataclass(frozen=True)
class Weights:
    """Pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1): how often each draw holds each row and column.

    `candidates` [draws, C] and `items` [draws, N] are drawn independently; items of one cluster share their weight.
    """

    candidates: Float
    items: Float

    @classmethod
    def draw(cls, candidates: int, clusters: NDArray[np.int64], draws: int, rng: np.random.Generator) -> "Weights":
        """Multinomial weights; `clusters` [N] numbers the clusters of items from 0."""
        groups = int(clusters.max()) + 1
        rows = rng.multinomial(candidates, np.full(candidates, 1 / candidates), size=draws)
        columns = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws)[:, clusters]
        return cls(candidates=rows.astype(np.float64), items=columns.astype(np.float64))

    def means(self, scores: Float) -> Float:
        """Weighted mean over items of `scores` [C, N], for every draw [draws, C]."""
        return (self.items @ scores.T) / self.items.sum(axis=1, keepdims=True)


def rho_spread(ranks: Ranks, scores: Float, weights: Weights) -> Float:
    """Standard error of atanh(rho) between every signal and quality [signals], from the bootstrap draws.

    `ranks` [signals, C] are centred ranks, `scores` is Y [C, N]. NaN where fewer than two draws are defined.

    Noise, the candidate x item interaction, is in the differences between candidates, in those between items, and in
    both at once, so that the pigeonhole bootstrap counts it three times (Owen 2007) and its draws of quality are
    noisier than quality is. With n = 1 - alpha, the share of noise in Var(q), and variances V of atanh(rho*) from
    draws of candidates and items and, with the same weights, of candidates alone:
    (1 + n) V(both) - 2 n V(candidates) counts it once. It is never less than V(candidates).
    """
    noise = 1 - float(np.clip(np.nan_to_num(cronbach_alpha(scores)), 0, 1))
    quality = scores.mean(axis=1)
    still = np.broadcast_to(quality, weights.candidates.shape)
    draws = [_Draws.of(drawn, weights.candidates) for drawn in (weights.means(scores), still)]
    spread = np.full(len(ranks), np.nan)
    for first in range(0, len(ranks), BLOCK):
        rows = ranks[first : first + BLOCK]
        shift, ties = _rank_shift(rows, centred_ranks(quality).astype(np.float64))
        both, alone = (draw.variance(rows, shift, ties) for draw in draws)
        spread[first : first + BLOCK] = np.sqrt(np.maximum((1 + noise) * both - 2 * noise * alone, alone))
    return spread


@dataclass(frozen=True)
class _Draws:
    """Bootstrap draws of ranked quality, made ready for products with signals.

    Quality is ranked anew in every draw, exactly. Ranking every signal anew would be a sort per signal and draw; its
    effect is expanded to first order in `extra`, the weights minus 1, instead: that errs by O(1/C) and makes a draw
    a product with `right` [2 C, draws].
    """

    right: Ranks
    extra: Float

    @classmethod
    def of(cls, quality: Float, weights: Float) -> "_Draws":
        """From the quality [draws, C] and the weights [draws, C]; a draw without differences in quality is left out."""
        ranks = np.stack([weighted_ranks(q, w) for q, w in zip(quality, weights, strict=True)])
        scale = np.sqrt((weights * ranks**2).sum(axis=1, keepdims=True))  # [draws, 1]
        usable = scale[:, 0] > 0
        ranks, scale, weights = ranks[usable], scale[usable], weights[usable]
        right = np.concatenate([weights * ranks / scale, (weights - 1) / scale], axis=1)
        return cls(right=right.astype(np.float32).T, extra=weights - 1)

    def variance(self, ranks: Ranks, shift: Ranks, ties: Ranks) -> Float:
        """Variance over draws of atanh(rho*) of every signal [signals]; for `shift` and `ties` see `_rank_shift`."""
        # sum of squared centred ranks: (C^3 - sum of cubed tie sizes) / 12, which weights change through ties alone
        squares = (ranks.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
        weighted = np.repeat(squares, len(self.extra), axis=1)
        tied = (ties > 1).any(axis=1)
        weighted[tied] -= (ties[tied].astype(np.float64) ** 2) @ self.extra.T / 4
        known = weighted > CLOSE * squares
        rho = np.concatenate([ranks, shift], axis=1) @ self.right / np.sqrt(np.where(known, weighted, 1))
        z = np.arctanh(np.clip(rho, -1 + CLOSE, 1 - CLOSE))
        enough = known.sum(axis=1) > 1
        variance = np.full(len(ranks), np.nan)
        variance[enough] = np.var(z[enough], axis=1, ddof=1, where=known[enough])
        return variance


def _rank_shift(ranks: Ranks, quality: Float) -> tuple[Ranks, Ranks]:
    """How the numerator of rho moves with a candidate's weight through the ranks of the others, and tie sizes.

    One more of candidate c raises the rank of every candidate above it by 1 and of those tied with it by 1/2; the
    numerator then grows by the sum of their quality ranks. Both results are [signals, C].
    """
    order = np.argsort(ranks, axis=1, kind="stable")
    ordered = np.take_along_axis(ranks, order, axis=1)
    position = np.arange(ranks.shape[1])
    new = np.ones(ranks.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    last = np.ones(ranks.shape, dtype=bool)
    last[:, :-1] = new[:, 1:]
    start = np.maximum.accumulate(np.where(new, position, 0), axis=1)
    stop = np.minimum.accumulate(np.where(last, position + 1, ranks.shape[1])[:, ::-1], axis=1)[:, ::-1]
    below = np.zeros((ranks.shape[0], ranks.shape[1] + 1))
    np.cumsum(quality[order], axis=1, out=below[:, 1:])
    # Centred quality ranks sum to 0: what lies above is minus what lies below.
    moved = -(np.take_along_axis(below, start, axis=1) + np.take_along_axis(below, stop, axis=1)) / 2
    shift, ties = np.empty_like(ranks), np.empty_like(ranks)
    np.put_along_axis(shift, order, moved.astype(np.float32), axis=1)
    np.put_along_axis(ties, order, (stop - start).astype(np.float32), axis=1)
    return shift, ties
