import polars as pl
import pytest
import yaml

import synthetic
from iclscope.plan import power
from iclscope.report import power as figure
from iclscope.runtime.jobs import Job
from iclscope.tables import POWER
from record import ROOT


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def run(config, folder, pilots=None, pools=None):
    table, text = folder / "power.parquet", folder / "power.txt"
    pilots = {name: {} for name in config["datasets"]} | (pilots or {})
    power.write(config, pilots, pools or [], table, text, Job(1, {}))
    return POWER.read(table), text.read_text(encoding="utf-8")


def test_small_studies_cannot_show_much_and_large_ones_can(config, tmp_path):
    table, text = run(config, tmp_path)
    own = table.filter("configured")
    assert own.select("dataset", "candidates", "items").rows() == [(name, 48, 48) for name in config["datasets"]]
    assert own["detect"].max() < 0.3
    large = table.filter(dataset="boolq", candidates=1000, items=500)
    assert large["detect"].item() > 0.8
    assert large["exclude"].item() > 0.8
    rising = table.filter(dataset="boolq", items=100).sort("candidates")
    assert rising["detect"].is_sorted()
    assert "boolq (as declared): 48 candidates x 48 items measure quality with alpha = 0.93." in text
    assert "To find the smallest useful effect in 80%: " in text


def test_results_that_are_there_say_how_noisy_quality_is(config, tmp_path):
    tables = synthetic.frames(synthetic.SMALL)
    noisy = tables["variance"].with_columns(
        variance=pl.when(source="rest")
        .then(pl.lit(60.0))
        .when(source="candidate")
        .then(pl.lit(2.0))
        .otherwise("variance")
    )
    paths = synthetic.write({**tables, "variance": noisy}, tmp_path)
    pilots = {"boolq": {name: [paths[name]] for name in ("variance", "headline")}}
    table, text = run(config, tmp_path, pilots)
    alpha = table.filter("configured", dataset="boolq")["alpha"].item()
    assert alpha == pytest.approx(1 / (1 + 30 / 48))  # balanced: the push does not count
    assert "boolq (from results that are there)" in text


def test_a_data_set_that_takes_all_rows_asks_its_pool(config, tmp_path, monkeypatch):
    config["datasets"]["boolq"]["candidates"] = "all"
    counted = {"candidate": 1119, "item": 48}
    monkeypatch.setattr(power.samples, "count_of", lambda pool, entry, role, key: counted[role])
    table, _ = run(config, tmp_path, pools=["pool.parquet"])
    assert table.filter("configured")["candidates"].to_list()[0] == 1119


def test_least_effect_is_found_as_often_as_it_says(config):
    plan, _ = power.plan_of(config)
    least = power.least_effect(plan, (500, 200))
    assert power.detect(plan, 500.0, 200.0, least) == pytest.approx(0.8, abs=0.001)
    assert power.least_effect(plan, (8, 8)) is None


def test_the_figure_has_a_panel_per_data_set_and_claim(config, tmp_path):
    table, _ = run(config, tmp_path)
    assert len(figure.figure_of(table).axes) == 2 * len(config["datasets"])
    made = {"table_out": tmp_path / "power.parquet", "text_out": tmp_path / "power.txt"}
    pilots = {name: {} for name in config["datasets"]}
    pictures = [tmp_path / "power.png", tmp_path / "power.svg"]
    figure.run(settings=config, pilots=pilots, pools=[], **made, figures_out=pictures, job=Job(1, {}))
    assert (tmp_path / "power.png").stat().st_size > 10_000
