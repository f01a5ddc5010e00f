"""One sequence per choice and a plain causal mask: for models that cannot take masks and positions of our own.

Slower than packed scoring and equal to it; also the truth that packed scoring is compared with before it is trusted.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from iclscope.engine.attention.choice import EXACT, ROUNDED
from iclscope.engine.generation import Answer, Ending, Stopping, generate
from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import Prompt
from iclscope.engine.rotary import apart, forget, length_class
from iclscope.engine.scoring import logits_at, logprobs_of, score

logger = logging.getLogger(__name__)

LAYOUTS = 4  # times what plain passes of two layouts differ by
TRIED_TOKENS = 3  # of an answer, on which generation is proved
ALONE = 1  # tokens of a batch: a sequence on its own

Scorer = Callable[[Any, Sequence[Prompt], int], list[np.ndarray]]
Generator = Callable[..., list[list[Answer]]]


def score_plain(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> list[np.ndarray]:
    """As `scoring.score`, with a right-padded row per continuation and no shared computation."""
    requests = [(i, k) for i, prompt in enumerate(prompts) for k in range(len(prompt.continuations))]
    scores = [np.zeros(len(prompt.continuations), dtype=np.float32) for prompt in prompts]
    for places in apart(model, [_length(prompts, *request) for request in requests]):
        forget(model)
        waiting = sorted((requests[place] for place in places), key=lambda request: -_length(prompts, *request))
        while waiting:
            rows = max(1, batch_tokens // _length(prompts, *waiting[0]))
            batch, waiting = waiting[:rows], waiting[rows:]
            for (i, k), value in zip(batch, _score_batch(model, prompts, batch), strict=True):
                scores[i][k] = value
    return scores


def score_alone(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> list[np.ndarray]:
    """As `score_plain`, each continuation in a pass of its own: what all others are measured by."""
    return score_plain(model, prompts, ALONE)


def generate_plain(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    groups: Sequence[Sequence[Prompt]],
    batch_tokens: int,
    stopping: Stopping,
    advance: Callable[[int], Any] = lambda finished: None,
) -> list[list[Answer]]:
    """As `generation.generate`, one prompt at a time and without a cache of our own."""
    ended, of = Ending(tokenizer, stopping), length_class(model)
    keeps = returns_its_state(model, groups[0][0].context)
    answers = []
    for group in groups:
        mine = [Answer(logprobs) for logprobs in score_plain(model, group, ALONE)]
        for prompt, answer in zip(group, mine, strict=True):
            length = len(prompt.context)
            state: dict[str, Any] = {}
            goes_on = keeps and of(length) == of(length + stopping.max_new_tokens)
            while not answer.tokens or not ended([answer]):
                forget(model)
                text = prompt.context + answer.tokens
                output = _read(model, text[-1:] if state else text, goes_on, state)
                state = _state_of(output) if goes_on else {}
                answer.tokens.append(int(output.logits[0, -1].float().argmax()))
            advance(1)
        answers.append(mine)
    return answers


def returns_its_state(model: Any, context: Sequence[int]) -> bool:
    """Whether a pass returns all that the next token needs; without it, each token has to read the text anew."""
    if len(context) < 2:
        return False
    try:
        state = _state_of(_read(model, context[:-1], True, {}))
        found = _read(model, context[-1:], True, state).logits[0, -1] if state else None
    except Exception as error:  # a model may raise anything where it is run as it was not meant to be
        logger.warning("%s keeps no state (%s); each token reads the text anew", type(model).__name__, error)
        return False
    if found is None:
        return False
    wanted = _read(model, context, False, {}).logits[0, -1]
    difference = (found.float().log_softmax(-1) - wanted.float().log_softmax(-1)).abs().max()
    return float(difference) <= _tolerance(model)


def scoring_method(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> Scorer:
    """The fastest way of scoring that gives this model's own log probabilities, as far as a few prompts can tell.

    prompts: some that share a prefix, among them the longest there will be.
    """
    if takes_masks(model, prompts, batch_tokens):
        return score
    if takes_padding(model, prompts, batch_tokens):
        return score_plain
    return score_alone


def generation_method(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], batch_tokens: int, limit: int
) -> Generator:
    """Likewise for answers of up to `limit` tokens."""
    of = length_class(model)
    lengths = [len(prompt.context) for prompt in prompts]
    if len({of(min(lengths)), of(max(lengths) + limit)}) == 1 and takes_masks(model, prompts, batch_tokens):
        few = _extremes(prompts)
        if reason := _wrong_answers(model, tokenizer, [few[0], few[-1]], min(limit, TRIED_TOKENS)):
            logger.warning("%s cannot answer packed (%s); every answer is alone", type(model).__name__, reason)
        else:
            return generate
    return generate_plain


def takes_masks(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> bool:
    """Whether packed scoring gives this model's log probabilities on the shortest and the longest of some prompts.

    They share a prefix, and are scored in two packs, of which the second finds the prefix in the cache. Models with
    linear attention, ALiBi or a mask of their own may fail loudly or, worse, silently.
    """
    few = _extremes(prompts)
    wanted = np.concatenate(score_alone(model, few, batch_tokens))
    tolerance = EXACT
    try:
        if model.dtype != torch.float32:
            tolerance = _tolerance(model, _difference(score_plain(model, few, batch_tokens), wanted))
        difference = _difference(score(model, few, computed_tokens(few) - 1), wanted)
    except Exception as error:  # a model may raise anything where it is run as it was not meant to be
        reason = f"it fails with {type(error).__name__}: {error}"
    else:
        if difference <= tolerance:
            return True
        reason = f"log probabilities differ by up to {difference:.3g} nats"
    logger.warning("%s cannot be scored packed (%s); every choice runs alone", type(model).__name__, reason)
    return False


def takes_padding(model: Any, prompts: Sequence[Prompt], batch_tokens: int) -> bool:
    """Whether rows that are padded on the right give what each gives by itself."""
    few = _extremes(prompts)
    wanted = np.concatenate(score_alone(model, few, batch_tokens))
    longest = max(_length(few, i, k) for i, prompt in enumerate(few) for k in range(len(prompt.continuations)))
    try:
        difference = _difference(score_plain(model, few, max(batch_tokens, 2 * len(few) * longest)), wanted)
    except Exception as error:  # as above
        reason = f"it fails with {type(error).__name__}: {error}"
    else:
        if difference <= _tolerance(model):
            return True
        reason = f"log probabilities differ by up to {difference:.3g} nats"
    logger.warning("%s cannot take padded rows (%s); no two share a pass", type(model).__name__, reason)
    return False


def _extremes(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The shortest prompts with their longest answer, and the longest one with its shortest answer too."""
    ordered = sorted(prompts, key=lambda prompt: len(prompt.context))
    answers = [sorted(prompt.continuations, key=len) for prompt in ordered]
    few = [Prompt(prompt.context, mine[-1:]) for prompt, mine in zip(ordered[:-1][:2], answers, strict=False)]
    return [*few, Prompt(ordered[-1].context, [answers[-1][0], *answers[-1][1:][-1:]])]


