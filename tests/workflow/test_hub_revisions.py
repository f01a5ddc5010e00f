"""A study of a model and data of the hub: planned without weights, commits kept, another revision redoes its part."""

import io
import json
import re
import shutil

import polars as pl
import pytest

from hub_server import Hub
from iclscope.runtime.parquet import read_provenance
from study import choice_rows
from tiny import build_model, build_tokenizer

MATRIX = "results/evaluation/tiny/animals.parquet"
ACTIVATIONS = "results/activations/tiny/animals/causal.parquet"
RECORD = "results/run/animals.json"
BLOCK = "results/evaluation/tiny/animals/blocks/c00000-00004_i00000-00008.parquet"


def model_files(folder, **overrides):
    build_model("llama", **overrides).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def data_files(start):
    files = {}
    for split, first in (("train", start), ("validation", start + 100)):
        buffer = io.BytesIO()
        pl.DataFrame(choice_rows(first, 40)).write_parquet(buffer)
        files[f"data/{split}.parquet"] = buffer.getvalue()
    return files


@pytest.fixture
def hub(tmp_path, monkeypatch):
    server = Hub()
    model, data = server.add("model", "owner/tiny"), server.add("dataset", "owner/animals")
    model.commit(model_files(tmp_path / "first"), "v1")
    model.commit(model_files(tmp_path / "second", rms_norm_eps=0.1), "v2")
    data.commit(data_files(0), "main")
    data.commit(data_files(500), "other")
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield server
    server.shutdown()
    server.server_close()


def commits(study):
    sources = json.loads((study.folder / RECORD).read_text())["sources"]
    return sources["models.tiny"]["commit"], sources["datasets.animals"]["commit"]


def use_hub(config):
    config["models"]["tiny"] = {"source": "hub", "repo": "owner/tiny", "revision": "v1", "dtype": "float32"}
    animals = config["datasets"]["animals"]
    del animals["files"], config["datasets"]["sums"]
    animals |= {"source": "hub", "repo": "owner/animals"}


def test_plan_and_preview_ask_the_hub_for_no_weights_and_know_the_tokens(fresh, hub):
    fresh.configure(use_hub)
    fresh.configure(lambda config: config.update(plan={"teraflops": 1, "gigabytes_per_second": 1}))
    fresh.run("plan", "preview")
    assert hub.ranges("config.json")
    assert not hub.ranges("model.safetensors")
    plan = pl.read_parquet(fresh.folder / "results/plan.parquet")
    (tokens,) = plan.filter(stage="activations")["tokens"]
    assert "animals: 8 candidates of" in (fresh.folder / "results/preview.txt").read_text()
    fresh.run(ACTIVATIONS)
    assert hub.ranges("model.safetensors")
    read = pl.read_parquet(fresh.folder / ACTIVATIONS).filter(site="resid", layer=0)["n_tokens"].sum()
    masks = len(list((fresh.folder / ACTIVATIONS).parent.glob("*.parquet")))
    assert tokens == masks * read


def test_another_revision_redoes_what_hangs_on_it_and_old_blocks_are_not_gathered(fresh, hub):
    model, data = hub.repositories["model", "owner/tiny"], hub.repositories["dataset", "owner/animals"]
    fresh.configure(use_hub)
    fresh.run(MATRIX, RECORD)
    assert commits(fresh) == (model.names["v1"], data.names["main"])
    assert fresh.planned(MATRIX, RECORD) == {}
    first = pl.read_parquet(fresh.folder / MATRIX)
    shutil.copy(fresh.folder / BLOCK, fresh.folder / "old.parquet")

    fresh.configure(lambda config: config["datasets"]["animals"].update(revision="other"))
    planned = fresh.planned(MATRIX)
    assert planned["prepare_data"] == planned["pool"] == 1
    assert planned["evaluation_block"] == 2
    assert not planned["prepare_model"]
    fresh.configure(lambda config: config["datasets"]["animals"].pop("revision"))

    fresh.configure(lambda config: config["models"]["tiny"].update(revision="v2"))
    planned = fresh.planned(MATRIX)
    assert planned["prepare_model"] == 1
    assert planned["evaluation_block"] == 2
    assert not planned["prepare_data"]
    fresh.run(MATRIX, RECORD)
    assert commits(fresh) == (model.names["v2"], data.names["main"])
    second = pl.read_parquet(fresh.folder / MATRIX)
    assert second.select("candidate", "item").equals(first.select("candidate", "item"))
    assert not second["gold_logprob"].equals(first["gold_logprob"])
    model_file = "resources/models/tiny/source.json"
    records = [read_provenance(fresh.folder / file)["inputs"][model_file] for file in ("old.parquet", BLOCK)]
    assert records[0] != records[1]

    shutil.copy(fresh.folder / "old.parquet", fresh.folder / BLOCK)
    (fresh.folder / MATRIX).unlink()
    result = fresh.snakemake(MATRIX)
    assert result.returncode != 0
    refusal = re.search(rf"{BLOCK} was made with another (.*) than this study has", result.stdout + result.stderr)
    assert model_file in refusal[1]
