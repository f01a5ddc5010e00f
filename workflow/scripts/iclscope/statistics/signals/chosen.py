"""What the strongest of many signals is worth, how sure that is, and what its rho owes to having been chosen.

Given that a signal won, its atanh(rho) is a normal deviate cut off below where another would have won. The estimate and
its interval are those under which the rho that was found is the median, and the outer quantiles, of that distribution:
all data choose and all judge, and the interval holds the winner's own rho as often as it says (inference on winners,
the hybrid of Andrews, Kitagawa and McCloskey 2024, Quarterly Journal of Economics 139). Choosing and judging on halves
answers another question: what the winner of half of the data is worth, which often is another signal. Where another
signal came so near that the estimate would leave the simultaneous band around rho, it is the band's edge, and the band
is the interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from iclscope.statistics.ranks import Float, Ranks
from iclscope.statistics.signals.influence import NEARLY_ONE
from iclscope.statistics.signals.studentised import Assessed, residuals

OUTER = 0.005  # level of the band around rho, simultaneous for the family, that no limit leaves
NEAR = 0.1  # standard errors: an estimate that is no farther from the band's edge is taken for the edge
APART = 1e-6  # signals that differ by less are one signal


@dataclass(frozen=True)
class Winner:
    """The signal in row `signal` has the largest |rho|, found as `rho`; it is worth `value`, with a 95 % interval.

    `value` is negative where `rho` is, unless nothing is left of it. `luck` is by how much |rho| exceeds the value in
    the direction of rho.
    """

    signal: int
    rho: float
    value: float
    low: float
    high: float

    @property
    def luck(self) -> float:
        """What |rho| owes to having been chosen."""
        return float(abs(self.rho) - np.sign(self.rho) * self.value)


def winner(ranks: Ranks, assessed: Assessed, level: float = 0.95) -> Winner | None:
    """The largest |rho| of a family, of `ranks` [signals, C] and their test; None without a defined signal."""
    rho = np.nan_to_num(assessed.rho)
    if not rho.any():
        return None
    z, error = np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE)), assessed.spread.error
    best = int(np.argmax(np.abs(z)))
    sign = float(np.sign(z[best]))
    bound = _least_to_win(ranks, rho, best)
    reach = float(np.quantile(assessed.null.largest, 1 - OUTER))
    outside = (1 - level - OUTER) / (1 - OUTER) / 2
    limits = [_center(abs(z[best]), bound, error[best], reach, share) for share in (0.5, 1 - outside, outside)]
    if limits[0] <= abs(z[best]) - (reach - NEAR) * error[best]:
        # Another came so near that who won says nothing: what is left is the band, and its edge what is sure.
        limits[2] = abs(z[best]) + reach * error[best]
    value, low, high = (float(np.tanh(limit)) for limit in limits)
    if sign < 0:
        value, low, high = -value, -high, -low
    return Winner(best, float(rho[best]), value, low, high)


def _least_to_win(ranks: Ranks, rho: Float, best: int) -> float:
    """The least |atanh(rho)| with which the signal `best` would still have won, all that is apart from it as it is.

    Ranks of quality are rho times those of the signal plus a rest of length sqrt(1 - rho^2), whose direction says what
    the others share with quality beyond this signal: their rho is linear in it and in the winner's, not in atanh(rho).
    """
    rows, _ = residuals(ranks, None)
    slope = (rows @ rows[best]).astype(np.float64)
    rest = (rho - slope * rho[best]) / np.sqrt(1 - np.clip(abs(rho[best]), 0, NEARLY_ONE) ** 2)
    sign = np.sign(rho[best])
    limits: list[NDArray[np.float64]] = []
    for side in (1, -1):
        room = 1 - side * slope  # |rho of another| <= |rho of the best|, once for each sign of the other
        there = room > APART
        limits.append(side * sign * rest[there] / room[there])
    least = np.arcsinh(max(0.0, *(limit.max(initial=0.0) for limit in limits)))
    return float(min(least, np.arctanh(min(abs(rho[best]), NEARLY_ONE))))


def _center(z: float, bound: float, error: float, reach: float, share: float) -> float:
    """Mean of the normal distribution of which `share` lies below `z`, cut off below `bound` and above mean + reach."""
    lowest, top = z - reach * error, float(norm.sf(reach))

    def below(center: float) -> float:
        cut = norm.sf((bound - center) / error)
        return float((cut - norm.sf((z - center) / error)) / (cut - top)) - share

    highest = z + reach * error
    start = lowest + APART * error
    return lowest if below(start) <= 0 else highest if below(highest) >= 0 else float(brentq(below, start, highest))
