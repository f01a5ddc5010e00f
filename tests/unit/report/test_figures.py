import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

import synthetic
from iclscope.report import figures
from iclscope.report.chapters import correlation, overview, price, reliability, selection
from iclscope.report.style import save
from iclscope.tables import BEST_POSSIBLE

DRAWINGS = {drawing.name: drawing for chapter in figures.CHAPTERS for drawing in chapter.figures}
PLANTED = replace(synthetic.SMALL, effect=4.0, poolings=("all", "answer"), candidates=60)


@pytest.fixture(scope="module")
def tables():
    return synthetic.frames(PLANTED)


@pytest.fixture(scope="module")
def results(tables):
    return synthetic.results(tables)


def panel(figure, title):
    """The axes whose title, or one of its texts, is `title`."""
    return next(ax for ax in figure.axes if title in (ax.get_title("left"), ax.get_title()))


def heights(ax, dashes):
    """Heights of the horizontal lines of one dash style."""
    lines = [line for line in ax.get_lines() if len(set(line.get_ydata())) == 1 and line.get_linestyle() == dashes]
    return sorted(line.get_ydata()[0] for line in lines)


def texts(figure):
    return " | ".join(text.get_text() for ax in figure.axes for text in ax.texts)


def test_run_writes_every_figure_readable_at_page_width_and_always_the_same(tables, tmp_path):
    paths = synthetic.write(tables, tmp_path)
    for folder in ("one", "two"):
        figures.run(model="model", dataset="data", tables=paths, study_tables=1, folder=tmp_path / folder)
    written = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert written == sorted(f"{name}.{suffix}" for name in DRAWINGS for suffix in ("png", "svg"))
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    for path in (tmp_path / "one").glob("*.png"):
        with Image.open(path) as image:
            assert image.width >= 7 * 150 - 1


def test_rho_by_layer_draws_null_line_and_ceiling_in_every_mask(results):
    headline = results.headline_of(results.target)
    figure = correlation.rho_by_layer(results)
    assert [ax.get_title("left") for ax in figure.axes] == list(PLANTED.masks)
    for ax in figure.axes:
        assert heights(ax, "--") == pytest.approx([-headline["null_95"], headline["null_95"]])
        assert heights(ax, ":") == pytest.approx([-headline["ceiling"], headline["ceiling"]])
    assert "95 % null" in texts(figure)
    assert "noise ceiling" in texts(figure)


def test_rho_by_layer_marks_the_strongest_signal_of_each_mask(results, tables):
    figure = correlation.rho_by_layer(results)
    own = tables["correlation"].filter(target=results.target, family="activation")
    for mask in PLANTED.masks:
        best = own.filter(mask=mask).sort(pl.col("rho").abs(), descending=True, nulls_last=True).row(0, named=True)
        dots = [line for line in panel(figure, mask).get_lines() if line.get_marker() == "o"]
        assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [(best["layer"], best["rho"])]
    assert "kurtosis · resid · answer" in texts(figure)  # the planted series
    assert "(largest)" in texts(figure)


def test_a_ceiling_far_beyond_the_scale_is_named_at_the_edge(tables):
    narrow = tables["correlation"].with_columns(pl.col("rho", "low", "high") * 0.1)
    headline = tables["headline"].with_columns(null_95=pl.lit(0.1), best_rho=pl.col("best_rho") * 0.1)
    figure = correlation.rho_by_layer(synthetic.results({**tables, "correlation": narrow, "headline": headline}))
    assert any(arrow in texts(figure) for arrow in "↑↓")
    assert figure.axes[0].get_ylim()[1] < 0.3


def test_heat_map_shows_the_strongest_pooling_and_hides_what_is_undefined(results, tables):
    figure = correlation.rho_heatmap(results)
    own = tables["correlation"].filter(target=results.target, family="activation")
    dots = 0
    for mask in PLANTED.masks:
        ax = panel(figure, mask)
        grid = ax.collections[0].get_array().reshape(len(PLANTED.sites) * len(PLANTED.metrics), PLANTED.layers)
        for row, (site, metric) in enumerate((s, m) for s in PLANTED.sites for m in PLANTED.metrics):
            for layer in range(PLANTED.layers):
                cell = own.filter(mask=mask, site=site, metric=metric, layer=layer).drop_nulls("rho")
                if cell.is_empty():
                    assert grid.mask[row, layer]
                    continue
                best = cell.sort(pl.col("rho").abs(), descending=True).row(0, named=True)
                assert grid[row, layer] == pytest.approx(best["rho"])
                dots += best["p_maxt"] < 0.05
        assert ax.collections[0].norm.vmin == -ax.collections[0].norm.vmax
    drawn = sum(line.get_marker() == "o" for ax in figure.axes for line in ax.get_lines())
    assert drawn == dots > 0


def test_quality_is_sorted_beside_what_noise_alone_would_show(results, tables):
    ax = panel(reliability.quality_distribution(results), "gold log probability")
    row = results.reliability_of("gold_logprob")
    dots, noise = (line.get_ydata() for line in ax.get_lines()[:2])
    assert list(dots) == sorted(tables["quality"].filter(target="gold_logprob")["value"])
    assert np.std(noise, ddof=1) == pytest.approx(row["sd"] * math.sqrt(1 - row["alpha"]), rel=0.03)
    assert np.mean(noise) == pytest.approx(row["mean"])
    assert row["zero_shot"] in heights(ax, "--")


def test_many_candidates_become_a_band():
    many = synthetic.frames(replace(synthetic.SMALL, candidates=400, layers=2))
    figure = reliability.quality_distribution(synthetic.results(many))
    assert all(not ax.containers for ax in figure.axes)  # error bars are containers


