"""What holds across models and data sets: do good demonstrations stay good, and do signals keep their sign?"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm

from iclscope.statistics.intervals import NEARLY_ONE, Z_95
from iclscope.statistics.ranks import Float
from iclscope.statistics.signals.data_sets import combine, pool
from iclscope.tables import SIGNAL
from iclscope.verdict.results import Results

NUMBERS = ("rho", "low", "high", "statistic")
SURVIVES, LOST, OPEN, UNDEFINED = "survives", "does not survive", "undecided", "undefined"


def signals_across(studies: Sequence[Results]) -> list[dict[str, Any]]:
    """Activation signals of every model over its data sets, in the primary targets: signs, and the strongest.

    Layers of different models are not the same signal. The strongest has the largest combined statistic, with a p that
    is corrected for the number of signals and of models (Bonferroni).
    """
    rows = []
    models = dict.fromkeys(results.model for results in studies)
    for model in models:
        frames = [results.signals for results in studies if results.model == model]
        frames = [frame for f in frames if (frame := f.filter(pl.col("rho").is_not_null())).height]
        if len(frames) > 1 and (row := _combine_signals(frames, len(models))):
            rows.append({"model": model, "data_sets": len(frames), **row})
    return rows


def _combine_signals(frames: Sequence[pl.DataFrame], models: int) -> dict[str, Any] | None:
    """Signs and strongest of the signals that all `frames`, one per data set, define; None if there are none."""
    joined = frames[0].select(*SIGNAL, **{f"{name}_0": name for name in NUMBERS})
    for number, frame in enumerate(frames[1:], start=1):
        renamed = frame.select(*SIGNAL, **{f"{name}_{number}": name for name in NUMBERS})
        joined = joined.join(renamed, on=SIGNAL, maintain_order="left")
    if joined.is_empty():
        return None
    rho, low, high, statistic = (
        joined.select(f"{name}_{number}" for number in range(len(frames))).to_numpy() for name in NUMBERS
    )
    combined = combine(statistic)
    strongest = int(np.argmax(np.abs(combined)))
    return {
        "signals": joined.height,
        "same_sign": int((np.abs(np.sign(rho).sum(axis=1)) == len(frames)).sum()),
        "same_sign_by_chance": joined.height * 0.5 ** (len(frames) - 1),
        "strongest": " ".join(map(str, joined.select(SIGNAL).row(strongest))),
        "p": min(1.0, float(2 * norm.sf(abs(combined[strongest]))) * joined.height * models),
        **_pooled(rho[strongest], _errors(low[strongest], high[strongest])),
    }


def features_across(studies: Sequence[Results]) -> list[dict[str, Any]]:
    """Every feature and control over all data sets in which it is defined, in the primary targets; needs two of them.

    Data sets are the unit. Models on one data set meet the same candidates and items, and are averaged first, as if
    they erred together.
    """
    named = [(results.dataset, results.family(f)) for results in studies for f in ("feature", "control")]
    frames = [frame.with_columns(dataset=pl.lit(dataset)) for dataset, frame in named]
    defined = pl.concat(frames).filter(pl.col("rho").is_not_null())
    defined = defined.with_columns(z=pl.col("rho").clip(-NEARLY_ONE, NEARLY_ONE).arctanh()).with_columns(
        error=pl.Series(_errors(*(defined[name].to_numpy() for name in ("low", "high")))),
    )
    means = defined.group_by("metric", "dataset", maintain_order=True).agg(pl.col("z", "error").mean())
    rows = []
    for (metric,), mine in means.group_by("metric", maintain_order=True):
        if mine.height > 1:
            rho = np.tanh(mine["z"].to_numpy())
            row = {"metric": metric, "data_sets": mine.height, "positive": int((rho > 0).sum())}
            rows.append(row | _pooled(rho, mine["error"].to_numpy()))
    return rows


def _errors(low: Float, high: Float) -> Float:
    """Standard errors of atanh(rho) from its 95 % interval."""
    return (np.arctanh(high) - np.arctanh(low)) / (2 * Z_95)


def _pooled(rho: Float, errors: Float) -> dict[str, float | None]:
    """Mean rho over data sets; with fewer than three of them nothing is known of how they differ."""
    z = np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE))
    pooled = pool(z[None], errors[None] ** 2)
    if pooled is None:
        return {"rho": float(np.tanh(z.mean())), **dict.fromkeys(("low", "high", "next_low", "next_high", "tau"))}
    return {name: float(value[0]) for name, value in vars(pooled).items()}


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
