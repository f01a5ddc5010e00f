"""Rotary factors that follow the longest sequence of a pass: no result may depend on which sequences share one."""

import numpy as np
import polars as pl
import pytest
import torch

from iclscope.activations.extraction import extract
from iclscope.activations.masks import named
from iclscope.activations.reading import Demonstration
from iclscope.engine.generation import Stopping
from iclscope.engine.prompts import DemonstrationTokens, Prompt
from iclscope.engine.reference import generate_plain, generation_method, score_plain, takes_masks
from iclscope.engine.rotary import apart, length_class
from iclscope.engine.scoring import score

LIMIT = 24
FACTORS = {
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [1.5, 3.0, 6.0, 12.0],
        "original_max_position_embeddings": LIMIT,
        "factor": 4.0,
    },
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
}


@pytest.fixture(params=FACTORS)
def model(request, tiny_model_of):
    """A model of which one sequence in a pass changes the others: their lengths lie on both sides of its limit."""
    limit = {"max_position_embeddings": LIMIT if request.param == "dynamic" else 4 * LIMIT}
    made = tiny_model_of("llama", rope_parameters=FACTORS[request.param], **limit)
    for weights in made.parameters():
        if weights.ndim > 1:
            weights.mul_(8)  # or positions would hardly matter
    return made


def prompts(lengths, shared=6, seed=0):
    rng = np.random.default_rng(seed)
    start = rng.integers(2, 400, shared).tolist()
    return [
        Prompt(start + rng.integers(2, 400, n - shared).tolist(), [rng.integers(2, 400, k).tolist() for k in (1, 2, 5)])
        for n in lengths
    ]


def alone(model, tokens):
    """Log probabilities of all next tokens in a pass of its own, by a model that has read nothing else."""
    model(torch.tensor([[0]]))
    return model(torch.tensor([tokens])).logits[0].log_softmax(-1)


def truth(model, prompt, continuation):
    logprobs = alone(model, prompt.context + continuation[:-1])[len(prompt.context) - 1 :]
    return logprobs.gather(1, torch.tensor(continuation)[:, None]).sum().item()


LENGTHS = [10, 12, 22, 23, 24, 25, 30, 40]


def test_scores_do_not_depend_on_what_shares_a_pass(model):
    mixed = prompts(LENGTHS)
    wanted = [[truth(model, prompt, c) for c in prompt.continuations] for prompt in mixed]
    for method, tokens in ((score, 64), (score, 4096), (score_plain, 128), (score_plain, 4096)):
        for found, row in zip(method(model, mixed, tokens), wanted, strict=True):
            np.testing.assert_allclose(found, row, atol=1e-4)
    assert takes_masks(model, mixed, 4096)


@pytest.mark.parametrize("lengths", [[8, 10], [18, 20], [22, 40]])
def test_answers_do_not_depend_on_what_shares_a_pass(lengths, model, tiny_tokenizer):
    """Below the limit, across it while the answer grows, and on both sides of it."""
    mixed = prompts(lengths)
    method = generation_method(model, tiny_tokenizer, mixed, 64, 8)
    assert (method is generate_plain) == (lengths[-1] + 8 > LIMIT)
    for prompt, answer in zip(mixed, method(model, tiny_tokenizer, [mixed], 64, Stopping((), 8))[0], strict=True):
        text = list(prompt.context)
        for token in answer.tokens:
            assert token == alone(model, text)[-1].argmax().item()
            text.append(token)


def test_activations_do_not_depend_on_what_shares_a_pass(model):
    rng = np.random.default_rng(1)
    rows = [
        Demonstration(i, DemonstrationTokens(rng.integers(2, 400, n).tolist(), (1, n - 2), (n - 2, n)))
        for i, n in enumerate(LENGTHS)
    ]
    tables = [
        pl.concat(extract(model, rows, named("causal"), ["resid"], 4, tokens)).sort("candidate", "layer")
        for tokens in (1, 4096)
    ]
    for name in ("mean", "variance", "max_abs"):
        first, second = (np.array(table[name].explode()) for table in tables)
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


def test_other_models_let_all_lengths_share_a_pass(tiny_model):
    assert {length_class(tiny_model)(length) for length in LENGTHS} == {0}
    assert list(apart(tiny_model, LENGTHS)) == [list(range(len(LENGTHS)))]
