"""Extraction against whole tensors and against itself in other batches."""

import json
import logging

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
from transformers import AutoModelForCausalLM, BertConfig, BloomConfig, MambaConfig, MixtralConfig, OPTConfig

from iclscope.activations import extraction
from iclscope.activations.extraction import extract, write_chunks
from iclscope.activations.masks import MASKS, named
from iclscope.activations.reading import Demonstration, batches, model_input, tokenise
from iclscope.activations.sites import find_blocks, reading
from iclscope.engine import models
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.runtime.parquet import read_provenance
from iclscope.signals import metrics
from iclscope.tables import ACTIVATIONS, METRICS, SAMPLE

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


# Sites


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


def built(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


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
        assert hooks_left(tiny_model) == before + len(SITES) * len(blocks)
        raise RuntimeError

    with pytest.raises(RuntimeError), reading(blocks, SITES, fail):
        tiny_model(torch.tensor([[1, 2]]))
    assert hooks_left(tiny_model) == before
    frames = extract(tiny_model, demonstrations(), named("causal"), SITES, 4, 20)
    next(frames)
    assert hooks_left(tiny_model) == before  # also while the generator waits


# Extraction


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


# Files


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


def sample(text_rows):
    rows = []
    for i, (question, answer) in enumerate(text_rows):
        text = f"{question} {answer}"
        rows.append(
            {
                "id": i, "split": "train", "source_row": i, "kind": "choice", "description": "", "question": question,
                "target_delimiter": " ", "choices": ["yes", "no"], "gold": 0, "prefix": text + "\n\n",
                "question_start": 0, "question_end": len(question), "answer_start": len(question) + 1,
                "answer_end": len(text), "cluster": None, "tokens": None, "document": "{}",
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=SAMPLE.schema)


@pytest.fixture
def study(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """Extraction of two candidates under the given masks; `study.loads` counts how often the model was loaded."""

    class Study:
        loads = 0
        rows = sample([("Question: is the sky blue?\nAnswer:", "yes"), ("Question: is a whale a fish?\nAnswer:", "no")])

        def path(self, mask):
            return tmp_path / f"{mask}.parquet"

        def run(self, masks, **changes):
            settings = {"sites": ["resid", "mlp_out"], "top_k": 3}
            arguments = {
                "candidates": tmp_path / "candidates.parquet",
                "model": PreparedModel(tmp_path, "float32", "cpu"),
                "settings": {**settings, "batch_tokens": 100},
                "code": "0123",
                "activations_out": {mask: self.path(mask) for mask in masks},
                "job": Job(1, {"seed": 1, "settings": settings, "inputs": {"candidates.parquet": "ab"}}),
            }
            before = {mask: self.path(mask).stat().st_ino for mask in masks if self.path(mask).exists()}
            extraction.run(**{**arguments, **changes})
            return [mask for mask in masks if self.path(mask).stat().st_ino != before.get(mask)]

    made = Study()

    def load(folder, dtype, device):
        made.loads += 1
        return tiny_model, tiny_tokenizer

    monkeypatch.setattr(models, "load", load)
    SAMPLE.write(made.rows, tmp_path / "candidates.parquet", {})
    return made


def test_run(study, tiny_tokenizer, caplog):
    with caplog.at_level(logging.INFO):
        study.run(["causal"])
    assert "masks causal: 2 candidates" in caplog.text
    assert "MB each before compression" in caplog.text
    found = ACTIVATIONS.read(study.path("causal"))
    assert found.height == 2 * 3 * 2
    assert found.equals(found.sort("site", "layer", "candidate"))
    assert json.dumps(read_provenance(study.path("causal"))["seed"]) == "1"
    ids = tiny_tokenizer(study.rows["prefix"][0][: study.rows["answer_end"][0]])["input_ids"]
    assert found["n_tokens"][0] == len(ids)
    with pytest.raises(StudyError, match="masks: 'all' is unknown"):
        study.run(["all"])


def test_all_masks_share_one_load_of_the_model(study):
    assert study.run(list(MASKS)) == list(MASKS)
    assert study.loads == 1
    first, second = (ACTIVATIONS.read(study.path(mask)) for mask in ("causal", "bidirectional"))
    assert not first["mean"].equals(second["mean"])


def test_a_new_mask_leaves_the_others_alone(study):
    study.run(["causal", "self_only"])
    assert study.run(["causal", "prefix_lm", "self_only"]) == ["prefix_lm"]
    study.path("causal").unlink()
    assert study.run(["causal", "prefix_lm"]) == ["causal"]
    data = bytearray(study.path("causal").read_bytes())
    data[100] ^= 1
    study.path("causal").write_bytes(data)
    assert study.run(["causal", "prefix_lm"]) == ["causal"]


def test_whatever_shapes_activations_makes_all_of_them_again(study):
    masks = ["causal", "self_only"]
    study.run(masks)
    record = {"seed": 1, "settings": {"sites": ["resid"], "top_k": 3}, "inputs": {"candidates.parquet": "ab"}}
    assert study.run([*masks, "prefix_lm"], code="4567") == [*masks, "prefix_lm"]
    other = PreparedModel(study.path("causal").parent, "bfloat16", "cpu")
    assert study.run([*masks, "bidirectional"], code="4567", model=other) == [*masks, "bidirectional"]
    assert study.run([*masks, "prefix_lm"], job=Job(1, record)) == [*masks, "prefix_lm"]
    assert study.run(masks, job=Job(1, record)) == masks  # nothing was missing: the job was forced


def test_a_candidate_longer_than_the_context_is_refused(tiny_model_of, tiny_tokenizer):
    rows = sample([("why? " * 600, "yes")]).to_dicts()
    with pytest.raises(StudyError, match=r"candidate 0 has .* tokens, more than the 512 of the model; set a lower max"):
        tokenise(rows, tiny_model_of("gpt2"), tiny_tokenizer)


@pytest.mark.parametrize("mask", ["causal", "self_only"])
def test_a_mask_that_a_model_does_not_take_is_refused_before_it_is_read(study, mask, tiny_tokenizer, monkeypatch):
    config = BloomConfig(vocab_size=400, hidden_size=32, n_layer=2, n_head=4)
    monkeypatch.setattr(models, "load", lambda *_: (built(config), tiny_tokenizer))
    if mask == "causal":
        study.run(["causal"])  # under its own attention
        assert ACTIVATIONS.read(study.path("causal")).height == 2 * 2 * 2
    else:
        with pytest.raises(
            StudyError, match=r"\(BloomForCausalLM\) can be read under causal alone .*; remove self_only from"
        ):
            study.run(["causal", mask])
        assert not study.path("causal").exists()


def test_what_a_model_lacks_is_undefined_with_its_reason(study, tiny_tokenizer, monkeypatch, tmp_path):
    config = MixtralConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    monkeypatch.setattr(models, "load", lambda *_: (built(config), tiny_tokenizer))
    settings = {"sites": ["mlp_act", "resid"], "top_k": 3, "batch_tokens": 100}
    study.run(["causal"], settings=settings)
    path = study.path("causal")
    metrics.run(
        activations=path,
        extraction=read_provenance(path)["extraction"],
        settings={"poolings": ["all", "last"], "names": ["mean", "max_abs"]},
        metrics_out=tmp_path / "metrics.parquet",
        job=Job(1, {}),
    )
    found = METRICS.read(tmp_path / "metrics.parquet")
    METRICS.check(found)
    assert found.equals(found.sort(METRICS.key))
    absent = found.filter(pl.col.site == "mlp_act")
    assert absent.height == found.height / 2 == 2 * 2 * 2 * 2
    assert absent["value"].null_count() == absent.height
    assert set(absent["reason"]) == {"a mixture of experts has no neurons that all tokens share"}
    assert found.filter(pl.col.site == "resid")["reason"].null_count() == absent.height
