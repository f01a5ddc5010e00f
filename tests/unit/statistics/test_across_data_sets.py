"""Pooling against a hand-worked example, and its intervals against planted truths."""

import numpy as np
import pytest
from scipy.stats import rankdata, t

from iclscope.statistics.gains.across_data_sets import combine, largest_null, mean_of_models, pool


def test_equal_errors_by_hand():
    # Effects 0, 1, 2: mean 1, variance 1. With errors of 0.5 tau^2 = 1 - 0.25; the mean's variance is 1 / 3.
    found = pool(np.array([0.0, 1.0, 2.0]), np.full(3, 0.5))
    assert found.mean == pytest.approx(1)
    assert found.tau == pytest.approx(np.sqrt(0.75))
    assert found.standard_error == pytest.approx(np.sqrt(1 / 3))
    assert found.high - 1 == pytest.approx(4.302653 * np.sqrt(1 / 3))
    assert found.next_high - 1 == pytest.approx(4.302653 * np.sqrt(1 + 1 / 3))
    assert found.p() == pytest.approx(2 * t.sf(np.sqrt(3), 2))


def test_unequal_errors_by_hand():
    # Effects 0, 0, 3 with variances 1, 1, 2. Weights 1/(1+x), 1/(1+x), 1/(2+x) make the squares' sum 18 / (5 + 3 x),
    # which is 2, the degrees of freedom, at x = 4/3: weights 3/7, 3/7, 3/10 and a mean of 0.9 / (81 / 70).
    found = pool(np.array([0.0, 0.0, 3.0]), np.sqrt([1.0, 1.0, 2.0]))
    assert found.tau**2 == pytest.approx(4 / 3)
    assert found.mean == pytest.approx(7 / 9)
    assert found.standard_error**2 == pytest.approx(70 / 81)


def test_effects_as_alike_as_their_errors_have_no_tau_and_sure_ones_weigh_more():
    found = pool(np.array([0.2, 0.3, 0.25]), np.array([0.01, 0.2, 0.2]))
    assert found.tau == 0
    assert found.mean == pytest.approx(0.2, abs=0.001)


def test_two_data_sets_are_not_pooled():
    assert pool(np.zeros(2), np.ones(2)) is None


def test_pooling_many_signals_is_pooling_each():
    rng = np.random.default_rng(0)
    effects, errors = rng.standard_normal((5, 4)), rng.uniform(0.1, 0.5, (5, 4))
    together = pool(effects, errors)
    for row in range(5):
        alone = pool(effects[row], errors[row])
        for name in ("mean", "low", "high", "next_low", "next_high", "tau"):
            assert getattr(alone, name) == pytest.approx(getattr(together, name)[row]), name


def test_models_that_err_alike_count_as_one_and_independent_ones_as_two():
    effects = np.array([[0.2, 0.4]] * 2)
    covariance = np.array([np.ones((2, 2)), np.eye(2)]) * 0.04
    mean, error = mean_of_models(effects, covariance)
    np.testing.assert_allclose(mean, 0.3)
    np.testing.assert_allclose(error, [0.2, 0.2 / np.sqrt(2)])


@pytest.mark.parametrize("data_sets", [3, 6])
@pytest.mark.parametrize("tau", [0.0, 0.05, 0.3])
def test_intervals_cover_the_mean_and_a_further_data_set(data_sets, tau):
    rng = np.random.default_rng(data_sets)
    shape = (3000, data_sets + 1)
    errors = rng.uniform(0.08, 0.16, shape)
    found = tau * rng.standard_normal(shape) + errors * rng.standard_normal(shape)
    pooled = pool(found[:, :-1], errors[:, :-1])
    assert 0.92 <= np.mean((pooled.low <= 0) & (pooled.high >= 0)) <= 0.98
    assert 0.92 <= np.mean((pooled.next_low <= found[:, -1]) & (found[:, -1] <= pooled.next_high)) <= 0.98


def unit_ranks(values):
    ranks = rankdata(values, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    return (ranks / np.linalg.norm(ranks, axis=-1, keepdims=True)).astype(np.float32)


def test_largest_of_many_signals_is_called_by_chance_as_often_as_declared_and_found_where_it_holds_everywhere():
    rng = np.random.default_rng(0)
    alarms, found = 0, 0
    for _ in range(150):
        statistics, ranks, permuted = [], [], []
        for candidates in (40, 60, 80):
            signals, quality = rng.standard_normal((50, candidates)), rng.standard_normal(candidates)
            signals[0] += 0.5 * quality
            ranks.append(unit_ranks(signals))
            rho = ranks[-1] @ unit_ranks(quality)
            statistics.append(np.arctanh(rho) * np.sqrt(candidates - 3))
            permuted.append(unit_ranks(rng.permuted(np.tile(quality, (199, 1)), axis=1)))
        combined = np.abs(combine(np.stack(statistics, axis=1)))
        null = largest_null([part[1:] for part in ranks], permuted)
        p = (1 + (null[:, None] >= combined).sum(axis=0)) / (1 + len(null))
        found += p[0] <= 0.05
        alarms += p[1:].min() <= 0.05
    assert alarms / 150 <= 0.1
    assert found / 150 >= 0.9