def _difference(scores: Sequence[np.ndarray], wanted: np.ndarray) -> float:
    """Largest difference; infinite where one is not a number."""
    return float(np.nan_to_num(np.abs(np.concatenate(scores) - wanted), nan=np.inf).max(initial=0))


def _tolerance(model: Any, layouts: float = np.inf) -> float:
    """What rounding may do to a log probability, in nats, where it makes plain passes differ by `layouts`."""
    return EXACT if model.dtype == torch.float32 else float(np.clip(LAYOUTS * layouts, *ROUNDED))


def _wrong_answers(model: Any, tokenizer: Any, prompts: Sequence[Prompt], limit: int) -> str:
    """Why packed generation is not to be trusted: a token that is not the likeliest one after all before it."""
    try:
        answers = generate(model, tokenizer, [prompts], ALONE, Stopping((), limit))[0]
    except Exception as error:  # as above
        return f"it fails with {type(error).__name__}: {error}"
    lost = 0.0
    for prompt, answer in zip(prompts, answers, strict=True):
        logits = _read(model, prompt.context + answer.tokens[:-1], False, {}).logits[0, -len(answer.tokens) :].float()
        chosen = logits.gather(1, torch.tensor(answer.tokens, device=logits.device)[:, None])[:, 0]
        lost = max(lost, float((logits.amax(dim=1) - chosen).max()))
    return "" if lost <= _tolerance(model) else f"a token is {lost:.3g} nats less likely than another"


@torch.inference_mode()
def _read(model: Any, tokens: Sequence[int], use_cache: bool, state: dict[str, Any]) -> Any:
    """What the model gives for one sequence behind what it has read."""
    return model(input_ids=torch.tensor([list(tokens)], device=model.device), use_cache=use_cache, **state)


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
    logprobs = logprobs_of(logits, torch.arange(len(places), device=model.device), targets).numpy()
    return np.bincount(places[:, 0], weights=logprobs, minlength=len(batch)).tolist()


def _state_of(output: Any) -> dict[str, Any]:
    """What a model wants back to go on: a cache, or the state of a recurrent model."""
    return {name: output[name] for name in ("past_key_values", "cache_params", "state") if output.get(name) is not None}
