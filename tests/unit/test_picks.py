import numpy as np
import pytest

from iclscope.selection.picks import ByChance, Half, OneForAll, OnePerItem, Tally, with_study
from iclscope.statistics.resampling import Weights

SCORES = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])


def half_of(judges, candidates=((1, 1, 1),), items=((1, 1, 1, 1),)):
    weights = Weights(np.array(candidates, dtype=float), np.array(items, dtype=float))
    return Half.of(SCORES, np.array(judges), weights)


ALL = [True] * 4


def share(picks, half):
    """Each candidate's part of the picks in every draw."""
    total = np.zeros(half.weights.candidates.shape, dtype=np.float32)
    picks.add_share(total, half.weights.candidates)
    return total.tolist()


def per_item(preference, judges, candidates=((1, 1, 1),), items=((1, 1, 1, 1),)):
    """The tally of picks per item over a single split, and what they score."""
    weights = Weights(np.array(candidates, dtype=float), np.array(items, dtype=float))
    random = half_of(judges, candidates, items).random
    tally = OnePerItem.of(preference, weights).tally(SCORES, np.array([judges]), weights, [random])
    return tally, (tally.value + random.value).tolist()


def test_one_for_all_scores_the_mean_of_its_candidate():
    picks = OneForAll(np.array([0.0, 2.0, 1.0]))
    assert picks.judge(half_of(ALL)).value.tolist() == [0.75]
    assert share(picks, half_of(ALL)) == [[0, 1, 0]]


def test_only_the_judging_items_count():
    outcome = OneForAll(np.array([2.0, 0.0, 1.0])).judge(half_of([False, True, True, False]))
    assert outcome.value.tolist() == [0.5]


def test_equals_share_the_pick():
    picks = OneForAll(np.array([1.0, 1.0, 0.0]))
    assert share(picks, half_of(ALL)) == [[0.5, 0.5, 0]]
    assert picks.judge(half_of(ALL)).value.tolist() == [0.625]


def test_draw_without_the_best_candidate_takes_the_next():
    half = half_of(ALL, candidates=[(1, 1, 1), (2, 0, 1)], items=[(1, 1, 1, 1), (0, 0, 0, 4)])
    picks = OneForAll(np.array([0.0, 2.0, 1.0]))
    assert share(picks, half) == [[0, 1, 0], [0, 0, 1]]
    assert picks.judge(half).value.tolist() == [0.75, 1.0]
    assert picks.judge(half).still.tolist() == [0.75, 0.25]


def test_candidates_drawn_twice_count_twice_among_equals():
    half = half_of(ALL, candidates=[(2, 1, 0)])
    np.testing.assert_allclose(share(OneForAll(np.zeros(3)), half), [[2 / 3, 1 / 3, 0]], rtol=1e-6)


