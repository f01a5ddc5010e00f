"""The stage agreement on score matrices with planted truths, and what the verdict says of them."""

import numpy as np
import polars as pl
import pytest

import planted
import synthetic
from iclscope.runtime.jobs import Job
from iclscope.selection import agreement
from iclscope.tables import AGREEMENT, EVALUATION, SAMPLE
from iclscope.verdict import across, selectors

SETTINGS = {"pool": 8, "splits": 10}
MARGINS = {"share_of_items": 0.02, "nats": 0.05}
CANDIDATES, ITEMS = 80, 30


def compared(folder, evaluations, model="near", targets=("accuracy", "gold_logprob", "margin", "gain")):
    """The table agreement from model → evaluation table."""
    files = {name: folder / f"{name}.parquet" for name in evaluations}
    for name, frame in evaluations.items():
        EVALUATION.write(frame, files[name], {})
    for role, size in (("candidates", CANDIDATES), ("items", ITEMS)):
        SAMPLE.write(planted.sample(role, size), folder / f"{role}.parquet", {})
    agreement.run(
        model=model,
        files=agreement.Files(files, folder / "candidates.parquet", folder / "items.parquet"),
        targets=targets,
        settings=SETTINGS,
        agreement_out=folder / "agreement.parquet",
        variance_out=folder / "variance.parquet",
        job=Job(1, {}),
    )
    return AGREEMENT.read(folder / "agreement.parquet")


def scores(ability, noise):
    """Gold log probabilities [C, N]."""
    return ability[:, None] - 3 + noise


def table(gold):
    """The evaluation with these gold log probabilities; margins are half of them, answers right above the mean."""
    return planted.evaluation(gold, np.zeros(gold.shape[1]))


def two_models(seed, rho, shared):
    """Evaluations of two models whose true qualities correlate as `rho`; a `shared` part of the noise is the same."""
    rng = np.random.default_rng(seed)
    first, other = rng.standard_normal((2, CANDIDATES))
    noise, common = rng.standard_normal((2, CANDIDATES, ITEMS)), rng.standard_normal((CANDIDATES, ITEMS))
    noise = 4 * (np.sqrt(1 - shared) * noise + np.sqrt(shared) * common)
    second = rho * first + np.sqrt(1 - rho**2) * other
    return {"near": table(scores(first, noise[0])), "far": table(scores(second, noise[1]))}


def swap(row, effect=0.2):
    """What the verdict says of a row between two models."""
    frame = pl.DataFrame([row], schema=AGREEMENT.schema)
    tables = synthetic.frames(synthetic.SMALL) | {"agreement": frame}
    studies = [synthetic.results(tables, model) for model in ("near", "far")]
    return next(across.agreement(studies, effect))["status"]


def test_every_target_meets_every_other_and_itself_in_the_other_model(tmp_path):
    found = compared(tmp_path, two_models(0, 0.8, 0.0))
    pairs = set(found.select("target", "with_model", "with_target").rows())
    targets = ("accuracy", "gold_logprob", "margin", "gain")
    shifted = {("gold_logprob", "near", "gain"), ("gain", "near", "gold_logprob")}
    within = {(a, "near", b) for a in targets for b in targets if a != b}
    assert pairs == (within - shifted) | {(a, "far", a) for a in targets}
    assert found["pool"].unique().to_list() == [8]


def test_a_target_that_is_another_in_other_units_agrees_up_to_its_ceiling(tmp_path):
    found = compared(tmp_path, two_models(0, 0.8, 0.0))
    row = found.row(by_predicate=(pl.col("target") == "margin") & (pl.col("with_target") == "gold_logprob"), named=True)
    assert row["rho"] == pytest.approx(1)
    assert row["halves"] == pytest.approx(row["ceiling"])
    assert row["gain_low"] > 0


def test_a_target_agrees_with_its_negative_at_minus_its_ceiling(tmp_path):
    evaluations = two_models(0, 0.8, 0.0)
    evaluations = {"near": evaluations["near"].with_columns(margin=-pl.col("gold_logprob"))}
    found = compared(tmp_path, evaluations, targets=("gold_logprob", "margin")).row(0, named=True)
    assert found["rho"] == pytest.approx(-1)
    assert found["halves"] == pytest.approx(-found["ceiling"])
    assert found["gain_high"] < 0


