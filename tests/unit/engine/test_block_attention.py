"""Attention in blocks: which are computed, and that all ways of attention give the same."""

import numpy as np
import pytest
import torch

from iclscope.engine.attention.blocks import SIDE, lay_in_blocks
from iclscope.engine.attention.choice import faster, lay_out_for
from iclscope.engine.attention.rows import lay_in_rows
from iclscope.engine.packing import pack
from iclscope.engine.prompts import Prompt
from iclscope.engine.scoring import score

MODELS = ["llama", "mistral", "gemma2", "gemma3", "qwen2"]
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")  # as on a CPU


def prompts_of(number, shared=150):
    """Prompts of many lengths behind a prefix longer than a block, some of which begin alike."""
    rng = np.random.default_rng(number)

    def text(least, most):
        return rng.integers(1, 4, rng.integers(least, most)).tolist()

    return [Prompt([9] * shared + text(1, 40), [text(1, 4) for _ in range(3)]) for _ in range(number)]


@pytest.mark.parametrize("shared", [0, 40, 300])
def test_blocks_are_those_in_which_any_token_sees_another(shared):
    for batch in pack(prompts_of(30, shared), shared, 500):
        layout = lay_in_blocks(batch)
        sees = np.zeros((len(batch.tokens), batch.cached + len(batch.tokens)), dtype=bool)
        for token in range(len(batch.tokens)):
            sees[token, : batch.cached] = True
            sees[token, batch.cached + batch.seen(token)] = True
        for row, column in np.ndindex(layout.some.shape):
            block = sees[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            assert block.any() <= layout.some[row, column]
            assert layout.every[row, column] <= (block.all() and block.size > 0)
            near = (
                row == (column * SIDE - batch.cached) // SIDE
            )  # the diagonal's, part of which lies behind the queries
            assert layout.some[row, column] <= (block.any() or near)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_tokens", [256, 4096])
def test_log_probabilities_are_the_same_in_all_ways(name, batch_tokens, tiny_model_of, monkeypatch):
    """With a cached prefix, grouped heads, windows, kinds of layers and capped products, as the models have them."""
    model, prompts, found = tiny_model_of(name), prompts_of(25), {}
    with torch.inference_mode():
        for by_products in (True, False):
            monkeypatch.setattr("iclscope.engine.attention.copies.worth_it", lambda *_, answer=by_products: answer)
            found[by_products] = np.concatenate(score(model, prompts, batch_tokens))
        monkeypatch.setattr("iclscope.engine.scoring.lay_out_for", lambda *_: lay_in_blocks)
        found["blocks"] = np.concatenate(score(model, prompts, batch_tokens))
    np.testing.assert_allclose(found[True], found[False], atol=1e-4)
    np.testing.assert_allclose(found["blocks"], found[False], atol=1e-4)
    assert found[False].std() > 0.01


def trial_of(seconds, nats):
    """A trial that takes so long and gives such log probabilities, in rows and in blocks."""

    def trial(lay_out):
        way = 0 if lay_out is lay_in_rows else 1
        clock[0] += seconds[way]
        if nats[way] is None:
            raise NotImplementedError("no compiler")
        return np.array([0.0, nats[way]])

    clock = [0.0]
    return trial, lambda: clock[0]


@pytest.mark.parametrize(
    ("seconds", "nats", "chosen"),
    [
        ((2, 1), (-3, -3.0001), lay_in_blocks),
        ((1, 2), (-3, -3.0001), lay_in_rows),
        ((2, 1), (-3, -3.1), lay_in_rows),  # faster and wrong
        ((2, 1), (-3, np.nan), lay_in_rows),
        ((2, 1), (-3, None), lay_in_rows),
    ],
)
def test_blocks_are_chosen_where_they_are_right_and_faster(seconds, nats, chosen, monkeypatch):
    trial, clock = trial_of(seconds, nats)
    monkeypatch.setattr("iclscope.engine.attention.choice.time.perf_counter", clock)
    assert faster(trial, 1e-3) is chosen


def test_a_cpu_attends_in_rows(tiny_model):
    assert lay_out_for(tiny_model, lambda _: pytest.fail("nothing is tried")) is lay_in_rows
