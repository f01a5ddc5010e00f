"""Which label a demonstration makes the model say, whatever the item."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.tables import EVALUATION, SAMPLE, ZERO_SHOT
from iclscope.tasks.samples import labels_of


def one_answer(evaluation: str | Path, item_rows: str | Path) -> NDArray[np.float64] | None:
    """Share of the items to which each candidate makes the model give one answer, the commonest: [C] in order of ids.

    The answer is the likeliest choice, as in accuracy. None where items have different choices or answers are
    generated.
    """
    if not labels_of(SAMPLE.read(item_rows, columns=["kind", "choices"]).iter_rows(named=True)):
        return None
    pairs = EVALUATION.read(evaluation, columns=["candidate", "logprobs"]).filter(pl.col("candidate") != ZERO_SHOT)
    answers = pairs.select("candidate", answer=pl.col("logprobs").list.arg_max())
    times = answers.group_by("candidate", "answer").len()
    shares = times.group_by("candidate").agg(pl.col("len").max() / pl.col("len").sum()).sort("candidate")
    return shares["len"].to_numpy()
