"""Do two ways of scoring rank candidates alike: two models, or two quality targets of one model?

Noise is the candidate x item interaction, and both ways may share it: on the same items even unrelated qualities then
correlate. All products here are of different items, the mean over all splits of the items into disjoint halves. What
remains is the correlation of true qualities (universe scores: Brennan 2001, Generalizability Theory, chapter 9).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from iclscope.statistics.gains.pools import Float, Gains, Ids, one_for_all

PRODUCTS = ((0, 1), (0, 0), (1, 1))  # of first and second scores: their covariance and both variances
NEARLY_ONE = 0.999  # a correlation beyond which Fisher's scale has no room


@dataclass(frozen=True)
class Agreement:
    """Correlation `rho` of true qualities with its interval; all None where `reason` says why it is undefined.

    `halves` is what to expect of qualities on disjoint halves of the items, and `ceiling` the largest it could be.
    """

    rho: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    halves: float | None = None
    ceiling: float | None = None
    reason: str | None = None


def agreement_of(
    first: Float, second: Float, candidate_clusters: Ids, item_clusters: Ids, level: float = 0.95
) -> Agreement:
    """Agreement of two score matrices [C, N] of the same candidates and items, in the same order.

    Candidates and items are both sampled, whole clusters at a time; `candidate_clusters` [C] and `item_clusters` [N]
    number them from 0. The variance adds the parts from candidates and from items, less the part that is in both
    (Cameron, Gelbach and Miller 2011, Journal of Business & Economic Statistics 29).
    """
    pairs = _Pairs.of((first, second), item_clusters)
    components, left = pairs.components, pairs.without_each()
    quantile = t.ppf((1 + level) / 2, min(candidate_clusters.max(), item_clusters.max()))
    for which, row in (("first", 1), ("second", 2)):
        slope = np.arange(len(PRODUCTS)) == row
        error = np.sqrt(sum(_variances(pairs, slope, left[row], candidate_clusters)))
        if components[row] <= quantile * error:
            return Agreement(reason=f"the {which} scores do not show that candidates differ by more than noise")
    scale = 1 / np.sqrt(components[1] * components[2])
    rho = float(components[0] * scale)
    slope = np.array([scale, *(-rho / 2 / components[1:])])
    lost = np.where((left[1:] > 0).all(axis=0), left[0] / np.sqrt(np.abs(left[1] * left[2])), rho)
    error = float(np.sqrt(sum(_variances(pairs, slope, lost, candidate_clusters))))
    ceiling = pairs.ceiling(components)
    return Agreement(rho, error, *_interval(rho, quantile * error, ceiling), rho * ceiling, ceiling)


@dataclass(frozen=True)
class _Pairs:
    """Sums of scores over each cluster of items [2, C, clusters], minus their mean over candidates."""

    sums: Float
    sizes: Float

    @classmethod
    def of(cls, scores: tuple[Float, Float], clusters: Ids) -> "_Pairs":
        """From two score matrices [C, N]."""
        member = np.zeros((len(clusters), int(clusters.max()) + 1))
        member[np.arange(len(clusters)), clusters] = 1
        sums = np.stack([(matrix - matrix.mean(axis=0)) @ member for matrix in scores])
        return cls(sums, member.sum(axis=0))

    @property
    def weight(self) -> float:
        """Number of pairs of items of different clusters."""
        return self.sizes.sum() ** 2 - (self.sizes**2).sum()

    @property
    def per_candidate(self) -> Float:
        """Products over pairs of items of different clusters: first x second, first x first, second x second [3, C]."""
        total = self.sums.sum(axis=2)
        return np.stack([total[a] * total[b] - (self.sums[a] * self.sums[b]).sum(axis=1) for a, b in PRODUCTS])

    @property
    def components(self) -> Float:
        """Covariance and both variances of true quality [3]."""
        return self.per_candidate.sum(axis=1) / (self.weight * (self.sums.shape[1] - 1))

    @property
    def per_cell(self) -> Float:
        """The part of the products that involves a cluster of items [3, C, clusters]."""
        rest = self.sums.sum(axis=2, keepdims=True) - self.sums
        return np.stack([self.sums[a] * rest[b] + self.sums[b] * rest[a] for a, b in PRODUCTS])

    def without_each(self) -> Float:
        """The components without each cluster of items [3, clusters]."""
        lost = self.per_cell.sum(axis=1) / (self.sums.shape[1] - 1)
        weight = self.weight - 2 * self.sizes * (self.sizes.sum() - self.sizes)
        return (self.components[:, None] * self.weight - lost) / weight

    def ceiling(self, components: Float) -> float:
        """Root of the product of both reliabilities with half of the items."""
        observed = (self.sums.sum(axis=2) ** 2).sum(axis=1) / (self.sizes.sum() ** 2 * (self.sums.shape[1] - 1))
        noise = np.maximum(observed - components[1:], 0)
        return float(np.sqrt(np.prod(components[1:] / (components[1:] + 2 * noise))))


def _interval(rho: float, reach: float, ceiling: float) -> tuple[float, float]:
    """Bounds on Fisher's scale of the correlation that is seen with all items, whose ceiling follows from the halves'.

    It is never near 1 where noise makes `rho` uncertain, and may be where `rho` is well known.
    """
    seen = min(2 * ceiling / (1 + ceiling), NEARLY_ONE)
    centre = min(max(seen * rho, -NEARLY_ONE), NEARLY_ONE)
    bounds = np.tanh(np.arctanh(centre) + np.array([-1, 1]) * reach * seen / (1 - centre**2)) / seen
    low, high = np.clip(bounds, -1, 1)
    return float(low), float(high)


def _variances(pairs: _Pairs, slope: Float, left: Float, candidate_clusters: Ids) -> tuple[float, float]:
    """Sampling variance of a function of the components from candidates, noise included, and what items add to it.

    `slope` [3] is its derivative, `left` [clusters] its value without each cluster of items.
    """
    candidates, clusters = pairs.sums.shape[1:]
    groups = int(candidate_clusters.max()) + 1
    member = np.zeros((groups, candidates))
    member[candidate_clusters, np.arange(candidates)] = 1
    scale = 1 / (pairs.weight * (candidates - 1))
    by_candidate = slope @ pairs.per_candidate * scale
    cells = np.einsum("p,pcg->cg", slope, pairs.per_cell) * scale
    by_both = member @ (cells - cells.mean(axis=0))
    from_candidates = ((member @ (by_candidate - by_candidate.mean())) ** 2).sum() * groups / (groups - 1)
    from_both = ((by_both - by_both.mean(axis=1, keepdims=True)) ** 2).sum() * groups / (groups - 1)
    from_items = ((left - left.mean()) ** 2).sum() * (clusters - 1) / clusters
    return from_candidates, max(0.0, from_items - from_both)


@dataclass(frozen=True)
class TrueVariance:
    """Variance of true quality and of the noise in observed quality, and by how much the first is uncertain.

    `from_items` is the standard error of `quality` that items add to that of candidates: it is there where noise has a
    direction in common, as a push towards one label has. `shown` says that candidates differ by more than noise.
    """

    quality: float
    noise: float
    from_items: float
    shown: bool

    @property
    def reliability(self) -> float:
        """Share of the variance of observed quality that is not noise; Cronbach's alpha if every item stands alone.

        0 where all candidates are equally good.
        """
        observed = self.quality + self.noise
        return self.quality / observed if observed > 0 else 0.0

    @classmethod
    def of(cls, scores: Float, candidate_clusters: Ids, item_clusters: Ids, level: float = 0.95) -> "TrueVariance":
        """From Y [C, N]; clusters are numbered from 0."""
        pairs = _Pairs.of((scores, scores), item_clusters)
        quality = pairs.components[1]
        slope = np.arange(len(PRODUCTS)) == 1
        alone, extra = _variances(pairs, slope, pairs.without_each()[1], candidate_clusters)
        quantile = t.ppf((1 + level) / 2, min(candidate_clusters.max(), item_clusters.max()))
        noise = float(scores.mean(axis=1).var(ddof=1) - quality)
        shown = bool(quality > quantile * np.sqrt(alone + extra))
        return cls(float(quality), noise, float(np.sqrt(extra)), shown)


def gain_elsewhere(
    first: Float, second: Float, judging: NDArray[np.bool_], sizes: Sequence[int], reliability: float
) -> Gains:
    """What the best candidate by the `first` scores [C, N] gains on the `second`, in random pools of `sizes`.

    Chosen on one half of the items, judged on the other, over the splits of `judging` [splits, N]; `reliability` is
    that of the second scores.
    """
    splits = (
        one_for_all(
            first[:, ~judges].mean(axis=1)[None], second, judges, sizes, reliability, np.array([(~judges).sum()])
        )
        for judges in judging
    )
    return Gains.mean(splits)
