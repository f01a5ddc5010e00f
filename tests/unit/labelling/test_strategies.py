import numpy as np
import pytest
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import Badge, CoreSet, TypiClust, UncertaintySampling
from sklearn.linear_model import LogisticRegression

from iclscope.labelling.classifier import Classifier, standardised, unfitted
from iclscope.labelling.strategies import STRATEGIES, Round, badge, distances_to

CLASSES, ROWS, LABELLED = 4, 90, 24


def planted(seed=0):
    """Vectors around a centre for each class, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=ROWS)
    return standardised(
        rng.normal(0, 1.5, (CLASSES, 12))[labels] + rng.normal(0, 1, (ROWS, 12)), np.arange(ROWS)
    ), labels


@pytest.fixture
def state():
    vectors, labels = planted()
    known = np.random.default_rng(1).choice(ROWS, LABELLED, replace=False)
    free = np.setdiff1d(np.arange(ROWS), known)
    classifier = Classifier.fitted(vectors[known], labels[known], CLASSES)
    return Round(vectors, known, labels[known], free, classifier.probabilities(vectors[free]))


def learner():
    return SklearnClassifier(unfitted(), classes=list(range(CLASSES)))


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_asks_for_rows_without_a_label_once_and_again_the_same(state, name):
    asked = STRATEGIES[name](state, 10, np.random.default_rng(2))
    assert len(set(asked.tolist())) == len(asked) == 10
    assert not set(asked.tolist()) & set(state.known.tolist())
    assert STRATEGIES[name](state, 10, np.random.default_rng(2)).tolist() == asked.tolist()


@pytest.mark.parametrize(("name", "method"), [("margin", "margin_sampling"), ("entropy", "entropy")])
def test_uncertainty_is_that_of_scikit_activeml(state, name, method):
    theirs = UncertaintySampling(method=method, random_state=0)
    wanted = theirs.query(state.vectors, state.partly, learner(), batch_size=10)
    assert set(STRATEGIES[name](state, 10, np.random.default_rng(0)).tolist()) == set(wanted.tolist())


def test_core_set_and_typiclust_are_those_of_scikit_activeml(state):
    wanted = CoreSet(random_state=0).query(state.vectors, state.partly, batch_size=10)
    assert STRATEGIES["coreset"](state, 10, np.random.default_rng(0)).tolist() == list(wanted)
    rng, seed = np.random.default_rng(3), int(np.random.default_rng(3).integers(2**31))
    wanted = TypiClust(random_state=seed, cluster_algo_dict={"n_init": 1}).query(
        state.vectors, state.partly, batch_size=10
    )
    assert STRATEGIES["typiclust"](state, 10, rng).tolist() == list(wanted)


def gradients(state):
    """a ⊗ x of every free row, as vectors of length classes × d."""
    errors = state.probabilities - np.eye(CLASSES)[state.probabilities.argmax(axis=1)]
    x = state.vectors[state.free]
    return errors, x, (errors[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def test_distances_of_badge_are_those_of_explicit_vectors(state):
    errors, x, explicit = gradients(state)
    for row in (0, 7, 40):
        wanted = ((explicit - explicit[row]) ** 2).sum(axis=1)
        np.testing.assert_allclose(distances_to(errors, x, row), wanted, atol=1e-9)


def test_badge_goes_by_the_distances_of_scikit_activeml(state):
    """Its first row is theirs, the second is drawn by squared distance from it.

    Theirs also counts the origin as a centre, which the paper's k-means++ does not: there the smaller distance counts.
    """
    asked, chances = Badge(random_state=0).query(
        state.vectors, state.partly, learner(), batch_size=2, return_utilities=True
    )
    assert badge(state, 1, np.random.default_rng(0)).tolist() == [asked[0]]
    errors, x, explicit = gradients(state)
    distances = distances_to(errors, x, state.free.tolist().index(asked[0]))
    capped = np.minimum(distances, (explicit**2).sum(axis=1))
    np.testing.assert_allclose(np.nan_to_num(chances[1][state.free]), capped / capped.sum(), atol=1e-9)


def test_badge_draws_the_second_row_by_squared_distance_from_the_first(state):
    _, _, explicit = gradients(state)
    rng = np.random.default_rng(4)
    drawn = np.array([badge(state, 2, rng) for _ in range(4000)])
    first = state.free.tolist().index(drawn[0, 0])
    wanted = ((explicit - explicit[first]) ** 2).sum(axis=1)
    wanted /= wanted.sum()
    shares = np.bincount(drawn[:, 1], minlength=ROWS)[state.free] / len(drawn)
    assert np.abs(shares - wanted).max() < 4 * np.sqrt(wanted.max() / len(drawn))


def test_badge_can_ask_where_all_gradients_are_alike():
    state = Round(np.ones((6, 2)), np.array([0]), np.array([0]), np.arange(1, 6), np.tile([1.0, 0.0], (5, 1)))
    assert sorted(badge(state, 5, np.random.default_rng(0)).tolist()) == [1, 2, 3, 4, 5]


def test_vectors_are_standardised_on_the_pool_to_a_mean_squared_length_of_25():
    vectors = np.random.default_rng(0).normal(3, [1, 2, 5, 0], (50, 4))
    pool = np.arange(30)
    scaled = standardised(vectors, pool)
    assert (scaled[pool] ** 2).sum(axis=1).mean() == pytest.approx(25)
    assert np.abs(scaled[pool].mean(axis=0)).max() < 1e-9
    assert not scaled[:, 3].any()


def test_a_classifier_is_a_logistic_regression_over_the_classes_it_has_seen():
    vectors, labels = planted()
    some = labels != 2
    found = Classifier.fitted(vectors[some], labels[some], CLASSES).probabilities(vectors)
    wanted = LogisticRegression(C=1, max_iter=1000).fit(vectors[some], labels[some]).predict_proba(vectors)
    np.testing.assert_allclose(found[:, [0, 1, 3]], wanted)
    assert not found[:, 2].any()
    alike = Classifier.fitted(vectors[:3], np.array([2, 2, 2]), CLASSES).probabilities(vectors)
    assert (alike == np.eye(CLASSES)[2]).all()
