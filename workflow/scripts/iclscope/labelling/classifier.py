"""What learns from labels: logistic regression on frozen vectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclscope.statistics.ranks import Float

Labels = NDArray[np.int64]

SQUARED_LENGTH = 25.0  # mean over the unlabelled pool, which gives C the same meaning for every representation
C = 1.0
ITERATIONS = 1000
CONSTANT = 1e-9  # spread of a dimension, as a share of its mean, below which it says nothing


def standardised(vectors: Float, pool: NDArray[np.int64]) -> Float:
    """Vectors [n, d] with mean 0 and variance 1 per dimension over the rows of the pool, scaled to SQUARED_LENGTH.

    A dimension that is the same in the whole pool becomes 0.
    """
    mean, spread = vectors[pool].mean(axis=0), vectors[pool].std(axis=0)
    varies = spread > CONSTANT * np.maximum(1, np.abs(mean))
    scaled = np.where(varies, (vectors - mean) / np.where(varies, spread, 1), 0.0)
    return scaled * np.sqrt(SQUARED_LENGTH / max(1, int(varies.sum())))


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier; `only` is the class of all labels where they are alike, and nothing is fitted."""

    classes: int
    model: Any = None
    only: int | None = None

    @classmethod
    def fitted(cls, known: Float, labels: Labels, classes: int) -> "Classifier":
        """Logistic regression on vectors [n, d] and their labels [n], numbers of so many classes."""
        if (labels == labels[0]).all():
            return cls(classes, only=int(labels[0]))
        return cls(classes, unfitted().fit(known, labels))

    def probabilities(self, asked: Float) -> Float:
        """Probability of each class [asked, classes]; 0 of those without a label."""
        found = np.zeros((len(asked), self.classes))
        if self.only is not None:
            found[:, self.only] = 1
        else:
            found[:, self.model.classes_] = self.model.predict_proba(asked)
        return found


def unfitted() -> Any:
    """The logistic regression of scikit-learn, which takes a second to import."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=ITERATIONS)
