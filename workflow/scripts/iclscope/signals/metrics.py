"""From statistics per token to one number per candidate, layer and site.

A metric says what is computed from the tokens that a pooling lets in. To add one, write a function here, decorate it,
and name it under `metrics.names` in the config. It returns NaN where it is undefined, and its decorator says why.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.runtime.parquet import is_made_by, read_provenance
from iclscope.runtime.provenance import digest
from iclscope.signals.poolings import POOLINGS
from iclscope.tables import ACTIVATIONS, METRICS, PER_TOKEN, SPANS

logger = logging.getLogger(__name__)

KEY = ("candidate", "layer", "site")
VALUES = tuple(name for name in PER_TOKEN if name != "max_abs_neuron")
COLUMNS = (*KEY, *SPANS, *VALUES, "mean_vector")

CONSTANT = 1e-6  # standard deviation over |mean| below which float32 cannot tell activations from a constant
NO_TOKENS = "no token in this pooling"


@dataclass(frozen=True)
class TokenStatistics:
    """Statistics per token of many rows, one row after the other, and which tokens of each row enter.

    tokens: columns VALUES of the activations table, float64 [all tokens]. row: the row of each token, int
    [all tokens]. start, end: range of the tokens that enter, as places in these arrays, int [rows].
    width: number of neurons, float64 [rows].
    """

    tokens: Mapping[str, np.ndarray]
    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    width: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        """A column [all tokens]."""
        return self.tokens[name]

    def average(self, values: np.ndarray) -> np.ndarray:
        """Mean over the tokens that enter: [all tokens] to [rows]."""
        return self.total(values) / (self.end - self.start)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over the tokens that enter: [all tokens] to [rows]."""
        return self._reduce(np.add, values)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Maximum over the tokens that enter: [all tokens] to [rows]."""
        return self._reduce(np.maximum, values)

    def median(self, values: np.ndarray) -> np.ndarray:
        """Median over the tokens that enter: [all tokens] to [rows]."""
        count = self.end - self.start
        places = self.start[:, None] + np.arange(count.max(initial=1))
        inside = places < self.end[:, None]
        ordered = np.sort(np.where(inside, values[np.minimum(places, len(values) - 1)], np.inf), axis=1)
        rows = np.arange(len(count))
        return (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, count // 2]) / 2

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Give every token the value of its row: [rows] to [all tokens]."""
        return values[self.row]

    def _reduce(self, operation: np.ufunc, values: np.ndarray) -> np.ndarray:
        # reduceat reduces from each place to the next: every second result lies between two ranges.
        places = np.stack([self.start, self.end], axis=1).ravel()
        return operation.reduceat(np.append(values, 0.0), places)[::2]

    @cached_property
    def third(self) -> np.ndarray:
        """Third central moment per token [all tokens], 0 for constant tokens."""
        return np.nan_to_num(self["skewness"] * self["variance"] ** 1.5)

    @cached_property
    def fourth(self) -> np.ndarray:
        """Fourth central moment per token [all tokens], 0 for constant tokens."""
        return np.nan_to_num((self["kurtosis"] + 3) * self["variance"] ** 2)

    @cached_property
    def norm(self) -> np.ndarray:
        """Euclidean norm per token [all tokens]: sqrt(d (variance + mean^2))."""
        return np.sqrt(self.spread(self.width) * (self["variance"] + self["mean"] ** 2))

    @cached_property
    def pooled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean and second to fourth central moments over tokens and neurons together, [rows] each.

        Law of total moments: with the deviation e of a token's mean from the pooled one, the pooled moments are the
        means over tokens of m2 + e^2, m3 + 3 e m2 + e^3 and m4 + 4 e m3 + 6 e^2 m2 + e^4.
        """
        mean = self.average(self["mean"])
        e, m2, m3, m4 = self["mean"] - self.spread(mean), self["variance"], self.third, self.fourth
        ee = e * e  # numpy's third and fourth powers take ten times as long as products
        second = self.average(m2 + ee)
        second[second <= (CONSTANT * mean) ** 2] = 0
        third = self.average(m3 + 3 * e * m2 + ee * e)
        fourth = self.average(m4 + 4 * e * m3 + 6 * ee * m2 + ee * ee)
        return mean, second, third, fourth


# Metrics: float64 [rows] from TokenStatistics. x is the activation of the t pooled tokens, [t, d].

MetricFunction = Callable[[TokenStatistics], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A metric and the reason why it is NaN where it is."""

    function: MetricFunction
    undefined: str


