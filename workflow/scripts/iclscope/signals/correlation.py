"""Correlation of every signal with every quality target: how strong, how sure, how much of it is chance or length.

Families are corrected one by one: the activation signals together (metric x layer x site x pooling x mask), the cheap
features together, and the random control, which must come out with nothing.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from iclscope.matrix.quality import SHIFTED, Scores, read_scores
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.signals.grid import Signals, feature_signals, read_features, read_metrics
from iclscope.statistics.corrections import permute
from iclscope.statistics.intervals import LEVEL, Z_95, analytic_interval, disattenuate, equivalence, fisher_interval
from iclscope.statistics.nested import best_of_grid
from iclscope.statistics.partial import Confounders
from iclscope.statistics.ranks import Float, Ranks, centred_ranks, spearman
from iclscope.statistics.resampling import Weights, generator, rho_spread
from iclscope.tables import CORRELATION, FAMILIES, HEADLINE, RELIABILITY, SIGNAL
from iclscope.tasks.samples import read_clusters

logger = logging.getLogger(__name__)

FEWEST_CANDIDATES = 6


@dataclass(frozen=True)
class Files:
    """What the correlations are read from: `metrics` maps each mask to its file; `item_rows` is the sample of items."""

    metrics: Mapping[str, str | Path]
    features: str | Path
    evaluation: str | Path
    reliability: str | Path
    item_rows: str | Path


@dataclass(frozen=True)
class Analysis:
    """What the quality targets of one model and data set are correlated with, and how.

    `signals` hold all families; `clusters` [N] number the items' clusters; `settings` is the config's `correlation`.
    """

    signals: Signals
    confounders: Mapping[str, Confounders]
    clusters: NDArray[np.int64]
    settings: Mapping[str, Any]
    seed: int


def run(
    *,
    files: Files,
    settings: Mapping[str, Any],
    correlation_out: str | Path,
    headline_out: str | Path,
    job: Job,
) -> None:
    """Write the correlation and headline tables of one model and data set, for the targets whose reliability is known.

    `settings` is the config's `correlation`; of the items it takes the clusters.
    """
    trusts = {row["target"]: row for row in RELIABILITY.read(files.reliability).iter_rows(named=True)}
    scores = read_scores(files.evaluation, list(trusts))
    candidates, n_items = next(iter(scores.values())).matrix.shape
    if candidates < FEWEST_CANDIDATES:
        raise StudyError(f"datasets.*.candidates: {candidates} are too few to correlate, {FEWEST_CANDIDATES} the least")
    table = read_features(files.features, candidates)
    signals = read_metrics(files.metrics, candidates).joined(feature_signals(table))
    analysis = Analysis(signals, confounders(table), read_clusters(files.item_rows, n_items), settings, job.seed)
    logger.info(
        "%d signals, %d candidates, %d items: %d permutations and %d bootstrap draws for each target",
        *signals.ranks.shape, n_items, settings["permutations"], settings["bootstrap"],
    )  # fmt: skip
    results: dict[str, tuple[pl.DataFrame, dict[str, Any]]] = {}
    for target in progress(list(scores), description="correlation", unit="targets"):
        base = SHIFTED.get(target, target)
        if base not in results:
            results[base] = correlate(scores[target], trusts[target], analysis)
            row = results[base][1]
            logger.info(
                "%s: best rho %s (corrected p %s), %s where it was not chosen",
                target,
                *map(_rounded, (row["best_rho"], row["best_p_maxt"], row["nested_rho"])),
            )
    named = {target: results[SHIFTED.get(target, target)] for target in scores}
    frames = [frame.with_columns(pl.lit(target).alias("target")) for target, (frame, _) in named.items()]
    rows = [row | {"target": target} for target, (_, row) in named.items()]
    CORRELATION.write(pl.concat(frames).select(CORRELATION.schema.names()), correlation_out, job.provenance)
    HEADLINE.write(pl.DataFrame(rows, schema=HEADLINE.schema), headline_out, job.provenance)


def correlate(scores: Scores, trust: Mapping[str, Any], analysis: Analysis) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Correlation table and headline row of one target, both without its name; `trust` is its reliability row."""
    signals, settings = analysis.signals, analysis.settings
    quality = centred_ranks(scores.matrix.mean(axis=1))
    if not quality.any():
        signals = signals.undefined("quality is the same for every candidate")
    usable = signals.defined.to_numpy()
    ranks = signals.ranks[usable]
    weights = Weights.draw(
        len(quality), analysis.clusters, settings["bootstrap"], generator(analysis.seed, "correlation bootstrap")
    )
    rho = spearman(ranks, quality)
    spread = rho_spread(ranks, scores.matrix, weights)
    values: dict[str, NDArray[Any]] = {"rho": rho, "rho_disattenuated": disattenuate(rho, trust["alpha"])}
    values["low"], values["high"] = fisher_interval(rho, Z_95 * spread)
    values["analytic_low"], values["analytic_high"] = analytic_interval(rho, len(quality))
    corrected, null_95 = _correct_families(rho, ranks, quality, signals.about["family"].to_numpy()[usable], analysis)
    values |= corrected
    values["partial_label"] = np.full(len(rho), np.nan)  # stays where answers are generated
    for name, confounder in analysis.confounders.items():
        values[name] = confounder.partial(ranks, quality)
    values["partial_p"] = analysis.confounders["partial_nll"].p(values["partial_nll"])
    values["equivalence"] = equivalence(rho, spread, settings["smallest_useful_effect"])
    frame = _spread_out(signals, values)
    return frame, _headline(frame, scores, trust, null_95, analysis)


