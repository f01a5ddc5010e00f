"""Packed tree scoring against one plain forward pass per choice."""

import numpy as np
import pytest
import torch

from iclscope.engine import scoring
from iclscope.engine.attention.rows import MOST_ROWS, lay_in_rows
from iclscope.engine.packing import computed_tokens, pack, shared_length
from iclscope.engine.prompts import Prompt, PromptEncoder, zero_shot_prompts
from iclscope.engine.scoring import score
from iclscope.runtime.errors import StudyError

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


@pytest.mark.parametrize(
    ("question", "choices", "lost"),
    [("Answer: y", ["no", "es"], "es"), ("It i", ["s", "x"], "s"), ("A", ["nswer", "x"], "nswer")],
)
def test_an_answer_without_tokens_of_its_own_is_refused(tiny_tokenizer, question, choices, lost):
    items = [*ITEMS, {"question": question, "target_delimiter": "", "choices": choices}]
    with pytest.raises(StudyError, match=f"the answer '{lost}' merges into the last token of its prompt"):
        PromptEncoder(tiny_tokenizer).encode(PREFIXES[0], items)
    with pytest.raises(StudyError, match="has no token to score; give the task a target_delimiter"):
        zero_shot_prompts(PromptEncoder(tiny_tokenizer), [{**items[-1], "description": ""}])
    spaced = {**items[-1], "target_delimiter": " "}
    assert all(PromptEncoder(tiny_tokenizer).encode(PREFIXES[0], [spaced])[0].continuations)


def test_shared_length_leaves_every_prompt_a_token():
    assert shared_length([[1, 2, 3], [1, 2, 4]]) == 2
    assert shared_length([[1, 2], [1, 2, 3]]) == 1
    assert shared_length([[1, 2, 3]]) == 2
    assert shared_length([[5, 2], [1, 2]]) == 0


def random_prompts(seed, shared=2):
    """Prompts of few different tokens, so that many begin alike, and choices that do."""
    rng = np.random.default_rng(seed)

    def text(most):
        return rng.integers(1, 4, rng.integers(1, most)).tolist()

    return [Prompt([9] * shared + text(9), [text(5) for _ in range(rng.integers(1, 5))]) for _ in range(40)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batch_tokens", [1, 20, 1000])
@pytest.mark.parametrize("shared", [0, 2, 30])
def test_every_prediction_sees_its_prompt_and_the_answer_so_far(seed, batch_tokens, shared):
    """In rows, as attention sees them: the keys visible to a token spell what precedes it, each position once."""
    prompts, predicted = random_prompts(seed, shared), {}
    for batch in pack(prompts, shared, batch_tokens):
        rows = lay_in_rows(batch, width=8)
        for token, target, index, k in batch.wanted:
            ((row, column),) = np.argwhere(rows.queries == batch.cached + token)
            keys = sorted(rows.keys[row, rows.visible[row, column]])
            assert keys == [*range(batch.cached), *(batch.cached + batch.seen(token))]
            spelt = [9] * batch.cached + batch.tokens[batch.seen(token)].tolist()
            assert batch.positions[batch.seen(token)].tolist() == list(range(batch.cached, len(spelt)))
            predicted.setdefault((index, k), []).append((spelt, target))
    for index, prompt in enumerate(prompts):
        for k, answer in enumerate(prompt.continuations):
            assert predicted[index, k] == [(prompt.context + answer[:i], token) for i, token in enumerate(answer)]


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_computes_no_token_twice(seed):
    prompts = random_prompts(seed)
    (batch,) = pack(prompts, 2, 10_000)
    sequences = [prompt.context[2:] + c[:-1] for prompt in prompts for c in prompt.continuations]
    answers = [(i, c) for i, prompt in enumerate(prompts) for c in prompt.continuations]
    branches = {(i, *c[:n]) for i, c in answers for n in range(1, len(c))}  # shared within a prompt alone
    contexts = {tuple(prompt.context[2:n]) for prompt in prompts for n in range(3, len(prompt.context) + 1)}
    assert len(batch.tokens) == 2 + len(branches) + len(contexts) < sum(map(len, sequences))


def test_batches_keep_within_their_tokens_unless_a_prompt_is_longer():
    prompts = [*random_prompts(0), Prompt([9, 9, *range(10, 60)], [[1]])]
    sizes = sorted(len(batch.tokens) for batch in pack(prompts, 2, 24))
    assert sizes[-1] == 50
    assert sizes[-2] <= 24
    assert sum(sizes[1:-1]) > 20 * len(sizes[1:-1])  # and all but the last are nearly full


def test_long_prompts_come_first_where_asked_for():
    prompts = random_prompts(2)
    lengths = [max(len(prompts[i].context) for i in batch.last) for batch in pack(prompts, 2, 24, by_length=True)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


@pytest.mark.parametrize("width", [3, 16, 500])
def test_rows_repeat_no_token_and_leave_none_out(width):
    for batch in pack(random_prompts(1), 2, 60):
        rows, tokens = lay_in_rows(batch, width), range(batch.cached, batch.cached + len(batch.tokens))
        assert sorted(q for q in rows.queries.ravel() if q in tokens) == list(tokens)
        for first, end, places in rows.groups:
            assert not rows.visible[first:end, :, : rows.keys.shape[1] - places].any()
            for keys in rows.keys[first:end]:
                real = [key for key in keys if key < tokens.stop]
                assert len(set(real)) == len(real)
        assert [row for first, end, _ in rows.groups for row in range(first, end)] == list(range(len(rows.keys)))


def test_long_prompts_stand_in_few_rows_since_each_copies_the_keys_before_it():
    prompts = [Prompt([9, *range(10, 1000), i], [[1], [2]]) for i in range(3)]
    (batch,) = pack(prompts, 1, 10_000)
    assert len(lay_in_rows(batch, width=8).keys) <= MOST_ROWS + 2


@pytest.mark.parametrize("batch_tokens", [30, 200, 10_000])
def test_candidates_that_fit_into_a_batch_are_read_at_once(batch_tokens, tiny_model, monkeypatch):
    """What a pass costs beside its tokens is paid once: as few passes as the tokens allow, and the same scores."""
    groups = [[Prompt([7 + g] * 5 + p.context, p.continuations) for p in random_prompts(g)[:6]] for g in range(8)]
    with torch.inference_mode():
        wanted = [np.concatenate(score(tiny_model, group, 10_000)) for group in groups]
        passes, inner = [], scoring._forward
        monkeypatch.setattr(scoring, "_forward", lambda *a: passes.append(len(a[2].tokens)) or inner(*a))
        found = [np.concatenate(one) for one in scoring.score_groups(tiny_model, groups, batch_tokens)]
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert max(passes) <= batch_tokens
    assert len(passes) <= 2 * -(-sum(map(computed_tokens, groups)) // batch_tokens)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_last_mlp_reads_what_predicts_alone(kind, tiny_model_of):
    model, prompts, read = tiny_model_of(kind), random_prompts(0), []
    batches = list(pack(prompts, 2, 60))
    mlps = [part for name, part in model.named_modules() if name.endswith(".mlp")]
    handles = [part.register_forward_hook(lambda _, arguments, __: read.append(arguments[0].shape[1])) for part in mlps]
    with torch.inference_mode():
        score(model, prompts, 60)
    assert read[:: len(mlps)] == [len(batch.tokens) for batch in batches]
    assert read[len(mlps) - 1 :: len(mlps)] == [len(batch.predicting) for batch in batches]
    for handle in handles:
        handle.remove()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in mlps)
