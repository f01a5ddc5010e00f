"""Packed tree scoring against one plain forward pass per choice."""

import numpy as np
import pytest
import torch

from iclscope.packing import Prompt, pack, shared_length
from iclscope.scoring import PromptEncoder, score

ITEMS = [
    {"question": "Question: is the sky blue?\nAnswer:", "target_delimiter": " ", "choices": ["no", "yes"]},
    {"question": "Anna buys apples, how many", "target_delimiter": " ", "choices": ["three or four", "12", "a blue"]},
    {"question": "They breathe air.\nQuestion: fish? ", "target_delimiter": " ", "choices": ["whale", "not a whale"]},
    {"question": "A", "target_delimiter": " ", "choices": ["mammals, and they breathe", "x"]},
]
PREFIXES = ["Question: is it day?\nAnswer: yes\n\n", "Anna has three apples.\n\n", "How many? 12.\n\n"]


def plain(model, tokenizer, context, continuation):
    """The harness's definition: tokens of prompt and answer together, from the length of the prompt's own on."""
    stripped = context.rstrip()
    continuation = context[len(stripped) :] + continuation
    start = len(tokenizer(stripped)["input_ids"])
    whole = tokenizer(stripped)["input_ids"] + tokenizer(stripped + continuation)["input_ids"][start:]
    logprobs = model(torch.tensor([whole])).logits[0].float().log_softmax(-1)
    return sum(logprobs[i - 1, whole[i]].item() for i in range(start, len(whole)))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"])
@pytest.mark.parametrize("bos", [False, True])
def test_equals_one_pass_per_choice(kind, bos, tiny_model_of, tiny_tokenizer, bos_tokenizer):
    model, tokenizer = tiny_model_of(kind), bos_tokenizer if bos else tiny_tokenizer
    encoder = PromptEncoder(tokenizer)
    for prefix in PREFIXES:
        for scores, item in zip(score(model, encoder.encode(prefix, ITEMS), 256), ITEMS, strict=True):
            wanted = [plain(model, tokenizer, prefix + item["question"], " " + c) for c in item["choices"]]
            np.testing.assert_allclose(scores, wanted, atol=1e-4)


def test_untied_head(tiny_model_of, tiny_tokenizer):
    for tied in (True, False):
        model = tiny_model_of("llama", tie_word_embeddings=tied)
        prompts = PromptEncoder(tiny_tokenizer).encode(PREFIXES[0], ITEMS)
        wanted = plain(model, tiny_tokenizer, PREFIXES[0] + ITEMS[1]["question"], " three or four")
        assert score(model, prompts, 256)[1][0] == pytest.approx(wanted, abs=1e-4)


def test_layout_does_not_change_scores(tiny_model, tiny_tokenizer):
    prompts = PromptEncoder(tiny_tokenizer).encode(PREFIXES[0], ITEMS * 5)
    layouts = [score(tiny_model, prompts, batch_tokens) for batch_tokens in (16, 200, 4096)]
    for other in layouts[1:]:
        for left, right in zip(layouts[0], other, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-4)


def test_bos_in_the_text_is_not_doubled(tiny_model, bos_tokenizer):
    prompts = PromptEncoder(bos_tokenizer).encode("<s>" + PREFIXES[0], ITEMS)
    plain_prompts = PromptEncoder(bos_tokenizer).encode(PREFIXES[0], ITEMS)
    assert [p.context for p in prompts] == [p.context for p in plain_prompts]


def test_shared_length_leaves_every_prompt_a_token():
    assert shared_length([[1, 2, 3], [1, 2, 4]]) == 2
    assert shared_length([[1, 2], [1, 2, 3]]) == 1
    assert shared_length([[1, 2, 3]]) == 2
    assert shared_length([[5, 2], [1, 2]]) == 0


def test_packing_places_every_token_once_and_in_sight_of_its_own_past():
    prompts = [Prompt([9, 9, *range(10, 10 + n)], [[50, 51], [60, 61, 62]]) for n in (3, 7, 2, 30)]
    for batch in pack(prompts, shared=2, batch_tokens=32, width=16):
        visible = batch.visible()
        for index, row, column, length in batch.trunks:
            trunk = slice(column, column + length)
            assert batch.tokens[row, trunk].tolist() == prompts[index].context[2:]
            assert batch.positions[row, trunk].tolist() == list(range(2, 2 + length))
            first = column + length
            assert batch.positions[row, first : first + 3].tolist() == [2 + length, 2 + length, 3 + length]
            # the second branch (two tokens) sees trunk and itself, not the first branch
            seen = np.flatnonzero(visible[row, first + 2])
            assert seen.tolist() == [*range(column, column + length), first + 1, first + 2]


def test_packing_computes_no_token_twice():
    prompts = [Prompt([1, 2, 3, 4, i], [[7], [8]]) for i in range(50)]
    batches = pack(prompts, shared=4, batch_tokens=64, width=8)
    assert sum((batch.owner >= 0).sum() for batch in batches) == 50
    assert sum(len(batch.wanted) for batch in batches) == 100
