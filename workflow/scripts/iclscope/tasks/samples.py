"""Candidates and items: the first rows of the pool, so that a larger sample contains every smaller one."""

from pathlib import Path

import polars as pl

from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.tables import POOL, SAMPLE

CANDIDATE, ITEM = "candidate", "item"


def run_sample(
    *,
    pool: str | Path,
    role: str,
    size: int,
    opposite: int = 0,
    key: str,
    sample_out: str | Path,
    job: Job,
) -> None:
    """Write the first `size` rows of a role of the pool: the candidates or the items of the study.

    role: candidate or item. opposite: rows that the other role takes; where both come from one split they must not
    meet. key: the config key of `size`, such as `datasets.boolq.candidates`, for errors.
    """
    frame = POOL.read(pool)
    other = ITEM if role == CANDIDATE else CANDIDATE
    chosen, opposed = (
        frame.filter(pl.col("role") == name, pl.col("id") < head) for name, head in ((role, size), (other, opposite))
    )
    if len(chosen) < size:
        raise StudyError(
            f"{key}: {size} are asked for, but only {len(chosen)} rows are left after the filters; ask for fewer or "
            "raise max_tokens"
        )
    both = chosen.join(opposed, on=["split", "source_row"], how="semi")
    if len(both):
        raise StudyError(
            f"{key}: {size} {role}s and {opposite} {other}s come from one split and would share {len(both)} rows; ask "
            "for fewer of either, or raise max_tokens"
        )
    SAMPLE.write(chosen.sort("id").drop("role"), sample_out, job.provenance)
