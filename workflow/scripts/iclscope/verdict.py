"""The study's answer as data: statuses by declared rules, sentences from templates, nothing that was not computed."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

import iclscope
from iclscope import findings
from iclscope.across import agreement, features_across
from iclscope.correlation import LEVEL, Z_90
from iclscope.files import write_text
from iclscope.results import Results
from iclscope.tables import SUMMARY
from iclscope.wording import (
    TARGET_UNITS,
    correlation,
    correlation_interval,
    enumeration,
    interval,
    quantity,
    target_name,
)

logger = logging.getLogger(__name__)

BEATS, WORSE, EQUIVALENT, UNDECIDED = "beats random", "worse than random", "equivalent to random", "undecided"
COMPARED = (BEATS, WORSE, EQUIVALENT, UNDECIDED)


def run(
    *,
    studies: Mapping[str, Mapping[str, Mapping[str, str | Path]]],
    settings: Mapping[str, Any],
    verdict_out: str | Path,
    summary_out: str | Path,
    provenance: Mapping[str, Any],
) -> None:
    """Write the verdict (JSON) and the summary table of the whole study.

    `studies` maps data set → model → table name → Parquet file, for the tables correlation, headline, quality,
    reliability and selection; `settings` is the config's `correlation`.
    """
    results = [
        Results.read(model, dataset, tables) for dataset, models in studies.items() for model, tables in models.items()
    ]
    judged = verdict(results, settings["smallest_useful_effect"])
    write_text(verdict_out, json.dumps(judged, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    SUMMARY.write(pl.concat(summary(r) for r in results), summary_out, provenance)
    logger.info(judged["headline"])


def verdict(studies: Sequence[Results], smallest_useful_effect: float) -> dict[str, Any]:
    """The verdict on all combinations of model and data set, each about its leading target."""
    agreements = list(agreement(studies))
    models: dict[str, dict[str, Any]] = {}
    for results in studies:
        judged = _judge(results, agreements, smallest_useful_effect)
        models.setdefault(results.model, {})[results.dataset] = judged
    return {
        "question": iclscope.__doc__,
        "rules": {
            "level": LEVEL,
            "smallest_useful_effect": smallest_useful_effect,
            "target": "the most reliable quality target leads",
            "predicts": "a corrected p (Westfall-Young maxT over all activation signals) is below the level",
            "no useful effect": "the 90 % interval of every defined activation signal lies within the smallest effect",
            BEATS: "gain above 0 and corrected p (Holm over all selectors) below the level",
            WORSE: "gain below 0 and corrected p below the level",
            EQUIVALENT: "the 90 % interval of the gain lies within the smallest effect x sd of candidate quality",
            UNDECIDED: "none of these",
        },
        "headline": findings.overall(studies),
        "models": models,
        "agreement_between_models": agreements,
        "features_across_settings": features_across(studies),
    }


def summary(results: Results) -> pl.DataFrame:
    """Rows of the summary table: the headline of every target with its best selector."""
    best = (
        results.selection.filter(pl.col("kind") != "bound")
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
    return "no useful effect" if headline["useless"] == defined else UNDECIDED


def selector_status(row: Mapping[str, Any], margin: float) -> str:
    """What is known of a selector, from its row of the selection table; `margin` in units of the score."""
    if row["kind"] == "bound":
        return "bound"
    if row["selector"] == "random":
        return "reference"
    if row["p_holm"] is None:
        return UNDECIDED
    if row["p_holm"] < LEVEL:
        return BEATS if row["gain"] > 0 else WORSE
    reach = abs(row["gain"]) + Z_90 * row["standard_error"]
    return EQUIVALENT if reach < margin else UNDECIDED


def _judge(results: Results, agreements: Sequence[Mapping[str, Any]], effect: float) -> dict[str, Any]:
    """The verdict on one model and data set."""
    headline = results.headline_of(results.target)
    margin = effect * results.reliability_of(results.target)["sd"]
    selectors = {
        row["selector"]: {
            **{name: row[name] for name in ("gain", "low", "high", "p_holm", "search_items")},
            "status": selector_status(row, margin),
        }
        for row in results.selection.filter(pl.col("target") == results.target).iter_rows(named=True)
    }
    mine = [
        row
        for row in agreements
        if row["dataset"] == results.dataset and results.model in row["models"] and row["target"] == results.target
    ]
    return {
        "target": results.target,
        "status": correlation_status(headline),
        "conclusion": findings.answer(results, effect),
        "numbers": headline,
        "margin": margin,
        "selectors": selectors,
        "sentences": [*_on_selectors(results, selectors, margin), *(_on_agreement(row, results.model) for row in mine)],
    }


def _on_selectors(results: Results, selectors: Mapping[str, Mapping[str, Any]], margin: float) -> list[str]:
    """A sentence for each status that a selector has."""
    by_status = {s: [name for name, entry in selectors.items() if entry["status"] == s] for s in COMPARED}
    if not any(by_status.values()):
        return ["No selector was compared with random choice."]
    unit = TARGET_UNITS.get(results.target, "score")
    sentences = []
    for status in (BEATS, WORSE):
        if by_status[status]:
            gains = [
                f"{name} ({quantity(entry['gain'], signed=True)} {unit}, 95 % interval "
                f"{interval(entry['low'], entry['high'], signed=True)})"
                for name, entry in selectors.items()
                if name in by_status[status]
            ]
            known = "Better" if status == BEATS else "Worse"
            sentences.append(f"{known} than random choice, corrected for their number: {enumeration(gains)}.")
    if not by_status[BEATS]:
        sentences.append("No selector is shown to beat random choice.")
    if by_status[EQUIVALENT]:
        sentences.append(f"As good as random within ±{quantity(margin)} {unit}: {enumeration(by_status[EQUIVALENT])}.")
    if by_status[UNDECIDED]:
        sentences.append(f"Undecided, more candidates and items are needed: {enumeration(by_status[UNDECIDED])}.")
    return sentences


def _on_agreement(row: Mapping[str, Any], model: str) -> str:
    """Whether the candidates that are good for `model` are good for the other model too."""
    other = next(name for name in row["models"] if name != model)
    if row["rho"] is None:
        return f"Whether good candidates stay good with {other} is undefined: a model finds them all equally good."
    corrected = row["rho_disattenuated"]
    beside = f", {correlation(corrected)} without noise" if corrected is not None else ""
    return (
        f"Candidates that are good in {target_name(row['target'])} rank with {other} as ρ = {correlation(row['rho'])} "
        f"(95 % interval {correlation_interval(row['low'], row['high'])}{beside})."
    )
