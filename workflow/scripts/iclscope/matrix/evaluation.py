"""The one-shot score matrix, block by block: every candidate as the only demonstration before every item."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.engine.batch_tokens import PackLength
from iclscope.engine.choices import chosen
from iclscope.engine.generation import Answer, NotFiniteError, Stopping
from iclscope.engine.packing import computed_tokens
from iclscope.engine.prompts import Prompt, PromptEncoder, zero_shot_prompts
from iclscope.matrix.blocks import Block
from iclscope.matrix.engines import engine_of
from iclscope.runtime import logs
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel, Task
from iclscope.runtime.prefetch import ahead
from iclscope.tables import EVALUATION, POOL, ZERO_SHOT

logger = logging.getLogger(__name__)

TOGETHER = 8  # candidates scored in one go: while one is computed the next is laid out
ANSWERS_TOGETHER = 8192  # generated in one go: many times the slots, which run empty at its end

Row = Mapping[str, Any]


def run_block(
    *,
    pool: str | Path,
    model: PreparedModel,
    task: Task,
    block: Block,
    settings: Mapping[str, Any],
    block_out: str | Path,
    job: Job,
) -> None:
    """Evaluate candidates × items of a block and write it; with candidate 0 goes the zero-shot prompt.

    settings: `max_new_tokens` (or None) of the data set, for generated answers; `batch_tokens`, tokens per forward
    pass, or `auto`; `engine`, where it is not the embedded one.
    """
    rows = POOL.read(pool)
    demonstrations = _rows(rows, "candidate", block.candidates)
    items = _rows(rows, "item", block.items)
    with engine_of(model, settings) as engine:
        encoder = PromptEncoder(engine.tokenizer)
        generated = items[0]["kind"] == "generation"
        scorer = GenerationScorer(items, task, settings["max_new_tokens"]) if generated else None
        new_tokens = scorer.stopping.max_new_tokens if scorer else 0
        length = PackLength(engine.batch_tokens)
        tried = encoder.encode(max((row["prefix"] for row in demonstrations), key=len), items)
        fits = partial(_check_lengths, new_tokens=new_tokens, limit=engine.context_length, model=model.name)
        with_zero_shot = block.candidates[0] == 0
        groups = _groups(encoder, demonstrations, items, fits, with_zero_shot)
        number = len(demonstrations) + with_zero_shot
        logger.info("%d prompts of %d items", number, len(items))
        if scorer:
            answer = engine.answering(tried, length.tokens, new_tokens)
            frames = _generate_all(answer, groups, number, items, scorer, length, model.name)
        else:
            score = engine.scoring(tried, length.tokens)
            frames = _score_all(score, groups, number, items, length, model.name)
        EVALUATION.write(pl.concat(frames), block_out, {**job.provenance, **engine.origin})


def _score_all(
    scorer: Callable[..., list[list[np.ndarray]]],
    groups: Iterator[tuple[int, list[Prompt]]],
    number: int,
    items: Sequence[Row],
    length: PackLength,
    model: str,
) -> Iterator[pl.DataFrame]:
    """Rows of the evaluation table, demonstration by demonstration: few at a time while the pack length is sought."""
    with logs.bar(number, "demonstrations", "candidates") as bar:
        for some in ahead(iter(lambda: list(islice(groups, TOGETHER)), [])):
            while some:
                few = len(some) if length.settled else _filling(some, length.tokens)
                now, some = some[:few], some[few:]
                prompts = [group for _, group in now]
                scores = length.run(partial(scorer, prompts), partial(sum, map(computed_tokens, prompts)))
                for (candidate, group), found in zip(now, scores, strict=True):
                    _check_finite(found, model, candidate, items)
                    results = [chosen(logprobs, item) for logprobs, item in zip(found, items, strict=True)]
                    yield _frame(candidate, group, items, results)
                bar.update(len(now))


def _filling(groups: list[tuple[int, list[Prompt]]], tokens: int) -> int:
    """How many of the first groups have `tokens` tokens, or all of them."""
    found = accumulate(computed_tokens(group) for _, group in groups)
    return next((number for number, total in enumerate(found, start=1) if total >= tokens), len(groups))


def _generate_all(
    answer: Callable[..., list[list[Answer]]],
    groups: Iterator[tuple[int, list[Prompt]]],
    number: int,
    items: Sequence[Row],
    scorer: "GenerationScorer",
    length: PackLength,
    model: str,
) -> Iterator[pl.DataFrame]:
    """Likewise for generated answers: one demonstration at a time while the pack length is sought, then many."""
    together, groups = max(1, ANSWERS_TOGETHER // len(items)), ahead(groups)
    with logs.bar(number * len(items), "answers", "pairs") as bar:
        while now := list(islice(groups, together if length.settled else 1)):
            prompts = [group for _, group in now]
            work = partial(answer, prompts, stopping=scorer.stopping, advance=bar.update)
            try:
                answers = length.run(work, partial(sum, map(computed_tokens, prompts)))
            except NotFiniteError as error:
                raise _not_finite(model, now[error.group][0], items[error.prompt]) from None
            for (candidate, group), found in zip(now, answers, strict=True):
                _check_finite([one.logprobs for one in found], model, candidate, items)
                yield _frame(candidate, group, items, [_generated(one, scorer, i) for i, one in enumerate(found)])


def _check_finite(scores: Sequence[np.ndarray], model: str, candidate: int, items: Sequence[Row]) -> None:
    for item, logprobs in zip(items, scores, strict=True):
        if not np.isfinite(logprobs).all():
            raise _not_finite(model, candidate, item)


def _not_finite(model: str, candidate: int, item: Row) -> StudyError:
    return StudyError(
        f"model {model} gives a log probability that is not finite for candidate {candidate} and item {item['id']}; "
        f"try models.{model}.dtype: float32"
    )


class GenerationScorer:
    """Scores generated answers by the task's own filters and metrics; knows when an answer ends."""

    def __init__(self, items: Sequence[Row], task: Task, max_new_tokens: int | None) -> None:
        from iclscope.tasks import harness  # the harness takes a second to import, and choices need none of it

        self._ids = [item["id"] for item in items]
        self._documents = [json.loads(item["document"]) for item in items]
        self._task = harness.load_task(task.name, task.folder, {"items": self._documents}, task.key)
        self._tasks, self._key = harness, task.key
        limit = max_new_tokens or harness.max_new_tokens(self._task)
        self.stopping = Stopping(tuple(harness.stop_sequences(self._task)), limit)

    def __call__(self, item: int, text: str) -> list[dict[str, Any]]:
        """Value of every filter and metric for the answer to an item, that behind its accuracy first."""
        try:
            return self._tasks.score_generation(self._task, self._documents[item], text)
        except self._tasks.UnusableRow as error:
            raise StudyError(
                f"{self._key}.task: {self._task.config.task} fails on the answer {text!r} to item "
                f"{self._ids[item]}: {error}; mend its filters and metrics"
            ) from error

    def accuracy(self, scores: Sequence[Mapping[str, Any]]) -> float:
        """What counts as the accuracy of an answer with these scores."""
        return self._tasks.accuracy(self._task, scores, self._key)


