"""A fast part of tests/benchmarks/truth_of_signals.py."""

import polars as pl
import pytest

import truth_of_signals as truth
from truth_of_signals import Design, Truth


def mean(study, count):
    return pl.DataFrame([study(seed) for seed in range(count)]).mean().row(0, named=True)


def test_a_direction_of_the_interaction_is_no_finding():
    found = mean(lambda seed: truth.null_or_planted(Design(300, 30, 0.7, 10, along=0.3), seed), 60)
    assert found["error, of candidates"] > 0.3
    assert found["error"] <= 0.12


def test_candidates_of_one_passage_are_no_finding():
    found = mean(lambda seed: truth.null_or_planted(Design(120, 20, twins=4, icc=0.8), seed), 60)
    assert found["error, of candidates"] > 0.3
    assert found["error"] <= 0.12


def test_what_is_there_is_found_nearly_as_often_as_before():
    found = mean(lambda seed: truth.null_or_planted(Design(200, 30, 0.8, rho=0.35), seed), 60)
    assert found["found, of candidates"] - found["found"] < 0.15
    assert found["found"] > 0.75


def test_noisy_quality_does_not_make_effects_useless():
    found = mean(lambda seed: truth.useless(Design(300, alpha=0.1, rho=0.3, signals=2), seed), 60)
    assert found["no use"] <= 0.05
    assert found["without noise covered"] > 0.9


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("alpha", [0.3, 0.7, 0.95])
def test_planted_ceiling_and_correlation_are_recovered_and_covered(rho, alpha):
    found = mean(lambda seed: truth.useless(Design(100, 40, alpha, 2, rho), seed), 60)
    planted = Truth.of(rho, alpha)
    assert found["ceiling"] == pytest.approx(planted.ceiling, abs=0.05)
    assert found["rho found"] == pytest.approx(planted.with_quality, abs=0.04)
    if alpha > 0.3:  # a root of a noisy alpha is too small on average, and what is divided by it too large
        assert found["without noise"] == pytest.approx(planted.with_ability, abs=0.04)
    assert found["rho covered"] >= 0.88
    assert found["without noise covered"] >= 0.88


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_intervals_hold_rho_with_and_without_noise(rho):
    found = mean(lambda seed: truth.useless(Design(150, alpha=0.6, rho=rho, signals=2), seed), 100)
    assert found["rho covered"] >= 0.89
    assert found["without noise covered"] >= 0.89


def test_a_study_of_nothing_has_no_finding_anywhere():
    found = mean(lambda seed: truth.study_of_nothing(Design(60, 20, signals=10), seed), 60)
    assert found["error, of candidates"] > 0.2
    assert found["error"] <= 0.13


def test_what_the_label_tells_is_no_prediction():
    found = mean(lambda seed: truth.labels(0.4, seed), 50)
    assert found["related, of candidates"] > 0.9
    assert found["uncorrected partial p"] > 0.4
    assert found["predicts"] <= 0.13
    assert found["planted found"] > 0.7


def test_items_in_clusters_do_not_inflate_reliability():
    found = mean(lambda seed: truth.reliability(0.29, 100, 12, 0.5, seed), 100)
    assert found["Cronbach"] > 0.65
    assert found["found"] == pytest.approx(0.29, abs=0.05)
    assert found["covered"] >= 0.89


@pytest.mark.parametrize(("rho", "planted"), [(0.0, 0), (0.5, 5)])
def test_luck_of_being_chosen_is_told_too_large_as_often_as_too_small(rho, planted):
    found = mean(lambda seed: truth.strongest(Design(signals=40, rho=rho), planted, seed), 80)
    assert found["told too large"] == pytest.approx(0.5, abs=0.12)
    assert found["luck found"] == pytest.approx(found["true luck"], abs=0.08)
    assert found["covered"] >= 0.88
