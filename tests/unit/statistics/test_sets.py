"""The gain of a set over random sets against a bootstrap of sets x items, and its interval against a planted truth."""

import numpy as np
import pytest

from iclscope.statistics.gains.sets import crossed_of, worth_of


def draw(rng, sets, items, ours=1, per_cluster=1):
    """Scores with sets, items, clusters and noise; ours differ from the others by chance alone where there are many."""
    easy = np.repeat(rng.normal(size=items // per_cluster), per_cluster) + rng.normal(scale=0.3, size=items)
    liking = np.repeat(rng.normal(scale=0.5, size=(ours, items // per_cluster)), per_cluster, axis=1)
    mine = easy + liking + rng.normal(scale=0.4, size=(ours, 1)) * (ours > 1) + rng.normal(size=(ours, items))
    return mine, easy + rng.normal(scale=0.4, size=(sets, 1)) + rng.normal(size=(sets, items))


def test_error_is_that_of_a_bootstrap_of_sets_and_items():
    rng = np.random.default_rng(1)
    ours, others = draw(rng, 16, 60, per_cluster=2)
    clusters = np.repeat(np.arange(30), 2)
    found = worth_of(ours, others, clusters)
    gains = []
    for _ in range(3000):
        taken = rng.integers(0, 30, 30)
        items = np.concatenate([np.flatnonzero(clusters == one) for one in taken])
        gains.append(ours[:, items].mean() - others[rng.integers(0, 16, 16)][:, items].mean())
    assert found.gain == pytest.approx(ours.mean() - others.mean())
    assert (found.high - found.low) / 2 / 2.03 == pytest.approx(np.std(gains), rel=0.15)


@pytest.mark.parametrize(("sets", "items", "ours", "per_cluster"), [(6, 24, 1, 1), (16, 40, 1, 1), (8, 48, 4, 4)])
def test_intervals_cover_the_truth(sets, items, ours, per_cluster):
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(items // per_cluster), per_cluster)
    covered = [
        found.low <= 0 <= found.high
        for found in (worth_of(*draw(rng, sets, items, ours, per_cluster), clusters) for _ in range(600))
    ]
    assert 0.93 <= np.mean(covered) <= 0.995


def test_chances_weight_the_others():
    others = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    found = worth_of(np.array([[1.0, 2.0]]), others, np.arange(2), np.array([2.0, 1.0, 1.0]))
    assert found.gain == pytest.approx(1.5 - 0.5)


def test_nothing_varies():
    assert worth_of(np.ones((1, 4)), np.zeros((3, 4)), np.arange(4)) == (1.0, None, None, None)


def crossed_study(rng, quality, candidates=24, items=24, per_cluster=1):
    """Scores in which some items like what others do not, and the best candidate of each half, judged on the other.

    Returns scores [C, N], clusters [N], our scores [1, N], and what ours are worth on average of all items.
    """
    clusters = np.repeat(np.arange(items // per_cluster), per_cluster)
    true = rng.normal(scale=quality, size=candidates)
    liking = rng.normal(size=(candidates, 1)) * rng.normal(size=items // per_cluster)[clusters]
    scores = true[:, None] + rng.normal(size=items) + liking + rng.normal(size=(candidates, items))
    half = np.isin(clusters, rng.permutation(items // per_cluster)[: items // per_cluster // 2])
    first, second = (int(scores[:, side].mean(axis=1).argmax()) for side in (half, ~half))
    return scores, clusters, np.where(half, scores[second], scores[first])[None], (true[first] + true[second]) / 2


def best(scores):
    return [int(scores.mean(axis=1).argmax())]


@pytest.mark.parametrize(("quality", "per_cluster"), [(0.0, 1), (0.3, 2)])
def test_intervals_cover_what_halves_chose_for_each_other(quality, per_cluster):
    """Without the correlation of the halves' errors the intervals are too short: they would not pass."""
    rng = np.random.default_rng(5)
    covered, naive = [], []
    for _ in range(400):
        scores, clusters, ours, truth = crossed_study(rng, quality, items=24 * per_cluster, per_cluster=per_cluster)
        crossed = crossed_of(scores, best, clusters, scores.shape[1], rng)
        for found, rho in ((covered, crossed), (naive, 0.0)):
            worth = worth_of(ours, scores, clusters, crossed=rho)
            found.append((worth.low <= truth <= worth.high, worth.low > truth))
    share, above = np.mean(covered, axis=0)
    assert share >= 0.94
    assert above <= 0.04
    assert np.mean(naive, axis=0)[0] < 0.94


def test_the_correlation_is_that_of_new_items():
    """Against studies that are really drawn anew: of each, the errors of both halves."""
    rng = np.random.default_rng(6)
    errors, guesses = [], []
    true, liking = rng.normal(scale=0.2, size=24), rng.normal(size=24)
    for number in range(1200):
        items = rng.normal(size=24)
        scores = true[:, None] + liking[:, None] * items + rng.normal(size=(24, 24))
        first, second = (best(part)[0] for part in (scores[:, :12], scores[:, 12:]))
        errors.append((scores[first, 12:].mean() - true[first], scores[second, :12].mean() - true[second]))
        if number % 20 == 0:
            guesses.append(crossed_of(scores, best, np.arange(24), 24, rng))
    products = np.prod(errors, axis=1).mean() / np.square(errors).mean()
    assert products > 0.3
    assert np.mean(guesses) == pytest.approx(products, abs=0.12)


def test_halves_do_not_err_together_where_the_choice_is_no_matter_of_luck():
    rng = np.random.default_rng(7)
    scores = rng.normal(size=(12, 40)) + np.where(np.arange(12) == 3, 20.0, 0.0)[:, None]
    assert crossed_of(scores, best, np.arange(40), 40, rng) < 0.25
    assert crossed_of(np.tile(rng.normal(size=(12, 1)), 40), best, np.arange(40), 40, rng) == 0
