"""What the explorer's page carries; how it behaves is tested in a browser."""

import json
import re

import numpy as np
import polars as pl
import pytest

import synthetic
import synthetic_pages
from iclscope.report import explorer
from iclscope.report.html import order

DESIGN = synthetic.SMALL


@pytest.fixture(scope="module")
def tables():
    return synthetic.frames(DESIGN)


def page_of(folder, tables):
    paths = synthetic.write(tables, folder)
    files = explorer.ExplorerFiles(paths, **synthetic_pages.inputs(tables, DESIGN, folder))
    output = folder / "report/candidates/model/data.html"
    explorer.run(model="model", dataset="data", files=files, study_tables=1, output=output)
    return output.read_text(encoding="utf-8")


def content_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("explorer")


@pytest.fixture(scope="module")
def content(folder, tables):
    return content_of(page_of(folder, tables))


def test_quality_and_texts_are_those_of_the_tables(content, tables):
    quality = tables["quality"].filter(target="margin").sort("candidate")
    (margin,) = [target for target in content["targets"] if target["name"] == "margin"]
    np.testing.assert_allclose(margin["value"], quality["value"], rtol=1e-3)
    half = (np.array(margin["high"]) - np.array(margin["low"])) / 2
    np.testing.assert_allclose(half, 1.96 * quality["standard_error"], rtol=2e-2)
    assert [row["id"] for row in content["candidates"]] == list(range(DESIGN.candidates))
    assert content["candidates"][4]["text"] == "The sky of planet 4 is green.\nQuestion: is it green?\nAnswer: yes"
    assert {row["label"] for row in content["candidates"]} == {"yes", "no"}
    assert [row["one_answer"] for row in content["candidates"]][:6] == [0.5, 0.6, 0.7, 0.8, 0.9, 1]


def test_each_metric_site_and_mask_is_shown_where_it_is_strongest(content, tables, folder):
    mine = tables["correlation"].filter(pl.col("rho").is_not_null(), family="activation", target="gold_logprob")
    strongest = mine.group_by("mask", "site", "metric").agg(pl.all().sort_by(pl.col("rho").abs()).last())
    shown = [signal for signal in content["signals"] if signal["group"] != "without activations"]
    assert len(shown) == strongest.height
    for row in strongest.iter_rows(named=True):
        name = f"{row['metric']} · {row['site']} · {row['pooling']} · layer {row['layer']}"
        (signal,) = [s for s in shown if (s["group"], s["name"]) == (row["mask"], name)]
        assert signal["rho"]["gold_logprob"][0] == pytest.approx(row["rho"], rel=1e-3)
        metrics = pl.read_parquet(folder / f"metrics/{row['mask']}.parquet")
        values = metrics.filter(**{k: row[k] for k in ("site", "layer", "pooling", "metric")}).sort("candidate")
        np.testing.assert_allclose(signal["values"], values["value"], rtol=1e-3)


def test_scores_are_those_of_the_matrix(content, folder):
    matrix = pl.read_parquet(folder / "evaluation.parquet").filter(pl.col("candidate") >= 0)
    shape = (DESIGN.candidates, DESIGN.items)
    assert set(content["scores"]) == {"gold_logprob", "accuracy"}
    for target, column in {"gold_logprob": "gold_logprob", "accuracy": "correct"}.items():
        np.testing.assert_allclose(content["scores"][target], matrix[column].to_numpy().reshape(shape), atol=0.006)


def test_a_matrix_too_large_for_a_page_is_left_out_and_said_to_be(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "MOST_SCORES", 100)
    page = page_of(tmp_path, tables)
    assert content_of(page)["scores"] == {}
    assert "more than 100 of them" in page


def test_a_study_without_defined_numbers_has_a_page(tables, tmp_path):
    content = content_of(page_of(tmp_path, synthetic.undefined(tables)))
    assert {signal["group"] for signal in content["signals"]} == {"without activations"}


@pytest.mark.parametrize(
    ("cell", "number"),
    [("−0.63", -0.63), ("+1,234.5", 1234.5), ("< 0.001", 0.0005), ("0.007", 0.007), ("−2.1 to 0.4", -2.1), ("12", 12)],
)
def test_cells_sort_by_their_first_number(cell, number):
    assert float(order(cell)) == number


@pytest.mark.parametrize("cell", ["undefined", "", "reference"])
def test_cells_without_a_number_sort_as_empty(cell):
    assert order(cell) == ""
