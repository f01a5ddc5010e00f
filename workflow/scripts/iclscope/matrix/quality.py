"""The score matrix Y[candidate, item] of each quality target, and the quality of a candidate: its mean over items."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.matrix.answers import one_answer
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.statistics.reliability import Reliability, reliability_of
from iclscope.statistics.resampling import generator
from iclscope.statistics.signals.components import balanced
from iclscope.tables import EVALUATION, QUALITY, RELIABILITY, ZERO_SHOT
from iclscope.tasks.samples import Groups

logger = logging.getLogger(__name__)


# Column of the evaluation table behind each target.
COLUMNS = {
    "accuracy": "correct",
    "accuracy_norm": "correct_norm",
    "gold_logprob": "gold_logprob",
    "margin": "margin",
    "gain": "gold_logprob",
    "accuracy_balanced": "correct",
    "gold_logprob_balanced": "gold_logprob",
    "margin_balanced": "margin",
    "accuracy_calibrated": "correct_calibrated",
    "gold_logprob_calibrated": "gold_logprob_calibrated",
    "margin_calibrated": "margin_calibrated",
}

# Targets that count every gold label alike, however many items have it, and the target that counts every item alike.
# Scores of these are made so that their plain mean over items is the balanced quality, see `components.balanced`.
BALANCED = {"accuracy_balanced": "accuracy", "gold_logprob_balanced": "gold_logprob", "margin_balanced": "margin"}

# Targets that the prompt without a demonstration has no score in.
DEMONSTRATED = {"accuracy_calibrated", "gold_logprob_calibrated", "margin_calibrated"}

FEWEST_OF_LABEL = 2  # items with which something is known of how they differ

CHOICE_METRICS = {
    "accuracy": "acc",
    "accuracy_norm": "acc_norm",
    "accuracy_balanced": "acc",
    "accuracy_calibrated": "acc",
}

# Targets that differ from another by a constant per item. That shifts the quality of every candidate by the same
# amount, so that reliability, ranks, correlations and gains over random are those of the other target.
SHIFTED = {"gain": "gold_logprob"}


class Scores(NamedTuple):
    """Scores of one target: `matrix` [candidates, items], row = candidate id; `zero_shot` [items] without any."""

    matrix: NDArray[np.float64]
    zero_shot: NDArray[np.float64]


def score_matrix(evaluation: pl.DataFrame, target: str, gold: NDArray[np.int64] | None = None) -> Scores:
    """The score matrix of `target` from the evaluation table (columns candidate, item and the target's own).

    `gain` is the gold log probability minus the zero-shot one of the same item, in nats: how much the demonstration
    adds. Balanced targets need the items' `gold` labels [N], two items of each; calibrated ones have no zero-shot
    score, NaN. Raises StudyError that names a pair of candidate and item which is missing, double or without a value.
    """
    if target not in COLUMNS:
        raise StudyError(f"quality.targets names {target!r}, which is none of {', '.join(COLUMNS)}")
    _check_pairs(evaluation)
    column = COLUMNS[target]
    ordered = evaluation.select("candidate", "item", pl.col(column).cast(pl.Float64)).sort("candidate", "item")
    values = ordered[column].fill_null(np.nan).to_numpy()
    known = np.isfinite(values)
    if target in DEMONSTRATED:
        known |= (ordered["candidate"] == ZERO_SHOT).to_numpy()
    hole = int(np.argmin(known))
    if not known[hole]:
        candidate, item = ordered.row(hole)[:2]
        raise StudyError(
            f"candidate {candidate}, item {item} has no finite {column} in the evaluation: "
            f"take {target} off quality.targets or evaluate again"
        )
    grid = values.reshape(-1, evaluation["item"].n_unique())
    if target in SHIFTED:
        grid = grid - grid[0]
    if target in BALANCED:
        grid = balanced(grid, gold)
    return Scores(matrix=np.ascontiguousarray(grid[1:]), zero_shot=grid[0])


def read_evaluation(path: str | Path, targets: Sequence[str]) -> pl.DataFrame:
    """The evaluation at `path`: what the known ones of the targets need."""
    columns = list(dict.fromkeys(COLUMNS[target] for target in targets if target in COLUMNS))
    return EVALUATION.read(path, columns=["candidate", "item", *columns])


def shape_of(evaluation: pl.DataFrame) -> tuple[int, int]:
    """Candidates and items of an evaluation, the zero-shot candidate not counted."""
    return evaluation["candidate"].n_unique() - 1, evaluation["item"].n_unique()


def all_scores(evaluation: pl.DataFrame, targets: Sequence[str], gold: NDArray[np.int64] | None) -> dict[str, Scores]:
    """Score matrices of the targets that the data set has; others are left out with a line in the log.

    `gold` [N]: the labels of the items, None where answers are generated.
    """
    scores = {}
    for target in targets:
        if reason := _lacks(evaluation, target, gold):
            logger.info("%s is left out: %s", target, reason)
        else:
            scores[target] = score_matrix(evaluation, target, gold)
    if not scores:
        raise StudyError(f"quality.targets: the evaluation has none of {', '.join(targets)}")
    return scores


def _lacks(evaluation: pl.DataFrame, target: str, gold: NDArray[np.int64] | None) -> str | None:
    """Why a data set does not have a target; None if it has, or if nobody knows the target."""
    if target in COLUMNS and evaluation[COLUMNS[target]].is_null().all():
        return f"the evaluation has no {COLUMNS[target]} for this data set"
    if target in BALANCED:
        if gold is None:
            return "generated answers have no labels"
        if lacks_items(gold):
            return f"a label has 1 item, and every label needs {FEWEST_OF_LABEL}"
    return None


def lacks_items(gold: NDArray[np.int64]) -> bool:
    """Whether one of the labels in `gold` [N] has too few items to balance labels."""
    return bool(np.unique(gold, return_counts=True)[1].min() < FEWEST_OF_LABEL)


def primary_of(targets: Collection[str], declared: str) -> str:
    """The target that claims are about, of the `targets` that a data set has.

    It is the declared one; where a data set has no labels to balance, the same without; else the first.
    """
    known = (target for target in (declared, BALANCED.get(declared)) if target in targets)
    return next(known, None) or next(iter(targets))


@dataclass(frozen=True)
class Files:
    """What quality is read from: the score matrix, and the samples that say what rows have in common."""

    evaluation: str | Path
    candidates: str | Path
    item_rows: str | Path


def read_scores(files: Files, targets: Sequence[str]) -> tuple[dict[str, Scores], Groups]:
    """Score matrices of the targets that the data set has, and what candidates and items have in common."""
    evaluation = read_evaluation(files.evaluation, targets)
    groups = Groups.read(files.candidates, files.item_rows, shape_of(evaluation))
    return all_scores(evaluation, targets, groups.gold), groups


def run(
    *,
    files: Files,
    settings: Mapping[str, Any],
    quality_out: str | Path,
    reliability_out: str | Path,
    job: Job,
) -> None:
    """Write quality and reliability of every target; `settings` is the config's `quality`."""
    scores, groups = read_scores(files, settings["targets"])
    judged: dict[str, Reliability] = {}
    for target, (matrix, _) in scores.items():
        base = SHIFTED.get(target, target)
        if base not in judged:
            rng = generator(job.seed, "split halves")
            judged[base] = reliability_of(matrix, settings["split_halves"], rng, groups.items, groups.candidates)
        logger.info("%s: %s", target, judged[base].reason or f"alpha = {judged[base].alpha:.3f}")
    same = one_answer(files.evaluation, files.item_rows)
    frame = pl.concat(quality_frame(target, s.matrix, same) for target, s in scores.items())
    QUALITY.write(frame, quality_out, job.provenance)
    primary = primary_of(scores, settings["primary"])
    rows = [
        _reliability_row(target, s, judged[SHIFTED.get(target, target)])
        | {"primary": target == primary, "metric": metric_name(files.evaluation, target)}
        for target, s in scores.items()
    ]
    RELIABILITY.write(pl.DataFrame(rows, schema=RELIABILITY.schema), reliability_out, job.provenance)


def quality_frame(target: str, matrix: NDArray[np.float64], same: NDArray[np.float64] | None) -> pl.DataFrame:
    """Rows of the quality table for `matrix` [candidates, items]; `same` [candidates] is the share of one answer."""
    candidates, items = matrix.shape
    return pl.DataFrame(
        {
            "target": [target] * candidates,
            "candidate": np.arange(candidates),
            "value": matrix.mean(axis=1),
            "standard_error": matrix.std(axis=1, ddof=1) / np.sqrt(items),
            "items": [items] * candidates,
            "one_answer": same,
        },
        schema=QUALITY.schema,
    )


def _reliability_row(target: str, scores: Scores, judged: Reliability) -> dict[str, Any]:
    quality = scores.matrix.mean(axis=1)
    return {
        "target": target,
        "candidates": scores.matrix.shape[0],
        "items": scores.matrix.shape[1],
        "zero_shot": scores.zero_shot.mean() if np.isfinite(scores.zero_shot).all() else None,
        "mean": quality.mean(),
        "sd": quality.std(ddof=1),
        **vars(judged),
    }


def metric_name(evaluation: str | Path, target: str) -> str | None:
    """The metric of the task that a target averages, as the harness calls it; None for log probabilities.

    Of a generated answer: the first of its scores with its filter, `1 - ` before it where lower is better.
    """
    if target not in CHOICE_METRICS:
        return None
    frame = EVALUATION.read(evaluation, columns=["correct", "scores"])
    if frame["scores"].is_null().all():
        return CHOICE_METRICS[target]
    first = frame.select("correct", pl.col("scores").list.first()).unnest("scores")
    name = f"{first['metric'][0]} ({first['filter'][0]})"
    return name if first["correct"].equals(first["value"]) else f"1 - {name}"


def _check_pairs(evaluation: pl.DataFrame) -> None:
    """Refuse an evaluation that lacks a pair of candidate (zero-shot included) and item, or holds one twice."""
    pairs = evaluation.select("candidate", "item")
    if pairs.is_empty():
        raise StudyError("the evaluation is empty: delete it and rerun")
    candidate = pairs["candidate"].to_numpy().astype(np.int64) - ZERO_SHOT
    item = pairs["item"].to_numpy().astype(np.int64)
    if candidate.min() < 0 or item.min() < 0:
        raise StudyError("the evaluation has negative ids other than the zero-shot candidate: delete it and rerun")
    shape = (candidate.max() + 1, item.max() + 1)
    times = np.bincount(candidate * shape[1] + item, minlength=shape[0] * shape[1])
    wrong = int(np.argmax(times != 1))
    if times[wrong] != 1:
        where = f"candidate {wrong // shape[1] + ZERO_SHOT}, item {wrong % shape[1]}"
        what = "is missing from" if times[wrong] == 0 else "appears more than once in"
        raise StudyError(f"{where} {what} the evaluation: delete it and rerun")
    if shape[0] < 3 or shape[1] < 2:
        raise StudyError(
            f"the evaluation has {shape[0] - 1} candidates and {shape[1]} items; at least 2 of each are needed: "
            "raise datasets.*.candidates and datasets.*.items"
        )
