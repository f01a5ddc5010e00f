"""The paper's study in miniature: its own configuration and models of its architectures, on a handful of rows."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from study import ROOT, build_study
from tiny import build_model, build_tokenizer

ROWS = ROOT.parent / "shared/data"  # real rows of two of its data sets, as the hub has them
KINDS = {"llama-3.2-3b": "llama", "qwen2.5-3b": "qwen2"}
SPLITS = {"train": "train", "test": "eval"}
CANDIDATES, ITEMS = 12, 16
LARGE_SEARCHES = {  # need more items than half of those here
    "search_16", "search_32", "search_64", "search_128", "search_strat_16", "shortlist_4", "shortlist_16",
}  # fmt: skip


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """The paper's study where the hub is this machine: tiny models, local rows, few candidates and items; not run."""
    study = build_study(tmp_path_factory.mktemp("paper"))
    config = yaml.safe_load((study.folder / "config/paper.yaml").read_text())
    assert config["models"].keys() == KINDS.keys()
    for name, entry in config["models"].items():
        folder = study.folder / "local" / name
        build_model(KINDS[name], max_position_embeddings=8192).save_pretrained(folder)  # for several demonstrations
        build_tokenizer(bos=KINDS[name] == "llama").save_pretrained(folder)
        del entry["repo"]
        entry |= {"source": "files", "path": f"local/{name}"}
    for name, entry in config["datasets"].items():
        entry |= {"source": "files", "candidates": CANDIDATES, "items": ITEMS, "max_new_tokens": 4}
        entry["block"] = {"candidates": CANDIDATES // 2, "items": ITEMS}
        entry["files"] = {split: f"local/{name}/{file}.jsonl" for split, file in SPLITS.items()}
    config["correlation"] |= {"permutations": 200, "bootstrap": 100}
    few = [name for name in config["selection"]["selectors"] if name not in LARGE_SEARCHES]
    config["selection"] |= {"splits": 4, "bootstrap": 100, "selectors": few}
    config["budget"]["halves"] = 10
    config["shots"] |= {"sizes": [2], "random_sets": 4, "orders": 2}
    (study.folder / "config/paper.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return study


@pytest.fixture(scope="module")
def finished_paper(paper):
    """The same after its run, on the data sets of which there are rows here."""
    config = yaml.safe_load((paper.folder / "config/paper.yaml").read_text())
    present = [name for name in config["datasets"] if (ROWS / name).is_dir()]
    if not present:
        pytest.skip(f"no rows of ARC-Challenge and GSM8K in {ROWS}")
    for name in present:
        shutil.copytree(ROWS / name, paper.folder / "local" / name)
    config["datasets"] = {name: config["datasets"][name] for name in present}
    (paper.folder / "config/mini.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    paper.run("plan", "all", "--configfile", "config/mini.yaml")
    return paper


def test_all_of_it_is_planned(paper):
    counts = paper.planned("all", "--configfile", "config/paper.yaml")
    models, datasets = 2, 4
    assert counts["prepare_model"] == models
    assert counts["pool"] == datasets
    assert counts["activations"] == models * datasets
    assert counts["metrics"] == models * datasets
    assert counts["evaluation_block"] == models * datasets * 2
    assert counts["correlation"] == counts["selection"] == models * datasets
    assert counts["shots"] == counts["picks"] == models * datasets
    assert counts["representations"] == counts["budget"] == models * datasets
    assert counts["page"] == datasets


def test_both_models_answer_and_choose_on_real_rows(finished_paper):
    results = finished_paper.folder / "results-paper"
    for model in KINDS:
        for dataset in ("arc_challenge", "gsm8k"):
            matrix = pl.read_parquet(results / f"evaluation/{model}/{dataset}.parquet")
            assert matrix.height == (CANDIDATES + 1) * ITEMS
            assert matrix["text"].is_null().all() == (dataset == "arc_challenge")
            picks = (results / f"picks/{model}/{dataset}.jsonl").read_text(encoding="utf-8").splitlines()
            assert {line["name"] for line in map(json.loads, picks)} == {"random", "top", "cover"}  # no labels
        choices = pl.read_parquet(results / f"evaluation/{model}/arc_challenge.parquet")["logprobs"]
        assert set(choices.list.len()) <= {3, 4, 5}
        masks = {path.stem for path in (results / f"metrics/{model}/gsm8k").iterdir()}
        assert len(masks) == 6
    verdict = json.loads((results / "verdict.json").read_text())
    assert verdict
    summary = pl.read_parquet(results / "summary.parquet")
    assert set(summary["model"]) == set(KINDS)
    assert (results / "report/index.html").is_file()
    record = json.loads((results / "run.json").read_text())
    assert {entry["dtype"] for entry in record["config"]["models"].values()} == {"bfloat16"}


def test_the_plan_knew_the_tokens_of_every_prompt(finished_paper):
    """The plan's tokens of the activations against those that were stored, and its jobs against those that ran."""
    results = finished_paper.folder / "results-paper"
    plan = pl.read_parquet(results / "plan.parquet")
    for model, dataset, tokens, jobs in (
        plan.filter(stage="activations").select("model", "dataset", "tokens", "jobs").rows()
    ):
        read = [
            pl.read_parquet(file).filter(site="resid", layer=0)["n_tokens"].sum()
            for file in Path(results / f"activations/{model}/{dataset}").glob("*.parquet")
        ]
        assert (tokens, jobs) == (sum(read), 1)  # all masks in one job
    assert plan.filter(stage="evaluation")["jobs"].unique().to_list() == [2]
    assert "everything" in (results / "plan.txt").read_text()
