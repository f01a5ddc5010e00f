"""The best that any selector can gain in a random pool: the expected maximum of true quality.

The best candidate of a study is lucky, too: its observed quality overstates it. A choice on half of the items and a
judgement on the other half is no bound either, for the choice is noisy. Noise is taken off all candidates together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from iclscope.statistics.gains.agreement import TrueVariance
from iclscope.statistics.gains.pools import Float, Ids, favourite_chances

GRID = 80  # values of true quality that are held possible
SMOOTH, SHARP = (
    100,
    400,
)  # rounds of maximisation: fewer smear a bound, more make points of a curve
DRAWS = 400  # at most: they tell a standard deviation to within 4 %


@dataclass(frozen=True)
class BestPossible:
    """Expected maximum over pools minus the mean [sizes], with interval; None where `reason` says why."""

    gain: Float | None = None
    low: Float | None = None
    high: Float | None = None
    reason: str | None = None


def best_possible_gain(
    scores: Float,
    sizes: Sequence[int],
    candidate_clusters: Ids,
    item_clusters: Ids,
    draws: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> BestPossible:
    """Expected maximum of true quality in random pools of `sizes` candidates, at most half of them, from Y [C, N].

    The interval, on the scale of logarithms, is that of bootstrap `draws` of the candidates' clusters, noise included,
    widened by what items add to the variance of true quality; more than `DRAWS` are not taken. It holds those of a
    smooth and of a sharp shape of true quality, for noise hides which it is; the estimate is that of the smooth one.
    """
    variance = TrueVariance.of(scores, candidate_clusters, item_clusters, level)
    if not variance.shown:
        return BestPossible(reason="the scores do not show that candidates differ by more than noise")
    groups = int(candidate_clusters.max()) + 1
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=min(draws, DRAWS))[:, candidate_clusters]
    weights = np.vstack([np.ones((1, len(scores))), times])
    values, *shapes = _distributions(scores.mean(axis=1), variance.noise, weights)
    gains = np.array([_of_ranks(values, chances[0], len(scores), sizes) for chances in shapes])
    spread = np.array([np.log(_of_draws(values, chances[1:], sizes)).std(axis=0, ddof=1) for chances in shapes])
    error = np.hypot(spread, variance.from_items / variance.quality / 2)
    reach = np.exp(t.ppf((1 + level) / 2, groups / np.array(sizes)) * error)
    return BestPossible(gains[0], (gains / reach).min(axis=0), (gains * reach).max(axis=0))


def _distributions(quality: Float, noise: float, weights: Float) -> tuple[Float, Float, Float]:
    """Values of true quality, and their chances where candidates count `weights` [draws, C] times.

    The chances [draws, values] are given twice, those of a smooth distribution and those of a sharp one.

    Noise is normal with variance `noise`, true quality has any distribution (Kiefer and Wolfowitz 1956, Annals of
    Mathematical Statistics 27; here by expectation and maximisation, stopped early): shrunk as if it were normal,
    qualities that have a bound are believed to reach beyond it.
    """
    values = np.linspace(quality.min(), quality.max(), GRID)
    width = max(np.sqrt(max(noise, 0.0)), (values[1] - values[0]) / 2)
    likelihood = np.exp(-0.5 * ((quality[:, None] - values) / width) ** 2)  # [C, values]
    shares = weights / weights.sum(axis=1, keepdims=True)
    chances = np.full((len(weights), GRID), 1 / GRID)
    smooth = chances
    for done in range(SHARP):
        smooth = chances.copy() if done == SMOOTH else smooth
        fit = chances @ likelihood.T
        chances *= (shares / np.where(fit > 0, fit, 1)) @ likelihood  # a draw may have no chance near what it lacks
    return values, smooth, chances


def _of_ranks(values: Float, chances: Float, candidates: int, sizes: Sequence[int]) -> Float:
    """Expected maximum minus mean [sizes] in pools of distinct candidates, the r-th best having the r-th slice."""
    below, mass = (np.append(0.0, np.cumsum(part)) for part in (chances, chances * values))
    edges = np.linspace(1, 0, candidates + 1) * below[-1]
    slices = -np.diff(np.interp(edges, below, mass)) * candidates
    return np.array([favourite_chances(candidates, size) @ slices for size in sizes]) - slices.mean()


def _of_draws(values: Float, chances: Float, sizes: Sequence[int]) -> Float:
    """The same [draws, sizes] in pools of candidates that are drawn anew from the distributions."""
    below, mean = np.cumsum(chances, axis=1), chances @ values
    return np.stack([np.diff(below**size, axis=1, prepend=0) @ values - mean for size in sizes], axis=1)
