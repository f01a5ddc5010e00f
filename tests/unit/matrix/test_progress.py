import polars as pl

from iclscope.matrix import blocks, progress

CONFIG = {
    "models": {"m": {}},
    "datasets": {"a": {"candidates": 4, "items": 2}, "b": {"candidates": 1, "items": 2}},
    "evaluation": {"block": {"candidates": 2, "items": 2}},
}


def write_block(folder, dataset, candidates, rows, length):
    file = folder / f"m/{dataset}/blocks/{blocks.Block(candidates, (0, 2)).name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"prompt_tokens": [length] * rows}, schema={"prompt_tokens": pl.Int32}).write_parquet(file)


def test_tokens_to_come_are_as_long_as_those_that_were_scored(tmp_path):
    made = tmp_path / "m/a/blocks/c00000-00002_i00000-00002.parquet"
    assert progress.tokens(CONFIG, made).startswith("score matrix: 0 of about 0 million")
    write_block(tmp_path, "a", (0, 2), 6, 1_000_000)  # zero-shot and two candidates, of five in all
    write_block(tmp_path, "a", (8, 10), 4, 9_000_000)  # of a larger study that was here before
    assert "6 of about 14 million" in progress.tokens(CONFIG, made)  # 10 pairs of a, 4 of b at the mean of a
    write_block(tmp_path, "b", (0, 1), 4, 500_000)
    assert "8 of about 12 million" in progress.tokens(CONFIG, made)
