"""The whole workflow on a tiny model: every stage real, every result readable without our code."""

import json
import zipfile
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq


def test_every_result_is_there(finished):
    results = finished.folder / "results"
    wanted = [
        *(f"samples/{d}/{part}.parquet" for d in ("animals", "sums") for part in ("pool", "candidates", "items")),
        *(f"{stage}/tiny/{d}/{m}.parquet" for stage in ("activations", "metrics") for d in ("animals", "sums")
          for m in ("causal", "self_only")),
        *(f"{stage}/tiny/{d}.parquet" for d in ("animals", "sums")
          for stage in ("massive", "features", "embeddings", "evaluation", "quality", "reliability", "correlation",
                        "headline", "selection", "gains", "agreement")),
        *(f"plots/tiny/{d}/rho_by_layer.{kind}" for d in ("animals", "sums") for kind in ("png", "svg")),
        *(f"report/candidates/tiny/{d}.html" for d in ("animals", "sums")),
        "report/index.html", "report/animals.html", "report/sums.html", "summary.parquet", "verdict.json", "run.json",
    ]  # fmt: skip
    assert [name for name in wanted if not (results / name).is_file()] == []


def test_polars_reads_every_table_and_columns_explain_themselves(finished):
    files = list((finished.folder / "results").rglob("*.parquet"))
    assert len(files) > 20
    for file in files:
        assert pl.read_parquet(file).height > 0, file
        schema = pq.read_schema(file)
        assert all(field.metadata[b"description"] for field in schema), file
        record = json.loads(schema.metadata[b"iclscope"])
        assert {"table", "settings_digest", "git_commit", "versions", "inputs"} <= record.keys(), file


def test_matrix_is_complete_and_has_the_zero_shot(finished):
    frame = pl.read_parquet(finished.folder / "results/evaluation/tiny/sums.parquet")
    assert frame.height == (8 + 1) * 8
    assert frame["candidate"].unique().sort().to_list() == list(range(-1, 8))
    assert frame["text"].null_count() == 0


def test_stages_leave_logs_and_benchmarks(finished):
    assert (finished.folder / "logs/metrics/tiny-animals.log").is_file()
    benchmark = (finished.folder / "benchmarks/metrics/tiny-animals.jsonl").read_text()
    assert json.loads(benchmark.splitlines()[0])["s"] > 0


def test_all_masks_of_a_data_set_share_one_load_of_the_model(finished):
    log = (finished.folder / "logs/activations/tiny-sums.log").read_text()
    assert "masks causal, self_only: 8 candidates" in log
    assert log.count("million parameters") == 1


def test_second_run_does_nothing(finished):
    assert finished.planned() == {}


def test_snakemakes_own_report_has_every_page_and_figure_with_captions(study):
    study.run("--report", "report.zip")
    with zipfile.ZipFile(study.folder / "report.zip") as archive:
        text = archive.read("report/report.html").decode()
        packed = [Path(name).name for name in archive.namelist()]
    assert {"index.html", "animals.html", "rho_by_layer.png"} <= set(packed)
    for wanted in ("animals", "sums", "whole study", "explorer of the candidates", "correlation by layer"):
        assert wanted in text
    assert "as the only demonstration" in text  # a caption
