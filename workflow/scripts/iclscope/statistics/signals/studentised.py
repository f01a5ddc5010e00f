"""Is any of thousands of signals related to quality, where both candidates and items are samples?

Permuting quality over candidates tests a relation to quality on these very items. Part of quality is their choice:
where a direction of the candidate x item interaction goes along with a signal, other items would show another rho, and
the permutation calls that a finding (Clark 1973, Journal of Verbal Learning and Verbal Behavior 12). So every
correlation is divided by its standard error over samples of both, and the largest of the family is compared with the
largest of permuted ones on the same scale (DiCiccio and Romano 2017, JASA 112; Yu and Hutson 2024, The American
Statistician 78; single-step maxT of Westfall and Young 1993). Statistics are in units of a standard normal
distribution, so that families of several tables are one: the largest of a permutation is the largest over tables.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t as student

from iclscope.statistics.ranks import BLOCK, CLOSE, Float, Ranks, centred_ranks, unit
from iclscope.statistics.signals.generalisability import TINY, Noise, noise_of
from iclscope.statistics.signals.influence import NEARLY_ONE, candidate_variance, residual_variance
from iclscope.statistics.signals.shuffles import Null, Shuffles, permute

UNEXPLAINED = 1e-6  # a residual with less than this share of the variance is rounding: the nuisance itself


@dataclass(frozen=True)
class ItemDraws:
    """Quality and what other items would make of it.

    `quality` [C] are centred ranks, `drawn` [draws, C] those of quality over items drawn with replacement, in whole
    clusters; `noise` is the noise in quality, `clusters` the number of independent items.
    """

    quality: Ranks
    drawn: Ranks
    noise: Noise
    clusters: int

    @classmethod
    def of(
        cls,
        scores: Float,
        clusters: NDArray[np.int64],
        draws: int,
        rng: np.random.Generator,
        candidate_clusters: NDArray[np.int64] | None = None,
    ) -> "ItemDraws | None":
        """From `scores` [C, N] and the clusters of items [N]; None where all candidates are equally good."""
        noise = noise_of(scores, clusters, candidate_clusters)
        if noise is None:
            return None
        groups = int(clusters.max()) + 1
        times = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws)[:, clusters].astype(np.float64)
        quality = (times @ scores.T) / times.sum(axis=1, keepdims=True)
        varied = np.ptp(quality, axis=1) > 0
        return cls(centred_ranks(scores.mean(axis=1)), centred_ranks(quality[varied]), noise, groups)

    def z(self, rows: Ranks, basis: Float | None = None) -> Ranks:
        """atanh(rho) of every signal with quality over drawn items [signals, draws].

        `rows` [signals, C] have length 1 and, with a `basis` [C, k], are residuals; rho is then a partial one.
        """
        drawn = self.drawn.astype(np.float64)
        if basis is not None:
            drawn = drawn - (drawn @ basis) @ basis.T
        return np.arctanh(np.clip(rows @ unit(drawn).astype(np.float32).T, -1 + CLOSE, 1 - CLOSE))

    def variance(self, rows: Ranks, basis: Float | None = None) -> Float:
        """Variance of atanh(rho) of every signal [signals] over samples of items, beyond what noise explains.

        Noise differs from candidate to candidate as it does from item to item, and the variance over candidates holds
        it already: what it alone gives is taken off, so that the estimate may be negative. Quality of drawn items has
        noise twice, which brings rho nearer to 0.
        """
        noise = self.noise.variance / max(self.noise.variance.mean(), TINY) * self.noise.share  # [C], mean share
        variance = np.empty(len(rows))
        for first in range(0, len(rows), BLOCK):
            mine = rows[first : first + BLOCK]
            seen = np.var(self.z(mine, basis), axis=1, ddof=1, dtype=np.float64) * self.clusters / (self.clusters - 1)
            chance = (mine.astype(np.float64) ** 2 @ noise) / (mine.shape[1] - 1)
            variance[first : first + BLOCK] = (1 + self.noise.share) * seen - chance
        return variance


@dataclass(frozen=True)
class Spread:
    """Variance of atanh(rho) of every signal [signals], from samples of `candidates` and of `items`.

    `units` counts independent candidates, `clusters` independent items.
    """

    candidates: Float
    items: Float
    units: int
    clusters: int

    @classmethod
    def of(cls, candidates: Float, items: Float, least: Float, units: int, clusters: int) -> "Spread":
        """From estimates, of which that of items may be negative, with a sum of `least` or more [signals]."""
        total = np.maximum(candidates + items, least)
        items = np.clip(items, 0.0, total - np.minimum(least, total))
        return cls(total - items, items, units, clusters)

    @property
    def error(self) -> Float:
        """Standard error of atanh(rho) [signals]."""
        return np.sqrt(self.candidates + self.items)

    @property
    def freedom(self) -> Float:
        """Degrees of freedom of the error [signals] (Satterthwaite 1946)."""
        total = (self.candidates + self.items) ** 2
        return total / (self.candidates**2 / (self.units - 1) + self.items**2 / (self.clusters - 1))

    def interval(self, rho: Float, level: float = 0.95) -> tuple[Float, Float]:
        """Interval around `rho` [signals] on Fisher's z scale."""
        reach = student.ppf((1 + level) / 2, self.freedom) * self.error
        z = np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE))
        return np.tanh(z - reach), np.tanh(z + reach)

    def statistic(self, rho: Float) -> Float:
        """|atanh rho| over its error, as the standard normal deviate with the same tail [signals].

        Permutations know the tail that candidates give, but not that the part from items is estimated from few.
        """
        ratio = np.abs(np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE))) / self.error
        share = self.items / (self.candidates + self.items)
        freedom = (self.clusters - 1) / np.maximum(share, CLOSE) ** 2
        return np.where(share > CLOSE, norm.isf(student.sf(ratio, freedom)), ratio)


