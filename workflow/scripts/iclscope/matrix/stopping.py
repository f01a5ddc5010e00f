"""Optional stopping: how reliably the items evaluated so far measure quality, and which blocks were enough."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.matrix.blocks import parse
from iclscope.matrix.quality import COLUMNS, all_scores, shape_of
from iclscope.runtime import files
from iclscope.statistics.signals.generalisability import noise_of
from iclscope.tables import EVALUATION
from iclscope.tasks.samples import FEWEST_CLUSTERS, Groups

logger = logging.getLogger(__name__)


def write_reliability(*, blocks: Sequence[str | Path], pool: str | Path, reliability_out: str | Path) -> None:
    """Write the lower limit of alpha, with 95 % confidence, of every target that the `blocks` have scores for.

    An estimate that is looked at again and again passes a limit by luck sooner or later; its lower limit seldom does.
    Null where nothing varies, and while items are too few to choose on half of them. Which targets count and what alpha
    they need is asked of this record later, so that neither redoes it.
    """
    frame = pl.concat([EVALUATION.read(block) for block in blocks])
    groups = Groups.of_pool(pool, shape_of(frame))
    few = int(groups.items.max()) + 1 < FEWEST_CLUSTERS
    found: dict[str, float | None] = {}
    for target, scores in all_scores(frame, list(COLUMNS), groups.gold).items():
        noise = noise_of(scores.matrix, groups.items, groups.candidates)
        found[target] = None if noise is None or few else noise.alpha_interval(0.9)[0]
    items = frame["item"].n_unique()
    logger.info("%d items: lower limits of alpha %s", items, found)
    files.write_text(reliability_out, json.dumps({"items": items, "alpha": found}, indent=2) + "\n")


def write_needed(*, blocks: Sequence[str | Path], settings: Mapping[str, Any], needed_out: str | Path) -> None:
    """List the blocks that are enough, and how many candidates and items they hold; settings: what was asked for."""
    _, columns = zip(*(parse(Path(block).stem) for block in blocks), strict=True)
    items = max(end for _, end in columns)
    logger.info("%d of %d items, an alpha of %g was asked for", items, settings["items"], settings["reliability"])
    needed = {"asked": dict(settings), "candidates": settings["candidates"], "items": items, "blocks": list(blocks)}
    files.write_text(needed_out, json.dumps(needed, indent=2) + "\n")


def read_needed(path: str | Path) -> dict[str, Any]:
    """`blocks`, `candidates` and `items` of a list that `write_needed` wrote."""
    needed = json.loads(Path(path).read_text(encoding="utf-8"))
    return {key: needed[key] for key in ("blocks", "candidates", "items")}
