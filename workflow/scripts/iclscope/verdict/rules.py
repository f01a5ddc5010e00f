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
from iclscope.statistics.signals.latent import EXPLAINED, OPEN, PREDICTS, SMALL, USELESS
from iclscope.statistics.signals.power import candidates_needed, independent_signals
from iclscope.tables import SUMMARY
from iclscope.verdict import findings, saes, selectors
from iclscope.verdict.across import LOST, SURVIVES, agreement, features_across, signals_across
from iclscope.verdict.results import Results
from iclscope.verdict.wording import correlation_interval, target_name, two_decimals

logger = logging.getLogger(__name__)


def run(
    *,
    studies: Mapping[str, Mapping[str, Mapping[str, str | Path]]],
    settings: Mapping[str, Any],
    study_tables: int,
    verdict_out: str | Path,
    summary_out: str | Path,
    job: Job,
) -> None:
    """Write the verdict (JSON) and the summary table of the whole study.

    `studies` maps data set → model → table name → Parquet file, for the tables correlation, headline, quality,
    reliability, variance, selection, gains and agreement; `settings` holds `smallest_useful_effect`, a correlation, and
    by the unit of the target (share_of_items, nats) `margin`, the largest gain over random that is of no use, and
    `price`, the gain that reading a million tokens must bring. `study_tables`: see `Results`.
    """
    results = [
        Results.read(model, dataset, tables, study_tables)
        for dataset, models in studies.items()
        for model, tables in models.items()
    ]
    judged = verdict(results, settings, job.seed)
    write_text(verdict_out, json.dumps(judged, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    SUMMARY.write(pl.concat(summary(r) for r in results), summary_out, job.provenance)
    logger.info(judged["headline"])


def verdict(studies: Sequence[Results], settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The verdict on all combinations of model and data set, each about its primary target; `settings` as in `run`."""
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
            "target": "the declared primary quality target; all others are exploratory",
            "corrected p": "studentised maxT over all activation signals of a table, times the tables of the study",
            PREDICTS: "the corrected p of a signal is at most the level, and so is that beyond the nuisances",
            EXPLAINED: "the corrected p of a signal is at most the level, that beyond the nuisances of none",
            "nuisances": "label, length, NLL and zero-shot answer log probability (Freedman-Lane permutations)",
            SMALL: "a signal is related, and the 90 % interval of every signal, without noise, within the least effect",
            USELESS: "no signal is related, and the same holds",
            OPEN: "none of these, or the noise ceiling is below the least one",
            **selectors.RULES,
            **saes.RULES,
            SURVIVES: "the 95 % interval of the correlation of true quality with two models, over disjoint items, lies "
            "above the smallest effect",
        },
        "headline": findings.overall(studies),
        "models": models,
        "agreement_between_models": agreements,
        "features_across_data_sets": features_across(studies),
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
    status = pl.when("primary").then(pl.lit(results.status))
    named = results.headline.with_columns(model=pl.lit(results.model), dataset=pl.lit(results.dataset), status=status)
    return named.join(best, on="target", how="left", maintain_order="left").select(SUMMARY.schema.names())


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
    return {
        "target": results.target,
        "status": results.status,
        "conclusion": findings.answer(results, effect),
        "numbers": headline,
        "candidates_for_smallest_effect": _candidates_for(results, effect),
        **selected,
        "sentences": [
            *_on_use(results, settings["margin"]),
            *selected["sentences"],
            *saes.sentences(results),
            *(_on_agreement(row, results.model) for row in mine),
        ],
    }


def _on_use(results: Results, margins: Mapping[str, float]) -> list[str]:
    """A warning where what signals predict is not what the task scores."""
    related = results.status in (PREDICTS, EXPLAINED)
    if not related or selectors.lowers(results, results.target, margins) is None:
        return []
    return [
        f"What the related signals point to {selectors.conflict(results.target)}: it is no use by what the task scores."
    ]


def _candidates_for(results: Results, effect: float) -> int | None:
    """Candidates with which a signal of this `effect` would be found in 80 of 100 studies, noise staying as it is."""
    headline = results.headline_of(results.target)
    if headline["null_95"] is None or headline["alpha"] is None:
        return None
    signals = independent_signals(headline["null_95"], headline["candidates"]) * results.study_tables
    return candidates_needed(effect, signals, headline["alpha"])


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
