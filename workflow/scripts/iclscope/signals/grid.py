"""All that might predict quality, as centred ranks over candidates: metrics of activations and SAEs, features."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from iclscope.runtime.errors import StudyError
from iclscope.statistics.ranks import Ranks, centred_ranks
from iclscope.tables import CORRELATION, FEATURES, METRICS, SAE_METRICS, SIGNAL, TWIN

logger = logging.getLogger(__name__)

# `label` is no signal: its numbers have no order. It serves as a confounder.
FEATURE_NAMES = (
    "length",
    "nll",
    "answer_nll",
    "zero_shot_margin",
    "zero_shot_entropy",
    "similarity",
    "typicality",
    "content_free",
    "content_free_entropy",
    "content_free_mass",
)
CONTROL_NAMES = ("random",)

# Why features of labels have no value where another content-free one has.
NO_LABELS = "the answers to choose from differ from row to row, or are generated"

KEY = ("family", "sae", *SIGNAL)
DESCRIPTION = (*KEY, "n", "n_unique", "tie_share", "reason")


@dataclass(frozen=True)
class Signals:
    """Signals of one model and data set.

    `about` has a row per signal: its key and n, n_unique, tie_share and reason of the correlation table; `ranks`
    [signals, candidates] are centred ranks, zero where `reason` says why the signal has no correlation.
    """

    about: pl.DataFrame
    ranks: Ranks

    def where(self, chosen: pl.Series) -> "Signals":
        """The signals that a boolean series over `about` selects."""
        return Signals(self.about.filter(chosen), self.ranks[chosen.to_numpy()])

    def joined(self, other: "Signals") -> "Signals":
        """These signals followed by `other`, of the same candidates."""
        return Signals(pl.concat([self.about, other.about]), np.concatenate([self.ranks, other.ranks]))

    def undefined(self, reason: str) -> "Signals":
        """The same signals, none of which can have a correlation; `reason` stands where there was none yet."""
        return Signals(self.about.with_columns(pl.col("reason").fill_null(reason)), self.ranks)

    @property
    def defined(self) -> pl.Series:
        """Whether a signal can have a correlation."""
        return self.about["reason"].is_null()


def read_metrics(metrics: Mapping[str, str | Path], candidates: int) -> Signals:
    """Every activation metric under every attention mask; `metrics` maps the mask's name to its file."""
    parts = [
        _of_file(METRICS.read(path), path, candidates, {"family": "activation", "mask": mask})
        for mask, path in metrics.items()
    ]
    signals = Signals(pl.concat(part.about for part in parts), np.concatenate([part.ranks for part in parts]))
    logger.info("%d activation signals, %d of them undefined", len(signals.ranks), (~signals.defined).sum())
    return signals


def read_sae_metrics(saes: Mapping[str, str | Path], candidates: int) -> list[Signals]:
    """The metrics of every SAE, and of untrained twins in a family of their own; `saes` maps the name to its file."""
    return [
        _of_file(
            SAE_METRICS.read(path), path, candidates,
            {"family": "sae" + TWIN if name.endswith(TWIN) else "sae", "sae": name},
        )
        for name, path in saes.items()
    ]  # fmt: skip


def read_features(path: str | Path, candidates: int) -> pl.DataFrame:
    """The feature table in the order of candidate ids; refuse one for other candidates than 0 to `candidates` - 1."""
    features = FEATURES.read(path).sort("candidate")
    if features["candidate"].to_list() != list(range(candidates)):
        raise StudyError(f"{path} has other candidates than the evaluation, which has {candidates}: delete it, rerun")
    return features


def feature_signals(features: pl.DataFrame) -> Signals:
    """Features and controls as signals, from the feature table in the order of candidate ids."""
    names = (*FEATURE_NAMES, *CONTROL_NAMES)
    families = ["control" if name in CONTROL_NAMES else "feature" for name in names]
    keys = pl.DataFrame({"family": families, "metric": names})
    values = features.select(pl.col(names).cast(pl.Float64)).fill_null(np.nan).to_numpy().T
    asked = not features["content_free"].null_count()
    reasons = {"content_free_entropy": NO_LABELS, "content_free_mass": NO_LABELS} if asked else {}
    return _signals(keys, np.ascontiguousarray(values), [reasons.get(name) for name in names])


def _of_file(frame: pl.DataFrame, path: str | Path, candidates: int, about: Mapping[str, str]) -> Signals:
    """Signals of one metric file, whose rows are sorted so that each signal's candidates are adjacent.

    about: columns that are the same for all of them.
    """
    ids = frame["candidate"].to_numpy()
    if len(ids) % candidates or (ids.reshape(-1, candidates) != np.arange(candidates)).any():
        raise StudyError(f"{path} has other candidates than the evaluation, which has {candidates}: delete it, rerun")
    keys = frame.select("site", "layer", "pooling", "metric").gather_every(candidates)
    values = frame["value"].fill_null(np.nan).to_numpy().reshape(-1, candidates)
    rows = np.arange(frame.height).reshape(-1, candidates)[~np.isfinite(values)]
    reasons: list[str | None] = [None] * keys.height
    for row, reason in zip(rows.tolist(), frame["reason"].gather(rows).to_list(), strict=True):
        reasons[row // candidates] = reasons[row // candidates] or reason
    return _signals(keys.with_columns(pl.lit(word).alias(name) for name, word in about.items()), values, reasons)


def _signals(keys: pl.DataFrame, values: np.ndarray, reasons: list[str | None]) -> Signals:
    """Ranks and description of `values` [signals, candidates], NaN where missing for the reason in `reasons`."""
    missing = ~np.isfinite(values)
    n = values.shape[1] - missing.sum(axis=1)
    ordered = np.sort(np.where(missing, np.nan, values), axis=1)  # missing values sort last
    same = ordered[:, 1:] == ordered[:, :-1]
    shared = np.zeros(values.shape, dtype=bool)
    shared[:, 1:] |= same
    shared[:, :-1] |= same
    n_unique = n - same.sum(axis=1)
    about = keys.with_columns(
        pl.Series("n", n),
        pl.Series("n_unique", n_unique),
        pl.Series("tie_share", shared.sum(axis=1) / np.maximum(n, 1)),
        pl.Series(
            "reason", [_reason(*row) for row in zip(missing.sum(axis=1), n_unique, reasons, strict=True)], pl.String
        ),
    )
    known = about["reason"].is_null().to_numpy()
    ranks = np.zeros(values.shape, dtype=np.float32)
    ranks[known] = centred_ranks(values[known])
    types = {name: CORRELATION.schema[name] for name in DESCRIPTION}
    empty = [pl.lit(None).alias(name) for name in DESCRIPTION if name not in about.columns]
    return Signals(about.with_columns(empty).select(pl.col(name).cast(types[name]) for name in DESCRIPTION), ranks)


def _reason(missing: int, n_unique: int, reason: str | None) -> str | None:
    """Why a signal has no correlation; None if it has one."""
    if missing:
        return f"undefined for {missing} candidate{'s' if missing > 1 else ''}: {reason or 'no value'}"
    return "constant: 1 distinct value" if n_unique == 1 else None
