from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

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


def test_models_are_compared_on_the_same_data_and_targets_only():
    studies = [model("a", "boolq", {"b": 0.5}), model("b", "boolq", {"a": 0.5}), model("b", "asdiv")]
    (row,) = agreement(studies, 0.2)
    assert (row["dataset"], row["models"], row["target"]) == ("boolq", ["a", "b"], "accuracy")
    assert row["rho"] == 0.5


def table(**rhos):
    """A correlation table of features with intervals of half width 0.2 in z; None is undefined."""
    known = {name: rho for name, rho in rhos.items() if rho is not None}
    z = np.arctanh(list(known.values()))
    frame = {"metric": list(known), "rho": list(known.values()), "low": np.tanh(z - 0.2), "high": np.tanh(z + 0.2)}
    return pl.DataFrame(frame)


def of_features(name, dataset, **rhos):
    frames = {"feature": table(**rhos), "control": table(**rhos).head(0)}
    return SimpleNamespace(model=name, dataset=dataset, family=frames.__getitem__)


def test_models_are_averaged_before_data_sets_are_pooled():
    sets = {"x": (0.1, 0.3), "y": (0.4, 0.4), "z": (-0.2, 0.6)}
    studies = [of_features(m, d, length=rho) for d, rhos in sets.items() for m, rho in zip("ab", rhos, strict=True)]
    (row,) = features_across(studies)
    means = [np.arctanh(rhos).mean() for rhos in sets.values()]
    assert (row["metric"], row["data_sets"], row["positive"]) == ("length", 3, 3)
    assert np.arctanh(row["rho"]) == pytest.approx(np.mean(means), abs=1e-6)  # equal errors
    # Hartung-Knapp: t with 2 degrees of freedom times the standard error of three means
    assert np.arctanh(row["high"]) == pytest.approx(np.mean(means) + 4.302653 * np.std(means, ddof=1) / np.sqrt(3))
    assert row["next_low"] < row["low"]


def test_two_data_sets_have_a_mean_and_no_interval():
    (row,) = features_across([of_features("a", "x", length=0.2, nll=0.5), of_features("a", "y", length=0.4, nll=None)])
    assert (row["metric"], row["low"], row["tau"]) == ("length", None, None)
    assert 0.2 < row["rho"] < 0.4


@pytest.mark.parametrize(
    ("rho", "status"), [(0.5, "survives"), (0.3, "undecided"), (0.05, "does not survive"), (None, "undefined")]
)
def test_quality_survives_where_the_whole_interval_says_so(rho, status):
    (row,) = agreement([model("a", "boolq", {"b": rho}), model("b", "boolq", {"a": rho})], 0.3)
    assert row["status"] == status


def signals(rhos):
    """Activation signals, a layer each, with intervals of half width 0.196 in z."""
    z = np.arctanh(rhos)
    columns = {"rho": rhos, "low": np.tanh(z - 0.196), "high": np.tanh(z + 0.196), "statistic": z / 0.1}
    key = {"mask": "causal", "site": "resid", "pooling": "all", "metric": "mean"}
    return pl.DataFrame({**columns, "layer": range(len(rhos))}).with_columns(pl.lit(v).alias(k) for k, v in key.items())


def test_strongest_signal_over_the_data_sets_of_a_model_has_a_corrected_p():
    tables = [np.array([0.5, 0.3, -0.2]), np.array([-0.4, 0.3, -0.1])]
    studies = [SimpleNamespace(model="a", dataset=d, signals=signals(t)) for d, t in zip("xy", tables, strict=True)]
    studies.append(SimpleNamespace(model="b", dataset="x", signals=signals(tables[0])))
    (row,) = signals_across(studies)
    assert (row["model"], row["data_sets"], row["signals"]) == ("a", 2, 3)
    assert (row["same_sign"], row["same_sign_by_chance"]) == (2, 1.5)
    assert row["strongest"] == "causal resid 1 all mean"
    assert row["rho"] == pytest.approx(0.3)
    # 2 x atanh(0.3) / 0.1 / sqrt(2), times three signals of two models
    assert row["p"] == pytest.approx(2 * norm.sf(np.sqrt(2) * np.arctanh(0.3) / 0.1) * 6)
