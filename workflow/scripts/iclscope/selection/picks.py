"""Which candidates a preference picks, and what they score on the judging half: in the study and in bootstrap draws.

Row 0 of all weights is the study itself, every candidate and item once; the rows after it are the bootstrap draws. In
a draw, the best of the candidates that are in it are picked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.intervals import TINY
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import Weights

SHORTLIST = 40  # candidates kept per item: a bootstrap draw lacks all of them with probability exp(-40)
TOP = (5, 10)  # sizes of the selections that are valued beside the single pick


def with_study(weights: Weights) -> Weights:
    """`weights` after a row of ones, which stands for the study itself."""
    return Weights(*(np.vstack([np.ones_like(part[:1]), part]) for part in (weights.candidates, weights.items)))


def shares(weights: NDArray[np.number | np.bool_]) -> Float:
    """Rows scaled to sum 1; a row of zeros becomes NaN."""
    with np.errstate(invalid="ignore"):
        return weights / weights.sum(axis=-1, keepdims=True)


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
        items = np.flatnonzero(judges)
        return cls(scores[:, items], items, Weights(weights.candidates, weights.items[:, items]))

    @cached_property
    def quality(self) -> Float:
        """Mean score of every candidate [C]."""
        return self.scores.mean(axis=1)

    @cached_property
    def drawn_quality(self) -> NDArray[np.float32]:
        """Mean score of every candidate over the items of every draw [1 + draws, C]."""
        # Centred first, so that float32 rounds differences between candidates, not the level of the scores.
        level = self.quality.mean()
        times = shares(self.weights.items).astype(np.float32)
        return times @ (self.scores - level).astype(np.float32).T + np.float32(level)

    @cached_property
    def random(self) -> "Outcome":
        """The expectation over random picks."""
        return ByChance(np.ones(len(self.scores))).judge(self)


@dataclass(frozen=True)
class Outcome:
    """What picks score: mean `value` [1 + draws], and the same if only the candidates are drawn, items `still`.

    `top` is the mean score in the study itself of as many of the most preferred candidates as its keys say.
    """

    value: Float
    still: Float
    top: Mapping[int, float]


@dataclass
class Tally:
    """Gains over random, summed over splits; in a draw only over the splits whose items the draw holds."""

    splits: int = 0
    share: NDArray[np.float32] = field(default_factory=lambda: np.zeros((), np.float32))  # [1 + draws, C], of the picks
    value: Float = field(default_factory=lambda: np.zeros(()))  # [1 + draws]
    known: Float = field(default_factory=lambda: np.zeros(()))  # [1 + draws], splits behind `value`
    still: Float = field(default_factory=lambda: np.zeros(()))  # [1 + draws]
    top: dict[int, float] = field(default_factory=lambda: dict.fromkeys(TOP, 0.0))

    def add(self, picked: "OneForAll | ByChance", half: Half) -> None:
        """Count what picks gain over random ones on the judging half of one split."""
        if not self.splits:
            self.share = np.zeros(half.weights.candidates.shape, dtype=np.float32)
        picked.add_share(self.share, half.weights.candidates)
        self.add_outcome(picked.judge(half), half.random)

    def add_outcome(self, outcome: Outcome, random: Outcome) -> None:
        """Count the outcome of one split against that of random picks."""
        gain = outcome.value - random.value
        self.splits += 1
        self.value = self.value + np.nan_to_num(gain)
        self.known = self.known + ~np.isnan(gain)
        self.still = self.still + (outcome.still - random.still)
        for size in TOP:
            self.top[size] += outcome.top[size] - random.top[size]

    @property
    def gain(self) -> float:
        """Mean gain over splits, in the study itself."""
        return float(self.still[0] / self.splits)

    def top_gain(self, size: int) -> float:
        """Mean gain of the `size` most preferred candidates."""
        return self.top[size] / self.splits

    def errors(self, weights: Weights, spread: float, noise: float, learned: bool) -> tuple[float, float] | None:
        """Standard errors of the mean gain from candidates and from items, by bootstrap; None where nothing varies.

        `weights` are those of the draws; `spread` is the variance of candidate quality, `noise` the share of it that
        is noise, 1 - alpha. Another pool would offer other candidates: with d the shares of the picks minus those of
        random, picks that were made without looking at scores would then differ by |d|^2 `spread`. Where picks are
        `learned` from scores, draws of candidates show how much they differ, with a correction: a draw holds the best
        candidate with probability 1 - 1/e, so that two draws often agree in their pick, and the variance over draws
        is too small by (E|d|^2 - |E d|^2) / |d|^2; it is no less than without looking. The pigeonhole bootstrap needs
        another correction: noise, which is in the differences between candidates and in those between items, is
        counted once.
        """
        share, known = self.share / self.splits - shares(weights.candidates), self.known[1:]
        still = self.still[1:] / self.splits
        drawn = self.value[1:][known > 0] / known[known > 0]
        seen = (share[1:] ** 2).sum(axis=1).mean() - (share[1:].mean(axis=0) ** 2).sum()
        if seen <= TINY or len(drawn) < 2:
            return None
        candidates = (share[0] ** 2).sum() * (max(still.var(ddof=1) / seen, spread) if learned else spread)
        items = max(0.0, drawn.var(ddof=1) - still.var(ddof=1) - noise * candidates)
        return (float(np.sqrt(candidates)), float(np.sqrt(items))) if candidates + items > TINY**2 else None


@dataclass(frozen=True)
class OneForAll:
    """The candidate with the largest `preference` [C] for all items; equals share the pick."""

    preference: Float

    def judge(self, half: Half) -> Outcome:
        """What it scores on the judging half."""
        value, still = np.empty((2, len(half.weights.candidates)))
        for draws, candidates, part in self._picks(half.weights.candidates):
            value[draws] = np.einsum("dc,dc->d", part, half.drawn_quality[np.ix_(draws, candidates)])
            still[draws] = part @ half.quality[candidates]
        return Outcome(value, still, {size: float(self.top_share(size) @ half.quality) for size in TOP})

    def add_share(self, total: NDArray[np.float32], weights: Float) -> None:
        """Add each candidate's part of the pick in every draw to `total` [1 + draws, C]."""
        for draws, candidates, part in self._picks(weights):
            total[np.ix_(draws, candidates)] += part

    def top_share(self, size: int) -> Float:
        """Each candidate's part [C] of the `size` most preferred ones, or of all that are offered if they are fewer."""
        size = min(size, int(np.count_nonzero(self.preference > -np.inf)))
        last = np.partition(self.preference, -size)[-size]
        above, level = self.preference > last, self.preference == last
        return (above + level * (size - above.sum()) / level.sum()) / size

    def _picks(self, weights: Float) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Float]]:
        """Groups of equals from best to worst: the draws they serve, their ids, and their part in each draw."""
        order = np.argsort(-self.preference, kind="stable")
        ordered = self.preference[order]
        waiting = np.arange(len(weights))
        for candidates in np.split(order, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1):
            times = weights[np.ix_(waiting, candidates)]
            there = times.any(axis=1)
            if there.any():
                yield waiting[there], candidates, shares(times[there])
            waiting = waiting[~there]
            if not len(waiting):
                return


