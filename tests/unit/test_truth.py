"""A fast part of tests/benchmarks/truth.py, whose full tables stand in docs/explanation/truth.md."""

import polars as pl
import pytest

import truth

STUDIES = 60


def test_intervals_of_gains_cover():
    population = truth.Population()
    tables = pl.concat(truth.selection_study(0.7, 48, seed, population, splits=8) for seed in range(STUDIES))
    for name, mine, covered in truth.coverage(tables):
        assert covered >= 0.85, name
        assert mine["gain"].mean() == pytest.approx(mine["true"].fill_null(mine["gain"].mean()).mean(), abs=0.15), name
