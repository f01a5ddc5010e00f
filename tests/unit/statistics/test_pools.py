"""Gains in random pools against enumeration of all pools, and intervals against planted truths."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm

from iclscope.statistics.gains.pools import (
    Gains,
    by_chance,
    favourite_chances,
    one_for_all,
    one_per_item,
    pick_p,
    pool_sizes,
)

ALL = np.ones(6, dtype=bool)
PREFERENCES = {
    "all different": [0.3, -1.0, 2.0, 0.1, 0.7, -0.2, 1.5, 0.9, -2.0],
    "groups of equals": [1.0, 1, 2, 2, 2, 0, 0, 0, 3],
    "all equal": [0.0] * 9,
}


def scores_of(candidates=9, items=6, seed=0):
    return np.random.default_rng(seed).standard_normal((candidates, items))


def enumerated(preference, quality, size, among):
    """Mean value of the favourite over all pools of `size` of the candidates `among`; equals share the pick."""
    values = []
    for pool in map(list, combinations(among, size)):
        best = preference[pool] == preference[pool].max()
        values.append(quality[pool][best].mean())
    return np.mean(values)


def alone(preference, scores, sizes, judges=ALL, reliability=1.0):
    return one_for_all(np.array([preference], dtype=float), scores, judges, sizes, reliability, np.zeros(1))


def test_pools_grow_in_powers_of_two_to_half_of_the_candidates_and_to_all():
    assert pool_sizes(48) == [4, 8, 16, 24, 48]
    assert pool_sizes(64) == [4, 8, 16, 32, 64]
    assert pool_sizes(7) == [3, 7]


def test_chances_of_the_favourite_are_those_of_counting_pools():
    pools = list(combinations(range(7), 3))
    counted = [sum(min(pool) == rank for pool in pools) / len(pools) for rank in range(7)]
    np.testing.assert_allclose(favourite_chances(7, 3), counted, atol=1e-12)


@pytest.mark.parametrize("name", PREFERENCES)
@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_gain_is_that_of_enumerating_all_pools(name, size):
    preference, scores = np.array(PREFERENCES[name]), scores_of()
    quality = scores.mean(axis=1)
    expected = enumerated(preference, quality, size, range(9)) - quality.mean()
    assert alone(preference, scores, [size]).gain.item() == pytest.approx(expected)


def test_candidates_that_are_not_offered_are_in_no_pool_and_random_is_among_the_offered():
    preference, scores = np.array([0.0, 3, -np.inf, 1, 2, -np.inf, 5, 4, -1]), scores_of()
    quality, offered = scores.mean(axis=1), [0, 1, 3, 4, 6, 7, 8]
    expected = enumerated(preference, quality, 3, offered) - quality[offered].mean()
    found = alone(preference, scores, [3, 4, 7])
    assert found.gain[0, 0] == pytest.approx(expected)
    assert np.isnan(found.gain[0, 1])
    assert found.gain[0, 2] == pytest.approx(quality[6] - quality[offered].mean())


@pytest.mark.parametrize("name", PREFERENCES)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_moves_are_proportional_to_what_the_gain_loses_without_the_candidate(name, size):
    preference, scores = np.array(PREFERENCES[name]), scores_of()
    quality = scores.mean(axis=1)

    def gain(among):
        return enumerated(preference, quality, size, among) - quality[among].mean()

    everyone = list(range(9))
    lost = [gain(everyone) - gain([c for c in everyone if c != left]) for left in everyone]
    moves = alone(preference, scores, [size]).candidates[0, 0]
    ratio = (moves @ lost) / np.dot(lost, lost) if any(np.abs(lost) > 1e-12) else 1.0
    np.testing.assert_allclose(moves, ratio * np.array(lost), atol=1e-9)
    assert 0.5 < ratio <= 1


def test_retrieval_is_one_favourite_per_item():
    rng = np.random.default_rng(1)
    scores, preference = scores_of(), rng.integers(0, 4, (9, 6)).astype(float)
    expected = np.mean(
        [enumerated(preference[:, i], scores[:, i], 3, range(9)) - scores[:, i].mean() for i in range(6)]
    )
    assert one_per_item(preference, scores, [3], 1.0).gain.item() == pytest.approx(expected)


def test_retrieval_that_prefers_alike_for_all_items_gains_as_one_for_all():
    preference, scores = np.array(PREFERENCES["groups of equals"]), scores_of()
    repeated = np.repeat(preference[:, None], 6, axis=1)
    one, many = alone(preference, scores, [2, 4, 9]), one_per_item(repeated, scores, [2, 4, 9], 1.0)
    np.testing.assert_allclose(many.gain, one.gain)
    np.testing.assert_allclose(many.items, one.items, atol=1e-12)


def test_only_judging_items_count_and_move():
    scores, judges = scores_of(), np.array([True, False, True, True, False, True])
    found = alone(PREFERENCES["all different"], scores, [3], judges)
    assert found.gain.item() == pytest.approx(
        alone(PREFERENCES["all different"], scores[:, judges], [3], ALL[:4]).gain.item()
    )
    assert not found.items[0, 0, ~judges].any()
    assert found.items[0, 0, judges].all()


def test_random_choice_gains_nothing_and_has_no_error():
    found = by_chance(np.ones(9), scores_of(), [3, 9], 1.0)
    np.testing.assert_allclose(found.gain, 0, atol=1e-15)
    np.testing.assert_allclose(found.errors(np.arange(9), np.arange(6)).total, 0, atol=1e-15)


def test_error_of_a_chance_is_that_of_a_difference_of_weighted_means():
    # Half of the candidates, never the other half: half the difference of two means of 50 each.
    scores = np.repeat(np.random.default_rng(0).standard_normal((100, 1)), 8, axis=1)
    chances = np.repeat([1.0, 0.0], 50)
    found = by_chance(chances, scores, [100], 1.0)
    parts = [scores[half, 0] for half in (chances > 0, chances == 0)]
    expected = np.sqrt(sum(part.var() / 50 for part in parts)) / 2
    assert found.errors(np.arange(100), np.arange(8)).total.item() == pytest.approx(expected, rel=0.05)


def test_error_from_items_is_that_of_a_mean_and_clusters_count_as_one():
    rng = np.random.default_rng(2)
    scores, clusters = rng.standard_normal((10, 12)), np.repeat(np.arange(4), 3)
    preference, judges = rng.standard_normal(10), np.ones(12, dtype=bool)
    found = one_for_all(preference[None], scores, judges, [10], 0.0, np.zeros(1))
    paid = scores[preference.argmax()] - scores.mean(axis=0)
    single = found.errors(np.arange(10), np.arange(12)).total.item()
    assert single == pytest.approx(paid.std(ddof=1) / np.sqrt(12))
    means = paid.reshape(4, 3).mean(axis=1)
    assert found.errors(np.arange(10), clusters).total.item() == pytest.approx(means.std(ddof=1) / 2)


def test_candidates_that_repeat_each_other_are_worth_one():
    rng = np.random.default_rng(3)
    ability, preference = rng.standard_normal((2, 400))
    copies = np.repeat(np.arange(400), 2)
    errors = []
    for quality, liking, clusters in (
        (ability, preference, np.arange(400)),
        (ability[copies], preference[copies], copies),
    ):
        scores = np.repeat(quality[:, None], 6, axis=1)
        errors.append(alone(liking, scores, [8]).errors(clusters, np.arange(6)).total.item())
    assert errors[1] == pytest.approx(errors[0], rel=0.1)


def test_mean_over_splits_and_stacks_keep_selectors_apart():
    scores = scores_of()
    first, second = (alone(PREFERENCES["all different"], scores, [3], judges) for judges in (ALL, np.arange(6) < 3))
    mean = Gains.mean(iter([first, second]))
    assert mean.gain.item() == pytest.approx((first.gain + second.gain).item() / 2)
    both = Gains.stack([first, second])
    clusters = np.arange(9), np.arange(6)
    covariance = both.covariance(3, *clusters)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), both.errors(*clusters).total[:, 0])
    assert np.linalg.eigvalsh(covariance).min() > -1e-12


@pytest.mark.parametrize(("candidates", "size"), [(48, 8), (48, 24), (200, 16)])
def test_interval_covers_whatever_the_selector_knows(candidates, size):
    rng = np.random.default_rng(candidates + size)
    best = (np.arange(20000) + 0.5) / 20000
    expected_best = np.mean(norm.ppf(best ** (1 / size)))  # of `size` standard normal values
    for rho in (0.0, 0.8):
        covered = []
        for _ in range(250):
            ability = rng.standard_normal(candidates)
            preference = rho * ability + np.sqrt(1 - rho**2) * rng.standard_normal(candidates)
            found = alone(preference, np.repeat(ability[:, None], 6, axis=1), [size])
            low, high = found.errors(np.arange(candidates), np.arange(6)).interval(found.gain)
            covered.append(low.item() <= rho * expected_best <= high.item())
        assert 0.92 <= np.mean(covered) <= 0.995, rho


def test_single_pick_has_the_tails_of_the_candidates():
    # Without noise: the share of candidates that are farther from the mean; half of the pick itself, which is as far.
    quality = np.array([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 44])
    scores = np.repeat(quality[:, None], 6, axis=1)
    found = alone(quality, scores, [10])
    errors = found.errors(np.arange(10), np.arange(6))
    assert errors.candidates.item() == pytest.approx(quality.std(ddof=1))
    assert pick_p(found.gain, errors, quality).item() == pytest.approx((1 + 0.5) / (1 + 10))


def test_single_picks_of_unlike_candidates_are_seldom_called_worse():
    rng, alarms, today = np.random.default_rng(0), 0, 0
    for _ in range(200):
        quality = -rng.exponential(size=100)
        scores = quality[:, None] + 0.5 * rng.standard_normal((100, 20))
        judges = np.ones(20, dtype=bool)
        found = one_for_all(rng.random((10, 100)), scores, judges, [100], 1.0, np.zeros(10))
        errors = found.errors(np.arange(100), np.arange(20))
        alarms += (10 * pick_p(found.gain, errors, scores.mean(axis=1))).min() <= 0.05
        today += (10 * 2 * norm.sf(np.abs(found.gain) / errors.total)).min() <= 0.05
    assert alarms / 200 <= 0.08 < today / 200


@pytest.mark.parametrize("size", [4, 16, 24, 48])
def test_chance_is_called_a_gain_as_often_as_declared(size):
    rng, p = np.random.default_rng(size), []
    for _ in range(400):
        scores = rng.standard_normal((48, 1)) + 4 * rng.standard_normal((48, 30))
        found = one_for_all(rng.random((1, 48)), scores, np.ones(30, dtype=bool), [size], 0.65, np.zeros(1))
        p.append(found.errors_of_chance(np.arange(48), np.arange(30)).p(found.gain).item())
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.085
