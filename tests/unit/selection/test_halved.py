"""One demonstration by sequential halving: the pairs it computes, whom it finds, what it says, and that it goes on."""

import json

import numpy as np
import polars as pl
import pytest
from datasets import disable_progress_bars
from scipy.stats import ttest_1samp

from iclscope.runtime.jobs import Job
from iclscope.selection import halved
from iclscope.selection.halving import halve, rounds
from iclscope.statistics.gains.sets import worth_of_pairs
from iclscope.tables import EVALUATION, HALVING
from shot_studies import CANDIDATES, ITEMS

disable_progress_bars()


def found(study, seed=1, **changes):
    """The pairs and the lines of the picks."""
    outputs = halved.Outputs(*(study.folder / f"halving/animals.{end}" for end in ("parquet", "jsonl", "yaml")))
    files = halved.Files(study.files["candidates"], study.files["item_rows"], study.folder / "tiny/source.json")
    settings = study.settings(halving=2) | changes
    work = {"settings": settings, "code": "code", "outputs": outputs, "job": Job(seed, {})}
    halved.run(files=files, model=study.model, task=study.task, **work)
    lines = outputs.picks_out.read_text(encoding="utf-8").splitlines()
    return HALVING.read(outputs.halving_out), [json.loads(line) for line in lines]


def test_it_computes_the_pairs_of_the_formula_and_no_others(study):
    pairs, lines = found(study)
    wanted = [left * new for left, new in rounds(CANDIDATES, 2, ITEMS - ITEMS // 2)]
    assert pairs.group_by("round").len().sort("round")["len"].to_list() == [*wanted, 2 * (ITEMS // 2)]
    assert {line["pairs"] for line in lines} == {pairs.height}
    assert lines[0]["of_pairs"] == CANDIDATES * ITEMS
    last = pl.col("round") == len(wanted)
    assert not set(pairs.filter(~last)["item"]) & set(pairs.filter(last)["item"])


def test_scores_are_those_of_the_matrix(study):
    pairs, _ = found(study)
    matrix = EVALUATION.read(study.files["evaluation"])
    both = pairs.join(matrix, on=["candidate", "item"], suffix="_matrix")
    assert both.height == pairs.height
    for name in ("gold_logprob", "margin", "correct"):
        np.testing.assert_allclose(both[name], both[f"{name}_matrix"], atol=1e-4)


def test_the_winner_is_whom_halving_the_matrix_leaves(study):
    pairs, lines = found(study)
    choosing = pairs.filter(pl.col("round") < pairs["round"].max())
    last = choosing.filter(round=choosing["round"].max())["candidate"].unique()
    means = (
        choosing.filter(pl.col("candidate").is_in(last.implode())).group_by("candidate").agg(pl.mean("gold_logprob"))
    )
    (line,) = (line for line in lines if line["name"] == "halving")
    assert line["candidates"] == [means.sort("gold_logprob")["candidate"][-1]]
    judged = pairs.filter(round=pairs["round"].max())
    ours, random = (
        part.sort("item")["gold_logprob"].to_numpy()
        for _, part in judged.sort("drawn").group_by("drawn", maintain_order=True)
    )
    assert line["gain"] == pytest.approx(float(np.mean(ours.astype(float) - random)), abs=1e-6)
    assert line["documents"] == [json.loads(study.rows["candidate"][line["candidates"][0]]["document"])]


def test_an_interrupted_search_goes_on_with_its_next_round(study, monkeypatch):
    whole, lines = found(study)
    (study.folder / "halving/animals.parquet").unlink()
    asked, score = [], halved.SetScorer.score

    def fails(self, sets):
        asked.append(len(sets))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return score(self, sets)

    monkeypatch.setattr(halved.SetScorer, "score", fails)
    with pytest.raises(KeyboardInterrupt):
        found(study)
    again, same = found(study)
    assert asked[0] == CANDIDATES > asked[1] == asked[2]
    assert again.equals(whole)
    assert same == lines
    assert not list(study.folder.glob("halving/*.parts"))


def test_where_nothing_is_shown_a_random_demonstration_is_shipped(study):
    _, lines = found(study, margin={"share_of_items": 1, "nats": 100})
    assert (lines[0]["name"], lines[0]["verdict"]) == ("random", "random will do")


@pytest.mark.parametrize(
    ("primary", "kind", "wanted"),
    [
        ("margin_balanced", "choice", "margin"),
        ("accuracy", "choice", "accuracy"),
        ("gain", "choice", "gold_logprob"),
        ("accuracy", "generation", "gold_logprob"),
    ],
)
def test_the_score_of_a_pair_is_that_of_the_primary_target(primary, kind, wanted):
    assert halved.target_of(primary, {"kind": kind}) == wanted


def test_without_clusters_the_gain_is_that_of_a_t_test():
    ahead = np.random.default_rng(0).normal(0.3, 1, size=40)
    worth = worth_of_pairs(ahead, np.arange(40))
    test = ttest_1samp(ahead, 0)
    assert worth.p == pytest.approx(test.pvalue)
    assert (worth.low, worth.high) == pytest.approx(tuple(test.confidence_interval()))


def searched(scores, plan):
    """Whom a search leaves whose pairs have these scores [C, N]."""
    chosen = scores[:, plan.choosing]
    *_, alive = halve(plan.first, plan.rounds, lambda alive, _, used: chosen[alive, :used].mean(axis=1))
    return alive[0]


def test_a_planted_candidate_is_found_and_judged_without_bias():
    """600 simulated searches: the best of 16 wins often, and its gain on the judging items is right on average."""
    rng, gains, wins = np.random.default_rng(1), [], 0
    for seed in range(600):
        truth = rng.normal(size=16)
        scores = truth[:, None] + rng.normal(0, 2, size=(16, 64))
        plan = halved.Plan.of(16, 64, 4, seed)
        winner = searched(scores, plan)
        ahead = scores[winner, plan.judging] - scores[plan.drawn, plan.judging]
        gains.append(worth_of_pairs(ahead, np.arange(len(ahead))).gain - (truth[winner] - truth.mean()))
        wins += winner == truth.argmax()
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(len(gains))
    assert wins > 300
