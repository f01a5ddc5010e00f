"""Sets of k demonstrations: chosen from the one-shot score matrix on one half of the items, and tried on the other.

Beside them, those that would be shipped, which are chosen on all items, and random sets of the same size.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from iclscope.matrix.quality import Files
from iclscope.matrix.sets import Asked, score_sets
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel
from iclscope.selection.sets import Set, chosen_sets, random_sets, read_chosen, tried_items
from iclscope.statistics.resampling import generator
from iclscope.tables import SAMPLE, SHOTS

logger = logging.getLogger(__name__)


def run(*, files: Files, model: PreparedModel, settings: Mapping[str, Any], shots_out: str | Path, job: Job) -> None:
    """Write the table shots of one model and data set.

    settings: the config's `shots`, with `targets` and `primary` of its `quality`, and `batch_tokens`.
    """
    found = read_chosen(files, settings, job.seed)
    candidates, items = (SAMPLE.read(path).sort("id").to_dicts() for path in (files.candidates, files.item_rows))
    items = items[: tried_items(settings, found.scores.shape[1])]
    _check_sizes(settings, len(found.scores))
    sets = [
        *chosen_sets(found.scores, found.labels, found.halves, settings, generator(job.seed, "orders of shots")),
        *random_sets(len(found.scores), found.labels, settings, generator(job.seed, "random sets")),
    ]
    logger.info("sets are chosen by %s, and tried on %d items", found.target, len(items))
    asked = _asked(sets, found.halves, candidates, items)
    scored = dict(zip(asked, score_sets(list(asked.values()), model, settings["batch_tokens"]), strict=True))
    frames = (_frame(number, one, scored[one.members], _judging(one, found.halves)) for number, one in enumerate(sets))
    SHOTS.write(pl.concat(frames), shots_out, job.provenance)


def _check_sizes(settings: Mapping[str, Any], candidates: int) -> None:
    """Refuse sets that are larger than the pool."""
    if (largest := max(settings["sizes"])) > candidates:
        raise StudyError(
            f"shots.sizes: {largest} demonstrations, but the data set has {candidates} candidates; take it off the "
            "list or raise datasets.*.candidates"
        )


def _judging(one: Set, halves: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The items that a set is tried on [N]: of one that a half chose, the other half."""
    if one.fold is None:
        return np.ones_like(halves)
    return ~halves if one.fold == 0 else halves


def _asked(
    sets: Sequence[Set],
    halves: NDArray[np.bool_],
    candidates: Sequence[Mapping[str, Any]],
    items: Sequence[Mapping[str, Any]],
) -> dict[tuple[int, ...], Asked]:
    """Members → what is asked of the engine: sets that are the same are tried once, on the items of all of them."""
    wanted: dict[tuple[int, ...], NDArray[np.bool_]] = {}
    for one in sets:
        wanted[one.members] = wanted.get(one.members, False) | _judging(one, halves)[: len(items)]
    return {
        members: Asked([candidates[member] for member in members], [items[i] for i in np.flatnonzero(mask).tolist()])
        for members, mask in wanted.items()
    }


def _frame(number: int, one: Set, rows: Sequence[Mapping[str, Any]], judging: NDArray[np.bool_]) -> pl.DataFrame:
    about = {
        "set": number,
        "name": one.name,
        "k": len(one.members),
        "order": one.order,
        "fold": one.fold,
        "members": list(one.members),
    }
    names = SHOTS.schema.names()
    mine = [{name: {**row, **about}[name] for name in names} for row in rows if judging[row["item"]]]
    return pl.DataFrame(mine, schema=SHOTS.schema)
