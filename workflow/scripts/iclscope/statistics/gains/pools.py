"""What a selector gains over random choice in random pools of m of the C candidates, in closed form, with its error.

The favourite of a pool is the candidate that the selector prefers most; equals share the pick. Its expected score is a
U-statistic over candidates, whose error a single pool of all candidates cannot show: that holds one favourite.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import norm, t

Float = NDArray[np.float64]
Ids = NDArray[np.int64]

SMALLEST = 4  # candidates in the smallest pool of a curve
TINY = 1e-9  # share of an error that is float rounding
BLOCK = 256  # items whose orders of candidates are held at once


def pool_sizes(candidates: int) -> list[int]:
    """Sizes of the pools of a curve: 4, 8, 16, …, half of the candidates, and all of them."""
    half = candidates // 2
    powers = [SMALLEST * 2**k for k in range(half.bit_length()) if SMALLEST * 2**k < half]
    return [*powers, half, candidates]


def favourite_chances(candidates: int, size: int) -> Float:
    """Chance of each rank [candidates], best first, to be the favourite of a random pool of `size` candidates.

    C(C - r, m - 1) / C(C, m): the candidate itself is in the pool and the m - 1 others rank behind it.
    """
    rank = np.arange(1, candidates + 1)
    return np.exp(_log_choose(candidates - rank, size - 1) - _log_choose(candidates, size))


_SUMMED = ("gain", "candidates", "unrelated", "items")  # what a mean over splits is taken of


@dataclass(frozen=True)
class Gains:
    """Gains over random choice [selectors, sizes] in random pools of `sizes` candidates, and where errors come from.

    `candidates` [selectors, sizes, C] and `items` [selectors, sizes, N] say how far each candidate and each item moves
    a gain: their sums of squares are its variance from the sampling of candidates and of items, their products the
    covariance of two gains. Noise, the candidate x item interaction, is counted with the items alone. `unrelated` are
    the candidates' moves if quality has nothing to do with the preference. `freedom` [selectors, sizes] are the degrees
    of freedom of `candidates`. NaN where a selector is offered fewer than twice as many candidates as a pool holds,
    unless the pool is all of them.
    """

    sizes: Sequence[int]
    gain: Float
    candidates: Float
    unrelated: Float
    items: Float
    freedom: Float

    @classmethod
    def mean(cls, parts: Iterable["Gains"]) -> "Gains":
        """Mean over parts that hold the same selectors, one per split of the items."""
        parts = iter(parts)
        first = next(parts)
        total = [getattr(first, name).copy() for name in _SUMMED]
        freedom, count = first.freedom, 1
        for part in parts:
            for mine, name in zip(total, _SUMMED, strict=True):
                mine += getattr(part, name)
            freedom, count = np.minimum(freedom, part.freedom), count + 1
        gain, candidates, unrelated, items = (mine / count for mine in total)
        return cls(first.sizes, gain, candidates, unrelated, items, freedom)

    @classmethod
    def stack(cls, parts: Sequence["Gains"]) -> "Gains":
        """The selectors of all parts, one part after the other."""
        columns = (*_SUMMED, "freedom")
        return cls(parts[0].sizes, *(np.concatenate([getattr(part, name) for part in parts]) for name in columns))

    def of(self, rows: NDArray[np.bool_]) -> "Gains":
        """The gains of some selectors, chosen by a mask."""
        return Gains(self.sizes, *(getattr(self, name)[rows] for name in (*_SUMMED, "freedom")))

    def at(self, size: int) -> "Gains":
        """The gains in pools of one size."""
        place = slice(self.sizes.index(size), self.sizes.index(size) + 1)
        return Gains([size], *(getattr(self, name)[:, place] for name in (*_SUMMED, "freedom")))

    def errors(self, candidate_clusters: Ids, item_clusters: Ids) -> "Errors":
        """Standard errors, with clusters of candidates [C] and of items [N], numbered from 0, as the units sampled."""
        freedom = self.freedom * (candidate_clusters.max() + 1) / len(candidate_clusters)
        return self._errors(self.candidates, freedom, candidate_clusters, item_clusters)

    def errors_of_chance(self, candidate_clusters: Ids, item_clusters: Ids) -> "Errors":
        """The same if quality has nothing to do with the preferences: for tests, not for intervals.

        All candidates say then how much quality differs, not the favourites alone.
        """
        freedom = np.where(np.isfinite(self.freedom), float(candidate_clusters.max()), np.nan)
        return self._errors(self.unrelated, freedom, candidate_clusters, item_clusters)

    def _errors(self, moves: Float, freedom: Float, candidate_clusters: Ids, item_clusters: Ids) -> "Errors":
        """Standard errors from moves of candidates [selectors, sizes, C] and their degrees of freedom."""
        candidates = (_by_cluster(moves, candidate_clusters) ** 2).sum(axis=-1)
        items = (_by_cluster(self.items, item_clusters) ** 2).sum(axis=-1)
        total = candidates + items
        with np.errstate(invalid="ignore"):
            apart = candidates**2 / freedom + items**2 / item_clusters.max()
            return Errors(np.sqrt(total), np.sqrt(candidates), total**2 / apart)

    def covariance(self, size: int, candidate_clusters: Ids, item_clusters: Ids) -> Float:
        """Covariance matrix [selectors, selectors] of the gains in pools of one size."""
        one = self.at(size)
        candidates = _by_cluster(one.candidates[:, 0], candidate_clusters)
        items = _by_cluster(one.items[:, 0], item_clusters)
        return candidates @ candidates.T + items @ items.T


class Errors(NamedTuple):
    """Standard errors of gains [selectors, sizes], the part from candidates, and degrees of freedom.

    The degrees are those of Satterthwaite (1946, Biometrics Bulletin 2): there are only C / m pools without a common
    candidate, so that the part from candidates is poorly known in large pools.
    """

    total: Float
    candidates: Float
    freedom: Float

    def interval(self, gain: Float, level: float = 0.95) -> tuple[Float, Float]:
        """Lower and upper bound of each gain."""
        reach = t.ppf((1 + level) / 2, self.freedom) * self.total
        return gain - reach, gain + reach

    def p(self, gain: Float) -> Float:
        """Two-sided p of each gain alone, if the errors are those of chance; NaN where nothing varies."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 2 * t.sf(np.abs(gain) / self.total, self.freedom)


