"""The one-shot score matrix, block by block: every candidate as the only demonstration before every item."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope import logs, models
from iclscope.errors import StudyError
from iclscope.generation import Answer, Stopping, generate
from iclscope.packing import Prompt
from iclscope.plain import generate_plain, score_plain, takes_masks
from iclscope.scoring import PromptEncoder, score, zero_shot_prompts
from iclscope.tables import EVALUATION, POOL

logger = logging.getLogger(__name__)

ZERO_SHOT = -1
SLOTS = 64  # answers generated at a time

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
    batch_tokens: int,
    output: str | Path,
    provenance: Mapping[str, Any],
) -> None:
    """Evaluate candidates × items (id ranges, end exclusive) and write one block; with candidate 0 goes the zero-shot.

    settings: `task` and `max_new_tokens` (or None) of the data set, for generated answers.
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
    results = _evaluate(model, tokenizer, prompts, questions, scorer, batch_tokens)
    frame = _frame(prompts, questions, results)
    _check_finite(frame, name)
    EVALUATION.write(frame, output, provenance)


def _evaluate(
    model: Any,
    tokenizer: Any,
    prompts: Mapping[int, list[Prompt]],
    items: Sequence[Row],
    scorer: "GenerationScorer | None",
    batch_tokens: int,
) -> list[list[dict[str, Any]]]:
    """What each prompt gave, by candidate and item: the columns of the evaluation table that depend on the model."""
    pairs = len(prompts) * len(items)
    logger.info("%d prompts of %d items, %d pairs", len(prompts), len(items), pairs)
    packed = takes_masks(model, next(iter(prompts.values())), batch_tokens)
    if scorer:
        answer = partial(generate, slots=SLOTS) if packed else generate_plain
        groups = list(prompts.values())
        with logs.bar(pairs, "answers", "pairs") as bar:
            answers = answer(model, tokenizer, groups, scorer.stopping, batch_tokens, advance=bar.update)
        return [[_generated(one, scorer, i) for i, one in enumerate(group)] for group in answers]
    choose = score if packed else score_plain
    results = []
    for group in logs.progress(prompts.values(), len(prompts), "demonstrations", "candidates"):
        scored = choose(model, group, batch_tokens)
        results.append([_chosen(logprobs, item) for logprobs, item in zip(scored, items, strict=True)])
    return results


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
    prompts: Mapping[int, list[Prompt]], items: Sequence[Row], results: Sequence[Sequence[dict[str, Any]]]
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


def _check_finite(frame: pl.DataFrame, model: str) -> None:
    bad = frame.filter(~pl.col("logprobs").list.eval(pl.element().is_finite()).list.all())
    if len(bad):
        raise StudyError(
            f"model {model} gives a log probability that is not finite for candidate {bad['candidate'][0]} and item "
            f"{bad['item'][0]}; try models.{model}.dtype: float32"
        )