def _correct_families(
    rho: Float, ranks: Ranks, quality: Ranks, family: NDArray[np.str_], analysis: Analysis
) -> tuple[dict[str, Float], float | None]:
    """p, p_maxt, q_bh and q_by [signals], each family by itself; and the 95 % null line of the activation family."""
    columns = {name: np.full(len(rho), np.nan) for name in ("p", "p_maxt", "q_bh", "q_by")}
    null_95 = None
    for name in FAMILIES:
        mine = family == name
        if not mine.any():
            continue
        rng = generator(analysis.seed, "permutations")  # the same permutations for all families and targets
        null = permute(ranks[mine], quality, analysis.settings["permutations"], rng)
        columns["p"][mine] = null.p()
        columns["p_maxt"][mine] = null.p_maxt(rho[mine])
        columns["q_bh"][mine] = false_discovery_control(null.p(), method="bh")
        columns["q_by"][mine] = false_discovery_control(null.p(), method="by")
        if name == "activation":
            null_95 = float(np.quantile(null.largest, 1 - LEVEL))
    return columns, null_95


def _spread_out(signals: Signals, values: Mapping[str, NDArray[Any]]) -> pl.DataFrame:
    """`signals.about` with columns that have a value per defined signal; empty where undefined or NaN."""
    rows = np.flatnonzero(signals.defined.to_numpy())
    found = pl.DataFrame(dict(values)).with_columns(
        pl.col(pl.Float64).fill_nan(None), pl.Series("row", rows, pl.UInt32)
    )
    return signals.about.with_row_index("row").join(found, on="row", how="left", maintain_order="left").drop("row")


def _headline(
    frame: pl.DataFrame, scores: Scores, trust: Mapping[str, Any], null_95: float | None, analysis: Analysis
) -> dict[str, Any]:
    """The headline row of one target, without its name."""
    signals = frame.filter(pl.col("family") == "activation")
    ranked = signals.filter(pl.col("rho").is_not_null()).sort(pl.col("rho").abs(), descending=True, maintain_order=True)
    best = ranked.row(0, named=True) if ranked.height else None
    grid = analysis.signals.where(analysis.signals.defined & (analysis.signals.about["family"] == "activation"))
    nested = best_of_grid(
        grid.ranks,
        scores.matrix,
        analysis.clusters,
        analysis.settings["nested_splits"],
        generator(analysis.seed, "nested"),
    )
    return {
        "candidates": scores.matrix.shape[0],
        "items": scores.matrix.shape[1],
        "signals": signals.height,
        "undefined": signals["rho"].null_count(),
        "alpha": trust["alpha"],
        "ceiling": trust["ceiling"],
        "null_95": null_95,
        "best_rho": best and best["rho"],
        "best_signal": best and " ".join(str(best[k]) for k in SIGNAL),
        "best_p_maxt": best and best["p_maxt"],
        "nested_rho": nested and nested.held_out,
        "optimism": nested and nested.optimism,
        "length_rho": frame.filter(pl.col("metric") == "length", pl.col("family") == "feature")["rho"].item(),
        "significant": signals.filter(pl.col("p_maxt") < LEVEL).height,
        "useful": signals.filter(pl.col("equivalence") == "useful effect").height,
        "useless": signals.filter(pl.col("equivalence") == "no useful effect").height,
    }


def _rounded(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def confounders(features: pl.DataFrame) -> dict[str, Confounders]:
    """The sets of confounders by column of the correlation table, from the features in the order of candidate ids.

    Where answers are generated there is no label: `partial_label` is left out, and `partial_nll` goes without it.
    """
    length = [_ranks(features["length"])]
    labels = [
        (features["label"] == value).to_numpy().astype(np.float64)
        for value in features["label"].unique().drop_nulls().sort()
    ]
    labelled = features["label"].null_count() == 0
    sets = {"partial_length": length}
    if labelled:
        sets["partial_label"] = length + labels
    sets["partial_nll"] = length + (labels if labelled else []) + [_ranks(features["nll"])]
    return {name: Confounders.of(columns, features.height) for name, columns in sets.items()}


def _ranks(values: pl.Series) -> Float:
    return centred_ranks(values.to_numpy()).astype(np.float64)