def test_selector_gain_shows_every_selector_but_random(results, tables):
    figure = selection.selector_gain(results)
    assert [ax.get_title("left") for ax in figure.axes] == ["gold log probability", "accuracy"]
    own = tables["selection"].filter(pl.col("selector") != "random", target="accuracy")
    dots = {line.get_xdata()[0] for line in figure.axes[1].get_lines() if line.get_marker() == "o"}
    assert dots == set(own["gain"])
    spans = {tuple(line.get_xdata()) for line in figure.axes[1].get_lines()}
    assert set(own.select("low", "high").rows()) <= spans


def test_reliability_curve_follows_spearman_brown_through_this_study(results):
    figure = reliability.reliability_curve(results)
    row = results.reliability_of("margin")
    curves = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) > 2]
    at_study = [np.interp(row["items"], *line.get_data()) for line in curves]
    curve = curves[int(np.argmin(np.abs(np.array(at_study) - row["ceiling"])))]
    for k in (0.5, 1, 4):
        expected = math.sqrt(k * row["alpha"] / (1 + (k - 1) * row["alpha"]))
        assert np.interp(k * row["items"], *curve.get_data()) == pytest.approx(expected, abs=2e-3)


def test_overview_draws_the_largest_rho_of_each_study(results, tables):
    nothing = synthetic.results(synthetic.undefined(tables), dataset="empty")
    figure = overview.largest_correlations([results, nothing])
    dots = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert [abs(dot.get_xdata()[0]) for dot in dots] == [abs(results.headline_of(results.target)["best_rho"])]
    assert "undefined" in texts(figure)


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_study_without_one_defined_number_is_drawn_and_says_so(tables, tmp_path, name):
    figure = DRAWINGS[name].draw(synthetic.results(synthetic.undefined(tables)))
    save(figure, tmp_path / name)
    if name in ("rho_by_layer", "reliability_curve"):
        assert "no defined correlation" in texts(figure) or "undefined" in texts(figure)


def test_one_mask_and_one_target_make_one_panel():
    tables = synthetic.frames(replace(synthetic.SMALL, masks=("causal",), poolings=("last",)))
    only = {name: frame.filter(target="margin") for name, frame in tables.items() if name in synthetic.WRITTEN}
    only["reliability"] = only["reliability"].with_columns(primary=True)
    results = synthetic.results(only)
    assert len(correlation.rho_by_layer(results).axes) == 1
    assert len(reliability.quality_distribution(results).axes) == 1
    assert len(selection.selector_gain(results).axes) == 1


def test_luck_of_the_largest_shows_its_worth_with_an_interval(results):
    ax = correlation.luck(results).axes[0]
    lines = [line for line in ax.get_lines() if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 2]
    assert len(lines) == len(results.targets)
    for line, target in zip(lines, results.targets, strict=True):
        row = results.headline_of(target)
        sign = np.sign(row["best_rho"])
        assert list(line.get_xdata()) == pytest.approx([sign * row["best_value_low"], sign * row["best_value_high"]])
    assert [label.get_text() for label in ax.get_yticklabels()][2] == "gold log probability"


def test_luck_of_what_is_undefined_is_said_to_be(tables):
    figure = correlation.luck(synthetic.results(synthetic.undefined(tables)))
    assert texts(figure).count("undefined") == len(tables["reliability"])


def priced(*rows):
    """Selectors by name, tokens and gain, cheapest first."""
    return pl.DataFrame(rows, schema=["selector", "cost", "gain"], orient="row")


def test_the_frontier_has_who_gains_more_than_all_that_read_no_more():
    rows = [("a", 0, -0.1), ("b", 10, 0.2), ("c", 10, 0.1), ("d", 20, 0.2), ("e", 30, 0.3), ("f", 99, 0.1)]
    assert price.frontier(priced(*rows))["selector"].to_list() == ["b", "e"]
    assert price.frontier(priced(("a", 0, 0.1), ("b", 10, -0.2)))["selector"].to_list() == ["a"]
    assert price.frontier(priced(("a", 0, -0.1), ("b", 10, 0.0))).is_empty()


def test_gain_by_tokens_shows_every_competitor_with_its_interval_and_the_bound_as_a_line(results, tables):
    figure = price.gain_by_tokens(results)
    for ax, target in zip(figure.axes, [results.target, "accuracy"], strict=True):
        assert ax.get_xscale() == "log"
        own = tables["selection"].filter(pl.col("selector") != "random", target=target)
        competitors = own.filter(pl.col("gain").is_not_null())
        dots = [line.get_ydata()[0] for line in ax.get_lines() if line.get_marker() == "o"]
        assert sorted(dots) == pytest.approx(sorted(competitors["gain"]))
        ends = [
            tuple(line.get_ydata())
            for line in ax.get_lines()
            if len(set(line.get_xdata())) == 1 < len(line.get_xdata())
        ]
        np.testing.assert_allclose(sorted(ends), sorted(competitors.select("low", "high").rows()))
        best = results.gains.filter(target=target, selector=BEST_POSSIBLE, pool=results.pool)
        assert heights(ax, ":") == pytest.approx(best["gain"].to_list())
        # search_16 gains most and reads most of all that compete.
        assert "search_16" in [text.get_text() for text in ax.texts]
    assert "search_16" in DRAWINGS["gain_by_tokens"].caption(results).text


def test_a_study_where_nothing_gains_has_no_frontier(tables):
    lost = tables["selection"].with_columns(-pl.col("gain").abs())
    found = synthetic.results(tables | {"selection": lost})
    assert "nothing gains more than random choice" in DRAWINGS["gain_by_tokens"].caption(found).text
    assert {text.get_text() for ax in price.gain_by_tokens(found).axes for text in ax.texts} == {
        "random",
        "truly best of a pool",
    }
