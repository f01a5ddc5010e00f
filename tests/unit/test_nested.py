import numpy as np
import pytest
from scipy.stats import spearmanr

from iclscope.statistics.nested import best_of_grid, strongest_signal
from iclscope.statistics.ranks import centred_ranks


def study(rho, signals=200, candidates=80, items=40, seed=0):
    """Ranks of signals of which the first follows ability, and scores."""
    rng = np.random.default_rng(seed)
    ability = rng.standard_normal(candidates)
    values = rng.standard_normal((signals, candidates))
    values[0] = rho * ability + np.sqrt(1 - rho**2) * values[0]
    return centred_ranks(values), ability[:, None] + rng.standard_normal((candidates, items))


def test_grid_of_noise_owes_all_to_choosing():
    ranks, scores = study(rho=0.0)
    found = best_of_grid(ranks, scores, np.arange(40), 40, np.random.default_rng(0))
    assert found.chosen > 0.35
    assert abs(found.held_out) < 0.15
    assert found.optimism == pytest.approx(found.chosen - found.held_out)


def test_real_signal_holds_up_in_its_direction():
    ranks, scores = study(rho=-0.9)
    found = best_of_grid(ranks, scores, np.arange(40), 20, np.random.default_rng(0))
    assert found.held_out > 0.75
    assert abs(found.optimism) < 0.1


def test_best_signal_is_what_scipy_finds_among_the_chosen_candidates():
    rng = np.random.default_rng(1)
    values, quality = rng.standard_normal((30, 41)), rng.standard_normal(41)
    ours = rng.random(41) < 0.5
    best, rho = strongest_signal(centred_ranks(values), quality[ours], ours)
    expected = [spearmanr(v[ours], quality[ours]).statistic for v in values]
    assert best == np.argmax(np.abs(expected))
    assert rho == pytest.approx(expected[best], abs=0.05)  # ranks among all candidates, not among ours


def test_signal_that_is_constant_among_the_chosen_candidates_is_not_chosen():
    values = np.array([[1.0, 1, 1, 1, 2, 3, 4, 5], [4.0, 3, 1, 2, 5, 6, 7, 8]])
    ours = np.array([True] * 4 + [False] * 4)
    best, rho = strongest_signal(centred_ranks(values), np.array([1.0, 2, 3, 4]), ours)
    assert best == 1
    assert rho < 0


def test_nothing_to_choose_from_has_no_result():
    ranks, scores = study(rho=0.5)
    assert best_of_grid(ranks[:0], scores, np.arange(40), 5, np.random.default_rng(0)) is None
    assert best_of_grid(ranks, np.ones_like(scores), np.arange(40), 5, np.random.default_rng(0)) is None
