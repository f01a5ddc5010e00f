import numpy as np
import pytest

from iclscope.picks import Half, OneForAll, OnePerItem, Tally, pick, with_study
from iclscope.resampling import Weights

SCORES = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])


def half_of(judges, candidates=((1, 1, 1),), items=((1, 1, 1, 1),)):
    weights = Weights(np.array(candidates, dtype=float), np.array(items, dtype=float))
    return Half.of(SCORES, np.array(judges), weights)


ALL = [True] * 4


def test_one_for_all_scores_the_mean_of_its_candidate():
    outcome = OneForAll(np.array([0.0, 2.0, 1.0])).judge(half_of(ALL))
    assert outcome.value.tolist() == [0.75]
    assert outcome.share.tolist() == [[0, 1, 0]]


def test_only_the_judging_items_count():
    outcome = OneForAll(np.array([2.0, 0.0, 1.0])).judge(half_of([False, True, True, False]))
    assert outcome.value.tolist() == [0.5]


def test_equals_share_the_pick():
    outcome = OneForAll(np.array([1.0, 1.0, 0.0])).judge(half_of(ALL))
    assert outcome.share.tolist() == [[0.5, 0.5, 0]]
    assert outcome.value.tolist() == [0.625]


def test_draw_without_the_best_candidate_takes_the_next():
    half = half_of(ALL, candidates=[(1, 1, 1), (2, 0, 1)], items=[(1, 1, 1, 1), (0, 0, 0, 4)])
    outcome = OneForAll(np.array([0.0, 2.0, 1.0])).judge(half)
    assert outcome.share.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert outcome.value.tolist() == [0.75, 1.0]
    assert outcome.still.tolist() == [0.75, 0.25]


def test_candidates_drawn_twice_count_twice_among_equals():
    half = half_of(ALL, candidates=[(2, 1, 0)])
    np.testing.assert_allclose(OneForAll(np.zeros(3)).judge(half).share, [[2 / 3, 1 / 3, 0]])


def test_one_per_item_picks_for_each_item_of_the_half():
    preference = np.array([[3.0, 0, 0, 0], [0, 3, 0, 3], [0, 0, 3, 0]])
    weights = Weights(np.ones((1, 3)), np.ones((1, 4)))
    chosen = pick(preference, weights)
    assert isinstance(chosen, OnePerItem)
    assert chosen.judge(half_of(ALL)).value.tolist() == [0.75]
    outcome = chosen.judge(half_of([False, True, True, False]))
    assert outcome.value.tolist() == [0.5]
    assert outcome.share.tolist() == [[0, 0.5, 0.5]]


def test_one_per_item_takes_the_next_best_of_a_draw():
    preference = np.array([[3.0, 2, 2, 2], [2, 3, 3, 1], [1, 1, 1, 3]])
    half = half_of(ALL, candidates=[(1, 1, 1), (3, 0, 0)], items=[(1, 1, 1, 1), (2, 2, 0, 0)])
    chosen = OnePerItem.of(preference, half.weights)
    assert chosen.picks.tolist() == [[0, 1, 1, 2], [0, 0, 0, 0]]
    assert chosen.judge(half).value.tolist() == [1.0, 1.0]


def test_static_preference_given_per_item_scores_the_same():
    rng = np.random.default_rng(0)
    weights = with_study(Weights.draw(3, np.arange(4), 30, rng))
    half = Half.of(SCORES, np.array([True, False, True, True]), weights)
    preference = np.array([0.3, 0.1, 0.2])
    one, many = OneForAll(preference), OnePerItem.of(np.repeat(preference[:, None], 4, axis=1), weights)
    for name in ("share", "value", "still"):
        np.testing.assert_allclose(getattr(one.judge(half), name), getattr(many.judge(half), name))


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
    tally.add(OneForAll(np.array([2.0, 1.0, 0.0])).judge(half) - half.random)
    assert tally.known.tolist() == [1, 0, 1]
    assert tally.gain == pytest.approx(1 - 0.5)


def test_random_picks_have_no_error():
    half = Half.of(SCORES, np.array(ALL), with_study(Weights.draw(3, np.arange(4), 50, np.random.default_rng(0))))
    tally = Tally()
    tally.add(OneForAll(np.zeros(3)).judge(half) - half.random)
    assert tally.gain == 0
    assert tally.standard_error(1.0, 0.0) is None


def test_error_of_one_fixed_pick_is_the_spread_of_candidates():
    # Without noise and with an uninformative preference, another pool would offer just another candidate.
    errors, spreads = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        scores = np.repeat(rng.standard_normal((60, 1)), 8, axis=1)
        weights = with_study(Weights.draw(60, np.arange(8), 200, rng))
        half, tally = Half.of(scores, np.ones(8, dtype=bool), weights), Tally()
        tally.add(OneForAll(rng.random(60)).judge(half) - half.random)
        spreads.append(scores[:, 0].var(ddof=1))
        errors.append(tally.standard_error(spreads[-1], 0.0))
    assert 0.95 < np.sqrt(np.mean(np.square(errors)) / np.mean(spreads)) < 1.35
