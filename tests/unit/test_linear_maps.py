"""Packed linear maps against the plain model."""

import pytest
import torch

from iclscope.activations.sites import find_blocks
from iclscope.engine.cpu import can_pack, pack_for_cpu


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "gpt2"])  # without and with biases, tied and Conv1D
@pytest.mark.parametrize("tokens", [1, 40])
def test_logits_stay_what_they_were(kind, tokens, tiny_model_of):
    ids = torch.arange(3, 3 + tokens)[None]
    wanted = tiny_model_of(kind)(ids).logits
    model = tiny_model_of(kind)
    pack_for_cpu(model)
    torch.testing.assert_close(model(ids).logits, wanted, rtol=1e-4, atol=1e-5)


def test_bfloat16_rounds_like_the_plain_model(tiny_model_of):
    ids = torch.arange(3, 30)[None]
    exact = tiny_model_of("llama")(ids).logits
    plain, packed = (tiny_model_of("llama").to(torch.bfloat16) for _ in range(2))
    pack_for_cpu(packed)
    errors = [(model(ids).logits.float() - exact).abs().max().item() for model in (plain, packed)]
    assert errors[1] < 2 * errors[0]


@pytest.mark.skipif(not can_pack(), reason="no x86 processor, or a PyTorch without oneDNN")
def test_memory_is_not_taken_twice(tiny_model_of):
    model = tiny_model_of("llama", tie_word_embeddings=True)
    assert pack_for_cpu(model) == 3 * 7 + 1  # seven maps in each of three blocks, and the head
    assert model.model.layers[0].mlp.down_proj.weight.numel() == 0
    assert model.get_input_embeddings().weight.numel() > 0  # shared with the head: it must stay


def test_hooks_and_sites_still_work(tiny_model_of):
    model = tiny_model_of("llama")
    pack_for_cpu(model)
    (first, *_) = find_blocks(model)
    seen = []
    handle = first.down_projection.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape))
    model(torch.arange(5)[None])
    handle.remove()
    assert seen == [(1, 5, first.width("mlp_act"))]
