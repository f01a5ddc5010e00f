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
from iclscope.statistics.intervals import LEVEL, TINY, Z_90
from iclscope.statistics.signals.latent import EXPLAINED, OPEN, PREDICTS, SMALL, USELESS
from iclscope.statistics.signals.power import candidates_needed, independent_signals
from iclscope.tables import SUMMARY
from iclscope.verdict import findings
from iclscope.verdict.across import LOST, SURVIVES, agreement, features_across, signals_across
from iclscope.verdict.deciding import needed
from iclscope.verdict.results import Results
from iclscope.verdict.wording import (
    TARGET_UNITS,
    correlation_interval,
    count,
    enumeration,
    interval,
    quantity,
    target_name,
    two_decimals,
)

logger = logging.getLogger(__name__)

BEATS, WORSE, EQUIVALENT, UNDECIDED = "beats random", "worse than random", "equivalent to random", "undecided"
NEAREST = 5  # undecided selectors of which the sentences say what would decide; the data say it of all
COMPARED = (BEATS, WORSE, EQUIVALENT, UNDECIDED)


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
    reliability and selection; `settings` holds `smallest_useful_effect`, a correlation, and `margin`, the largest
    gain over random that is of no use, by the unit of the target (share_of_items, nats). `study_tables`: see `Results`.
    """
    results = [
        Results.read(model, dataset, tables, study_tables)
        for dataset, models in studies.items()
        for model, tables in models.items()
    ]
    judged = verdict(results, settings)
    write_text(verdict_out, json.dumps(judged, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    SUMMARY.write(pl.concat(summary(r) for r in results), summary_out, job.provenance)
    logger.info(judged["headline"])


def verdict(studies: Sequence[Results], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on all combinations of model and data set, each about its primary target; `settings` as in `run`."""
    effect = settings["smallest_useful_effect"]
    agreements = list(agreement(studies, effect))
    models: dict[str, dict[str, Any]] = {}
    for results in studies:
        judged = _judge(results, agreements, settings)
        models.setdefault(results.model, {})[results.dataset] = judged
    return {
        "question": iclscope.__doc__,
        "rules": {
            "level": LEVEL,
            "smallest_useful_effect": effect,
            "margin": settings["margin"],
            "target": "the declared primary quality target; all others are exploratory",
            "corrected p": "studentised maxT over all activation signals of a table, times the tables of the study",
            PREDICTS: "the corrected p of a signal is at most the level, and so is that beyond the nuisances",
            EXPLAINED: "the corrected p of a signal is at most the level, that beyond the nuisances of none",
            "nuisances": "label, length, NLL and zero-shot answer log probability (Freedman-Lane permutations)",
            SMALL: "a signal is related, and the 90 % interval of every signal, without noise, within the least effect",
            USELESS: "no signal is related, and the same holds",
            OPEN: "none of these, or the noise ceiling is below the least one",
            BEATS: "gain above 0 and corrected p (Holm over all selectors) below the level",
            WORSE: "gain below 0 and corrected p below the level",
            EQUIVALENT: "the 90 % interval of the gain lies within the margin of the target's unit",
            UNDECIDED: "none of these",
            "to_decide": "what would decide if gain and spread stay; candidates in pools of the present size",
            "ship": "the cheapest of those that beat random and come within the margin of the best; else random",
            SURVIVES: "the 95 % interval of the rank agreement of two models lies above the smallest effect",
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
    status = pl.when("primary").then(pl.lit(results.status))
    named = results.headline.with_columns(model=pl.lit(results.model), dataset=pl.lit(results.dataset), status=status)
    return named.join(best, on="target", how="left", maintain_order="left").select(SUMMARY.schema.names())


def selector_status(row: Mapping[str, Any], margin: float) -> str:
    """What is known of a selector, from its row of the selection table; `margin` in units of the score."""
    if row["kind"] == "bound":
        return "bound"
    if row["selector"] == "random":
        return "reference"
    if row["p_holm"] is None:  # nothing varies: it is random choice, or all candidates are equally good
        return EQUIVALENT if abs(row["gain"]) < TINY else UNDECIDED
    if row["p_holm"] < LEVEL:
        return BEATS if row["gain"] > 0 else WORSE
    reach = abs(row["gain"]) + Z_90 * row["standard_error"]
    return EQUIVALENT if reach < margin else UNDECIDED


def margin_of(target: str, margins: Mapping[str, float]) -> float:
    """The margin in the unit of a target."""
    return margins[TARGET_UNITS[target].replace(" ", "_")]


def to_ship(selectors: Mapping[str, Mapping[str, Any]], margin: float) -> str:
    """Name of the selector to ship, from the verdict's entry of each; the rule stands in the verdict."""
    better = {name: entry for name, entry in selectors.items() if entry["status"] == BEATS}
    if not better:
        return "random"
    enough = max(entry["gain"] for entry in better.values()) - margin
    return min((name for name in better if better[name]["gain"] >= enough), key=lambda name: better[name]["cost"])


def _judge(results: Results, agreements: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on one model and data set."""
    headline, effect = results.headline_of(results.target), settings["smallest_useful_effect"]
    margin = margin_of(results.target, settings["margin"])
    selectors = _judge_selectors(results, margin)
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
        "margin": margin,
        "selectors": selectors,
        "ship": to_ship(selectors, margin),
        "sentences": [*_on_selectors(results, selectors, margin), *(_on_agreement(row, results.model) for row in mine)],
    }


def _candidates_for(results: Results, effect: float) -> int | None:
    """Candidates with which a signal of this `effect` would be found in 80 of 100 studies, noise staying as it is."""
    headline = results.headline_of(results.target)
    if headline["null_95"] is None or headline["alpha"] is None:
        return None
    signals = independent_signals(headline["null_95"], headline["candidates"]) * results.study_tables
    return candidates_needed(effect, signals, headline["alpha"])


def _judge_selectors(results: Results, margin: float) -> dict[str, dict[str, Any]]:
    """Numbers and status of every selector, and what would decide about those that are undecided."""
    trust, judged = results.reliability_of(results.target), {}
    rows = results.selection.filter(pl.col("target") == results.target)
    compared = rows["p_holm"].count()
    for row in rows.iter_rows(named=True):
        names = ("gain", "low", "high", "top_5", "top_10", "p_holm", "search_items", "cost")
        status = selector_status(row, margin)
        judged[row["selector"]] = {**{name: row[name] for name in names}, "status": status}
        if status == UNDECIDED:
            more = needed(row, margin, trust["alpha"] or 0.0, compared, trust["candidates"], trust["items"])
            judged[row["selector"]]["to_decide"] = more and vars(more)
    return judged


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
        sentences.append("No selector is shown to beat random choice, so that random choice is the one to ship.")
    else:
        chosen = to_ship(selectors, margin)
        sentences.append(
            f"To ship: {chosen}, which costs {count(round(selectors[chosen]['cost']))} tokens, the fewest of those "
            f"that come within {quantity(margin)} {unit} of the best."
        )
    if by_status[EQUIVALENT]:
        sentences.append(f"As good as random within ±{quantity(margin)} {unit}: {enumeration(by_status[EQUIVALENT])}.")
    if by_status[UNDECIDED]:
        sentences.append(_on_undecided(by_status[UNDECIDED], selectors, results.reliability_of(results.target)))
    return sentences


def _on_undecided(names: Sequence[str], selectors: Mapping[str, Mapping[str, Any]], trust: Mapping[str, Any]) -> str:
    """Which selectors are undecided, and what would decide about those for which the least is missing."""
    growth = {name: _least(selectors[name]["to_decide"], trust) for name in names if selectors[name]["to_decide"]}
    nearest = sorted(growth, key=lambda name: growth[name][0])[:NEAREST]
    text = f"Undecided: {enumeration(names)}."
    if not nearest:
        return text
    what = enumeration([f"{growth[name][1]} for {name}" for name in nearest])
    few = "Fewest for a decision" if len(names) > NEAREST else "For a decision"
    return (
        f"{text} {few}, if gain and spread stay as they are: {what}; candidates count in pools of "
        f"{count(trust['candidates'])}."
    )


def _least(to_decide: Mapping[str, Any], trust: Mapping[str, Any]) -> tuple[float, str]:
    """The smallest growth that would decide, as a factor and in words: of items, of candidates, else of both."""
    alone = {name: to_decide[name] for name in ("items", "candidates") if to_decide[name] is not None}
    if not alone:
        return to_decide["both"], f"{to_decide['both']:.1f} times as many of both"
    least = min(alone, key=lambda name: alone[name] / trust[name])
    return alone[least] / trust[least], f"{count(alone[least])} {least}"


def _on_agreement(row: Mapping[str, Any], model: str) -> str:
    """Whether the candidates that are good for `model` are good for the other model too."""
    other = next(name for name in row["models"] if name != model)
    if row["rho"] is None:
        return f"Whether good candidates stay good with {other} is undefined: a model finds them all equally good."
    corrected = row["rho_disattenuated"]
    beside = f", {two_decimals(corrected)} without noise" if corrected is not None else ""
    return (
        f"Candidates that are good in {target_name(row['target'])} rank with {other} as ρ = {two_decimals(row['rho'])} "
        f"(95 % interval {correlation_interval(row['low'], row['high'])}{beside}): that quality survives the swap of "
        f"models is {'shown' if row['status'] == SURVIVES else 'ruled out' if row['status'] == LOST else 'undecided'}."
    )
