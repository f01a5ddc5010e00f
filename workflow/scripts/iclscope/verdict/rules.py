"""The study's answer as data: statuses by declared rules, sentences from templates, nothing that was not computed."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

import iclscope
from iclscope.runtime.files import write_text
from iclscope.runtime.jobs import Job
from iclscope.statistics.intervals import LEVEL
from iclscope.statistics.resampling import generator
from iclscope.tables import SUMMARY
from iclscope.verdict import findings, selectors
from iclscope.verdict.across import LOST, SURVIVES, agreement, features_across, signals_across
from iclscope.verdict.deciding import candidates_to_see
from iclscope.verdict.results import Results
from iclscope.verdict.wording import correlation_interval, target_name, two_decimals

logger = logging.getLogger(__name__)


def run(
    *,
    studies: Mapping[str, Mapping[str, Mapping[str, str | Path]]],
    settings: Mapping[str, Any],
    verdict_out: str | Path,
    summary_out: str | Path,
    job: Job,
) -> None:
    """Write the verdict (JSON) and the summary table of the whole study.

    `studies` maps data set → model → table name → Parquet file, for the tables correlation, headline, quality,
    reliability, selection, gains and agreement; `settings` holds `smallest_useful_effect`, a correlation, and by the
    unit of the target (share_of_items, nats) `margin`, the largest gain over random that is of no use, and `price`, the
    gain that reading a million tokens must bring.
    """
    results = [
        Results.read(model, dataset, tables) for dataset, models in studies.items() for model, tables in models.items()
    ]
    judged = verdict(results, settings, job.seed)
    write_text(verdict_out, json.dumps(judged, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    SUMMARY.write(pl.concat(summary(r) for r in results), summary_out, job.provenance)
    logger.info(judged["headline"])


def verdict(studies: Sequence[Results], settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The verdict on all combinations of model and data set, each about its leading target; `settings` as in `run`."""
    effect = settings["smallest_useful_effect"]
    agreements = list(agreement(studies, effect))
    models: dict[str, dict[str, Any]] = {}
    for results in studies:
        judged = _judge(results, agreements, settings, seed)
        models.setdefault(results.model, {})[results.dataset] = judged
    return {
        "question": iclscope.__doc__,
        "rules": {
            "level": LEVEL,
            "smallest_useful_effect": effect,
            "margin": settings["margin"],
            "price": settings["price"],
            "target": "the most reliable quality target leads",
            "predicts": "a corrected p (Westfall-Young maxT over all activation signals) is below the level",
            "no useful effect": "the 90 % interval of every defined activation signal lies within the smallest effect",
            **selectors.RULES,
            SURVIVES: "the 95 % interval of the correlation of true quality with two models, over disjoint items, lies "
            "above the smallest effect",
        },
        "headline": findings.overall(studies),
        "models": models,
        "agreement_between_models": agreements,
        "features_across_settings": features_across(studies),
        "signals_across_data_sets": signals_across(studies),
    }


def summary(results: Results) -> pl.DataFrame:
    """Rows of the summary table: the headline of every target with its best selector."""
    best = (
        results.selection.filter(pl.col("gain").is_not_null())
        .sort("gain", descending=True, maintain_order=True)
        .group_by("target", maintain_order=True)
        .first()
        .select(
            "target",
            best_selector="selector",
            best_gain="gain",
            best_gain_low="low",
            best_gain_high="high",
        )
    )
    named = results.headline.with_columns(model=pl.lit(results.model), dataset=pl.lit(results.dataset))
    return named.join(best, on="target", how="left", maintain_order="left").select(SUMMARY.schema.names())


def correlation_status(headline: Mapping[str, Any]) -> str:
    """Whether activation signals predict quality, from a row of the headline table."""
    defined = headline["signals"] - headline["undefined"]
    if headline["alpha"] is None or not defined:
        return "cannot tell"
    if headline["significant"]:
        return "predicts"
    return "no useful effect" if headline["useless"] == defined else selectors.UNDECIDED


def _judge(
    results: Results, agreements: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """The verdict on one model and data set."""
    headline, effect = results.headline_of(results.target), settings["smallest_useful_effect"]
    selected = selectors.judge(results, settings, generator(seed, f"posterior {results.model} {results.dataset}"))
    mine = [
        row
        for row in agreements
        if row["dataset"] == results.dataset and results.model in row["models"] and row["target"] == results.target
    ]
    null = headline["null_95"]
    return {
        "target": results.target,
        "status": correlation_status(headline),
        "conclusion": findings.answer(results, effect),
        "numbers": headline,
        "candidates_to_see_smallest_effect": None
        if null is None
        else candidates_to_see(effect, null, headline["candidates"]),
        **selected,
        "sentences": [*selected["sentences"], *(_on_agreement(row, results.model) for row in mine)],
    }


def _on_agreement(row: Mapping[str, Any], model: str) -> str:
    """Whether the candidates that are good for `model` are good for the other model too."""
    other = next(name for name in row["models"] if name != model)
    if row["rho"] is None:
        return f"Whether good candidates stay good with {other} cannot be told: {row['reason']}."
    return (
        f"True quality in {target_name(row['target'])} correlates with that of {other} as ρ = "
        f"{two_decimals(row['rho'])} (95 % interval {correlation_interval(row['low'], row['high'])}), seen over "
        "disjoint items: that quality survives the swap of models is "
        f"{'shown' if row['status'] == SURVIVES else 'ruled out' if row['status'] == LOST else 'undecided'}."
    )
