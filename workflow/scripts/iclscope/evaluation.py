"""The one-shot score matrix, block by block: every candidate as the only demonstration before every item."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope import logs, models
from iclscope.errors import StudyError
from iclscope.generation import Answer, NotFiniteError, Stopping, generate
from iclscope.pack_length import PackLength
from iclscope.packing import Prompt, computed_tokens
from iclscope.plain import generate_plain, score_plain, takes_masks
from iclscope.scoring import PromptEncoder, score, zero_shot_prompts
from iclscope.tables import EVALUATION, POOL

logger = logging.getLogger(__name__)

ZERO_SHOT = -1

Row = Mapping[str, Any]


def run_block(
    *,
    pool: str | Path,
    model_folder: str | Path,
    candidates: tuple[int, int],
    items: tuple[int, int],
    settings: Mapping[str, Any],
    task_folder: str | Path,
    dataset: str,
    dtype: str,
    device: str,
    batch_tokens: int | str,
    output: str | Path,
    provenance: Mapping[str, Any],
) -> None:
    """Evaluate candidates × items (id ranges, end exclusive) and write one block; with candidate 0 goes the zero-shot.

    settings: `task` and `max_new_tokens` (or None) of the data set, for generated answers. batch_tokens: tokens per
    forward pass, or `auto`.
    """
    rows = POOL.read(pool)
    demonstrations = _rows(rows, "candidate", candidates)
    questions = _rows(rows, "item", items)
    model, tokenizer = models.load(model_folder, dtype, device)
    name = Path(model_folder).name
    encoder = PromptEncoder(tokenizer)
    prompts = _prompts(encoder, demonstrations, questions, with_zero_shot=candidates[0] == 0)
    generated = questions[0]["kind"] == "generation"
    scorer = GenerationScorer(questions, settings, task_folder, f"datasets.{dataset}") if generated else None
    new_tokens = scorer.stopping.max_new_tokens if scorer else 0
    _check_lengths(prompts, new_tokens, models.context_length(model), name, questions)
    length = PackLength(batch_tokens)
    packed = takes_masks(model, next(iter(prompts.values())), length.tokens)
    logger.info("%d prompts of %d items", len(prompts), len(questions))
    if scorer:
        answer = partial(generate if packed else generate_plain, model, tokenizer)
        results = _generate_all(answer, prompts, questions, scorer, length, name)
    else:
        results = _score_all(partial(score if packed else score_plain, model), prompts, questions, length, name)
    EVALUATION.write(_frame(prompts, questions, results), output, provenance)


def _score_all(
    scorer: Callable[..., list[np.ndarray]],
    prompts: Mapping[int, list[Prompt]],
    items: Sequence[Row],
    length: PackLength,
    model: str,
) -> Iterator[list[dict[str, Any]]]:
    """The columns of the evaluation table that depend on the model, demonstration by demonstration."""
    for candidate, group in logs.progress(prompts.items(), len(prompts), "demonstrations", "candidates"):
        scores = length.run(partial(scorer, group), computed_tokens(group))
        _check_finite(scores, model, candidate, items)
        yield [_chosen(logprobs, item) for logprobs, item in zip(scores, items, strict=True)]


def _generate_all(
    answer: Callable[..., list[list[Answer]]],
    prompts: Mapping[int, list[Prompt]],
    items: Sequence[Row],
    scorer: "GenerationScorer",
    length: PackLength,
    model: str,
) -> Iterator[list[dict[str, Any]]]:
    """Likewise for generated answers: demonstration by demonstration while the pack length is sought, then at once."""
    waiting = list(prompts.items())
    with logs.bar(len(prompts) * len(items), "answers", "pairs") as bar:
        while waiting:
            now, waiting = (waiting, []) if length.settled else (waiting[:1], waiting[1:])
            groups = [group for _, group in now]
            work = partial(answer, groups, stopping=scorer.stopping, advance=bar.update)
            try:
                answers = length.run(work, sum(map(computed_tokens, groups)))
            except NotFiniteError as error:
                raise _not_finite(model, now[error.group][0], items[error.prompt]) from None
            for (candidate, _), group in zip(now, answers, strict=True):
                _check_finite([answer.logprobs for answer in group], model, candidate, items)
                yield [_generated(one, scorer, i) for i, one in enumerate(group)]


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

    def __init__(self, items: Sequence[Row], settings: Mapping[str, Any], task_folder: str | Path, key: str) -> None:
        from iclscope import tasks  # the harness takes a second to import, and choices need none of it

        self._documents = [json.loads(item["document"]) for item in items]
        self._task = tasks.load_task(settings["task"], task_folder, {"items": self._documents}, key)
        self._score = tasks.score_generation
        limit = settings["max_new_tokens"] or tasks.max_new_tokens(self._task)
        self.stopping = Stopping(tuple(tasks.stop_sequences(self._task)), limit)

    def __call__(self, item: int, text: str) -> list[dict[str, Any]]:
        """Value of every filter and metric for the answer to an item."""
        return self._score(self._task, self._documents[item], text)


def _rows(pool: pl.DataFrame, role: str, ids: tuple[int, int]) -> list[dict[str, Any]]:
    part = pool.filter(pl.col("role") == role, pl.col("id").is_between(*ids, closed="left")).sort("id")
    if len(part) != ids[1] - ids[0]:
        raise StudyError(f"the pool has no {role} {ids[0] + len(part)}; ask for fewer {role}s of this data set")
    return part.to_dicts()


def _prompts(
    encoder: PromptEncoder, demonstrations: Sequence[Row], items: Sequence[Row], with_zero_shot: bool
) -> dict[int, list[Prompt]]:
    """Prompts of every candidate id, in the order of the items."""
    prompts = {}
    if with_zero_shot:
        prompts[ZERO_SHOT] = zero_shot_prompts(encoder, items)
    for row in demonstrations:
        prompts[row["id"]] = encoder.encode(row["prefix"], items)
    return prompts


def _check_lengths(
    prompts: Mapping[int, list[Prompt]], new_tokens: int, limit: int, model: str, items: Sequence[Row]
) -> None:
    """Refuse prompts that do not fit the model's context with their answers, given or generated; the harness cuts them.

    new_tokens: longest generated answer.
    """
    for candidate, group in prompts.items():
        for prompt, item in zip(group, items, strict=True):
            tokens = len(prompt.context) + max(new_tokens, *map(len, prompt.continuations))
            if tokens > limit:
                raise StudyError(
                    f"candidate {candidate} before item {item['id']} takes {tokens} tokens with its answer, more than "
                    f"the {limit} of models.{model}; set a lower max_tokens or max_new_tokens for this data set"
                )


def _chosen(logprobs: np.ndarray, item: Row) -> dict[str, Any]:
    """Scores of a multiple-choice pair, as the harness defines acc and acc_norm."""
    gold = item["gold"]
    lengths = np.array([len(choice) for choice in item["choices"]], dtype=float)
    others = np.delete(logprobs, gold)
    return {
        "logprobs": logprobs,
        "gold_logprob": logprobs[gold],
        "margin": logprobs[gold] - others.max() if len(others) else None,
        "correct": float(logprobs.argmax() == gold),
        "correct_norm": float((logprobs / lengths).argmax() == gold),
        "text": None,
        "scores": None,
    }


def _generated(answer: Answer, scorer: GenerationScorer, item: int) -> dict[str, Any]:
    scores = scorer(item, answer.text)
    return {
        "logprobs": answer.logprobs,
        "gold_logprob": answer.logprobs[0],
        "margin": None,
        "correct": float(scores[0]["value"]),
        "correct_norm": None,
        "text": answer.text,
        "scores": scores,
    }


def _frame(
    prompts: Mapping[int, list[Prompt]], items: Sequence[Row], results: Iterable[Sequence[dict[str, Any]]]
) -> pl.DataFrame:
    def rows() -> Iterator[dict[str, Any]]:
        for (candidate, group), values in zip(prompts.items(), results, strict=True):
            for prompt, item, value in zip(group, items, values, strict=True):
                logprobs = value["logprobs"].tolist()
                yield {
                    **value,
                    "candidate": candidate,
                    "item": item["id"],
                    "logprobs": logprobs,
                    "prompt_tokens": len(prompt.context),
                }

    return pl.DataFrame(list(rows()), schema=EVALUATION.schema)
