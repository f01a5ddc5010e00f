"""Learning curves of one random split of the data: a pool from which labels are asked for, and a test set that judges.

What is asked for is decided without the test set: `rounds` never sees it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclscope.labelling.classifier import Classifier, Labels, standardised
from iclscope.labelling.strategies import STRATEGIES, Places, Round, Strategy, typical
from iclscope.statistics.learning_curves import coverage
from iclscope.statistics.ranks import Float
from iclscope.statistics.resampling import generator

RANDOM, TYPICLUST = "random", "typiclust"
STARTS = (RANDOM, TYPICLUST)
ALL = "all"  # in place of start and strategy: a probe that knows every label of the pool


@dataclass(frozen=True)
class Sizes:
    """How many rows there are in the `pool`, in the `test` set, at the `start`, in a `batch`, and how many `steps`."""

    pool: int
    test: int
    start: int
    batch: int
    steps: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], rows: int) -> "Sizes":
        """As the config's `learning` says, pool and test set in proportion where there are fewer `rows`."""
        asked = settings["pool"] + settings["test"]
        pool = min(settings["pool"], rows * settings["pool"] // asked)
        return cls(pool, min(settings["test"], rows - pool), settings["start"], settings["batch"], settings["steps"])

    @property
    def most(self) -> int:
        """Labels at the end."""
        return self.start + self.batch * self.steps


def curves_of_seed(
    vectors: Float, labels: Labels, sizes: Sizes, strategies: Sequence[str], seed: tuple[int, int]
) -> list[dict[str, Any]]:
    """Rows of the table learning without their representation, of one split.

    vectors [n, d] and labels [n] of all usable rows. seed: of the study, and the number of the split: pool, test set,
    random start and all that chance decides in a strategy follow from them, the same for every representation.
    """
    classes, number = int(labels.max()) + 1, seed[1]
    order = generator(seed[0], f"learning {number}").permutation(len(labels))
    pool, test = order[: sizes.pool], order[sizes.pool : sizes.pool + sizes.test]
    scaled = standardised(vectors.astype(np.float64), pool)
    judge = Judge(scaled[pool], labels[pool], scaled[test], labels[test])
    best = Classifier.fitted(judge.pool, judge.pool_labels, classes)
    everything = np.arange(sizes.pool)
    rows = [{"start": ALL, "strategy": ALL, "seed": number, **judge.row(everything, best)}]
    for start in STARTS:
        rng = generator(seed[0], f"learning {number} from {start}")
        first = (
            rng.choice(sizes.pool, sizes.start, replace=False)
            if start == RANDOM
            else typical(judge.pool, np.full(sizes.pool, np.nan), sizes.start, rng)
        )
        for name in strategies:
            rng = generator(seed[0], f"learning {number} from {start} by {name}")
            for known, classifier in rounds(judge.pool, judge.pool_labels, first, STRATEGIES[name], sizes, rng):
                rows.append({"start": start, "strategy": name, "seed": number, **judge.row(known, classifier)})
    return rows


def rounds(
    pool: Float, labels: Labels, first: Places, strategy: Strategy, sizes: Sizes, rng: np.random.Generator
) -> Iterator[tuple[Places, Classifier]]:
    """Places of the labelled rows, and the classifier that learned from them: of the start, and after each batch."""
    known, classes = first, int(labels.max()) + 1
    for step in range(sizes.steps + 1):
        classifier = Classifier.fitted(pool[known], labels[known], classes)
        yield known, classifier
        if step < sizes.steps:
            free = np.setdiff1d(np.arange(len(pool)), known)
            state = Round(pool, known, labels[known], free, classifier.probabilities(pool[free]))
            known = np.concatenate([known, strategy(state, sizes.batch, rng)])


@dataclass(frozen=True)
class Judge:
    """What classifiers are judged on: vectors and labels of the pool and of the test set."""

    pool: Float
    pool_labels: Labels
    test: Float
    test_labels: Labels

    def row(self, known: Places, classifier: Classifier) -> dict[str, Any]:
        """Measures of a classifier that knows these places of the pool."""
        right = self._right(classifier, self.test, self.test_labels)
        in_pool = self._right(classifier, self.pool, self.pool_labels)
        in_pool[known] = True  # their labels are there
        labels = self.pool_labels[known]
        return {
            "labelled": len(known),
            "accuracy": float(right.mean()),
            "balanced_accuracy": float(
                np.mean([right[self.test_labels == one].mean() for one in set(self.test_labels)])
            ),
            "pool_accuracy": float(in_pool.mean()),
            "classes_seen": len(set(labels.tolist())),
            "coverage": coverage(labels),
        }

    @staticmethod
    def _right(classifier: Classifier, vectors: Float, labels: Labels) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = classifier.probabilities(vectors).argmax(axis=1) == labels
        return right
