"""A fast part of tests/benchmarks/truth.py, whose full tables stand in docs/explanation/truth.md."""

import polars as pl

import truth

STUDIES = 60


def test_intervals_of_gains_cover():
    tables = pl.concat(truth.selection_study(0.7, 48, seed, splits=8) for seed in range(STUDIES))
    for (_,), mine in tables.group_by("selector", maintain_order=True):
        true = mine["gain"].mean()
        assert mine.select((pl.col("low") > true) | (pl.col("high") < true)).mean().item() <= 0.15
