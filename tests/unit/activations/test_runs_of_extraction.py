"""Jobs of the stage activations: what they write, leave alone and refuse."""

import json
import logging

import polars as pl
import pytest
from transformers import BloomConfig, MixtralConfig

from iclscope.activations import extraction
from iclscope.activations.masks import MASKS
from iclscope.activations.reading import tokenise
from iclscope.engine import models
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.runtime.parquet import read_provenance
from iclscope.signals import metrics
from iclscope.tables import ACTIVATIONS, METRICS, SAMPLE
from reading_models import built


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
        activations={"causal": path},
        extraction=read_provenance(path)["extraction"],
        code="",
        settings={"poolings": ["all", "last"], "names": ["mean", "max_abs"]},
        metrics_out={"causal": tmp_path / "metrics.parquet"},
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