def one_for_all(
    preferences: Float, scores: Float, judges: NDArray[np.bool_], sizes: Sequence[int], reliability: float, tried: Float
) -> Gains:
    """Gains of selectors that choose one candidate for all items, on the items that the mask `judges` [N] selects.

    `preferences` [selectors, C], higher is better, minus infinity for candidates that are not offered; `scores` is
    Y [C, N]; `reliability` is the share of Var(q) that is not noise. `tried` [selectors] is the number of other items
    on which a selector has scored these very candidates, 0 if it has not: with choosing and judging items swapped over
    splits, noise times noise has twice the variance that the judging items show, and the noisy share of a choice is 1
    minus its reliability. A rule learned from other candidates is taken as given: the error is that of the rule.
    """
    judged = scores[:, judges]
    quality = judged.mean(axis=1)
    shape = (len(preferences), len(sizes), len(quality))
    share, moves = np.full((2, *shape), np.nan)
    freedom = np.full(shape[:2], np.nan)
    for row, preference in enumerate(preferences):
        offered = np.flatnonzero(preference > -np.inf)
        if not len(offered):
            continue
        order = _Order.of(preference[offered, None])
        for column, size in enumerate(sizes):
            if 2 * size <= len(offered) or size == len(offered):
                chances, influence = order.favourite(quality[offered, None], size)
                share[row, column], moves[row, column] = 0, 0
                share[row, column, offered] = chances[:, 0] - 1 / len(offered)
                moves[row, column, offered] = influence[:, 0]
                freedom[row, column] = _freedom(len(offered), size)
    gain = share @ quality
    items = np.zeros((*shape[:2], scores.shape[1]))
    items[:, :, judges] = _deviations(share.reshape(-1, shape[2]) @ judged).reshape(*shape[:2], -1)
    real, tried = np.clip(reliability, 0, 1), np.asarray(tried)
    # Spearman-Brown: the noisy share of means over `tried` items.
    noisy = np.where(tried > 0, (1 - real) / (1 - real + real * np.maximum(tried, 1) / scores.shape[1]), 0)
    items *= np.sqrt(1 + noisy)[:, None, None]
    unrelated = share * np.sqrt(real) * quality.std(ddof=1)
    return Gains(list(sizes), gain, moves * np.sqrt(real), unrelated, items, freedom)


