"""The tables of the report: what stands in their cells, ready to be set, from the study's final tables."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from iclscope.verdict.results import Results
from iclscope.verdict.wording import (
    TARGET_UNITS,
    correlation_interval,
    count,
    interval,
    p_value,
    quantity,
    target_name,
    two_decimals,
)

TOP_SIGNALS = 15
TOP_REASONS = 12
EXTREMES = 5
CHOICES = {"static": "one for all items", "query": "one per item", "bound": "with every score of the half"}
LONGEST_TEXT = 400  # characters of a demonstration that are shown


@dataclass(frozen=True)
class Sheet:
    """A table to be set: caption, header, rows of text; columns other than `words` (by index) hold numbers."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)


def headline(results: Results) -> Sheet:
    """A row per quality target."""
    header = (
        "target",
        "α",
        "noise ceiling",
        "null line",
        "largest ρ",
        "corrected p",
        "ρ where not chosen",
        "ρ of length",
        "signals",
        "undefined",
        "significant",
    )
    rows = [
        (
            target_name(row["target"]),
            two_decimals(row["alpha"]),
            two_decimals(row["ceiling"]),
            two_decimals(row["null_95"]),
            two_decimals(row["best_rho"]),
            p_value(row["best_p_maxt"]),
            two_decimals(row["nested_rho"]),
            two_decimals(row["length_rho"]),
            count(row["signals"]),
            count(row["undefined"]),
            count(row["significant"]),
        )
        for row in results.headline.iter_rows(named=True)
    ]
    return Sheet("The correlation study, a row per quality target", header, rows)


def top_signals(results: Results) -> Sheet | None:
    """The strongest activation signals for the leading target; None if no correlation is defined."""
    defined = results.signals.filter(pl.col("rho").is_not_null()).head(TOP_SIGNALS)
    if defined.is_empty():
        return None
    header = (
        "metric",
        "site",
        "mask",
        "pooling",
        "layer",
        "ρ",
        "95 % interval",
        "p alone",
        "corrected p",
        "ρ / √α",
        "given length",
        "and label",
        "and NLL",
    )
    rows = [
        (
            row["metric"],
            row["site"],
            row["mask"],
            row["pooling"],
            str(row["layer"]),
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            p_value(row["p"]),
            p_value(row["p_maxt"]),
            two_decimals(row["rho_disattenuated"]),
            *_partials(row),
        )
        for row in defined.iter_rows(named=True)
    ]
    caption = (
        f"The {len(rows)} activation signals with the largest |ρ| with {target_name(results.target)}; from “given "
        "length” on, partial correlations"
    )
    return Sheet(caption, header, rows, words=range(4))


def features(results: Results) -> Sheet:
    """Features and controls against the leading target."""
    header = (
        "signal",
        "ρ",
        "95 % interval",
        "p alone",
        "corrected p",
        "given length",
        "and label",
        "and NLL",
        "remark",
    )
    both = [*results.family("feature").iter_rows(named=True), *results.family("control").iter_rows(named=True)]
    rows = [
        (
            f"{row['metric']} (control)" if row["family"] == "control" else row["metric"],
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            p_value(row["p"]),
            p_value(row["p_maxt"]),
            *_partials(row),
            row["reason"] or row["equivalence"] or "",
        )
        for row in both
    ]
    caption = f"Signals that need no activations, and the control, against {target_name(results.target)}"
    return Sheet(caption, header, rows, words=(0, len(header) - 1))


