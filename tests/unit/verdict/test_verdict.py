import json
import re
from dataclasses import replace

import polars as pl
import pytest

import planted
from iclscope.matrix import quality
from iclscope.runtime.jobs import Job
from iclscope.selection import agreement, trial
from iclscope.signals import correlation
from iclscope.tables import SUMMARY
from iclscope.verdict import rules
from iclscope.verdict.results import Results
from iclscope.verdict.selectors import of_unit, selector_status

TARGETS = ["accuracy", "gold_logprob"]
SELECTORS = ["random", "search_half", "search_16", "length", "nll"]
SELECTION = {"selector": "nll", "gain": 0.1, "p_study": 0.5, "standard_error": 0.1, "freedom": 1e6}
SETTINGS = {
    "smallest_useful_effect": 0.2,
    "margin": {"share_of_items": 0.02, "nats": 0.3},
    "price": {"share_of_items": 0.0, "nats": 0.0},
}


def stages(made, folder):
    """Run all stages behind the verdict; table name → path."""
    made_here = ("correlation", "headline", "selection", "gains", "variance", "agreement")
    paths = made.paths | {name: folder / f"{name}.parquet" for name in made_here}
    common = {"metrics": made.metrics, "features": paths["features"], "evaluation": paths["evaluation"]}
    quality.run(
        files=quality.Files(paths["evaluation"], paths["candidates"], paths["items"]),
        settings={"targets": TARGETS, "primary": "gold_logprob", "split_halves": 10},
        quality_out=paths["quality"],
        reliability_out=paths["reliability"],
        job=Job(1, {}),
    )
    correlation.run(
        files=correlation.Files(
            **common, reliability=paths["reliability"], candidates=paths["candidates"], item_rows=paths["items"]
        ),
        settings={"permutations": 200, "bootstrap": 100, "smallest_useful_effect": 0.2, "least_ceiling": 0.5},
        correlation_out=paths["correlation"],
        headline_out=paths["headline"],
        job=Job(1, {}),
    )
    trial.run(
        files=trial.Files(
            **common, embeddings=paths["embeddings"], candidates=paths["candidates"], item_rows=paths["items"]
        ),
        targets=TARGETS,
        settings={"selectors": SELECTORS, "pool": 12, "splits": 10, "bootstrap": 100},
        selection_out=paths["selection"],
        gains_out=paths["gains"],
        job=Job(1, {}),
    )
    return paths


