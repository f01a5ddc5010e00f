"""Every architecture of the table: what it says is found, and what is found is right.

Scores against the evaluation harness, answers against `model.generate`, activations against hooks on single passes, for
texts longer than every window and chunk.
"""

import numpy as np
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

import architectures
from architectures import KINDS, NEW_TOKENS, REFUSED, TABLE, find, line, prompts, save
from iclscope.activations.reading import model_input
from iclscope.activations.sites import SITES, decoder_of, find_blocks, reading
from iclscope.engine import models
from iclscope.engine.generation import Stopping
from iclscope.engine.prompts import DemonstrationTokens
from iclscope.runtime.errors import StudyError
from tiny import build_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers, about settings of tiny models


def as_demonstrations():
    return [DemonstrationTokens(one.context, (1, len(one.context) - 3), (len(one.context) - 2, len(one.context)))
            for one in prompts()]  # fmt: skip


def test_at_least_forty_architectures_are_tried():
    assert len(KINDS) >= 40


def test_the_table_names_them_all_and_no_other():
    named = [row.split("|")[1].strip() for row in TABLE.read_text(encoding="utf-8").splitlines() if row[:1] == "|"]
    assert named[2:] == list(KINDS)
    assert TABLE.read_text(encoding="utf-8").startswith(architectures.TABLE_HEAD)


@pytest.mark.parametrize("kind", KINDS)
def test_architecture(kind, tmp_path):
    save(kind, tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval().requires_grad_(False)
    found = find(tmp_path)
    assert line(kind, found) in TABLE.read_text(encoding="utf-8")
    check_scores(found, plain)
    check_answers(found, plain)
    check_activations(found, plain)
    check_masks(found)


def check_scores(found, plain):
    harness = HFLM(pretrained=plain, tokenizer=build_tokenizer(), batch_size=1, max_length=512)
    for prompt, scores in zip(prompts(), found.score(found.model, prompts(), 128), strict=True):
        requests = [((None, None), prompt.context, answer) for answer in prompt.continuations]
        wanted = [value for value, _ in harness._loglikelihood_tokens(requests, disable_tqdm=True)]
        np.testing.assert_allclose(scores, wanted, atol=1e-3)


def check_answers(found, plain):
    answers = found.generate(found.model, build_tokenizer(), [prompts()], 128, Stopping((), NEW_TOKENS))[0]
    for prompt, answer in zip(prompts(), answers, strict=True):
        text = torch.tensor([prompt.context])
        wanted = plain.generate(
            text, attention_mask=torch.ones_like(text), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=1
        )
        assert answer.tokens == wanted[0, text.shape[1] :].tolist()


def check_activations(found, plain):
    """Of all texts in one padded batch, at every site."""
    together, rows = {}, as_demonstrations()
    inputs = model_input(found.model, rows, found.masks["causal"])
    with reading(found.blocks, list(SITES), lambda site, layer, x: together.update({(site, layer): x.clone()})):
        decoder_of(found.model)(**inputs)
    for row, tokens in enumerate(rows):
        alone = {}

        def keep(site, layer, x, alone=alone):
            alone[site, layer] = x[0].clone()

        with reading(find_blocks(plain), list(SITES), keep):
            plain(torch.tensor([tokens.ids]), use_cache=False)
        assert alone.keys() == together.keys()
        for place, x in alone.items():
            size = x.abs().max().item()
            torch.testing.assert_close(together[place][row, : len(x)], x, atol=1e-4 * size, rtol=1e-4)


def last_states(found, tokens, mask):
    return decoder_of(found.model)(**model_input(found.model, [tokens], found.masks[mask])).last_hidden_state[0]


def check_masks(found):
    """A blocked first token reaches nobody; under `bidirectional` the last one reaches its neighbour."""
    *_, tokens = as_demonstrations()
    n = len(tokens.ids)
    for mask, place, reached in (("sink_blocked", 0, []), ("bidirectional", n - 1, [n - 2]), ("causal", n - 1, [])):
        if mask in found.masks:
            other = DemonstrationTokens(list(tokens.ids), tokens.question, tokens.answer)
            other.ids[place] = (other.ids[place] + 1) % 400
            first, second = (last_states(found, one, mask) for one in (tokens, other))
            change = (first - second).abs().amax(dim=-1) / first.abs().amax(dim=-1)
            assert not reached or (change[reached] > 1e-4).all()
            if not reached:
                rest = torch.arange(n) != place
                assert (change[rest] < 1e-4).all()
            assert change[place] > 1e-4


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_in_a_sentence(kind, tmp_path):
    save(kind, tmp_path)
    model, _ = models.load(tmp_path, "float32", "cpu")
    with pytest.raises(StudyError, match=r"^models: .* cannot be read: .*; choose .*[a-z]$"):
        find_blocks(model)
