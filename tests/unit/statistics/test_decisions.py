"""Posterior gains against conjugate formulas, calibration against planted truths, and what follows for shipping."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from iclscope.statistics.gains.decisions import decide, exchange_interval, exchange_rate, posterior

RNG = np.random.default_rng(0)
SIZES = np.array([1, 2, 4, 8])


def test_posterior_is_the_mixture_of_conjugate_posteriors():
    gains, errors = np.array([0.5, 0.1, -0.2]), np.array([[0.04, 0.01, 0], [0.01, 0.05, 0], [0, 0, 0.02]])
    spreads = np.linspace(0.002, 1.2, 600)
    shape = np.eye(3) + 1  # as much shared as own
    means, fits = [], []
    for spread in spreads:
        prior = spread**2 * shape
        means.append(prior @ np.linalg.solve(prior + errors, gains))
        fits.append(multivariate_normal(np.zeros(3), prior + errors).pdf(gains))
    expected = np.average(means, axis=0, weights=fits)
    found = posterior(gains, errors, 200_000, np.random.default_rng(1)).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_gains_that_are_sure_stay_and_chance_is_shrunk():
    sure = posterior(np.array([0.3, 0.0, -0.1]), 1e-8 * np.eye(3), 2000, np.random.default_rng(0))
    np.testing.assert_allclose(sure.mean(axis=0), [0.3, 0, -0.1], atol=1e-3)
    noise = np.random.default_rng(3).standard_normal(30)
    shrunk = posterior(noise, np.eye(30), 4000, np.random.default_rng(0)).mean(axis=0)
    assert np.abs(shrunk).max() < 0.5 * np.abs(noise).max()


@pytest.mark.parametrize("selectors", [3, 20])
@pytest.mark.parametrize("level", [0.0, 0.2])
def test_beliefs_are_true_as_often_as_they_say(selectors, level):
    rng = np.random.default_rng(selectors)
    errors = 0.01 * (0.5 * np.eye(selectors) + 0.5)
    root = np.linalg.cholesky(errors)
    covered, positive, said, lost, expected = [], [], [], [], []
    for _ in range(300):
        true = level * rng.standard_normal() + 0.1 * rng.standard_normal(selectors)
        found = posterior(true + root @ rng.standard_normal(selectors), errors, 500, rng)
        decision = decide(found, np.zeros(selectors), 0.0)
        covered.append(np.mean((decision.low <= true) & (true <= decision.high)))
        said.append(decision.positive)
        positive.append(true > 0)
        everyone, regrets = np.append(true, 0), np.append(decision.regret, decision.random_regret)
        ship = selectors if decision.ship is None else decision.ship
        lost.append(everyone.max() - everyone[ship])
        expected.append(regrets[ship])
    assert 0.90 <= np.mean(covered) <= 0.98
    assert np.mean(positive) == pytest.approx(np.mean(said), abs=0.06)
    assert np.mean(lost) == pytest.approx(np.mean(expected), abs=0.01)


def test_largest_mean_net_gain_is_shipped_and_chances_add_up():
    draws = np.array([0.5, 0.45, -0.1]) + 0.1 * RNG.standard_normal((4000, 3))
    free = decide(draws, np.array([40.0, 10.0, 0.0]), 0.0)
    assert free.ship == 0
    assert free.best.sum() + free.random_best == pytest.approx(1)
    assert free.positive[0] > 0.99 > 0.3 > free.positive[2]
    assert free.regret[0] < free.regret[1] < free.random_regret < free.regret[2]
    priced = decide(draws, np.array([40.0, 10.0, 0.0]), 0.01)
    assert priced.ship == 1
    assert decide(draws, np.array([40.0, 10.0, 0.0]), 0.0, margin=0.1).ship == 1  # of no use to pay four times as much
    assert decide(draws, np.array([40.0, 10.0, 0.0]), 0.0, margin=0.6).ship is None
    np.testing.assert_allclose(priced.net, priced.mean - [0.4, 0.1, 0], atol=1e-12)


def test_random_choice_is_shipped_where_nothing_pays():
    draws = np.array([0.05, -0.2]) + 0.01 * RNG.standard_normal((500, 2))
    assert decide(draws, np.array([10.0, 0.0]), 0.01).ship is None


def test_exchange_rate_lies_on_the_line_between_two_searches():
    curve = np.array([[0.1, 0.3, 0.2, 0.5]] * 6)
    gain = np.array([-0.1, 0.05, 0.1, 0.2, 0.4, 0.6])
    # Between 4 and 8 items the dip to 0.2 is filled with 0.3.
    np.testing.assert_allclose(exchange_rate(gain, curve, SIZES), [0, 0.5, 1, 1.5, 6, np.inf])


def test_exchange_interval_holds_the_rate_and_opens_where_no_search_gains_as_much():
    gains = np.array([0.2, 0.1, 0.15, 0.25, 0.3])
    rate, low, high = exchange_interval(gains, 1e-4 * np.eye(5), SIZES, 2000, np.random.default_rng(0))
    assert rate == pytest.approx(3)
    assert 2 < low < 3 < high < 4
    assert exchange_interval(gains, 0.1 * np.eye(5), SIZES, 2000, np.random.default_rng(0))[2] == np.inf
    gains[0] = 0.5
    assert exchange_interval(gains, 1e-4 * np.eye(5), SIZES, 2000, np.random.default_rng(0)) == (np.inf,) * 3


def test_exchange_interval_covers():
    rng, true = np.random.default_rng(5), np.array([0.2, 0.1, 0.15, 0.25, 0.3])
    errors = 0.0009 * (0.7 + 0.3 * np.eye(5))
    covered = 0
    for _ in range(300):
        found = rng.multivariate_normal(true, errors)
        _, low, high = exchange_interval(found, errors, SIZES, 500, rng)
        covered += low <= 3 <= high
    assert 0.92 <= covered / 300 <= 0.98
