"""Correlation of every signal with every quality target: how strong, how sure, how much of it is chance or length.

Families are corrected one by one: the activation signals together (metric x layer x site x pooling x mask), the cheap
features together, the random control, which must come out with nothing, the metrics of sparse autoencoders, and those
of their untrained twins. Candidates and items are both samples.
"""

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from iclscope.matrix import quality
from iclscope.matrix.quality import SHIFTED, Scores, read_scores
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.signals.grid import Signals, feature_signals, read_features, read_metrics, read_sae_metrics
from iclscope.statistics.intervals import LEVEL, analytic_interval
from iclscope.statistics.partial import Confounders
from iclscope.statistics.ranks import Float, Ranks, centred_ranks
from iclscope.statistics.resampling import generator
from iclscope.statistics.signals.chosen import winner
from iclscope.statistics.signals.incremental import Value, incremental_value
from iclscope.statistics.signals.latent import latent_interval, too_small
from iclscope.statistics.signals.shuffles import Shuffles, p_of_largest
from iclscope.statistics.signals.studentised import Assessed, ItemDraws, assess
from iclscope.tables import CORRELATION, FAMILIES, HEADLINE, RELIABILITY, SIGNAL
from iclscope.tasks.samples import Groups

logger = logging.getLogger(__name__)

FEWEST_CANDIDATES = 6
BEST = (
    "null_95",
    "sae_null_95",
    "best_value",
    "best_value_low",
    "best_value_high",
    "luck",
)  # where not one signal is defined: empty
REPEATS = 10  # halvings of the items, and foldings of the candidates, behind the value that activations add


@dataclass(frozen=True)
class Files(quality.Files):
    """What the correlations are read from: `metrics` maps each mask to its file, `saes` each SAE or twin."""

    metrics: Mapping[str, str | Path]
    features: str | Path
    reliability: str | Path
    saes: Mapping[str, str | Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Analysis:
    """What the quality targets of one model and data set are correlated with, and how.

    `signals` hold all families, `nuisances` what a cheap selector knows of a candidate; `settings` is the config's
    `correlation`.
    """

    signals: Signals
    confounders: Mapping[str, Confounders]
    nuisances: Confounders
    groups: Groups
    settings: Mapping[str, Any]
    seed: int

    def shuffles(self, candidates: int) -> Shuffles:
        """Permutations of candidates, the same for all families and targets."""
        seed = [self.seed, zlib.crc32(b"permutations")]
        return Shuffles(candidates, self.settings["permutations"], seed, self.groups.candidates)

    def draws(self, scores: Scores) -> ItemDraws | None:
        """Quality over other items; None where it is the same for every candidate."""
        rng = generator(self.seed, "correlation bootstrap")
        return ItemDraws.of(scores.matrix, self.groups.items, self.settings["bootstrap"], rng, self.groups.candidates)


def run(
    *, files: Files, settings: Mapping[str, Any], correlation_out: str | Path, headline_out: str | Path, job: Job
) -> None:
    """Write the correlation and headline tables of one model and data set, for the targets whose reliability is known.

    `settings` is the config's `correlation`; of the samples it takes labels and clusters.
    """
    trusts = {row["target"]: row for row in RELIABILITY.read(files.reliability).iter_rows(named=True)}
    scores, groups = read_scores(files, list(trusts))
    candidates, n_items = next(iter(scores.values())).matrix.shape
    if candidates < FEWEST_CANDIDATES:
        raise StudyError(f"datasets.*.candidates: {candidates} are too few to correlate, {FEWEST_CANDIDATES} the least")
    table = read_features(files.features, candidates)
    others = reduce(Signals.joined, [feature_signals(table), *read_sae_metrics(files.saes, candidates)])
    signals = read_metrics(files.metrics, candidates).joined(others)
    analysis = Analysis(signals, *confounders(table), groups, settings, job.seed)
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
                "%s: best rho %s (corrected p %s), worth %s",
                target,
                *map(_rounded, (row["best_rho"], row["best_p_maxt"], row["best_value"])),
            )
    named = {target: results[SHIFTED.get(target, target)] for target in scores}
    frames = [frame.with_columns(pl.lit(target).alias("target")) for target, (frame, _) in named.items()]
    rows = [
        row | {"target": target} | _of_primary(scores[target], trusts[target], analysis)
        for target, (_, row) in named.items()
    ]
    CORRELATION.write(pl.concat(frames).select(CORRELATION.schema.names()), correlation_out, job.provenance)
    HEADLINE.write(pl.DataFrame(rows, schema=HEADLINE.schema), headline_out, job.provenance)


