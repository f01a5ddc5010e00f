"""Contextual calibration of the score matrix (Zhao et al. 2021): without what a demonstration makes likely anyway."""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from iclscope.runtime.errors import StudyError
from iclscope.tables import EVALUATION, FEATURES, POOL, ZERO_SHOT
from iclscope.tasks.samples import labels_of

logger = logging.getLogger(__name__)

CALIBRATED = ("correct_calibrated", "gold_logprob_calibrated", "margin_calibrated")


def calibrated(evaluation: pl.DataFrame, features: str | Path, pool: str | Path) -> pl.DataFrame:
    """The evaluation, sorted by candidate and item, with its calibrated scores; without, where labels differ by item.

    The log probability of each label minus the log of its share after the same demonstration and a question without
    content, both normalised over the labels. This is the diagonal calibration of Zhao et al. (2021). The prompt without
    a demonstration has no such share, and no calibrated score.
    """
    pairs = evaluation.filter(pl.col("candidate") != ZERO_SHOT)
    sizes = {role: pairs[role].n_unique() for role in ("candidate", "item")}
    rows = pl.concat(
        POOL.read(pool, columns=["role", "id", "kind", "choices", "gold"])
        .filter(pl.col("role") == role, pl.col("id") < size)
        .sort("id")
        for role, size in sizes.items()
    )
    shares = FEATURES.read(features, columns=["candidate", "content_free_shares"]).sort("candidate")
    if shares.height != sizes["candidate"]:
        raise StudyError(f"{features} has other candidates than the evaluation: delete it and rerun")
    if shares["content_free_shares"].null_count() or not labels_of(rows.iter_rows(named=True)):
        logger.info("scores are not calibrated: the choices differ from row to row, or answers are generated")
        return evaluation
    gold = rows.filter(role="item")["gold"].to_numpy()
    logprobs = pairs["logprobs"].explode().to_numpy().astype(np.float64).reshape(*sizes.values(), -1)
    scores = (
        logprobs - np.log(np.array(shares["content_free_shares"].to_list()))[:, None]
    )  # [candidates, items, labels]
    scores -= np.logaddexp.reduce(scores, axis=2, keepdims=True)
    of_gold = np.take_along_axis(scores, gold[None, :, None], axis=2)[..., 0]
    wrong = np.where(np.arange(scores.shape[2]) == gold[:, None], -np.inf, scores).max(axis=2)
    right = scores.argmax(axis=2) == gold
    found = zip(CALIBRATED, (right, of_gold, of_gold - wrong), strict=True)
    columns = [pl.Series(name, values.ravel(), dtype=EVALUATION.schema[name]) for name, values in found]
    made = pairs.select("candidate", "item").with_columns(columns)
    whole = evaluation.drop(CALIBRATED).join(made, on=["candidate", "item"], how="left", maintain_order="left")
    return whole.select(evaluation.columns)
