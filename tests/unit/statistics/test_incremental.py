import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from iclscope.statistics.ranks import centred_ranks
from iclscope.statistics.signals.incremental import Fit, folds, gram, incremental_value


def made(hidden, candidates=100, items=30, seed=0):
    """Cheap features, ranks of signals and scores; ability is the first feature, `hidden` times another, and rest."""
    rng = np.random.default_rng(seed)
    cheap, other = rng.standard_normal((candidates, 2)), rng.standard_normal(candidates)
    ability = 0.7 * cheap[:, 0] + hidden * other + 0.5 * rng.standard_normal(candidates)
    values = (0.8 * other if hidden else 0) + 0.4 * cheap[:, 0] + 0.6 * rng.standard_normal((25, candidates))
    return cheap, centred_ranks(values), ability[:, None] + rng.standard_normal((candidates, items))


def test_kernel_is_the_mean_product_of_scaled_signals():
    _, ranks, _ = made(0.5)
    scaled = ranks / ranks.std(axis=1, keepdims=True)
    np.testing.assert_allclose(gram(ranks), scaled.T @ scaled / 25, atol=1e-4)


def test_predictions_are_those_of_least_squares_and_ridge():
    cheap, ranks, scores = made(0.7)
    quality, seen = scores.mean(axis=1), np.arange(100) < 80
    scaled = (ranks / ranks.std(axis=1, keepdims=True)).T.astype(float) / 5
    kernel = gram(ranks)
    fit = Fit.of(cheap[seen], kernel[np.ix_(seen, seen)])
    few, more = fit.predict(quality[seen], cheap[~seen], kernel[np.ix_(~seen, seen)])
    linear = LinearRegression().fit(cheap[seen], quality[seen])
    np.testing.assert_allclose(few, linear.predict(cheap[~seen]) - quality[seen].mean(), atol=1e-8)
    rest = quality[seen] - linear.predict(cheap[seen])
    penalty = fit._penalty(rest, fit.vectors.T @ rest)
    ridge = Ridge(alpha=penalty).fit(scaled[seen], rest)
    np.testing.assert_allclose(more - few, ridge.predict(scaled[~seen]), atol=1e-3)


def test_activations_that_hold_something_are_seen_to_add_it():
    found = incremental_value(*made(0.7), np.arange(30), 2, np.random.default_rng(0))
    assert found.cheap > 0.1
    assert found.gain == pytest.approx(found.all - found.cheap)
    assert found.low > 0.1
    assert found.low < found.gain


def test_activations_that_repeat_a_cheap_feature_add_nothing():
    found = [incremental_value(*made(0.0, seed=s), np.arange(30), 1, np.random.default_rng(s)) for s in range(25)]
    assert sum(value.low > 0 for value in found) <= 2
    assert abs(np.mean([value.gain for value in found])) < 0.03


def test_a_direction_that_only_these_items_take_is_no_prediction():
    # The feature explains all of quality on any items, but each time with another sign and size.
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cheap, ranks, _ = made(0.5, seed=seed)
        scores = cheap[:, :1] * rng.standard_normal(30) + 0.1 * rng.standard_normal((100, 30))
        found.append(incremental_value(cheap, ranks, scores, np.arange(30), 2, rng).cheap)
    assert np.median(found) < 0.1


def test_without_signals_all_is_cheap():
    cheap, _, scores = made(0.5)
    value = incremental_value(cheap, np.zeros((0, 100), np.float32), scores, np.arange(30), 1, np.random.default_rng(0))
    assert value.gain == 0


def test_quality_that_never_varies_cannot_be_predicted():
    cheap, ranks, _ = made(0.5)
    assert incremental_value(cheap, ranks, np.ones((100, 30)), np.arange(30), 1, np.random.default_rng(0)) is None


def test_folds_hold_each_candidate_once_and_clusters_whole():
    clusters = np.arange(50) // 2
    masks = list(folds(50, clusters, 10, np.random.default_rng(0)))
    assert (np.sum(masks, axis=0) == 1).all()
    assert all((mask[::2] == mask[1::2]).all() for mask in masks)
    assert len(list(folds(4, None, 10, np.random.default_rng(0)))) == 4
