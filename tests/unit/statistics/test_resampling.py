from math import comb

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata, spearmanr

from iclscope.runtime.errors import StudyError
from iclscope.statistics.ranks import centred_ranks, strongest_signal, unit
from iclscope.statistics.resampling import generator, random_half
from iclscope.statistics.signals.shuffles import Shuffles, p_of_largest, permute
from truth import weighted_ranks


def test_centred_ranks_are_exact_average_ranks():
    values = np.random.default_rng(0).integers(0, 5, (3, 20)).astype(float)
    np.testing.assert_array_equal(centred_ranks(values), rankdata(values, axis=1) - 10.5)


def test_generators_differ_by_purpose_and_repeat_by_seed():
    assert generator(1, "halves").random() == generator(1, "halves").random()
    assert len({generator(1, "halves").random(), generator(1, "draws").random(), generator(2, "halves").random()}) == 3


# --- permutations


def null_of(values, quality, count, seed):
    """Permuted statistics of the signals, and their own, in units of the error that permutations have."""
    rows, target = unit(centred_ranks(values)).astype(np.float32), unit(centred_ranks(quality))
    shuffles = Shuffles(len(quality), count, seed)
    error = shuffles.error(rows, target)
    statistic = np.abs(np.arctanh(rows @ target)) / error
    return permute(rows, target, shuffles, statistic, error), statistic


def test_maxt_agrees_with_a_loop():
    rng = np.random.default_rng(5)
    values, quality = np.round(rng.standard_normal((6, 15)), 1), np.round(rng.standard_normal(15), 1)
    null, statistic = null_of(values, quality, 300, 6)
    assert null.largest.shape == (300,)
    slow = [(1 + sum(largest >= one - 1e-6 for largest in null.largest)) / 301 for one in statistic]
    corrected = p_of_largest(statistic, [null.largest])
    np.testing.assert_allclose(corrected, slow)
    assert (corrected >= null.p()).all()


def test_largest_of_every_permutation_is_a_correlation_of_the_family():
    values, quality = np.arange(5.0)[None], np.arange(5.0)
    null, _ = null_of(values, quality, 4_000, 0)
    rho = np.tanh(null.largest / np.sqrt(2))  # C - 3 is 2
    # Of 120 orders of 5, two give |rho| = 1; squared rank distances are even, so that rho is a multiple of 0.1.
    assert np.mean(rho > 0.99) == pytest.approx(2 / 120, abs=0.008)
    np.testing.assert_allclose(rho * 10, np.round(rho * 10), atol=1e-4)


def test_family_wise_error_is_as_declared():
    alarms = 0
    for study in range(300):
        rng = np.random.default_rng(study)
        null, statistic = null_of(rng.standard_normal((40, 25)), rng.standard_normal(25), 199, study)
        alarms += p_of_largest(statistic, [null.largest]).min() <= 0.05
    # 3.5 standard deviations of a binomial with p = 0.05 on either side
    assert 2 <= alarms <= 29


def test_p_of_a_null_signal_is_uniform():
    rng = np.random.default_rng(8)
    p = null_of(rng.standard_normal((2_000, 30)), rng.standard_normal(30), 500, 9)[0].p()
    for level in (0.05, 0.25, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=0.025)


# --- signals among some of the candidates


def test_best_signal_is_what_scipy_finds_among_the_chosen_candidates():
    rng = np.random.default_rng(1)
    values, quality = rng.standard_normal((30, 41)), rng.standard_normal(41)
    ours = rng.random(41) < 0.5
    best, rho = strongest_signal(centred_ranks(values), quality[ours], ours)
    expected = [spearmanr(v[ours], quality[ours]).statistic for v in values]
    assert best == np.argmax(np.abs(expected))
    assert rho == pytest.approx(expected[best], abs=0.05)  # ranks among all candidates, not among ours


def test_signal_that_is_constant_among_the_chosen_candidates_is_not_chosen():
    values = np.array([[1.0, 1, 1, 1, 2, 3, 4, 5], [4.0, 3, 1, 2, 5, 6, 7, 8]])
    ours = np.array([True] * 4 + [False] * 4)
    best, rho = strongest_signal(centred_ranks(values), np.array([1.0, 2, 3, 4]), ours)
    assert best == 1
    assert rho < 0


# --- bootstrap


@given(arrays(np.int64, 8, elements=st.integers(0, 4)), arrays(np.int64, 8, elements=st.integers(0, 3)))
def test_weighted_ranks_are_those_of_repeated_values(values, weights):
    if weights.sum() == 0:
        return
    repeated = rankdata(np.repeat(values, weights)) - (weights.sum() + 1) / 2
    found = weighted_ranks(values.astype(float), weights.astype(float))
    np.testing.assert_allclose(np.repeat(found, weights), repeated)


# --- halves and clusters


def test_halves_keep_clusters_together():
    clusters = np.repeat(np.arange(6), 3)
    half = random_half(clusters, np.random.default_rng(0))
    assert half.sum() == 9
    assert all(len(set(half[clusters == c])) == 1 for c in range(6))


def test_all_halves_are_equally_likely():
    rng = np.random.default_rng(0)
    found = {random_half(np.arange(6), rng).tobytes() for _ in range(500)}
    assert len(found) == comb(6, 3)


def test_too_few_clusters_cannot_be_halved():
    with pytest.raises(StudyError, match="only 3 independent items"):
        random_half(np.array([0, 0, 1, 2]), np.random.default_rng(0))
