import logging

import numpy as np
import polars as pl
import pytest

import planted
from iclscope.matrix import quality
from iclscope.matrix.answers import one_answer
from iclscope.matrix.quality import primary_of, read_scores, score_matrix
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.tables import EVALUATION, QUALITY, RELIABILITY, SAMPLE

GOLD = np.array([[-1.0, -2.0, -3.0], [-0.5, -1.0, -4.0]])
ZERO_SHOT = np.array([-2.0, -2.0, -2.0])
TARGETS = ["accuracy", "accuracy_norm", "gold_logprob", "margin", "gain"]


def files_of(made):
    return quality.Files(*(made.paths[name] for name in ("evaluation", "candidates", "items")))


@pytest.fixture
def evaluation():
    return planted.evaluation(GOLD, ZERO_SHOT)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = planted.write(folder, planted.Plan())
    quality.run(
        files=files_of(made),
        settings={"targets": TARGETS, "primary": "gold_logprob_balanced", "split_halves": 50},
        quality_out=made.paths["quality"],
        reliability_out=made.paths["reliability"],
        job=Job(1, {}),
    )
    return made


def test_scores_come_back_by_candidate_and_item_whatever_the_order_of_rows(evaluation):
    scores = score_matrix(evaluation.sample(fraction=1, shuffle=True, seed=3), "gold_logprob")
    np.testing.assert_array_equal(scores.matrix, GOLD)
    np.testing.assert_array_equal(scores.zero_shot, ZERO_SHOT)


def test_gain_is_what_the_demonstration_adds_to_the_gold_log_probability(evaluation):
    scores = score_matrix(evaluation, "gain")
    np.testing.assert_allclose(scores.matrix, [[1.0, 0.0, -1.0], [1.5, 1.0, -2.0]])
    np.testing.assert_array_equal(scores.zero_shot, 0)


def test_missing_pair_is_named(evaluation):
    holed = evaluation.filter(~((pl.col("candidate") == 1) & (pl.col("item") == 2)))
    with pytest.raises(StudyError, match="candidate 1, item 2 is missing"):
        score_matrix(holed, "accuracy")


def test_missing_zero_shot_is_named(evaluation):
    with pytest.raises(StudyError, match="candidate -1, item 0 is missing"):
        score_matrix(evaluation.filter(pl.col("candidate") >= 0), "accuracy")


def test_double_pair_is_named(evaluation):
    with pytest.raises(StudyError, match="candidate 0, item 1 appears more than once"):
        score_matrix(pl.concat([evaluation, evaluation.filter(candidate=0, item=1)]), "accuracy")


@pytest.mark.parametrize("value", [None, float("nan"), float("-inf")])
def test_pair_without_a_score_is_named(evaluation, value):
    wrong = evaluation.with_columns(
        pl.when(candidate=1, item=0).then(pl.lit(value, pl.Float32)).otherwise("margin").alias("margin")
    )
    with pytest.raises(StudyError, match="candidate 1, item 0 has no finite margin"):
        score_matrix(wrong, "margin")


def test_unknown_target_is_refused(evaluation):
    with pytest.raises(StudyError, match=r"quality\.targets names 'acc'"):
        score_matrix(evaluation, "acc")


def test_one_candidate_or_one_item_is_too_few():
    with pytest.raises(StudyError, match="1 candidates and 3 items"):
        score_matrix(planted.evaluation(GOLD[:1], ZERO_SHOT), "accuracy")
    with pytest.raises(StudyError, match="2 candidates and 1 items"):
        score_matrix(planted.evaluation(GOLD[:, :1], ZERO_SHOT[:1]), "accuracy")


def test_targets_that_a_data_set_lacks_are_left_out_with_a_line_in_the_log(tmp_path, caplog):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=5, generated=True))
    with caplog.at_level(logging.INFO):
        scores, _ = read_scores(files_of(made), TARGETS)
    assert list(scores) == ["accuracy", "gold_logprob", "gain"]
    assert "accuracy_norm is left out" in caplog.text
    assert "margin is left out" in caplog.text


def test_none_of_the_targets_is_an_error(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=5, generated=True))
    with pytest.raises(StudyError, match=r"quality\.targets: the evaluation has none of margin"):
        read_scores(files_of(made), ["margin"])


def test_quality_table_holds_means_and_their_errors(study):
    frame = QUALITY.read(study.paths["quality"]).filter(target="gold_logprob")
    np.testing.assert_allclose(frame["value"], study.scores.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(frame["standard_error"], study.scores.std(axis=1, ddof=1) / np.sqrt(40), atol=1e-6)
    assert frame["items"].unique().to_list() == [40]


def test_reliability_table_recovers_the_planted_alpha(study):
    frame = RELIABILITY.read(study.paths["reliability"])
    assert frame["target"].to_list() == TARGETS
    gold = frame.row(by_predicate=pl.col("target") == "gold_logprob", named=True)
    assert gold["alpha"] == pytest.approx(0.9, abs=0.05)
    assert gold["ceiling"] == pytest.approx(np.sqrt(gold["alpha"]))
    assert gold["split_half"] == pytest.approx(gold["alpha"], abs=0.02)


def test_accuracies_of_choices_carry_their_metric(study):
    metrics = dict(RELIABILITY.read(study.paths["reliability"]).select("target", "metric").iter_rows())
    assert metrics == {**dict.fromkeys(TARGETS), "accuracy": "acc", "accuracy_norm": "acc_norm"}


@pytest.mark.parametrize(
    ("value", "name"),
    [(pl.col("correct"), "wer (first)"), (1 - pl.col("correct"), "1 - wer (first)")],
)
def test_the_metric_of_generated_answers_is_named(tmp_path, value, name):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=5, generated=True))
    frame = planted.evaluation(GOLD, ZERO_SHOT, generated=True)
    first = pl.struct(filter=pl.lit("first"), metric=pl.lit("wer"), value=value)
    other = pl.struct(filter=pl.lit("second"), metric=pl.lit("exact_match"), value=pl.lit(0.0))
    scores = pl.concat_list(*(one.cast(EVALUATION.schema["scores"].inner) for one in (first, other)))
    EVALUATION.write(frame.with_columns(scores=scores), made.paths["evaluation"], {})
    quality.run(
        files=files_of(made),
        settings={"targets": TARGETS, "primary": "gold_logprob_balanced", "split_halves": 5},
        quality_out=made.paths["quality"],
        reliability_out=made.paths["reliability"],
        job=Job(1, {}),
    )
    metrics = dict(RELIABILITY.read(made.paths["reliability"]).select("target", "metric").iter_rows())
    assert metrics == {"accuracy": name, "gold_logprob": None, "gain": None}