def test_chances_weigh_candidates():
    half = half_of(ALL, candidates=[(1, 1, 1), (2, 0, 1)])
    picks = ByChance(np.array([0.5, 0.25, 0.25]))
    np.testing.assert_allclose(share(picks, half), [[0.5, 0.25, 0.25], [0.8, 0, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(picks.judge(half).still, [0.5 * 0.5 + 0.25 * 0.75 + 0.25 * 0.25, 0.8 * 0.5 + 0.2 * 0.25])


def test_equal_chances_are_equal_preferences():
    half = Half.of(SCORES, np.array(ALL), with_study(Weights.draw(3, np.arange(4), 30, np.random.default_rng(0))))
    for name in ("value", "still"):
        np.testing.assert_allclose(
            getattr(ByChance(np.ones(3)).judge(half), name), getattr(OneForAll(np.zeros(3)).judge(half), name)
        )


@pytest.mark.parametrize(
    ("preference", "size", "expected"),
    [
        ([3.0, 2, 1, 0], 2, [0.5, 0.5, 0, 0]),
        ([3.0, 1, 1, 1], 2, [0.5, 1 / 6, 1 / 6, 1 / 6]),
        ([3.0, -np.inf, 1, -np.inf], 3, [0.5, 0, 0.5, 0]),
        ([0.0, 0, 0, 0], 3, [0.25] * 4),
    ],
)
def test_top_candidates_share_the_last_place_among_equals(preference, size, expected):
    np.testing.assert_allclose(OneForAll(np.array(preference)).top_share(size), expected)


def test_one_per_item_picks_for_each_item_of_the_half():
    preference = np.array([[3.0, 0, 0, 0], [0, 3, 0, 3], [0, 0, 3, 0]])
    assert per_item(preference, ALL)[1] == [0.75]
    tally, value = per_item(preference, [False, True, True, False])
    assert value == [0.5]
    assert tally.share.tolist() == [[0, 0.5, 0.5]]


def test_one_per_item_takes_the_next_best_of_a_draw():
    preference = np.array([[3.0, 2, 2, 2], [2, 3, 3, 1], [1, 1, 1, 3]])
    drawn = {"candidates": [(1, 1, 1), (3, 0, 0)], "items": [(1, 1, 1, 1), (2, 2, 0, 0)]}
    assert OnePerItem.of(preference, half_of(ALL, **drawn).weights).picks.tolist() == [[0, 1, 1, 2], [0, 0, 0, 0]]
    assert per_item(preference, ALL, **drawn)[1] == [1.0, 1.0]


def test_static_preference_given_per_item_scores_the_same():
    weights = with_study(Weights.draw(3, np.arange(4), 30, np.random.default_rng(0)))
    judging = np.array([[True, False, True, True], [False, True, True, False]])
    halves = [Half.of(SCORES, judges, weights) for judges in judging]
    preference, one = np.array([0.3, 0.1, 0.2]), Tally()
    for half in halves:
        one.add(OneForAll(preference), half)
    picks = OnePerItem.of(np.repeat(preference[:, None], 4, axis=1), weights)
    many = picks.tally(SCORES, judging, weights, [half.random for half in halves])
    for name in ("splits", "share", "value", "known", "still"):
        np.testing.assert_allclose(getattr(one, name), getattr(many, name), atol=1e-6)
    assert one.gain == pytest.approx(many.gain)
    assert one.top == pytest.approx(many.top)


def test_study_comes_before_its_draws():
    weights = with_study(Weights.draw(3, np.arange(4), 5, np.random.default_rng(0)))
    assert weights.candidates.shape == (6, 3)
    assert weights.candidates[0].tolist() == [1, 1, 1]
    assert weights.items[0].tolist() == [1, 1, 1, 1]


def test_draw_without_judging_items_is_not_counted():
    half = half_of(
        [True, True, False, False],
        candidates=[(1, 1, 1), (1, 1, 1), (1, 1, 1)],
        items=[(1, 1, 1, 1), (0, 0, 2, 2), (4, 0, 0, 0)],
    )
    tally = Tally()
    tally.add(OneForAll(np.array([2.0, 1.0, 0.0])), half)
    assert tally.known.tolist() == [1, 0, 1]
    assert tally.gain == pytest.approx(1 - 0.5)


def test_random_picks_have_no_error():
    half = Half.of(SCORES, np.array(ALL), with_study(Weights.draw(3, np.arange(4), 50, np.random.default_rng(0))))
    tally = Tally()
    tally.add(ByChance(np.ones(3)), half)
    assert tally.gain == 0
    assert tally.errors(half.weights, 1.0, 0.0, False) is None


def test_error_of_one_fixed_pick_is_the_spread_of_candidates():
    # Without noise and with an uninformative preference, another pool would offer just another candidate.
    errors, spreads = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        scores = np.repeat(rng.standard_normal((60, 1)), 8, axis=1)
        weights = with_study(Weights.draw(60, np.arange(8), 200, rng))
        half, tally = Half.of(scores, np.ones(8, dtype=bool), weights), Tally()
        tally.add(OneForAll(rng.random(60)), half)
        spreads.append(scores[:, 0].var(ddof=1))
        errors.append(np.hypot(*tally.errors(weights, spreads[-1], 0.0, True)))
    assert 0.95 < np.sqrt(np.mean(np.square(errors)) / np.mean(spreads)) < 1.35
