"""How far a study is: tokens of its score matrix."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from iclscope.matrix import blocks
from iclscope.tasks import samples


def tokens(config: Mapping[str, Any], block_out: str | Path) -> str:
    """One line: tokens of the prompts that have been scored, of about how many the whole study will score.

    block_out: the file of any block, beside which the others stand. Those still to come are taken to be as long as the
    mean of those of their data set; a data set of which there is nothing yet, as the mean of the others.
    """
    evaluation = Path(block_out).parents[3]
    done, tokens_done, planned = 0, 0, []
    for dataset, asked in config["datasets"].items():
        pool = Path(evaluation).parent / f"samples/{dataset}/pool.parquet"
        if samples.ALL in (asked["candidates"], asked["items"]) and not pool.is_file():
            continue  # of which nothing is known yet
        roles = (samples.CANDIDATE, samples.ITEM)
        entry = {f"{role}s": samples.count_of(pool, asked, role, f"datasets.{dataset}") for role in roles}
        own_pairs, own_tokens = 0, 0
        for model in config["models"]:
            files = [file for file in _blocks(config, evaluation / model / dataset, entry) if file.is_file()]
            if files:
                found = pl.scan_parquet(files).select(pl.len(), pl.sum("prompt_tokens").cast(pl.Int64).alias("sum"))
                pairs, count = found.collect().row(0)
                own_pairs, own_tokens = own_pairs + pairs, own_tokens + count
        planned.append(((entry["candidates"] + 1) * entry["items"] * len(config["models"]), own_pairs, own_tokens))
        done, tokens_done = done + own_pairs, tokens_done + own_tokens
    mean = tokens_done / max(done, 1)
    total = sum(pairs * (count / own if own else mean) for pairs, own, count in planned)
    return f"score matrix: {tokens_done / 1e6:.3g} of about {total / 1e6:.3g} million prompt tokens done"


def _blocks(config: Mapping[str, Any], folder: Path, entry: Mapping[str, Any]) -> list[Path]:
    grid = blocks.grid(entry["candidates"], entry["items"], blocks.size(config, folder.name))
    return [folder / f"blocks/{block.name}.parquet" for block in grid]
