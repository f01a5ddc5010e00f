"""Questions that may be labelled as vectors of the sentence encoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.runtime.jobs import Job
from iclscope.signals.encoder import encode
from iclscope.tables import ENCODINGS, POOL, SAMPLE
from iclscope.tasks.samples import further_rows


def run(
    *,
    candidates: str | Path,
    item_rows: str | Path,
    pool: str | Path,
    device: str,
    settings: Mapping[str, Any],
    encodings_out: str | Path,
    job: Job,
) -> None:
    """Write the encodings of rows of a pool that are neither candidates nor items.

    settings: the config's `features.encoder` as `encoder`, and how many rows at most as `further`.
    """
    samples = SAMPLE.read(candidates), SAMPLE.read(item_rows)
    rows = further_rows(POOL.read(pool), samples[0], samples[1], settings["further"])
    vectors = encode(settings["encoder"], rows["question"].to_list(), device)
    frame = pl.DataFrame({"id": rows["id"], "vector": vectors.tolist()}, schema=ENCODINGS.schema)
    ENCODINGS.write(frame, encodings_out, job.provenance)
