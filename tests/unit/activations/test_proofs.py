"""What is proved of a model before it is read: that masks act, and that sites are what their names say."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from iclscope.activations.masks import MASKS
from iclscope.activations.proofs import causal_mask, check_parts, readable_masks
from iclscope.activations.sites import SITES, find_blocks, reading
from iclscope.runtime.errors import StudyError

KINDS = ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"]
SMALL = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def built(kind, **settings):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval().requires_grad_(False)


def gpt_neo():
    """Its attention multiplies a triangle of its own, whatever the mask says."""
    return built(
        "gpt_neo", vocab_size=400, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global"], 2]]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_models_that_follow_every_mask(kind, dtype, tiny_model_of):
    model = tiny_model_of(kind).to(dtype)
    blocks = find_blocks(model)
    check_parts(model, blocks, list(SITES))
    assert readable_masks(model, blocks, list(MASKS)) == MASKS
    assert causal_mask(model) is MASKS["causal"]


def test_masks_that_a_model_does_not_follow_are_named():
    model = gpt_neo()
    with pytest.raises(
        StudyError, match=r"^masks: models\. \(GPTNeoForCausalLM\) does not follow bidirectional, prefix_lm, whatever"
    ):
        readable_masks(model, find_blocks(model), list(MASKS))
    assert list(readable_masks(model, find_blocks(model), ["causal", "self_only"])) == ["causal", "self_only"]


def test_a_mask_without_effect_is_found():
    model = built("rwkv", **{**SMALL, "context_length": 64})
    with pytest.raises(StudyError, match=r"\(RwkvForCausalLM\) does not follow sink_blocked, bidirectional, self_only"):
        readable_masks(model, find_blocks(model), list(MASKS))
    assert list(readable_masks(model, find_blocks(model), ["causal"])) == ["causal"]


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("bloom", {"n_layer": 2, "n_head": 4}, "fails with ValueError"),
        ("mamba", {"num_hidden_layers": 2}, "layers of kind linear_attention"),
        ("recurrent_gemma", {"num_hidden_layers": 3, "num_attention_heads": 4}, "layers of kind linear_attention"),
    ],
)
def test_models_without_masks_are_read_under_their_own_causal_attention(kind, settings, reason):
    model = built(kind, vocab_size=400, hidden_size=32, **settings)
    blocks = find_blocks(model)
    assert causal_mask(model) is None
    assert readable_masks(model, blocks, ["causal"]) == {"causal": None}
    with pytest.raises(StudyError, match=f"can be read under causal alone .*{reason}.*; remove prefix_lm from masks"):
        readable_masks(model, blocks, ["causal", "prefix_lm"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_window_that_the_model_does_not_have_shows_in_a_long_text(dtype):
    """Llama takes no notice of `sliding_window`: in a text that is longer, a mask with that window is another one."""
    model = built("llama", **SMALL).to(dtype)
    for weights in model.parameters():
        if weights.ndim > 1:
            weights.mul_(10)
    blocks = find_blocks(model)
    model.config.sliding_window = 8
    assert readable_masks(model, blocks, ["causal"], longest=8) == {"causal": MASKS["causal"]}
    assert readable_masks(model, blocks, ["causal"], longest=40) == {"causal": None}
    with pytest.raises(StudyError, match="can be read under causal alone"):
        readable_masks(model, blocks, ["self_only"], longest=40)
    model.config.sliding_window = None
    assert readable_masks(model, blocks, list(MASKS), longest=40) == MASKS


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("bloom", {"n_layer": 2, "n_head": 4}),
        ("mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4}),
        ("granitemoeshared", {**SMALL, "shared_intermediate_size": 16, "residual_multiplier": 0.3}),
        ("deepseek_v3", {**SMALL, "first_k_dense_replace": 1, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
                         "num_experts_per_tok": 2, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}),
        ("falcon", SMALL),  # attention and MLP side by side, added in place
    ],
)  # fmt: skip
def test_mlp_out_is_what_the_block_adds(kind, settings):
    """Without it, the block gives that much less: taken away by hand at the first block, where nothing else changes."""
    model = built(kind, **{"vocab_size": 400, "hidden_size": 32, **settings})
    blocks, ids, seen = find_blocks(model), torch.arange(3, 12)[None], {}
    check_parts(model, blocks, ["mlp_out", "resid"])
    with reading(blocks[:1], ["mlp_out", "resid"], lambda site, _, x: seen.update({site: x.clone()})):
        model(ids)
    handles = [part.register_forward_hook(lambda _, __, x: x * 0) for part in blocks[0].adds]
    with reading(blocks[:1], ["resid"], lambda _, __, x: seen.update(rest=x.clone())):
        model(ids)
    for handle in handles:
        handle.remove()
    scale = 0.3 if kind == "granitemoeshared" else 1
    torch.testing.assert_close(seen["resid"] - seen["rest"], scale * seen["mlp_out"], atol=1e-5, rtol=1e-4)


def test_an_mlp_that_holds_the_residual_stream_is_refused(tiny_model_of):
    model = tiny_model_of("llama")
    block, held = model.model.layers[1], []
    block.post_attention_layernorm.register_forward_pre_hook(lambda _, x: held.append(x[0]))
    block.mlp.register_forward_hook(lambda _, __, x: x + held[-1])
    block.register_forward_hook(lambda _, __, x: x - held[-1])  # so that the block gives what it always gave
    with pytest.raises(StudyError, match=r"mlp_out is not what the MLP of block 1 \(LlamaDecoderLayer\) adds"):
        check_parts(model, find_blocks(model), ["mlp_out"])


def test_a_stream_of_another_shape_is_refused(tiny_model_of):
    model = tiny_model_of("llama")
    model.model.layers[2].register_forward_hook(lambda _, __, x: x[..., :7])
    with pytest.raises(StudyError, match=r"cannot be read: "):
        check_parts(model, find_blocks(model), ["resid"])


def test_a_model_with_none_of_the_sites_is_refused():
    model = built("mamba", vocab_size=400, hidden_size=32, num_hidden_layers=2)
    with pytest.raises(StudyError, match=r"has none of mlp_out, mlp_act \(the block has no MLP\); add resid"):
        check_parts(model, find_blocks(model), ["mlp_out", "mlp_act"])
    check_parts(model, find_blocks(model), ["mlp_out", "resid"])
