"""The table variance: where quality comes from, and what models share of it."""

import numpy as np
import pytest

from iclscope.matrix.quality import Scores
from iclscope.matrix.variance import variance_rows
from iclscope.statistics.signals.components import components_of

GOLD = np.repeat([0, 1], [30, 10])


def scores(seed, candidates=60, push=0.0):
    """A score matrix [C, 40] of ability 1, rest 2² and, in the same units, a push towards label 0."""
    rng = np.random.default_rng(seed)
    ability, pushed = rng.standard_normal((2, candidates, 1))
    noise = 2 * rng.standard_normal((candidates, 40))
    return ability + push * pushed * np.where(GOLD == 0, 1, -1) + noise


def of(*matrices, gold=GOLD):
    """Variances by what they are of and by source, of the first of some models."""
    models = [{"margin": Scores(matrix, np.zeros(40)), "gain": Scores(matrix, np.zeros(40))} for matrix in matrices]
    rows = list(variance_rows(models[0], models, gold))
    assert {row["target"] for row in rows} == {"margin"}  # gain only shifts a target
    return {(row["of"], row["source"]): row["variance"] for row in rows}


def test_parts_of_quality_add_up_and_those_of_a_score_are_the_planted_ones():
    matrix = scores(0, candidates=400)
    found = of(matrix)
    quality = [value for (what, _), value in found.items() if what == "quality"]
    assert sum(quality) == pytest.approx(matrix.mean(axis=1).var(ddof=1))
    assert found["score", "rest"] == pytest.approx(4, rel=0.05)
    assert found["score", "candidate"] == pytest.approx(1, rel=0.2)
    assert abs(found["score", "push"]) < 0.1


def test_a_push_towards_a_label_is_no_level():
    found = of(scores(0, candidates=200, push=50.0) - scores(0, candidates=200))
    assert found["quality", "push"] == pytest.approx(found["score", "push"] / 4, rel=0.02)  # .75 - .25 of a push
    assert abs(found["quality", "level"]) < 0.01


def test_a_label_with_a_single_item_has_no_push():
    assert of(scores(1, push=3.0), gold=np.repeat([0, 1], [39, 1]))["score", "push"] == 0


def test_models_that_agree_share_everything_and_unrelated_ones_nothing():
    matrix = scores(2)
    alike = of(matrix, matrix, matrix)
    assert alike["shared", "candidate"] == pytest.approx(components_of(matrix, GOLD).candidate)
    assert [value for (what, _), value in alike.items() if what == "own"] == pytest.approx([0, 0, 0, 0], abs=1e-12)
    apart = [of(*(scores(seed + model) for model in range(4))) for seed in range(0, 160, 4)]
    assert abs(np.mean([found["shared", "candidate"] for found in apart])) < 0.1
    assert np.mean([found["own", "candidate"] for found in apart]) == pytest.approx(1, rel=0.1)


def test_one_model_has_nothing_to_share():
    assert {what for what, _ in of(scores(3))} == {"score", "quality"}


def test_models_that_stopped_early_are_compared_on_the_items_they_have():
    first, second = scores(4), scores(5)
    models = [{"margin": Scores(matrix[:, :20], np.zeros(20))} for matrix in (first, second)]
    rows = list(variance_rows({"margin": Scores(first, np.zeros(40))}, models, GOLD))
    whole = next(row for row in rows if (row["of"], row["source"]) == ("score", "rest"))
    assert whole["variance"] == pytest.approx(components_of(first, GOLD).rest)
    assert {row["of"] for row in rows} == {"score", "quality", "shared", "own"}
