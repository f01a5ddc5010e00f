"""Agreement against enumeration of splits, and its intervals against planted truths."""

from itertools import combinations

import numpy as np
import pytest

from iclscope.statistics.gains.agreement import TrueVariance, agreement_of, gain_elsewhere
from truth import cronbach_alpha

CANDIDATES, ITEMS = 60, 24


def study(rng, rho=0.5, alpha=0.8, shared=0.5, candidates=CANDIDATES, items=ITEMS):
    """Scores by two models whose true qualities correlate as `rho` and whose noise is `shared` in part."""
    first, other = rng.standard_normal((2, candidates))
    ability = np.stack([first, rho * first + np.sqrt(1 - rho**2) * other])
    noise = np.sqrt(1 - shared) * rng.standard_normal((2, candidates, items))
    noise += np.sqrt(shared) * rng.standard_normal((candidates, items))
    return ability[:, :, None] + rng.standard_normal(items) + np.sqrt(items * (1 - alpha) / alpha) * noise


def judged(first, second):
    return agreement_of(first, second, np.arange(len(first)), np.arange(first.shape[1]))


def test_products_are_those_of_all_splits_into_halves():
    first, second = study(np.random.default_rng(0), items=6)
    cross, own = [], []
    for half in map(list, combinations(range(6), 3)):
        other = [item for item in range(6) if item not in half]
        parts = [[scores[:, side].mean(axis=1) for side in (half, other)] for scores in (first, second)]
        cross.append(np.cov(parts[0][0], parts[1][1])[0, 1])
        own.append([np.cov(*part)[0, 1] for part in parts])
    expected = np.mean(cross) / np.sqrt(np.prod(np.mean(own, axis=0)))
    assert judged(first, second).rho == pytest.approx(expected)


def test_scores_agree_with_themselves_and_disagree_with_their_negative_down_to_the_ceiling():
    first, _ = study(np.random.default_rng(1))
    alpha = cronbach_alpha(first)
    found = judged(first, -first)
    assert found.rho == pytest.approx(-1)
    assert found.ceiling == pytest.approx(alpha / (2 - alpha))  # Spearman-Brown for half of the items
    assert found.halves == pytest.approx(-found.ceiling)
    assert judged(first, first).rho == pytest.approx(1)


def test_order_of_the_two_does_not_matter():
    first, second = study(np.random.default_rng(2))
    there, back = judged(first, second), judged(second, first)
    for name in ("rho", "low", "high", "halves", "ceiling"):
        assert getattr(there, name) == pytest.approx(getattr(back, name))


def test_scores_that_are_noise_have_no_agreement():
    rng = np.random.default_rng(3)
    first, _ = study(rng)
    found = judged(first, rng.standard_normal(first.shape))
    assert found.rho is None
    assert "second" in found.reason


def test_copies_of_candidates_and_items_add_nothing():
    first, second = study(np.random.default_rng(4), items=40)
    alone = judged(first, second)
    candidates, items = np.repeat(np.arange(CANDIDATES), 2), np.repeat(np.arange(40), 2)
    twice = agreement_of(first[candidates][:, items], second[candidates][:, items], candidates, items)
    assert twice.rho == pytest.approx(alone.rho)
    assert twice.standard_error == pytest.approx(alone.standard_error, rel=0.02)


def test_reliability_is_cronbachs_alpha_and_like_items_of_a_passage_do_not_raise_it():
    first, _ = study(np.random.default_rng(6))
    variance = TrueVariance.of(first, np.arange(CANDIDATES), np.arange(ITEMS))
    assert variance.reliability == pytest.approx(cronbach_alpha(first))
    assert variance.quality + variance.noise == pytest.approx(first.mean(axis=1).var(ddof=1))
    copies = np.repeat(np.arange(ITEMS), 3)
    repeated = TrueVariance.of(first[:, copies], np.arange(CANDIDATES), copies)
    assert repeated.reliability == pytest.approx(variance.reliability)
    assert cronbach_alpha(first[:, copies]) > variance.reliability + 0.05


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_interval_covers_whatever_noise_is_shared(rho, shared):
    covered, found = [], []
    for seed in range(250):
        result = judged(*study(np.random.default_rng(seed), rho, 0.8, shared))
        found.append(result.rho)
        covered.append(result.low <= rho <= result.high)
    assert np.mean(found) == pytest.approx(rho, abs=0.03)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_choice_by_a_target_that_is_opposed_loses_on_the_other():
    rng = np.random.default_rng(5)
    first, second = study(rng, rho=-0.7, candidates=200)
    judging = np.stack([rng.permutation(ITEMS) < ITEMS // 2 for _ in range(10)])
    found = gain_elsewhere(first, second, judging, [16], 0.8)
    low, high = found.errors(np.arange(200), np.arange(ITEMS)).interval(found.gain)
    # Of 16 normal candidates the best is expected at 1.77; the half that chooses has reliability 2/3.
    assert low.item() < -0.7 * 1.766 * np.sqrt(2 / 3) < high.item() < 0
