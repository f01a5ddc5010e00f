"""Optional stopping by reliability in a whole study."""

import json
import shutil

import polars as pl

ANIMALS = "results/evaluation/tiny/animals"
QUALITY = "results/quality/tiny/animals.parquet"


def stop_at(study, alpha):
    def change(config):
        config["datasets"]["animals"] |= {"candidates": 24, "items": 24}
        config["evaluation"] |= {"block": {"candidates": 24, "items": 4}, "stop_at_reliability": alpha}
        config["quality"] |= {"targets": ["gold_logprob"], "primary": "gold_logprob"}
        config["selection"]["selectors"] = ["random", "search_half", "length"]  # a search needs more items

    study.configure(change)


def test_stops_after_the_first_reliable_column_and_continues_when_more_is_asked(study):
    shutil.rmtree(study.folder / "results/evaluation")
    stop_at(study, 1e-6)
    study.run(QUALITY)
    records = sorted((study.folder / ANIMALS / "reliability").iterdir())
    found = [json.loads(record.read_text()) for record in records]
    assert [(one["alpha"]["gold_logprob"] or 0) >= 1e-6 for one in found] == [False] * (len(found) - 1) + [True]
    items = found[-1]["items"]
    matrix = pl.read_parquet(study.folder / f"{ANIMALS}.parquet")
    assert matrix["item"].max() == items - 1 < 23
    assert pl.read_parquet(study.folder / QUALITY)["items"].unique().to_list() == [items]
    assert study.planned(QUALITY) == {}

    old = study.times(f"{ANIMALS}/blocks/*")
    stop_at(study, 0.999999)
    study.run(QUALITY)
    new = study.times(f"{ANIMALS}/blocks/*")
    assert {file: new[file] for file in old} == old
    assert pl.read_parquet(study.folder / f"{ANIMALS}.parquet")["item"].max() == 23
