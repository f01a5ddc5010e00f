import numpy as np
import polars as pl
import pytest

import synthetic
from iclscope.verdict.results import Results, strongest_of


@pytest.fixture(scope="module")
def tables():
    return synthetic.frames(synthetic.SMALL)


def test_claims_are_about_the_declared_target(tables):
    assert synthetic.results(tables).target == "gold_logprob"
    other = tables["reliability"].with_columns(primary=pl.col("target") == "margin")
    assert synthetic.results({**tables, "reliability": other}).target == "margin"


def test_claims_hold_for_all_tables_of_the_study(tables):
    alone, many = (synthetic.results(tables, study_tables=number).signals for number in (1, 8))
    assert alone["p_study"].equals(alone["p_maxt"].alias("p_study"))
    np.testing.assert_allclose(many["p_study"].drop_nulls(), np.minimum(1, 8 * many["p_maxt"].drop_nulls()))
    np.testing.assert_allclose(many["p_beyond_study"].drop_nulls(), np.minimum(1, 8 * many["p_beyond"].drop_nulls()))


@pytest.mark.parametrize(
    ("p", "beyond", "small", "status"),
    [
        (0.02, 0.02, False, "predicts"),
        (0.02, 0.03, False, "predicts only what label, length and zero-shot scores tell"),
        (0.02, None, False, "predicts only what label, length and zero-shot scores tell"),
        (0.02, 0.02, True, "related, too small to use"),
        (0.03, 0.02, True, "no useful effect"),
        (0.03, 0.02, False, "cannot tell"),
    ],
)
def test_status_follows_the_corrected_p_of_the_whole_study(tables, p, beyond, small, status):
    same = tables["correlation"].with_columns(
        p_maxt=pl.lit(p, pl.Float64), p_beyond=pl.lit(beyond, pl.Float64), small=pl.lit(small)
    )
    results = synthetic.results({**tables, "correlation": same}, study_tables=2)
    assert results.status == status
    assert results.signals.filter(pl.col("rho").is_null())["status"].null_count() > 0
    noisy = tables["reliability"].with_columns(alpha=pl.lit(None, pl.Float64))
    beyond_noise = synthetic.results({**tables, "correlation": same, "reliability": noisy}, study_tables=2)
    assert beyond_noise.status in {"cannot tell", "no useful effect"}


def test_signals_are_those_of_the_primary_target_strongest_first(tables):
    results = synthetic.results(tables)
    own = tables["correlation"].filter(target="gold_logprob", family="activation")
    rho = results.signals["rho"].drop_nulls().abs().to_list()
    assert results.signals.height == own.height
    assert rho == sorted(rho, reverse=True)
    assert abs(results.strongest["rho"]) == own["rho"].abs().max()
    assert results.signals["rho"].tail(own["rho"].null_count()).null_count() == own["rho"].null_count() > 0


def test_main_pooling_is_all_tokens_where_the_study_has_it(tables):
    assert synthetic.results(tables).main_pooling == "all"
    some = tables["correlation"].filter(pl.col("pooling").is_null() | (pl.col("pooling") != "all"))
    assert synthetic.results({**tables, "correlation": some}).main_pooling == "answer"


def test_strongest_of_nothing_is_none(tables):
    assert strongest_of(tables["correlation"].head(0)) is None
    assert synthetic.results(synthetic.undefined(tables)).strongest is None


def test_read_takes_what_the_workflow_writes(tables, tmp_path):
    paths = synthetic.write(tables, tmp_path)
    results = Results.read("model", "data", paths, 1)
    assert results.correlation.equals(tables["correlation"])
    assert results.targets == ["accuracy", "accuracy_norm", "gold_logprob", "margin", "gain"]
    assert results.headline_of("margin")["target"] == results.reliability_of("margin")["target"] == "margin"
