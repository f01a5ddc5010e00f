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
    wanted = (candidates + 1) * items
    if frame.select("candidate", "item").is_duplicated().any():
        raise StudyError(f"{output}: blocks overlap; delete {Path(blocks[0]).parent} and rerun")
    if len(frame) != wanted:
        raise StudyError(f"{output}: {len(frame)} pairs instead of {wanted}; delete {Path(blocks[0]).parent} and rerun")
    EVALUATION.write(frame, output, provenance)
