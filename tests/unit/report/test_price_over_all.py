"""The figure of the index: what selectors gain and cost over all data sets."""

import math

import polars as pl
import pytest

import synthetic
from iclscope.report.chapters import price_over_all
from iclscope.tables import BEST_POSSIBLE, SELECTION


def study(dataset, model="model", **selectors):
    """Results in which each selector has the gain, half width and tokens given, in every target."""
    tables = synthetic.frames(synthetic.SMALL)
    rows = []
    for row in tables["selection"].filter(selector="length").iter_rows(named=True):
        for name, (gain, half, cost) in selectors.items():
            rows.append(row | {"selector": name, "gain": gain, "low": gain - half, "high": gain + half, "cost": cost})
    best = pl.when(pl.col("selector") == BEST_POSSIBLE).then(pl.lit(0.8 if dataset == "a" else 0.4))
    gains = tables["gains"].with_columns(best.otherwise("gain").alias("gain"))
    frame = pl.DataFrame(rows, schema=SELECTION.schema)
    return synthetic.results(tables | {"selection": frame, "gains": gains}, model, dataset)


@pytest.fixture(scope="module")
def studies():
    return [
        study("a", "one", search=(0.5, 0.3, 100.0), cheap=(0.2, 0.1, 0.0), labels=(0.9, 0.1, 10.0)),
        study("a", "two", search=(0.3, 0.1, 100.0), cheap=(0.0, 0.1, 0.0), labels=(0.9, 0.1, 10.0)),
        study("b", "one", search=(0.0, 0.4, 999.0), cheap=(0.1, 0.2, 0.0)),
        study("b", "two", search=(0.0, 0.4, 999.0), cheap=(0.1, 0.2, 0.0)),
    ]


def test_means_over_data_sets_take_the_errors_of_models_for_the_same(studies):
    found = {row["selector"]: row for row in price_over_all.pooled([(one, one.target) for one in studies]).to_dicts()}
    assert list(found) == ["cheap", "labels", "search"]
    search = found["search"]
    assert search["gain"] == pytest.approx((0.4 + 0.0) / 2)
    half = math.hypot(0.2, 0.4) / 2
    assert (search["low"], search["high"]) == pytest.approx((search["gain"] - half, search["gain"] + half))
    assert search["cost"] == pytest.approx(math.sqrt(101 * 1000) - 1)
    assert found["cheap"]["cost"] == 0
    assert {name: row["everywhere"] for name, row in found.items()} == {"cheap": True, "labels": False, "search": True}


def test_the_figure_has_a_panel_for_each_unit_with_the_mean_bound_and_the_frontier_of_what_compares(studies):
    figure = price_over_all.gain_by_tokens(studies)
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "mean gain over random (nats)",
        "mean gain over random (share of items)",
    ]
    for ax in figure.axes:
        assert ax.get_xscale() == "log"
        dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
        assert len(dots) == 3
        assert sum(dot.get_markerfacecolor() == "white" for dot in dots) == 1  # labels, which data set b has not
        assert [text.get_text() for text in ax.texts] == ["truly best of a pool", "random", "cheap", "search"]
        (bound,) = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
        assert bound.get_ydata()[0] == pytest.approx(0.6)
    said = price_over_all.caption(studies)
    assert "frontier is cheap (0 tokens, +0.100), search (317 tokens, +0.200)." in said.text
    assert "2 data sets and 2 models" in said.text


def test_a_selector_without_an_interval_is_a_point_and_an_unknown_bound_is_no_line(studies):
    first, *others = studies
    blank = first.selection.with_columns(pl.lit(None, pl.Float64).alias("low"), pl.lit(None, pl.Float64).alias("high"))
    gains = first.gains.filter(pl.col("selector") != BEST_POSSIBLE)
    tables = {name: getattr(first, name) for name in synthetic.WRITTEN} | {"selection": blank, "gains": gains}
    ax = price_over_all.gain_by_tokens([synthetic.results(tables, "one", "a"), *others]).axes[0]
    lines = ax.get_lines()
    assert sum(line.get_marker() == "o" for line in lines) == 3
    assert not [line for line in lines if line.get_linestyle() == ":"]
    assert not [line for line in lines if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1]


def test_studies_in_which_no_gain_is_defined_are_drawn_without_points():
    tables = synthetic.frames(synthetic.SMALL)
    blank = tables["selection"].with_columns(gain=pl.lit(None, pl.Float64))
    nothing = synthetic.results(tables | {"selection": blank})
    for ax in price_over_all.gain_by_tokens([nothing, nothing]).axes:
        assert not [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert "nothing gains more than random choice" in price_over_all.caption([nothing]).text
