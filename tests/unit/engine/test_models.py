"""Where models run and how a prepared folder is loaded."""

import logging
from types import SimpleNamespace

import pytest
import torch

from iclscope.engine import models
from iclscope.runtime import devices
from iclscope.runtime.errors import StudyError

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
NO_METAL = pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has a Metal device")


@pytest.fixture
def saved(tmp_path, tiny_model_of, tiny_tokenizer):
    """Save a tiny model as `prepare` does and return its folder."""

    def save(kind, **overrides):
        folder = tmp_path / kind
        tiny_model_of(kind, **overrides).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
        return folder

    return save


class TestDevice:
    def test_cpu_by_name(self):
        assert devices.pick("cpu") == torch.device("cpu")

    @NO_GPU
    @NO_METAL
    def test_auto_is_the_cpu_without_a_gpu(self):
        assert devices.pick("auto") == torch.device("cpu")

    @NO_GPU
    @pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
    def test_a_gpu_that_is_not_there(self, name):
        with pytest.raises(StudyError, match=f"^device: {name} .* no usable GPU; set device: auto or cpu$"):
            devices.pick(name)

    @NO_METAL
    def test_a_metal_device_that_is_not_there(self):
        with pytest.raises(StudyError, match=r"^device: mps .* no Metal device; set device: auto or cpu$"):
            devices.pick("mps")


class TestLoad:
    def test_gives_the_saved_model_and_tokenizer(self, saved, tiny_model, tiny_tokenizer):
        model, tokenizer = models.load(saved("llama"), "float32", "cpu")
        ids = tokenizer("Is the sky blue?", return_tensors="pt")["input_ids"]
        assert ids[0].tolist() == tiny_tokenizer("Is the sky blue?")["input_ids"]
        torch.testing.assert_close(model(ids).logits, tiny_model(ids).logits)

    def test_is_ready_for_inference_only(self, saved):
        model, _ = models.load(saved("llama"), "float32", "cpu")
        assert not model.training
        assert not any(weight.requires_grad for weight in model.parameters())

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_in_the_precision_of_the_config(self, saved, dtype):
        model, _ = models.load(saved("llama"), dtype, "cpu")
        assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}

    @pytest.mark.parametrize(
        ("kind", "overrides", "attention"),
        [
            pytest.param("llama", {}, "sdpa", id="llama"),
            pytest.param("gpt2", {}, "sdpa", id="gpt2"),
            pytest.param("qwen2", {}, "sdpa", id="qwen2"),
            pytest.param("gemma3", {}, "sdpa", id="gemma3"),
            # fused attention would leave the cap out
            pytest.param("gemma3", {"attn_logit_softcapping": 0.01}, "eager", id="gemma3 with a soft cap"),
            pytest.param("gemma2", {"attn_logit_softcapping": 0.01}, "eager", id="gemma2 with a soft cap"),
        ],
    )
    def test_attention_is_fused_but_never_leaves_out_a_soft_cap(self, saved, kind, overrides, attention, tiny_model_of):
        model, _ = models.load(saved(kind, **overrides), "float32", "cpu")
        assert model.config._attn_implementation == attention
        ids = torch.tensor([[3, 14, 15, 92, 65]])
        exact = tiny_model_of(kind, attn_implementation="eager", **overrides)(ids).logits
        torch.testing.assert_close(model(ids).logits, exact, atol=1e-5, rtol=1e-5)

    def test_a_model_without_fused_attention_loads_too(self, saved):
        model, _ = models.load(saved("gemma2", attn_logit_softcapping=None), "float32", "cpu")
        assert model.config._attn_implementation == "eager"

    def test_says_what_was_loaded(self, saved, caplog):
        with caplog.at_level(logging.INFO, "iclscope"):
            models.load(saved("llama"), "float32", "cpu")
        assert "llama: LlamaForCausalLM, " in caplog.text
        assert "float32 on cpu" in caplog.text

    def test_a_missing_device_is_noticed_before_the_weights_are_read(self, tmp_path):
        if torch.backends.mps.is_available():
            pytest.skip("this machine has a Metal device")
        with pytest.raises(StudyError, match="device: mps"):
            models.load(tmp_path / "no such model", "float32", "mps")


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("llama", "max_position_embeddings"), ("gemma3", "max_position_embeddings"), ("gpt2", "n_positions")],
)
def test_the_context_length_is_what_the_model_was_built_for(kind, setting, tiny_model_of):
    assert models.context_length(tiny_model_of(kind, **{setting: 77})) == 77


def test_the_context_length_of_a_model_with_a_text_part():
    text = SimpleNamespace(max_position_embeddings=33)
    assert models.context_length(SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))) == 33
