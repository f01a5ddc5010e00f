"""Chapters of the report: rules read from their files which figures there are, and pages find what rules made."""

import subprocess
import sys

import pytest

from iclscope.report import catalogue, figures, pages
from iclscope.tables import FINAL_TABLES

LISTS = {"CHAPTERS": figures.CHAPTERS, "ACROSS_MODELS": figures.ACROSS_MODELS}


@pytest.mark.parametrize("name", LISTS)
def test_rules_know_the_figures_of_all_chapters_by_name_and_label(name):
    drawn = [(figure.name, figure.label) for chapter in LISTS[name] for figure in chapter.figures]
    assert list(catalogue.labels(name).items()) == drawn
    assert drawn


def test_every_chapter_stands_in_a_list_and_has_content():
    files = (catalogue.REPORT / "chapters").rglob("*.py")
    declared = [file.stem for file in files if "\nCHAPTER = " in file.read_text(encoding="utf-8")]
    listed = [chapter for chapters in LISTS.values() for chapter in chapters]
    first = [[*chapter.sheets, *(figure.draw for figure in chapter.figures)][0] for chapter in listed]
    assert sorted(declared) == sorted(function.__module__.rpartition(".")[2] for function in first)


def test_names_of_figures_and_chapters_are_told_apart():
    listed = [chapter for chapters in LISTS.values() for chapter in chapters]
    for names in ([c.name for c in listed], [figure.name for c in listed for figure in c.figures]):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["few", "many"])
def test_pages_take_the_files_of_rules_by_model(name):
    """Rules give lists of files, data sets slowest, models fastest."""
    models = ["a", "b"]
    tables = {table: [f"{table}/{model}" for model in models] for table in FINAL_TABLES}
    pictures = [f"plots/{model}/{figure}.svg" for figure in ("one", "two") for model in models]
    more = {"massive": ["massive/a", "massive/b"], "explorers": ["a.html", "b.html"], "figures": pictures}
    more |= {"picks": ["a.jsonl", "b.jsonl"] if name == "many" else []}  # without `shots` there are none
    more["sae_training"] = [f"results/saes/{model}/{sae}/training.parquet" for model in models for sae in ("x", "y.z")]
    more["sae_screens"] = [f"results/sae_screen/{m}/data/{sae}.parquet" for sae in ("y.z", "x") for m in models]
    more["learning"] = ["learning/a", "learning/b"] if name == "many" else []
    more |= dict.fromkeys(("learning_summary", "learning_claims"), more["learning"])
    more["budget"] = more["shots_summary"] = []
    single = {"comparison": ["plots/swap.svg"][: name == "many"], "candidates": "c", "run_record": "r", "verdict": "v"}
    files = pages.PageFiles.of("data", models, {**tables, **more, **single})
    assert files.models["b"].tables == {**{table: f"{table}/b" for table in FINAL_TABLES}, "massive": "massive/b"}
    assert files.models["b"].explorer == "b.html"
    assert files.models["b"].pictures == {"one": "plots/b/one.svg", "two": "plots/b/two.svg"}
    assert files.picks == ({"a": "a.jsonl", "b": "b.jsonl"} if name == "many" else {})
    assert {name: (of.training, of.screen) for name, of in files.models["b"].saes.items()} == {
        sae: (f"results/saes/b/{sae}/training.parquet", f"results/sae_screen/b/data/{sae}.parquet")
        for sae in ("x", "y.z")
    }
    assert files.models["b"].learning.get("learning") == ("learning/b" if name == "many" else None)
    assert files.comparison == ({"swap": "plots/swap.svg"} if name == "many" else {})
    assert (files.candidates, files.run_record, files.verdict) == ("c", "r", "v")


def test_the_index_takes_the_files_of_rules_by_data_set_and_model():
    pairs = [f"{dataset}/{model}" for dataset in ("x", "y") for model in ("a", "b")]
    tables = {table: [f"{table}/{pair}" for pair in pairs] for table in FINAL_TABLES}
    more = {"explorers": pairs, "run_record": 1, "verdict": 2, "picks": ["x/a", "x/b"]}
    files = pages.IndexFiles.of(["x", "y"], ["a", "b"], {**tables, **more})
    assert files.picks == ["x/a", "x/b"]
    for dataset, models in files.studies.items():
        for model, own in models.items():
            assert own.explorer == f"{dataset}/{model}"
            assert own.tables["quality"] == f"quality/{dataset}/{model}"
    assert [*files.studies] == ["x", "y"]


def test_rules_load_nothing_that_draws():
    """Rules are read whenever a job starts."""
    code = "import sys; from iclscope.report import catalogue; catalogue.labels('CHAPTERS'); print(*sys.modules)"
    scripts = catalogue.REPORT.parents[1]
    loaded = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(scripts)}, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "iclscope.report.catalogue" in loaded
    assert not {"matplotlib", "numpy", "polars", "iclscope.report.figures"} & set(loaded)
