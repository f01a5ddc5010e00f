import numpy as np
import pytest
from scipy.stats import permutation_test, spearmanr

from iclscope.statistics.ranks import centred_ranks, unit
from iclscope.statistics.signals.shuffles import Shuffles, p_of_largest, permute


def test_every_row_is_a_permutation_and_comes_again():
    shuffles = Shuffles(7, 1500, 3)
    orders = np.concatenate(list(shuffles.blocks()))
    assert orders.shape == (1500, 7)
    assert (np.sort(orders, axis=1) == np.arange(7)).all()
    assert len(np.unique(orders, axis=0)) > 1200
    np.testing.assert_array_equal(orders, np.concatenate(list(shuffles.blocks())))
    assert (orders != np.concatenate(list(Shuffles(7, 1500, 4).blocks()))).any()


def test_clusters_of_one_size_change_places_whole():
    clusters = np.array([0, 1, 2, 0, 1, 2])
    for order in np.concatenate(list(Shuffles(6, 200, 0, clusters).blocks())):
        assert all(len(set(clusters[order[clusters == own]])) == 1 for own in range(3))
    orders = np.concatenate(list(Shuffles(6, 2000, 0, clusters).blocks()))
    assert len(np.unique(orders, axis=0)) == 6 * 2**3


def test_clusters_of_several_sizes_stay_side_by_side():
    clusters = np.array([0, 0, 0, 1, 2, 2])
    for order in np.concatenate(list(Shuffles(6, 200, 0, clusters).blocks())):
        assert (np.sort(order) == np.arange(6)).all()
        assert np.count_nonzero(np.diff(clusters[order])) == 2


def test_error_is_that_of_independent_units():
    rng = np.random.default_rng(0)
    rows, target = unit(rng.standard_normal((3, 120))).astype(np.float32), unit(centred_ranks(rng.standard_normal(120)))
    np.testing.assert_allclose(Shuffles(120, 10, 0).error(rows, target), 1 / np.sqrt(117))
    clusters = np.arange(120) // 4
    whole = unit(centred_ranks(rng.standard_normal((2, 30)))).repeat(4, axis=1) / 2
    error = Shuffles(120, 1024, 0, clusters).error(whole[:1].astype(np.float32), whole[1])
    assert error[0] == pytest.approx(1 / np.sqrt(29), rel=0.1)
    # a signal that differs within clusters only as between them is free to move
    assert Shuffles(120, 1024, 0, clusters).error(rows, target) == pytest.approx(1 / np.sqrt(117), rel=0.1)


def test_p_agrees_with_all_permutations_by_scipy():
    rng = np.random.default_rng(4)
    values, quality = rng.standard_normal((2, 6)), rng.standard_normal(6)
    rows, target = unit(centred_ranks(values)).astype(np.float32), unit(centred_ranks(quality))
    shuffles = Shuffles(6, 20_000, 0)
    error = shuffles.error(rows, target)
    null = permute(rows, target, shuffles, np.abs(np.arctanh(rows @ target)) / error, error)
    for p, signal in zip(null.p(), values, strict=True):
        exact = permutation_test(
            (signal,),
            lambda x: abs(spearmanr(x, quality).statistic),
            permutation_type="pairings",
            alternative="greater",
        )
        assert p == pytest.approx(exact.pvalue, abs=0.012)


def test_families_of_several_tables_are_one():
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(p_of_largest(np.array([0.5, 2.5, 5.0]), [first, second]), [1, 4 / 5, 1 / 5])
    np.testing.assert_allclose(p_of_largest(np.array([2.5]), [first]), [3 / 5])