@dataclass(frozen=True)
class ByChance:
    """A candidate drawn anew for every item, each with its own `chance` [C]."""

    chance: Float

    def judge(self, half: Half) -> Outcome:
        """What it scores on the judging half, in expectation."""
        part = shares(self.chance * half.weights.candidates)
        value, still = np.einsum("dc,dc->d", part, half.drawn_quality), part @ half.quality
        return Outcome(value, still, dict.fromkeys(TOP, float(still[0])))

    def add_share(self, total: NDArray[np.float32], weights: Float) -> None:
        """Add each candidate's part of the picks in every draw to `total` [1 + draws, C]."""
        total += shares(self.chance * weights)


@dataclass(frozen=True)
class OnePerItem:
    """A candidate for every item: `picks` [1 + draws, N], and the ids of the `best` in order [shortlist, N]."""

    picks: NDArray[np.int64]
    best: NDArray[np.int64]

    @classmethod
    def of(cls, preference: Float, weights: Weights) -> "OnePerItem":
        """From a preference [C, N]; of equals the one with the smaller id, which is a random number."""
        best = np.argsort(-preference, axis=0, kind="stable")[:SHORTLIST]  # [shortlist, N]
        column = np.arange(best.shape[1])
        return cls(np.stack([best[np.argmax(there[best], axis=0), column] for there in weights.candidates > 0]), best)

    def tally(self, scores: Float, judging: NDArray[np.bool_], weights: Weights, random: list[Outcome]) -> Tally:
        """Gains over `random` on the `judging` items [splits, N] of every split, whose picks are always the same."""
        rows, candidates = weights.candidates.shape
        column = np.arange(scores.shape[1])
        hits = scores[self.picks, column]  # [1 + draws, N]
        sides = judging.T.astype(np.float64)
        with np.errstate(invalid="ignore"):
            value = ((hits * weights.items) @ sides) / (weights.items @ sides)
        still = (hits @ sides) / sides.sum(axis=0)
        tops = {n: scores[self.best[:n], column].mean(axis=0) @ sides / sides.sum(axis=0) for n in TOP}
        tally = Tally()
        for split, chance in enumerate(random):
            mine = {size: top[split] for size, top in tops.items()}
            tally.add_outcome(Outcome(value[:, split], still[:, split], mine), chance)
        counts = np.tile((sides / sides.sum(axis=0)).sum(axis=1), rows)  # how often each item judges, over splits
        places = (np.arange(rows)[:, None] * candidates + self.picks).ravel()
        tally.share = np.bincount(places, counts, rows * candidates).reshape(rows, candidates).astype(np.float32)
        return tally


Pick = OneForAll | ByChance | OnePerItem