class Assessed(NamedTuple):
    """Correlations `rho` with quality [signals], NaN where nuisances leave nothing, and how sure they are.

    `statistic` [signals] is in standard normal deviates, 0 where rho is NaN; `null` holds its permuted fellows.
    """

    rho: Float
    spread: Spread
    statistic: Float
    null: Null


def assess(ranks: Ranks, draws: ItemDraws, shuffles: Shuffles, basis: Float | None = None) -> Assessed:
    """Correlate every signal with quality, and compare with permuted quality.

    `ranks` [signals, C] are centred ranks, none constant. With an orthonormal `basis` [C, k] of centred nuisances the
    correlations are partial ones, and what is permuted is the residual of quality (Freedman and Lane 1983).
    """
    rows, known = residuals(ranks, basis)
    target, left = residuals(draws.quality[None], basis)
    known &= left[0]
    target = target[0].astype(np.float64)
    rho = np.clip(rows @ target.astype(np.float32), -1, 1).astype(np.float64)
    if basis is None:
        variance = candidate_variance(ranks, draws.quality, shuffles.clusters)
    else:
        variance = residual_variance(rows, target, shuffles.clusters)
    error = shuffles.error(rows, target, basis)
    spread = Spread.of(variance, draws.variance(rows, basis), error**2, shuffles.units, draws.clusters)
    statistic = np.where(known, spread.statistic(rho), 0.0)
    null = permute(rows, target, shuffles, statistic, error, basis)
    return Assessed(np.where(known, rho, np.nan), spread, statistic, null)


def residuals(ranks: Ranks, basis: Float | None) -> tuple[Ranks, NDArray[np.bool_]]:
    """Residuals of `ranks` [rows, C] on the basis [C, k] at length 1, zero where nothing is left, and whether it is."""
    rows, known = np.empty(ranks.shape, dtype=np.float32), np.empty(len(ranks), dtype=bool)
    for first in range(0, len(ranks), BLOCK):
        part = slice(first, first + BLOCK)
        values = unit(ranks[part])
        if basis is not None:
            values = values - (values @ basis) @ basis.T
        known[part] = (values**2).sum(axis=1) > UNEXPLAINED
        rows[part] = unit(values) * known[part][:, None]
    return rows, known
