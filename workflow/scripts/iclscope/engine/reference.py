"""One sequence per choice and a plain causal mask: for models that cannot take masks and positions of our own.

Slower than packed scoring and equal to it; also the truth that packed scoring is compared with before it is trusted.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from iclscope.engine.generation import Answer, Ending, Stopping
from iclscope.engine.packing import Prompt
from iclscope.engine.scoring import logits_at, logprobs_of, score

logger = logging.getLogger(__name__)

TOLERANCE = {torch.float32: 1e-3}  # nats; other types round more
ROUNDING = 0.25


def score_plain(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> list[np.ndarray]:
    """As `scoring.score`, with a right-padded row per continuation and no shared computation."""
    requests = [(i, k) for i, prompt in enumerate(prompts) for k in range(len(prompt.continuations))]
    requests.sort(key=lambda request: -_length(prompts, *request))
    scores = [np.zeros(len(prompt.continuations), dtype=np.float32) for prompt in prompts]
    while requests:
        rows = max(1, batch_tokens // _length(prompts, *requests[0]))
        batch, requests = requests[:rows], requests[rows:]
        for (i, k), value in zip(batch, _score_batch(model, prompts, batch), strict=True):
            scores[i][k] = value
    return scores


def generate_plain(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Sequence[Prompt]],
    batch_tokens: int,
    stopping: Stopping,
    advance: Callable[[int], Any] = lambda finished: None,
) -> list[list[Answer]]:
    """As `generation.generate`, one prompt at a time and without a cache of our own."""
    ended = Ending(tokenizer, stopping)
    answers = []
    for group in groups:
        mine = [Answer(logprobs) for logprobs in score_plain(model, group, batch_tokens)]
        for prompt, answer in zip(group, mine, strict=True):
            inputs: dict[str, Any] = {"input_ids": torch.tensor([prompt.context], device=model.device)}
            while not answer.tokens or not ended([answer]):
                output = model(**inputs, use_cache=True)
                answer.tokens.append(int(output.logits[0, -1].float().argmax()))
                inputs = {"input_ids": torch.tensor([answer.tokens[-1:]], device=model.device), **_state_of(output)}
            advance(1)
        answers.append(mine)
    return answers


def takes_masks(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> bool:
    """Whether packed scoring gives this model's plain log probabilities on a few prompts that share a prefix.

    Models with linear attention, ALiBi or a mask of their own may fail loudly or, worse, silently.
    """
    few = sorted(prompts, key=lambda prompt: len(prompt.context))[:2]
    wanted = np.concatenate(score_plain(model, few, batch_tokens))
    try:
        found = np.concatenate(score(model, few, batch_tokens))
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"it fails with {type(error).__name__}: {error}"
    else:
        difference = float(np.abs(found - wanted).max())
        if difference <= TOLERANCE.get(model.dtype, ROUNDING):
            return True
        reason = f"log probabilities differ by up to {difference:.3g} nats"
    logger.warning("%s cannot be scored packed (%s); every choice runs alone", type(model).__name__, reason)
    return False


def _length(prompts: Sequence[Prompt], prompt: int, continuation: int) -> int:
    return len(prompts[prompt].context) + len(prompts[prompt].continuations[continuation]) - 1


def _score_batch(model: Any, prompts: Sequence[Prompt], batch: Sequence[tuple[int, int]]) -> list[float]:
    width = _length(prompts, *batch[0])
    tokens = np.zeros((len(batch), width), dtype=np.int64)
    mask = np.zeros((len(batch), width), dtype=np.int64)
    wanted = []
    for row, (i, k) in enumerate(batch):
        context, continuation = prompts[i].context, prompts[i].continuations[k]
        sequence = context + continuation[:-1]
        tokens[row, : len(sequence)], mask[row, : len(sequence)] = sequence, 1
        wanted += [(row, len(context) - 1 + step, token) for step, token in enumerate(continuation)]
    places = np.array(wanted, dtype=np.int64)
    logits = logits_at(
        model,
        places[:, :2],
        input_ids=torch.from_numpy(tokens).to(model.device),
        attention_mask=torch.from_numpy(mask).to(model.device),
        use_cache=False,
    )
    targets = torch.from_numpy(places[:, 2]).to(model.device)
    logprobs = logprobs_of(logits, torch.arange(len(places), device=model.device), targets)
    return np.bincount(places[:, 0], weights=logprobs, minlength=len(batch)).tolist()


def _state_of(output: Any) -> dict[str, Any]:
    """What a model wants back to go on: a cache, or the state of a recurrent model."""
    return {name: output[name] for name in ("past_key_values", "cache_params", "state") if output.get(name) is not None}
