"""The final tables of one model on one data set, and the few questions that figures and report ask of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.statistics.signals.latent import of_family, statuses
from iclscope.tables import (
    AGREEMENT,
    CORRELATION,
    FINAL_TABLES,
    GAINS,
    HEADLINE,
    QUALITY,
    RELIABILITY,
    SELECTION,
    VARIANCE,
)  # fmt: skip

MAIN_POOLING = "all"


@dataclass(frozen=True)
class Results:
    """Final tables of one model on one data set; frames as declared in `tables`.

    The study has so many `study_tables`, of correlations as of selectors, one for each model and data set. In all of
    them together a claim may be false with probability 0.05: p values are multiplied by their number (Bonferroni), so
    that the page of one data set and the whole study say the same.
    """

    model: str
    dataset: str
    correlation: pl.DataFrame
    headline: pl.DataFrame
    quality: pl.DataFrame
    reliability: pl.DataFrame
    selection: pl.DataFrame
    gains: pl.DataFrame
    agreement: pl.DataFrame
    variance: pl.DataFrame
    study_tables: int

    @classmethod
    def read(cls, model: str, dataset: str, paths: Mapping[str, str | Path], study_tables: int) -> "Results":
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
            variance=VARIANCE.read(paths["variance"]),
            study_tables=study_tables,
        )

    @property
    def targets(self) -> list[str]:
        """Quality targets in the order of the config."""
        return self.reliability["target"].to_list()

    @cached_property
    def target(self) -> str:
        """The quality target that claims are about: the one that the study declares."""
        return self.reliability.row(by_predicate=pl.col("primary"), named=True)["target"]

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

    def selectors(self, target: str) -> pl.DataFrame:
        """What each selector is worth in a target, with `p_study`, corrected for all selectors in all tables."""
        p_study = (pl.col("p_holm") * self.study_tables).clip(upper_bound=1)
        return self.selection.filter(target=target).with_columns(p_study=p_study)

    def family(self, family: str) -> pl.DataFrame:
        """Correlations of one family, such as activation or sae, with the primary target, strongest first.

        With `p_study` and `p_beyond_study`, corrected for the study, and the `status` of each defined signal: nothing
        is claimed of a target whose differences are no larger than noise.
        """
        mine = self.correlation.filter(pl.col("target") == self.target, pl.col("family") == family)
        columns = {"p_study": "p_maxt", "p_beyond_study": "p_beyond"}
        mine = mine.with_columns(
            (pl.col(column) * self.study_tables).clip(upper_bound=1).alias(name) for name, column in columns.items()
        )
        p, beyond = (mine[name].fill_null(np.nan).to_numpy() for name in columns)
        noisy = self.reliability_of(self.target)["alpha"] is None
        small = mine["small"].fill_null(value=False).to_numpy()
        said = pl.Series("status", statuses(np.ones(len(p)) if noisy else p, beyond, small))
        known = pl.when(pl.col("rho").is_not_null()).then(pl.col("status")).alias("status")
        return (
            mine.with_columns(said)
            .with_columns(known)
            .sort(pl.col("rho").abs(), descending=True, nulls_last=True, maintain_order=True)
        )

    @cached_property
    def status(self) -> str:
        """What may be said of the activation signals: the strongest claim about one of them, no use only if of all."""
        return of_family(self.signals["status"].drop_nulls().to_numpy())

    @cached_property
    def signals(self) -> pl.DataFrame:
        """Correlations of the activation signals with the primary target, strongest first, undefined ones last."""
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
