import numpy as np
import pytest
from scipy.stats import norm, spearmanr, t as student

from iclscope.statistics.partial import Confounders
from iclscope.statistics.ranks import centred_ranks
from iclscope.statistics.signals.shuffles import Shuffles, p_of_largest
from iclscope.statistics.signals.studentised import ItemDraws, Spread, assess, residuals


def study(candidates=100, items=40, noise=4.0, along=0.0, signals=5, seed=0):
    """Ranks of signals and scores; the first signal is the direction of a part `along` of the interaction."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((signals, candidates))
    direction = values[0][:, None] * rng.standard_normal(items)
    rest = rng.standard_normal((candidates, items))
    scores = rng.standard_normal((candidates, 1)) + noise * (np.sqrt(along) * direction + np.sqrt(1 - along) * rest)
    return values, scores


def draws_of(scores, draws=400, seed=0):
    return ItemDraws.of(scores, np.arange(scores.shape[1]), draws, np.random.default_rng(seed))


def test_rho_is_spearmans_and_its_variance_that_of_other_candidates_and_items():
    found, said = [], []
    for seed in range(150):
        values, scores = study(along=0.3, seed=seed, signals=1)
        result = assess(centred_ranks(values), draws_of(scores, 200), Shuffles(100, 1, 0))
        assert result.rho[0] == pytest.approx(spearmanr(values[0], scores.mean(axis=1)).statistic, abs=1e-6)
        found.append(np.arctanh(result.rho[0]))
        said.append(result.spread.error[0] ** 2)
    assert np.mean(said) == pytest.approx(np.var(found), rel=0.3)
    assert np.mean(said) > 2 / 97  # candidates alone would give 1 / 97


def test_statistic_never_exceeds_that_of_candidates_alone():
    values, scores = study(along=0.5, signals=50)
    result = assess(centred_ranks(values), draws_of(scores), Shuffles(100, 20, 0))
    plain = np.abs(np.arctanh(result.rho)) * np.sqrt(97)
    assert (result.statistic <= plain * (1 + 1e-6)).all()
    assert result.statistic[0] < 0.8 * plain[0]
    assert np.median(result.statistic / plain) > 0.9


def test_few_items_weigh_less_as_the_normal_deviate_with_the_same_tail():
    spread = Spread(candidates=np.array([1e-12]), items=np.array([0.01]), units=100, clusters=11)
    assert spread.statistic(np.tanh([0.3]))[0] == pytest.approx(norm.isf(student.sf(3, 10)), rel=1e-4)
    sure = Spread(candidates=np.array([0.01]), items=np.array([0.0]), units=100, clusters=11)
    assert sure.statistic(np.tanh([0.3]))[0] == pytest.approx(3)


def test_interval_is_students_on_the_z_scale():
    spread = Spread(np.array([0.006]), np.array([0.004]), units=1001, clusters=21)
    freedom = 0.01**2 / (0.006**2 / 1000 + 0.004**2 / 20)
    low, high = spread.interval(np.array([0.5]))
    assert np.arctanh(high[0]) - np.arctanh(0.5) == pytest.approx(0.1 * student.ppf(0.975, freedom))
    assert np.arctanh(0.5) - np.arctanh(low[0]) == pytest.approx(0.1 * student.ppf(0.975, freedom))


def test_partial_correlations_are_those_of_rank_residuals():
    values, scores = study(signals=8)
    rng = np.random.default_rng(1)
    nuisance = Confounders.of([rng.standard_normal(100), (np.arange(100) % 3 == 0).astype(float)], 100)
    ranks, quality = centred_ranks(values), centred_ranks(scores.mean(axis=1))
    result = assess(ranks, draws_of(scores), Shuffles(100, 50, 0), nuisance.basis)
    np.testing.assert_allclose(result.rho, nuisance.partial(ranks, quality), atol=1e-5)


def test_permuted_residuals_agree_with_a_loop_of_regressions():
    values, scores = study(candidates=30, signals=4)
    basis = Confounders.of([np.arange(30.0), np.arange(30.0) % 4], 30).basis
    ranks = centred_ranks(values)
    draws, shuffles = draws_of(scores), Shuffles(30, 60, 0)
    result = assess(ranks, draws, shuffles, basis)
    design = np.column_stack([np.ones(30), basis])

    def left(y):
        return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]

    rest = left(draws.quality.astype(float))
    fitted = draws.quality - rest
    for order, largest in zip(np.concatenate(list(shuffles.blocks())), result.null.largest, strict=True):
        again = left(fitted + rest[order])
        rho = [np.corrcoef(left(row.astype(float)), again)[0, 1] for row in ranks]
        assert largest == pytest.approx(np.arctanh(np.abs(rho).max()) * np.sqrt(30 - 3 - basis.shape[1]), rel=1e-4)


def test_the_nuisance_itself_has_no_partial_correlation():
    values, scores = study()
    ranks = centred_ranks(values)
    basis = Confounders.of([ranks[2].astype(float)], 100).basis
    result = assess(ranks, draws_of(scores), Shuffles(100, 50, 0), basis)
    assert np.isnan(result.rho[2])
    assert result.statistic[2] == 0
    assert p_of_largest(result.statistic, [result.null.largest])[2] == 1
    assert np.isfinite(np.delete(result.rho, 2)).all()


def test_quality_that_never_varies_has_no_draws():
    assert draws_of(np.ones((10, 5))) is None


def test_residuals_have_length_one_or_nothing():
    ranks = centred_ranks(study()[0])
    basis = Confounders.of([ranks[0].astype(float)], 100).basis
    rows, known = residuals(np.vstack([ranks, ranks[:1]]), basis)
    np.testing.assert_array_equal(known, [False, *[True] * 4, False])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), known, atol=1e-6)
    np.testing.assert_allclose(rows @ basis, 0, atol=1e-5)
