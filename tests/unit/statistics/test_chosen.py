import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from iclscope.statistics.ranks import centred_ranks, unit
from iclscope.statistics.signals.chosen import winner
from iclscope.statistics.signals.shuffles import Null
from iclscope.statistics.signals.studentised import Assessed, Spread


def found(z, error, largest=6.0):
    """What an assessment of signals with these atanh(rho) and this error says."""
    z = np.asarray(z, dtype=float)
    spread = Spread(np.full(len(z), error**2), np.zeros(len(z)), 10_000, 100)
    return Assessed(np.tanh(z), spread, np.abs(z) / error, Null(np.zeros(len(z), int), np.full(1000, largest)))


def independent(count, candidates=400):
    """Ranks of signals that are not correlated at all."""
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((candidates, count + 1)))
    return (basis[:, 1:] - basis[:, 1:].mean(axis=0)).T.astype(np.float32)


def test_a_winner_without_rivals_keeps_its_rho():
    best = winner(independent(1), found([0.4], 0.05))
    assert best.value == pytest.approx(np.tanh(0.4), abs=1e-3)
    assert np.arctanh(best.high) - 0.4 == pytest.approx(1.96 * 0.05, rel=0.05)
    assert best.luck == pytest.approx(0, abs=1e-3)


def test_limits_are_quantiles_of_the_normal_distribution_cut_off_at_the_runner_up():
    best = winner(independent(2), found([0.3, 0.25], 0.1, largest=20.0))
    runner_up = np.arcsinh(np.tanh(0.25) * np.cosh(0.3))  # what it has of quality beside the winner's part

    def at(center):
        return (norm.cdf((0.3 - center) / 0.1) - norm.cdf((runner_up - center) / 0.1)) / norm.sf(
            (runner_up - center) / 0.1
        )

    assert best.signal == 0
    assert np.arctanh(best.value) == pytest.approx(brentq(lambda c: at(c) - 0.5, -0.4, 0.35), abs=0.01)
    assert best.luck > 0.05


def test_the_largest_of_very_many_on_few_candidates_has_an_interval_that_holds():
    rng = np.random.default_rng(0)
    candidates, held, beyond = 40, [], []
    for _ in range(300):
        ranks, quality = centred_ranks(rng.standard_normal((800, candidates))), rng.standard_normal(candidates)
        rho = unit(ranks) @ unit(centred_ranks(quality))
        best = winner(ranks, found(np.arctanh(rho), np.sqrt(1.06 / (candidates - 3))))  # Fieller et al. 1957
        held.append(best.low <= 0 <= best.high)
        beyond.append(best.luck > abs(best.rho))
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(beyond) == pytest.approx(0.5, abs=0.08)  # all that it has is luck


def test_the_same_signal_twice_is_no_rival():
    ranks = independent(1)
    single, double = winner(ranks, found([0.3], 0.1)), winner(np.repeat(ranks, 2, axis=0), found([0.3, 0.3], 0.1))
    assert double.value == pytest.approx(single.value, abs=1e-6)


def test_a_negative_winner_mirrors_a_positive_one():
    ranks = independent(3)
    up, down = (winner(ranks, found(sign * np.array([0.1, 0.3, 0.28]), 0.1)) for sign in (1, -1))
    assert (down.value, down.low, down.high) == pytest.approx((-up.value, -up.high, -up.low))
    assert down.luck == pytest.approx(up.luck)
    assert down.rho == pytest.approx(-up.rho)


def test_limits_stay_within_the_band_of_the_family():
    best = winner(independent(2), found([0.3, 0.2999], 0.1, largest=3.5))
    assert np.arctanh(best.low) >= 0.3 - 3.5 * 0.1 - 1e-6
    assert best.low <= best.value <= best.high


def test_where_a_rival_comes_too_near_the_interval_is_the_band_of_the_family():
    best = winner(independent(2), found([0.3, 0.29999], 0.04, largest=5.0))
    assert np.arctanh([best.value, best.low, best.high]) == pytest.approx([0.1, 0.1, 0.5], abs=1e-4)


def test_there_is_no_winner_without_a_signal():
    assert winner(centred_ranks(np.zeros((0, 30))), found([], 0.1)) is None
    assert winner(independent(1), found([np.nan], 0.1)) is None
