"""What holds over data sets, which are the unit: models that saw the same candidates and items are no replication."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from iclscope.statistics.ranks import Float

FEWEST = 3  # data sets with which an interval of their mean says anything


@dataclass(frozen=True)
class Pooled:
    """Mean rho over data sets with its 95 % interval, and where rho found on another data set may lie.

    All [signals]; `tau` is how much data sets differ in atanh(rho).
    """

    rho: Float
    low: Float
    high: Float
    next_low: Float
    next_high: Float
    tau: Float


def pool(z: Float, variance: Float) -> Pooled | None:
    """Pool atanh(rho) [signals, data sets] with the variances of each; None of fewer than FEWEST data sets.

    Random effects with the variance between data sets of DerSimonian and Laird (1986) and the interval of Hartung,
    Knapp, Sidik and Jonkman (IntHout, Ioannidis and Borm 2014, BMC Medical Research Methodology 14). The prediction is
    that of a further draw like these, measured as well as they are: mean and deviation of the values as they were
    found. One for the true rho, with an estimate of the variance between few data sets, holds it too seldom.
    """
    sets = z.shape[1]
    if sets < FEWEST:
        return None
    weight = 1 / variance
    total = weight.sum(axis=1)
    fixed = (weight * z).sum(axis=1) / total
    excess = (weight * (z - fixed[:, None]) ** 2).sum(axis=1) - (sets - 1)
    between = np.maximum(0.0, excess / (total - (weight**2).sum(axis=1) / total))
    weight = 1 / (variance + between[:, None])
    total = weight.sum(axis=1)
    mean = (weight * z).sum(axis=1) / total
    scale = (weight * (z - mean[:, None]) ** 2).sum(axis=1) / (sets - 1)
    reach = student.ppf(0.975, sets - 1) * np.sqrt(scale / total)
    ahead = student.ppf(0.975, sets - 1) * z.std(axis=1, ddof=1) * np.sqrt(1 + 1 / sets)
    center = z.mean(axis=1)
    low, high, next_low, next_high = map(np.tanh, (mean - reach, mean + reach, center - ahead, center + ahead))
    return Pooled(np.tanh(mean), low, high, next_low, next_high, np.sqrt(between))


def combine(statistics: Float) -> Float:
    """One standard normal statistic per signal from those of independent data sets [signals, data sets].

    The sum over the root of their number (Stouffer et al. 1949).
    """
    return statistics.sum(axis=1) / np.sqrt(statistics.shape[1])
