"""What holds across models and data sets: do good demonstrations stay good, and do signals keep their sign?"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from iclscope.statistics.intervals import DISATTENUATE_FROM, Z_95, analytic_interval
from iclscope.statistics.random_effects import Pooled, mean_of_settings, pool
from iclscope.statistics.ranks import centred_ranks, spearman
from iclscope.tables import SIGNAL
from iclscope.verdict.results import Results

SURVIVES, LOST, OPEN, UNDEFINED = "survives", "does not survive", "undecided", "undefined"


def signals_across(studies: Sequence[Results]) -> list[dict[str, Any]]:
    """Activation signals of every model over its data sets, target by target: signs, and the largest mean rho.

    Layers of different models are not the same signal. The interval is not corrected for the choice of the largest.
    """
    rows = []
    for model in dict.fromkeys(results.model for results in studies):
        mine = [results for results in studies if results.model == model]
        tables = [
            results.correlation.filter(pl.col("family") == "activation", pl.col("low").is_not_null())
            for results in mine
        ]
        for target in dict.fromkeys(target for results in mine for target in results.targets):
            frames = [table.filter(pl.col("target") == target) for table in tables]
            frames = [frame for frame in frames if frame.height]
            if len(frames) > 1 and (row := _pool_signals(frames)):
                rows.append({"model": model, "target": target, "data_sets": len(frames), **row})
    return rows


def _pool_signals(frames: Sequence[pl.DataFrame]) -> dict[str, Any] | None:
    """Signs and largest mean of the signals that all `frames`, one per data set, define; None if there are none."""
    joined = frames[0].select(*SIGNAL, rho_0="rho", low_0="low", high_0="high")
    for number, frame in enumerate(frames[1:], start=1):
        renamed = frame.select(*SIGNAL, **{f"{name}_{number}": name for name in ("rho", "low", "high")})
        joined = joined.join(renamed, on=SIGNAL, maintain_order="left")
    if joined.is_empty():
        return None
    rho, low, high = (
        joined.select(f"{name}_{number}" for number in range(len(frames))).to_numpy() for name in ("rho", "low", "high")
    )
    pooled = pool(rho, (np.arctanh(high) - np.arctanh(low)) / (2 * Z_95))
    largest = int(np.argmax(np.abs(pooled[0])))
    return {
        "signals": joined.height,
        "same_sign": int((np.abs(np.sign(rho).sum(axis=1)) == len(frames)).sum()),
        "same_sign_by_chance": joined.height * 0.5 ** (len(frames) - 1),
        "largest": " ".join(map(str, joined.select(SIGNAL).row(largest))),
        **vars(Pooled(*(float(part[largest]) for part in pooled))),
    }


def features_across(studies: Sequence[Results]) -> list[dict[str, Any]]:
    """Every feature and control over all settings in which it is defined, target by target; needs two of them."""
    tables = [results.correlation.filter(pl.col("family") != "activation") for results in studies]
    rows = []
    defined = pl.concat(tables).filter(pl.col("low").is_not_null())
    for (target, metric), mine in defined.group_by("target", "metric", maintain_order=True):
        if mine.height < 2:
            continue
        rho, low, high = (mine[name].to_numpy() for name in ("rho", "low", "high"))
        pooled = mean_of_settings(rho, (np.arctanh(high) - np.arctanh(low)) / (2 * Z_95))
        positive = int((rho > 0).sum())
        rows.append({"target": target, "metric": metric, "settings": mine.height, "positive": positive, **vars(pooled)})
    return rows


def agreement(studies: Sequence[Results], smallest_useful_effect: float) -> Iterator[dict[str, Any]]:
    """Rank correlation of candidate quality between every two models on the same data set, target by target.

    Quality survives the swap of models where the 95 % interval lies above the smallest useful effect, and does not
    where it lies below.
    """
    for first, second in combinations(studies, 2):
        if first.dataset != second.dataset:
            continue
        for target in [t for t in first.targets if t in second.targets]:
            row = {"dataset": first.dataset, "models": [first.model, second.model], "target": target}
            found = _agree(first, second, target)
            yield row | found | {"status": _swap_status(found, smallest_useful_effect)}


def _swap_status(row: Mapping[str, Any], effect: float) -> str:
    """Whether quality survives the swap of two models."""
    if row["rho"] is None:
        return UNDEFINED
    return SURVIVES if row["low"] > effect else LOST if row["high"] < effect else OPEN


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
