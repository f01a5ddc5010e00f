"""A study of all rows, whose number nobody knows before the pool is made."""

import polars as pl


def test_all_rows_of_the_data_are_evaluated(prepared):
    prepared.configure(lambda c: c["datasets"]["animals"].update(candidates="all", items="all"))
    prepared.configure(lambda c: c["evaluation"].update(block={"candidates": 30, "items": 30}))
    target = "results/evaluation/tiny/animals.parquet"
    prepared.run(target, "results/samples/animals/candidates.parquet", "results/samples/animals/items.parquet")
    frame = pl.read_parquet(prepared.folder / target)
    for role in ("candidate", "item"):
        sample = pl.read_parquet(prepared.folder / f"results/samples/animals/{role}s.parquet")
        pool = pl.read_parquet(prepared.folder / "results/samples/animals/pool.parquet").filter(role=role)
        assert sample.height == pool.height > 30
        assert frame[role].max() == sample.height - 1
    assert not prepared.planned(target)
    prepared.configure(lambda c: c["datasets"]["animals"].update(items=12))
    assert prepared.planned(target, "results/samples/animals/candidates.parquet")["evaluation"] == 1
