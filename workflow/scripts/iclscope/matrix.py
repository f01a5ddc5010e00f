"""The score matrix as a whole: its blocks gathered to one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.errors import StudyError
from iclscope.tables import EVALUATION


def gather(
    *,
    blocks: Sequence[str | Path],
    candidates: int,
    items: int,
    output: str | Path,
    provenance: Mapping[str, Any],
) -> None:
    """Join the blocks to the whole matrix, sorted by candidate and item; refuse one that is not complete."""
    frame = pl.concat([EVALUATION.read(block) for block in blocks]).sort("candidate", "item")
    remedy = f"delete {Path(blocks[0]).parent} and rerun"
    if frame.select("candidate", "item").is_duplicated().any():
        raise StudyError(f"{output}: blocks overlap; {remedy}")
    wanted = (candidates + 1) * items  # the zero-shot prompt stands as one more candidate
    inside = frame["candidate"].is_between(-1, candidates - 1) & frame["item"].is_between(0, items - 1)
    if len(frame) != wanted or not inside.all():
        raise StudyError(f"{output}: {inside.sum()} of {wanted} pairs and {(~inside).sum()} others; {remedy}")
    EVALUATION.write(frame, output, provenance)
