"""The table of what sets score, against the tables that it sums up."""

import polars as pl
import pytest

from iclscope.tables import EVALUATION, SHOTS, SHOTS_SUMMARY
from shot_studies import CANDIDATES, GENERATED, Study


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_model, tiny_tokenizer):
    folder = tmp_path_factory.mktemp("summed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Study(folder, tiny_model, tiny_tokenizer)


def summed(study, **changes):
    study.shots(**changes)
    lines, _ = study.picks(**changes)
    return SHOTS_SUMMARY.read(study.folder / "shots_summary.parquet"), lines


def test_random_sets_have_their_mean_scores_and_chances(study):
    table, _ = summed(study, primary="gold_logprob")
    sets = SHOTS.read(study.folder / "shots.parquet").cast({"gold_logprob": pl.Float64})
    for name in ("random", "random_balanced"):
        mine = table.filter(name=name, k=3)
        means = sets.filter(name=name).group_by("set").agg(pl.mean("gold_logprob")).sort("set")
        assert mine["value"].to_list() == pytest.approx(means["gold_logprob"].to_list())
        assert set(mine["share"]) == {1 / mine.height}
    pairs = EVALUATION.read(study.files["evaluation"]).cast({"gold_logprob": pl.Float64})
    means = pairs.filter(pl.col("candidate") >= 0).group_by("candidate").agg(pl.mean("gold_logprob")).sort("candidate")
    alone = table.filter(name="random", k=1)
    assert alone["number"].to_list() == list(range(CANDIDATES))
    assert alone["value"].to_list() == pytest.approx(means["gold_logprob"].to_list())


def test_labels_have_the_same_chance_in_balanced_random_choice_of_one(study):
    table, lines = summed(study, primary="gold_logprob")
    even = table.filter(name="random_balanced", k=1)
    gold = [row["gold"] for row in study.rows["candidate"]]
    shares = even.with_columns(label=pl.Series(gold)).group_by("label").agg(pl.sum("share"))["share"]
    assert shares.to_list() == pytest.approx([1 / len(set(gold))] * len(set(gold)))
    (best,) = [line for line in lines if line["k"] == 1]
    expected = (even["share"] * even["value"]).sum()
    assert best["value"] - expected == pytest.approx(best["over_balanced"]["gain"])


def test_chosen_sets_are_those_of_the_picks(study):
    table, lines = summed(study)
    chosen = table.filter(pl.col("share").is_null())
    picked = {(line["name"], line["k"]): line for line in lines if not line["name"].startswith("random")}
    assert {(row["name"], row["k"]) for row in chosen.iter_rows(named=True)} == set(picked)
    for row in chosen.iter_rows(named=True):
        line = picked[row["name"], row["k"]]
        assert all(row[key] == line[key] for key in ("target", "value", "gain", "low", "high", "verdict"))


def test_what_takes_labels_is_missing_without_them_and_says_why(tmp_path, monkeypatch, tiny_model, tiny_tokenizer):
    monkeypatch.chdir(tmp_path)
    table, _ = summed(Study(tmp_path, tiny_model, tiny_tokenizer, GENERATED))
    missing = table.filter(pl.col("reason").is_not_null())
    assert missing.select("name", "k").rows() == [("random_balanced", 3), ("balanced", 3)]
    assert set(missing["reason"]) == {"its answers are generated, or its rows do not all have the same choices"}
    assert missing["value"].null_count() == 2
