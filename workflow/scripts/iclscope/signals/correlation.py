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
from scipy.stats import false_discovery_control, norm

from iclscope.matrix.quality import SHIFTED, Scores, read_scores
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.signals.grid import Signals, feature_signals, read_features, read_metrics
from iclscope.statistics.nested import best_of_grid
from iclscope.statistics.partial import Confounders, confounders
from iclscope.statistics.resampling import (
    BLOCK,
    Float,
    Ranks,
    Weights,
    centred_ranks,
    generator,
    permute,
    read_clusters,
    rho_spread,
)
from iclscope.tables import CORRELATION, HEADLINE, RELIABILITY

logger = logging.getLogger(__name__)

FAMILIES = ("activation", "feature", "control")
DISATTENUATE_FROM = 0.3  # a smaller alpha divides by something that is mostly noise
LEVEL = 0.05
FEWEST_CANDIDATES = 6
Z_95, Z_90 = float(norm.ppf(0.975)), float(norm.ppf(0.95))
NEARLY_ONE = 1 - 1e-9  # |rho| = 1 has no finite Fisher z


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


def spearman(ranks: Ranks, quality: Ranks) -> Float:
    """Spearman's rho of `quality` [C] with every signal [signals, C], from centred ranks that are not all zero."""
    target = quality.astype(np.float64)
    rho = np.empty(len(ranks))
    for first in range(0, len(ranks), BLOCK):
        rows = ranks[first : first + BLOCK].astype(np.float64)
        rho[first : first + BLOCK] = (rows @ target) / np.sqrt((rows**2).sum(axis=1) * (target @ target))
    return np.clip(rho, -1, 1)


def fisher_interval(rho: Float, half_width: Float) -> tuple[Float, Float]:
    """Interval around `rho` that reaches `half_width` to both sides on Fisher's z scale.

    With the bootstrap's standard error this is centred on rho, not on the draws: resampling items adds their noise a
    second time, so that the draws lie nearer to zero than rho does.
    """
    z = np.arctanh(np.clip(rho, -NEARLY_ONE, NEARLY_ONE))
    return np.tanh(z - half_width), np.tanh(z + half_width)


def analytic_interval(rho: Float, candidates: int) -> tuple[Float, Float]:
    """95 % interval of Spearman's rho from the number of candidates alone (Bonett and Wright 2000)."""
    return fisher_interval(rho, Z_95 * np.sqrt((1 + rho**2 / 2) / (candidates - 3)))


def disattenuate(rho: Float, alpha: float | None) -> Float:
    """Rho with a quality measured without noise, rho / sqrt(alpha) (Spearman 1904); NaN where alpha is too small.

    May exceed 1: it is an estimate, and alpha is one too.
    """
    if alpha is None or alpha < DISATTENUATE_FROM:
        return np.full(len(rho), np.nan)
    return rho / np.sqrt(alpha)


def equivalence(rho: Float, spread: Float, smallest: float) -> NDArray[np.str_]:
    """What the 90 % interval says about effects of at least `smallest` (two one-sided tests; Schuirmann 1987)."""
    low, high = fisher_interval(rho, Z_90 * spread)
    none = (low > -smallest) & (high < smallest)
    some = (low > smallest) | (high < -smallest)
    return np.select([none, some], ["no useful effect", "useful effect"], "undecided")


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
        "best_signal": best and " ".join(str(best[k]) for k in ("mask", "site", "layer", "pooling", "metric")),
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
