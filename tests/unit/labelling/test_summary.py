import numpy as np
import polars as pl
import pytest
from scipy.stats import ttest_1samp

from iclscope.labelling import claims, summary
from iclscope.runtime.jobs import Job
from iclscope.tables import LEARNING, LEARNING_CLAIMS, LEARNING_SUMMARY

STEPS = np.arange(20, 240, 20)
MARGIN = 0.02


def table(gains, seeds=16, noise=0.01, probes=None, starting=0.0):
    """Curves in which strategies gain so much on a representation (name → strategy → gain), a TypiClust start more."""
    rng, rows = np.random.default_rng(0), []
    for place, (name, of) in enumerate(gains.items()):
        probe = (probes or {}).get(name, 0.9 - 0.1 * place)
        for seed in range(seeds):
            split, common = rng.normal(0, 0.03), {"representation": name, "seed": seed}
            rows.append({**common, **row("all", "all", 1000, probe + split)})
            for start in ("random", "typiclust"):
                for strategy, gain in of.items():
                    area = gain + split + rng.normal(0, noise) + starting * (start == "typiclust")
                    rows += [{**common, **row(start, strategy, n, 0.5 + n / 2000 + area)} for n in STEPS]
    return pl.DataFrame(rows, schema=LEARNING.schema)


def row(start, strategy, labelled, accuracy):
    seen = min(8, 3 + labelled // 20)
    return {
        "start": start, "strategy": strategy, "labelled": int(labelled), "accuracy": accuracy,
        "balanced_accuracy": accuracy, "pool_accuracy": accuracy, "classes_seen": seen,
        "coverage": 1 - 2 / labelled,
    }  # fmt: skip


def summarised(frame, tmp_path):
    LEARNING.write(frame, tmp_path / "l.parquet", {})
    outputs = {"summary_out": tmp_path / "s.parquet", "claims_out": tmp_path / "c.parquet"}
    summary.run(learning=tmp_path / "l.parquet", settings={"margin": MARGIN}, **outputs, job=Job(1, {}))
    told = {claim["claim"]: claim for claim in LEARNING_CLAIMS.read(tmp_path / "c.parquet").to_dicts()}
    return LEARNING_SUMMARY.read(tmp_path / "s.parquet"), told


def test_a_gain_that_names_the_commonest_label_is_none_with_every_label_alike(tmp_path):
    frame = table({"encoder": {"random": 0.0, "margin": 0.04, "badge": 0.04}})
    spent = 0.04 * (pl.col("strategy") == "margin")
    found, _ = summarised(frame.with_columns(balanced_accuracy=pl.col("accuracy") - spent), tmp_path)
    rows = {row["strategy"]: row for row in found.filter(start="random").iter_rows(named=True)}
    for strategy in ("margin", "badge"):
        assert rows[strategy]["p_maxt"] < 0.01
    assert rows["margin"]["balanced_low"] < 0 < rows["margin"]["balanced_high"]
    assert rows["margin"]["balanced_p_maxt"] > 0.05
    assert rows["badge"]["balanced_p_maxt"] < 0.01
    assert rows["badge"]["balanced_difference"] == pytest.approx(rows["badge"]["difference"])
    assert rows["random"]["balanced_p_maxt"] is None


def test_a_gain_is_found_with_its_interval_wins_and_labels_saved(tmp_path):
    frame = table({"encoder": {"random": 0.0, "margin": 0.04, "badge": 0.0}})
    found, _ = summarised(frame, tmp_path)
    assert found.height == 6
    best = found.row(by_predicate=(pl.col("start") == "random") & (pl.col("strategy") == "margin"), named=True)
    means = frame.filter(start="random").group_by("strategy", "seed", maintain_order=True).agg(pl.mean("accuracy"))
    ours, theirs = (means.filter(strategy=name)["accuracy"].to_numpy() for name in ("margin", "random"))
    wanted = ttest_1samp(ours - theirs, 0).confidence_interval()  # on straight lines, AULC is the mean of the points
    assert best["difference"] == pytest.approx((ours - theirs).mean())
    assert (best["low"], best["high"]) == pytest.approx((wanted.low, wanted.high))
    assert best["p"] <= best["p_maxt"] < 0.01
    assert best["wins"] + best["ties"] + best["losses"] == best["seeds"] == 16
    assert best["wins"] > 10
    assert best["labels_saved"] == pytest.approx((120 + 0.04 * 2000) / 120, rel=0.1)
    other = found.filter(start="random", strategy="badge").row(0, named=True)
    assert other["p_maxt"] > 0.05
    reference = found.filter(start="random", strategy="random").row(0, named=True)
    assert (reference["difference"], reference["p"], reference["labels_saved"]) == (0, None, None)


def test_looking_for_classes_ends_where_coverage_and_the_last_batch_say_so(tmp_path):
    found, _ = summarised(table({"encoder": {"random": 0.0, "margin": 0.0}}), tmp_path)
    mine = found.row(0, named=True)
    assert (mine["stop"], mine["stop_classes"]) == (120, 8)  # 8 classes at 100 labels, and none new at 120
    assert mine["stop_coverage"] == pytest.approx(1 - 2 / 120)


def test_claims_that_are_planted_are_found(tmp_path):
    gains = {
        name: {"random": 0.0, "margin": 0.04 - 0.012 * n, "badge": 0.04 - 0.012 * n} for n, name in enumerate("abcd")
    }
    frame = table(gains, starting=0.03)
    _, told = summarised(frame, tmp_path)
    assert {name: claim["verdict"] for name, claim in told.items()} == {
        "embedding": "holds",  # gains fall with the probe
        "rank": "holds",
        "start": "holds",
        "start_embedding": "not shown",
        "steady": "not shown",
    }
    assert told["embedding"]["value"] == pytest.approx(0.036, abs=0.01)
    assert told["start"]["sentence"].startswith("It does: a start by TypiClust adds +0.0")
    assert told["rank"]["value"] == pytest.approx(1)


def test_the_opposite_is_called_so(tmp_path):
    frame = table({"a": {"random": 0.0, "margin": 0.0}, "b": {"random": 0.0, "margin": 0.05}}, starting=-0.03)
    _, told = summarised(frame, tmp_path)
    assert told["embedding"]["verdict"] == told["start"]["verdict"] == "contradicted"
    assert told["start"]["sentence"].startswith("The opposite is seen: ")


def test_one_representation_leaves_what_compares_them_undefined(tmp_path):
    _, told = summarised(table({"encoder": {"random": 0.0, "margin": 0.0}}), tmp_path)
    assert [name for name, claim in told.items() if claim["verdict"] == "undefined"] == [
        "embedding", "rank", "start_embedding", "steady",
    ]  # fmt: skip
    assert told["steady"]["sentence"] == "Cannot be said: badge and margin are not both tried."


def test_without_curves_both_tables_are_empty(tmp_path):
    found, told = summarised(LEARNING.schema.to_frame(), tmp_path)
    assert found.is_empty()
    assert told == {}


def test_random_alone_makes_no_claim_but_of_the_start(tmp_path):
    _, told = summarised(table({"encoder": {"random": 0.0}}), tmp_path)
    assert {name for name, claim in told.items() if claim["verdict"] != claims.UNDEFINED} == {"start"}
