"""One number over several data sets: data sets are the unit, and models on one of them are not independent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Float = NDArray[np.float64]

FEWEST = 3  # data sets without which nothing is known of how they differ
BLOCK = 1024  # signals, and permutations, per matrix product
CLOSE = 1 - 1e-6  # correlation that float32 can tell from 1
TAU_STEPS = 60  # bisections of a variance: more than double precision can tell apart


@dataclass(frozen=True)
class Pooled:
    """Mean over data sets with its interval, the interval for a like study of a further data set, and tau.

    Tau is how much true effects differ. Arrays have the effects' shape without its last axis; `freedom` is data sets
    minus 1.
    """

    mean: Float
    standard_error: Float
    low: Float
    high: Float
    next_low: Float
    next_high: Float
    tau: Float
    freedom: int

    def p(self) -> Float:
        """Two-sided p of the mean."""
        return 2 * t.sf(np.abs(self.mean) / self.standard_error, self.freedom)


def mean_of_models(effects: Float, covariance: Float) -> tuple[Float, Float]:
    """Plain mean of the effects [..., models] of one data set and its standard error.

    `covariance` [..., models, models] is that of the errors: models that meet the same candidates and items err alike.
    """
    return effects.mean(axis=-1), np.sqrt(covariance.mean(axis=(-2, -1)))


def pool(effects: Float, standard_errors: Float, level: float = 0.95) -> Pooled | None:
    """Random-effects mean of `effects` [..., data sets] with their `standard_errors`; None below 3 data sets.

    Hartung and Knapp (2001, Statistics in Medicine 20), Sidik and Jonkman (2002, ibid. 21): the mean's variance is
    taken from how the data sets differ, with a t distribution; tau by Paule and Mandel (1982, Journal of Research of
    the National Bureau of Standards 87). For correlations pool atanh(rho). The interval for a further data set holds
    what a study of like precision will find there, for which no tau is needed: where errors are equal it is exact,
    while that of IntHout et al. (2016, BMJ Open 6) for the true effect covers 85 to 93 % where data sets differ.
    """
    count = effects.shape[-1]
    if count < FEWEST:
        return None
    variance = standard_errors**2
    tau2 = _tau_squared(effects, variance)
    mean, squares, total = _weighted(effects, variance, tau2)
    error = np.sqrt(squares / (count - 1) / total)
    reach = t.ppf((1 + level) / 2, count - 1) * error
    apart = reach * np.sqrt(count + 1)
    return Pooled(mean, error, mean - reach, mean + reach, mean - apart, mean + apart, np.sqrt(tau2), count - 1)


def combine(statistics: Float) -> Float:
    """One standard normal statistic per signal from those of independent data sets [signals, data sets].

    The sum over the root of their number (Stouffer et al. 1949). A statistic is atanh(rho) over its standard error.
    """
    return statistics.sum(axis=1) / np.sqrt(statistics.shape[1])


def largest_null(ranks: Sequence[NDArray[np.float32]], permuted: Sequence[NDArray[np.float32]]) -> Float:
    """Largest absolute combined statistic of all signals, permutation by permutation [permutations].

    For each data set `ranks` [signals, C] are centred ranks scaled to length 1 and `permuted` [permutations, C]
    those of quality, permuted over candidates, of clusters that are alike where there are any. The p of the largest of
    thousands of signals, corrected for their number: how often the null is as large (Westfall and Young 1993).
    """
    largest = np.zeros(len(permuted[0]))
    scale = [np.sqrt((part.shape[1] - 3) / len(ranks)) for part in ranks]
    for start in range(0, len(largest), BLOCK):
        block = slice(start, start + BLOCK)
        for first in range(0, len(ranks[0]), BLOCK):
            rows = slice(first, first + BLOCK)
            parts = zip(scale, ranks, permuted, strict=True)
            total = sum(s * np.arctanh(np.clip(r[rows] @ p[block].T, -CLOSE, CLOSE)) for s, r, p in parts)
            np.maximum(largest[block], np.abs(total).max(axis=0), out=largest[block])
    return largest


def _weighted(effects: Float, variance: Float, tau2: Float) -> tuple[Float, Float, Float]:
    """Mean, weighted sum of squares around it and total weight, with weights 1 / (variance + tau2)."""
    weight = 1 / (variance + tau2[..., None])
    total = weight.sum(axis=-1)
    mean = (weight * effects).sum(axis=-1) / total
    return mean, (weight * (effects - mean[..., None]) ** 2).sum(axis=-1), total


def _tau_squared(effects: Float, variance: Float) -> Float:
    """The variance between data sets for which the weighted sum of squares is as large as expected; 0 if it is less."""
    expected = effects.shape[-1] - 1
    low, high = np.zeros(effects.shape[:-1]), np.ptp(effects, axis=-1) ** 2 * effects.shape[-1] / expected
    for _ in range(TAU_STEPS):
        middle = (low + high) / 2
        more = _weighted(effects, variance, middle)[1] > expected
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.where(low > 0, high, 0.0)
