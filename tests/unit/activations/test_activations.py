"""Extraction against whole tensors and against itself in other batches."""

import logging

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
from transformers import BertConfig, MambaConfig, MixtralConfig, OPTConfig

from iclscope.activations import extraction
from iclscope.activations.extraction import extract, write_chunks
from iclscope.activations.masks import MASKS, named
from iclscope.activations.reading import Demonstration, batches, model_input
from iclscope.activations.sites import find_blocks, reading
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError
from iclscope.tables import ACTIVATIONS
from reading_models import built

KINDS = ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"]

SITES = ["mlp_out", "mlp_act", "resid"]


def demonstrations(count=12, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 20, count).tolist()
    return [
        Demonstration(i, DemonstrationTokens(rng.integers(2, 400, n).tolist(), (1, n - 2), (n - 2, n)))
        for i, n in enumerate(lengths)
    ]


def full_tensors(model, one, mask="causal"):
    """Whole activations of one demonstration, without batch or reduction: {(site, layer): float64 [tokens, d]}."""
    found = {}
    with reading(find_blocks(model), SITES, lambda site, layer, x: found.update({(site, layer): x[0].clone()})):
        model.get_decoder()(**model_input(model, [one.tokens], named(mask) if mask else None))
    return {key: x.double().numpy() for key, x in found.items()}


def hooks_left(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_sites_are_what_they_are_called(kind, tiny_model_of):
    model = tiny_model_of(kind)
    found = full_tensors(model, demonstrations()[0])
    ids = torch.tensor([demonstrations()[0].tokens.ids])
    states = model(ids, output_hidden_states=True).hidden_states  # the last one is normed
    for layer, block in enumerate(find_blocks(model)):
        mlp_out = block.down_projection(torch.from_numpy(found["mlp_act", layer]).float())
        np.testing.assert_allclose(found["mlp_out", layer], mlp_out, atol=1e-5)
        if layer + 1 < len(find_blocks(model)):
            np.testing.assert_allclose(found["resid", layer], states[layer + 1][0], atol=1e-5)
        assert block.width("mlp_act") == found["mlp_act", layer].shape[1]
        assert block.width("mlp_out") == block.width("resid") == 32


def test_two_linear_maps_without_an_mlp_module_are_one():
    """OPT multiplies the tokens of all rows as one sequence; what is read has rows again."""
    model = built(OPTConfig(vocab_size=400, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4))
    found = full_tensors(model, demonstrations()[0])
    for layer, block in enumerate(model.model.decoder.layers):
        assert found["mlp_act", layer].shape == (len(found["resid", layer]), 64)
        mlp_out = block.fc2(torch.from_numpy(found["mlp_act", layer]).float())
        np.testing.assert_allclose(found["mlp_out", layer], mlp_out, atol=1e-5)
    pairs = [one for one in demonstrations() if len(one.tokens.ids) == len(demonstrations()[0].tokens.ids)]
    ACTIVATIONS.check(pl.concat(extract(model, pairs, named("causal"), SITES, 4, 10_000)))


def test_a_mixture_of_experts_is_read_as_a_whole():
    """Its output is what it adds to the residual stream; neurons that all tokens share it has none."""
    config = MixtralConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    model, before = built(config), {}
    for layer, block in enumerate(model.model.layers):
        block.post_attention_layernorm.register_forward_pre_hook(
            lambda _, x, layer=layer: before.update({layer: x[0][0].clone()})
        )
    found = full_tensors(model, demonstrations()[0])
    for layer in range(2):
        np.testing.assert_allclose(found["mlp_out", layer], found["resid", layer] - before[layer].numpy(), atol=1e-5)
    frames = pl.concat(extract(model, demonstrations(), named("causal"), SITES, 4, 64))
    assert set(frames["site"]) == {"mlp_out", "resid"}
    assert {reason for block in find_blocks(model) for reason in block.undefined.values()} == {
        "a mixture of experts has no neurons that all tokens share"
    }


def test_a_model_without_an_mlp_has_a_residual_stream_alone():
    model = built(MambaConfig(vocab_size=400, hidden_size=32, num_hidden_layers=2))
    assert set(full_tensors(model, demonstrations()[0], None)) == {("resid", 0), ("resid", 1)}


def test_a_block_of_another_kind_is_refused():
    model = built(
        BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, is_decoder=True)
    )
    with pytest.raises(
        StudyError,
        match="BertLayer cannot be read: looked for one MLP or mixture of experts beside its attention, "
        "found BertIntermediate, BertOutput; choose another model",
    ):
        find_blocks(model)