def _rows(pool: pl.DataFrame, role: str, ids: tuple[int, int]) -> list[dict[str, Any]]:
    part = pool.filter(pl.col("role") == role, pl.col("id").is_between(*ids, closed="left")).sort("id")
    if len(part) != ids[1] - ids[0]:
        raise StudyError(f"the pool has no {role} {ids[0] + len(part)}; ask for fewer {role}s of this data set")
    return part.to_dicts()


def _groups(
    encoder: PromptEncoder,
    demonstrations: Sequence[Row],
    items: Sequence[Row],
    fits: Callable[[int, list[Prompt], Sequence[Row]], None],
    with_zero_shot: bool,
) -> Iterator[tuple[int, list[Prompt]]]:
    """Yield each candidate's id and its prompts, in the order of the items, made when they are asked for."""
    for row in demonstrations:
        if with_zero_shot and row is demonstrations[0]:
            prompts = zero_shot_prompts(encoder, items)
            fits(ZERO_SHOT, prompts, items)
            yield ZERO_SHOT, prompts
        prompts = encoder.encode(row["prefix"], items)
        fits(row["id"], prompts, items)
        yield row["id"], prompts


def _check_lengths(
    candidate: int, prompts: list[Prompt], items: Sequence[Row], *, new_tokens: int, limit: int, model: str
) -> None:
    """Refuse prompts that do not fit the model's context with their answers, given or generated; the harness cuts them.

    new_tokens: longest generated answer.
    """
    for prompt, item in zip(prompts, items, strict=True):
        tokens = len(prompt.context) + max(new_tokens, *map(len, prompt.continuations))
        if tokens > limit:
            raise StudyError(
                f"candidate {candidate} before item {item['id']} takes {tokens} tokens with its answer, more than "
                f"the {limit} of models.{model}; set a lower max_tokens or max_new_tokens for this data set, or name "
                f"{model} as its max_tokens.tokenizer"
            )


def _generated(answer: Answer, scorer: GenerationScorer, item: int) -> dict[str, Any]:
    scores = scorer(item, answer.text)
    return {
        "logprobs": answer.logprobs,
        "gold_logprob": answer.logprobs[0],
        "margin": None,
        "correct": scorer.accuracy(scores),
        "correct_norm": None,
        "text": answer.text,
        "scores": scores,
    }


def _frame(
    candidate: int, prompts: Sequence[Prompt], items: Sequence[Row], results: Sequence[Mapping[str, Any]]
) -> pl.DataFrame:
    rows = [
        {
            **result,
            "candidate": candidate,
            "item": item["id"],
            "logprobs": result["logprobs"].tolist(),
            "prompt_tokens": len(prompt.context),
        }
        for prompt, item, result in zip(prompts, items, results, strict=True)
    ]
    return pl.DataFrame(rows, schema=EVALUATION.schema)
