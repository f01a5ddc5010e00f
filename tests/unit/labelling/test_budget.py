"""The table of what labels are worth, from a make-believe study with planted labels."""

import numpy as np
import polars as pl
import pytest

import planted
from iclscope.labelling import budget
from iclscope.runtime.jobs import Job
from iclscope.selection.diversity import k_centre
from iclscope.tables import BUDGET, EMBEDDINGS, EVALUATION, SAMPLE

STRATEGIES = ["k_centre", "facility", "uncertain"]


def run(made, folder, **settings):
    names = ("evaluation", "candidates", "features", "embeddings", "representations")
    budget.run(
        files=budget.Files(**{name: made.paths[name] for name in names}, item_rows=made.paths["items"]),
        settings={
            "strategies": STRATEGIES, "halves": 12, "targets": ["accuracy", "gold_logprob"], "primary": "gold_logprob",
            **settings,
        },
        budget_out=folder / "budget.parquet",
        job=Job(1, {}),
    )  # fmt: skip
    return BUDGET.read(folder / "budget.parquet")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A study in which a demonstration is copied: right is an item after its own label."""
    folder = tmp_path_factory.mktemp("labels")
    made = planted.write(folder, planted.Plan(candidates=32, items=24))
    labels = {"candidates": np.arange(32) % 4, "items": np.arange(24) % 4}
    for role, gold in labels.items():
        sample = SAMPLE.read(made.paths[role])
        choices = pl.Series([["tree", "fish", "bird", "moss"]] * len(gold))
        SAMPLE.write(sample.with_columns(gold=pl.Series(gold, dtype=pl.Int32), choices=choices), made.paths[role], {})
    same = labels["candidates"][:, None] == labels["items"]
    rng = np.random.default_rng(0)
    EVALUATION.write(
        planted.evaluation(4.0 * same + 0.1 * rng.standard_normal(same.shape), np.zeros(24)),
        made.paths["evaluation"],
        {},
    )
    frame = EMBEDDINGS.read(made.paths["embeddings"])
    gold = np.concatenate([labels["candidates"], labels["items"]])
    known = np.eye(4)[gold] + 0.05 * rng.standard_normal((len(gold), 4))
    encoding = pl.Series(known.tolist(), dtype=pl.List(pl.Float32))
    EMBEDDINGS.write(frame.with_columns(encoding=encoding), made.paths["embeddings"], {})
    return made, run(made, folder)


def test_random_pools_have_all_budgets_and_strategies_a_quarter(labelled):
    _, table = labelled
    assert table["representation"].unique(maintain_order=True).to_list() == ["mean", "last", "encoder"]
    assert table.filter(strategy="random")["budget"].unique().sort().to_list() == [1, 2, 4, 8, 16]
    assert table.filter(strategy="k_centre")["budget"].unique().sort().to_list() == [1, 2, 4, 8]
    assert set(table["target"]) == {"gold_logprob", "accuracy"}
    assert set(table.filter(target="gold_logprob")["rule"]) == {"any", "nearest", "search"}


def test_where_labels_are_copied_the_nearest_is_right_as_often_as_it_has_the_label(labelled):
    _, table = labelled
    mine = table.filter(target="accuracy", rule="nearest", representation="encoder", strategy="random")
    np.testing.assert_allclose(mine["value"], mine["label_match"])
    chance = [1 - np.prod([(24 - k) / (32 - k) for k in range(b)]) for b in (1, 2, 4, 8, 16)]  # one of 8 is in the pool
    at_least = mine["value"].to_numpy()
    assert (at_least >= np.array(chance) - 1e-9).all()
    assert at_least[-1] > 0.97


def test_what_covers_the_classes_gains_over_random_pools(labelled):
    _, table = labelled
    rows = table.filter(target="accuracy", rule="nearest", representation="encoder", strategy="k_centre")
    at_four = rows.filter(budget=4).row(0, named=True)
    assert at_four["value"] == pytest.approx(1)
    assert at_four["low"] > 0
    assert rows["area"].unique().to_list() == [pytest.approx(rows["gain"].mean())]
    assert rows["p_holm"][0] < table.filter(strategy="uncertain", target="accuracy")["p_holm"].min()
    random = table.filter(target="accuracy", rule="nearest", representation="encoder", strategy="random")
    np.testing.assert_allclose(rows["gain"], rows["value"] - random["value"][:4])


def test_the_probe_leads_where_its_difference_says_so(labelled):
    _, table = labelled
    mine = table.filter(target="accuracy", representation="encoder", strategy="random")
    probe, nearest, lead = (
        mine.filter(rule=rule)["value"].to_numpy() for rule in ("probe", "nearest", "probe_over_nearest")
    )
    np.testing.assert_allclose(lead, probe - nearest, atol=1e-12)
    assert probe[-1] > 0.95


def test_sets_are_those_of_the_strategy_on_the_candidates_alone(labelled):
    made, table = labelled
    frame = EMBEDDINGS.read(made.paths["embeddings"]).filter(role="candidate").sort("id")
    vectors = np.array(frame["encoding"].to_list())
    vectors = vectors - vectors.mean(axis=0)
    first = int(np.argmax(k_centre(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))))
    correct = EVALUATION.read(made.paths["evaluation"]).filter(candidate=first)["correct"].mean()
    row = table.filter(target="accuracy", rule="any", representation="encoder", strategy="k_centre", budget=1)
    assert row["value"][0] == pytest.approx(correct)


def test_generated_answers_have_neither_a_probe_nor_uncertainty(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=16, items=12, generated=True))
    table = run(made, tmp_path)
    assert (
        table.filter(rule="probe")["reason"].to_list()
        == ["rows have no classes in common that a probe could learn"] * 3
    )
    assert table["label_match"].null_count() == table.height


def test_without_accuracy_there_is_no_probe_and_the_table_says_so(labelled, tmp_path):
    made, _ = labelled
    table = run(made, tmp_path, targets=["gold_logprob"], strategies=["k_centre"])
    assert set(table.filter(rule="probe")["reason"]) == {
        "accuracy is none of the quality targets, and a probe has no other score"
    }
    assert set(table.filter(pl.col("value").is_not_null())["target"]) == {"gold_logprob"}


def test_letters_of_options_are_matched_but_no_classes_for_a_probe(labelled, tmp_path):
    made, _ = labelled
    paths = dict(made.paths)
    for role in ("candidates", "items"):
        sample = SAMPLE.read(made.paths[role])
        choices = pl.Series([["A", "B", "C", "D"]] * sample.height)
        paths[role] = tmp_path / f"{role}.parquet"
        SAMPLE.write(sample.with_columns(choices=choices), paths[role], {})
    table = run(planted.Planted(made.ability, made.scores, paths, made.metrics), tmp_path, strategies=["k_centre"])
    assert table.filter(rule="probe")["value"].null_count() == 3
    assert table.filter(rule="nearest")["label_match"].null_count() == 0


def test_noise_is_seldom_found():
    """Planted: nothing; in few of many studies does any strategy seem to gain."""
    from iclscope.labelling.pools import Rule, powers
    from iclscope.labelling.rankings import STRATEGIES as WAYS
    from iclscope.statistics.corrections import holm
    from iclscope.statistics.gains.budgets import estimated
    from iclscope.statistics.ranks import unit

    found = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        vectors, items = unit(rng.standard_normal((32, 5))), unit(rng.standard_normal((24, 5)))
        scores = 0.5 * rng.standard_normal((32, 1)) + rng.standard_normal((32, 24))
        rule, budgets = Rule("nearest", vectors @ items.T, np.arange(24)), powers(8)
        pools = [np.arange(32), *(np.sort(rng.choice(32, 16, replace=False)) for _ in range(12))]
        p = []
        for name in ("vote_k", "facility"):
            gains = []
            for pool in pools:
                sets = WAYS[name](vectors[pool], None, budgets, 0)
                mine = rule.among(pool)
                chance = mine.at_random(scores[pool], budgets)
                gains.append(np.stack([mine.of(scores[pool], sets[b]) for b in budgets]) - chance)
            areas = np.array([gain.mean() for gain in gains[1:]])
            p.append(estimated(gains[0].mean(axis=0), areas, np.arange(24), 4).p)
        found.append(holm(np.array(p)).min() < 0.05)
    assert np.mean(found) < 0.08
