"""Learning curves: their area, how sure a difference between strategies is, labels saved, and where a curve leads.

A curve is accuracy against the number of labels `labelled` [n], the same numbers for all strategies.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, least_squares
from scipy.stats import t

from iclscope.statistics.intervals import TINY
from iclscope.statistics.ranks import Float

EXPONENTS = np.geomspace(0.05, 3, 60)  # of the power law that are tried
PALM = ("limit", "delta", "alpha", "beta")  # its parameters, and where they are looked for
PALM_BOUNDS = ((0.0, 1e-6, 0.0, 0.05), (1.0, 1 - 1e-6, 20.0, 3.0))
RESAMPLED = 100  # draws of the seeds
EXACT = 12  # seeds of which all flips of signs are tried: 4,096
FLIPS = 10_000  # drawn flips beyond that


class Mean(NamedTuple):
    """A mean over seeds, its 95 % interval and two-sided p; None where nothing varies."""

    value: float
    low: float | None
    high: float | None
    p: float | None


class Steadiness(NamedTuple):
    """Ratio of two standard deviations over the same seeds, its 95 % interval and the two-sided p of a ratio of 1."""

    ratio: float
    low: float
    high: float
    p: float


def aulc(labelled: NDArray[np.int64], accuracy: Float) -> Float:
    """Area under learning curves [..., n] by trapezoids over the range of `labelled`, so that it is a mean accuracy."""
    return np.trapezoid(accuracy, labelled, axis=-1) / (labelled[-1] - labelled[0])


def mean_of(values: Float, rng: np.random.Generator) -> Mean:
    """Mean of paired differences [seeds], with Student's interval and the p of sign flips."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    mean = float(values.mean())
    if spread <= TINY:
        return Mean(mean, None, None, None)
    reach = float(t.ppf(0.975, len(values) - 1) * spread / np.sqrt(len(values)))
    return Mean(mean, mean - reach, mean + reach, float(p_of_flips(values[:, None], rng)[0][0]))


def p_of_flips(differences: Float, rng: np.random.Generator) -> tuple[Float, Float]:
    """Two-sided p of mean differences [seeds, comparisons] by sign flips of whole seeds: alone, and by maxT for all.

    All comparisons of a seed change sign together, which keeps how they depend on each other (Westfall and Young
    1993). All flips are tried where there are few seeds, so that p is exact. A difference that never varies from zero
    has p = 1.
    """
    seeds = len(differences)
    if seeds <= EXACT:
        signs = 1.0 - 2 * (np.arange(2**seeds)[:, None] >> np.arange(seeds) & 1)
    else:
        signs = np.vstack([np.ones(seeds), rng.choice([-1.0, 1.0], (FLIPS, seeds))])
    squares = (differences**2).mean(axis=0)  # no flip changes them
    sums = np.abs(signs @ differences / seeds)
    spread = np.sqrt(np.maximum(squares - sums**2, TINY * squares))
    statistic = np.divide(sums, spread, out=np.zeros_like(sums), where=spread > 0)
    found = statistic[0] * (1 - 1e-9)  # the first row flips nothing
    return (statistic >= found).mean(axis=0), (statistic.max(axis=1)[:, None] >= found).mean(axis=0)


def steadiness(ours: Float, theirs: Float) -> Steadiness | None:
    """How the standard deviation of `ours` [seeds] compares with that of `theirs`; None where either does not vary.

    Test and interval of Pitman (1939) and Morgan (1939, Biometrika 31) for variances of paired values.
    """
    seeds, (first, second) = len(ours), (float(values.var(ddof=1)) for values in (ours, theirs))
    r = float(np.corrcoef(ours, theirs)[0, 1]) if min(first, second) > TINY**2 else 1.0
    if seeds < 4 or 1 - r**2 < TINY:
        return None
    k = 1 + 2 * (1 - r**2) * t.ppf(0.975, seeds - 2) ** 2 / (seeds - 2)
    reach, ratio = k + np.sqrt(k**2 - 1), first / second
    statistic = (ratio - 1) * np.sqrt((seeds - 2) / (4 * ratio * (1 - r**2)))
    p = float(2 * t.sf(abs(statistic), seeds - 2))
    middle, low, high = (float(np.sqrt(value)) for value in (ratio, ratio / reach, ratio * reach))
    return Steadiness(middle, low, high, p)


