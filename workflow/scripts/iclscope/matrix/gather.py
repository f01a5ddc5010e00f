"""The score matrix as a whole: its blocks gathered to one file, each checked for its origin and content."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.runtime.errors import StudyError
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import EVALUATION

PAIR = ["candidate", "item"]


def gather(
    *,
    blocks: Sequence[str | Path],
    candidates: int,
    items: int,
    origin: Mapping[str, Any],
    output: str | Path,
    provenance: Mapping[str, Any],
) -> None:
    """Join the blocks to the whole matrix, sorted by candidate and item; refuse one that is not complete.

    origin: what the provenance record of every block must say of its `inputs` (path → SHA-256: the pool stands for
    rows, prompts and seed, the model's source.json for weights and revision), `settings` and `dtype`.
    """
    frames = [_checked(block, origin).with_columns(block=pl.lit(str(block))) for block in blocks]
    frame = pl.concat(frames).sort(PAIR)
    _check_complete(frame, candidates, items, output, Path(blocks[0]).parent)
    EVALUATION.write(frame.drop("block"), output, provenance)


def _checked(block: str | Path, origin: Mapping[str, Any]) -> pl.DataFrame:
    """A block of the right origin with finite scores only."""
    frame = EVALUATION.read(block)
    made = read_provenance(block)
    other = [path for path, checksum in origin["inputs"].items() if made.get("inputs", {}).get(path) != checksum]
    other += [key for key in ("settings", "dtype") if made.get(key) != origin[key]]
    if other:
        raise StudyError(
            f"{block} was made with another {', '.join(other)} than this study has (samples stand for rows, prompts "
            "and seed, models for weights and revision); delete it and rerun"
        )
    if frame.is_empty():
        raise StudyError(f"{block} is empty; delete it and rerun")
    finite = pl.all_horizontal(
        pl.col("gold_logprob", "correct").is_finite(),
        pl.col("margin", "correct_norm").is_finite().fill_null(True),
        pl.col("logprobs").list.eval(pl.element().is_finite().fill_null(False)).list.all(),
        pl.col("logprobs").list.len() > 0,
    )
    bad = frame.filter(~finite)
    if len(bad):
        raise StudyError(
            f"{block} holds a score that is no finite number, for candidate {bad['candidate'][0]} before item "
            f"{bad['item'][0]}; delete it and rerun"
        )
    return frame


def _check_complete(frame: pl.DataFrame, candidates: int, items: int, output: str | Path, folder: Path) -> None:
    """Refuse pairs that stand there twice, are missing, or belong to no candidate or item of the study."""
    twice = frame.filter(frame.select(PAIR).is_duplicated())
    if len(twice):
        first = twice.row(0, named=True)
        both = twice.filter(candidate=first["candidate"], item=first["item"])["block"].to_list()
        raise StudyError(
            f"{output}: blocks overlap, candidate {first['candidate']} before item {first['item']} stands in "
            f"{' and '.join(both)}; delete them and rerun"
        )
    # The zero-shot prompt stands as one more candidate, -1.
    wanted = pl.DataFrame({"candidate": range(-1, candidates)}, schema={"candidate": pl.Int32}).join(
        pl.DataFrame({"item": range(items)}, schema={"item": pl.Int32}), how="cross"
    )
    missing, others = wanted.join(frame, on=PAIR, how="anti"), frame.join(wanted, on=PAIR, how="anti")
    if len(missing) or len(others):
        wrong = [
            f"the first {what} is candidate {part['candidate'][0]} before item {part['item'][0]}"
            for what, part in (("missing", missing), ("other", others))
            if len(part)
        ]
        raise StudyError(
            f"{output}: {len(wanted) - len(missing)} of {len(wanted)} pairs and {len(others)} others, "
            f"{', '.join(wrong)}; delete {folder} and rerun"
        )