def answered(folder, grid, choices, kind="choice"):
    """Evaluation and items where candidate c chooses `grid[c][i]`; the file of its scores and that of the items."""
    choice = np.array(grid)
    frame = planted.evaluation(np.zeros(choice.shape), np.zeros(choice.shape[1])).sort("candidate", "item")
    best = np.concatenate([[0] * choice.shape[1], choice.ravel()])  # zero-shot all alike, which must not count
    logprobs = [[-1.0 if k == one else -2.0 - k for k in range(3)] for one in best]
    EVALUATION.write(frame.with_columns(logprobs=pl.Series(logprobs, dtype=pl.List(pl.Float32))), folder / "e", {})
    items = planted.sample("items", choice.shape[1]).with_columns(kind=pl.lit(kind), choices=pl.Series(choices))
    SAMPLE.write(items, folder / "i", {})
    return folder / "e", folder / "i"


def test_one_answer_is_the_share_of_the_commonest(tmp_path):
    grid = [[0, 0, 0, 0], [0, 1, 2, 1], [2, 2, 2, 1], [0, 1, 2, 0]]
    paths = answered(tmp_path, grid, [["A", "B", "C"]] * 4)
    assert one_answer(*paths).tolist() == [1, 0.5, 0.75, 0.5]


@pytest.mark.parametrize(
    ("choices", "kind"),
    [([["A", "B", "C"]] * 3 + [["B", "A", "C"]], "choice"), ([["A", "B", "C"]] * 4, "generation")],
)
def test_one_answer_needs_the_same_choices_everywhere(tmp_path, choices, kind):
    assert one_answer(*answered(tmp_path, [[0, 0, 1, 1]] * 3, choices, kind)) is None


def test_one_answer_stands_in_the_quality_of_every_target(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=4, items=4))
    files = answered(tmp_path, [[0, 1, 2, 0], [0, 0, 0, 0], [0, 1, 1, 1], [2, 2, 2, 2]], [["A", "B", "C"]] * 4)
    quality.run(
        files=quality.Files(files[0], made.paths["candidates"], files[1]),
        settings={"targets": ["accuracy", "margin"], "primary": "margin", "split_halves": 5},
        quality_out=made.paths["quality"],
        reliability_out=made.paths["reliability"],
        job=Job(1, {}),
    )
    assert QUALITY.read(made.paths["quality"])["one_answer"].to_list() == [0.5, 1, 0.75, 1] * 2


def test_gain_is_as_reliable_as_the_score_it_shifts(study):
    frame = RELIABILITY.read(study.paths["reliability"])
    gain, gold = (frame.row(by_predicate=pl.col("target") == t, named=True) for t in ("gain", "gold_logprob"))
    assert gain["alpha"] == gold["alpha"]
    assert gain["zero_shot"] == 0
    assert gain["mean"] == pytest.approx(gold["mean"] - gold["zero_shot"])
    assert gain["sd"] == pytest.approx(gold["sd"])


def test_balanced_targets_count_every_label_alike(evaluation):
    gold = np.array([1, 0, 0, 1, 0, 0])
    wide = planted.evaluation(np.tile(GOLD, 2), np.tile(ZERO_SHOT, 2))
    scores = score_matrix(wide, "gold_logprob_balanced", gold)
    by_label = [np.tile(GOLD, 2)[:, gold == label].mean(axis=1) for label in (0, 1)]
    np.testing.assert_allclose(scores.matrix.mean(axis=1), np.mean(by_label, axis=0))
    assert scores.zero_shot.mean() == pytest.approx(-2)


def test_balanced_targets_are_left_out_where_a_label_is_rare_or_there_is_none(tmp_path, caplog):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=5))
    items = pl.read_parquet(made.paths["items"]).with_columns(gold=pl.when(pl.col("id") == 0).then(0).otherwise(1))
    SAMPLE.write(items.cast(dict(SAMPLE.schema)), made.paths["items"], {})
    wanted = ["margin", "margin_balanced"]
    with caplog.at_level(logging.INFO):
        assert list(read_scores(files_of(made), wanted)[0]) == ["margin"]
        SAMPLE.write(items.with_columns(kind=pl.lit("generation")).cast(dict(SAMPLE.schema)), made.paths["items"], {})
        assert list(read_scores(files_of(made), wanted)[0]) == ["margin"]
    assert "margin_balanced is left out: a label has 1 item, and every label needs 2" in caplog.text
    assert "margin_balanced is left out: generated answers have no labels" in caplog.text


def test_claims_are_about_the_declared_target_or_the_nearest_that_there_is():
    assert primary_of(["accuracy", "margin_balanced"], "margin_balanced") == "margin_balanced"
    assert primary_of(["accuracy", "margin"], "margin_balanced") == "margin"
    assert primary_of(["accuracy", "gain"], "margin_balanced") == "accuracy"
