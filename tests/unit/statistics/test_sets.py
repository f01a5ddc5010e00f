"""The gain of a set over random sets against a bootstrap of sets x items, and its interval against a planted truth."""

import numpy as np
import pytest

from iclscope.statistics.gains.sets import worth_of


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
