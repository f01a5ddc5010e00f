"""Slots of running answers against one-by-one greedy decoding by transformers."""

import numpy as np
import pytest
import torch

from iclscope.engine.generation import Stopping, generate
from iclscope.engine.packing import shared_length
from iclscope.engine.prompts import PromptEncoder
from iclscope.engine.scoring import score

ITEMS = [
    {"question": question, "target_delimiter": " ", "choices": [gold]}
    for question, gold in [
        ("Question: is the sky blue?\nAnswer:", "yes"),
        ("Anna has three apples and buys 12 more. How many?", "15"),
        ("A", "passage"),
        ("They breathe air.\nQuestion: is a whale a fish?\nAnswer:", "no"),
        ("Whales?", "mammals"),
    ]
]
PREFIXES = ["Question: is it day?\nAnswer: yes\n\n", "Anna has three apples.\n\n"]


def groups_of(tokenizer):
    encoder = PromptEncoder(tokenizer)
    return [encoder.encode(prefix, ITEMS) for prefix in PREFIXES]


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma", "gemma2", "gemma3", "mistral", "gpt2"])
@pytest.mark.parametrize("batch_tokens", [16, 512])  # 2 and 64 slots
def test_equals_one_by_one_decoding(kind, batch_tokens, tiny_model_of, tiny_tokenizer):
    model, groups = tiny_model_of(kind), groups_of(tiny_tokenizer)
    answers = generate(model, tiny_tokenizer, groups, batch_tokens, Stopping((), 12))
    for prompts, mine in zip(groups, answers, strict=True):
        for prompt, answer in zip(prompts, mine, strict=True):
            alone = model.generate(
                torch.tensor([prompt.context]),
                attention_mask=torch.ones(1, len(prompt.context), dtype=torch.long),
                max_new_tokens=12,
                do_sample=False,
                pad_token_id=1,
            )
            assert answer.tokens == alone[0, len(prompt.context) :].tolist()


def test_scores_the_gold_answer_as_scoring_does(tiny_model, tiny_tokenizer):
    groups = groups_of(tiny_tokenizer)
    answers = generate(tiny_model, tiny_tokenizer, groups, 32, Stopping((), 3))
    for prompts, mine in zip(groups, answers, strict=True):
        for wanted, answer in zip(score(tiny_model, prompts, 128), mine, strict=True):
            np.testing.assert_allclose(answer.logprobs, wanted, atol=1e-4)


def test_stop_sequence_ends_and_is_cut_off(tiny_model, tiny_tokenizer):
    groups = groups_of(tiny_tokenizer)[:1]
    free = generate(tiny_model, tiny_tokenizer, groups, 128, Stopping((), 12))[0]
    stop = tiny_tokenizer.decode(free[1].tokens[4])
    stopped = generate(tiny_model, tiny_tokenizer, groups, 128, Stopping((stop,), 12))[0][1]
    assert stop not in stopped.text
    assert stopped.text == free[1].text.split(stop)[0]
    assert len(stopped.tokens) <= 5


def test_counts_every_answer_once(tiny_model, tiny_tokenizer):
    counted = []
    generate(tiny_model, tiny_tokenizer, groups_of(tiny_tokenizer), 24, Stopping((), 4), counted.append)
    assert sum(counted) == len(PREFIXES) * len(ITEMS)


def test_prompts_share_what_their_tokens_share(tiny_tokenizer):
    prompts = groups_of(tiny_tokenizer)[0]
    shared = shared_length([prompt.context for prompt in prompts])
    assert tiny_tokenizer.decode(prompts[0].context[:shared]).startswith(PREFIXES[0].rstrip())
