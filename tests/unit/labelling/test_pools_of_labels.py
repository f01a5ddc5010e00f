"""Pools of labelled candidates against enumeration, a nearest-neighbour classifier, and sets with planted answers."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from iclscope.labelling.pools import Rule, powers
from iclscope.labelling.probing import predict, scaled
from iclscope.labelling.rankings import STRATEGIES
from iclscope.statistics.gains.budgets import estimated
from iclscope.statistics.ranks import unit

C, N = 9, 5


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def half():
    return np.arange(N) < 2


@pytest.mark.parametrize("name", ["any", "nearest", "search"])
@pytest.mark.parametrize("budget", [1, 2, 4, 9])
def test_random_pools_are_the_mean_over_all_of_them(rng, name, budget):
    scores = rng.standard_normal((C, N))
    likeness = None if name == "any" else rng.standard_normal((C, N))
    rule = Rule.search(scores, [half()]) if name == "search" else Rule(name, likeness, np.arange(N))
    every = [rule.of(scores, np.array(pool)) for pool in combinations(range(C), budget)]
    np.testing.assert_allclose(rule.at_random(scores, [budget])[0], np.mean(every, axis=0))


def test_search_takes_the_best_of_the_pool_on_the_half_that_does_not_judge(rng):
    scores, members = rng.standard_normal((C, N)), np.array([1, 4, 6])
    rule, ours = Rule.search(scores, [half()]), half()
    found = rule.of(scores, members)
    by_first, by_second = (members[scores[members][:, side].mean(axis=1).argmax()] for side in (ours, ~ours))
    np.testing.assert_allclose(found, np.where(ours, scores[by_second], scores[by_first]))


def test_where_a_score_is_the_same_label_the_nearest_is_a_nearest_neighbour_classifier(rng):
    candidates, items = unit(rng.standard_normal((40, 6))), unit(rng.standard_normal((30, 6)))
    ours, theirs = rng.integers(0, 3, 40), rng.integers(0, 3, 30)
    same = (ours[:, None] == theirs).astype(float)
    rule = Rule("nearest", candidates @ items.T, np.arange(30))
    drawn = []
    for _ in range(400):
        members = rng.choice(40, 8, replace=False)
        classifier = KNeighborsClassifier(1).fit(candidates[members], ours[members])
        right = classifier.predict(items) == theirs
        np.testing.assert_array_equal(rule.of(same, members), right)
        drawn.append(right.mean())
    expected = rule.at_random(same, [8])[0].mean()
    assert abs(np.mean(drawn) - expected) < 3 * np.std(drawn) / np.sqrt(len(drawn))


def test_a_rule_among_some_candidates_knows_no_others(rng):
    scores, likeness, rows = rng.standard_normal((C, N)), rng.standard_normal((C, N)), np.array([0, 3, 5, 8])
    whole, part = Rule("nearest", likeness, np.arange(N)), Rule("nearest", likeness[rows], np.arange(N))
    np.testing.assert_array_equal(whole.among(rows).at_random(scores[rows], [2]), part.at_random(scores[rows], [2]))


@pytest.mark.parametrize(("most", "budgets"), [(1, [1]), (2, [1, 2]), (12, [1, 2, 4, 8]), (0, [1])])
def test_budgets_double(most, budgets):
    assert powers(most) == budgets


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_label_as_many_as_the_budget_without_a_score(rng, name):
    vectors, unsure = unit(rng.standard_normal((24, 5))), rng.random(24)
    sets = STRATEGIES[name](vectors, unsure, [1, 2, 4, 6], 3)
    for budget, members in sets.items():
        assert len(set(members.tolist())) == len(members) == budget
    again = STRATEGIES[name](vectors, unsure, [1, 2, 4, 6], 3)
    assert all((sets[budget] == again[budget]).all() for budget in sets)


def test_facility_takes_the_candidate_that_stands_for_most_then_the_one_that_is_left_out():
    vectors = unit(np.array([[1, 0], [1, 0.1], [1, -0.1], [1, 0.3], [0, 1.0]]))
    sets = STRATEGIES["facility"](vectors, None, [1, 2], 0)
    best = max(range(5), key=lambda s: (vectors @ vectors[s]).sum())
    assert sets[1].tolist() == [best]
    pairs = max(range(5), key=lambda s: np.maximum(vectors @ vectors[best], vectors @ vectors[s]).sum())
    assert sets[2].tolist() == [best, pairs]


def test_the_unsure_ones_come_first_and_are_undefined_without_choices(rng):
    vectors, unsure = unit(rng.standard_normal((24, 5))), rng.random(24)
    assert STRATEGIES["uncertain"](vectors, unsure, [3], 0)[3].tolist() == np.argsort(-unsure)[:3].tolist()
    hard = set(np.argsort(-unsure)[:12].tolist())
    assert set(STRATEGIES["adaicl"](vectors, unsure, [4], 0)[4].tolist()) <= hard
    assert STRATEGIES["uncertain"](vectors, None, [3], 0) is STRATEGIES["adaicl"](vectors, None, [3], 0) is None


def test_a_probe_is_a_logistic_regression_on_all_axes(rng):
    points, labels, items = rng.standard_normal((12, 40)), np.arange(12) % 3, rng.standard_normal((50, 40))
    whole = LogisticRegression(C=1.0, max_iter=1000).fit(points, labels)
    np.testing.assert_array_equal(predict(points, labels, items), whole.predict(items))
    assert set(predict(points[:1], labels[:1], items)) == {labels[0]}


def test_a_probe_sees_candidates_at_one_scale(rng):
    candidates, items = rng.standard_normal((20, 6)) * [1, 100, 1, 0, 5, 1], rng.standard_normal((9, 6))
    ours, theirs = scaled(candidates, items)
    assert (ours**2).sum(axis=1).mean() == pytest.approx(25)
    np.testing.assert_allclose(ours.std(axis=0), np.sqrt(5) * np.array([1, 1, 1, 0, 1, 1]))
    np.testing.assert_allclose(theirs[:, 0], (items[:, 0] - candidates[:, 0].mean()) / candidates[:, 0].std() * 5**0.5)


def test_intervals_hold_for_other_candidates_and_other_items():
    """Planted: the mean of candidate effects, item effects and noise; the interval covers it in 95 of 100 studies."""
    covered = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scores = rng.standard_normal((32, 1)) + rng.standard_normal(24) + rng.standard_normal((32, 24))
        rule, everyone = Rule("any", None, np.arange(24)), np.arange(32)
        halves = [rng.choice(everyone, 16, replace=False) for _ in range(40)]
        means = np.array([rule.among(part).at_random(scores[part], [1]).mean() for part in halves])
        found = estimated(rule.at_random(scores, [1])[0], means, np.arange(24), 32)
        covered.append(found.low <= 0 <= found.high)
    assert 0.91 < np.mean(covered) < 0.99


def test_without_any_difference_there_is_no_interval():
    found = estimated(np.full(6, 0.5), np.full(4, 0.5), np.arange(6), 10)
    assert found == (0.5, None, None, None, None)
