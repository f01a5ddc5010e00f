"""Studies that `python -m iclscope new` wrote: the printed commands work, and the workflow asks what was shown."""

import csv
import os
import re
import shlex
import subprocess
import sys

import polars as pl
import pytest

from study import snakemake_command


def start(study, folder, *words):
    """A command in `folder`, with the package and programs of this environment."""
    path = {"PYTHONPATH": str(study.folder / "workflow/scripts"), "OMP_NUM_THREADS": "1"}
    command = snakemake_command() if words[0] == "snakemake" else [sys.executable, "-m", words[0]]
    result = subprocess.run(
        [*command, *words[1:]],
        cwd=folder,
        env=os.environ | path,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


def prompts(text):
    """The prompts in what `new` or `preview` prints."""
    return re.findall(r"(?:^  \| .*\n)+", text, re.MULTILINE)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_printed_commands_work_and_the_prompts_are_those_of_the_workflow(fresh, tmp_path, elsewhere):
    folder = fresh.folder
    if elsewhere:
        folder = tmp_path / "some where"
        folder.mkdir()
    with (folder / "quiz show.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question", "Option A", "Option B", "Option C", "Right"])
        for n in range(17):
            towns = ["Lima", "Rome", "Oslo"]
            writer.writerow([f"Which town has number {n}?", *towns[n % 3 :], *towns[: n % 3], n % 3 + 1])
    model = str(fresh.folder / "local/tiny")
    said = start(fresh, folder, "iclscope", "new", "quiz show.csv", "--answer", "Right", "--model", model)
    preview, run = re.findall(r"^  (snakemake .*)$", said, re.MULTILINE)
    assert ("--snakefile" in run) == elsewhere

    shown = start(fresh, folder, *shlex.split(preview))
    first, second = prompts(said)
    assert first in shown
    text = (folder / "my-study/results/preview.txt").read_text()
    assert prompts(text) == [first]
    assert "8 candidates of 17 usable rows of split rows, 8 items of 17 usable rows" in text
    assert not (folder / "my-study/resources/models").exists()
    assert not (folder / "resources/models").exists()
    start(fresh, folder, *shlex.split(run), "--until", "pool")
    pool = pl.read_parquet(folder / "my-study/results/samples/quiz-show/pool.parquet")
    candidate, item = (pool.filter(role=role, id=1).row(0, named=True) for role in ("candidate", "item"))
    whole = candidate["prefix"] + item["question"] + " " + item["choices"][item["gold"]]
    assert whole == re.sub(r"\[\[(.*)\]\]", r"\1", "\n".join(line[4:] for line in second.splitlines()))
    assert not (folder / "results").exists()

    planned = start(fresh, folder, *shlex.split(run), "--dry-run")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", planned, re.MULTILINE))
    assert counts["evaluation_block"] == "2"
    assert counts["index"] == "1"
    assert "pool" not in counts
    assert "prepare_model" not in counts