def test_a_model_without_blocks_is_refused(tiny_model_of):
    model = tiny_model_of("llama")
    model.config.num_hidden_layers = 5
    with pytest.raises(StudyError, match=r"looked for a ModuleList of 5 blocks, .*, found 3 LlamaDecoderLayer; choose"):
        find_blocks(model)


def test_unknown_site_lists_the_known_ones(tiny_model):
    with pytest.raises(StudyError, match=r"activations\.sites: 'mlp' is unknown; choose from mlp_out, mlp_act, resid"):
        next(extract(tiny_model, demonstrations(), named("causal"), ["mlp"], 4, 64))


def test_hooks_are_removed_even_after_an_error(tiny_model):
    blocks = find_blocks(tiny_model)
    before = hooks_left(tiny_model)

    def fail(*_):
        assert hooks_left(tiny_model) == before + (len(SITES) + 1) * len(blocks)  # and one on what each block reads
        raise RuntimeError

    with pytest.raises(RuntimeError), reading(blocks, SITES, fail):
        tiny_model(torch.tensor([[1, 2]]))
    assert hooks_left(tiny_model) == before
    frames = extract(tiny_model, demonstrations(), named("causal"), SITES, 4, 20)
    next(frames)
    assert hooks_left(tiny_model) == before  # also while the generator waits


def test_batches_hold_everything_once_and_stay_within_their_size():
    made = batches(demonstrations(50), 64)
    assert sorted(one.id for batch in made for one in batch) == list(range(50))
    for batch in made:
        lengths = [len(one.tokens.ids) for one in batch]
        padded = len(batch) * max(lengths)
        assert len(batch) == 1 or (padded <= 64 and sum(lengths) >= 0.9 * padded)
        assert lengths == sorted(lengths, reverse=True)
    assert len(made) < 25


def table(model, mask="causal", batch_tokens=64, sites=SITES):
    frames = extract(model, demonstrations(), named(mask), sites, 4, batch_tokens)
    return pl.concat(frames).sort("candidate", "site", "layer")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
def test_batched_equals_single(kind, mask, tiny_model_of):
    model = tiny_model_of(kind)
    lengths = [[len(one.tokens.ids) for one in batch] for batch in batches(demonstrations(), 200)]
    assert any(max(batch) > min(batch) for batch in lengths)  # or no padding would be tried
    single, batched = table(model, mask, batch_tokens=1), table(model, mask, batch_tokens=200)
    ACTIVATIONS.check(batched)
    for name in ("n_tokens", "question_start", "question_end", "answer_start", "answer_end", "massive"):
        assert single[name].to_list() == batched[name].to_list()
    for name in ("mean", "variance", "skewness", "kurtosis", "mean_abs", "median_abs", "entropy_abs", "top_value"):
        left, right = (np.array(frame[name].explode()) for frame in (single, batched))
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4 * np.abs(left).mean())


