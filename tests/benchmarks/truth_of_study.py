"""Is the first sentence of a study true? Whole studies with planted answers, through the package's own stages.

PYTHONPATH=workflow/scripts python tests/benchmarks/truth_of_study.py STUDIES

2 models x 3 data sets. Items come in passages of two that share a label and a quarter of the noise of their items. Half
of the interaction of candidate and item is a push towards a label, with which one signal goes along; 60 % of the
items have one label. In the first data set another signal may predict what quality is without noise, as `rho`.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from iclscope.matrix import quality
from iclscope.runtime.jobs import Job
from iclscope.signals import correlation
from iclscope.statistics.signals.latent import EXPLAINED, PREDICTS, SMALL, USELESS
from iclscope.tables import (
    CORRELATION,
    EVALUATION,
    FEATURES,
    HEADLINE,
    METRICS,
    QUALITY,
    RELIABILITY,
    SAMPLE,
    SELECTION,
    VARIANCE,
)  # fmt: skip
from iclscope.verdict import findings
from iclscope.verdict.results import Results
from truth import table

MODELS, DATA_SETS, SIGNALS, ALPHA = 2, 3, 20, 0.7
SETTINGS = {"permutations": 599, "bootstrap": 150, "smallest_useful_effect": 0.2, "least_ceiling": 0.5}
TARGETS = {"targets": ["gold_logprob", "gold_logprob_balanced"], "primary": "gold_logprob_balanced", "split_halves": 2}
PLANTED = 1  # the layer whose signal may predict; that of layer 0 goes along with the push


def write(folder: Path, rho: float, candidates: int, items: int, rng: np.random.Generator) -> None:
    """Write the tables of one model on one data set that quality and correlation read."""
    label = (rng.random(items // 2) < 0.6).astype(int).repeat(2)
    push, ability = rng.standard_normal((2, candidates))
    values = rng.standard_normal((SIGNALS, candidates))
    values[0] = push
    values[PLANTED] = rho * ability + np.sqrt(1 - rho**2) * values[PLANTED]
    passage = rng.standard_normal((candidates, items // 2)).repeat(2, axis=1)
    rest = np.sqrt(0.75) * rng.standard_normal((candidates, items)) + 0.5 * passage
    noise = np.sqrt(items * (1 - ALPHA) / ALPHA / 1.25)  # passages add a quarter to the noise of the mean
    scores = ability[:, None] + noise * np.sqrt(0.5) * (push[:, None] * np.where(label == 1, 1.0, -1.0) + rest)
    grid = np.concatenate([rng.standard_normal((1, items)), scores + rng.standard_normal(items)]) - 5
    candidate, item = np.indices(grid.shape)
    pairs = {"candidate": candidate.ravel() - 1, "item": item.ravel(), "gold_logprob": grid.ravel()}
    _write(EVALUATION, pl.DataFrame(pairs), folder / "evaluation.parquet")
    for role, size, gold in (("candidates", candidates, np.arange(candidates) % 2), ("items", items, label)):
        clusters = [f"passage {number // 2}" if role == "items" else None for number in range(size)]
        rows = {"id": range(size), "gold": gold, "cluster": pl.Series(clusters, dtype=pl.String)}
        _write(SAMPLE, pl.DataFrame(rows).with_columns(kind=pl.lit("choice")), folder / f"{role}.parquet")
    names = (
        "length",
        "nll",
        "answer_nll",
        "zero_shot_margin",
        "zero_shot_entropy",
        "similarity",
        "typicality",
        "random",
    )
    features = {name: rng.integers(10, 90, candidates) for name in names}
    features |= {"candidate": np.arange(candidates), "label": np.arange(candidates) % 2}
    _write(FEATURES, pl.DataFrame(features), folder / "features.parquet")
    layers = np.arange(SIGNALS).repeat(candidates)
    metrics = {"layer": layers, "candidate": np.tile(np.arange(candidates), SIGNALS), "value": values.ravel()}
    named = {name: pl.lit(name) for name in ("site", "pooling", "metric")}
    _write(METRICS, pl.DataFrame(metrics).with_columns(**named), folder / "causal.parquet")


def _write(of, frame: pl.DataFrame, path: Path) -> None:
    """Write a table, what nothing here reads being empty or zero."""
    nullable = {column.name: column.nullable for column in of.columns}
    blank = {pl.String: "", pl.List: []}
    fill = {
        name: pl.lit(None if nullable[name] else blank.get(dtype.base_type(), 0))
        for name, dtype in of.schema.items()
        if name not in frame.columns
    }
    of.write(frame.with_columns(**fill).select(of.schema.names()).cast(dict(of.schema)), path, {})


def results_of(folder: Path, model: str, dataset: str) -> Results:
    """Quality and correlation of what is in the folder, as the verdict reads them."""
    path = {
        name: folder / f"{name}.parquet" for name in ("evaluation", "features", "quality", "reliability", "variance")
    }
    scored = {"evaluation": path["evaluation"], "candidates": folder / "candidates.parquet"}
    scored["item_rows"] = folder / "items.parquet"
    made, job = {f"{name}_out": path[name] for name in ("quality", "reliability", "variance")}, Job(1, {})
    quality.run(files=quality.Files(**scored), settings=TARGETS, **made, job=job)
    read = {**scored, "features": path["features"], "reliability": path["reliability"]}
    files = correlation.Files(**read, metrics={"causal": folder / "causal.parquet"})
    out = {f"{name}_out": folder / f"{name}.parquet" for name in ("correlation", "headline")}
    correlation.run(files=files, settings=SETTINGS, **out, job=job)
    tables = {
        "correlation": CORRELATION.read(out["correlation_out"]),
        "headline": HEADLINE.read(out["headline_out"]),
        "quality": QUALITY.read(path["quality"]),
        "reliability": RELIABILITY.read(path["reliability"]),
        "variance": VARIANCE.read(path["variance"]),
    }
    empty = pl.DataFrame(schema=SELECTION.schema)
    return Results(model, dataset, **tables, selection=empty, study_tables=MODELS * DATA_SETS)


def study(rho: float, candidates: int, items: int, seed: int) -> dict[str, float]:
    """Whether a study says that any signal but the planted one is related, and whether it finds that one.

    A sentence that rules out a useful effect is true of the pushed signal, whose ability is none, and of the others.
    """
    studies = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(MODELS * DATA_SETS):
            planted = rho if number < MODELS else 0.0
            write(Path(name), planted, candidates, items, np.random.default_rng([seed, number]))
            studies.append(results_of(Path(name), f"model {number % MODELS}", f"data {number // MODELS}"))
    text = findings.overall(studies)
    has_planted = [rho > 0 and number < MODELS for number in range(len(studies))]
    claims = pl.concat(
        results.signals.select("status", planted=pl.lit(has) & (pl.col("layer") == PLANTED))
        for has, results in zip(has_planted, studies, strict=True)
    )
    claimed = pl.col("status").is_in([PREDICTS, EXPLAINED, SMALL])
    row = {"false claim": float(claims.filter(claimed & ~pl.col("planted")).height > 0)}
    if rho:
        found = claims.filter(pl.col("planted"))
        row |= {
            "found": float((found["status"] == PREDICTS).mean()),
            "no use": float((found["status"] == USELESS).any()),
        }
    else:
        row["headline"] = float("predicts" in text or "related" in text or "tell no more" in text)
    return row


def rows(studies: int) -> Iterator[dict[str, float | str]]:
    """A row without any effect, and one with a planted one."""
    for rho, candidates, items in ((0.0, 150, 60), (0.35, 300, 100)):
        found = pl.DataFrame([study(rho, candidates, items, seed) for seed in range(studies)])
        mean = dict.fromkeys(("false claim", "headline", "found", "no use"), "") | found.mean().row(0, named=True)
        yield {"rho": rho, "C": candidates, "N": items, **mean}


if __name__ == "__main__":
    for line in table(rows(int(sys.argv[1]))):
        print(line, flush=True)
