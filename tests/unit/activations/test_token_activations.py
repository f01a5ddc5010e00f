"""Whole activations: what is streamed and what is stored is the tensor itself, and reading a layer reads only it."""

import logging
import shutil
from collections import namedtuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from iclscope.activations import store
from iclscope.activations.masks import named
from iclscope.activations.reading import model_input
from iclscope.activations.sites import find_blocks, reading
from iclscope.activations.store import computed_batches, stored_batches, stream
from iclscope.engine import models
from iclscope.engine.prompts import encode_demonstration
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.tables import SAMPLE, TOKEN_ACTIVATIONS
from test_activations import demonstrations, full_tensors
from test_runs_of_extraction import sample

TEXTS = [(f"Question: is the {thing} blue?\nAnswer:", "yes") for thing in ("sky", "whale", "lake by night", "12")]


@pytest.fixture
def study(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """Arguments of `run` for four candidates."""
    monkeypatch.setattr(models, "load", lambda folder, dtype, device: (tiny_model, tiny_tokenizer))
    SAMPLE.write(sample(TEXTS), tmp_path / "candidates.parquet", {})
    return {
        "candidates": tmp_path / "candidates.parquet",
        "model": PreparedModel(tmp_path),
        "mask": "bidirectional",
        "settings": {"sites": ["resid", "mlp_act"], "batch_tokens": 64},
        "token_activations_out": tmp_path / "full.parquet",
        "job": Job(1, {}),
    }


def test_stream_is_the_whole_tensor(tiny_model):
    batches = list(stream(tiny_model, demonstrations(), named("causal"), "mlp_out", 1, 64))
    assert len(batches) > 1
    seen = []
    for candidate, position, x in batches:
        assert len(candidate) == len(position) == len(x)
        for one in demonstrations():
            mine = candidate == one.id
            if mine.any():
                seen.append(one.id)
                assert position[mine].tolist() == list(range(len(one.tokens.ids)))
                wanted = full_tensors(tiny_model, one)["mlp_out", 1]
                np.testing.assert_allclose(x[torch.from_numpy(mine)], wanted, rtol=1e-4, atol=1e-5)
    assert sorted(seen) == list(range(12))


def single(model, tokens, mask, site, layer):
    found = {}
    with reading(find_blocks(model), [site], lambda s, n, x: found.update({n: x[0].clone()})):
        model.get_decoder()(**model_input(model, [tokens], named(mask)))
    return found[layer]


@pytest.mark.parametrize(("site", "layer", "width"), [("resid", 2, 32), ("mlp_act", 0, 64)])
def test_stored_and_computed_batches_are_the_tensors(study, tiny_model, tiny_tokenizer, site, layer, width):
    store.run(**study)
    stored = list(stored_batches(study["token_activations_out"], site, layer, batch_tokens=20))
    where = (study["model"], study["candidates"], study["mask"], site, layer)
    computed = list(computed_batches(*where, batch_tokens=64))
    assert max(len(batch.candidate) for batch in stored) <= 20
    assert stored[0].activation.dtype == torch.float16
    for batches in (stored, computed):
        candidate, position = (np.concatenate([getattr(b, n) for b in batches]) for n in ("candidate", "position"))
        activation = torch.cat([batch.activation for batch in batches]).float()
        assert activation.shape == (len(candidate), width)
        for row in sample(TEXTS).iter_rows(named=True):
            tokens = encode_demonstration(tiny_tokenizer, row)
            mine = candidate == row["id"]
            assert position[mine].tolist() == list(range(len(tokens.ids)))
            wanted = single(tiny_model, tokens, "bidirectional", site, layer)
            torch.testing.assert_close(activation[torch.from_numpy(mine)], wanted, rtol=1e-3, atol=1e-3)


def test_the_file_explains_itself_and_holds_one_layer_per_row_group(study):
    store.run(**study)
    found = TOKEN_ACTIVATIONS.read(study["token_activations_out"])
    TOKEN_ACTIVATIONS.check(found)
    tokens = found.select("candidate", "position").n_unique()
    assert found.height == tokens * 3 * 2
    metadata = pq.ParquetFile(study["token_activations_out"]).metadata
    assert metadata.num_row_groups % (3 * 2) == 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        statistics = {group.column(c).path_in_schema: group.column(c).statistics for c in range(group.num_columns)}
        assert all(statistics[name].min == statistics[name].max for name in ("site", "layer"))
    frame = pl.read_parquet(study["token_activations_out"]).filter(pl.col.site == "resid", pl.col.layer == 1)
    assert frame["vector"].list.to_array(32).to_numpy().shape == (tokens, 32)


def test_size_is_said_before_anything_is_written(study, caplog):
    with caplog.at_level(logging.WARNING):
        store.run(**study)
    tokens = TOKEN_ACTIVATIONS.read(study["token_activations_out"]).select("candidate", "position").n_unique()
    size = 2 * tokens * 3 * (32 + 64) / 1e9
    assert f"store: full writes about {size:.2f} GB for mask bidirectional" in caplog.text


def test_a_disk_without_room_is_refused(study, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(1000))
    with pytest.raises(StudyError, match=r"activations\.store: full needs about 0\.0 GB for .*full\.parquet, but"):
        store.run(**study)
    assert not study["token_activations_out"].exists()


def test_what_is_not_there_is_refused(study, tiny_model):
    store.run(**study)
    with pytest.raises(StudyError, match="no activations of site 'mlp_out' at layer 0"):
        next(stored_batches(study["token_activations_out"], "mlp_out", 0))
    with pytest.raises(StudyError, match=r"does not exist; it is made where the config says activations\.store: full"):
        next(stored_batches(study["token_activations_out"].with_name("other.parquet"), "resid", 0))
    with pytest.raises(StudyError, match="layer 3 does not exist; the model has layers 0 to 2"):
        next(stream(tiny_model, demonstrations(), named("causal"), "resid", 3, 64))
