"""Mistakes of the user: a sentence that names the key, an exit code, and nothing half made."""

import pytest


def sentence_of(study, target):
    result = study.snakemake(target)
    assert result.returncode != 0
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda c: c["datasets"]["sums"].update(item=3), "datasets.sums: unknown key item"),
        (lambda c: c["masks"].append("causl"), "masks: 'causl' is not one of causal"),
        (lambda c: c["correlation"].update(permutations=1), "correlation.permutations: 1 is less than the minimum"),
    ],
    ids=["misspelt key", "unknown mask", "out of range"],
)
def test_configuration_stops_the_run(fresh, change, wanted):
    fresh.configure(change)
    assert wanted in sentence_of(fresh, "results/report/sums.html")
    assert not (fresh.folder / "results").exists()


@pytest.mark.parametrize(
    ("file", "text", "wanted"),
    [
        ("config/config.yaml", "extra: {{question}}\n", "mend it: put a text that begins with braces or brackets"),
        ("config/config.yaml", "extra: 2026-13-45\n", "YAML takes 2026-13-45 for a value of the kind timestamp"),
        (
            "config/tasks/asdiv_generate.yaml",
            "extra_description: {{question}}\n",
            "mend it: put a text that begins with braces",
        ),
        ("config/extensions/mine.py", "name = 'na\xefve'\n", "mend the file"),
    ],
    ids=["braces in the configuration", "no date", "braces in a task", "no UTF-8 in an extension"],
)
def test_a_file_that_cannot_be_read_is_named_before_anything_runs(fresh, file, text, wanted):
    path = fresh.folder / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else ""
    path.write_text(before + text, encoding="latin-1")
    said = sentence_of(fresh, "results/report/sums.html")
    line = before.count("\n") + 1
    assert f"{file}, line {line}: " in said
    assert wanted in said
    assert "Traceback" not in said
    assert not (fresh.folder / "results").exists()


@pytest.mark.parametrize(
    ("before", "change", "target", "wanted"),
    [
        (
            "fresh",
            lambda c: c["datasets"]["sums"].update(files={"validation": "local/nowhere.jsonl"}),
            "resources/data/sums/source.json",
            "datasets.sums.files.validation: local/nowhere.jsonl does not exist",
        ),
        (
            "prepared",
            lambda c: c["datasets"]["sums"].update(task="asdiv_generat"),
            "results/samples/sums/items.parquet",
            "datasets.sums.task",
        ),
        (
            "prepared",
            lambda c: c["datasets"]["sums"].update(candidates=59),
            "results/samples/sums/items.parquet",
            "datasets.sums",
        ),
        (
            "fresh",
            lambda c: c["models"]["tiny"].update(path="local/none"),
            "resources/models/tiny/source.json",
            "models.tiny.path",
        ),
    ],
    ids=["missing file", "unknown task", "too many rows", "missing model"],
)
def test_a_failed_job_names_the_key_and_leaves_nothing(request, before, change, target, wanted):
    study = request.getfixturevalue(before)
    study.configure(change)
    assert wanted in sentence_of(study, target)
    assert not (study.folder / target).exists()
    assert not list(study.folder.glob("resources/**/.*.part"))


def test_gpu_asked_for_and_absent(study):
    features = "results/features/tiny/sums.parquet"
    (study.folder / features).unlink()
    study.configure(lambda c: c.update(device="cuda"))
    assert "device: cuda is asked for" in sentence_of(study, features)
