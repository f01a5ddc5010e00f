"""The manifest of results: any change behind the workflow's back is told, with the way to mend it."""

import shutil
import subprocess

import pytest

from iclscope.report import manifest
from iclscope.runtime.errors import StudyError


@pytest.fixture
def results(tmp_path):
    """A folder of results with its manifest."""
    folder = tmp_path / "results"
    for name in ("verdict.json", "metrics/m/boolq/causal.parquet", "report/naïve page.html"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {name}")
    (folder / "metrics/.causal.parquet.x.part").write_text("unfinished")
    manifest.run(folder / manifest.NAME)
    return folder


def test_untouched_results_are_whole(results, capsys):
    assert manifest.differences(results) == {}
    assert manifest.main(str(results)) == 0
    assert "every file" in capsys.readouterr().out


def test_a_second_manifest_is_the_same(results):
    before = (results / manifest.NAME).read_bytes()
    manifest.run(results / manifest.NAME)
    assert (results / manifest.NAME).read_bytes() == before


def test_every_change_is_told_with_the_commands_that_mend_it(results, capsys):
    (results / "metrics/m/boolq/causal.parquet").write_bytes(b"")
    (results / "verdict.json").write_text("content of verdict.jsom")
    (results / "report/naïve page.html").unlink()
    (results / "stranger").touch()
    assert manifest.differences(results) == {
        "metrics/m/boolq/causal.parquet": "empty",
        "verdict.json": "changed",
        "report/naïve page.html": "missing",
        "stranger": "unknown",
    }
    assert manifest.main(f"{results}/") == 1
    told = capsys.readouterr().out
    assert "4 files" in told
    assert f"rm -f {results}/metrics/m/boolq/causal.parquet" in told
    assert f"snakemake {results}/metrics/m/boolq/causal.parquet" in told


def test_results_without_a_manifest(tmp_path, capsys):
    with pytest.raises(StudyError, match=r"SHA256SUMS does not exist; a run that finishes writes it"):
        manifest.differences(tmp_path)
    assert manifest.main(str(tmp_path)) == 1
    assert "does not exist" in capsys.readouterr().err


def test_other_programs_read_it(results):
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum of GNU coreutils")
    check = ["sha256sum", "--check", "--strict", "--quiet", manifest.NAME]
    assert subprocess.run(check, cwd=results, check=False).returncode == 0
    (results / "verdict.json").write_text("other")
    assert subprocess.run(check, cwd=results, check=False, capture_output=True).returncode == 1
