"""Intervals of a correlation, and what follows from them."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from iclscope.statistics.ranks import Float

TINY = 1e-12
DISATTENUATE_FROM = 0.3  # a smaller alpha divides by something that is mostly noise
LEVEL = 0.05  # of every test
Z_95, Z_90 = float(norm.ppf(0.975)), float(norm.ppf(0.95))
NEARLY_ONE = 1 - 1e-9  # |rho| = 1 has no finite Fisher z


def fisher_interval(rho: Float, half_width: Float) -> tuple[Float, Float]:
    """Interval around `rho` that reaches `half_width` to both sides on Fisher's z scale.

    With the bootstrap's standard error this is centred on rho, not on the draws: resampling items adds their noise a
    second time, so that the draws lie nearer to zero than rho does.
    """
    z = np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE))
    return np.tanh(z - half_width), np.tanh(z + half_width)


def analytic_interval(rho: Float, candidates: int) -> tuple[Float, Float]:
    """95 % interval of Spearman's rho from the number of candidates alone (Bonett and Wright 2000)."""
    return fisher_interval(rho, Z_95 * np.sqrt((1 + rho**2 / 2) / (candidates - 3)))


def disattenuate(rho: Float, alpha: float | None) -> Float:
    """Rho with a quality measured without noise, rho / sqrt(alpha) (Spearman 1904); NaN where alpha is too small.

    May exceed 1: it is an estimate, and alpha is one too.
    """
    if alpha is None or alpha < DISATTENUATE_FROM:
        return np.full(len(rho), np.nan)
    return rho / np.sqrt(alpha)


def equivalence(rho: Float, spread: Float, smallest: float) -> NDArray[np.str_]:
    """What the 90 % interval says about effects of at least `smallest` (two one-sided tests; Schuirmann 1987)."""
    low, high = fisher_interval(rho, Z_90 * spread)
    none = (low > -smallest) & (high < smallest)
    some = (low > smallest) | (high < -smallest)
    return np.select([none, some], ["no useful effect", "useful effect"], "undecided")
