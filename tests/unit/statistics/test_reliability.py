from itertools import combinations

import numpy as np
import pytest

from iclscope.statistics.reliability import items_needed, reliability_of, spearman_brown, split_half
from truth import cronbach_alpha


def planted(rng, candidates, items, alpha):
    """Scores with reliability `alpha`: ability plus item difficulty plus independent noise."""
    noise = np.sqrt(items * (1 - alpha) / alpha)
    return (
        rng.standard_normal((candidates, 1))
        + 5 * rng.standard_normal(items)
        + noise * rng.standard_normal((candidates, items))
    )


def test_alpha_of_a_hand_worked_example():
    # Item variances 1 and 1, sums 3, 6, 6 with variance 3: 2/1 * (1 - 2/3).
    assert cronbach_alpha(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 3.0]])) == pytest.approx(2 / 3)


def test_alpha_is_kr20_for_right_and_wrong_answers():
    scores = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1], [1, 0, 0, 0]], dtype=float)
    right = scores.mean(axis=0)
    kr20 = 4 / 3 * (1 - (right * (1 - right)).sum() / scores.sum(axis=1).var())
    assert cronbach_alpha(scores) == pytest.approx(kr20)


def test_alpha_is_the_mean_of_all_split_halves():
    # Cronbach (1951): over all halves, the mean of 2 (1 - (Var a + Var b) / Var(a + b)) is alpha.
    scores = np.random.default_rng(0).standard_normal((7, 6)).cumsum(axis=1)
    rulon = []
    for half in combinations(range(6), 3):
        first = scores[:, half].sum(axis=1)
        second = scores.sum(axis=1) - first
        rulon.append(2 * (1 - (first.var() + second.var()) / (first + second).var()))
    assert cronbach_alpha(scores) == pytest.approx(np.mean(rulon))


@pytest.mark.parametrize("alpha", [0.3, 0.7, 0.95])
def test_alpha_and_ceiling_of_simulated_scores_are_recovered(alpha):
    rng = np.random.default_rng(1)
    found = [reliability_of(planted(rng, 300, 40, alpha), 50, rng, np.arange(40)) for _ in range(20)]
    assert np.mean([f.alpha for f in found]) == pytest.approx(alpha, abs=0.03)
    assert np.mean([f.split_half for f in found]) == pytest.approx(alpha, abs=0.03)
    assert np.mean([f.ceiling for f in found]) == pytest.approx(np.sqrt(alpha), abs=0.03)


def test_ceiling_is_what_a_perfect_signal_reaches():
    rng = np.random.default_rng(2)
    noise = np.sqrt(30 * 0.5 / 0.5)
    rhos = []
    for _ in range(50):
        ability = rng.standard_normal(500)
        quality = (ability[:, None] + noise * rng.standard_normal((500, 30))).mean(axis=1)
        rhos.append(np.corrcoef(ability, quality)[0, 1])
    assert np.mean(rhos) == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_spearman_brown_steps_up_and_down():
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(spearman_brown(0.4, 5), 1 / 5) == pytest.approx(0.4)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.7, 0.95, 0.999])
def test_items_needed_reach_the_ceiling_and_one_fewer_does_not(alpha):
    needed = items_needed(alpha, 48)
    assert spearman_brown(alpha, needed / 48) >= 0.95**2 - 1e-12
    assert needed == 1 or spearman_brown(alpha, (needed - 1) / 48) < 0.95**2


def test_items_needed_is_at_least_one():
    assert items_needed(1.0, 48) == 1


def test_equal_candidates_have_no_alpha():
    found = reliability_of(np.tile([0.0, 1.0, 1.0, 0.0], (5, 1)), 10, np.random.default_rng(0), np.arange(4))
    assert (found.alpha, found.split_half, found.ceiling, found.items_needed) == (None, None, None, None)
    assert found.reason == "every candidate has the same quality, 0.5"


def test_noise_has_no_alpha_and_the_reason_says_so():
    # Candidates that are good on one item are bad on the other: less than no agreement between the items.
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5]])
    found = reliability_of(scores, 10, np.random.default_rng(0), np.arange(2))
    assert found.alpha is None
    assert "no larger than noise (alpha = -" in found.reason


def test_split_half_is_undefined_where_halves_never_differ():
    assert split_half(np.zeros((4, 6)), 5, np.random.default_rng(0), np.arange(6)) is None