METRICS_BY_NAME: dict[str, Metric] = {}
CONSTANT_TOKEN = "the activation of a token is constant over neurons"
CONSTANT_TOKENS = "the activation is constant over tokens and neurons"
ZERO_TOKEN = "the activation of a token is zero"


def metric(undefined: str = "") -> Callable[[MetricFunction], MetricFunction]:
    """Register a metric under the name of its function; `undefined` is the reason for NaN."""

    def register(function: MetricFunction) -> MetricFunction:
        METRICS_BY_NAME[function.__name__] = Metric(function, undefined)
        return function

    return register


@metric()
def mean(stats: TokenStatistics) -> np.ndarray:
    """Mean over tokens and neurons, sum x / (t d) [rows].

    Source: `numpy.mean`; pooled from the tokens' means.
    """
    return stats.pooled[0]


@metric()
def variance(stats: TokenStatistics) -> np.ndarray:
    """Variance over tokens and neurons, m2 = sum (x - mean)^2 / (t d) [rows].

    Source: `numpy.var` (divisor n); pooled from the tokens' moments by the law of total variance.
    """
    return stats.pooled[1]


@metric(CONSTANT_TOKENS)
def skewness(stats: TokenStatistics) -> np.ndarray:
    """Third standardised moment over tokens and neurons, m3 / m2^1.5 [rows].

    Source: g1 of Joanes and Gill (1998), Comparing measures of sample skewness and kurtosis; `scipy.stats.skew`.
    """
    _, second, third, _ = stats.pooled
    return third / second**1.5


@metric(CONSTANT_TOKENS)
def kurtosis(stats: TokenStatistics) -> np.ndarray:
    """Excess kurtosis over tokens and neurons, m4 / m2^2 - 3 [rows].

    Source: g2 of Joanes and Gill (1998), Comparing measures of sample skewness and kurtosis; `scipy.stats.kurtosis`.
    """
    _, second, _, fourth = stats.pooled
    return fourth / second**2 - 3


@metric()
def variance_token(stats: TokenStatistics) -> np.ndarray:
    """Variance over neurons, sum (x - mean)^2 / d, averaged over tokens [rows].

    Source: `numpy.var` (divisor n) of each token.
    """
    return stats.average(stats["variance"])


@metric(CONSTANT_TOKEN)
def skewness_token(stats: TokenStatistics) -> np.ndarray:
    """Skewness over neurons, m3 / m2^1.5, averaged over tokens [rows].

    Source: g1 of Joanes and Gill (1998), `scipy.stats.skew`, of each token.
    """
    return stats.average(stats["skewness"])


@metric(CONSTANT_TOKEN)
def kurtosis_token(stats: TokenStatistics) -> np.ndarray:
    """Excess kurtosis over neurons, m4 / m2^2 - 3, averaged over tokens [rows].

    Source: g2 of Joanes and Gill (1998), `scipy.stats.kurtosis`, of each token.
    """
    return stats.average(stats["kurtosis"])


@metric()
def max_abs(stats: TokenStatistics) -> np.ndarray:
    """Largest magnitude over tokens and neurons, max |x| [rows].

    Source: the quantity that Sun et al. (2024), Massive Activations in Large Language Models, compare with the median.
    """
    return stats.largest(stats["max_abs"])


@metric("the median |x| is zero")
def log_max_median(stats: TokenStatistics) -> np.ndarray:
    """How massive the largest activation is, log(max |x| / median |x|) [rows].

    The median is that over tokens of each token's median over neurons. Source: the ratio behind the definition of Sun
    et al. (2024), Massive Activations in Large Language Models, without its thresholds.
    """
    middle = stats.median(stats["median_abs"])
    return np.log(stats.largest(stats["max_abs"]) / np.where(middle > 0, middle, np.nan))


