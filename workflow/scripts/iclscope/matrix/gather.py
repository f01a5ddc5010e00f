"""The score matrix as a whole: its blocks gathered to one file, each checked for its origin and content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.matrix import stopping
from iclscope.matrix.contextual import calibrated
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import EVALUATION

PAIR = ["candidate", "item"]


@dataclass(frozen=True)
class Origin:
    """What every block must have been made from.

    pool: stands for rows, prompts and seed. model: its source.json, for weights and revision. task: the files that the
    task is loaded from, if it has any. block_settings: those of the data set that shape scores.
    """

    pool: str | Path
    model: str | Path
    task: Sequence[str]
    block_settings: Mapping[str, Any]
    dtype: str

    @property
    def files(self) -> list[str]:
        """The files that there are."""
        return [str(path) for path in (self.pool, self.model, *self.task)]


def run(
    *,
    blocks: str | Path | Sequence[str | Path],
    origin: Origin,
    features: str | Path | None,
    settings: Mapping[str, Any],
    evaluation_out: str | Path,
    job: Job,
) -> None:
    """Join the blocks to the whole matrix, sorted by candidate and item; refuse one that is not complete.

    settings: how many `candidates` and `items` there must be; with `reliability`, `blocks` is the list of those that
    were needed and says so instead. features: of the candidates, where scores are to be calibrated by them. The
    checksums of the origin stand in the provenance of the job.
    """
    if "reliability" in settings:
        assert isinstance(blocks, str | Path)
        whole = stopping.read_needed(blocks)
    else:
        whole = {**settings, "blocks": blocks}
    frames = [_checked(path, origin, job.provenance["inputs"]) for path in whole["blocks"]]
    engine = _only_engine(whole["blocks"])
    frame = pl.concat(frames).sort(PAIR)
    folder = Path(whole["blocks"][0]).parent
    _check_complete(frame, whole["candidates"], whole["items"], evaluation_out, folder)
    frame = frame.drop("block")
    frame = calibrated(frame, features, origin.pool) if features else frame
    EVALUATION.write(frame, evaluation_out, {**job.provenance, **engine})


def _only_engine(blocks: Sequence[str | Path]) -> dict[str, Any]:
    """The serving engine of all blocks, as provenance names it; nothing for our own. Refuses blocks of two engines."""
    found = {path: read_provenance(path).get("engine") for path in blocks}
    first, *others = blocks
    for path in others:
        if found[path] != found[first]:
            names = [" ".join((found[block] or {}).values()) or "no engine" for block in (first, path)]
            raise StudyError(
                f"{first} was made by {names[0]}, {path} by {names[1]}; delete the blocks of one of them, as "
                f"`python -m iclscope describe` names it, and rerun"
            )
    return {"engine": found[first]} if found[first] else {}


def _checked(block: str | Path, origin: Origin, checksums: Mapping[str, str]) -> pl.DataFrame:
    """A block of the right origin with finite scores only, and a column that names it."""
    frame = EVALUATION.read(block)
    made = read_provenance(block)
    other = [path for path in origin.files if made.get("inputs", {}).get(path) != checksums[path]]
    wanted = {"settings": origin.block_settings, "dtype": origin.dtype}
    other += [key for key, value in wanted.items() if made.get(key) != value]
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
    return frame.with_columns(block=pl.lit(str(block)))


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
