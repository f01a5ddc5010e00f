"""Where massive activations occur: at which layers and tokens, per mask. It tells why a metric is constant.

Under causal attention they sit at the first token, whose state is the same in every text that begins alike.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from iclscope.engine import models
from iclscope.engine.prompts import encode_demonstration
from iclscope.runtime.jobs import Job
from iclscope.tables import ACTIVATIONS, MASSIVE, SAMPLE

logger = logging.getLogger(__name__)

KEY = ("site", "layer")
COMMONEST = 5  # places that are named where there are more


def locate(rows: pl.DataFrame, texts: Mapping[int, Sequence[str]]) -> pl.DataFrame:
    """Rows of the massive table, but for the mask, for all rows of an activations table (COLUMNS are enough).

    texts: candidate → text of each of its tokens.
    """
    words = pl.DataFrame(
        {"candidate": list(texts), "token": list(texts.values())}, schema={"candidate": pl.Int32, "token": pl.List(str)}
    )
    tokens = (
        rows.with_columns(position=pl.int_ranges(pl.col("n_tokens"), dtype=pl.Int32))
        .join(words, on="candidate", how="left", maintain_order="left")
        .explode("massive", "max_abs", "position", "token")
    )
    largest = (
        tokens.sort("max_abs", "position", descending=[True, False])
        .unique(["candidate", *KEY], keep="first", maintain_order=True)
        .group_by(KEY)
        .agg(
            pl.len().cast(pl.Int32).alias("candidates"),
            pl.col("position").mode().sort().first().alias("largest_position"),
            pl.col("token").mode().sort().first().alias("largest_token"),
            pl.col("max_abs").min().alias("low"),
            pl.col("max_abs").max().alias("high"),
        )
    )
    counts = tokens.group_by(KEY).agg(
        pl.col("massive").sum().cast(pl.Int64),
        pl.col("candidate").filter(pl.col("massive") > 0).n_unique().cast(pl.Int32).alias("with_massive"),
    )
    places = [_commonest(tokens.filter(pl.col("massive") > 0), column) for column in ("position", "token")]
    for frame in (counts, *places):
        largest = largest.join(frame, on=KEY, how="left")
    return largest.with_columns(pl.col("positions", "tokens").fill_null([])).sort(KEY)


def _commonest(tokens: pl.DataFrame, column: str) -> pl.DataFrame:
    """Values of a column of these tokens per site and layer, the most frequent first."""
    counted = tokens.group_by(*KEY, column).len().sort("len", column, descending=[True, False])
    return counted.group_by(KEY, maintain_order=True).agg(pl.col(column).head(COMMONEST).alias(f"{column}s"))


COLUMNS = ["candidate", "layer", "site", "n_tokens", "massive", "max_abs"]


def run(
    *,
    activations: Mapping[str, str | Path],
    candidates: str | Path,
    model: str | Path,
    massive_out: str | Path,
    job: Job,
) -> None:
    """Write where the massive activations of `candidates` are.

    activations: mask → file of the activations table; model: the folder of the model, for its tokenizer.
    """
    tokenizer = models.load_tokenizer(model)
    texts = {
        row["id"]: [str(tokenizer.decode([token])) for token in encode_demonstration(tokenizer, row).ids]
        for row in SAMPLE.read(candidates).iter_rows(named=True)
    }
    frames = []
    for mask, path in activations.items():
        found = locate(ACTIVATIONS.read(path, columns=COLUMNS), texts)
        logger.info("mask %s: massive activations at %d of %d layers and sites",
                    mask, (found["massive"] > 0).sum(), found.height)  # fmt: skip
        frames.append(found.with_columns(mask=pl.lit(mask)))
    MASSIVE.write(pl.concat(frames).select(MASSIVE.schema.names()), massive_out, job.provenance)
