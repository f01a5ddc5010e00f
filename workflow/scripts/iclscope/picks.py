"""Which candidates a preference picks, and what they score on the judging half: in the study and in bootstrap draws.

Row 0 of all weights is the study itself, every candidate and item once; the rows after it are the bootstrap draws.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from iclscope.resampling import Float, Weights

TINY = 1e-12
SHORTLIST = 40  # candidates kept per item: a bootstrap draw lacks all of them with probability exp(-40)


def with_study(weights: Weights) -> Weights:
    """`weights` after a row of ones, which stands for the study itself."""
    return Weights(*(np.vstack([np.ones_like(part[:1]), part]) for part in (weights.candidates, weights.items)))


@dataclass(frozen=True)
class Half:
    """The judging half of the items: `scores` [C, n] on `items` [n], and the `weights` of just these items.

    In a draw that holds none of the items the values are NaN.
    """

    scores: Float
    items: NDArray[np.int64]
    weights: Weights

    @classmethod
    def of(cls, scores: Float, judges: NDArray[np.bool_], weights: Weights) -> "Half":
        """The items that the mask `judges` [N] selects from `scores` [C, N]."""
        return cls(scores[:, judges], np.flatnonzero(judges), Weights(weights.candidates, weights.items[:, judges]))

    @cached_property
    def quality(self) -> Float:
        """Mean score of every candidate [C]."""
        return self.scores.mean(axis=1)

    @cached_property
    def drawn_quality(self) -> Float:
        """Mean score of every candidate over the items of every draw [1 + draws, C]."""
        with np.errstate(invalid="ignore"):
            return self.weights.means(self.scores)

    def outcome(self, share: Float) -> "Outcome":
        """What candidates score that take `share` [1 + draws, C] of the picks, whatever the item."""
        return Outcome(share, np.einsum("dc,dc->d", share, self.drawn_quality), share @ self.quality)

    @cached_property
    def random(self) -> "Outcome":
        """The expectation over random picks."""
        return self.outcome(_shares(self.weights.candidates))


@dataclass(frozen=True)
class Outcome:
    """What picks score: mean `value` [1 + draws], and the same if only the candidates are drawn, items `still`.

    `share` [1 + draws, C] is each candidate's share of the picks.
    """

    share: Float
    value: Float
    still: Float

    def __sub__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.share - other.share, self.value - other.value, self.still - other.still)


@dataclass
class Tally:
    """Gains over random, summed over splits; in a draw only over the splits whose items the draw holds."""

    splits: int = 0
    share: Float | float = 0.0  # [1 + draws, C]
    value: Float | float = 0.0  # [1 + draws]
    known: Float | float = 0.0  # [1 + draws], splits behind `value`
    still: Float | float = 0.0  # [1 + draws]

    def add(self, gain: Outcome) -> None:
        """Count the outcome of one split, minus random."""
        self.splits += 1
        self.share = self.share + gain.share
        self.value = self.value + np.nan_to_num(gain.value)
        self.known = self.known + ~np.isnan(gain.value)
        self.still = self.still + gain.still

    @property
    def gain(self) -> float:
        """Mean gain over splits, in the study itself."""
        return float(self.value[0] / self.splits)

    def standard_error(self, spread: float, noise: float) -> float | None:
        """Standard error of the mean gain, from the bootstrap draws; None where nothing varies.

        `spread` is the variance of candidate quality, `noise` the share of it that is noise, 1 - alpha. The pigeonhole
        bootstrap needs two corrections here. A draw holds the best candidate with probability 1 - 1/e, so that two
        draws often agree in their pick and hide how much the pick of another pool would differ: with d the shares of
        the picks minus those of random, the variance over draws of candidates is too small by
        (E|d|^2 - |E d|^2) / |d in the study|^2. It is also no less than that of random picks with the same shares.
        And noise, which is in the differences between candidates and in those between items, is counted once.
        """
        share, still, known = self.share[1:] / self.splits, self.still[1:] / self.splits, self.known[1:]
        drawn = self.value[1:][known > 0] / known[known > 0]
        seen = (share**2).sum(axis=1).mean() - (share.mean(axis=0) ** 2).sum()
        if seen <= TINY or len(drawn) < 2:
            return None
        taken = ((self.share[0] / self.splits) ** 2).sum()
        candidates = taken * max(still.var(ddof=1) / seen, spread)
        items = max(0.0, drawn.var(ddof=1) - still.var(ddof=1) - noise * candidates)
        error = float(np.sqrt(candidates + items))
        return error if error > TINY else None


class Pick(Protocol):
    """Candidates picked by one preference."""

    def judge(self, half: Half) -> Outcome:
        """What they score on the judging half; in a draw, the best of the candidates that are in it are picked."""


def pick(preference: Float, weights: Weights) -> Pick:
    """The picks of a preference [C], one for all items, or [C, N], one per item."""
    return OneForAll(preference) if preference.ndim == 1 else OnePerItem.of(preference, weights)


@dataclass(frozen=True)
class OneForAll:
    """The candidate with the largest `preference` [C]; equals share the pick."""

    preference: Float

    def judge(self, half: Half) -> Outcome:
        """What it scores on the judging half."""
        weights = half.weights.candidates
        present = np.where(weights > 0, self.preference, -np.inf)
        return half.outcome(_shares(weights * (present == present.max(axis=1, keepdims=True))))


@dataclass(frozen=True)
class OnePerItem:
    """A candidate for every item: `picks` [1 + draws, N]."""

    picks: NDArray[np.int64]

    @classmethod
    def of(cls, preference: Float, weights: Weights) -> "OnePerItem":
        """From a preference [C, N]; of equals the one with the smaller id, which is a random number."""
        best = np.argsort(-preference, axis=0, kind="stable")[:SHORTLIST]  # [shortlist, N]
        column = np.arange(best.shape[1])
        return cls(np.stack([best[np.argmax(there[best], axis=0), column] for there in weights.candidates > 0]))

    def judge(self, half: Half) -> Outcome:
        """What they score on the judging half."""
        picks = self.picks[:, half.items]
        hits = half.scores[picks, np.arange(picks.shape[1])]
        rows, candidates = half.weights.candidates.shape
        times = np.bincount((np.arange(rows)[:, None] * candidates + picks).ravel(), minlength=rows * candidates)
        with np.errstate(invalid="ignore"):
            value = np.einsum("dn,dn->d", hits, half.weights.items) / half.weights.items.sum(axis=1)
        return Outcome(_shares(times.reshape(rows, candidates)), value, hits.mean(axis=1))


def _shares(weights: NDArray[np.number]) -> Float:
    """Rows scaled to sum 1."""
    return weights / weights.sum(axis=1, keepdims=True)
