from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from iclscope.statistics.random_effects import mean_of_settings, pool
from iclscope.verdict.across import agreement, features_across, signals_across


def model(name, quality, dataset="boolq", alpha=0.64, correlation=None):
    """As much of the results of a model as the comparison looks at."""
    frames = [
        pl.DataFrame({"target": target, "candidate": range(len(values)), "value": values})
        for target, values in quality.items()
    ]
    return SimpleNamespace(
        model=name,
        dataset=dataset,
        targets=list(quality),
        quality=pl.concat(frames),
        correlation=correlation,
        reliability_of=lambda target: {"alpha": alpha},
    )


def test_equal_correlations_pool_to_themselves():
    pooled = mean_of_settings(np.array([0.3, 0.3]), np.array([0.1, 0.1]))
    assert pooled.rho == pytest.approx(0.3)
    assert pooled.tau == 0
    assert np.arctanh(pooled.high) - np.arctanh(pooled.low) == pytest.approx(2 * 1.959964 * 0.1 / np.sqrt(2))


def test_random_effects_by_hand():
    # z = 0 and 1, both with variance 0.1: Q = 5, tau^2 = (5 - 1) / (20 - 200 / 20) = 0.4.
    pooled = mean_of_settings(np.tanh([0.0, 1.0]), np.sqrt([0.1, 0.1]))
    assert np.arctanh(pooled.rho) == pytest.approx(0.5)
    assert pooled.tau == pytest.approx(np.sqrt(0.4))
    assert np.arctanh(pooled.high) - 0.5 == pytest.approx(1.959964 * np.sqrt(0.5 / 2))


def test_sure_settings_weigh_more_where_settings_agree():
    pooled = mean_of_settings(np.array([0.2, 0.3]), np.array([0.01, 0.2]))
    assert pooled.rho == pytest.approx(0.2, abs=0.001)


def test_agreement_is_spearmans_rho_with_noise_taken_out_beside_it():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 30)) + rng.standard_normal(30)
    (row,) = agreement([model("a", {"accuracy": first}), model("b", {"accuracy": second})], 0.2)
    assert row["models"] == ["a", "b"]
    assert row["rho"] == pytest.approx(spearmanr(first, second).statistic)
    assert row["rho_disattenuated"] == pytest.approx(row["rho"] / 0.64)
    assert row["low"] < row["rho"] < row["high"]


def test_models_are_compared_on_the_same_data_and_targets_only():
    quality = np.arange(8.0)
    studies = [
        model("a", {"accuracy": quality, "margin": quality}),
        model("b", {"accuracy": quality}),
        model("b", {"accuracy": quality}, dataset="asdiv"),
    ]
    assert [(row["dataset"], row["target"]) for row in agreement(studies, 0.2)] == [("boolq", "accuracy")]


@pytest.mark.parametrize("alpha", [None, 0.2])
def test_noise_is_not_taken_out_by_a_poor_alpha(alpha):
    quality = {"accuracy": np.arange(8.0)}
    (row,) = agreement([model("a", quality, alpha=alpha), model("b", quality)], 0.2)
    assert row["rho"] == 1
    assert row["rho_disattenuated"] is None


def test_agreement_with_equal_candidates_is_undefined():
    (row,) = agreement([model("a", {"accuracy": np.ones(8)}), model("b", {"accuracy": np.arange(8.0)})], 0.2)
    assert (row["rho"], row["status"]) == (None, "undefined")


def test_features_are_pooled_over_the_settings_that_define_them():
    def table(rho, low, high):
        return pl.DataFrame(
            {
                "target": "accuracy",
                "family": ["feature", "feature", "activation"],
                "metric": ["length", "nll", "mean"],
                "rho": [rho, 0.1, 0.9],
                "low": [low, None, 0.8],
                "high": [high, None, 0.95],
            },
            schema_overrides={"low": pl.Float64, "high": pl.Float64},
        )

    quality = {"accuracy": np.arange(8.0)}
    studies = [
        model("a", quality, correlation=table(-0.2, -0.4, 0.02)),
        model("b", quality, correlation=table(0.2, -0.02, 0.4)),
    ]
    (row,) = features_across(studies)
    assert (row["metric"], row["settings"], row["positive"]) == ("length", 2, 1)
    assert row["rho"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("noise", "status"), [(0.3, "survives"), (2.0, "undecided"), (1000.0, "does not survive")])
def test_quality_survives_where_the_whole_interval_says_so(noise, status):
    rng = np.random.default_rng(2)
    first = rng.standard_normal(400 if noise > 100 else 30)
    second = first + noise * rng.standard_normal(len(first))
    (row,) = agreement([model("a", {"accuracy": first}), model("b", {"accuracy": second})], 0.3)
    assert row["status"] == status


def signals(rhos):
    """Correlation table of activation signals, a layer each, with intervals of half width 0.1 in z."""
    z = np.arctanh(rhos)
    columns = {"rho": rhos, "low": np.tanh(z - 0.1), "high": np.tanh(z + 0.1), "layer": range(len(rhos))}
    key = {"target": "accuracy", "family": "activation", "mask": "causal", "site": "resid", "pooling": "all"}
    return pl.DataFrame(columns).with_columns(pl.lit(v).alias(k) for k, v in {**key, "metric": "mean"}.items())


def test_activation_signals_are_pooled_over_the_data_sets_of_a_model():
    quality = {"accuracy": np.arange(8.0)}
    tables = [np.array([0.5, 0.3, -0.2]), np.array([-0.4, 0.3, -0.1])]
    studies = [model("a", quality, name, correlation=signals(t)) for name, t in zip("xy", tables, strict=True)]
    studies.append(model("b", quality, "x", correlation=signals(tables[0])))
    (row,) = signals_across(studies)
    assert (row["model"], row["data_sets"], row["signals"]) == ("a", 2, 3)
    assert (row["same_sign"], row["same_sign_by_chance"]) == (2, 1.5)
    assert row["largest"] == "causal resid 1 all mean"
    assert row["rho"] == pytest.approx(0.3)
    assert row["tau"] == pytest.approx(0)


def test_pooling_many_signals_is_pooling_each():
    rng = np.random.default_rng(0)
    rho, error = np.tanh(rng.standard_normal((5, 3))), rng.uniform(0.1, 0.5, (5, 3))
    mean, low, high, tau = pool(rho, error)
    for row in range(5):
        one = mean_of_settings(rho[row], error[row])
        assert (one.rho, one.low, one.high, one.tau) == pytest.approx((mean[row], low[row], high[row], tau[row]))