def one_per_item(preference: Float, scores: Float, sizes: Sequence[int], reliability: float) -> Gains:
    """Gains of a selector that chooses a candidate for every item by `preference` [C, N], as in `one_for_all`.

    A candidate's moves hold the noise of the items it serves; what chance would make of it is taken off again
    (variances of two-way clustered sums: Cameron, Gelbach and Miller 2011, Journal of Business & Economic
    Statistics 29).
    """
    candidates, items = scores.shape
    per_item, noise = np.zeros((len(sizes), items)), np.zeros(len(sizes))
    moves, share = np.zeros((2, len(sizes), candidates))
    for first in range(0, items, BLOCK):
        block = slice(first, first + BLOCK)
        order, values = _Order.of(preference[:, block]), scores[:, block]
        for row, size in enumerate(sizes):
            chances, influence = order.favourite(values, size)
            per_item[row, block] = (chances * values).sum(axis=0) - values.mean(axis=0)
            moves[row] += influence.sum(axis=1) / items
            share[row] += (chances - 1 / candidates).sum(axis=1) / items
            noise[row] += (influence**2).sum() / items**2
    total = (moves**2).sum(axis=1)
    real = np.sqrt(np.clip(1 - noise / np.where(total > 0, total, np.inf), 0, 1))
    freedom = np.array([_freedom(candidates, size) for size in sizes])
    unrelated = share * np.sqrt(np.clip(reliability, 0, 1)) * scores.mean(axis=1).std(ddof=1)
    columns = (per_item.mean(axis=1), moves * real[:, None], unrelated, _deviations(per_item), freedom)
    return Gains(list(sizes), *(column[None] for column in columns))


def by_chance(chances: Float, scores: Float, sizes: Sequence[int], reliability: float) -> Gains:
    """Gains of candidates drawn anew for every item with the `chances` [C], which no pool changes."""
    share = chances / chances.sum() - 1 / len(chances)
    quality = scores.mean(axis=1)
    # As a weighted mean: what a candidate adds beyond the mean gain, and what all others lose to it.
    moves = share * (quality - quality.mean()) - share @ quality / len(chances)
    real = np.sqrt(np.clip(reliability, 0, 1))
    rows = (moves * real, share * real * quality.std(ddof=1), _deviations((share @ scores)[None])[0])
    candidates, unrelated, items = (np.tile(row, (1, len(sizes), 1)) for row in rows)
    ones = np.ones((1, len(sizes)))
    return Gains(list(sizes), share @ quality * ones, candidates, unrelated, items, (len(chances) - 1.0) * ones)


