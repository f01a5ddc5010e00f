from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import permutation_test, rankdata, spearmanr

from iclscope.runtime.errors import StudyError
from iclscope.statistics.corrections import permute
from iclscope.statistics.intervals import Z_95, analytic_interval, fisher_interval
from iclscope.statistics.ranks import centred_ranks, spearman, weighted_ranks
from iclscope.statistics.resampling import Weights, generator, random_half, rho_spread
from iclscope.tables import SAMPLE
from iclscope.tasks.samples import read_clusters
from planted import sample


def noisy(rng, candidates, items, alpha, rho, signals):
    """Signals [signals, C] that correlate with ability as `rho`, and scores of reliability `alpha`."""
    ability = rng.standard_normal(candidates)
    values = rho * ability + np.sqrt(1 - rho**2) * rng.standard_normal((signals, candidates))
    noise = np.sqrt(items * (1 - alpha) / alpha)
    return values, ability[:, None] + noise * rng.standard_normal((candidates, items)) + rng.standard_normal(items)


def test_centred_ranks_are_exact_average_ranks():
    values = np.random.default_rng(0).integers(0, 5, (3, 20)).astype(float)
    np.testing.assert_array_equal(centred_ranks(values), rankdata(values, axis=1) - 10.5)


def test_generators_differ_by_purpose_and_repeat_by_seed():
    assert generator(1, "halves").random() == generator(1, "halves").random()
    assert len({generator(1, "halves").random(), generator(1, "draws").random(), generator(2, "halves").random()}) == 3


# --- permutations


def test_p_agrees_with_all_permutations_by_scipy():
    rng = np.random.default_rng(4)
    values, quality = rng.standard_normal((2, 7)), rng.standard_normal(7)
    null = permute(centred_ranks(values), centred_ranks(quality), 20_000, rng)
    for p, signal in zip(null.p(), values, strict=True):
        exact = permutation_test(
            (signal,),
            lambda x: abs(spearmanr(x, quality).statistic),
            permutation_type="pairings",
            alternative="greater",
        )
        assert p == pytest.approx(exact.pvalue, abs=0.012)


def test_maxt_agrees_with_a_loop():
    rng = np.random.default_rng(5)
    values, quality = np.round(rng.standard_normal((6, 15)), 1), np.round(rng.standard_normal(15), 1)
    null = permute(centred_ranks(values), centred_ranks(quality), 300, np.random.default_rng(6))
    assert null.largest.shape == (300,)
    rho = spearman(centred_ranks(values), centred_ranks(quality))
    np.testing.assert_allclose(rho, [spearmanr(v, quality).statistic for v in values])
    slow = [(1 + sum(largest >= abs(r) - 1e-6 for largest in null.largest)) / 301 for r in rho]
    np.testing.assert_allclose(null.p_maxt(rho), slow)
    assert (null.p_maxt(rho) >= null.p()).all()


def test_largest_of_every_permutation_is_a_correlation_of_the_family():
    values, quality = np.arange(4.0)[None], np.arange(4.0)
    null = permute(centred_ranks(values), centred_ranks(quality), 2_000, np.random.default_rng(0))
    # Of 24 orders of 4, two give |rho| = 1; squared rank distances are even, so that rho is a multiple of 0.2.
    assert np.mean(null.largest > 0.99) == pytest.approx(2 / 24, abs=0.02)
    np.testing.assert_allclose(null.largest * 5, np.round(null.largest * 5), atol=1e-5)


def test_family_wise_error_is_as_declared():
    alarms = 0
    for study in range(300):
        rng = np.random.default_rng(study)
        ranks, quality = centred_ranks(rng.standard_normal((40, 25))), centred_ranks(rng.standard_normal(25))
        alarms += permute(ranks, quality, 199, rng).p_maxt(spearman(ranks, quality)).min() <= 0.05
    # 3.5 standard deviations of a binomial with p = 0.05 on either side
    assert 2 <= alarms <= 29


def test_p_of_a_null_signal_is_uniform():
    rng = np.random.default_rng(8)
    ranks = centred_ranks(rng.standard_normal((2_000, 30)))
    p = permute(ranks, centred_ranks(rng.standard_normal(30)), 500, rng).p()
    for level in (0.05, 0.25, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=0.025)


# --- bootstrap