def compare(models):
    """Run the stage agreement for each of the models: name → table name → path."""
    evaluations = {name: paths["evaluation"] for name, paths in models.items()}
    for name, paths in models.items():
        agreement.run(
            model=name,
            files=agreement.Files(evaluations, paths["candidates"], paths["items"]),
            targets=TARGETS,
            settings={"pool": 12, "splits": 10},
            agreement_out=paths["agreement"],
            variance_out=paths["variance"],
            job=Job(1, {}),
        )


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Verdict and summary of two models whose candidates have the same ability."""
    folder = tmp_path_factory.mktemp("study")
    models = {}
    for name, alpha in (("small", 0.9), ("large", 0.95)):
        (folder / name).mkdir()
        made = planted.write(folder / name, planted.Plan(alpha=alpha, layers=2))
        models[name] = stages(made, folder / name)
    compare(models)
    rules.run(
        studies={"boolq": models},
        settings=SETTINGS,
        study_tables=2,
        verdict_out=folder / "verdict.json",
        summary_out=folder / "summary.parquet",
        job=Job(1, {}),
    )
    return json.loads((folder / "verdict.json").read_text(encoding="utf-8")), SUMMARY.read(folder / "summary.parquet")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "undecided"),
        ({"p_study": 0.01}, "beats random"),
        ({"p_study": 0.01, "gain": -0.1}, "worse than random"),
        ({"p_study": 0.05}, "undecided"),
        ({"standard_error": 0.05}, "equivalent to random"),  # 0.1 + 1.645 * 0.05 < 0.2
        ({"standard_error": 0.07}, "undecided"),
        ({"gain": -0.1, "standard_error": 0.05}, "equivalent to random"),
        ({"p_study": None, "standard_error": None}, "undecided"),
        ({"p_study": None, "standard_error": None, "gain": 1e-17}, "equivalent to random"),  # it is random choice
        ({"standard_error": 0.05, "freedom": 3.0}, "undecided"),  # 0.1 + 2.353 * 0.05
        ({"selector": "random", "p_study": None}, "reference"),
        ({"gain": None, "p_study": None}, "undefined"),
    ],
)
def test_status_of_a_selector_follows_the_rules(change, status):
    assert selector_status(SELECTION | change, margin=0.2) == status


def test_planted_answers_are_found(judged):
    record, _ = judged
    mine = record["models"]["large"]["boolq"]
    assert mine["target"] == "gold_logprob"
    assert mine["status"] == "predicts"
    statuses = {name: entry["status"] for name, entry in mine["selectors"].items()}
    assert list(statuses) == SELECTORS
    assert statuses["random"] == "reference"
    assert statuses["search_16"] == statuses["search_half"] == "beats random"
    assert statuses["length"] == statuses["nll"] == "undecided"
    assert mine["conclusion"].startswith("Yes: ")


def test_sentences_name_what_beats_random_and_what_is_open(judged):
    record, _ = judged
    sentences = record["models"]["large"]["boolq"]["sentences"]
    assert any(s.startswith("Better than random choice") and "search_16 (+" in s for s in sentences)
    (open_,) = [s for s in sentences if s.startswith("Undecided")]
    wanted = (
        r"Undecided: length and nll\. For a decision in four of five .*: [\d.,]+ .* for (length|nll) and [\d.,]+ .*\."
    )
    assert re.match(wanted, open_)
    assert any(
        "correlates with that of small as ρ = " in s and s.endswith("swap of models is shown.") for s in sentences
    )


def test_quality_survives_the_model_swap(judged):
    record, _ = judged
    rows = {row["target"]: row for row in record["agreement_between_models"]}
    assert rows.keys() == set(TARGETS)
    assert rows["gold_logprob"]["models"] == ["small", "large"]
    assert rows["gold_logprob"]["low"] > 0.85
    assert rows["gold_logprob"]["low"] <= rows["gold_logprob"]["rho"] <= 1.05
    assert rows["gold_logprob"]["gain_low"] > 0
    assert rows["gold_logprob"]["status"] == "survives"


def test_rules_and_margin_are_declared(judged):
    record, _ = judged
    assert record["rules"]["smallest_useful_effect"] == 0.2
    assert record["question"].endswith("?")
    mine = record["models"]["small"]["boolq"]
    assert record["rules"]["margin"]["nats"] == mine["margin"] == 0.3
    assert mine["numbers"]["target"] == mine["target"]


def test_models_of_one_data_set_are_no_replication(judged):
    record, _ = judged
    assert record["features_across_data_sets"] == []  # one data set, whatever number of models


def test_summary_has_the_headline_and_the_best_selector_of_every_target(judged):
    _, frame = judged
    assert frame.select("model", "target").rows() == [(m, t) for m in ("small", "large") for t in TARGETS]
    row = frame.row(by_predicate=(pl.col("model") == "large") & (pl.col("target") == "gold_logprob"), named=True)
    assert row["best_selector"] == "search_half"
    assert row["best_gain_low"] < row["best_gain"] < row["best_gain_high"]
    assert row["best_signal"] == "causal resid 1 all kurtosis"
    assert row["status"] == "predicts"
    assert frame.filter(~pl.col("primary"))["status"].null_count() == 2


def test_what_would_decide_stands_with_every_open_selector(judged):
    record, _ = judged
    mine = record["models"]["large"]["boolq"]
    for entry in mine["selectors"].values():
        assert ("to_decide" in entry) == (entry["status"] == "undecided")
    assert mine["selectors"]["length"]["to_decide"]["both"] > 1
    assert mine["candidates_for_smallest_effect"] > 60


def test_margin_has_the_unit_of_the_target():
    margins = {"share_of_items": 0.02, "nats": 0.3}
    assert [of_unit(t, margins) for t in ("accuracy", "accuracy_norm", "margin", "gain")] == [0.02, 0.02, 0.3, 0.3]


def test_verdict_ships_the_cheapest_of_those_that_gain_most_and_says_how_sure_it_is(judged):
    record, _ = judged
    mine = record["models"]["large"]["boolq"]
    assert (mine["ship"], mine["pool"]) == ("search_16", 12)
    assert mine["selectors"]["search_16"]["cost"] < mine["selectors"]["search_half"]["cost"]
    (said,) = [s for s in mine["sentences"] if s.startswith("To ship: search_16, which costs")]
    assert "in a pool of 12 candidates" in said
    assert "with a probability of more than 99 %" in said


def test_beliefs_are_chances_that_add_up_and_shrink_the_gain(judged):
    record, _ = judged
    entries = record["models"]["large"]["boolq"]["selectors"]
    assert sum(entry["best"] for entry in entries.values()) == pytest.approx(1)
    for name in ("search_half", "search_16", "length", "nll"):
        entry = entries[name]
        assert entry["expected_low"] < entry["expected"] < entry["expected_high"]
        assert 0 <= entry["positive"] <= 1
        assert entry["net"] == entry["expected"]  # at no price
    assert entries["search_half"]["expected"] < entries["search_half"]["gain"]
    assert entries["random"]["expected_regret"] > 1


def priced(judged_paths, price):
    """The verdict's entry where reading a million tokens must bring `price` nats."""
    results = [Results.read("large", "boolq", judged_paths, 1)]
    settings = SETTINGS | {"price": {"share_of_items": 0.0, "nats": price}}
    return rules.verdict(results, settings, seed=1)["models"]["large"]["boolq"]


