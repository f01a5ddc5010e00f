"""Explicit masks against the ones that transformers makes itself, and against windows worked out by hand."""

from types import SimpleNamespace

import pytest
import torch
from transformers import SmolLM3Config

from iclscope.engine.attention.inputs import attention_input

TOKENS = 14  # longer than the sliding window of the tiny models, 8


def causal(tokens=TOKENS):
    return torch.ones(1, tokens, tokens, dtype=torch.bool).tril()


def positions(tokens=TOKENS):
    return torch.arange(tokens)[None]


def logits(model, allowed=None):
    ids = torch.arange(TOKENS)[None] * 7 % 400
    mask = None if allowed is None else attention_input(model, allowed, positions(), positions())
    return model(ids, attention_mask=mask).logits[0]


def seen(mask):
    """Which keys each query sees under an additive mask: bool [queries, keys]."""
    lowest = torch.finfo(mask.dtype).min
    assert set(mask.unique().tolist()) <= {0.0, lowest}
    return mask[0, 0] == 0


KINDS = pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"])


@KINDS
def test_the_causal_mask_is_the_models_own(kind, tiny_model_of):
    model = tiny_model_of(kind)
    torch.testing.assert_close(logits(model, causal()), logits(model), atol=1e-5, rtol=1e-5)


@KINDS
def test_what_a_mask_hides_has_no_influence(kind, tiny_model_of):
    """With every token on its own, each position gives what it gives alone."""
    model = tiny_model_of(kind)
    alone = attention_input(model, torch.eye(3, dtype=torch.bool)[None], positions(3), positions(3))
    ids = torch.tensor([[5, 9, 200]])
    together = model(ids, attention_mask=alone, position_ids=positions(3)).logits[0]
    for place in range(3):
        single = model(ids[:, place : place + 1], position_ids=torch.tensor([[place]])).logits[0, 0]
        torch.testing.assert_close(together[place], single, atol=1e-5, rtol=1e-5)


@KINDS
def test_a_later_token_may_be_seen(kind, tiny_model_of):
    model = tiny_model_of(kind)
    both_ways = logits(model, torch.ones(1, TOKENS, TOKENS, dtype=torch.bool))
    assert not torch.allclose(both_ways[0], logits(model)[0], atol=1e-3)


def test_full_attention_is_one_mask_of_the_allowed_pairs(tiny_model):
    allowed = torch.rand(2, 5, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    mask = attention_input(tiny_model, allowed, positions(5).expand(2, -1), positions(9).expand(2, -1))
    assert mask.shape == (2, 1, 5, 9)
    assert mask.dtype == tiny_model.dtype
    assert ((mask[:, 0] == 0) == allowed).all()


def test_a_sliding_window_sees_itself_and_the_seven_before(tiny_model_of):
    mask = attention_input(tiny_model_of("mistral"), causal(), positions(), positions())
    for query, row in enumerate(seen(mask)):
        assert row.nonzero()[:, 0].tolist() == list(range(max(0, query - 7), query + 1))


@pytest.mark.parametrize("kind", ["gemma2", "gemma3"])
def test_mixed_models_get_a_mask_per_kind_of_layer(kind, tiny_model_of):
    model = tiny_model_of(kind)
    masks = attention_input(model, causal(), positions(), positions())
    assert set(masks) == set(model.config.layer_types) == {"full_attention", "sliding_attention"}
    assert (seen(masks["full_attention"]) == causal()[0]).all()
    assert seen(masks["sliding_attention"]).sum(dim=1).tolist() == [min(8, query + 1) for query in range(TOKENS)]


def test_the_window_follows_positions_not_places(tiny_model_of):
    """In a packed row, positions restart: the window counts them, and the allowed pairs say who belongs together."""
    own = torch.tensor([[0, 1, 2, 10, 11, 12]])
    everything = torch.ones(1, 6, 6, dtype=torch.bool)
    mask = attention_input(tiny_model_of("mistral"), everything, own, own)
    assert seen(mask)[5].tolist() == [False, False, False, True, True, True]  # 12 - 2 is beyond 7
    assert seen(mask)[3].tolist() == [False, False, False, True, True, True]  # 10 - 2 is 8
    assert seen(mask)[0].tolist() == [True, True, True, False, False, False]  # as far ahead as back


def test_a_window_that_is_switched_off_hides_nothing():
    config = SmolLM3Config(sliding_window=4, use_sliding_window=False)
    model = SimpleNamespace(config=config, dtype=torch.float32)
    assert (seen(attention_input(model, causal(), positions(), positions())) == causal()[0]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_masks_have_the_models_type(dtype, tiny_model_of):
    model = tiny_model_of("llama").to(dtype)
    mask = attention_input(model, causal(), positions(), positions())
    assert mask.dtype == dtype
    assert torch.isfinite(mask).all()