def _partials(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return two_decimals(row["partial_length"]), two_decimals(row["partial_label"]), two_decimals(row["partial_nll"])


def undefined_signals(results: Results) -> Sheet | None:
    """Why activation signals have no correlation with the leading target; None if all have one."""
    empty = results.signals.filter(pl.col("rho").is_null())
    if empty.is_empty():
        return None
    groups = empty.group_by("metric", "reason").agg(pl.len().alias("signals"), pl.col("mask").unique().sort())
    groups = groups.sort("signals", "metric", "reason", descending=[True, False, False])
    rows = [
        (row["metric"], row["reason"] or "no reason given", ", ".join(row["mask"]), count(row["signals"]))
        for row in groups.head(TOP_REASONS).iter_rows(named=True)
    ]
    more = f"; the {TOP_REASONS} commonest of {groups.height} groups" if groups.height > TOP_REASONS else ""
    caption = (
        f"Activation signals without a defined correlation: {count(empty.height)} of {count(results.signals.height)}"
    )
    return Sheet(caption + more, ("metric", "reason", "masks", "signals"), rows, words=range(3))


def reliability(results: Results) -> Sheet:
    """Reliability and noise ceiling, a row per target."""
    header = (
        "target",
        "unit",
        "zero-shot",
        "mean",
        "SD",
        "α",
        "split half",
        "ceiling",
        "items for 0.95",
        "why undefined",
    )
    rows = [
        (
            target_name(row["target"]),
            TARGET_UNITS.get(row["target"], ""),
            quantity(row["zero_shot"]),
            quantity(row["mean"]),
            quantity(row["sd"]),
            two_decimals(row["alpha"]),
            two_decimals(row["split_half"]),
            two_decimals(row["ceiling"]),
            count(row["items_needed"]),
            row["reason"] or "",
        )
        for row in results.reliability.iter_rows(named=True)
    ]
    return Sheet("How reliably the items tell the candidates apart", header, rows, words=(0, 1, len(header) - 1))


def selectors(results: Results, target: str, statuses: Mapping[str, str]) -> Sheet:
    """Value of the selectors in one target, best first; statuses: selector → verdict, for those that have one.

    “As search on” is the exchange rate: on how many items a plain search must try every candidate to gain as much.
    """
    header = ["selector", "chooses", "score", "gain", "95 % interval", "p", "p (Holm)", "gain of 5", "of 10"]
    header += ["regret", "as search on", "tokens read"]
    ordered = results.selection.filter(pl.col("target") == target).sort("gain", descending=True, maintain_order=True)
    rows = []
    for row in ordered.iter_rows(named=True):
        reference = row["selector"] == "random"
        cells = [
            row["selector"],
            CHOICES[row["kind"]],
            quantity(row["value"]),
            "reference" if reference else quantity(row["gain"], signed=True),
            "" if reference else interval(row["low"], row["high"], signed=True),
            "" if row["p"] is None else p_value(row["p"]),
            "" if row["p_holm"] is None else p_value(row["p_holm"]),
            quantity(row["top_5"], signed=True),
            quantity(row["top_10"], signed=True),
            quantity(row["regret"]),
            "> half" if row["search_items"] is None else quantity(row["search_items"]),
            count(round(row["cost"])),
        ]
        rows.append([*cells, statuses.get(row["selector"], "")] if statuses else cells)
    unit = TARGET_UNITS.get(target, "score")
    caption = (
        f"What the selectors are worth in {target_name(target)} ({unit}), and on how many items a search equals them"
    )
    return Sheet(caption, [*header, "verdict"] if statuses else header, rows, words=(0, 1, len(header)))


def extremes(results: Results, candidates: pl.DataFrame) -> Sheet:
    """Best and worst candidates in the leading target with their text; candidates: the sample's rows."""
    ranked = results.quality.filter(pl.col("target") == results.target).sort(
        "value", descending=True, maintain_order=True
    )
    ranked = ranked.with_row_index("rank", offset=1)
    chosen = pl.concat([ranked.head(EXTREMES), ranked.tail(EXTREMES)]).unique("rank", maintain_order=True)
    texts = {row["id"]: row["prefix"][: row["answer_end"]] for row in candidates.iter_rows(named=True)}
    rows = [
        (
            _shortened(texts[row["candidate"]]),
            str(row["rank"]),
            str(row["candidate"]),
            quantity(row["value"]),
            quantity(row["standard_error"]),
        )
        for row in chosen.iter_rows(named=True)
    ]
    caption = f"The best and the worst demonstrations in {target_name(results.target)}"
    return Sheet(caption, ("demonstration", "rank", "candidate", "quality", "standard error"), rows)


def across(verdict: Mapping[str, Any], targets: Collection[str]) -> dict[str, Sheet]:
    """What the verdict says across models and data sets in the given targets; a table without rows is left out."""
    agreement = [
        (
            row["dataset"],
            " and ".join(row["models"]),
            target_name(row["target"]),
            count(row["candidates"]),
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            two_decimals(row["rho_disattenuated"]),
            row["status"],
        )
        for row in verdict.get("agreement_between_models", [])
        if row["target"] in targets
    ]
    pooled = [
        (
            row["metric"],
            target_name(row["target"]),
            f"{row['positive']} of {row['settings']}",
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            two_decimals(row["tau"]),
        )
        for row in verdict.get("features_across_settings", [])
        if row["target"] in targets
    ]
    tables = {
        "agreement": Sheet(
            "Do good demonstrations stay good with another model? Rank correlation of candidate quality",
            ("data set", "models", "target", "candidates", "ρ", "95 % interval", "ρ without noise", "quality"),
            agreement,
            words=(0, 1, 2, 7),
        ),
        "signals": _signals_across(verdict, targets),
        "pooled": Sheet(
            "Signals that need no activations, over all data sets and models (random-effects mean)",
            ("signal", "target", "ρ above 0", "mean ρ", "95 % interval", "spread τ"),
            pooled,
            words=(0, 1),
        ),
    }
    return {name: table for name, table in tables.items() if table.rows}


def _signals_across(verdict: Mapping[str, Any], targets: Collection[str]) -> Sheet:
    """Activation signals of each model over its data sets."""
    rows = [
        (
            row["model"],
            target_name(row["target"]),
            row["largest"],
            count(row["signals"]),
            count(row["same_sign"]),
            count(round(row["same_sign_by_chance"])),
            two_decimals(row["rho"]),
            correlation_interval(row["low"], row["high"]),
            two_decimals(row["tau"]),
        )
        for row in verdict.get("signals_across_data_sets", [])
        if row["target"] in targets
    ]
    return Sheet(
        "Activation signals over all data sets: how many keep their sign, and the largest mean ρ (random effects)",
        ("model", "target", "largest", "signals", "same sign", "by chance", "mean ρ", "95 % interval", "spread τ"),
        rows,
        words=range(3),
    )


def _shortened(text: str) -> str:
    """The text, or its beginning and its end, where the answer stands."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[: LONGEST_TEXT * 3 // 4].rstrip()} … {text[-LONGEST_TEXT // 4 :].lstrip()}"


def flattened(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Rows (key path, value) of a nested record: settings or a run record."""
    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flattened(value, f"{path}.")
        else:
            rows.append((path, _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(entry) for entry in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items()) or "none"
    return str(value)