def correlate(scores: Scores, trust: Mapping[str, Any], analysis: Analysis) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Correlation table and headline row of one target, both without its name; `trust` is its reliability row."""
    signals, draws = analysis.signals, analysis.draws(scores)
    if draws is None:
        signals = signals.undefined("quality is the same for every candidate")
    usable = signals.defined.to_numpy()
    of_family = signals.about["family"].to_numpy()[usable]
    values: dict[str, NDArray[Any]] = {name: np.full(usable.sum(), np.nan) for name in COMPUTED}
    values["small"] = np.zeros(usable.sum(), dtype=bool)
    best: dict[str, Any] = {}
    for family in FAMILIES:
        mine = of_family == family
        if draws is None or not mine.any():
            continue
        ranks = signals.ranks[usable][mine]
        found, columns = _assess(ranks, draws, analysis)
        for name, column in columns.items():
            values[name][mine] = column
        if family == "activation":
            best |= _best(ranks, found)
        if family == "sae":
            best["sae_null_95"] = _null_line(ranks, found)
    frame = _spread_out(signals, values)
    return frame, _headline(frame, scores, trust, best)


# Columns of the correlation table that are computed for defined signals.
COMPUTED = (
    "rho", "low", "high", "analytic_low", "analytic_high", "latent_rho", "latent_low", "latent_high",
    "statistic", "p", "p_maxt", "q_bh", "q_by",
    "partial_length", "partial_label", "partial_nll", "partial_zero_shot", "p_beyond",
)  # fmt: skip


def _assess(ranks: Ranks, draws: ItemDraws, analysis: Analysis) -> tuple[Assessed, dict[str, NDArray[Any]]]:
    """The test of one family, and its columns of the correlation table."""
    settings, shuffles = analysis.settings, analysis.shuffles(ranks.shape[1])
    found = assess(ranks, draws, shuffles)
    rho, p = found.rho, found.null.p()
    values: dict[str, NDArray[Any]] = {"rho": rho, "p": p, "statistic": np.sign(rho) * found.statistic}
    values["low"], values["high"] = found.spread.interval(rho)
    values["analytic_low"], values["analytic_high"] = analytic_interval(rho, ranks.shape[1])
    latent, narrow = (latent_interval(rho, found.spread, draws.noise, level) for level in (0.95, 0.9))
    values |= {"latent_rho": latent.value, "latent_low": latent.low, "latent_high": latent.high}
    ceiling = float(np.sqrt(max(draws.noise.alpha, 0.0)))
    values["small"] = too_small(narrow, ceiling, settings["smallest_useful_effect"], settings["least_ceiling"])
    values["p_maxt"] = p_of_largest(found.statistic, [found.null.largest])
    values["q_bh"], values["q_by"] = (false_discovery_control(p, method=method) for method in ("bh", "by"))
    for name, confounder in analysis.confounders.items():
        values[name] = confounder.partial(ranks, draws.quality)
    if ranks.shape[1] - 3 - analysis.nuisances.basis.shape[1] > 0:
        beyond = assess(ranks, draws, shuffles, analysis.nuisances.basis)
        values["partial_zero_shot"] = beyond.rho
        corrected = p_of_largest(beyond.statistic, [beyond.null.largest])
        values["p_beyond"] = np.where(np.isnan(beyond.rho), np.nan, corrected)
    return found, values


def _best(ranks: Ranks, found: Assessed) -> dict[str, Any]:
    """What the largest |rho| of the activation signals is worth, and what chance alone gives."""
    won, null = winner(ranks, found), _null_line(ranks, found)
    if won is None:
        return {"null_95": null}
    return {
        "null_95": null,
        "best_value": won.value,
        "best_value_low": won.low,
        "best_value_high": won.high,
        "luck": won.luck,
    }


def _null_line(ranks: Ranks, found: Assessed) -> float:
    """The |rho| that in 95 of 100 tables none of a family exceeds by chance."""
    return float(np.tanh(np.quantile(found.null.largest, 1 - LEVEL) / np.sqrt(ranks.shape[1] - 3)))


def _of_primary(scores: Scores, trust: Mapping[str, Any], analysis: Analysis) -> dict[str, Any]:
    """Whether a target is the primary one and, if so, how much better activations with nuisances predict it."""
    names = {"cheap": "cheap_share", "all": "all_share", "gain": "added", "low": "added_low"}
    found: Value | None = None
    if trust["primary"]:
        signals, groups = analysis.signals, analysis.groups
        ranks = signals.where(signals.defined & (signals.about["family"] == "activation")).ranks
        found = incremental_value(
            analysis.nuisances.basis, ranks, scores.matrix, groups.items, REPEATS,
            generator(analysis.seed, "incremental"), groups.candidates,
        )  # fmt: skip
    values = {column: found and getattr(found, name) for name, column in names.items()}
    return {"primary": trust["primary"], **values}


def _spread_out(signals: Signals, values: Mapping[str, NDArray[Any]]) -> pl.DataFrame:
    """`signals.about` with columns that have a value per defined signal; empty where undefined, NaN or infinite."""
    rows = np.flatnonzero(signals.defined.to_numpy())
    finite = {name: pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in COMPUTED}
    found = pl.DataFrame(dict(values)).with_columns(**finite, row=pl.Series(rows, dtype=pl.UInt32))
    return signals.about.with_row_index("row").join(found, on="row", how="left", maintain_order="left").drop("row")


def _headline(frame: pl.DataFrame, scores: Scores, trust: Mapping[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
    """The headline row of one target, without its name; `best` has what is known of the strongest signal."""
    signals = frame.filter(pl.col("family") == "activation")
    ranked = signals.filter(pl.col("rho").is_not_null()).sort(pl.col("rho").abs(), descending=True, maintain_order=True)
    top = ranked.row(0, named=True) if ranked.height else None
    return {
        **dict.fromkeys(BEST),
        "candidates": scores.matrix.shape[0],
        "items": scores.matrix.shape[1],
        "signals": signals.height,
        "undefined": signals["rho"].null_count(),
        "alpha": trust["alpha"],
        "ceiling": trust["ceiling"],
        "best_rho": top and top["rho"],
        "best_signal": top and " ".join(str(top[k]) for k in SIGNAL),
        "best_p_maxt": top and top["p_maxt"],
        "length_rho": frame.filter(pl.col("metric") == "length", pl.col("family") == "feature")["rho"].item(),
        **best,
    }


def _rounded(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def confounders(features: pl.DataFrame) -> tuple[dict[str, Confounders], Confounders]:
    """Sets of confounders by column of the correlation table, and the nuisances beyond which a signal must predict.

    From the features in the order of candidate ids. Nuisances are length, label, NLL and the zero-shot log probability
    of the answer. Where answers are generated there is no label: `partial_label` is left out, and the others go
    without it.
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
    nuisances = [*sets["partial_nll"], _ranks(features["answer_nll"])]
    of = {name: Confounders.of(columns, features.height) for name, columns in sets.items()}
    return of, Confounders.of(nuisances, features.height)


def _ranks(values: pl.Series) -> Float:
    return centred_ranks(values.to_numpy()).astype(np.float64)
