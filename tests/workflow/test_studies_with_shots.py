"""Demonstrations to ship, from a configuration with `shots` to a click on the first screen; and which to label."""

import json
import shutil

import polars as pl
import yaml

from browser import launched, opened

SHOTS = {"sizes": [3], "items": 6, "random_sets": 4, "orders": 2, "choose": ["balanced", "top"]}
BUDGET = {"strategies": ["k_centre", "uncertain"], "halves": 10}
LEARNING = {
    "pool": 24, "test": 12, "seeds": 2, "start": 4, "batch": 4, "steps": 2, "strategies": ["random", "margin"],
    "representations": ["encoder"],
}  # fmt: skip
PAGES = {"run_record": 1, "run_record_of_dataset": 2, "page": 2, "index": 1, "manifest": 1}


def test_sets_are_added_to_a_finished_study_and_nothing_else_runs(study):
    study.configure(lambda config: config.update(shots=SHOTS, budget=BUDGET))
    assert study.planned() == {"shots": 2, "picks": 2, "budget": 2, **PAGES}
    study.run()
    assert study.planned() == {}
    results = study.folder / "results"
    sums = (results / "SHA256SUMS").read_text()
    for dataset in ("animals", "sums"):
        lines = (results / f"picks/tiny/{dataset}.jsonl").read_text(encoding="utf-8").splitlines()
        first = json.loads(lines[0])
        task = yaml.safe_load((results / f"picks/tiny/{dataset}.yaml").read_text(encoding="utf-8"))
        assert task["fewshot_config"]["samples"] == first["documents"]
        made = ("budget/tiny/{}.parquet", "shots/tiny/{}.parquet", "shots_summary/tiny/{}.parquet")
        assert {*made, "picks/tiny/{}.jsonl", "picks/tiny/{}.yaml"} <= {
            line.split()[-1].removeprefix("results/").replace(dataset, "{}") for line in sums.splitlines()
        }
    with launched() as browser, opened(browser, results / "report/index.html") as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy text: sums with tiny").click()
        page.get_by_text("Copied.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == first["prefix"]
        page.get_by_role("link", name="animals", exact=True).first.click()
        assert page.get_by_role("heading", name="Several demonstrations").count() == 1
        assert page.get_by_role("heading", name="How many examples to label").count() == 1
        assert page.get_by_role("button", name="Save as PNG: What sets of demonstrations score").count() == 1
        assert page.get_by_role("heading", level=2).first.inner_text() in (
            "Random will do", "Use this demonstration", "Use these demonstrations",
        )  # fmt: skip
    study.configure(lambda config: [config.pop(name) for name in ("shots", "budget")])
    assert study.planned() == PAGES


def test_learning_curves_are_added_with_an_encoder_and_spare_the_score_matrix(study, default_config, default_encoder):
    encoder = default_config["features"]["encoder"]
    (study.folder / "resources/encoders").mkdir()
    shutil.copytree(default_encoder, study.folder / "resources/encoders" / default_encoder.name)
    (wheel,) = default_encoder.parents[1].glob(f"wheels/{default_encoder.name}.whl")
    (study.folder / "resources/wheels").mkdir(exist_ok=True)
    shutil.copy2(wheel, study.folder / "resources/wheels")
    further = {"learning": LEARNING, "representations": {"layers": [1]}}
    study.configure(lambda config: config["features"].update(encoder=encoder) or config.update(further))
    planned = study.planned("results/report/animals.html")
    assert (planned["encode_pool"], planned["learning"], planned["learning_summary"]) == (1, 1, 1)
    assert not {"evaluation_block", "activations", "metrics", "quality", "pool"} & set(planned)
    study.run("results/report/animals.html")
    page = (study.folder / "results/report/animals.html").read_text(encoding="utf-8")
    assert "Which questions to label next" in page
    curves = pl.read_parquet(study.folder / "results/learning/tiny/animals.parquet")
    assert set(curves["strategy"]) == {*LEARNING["strategies"], "all"}  # all labels at once, what curves lead to
    study.configure(lambda config: config["learning"].update(representations=["encoder", "layer_1"]))
    planned = study.planned("results/report/animals.html")
    assert planned["represent_pool"] == planned["learning"] == 1
    assert set(planned) <= {"represent_pool", "learning", "learning_summary", *PAGES}


def test_one_demonstration_is_found_without_a_score_matrix(prepared):
    prepared.run("demonstrations")
    results = prepared.folder / "results"
    for dataset in ("animals", "sums"):
        first, second = (results / f"halving/tiny/{dataset}.jsonl").read_text(encoding="utf-8").splitlines()
        assert {json.loads(line)["name"] for line in (first, second)} == {"halving", "random"}
        task = yaml.safe_load((results / f"halving/tiny/{dataset}.yaml").read_text(encoding="utf-8"))
        assert task["fewshot_config"]["samples"] == json.loads(first)["documents"]
    assert not (results / "evaluation").exists()
    assert set(prepared.planned("demonstrations")) <= {"demonstrations"}


def test_sets_larger_than_the_pool_are_refused_before_anything_runs(fresh):
    fresh.configure(lambda config: config.update(shots=SHOTS | {"sizes": [9]}))
    result = fresh.snakemake("--dry-run")
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert "shots.sizes: a set of 9 is more than datasets.animals.candidates, 8; take it off the list" in said
