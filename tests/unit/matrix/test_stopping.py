"""Optional stopping: the lower limit of alpha of the blocks so far, against a hand-worked example."""

import json

import numpy as np
import polars as pl
import pytest
from scipy.stats import t

import planted
from iclscope.matrix import stopping
from iclscope.matrix.contextual import CALIBRATED
from iclscope.statistics.signals.generalisability import noise_of
from iclscope.tables import EVALUATION, POOL

# Three candidates x four items: the items vary by 1, 1, 1/3 and 0, and the candidates' sums 3, 5 and 8 by 19/3.
GOLD = np.array([[0.0, 1.0, 2.0, 0.0], [1.0, 2.0, 2.0, 0.0], [2.0, 3.0, 3.0, 0.0]])
ALPHA = 4 / 3 * (1 - (1 + 1 + 1 / 3) / (19 / 3))


def write_blocks(folder):
    """A block per column of items, with the zero-shot prompt."""
    files = []
    for item in range(4):
        gold = [0.0, *GOLD[:, item]]
        frame = pl.DataFrame(
            {
                "candidate": [-1, 0, 1, 2],
                "item": [item] * 4,
                "logprobs": [[value] for value in gold],
                "gold_logprob": gold,
                "margin": [None] * 4,
                "correct": [0.0] * 4,
                "correct_norm": [None] * 4,
                **dict.fromkeys(CALIBRATED, [None] * 4),
                "text": [None] * 4,
                "scores": [None] * 4,
                "prompt_tokens": [9] * 4,
            },
            schema=EVALUATION.schema,
        )
        files.append(folder / f"{item}.parquet")
        EVALUATION.write(frame, files[-1], {})
    return files


def test_writes_the_lower_limit_of_alpha_of_every_target_that_has_scores(tmp_path):
    output, pool = tmp_path / "record.json", tmp_path / "pool.parquet"
    rows = [
        planted.sample(f"{role}s", 5, kind="generation").with_columns(role=pl.lit(role))
        for role in ("candidate", "item")
    ]
    POOL.write(pl.concat(rows).select(POOL.schema.names()), pool, {})
    stopping.write_reliability(blocks=write_blocks(tmp_path), pool=pool, reliability_out=output)
    record = json.loads(output.read_text())
    assert record["items"] == 4
    noise = noise_of(GOLD, np.arange(4))
    assert noise.alpha == pytest.approx(ALPHA)
    # log(1 - alpha) is about normal; 5 % of lower limits lie above the truth
    low = pytest.approx(1 - (1 - ALPHA) * np.exp(t.ppf(0.95, noise.freedom) * noise.log_error))
    # always wrong: nothing varies, and nothing is known; margin and acc_norm are no scores of this data set
    assert record["alpha"] == {"accuracy": None, "gold_logprob": low, "gain": low}


def test_too_few_items_to_halve_are_never_enough(tmp_path):
    pool = tmp_path / "pool.parquet"
    rows = [planted.sample(f"{role}s", 5).with_columns(role=pl.lit(role)) for role in ("candidate", "item")]
    POOL.write(pl.concat(rows).select(POOL.schema.names()), pool, {})
    output = tmp_path / "record.json"
    stopping.write_reliability(blocks=write_blocks(tmp_path)[:3], pool=pool, reliability_out=output)
    assert set(json.loads(output.read_text())["alpha"].values()) == {None}


def test_lists_the_blocks_that_were_enough(tmp_path):
    blocks = [f"blocks/c00000-00004_i{start:05d}-{start + 8:05d}.parquet" for start in (0, 8)]
    asked = {"candidates": 4, "items": 48, "reliability": 0.9, "targets": ["margin"]}
    stopping.write_needed(blocks=blocks, settings=asked, needed_out=tmp_path / "needed.json")
    assert stopping.read_needed(tmp_path / "needed.json") == {"blocks": blocks, "candidates": 4, "items": 16}
