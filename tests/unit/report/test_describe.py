"""What a file says about itself, and docs/reference/tables.md."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from iclscope.__main__ import main
from iclscope.report.describe import artifacts, description_of
from iclscope.runtime.errors import StudyError
from iclscope.tables import QUALITY, TABLES

SCRIPTS = Path(__file__).parents[3] / "workflow/scripts"
RECORD = {
    "settings": {"targets": ["margin"]},
    "settings_digest": "0123456789abcdef",
    "seed": 7,
    "git_commit": "abc",
    "versions": {"polars": "2.1.0"},
    "inputs": {"results/evaluation/m/d.parquet": 64 * "f"},
}


@pytest.fixture
def file(tmp_path):
    rows = {
        "target": ["margin"] * 9,
        "candidate": range(9),
        "value": [0.125] * 9,
        "standard_error": [0.5] * 9,
        "one_answer": None,
    }
    QUALITY.write(pl.DataFrame({**rows, "items": [3] * 9}, schema=QUALITY.schema), tmp_path / "q.parquet", RECORD)
    return tmp_path / "q.parquet"


def test_file_says_what_it_is_how_it_was_made_and_what_it_holds(file):
    text = description_of(file)
    for wanted in (
        "table quality", QUALITY.description, "9 rows, 6 columns", "A row per target, candidate.",
        "digest 0123456789abcdef", "['margin']", "polars 2.1.0", "results/evaluation/m/d.parquet (sha256 ffff",
        *(column.description for column in QUALITY.columns), "First rows (5 of 9)", "0.125",
    ):  # fmt: skip
        assert wanted in text


def test_a_serving_engine_is_named(file):
    assert "vllm" not in description_of(file)
    made = RECORD | {"engine": {"name": "vllm", "version": "0.32.0"}}
    QUALITY.write(pl.read_parquet(file), file, made)
    assert "  engine    vllm 0.32.0\n" in description_of(file)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_can_be_described_even_without_rows(table, tmp_path):
    table.write(table.schema.to_frame(), tmp_path / "t.parquet", {})
    text = description_of(tmp_path / "t.parquet")
    for column in table.columns:
        assert column.description in text
        assert not column.unit or f" in {column.unit}" in text


def test_what_is_not_ours_is_refused_in_one_sentence(tmp_path, capsys):
    (tmp_path / "text").write_text("no Parquet")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    for name, reason in {
        "none": "does not exist",
        "text": "is no Parquet file",
        "other.parquet": "not written by",
    }.items():
        with pytest.raises(StudyError, match=reason):
            description_of(tmp_path / name)
        assert main(["describe", str(tmp_path / name)]) == 1
        assert reason in capsys.readouterr().err


def test_a_terminal_that_knows_ascii_only_gets_a_description_too(file):
    """As in a container or a job without a locale."""
    result = subprocess.run(
        [sys.executable, "-m", "iclscope", "describe", str(file)],
        env={"PYTHONPATH": str(SCRIPTS), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert "table quality" in result.stdout.decode("utf-8")


def test_command_line_prints_descriptions_and_artifacts(file, capsys):
    assert main(["describe", str(file), str(file)]) == 0
    assert capsys.readouterr().out.count("table quality") == 2
    assert main(["artifacts"]) == 0
    assert capsys.readouterr().out == artifacts(TABLES.values())


def test_the_document_of_all_tables_is_up_to_date():
    saved = Path(__file__).parents[3] / "docs/reference/tables.md"
    text = artifacts(TABLES.values())
    assert saved.read_text(encoding="utf-8") == text, "run: python -m iclscope artifacts > docs/reference/tables.md"
