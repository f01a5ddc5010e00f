import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from iclscope.statistics.signals.power import (
    Plan,
    allowed_variance,
    candidates_needed,
    correlation_of,
    critical_value,
    detect,
    exclude,
    independent_signals,
)


def plan(**changes):
    return Plan(**{"candidate": 1.0, "rest": 20.0, "signals": 50.0, "smallest": 0.2, "least_ceiling": 0.5, **changes})


def test_rho_with_noisy_quality_is_that_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    ability = rng.standard_normal(200_000)
    signal = 0.6 * ability + 0.8 * rng.standard_normal(200_000)
    quality = ability + rng.standard_normal(200_000)
    without = spearmanr(signal, ability).statistic
    assert correlation_of(without, np.array(0.5)) == pytest.approx(spearmanr(signal, quality).statistic, abs=0.005)
    assert correlation_of(without, np.array(1.0)) == pytest.approx(without)


def test_one_signal_needs_the_usual_critical_value_and_a_family_its_largest():
    assert critical_value(1) == pytest.approx(norm.ppf(0.975))
    largest = np.abs(np.random.default_rng(0).standard_normal((20_000, 30))).max(axis=1)
    assert critical_value(30) == pytest.approx(np.quantile(largest, 0.95), abs=0.03)


def test_signals_that_count_are_read_off_a_pilots_null_line():
    line = np.tanh(critical_value(200) / np.sqrt(297))
    assert independent_signals(line, 300) == pytest.approx(200)


def test_power_grows_with_candidates_and_items_and_falls_with_the_family():
    candidates, items = np.array([50, 100, 300, 1000])[:, None], np.array([20, 50, 200, 1000])
    for chance in (detect(plan(), candidates, items), exclude(plan(signals=5.0), candidates, items)):
        assert chance.shape == (4, 4)
        assert ((chance >= 0) & (chance <= 1)).all()
        assert (np.diff(chance, axis=0) >= -0.02).all()
        assert (np.diff(chance, axis=1) >= -0.02).all()
    assert detect(plan(signals=5000.0), candidates, items).max() < detect(plan(), candidates, items).max() + 1e-9
    assert exclude(plan(signals=1.0), np.array(1000), np.array(1000)) > 0.99


def test_noisy_quality_excludes_nothing():
    assert exclude(plan(signals=1.0), np.array(2000), np.array(3)) < 0.01


def test_a_direction_of_the_noise_costs_power():
    assert detect(plan(direction=0.2), np.array(500), np.array(50)) < detect(plan(), np.array(500), np.array(50)) - 0.1


def test_push_is_reliable_but_only_where_labels_are_uneven():
    assert plan(push=5.0).noise(np.array(40)) == plan().noise(np.array(40)) == pytest.approx(1 / 3)
    assert plan(push=5.0, tilt=0.2).noise(np.array(40)) == pytest.approx(0.2)


def test_needed_variance_gives_the_power_it_says():
    deviation = np.sqrt(allowed_variance(0.3, 4))
    draws = np.random.default_rng(0).normal(0.3, deviation, 100_000)
    assert np.mean(draws / deviation > norm.isf(0.025 / 4)) == pytest.approx(0.8, abs=0.01)
    assert allowed_variance(0.3, 4, power=0.5) == pytest.approx((0.3 / norm.isf(0.025 / 4)) ** 2)


def test_needed_candidates_find_the_effect_as_often_as_they_should():
    needed = candidates_needed(0.25, 20)
    found = []
    for seed in range(400):
        x, y = np.random.default_rng(seed).standard_normal((2, needed))
        r = 2 * np.sin(np.pi * 0.25 / 6)
        z = np.arctanh(spearmanr(x, r * x + np.sqrt(1 - r * r) * y).statistic) * np.sqrt(needed - 3)
        found.append(z > critical_value(20))
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)
    assert candidates_needed(0.25, 20, alpha=0.5) > 1.8 * needed
