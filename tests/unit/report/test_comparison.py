from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import synthetic
from iclscope.report import figures, pages
from iclscope.report.chapters.across_models import CHAPTER, quality_across_models, shared_by_models
from iclscope.tables import VARIANCE
from synthetic_pages import SETTINGS

FIGURE, SHARED = CHAPTER.figures


@pytest.fixture(scope="module")
def studies():
    """Two models whose candidates have the same ability, and one that knows nothing of it."""
    first = synthetic.results(synthetic.frames(synthetic.SMALL), "small")
    shifted = first.quality.with_columns(pl.col("value") * 2 + 1)
    rng = np.random.default_rng(0)
    other = first.quality.with_columns(value=pl.Series(rng.standard_normal(first.quality.height)))
    tables = {name: getattr(first, name) for name in synthetic.WRITTEN}
    names = ("small", "large", "odd")
    tables["agreement"] = synthetic.agreement(48, 48, first.targets, names)
    return [
        synthetic.results(tables, "small"),
        synthetic.results({**tables, "quality": shifted}, "large"),
        synthetic.results({**tables, "quality": other}, "odd"),
    ]


def test_every_pair_of_models_has_a_panel_with_every_candidate(studies):
    figure = quality_across_models(studies)
    assert len(figure.axes) == 3
    quality = studies[0].quality.filter(target=studies[0].target)
    dots = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(dots.get_xdata(), quality["value"])
    np.testing.assert_allclose(dots.get_ydata(), 2 * quality["value"] + 1)
    best = figure.axes[0].get_lines()[1].get_xdata()
    np.testing.assert_allclose(sorted(best), sorted(quality["value"])[-5:])
    assert "large" in figure.axes[0].get_ylabel()


def test_caption_states_size_lines_and_conclusion(studies):
    text = FIGURE.caption(studies[:2], 0.2).text
    for part in ("48 candidates", "Dashed: the means", "small and large: ρ = 0.60", "survives"):
        assert part in text
    assert "odd" in FIGURE.caption(studies, 0.2).text


def test_both_formats_are_written(studies, tmp_path):
    tables = {name: getattr(studies[0], name) for name in synthetic.WRITTEN}
    paths = synthetic.write({**tables, "candidates": synthetic.frames(synthetic.SMALL)["candidates"]}, tmp_path)
    figures.run_comparison("data", {"a": paths, "b": paths}, 1, tmp_path / "plots")
    assert {path.suffix for path in (tmp_path / "plots").iterdir()} == {".png", ".svg"}


def test_page_shows_the_comparison_of_several_models(studies, tmp_path):
    tables = synthetic.frames(synthetic.SMALL)
    tables["agreement"] = studies[0].agreement
    paths = synthetic.write(tables, tmp_path)
    models = dict.fromkeys(("small", "large"), paths)
    figures.run_comparison("data", models, 1, tmp_path / "plots")
    figures.run(model="any", dataset="data", tables=paths, study_tables=1, folder=tmp_path / "plots")
    (tmp_path / "run.json").write_text("{}")
    pictures = pages.by_stem(sorted((tmp_path / "plots").glob("*.svg")))
    files = pages.PageFiles(
        dataset="data",
        models=dict.fromkeys(models, pages.ModelFiles(paths, tmp_path / "explorer.html", pictures)),
        candidates=paths["candidates"],
        run_record=tmp_path / "run.json",
        verdict=None,
        comparison=pictures,
    )
    pages.run_page(files, SETTINGS, 1, tmp_path / "data.html")
    page = (tmp_path / "data.html").read_text(encoding="utf-8")
    assert "Quality of the candidates across models" in page
    assert "small and large: ρ\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.60" in page


def with_variance(studies, target, **variances):
    """The models with a table variance that says so of one target; `variances`: shared and own, source by source."""
    rows = [
        {"target": target, "of": of, "source": source, "variance": value}
        for of, values in variances.items()
        for source, value in zip(("candidate", "item", "push", "rest"), values, strict=True)
    ]
    return [replace(of, variance=pl.DataFrame(rows, schema=VARIANCE.schema)) for of in studies]


def test_what_models_share_is_drawn_and_said(studies):
    told = with_variance(studies, studies[0].target, shared=(3.0, 5.0, 0.0, -1.0), own=(1.0, 0.0, 0.0, 4.0))
    bars = [bar for bars in shared_by_models(told).axes[0].containers for bar in bars]
    assert [bar.get_width() for bar in bars] == [3, 1, 0, 0, -1, 4, 5, 0]
    assert "Of how good a candidate is, 75 % is shared by the models." in SHARED.caption(told, 0.2).text


def test_nothing_is_said_of_what_cannot_be_told(studies):
    nothing = with_variance(studies, studies[0].target, shared=(-1.0, 0.0, 0.0, 0.0), own=(0.0, 0.0, 0.0, 1.0))
    assert "cannot be told from nothing" in SHARED.caption(nothing, 0.2).text
    other = with_variance(studies, "another", shared=(1.0, 1.0, 1.0, 1.0), own=(1.0, 1.0, 1.0, 1.0))
    assert "no plain mean" in SHARED.caption(other, 0.2).alt
    assert "no plain mean" in shared_by_models(other).axes[0].texts[0].get_text()
