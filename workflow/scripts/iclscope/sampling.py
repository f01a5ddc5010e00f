"""Candidates and items: the first rows of the pool, so that a larger sample contains every smaller one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.errors import StudyError
from iclscope.tables import POOL, SAMPLE

FEWEST_CLUSTERS = 4  # of items, which are halved to choose and to judge
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
    clusters = chosen["cluster"].n_unique() if not chosen["cluster"].has_nulls() else FEWEST_CLUSTERS
    if role == ITEM and clusters < FEWEST_CLUSTERS:
        raise StudyError(
            f"{key}: the {count} items are of {clusters} clusters, and halves need at least {FEWEST_CLUSTERS}; ask for "
            "more, or for no cluster"
        )
    SAMPLE.write(chosen.sort("id").drop("role"), output, provenance)
