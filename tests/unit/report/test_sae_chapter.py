"""What the report and the verdict say of sparse autoencoders."""

import polars as pl
import pytest

import synthetic
from iclscope.report.chapters import saes as chapter
from iclscope.report.parts import Material, SaeFiles
from iclscope.tables import CORRELATION, SAE_SCREEN, SAE_TRAINING, SELECTION
from iclscope.verdict import rules, saes
from test_report import HOSTILE, build

TARGET = "gold_logprob"


def signals(tables, **rho):
    """The correlations with one more signal for each SAE or twin: its rho."""
    model = tables["correlation"].filter(family="activation", target=TARGET).filter(pl.col("rho").is_not_null()).head(1)
    rows = [
        model.with_columns(
            family=pl.lit("sae_random" if name.endswith("_random") else "sae"), sae=pl.lit(name), mask=pl.lit(None),
            pooling=pl.lit("answer"), metric=pl.lit("sae_novelty"), rho=pl.lit(value), p_maxt=pl.lit(0.02),
        )
        for name, value in rho.items()
    ]  # fmt: skip
    return pl.concat([tables["correlation"], *(row.cast(CORRELATION.schema) for row in rows)])


def gains(tables, **gain):
    """The selection with one more selector for each, with a standard error of 0.01."""
    model = tables["selection"].filter(pl.col("target") == TARGET, pl.col("standard_error").is_not_null()).head(1)
    rows = [
        model.with_columns(selector=pl.lit(name), gain=pl.lit(value), standard_error=pl.lit(0.01))
        for name, value in gain.items()
    ]
    return pl.concat([tables["selection"], *(row.cast(SELECTION.schema) for row in rows)])


@pytest.fixture(scope="module")
def tables():
    return synthetic.frames(synthetic.SMALL)


@pytest.fixture(scope="module")
def with_sae(tables):
    rival = {"sae_ridge": 0.1, "sae_ridge_random": 0.05, "probe": 0.09}
    return tables | {"correlation": signals(tables, mid=0.4, mid_random=-0.3), "selection": gains(tables, **rival)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sae")
    curve = [{"step": 1, "tokens": 9, "loss": 1.0, "unexplained": 0.9, "dead": 0.1}]
    last = {"step": 2, "tokens": 9, "unexplained": 0.2, "active": 32.0, "components": 0.51, "untrained": 0.77}
    SAE_TRAINING.write(pl.DataFrame([*curve, last], schema=SAE_TRAINING.schema), folder / "training.parquet", {})
    row = {"target": TARGET, "pooling": "all", "prevalence": 0.5, "rho": -0.61, "p_maxt": 0.03, "stability": 0.97}
    rows = [{**row, "feature": n, "context": f"{HOSTILE}\n«sky»"} for n in range(20)]
    SAE_SCREEN.write(pl.DataFrame(rows, schema=SAE_SCREEN.schema), folder / "screen.parquet", {})
    return {"mid": SaeFiles(folder / "training.parquet", folder / "screen.parquet")}


def test_variance_explained_and_the_strongest_metrics_stand_beside_those_of_simpler_things(with_sae, files):
    material = Material(synthetic.results(with_sae), with_sae["candidates"], saes=files)
    sheet = chapter.explained(material)
    assert sheet.rows == [
        ("mid", "0.80", "0.49", "0.23", "32.00", "sae_novelty, answer", "0.40", "0.020", "sae_novelty, answer", "−0.30",
         "0.020"),
    ]  # fmt: skip
    assert len(sheet.header) == len(sheet.rows[0])
    assert saes.conclusion(material.results) in sheet.caption


def test_the_strongest_features_stand_with_their_contexts(with_sae, files):
    sheet = chapter.features(Material(synthetic.results(with_sae), with_sae["candidates"], saes=files))
    assert len(sheet.rows) == chapter.SHOWN
    assert sheet.rows[0][:7] == ("mid", "0", "all", "50 %", "−0.61", "0.030", "97 %")
    assert sheet.rows[0][-1] == f"{HOSTILE}\\n«sky»"


def test_without_an_sae_there_is_no_chapter_and_no_sentence(tables):
    material = Material(synthetic.results(tables), tables["candidates"])
    assert chapter.explained(material) is None
    assert chapter.features(material) is None
    assert saes.sentences(material.results) == []


@pytest.mark.parametrize(
    ("rivals", "said"),
    [
        (
            {"sae_ridge_random": 0.05, "probe": 0.09},
            "it beats its untrained twin, which gains +0.050, and it is not shown to beat the dense vector (probe), "
            "which gains +0.090.",
        ),
        (
            {"sae_ridge_random": 0.1, "probe": 0.2},
            "it is not shown to beat its untrained twin, which gains +0.100, and it loses to the dense vector (probe), "
            "which gains +0.200.",
        ),
    ],
)
def test_gains_beat_others_where_the_interval_of_their_difference_lies_above_zero(tables, rivals, said):
    results = synthetic.results(tables | {"selection": gains(tables, sae_ridge=0.1, **rivals)})
    assert saes.conclusion(results) == f"Ridge regression on the features of the SAE gains +0.100 nats: {said}"


def test_the_verdict_says_it_for_every_sae(with_sae):
    results = synthetic.results(with_sae)
    assert saes.sentences(results)[0] == (
        "Of the metrics of the SAE mid, sae_novelty (pooling answer) goes along with quality most: ρ = 0.40 (corrected "
        "p = 0.020); of those of its untrained twin, sae_novelty (pooling answer) with ρ = −0.30 (corrected p = 0.020)."
    )
    unit = {"share_of_items": 0.02, "nats": 0.05}
    settings = {"smallest_useful_effect": 0.2, "margin": unit, "price": {"share_of_items": 0, "nats": 0}}
    judged = rules.verdict([results], settings, 1)["models"]["model"]["data"]
    assert saes.conclusion(results) in judged["sentences"]
    without = rules.verdict([synthetic.results(with_sae | {"correlation": signals(with_sae)})], settings, 1)
    assert judged["status"] == without["models"]["model"]["data"]["status"]


def test_what_was_not_tried_is_said(tables):
    assert "sae_ridge, sae_ridge_random, probe have no gain here" in saes.conclusion(synthetic.results(tables))


def test_text_of_contexts_stays_text_on_the_page(with_sae, files, tmp_path):
    page, _ = build(tmp_path, with_sae, saes=files)
    assert "Sparse autoencoders" in page.text
    assert HOSTILE in page.text
    assert not [a for a in page.all("img") if a.get("src") == "x"]
    assert "alert(1)" not in page.scripts
