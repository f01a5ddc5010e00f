"""What a mean over items of a study is worth as an estimate, with candidates and items both as samples."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from iclscope.statistics.intervals import TINY
from iclscope.statistics.ranks import Float


class Estimate(NamedTuple):
    """A mean, its standard error, 95 % interval and two-sided p; None where nothing varies."""

    value: float
    standard_error: float | None
    low: float | None
    high: float | None
    p: float | None


def estimated(per_item: Float, halves: Float, clusters: NDArray[np.int64], pools: float) -> Estimate:
    """Mean of `per_item` [N], of which `halves` [H] are the values in random halves of the candidates.

    The variance over halves is that from sampling candidates (delete-half jackknife: Shao and Wu 1989, Annals of
    Statistics 17); that from sampling items, in `clusters` [N], is what a bootstrap of both, each by itself, gives
    (Owen 2007, Annals of Applied Statistics 1). There are `pools` pools without a common candidate: with them as the
    degrees of freedom of the first part, tails are those of t (Satterthwaite 1946, Biometrics Bulletin 2).
    """
    value, groups = float(per_item.mean()), int(clusters.max()) + 1
    moves = np.bincount(clusters, per_item - value, groups) / len(per_item)
    items, candidates = float((moves**2).sum() * groups / (groups - 1)), float(halves.var(ddof=1))
    if items + candidates <= TINY**2:
        return Estimate(value, None, None, None, None)
    error = float(np.sqrt(items + candidates))
    freedom = (items + candidates) ** 2 / (items**2 / (groups - 1) + candidates**2 / pools)
    reach = float(t.ppf(0.975, freedom)) * error
    return Estimate(value, error, value - reach, value + reach, float(2 * t.sf(abs(value) / error, freedom)))
