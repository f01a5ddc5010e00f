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
from iclscope.runtime.prefetch import ahead
from iclscope.tasks.turns import prefix_of

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]


class Asked(NamedTuple):
    """Demonstrations in the order of the prompt, and the items that they are tried on: rows of the sample table."""

    members: Sequence[Row]
    items: Sequence[Row]


class SetScorer:
    """Scores sets of demonstrations, some at a time, by a model that is loaded once.

    longest: the set that makes the longest prompts, on which the engine's method is proved.
    """

    def __init__(self, model: PreparedModel, batch_tokens: int | str, longest: Asked) -> None:
        self._model, tokenizer = models.load(*model)
        self._name, self._limit = model.name, models.context_length(self._model)
        self._encoder, self._length = PromptEncoder(tokenizer), PackLength(batch_tokens)
        self._score = scoring_method(self._model, self._prompts(longest), self._length.tokens)

    def score(self, sets: Sequence[Asked]) -> Iterator[list[dict[str, Any]]]:
        """Yield for every set a row per item: the scores of the matrix, `item` and `prompt_tokens`.

        Of a generated answer the right one is scored and nothing is generated: `correct` and `correct_norm` are None.
        """
        groups = zip(sets, ahead(map(self._prompts, sets)), strict=True)
        for asked, prompts in logs.progress(groups, len(sets), "demonstrations", "sets"):
            work = partial(self._score, self._model, prompts)
            scores = self._length.run(work, partial(computed_tokens, prompts))
            yield [_row(*one, self._name) for one in zip(asked.items, prompts, scores, strict=True)]

    def _prompts(self, asked: Asked) -> list[Prompt]:
        prompts = self._encoder.encode(prefix_of(asked.members), asked.items)
        _check_lengths(asked, prompts, self._limit, self._name)
        return prompts


def longest_of(sets: Sequence[Asked]) -> Asked:
    """The set with the longest text."""
    return max(sets, key=lambda asked: len(prefix_of(asked.members)))


def score_sets(sets: Sequence[Asked], model: PreparedModel, batch_tokens: int | str) -> Iterator[list[dict[str, Any]]]:
    """As `SetScorer.score`, of all sets at once."""
    logger.info("%d sets", len(sets))
    yield from SetScorer(model, batch_tokens, longest_of(sets)).score(sets)


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
            remedy = "set a lower max_tokens for this data set"
            raise StudyError(
                f"candidate {asked.members[0]['id']} before item {item['id']} takes {tokens} tokens with its answer, "
                f"more than the {limit} of models.{model}; {remedy}"
                if len(asked.members) == 1
                else f"shots.sizes: {len(asked.members)} demonstrations before item {item['id']} take {tokens} tokens "
                f"with its answer, more than the {limit} of models.{model}; take that size off the list, or {remedy}"
            )
