import polars as pl
import pytest

import synthetic
from iclscope.verdict.results import Results, strongest_of


@pytest.fixture(scope="module")
def tables():
    return synthetic.frames(synthetic.SMALL)


def with_alpha(tables, **alpha):
    reliability = tables["reliability"].with_columns(
        alpha=pl.col("target").replace_strict(alpha, default=None, return_dtype=pl.Float64)
    )
    return synthetic.results({**tables, "reliability": reliability})


def test_the_most_reliable_target_leads(tables):
    assert with_alpha(tables, accuracy=0.2, margin=0.5, gold_logprob=0.4).target == "margin"


def test_of_equally_reliable_targets_the_first_leads(tables):
    assert with_alpha(tables, gold_logprob=0.8, gain=0.8 + 1e-12).target == "gold_logprob"


def test_without_a_defined_alpha_the_first_target_leads(tables):
    assert with_alpha(tables).target == "accuracy"


def test_signals_are_those_of_the_leading_target_strongest_first(tables):
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
    results = Results.read("model", "data", paths)
    assert results.correlation.equals(tables["correlation"])
    assert results.targets == ["accuracy", "accuracy_norm", "gold_logprob", "margin", "gain"]
    assert results.headline_of("margin")["target"] == results.reliability_of("margin")["target"] == "margin"
