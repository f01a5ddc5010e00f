"""A fast part of tests/benchmarks/truth.py, whose full tables stand in docs/explanation/truth.md."""

import numpy as np
import polars as pl
import pytest

import truth
from truth import Truth

STUDIES = 60


@pytest.mark.parametrize("rho", truth.RHO)
@pytest.mark.parametrize("alpha", truth.ALPHA)
def test_planted_ceiling_and_correlation_are_recovered_and_covered(rho, alpha):
    found = pl.DataFrame([truth.correlation_study(rho, alpha, 100, seed, draws=150) for seed in range(STUDIES)])
    planted = Truth.of(rho, alpha)
    mean = {name: np.nanmean(found[name].to_numpy()) for name in found.columns}
    assert mean["ceiling"] == pytest.approx(planted.ceiling, abs=0.05)
    assert mean["rho"] == pytest.approx(planted.with_quality, abs=0.03)
    # Only studies whose alpha reaches 0.3 are disattenuated: with a true one of 0.3 those that overstate it.
    assert mean["disattenuated"] == pytest.approx(planted.with_ability, abs=0.03 if alpha > 0.3 else 0.08)
    assert 0.90 <= mean["coverage"] <= 0.99
    assert 0.90 <= mean["analytic coverage"] <= 0.99


def test_chance_raises_an_alarm_as_seldom_as_declared_and_optimism_is_seen():
    found = pl.DataFrame([truth.null_study(0.7, 100, seed, permutations=199) for seed in range(300)]).mean()
    row = found.row(0, named=True)
    assert row["family-wise error"] <= 0.09  # three standard errors of 300 studies above 0.05
    assert row["uncorrected"] > 0.8
    assert row["largest rho"] > 0.3
    assert abs(row["where not chosen"]) < 0.03


def test_intervals_of_gains_cover():
    population = truth.Population()
    tables = pl.concat(truth.selection_study(0.7, 48, seed, population, splits=8) for seed in range(STUDIES))
    for name, mine, covered in truth.coverage(tables):
        assert covered >= 0.85, name
        assert mine["gain"].mean() == pytest.approx(mine["true"].fill_null(mine["gain"].mean()).mean(), abs=0.15), name
