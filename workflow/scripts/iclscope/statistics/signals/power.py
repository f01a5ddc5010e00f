"""What a study of so many candidates and items can show, before a model runs.

From variance components follows how noisy quality will be, from that how large rho and its standard error, and from
those how likely the study is to find an effect, or to exclude one. Effects are Spearman's rho with quality measured
without noise; the size of a family enters as its number of independent signals. Formulae, no simulation: a grid takes
milliseconds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from iclscope.statistics.intervals import LEVEL, Z_90
from iclscope.statistics.ranks import Float

ENOUGH = 0.8  # the usual power of a planned study
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(31)  # expectation over a standard normal deviate


@dataclass(frozen=True)
class Plan:
    """What a study would be about: variances of one score and the claims to be made.

    `candidate`, `push` and `rest` are components of a score, `tilt` is |share of a label - 1/labels| summed in squares
    over labels (0 where quality is balanced), `direction` the share of the rest that goes along with the signal;
    `signals` counts independent signals; `smallest` and `least_ceiling` are the declared limits.
    """

    candidate: float
    rest: float
    signals: float
    smallest: float
    least_ceiling: float
    push: float = 0.0
    tilt: float = 0.0
    direction: float = 0.0

    def noise(self, items: Float) -> Float:
        """Share of noise in the variance of quality, 1 - alpha."""
        noise = self.rest / items
        return noise / (self.candidate + self.push * self.tilt + noise)


def correlation_of(effect: float, alpha: Float) -> Float:
    """Spearman's rho with quality of reliability `alpha`, where it is `effect` without noise (normal; Pearson 1907)."""
    return 6 / np.pi * np.arcsin(np.sin(np.pi * effect / 6) * np.sqrt(np.clip(alpha, 0.0, 1.0)))


def critical_value(signals: float) -> float:
    """Standard normal deviate that the largest of so many independent signals exceeds with probability LEVEL."""
    return float(norm.isf((1 - (1 - LEVEL) ** (1 / signals)) / 2))


def independent_signals(null_95: float, candidates: int) -> float:
    """Independent signals whose largest |rho| has the 95 % limit `null_95` among so many candidates: from a pilot."""
    tail = 2 * norm.sf(np.arctanh(null_95) * np.sqrt(candidates - 3))
    return float(np.log(1 - LEVEL) / np.log1p(-tail))


def detect(plan: Plan, candidates: Float, items: Float, effect: float | None = None) -> Float:
    """Probability that one signal of the family with `effect`, the smallest useful one by default, is found.

    `candidates` and `items` are arrays of one shape, or broadcast to one. The error that rho is divided by is itself
    estimated, and never below 1 / sqrt(C - 3), so that it comes out too large on average.
    """
    candidates, items = np.broadcast_arrays(candidates, items)
    noise = plan.noise(items)[..., None]
    z = np.arctanh(correlation_of(plan.smallest if effect is None else effect, 1 - noise))
    least = 1 / (candidates - 3)[..., None]
    variance = least * (1 + np.tanh(z) ** 2 / 2) + plan.direction * noise
    doubt = least * _relative_doubt(candidates, items, noise)
    reach = critical_value(plan.signals) * np.sqrt(np.maximum(variance + doubt * NODES, least))
    found = norm.sf((reach - z) / np.sqrt(variance)) + norm.cdf((-reach - z) / np.sqrt(variance))
    return found @ WEIGHTS / WEIGHTS.sum()


def exclude(plan: Plan, candidates: Float, items: Float) -> Float:
    """Probability of "no useful effect" of the whole family where none of its signals has any.

    The 90 % interval of every signal must lie within the smallest useful effect, and the ceiling reach the least one.
    Alpha comes out higher or lower: log(1 - alpha) has a variance of 2 / (C - 1), from normal candidates. Its own limit
    widens the interval (see `latent.latent_interval`).
    """
    candidates, items = np.broadcast_arrays(candidates, items)
    noise = plan.noise(items)[..., None]
    doubt = np.sqrt(2 / (candidates - 1))[..., None]
    found, least = (np.clip(1 - noise * np.exp(doubt * (NODES + more)), 0.0, 1.0) for more in (0, Z_90))
    variance = 1 / (candidates - 3)[..., None] + plan.direction * noise
    spread = _relative_doubt(candidates, items, noise)
    said = variance * (np.maximum(1.0, 1 + spread * NODES) @ WEIGHTS / WEIGHTS.sum())[..., None]
    ceiling, lowest = np.sqrt(found), np.sqrt(least)
    reach = np.sqrt(Z_90**2 * said + plan.smallest**2 * (ceiling - lowest) ** 2)
    inside = np.maximum(0.0, 1 - 2 * norm.sf((np.arctanh(plan.smallest * ceiling) - reach) / np.sqrt(variance)))
    trusted = found >= plan.least_ceiling**2
    return (inside**plan.signals * trusted) @ WEIGHTS / WEIGHTS.sum()


def _relative_doubt(candidates: Float, items: Float, noise: Float) -> Float:
    """Standard deviation of the estimated variance of atanh(rho), relative to 1 / (C - 3) [..., 1].

    From ranks, (9/5)^2 - 1 being the variance of the product of two squared uniform deviates, and from items.
    """
    return np.sqrt(2.24 / candidates[..., None] + 2 * noise**2 / (items[..., None] - 1))


def allowed_variance(effect: float, compared: float, power: float = ENOUGH) -> float:
    """Largest variance of an estimate with which an `effect` is found with probability `power`.

    `compared` is the number of tests whose smallest p is multiplied by it. With half the chance it is enough that the
    expected estimate is just significant; more needs room.
    """
    return (effect / float(norm.isf(LEVEL / 2 / compared) + norm.ppf(power))) ** 2


def candidates_needed(effect: float, signals: float, alpha: float = 1.0, power: float = ENOUGH) -> int:
    """Candidates with which one of so many independent signals with this `effect` is found with probability `power`."""
    z = float(np.arctanh(correlation_of(effect, np.array(alpha))))
    room = float(norm.ppf(power)) * np.sqrt(1 + np.tanh(z) ** 2 / 2)
    return int(np.ceil(3 + ((critical_value(signals) + room) / z) ** 2))
