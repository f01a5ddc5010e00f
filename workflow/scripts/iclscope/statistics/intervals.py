"""Intervals of a correlation, and what follows from them."""

import numpy as np
from scipy.stats import norm

from iclscope.statistics.ranks import Float

TINY = 1e-12
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
