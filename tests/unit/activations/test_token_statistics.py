"""Statistics of activations against scipy and plain definitions."""

import numpy as np
import pytest
import scipy.stats
import torch

from iclscope.activations.per_token import summarise


def outliers(rng, rows=3, tokens=9, width=64):
    x = rng.standard_normal((rows, tokens, width)) * rng.uniform(0.01, 30, (rows, tokens, 1)) + rng.uniform(-5, 5)
    x[0, 0, 5] = 9000
    x[1, 3, 7] = -700
    return torch.from_numpy(x).float()


def test_moments_agree_with_scipy():
    x = outliers(np.random.default_rng(1))
    found = summarise(x, torch.tensor([9, 9, 9]), 4)
    exact = x.double().numpy()
    np.testing.assert_allclose(found["mean"], exact.mean(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["variance"], exact.var(-1), rtol=1e-5)
    np.testing.assert_allclose(found["skewness"], scipy.stats.skew(exact, axis=-1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["kurtosis"], scipy.stats.kurtosis(exact, axis=-1), rtol=1e-4, atol=1e-5)


def test_moments_survive_a_mean_far_from_zero():
    x = (torch.from_numpy(np.random.default_rng(2).gamma(2, 1, (1, 4, 4096))) + 500).float()
    found = summarise(x, torch.tensor([4]), 4)
    exact = x.double().numpy()
    np.testing.assert_allclose(found["variance"], exact.var(-1), rtol=1e-4)
    np.testing.assert_allclose(found["skewness"], scipy.stats.skew(exact, axis=-1), rtol=1e-3)
    np.testing.assert_allclose(found["kurtosis"], scipy.stats.kurtosis(exact, axis=-1), rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, -333.3])
def test_constant_tokens_have_no_shape(value):
    found = summarise(torch.full((1, 2, 100), value), torch.tensor([2]), 4)
    assert found["skewness"].isnan().all()
    assert found["kurtosis"].isnan().all()
    assert found["variance"].max() <= (1e-6 * value) ** 2


def test_magnitudes_agree_with_their_definitions():
    x = outliers(np.random.default_rng(3))
    x[2, 1, :50] = 0
    found = summarise(x, torch.tensor([9, 9, 9]), 4)
    magnitude = x.double().abs().numpy()
    share = magnitude / magnitude.sum(-1, keepdims=True)
    np.testing.assert_allclose(found["mean_abs"], magnitude.mean(-1), rtol=1e-5)
    np.testing.assert_array_equal(found["median_abs"], x.abs().median(-1).values)
    np.testing.assert_array_equal(found["max_abs"], x.abs().amax(-1))
    np.testing.assert_array_equal(found["max_abs_neuron"], magnitude.argmax(-1))
    np.testing.assert_allclose(found["entropy_abs"], scipy.stats.entropy(share, axis=-1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["top_share"], np.sort(share, -1)[..., -4:].sum(-1), rtol=1e-5)


def test_the_largest_of_all_tokens_leave_out_padding():
    x = outliers(np.random.default_rng(4))
    x[0, 8] = 1e6
    found = summarise(x, torch.tensor([8, 9, 9]), 5)
    for row, length in enumerate([8, 9, 9]):
        own = x[row, :length]
        order = own.abs().flatten().argsort(descending=True)[:5]
        assert found["top_value"][row].tolist() == own.flatten()[order].tolist()
        assert found["top_token"][row].tolist() == (order // 64).tolist()
        assert found["top_neuron"][row].tolist() == (order % 64).tolist()


def test_massive_counts_agree_with_the_definition():
    rng = np.random.default_rng(5)
    x = torch.from_numpy(rng.standard_normal((4, 9, 64))).float() * 0.2
    x[0, 0, :3] = torch.tensor([900.0, -150.0, 99.0])  # median about 0.13: the first two
    x[1] *= 10
    x[1, 2, 0] = 900.0  # under 1000 medians
    x[2, 8, 0] = 5000.0  # padding
    x[3] *= 1e-3
    x[3, 4, 1] = 99.0  # under 100
    lengths = [9, 9, 8, 9]
    counts = summarise(x, torch.tensor(lengths), 4)["massive"].numpy()
    for row, length in enumerate(lengths):
        own = x[row, :length].abs().numpy()
        wanted = ((own > 100) & (own > 1000 * np.median(own))).sum(-1)
        np.testing.assert_array_equal(counts[row, :length], wanted)
    assert counts[0, 0] == 2
    assert counts[[1, 3]].sum() == 0


def test_pooled_vectors():
    x = outliers(np.random.default_rng(6))
    found = summarise(x, torch.tensor([4, 9, 1]), 4)
    for row, length in enumerate([4, 9, 1]):
        np.testing.assert_allclose(found["mean_vector"][row], x[row, :length].mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found["last_vector"][row], x[row, length - 1])
