"""Sets of demonstrations before the items: to the engine, a set in its order is one more candidate."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from iclscope.engine import models
from iclscope.engine.batch_tokens import PackLength
from iclscope.engine.choices import chosen
from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import Prompt, PromptEncoder
from iclscope.engine.reference import scoring_method
from iclscope.runtime import logs
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import PreparedModel
from iclscope.tasks.turns import prefix_of

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]


class Asked(NamedTuple):
    """Demonstrations in the order of the prompt, and the items that they are tried on: rows of the sample table."""

    members: Sequence[Row]
    items: Sequence[Row]


def score_sets(sets: Sequence[Asked], model: PreparedModel, batch_tokens: int | str) -> Iterator[list[dict[str, Any]]]:
    """Yield for every set a row per item: the scores of the matrix, `item` and `prompt_tokens`.

    Of a generated answer the right one is scored and nothing is generated: `correct` and `correct_norm` are None.
    """
    loaded, tokenizer = models.load(*model)
    encoder, length = PromptEncoder(tokenizer), PackLength(batch_tokens)
    prefixes = [prefix_of(asked.members) for asked in sets]
    longest = max(range(len(sets)), key=lambda place: len(prefixes[place]))
    tried = encoder.encode(prefixes[longest], sets[longest].items)
    _check_lengths(sets[longest], tried, models.context_length(loaded), model.name)
    score = scoring_method(loaded, tried, length.tokens)
    logger.info("%d sets", len(sets))
    for asked, prefix in logs.progress(zip(sets, prefixes, strict=True), len(sets), "demonstrations", "sets"):
        prompts = encoder.encode(prefix, asked.items)
        _check_lengths(asked, prompts, models.context_length(loaded), model.name)
        scores = length.run(partial(score, loaded, prompts), partial(computed_tokens, prompts))
        yield [_row(*one, model.name) for one in zip(asked.items, prompts, scores, strict=True)]


def _row(item: Row, prompt: Prompt, logprobs: np.ndarray, model: str) -> dict[str, Any]:
    if not np.isfinite(logprobs).all():
        raise StudyError(
            f"model {model} gives a log probability that is not finite for several demonstrations before item "
            f"{item['id']}; try models.{model}.dtype: float32"
        )
    scores = chosen(logprobs, item)
    if item["kind"] == "generation":
        scores |= {"correct": None, "correct_norm": None}
    return {**scores, "logprobs": logprobs.tolist(), "item": item["id"], "prompt_tokens": len(prompt.context)}


def _check_lengths(asked: Asked, prompts: Sequence[Prompt], limit: int, model: str) -> None:
    """Refuse prompts that do not fit the model's context with their answers."""
    for prompt, item in zip(prompts, asked.items, strict=True):
        tokens = len(prompt.context) + max(map(len, prompt.continuations))
        if tokens > limit:
            raise StudyError(
                f"shots.sizes: {len(asked.members)} demonstrations before item {item['id']} take {tokens} tokens with "
                f"its answer, more than the {limit} of models.{model}; take that size off the list, or set a lower "
                "max_tokens for this data set"
            )
