import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

import planted
from iclscope.runtime.errors import StudyError
from iclscope.signals.grid import CONTROL_NAMES, FEATURE_NAMES, feature_signals, read_features, read_metrics
from iclscope.tables import METRICS


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return planted.write(tmp_path_factory.mktemp("study"), planted.Plan(candidates=12, items=6, layers=2))


def test_every_metric_of_every_mask_is_a_signal(study):
    signals = read_metrics(study.metrics, 12)
    assert signals.ranks.shape == (2 * 2 * 2 * len(planted.METRIC_NAMES), 12)
    assert signals.about["mask"].unique(maintain_order=True).to_list() == ["causal", "self_only"]
    assert signals.about["family"].unique().to_list() == ["activation"]


def test_ranks_belong_to_the_key_beside_them(study):
    signals = read_metrics(study.metrics, 12)
    frame = METRICS.read(study.metrics["self_only"]).filter(site="resid", layer=1, pooling="all", metric="mean")
    row = signals.where(
        (signals.about["mask"] == "self_only")
        & (signals.about["site"] == "resid")
        & (signals.about["layer"] == 1)
        & (signals.about["metric"] == "mean")
    )
    np.testing.assert_array_equal(row.ranks[0], rankdata(frame["value"]) - 6.5)


def test_constant_and_holed_signals_say_why_they_are_undefined(study):
    about = read_metrics(study.metrics, 12).about
    constant, holed, sound = (about.filter(metric=m).row(0, named=True) for m in ("constant", "holed", "mean"))
    assert constant["reason"] == "constant: 1 distinct value"
    assert (constant["n"], constant["n_unique"], constant["tie_share"]) == (12, 1, 1.0)
    assert holed["reason"] == "undefined for 2 candidates: no token left"
    assert (holed["n"], holed["n_unique"], holed["tie_share"]) == (10, 10, 0.0)
    assert sound["reason"] is None


def test_ties_are_counted(tmp_path):
    values = [1.0, 1.0, 2.0, 3.0, 3.0, 3.0]
    frame = pl.DataFrame(
        {
            "site": "resid",
            "layer": 0,
            "pooling": "all",
            "metric": "massive",
            "candidate": range(6),
            "value": values,
            "reason": pl.Series([None] * 6, dtype=pl.String),
        }
    ).cast(dict(METRICS.schema))
    METRICS.write(frame, tmp_path / "causal.parquet", {})
    about = read_metrics({"causal": tmp_path / "causal.parquet"}, 6).about.row(0, named=True)
    assert about["n_unique"] == 3
    assert about["tie_share"] == pytest.approx(5 / 6)


def test_metrics_of_other_candidates_are_refused(study):
    with pytest.raises(StudyError, match="other candidates than the evaluation, which has 8"):
        read_metrics(study.metrics, 8)


def test_features_of_other_candidates_are_refused(study):
    with pytest.raises(StudyError, match="other candidates than the evaluation, which has 11"):
        read_features(study.paths["features"], 11)


def test_features_and_controls_are_families_of_their_own(study):
    signals = feature_signals(read_features(study.paths["features"], 12))
    assert signals.about["metric"].to_list() == [*FEATURE_NAMES, *CONTROL_NAMES]
    assert signals.about.filter(family="control")["metric"].to_list() == ["random"]
    assert signals.about["mask"].null_count() == len(signals.ranks)
    assert "label" not in signals.about["metric"]


def test_features_without_choices_are_undefined(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=12, items=6, layers=1, generated=True))
    about = feature_signals(read_features(made.paths["features"], 12)).about
    undefined = about.filter(pl.col("reason").is_not_null())
    of_labels = {"content_free_entropy", "content_free_mass"}
    assert set(undefined["metric"]) == {"zero_shot_margin", "zero_shot_entropy", *of_labels}
    reasons = dict(undefined.select("metric", "reason").iter_rows())
    assert reasons["zero_shot_margin"] == "undefined for 12 candidates: no value"
    for name in of_labels:
        assert reasons[name].startswith("undefined for 12 candidates: the answers to choose from differ"), reasons


def test_joined_signals_keep_their_order(study):
    first, second = read_metrics(study.metrics, 12), feature_signals(read_features(study.paths["features"], 12))
    both = first.joined(second)
    assert both.about.height == len(both.ranks) == len(first.ranks) + len(second.ranks)
    np.testing.assert_array_equal(both.ranks[-len(second.ranks) :], second.ranks)
    assert not both.undefined("because").defined.any()