def test_rows_hold_the_statistics_of_their_own_tensor(tiny_model):
    rows = table(tiny_model, "sink_blocked")
    assert rows.height == 12 * 3 * 3
    for one in demonstrations():
        for (site, layer), x in full_tensors(tiny_model, one, "sink_blocked").items():
            row = rows.row(
                by_predicate=(pl.col.candidate == one.id) & (pl.col.site == site) & (pl.col.layer == layer),
                named=True,
            )
            assert row["n_tokens"] == len(x) == len(row["mean"])
            assert (row["answer_start"], row["answer_end"]) == one.tokens.answer
            np.testing.assert_allclose(row["kurtosis"], scipy.stats.kurtosis(x, axis=-1), rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(row["mean_vector"], x.mean(0), rtol=2e-3, atol=1e-4)
            np.testing.assert_allclose(row["last_vector"], x[-1], rtol=2e-3, atol=1e-4)


def test_bfloat16_models_are_read_in_float32(tiny_model_of):
    model = tiny_model_of("llama").to(torch.bfloat16)
    rows = table(model)
    ACTIVATIONS.check(rows)
    x = full_tensors(model, demonstrations()[0])["mlp_act", 1]
    row = rows.row(by_predicate=(pl.col.candidate == 0) & (pl.col.site == "mlp_act") & (pl.col.layer == 1), named=True)
    np.testing.assert_allclose(row["variance"], x.var(-1), rtol=0.1)


def test_activations_that_are_not_finite_are_refused(tiny_model_of):
    model = tiny_model_of("llama")
    model.model.layers[1].mlp.down_proj.weight.data[3] = torch.inf
    with pytest.raises(
        StudyError, match=r"activations of LlamaForCausalLM are not finite for candidate 11 at layer 1, site"
    ):
        table(model)


def test_vectors_beyond_float16_are_clipped_with_a_warning(tiny_model_of, caplog):
    model = tiny_model_of("llama")
    model.model.layers[2].mlp.down_proj.weight.data[3] *= 1e10
    with caplog.at_level(logging.WARNING):
        rows = table(model)
    assert "exceed float16" in caplog.text
    assert "('resid', 2)" in caplog.text
    assert rows["mean_vector"].explode().is_finite().all()
    assert rows["max_abs"].explode().max() > 1e6


def test_one_layer_is_a_few_row_groups(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "CANDIDATES_PER_CHUNK", 3)
    path = tmp_path / "a.parquet"
    frames = extract(tiny_model, demonstrations(), named("causal"), SITES, 4, 40)
    with ACTIVATIONS.writer(path, {}) as writer:
        write_chunks(frames, writer)
    found = ACTIVATIONS.read(path).sort("candidate", "site", "layer")
    assert found.equals(table(tiny_model, batch_tokens=40))
    metadata = pq.ParquetFile(path).metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    for group in groups:
        layer, site = (group.column(ACTIVATIONS.schema.names().index(name)).statistics for name in ("layer", "site"))
        assert (layer.min, site.min) == (layer.max, site.max)
    assert len(groups) <= 5 * 9


def test_polars_reads_one_layer_without_the_rest_of_the_file(tiny_model, tmp_path):
    """The bytes of all other layers and sites may be anything."""
    path = tmp_path / "a.parquet"
    with ACTIVATIONS.writer(path, {}) as writer:
        write_chunks(extract(tiny_model, demonstrations(), named("causal"), SITES, 4, 40), writer)
    wanted = table(tiny_model, batch_tokens=40).filter(pl.col.site == "resid", pl.col.layer == 1)
    kept, data = 0, bytearray(path.read_bytes())
    metadata = pq.ParquetFile(path).metadata
    places = {name: ACTIVATIONS.schema.names().index(name) for name in ("layer", "site")}
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        statistics = {name: group.column(place).statistics for name, place in places.items()}
        for column in map(group.column, range(group.num_columns)):
            start = column.dictionary_page_offset or column.data_page_offset
            if (statistics["layer"].min, statistics["site"].min) == (1, "resid"):
                kept += column.total_compressed_size
            else:
                data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    found = pl.scan_parquet(path).filter(pl.col.site == "resid", pl.col.layer == 1).collect()
    assert found.sort("candidate").equals(wanted.sort("candidate"))
    assert kept < len(data) / 4
    with pytest.raises(pl.exceptions.ComputeError):
        pl.read_parquet(path)
