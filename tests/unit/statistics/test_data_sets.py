import numpy as np
import pytest
from scipy.stats import ttest_1samp

from iclscope.statistics.signals.data_sets import combine, pool


def test_equally_sure_data_sets_give_students_interval():
    z = np.array([[0.1, 0.3, 0.35, 0.6], [-0.2, 0.1, 0.05, 0.0]])
    found = pool(z, np.full(z.shape, 0.02))
    for row, own in enumerate(z):
        interval = ttest_1samp(own, 0).confidence_interval()
        assert (np.arctanh(found.low[row]), np.arctanh(found.high[row])) == pytest.approx((interval.low, interval.high))
        assert np.arctanh(found.rho[row]) == pytest.approx(own.mean())
    assert (found.next_high - found.next_low > found.high - found.low).all()


def test_a_surer_data_set_weighs_more():
    found = pool(np.array([[0.0, 0.0, 0.2]]), np.array([[0.1, 0.1, 0.001]]))
    assert found.rho[0] > 0.15


def test_intervals_hold_the_mean_and_the_next_data_set():
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.005, 0.03, (4000, 4))
    z = 0.3 + 0.1 * rng.standard_normal((4000, 4)) + np.sqrt(variance) * rng.standard_normal((4000, 4))
    found = pool(z, variance)
    again = np.tanh(
        0.3 + 0.1 * rng.standard_normal(4000) + np.sqrt(rng.uniform(0.005, 0.03, 4000)) * rng.standard_normal(4000)
    )
    assert np.mean((found.low <= np.tanh(0.3)) & (np.tanh(0.3) <= found.high)) == pytest.approx(0.95, abs=0.02)
    assert np.mean((found.next_low <= again) & (again <= found.next_high)) == pytest.approx(0.95, abs=0.02)


def test_unequal_errors_by_hand():
    # In tenths 0, 0, 3 with variances 1, 1, 2. Weights 1, 1, .5: mean .6, Q = 3.6, tau^2 = 1.6 / (2.5 - 2.25 / 2.5) = 1
    found = pool(np.array([[0.0, 0.0, 0.3]]), np.array([[0.01, 0.01, 0.02]]))
    assert found.tau[0] == pytest.approx(0.1)
    assert np.arctanh(found.rho[0]) == pytest.approx(0.3 * (1 / 0.03) / (2 / 0.02 + 1 / 0.03))


@pytest.mark.parametrize("data_sets", [3, 6])
@pytest.mark.parametrize("tau", [0.0, 0.05, 0.3])
def test_intervals_cover_whether_data_sets_differ_or_not(data_sets, tau):
    rng = np.random.default_rng(data_sets)
    shape = (3000, data_sets + 1)
    errors = rng.uniform(0.08, 0.16, shape)
    z = tau * rng.standard_normal(shape) + errors * rng.standard_normal(shape)
    found = pool(z[:, :-1], errors[:, :-1] ** 2)
    further = np.tanh(z[:, -1])
    assert 0.92 <= np.mean((found.low <= 0) & (found.high >= 0)) <= 0.98
    assert 0.92 <= np.mean((found.next_low <= further) & (further <= found.next_high)) <= 0.98


def test_two_data_sets_give_no_interval():
    assert pool(np.zeros((3, 2)), np.ones((3, 2))) is None


def test_a_signal_that_is_weak_everywhere_is_found_in_the_combination():
    rng = np.random.default_rng(0)
    statistics = rng.standard_normal((20_000, 4))
    assert combine(statistics).std() == pytest.approx(1, abs=0.02)
    assert combine(statistics + 1).mean() == pytest.approx(2, abs=0.02)
