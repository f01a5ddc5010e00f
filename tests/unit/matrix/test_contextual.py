"""Contextual calibration against numbers worked out by hand, and by the rule of Zhao et al. (2021) itself."""

import numpy as np
import polars as pl
import pytest
from scipy.special import log_softmax, softmax

import planted
from iclscope.matrix.contextual import CALIBRATED, calibrated
from iclscope.matrix.quality import all_scores, read_evaluation
from iclscope.runtime.errors import StudyError
from iclscope.tables import EVALUATION, FEATURES, POOL

C, N = 5, 6
GOLD = np.array([0, 1, 2, 0, 1, 2])
SHARES = np.random.default_rng(1).dirichlet([1, 2, 3], C)
LOGPROBS = np.log(np.random.default_rng(2).dirichlet([1, 1, 1, 1], (C + 1, N)))[..., :3]  # some mass is elsewhere


@pytest.fixture
def write(tmp_path):
    """A function that writes features and pool and returns the evaluation and their paths."""

    def files(shares=SHARES, choices=("A", "B", "C"), of_last=None, kind="choice"):
        evaluation = planted.evaluation(np.zeros((C, N)), np.zeros(N)).sort("candidate", "item")
        logprobs = pl.Series(LOGPROBS.reshape(-1, 3).tolist(), dtype=pl.List(pl.Float32))
        evaluation = evaluation.with_columns(logprobs=logprobs)
        made = planted.write(tmp_path, planted.Plan(candidates=C, items=N))
        features = FEATURES.read(made.paths["features"])
        column = pl.Series(
            "content_free_shares", [one if one is None else list(one) for one in shares], dtype=pl.List(pl.Float64)
        )
        FEATURES.write(features.head(len(shares)).with_columns(column), tmp_path / "f", {})
        parts = [
            planted.sample(f"{role}s", n).insert_column(0, pl.lit(role).alias("role"))
            for role, n in (("candidate", C + 2), ("item", N + 2))
        ]  # a pool has more rows than are evaluated
        rows = pl.concat(parts).with_columns(kind=pl.lit(kind), choices=pl.lit(list(choices)))
        gold = pl.Series("gold", [*[0] * (C + 2), *GOLD, 0, 0], dtype=pl.Int32)
        last = (pl.col("role") == "item") & (pl.col("id") == N - 1)
        changed = pl.when(last).then(pl.lit(list(of_last or choices))).otherwise("choices")
        POOL.write(rows.with_columns(gold, choices=changed), tmp_path / "p", {})
        return evaluation, tmp_path / "f", tmp_path / "p"

    return files


def test_scores_by_hand(write):
    made = calibrated(*write())
    EVALUATION.check(made)
    for row in made.iter_rows(named=True):
        c, i = row["candidate"], row["item"]
        if c < 0:
            assert [row[name] for name in CALIBRATED] == [None] * 3
            continue
        scores = log_softmax(LOGPROBS[c + 1, i] - np.log(SHARES[c]))
        wrong = np.delete(scores, GOLD[i])
        assert row["correct_calibrated"] == (scores.argmax() == GOLD[i])
        assert row["gold_logprob_calibrated"] == pytest.approx(scores[GOLD[i]], abs=1e-5)
        assert row["margin_calibrated"] == pytest.approx(scores[GOLD[i]] - wrong.max(), abs=1e-5)
        # As they write it: W = diag(p_cf)^-1 on the normalised probabilities of the labels.
        weighed = np.diag(1 / SHARES[c]) @ softmax(LOGPROBS[c + 1, i])
        assert weighed.argmax() == scores.argmax()
        np.testing.assert_allclose(weighed / weighed.sum(), np.exp(scores))


def test_a_demonstration_that_only_shifts_the_labels_is_worth_the_same_once_calibrated(write):
    """Planted: it makes A e times as likely, whatever the item."""
    evaluation, features, pool = write()
    shift = np.array([1.0, 0, 0])
    shifted = evaluation.with_columns(
        logprobs=pl.Series((LOGPROBS + shift).reshape(-1, 3).tolist(), dtype=pl.List(pl.Float32))
    )
    before = calibrated(evaluation, features, pool)
    _, moved, _ = write(shares=softmax(np.log(SHARES) + shift, axis=1))
    after = calibrated(shifted, moved, pool)
    for name in CALIBRATED:
        np.testing.assert_allclose(after[name].drop_nulls(), before[name].drop_nulls(), atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"shares": [None] * C}, {"of_last": ["B", "A", "C"]}, {"kind": "generation"}], ids=str
)
def test_without_common_labels_there_are_no_calibrated_scores(write, changes):
    evaluation, *paths = write(**changes)
    assert calibrated(evaluation, *paths).equals(evaluation)


def test_features_of_other_candidates_are_refused(write):
    evaluation, *paths = write(shares=SHARES[:-1])
    with pytest.raises(StudyError, match="other candidates than the evaluation"):
        calibrated(evaluation, *paths)


def test_calibrated_targets_have_scores_of_demonstrations_alone(write, tmp_path):
    EVALUATION.write(calibrated(*write()), tmp_path / "e", {})
    targets = ["accuracy_calibrated", "margin_calibrated"]
    scores = all_scores(read_evaluation(tmp_path / "e", targets), targets, GOLD)
    assert scores["margin_calibrated"].matrix.shape == (C, N)
    assert np.isfinite(scores["margin_calibrated"].matrix).all()
    assert np.isnan(scores["margin_calibrated"].zero_shot).all()
    assert set(scores["accuracy_calibrated"].matrix.ravel()) <= {0, 1}
