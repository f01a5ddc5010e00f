"""How much better activations together with cheap features predict quality than cheap features alone do.

Predicted are candidates that the fit has not seen, by their quality on items that it has not seen. Cheap features enter
a least-squares fit, what it leaves is fitted by ridge regression on all signals at once, in its dual form, with the
penalty of the least generalised cross-validation error (Golub, Heath and Wahba 1979, Technometrics 21); that may be an
infinite one, which adds nothing.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from iclscope.statistics.ranks import BLOCK, Float, Ranks
from iclscope.statistics.resampling import random_half
from iclscope.statistics.signals.influence import summed

FOLDS = 10
PENALTIES = np.append(np.logspace(-2, 4, 25), np.inf)  # in units of the mean eigenvalue
# Fits of different folds see mostly the same candidates, so that their errors go together: 1/K + 1/(K - 1) in place of
# 1/K (Nadeau and Bengio 2003, Machine Learning 52).
SHARED = 1 + FOLDS / (FOLDS - 1)
LEAST = 1e-9  # eigenvalues below this share of the largest are rounding


class Value(NamedTuple):
    """Shares of the variance of held-out quality that are predicted, by `cheap` features alone and by `all`.

    `gain` is the difference, with its standard `error`, and `low` what it exceeds with 97.5 % confidence: where nothing
    is added the penalty is often infinite and the gain zero, so that an upper limit would be of no use. The share
    cannot exceed the reliability of quality on half of the items. Below zero a prediction is worse than the mean.
    """

    cheap: float
    all: float
    gain: float
    error: float
    low: float


def incremental_value(
    cheap: Float,
    ranks: Ranks,
    scores: Float,
    clusters: NDArray[np.int64],
    repeats: int,
    rng: np.random.Generator,
    candidate_clusters: NDArray[np.int64] | None = None,
) -> Value | None:
    """From `cheap` [C, k], `ranks` [signals, C] and `scores` [C, N]; None where no quality varies, or nobody is left.

    Each of the `repeats` draws halves of the items, by their `clusters` [N], and folds of the candidates anew; halves
    are used both ways. Candidates of one cluster share their fold.
    """
    candidates = len(scores)
    kernel = gram(ranks)
    loss = np.zeros((3, candidates))  # of the mean, of cheap features, of all
    for _ in range(repeats):
        half = random_half(clusters, rng)
        quality = np.stack([scores[:, half].mean(axis=1), scores[:, ~half].mean(axis=1)])
        for test in folds(candidates, candidate_clusters, FOLDS, rng):
            fit = Fit.of(cheap[~test], kernel[np.ix_(~test, ~test)])
            for seen, judged in (quality, quality[::-1]):
                few, more = fit.predict(seen[~test], cheap[test], kernel[np.ix_(test, ~test)])
                truth = judged[test] - judged[~test].mean()
                loss[:, test] += [truth**2, (truth - few) ** 2, (truth - more) ** 2]
    total = loss.sum(axis=1)
    if total[0] <= LEAST * (scores**2).sum():
        return None
    gain = float((total[1] - total[2]) / total[0])
    parts = summed(loss[1] - loss[2] - gain * loss[0], candidate_clusters) / total[0]
    error = float(np.sqrt((parts**2).sum() * len(parts) / (len(parts) - 1) * SHARED))
    reach = float(norm.ppf(0.975)) * error
    cheap_share, all_share = (float(1 - part / total[0]) for part in total[1:])
    return Value(cheap_share, all_share, gain, error, gain - reach)


def gram(ranks: Ranks) -> Float:
    """Mean product of any two candidates over the signals [C, C], each signal scaled to variance 1."""
    candidates = ranks.shape[1]
    total = np.zeros((candidates, candidates))
    for first in range(0, len(ranks), BLOCK):
        rows = ranks[first : first + BLOCK]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) * np.float32(np.sqrt(candidates))
        total += rows.T @ rows
    return total / max(1, len(ranks))


def folds(
    candidates: int, clusters: NDArray[np.int64] | None, number: int, rng: np.random.Generator
) -> Iterator[NDArray[np.bool_]]:
    """`number` masks over candidates [C] that hold each of them once, in whole clusters."""
    groups = np.arange(candidates) if clusters is None else clusters
    fold = (rng.permutation(int(groups.max()) + 1) % number)[groups]
    for own in range(number):
        if (fold == own).any():
            yield fold == own


class Fit(NamedTuple):
    """What a fit needs of the candidates that it may see [n], whatever quality is.

    `design` [n, 1 + k] holds cheap features, `inverse` [1 + k, n] its pseudoinverse; the kernel of the signals, centred
    by its `means` [n], is `vectors` [n, r] times `values` [r] times their transpose.
    """

    design: Float
    inverse: Float
    means: Float
    vectors: Float
    values: Float

    @classmethod
    def of(cls, cheap: Float, kernel: Float) -> "Fit":
        """From `cheap` [n, k] and the kernel [n, n]."""
        design = np.column_stack([np.ones(len(cheap)), cheap])
        means = kernel.mean(axis=0)
        values, vectors = np.linalg.eigh(kernel - means - means[:, None] + means.mean())
        kept = values > LEAST * max(values[-1], LEAST)
        return cls(design, np.linalg.pinv(design), means, vectors[:, kept], values[kept])

    def predict(self, quality: Float, cheap: Float, kernel: Float) -> tuple[Float, Float]:
        """Quality of other candidates [m] above the mean of those seen, by cheap features [m, k] alone and by all.

        `quality` [n] is that of the candidates seen, `kernel` [m, n] relates the others to them.
        """
        weights = self.inverse @ quality
        few = np.column_stack([np.ones(len(cheap)), cheap]) @ weights - quality.mean()
        if not len(self.values):
            return few, few
        rest = quality - self.design @ weights
        turned = self.vectors.T @ rest
        dual = self.vectors @ (turned / (self.values + self._penalty(rest, turned)))
        centred = kernel - kernel.mean(axis=1, keepdims=True) - self.means + self.means.mean()
        return few, few + centred @ dual

    def _penalty(self, rest: Float, turned: Float) -> float:
        """Penalty of the least generalised cross-validation error for what cheap features leave."""
        count, used = len(rest), self.design.shape[1]
        penalties = PENALTIES * self.values.mean()
        left = 1 - self.values / (self.values + penalties[:, None])  # [penalties, r]
        error = (rest @ rest) - (turned**2).sum() + ((left * turned) ** 2).sum(axis=1)
        freedom = count - used - (1 - left).sum(axis=1)
        score = np.where(freedom > 1, error / np.maximum(freedom, 1) ** 2, np.inf)
        return float(penalties[np.argmin(score)])