def test_weights_are_drawn_with_replacement_and_clusters_stay_whole():
    clusters = np.array([0, 0, 1, 2, 2, 2])
    weights = Weights.draw(5, clusters, 4_000, np.random.default_rng(0))
    assert (weights.candidates.sum(axis=1) == 5).all()
    assert weights.candidates.var() == pytest.approx(1 - 1 / 5, abs=0.03)
    assert (weights.items[:, 0] == weights.items[:, 1]).all()
    assert (weights.items[:, 3] == weights.items[:, 5]).all()
    assert (weights.items[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert abs(np.corrcoef(weights.candidates[:, 0], weights.items[:, 0])[0, 1]) < 0.05


@given(arrays(np.int64, 8, elements=st.integers(0, 4)), arrays(np.int64, 8, elements=st.integers(0, 3)))
def test_weighted_ranks_are_those_of_repeated_values(values, weights):
    if weights.sum() == 0:
        return
    repeated = rankdata(np.repeat(values, weights)) - (weights.sum() + 1) / 2
    found = weighted_ranks(values.astype(float), weights.astype(float))
    np.testing.assert_allclose(np.repeat(found, weights), repeated)


def test_spread_agrees_with_ranking_every_signal_anew():
    rng = np.random.default_rng(9)
    values, scores = noisy(rng, 120, 60, 0.999, 0.5, 4)
    values[2] = np.round(values[2])  # ties
    values[3] = values[3] > 1
    weights = Weights.draw(120, np.arange(60), 600, rng)
    z = np.empty((600, 4))
    for draw, (quality, weight) in enumerate(zip(weights.means(scores), weights.candidates, strict=True)):
        y = weighted_ranks(quality, weight)
        for row, signal in enumerate(values):
            x = weighted_ranks(signal, weight)
            z[draw, row] = np.arctanh((weight * x * y).sum() / np.sqrt((weight * x * x).sum() * (weight * y * y).sum()))
    np.testing.assert_allclose(rho_spread(centred_ranks(values), scores, weights), z.std(axis=0, ddof=1), rtol=0.06)


@pytest.mark.parametrize(("alpha", "rho"), [(0.3, 0.4), (0.9, 0.0), (0.9, 0.4)])
def test_intervals_cover_the_planted_correlation(alpha, rho):
    hits, signals, studies = 0, 25, 40
    truth = 6 / np.pi * np.arcsin(rho * np.sqrt(alpha) / 2)  # Spearman's rho of a bivariate normal distribution
    for study in range(studies):
        rng = np.random.default_rng(study)
        values, scores = noisy(rng, 60, 40, alpha, rho, signals)
        weights = Weights.draw(60, np.arange(40), 200, rng)
        ranks = centred_ranks(values)
        estimate = spearman(ranks, centred_ranks(scores.mean(axis=1)))
        low, high = fisher_interval(estimate, Z_95 * rho_spread(ranks, scores, weights))
        hits += ((low <= truth) & (truth <= high)).sum()
    assert 0.92 <= hits / (signals * studies) <= 0.985


def test_intervals_are_wider_where_items_disagree_about_a_signal():
    # On each item candidates differ by ability times an effect of the item: other items would show another rho.
    rng = np.random.default_rng(10)
    ability = rng.standard_normal(400)
    scores = ability[:, None] * (0.3 + 3 * rng.standard_normal(30)) + rng.standard_normal((400, 30))
    ranks = centred_ranks(ability[None] + rng.standard_normal((1, 400)))
    estimate = spearman(ranks, centred_ranks(scores.mean(axis=1)))
    spread = rho_spread(ranks, scores, Weights.draw(400, np.arange(30), 400, rng))
    low, high = fisher_interval(estimate, Z_95 * spread)
    analytic = analytic_interval(estimate, 400)
    assert high - low > 2 * (analytic[1] - analytic[0])


def test_spread_is_undefined_if_quality_never_varies():
    weights = Weights.draw(10, np.arange(5), 20, np.random.default_rng(0))
    assert np.isnan(rho_spread(centred_ranks(np.arange(10.0)[None]), np.ones((10, 5)), weights)).all()


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


def test_items_without_a_cluster_are_their_own(tmp_path):
    frame = sample("items", 5).with_columns(cluster=pl.Series(["a", None, "a", None, "item 1"]))
    SAMPLE.write(frame, tmp_path / "items.parquet", {})
    clusters = read_clusters(tmp_path / "items.parquet", 5)
    assert clusters[0] == clusters[2]
    assert len(set(clusters)) == 4
    assert sorted(set(clusters)) == [0, 1, 2, 3]


def test_only_items_that_were_evaluated_have_a_cluster(tmp_path):
    frame = sample("items", 5).with_columns(cluster=pl.Series(["z", "b", None, "b", "a"]))
    SAMPLE.write(frame, tmp_path / "items.parquet", {})
    clusters = read_clusters(tmp_path / "items.parquet", 3)
    assert len(clusters) == 3
    assert sorted(clusters) == [0, 1, 2]


def test_sample_with_fewer_items_than_were_evaluated_is_refused(tmp_path):
    SAMPLE.write(sample("items", 5), tmp_path / "items.parquet", {})
    with pytest.raises(StudyError, match="has 5 items, the evaluation 6"):
        read_clusters(tmp_path / "items.parquet", 6)
