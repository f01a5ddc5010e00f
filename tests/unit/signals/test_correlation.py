import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control, norm, spearmanr

import planted
from iclscope.matrix import quality
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.signals import correlation
from iclscope.statistics.intervals import analytic_interval, fisher_interval
from iclscope.statistics.ranks import centred_ranks
from iclscope.statistics.signals.studentised import residuals
from iclscope.tables import CORRELATION, EVALUATION, HEADLINE, METRICS, RELIABILITY

TARGETS = ["accuracy", "gold_logprob", "gain"]
SETTINGS = {"permutations": 500, "bootstrap": 300, "smallest_useful_effect": 0.2, "least_ceiling": 0.5}


def run(made, folder, settings=SETTINGS, seed=1):
    """Run quality and correlation on a planted study; the two tables of correlation."""
    quality.run(
        files=quality.Files(made.paths["evaluation"], made.paths["candidates"], made.paths["items"]),
        settings={"targets": TARGETS, "primary": "gold_logprob", "split_halves": 20},
        quality_out=made.paths["quality"],
        reliability_out=made.paths["reliability"],
        job=Job(seed, {}),
    )
    correlation.run(
        files=correlation.Files(
            metrics=made.metrics,
            **{name: made.paths[name] for name in ("features", "evaluation", "reliability", "candidates")},
            item_rows=made.paths["items"],
        ),
        settings=settings,
        correlation_out=folder / "correlation.parquet",
        headline_out=folder / "headline.parquet",
        job=Job(seed, {}),
    )
    return CORRELATION.read(folder / "correlation.parquet"), HEADLINE.read(folder / "headline.parquet")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = planted.write(folder, planted.Plan())
    return made, *run(made, folder)


def of_target(frame, target, **columns):
    return frame.filter(target=target, **columns)


# --- pure functions


def test_rho_is_scipys_with_and_without_ties():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal((3, 40)), rng.integers(0, 4, (3, 40))])
    scores = np.round(rng.standard_normal(40), 1)
    rows, _ = residuals(centred_ranks(np.vstack([values, scores])), None)
    expected = [spearmanr(v, scores).statistic for v in values]
    np.testing.assert_allclose(rows[:-1] @ rows[-1], expected, atol=1e-6)


def test_analytic_interval_by_hand():
    # z = atanh(0.5) = 0.5493; sqrt((1 + 0.125) / 100) = 0.10607; z +- 1.96 * 0.10607 = 0.3414, 0.7572
    low, high = analytic_interval(np.array([0.5]), 103)
    assert (low[0], high[0]) == pytest.approx((np.tanh(0.34142), np.tanh(0.75720)), abs=1e-4)


def test_interval_of_a_perfect_correlation_is_finite():
    low, high = fisher_interval(np.array([1.0, -1.0]), np.array([0.1, 0.1]))
    assert np.isfinite([low, high]).all()
    assert (low <= high).all()


# --- the whole stage


def test_planted_signal_is_found_among_the_noise(study):
    _, table, headline = study
    top = of_target(table, "gold_logprob", **planted.PLANTED).row(0, named=True)
    assert top["rho"] > 0.6
    assert top["low"] < top["rho"] < top["high"]
    assert top["p_maxt"] == pytest.approx(1 / 501)
    assert not top["small"]
    assert top["p_beyond"] == pytest.approx(1 / 501)
    row = of_target(headline, "gold_logprob").row(0, named=True)
    assert row["best_signal"] == "causal resid 1 all kurtosis"
    assert row["best_rho"] == top["rho"]
    assert row["best_value_low"] < 0.75 < row["best_value_high"]
    assert 0.3 < row["null_95"] < 0.5
    assert row["primary"]
    assert row["added_low"] < row["added"] == pytest.approx(row["all_share"] - row["cheap_share"])


def test_rho_p_and_false_discovery_rates_agree_with_scipy(study):
    made, table, _ = study
    signals = of_target(table, "gold_logprob", family="activation").filter(pl.col("rho").is_not_null())
    values = METRICS.read(made.metrics["causal"]).filter(site="mlp_out", layer=0, metric="mean")["value"]
    expected = spearmanr(values, made.scores.mean(axis=1)).statistic
    mine = signals.filter(mask="causal", site="mlp_out", layer=0, metric="mean").row(0, named=True)
    assert mine["rho"] == pytest.approx(expected)
    assert mine["p"] == pytest.approx(2 * norm.sf(abs(mine["statistic"])), abs=0.03)  # items are a sample, too:
    assert mine["p"] > spearmanr(values, made.scores.mean(axis=1)).pvalue
    np.testing.assert_allclose(signals["q_bh"], false_discovery_control(signals["p"].to_numpy(), method="bh"))
    np.testing.assert_allclose(signals["q_by"], false_discovery_control(signals["p"].to_numpy(), method="by"))


