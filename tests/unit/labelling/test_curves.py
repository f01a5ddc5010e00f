import numpy as np
import pytest

from iclscope.labelling.classifier import Classifier
from iclscope.labelling.curves import ALL, RANDOM, Sizes, curves_of_seed, rounds
from iclscope.labelling.strategies import STRATEGIES
from iclscope.statistics.resampling import generator

SIZES = Sizes(pool=60, test=40, start=8, batch=6, steps=3)


def planted(rows=100, classes=3, seed=0):
    """Vectors around a centre for each class, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows)
    return rng.normal(0, 2, (classes, 10))[labels] + rng.normal(0, 1, (rows, 10)), labels


def test_every_start_and_strategy_has_a_curve_from_the_start_to_the_last_batch():
    rows = curves_of_seed(*planted(), SIZES, ["random", "margin"], (1, 0))
    curves = {}
    for row in rows:
        curves.setdefault((row["start"], row["strategy"]), []).append(row["labelled"])
    steps = [8, 14, 20, 26]
    assert curves.pop((ALL, ALL)) == [60]
    assert curves == {(start, name): steps for start in ("random", "typiclust") for name in ("random", "margin")}


def test_strategies_share_the_split_and_the_start_of_a_seed():
    rows = curves_of_seed(*planted(), SIZES, ["random", "margin", "badge"], (1, 0))
    starts = {row["accuracy"] for row in rows if row["start"] == RANDOM and row["labelled"] == 8}
    assert len(starts) == 1
    alone = curves_of_seed(*planted(), SIZES, ["badge"], (1, 0))
    assert [row for row in rows if row["strategy"] in ("badge", ALL)] == alone  # no strategy shifts another


def test_the_test_set_decides_nothing():
    """Other vectors and labels there: the classifiers, and so the picks, stay the same to the last row of the pool."""
    vectors, labels = planted()
    before = curves_of_seed(vectors, labels, SIZES, sorted(STRATEGIES), (1, 0))
    test = generator(1, "learning 0").permutation(100)[60:]
    vectors[test], labels[test] = vectors[test][::-1] + 7, (labels[test] + 1) % 3
    after = curves_of_seed(vectors, labels, SIZES, sorted(STRATEGIES), (1, 0))
    for name in ("pool_accuracy", "classes_seen", "coverage", "labelled"):
        assert [row[name] for row in after] == [row[name] for row in before]
    assert [row["accuracy"] for row in after] != [row["accuracy"] for row in before]


def test_measures_are_those_of_the_classifier():
    vectors, labels = planted()
    whole = curves_of_seed(vectors, labels, SIZES, ["random"], (1, 0))[0]
    assert whole["pool_accuracy"] == 1
    assert whole["classes_seen"] == 3
    assert whole["accuracy"] > 0.9
    assert whole["balanced_accuracy"] > 0.9


def test_rounds_add_a_batch_of_new_rows_and_learn_from_all():
    vectors, labels = planted()
    before = np.arange(8)
    for known, classifier in rounds(vectors, labels, before, STRATEGIES["entropy"], SIZES, np.random.default_rng(0)):
        assert known[: len(before)].tolist() == before.tolist()
        assert len(set(known.tolist())) == len(known)
        wanted = Classifier.fitted(vectors[known], labels[known], 3).probabilities(vectors)
        np.testing.assert_array_equal(classifier.probabilities(vectors), wanted)
        before = known
    assert len(before) == 26


@pytest.mark.parametrize(
    ("rows", "pool", "test"), [(2000, 1000, 500), (1500, 1000, 500), (900, 600, 300), (1200, 800, 400)]
)
def test_few_rows_are_shared_out_in_proportion(rows, pool, test):
    settings = {"pool": 1000, "test": 500, "start": 20, "batch": 20, "steps": 10}
    sizes = Sizes.of(settings, rows)
    assert (sizes.pool, sizes.test, sizes.most) == (pool, test, 220)
