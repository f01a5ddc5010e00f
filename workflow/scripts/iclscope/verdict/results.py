"""The final tables of one model on one data set, and the few questions that figures and report ask of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.tables import AGREEMENT, CORRELATION, FINAL_TABLES, GAINS, HEADLINE, QUALITY, RELIABILITY, SELECTION

MAIN_POOLING = "all"


@dataclass(frozen=True)
class Results:
    """Final tables of one model on one data set; frames as declared in `tables`."""

    model: str
    dataset: str
    correlation: pl.DataFrame
    headline: pl.DataFrame
    quality: pl.DataFrame
    reliability: pl.DataFrame
    selection: pl.DataFrame
    gains: pl.DataFrame
    agreement: pl.DataFrame

    @classmethod
    def read(cls, model: str, dataset: str, paths: Mapping[str, str | Path]) -> "Results":
        """Read the tables from `paths` (table name → Parquet file); other names in `paths` are left alone."""
        return cls(
            model=model,
            dataset=dataset,
            correlation=CORRELATION.read(paths["correlation"]),
            headline=HEADLINE.read(paths["headline"]),
            quality=QUALITY.read(paths["quality"]),
            reliability=RELIABILITY.read(paths["reliability"]),
            selection=SELECTION.read(paths["selection"]),
            gains=GAINS.read(paths["gains"]),
            agreement=AGREEMENT.read(paths["agreement"]),
        )

    @property
    def targets(self) -> list[str]:
        """Quality targets in the order of the config."""
        return self.reliability["target"].to_list()

    @cached_property
    def target(self) -> str:
        """The quality target that leads: the most reliable one, else, if none has a defined alpha, the first.

        Reliability says nothing about which signals work, so that choosing by it is no double dipping.
        """
        trusted = self.reliability.filter(pl.col("alpha").is_not_null())
        if trusted.is_empty():
            return self.targets[0]
        # Rounded, because two targets that differ by a constant per item have the same alpha but for the last digit.
        return trusted["target"][int(trusted["alpha"].round(6).arg_max() or 0)]

    @property
    def pool(self) -> int:
        """Candidates in the random pools in which the selectors are judged."""
        return int(self.selection["pool"][0])

    def headline_of(self, target: str) -> dict[str, Any]:
        """The headline row of a target."""
        return self.headline.row(by_predicate=pl.col("target") == target, named=True)

    def reliability_of(self, target: str) -> dict[str, Any]:
        """The reliability row of a target."""
        return self.reliability.row(by_predicate=pl.col("target") == target, named=True)

    def family(self, family: str) -> pl.DataFrame:
        """Correlations of one family (activation, feature or control) with the leading target, strongest first."""
        mine = self.correlation.filter(pl.col("target") == self.target, pl.col("family") == family)
        return mine.sort(pl.col("rho").abs(), descending=True, nulls_last=True, maintain_order=True)

    @cached_property
    def signals(self) -> pl.DataFrame:
        """Correlations of the activation signals with the leading target, strongest first, undefined ones last."""
        return self.family("activation")

    @property
    def main_pooling(self) -> str:
        """The pooling whose signals are drawn one by one: all tokens, unless the study leaves that out."""
        poolings = self.signals["pooling"].unique().sort().to_list()
        return MAIN_POOLING if MAIN_POOLING in poolings else poolings[0]

    @property
    def strongest(self) -> dict[str, Any] | None:
        """The activation signal with the largest |rho|; None if no rho is defined."""
        return strongest_of(self.signals)


def strongest_of(signals: pl.DataFrame) -> dict[str, Any] | None:
    """First row of correlations that are sorted strongest first; None if no rho is defined."""
    if signals.is_empty() or signals["rho"][0] is None:
        return None
    return signals.row(0, named=True)


def paths_by_study(
    tables: Mapping[str, Sequence[str]], datasets: Sequence[str], models: Sequence[str]
) -> dict[str, dict[str, dict[str, str]]]:
    """Data set → model → table → file, from lists of files per table that run over data sets, then models."""
    studies = [(dataset, model) for dataset in datasets for model in models]
    paths: dict[str, dict[str, dict[str, str]]] = {dataset: {} for dataset in datasets}
    for position, (dataset, model) in enumerate(studies):
        paths[dataset][model] = {table: tables[table][position] for table in FINAL_TABLES}
    return paths