def labels_for(labelled: NDArray[np.int64], reference: Float, curve: Float, step: int) -> float | None:
    """Labels with which the curve `reference` [n] first is as accurate as another one at a step; None beyond its ends.

    Both are made to rise (isotonic regression): more labels do not hurt but by chance.
    """
    rising, accuracy = isotonic_regression(reference).x, float(isotonic_regression(curve).x[step])
    if not rising[0] <= accuracy <= rising[-1]:
        return None
    place = int(np.searchsorted(rising, accuracy))
    if place == 0:
        return float(labelled[0])
    share = (accuracy - rising[place - 1]) / (rising[place] - rising[place - 1])
    return float(labelled[place - 1] + share * (labelled[place] - labelled[place - 1]))


def forecast(labelled: NDArray[np.int64], accuracy: Float, at: float) -> float | None:
    """Accuracy that the power law A - c n^-g through a curve [n] has `at` so many labels; None with under 4 points.

    Least squares over a grid of g, with c >= 0 and A <= 1.
    """
    if len(labelled) < 4:
        return None
    best, found = np.inf, float(accuracy.mean())
    for exponent in EXPONENTS:
        x = (labelled / labelled[0]) ** -exponent
        slope = max(0.0, -float(np.polyfit(x, accuracy, 1)[0]))
        limit = float((accuracy + slope * x).mean())
        if limit > 1:
            limit, slope = 1.0, max(0.0, float(x @ (1 - accuracy) / (x @ x)))
        error = float(((limit - slope * x - accuracy) ** 2).sum())
        if error < best:
            best, found = error, limit - slope * (at / labelled[0]) ** -exponent
    return float(found)


def palm(labelled: NDArray[np.int64], accuracy: Float, rng: np.random.Generator) -> Float | None:
    """PALM's parameters of the mean of learning curves [seeds, n]: value, low and high of each [4, 3].

    Least squares of A (1 - (1 - delta)^((n / b + alpha)^beta)) with b labels a batch (Machnio et al. 2025, arXiv
    2507.15381); low and high hold 95 % of what resampled seeds give. None where there are no more points than
    parameters, or a single seed, of which no spread is known.
    """
    seeds, points = accuracy.shape
    if points <= len(PALM) or seeds < 2:
        return None
    batches = labelled / (labelled[1] - labelled[0])

    def fitted(curve: Float, start: Float) -> Float:
        def off(p: Float) -> Float:
            return p[0] * (1 - (1 - p[1]) ** ((batches + p[2]) ** p[3])) - curve

        found: Float = least_squares(off, start, bounds=PALM_BOUNDS).x
        return found

    mean = accuracy.mean(axis=0)
    whole = fitted(mean, np.array([min(0.99, 1.05 * mean.max() + 0.01), 0.2, 0.5, 0.5]))
    near = np.clip(whole, np.add(PALM_BOUNDS[0], 1e-4), np.subtract(PALM_BOUNDS[1], 1e-4))  # off the edges
    drawn = [fitted(accuracy[rng.integers(0, seeds, seeds)].mean(axis=0), near) for _ in range(RESAMPLED)]
    return np.column_stack([whole, *np.quantile(drawn, [0.025, 0.975], axis=0)])


def coverage(labels: NDArray[np.int64]) -> float:
    """Good's (1953) estimate of how likely the next random row is of a class seen: 1 - classes seen once / rows."""
    return 1 - float((np.bincount(labels) == 1).sum()) / len(labels)