def test_noise_that_models_share_does_not_make_quality_survive_a_swap(tmp_path):
    statuses, covered = [], []
    for seed in range(20):
        found = compared(tmp_path, two_models(seed, 0.0, 0.7), targets=("gold_logprob",)).row(0, named=True)
        statuses.append(swap(found))
        covered.append(found["rho"] is None or found["low"] <= 0 <= found["high"])
    assert statuses.count("survives") <= 2
    assert np.mean(covered) >= 0.85


def test_quality_that_models_share_survives_a_swap(tmp_path):
    found = compared(tmp_path, two_models(1, 0.9, 0.0), targets=("gold_logprob",)).row(0, named=True)
    assert found["low"] <= 0.9 <= found["high"]
    assert found["gain_low"] > 0
    assert swap(found) == "survives"


def test_models_that_stopped_early_are_compared_on_common_items(tmp_path):
    evaluations = two_models(0, 0.8, 0.0)
    evaluations["far"] = evaluations["far"].filter(pl.col("item") < 20)
    found = compared(tmp_path, evaluations)
    assert found.filter(with_model="far")["items"].unique().to_list() == [20]
    assert found.filter(with_model="near")["items"].unique().to_list() == [ITEMS]


def test_scores_that_show_no_differences_have_no_agreement_but_a_reason(tmp_path):
    rng = np.random.default_rng(0)
    noise = table(rng.standard_normal((CANDIDATES, ITEMS)))
    found = compared(tmp_path, {"near": noise}, targets=("accuracy", "gold_logprob")).row(0, named=True)
    assert found["rho"] is None
    assert "do not show that candidates differ" in found["reason"]
    assert found["gain_elsewhere"] == pytest.approx(0, abs=0.1)


def test_a_study_of_one_model_and_target_has_nothing_to_compare(tmp_path):
    assert compared(tmp_path, {"near": two_models(0, 0.8, 0.0)["near"]}, targets=("accuracy",)).is_empty()


@pytest.fixture(scope="module")
def opposed(tmp_path_factory):
    """The table agreement where the log probability of the right answer falls as the answers get better."""
    rng = np.random.default_rng(3)
    ability = rng.standard_normal(CANDIDATES)
    gold = scores(-ability, rng.standard_normal((CANDIDATES, ITEMS)))
    right = (ability[:, None] + 2 * rng.standard_normal((CANDIDATES, ITEMS)) > 0).astype(np.float32)
    correct = np.concatenate([np.zeros(ITEMS, np.float32), right.ravel()])
    frame = table(gold).with_columns(correct=pl.Series(correct))
    return compared(tmp_path_factory.mktemp("opposed"), {"model": frame}, model="model")


def test_what_improves_one_target_and_lowers_accuracy_is_called_so(opposed):
    tables = synthetic.frames(synthetic.SMALL) | {"agreement": opposed}
    better = tables["selection"].with_columns(
        p_holm=pl.when(pl.col("selector") == "search_half").then(0.001).otherwise(pl.col("p_holm"))
    )
    results = synthetic.results(tables | {"selection": better})
    settings = {"margin": MARGINS, "price": {"share_of_items": 0.0, "nats": 0.0}}
    said = selectors.judge(results, settings, np.random.default_rng(0))
    assert said["selectors"]["search_half"]["status"] == "improves gold log probability, lowers accuracy"
    assert said["decided_on"] == "accuracy"
    assert any("is not by accuracy: the best of 8 candidates" in sentence for sentence in said["sentences"])
    assert not any(entry["status"] == "beats random" for entry in said["selectors"].values())
    if said["ship"] != "random":
        assert any("in accuracy" in s for s in said["sentences"] if s.startswith("To ship"))


def test_a_loss_within_the_margin_is_none(opposed):
    results = synthetic.results(synthetic.frames(synthetic.SMALL) | {"agreement": opposed})
    assert selectors.lowers(results, "gold_logprob", MARGINS)
    assert selectors.lowers(results, "gold_logprob", MARGINS | {"share_of_items": 0.9}) is None
    assert selectors.lowers(results, "accuracy", MARGINS) is None
