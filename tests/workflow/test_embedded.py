"""The default study's own model and data, on a handful of rows."""

import shutil

import polars as pl
import yaml

from study import ROOT, Study


def test_default_study_on_a_handful_of_rows(embedded_folder, tmp_path):
    study = Study(tmp_path / "study")
    for part in ("Snakefile", "workflow", "config", "profiles", "envs"):
        source, target = ROOT / part, study.folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    shutil.copytree(ROOT / "resources", study.folder / "resources")  # fetched once per checkout

    def shrink(config):
        config["datasets"] = {"commonsenseqa": config["datasets"]["commonsenseqa"] | {"candidates": 6, "items": 4}}
        del config["learning"]  # letters of options are no classes
        config["masks"] = ["causal"]
        config["correlation"] |= {"permutations": 100, "bootstrap": 100}
        config["selection"] |= {"selectors": ["random", "nearest"], "splits": 2, "bootstrap": 100}
        config["saes"]["middle"] |= {"tokens": 1500, "epochs": 1}

    study.configure(shrink)
    study.run("results/report/commonsenseqa.html")
    matrix = pl.read_parquet(study.folder / "results/evaluation/smollm2-135m/commonsenseqa.parquet")
    assert matrix.height == 7 * 4
    assert matrix["logprobs"].list.len().unique().to_list() == [5]
    assert matrix["gold_logprob"].max() < 0
    activations = pl.read_parquet(study.folder / "results/activations/smollm2-135m/commonsenseqa/causal.parquet")
    # Massive activations of a Llama sit at the first token, which under a causal mask sees only itself.
    massive = activations.filter(site="resid", layer=15)
    assert massive["massive"].list.first().min() > 0
    assert massive["massive"].list.slice(1).list.sum().max() == 0
    # With the first token, any direction would seem to explain nearly everything.
    last = pl.read_parquet(study.folder / "results/saes/smollm2-135m/middle/training.parquet").row(-1, named=True)
    assert 0.1 < last["unexplained"] < last["untrained"] < 1
    assert yaml.safe_load((study.folder / "results/verdict/commonsenseqa.json").read_text())["models"]
