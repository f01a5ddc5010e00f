"""Which rows of a pool to label next: query strategies of pool-based active learning.

A strategy takes the state of a run and returns so many places of rows that have no label yet. Strategies that
scikit-activeml has and that would gain nothing from being written anew are asked there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclscope.labelling.classifier import Labels, unfitted
from iclscope.statistics.ranks import Float

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Round:
    """A pool of rows in which some are labelled, and what the classifier makes of the others.

    `vectors` [P, d] standardised; `known` [k] places of labelled rows and their `labels` [k]; `free` [P - k] places of
    the others, ascending, with the `probabilities` [P - k, classes] of each.
    """

    vectors: Float
    known: Places
    labels: Labels
    free: Places
    probabilities: Float

    @property
    def partly(self) -> Float:
        """Labels of all rows [P] as scikit-activeml takes them, NaN where there is none."""
        labels = np.full(len(self.vectors), np.nan)
        labels[self.known] = self.labels
        return labels


Strategy = Callable[[Round, int, np.random.Generator], Places]

STRATEGIES: dict[str, Strategy] = {}


def strategy(function: Strategy) -> Strategy:
    """Register a strategy under the name of its function."""
    STRATEGIES[function.__name__] = function
    return function


@strategy
def random(state: Round, size: int, rng: np.random.Generator) -> Places:
    """Any rows."""
    return rng.choice(state.free, size, replace=False)


@strategy
def margin(state: Round, size: int, rng: np.random.Generator) -> Places:
    """Rows whose two likeliest classes are nearest to each other (Scheffer et al. 2001); ties by chance."""
    first, second = np.sort(state.probabilities, axis=1)[:, :-3:-1].T
    return _smallest(first - second, state, size, rng)


@strategy
def entropy(state: Round, size: int, rng: np.random.Generator) -> Places:
    """Rows whose classes are most open, by the entropy of their probabilities; ties by chance."""
    p = state.probabilities
    return _smallest((p * np.log(np.where(p > 0, p, 1))).sum(axis=1), state, size, rng)


@strategy
def badge(state: Round, size: int, rng: np.random.Generator) -> Places:
    """Rows whose gradients are large and unlike each other, by k-means++ (Ash et al. 2020, Badge).

    The gradient of a row in the weights of the last layer is a ⊗ x, with a = p − e of the likeliest class. Of it no
    more than scalar products are needed, ⟨a⊗x, b⊗z⟩ = ⟨a, b⟩⟨x, z⟩: vectors of length classes × d are never made.
    """
    errors, x = state.probabilities.copy(), state.vectors[state.free]
    errors[np.arange(len(errors)), errors.argmax(axis=1)] -= 1
    distances = _squares(errors, x)
    chosen = [int(np.argmax(distances))]
    distances = distances_to(errors, x, chosen[0])
    while len(chosen) < size:
        chances = distances.copy()
        chances[chosen] = 0
        if not chances.sum() > 0:
            chances = np.ones(len(chances))
            chances[chosen] = 0
        chosen.append(int(rng.choice(len(chances), p=chances / chances.sum())))
        distances = np.minimum(distances, distances_to(errors, x, chosen[-1]))
    return state.free[chosen]


def distances_to(errors: Float, x: Float, row: int) -> Float:
    """Squared distances [n] of the gradients a ⊗ x of all rows from that of one; errors [n, classes], x [n, d]."""
    squares = _squares(errors, x)
    product = (errors @ errors[row]) * (x @ x[row])
    return np.maximum(squares + squares[row] - 2 * product, 0.0)


def _squares(errors: Float, x: Float) -> Float:
    return (errors**2).sum(axis=1) * (x**2).sum(axis=1)


@strategy
def coreset(state: Round, size: int, rng: np.random.Generator) -> Places:
    """Rows farthest from all that are labelled, one after the other (Sener and Savarese 2018, greedy k-centre)."""
    from skactiveml.pool import CoreSet

    return _asked(CoreSet(random_state=_seed(rng)), state, size)


@strategy
def typiclust(state: Round, size: int, rng: np.random.Generator) -> Places:
    """The most typical row of each large cluster that has no label (Hacohen et al. 2022)."""
    return typical(state.vectors, state.partly, size, rng)


@strategy
def probcover(state: Round, size: int, rng: np.random.Generator) -> Places:
    """Rows in whose neighbourhood most others lie that none covers yet (Yehuda et al. 2022)."""
    from skactiveml.pool import ProbCover

    classes = state.probabilities.shape[1]
    return _asked(ProbCover(n_classes=classes, random_state=_seed(rng), cluster_algo_dict={"n_init": 1}), state, size)


@strategy
def dropquery(state: Round, size: int, rng: np.random.Generator) -> Places:
    """A row of each cluster of those whose class changes without parts of their vector (Gupte et al. 2024)."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import DropQuery

    learner = SklearnClassifier(unfitted(), classes=list(range(state.probabilities.shape[1])))
    clusters = {"n_init": 1, "random_state": _seed(rng)}
    return _asked(DropQuery(random_state=_seed(rng), cluster_algo_dict=clusters), state, size, clf=learner)


def typical(vectors: Float, partly: Float, size: int, rng: np.random.Generator) -> Places:
    """Rows that TypiClust takes, given labels [P] that are NaN where there is none."""
    from skactiveml.pool import TypiClust

    asking = TypiClust(random_state=_seed(rng), cluster_algo_dict={"n_init": 1})
    return np.asarray(asking.query(vectors, partly, batch_size=size), dtype=np.int64)


def _asked(asking: Any, state: Round, size: int, **more: Any) -> Places:
    return np.asarray(asking.query(state.vectors, state.partly, batch_size=size, **more), dtype=np.int64)


def _smallest(values: Float, state: Round, size: int, rng: np.random.Generator) -> Places:
    """The rows with the smallest values, those that are alike in random order."""
    order = np.lexsort((rng.random(len(values)), values))
    return state.free[order[:size]]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
