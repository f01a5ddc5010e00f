"""The fallback without masks of our own, and how it is chosen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    Llama4TextConfig,
    MambaConfig,
    MambaForCausalLM,
    RecurrentGemmaConfig,
)

from iclscope.engine import reference as plain_path, scoring
from iclscope.engine.generation import Stopping, generate
from iclscope.engine.prompts import Prompt, PromptEncoder
from iclscope.engine.reference import (
    generate_plain,
    generation_method,
    returns_its_state,
    score_alone,
    score_plain,
    scoring_method,
    takes_masks,
)
from iclscope.engine.scoring import score

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


def recurrent_gemma():
    """It keeps its state to itself, so that each token has to read the text again."""
    torch.manual_seed(0)
    config = RecurrentGemmaConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        attention_window_size=8, lru_width=32,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for weights in model.parameters():
        if weights.ndim == 2:
            weights.mul_(5)
    return model


def test_a_model_that_returns_no_state_reads_the_text_again(tiny_tokenizer, prompts):
    model = recurrent_gemma()
    assert not returns_its_state(model, prompts[0].context)
    answers = generate_plain(model, tiny_tokenizer, [prompts], 256, Stopping((), 6))[0]
    for prompt, answer in zip(prompts, answers, strict=True):
        text = list(prompt.context)
        for token in answer.tokens:
            assert token == model(torch.tensor([text])).logits[0, -1].argmax().item()
            text.append(token)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_that_fails_with_padded_rows_is_scored_a_row_at_a_time(dtype, tiny_model_of, prompts, monkeypatch):
    """Where packing fails too: bfloat16 takes its tolerance from padded rows."""
    model = tiny_model_of("llama").to(dtype)
    forward = model.forward

    def alone(*arguments, attention_mask=None, **options):
        if attention_mask is not None and (attention_mask.ndim != 2 or not attention_mask.all()):
            raise ValueError("no padding")
        return forward(*arguments, attention_mask=attention_mask, **options)

    monkeypatch.setattr(model, "forward", alone)
    method = scoring_method(model, prompts, 4096)
    assert method is score_alone
    assert all(np.isfinite(scores).all() for scores in method(model, prompts, 4096))


def test_a_state_that_is_not_the_whole_one_is_not_used(tiny_model, monkeypatch):
    assert returns_its_state(tiny_model, list(range(5, 25)))
    monkeypatch.setattr(plain_path, "_state_of", lambda output: {"past_key_values": None})
    assert not returns_its_state(tiny_model, list(range(5, 25)))


def test_a_model_that_fails_with_a_cache_reads_the_text_again(tiny_model, tiny_tokenizer, prompts, monkeypatch):
    wanted = generate_plain(tiny_model, tiny_tokenizer, [prompts[:2]], 256, Stopping((), 4))[0]
    forward = tiny_model.forward

    def without_cache(*arguments, **options):
        if options.get("use_cache", True):
            raise ValueError("no cache")
        return forward(*arguments, **options)

    monkeypatch.setattr(tiny_model, "forward", without_cache)
    assert not returns_its_state(tiny_model, list(range(5, 25)))
    found = generate_plain(tiny_model, tiny_tokenizer, [prompts[:2]], 256, Stopping((), 4))[0]
    assert [answer.tokens for answer in found] == [answer.tokens for answer in wanted]


def long_prompts(lengths, shared=6):
    rng = np.random.default_rng(0)
    start = rng.integers(2, 400, shared).tolist()
    return [
        Prompt(start + rng.integers(2, 400, n - shared).tolist(), [rng.integers(2, 400, k).tolist() for k in (1, 3)])
        for n in lengths
    ]


def llama4(chunk):
    torch.manual_seed(0)
    config = Llama4TextConfig(
        vocab_size=400, hidden_size=32, intermediate_size=32, intermediate_size_mlp=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=2, attention_chunk_size=chunk,
        no_rope_layers=[1, 1, 1, 0], pad_token_id=0, interleave_moe_layer_step=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    for name, weights in model.named_parameters():
        if weights.ndim > 1 and "embed" not in name:
            weights.mul_(8)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_chunks_end_where_the_model_says(dtype):
    """A chunk hides what is before it, from long prompts alone."""
    model = llama4(chunk=40).to(dtype)
    assert set(model.config.layer_types) == {"chunked_attention", "full_attention"}
    mixed = long_prompts([10, 30, 39, 41, 60, 95])
    assert scoring_method(model, mixed, 128) is score
    for found, wanted in zip(score(model, mixed, 128), score_alone(model, mixed, 128), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4 if dtype == torch.float32 else 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_goes_wrong_in_long_prompts_alone_is_found(dtype, tiny_model_of):
    """As if a kind of layer had been forgotten: packed scoring sees what a window should hide."""
    model = tiny_model_of("mistral", sliding_window=16).to(dtype)
    for weights in model.parameters():
        if weights.ndim > 1:
            weights.mul_(8)
    mixed = long_prompts([10, 11, 12, 90])
    assert takes_masks(model, mixed, 256)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iclscope.engine.attention.copies.attention_input", lambda _, *rest: plain_mask(model, *rest))
        assert takes_masks(model, mixed[:3], 256)  # which short prompts cannot tell
        assert not takes_masks(model, mixed, 256)


def plain_mask(model, allowed, *_):
    mask = torch.zeros(allowed.shape, dtype=model.dtype)
    return mask.masked_fill(~allowed, torch.finfo(model.dtype).min)[:, None]


def test_the_cached_prefix_is_tried_too(tiny_model, prompts, monkeypatch):
    """A fault that only packs after the first have: whatever they predict is another token."""
    inner = scoring._forward

    def faulty(model, prefix, batch, rows):
        wrong = batch if not batch.cached else replace(batch, wanted=batch.wanted - [0, 1, 0, 0])
        return inner(model, prefix, wrong, rows)

    assert takes_masks(tiny_model, prompts, 256)
    monkeypatch.setattr(scoring, "_forward", faulty)
    assert not takes_masks(tiny_model, prompts, 256)


@pytest.mark.parametrize("error", [AssertionError, NotImplementedError, ZeroDivisionError, KeyError])
def test_whatever_the_proof_raises_means_the_plain_path(error, tiny_model, prompts, monkeypatch, caplog):
    def fail(*_):
        raise error("no")

    monkeypatch.setattr(plain_path, "score", fail)
    assert scoring_method(tiny_model, prompts, 256) is score_plain
    assert f"it fails with {error.__name__}" in caplog.text


def test_a_model_that_padding_disturbs_is_scored_row_by_row(tiny_model_of, prompts, caplog):
    model = tiny_model_of("llama")
    # Each token is given the mean of all that are read.
    model.model.embed_tokens.register_forward_hook(lambda _, __, x: x + x.mean(dim=1, keepdim=True))
    assert scoring_method(model, prompts, 256) is score_alone
    assert "no two share a pass" in caplog.text


def test_slots_that_give_other_answers_are_not_used(tiny_model, tiny_tokenizer, prompts, monkeypatch, caplog):
    assert generation_method(tiny_model, tiny_tokenizer, prompts, 256, 4) is generate
    inner = generate

    def faulty(*arguments):
        answers = inner(*arguments)
        answers[0][1].tokens[-1] = 7
        return answers

    monkeypatch.setattr(plain_path, "generate", faulty)
    assert generation_method(tiny_model, tiny_tokenizer, prompts, 256, 4) is generate_plain
    assert "every answer is alone" in caplog.text
