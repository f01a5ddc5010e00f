"""Stage learning: learning curves of query strategies on frozen representations of the questions of a data set.

Each split of the rows, on each representation, is a part of its own that is kept when a job is interrupted.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from iclscope.labelling.curves import Sizes, curves_of_seed
from iclscope.runtime.configuration.settings import ENCODER
from iclscope.runtime.configuration.task_files import are_classes
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.runtime.logs import progress
from iclscope.runtime.provenance import digest
from iclscope.statistics.ranks import Float
from iclscope.tables import ENCODINGS, LEARNING, POOL, REASON, REPRESENTATIONS, SAMPLE
from iclscope.tasks.samples import NO_LABELS, further_rows, labels_of

logger = logging.getLogger(__name__)

LAYER = "layer_"  # before the number of a hidden state, in the name of a representation


@dataclass(frozen=True)
class Files:
    """Samples and pool of a data set, and the vectors of its further rows: by the encoder, by the model, or both."""

    candidates: str | Path
    item_rows: str | Path
    pool: str | Path
    encodings: str | Path | None = None
    representations: str | Path | None = None


def run(*, files: Files, settings: Mapping[str, Any], code: str, learning_out: str | Path, job: Job) -> None:
    """Write the learning curves of one model and data set; an empty table where they make no sense.

    Why they make none stands as `reason` in the provenance of that table, and in the log.

    settings: the config's `learning`. code: digest of the code behind the stage: parts of another one are made again.
    """
    rows = rows_of(files, settings)
    reason = refusal(rows, settings)
    found = {} if reason else dict(vectors_of(files, settings, rows.height))
    if not found:
        reason = reason or "in every representation all vectors are the same"
        logger.info("no learning curves: %s", reason)
        LEARNING.write(LEARNING.schema.to_frame(), learning_out, {**job.provenance, REASON: reason})
        return
    parts = Path(learning_out).with_suffix(".parts") / digest([job.provenance, code])
    sizes = Sizes.of(settings, rows.height)
    labels = rows["gold"].to_numpy().astype(np.int64)
    logger.info("pools of %d rows, test sets of %d, labels: %d", sizes.pool, sizes.test, sizes.most)
    asked = [(name, number) for name in found for number in range(settings["seeds"])]
    frames = []
    for name, number in progress(asked, len(asked), "learning curves", "split"):
        part = parts / f"{name}-{number}.parquet"
        if not part.is_file():
            made = curves_of_seed(found[name], labels, sizes, settings["strategies"], (job.seed, number))
            LEARNING.write(_frame(name, made), part, job.provenance)
        frames.append(LEARNING.read(part))
    LEARNING.write(pl.concat(frames), learning_out, job.provenance)
    shutil.rmtree(parts.parent, ignore_errors=True)


def rows_of(files: Files, settings: Mapping[str, Any]) -> pl.DataFrame:
    """The rows that pools and test sets are drawn from: of the sample table, numbered from 0."""
    candidates, items = (SAMPLE.read(path) for path in (files.candidates, files.item_rows))
    return further_rows(POOL.read(files.pool), candidates, items, settings["pool"] + settings["test"])


def refusal(rows: pl.DataFrame, settings: Mapping[str, Any]) -> str | None:
    """Why these rows have no learning curves; None if they have."""
    labels = labels_of(rows.select("kind", "choices").iter_rows(named=True))
    if not labels:
        return NO_LABELS
    if not are_classes(labels):
        return f"its choices ({', '.join(labels)}) are letters of options in a question, and a letter is no class"
    if not all(label.strip() for label in labels):
        raise StudyError("learning: a choice of the task is empty, and a label must say something; name it in the task")
    if rows["gold"].n_unique() == 1:
        return "all its rows have one label"
    sizes = Sizes.of(settings, rows.height)
    if sizes.most > sizes.pool or not sizes.test:
        return (
            f"only {rows.height} rows are neither candidates nor items: a pool of {sizes.pool} with a test set of "
            f"{sizes.test}, and {sizes.most} are to be labelled"
        )
    return None


def vectors_of(files: Files, settings: Mapping[str, Any], rows: int) -> Iterator[tuple[str, Float]]:
    """Representations by name, vectors [rows, d] of each, in the order of the config or else of the tables."""
    there: dict[str, Float] = {}
    if files.encodings:
        there[ENCODER] = _stacked(ENCODINGS.read(files.encodings).sort("id")["vector"])
    if files.representations:
        table = REPRESENTATIONS.read(files.representations, columns=["layer", "id", "last_vector"])
        for (layer,), frame in table.sort("layer", "id").group_by("layer", maintain_order=True):
            there[f"{LAYER}{layer}"] = _stacked(frame["last_vector"])
    for name in settings.get("representations", there):
        if name not in there:
            raise StudyError(f"learning.representations: {name} is none of {', '.join(there)}; correct it")
        if len(there[name]) != rows:
            raise StudyError(f"{name}: vectors of {len(there[name])} rows, not of {rows}; delete their file and rerun")
        if np.ptp(there[name], axis=0).any():
            yield name, there[name]
        else:
            logger.info("%s is left out: all vectors are the same", name)


def _stacked(vectors: pl.Series) -> Float:
    return np.stack(vectors.to_list()).astype(np.float64)


def _frame(representation: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    named = [{"representation": representation, **row} for row in rows]
    return pl.DataFrame(named, schema=LEARNING.schema)
