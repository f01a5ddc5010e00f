"""Scores of sets of demonstrations on the items that judge them, single demonstrations among them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.matrix.quality import BALANCED, COLUMNS, DEMONSTRATED
from iclscope.selection.sets import FOLDS, RANDOM, Chosen, Members, top
from iclscope.statistics.ranks import Float
from iclscope.statistics.signals.components import balanced
from iclscope.tables import EVALUATION, SHOTS, ZERO_SHOT

NOTHING = "zero_shot"  # the name of no demonstration at all
COLUMN_NAMES = list(dict.fromkeys(COLUMNS[target] for target in COLUMNS if target not in DEMONSTRATED))
ABOUT = ("set", "name", "k", "order", "fold", "members", "item", "prompt_tokens", *COLUMN_NAMES)


@dataclass(frozen=True)
class Tried:
    """Sets of one name and size, scored on the same n items.

    `members` are to be shipped, in order. `judged` maps a column of scores to [S, n]: of a chosen set one row, each
    item's score by the half that it is not in; of random sets a row for each. `orders` [O, n] are those of the shipped
    members in several orders. `prompt_tokens` is the mean over items.
    """

    name: str
    k: int
    members: Members
    judged: Mapping[str, Float]
    orders: Mapping[str, Float]
    prompt_tokens: float

    def of(self, target: str, gold: NDArray[np.int64] | None) -> Float | None:
        """Scores in a quality target [S, n], `gold` [n] being the items' labels; None where there are none."""
        return _in_target(self.judged, target, gold)

    def deviation(self, target: str, gold: NDArray[np.int64] | None) -> float | None:
        """Standard deviation of the mean score over orders of the members; None for a single order."""
        scores = _in_target(self.orders, target, gold)
        return None if scores is None or len(scores) < 2 else float(scores.mean(axis=1).std(ddof=1))


def read_tried(shots: str | Path, evaluation: str | Path, chosen: Chosen) -> dict[tuple[str, int], Tried]:
    """Name and size → its sets. Single demonstrations come from the score matrix: all of them, the best, and none."""
    frame = SHOTS.read(shots).select(ABOUT)
    items = int(frame["item"].max()) + 1  # type: ignore[arg-type]
    pairs = EVALUATION.read(evaluation, ["candidate", "item", "prompt_tokens", *COLUMN_NAMES])
    pairs = pairs.filter(pl.col("item") < items)
    whole = pl.concat([frame, *(part.select(ABOUT).cast(frame.schema) for part in _one_shot(pairs, chosen))])
    groups = whole.partition_by("name", "k", as_dict=True, maintain_order=True)
    return {(name, k): _tried(name, k, part, items) for (name, k), part in groups.items()}


def _one_shot(pairs: pl.DataFrame, chosen: Chosen) -> Iterator[pl.DataFrame]:
    """The score matrix as sets of one and of none; and of the best candidate, on each half and on all items."""
    sets = pairs.with_columns(set="candidate", members=pl.concat_list("candidate"), k=1, order=0, fold=pl.lit(None))
    yield sets.filter(pl.col("candidate") != ZERO_SHOT).with_columns(name=pl.lit(RANDOM))
    yield sets.filter(candidate=ZERO_SHOT).with_columns(name=pl.lit(NOTHING), k=0)
    for fold, half in zip((*FOLDS, None), (chosen.halves, ~chosen.halves, None), strict=True):
        scores = chosen.scores if half is None else chosen.scores[:, half]
        (best,) = top(scores, None, 1)
        judging = np.arange(len(chosen.halves)) if half is None else np.flatnonzero(~half)
        mine = sets.filter(pl.col("candidate") == best, pl.col("item").is_in(judging.tolist()))
        yield mine.with_columns(name=pl.lit("top"), fold=fold)


def _tried(name: str, k: int, part: pl.DataFrame, items: int) -> Tried:
    whole = part.filter(pl.col("fold").is_null()).sort("order", "set", "item", maintain_order=True)
    halves = part.filter(pl.col("fold").is_not_null()).sort("item")
    return Tried(
        name=name,
        k=k,
        members=tuple(whole["members"][0]),
        judged=_columns(whole if halves.is_empty() else halves, items),
        orders={} if halves.is_empty() else _columns(whole, items),
        prompt_tokens=float((whole if halves.is_empty() else halves)["prompt_tokens"].mean()),  # type: ignore[arg-type]
    )


def _columns(part: pl.DataFrame, items: int) -> dict[str, Float]:
    """Column → scores [sets, items], of the columns without a gap; the rows of `part` stand in this order."""
    known = [name for name in COLUMN_NAMES if not part[name].null_count()]
    return {name: part[name].to_numpy().astype(np.float64).reshape(-1, items) for name in known}


def _in_target(columns: Mapping[str, Float], target: str, gold: NDArray[np.int64] | None) -> Float | None:
    scores = columns.get(COLUMNS[target])
    return balanced(scores, gold) if scores is not None and target in BALANCED else scores
