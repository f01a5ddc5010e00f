from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from iclscope.statistics.random_effects import mean_of_settings, pool
from iclscope.tables import AGREEMENT
from iclscope.verdict.across import agreement, features_across, signals_across


def model(name, dataset="boolq", others=None, correlation=None):
    """As much of the results of a model as is looked at; `others`: rho of true quality with other models."""
    rows = [
        {"target": "accuracy", "with_model": other, "with_target": "accuracy", "candidates": 8, "rho": rho}
        | {"low": None if rho is None else rho - 0.1, "high": None if rho is None else rho + 0.1}
        for other, rho in (others or {}).items()
    ]
    names = ("target", "with_model", "with_target", "candidates", "rho", "low", "high")
    compared = pl.DataFrame(rows, schema={name: AGREEMENT.schema[name] for name in names})
    return SimpleNamespace(
        model=name, dataset=dataset, targets=["accuracy"], agreement=compared, correlation=correlation
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


def test_models_are_compared_on_the_same_data_and_targets_only():
    studies = [model("a", "boolq", {"b": 0.5}), model("b", "boolq", {"a": 0.5}), model("b", "asdiv")]
    (row,) = agreement(studies, 0.2)
    assert (row["dataset"], row["models"], row["target"]) == ("boolq", ["a", "b"], "accuracy")
    assert row["rho"] == 0.5


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

    studies = [
        model("a", correlation=table(-0.2, -0.4, 0.02)),
        model("b", correlation=table(0.2, -0.02, 0.4)),
    ]
    (row,) = features_across(studies)
    assert (row["metric"], row["settings"], row["positive"]) == ("length", 2, 1)
    assert row["rho"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("rho", "status"), [(0.5, "survives"), (0.3, "undecided"), (0.05, "does not survive"), (None, "undefined")]
)
def test_quality_survives_where_the_whole_interval_says_so(rho, status):
    (row,) = agreement([model("a", "boolq", {"b": rho}), model("b", "boolq", {"a": rho})], 0.3)
    assert row["status"] == status


def signals(rhos):
    """Correlation table of activation signals, a layer each, with intervals of half width 0.1 in z."""
    z = np.arctanh(rhos)
    columns = {"rho": rhos, "low": np.tanh(z - 0.1), "high": np.tanh(z + 0.1), "layer": range(len(rhos))}
    key = {"target": "accuracy", "family": "activation", "mask": "causal", "site": "resid", "pooling": "all"}
    return pl.DataFrame(columns).with_columns(pl.lit(v).alias(k) for k, v in {**key, "metric": "mean"}.items())


def test_activation_signals_are_pooled_over_the_data_sets_of_a_model():
    tables = [np.array([0.5, 0.3, -0.2]), np.array([-0.4, 0.3, -0.1])]
    studies = [model("a", name, correlation=signals(t)) for name, t in zip("xy", tables, strict=True)]
    studies.append(model("b", "x", correlation=signals(tables[0])))
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
