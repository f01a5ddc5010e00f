"""Batches against the rule that says what they hold, written down plainly; layouts that are made ahead."""

import threading

import pytest
from hypothesis import given, strategies as st

from iclscope.engine.packing import computed_tokens, pack, shared_length
from iclscope.engine.prompts import Prompt
from iclscope.runtime.prefetch import ahead

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=6)
PROMPTS = st.lists(
    st.builds(Prompt, TOKENS.map(lambda own: [7, *own]), st.lists(TOKENS, min_size=1, max_size=3)), min_size=1
)


def tree_tokens(sequences):
    """Tokens of a tree of sequences: its distinct beginnings."""
    return len({tuple(one[:end]) for one in sequences for end in range(1, len(one) + 1)})


def members_of(prompts, shared, batch_tokens):
    """Prompts of each batch: in their order, each that fits beside the last one taken, until none is left."""
    own = [prompt.context[shared:] for prompt in prompts]
    branches = [tree_tokens([continuation[:-1] for continuation in prompt.continuations]) for prompt in prompts]
    waiting, batches = sorted(range(len(prompts)), key=lambda i: (own[i], i)), []
    while waiting:
        taken, room = [], batch_tokens - (0 if batches else shared)
        for index in waiting:
            beside = [own[taken[-1]], own[index]] if taken else [own[index]]
            new = tree_tokens(beside) - (len(beside[0]) if taken else 0) + branches[index]
            if not taken or new <= room:
                taken.append(index)
                room -= new
        batches.append(taken)
        waiting = [index for index in waiting if index not in taken]
    return batches


@given(PROMPTS, st.integers(1, 30))
def test_batches_hold_what_fits_in_order(prompts, batch_tokens):
    shared = shared_length([prompt.context for prompt in prompts])
    batches = list(pack(prompts, shared, batch_tokens))
    assert [list(batch.last) for batch in batches] == members_of(prompts, shared, batch_tokens)


@given(PROMPTS, st.integers(1, 30))
def test_by_length_longer_prompts_come_first(prompts, batch_tokens):
    shared = shared_length([prompt.context for prompt in prompts])
    batches = list(pack(prompts, shared, batch_tokens, by_length=True))
    assert sorted(index for batch in batches for index in batch.last) == list(range(len(prompts)))
    longest = [max(len(prompts[index].context) for index in batch.last) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    assert all(len(batch.tokens) <= batch_tokens or len(batch.last) == 1 for batch in batches)


@given(PROMPTS)
def test_computed_tokens_are_those_of_the_whole_tree(prompts):
    whole = [p.context + c[:-1] for p in prompts for c in p.continuations]
    shared = shared_length([prompt.context for prompt in prompts])
    (batch,) = pack(prompts, shared, 10_000)
    assert computed_tokens(prompts) == len(batch.tokens) >= tree_tokens(whole)


def test_the_next_value_is_made_while_one_is_worked_on():
    made = [threading.Event() for _ in range(3)]

    def values():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in ahead(values()):
        assert all(event.wait(timeout=60) for event in made[: number + 2])


def test_an_error_comes_when_its_turn_does():
    def values():
        yield 1
        raise ValueError("the second")

    coming = ahead(values())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="the second"):
        next(coming)
