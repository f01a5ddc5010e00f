import numpy as np
import pytest

from iclscope.selection import diversity
from iclscope.selection.diversity import k_centre, k_means, typiclust, vote_k

SIZES = (20, 12, 6)


@pytest.fixture
def groups():
    """Three tight groups of directions, the largest first; of each group the first one lies at its centre."""
    rng = np.random.default_rng(0)
    parts = []
    for axis, size in enumerate(SIZES):
        part = np.eye(3)[axis] + 0.05 * rng.standard_normal((size, 3))
        part[0] = part[1:].mean(axis=0)
        parts.append(part)
    vectors = np.concatenate(parts)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def order(preference):
    """Ids that are preferred to the rest, best first."""
    chosen = np.flatnonzero(preference > preference.min())
    return chosen[np.argsort(-preference[chosen])].tolist()


def test_farthest_first_from_the_middle(groups):
    chosen = order(k_centre(groups))
    assert len(chosen) == diversity.FIRST
    assert chosen[0] == np.argmin(np.linalg.norm(groups - groups.mean(axis=0), axis=1))
    for place in range(1, len(chosen)):
        distance = np.linalg.norm(groups[:, None] - groups[chosen[:place]], axis=2).min(axis=1)
        assert distance[chosen[place]] == pytest.approx(distance.max())


def test_the_centre_of_each_group_comes_first_that_of_the_largest_before_all(groups, monkeypatch):
    monkeypatch.setattr(diversity, "FIRST", 3)
    assert order(k_means(groups, seed=0)) == [0, 20, 32]


def test_the_densest_place_of_each_group_comes_first(groups, monkeypatch):
    monkeypatch.setattr(diversity, "FIRST", 3)
    distance = np.linalg.norm(groups[:, None] - groups, axis=2)
    nearest = np.sort(distance, axis=1)[:, 1:6].mean(axis=1)  # the five nearest are of the same group
    starts = np.cumsum([0, *SIZES])
    expected = [start + np.argmin(nearest[start : start + size]) for start, size in zip(starts, SIZES, strict=False)]
    assert order(typiclust(groups, seed=0)) == expected


def test_clusters_do_not_depend_on_the_order_of_candidates(groups, monkeypatch):
    monkeypatch.setattr(diversity, "FIRST", 3)
    shuffled = np.random.default_rng(1).permutation(len(groups))
    assert [shuffled[c] for c in order(k_means(groups[shuffled], seed=0))] == order(k_means(groups, seed=0))


def test_votes_are_counted_and_discounted(groups):
    neighbours = round(0.05 * len(groups))
    distance = np.linalg.norm(groups[:, None] - groups, axis=2) + 9 * np.eye(len(groups))
    ballots = [set(np.argsort(row)[:neighbours]) for row in distance]
    chosen = order(vote_k(groups))
    for place, pick in enumerate(chosen):
        before = set(chosen[:place])
        score = [sum(10.0 ** -len(b & before) for b in ballots if c in b) for c in range(len(groups))]
        assert score[pick] == pytest.approx(max(s for c, s in enumerate(score) if c not in before))


def test_no_group_is_left_out_by_votes(groups):
    starts = np.cumsum([0, *SIZES])
    found = {int(np.searchsorted(starts, c, side="right")) for c in order(vote_k(groups))}
    assert found == {1, 2, 3}


@pytest.mark.parametrize("select", [k_centre, vote_k, lambda v: k_means(v, 0), lambda v: typiclust(v, 0)])
def test_few_candidates_are_ranked_as_far_as_they_go(select):
    preference = select(np.eye(4))
    assert len(order(preference)) == 3
    assert sorted(set(preference)) == [-10.0, -2.0, -1.0, 0.0]
