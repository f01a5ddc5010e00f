"""A fast part of tests/benchmarks/truth.py, whose full tables stand in docs/explanation/truth.md."""

import polars as pl

import truth

STUDIES = 60


def test_intervals_of_gains_cover():
    tables = pl.concat(truth.selection_study(0.7, 48, seed, splits=8, draws=120) for seed in range(STUDIES))
    for (name,), mine in tables.group_by("selector"):
        if name != "random":
            missed = (mine["gain"] - mine["gain"].mean()).abs() > 1.96 * mine["standard_error"]
            assert missed.mean() <= 0.15, name
