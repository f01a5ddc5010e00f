import numpy as np
import pytest

from iclscope.statistics.signals.components import balanced, components_of, components_of_models, sources
from iclscope.statistics.signals.generalisability import noise_of


def planted(seed, models=1, candidates=60, items=40):
    """Scores [M, C, N] with known components and gold labels, three tenths of them 1."""
    rng = np.random.default_rng(seed)
    gold = rng.permutation(np.arange(items) < 0.3 * items).astype(int)
    sign = 2 * gold - 1
    scores = (
        rng.standard_normal((candidates, 1))
        + 0.7 * rng.standard_normal((candidates, 1)) * sign
        + 1.5 * rng.standard_normal(items)
        + 3 * gold
        + 2 * rng.standard_normal((candidates, items))
    )
    own = (
        0.5 * rng.standard_normal((models, candidates, 1))
        + 0.4 * rng.standard_normal((models, candidates, 1)) * sign
        + 0.3 * rng.standard_normal((models, 1, items))
        + 0.6 * rng.standard_normal((models, candidates, items))
    )
    return (scores + own if models > 1 else scores[None]), gold


def test_planted_components_are_recovered():
    found = np.mean(
        [[*vars(components_of(scores[0], gold)).values()] for scores, gold in map(planted, range(60))], axis=0
    )
    np.testing.assert_allclose(found, [1, 2.25, 0.49, 4], rtol=0.1)


def test_components_of_models_come_apart():
    found = [components_of_models(*planted(seed, models=3)) for seed in range(60)]
    shared, own = (np.mean([[*vars(part).values()] for part in parts], axis=0) for parts in zip(*found, strict=True))
    np.testing.assert_allclose(shared, [1, 2.25, 0.49, 4], rtol=0.15)
    np.testing.assert_allclose(own, [0.25, 0.09, 0.16, 0.36], rtol=0.15)


def test_a_matrix_without_noise_by_hand():
    gold = np.array([0, 0, 1])
    level, push, item = np.array([0.0, 1.0, 5.0]), np.array([1.0, -1.0, 0.0]), np.array([-1.0, 1.0, 7.0])
    scores = level[:, None] + push[:, None] * np.array([1, 1, -1]) + item
    found = components_of(scores, gold)
    assert found.candidate == pytest.approx(level.var(ddof=1))
    assert found.push == pytest.approx(1)
    assert found.item == pytest.approx(2)  # label 1 has one item: only the two of label 0 differ within theirs
    assert found.rest == pytest.approx(0, abs=1e-12)


def test_sources_add_up_to_the_variance_of_quality():
    scores, gold = planted(3)
    found = sources(scores[0], gold)
    assert found.total == pytest.approx(scores[0].mean(axis=1).var(ddof=1))
    assert found.rest == pytest.approx(components_of(scores[0], gold).rest / 40)
    alone = sources(scores[0])
    assert alone.push == alone.both == 0
    assert alone.level == pytest.approx(scores[0].mean(axis=1).var(ddof=1) - alone.rest)


def test_push_counts_only_where_labels_are_uneven():
    scores, gold = planted(4)
    scores[0] += 10 * np.random.default_rng(0).standard_normal((60, 1)) * (2 * gold - 1)
    assert sources(scores[0], gold).push == pytest.approx(100 * 0.4**2, rel=0.4)
    even = np.concatenate([np.flatnonzero(gold == 0)[:12], np.flatnonzero(gold == 1)])
    assert abs(sources(scores[0][:, even], gold[even]).push) < 1e-9


def test_balanced_quality_counts_every_label_alike():
    scores, gold = planted(5)
    expected = (scores[0][:, gold == 0].mean(axis=1) + scores[0][:, gold == 1].mean(axis=1)) / 2
    np.testing.assert_allclose(balanced(scores[0], gold).mean(axis=1), expected)
    np.testing.assert_allclose(balanced(scores, gold)[0], balanced(scores[0], gold))


def test_balanced_scores_have_the_noise_of_a_sample_stratified_by_label():
    drawn = map(planted, range(60))
    found = [noise_of(balanced(scores[0], gold), np.arange(40)).variance.mean() for scores, gold in drawn]
    assert np.mean(found) == pytest.approx(4 * (1 / 12 + 1 / 28) / 2**2, rel=0.03)


def test_one_label_changes_nothing():
    scores, _ = planted(6)
    np.testing.assert_allclose(balanced(scores[0], None), scores[0], atol=1e-12)
