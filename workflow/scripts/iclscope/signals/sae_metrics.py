"""What an SAE says of each candidate, one number per pooling and metric, from the active features of its tokens.

Sums over tokens run over those that the table of features has: position 0 and tokens of outlying norm are not there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from iclscope.runtime.jobs import Job
from iclscope.signals.metrics import NO_TOKENS
from iclscope.signals.sae_codes import Pooled, Reading
from iclscope.statistics.ranks import Float
from iclscope.tables import SAE_METRICS

RARE = 1e-3  # density below which a feature is rare
TOP_K = "topk"
SILENT = "no feature is active in this pooling"
BY_CONSTRUCTION = "every token has the same number of active features by construction (top-k)"


@dataclass(frozen=True)
class Subject:
    """The tokens of every candidate that a pooling takes, the questions of the items, and what reads them."""

    candidates: Pooled
    questions: Pooled
    reading: Reading


MetricFunction = Callable[[Subject], Float]  # a number for every candidate

SAE_METRICS_BY_NAME: dict[str, tuple[MetricFunction, str]] = {}


def sae_metric(undefined: str = "") -> Callable[[MetricFunction], MetricFunction]:
    """Register a metric under the name of its function; `undefined` is the reason for NaN."""

    def register(function: MetricFunction) -> MetricFunction:
        SAE_METRICS_BY_NAME[function.__name__] = function, undefined
        return function

    return register


@sae_metric(BY_CONSTRUCTION)
def sae_active(subject: Subject) -> Float:
    """Active features per token; undefined for a top-k SAE, which gives every token the same number."""
    active = np.diff(subject.candidates.codes.values.indptr).astype(np.float64)
    found = subject.candidates.total(active) / subject.candidates.tokens
    return np.full_like(found, np.nan) if subject.reading.architecture == TOP_K else found


@sae_metric()
def sae_distinct(subject: Subject) -> Float:
    """Distinct features that are active in any token; rises with length."""
    return np.diff(subject.candidates.largest.indptr).astype(np.float64)


@sae_metric("every token is the training mean")
def sae_unexplained(subject: Subject) -> Float:
    """Fraction of variance unexplained: sum of squared errors over sum of squared distances from the training mean."""
    codes = subject.candidates.codes
    return subject.candidates.total(codes.error) / subject.candidates.total(codes.energy)


@sae_metric(SILENT)
def sae_novelty(subject: Subject) -> Float:
    """Mean of -log density over active features, weighted by their values, in nats."""
    values = subject.candidates.codes.values
    return subject.candidates.total(values @ subject.reading.weight) / subject.candidates.total(values.sum(axis=1))


@sae_metric()
def sae_rare(subject: Subject) -> Float:
    """Distinct active features with a density below 0.001."""
    active = subject.candidates.largest.astype(bool).astype(np.float64)
    return active @ (subject.reading.density < RARE).astype(np.float64)


@sae_metric(SILENT)
def sae_similarity(subject: Subject) -> Float:
    """Mean cosine of the max-pooled code, weighted by -log density, with those of the items' questions."""
    weight = subject.reading.weight
    ours, theirs = (weighted_directions(part.largest, weight) for part in (subject.candidates, subject.questions))
    return np.where(np.diff(ours.indptr) > 0, ours @ theirs.mean(axis=0), np.nan)


def weighted_directions(codes: csr_array, weight: Float) -> csr_array:
    """Codes [texts, width] times the weight of each feature, scaled to length 1 where there is any."""
    weighted = csr_array(codes.multiply(weight[None, :]))
    length = np.sqrt(weighted.power(2).sum(axis=1))
    return csr_array(weighted.multiply((1 / np.where(length > 0, length, 1))[:, None]))


@dataclass(frozen=True)
class Files:
    """What the metrics are read from: active features of one SAE or twin, and what its features do on their texts."""

    sae_features: str | Path
    dictionary: str | Path


def run(*, files: Files, settings: Mapping[str, Any], sae_metrics_out: str | Path, job: Job) -> None:
    """Write the metrics of one SAE or twin; settings: its `name`, and the study's `poolings`."""
    reading = Reading.of(files.sae_features, files.dictionary, settings["name"])
    table = compute(reading, settings["poolings"]).with_columns(sae=pl.lit(settings["name"]))
    SAE_METRICS.write(table.select(SAE_METRICS.schema.names()).sort(SAE_METRICS.key), sae_metrics_out, job.provenance)


def compute(reading: Reading, poolings: Sequence[str]) -> pl.DataFrame:
    """Rows of the table of metrics without the name of the SAE."""
    questions = reading.items.pooled("question")
    parts = []
    for pooling in poolings:
        subject = Subject(reading.candidates.pooled(pooling), questions, reading)
        parts += [_rows(subject, name).with_columns(pooling=pl.lit(pooling)) for name in SAE_METRICS_BY_NAME]
    return pl.concat(parts).with_columns(site=pl.lit(reading.site), layer=pl.lit(reading.layer, pl.Int16))


def _rows(subject: Subject, name: str) -> pl.DataFrame:
    """Rows of one metric, a candidate each, without the pooling."""
    function, undefined = SAE_METRICS_BY_NAME[name]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = function(subject)
    empty = subject.candidates.tokens == 0
    missing = pl.Series(empty | ~np.isfinite(values))
    reason = pl.Series(np.where(empty, NO_TOKENS, undefined))
    return pl.DataFrame({"candidate": np.arange(len(values), dtype=np.int32)}).with_columns(
        metric=pl.lit(name),
        value=pl.when(~missing).then(pl.Series(values)),
        reason=pl.when(missing).then(reason),
    )
