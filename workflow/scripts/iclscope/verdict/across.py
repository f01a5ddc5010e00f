"""What holds across models and data sets: do good demonstrations stay good, and do signals keep their sign?"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from iclscope.statistics.intervals import Z_95
from iclscope.statistics.random_effects import Pooled, mean_of_settings, pool
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
    """Agreement about candidates between every two models on the same data set, target by target.

    Quality survives the swap of models where the 95 % interval lies above the smallest useful effect, and does not
    where it lies below.
    """
    for first, second in combinations(studies, 2):
        if first.dataset == second.dataset:
            models = {"dataset": first.dataset, "models": [first.model, second.model]}
            mine = first.agreement.filter(pl.col("with_model") == second.model).drop("with_model", "with_target")
            for row in mine.iter_rows(named=True):
                yield models | row | {"status": _swap_status(row, smallest_useful_effect)}


def _swap_status(row: Mapping[str, Any], effect: float) -> str:
    """Whether quality survives the swap of two models."""
    if row["rho"] is None:
        return UNDEFINED
    return SURVIVES if row["low"] > effect else LOST if row["high"] < effect else OPEN
