"""The fallback without masks of our own, and how it is chosen."""

import numpy as np
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, MambaConfig, MambaForCausalLM

from iclscope.engine.generation import Stopping, generate
from iclscope.engine.reference import generate_plain, score_plain, takes_masks
from iclscope.engine.scoring import PromptEncoder, score

ITEMS = [
    {"question": "Question: is the sky blue?\nAnswer:", "target_delimiter": " ", "choices": ["no", "yes it is"]},
    {"question": "Anna buys apples, how many", "target_delimiter": " ", "choices": ["three or four", "12"]},
    {"question": "They breathe air.\nQuestion: a fish?", "target_delimiter": " ", "choices": ["whale", "not a whale"]},
]


@pytest.fixture
def prompts(tiny_tokenizer):
    return PromptEncoder(tiny_tokenizer).encode("Question: is it day?\nAnswer: yes\n\n", ITEMS)


def bloom():
    """ALiBi: positions come from the attention mask, so that packing would give other scores."""
    torch.manual_seed(0)
    return BloomForCausalLM(BloomConfig(vocab_size=400, hidden_size=32, n_layer=2, n_head=4)).eval()


def mamba():
    """No attention at all."""
    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(vocab_size=400, hidden_size=32, num_hidden_layers=2, state_size=4)).eval()


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"])
def test_equals_packed_scoring_where_masks_work(kind, tiny_model_of, prompts):
    model = tiny_model_of(kind)
    assert takes_masks(model, prompts, 256)
    for plain, packed in zip(score_plain(model, prompts, 64), score(model, prompts, 256), strict=True):
        np.testing.assert_allclose(plain, packed, atol=1e-4)


@pytest.mark.parametrize("build", [bloom, mamba])
def test_is_chosen_where_packing_fails_and_says_so(build, prompts, caplog):
    model = build().requires_grad_(False)
    assert not takes_masks(model, prompts, 256)
    assert "every choice runs alone" in caplog.text


@pytest.mark.parametrize("build", [bloom, mamba])
def test_scores_like_one_sequence_at_a_time(build, prompts):
    model = build().requires_grad_(False)
    for scores, prompt in zip(score_plain(model, prompts, 64), prompts, strict=True):
        for found, continuation in zip(scores, prompt.continuations, strict=True):
            logprobs = model(torch.tensor([prompt.context + continuation])).logits[0].log_softmax(-1)
            start = len(prompt.context)
            wanted = sum(logprobs[start + i - 1, token].item() for i, token in enumerate(continuation))
            assert found == pytest.approx(wanted, abs=1e-4)


def test_generates_what_the_slots_generate(tiny_model, tiny_tokenizer, prompts):
    packed = generate(tiny_model, tiny_tokenizer, [prompts], 16, Stopping((), 8))[0]
    plain = generate_plain(tiny_model, tiny_tokenizer, [prompts], 256, Stopping((), 8))[0]
    assert [answer.tokens for answer in plain] == [answer.tokens for answer in packed]
    assert [answer.text for answer in plain] == [answer.text for answer in packed]


@pytest.mark.parametrize("build", [bloom, mamba])
def test_generates_as_transformers_does(build, tiny_tokenizer, prompts):
    model = build().requires_grad_(False)
    answers = generate_plain(model, tiny_tokenizer, [prompts], 256, Stopping((), 6))[0]
    for prompt, answer in zip(prompts, answers, strict=True):
        alone = model.generate(torch.tensor([prompt.context]), max_new_tokens=6, do_sample=False, pad_token_id=1)
        assert answer.tokens == alone[0, len(prompt.context) :].tolist()
