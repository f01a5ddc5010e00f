import numpy as np
import pytest
from scipy.stats import spearmanr

from iclscope.statistics.ranks import centred_ranks
from iclscope.statistics.signals.influence import candidate_variance, influences, residual_variance, summed
from truth import weighted_ranks


def weighted_rho(x, y, weights):
    a, b = weighted_ranks(x, weights), weighted_ranks(y, weights)
    return (weights * a * b).sum() / np.sqrt((weights * a * a).sum() * (weights * b * b).sum())


@pytest.fixture
def tied():
    rng = np.random.default_rng(0)
    x = np.round(rng.standard_normal(30), 1)
    return x, np.round(x + rng.standard_normal(30), 1)


def test_influence_is_how_rho_changes_with_a_candidates_weight(tied):
    x, y = tied
    moved, rho = influences(centred_ranks(x)[None], centred_ranks(y))
    assert rho[0] == pytest.approx(spearmanr(x, y).statistic)
    step = 1e-5 * np.eye(30)
    slope = [(weighted_rho(x, y, 1 + h) - weighted_rho(x, y, 1 - h)) / 2e-5 for h in step]
    np.testing.assert_allclose(moved[0], slope, atol=1e-8)


def test_variance_is_that_of_fresh_samples_of_candidates():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1500, 80))
    y = 0.5 * x + np.sqrt(0.75) * rng.standard_normal((1500, 80))
    z = np.arctanh([spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)])
    said = [candidate_variance(centred_ranks(a)[None], centred_ranks(b))[0] for a, b in zip(x[:300], y, strict=False)]
    assert np.mean(said) == pytest.approx(z.var(), rel=0.12)


def test_candidates_of_one_cluster_count_as_one():
    rng = np.random.default_rng(2)
    x, y = np.repeat(rng.standard_normal((2, 40)), 3, axis=1)
    single = candidate_variance(centred_ranks(x[::3])[None], centred_ranks(y[::3]))
    clustered = candidate_variance(centred_ranks(x)[None], centred_ranks(y), np.repeat(np.arange(40), 3))
    np.testing.assert_allclose(clustered, single, rtol=1e-3)


def test_residuals_that_are_unrelated_have_the_variance_of_their_number():
    rng = np.random.default_rng(3)
    rows, target = rng.standard_normal((400, 200)), rng.standard_normal(200)
    rows, target = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (rows, target))
    assert residual_variance(rows.astype(np.float32), target).mean() == pytest.approx(1 / 200, rel=0.05)


def test_sums_over_clusters_in_any_order():
    values, clusters = np.arange(6.0)[None], np.array([1, 0, 1, 2, 0, 2])
    np.testing.assert_array_equal(summed(values, clusters), [[1 + 4, 0 + 2, 3 + 5]])
