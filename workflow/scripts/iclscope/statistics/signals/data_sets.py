"""What holds over data sets, which are the unit: models that saw the same candidates and items are no replication."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from iclscope.statistics.ranks import Float, Ranks, unit
from iclscope.statistics.signals.influence import NEARLY_ONE, influences, summed
from iclscope.statistics.signals.shuffles import Shuffles, deal, p_of_largest, products
from iclscope.statistics.signals.studentised import Assessed, ItemDraws, residuals

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


def mean_over_models(ranks: Sequence[Ranks], draws: Sequence[ItemDraws], shuffles: Shuffles) -> tuple[Float, Float]:
    """Mean over the models of a data set of atanh(rho), and its variance [signals].

    `ranks` [signals, C] of each model describe the same signals; `draws` of each model come from the same seed, so that
    draws of items are common. Influences and draws are averaged over models before they are squared: what models share
    is then not taken for independent.
    """
    moved, drawn, z, noise = [], [], [], []
    for rows, own in zip(ranks, draws, strict=True):
        influence, rho = influences(rows, own.quality)
        stretch = 1 - np.minimum(np.abs(rho), NEARLY_ONE) ** 2
        moved.append(influence / stretch[:, None])
        z.append(np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE)))
        drawn.append(own.z(residuals(rows, None)[0]) * np.sqrt(1 + own.noise.share))
        noise.append(own.noise.share)
    parts = summed(np.mean(moved, axis=0), shuffles.clusters)
    candidates = (parts**2).sum(axis=1) * shuffles.units / (shuffles.units - 1)
    seen = np.var(np.mean(drawn, axis=0), axis=1, ddof=1) * draws[0].clusters / (draws[0].clusters - 1)
    items = np.maximum(0.0, seen - float(np.mean(noise)) * candidates)
    return np.mean(z, axis=0), candidates + items


def p_of_mean(
    ranks: Sequence[Ranks], draws: Sequence[ItemDraws], shuffles: Sequence[Shuffles], assessed: Sequence[Assessed]
) -> Float:
    """p of every signal's mean over data sets, corrected for the number of signals [signals], by single-step maxT.

    What is averaged is the statistic of each data set, with the sign of rho; `ranks` [signals, C] of each describe the
    same signals, none of them undefined, and shuffles of different data sets have seeds of their own.
    """
    rows = [residuals(own, None)[0] for own in ranks]
    targets = [unit(own.quality) for own in draws]
    errors = [mixed.error(own, target) for mixed, own, target in zip(shuffles, rows, targets, strict=True)]
    largest = []
    for orders in zip(*(mixed.blocks() for mixed in shuffles), strict=True):
        dealt = [deal(target, order) for target, order in zip(targets, orders, strict=True)]
        best = np.zeros(len(orders[0]))
        for blocks in zip(*(products(own, one) for own, one in zip(rows, dealt, strict=True)), strict=True):
            parts = zip(blocks, errors, strict=True)
            total = np.mean([np.arctanh(rho) / error[part, None] for (part, rho), error in parts], axis=0)
            np.maximum(best, np.abs(total).max(axis=0), out=best)
        largest.append(best)
    mean = np.abs(np.mean([np.sign(one.rho) * one.statistic for one in assessed], axis=0))
    return p_of_largest(mean, [np.concatenate(largest)])
