import numpy as np
import pytest

from iclscope.statistics.signals.generalisability import interaction, noise_of
from truth import cronbach_alpha


def test_without_clusters_it_is_cronbachs_alpha():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((20, 1)) + 3 * rng.standard_normal((20, 12))
    assert noise_of(scores, np.arange(12)).alpha == pytest.approx(cronbach_alpha(scores))


def test_items_that_repeat_each_other_add_nothing():
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((30, 1)) + 2 * rng.standard_normal((30, 10))
    single, repeated = noise_of(scores, np.arange(10)), noise_of(np.repeat(scores, 3, axis=1), np.arange(30) // 3)
    assert repeated.alpha == pytest.approx(single.alpha)
    assert repeated.alpha_interval() == pytest.approx(single.alpha_interval())
    assert cronbach_alpha(np.repeat(scores, 3, axis=1)) > single.alpha + 0.1


def test_interval_narrows_with_candidates_and_widens_where_items_share_a_direction():
    rng = np.random.default_rng(2)

    def width(candidates, along):
        v = rng.standard_normal((candidates, 1))
        noise = np.sqrt(along) * v * rng.standard_normal(40) + np.sqrt(1 - along) * rng.standard_normal(
            (candidates, 40)
        )
        found = noise_of(rng.standard_normal((candidates, 1)) + 4 * noise, np.arange(40))
        low, high = found.alpha_interval()
        assert low < found.alpha < high < 1
        return high - low

    assert width(800, 0.0) < width(100, 0.0) / 2
    assert width(800, 0.5) > 2 * width(800, 0.0)


def test_equal_candidates_have_no_reliability():
    assert noise_of(np.tile(np.arange(5.0), (8, 1)), np.arange(5)) is None


def test_items_that_rank_candidates_alike_leave_no_noise():
    found = noise_of(np.arange(8.0)[:, None] + np.arange(5.0), np.arange(5))
    assert found.alpha == 1
    assert found.alpha_interval() == (1, 1)


def test_interaction_is_what_both_levels_leave():
    scores = np.array([[1.0, 2.0], [3.0, 8.0]])
    np.testing.assert_allclose(interaction(scores), [[1, -1], [-1, 1]])
    assert np.allclose(interaction(np.arange(3.0)[:, None] + np.arange(4.0)), 0)