@metric()
def massive(stats: TokenStatistics) -> np.ndarray:
    """Number of massive activations, #{|x| > 100 and |x| > 1000 median |x|} [rows].

    The median is over all tokens and neurons of the demonstration at this layer and site, whatever the pooling. Source:
    Sun, Chen, Kolter and Liu (2024), Massive Activations in Large Language Models.
    """
    return stats.total(stats["massive"])


@metric(ZERO_TOKEN)
def top_share(stats: TokenStatistics) -> np.ndarray:
    """Sum of a token's k largest |x| over its sum of |x|, averaged over tokens [rows]; k is `activations.top_k`.

    Source: concentration ratio CR_k; Hall and Tideman (1967), Measures of Concentration.
    """
    return stats.average(stats["top_share"])


@metric()
def l2_norm(stats: TokenStatistics) -> np.ndarray:
    """Euclidean norm of a token's activation, sqrt(sum x^2), averaged over tokens [rows].

    Source: `numpy.linalg.norm` of each token.
    """
    return stats.average(stats.norm)


@metric(ZERO_TOKEN)
def participation_ratio(stats: TokenStatistics) -> np.ndarray:
    """(sum x^2)^2 / sum x^4 over neurons, 1 (one neuron) to d (all alike), averaged over tokens [rows].

    Source: Bell and Dean (1970), Atomic vibrations in vitreous silica; sum x^4 comes from the central moments.
    """
    m, m2 = stats["mean"], stats["variance"]
    raw_second = m2 + m**2
    raw_fourth = stats.fourth + 4 * m * stats.third + 6 * m**2 * m2 + (m**2) ** 2
    return stats.average(stats.spread(stats.width) * raw_second**2 / raw_fourth)


@metric(ZERO_TOKEN)
def hoyer(stats: TokenStatistics) -> np.ndarray:
    """(sqrt(d) - sum |x| / ||x||) / (sqrt(d) - 1) over neurons, 0 (all alike) to 1 (one), averaged over tokens [rows].

    Source: Hoyer (2004), Non-negative Matrix Factorization with Sparseness Constraints.
    """
    d = stats.spread(stats.width)
    return stats.average((np.sqrt(d) - d * stats["mean_abs"] / stats.norm) / (np.sqrt(d) - 1))


@metric(ZERO_TOKEN)
def entropy(stats: TokenStatistics) -> np.ndarray:
    """-sum p log p in nats, p = |x| / sum |x| over neurons, 0 to log d, averaged over tokens [rows].

    Source: Shannon (1948), A Mathematical Theory of Communication; `scipy.stats.entropy`.
    """
    return stats.average(stats["entropy_abs"])


def check_names(poolings: Iterable[str], names: Iterable[str]) -> None:
    """Refuse poolings and metrics that do not exist."""
    for key, wanted, known in (("poolings", poolings, POOLINGS), ("names", names, METRICS_BY_NAME)):
        for name in wanted:
            if name not in known:
                raise StudyError(f"metrics.{key}: {name!r} is unknown; choose from {', '.join(known)}")


