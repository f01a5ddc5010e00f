"""A study whose score matrix comes from a server: what is redone, what it is, and what names the engine."""

import json

import numpy as np
import polars as pl

from completions_server import CompletionsServer
from iclscope.runtime.parquet import read_provenance
from tiny import build_model, build_tokenizer

MATRICES = [f"results/evaluation/tiny/{dataset}.parquet" for dataset in ("animals", "sums")]
EMBEDDED = {"pool", "sample", "activations", "metrics", "features", "massive"}
RECORDS = {"run_record", "run_record_of_dataset", "page", "index", "manifest"}


def test_a_server_computes_the_score_matrix_anew_and_nothing_else(study, monkeypatch):
    monkeypatch.setenv("ICLSCOPE_API_KEY", "a secret")
    before = {file: pl.read_parquet(study.folder / file) for file in MATRICES}
    with CompletionsServer(build_model("llama"), build_tokenizer()) as server:
        server.key = "a secret"

        def serve(config):
            config["evaluation"]["engine"] = {"name": "server", "url": server.address}

        study.configure(serve)
        planned = study.planned()
        assert planned["evaluation_block"] == 4
        assert not EMBEDDED & set(planned)
        study.run(*MATRICES, "results/run.json")
        server.shutdown()
    for file, old in before.items():
        new = pl.read_parquet(study.folder / file)
        same = ["candidate", "item", "correct", "correct_norm", "text", "prompt_tokens"]
        assert new.select(same).equals(old.select(same))
        np.testing.assert_allclose(new["gold_logprob"], old["gold_logprob"], atol=1e-4)
        assert read_provenance(study.folder / file)["engine"] == {"name": "vllm", "version": "0.32.0"}
    record = (study.folder / "results/run.json").read_text()
    assert json.loads(record)["engines"] == {"tiny/animals": "vllm 0.32.0", "tiny/sums": "vllm 0.32.0"}
    assert not [
        file for file in study.folder.glob("[rlb]*/**/*") if file.is_file() and b"a secret" in file.read_bytes()
    ]

    study.configure(lambda config: config["evaluation"]["engine"].update(url={"tiny": "http://moved"}))
    assert not {"evaluation_block", "evaluation"} & set(study.planned())
    study.configure(lambda config: config["evaluation"].pop("engine"))
    assert study.planned()["evaluation_block"] == 4
