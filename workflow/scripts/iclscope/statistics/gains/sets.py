"""What a set of demonstrations gains over random sets, with the sets and the items as samples."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from iclscope.statistics.intervals import TINY
from iclscope.statistics.ranks import Float
from iclscope.statistics.signals.generalisability import noise_of

DRAWS = 200  # of two halves of the items


class Worth(NamedTuple):
    """A gain, its 95 % interval and two-sided p; None where nothing varies."""

    gain: float
    low: float | None
    high: float | None
    p: float | None


def worth_of(
    ours: Float, others: Float, clusters: NDArray[np.int64], chances: Float | None = None, crossed: float = 0.0
) -> Worth:
    """Mean score of `ours` [S, N] minus that of random sets `others` [R, N]; `clusters` [N] of the items.

    A single set of ours is taken as given, several are a sample as the others are. `chances` [R]: of the others to be
    drawn, all the same if None. `crossed`: correlation of the errors of halves of the items that chose our set for each
    other, see `crossed_of`. In closed form what a bootstrap of sets x items gives: variances of means over sets and
    over items add (Owen 2007, Annals of Applied Statistics 1), each with its divisor n - 1; tails are those of t with
    the degrees of freedom of Satterthwaite (1946).
    """
    share = np.ones(len(others)) if chances is None else chances
    ahead = ours.mean(axis=0) - (share / share.sum()) @ others
    gain = float(ahead.mean())
    number = np.unique(clusters, return_inverse=True)[1]
    variance, freedom = _moved(np.bincount(number, ahead - gain) / len(ahead))
    parts = [((1 + crossed) * variance, freedom), _moved(_moves(others, share))]
    if len(ours) > 1:
        parts.append(_moved(_moves(ours, np.ones(len(ours)))))
    return _worth(gain, parts)


def crossed_of(
    scores: Float,
    choose: Callable[[Float], Sequence[int]],
    clusters: NDArray[np.int64],
    judging: int,
    rng: np.random.Generator,
) -> float:
    """Correlation of the errors of two halves of the items, each of which judges what the other one chose.

    A half with many items that like some candidates chooses these, and judges by the same items what the other half
    chose. With many such items in both halves both err upwards, with many in one and few in the other both err
    downwards: the two errors are no sample of two, and their mean varies by 1 + this correlation times as much.

    `scores` Y [C, N] of single demonstrations; `choose` maps those on some items to members of a set, whose score is
    taken to be the mean of theirs; the first `judging` of N items judge. Halves are drawn anew, whole clusters [N],
    from a study in which candidates differ by as much as they do without noise.
    """
    ahead = scores - scores.mean(axis=0)
    quality, noise = ahead.mean(axis=1, keepdims=True), noise_of(scores, clusters)
    real = 0.0 if noise is None else max(0.0, noise.alpha)
    study = ahead - (1 - np.sqrt(real)) * quality
    truth = study.mean(axis=1)
    members = [np.flatnonzero(clusters == one) for one in np.unique(clusters)]
    half = len(members) // 2
    judges = max(1, half * judging // scores.shape[1])

    def drawn() -> tuple[list[int], Float]:
        taken = [members[one] for one in rng.integers(0, len(members), half)]
        return list(choose(study[:, np.concatenate(taken)])), study[:, np.concatenate(taken[:judges])].mean(axis=1)

    errors = np.empty((DRAWS, 2))
    for row in errors:
        (first, by_first), (second, by_second) = drawn(), drawn()
        row[:] = (by_second - truth)[first].mean(), (by_first - truth)[second].mean()
    spread = float((errors**2).mean())
    return float(np.clip(errors.prod(axis=1).mean() / spread, 0, 1)) if spread > TINY**2 else 0.0


def worth_of_pairs(ahead: Float, clusters: NDArray[np.int64]) -> Worth:
    """Mean of differences `ahead` [N], each of one item and another set drawn for it; `clusters` [N] of the items."""
    gain = float(ahead.mean())
    number = np.unique(clusters, return_inverse=True)[1]
    if not number.any():
        return Worth(gain, None, None, None)
    return _worth(gain, [_moved(np.bincount(number, ahead - gain) / len(ahead))])


def _worth(gain: float, parts: Sequence[tuple[float, int]]) -> Worth:
    """A gain whose variance has these parts, each with its degrees of freedom."""
    total = sum(variance for variance, _ in parts)
    if total <= TINY**2:
        return Worth(gain, None, None, None)
    error, freedom = np.sqrt(total), total**2 / sum(variance**2 / units for variance, units in parts)
    reach = float(t.ppf(0.975, freedom) * error)
    return Worth(gain, gain - reach, gain + reach, float(2 * t.sf(abs(gain) / error, freedom)))


def _moves(scores: Float, share: Float) -> Float:
    """How far each set [R] moves the mean over sets."""
    weight, means = share / share.sum(), scores.mean(axis=1)
    return weight * (means - weight @ means)


def _moved(moves: Float) -> tuple[float, int]:
    """Variance that units, each with its move, give a mean, and its degrees of freedom."""
    freedom = len(moves) - 1
    return float((moves**2).sum() * len(moves) / freedom), freedom