def compute(frame: pl.DataFrame, poolings: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    """Rows of the metrics table for rows of the activations table (COLUMNS are enough), sorted by the table's key."""
    check_names(poolings, names)
    spans = {name: frame[name].to_numpy().astype(np.int64) for name in SPANS}
    tokens = {name: frame[name].explode().to_numpy().astype(np.float64) for name in VALUES}
    width = frame["mean_vector"].list.len().to_numpy().astype(np.float64)
    row = np.repeat(np.arange(frame.height), spans["n_tokens"])
    offset = np.cumsum(spans["n_tokens"]) - spans["n_tokens"]
    parts = []
    for pooling_name in poolings:
        start, end = POOLINGS[pooling_name](spans)
        stats = TokenStatistics(tokens, row, offset + start, offset + end, width)
        for name in names:
            parts.append(_values(frame, pooling_name, name, stats))
    return pl.concat(parts).select(METRICS.schema.names()).sort(METRICS.key)


def _values(frame: pl.DataFrame, pooling_name: str, name: str, stats: TokenStatistics) -> pl.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = METRICS_BY_NAME[name].function(stats)
    empty = stats.end <= stats.start
    reason = np.where(empty, NO_TOKENS, METRICS_BY_NAME[name].undefined)
    undefined = pl.Series(empty | np.isnan(values))
    return frame.select(
        *KEY,
        pooling=pl.lit(pooling_name),
        metric=pl.lit(name),
        value=pl.when(~undefined).then(pl.Series(values)),
        reason=pl.when(undefined).then(pl.Series(reason)),
    )


def _absent(
    candidates: pl.Series, place: tuple[str, int], poolings: Sequence[str], names: Sequence[str], reason: str
) -> pl.DataFrame:
    """Rows of the metrics table for a site that a layer does not have."""
    rows = [(*place, *cell, one, None, reason) for cell in product(poolings, names) for one in candidates]
    return pl.DataFrame(rows, schema=METRICS.schema, orient="row").sort(METRICS.key)


def run(
    *,
    activations: Mapping[str, str | Path],
    extraction: str,
    code: str,
    settings: Mapping[str, Any],
    metrics_out: Mapping[str, str | Path],
    job: Job,
) -> None:
    """Write the metrics of activations under each mask (mask → file); settings are those of the config key `metrics`.

    A file that the same recipe has made already is left alone; where that holds for all of them, the job was forced and
    all are made again. extraction: digest of the settings and code that the activations must be made with; code: digest
    of the code of this stage.
    """
    check_names(settings["poolings"], settings["names"])
    made = {mask: _record(activations, mask, [extraction, code], job.provenance) for mask in metrics_out}
    waiting = [mask for mask, path in metrics_out.items() if not is_made_by(made[mask]["recipe"], path)]
    for mask in waiting or metrics_out:
        record = read_provenance(activations[mask])
        if record.get("extraction") != extraction:
            raise StudyError(
                f"{activations[mask]} was made with other settings or code than the study has; delete it and rerun"
            )
        undefined = {(site, layer): reason for site, layer, reason in record.get("undefined", [])}
        with METRICS.writer(metrics_out[mask], made[mask]) as writer:
            for part in _of_mask(mask, activations[mask], undefined, settings):
                writer.append(part)


def _record(
    activations: Mapping[str, str | Path], mask: str, code: Sequence[str], made: Mapping[str, Any]
) -> dict[str, Any]:
    """The provenance of one mask's metrics: the job's, without the activations under other masks; and its recipe."""
    others = {str(path) for name, path in activations.items() if name != mask}
    inputs = {path: content for path, content in made.get("inputs", {}).items() if path not in others}
    return {**made, "inputs": inputs, "recipe": digest([made.get("settings"), inputs, *code])}


def _of_mask(
    mask: str, activations: str | Path, undefined: Mapping[tuple[str, int], str], settings: Mapping[str, Any]
) -> Iterator[pl.DataFrame]:
    """The metrics of one activations file, a site and layer at a time; `undefined` says why some have none."""
    places = ACTIVATIONS.read(activations, columns=["site", "layer", "candidate"])
    candidates = places["candidate"].unique().sort()
    groups = places.select("site", "layer").unique().sort("site", "layer")
    logger.info(
        "%s: %d metrics of %d poolings for %d sites and layers",
        mask, len(settings["names"]), len(settings["poolings"]), groups.height,
    )  # fmt: skip
    everywhere = sorted([*groups.iter_rows(), *undefined])
    for site, layer in progress(everywhere, len(everywhere), f"metrics, {mask}", "layer"):
        if reason := undefined.get((site, layer)):
            yield _absent(candidates, (site, layer), settings["poolings"], settings["names"], reason)
            continue
        rows = pl.scan_parquet(activations).filter(pl.col.site == site, pl.col.layer == layer).select(COLUMNS)
        yield compute(rows.collect(), settings["poolings"], settings["names"])
