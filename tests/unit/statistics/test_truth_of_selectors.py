"""A fast part of tests/benchmarks/truth_of_selectors.py: what is said now holds, what was said before did not."""

import numpy as np
import pytest

import truth_of_selectors as truth


def shares(study, studies):
    return np.mean([study(seed) for seed in range(studies)], axis=0)


def test_more_candidates_find_a_selector_in_pools_but_not_by_a_single_pick():
    pick, *pools = shares(lambda seed: truth.power_study(0.4, 200, seed) <= truth.LEVEL, 100)
    assert pick < 0.25
    assert pools[0] > 0.9
    assert pools[2] > 0.7


def test_chance_is_found_as_seldom_as_declared():
    assert (shares(lambda seed: truth.power_study(0.0, 48, seed) <= truth.LEVEL, 300) <= 0.09).all()


def test_intervals_of_gains_cover():
    rows = list(truth.coverage_rows(100, candidates=[48], alphas=[0.3]))
    assert [row["selector"] for row in rows] == list(truth.SELECTORS)
    for row in rows:
        covered = [row[size] for size in ("4", "8", "16", "half")]
        assert min(covered) >= 0.88, row["selector"]
        assert 0.91 <= np.mean(covered) <= 0.995, row["selector"]


def test_intervals_know_clusters_of_candidates_and_of_items():
    single, clustered = shares(lambda seed: truth.clustered_study(200, seed), 150)
    assert single < 0.88
    assert 0.91 <= clustered <= 0.99


def test_single_picks_are_called_worse_by_normal_tails_but_not_by_their_own():
    normal, own = shares(lambda seed: truth.picks_study(True, 200, seed), 80)
    assert normal > 0.15
    assert own <= 0.05


def test_shared_noise_does_not_make_quality_survive_a_swap_of_models():
    found = [truth.swap_study(0.0, 0.5, 0.7, seed) for seed in range(80)]
    assert np.mean([study["same items"] for study in found]) > 0.4
    assert np.mean([study["disjoint items"] for study in found]) <= 0.05
    assert 0.9 <= np.mean([study["coverage"] for study in found]) <= 1
    assert np.mean([truth.swap_study(0.6, 0.7, 0.7, seed)["disjoint items"] for seed in range(20)]) >= 0.8


@pytest.mark.parametrize("tau", [0.1, 0.3])
def test_two_models_on_a_data_set_are_not_two_results(tau):
    settings, data_sets, further = shares(lambda seed: truth.pooled_study(3, tau, seed), 400)
    assert settings < 0.82
    assert 0.92 <= data_sets <= 0.98
    assert 0.92 <= further <= 0.985


def test_posterior_gain_ships_better_than_the_cheapest_significant_pick():
    found = [truth.ship_study(200, seed) for seed in range(40)]
    lost = {name: np.mean([study[name] for study in found]) for name in ("random", "significant", "posterior")}
    assert lost["posterior"] < 0.3 * lost["significant"] < 0.3 * lost["random"]
