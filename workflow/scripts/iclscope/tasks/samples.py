"""Candidates and items: the first rows of the pool, so that a larger sample contains every smaller one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.runtime.errors import StudyError
from iclscope.tables import POOL, SAMPLE

CANDIDATE, ITEM = "candidate", "item"


def run_sample(
    *,
    pool: str | Path,
    role: str,
    count: int,
    output: str | Path,
    provenance: Mapping[str, Any],
    key: str,
    opposite: int = 0,
) -> None:
    """Write the first `count` rows of a role of the pool: the candidates or the items of the study.

    role: candidate or item. opposite: rows that the other role takes; where both come from one split they must not
    meet. key: the config key of `count`, such as `datasets.boolq.candidates`, for errors.
    """
    frame = POOL.read(pool)
    other = ITEM if role == CANDIDATE else CANDIDATE
    chosen, opposed = (
        frame.filter(pl.col("role") == name, pl.col("id") < head) for name, head in ((role, count), (other, opposite))
    )
    if len(chosen) < count:
        raise StudyError(
            f"{key}: {count} are asked for, but only {len(chosen)} rows are left after the filters; ask for fewer or "
            "raise max_tokens"
        )
    both = chosen.join(opposed, on=["split", "source_row"], how="semi")
    if len(both):
        raise StudyError(
            f"{key}: {count} {role}s and {opposite} {other}s come from one split and would share {len(both)} rows; ask "
            "for fewer of either, or raise max_tokens"
        )
    SAMPLE.write(chosen.sort("id").drop("role"), output, provenance)


def read_clusters(path: str | Path, items: int) -> NDArray[np.int64]:
    """Cluster number of each of the first N `items`, from 0, read from the sample; without a cluster one is its own."""
    sample = SAMPLE.read(path, columns=["id", "cluster"]).sort("id").head(items)
    if sample["id"].to_list() != list(range(items)):
        raise StudyError(f"{path} has {sample.height} items, the evaluation {items}: delete the evaluation and rerun")
    alone = pl.concat_str(pl.lit("item "), "id")
    names = sample.select(pl.concat_str(pl.lit("cluster "), "cluster").fill_null(alone)).to_series()
    return names.rank("dense").to_numpy().astype(np.int64) - 1
