"""Sequential halving: how many pairs it needs, that it needs no others, and that it finds the best with few."""

import math
from itertools import pairwise

import numpy as np
import pytest

from iclscope.selection.costs import Tokens
from iclscope.selection.halving import ranked, rounds


@pytest.mark.parametrize(("candidates", "first"), [(2, 1), (8, 2), (64, 4), (1024, 1)])
def test_pairs_are_candidates_times_first_items_in_each_round(candidates, first):
    found = list(rounds(candidates, first, 10**6))
    assert [left * new for left, new in found] == [candidates * first] * int(math.log2(candidates))
    prompts = np.full(2 * 10**5, 10)
    tokens = Tokens(np.full(9, 30), prompts, 1, candidates, np.zeros(9, int))
    assert tokens.halving(first) == candidates * 30 + candidates * first * math.log2(candidates) * 10


@pytest.mark.parametrize(("candidates", "items"), [(48, 24), (13, 7), (5, 100), (1, 10)])
def test_rounds_end_with_one_candidate_or_with_the_items(candidates, items):
    found = list(rounds(candidates, 2, items))
    assert sum(new for _, new in found) <= items
    for (left, new), (fewer, more) in pairwise(found):
        assert fewer == math.ceil(left / 2)
        assert more == 2 * new or sum(number for _, number in found) == items
    assert not found or found[-1][0] <= 2 or sum(new for _, new in found) == items


def test_nothing_beyond_these_pairs_is_looked_at():
    scores = np.random.default_rng(1).normal(size=(20, 40))
    wanted = ranked(scores, 3, np.random.default_rng(2))
    order, used = np.argsort(-wanted), 0
    hidden = scores.copy()
    for left, new in rounds(20, 3, 40):
        hidden[order[left:], used:] = np.nan
        used += new
    shown = (~np.isnan(hidden)).sum()
    assert shown == sum(left * new for left, new in rounds(20, 3, 40)) + left * (40 - used)
    np.testing.assert_array_equal(ranked(hidden, 3, np.random.default_rng(2)), wanted)


def test_without_noise_the_order_of_those_left_is_the_true_one():
    quality = np.random.default_rng(3).permutation(np.arange(16.0))
    preference = ranked(quality[:, None] + np.zeros((16, 64)), 1, np.random.default_rng(1))
    assert np.argsort(-preference).tolist() == np.argsort(-quality).tolist()


def test_equals_have_the_same_chance():
    best = [int(ranked(np.zeros((6, 12)), 2, np.random.default_rng(seed)).argmax()) for seed in range(600)]
    assert np.bincount(best, minlength=6).min() > 70


def test_it_finds_better_candidates_than_a_plain_search_with_as_many_pairs():
    """256 candidates with a reliability of 0.66 over 128 items: 4,096 pairs either way."""
    halved, plain = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        quality = rng.normal(size=256)
        scores = quality[:, None] + rng.normal(scale=8, size=(256, 600))
        halved.append(quality[ranked(scores, 2, rng).argmax()])
        plain.append(quality[scores[:, :16].mean(axis=1).argmax()])
    assert sum(left * new for left, new in rounds(256, 2, 600)) == 4096 == 256 * 16
    assert np.mean(halved) > np.mean(plain) + 0.2