def pick_p(gain: Float, errors: Errors, quality: Float) -> Float:
    """Two-sided p of gains of single picks, in the pool of all candidates: what `gain` a random pick would show.

    One pick has the tails of the candidates' `quality` [C], which no number of candidates makes normal: the part from
    candidates is distributed as they are, that from items as normal. No smaller than 1 / (C + 1), as is the p of a
    permutation test of one candidate against all. NaN where nothing varies.
    """
    ahead = (quality - quality.mean()) / quality.std(ddof=1)
    reach = np.multiply.outer(errors.candidates, ahead)
    from_items = np.sqrt(np.maximum(errors.total**2 - errors.candidates**2, 0))[..., None]
    scale = np.maximum(from_items, TINY * errors.total[..., None])
    size = np.abs(gain)[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        beyond = norm.sf((size - reach) / scale) + norm.cdf((-size - reach) / scale)
    return (1 + beyond.sum(axis=-1)) / (1 + len(quality))


class _Pools(NamedTuple):
    """Pools of m of n candidates, by rank [n], best first.

    `favourite`: chance to be the favourite; `above` and `own`: the same in pools that hold a given other candidate
    further behind, and the candidate itself. `scale` makes moves of them whose squares add up to the variance.
    """

    favourite: Float
    above: Float
    own: Float
    odds: float
    scale: float


@lru_cache(maxsize=256)
def _pools(n: int, m: int) -> _Pools:
    """Chances, and the scale of moves.

    Without candidate c the mean is V - (m/n) / (1 - m/n) (h_c - V), where h_c is the mean over pools that hold c: the
    jackknife needs no loop. It overstates the variance of a U-statistic of order m (Efron and Stein 1981, Annals of
    Statistics 9), 1.35-fold at m = n/2. If scores do not depend on ranks, the true variance is |d|^2 Var(q), d being
    the chances minus 1/n, and the jackknife's follows from its coefficients; their ratio is taken off.
    """
    rank = np.arange(1, n + 1)
    favourite = favourite_chances(n, m)
    above = np.exp(_log_choose(n - 1 - rank, m - 2) - _log_choose(n - 1, m - 1))
    own = np.exp(_log_choose(n - rank, m - 1) - _log_choose(n - 1, m - 1))
    odds = m / (n - m)
    rest = 1 / (n * (n - 1))
    seen = (
        (odds * (above - favourite) + rest) ** 2 * (n - rank)
        + (odds * (own - favourite) - 1 / (n - 1) + rest) ** 2
        + (rest - odds * favourite) ** 2 * (rank - 1)
    ).sum()
    true = ((favourite - 1 / n) ** 2).sum()
    return _Pools(favourite, above, own, odds, float(np.sqrt(true / seen)) if m > 1 else 0.0)


@dataclass(frozen=True)
class _Order:
    """Candidates in falling preference, column by column [n, k]; equals stand from place `start` to before `stop`."""

    order: Ids
    start: Ids
    stop: Ids

    @classmethod
    def of(cls, preference: Float) -> "_Order":
        """The order of preferences [n, k]."""
        order = np.argsort(-preference, axis=0, kind="stable")
        ordered = np.take_along_axis(preference, order, axis=0)
        new = np.ones(ordered.shape, dtype=bool)
        new[1:] = ordered[1:] != ordered[:-1]
        place = np.arange(len(order))[:, None]
        start = np.maximum.accumulate(np.where(new, place, 0), axis=0)
        last = np.vstack([new[1:], new[:1]])
        last[-1] = True
        stop = np.minimum.accumulate(np.where(last, place + 1, len(order))[::-1], axis=0)[::-1]
        return cls(order, start, stop)

    def favourite(self, values: Float, size: int) -> tuple[Float, Float]:
        """Each candidate's chance to be the favourite [n, k], and how far it moves the favourite's value over the mean.

        `values` are [n, k]. In the pool of all candidates a pick could have been any other candidate: moves are then
        its chances, minus those of random, times the standard deviation of the values.
        """
        ordered = np.take_along_axis(values, self.order, axis=0)
        n = len(ordered)
        if size == n:
            chances = (self.start == 0) / self.stop[:1]
            return self._back(chances), self._back((chances - 1 / n) * ordered.std(axis=0, ddof=1))
        pools = _pools(n, size)
        chances, above, own = (self._shared(part) for part in pools[:3])
        value = (chances * ordered).sum(axis=0)
        held = own * ordered + self._equals(pools.above) * (self._sums(ordered) - ordered)
        better = np.zeros((n + 1, ordered.shape[1]))
        np.cumsum(above * ordered, axis=0, out=better[1:])
        held += np.take_along_axis(better, self.start, axis=0)
        moves = pools.odds * (held - value) - (ordered - ordered.mean(axis=0)) / (n - 1)
        return self._back(chances), self._back(pools.scale * moves)

    def _shared(self, by_rank: Float) -> Float:
        """The mean of `by_rank` [n] over the places of equals [n, k]."""
        total = np.append(0.0, np.cumsum(by_rank))
        return (total[self.stop] - total[self.start]) / (self.stop - self.start)

    def _equals(self, above: Float) -> Float:
        """Chance of another equal of a candidate to be the favourite of pools that hold the candidate [n, k].

        Equals are put in random order: the other is the favourite at rank r if the candidate got one of the places
        behind it.
        """
        rank = np.arange(1, len(above) + 1)
        total, ranked = np.append(0.0, np.cumsum(above)), np.append(0.0, np.cumsum(above * rank))
        behind = self.stop * (total[self.stop] - total[self.start]) - (ranked[self.stop] - ranked[self.start])
        tied = self.stop - self.start
        return behind / np.maximum(tied * (tied - 1), 1)

    def _sums(self, ordered: Float) -> Float:
        """Sum of values over the places of equals [n, k]."""
        total = np.zeros((len(ordered) + 1, ordered.shape[1]))
        np.cumsum(ordered, axis=0, out=total[1:])
        return np.take_along_axis(total, self.stop, axis=0) - np.take_along_axis(total, self.start, axis=0)

    def _back(self, ordered: Float) -> Float:
        """Values in order of preference, put back in the order of candidates."""
        back = np.empty_like(ordered)
        np.put_along_axis(back, self.order, ordered, axis=0)
        return back


def _freedom(offered: int, size: int) -> float:
    """Degrees of freedom of the candidates' part: as many as there are pools without a common candidate."""
    return offered - 1.0 if size == offered else offered / size


def _deviations(per_item: Float) -> Float:
    """How far each item moves the mean of rows [k, n]."""
    return (per_item - per_item.mean(axis=1, keepdims=True)) / per_item.shape[1]


def _by_cluster(moves: Float, clusters: Ids) -> Float:
    """Moves summed over the members of each cluster, scaled so that the squares' sum has no bias."""
    groups = int(clusters.max()) + 1
    if groups < moves.shape[-1]:
        member = np.zeros((moves.shape[-1], groups))
        member[np.arange(len(clusters)), clusters] = 1
        moves = moves @ member
    return moves * np.sqrt(groups / (groups - 1))


def _log_choose(n: NDArray[np.int64] | int, k: int) -> Float:
    """Logarithm of the binomial coefficient; minus infinity where k is not between 0 and n."""
    possible = (np.asarray(n) >= k) & (k >= 0)
    n = np.where(possible, n, max(k, 0))
    k = max(k, 0)
    return np.where(possible, gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0), -np.inf)
