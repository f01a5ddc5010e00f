"""The expected maximum against planted distributions of true quality."""

import numpy as np
import pytest
from scipy.stats import norm

from iclscope.statistics.gains.best_possible import best_possible_gain

SIZES = [4, 8, 16]
UNIFORM = (np.arange(100_000) + 0.5) / 100_000
SHAPES = {"normal": norm.ppf(UNIFORM), "bounded": 1 + np.log(UNIFORM)}  # their values, in rising order


def study(rng, shape, alpha, candidates=200, items=40, push=0.0):
    """Scores of candidates whose true quality has a `shape`; a share of the noise is a `push` towards a label."""
    ability = rng.choice(SHAPES[shape], candidates)
    noise = np.sqrt(1 - push) * rng.standard_normal((candidates, items))
    noise += np.sqrt(push) * rng.standard_normal((candidates, 1)) * rng.choice([-1.0, 1.0], items)
    return ability[:, None] + rng.standard_normal(items) + np.sqrt(items * (1 - alpha) / alpha) * noise


def expected(shape):
    return np.array([np.mean(size * UNIFORM ** (size - 1) * SHAPES[shape]) for size in SIZES]) - SHAPES[shape].mean()


def found(scores, rng, sizes=SIZES, draws=100):
    return best_possible_gain(scores, sizes, np.arange(len(scores)), np.arange(scores.shape[1]), draws, rng)


def test_without_noise_it_is_the_mean_of_the_best_of_all_pools():
    rng = np.random.default_rng(0)
    quality = rng.standard_normal(60)
    result = found(np.repeat(quality[:, None], 8, axis=1), rng, [2])
    pairs = np.maximum.outer(quality, quality)[np.triu_indices(60, 1)]
    assert result.gain.item() == pytest.approx(pairs.mean() - quality.mean(), rel=0.01)


@pytest.mark.parametrize(("shape", "alpha", "push"), [("normal", 0.7, 0), ("normal", 0.7, 0.3), ("bounded", 0.95, 0)])
def test_expected_maximum_is_recovered_and_covered(shape, alpha, push):
    results = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        results.append(found(study(rng, shape, alpha, push=push), rng))
    results = [result for result in results if result.gain is not None]
    assert len(results) > 50
    gain, low, high = (np.array([getattr(result, name) for result in results]) for name in ("gain", "low", "high"))
    np.testing.assert_allclose(gain.mean(axis=0), expected(shape), rtol=0.05)
    assert ((low <= expected(shape)) & (expected(shape) <= high)).mean() >= 0.9


def test_best_candidate_of_a_study_is_lucky_and_its_choice_on_half_of_the_items_is_no_bound():
    lucky, halves, shrunk = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scores = study(rng, "normal", 0.5, 100)
        result = found(scores, rng, [50], draws=2)
        if result.gain is not None:
            best = scores[:, :20].mean(axis=1).argmax()
            quality, judged = scores.mean(axis=1), scores[:, 20:].mean(axis=1)
            lucky.append(quality.max() - quality.mean())
            halves.append(judged[best] - judged.mean())
            shrunk.append(result.gain.item())
    assert np.mean(halves) < np.mean(shrunk) < np.mean(lucky)


def test_noise_has_no_best_candidate():
    rng = np.random.default_rng(1)
    result = found(rng.standard_normal((50, 40)), rng)
    assert result.gain is None
    assert "noise" in result.reason


def test_copies_of_candidates_do_not_make_the_interval_narrower():
    rng = np.random.default_rng(2)
    scores, copies = study(rng, "normal", 0.9), np.repeat(np.arange(200), 2)
    alone = best_possible_gain(scores, [8], np.arange(200), np.arange(40), 300, rng)
    twice = best_possible_gain(scores[copies], [8], copies, np.arange(40), 300, rng)
    assert twice.gain == pytest.approx(alone.gain, rel=0.02)
    assert np.log(twice.high / twice.low) == pytest.approx(np.log(alone.high / alone.low), rel=0.2)
