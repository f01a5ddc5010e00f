"""What holds across models and data sets: do good demonstrations stay good, and do signals keep their sign?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from iclscope.correlation import DISATTENUATE_FROM, Z_95, analytic_interval, fisher_interval, spearman
from iclscope.resampling import Float, centred_ranks
from iclscope.results import Results


@dataclass(frozen=True)
class Pooled:
    """A correlation over several settings: mean rho with its 95 % interval, and tau, how much settings differ in z."""

    rho: float
    low: float
    high: float
    tau: float


def random_effects(rho: Float, standard_error: Float) -> Pooled:
    """Random-effects mean of atanh(rho) over settings (DerSimonian and Laird 1986); errors are those of atanh(rho)."""
    z, weight = np.arctanh(rho), 1 / standard_error**2
    fixed = (weight * z).sum() / weight.sum()
    heterogeneity = (weight * (z - fixed) ** 2).sum() - (len(z) - 1)
    tau2 = max(0.0, heterogeneity / (weight.sum() - (weight**2).sum() / weight.sum())) if len(z) > 1 else 0.0
    weight = 1 / (standard_error**2 + tau2)
    mean = np.tanh((weight * z).sum() / weight.sum())
    low, high = fisher_interval(mean, Z_95 / np.sqrt(weight.sum()))
    return Pooled(float(mean), float(low), float(high), float(np.sqrt(tau2)))


def features_across(studies: Sequence[Results]) -> list[dict[str, Any]]:
    """Every feature and control over all settings in which it is defined, target by target; needs two of them."""
    tables = [results.correlation.filter(pl.col("family") != "activation") for results in studies]
    rows = []
    defined = pl.concat(tables).filter(pl.col("low").is_not_null())
    for (target, metric), mine in defined.group_by("target", "metric", maintain_order=True):
        if mine.height < 2:
            continue
        rho, low, high = (mine[name].to_numpy() for name in ("rho", "low", "high"))
        pooled = random_effects(rho, (np.arctanh(high) - np.arctanh(low)) / (2 * Z_95))
        positive = int((rho > 0).sum())
        rows.append({"target": target, "metric": metric, "settings": mine.height, "positive": positive, **vars(pooled)})
    return rows


def agreement(studies: Sequence[Results]) -> Iterator[dict[str, Any]]:
    """Rank correlation of candidate quality between every two models on the same data set, target by target."""
    for first, second in combinations(studies, 2):
        if first.dataset != second.dataset:
            continue
        for target in [t for t in first.targets if t in second.targets]:
            yield {"dataset": first.dataset, "models": [first.model, second.model], "target": target} | _agree(
                first, second, target
            )


def _agree(first: Results, second: Results, target: str) -> dict[str, Any]:
    """Agreement of two models on one data set; rho is None where a model's candidates are all equally good."""
    both = first.quality.filter(pl.col("target") == target).join(
        second.quality.filter(pl.col("target") == target), on="candidate", suffix="_other"
    )
    ranks = [centred_ranks(both[name].to_numpy()) for name in ("value", "value_other")]
    if not all(r.any() for r in ranks) or both.height < 4:
        return {"candidates": both.height, "rho": None, "low": None, "high": None, "rho_disattenuated": None}
    rho = spearman(ranks[0][None], ranks[1])
    low, high = analytic_interval(rho, both.height)
    alphas = [results.reliability_of(target)["alpha"] or 0.0 for results in (first, second)]
    trusted = min(alphas) >= DISATTENUATE_FROM
    return {
        "candidates": both.height,
        "rho": float(rho[0]),
        "low": float(low[0]),
        "high": float(high[0]),
        "rho_disattenuated": float(rho[0] / np.sqrt(alphas[0] * alphas[1])) if trusted else None,
    }
