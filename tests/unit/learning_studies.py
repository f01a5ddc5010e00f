"""A data set of planted classes as stage learning finds it: pool, samples and vectors of its questions."""

import numpy as np
import polars as pl

from iclscope.labelling.learning import Files
from iclscope.tables import ENCODINGS, POOL, REPRESENTATIONS, SAMPLE

CLASSES = ["ant", "bee", "cat"]
SETTINGS = {
    "pool": 60, "test": 30, "seeds": 3, "start": 8, "batch": 6, "steps": 3, "strategies": ["random", "margin", "badge"],
}  # fmt: skip
SAMPLED, FURTHER = 6, 90


def write(folder, choices=CLASSES, kind="choice", further=FURTHER, seen=None):
    """Write the files of a data set in which the encoder tells the classes apart, layer 3 a little, layer 0 not.

    seen: how many of the classes have rows, if not all.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(seen or len(choices), size=2 * SAMPLED + further)
    rows = [_row(number, int(gold), choices, kind) for number, gold in enumerate(labels)]
    pool = [{"role": "candidate", **row} for row in rows]
    POOL.write(pl.DataFrame(pool, schema=POOL.schema), folder / "pool.parquet", {})
    for name, part in (("candidates", rows[:SAMPLED]), ("items", rows[SAMPLED : 2 * SAMPLED])):
        sample = [{**row, "id": place} for place, row in enumerate(part)]
        SAMPLE.write(pl.DataFrame(sample, schema=SAMPLE.schema), folder / f"{name}.parquet", {})
    mine = labels[2 * SAMPLED :]
    centres = rng.normal(0, 2, (len(choices), 8))
    encoded = centres[mine] + rng.normal(0, 1.5, (further, 8))
    ids = np.arange(further, dtype=np.int32)
    table = pl.DataFrame({"id": ids, "vector": encoded.tolist()}, schema=ENCODINGS.schema)
    ENCODINGS.write(table, folder / "encodings.parquet", {})
    layers = {0: np.ones((further, 4)), 3: centres[mine, :4] + rng.normal(0, 4, (further, 4))}
    frames = [
        pl.DataFrame(
            {"layer": layer, "role": "pool", "id": ids, "mean_vector": v.tolist(), "last_vector": v.tolist()},
            schema=REPRESENTATIONS.schema,
        )
        for layer, v in layers.items()
    ]
    REPRESENTATIONS.write(pl.concat(frames), folder / "representations.parquet", {})
    named = {name: folder / f"{name}.parquet" for name in ("pool", "candidates", "encodings", "representations")}
    return Files(item_rows=folder / "items.parquet", **named)


def _row(number, gold, choices, kind):
    return {
        "id": number, "split": "train", "source_row": number, "kind": kind, "description": "",
        "question": f"What is {number}?", "target_delimiter": " ", "choices": choices, "gold": gold, "prefix": "",
        "question_start": 0, "question_end": 0, "answer_start": 0, "answer_end": 0, "cluster": None, "tokens": None,
        "document": "{}",
    }  # fmt: skip
