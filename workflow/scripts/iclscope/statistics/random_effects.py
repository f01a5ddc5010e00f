"""A mean over settings that differ."""

from dataclasses import dataclass

import numpy as np

from iclscope.statistics.intervals import NEARLY_ONE, Z_95, fisher_interval
from iclscope.statistics.ranks import Float


@dataclass(frozen=True)
class Pooled:
    """A correlation over several settings: mean rho with its 95 % interval, and tau, how much settings differ in z."""

    rho: float
    low: float
    high: float
    tau: float


def mean_of_settings(rho: Float, standard_error: Float) -> Pooled:
    """Random-effects mean of atanh(rho) over settings (DerSimonian and Laird 1986); errors are those of atanh(rho)."""
    return Pooled(*(float(part[0]) for part in pool(rho[None], standard_error[None])))


def pool(rho: Float, standard_error: Float) -> tuple[Float, Float, Float, Float]:
    """The same for many signals at once [signals, settings]: mean rho, low, high and tau [signals]."""
    z, weight = np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE)), 1 / standard_error**2
    total = weight.sum(axis=1)
    fixed = (weight * z).sum(axis=1) / total
    heterogeneity = (weight * (z - fixed[:, None]) ** 2).sum(axis=1) - (z.shape[1] - 1)
    scale = total - (weight**2).sum(axis=1) / total
    tau2 = np.maximum(0.0, heterogeneity / np.where(scale > 0, scale, np.inf))
    weight = 1 / (standard_error**2 + tau2[:, None])
    mean = np.tanh((weight * z).sum(axis=1) / weight.sum(axis=1))
    low, high = fisher_interval(mean, Z_95 / np.sqrt(weight.sum(axis=1)))
    return mean, low, high, np.sqrt(tau2)
