"""What a correlation would be with quality measured without noise, how sure that is, and what may be said of a signal.

Noise in quality shrinks rho by the ceiling, the root of alpha (Spearman 1904). Whether an effect is too small to use is
asked of rho / ceiling: of rho itself, noisy quality alone would make every effect small.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.intervals import LEVEL
from iclscope.statistics.ranks import Float
from iclscope.statistics.signals.generalisability import Noise
from iclscope.statistics.signals.studentised import Spread

PREDICTS = "predicts"
EXPLAINED = "predicts only what label, length and zero-shot scores tell"
SMALL = "related, too small to use"
USELESS = "no useful effect"
OPEN = "cannot tell"
STATUSES = (PREDICTS, EXPLAINED, SMALL, USELESS, OPEN)  # from the strongest claim to none


class Interval(NamedTuple):
    """Estimates of rho without noise with their limits [signals]; infinite where noise leaves them open."""

    value: Float
    low: Float
    high: Float


def latent_interval(rho: Float, spread: Spread, noise: Noise, level: float = 0.95) -> Interval:
    """Interval of rho / sqrt(alpha) for every signal [signals], from the limits of both.

    Limits of a ratio from those of its parts, which need not be symmetric (MOVER: Donner and Zou 2012, Statistical
    Methods in Medical Research 21): L is where rho - L ceiling is `(rho - low)^2 + L^2 (reach of the ceiling)^2` above
    zero. Both estimates hold the same variance of quality, but while rho is small that ties them hardly at all. All
    is NaN, the limits infinite, where alpha is not positive.
    """
    if noise.alpha <= 0:
        return Interval(*(np.full(len(rho), value) for value in (np.nan, -np.inf, np.inf)))
    low, high = spread.interval(rho, level)
    alphas = (noise.alpha_interval(level)[0], noise.alpha, noise.alpha_interval(level)[1])
    least, ceiling, most = (float(np.sqrt(max(alpha, 0.0))) for alpha in alphas)
    return Interval(rho / ceiling, -_upper(-rho, -low, least, ceiling, most), _upper(rho, high, least, ceiling, most))


def _upper(rho: Float, high: Float, least: float, ceiling: float, most: float) -> Float:
    """Upper limit of rho / ceiling [signals]: above 0 a smaller ceiling raises it, below 0 a larger one."""
    reach = np.where(high > 0, ceiling - least, most - ceiling)
    a, c = ceiling**2 - reach**2, high * (2 * rho - high)
    product = rho * ceiling
    root = np.sqrt(np.maximum(product**2 - a * c, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (product + root) / a
        below = c / (product - root)  # the same root of the equation, safe where `a` is 0 or less
    return np.where(high > 0, above if least > 0 else np.inf, below)


def too_small(useful: Interval, ceiling: float, smallest: float, least_ceiling: float) -> NDArray[np.bool_]:
    """Whether every signal [signals] is shown to have no effect as large as the `smallest` useful one.

    `useful` is the 90 % interval of rho without noise (two one-sided tests: Schuirmann 1987). Where the ceiling does
    not reach `least_ceiling` quality is too noisy to call an effect small.
    """
    return (useful.low > -smallest) & (useful.high < smallest) & (ceiling >= least_ceiling)


def statuses(p: Float, p_beyond: Float, small: NDArray[np.bool_]) -> NDArray[np.str_]:
    """What may be said of every signal [signals], one of STATUSES.

    `p` is corrected for the family, `p_beyond` likewise where nuisances are held fixed (NaN: not defined); `small` is
    what `too_small` says. A signal predicts beyond nuisances only if it predicts at all, so that a study without any
    relation makes either claim with probability LEVEL, not each.
    """
    related = p <= LEVEL
    beyond = np.nan_to_num(p_beyond, nan=1.0) <= LEVEL
    return np.select(
        [related & small, related & beyond, related, small], [SMALL, PREDICTS, EXPLAINED, USELESS], default=OPEN
    )


def of_family(found: NDArray[np.str_]) -> str:
    """What may be said of a family, from the statuses of its signals: the strongest claim; no use, only if of all."""
    for status in (PREDICTS, EXPLAINED):
        if (found == status).any():
            return status
    if len(found) and np.isin(found, (SMALL, USELESS)).all():
        return SMALL if (found == SMALL).any() else USELESS
    return OPEN
