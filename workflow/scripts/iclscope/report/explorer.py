"""The candidate explorer: one page per model and data set with every candidate, its signals and its score on each item.

The page carries its numbers as JSON and its text as data, never as markup: `explorer.js` puts it into the page as text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.matrix.quality import BALANCED, read_evaluation, score_matrix
from iclscope.report import html
from iclscope.statistics.intervals import Z_95
from iclscope.tables import FEATURES, FINAL_TABLES, METRICS, SAMPLE, SIGNAL_KEY
from iclscope.verdict.results import Results
from iclscope.verdict.wording import TARGET_UNITS, count, target_name

MOST_SCORES = 1_000_000  # pairs of candidate and item that a page carries: about 6 MB of numbers per target
MOST_LABELS = 8  # distinct answers that still make a label; of more, only the place among the choices does
DIGITS = 4  # of signals and quality
SIGNAL_ROW = (*SIGNAL_KEY, "layer")


@dataclass(frozen=True)
class ExplorerFiles:
    """What the page is made of.

    tables: final table → Parquet file; candidates, item_rows: the samples; metrics: mask → file.
    """

    tables: Mapping[str, str | Path]
    candidates: str | Path
    item_rows: str | Path
    evaluation: str | Path
    features: str | Path
    metrics: Mapping[str, str | Path]

    @classmethod
    def of(cls, masks: Sequence[str], files: Any) -> "ExplorerFiles":
        """From inputs by name, of which the metrics are a list in the order of the masks."""
        tables = {table: files[table] for table in FINAL_TABLES}
        singles = {name: files[name] for name in ("candidates", "item_rows", "evaluation", "features")}
        return cls(tables, **singles, metrics=dict(zip(masks, files["metrics"], strict=True)))


def run(*, model: str, dataset: str, files: ExplorerFiles, study_tables: int, output: str | Path) -> None:
    """Write the page of one model on one data set, two folders below the pages of the data sets."""
    results = Results.read(model, dataset, files.tables, study_tables)
    content = {
        "model": model,
        "dataset": dataset,
        "lead": results.target,
        "targets": [_target(results, target) for target in results.targets],
        "candidates": _candidates(results, SAMPLE.read(files.candidates)),
        "signals": [*_features(results, FEATURES.read(files.features)), *_activations(results, files.metrics)],
        "items": _items(SAMPLE.read(files.item_rows)),
        "scores": _scores(results, files.evaluation),
    }
    html.render(
        "explorer.html",
        output,
        (*html.TABLES, *html.CHARTS, "explorer.js"),
        title=f"Candidates of {dataset}",
        dataset=dataset,
        model=model,
        content=content,
        target=target_name(results.target),
        too_many=None if content["scores"] else count(MOST_SCORES),
    )


def _target(results: Results, target: str) -> dict[str, Any]:
    """A quality target with the quality of every candidate and its 95 % interval, candidates in the order of ids."""
    quality = results.quality.filter(target=target).sort("candidate")
    headline = results.headline_of(target)
    value, error = quality["value"].to_numpy(), quality["standard_error"].to_numpy()
    return {
        "name": target,
        "title": target_name(target),
        "unit": TARGET_UNITS.get(target, "score"),
        "null": headline["null_95"],
        "ceiling": headline["ceiling"],
        "value": _numbers(value),
        "low": _numbers(value - Z_95 * error),
        "high": _numbers(value + Z_95 * error),
    }


def _candidates(results: Results, sample: pl.DataFrame) -> list[dict[str, Any]]:
    """Id, text, label and share of items with one answer of every candidate that has a quality, in order of ids."""
    quality = results.quality.filter(target=results.target).sort("candidate")
    rows = sample.filter(pl.col("id").is_in(quality["candidate"].implode())).sort("id").to_dicts()
    answers = [row["choices"][row["gold"]] for row in rows]
    few = len(set(answers)) <= MOST_LABELS or any(row["kind"] == "generation" for row in rows)
    return [
        {
            "id": row["id"],
            "text": row["prefix"][: row["answer_end"]],
            "label": answer if few else f"choice {row['gold'] + 1}",
            "one_answer": share,
        }
        for row, answer, share in zip(rows, answers, _numbers(quality["one_answer"]), strict=True)
    ]


def _items(sample: pl.DataFrame) -> list[dict[str, Any]]:
    """Id and text of every item with its right answer."""
    return [
        {"id": row["id"], "text": row["question"] + row["target_delimiter"] + row["choices"][row["gold"]]}
        for row in sample.sort("id").iter_rows(named=True)
    ]


def _features(results: Results, features: pl.DataFrame) -> list[dict[str, Any]]:
    """Signals that need no activations, the control among them."""
    names = pl.concat([results.family("feature"), results.family("control")])["metric"].to_list()
    values = features.sort("candidate")
    return [
        {
            "name": name,
            "group": "without activations",
            "values": _numbers(values[name]),
            "rho": _correlations(results, pl.col("metric") == name, pl.col("family") != "activation"),
        }
        for name in names
    ]


def _activations(results: Results, metrics: Mapping[str, str | Path]) -> list[dict[str, Any]]:
    """Per mask, site and metric the signal with the largest |rho| with the primary target, strongest first."""
    defined = results.signals.filter(pl.col("rho").is_not_null())
    chosen = defined.unique(["mask", "site", "metric"], keep="first", maintain_order=True)
    keys = [column for column in SIGNAL_ROW if column != "mask"]
    values: dict[tuple[Any, ...], Sequence[float | None]] = {}
    for mask, path in metrics.items():
        wanted = chosen.filter(mask=mask).select(keys)
        rows = METRICS.read(path, columns=[*keys, "candidate", "value"]).join(wanted, on=keys, how="semi")
        for key, part in rows.sort("candidate").group_by(keys):
            values[(mask, *key)] = _numbers(part["value"])
    return [
        {
            "name": f"{row['metric']} · {row['site']} · {row['pooling']} · layer {row['layer']}",
            "group": row["mask"],
            "values": values[(row["mask"], *(row[key] for key in keys))],
            "rho": _correlations(results, *(pl.col(key) == row[key] for key in SIGNAL_ROW)),
        }
        for row in chosen.iter_rows(named=True)
    ]


def _correlations(results: Results, *conditions: pl.Expr) -> dict[str, list[float | None]]:
    """Rho and corrected p of a signal by target; empty where undefined."""
    p = (pl.col("p_maxt") * results.study_tables).clip(upper_bound=1)
    rows = results.correlation.filter(*conditions).select("target", "rho", p)
    return {target: _numbers(numbers) for target, *numbers in rows.iter_rows()}


def _scores(results: Results, evaluation: str | Path) -> dict[str, list[list[float]]]:
    """Scores [candidates][items] in the primary and the first target; none if they were too many for a page."""
    headline = results.headline_of(results.target)
    if headline["candidates"] * headline["items"] > MOST_SCORES:
        return {}
    targets = list(dict.fromkeys([results.target, results.targets[0]]))
    plain = {target: BALANCED.get(target, target) for target in targets}  # a balanced score is no score of one item
    table = read_evaluation(evaluation, list(plain.values()))
    return {target: _short(score_matrix(table, base).matrix) for target, base in plain.items()}


def _short(matrix: np.ndarray) -> list[list[float]]:
    """Numbers with two decimals, or whole ones where all are."""
    whole = np.array_equal(matrix, matrix.round())
    return matrix.astype(int).tolist() if whole else matrix.round(2).tolist()


def _numbers(values: Any) -> list[float | None]:
    """Numbers with few digits; None where there is none, since JSON knows no NaN."""
    return [None if value is None or not np.isfinite(value) else float(f"{value:.{DIGITS}g}") for value in values]
