"""What the page of a data set says of learning curves."""

import polars as pl
import pytest

import synthetic
from iclscope.labelling import learning, summary
from iclscope.report.chapters.labels import learning as chapter
from iclscope.report.parts import Material
from iclscope.runtime.jobs import Job
from iclscope.tables import LEARNING, LEARNING_SUMMARY
from iclscope.verdict.wording import quantity
from learning_studies import SETTINGS, write
from read_pages import build


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    named = {name: folder / f"{name}/data.parquet" for name in ("learning", "learning_summary", "learning_claims")}
    job = Job(1, {})
    learning.run(files=write(folder), settings=SETTINGS, code="", learning_out=named["learning"], job=job)
    outputs = {"summary_out": named["learning_summary"], "claims_out": named["learning_claims"]}
    summary.run(learning=named["learning"], settings={"margin": 0.02}, **outputs, job=job)
    return named


@pytest.fixture
def material(files):
    return Material(synthetic.results(synthetic.frames(synthetic.SMALL)), pl.DataFrame(), learning=files)


def test_the_figure_has_a_panel_per_representation_with_the_means_of_the_table(material, files):
    picture = chapter.learning_curves(material)
    assert [ax.get_title("left") for ax in picture.figure.axes] == ["encoder", "layer_3"]  # the best probe first
    lines = {line.get_label(): line for line in picture.figure.axes[0].get_lines()}
    table = LEARNING.read(files["learning"]).filter(representation="encoder", start="random", strategy="margin")
    means = table.group_by("labelled").agg(pl.mean("accuracy")).sort("labelled")
    assert lines["margin"].get_xydata().tolist() == [list(row) for row in means.rows()]
    assert picture.tables == (files["learning"],)
    assert "over 3 random splits of the data set" in picture.caption.text


def test_tables_name_gains_stops_and_claims(material, files):
    found = LEARNING_SUMMARY.read(files["learning_summary"])
    sheets = [sheet for make in chapter.CHAPTER.sheets if (sheet := make(material))]
    assert [len(sheet.rows) for sheet in sheets] == [found.height, found.height, 5]
    for sheet in sheets:
        assert {len(row) for row in sheet.rows} == {len(sheet.header)}
    assert [row[4] for row in sheets[0].rows if row[1] == row[2] == "random"] == ["reference", "reference"]
    best = found.filter(representation="encoder", start="typiclust", strategy="margin").row(0, named=True)
    (mine,) = (row for row in sheets[0].rows if row[:3] == ("encoder", "margin", "typiclust"))
    assert mine[7] == quantity(best["balanced_difference"], signed=True)
    assert mine[8] == f"{best['wins']} / {best['ties']} / {best['losses']}"


def test_only_corrected_gains_are_called_gains(files):
    row = {
        "representation": "encoder", "seeds": 30, "probe_accuracy": 0.6, "start": "random", "strategy": "badge",
        "difference": 0.03, "p_maxt": 0.06, "balanced_difference": 0.02, "balanced_p_maxt": 0.001,
    }  # fmt: skip
    rows = [row, row | {"strategy": "margin", "difference": 0.012, "p_maxt": 0.01}]
    assert chapter.conclusion(pl.DataFrame(rows[:1])) == "On encoder, nothing is shown to gain over random labels."
    assert chapter.conclusion(pl.DataFrame(rows)) == (
        "On encoder, margin gains over random labels, at most +0.012 of mean accuracy."
    )


def test_a_gain_by_naming_the_commonest_label_is_told_from_others():
    row = {
        "representation": "encoder", "probe_accuracy": 0.6, "start": "random", "strategy": "margin",
        "difference": 0.02, "p_maxt": 0.01, "balanced_difference": -0.01, "balanced_p_maxt": 0.001,
    }  # fmt: skip
    said = "On encoder, margin gains over random labels, at most +0.020 of mean accuracy. With every label alike "
    assert chapter.conclusion(pl.DataFrame([row])) == said + "(balanced accuracy), it is not shown to gain."
    both = [row, row | {"strategy": "badge", "difference": 0.01}]
    assert chapter.conclusion(pl.DataFrame(both)).endswith("(balanced accuracy), none of them is shown to gain.")
    both[1]["balanced_difference"] = 0.01
    assert chapter.conclusion(pl.DataFrame(both)).endswith("(balanced accuracy), only badge is shown to gain.")


def test_a_page_shows_them_and_one_without_classes_says_why_not(files, tmp_path):
    tables = synthetic.frames(synthetic.SMALL)
    page, _ = build(tmp_path / "with", tables, learning=files)
    assert "Which questions to label next" in page.text
    assert "Is Badge steadier than Margin?" in page.text
    assert any(image.get("alt", "").startswith("Learning curves") for image in page.all("img"))
    assert "No learning curves of this data set" not in page.text
    lettered = write(tmp_path, choices=["A", "B", "C"])
    learning.run(files=lettered, settings=SETTINGS, code="", learning_out=tmp_path / "learning.parquet", job=Job(1, {}))
    empty = {"summary_out": tmp_path / "learning_summary.parquet", "claims_out": tmp_path / "learning_claims.parquet"}
    summary.run(learning=tmp_path / "learning.parquet", settings={"margin": 0.02}, **empty, job=Job(1, {}))
    none = {name: tmp_path / f"{name}.parquet" for name in files}
    page, _ = build(tmp_path / "without", tables, learning=none)
    assert (
        "Which questions to label next No learning curves of this data set: its choices (A, B, C) are letters of "
        "options in a question, and a letter is no class." in page.text
    )
    assert not any(image.get("alt", "").startswith("Learning curves") for image in page.all("img"))
    page, _ = build(tmp_path / "never asked", tables)
    assert "Which questions to label next" not in page.text