def test_price_decides_what_is_shipped(tmp_path):
    made = planted.write(tmp_path, planted.Plan(alpha=0.95, layers=2))
    paths = stages(made, tmp_path)
    compare({"large": paths})
    free, dear = priced(paths, 0.0), priced(paths, 1e6)
    assert free["ship"] == "search_16"
    assert dear["ship"] == "random"
    assert any("after 1,000,000 nats for each million tokens" in s for s in dear["sentences"])
    cost, entry = dear["selectors"]["nll"]["cost"], dear["selectors"]["nll"]
    assert entry["net"] == pytest.approx(entry["expected"] - cost, rel=1e-6)


def test_signals_of_a_target_that_lowers_accuracy_come_with_a_warning(tmp_path):
    made = planted.write(tmp_path, planted.Plan(alpha=0.95, layers=2))
    paths = stages(made, tmp_path)
    compare({"large": paths})
    results = Results.read("large", "boolq", paths, 1)
    assert not any("no use by what the task scores" in s for s in judged_of(results))
    lost = pl.when(with_target="accuracy", with_model=results.model).then(-0.5).otherwise("gain_high")
    lowered = replace(results, agreement=results.agreement.with_columns(gain_high=lost))
    assert judged_of(lowered)[0].startswith("What the related signals point to improves gold log probability, lowers ")


def judged_of(results):
    """The sentences of the verdict on one model and data set."""
    return rules.verdict([results], SETTINGS, 1)["models"][results.model][results.dataset]["sentences"]


def test_what_is_sure_is_believed_however_many_selectors_err_alike(tmp_path):
    made = planted.write(tmp_path, planted.Plan(alpha=0.95, layers=2))
    paths = stages(made, tmp_path)
    compare({"large": paths})
    results = Results.read("large", "boolq", paths, 1)
    rows = results.selection.filter(target="gold_logprob")
    many = pl.concat(
        rows.filter(selector="search_16").with_columns(selector=pl.lit(f"search_{n}"), gain=pl.col("gain") + n / 1e4)
        for n in range(30, 60)
    )
    alike = replace(results, selection=pl.concat([results.selection, many]))
    sure = rows.filter(selector="search_16").row(0, named=True)
    entry = rules.verdict([alike], SETTINGS, 1)["models"]["large"]["boolq"]["selectors"]["search_16"]
    assert sure["gain"] > 4 * sure["standard_error"]
    assert entry["expected"] == pytest.approx(sure["gain"], rel=0.2)
