"""The notebook runs on the results of a study and draws the figure that the report shows."""

import importlib.util
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

NOTEBOOK = Path(__file__).parents[2] / "docs/notebook.py"


def test_notebook_reproduces_a_figure(finished, monkeypatch):
    monkeypatch.chdir(finished.folder)
    specification = importlib.util.spec_from_file_location("notebook", NOTEBOOK)
    notebook = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(notebook)
    _, results = notebook.app.run()
    masks = pl.read_parquet("results/correlation/tiny/animals.parquet")["mask"].drop_nulls().unique()
    panels = results["figure"].axes
    assert {panel.get_title() for panel in panels} == set(masks)
    assert all(len(panel.lines) > 1 for panel in panels)
    plt.close("all")