def test_undefined_signals_are_empty_and_say_why(study):
    _, table, headline = study
    undefined = of_target(table, "gold_logprob").filter(pl.col("metric").is_in(["constant", "holed"]))
    assert undefined["rho"].null_count() == undefined.height == 24
    assert undefined["reason"].null_count() == 0
    numbers = ["low", "p", "p_maxt", "q_bh", "partial_length", "p_beyond", "small", "latent_rho"]
    assert all(undefined[name].null_count() == undefined.height for name in numbers)
    assert of_target(headline, "gold_logprob")["undefined"].item() == 24
    assert table.filter(pl.col("rho").is_null())["reason"].null_count() == 0


def test_controls_and_length_run_along(study):
    _, table, headline = study
    mine = of_target(table, "accuracy")
    assert mine.filter(family="control")["metric"].to_list() == ["random"]
    length = mine.filter(metric="length").row(0, named=True)
    assert length["family"] == "feature"
    assert length["partial_length"] is None
    assert of_target(headline, "accuracy")["length_rho"].item() == length["rho"]
    # A family of one needs no correction.
    control = mine.filter(family="control").row(0, named=True)
    assert control["p"] == control["p_maxt"] == control["q_bh"]


def test_shifted_target_has_the_correlations_of_its_base(study):
    _, table, headline = study
    gain, base = of_target(table, "gain"), of_target(table, "gold_logprob")
    assert gain.drop("target").equals(base.drop("target"))
    apart = ("target", "primary", "cheap_share", "all_share", "added", "added_low")
    assert of_target(headline, "gain").drop(apart).equals(of_target(headline, "gold_logprob").drop(apart))
    assert headline.filter("primary")["target"].to_list() == ["gold_logprob"]


def test_rho_without_noise_stands_beside_the_raw_one(study):
    made, table, _ = study
    alpha = RELIABILITY.read(made.paths["reliability"]).filter(target="gold_logprob")["alpha"].item()
    defined = of_target(table, "gold_logprob").filter(pl.col("rho").is_not_null())
    np.testing.assert_allclose(defined["latent_rho"], defined["rho"] / np.sqrt(alpha))
    assert (defined["latent_low"] < defined["latent_rho"]).all()
    assert (defined["latent_rho"] < defined["latent_high"]).all()


def test_same_seed_gives_the_same_bytes(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=20, items=12, layers=1))
    bytes_of = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        run(made, folder)
        bytes_of.append([(folder / f"{name}.parquet").read_bytes() for name in ("correlation", "headline")])
    assert bytes_of[0] == bytes_of[1]


def test_equal_candidates_leave_every_correlation_undefined(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=10, items=8, layers=1))
    flat = planted.evaluation(np.tile(np.linspace(-4, -1, 8), (10, 1)), np.full(8, -2.0))
    EVALUATION.write(flat, made.paths["evaluation"], {})
    table, headline = run(made, tmp_path)
    assert table["rho"].null_count() == table.height
    reasons = table.filter(target="accuracy", metric="mean")["reason"].unique().to_list()
    assert reasons == ["quality is the same for every candidate"]
    row = of_target(headline, "accuracy").row(0, named=True)
    assert row["undefined"] == row["signals"]
    assert (row["best_rho"], row["null_95"], row["best_value"], row["added"]) == (None,) * 4


def test_generated_answers_have_no_partial_rho_given_label(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=20, items=12, layers=1, generated=True))
    table, _ = run(made, tmp_path)
    defined = table.filter(pl.col("rho").is_not_null(), family="activation")
    assert defined["partial_label"].null_count() == defined.height
    assert defined["partial_nll"].null_count() == 0


def test_clusters_of_items_are_drawn_as_one(tmp_path):
    plan = planted.Plan(candidates=20, items=12, layers=1)
    alone = run(planted.write(tmp_path, plan), tmp_path)[0]
    together = run(planted.write(tmp_path, planted.Plan(candidates=20, items=12, layers=1, clusters=6)), tmp_path)[0]
    assert alone["rho"].equals(together["rho"])
    assert not alone["low"].equals(together["low"])


def test_noise_is_not_mistaken_for_a_signal(tmp_path):
    alarms = 0
    for seed in range(12):
        made = planted.write(tmp_path, planted.Plan(candidates=24, items=10, layers=2, effect=0.0, seed=seed))
        table = of_target(run(made, tmp_path, SETTINGS | {"permutations": 200}, seed)[0], "accuracy")
        alarms += table.filter(family="activation")["p_maxt"].min() <= 0.05
    assert alarms <= 3


def test_few_candidates_are_refused(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=5, items=8, layers=1))
    with pytest.raises(StudyError, match=r"datasets\.\*\.candidates: 5 are too few"):
        run(made, tmp_path)
