import numpy as np
import pytest
from scipy.stats import permutation_test

from iclscope.statistics.learning_curves import (
    aulc,
    coverage,
    forecast,
    labels_for,
    mean_of,
    p_of_flips,
    palm,
    steadiness,
)
from iclscope.statistics.resampling import generator

LABELLED = np.array([20, 40, 60, 100])


def test_the_area_under_a_line_is_the_mean_of_its_ends():
    line = 0.2 + 0.005 * (LABELLED - 20)
    assert aulc(LABELLED, line) == pytest.approx((line[0] + line[-1]) / 2)
    assert aulc(LABELLED, np.stack([line, line + 0.1])) == pytest.approx([0.4, 0.5])


@pytest.mark.parametrize("seeds", [4, 9])
def test_p_of_sign_flips_is_that_of_scipy(seeds):
    values = np.random.default_rng(seeds).normal(0.5, 1, seeds)
    wanted = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    alone, corrected = p_of_flips(values[:, None], generator(0, "x"))
    assert alone == pytest.approx(wanted.pvalue)
    assert corrected == pytest.approx(alone)  # a family of one
    assert mean_of(values, generator(0, "x")).p == pytest.approx(wanted.pvalue)


def test_drawn_flips_come_near_to_all_flips():
    values = np.random.default_rng(1).normal(0.4, 1, 16)
    wanted = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    assert p_of_flips(values[:, None], generator(0, "x"))[0][0] == pytest.approx(wanted.pvalue, abs=0.01)


def test_what_never_varies_is_no_finding():
    differences = np.column_stack([np.zeros(6), np.arange(6) - 2.5])
    alone, corrected = p_of_flips(differences, generator(0, "x"))
    assert alone[0] == corrected[0] == 1
    assert mean_of(np.zeros(6), generator(0, "x")).p is None


def test_few_null_studies_have_a_finding():
    """Eight strategies without a gain, their differences dependent since they share a reference: at most 7 % of 400."""
    rng, found = np.random.default_rng(5), 0
    for study in range(400):
        areas = rng.normal(0.5, 0.02, (12, 1)) + rng.standard_t(4, (12, 9)) * rng.uniform(0.005, 0.02, 9)
        found += p_of_flips(areas[:, 1:] - areas[:, :1], generator(study, "x"))[1].min() <= 0.05
    assert found <= 28


def test_a_true_gain_is_found():
    differences = np.random.default_rng(2).normal([0.03, 0], 0.02, (30, 2))
    corrected = p_of_flips(differences, generator(0, "x"))[1]
    assert corrected[0] < 0.01
    assert corrected[1] > 0.05


def test_labels_for_an_accuracy_lie_between_those_of_its_neighbours():
    reference = np.array([0.2, 0.4, 0.5, 0.7])
    assert labels_for(LABELLED, reference, reference, 2) == pytest.approx(60)
    assert labels_for(LABELLED, reference, np.array([0.2, 0.6, 0.65, 0.7]), 1) == pytest.approx(80)
    assert labels_for(LABELLED, reference, reference + 0.3, 3) is None
    assert labels_for(LABELLED, np.array([0.2, 0.5, 0.3, 0.7]), np.full(4, 0.55), 0) == pytest.approx(60 + 40 * 0.5)


def test_the_forecast_of_a_power_law_is_its_value():
    labelled = np.arange(20, 240, 20)
    accuracy = 0.8 - 2.0 * labelled**-0.5
    assert forecast(labelled[:6], accuracy[:6], 220) == pytest.approx(accuracy[-1], abs=0.003)
    assert forecast(labelled[:3], accuracy[:3], 220) is None
    assert forecast(labelled, 0.5 + labelled / 400, 10_000) <= 1  # no accuracy is above


def test_the_parameters_of_palm_are_found_and_their_spread_holds_them():
    labelled, rng = np.arange(20, 240, 20), np.random.default_rng(3)
    planted = np.array([0.55, 0.3, 0.4, 0.7])
    curve = planted[0] * (1 - (1 - planted[1]) ** ((labelled / 20 + planted[2]) ** planted[3]))
    exact = palm(labelled, np.tile(curve, (3, 1)), rng)
    np.testing.assert_allclose(exact, np.tile(planted[:, None], 3), rtol=1e-3)
    noisy = curve + rng.normal(scale=0.02, size=(30, 1)) + rng.normal(scale=0.02, size=(30, 11))
    _, low, high = palm(labelled, noisy, rng).T
    assert ((low <= planted) & (planted <= high)).all()
    assert high[3] - low[3] > 0.2  # what another draw of 30 splits makes of beta
    assert palm(labelled, np.full((3, 11), 0.5), rng)[0] == pytest.approx(0.5, abs=0.02)


def test_parameters_of_palm_have_a_spread_or_are_not_there():
    rng = np.random.default_rng(3)
    assert palm(LABELLED, np.tile([0.2, 0.3, 0.4, 0.5], (9, 1)), rng) is None  # four points, four parameters
    assert palm(np.arange(20, 240, 20), np.linspace(0.2, 0.5, 11)[None], rng) is None  # one split


def test_coverage_counts_classes_seen_once():
    assert coverage(np.array([0, 0, 1, 2, 3, 3])) == pytest.approx(1 - 2 / 6)


def test_steadiness_tells_which_of_two_varies_more():
    rng = np.random.default_rng(3)
    steady = rng.normal(0, 1, 60)
    found = steadiness(3 * rng.normal(0, 1, 60), steady)
    assert 1 < found.low < found.ratio < found.high
    assert found.p < 0.001
    assert steadiness(steady, steady) is None


def test_the_interval_of_steadiness_is_what_its_test_leaves():
    """Values scaled to a limit of the interval have a ratio of 1 at p = 0.05 (inversion)."""
    first, second = np.random.default_rng(4).normal(0, 1, (2, 20))
    found = steadiness(first, second)
    for limit in (found.low, found.high):
        assert steadiness(first / limit, second).p == pytest.approx(0.05)


def test_equal_variances_are_found_to_differ_as_often_as_the_level_says():
    rng = np.random.default_rng(6)
    pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], (1000, 15))
    share = np.mean([steadiness(pair[:, 0], pair[:, 1]).p <= 0.05 for pair in pairs])
    assert 0.03 < share < 0.07
