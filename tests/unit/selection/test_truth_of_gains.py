"""Planted truths through the stage selection and the verdict: are they found, and believed as often as they hold?"""

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

import planted
import synthetic
from iclscope.runtime.jobs import Job
from iclscope.selection import trial
from iclscope.tables import FEATURES, GAINS, SELECTION
from iclscope.verdict import selectors

POOL = 8
RANK = (np.arange(20_000) + 0.5) / 20_000
BEST = float(np.mean(POOL * RANK ** (POOL - 1) * norm.ppf(RANK)))  # expected maximum of POOL standard normal abilities


def study(folder, rho, candidates, seed, alpha=0.7):
    """Tables selection and gains where features correlate with ability as `rho` says: feature → correlation."""
    made = planted.write(folder, planted.Plan(candidates=candidates, items=20, alpha=alpha, layers=1, seed=seed))
    rng = np.random.default_rng([seed, 1])
    columns = {name: r * made.ability + np.sqrt(1 - r**2) * rng.standard_normal(candidates) for name, r in rho.items()}
    features = FEATURES.read(made.paths["features"]).with_columns(**{n: pl.Series(v) for n, v in columns.items()})
    FEATURES.write(features, made.paths["features"], {})
    trial.run(
        files=trial.Files(
            metrics=made.metrics,
            **{name: made.paths[name] for name in ("evaluation", "features", "embeddings", "candidates")},
            item_rows=made.paths["items"],
        ),
        targets=["gold_logprob"],
        settings={
            "selectors": ["random", "uncertainty_nll", "uncertainty", "typicality"],
            "pool": POOL,
            "splits": 2,
            "bootstrap": 100,
        },
        selection_out=folder / "selection.parquet",
        gains_out=folder / "gains.parquet",
        job=Job(seed, {}),
    )
    return SELECTION.read(folder / "selection.parquet"), GAINS.read(folder / "gains.parquet")


def test_pools_find_a_planted_selector_where_a_single_pick_does_not(tmp_path):
    pools, picks = [], []
    for seed in range(15):
        selection, gains = study(tmp_path, {"nll": 0.4}, 200, seed)
        pools.append(selection.filter(selector="uncertainty_nll")["p"].item())
        picks.append(gains.filter(selector="uncertainty_nll", pool=200)["p"].item())
    assert np.mean(np.array(pools) <= 0.05) >= 0.8
    assert np.mean(np.array(picks) <= 0.05) <= 0.5


def test_what_is_believed_of_gains_holds_as_often_as_it_is_said(tmp_path):
    rng = np.random.default_rng(0)
    features = {"uncertainty_nll": "nll", "uncertainty": "zero_shot_entropy", "typicality": "typicality"}
    said, true, covered, lost, regret = [], [], [], [], []
    settings = {"margin": dict.fromkeys(("nats", "share_of_items"), 1e-9), "price": {"nats": 0.0}}
    for seed in range(40):
        rho = dict(zip(features.values(), np.clip(0.3 * rng.standard_normal(3), -0.9, 0.9), strict=True))
        selection, gains = study(tmp_path, rho, 60, seed)
        tables = synthetic.frames(synthetic.SMALL) | {"selection": selection, "gains": gains}
        judged = selectors.judge(synthetic.results(tables), settings, np.random.default_rng(seed))
        gain = {name: BEST * rho[feature] for name, feature in features.items()}
        for name, truth in gain.items():
            entry = judged["selectors"][name]
            said.append(entry["positive"])
            true.append(truth > 0)
            covered.append(entry["expected_low"] <= truth <= entry["expected_high"])
        lost.append(max(0.0, *gain.values()) - gain.get(judged["ship"], 0.0))
        regret.append(judged["selectors"][judged["ship"]]["expected_regret"])
    said, true = np.array(said), np.array(true)
    assert said.mean() == pytest.approx(true.mean(), abs=0.12)
    assert true[said > 0.9].mean() >= 0.85
    assert true[said < 0.1].mean() <= 0.15
    assert 0.88 <= np.mean(covered) <= 1
    assert np.mean(lost) == pytest.approx(np.mean(regret), abs=0.1)
